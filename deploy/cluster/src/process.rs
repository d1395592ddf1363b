//! One process: started in its own group with a log file, signalled by its id and never by its name.
//!
//! A process id alone may belong to somebody else by now. A [`ProcessId`] carries the start time from
//! `/proc/<pid>/stat` as well, and nothing is sent to a process whose start time differs.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Error, Result};

/// Bytes at the end of a log that are searched for its last lines.
const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// A process and the proof that it is still that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The system's number.
    pub pid: u32,
    /// Clock ticks between boot and the start of the process.
    pub start_ticks: u64,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It may run.
    Running,
    /// It was stopped by a signal (SIGSTOP) and can go on.
    Paused,
    /// It ended, was never there, or its number belongs to another process now.
    Gone,
}

/// The signals this crate sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// Ask for an orderly end.
    Terminate,
    /// End now, as `kill -9` does.
    Kill,
    /// Stop the process where it stands, as a long pause of the machine would.
    Pause,
    /// Let it go on.
    Resume,
}

impl ProcessId {
    /// The process that has this number now; `None` when there is none.
    pub fn now(pid: u32) -> Option<Self> {
        read_stat(pid).map(|Stat { start_ticks, .. }| Self { pid, start_ticks })
    }

    /// What it is doing.
    pub fn activity(self) -> Activity {
        self.judge(read_stat(self.pid))
    }

    fn judge(self, stat: Option<Stat>) -> Activity {
        match stat {
            Some(stat) if stat.start_ticks != self.start_ticks => Activity::Gone,
            // Its first thread has ended; while another one is ending, its ports and files are still held.
            Some(Stat { state: 'Z', threads: 2.., .. }) => Activity::Running,
            Some(Stat { state: 'Z' | 'X' | 'x', .. }) | None => Activity::Gone,
            Some(Stat { state: 'T' | 't', .. }) => Activity::Paused,
            Some(_) => Activity::Running,
        }
    }

    /// Whether it has ended.
    pub fn is_gone(self) -> bool {
        self.activity() == Activity::Gone
    }

    /// Signals the process and its group; false when it is gone already.
    ///
    /// # Errors
    /// [`Error::Failed`] when the system refuses, for instance another user's process.
    pub fn send(self, what: Send) -> Result<bool> {
        if self.is_gone() {
            return Ok(false);
        }
        let signal = match what {
            Send::Terminate => Signal::TERM,
            Send::Kill => Signal::KILL,
            Send::Pause => Signal::STOP,
            Send::Resume => Signal::CONT,
        };
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Failed(format!("{} is no process id", self.pid)))?;
        match kill_process_group(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(Error::Failed(format!("cannot signal process {}: {error}", self.pid))),
        }
    }
}

/// Kills a process and everything it started, by number: a browser puts its own processes into groups of their own.
pub fn kill_tree(root: ProcessId) {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(children(parent.pid));
        next += 1;
    }
    for process in tree {
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { continue };
        if !process.is_gone() {
            // Best effort: whoever ended meanwhile needs no signal.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes whose parent this is, now.
fn children(parent: u32) -> Vec<ProcessId> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .filter_map(ProcessId::now)
        .collect()
}

/// Field 4 of `/proc/<pid>/stat`.
fn parent_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text[text.rfind(')')? + 1..].split_ascii_whitespace().nth(1)?.parse().ok()
}

/// What is read of `/proc/<pid>/stat` (proc(5): fields 3, 20 and 22).
struct Stat {
    state: char,
    threads: u64,
    start_ticks: u64,
}

fn read_stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name stands in parentheses and may hold anything, parentheses too.
    let rest = &text[text.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let threads = fields.nth(16)?.parse().ok()?;
    let start_ticks = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, threads, start_ticks })
}

/// Whether a process may outlive the one that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// It may: a cluster that was detached.
    Free,
    /// The kernel kills it when its starter ends, however that ends: a test that is itself killed leaves nothing behind.
    Tied,
}

