//! The whole: who is measured when, what is written down, and what is said meanwhile.
//!
//! One system runs at a time, and they take turns within each run, beginning with another each time: what the machine does
//! beside it falls on all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use quorate_cluster::{Balancer, Binaries};
use tempfile::TempDir;

use super::machine::{self, Machine};
use super::options::{Options, Scale};
use super::peers::{etcd::Etcd, install, nats::Nats};
use super::quorate::Quorate;
use super::record::{Figure, Report, System};
use super::rows::{self, Row};
use super::stage::{Stage, Subject};
use super::table::number;
use super::{plot, table};
use crate::browser;
use crate::harness::target_dir;

/// The row whose figures are drawn.
const DRAWN: &str = "load";
/// Its value may be "none", which is no folder.
const PEERS: &str = "--peers";
/// The same.
const PAGE: &str = "--page";
/// Options whose values are folders and addresses of this machine.
const UNTOLD: [&str; 5] = ["--out", PEERS, "--programs", PAGE, "--target"];
/// What a page that others read says of a row that failed: errors name folders and addresses.
const FAILED: &str = "what the tool said meanwhile has the reason";

/// What a run needs to start systems.
#[derive(Debug)]
struct Starter {
    programs: Option<Binaries>,
    targets: Vec<std::net::SocketAddr>,
    peers: BTreeMap<System, PathBuf>,
    /// For rows that need it; else why it cannot be had.
    page: Result<PathBuf, &'static str>,
    /// Removed with all that the peers kept.
    dir: TempDir,
    count: usize,
}

impl Starter {
    /// As this row wants it.
    async fn start(&mut self, system: System, row: &Row) -> anyhow::Result<Subject> {
        self.count += 1;
        let dir = self.dir.path().join(self.count.to_string());
        std::fs::create_dir_all(&dir)?;
        let program = || self.peers.get(&system).context("it is not installed");
        Ok(match system {
            System::Quorate => Subject::Quorate(Box::new(match &self.programs {
                Some(programs) => {
                    let page = self.page.as_ref().ok().filter(|_| row.needs_page).cloned();
                    Quorate::start(programs.clone(), row.keys, page).await?
                }
                None => Quorate::elsewhere(self.targets.clone()),
            })),
            System::Nats => Subject::Nats(Nats::start(program()?, &dir).await?),
            System::Etcd => Subject::Etcd(Etcd::start(program()?, &dir).await?),
        })
    }

    /// Room for the next: a peer's folders may be large.
    fn tidy(&self) {
        let _ = std::fs::remove_dir_all(self.dir.path().join(self.count.to_string()));
    }
}

/// Rows that may share one start of a system, in order: neighbours with the same keys, unless one wants to be alone.
fn shifts(rows: &[Row]) -> Vec<Vec<Row>> {
    let mut shifts: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match shifts.last_mut() {
            Some(shift)
                if !row.is_alone && shift.iter().all(|other| !other.is_alone && other.keys == row.keys) =>
            {
                shift.push(*row);
            }
            _ => shifts.push(vec![*row]),
        }
    }
    shifts
}

/// The systems, another one first in each run.
fn turns(run: usize) -> impl Iterator<Item = System> {
    (0..System::ALL.len()).map(move |place| System::ALL[(run + place) % System::ALL.len()])
}

fn say(row: &str, system: System, run: usize, figures: &[Figure]) {
    eprintln!("{row}, {}, run {}:", system.title(), run + 1);
    for figure in figures {
        eprintln!("    {}: {} {} {}", figure.case, figure.measure, number(figure.value), figure.unit);
    }
}

/// The command line as others may read it: without its folders and addresses, which say much of a machine and nothing of the
/// figures.
fn command(words: impl IntoIterator<Item = String>) -> String {
    let mut kept = vec!["tests/bench".to_owned()];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some(name) = UNTOLD.into_iter().find(|untold| *untold == name) else {
            kept.push(word);
            continue;
        };
        let value = value.or_else(|| words.next());
        if [PEERS, PAGE].contains(&name) && value.as_deref() == Some("none") {
            kept.push(format!("{name} none"));
        }
    }
    kept.join(" ")
}

