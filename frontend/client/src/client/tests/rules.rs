//! One rule a test.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{
    Action, Body, MeKind, PresenceState, Request, Signal, SignalKind, Status, WriteState,
};

use super::gateway::World;
use crate::banner::Banner;
use crate::client::Client;
use crate::event::{Effect, Input};
use crate::outbox::ItemState;
use crate::signals::Reach;
use crate::view::{MessageState, Row, rows};

fn say(world: &mut World, conversation: u64, text: &str) {
    world.input(Input::Send { conversation, text: text.to_owned(), reply_to: None });
}

fn states(client: &Client, id: u64) -> Vec<(String, MessageState)> {
    rows(client, id, None, &|_| 0)
        .into_iter()
        .filter_map(|row| match row {
            Row::Message(row) => Some((row.message.text.clone(), row.state)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_message_is_painted_at_once_and_ticks_with_its_ack() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.settle();
    say(&mut world, 1, "hi");
    assert_eq!(states(&world.client, 1), [("hi".to_owned(), MessageState::Pending)]);
    world.settle();
    let index = world.index;
    let sent = MessageState::Sent { sequence: 1, index, term: 1, reach: Reach::Kept, disks: None };
    assert_eq!(states(&world.client, 1), [("hi".to_owned(), sent)]);
    world.assert_agreement();
}

#[test]
fn event_before_ack_and_ack_before_event_both_make_one_message() {
    for ack_first in [false, true] {
        let mut world = World::live(1, 1);
        world.input(Input::Focus(Some(1)));
        world.settle();
        say(&mut world, 1, "hi");
        world.serve_one();
        assert_eq!(world.down.len(), 2, "event and ack are under way");
        if ack_first {
            world.down.swap(0, 1);
        }
        for _ in 0..2 {
            world.deliver_one();
            let seen = states(&world.client, 1);
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert!(matches!(seen[0].1, MessageState::Sent { sequence: 1, .. }), "{seen:?}");
        }
        assert!(matches!(states(&world.client, 1)[0].1, MessageState::Sent { term: 1, .. }));
        world.assert_agreement();
    }
}

#[test]
fn order_holds_when_the_first_of_two_is_postponed() {
    let mut world = World::live(1, 1);
    world.refuse_sends = Some(World::unavailable());
    say(&mut world, 1, "one");
    say(&mut world, 1, "two");
    world.step_all();
    assert!(world.messages(1).is_empty());
    world.refuse_sends = None;
    world.settle();
    let texts: Vec<_> = world.messages(1).iter().map(|message| message.text.clone()).collect();
    assert_eq!(texts, ["one", "two"]);
    world.assert_agreement();
}

#[test]
fn a_lost_ack_is_asked_for_again_under_the_same_id() {
    let mut world = World::live(1, 1);
    say(&mut world, 1, "hi");
    world.serve_one();
    let socket = world.socket();
    world.cut(socket, 1006);
    world.settle();
    assert_eq!(world.messages(1).len(), 1);
    world.assert_agreement();
}

#[test]
fn a_reload_sends_what_was_stored_exactly_once() {
    let mut world = World::live(1, 1);
    say(&mut world, 1, "one");
    say(&mut world, 1, "two");
    world.serve_one();
    let stored: Vec<_> = world.stored.values().cloned().collect();
    assert_eq!(stored.len(), 2);
    let socket = world.socket();
    world.cut(socket, 1006);
    world.opening.clear();
    world.client = Client::new(crate::client::Config::default());
    world.input(Input::Restore(stored));
    world.sign_in();
    world.input(Input::Focus(Some(1)));
    world.settle();
    let texts: Vec<_> = world.messages(1).iter().map(|message| message.text.clone()).collect();
    assert_eq!(texts, ["one", "two"]);
    world.assert_agreement();
}

#[test]
fn a_final_refusal_is_kept_until_its_writer_decides() {
    let mut world = World::live(1, 1);
    world.refuse_sends = Some(WireError::new(ErrorCode::Forbidden, "you were removed"));
    say(&mut world, 1, "hi");
    world.settle();
    assert_eq!(
        states(&world.client, 1),
        [("hi".to_owned(), MessageState::Failed("You were removed.".to_owned()))]
    );
    assert!(world.stored.values().all(|item| item.failed.is_some()), "it survives a reload");
    world.refuse_sends = None;
    let id = world.client.outbox().iter().next().expect("one").stored.id;
    world.input(Input::Retry(id));
    world.settle();
    assert_eq!(world.messages(1).len(), 1);
    assert_ne!(world.messages(1)[0].client_message_id, id, "a refused id would be refused again");
    world.assert_agreement();
}

#[test]
fn a_deleted_item_is_gone() {
    let mut world = World::live(1, 1);
    world.refuse_sends = Some(WireError::new(ErrorCode::Forbidden, "no"));
    say(&mut world, 1, "hi");
    world.settle();
    let id = world.client.outbox().iter().next().expect("one").stored.id;
    world.input(Input::Delete(id));
    world.settle();
    assert!(world.messages(1).is_empty());
    world.assert_agreement();
}

#[test]
fn text_that_cannot_travel_is_refused_here() {
    let mut world = World::live(1, 1);
    say(&mut world, 1, &"x".repeat(12 * 1024 + 1));
    assert!(world.client.outbox().is_empty());
    assert!(
        matches!(world.effects.last(), Some(Effect::Refused(None, error)) if error.code == ErrorCode::TooLarge)
    );
    say(&mut world, 1, &"\u{1}".repeat(12 * 1024));
    world.settle();
    let item = world.client.outbox().iter().next().expect("kept");
    assert!(matches!(&item.state, ItemState::Failed(error) if error.code == ErrorCode::TooLarge));
    assert!(world.client.is_live(), "and the socket lives");
}

#[test]
fn a_gap_is_filled_by_since() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.settle();
    for text in ["one", "two", "three"] {
        world.other_writes(1, text);
    }
    world.down.remove(1);
    world.settle();
    world.assert_agreement();
    let socket = world.socket();
    world.other_writes(1, "four");
    world.down.clear();
    world.push(
        socket,
        Body::Gap { topic: quorate_proto::ids::TopicRef::Conversation(1), from_version: 5, to_version: 5 },
    );
    world.settle();
    world.assert_agreement();
}

#[test]
fn a_resume_starts_at_the_position_and_brings_what_was_missed() {
    let mut world = World::live(1, 2);
    world.input(Input::Focus(Some(1)));
    world.settle();
    world.other_writes(1, "one");
    world.ping_all();
    world.step_all();
    let position = world.index;
    assert_eq!(world.client.details().position, position);
    let socket = world.socket();
    world.cut(socket, 4101);
    world.other_writes(1, "two");
    world.other_writes(2, "three");
    world.settle();
    let hello = world.hellos.last().expect("a hello");
    assert_eq!(hello.resume.as_ref().map(|resume| resume.position), Some(position));
    world.assert_agreement();
}

#[test]
fn without_resume_the_summaries_count_and_the_open_conversation_is_filled() {
    let mut world = World::live(1, 2);
    world.input(Input::Focus(Some(1)));
    world.settle();
    world.resume_allowed = false;
    let socket = world.socket();
    world.cut(socket, 1006);
    for n in 0..400 {
        world.other_writes(1, &n.to_string());
        world.other_writes(2, &n.to_string());
    }
    world.settle();
    world.assert_agreement();
    assert!(world.client.conversation(1).is_some_and(|c| c.timeline.loaded && c.sequence == 400));
    assert_eq!(world.client.unread(), 800);
}

#[test]
fn another_cluster_drops_what_was_cached_and_keeps_the_outbox() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.other_writes(1, "one");
    world.settle();
    say(&mut world, 1, "mine");
    world.up.clear();
    let socket = world.socket();
    world.cut(socket, 1006);
    world.cluster = "c2".into();
    world.log.truncate(1);
    world.index = 5;
    world.settle();
    let texts: Vec<_> = world.messages(1).iter().map(|message| message.text.clone()).collect();
    assert_eq!(texts, ["mine"]);
    world.assert_agreement();
    assert!(world.client.details().position <= world.index);
}

#[test]
fn silence_is_answered_by_a_new_socket() {
    let mut world = World::live(1, 1);
    let before = world.socket();
    for _ in 0..4 {
        world.pass(20_000);
        world.ping_all();
        world.step_all();
    }
    assert_eq!(world.socket(), before, "pings keep it");
    world.pass(36_000);
    world.settle();
    assert!(world.socket() > before && world.client.is_live());
}

#[test]
fn a_drain_moves_the_session_before_the_old_socket_goes() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.settle();
    let old = world.socket();
    world.push(old, Body::Drain { after_ms: 100, reason: "stop".into() });
    world.step_all();
    world.now_ms += 200;
    world.input(Input::Tick);
    assert_eq!(world.opening, [old + 1]);
    assert!(world.client.is_live(), "the old one still serves");
    say(&mut world, 1, "meanwhile");
    world.settle();
    assert!(world.client.is_live() && world.sockets.len() == 1 && world.socket() == old + 1);
    assert!(world.hellos.last().is_some_and(|hello| hello.resume.is_some()));
    assert_eq!(world.messages(1).len(), 1);
    world.assert_agreement();
}

