//! A file system that forgets what was not synced when the power is cut, and fails on command.
//!
//! Owns one small disk in memory and what may go wrong with it. Must not know what is stored on it. The disk is a pure model;
//! FUSE makes it a file system, a process of its own serves it, and a handle in the test gives the orders.
//!
//! ```text
//!  test ── FaultDisk ──(JSON lines)──▶ quorate-faultfs ── Disk (names, bytes; now and after a cut)
//!                                            ▲
//!  replica ── write, fsync, rename ── kernel ┘ FUSE
//! ```

mod chance;
mod content;
pub mod control;
mod disk;
mod handle;
mod mount;
pub mod serve;

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::UnmountFlags;

pub use chance::Chance;
pub use control::{Cut, CutReport, Faults, Usage, WriteError};
pub use handle::{Error, FaultDisk};

/// Takes a mount away, also while somebody uses it. Best effort: it may be gone already.
fn unmount(at: &Path) {
    if rustix::mount::unmount(at, UnmountFlags::DETACH).is_ok() {
        return;
    }
    for program in ["fusermount3", "fusermount"] {
        let quiet = || Stdio::null();
        let done =
            Command::new(program).args(["-u", "-z", "-q"]).arg(at).stdout(quiet()).stderr(quiet()).status();
        if done.is_ok_and(|status| status.success()) {
            return;
        }
    }
}
