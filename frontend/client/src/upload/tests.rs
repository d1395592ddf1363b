//! Uploads against a server that is a few variables.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::Attachment;
use quorate_proto::limits::SessionLimits;
use quorate_proto::rest::{ChunkStored, FileState, Upload as Begun};
use uuid::Uuid;

use super::*;
use crate::moment::Moment;

const CHUNK: u64 = 1_000;
const FILE: Uuid = Uuid::from_u128(0xf11e);

fn moment(now_ms: u64) -> Moment {
    Moment { now_ms, wall_ms: now_ms, random: u128::from(now_ms) << 64 }
}

fn key(n: u64) -> ClientMessageId {
    moment(n).client_message_id()
}

fn hex(hash: Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_of(number: u32) -> Hash {
    [u8::try_from(number).expect("few chunks") + 7; 32]
}

fn stored(number: u32, hash: Hash) -> ChunkStored {
    ChunkStored { number, hash: hex(hash), size: CHUNK, replicas: 3 }
}

fn with(size: u64) -> Uploads {
    let mut uploads = Uploads::default();
    uploads.add(1, 5, ("a.bin", size), key(1), &SessionLimits::default()).expect("room");
    uploads
}

fn turns(uploads: &mut Uploads, now_ms: u64) -> Vec<(Call, Step)> {
    uploads.take_turns(&moment(now_ms), true).1.into_iter().map(|(_, call, step)| (call, step)).collect()
}

fn only(uploads: &mut Uploads, now_ms: u64) -> (Call, Step) {
    let mut turns = turns(uploads, now_ms);
    assert_eq!(turns.len(), 1, "{turns:?}");
    turns.remove(0)
}

fn begin(uploads: &mut Uploads, size: u64) {
    let (call, step) = only(uploads, 0);
    assert_eq!(step, Step::Begin { name: "a.bin".to_owned(), size });
    let begun = Begun { id: FILE, chunk_bytes: 1_000, chunks: size.div_ceil(CHUNK) };
    assert_eq!(uploads.told(&moment(0), 1, call, Told::Begun(Ok(begun))).0, Some(5));
}

fn put(uploads: &mut Uploads, now_ms: u64, (call, step): &(Call, Step)) {
    let Step::Put { number, .. } = step else { panic!("{step:?}") };
    let told = Told::Put { hash: Some(hash_of(*number)), outcome: Ok(stored(*number, hash_of(*number))) };
    uploads.told(&moment(now_ms), 1, *call, told);
}

fn lost(uploads: &mut Uploads, now_ms: u64, (call, step): &(Call, Step), trouble: Trouble) {
    let Step::Put { number, .. } = step else { panic!("{step:?}") };
    uploads.told(
        &moment(now_ms),
        1,
        *call,
        Told::Put { hash: Some(hash_of(*number)), outcome: Err(trouble) },
    );
}

fn committed() -> FileState {
    let file = Attachment { file: FILE, name: "a.bin".to_owned(), ..Attachment::default() };
    FileState::Committed { file, etag: String::new(), created: 1, own: true }
}

fn phase(uploads: &Uploads) -> Phase {
    uploads.of(5).next().expect("there").phase.clone()
}

fn numbers(turns: &[(Call, Step)]) -> Vec<u32> {
    turns
        .iter()
        .filter_map(|(_, step)| match step {
            Step::Put { number, .. } => Some(*number),
            _ => None,
        })
        .collect()
}

#[test]
fn three_chunks_travel_at_a_time_and_then_it_is_committed() {
    let mut uploads = with(4_500);
    begin(&mut uploads, 4_500);
    let first = turns(&mut uploads, 0);
    assert_eq!(numbers(&first), [0, 1, 2]);
    assert!(turns(&mut uploads, 0).is_empty());
    put(&mut uploads, 1, &first[1]);
    let next = only(&mut uploads, 1);
    assert_eq!(next.1, Step::Put { file: FILE, number: 3, begin: 3_000, length: 1_000 });
    for done in [&first[0], &first[2], &next] {
        put(&mut uploads, 2, done);
    }
    let last = only(&mut uploads, 2);
    assert_eq!(last.1, Step::Put { file: FILE, number: 4, begin: 4_000, length: 500 });
    assert_eq!(uploads.of(5).next().map(Upload::bytes_there), Some(4_000));
    put(&mut uploads, 3, &last);
    let (call, step) = only(&mut uploads, 3);
    assert!(matches!(step, Step::Commit { file: FILE, size: 4_500, .. }), "{step:?}");
    assert_eq!(uploads.ready(5), Ready::NotYet);
    let (_, after) = uploads.told(&moment(4), 1, call, Told::Committed(Ok(committed())));
    assert_eq!(after, [(1, 0, Step::Release)]);
    assert!(matches!(uploads.ready(5), Ready::Files(files) if files.len() == 1));
    assert!(uploads.has_any() && uploads.deadline_ms(true).is_none());
}

#[test]
fn an_empty_file_is_committed_at_once() {
    let mut uploads = with(0);
    begin(&mut uploads, 0);
    assert!(matches!(only(&mut uploads, 0).1, Step::Commit { size: 0, .. }));
}

#[test]
fn after_a_cut_only_what_is_missing_is_sent() {
    let mut uploads = with(5_000);
    begin(&mut uploads, 5_000);
    let first = turns(&mut uploads, 0);
    put(&mut uploads, 1, &first[0]);
    let fourth = only(&mut uploads, 1);
    // The line is cut: two arrived, one of them without its answer, and one did not.
    lost(&mut uploads, 2, &first[1], Trouble::Cut);
    lost(&mut uploads, 2, &first[2], Trouble::Cut);
    assert!(matches!(phase(&uploads), Phase::Cut { .. }));
    assert!(turns(&mut uploads, 60_000).is_empty(), "one is under way still, and may have arrived");
    lost(&mut uploads, 60_000, &fourth, Trouble::Cut);
    let at = uploads.deadline_ms(true).expect("a time");
    assert_eq!(uploads.deadline_ms(false), None, "without a network there is nothing to wake for");
    assert!(uploads.take_turns(&moment(at), false).1.is_empty());
    let (call, step) = only(&mut uploads, at.max(60_000));
    assert_eq!(step, Step::Ask { file: FILE });
    let chunks = vec![stored(0, hash_of(0)), stored(2, hash_of(2)), stored(3, [1; 32])];
    uploads.told(&moment(at), 1, call, Told::There(Ok(Some(FileState::Uploading { chunks }))));
    assert_eq!(
        numbers(&turns(&mut uploads, at)),
        [1, 3, 4],
        "the third arrived; another's bytes are in the fourth's place"
    );
}

#[test]
fn who_does_not_want_to_wait_breaks_off_what_hangs() {
    let mut uploads = with(2_000);
    begin(&mut uploads, 2_000);
    let first = turns(&mut uploads, 0);
    lost(&mut uploads, 1, &first[0], Trouble::Cut);
    let (_, aborts) = uploads.retry(2, 1, key(2));
    assert_eq!(aborts, [(1, 0, Step::Abort(first[1].0))]);
    assert_eq!(only(&mut uploads, 2).1, Step::Ask { file: FILE });
}

#[test]
fn what_is_nowhere_is_sent_from_the_beginning() {
    let mut uploads = with(2_000);
    begin(&mut uploads, 2_000);
    let first = turns(&mut uploads, 0);
    put(&mut uploads, 0, &first[0]);
    lost(&mut uploads, 0, &first[1], Trouble::Cut);
    let (call, _) = only(&mut uploads, 10_000);
    uploads.told(&moment(10_000), 1, call, Told::There(Ok(None)));
    assert_eq!(numbers(&turns(&mut uploads, 10_000)), [0, 1]);
}

#[test]
fn another_connection_gives_up_the_old_ones_calls() {
    let mut uploads = with(2_000);
    begin(&mut uploads, 2_000);
    let first = turns(&mut uploads, 0);
    let aborts = uploads.wake(5, true);
    assert_eq!(aborts, [(1, 0, Step::Abort(first[0].0)), (1, 0, Step::Abort(first[1].0))]);
    let (call, step) = only(&mut uploads, 5);
    assert_eq!(step, Step::Ask { file: FILE });
    // An answer that comes after all counts for nothing: the question tells.
    put(&mut uploads, 6, &first[0]);
    assert_eq!(uploads.of(5).next().map(Upload::bytes_there), Some(0));
    uploads.told(&moment(7), 1, call, Told::There(Ok(Some(FileState::Uploading { chunks: vec![] }))));
    assert_eq!(numbers(&turns(&mut uploads, 7)), [0, 1]);
}

#[test]
fn the_same_gateway_again_leaves_what_is_under_way_and_gives_up_what_has_stalled() {
    let mut uploads = with(2_000);
    begin(&mut uploads, 2_000);
    let first = turns(&mut uploads, 0);
    assert!(uploads.wake(STALLED_MS - 1, false).is_empty(), "its answers come by connections of their own");
    put(&mut uploads, STALLED_MS - 1, &first[0]);
    assert!(uploads.of(5).next().is_some_and(|upload| upload.bytes_there() > 0));
    let aborts = uploads.wake(STALLED_MS, false);
    assert_eq!(aborts, [(1, 0, Step::Abort(first[1].0))]);
    let (_, step) = only(&mut uploads, STALLED_MS);
    assert_eq!(step, Step::Ask { file: FILE });
}

#[test]
fn a_cut_ends_when_the_connection_is_back() {
    let mut uploads = with(1_000);
    begin(&mut uploads, 1_000);
    let first = turns(&mut uploads, 0);
    lost(&mut uploads, 0, &first[0], Trouble::Cut);
    assert!(turns(&mut uploads, 1).is_empty());
    assert!(uploads.wake(2, false).is_empty());
    assert_eq!(only(&mut uploads, 2).1, Step::Ask { file: FILE });
}

#[test]
fn silence_is_a_cut_and_narrows_the_line() {
    let mut uploads = with(3_000);
    begin(&mut uploads, 3_000);
    assert_eq!(turns(&mut uploads, 0).len(), 3);
    assert_eq!(uploads.deadline_ms(true), Some(CHUNK_WAIT_MS));
    let aborts = turns(&mut uploads, CHUNK_WAIT_MS);
    assert_eq!(aborts.iter().filter(|(_, step)| matches!(step, Step::Abort(_))).count(), 3);
    let at = uploads.deadline_ms(true).expect("a time");
    let (call, _) = only(&mut uploads, at);
    uploads.told(&moment(at), 1, call, Told::There(Ok(None)));
    let alone = only(&mut uploads, at);
    put(&mut uploads, at + 1, &alone);
    assert_eq!(turns(&mut uploads, at + 1).len(), 2, "it arrived: the line is wide again");
}

#[test]
fn bytes_that_arrive_as_others_are_sent_again_and_not_for_ever() {
    let mut uploads = with(1_000);
    begin(&mut uploads, 1_000);
    let mut now_ms = 0;
    for _ in 0..=TRIES_MAX {
        let (call, step) = only(&mut uploads, now_ms);
        assert!(matches!(step, Step::Put { .. }), "{step:?}");
        let told = Told::Put { hash: Some(hash_of(0)), outcome: Ok(stored(0, [0; 32])) };
        uploads.told(&moment(now_ms), 1, call, told);
        now_ms += 60_000;
        if let Phase::Cut { .. } = phase(&uploads) {
            let (call, _) = only(&mut uploads, now_ms);
            uploads.told(&moment(now_ms), 1, call, Told::There(Ok(None)));
        }
    }
    assert!(matches!(phase(&uploads), Phase::Failed(_)), "{:?}", phase(&uploads));
}

#[test]
fn a_no_is_final_until_a_person_tries_again_under_another_key() {
    let mut uploads = with(1_000);
    begin(&mut uploads, 1_000);
    let turn = only(&mut uploads, 0);
    put(&mut uploads, 0, &turn);
    let (call, Step::Commit { key: first, .. }) = only(&mut uploads, 0) else { panic!("a commit") };
    let full = WireError::new(ErrorCode::TooLarge, "your files take all the room that you have");
    uploads.wait(5, Waiting { text: "look".to_owned(), reply_to: None });
    uploads.told(&moment(1), 1, call, Told::Committed(Err(Trouble::Refused(full))));
    assert!(matches!(phase(&uploads), Phase::Failed(why) if why.contains("all the room")));
    assert_eq!((uploads.ready(5), uploads.waiting(5)), (Ready::Failed, None), "the message stays in the box");
    assert!(turns(&mut uploads, 1_000_000).is_empty());
    assert_eq!(uploads.retry(2, 1, key(2)), (Some(5), Vec::new()));
    let (call, step) = only(&mut uploads, 2);
    assert_eq!(step, Step::Ask { file: FILE }, "what is there is not sent again");
    let there = FileState::Uploading { chunks: vec![stored(0, hash_of(0))] };
    uploads.told(&moment(2), 1, call, Told::There(Ok(Some(there))));
    let (_, Step::Commit { key: second, .. }) = only(&mut uploads, 2) else { panic!("a commit") };
    assert_ne!(first, second);
}

#[test]
fn a_commit_that_misses_chunks_asks_and_sends_them() {
    let mut uploads = with(1_000);
    begin(&mut uploads, 1_000);
    let turn = only(&mut uploads, 0);
    put(&mut uploads, 0, &turn);
    let (call, _) = only(&mut uploads, 0);
    let missing = WireError::new(ErrorCode::Invalid, "1 chunks are not there");
    uploads.told(&moment(0), 1, call, Told::Committed(Err(Trouble::Refused(missing))));
    let (call, step) = only(&mut uploads, 10_000);
    assert_eq!(step, Step::Ask { file: FILE });
    uploads.told(&moment(10_000), 1, call, Told::There(Ok(None)));
    assert_eq!(numbers(&[only(&mut uploads, 10_000)]), [0]);
}

#[test]
fn a_commit_whose_answer_was_lost_is_found() {
    let mut uploads = with(1_000);
    begin(&mut uploads, 1_000);
    let turn = only(&mut uploads, 0);
    put(&mut uploads, 0, &turn);
    let (call, _) = only(&mut uploads, 0);
    uploads.told(&moment(0), 1, call, Told::Committed(Err(Trouble::Cut)));
    let (call, _) = only(&mut uploads, 10_000);
    uploads.told(&moment(10_000), 1, call, Told::There(Ok(Some(committed()))));
    assert!(matches!(uploads.ready(5), Ready::Files(_)));
}

#[test]
fn a_file_that_cannot_be_read_or_is_too_large_gives_no_hope() {
    let mut uploads = with(1_000);
    begin(&mut uploads, 1_000);
    let (call, _) = only(&mut uploads, 0);
    let told = Told::Put { hash: None, outcome: Err(Trouble::Unreadable) };
    uploads.told(&moment(0), 1, call, told);
    uploads.retry(0, 1, key(3));
    assert!(matches!(phase(&uploads), Phase::Failed(why) if why.contains("cannot be read")));
    let limits = SessionLimits { file_bytes_max: 10, attachments_max: 2, ..SessionLimits::default() };
    uploads.add(2, 5, ("large", 11), key(4), &limits).expect("seen among the others");
    assert!(
        matches!(&uploads.of(5).nth(1).expect("there").phase, Phase::Failed(why) if why.contains("too large"))
    );
    assert!(uploads.add(3, 5, ("third", 1), key(5), &limits).is_err(), "a message shows two");
}

#[test]
fn who_takes_a_file_back_takes_it_from_the_server_too() {
    let mut uploads = with(2_000);
    begin(&mut uploads, 2_000);
    let first = turns(&mut uploads, 0);
    let (conversation, gone) = uploads.remove(1, key(9));
    assert_eq!(conversation, Some(5));
    let expected = [Step::Abort(first[0].0), Step::Abort(first[1].0), Step::Release];
    assert_eq!(gone.into_iter().map(|(_, _, step)| step).collect::<Vec<_>>(), expected);
    put(&mut uploads, 1, &first[0]);
    assert_eq!(uploads.ready(5), Ready::None);

    let mut uploads = with(0);
    begin(&mut uploads, 0);
    let (call, _) = only(&mut uploads, 0);
    uploads.told(&moment(0), 1, call, Told::Committed(Ok(committed())));
    let (_, gone) = uploads.remove(1, key(9));
    let expected = [Step::Delete { file: FILE, key: key(9) }, Step::Release];
    assert_eq!(gone.into_iter().map(|(_, _, step)| step).collect::<Vec<_>>(), expected);
}

#[test]
fn many_files_take_turns_within_the_bounds() {
    let mut uploads = Uploads::default();
    let limits = SessionLimits::default();
    for id in 1..=5 {
        uploads.add(id, id, ("a", 5_000), key(id), &limits).expect("room");
    }
    let begun = uploads.take_turns(&moment(0), true).1;
    assert_eq!(begun.len(), UPLOADS_ACTIVE_MAX);
    for (id, call, _) in begun {
        let answer = Begun { id: Uuid::from_u128(u128::from(id)), chunk_bytes: 1_000, chunks: 5 };
        uploads.told(&moment(0), id, call, Told::Begun(Ok(answer)));
    }
    let turns = uploads.take_turns(&moment(0), true).1;
    let of: Vec<UploadId> = turns.iter().map(|(id, ..)| *id).collect();
    assert_eq!(of, [1, 2, 3], "one chunk of each, not three of the first");
    assert!(uploads.take_turns(&moment(0), true).1.is_empty());
}

/// Whatever is lost, late or doubled: every upload ends as the bytes that were chosen.
#[test]
fn an_upload_over_a_bad_line_ends_whole() {
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut chance = |of: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) % of
        };
        let size = chance(9) * 700;
        let mut uploads = with(size);
        let mut server: std::collections::BTreeMap<u32, Hash> = std::collections::BTreeMap::new();
        let (mut now_ms, mut under_way, mut done) = (0, Vec::<(Call, Step)>::new(), false);
        for _ in 0..2_000 {
            under_way.extend(turns(&mut uploads, now_ms));
            if under_way.is_empty() {
                match uploads.deadline_ms(true) {
                    Some(at) => now_ms = at.max(now_ms),
                    None => break,
                }
                continue;
            }
            now_ms += 1 + chance(50);
            let at = usize::try_from(chance(under_way.len() as u64)).expect("small");
            let (call, step) = under_way.swap_remove(at);
            // 0: the call is lost on its way, 1: its answer is, 2: it is busy.
            let fate = chance(6);
            let busy = || Trouble::Refused(WireError::new(ErrorCode::Overloaded, "busy"));
            let fails = match fate {
                0 | 1 => Some(Trouble::Cut),
                2 => Some(busy()),
                _ => None,
            };
            let arrives = fate == 1 || fails.is_none();
            let told = match step {
                Step::Begin { .. } => {
                    let begun = Begun { id: FILE, chunk_bytes: 1_000, chunks: size.div_ceil(CHUNK) };
                    Told::Begun(fails.map_or(Ok(begun), Err))
                }
                Step::Ask { .. } => {
                    let chunks = server.iter().map(|(number, hash)| stored(*number, *hash)).collect();
                    let there = if done { committed() } else { FileState::Uploading { chunks } };
                    Told::There(fails.map_or(Ok(Some(there)), Err))
                }
                Step::Put { number, .. } => {
                    let hash = if chance(12) == 0 { [9; 32] } else { hash_of(number) };
                    if arrives {
                        server.insert(number, hash);
                    }
                    Told::Put {
                        hash: Some(hash_of(number)),
                        outcome: fails.map_or(Ok(stored(number, hash)), Err),
                    }
                }
                Step::Commit { size, .. } => {
                    if arrives {
                        assert!(
                            (0..)
                                .take(usize::try_from(size.div_ceil(CHUNK)).expect("small"))
                                .all(|n| server.get(&n) == Some(&hash_of(n))),
                            "seed {seed}: {server:?}"
                        );
                        done = true;
                    }
                    Told::Committed(fails.map_or(Ok(committed()), Err))
                }
                Step::Delete { .. } | Step::Abort(_) | Step::Release => continue,
            };
            let _ = uploads.told(&moment(now_ms), 1, call, told.clone());
            if chance(8) == 0 {
                let _ = uploads.told(&moment(now_ms), 1, call, told);
            }
            if chance(40) == 0 {
                let _ = uploads.wake(now_ms, true);
            }
        }
        assert!(matches!(uploads.ready(5), Ready::Files(_)), "seed {seed}: {:?}", phase(&uploads));
    }
}
