//! Files by their commands and refusals, over a map.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_proto::limits::{
    ATTACHMENTS_MAX, CHUNK_BYTES, FILE_BYTES_MAX, FILE_KEPT_MS, FILES_BYTES_PER_USER_MAX, RECEIPT_MS,
};
use quorate_proto::rpc::{self, event};

use super::files::SeenBy;
use super::tests::{World, accepted, code, conversation_of, send};
use super::*;
use crate::store::{Key, Space};

pub(super) const CHUNK: u64 = CHUNK_BYTES as u64;

pub(super) fn id(number: u8) -> Bytes {
    Bytes::from(vec![number; 16])
}

pub(super) fn array(number: u8) -> [u8; 16] {
    [number; 16]
}

/// So many different hashes.
pub(super) fn hashes(count: u64) -> Bytes {
    (0..count).flat_map(|number| *blake3::hash(&number.to_be_bytes()).as_bytes()).collect()
}

/// Everything on these replicas.
fn held_by(replicas: &[u64]) -> Vec<rpc::ChunkReceipts> {
    let all = Bytes::from(vec![0xff; 65]);
    replicas.iter().map(|id| rpc::ChunkReceipts { replica_id: *id, held: all.clone() }).collect()
}

/// A file of so many bytes that the first three replicas have.
pub(super) fn file(number: u8, size: u64, received_ms: u64) -> rpc::CommitFile {
    rpc::CommitFile {
        file_id: id(number),
        name: format!("file {number}.bin"),
        media_type: "application/octet-stream".into(),
        size,
        chunks: hashes(size.div_ceil(CHUNK)),
        receipts: held_by(&[1, 2, 3]),
        received_ms,
        ..rpc::CommitFile::default()
    }
}

fn among(world: &mut World, voters: &[&[u64]], user: u64, action: Action) -> (Outcome, Vec<Event>) {
    let voters: Vec<Vec<u64>> = voters.iter().map(|set| set.to_vec()).collect();
    let command = world.command(user, action);
    world.index += 1;
    let context = Context {
        index: world.index,
        term: 1,
        log_time_ms: world.now,
        machine_version: world.machine_version,
    };
    let applied = apply_among(&voters, &world.state, context, &command).expect("a map does not fail");
    for (key, value) in &applied.before {
        assert_eq!(world.state.get(key), value.as_ref(), "what is said to be replaced is what is there");
    }
    for (key, value) in applied.writes {
        match value {
            Some(value) => {
                assert!(
                    value.len() <= quorate_proto::limits::STORED_VALUE_BYTES_MAX,
                    "{} bytes",
                    value.len()
                );
                world.state.insert(key, value)
            }
            None => world.state.remove(&key),
        };
    }
    (applied.outcome, applied.events)
}

const FIVE: &[&[u64]] = &[&[1, 2, 3, 4, 5]];

pub(super) fn commit(world: &mut World, user: u64, commit: rpc::CommitFile) -> Outcome {
    among(world, FIVE, user, Action::CommitFile(commit)).0
}

pub(super) fn with_files(conversation: u64, files: &[rpc::AttachFile]) -> Action {
    let Action::Send(send) = send(conversation, "look") else { unreachable!("it is a message") };
    Action::Send(rpc::Send { attachments: files.to_vec(), ..send })
}

pub(super) fn own(number: u8) -> rpc::AttachFile {
    rpc::AttachFile { file_id: id(number), conversation_id: 0, sequence: 0 }
}

pub(super) fn seen_in(number: u8, conversation_id: u64, sequence: u64) -> rpc::AttachFile {
    rpc::AttachFile { file_id: id(number), conversation_id, sequence }
}

pub(super) fn delete(number: u8) -> Action {
    Action::DeleteFile(rpc::DeleteFile { file_id: id(number) })
}

pub(super) fn is_visible(world: &World, number: u8, user: u64, place: Option<(u64, u64)>) -> bool {
    let seen_by =
        place.map_or(SeenBy::Anything, |(conversation, sequence)| SeenBy::Message(conversation, sequence));
    files::visible(&world.state, &array(number), user, seen_by).expect("reads").is_some()
}

