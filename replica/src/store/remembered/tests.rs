//! Segments must look like one map of ids, whatever was merged or forgotten.

use prost::Message as _;

use super::super::segments::{FAN_IN, ID_BYTES, Placed, pack};
use super::super::{Applied, run};
use super::*;

fn id(n: u64) -> Key {
    // Spread over the order of keys, as ids at random are.
    let spread = u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    Key::with_id(Space::Dedup, n % 5, &spread.to_be_bytes())
}

fn value(n: u64) -> Bytes {
    Bytes::from(vec![n as u8; 40 + n as usize % 50])
}

/// What an entry writes that remembers ids, and forgets the oldest.
fn changes(remember: std::ops::Range<u64>, forget: std::ops::Range<u64>) -> Writes {
    let mut writes = Writes::new();
    for n in remember {
        let tail = id(n);
        let placed = Placed { user_id: n % 5, command_id: Bytes::copy_from_slice(&tail.as_bytes()[9..]) };
        writes.insert(tail, Some(value(n)));
        writes.insert(Key::two(Space::DedupExpiry, 0, n), Some(placed.encode_to_vec().into()));
    }
    for n in forget {
        writes.insert(id(n), None);
        writes.insert(Key::two(Space::DedupExpiry, 0, n), None);
    }
    writes
}

fn assert_holds(checkpoint: &Checkpoint, live: std::ops::Range<u64>) {
    let mut expected: Vec<(Key, Bytes)> = live.map(|n| (id(n), value(n))).collect();
    expected.sort();
    let is_id = |(raw, _): &(sled::IVec, Bytes)| raw[0] == Space::Dedup as u8;
    let found: Vec<(Key, Bytes)> = checkpoint
        .raw_pairs()
        .map(|pair| pair.expect("reads"))
        .filter(is_id)
        .map(|(raw, value)| (Key::from_bytes(&raw).expect("a key"), value))
        .collect();
    assert!(found == expected, "{} pairs are {}", expected.len(), found.len());
}

/// Keys in the tree that are of segments.
fn stored_keys(checkpoint: &Checkpoint) -> usize {
    checkpoint.db.range((Included([0, 1]), Excluded([0, 3]))).count()
}

#[test]
fn ids_are_found_until_they_are_forgotten_however_they_were_merged() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let (mut oldest, mut newest) = (0_u64, 0_u64);
    let (mut most, mut interrupted) = (0, 0);
    for round in 0..1_200_u64 {
        let (next, gone) = (newest + 5 + round % 120, if round < 600 { 0 } else { 5 + round % 150 });
        let gone = (oldest + gone).min(newest);
        checkpoint.write(&changes(newest..next, oldest..gone), &Applied::default()).expect("writes");
        (oldest, newest) = (gone, next);
        most = most.max(checkpoint.segments().list.len());
        for n in [oldest, newest - 1, (oldest + newest) / 2, oldest + (newest - oldest) / 7] {
            assert_eq!(checkpoint.get(&id(n)).expect("reads"), Some(value(n)), "{n} in round {round}");
            assert_eq!(
                checkpoint.get_leaving(&id(n)).expect("reads"),
                Some(value(n)),
                "{n} in round {round}"
            );
        }
        for n in [oldest.wrapping_sub(1), oldest / 2, newest, newest + 7] {
            let is_live = (oldest..newest).contains(&n);
            assert_eq!(checkpoint.get(&id(n)).expect("reads").is_some(), is_live, "{n} in round {round}");
        }
        if round % 100 == 99 {
            assert_holds(&checkpoint, oldest..newest);
        }
        let is_merging = checkpoint.segments().list.iter().any(|segment| segment.into.is_some());
        if round % 250 == 249 || (is_merging && round % 8 == 0) {
            interrupted += usize::from(is_merging);
            drop(checkpoint);
            checkpoint = Checkpoint::open(dir.path()).expect("opens");
            assert_holds(&checkpoint, oldest..newest);
        }
    }
    assert!(interrupted >= 3, "{interrupted} merges were interrupted");
    let levels = checkpoint.segments().list.iter().map(|segment| segment.level).max();
    assert!(levels >= Some(2), "merged ones were merged again: {levels:?}");
    assert!(most < 5 * FAN_IN, "{most} segments at once");
    let blocks = stored_keys(&checkpoint);
    let ids = (newest - oldest) as usize;
    assert!(blocks < ids / 20, "{blocks} keys for {ids} ids");
    // All forgotten: nothing stays behind, and what comes next is found.
    checkpoint.write(&changes(0..0, oldest..newest), &Applied::default()).expect("writes");
    for n in newest..newest + 60 {
        checkpoint.write(&changes(n..n + 1, n - 1..n), &Applied::default()).expect("writes");
    }
    assert_holds(&checkpoint, newest + 59..newest + 60);
    assert!(stored_keys(&checkpoint) < 40, "{} keys are left", stored_keys(&checkpoint));
}

