//! What the machine makes is whole, and whatever is taken out of it is missed.

use quorate_proto::rpc::Command;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{self, outcome};

use super::*;
use crate::machine::{self, Context};

/// A state as the machine makes it: two people, a group, three messages.
fn state() -> BTreeMap<Key, Bytes> {
    let mut state: BTreeMap<Key, Bytes> = BTreeMap::new();
    let mut index = 0;
    let mut apply = |state: &mut BTreeMap<Key, Bytes>, user_id: u64, action: Action| {
        index += 1;
        let command = Command {
            user_id,
            session_id: Bytes::from_static(&[7; 16]),
            command_id: Bytes::copy_from_slice(&u128::from(index).to_be_bytes()),
            action: Some(action),
            ..Command::default()
        };
        let context = Context { index, term: 1, log_time_ms: 1_000 + index, machine_version: 1 };
        let applied = machine::apply(&*state, context, &command).expect("reads");
        let rejected = matches!(applied.outcome.result, Some(outcome::Result::Rejected(_)) | None);
        assert!(!rejected, "{:?}", applied.outcome);
        for (key, value) in applied.writes {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    };
    for name in ["ann", "bob"] {
        let (name, display_name) = (name.to_owned(), name.to_owned());
        let create = rpc::CreateUser { name, display_name, password_phc: "$argon2id$".to_owned() };
        apply(&mut state, 0, Action::CreateUser(create));
    }
    let session = rpc::CreateSession {
        user_id: 1,
        session_id: Bytes::from_static(&[7; 16]),
        refresh_hash: Bytes::from_static(&[1; 32]),
        device: String::new(),
        ..rpc::CreateSession::default()
    };
    apply(&mut state, 0, Action::CreateSession(session));
    let group = rpc::CreateGroup { title: "room".to_owned(), member_ids: vec![2], ..Default::default() };
    apply(&mut state, 1, Action::CreateGroup(group));
    for text in ["one", "two", "three"] {
        let send = rpc::Send { conversation_id: 1, text: text.to_owned(), ..rpc::Send::default() };
        apply(&mut state, 1, Action::Send(send));
    }
    state
}

/// As the checkpoint stores it, each run of one member.
pub(crate) fn report(state: &BTreeMap<Key, Bytes>) -> Report {
    let stored = state.iter().map(|(key, value)| {
        let mut run = Vec::new();
        if key.is_run() {
            run.extend_from_slice(&key.ordinal().to_be_bytes());
            run.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
        }
        run.extend_from_slice(value);
        Ok((Bytes::copy_from_slice(key.as_bytes()), Bytes::from(run)))
    });
    check(stored).expect("reads")
}

#[test]
fn what_the_machine_makes_is_whole() {
    let report = report(&state());
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.counts["messages"], 3);
    assert_eq!(report.counts["users"], 2);
}

/// A state with files: one that a message shows, of several parts, and one that none does.
fn state_with_files() -> BTreeMap<Key, Bytes> {
    let mut state = state();
    let mut apply = |index: u64, action: Action| {
        let command = Command {
            user_id: 1,
            session_id: Bytes::from_static(&[7; 16]),
            command_id: Bytes::copy_from_slice(&u128::from(index).to_be_bytes()),
            action: Some(action),
            ..Command::default()
        };
        let machine_version = machine::VERSION_FILES;
        let context = Context { index, term: 1, log_time_ms: 5_000, machine_version };
        let applied = machine::apply_among(&[vec![1]], &state, context, &command).expect("reads");
        let rejected = matches!(applied.outcome.result, Some(outcome::Result::Rejected(_)) | None);
        assert!(!rejected, "{:?}", applied.outcome);
        for (key, value) in applied.writes {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    };
    for number in [1_u8, 2] {
        let chunks = 70_u64;
        let commit = rpc::CommitFile {
            file_id: Bytes::from(vec![number; 16]),
            name: "file".to_owned(),
            media_type: "text/plain".to_owned(),
            size: chunks * quorate_proto::limits::CHUNK_BYTES as u64,
            chunks: Bytes::from(vec![number; 32 * 70]),
            receipts: vec![rpc::ChunkReceipts { replica_id: 1, held: Bytes::from(vec![0xff; 9]) }],
            received_ms: 5_000,
            ..rpc::CommitFile::default()
        };
        apply(900 + u64::from(number), Action::CommitFile(commit));
    }
    let shown = rpc::AttachFile { file_id: Bytes::from(vec![1; 16]), ..rpc::AttachFile::default() };
    let send = rpc::Send { conversation_id: 1, attachments: vec![shown], ..rpc::Send::default() };
    apply(910, Action::Send(send));
    state
}

#[test]
fn files_are_counted_again_and_every_missing_record_of_theirs_is_noticed() {
    let whole = state_with_files();
    let counted = report(&whole);
    assert!(counted.is_whole(), "{counted}");
    assert_eq!(counted.counts["files"], 2);
    let spaces = [Space::File, Space::FileRef, Space::FileChunks, Space::FileExpiry].map(|space| space as u8);
    let of_files = |key: &&Key| {
        let counts = [FILE_QUEUE, FILE_USE].contains(&number(&key.as_bytes()[1..]));
        spaces.contains(&key.space()) || (key.space() == Space::Counters as u8 && counts)
    };
    let keys: Vec<Key> = whole.keys().filter(of_files).copied().collect();
    assert!(keys.len() >= 10, "{keys:?}");
    for key in keys {
        let mut broken = whole.clone();
        broken.remove(&key);
        // Of the file that is shown again nobody misses its place in the queue but the queue's ends.
        assert!(!report(&broken).is_whole(), "nobody misses {key:?}");
    }
}

#[test]
fn every_missing_record_is_noticed() {
    let whole = state();
    // What stands alone is missed by nobody: a session says only whose it is, and a key only that it is.
    let alone = [Space::Session, Space::Direct].map(|space| space as u8);
    for key in whole.keys().filter(|key| !alone.contains(&key.as_bytes()[0])) {
        let mut broken = whole.clone();
        broken.remove(key);
        assert!(!report(&broken).is_whole(), "nobody misses {key:?}");
    }
}