/// Starts `command` in its own process group, its output appended to `log`.
///
/// # Errors
/// [`Error::Failed`] when the log cannot be opened or the program not be started.
pub fn spawn(command: Command, log: &Path, bond: Bond) -> Result<(Child, ProcessId)> {
    let mut output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .attempt(|| format!("open the log {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    writeln!(output, "---- start of {program}").attempt(|| format!("write the log {}", log.display()))?;
    let errors = output.try_clone().attempt(|| "share a log file".to_owned())?;
    let mut command = if bond == Bond::Tied { tied(command) } else { command };
    command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
    let child = spawn_from_lasting_thread(command).attempt(|| format!("start {program}"))?;
    let id = ProcessId::now(child.id())
        .ok_or_else(|| Error::Failed(format!("{program} vanished at its start")))?;
    Ok((child, id))
}

/// The same command through util-linux's `setpriv`, which asks for the parent-death signal and becomes the program.
/// Where there is no `setpriv` the command stays as it is.
fn tied(command: Command) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return command };
    let mut through = Command::new(setpriv);
    through.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => through.env(name, value),
            None => through.env_remove(name),
        };
    }
    through
}

/// The parent-death signal fires when the *thread* that started the child ends, and threads of tests and runtimes come
/// and go. So one thread, which lasts as long as this program, starts them all.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<Child> {
    type Job = (Command, SyncSender<std::io::Result<Child>>);
    /// Callers block while it is full; nothing is dropped.
    const WAITING_MAX: usize = 16;
    static SPAWNER: OnceLock<SyncSender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = sync_channel::<Job>(WAITING_MAX);
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // The caller waits for it; if it is gone, so is the interest.
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let gone = || std::io::Error::other("the thread that starts programs is gone");
    let (answer, result) = sync_channel(1);
    spawner.send((command, answer)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

/// Finds a program in `PATH`, or in the system's sbin folders, which ordinary users often lack there.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// The last line that a log's newest run wrote; empty when it wrote none.
pub fn last_log_line(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if line.starts_with("---- start of ") { String::new() } else { line.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = "12 (a) b (c)) S 1 12 12 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.threads, stat.start_ticks), ('S', 1, 4711));
        assert!(parse_stat("no stat").is_none());
    }

    #[test]
    fn a_process_is_gone_with_the_last_of_its_threads() {
        let id = ProcessId { pid: 12, start_ticks: 4711 };
        let judged = |state, threads| id.judge(Some(Stat { state, threads, start_ticks: 4711 }));
        // A killed program whose first thread was quicker than the one that holds its port.
        assert_eq!(judged('Z', 2), Activity::Running);
        assert_eq!(judged('Z', 1), Activity::Gone);
        assert_eq!(judged('X', 0), Activity::Gone);
        assert_eq!(id.judge(None), Activity::Gone);
    }

    #[test]
    fn a_tree_of_processes_ends_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // `set -m` gives the grandchild a group of its own, as a browser does.
        command.args(["-c", "set -m; sleep 60 & wait"]);
        let (mut shell, id) = spawn(command, &dir.path().join("log"), Bond::Tied).unwrap();
        let began = std::time::Instant::now();
        let grandchild = loop {
            if let Some(found) = children(id.pid).first() {
                break *found;
            }
            assert!(began.elapsed().as_secs() < 30, "the shell started nothing");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        kill_tree(id);
        shell.wait().unwrap();
        while !grandchild.is_gone() {
            // Before it would end by itself.
            assert!(began.elapsed().as_secs() < 50, "the grandchild lives");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[test]
    fn a_process_is_paused_resumed_and_killed_and_a_stale_id_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sleep");
        command.arg("60");
        let (mut child, id) = spawn(command, &log, Bond::Tied).unwrap();
        let reach = |wanted: Activity| {
            for _ in 0..3_000 {
                if id.activity() == wanted {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            panic!("not {wanted:?} but {:?}", id.activity());
        };
        assert_eq!(id.activity(), Activity::Running);
        let stale = ProcessId { start_ticks: id.start_ticks + 1, ..id };
        assert!(stale.is_gone() && !stale.send(Send::Kill).unwrap());
        assert_eq!(id.activity(), Activity::Running);
        id.send(Send::Pause).unwrap();
        reach(Activity::Paused);
        id.send(Send::Resume).unwrap();
        reach(Activity::Running);
        assert!(id.send(Send::Kill).unwrap());
        child.wait().unwrap();
        assert!(id.is_gone() && !id.send(Send::Kill).unwrap());
        assert_eq!(last_log_line(&log), "");
    }
}
