//! What a device keeps comes back, is replaced by what the server says, and doubles nothing.

use std::collections::BTreeMap;

use quorate_proto::frame::{EventKind, MeKind};

use super::gateway::{World, user};
use crate::banner::Banner;
use crate::client::{Client, Config, KEPT_CONVERSATIONS_MAX};
use crate::event::{Effect, Input};
use crate::outbox::ItemState;

/// Where a device keeps it.
#[derive(Default)]
struct Device {
    head: String,
    rows: BTreeMap<u64, String>,
}

impl Device {
    fn keep(&mut self, world: &mut World) {
        let Some(keep) = world.client.keep(world.now_ms) else { return };
        self.head = keep.head;
        self.rows.extend(keep.rows.into_iter().map(|row| (row.conversation, row.text)));
        self.rows.retain(|id, _| keep.stay.contains(id));
    }

    /// The page is loaded again: nothing is left but what was stored.
    fn reload(&self, world: &mut World) {
        world.client = Client::new(Config::default());
        world.opening.clear();
        world.up.clear();
        world.down.clear();
        world.sockets.clear();
        world.effects.clear();
        let (head, rows) = (self.head.clone(), self.rows.values().cloned().collect());
        world.input(Input::Recall { head, rows });
        let stored = world.stored.values().cloned().collect();
        world.input(Input::Restore(stored));
    }
}

fn texts(world: &World, id: u64) -> Vec<String> {
    let conversation = world.client.conversation(id).expect("it is there");
    conversation.timeline.run().map(|(_, entry)| entry.message.text.clone()).collect()
}

/// A world with a conversation that is open and has messages, all of it kept.
fn kept(messages: u64) -> (World, Device) {
    let mut world = World::live(3, 2);
    world.input(Input::Focus(Some(1)));
    for n in 1..=messages {
        world.other_writes(1, &format!("m{n}"));
    }
    world.settle();
    let mut device = Device::default();
    device.keep(&mut world);
    (world, device)
}

#[test]
fn without_a_network_the_list_and_the_last_messages_are_there_and_say_of_when() {
    let (mut world, device) = kept(3);
    let kept_at = world.now_ms;
    device.reload(&mut world);
    world.input(Input::RefreshFailed { denied: false });
    assert_eq!(world.client.recalled_at(), Some(kept_at));
    assert_eq!(world.client.conversations().count(), 2);
    assert_eq!(texts(&world, 1), ["m1", "m2", "m3"]);
    assert!(world.client.access_token().is_none() && world.opening.is_empty());
    world.pass(1_500);
    assert!(matches!(
        world.client.banner(world.now_ms),
        Some(Banner::Reconnecting { .. } | Banner::Connecting)
    ));
    assert!(world.client.keep(world.now_ms).is_none(), "nothing is kept of what nobody told");
}

#[test]
fn the_refresh_is_asked_for_again_until_somebody_answers() {
    let (mut world, device) = kept(1);
    device.reload(&mut world);
    let before = world.refreshes;
    world.input(Input::RefreshFailed { denied: false });
    for n in 1..=3 {
        world.pass(40_000);
        assert!(world.refreshes > before + n - 1, "{} after {n}", world.refreshes - before);
        world.input(Input::RefreshFailed { denied: false });
    }
    let asked = world.refreshes;
    world.input(Input::TryNow);
    assert_eq!(world.refreshes, asked + 1);
    world.sign_in();
    world.settle();
    assert!(world.client.is_live() && world.client.recalled_at().is_none());
    world.assert_agreement();
}

#[test]
fn a_session_that_has_ended_takes_what_came_back_with_it() {
    let (mut world, device) = kept(1);
    device.reload(&mut world);
    world.input(Input::RefreshFailed { denied: true });
    assert_eq!(world.client.conversations().count(), 0);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::SignedOut(Some(_)))));
}

