//! Many seeded runs in which everything that may go wrong between a client and a gateway does, in any order: then quiet,
//! and nothing is lost, doubled or out of order.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::Body;
use quorate_proto::ids::TopicRef;

use super::gateway::{ME, World};
use crate::client::{Client, Config};
use crate::event::Input;

const CONVERSATIONS: u64 = 3;

fn storm(seed: u64) {
    let mut world = World::new(seed, CONVERSATIONS);
    world.sign_in();
    let mut written: Vec<Vec<String>> = vec![Vec::new(); CONVERSATIONS as usize + 1];
    for step in 0..600 {
        let conversation = 1 + world.dice.below(CONVERSATIONS);
        match world.dice.below(24) {
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
                    world.client = Client::new(Config::default());
                    world.input(Input::Restore(stored));
                    world.sign_in();
                } else if let Some(socket) = world.sockets.keys().next_back().copied() {
                    world.push(socket, Body::Drain { after_ms: 50, reason: "moving".into() });
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
    world.resume_allowed = true;
    for conversation in 1..=CONVERSATIONS {
        world.input(Input::Focus(Some(conversation)));
        world.settle();
        world.ping_all();
        world.settle();
    }
    world.assert_agreement();
    for conversation in 1..=CONVERSATIONS {
        let committed: Vec<String> = world
            .messages(conversation)
            .iter()
            .filter(|message| message.from.id == ME)
            .map(|message| message.text.clone())
            .collect();
        assert_eq!(committed, written[conversation as usize], "own messages of {conversation}");
        assert!(world.client.conversation(conversation).is_some_and(|c| c.timeline.loaded));
    }
    assert_eq!(world.client.details().position, world.index, "the position has caught up");
}

#[test]
fn nothing_is_lost_doubled_or_misordered() {
    for seed in 1..=300 {
        let run = std::panic::catch_unwind(|| storm(seed));
        assert!(run.is_ok(), "seed {seed} fails; run it alone");
    }
}
