//! When a snapshot is taken, and what a start makes of those that it finds.
//!
//! The files themselves are the store's.

use std::path::Path;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::Instant;

use super::log_check::LogError;
use super::log_store::LogStore;
use super::{Node, StartError, blocking, types};
use crate::store::{SnapshotFile, Store, StoreError};

/// However large the last snapshot was: the log is read whole at a start.
const SNAPSHOT_LOG_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// A snapshot is taken after so many entries, however small they are: about 100 bytes of memory are held for each.
const SNAPSHOT_LOG_ENTRIES_MAX: u64 = 4_000_000;
/// How often the log's size is looked at.
const SNAPSHOT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a snapshot that a backup asks for: building one takes some seconds a million messages.
const FRESH_SNAPSHOT_WAIT: Duration = Duration::from_secs(300);
/// How often it is asked for.
const FRESH_SNAPSHOT_ASK_INTERVAL: Duration = Duration::from_secs(2);

impl Node {
    /// A snapshot that contains everything applied before this call; an existing one if it does.
    ///
    /// # Errors
    /// In words, when none can be had in time.
    pub async fn fresh_snapshot(&self) -> Result<SnapshotFile, String> {
        let wanted = self.store.read().applied().index();
        let wanted = wanted.ok_or_else(|| "this replica has no state yet".to_owned())?;
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let current = self.store.current_snapshot().map_err(|error| error.to_string())?;
            if let Some(file) = current.filter(|file| file.applied.index() >= Some(wanted)) {
                return Ok(file);
            }
            // One that was under way before does not have everything: it is asked for again.
            if asked.is_none_or(|at| at.elapsed() >= FRESH_SNAPSHOT_ASK_INTERVAL) {
                asked = Some(Instant::now());
                self.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            }
            if began.elapsed() >= FRESH_SNAPSHOT_WAIT {
                return Err(format!("no snapshot at index {wanted} within {FRESH_SNAPSHOT_WAIT:?}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes a snapshot now and removes the log before it: a simulation never writes the bytes that would cause one.
    ///
    /// # Errors
    /// In words, when consensus has stopped.
    #[cfg(feature = "simulation")]
    pub async fn snapshot_and_purge(&self) -> Result<(), String> {
        let index = self.store.read().applied().index().unwrap_or(0);
        self.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
        let wait = self.raft.wait(Some(Duration::from_secs(5)));
        let built = |m: &openraft::RaftMetrics<types::Types>| {
            m.snapshot.as_ref().is_some_and(|id| id.index() >= index)
        };
        wait.metrics(built, "a snapshot is built").await.map_err(|error| error.to_string())?;
        self.raft.trigger().purge_log(index).await.map_err(|error| error.to_string())
    }

    /// Takes a snapshot whenever the log has grown enough; the log before it is purged then.
    pub(super) fn spawn_snapshots(&self, snapshot_log_bytes: u64) {
        let (raft, log, store) = (self.raft.clone(), self.log.clone(), self.store.clone());
        tokio::spawn(async move {
            let watched = raft.metrics();
            let mut at_last = log.disk_bytes();
            loop {
                tokio::time::sleep(SNAPSHOT_CHECK_INTERVAL).await;
                if watched.borrow_watched().running_state.is_err() {
                    return;
                }
                // Purging shrinks the log: growth counts from the smallest size since.
                let now = log.disk_bytes();
                at_last = at_last.min(now);
                let last_size = store.current_snapshot().ok().flatten();
                // One that a follower found damaged is built anew; it stays until then, since the log may not reach back.
                let damaged = store.take_snapshot_distrust();
                let last_size =
                    last_size.and_then(|file| file.path.metadata().ok()).map_or(0, |meta| meta.len());
                let enough = snapshot_log_bytes.max(last_size).min(SNAPSHOT_LOG_BYTES_MAX);
                let entries = log.last_index().saturating_sub(log.purged_index().unwrap_or(0));
                // Whatever the log's size, since so many entries are held in memory until the snapshot lets them go.
                let many = entries >= SNAPSHOT_LOG_ENTRIES_MAX && now > at_last;
                if damaged || many || now - at_last >= enough {
                    at_last = now;
                    if raft.trigger().snapshot().await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The last entry that the newest snapshot contains.
pub(super) fn snapshot_log_id(store: &Store) -> Result<Option<types::LogId>, StoreError> {
    let snapshot = store.current_snapshot()?;
    Ok(snapshot.and_then(|file| file.applied.log_id.as_ref().map(types::log_id_from_wire)))
}

/// The snapshot from which a start goes on must be whole, and be there if the log alone does not reach back far enough.
pub(super) async fn check_snapshot(store: &Store, log: &LogStore) -> Result<(), StartError> {
    let (applied, purged) = (store.read().applied().index(), log.purged_index());
    let damaged = |file: &Path, what: String| LogError::Damaged { file: file.to_owned(), what };
    let needed = applied < purged;
    let Some(snapshot) = store.current_snapshot()? else {
        if needed {
            let what = "no snapshot can be read, and the log alone does not hold the state".to_owned();
            return Err(damaged(store.snapshot_dir(), what).into());
        }
        return build_if_purged(store, purged).await;
    };
    if applied >= snapshot.applied.index() {
        return Ok(());
    }
    // Consensus installs it now.
    let path = snapshot.path.clone();
    let verified = blocking(move || Store::verify_snapshot(&path)).await;
    match verified.map_err(|error| StartError::Raft(error.to_string()))? {
        Ok(_) if needed && snapshot.applied.index() < purged => {
            let what = "it ends before the log begins".to_owned();
            Err(damaged(&snapshot.path, what).into())
        }
        Ok(_) => Ok(()),
        Err(StoreError::Damaged(what)) if needed => Err(damaged(&snapshot.path, what).into()),
        Err(error @ StoreError::Damaged(_)) => {
            tracing::warn!(%error, "the log holds all of the state, going on without the snapshot");
            store.drop_snapshot(&snapshot.path)?;
            build_if_purged(store, purged).await
        }
        Err(error) => Err(error.into()),
    }
}

/// A log that does not reach back to the beginning needs a snapshot beside it, for followers that are far behind.
async fn build_if_purged(store: &Store, purged: Option<u64>) -> Result<(), StartError> {
    if purged.is_some() {
        tracing::warn!("building the snapshot that is missing");
        store.build_snapshot().await?;
    }
    Ok(())
}

/// A checkpoint that claims more than log and snapshot can prove is not believed.
pub(super) async fn discard_unprovable(store: &Store, log: &LogStore) -> Result<(), StoreError> {
    let applied = store.read().applied().index().unwrap_or(0);
    let snapshot = store.current_snapshot()?.and_then(|file| file.applied.index()).unwrap_or(0);
    if applied > log.last_index().max(snapshot) {
        tracing::warn!(applied, "the checkpoint is ahead of the log, rebuilding it");
        store.reset().await?;
    }
    Ok(())
}
