//! Messages with files: they wait for them, go with them, and keep them.

use quorate_proto::frame::{Attachment, ClientFrame, Request};
use quorate_proto::rest::{ChunkStored, FileState, Upload};
use uuid::Uuid;

use super::gateway::World;
use crate::drafts::Draft;
use crate::event::{Change, Effect, Input};
use crate::upload::{Call, Step, Told, Trouble, UploadId};
use crate::view::{Row, UploadState, rows, uploads};

fn attach(world: &mut World, upload: UploadId, conversation: u64, size: u64) {
    world.input(Input::Attach { upload, conversation, name: format!("{upload}.txt"), size });
}

/// Steps that were asked for and not looked at yet.
fn steps(world: &mut World) -> Vec<(UploadId, Call, Step)> {
    let effects = std::mem::take(&mut world.effects);
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Upload(id, call, step) => Some((id, call, step)),
            _ => None,
        })
        .collect()
}

fn file(id: UploadId) -> Attachment {
    Attachment {
        file: Uuid::from_u128(u128::from(id)),
        name: format!("{id}.txt"),
        media_type: "text/plain".to_owned(),
        size: 5,
        ..Attachment::default()
    }
}

/// Answers steps as a server would until there are none; those of `held` are left open.
fn serve(world: &mut World, held: Option<UploadId>) {
    loop {
        let mut steps = steps(world);
        steps.retain(|(id, ..)| Some(*id) != held);
        if steps.is_empty() {
            return;
        }
        for (id, call, step) in steps {
            let told = match step {
                Step::Begin { size, .. } => {
                    let chunks = size.div_ceil(10);
                    Told::Begun(Ok(Upload { id: file(id).file, chunk_bytes: 10, chunks }))
                }
                Step::Put { number, length, .. } => {
                    let stored = ChunkStored { number, hash: "07".repeat(32), size: length, replicas: 3 };
                    Told::Put { hash: Some([7; 32]), outcome: Ok(stored) }
                }
                Step::Commit { .. } => Told::Committed(Ok(FileState::Committed {
                    file: file(id),
                    etag: String::new(),
                    created: 1,
                    own: true,
                })),
                Step::Ask { .. } => Told::There(Ok(None)),
                Step::Delete { .. } | Step::Abort(_) | Step::Release => continue,
            };
            world.input(Input::Uploaded(id, call, told));
        }
    }
}

fn draft(world: &mut World, text: &str) {
    world.input(Input::Draft(1, Draft { text: text.to_owned(), reply_to: None }));
}

fn send(world: &mut World, text: &str) {
    world.input(Input::Send { conversation: 1, text: text.to_owned(), reply_to: None });
}

fn shown(world: &World) -> Vec<(String, Vec<String>)> {
    rows(&world.client, 1, None, &|_| 0)
        .into_iter()
        .filter_map(|row| match row {
            Row::Message(row) => {
                let files = row.message.attachments.iter().map(|file| file.name.clone()).collect();
                Some((row.message.text.clone(), files))
            }
            _ => None,
        })
        .collect()
}

fn sent(world: &World) -> Vec<(String, Vec<Uuid>)> {
    let frames = world.up.iter().filter_map(|(_, text)| serde_json::from_str::<ClientFrame>(text).ok());
    frames
        .filter_map(|frame| match frame.request {
            Request::Send(send) => {
                Some((send.text, send.attachments.into_iter().map(|file| file.file).collect()))
            }
            _ => None,
        })
        .collect()
}

fn focused() -> World {
    let mut world = World::live(1, 2);
    world.input(Input::Focus(Some(1)));
    world.settle();
    world.effects.clear();
    world
}

#[test]
fn a_message_waits_for_its_files_and_goes_with_them() {
    let mut world = focused();
    attach(&mut world, 1, 1, 25);
    attach(&mut world, 2, 1, 5);
    draft(&mut world, "look ");
    send(&mut world, "look");
    assert!(sent(&world).is_empty() && world.client.outbox().is_empty());
    assert!(uploads(&world.client, 1).1, "it says that it waits");
    serve(&mut world, None);
    assert_eq!(sent(&world), [("look".to_owned(), vec![file(1).file, file(2).file])]);
    assert_eq!(shown(&world), [("look".to_owned(), vec!["1.txt".to_owned(), "2.txt".to_owned()])]);
    assert_eq!(world.client.draft(1).map(|draft| draft.text.as_str()).unwrap_or_default(), "");
    assert_eq!(uploads(&world.client, 1), (Vec::new(), false), "what was chosen is used up");
    let stored = world.stored.values().next().expect("in the outbox");
    assert_eq!(stored.attachments, [file(1), file(2)]);
}

