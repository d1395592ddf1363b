//! What is due at a log time: fired exactly once, whoever leads; retention rules; members who leave with their accounts; and what
//! is unread after all that.

use bytes::Bytes;
use quorate_proto::limits::{DUE_PER_ENTRY_MAX, SCHEDULE_AHEAD_MS_MAX, SCHEDULED_MAX};
use quorate_proto::rpc::me_scheduled::State;
use quorate_proto::rpc::{self, event};

use super::message_tests::{delete, mark, pin, react, save, team};
use super::records::{Counters, Member, ROLE_MEMBER};
use super::tests::{World, accepted, code, send};
use super::*;
use crate::store::{Key, Space};

const HOUR_MS: u64 = 3_600_000;

fn schedule(conversation_id: u64, text: &str, due_ms: u64, remind_of: u64) -> Action {
    let text = text.to_owned();
    Action::Schedule(rpc::Schedule { conversation_id, text, reply_to: 0, due_ms, remind_of })
}

fn number(outcome: &Outcome) -> u64 {
    match &outcome.result {
        Some(outcome::Result::Scheduled(scheduled)) => scheduled.id,
        other => panic!("not scheduled: {other:?}"),
    }
}

fn keep(world: &mut World, by: u64, conversation_id: u64, ms: u64) {
    let change = rpc::ChangeConversation { conversation_id, retention_ms: Some(ms), ..Default::default() };
    accepted(&world.act(by, Action::ChangeConversation(change)));
}

impl World {
    /// An entry without a command, as a leader proposes it.
    pub(super) fn tick(&mut self) -> Vec<event::Kind> {
        self.index += 1;
        let (index, log_time_ms, machine_version) = (self.index, self.now, self.machine_version);
        let context = Context { index, term: 1, log_time_ms, machine_version };
        let (writes, before, events) = tick(&self.state, context).expect("a map does not fail");
        for (key, value) in &before {
            assert_eq!(self.state.get(key), value.as_ref(), "what is said to be replaced is what is there");
        }
        for (key, value) in writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        events.into_iter().filter_map(|event| event.kind).collect()
    }

    fn last(&self, id: u64) -> u64 {
        self.state.conversation(id).expect("a map").expect("there").sequence
    }
}

/// State, sequence and reason of the one thing told of what was scheduled.
fn told(events: &[event::Kind]) -> (State, u64, String) {
    let mut told = events.iter().filter_map(|kind| match kind {
        event::Kind::MeScheduled(told) => Some((told.state(), told.sequence, told.why.clone())),
        _ => None,
    });
    let first = told.next().expect("something is told");
    assert!(told.next().is_none(), "once: {events:?}");
    first
}

#[test]
fn a_message_is_sent_at_its_time_exactly_once() {
    let (mut world, [ana, bob, _], room) = team();
    let due = world.now + 1_000;
    let id = number(&world.act(ana, schedule(room, "good morning @bob", due, 0)));
    world.must_be_whole();
    world.now = due - 1;
    assert!(world.tick().is_empty(), "a millisecond before");
    world.now = due;
    let before = world.clone();
    let events = world.tick();
    assert!(
        matches!(&events[0], event::Kind::Message(it) if it.text == "good morning @bob" && it.sequence == 1)
    );
    assert_eq!(told(&events), (State::Fired, 1, String::new()));
    let message = world.message(room, 1);
    assert_eq!((message.from, message.mentions.as_slice()), (ana, [bob].as_slice()));
    assert_eq!(message.client_message_id.len(), 16);
    for _ in 0..3 {
        world.now += HOUR_MS;
        assert!(world.tick().is_empty(), "never again");
    }
    assert_eq!(code(&world.act(ana, Action::CancelScheduled(rpc::CancelScheduled { id }))), "not_found");
    world.must_be_whole();

    // The entry that came instead of the tick does the same, before what it asks for, and also when that is refused.
    for action in [send(room, "hello"), send(99, "nowhere")] {
        let mut other = before.clone();
        let command = other.command(bob, action);
        let (_, events) = other.apply(&command);
        assert!(matches!(&events[0].kind, Some(event::Kind::Message(it)) if it.text == "good morning @bob"));
        assert_eq!(other.message(room, 1).client_message_id, message.client_message_id);
        other.must_be_whole();
    }
}

