//! The overlay, the checkpoint and the snapshot together must look like one map.

use prost::Message as _;

use super::segments::Placed;
use super::*;

fn boot_file(dir: &Path) -> PathBuf {
    let path = dir.join("boot_id");
    if !path.exists() {
        fs::write(&path, "boot").expect("a file");
    }
    path
}

fn open(dir: &Path) -> Store {
    fs::create_dir_all(dir).expect("a folder");
    Store::open(dir, &boot_file(dir)).expect("opens")
}

/// Opens a store whose last user may not have let go of it yet: the writer thread does so after it has answered, and syncs before.
async fn reopened(dir: &Path) -> Store {
    for _ in 0..TRIES_MAX {
        match Store::open(dir, &boot_file(dir)) {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    panic!("the checkpoint stays in use");
}

/// Every 20 ms, for a minute.
const TRIES_MAX: usize = 3_000;

fn commit(store: &Store, index: u64, pairs: &[(Key, Option<&str>)]) {
    let writes: Writes =
        pairs.iter().map(|(key, value)| (*key, value.map(|v| Bytes::from(v.to_owned())))).collect();
    let log_id = Some(LogId { term: 1, node_id: 1, index });
    let applied = Applied { log_id, hash: Bytes::from(index.to_be_bytes().to_vec()), ..Applied::default() };
    let mut state = store.apply();
    let sum = state.sum_after(&writes, &Before::new()).expect("reads");
    state.commit(writes, sum, applied);
}

async fn checkpointed(store: &Store) {
    store.build_snapshot().await.expect("a snapshot, and before it a checkpoint");
}

fn message(sequence: u64) -> Key {
    Key::two(Space::Messages, 7, sequence)
}

fn texts(store: &Store, from: u64, to: u64, limit: usize) -> Vec<String> {
    let found = store.read().range(&message(from), &message(to), limit).expect("reads");
    found.into_iter().map(|(_, value)| String::from_utf8_lossy(&value).into_owned()).collect()
}

#[tokio::test]
async fn reads_see_overlay_over_checkpoint() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    for n in 1..=100 {
        commit(&store, n, &[(message(n), Some(&format!("m{n}")))]);
    }
    checkpointed(&store).await;
    commit(&store, 101, &[(message(50), Some("edited")), (message(60), None), (message(101), Some("m101"))]);
    assert_eq!(texts(&store, 49, 52, 10), ["m49", "edited", "m51"]);
    assert_eq!(texts(&store, 59, 62, 10), ["m59", "m61"]);
    assert_eq!(texts(&store, 59, 200, 3), ["m59", "m61", "m62"]);
    assert_eq!(texts(&store, 100, 200, 10), ["m100", "m101"]);
    checkpointed(&store).await;
    assert_eq!(texts(&store, 49, 52, 10), ["m49", "edited", "m51"]);
    assert_eq!(texts(&store, 1, 200, 1000).len(), 100);
    assert_eq!(store.read().get(&message(60)).expect("reads"), None);
}

#[tokio::test]
async fn runs_of_other_conversations_are_not_mixed_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    commit(&store, 1, &[(message(1), Some("a")), (Key::two(Space::Messages, 8, 1), Some("b"))]);
    checkpointed(&store).await;
    assert_eq!(texts(&store, 0, u64::MAX, 10), ["a"]);
    assert_eq!(store.read().get(&Key::two(Space::Messages, 6, 1)).expect("reads"), None);
}

#[tokio::test]
async fn a_reopened_state_is_what_was_checkpointed() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let store = open(dir.path());
        commit(&store, 1, &[(message(1), Some("a"))]);
        store.close().await.expect("closes");
    }
    let store = reopened(dir.path()).await;
    assert_eq!(texts(&store, 0, 10, 10), ["a"]);
    assert_eq!(store.read().applied().index(), Some(1));
}

#[tokio::test]
async fn an_installed_snapshot_replaces_everything() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (source, target) = (open(one.path()), open(two.path()));
    for n in 1..=1000 {
        commit(&source, n, &[(message(n), Some("text")), (Key::one(Space::Conversation, n), Some("c"))]);
    }
    let snapshot = source.build_snapshot().await.expect("builds");
    assert_eq!(snapshot.applied.index(), Some(1000));
    commit(&target, 5, &[(message(5000), Some("stale"))]);
    let received = target.incoming_snapshot_path();
    fs::copy(&snapshot.path, &received).expect("copies");
    target.install_snapshot(received).await.expect("installs");
    assert_eq!(target.read().applied().index(), Some(1000));
    assert_eq!(texts(&target, 0, u64::MAX, 5000).len(), 1000);
    assert_eq!(target.read().get(&message(5000)).expect("reads"), None);
    assert_eq!(target.current_snapshot().expect("reads").expect("one").applied.index(), Some(1000));
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (source, target) = (open(one.path()), open(two.path()));
    commit(&source, 1, &[(message(1), Some("text"))]);
    commit(&target, 1, &[(message(1), Some("mine"))]);
    let snapshot = source.build_snapshot().await.expect("builds");
    let mut bytes = fs::read(&snapshot.path).expect("reads");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let received = target.incoming_snapshot_path();
    fs::write(&received, &bytes).expect("writes");
    assert!(target.install_snapshot(received).await.is_err());
    assert_eq!(texts(&target, 0, 10, 10), ["mine"], "the state is as it was");
}