fn release(world: &mut World, conversation: u64, sequence: u64) {
    world.index += 1;
    let context = Context {
        index: world.index,
        term: 1,
        log_time_ms: world.now,
        machine_version: world.machine_version,
    };
    let state = world.state.clone();
    let mut step = Step::begin(&state, context).expect("reads");
    step.release_attachments(conversation, sequence).expect("reads");
    for (key, value) in step.state.into_parts().0 {
        match value {
            Some(value) => world.state.insert(key, value),
            None => world.state.remove(&key),
        };
    }
}

/// Time passes, and an entry is applied.
pub(super) fn after(world: &mut World, ms: u64) {
    world.now += ms;
    for _ in 0..4 {
        world.index += 1;
        let context = Context {
            index: world.index,
            term: 1,
            log_time_ms: world.now,
            machine_version: world.machine_version,
        };
        for (key, value) in tick(&world.state, context).expect("reads").0 {
            match value {
                Some(value) => world.state.insert(key, value),
                None => world.state.remove(&key),
            };
        }
    }
}

/// Keys of files, but for the queue's ends.
pub(super) fn traces(world: &World) -> BTreeSet<u8> {
    let spaces = [Space::File, Space::FileRef, Space::FileChunks, Space::FileExpiry].map(|space| space as u8);
    world.state.keys().map(Key::space).filter(|space| spaces.contains(space)).collect()
}

#[test]
fn a_file_is_committed_when_a_majority_of_the_voters_has_every_chunk() {
    let mut world = World::new();
    let ann = world.user("ann");
    world.now = 9 * RECEIPT_MS;
    let now = world.now;
    let mut one_short = file(1, 9 * CHUNK + 1, now);
    let mut held = vec![0xff, 0x03];
    one_short.receipts[2].held = Bytes::from(held.clone());
    held[1] = 0x01;
    let mut gap = one_short.clone();
    gap.receipts[2].held = Bytes::from(held);
    let cases: Vec<(rpc::CommitFile, &[&[u64]], bool)> = vec![
        (file(1, CHUNK, now), FIVE, true),
        (one_short, FIVE, true),
        (gap, FIVE, false),
        (file(1, CHUNK, now), &[&[1, 2, 3, 4, 5, 6]], false),
        (file(1, CHUNK, now), &[&[3, 4, 5, 6, 7]], false),
        (file(1, CHUNK, now), &[&[1, 2, 3], &[1, 4, 5]], false),
        (file(1, CHUNK, now), &[&[1, 2, 3], &[2, 3, 4]], true),
        (file(1, CHUNK, now), &[], false),
        (rpc::CommitFile { receipts: held_by(&[1, 1, 1, 2, 2]), ..file(1, CHUNK, now) }, FIVE, false),
        (file(1, 0, 0), &[], true),
        (file(1, CHUNK, now - RECEIPT_MS), FIVE, true),
        (file(1, CHUNK, now - RECEIPT_MS - 1), FIVE, false),
    ];
    for (at, (asked, voters, is_taken)) in cases.into_iter().enumerate() {
        let mut world = World { state: world.state.clone(), next_id: 1_000, now, ..World::new() };
        let command = Action::CommitFile(asked);
        let (outcome, _) = among(&mut world, voters, ann, command);
        match is_taken {
            true => accepted(&outcome),
            false => {
                assert_eq!(code(&outcome), "unavailable", "case {at}");
                assert!(traces(&world).is_empty(), "case {at}");
            }
        }
    }
}

#[test]
fn a_commit_that_lacked_a_majority_may_come_again_under_its_id() {
    let mut world = World::new();
    let ann = world.user("ann");
    let now = world.now;
    let lacking = rpc::CommitFile { receipts: held_by(&[1, 2]), ..file(1, CHUNK, now) };
    let first = world.command(ann, Action::CommitFile(lacking));
    assert_eq!(code(&world.apply(&first).0), "unavailable");
    let again = Command { action: Some(Action::CommitFile(file(1, CHUNK, now))), ..first };
    let context = Context { index: 90, term: 1, log_time_ms: now, machine_version: VERSION_MAX };
    let applied = apply_among(&[vec![1, 2, 3]], &world.state, context, &again).expect("reads");
    accepted(&applied.outcome);
}

