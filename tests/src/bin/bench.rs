//! `quorate-bench`: see `docs/bench.md`. `tests/bench` builds it and what it measures, and runs it.

use std::process::ExitCode;

use clap::Parser;
use quorate_tests::bench::options::Options;
use quorate_tests::bench::{rows, run, table};
use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C or SIGTERM.
async fn told_to_end() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for row in rows::ALL {
            println!("{:22} {}", row.name, row.what);
        }
        return ExitCode::SUCCESS;
    }
    let measured = tokio::select! {
        measured = run::run(&options) => measured,
        // What was started ends with the values that are dropped here.
        () = told_to_end() => {
            eprintln!("broken off; what was measured until then is in the folder of --out");
            return ExitCode::from(130);
        }
    };
    match measured {
        Ok(report) => {
            print!("{}", table::page(&report));
            ExitCode::from(u8::from(report.absences.iter().any(|absence| absence.failed)))
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
