//! The checkpoint: the state as of some index, in sled, written whole batches at a time by one thread.
//!
//! sled is beta and its flush is no fsync, so nothing here is trusted beyond what [`super::trust`] allows: the Raft log and
//! the last snapshot can always rebuild it. Its panics on damaged files become errors with a way out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::run::{self, Members};
use super::{Applied, Key, StoreError, Writes};

/// sled's page cache. Reads go through the overlay first; this serves history and cold conversations.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Key of the record that says which entry the checkpoint ends with. Below every space, so no range meets it.
const APPLIED_KEY: &[u8] = &[0];

/// Pairs in one batch of an install; bounds memory, not atomicity (the trust marker covers that).
const INSTALL_BATCH_PAIRS: usize = 4096;

/// Changed members of one run space and id: ordinal, and the value or `None` for a deletion.
type Changes = Vec<(u64, Option<Bytes>)>;

/// The sled tree behind the overlay.
#[derive(Debug)]
pub(super) struct Checkpoint {
    db: Tree,
}

#[cfg(feature = "simulation")]
use crate::simulation::{Batch, Tree};
#[cfg(not(feature = "simulation"))]
use sled::{Batch, Db as Tree};

impl Checkpoint {
    /// Opens or makes the tree.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the directory cannot be used, [`StoreError::Damaged`] when sled cannot read what is there.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        #[cfg(feature = "simulation")]
        if let Some(db) = Tree::simulated(dir) {
            return Ok(Self { db });
        }
        let opened = catch_unwind(AssertUnwindSafe(|| {
            sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(Some(1_000))
                .mode(sled::Mode::HighThroughput)
                .open()
        }));
        match opened {
            #[cfg(feature = "simulation")]
            Ok(Ok(db)) => Ok(Self { db: Tree::Sled(db) }),
            #[cfg(not(feature = "simulation"))]
            Ok(Ok(db)) => Ok(Self { db }),
            Ok(Err(sled::Error::Io(source))) => Err(StoreError::io("opening the checkpoint")(source)),
            Ok(Err(error)) => Err(StoreError::damaged(&format!("the checkpoint cannot be opened: {error}"))),
            Err(_) => Err(StoreError::damaged("the checkpoint cannot be opened: its files are damaged")),
        }
    }

    /// What the checkpoint contains.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        let raw = self.db.get(APPLIED_KEY).map_err(|error| StoreError::checkpoint("reading", &error))?;
        match raw {
            None => Ok(Applied::default()),
            Some(raw) => Applied::decode(raw.as_ref())
                .map_err(|_| StoreError::damaged("the checkpoint's applied record cannot be read")),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        if key.is_run() {
            let ordinal = key.ordinal();
            let found = self.members(key, ordinal.saturating_add(1), 1)?;
            return Ok(found.into_iter().find(|(at, _)| *at == ordinal).map(|(_, value)| value));
        }
        let raw = self.db.get(key.as_bytes()).map_err(|error| StoreError::checkpoint("reading", &error))?;
        Ok(raw.map(|raw| Bytes::copy_from_slice(&raw)))
    }

    pub(super) fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        if from.is_run() {
            let end = if from.run_prefix() == to.run_prefix() { to.ordinal() } else { u64::MAX };
            let members = self.members(from, end, limit)?;
            return Ok(members.into_iter().map(|(at, value)| (from.with_ordinal(at), value)).collect());
        }
        let mut pairs = Vec::new();
        for pair in self.db.range(from.as_bytes()..to.as_bytes()).take(limit) {
            let (raw, value) = pair.map_err(|error| StoreError::checkpoint("reading", &error))?;
            let key =
                Key::from_bytes(&raw).ok_or_else(|| StoreError::damaged("a checkpoint key is too long"))?;
            pairs.push((key, Bytes::copy_from_slice(&value)));
        }
        Ok(pairs)
    }

    /// Members of one run space and id, from `from`'s ordinal up to `end`, exclusive.
    fn members(&self, from: &Key, end: u64, limit: usize) -> Result<Members, StoreError> {
        let mut found = Members::new();
        let start = from.ordinal();
        for pair in self.db.range(from.as_bytes()..) {
            let (raw, value) = pair.map_err(|error| StoreError::checkpoint("reading", &error))?;
            if !raw.starts_with(from.run_prefix()) || raw.len() != from.as_bytes().len() {
                break;
            }
            let run = Bytes::copy_from_slice(&value);
            for member in run::walk(&run) {
                let (ordinal, place) = member.ok_or_else(|| StoreError::damaged("a run cannot be read"))?;
                if ordinal >= end || found.len() >= limit {
                    return Ok(found);
                }
                if ordinal >= start {
                    found.push((ordinal, run.slice(place)));
                }
            }
        }
        Ok(found)
    }

    /// Writes a frozen overlay and what it brings the state to, as one atomic batch.
    pub(super) fn write(&self, writes: &Writes, applied: &Applied) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut pending: Option<(Key, Changes)> = None;
        for (key, value) in writes {
            if !key.is_run() {
                match value {
                    Some(value) => batch.insert(key.as_bytes(), value.as_ref()),
                    None => batch.remove(key.as_bytes()),
                }
                continue;
            }
            match &mut pending {
                Some((first, changes)) if first.run_prefix() == key.run_prefix() => {
                    changes.push((key.ordinal(), value.clone()));
                }
                _ => {
                    if let Some((first, changes)) = pending.take() {
                        self.merge_runs(&mut batch, &first, changes)?;
                    }
                    pending = Some((*key, vec![(key.ordinal(), value.clone())]));
                }
            }
        }
        if let Some((first, changes)) = pending {
            self.merge_runs(&mut batch, &first, changes)?;
        }
        batch.insert(APPLIED_KEY, applied.encode_to_vec());
        self.db.apply_batch(batch).map_err(|error| StoreError::checkpoint("writing", &error))
    }

    /// Rewrites the runs that the changes touch, the last one included when there is room in it.
    fn merge_runs(&self, batch: &mut Batch, first: &Key, changes: Changes) -> Result<(), StoreError> {
        let prefix = first.run_prefix();
        let last = changes.last().map_or(0, |(ordinal, _)| *ordinal);
        let mut touched = std::collections::BTreeMap::<u64, Bytes>::new();
        let mut take = |raw: &[u8], value: &[u8], batch: &mut Batch| -> Result<(), StoreError> {
            let run = Bytes::copy_from_slice(value);
            touched.extend(run::unpack(&run).ok_or_else(|| StoreError::damaged("a run cannot be read"))?);
            batch.remove(raw);
            Ok(())
        };
        // The run before the first change, if it still has room, is filled up.
        if let Some(pair) = self.db.range(prefix..first.as_bytes()).next_back() {
            let (raw, value) = pair.map_err(|error| StoreError::checkpoint("reading", &error))?;
            if value.len() < run::RUN_BYTES_TARGET / 2 {
                take(&raw, &value, batch)?;
            }
        }
        // Runs that hold changed members: their keys, the last ordinals, are at or after the first change.
        for pair in self.db.range(first.as_bytes()..) {
            let (raw, value) = pair.map_err(|error| StoreError::checkpoint("reading", &error))?;
            if !raw.starts_with(prefix) {
                break;
            }
            if run::first(&value).is_none_or(|begins| begins > last) {
                break;
            }
            take(&raw, &value, batch)?;
        }
        for (ordinal, value) in changes {
            match value {
                Some(value) => touched.insert(ordinal, value),
                None => touched.remove(&ordinal),
            };
        }
        let members: Members = touched.into_iter().collect();
        for run in run::split(&members) {
            let Some((last, _)) = run.last() else { continue };
            batch.insert(first.with_ordinal(*last).as_bytes(), run::pack(run));
        }
        Ok(())
    }

    /// Every stored pair but the applied record, raw, in order of keys. Still while only the writing thread walks it.
    pub(super) fn raw_pairs(
        &self,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> + '_ {
        self.db.range([1_u8]..).map(|pair| pair.map_err(|error| StoreError::checkpoint("reading", &error)))
    }

    /// Replaces everything by raw pairs. Not atomic: the caller withdraws trust first and gives it back after.
    pub(super) fn replace(
        &self,
        pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
        applied: &Applied,
    ) -> Result<(), StoreError> {
        self.db.clear().map_err(|error| StoreError::checkpoint("clearing", &error))?;
        let mut batch = Batch::default();
        let mut count = 0;
        for pair in pairs {
            let (key, value) = pair?;
            batch.insert(key.as_ref(), value.as_ref());
            count += 1;
            if count % INSTALL_BATCH_PAIRS == 0 {
                let full = std::mem::take(&mut batch);
                self.db.apply_batch(full).map_err(|error| StoreError::checkpoint("writing", &error))?;
            }
        }
        batch.insert(APPLIED_KEY, applied.encode_to_vec());
        self.db.apply_batch(batch).map_err(|error| StoreError::checkpoint("writing", &error))
    }

    /// Hands everything to the operating system.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(|_| ()).map_err(|error| StoreError::checkpoint("flushing", &error))
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}
