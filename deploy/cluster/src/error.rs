//! Why something about a cluster failed: a person's mistake, or a failure.

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something a person can mend, in one line that says how; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// What was attempted and why it did not work; exit code 1.
    #[error("{0}")]
    Failed(String),
}

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was attempted when an IO call fails.
pub(crate) trait Attempt<T> {
    /// Wraps the error as [`Error::Failed`] with `what` was attempted.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Failed(format!("cannot {}: {error}", what())))
    }
}