#[test]
fn what_is_said_of_a_file_is_checked() {
    let mut world = World::new();
    let ann = world.user("ann");
    let now = world.now;
    let good = || rpc::CommitFile { thumbnail: hashes(1), thumbnail_size: 9, ..file(1, 2 * CHUNK, now) };
    type Change = fn(&mut rpc::CommitFile);
    let wrong: [(Change, &str); 11] = [
        (|it| it.file_id = Bytes::from_static(b"short"), "invalid"),
        (|it| it.file_id = Bytes::from(vec![0; 16]), "invalid"),
        (|it| it.name = "../up".into(), "invalid"),
        (|it| it.name = String::new(), "invalid"),
        (|it| it.media_type = "text/html; charset=x".into(), "invalid"),
        (|it| it.size += 1, "invalid"),
        (|it| it.chunks = hashes(1), "invalid"),
        (|it| it.thumbnail = Bytes::from_static(b"x"), "invalid"),
        (|it| it.thumbnail_size = 0, "invalid"),
        (|it| it.thumbnail_size = CHUNK as u32 + 1, "invalid"),
        (|it| it.size = FILE_BYTES_MAX + 1, "too_large"),
    ];
    for (at, (change, refusal)) in wrong.into_iter().enumerate() {
        let mut asked = good();
        change(&mut asked);
        assert_eq!(code(&commit(&mut world, ann, asked)), refusal, "case {at}");
    }
    // The largest, whose list is spread over several records.
    accepted(&commit(&mut world, ann, file(2, FILE_BYTES_MAX, now)));
    let list = hashes(FILE_BYTES_MAX / CHUNK);
    let stored = world.state.file(&array(2)).expect("reads").expect("there");
    let all = files::hashes_of(&world.state, &array(2), &stored).expect("reads");
    assert_eq!(all.concat(), list);
    assert_eq!(
        files::chunk_hash(&world.state, &array(2), 300).expect("reads").expect("there")[..],
        list[9_600..9_632]
    );
    assert_eq!(files::chunk_hash(&world.state, &array(2), FILE_BYTES_MAX / CHUNK).expect("reads"), None);
    accepted(&commit(&mut world, ann, good()));
}

#[test]
fn one_id_is_one_file() {
    let mut world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let now = world.now;
    accepted(&commit(&mut world, ann, file(1, CHUNK, now)));
    accepted(&commit(&mut world, ann, file(1, CHUNK, now)));
    assert_eq!(world.state.file_use(ann).expect("reads").files, 1);
    assert_eq!(code(&commit(&mut world, bob, file(1, CHUNK, now))), "id_conflict");
    assert_eq!(code(&commit(&mut world, ann, file(1, 2 * CHUNK, now))), "id_conflict");
}

#[test]
fn a_users_files_have_room_for_so_much_and_no_more() {
    let mut world = World::new();
    let ann = world.user("ann");
    let now = world.now;
    let count = FILES_BYTES_PER_USER_MAX / FILE_BYTES_MAX;
    for number in 1..=count {
        accepted(&commit(&mut world, ann, file(number as u8, FILE_BYTES_MAX, now)));
    }
    assert_eq!(code(&commit(&mut world, ann, file(100, 1, now))), "too_large");
    accepted(&among(&mut world, FIVE, ann, delete(1)).0);
    accepted(&commit(&mut world, ann, file(100, 1, now)));
    let used = world.state.file_use(ann).expect("reads");
    assert_eq!((used.bytes, used.files), ((count - 1) * FILE_BYTES_MAX + 1, count));
}

