//! The machine by its commands and refusals, over a map.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_proto::rpc::{self, event};

use super::*;
use crate::store::{Key, Space};

#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) state: BTreeMap<Key, Bytes>,
    pub(crate) index: u64,
    pub(crate) now: u64,
    pub(crate) next_id: u128,
    pub(crate) machine_version: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { now: 1_000_000, machine_version: VERSION_MAX, ..Self::default() }
    }

    pub(crate) fn command(&mut self, user_id: u64, action: Action) -> Command {
        self.next_id += 1;
        let session_id = if user_id == 0 { Bytes::new() } else { session_of(user_id) };
        let command_id = Bytes::copy_from_slice(&self.next_id.to_be_bytes());
        Command { user_id, session_id, command_id, first_sent_ms: self.now, action: Some(action) }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> (Outcome, Vec<Event>) {
        self.index += 1;
        let context = Context {
            index: self.index,
            term: 1,
            log_time_ms: self.now,
            machine_version: self.machine_version,
        };
        let applied = apply(&self.state, context, command).expect("a map does not fail");
        for (key, value) in &applied.before {
            assert_eq!(self.state.get(key), value.as_ref(), "what is said to be replaced is what is there");
        }
        self.machine_version = applied.machine_version.unwrap_or(self.machine_version);
        for (key, value) in applied.writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        (applied.outcome, applied.events)
    }

    pub(crate) fn act(&mut self, user_id: u64, action: Action) -> Outcome {
        let command = self.command(user_id, action);
        self.apply(&command).0
    }

    pub(crate) fn user(&mut self, name: &str) -> u64 {
        let create = rpc::CreateUser {
            name: name.into(),
            display_name: name.to_uppercase(),
            password_phc: "$argon2id$".into(),
        };
        let outcome = self.act(0, Action::CreateUser(create));
        let Some(outcome::Result::User(user)) = outcome.result else { panic!("refused: {outcome:?}") };
        let session = rpc::CreateSession {
            user_id: user.user_id,
            session_id: session_of(user.user_id),
            refresh_hash: vec![1; 32].into(),
            device: "test".into(),
            ..rpc::CreateSession::default()
        };
        accepted(&self.act(0, Action::CreateSession(session)));
        user.user_id
    }

    pub(crate) fn direct(&mut self, by: u64, peer_id: u64) -> u64 {
        conversation_of(&self.act(by, Action::CreateDirect(rpc::CreateDirect { peer_id })))
    }

    pub(crate) fn send(&mut self, by: u64, conversation_id: u64, text: &str) -> Outcome {
        self.act(by, send(conversation_id, text))
    }
}

pub(crate) fn session_of(user_id: u64) -> Bytes {
    Bytes::copy_from_slice(&u128::from(user_id).to_be_bytes())
}

pub(crate) fn send(conversation_id: u64, text: &str) -> Action {
    Action::Send(rpc::Send { conversation_id, text: text.into(), ..rpc::Send::default() })
}

pub(crate) fn accepted(outcome: &Outcome) {
    assert!(!matches!(outcome.result, Some(outcome::Result::Rejected(_))), "{outcome:?}");
}

pub(crate) fn code(outcome: &Outcome) -> &str {
    match &outcome.result {
        Some(outcome::Result::Rejected(rejected)) => &rejected.code,
        other => panic!("not rejected: {other:?}"),
    }
}

pub(crate) fn conversation_of(outcome: &Outcome) -> u64 {
    match &outcome.result {
        Some(outcome::Result::Conversation(ready)) => ready.conversation_id,
        other => panic!("no conversation: {other:?}"),
    }
}

fn edit(conversation_id: u64, sequence: u64, text: &str, if_revision: Option<u64>) -> Action {
    Action::Edit(rpc::Edit { conversation_id, sequence, text: text.into(), if_revision })
}

