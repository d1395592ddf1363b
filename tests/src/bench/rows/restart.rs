//! A replica on top of a history comes back: until it has applied what the others have and serves.

use anyhow::Context as _;
use quorate_cluster::process::Send;

use super::{PLAIN, Row};
use crate::bench::record::{Figure, System};
use crate::bench::shape::fill;
use crate::bench::stage::Stage;
use crate::bench::table::number;

/// Writers that fill the history.
const FILLERS: usize = 256;
/// What is missed is this part of the history.
const MISSED_ONE_IN: u64 = 20;
/// Bytes of a message.
const TEXT_BYTES: usize = 100;

/// See the module.
pub const ROW: Row = Row {
    name: "restart",
    what: "a follower with a history, stopped, killed or cut off from power, from its start until it has caught up and is ready; also after it missed a part",
    systems: &[System::Quorate],
    is_alone: true,
    needs_hands: true,
    runs_max: 1,
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    fill(subject.writers(FILLERS, TEXT_BYTES).await?, scale.messages).await?;
    let case = format!("{} messages", number(scale.messages as f64));
    let missed = scale.messages / MISSED_ONE_IN;
    let mut figures = Vec::new();
    for turn in 0..scale.restarts {
        for (measure, how) in [("after an orderly stop", Send::Terminate), ("after kill -9", Send::Kill)] {
            let quorate = subject.quorate()?;
            let id = follower(quorate.leader().await?, turn)?;
            quorate.end(id, how).await?;
            let took = quorate.start_again(id).await?;
            figures.push(Figure::less(&case, measure, "s", took.as_secs_f64()));
        }
        let quorate = subject.quorate()?;
        let id = follower(quorate.leader().await?, turn)?;
        quorate.end(id, Send::Kill).await?;
        fill(subject.writers(FILLERS, TEXT_BYTES).await?, missed).await?;
        let took = subject.quorate()?.start_again(id).await?;
        let missing = format!("{case}, {} of them missed", number(missed as f64));
        figures.push(Figure::less(missing, "caught up", "s", took.as_secs_f64()));

        let quorate = subject.quorate()?;
        let id = follower(quorate.leader().await?, turn)?;
        quorate.cut_power(id).await?;
        let took = quorate.start_again(id).await?;
        let read = quorate.disk_read_bytes(id)? as f64 / f64::from(1 << 20);
        figures.push(Figure::less(&case, "after a power cut", "s", took.as_secs_f64()));
        figures.push(Figure::less(&case, "after a power cut, read from its disk", "MiB", read));
    }
    Ok(figures)
}

/// One of the five that does not lead, in turn.
fn follower(leader: u16, turn: usize) -> anyhow::Result<u16> {
    (1..=5).filter(|id| *id != leader).cycle().nth(turn).context("somebody follows")
}
