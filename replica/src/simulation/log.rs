//! The Raft log's records: in the write-ahead log's files, or in a simulation on a disk that forgets what was not synced.
//!
//! The simulated log keeps the sequence of records that `raft-log` would have written, with the place up to which they are
//! synced. A crash keeps a prefix that includes everything synced: a record cut in the middle is a record that is not there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_log::api::raft_log_writer::RaftLogWriter as _;
use raft_log::{Callback as _, RaftLog, Segment};
use tokio::sync::Notify;

use crate::node::log_store::{Flushed, LogIdRecord, Record, VoteRecord, WalTypes};

#[derive(Debug, Clone)]
enum Written {
    Vote(VoteRecord),
    Append(LogIdRecord, Record),
    Commit(LogIdRecord),
    Truncate(u64),
    Purge(LogIdRecord),
}

#[derive(Default)]
struct Platter {
    records: Vec<Written>,
    /// How many of them are surely there after a crash.
    synced: usize,
    /// Who wants to know when that many records are synced.
    waiting: VecDeque<(usize, Option<Flushed>)>,
}

/// A log's records on a simulated disk. Clones share them.
#[derive(Clone, Default)]
pub struct LogDisk {
    platter: Arc<Mutex<Platter>>,
    asked: Arc<Notify>,
}

impl std::fmt::Debug for LogDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let platter = self.lock();
        write!(f, "LogDisk({} of {} records synced)", platter.synced, platter.records.len())
    }
}

impl LogDisk {
    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a crash may take.
    pub fn unsynced(&self) -> usize {
        let platter = self.lock();
        platter.records.len() - platter.synced
    }

    /// The process has died: of the records that were not synced the first `keep` are there. Returns how many are gone.
    pub fn crash(&self, keep: usize) -> usize {
        let mut platter = self.lock();
        let left = platter.records.len().min(platter.synced + keep);
        let gone = platter.records.len() - left;
        platter.records.truncate(left);
        platter.synced = left;
        let waiting = std::mem::take(&mut platter.waiting);
        drop(platter);
        // Their process is dead; what they say on their way out reaches nobody.
        drop(waiting);
        gone
    }

    /// Syncs what is asked for, one sync at a time, as the write-ahead log's thread does.
    async fn sync_for_ever(self) {
        loop {
            self.asked.notified().await;
            while !self.lock().waiting.is_empty() {
                // What is asked for while this sync runs waits for the next one.
                let upto = self.lock().waiting.back().map_or(0, |(upto, _)| *upto);
                let delay = super::host().map(|host| host.sync_delay()).unwrap_or_default();
                tokio::time::sleep(delay).await;
                let mut done = Vec::new();
                {
                    let mut platter = self.lock();
                    platter.synced = platter.synced.max(upto);
                    while platter.waiting.front().is_some_and(|(at, _)| *at <= upto) {
                        done.extend(platter.waiting.pop_front().and_then(|(_, callback)| callback));
                    }
                }
                for callback in done {
                    callback.send(Ok(()));
                }
            }
        }
    }
}

/// What the log says about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct WalState {
    vote: Option<VoteRecord>,
    last: Option<LogIdRecord>,
    committed: Option<LogIdRecord>,
    purged: Option<LogIdRecord>,
}

impl WalState {
    pub(crate) fn vote(&self) -> Option<&VoteRecord> {
        self.vote.as_ref()
    }

    pub(crate) fn last(&self) -> Option<&LogIdRecord> {
        self.last.as_ref()
    }

    pub(crate) fn committed(&self) -> Option<&LogIdRecord> {
        self.committed.as_ref()
    }

    pub(crate) fn purged(&self) -> Option<&LogIdRecord> {
        self.purged.as_ref()
    }
}

/// The simulated log as its process sees it.
pub(crate) struct Memory {
    disk: LogDisk,
    state: WalState,
    entries: BTreeMap<u64, (LogIdRecord, Record)>,
    bytes: u64,
}

impl Memory {
    fn open(disk: LogDisk) -> Self {
        let mut memory =
            Self { disk: disk.clone(), state: WalState::default(), entries: BTreeMap::new(), bytes: 0 };
        let records = {
            let mut platter = disk.lock();
            // A process that ended before its last sync left its records in the kernel's memory. A start writes them anew and
            // syncs them before it believes them (`log_check`): a power cut takes them no more.
            platter.synced = platter.records.len();
            platter.records.clone()
        };
        for record in &records {
            memory.take(record);
        }
        tokio::spawn(disk.sync_for_ever());
        memory
    }

