//! The replicated state on this replica: an overlay in memory over a checkpoint on disk.
//!
//! ```text
//!   apply ──writes──▶ active overlay ──frozen──▶ one thread ──one atomic batch──▶ sled
//!   reads ──────────▶ active, frozen, sled, in this order
//! ```
//!
//! The Raft log is the write-ahead log of this state: after a crash the log replays from the checkpoint's applied entry.
//! Memory is bounded: when the thread falls behind, [`Store::wait_for_room`] holds apply back. This module knows keys and
//! bytes; what they mean is the machine's.

mod access;
pub mod backup;
mod checkpoint;
mod error;
mod key;
mod known;
mod remembered;
mod run;
mod segments;
mod snapshot;
mod stopped;
pub mod sum;
mod trust;
mod view;
mod writer;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::Instant;

use bytes::Bytes;
use quorate_proto::rpc::{LogId, StoredMembership};
use tokio::sync::{Notify, oneshot};

use checkpoint::Checkpoint;
use known::{Ids, Values};
use sum::StateSum;
use trust::Trust;
use writer::{Job, Writer};

use crate::failure::Failure;
use crate::metrics::Metrics;

pub use access::{Applier, Reader};
pub use error::StoreError;
pub use key::{Key, Space};
pub(crate) use run::unpack as unpack_run;
pub use snapshot::SnapshotFile;
pub use stopped::StoppedCheckpoint;
pub(crate) use trust::{sync_dir, write_synced};
pub use view::{Before, Transaction, View, Writes};

/// The overlay is frozen and written once it holds this many bytes. sled keeps its readers out while a batch is applied, and
/// apply reads sled for ids it has never seen, so a large batch holds acks back; many small ones rewrite the same pages. Ack
/// p99 at 1,000 sends/s, and acks/s of 256 senders: 256 KiB 231 ms and 2,708; 1 MiB 64 ms and 5,321; 8 MiB 317 ms and 5,636.
const FREEZE_BYTES: usize = 1024 * 1024;
/// The golden ratio as a fraction of 2^32: multiples of it lie apart from each other, however many there are.
const GOLDEN: u64 = 0x9E37_79B9;
/// Apply waits while the active overlay is larger than this: the disk is slower than the log.
const OVERLAY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a key and a map node cost beside the value, roughly.
const PAIR_OVERHEAD_BYTES: usize = 96;
/// Running hashes remembered, so that replicas a little apart can be compared at one common index.
const HASHES_REMEMBERED: usize = 65_536;

/// How the file of a snapshot that is being received begins.
const PARTIAL: &str = "incoming-partial-";

/// What the state contains: the last applied entry and everything that belongs to it. Stored in checkpoint and snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Applied {
    /// The last applied entry.
    #[prost(message, optional, tag = "1")]
    pub log_id: Option<LogId>,
    /// The last applied membership.
    #[prost(message, optional, tag = "2")]
    pub membership: Option<StoredMembership>,
    /// The maximum log time seen, ms since the Unix epoch.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
    /// Running hash over every applied entry, its outcome and the state's sum after it; 32 bytes, empty before the first.
    #[prost(bytes = "bytes", tag = "4")]
    pub hash: Bytes,
    /// Sum over all live pairs, see [`sum`]; 32 bytes, empty before the first entry.
    #[prost(bytes = "bytes", tag = "20")]
    pub state: Bytes,
    /// What apply does is selected by this; 0 reads as 1.
    #[prost(uint32, tag = "21")]
    pub machine_version: u32,
}

impl Applied {
    /// Index of the last applied entry; `None` before the first.
    pub fn index(&self) -> Option<u64> {
        self.log_id.as_ref().map(|id| id.index)
    }

    /// The state's sum.
    ///
    /// # Errors
    /// When the record holds none that can be read.
    pub fn sum(&self) -> Result<StateSum, StoreError> {
        StateSum::from_bytes(&self.state)
            .ok_or_else(|| StoreError::damaged("the applied record's sum cannot be read"))
    }
}

