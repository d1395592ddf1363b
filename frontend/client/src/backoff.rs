//! How long to wait before the next attempt: exponential, with full jitter, so that a thousand clients that lost one
//! gateway do not arrive at the next one together.

use crate::moment::Moment;

/// First bound of a wait.
pub const BACKOFF_FIRST_MS: u64 = 500;
/// Largest bound of a wait.
pub const BACKOFF_MS_MAX: u64 = 30_000;

/// `rand(0, min(30 s, 0.5 s · 2^n))` after the n-th failure in a row.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// One more failure: how long to wait, ms.
    pub fn next_ms(&mut self, moment: &Moment) -> u64 {
        let wait_ms = moment.jitter_ms(bound_ms(self.failures));
        self.failures = self.failures.saturating_add(1);
        wait_ms
    }

    /// Things went well for long enough.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// The bound of the wait after `failures` earlier ones.
pub fn bound_ms(failures: u32) -> u64 {
    // Beyond 2^16 the cap has long been reached; the clamp keeps the shift defined.
    (BACKOFF_FIRST_MS << failures.min(16)).min(BACKOFF_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_to_the_cap() {
        assert_eq!([0, 1, 2, 5, 6, 60].map(bound_ms), [500, 1_000, 2_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_reset_starts_over() {
        let most = Moment { now_ms: 0, wall_ms: 0, random: u128::MAX };
        let mut backoff = Backoff::default();
        assert_eq!([backoff.next_ms(&most), backoff.next_ms(&most)], [500, 1_000]);
        backoff.reset();
        assert_eq!(backoff.next_ms(&most), 500);
    }
}
