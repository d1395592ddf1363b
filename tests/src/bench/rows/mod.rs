//! The rows, in the order of the table: a file each.

mod closed_loop;
mod cpu;
mod failover;
mod fan_out;
mod files;
mod growth;
mod idle;
mod load;
mod open_loop;
mod painted;
mod restart;
mod size;

use anyhow::bail;
use futures_util::future::BoxFuture;

use super::clock::Latencies;
use super::record::{Figure, System};
use super::shape::Answers;
use super::stage::Stage;

/// One thing that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it measures, one line.
    pub what: &'static str,
    /// Of whom.
    pub systems: &'static [System],
    /// Whether it needs a system that nothing was done with before.
    pub is_alone: bool,
    /// Whether it starts, ends or looks at processes: impossible with a cluster elsewhere.
    pub needs_hands: bool,
    /// Whether it needs the page and a browser.
    pub needs_page: bool,
    /// Keys of the replicas' configuration.
    pub keys: &'static [(&'static str, i64)],
    /// Runs that are enough, where one takes long or has many values in it.
    pub runs_max: usize,
    /// Measures.
    pub run: for<'a> fn(Stage<'a>) -> BoxFuture<'a, anyhow::Result<Vec<Figure>>>,
}

/// What most rows are like.
const PLAIN: Row = Row {
    name: "",
    what: "",
    systems: &System::ALL,
    is_alone: false,
    needs_hands: false,
    needs_page: false,
    keys: &[],
    runs_max: usize::MAX,
    run: |_| Box::pin(async { bail!("a row without a measure") }),
};

/// All rows.
pub const ALL: [Row; 16] = [
    closed_loop::ROW,
    open_loop::ROW,
    load::ROW,
    cpu::ROW,
    fan_out::ROW,
    painted::ROW,
    idle::ROW,
    failover::KILL,
    failover::STOP,
    files::ROW,
    files::BESIDE,
    restart::ROW,
    size::ROW,
    growth::HISTORY,
    growth::CONVERSATIONS,
    growth::SESSIONS,
];

/// The rows of these names, in the table's order; all for none.
///
/// # Errors
/// One line that names those there are.
pub fn chosen(names: &[String]) -> anyhow::Result<Vec<Row>> {
    let all = || ALL.iter().map(|row| row.name);
    if let Some(stranger) = names.iter().find(|name| !all().any(|known| known == name.as_str())) {
        bail!("there is no row {stranger:?}; there are {}", all().collect::<Vec<_>>().join(", "));
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(ALL.iter().filter(wanted).copied().collect())
}

/// Median, 99th percentile and the longest.
fn times(case: &str, latencies: &Latencies) -> Vec<Figure> {
    [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)]
        .map(|(measure, quantile)| Figure::less(case, measure, "ms", latencies.ms(quantile)))
        .to_vec()
}

/// What every load of durable writes is told by.
fn of_load(case: &str, answers: &Answers) -> Vec<Figure> {
    let mut figures = vec![Figure::more(case, "acknowledged", "1/s", answers.rate())];
    figures.extend(times(case, &answers.latencies));
    if let Some(seconds) = answers.cpu_per_thousand() {
        figures.push(Figure::less(case, "CPU of all servers per 1,000", "s", seconds));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_that_finds_it() {
        for row in ALL {
            let found = chosen(&[row.name.to_owned()]).unwrap();
            assert_eq!(found.len(), 1, "{}", row.name);
            assert!(!row.what.is_empty() && !row.systems.is_empty(), "{}", row.name);
            assert!(row.systems.contains(&System::Quorate), "{}", row.name);
        }
        assert_eq!(chosen(&[]).unwrap().len(), ALL.len());
        let error = chosen(&["nothing".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("closed-loop"), "{error}");
    }

    #[test]
    fn the_page_about_the_rows_names_each() {
        let page = include_str!("../../../../docs/bench.md");
        for row in ALL {
            assert!(
                page.contains(&format!("| `{}` |", row.name)),
                "docs/bench.md says nothing of {}",
                row.name
            );
        }
    }
}
