//! Snapshot files: the whole state at one index, in checksummed blocks.
//!
//! Layout: magic, then blocks of (length u32, BLAKE3 of the content 32 bytes, content). The first block is the header, then
//! blocks of pairs, then an empty block that says the file is whole. Written aside, synced, renamed, directory synced. A file
//! with any other content is refused.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use super::sum::{self, StateSum};
use super::trust::sync_dir;
use super::{Applied, StoreError};

const MAGIC: &[u8; 8] = b"QSNAP\x01\r\n";
/// A block is closed at this size.
const BLOCK_BYTES_TARGET: usize = 256 * 1024;
/// Length and BLAKE3 before each block.
const BLOCK_HEAD_BYTES: usize = 36;
/// No block is longer than its target and one pair of a run.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// A snapshot on disk.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it contains.
    pub applied: Applied,
}

/// The name of the snapshot at an entry.
fn file_name(applied: &Applied) -> String {
    let id = applied.log_id.unwrap_or_default();
    format!("snapshot-{:020}-{:020}-{}", id.term, id.index, id.node_id)
}

/// Writes a snapshot into `dir` and returns it once it is durable. Older ones are removed after.
pub(super) fn write<K: AsRef<[u8]>>(
    dir: &Path,
    applied: &Applied,
    pairs: impl Iterator<Item = Result<(K, Bytes), StoreError>>,
) -> Result<SnapshotFile, StoreError> {
    let (path, aside) = (dir.join(file_name(applied)), dir.join("incoming-build"));
    let written = write_aside(&aside, applied, pairs).and_then(|()| settle(&aside, &path));
    if let Err(error) = written {
        // Half a snapshot is of no use, and its room may be what is missing.
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    Ok(SnapshotFile { path, applied: applied.clone() })
}

fn write_aside<K: AsRef<[u8]>>(
    aside: &Path,
    applied: &Applied,
    pairs: impl Iterator<Item = Result<(K, Bytes), StoreError>>,
) -> Result<(), StoreError> {
    let mut out = BlockWriter::create(aside)?;
    out.block(&applied.encode_to_vec())?;
    let mut block = Vec::with_capacity(BLOCK_BYTES_TARGET + 64 * 1024);
    let mut sum = StateSum::default();
    for pair in pairs {
        let (key, value) = pair?;
        sum.add_stored(key.as_ref(), &value)?;
        push_bytes(&mut block, key.as_ref());
        push_bytes(&mut block, &value);
        if block.len() >= BLOCK_BYTES_TARGET {
            out.block(&block)?;
            block.clear();
        }
    }
    if !block.is_empty() {
        out.block(&block)?;
    }
    out.finish()?;
    // What the disk holds must be what was applied: otherwise a bad page would spread to other replicas by this file.
    if sum != applied.sum()? {
        return Err(StoreError::damaged(
            "the checkpoint does not add up to what was applied: restart this replica to rebuild it",
        ));
    }
    Ok(())
}

/// Makes a received file the current snapshot: verified whole, synced, renamed.
pub(super) fn adopt(dir: &Path, received: &Path) -> Result<SnapshotFile, StoreError> {
    let applied = verify(received)?;
    let path = dir.join(file_name(&applied));
    if received != path {
        File::open(received)
            .and_then(|file| file.sync_all())
            .map_err(StoreError::io("syncing a snapshot"))?;
        settle(received, &path)?;
    }
    Ok(SnapshotFile { path, applied })
}

/// Renames a finished file and makes the name durable.
fn settle(aside: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(aside, path).and_then(|()| sync_dir(path)).map_err(StoreError::io("renaming a snapshot"))
}

/// Removes every older snapshot than this one. Names sort by term and index, so that one is never lost to an older.
pub(super) fn remove_others(dir: &Path, keep: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("listing snapshots"))? {
        let path = entry.map_err(StoreError::io("listing snapshots"))?.path();
        let is_snapshot =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snapshot-"));
        if is_snapshot && path.file_name() < keep.file_name() {
            fs::remove_file(&path).map_err(StoreError::io("removing an old snapshot"))?;
        }
    }
    Ok(())
}

/// Removes what was being built or received when the replica ended, but for the files that `keep` wants.
pub(super) fn remove_unfinished(dir: &Path, keep: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("listing snapshots"))? {
        let path = entry.map_err(StoreError::io("listing snapshots"))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("incoming-") && !keep(&name) {
            fs::remove_file(&path).map_err(StoreError::io("removing an unfinished snapshot"))?;
        }
    }
    Ok(())
}

/// The newest snapshot in a directory, by its name; its header is read, its blocks are not.
pub(super) fn newest(dir: &Path) -> Result<Option<SnapshotFile>, StoreError> {
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("listing snapshots"))? {
        let path = entry.map_err(StoreError::io("listing snapshots"))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snapshot-")) {
            names.push(path);
        }
    }
    names.sort();
    let Some(path) = names.pop() else { return Ok(None) };
    let mut reader = BlockReader::open(&path)?;
    let applied = reader.header()?;
    Ok(Some(SnapshotFile { path, applied }))
}

/// What a file says it contains.
pub(super) fn header(path: &Path) -> Result<Applied, StoreError> {
    BlockReader::open(path)?.header()
}

