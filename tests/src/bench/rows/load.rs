//! Latency over load: the open loop at one rate after the other, until it is too much. Drawn as a plot.

use super::{PLAIN, Row};
use crate::bench::record::Figure;
use crate::bench::shape::open_loop;
use crate::bench::stage::Stage;
use crate::bench::table::number;

/// A median above this, ms, is a queue that grows: higher rates would only measure how long it was let grow.
const SATURATED_MS: f64 = 1_000.0;

/// See the module.
pub const ROW: Row = Row {
    name: "load",
    what: "the open loop at rising rates, as far as each system comes: the plot",
    runs_max: 2,
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let mut figures = Vec::new();
    for rate in &scale.rates {
        let writers = subject.writers(scale.open_writers, scale.bytes).await?;
        let answers = open_loop(writers, *rate, scale.length, &|| subject.cpu()).await?;
        let case = format!("{} writes/s", number(*rate as f64));
        let at = *rate as f64;
        for (measure, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            figures.push(Figure::less(&case, measure, "ms", answers.latencies.ms(quantile)).at(at));
        }
        figures.push(Figure::less(&case, "given up", "writes", answers.given_up as f64).at(at));
        if answers.latencies.ms(0.5) > SATURATED_MS {
            break;
        }
    }
    Ok(figures)
}