fn edited(outcome: &Outcome) -> &rpc::MessageEdited {
    match &outcome.result {
        Some(outcome::Result::Edited(edited)) => edited,
        other => panic!("not edited: {other:?}"),
    }
}

fn sent(outcome: &Outcome) -> &rpc::MessageSent {
    match &outcome.result {
        Some(outcome::Result::Message(sent)) => sent,
        other => panic!("not sent: {other:?}"),
    }
}

#[test]
fn a_name_is_taken_once() {
    let mut world = World::new();
    world.user("ana");
    let again =
        rpc::CreateUser { name: "Ana".into(), display_name: "x".into(), password_phc: "$argon2id$".into() };
    assert_eq!(code(&world.act(0, Action::CreateUser(again))), "name_taken");
}

#[test]
fn one_id_makes_one_message() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    let command = world.command(ana, send(conversation, "hi"));
    let (first, events) = world.apply(&command);
    assert_eq!(events.len(), 1);
    let later = Command { first_sent_ms: 5, session_id: Bytes::new(), ..command.clone() };
    let (second, events) = world.apply(&later);
    assert!(events.is_empty(), "a replay pushes nothing");
    assert!(second.replay && !first.replay);
    assert_eq!(Outcome { replay: false, ..second }, first, "the original answer, whatever session asks");
    let other = Command { action: Some(send(conversation, "ho")), ..command };
    assert_eq!(code(&world.apply(&other).0), "id_conflict");
    assert_eq!(world.state.messages(conversation, 1, 10, 10).expect("a map").len(), 1);
}

#[test]
fn ids_are_forgotten_after_72_hours_and_old_commands_refused() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    let command = world.command(ana, send(conversation, "hi"));
    world.apply(&command);
    let remembered = world.state.len();
    world.now += quorate_proto::limits::DEDUP_MS - 1;
    assert!(world.apply(&command).0.replay, "a millisecond before the end");
    world.now += 1;
    let (outcome, _) = world.apply(&command);
    assert_eq!(code(&outcome), "expired", "forgotten, and too old to be tried");
    assert!(world.state.len() < remembered, "the memory is given back");
    assert_eq!(sent(&world.send(ana, conversation, "new")).sequence, 2);
}

#[test]
fn a_refusal_leaves_no_trace_but_that_it_was_refused() {
    let mut world = World::new();
    let (ana, bob, eve) = (world.user("ana"), world.user("bob"), world.user("eve"));
    let conversation = world.direct(ana, bob);
    let kept = |world: &World| -> BTreeMap<Key, Bytes> {
        let memory = [Space::Dedup, Space::DedupExpiry, Space::DedupCount].map(|space| space as u8);
        let queue = Key::one(Space::Counters, 1);
        let others = |key: &Key| !memory.contains(&key.space()) && *key != queue;
        world.state.iter().filter(|(key, _)| others(key)).map(|(key, value)| (*key, value.clone())).collect()
    };
    let before = kept(&world);
    assert_eq!(code(&world.send(eve, conversation, "let me in")), "not_found");
    assert_eq!(code(&world.send(ana, 99, "nowhere")), "not_found");
    assert_eq!(code(&world.send(ana, conversation, "  ")), "invalid");
    assert_eq!(code(&world.act(ana, Action::CreateDirect(rpc::CreateDirect { peer_id: ana }))), "invalid");
    let mut foreign = world.command(ana, send(conversation, "as ana"));
    foreign.session_id = session_of(eve);
    let whole = world.state.clone();
    assert_eq!(code(&world.apply(&foreign).0), "unauthenticated");
    assert_eq!(world.state, whole, "what is not final is not remembered");
    assert_eq!(kept(&world), before);
}