#[derive(Debug)]
struct State {
    active: Writes,
    active_bytes: usize,
    frozen: Option<Arc<Writes>>,
    applied: Applied,
    sum: StateSum,
    hashes: VecDeque<(u64, Bytes)>,
    /// Apply's own: behind a lock only because a view reads through a shared reference.
    values: Mutex<Values>,
    ids: Ids,
}

impl State {
    /// A state that is all in the checkpoint.
    fn new(checkpoint: &Checkpoint, applied: Applied) -> Result<Self, StoreError> {
        Self::with(checkpoint.ids()?, applied)
    }

    fn with(ids: Ids, applied: Applied) -> Result<Self, StoreError> {
        Ok(Self {
            active: Writes::new(),
            active_bytes: 0,
            frozen: None,
            hashes: VecDeque::from_iter(applied.index().map(|index| (index, applied.hash.clone()))),
            sum: applied.sum()?,
            applied,
            values: Mutex::default(),
            ids,
        })
    }
}

/// The state. Cheap to share; one writer (apply), many readers.
#[derive(Debug)]
pub struct Store {
    state: Arc<RwLock<State>>,
    checkpoint: Arc<Checkpoint>,
    writer: Writer,
    room: Arc<Notify>,
    freeze_bytes: usize,
    shared: Arc<Shared>,
}

/// What the checkpoint thread and everybody else share.
#[derive(Debug)]
struct Shared {
    /// The data directory.
    dir: PathBuf,
    snapshot_dir: PathBuf,
    /// The newest snapshot: whoever looks for it must not meet one that is being removed.
    current: Mutex<Option<SnapshotFile>>,
    /// This snapshot was found damaged, and another is wanted.
    distrusted: Mutex<Option<PathBuf>>,
    /// Another was asked for.
    rebuild: AtomicBool,
    /// Counts receptions, so that each has a file of its own.
    receptions: AtomicU64,
    /// Rises when a batch is begun, and when it is written.
    batches: AtomicU64,
    failure: Failure,
    metrics: Metrics,
}

impl Shared {
    fn set_current(&self, file: &SnapshotFile) {
        *self.current.lock().expect(CURRENT_NOT_POISONED) = Some(file.clone());
        // The new one may have the old one's name.
        *self.distrusted.lock().expect(CURRENT_NOT_POISONED) = None;
    }
}

/// Pairs that are read and summed at once when a checkpoint is verified, most up to 6 KiB, and how far reading may be ahead.
const PAIRS_PER_BATCH: usize = 64;
const BATCHES_AHEAD: usize = 8;

const CURRENT_NOT_POISONED: &str = "nothing panics while it looks at the current snapshot";

/// The checkpoint with the state that it holds.
///
/// It is read whole. sled takes a damaged value, at its start, for the torn end of its own log and goes back to what stood
/// there before: every value that is left has a right checksum, and together they are no state that ever was.
fn load(dir: &Path) -> Result<(Arc<Checkpoint>, State), StoreError> {
    let checkpoint = Checkpoint::open(dir)?;
    let applied = checkpoint.applied()?;
    let began = Instant::now();
    // A start waits for this: reading, summing and collecting the ids take about as long as each other.
    let (found, ids) = std::thread::scope(|threads| {
        let ids = threads.spawn(|| checkpoint.ids());
        let (batches, read) = mpsc::sync_channel::<Vec<checkpoint::Pair>>(BATCHES_AHEAD);
        let sum = threads.spawn(move || {
            let mut sum = StateSum::default();
            for (key, value) in read.into_iter().flatten() {
                sum.add_stored(&key, &value)?;
            }
            Ok::<_, StoreError>(sum)
        });
        let mut batch = Vec::with_capacity(PAIRS_PER_BATCH);
        for pair in checkpoint.raw_pairs() {
            batch.push(pair?);
            if batch.len() == PAIRS_PER_BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(PAIRS_PER_BATCH));
                // It has ended early only because it failed, and says so below.
                let _ = batches.send(full);
            }
        }
        let _ = batches.send(batch);
        drop(batches);
        let gone = || StoreError::damaged("reading the checkpoint panicked");
        Ok::<_, StoreError>((sum.join().map_err(|_| gone())??, ids.join().map_err(|_| gone())??))
    })?;
    if found != applied.sum()? {
        return Err(StoreError::damaged("the checkpoint's content does not add up to its sum"));
    }
    tracing::info!(took = ?began.elapsed(), bytes = checkpoint.disk_bytes(), "verified the checkpoint");
    let state = State::with(ids, applied)?;
    Ok((Arc::new(checkpoint), state))
}

