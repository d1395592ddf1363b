//! What is kept between runs, in one folder that only its owner can read: the session, messages that are not committed yet,
//! and drafts.
//!
//! ```text
//! $XDG_STATE_HOME/quorate/          (or ~/.local/state/quorate)
//!   session.json                    refresh cookie and newest access token; mode 0600
//!   session.lock                    held while the cookie is exchanged: it is good once
//!   outbox/<chat and user>/…        one file a message
//!   drafts/<chat and user>/…        one file a conversation
//! ```

mod account;
mod keep;
mod session;

pub use account::{Account, device as account_device};
pub use keep::Keep;
pub use session::{Home, Saved};

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a folder that only its owner enters, with those above it.
fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether a file outlives a power cut, or only this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    PowerCut,
    Program,
}

/// Writes a file that only its owner reads, as a whole or not at all.
fn write_file(path: &Path, bytes: &[u8], lasts: Lasts) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = Path::new(&aside);
    let written = (|| {
        // A former life with this process id may have left one, with who knows which mode.
        match std::fs::remove_file(aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
        file.write_all(bytes)?;
        if lasts == Lasts::PowerCut {
            file.sync_data()?;
        }
        std::fs::rename(aside, path)
    })();
    if written.is_err() {
        // What is told is why it could not be written, not that its remains stay.
        let _ = std::fs::remove_file(aside);
    }
    written
}
