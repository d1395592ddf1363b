//! Webhooks by their commands and refusals, and what waits for them against a naive list.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::{HOOK_LEASE_MS_MAX, HOOK_URL_BYTES_MAX, HOOK_WAITING_MAX};
use quorate_proto::rpc::{self, event, topic};

use super::message_tests::{delete, edit, pin, react, team};
use super::records::{Hook, HookEvent};
use super::tests::{Dice, World, accepted, code, send};
use super::*;
use crate::store::{Key, Space};
use crate::verify;

const URL: &str = "https://example.com/hook";

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn set(bot_id: u64, url: &str, mentions_only: bool) -> Action {
    Action::SetHook(rpc::SetHook { bot_id, url: url.into(), mentions_only, new_secret: false })
}

fn lease(holder: u128, lasts_ms: u32) -> Action {
    Action::LeaseHooks(rpc::LeaseHooks { holder: id(holder), lasts_ms })
}

fn settle(holder: u128, bot_id: u64, through: u64, error: &str) -> Action {
    Action::SettleHook(rpc::SettleHook { holder: id(holder), bot_id, through, error: error.into() })
}

fn member(conversation_id: u64, user_id: u64) -> Action {
    Action::AddMember(rpc::AddMember { conversation_id, user_id })
}

impl World {
    fn hook(&self, bot: u64) -> Hook {
        self.state.hook(bot).expect("a map").expect("there")
    }

    /// What waits, as (number, conversation, version).
    fn waiting(&self, bot: u64) -> Vec<(u64, u64, u64)> {
        let first = self.state.hook(bot).expect("a map").map_or(0, |hook| hook.first);
        let items = self.state.hook_events(bot, first, usize::MAX).expect("a map").into_iter();
        items.map(|(number, item)| (number, item.conversation_id, item.version)).collect()
    }

    fn items(&self) -> usize {
        self.state.keys().filter(|key| key.space() == Space::HookDue as u8).count()
    }

    fn pass(&mut self) -> usize {
        self.index += 1;
        let (index, log_time_ms, machine_version) = (self.index, self.now, self.machine_version);
        let context = Context { index, term: 1, log_time_ms, machine_version };
        let writes = tick(&self.state, context).expect("a map").0;
        let count = writes.len();
        for (key, value) in writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        count
    }
}

/// Three people in a group, with a bot of the first that is told everything there.
fn scene() -> (World, [u64; 3], u64, u64) {
    let (mut world, people, room) = team();
    let bot = world.bot(people[0], "helper");
    accepted(&world.act(people[0], member(room, bot)));
    accepted(&world.act(people[0], set(bot, URL, false)));
    (world, people, room, bot)
}

#[test]
fn a_webhook_is_its_owners_to_set() {
    let (mut world, [ana, bob, _], _, bot) = scene();
    for url in ["ftp://example.com", "https://", "example.com", "https://a b", "https://a\u{e9}", "HTTPS://a"]
    {
        assert_eq!(code(&world.act(ana, set(bot, url, false))), "invalid", "{url}");
    }
    let long = format!("https://{}", "a".repeat(HOOK_URL_BYTES_MAX));
    assert_eq!(code(&world.act(ana, set(bot, &long, false))), "too_large");
    assert_eq!(code(&world.act(bob, set(bot, URL, false))), "not_found");
    assert_eq!(code(&world.act(ana, set(bob, URL, false))), "not_found");
    assert_eq!(code(&world.act(ana, set(ana, URL, false))), "invalid");
    assert_eq!((world.hook(bot).generation, world.state.counters().expect("a map").hooks), (1, 1));
    accepted(&world.act(ana, set(bot, "http://example.org", true)));
    assert_eq!((world.hook(bot).generation, world.hook(bot).mentions_only), (1, true));
    let new_secret = rpc::SetHook { bot_id: bot, url: URL.into(), mentions_only: false, new_secret: true };
    accepted(&world.act(ana, Action::SetHook(new_secret)));
    assert_eq!(world.hook(bot).generation, 2);
    accepted(&world.act(ana, set(bot, "", false)));
    accepted(&world.act(ana, set(bot, "", false)));
    assert!(!world.hook(bot).is_set() && world.state.counters().expect("a map").hooks == 0);
    accepted(&world.act(ana, set(bot, URL, false)));
    assert_eq!(world.hook(bot).generation, 3, "what was dropped comes back with another secret");
    world.must_be_whole();
}

