//! The index's files: mapped for reading, and written without waiting for the disk.
//!
//! Whatever a power cut leaves of them, they can be made again from the state; a sync here would hold up the Raft log's own,
//! on the same disk, several times a second. A start checks every file's checksum before it is believed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenDirectoryError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};

/// How the names of files begin that are to replace others.
const ASIDE: &str = "writing-";

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct UnsyncedDirectory {
    root: PathBuf,
    mapped: MmapDirectory,
}

impl UnsyncedDirectory {
    /// Over a folder that exists.
    pub(super) fn open(root: &Path) -> Result<Self, OpenDirectoryError> {
        let opened = Self { root: root.to_owned(), mapped: MmapDirectory::open(root)? };
        opened.remove_what_a_kill_left();
        Ok(opened)
    }

    /// Files that were to replace others and never did. One that cannot be removed takes a little room and does no other harm.
    fn remove_what_a_kill_left(&self) {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        for entry in
            entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes()))
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

struct Writer(File);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for Writer {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.flush()
    }
}

impl Directory for UnsyncedDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        match self.mapped.get_file_handle(path) {
            // Not every file system maps files: then they are held in memory.
            Err(OpenReadError::IoError { .. }) => {
                let bytes = self.mapped.atomic_read(path)?;
                Ok(Arc::new(OwnedBytes::new(bytes)))
            }
            other => other,
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.mapped.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.mapped.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let opened = OpenOptions::new().write(true).create_new(true).open(self.root.join(path));
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_owned()),
            _ => OpenWriteError::wrap_io_error(error, path.to_owned()),
        })?;
        Ok(BufWriter::new(Box::new(Writer(file))))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.mapped.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        // Each under a name of its own: the library writes from its merging threads and from the one that commits, at the same time.
        let mut aside = tempfile::Builder::new().prefix(ASIDE).tempfile_in(&self.root)?;
        aside.write_all(content)?;
        aside.into_temp_path().persist(self.root.join(path))?;
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.mapped.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        // Readers are told of a commit by whoever made it.
        let _ = callback;
        Ok(WatchHandle::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One fixed name for what is aside once gave one file another's bytes, and errors to whoever came second.
    #[test]
    fn files_that_are_replaced_at_the_same_time_keep_their_own_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let directory = UnsyncedDirectory::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for name in ["meta.json", ".managed.json"] {
                let directory = &directory;
                scope.spawn(move || {
                    let path = Path::new(name);
                    for round in 0..2_000_u32 {
                        let content = format!("{name} {round}").repeat(50);
                        directory.atomic_write(path, content.as_bytes()).unwrap();
                        assert_eq!(directory.atomic_read(path).unwrap(), content.as_bytes());
                    }
                });
            }
        });
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2, "nothing is left aside");
    }

    #[test]
    fn what_a_kill_left_aside_is_removed_at_the_next_opening() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("writing-Xy12"), "half").unwrap();
        std::fs::write(dir.path().join("meta.json"), "{}").unwrap();
        UnsyncedDirectory::open(dir.path()).unwrap();
        assert!(!dir.path().join("writing-Xy12").exists());
        assert!(dir.path().join("meta.json").exists());
    }
}
