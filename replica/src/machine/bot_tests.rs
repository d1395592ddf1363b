//! Bots and tokens by their commands and refusals.

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::{BOTS_PER_CONVERSATION_MAX, BOTS_PER_USER_MAX, TOKENS_PER_USER_MAX};
use quorate_proto::rpc::{self, event};

use super::authorization_tests::every_action;
use super::message_tests::{edit, mark, team};
use super::records::*;
use super::scopes::{ALL, MANAGE, READ, SEND, scope_of};
use super::tests::{World, accepted, code, conversation_of, send, session_of};
use super::*;
use crate::store::{Key, Space};
use crate::verify;

const HOUR_MS: u64 = 3_600_000;

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

fn create(name: &str) -> Action {
    Action::CreateBot(rpc::CreateBot { name: name.into(), display_name: name.to_uppercase() })
}

/// A token under a number, which is its session's id.
fn make(user_id: u64, number: u128, scopes: u32) -> rpc::MakeToken {
    rpc::MakeToken {
        user_id,
        session_id: id(number),
        secret_hash: hash("secret"),
        label: "ci".into(),
        scopes,
        ..Default::default()
    }
}

fn end(user_id: u64, number: u128) -> Action {
    Action::EndToken(rpc::EndToken { user_id, session_id: id(number) })
}

fn delete(user_id: u64) -> Action {
    Action::DeleteUser(rpc::DeleteUser { user_id, ..Default::default() })
}

fn member(conversation_id: u64, user_id: u64) -> Action {
    Action::AddMember(rpc::AddMember { conversation_id, user_id })
}

impl World {
    pub(super) fn bot(&mut self, owner: u64, name: &str) -> u64 {
        match self.act(owner, create(name)).result {
            Some(outcome::Result::User(created)) => created.user_id,
            other => panic!("no bot: {other:?}"),
        }
    }

    pub(super) fn token(&mut self, by: u64, user_id: u64, number: u128, scopes: u32) {
        accepted(&self.act(by, Action::MakeToken(make(user_id, number, scopes))));
    }

    /// Through a token.
    pub(super) fn act_by(&mut self, user_id: u64, number: u128, action: Action) -> Outcome {
        let command = Command { session_id: id(number), ..self.command(user_id, action) };
        self.apply(&command).0
    }

    fn token_record(&self, number: u128) -> Session {
        self.state.session(&id(number)).expect("a map").expect("there")
    }

    fn bots(&self, conversation_id: u64) -> Vec<u64> {
        self.state.conversation(conversation_id).expect("a map").expect("there").bots
    }

    fn an_admin(&mut self, name: &str) -> u64 {
        let admin = self.user(name);
        let offer = rpc::OfferAdmin { secret_hash: hash("offer"), only_first: false };
        accepted(&self.act(0, Action::OfferAdmin(offer)));
        accepted(&self.act(admin, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash("offer") })));
        admin
    }

    fn disable(&mut self, admin: u64, user_id: u64, on: bool) {
        let set = rpc::SetUserState { user_id, disabled: Some(on), admin: None };
        accepted(&self.act(admin, Action::SetUserState(set)));
    }
}

