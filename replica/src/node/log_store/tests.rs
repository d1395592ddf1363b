//! What a start makes of a log whose files are torn, flipped, cut off or missing.
//!
//! Every damage is seeded. An open log must hold a prefix of what was written, and that prefix must not end before anything
//! that the mark or a later entry proves to have been synced; otherwise the log is refused. It never panics.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use openraft::vote::RaftLeaderId as _;
use tempfile::TempDir;

use super::mark::mark_path;
use super::*;
use crate::cell::Cell;
use crate::node::types::{LeaderId, Proposal};

/// Small, so that a short log has many files.
const SEGMENT_TEST_BYTES: usize = 4 * 1024;
/// Seeds of each kind of damage; each is one flip or one truncation of a fresh copy.
const SEEDS: u64 = 250;

/// splitmix64: the same numbers from the same seed everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }
}

fn open(dir: &Path) -> Result<LogStore, LogError> {
    LogStore::open_with(&dir.join("log"), SEGMENT_TEST_BYTES, Metrics::default())
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let command = Bytes::from(vec![u8::try_from(index % 251).expect("small"); bytes]);
    let payload =
        openraft::EntryPayload::Normal(Proposal { log_time_ms: index, command, traceparent: String::new() });
    Entry { log_id: LogId::new(LeaderId::new(term, 1), index), payload }
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId::new(term, 1), committed: true }
}

/// Appends entries and waits for the disk.
async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    let synced = log.shared.synced.load(Ordering::Acquire);
    let records: Vec<_> = entries.into_iter().map(|entry| payload(entry, synced)).collect();
    log.write_synced(|log| log.append(records)).await.expect("appends");
}

/// Everything a log holds: vote, and entries as (term, index, bytes of the command).
type Content = (Option<Vote>, Vec<(u64, u64, Vec<u8>)>);

async fn content(log: &mut LogStore) -> Content {
    let vote = log.read_vote().await.expect("reads");
    let entries = log.try_get_log_entries(0..u64::MAX).await.expect("reads");
    let entries = entries.into_iter().map(|entry| match entry.payload {
        openraft::EntryPayload::Normal(proposal) => {
            let term = entry.log_id.committed_leader_id().term;
            (term, entry.log_id.index(), proposal.command.to_vec())
        }
        other => panic!("never written: {other:?}"),
    });
    (vote, entries.collect())
}

/// A log of many files with votes, a truncation and a purge in it, as a crash right after the last sync leaves it: the mark
/// still says that nothing is known.
async fn written(dir: &Path, seed: u64) -> Content {
    let mut random = Random(seed);
    let mut log = open(dir).expect("opens");
    let unmarked = fs::read(mark_path(&dir.join("log"))).expect("reads");
    log.save_vote(&vote(1)).await.expect("saves");
    let mut index = 0;
    while index < 150 {
        let count = 1 + random.below(4) as u64;
        let batch = (index..index + count).map(|index| entry(1, index, random.below(400))).collect();
        append(&mut log, batch).await;
        index += count;
        log.save_committed(Some(LogId::new(LeaderId::new(1, 1), (index - 1).min(139)))).await.expect("saves");
    }
    log.save_vote(&vote(2)).await.expect("saves");
    let kept = LogId::new(LeaderId::new(1, 1), 139);
    log.truncate_after(Some(kept)).await.expect("truncates");
    for index in 140..180 {
        append(&mut log, vec![entry(2, index, random.below(400))]).await;
    }
    log.purge(LogId::new(LeaderId::new(1, 1), 30)).await.expect("purges");
    for index in 180..200 {
        append(&mut log, vec![entry(2, index, random.below(400))]).await;
    }
    let content = content(&mut log).await;
    assert_eq!(content.1.len(), 200 - 31);
    drop(log);
    fs::write(mark_path(&dir.join("log")), unmarked).expect("writes");
    content
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir.join("log")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = found.filter(|path| path.extension().is_some_and(|end| end == "wal")).collect();
    found.sort();
    assert!(found.len() > 5, "a log of many files: {found:?}");
    found
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    fs::create_dir(copy.path().join("log")).expect("a folder");
    for path in files(dir) {
        let to = copy.path().join("log").join(path.file_name().expect("a name"));
        fs::copy(&path, to).expect("copies");
    }
    fs::copy(mark_path(&dir.join("log")), mark_path(&copy.path().join("log"))).expect("copies");
    copy
}

