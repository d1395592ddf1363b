//! Sessions, attempts, passwords, admins and signing keys, by their commands and refusals.

use bytes::Bytes;
use quorate_proto::limits::{DEDUP_MS, PREVIOUS_SECRET_MS, SESSIONS_PER_USER_MAX};
use quorate_proto::rpc::{self, event};

use super::tests::{Dice, World, accepted, code, conversation_of, send, session_of};
use super::*;
use crate::store::{Key, Space};

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn ended(events: &[Event]) -> Vec<Bytes> {
    let session = |event: &Event| match &event.kind {
        Some(event::Kind::MeSessionEnded(ended)) => Some(ended.session_id.clone()),
        _ => None,
    };
    events.iter().filter_map(session).collect()
}

impl World {
    /// A session with secret `r0` of family `f`.
    fn session(&mut self, user_id: u64, session_id: &Bytes) -> Vec<Event> {
        let create = rpc::CreateSession {
            user_id,
            session_id: session_id.clone(),
            refresh_hash: hash("r0"),
            device: "phone".into(),
            family_hash: hash("f"),
            ..rpc::CreateSession::default()
        };
        let command = self.command(0, Action::CreateSession(create));
        let (outcome, events) = self.apply(&command);
        accepted(&outcome);
        events
    }

    fn listed(&self, user_id: u64) -> Vec<Bytes> {
        let sessions = self.state.sessions_of(user_id, usize::MAX).expect("a map");
        sessions.iter().map(|(id, _)| Bytes::copy_from_slice(id)).collect()
    }

    /// An attempt at a user's password, or at a name that nobody has; how long it has to wait.
    fn attempt(&mut self, user_id: u64, name: &str, known: Option<(&Bytes, &str)>) -> u64 {
        let (session, family) = known.unzip();
        let count = rpc::CountAttempt {
            user_id,
            name_key: hash(name),
            known_session_id: session.cloned().unwrap_or_default(),
            known_family_hash: family.map(hash).unwrap_or_default(),
        };
        wait_ms(&self.act(0, Action::CountAttempt(count)))
    }

    fn refresh(
        &mut self,
        session_id: &Bytes,
        family: &str,
        secret: &str,
        next: &str,
    ) -> (Outcome, Vec<Event>) {
        let command = self.command(0, refresh(session_id, family, secret, next));
        self.apply(&command)
    }
}

fn wait_ms(outcome: &Outcome) -> u64 {
    match &outcome.result {
        Some(outcome::Result::Attempt(attempt)) => attempt.wait_ms,
        other => panic!("no attempt: {other:?}"),
    }
}

fn refresh(session_id: &Bytes, family: &str, secret: &str, next: &str) -> Action {
    Action::RefreshSession(rpc::RefreshSession {
        session_id: session_id.clone(),
        family_hash: hash(family),
        refresh_hash: hash(secret),
        salt: hash(&format!("salt of {next}")),
        next_hash: hash(next),
    })
}

/// The salt of what follows; `None` when the session was ended for a reused secret.
fn salt(outcome: &Outcome) -> Option<Bytes> {
    match &outcome.result {
        Some(outcome::Result::Refreshed(refreshed)) => (!refreshed.reused).then(|| refreshed.salt.clone()),
        other => panic!("not refreshed: {other:?}"),
    }
}

#[test]
fn guesses_are_slowed_alike_for_names_that_exist_and_names_that_do_not() {
    let mut world = World::new();
    let ana = world.user("ana");
    let mut waits = Vec::new();
    for user_id in [ana, 0] {
        let before = world.now;
        for _ in 0..40 {
            match world.attempt(user_id, "ana", None) {
                0 => waits.push(0),
                wait => {
                    waits.push(wait);
                    assert_eq!(world.attempt(user_id, "ana", None), wait, "a refused one is not counted");
                    world.now += wait;
                }
            }
        }
        world.now = before;
    }
    let (known, unknown) = waits.split_at(40);
    assert_eq!(known, unknown);
    assert_eq!(&known[..9], [0, 0, 0, 1_000, 0, 2_000, 0, 4_000, 0]);
    assert_eq!(known.iter().max(), Some(&(15 * 60_000)));
}