#[test]
fn a_move_that_fails_falls_back_and_is_tried_again() {
    let mut world = World::live(1, 1);
    let old = world.socket();
    world.push(old, Body::Drain { after_ms: 100, reason: "stop".into() });
    world.step_all();
    world.now_ms += 200;
    world.input(Input::Tick);
    let next = world.opening.pop().expect("a second socket");
    world.input(Input::Closed(next, 1006));
    assert!(world.client.is_live());
    world.settle();
    assert!(world.socket() > next && world.client.is_live());
}

#[test]
fn backoff_grows_and_a_nudge_shortens_it() {
    let mut world = World::live(1, 1);
    let socket = world.socket();
    world.cut(socket, 1006);
    for _ in 0..12 {
        world.pass(40_000);
        for socket in std::mem::take(&mut world.opening) {
            world.input(Input::Closed(socket, 1006));
        }
        world.opening.clear();
        for socket in world.sockets.keys().copied().collect::<Vec<_>>() {
            world.cut(socket, 1006);
        }
    }
    world.input(Input::Online);
    world.now_ms += 1_001;
    world.input(Input::Tick);
    assert_eq!(world.opening.len(), 1);
    world.settle();
    assert!(world.client.is_live());
}

#[test]
fn close_codes_are_obeyed() {
    for (code, live_again) in
        [(4100, true), (4200, true), (4101, true), (4400, false), (4426, false), (4409, false)]
    {
        let mut world = World::live(1, 1);
        let socket = world.socket();
        world.push(socket, Body::Bye { code, reason: "because".into(), retry_ms: Some(10) });
        world.settle();
        assert_eq!(world.client.is_live(), live_again, "{code}");
        if live_again {
            let resumed = world.hellos.last().is_some_and(|hello| hello.resume.is_some());
            assert_eq!(resumed, code != 4200, "{code}");
        } else {
            assert!(matches!(world.client.banner(world.now_ms), Some(Banner::Stopped { .. })));
            world.input(Input::TryNow);
            world.settle();
            assert!(world.client.is_live(), "a person may try again");
        }
    }
}

