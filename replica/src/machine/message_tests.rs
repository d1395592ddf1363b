//! Messages by their commands and refusals: taken back, hidden, reacted to, pinned, saved, begun, edited, naming people, handed on.

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::{
    HIDDEN_RANGES_MAX, PINS_MAX, REACTIONS_MAX, REACTORS_MAX, REVISIONS_KEPT_MAX, SAVED_MAX,
};
use quorate_proto::rpc::{self, event};

use super::records::*;
use super::sight::Sight;
use super::tests::{World, accepted, code, conversation_of, send};
use super::*;
use crate::store::{Key, Space};
use crate::verify;

pub(super) fn delete(conversation_id: u64, first: u64, last: u64) -> Action {
    Action::DeleteMessages(rpc::DeleteMessages { conversation_id, first, last })
}

pub(super) fn hide(conversation_id: u64, first: u64, last: u64) -> Action {
    Action::HideMessages(rpc::HideMessages { conversation_id, first, last })
}

pub(super) fn react(conversation_id: u64, sequence: u64, emoji: &str, on: bool) -> Action {
    Action::React(rpc::React { conversation_id, sequence, emoji: emoji.into(), on })
}

pub(super) fn pin(conversation_id: u64, sequence: u64, on: bool) -> Action {
    Action::Pin(rpc::Pin { conversation_id, sequence, on })
}

pub(super) fn save(conversation_id: u64, sequence: u64, on: bool) -> Action {
    Action::SaveMessage(rpc::SaveMessage { conversation_id, sequence, on })
}

pub(super) fn edit(conversation_id: u64, sequence: u64, text: &str) -> Action {
    Action::Edit(rpc::Edit { conversation_id, sequence, text: text.into(), if_revision: None })
}

pub(super) fn mark(conversation_id: u64, sequence: u64) -> Action {
    Action::MarkRead(rpc::MarkRead { conversation_id, sequence })
}

fn draft(conversation_id: u64, text: &str) -> Action {
    Action::SetDraft(rpc::SetDraft { conversation_id, text: text.into(), reply_to: 0 })
}

fn forward(to: u64, conversation_id: u64, sequence: u64) -> Action {
    let forward = Some(rpc::MessageRef { conversation_id, sequence });
    Action::Send(rpc::Send { conversation_id: to, forward, ..Default::default() })
}

/// Version and sequence that a command answers.
fn changed(outcome: &Outcome) -> (u64, u64) {
    match &outcome.result {
        Some(outcome::Result::Changed(changed)) => (changed.version, changed.sequence),
        other => panic!("nothing of a change: {other:?}"),
    }
}

impl World {
    pub(super) fn group(&mut self, by: u64, members: &[u64]) -> u64 {
        let create =
            rpc::CreateGroup { title: "team".into(), member_ids: members.to_vec(), ..Default::default() };
        conversation_of(&self.act(by, Action::CreateGroup(create)))
    }

    pub(super) fn message(&self, id: u64, sequence: u64) -> StoredMessage {
        self.state.message(id, sequence).expect("a map").expect("there")
    }

    fn room(&self, id: u64) -> Conversation {
        self.state.conversation(id).expect("a map").expect("there")
    }

    pub(super) fn unread(&self, id: u64, user: u64) -> (u64, u64) {
        let member = self.state.member(id, user).expect("a map").expect("a member");
        let counted = unread(&self.state, (id, &self.room(id)), (user, &member)).expect("a map");
        (counted.messages, counted.mentions)
    }

    fn in_space(&self, space: Space) -> usize {
        self.state.keys().filter(|key| key.space() == space as u8).count()
    }

    pub(super) fn events(&mut self, user: u64, action: Action) -> Vec<event::Kind> {
        let command = self.command(user, action);
        let (outcome, events) = self.apply(&command);
        accepted(&outcome);
        events.into_iter().filter_map(|event| event.kind).collect()
    }

