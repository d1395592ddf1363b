//! A small value on disk that survives a torn write: two slots of one file, written in turn.
//!
//! A write goes in place over the older slot and costs one fdatasync: no rename, no change of the file's size. Whatever a power
//! cut leaves of it, the other slot still holds the value before. This module knows bytes; what they mean is the caller's.
//!
//! ```text
//!   | number u64 | length u32 | BLAKE3 of number, length, content | content … |   × 2
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::store::sync_dir;

/// Room of one slot: far more than any value kept so, and whole pages, so that the two never share one.
const SLOT_BYTES: usize = 16 * 1024;
/// What stands before the content.
const HEAD_BYTES: usize = 8 + 4 + 32;
/// Longest value.
const CONTENT_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES;

/// Why a cell cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The operating system refused.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Neither slot is what was written.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
}

/// An open cell. One process writes it.
#[derive(Debug)]
pub struct Cell {
    file: File,
    /// Number of the newest slot. Slot `number % 2` holds it.
    number: u64,
}

fn checksum(number: u64, content: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_be_bytes());
    hasher.update(&(content.len() as u64).to_be_bytes());
    hasher.update(content);
    hasher.finalize()
}

fn encode(number: u64, content: &[u8]) -> io::Result<Vec<u8>> {
    if content.len() > CONTENT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a cell holds at most 16 KiB"));
    }
    let length = u32::try_from(content.len()).expect("a slot is shorter than 4 GiB");
    let mut slot = Vec::with_capacity(HEAD_BYTES + content.len());
    slot.extend_from_slice(&number.to_be_bytes());
    slot.extend_from_slice(&length.to_be_bytes());
    slot.extend_from_slice(checksum(number, content).as_bytes());
    slot.extend_from_slice(content);
    Ok(slot)
}

/// A slot's number and content; `None` when it was never written, was torn, or is damaged.
fn decode(slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (head, rest) = slot.split_at_checked(HEAD_BYTES)?;
    let number = u64::from_be_bytes(head[..8].try_into().ok()?);
    let length = u32::from_be_bytes(head[8..12].try_into().ok()?) as usize;
    let content = rest.get(..length)?;
    (number > 0 && checksum(number, content).as_bytes() == &head[12..]).then(|| (number, content.to_vec()))
}

impl Cell {
    /// Makes the file with a first value. It is there whole or not at all: written aside, synced, renamed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, content: &[u8]) -> io::Result<Self> {
        let aside = path.with_extension("new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&aside)?;
        file.set_len(2 * SLOT_BYTES as u64)?;
        let mut cell = Self { file, number: 0 };
        cell.write(content)?;
        cell.file.sync_all()?;
        std::fs::rename(&aside, path)?;
        sync_dir(path)?;
        Ok(cell)
    }

    /// Opens the file and reads its newest value; `None` when there is no such file.
    ///
    /// # Errors
    /// [`CellError::Damaged`] when neither slot can be read.
    pub fn open(path: &Path) -> Result<Option<(Self, Vec<u8>)>, CellError> {
        let failed = |source| CellError::Io { path: path.to_owned(), source };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for at in [0, SLOT_BYTES as u64] {
            let mut slot = vec![0; SLOT_BYTES];
            match file.read_exact_at(&mut slot, at) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(failed(error)),
            }
            newest = newest.max(decode(&slot));
        }
        match newest {
            Some((number, content)) => Ok(Some((Self { file, number }, content))),
            None => Err(CellError::Damaged(path.to_owned())),
        }
    }

    /// Replaces the value and returns once it is on disk.
    ///
    /// # Errors
    /// When it cannot be written or synced: which value is on disk is not known then.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let number = self.number + 1;
        let slot = encode(number, content)?;
        self.file.write_all_at(&slot, (number % 2) * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        self.number = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(path: &Path) -> Option<Vec<u8>> {
        Cell::open(path).expect("readable").map(|(_, content)| content)
    }

    #[test]
    fn the_newest_value_is_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("cell");
        assert_eq!(value(&path), None);
        let mut cell = Cell::create(&path, b"one").expect("writes");
        assert_eq!(value(&path).as_deref(), Some(&b"one"[..]));
        for n in 2..=9_u8 {
            cell.write(&[n; 100]).expect("writes");
            assert_eq!(value(&path), Some(vec![n; 100]));
        }
        let (mut again, _) = Cell::open(&path).expect("readable").expect("there");
        again.write(b"last").expect("writes");
        assert_eq!(value(&path).as_deref(), Some(&b"last"[..]));
        assert!(again.write(&[0; SLOT_BYTES]).is_err(), "too long");
    }

    #[test]
    fn a_torn_write_leaves_the_value_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("cell");
        let mut cell = Cell::create(&path, b"first").expect("writes");
        cell.write(b"before").expect("writes");
        let whole = std::fs::read(&path).expect("reads");
        cell.write(b"after!").expect("writes");
        let newest = std::fs::read(&path).expect("reads");
        let changed: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != newest[*at]).collect();
        for cut in 0..changed.len() {
            // Only some of the changed bytes reached the disk.
            let mut torn = whole.clone();
            for at in &changed[..cut] {
                torn[*at] = newest[*at];
            }
            std::fs::write(&path, &torn).expect("writes");
            assert_eq!(value(&path).as_deref(), Some(&b"before"[..]), "{cut} bytes of the new slot");
        }
    }

    #[test]
    fn two_damaged_slots_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("cell");
        let mut cell = Cell::create(&path, b"one").expect("writes");
        cell.write(b"two").expect("writes");
        let mut bytes = std::fs::read(&path).expect("reads");
        bytes[HEAD_BYTES] ^= 1;
        bytes[SLOT_BYTES + 20] ^= 1;
        std::fs::write(&path, &bytes).expect("writes");
        assert!(matches!(Cell::open(&path), Err(CellError::Damaged(_))));
        std::fs::write(&path, b"short").expect("writes");
        assert!(matches!(Cell::open(&path), Err(CellError::Damaged(_))));
    }
}