/// The sum over what the checkpoint holds, computed anew.
fn recomputed(store: &Store) -> StateSum {
    let pairs = store
        .checkpoint
        .raw_pairs()
        .map(|pair| pair.map(|(key, value)| (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value))));
    sum::of_stored_pairs(pairs).expect("readable")
}

#[tokio::test]
async fn the_sum_is_that_of_the_pairs_whatever_was_written_over_what() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let mut seed = 42_u64;
    let mut dice = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    for index in 1..=3_000 {
        let pairs: Vec<(Key, Option<String>)> = (0..dice(5))
            .map(|_| {
                let key = match dice(3) {
                    0 => message(dice(200)),
                    1 => Key::three(Space::Revisions, 7, dice(9), dice(9)),
                    _ => Key::one(Space::Conversation, dice(50)),
                };
                (key, (dice(4) != 0).then(|| "x".repeat(dice(3_000) as usize)))
            })
            .collect();
        let pairs: Vec<(Key, Option<&str>)> =
            pairs.iter().map(|(key, value)| (*key, value.as_deref())).collect();
        commit(&store, index, &pairs);
        if dice(500) == 0 {
            checkpointed(&store).await;
            assert_eq!(store.read().sum(), recomputed(&store), "at {index}");
        }
    }
    checkpointed(&store).await;
    assert_eq!(store.read().sum(), recomputed(&store));
    assert_ne!(store.read().sum(), StateSum::default());
}

#[tokio::test]
async fn a_state_that_does_not_add_up_is_not_handed_on_nor_believed_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    commit(&store, 1, &[(message(1), Some("text")), (Key::one(Space::User, 1), Some("ana"))]);
    checkpointed(&store).await;
    store.tamper(Key::one(Space::User, 1), Bytes::from_static(b"eve"));
    let refused = store.build_snapshot().await.expect_err("refused");
    assert!(refused.to_string().contains("add up"), "{refused}");
    assert_eq!(
        store.current_snapshot().expect("reads").expect("one").applied.index(),
        Some(1),
        "the last good one"
    );
    store.close().await.expect("closes");
    let marker = dir.path().join("state.trusted");
    assert!(!marker.exists(), "an orderly end does not vouch for it");
}

#[tokio::test]
async fn a_snapshot_that_does_not_add_up_is_refused() {
    use prost::Message as _;
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (source, target) = (open(one.path()), open(two.path()));
    commit(&source, 1, &[(message(1), Some("text"))]);
    let snapshot = source.build_snapshot().await.expect("builds");
    // Every block is whole, but the header speaks of another state: as when a key was left out.
    let bytes = fs::read(&snapshot.path).expect("reads");
    let length = u32::from_be_bytes(bytes[8..12].try_into().expect("four")) as usize;
    let mut header = Applied::decode(&bytes[44..44 + length]).expect("a header");
    let mut sum = header.sum().expect("a sum");
    sum.add(StateSum::of(b"another", b"pair"));
    header.state = Bytes::copy_from_slice(&sum.to_bytes());
    let header = header.encode_to_vec();
    assert_eq!(header.len(), length);
    let checksum = blake3::hash(&header);
    let parts = [&bytes[..12], checksum.as_bytes(), &header, &bytes[44 + length..]];
    let received = target.incoming_snapshot_path();
    fs::write(&received, parts.concat()).expect("writes");
    let refused = target.install_snapshot(received).await.expect_err("refused");
    assert!(refused.to_string().contains("add up"), "{refused}");
    assert_eq!(target.read().applied().index(), None, "the state is as it was");
}