    pub(super) fn must_be_whole(&self) {
        let report = verify::tests::report(&self.state);
        assert!(report.is_whole(), "{report}");
    }
}

/// Three users and a group of them, made by the first.
pub(super) fn team() -> (World, [u64; 3], u64) {
    let mut world = World::new();
    let people = ["ana", "bob", "eve"].map(|name| world.user(name));
    let room = world.group(people[0], &people[1..]);
    (world, people, room)
}

#[test]
fn what_is_taken_back_is_gone_with_all_that_belongs_to_it() {
    let (mut world, [ana, bob, eve], room) = team();
    accepted(&world.send(bob, room, "psst @ana and @all: the secret"));
    for n in 0..3 {
        accepted(&world.act(bob, edit(room, 1, &format!("the secret {n} @ana @all"))));
    }
    accepted(&world.act(eve, react(room, 1, "👍", true)));
    accepted(&world.act(eve, pin(room, 1, true)));
    accepted(&world.act(eve, save(room, 1, true)));
    accepted(&world.send(eve, room, "what?"));
    world.must_be_whole();
    let kept = [Space::Revisions, Space::Reactions, Space::Pins, Space::Mentions, Space::MentionInbox];
    assert_eq!(kept.map(|space| world.in_space(space)), [3, 1, 1, 2, 1]);
    assert_eq!(world.unread(room, ana), (2, 1), "named twice by one message");

    let command = world.command(bob, delete(room, 1, 1));
    let (outcome, events) = world.apply(&command);
    let (version, sequence) = changed(&outcome);
    assert_eq!((version, sequence), (world.room(room).version, 1));
    let Some(event::Kind::Deleted(told)) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!((told.sequences.as_slice(), told.by.as_ref().map(|by| by.id)), ([1].as_slice(), Some(bob)));
    assert_eq!(events.len(), 1);
    assert_eq!(kept.map(|space| world.in_space(space)), [0; 5]);
    let message = world.message(room, 1);
    assert_eq!((message.text.as_str(), message.from, message.deleted_ms), ("", bob, world.now));
    assert_eq!((world.room(room).pins, world.unread(room, ana)), (0, (1, 0)));
    let held = |text: &str| {
        let parts = |value: &Bytes| value.windows(text.len()).any(|part| part == text.as_bytes());
        world.state.values().any(parts)
    };
    assert!(held("what?") && !held("secret"), "no text of it is anywhere in the state");
    assert!(
        world.state.saved_at(eve, room, 1).expect("a map").is_some(),
        "it stays saved, as what it is now"
    );
    let topic = topics::conversation_topic(room);
    for (version, record) in
        world.state.events(Space::ConversationEvents, room, 1, u64::MAX, 99).expect("a map")
    {
        let event = join::event(&world.state, topic, version, record).expect("a map");
        let text = format!("{event:?}");
        assert!(!text.contains("secret"), "{text}");
        if let Some(event::Kind::Message(message)) = event.kind {
            assert_eq!(message.deleted, message.sequence == 1);
        }
    }
    world.must_be_whole();

    let before = world.room(room);
    assert_eq!(changed(&world.act(bob, delete(room, 1, 1))), (0, 1), "twice changes nothing");
    assert_eq!(world.room(room), before);
    for action in
        [edit(room, 1, "again"), react(room, 1, "👍", true), pin(room, 1, true), save(room, 1, true)]
    {
        if !matches!(action, Action::SaveMessage(_)) {
            assert_eq!(code(&world.act(bob, action)), "not_found");
        }
    }
    assert_eq!(code(&world.act(bob, forward(room, room, 1))), "not_found");
    accepted(&world.act(eve, save(room, 1, false)));
    world.must_be_whole();
}