#[test]
fn an_expired_token_is_refreshed_before_the_next_socket() {
    let mut world = World::live(1, 1);
    let socket = world.socket();
    world.push(socket, Body::Bye { code: 4106, reason: "expired".into(), retry_ms: None });
    world.step_all();
    world.pass(5_000);
    assert_eq!(world.refreshes, 1);
    assert!(!world.client.is_live());
    world.sign_in();
    world.settle();
    assert!(world.client.is_live());
}

#[test]
fn a_live_socket_gets_the_fresh_token() {
    let mut world = World::live(1, 1);
    for _ in 0..40 {
        world.pass(20_000);
        world.ping_all();
        world.step_all();
    }
    assert!(world.refreshes >= 1, "asked for before it expires");
    let socket = world.socket();
    world.sign_in();
    assert!(world.up.iter().any(|(_, text)| text.contains(r#""type":"auth""#)));
    world.settle();
    assert_eq!(world.socket(), socket, "the socket stays");
}

#[test]
fn a_revoked_session_signs_out_and_keeps_the_store() {
    let mut world = World::live(1, 1);
    world.refuse_sends = Some(World::unavailable());
    say(&mut world, 1, "hi");
    world.step_all();
    let socket = world.socket();
    world.cut(socket, 4403);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::SignedOut(Some(_)))));
    assert!(world.client.me().is_none());
    assert_eq!(world.stored.len(), 1);
}

#[test]
fn the_banner_is_honest_after_a_second() {
    let mut world = World::live(1, 1);
    let socket = world.socket();
    for (write, banner) in [
        (WriteState::Electing, Some(Banner::Electing)),
        (WriteState::NoQuorum, Some(Banner::NoQuorum)),
        (WriteState::Up, None),
    ] {
        world.push(socket, Body::Status(Status { write, since_ms: 0, leader: None }));
        world.step_all();
        world.pass(1_001);
        assert_eq!(world.client.banner(world.now_ms), banner);
    }
    world.push(socket, Body::Status(Status { write: WriteState::Electing, since_ms: 0, leader: None }));
    world.step_all();
    assert_eq!(world.client.banner(world.now_ms), None, "too short to be worth a word");
}