#[test]
fn a_message_shows_files_to_those_who_may_read_it_and_to_nobody_else() {
    let mut world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.user(name));
    let now = world.now;
    let group = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let room = conversation_of(&world.act(ann, Action::CreateGroup(group)));
    accepted(&commit(&mut world, ann, file(1, 5, now)));
    assert!(is_visible(&world, 1, ann, None) && !is_visible(&world, 1, bob, None));
    assert_eq!(code(&world.act(bob, with_files(room, &[own(1)]))), "not_found", "a known id grants nothing");
    let (sent, events) = among(&mut world, FIVE, ann, with_files(room, &[own(1)]));
    accepted(&sent);
    let Some(event::Kind::Message(message)) = &events[0].kind else { panic!("no message: {events:?}") };
    let shown = &message.attachments[0];
    assert_eq!((shown.name.as_str(), shown.size, shown.has_thumbnail), ("file 1.bin", 5, false));
    assert!(is_visible(&world, 1, bob, None) && is_visible(&world, 1, bob, Some((room, 1))));
    assert!(!is_visible(&world, 1, bob, Some((room, 2))) && !is_visible(&world, 1, bob, Some((99, 1))));
    assert!(!is_visible(&world, 1, eve, None) && !is_visible(&world, 1, eve, Some((room, 1))));
    // Who comes later does not see what was before her; who goes keeps what she saw, and no more.
    let add = |user_id| Action::AddMember(rpc::AddMember { conversation_id: room, user_id });
    let remove = |user_id| Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id });
    accepted(&world.act(ann, add(eve)));
    assert!(!is_visible(&world, 1, eve, None) && !is_visible(&world, 1, eve, Some((room, 1))));
    accepted(&world.act(ann, remove(bob)));
    accepted(&commit(&mut world, ann, file(2, 5, now)));
    accepted(&world.act(ann, with_files(room, &[own(2)])));
    assert!(is_visible(&world, 1, bob, None) && !is_visible(&world, 2, bob, None));
    assert!(is_visible(&world, 2, eve, None));
    // Forwarded where she may see it, by the message that shows it.
    let other = world.direct(eve, bob);
    assert_eq!(code(&world.act(eve, with_files(other, &[seen_in(1, room, 1)]))), "not_found");
    assert_eq!(code(&world.act(eve, with_files(other, &[own(2)]))), "not_found", "it is not her own");
    accepted(&world.act(eve, with_files(other, &[seen_in(2, room, 2)])));
    assert!(is_visible(&world, 2, bob, None));
    assert_eq!(world.state.file(&array(2)).expect("reads").expect("there").references, 2);
}

/// The text of a message that she had taken out of her sight was not told her, and its file was given to who asked for it.
#[test]
fn a_message_that_is_hidden_shows_no_file_to_who_hid_it() {
    let mut world = World::new();
    let [ann, bob] = ["ann", "bob"].map(|name| world.user(name));
    let now = world.now;
    let (room, other) = (world.direct(ann, bob), world.user("eve"));
    let other = world.direct(bob, other);
    accepted(&commit(&mut world, ann, file(1, 5, now)));
    for _ in 0..3 {
        accepted(&world.act(ann, with_files(room, &[own(1)])));
    }
    let hide = |first, last| Action::HideMessages(rpc::HideMessages { conversation_id: room, first, last });
    accepted(&world.act(bob, hide(1, 2)));
    assert!(!is_visible(&world, 1, bob, Some((room, 1))) && !is_visible(&world, 1, bob, Some((room, 2))));
    assert!(is_visible(&world, 1, bob, Some((room, 3))) && is_visible(&world, 1, bob, None));
    assert!(is_visible(&world, 1, ann, Some((room, 1))), "it is her own, and she hides nothing");
    accepted(&world.act(bob, hide(3, 3)));
    assert!(!is_visible(&world, 1, bob, Some((room, 3))) && !is_visible(&world, 1, bob, None));
    assert_eq!(code(&world.act(bob, with_files(other, &[seen_in(1, room, 3)]))), "not_found");
    accepted(&world.act(ann, with_files(room, &[own(1)])));
    assert!(is_visible(&world, 1, bob, None), "a later message shows it again");
}

