//! What was measured, as records: figures of one run, lines of many, the report of all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// This project.
    Quorate,
    /// NATS: `JetStream` for durable writes, core NATS over WebSocket for fan-out.
    Nats,
    /// etcd.
    Etcd,
}

impl System {
    /// All, in the order of the table's columns.
    pub const ALL: [Self; 3] = [Self::Quorate, Self::Nats, Self::Etcd];

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Quorate => "Quorate",
            Self::Nats => "NATS",
            Self::Etcd => "etcd",
        }
    }
}

/// Which of two values is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Rates.
    More,
    /// Times and sizes.
    Less,
}

/// One value of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Under what load: `64 writers`.
    pub case: String,
    /// The load as a number, for the plot.
    pub at: Option<f64>,
    /// What: `p99`.
    pub measure: &'static str,
    /// Its unit: `ms`.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// How much.
    pub value: f64,
}

impl Figure {
    /// A figure of which less is better.
    pub fn less(case: impl Into<String>, measure: &'static str, unit: &'static str, value: f64) -> Self {
        Self { case: case.into(), at: None, measure, unit, better: Better::Less, value }
    }

    /// A figure of which more is better.
    pub fn more(case: impl Into<String>, measure: &'static str, unit: &'static str, value: f64) -> Self {
        Self { better: Better::More, ..Self::less(case, measure, unit, value) }
    }

    /// The same with its load as a number.
    #[must_use]
    pub fn at(self, load: f64) -> Self {
        Self { at: Some(load), ..self }
    }
}

/// All values of one thing: a line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The row's name.
    pub row: String,
    /// Under what load.
    pub case: String,
    /// The load as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// What.
    pub measure: String,
    /// Its unit.
    pub unit: String,
    /// Which way is good.
    pub better: Better,
    /// The values of all runs by system, in the order in which they were measured.
    pub values: BTreeMap<System, Vec<f64>>,
}

/// What several runs say together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Half of the runs were better.
    pub median: f64,
    /// The worst run.
    pub slowest: f64,
    /// How many runs.
    pub runs: usize,
}

impl Line {
    /// What a system's runs say together; `None` without any.
    pub fn summary(&self, system: System) -> Option<Summary> {
        let mut values = self.values.get(&system)?.clone();
        values.sort_unstable_by(f64::total_cmp);
        if self.better == Better::More {
            values.reverse();
        }
        let slowest = *values.last()?;
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Summary { median, slowest, runs: values.len() })
    }
}

/// Why there is no figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The row's name.
    pub row: String,
    /// Of which system.
    pub system: System,
    /// One line.
    pub why: String,
    /// Whether it should have been there: a row that failed.
    pub failed: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The commit that was measured; `+` behind it where the work tree differed.
    pub commit: String,
    /// When it began, seconds since 1970.
    pub begun: u64,
    /// How long it took, s.
    pub took_s: u64,
    /// Where.
    pub machine: Machine,
    /// The command line.
    pub command: String,
    /// What was compared.
    pub systems: BTreeMap<System, String>,
    /// The figures.
    pub lines: Vec<Line>,
    /// What is missing.
    pub absences: Vec<Absence>,
}

impl Report {
    /// Adds one run's figures of a row.
    pub fn add(&mut self, row: &str, system: System, figures: Vec<Figure>) {
        for figure in figures {
            let same = |line: &&mut Line| {
                line.row == row && line.case == figure.case && line.measure == figure.measure
            };
            let line = match self.lines.iter_mut().find(same) {
                Some(line) => line,
                None => {
                    self.lines.push(Line {
                        row: row.to_owned(),
                        case: figure.case,
                        at: figure.at,
                        measure: figure.measure.to_owned(),
                        unit: figure.unit.to_owned(),
                        better: figure.better,
                        values: BTreeMap::new(),
                    });
                    self.lines.last_mut().expect("one was pushed")
                }
            };
            line.values.entry(system).or_default().push(figure.value);
        }
    }

    /// Notes that something is missing, once.
    pub fn miss(&mut self, row: &str, system: System, why: impl Into<String>, failed: bool) {
        let absence = Absence { row: row.to_owned(), system, why: why.into(), failed };
        if !self.absences.contains(&absence) {
            self.absences.push(absence);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report with two systems, three runs and something missing.
    pub(in crate::bench) fn sample() -> Report {
        let mut report = Report {
            commit: "abc123".to_owned(),
            begun: 1_790_000_000,
            took_s: 61,
            machine: Machine::default(),
            command: "tests/bench --quick".to_owned(),
            systems: BTreeMap::from([(System::Quorate, "Quorate 0.1.0".to_owned())]),
            lines: Vec::new(),
            absences: Vec::new(),
        };
        for value in [3_000.0, 1_000.0, 2_000.0] {
            let figures = vec![
                Figure::more("64 writers", "acks", "1/s", value),
                Figure::less("64 writers", "p99", "ms", value / 1_000.0),
            ];
            report.add("closed-loop", System::Quorate, figures);
        }
        report.add("closed-loop", System::Nats, vec![Figure::more("64 writers", "acks", "1/s", 12_345.678)]);
        report.miss("closed-loop", System::Etcd, "no\nnetwork | here", false);
        report.miss("closed-loop", System::Etcd, "no\nnetwork | here", false);
        report
    }

    #[test]
    fn the_slowest_run_of_a_rate_is_the_lowest_and_of_a_time_the_highest() {
        let report = sample();
        assert_eq!(report.lines.len(), 2);
        let rate = report.lines[0].summary(System::Quorate).unwrap();
        assert_eq!(rate, Summary { median: 2_000.0, slowest: 1_000.0, runs: 3 });
        let time = report.lines[1].summary(System::Quorate).unwrap();
        assert_eq!(time, Summary { median: 2.0, slowest: 3.0, runs: 3 });
        assert_eq!(report.lines[1].summary(System::Nats), None);
        let mut even = report.lines[0].clone();
        even.values.insert(System::Quorate, vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even.summary(System::Quorate).unwrap().median, 2.5);
        assert_eq!(report.absences.len(), 1);
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = sample();
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(text.contains("\"quorate\": ["), "{text}");
    }
}