#[test]
fn an_empty_queue_forgets_every_segment_also_after_a_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    checkpoint.write(&changes(0..9, 0..0), &Applied::default()).expect("writes");
    checkpoint.write(&changes(0..0, 0..9), &Applied::default()).expect("writes");
    assert_holds(&checkpoint, 0..0);
    drop(checkpoint);
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    assert_holds(&checkpoint, 0..0);
    assert_eq!(checkpoint.get(&id(3)).expect("reads"), None);
    checkpoint.write(&changes(9..12, 0..0), &Applied::default()).expect("writes");
    assert_holds(&checkpoint, 9..12);
}

#[test]
fn ids_with_keys_of_their_own_are_found_and_forgotten_as_others_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let pairs = changes(0..300, 0..0).into_iter().filter_map(|(key, value)| Some((key, value?)));
    let (ids, places): (Vec<_>, Vec<_>) = pairs.partition(|(key, _)| !key.is_run());
    let queue: Vec<(u64, Bytes)> = places.into_iter().map(|(key, value)| (key.ordinal(), value)).collect();
    let mut stored: Vec<(Key, Bytes)> = ids;
    for run in run::split(&queue) {
        let last = run.last().expect("a member").0;
        let key = Key::two(Space::DedupExpiry, 0, last);
        stored.push((key, run::pack(run).into()));
    }
    let raw = stored.iter().map(|(key, value)| Ok((Bytes::copy_from_slice(key.as_bytes()), value.clone())));
    checkpoint.replace(raw, &Applied::default()).expect("replaces");
    assert_holds(&checkpoint, 0..300);
    checkpoint.write(&changes(300..400, 0..50), &Applied::default()).expect("writes");
    assert_holds(&checkpoint, 50..400);
    assert_eq!(checkpoint.get(&id(20)).expect("reads"), None);
    assert_eq!(checkpoint.get(&id(200)).expect("reads"), Some(value(200)));
    // An id may come again once it is forgotten, in the same batch even.
    let mut again = changes(400..401, 50..60);
    let placed = Placed { user_id: 0, command_id: Bytes::copy_from_slice(&id(55).as_bytes()[9..]) };
    again.insert(id(55), Some(value(7)));
    again.insert(Key::two(Space::DedupExpiry, 0, 401), Some(placed.encode_to_vec().into()));
    checkpoint.write(&again, &Applied::default()).expect("writes");
    assert_eq!(checkpoint.get(&id(55)).expect("reads"), Some(value(7)));
    let count = checkpoint
        .raw_pairs()
        .filter(|pair| pair.as_ref().is_ok_and(|(raw, _)| raw[0] == Space::Dedup as u8))
        .count();
    assert_eq!(count, 342, "each once");
}

#[test]
fn a_damaged_block_is_refused() {
    let members = [Member { id: [1; ID_BYTES], place: 4, value: Bytes::from_static(b"what") }];
    let mut block = pack(&members);
    assert!(unpack(&Bytes::from(block.clone())).is_some_and(|members| members[0].place == 4));
    block.pop();
    assert!(unpack(&Bytes::from(block)).is_none());
}

#[test]
fn places_are_read_as_the_machine_writes_them() {
    let record = crate::machine::records::DedupExpiry {
        log_time_ms: 5,
        user_id: 7,
        command_id: Bytes::from_static(&[3; 16]),
    };
    let placed = Placed::decode(record.encode_to_vec().as_slice()).expect("reads");
    assert_eq!((placed.user_id, placed.command_id), (7, Bytes::from_static(&[3; 16])));
}
