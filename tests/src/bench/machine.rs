//! The machine, as far as figures depend on it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::clock::Latencies;

/// Syncs that are timed before it all.
const SYNCS: usize = 200;
/// What a sync writes.
const BLOCK: [u8; 4_096] = [0x5a; 4_096];
/// The disk is watched so long before each turn.
const WATCH: Duration = Duration::from_secs(2);
/// Between two syncs of a watch: a disk that is kept busy would not be at rest.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// A disk that takes longer for a sync with nothing else to do has stood still: most take a hundredth of it.
pub const PAUSE_MS: u64 = 20;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// What may run at a time.
    pub cores: usize,
    /// What the processor says of itself.
    pub model: String,
    /// Memory, whole GiB.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The kind of file system on which the servers keep their data.
    pub file_system: String,
    /// Median of an fdatasync behind 4 KiB there, ms.
    pub sync_ms: f64,
    /// What the disk did between turns, with nothing measured.
    #[serde(default)]
    pub at_rest: AtRest,
    /// Where the load came from.
    pub generator: String,
}

/// Syncs of 4 KiB while nothing is measured. A virtual machine's disk may stand still for reasons of its host; what is durable waits for
/// it, whoever wrote it, so times cannot be judged without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AtRest {
    /// How many there were.
    pub syncs: u64,
    /// Those that took longer than [`PAUSE_MS`].
    pub pauses: u64,
    /// ms.
    pub longest_ms: f64,
}

impl AtRest {
    /// Looks at a folder's disk for two seconds. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn watch(&mut self, folder: &Path) -> std::io::Result<()> {
        let until = Instant::now() + WATCH;
        sync_often(folder, |took| {
            self.note(took);
            std::thread::sleep(WATCH_INTERVAL);
            Instant::now() < until
        })
    }

    fn note(&mut self, took: Duration) {
        self.syncs += 1;
        self.pauses += u64::from(took > Duration::from_millis(PAUSE_MS));
        self.longest_ms = self.longest_ms.max(took.as_secs_f64() * 1_000.0);
    }
}

impl Machine {
    /// Looks at this machine; what cannot be found out is left empty.
    pub fn look(folder: &Path, generator: &str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mounts = read("/proc/mounts");
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            model: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: field(&read("/proc/meminfo"), "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .map_or(0, |kib| kib >> 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&mounts, folder),
            sync_ms: sync_ms(folder).unwrap_or(0.0),
            at_rest: AtRest::default(),
            generator: generator.to_owned(),
        }
    }
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> String {
    let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// The type of the mount that is deepest above a folder.
fn file_system(mounts: &str, folder: &Path) -> String {
    let mut best = (0, String::new());
    for line in mounts.lines() {
        let mut parts = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (parts.next(), parts.next()) else { continue };
        let depth = Path::new(point).components().count();
        if folder.starts_with(point) && depth >= best.0 {
            best = (depth, kind.to_owned());
        }
    }
    best.1
}

/// Median, ms.
fn sync_ms(folder: &Path) -> std::io::Result<f64> {
    let mut times = Latencies::default();
    let mut left = SYNCS;
    sync_often(folder, |took| {
        times.record(took.max(Duration::from_micros(1)));
        left -= 1;
        left > 0
    })?;
    Ok(times.ms(0.5))
}

/// Writes a block and syncs it, again and again, in a file that is removed in the end.
fn sync_often(folder: &Path, mut goes_on: impl FnMut(Duration) -> bool) -> std::io::Result<()> {
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    loop {
        let began = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        if !goes_on(began.elapsed()) {
            return std::fs::remove_file(&path);
        }
    }
}

/// The commit that is checked out, with a `+` when the work tree differs; `unknown` without git.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(arguments).output().ok().filter(|done| done.status.success())?;
        Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let differs =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if differs { format!("{commit}+") } else { commit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_above_a_folder_names_its_file_system() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x/y")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/tmp/xy")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/home")), "ext4");
    }

    #[test]
    fn a_disk_that_stood_still_is_counted() {
        let mut at_rest = AtRest::default();
        for ms in [1, 20, 21, 700, 3] {
            at_rest.note(Duration::from_millis(ms));
        }
        assert_eq!(at_rest, AtRest { syncs: 5, pauses: 2, longest_ms: 700.0 });
        assert!(at_rest.watch(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn a_machine_knows_itself() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::look(dir.path(), "here");
        assert!(machine.cores > 0 && machine.memory_gib > 0 && machine.sync_ms > 0.0, "{machine:?}");
        assert!(!machine.kernel.is_empty() && !machine.file_system.is_empty(), "{machine:?}");
        let mut at_rest = AtRest::default();
        at_rest.watch(dir.path()).unwrap();
        assert!(at_rest.syncs > 0 && at_rest.longest_ms > 0.0, "{at_rest:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of it");
        assert_eq!(field("a b : c\nmodel name\t: X 1\nmodel name : Y", "model name"), "X 1");
    }
}
