//! The Raft log, vote and committed index: a write-ahead log with real fsync.
//!
//! Built on `raft-log`: one writer thread, one fdatasync for each write that openraft hands over, callbacks in order, a checksum a
//! record. What is appended is readable at once and acknowledged after the sync. What a start makes of the files is decided in
//! [`super::log_check`]; a write or sync that fails is told once and ends the process.

mod mark;
mod record;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prost::Message as _;
use quorate_proto::rpc;
#[cfg(not(feature = "simulation"))]
use raft_log::api::raft_log_writer::RaftLogWriter as _;
use raft_log::codeq::OffsetSize as _;
use raft_log::{Config, RaftLog};
use tokio::sync::oneshot;

use mark::{Mark, open_mark};
use record::invalid;

use super::log_check::{self, LogError};
use super::types::{Entry, LogId, Types, Vote, entry_from_wire, entry_to_wire};
use crate::failure::{Failure, describe};
use crate::metrics::{LogFigures, Metrics};
use crate::planted::{self, Bug};

pub use record::{LogIdRecord, Record, VoteRecord};

/// Entries kept decoded for followers that are close behind; the rest is read from disk.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// A segment is closed at this size; purged segments are removed whole.
const SEGMENT_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that may wait for the disk before appends block.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Who is told when a write is on disk.
enum Waiting {
    /// openraft, about an append.
    Append(IOFlushed<Types>),
    /// A task that waits.
    Task(oneshot::Sender<io::Result<()>>),
    /// Nobody: the write goes to disk with the next one that is waited for.
    Nobody,
}

/// What becomes of a write. Dropped without a word from the log's writer it counts as failed, so nobody waits for ever.
pub struct Flushed {
    waiting: Option<Waiting>,
    /// Where the log ends with this write, when it is synced.
    synced_to: Option<u64>,
    shared: Arc<Shared>,
}

impl Flushed {
    fn finish(&mut self, result: io::Result<()>) {
        let Some(waiting) = self.waiting.take() else { return };
        match (&result, self.synced_to) {
            (Ok(()), Some(end)) => drop(self.shared.synced.fetch_max(end, Ordering::AcqRel)),
            (Ok(()), None) => {}
            (Err(error), _) => self.shared.fail("writing the Raft log", error),
        }
        match waiting {
            Waiting::Append(callback) => callback.io_completed(result),
            Waiting::Task(task) => drop(task.send(result)),
            Waiting::Nobody => {}
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        self.finish(Err(io::Error::other("the log's writer has stopped")));
    }
}

impl raft_log::Callback for Flushed {
    fn send(mut self, result: io::Result<()>) {
        self.finish(result);
    }
}

/// The write-ahead log's type configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalTypes;

impl raft_log::Types for WalTypes {
    type LogId = LogIdRecord;
    type LogPayload = Record;
    type Vote = VoteRecord;
    type Callback = Flushed;
    type UserData = Record;

    fn log_index(log_id: &LogIdRecord) -> u64 {
        log_id.0.index()
    }

    fn payload_size(payload: &Record) -> u64 {
        payload.message.len() as u64
    }
}

/// What the log's writer, its mark and its users share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// All bytes of the log before this place are on disk.
    synced: AtomicU64,
    failure: Failure,
    metrics: Metrics,
}

impl Shared {
    fn fail(&self, attempted: &str, error: &io::Error) {
        self.failure.tell(describe(attempted, &self.dir, error));
    }
}

#[cfg(feature = "simulation")]
use crate::simulation::Wal;
#[cfg(not(feature = "simulation"))]
type Wal = RaftLog<WalTypes>;

/// The log. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    // Before the mark: when both are dropped, the log's last writes are marked too.
    log: Arc<RwLock<Wal>>,
    /// Absent where the log is simulated: there is no file to mark.
    mark: Option<Arc<Mark>>,
    shared: Arc<Shared>,
}

impl Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").finish_non_exhaustive()
    }
}

const NOT_POISONED: &str = "no code panics while it holds the log";

impl LogStore {
    /// Opens the log under a directory, cutting a torn tail. Its mark is the file beside the directory that ends in `.synced`.
    ///
    /// # Errors
    /// When the directory cannot be used, or anything but a torn tail is damaged.
    pub fn open(dir: &Path, metrics: Metrics) -> Result<Self, LogError> {
        Self::open_with(dir, SEGMENT_BYTES, metrics)
    }