#[test]
fn writes_wait_for_a_majority_and_go_when_it_is_back() {
    let mut world = World::live(1, 1);
    let socket = world.socket();
    world.refuse_sends = Some(WireError::new(ErrorCode::Unavailable, "no leader").retry_after(60_000));
    say(&mut world, 1, "hi");
    world.step_all();
    world.refuse_sends = None;
    world.push(socket, Body::Status(Status { write: WriteState::Up, since_ms: 0, leader: Some(2) }));
    world.step_all();
    assert_eq!(world.messages(1).len(), 1, "no waiting out the minute");
    world.assert_agreement();
}

#[test]
fn joins_removals_and_read_marks_of_other_devices() {
    let mut world = World::live(1, 1);
    world.other_writes(1, "one");
    world.settle();
    assert_eq!(world.client.unread(), 1);
    world.me_commits(MeKind::Read { conversation: 1, sequence: 1 });
    let mut summary = world.summary(1);
    summary.id = 9;
    summary.unread = 1;
    world.me_commits(MeKind::Added { conversation: Box::new(summary), base_version: 1 });
    world.step_all();
    assert_eq!(world.client.conversation(1).map(|c| c.unread), Some(0));
    assert_eq!(world.client.conversation(9).map(|c| c.unread), Some(1));
    world.me_commits(MeKind::Removed { conversation: 9 });
    world.step_all();
    assert!(world.client.conversation(9).is_none());
}

