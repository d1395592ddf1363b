//! The mark beside the log: how far the log has been synced, for a start that cannot see it in the files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Shared;
use crate::cell::{Cell, CellError};
use crate::node::log_check::LogError;

/// How often the mark is brought up to what has been synced. It bounds what [`log_check`] cannot prove without later entries,
/// and costs one fdatasync each time, only while something is appended.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// Where a log of this folder is marked.
pub(super) fn mark_path(dir: &Path) -> PathBuf {
    dir.with_extension("synced")
}

/// Opens the mark, and says how far the log had been synced.
pub(super) fn open_mark(dir: &Path) -> Result<(Cell, u64), LogError> {
    let path = mark_path(dir);
    let failed = |source| LogError::Io { dir: dir.to_owned(), source };
    match Cell::open(&path) {
        Ok(Some((cell, content))) => match content.try_into() {
            Ok(bytes) => Ok((cell, u64::from_be_bytes(bytes))),
            Err(_) => Err(LogError::Damaged { file: path, what: "it holds no position".to_owned() }),
        },
        Ok(None) => {
            // The mark is made before the log's first file: a log without one has lost it.
            let begun = std::fs::read_dir(dir).map_err(failed)?;
            let begun = begun.flatten().any(|entry| entry.path().extension().is_some_and(|end| end == "wal"));
            if begun {
                return Err(LogError::Damaged { file: path, what: "it is missing".to_owned() });
            }
            Ok((Cell::create(&path, &0_u64.to_be_bytes()).map_err(failed)?, 0))
        }
        Err(CellError::Damaged(file)) => {
            Err(LogError::Damaged { file, what: "neither copy of it can be read".to_owned() })
        }
        Err(CellError::Io { source, .. }) => Err(failed(source)),
    }
}

/// Keeps the mark up to date on a thread of its own: its sync never stands before an append's.
#[derive(Debug)]
pub(super) struct Mark {
    state: Arc<Mutex<MarkState>>,
    /// Dropped to end the thread.
    running: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct MarkState {
    cell: Cell,
    written: u64,
    shared: Arc<Shared>,
}

impl MarkState {
    fn bring_up(&mut self) {
        let synced = self.shared.synced.load(Ordering::Acquire);
        if synced <= self.written || self.shared.failure.told().is_some() {
            return;
        }
        match self.cell.write(&synced.to_be_bytes()) {
            Ok(()) => self.written = synced,
            Err(error) => self.shared.fail("marking how far the Raft log is synced", &error),
        }
    }
}

impl Mark {
    pub(super) fn start(cell: Cell, written: u64, shared: Arc<Shared>) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(MarkState { cell, written, shared }));
        let (running, ended) = sync_channel::<()>(1);
        let of_thread = state.clone();
        let thread = std::thread::Builder::new().name("log-mark".to_owned()).spawn(move || {
            while ended.recv_timeout(MARK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                of_thread.lock().expect(MARK_NOT_POISONED).bring_up();
            }
        })?;
        Ok(Self { state, running: Some(running), thread: Some(thread) })
    }

    pub(super) fn bring_up(&self) {
        self.state.lock().expect(MARK_NOT_POISONED).bring_up();
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.bring_up();
    }
}

const MARK_NOT_POISONED: &str = "writing the mark does not panic";