#[test]
fn the_same_attempt_again_is_one_attempt() {
    let mut world = World::new();
    let ana = world.user("ana");
    let count = rpc::CountAttempt { user_id: ana, ..rpc::CountAttempt::default() };
    let command = world.command(0, Action::CountAttempt(count));
    for _ in 0..20 {
        assert_eq!(wait_ms(&world.apply(&command).0), 0);
    }
    assert_eq!(world.attempt(ana, "", None), 0);
    assert_eq!(
        world.state.dedup_count(0).expect("a map"),
        2,
        "only what made ana and her session is remembered"
    );
}

#[test]
fn a_stranger_cannot_lock_out_a_device_that_holds_a_secret() {
    let mut world = World::new();
    let (ana, eve) = (world.user("ana"), world.user("eve"));
    let (phone, foreign) = (id(77), id(78));
    world.session(ana, &phone);
    world.session(eve, &foreign);
    for _ in 0..3 {
        assert_eq!(world.attempt(ana, "", None), 0);
    }
    assert!(world.attempt(ana, "", None) > 0, "strangers wait");
    assert!(world.attempt(ana, "", Some((&foreign, "f"))) > 0, "another's device is a stranger");
    assert!(
        world.attempt(ana, "", Some((&phone, "guessed"))) > 0,
        "so is one that knows only the session's id"
    );
    assert_eq!(world.attempt(ana, "", Some((&phone, "f"))), 0);
    assert_eq!(world.attempt(ana, "", Some((&phone, "f"))), 0);
    assert_eq!(world.attempt(ana, "", Some((&phone, "f"))), 0);
    assert!(world.attempt(ana, "", Some((&phone, "f"))) > 0, "a stolen device is slowed like everybody");
}

#[test]
fn devices_whose_sessions_have_ended_have_one_counter_together_and_for_a_month() {
    let mut world = World::new();
    let ana = world.user("ana");
    // Somebody who had the password collected them; then its owner set another.
    let collected: Vec<Bytes> = (70..90).map(id).collect();
    for session in &collected {
        world.session(ana, session);
    }
    let own = session_of(ana);
    accepted(&world.act(ana, Action::EndOtherSessions(rpc::EndOtherSessions {})));
    let guesses = |world: &mut World, devices: &[Bytes]| {
        devices.iter().filter(|device| world.attempt(ana, "", Some((device, "f"))) == 0).count()
    };
    assert_eq!(guesses(&mut world, &collected), 3, "three are free, of all of them");
    assert_eq!(world.attempt(ana, "", None), 0, "and strangers are counted by themselves");
    // Who knows the password through one of them begins that counter anew.
    let create = rpc::CreateSession {
        user_id: ana,
        session_id: id(200),
        refresh_hash: hash("r0"),
        family_hash: hash("f"),
        known_session_id: collected[0].clone(),
        known_family_hash: hash("f"),
        ..rpc::CreateSession::default()
    };
    accepted(&world.act(0, Action::CreateSession(create)));
    assert_eq!(guesses(&mut world, &collected), 3);
    world.now += 30 * 24 * 3_600_000;
    for _ in 0..3 {
        assert_eq!(world.attempt(ana, "", None), 0);
    }
    assert_eq!(guesses(&mut world, &collected), 0, "after a month they are strangers");
    accepted(&world.refresh(&id(200), "f", "r0", "r1").0);
    assert_eq!(world.attempt(ana, "", Some((&id(200), "f"))), 0, "one that lasts is a device however old");
    assert_eq!(world.listed(ana), [own, id(200)]);
}

