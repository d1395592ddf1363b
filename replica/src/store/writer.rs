//! The one thread that writes the checkpoint: frozen overlays, snapshots, installs, in the order they were asked for.
//!
//! Because nobody else writes, the tree stands still while a snapshot walks it: its content is the state at exactly the index
//! of the last batch, and apply goes on in the overlay meanwhile.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use crate::planted::{self, Bug};

use super::checkpoint::Checkpoint;
use super::snapshot::{self, SnapshotFile};
use super::trust::Trust;
use super::{Applied, NOT_POISONED, Shared, State, StoreError, Writes};

/// Jobs that may wait: one frozen overlay and one of each rare kind. Senders never block in practice.
const JOBS_MAX: usize = 8;

/// The thread gives way to those on a message's path: a third of their share of a core. Only a little, because apply is held back
/// where it falls behind.
const NICE: i32 = 5;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Job {
    Write(Arc<Writes>, Applied),
    Snapshot(Done<SnapshotFile>),
    Install(PathBuf, Done<SnapshotFile>),
    Reset(Done<()>),
    Close(Done<()>),
}

#[derive(Debug)]
pub(super) struct Writer {
    jobs: SyncSender<Job>,
}

struct Thread {
    /// The checkpoint was found wrong: an orderly end must not vouch for it.
    distrusted: Cell<bool>,
    checkpoint: Arc<Checkpoint>,
    state: Arc<RwLock<State>>,
    room: Arc<Notify>,
    trust: Trust,
    shared: Arc<Shared>,
}

impl Writer {
    pub(super) fn start(
        checkpoint: Arc<Checkpoint>,
        state: Arc<RwLock<State>>,
        room: Arc<Notify>,
        trust: Trust,
        shared: Arc<Shared>,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let thread = Thread { distrusted: Cell::new(false), checkpoint, state, room, trust, shared };
        #[cfg(feature = "simulation")]
        if crate::simulation::is_running() {
            // No thread, so that a run replays: a task that looks for jobs now and then.
            tokio::spawn(async move {
                loop {
                    match queue.try_recv() {
                        Ok(job) => {
                            if thread.do_job(job) {
                                return;
                            }
                        }
                        Err(std::sync::mpsc::TryRecvError::Empty) => {
                            tokio::time::sleep(crate::simulation::checkpoint_delay()).await;
                        }
                        Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                    }
                }
            });
            return Ok(Self { jobs });
        }
        thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                // Where it is refused, the checkpoint is written at everybody's.
                if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                    tracing::warn!(%error, "the checkpoint cannot be written at a lower priority");
                }
                // sled panics on damaged files. Without this thread apply would wait for room for ever.
                if catch_unwind(AssertUnwindSafe(|| thread.run(&queue))).is_err() {
                    let _ = thread.trust.withdraw();
                    let dir = thread.shared.dir.display();
                    thread.shared.failure.tell(format!(
                        "writing the checkpoint under {dir} panicked, its files are damaged: start this replica again, it \
                         rebuilds the checkpoint from snapshot and log"
                    ));
                }
            })
            .map_err(StoreError::io("starting the checkpoint thread"))?;
        Ok(Self { jobs })
    }

    /// A job for a stopped thread is dropped, which its waiter sees.
    pub(super) fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the checkpoint thread has stopped");
        }
    }
}

impl Thread {
    fn run(&self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            if self.do_job(job) {
                return;
            }
        }
    }

    /// Does a job and says whether it was the last.
    fn do_job(&self, job: Job) -> bool {
        match job {
            // An overlay of the state before an install says nothing about the state after it.
            Job::Write(writes, _) if !self.is_frozen(&writes) => {}
            Job::Write(writes, applied) => {
                self.shared.batches.fetch_add(1, Ordering::Relaxed);
                let written = self.checkpoint.write(&writes, &applied);
                self.shared.batches.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = written {
                    // The overlay stays frozen, so nothing is lost; the replica must not go on as if it were written.
                    self.shared.failure.tell(error.line(&self.shared.dir));
                    return true;
                }
                self.state.write().expect(NOT_POISONED).frozen = None;
                self.room.notify_waiters();
            }
            Job::Snapshot(done) => {
                let _ = done.send(self.told(self.snapshot()));
            }
            Job::Install(path, done) => {
                let _ = done.send(self.told(self.install(path)));
            }
            Job::Reset(done) => {
                let reset = self.replace(std::iter::empty(), Applied::default());
                let _ = done.send(self.told(reset));
            }
            Job::Close(done) => {
                let closed = self.checkpoint.flush().and_then(|()| match self.distrusted.get() {
                    true => Ok(()),
                    false => self.trust.closed_clean().map_err(StoreError::io("syncing the checkpoint")),
                });
                let _ = done.send(closed);
                return true;
            }
        }
        false
    }

    /// A failure here ends the replica; whoever waits for the job hears of it too.
    fn told<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.shared.failure.tell(error.line(&self.shared.dir));
        }
        result
    }

    fn is_frozen(&self, writes: &Arc<Writes>) -> bool {
        let state = self.state.read().expect(NOT_POISONED);
        state.frozen.as_ref().is_some_and(|frozen| Arc::ptr_eq(frozen, writes))
    }

    fn snapshot(&self) -> Result<SnapshotFile, StoreError> {
        let began = Instant::now();
        let applied = self.checkpoint.applied()?;
        let kept = |number: &usize| {
            !planted::is(Bug::SnapshotMissesKey) || !number.is_multiple_of(planted::SNAPSHOT_MISSES_ONE_IN)
        };
        let pairs = self.checkpoint.raw_pairs().enumerate().filter(|(number, _)| kept(number));
        let file = match snapshot::write(&self.shared.snapshot_dir, &applied, pairs.map(|(_, pair)| pair)) {
            Err(error @ StoreError::Damaged(_)) => {
                // The next start rebuilds it from the last snapshot and the log.
                self.distrusted.set(true);
                self.trust.withdraw().map_err(StoreError::io("marking the checkpoint"))?;
                return Err(error);
            }
            other => other?,
        };
        self.shared.set_current(&file);
        snapshot::remove_others(&self.shared.snapshot_dir, &file.path)?;
        let bytes = file.path.metadata().map_or(0, |meta| meta.len());
        self.shared.metrics.snapshot_built(bytes, began.elapsed());
        Ok(file)
    }

    fn install(&self, received: PathBuf) -> Result<SnapshotFile, StoreError> {
        let file = snapshot::adopt(&self.shared.snapshot_dir, &received)?;
        self.shared.set_current(&file);
        self.replace(snapshot::read_pairs(&file)?, file.applied.clone())?;
        snapshot::remove_others(&self.shared.snapshot_dir, &file.path)?;
        self.shared.metrics.snapshot_installed();
        Ok(file)
    }

    /// Replaces checkpoint and overlay together. A crash in between leaves an untrusted checkpoint, which is rebuilt.
    fn replace(
        &self,
        pairs: impl Iterator<Item = Result<(bytes::Bytes, bytes::Bytes), StoreError>>,
        applied: Applied,
    ) -> Result<(), StoreError> {
        self.trust.withdraw().map_err(StoreError::io("marking the checkpoint"))?;
        {
            let mut state = self.state.write().expect(NOT_POISONED);
            self.checkpoint.replace(pairs, &applied)?;
            *state = State::new(&self.checkpoint, applied)?;
        }
        self.checkpoint.flush()?;
        self.trust.while_running().map_err(StoreError::io("marking the checkpoint"))?;
        self.room.notify_waiters();
        Ok(())
    }
}