#[test]
fn a_bot_is_a_user_without_a_password_who_is_no_admin() {
    let mut world = World::new();
    let (root, ana, bob) = (world.an_admin("root"), world.user("ana"), world.user("bob"));
    let bot = world.bot(ana, "helper");
    assert_eq!(code(&world.act(ana, create("Helper"))), "name_taken");
    assert_eq!(code(&world.act(ana, create("no name"))), "invalid");
    let shown = join::user(&world.state, bot).expect("a map");
    assert!(shown.bot && shown.name == "helper" && !join::user(&world.state, ana).expect("a map").bot);
    let sign_in = rpc::CreateSession {
        user_id: bot,
        session_id: id(90),
        refresh_hash: hash("r"),
        ..Default::default()
    };
    assert_eq!(code(&world.act(0, Action::CreateSession(sign_in))), "unauthenticated");
    let raise = rpc::SetUserState { user_id: bot, disabled: None, admin: Some(true) };
    assert_eq!(code(&world.act(root, Action::SetUserState(raise))), "invalid");
    let offer = rpc::OfferReset { user_id: bot, secret_hash: hash("s") };
    assert_eq!(code(&world.act(root, Action::OfferReset(offer))), "invalid");
    let reset =
        rpc::ResetPassword { user_id: bot, secret_hash: hash("s"), password_phc: "$argon2id$".into() };
    assert_eq!(code(&world.act(0, Action::ResetPassword(reset))), "unauthenticated");
    assert_eq!(code(&world.act(bob, delete(bot))), "forbidden");
    world.token(ana, bot, 91, ALL);
    accepted(&world.act(ana, delete(bot)));
    assert_eq!(code(&world.act_by(bot, 91, create("x"))), "unauthenticated");
    assert_eq!(code(&world.act(ana, delete(bot))), "not_found", "once");
    assert_eq!(code(&world.act(ana, create("helper"))), "name_taken", "a name is given out once");
    assert!(join::user(&world.state, bot).expect("a map").bot, "what it said is still a program's");
    world.must_be_whole();
}

#[test]
fn a_user_has_so_many_bots_and_no_more() {
    let mut world = World::new();
    let ana = world.user("ana");
    let bots: Vec<u64> = (0..BOTS_PER_USER_MAX).map(|n| world.bot(ana, &format!("bot{n}"))).collect();
    assert_eq!(code(&world.act(ana, create("more"))), "too_large");
    accepted(&world.act(ana, delete(bots[3])));
    world.bot(ana, "more");
    let own = world.state.bots_of(ana, 99).expect("a map");
    assert!(own.len() == BOTS_PER_USER_MAX && !own.contains(&bots[3]));
    world.must_be_whole();
}

/// Every command there is, by tokens of every scope: what the table does not give is forbidden, whatever else is wrong with it.
#[test]
fn a_token_does_what_its_scopes_say_and_nothing_else() {
    let (mut world, [ana, ..], _) = team();
    for scopes in 1..=ALL {
        world.token(ana, ana, 200 + u128::from(scopes), scopes);
    }
    let said = |outcome: &Outcome| match &outcome.result {
        Some(outcome::Result::Rejected(it)) => it.code == "forbidden" && it.message.contains("token"),
        _ => false,
    };
    let (mut forbidden, mut let_through) = (0, 0);
    for action in every_action() {
        let command = world.command(ana, action.clone());
        let is_open = matches!(
            action,
            Action::CreateUser(_)
                | Action::CreateSession(_)
                | Action::RefreshSession(_)
                | Action::ResetPassword(_)
                | Action::RecordSeen(_)
                | Action::LeaseHooks(_)
                | Action::SettleHook(_)
        );
        // No session is asked for.
        if is_open || is_internal(&command) {
            assert_eq!(scope_of(&action), None);
            continue;
        }
        for scopes in 1..=ALL {
            let outcome = world.clone().act_by(ana, 200 + u128::from(scopes), action.clone());
            let may = scope_of(&action).is_some_and(|needed| needed & !scopes == 0);
            assert_eq!(said(&outcome), !may, "{action:?} with {scopes}: {outcome:?}");
            *(if may { &mut let_through } else { &mut forbidden }) += 1;
        }
        assert!(!said(&world.clone().act(ana, action)), "a sign-in is good for everything");
    }
    assert!(forbidden > 150 && let_through > 90, "{forbidden} forbidden, {let_through} let through");
}

