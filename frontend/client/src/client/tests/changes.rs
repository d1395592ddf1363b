//! What is done to messages after they were sent, drafts, and what is the reader's own: one rule a test.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{
    Action, EventKind, MeKind, MessageRef, Preferences, Request, ScheduledItem, ScheduledState, SequenceRange,
};
use quorate_proto::ids::ClientMessageId;

use super::gateway::{ME, World, user};
use crate::client::Client;
use crate::command::Deed;
use crate::drafts::Draft;
use crate::event::{Effect, Input};
use crate::view::{MessageRow, Row, list, rows};

fn row(client: &Client, sequence: u64) -> MessageRow {
    let found = rows(client, 1, None, &|_| 0).into_iter().find_map(|row| match row {
        Row::Message(row) if row.message.sequence == sequence => Some(row),
        _ => None,
    });
    found.expect("the message is shown")
}

/// A live world with two messages, one of each side.
fn world() -> World {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.input(Input::Send { conversation: 1, text: "mine".into(), reply_to: None });
    world.settle();
    world.other_writes(1, "theirs");
    world.settle();
    world
}

fn ask(world: &mut World, deed: Deed) -> ClientMessageId {
    let id = world.moment().client_message_id();
    world.input(Input::Ask(id, deed));
    id
}

#[test]
fn what_is_too_long_for_a_frame_never_travels() {
    let mut world = world();
    let (bytes, sockets) = (world.client.limits().frame_bytes_max, world.client.details().sockets);
    // A draft stays here; it is told once it is short enough.
    let draft = |text: String| Draft { text, reply_to: None };
    world.input(Input::Draft(1, draft("x".repeat(bytes + 1))));
    world.settle();
    assert!(world.done.is_empty(), "not told");
    assert_eq!(world.client.draft(1).map(|draft| draft.text.len()), Some(bytes + 1));
    world.input(Input::Draft(1, draft("short".into())));
    world.settle();
    assert_eq!(world.done.len(), 1);
    // Twelve thousand bytes of what JSON writes with six letters each are no frame either.
    let text = "\u{1}".repeat(bytes / 6 + 1);
    let at = world.client.log_time() + 1_000_000;
    let id = world.moment().client_message_id();
    let action = Action::Schedule { conversation: 1, text, reply_to: None, at };
    world.input(Input::Do(id, action));
    let refused = |effect: &Effect| matches!(effect, Effect::Refused(Some(of), error) if *of == id && error.code == ErrorCode::TooLarge);
    assert!(world.effects.iter().any(refused));
    world.settle();
    assert_eq!((world.done.len(), world.client.details().sockets), (1, sockets), "the socket stays");
    world.assert_agreement();
}

#[test]
fn an_edit_whose_event_is_passed_over_does_not_stay_pending() {
    let mut world = world();
    let text = "better".to_owned();
    ask(&mut world, Deed::Edit { conversation: 1, sequence: 1, text, if_revision: Some(0) });
    world.serve_one();
    world.down.swap(0, 1);
    world.deliver_one();
    assert_eq!(world.client.commands().of(1).count(), 1, "acked, and its event has not come");
    let socket = world.socket();
    world.cut(socket, 1006);
    // So much was missed that the newest page is read, not what lies between.
    world.resume_allowed = false;
    for n in 0..400 {
        world.other_writes(1, &n.to_string());
    }
    world.settle();
    assert_eq!(world.client.commands().of(1).count(), 0);
    world.assert_agreement();
}

fn react(on: bool) -> Deed {
    Deed::React { conversation: 1, sequence: 2, emoji: "👍".into(), on }
}

fn reactions(world: &World) -> Vec<(u32, bool, bool)> {
    row(&world.client, 2).reactions.iter().map(|one| (one.count, one.mine, one.pending)).collect()
}

