//! What admins export and who fetches avatars, over a state as the machine makes it.

use quorate_proto::rpc;
use quorate_proto::rpc::command::Action;

use super::people_tests::Replica;
use super::*;
use crate::machine::records::{Conversation, File, User};
use crate::machine::tests::{World, accepted, conversation_of};
use crate::store::Key;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

/// Root, who is an admin, ana and bob, a group of the two, and their direct conversation.
fn scene() -> (World, [u64; 3], [u64; 2]) {
    let mut world = World::new();
    let [root, ana, bob] = ["root", "ana", "bob"].map(|name| world.user(name));
    let offer = rpc::OfferAdmin { secret_hash: hash("s"), only_first: true };
    accepted(&world.act(0, Action::OfferAdmin(offer)));
    accepted(&world.act(root, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash("s") })));
    let create = rpc::CreateGroup { title: "Team".into(), member_ids: vec![bob], ..Default::default() };
    let group = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    let pair = world.direct(bob, ana);
    (world, [root, ana, bob], [group, pair])
}

fn take_back(world: &mut World, by: u64, conversation_id: u64, first: u64, last: u64) {
    let delete = rpc::DeleteMessages { conversation_id, first, last };
    accepted(&world.act(by, Action::DeleteMessages(delete)));
}

fn asked(conversation_id: u64, after: Option<u64>, limit: u32) -> Query {
    let from = after.map(history_query::From::After);
    Query::History(HistoryQuery { conversation_id, limit, from, as_admin: true })
}

fn page(replica: &Replica, user: u64, query: Query) -> HistoryResult {
    match replica.ask(user, query) {
        Answer::History(found) => found,
        other => panic!("no history: {other:?}"),
    }
}

fn text(event: &Event) -> &str {
    match &event.kind {
        Some(rpc::event::Kind::Message(message)) => &message.text,
        other => panic!("no message: {other:?}"),
    }
}

fn texts(found: &HistoryResult) -> Vec<&str> {
    found.messages.iter().map(text).collect()
}

#[test]
fn an_admin_exports_a_group_that_she_is_not_in_from_its_first_message() {
    let (mut world, [root, ana, bob], [group, _]) = scene();
    for number in 1..=7 {
        accepted(&world.send(ana, group, &format!("number {number}")));
    }
    take_back(&mut world, ana, group, 2, 3);
    let hide = rpc::HideMessages { conversation_id: group, first: 4, last: 4 };
    accepted(&world.act(bob, Action::HideMessages(hide)));
    // Joined after all of it, and gone again: an admin's export does not depend on it.
    let add = rpc::AddMember { conversation_id: group, user_id: root };
    accepted(&world.act(ana, Action::AddMember(add)));
    let remove = rpc::RemoveMember { conversation_id: group, user_id: root };
    accepted(&world.act(root, Action::RemoveMember(remove)));
    let replica = Replica::new(&world);
    let first = page(&replica, root, asked(group, None, 2));
    assert_eq!(texts(&first), ["number 1", "number 4"], "what was taken back is not there");
    assert!(first.more_after && !first.more_before);
    assert_eq!(first.next, 4);
    let head = first.conversation.expect("what it is of");
    assert_eq!((head.conversation_id, head.title.as_str(), head.kind), (group, "Team", 2));
    assert_eq!((head.member_count, head.joined, head.pair.len(), head.sequence), (2, false, 0, 7));
    let second = page(&replica, root, asked(group, Some(first.next), 0));
    assert_eq!(texts(&second), ["number 5", "number 6", "number 7"]);
    assert!(!second.more_after && second.more_before && second.next == 0);
    assert!(texts(&page(&replica, root, asked(group, Some(7), 0))).is_empty());
    assert!(texts(&page(&replica, root, asked(group, Some(u64::MAX), 0))).is_empty());
}