#[test]
fn what_is_handed_on_must_be_hers_to_read() {
    let (mut world, [ana, bob, _], room) = team();
    let other = world.direct(ana, bob);
    accepted(&world.send(bob, room, "between us"));
    world.token(ana, ana, 91, SEND);
    world.token(ana, ana, 92, SEND | READ);
    let forward = rpc::Send {
        conversation_id: other,
        forward: Some(rpc::MessageRef { conversation_id: room, sequence: 1 }),
        ..Default::default()
    };
    assert_eq!(code(&world.act_by(ana, 91, Action::Send(forward.clone()))), "forbidden");
    accepted(&world.act_by(ana, 92, Action::Send(forward)));
    let file = rpc::AttachFile { file_id: id(5), conversation_id: room, sequence: 1 };
    let shown = rpc::Send { conversation_id: other, attachments: vec![file], ..Default::default() };
    assert_eq!(code(&world.act_by(ana, 91, Action::Send(shown.clone()))), "forbidden");
    assert_eq!(code(&world.act_by(ana, 92, Action::Send(shown))), "not_found", "there is none");
}

#[test]
fn a_token_for_one_conversation_says_something_there_and_nothing_else() {
    let (mut world, [ana, bob, eve], room) = team();
    let other = world.direct(ana, bob);
    let only = |scopes, conversation_id| {
        Action::MakeToken(rpc::MakeToken { conversation_id, ..make(ana, 91, scopes) })
    };
    assert_eq!(code(&world.act(ana, only(SEND | READ, room))), "invalid");
    assert_eq!(code(&world.act(ana, only(SEND, 99))), "not_found");
    let elsewhere = world.direct(bob, eve);
    assert_eq!(code(&world.act(ana, only(SEND, elsewhere))), "not_found");
    accepted(&world.act(ana, only(SEND, room)));
    accepted(&world.act_by(ana, 91, send(room, "built")));
    let reply = rpc::Send { conversation_id: room, text: "again".into(), reply_to: 1, ..Default::default() };
    accepted(&world.act_by(ana, 91, Action::Send(reply.clone())));
    let forward = Some(rpc::MessageRef { conversation_id: room, sequence: 1 });
    let files = vec![rpc::AttachFile::default()];
    for action in [
        send(other, "hello"),
        Action::Send(rpc::Send { forward, text: String::new(), ..reply.clone() }),
        Action::Send(rpc::Send { attachments: files, ..reply }),
        edit(room, 1, "changed"),
        mark(room, 1),
        Action::CommitFile(rpc::CommitFile::default()),
    ] {
        assert_eq!(code(&world.act_by(ana, 91, action.clone())), "forbidden", "{action:?}");
    }
    let leave = rpc::RemoveMember { conversation_id: room, user_id: ana };
    accepted(&world.act(ana, Action::RemoveMember(leave)));
    assert_eq!(code(&world.act_by(ana, 91, send(room, "still?"))), "not_found");
    world.must_be_whole();
}

