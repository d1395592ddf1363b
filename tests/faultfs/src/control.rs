//! What a test tells the file system, and what it answers: one JSON object a line, on standard input and output.

use serde::{Deserialize, Serialize};

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// Nothing.
    Drop,
    /// Of the changes of folders the first few, of each file's writes the first few; seeded.
    KeepPrefix(u64),
    /// The same, and a part of the write that follows; seeded.
    Torn(u64),
    /// Any pages of any writes, in no order: a kernel writes back as it likes; seeded.
    Scattered(u64),
}

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteError {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
}

/// What is wrong with the disk now; the default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Every write and every new file fails.
    pub writes: Option<WriteError>,
    /// Every sync fails, and what it should have kept is never written.
    pub syncs: bool,
    /// Nothing may be changed: EROFS.
    pub read_only: bool,
    /// Bytes that fit; a write beyond them fails with ENOSPC.
    pub full_after_bytes: Option<u64>,
    /// Every sync takes this long.
    pub slow_sync_ms: u64,
}

/// A line of standard input.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// The power is cut: what is open is dead, what was not synced is gone.
    Cut(Cut),
    /// From now on these faults.
    Faults(Faults),
    /// What has happened.
    Usage,
}

/// A line of standard output.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The first line: it is mounted.
    Mounted,
    /// The first line: this machine cannot mount it.
    Unavailable(String),
    /// Done.
    Done,
    /// What the cut took.
    Cut(CutReport),
    /// What has happened.
    Usage(Usage),
}

/// What a power cut took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutReport {
    /// Written bytes that are gone.
    pub dropped_bytes: u64,
    /// Creations, removals and renames that are undone.
    pub dropped_names: u64,
    /// Files that were open.
    pub open_files: u64,
}

/// What is on the disk and what was asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of all files, as programs see them.
    pub bytes: u64,
    /// Written bytes that no sync has covered.
    pub unsynced_bytes: u64,
    /// Syncs of files and folders that succeeded.
    pub syncs: u64,
    /// Writes that succeeded.
    pub writes: u64,
    /// Operations that failed because of [`Faults`].
    pub refused: u64,
}