#[test]
fn a_final_refusal_is_repeated_though_the_state_would_now_allow_it() {
    let mut world = World::new();
    let (ana, bob, eve) = (world.user("ana"), world.user("bob"), world.user("eve"));
    let create = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let group = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    let command = world.command(eve, send(group, "let me in"));
    let (refused, _) = world.apply(&command);
    assert_eq!(code(&refused), "not_found");
    accepted(&world.act(ana, Action::AddMember(rpc::AddMember { conversation_id: group, user_id: eve })));
    let (again, events) = world.apply(&command);
    assert_eq!((code(&again), again.replay, again.index), ("not_found", true, refused.index));
    assert!(events.is_empty(), "a late copy of a refused command has no effect");
    accepted(&world.send(eve, group, "thanks"));
}

#[test]
fn a_temporary_refusal_is_not_remembered() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    world.machine_version = 1;
    sent(&world.send(ana, conversation, "hi"));
    let command = world.command(ana, edit(conversation, 1, "ho", Some(0)));
    assert_eq!(code(&world.apply(&command).0), "unsupported", "version 1 does not edit");
    accepted(&world.act(0, Action::SetMachineVersion(rpc::SetMachineVersion { version: 2 })));
    assert_eq!(edited(&world.apply(&command).0).revision, 1, "the same command under version 2");
}

#[test]
fn the_machine_version_rises_by_one() {
    let mut world = World::new();
    world.machine_version = 1;
    let set = |version| Action::SetMachineVersion(rpc::SetMachineVersion { version });
    for version in [0, 1, 3, u32::MAX] {
        assert_eq!(code(&world.act(0, set(version))), "invalid");
        assert_eq!(world.machine_version, 1);
    }
    accepted(&world.act(0, set(2)));
    assert_eq!(world.machine_version, 2);
    assert_eq!(code(&world.act(0, set(2))), "invalid", "raised already");
}

#[test]
fn an_edit_compares_and_sets() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    let before = sent(&world.send(ana, conversation, "zero")).version;
    let command = world.command(ana, edit(conversation, 1, "one", Some(0)));
    let (outcome, events) = world.apply(&command);
    let first = *edited(&outcome);
    assert_eq!((first.sequence, first.revision, first.version), (1, 1, before + 1));
    let Some(event::Kind::Edited(told)) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!((told.sequence, told.revision, told.text.as_str()), (1, 1, "one"));
    assert_eq!(told.sent_version, before, "by which it is told to whom the text may be told");
    let (again, events) = world.apply(&command);
    assert!(again.replay && events.is_empty() && *edited(&again) == first);

    let late = world.act(ana, edit(conversation, 1, "also one", Some(0)));
    let Some(outcome::Result::Rejected(rejected)) = &late.result else { panic!("{late:?}") };
    assert_eq!((rejected.code.as_str(), rejected.revision), ("conflict", Some(1)));
    assert_eq!(edited(&world.act(ana, edit(conversation, 1, "two", None))).revision, 2, "whatever is there");

    let message = world.state.message(conversation, 1).expect("a map").expect("there");
    assert_eq!((message.text.as_str(), message.revision, message.version), ("two", 2, before));
    let old = |n| world.state.revision(conversation, 1, n).expect("a map").map(|revision| revision.text);
    assert_eq!((old(0).as_deref(), old(1).as_deref(), old(2)), (Some("zero"), Some("one"), None));
    let topic = topics::conversation_topic(conversation);
    let read =
        world.state.events(Space::ConversationEvents, conversation, first.version, first.version + 1, 9);
    let (version, record) = read.expect("a map").remove(0);
    let event = join::event(&world.state, topic, version, record).expect("a map");
    let Some(event::Kind::Edited(joined)) = event.kind else { panic!("{event:?}") };
    assert_eq!((joined.revision, joined.text.as_str()), (2, "two"), "read later: the newest, both of them");
}