#[test]
fn a_token_ends_by_log_time_and_by_command() {
    let (mut world, [ana, bob, _], room) = team();
    let bot = world.bot(ana, "helper");
    accepted(&world.act(ana, member(room, bot)));
    let lasts = Action::MakeToken(rpc::MakeToken { lasts_ms: HOUR_MS, ..make(bot, 91, SEND) });
    accepted(&world.act(ana, lasts));
    world.token(ana, bot, 92, SEND);
    world.now += HOUR_MS - 1;
    accepted(&world.act_by(bot, 91, send(room, "in time")));
    world.now += 1;
    assert_eq!(code(&world.act_by(bot, 91, send(room, "late"))), "unauthenticated");
    accepted(&world.act_by(bot, 92, send(room, "until it is ended")));
    assert_eq!(code(&world.act(bob, end(bot, 92))), "not_found");
    assert_eq!(code(&world.act(ana, end(ana, 92))), "not_found", "it is the bot's");
    let as_session = Action::EndSession(rpc::EndSession { session_id: id(92) });
    assert_eq!(code(&world.act(ana, as_session)), "not_found");
    let events = world.events(ana, end(bot, 92));
    let [event::Kind::MeSessionEnded(told)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(told.session_id, id(92), "its gateway hears of it");
    accepted(&world.act(ana, end(bot, 92)));
    assert_eq!(code(&world.act_by(bot, 92, send(room, "ghost"))), "unauthenticated");
    assert_eq!(code(&world.act(ana, end(ana, 1))), "not_found", "a sign-in is no token");
    world.must_be_whole();
}

#[test]
fn a_token_that_cannot_be_is_not_made() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let bot = world.bot(ana, "helper");
    let good = make(bot, 91, SEND);
    let wrong = [
        (rpc::MakeToken { session_id: Bytes::from_static(b"short"), ..good.clone() }, "invalid"),
        (rpc::MakeToken { secret_hash: Bytes::new(), ..good.clone() }, "invalid"),
        (rpc::MakeToken { scopes: 0, ..good.clone() }, "invalid"),
        (rpc::MakeToken { scopes: 8, ..good.clone() }, "invalid"),
        (rpc::MakeToken { label: String::new(), ..good.clone() }, "invalid"),
        (rpc::MakeToken { user_id: bob, ..good.clone() }, "not_found"),
        (rpc::MakeToken { user_id: 99, ..good.clone() }, "not_found"),
        (rpc::MakeToken { session_id: session_of(ana), ..good.clone() }, "id_conflict"),
    ];
    for (make, expected) in wrong {
        assert_eq!(code(&world.act(ana, Action::MakeToken(make.clone()))), expected, "{make:?}");
    }
    assert_eq!(code(&world.act(bob, Action::MakeToken(good))), "not_found");
    for n in 0..TOKENS_PER_USER_MAX as u128 {
        let lasts_ms = if n < 2 { HOUR_MS } else { 0 };
        let make = rpc::MakeToken { lasts_ms, ..make(bot, 1_000 + n, SEND) };
        accepted(&world.act(ana, Action::MakeToken(make)));
    }
    assert_eq!(code(&world.act(ana, Action::MakeToken(make(bot, 91, SEND)))), "too_large");
    world.now += HOUR_MS;
    world.token(ana, bot, 91, SEND);
    assert_ne!(world.token_record(1_000).ended_ms, 0, "what is over makes room");
    assert_eq!(world.state.sessions_of(bot, 99).expect("a map").len(), TOKENS_PER_USER_MAX - 1);
    world.must_be_whole();
}

#[test]
fn tokens_are_not_sessions_to_be_refreshed_listed_or_pushed_out() {
    let mut world = World::new();
    let ana = world.user("ana");
    world.token(ana, ana, 91, ALL);
    let before = world.state.clone();
    for (refresh_hash, family_hash) in
        [(hash("secret"), hash("f")), (hash("guess"), Bytes::from(vec![0; 32]))]
    {
        let refresh = rpc::RefreshSession {
            session_id: id(91),
            family_hash,
            refresh_hash,
            salt: hash("salt"),
            next_hash: hash("next"),
        };
        assert_eq!(code(&world.act(0, Action::RefreshSession(refresh))), "unauthenticated");
    }
    assert_eq!(world.state, before, "without harm");
    let others = Action::EndOtherSessions(rpc::EndOtherSessions {});
    accepted(&world.act(ana, others));
    for n in 0..120 {
        let sign_in = rpc::CreateSession {
            user_id: ana,
            session_id: id(2_000 + n),
            refresh_hash: hash("r"),
            ..Default::default()
        };
        accepted(&world.act(0, Action::CreateSession(sign_in)));
    }
    assert_eq!(world.token_record(91).ended_ms, 0, "more sign-ins than there may be push out sign-ins");
    assert_eq!(world.state.session_count(ana).expect("a map"), 100);
    world.must_be_whole();
}