#[tokio::test]
async fn remembered_ids_are_found_again_after_a_start_and_after_an_install() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    // Digits, so that what names them is text.
    let command_id = |n: u64| <[u8; 16]>::try_from(format!("{n:016}").as_bytes()).expect("16 digits");
    let id = |n| Key::with_id(Space::Dedup, 3, &command_id(n));
    let place = |n| Key::two(Space::DedupExpiry, 0, n);
    let placed = |n| {
        let placed = Placed { user_id: 3, command_id: Bytes::copy_from_slice(&command_id(n)) };
        String::from_utf8(placed.encode_to_vec()).expect("text")
    };
    let snapshot = {
        let store = open(one.path());
        for n in 1..=200_u64 {
            commit(&store, n, &[(id(n), Some("what it did")), (place(n), Some(&*placed(n)))]);
        }
        let snapshot = store.build_snapshot().await.expect("builds");
        assert!(!store.checkpoint.segments().is_empty(), "they are packed");
        store.close().await.expect("closes");
        snapshot
    };
    let knows = |store: &Store| {
        let state = store.apply();
        assert!((1..=200).all(|n| state.get(&id(n)).expect("reads").is_some()), "all are found");
        assert!((201..400).all(|n| state.get(&id(n)).expect("reads").is_none()));
        assert!(
            (201..400).filter(|n| state.state.ids.is_new(&id(*n))).count() > 190,
            "without asking the disk"
        );
    };
    let target = open(two.path());
    let received = target.incoming_snapshot_path();
    fs::copy(&snapshot.path, &received).expect("copies");
    target.install_snapshot(received).await.expect("installs");
    knows(&target);
    target.close().await.expect("closes");
    drop(target);
    let again = reopened(two.path()).await;
    knows(&again);
    // Forgetting them gives the memory back, and what comes after is remembered all the same.
    for n in 1..=200_u64 {
        let (next, named) = (200 + n, placed(200 + n));
        let pairs =
            [(id(n), None), (place(n), None), (id(next), Some("what it did")), (place(next), Some(&*named))];
        commit(&again, next, &pairs);
        assert!(again.apply().get(&id(next)).expect("reads").is_some());
    }
    assert!((1..=200).all(|n| again.apply().get(&id(n)).expect("reads").is_none()));
}

#[tokio::test]
async fn a_checkpoint_of_another_boot_is_thrown_away() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let store = open(dir.path());
        commit(&store, 1, &[(message(1), Some("a"))]);
        checkpointed(&store).await;
        // Not closed: as after a power cut. The copy below stands for the disk that was left.
        let copy = dir.path().join("cut");
        copy_tree(dir.path(), &copy);
    }
    let cut = dir.path().join("cut");
    fs::write(cut.join("boot_id"), "another boot").expect("writes");
    let store = open(&cut);
    assert_eq!(store.read().applied().index(), None, "rebuilt from snapshot and log, not believed");
    assert!(store.current_snapshot().expect("reads").is_some(), "the synced snapshot is still there");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path == to {
            continue;
        }
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target)
        } else if let Err(error) = fs::copy(&path, &target) {
            // What goes while a store in use is copied is not there after a power cut either.
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{}: {error}", path.display());
        }
    }
}

#[tokio::test]
async fn an_overlay_that_filled_up_behind_a_slow_checkpoint_is_handed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    {
        // As after a time in which the writer was busy: full, and nothing frozen.
        let mut state = store.state.write().expect(NOT_POISONED);
        state.active.insert(message(1), Some(Bytes::from("m1")));
        state.active_bytes = OVERLAY_BYTES_MAX;
        state.applied.log_id = Some(LogId { term: 1, node_id: 1, index: 1 });
    }
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), store.wait_for_room()).await;
    waited.expect("room is made, not waited for");
    assert!(store.overlay_bytes() < OVERLAY_BYTES_MAX);
    assert_eq!(texts(&store, 0, 10, 10), ["m1"]);
}

#[tokio::test]
async fn an_overlay_that_waits_behind_an_install_is_not_written_over_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (open(&dir.path().join("old")), open(&dir.path().join("new")));
    commit(&new, 500, &[(message(1), Some("installed"))]);
    let snapshot = new.build_snapshot().await.expect("a snapshot");
    commit(&old, 1, &[(message(1), Some("stale")), (message(2), Some("stale"))]);
    // The install is queued first; the overlay of the state before it is frozen while it waits.
    let (done, installed) = oneshot::channel();
    old.writer.send(Job::Install(snapshot.path, done));
    {
        let mut state = old.state.write().expect(NOT_POISONED);
        if state.frozen.is_none() {
            freeze(&mut state, &old.writer);
        }
    }
    installed.await.expect("answered").expect("installed");
    checkpointed(&old).await;
    assert_eq!(texts(&old, 0, 10, 10), ["installed"]);
    assert_eq!(old.checkpoint_index().expect("reads"), 500);
}