#[test]
fn own_messages_are_taken_back_and_by_those_who_manage_anybodys() {
    let (mut world, [ana, bob, eve], room) = team();
    for by in [ana, bob, eve, bob] {
        accepted(&world.send(by, room, "hello"));
    }
    assert_eq!(code(&world.act(bob, delete(room, 3, 3))), "forbidden");
    assert_eq!(code(&world.act(bob, delete(room, 9, 9))), "not_found");
    assert_eq!(code(&world.act(bob, delete(room, 0, 3))), "invalid");
    assert_eq!(code(&world.act(bob, delete(room, 3, 2))), "invalid");
    assert_eq!(code(&world.act(bob, delete(room, 1, 101))), "too_large");
    let told = world.events(bob, delete(room, 1, 100));
    let [event::Kind::Deleted(told)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(told.sequences, [2, 4], "what is not hers is left out");
    assert_eq!(changed(&world.act(bob, delete(room, 1, 100))), (0, 0), "nothing is left that she may");
    let told = world.events(ana, delete(room, 1, 100));
    let [event::Kind::Deleted(told)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(told.sequences, [1, 3], "the owner takes back the rest");
    let pair = world.direct(ana, bob);
    accepted(&world.send(bob, pair, "mine"));
    assert_eq!(code(&world.act(ana, delete(pair, 1, 1))), "forbidden", "nobody manages a pair");
    world.must_be_whole();
}

#[test]
fn one_entry_erases_a_bounded_number_of_keys() {
    let (mut world, [ana, ..], room) = team();
    for sequence in 1..=20 {
        accepted(&world.send(ana, room, "0"));
        for n in 0..REVISIONS_KEPT_MAX {
            accepted(&world.act(ana, edit(room, sequence, &n.to_string())));
        }
    }
    assert_eq!(code(&world.act(ana, delete(room, 1, 20))), "too_large");
    accepted(&world.act(ana, delete(room, 1, 14)));
    accepted(&world.act(ana, delete(room, 15, 20)));
    assert_eq!(world.in_space(Space::Revisions), 0);
    world.must_be_whole();
}

#[test]
fn what_one_hides_is_hidden_from_her_alone_and_ranges_merge() {
    let (mut world, [ana, bob, _], room) = team();
    for n in 1..=300 {
        accepted(&world.send(ana, room, &format!("m{n}")));
    }
    let ranges = |world: &World| {
        let hidden = world.state.hidden(bob, room).expect("a map");
        hidden.ranges.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>()
    };
    let told = world.events(bob, hide(room, 10, 20));
    assert!(
        matches!(told.as_slice(), [event::Kind::MeHidden(it)] if (it.first, it.last) == (10, 20)),
        "{told:?}"
    );
    assert!(world.events(bob, hide(room, 12, 15)).is_empty(), "hidden already");
    world.events(bob, hide(room, 30, 40));
    world.events(bob, hide(room, 21, 22));
    assert_eq!(ranges(&world), [(10, 22), (30, 40)]);
    world.events(bob, hide(room, 23, 29));
    assert_eq!(ranges(&world), [(10, 40)]);
    world.events(bob, hide(room, 290, 380));
    assert_eq!(ranges(&world), [(10, 40), (290, 300)], "not beyond what exists");
    assert_eq!(code(&world.act(bob, hide(room, 301, 302))), "not_found");
    world.must_be_whole();
    let seen = |user| {
        let sight = Sight::of(&world.state, user, room).expect("a map");
        let event = join::message(&world.state, room, 15, world.message(room, 15)).expect("a map");
        let Some(event::Kind::Message(it)) = sight.of_event(&world.state, event).expect("a map").kind else {
            panic!("no message")
        };
        (it.text, it.hidden)
    };
    assert_eq!((seen(bob), seen(ana)), ((String::new(), true), ("m15".to_owned(), false)));

    let (mut world, [ana, bob, _], room) = team();
    for _ in 0..=2 * HIDDEN_RANGES_MAX {
        accepted(&world.send(ana, room, "x"));
    }
    for n in 0..HIDDEN_RANGES_MAX as u64 {
        accepted(&world.act(bob, hide(room, 2 * n + 1, 2 * n + 1)));
    }
    let last = 2 * HIDDEN_RANGES_MAX as u64 + 1;
    assert_eq!(code(&world.act(bob, hide(room, last, last))), "too_large");
    accepted(&world.act(bob, hide(room, 2, 2)));
    accepted(&world.act(bob, hide(room, last, last)));
    world.must_be_whole();
}

#[test]
fn what_becomes_of_a_message_is_told_between_joining_and_leaving() {
    let (mut world, [ana, bob, _], room) = team();
    let zoe = world.user("zoe");
    let member = |conversation_id, user_id| rpc::RemoveMember { conversation_id, user_id };
    accepted(&world.send(ana, room, "the first text"));
    accepted(&world.act(ana, edit(room, 1, "while bob is here")));
    accepted(&world.act(ana, Action::RemoveMember(member(room, bob))));
    accepted(&world.act(ana, Action::AddMember(rpc::AddMember { conversation_id: room, user_id: zoe })));
    accepted(&world.act(ana, edit(room, 1, "after bob, and not for zoe")));
    accepted(&world.act(ana, react(room, 1, "👍", true)));
    let sight = |user| Sight::of(&world.state, user, room).expect("a map");
    let event = || join::message(&world.state, room, 1, world.message(room, 1)).expect("a map");
    let Some(event::Kind::Message(told)) = sight(bob).of_event(&world.state, event()).expect("a map").kind
    else {
        panic!("no message")
    };
    assert_eq!((told.text.as_str(), told.revision, told.reactions.len()), ("while bob is here", 1, 0));
    let version = world.room(room).version - 1;
    let edited = |user| {
        let topic = topics::conversation_topic(room);
        let stored = world.state.events(Space::ConversationEvents, room, version, version + 1, 1);
        let (_, record) = stored.expect("a map").pop().expect("the edit");
        let event = join::event(&world.state, topic, version, record).expect("a map");
        match sight(user).of_event(&world.state, event).expect("a map").kind {
            Some(event::Kind::Edited(edited)) => edited.text,
            other => panic!("no edit: {other:?}"),
        }
    };
    assert_eq!(edited(ana), "after bob, and not for zoe");
    assert_eq!(edited(zoe), "", "the message is from before her joining");
    assert_eq!(edited(bob), "while bob is here", "the edit is from after his leaving");
}

/// Who had put what on it stood in the conversation's events for ever, though the message and its reactions were gone.
#[test]
fn events_do_not_say_who_reacted_to_a_message_that_was_taken_back() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.send(ana, room, "regretted"));
    accepted(&world.send(ana, room, "kept"));
    let put = [1, 2].map(|sequence| changed(&world.act(bob, react(room, sequence, "👍", true))).0);
    let read = |world: &World, version| {
        let found =
            world.state.events(Space::ConversationEvents, room, version, version + 1, 1).expect("a map");
        let (version, record) = found.into_iter().next().expect("there");
        let event =
            join::event(&world.state, topics::conversation_topic(room), version, record).expect("a map");
        let Some(event::Kind::Reaction(told)) = event.kind else { panic!("{event:?}") };
        (told.sequence, told.emoji.clone(), told.user.as_ref().map_or(0, |user| user.id), told.on)
    };
    assert_eq!(read(&world, put[0]), (1, "👍".to_owned(), bob, true));
    accepted(&world.act(ana, delete(room, 1, 1)));
    assert_eq!(read(&world, put[0]), (1, String::new(), 0, false), "an event that changes nothing");
    assert_eq!(read(&world, put[1]), (2, "👍".to_owned(), bob, true));
}

