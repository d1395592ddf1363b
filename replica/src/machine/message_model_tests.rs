//! Random commands of three users in two conversations, against a naive model of what is unread: messages in a list, counted one
//! by one. After each step the recount of `verify` must agree, too.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_proto::rpc::{self, event, topic};

use super::message_tests::{delete, edit, hide, mark, pin, react, save};
use super::tests::{Dice, World, send};
use super::*;
use crate::store::Space;

const NAMES: [&str; 3] = ["ana", "bob", "eve"];
const STEPS: usize = 300;
const SEEDS: u64 = 8;

struct Said {
    from: u64,
    names: BTreeSet<u64>,
    all: bool,
    is_deleted: bool,
}

/// One conversation as somebody with a notebook sees it.
#[derive(Default)]
struct Room {
    is_group: bool,
    said: Vec<Said>,
    /// Present members and how far each has read.
    read: BTreeMap<u64, u64>,
}

impl Room {
    /// Whom a text names, word by word.
    fn named(&self, people: &[u64; 3], from: u64, text: &str) -> (BTreeSet<u64>, bool) {
        let is_named = |place: usize| text.split(' ').any(|word| word == format!("@{}", NAMES[place]));
        let named = (0..3).filter(|place| is_named(*place)).map(|place| people[place]);
        let present = named.filter(|user| *user != from && self.read.contains_key(user));
        (present.collect(), self.is_group && text.contains("@all"))
    }

    fn unread(&self, user: u64) -> (u64, u64) {
        let read = self.read[&user] as usize;
        let unread = self.said.iter().skip(read).filter(|said| said.from != user && !said.is_deleted);
        let mentions = unread.clone().filter(|said| said.all || said.names.contains(&user));
        (unread.count() as u64, mentions.count() as u64)
    }
}

struct Model {
    people: [u64; 3],
    rooms: BTreeMap<u64, Room>,
}

impl Model {
    /// Writes down what was pushed. `own` is the command's id: another message is one whose time has come.
    fn note(&mut self, event: &Event, own: &Bytes) {
        let topic = event.topic.expect("every event has a topic");
        let people = self.people;
        if topic.kind() == topic::Kind::Me {
            match &event.kind {
                Some(event::Kind::MeRead(it)) => {
                    let room = self.rooms.get_mut(&it.conversation_id).expect("known");
                    room.read.insert(topic.id, it.sequence);
                }
                Some(event::Kind::MeAdded(it)) => {
                    let room = self.rooms.entry(it.conversation_id).or_default();
                    room.read.insert(topic.id, room.said.len() as u64);
                }
                Some(event::Kind::MeRemoved(it)) => {
                    self.rooms.get_mut(&it.conversation_id).expect("known").read.remove(&topic.id);
                }
                _ => {}
            }
            return;
        }
        let room = self.rooms.entry(topic.id).or_default();
        match &event.kind {
            Some(event::Kind::Message(it)) => {
                let from = it.from.as_ref().expect("an author").id;
                let (names, all) = match it.forwarded {
                    Some(_) => (BTreeSet::new(), false),
                    None => room.named(&people, from, &it.text),
                };
                room.said.push(Said { from, names, all, is_deleted: false });
                assert_eq!(it.sequence, room.said.len() as u64, "dense");
                let read = room.read.get_mut(&from).expect("members write");
                if it.client_message_id == *own || *read + 1 == it.sequence {
                    *read = it.sequence;
                }
            }
            Some(event::Kind::Edited(it)) => {
                let place = it.sequence as usize - 1;
                let from = room.said[place].from;
                let (names, all) = room.named(&people, from, &it.text);
                (room.said[place].names, room.said[place].all) = (names, all);
            }
            Some(event::Kind::Deleted(it)) => {
                for sequence in &it.sequences {
                    let said = &mut room.said[*sequence as usize - 1];
                    assert!(!said.is_deleted, "taken back once");
                    said.is_deleted = true;
                }
            }
            _ => {}
        }
    }

    fn compare(&self, world: &World, seed: u64, step: usize) {
        for (id, room) in &self.rooms {
            for user in room.read.keys() {
                assert_eq!(
                    world.unread(*id, *user),
                    room.unread(*user),
                    "seed {seed}, step {step}: user {user} in conversation {id}"
                );
            }
            for (place, said) in room.said.iter().enumerate() {
                let message = world.message(*id, place as u64 + 1);
                let names: BTreeSet<u64> = message.mentions.iter().copied().collect();
                assert_eq!(message.deleted_ms != 0, said.is_deleted, "seed {seed}, step {step}");
                if !said.is_deleted {
                    assert_eq!((names, message.mentions_all), (said.names.clone(), said.all), "seed {seed}");
                }
            }
        }
    }
}

