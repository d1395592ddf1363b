//! The command line: one file a command, nothing of the replica's own work.

mod admin;
mod backup;
mod member;
mod operator;
mod restore;
mod run;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorate_replica::config::Flags;

#[derive(Debug, Parser)]
#[command(name = "replica", version, about = "One replica of a Quorate cluster, and its operator's commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a replica until SIGTERM or Ctrl-C
    Run(Flags),
    /// Show and change who the members of a running cluster are
    #[command(subcommand)]
    Member(member::Member),
    /// Let a user become an admin
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Write a backup of a running cluster's state, from any replica
    Backup(backup::Backup),
    /// Read a backup, a snapshot or a stopped replica's data directory from end to end; exit code 1 if something is wrong
    Verify(verify::Verify),
    /// Make the data directory of one replica of a new cluster from a backup
    Restore(restore::Restore),
}

/// Why a command ended without success; one line.
#[derive(Debug)]
enum Failed {
    /// A mistake of whoever called it: exit code 2.
    Usage(String),
    /// It was right and did not work: exit code 1.
    Failed(String),
}

/// A user's mistake: one line, exit code 2.
fn usage(message: &str) -> ExitCode {
    eprintln!("replica: {message}");
    ExitCode::from(2)
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return usage(&format!("{line} (see replica --help)"));
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    match command {
        Command::Run(flags) => run::run(&flags),
        Command::Member(member) => finish(blocking(member.run())),
        Command::Admin(admin) => finish(blocking(admin.run())),
        Command::Backup(backup) => finish(blocking(backup.run())),
        Command::Verify(verify) => finish(verify.run()),
        Command::Restore(restore) => finish(restore.run()),
    }
}

/// A hash as people read it.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a short command to its end.
fn blocking(command: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::Failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(command)
}

fn finish(result: Result<(), Failed>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Usage(line)) => usage(&line),
        Err(Failed::Failed(line)) => {
            eprintln!("replica: {line}");
            ExitCode::FAILURE
        }
    }
}