#[test]
fn reactions_are_one_of_each_user_and_emoji() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.send(ana, room, "hello"));
    let (version, sequence) = changed(&world.act(bob, react(room, 1, "👍", true)));
    assert_eq!((version, sequence), (world.room(room).version, 1));
    assert_eq!(changed(&world.act(bob, react(room, 1, "👍", true))), (0, 1), "there already");
    assert_eq!(changed(&world.act(bob, react(room, 1, "🎉", false))), (0, 1), "not there");
    accepted(&world.act(ana, react(room, 1, "👍", true)));
    accepted(&world.act(ana, react(room, 1, "🎉", true)));
    let event = join::message(&world.state, room, 1, world.message(room, 1)).expect("a map");
    let sight = Sight::of(&world.state, bob, room).expect("a map");
    let Some(event::Kind::Message(it)) = sight.of_event(&world.state, event).expect("a map").kind else {
        panic!("no message")
    };
    let told: Vec<_> = it.reactions.iter().map(|of| (of.emoji.as_str(), of.count, of.mine)).collect();
    assert_eq!(told, [("👍", 2, true), ("🎉", 1, false)]);
    assert_eq!(it.reactions[0].user_ids, [bob, ana]);
    world.must_be_whole();
    for (user, emoji) in [(bob, "👍"), (ana, "👍"), (ana, "🎉")] {
        accepted(&world.act(user, react(room, 1, emoji, false)));
    }
    assert!(!world.message(room, 1).has_reactions && world.in_space(Space::Reactions) == 0);
    assert_eq!(code(&world.act(bob, react(room, 1, "no", true))), "invalid");
    assert_eq!(code(&world.act(bob, react(room, 2, "👍", true))), "not_found");
    let emoji = |n: usize| char::from_u32(0x1f600 + n as u32).expect("an emoji").to_string();
    for n in 0..REACTIONS_MAX {
        accepted(&world.act(bob, react(room, 1, &emoji(n), true)));
    }
    assert_eq!(code(&world.act(ana, react(room, 1, "🚀", true))), "too_large");
    accepted(&world.act(ana, react(room, 1, &emoji(0), true)));
    world.must_be_whole();
    let mut full = world.state.reactions(room, 1).expect("a map");
    full.emojis[1].user_ids = (1_000..1_000 + REACTORS_MAX as u64 - REACTIONS_MAX as u64).collect();
    let key = Key::two(Space::Reactions, room, 1);
    world.state.insert(key, full.encode_to_vec().into());
    assert!(full.encoded_len() < quorate_proto::limits::STORED_VALUE_BYTES_MAX);
    assert_eq!(code(&world.act(ana, react(room, 1, &emoji(2), true))), "too_large");
}

