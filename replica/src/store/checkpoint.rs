//! The checkpoint: the state as of some index, in sled, written whole batches at a time by one thread.
//!
//! sled is beta and its flush is no fsync, so nothing here is trusted beyond what [`super::trust`] allows: the Raft log and
//! the last snapshot can always rebuild it. Its panics on damaged files become errors with a way out, and every value carries a
//! checksum over key and value: what sled serves is believed only when it is what was written. Anything else withdraws the
//! trust in the whole checkpoint, so that the next start rebuilds it.

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, RwLock};

use bytes::Bytes;
use prost::Message as _;

use super::known::Ids;
use super::run::{self, Members};
use super::segments::Segments;
use super::trust::Trust;
use super::{Applied, Key, Space, StoreError, Writes};
use crate::failure::Failure;

/// sled's page cache. Reads go through the overlay first; this serves history and cold conversations.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Key of the record that says which entry the checkpoint ends with. Below every space, so no range meets it.
const APPLIED_KEY: &[u8] = &[0];

const DEDUP: u8 = Space::Dedup as u8;

/// Pairs in one batch of an install; bounds memory, not atomicity (the trust marker covers that).
const INSTALL_BATCH_PAIRS: usize = 4096;

/// Changed members of one run space and id: ordinal, and the value or `None` for a deletion.
type Changes = Vec<(u64, Option<Bytes>)>;

pub(super) type Pair = (sled::IVec, Bytes);

/// Bytes of the checksum that stands before each value.
const CHECKSUM_BYTES: usize = 4;

/// CRC-32 over key and value, so that a value under another's key is noticed too.
fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

/// A value as it is stored.
pub(super) fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(CHECKSUM_BYTES + value.len());
    sealed.extend_from_slice(&checksum(key, value));
    sealed.extend_from_slice(value);
    sealed
}

fn unpacked(run: &Bytes) -> Result<BTreeMap<u64, Bytes>, StoreError> {
    let members = run::unpack(run);
    Ok(members.ok_or_else(|| StoreError::damaged("a run cannot be read"))?.into_iter().collect())
}

#[cfg(feature = "simulation")]
pub(super) use crate::simulation::Batch;
#[cfg(feature = "simulation")]
use crate::simulation::Tree;
#[cfg(not(feature = "simulation"))]
pub(super) use sled::Batch;
#[cfg(not(feature = "simulation"))]
use sled::Db as Tree;

/// Who is told when what sled serves is not what was written.
#[derive(Debug)]
struct Guard {
    dir: PathBuf,
    trust: Trust,
    failure: Failure,
}

/// The sled tree behind the overlay.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) db: Tree,
    /// Held for writing while a batch is applied and for reading while a range is walked: sled's iterator is no view of one
    /// point in time, and a run that is rewritten meanwhile may move below where a walk already is. The segments of remembered ids
    /// change with the batch.
    walks: RwLock<Segments>,
    guard: OnceLock<Guard>,
}

const NOT_POISONED: &str = "nothing panics while it holds the lock on walks";

impl Checkpoint {
    fn over(db: Tree) -> Result<Self, StoreError> {
        let mut checkpoint = Self { db, walks: RwLock::default(), guard: OnceLock::new() };
        checkpoint.walks = RwLock::new(checkpoint.read_segments()?);
        Ok(checkpoint)
    }

