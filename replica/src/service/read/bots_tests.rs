//! What owners read of their bots, what gateways read of webhooks, and what a token reads at all.

use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{
    self, BotsQuery, FileUseQuery, HookItem, HookQuery, HooksQuery, SessionsQuery, TokensQuery, event,
};

use super::people_tests::Replica;
use super::*;
use crate::machine::scopes::{ALL, READ, SEND, scope_of_read};
use crate::machine::tests::{World, accepted, conversation_of};

const HOUR_MS: u64 = 3_600_000;

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn act(world: &mut World, by: u64, action: Action) {
    accepted(&world.act(by, action));
}

fn token(world: &mut World, by: u64, user_id: u64, number: u128, scopes: u32, more: rpc::MakeToken) {
    let (session_id, secret_hash, label) = (id(number), Bytes::from(vec![7; 32]), format!("t{number}"));
    let make = rpc::MakeToken { user_id, session_id, secret_hash, label, scopes, ..more };
    act(world, by, Action::MakeToken(make));
}

/// Two people in a group with a bot of the first, which is told what is said there.
fn scene() -> (World, [u64; 2], u64, u64) {
    let mut world = World::new();
    let [ana, bob] = ["ana", "bob"].map(|name| world.user(name));
    let create = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let room = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    let create = rpc::CreateBot { name: "helper".into(), display_name: "Helper".into() };
    let outcome = world.act(ana, Action::CreateBot(create));
    let Some(rpc::outcome::Result::User(created)) = outcome.result else { panic!("no bot: {outcome:?}") };
    let bot = created.user_id;
    act(&mut world, ana, Action::AddMember(rpc::AddMember { conversation_id: room, user_id: bot }));
    let set = rpc::SetHook { bot_id: bot, url: "https://example.com".into(), ..Default::default() };
    act(&mut world, ana, Action::SetHook(set));
    (world, [ana, bob], bot, room)
}

fn items(replica: &Replica, bot_id: u64, limit: u32) -> Vec<HookItem> {
    match replica.ask(0, Query::Hook(HookQuery { bot_id, limit })) {
        Answer::Hook(found) => found.items,
        other => panic!("no webhook: {other:?}"),
    }
}

fn texts(items: &[HookItem]) -> Vec<Option<String>> {
    let text = |item: &HookItem| match item.event.as_ref().and_then(|event| event.kind.as_ref()) {
        Some(event::Kind::Message(message)) => Some(message.text.clone()),
        Some(event::Kind::Edited(edited)) => Some(edited.text.clone()),
        Some(other) => panic!("nothing said: {other:?}"),
        None => None,
    };
    items.iter().map(text).collect()
}

#[test]
fn an_owner_reads_her_bots_with_tokens_and_webhooks_and_nobody_elses() {
    let (mut world, [ana, bob], bot, room) = scene();
    token(&mut world, ana, bot, 91, ALL, rpc::MakeToken::default());
    let short = rpc::MakeToken { lasts_ms: HOUR_MS, conversation_id: room, ..Default::default() };
    token(&mut world, ana, bot, 92, SEND, short);
    token(&mut world, ana, ana, 93, READ, rpc::MakeToken::default());
    accepted(&world.send(bob, room, "hello"));
    let read = |world: &World, user| {
        let replica = Replica::new(world);
        let Answer::Bots(found) = replica.ask(user, Query::Bots(BotsQuery {})) else { panic!("no bots") };
        let Answer::Tokens(own) = replica.ask(user, Query::Tokens(TokensQuery {})) else {
            panic!("no tokens")
        };
        let Answer::Sessions(sessions) = replica.ask(user, Query::Sessions(SessionsQuery {})) else {
            panic!("no sessions")
        };
        assert_eq!(sessions.sessions.len(), 1, "tokens are not among the sign-ins");
        (found.bots, own.tokens.into_iter().map(|token| token.label).collect::<Vec<_>>())
    };
    let (bots, own) = read(&world, ana);
    assert_eq!(own, ["t93"]);
    let [info] = &bots[..] else { panic!("{bots:?}") };
    assert!(info.user.as_ref().is_some_and(|user| user.id == bot && user.bot));
    let tokens: Vec<_> = info.tokens.iter().map(|token| (token.scopes, token.conversation_id)).collect();
    assert_eq!(tokens, [(ALL, 0), (SEND, room)]);
    assert_eq!((info.hook_url.as_str(), info.waiting, info.given_up), ("https://example.com", 1, 0));
    assert_eq!(info.hook_secret, Bytes::copy_from_slice(&1_u64.to_be_bytes()), "which it is, not what");
    assert_eq!(read(&world, bob), (Vec::new(), Vec::new()));
    world.now += HOUR_MS;
    accepted(&world.send(bob, room, "later"));
    assert_eq!(read(&world, ana).0[0].tokens.len(), 1, "one is over");
}