impl Store {
    /// Opens the state under `dir`, throwing away a checkpoint that cannot be trusted.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(dir: &Path, boot_id_file: &Path) -> Result<Self, StoreError> {
        Self::open_measured(dir, boot_id_file, Metrics::default())
    }

    /// As [`Store::open`]; snapshots are measured.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_measured(dir: &Path, boot_id_file: &Path, metrics: Metrics) -> Result<Self, StoreError> {
        let state_dir = dir.join("state");
        let snapshot_dir = dir.join("snapshots");
        for path in [&state_dir, &snapshot_dir] {
            fs::create_dir_all(path).map_err(StoreError::io("creating the data directory"))?;
        }
        let trust = Trust::new(&state_dir, boot_id_file).map_err(StoreError::io("reading the boot id"))?;
        snapshot::remove_unfinished(&snapshot_dir, |name| name.starts_with(PARTIAL))?;
        let (checkpoint, state) = match trust.is_trusted().then(|| load(&state_dir)) {
            Some(Ok(loaded)) => loaded,
            // In use or out of reach says nothing about its content.
            Some(Err(error @ StoreError::Io { .. })) => return Err(error),
            other => {
                if let Some(Err(error)) = other {
                    tracing::warn!(%error, "checkpoint refused, rebuilding it from snapshot and log");
                }
                wipe(&state_dir)?;
                load(&state_dir)?
            }
        };
        trust.while_running().map_err(StoreError::io("marking the checkpoint"))?;
        let current = match snapshot::newest(&snapshot_dir) {
            // Whether it is needed is decided by who knows the log.
            Err(error @ StoreError::Damaged(_)) => {
                tracing::warn!(%error, "the newest snapshot is damaged");
                None
            }
            other => other?,
        };
        let failure = Failure::default();
        checkpoint.guard(&state_dir, trust.clone(), failure.clone());
        let (state, room) = (Arc::new(RwLock::new(state)), Arc::new(Notify::new()));
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            snapshot_dir,
            current: Mutex::new(current),
            distrusted: Mutex::new(None),
            rebuild: AtomicBool::new(false),
            receptions: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            failure,
            metrics,
        });
        let writer = Writer::start(checkpoint.clone(), state.clone(), room.clone(), trust, shared.clone())?;
        Ok(Self { state, checkpoint, writer, room, freeze_bytes: FREEZE_BYTES, shared })
    }

    /// The same, but it writes its checkpoint at other times than the stores of replicas with other ids.
    #[must_use]
    pub fn apart_from_others(self, id: u64) -> Self {
        Self { freeze_bytes: freeze_bytes(id), ..self }
    }

    /// Where failures of the state's disk are told.
    pub fn failure(&self) -> &Failure {
        &self.shared.failure
    }

    /// The number of the batch that is being written to the checkpoint, if one is.
    pub fn batch_under_way(&self) -> Option<u64> {
        let count = self.shared.batches.load(Ordering::Relaxed);
        (count % 2 == 1).then_some(count / 2)
    }

    /// A consistent view of everything applied so far. Held briefly: apply waits for it.
    pub fn read(&self) -> Reader<'_> {
        Reader { state: self.state.read().expect(NOT_POISONED), checkpoint: &self.checkpoint }
    }

    /// The right to apply. There is one caller.
    pub fn apply(&self) -> Applier<'_> {
        Applier {
            state: self.state.write().expect(NOT_POISONED),
            checkpoint: &self.checkpoint,
            writer: &self.writer,
            freeze_bytes: self.freeze_bytes,
        }
    }

    /// Waits until the checkpoint has caught up enough for more to be applied.
    pub async fn wait_for_room(&self) {
        loop {
            let freed = self.room.notified();
            if self.state.read().expect(NOT_POISONED).active_bytes < OVERLAY_BYTES_MAX {
                return;
            }
            {
                // Commits freeze the overlay, and none come while it is full: whoever waits hands it over.
                let mut state = self.state.write().expect(NOT_POISONED);
                if state.frozen.is_none() {
                    freeze(&mut state, &self.writer);
                    return;
                }
            }
            freed.await;
        }
    }

    /// Builds a snapshot of everything applied so far, while apply goes on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn build_snapshot(&self) -> Result<SnapshotFile, StoreError> {
        // The writer takes the overlay over before it walks the tree; until then a frozen one may be in its way.
        loop {
            let freed = self.room.notified();
            {
                let mut state = self.state.write().expect(NOT_POISONED);
                if state.frozen.is_none() {
                    freeze(&mut state, &self.writer);
                    break;
                }
            }
            freed.await;
        }
        let (done, built) = oneshot::channel();
        self.writer.send(Job::Snapshot(done));
        built.await.map_err(|_| StoreError::damaged("the checkpoint writer has stopped"))?
    }

    /// Replaces the whole state by a received snapshot.
    ///
    /// # Errors
    /// When the file is damaged or cannot be taken over; the state is not to be used then.
    pub async fn install_snapshot(&self, received: PathBuf) -> Result<SnapshotFile, StoreError> {
        let (done, installed) = oneshot::channel();
        self.writer.send(Job::Install(received, done));
        installed.await.map_err(|_| StoreError::damaged("the checkpoint writer has stopped"))?
    }

    /// The newest snapshot on disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn current_snapshot(&self) -> Result<Option<SnapshotFile>, StoreError> {
        Ok(self.shared.current.lock().expect(CURRENT_NOT_POISONED).clone())
    }

    /// Where snapshots are.
    pub fn snapshot_dir(&self) -> &Path {
        &self.shared.snapshot_dir
    }

    /// Reads a snapshot file whole and checks all of it. Takes as long as reading it does.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not what was written.
    pub fn verify_snapshot(path: &Path) -> Result<Applied, StoreError> {
        snapshot::verify(path)
    }

    /// A snapshot was found damaged: another is to be built in its place.
    pub fn distrust_snapshot(&self, path: &Path) {
        *self.shared.distrusted.lock().expect(CURRENT_NOT_POISONED) = Some(path.to_owned());
        self.shared.rebuild.store(true, Ordering::Release);
    }

    /// Whether a snapshot was found damaged and has not been replaced yet.
    pub fn is_distrusted(&self, path: &Path) -> bool {
        self.shared.distrusted.lock().expect(CURRENT_NOT_POISONED).as_deref() == Some(path)
    }

    /// Whether one has to be built; said once.
    pub fn take_snapshot_distrust(&self) -> bool {
        self.shared.rebuild.swap(false, Ordering::AcqRel)
    }

    /// Drops a snapshot that was found damaged.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn drop_snapshot(&self, path: &Path) -> Result<(), StoreError> {
        let mut current = self.shared.current.lock().expect(CURRENT_NOT_POISONED);
        current.take_if(|file| file.path == path);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("removing a damaged snapshot")(error))
            }
            _ => Ok(()),
        }
    }

    /// Whatever snapshot of a data directory is the newest; for a stopped replica.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn snapshot_of(dir: &Path) -> Result<Option<SnapshotFile>, StoreError> {
        let snapshots = dir.join("snapshots");
        if snapshots.exists() { snapshot::newest(&snapshots) } else { Ok(None) }
    }

    /// What a snapshot file says it contains. Its blocks are not read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn snapshot_header(path: &Path) -> Result<Applied, StoreError> {
        snapshot::header(path)
    }

    /// Where a snapshot that is being received is written: the same place for the same snapshot, so that a reception which
    /// broke off is taken up again, also after a restart.
    pub fn partial_snapshot_path(&self, snapshot_id: &str) -> PathBuf {
        let name = blake3::hash(snapshot_id.as_bytes()).to_hex();
        self.shared.snapshot_dir.join(format!("{PARTIAL}{}", &name.as_str()[..32]))
    }

    /// Where a snapshot stands that was received whole: each one apart, since a reception may begin while one is installed.
    pub fn incoming_snapshot_path(&self) -> PathBuf {
        let number = self.shared.receptions.fetch_add(1, Ordering::Relaxed);
        self.shared.snapshot_dir.join(format!("incoming-received-{number}"))
    }

    /// Removes what was received of any other snapshot.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_partial_snapshots(&self, keep: &Path) -> Result<(), StoreError> {
        let keep = keep.file_name().map(|name| name.to_string_lossy().into_owned());
        snapshot::remove_unfinished(&self.shared.snapshot_dir, |name| {
            !name.starts_with(PARTIAL) || Some(name) == keep.as_deref()
        })
    }

    /// Empties the state: what it claims to contain goes beyond what log and snapshot can prove.
    ///
    /// # Errors
    /// When the checkpoint cannot be cleared.
    pub async fn reset(&self) -> Result<(), StoreError> {
        let (done, cleared) = oneshot::channel();
        self.writer.send(Job::Reset(done));
        cleared.await.map_err(|_| StoreError::damaged("the checkpoint writer has stopped"))?
    }

    /// Writes what is in memory, closes the checkpoint in order and marks it so.
    ///
    /// # Errors
    /// When it cannot be written; the log still has everything.
    pub async fn close(&self) -> Result<(), StoreError> {
        {
            let mut state = self.state.write().expect(NOT_POISONED);
            if state.frozen.is_none() {
                freeze(&mut state, &self.writer);
            }
        }
        let (done, closed) = oneshot::channel();
        self.writer.send(Job::Close(done));
        closed.await.map_err(|_| StoreError::damaged("the checkpoint writer has stopped"))?
    }

    /// Alters a value behind everybody's back, as a bad page or a defect would.
    #[cfg(test)]
    pub(crate) fn tamper(&self, key: Key, value: Bytes) {
        let mut state = self.state.write().expect(NOT_POISONED);
        state.values.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&key);
        state.active.insert(key, Some(value));
    }

    /// Bytes of the overlay in memory.
    pub fn overlay_bytes(&self) -> usize {
        self.state.read().expect(NOT_POISONED).active_bytes
    }

    /// Bytes of the checkpoint on disk.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint.disk_bytes()
    }

    /// Index that the checkpoint reaches.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn checkpoint_index(&self) -> Result<u64, StoreError> {
        Ok(self.checkpoint.applied()?.index().unwrap_or(0))
    }
}

