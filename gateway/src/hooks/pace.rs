//! When the lease is worth asking for, and when a webhook that failed is tried again. Pure; time and chance come as arguments.

use bytes::Bytes;
use quorate_proto::rpc::HooksResult;

/// How long a lease lasts by log time, ms.
pub(super) const LEASE_MS: u32 = 15_000;
/// First wait after a failure, ms.
const RETRY_MS_MIN: u64 = 1_000;
/// Longest wait between two tries, ms.
const RETRY_MS_MAX: u64 = 600_000;
/// A message that could not be told for so long, by log time, is given up, ms: 72 h, as long as command ids are remembered.
pub(super) const GIVE_UP_MS: u64 = 72 * 3_600 * 1_000;

/// The wait after so many failures in a row, ms: a second, doubled each time up to ten minutes, and up to a quarter more, so that
/// webhooks that failed together do not come back together.
pub(super) fn retry_ms(failures: u32, chance: impl FnOnce(u64) -> u64) -> u64 {
    let doubled = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .map_or(RETRY_MS_MAX, |factor| RETRY_MS_MIN.saturating_mul(factor));
    let wait = doubled.min(RETRY_MS_MAX);
    wait + chance(wait / 4)
}

/// Whether something that began to wait then is to be told no more.
pub(super) fn is_too_old(since_ms: u64, log_time_ms: u64) -> bool {
    since_ms.saturating_add(GIVE_UP_MS) <= log_time_ms
}

/// What others' lease looked like, and since when.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Option<(Bytes, u64)>,
    since_ms: u64,
}

impl Watch {
    /// Whether to ask for the lease now. `log_time_ms` is that of the answer, which lags where nothing is written: then a lease that
    /// was not renewed for as long as it lasts has ended as well. `now_ms` is of a clock of one's own.
    pub(super) fn wants(&mut self, own: &[u8], found: &HooksResult, log_time_ms: u64, now_ms: u64) -> bool {
        let lease = Some((found.holder.clone(), found.lease_ends_ms));
        if self.seen != lease {
            self.seen = lease;
            self.since_ms = now_ms;
        }
        let is_free = found.holder.is_empty()
            || found.holder == own
            || found.lease_ends_ms <= log_time_ms
            || now_ms >= self.since_ms + u64::from(LEASE_MS);
        // Nothing is written for webhooks where there is none.
        found.hooks > 0 && is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_minutes() {
        let least: Vec<u64> = (1..=12).map(|failures| retry_ms(failures, |_| 0)).collect();
        assert_eq!(
            least,
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 600_000, 600_000]
        );
        assert_eq!(retry_ms(1, |bound| bound), 1_250);
        assert_eq!((retry_ms(0, |_| 0), retry_ms(u32::MAX, |bound| bound)), (1_000, 750_000));
    }

    #[test]
    fn three_days_are_enough() {
        assert!(!is_too_old(5, GIVE_UP_MS + 4) && is_too_old(5, GIVE_UP_MS + 5));
        assert!(!is_too_old(u64::MAX, u64::MAX - 1), "no overflow");
    }

    #[test]
    fn a_lease_is_asked_for_when_it_is_free_and_there_is_something_to_tell() {
        let found = |hooks, holder: &'static [u8], lease_ends_ms| HooksResult {
            hooks,
            holder: Bytes::from_static(holder),
            lease_ends_ms,
            ..HooksResult::default()
        };
        let wants =
            |watch: &mut Watch, found: &HooksResult, now_ms| watch.wants(b"own", found, 1_000, now_ms);
        let mut watch = Watch::default();
        assert!(!wants(&mut watch, &found(0, b"", 0), 0), "nothing to tell");
        assert!(wants(&mut watch, &found(1, b"", 0), 0));
        assert!(wants(&mut watch, &found(1, b"other", 1_000), 0), "ended");
        assert!(wants(&mut watch, &found(1, b"own", 9_000), 0), "granted, the answer lost");
        let other = found(1, b"other", 9_000);
        assert!(!wants(&mut watch, &other, 10_000));
        assert!(!wants(&mut watch, &other, 24_999));
        assert!(wants(&mut watch, &other, 25_000), "not renewed while log time stood still");
        assert!(!wants(&mut watch, &found(1, b"other", 9_001), 25_000), "renewed");
    }
}