#[test]
fn pins_have_a_bound_and_are_for_those_who_write_there() {
    let (mut world, [ana, bob, _], room) = team();
    for _ in 0..=PINS_MAX {
        accepted(&world.send(ana, room, "x"));
    }
    for sequence in 1..=u64::from(PINS_MAX) {
        accepted(&world.act(bob, pin(room, sequence, true)));
    }
    let version = world.room(room).version;
    assert_eq!(changed(&world.act(bob, pin(room, 1, true))), (0, 1));
    assert_eq!(code(&world.act(bob, pin(room, u64::from(PINS_MAX) + 1, true))), "too_large");
    accepted(&world.act(ana, pin(room, 1, false)));
    assert_eq!((world.room(room).pins, world.room(room).version), (PINS_MAX - 1, version + 1));
    let change =
        rpc::ChangeConversation { conversation_id: room, announcement: Some(true), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(change)));
    assert_eq!(code(&world.act(bob, pin(room, 2, false))), "forbidden");
    assert_eq!(code(&world.send(bob, room, "me too")), "forbidden");
    assert_eq!(code(&world.act(bob, edit(room, 1, "x"))), "forbidden");
    accepted(&world.act(bob, react(room, 1, "👍", true)));
    accepted(&world.act(ana, pin(room, 2, false)));
    accepted(&world.send(ana, room, "heard"));
    world.must_be_whole();
}

