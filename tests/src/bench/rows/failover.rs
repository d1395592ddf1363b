//! The leader goes, killed or in order, under load: the longest time in which nobody was acknowledged.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::process::Send;

use super::{PLAIN, Row};
use crate::bench::record::{Figure, System};
use crate::bench::shape::unending;
use crate::bench::stage::Stage;

/// Writers meanwhile.
const WRITERS: usize = 64;
/// Before and behind each end of a leader.
const CALM: Duration = Duration::from_secs(2);
/// A silence shorter than this is none: a build beside it may hold a writer up for so long.
const SILENCE: Duration = Duration::from_millis(100);
/// After this, nobody comes to lead.
const GAP_MAX: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Killed.
pub const KILL: Row = Row {
    name: "failover-kill",
    what: "longest time without any acknowledgement when the leader is killed with -9, 64 writers at work; each kill is a run",
    needs_hands: true,
    is_alone: true,
    run: |stage| Box::pin(run(stage, Send::Kill)),
    ..PLAIN
};

/// Asked to end.
pub const STOP: Row = Row {
    name: "failover-stop",
    what: "the same when the leader is stopped in order (SIGTERM)",
    needs_hands: true,
    is_alone: true,
    runs_max: 1,
    run: |stage| Box::pin(run(stage, Send::Terminate)),
    ..PLAIN
};

async fn run(stage: Stage<'_>, how: Send) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let writers = subject.restless_writers(WRITERS, scale.bytes).await?;
    let (pulse, mut tasks) = unending(writers);
    let mut figures = Vec::new();
    let ends = if subject.system() == System::Quorate { scale.kills } else { scale.peer_kills };
    for _ in 0..ends {
        tokio::time::sleep(CALM).await;
        if let Some(ended) = tasks.try_join_next() {
            ended?.context("a writer ended")?;
        }
        let leader = subject.leader().await?;
        ensure!(pulse.silent_for() < CALM, "nobody is acknowledged even before the leader is ended");
        pulse.begin();
        let began = Instant::now();
        subject.end(leader, how).await?;
        while began.elapsed() < CALM || pulse.silent_for() > SILENCE {
            if began.elapsed() > GAP_MAX {
                bail!("nobody was acknowledged for {GAP_MAX:?} after the leader's end");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let gap = pulse.gap();
        figures.push(Figure::less("64 writers", "gap", "ms", gap.as_secs_f64() * 1_000.0));
        subject.start_again(leader).await?;
    }
    Ok(figures)
}
