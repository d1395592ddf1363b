//! What can go wrong below the state. Any of it stops the replica: a store that failed once is not trusted to go on.

use std::io;
use std::path::Path;

use thiserror::Error;

use crate::failure::describe;

/// A failure of the disk or of what is on it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{}", io_line(attempted, source))]
    Io {
        /// What was attempted.
        attempted: String,
        /// What it said.
        source: io::Error,
    },
    /// sled refused.
    #[error("{attempted} the checkpoint: {reason}")]
    Checkpoint {
        /// What was attempted.
        attempted: String,
        /// What sled said.
        reason: String,
    },
    /// What is on disk is not what was written.
    #[error("{0}")]
    Damaged(String),
}

/// What the system refused, and what to do where that is known.
fn io_line(attempted: &str, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!(
                "the disk is full ({attempted}): make space and start this replica again, it recovers by itself"
            )
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("the disk is read-only ({attempted}): make it writable and start this replica again")
        }
        _ => format!("{attempted}: {source}"),
    }
}

impl StoreError {
    /// For `map_err` on IO.
    pub(crate) fn io(attempted: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| StoreError::Io { attempted: attempted.to_owned(), source }
    }

    /// One line for whoever runs the replica, about the directory it happened under.
    pub fn line(&self, dir: &Path) -> String {
        match self {
            StoreError::Io { attempted, source } => describe(attempted, dir, source),
            other => other.to_string(),
        }
    }

    pub(super) fn checkpoint(attempted: &str, error: &sled::Error) -> Self {
        if let sled::Error::Io(source) = error {
            let source = io::Error::new(source.kind(), source.to_string());
            return StoreError::Io { attempted: format!("{attempted} the checkpoint"), source };
        }
        StoreError::Checkpoint { attempted: attempted.to_owned(), reason: error.to_string() }
    }

    pub(crate) fn damaged(what: &str) -> Self {
        StoreError::Damaged(what.to_owned())
    }
}

impl From<io::Error> for StoreError {
    fn from(source: io::Error) -> Self {
        StoreError::Io { attempted: "using a file".to_owned(), source }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { attempted, source } => {
                io::Error::new(source.kind(), format!("{attempted}: {source}"))
            }
            other => io::Error::other(other),
        }
    }
}