/// The lock is poisoned only by a panic in apply, which has stopped the replica before anybody asks again.
const NOT_POISONED: &str = "apply does not panic while it holds the state";

fn wipe(dir: &Path) -> Result<(), StoreError> {
    fs::remove_dir_all(dir).map_err(StoreError::io("removing the checkpoint"))?;
    fs::create_dir_all(dir).map_err(StoreError::io("creating the checkpoint"))
}

/// What a replica of this id freezes at: from half to one and a half of [`FREEZE_BYTES`].
///
/// All replicas apply the same, so with one size all would write their checkpoints at one moment, and a message that is
/// committed just then waits for a busy majority. With sizes of their own they write at different times.
fn freeze_bytes(id: u64) -> usize {
    let share = id.wrapping_mul(GOLDEN) & 0xffff_ffff;
    let part = (FREEZE_BYTES as u64 * share) >> 32;
    FREEZE_BYTES / 2 + usize::try_from(part).unwrap_or(0)
}

/// Hands the active overlay to the writer. The caller has seen that no frozen one is left.
fn freeze(state: &mut State, writer: &Writer) {
    if state.active.is_empty() && state.applied.log_id.is_none() {
        return;
    }
    let frozen = Arc::new(std::mem::take(&mut state.active));
    state.active_bytes = 0;
    state.frozen = Some(frozen.clone());
    writer.send(Job::Write(frozen, state.applied.clone()));
}

#[cfg(test)]
mod tests;
