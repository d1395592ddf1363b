//! The program's life: mount, obey, unmount when the orders end.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;

use crate::control::{Answer, Order};
use crate::mount::{Shared, mount};
use crate::unmount;

/// Serves a disk at `at` until standard input ends, which it does when whoever started this ends.
///
/// # Errors
/// When standard input or output cannot be used.
pub fn run(at: &Path) -> io::Result<()> {
    let disk = Shared::new();
    let session = match mount(disk.clone(), at) {
        Ok(session) => session,
        Err(error) => return say(&Answer::Unavailable(error.to_string())),
    };
    let obeyed = say(&Answer::Mounted).and_then(|()| obey(&disk));
    // Whoever still uses it gets errors from the moment this process ends.
    unmount(at);
    std::mem::forget(session);
    obeyed
}

fn obey(disk: &Shared) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?).map_err(io::Error::other)?;
        let answer = match order {
            Order::Cut(cut) => Answer::Cut(disk.disk().cut(cut)),
            Order::Faults(faults) => {
                disk.disk().set_faults(faults);
                Answer::Done
            }
            Order::Usage => Answer::Usage(disk.disk().usage()),
        };
        say(&answer)?;
    }
    Ok(())
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}