#[test]
fn another_password_ends_ones_own_tokens_and_no_bots() {
    let (mut world, [ana, bob, _], _) = team();
    let bot = world.bot(ana, "helper");
    world.token(ana, ana, 91, ALL);
    world.token(ana, bot, 92, ALL);
    world.token(bob, bob, 93, ALL);
    let mark = Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]);
    let set = rpc::SetPassword { password_phc: "$new$".into(), replaces: mark };
    accepted(&world.act(ana, Action::SetPassword(set)));
    assert_ne!(world.token_record(91).ended_ms, 0);
    assert_eq!([world.token_record(92).ended_ms, world.token_record(93).ended_ms], [0, 0]);
    let others = Action::EndOtherSessions(rpc::EndOtherSessions {});
    accepted(&world.act(ana, others));
    world.must_be_whole();
}

#[test]
fn by_a_token_others_messages_are_taken_back_with_manage_only() {
    let (mut world, [ana, bob, _], room) = team();
    accepted(&world.send(bob, room, "his"));
    accepted(&world.send(ana, room, "hers"));
    let last = world.state.conversation(room).expect("a map").expect("there").sequence;
    let take =
        |first, last| Action::DeleteMessages(rpc::DeleteMessages { conversation_id: room, first, last });
    world.token(ana, ana, 91, SEND);
    world.token(ana, ana, 92, SEND | MANAGE);
    assert_eq!(code(&world.act_by(ana, 91, take(last - 1, last - 1))), "forbidden");
    accepted(&world.act_by(ana, 91, take(last - 1, last)));
    let deleted_ms = |world: &World, sequence| {
        let found = world.state.messages(room, sequence, sequence + 1, 1).expect("a map");
        found.first().expect("there").1.deleted_ms
    };
    assert_eq!(deleted_ms(&world, last - 1), 0, "of a range only what is hers");
    assert_ne!(deleted_ms(&world, last), 0);
    accepted(&world.act_by(ana, 92, take(last - 1, last - 1)));
    assert_ne!(deleted_ms(&world, last - 1), 0);
    world.must_be_whole();
}

#[test]
fn who_is_shut_out_or_sets_her_password_anew_has_no_tokens() {
    type Shut = fn(&mut World, u64, u64);
    let ways: [Shut; 3] = [
        |world, root, ana| world.disable(root, ana, true),
        |world, root, ana| accepted(&world.act(root, delete(ana))),
        |world, root, ana| {
            let offer = rpc::OfferReset { user_id: ana, secret_hash: hash("s") };
            accepted(&world.act(root, Action::OfferReset(offer)));
            let password_phc = "$new$".to_owned();
            let reset = rpc::ResetPassword { user_id: ana, secret_hash: hash("s"), password_phc };
            accepted(&world.act(0, Action::ResetPassword(reset)));
        },
    ];
    for way in ways {
        let mut world = World::new();
        let (root, ana) = (world.an_admin("root"), world.user("ana"));
        world.token(ana, ana, 91, ALL);
        way(&mut world, root, ana);
        assert_ne!(world.token_record(91).ended_ms, 0);
        assert!(world.state.sessions_of(ana, 99).expect("a map").is_empty());
        world.must_be_whole();
    }
}

#[test]
fn a_bot_can_act_while_its_owner_can() {
    let (mut world, [ana, ..], room) = team();
    let root = world.an_admin("root");
    let bot = world.bot(ana, "helper");
    accepted(&world.act(ana, member(room, bot)));
    world.token(ana, bot, 91, SEND);
    let schedule = |world: &World| {
        let due_ms = world.now + HOUR_MS;
        let (conversation_id, text) = (room, "later".to_owned());
        Action::Schedule(rpc::Schedule { conversation_id, text, due_ms, remind_of: 0, reply_to: 0 })
    };
    let later = schedule(&world);
    accepted(&world.act_by(bot, 91, later));
    world.disable(root, ana, true);
    assert_eq!(code(&world.act_by(bot, 91, send(room, "hello"))), "unauthenticated");
    assert_eq!(world.token_record(91).ended_ms, 0);
    world.now += HOUR_MS;
    let before = world.state.conversation(room).expect("a map").expect("there").sequence;
    world.disable(root, ana, false);
    let after = world.state.conversation(room).expect("a map").expect("there").sequence;
    assert_eq!(before, after, "its time came while the owner was shut out");
    accepted(&world.act_by(bot, 91, send(room, "back")));
    accepted(&world.act(root, delete(ana)));
    assert_eq!(code(&world.act_by(bot, 91, send(room, "hello"))), "unauthenticated");
    assert_eq!(code(&world.act(root, delete(bot))), "not_found", "it has ended behind its owner");
    world.must_be_whole();
}