#[test]
fn what_came_back_is_replaced_by_what_the_server_says_and_moves_no_read_mark() {
    let (mut world, mut device) = kept(5);
    // While the page is away: one more, one changed, one deleted, one with an emoji, and read elsewhere.
    let (sequence, revision) = (2, 1);
    let socket = world.socket();
    world.sockets.remove(&socket);
    for (version, kind) in [
        EventKind::Edit { sequence, revision, text: "m2, changed".into(), by: user(2) },
        EventKind::Delete { sequences: vec![3], by: user(2) },
        EventKind::Reaction { sequence: 1, emoji: "👍".into(), user: user(2), on: true },
    ]
    .into_iter()
    .enumerate()
    {
        let event = world.commit(1, kind);
        assert_eq!(event.version as usize, 7 + version);
    }
    world.other_writes(1, "m6");
    device.reload(&mut world);
    let marks = |world: &World| world.client.conversation(1).map(|held| (held.read, held.unread));
    assert_eq!(marks(&world), Some((0, 5)));
    world.sign_in();
    world.settle();
    assert_eq!(texts(&world, 1), ["m1", "m2, changed", "", "m4", "m5", "m6"]);
    assert_eq!(marks(&world), Some((0, 5)), "six, one deleted");
    assert_eq!(world.hellos.last().expect("a hello").resume, None, "no position came back");
    assert!(!world.said.iter().any(|said| matches!(said, quorate_proto::frame::Request::Read { .. })));
    world.assert_agreement();
    // And the next reload has no more of what was deleted.
    device.keep(&mut world);
    assert!(!device.rows[&1].contains("\"m3\""));
}

#[test]
fn a_conversation_far_behind_is_read_anew_and_not_filled() {
    let (mut world, device) = kept(3);
    let socket = world.socket();
    world.sockets.remove(&socket);
    for n in 0..60 {
        world.other_writes(1, &format!("later {n}"));
    }
    device.reload(&mut world);
    world.sign_in();
    world.settle();
    assert_eq!(texts(&world, 1).len(), 0, "nobody looks at it");
    world.input(Input::Focus(Some(1)));
    world.settle();
    assert_eq!(texts(&world, 1).len(), 50);
    world.assert_agreement();
}

#[test]
fn a_conversation_that_was_left_is_kept_no_more() {
    let (mut world, mut device) = kept(2);
    assert!(device.rows.contains_key(&1) && device.rows.contains_key(&2));
    world.me_commits(MeKind::Removed { conversation: 1 });
    world.settle();
    device.keep(&mut world);
    assert!(!device.rows.contains_key(&1) && device.rows.contains_key(&2));
}

#[test]
fn another_cluster_has_nothing_of_what_came_back() {
    let (mut world, device) = kept(2);
    world.cluster = "c2".into();
    world.log.clear();
    device.reload(&mut world);
    world.sign_in();
    world.settle();
    assert_eq!(world.client.conversations().count(), 0);
}

#[test]
fn what_was_written_without_a_network_is_sent_once_after_a_reload() {
    let (mut world, device) = kept(1);
    device.reload(&mut world);
    world.input(Input::RefreshFailed { denied: false });
    world.input(Input::Send { conversation: 1, text: "from the tunnel".into(), reply_to: None });
    assert_eq!(world.stored.len(), 1);
    device.reload(&mut world);
    world.input(Input::RefreshFailed { denied: false });
    assert_eq!(world.client.outbox().len(), 1);
    world.sign_in();
    world.settle();
    assert_eq!(texts(&world, 1), ["m1", "from the tunnel"]);
    world.assert_agreement();
}

#[test]
fn an_item_whose_message_was_kept_is_not_shown_twice() {
    let (mut world, mut device) = kept(1);
    world.input(Input::Send { conversation: 1, text: "sent".into(), reply_to: None });
    let stored = world.stored.clone();
    world.settle();
    device.keep(&mut world);
    // The page ended before it could take the item out of its store.
    world.stored = stored;
    device.reload(&mut world);
    assert!(world.client.outbox().is_empty() && world.stored.is_empty());
    assert_eq!(texts(&world, 1), ["m1", "sent"]);
}

#[test]
fn what_another_window_sends_becomes_ours_when_that_window_is_gone() {
    let mut world = World::live(9, 1);
    let mut other = World::live(9, 1);
    other.write = quorate_proto::frame::WriteState::NoQuorum;
    other.refuse_sends = Some(World::unavailable());
    other.input(Input::Send { conversation: 1, text: "left behind".into(), reply_to: None });
    let item = other.stored.values().next().expect("stored").clone();
    world.input(Input::Elsewhere(vec![item.clone()]));
    world.settle();
    assert_eq!(world.client.outbox().get(item.id).map(|held| &held.state), Some(&ItemState::Elsewhere));
    assert!(world.messages(1).is_empty());
    world.input(Input::Adopt(vec![item.id]));
    assert!(world.stored.contains_key(&item.id), "it is stored as ours before it travels");
    world.settle();
    let sent = world.messages(1);
    assert_eq!((sent.len(), sent[0].client_message_id), (1, item.id));
    world.assert_agreement();
}