#[test]
fn nobody_else_exports_and_only_forward() {
    let (mut world, [root, ana, bob], [group, _]) = scene();
    accepted(&world.send(ana, group, "hello"));
    let make = rpc::MakeToken {
        user_id: root,
        session_id: Bytes::from_static(&[200; 16]),
        secret_hash: hash("t"),
        label: "ci".into(),
        scopes: scopes::ALL,
        ..Default::default()
    };
    accepted(&world.act(root, Action::MakeToken(make)));
    let replica = Replica::new(&world);
    for user in [ana, bob] {
        assert_eq!(replica.refused(user, asked(group, None, 0)), "forbidden", "a member of it as well");
    }
    let Answer::Rejected(by_token) =
        replica.ask_by(root, Bytes::from_static(&[200; 16]), asked(group, None, 0))
    else {
        panic!("read by a token")
    };
    assert_eq!(by_token.code, "forbidden");
    assert_eq!(replica.refused(root, asked(99, None, 0)), "not_found");
    for from in [history_query::From::Before(1), history_query::From::Around(1)] {
        let query = HistoryQuery { conversation_id: group, limit: 0, from: Some(from), as_admin: true };
        assert_eq!(replica.refused(root, Query::History(query)), "invalid");
    }
    // Without as_admin she reads what any user could: nothing.
    let as_user = HistoryQuery { conversation_id: group, ..HistoryQuery::default() };
    assert_eq!(replica.refused(root, Query::History(as_user)), "not_found");
    // The right is looked for when she reads.
    let admin = rpc::SetUserState { user_id: ana, disabled: None, admin: Some(true) };
    accepted(&world.act(root, Action::SetUserState(admin)));
    let no_admin = rpc::SetUserState { user_id: root, disabled: None, admin: Some(false) };
    accepted(&world.act(ana, Action::SetUserState(no_admin)));
    let replica = Replica::new(&world);
    assert_eq!(replica.refused(root, asked(group, None, 0)), "forbidden");
    assert_eq!(texts(&page(&replica, ana, asked(group, None, 0))), ["hello"]);
    world.machine_version = machine::VERSION_AVATARS - 1;
    let unrecorded = Replica::new(&world).refused(ana, asked(group, None, 0));
    assert_eq!(unrecorded, "unsupported", "nobody could be told of it");
}

#[test]
fn direct_conversations_are_exported_only_where_the_operators_allow_it() {
    let (mut world, [root, ana, bob], [group, pair]) = scene();
    accepted(&world.send(ana, pair, "between us"));
    let list = |direct, text: &str| {
        let text = text.into();
        Query::AdminConversations(rpc::AdminConversationsQuery { direct, text, ..Default::default() })
    };
    let listed = |replica: &Replica, query| match replica.ask(root, query) {
        Answer::AdminConversations(found) => found.channels,
        other => panic!("no list: {other:?}"),
    };
    let replica = Replica::new(&world);
    for query in [asked(pair, None, 0), list(true, "")] {
        let Answer::Rejected(refused) = replica.ask(root, query) else { panic!("it was told") };
        assert_eq!(refused.code, "forbidden");
        assert!(refused.message.contains("export_direct = true"), "{}", refused.message);
    }
    assert_eq!(listed(&replica, list(false, "")).len(), 1);
    let replica = replica.exporting_direct();
    assert_eq!(replica.refused(ana, list(true, "")), "forbidden");
    assert_eq!(replica.refused(ana, asked(pair, None, 0)), "forbidden", "not even one's own, as an admin");
    let found = listed(&replica, list(true, ""));
    assert_eq!(
        found.iter().map(|it| (it.conversation_id, it.kind)).collect::<Vec<_>>(),
        [(group, 2), (pair, 1)]
    );
    let names: Vec<u64> = found[1].pair.iter().map(|user| user.id).collect();
    assert_eq!(names, [ana, bob]);
    assert!(found[0].pair.is_empty());
    assert_eq!(listed(&replica, list(true, "team")).len(), 1, "direct ones have no title");
    assert_eq!(listed(&replica, list(false, "")).len(), 1);
    let told = page(&replica, root, asked(pair, None, 0));
    assert_eq!(texts(&told), ["between us"]);
    let head = told.conversation.expect("what it is of");
    assert_eq!((head.kind, head.pair.len(), head.title.as_str()), (1, 2, ""));
}