#[test]
fn a_bot_is_told_what_people_say_change_and_take_back() {
    let (mut world, [ana, bob, eve], room, bot) = scene();
    world.token(ana, bot, 91, scopes::ALL);
    accepted(&world.send(bob, room, "hello"));
    let first = world.state.conversation(room).expect("a map").expect("there").version;
    accepted(&world.act(bob, edit(room, 1, "hello again")));
    accepted(&world.act(bob, react(room, 1, "👍", true)));
    accepted(&world.act(bob, pin(room, 1, true)));
    accepted(&world.act_by(bot, 91, send(room, "what bots say")));
    accepted(&world.act_by(bot, 91, edit(room, 2, "or change")));
    accepted(&world.act(ana, delete(room, 1, 9)));
    let versions: Vec<u64> = world.waiting(bot).into_iter().map(|(_, _, version)| version).collect();
    assert_eq!(versions, [first, first + 1, first + 6], "{:?}", world.waiting(bot));
    // Elsewhere, and without the bot.
    let pair = world.direct(bob, eve);
    accepted(&world.send(bob, pair, "between us"));
    assert_eq!(world.waiting(bot).len(), 3);
    let own = world.direct(bob, bot);
    accepted(&world.send(bob, own, "to you"));
    assert_eq!(world.waiting(bot).last().map(|item| (item.0, item.1)), Some((4, own)));
    let remove = rpc::RemoveMember { conversation_id: room, user_id: bot };
    accepted(&world.act(ana, Action::RemoveMember(remove)));
    accepted(&world.send(bob, room, "it is gone"));
    assert_eq!(world.waiting(bot).len(), 4);
    world.must_be_whole();
}

#[test]
fn by_mentions_only_a_bot_is_told_what_names_it_or_named_it() {
    let (mut world, [ana, bob, _], room, bot) = scene();
    accepted(&world.act(ana, set(bot, URL, true)));
    let mut expected = 0;
    let mut told = |world: &World, more: usize| {
        expected += more;
        assert_eq!(world.waiting(bot).len(), expected);
    };
    accepted(&world.send(bob, room, "hello @ana and @all"));
    told(&world, 0);
    accepted(&world.act(bob, edit(room, 1, "hello @helper")));
    told(&world, 1);
    accepted(&world.act(bob, edit(room, 1, "hello")));
    told(&world, 1);
    accepted(&world.act(bob, edit(room, 1, "hi")));
    told(&world, 0);
    accepted(&world.send(bob, room, "@helper?"));
    told(&world, 1);
    accepted(&world.act(bob, delete(room, 1, 1)));
    told(&world, 0);
    accepted(&world.act(bob, delete(room, 2, 2)));
    told(&world, 1);
    let pair = world.direct(bob, bot);
    accepted(&world.send(bob, pair, "no name"));
    told(&world, 1);
    world.must_be_whole();
}

#[test]
fn whoever_is_shut_out_is_told_nothing_by_her_bots() {
    let (mut world, [ana, bob, _], room, bot) = scene();
    let mut shut = world.state.user(ana).expect("a map").expect("there");
    shut.disabled_ms = 1;
    world.state.insert(Key::one(Space::User, ana), shut.encode_to_vec().into());
    accepted(&world.send(bob, room, "hello"));
    assert!(world.waiting(bot).is_empty());
}