#[test]
fn only_who_wrote_a_message_edits_it() {
    let mut world = World::new();
    let (ana, bob, eve) = (world.user("ana"), world.user("bob"), world.user("eve"));
    let create = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let group = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    sent(&world.send(bob, group, "mine"));
    assert_eq!(code(&world.act(ana, edit(group, 1, "yours", None))), "forbidden");
    assert_eq!(code(&world.act(eve, edit(group, 1, "whose", None))), "not_found");
    assert_eq!(code(&world.act(bob, edit(group, 2, "later", None))), "not_found");
    assert_eq!(code(&world.act(bob, edit(group, 1, "  ", None))), "invalid");
    let both = rpc::RemoveMember { conversation_id: group, user_id: bob };
    accepted(&world.act(ana, Action::RemoveMember(both)));
    assert_eq!(code(&world.act(bob, edit(group, 1, "gone", None))), "not_found");
    accepted(&world.act(ana, Action::AddMember(rpc::AddMember { conversation_id: group, user_id: bob })));
    assert_eq!(code(&world.act(bob, edit(group, 1, "before", None))), "not_found", "of a former membership");
}

#[test]
fn earlier_texts_are_kept_within_their_bound() {
    use quorate_proto::limits::REVISIONS_KEPT_MAX;
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    world.send(ana, conversation, "0");
    for n in 1..=200 {
        let outcome = world.act(ana, edit(conversation, 1, &n.to_string(), Some(n - 1)));
        assert_eq!(edited(&outcome).revision, n);
        let kept = world.state.keys().filter(|key| key.space() == Space::Revisions as u8).count() as u64;
        assert_eq!(kept, n.min(REVISIONS_KEPT_MAX));
    }
    let oldest = world.state.revision(conversation, 1, 200 - REVISIONS_KEPT_MAX).expect("a map");
    assert_eq!(oldest.expect("kept").text, (200 - REVISIONS_KEPT_MAX).to_string());
}

#[test]
fn a_full_memory_refuses_new_commands_and_forgets_nothing_early() {
    use quorate_proto::limits::{COMMANDS_REMEMBERED_PER_USER_MAX, DEDUP_MS};
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    let first = world.command(ana, send(conversation, "first"));
    world.apply(&first);
    let count = Key::one(Space::DedupCount, ana);
    let had = world.state.insert(count, COMMANDS_REMEMBERED_PER_USER_MAX.to_be_bytes().to_vec().into());
    let before = world.state.clone();
    assert_eq!(code(&world.send(ana, conversation, "one more")), "rate_limited");
    assert_eq!(world.state, before, "it may be tried again");
    assert!(world.apply(&first).0.replay, "what is remembered is still answered");
    accepted(&world.act(ana, Action::MarkRead(rpc::MarkRead { conversation_id: conversation, sequence: 1 })));
    accepted(&world.send(bob, conversation, "others go on"));
    world.state.insert(count, had.expect("counted"));
    world.now += DEDUP_MS;
    accepted(&world.send(ana, conversation, "a new day"));
    assert_eq!(world.state.dedup_count(ana).expect("a map"), 1, "the old ones are no longer counted");
}

#[test]
fn sequences_and_versions_are_dense() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    let base = world.state.conversation(conversation).expect("a map").expect("there").version;
    for n in 1..=20 {
        let by = if n % 2 == 0 { ana } else { bob };
        let outcome = world.send(by, conversation, &format!("m{n}"));
        assert_eq!((sent(&outcome).sequence, sent(&outcome).version), (n, base + n));
    }
}

#[test]
fn a_pair_has_one_direct_conversation() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    assert_eq!(world.direct(ana, bob), world.direct(bob, ana));
}

#[test]
fn a_removed_member_gets_nothing_more() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let create = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let group = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    accepted(&world.send(bob, group, "hello"));
    let remove = rpc::RemoveMember { conversation_id: group, user_id: ana };
    assert_eq!(code(&world.act(bob, Action::RemoveMember(remove))), "forbidden");
    let remove = Action::RemoveMember(rpc::RemoveMember { conversation_id: group, user_id: bob });
    let command = world.command(ana, remove);
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert!(events.iter().any(|event| matches!(event.kind, Some(event::Kind::MeRemoved(_)))));
    assert_eq!(code(&world.send(bob, group, "still here?")), "not_found");
    let add = rpc::AddMember { conversation_id: group, user_id: bob };
    accepted(&world.act(ana, Action::AddMember(add)));
    accepted(&world.send(bob, group, "back"));
}