/// Every question that there is, by tokens of every kind.
#[test]
fn a_token_reads_what_its_scopes_say_and_never_the_account() {
    let (mut world, [ana, _], _, room) = scene();
    token(&mut world, ana, ana, 91, READ, rpc::MakeToken::default());
    token(&mut world, ana, ana, 92, ALL & !READ, rpc::MakeToken::default());
    let only = rpc::MakeToken { conversation_id: room, ..Default::default() };
    token(&mut world, ana, ana, 93, SEND, only);
    let short = rpc::MakeToken { lasts_ms: HOUR_MS, ..Default::default() };
    token(&mut world, ana, ana, 94, READ, short);
    let replica = Replica::new(&world);
    let queries: Vec<Query> = (1..200)
        .filter_map(|number| {
            let mut bytes = Vec::new();
            prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
            bytes.push(0);
            <ReadRequest as prost::Message>::decode(bytes.as_slice()).ok()?.query
        })
        .collect();
    assert!(queries.len() > 30, "{}", queries.len());
    let code = |number: u128, query: &Query| match replica.ask_by(ana, id(number), query.clone()) {
        Answer::Rejected(rejected) => rejected.code,
        _ => "read".to_owned(),
    };
    let mut read = 0;
    for query in &queries {
        // Asked by gateways for themselves: no session is looked at.
        if matches!(query, Query::Credentials(_) | Query::Keys(_) | Query::Hooks(_) | Query::Hook(_)) {
            assert_eq!(scope_of_read(query), None);
            continue;
        }
        let may = scope_of_read(query).is_some();
        assert_eq!(code(91, query) == "forbidden", !may, "{query:?}");
        assert_eq!(code(92, query), "forbidden", "{query:?}");
        assert_eq!(code(93, query), "forbidden", "{query:?}");
        read += usize::from(may);
    }
    assert!(read > 15, "{read}");
    assert_eq!(code(94, &Query::FileUse(FileUseQuery {})), "read");
    world.now += HOUR_MS;
    accepted(&world.send(ana, room, "time passes"));
    let later = Replica::new(&world);
    for (number, expected) in [(94, "unauthenticated"), (91, "")] {
        let answer = later.ask_by(ana, id(number), Query::FileUse(FileUseQuery {}));
        let code = if let Answer::Rejected(rejected) = answer { rejected.code } else { String::new() };
        assert_eq!(code, expected);
    }
}