#[test]
fn a_session_is_not_begun_with_a_password_that_was_changed_meanwhile() {
    let mut world = World::new();
    let ana = world.user("ana");
    let mark = |phc: &str| hash(phc).slice(..16);
    let begin = |session: u128, phc: &str| {
        Action::CreateSession(rpc::CreateSession {
            user_id: ana,
            session_id: id(session),
            refresh_hash: hash("r0"),
            family_hash: hash("f"),
            password_mark: mark(phc),
            ..rpc::CreateSession::default()
        })
    };
    let first = world.command(0, begin(70, "$argon2id$"));
    accepted(&world.apply(&first).0);
    // Two more have looked at the password that is there; then its owner sets another.
    let (early, late) =
        (world.command(0, begin(71, "$argon2id$")), world.command(0, begin(72, "$argon2id$")));
    accepted(&world.apply(&early).0);
    let set = rpc::SetPassword { password_phc: "$new$".into(), replaces: mark("$argon2id$") };
    accepted(&world.act(ana, Action::SetPassword(set)));
    let before = world.state.clone();
    let (outcome, events) = world.apply(&late);
    assert_eq!(code(&outcome), "unauthenticated");
    assert!(events.is_empty() && world.state == before);
    assert_eq!(world.listed(ana), [session_of(ana)], "nobody is in by the old one");
    accepted(&world.act(0, begin(73, "$new$")));
    assert!(world.apply(&first).0.replay, "a retry still gets its answer");
    // Under version 2 the field is not known.
    world.machine_version = 2;
    accepted(&world.act(0, begin(74, "$argon2id$")));
}

#[test]
fn knowing_the_password_resets_the_own_counter_and_no_other() {
    let mut world = World::new();
    let ana = world.user("ana");
    let phone = id(77);
    world.session(ana, &phone);
    for _ in 0..3 {
        world.attempt(ana, "", None);
        world.attempt(ana, "", Some((&phone, "f")));
    }
    let sign_in = |world: &mut World, session: u128, known: &Bytes, family: &str| {
        let create = rpc::CreateSession {
            user_id: ana,
            session_id: id(session),
            refresh_hash: hash("r0"),
            family_hash: hash("f"),
            known_session_id: known.clone(),
            known_family_hash: hash(family),
            ..rpc::CreateSession::default()
        };
        accepted(&world.act(0, Action::CreateSession(create)));
    };
    sign_in(&mut world, 80, &phone, "f");
    assert_eq!(world.attempt(ana, "", Some((&phone, "f"))), 0);
    assert!(world.attempt(ana, "", None) > 0, "the owner's success gives a stranger no new guesses");
    for _ in 0..2 {
        world.attempt(ana, "", Some((&phone, "f")));
    }
    // Who knows the device's id and not its family was counted as a stranger, and is one here.
    sign_in(&mut world, 81, &phone, "guessed");
    assert_eq!(world.attempt(ana, "", None), 0);
    assert!(world.attempt(ana, "", Some((&phone, "f"))) > 0, "nothing is reset that was not counted");
}

#[test]
fn names_that_nobody_has_take_bounded_room_and_old_counters_go() {
    let mut world = World::new();
    let held = |world: &World| {
        let attempts = Space::Attempts as u8;
        world.state.keys().filter(|key| key.space() == attempts).count()
    };
    for name in 0..3_000 {
        world.attempt(0, &format!("nobody{name}"), None);
    }
    let full = held(&world);
    assert!(full > 2_000 && full <= 65_536, "{full}");
    world.now += 24 * 3_600_000;
    for name in 0..3_000 {
        world.attempt(0, &format!("other{name}"), None);
    }
    // Each looks at the four that follow it, so hardly any of the old ones is left.
    assert!(held(&world) < 3_000 + full / 20, "{} of {full}", held(&world));
}

#[test]
fn ending_all_other_sessions_leaves_the_one_that_asks() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    for number in 70..75 {
        world.session(ana, &id(number));
    }
    assert_eq!(world.listed(ana).len(), 6);
    let command = world.command(ana, Action::EndOtherSessions(rpc::EndOtherSessions {}));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert_eq!(ended(&events).len(), 5);
    assert!(!ended(&events).contains(&session_of(ana)));
    assert_eq!(world.listed(ana), [session_of(ana)]);
    assert_eq!(world.listed(bob), [session_of(bob)], "nobody else's");
    let (again, events) = world.apply(&command);
    assert!(again.replay && events.is_empty());
    let conversation =
        conversation_of(&world.act(ana, Action::CreateDirect(rpc::CreateDirect { peer_id: bob })));
    let mut from_ended = world.command(ana, send(conversation, "ghost"));
    from_ended.session_id = id(70);
    assert_eq!(code(&world.apply(&from_ended).0), "unauthenticated");
    accepted(&world.send(ana, conversation, "I am still here"));
}