#[test]
fn read_marks_travel_merged_and_are_repeated_until_confirmed() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    for n in 0..5 {
        world.other_writes(1, &n.to_string());
    }
    world.settle();
    for sequence in 1..=5 {
        world.input(Input::MarkRead(1, sequence));
    }
    let marks = |world: &World| world.up.iter().filter(|(_, text)| text.contains(r#""type":"read""#)).count();
    assert_eq!(marks(&world), 1);
    world.up.clear();
    let socket = world.socket();
    world.cut(socket, 1006);
    world.settle();
    assert_eq!(world.unread(1), 0, "said again on the next socket");
    world.assert_agreement();
}

#[test]
fn history_pages_in_up_to_the_beginning() {
    let mut world = World::new(1, 1);
    for n in 0..120 {
        world.other_writes(1, &n.to_string());
    }
    world.sign_in();
    world.input(Input::Focus(Some(1)));
    world.settle();
    for shown in [50, 100, 120, 120] {
        assert_eq!(states(&world.client, 1).len(), shown);
        world.input(Input::LoadOlder(1));
        world.settle();
    }
    world.assert_agreement();
}

#[test]
fn a_command_is_answered_once_whatever_happens_to_its_socket() {
    let mut world = World::live(1, 1);
    let id = world.moment().client_message_id();
    world.input(Input::Do(id, Action::CreateDirect { user: "bob".into() }));
    world.serve_one();
    let socket = world.socket();
    world.cut(socket, 1006);
    world.settle();
    let done = world.effects.iter().filter(|effect| **effect == Effect::Done(id, Some(1))).count();
    assert_eq!(done, 1);
}

#[test]
fn a_newer_server_may_say_what_this_client_does_not_know() {
    let mut world = World::live(1, 1);
    let socket = world.socket();
    let text =
        r#"[{"type":"hologram","x":1},{"type":"ping","n":7,"index":99,"log_time":1,"time":1,"extra":true}]"#;
    world.input(Input::Text(socket, text.to_owned()));
    world.input(Input::Text(socket, "not json".to_owned()));
    assert_eq!(world.client.details().position, 99);
    assert!(world.up.iter().any(|(_, text)| text.contains(r#""type":"pong","n":7"#)));
}

#[test]
fn the_focused_conversation_alone_is_open_and_again_on_a_new_socket() {
    let mut world = World::live(1, 2);
    world.input(Input::Presence(PresenceState::Active));
    world.input(Input::Focus(Some(1)));
    world.settle();
    world.input(Input::Focus(Some(2)));
    world.settle();
    let open = |conversation| Request::Open { conversation, signals: true };
    let active = Request::Presence { state: PresenceState::Active };
    assert_eq!(world.said, [active.clone(), open(1), Request::Close { conversation: 1 }, open(2)]);
    let presence = |world: &World| world.client.conversation(2).expect("room 2").signals.presence(2);
    assert_eq!(presence(&world), PresenceState::Active);
    world.said.clear();
    let socket = world.socket();
    world.cut(socket, 4101);
    assert_eq!(presence(&world), PresenceState::Unknown, "nobody tells while there is no socket");
    world.settle();
    assert_eq!(world.said, [active, open(2)]);
    assert_eq!(presence(&world), PresenceState::Active);
}

#[test]
fn typing_is_said_now_and_then_and_forgotten_by_itself() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.settle();
    world.said.clear();
    for _ in 0..10 {
        world.input(Input::Typing(1));
    }
    world.settle();
    assert_eq!(world.said, [Request::Typing { conversation: 1 }]);
    let socket = world.socket();
    let kind = SignalKind::Typing { user: super::gateway::user(2) };
    world.push(socket, Body::Signal(Signal { conversation: 1, kind }));
    world.deliver_one();
    let line = |world: &World| world.client.conversation(1).and_then(|room| room.typing_line());
    assert_eq!(line(&world).as_deref(), Some("u2 is typing"));
    let at_ms = world.client.deadline_ms(world.now_ms).expect("a deadline");
    assert!(at_ms <= world.now_ms + 6_000);
    world.now_ms += 6_000;
    world.input(Input::Tick);
    assert_eq!(line(&world), None);
}

#[test]
fn what_has_come_is_told_merged_and_ticks_follow_the_receipts() {
    let mut world = World::live(1, 1);
    world.input(Input::Focus(Some(1)));
    world.settle();
    world.said.clear();
    for text in ["one", "two", "three"] {
        world.other_writes(1, text);
    }
    world.settle();
    world.now_ms += 2_000;
    world.input(Input::Tick);
    world.settle();
    let told: Vec<_> = world
        .said
        .iter()
        .filter_map(|said| match said {
            Request::Delivered { sequence, .. } => Some(*sequence),
            _ => None,
        })
        .collect();
    assert_eq!(told.last(), Some(&3));
    assert!(told.len() <= 2, "{told:?}");
}

/// During a failover the server cannot open a conversation, and watches nothing. It was deaf until it was focused again.
#[test]
fn a_conversation_that_could_not_be_opened_for_the_moment_is_opened_later() {
    let mut world = World::live(1, 1);
    let mut error = WireError::new(ErrorCode::Unavailable, "no replica serves this now");
    error.retry_ms = Some(100);
    world.refuse_opens = Some(error);
    world.input(Input::Focus(Some(1)));
    world.step_all();
    let opens = |world: &World| world.said.iter().filter(|said| matches!(said, Request::Open { .. })).count();
    assert_eq!(opens(&world), 1);
    world.pass(999);
    assert_eq!(opens(&world), 1, "not before its time");
    world.pass(2_000);
    assert!((2..=4).contains(&opens(&world)), "{} times", opens(&world));
    world.refuse_opens = None;
    world.pass(2_000);
    let presence = world.client.conversation(1).expect("room 1").signals.presence(2);
    assert_eq!(presence, PresenceState::Active);
    let opened = opens(&world);
    world.pass(10_000);
    assert_eq!(opens(&world), opened, "once it is open it stays so");
}

#[test]
fn an_answer_for_a_conversation_left_meanwhile_shows_nobody_there() {
    let mut world = World::live(1, 2);
    world.input(Input::Focus(Some(1)));
    while !world.said.iter().any(|said| matches!(said, Request::Open { .. })) {
        assert!(world.serve_one());
    }
    world.input(Input::Focus(Some(2)));
    world.settle();
    let presence = |id| world.client.conversation(id).expect("a room").signals.presence(2);
    assert_eq!((presence(1), presence(2)), (PresenceState::Unknown, PresenceState::Active));
}

/// Marks are said without an answer: what a broken socket took with it was never said again.
#[test]
fn what_has_come_is_said_again_on_a_new_socket() {
    let mut world = World::live(1, 1);
    world.other_writes(1, "hello");
    world.settle();
    let told = Request::Delivered { conversation: 1, sequence: 1 };
    assert_eq!(world.said.iter().filter(|said| **said == told).count(), 1);
    let socket = world.socket();
    world.cut(socket, 1006);
    world.settle();
    assert_eq!(world.said.iter().filter(|said| **said == told).count(), 2);
}
