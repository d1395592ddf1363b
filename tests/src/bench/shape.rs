//! The shapes of a load, the same for every system.
//!
//! A writer has one write under way at a time, as the clients of a chat do. In the *closed loop* it writes again at once: that
//! measures a rate; its latencies are those of the slowed load. In the *open loop* every write has a time at which it is due,
//! fixed beforehand; a slow answer delays no due time, what is due waits at its writer, and each latency counts from when
//! its write was due. So no stall is left out because nobody wrote during it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::clock::{Latencies, Schedule, micros};

/// Before a figure is taken: connections and caches settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// What was due and is not acknowledged so long after the end is given up and counted.
const OVERTIME: Duration = Duration::from_secs(10);

/// Something that writes one thing durably.
pub trait Write: Send + 'static {
    /// One write until it is acknowledged, however often it must be tried.
    ///
    /// # Errors
    /// When it cannot be: the load ends there.
    fn write(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Processor seconds so far, by part of the system.
pub type Cpu<'a> = &'a (dyn Fn() -> anyhow::Result<BTreeMap<&'static str, f64>> + Sync);

/// What a load was answered with.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// How long it was measured, s.
    pub seconds: f64,
    /// Acknowledged meanwhile: by when the acknowledgement came, and not by when the write was due.
    pub acks: u64,
    /// Of those acknowledged, in the open loop also after the end; and of those that were given up, up to then.
    pub latencies: Latencies,
    /// Open loop: how late each write was begun although its writer was free. The generator's own fault: small, or the figures are
    /// not worth anything.
    pub lateness: Latencies,
    /// Open loop: due, and not acknowledged within the overtime.
    pub given_up: u64,
    /// Processor seconds used meanwhile, by part of the system; empty where they cannot be seen.
    pub cpu: BTreeMap<&'static str, f64>,
    /// Writes acknowledged between the two looks at the processors.
    pub cpu_acks: u64,
}

impl Answers {
    /// Acknowledged writes a second.
    pub fn rate(&self) -> f64 {
        self.acks as f64 / self.seconds
    }

    /// Processor seconds of all servers per 1,000 acknowledged writes; `None` where they cannot be seen.
    pub fn cpu_per_thousand(&self) -> Option<f64> {
        (!self.cpu.is_empty() && self.cpu_acks > 0)
            .then(|| self.cpu.values().sum::<f64>() * 1_000.0 / self.cpu_acks as f64)
    }
}

/// Runs the tasks of a load and looks at the processors at its two ends.
async fn gather(
    mut tasks: JoinSet<anyhow::Result<Answers>>,
    window: (Instant, Instant),
    acks: &AtomicU64,
    cpu: Cpu<'_>,
) -> anyhow::Result<Answers> {
    let mut all = Answers { seconds: (window.1 - window.0).as_secs_f64(), ..Answers::default() };
    tokio::time::sleep_until(window.0.into()).await;
    let (before, acks_before) = (cpu()?, acks.load(Ordering::Relaxed));
    tokio::time::sleep_until(window.1.into()).await;
    let (after, acks_after) = (cpu()?, acks.load(Ordering::Relaxed));
    for (part, seconds) in after {
        all.cpu.insert(part, seconds - before.get(part).copied().unwrap_or(0.0));
    }
    all.cpu_acks = acks_after - acks_before;
    while let Some(done) = tasks.join_next().await {
        let one = done??;
        all.acks += one.acks;
        all.latencies.add(&one.latencies)?;
        all.lateness.add(&one.lateness)?;
        all.given_up += one.given_up;
    }
    Ok(all)
}

/// Everybody writes again as soon as they are acknowledged.
///
/// # Errors
/// When a write fails.
pub async fn closed_loop<W: Write>(
    writers: Vec<W>,
    length: Duration,
    cpu: Cpu<'_>,
) -> anyhow::Result<Answers> {
    let begins = Instant::now() + WARM_UP;
    let ends = begins + length;
    let acks = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        let acks = Arc::clone(&acks);
        tasks.spawn(async move {
            let mut own = Answers::default();
            loop {
                let began = Instant::now();
                if began >= ends {
                    return Ok(own);
                }
                writer.write().await?;
                let now = Instant::now();
                acks.fetch_add(1, Ordering::Relaxed);
                // Counted by when it was acknowledged: of each span of a second, as many as fall into it.
                if (begins..ends).contains(&now) {
                    own.acks += 1;
                    own.latencies.record(now - began);
                }
            }
        });
    }
    gather(tasks, (begins, ends), &acks, cpu).await
}