#[test]
fn one_session_too_many_ends_the_one_used_longest_ago() {
    let mut world = World::new();
    let ana = world.user("ana");
    for number in 0..SESSIONS_PER_USER_MAX as u128 - 1 {
        world.now += 1_000;
        assert!(world.session(ana, &id(1_000 + number)).is_empty());
    }
    world.now += 1_000;
    // The very first was made by `user` and is the oldest; refreshing another makes that one young.
    accepted(&world.refresh(&id(1_000), "f", "r0", "r1").0);
    assert_eq!(ended(&world.session(ana, &id(5_000))), [session_of(ana)]);
    assert_eq!(ended(&world.session(ana, &id(5_001))), [id(1_001)]);
    assert_eq!(world.listed(ana).len(), SESSIONS_PER_USER_MAX);
}

#[test]
fn another_password_ends_the_other_sessions_and_only_who_saw_the_old_one_sets_it() {
    let mut world = World::new();
    let ana = world.user("ana");
    world.session(ana, &id(70));
    let mark = |phc: &str| hash(phc).slice(..16);
    let set = |phc: &str, replaces: &str| {
        Action::SetPassword(rpc::SetPassword { password_phc: phc.into(), replaces: mark(replaces) })
    };
    assert_eq!(code(&world.act(ana, set("$new$", "$another$"))), "conflict");
    assert_eq!(code(&world.act(ana, set("", "$argon2id$"))), "invalid");
    let command = world.command(ana, set("$new$", "$argon2id$"));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert_eq!(ended(&events), [id(70)]);
    let user = world.state.user(ana).expect("a map").expect("ana");
    assert_eq!((user.password_phc.as_str(), user.name.as_str()), ("$new$", "ana"));
    assert_eq!(code(&world.act(ana, set("$third$", "$argon2id$"))), "conflict", "changed meanwhile");
    // The same wish with another salt is the same command.
    let again = Command { action: Some(set("$new, salted anew$", "$argon2id$")), ..command };
    assert!(world.apply(&again).0.replay);
    assert_eq!(world.state.user(ana).expect("a map").expect("ana").password_phc, "$new$");
}

#[test]
fn two_windows_that_refresh_at_once_get_the_same_secret() {
    let mut world = World::new();
    let ana = world.user("ana");
    let phone = id(70);
    world.session(ana, &phone);
    let first = world.refresh(&phone, "f", "r0", "r1").0;
    assert_eq!(salt(&first), Some(hash("salt of r1")));
    world.now += PREVIOUS_SECRET_MS;
    let second = world.refresh(&phone, "f", "r0", "another").0;
    assert_eq!(salt(&second), Some(hash("salt of r1")), "what the first was given, at the last millisecond");
    let session = world.state.session(&phone).expect("a map").expect("there");
    assert_eq!((session.refresh_hash, session.previous_hash), (hash("r1"), hash("r0")));
    // The command itself applied twice, for its outcome was lost.
    let command = world.command(0, refresh(&phone, "f", "r1", "r2"));
    assert_eq!(salt(&world.apply(&command).0), Some(hash("salt of r2")));
    assert_eq!(salt(&world.apply(&command).0), Some(hash("salt of r2")));
}

#[test]
fn a_secret_shown_after_it_was_replaced_ends_the_session() {
    // Once its successor's successor has been used; and after a minute in any case.
    for late in [false, true] {
        let mut world = World::new();
        let ana = world.user("ana");
        let phone = id(70);
        world.session(ana, &phone);
        accepted(&world.refresh(&phone, "f", "r0", "r1").0);
        if late {
            world.now += PREVIOUS_SECRET_MS + 1;
        } else {
            accepted(&world.refresh(&phone, "f", "r1", "r2").0);
            accepted(&world.refresh(&phone, "f", "r2", "r3").0);
        }
        let (outcome, events) = world.refresh(&phone, "f", "r0", "r4");
        assert_eq!(salt(&outcome), None);
        assert_eq!(ended(&events), std::slice::from_ref(&phone));
        assert_eq!(world.listed(ana), [session_of(ana)]);
        let newest = if late { "r1" } else { "r3" };
        assert_eq!(
            code(&world.refresh(&phone, "f", newest, "r5").0),
            "unauthenticated",
            "the thief's copy too"
        );
    }
}