/// Reads every block of a file, checks that its pairs add up to what it says, and returns its header.
pub(super) fn verify(path: &Path) -> Result<Applied, StoreError> {
    let mut reader = BlockReader::open(path)?;
    let applied = reader.header()?;
    if sum::of_stored_pairs(reader.pairs())? != applied.sum()? {
        let path = path.display();
        return Err(StoreError::damaged(&format!(
            "snapshot {path}: its pairs do not add up to its header's sum"
        )));
    }
    Ok(applied)
}

/// A file's header as it is stored.
pub(super) fn raw_header(path: &Path) -> Result<(Bytes, u64), StoreError> {
    let mut file = File::open(path).map_err(StoreError::io("opening a snapshot"))?;
    raw_header_of(&mut file, path)
}

/// The same of an open file, and where its blocks of pairs begin.
pub(super) fn raw_header_of(file: &mut File, path: &Path) -> Result<(Bytes, u64), StoreError> {
    let file = file.try_clone().map_err(StoreError::io("opening a snapshot"))?;
    let mut reader = BlockReader::of(file, path)?;
    let header = reader.block()?;
    let end = MAGIC.len() + BLOCK_HEAD_BYTES + header.len();
    Ok((header, end as u64))
}

/// How a file with this header begins.
pub(super) fn encode_begin(header: &[u8]) -> Vec<u8> {
    let mut begin = MAGIC.to_vec();
    // A header is some hundred bytes.
    begin.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes());
    begin.extend_from_slice(blake3::hash(header).as_bytes());
    begin.extend_from_slice(header);
    begin
}

/// The pairs of a snapshot, in order of keys.
pub(super) fn read_pairs(
    file: &SnapshotFile,
) -> Result<impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<>, StoreError> {
    let mut reader = BlockReader::open(&file.path)?;
    reader.header()?;
    Ok(reader.pairs())
}

fn push_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys and values are at most 64 KiB");
    block.extend_from_slice(&length.to_be_bytes());
    block.extend_from_slice(bytes);
}

fn take_bytes(block: &mut Bytes) -> Option<Bytes> {
    if block.len() < 4 {
        return None;
    }
    let length = u32::from_be_bytes(block.split_to(4).as_ref().try_into().ok()?) as usize;
    (block.len() >= length).then(|| block.split_to(length))
}

struct BlockWriter {
    file: BufWriter<File>,
}

impl BlockWriter {
    fn create(path: &Path) -> Result<Self, StoreError> {
        let file = File::create(path).map_err(StoreError::io("creating a snapshot"))?;
        let mut file = BufWriter::with_capacity(1024 * 1024, file);
        file.write_all(MAGIC).map_err(StoreError::io("writing a snapshot"))?;
        Ok(Self { file })
    }

    fn block(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let length = u32::try_from(content.len()).expect("a block is below a mebibyte");
        let mut write = || -> io::Result<()> {
            self.file.write_all(&length.to_be_bytes())?;
            self.file.write_all(blake3::hash(content).as_bytes())?;
            self.file.write_all(content)
        };
        write().map_err(StoreError::io("writing a snapshot"))
    }

    fn finish(mut self) -> Result<(), StoreError> {
        self.block(&[])?;
        self.file.flush().map_err(StoreError::io("writing a snapshot"))?;
        self.file.get_ref().sync_all().map_err(StoreError::io("syncing a snapshot"))
    }
}

struct BlockReader {
    file: BufReader<File>,
    path: PathBuf,
}

impl BlockReader {
    fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(File::open(path).map_err(StoreError::io("opening a snapshot"))?, path)
    }

    fn of(file: File, path: &Path) -> Result<Self, StoreError> {
        let mut reader = Self { file: BufReader::with_capacity(1024 * 1024, file), path: path.to_owned() };
        let mut magic = [0; MAGIC.len()];
        if reader.file.read_exact(&mut magic).is_err() || &magic != MAGIC {
            return Err(reader.damaged("it does not begin as a snapshot"));
        }
        Ok(reader)
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::damaged(&format!("snapshot {}: {what}", self.path.display()))
    }

    /// The next block; empty at the end of a whole file.
    fn block(&mut self) -> Result<Bytes, StoreError> {
        let mut head = [0; BLOCK_HEAD_BYTES];
        self.file.read_exact(&mut head).map_err(|_| self.damaged("it ends too early"))?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(self.damaged("a block is too long"));
        }
        let mut content = vec![0; length];
        self.file.read_exact(&mut content).map_err(|_| self.damaged("it ends too early"))?;
        if blake3::hash(&content).as_bytes() != &head[4..] {
            return Err(self.damaged("a block's checksum is wrong"));
        }
        Ok(Bytes::from(content))
    }

    fn header(&mut self) -> Result<Applied, StoreError> {
        let block = self.block()?;
        Applied::decode(block).map_err(|_| self.damaged("its header cannot be read"))
    }

    fn pairs(mut self) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<> {
        let mut block = Bytes::new();
        let mut done = false;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            if block.is_empty() {
                match self.block() {
                    Ok(next) if next.is_empty() => {
                        done = true;
                        return None;
                    }
                    Ok(next) => block = next,
                    Err(error) => {
                        done = true;
                        return Some(Err(error));
                    }
                }
            }
            match (take_bytes(&mut block), take_bytes(&mut block)) {
                (Some(key), Some(value)) => Some(Ok((key, value))),
                _ => {
                    done = true;
                    Some(Err(self.damaged("a block's content cannot be read")))
                }
            }
        })
    }
}