/// One log, applied by a replica that led all the time and by one that took it over: both leaders saw that something was due and
/// proposed a tick, and a client's retry came in between. Whoever applies it comes to the same, with one message.
#[test]
fn two_leaders_that_both_see_what_is_due_send_one_message() {
    let (mut world, [ana, ..], room) = team();
    let asked = world.command(ana, schedule(room, "once", world.now + 10, 0));
    accepted(&world.apply(&asked).0);
    world.now += 20;
    let start = world.clone();
    let run = |restarts: bool| {
        let mut world = start.clone();
        let mut fired = 0;
        for step in 0..6 {
            let events = match step {
                2 => {
                    let (outcome, events) = world.apply(&asked);
                    assert!(outcome.replay);
                    events.into_iter().filter_map(|event| event.kind).collect()
                }
                _ => world.tick(),
            };
            fired += events.iter().filter(|kind| matches!(kind, event::Kind::Message(_))).count();
            if restarts {
                // A restart loses what is in memory: nothing but the state may matter.
                world = World { state: world.state.clone(), ..world };
            }
        }
        assert_eq!(fired, 1);
        world.state
    };
    let (stayed, restarted) = (run(false), run(true));
    assert!(stayed == restarted);
    let sent = stayed.keys().filter(|key| key.space() == Space::Messages as u8).count();
    assert_eq!(sent, 1);
}

#[test]
fn what_is_scheduled_is_checked_when_asked_and_when_it_fires() {
    let (mut world, [ana, bob, eve], room) = team();
    let now = world.now;
    assert_eq!(code(&world.act(bob, schedule(room, "late", now, 0))), "invalid");
    assert_eq!(code(&world.act(bob, schedule(room, "far", now + SCHEDULE_AHEAD_MS_MAX + 1, 0))), "invalid");
    assert_eq!(code(&world.act(bob, schedule(room, " ", now + 1, 0))), "invalid");
    assert_eq!(code(&world.act(bob, schedule(99, "x", now + 1, 0))), "not_found");
    assert_eq!(code(&world.act(bob, schedule(room, "", now + 1, 5))), "not_found");
    accepted(&world.act(bob, schedule(room, "too late", now + 1_000, 0)));
    accepted(&world.act(eve, schedule(room, "quiet", now + 1_000, 0)));
    let pair = world.direct(ana, eve);
    accepted(&world.act(ana, schedule(pair, "dear", now + 1_000, 0)));
    accepted(
        &world.act(ana, Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id: bob })),
    );
    let change =
        rpc::ChangeConversation { conversation_id: room, announcement: Some(true), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(change)));
    accepted(&world.act(eve, Action::Block(rpc::Block { user_id: ana, on: true })));
    world.now += 2_000;
    let events = world.tick();
    let states: Vec<_> = events
        .iter()
        .map(|kind| match kind {
            event::Kind::MeScheduled(told) => {
                let item = told.item.as_ref().expect("an item");
                (told.state(), item.text.as_str(), told.why.is_empty())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let failed = |text| (State::Failed, text, false);
    assert_eq!(states, [failed("too late"), failed("quiet"), failed("dear")], "the text comes back");
    assert_eq!((world.last(room), world.last(pair)), (0, 0));
    world.must_be_whole();
}

/// The event kept it for ever: the account's end did not reach it, and every backup had it.
#[test]
fn the_text_of_what_could_not_be_sent_is_kept_where_it_can_be_taken_away() {
    const DAY_MS: u64 = 24 * HOUR_MS;
    let (mut world, [ana, bob, _], room) = team();
    let due = world.now + 10;
    let texts = ["taken back", "forgotten", "of a deleted account"];
    let ids = texts.map(|text| number(&world.act(bob, schedule(room, text, due, 0))));
    let banned = rpc::Ban { conversation_id: room, user_id: bob, on: true };
    accepted(&world.act(ana, Action::Ban(banned)));
    world.now = due;
    let failed = world.tick();
    assert_eq!(failed.len(), 3);
    let has = |world: &World, text: &str| {
        world.state.values().any(|value| value.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    let told = |world: &World| -> Vec<String> {
        let last = world.state.me(bob).expect("a map").version;
        let events = world.state.events(Space::MeEvents, bob, 1, last + 1, 99).expect("a map");
        let texts = events.into_iter().filter_map(|(version, record)| {
            match join::event(&world.state, topics::me_topic(bob), version, record).expect("a map").kind {
                Some(event::Kind::MeScheduled(it)) if it.state() == State::Failed => {
                    it.item.map(|it| it.text)
                }
                _ => None,
            }
        });
        texts.collect()
    };
    assert_eq!(told(&world), texts, "whoever was away finds it when she is back");
    world.must_be_whole();
    accepted(&world.act(bob, Action::CancelScheduled(rpc::CancelScheduled { id: ids[0] })));
    assert_eq!(told(&world), ["", texts[1], texts[2]]);
    assert!(!has(&world, texts[0]) && has(&world, texts[1]));
    world.must_be_whole();

    let mut later = world.clone();
    later.now += 31 * DAY_MS;
    assert!(later.tick().is_empty(), "it is not tried again");
    assert_eq!((told(&later), later.state.due_head().expect("a map").count), (vec![String::new(); 3], 0));
    assert!(!has(&later, texts[1]) && !has(&later, texts[2]));
    later.must_be_whole();

    let password_mark = Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]);
    accepted(&world.act(bob, Action::DeleteUser(rpc::DeleteUser { user_id: bob, password_mark })));
    assert!(texts.iter().all(|text| !has(&world, text)), "nothing of it outlives the account");
    world.must_be_whole();
}

#[test]
fn a_reminder_comes_once_and_can_be_taken_back() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.send(ana, room, "the report is due"));
    let due = world.now + 10;
    let first = number(&world.act(bob, schedule(room, "read this", due, 1)));
    let second = number(&world.act(bob, schedule(room, "", due, 1)));
    assert_eq!((first, second), (1, 2));
    let events = world.events(bob, Action::CancelScheduled(rpc::CancelScheduled { id: second }));
    assert_eq!(told(&events).0, State::Cancelled);
    world.must_be_whole();
    world.now = due + HOUR_MS;
    let events = world.tick();
    assert_eq!(told(&events), (State::Fired, 0, String::new()));
    assert!(
        matches!(&events[0], event::Kind::MeScheduled(it) if it.item.as_ref().is_some_and(|it| it.text == "read this"))
    );
    assert_eq!(world.last(room), 1, "nothing is sent");
    for n in 0..u64::from(SCHEDULED_MAX) {
        accepted(&world.act(bob, schedule(room, "", world.now + 1 + n, 1)));
    }
    assert_eq!(code(&world.act(bob, schedule(room, "", world.now + 1, 1))), "too_large");
    world.must_be_whole();
}