#[test]
fn a_reaction_is_painted_at_once_and_stays_through_ack_and_event() {
    for ack_first in [false, true] {
        let mut world = world();
        ask(&mut world, react(true));
        assert_eq!(reactions(&world), [(1, true, true)]);
        world.serve_one();
        assert_eq!(world.down.len(), 2, "event and ack are under way");
        if ack_first {
            world.down.swap(0, 1);
        }
        world.deliver_one();
        assert_eq!(reactions(&world).len(), 1, "no flicker between the two");
        world.deliver_one();
        assert_eq!(reactions(&world), [(1, true, false)]);
        assert_eq!(row(&world.client, 2).reactions[0].who, "You");
        ask(&mut world, react(false));
        assert!(reactions(&world).is_empty());
        world.settle();
        assert!(reactions(&world).is_empty());
        world.assert_agreement();
    }
}

#[test]
fn a_refused_reaction_is_taken_back_and_said() {
    let mut world = world();
    world.refuse_commands = Some(WireError::new(ErrorCode::Forbidden, "no"));
    let id = ask(&mut world, react(true));
    assert_eq!(reactions(&world).len(), 1);
    world.step_all();
    assert!(reactions(&world).is_empty());
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Refused(Some(of), _) if *of == id)));
}

#[test]
fn on_and_off_arrive_in_their_order_whatever_fails_between() {
    let mut world = world();
    world.refuse_commands = Some(World::unavailable());
    for on in [true, false, true] {
        ask(&mut world, react(on));
    }
    world.step_all();
    let socket = world.socket();
    world.cut(socket, 1006);
    world.refuse_commands = None;
    world.settle();
    assert_eq!(reactions(&world), [(1, true, false)]);
    world.assert_agreement();
}

#[test]
fn an_edit_is_shown_as_pending_and_then_as_edited() {
    let mut world = world();
    let edit =
        |text: &str, if_revision| Deed::Edit { conversation: 1, sequence: 1, text: text.into(), if_revision };
    ask(&mut world, edit("better", Some(0)));
    let pending = row(&world.client, 1);
    assert_eq!(pending.message.text, "mine");
    assert_eq!(pending.edit.map(|edit| (edit.text, edit.refused)), Some(("better".into(), None)));
    world.settle();
    let done = row(&world.client, 1);
    assert_eq!((done.message.text.as_str(), done.message.revision, done.edit), ("better", 1, None));
    assert!(done.message.edited > 0);
    // Another device was quicker: the text that was typed here is not lost.
    ask(&mut world, edit("best", Some(0)));
    world.settle();
    let refused = row(&world.client, 1).edit.expect("kept");
    assert_eq!(refused.text, "best");
    assert!(refused.refused.is_some());
    world.input(Input::DropEdit(1, 1));
    assert_eq!(row(&world.client, 1).edit, None);
    world.assert_agreement();
}

#[test]
fn a_deleted_message_is_a_tombstone_and_its_quote_says_so() {
    let mut world = world();
    world.input(Input::Send { conversation: 1, text: "answer".into(), reply_to: Some(1) });
    assert_eq!(
        rows(&world.client, 1, None, &|_| 0).iter().find_map(|row| match row {
            Row::Message(row) => row.quote.clone().map(|quote| quote.text),
            _ => None,
        }),
        Some("mine".to_owned()),
        "an item of the outbox has its quote as well"
    );
    world.settle();
    ask(&mut world, Deed::Delete { conversation: 1, sequence: 1, through: None, for_me: false });
    assert!(row(&world.client, 1).deleting);
    world.settle();
    let gone = row(&world.client, 1);
    assert!(gone.message.deleted && gone.message.text.is_empty() && !gone.may.touch && !gone.may.edit);
    assert!(row(&world.client, 3).quote.is_some_and(|quote| quote.gone));
    world.assert_agreement();
}