    fn open_with(dir: &Path, segment_bytes: usize, metrics: Metrics) -> Result<Self, LogError> {
        let failed = |source| LogError::Io { dir: dir.to_owned(), source };
        #[cfg(feature = "simulation")]
        if let Some(log) = Wal::simulated(dir) {
            let (dir, synced, failure) = (dir.to_owned(), AtomicU64::new(0), Failure::default());
            let shared = Shared { dir, synced, failure, metrics };
            return Ok(Self { log: Arc::new(RwLock::new(log)), mark: None, shared: Arc::new(shared) });
        }
        std::fs::create_dir_all(dir).map_err(failed)?;
        let (cell, marked) = open_mark(dir)?;
        let synced = log_check::check(dir, marked)?;
        let mut config = Config::new(dir.display());
        config.log_cache_capacity = Some(CACHE_BYTES);
        config.wal.chunk_max_size = Some(segment_bytes);
        config.wal.flush_queue_max_bytes = Some(QUEUE_BYTES_MAX);
        config.wal.read_buffer_size = Some(4 * 1024 * 1024);
        // A torn tail has been cut already; whatever else is wrong must not be.
        config.wal.truncate_incomplete_record = Some(false);
        // With no wait the writer takes one request at a time, each with its own sync; openraft already merges what waits.
        // 20 to 100 us let requests share syncs, but brought nothing that could be measured, and cost a lone sender a tenth.
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        let log = RaftLog::open(Arc::new(config)).map_err(|source| {
            match (log_check::locate(dir), source.kind()) {
                (Some(damage), _) => damage,
                (None, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                    LogError::Damaged { file: dir.to_owned(), what: source.to_string() }
                }
                (None, _) => failed(source),
            }
        })?;
        check_beginning(dir, &log)?;
        #[cfg(feature = "simulation")]
        let log = Wal::Files(log);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            synced: AtomicU64::new(synced),
            failure: Failure::default(),
            metrics,
        });
        let mark = Mark::start(cell, marked, shared.clone()).map_err(failed)?;
        Ok(Self { log: Arc::new(RwLock::new(log)), mark: Some(Arc::new(mark)), shared })
    }

    /// Index up to which the log was purged; `None` when it was not.
    pub fn purged_index(&self) -> Option<u64> {
        self.log.read().expect(NOT_POISONED).log_state().purged().map(|id| id.0.index())
    }

    /// What the log's writer has done since the start.
    pub fn figures(&self) -> LogFigures {
        let log = self.log.read().expect(NOT_POISONED);
        #[cfg(feature = "simulation")]
        let Wal::Files(log) = &*log else { return LogFigures::default() };
        let stat = log.stat();
        let flushed = stat.flush_metrics;
        LogFigures {
            written_bytes: flushed.write_bytes,
            writes: flushed.write_request_count,
            syncs: flushed.sync_batch_count,
            sync_time: Duration::from_micros(flushed.sync_us),
            sync_p99: Duration::from_micros(flushed.sync_percentiles.p99_us),
            segments: stat.closed_chunks.len() as u64 + 1,
        }
    }

    /// Where failures of the log are told.
    pub fn failure(&self) -> &Failure {
        &self.shared.failure
    }

    /// Brings the mark up to what has been synced: for an orderly stop.
    pub fn mark_synced(&self) {
        if let Some(mark) = &self.mark {
            mark.bring_up();
        }
    }

    /// The last entry, on disk or on its way there.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.log.read().expect(NOT_POISONED).log_state().last().map(|id| id.0)
    }

    /// The vote, on disk or on its way there.
    pub fn vote(&self) -> Option<Vote> {
        self.log.read().expect(NOT_POISONED).log_state().vote().map(|vote| vote.0)
    }

    /// Index of the last entry, 0 before the first.
    pub fn last_index(&self) -> u64 {
        let log = self.log.read().expect(NOT_POISONED);
        log.log_state().last().map_or(0, |id| id.0.index())
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.log.read().expect(NOT_POISONED).on_disk_size()
    }

    /// Writes, and hands what was written to the log's writer; `sync` also puts it on disk before `waiting` is told.
    fn write(
        &self,
        sync: bool,
        waiting: Waiting,
        write: impl FnOnce(&mut Wal) -> io::Result<raft_log::Segment>,
    ) -> io::Result<()> {
        let mut log = self.log.write().expect(NOT_POISONED);
        let written = write(&mut log).and_then(|segment| {
            let synced_to = sync.then(|| segment.end().0);
            let flushed = Flushed { waiting: Some(waiting), synced_to, shared: self.shared.clone() };
            log.flush(sync, Some(flushed))
        });
        if let Err(error) = &written {
            self.shared.fail("writing the Raft log", error);
        }
        written
    }

    /// Writes and waits until it is on disk.
    async fn write_synced(
        &self,
        write: impl FnOnce(&mut Wal) -> io::Result<raft_log::Segment>,
    ) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.write(true, Waiting::Task(done), write)?;
        synced.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }
}