#[test]
fn one_entry_does_a_bounded_part_of_what_is_due() {
    let (mut world, [ana, bob, eve], room) = team();
    accepted(&world.send(ana, room, "hello"));
    let due = world.now + 10;
    let mut asked = 0;
    for user in [ana, bob, eve] {
        for _ in 0..SCHEDULED_MAX {
            accepted(&world.act(user, schedule(room, "", due, 1)));
            asked += 1;
        }
    }
    world.now = due;
    let mut turns = Vec::new();
    while world.state.due_head().expect("a map").head_ms != 0 {
        turns.push(world.tick().len());
        world.must_be_whole();
        assert!(turns.len() < 20, "{turns:?}");
    }
    assert_eq!(turns.iter().sum::<usize>(), asked);
    assert!(turns.len() > 1 && turns.iter().all(|turn| *turn > 0 && *turn <= DUE_PER_ENTRY_MAX), "{turns:?}");
}

#[test]
fn what_is_scheduled_dies_with_its_account() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.act(bob, schedule(room, "from the beyond", world.now + 10, 0)));
    let delete = rpc::DeleteUser {
        user_id: bob,
        password_mark: Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]),
    };
    accepted(&world.act(bob, Action::DeleteUser(delete)));
    world.now += 10;
    while world.state.due_head().expect("a map").head_ms != 0 {
        world.tick();
    }
    assert_eq!(world.last(room), 0);
    let member = world.state.member(room, bob).expect("a map").expect("was one");
    assert!(!member.is_present(), "she has left with her account");
    accepted(&world.send(ana, room, "@bob?"));
    assert!(world.message(room, 1).mentions.is_empty());
    world.must_be_whole();
}

#[test]
fn who_deletes_her_account_leaves_all_her_groups() {
    let (mut world, [ana, bob, _], _) = team();
    let rooms: Vec<u64> = (0..150).map(|_| world.group(ana, &[bob])).collect();
    let pair = world.direct(ana, bob);
    let delete = rpc::DeleteUser {
        user_id: bob,
        password_mark: Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]),
    };
    accepted(&world.act(bob, Action::DeleteUser(delete)));
    let mut turns = 0;
    while world.state.due_head().expect("a map").head_ms != 0 {
        world.tick();
        turns += 1;
        world.must_be_whole();
        assert!(turns < 20);
    }
    assert!(turns >= 3, "some in each turn: {turns}");
    let is_in = |room| world.state.member(room, bob).expect("a map").expect("was").is_present();
    assert!(rooms.iter().all(|room| !is_in(*room)) && is_in(pair));
}

