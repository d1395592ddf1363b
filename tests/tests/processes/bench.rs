//! The benchmark's rows work: no figure is judged, but each is there. Peers are left out: nothing is downloaded by a test.

use anyhow::ensure;
use clap::Parser as _;
use quorate_tests::bench::options::Options;
use quorate_tests::bench::record::{Report, System};
use quorate_tests::bench::run;
use quorate_tests::skip::skip;

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_running_cluster_give_figures_in_all_three_forms() -> anyhow::Result<()> {
    let out = tempfile::tempdir()?;
    let folder = out.path().display().to_string();
    let words = [
        "bench",
        "closed-loop",
        "load",
        "fan-out",
        "painted",
        "files-beside",
        "restart",
        "--quick",
        "--seconds",
        "1",
        "--messages",
        "1000",
        "--peers",
        "none",
    ];
    let options = Options::try_parse_from(words.into_iter().chain(["--out", &folder]))?;
    let report = run::run(&options).await?;
    let failed: Vec<_> = report.absences.iter().filter(|absence| absence.failed).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    ensure!(report.absences.iter().any(|absence| absence.system == System::Nats), "{:?}", report.absences);
    for row in ["closed-loop", "load", "fan-out", "painted", "files-beside", "restart"] {
        let absence = report.absences.iter().find(|it| it.row == row && it.system == System::Quorate);
        if let Some(absence) = absence {
            skip(&format!("the row {row} of the benchmark"), &absence.why);
            continue;
        }
        let lines: Vec<_> = report.lines.iter().filter(|line| line.row == row).collect();
        ensure!(!lines.is_empty(), "{row} has no figures");
        for line in lines {
            let summary = line.summary(System::Quorate);
            // A few files may never have left the kernel's memory: tmpfs has no disk.
            let may_be_none = ["given up", "not painted", "after a power cut, read from its disk"];
            let is_figure =
                |median: f64| median > 0.0 || (may_be_none.contains(&line.measure.as_str()) && median == 0.0);
            ensure!(
                summary.is_some_and(|summary| is_figure(summary.median) && summary.runs == 1),
                "{line:?}"
            );
        }
    }
    let json = std::fs::read_to_string(out.path().join("figures.json"))?;
    let read: Report = serde_json::from_str(&json)?;
    ensure!(
        read.lines.len() == report.lines.len() && read.absences == report.absences,
        "the file says something else"
    );
    let page = std::fs::read_to_string(out.path().join("figures.md"))?;
    ensure!(page.contains("| closed-loop | 64 writers |") && page.contains("(latency.svg)"), "{page}");
    ensure!(std::fs::read_to_string(out.path().join("latency.svg"))?.contains("Quorate p99"), "no drawing");
    Ok(())
}