#[test]
fn what_is_hidden_is_not_shown() {
    let mut world = world();
    world.me_commits(MeKind::Hidden { conversation: 1, range: SequenceRange { first: 2, last: 2 } });
    world.settle();
    let shown: Vec<u64> = rows(&world.client, 1, None, &|_| 0)
        .into_iter()
        .filter_map(|row| match row {
            Row::Message(row) => Some(row.message.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(shown, [1]);
    assert_eq!(world.client.unread(), 1, "the server counts it");
}

#[test]
fn rights_are_those_of_the_machine() {
    let mut world = world();
    let (mine, theirs) = (row(&world.client, 1).may, row(&world.client, 2).may);
    assert!(mine.edit && mine.delete && mine.pin && mine.reply);
    assert!(!theirs.edit && !theirs.delete && theirs.pin && theirs.touch);
    world.commit(1, EventKind::Pin { sequence: 2, on: true, by: user(2) });
    world.settle();
    assert!(row(&world.client, 2).message.pinned);
    assert_eq!(world.client.conversation(1).map(|room| room.pin_count), Some(1));
    world.assert_agreement();
}

#[test]
fn a_muted_conversation_counts_mentions_alone() {
    let mut world = World::live(1, 2);
    world.other_writes(1, "one");
    world.other_writes(1, "hey @u1");
    world.other_writes(2, "two");
    world.settle();
    assert_eq!((world.client.badge(), world.client.unread()), (3, 3));
    let preferences = Preferences { muted_until: u64::MAX, ..Preferences::default() };
    world.me_commits(MeKind::Preferences { conversation: 1, preferences });
    world.settle();
    assert_eq!((world.client.badge(), world.client.unread()), (2, 3));
    let rows = list(&world.client);
    let muted = rows.iter().find(|row| row.id == 1).expect("listed");
    assert!(muted.muted && muted.mentions == 1 && muted.unread == 2);
}

#[test]
fn favourites_come_first_and_archived_ones_last_until_somebody_writes() {
    let mut world = World::live(1, 3);
    for id in 1..=3 {
        world.other_writes(id, "hello");
        world.settle();
        world.input(Input::MarkRead(id, 1));
        world.settle();
    }
    let ids = |world: &World| list(&world.client).iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&world), [3, 2, 1]);
    let favourite = Preferences { favourite: true, ..Preferences::default() };
    let archived = Preferences { archived: true, ..Preferences::default() };
    world.me_commits(MeKind::Preferences { conversation: 1, preferences: favourite });
    world.me_commits(MeKind::Preferences { conversation: 3, preferences: archived });
    world.settle();
    assert_eq!(ids(&world), [1, 2, 3]);
    assert!(list(&world.client)[2].folded);
    world.other_writes(3, "news");
    world.settle();
    assert!(list(&world.client).iter().all(|row| !row.folded));
    world.input(Input::MarkRead(3, 2));
    world.settle();
    let back = world.done.iter().any(|action| match action {
        Action::Prefer { conversation: 3, change } => change.archived == Some(false),
        _ => false,
    });
    assert!(back, "who reads it has it back in her list");
}

#[test]
fn reading_takes_back_the_mark_of_unread() {
    let mut world = world();
    world.input(Input::MarkRead(1, 2));
    world.settle();
    let preferences = Preferences { unread_from: 2, ..Preferences::default() };
    world.me_commits(MeKind::Preferences { conversation: 1, preferences });
    world.settle();
    assert!(list(&world.client)[0].marked);
    assert_eq!(world.client.badge(), 1);
    world.input(Input::MarkRead(1, 2));
    assert!(!list(&world.client)[0].marked);
    world.settle();
    let cleared = |action: &Action| match action {
        Action::Prefer { conversation: 1, change } => change.unread_from == Some(0),
        _ => false,
    };
    assert_eq!(world.done.iter().filter(|action| cleared(action)).count(), 1);
}

#[test]
fn drafts_are_told_and_followed() {
    let mut world = World::live(1, 2);
    let draft = |text: &str| Draft { text: text.to_owned(), reply_to: None };
    world.input(Input::Focus(Some(1)));
    world.input(Input::Draft(1, draft("begun")));
    assert!(
        world.effects.iter().any(|effect| matches!(effect, Effect::StoreDraft(1, stored) if !stored.told)),
        "kept at once"
    );
    world.step_all();
    assert!(world.done.is_empty(), "told after a pause");
    world.input(Input::Focus(Some(2)));
    world.step_all();
    assert_eq!(world.done, [Action::Draft { conversation: 1, text: "begun".into(), reply_to: None }]);
    assert!(list(&world.client).iter().any(|row| row.id == 1 && row.draft && row.preview == "begun"));
    assert!(!world.effects.contains(&Effect::DraftChanged(1)), "the echo is no news");
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Done(..))), "nobody waits for it");
    // Another device goes on with it.
    let other = MeKind::Draft { conversation: 1, text: "begun there".into(), reply_to: Some(3) };
    world.me_commits(other);
    world.settle();
    assert!(world.effects.contains(&Effect::DraftChanged(1)));
    assert_eq!(world.client.draft(1).map(|draft| draft.reply_to), Some(Some(3)));
    world.settle();
    assert_eq!(world.done.len(), 1, "and is not told what it said");
}

