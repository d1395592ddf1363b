//! Log time: what a majority's wall clocks have reached.
//!
//! The leader stamps every entry. Its own clock alone would not do: one that is a year ahead would expire everything at
//! once, and log time never goes back. Followers tell their clocks with every answer to an append; the entry's time is the
//! latest that a majority of voters has reached, so any minority of wrong clocks, the leader's included, changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock this far from the majority's is reported.
const SKEW_ALARM_MS: u64 = 5_000;
/// Between two reports of wrong clocks.
const SKEW_ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// The clocks of all replicas, as this one knows them. Clones share it.
#[derive(Debug, Clone)]
pub struct Clocks {
    own: u64,
    offset_ms: i64,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Replica → the newest time it told.
    told_ms: BTreeMap<u64, u64>,
    alarmed: Option<Instant>,
}

const NOT_POISONED: &str = "nothing panics while it holds the clocks";

impl Clocks {
    /// `offset_ms` is added to this machine's clock: for tests of wrong clocks.
    pub fn new(own: u64, offset_ms: i64) -> Self {
        Self { own, offset_ms, shared: Arc::default() }
    }

    /// This replica's wall clock, ms since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        #[cfg(feature = "simulation")]
        if let Some(now) = crate::simulation::wall_ms() {
            return now.saturating_add_signed(self.offset_ms);
        }
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        now.saturating_add_signed(self.offset_ms)
    }

    /// A replica told its clock. Kept as told: a replica that has fallen silent does not move on.
    pub fn told(&self, id: u64, clock_ms: u64) {
        self.shared.lock().expect(NOT_POISONED).told_ms.insert(id, clock_ms);
    }

    /// The latest time that a majority of each voter set has reached; 0 while too few have told theirs.
    pub fn majority_ms<'a>(&self, voter_sets: impl IntoIterator<Item = &'a BTreeSet<u64>>) -> u64 {
        let own_ms = self.now_ms();
        let mut shared = self.shared.lock().expect(NOT_POISONED);
        shared.told_ms.insert(self.own, own_ms);
        let reached = voter_sets.into_iter().map(|voters| reached_by_majority(&shared.told_ms, voters)).min();
        reached.unwrap_or(0)
    }

    /// Names the replicas whose clocks are far from log time, at most once a minute. Those of silent replicas are old, not
    /// wrong: only clocks that are ahead count.
    pub fn wrong_clocks(&self, log_time_ms: u64) -> Vec<(u64, u64)> {
        let mut shared = self.shared.lock().expect(NOT_POISONED);
        if shared.alarmed.is_some_and(|at| at.elapsed() < SKEW_ALARM_INTERVAL) {
            return Vec::new();
        }
        let ahead = |told: u64| told.saturating_sub(log_time_ms);
        let wrong: Vec<_> = shared
            .told_ms
            .iter()
            .filter(|(_, told)| ahead(**told) > SKEW_ALARM_MS)
            .map(|(id, told)| (*id, ahead(*told)))
            .collect();
        if !wrong.is_empty() {
            shared.alarmed = Some(Instant::now());
        }
        wrong
    }
}

/// The latest time that a majority of `voters` has told or passed.
fn reached_by_majority(told_ms: &BTreeMap<u64, u64>, voters: &BTreeSet<u64>) -> u64 {
    let mut clocks: Vec<u64> = voters.iter().map(|id| told_ms.get(id).copied().unwrap_or(0)).collect();
    clocks.sort_unstable_by(|a, b| b.cmp(a));
    clocks.get(voters.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(clocks: [u64; 5]) -> u64 {
        let told_ms = (1..).zip(clocks).collect();
        reached_by_majority(&told_ms, &(1..=5).collect())
    }

    #[test]
    fn a_minority_of_wrong_clocks_changes_nothing() {
        assert_eq!(told([100, 101, 102, 103, 104]), 102);
        assert_eq!(told([100, 101, 102, 900_000, 900_000]), 102, "two far ahead");
        assert_eq!(told([0, 0, 102, 103, 104]), 102, "two silent");
        assert_eq!(told([0, 0, 0, 103, 104]), 0, "a majority silent: no time has been reached");
    }

    #[test]
    fn in_joint_consensus_both_majorities_must_have_reached_it() {
        let clocks = Clocks::new(1, -i64::try_from(Clocks::new(1, 0).now_ms()).expect("fits"));
        for (id, ms) in [(2, 20), (3, 30), (4, 40), (5, 50)] {
            clocks.told(id, ms);
        }
        let (old, new) = ([1, 2, 3].into(), [3, 4, 5].into());
        assert_eq!(clocks.majority_ms([&new]), 40);
        assert_eq!(clocks.majority_ms([&old, &new]), 20);
    }
}
