//! The one that writes: a thread that gives way to all others.
//!
//! What it holds is bounded by the queue before it and the writer's heap. It and the library's threads, which it starts, have a
//! low priority; while the index is built from the whole state it also rests as long as it works, because priorities count among
//! a machine's processes only where they share a scheduling group.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::follow::Batch;
use super::index::{IndexError, Opened, Progress};

/// A message is found this long after it was applied, and the time that it takes to make it so.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
/// Where that takes long, because much is written or the machine is busy: rest, as a multiple of it, up to a bound.
const COMMIT_REST: u32 = 16;
const COMMIT_REST_MAX: Duration = Duration::from_secs(2);
/// In a walk nobody waits for the newest: fewer and larger files.
const WALK_COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// A tenth of a core beside one busy thread of ordinary priority. With 19, the least there is, a message on two cores with eight
/// busy threads was found after 2 s on average.
const NICE: i32 = 10;
/// In a walk: rest, as a multiple of work.
const WALK_REST: u32 = 1;
/// Longest wait for a batch: after it what is known of the index is told again.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// So often files are written anew from which something was removed; at each start, too. Far below the seven days after which
/// the log and snapshots have forgotten it.
const ERASE_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// Opens the index, tells how far it has come, and writes what comes until nothing comes any more.
pub(super) fn run(
    runtime: &Handle,
    dir: &Path,
    shared: &Arc<Shared>,
    opened: oneshot::Sender<Progress>,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<(), IndexError> {
    // Where it is refused, the index is written at everybody's.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "the search index cannot be written at a low priority");
    }
    let mut index = Opened::open(dir, &shared.cluster)?;
    if index.is_new {
        shared.metrics.search_rebuilt();
    }
    let _ = opened.send(index.progress.clone());
    let written = write(runtime, shared, &mut index, &mut batches);
    if written.is_err() {
        // It is opened again soon: two writers in one folder would spoil each other's files.
        index.close();
    }
    written
}

/// Until nothing comes any more, or the index fails.
fn write(
    runtime: &Handle,
    shared: &Arc<Shared>,
    index: &mut Opened,
    batches: &mut mpsc::Receiver<Batch>,
) -> Result<(), IndexError> {
    let mut progress = index.progress.clone();
    shared.show(index, &progress);
    let mut erased: Option<Instant> = None;
    // When what was changed must be committed.
    let mut due: Option<Instant> = None;
    let mut rested = Instant::now();
    loop {
        let wait = due.map_or(IDLE_WAIT, |due| due.saturating_duration_since(Instant::now()));
        let received = runtime.block_on(async { tokio::time::timeout(wait, batches.recv()).await });
        if let Ok(received) = received {
            let Some(batch) = received else {
                if due.is_some() {
                    commit(index, &progress, shared)?;
                }
                return Ok(());
            };
            let began = Instant::now();
            let has_changes = !batch.changes.is_empty();
            for change in batch.changes {
                index.change(change)?;
            }
            let ends_a_walk = progress.walk.is_some() && batch.progress.walk.is_none();
            progress = batch.progress;
            let interval = if progress.walk.is_some() { WALK_COMMIT_INTERVAL } else { COMMIT_INTERVAL };
            if has_changes {
                let at = (began + interval).max(rested);
                due = Some(due.map_or(at, |due| due.min(at)));
            }
            if ends_a_walk {
                due = Some(began);
            }
            if progress.walk.is_some() {
                std::thread::sleep(began.elapsed() * WALK_REST);
            }
        }
        match due {
            Some(at) if at <= Instant::now() => {
                let took = commit(index, &progress, shared)?;
                rested = Instant::now() + (took * COMMIT_REST).min(COMMIT_REST_MAX);
                due = None;
            }
            Some(_) => {}
            // Nothing is waiting to be found: it is complete as far as it was told.
            None => shared.reached(&progress),
        }
        if progress.walk.is_none() && erased.is_none_or(|erased| erased.elapsed() > ERASE_INTERVAL) {
            index.erase()?;
            erased = Some(Instant::now());
        }
        if shared.take_suspicion() {
            return Err(IndexError::Unfit("failed to answer"));
        }
    }
}

/// How long it took.
fn commit(index: &mut Opened, progress: &Progress, shared: &Shared) -> Result<Duration, IndexError> {
    let began = Instant::now();
    index.commit(progress)?;
    let took = began.elapsed();
    shared.metrics.search_committed(took);
    shared.show(index, progress);
    Ok(took)
}

/// Where the index of a data directory is.
pub(super) fn dir_of(data_dir: &Path) -> PathBuf {
    data_dir.join("search")
}