#[test]
fn read_marks_never_go_back() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    for _ in 0..5 {
        world.send(ana, conversation, "x");
    }
    let mark = |sequence| Action::MarkRead(rpc::MarkRead { conversation_id: conversation, sequence });
    let read = |world: &World, user| {
        world.state.member(conversation, user).expect("a map").expect("a member").read_sequence
    };
    assert_eq!((read(&world, ana), read(&world, bob)), (5, 0), "who writes has read");
    accepted(&world.act(bob, mark(4)));
    accepted(&world.act(bob, mark(2)));
    assert_eq!(read(&world, bob), 4);
    accepted(&world.act(bob, mark(99)));
    assert_eq!(read(&world, bob), 5, "not beyond what exists");
}

#[test]
fn an_ended_session_may_nothing() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let conversation = world.direct(ana, bob);
    accepted(&world.act(ana, Action::EndSession(rpc::EndSession { session_id: session_of(ana) })));
    assert_eq!(code(&world.send(ana, conversation, "ghost")), "unauthenticated");
}

#[test]
fn the_same_commands_give_the_same_state() {
    let run = || {
        let mut world = World::new();
        let (ana, bob) = (world.user("ana"), world.user("bob"));
        let conversation = world.direct(ana, bob);
        for n in 0..50 {
            world.send(if n % 3 == 0 { ana } else { bob }, conversation, &format!("{n}"));
        }
        world.state
    };
    assert_eq!(run(), run());
}

/// A small generator: the same run for the same seed.
pub(crate) struct Dice(pub(super) u64);

impl Dice {
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What was asked under an id, and what it was answered.
struct Asked {
    command: Command,
    outcome: Outcome,
    at_ms: u64,
}

fn any_action(dice: &mut Dice, rooms: &[u64], people: &[u64]) -> Action {
    let room = rooms[dice.below(rooms.len() as u64) as usize];
    let person = people[dice.below(people.len() as u64) as usize];
    match dice.below(12) {
        0 => Action::CreateGroup(rpc::CreateGroup {
            title: "team".into(),
            member_ids: vec![person],
            ..Default::default()
        }),
        1 => Action::AddMember(rpc::AddMember { conversation_id: room, user_id: person }),
        2 => Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id: person }),
        3 => Action::CreateDirect(rpc::CreateDirect { peer_id: person }),
        4 => Action::MarkRead(rpc::MarkRead { conversation_id: room, sequence: dice.below(30) }),
        5 | 6 => edit(room, dice.below(20), "edited", Some(dice.below(3))),
        _ => send(room, "hello"),
    }
}

