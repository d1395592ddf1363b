//! Profiles, blocks, the end of accounts, administration, resets, reports and the audit log, by their commands and refusals.

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::{
    BLOCKED_MAX, DEDUP_MS, OPEN_REPORTS_PER_USER_MAX, RECOVERY_CODES_MAX, RESET_MS, SEEN_USERS_MAX,
};
use quorate_proto::rpc::{self, event};

use super::records::{AuditEntry, LastReset, ROLE_ADMIN, Report, Seen, User};
use super::tests::{Dice, World, accepted, code, conversation_of, send};
use super::*;
use crate::store::{Key, Space};
use crate::verify;

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

fn mark(phc: &str) -> Bytes {
    hash(phc).slice(..16)
}

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn profile(display_name: Option<&str>, status: Option<&str>) -> Action {
    let (display_name, status) = (display_name.map(str::to_owned), status.map(str::to_owned));
    Action::SetProfile(rpc::SetProfile { display_name, status, avatar: None })
}

fn block(user_id: u64, on: bool) -> Action {
    Action::Block(rpc::Block { user_id, on })
}

fn delete(user_id: u64, phc: &str) -> Action {
    Action::DeleteUser(rpc::DeleteUser { user_id, password_mark: mark(phc) })
}

fn set_state(user_id: u64, disabled: Option<bool>, admin: Option<bool>) -> Action {
    Action::SetUserState(rpc::SetUserState { user_id, disabled, admin })
}

fn offer_reset(user_id: u64, secret: &str) -> Action {
    Action::OfferReset(rpc::OfferReset { user_id, secret_hash: hash(secret) })
}

fn reset(user_id: u64, secret: &str, phc: &str) -> Action {
    let (secret_hash, password_phc) = (hash(secret), phc.to_owned());
    Action::ResetPassword(rpc::ResetPassword { user_id, secret_hash, password_phc })
}

fn recovery_codes(codes: &[&str]) -> Action {
    let code_hashes = codes.iter().map(|code| hash(code)).collect();
    Action::SetRecoveryCodes(rpc::SetRecoveryCodes { code_hashes })
}

fn seen(user_ids: Vec<u64>) -> Action {
    Action::RecordSeen(rpc::RecordSeen { user_ids })
}

fn report(conversation_id: u64, sequence: u64, reason: &str) -> Action {
    Action::Report(rpc::Report { conversation_id, sequence, reason: reason.into() })
}

fn resolve(report_id: u64, resolution: &str) -> Action {
    Action::ResolveReport(rpc::ResolveReport { report_id, resolution: resolution.into() })
}

fn session(user_id: u64, session_id: &Bytes, phc: &str) -> Action {
    Action::CreateSession(rpc::CreateSession {
        user_id,
        session_id: session_id.clone(),
        refresh_hash: hash("r0"),
        family_hash: hash("f"),
        device: "phone".into(),
        password_mark: mark(phc),
        ..rpc::CreateSession::default()
    })
}

fn message(outcome: &Outcome) -> &str {
    match &outcome.result {
        Some(outcome::Result::Rejected(rejected)) => &rejected.message,
        other => panic!("not rejected: {other:?}"),
    }
}

fn ended(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event.kind, Some(event::Kind::MeSessionEnded(_)))).count()
}

impl World {
    fn admin(&mut self, name: &str) -> u64 {
        let user = self.user(name);
        let offer = rpc::OfferAdmin { secret_hash: hash(name), only_first: false };
        accepted(&self.act(0, Action::OfferAdmin(offer)));
        accepted(&self.act(user, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash(name) })));
        user
    }

    fn record(&self, user_id: u64) -> User {
        self.state.user(user_id).expect("a map").expect("there")
    }

    fn seen_ms(&self, user_id: u64) -> u64 {
        self.state.seen_ms(user_id).expect("a map")
    }

    fn is_member(&self, conversation: u64, user: u64) -> bool {
        self.state.member(conversation, user).expect("a map").is_some_and(|member| member.is_present())
    }

    /// Signs in by the password.
    fn sign_in(&mut self, user_id: u64, session_number: u128, phc: &str) -> Outcome {
        self.act(0, session(user_id, &id(session_number), phc))
    }

    /// Words and subjects of the audit log, in order.
    fn audited(&self) -> Vec<(&'static str, u64, u64)> {
        let last = self.state.counters().expect("a map").audit;
        let entries = self.state.audit_entries(1, last + 1).expect("a map");
        assert_eq!(entries.len() as u64, last);
        let told = |(_, entry): &(u64, AuditEntry)| (audit::word(entry.action), entry.by, entry.subject);
        entries.iter().map(told).collect()
    }

    fn is_whole(&self) {
        let report = verify::tests::report(&self.state);
        assert!(report.is_whole(), "{report}");
    }
}

fn a_group(world: &mut World, by: u64, member_ids: Vec<u64>) -> u64 {
    let create = rpc::CreateGroup { title: "team".into(), member_ids, ..Default::default() };
    conversation_of(&world.act(by, Action::CreateGroup(create)))
}

