//! The disk through the kernel: what programs see, what a cut leaves, and that nothing ever hangs on it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_faultfs::{Cut, Error, FaultDisk, WriteError};

/// Anything that ends at all ends within this.
const WAIT: Duration = Duration::from_secs(30);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate-faultfs"))
}

/// A disk, or `None` where the machine has none to give; then the test is named as skipped.
fn disk(test: &str) -> Option<FaultDisk> {
    match FaultDisk::mount(program()) {
        Ok(disk) => Some(disk),
        Err(Error::Unavailable(why)) => {
            eprintln!("SKIPPED: {test}: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn sync_folder(path: &Path) {
    File::open(path).and_then(|folder| folder.sync_all()).expect("a folder syncs");
}

fn is_mounted(path: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo").expect("Linux").contains(&*path.to_string_lossy())
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < WAIT, "waited {WAIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn synced_bytes_and_names_survive_a_power_cut_and_others_do_not() {
    let Some(disk) = disk("synced_bytes_and_names_survive_a_power_cut_and_others_do_not") else { return };
    let root = disk.path();
    let folder = root.join("folder");
    fs::create_dir(&folder).unwrap();
    let mut log = File::create(folder.join("log")).unwrap();
    log.write_all(b"synced").unwrap();
    log.sync_data().unwrap();
    log.write_all(b" unsynced").unwrap();
    fs::write(folder.join("never"), "synced").unwrap();
    fs::write(folder.join("config.new"), "new").unwrap();
    File::open(folder.join("config.new")).unwrap().sync_all().unwrap();
    fs::rename(folder.join("config.new"), folder.join("config")).unwrap();
    assert_eq!(fs::read(folder.join("log")).unwrap(), b"synced unsynced");
    assert_eq!(disk.usage().unwrap().unsynced_bytes, 9 + 6);

    let report = disk.cut(Cut::Drop).unwrap();
    assert_eq!((report.dropped_bytes, report.dropped_names), (15, 2));
    // The kernel tells of a close after the program has gone on: others may still count.
    assert!(report.open_files >= 1, "{report:?}");
    assert_eq!(fs::read(folder.join("log")).unwrap(), b"synced");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the log and the file that was not renamed");
    assert_eq!(fs::read(folder.join("config.new")).unwrap(), b"new");
    assert!(log.write_all(b"x").is_err(), "what was open is dead");

    fs::rename(folder.join("config.new"), folder.join("config")).unwrap();
    sync_folder(&folder);
    disk.cut(Cut::Drop).unwrap();
    assert_eq!(fs::read(folder.join("config")).unwrap(), b"new");
}

#[test]
fn a_torn_write_ends_anywhere() {
    let Some(disk) = disk("a_torn_write_ends_anywhere") else { return };
    let path = disk.path().join("log");
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut log = File::create(&path).unwrap();
        log.write_all(b"head").unwrap();
        log.sync_all().unwrap();
        log.write_all(&[7; 10_000]).unwrap();
        drop(log);
        disk.cut(Cut::Torn(seed)).unwrap();
        let left = fs::read(&path).unwrap();
        assert!(left.starts_with(b"head") && left[4..].iter().all(|byte| *byte == 7), "seed {seed}");
        lengths.insert(left.len());
    }
    assert!(lengths.len() > 10 && lengths.iter().any(|length| (length - 4) % 512 != 0), "{lengths:?}");
}

#[test]
fn it_is_a_file_system_like_any_other_while_nothing_fails() {
    let Some(disk) = disk("it_is_a_file_system_like_any_other_while_nothing_fails") else { return };
    let path = disk.path().join("file");
    let mut appended = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    appended.write_all(b"one ").unwrap();
    other.write_all(b"ONE").unwrap();
    appended.write_all(b"two").unwrap();
    let mut text = String::new();
    other.seek(SeekFrom::Start(0)).unwrap();
    other.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ONE two");
    other.set_len(3).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 3);
    let big = vec![9; 3_000_000];
    fs::write(disk.path().join("big"), &big).unwrap();
    assert_eq!(fs::read(disk.path().join("big")).unwrap(), big);

    let held = File::create(disk.path().join("lock")).unwrap();
    held.try_lock().unwrap();
    let second = File::open(disk.path().join("lock")).unwrap();
    assert!(second.try_lock().is_err(), "locks are kept");
    for number in 0..500 {
        fs::write(disk.path().join(format!("many-{number}")), "x").unwrap();
    }
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 503);
    let missing = fs::read(disk.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    fs::remove_dir_all(disk.path().join("folder")).unwrap_err();
    fs::create_dir_all(disk.path().join("folder/inner")).unwrap();
    fs::write(disk.path().join("folder/inner/file"), "x").unwrap();
    fs::remove_dir_all(disk.path().join("folder")).unwrap();
}

#[test]
fn a_failing_disk_fails_as_told_and_heals() {
    let Some(disk) = disk("a_failing_disk_fails_as_told_and_heals") else { return };
    let path = disk.path().join("file");
    let mut file = File::create(&path).unwrap();
    disk.fail_writes(WriteError::NoSpace).unwrap();
    assert_eq!(file.write_all(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.fail_writes(WriteError::Io).unwrap();
    assert!(file.write_all(b"x").is_err());
    disk.full_after(4).unwrap();
    file.write_all(b"1234").unwrap();
    assert_eq!(file.write_all(b"5").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.read_only().unwrap();
    assert_eq!(file.write_all(b"x").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    let refused = File::create(disk.path().join("new")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    disk.fail_syncs().unwrap();
    assert!(file.sync_all().is_err());
    disk.slow_sync(300).unwrap();
    let began = Instant::now();
    file.sync_all().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    disk.heal().unwrap();
    file.write_all(b"5").unwrap();
    file.sync_all().unwrap();
    assert_eq!(disk.usage().unwrap().refused, 6);
    disk.cut(Cut::Drop).unwrap();
    let left = fs::read(&path).unwrap();
    assert_eq!(left, [0, 0, 0, 0, b'5'], "the sync that failed lost its bytes for good");
}

/// A program that writes to the disk until it cannot. It opens its file once: opened again by name when the disk is
/// gone, the file would be one in the folder below the mount, and there it could write for ever.
fn writer(disk: &Path) -> Child {
    let file = disk.join("written");
    let script = "exec 3>> \"$1\"; while echo x >&3; do :; done 2>/dev/null";
    let child = Command::new("sh").args(["-c", script, "sh"]).arg(&file).stderr(Stdio::null()).spawn();
    let child = child.expect("a shell starts");
    wait("the writer to write", || file.exists());
    child
}

fn ends(mut child: Child, what: &str) {
    wait(what, || child.try_wait().expect("a child of ours").is_some());
}

#[test]
fn a_disk_whose_server_dies_leaves_nobody_waiting() {
    let Some(disk) = disk("a_disk_whose_server_dies_leaves_nobody_waiting") else { return };
    let (path, busy) = (disk.path(), writer(&disk.path()));
    let killed = Command::new("kill").args(["-9", &disk.server_pid().to_string()]).status().unwrap();
    assert!(killed.success());
    ends(busy, "the writer to fail");
    assert!(disk.usage().is_err(), "the handle says so");
    drop(disk);
    wait("the mount to go", || !is_mounted(&path));
}

#[test]
fn a_disk_in_use_is_unmounted_when_its_test_ends() {
    let Some(disk) = disk("a_disk_in_use_is_unmounted_when_its_test_ends") else { return };
    let (path, busy) = (disk.path(), writer(&disk.path()));
    drop(disk);
    wait("the mount to go", || !is_mounted(&path));
    ends(busy, "the writer to fail");
}

/// Stands in for a test: a shell that starts the server and is then killed without a chance to clean up.
#[test]
fn a_killed_test_leaves_no_mount_and_no_process() {
    let Some(probe) = disk("a_killed_test_leaves_no_mount_and_no_process") else { return };
    drop(probe);
    let scratch = tempfile::tempdir().unwrap();
    let path: PathBuf = scratch.path().join("mount");
    fs::create_dir(&path).unwrap();
    // The shell alone holds the pipe to the server's input open.
    let script = "mkfifo \"$2/orders\"; \"$0\" \"$1\" < \"$2/orders\" & echo $! > \"$2/pid\"; \
                  exec 3> \"$2/orders\"; while :; do sleep 0.1 3>&-; done";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .args([program(), &path, scratch.path()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait("the mount", || is_mounted(&path));
    let server = fs::read_to_string(scratch.path().join("pid")).unwrap();
    let busy = writer(&path);
    shell.kill().unwrap();
    shell.wait().unwrap();
    wait("the mount to go", || !is_mounted(&path));
    wait("the server to end", || !Path::new("/proc").join(server.trim()).join("fd").exists());
    ends(busy, "the writer to fail");
}