/// Retries, foreign bodies under known ids and jumps of log time, against a model of (id → outcome): one id has one effect and
/// one answer, for as long as it could be asked again.
#[test]
fn one_id_has_one_effect_and_one_answer_whatever_is_retried_and_whenever() {
    let (mut messages, mut replays, mut conflicts, mut expired) = (0, 0, 0, 0);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let people: Vec<u64> = ["ana", "bob", "eve"].iter().map(|name| world.user(name)).collect();
        let create =
            rpc::CreateGroup { title: "team".into(), member_ids: people[1..].to_vec(), ..Default::default() };
        let group = conversation_of(&world.act(people[0], Action::CreateGroup(create)));
        let rooms = [group, world.direct(people[0], people[1]), 99];
        let mut asked: Vec<Asked> = Vec::new();
        let messages_before = messages;
        for _ in 0..400 {
            match dice.below(10) {
                0 => world.now += dice.below(30 * 3_600_000),
                1..=4 if !asked.is_empty() => {
                    let place = dice.below(asked.len() as u64) as usize;
                    let known = &asked[place];
                    let mut command = known.command.clone();
                    let foreign = dice.below(4) == 0;
                    if foreign {
                        command.action = Some(send(rooms[1], "another body"));
                    } else if dice.below(2) == 0 {
                        command.session_id = Bytes::from_static(b"some later session");
                    }
                    let before = world.state.clone();
                    let remembered = world.now < known.at_ms + quorate_proto::limits::DEDUP_MS;
                    let (outcome, events) = world.apply(&command);
                    assert!(events.is_empty(), "seed {seed}: nothing happens twice");
                    if world.now >= command.first_sent_ms + quorate_proto::limits::DEDUP_MS && !remembered {
                        assert_eq!(code(&outcome), "expired", "seed {seed}");
                        expired += 1;
                    } else if foreign {
                        assert_eq!(code(&outcome), "id_conflict", "seed {seed}");
                        conflicts += 1;
                    } else {
                        assert_eq!(Outcome { replay: false, ..outcome }, known.outcome, "seed {seed}");
                        replays += 1;
                    }
                    let chat = |state: &BTreeMap<Key, Bytes>| {
                        state.iter().filter(|(key, _)| key.space() == Space::Messages as u8).count()
                    };
                    assert_eq!(chat(&before), chat(&world.state), "seed {seed}");
                }
                _ => {
                    let by = people[dice.below(3) as usize];
                    let action = any_action(&mut dice, &rooms, &people);
                    let is_mark = matches!(action, Action::MarkRead(_));
                    let command = world.command(by, action);
                    let (outcome, _) = world.apply(&command);
                    assert!(!outcome.replay);
                    messages += usize::from(matches!(outcome.result, Some(outcome::Result::Message(_))));
                    if !is_mark {
                        asked.push(Asked { command, outcome, at_ms: world.now });
                    }
                }
            }
        }
        let stored = world.state.keys().filter(|key| key.space() == Space::Messages as u8).count();
        assert_eq!(stored, messages - messages_before, "seed {seed}: as many messages as accepted sends");
        for person in people.iter().chain([&0]) {
            let own = Key::one(Space::Dedup, *person)..Key::one(Space::Dedup, person + 1);
            let held = world.state.range(own).count() as u64;
            assert_eq!(world.state.dedup_count(*person).expect("a map"), held, "seed {seed}: counted right");
        }
    }
    let seen = [messages, replays, conflicts, expired];
    assert!(seen.iter().all(|count| *count > 500), "messages, replays, conflicts, expired: {seen:?}");
}

#[test]
fn read_marks_in_any_order_and_number_come_to_the_same() {
    let marks = [3_u64, 1, 4, 1, 5, 9, 2, 6, 5, 3];
    let run = |order: &mut dyn Iterator<Item = u64>| {
        let mut world = World::new();
        let (ana, bob) = (world.user("ana"), world.user("bob"));
        let conversation = world.direct(ana, bob);
        for _ in 0..9 {
            world.send(ana, conversation, "x");
        }
        let before = world.state.len();
        for sequence in order {
            let action = Action::MarkRead(rpc::MarkRead { conversation_id: conversation, sequence });
            let command = world.command(bob, action);
            accepted(&world.apply(&command).0);
            let after = world.state.clone();
            let (again, events) = world.apply(&command);
            accepted(&again);
            assert!(events.is_empty() && world.state == after, "the second time changes nothing");
        }
        assert!(world.state.len() > before);
        world.state.member(conversation, bob).expect("a map").expect("a member").read_sequence
    };
    assert_eq!(run(&mut marks.into_iter()), 9);
    assert_eq!(run(&mut marks.into_iter().rev()), 9);
    let mut sorted = marks;
    sorted.sort_unstable();
    assert_eq!(run(&mut sorted.into_iter()), 9);
}