/// Opens a damaged copy. `None` when it was refused, in one line that names a file and says what to do.
async fn opened(dir: &Path) -> Option<Content> {
    match catch_unwind(AssertUnwindSafe(|| open(dir))).expect("no damage is a panic") {
        Ok(mut log) => Some(content(&mut log).await),
        Err(error) => {
            let line = error.to_string();
            assert!(matches!(error, LogError::Damaged { .. }), "{error:?}");
            assert!(line.contains("log") && line.contains("replica member replace"), "{line}");
            assert!(!line.contains('\n'), "{line}");
            None
        }
    }
}

/// The last entry of all was synced, but nothing after it proves that.
fn is_prefix(found: &Content, written: &Content, lost_max: usize) -> bool {
    found.0 == written.0 && written.1.starts_with(&found.1) && found.1.len() + lost_max >= written.1.len()
}

/// As after an orderly stop, or a second without appends: the mark reaches the log's end.
async fn marked(dir: &Path) {
    let log = open(dir).expect("opens");
    let end = files(dir).last().map(|last| {
        let name = last.file_name().expect("a name").to_string_lossy().into_owned();
        let start = raft_log::chunked_wal::Config::parse_chunk_file_name(&name).expect("a log file");
        start + last.metadata().expect("there").len()
    });
    log.shared.synced.fetch_max(end.expect("some"), Ordering::AcqRel);
    log.mark_synced();
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_loses_only_what_nothing_proves() {
    let dir = tempfile::tempdir().expect("a folder");
    let reference = written(dir.path(), 1).await;
    let (mut refused, mut last_lost, mut harmless) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let copy = copy_of(dir.path());
        let files = files(copy.path());
        // Half of the seeds go to the last file, where tears are cut.
        let last = files.len() - 1;
        let file = &files[if seed % 2 == 0 { last } else { random.below(last) }];
        let mut bytes = fs::read(file).expect("reads");
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        fs::write(file, &bytes).expect("writes");
        match opened(copy.path()).await {
            None => {
                refused += 1;
                assert_eq!(fs::read(file).expect("reads"), bytes, "a refused log is left as it is");
            }
            Some(found) if found == reference => harmless += 1,
            Some(found) => {
                last_lost += 1;
                assert!(is_prefix(&found, &reference, 1), "seed {seed}: byte {at} of {}", file.display());
            }
        }
    }
    println!("{refused} refused, {last_lost} cost the unproven last entry, {harmless} were harmless");
    assert!(refused > SEEDS * 8 / 10 && harmless == 0, "{refused} refused, {harmless} harmless");
}

#[tokio::test]
async fn a_marked_log_loses_nothing_to_any_damage() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path(), 2).await;
    marked(dir.path()).await;
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let copy = copy_of(dir.path());
        let files = files(copy.path());
        let last = files.len() - 1;
        let file = &files[if seed % 2 == 0 { last } else { random.below(files.len()) }];
        let bytes = fs::read(file).expect("reads");
        match seed % 3 {
            0 => {
                let mut flipped = bytes;
                let at = random.below(flipped.len());
                flipped[at] ^= 1 << random.below(8);
                fs::write(file, flipped).expect("writes");
            }
            1 => fs::write(file, &bytes[..random.below(bytes.len())]).expect("writes"),
            _ => {
                let mut zeroed = bytes;
                let from = random.below(zeroed.len() - 32);
                zeroed[from..].fill(0);
                fs::write(file, zeroed).expect("writes");
            }
        }
        assert_eq!(opened(copy.path()).await, None, "seed {seed}: {}", file.display());
    }
    for at in 0..files(dir.path()).len() {
        let copy = copy_of(dir.path());
        fs::remove_file(&files(copy.path())[at]).expect("removes");
        assert_eq!(opened(copy.path()).await, None, "file {at} is missing");
    }
    let copy = copy_of(dir.path());
    for file in files(copy.path()) {
        fs::remove_file(file).expect("removes");
    }
    assert_eq!(opened(copy.path()).await, None, "all files are missing");
    let copy = copy_of(dir.path());
    fs::remove_file(mark_path(&copy.path().join("log"))).expect("removes");
    assert_eq!(opened(copy.path()).await, None, "the mark is missing");
}

