//! Chunks on disk: plain files, named by the BLAKE3 of what is in them.
//!
//! Owns `files/ab/<hash>`, `files/new` (what is being written) and `files/bad` (what was not what its name says). Knows neither
//! files nor users. Everything here blocks: callers are on threads that may.
//!
//! A chunk is written aside, synced, renamed, and its folder synced: what has its name is whole. Its time of modification is not
//! the clock's but the log time at which it was received, 0 where it was not (a repair): by this it is told what may go.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate_proto::limits::CHUNK_BYTES;

/// A chunk's name.
pub type Hash = [u8; 32];

/// Folders by the first byte of the hash, so that none holds too much.
const FOLDERS: usize = 256;
/// Chunks put aside because they were wrong; more are removed at once.
const BAD_KEPT_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct ChunkStore {
    dir: PathBuf,
    next: AtomicU64,
    /// Held while it is decided whether a chunk goes: one that comes again just then must stay. By the first byte.
    deciding: Vec<Mutex<()>>,
}

/// What was found where a chunk should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What its name says.
    Whole(Bytes),
    /// Nothing.
    Missing,
    /// Something else, which was put aside.
    Damaged,
}

/// What the hash of these bytes is.
pub fn hash_of(data: &[u8]) -> Hash {
    *blake3::hash(data).as_bytes()
}

/// A hash in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

fn time_of(log_time_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(log_time_ms)
}