#[test]
fn a_gateway_reads_what_webhooks_are_to_be_told_as_their_bots_see_it() {
    let (mut world, [ana, bob], bot, room) = scene();
    let replica = Replica::new(&world);
    let hooks = |replica: &Replica| match replica.ask(0, Query::Hooks(HooksQuery::default())) {
        Answer::Hooks(found) => found,
        other => panic!("nothing of webhooks: {other:?}"),
    };
    assert_eq!((hooks(&replica).hooks, hooks(&replica).bots_waiting.len()), (1, 0));
    let lease = rpc::LeaseHooks { holder: id(5), lasts_ms: 15_000 };
    act(&mut world, 0, Action::LeaseHooks(lease));
    accepted(&world.send(bob, room, "one"));
    accepted(&world.send(bob, room, "two"));
    let edit = rpc::Edit { conversation_id: room, sequence: 1, text: "uno".into(), if_revision: None };
    act(&mut world, bob, Action::Edit(edit));
    let replica = Replica::new(&world);
    let found = hooks(&replica);
    assert_eq!(
        (found.holder, found.lease_ends_ms, found.bots_waiting),
        (id(5), world.now + 15_000, vec![bot])
    );
    assert_eq!((found.owners, found.more), (vec![ana], false));
    let told = items(&replica, bot, 0);
    assert_eq!(told.iter().map(|item| item.number).collect::<Vec<_>>(), [1, 2, 3]);
    let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
    assert_eq!(texts(&told), some(&["uno", "two", "uno"]), "joined as it is now");
    assert!(told.iter().all(|item| item.since_ms == world.now));
    assert_eq!(items(&replica, bot, 2).len(), 2);
    assert!(items(&replica, 99, 9).is_empty());

    // What was said before it left is its own to know; of what it sees no more it is told nothing.
    let remove = rpc::RemoveMember { conversation_id: room, user_id: bot };
    act(&mut world, ana, Action::RemoveMember(remove));
    let edit = rpc::Edit { conversation_id: room, sequence: 2, text: "dos".into(), if_revision: None };
    act(&mut world, bob, Action::Edit(edit));
    assert_eq!(texts(&items(&Replica::new(&world), bot, 9))[1], Some("two".to_owned()));
    act(&mut world, ana, Action::AddMember(rpc::AddMember { conversation_id: room, user_id: bot }));
    assert_eq!(texts(&items(&Replica::new(&world), bot, 9)), [None, None, None], "of a former membership");
}

#[test]
fn of_very_many_that_wait_each_is_shown_by_some_look() {
    let (mut world, [_, bob], bot, room) = scene();
    accepted(&world.send(bob, room, "one"));
    let others = 1_000..1_599_u64;
    for other in others.clone() {
        world.state.insert(crate::store::Key::one(Space::HookWaiting, other), Bytes::new());
    }
    let replica = Replica::new(&world);
    let look = |after_bot_id| match replica.ask(0, Query::Hooks(HooksQuery { after_bot_id })) {
        Answer::Hooks(found) => found,
        other => panic!("nothing of webhooks: {other:?}"),
    };
    let all: Vec<u64> = std::iter::once(bot).chain(others).collect();
    let mut after = 0;
    // Round and round: each look goes on where the one before ended.
    let shown: Vec<u64> = (0..12)
        .flat_map(|_| {
            let found = look(after);
            assert!(found.more && found.bots_waiting.len() == 250 && found.owners.len() == 250);
            after = found.bots_waiting[249];
            found.bots_waiting
        })
        .collect();
    assert_eq!(shown, all.iter().copied().cycle().take(3_000).collect::<Vec<_>>());
    assert_eq!(look(1_598).bots_waiting[..2], [bot, 1_000], "behind the last comes the first");
    assert_eq!(look(u64::MAX).bots_waiting[0], bot);
}

#[test]
fn a_page_for_a_webhook_has_its_bound() {
    let (mut world, [ana, bob], bot, room) = scene();
    let long = "x".repeat(12_000);
    for _ in 0..40 {
        accepted(&world.send(bob, room, &long));
    }
    let page = items(&Replica::new(&world), bot, 100);
    let bytes: usize = page.iter().map(prost::Message::encoded_len).sum();
    assert!(page.len() > 10 && page.len() < 40 && bytes <= PAGE_BYTES_MAX, "{} of {bytes}", page.len());
    // Its owner is shut out: what waits is told to nobody.
    let mut shut = Tables::user(&world.state, ana).expect("a map").expect("there");
    shut.disabled_ms = 1;
    let key = crate::store::Key::one(Space::User, ana);
    world.state.insert(key, prost::Message::encode_to_vec(&shut).into());
    let page = items(&Replica::new(&world), bot, 100);
    assert!(page.len() == 40 && page.iter().all(|item| item.event.is_none()));
}

#[test]
fn a_bot_has_no_password_to_compare() {
    let (world, ..) = scene();
    let replica = Replica::new(&world);
    let query = rpc::CredentialsQuery { name: "helper".into() };
    assert_eq!(replica.ask(0, Query::Credentials(query)), Answer::Credentials(CredentialsResult::default()));
}