#[test]
fn a_profile_is_changed_where_it_is_said_and_told_to_its_owner() {
    let mut world = World::new();
    let ana = world.user("ana");
    let command = world.command(ana, profile(Some(" Ana B "), None));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    let [Event { kind: Some(event::Kind::MeProfile(told)), .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((told.user.clone().expect("told").display_name.as_str(), told.status.as_str()), ("Ana B", ""));
    accepted(&world.act(ana, profile(None, Some("away until noon"))));
    let user = world.record(ana);
    assert_eq!((user.display_name.as_str(), user.status.as_str()), ("Ana B", "away until noon"));
    let same = world.command(ana, profile(Some("Ana B"), Some("away until noon")));
    assert!(world.apply(&same).1.is_empty(), "what does not change is not told");
    accepted(&world.act(ana, profile(None, Some(""))));
    assert_eq!(world.record(ana).status, "");
    assert_eq!(code(&world.act(ana, profile(Some(" "), None))), "invalid");
    assert_eq!(code(&world.act(ana, profile(Some("Ana"), Some(&"x".repeat(101))))), "invalid");
    assert_eq!(world.record(ana).display_name, "Ana B", "all or nothing");
}

#[test]
fn whom_somebody_blocks_is_told_to_herself_alone_and_counted() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let command = world.command(ana, block(bob, true));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert!(events.iter().all(|event| event.topic == Some(topics::me_topic(ana))), "{events:?}");
    assert!(matches!(&events[0].kind, Some(event::Kind::MeBlocked(it)) if it.on), "{events:?}");
    assert_eq!(world.state.blocked_by(ana, 10).expect("a map"), [bob]);
    assert!(world.state.is_blocked_between(bob, ana).expect("a map"));
    assert!(!world.state.has_blocked(bob, ana).expect("a map"));
    let again = world.command(ana, block(bob, true));
    assert!(world.apply(&again).1.is_empty());
    assert_eq!(world.record(ana).blocked, 1);
    assert_eq!(code(&world.act(ana, block(ana, true))), "invalid");
    assert_eq!(code(&world.act(ana, block(99, true))), "not_found");
    world.is_whole();
    // Whoever is deleted since can still be taken off the list.
    accepted(&world.act(bob, delete(bob, "$argon2id$")));
    accepted(&world.act(ana, block(bob, false)));
    assert_eq!(world.record(ana).blocked, 0);
    assert_eq!(code(&world.act(ana, block(bob, true))), "not_found");
    world.is_whole();
}

#[test]
fn no_more_users_are_blocked_than_there_is_room_for() {
    let mut world = World::new();
    let ana = world.user("ana");
    for number in 0..BLOCKED_MAX {
        let other = world.user(&format!("u{number}"));
        accepted(&world.act(ana, block(other, true)));
    }
    let one_more = world.user("one-more");
    assert_eq!(code(&world.act(ana, block(one_more, true))), "too_large");
    accepted(&world.act(ana, block(ana + 1, false)));
    accepted(&world.act(ana, block(one_more, true)));
    world.is_whole();
}

#[test]
fn a_deleted_account_leaves_its_name_and_its_messages_behind_and_nothing_else() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    accepted(&world.sign_in(ana, 70, "$argon2id$"));
    let pair = world.direct(ana, bob);
    let groups: Vec<u64> = (0..70).map(|_| a_group(&mut world, ana, vec![bob])).collect();
    accepted(&world.send(ana, pair, "before"));
    accepted(&world.act(ana, profile(None, Some("here"))));
    accepted(&world.act(ana, recovery_codes(&["a"])));
    accepted(&world.act(0, seen(vec![ana])));
    let due_ms = world.now + 3_600_000;
    for number in 0..3 {
        let text = format!("later {number}");
        let schedule =
            rpc::Schedule { conversation_id: pair, text, due_ms: due_ms + number, ..Default::default() };
        accepted(&world.act(ana, Action::Schedule(schedule)));
    }
    for conversation_id in [pair, groups[69]] {
        let draft = rpc::SetDraft { conversation_id, text: "I mean to".into(), reply_to: 0 };
        accepted(&world.act(ana, Action::SetDraft(draft)));
    }
    assert_eq!(code(&world.act(ana, delete(ana, "$guess$"))), "conflict");
    assert_eq!(code(&world.act(ana, delete(bob, "$argon2id$"))), "forbidden");
    let command = world.command(ana, delete(ana, "$argon2id$"));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert_eq!(ended(&events), 2);
    let left = world.record(ana);
    let kept = User {
        name: "ana".into(),
        created_ms: left.created_ms,
        deleted_ms: world.now,
        conversations: left.conversations,
        scheduled_last: 3,
        ..User::default()
    };
    assert_eq!(left, kept);
    assert_eq!(world.seen_ms(ana), 0);
    for (_, session) in world.state.all_sessions().expect("a map") {
        assert!(session.user_id != ana || (session.ended_ms != 0 && session.device.is_empty()));
    }
    assert!(world.apply(&command).0.replay, "a retry hears that it was done");
    assert_eq!(code(&world.act(ana, send(pair, "ghost"))), "unauthenticated");
    let back = world.sign_in(ana, 71, "$argon2id$");
    assert_eq!((code(&back), message(&back)), ("unauthenticated", "wrong name or password"));
    let again =
        rpc::CreateUser { name: "ana".into(), display_name: "A".into(), password_phc: "$argon2id$".into() };
    assert_eq!(code(&world.act(0, Action::CreateUser(again))), "name_taken");
    let shown = join::user(&world.state, ana).expect("a map");
    assert_eq!((shown.name.as_str(), shown.display_name.as_str(), shown.deleted), ("", "deleted user", true));
    assert_eq!(code(&world.act(bob, Action::CreateDirect(rpc::CreateDirect { peer_id: ana }))), "not_found");
    // What follows lets time pass: she leaves her groups, so many with each entry.
    for _ in 0..6 {
        accepted(&world.act(bob, profile(None, None)));
    }
    assert!(groups.iter().all(|group| !world.is_member(*group, ana) && world.is_member(*group, bob)));
    assert!(world.is_member(pair, ana), "a pair stays one");
    world.now = due_ms + 10;
    accepted(&world.act(bob, profile(None, None)));
    assert_eq!(
        world.state.conversation(pair).expect("a map").expect("there").sequence,
        1,
        "nothing is sent later"
    );
    let writings = [Space::Drafts, Space::Scheduled, Space::Due].map(|space| space as u8);
    assert!(!world.state.keys().any(|key| writings.contains(&key.space())), "nor kept");
    let kept = world.state.message(pair, 1).expect("a map").expect("there");
    assert_eq!((kept.text.as_str(), kept.from), ("before", ana));
    world.is_whole();
}