/// A directory with a checkpoint that holds one conversation, closed in order.
async fn closed_checkpoint(key: &Key) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    commit(&store, 1, &[(*key, Some("a"))]);
    checkpointed(&store).await;
    store.close().await.expect("closes");
    dir
}

#[tokio::test]
async fn a_checkpoint_that_was_changed_is_rebuilt_at_the_start() {
    let key = Key::one(Space::Conversation, 1);
    // Once a value that is no value, once one that is missing: all others are as they were written.
    for changed in [Some(&b"something else"[..]), None] {
        let dir = closed_checkpoint(&key).await;
        let mut before = None;
        for _ in 0..TRIES_MAX {
            // What sled itself would let through, written through it.
            if let Ok(db) = sled::open(dir.path().join("state")) {
                let former = match changed {
                    Some(value) => db.insert(key.as_bytes(), value),
                    None => db.remove(key.as_bytes()),
                };
                before = former.expect("writes");
                db.flush().expect("flushes");
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(before.is_some(), "it was there");
        let store = reopened(dir.path()).await;
        assert_eq!(store.read().applied().index(), None, "rebuilt from snapshot and log, not believed");
    }
}

#[tokio::test]
async fn a_value_that_rots_while_the_checkpoint_is_in_use_is_not_served_and_ends_the_replica() {
    let key = Key::one(Space::Conversation, 1);
    let dir = closed_checkpoint(&key).await;
    let store = reopened(dir.path()).await;
    store.checkpoint.spoil(&key);
    assert!(store.read().get(&key).is_err(), "it is not served");
    let told = store.failure().happened().await;
    assert!(told.contains("start this replica again") && !told.contains('\n'), "{told}");
    let cut = dir.path().join("copy");
    copy_tree(dir.path(), &cut);
    let store = open(&cut);
    assert_eq!(store.read().applied().index(), None, "rebuilt from snapshot and log, not believed");
}

#[tokio::test]
async fn a_full_disk_under_a_snapshot_is_told_in_one_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    commit(&store, 1, &[(message(1), Some("text"))]);
    // Every write to this device says that it is full.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("snapshots").join("incoming-build"))
        .expect("links");
    assert!(store.build_snapshot().await.is_err());
    let told = store.failure().happened().await;
    assert!(told.contains("is full") && told.contains("make space") && !told.contains('\n'), "{told}");
    assert!(
        fs::symlink_metadata(dir.path().join("snapshots").join("incoming-build")).is_err(),
        "no half file"
    );
}

/// What stands over a checkpoint, a snapshot and a backup is read by every later program.
#[test]
fn the_record_of_what_was_applied_keeps_its_bytes() {
    use prost::Message as _;
    let applied = Applied {
        log_id: Some(LogId { term: 1, node_id: 2, index: 3 }),
        membership: Some(StoredMembership::default()),
        log_time_ms: 4,
        hash: Bytes::from_static(&[5, 5]),
        state: Bytes::from_static(&[6, 6]),
        machine_version: 7,
    };
    let written = applied.encode_to_vec();
    let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "0a060801100218031200180422020505a201020606a80107");
    assert_eq!(Applied::decode(written.as_slice()), Ok(applied));
    let label = backup::Label { cluster: "c".into() };
    assert_eq!(label.encode_to_vec(), [0xca, 0x02, 0x01, 0x63]);
}

#[test]
fn a_batch_that_is_not_written_is_seen_for_as_long_as_it_is_not() {
    let rest = || std::thread::sleep(std::time::Duration::from_millis(1));
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    assert_eq!(store.batch_under_way(), None);
    // As a walk that does not end: the batch waits for it.
    let walk = store.checkpoint.hold();
    commit(&store, 1, &[(message(1), Some("a"))]);
    freeze(&mut store.state.write().expect(NOT_POISONED), &store.writer);
    let under_way = loop {
        if let Some(number) = store.batch_under_way() {
            break number;
        }
        rest();
    };
    (0..20).for_each(|_| rest());
    assert_eq!(store.batch_under_way(), Some(under_way));
    drop(walk);
    while store.batch_under_way().is_some() {
        rest();
    }
}

#[test]
fn replicas_write_their_checkpoints_at_different_times() {
    let mut sizes: Vec<usize> = (1..=5).map(freeze_bytes).collect();
    sizes.sort_unstable();
    assert!(sizes.windows(2).all(|pair| pair[1] - pair[0] > FREEZE_BYTES / 16), "{sizes:?}");
    for id in 1..=1_000 {
        assert!((FREEZE_BYTES / 2..=FREEZE_BYTES * 3 / 2).contains(&freeze_bytes(id)), "{id}");
    }
}