#[tokio::test]
async fn a_cut_off_file_is_refused_unless_it_could_be_a_tear() {
    let dir = tempfile::tempdir().expect("a folder");
    let reference = written(dir.path(), 3).await;
    let count = files(dir.path()).len();
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let copy = copy_of(dir.path());
        let at = random.below(count);
        let file = files(copy.path())[at].clone();
        let bytes = fs::read(&file).expect("reads");
        fs::write(&file, &bytes[..random.below(bytes.len())]).expect("writes");
        match opened(copy.path()).await {
            None => {}
            Some(found) => {
                assert_eq!(at, count - 1, "seed {seed}: only the last file can be torn");
                assert!(is_prefix(&found, &reference, usize::MAX / 2), "seed {seed}");
            }
        }
    }
    for at in 0..count - 1 {
        let copy = copy_of(dir.path());
        fs::remove_file(&files(copy.path())[at]).expect("removes");
        assert_eq!(opened(copy.path()).await, None, "file {at} is missing");
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_whatever_is_left_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let reference = written(dir.path(), 4).await;
    marked(dir.path()).await;
    let before = files(dir.path()).last().expect("some").clone();
    let length = before.metadata().expect("there").len();
    // One append of many entries: what a power cut in its sync may tear.
    let unsynced = {
        let copy = copy_of(dir.path());
        let mut log = open(copy.path()).expect("opens");
        append(&mut log, (200..212).map(|index| entry(2, index, 100)).collect()).await;
        drop(log);
        let name = before.file_name().expect("a name");
        fs::read(copy.path().join("log").join(name)).expect("reads").split_off(length as usize)
    };
    assert!(unsynced.len() > 1_000);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let copy = copy_of(dir.path());
        let file = files(copy.path()).last().expect("some").clone();
        let mut bytes = fs::read(&file).expect("reads");
        let mut tail = unsynced.clone();
        match seed % 4 {
            0 => tail.truncate(random.below(tail.len())),
            // The length reached the disk before the blocks.
            1 => {
                let from = random.below(tail.len());
                tail[from..].fill(0);
            }
            // Some blocks did, in no order.
            2 => {
                for block in tail.chunks_mut(512) {
                    if random.below(2) == 0 {
                        block.fill(0);
                    }
                }
            }
            _ => tail.iter_mut().for_each(|byte| *byte = u8::try_from(random.below(256)).expect("a byte")),
        }
        bytes.extend_from_slice(&tail);
        fs::write(&file, bytes).expect("writes");
        let found = opened(copy.path()).await.unwrap_or_else(|| panic!("seed {seed}: a tear was refused"));
        assert_eq!(found.0, reference.0);
        assert!(found.1.starts_with(&reference.1), "seed {seed}: everything that had been synced");
        // It goes on from there, and what is written now is found again.
        let next = found.1.len() as u64 + 31;
        let mut log = open(copy.path()).expect("opens again");
        append(&mut log, vec![entry(3, next, 50)]).await;
        drop(log);
        let again = opened(copy.path()).await.expect("opens");
        assert_eq!(again.1.len(), found.1.len() + 1, "seed {seed}");
        assert_eq!(again.1.last().map(|entry| entry.1), Some(next));
    }
}