#[test]
fn saved_messages_and_drafts_are_ones_own() {
    let (mut world, [ana, bob, eve], room) = team();
    accepted(&world.send(ana, room, "hello"));
    assert_eq!(world.events(bob, save(room, 1, true)).len(), 1);
    assert!(
        world.events(bob, save(room, 1, true)).is_empty()
            && world.events(eve, save(room, 1, false)).is_empty()
    );
    assert_eq!(code(&world.act(bob, save(room, 2, true))), "not_found");
    let mut record = world.state.user(bob).expect("a map").expect("there");
    assert_eq!(record.saved, 1);
    world.must_be_whole();
    record.saved = SAVED_MAX;
    world.state.insert(Key::one(Space::User, bob), record.encode_to_vec().into());
    accepted(&world.send(ana, room, "another"));
    assert_eq!(code(&world.act(bob, save(room, 2, true))), "too_large");
    record.saved = 1;
    world.state.insert(Key::one(Space::User, bob), record.encode_to_vec().into());
    accepted(
        &world.act(bob, Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id: bob })),
    );
    assert_eq!(world.events(bob, save(room, 1, false)).len(), 1, "taken off the list though she left");
    world.must_be_whole();

    let told = world.events(eve, draft(room, "dear al"));
    assert!(matches!(told.as_slice(), [event::Kind::MeDraft(it)] if it.text == "dear al"), "{told:?}");
    assert!(world.events(eve, draft(room, "dear al")).is_empty(), "the same");
    accepted(&world.send(eve, room, "dear all"));
    assert!(world.state.draft(eve, room).expect("a map").is_some(), "sending leaves it to the client");
    assert_eq!(world.events(eve, draft(room, "")).len(), 1);
    assert!(world.events(eve, draft(room, "")).is_empty() && world.in_space(Space::Drafts) == 0);
    let long = "x".repeat(quorate_proto::limits::TEXT_BYTES_MAX + 1);
    assert_eq!(code(&world.act(eve, draft(room, &long))), "too_large");
    assert_eq!(code(&world.act(bob, draft(room, "me"))), "not_found");
    world.must_be_whole();
}

#[test]
fn a_text_names_members_and_an_edit_keeps_step() {
    let (mut world, [ana, bob, eve], room) = team();
    let out = world.user("out");
    accepted(&world.send(ana, room, "hi @bob, @BOB, @out and @nobody, says @ana"));
    assert_eq!(world.message(room, 1).mentions, [bob]);
    assert_eq!([bob, eve, ana].map(|user| world.unread(room, user)), [(1, 1), (1, 0), (0, 0)]);
    accepted(&world.act(ana, edit(room, 1, "hi @eve and @all")));
    assert_eq!(
        (world.message(room, 1).mentions.clone(), world.message(room, 1).mentions_all),
        (vec![eve], true)
    );
    assert_eq!([bob, eve, ana].map(|user| world.unread(room, user)), [(1, 1), (1, 1), (0, 0)]);
    world.must_be_whole();
    accepted(&world.act(ana, edit(room, 1, "hi")));
    assert_eq!([bob, eve].map(|user| world.unread(room, user)), [(1, 0), (1, 0)]);
    assert_eq!(world.in_space(Space::MentionInbox) + world.in_space(Space::Mentions), 0);
    accepted(&world.act(bob, mark(room, 1)));
    accepted(&world.send(eve, room, "@all look"));
    assert_eq!(world.unread(room, eve), (0, 0), "not by her own word");
    assert_eq!(world.unread(room, bob), (1, 1));
    world.must_be_whole();
    let pair = world.direct(ana, out);
    accepted(&world.send(ana, pair, "@all and @out"));
    let message = world.message(pair, 1);
    assert_eq!(
        (message.mentions.as_slice(), message.mentions_all),
        ([out].as_slice(), false),
        "two are not all"
    );

    let many: Vec<u64> = (0..201).map(|n| world.user(&format!("user{n}"))).collect();
    let hall = world.group(ana, &many);
    accepted(&world.send(many[0], hall, "@all"));
    assert!(!world.message(hall, 1).mentions_all, "in a large group only those who manage it name all");
    let names: Vec<String> = (0..60).map(|n| format!("@user{n}")).collect();
    accepted(&world.send(ana, hall, &format!("@all {}", names.join(" "))));
    let message = world.message(hall, 2);
    assert_eq!((message.mentions.len(), message.mentions_all), (quorate_proto::limits::MENTIONS_MAX, true));
    assert_eq!([0, 55].map(|n| world.unread(hall, many[n])), [(1, 1), (2, 1)]);
    world.must_be_whole();
}

