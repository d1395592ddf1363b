//! The report as Markdown: one table, and what it takes to read it.

use std::fmt::Write as _;

use super::machine::{AtRest, PAUSE_MS};
use super::record::{Better, Report, Summary, System};

/// A number for people: three digits that count, thousands apart.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut apart = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    if rest.is_empty() { format!("{sign}{apart}") } else { format!("{sign}{apart}.{rest}") }
}

/// One line of plain text in a cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn values(summary: Option<Summary>) -> String {
    match summary {
        Some(Summary { median, runs: 1, .. }) => format!("{} · 1", number(median)),
        Some(Summary { median, slowest, runs }) => {
            format!("{} · {} · {runs}", number(median), number(slowest))
        }
        None => "–".to_owned(),
    }
}

/// Days since 1970 as a date (Howard Hinnant's `civil_from_days`).
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

/// Whether the disk stood still while nothing was measured.
fn at_rest(AtRest { syncs, pauses, longest_ms }: AtRest) -> String {
    if syncs == 0 {
        return String::new();
    }
    let (syncs, pauses, longest) = (number(syncs as f64), number(pauses as f64), number(longest_ms));
    format!(
        ", and of {syncs} between turns, with nothing to measure, {pauses} took over {PAUSE_MS} ms, the longest {longest} ms"
    )
}

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::from("# Figures\n\n");
    let machine = &report.machine;
    // Writing to a string never fails.
    let _ = writeln!(
        out,
        "Commit {}, {}, in {} min: `{}`.\n\n{} cores ({}), {} GiB, Linux {}, {}; an fdatasync of 4 KiB took {} ms before it all{}. \
         The load generator ran {}.\n",
        report.commit,
        date(report.begun),
        report.took_s.div_ceil(60),
        report.command,
        machine.cores,
        machine.model,
        machine.memory_gib,
        machine.kernel,
        machine.file_system,
        number(machine.sync_ms),
        at_rest(machine.at_rest),
        machine.generator,
    );
    for (system, what) in &report.systems {
        let _ = writeln!(out, "- {}: {what}", system.title());
    }
    out.push_str(
        "\nEach cell: median · slowest run · number of runs; in `size` of replicas, in `restart` of restarts, in failovers of kills or \
         stops. Absolute figures move from machine to machine; what counts is what \
         stands side by side. What each row measures and how to repeat it: [bench.md](bench.md).\n\n",
    );
    let titles: Vec<&str> = System::ALL.iter().map(|system| system.title()).collect();
    let _ = writeln!(out, "| row | load | measure | {} |", titles.join(" | "));
    let _ = writeln!(out, "| --- | --- | --- |{}", " ---: |".repeat(titles.len()));
    for line in &report.lines {
        let cells: Vec<String> = System::ALL.iter().map(|system| values(line.summary(*system))).collect();
        let arrow = if line.better == Better::More { "↑" } else { "↓" };
        let _ = writeln!(
            out,
            "| {} | {} | {}, {} {arrow} | {} |",
            cell(&line.row),
            cell(&line.case),
            cell(&line.measure),
            cell(&line.unit),
            cells.join(" | ")
        );
    }
    if !report.absences.is_empty() {
        out.push_str("\nNot here:\n\n");
        for absence in &report.absences {
            let failed = if absence.failed { "FAILED: " } else { "" };
            let _ = writeln!(
                out,
                "- {}, {}: {failed}{}",
                absence.row,
                absence.system.title(),
                cell(&absence.why)
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    #[test]
    fn a_disk_that_was_watched_is_told_of() {
        assert_eq!(at_rest(AtRest::default()), "");
        let told = at_rest(AtRest { syncs: 4_090, pauses: 21, longest_ms: 643.2 });
        assert_eq!(
            told,
            ", and of 4,090 between turns, with nothing to measure, 21 took over 20 ms, the longest 643 ms"
        );
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let cases = [
            (0.0, "0"),
            (0.028_4, "0.028"),
            (1.234, "1.23"),
            (42.04, "42.0"),
            (42.0, "42"),
            (997.4, "997"),
            (21_494.4, "21,494"),
            (1_000_000.0, "1,000,000"),
            (-1_234.0, "-1,234"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_827_696), "2000-02-29");
        assert_eq!(date(1_795_368_000), "2026-11-22");
    }

    #[test]
    fn a_page_has_every_line_and_says_what_is_missing() {
        let page = page(&sample());
        assert!(
            page.contains("| closed-loop | 64 writers | acks, 1/s ↑ | 2,000 · 1,000 · 3 | 12,346 · 1 | – |"),
            "{page}"
        );
        assert!(page.contains("| closed-loop | 64 writers | p99, ms ↓ | 2 · 3 · 3 | – | – |"), "{page}");
        assert!(page.contains("- closed-loop, etcd: no network \\| here"), "{page}");
        assert!(page.contains("Commit abc123") && page.contains("tests/bench --quick"), "{page}");
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        for line in page.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(columns(line), 7, "{line}");
        }
    }
}
