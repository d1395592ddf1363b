//! Room on the disks: writes are refused before a majority of the replicas runs out of it.
//!
//! Each replica looks at its own disk and tells the leader with every answer to an append. The leader refuses new commands while
//! its own disk is low or those of a majority of voters are: what is refused is surely not applied, what fills the disk ends
//! the replica. A leader whose own disk is low hands over to one that has room. Reading goes on, and so do the entries that
//! consensus itself needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::stall::{Stall, stalled};
use crate::metrics::Metrics;
use crate::store::Store;

/// How often the disk is looked at: at 100 MB/s the default reserve lasts for more than two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Reserves below which no chunks of files are taken: files must not take the room from messages, of which what lies between this
/// and one reserve holds millions.
pub const RESERVES_FOR_FILES: u64 = 4;

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    reserve_bytes: u64,
    low: AtomicBool,
    /// As last seen; as much as there can be until it could be asked.
    free_bytes: AtomicU64,
    /// Replicas that said that theirs is low.
    others: Mutex<BTreeMap<u64, bool>>,
}

/// What is known of room. Clones share it.
#[derive(Debug, Clone)]
pub struct Room(Arc<Inner>);

const NOT_POISONED: &str = "nothing panics while it holds what was told";

/// Low below the reserve; enough again only a quarter above it, so that one log file does not turn it to and fro.
fn is_low(was_low: bool, free_bytes: u64, reserve_bytes: u64) -> bool {
    free_bytes < reserve_bytes.saturating_add(if was_low { reserve_bytes / 4 } else { 0 })
}

fn is_low_for_files(free_bytes: u64, reserve_bytes: u64) -> bool {
    free_bytes < reserve_bytes.saturating_mul(RESERVES_FOR_FILES)
}

impl Room {
    /// Of the disk that holds a directory.
    pub fn new(dir: PathBuf, reserve_bytes: u64) -> Self {
        let (low, free_bytes) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
        let inner = Inner { dir, reserve_bytes, low, free_bytes, others: Mutex::default() };
        let room = Self(Arc::new(inner));
        room.look();
        room
    }

    fn look(&self) {
        let inner = &self.0;
        // What cannot be asked is not refused for: a write that fails says it.
        let Ok(disk) = rustix::fs::statvfs(&inner.dir) else { return };
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let was_low = inner.low.load(Ordering::Relaxed);
        let low = is_low(was_low, free_bytes, inner.reserve_bytes);
        if low != was_low {
            let (dir, reserve_bytes) = (inner.dir.display(), inner.reserve_bytes);
            if low {
                tracing::error!(%dir, free_bytes, reserve_bytes, "storage is low: make space");
            } else {
                tracing::info!(%dir, free_bytes, "storage is enough again");
            }
        }
        inner.low.store(low, Ordering::Relaxed);
        inner.free_bytes.store(free_bytes, Ordering::Relaxed);
    }

    /// Whether this replica's disk is low.
    pub fn is_low(&self) -> bool {
        self.0.low.load(Ordering::Relaxed)
    }

    /// Whether this replica's disk has too little room for more files; for messages it may have enough.
    pub fn is_low_for_files(&self) -> bool {
        let free_bytes = self.0.free_bytes.load(Ordering::Relaxed);
        self.is_low() || is_low_for_files(free_bytes, self.0.reserve_bytes)
    }

    /// Whether another replica said that its disk is low, when it last answered.
    pub fn is_low_at(&self, id: u64) -> bool {
        self.0.others.lock().expect(NOT_POISONED).get(&id).copied().unwrap_or(false)
    }

    /// Another replica said whether its disk is.
    pub fn told(&self, id: u64, low: bool) {
        self.0.others.lock().expect(NOT_POISONED).insert(id, low);
    }

    /// Whether this replica, leading these voters, must refuse to write.
    pub fn refuses(&self, voters: &[BTreeSet<u64>]) -> bool {
        let others = self.0.others.lock().expect(NOT_POISONED);
        let low = |id: &&u64| others.get(id).copied().unwrap_or(false);
        self.is_low() || voters.iter().any(|set| set.iter().filter(low).count() > set.len() / 2)
    }

    /// Looks at the disk for as long as this replica runs. A file system that hangs holds up nothing else; a checkpoint that is not
    /// written on it ends the replica.
    pub async fn watch(self, metrics: Metrics, store: Weak<Store>) {
        let mut stall = Stall::default();
        loop {
            metrics.storage_low(self.is_low());
            tokio::time::sleep(LOOK_INTERVAL).await;
            // Held for the look alone: whoever stops a replica waits for its state to be let go.
            if let Some(store) = store.upgrade()
                && stall.look(store.batch_under_way())
            {
                store.failure().tell(stalled(&self.0.dir));
            }
            let room = self.clone();
            if super::blocking(move || room.look()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_is_left_later_than_it_is_entered() {
        assert!(!is_low(false, 1_000, 1_000));
        assert!(is_low(false, 999, 1_000));
        assert!(is_low(true, 1_200, 1_000));
        assert!(!is_low(true, 1_250, 1_000));
    }

    #[test]
    fn files_are_refused_long_before_messages() {
        assert!(!is_low_for_files(4_000, 1_000));
        assert!(is_low_for_files(3_999, 1_000) && !is_low(false, 3_999, 1_000));
        assert!(!is_low_for_files(0, 0), "without a reserve nothing is refused");
        let dir = tempfile::tempdir().expect("a folder");
        let room = Room::new(dir.path().to_owned(), 1_000);
        room.0.free_bytes.store(2_000, Ordering::Relaxed);
        assert!(room.is_low_for_files() && !room.is_low());
    }

    #[test]
    fn a_leader_refuses_when_its_disk_or_a_majority_of_disks_is_low() {
        let dir = tempfile::tempdir().expect("a folder");
        let voters = [BTreeSet::from([1, 2, 3, 4, 5])];
        let room = Room::new(dir.path().to_owned(), 0);
        for id in [2, 3, 9] {
            room.told(id, true);
        }
        assert!(!room.refuses(&voters), "two of five, and one that does not vote");
        room.told(4, true);
        assert!(room.refuses(&voters));
        room.told(2, false);
        assert!(!room.refuses(&voters));
        let full = Room::new(dir.path().to_owned(), u64::MAX / 2);
        assert!(full.is_low() && full.refuses(&voters), "its own");
    }
}
