//! Where the processors' time goes under full load.

use anyhow::ensure;

use super::{PLAIN, Row};
use crate::bench::record::Figure;
use crate::bench::shape::closed_loop;
use crate::bench::stage::Stage;

/// See the module.
pub const ROW: Row = Row {
    name: "cpu",
    what: "CPU seconds of all server processes per 1,000 acknowledged writes, with as many writers as there are in the closed loop",
    needs_hands: true,
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let count = scale.writers.iter().copied().max().unwrap_or(1);
    let writers = subject.writers(count, scale.bytes).await?;
    let answers = closed_loop(writers, scale.length, &|| subject.cpu()).await?;
    ensure!(answers.cpu_acks > 0, "nothing was acknowledged");
    let case = format!("{count} writers");
    let each = |seconds: f64| seconds * 1_000.0 / answers.cpu_acks as f64;
    let mut figures = vec![Figure::less(&case, "all servers", "s", each(answers.cpu.values().sum()))];
    if answers.cpu.len() > 1 {
        for (part, seconds) in &answers.cpu {
            figures.push(Figure::less(&case, part, "s", each(*seconds)));
        }
    }
    Ok(figures)
}
