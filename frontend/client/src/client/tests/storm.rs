//! Many seeded runs in which everything that may go wrong between a client and a gateway does, in any order: then quiet,
//! and nothing is lost, doubled or out of order.

use std::collections::VecDeque;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Body, EventKind};
use quorate_proto::ids::TopicRef;

use super::gateway::{ME, World, user};
use crate::client::{Client, Config};
use crate::command::Deed;
use crate::conversation::Conversation;
use crate::event::Input;

const CONVERSATIONS: u64 = 3;

/// Messages that are there before the storm, where there is a window.
const EARLIER: u64 = 130;
/// A window of this many messages, and pages of so many: small enough that a storm goes beyond them.
const WINDOW: usize = 40;
const PAGE: u32 = 12;

/// Returns how many pasts were there when it was over.
fn storm(seed: u64, window: Option<usize>) -> usize {
    let mut world = World::new(seed, CONVERSATIONS);
    world.client = Client::new(Config { window, ..Config::default() });
    if window.is_some() {
        world.limits.history_messages_max = PAGE;
        for n in 0..EARLIER * CONVERSATIONS {
            world.other_writes(1 + n % CONVERSATIONS, "earlier");
        }
    }
    world.sign_in();
    let mut written: Vec<Vec<String>> = vec![Vec::new(); CONVERSATIONS as usize + 1];
    for step in 0..600 {
        let conversation = 1 + world.dice.below(CONVERSATIONS);
        if window.is_some() && world.dice.one_in(4) {
            look_around(&mut world, conversation);
        }
        match world.dice.below(28) {
            0..=3 => {
                let text = format!("mine {step}");
                written[conversation as usize].push(text.clone());
                world.input(Input::Send { conversation, text, reply_to: None });
            }
            4..=6 => {
                world.other_writes(conversation, &format!("theirs {step}"));
            }
            7..=10 => {
                world.serve_one();
            }
            11..=14 => {
                world.deliver_one();
            }
            15 => {
                // An answer overtakes an event, or the other way round: they come by different ways.
                if world.down.len() > 1 {
                    let at = world.dice.below(world.down.len() as u64 - 1) as usize;
                    let is_reply = |frame: &quorate_proto::frame::ServerFrame| frame.reply.is_some();
                    let greeting =
                        |frame: &quorate_proto::frame::ServerFrame| matches!(frame.body, Body::Welcome(_));
                    let (a, b) = (&world.down[at].1, &world.down[at + 1].1);
                    if is_reply(a) != is_reply(b) && !greeting(a) && !greeting(b) {
                        world.down.swap(at, at + 1);
                    }
                }
            }
            16 => {
                // The same event twice.
                if let Some((socket, frame)) = world.down.front().cloned()
                    && matches!(frame.body, Body::Event(_) | Body::Me(_))
                {
                    world.down.push_front((socket, frame));
                }
            }
            17 => {
                // A slow reader: an event is let go, and said so.
                let lost = world.down.iter().position(|(_, frame)| matches!(frame.body, Body::Event(_)));
                if let Some((socket, frame)) = lost.and_then(|at| world.down.remove(at))
                    && let Body::Event(event) = frame.body
                {
                    let topic = TopicRef::Conversation(event.conversation);
                    let (from_version, to_version) = (event.version, event.version);
                    world.push(socket, Body::Gap { topic, from_version, to_version });
                }
            }
            18 => {
                if let Some(socket) = world.sockets.keys().next().copied().or(world.opening.pop()) {
                    let code = [1006, 4100, 4101, 4103, 4200][world.dice.below(5) as usize];
                    world.cut(socket, code);
                }
                world.resume_allowed = !world.dice.one_in(3);
            }
            19 => {
                world.refuse_commands = world.dice.one_in(3).then(World::unavailable);
                world.refuse_sends = match world.dice.below(3) {
                    0 => Some(World::unavailable()),
                    1 => Some(WireError::new(ErrorCode::RateLimited, "slower").retry_after(300)),
                    _ => None,
                };
            }
            20 => {
                let newest = world.client.conversation(conversation).map_or(0, |c| c.sequence);
                world.input(Input::Focus(Some(conversation)));
                world.input(Input::MarkRead(conversation, newest));
            }
            21 => world.ping_all(),
            22 => {
                if world.dice.one_in(4) {
                    // A reload: only the store is left.
                    let stored = world.stored.values().cloned().collect();
                    for socket in world.sockets.keys().copied().collect::<Vec<_>>() {
                        world.cut(socket, 1001);
                    }
                    world.opening.clear();
                    world.client = Client::new(Config { window, ..Config::default() });
                    world.input(Input::Restore(stored));
                    world.sign_in();
                } else if let Some(socket) = world.sockets.keys().next_back().copied() {
                    world.push(socket, Body::Drain { after_ms: 50, reason: "moving".into() });
                }
            }
            23..=26 => {
                let count = world.messages(conversation).len() as u64;
                if count > 0 {
                    let sequence = 1 + world.dice.below(count);
                    change(&mut world, conversation, sequence, step);
                }
            }
            _ => {
                let ms = world.dice.below(3_000);
                world.now_ms += ms;
                world.input(Input::Tick);
                while let Some(socket) = world.opening.pop() {
                    world.open(socket);
                }
            }
        }
    }
    // Quiet.
    world.refuse_sends = None;
    world.refuse_commands = None;
    world.resume_allowed = true;
    world.settle();
    let pasts = if window.is_some() { shown_are_true(&mut world) } else { 0 };
    for conversation in 1..=CONVERSATIONS {
        world.input(Input::Focus(Some(conversation)));
        world.settle();
        world.ping_all();
        world.settle();
    }
    world.assert_agreement();
    if let Some(window) = window {
        (1..=CONVERSATIONS).for_each(|conversation| to_the_first_and_back(&mut world, conversation, window));
    }
    for conversation in 1..=CONVERSATIONS {
        let committed: Vec<String> = world
            .messages(conversation)
            .iter()
            .filter(|message| message.from.id == ME)
            .map(|message| message.client_message_id.to_string())
            .collect();
        assert_eq!(committed.len(), written[conversation as usize].len(), "own messages of {conversation}");
        assert!(world.client.conversation(conversation).is_some_and(|c| c.timeline.loaded));
    }
    assert_eq!(world.client.details().position, world.index, "the position has caught up");
    pasts
}

