//! Rates, by the generic cell rate algorithm: one number a bucket. Pure; time comes as an argument in ms.

/// A bucket that lets `burst` through at once and then one each `interval`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When the bucket will be empty again, µs.
    empty_at_us: u64,
}

/// What a bucket allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval_us: u64,
    burst: u64,
}

impl Rate {
    /// `count` in `window_ms`, all of them at once if need be; `None` when `count` is 0: no limit.
    pub fn per_window(count: u32, window_ms: u64) -> Option<Self> {
        (count > 0).then(|| Self {
            interval_us: (window_ms * 1_000 / u64::from(count)).max(1),
            burst: u64::from(count),
        })
    }

    /// `count` a second, `burst` at once; `None` when `count` is 0: no limit.
    pub fn per_second(count: u32, burst: u32) -> Option<Self> {
        (count > 0).then(|| Self {
            interval_us: (1_000_000 / u64::from(count)).max(1),
            burst: u64::from(burst.max(1)),
        })
    }
}

impl Bucket {
    /// Takes one, or says after how many ms one can be had.
    pub fn take(&mut self, rate: Rate, now_ms: u64) -> Result<(), u64> {
        let now = now_ms * 1_000;
        let empty_at = self.empty_at_us.max(now);
        let full_at = now + rate.interval_us * (rate.burst - 1);
        if empty_at > full_at {
            return Err((empty_at - full_at).div_ceil(1_000));
        }
        self.empty_at_us = empty_at + rate.interval_us;
        Ok(())
    }

    /// Whether it holds nothing at that time.
    pub fn is_empty(&self, now_ms: u64) -> bool {
        self.empty_at_us <= now_ms * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_sustained_rate() {
        let rate = Rate::per_window(10, 10_000).unwrap();
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert_eq!(bucket.take(rate, 5), Ok(()));
        }
        assert_eq!(bucket.take(rate, 5), Err(1_000));
        assert_eq!(bucket.take(rate, 1_004), Err(1));
        assert_eq!(bucket.take(rate, 1_005), Ok(()));
        assert_eq!(bucket.take(rate, 1_005), Err(1_000));
        assert!(!bucket.is_empty(5_000) && bucket.is_empty(11_005));
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(Rate::per_window(0, 10), None);
        assert_eq!(Rate::per_second(0, 10), None);
    }
}