/// After a night's stop all rules were due at once, and one entry did a hundred turns of them, since each wrote little.
#[test]
fn one_entry_does_few_turns_of_long_work_and_what_is_due_beside_it() {
    let (mut world, [ana, bob, _], room) = team();
    let rooms: Vec<u64> = (0..40).map(|_| world.group(ana, &[bob])).collect();
    for room in &rooms {
        keep(&mut world, ana, *room, HOUR_MS);
    }
    for _ in 0..6 {
        world.tick();
    }
    let due_at =
        |world: &World, room| world.state.conversation(room).expect("a map").expect("there").retention_due_ms;
    let begun = world.now;
    assert!(rooms.iter().all(|room| due_at(&world, *room) > begun), "all wait for the next look");
    accepted(&world.send(ana, room, "hello"));
    accepted(&world.act(bob, schedule(room, "", world.now + 2 * HOUR_MS, 1)));
    world.now += 2 * HOUR_MS;
    let now = world.now;
    let mut turns = Vec::new();
    let mut reminded = Vec::new();
    while rooms.iter().any(|room| due_at(&world, *room) <= now) {
        let waiting = rooms.iter().filter(|room| due_at(&world, **room) <= now).count();
        let events = world.tick();
        reminded.push(events.iter().any(|kind| matches!(kind, event::Kind::MeScheduled(_))));
        turns.push(waiting - rooms.iter().filter(|room| due_at(&world, **room) <= now).count());
        world.must_be_whole();
        assert!(turns.len() < 20, "{turns:?}");
    }
    assert!(turns.iter().all(|turns| (1..=8).contains(turns)), "{turns:?}");
    assert!(reminded[0], "what takes no time does not wait for them");
}

/// A group that thousands had left was searched for its next owner, and an entry did that for each of 64 groups.
#[test]
fn one_entry_looks_at_few_memberships_for_new_owners() {
    let mut world = World::new();
    let mut counters = Counters { users: 3_000, ..Default::default() };
    world.state.insert(Key::of(Space::Counters), prost::Message::encode_to_vec(&counters).into());
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    counters = world.state.counters().expect("a map");
    assert!(counters.users > 3_000 && ana > 3_000);
    let rooms: Vec<u64> = (0..5).map(|_| world.group(ana, &[bob])).collect();
    let gone = Member { role: ROLE_MEMBER, left_version: 1, ..Member::default() };
    for room in &rooms {
        for user in 1..=2_000 {
            let bytes = prost::Message::encode_to_vec(&gone);
            world.state.insert(Key::two(Space::Member, *room, user), bytes.into());
        }
    }
    let password_mark = Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]);
    accepted(&world.act(ana, Action::DeleteUser(rpc::DeleteUser { user_id: ana, password_mark })));
    let owned = |world: &World| {
        let owners =
            rooms.iter().map(|room| world.state.conversation(*room).expect("a map").expect("there").owner);
        owners.filter(|owner| *owner == bob).count()
    };
    for turn in 1..=rooms.len() {
        world.tick();
        assert_eq!(owned(&world), turn, "one such look in each entry, and all are looked at");
    }
    world.tick();
    assert_eq!(world.state.due_head().expect("a map").count, 0);
}

#[test]
fn a_retention_rule_deletes_what_is_too_old_and_nothing_else() {
    let (mut world, [ana, bob, eve], room) = team();
    for n in 0..200 {
        accepted(&world.send(ana, room, &format!("@bob {n}")));
        world.now += 1_000;
    }
    assert_eq!(world.unread(room, bob), (200, 200));
    let first_at = world.message(room, 1).log_time_ms;
    keep(&mut world, ana, room, HOUR_MS);
    world.must_be_whole();
    world.now = first_at + HOUR_MS - 1;
    world.tick();
    assert_eq!(world.unread(room, bob), (200, 200), "nothing is too old yet");
    world.now = first_at + HOUR_MS + 99_000;
    let mut by_nobody = 0;
    for _ in 0..5 {
        for kind in world.tick() {
            let event::Kind::Deleted(told) = kind else { panic!("{kind:?}") };
            assert!(told.sequences.len() <= 64 && told.by.is_some_and(|by| by.id == 0));
            by_nobody += told.sequences.len();
        }
        world.must_be_whole();
    }
    assert_eq!(by_nobody, 100, "those of the first hundred seconds");
    assert_eq!(
        (world.message(room, 100).text.as_str(), world.message(room, 101).text.as_str()),
        ("", "@bob 100")
    );
    assert_eq!((world.unread(room, bob), world.unread(room, eve)), ((100, 100), (100, 0)));
    keep(&mut world, ana, room, 2 * HOUR_MS);
    keep(&mut world, ana, room, HOUR_MS);
    let due = world.state.keys().filter(|key| key.space() == Space::Due as u8).count();
    assert_eq!(due, 1, "one look is planned, however often the rule changes");
    world.now += 10 * HOUR_MS;
    for _ in 0..5 {
        world.tick();
    }
    assert_eq!((world.unread(room, bob), world.message(room, 200).deleted_ms != 0), ((0, 0), true));
    accepted(&world.send(eve, room, "fresh"));
    world.now += HOUR_MS + 120_000;
    for _ in 0..3 {
        world.tick();
    }
    assert!(world.message(room, 201).deleted_ms != 0, "later messages grow old, too");
    keep(&mut world, ana, room, 0);
    assert_eq!(world.state.due_head().expect("a map").count, 0);
    world.must_be_whole();
}