#[test]
fn an_admin_deletes_anybody_and_the_last_admin_stays() {
    let mut world = World::new();
    let (admin, ana, bob) = (world.admin("root"), world.user("ana"), world.user("bob"));
    accepted(&world.act(admin, delete(ana, "")));
    assert!(world.record(ana).is_deleted());
    assert_eq!(code(&world.act(admin, delete(ana, ""))), "not_found", "once");
    assert_eq!(code(&world.act(admin, delete(99, ""))), "not_found");
    assert_eq!(code(&world.act(admin, delete(admin, "$argon2id$"))), "invalid");
    accepted(&world.act(admin, set_state(bob, None, Some(true))));
    assert_eq!(code(&world.act(admin, delete(admin, ""))), "conflict", "one's own needs the password");
    accepted(&world.act(admin, delete(admin, "$argon2id$")));
    assert_eq!(world.state.counters().expect("a map").admins, 1);
    assert_eq!(world.record(admin).role, 0);
    world.is_whole();
}

#[test]
fn who_is_disabled_is_signed_out_and_cannot_come_back_until_she_is_enabled() {
    let mut world = World::new();
    let (admin, ana, bob) = (world.admin("root"), world.user("ana"), world.user("bob"));
    let pair = world.direct(ana, bob);
    accepted(&world.send(ana, pair, "before"));
    assert_eq!(code(&world.act(bob, set_state(ana, Some(true), None))), "forbidden");
    assert_eq!(code(&world.act(admin, set_state(99, Some(true), None))), "not_found");
    accepted(&world.sign_in(ana, 70, "$argon2id$"));
    let command = world.command(admin, set_state(ana, Some(true), None));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert_eq!(ended(&events), 2);
    let twice = world.command(admin, set_state(ana, Some(true), None));
    assert!(world.apply(&twice).1.is_empty());
    assert_eq!(code(&world.act(ana, send(pair, "ghost"))), "unauthenticated");
    let back = world.sign_in(ana, 71, "$argon2id$");
    assert_eq!((code(&back), message(&back)), ("unauthenticated", "wrong name or password"));
    let refresh = rpc::RefreshSession {
        session_id: id(70),
        family_hash: hash("f"),
        refresh_hash: hash("r0"),
        salt: hash("s"),
        next_hash: hash("r1"),
    };
    assert_eq!(code(&world.act(0, Action::RefreshSession(refresh))), "unauthenticated");
    accepted(&world.act(admin, offer_reset(ana, "s")));
    assert_eq!(code(&world.act(0, reset(ana, "s", "$new$"))), "unauthenticated");
    let kept = world.state.message(pair, 1).expect("a map").expect("there");
    assert_eq!((kept.text.as_str(), world.is_member(pair, ana)), ("before", true));
    // Even a session that somehow lasted would bring nothing.
    let mut record = world.state.session(&id(70)).expect("a map").expect("there");
    record.ended_ms = 0;
    let key = Key::new(Space::Session, &id(70));
    let before = world.state.insert(key, record.encode_to_vec().into()).expect("there");
    let mut ghost = world.command(ana, send(pair, "ghost"));
    ghost.session_id = id(70);
    assert_eq!(code(&world.apply(&ghost).0), "unauthenticated");
    assert!(!verify::tests::report(&world.state).is_whole(), "and is noticed");
    world.state.insert(key, before);
    accepted(&world.act(admin, set_state(ana, Some(false), None)));
    assert_eq!(code(&world.act(0, reset(ana, "s", "$new$"))), "unauthenticated", "whoever has that secret");
    accepted(&world.sign_in(ana, 72, "$argon2id$"));
    let mut here = world.command(ana, send(pair, "I am back"));
    here.session_id = id(72);
    accepted(&world.apply(&here).0);
    world.is_whole();
}

