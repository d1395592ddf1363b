//! Writers that write again as soon as they are acknowledged.

use super::{PLAIN, Row, of_load};
use crate::bench::record::Figure;
use crate::bench::shape::closed_loop;
use crate::bench::stage::Stage;

/// See the module.
pub const ROW: Row = Row {
    name: "closed-loop",
    what: "acknowledged durable writes a second, by so many writers with one under way each",
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let mut figures = Vec::new();
    for count in &scale.writers {
        let writers = subject.writers(*count, scale.bytes).await?;
        let answers = closed_loop(writers, scale.length, &|| subject.cpu()).await?;
        let case = if *count == 1 { "1 writer".to_owned() } else { format!("{count} writers") };
        figures.extend(of_load(&case, &answers));
    }
    Ok(figures)
}