/// A request waits at a gateway whose leader is gone; the page is loaded anew, twice, through another one; then the first
/// request finds the new leader.
#[test]
fn a_refresh_that_was_held_up_while_another_window_went_on_ends_nothing() {
    let mut world = World::new();
    let ana = world.user("ana");
    let phone = id(70);
    world.session(ana, &phone);
    let held_up = world.command(0, refresh(&phone, "f", "r0", "x"));
    accepted(&world.refresh(&phone, "f", "r0", "r1").0);
    world.now += PREVIOUS_SECRET_MS / 2;
    accepted(&world.refresh(&phone, "f", "r1", "r2").0);
    world.now += PREVIOUS_SECRET_MS - PREVIOUS_SECRET_MS / 2;
    let before = world.state.clone();
    let (outcome, events) = world.apply(&held_up);
    assert_eq!(code(&outcome), "unavailable");
    assert!(events.is_empty() && world.state == before, "and gives nothing");
    assert_eq!(
        salt(&world.refresh(&phone, "f", "r1", "y").0),
        Some(hash("salt of r2")),
        "the one after it is good"
    );
    world.now += 1;
    assert_eq!(salt(&world.apply(&held_up).0), None, "a minute after it was replaced it is a copy");
    assert_eq!(world.listed(ana), [session_of(ana)]);
}

#[test]
fn who_does_not_know_the_family_can_end_nothing() {
    let mut world = World::new();
    let ana = world.user("ana");
    let phone = id(70);
    world.session(ana, &phone);
    let before = world.state.clone();
    assert_eq!(code(&world.refresh(&phone, "guessed", "guessed", "x").0), "unauthenticated");
    assert_eq!(code(&world.refresh(&phone, "guessed", "r0", "x").0), "unauthenticated");
    assert_eq!(code(&world.refresh(&id(99), "f", "r0", "x").0), "unauthenticated");
    assert_eq!(world.state, before);
}

#[test]
fn sessions_of_the_version_before_are_listed_and_refreshed_by_the_next() {
    let mut world = World::new();
    world.machine_version = 2;
    let ana = world.user("ana");
    let phone = id(70);
    world.session(ana, &phone);
    let key = |space: Space| world.state.keys().filter(|key| key.space() == space as u8).count();
    assert_eq!((key(Space::SessionOf), key(Space::Session)), (0, 2), "as a program of version 2 writes it");
    assert!(world.state.session(&phone).expect("a map").expect("there").family_hash.is_empty());
    let offer = rpc::OfferAdmin { secret_hash: hash("s"), only_first: true };
    let actions = [
        Action::CountAttempt(rpc::CountAttempt::default()),
        refresh(&phone, "f", "r0", "r1"),
        Action::OfferAdmin(offer),
        Action::RemoveSigningKey(rpc::RemoveSigningKey { kid: "a".into() }),
    ];
    for action in actions {
        assert_eq!(code(&world.act(0, action)), "unsupported");
    }
    let set = rpc::SetPassword { password_phc: "$new$".into(), ..rpc::SetPassword::default() };
    assert_eq!(code(&world.act(ana, Action::SetPassword(set))), "unsupported");
    accepted(&world.act(ana, Action::EndSession(rpc::EndSession { session_id: session_of(ana) })));
    accepted(&world.act(0, Action::SetMachineVersion(rpc::SetMachineVersion { version: 3 })));
    assert_eq!(world.listed(ana), std::slice::from_ref(&phone), "those that last");
    accepted(&world.refresh(&phone, "f", "r0", "r1").0);
    assert_eq!(world.state.session(&phone).expect("a map").expect("there").family_hash, hash("f"));
    assert_eq!(salt(&world.refresh(&phone, "f", "r9", "x").0), None, "from now on reuse is noticed");
}