/// Files missing at the front leave entries unaccounted for: the first one after what was purged must be there.
fn check_beginning(dir: &Path, log: &RaftLog<WalTypes>) -> Result<(), LogError> {
    let state = log.log_state();
    let Some(last) = state.last().map(|id| id.0.index()) else { return Ok(()) };
    let first = state.purged().map_or(0, |id| id.0.index() + 1);
    if first > last {
        return Ok(());
    }
    let found = log.read(first, first + 1).next();
    match found {
        Some(Ok(_)) => Ok(()),
        Some(Err(source)) => Err(LogError::Io { dir: dir.to_owned(), source }),
        None => Err(LogError::Damaged {
            file: dir.to_owned(),
            what: format!("entry {first} is missing, although only what comes before it was purged"),
        }),
    }
}

fn payload(entry: Entry, synced_before: u64) -> (LogIdRecord, Record) {
    let id = LogIdRecord(entry.log_id);
    (id, Record { synced_before, message: Bytes::from(entry_to_wire(entry).encode_to_vec()) })
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + openraft::OptionalSend,
    {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => *from + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(to) => *to + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let log = self.log.read().expect(NOT_POISONED);
        // What was purged or is not there yet is left out, as openraft wants it.
        let state = log.log_state();
        let from = from.max(state.purged().map_or(0, |id| id.0.index() + 1));
        let to = to.min(state.last().map_or(0, |id| id.0.index() + 1));
        if from >= to {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for found in log.read(from, to) {
            let (_, record) = found?;
            let wire = rpc::Entry::decode(record.message).map_err(invalid)?;
            entries.push(entry_from_wire(wire).map_err(invalid)?);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.read().expect(NOT_POISONED).log_state().vote().map(|vote| vote.0))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = self.log.read().expect(NOT_POISONED);
        let state = log.log_state();
        Ok(LogState {
            last_purged_log_id: state.purged().map(|id| id.0),
            last_log_id: state.last().map(|id| id.0),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = VoteRecord(*vote);
        if planted::is(Bug::VoteNotSynced) {
            return self.write(false, Waiting::Nobody, |log| log.save_vote(vote));
        }
        self.write_synced(|log| log.save_vote(vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Not even written by itself: a commit index that is lost is learnt again, and the next append takes it along. That is half of the
        // writes of each round.
        let Some(committed) = committed else { return Ok(()) };
        let mut log = self.log.write().expect(NOT_POISONED);
        match log.commit(LogIdRecord(committed)) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.shared.fail("writing the Raft log", &error);
                Err(error)
            }
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.read().expect(NOT_POISONED).log_state().committed().map(|id| id.0))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + openraft::OptionalSend,
        I::IntoIter: openraft::OptionalSend,
    {
        // Encoded before the lock is taken: readers of the log wait for no encoding.
        let synced_before = self.shared.synced.load(Ordering::Acquire);
        let records: Vec<_> = entries.into_iter().map(|entry| payload(entry, synced_before)).collect();
        if planted::is(Bug::AckBeforeFsync) {
            callback.io_completed(Ok(()));
            return self.write(false, Waiting::Nobody, |log| log.append(records));
        }
        self.write(true, Waiting::Append(callback), |log| log.append(records))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let index = last_log_id.map_or(0, |id| id.index() + 1);
        let end = self.log.read().expect(NOT_POISONED).log_state().last().map_or(0, |id| id.0.index() + 1);
        if index >= end {
            return Ok(());
        }
        self.write_synced(|log| log.truncate(index)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let before = self.figures().segments;
        self.write_synced(|log| log.purge(LogIdRecord(log_id))).await?;
        self.shared.metrics.log_purged(before.saturating_sub(self.figures().segments));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