#[test]
fn a_message_has_at_most_so_many_files_and_each_once() {
    let mut world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let now = world.now;
    let room = world.direct(ann, bob);
    let all: Vec<rpc::AttachFile> = (1..=ATTACHMENTS_MAX as u8 + 1).map(own).collect();
    for number in 1..=ATTACHMENTS_MAX as u8 + 1 {
        accepted(&commit(&mut world, ann, file(number, 1, now)));
    }
    assert_eq!(code(&world.act(ann, with_files(room, &all))), "too_large");
    assert_eq!(code(&world.act(ann, with_files(room, &[own(1), own(1)]))), "invalid");
    assert_eq!(
        world.state.file(&array(1)).expect("reads").expect("there").references,
        0,
        "a refusal leaves no trace"
    );
    accepted(&world.act(ann, with_files(room, &all[..ATTACHMENTS_MAX])));
    // Files need no words; a message without either is none.
    let wordless =
        |attachments| Action::Send(rpc::Send { conversation_id: room, attachments, ..Default::default() });
    accepted(&world.act(ann, wordless(vec![own(11)])));
    assert_eq!(code(&world.act(ann, wordless(Vec::new()))), "invalid");
}

#[test]
fn a_file_goes_a_day_after_the_last_message_that_shows_it() {
    let mut world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let room = world.direct(ann, bob);
    let now = world.now;
    accepted(&commit(&mut world, ann, file(1, CHUNK, now)));
    after(&mut world, FILE_KEPT_MS / 2);
    for _ in 0..2 {
        accepted(&world.act(ann, with_files(room, &[own(1)])));
    }
    after(&mut world, 3 * FILE_KEPT_MS);
    assert!(is_visible(&world, 1, bob, None), "as long as a message shows it");
    assert_eq!(code(&world.act(ann, delete(1))), "forbidden");
    release(&mut world, room, 1);
    release(&mut world, room, 1);
    after(&mut world, 2 * FILE_KEPT_MS);
    assert!(is_visible(&world, 1, bob, None), "the other message still does");
    release(&mut world, room, 2);
    assert!(!is_visible(&world, 1, bob, None) && is_visible(&world, 1, ann, None));
    after(&mut world, FILE_KEPT_MS - 1);
    // Shown again: the countdown is over, and another begins with the end of this one.
    accepted(&world.act(ann, with_files(room, &[own(1)])));
    after(&mut world, FILE_KEPT_MS);
    assert!(is_visible(&world, 1, bob, None));
    release(&mut world, room, 3);
    after(&mut world, FILE_KEPT_MS - 1);
    assert!(is_visible(&world, 1, ann, None));
    after(&mut world, 1);
    assert!(!is_visible(&world, 1, ann, None));
    assert!(traces(&world).is_empty(), "{:?}", traces(&world));
    assert_eq!(world.state.file_use(ann).expect("reads").files, 0);
}

#[test]
fn what_was_never_shown_goes_in_a_day_and_no_entry_removes_many() {
    let mut world = World::new();
    let ann = world.user("ann");
    let now = world.now;
    for number in 1..=30 {
        accepted(&commit(&mut world, ann, file(number, 65 * CHUNK, now)));
    }
    world.now += FILE_KEPT_MS;
    let context =
        Context { index: 900, term: 1, log_time_ms: world.now, machine_version: world.machine_version };
    let (writes, ..) = tick(&world.state, context).expect("reads");
    assert!(writes.len() < 64, "{} keys in one entry", writes.len());
    after(&mut world, 0);
    assert!(traces(&world).is_empty(), "{:?}", traces(&world));
}

