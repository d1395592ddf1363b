//! Files on their way to the server.
//!
//! Owns: which chunk of which file travels when, what is there already, what is tried again, and which message waits for
//! which files. Must not know: how bytes are read or sent. A driver carries out each [`Step`] and answers it with a [`Told`]
//! under the same [`Call`]; an answer to a call that was given up counts for nothing.
//!
//! ```text
//!            ┌────────── again ──────────┐
//!  Queued ─▶ Beginning ─▶ Sending ─▶ Committing ─▶ Committed
//!               │            │           │
//!               └─────▶ Cut (a wait) ◀───┘          Failed (for good; a person may try again)
//!                          │
//!                          └─▶ Asking (which chunks are there) ─▶ Sending
//! ```

mod one;
mod tray;

use quorate_proto::error::WireError;
use quorate_proto::frame::Attachment;
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::{ChunkStored, FileState};
use uuid::Uuid;

pub use one::Upload;
pub use tray::{Ready, Uploads, Waiting};

/// Names one upload of this client; chosen by the driver, never used twice.
pub type UploadId = u64;
/// Names one call of an upload; later calls have higher numbers.
pub type Call = u64;
/// BLAKE3.
pub type Hash = [u8; 32];

/// In place of a conversation, for files that no message is to show: pictures of people and groups. No conversation has this number.
pub const NOBODYS: ConversationId = 0;
/// What has been under way for this long when the connection came back is taken for lost: 1 MiB on a line of 280 kbit/s.
pub const STALLED_MS: u64 = 30_000;
/// Chunks under way at a time, of all uploads together: enough to fill a line while each waits for three disks.
pub const CHUNKS_UNDER_WAY_MAX: usize = 3;
/// Uploads that have begun and are not done. More at a time make none of them quicker.
pub const UPLOADS_ACTIVE_MAX: usize = 3;
/// Uploads in all conversations together: the server keeps as many that are not committed.
pub const UPLOADS_MAX: usize = 32;
/// A chunk without an answer for this long is given up: 1 MiB on a line of 70 kbit/s.
pub const CHUNK_WAIT_MS: u64 = 120_000;
/// Any other call: a commit looks into an image and waits for an election.
pub const CALL_WAIT_MS: u64 = 60_000;
/// Failures in a row after which a person is asked. With their pauses that is five minutes.
pub const TRIES_MAX: u32 = 14;
/// Commits that are refused for missing chunks, although all were there a moment before.
pub const COMMITS_MAX: u32 = 4;

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Its turn has not come.
    Queued,
    /// The server is asked for room.
    Beginning {
        /// The call.
        call: Call,
        /// Since when.
        since_ms: u64,
    },
    /// Chunks are under way.
    Sending,
    /// Something failed that may pass.
    Cut {
        /// Tried again then.
        until_ms: u64,
    },
    /// The server is asked which chunks are there.
    Asking {
        /// The call.
        call: Call,
        /// Since when.
        since_ms: u64,
    },
    /// All chunks are there; a file is made of them.
    Committing {
        /// The call.
        call: Call,
        /// Since when.
        since_ms: u64,
    },
    /// It is a file, and messages may show it.
    Committed(Attachment),
    /// Nothing more happens by itself; in words why.
    Failed(String),
}

/// What a driver is to do for an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `POST /api/v1/files`; answered by [`Told::Begun`].
    Begin {
        /// A plain name.
        name: String,
        /// Bytes.
        size: u64,
    },
    /// `GET /api/v1/files/{file}`; answered by [`Told::There`].
    Ask {
        /// The file's id.
        file: Uuid,
    },
    /// Read a chunk, hash it, and `PUT` it; answered by [`Told::Put`].
    Put {
        /// The file's id.
        file: Uuid,
        /// Which chunk.
        number: u32,
        /// Where it begins in the file.
        begin: u64,
        /// Bytes.
        length: u64,
    },
    /// `POST /api/v1/files/{file}/commit`; answered by [`Told::Committed`].
    Commit {
        /// The file's id.
        file: Uuid,
        /// A plain name.
        name: String,
        /// Bytes.
        size: u64,
        /// Of the command.
        key: ClientMessageId,
    },
    /// `DELETE /api/v1/files/{file}`; nobody waits for an answer: what no message shows is removed after a day.
    Delete {
        /// The file's id.
        file: Uuid,
        /// Of the command.
        key: ClientMessageId,
    },
    /// Break that call off; nothing it says counts any more.
    Abort(Call),
    /// The file itself is not needed any more.
    Release,
}

/// Why a step brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No answer, or none that can be understood.
    Cut,
    /// The server's no.
    Refused(WireError),
    /// The file itself cannot be read.
    Unreadable,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Of [`Step::Begin`].
    Begun(Result<quorate_proto::rest::Upload, Trouble>),
    /// Of [`Step::Ask`]; `None`: nothing is there.
    There(Result<Option<FileState>, Trouble>),
    /// Of [`Step::Put`].
    Put {
        /// What was read, even if it is not known whether it arrived; `None` if nothing was.
        hash: Option<Hash>,
        /// What the server says.
        outcome: Result<ChunkStored, Trouble>,
    },
    /// Of [`Step::Commit`].
    Committed(Result<FileState, Trouble>),
}

/// Whether a hash in hex is this one; one that is not known is none.
fn is_hash(hex: &str, hash: Option<&Hash>) -> bool {
    let Some(hash) = hash else { return false };
    hex.len() == 2 * hash.len()
        && hex
            .bytes()
            .zip(hash.iter().flat_map(|byte| [byte >> 4, byte & 15]))
            .all(|(digit, nibble)| char::from(digit).to_digit(16) == Some(u32::from(nibble)))
}

#[cfg(test)]
mod tests;