#[test]
fn one_gateway_has_the_lease_until_it_ends() {
    let mut world = World::new();
    assert_eq!(code(&world.act(0, lease(1, HOOK_LEASE_MS_MAX + 1))), "invalid");
    let short = rpc::LeaseHooks { holder: Bytes::from_static(b"me"), lasts_ms: 9 };
    assert_eq!(code(&world.act(0, Action::LeaseHooks(short))), "invalid");
    accepted(&world.act(0, lease(1, 15_000)));
    assert_eq!(code(&world.act(0, lease(2, 15_000))), "conflict");
    world.now += 10_000;
    accepted(&world.act(0, lease(1, 15_000)));
    world.now += 14_999;
    assert_eq!(code(&world.act(0, lease(2, 15_000))), "conflict", "it was lengthened");
    world.now += 1;
    accepted(&world.act(0, lease(2, 15_000)));
    assert_eq!(code(&world.act(0, lease(1, 15_000))), "conflict");
    accepted(&world.act(0, lease(1, 0)));
    assert_eq!(code(&world.act(0, lease(1, 15_000))), "conflict", "nobody gives back another's");
    accepted(&world.act(0, lease(2, 0)));
    accepted(&world.act(0, lease(1, 15_000)));
    let remembered = world.state.dedup_count(0).expect("a map");
    accepted(&world.act(0, lease(1, 15_000)));
    assert_eq!(world.state.dedup_count(0).expect("a map"), remembered, "it fills no memory");
    world.must_be_whole();
}

#[test]
fn what_was_told_is_settled_by_who_holds_the_lease_and_once() {
    let (mut world, [_, bob, _], room, bot) = scene();
    for _ in 0..300 {
        accepted(&world.send(bob, room, "hello"));
    }
    assert_eq!(code(&world.act(0, settle(1, bot, 1, ""))), "conflict", "nobody has it");
    accepted(&world.act(0, lease(1, 15_000)));
    assert_eq!(code(&world.act(0, settle(2, bot, 1, ""))), "conflict");
    assert_eq!(code(&world.act(0, settle(1, 99, 1, ""))), "not_found");
    assert_eq!(code(&world.act(0, settle(1, bot, 301, ""))), "invalid");
    assert_eq!(code(&world.act(0, settle(1, bot, 257, ""))), "invalid");
    accepted(&world.act(0, settle(1, bot, 256, "")));
    assert_eq!((world.hook(bot).first, world.items()), (257, 44));
    accepted(&world.act(0, settle(1, bot, 257, &format!("status 500\n{}", "x".repeat(999)))));
    let hook = world.hook(bot);
    assert_eq!((hook.given_up, hook.last_error_ms, hook.last_error.len()), (1, world.now, 200));
    let before = world.state.clone();
    accepted(&world.act(0, settle(1, bot, 257, "status 500")));
    assert_eq!(world.state, before, "twice is once");
    world.now += 15_000;
    assert_eq!(code(&world.act(0, settle(1, bot, 258, ""))), "conflict", "it has ended");
    accepted(&world.act(0, lease(2, 15_000)));
    accepted(&world.act(0, settle(2, bot, 300, "")));
    assert!(world.items() == 0 && world.state.hooks_waiting(0, 9).expect("a map").is_empty());
    accepted(&world.send(bob, room, "and on"));
    assert_eq!(world.waiting(bot).first().map(|item| item.0), Some(301), "numbers rise");
    assert_eq!(world.state.hooks_waiting(0, 9).expect("a map"), [bot]);
    world.must_be_whole();
}

