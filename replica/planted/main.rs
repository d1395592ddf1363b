//! `replica-planted`: the replica with a bug in it, for tests only. See `planted.rs`.

#[path = "../src/main.rs"]
mod replica;

use std::process::ExitCode;

fn main() -> ExitCode {
    match quorate_replica::planted::check_name() {
        Ok(Some(bug)) => eprintln!("replica-planted: this replica has the bug {bug} on purpose"),
        Ok(None) => {}
        Err(message) => {
            eprintln!("replica-planted: {message}");
            return ExitCode::from(2);
        }
    }
    replica::main()
}
