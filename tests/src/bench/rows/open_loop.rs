//! Writes at fixed times, at a load that nobody has trouble with.

use super::{PLAIN, Row, of_load};
use crate::bench::record::Figure;
use crate::bench::shape::open_loop;
use crate::bench::stage::Stage;
use crate::bench::table::number;

/// See the module.
pub const ROW: Row = Row {
    name: "open-loop",
    what: "latency of durable writes that are due at fixed times, from when each was due",
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let writers = subject.writers(scale.open_writers, scale.bytes).await?;
    let answers = open_loop(writers, scale.rate, scale.length, &|| subject.cpu()).await?;
    let late = answers.lateness.ms(0.99);
    let case = format!("{} writes/s", number(scale.rate as f64));
    let mut figures = of_load(&case, &answers);
    figures.push(Figure::less(&case, "given up", "writes", answers.given_up as f64));
    figures.push(Figure::less(&case, "generator's own lateness, p99", "ms", late));
    Ok(figures)
}
