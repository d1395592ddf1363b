//! What survives a power cut, told as small stories.

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn write_file(disk: &mut Disk, folder: Inode, name: &str, text: &str) -> u64 {
    let stat = disk.create(folder, name, false, 0o600, NOW).unwrap();
    let handle = disk.open(stat.inode, true).unwrap();
    disk.write(handle, None, text.as_bytes(), NOW).unwrap();
    handle
}

fn text(disk: &mut Disk, folder: Inode, name: &str) -> Option<String> {
    let inode = disk.lookup(folder, name).ok()?.inode;
    let handle = disk.open(inode, false).unwrap();
    let text = String::from_utf8(disk.read(handle, 0, 1000).unwrap().to_vec()).unwrap();
    disk.close(handle);
    Some(text)
}

#[test]
fn a_synced_file_survives_and_an_unsynced_one_vanishes() {
    let mut disk = Disk::new();
    let kept = write_file(&mut disk, ROOT, "kept", "synced");
    disk.sync_file(kept).unwrap();
    disk.write(kept, None, b" and more", NOW).unwrap();
    write_file(&mut disk, ROOT, "gone", "never synced");
    let report = disk.cut(Cut::Drop);
    assert_eq!(report, CutReport { dropped_bytes: 9 + 12, dropped_names: 1, open_files: 2 });
    assert_eq!(text(&mut disk, ROOT, "kept").as_deref(), Some("synced"));
    assert_eq!(text(&mut disk, ROOT, "gone"), None);
    assert_eq!(disk.write(kept, None, b"x", NOW), Err(Refusal::Io), "what was open is dead");
}

#[test]
fn a_rename_needs_a_sync_of_its_folder() {
    for (synced, expected) in [(false, "old"), (true, "new")] {
        let mut disk = Disk::new();
        let old = write_file(&mut disk, ROOT, "file", "old");
        disk.sync_file(old).unwrap();
        disk.sync_folder(ROOT).unwrap();
        let new = write_file(&mut disk, ROOT, "file.new", "new");
        disk.sync_file(new).unwrap();
        disk.rename((ROOT, "file.new".into()), (ROOT, "file".into()), true).unwrap();
        assert_eq!(text(&mut disk, ROOT, "file").as_deref(), Some("new"));
        if synced {
            disk.sync_folder(ROOT).unwrap();
        }
        disk.cut(Cut::Drop);
        assert_eq!(text(&mut disk, ROOT, "file").as_deref(), Some(expected));
        assert_eq!(text(&mut disk, ROOT, "file.new").is_some(), !synced, "it stands where it was");
    }
}

#[test]
fn a_rename_without_a_sync_of_the_file_may_leave_an_empty_one() {
    let mut disk = Disk::new();
    write_file(&mut disk, ROOT, "file.new", "new");
    disk.rename((ROOT, "file.new".into()), (ROOT, "file".into()), true).unwrap();
    disk.sync_folder(ROOT).unwrap();
    disk.cut(Cut::Drop);
    assert_eq!(text(&mut disk, ROOT, "file").as_deref(), Some(""));
}

#[test]
fn a_removal_needs_a_sync_of_its_folder() {
    for synced in [false, true] {
        let mut disk = Disk::new();
        let file = write_file(&mut disk, ROOT, "file", "text");
        disk.sync_file(file).unwrap();
        disk.close(file);
        disk.remove(ROOT, "file", false).unwrap();
        assert_eq!(text(&mut disk, ROOT, "file"), None);
        if synced {
            disk.sync_folder(ROOT).unwrap();
        }
        disk.cut(Cut::Drop);
        assert_eq!(text(&mut disk, ROOT, "file").is_some(), !synced);
    }
}

#[test]
fn a_file_is_kept_with_the_folders_above_it() {
    let mut disk = Disk::new();
    let one = disk.create(ROOT, "one", true, 0o700, NOW).unwrap().inode;
    let two = disk.create(one, "two", true, 0o700, NOW).unwrap().inode;
    let other = disk.create(ROOT, "other", true, 0o700, NOW).unwrap().inode;
    write_file(&mut disk, other, "file", "gone");
    let file = write_file(&mut disk, two, "file", "kept");
    disk.sync_file(file).unwrap();
    disk.cut(Cut::Drop);
    let one = disk.lookup(ROOT, "one").unwrap().inode;
    let two = disk.lookup(one, "two").unwrap().inode;
    assert_eq!(text(&mut disk, two, "file").as_deref(), Some("kept"));
    assert!(disk.lookup(ROOT, "other").is_err());
}

