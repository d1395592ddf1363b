//! `replica`: one replica of the consensus tier, and the commands of its operator.

mod cli;

use std::process::ExitCode;

/// The life of the process.
pub fn main() -> ExitCode {
    cli::run()
}