/// Somebody else had the secret: the account was disabled and enabled again within its day, and the secret still set a password.
#[test]
fn an_offered_reset_ends_when_the_account_is_disabled() {
    let mut world = World::new();
    let (admin, ana) = (world.admin("root"), world.user("ana"));
    accepted(&world.act(admin, offer_reset(ana, "leaked")));
    accepted(&world.act(admin, set_state(ana, Some(true), None)));
    accepted(&world.act(admin, set_state(ana, Some(false), None)));
    assert_eq!(code(&world.act(0, reset(ana, "leaked", "$theirs$"))), "unauthenticated");
    assert_eq!(world.record(ana).password_phc, "$argon2id$");
    accepted(&world.act(admin, offer_reset(ana, "anew")));
    accepted(&world.act(0, reset(ana, "anew", "$hers$")));
    world.is_whole();
}

#[test]
fn there_is_an_admin_for_ever_and_who_is_disabled_is_none() {
    let mut world = World::new();
    let (admin, ana) = (world.admin("root"), world.user("ana"));
    assert_eq!(code(&world.act(ana, set_state(ana, None, Some(true)))), "forbidden");
    assert_eq!(code(&world.act(admin, set_state(admin, None, Some(false)))), "invalid");
    assert_eq!(code(&world.act(admin, set_state(admin, Some(true), None))), "invalid");
    assert_eq!(code(&world.act(admin, set_state(ana, Some(true), Some(true)))), "invalid");
    accepted(&world.act(admin, set_state(ana, None, Some(true))));
    accepted(&world.act(admin, set_state(ana, None, Some(true))));
    assert_eq!(world.state.counters().expect("a map").admins, 2);
    // Disabling takes the role, too: an admin who cannot sign in must not be the last one.
    accepted(&world.act(ana, set_state(admin, Some(true), None)));
    assert_eq!(world.state.counters().expect("a map").admins, 1);
    assert_eq!(code(&world.act(ana, set_state(ana, None, Some(false)))), "invalid");
    assert_eq!(code(&world.act(ana, set_state(admin, None, Some(true)))), "invalid");
    accepted(&world.act(ana, set_state(admin, Some(false), None)));
    assert_eq!(world.record(admin).role, 0);
    accepted(&world.act(ana, set_state(admin, None, Some(true))));
    assert_eq!(world.record(admin).role, ROLE_ADMIN);
    world.is_whole();
}

#[test]
fn an_admins_secret_sets_a_password_once_within_a_day() {
    let mut world = World::new();
    let (admin, ana) = (world.admin("root"), world.user("ana"));
    accepted(&world.act(ana, recovery_codes(&["c1", "c2"])));
    assert_eq!(code(&world.act(ana, offer_reset(ana, "s"))), "forbidden");
    assert_eq!(code(&world.act(admin, offer_reset(99, "s"))), "not_found");
    let short = rpc::OfferReset { user_id: ana, secret_hash: Bytes::from_static(b"short") };
    assert_eq!(code(&world.act(admin, Action::OfferReset(short))), "invalid");
    accepted(&world.act(admin, offer_reset(ana, "old")));
    accepted(&world.act(admin, offer_reset(ana, "s")));
    let refused = [(ana, "old"), (ana, "guess"), (ana, ""), (admin, "s"), (99, "s"), (0, "s")]
        .map(|(user, secret)| world.act(0, reset(user, secret, "$new$")));
    let words: Vec<(&str, &str)> = refused.iter().map(|outcome| (code(outcome), message(outcome))).collect();
    assert!(words.iter().all(|word| *word == words[0] && word.0 == "unauthenticated"), "{words:?}");
    assert_eq!(code(&world.act(0, reset(ana, "s", ""))), "invalid");
    // Whoever guesses has used up the attempts of strangers.
    let attempt = |world: &mut World| {
        let count = rpc::CountAttempt { user_id: ana, ..rpc::CountAttempt::default() };
        match world.act(0, Action::CountAttempt(count)).result {
            Some(outcome::Result::Attempt(attempt)) => attempt.wait_ms,
            other => panic!("no attempt: {other:?}"),
        }
    };
    while attempt(&mut world) == 0 {}
    accepted(&world.sign_in(ana, 70, "$argon2id$"));
    while attempt(&mut world) == 0 {}
    let command = world.command(0, reset(ana, "s", "$new$"));
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    assert_eq!(ended(&events), 2, "whoever is in is out");
    assert_eq!(attempt(&mut world), 0, "she need not wait for those who guess");
    assert_eq!(world.record(ana).password_phc, "$new$");
    assert!(world.record(ana).recovery_hashes.is_empty(), "who had the account may have made these");
    assert_eq!(code(&world.sign_in(ana, 71, "$argon2id$")), "unauthenticated");
    accepted(&world.sign_in(ana, 72, "$new$"));
    assert_eq!(code(&world.act(0, reset(ana, "s", "$third$"))), "unauthenticated", "once");
    accepted(&world.act(admin, offer_reset(ana, "late")));
    world.now += RESET_MS;
    assert_eq!(code(&world.act(0, reset(ana, "late", "$third$"))), "unauthenticated", "too late");
    world.now -= 1;
    accepted(&world.act(0, reset(ana, "late", "$third$")));
    world.is_whole();
}