#[test]
fn too_much_is_given_up_at_once_and_what_is_dropped_is_erased_piece_by_piece() {
    let (mut world, [ana, bob, _], room, bot) = scene();
    // As if so much had been said.
    let mut hook = world.hook(bot);
    hook.next = HOOK_WAITING_MAX;
    for number in 1..HOOK_WAITING_MAX {
        let item = HookEvent { conversation_id: room, version: 1, log_time_ms: 1 };
        world.state.insert(Key::two(Space::HookDue, bot, number), item.encode_to_vec().into());
    }
    world.state.insert(Key::one(Space::Hook, bot), hook.encode_to_vec().into());
    world.state.insert(Key::one(Space::HookWaiting, bot), Bytes::new());
    world.must_be_whole();
    accepted(&world.send(bob, room, "the last that fits"));
    assert_eq!((world.hook(bot).waiting(), world.hook(bot).given_up), (HOOK_WAITING_MAX, 0));
    accepted(&world.send(bob, room, "too much"));
    let hook = world.hook(bot);
    assert_eq!((hook.waiting(), hook.given_up, hook.last_error_ms), (HOOK_WAITING_MAX, 1, world.now));
    assert!(hook.last_error.contains("too much"));
    world.must_be_whole();

    accepted(&world.act(ana, set(bot, "", false)));
    assert_eq!(world.waiting(bot), [], "dropped");
    world.must_be_whole();
    accepted(&world.act(ana, set(bot, URL, false)));
    accepted(&world.send(bob, room, "something new"));
    accepted(&world.act(0, lease(1, 15_000)));
    accepted(&world.act(0, settle(1, bot, HOOK_WAITING_MAX + 1, "")));
    accepted(&world.send(bob, room, "and another"));
    assert_eq!(world.waiting(bot).first().map(|item| item.0), Some(HOOK_WAITING_MAX + 2));
    world.must_be_whole();
    accepted(&world.act(ana, set(bot, "", false)));
    let mut turns = 0;
    while world.items() > 0 {
        assert!(world.pass() < 600, "bounded in every entry");
        world.must_be_whole();
        turns += 1;
        assert!(turns < 50, "{} left", world.items());
    }
    assert!(turns > 10, "piece by piece");
    assert_eq!(world.state.due_head().expect("a map").count, 0);
    world.must_be_whole();
}

#[test]
fn a_deleted_bots_webhook_goes_with_it() {
    let (mut world, [ana, bob, _], room, bot) = scene();
    accepted(&world.send(bob, room, "hello"));
    let gone = rpc::DeleteUser { user_id: bot, ..Default::default() };
    accepted(&world.act(ana, Action::DeleteUser(gone)));
    assert!(!world.hook(bot).is_set() && world.state.counters().expect("a map").hooks == 0);
    world.pass();
    world.pass();
    assert_eq!(world.items(), 0);
    world.must_be_whole();
}

/// A list as somebody with a notebook keeps it: what each webhook is still to be told.
#[derive(Default)]
struct Notebook {
    /// Told only what names it.
    hooks: BTreeMap<u64, bool>,
    waiting: BTreeMap<u64, Vec<(u64, u64)>>,
    members: BTreeMap<(u64, u64), bool>,
    /// By conversation and sequence: whom a message names.
    named: BTreeMap<(u64, u64), Vec<u64>>,
}

impl Notebook {
    fn note(&mut self, told: &Event, bots: &[(u64, String)], (group, pair): (u64, u64)) {
        let at = told.topic.expect("a topic");
        if at.kind() == topic::Kind::Me {
            return;
        }
        let room = at.id;
        let present = |members: &BTreeMap<(u64, u64), bool>, bot: u64| members.contains_key(&(room, bot));
        let named_by = |members: &BTreeMap<(u64, u64), bool>, by: u64, text: &str| -> Vec<u64> {
            let is = |(bot, name): &&(u64, String)| {
                let is_named = text.split(' ').any(|word| word == format!("@{name}"));
                *bot != by && is_named && present(members, *bot)
            };
            bots.iter().filter(is).map(|(bot, _)| *bot).collect()
        };
        let is_bot = |id: u64| bots.iter().any(|(bot, _)| *bot == id);
        let by = |user: &Option<rpc::UserRef>| user.as_ref().map_or(0, |user| user.id);
        let (by, concerned) = match &told.kind {
            Some(event::Kind::Message(it)) => {
                let named = named_by(&self.members, by(&it.from), &it.text);
                self.named.insert((room, it.sequence), named.clone());
                (by(&it.from), named)
            }
            Some(event::Kind::Edited(it)) => {
                let named = named_by(&self.members, by(&it.by), &it.text);
                let before = self.named.insert((room, it.sequence), named.clone()).unwrap_or_default();
                (by(&it.by), [before, named].concat())
            }
            Some(event::Kind::Deleted(it)) => {
                let gone = it.sequences.iter().filter_map(|at| self.named.remove(&(room, *at)));
                (by(&it.by), gone.flatten().collect())
            }
            Some(event::Kind::Member(it)) => {
                match it.joined {
                    true => self.members.insert((room, by(&it.user)), true),
                    false => self.members.remove(&(room, by(&it.user))),
                };
                return;
            }
            _ => return,
        };
        if by == 0 || is_bot(by) {
            return;
        }
        for (bot, mentions_only) in &self.hooks {
            let is_there = room == pair && *bot == bots[0].0 || room == group && present(&self.members, *bot);
            if is_there && (!mentions_only || room == pair || concerned.contains(bot)) {
                self.waiting.entry(*bot).or_default().push((room, told.version));
            }
        }
    }
}