#[test]
fn who_has_blocked_somebody_hears_nothing_of_her_bots() {
    let (mut world, [ana, bob, eve], room) = team();
    let bot = world.bot(ana, "helper");
    world.token(ana, bot, 91, ALL);
    let pair = world.direct(bob, bot);
    accepted(&world.act_by(bot, 91, send(pair, "hello")));
    let block = |user_id, on| Action::Block(rpc::Block { user_id, on });
    accepted(&world.act(bob, block(ana, true)));
    assert_eq!(code(&world.act_by(bot, 91, send(pair, "hello"))), "forbidden");
    assert!(world.state.is_blocked_between(bot, bob).expect("a map"));
    let make = rpc::CreateGroup { title: "ads".into(), member_ids: vec![bob], ..Default::default() };
    assert_eq!(code(&world.act_by(bot, 91, Action::CreateGroup(make))), "forbidden");
    world.direct(eve, bot);
    accepted(&world.act(bob, block(bot, true)));
    accepted(&world.act(bob, block(ana, false)));
    assert_eq!(code(&world.act_by(bot, 91, send(pair, "hello"))), "forbidden", "blocked by itself");
    accepted(&world.act(bob, block(bot, false)));
    accepted(&world.act_by(bot, 91, send(pair, "hello")));
    accepted(&world.send(bob, room, "on"));
    world.must_be_whole();
}

#[test]
fn bots_end_behind_their_owners_account() {
    let (mut world, [ana, bob, _], room) = team();
    let root = world.an_admin("root");
    let bots: Vec<u64> = (0..BOTS_PER_USER_MAX).map(|n| world.bot(ana, &format!("helper{n}"))).collect();
    let other = world.bot(bob, "other");
    for (bot, number) in bots.iter().zip(1_000..) {
        world.token(ana, *bot, number, SEND);
    }
    accepted(&world.act(ana, member(room, bots[0])));
    accepted(&world.act(root, delete(ana)));
    // One in each entry, and one more until the last has left.
    for _ in 0..BOTS_PER_USER_MAX + 2 {
        world.now += 1;
        accepted(&world.send(bob, room, "on"));
    }
    for (bot, number) in bots.iter().zip(1_000..) {
        assert!(world.state.user(*bot).expect("a map").expect("there").is_deleted());
        assert_ne!(world.token_record(number).ended_ms, 0);
    }
    assert!(world.state.bots_of(ana, 99).expect("a map").is_empty());
    assert!(world.bots(room).is_empty());
    assert!(!world.state.member(room, ana).expect("a map").expect("there").is_present());
    assert!(!world.state.user(other).expect("a map").expect("there").is_deleted());
    world.must_be_whole();
}