/// Everybody writes at their own fixed times, `per_second` together.
///
/// # Errors
/// When a write fails.
pub async fn open_loop<W: Write>(
    writers: Vec<W>,
    per_second: u64,
    length: Duration,
    cpu: Cpu<'_>,
) -> anyhow::Result<Answers> {
    let starts = Instant::now() + Duration::from_millis(50);
    let begins = starts + WARM_UP;
    let ends = begins + length;
    let count = writers.len();
    let acks = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for (place, writer) in writers.into_iter().enumerate() {
        let times = Schedule::new(starts, ends, per_second, place, count);
        tasks.spawn(keep_times(writer, times, (begins, ends), ends + OVERTIME, Arc::clone(&acks)));
    }
    gather(tasks, (begins, ends), &acks, cpu).await
}

async fn keep_times<W: Write>(
    mut writer: W,
    times: Schedule,
    window: (Instant, Instant),
    gives_up: Instant,
    acks: Arc<AtomicU64>,
) -> anyhow::Result<Answers> {
    let mut own = Answers::default();
    for due in times {
        let is_free = Instant::now() < due;
        if is_free {
            tokio::time::sleep_until(due.into()).await;
        }
        let late = due.elapsed();
        let written = match gives_up.checked_duration_since(Instant::now()) {
            Some(left) => tokio::time::timeout(left, writer.write()).await.ok().transpose()?,
            None => None,
        };
        if written.is_some() {
            acks.fetch_add(1, Ordering::Relaxed);
            own.acks += u64::from((window.0..window.1).contains(&Instant::now()));
        }
        if due >= window.0 {
            own.latencies.record(due.elapsed());
            own.given_up += u64::from(written.is_none());
            if is_free {
                own.lateness.record(late);
            }
        }
    }
    Ok(own)
}

/// Acknowledgements without end, and the longest time between any two of them.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    last_us: AtomicU64,
    gap_us: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { origin: Instant::now(), last_us: AtomicU64::new(0), gap_us: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// Not by [`micros`], which ends where the histograms do.
    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        let now = self.now_us();
        let before = self.last_us.swap(now, Ordering::Relaxed);
        self.gap_us.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }

    /// Forgets the gaps so far.
    pub fn begin(&self) {
        self.gap_us.store(0, Ordering::Relaxed);
    }

    /// The longest gap since then, with the one that is open still.
    pub fn gap(&self) -> Duration {
        let open = self.now_us().saturating_sub(self.last_us.load(Ordering::Relaxed));
        Duration::from_micros(self.gap_us.load(Ordering::Relaxed).max(open))
    }

    /// How long nobody has been acknowledged.
    pub fn silent_for(&self) -> Duration {
        Duration::from_micros(self.now_us().saturating_sub(self.last_us.load(Ordering::Relaxed)))
    }
}

/// Writers that go on until the set is dropped.
pub fn unending<W: Write>(writers: Vec<W>) -> (Arc<Pulse>, JoinSet<anyhow::Result<()>>) {
    let pulse = Arc::new(Pulse::default());
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        let pulse = Arc::clone(&pulse);
        tasks.spawn(async move {
            loop {
                writer.write().await?;
                pulse.beat();
            }
        });
    }
    (pulse, tasks)
}

/// Writes until so many were acknowledged; how long it took.
///
/// # Errors
/// When a write fails.
pub async fn fill<W: Write>(writers: Vec<W>, count: u64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let begun = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        let begun = Arc::clone(&begun);
        tasks.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                writer.write().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(began.elapsed())
}

