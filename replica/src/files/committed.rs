//! Which files were committed lately, as the state has it: those that have gone since are among them.
//!
//! A commit puts its file into the state's queue of files that nothing shows, and there its place stays for 24 h of log time,
//! whatever becomes of the file. An upload is forgotten 12 h after its last part came (`repair`), so the place of one that was
//! committed is still there. Places are numbered alike on every replica and come with the state, by the log or by a snapshot.

use bytes::Bytes;
use quorate_proto::limits::{FILE_KEPT_MS, RECEIPT_MS};

use super::uploads::FileId;
use crate::machine::records::FileExpiry;
use crate::machine::{Tables, files};
use crate::store::StoreError;

/// Places looked at under one hold of the state: one read of neighbours.
const PLACES_PER_STEP: usize = 256;

// An upload goes with the first sweep after `RECEIPT_MS`; its place must be there until then.
const _: () = assert!(FILE_KEPT_MS >= 2 * RECEIPT_MS);

/// How far the state was here when it was decided to keep a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Log time, ms since the Unix epoch.
    pub log_time_ms: u64,
    /// Number of the next place: that of a file committed later is not below.
    pub next_place: u64,
}

/// That a file was in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where in the queue.
    pub number: u64,
    /// The file.
    pub id: FileId,
    /// Log time when it was there, ms since the Unix epoch: that of its commit, or later.
    pub log_time_ms: u64,
}

/// Some neighbours in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// In order.
    pub found: Vec<Place>,
    /// Number from which on nothing was looked at.
    pub next: u64,
}

impl Places {
    /// Up to 256 places from this number on. At the end of the queue none is found, and nothing is next but `from`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(state: &impl Tables, from: u64) -> Result<Self, StoreError> {
        let queue = state.file_queue()?;
        if from >= queue.tail {
            return Ok(Self { found: Vec::new(), next: from });
        }
        let places = state.file_expiries(from.max(queue.head), PLACES_PER_STEP)?;
        let next = match places.last() {
            Some((last, ..)) if places.len() == PLACES_PER_STEP => last + 1,
            _ => queue.tail,
        };
        let place = |(number, expiry, _): (u64, FileExpiry, Bytes)| {
            Some(Place { number, id: files::id_of(&expiry.file_id)?, log_time_ms: expiry.log_time_ms })
        };
        Ok(Self { found: places.into_iter().filter_map(place).collect(), next })
    }
}