#[test]
fn a_conversation_knows_its_bots_by_every_way_in_and_out() {
    let (mut world, [ana, bob, _], room) = team();
    let bot = world.bot(ana, "helper");
    accepted(&world.act(ana, member(room, bot)));
    assert_eq!(world.bots(room), [bot]);
    world.token(ana, bot, 91, ALL);
    let remove = |user_id| Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id });
    accepted(&world.act_by(bot, 91, remove(bot)));
    assert!(world.bots(room).is_empty());
    let open = rpc::ChangeConversation { conversation_id: room, public: Some(true), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(open)));
    let join = Action::Join(rpc::Join { conversation_id: room, ..Default::default() });
    accepted(&world.act_by(bot, 91, join.clone()));
    accepted(&world.act(ana, remove(bot)));
    accepted(&world.act_by(bot, 91, join.clone()));
    let ban = rpc::Ban { conversation_id: room, user_id: bot, on: true };
    accepted(&world.act(ana, Action::Ban(ban)));
    assert!(world.bots(room).is_empty());
    assert_eq!(code(&world.act_by(bot, 91, join)), "forbidden");
    let pair = world.direct(bob, bot);
    assert_eq!(world.bots(pair), [bot]);
    let make = rpc::CreateGroup { title: "bots".into(), member_ids: vec![bot, bob], ..Default::default() };
    let group = conversation_of(&world.act(ana, Action::CreateGroup(make)));
    assert_eq!(world.bots(group), [bot]);
    for n in 1..BOTS_PER_CONVERSATION_MAX {
        let more = world.bot(bob, &format!("more{n}"));
        accepted(&world.act(ana, member(group, more)));
    }
    let last = world.bot(bob, "last");
    assert_eq!(code(&world.act(ana, member(group, last))), "too_large");
    world.must_be_whole();
    accepted(&world.act(ana, delete(bot)));
    world.now += 1;
    accepted(&world.send(ana, group, "it leaves behind its account's end"));
    assert_eq!(world.bots(group).len(), BOTS_PER_CONVERSATION_MAX - 1);
    assert_eq!(world.bots(pair), [bot], "nobody leaves a direct conversation");
    accepted(&world.act(ana, member(group, last)));
    world.must_be_whole();
}

#[test]
fn a_bot_follows_an_owner_only_where_nobody_else_is() {
    let mut world = World::new();
    let (ana, bob, eve) = (world.user("ana"), world.user("bob"), world.user("eve"));
    // Of somebody who is not there: hers would go with her.
    let bot = world.bot(eve, "helper");
    let group = world.group(ana, &[bot]);
    world.now += 1;
    accepted(&world.act(ana, member(group, bob)));
    let leave = |user_id| Action::RemoveMember(rpc::RemoveMember { conversation_id: group, user_id });
    let owner = |world: &World| world.state.conversation(group).expect("a map").expect("there").owner;
    accepted(&world.act(ana, leave(ana)));
    assert_eq!(owner(&world), bob, "the bot was there before him");
    accepted(&world.act(bob, leave(bob)));
    assert_eq!(owner(&world), bot);
    world.must_be_whole();
}

#[test]
fn older_machine_versions_know_of_no_bots() {
    let mut world = World::new();
    world.machine_version = VERSION_BOTS - 1;
    let ana = world.user("ana");
    let lease = rpc::LeaseHooks { holder: id(1), lasts_ms: 9 };
    let actions = [
        create("helper"),
        Action::MakeToken(make(ana, 91, SEND)),
        end(ana, 91),
        Action::SetHook(rpc::SetHook::default()),
        Action::LeaseHooks(lease),
        Action::SettleHook(rpc::SettleHook::default()),
    ];
    let before = world.state.clone();
    for action in actions {
        assert_eq!(needed_version(&action), VERSION_BOTS);
        assert_eq!(code(&world.act(ana, action)), "unsupported");
    }
    assert_eq!(world.state, before);
    let raise = Action::SetMachineVersion(rpc::SetMachineVersion { version: VERSION_BOTS });
    accepted(&world.act(0, raise));
    world.bot(ana, "helper");
    world.must_be_whole();
}

/// A state with bots in conversations, tokens and a deleted bot.
fn furnished() -> (World, u64, u64) {
    let (mut world, [ana, bob, _], room) = team();
    let (bot, gone) = (world.bot(ana, "helper"), world.bot(ana, "gone"));
    accepted(&world.act(ana, member(room, bot)));
    world.direct(bob, bot);
    world.token(ana, bot, 91, SEND);
    accepted(&world.act(ana, delete(gone)));
    (world, bot, room)
}