#[test]
fn a_message_sent_at_its_time_is_not_unread_to_her_who_wrote_it() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.send(bob, room, "one"));
    accepted(&world.act(ana, schedule(room, "mine", world.now + 10, 0)));
    world.now += 10;
    world.tick();
    accepted(&world.send(bob, room, "two"));
    assert_eq!(world.unread(room, ana), (2, 0), "one and two, though she has read neither");
    accepted(&world.act(ana, delete(room, 2, 2)));
    assert_eq!(world.unread(room, ana), (2, 0), "her own is not taken off twice");
    accepted(&world.act(ana, mark(room, 2)));
    assert_eq!(world.unread(room, ana), (1, 0));
    accepted(&world.act(ana, mark(room, 3)));
    accepted(&world.act(ana, schedule(room, "next", world.now + 10, 0)));
    world.now += 10;
    world.tick();
    let member = world.state.member(room, ana).expect("a map").expect("a member");
    assert_eq!((member.read_sequence, member.own_unread.len()), (4, 0), "who had read all has read it");
    world.must_be_whole();
}

#[test]
fn a_read_mark_takes_back_that_something_was_marked_as_unread() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.send(ana, room, "one"));
    accepted(&world.act(bob, mark(room, 1)));
    let prefer = rpc::Prefer { conversation_id: room, unread_from: Some(1), ..Default::default() };
    let chosen = |world: &World| {
        let member = world.state.member(room, bob).expect("a map").expect("a member");
        member.preferences.map_or(0, |preferences| preferences.unread_from)
    };
    accepted(&world.act(bob, Action::Prefer(prefer)));
    assert_eq!(chosen(&world), 1);
    let events = world.events(bob, mark(room, 1));
    assert!(events.is_empty(), "a mark that comes again says nothing: {events:?}");
    assert_eq!(chosen(&world), 1, "and takes nothing back");
    accepted(&world.send(ana, room, "two"));
    accepted(&world.act(bob, mark(room, 2)));
    assert_eq!(chosen(&world), 0);
    accepted(&world.act(bob, Action::Prefer(prefer)));
    accepted(&world.send(bob, room, "who writes has read"));
    assert_eq!(chosen(&world), 0);
}

#[test]
fn verify_misses_every_record_of_messages() {
    let (mut world, [ana, bob, eve], room) = team();
    accepted(&world.send(ana, room, "@bob @all"));
    accepted(&world.send(ana, room, "gone"));
    accepted(&world.act(ana, delete(room, 2, 2)));
    accepted(&world.act(eve, react(room, 1, "👍", true)));
    accepted(&world.act(eve, pin(room, 1, true)));
    accepted(&world.act(eve, save(room, 1, true)));
    accepted(&world.act(bob, schedule(room, "later", world.now + 10, 0)));
    keep(&mut world, ana, room, HOUR_MS);
    world.must_be_whole();
    let spaces = [
        Space::Mentions,
        Space::MentionInbox,
        Space::Deleted,
        Space::Reactions,
        Space::Pins,
        Space::Saved,
        Space::SavedAt,
        Space::Scheduled,
        Space::Due,
    ];
    let keys: Vec<Key> = world.state.keys().copied().collect();
    for space in spaces {
        let of_it: Vec<&Key> = keys.iter().filter(|key| key.space() == space as u8).collect();
        assert!(!of_it.is_empty(), "{space:?}");
        for key in of_it {
            let mut broken = world.state.clone();
            broken.remove(key);
            assert!(!crate::verify::tests::report(&broken).is_whole(), "nobody misses {key:?} of {space:?}");
        }
    }
}