    /// Opens or makes the tree.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the directory cannot be used, [`StoreError::Damaged`] when sled cannot read what is there.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        #[cfg(feature = "simulation")]
        if let Some(db) = Tree::simulated(dir) {
            return Self::over(db);
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
            Ok(Ok(db)) => Self::over(Tree::Sled(db)),
            #[cfg(not(feature = "simulation"))]
            Ok(Ok(db)) => Self::over(db),
            Ok(Err(sled::Error::Io(source))) => Err(StoreError::io("opening the checkpoint")(source)),
            Ok(Err(error)) => Err(StoreError::damaged(&format!("the checkpoint cannot be opened: {error}"))),
            Err(_) => Err(StoreError::damaged("the checkpoint cannot be opened: its files are damaged")),
        }
    }

    /// From now on damage withdraws the trust in this checkpoint and ends the replica.
    pub(super) fn guard(&self, dir: &Path, trust: Trust, failure: Failure) {
        let _ = self.guard.set(Guard { dir: dir.to_owned(), trust, failure });
    }

    /// What is served is not what was written.
    pub(super) fn damaged(&self, what: &str) -> StoreError {
        let Some(Guard { dir, trust, failure }) = self.guard.get() else {
            return StoreError::damaged(&format!("the checkpoint is damaged ({what})"));
        };
        let line = match trust.withdraw() {
            Ok(()) => format!(
                "the checkpoint in {} is damaged ({what}): start this replica again, it rebuilds the checkpoint from snapshot \
                 and log",
                dir.display()
            ),
            Err(error) => format!(
                "the checkpoint in {0} is damaged ({what}) and cannot be marked so ({error}): remove {0} and start this \
                 replica again, it rebuilds the checkpoint from snapshot and log",
                dir.display()
            ),
        };
        failure.tell(&line);
        StoreError::damaged(&line)
    }

    /// Asks sled, whose way to say that its files are damaged may be a panic.
    pub(super) fn ask<T>(&self, ask: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error @ (sled::Error::Corruption { .. } | sled::Error::ReportableBug(_)))) => {
                Err(self.damaged(&error.to_string()))
            }
            Ok(Err(error)) => Err(StoreError::checkpoint("reading", &error)),
            Err(_) => Err(self.damaged("reading it panicked")),
        }
    }

    /// A stored value without its checksum.
    pub(super) fn unsealed(&self, key: &[u8], raw: &[u8]) -> Result<Bytes, StoreError> {
        match raw.split_at_checked(CHECKSUM_BYTES) {
            Some((stored, value)) if stored == checksum(key, value) => Ok(Bytes::copy_from_slice(value)),
            _ => Err(self.damaged("a value's checksum is wrong")),
        }
    }

    /// The next pair of a walk, its value checked.
    pub(super) fn next_pair(
        &self,
        walk: &mut impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Option<Pair>, StoreError> {
        self.checked(self.ask(|| walk.next().transpose())?)
    }

    fn checked(&self, pair: Option<(sled::IVec, sled::IVec)>) -> Result<Option<Pair>, StoreError> {
        let Some((key, raw)) = pair else { return Ok(None) };
        let value = self.unsealed(&key, &raw)?;
        Ok(Some((key, value)))
    }

    /// What the checkpoint contains.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        match self.ask(|| self.db.get(APPLIED_KEY))? {
            None => Ok(Applied::default()),
            Some(raw) => Applied::decode(self.unsealed(APPLIED_KEY, &raw)?)
                .map_err(|_| self.damaged("its applied record cannot be read")),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        if key.is_run() {
            let ordinal = key.ordinal();
            let found = self.members(key, ordinal.saturating_add(1), 1)?;
            return Ok(found.into_iter().find(|(at, _)| *at == ordinal).map(|(_, value)| value));
        }
        if key.space() == DEDUP {
            return self.remembered(&self.walks.read().expect(NOT_POISONED), key);
        }
        let raw = self.ask(|| self.db.get(key.as_bytes()))?;
        raw.map(|raw| self.unsealed(key.as_bytes(), &raw)).transpose()
    }

    /// What is remembered of a command id that is about to be forgotten.
    pub(super) fn get_leaving(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.leaving(&self.walks.read().expect(NOT_POISONED), key)
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
        let is_of_others = *to <= Key::of(Space::Dedup) || *from >= Key::of(Space::SigningKey);
        if !is_of_others {
            return Err(StoreError::damaged(
                "a range of remembered ids was asked for: they are read one by one",
            ));
        }
        let mut pairs = Vec::new();
        let _still = self.walks.read().expect(NOT_POISONED);
        let mut walk = self.db.range(from.as_bytes()..to.as_bytes());
        while pairs.len() < limit
            && let Some((raw, value)) = self.next_pair(&mut walk)?
        {
            let key = Key::from_bytes(&raw).ok_or_else(|| self.damaged("a key is too long"))?;
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    /// Members of one run space and id, from `from`'s ordinal up to `end`, exclusive.
    pub(super) fn members(&self, from: &Key, end: u64, limit: usize) -> Result<Members, StoreError> {
        let mut found = Members::new();
        let start = from.ordinal();
        let _still = self.walks.read().expect(NOT_POISONED);
        let mut walk = self.db.range(from.as_bytes()..);
        while let Some((raw, run)) = self.next_pair(&mut walk)? {
            if !raw.starts_with(from.run_prefix()) || raw.len() != from.as_bytes().len() {
                break;
            }
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

    /// Keeps batches from being written.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.walks.read().expect(NOT_POISONED)
    }

    /// Writes what is no value.
    #[cfg(test)]
    pub(super) fn spoil(&self, key: &Key) {
        self.db.insert(key.as_bytes(), b"something else").expect("writes");
    }

    /// The command ids that are remembered.
    pub(super) fn ids(&self) -> Result<Ids, StoreError> {
        let keys = self.id_pairs(self.segments()).map(|pair| pair.map(|(key, _)| key));
        Ids::of(keys, self.last_ordinal(Space::DedupExpiry)?)
    }

    /// The segments of remembered ids as the last batch left them.
    pub(super) fn segments(&self) -> Segments {
        self.walks.read().expect(NOT_POISONED).clone()
    }

    /// The highest ordinal in a run space that has one id only.
    fn last_ordinal(&self, space: Space) -> Result<Option<u64>, StoreError> {
        let last = self.ask(|| self.db.scan_prefix([space as u8]).next_back().transpose())?;
        Ok(last.and_then(|(raw, _)| Key::from_bytes(&raw)).map(|key| key.ordinal()))
    }

    /// Writes a frozen overlay and what it brings the state to, as one atomic batch.
    pub(super) fn write(&self, writes: &Writes, applied: &Applied) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let segments = self.change_segments(&mut batch, &self.segments(), writes)?;
        let mut pending: Option<(Key, Changes)> = None;
        for (key, value) in writes {
            if key.space() == DEDUP {
                continue;
            }
            if !key.is_run() {
                match value {
                    Some(value) => batch.insert(key.as_bytes(), sealed(key.as_bytes(), value)),
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
        batch.insert(APPLIED_KEY, sealed(APPLIED_KEY, &applied.encode_to_vec()));
        let mut walks = self.walks.write().expect(NOT_POISONED);
        self.db.apply_batch(batch).map_err(|error| StoreError::checkpoint("writing", &error))?;
        *walks = segments;
        Ok(())
    }

    /// Rewrites the runs that hold changed members, each by itself, and appends what lies beyond the last. Work grows with
    /// the changes and not with what lies between them: a queue is changed at both its ends.
    ///
    /// Returns how many stored runs were rewritten.
    fn merge_runs(&self, batch: &mut Batch, first: &Key, changes: Changes) -> Result<usize, StoreError> {
        let mut rewritten = 0;
        let mut changes = changes.into_iter().peekable();
        while let Some((ordinal, _)) = changes.peek() {
            let at = first.with_ordinal(*ordinal);
            let (mut members, end) = match self.run_at_or_after(&at)? {
                // The run that holds the member, or the one before which it would stand.
                Some((raw, run)) => {
                    let key = Key::from_bytes(&raw);
                    let key = key.ok_or_else(|| StoreError::damaged("a checkpoint key is too long"))?;
                    let end = key.ordinal();
                    // What comes after the last run joins it here: read once more, it would be without these changes.
                    let next = end.checked_add(1).map(|next| self.run_at_or_after(&first.with_ordinal(next)));
                    let is_last = next.transpose()?.flatten().is_none();
                    batch.remove(raw);
                    (unpacked(&run)?, if is_last { u64::MAX } else { end })
                }
                // Beyond every run: the last one is filled up if it has room.
                None => match self.run_before(&at)? {
                    Some((raw, run)) if run.len() < run::RUN_BYTES_TARGET / 2 => {
                        batch.remove(raw);
                        (unpacked(&run)?, u64::MAX)
                    }
                    _ => (BTreeMap::new(), u64::MAX),
                },
            };
            rewritten += usize::from(!members.is_empty());
            while let Some((ordinal, value)) = changes.next_if(|(ordinal, _)| *ordinal <= end) {
                match value {
                    Some(value) => members.insert(ordinal, value),
                    None => members.remove(&ordinal),
                };
            }
            let members: Members = members.into_iter().collect();
            for run in run::split(&members) {
                let Some((last, _)) = run.last() else { continue };
                let key = first.with_ordinal(*last);
                batch.insert(key.as_bytes(), sealed(key.as_bytes(), &run::pack(run)));
            }
        }
        Ok(rewritten)
    }

    /// The first run of the key's space and id that ends at or after its ordinal.
    fn run_at_or_after(&self, key: &Key) -> Result<Option<Pair>, StoreError> {
        let found = self.ask(|| self.db.range(key.as_bytes()..).next().transpose())?;
        self.neighbour(found, key)
    }

    /// The last run of the key's space and id that ends before its ordinal.
    fn run_before(&self, key: &Key) -> Result<Option<Pair>, StoreError> {
        let found = self.ask(|| self.db.range(key.run_prefix()..key.as_bytes()).next_back().transpose())?;
        self.neighbour(found, key)
    }

    /// A found pair, if it is a run of the key's space and id.
    fn neighbour(
        &self,
        found: Option<(sled::IVec, sled::IVec)>,
        key: &Key,
    ) -> Result<Option<Pair>, StoreError> {
        let is_neighbour =
            |raw: &[u8]| raw.starts_with(key.run_prefix()) && raw.len() == key.as_bytes().len();
        self.checked(found.filter(|(raw, _)| is_neighbour(raw)))
    }

    /// Every stored pair but the applied record, raw but for remembered ids, in order of keys. It stands still for the
    /// writing thread, the only one that changes it.
    pub(super) fn raw_pairs(&self) -> impl Iterator<Item = Result<Pair, StoreError>> + '_ {
        let ids = self.id_pairs(self.segments());
        let ids = ids.map(|pair| pair.map(|(key, value)| (sled::IVec::from(key.as_bytes()), value)));
        self.stored(1, Excluded([DEDUP])).chain(ids).chain(self.stored(DEDUP + 1, Unbounded))
    }

    /// What is stored from a space on.
    fn stored(&self, from: u8, to: Bound<[u8; 1]>) -> impl Iterator<Item = Result<Pair, StoreError>> + '_ {
        let mut walk = self.db.range((Included([from]), to));
        std::iter::from_fn(move || self.next_pair(&mut walk).transpose())
    }

    /// Replaces everything by raw pairs. Not atomic: the caller withdraws trust first and gives it back after.
    pub(super) fn replace(
        &self,
        pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
        applied: &Applied,
    ) -> Result<(), StoreError> {
        let mut walks = self.walks.write().expect(NOT_POISONED);
        *walks = Segments::of_singles();
        self.db.clear().map_err(|error| StoreError::checkpoint("clearing", &error))?;
        let mut batch = Batch::default();
        let mut count = 0;
        for pair in pairs {
            let (key, value) = pair?;
            batch.insert(key.as_ref(), sealed(&key, &value));
            count += 1;
            if count % INSTALL_BATCH_PAIRS == 0 {
                let full = std::mem::take(&mut batch);
                self.db.apply_batch(full).map_err(|error| StoreError::checkpoint("writing", &error))?;
            }
        }
        batch.insert(APPLIED_KEY, sealed(APPLIED_KEY, &applied.encode_to_vec()));
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

#[cfg(test)]
mod tests {
    use super::super::Space;
    use super::*;

    fn member(ordinal: u64) -> Key {
        Key::two(Space::DedupExpiry, 0, ordinal)
    }

    fn write(checkpoint: &Checkpoint, changes: impl IntoIterator<Item = (u64, Option<Bytes>)>) {
        let writes = changes.into_iter().map(|(ordinal, value)| (member(ordinal), value)).collect();
        checkpoint.write(&writes, &Applied::default()).expect("writes");
    }

    #[test]
    fn a_queue_changed_at_both_ends_rewrites_its_ends_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(dir.path()).expect("opens");
        let value = Bytes::from(vec![7; 400]);
        write(&checkpoint, (0..20_000).map(|ordinal| (ordinal, Some(value.clone()))));
        assert!(checkpoint.db.len() > 400, "hundreds of runs");
        let changes = vec![(0, None), (1, None), (20_000, Some(value.clone())), (20_001, Some(value))];
        let mut batch = Batch::default();
        let rewritten = checkpoint.merge_runs(&mut batch, &member(0), changes).expect("merges");
        assert!(rewritten <= 2, "{rewritten} runs were rewritten");
    }

    #[test]
    fn a_changed_or_misplaced_value_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(dir.path()).expect("opens");
        let (one, two) = (Key::one(Space::Conversation, 1), Key::one(Space::Conversation, 2));
        let writes = [(one, Some(Bytes::from("one"))), (two, Some(Bytes::from("two")))];
        checkpoint.write(&writes.into_iter().collect(), &Applied::default()).expect("writes");
        assert_eq!(checkpoint.get(&one).expect("reads").as_deref(), Some(&b"one"[..]));
        // sled checks its own pages, so what it would let through is written through it here.
        let whole = checkpoint.db.get(one.as_bytes()).expect("reads").expect("there");
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            checkpoint.db.insert(one.as_bytes(), flipped).expect("writes");
            assert!(checkpoint.get(&one).is_err(), "bit {at}");
            assert!(checkpoint.range(&one, &two, 10).is_err(), "bit {at}");
            assert!(checkpoint.raw_pairs().any(|pair| pair.is_err()), "bit {at}");
        }
        checkpoint.db.insert(one.as_bytes(), b"").expect("writes");
        assert!(checkpoint.get(&one).is_err(), "shorter than a checksum");
        let other = checkpoint.db.get(two.as_bytes()).expect("reads").expect("there");
        checkpoint.db.insert(one.as_bytes(), other).expect("writes");
        assert!(checkpoint.get(&one).is_err(), "whole, but under another key");
    }

    #[test]
    fn runs_look_like_one_map_whatever_is_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(dir.path()).expect("opens");
        let mut model = BTreeMap::new();
        // A small generator with a fixed seed (Knuth's constants): the same changes each time.
        let mut state = 42_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..300 {
            let mut changes = BTreeMap::new();
            for _ in 0..=random(40) {
                // Mostly appends near a moving end, some edits and deletions anywhere, some of both at once.
                let ordinal = if random(3) == 0 { random(3_000) } else { round * 10 + random(30) };
                let length = usize::try_from(random(3_000)).expect("small");
                let value = (random(4) != 0).then(|| Bytes::from(vec![round as u8; length]));
                changes.insert(ordinal, value);
            }
            for (ordinal, value) in &changes {
                match value {
                    Some(value) => model.insert(*ordinal, value.clone()),
                    None => model.remove(ordinal),
                };
            }
            write(&checkpoint, changes);
            let found = checkpoint.range(&member(0), &member(u64::MAX), usize::MAX).expect("reads");
            let found: Vec<_> = found.into_iter().map(|(key, value)| (key.ordinal(), value)).collect();
            assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>(), "round {round}");
            let probe = random(3_000);
            assert_eq!(checkpoint.get(&member(probe)).expect("reads"), model.get(&probe).cloned());
        }
    }
}
