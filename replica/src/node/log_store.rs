//! The Raft log, vote and committed index: a write-ahead log with real fsync and group commit.
//!
//! Built on `raft-log`: one writer thread, one fdatasync for everything queued meanwhile, callbacks in order, a checksum a
//! record. What is appended is readable at once and acknowledged after the sync.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prost::Message as _;
use quorate_proto::rpc;
#[cfg(not(feature = "simulation"))]
use raft_log::api::raft_log_writer::RaftLogWriter as _;
use raft_log::codeq::{Decode, Encode};
use raft_log::{Config, RaftLog};
use tokio::sync::oneshot;

use super::types::{
    Entry, LogId, Types, Vote, entry_from_wire, entry_to_wire, log_id_from_wire, log_id_to_wire,
    vote_from_wire, vote_to_wire,
};
use crate::planted::{self, Bug};

/// Entries kept decoded for followers that are close behind; the rest is read from disk.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// A segment is closed at this size; purged segments are removed whole.
const SEGMENT_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that may wait for the disk before appends block.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest record believed when reading: far above any entry, far below what a damaged length could claim.
const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A protobuf message as a record: length, then bytes. The log adds the checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(Bytes);

/// A log id as a record, ordered as Raft orders it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogIdRecord(LogId);

/// A vote as a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub struct VoteRecord(Vote);

#[cfg(feature = "simulation")]
impl Record {
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }
}

#[cfg(feature = "simulation")]
impl LogIdRecord {
    pub(crate) fn index(&self) -> u64 {
        self.0.index()
    }
}

fn encode_bytes<W: Write>(bytes: &[u8], writer: &mut W) -> io::Result<usize> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a record is longer than 4 GiB"))?;
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(bytes)?;
    Ok(4 + bytes.len())
}

fn decode_bytes<R: Read>(reader: &mut R) -> io::Result<Bytes> {
    let mut head = [0; 4];
    reader.read_exact(&mut head)?;
    let length = u32::from_be_bytes(head) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a record's length cannot be true"));
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content)?;
    Ok(Bytes::from(content))
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Encode for Record {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        encode_bytes(&self.0, &mut writer)
    }
}

impl Decode for Record {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        decode_bytes(&mut reader).map(Self)
    }
}

impl Encode for LogIdRecord {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        encode_bytes(&log_id_to_wire(&self.0).encode_to_vec(), &mut writer)
    }
}

impl Decode for LogIdRecord {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let wire = rpc::LogId::decode(decode_bytes(&mut reader)?).map_err(invalid)?;
        Ok(Self(log_id_from_wire(&wire)))
    }
}

impl Encode for VoteRecord {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        encode_bytes(&vote_to_wire(&self.0).encode_to_vec(), &mut writer)
    }
}

impl Decode for VoteRecord {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let wire = rpc::Vote::decode(decode_bytes(&mut reader)?).map_err(invalid)?;
        vote_from_wire(Some(wire)).map(Self).map_err(invalid)
    }
}

/// Who is told when a write is on disk.
pub enum Flushed {
    /// openraft, about an append.
    Append(IOFlushed<Types>),
    /// A task that waits.
    Waiter(oneshot::Sender<io::Result<()>>),
}

impl raft_log::Callback for Flushed {
    fn send(self, result: io::Result<()>) {
        match self {
            Flushed::Append(callback) => callback.io_completed(result),
            Flushed::Waiter(waiter) => drop(waiter.send(result)),
        }
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
        payload.0.len() as u64
    }
}

#[cfg(feature = "simulation")]
use crate::simulation::Wal;
#[cfg(not(feature = "simulation"))]
type Wal = RaftLog<WalTypes>;

/// The log. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    log: Arc<RwLock<Wal>>,
}

impl Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").finish_non_exhaustive()
    }
}

const NOT_POISONED: &str = "no code panics while it holds the log";

impl LogStore {
    /// Opens the log under a directory, cutting a torn tail.
    ///
    /// # Errors
    /// When the directory cannot be used, or a record in the middle is damaged.
    pub fn open(dir: &Path) -> io::Result<Self> {
        #[cfg(feature = "simulation")]
        if let Some(log) = Wal::simulated(dir) {
            return Ok(Self { log: Arc::new(RwLock::new(log)) });
        }
        std::fs::create_dir_all(dir)?;
        let mut config = Config::new(dir.display());
        config.log_cache_capacity = Some(CACHE_BYTES);
        config.wal.chunk_max_size = Some(SEGMENT_BYTES);
        config.wal.flush_queue_max_bytes = Some(QUEUE_BYTES_MAX);
        config.wal.read_buffer_size = Some(4 * 1024 * 1024);
        config.wal.truncate_incomplete_record = Some(true);
        // No linger: the group forms while the last sync runs.
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        let log = RaftLog::open(Arc::new(config))?;
        #[cfg(feature = "simulation")]
        let log = Wal::Files(log);
        Ok(Self { log: Arc::new(RwLock::new(log)) })
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

    fn write<T>(&self, write: impl FnOnce(&mut Wal) -> io::Result<T>) -> io::Result<T> {
        write(&mut self.log.write().expect(NOT_POISONED))
    }

    /// Writes and waits until it is on disk.
    async fn write_synced<T>(&self, write: impl FnOnce(&mut Wal) -> io::Result<T>) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.write(|log| {
            write(log)?;
            log.flush(true, Some(Flushed::Waiter(done)))
        })?;
        synced.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }
}

fn payload(entry: Entry) -> (LogIdRecord, Record) {
    let id = LogIdRecord(entry.log_id);
    (id, Record(Bytes::from(entry_to_wire(entry).encode_to_vec())))
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
            let wire = rpc::Entry::decode(record.0).map_err(invalid)?;
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
            return self.write(|log| log.save_vote(vote).map(drop));
        }
        self.write_synced(|log| log.save_vote(vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Not synced: a commit index that is lost is learnt again. The next append carries it to disk.
        let Some(committed) = committed else { return Ok(()) };
        self.write(|log| {
            log.commit(LogIdRecord(committed))?;
            log.flush(false, None)
        })
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
        let records: Vec<_> = entries.into_iter().map(payload).collect();
        if planted::is(Bug::AckBeforeFsync) {
            callback.io_completed(Ok(()));
            return self.write(|log| log.append(records).map(drop));
        }
        self.write(|log| {
            log.append(records)?;
            log.flush(true, Some(Flushed::Append(callback)))
        })
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
        self.write_synced(|log| log.purge(LogIdRecord(log_id))).await
    }
}
