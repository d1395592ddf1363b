//! `quorate-faultfs FOLDER`: serves one disk there until standard input ends; orders and answers are JSON lines.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("quorate-faultfs: name the folder to mount at");
        return ExitCode::from(2);
    };
    match quorate_faultfs::serve::run(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate-faultfs: {error}");
            ExitCode::FAILURE
        }
    }
}