#[test]
fn what_grew_too_old_is_not_exported_though_it_was_not_erased_yet() {
    let (mut world, [root, ana, _], [group, _]) = scene();
    let rule = rpc::ChangeConversation {
        conversation_id: group,
        retention_ms: Some(2 * DAY_MS),
        ..Default::default()
    };
    accepted(&world.act(ana, Action::ChangeConversation(rule)));
    accepted(&world.send(ana, group, "old"));
    world.now += DAY_MS;
    accepted(&world.send(ana, group, "younger"));
    world.now += DAY_MS;
    let export = |world: &World| {
        let found = page(&Replica::new(world), root, asked(group, None, 0));
        texts(&found).join(",")
    };
    let stored = world.state.message(group, 1).expect("a map").expect("there");
    assert_eq!((stored.deleted_ms, stored.text.as_str()), (0, "old"), "no entry has come since");
    assert_eq!(export(&world), "younger");
    // Two turns of the rule: what it has passed is not looked at again.
    world.now += 2 * DAY_MS;
    for _ in 0..3 {
        accepted(&world.act(ana, Action::RecordSeen(rpc::RecordSeen { user_ids: vec![ana] })));
    }
    assert!(world.state.conversation(group).expect("a map").expect("there").retained_sequence >= 2);
    assert_eq!(export(&world), "");
}

/// A page that finds nothing for long says where to go on, and goes on to the end.
#[test]
fn a_long_stretch_of_what_was_taken_back_is_passed_over_page_by_page() {
    let (mut world, [root, ana, _], [group, _]) = scene();
    accepted(&world.send(ana, group, "first"));
    let mut message = world.state.message(group, 1).expect("a map").expect("there");
    message.deleted_ms = 1;
    message.text.clear();
    let gone = prost::Message::encode_to_vec(&message);
    let last = 5_000;
    for sequence in 2..last {
        world.state.insert(Key::two(Space::Messages, group, sequence), gone.clone().into());
    }
    message.deleted_ms = 0;
    message.text = "last".into();
    let there = prost::Message::encode_to_vec(&message);
    world.state.insert(Key::two(Space::Messages, group, last), there.into());
    let record = world.state.conversation(group).expect("a map").expect("there");
    let record = Conversation { sequence: last, ..record };
    let record = prost::Message::encode_to_vec(&record);
    world.state.insert(Key::one(Space::Conversation, group), record.into());
    let replica = Replica::new(&world);
    let (mut after, mut found, mut pages) = (0, Vec::new(), 0);
    loop {
        let told = page(&replica, root, asked(group, Some(after), 100));
        found.extend(told.messages.iter().map(|event| text(event).to_owned()));
        pages += 1;
        if !told.more_after {
            break;
        }
        assert!(told.next > after, "each page goes on");
        after = told.next;
    }
    assert_eq!((found, pages), (vec!["first".to_owned(), "last".to_owned()], 3));
}

#[test]
fn a_page_of_an_export_has_its_bound_in_bytes() {
    let (mut world, [root, ana, _], [group, _]) = scene();
    let long = "x".repeat(12 * 1024);
    for _ in 0..60 {
        accepted(&world.send(ana, group, &long));
    }
    let replica = Replica::new(&world);
    let (mut after, mut count, mut pages) = (0, 0, 0);
    loop {
        let told = page(&replica, root, asked(group, Some(after), 100));
        let bytes: usize = told.messages.iter().map(prost::Message::encoded_len).sum();
        assert!(bytes <= PAGE_BYTES_MAX && !told.messages.is_empty(), "{bytes}");
        (count, pages) = (count + told.messages.len(), pages + 1);
        if !told.more_after {
            break;
        }
        after = told.next;
    }
    assert_eq!((count, pages), (60, 3));
}