#[test]
fn a_reset_is_done_once_and_answered_alike_without_filling_the_memory_that_all_share() {
    let mut world = World::new();
    let (admin, ana) = (world.admin("root"), world.user("ana"));
    accepted(&world.act(admin, offer_reset(ana, "s")));
    let remembered = world.state.dedup_count(0).expect("a map");
    let command = world.command(0, reset(ana, "s", "$new$"));
    for _ in 0..3 {
        let guess = world.command(0, reset(ana, "guess", "$new$"));
        assert_eq!(code(&world.apply(&guess).0), "unauthenticated");
    }
    accepted(&world.apply(&command).0);
    accepted(&world.sign_in(ana, 70, "$new$"));
    // The answer was lost; the password is hashed with another salt.
    let again = Command { action: Some(reset(ana, "s", "$new, salted anew$")), ..command.clone() };
    let before = world.state.clone();
    for retry in [&command, &again] {
        let (outcome, events) = world.apply(retry);
        accepted(&outcome);
        assert!(events.is_empty() && world.state == before, "it changes nothing");
    }
    let another = Command { action: Some(reset(ana, "guess", "$x$")), ..command.clone() };
    assert_eq!(code(&world.apply(&another).0), "unauthenticated", "the id alone opens nothing");
    let remembered_since = world.state.dedup_count(0).expect("a map") - remembered;
    assert_eq!(remembered_since, 1, "the sign-in alone");
    // Her own later password is not undone by a late copy.
    let set = rpc::SetPassword { password_phc: "$own$".into(), replaces: mark("$new$") };
    let mut set = world.command(ana, Action::SetPassword(set));
    set.session_id = id(70);
    accepted(&world.apply(&set).0);
    accepted(&world.apply(&command).0);
    assert_eq!(world.record(ana).password_phc, "$own$");
}

#[test]
fn a_password_that_is_set_ends_an_offer_to_set_it() {
    let mut world = World::new();
    let (admin, ana) = (world.admin("root"), world.user("ana"));
    accepted(&world.act(admin, offer_reset(ana, "s")));
    let set = rpc::SetPassword { password_phc: "$own$".into(), replaces: mark("$argon2id$") };
    accepted(&world.act(ana, Action::SetPassword(set)));
    assert_eq!(code(&world.act(0, reset(ana, "s", "$new$"))), "unauthenticated");
    accepted(&world.act(ana, recovery_codes(&["c"])));
    accepted(&world.act(admin, offer_reset(ana, "t")));
    accepted(&world.act(0, reset(ana, "c", "$by code$")));
    assert_eq!(code(&world.act(0, reset(ana, "t", "$new$"))), "unauthenticated");
}

