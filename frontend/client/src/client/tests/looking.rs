//! Old messages of the outbox: whether they are there already, and what calls for the reader.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{ConversationKind, MeKind, Preferences, PresenceState};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::limits::OUTBOX_AGE_MS_MAX;

use super::gateway::World;
use crate::client::{Client, Config};
use crate::event::{Effect, Input};
use crate::outbox::{ItemState, StoredItem};
use crate::view::notice;

/// Says something whose answer is lost, and writes the page off. `committed`: the cluster has it.
fn lost(world: &mut World, committed: bool) -> StoredItem {
    world.input(Input::Send { conversation: 1, text: "hi".into(), reply_to: None });
    if committed {
        world.serve_one();
    }
    let socket = world.socket();
    world.cut(socket, 1006);
    world.opening.clear();
    world.stored.values().next().expect("stored").clone()
}

/// The page is opened again after a day, with what was stored; nothing is open in it.
fn a_day_later(world: &mut World, stored: StoredItem) {
    world.now_ms += OUTBOX_AGE_MS_MAX + 1;
    world.client = Client::new(Config::default());
    world.input(Input::Restore(vec![stored]));
    world.sign_in();
}

fn state(world: &World, id: ClientMessageId) -> Option<ItemState> {
    world.client.outbox().get(id).map(|item| item.state.clone())
}

#[test]
fn an_old_message_that_is_there_needs_nobody() {
    let mut world = World::live(1, 1);
    let stored = lost(&mut world, true);
    // More than a page has been written since.
    for n in 0..250 {
        world.other_writes(1, &format!("line {n}"));
    }
    a_day_later(&mut world, stored);
    world.settle();
    assert!(world.client.outbox().is_empty() && world.stored.is_empty(), "{:?}", world.client.outbox());
    assert_eq!(world.messages(1).iter().filter(|message| message.text == "hi").count(), 1);
}

#[test]
fn an_old_message_that_is_not_there_waits_for_a_tap() {
    let mut world = World::live(1, 1);
    let stored = lost(&mut world, false);
    for n in 0..250 {
        world.other_writes(1, &format!("line {n}"));
    }
    let id = stored.id;
    a_day_later(&mut world, stored);
    world.settle();
    assert_eq!(state(&world, id), Some(ItemState::NeedsTap));
    world.input(Input::Retry(id));
    world.settle();
    assert!(world.messages(1).iter().any(|message| message.client_message_id == id));
    world.assert_agreement();
}

#[test]
fn what_was_refused_as_too_old_does_not_double() {
    for committed in [true, false] {
        let mut world = World::live(1, 1);
        let mut stored = lost(&mut world, committed);
        let id = stored.id;
        stored.failed = Some(WireError::new(ErrorCode::Expired, "too old"));
        a_day_later(&mut world, stored);
        world.settle();
        assert!(matches!(state(&world, id), Some(ItemState::Failed(_))), "{:?}", state(&world, id));
        world.input(Input::Retry(id));
        world.settle();
        assert_eq!(world.messages(1).len(), 1, "there already: {committed}");
        assert_eq!(world.messages(1)[0].client_message_id == id, committed);
        assert!(world.client.outbox().is_empty());
    }
}

#[test]
fn where_nobody_can_tell_the_words_say_so() {
    let mut world = World::live(1, 2);
    let mut stored = lost(&mut world, true);
    let id = stored.id;
    stored.failed = Some(WireError::new(ErrorCode::Expired, "too old"));
    // Of a conversation that is not hers any more nothing can be read.
    stored.conversation = 99;
    a_day_later(&mut world, stored);
    world.settle();
    world.refuse_history = Some(WireError::new(ErrorCode::Forbidden, "not a member"));
    world.input(Input::Retry(id));
    world.settle();
    let Some(ItemState::Failed(error)) = state(&world, id) else { panic!("{:?}", state(&world, id)) };
    assert!(error.message.contains("may have been sent"), "{error:?}");
    assert_eq!(world.stored.get(&id).and_then(|item| item.failed.clone()), Some(error), "across reloads too");
}

fn calls(world: &mut World, text: &str) -> bool {
    world.effects.clear();
    world.other_writes(1, text);
    world.step_all();
    world.effects.iter().any(|effect| matches!(effect, Effect::Calls(1, _)))
}

fn group() -> World {
    let mut world = World::new(1, 1);
    world.kind = ConversationKind::Group;
    world.sign_in();
    world.settle();
    world
}

#[test]
fn only_what_concerns_the_reader_calls_for_her() {
    let mut direct = World::live(1, 1);
    assert!(calls(&mut direct, "good morning"));
    let mut world = group();
    assert!(!calls(&mut world, "hello all"));
    assert!(calls(&mut world, "hello @u1"));
    world.input(Input::Presence(PresenceState::Dnd));
    assert!(!calls(&mut world, "@u1, are you there?"), "she wants to be left alone");
    world.input(Input::Presence(PresenceState::Idle));
    assert!(calls(&mut world, "@u1?"));
    let preferences = Preferences { muted_until: u64::MAX, ..Preferences::default() };
    world.me_commits(MeKind::Preferences { conversation: 1, preferences });
    assert!(!calls(&mut world, "@u1!"), "silent");
}

#[test]
fn what_was_read_elsewhere_is_no_news() {
    let mut world = group();
    assert!(calls(&mut world, "hello @u1"));
    let said = notice(&world.client, 1, 1).expect("news");
    assert_eq!((said.title.as_str(), said.text.as_str()), ("u2 in room 1", "hello @u1"));
    world.me_commits(MeKind::Read { conversation: 1, sequence: 1 });
    world.step_all();
    assert_eq!(notice(&world.client, 1, 1), None);
    assert_eq!(notice(&world.client, 2, 1), None);
}