/// Each of these once, as somebody sends it who is newer than a part of the replicas.
fn actions_of_version_3() -> Vec<Action> {
    vec![
        Action::CountAttempt(rpc::CountAttempt::default()),
        Action::EndOtherSessions(rpc::EndOtherSessions {}),
        Action::SetPassword(rpc::SetPassword::default()),
        refresh(&id(70), "f", "r0", "r1"),
        Action::RemoveSigningKey(rpc::RemoveSigningKey { kid: "a".into() }),
        Action::OfferAdmin(rpc::OfferAdmin { secret_hash: hash("s"), only_first: true }),
        Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash("s") }),
    ]
}

/// A program of version 2 reads an action of version 3 as none. Replicas that run either program must come to the same bytes, or
/// the minority stops for good.
#[test]
fn under_version_2_an_action_of_version_3_is_applied_as_by_a_program_that_cannot_read_it() {
    use prost::Message as _;
    let mut compared = 0;
    for action in actions_of_version_3() {
        assert_eq!(needed_version(&action), VERSION_ACCOUNTS);
        // By the session that it needs, by one that has ended, by nobody; too old; with the id of another command.
        for case in 0..6 {
            let mut world = World::new();
            world.machine_version = 2;
            let ana = world.user("ana");
            let mut command = world.command(if case == 2 { 0 } else { ana }, action.clone());
            match case {
                1 => command.session_id = id(99),
                3 => {
                    world.now += DEDUP_MS;
                    command.first_sent_ms = 1;
                }
                4 => command.command_id = Bytes::new(),
                5 => {
                    let made = world.command(ana, Action::CreateDirect(rpc::CreateDirect { peer_id: 99 }));
                    command.command_id = made.command_id.clone();
                    world.apply(&made);
                }
                _ => {}
            }
            let stripped = Command { action: None, ..command.clone() };
            let mut results = [&command, &stripped].map(|command| {
                let state = world.state.clone();
                let mut other = World { state, ..World::new() };
                (other.index, other.now, other.machine_version) = (world.index, world.now, 2);
                let (outcome, events) = other.apply(command);
                (outcome.encode_to_vec(), events, other.state)
            });
            let [known, unknown] = &mut results;
            assert_eq!(known, unknown, "case {case}: {action:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 42);
}

#[test]
fn an_operators_secret_makes_one_admin_once_within_a_day() {
    let mut world = World::new();
    let (ana, eve) = (world.user("ana"), world.user("eve"));
    let offer = |secret: &str, only_first| {
        Action::OfferAdmin(rpc::OfferAdmin { secret_hash: hash(secret), only_first })
    };
    let claim = |secret: &str| Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash(secret) });
    let admins = |world: &World| {
        let is_admin =
            |user| world.state.user(user).expect("a map").expect("there").role == records::ROLE_ADMIN;
        let admins = [ana, eve].map(is_admin);
        let count = admins.iter().filter(|admin| **admin).count() as u64;
        assert_eq!(world.state.counters().expect("a map").admins, count);
        admins
    };
    assert_eq!(code(&world.act(eve, claim("s"))), "forbidden", "nothing was offered");
    accepted(&world.act(0, offer("old", true)));
    accepted(&world.act(0, offer("s", true)));
    assert_eq!(code(&world.act(eve, claim("old"))), "forbidden", "a newer one took its place");
    assert_eq!(code(&world.act(eve, claim("guess"))), "forbidden");
    let command = world.command(ana, claim("s"));
    accepted(&world.apply(&command).0);
    assert!(world.apply(&command).0.replay);
    assert_eq!(code(&world.act(eve, claim("s"))), "forbidden", "once");
    assert_eq!(admins(&world), [true, false]);
    assert_eq!(code(&world.act(0, offer("t", true))), "conflict", "there is one");
    accepted(&world.act(0, offer("t", false)));
    world.now += 24 * 3_600_000;
    assert_eq!(code(&world.act(eve, claim("t"))), "forbidden", "too late");
    accepted(&world.act(0, offer("u", false)));
    accepted(&world.act(ana, claim("u")));
    assert_eq!(admins(&world), [true, false], "twice an admin is one admin");
}

#[test]
fn the_last_signing_key_stays() {
    let mut world = World::new();
    for kid in ["a", "b"] {
        let add =
            rpc::AddSigningKey { kid: kid.into(), public_key: vec![1; 32].into(), ..Default::default() };
        world.now += 1;
        accepted(&world.act(0, Action::AddSigningKey(add)));
    }
    let remove = |kid: &str| Action::RemoveSigningKey(rpc::RemoveSigningKey { kid: kid.into() });
    assert_eq!(code(&world.act(0, remove("c"))), "not_found");
    accepted(&world.act(0, remove("a")));
    assert_eq!(code(&world.act(0, remove("b"))), "invalid");
    assert_eq!(world.state.signing_keys().expect("a map").len(), 1);
}

#[test]
fn only_a_leader_proposes_keys_offers_and_versions() {
    let internal = |action| is_internal(&Command { action: Some(action), ..Command::default() });
    assert!(internal(Action::OfferAdmin(rpc::OfferAdmin::default())));
    assert!(internal(Action::RemoveSigningKey(rpc::RemoveSigningKey::default())));
    assert!(!internal(Action::ClaimAdmin(rpc::ClaimAdmin::default())));
    assert!(!internal(Action::CountAttempt(rpc::CountAttempt::default())));
}

/// Any order of these commands, retried or not, leaves a state that agrees with itself, and the same twice.
#[test]
fn sessions_and_their_lists_agree_whatever_is_done_in_whatever_order() {
    let run = |seed: u64| {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let users = [world.user("ana"), world.user("bob")];
        let mut said = Vec::new();
        for step in 0..300_u128 {
            let user = users[dice.below(2) as usize];
            let session = id(100 + u128::from(dice.below(12)));
            let secrets = ["r0", "r1", "r2"];
            let secret = secrets[dice.below(3) as usize];
            let next = secrets[dice.below(3) as usize];
            world.now += dice.below(40_000);
            let action = match dice.below(8) {
                0..=2 => Action::CreateSession(rpc::CreateSession {
                    user_id: user,
                    session_id: id(100 + step % 12),
                    refresh_hash: hash("r0"),
                    family_hash: hash("f"),
                    ..rpc::CreateSession::default()
                }),
                3 => Action::EndSession(rpc::EndSession { session_id: session }),
                4 => Action::EndOtherSessions(rpc::EndOtherSessions {}),
                5 => Action::CountAttempt(rpc::CountAttempt {
                    user_id: user,
                    known_session_id: session,
                    known_family_hash: hash("f"),
                    ..rpc::CountAttempt::default()
                }),
                _ => refresh(&session, "f", secret, next),
            };
            let by =
                if matches!(action, Action::EndSession(_) | Action::EndOtherSessions(_)) { user } else { 0 };
            let command = world.command(by, action);
            said.push(world.apply(&command).0);
            if dice.below(3) == 0 {
                let before = world.state.clone();
                let (again, events) = world.apply(&command);
                assert!(events.is_empty() || !again.replay, "seed {seed}");
                if again.replay {
                    assert_eq!(world.state, before, "seed {seed}: a replay changes nothing");
                }
            }
            let mut lasting: Vec<Key> = world
                .state
                .all_sessions()
                .expect("a map")
                .into_iter()
                .filter(|(_, session)| session.ended_ms == 0)
                .map(|(id, session)| Key::with_id(Space::SessionOf, session.user_id, &id))
                .collect();
            lasting.sort_unstable();
            let listed: Vec<Key> =
                world.state.keys().filter(|key| key.space() == Space::SessionOf as u8).copied().collect();
            assert_eq!(lasting, listed, "seed {seed}, step {step}");
        }
        (world.state, said)
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    const { assert!(DEDUP_MS > 300 * 40_000, "nothing is forgotten in between") };
}
