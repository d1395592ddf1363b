//! The `gateway` binary: reads the command line and runs the library. Nothing else happens here.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate_gateway::cli::main()
}