/// Measures what the options ask for.
///
/// # Errors
/// When the options cannot be, or nothing can be written down; a row that fails is a line of the report.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let rows = rows::chosen(&options.rows)?;
    let scale = Scale::of(options)?;
    let targets = options.targets()?;
    let programs = match (&options.programs, targets.is_empty()) {
        (_, false) => None,
        (Some(dir), true) => Some(Binaries::in_folder(dir)?),
        (None, true) => Some(Binaries::beside_this_program()?),
    };
    let out = options.out.clone().unwrap_or_else(|| target_dir().join("bench"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let dir = tempfile::Builder::new().prefix("quorate-bench-").tempdir()?;
    let generator = if targets.is_empty() {
        "on the same cores"
    } else {
        "on this machine, against a cluster that ran already"
    };
    let began = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = Report {
        commit: machine::commit(),
        begun: now.as_secs(),
        took_s: 0,
        machine: Machine::look(dir.path(), generator),
        command: command(std::env::args().skip(1)),
        systems: BTreeMap::new(),
        lines: Vec::new(),
        absences: Vec::new(),
    };
    let here = match (targets.is_empty(), Balancer::if_installed()) {
        (true, Balancer::HaProxy(_)) => "5 replicas, 3 gateways, HAProxy",
        (true, Balancer::None) => "5 replicas, 3 gateways, no balancer: HAProxy is not installed",
        (false, _) => "a cluster elsewhere",
    };
    report.systems.insert(System::Quorate, format!("{} ({here})", env!("CARGO_PKG_VERSION")));
    let peers = peers(options, &rows, &mut report).await;
    let page = page(options);
    let mut starter = Starter { programs, targets, peers, page, dir, count: 0 };
    for run in 0..scale.runs {
        let of_run: Vec<Row> = rows.iter().filter(|row| run < row.runs_max).copied().collect();
        for shift in shifts(&of_run) {
            for system in turns(run) {
                let mut mine: Vec<Row> = shift.clone();
                mine.retain(|row| row.systems.contains(&system) && can(row, system, &starter, &mut report));
                if !mine.is_empty() {
                    watch(&starter, &mut report).await?;
                    work(&mut starter, system, &mine, run, &scale, &mut report).await;
                }
                report.took_s = began.elapsed().as_secs();
                // After each, so that a run that is broken off leaves what it had.
                save(&report, &out)?;
            }
        }
    }
    Ok(report)
}

/// Looks at the disk while nothing else does anything there.
async fn watch(starter: &Starter, report: &mut Report) -> anyhow::Result<()> {
    if starter.programs.is_some() {
        let (folder, mut at_rest) = (starter.dir.path().to_owned(), report.machine.at_rest);
        let watched = tokio::task::spawn_blocking(move || at_rest.watch(&folder).map(|()| at_rest)).await?;
        report.machine.at_rest = watched.context("cannot write where the servers keep their data")?;
    }
    Ok(())
}

/// Finds the peers that the rows want; those that cannot be had are noted.
async fn peers(options: &Options, rows: &[Row], report: &mut Report) -> BTreeMap<System, PathBuf> {
    let mut found = BTreeMap::new();
    let folder = options.peers.clone().unwrap_or_else(|| target_dir().join("peers"));
    for system in [System::Nats, System::Etcd] {
        let wanting: Vec<&Row> = rows.iter().filter(|row| row.systems.contains(&system)).collect();
        if wanting.is_empty() {
            continue;
        }
        let peer = if !options.target.is_empty() {
            Err("a cluster elsewhere is measured: peers are measured where the tool runs")
        } else if folder == Path::new("none") {
            Err("left out by --peers none")
        } else {
            peer(system, &folder).await
        };
        match peer {
            Ok((program, version)) => {
                report.systems.insert(system, version);
                found.insert(system, program);
            }
            Err(why) => {
                for row in wanting {
                    report.miss(row.name, system, why, false);
                }
            }
        }
    }
    found
}

/// A peer's program and version; else why not, in words for a page that others read. The detail names folders and hosts, and is
/// for whoever is here.
async fn peer(system: System, folder: &Path) -> Result<(PathBuf, String), &'static str> {
    let program = match install::program(system, folder).await {
        Ok(program) => program,
        Err(error) => {
            eprintln!("{} is left out: {error:#}", system.title());
            return Err("its program could not be installed from PyPI");
        }
    };
    match install::version(&program).await {
        Ok(version) => Ok((program, version)),
        Err(error) => {
            eprintln!("{} is left out: {error:#}", system.title());
            Err("its program does not run here")
        }
    }
}

/// The page, where there is a browser for it and a balancer that it comes through; else why not.
fn page(options: &Options) -> Result<PathBuf, &'static str> {
    if !browser::is_installed() {
        return Err("chromium and chromedriver are not installed");
    }
    if matches!(Balancer::if_installed(), Balancer::None) {
        return Err("HAProxy is not installed");
    }
    let page = match &options.page {
        Some(none) if none == Path::new("none") => return Err("the page is left out by --page none"),
        Some(page) => Ok(page.clone()),
        None => browser::page_dir(),
    };
    page.ok().filter(|page| page.join("index.html").is_file()).ok_or("the page is not built")
}

