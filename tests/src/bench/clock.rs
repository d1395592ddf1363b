//! Time as the benchmark counts it: due times that nothing delays, and histograms that forget no outlier.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;

/// Microseconds; what takes longer counts as this.
const LATENCY_US_MAX: u64 = 120_000_000;

/// Whole microseconds, at least one and at most what a histogram holds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LATENCY_US_MAX).clamp(1, LATENCY_US_MAX)
}

/// Latencies in microseconds, precise to three digits.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds that the crate allows"))
    }
}

impl Latencies {
    /// One more.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency));
    }

    /// All of another's.
    ///
    /// # Errors
    /// Never, since all have the same bounds.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.0.add(&other.0).context("two histograms of other bounds")
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this part of all (0 to 1) does not exceed, ms; 0 without any.
    pub fn ms(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1_000.0 }
    }
}

/// Fixed arrival times: a rate is divided among writers, each of which has its own times, evenly between the others'.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    next: Instant,
    interval: Duration,
    ends: Instant,
}

impl Schedule {
    /// The times of writer `place` of `writers`, which together write `per_second` from `begins` on and begin nothing after `ends`.
    pub fn new(begins: Instant, ends: Instant, per_second: u64, place: usize, writers: usize) -> Self {
        let interval = Duration::from_secs_f64(writers as f64 / per_second as f64);
        Self { next: begins + interval.mul_f64(place as f64 / writers as f64), interval, ends }
    }
}

impl Iterator for Schedule {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let due = self.next;
        self.next += self.interval;
        (due < self.ends).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut all = Latencies::default();
        assert_eq!((all.count(), all.ms(0.99)), (0, 0.0));
        for ms in 1..=1_000 {
            all.record(Duration::from_millis(ms));
        }
        let near = |quantile: f64, ms: f64| (all.ms(quantile) - ms).abs() <= ms * 0.001 + 0.001;
        assert!(near(0.5, 500.0) && near(0.99, 990.0) && near(1.0, 1_000.0), "{all:?}");
        let mut other = Latencies::default();
        other.record(Duration::from_hours(1));
        all.add(&other).unwrap();
        assert_eq!(all.count(), 1_001);
        assert!(all.ms(1.0) >= 119_000.0, "an outlier beyond the bounds is kept at the bound");
        assert_eq!(micros(Duration::ZERO), 1);
    }

    #[test]
    fn writers_share_a_rate_evenly_and_nothing_moves_their_times() {
        let begins = Instant::now();
        let ends = begins + Duration::from_secs(2);
        let mut all: Vec<Duration> = (0..4)
            .flat_map(|place| Schedule::new(begins, ends, 100, place, 4))
            .map(|due| due.duration_since(begins))
            .collect();
        all.sort_unstable();
        assert_eq!(all.len(), 200);
        for (place, due) in (0_u32..).zip(&all) {
            let wanted = Duration::from_millis(10) * place;
            assert!(due.abs_diff(wanted) < Duration::from_micros(10), "{place}: {due:?}");
        }
    }
}