fn any_text(dice: &mut Dice) -> String {
    let mut text = "hello".to_owned();
    for name in NAMES {
        if dice.below(4) == 0 {
            text.push_str(&format!(" @{name}"));
        }
    }
    if dice.below(8) == 0 {
        text.push_str(" @all");
    }
    text
}

fn any_action(dice: &mut Dice, world: &World, people: &[u64; 3], (group, pair): (u64, u64)) -> Action {
    let room = if dice.below(3) == 0 { pair } else { group };
    let person = people[dice.below(3) as usize];
    let last = world.state.conversation(room).expect("a map").expect("there").sequence;
    let sequence = 1 + dice.below(last + 1);
    match dice.below(22) {
        0 | 1 => delete(room, sequence, sequence),
        2 => delete(room, sequence, sequence + dice.below(5)),
        3 | 4 => edit(room, sequence, &any_text(dice)),
        5 => react(room, sequence, "👍", dice.below(2) == 0),
        6 => pin(room, sequence, dice.below(3) != 0),
        7 => save(room, sequence, dice.below(3) != 0),
        8 => hide(room, sequence, sequence + dice.below(9)),
        9 | 10 => mark(room, sequence),
        11 | 12 => Action::Schedule(rpc::Schedule {
            conversation_id: room,
            text: any_text(dice),
            due_ms: world.now + 1 + dice.below(3_000),
            remind_of: if dice.below(3) == 0 { sequence } else { 0 },
            reply_to: 0,
        }),
        13 => Action::CancelScheduled(rpc::CancelScheduled { id: 1 + dice.below(20) }),
        14 => Action::RemoveMember(rpc::RemoveMember { conversation_id: group, user_id: person }),
        15 | 16 => Action::AddMember(rpc::AddMember { conversation_id: group, user_id: person }),
        17 => {
            let forward = Some(rpc::MessageRef { conversation_id: room, sequence });
            let conversation_id = if dice.below(2) == 0 { group } else { pair };
            Action::Send(rpc::Send { conversation_id, forward, ..Default::default() })
        }
        18 => Action::ChangeConversation(rpc::ChangeConversation {
            conversation_id: group,
            retention_ms: Some(if dice.below(2) == 0 { 0 } else { 3_600_000 }),
            ..Default::default()
        }),
        _ => send(room, &any_text(dice)),
    }
}

#[test]
fn what_is_unread_is_what_a_naive_count_says_whatever_is_done() {
    let mut done: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let people = NAMES.map(|name| world.user(name));
        let mut model = Model { people, rooms: BTreeMap::new() };
        let group = world.group(people[0], &people[1..]);
        let pair = world.direct(people[0], people[1]);
        let read = |users: &[u64]| users.iter().map(|user| (*user, 0)).collect();
        model.rooms.insert(group, Room { is_group: true, read: read(&people), ..Default::default() });
        model.rooms.insert(pair, Room { read: read(&people[..2]), ..Default::default() });
        for step in 0..STEPS {
            world.now += match dice.below(40) {
                0 => 3_600_000,
                _ => dice.below(500),
            };
            let by = people[dice.below(3) as usize];
            let action = any_action(&mut dice, &world, &people, (group, pair));
            let command = world.command(by, action);
            let (outcome, events) = world.apply(&command);
            let is_refused = matches!(outcome.result, Some(outcome::Result::Rejected(_)));
            for event in &events {
                model.note(event, &command.command_id);
                let kind = match &event.kind {
                    Some(event::Kind::Message(it)) if it.client_message_id != command.command_id => {
                        "scheduled"
                    }
                    Some(event::Kind::Message(it)) if it.forwarded.is_some() => "handed on",
                    Some(event::Kind::Message(_)) => "sent",
                    Some(event::Kind::Deleted(it)) if it.by.as_ref().is_some_and(|by| by.id == 0) => {
                        "too old"
                    }
                    Some(event::Kind::Deleted(_)) => "deleted",
                    Some(event::Kind::Edited(_)) => "edited",
                    Some(event::Kind::Member(_)) => "moved",
                    _ => "other",
                };
                *done.entry(kind).or_default() += 1;
            }
            *done.entry(if is_refused { "refused" } else { "accepted" }).or_default() += 1;
            model.compare(&world, seed, step);
            world.must_be_whole();
        }
        let named = world.state.keys().filter(|key| key.space() == Space::Mentions as u8).count();
        *done.entry("named").or_default() += named;
    }
    let kinds =
        ["scheduled", "handed on", "sent", "too old", "deleted", "edited", "moved", "named", "refused"];
    assert!(kinds.iter().all(|kind| done.get(kind).is_some_and(|count| *count > 10)), "{done:?}");
}