fn received_ms(meta: &fs::Metadata) -> u64 {
    let since = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl ChunkStore {
    /// Opens the folder, making it if need be. What was being written when the process ended goes.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let deciding = std::iter::repeat_with(Mutex::default).take(FOLDERS).collect();
        let store = Self { dir: dir.to_owned(), next: AtomicU64::new(0), deciding };
        let new = store.dir.join("new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        store.make_folders()?;
        Ok(store)
    }

    fn make_folders(&self) -> io::Result<()> {
        for name in ["new", "bad"] {
            fs::create_dir_all(self.dir.join(name))?;
        }
        for folder in 0..FOLDERS {
            let folder = self.dir.join(format!("{folder:02x}"));
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
            }
        }
        sync_dir(&self.dir)?;
        match self.dir.parent() {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        }
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.dir.join(format!("{:02x}", hash[0])).join(hex(hash))
    }

    fn decide(&self, hash: &Hash) -> MutexGuard<'_, ()> {
        self.deciding[usize::from(hash[0])].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a chunk. When this returns it is on disk, whatever happens to the machine; one that was there is replaced.
    ///
    /// # Errors
    /// When the disk fails: then it counts as not kept.
    pub fn put(&self, hash: &Hash, data: &[u8], log_time_ms: u64) -> io::Result<()> {
        match self.write(hash, data, log_time_ms) {
            // Somebody emptied the folder while this replica runs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders()?;
                self.write(hash, data, log_time_ms)
            }
            result => result,
        }
    }

    fn write(&self, hash: &Hash, data: &[u8], log_time_ms: u64) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let aside = self.dir.join("new").join(number.to_string());
        let written = || {
            let mut file = File::create(&aside)?;
            file.write_all(data)?;
            file.set_modified(time_of(log_time_ms))?;
            file.sync_all()?;
            let path = self.path(hash);
            let _deciding = self.decide(hash);
            // A receipt that was given is not taken back by an older one, or by a repair.
            if let Ok(meta) = fs::metadata(&path)
                && received_ms(&meta) > log_time_ms
            {
                file.set_modified(time_of(received_ms(&meta)))?;
                file.sync_all()?;
            }
            fs::rename(&aside, &path)?;
            sync_dir(path.parent().unwrap_or(&self.dir)).inspect_err(|_| {
                // Perhaps not on disk, so it must not be taken for a chunk.
                let _ = fs::remove_file(&path);
            })
        };
        written().inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        })
    }

    /// Reads a chunk and looks whether it is what its name says. What is not is put aside.
    pub fn read(&self, hash: &Hash) -> Found {
        let path = self.path(hash);
        let too_large = |meta: &fs::Metadata| meta.len() > CHUNK_BYTES as u64;
        let read = match fs::metadata(&path) {
            Ok(meta) if too_large(&meta) => Ok(Vec::new()),
            Ok(_) => fs::read(&path),
            Err(error) => Err(error),
        };
        match read {
            Ok(data) if hash_of(&data) == *hash => Found::Whole(Bytes::from(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Missing,
            wrong => {
                let why =
                    wrong.err().map_or_else(|| "it has other bytes".to_owned(), |error| error.to_string());
                tracing::error!(
                    chunk = hex(hash),
                    why,
                    "a chunk of a file is damaged: put aside, to be fetched again"
                );
                self.put_aside(hash, &path);
                Found::Damaged
            }
        }
    }

    fn put_aside(&self, hash: &Hash, path: &Path) {
        let bad = self.dir.join("bad");
        let kept = fs::read_dir(&bad).map_or(usize::MAX, |entries| entries.take(BAD_KEPT_MAX).count());
        let moved =
            if kept < BAD_KEPT_MAX { fs::rename(path, bad.join(hex(hash))) } else { fs::remove_file(path) };
        if let Err(error) = moved {
            tracing::error!(chunk = hex(hash), %error, "a damaged chunk could not be put aside");
        }
    }

    /// Its bytes and when it was received, by the folder's word: nothing is read.
    pub fn stat(&self, hash: &Hash) -> Option<(u64, u64)> {
        let meta = fs::metadata(self.path(hash)).ok()?;
        meta.is_file().then(|| (meta.len(), received_ms(&meta)))
    }

    /// Removes the chunks of a folder that are not kept and were received before a log time; how many.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, folder: u8, before_ms: u64, is_kept: impl Fn(&Hash) -> bool) -> io::Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(self.dir.join(format!("{folder:02x}")))? {
            let entry = entry?;
            let Some(hash) = entry.file_name().to_str().and_then(unhex) else { continue };
            if is_kept(&hash) {
                continue;
            }
            let _deciding = self.decide(&hash);
            if self.stat(&hash).is_some_and(|(_, received_ms)| received_ms < before_ms) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ChunkStore) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = ChunkStore::open(&dir.path().join("files")).expect("opens");
        (dir, store)
    }

    #[test]
    fn what_was_kept_is_read_again_after_a_start() {
        let (dir, store) = store();
        let hash = hash_of(b"bytes");
        assert_eq!(store.read(&hash), Found::Missing);
        store.put(&hash, b"bytes", 7_000).expect("kept");
        fs::write(dir.path().join("files/new/left"), b"half").expect("written");
        let again = ChunkStore::open(&dir.path().join("files")).expect("opens");
        assert_eq!(again.read(&hash), Found::Whole(Bytes::from_static(b"bytes")));
        assert_eq!(again.stat(&hash), Some((5, 7_000)), "the time is the log's");
        assert!(!dir.path().join("files/new/left").exists());
    }

    #[test]
    fn a_wrong_chunk_is_never_served_and_is_put_aside() {
        let (dir, store) = store();
        let hash = hash_of(b"bytes");
        for wrong in [&b"bytez"[..], b"", &vec![0; CHUNK_BYTES + 1]] {
            store.put(&hash, b"bytes", 1).expect("kept");
            fs::write(store.path(&hash), wrong).expect("written");
            assert_eq!(store.read(&hash), Found::Damaged);
            assert_eq!(store.read(&hash), Found::Missing);
        }
        assert!(dir.path().join("files/bad").join(hex(&hash)).exists());
    }

    #[test]
    fn an_emptied_folder_is_made_again() {
        let (dir, store) = store();
        fs::remove_dir_all(dir.path().join("files")).expect("emptied");
        let hash = hash_of(b"bytes");
        assert_eq!(store.read(&hash), Found::Missing);
        store.put(&hash, b"bytes", 1).expect("kept");
        assert!(matches!(store.read(&hash), Found::Whole(_)));
    }

    #[test]
    fn only_what_nobody_needs_and_nobody_counts_on_goes() {
        let (_dir, store) = store();
        let kept = hash_of(b"kept");
        let hashes: Vec<Hash> = (0..200_u32).map(|number| hash_of(&number.to_be_bytes())).collect();
        store.put(&kept, b"kept", 0).expect("kept");
        for (at, hash) in hashes.iter().enumerate() {
            store.put(hash, &(at as u32).to_be_bytes(), at as u64).expect("kept");
        }
        // Received again: the later time counts, whichever comes last.
        store.put(&hashes[3], &3_u32.to_be_bytes(), 500).expect("kept");
        store.put(&hashes[3], &3_u32.to_be_bytes(), 0).expect("kept");
        let removed: u64 =
            (0..=255).map(|folder| store.sweep(folder, 100, |hash| *hash == kept).expect("swept")).sum();
        assert_eq!(removed, 99);
        assert!(store.stat(&kept).is_some());
        for (at, hash) in hashes.iter().enumerate() {
            assert_eq!(store.stat(hash).is_some(), at >= 100 || at == 3, "{at}");
        }
    }
}