#[test]
fn a_name_given_away_and_taken_again_stays_with_its_last_owner() {
    let mut disk = Disk::new();
    let first = write_file(&mut disk, ROOT, "a", "first");
    disk.sync_file(first).unwrap();
    disk.remove(ROOT, "a", false).unwrap();
    let second = write_file(&mut disk, ROOT, "a", "second");
    disk.sync_file(second).unwrap();
    disk.sync_folder(ROOT).unwrap();
    disk.cut(Cut::Drop);
    assert_eq!(text(&mut disk, ROOT, "a").as_deref(), Some("second"));
}

#[test]
fn cuts_leave_the_first_names_and_the_same_seed_the_same_disk() {
    let story = |cut: Cut| {
        let mut disk = Disk::new();
        for name in ["a", "b", "c", "d"] {
            write_file(&mut disk, ROOT, name, "some text");
        }
        disk.cut(cut);
        let names: Vec<String> = disk.list(ROOT).unwrap().into_iter().map(|(name, _)| name).collect();
        let texts: Vec<_> = names.iter().map(|name| text(&mut disk, ROOT, name)).collect();
        (names, texts)
    };
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        for cut in [Cut::KeepPrefix(seed), Cut::Torn(seed), Cut::Scattered(seed)] {
            let (names, texts) = story(cut);
            assert!("abcd".starts_with(&names.concat()), "{names:?}");
            assert_eq!(story(cut), (names.clone(), texts.clone()));
            seen.insert((names, texts));
        }
    }
    assert!(seen.len() > 20, "{} different disks", seen.len());
}

#[test]
fn a_full_disk_takes_no_more_until_something_is_removed() {
    let mut disk = Disk::new();
    let file = write_file(&mut disk, ROOT, "file", "12345");
    disk.set_faults(Faults { full_after_bytes: Some(8), ..Faults::default() });
    assert_eq!(disk.space(), (8, 3));
    assert_eq!(disk.write(file, None, b"6789", NOW), Err(Refusal::NoSpace));
    disk.write(file, None, b"678", NOW).unwrap();
    disk.write(file, Some(0), b"over", NOW).unwrap();
    assert_eq!(disk.resize(file, 100, NOW), Err(Refusal::NotFound), "by inode, not by handle");
    disk.remove(ROOT, "file", false).unwrap();
    write_file(&mut disk, ROOT, "other", "12345678");
    assert_eq!(disk.usage().refused, 1);
}

#[test]
fn a_failing_disk_says_so_and_a_failed_sync_keeps_nothing() {
    let mut disk = Disk::new();
    let file = write_file(&mut disk, ROOT, "file", "kept");
    disk.sync_file(file).unwrap();
    disk.write(file, None, b" lost", NOW).unwrap();
    disk.set_faults(Faults { syncs: true, ..Faults::default() });
    assert_eq!(disk.sync_file(file), Err(Refusal::Io));
    disk.set_faults(Faults { writes: Some(WriteError::Io), ..Faults::default() });
    assert_eq!(disk.write(file, None, b"x", NOW), Err(Refusal::Io));
    disk.set_faults(Faults { read_only: true, ..Faults::default() });
    assert_eq!(disk.write(file, None, b"x", NOW), Err(Refusal::ReadOnly));
    assert_eq!(disk.create(ROOT, "new", false, 0o600, NOW), Err(Refusal::ReadOnly));
    assert_eq!(disk.open(file, true), Err(Refusal::ReadOnly));
    disk.set_faults(Faults::default());
    disk.sync_file(file).unwrap();
    assert_eq!(text(&mut disk, ROOT, "file").as_deref(), Some("kept lost"));
    disk.cut(Cut::Drop);
    assert_eq!(text(&mut disk, ROOT, "file").as_deref(), Some("kept"), "the second sync covered nothing");
}

#[test]
fn nothing_is_kept_in_memory_that_nobody_can_reach() {
    let mut disk = Disk::new();
    for round in 0..100 {
        let file = write_file(&mut disk, ROOT, "file", "text");
        disk.remove(ROOT, "file", false).unwrap();
        assert_eq!(disk.read(file, 0, 10).unwrap(), b"text", "an open file outlives its name");
        disk.close(file);
        if round % 10 == 9 {
            disk.sync_folder(ROOT).unwrap();
        }
    }
    assert_eq!(disk.nodes.len(), 1);
}