/// What is shown of each conversation is the history as it is now, before its reader goes anywhere else; how many of them are pasts.
fn shown_are_true(world: &mut World) -> usize {
    world.ping_all();
    world.settle();
    for conversation in 1..=CONVERSATIONS {
        // Messages change after a page was read for her, and she hears of it before that page comes.
        let newer = world.dice.one_in(2);
        let load = if newer { Input::LoadNewer } else { Input::LoadOlder };
        world.input(load(conversation));
        while world.serve_one() {}
        let (pages, others): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut world.down).into_iter().partition(|(_, frame)| frame.reply.is_some());
        world.down = others;
        let held = world.client.conversation(conversation).and_then(|held| held.shown().first());
        for step in 0..20 {
            let around = held.unwrap_or(1).saturating_sub(u64::from(PAGE)) + world.dice.below(60);
            let sequence = around.clamp(1, world.messages(conversation).len() as u64);
            change(world, conversation, sequence, step);
        }
        world.down.extend(pages);
        world.settle();
    }
    let all = (1..=CONVERSATIONS).filter(|id| {
        let held = world.client.conversation(*id).filter(|held| held.timeline.loaded);
        if held.is_some() {
            world.assert_shown(*id);
        }
        held.is_some_and(Conversation::in_past)
    });
    all.count()
}