#[test]
fn an_avatar_is_told_and_given_to_whom_it_is_shown() {
    let (mut world, [root, ana, bob], [group, _]) = scene();
    let id = |number: u8| Bytes::from(vec![number; 16]);
    let mut put = |key: Key, record: Vec<u8>| world.state.insert(key, record.into());
    for number in [1_u8, 2] {
        let file = File {
            owner: ana,
            media_type: "image/png".into(),
            thumbnail: hash("thumbnail"),
            thumbnail_size: 9,
            references: 1,
            ..File::default()
        };
        put(Key::new(Space::File, &id(number)), prost::Message::encode_to_vec(&file));
    }
    let set = rpc::SetProfile { avatar: Some(id(1)), ..Default::default() };
    accepted(&world.act(ana, Action::SetProfile(set)));
    let change =
        rpc::ChangeConversation { conversation_id: group, avatar: Some(id(2)), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(change)));
    let replica = Replica::new(&world);
    let file = |number, avatar_of_user, avatar_of_conversation| FileQuery {
        file_id: id(number),
        avatar_of_user,
        avatar_of_conversation,
        ..FileQuery::default()
    };
    let given = |replica: &Replica, user, query| match replica.ask(user, Query::File(query)) {
        Answer::File(found) => (found.thumbnail_size, found.own),
        other => panic!("no file: {other:?}"),
    };
    for user in [root, bob] {
        assert_eq!(given(&replica, user, file(1, ana, 0)), (9, false));
        assert_eq!(replica.refused(user, Query::File(file(1, 0, 0))), "not_found", "not without saying how");
        assert_eq!(replica.refused(user, Query::File(file(2, ana, 0))), "not_found");
    }
    assert_eq!(given(&replica, ana, file(1, 0, 0)), (9, true));
    assert_eq!(given(&replica, bob, file(2, 0, group)), (9, false));
    assert_eq!(
        replica.refused(root, Query::File(file(2, 0, group))),
        "not_found",
        "no member, though an admin"
    );
    assert_eq!(replica.refused(bob, Query::File(file(2, ana, group))), "invalid");
    let in_message = FileQuery { conversation_id: group, sequence: 1, ..file(2, 0, group) };
    assert_eq!(replica.refused(bob, Query::File(in_message)), "invalid");

    let summary = rpc::ConversationQuery { conversation_id: group, marks: false };
    let Answer::Conversation(summary) = replica.ask(bob, Query::Conversation(summary)) else {
        panic!("no summary")
    };
    assert_eq!(summary.avatar, id(2));
    let told: Vec<_> = summary.members.iter().map(|user| (user.id, user.avatar.clone())).collect();
    assert_eq!(told, [(ana, id(1)), (bob, Bytes::new())]);
    let of_admin = |replica: &Replica| match replica
        .ask(root, Query::AdminConversations(rpc::AdminConversationsQuery::default()))
    {
        Answer::AdminConversations(found) => found.channels[0].avatar.clone(),
        other => panic!("no list: {other:?}"),
    };
    assert!(of_admin(&replica).is_empty(), "what would not be given is not told");
    let public = rpc::ChangeConversation { conversation_id: group, public: Some(true), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(public)));
    let replica = Replica::new(&world);
    assert_eq!(of_admin(&replica), id(2));
    assert_eq!(given(&replica, root, file(2, 0, group)), (9, false));
    let Answer::Channels(found) = replica.ask(root, Query::Channels(rpc::ChannelsQuery::default())) else {
        panic!("no channels")
    };
    assert_eq!(found.channels[0].avatar, id(2));
    // Of who has gone nobody sees what she looked like.
    let record: User = world.state.user(ana).expect("a map").expect("there");
    let password_mark =
        Bytes::copy_from_slice(&blake3::hash(record.password_phc.as_bytes()).as_bytes()[..16]);
    accepted(&world.act(ana, Action::DeleteUser(rpc::DeleteUser { user_id: ana, password_mark })));
    let replica = Replica::new(&world);
    assert_eq!(replica.refused(bob, Query::File(file(1, ana, 0))), "not_found");
}
