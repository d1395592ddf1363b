//! `quorate-simulate`: five replicas and their clients in one process, one seed a run.
//!
//! The real node, machine, store, feed, services, tonic and HTTP/2 run on simulated clocks, networks and disks, on one
//! thread. A seed decides everything: who crashes, which directions are cut, which disk is slow, how long openraft waits.
//! First things go wrong and safety must hold; then all is healed and the cluster must serve within ten simulated seconds.
//!
//! A seed replays exactly: the trace, every delivered segment with its time, place and size and every state hash that was seen, is
//! the same in two runs, and `--times 2` makes a difference a violation. Delays come from (seed, direction, segment), and each
//! host has its own randomness for each use. tokio's own (which waiter of a `watch` is woken first, where a `select!` begins) can
//! be seeded only in a build with `--cfg tokio_unstable`; without it the faults of a seed are the same and its order is not.
//!
//! Not simulated: the encoding of log records and the log's mark, sled, TLS; snapshots and markers are real files in memory,
//! which survive every power cut.

mod client;
mod faults;
mod net;
mod run;
mod scene;
mod violation;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;

use run::{Report, Totals};
use violation::Violation;

#[derive(Debug, Parser)]
#[command(name = "quorate-simulate", about = "Run simulated clusters, one a seed")]
struct Cli {
    /// One seed
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from..to, both included
    #[arg(long, value_name = "FROM..TO", default_value = "1..200")]
    seeds: String,
    /// Run each seed this often; its traces must be alike
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Threads; each runs seeds of its own
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Stop at the first violation
    #[arg(long)]
    first: bool,
    /// Say what happens when
    #[arg(long)]
    verbose: bool,
    /// Where the history of a failed seed is left
    #[arg(long)]
    failures: Option<std::path::PathBuf>,
}

fn seeds(cli: &Cli) -> Result<(u64, u64), String> {
    if let Some(seed) = cli.seed {
        return Ok((seed, seed));
    }
    let parsed = cli.seeds.split_once("..").and_then(|(from, to)| {
        Some((from.trim().parse().ok()?, to.trim_start_matches('=').trim().parse().ok()?))
    });
    parsed.ok_or_else(|| format!("--seeds {:?} is no range: write it as 1..1000", cli.seeds))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (from, to) = match seeds(&cli) {
        Ok(range) => range,
        Err(message) => {
            eprintln!("quorate-simulate: {message}");
            return ExitCode::from(2);
        }
    };
    match quorate_replica::planted::check_name() {
        Ok(Some(bug)) => println!("the replicas have the bug {bug} on purpose"),
        Ok(None) => {}
        Err(message) => {
            eprintln!("quorate-simulate: {message}");
            return ExitCode::from(2);
        }
    }
    if cfg!(not(tokio_unstable)) && cli.times > 1 {
        eprintln!("quorate-simulate: seeds replay only when it is built with --cfg tokio_unstable");
        return ExitCode::from(2);
    }
    run::watch_panics();
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(from));
    let totals = Arc::new(Mutex::new(Totals::default()));
    let cli = Arc::new(cli);
    let threads: Vec<_> = (0..cli.threads.max(1))
        .map(|_| {
            let (next, totals, cli) = (next.clone(), totals.clone(), cli.clone());
            std::thread::spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let stop = cli.first && totals.lock().unwrap_or_else(PoisonError::into_inner).failed();
                    if seed > to || stop {
                        return;
                    }
                    let report = several(seed, &cli);
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    report.print();
                    totals.add(&report);
                }
            })
        })
        .collect();
    for thread in threads {
        if thread.join().is_err() {
            eprintln!("quorate-simulate: a thread of the simulation itself failed");
            return ExitCode::FAILURE;
        }
    }
    let totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
    totals.print(began.elapsed());
    if totals.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs a seed as often as asked; runs that differ are a violation.
fn several(seed: u64, cli: &Cli) -> Report {
    let mut first = run::run(seed, cli.verbose, cli.failures.as_deref());
    for _ in 1..cli.times {
        let again = run::run(seed, false, None);
        if let Some(difference) = difference(&first, &again) {
            let line = format!("the seed does not replay: {difference}");
            first.violations.push(Violation::new(violation::NOT_REPLAYED, line));
        }
    }
    first
}

/// Where two runs part.
fn difference(one: &Report, other: &Report) -> Option<String> {
    let place = one.trace.iter().zip(&other.trace).position(|(a, b)| a != b);
    let place = place
        .or_else(|| (one.trace.len() != other.trace.len()).then(|| one.trace.len().min(other.trace.len())))?;
    Some(format!("step {place} was {:?} and {:?}", one.trace.get(place), other.trace.get(place)))
}