/// Random sends, edits, deletions, joins, leaves, settings and settlements, by people and bots, against the list. After each step
/// `verify` counts the same.
#[test]
fn what_waits_is_what_a_naive_list_says_whatever_is_done() {
    let (mut told, mut settled, mut dropped, mut unasked) = (0, 0, 0, 0);
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let (mut world, people, group) = team();
        let [ana, ..] = people;
        let bots: Vec<(u64, String)> = ["helper", "echo", "quiet"]
            .iter()
            .map(|name| (world.bot(ana, name), (*name).to_owned()))
            .collect();
        for (n, (bot, _)) in bots.iter().enumerate() {
            world.token(ana, *bot, 91 + n as u128, scopes::ALL);
        }
        let pair = world.direct(people[1], bots[0].0);
        accepted(&world.act(0, lease(1, HOOK_LEASE_MS_MAX)));
        let mut notebook = Notebook::default();
        for step in 0..400 {
            world.now += dice.below(20);
            let room = if dice.below(4) == 0 { pair } else { group };
            let (place, person) = (dice.below(3) as usize, people[dice.below(3) as usize]);
            let bot = bots[place].0;
            let last = world.state.conversation(room).expect("a map").expect("there").sequence;
            let at = 1 + dice.below(last + 1);
            let text = ["hello", "hello @helper", "@echo and @quiet", "@all"][dice.below(4) as usize];
            let ask_bot = |world: &mut World, action| {
                let command = world.command(bot, action);
                Command { session_id: id(91 + place as u128), ..command }
            };
            let command = match dice.below(16) {
                0 => world.command(ana, member(group, bot)),
                1 => {
                    let remove = rpc::RemoveMember { conversation_id: group, user_id: bot };
                    world.command(ana, Action::RemoveMember(remove))
                }
                2 | 3 => {
                    let mentions_only = dice.below(2) == 0;
                    notebook.hooks.insert(bot, mentions_only);
                    world.command(ana, set(bot, URL, mentions_only))
                }
                4 if dice.below(3) == 0 => {
                    notebook.hooks.remove(&bot);
                    dropped += notebook.waiting.remove(&bot).unwrap_or_default().len();
                    world.command(ana, set(bot, "", false))
                }
                5 | 6 => world.command(person, edit(room, at, text)),
                7 | 8 => world.command(person, delete(room, at, at + dice.below(4))),
                9 => ask_bot(&mut world, send(room, text)),
                10 => ask_bot(&mut world, edit(room, at, text)),
                11 | 12 => {
                    let list = notebook.waiting.entry(bot).or_default();
                    let count = list.len().min(dice.below(5) as usize);
                    let first = world.state.hook(bot).expect("a map").map_or(0, |hook| hook.first);
                    list.drain(..count);
                    settled += count;
                    let through = (first + count as u64).saturating_sub(1);
                    let error = if dice.below(4) == 0 { "status 500" } else { "" };
                    world.command(0, settle(1, bot, through, error))
                }
                _ => world.command(person, send(room, text)),
            };
            let (_, events) = world.apply(&command);
            for event in &events {
                let before: usize = notebook.waiting.values().map(Vec::len).sum();
                notebook.note(event, &bots, (group, pair));
                let after: usize = notebook.waiting.values().map(Vec::len).sum();
                told += after - before;
                unasked += usize::from(after == before);
            }
            for (bot, _) in &bots {
                let items = world.waiting(*bot);
                let found: Vec<(u64, u64)> =
                    items.iter().map(|(_, room, version)| (*room, *version)).collect();
                let listed = notebook.waiting.get(bot).cloned().unwrap_or_default();
                assert_eq!(found, listed, "seed {seed}, step {step}: bot {bot} after {command:?}");
                assert!(items.windows(2).all(|two| two[0].0 + 1 == two[1].0), "dense");
            }
            world.must_be_whole();
        }
    }
    let seen = [told, settled, dropped, unasked];
    assert!(seen.iter().all(|count| *count > 50), "told, settled, dropped, neither: {seen:?}");
}