#[test]
fn a_message_is_handed_on_by_who_sees_it() {
    let (mut world, [ana, bob, eve], room) = team();
    let (pair, other) = (world.direct(ana, bob), world.direct(bob, eve));
    accepted(&world.send(ana, pair, "look @all @eve"));
    let sent_at = world.now;
    world.now += 5;
    accepted(&world.act(bob, forward(room, pair, 1)));
    let message = world.message(room, 1);
    assert_eq!((message.text.as_str(), message.from), ("look @all @eve", bob));
    assert_eq!((message.forwarded_from, message.forwarded_ms), (ana, sent_at));
    assert!(message.mentions.is_empty() && !message.mentions_all, "nobody is named anew");
    accepted(&world.act(eve, forward(other, room, 1)));
    let again = world.message(other, 1);
    assert_eq!((again.forwarded_from, again.forwarded_ms, again.from), (ana, sent_at, eve));
    assert_eq!(code(&world.act(eve, forward(room, pair, 1))), "not_found", "she does not see the source");
    assert_eq!(code(&world.act(bob, edit(room, 1, "changed"))), "forbidden");
    let both = rpc::Send {
        conversation_id: room,
        text: "and".into(),
        forward: Some(rpc::MessageRef { conversation_id: pair, sequence: 1 }),
        ..Default::default()
    };
    assert_eq!(code(&world.act(bob, Action::Send(both))), "invalid");
    accepted(&world.act(ana, delete(pair, 1, 1)));
    assert_eq!(code(&world.act(bob, forward(room, pair, 1))), "not_found", "what was taken back");
    assert_eq!(world.message(room, 1).text, "look @all @eve", "what was handed on is another message");
    world.must_be_whole();
}

#[test]
fn who_is_blocked_or_gone_is_not_written_to() {
    let (mut world, [ana, bob, eve], room) = team();
    let pair = world.direct(ana, bob);
    accepted(&world.send(ana, pair, "hello"));
    let block = |user_id, on| Action::Block(rpc::Block { user_id, on });
    accepted(&world.act(bob, block(ana, true)));
    for (by, action) in [
        (ana, send(pair, "why?")),
        (bob, send(pair, "because")),
        (ana, edit(pair, 1, "why?")),
        (ana, react(pair, 1, "👎", true)),
        (ana, pin(pair, 1, true)),
    ] {
        assert_eq!(code(&world.act(by, action)), "forbidden");
    }
    accepted(&world.act(ana, delete(pair, 1, 1)));
    accepted(&world.send(ana, room, "in a group it does not matter"));
    accepted(&world.act(bob, block(ana, false)));
    accepted(&world.send(ana, pair, "friends again"));
    let last = world.direct(ana, eve);
    let delete = rpc::DeleteUser {
        user_id: eve,
        password_mark: Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]),
    };
    accepted(&world.act(eve, Action::DeleteUser(delete)));
    assert_eq!(code(&world.send(ana, last, "still there?")), "forbidden");
    world.must_be_whole();
}