/// The reader goes up and down, follows a link, or goes back to the end.
fn look_around(world: &mut World, conversation: u64) {
    let at = 1 + world.dice.below(EARLIER);
    match world.dice.below(8) {
        0..=2 => world.input(Input::LoadOlder(conversation)),
        3..=4 => world.input(Input::LoadNewer(conversation)),
        5 => world.input(Input::Seek(conversation, at)),
        6 => {
            let look = (!world.dice.one_in(3)).then_some(at);
            world.input(Input::Look(conversation, look));
        }
        _ => world.input(Input::Latest(conversation)),
    }
}

/// Up to the first message and down again, page by page: what is shown is the history at every step.
fn to_the_first_and_back(world: &mut World, conversation: u64, window: usize) {
    let go = |world: &mut World, input: fn(u64) -> Input, wanted: fn(&Conversation) -> bool| {
        for _ in 0..100 {
            world.assert_shown(conversation);
            let held = world.client.conversation(conversation).expect("a conversation");
            assert!(held.shown().run().count() <= window + 50, "no more than the window");
            if wanted(held) {
                return;
            }
            world.input(input(conversation));
            world.pass(2_000);
            world.step_all();
        }
        panic!("it does not get there");
    };
    world.input(Input::Focus(Some(conversation)));
    world.input(Input::Look(conversation, Some(1)));
    go(world, Input::LoadOlder, |held| held.shown().first() == Some(1));
    go(world, Input::LoadNewer, |held| !held.in_past());
    world.input(Input::Latest(conversation));
    world.assert_agreement();
}

/// Something happens to a message that is there: by its reader's click, or by somebody else.
fn change(world: &mut World, conversation: u64, sequence: u64, step: u32) {
    let id = world.moment().client_message_id();
    let held = world.messages(conversation)[sequence as usize - 1].clone();
    let emoji = ["👍", "🎉"][world.dice.below(2) as usize].to_owned();
    let on = world.dice.one_in(2);
    match world.dice.below(6) {
        0 => {
            world.input(Input::Ask(id, Deed::React { conversation, sequence, emoji, on }));
        }
        1 if held.from.id == ME => {
            let text = format!("edited {step}");
            let deed = Deed::Edit { conversation, sequence, text, if_revision: None };
            world.input(Input::Ask(id, deed));
        }
        2 if held.from.id == ME => {
            let deed = Deed::Delete { conversation, sequence, through: None, for_me: false };
            world.input(Input::Ask(id, deed));
        }
        3 if !held.deleted => {
            let there = held.reactions.iter().find(|one| one.emoji == emoji);
            let on = !there.is_some_and(|one| one.users.contains(&2));
            world.commit(conversation, EventKind::Reaction { sequence, emoji, user: user(2), on });
        }
        4 if !held.deleted && held.from.id != ME => {
            let text = if on { format!("@u1 {step}") } else { format!("newer {step}") };
            let revision = held.revision + 1;
            world.commit(conversation, EventKind::Edit { sequence, revision, text, by: user(2) });
        }
        5 if !held.deleted && held.from.id != ME => {
            world.commit(conversation, EventKind::Delete { sequences: vec![sequence], by: user(2) });
        }
        _ => {}
    }
}

#[test]
fn nothing_is_lost_doubled_or_misordered() {
    for seed in 1..=300 {
        let run = std::panic::catch_unwind(|| storm(seed, None));
        assert!(run.is_ok(), "seed {seed} fails; run it alone");
    }
}

#[test]
fn nothing_is_lost_doubled_or_misordered_in_the_past() {
    let mut pasts = 0;
    for seed in 1..=100 {
        let run = std::panic::catch_unwind(|| storm(seed, Some(WINDOW)));
        assert!(run.is_ok(), "seed {seed} fails; run it alone");
        pasts += run.unwrap_or_default();
    }
    assert!(pasts > 30, "only {pasts} storms ended in a past");
}
