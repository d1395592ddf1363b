//! How much of the log is on how many disks, as the newest leader told it. Pure.

use quorate_proto::rpc::Kept;

/// What nobody has confirmed for this long is not told any more, ms.
const STALE_MS: u64 = 1_000;
/// What has not changed is said again after this, ms: below the above, whatever gets lost.
const AGAIN_MS: u64 = 300;

/// See the module. Times are ms of the caller's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct KnownKept {
    kept: Kept,
    heard_ms: u64,
    said_ms: u64,
}

impl KnownKept {
    /// Takes a leader's word; whether it is worth passing on.
    pub(super) fn take(&mut self, kept: Kept, now_ms: u64) -> bool {
        let (known, new) = ((self.kept.term, self.kept.leader_id), (kept.term, kept.leader_id));
        if new < known || kept.indexes.is_empty() {
            return false;
        }
        self.heard_ms = now_ms;
        let mut next = kept;
        // What one leader said on two ways may cross: it only rises.
        if new == known && next.indexes.len() == self.kept.indexes.len() {
            for (index, known) in next.indexes.iter_mut().zip(&self.kept.indexes) {
                *index = (*index).max(*known);
            }
        }
        let is_news = next != self.kept || now_ms >= self.said_ms + AGAIN_MS;
        if is_news {
            self.said_ms = now_ms;
            self.kept = next;
        }
        is_news
    }

    /// What is known; nothing once it is stale.
    pub(super) fn indexes(&self, now_ms: u64) -> &[u64] {
        if now_ms < self.heard_ms + STALE_MS { &self.kept.indexes } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(term: u64, leader_id: u64, indexes: &[u64]) -> Kept {
        Kept { term, leader_id, indexes: indexes.to_vec() }
    }

    #[test]
    fn the_newest_leader_counts_and_what_is_stale_does_not() {
        let mut known = KnownKept::default();
        assert_eq!(known.indexes(0), [0; 0]);
        assert!(known.take(by(2, 1, &[9, 8, 7]), 5_000));
        assert!(!known.take(by(1, 3, &[99, 99, 99]), 5_000), "a former leader");
        assert!(!known.take(by(2, 1, &[8, 8, 7]), 5_100), "older than what is known");
        assert_eq!(known.indexes(6_099), [9, 8, 7]);
        assert_eq!(known.indexes(6_100), [0; 0]);
        assert!(known.take(by(2, 1, &[9, 8, 7]), 6_200), "said again after a while");
        // A new leader begins with what it has heard itself, and with other voters.
        assert!(known.take(by(2, 2, &[10, 0, 0, 0]), 6_300));
        assert_eq!(known.indexes(6_300), [10, 0, 0, 0]);
    }
}