#[test]
fn each_recovery_code_is_good_once_until_others_take_their_place() {
    let mut world = World::new();
    let ana = world.user("ana");
    let many: Vec<String> = (0..=RECOVERY_CODES_MAX).map(|n| format!("code {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(&world.act(ana, recovery_codes(&many))), "too_large");
    assert_eq!(code(&world.act(ana, recovery_codes(&["a", "a"]))), "invalid");
    let short = rpc::SetRecoveryCodes { code_hashes: vec![Bytes::from_static(b"short")] };
    assert_eq!(code(&world.act(ana, Action::SetRecoveryCodes(short))), "invalid");
    accepted(&world.act(ana, recovery_codes(&["a", "b"])));
    accepted(&world.act(ana, recovery_codes(&many[1..])));
    assert_eq!(code(&world.act(0, reset(ana, "a", "$new$"))), "unauthenticated", "replaced");
    accepted(&world.act(0, reset(ana, many[3], "$new$")));
    assert_eq!(code(&world.act(0, reset(ana, many[3], "$newer$"))), "unauthenticated");
    assert_eq!(world.record(ana).recovery_hashes.len(), RECOVERY_CODES_MAX - 1);
    assert_eq!(code(&world.act(ana, recovery_codes(&["x"]))), "unauthenticated", "needs a session");
    accepted(&world.sign_in(ana, 70, "$new$"));
    let mut none = world.command(ana, recovery_codes(&[]));
    none.session_id = id(70);
    accepted(&world.apply(&none).0);
    assert!(world.record(ana).recovery_hashes.is_empty());
}

#[test]
fn last_seen_is_told_to_the_minute_and_never_goes_back() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    world.now = 10 * 60_000 + 12_345;
    accepted(&world.act(0, seen(vec![ana, 99, ana])));
    assert_eq!([ana, bob, 99].map(|user| world.seen_ms(user)), [600_000, 0, 0]);
    let before = world.state.clone();
    let command = world.command(0, seen(vec![ana]));
    accepted(&world.apply(&command).0);
    assert!(world.state == before, "the same minute is no write, and nothing is remembered");
    world.now = 5 * 60_000;
    accepted(&world.act(0, seen(vec![ana, bob])));
    assert_eq!([ana, bob].map(|user| world.seen_ms(user)), [600_000, 300_000]);
    assert_eq!(code(&world.act(0, seen(vec![1; SEEN_USERS_MAX + 1]))), "too_large");
    accepted(&world.act(0, seen((0..SEEN_USERS_MAX as u64).collect())));
    world.is_whole();
}

#[test]
fn who_may_read_a_message_reports_it_and_an_admin_is_done_with_it_once() {
    let mut world = World::new();
    let (admin, ana, bob, eve) =
        (world.admin("root"), world.user("ana"), world.user("bob"), world.user("eve"));
    let group = a_group(&mut world, ana, vec![bob]);
    accepted(&world.send(bob, group, "rude"));
    assert_eq!(code(&world.act(eve, report(group, 1, "rude"))), "not_found");
    assert_eq!(code(&world.act(ana, report(group, 2, "rude"))), "not_found");
    assert_eq!(code(&world.act(ana, report(group, 0, "rude"))), "not_found");
    assert_eq!(code(&world.act(ana, report(group, 1, " "))), "invalid");
    accepted(&world.act(ana, report(group, 1, "rude")));
    // Who joins later may not have read it; who has left may have.
    accepted(&world.act(ana, Action::AddMember(rpc::AddMember { conversation_id: group, user_id: eve })));
    assert_eq!(code(&world.act(eve, report(group, 1, "rude"))), "not_found");
    accepted(
        &world.act(eve, Action::RemoveMember(rpc::RemoveMember { conversation_id: group, user_id: eve })),
    );
    accepted(&world.send(bob, group, "ruder"));
    assert_eq!(code(&world.act(eve, report(group, 2, "rude"))), "not_found");
    accepted(
        &world.act(bob, Action::RemoveMember(rpc::RemoveMember { conversation_id: group, user_id: bob })),
    );
    accepted(&world.act(bob, report(group, 2, "I regret it")));
    let stored = world.state.report(1).expect("a map").expect("there");
    assert_eq!((stored.by, stored.sequence, stored.reason.as_str()), (ana, 1, "rude"));
    assert_eq!(world.state.open_reports(1, 10).expect("a map"), [1, 2]);
    assert_eq!(code(&world.act(ana, resolve(1, "I forgive her"))), "forbidden");
    assert_eq!(code(&world.act(admin, resolve(3, "what"))), "not_found");
    assert_eq!(code(&world.act(admin, resolve(1, ""))), "invalid");
    accepted(&world.act(admin, resolve(1, "spoke with her")));
    assert_eq!(code(&world.act(admin, resolve(1, "again"))), "conflict");
    assert_eq!(world.state.open_reports(1, 10).expect("a map"), [2]);
    assert_eq!((world.record(ana).open_reports, world.record(bob).open_reports), (0, 1));
    // A report outlives the account of who made it.
    world.is_whole();
    accepted(&world.act(admin, delete(bob, "")));
    accepted(&world.act(admin, resolve(2, "she has left")));
    assert_eq!(world.record(bob).open_reports, 0);
    world.is_whole();
}

#[test]
fn nobody_fills_the_admins_queue() {
    let mut world = World::new();
    let (admin, ana, bob) = (world.admin("root"), world.user("ana"), world.user("bob"));
    let pair = world.direct(ana, bob);
    accepted(&world.send(bob, pair, "hello"));
    for _ in 0..OPEN_REPORTS_PER_USER_MAX {
        accepted(&world.act(ana, report(pair, 1, "spam")));
    }
    let one_more = world.command(ana, report(pair, 1, "spam"));
    assert_eq!(code(&world.apply(&one_more).0), "rate_limited");
    accepted(&world.act(bob, report(pair, 1, "myself")));
    accepted(&world.act(admin, resolve(7, "nothing to do")));
    let (outcome, _) = world.apply(&one_more);
    accepted(&outcome);
    assert!(!outcome.replay, "a refusal for now is not remembered");
    world.is_whole();
}

#[test]
fn what_concerns_others_rights_is_written_down_by_what_does_it() {
    let mut world = World::new();
    let (admin, ana, bob) = (world.admin("root"), world.user("ana"), world.user("bob"));
    let pair = world.direct(ana, bob);
    accepted(&world.send(bob, pair, "rude"));
    accepted(&world.act(admin, set_state(ana, None, Some(true))));
    accepted(&world.act(ana, set_state(ana, None, Some(false))));
    accepted(&world.act(admin, set_state(bob, Some(true), None)));
    accepted(&world.act(admin, set_state(bob, Some(true), None)));
    accepted(&world.act(admin, set_state(bob, Some(false), None)));
    accepted(&world.act(admin, offer_reset(bob, "s")));
    accepted(&world.act(0, reset(bob, "s", "$new$")));
    accepted(&world.act(ana, recovery_codes(&["c"])));
    accepted(&world.act(ana, report(pair, 1, "rude")));
    assert_eq!(code(&world.act(bob, resolve(1, "mine"))), "unauthenticated");
    accepted(&world.act(admin, resolve(1, "told her")));
    accepted(&world.act(0, reset(ana, "c", "$own matter$")));
    accepted(&world.act(admin, delete(bob, "")));
    let expected = [
        ("admin_offered", 0, 0),
        ("admin_claimed", admin, admin),
        ("admin_made", admin, ana),
        ("admin_unmade", ana, ana),
        ("user_disabled", admin, bob),
        ("user_enabled", admin, bob),
        ("reset_offered", admin, bob),
        ("password_reset", bob, bob),
        ("report_resolved", admin, ana),
        ("user_deleted", admin, bob),
    ];
    assert_eq!(world.audited(), expected);
    world.is_whole();
}

#[test]
fn an_admin_of_the_site_looks_after_any_group_and_reads_none() {
    let mut world = World::new();
    let (admin, ana, bob, eve) =
        (world.admin("root"), world.user("ana"), world.user("bob"), world.user("eve"));
    let group = a_group(&mut world, ana, vec![bob]);
    let pair = world.direct(ana, bob);
    let add = |conversation_id, user_id| Action::AddMember(rpc::AddMember { conversation_id, user_id });
    let remove =
        |conversation_id, user_id| Action::RemoveMember(rpc::RemoveMember { conversation_id, user_id });
    let title = |title: &str| {
        let (conversation_id, title) = (group, Some(title.to_owned()));
        Action::ChangeConversation(rpc::ChangeConversation { conversation_id, title, ..Default::default() })
    };
    let log = world.audited().len();
    accepted(&world.act(admin, add(group, eve)));
    accepted(&world.act(admin, add(group, eve)));
    accepted(&world.act(admin, title("well kept")));
    accepted(&world.act(admin, title("well kept")));
    accepted(&world.act(admin, remove(group, ana)));
    assert!(world.is_member(group, eve) && !world.is_member(group, ana) && !world.is_member(group, admin));
    assert_eq!(world.state.conversation(group).expect("a map").expect("there").title, "well kept");
    let expected = [
        ("group_member_added", admin, eve),
        ("group_changed", admin, 0),
        ("group_member_removed", admin, ana),
    ];
    assert_eq!(world.audited()[log..], expected, "what changes nothing is not written down");
    for action in
        [send(group, "hello"), report(group, 1, "rude"), remove(group, admin), add(pair, eve), add(99, eve)]
    {
        assert_eq!(code(&world.act(admin, action.clone())), "not_found", "{action:?}");
    }
    // In a group of her own she is an owner like others.
    let own = a_group(&mut world, admin, vec![bob]);
    accepted(&world.act(admin, add(own, eve)));
    assert_eq!(world.audited().len(), log + expected.len());
    world.is_whole();
    world.machine_version = VERSION_DOMAIN - 1;
    assert_eq!(code(&world.act(admin, remove(group, bob))), "not_found");
}

#[test]
fn the_log_of_what_was_done_begins_with_the_version_that_brings_it() {
    let mut world = World::new();
    world.machine_version = VERSION_DOMAIN - 1;
    let admin = world.admin("root");
    let written = |world: &World| world.state.keys().any(|key| key.space() == Space::Audit as u8);
    assert!(!written(&world) && world.state.counters().expect("a map").audit == 0);
    let raise = rpc::SetMachineVersion { version: VERSION_DOMAIN };
    accepted(&world.act(0, Action::SetMachineVersion(raise)));
    let ana = world.user("ana");
    accepted(&world.act(admin, set_state(ana, Some(true), None)));
    assert_eq!(world.audited(), [("version_raised", 0, 0), ("user_disabled", admin, ana)]);
    world.is_whole();
}

/// Each of these as somebody sends it who is newer than a part of the replicas.
fn actions() -> Vec<Action> {
    vec![
        profile(Some("x"), None),
        block(1, true),
        delete(1, "$argon2id$"),
        set_state(1, Some(true), None),
        offer_reset(1, "s"),
        reset(1, "s", "$new$"),
        recovery_codes(&["a"]),
        seen(vec![1]),
        report(1, 1, "rude"),
        resolve(1, "done"),
    ]
}

/// A program of version 3 reads these as no action. Replicas that run either program must come to the same bytes.
#[test]
fn under_version_3_they_are_applied_as_by_a_program_that_cannot_read_them() {
    for action in actions() {
        assert_eq!(needed_version(&action), VERSION_DOMAIN);
        for case in 0..5 {
            let mut world = World::new();
            world.machine_version = VERSION_DOMAIN - 1;
            let ana = world.user("ana");
            let mut command = world.command(if case == 2 { 0 } else { ana }, action.clone());
            match case {
                1 => command.session_id = id(99),
                3 => {
                    world.now += DEDUP_MS;
                    command.first_sent_ms = 1;
                }
                4 => command.command_id = Bytes::new(),
                _ => {}
            }
            let stripped = Command { action: None, ..command.clone() };
            let [known, unknown] = [&command, &stripped].map(|command| {
                let mut other = World { state: world.state.clone(), ..World::new() };
                (other.index, other.now) = (world.index, world.now);
                other.machine_version = VERSION_DOMAIN - 1;
                let (outcome, events) = other.apply(command);
                (outcome.encode_to_vec(), events, other.state)
            });
            assert_eq!(known, unknown, "case {case}: {action:?}");
        }
    }
}

/// What any of four users, two of them admins, may do to any other, with what she may know.
fn any_action(dice: &mut Dice, by: u64, people: &[u64], phc: &str) -> Action {
    let somebody = people[dice.below(people.len() as u64) as usize];
    let flag = |number: u64| [None, Some(true), Some(false)][number as usize % 3];
    let secret = format!("s{}", dice.below(3));
    match dice.below(16) {
        0 => profile(Some("x"), flag(dice.below(3)).map(|on| if on { "here" } else { "" })),
        1 | 2 => block(somebody, dice.below(3) != 0),
        3 if dice.below(8) == 0 => delete(somebody, if by == somebody { phc } else { "" }),
        4 | 5 => set_state(somebody, flag(dice.below(3)), flag(dice.below(3))),
        6 => offer_reset(somebody, &secret),
        7 => recovery_codes(&[&secret, "other"]),
        8 => seen(people.to_vec()),
        9 | 10 => report(1, 1 + dice.below(3), "rude"),
        11 | 12 => resolve(1 + dice.below(12), "done"),
        13 => reset(somebody, &secret, "$argon2id$"),
        14 => Action::EndOtherSessions(rpc::EndOtherSessions {}),
        _ => send(1, "hello"),
    }
}

/// Whatever is done by whom in whatever order: what is counted is what is there, somebody is an admin, and the same commands
/// come to the same bytes.
#[test]
fn counts_of_admins_sessions_blocks_and_reports_agree_with_what_is_there() {
    let run = |seed: u64| {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let mut people = vec![world.admin("root"), world.admin("second")];
        people.extend(["ana", "bob", "eve"].map(|name| world.user(name)));
        let group = a_group(&mut world, people[0], people[1..].to_vec());
        assert_eq!(group, 1);
        let mut done = 0;
        for step in 0..250_u128 {
            world.now += dice.below(30_000);
            let by = people[dice.below(people.len() as u64) as usize];
            let phc = world.record(by).password_phc;
            // Who has no session, and can have one, signs in.
            let sessions = world.state.sessions_of(by, 1).expect("a map");
            let session_id = match sessions.first() {
                Some((session, _)) => Bytes::copy_from_slice(session),
                None => {
                    let fresh = id(1_000 + step);
                    let signed_in = world.act(0, session(by, &fresh, &phc));
                    assert_eq!(
                        matches!(signed_in.result, Some(outcome::Result::Done(_))),
                        world.record(by).is_active(),
                        "seed {seed}, step {step}: {signed_in:?}"
                    );
                    fresh
                }
            };
            let action = any_action(&mut dice, by, &people, &phc);
            let mut command = world.command(by, action);
            command.session_id = session_id;
            let (outcome, _) = world.apply(&command);
            done += u32::from(!matches!(outcome.result, Some(outcome::Result::Rejected(_))));
            if dice.below(4) == 0 {
                // The first time what the command made due is done.
                world.apply(&command);
                let before = world.state.clone();
                if world.apply(&command).0.replay {
                    assert!(world.state == before, "seed {seed}: a replay changes nothing");
                }
            }
            let report = verify::tests::report(&world.state);
            assert!(report.is_whole(), "seed {seed}, step {step}, {command:?}: {report}");
            assert!(world.state.counters().expect("a map").admins >= 1, "seed {seed}, step {step}");
            let admins = people.iter().filter(|user| world.record(**user).is_admin()).count();
            assert_eq!(world.state.counters().expect("a map").admins, admins as u64);
        }
        assert!(done > 60, "seed {seed}: {done} were done");
        world.state
    };
    for seed in 0..12 {
        assert!(run(seed) == run(seed), "seed {seed}");
    }
}

/// Bytes of what is stored, as a program of another version reads them: never another.
#[test]
fn records_of_people_are_stored_as_ever() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let user = User {
        name: "ana".into(),
        display_name: "Ana".into(),
        password_phc: "$".into(),
        created_ms: 1,
        role: 1,
        status: "here".into(),
        deleted_ms: 2,
        disabled_ms: 3,
        reset_hash: Bytes::from_static(&[4]),
        reset_ends_ms: 5,
        recovery_hashes: vec![Bytes::from_static(&[6]), Bytes::from_static(&[7])],
        blocked: 8,
        open_reports: 9,
        last_reset: Some(LastReset {
            secret_hash: Bytes::from_static(&[10]),
            command_id: Bytes::from_static(&[11]),
        }),
        ..User::default()
    };
    assert_eq!(
        hex(user.encode_to_vec()),
        "0a03616e611203416e611a012420012801520468657265580260036a010470057a01067a0107a00108b00109ba01060a010a12010b"
    );
    let report = Report {
        by: 1,
        created_ms: 2,
        reason: "r".into(),
        conversation_id: 3,
        sequence: 4,
        resolved_ms: 5,
        resolved_by: 6,
        resolution: "d".into(),
        revision: 7,
    };
    assert_eq!(hex(report.encode_to_vec()), "080110021a017220032804300538064201644807");
    let entry = AuditEntry {
        index: 1,
        log_time_ms: 2,
        by: 3,
        action: 4,
        subject: 5,
        conversation_id: 6,
        detail: "d".into(),
    };
    assert_eq!(hex(entry.encode_to_vec()), "0801100218032004280530063a0164");
    assert_eq!(hex(Seen { seen_ms: 300 }.encode_to_vec()), "08ac02");
    let blocked = records::Event {
        index: 1,
        log_time_ms: 2,
        kind: Some(records::EventKind::MeBlocked(records::BlockedEvent { user_id: 3, on: true })),
    };
    assert_eq!(hex(blocked.encode_to_vec()), "08011002a2020408031001");
    let profile =
        records::Event { index: 1, log_time_ms: 2, kind: Some(records::EventKind::MeProfile(true)) };
    assert_eq!(hex(profile.encode_to_vec()), "08011002980201");
}