/// Whether a row can be measured of a system; else it is noted.
fn can(row: &Row, system: System, starter: &Starter, report: &mut Report) -> bool {
    if system != System::Quorate {
        return starter.peers.contains_key(&system);
    }
    if row.needs_hands && starter.programs.is_none() {
        report.miss(row.name, system, "needs a hand on the processes: not with --target", false);
        return false;
    }
    if row.needs_page
        && let Err(why) = starter.page
    {
        report.miss(row.name, system, why, false);
        return false;
    }
    true
}

/// One system through some rows. After a row that failed it is started anew.
async fn work(
    starter: &mut Starter,
    system: System,
    rows: &[Row],
    run: usize,
    scale: &Scale,
    report: &mut Report,
) {
    let mut subject = None;
    for row in rows {
        let mut started = match subject.take() {
            Some(running) => running,
            None => match starter.start(system, row).await {
                Ok(started) => started,
                Err(error) => {
                    eprintln!("{}, run {}: FAILED: it did not start: {error:#}", system.title(), run + 1);
                    // The rows behind this one would wait for it as long, each.
                    for row in rows.iter().skip_while(|other| other.name != row.name) {
                        report.miss(row.name, system, format!("it did not start; {FAILED}"), true);
                    }
                    break;
                }
            },
        };
        match (row.run)(Stage { scale, subject: &mut started }).await {
            Ok(figures) => {
                say(row.name, system, run, &figures);
                report.add(row.name, system, figures);
                subject = Some(started);
            }
            Err(error) => {
                report.miss(row.name, system, FAILED, true);
                if let Err(error) = started.finish(Err(error)).await {
                    eprintln!("{}, {}, run {}: FAILED: {error:#}", row.name, system.title(), run + 1);
                }
                starter.tidy();
            }
        }
    }
    if let Some(running) = subject
        && let Err(error) = running.finish(Ok(())).await
    {
        eprintln!("{} did not end well: {error:#}", system.title());
    }
    starter.tidy();
}

/// Writes the report down, in three forms.
fn save(report: &Report, out: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("figures.json", &(serde_json::to_string_pretty(report)? + "\n"))?;
    let mut page = table::page(report);
    if let Some(drawing) = plot::draw(report, DRAWN) {
        write("latency.svg", &drawing)?;
        page.push_str("\n![Latency over load](latency.svg)\n");
    }
    write("figures.md", &page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    #[test]
    fn rows_that_disturb_others_are_by_themselves() {
        let names: Vec<Vec<&str>> =
            shifts(&rows::ALL).iter().map(|shift| shift.iter().map(|row| row.name).collect()).collect();
        assert_eq!(names[0], ["closed-loop", "open-loop", "load", "cpu", "fan-out"]);
        for shift in shifts(&rows::ALL) {
            assert!(shift.len() == 1 || shift.iter().all(|row| !row.is_alone));
        }
        assert_eq!(names.concat().len(), rows::ALL.len());
    }

    #[test]
    fn each_system_comes_first_in_its_turn() {
        let first: Vec<System> = (0..3).filter_map(|run| turns(run).next()).collect();
        assert_eq!(first, System::ALL);
        assert!((0..5).all(|run| turns(run).count() == 3));
    }

    #[test]
    fn a_command_is_told_without_its_folders_and_addresses() {
        let told = |line: &str| command(line.split_whitespace().map(str::to_owned));
        assert_eq!(told(""), "tests/bench");
        assert_eq!(
            told("load --out /a/b --peers none --runs 2 --programs=/c --peers /d idle --peers=none --quick"),
            "tests/bench load --peers none --runs 2 idle --peers none --quick"
        );
        assert_eq!(
            told("load --target http://10.0.0.5:1 --page /a --page=none cpu --target=http://h:1,http://h:2"),
            "tests/bench load --page none cpu"
        );
    }

    #[test]
    fn a_report_is_written_in_three_forms() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = sample();
        save(&report, dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name));
        assert!(read("latency.svg").is_err() && !read("figures.md").unwrap().contains("latency.svg"));
        report.add(DRAWN, System::Etcd, vec![Figure::less("100/s", "p50", "ms", 1.0).at(100.0)]);
        save(&report, dir.path()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&read("figures.json").unwrap()).unwrap(), report);
        assert!(read("figures.md").unwrap().ends_with("(latency.svg)\n"));
        assert!(read("latency.svg").unwrap().contains("etcd p50"));
    }
}