#[test]
fn a_forward_shows_its_text_and_sends_none() {
    let mut world = world();
    world.up.clear();
    let message = MessageRef { conversation: 1, sequence: 2 };
    world.input(Input::Forward { conversation: 1, message });
    let pending = rows(&world.client, 1, None, &|_| 0).into_iter().rev().find_map(|row| match row {
        Row::Message(row) => Some(row),
        _ => None,
    });
    let pending = pending.expect("painted at once");
    assert_eq!(pending.message.text, "theirs");
    assert_eq!(pending.message.forwarded.as_ref().map(|from| from.from.id), Some(2));
    let (_, frame) = world.up.back().expect("sent");
    let frame: quorate_proto::frame::ClientFrame = serde_json::from_str(frame).expect("a frame");
    let Request::Send(send) = frame.request else { panic!("not a send") };
    assert_eq!((send.text.as_str(), send.forward), ("", Some(message)));
}

#[test]
fn what_is_scheduled_saved_and_blocked_is_known_from_its_events() {
    let mut world = world();
    let item = ScheduledItem {
        id: 4,
        conversation: 1,
        text: "note".into(),
        reply_to: None,
        at: 9,
        remind_of: Some(2),
    };
    let says = |state| MeKind::Scheduled { item: item.clone(), state, why: String::new(), sequence: None };
    world.me_commits(says(ScheduledState::Waiting));
    world.me_commits(MeKind::Saved { conversation: 1, sequence: 2, on: true });
    world.me_commits(MeKind::Blocked { user: user(2), on: true });
    world.settle();
    assert_eq!(world.client.mine().scheduled(), [&item]);
    assert!(row(&world.client, 2).saved && world.client.mine().has_blocked(2));
    world.me_commits(says(ScheduledState::Fired));
    world.settle();
    assert!(world.client.mine().scheduled().is_empty());
    assert!(world.effects.contains(&Effect::Reminded(item)));
    let mut renamed = user(ME);
    renamed.display_name = "Ana".into();
    world.me_commits(MeKind::Profile { user: renamed.clone(), status: "away".into() });
    world.settle();
    assert_eq!(world.client.me(), Some(&renamed));
    assert_eq!(world.client.mine().status, "away");
}

#[test]
fn a_message_far_back_is_read_towards() {
    let mut world = World::new(1, 1);
    for n in 0..230 {
        world.other_writes(1, &n.to_string());
    }
    world.sign_in();
    world.input(Input::Focus(Some(1)));
    world.input(Input::Seek(1, 40));
    world.settle();
    let room = world.client.conversation(1).expect("room 1");
    assert!(room.timeline.first().is_some_and(|first| first <= 40) && room.seeking.is_none());
    assert!(room.timeline.more_before, "and no further");
}