/// Each of `count` writes of one writer, one after the other.
///
/// # Errors
/// When a write fails.
pub async fn one_by_one<W: Write>(writer: &mut W, count: u64) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let began = Instant::now();
        writer.write().await?;
        latencies.record(Duration::from_micros(micros(began.elapsed())));
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, but for one write that takes long.
    struct Stalling {
        written: u64,
        stall_at: u64,
        stall: Duration,
    }

    impl Write for Stalling {
        async fn write(&mut self) -> anyhow::Result<()> {
            self.written += 1;
            if self.written == self.stall_at {
                tokio::time::sleep(self.stall).await;
            }
            Ok(())
        }
    }

    const NO_CPU: Cpu<'static> = &|| Ok(BTreeMap::new());

    #[tokio::test]
    async fn a_stall_is_felt_by_every_write_that_was_due_during_it() {
        // 100 a second by one writer; one of them takes half a second, in which some fifty more were due.
        let writer = Stalling { written: 0, stall_at: 150, stall: Duration::from_millis(500) };
        let answers = open_loop(vec![writer], 100, Duration::from_secs(2), NO_CPU).await.unwrap();
        assert_eq!(answers.latencies.count(), 200, "as many as were due, however slow they were");
        assert_eq!(answers.given_up, 0);
        assert!((190..=210).contains(&answers.acks), "{}", answers.acks);
        // Had the generator waited with its times, one of 200 would be slow: half a percent.
        assert!(answers.latencies.ms(0.9) > 150.0, "{:?}", answers.latencies.ms(0.9));
        assert!(answers.latencies.ms(1.0) >= 500.0);
        // The wait behind the slow one is the system's, not the generator's.
        assert!(answers.lateness.count() < 160, "{}", answers.lateness.count());
    }

    #[tokio::test]
    async fn what_was_due_and_never_answered_counts_as_given_up() {
        let starts = Instant::now();
        let ends = starts + Duration::from_millis(100);
        let writer = Stalling { written: 0, stall_at: 3, stall: Duration::from_hours(1) };
        let times = Schedule::new(starts, ends, 100, 0, 1);
        let gives_up = ends + Duration::from_millis(500);
        let own = keep_times(writer, times, (starts, ends), gives_up, Arc::default()).await.unwrap();
        assert_eq!(own.latencies.count(), 10);
        assert_eq!((own.given_up, own.acks), (8, 2));
        assert!(own.latencies.ms(1.0) >= 550.0, "from its due time to when it was given up");
    }

    #[tokio::test]
    async fn what_is_acknowledged_after_the_end_has_a_time_and_is_in_no_rate() {
        let starts = Instant::now();
        let ends = starts + Duration::from_millis(100);
        let writer = Stalling { written: 0, stall_at: 3, stall: Duration::from_millis(200) };
        let times = Schedule::new(starts, ends, 100, 0, 1);
        let gives_up = ends + Duration::from_secs(10);
        let own = keep_times(writer, times, (starts, ends), gives_up, Arc::default()).await.unwrap();
        assert_eq!((own.latencies.count(), own.given_up, own.acks), (10, 0, 2));
    }

    #[tokio::test]
    async fn a_closed_loop_counts_what_falls_into_its_time() {
        struct Slow;
        impl Write for Slow {
            async fn write(&mut self) -> anyhow::Result<()> {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            }
        }
        let seconds = AtomicU64::new(0);
        let cpu = || Ok(BTreeMap::from([("all", seconds.fetch_add(3, Ordering::Relaxed) as f64)]));
        let answers = closed_loop(vec![Slow, Slow], Duration::from_millis(500), &cpu).await.unwrap();
        assert!((1..=50).contains(&answers.acks), "{}", answers.acks);
        assert!(answers.latencies.ms(0.0) >= 19.9);
        let per_thousand = answers.cpu_per_thousand().unwrap();
        assert_eq!(per_thousand, 3_000.0 / answers.cpu_acks as f64);
    }

    #[tokio::test]
    async fn a_gap_is_the_longest_silence_of_all_writers_together() {
        let stalls = |stall_at| Stalling { written: 0, stall_at, stall: Duration::from_millis(200) };
        struct Paced(Stalling);
        impl Write for Paced {
            async fn write(&mut self) -> anyhow::Result<()> {
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.0.write().await
            }
        }
        let (pulse, tasks) = unending(vec![Paced(stalls(u64::MAX))]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        pulse.begin();
        drop(tasks);
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(pulse.gap() >= Duration::from_millis(100), "an open gap counts: {:?}", pulse.gap());
        let (pulse, _tasks) = unending(vec![Paced(stalls(10))]);
        tokio::time::sleep(Duration::from_millis(30)).await;
        pulse.begin();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(pulse.gap() >= Duration::from_millis(195), "{:?}", pulse.gap());
    }

    #[tokio::test]
    async fn a_filling_ends_with_so_many() {
        struct Count(Arc<AtomicU64>);
        impl Write for Count {
            async fn write(&mut self) -> anyhow::Result<()> {
                tokio::task::yield_now().await;
                self.0.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
        let written = Arc::new(AtomicU64::new(0));
        let writers = (0..7).map(|_| Count(Arc::clone(&written))).collect();
        fill(writers, 1_000).await.unwrap();
        assert_eq!(written.load(Ordering::Relaxed), 1_000);
        assert_eq!(one_by_one(&mut Count(written.clone()), 5).await.unwrap().count(), 5);
    }
}
