//! The checkpoint of a replica that does not run, for `replica verify`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::trust::Trust;
use super::{Applied, StoreError};

/// A stopped replica's checkpoint, read without changing it: from a copy, because sled writes when it opens.
#[derive(Debug)]
pub struct StoppedCheckpoint {
    checkpoint: Checkpoint,
    copy: PathBuf,
}

impl StoppedCheckpoint {
    /// Copies the checkpoint of a data directory into a folder beside it; `None` when it would not be believed anyway.
    ///
    /// # Errors
    /// When it cannot be copied or read.
    pub fn open(dir: &Path, boot_id_file: &Path) -> Result<Option<Self>, StoreError> {
        let state_dir = dir.join("state");
        if !state_dir.exists() {
            return Ok(None);
        }
        let trust = Trust::new(&state_dir, boot_id_file).map_err(StoreError::io("reading the boot id"))?;
        if !trust.is_trusted() {
            return Ok(None);
        }
        let copy = dir.join("verify.copy");
        copy_tree(&state_dir, &copy).map_err(StoreError::io("copying the checkpoint"))?;
        match Checkpoint::open(&copy) {
            Ok(checkpoint) => Ok(Some(Self { checkpoint, copy })),
            Err(error) => {
                let _ = fs::remove_dir_all(&copy);
                Err(error)
            }
        }
    }

    /// What it contains.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn applied(&self) -> Result<Applied, StoreError> {
        self.checkpoint.applied()
    }

    /// Every stored pair, in order of keys.
    pub fn pairs(&self) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + '_ {
        let bytes = |(key, value): (sled::IVec, Bytes)| (Bytes::copy_from_slice(&key), value);
        self.checkpoint.raw_pairs().map(move |pair| pair.map(bytes))
    }
}

impl Drop for StoppedCheckpoint {
    fn drop(&mut self) {
        // Best effort: what is left is a copy.
        let _ = fs::remove_dir_all(&self.copy);
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
