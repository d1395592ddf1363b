//! `replica`: one replica of the consensus tier, and the commands of its operator.

mod cli;

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The life of the process.
pub fn main() -> ExitCode {
    cli::run()
}