    fn take(&mut self, record: &Written) {
        match record {
            Written::Vote(vote) => self.state.vote = Some(vote.clone()),
            Written::Append(id, payload) => {
                self.bytes += payload.bytes() as u64;
                self.state.last = Some(id.clone());
                self.entries.insert(id.index(), (id.clone(), payload.clone()));
            }
            Written::Commit(id) => self.state.committed = Some(id.clone()),
            Written::Truncate(index) => {
                self.entries.split_off(index);
                let last = self.entries.last_key_value().map(|(_, (id, _))| id.clone());
                self.state.last = last.or_else(|| self.state.purged.clone());
            }
            Written::Purge(id) => {
                self.entries = self.entries.split_off(&(id.index() + 1));
                self.state.purged = Some(id.clone());
                if self.state.last.as_ref().is_none_or(|last| last < id) {
                    self.state.last = Some(id.clone());
                }
            }
        }
    }

    fn write(&mut self, record: Written) {
        self.take(&record);
        self.disk.lock().records.push(record);
    }
}

/// A simulated log has no places in files.
fn nowhere() -> Segment {
    Segment::new(0, 0)
}

/// The write-ahead log under [`crate::node`]'s log store.
#[expect(clippy::large_enum_variant, reason = "there is one of it in a replica")]
pub(crate) enum Wal {
    Files(RaftLog<WalTypes>),
    Memory(Memory),
}

impl Wal {
    /// The simulated log under a directory, if it lies on a simulated disk.
    pub(crate) fn simulated(dir: &Path) -> Option<Self> {
        Some(Self::Memory(Memory::open(super::disk(dir)?.log)))
    }

    pub(crate) fn log_state(&self) -> WalState {
        match self {
            Wal::Files(log) => {
                let state = log.log_state();
                WalState {
                    vote: state.vote().cloned(),
                    last: state.last().cloned(),
                    committed: state.committed().cloned(),
                    purged: state.purged().cloned(),
                }
            }
            Wal::Memory(memory) => memory.state.clone(),
        }
    }

    pub(crate) fn on_disk_size(&self) -> u64 {
        match self {
            Wal::Files(log) => log.on_disk_size(),
            Wal::Memory(memory) => memory.bytes,
        }
    }

    pub(crate) fn read(
        &self,
        from: u64,
        to: u64,
    ) -> Box<dyn Iterator<Item = io::Result<(LogIdRecord, Record)>> + '_> {
        match self {
            Wal::Files(log) => Box::new(log.read(from, to)),
            Wal::Memory(memory) => {
                Box::new(memory.entries.range(from..to).map(|(_, entry)| Ok(entry.clone())))
            }
        }
    }

    pub(crate) fn save_vote(&mut self, vote: VoteRecord) -> io::Result<Segment> {
        match self {
            Wal::Files(log) => log.save_vote(vote),
            Wal::Memory(memory) => {
                memory.write(Written::Vote(vote));
                Ok(nowhere())
            }
        }
    }

    pub(crate) fn append(&mut self, entries: Vec<(LogIdRecord, Record)>) -> io::Result<Segment> {
        match self {
            Wal::Files(log) => log.append(entries),
            Wal::Memory(memory) => {
                for (id, payload) in entries {
                    memory.write(Written::Append(id, payload));
                }
                Ok(nowhere())
            }
        }
    }

    pub(crate) fn commit(&mut self, id: LogIdRecord) -> io::Result<Segment> {
        match self {
            Wal::Files(log) => log.commit(id),
            Wal::Memory(memory) => {
                memory.write(Written::Commit(id));
                Ok(nowhere())
            }
        }
    }

    pub(crate) fn truncate(&mut self, index: u64) -> io::Result<Segment> {
        match self {
            Wal::Files(log) => log.truncate(index),
            Wal::Memory(memory) => {
                memory.write(Written::Truncate(index));
                Ok(nowhere())
            }
        }
    }

    pub(crate) fn purge(&mut self, id: LogIdRecord) -> io::Result<Segment> {
        match self {
            Wal::Files(log) => log.purge(id),
            Wal::Memory(memory) => {
                memory.write(Written::Purge(id));
                Ok(nowhere())
            }
        }
    }

    pub(crate) fn flush(&mut self, sync: bool, callback: Option<Flushed>) -> io::Result<()> {
        match self {
            Wal::Files(log) => log.flush(sync, callback),
            Wal::Memory(memory) => {
                if sync {
                    {
                        let mut platter = memory.disk.lock();
                        let upto = platter.records.len();
                        platter.waiting.push_back((upto, callback));
                    }
                    memory.disk.asked.notify_one();
                } else if let Some(callback) = callback {
                    callback.send(Ok(()));
                }
                Ok(())
            }
        }
    }
}
