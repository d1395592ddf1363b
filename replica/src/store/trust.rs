//! Whether the checkpoint on disk may be believed.
//!
//! sled hands its pages to the kernel without a barrier. After a kill the page cache is intact, so a checkpoint written under
//! the running kernel is good; after a power cut it is not, unless it was closed in order and synced. Anything else is thrown
//! away and rebuilt from the snapshot and the Raft log, which are synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Decides about one checkpoint directory.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    marker: PathBuf,
    dir: PathBuf,
    boot: String,
}

impl Trust {
    /// `boot_id_file` is the kernel's boot id; a test that cuts the power gives another one each time.
    pub(super) fn new(dir: &Path, boot_id_file: &Path) -> io::Result<Self> {
        let boot = fs::read_to_string(boot_id_file)?.trim().to_owned();
        Ok(Self { marker: dir.with_extension("trusted"), dir: dir.to_owned(), boot })
    }

    fn place(&self) -> io::Result<String> {
        let device = fs::metadata(&self.dir)?.dev();
        Ok(format!("boot {} device {device}", self.boot))
    }

    /// Whether the directory's content may be believed.
    pub(super) fn is_trusted(&self) -> bool {
        let Ok(marker) = fs::read_to_string(&self.marker) else { return false };
        marker == "clean" || self.place().is_ok_and(|place| marker == place)
    }

    /// From now on the content is good as long as this kernel runs.
    pub(super) fn while_running(&self) -> io::Result<()> {
        write_synced(&self.marker, &self.place()?)
    }

    /// From now on the content is not to be believed.
    pub(super) fn withdraw(&self) -> io::Result<()> {
        match fs::remove_file(&self.marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_dir(&self.marker)
    }

    /// Everything was closed: syncs each file, then says so for any later boot.
    pub(super) fn closed_clean(&self) -> io::Result<()> {
        sync_tree(&self.dir)?;
        write_synced(&self.marker, "clean")
    }
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// Writes a small file so that it is there whole or not at all: aside, synced, renamed, directory synced.
pub(crate) fn write_synced(path: &Path, content: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    sync_dir(path)
}

/// Syncs the directory that holds `path`, so that its name is durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_keeps_trust_and_a_new_boot_ends_it() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let dir = scratch.path().join("state");
        fs::create_dir(&dir).expect("a folder");
        let boot = scratch.path().join("boot_id");
        fs::write(&boot, "one\n").expect("a file");
        let trust = Trust::new(&dir, &boot).expect("a readable boot id");
        assert!(!trust.is_trusted(), "nothing is trusted before it was ever opened");
        trust.while_running().expect("a marker");
        assert!(Trust::new(&dir, &boot).expect("readable").is_trusted(), "the same boot");
        fs::write(&boot, "two\n").expect("a file");
        let after_cut = Trust::new(&dir, &boot).expect("readable");
        assert!(!after_cut.is_trusted(), "another boot, not closed");
        after_cut.closed_clean().expect("synced");
        fs::write(&boot, "three\n").expect("a file");
        assert!(Trust::new(&dir, &boot).expect("readable").is_trusted(), "another boot, closed clean");
    }
}
