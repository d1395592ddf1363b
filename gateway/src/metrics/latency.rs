//! A histogram of times that knows its last minute by itself: what it counted since the start is for Prometheus, which takes
//! differences; who looks at the desk wants to know how it is now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Bounds of buckets: 0.1 ms, doubled each time, to 13 s: one step of an idle gateway to the longest write.
const BOUNDS: usize = 18;
const FIRST_BOUND_SECONDS: f64 = 0.000_1;
/// The last one has no bound.
const BUCKETS: usize = BOUNDS + 1;
/// The last minute is kept in parts, the oldest of which is forgotten as a whole.
const PART: Duration = Duration::from_secs(10);
const PARTS: usize = 6;

/// How far back [`Latency::recent`] reaches; the part that is being counted is not full yet.
pub const WINDOW: Duration = Duration::from_secs(PART.as_secs() * PARTS as u64);

type Counts = [u64; BUCKETS];

/// The upper bound of a bucket, seconds; the last one's as the encoder wants it.
fn bound(at: usize) -> f64 {
    match i32::try_from(at) {
        Ok(power) if at < BOUNDS => FIRST_BOUND_SECONDS * 2_f64.powi(power),
        _ => f64::MAX,
    }
}

#[derive(Debug, Default)]
struct Part {
    /// Which one since the beginning.
    number: u64,
    counts: Counts,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    sum: f64,
    counts: Counts,
    parts: [Part; PARTS],
}

impl Inner {
    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / PART.as_secs()
    }
}

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub struct Latency(Arc<Mutex<Inner>>);

impl Default for Latency {
    fn default() -> Self {
        let parts = Default::default();
        Self(Arc::new(Mutex::new(Inner { began: Instant::now(), sum: 0.0, counts: [0; BUCKETS], parts })))
    }
}

impl Latency {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters: whatever a panic left is good enough.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a time, in seconds.
    pub fn observe(&self, seconds: f64) {
        self.observe_at(seconds, Instant::now());
    }

    fn observe_at(&self, seconds: f64, now: Instant) {
        let at = (0..BOUNDS).find(|at| seconds <= bound(*at)).unwrap_or(BOUNDS);
        let mut inner = self.lock();
        let number = inner.number(now);
        inner.sum += seconds;
        inner.counts[at] += 1;
        let part = &mut inner.parts[place(number)];
        if part.number != number {
            *part = Part { number, ..Part::default() };
        }
        part.counts[at] += 1;
    }

    /// What was counted within the last [`WINDOW`].
    pub fn recent(&self) -> Recent {
        self.recent_at(Instant::now())
    }

    fn recent_at(&self, now: Instant) -> Recent {
        let inner = self.lock();
        let number = inner.number(now);
        let mut counts = [0; BUCKETS];
        let young = inner.parts.iter().filter(|part| part.number + PARTS as u64 > number);
        for part in young {
            for (sum, count) in counts.iter_mut().zip(part.counts) {
                *sum += count;
            }
        }
        Recent(counts)
    }
}

/// Where a part is kept.
fn place(number: u64) -> usize {
    usize::try_from(number % PARTS as u64).unwrap_or(0)
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (sum, counts) = {
            let inner = self.lock();
            (inner.sum, inner.counts)
        };
        let buckets: Vec<(f64, u64)> =
            counts.iter().enumerate().map(|(at, count)| (bound(at), *count)).collect();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Times that were counted within the last minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent(Counts);

impl Recent {
    /// How many.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that so large a part of them did not exceed, seconds; as Prometheus has it, evenly spread within a bucket, and the
    /// highest bound for what lies above it. `None` where there was nothing.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let rank = part * precise(self.count());
        let mut below = 0;
        for (at, count) in self.0.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
            if precise(below + count) >= rank {
                if at == BOUNDS {
                    return Some(bound(BOUNDS - 1));
                }
                let from = if at == 0 { 0.0 } else { bound(at - 1) };
                let share = (rank - precise(below)) / precise(count);
                return Some(from + (bound(at) - from) * share);
            }
            below += count;
        }
        None
    }
}

#[expect(clippy::cast_precision_loss, reason = "of 2^53 in a minute nobody would notice one")]
fn precise(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
    use prometheus_client::registry::Registry;

    use super::*;

    fn near(found: Option<f64>, wanted: f64) -> bool {
        found.is_some_and(|found| (found - wanted).abs() < 1e-9)
    }

    #[test]
    fn quantiles_are_spread_within_their_bucket() {
        let (times, now) = (Latency::default(), Instant::now());
        assert_eq!((times.recent_at(now).count(), times.recent_at(now).quantile(0.5)), (0, None));
        // Ninety between 0.8 and 1.6 ms, ten between 51.2 and 102.4 ms.
        for _ in 0..90 {
            times.observe_at(0.001, now);
        }
        for _ in 0..10 {
            times.observe_at(0.1, now);
        }
        let recent = times.recent_at(now);
        assert_eq!(recent.count(), 100);
        assert!(near(recent.quantile(0.45), 0.001_2), "{recent:?}");
        assert!(near(recent.quantile(0.9), 0.001_6), "{recent:?}");
        assert!(near(recent.quantile(0.95), 0.076_8), "{recent:?}");
        // A bound belongs to the bucket below it; what is above all of them is told as the highest.
        let (edge, long) = (Latency::default(), Latency::default());
        edge.observe_at(0.000_1, now);
        assert!(near(edge.recent_at(now).quantile(1.0), 0.000_1));
        long.observe_at(1_000.0, now);
        assert!(near(long.recent_at(now).quantile(0.5), 13.107_2), "{:?}", long.recent_at(now).quantile(0.5));
    }

    #[test]
    fn what_is_older_than_a_minute_counts_no_more() {
        let (times, began) = (Latency::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        times.observe_at(0.001, at(2));
        times.observe_at(0.002, at(31));
        assert_eq!(times.recent_at(at(33)).count(), 2);
        assert_eq!(times.recent_at(at(62)).count(), 1);
        assert_eq!(times.recent_at(at(93)).count(), 0);
        // A part whose place is taken by a new one is forgotten; what was counted since the start is not.
        times.observe_at(0.004, at(122));
        assert_eq!(times.recent_at(at(122)).count(), 1);
        assert_eq!(times.lock().counts.iter().sum::<u64>(), 3);
    }

    #[test]
    fn prometheus_is_told_what_its_own_histogram_would_tell() {
        let (ours, theirs) = (Latency::default(), Histogram::new(exponential_buckets(0.0001, 2.0, 18)));
        for seconds in [0.0, 0.000_05, 0.000_1, 0.000_2, 0.3, 13.0, 14.0, 1_000.0] {
            ours.observe(seconds);
            theirs.observe(seconds);
        }
        let told = |metric: Box<dyn FnOnce(&mut Registry)>| {
            let (mut registry, mut text) = (Registry::default(), String::new());
            metric(&mut registry);
            encode(&mut text, &registry).expect("a String takes it");
            text
        };
        let ours = told(Box::new(|registry| registry.register("times", "Times", ours)));
        let theirs = told(Box::new(|registry| registry.register("times", "Times", theirs)));
        assert_eq!(ours, theirs);
    }
}