#[test]
fn before_the_version_nobody_has_files() {
    let mut world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let room = world.direct(ann, bob);
    let now = world.now;
    world.machine_version = VERSION_FILES - 1;
    assert_eq!(code(&commit(&mut world, ann, file(1, 0, now))), "unsupported");
    // Programs of the version before do not know that field of a message: what is left of it is sent, or is nothing.
    accepted(&world.act(ann, with_files(room, &[own(1)])));
    let wordless = rpc::Send { conversation_id: room, attachments: vec![own(1)], ..rpc::Send::default() };
    assert_eq!(code(&world.act(ann, Action::Send(wordless.clone()))), "invalid");
    let forward = Some(rpc::MessageRef { conversation_id: room, sequence: 1 });
    let handed_on = Action::Send(rpc::Send { forward, ..wordless });
    accepted(&world.act(bob, handed_on.clone()));
    world.machine_version = VERSION_DOMAIN - 1;
    assert_eq!(code(&world.act(bob, handed_on)), "invalid", "nor that of a message that is handed on");
    world.machine_version = VERSION_FILES - 1;
    let messages = world.state.messages(room, 1, 9, 9).expect("reads");
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|(_, message)| message.attachments.is_empty() && message.text == "look"));
    let raise = Action::SetMachineVersion(rpc::SetMachineVersion { version: VERSION_FILES });
    accepted(&world.act(0, raise));
    assert!(world.state.contains_key(&Key::one(Space::Counters, 100)), "looked at by every entry");
    accepted(&commit(&mut world, ann, file(1, 0, now)));
}

#[test]
fn a_message_is_handed_on_with_its_files() {
    let mut world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.user(name));
    let now = world.now;
    let (pair, other) = (world.direct(ann, bob), world.direct(bob, eve));
    accepted(&commit(&mut world, ann, file(1, 5, now)));
    accepted(&commit(&mut world, bob, file(2, 5, now)));
    let wordless =
        |conversation_id, attachments| rpc::Send { conversation_id, attachments, ..Default::default() };
    accepted(&world.act(ann, Action::Send(wordless(pair, vec![own(1)]))));
    let forward = Some(rpc::MessageRef { conversation_id: pair, sequence: 1 });
    let with_another = rpc::Send { forward, ..wordless(other, vec![own(2)]) };
    assert_eq!(code(&world.act(bob, Action::Send(with_another))), "invalid");
    assert!(!is_visible(&world, 1, eve, None));
    accepted(&world.act(bob, Action::Send(rpc::Send { forward, ..wordless(other, Vec::new()) })));
    let message = world.state.message(other, 1).expect("reads").expect("there");
    assert_eq!((message.attachments.as_slice(), message.forwarded_from), ([id(1)].as_slice(), ann));
    assert!(is_visible(&world, 1, eve, None) && !is_visible(&world, 2, eve, None));
    // What was handed on shows the file when the first message does no longer.
    let delete =
        |conversation_id| Action::DeleteMessages(rpc::DeleteMessages { conversation_id, first: 1, last: 1 });
    accepted(&world.act(ann, delete(pair)));
    after(&mut world, 2 * FILE_KEPT_MS);
    assert!(is_visible(&world, 1, eve, None));
    world.must_be_whole();
    accepted(&world.act(bob, delete(other)));
    assert!(!is_visible(&world, 1, eve, None) && is_visible(&world, 1, ann, None));
    world.must_be_whole();
    after(&mut world, FILE_KEPT_MS);
    assert!(!is_visible(&world, 1, ann, None));
    assert!(traces(&world).is_empty(), "{:?}", traces(&world));
    world.must_be_whole();
}

#[test]
fn what_a_retention_rule_takes_back_shows_its_files_no_longer() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let mut world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let now = world.now;
    let group = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let room = conversation_of(&world.act(ann, Action::CreateGroup(group)));
    accepted(&commit(&mut world, ann, file(1, 5, now)));
    accepted(&world.act(ann, with_files(room, &[own(1)])));
    let rule = rpc::ChangeConversation {
        conversation_id: room,
        retention_ms: Some(2 * DAY_MS),
        ..rpc::ChangeConversation::default()
    };
    accepted(&world.act(ann, Action::ChangeConversation(rule)));
    after(&mut world, DAY_MS);
    assert!(is_visible(&world, 1, bob, None));
    after(&mut world, 2 * DAY_MS);
    let message = world.state.message(room, 1).expect("reads").expect("its place is kept");
    assert!(message.deleted_ms != 0 && message.attachments.is_empty());
    assert!(!is_visible(&world, 1, bob, None) && is_visible(&world, 1, ann, None));
    world.must_be_whole();
    after(&mut world, FILE_KEPT_MS);
    assert!(traces(&world).is_empty(), "{:?}", traces(&world));
    world.must_be_whole();
}