#[test]
fn what_is_said_of_webhooks_is_counted_again() {
    let (mut world, [ana, bob, _], room, bot) = scene();
    for _ in 0..5 {
        accepted(&world.send(bob, room, "hello"));
    }
    accepted(&world.act(ana, set(bot, "", false)));
    accepted(&world.act(ana, set(bot, URL, false)));
    accepted(&world.act(0, lease(1, 15_000)));
    let other = world.bot(bob, "other");
    accepted(&world.act(ana, member(room, other)));
    accepted(&world.act(bob, set(other, URL, false)));
    for _ in 0..3 {
        accepted(&world.send(bob, room, "hello"));
    }
    // Of the first bot five are being erased; its due work stands in the list.
    let mut dropped = world.state.clone();
    accepted(&world.act(bob, set(other, "", false)));
    std::mem::swap(&mut dropped, &mut world.state);
    let is_whole = |state: &BTreeMap<Key, Bytes>| verify::tests::report(state).is_whole();
    assert!(is_whole(&world.state) && is_whole(&dropped));
    let spaces = [Space::Hook, Space::HookWaiting, Space::HookDue, Space::BotOf].map(|space| space as u8);
    let mut removed = 0;
    for state in [&world.state, &dropped] {
        let due = Space::Due as u8;
        let keys = state.keys().filter(|key| spaces.contains(&key.space()) || key.space() == due);
        for key in keys.copied().collect::<Vec<_>>() {
            let mut broken = state.clone();
            broken.remove(&key);
            assert!(!is_whole(&broken), "nobody misses {key:?}");
            removed += 1;
        }
    }
    assert!(removed > 12, "{removed}");
    let wrong: [fn(&mut Hook); 7] = [
        |it| it.first += 1,
        |it| it.next += 1,
        |it| it.erased += 1,
        |it| it.erased = 0,
        |it| it.generation = 0,
        |it| it.url.clear(),
        |it| it.next += HOOK_WAITING_MAX,
    ];
    for (n, spoil) in wrong.into_iter().enumerate() {
        let mut state = world.state.clone();
        let mut record = world.hook(other);
        spoil(&mut record);
        state.insert(Key::one(Space::Hook, other), record.encode_to_vec().into());
        assert!(!is_whole(&state), "number {n} is believed");
    }
    let mut state = world.state.clone();
    let mut counters = state.counters().expect("a map");
    counters.hooks += 1;
    state.insert(Key::of(Space::Counters), counters.encode_to_vec().into());
    assert!(!is_whole(&state));
    let mut state = world.state.clone();
    let ahead = HookEvent { conversation_id: room, version: 9_999, log_time_ms: 1 };
    let (number, ..) = world.waiting(other)[0];
    state.insert(Key::two(Space::HookDue, other, number), ahead.encode_to_vec().into());
    assert!(!is_whole(&state), "of an event that is still to come");
}