#[test]
fn a_window_that_sleeps_leaves_what_is_unsent_to_others_and_sends_nothing_of_it() {
    let mut world = World::live(9, 1);
    world.refuse_sends = Some(World::unavailable());
    world.input(Input::Send { conversation: 1, text: "half sent".into(), reply_to: None });
    world.step_all();
    let item = world.stored.values().next().expect("stored").clone();
    world.input(Input::Yield(vec![item.id]));
    world.refuse_sends = None;
    world.settle();
    assert!(world.messages(1).is_empty(), "another window is to send it");
    assert!(world.stored.contains_key(&item.id), "and finds it in the store");
    // Awake, and nobody has.
    world.input(Input::Elsewhere(vec![item.clone()]));
    world.input(Input::Adopt(vec![item.id]));
    world.settle();
    let sent = world.messages(1);
    assert_eq!((sent.len(), sent[0].client_message_id), (1, item.id));
    assert!(world.stored.is_empty());
    world.assert_agreement();
}

#[test]
fn only_so_many_are_kept_and_only_what_changed_is_written_again() {
    let mut world = World::live(5, KEPT_CONVERSATIONS_MAX as u64 + 20);
    for id in 1..=KEPT_CONVERSATIONS_MAX as u64 + 20 {
        world.now_ms += 1;
        world.other_writes(id, "hello");
    }
    world.settle();
    let keep = world.client.keep(1).expect("live");
    assert_eq!((keep.stay.len(), keep.rows.len()), (KEPT_CONVERSATIONS_MAX, KEPT_CONVERSATIONS_MAX));
    assert!(!keep.stay.contains(&20) && keep.stay.contains(&21), "the newest");
    assert!(world.client.keep(2).expect("live").rows.is_empty());
    world.other_writes(50, "one more");
    world.settle();
    let rows = world.client.keep(3).expect("live").rows;
    assert_eq!(rows.iter().map(|row| row.conversation).collect::<Vec<_>>(), [50]);
}

#[test]
fn reloads_at_any_time_lose_and_double_nothing() {
    for seed in 1..=12 {
        let mut world = World::live(seed, 3);
        let mut device = Device::default();
        let mut written = Vec::new();
        for step in 0..40 {
            let id = world.dice.below(3) + 1;
            match world.dice.below(7) {
                0 => {
                    world.other_writes(id, &format!("other {step} @u1"));
                }
                1 => {
                    let text = format!("own {step}");
                    written.push(text.clone());
                    world.input(Input::Send { conversation: id, text, reply_to: None });
                }
                2 => world.input(Input::Focus(Some(id))),
                3 if !world.messages(id).is_empty() => {
                    let sequence = world.dice.below(world.messages(id).len() as u64) + 1;
                    if !world.messages(id)[sequence as usize - 1].deleted {
                        let (emoji, user) = ("👍".to_owned(), user(step + 10));
                        world.commit(id, EventKind::Reaction { sequence, emoji, user, on: true });
                    }
                }
                4 if !world.messages(id).is_empty() => {
                    let sequence = world.dice.below(world.messages(id).len() as u64) + 1;
                    // A deleted message has no text by which it could be counted.
                    if !world.messages(id)[sequence as usize - 1].text.starts_with("own") {
                        world.commit(id, EventKind::Delete { sequences: vec![sequence], by: user(2) });
                    }
                }
                5 => {
                    device.keep(&mut world);
                    device.reload(&mut world);
                    if world.dice.one_in(2) {
                        world.input(Input::RefreshFailed { denied: false });
                    }
                    world.sign_in();
                }
                _ => {
                    let frames = world.dice.below(6);
                    for _ in 0..frames {
                        world.serve_one();
                        world.deliver_one();
                    }
                    if world.dice.one_in(2) {
                        world.step_all();
                        device.keep(&mut world);
                    }
                }
            }
        }
        world.settle();
        world.assert_agreement();
        let mut own: Vec<String> =
            (1..=3).flat_map(|id| world.messages(id)).map(|message| message.text).collect();
        own.retain(|text| text.starts_with("own"));
        own.sort_unstable();
        written.sort_unstable();
        assert_eq!(own, written, "seed {seed}");
    }
}