#[test]
fn what_is_said_of_bots_is_counted_again() {
    let (world, bot, room) = furnished();
    let is_whole = |state| verify::tests::report(&state).is_whole();
    assert!(is_whole(world.state.clone()));
    let listed = Key::two(Space::BotOf, 1, bot);
    let mut missing = world.state.clone();
    missing.remove(&listed).expect("listed");
    assert!(!is_whole(missing), "nobody misses it");
    let mut strange = world.state.clone();
    strange.insert(Key::two(Space::BotOf, 2, bot), Bytes::new());
    assert!(!is_whole(strange), "somebody else's");
    let spoil_room = |spoil: fn(&mut Conversation, u64)| {
        let mut state = world.state.clone();
        let mut record = state.conversation(room).expect("a map").expect("there");
        spoil(&mut record, bot);
        state.insert(Key::one(Space::Conversation, room), record.encode_to_vec().into());
        is_whole(state)
    };
    assert!(!spoil_room(|it, _| it.bots.clear()));
    assert!(!spoil_room(|it, bot| it.bots.push(bot)));
    assert!(!spoil_room(|it, _| it.bots.push(1)), "a person");
    let spoil_bot = |spoil: fn(&mut User)| {
        let mut state = world.state.clone();
        let mut record = state.user(bot).expect("a map").expect("there");
        spoil(&mut record);
        state.insert(Key::one(Space::User, bot), record.encode_to_vec().into());
        is_whole(state)
    };
    assert!(!spoil_bot(|it| it.password_phc = "$argon2id$".into()));
    assert!(!spoil_bot(|it| it.owner_id = 0));
    assert!(!spoil_bot(|it| it.owner_id = 99));
    let spoil_token = |spoil: fn(&mut Session)| {
        let mut state = world.state.clone();
        let mut record = world.token_record(91);
        spoil(&mut record);
        state.insert(Key::new(Space::Session, &id(91)), record.encode_to_vec().into());
        is_whole(state)
    };
    assert!(!spoil_token(|it| it.scopes = 0), "a bot that is signed in");
    assert!(!spoil_token(|it| it.scopes = 9));
    assert!(!spoil_token(|it| (it.scopes, it.only_conversation) = (MANAGE, 1)));
}

/// Stored records keep their bytes: what one build has written the next must read.
#[test]
fn stored_records_of_bots_keep_their_bytes() {
    fn golden<R: prost::Message + Default + PartialEq + std::fmt::Debug>(record: &R, hex: &str) {
        let bytes = record.encode_to_vec();
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex, "{record:?}");
        assert_eq!(R::decode(bytes.as_slice()).as_ref(), Ok(record));
    }
    golden(&User { owner_id: 300, ..User::default() }, "c001ac02");
    let token = Session { scopes: 3, ends_ms: 300, only_conversation: 5, ..Session::default() };
    golden(&token, "680370ac027805");
    golden(&Conversation { bots: vec![1, 300], ..Conversation::default() }, "92020301ac02");
    golden(&Counters { hooks: 2, ..Counters::default() }, "a00102");
    let hook = Hook {
        url: "u".into(),
        mentions_only: true,
        generation: 1,
        first: 2,
        next: 3,
        erased: 4,
        given_up: 5,
        last_error: "e".into(),
        last_error_ms: 6,
    };
    golden(&hook, "0a01751001180120022803300438054201654806");
    golden(&HookEvent { conversation_id: 1, version: 2, log_time_ms: 300 }, "0801100218ac02");
    golden(&HookLease { holder: Bytes::from_static(&[7]), ends_ms: 300 }, "0a010710ac02");
    golden(&Due { after: 0, kind: Some(DueKind::EraseHook(1)) }, "2001");
}