#[test]
fn files_that_are_there_go_at_once_without_a_word() {
    let mut world = focused();
    attach(&mut world, 1, 1, 0);
    serve(&mut world, None);
    assert_eq!(uploads(&world.client, 1).0[0].state, UploadState::Ready);
    send(&mut world, "");
    assert_eq!(sent(&world), [(String::new(), vec![file(1).file])]);
    send(&mut world, "");
    assert_eq!(sent(&world).len(), 1, "without a file an empty message is none");
}

#[test]
fn other_words_or_another_file_wait_for_another_send() {
    for change in 0..3 {
        let mut world = focused();
        attach(&mut world, 1, 1, 25);
        draft(&mut world, "look");
        send(&mut world, "look");
        match change {
            0 => draft(&mut world, "look h"),
            1 => attach(&mut world, 2, 1, 5),
            _ => world.input(Input::Detach(1)),
        }
        serve(&mut world, None);
        assert!(sent(&world).is_empty() && !uploads(&world.client, 1).1, "change {change}");
    }
}

#[test]
fn a_file_that_fails_leaves_text_and_files_where_they_are() {
    let mut world = focused();
    attach(&mut world, 1, 1, 5);
    attach(&mut world, 2, 1, 5);
    draft(&mut world, "look");
    send(&mut world, "look");
    let open = steps(&mut world);
    let (id, call, _) = open.into_iter().find(|(id, ..)| *id == 2).expect("it has begun");
    world.input(Input::Uploaded(id, call, Told::Begun(Err(Trouble::Unreadable))));
    serve(&mut world, None);
    let (rows, waits) = uploads(&world.client, 1);
    assert_eq!((rows.len(), rows[1].state, waits), (2, UploadState::Failed, false));
    assert_eq!(world.client.draft(1).map(|draft| draft.text.as_str()), Some("look"));
    send(&mut world, "look");
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Refused(None, _))));
    assert!(sent(&world).is_empty());
}

#[test]
fn files_go_on_while_another_conversation_is_open_and_stay_in_theirs() {
    let mut world = focused();
    attach(&mut world, 1, 1, 25);
    attach(&mut world, 2, 2, 25);
    draft(&mut world, "look");
    send(&mut world, "look");
    world.input(Input::Focus(Some(2)));
    serve(&mut world, Some(2));
    assert_eq!(sent(&world), [("look".to_owned(), vec![file(1).file])]);
    assert_eq!(uploads(&world.client, 2).0.len(), 1);
}

#[test]
fn offline_nothing_travels_and_online_it_goes_on() {
    let mut world = focused();
    world.input(Input::Offline);
    attach(&mut world, 1, 1, 5);
    assert!(steps(&mut world).is_empty());
    world.input(Input::Online);
    assert!(matches!(steps(&mut world).as_slice(), [(1, _, Step::Begin { .. })]));
}

#[test]
fn who_signs_out_leaves_no_file_behind() {
    let mut world = focused();
    attach(&mut world, 1, 1, 5);
    let (_, call, _) = steps(&mut world).remove(0);
    world.input(Input::SignOut);
    let left = steps(&mut world);
    assert_eq!(left, [(1, 0, Step::Abort(call)), (1, 0, Step::Release)]);
}

#[test]
fn a_message_taken_back_or_hidden_shows_no_files() {
    let mut world = focused();
    attach(&mut world, 1, 1, 0);
    serve(&mut world, None);
    world.effects.clear();
    send(&mut world, "");
    assert!(world.effects.contains(&Effect::Changed(Change::Timeline(1))));
    world.settle();
    assert_eq!(shown(&world).len(), 1);
    let id = world.moment().client_message_id();
    let deed = crate::Deed::Delete { conversation: 1, sequence: 1, through: None, for_me: false };
    world.input(Input::Ask(id, deed));
    world.settle();
    assert_eq!(shown(&world), [(String::new(), Vec::new())]);
}
