//! What processes of servers take: processor time, memory, reads and room on disk, seen in `/proc` and the folders.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{Advice, fadvise};

/// Clock ticks a second in `/proc/<pid>/stat`; Linux tells programs 100 on every architecture it runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Parent and processor time in ticks, of a line of `/proc/<pid>/stat` (proc(5): fields 4, 14 and 15).
fn stat(text: &str) -> Option<(u32, u64)> {
    // The name stands in parentheses and may hold anything.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((parent, user + system))
}

/// Processor time of each of these processes with all that descend from it, seconds.
fn cpu_of(processes: &BTreeMap<u32, (u32, u64)>, roots: &[u32]) -> f64 {
    let mut ticks = 0;
    let mut tree = roots.to_vec();
    let mut next = 0;
    while let Some(pid) = tree.get(next).copied() {
        next += 1;
        ticks += processes.get(&pid).map_or(0, |(_, ticks)| *ticks);
        let children = processes.iter().filter(|(_, (parent, _))| *parent == pid).map(|(child, _)| *child);
        let new: Vec<u32> = children.filter(|child| !tree.contains(child)).collect();
        tree.extend(new);
    }
    ticks as f64 / TICKS_PER_SECOND
}

/// Processor time that these groups of processes have used so far, seconds; a process counts with its children.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn cpu_seconds<'a>(groups: &[(&'a str, Vec<u32>)]) -> anyhow::Result<BTreeMap<&'a str, f64>> {
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ended meanwhile counts no more.
        let text = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(found) = stat(&text) {
            processes.insert(pid, found);
        }
    }
    Ok(groups.iter().map(|(name, roots)| (*name, cpu_of(&processes, roots))).collect())
}

/// Resident memory of a process, bytes.
///
/// # Errors
/// When it is not running.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("process {pid} is not running"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Bytes that the files of a folder take on disk (holes take none).
///
/// # Errors
/// When it cannot be read.
pub fn folder_bytes(dir: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        // A file may go while its folder is looked through.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { folder_bytes(&entry.path()).unwrap_or(0) } else { about.blocks() * 512 };
    }
    Ok(bytes)
}

/// The value of a line `name: value` of `/proc/<pid>/io`.
fn io(text: &str, name: &str) -> Option<u64> {
    let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name);
    found?.1.trim().parse().ok()
}

/// Bytes that disks had to read for a process so far; what was in the kernel's memory is not among them.
///
/// # Errors
/// When it is not running, or belongs to somebody else.
pub fn disk_read_bytes(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"));
    let text = text.with_context(|| format!("cannot see what process {pid} reads"))?;
    io(&text, "read_bytes").context("no read_bytes line")
}

/// Writes all files of a folder to the disk and has the kernel forget them: whoever reads them next reads the disk. Nobody may
/// have them mapped.
///
/// # Errors
/// When one cannot be opened, synced or forgotten.
pub fn forget_cached(dir: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            forget_cached(&path)?;
        } else if path.is_file() {
            let forget = || {
                let file = std::fs::File::open(&path)?;
                // Pages that are not on the disk yet cannot be forgotten.
                file.sync_all()?;
                fadvise(&file, 0, None, Advice::DontNeed).map_err(std::io::Error::from)
            };
            forget().with_context(|| format!("cannot have {} out of memory", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_with_all_that_it_started() {
        let line = "12 (a) b (c)) S 7 12 12 0 -1 4194304 1 2 3 4 150 50 7 8 20 0 1 0 4711 0 0";
        assert_eq!(stat(line), Some((7, 200)));
        assert_eq!(stat("12 (x"), None);
        let processes =
            BTreeMap::from([(1, (0, 1_000)), (7, (1, 100)), (12, (7, 200)), (13, (12, 50)), (20, (1, 30))]);
        assert_eq!(cpu_of(&processes, &[7]), 3.5);
        assert_eq!(cpu_of(&processes, &[12, 20]), 2.8);
        assert_eq!(cpu_of(&processes, &[99]), 0.0);
    }

    #[test]
    fn this_process_takes_memory_and_time_and_a_folder_has_the_size_of_its_files() {
        let own = std::process::id();
        assert!(resident_bytes(own).unwrap() > 1 << 20);
        let mut sum = 0_u64;
        while cpu_seconds(&[("own", vec![own])]).unwrap()["own"] <= 0.0 {
            sum = std::hint::black_box((0..1_000_000_u64).fold(sum, u64::wrapping_add));
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), vec![1; 64 << 10]).unwrap();
        let bytes = folder_bytes(dir.path()).unwrap();
        assert!((64 << 10..80 << 10).contains(&bytes), "{bytes}");
        assert!(resident_bytes(u32::MAX).is_err());
    }
    #[test]
    fn what_disks_read_is_what_the_kernel_says() {
        let text = "rchar: 9\nwchar: 8\nread_bytes: 4096\nwrite_bytes: 12\ncancelled_write_bytes: 0\n";
        assert_eq!(io(text, "read_bytes"), Some(4_096));
        assert_eq!(io(text, "bytes"), None);
        assert!(disk_read_bytes(std::process::id()).is_ok());
        assert!(disk_read_bytes(u32::MAX).is_err());
    }

    #[test]
    fn what_is_forgotten_is_there_still() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for place in ["b", "a/b"] {
            std::fs::write(dir.path().join(place), &bytes).unwrap();
        }
        forget_cached(dir.path()).unwrap();
        for place in ["b", "a/b"] {
            assert_eq!(std::fs::read(dir.path().join(place)).unwrap(), bytes);
        }
        assert!(forget_cached(&dir.path().join("none")).is_err());
    }
}
