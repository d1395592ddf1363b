//! A test's hold on one disk: it starts the program that serves it, gives it orders, and unmounts it at the end.
//!
//! The disk is served by a process of its own, so that a test that is killed leaves no mount behind and nobody waiting for
//! it: the process ends when its standard input does, and the kernel then answers whoever still asks with an error.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::control::{Answer, Cut, CutReport, Faults, Order, Usage, WriteError};
use crate::unmount;

/// Why there is no disk, or it does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot mount it; a reason to skip a test.
    #[error("cannot mount a FUSE file system here: {0}")]
    Unavailable(String),
    /// Something else.
    #[error("the disk failed: {0}")]
    Failed(String),
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::Failed(format!("{what}: {error}"))
}

struct Line {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A mounted disk; unmounted when dropped, whoever uses it then.
pub struct FaultDisk {
    line: Mutex<Line>,
    dir: TempDir,
}

impl std::fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultDisk").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl FaultDisk {
    /// Mounts an empty disk somewhere below the temporary folder. `program` is `quorate-faultfs`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when this machine cannot, [`Error::Failed`] when the program cannot be started.
    pub fn mount(program: &Path) -> Result<Self, Error> {
        let dir = tempfile::Builder::new().prefix("quorate-disk-").tempdir().map_err(failed("a folder"))?;
        let path = dir.path().join("mount");
        std::fs::create_dir(&path).map_err(failed("a folder"))?;
        let mut child = Command::new(program)
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed(&format!("starting {}", program.display())))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Failed("the program has no pipes".to_owned()));
        };
        let line = Line { child, orders: Some(orders), answers: BufReader::new(answers) };
        let disk = Self { line: Mutex::new(line), dir };
        match disk.answer(None)? {
            Answer::Mounted => Ok(disk),
            Answer::Unavailable(why) => Err(Error::Unavailable(why)),
            other => Err(Error::Failed(format!("it began with {other:?}"))),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// The process that serves it.
    pub fn server_pid(&self) -> u32 {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).child.id()
    }

    /// Cuts the power. Whoever wrote to it should be dead already: what is open now fails from now on.
    ///
    /// # Errors
    /// [`Error::Failed`] when the disk does not answer.
    pub fn cut(&self, cut: Cut) -> Result<CutReport, Error> {
        match self.answer(Some(&Order::Cut(cut)))? {
            Answer::Cut(report) => Ok(report),
            other => Err(Error::Failed(format!("it answered a cut with {other:?}"))),
        }
    }

    /// Makes exactly these faults the disk's from now on.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn faults(&self, faults: Faults) -> Result<(), Error> {
        self.answer(Some(&Order::Faults(faults))).map(|_| ())
    }

    /// Every write fails from now on.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn fail_writes(&self, error: WriteError) -> Result<(), Error> {
        self.faults(Faults { writes: Some(error), ..Faults::default() })
    }

    /// Every sync fails from now on.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn fail_syncs(&self) -> Result<(), Error> {
        self.faults(Faults { syncs: true, ..Faults::default() })
    }

    /// Nothing can be changed from now on.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn read_only(&self) -> Result<(), Error> {
        self.faults(Faults { read_only: true, ..Faults::default() })
    }

    /// It holds so many bytes and no more.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn full_after(&self, bytes: u64) -> Result<(), Error> {
        self.faults(Faults { full_after_bytes: Some(bytes), ..Faults::default() })
    }

    /// Every sync takes this long from now on.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn slow_sync(&self, wait_ms: u64) -> Result<(), Error> {
        self.faults(Faults { slow_sync_ms: wait_ms, ..Faults::default() })
    }

    /// Nothing is wrong with it any more.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn heal(&self) -> Result<(), Error> {
        self.faults(Faults::default())
    }

    /// What is on it and what was asked of it.
    ///
    /// # Errors
    /// See [`Self::cut`].
    pub fn usage(&self) -> Result<Usage, Error> {
        match self.answer(Some(&Order::Usage))? {
            Answer::Usage(usage) => Ok(usage),
            other => Err(Error::Failed(format!("it answered a question with {other:?}"))),
        }
    }

    /// Gives an order, or none, and reads one answer.
    fn answer(&self, order: Option<&Order>) -> Result<Answer, Error> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = order {
            let mut text = serde_json::to_string(order).expect("plain fields serialize");
            text.push('\n');
            let orders = line.orders.as_mut().ok_or_else(|| Error::Failed("it is closed".to_owned()))?;
            orders.write_all(text.as_bytes()).map_err(failed("giving an order"))?;
        }
        let mut text = String::new();
        line.answers.read_line(&mut text).map_err(failed("reading an answer"))?;
        serde_json::from_str(&text).map_err(|error| Error::Failed(format!("it answered {text:?}: {error}")))
    }
}

impl Drop for FaultDisk {
    fn drop(&mut self) {
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Its program unmounts when its input ends; if it is dead, nobody has.
        drop(line.orders.take());
        let _ = line.child.wait();
        unmount(&self.dir.path().join("mount"));
    }
}
