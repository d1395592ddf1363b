//! `quorate`: the chat in a terminal. See `quorate --help` and docs/terminal.md.

use std::process::ExitCode;

use clap::Parser as _;
use quorate_terminal::cli::Cli;
use quorate_terminal::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: what a person reads and types needs no more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(quorate_terminal::run(cli)),
        Err(error) => Err(Failure::refused(format!("Cannot start: {error}."))),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("quorate: {failure}");
            ExitCode::from(failure.why.code())
        }
    }
}