#[test]
fn under_older_versions_nothing_new_is_written() {
    let (mut world, [ana, bob, _], room) = team();
    world.machine_version = 3;
    let pair = world.direct(ana, bob);
    accepted(&world.send(ana, room, "@bob @all"));
    accepted(&world.send(ana, pair, "hi"));
    accepted(&world.act(ana, edit(room, 1, "@bob @all twice")));
    accepted(&world.act(bob, mark(room, 1)));
    let spaces = [Space::Mentions, Space::MentionInbox, Space::Deleted, Space::Due];
    assert_eq!(spaces.map(|space| world.in_space(space)), [0; 4]);
    let message = world.message(room, 1);
    assert!(message.mentions.is_empty() && !message.mentions_all && world.room(pair).peers.is_empty());
    for action in [delete(room, 1, 1), react(room, 1, "👍", true), draft(room, "x")] {
        assert_eq!(code(&world.act(ana, action)), "unsupported");
    }
    // An older program reads a message without text.
    assert_eq!(code(&world.act(ana, forward(room, room, 1))), "invalid");
    accepted(&world.act(0, Action::SetMachineVersion(rpc::SetMachineVersion { version: 4 })));
    accepted(&world.act(ana, edit(room, 1, "@bob @all thrice")));
    assert_eq!(world.message(room, 1).mentions, [bob]);
    world.must_be_whole();
}

/// Stored records are read by every later program: their bytes stay as they are.
#[test]
fn records_of_messages_are_stored_as_ever() {
    fn hex(record: &impl prost::Message) -> String {
        record.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
    }
    let message = StoredMessage {
        version: 2,
        from: 3,
        text: "t".into(),
        deleted_ms: 4,
        mentions: vec![5, 300],
        mentions_all: true,
        forwarded_from: 6,
        forwarded_ms: 7,
        has_reactions: true,
        pinned: true,
        ..Default::default()
    };
    let range = rpc::SequenceRange { first: 2, last: 3 };
    let due = |kind| Due { after: 9, kind: Some(kind) };
    let golden = [
        (hex(&message), "080220033201 74a00104aa010305ac02b00101b80106c00107c80101d00101"),
        (
            hex(&Reactions { emojis: vec![ReactionsOf { emoji: "👍".into(), user_ids: vec![1, 2] }] }),
            "0a0a0a04f09f918d12020102",
        ),
        (hex(&Pin { by: 1, log_time_ms: 2, version: 3 }), "080110021803"),
        (hex(&Listed { conversation_id: 1, sequence: 2, log_time_ms: 3 }), "080110021803"),
        (hex(&HiddenRanges { ranges: vec![range] }), "0a0408021003"),
        (hex(&Draft { text: "t".into(), reply_to: 2, log_time_ms: 3 }), "0a017410021803"),
        (
            hex(&ScheduledRecord {
                conversation_id: 1,
                text: "t".into(),
                reply_to: 2,
                due_ms: 3,
                remind_of: 4,
                due_number: 5,
                failed_ms: 6,
            }),
            "080112017418022003280430053806",
        ),
        (hex(&DueHead { head_ms: 1, last_number: 2, count: 3 }), "080110021803"),
        (hex(&due(DueKind::Scheduled(DueScheduled { user_id: 1, id: 2 }))), "0a04080110025009"),
        (hex(&due(DueKind::Retention(1))), "10015009"),
        (hex(&due(DueKind::LeaveAll(1))), "18015009"),
        (hex(&DeletedEvent { sequences: vec![1, 2], by: 3 }), "0a0201021003"),
        (
            hex(&ReactionEvent { sequence: 1, emoji: "👍".into(), user_id: 2, on: true }),
            "08011204f09f918d18022001",
        ),
        (hex(&PinEvent { sequence: 1, on: true, by: 2 }), "080110011802"),
        (
            hex(&Conversation {
                peers: vec![1, 2],
                retention_due_ms: 3,
                retention_due_number: 4,
                ..Default::default()
            }),
            "a201020102a80103b00104",
        ),
        (hex(&Member { own_unread: vec![1, 2], ..Default::default() }), "a201020102"),
    ];
    for (place, (stored, expected)) in golden.iter().enumerate() {
        assert_eq!(*stored, expected.replace(' ', ""), "record {place}");
    }
}