#[tokio::test]
async fn a_file_that_was_only_just_begun_is_a_tear_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let reference = written(dir.path(), 5).await;
    marked(dir.path()).await;
    for left in [vec![], vec![0; 700], vec![0, 0, 0, 5, 1], vec![0xa5; 64]] {
        let copy = copy_of(dir.path());
        let last = files(copy.path()).last().expect("some").clone();
        let name = last.file_name().expect("a name").to_string_lossy().into_owned();
        let start = raft_log::chunked_wal::Config::parse_chunk_file_name(&name).expect("a log file");
        let end = start + last.metadata().expect("there").len();
        let begun = raft_log::chunked_wal::Config::chunk_file_name(raft_log::ChunkId(end));
        fs::write(copy.path().join("log").join(begun), &left).expect("writes");
        assert_eq!(opened(copy.path()).await.as_ref(), Some(&reference), "{} bytes", left.len());
    }
}

#[tokio::test]
async fn files_disappear_when_everything_in_them_is_purged() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path(), 6).await;
    let before = files(dir.path()).len();
    let mut log = open(dir.path()).expect("opens");
    let bytes = log.disk_bytes();
    log.purge(LogId::new(LeaderId::new(2, 1), 190)).await.expect("purges");
    log.log.read().expect("not poisoned").wait_worker_idle().expect("idle");
    let left = fs::read_dir(dir.path().join("log")).expect("a folder").flatten();
    let left = left.filter(|entry| entry.path().extension().is_some_and(|end| end == "wal")).count();
    assert!(left * 3 < before, "{left} of {before} files are left");
    assert!(log.disk_bytes() < bytes / 3);
    let told = log.shared.metrics.render(&rpc::StatusResponse::default(), 0, 0, 0);
    assert!(
        told.contains(&format!("quorate_replica_log_purged_segments_total {}\n", before - left)),
        "{told}"
    );
    drop(log);
    let mut log = open(dir.path()).expect("opens");
    assert_eq!(content(&mut log).await.1.len(), 9, "what was not purged");
}

#[tokio::test]
async fn the_mark_follows_what_is_synced() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = open(dir.path()).expect("opens");
    append(&mut log, vec![entry(1, 0, 100)]).await;
    let synced = log.shared.synced.load(Ordering::Acquire);
    assert!(synced > 100);
    let marked = || {
        let (_, content) = Cell::open(&mark_path(&dir.path().join("log"))).expect("reads").expect("there");
        u64::from_be_bytes(content.try_into().expect("a position"))
    };
    for _ in 0..1_200 {
        if marked() == synced {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(marked(), synced, "within some seconds");
    append(&mut log, vec![entry(1, 1, 100)]).await;
    let synced = log.shared.synced.load(Ordering::Acquire);
    drop(log);
    assert_eq!(marked(), synced, "an orderly end marks all of it");
}

#[tokio::test]
async fn a_commit_is_on_disk_with_the_next_append_and_with_the_end() {
    let folder = TempDir::new().expect("a folder");
    let id = |index| LogId::new(LeaderId::new(1, 1), index);
    let mut log = open(folder.path()).expect("opens");
    append(&mut log, vec![entry(1, 0, 10), entry(1, 1, 10)]).await;
    log.save_committed(Some(id(0))).await.expect("saves");
    append(&mut log, vec![entry(1, 2, 10)]).await;
    // As after a crash: what was synced is read while the log is still open.
    let copy = TempDir::new().expect("a folder");
    fs::create_dir(copy.path().join("log")).expect("makes");
    for file in fs::read_dir(folder.path().join("log")).expect("reads") {
        let file = file.expect("an entry");
        fs::copy(file.path(), copy.path().join("log").join(file.file_name())).expect("copies");
    }
    fs::copy(mark_path(&folder.path().join("log")), mark_path(&copy.path().join("log"))).expect("copies");
    let mut crashed = open(copy.path()).expect("opens");
    assert_eq!(crashed.read_committed().await.expect("reads"), Some(id(0)));
    log.save_committed(Some(id(2))).await.expect("saves");
    assert_eq!(log.read_committed().await.expect("reads"), Some(id(2)));
    drop(log);
    let mut ended = open(folder.path()).expect("opens");
    assert_eq!(ended.read_committed().await.expect("reads"), Some(id(2)));
}
