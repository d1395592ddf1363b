//! Who may read what of groups, over a store that holds what the machine wrote.

use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::read_response::Result as Answer;
use quorate_proto::rpc::{LogId, ReadRequest};

use super::super::answer;
use super::*;
use crate::machine::records::{ROLE_GROUP_ADMIN, ROLE_MEMBER, ROLE_OWNER};
use crate::machine::tests::{World, accepted, conversation_of, session_of};
use crate::metrics::Metrics;
use crate::signals::Signals;
use crate::store::{Applied, Before, Store, Writes};
use quorate_proto::rpc::command::Action;
use std::sync::Arc;

struct Scene {
    store: Arc<Store>,
    signals: Signals,
    _dir: tempfile::TempDir,
}

/// A replica with this state.
fn scene(world: World) -> Scene {
    let dir = tempfile::tempdir().expect("a folder");
    let boot = dir.path().join("boot_id");
    std::fs::write(&boot, "boot").expect("a file");
    let store = Arc::new(Store::open(dir.path(), &boot).expect("opens"));
    let writes: Writes = world.state.into_iter().map(|(key, value)| (key, Some(value))).collect();
    let log_id = Some(LogId { term: 1, node_id: 1, index: world.index });
    let mut state = store.apply();
    let sum = state.sum_after(&writes, &Before::new()).expect("reads");
    state.commit(writes, sum, Applied { log_id, log_time_ms: world.now, ..Applied::default() });
    drop(state);
    let signals = Signals::new(Arc::clone(&store), Metrics::default());
    Scene { store, signals, _dir: dir }
}

impl Scene {
    fn ask(&self, user_id: u64, query: Query) -> Answer {
        let session_id = session_of(user_id);
        let request = ReadRequest { user_id, session_id, query: Some(query), ..ReadRequest::default() };
        answer(&self.store, &self.signals, super::super::Allowed::default(), request)
            .expect("reads")
            .result
            .expect("an answer")
    }

    fn refused(&self, user_id: u64, query: Query) -> String {
        match self.ask(user_id, query) {
            Answer::Rejected(rejected) => rejected.code,
            other => panic!("answered: {other:?}"),
        }
    }
}

fn code(of: &str) -> Bytes {
    Bytes::copy_from_slice(&blake3::hash(of.as_bytes()).as_bytes()[..16])
}

fn group(world: &mut World, by: u64, title: &str, member_ids: Vec<u64>, public: bool) -> u64 {
    let create = rpc::CreateGroup { title: title.into(), member_ids, public, ..Default::default() };
    conversation_of(&world.act(by, Action::CreateGroup(create)))
}

fn ids(members: &[rpc::MemberInfo]) -> Vec<(u64, u32)> {
    members.iter().map(|member| (member.user.as_ref().map_or(0, |user| user.id), member.role)).collect()
}

#[tokio::test]
async fn members_come_in_pages_and_those_who_left_do_not() {
    let mut world = World::new();
    let owner = world.user("owner");
    let others: Vec<u64> = (0..20).map(|n| world.user(&format!("u{n}"))).collect();
    let room = group(&mut world, owner, "team", others.clone(), false);
    let role = rpc::SetMemberRole { conversation_id: room, user_id: others[3], role: ROLE_GROUP_ADMIN };
    accepted(&world.act(owner, Action::SetMemberRole(role)));
    for gone in &others[5..15] {
        let remove = rpc::RemoveMember { conversation_id: room, user_id: *gone };
        accepted(&world.act(owner, Action::RemoveMember(remove)));
    }
    let ban = rpc::Ban { conversation_id: room, user_id: others[4], on: true };
    accepted(&world.act(owner, Action::Ban(ban)));
    let joined_ms = world.now;
    let scene = scene(world);
    let page = |after_user_id, limit| {
        let query = rpc::MembersQuery { conversation_id: room, after_user_id, limit };
        match scene.ask(others[0], Query::Members(query)) {
            Answer::Members(found) => found,
            other => panic!("{other:?}"),
        }
    };
    let first = page(0, 4);
    let plain = |n: usize| (others[n], ROLE_MEMBER);
    assert_eq!(ids(&first.members), [(owner, ROLE_OWNER), plain(0), plain(1), plain(2)]);
    assert!(first.more && first.next >= others[2] && first.members[0].since_ms == joined_ms);
    assert_eq!(ids(&page(first.next, 1).members), [(others[3], ROLE_GROUP_ADMIN)]);
    let second = page(others[2], 4);
    assert_eq!(ids(&second.members), [(others[3], ROLE_GROUP_ADMIN), plain(15), plain(16), plain(17)]);
    let last = page(others[17], 4);
    assert_eq!((ids(&last.members), last.more), (vec![plain(18), plain(19)], false));
    assert_eq!(page(0, 0).members.len(), 10);
    let query = rpc::MembersQuery { conversation_id: room, ..Default::default() };
    assert_eq!(scene.refused(others[4], Query::Members(query)), "not_found", "who was banned asks in vain");
    let bans = rpc::BansQuery { conversation_id: room };
    assert_eq!(scene.refused(others[0], Query::Bans(bans)), "forbidden");
    for manager in [owner, others[3]] {
        let Answer::Bans(found) = scene.ask(manager, Query::Bans(bans)) else { panic!("no bans") };
        assert_eq!(ids(&found.members), [(others[4], 0)]);
    }
}

/// A page that had looked at as many memberships as it may said that there was nobody more.
#[tokio::test]
async fn a_page_of_a_group_that_very_many_have_left_says_where_to_go_on() {
    let mut world = World::new();
    let owner = world.user("owner");
    let room = group(&mut world, owner, "team", vec![], false);
    let mut put = |user_id, record: &Member| {
        let key = crate::store::Key::two(crate::store::Space::Member, room, user_id);
        world.state.insert(key, prost::Message::encode_to_vec(record).into());
    };
    let last = MEMBERSHIPS_SCANNED_MAX as u64 + 1_000;
    let gone = Member { role: ROLE_MEMBER, left_version: 1, ..Member::default() };
    (owner + 1..last).for_each(|user_id| put(user_id, &gone));
    put(last, &Member { role: ROLE_MEMBER, ..Member::default() });
    let scene = scene(world);
    let page = |after_user_id| {
        let query = rpc::MembersQuery { conversation_id: room, after_user_id, limit: 50 };
        match scene.ask(owner, Query::Members(query)) {
            Answer::Members(found) => found,
            other => panic!("{other:?}"),
        }
    };
    let first = page(0);
    assert_eq!((ids(&first.members), first.more), (vec![(owner, ROLE_OWNER)], true));
    assert!(first.next > owner && first.next < last);
    let second = page(first.next);
    assert_eq!((ids(&second.members), second.more, second.next), (vec![(last, ROLE_MEMBER)], false, 0));
}

#[tokio::test]
async fn public_groups_are_found_by_title_and_others_are_not() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let rooms: Vec<u64> = ["Rust Berlin", "Garden", "rust in Wien", "TRUST"]
        .iter()
        .map(|title| group(&mut world, ana, title, vec![], true))
        .collect();
    let hidden = group(&mut world, ana, "Rust, among us", vec![bob], false);
    accepted(&world.act(bob, Action::Join(rpc::Join { conversation_id: rooms[0], code_hash: Bytes::new() })));
    accepted(&world.send(ana, rooms[0], "hello"));
    let scene = scene(world);
    let page = |text: &str, after_id, limit| {
        let query = rpc::ChannelsQuery { text: text.into(), after_id, limit };
        match scene.ask(bob, Query::Channels(query)) {
            Answer::Channels(found) => found,
            other => panic!("{other:?}"),
        }
    };
    let ids = |found: &rpc::ChannelsResult| -> Vec<u64> {
        found.channels.iter().map(|channel| channel.conversation_id).collect()
    };
    let found = page("RUST", 0, 2);
    assert_eq!((ids(&found), found.more), (vec![rooms[0], rooms[2]], true));
    let first = &found.channels[0];
    assert_eq!((first.joined, first.member_count, first.sequence), (true, 2, 1));
    assert!(!found.channels[1].joined);
    let rest = page("rust", rooms[2], 2);
    assert_eq!((ids(&rest), rest.more), (vec![rooms[3]], false));
    assert_eq!(ids(&page("", 0, 0)), rooms, "all that are public");
    assert!(ids(&page("among", 0, 0)).is_empty(), "{hidden} is not");
}

#[tokio::test]
async fn an_invite_shows_where_it_leads_and_nobody_by_name() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let room = group(&mut world, ana, "Team", vec![bob], false);
    let make = |of: &str, ttl_ms| {
        Action::MakeInvite(rpc::MakeInvite {
            conversation_id: room,
            code_hash: code(of),
            ttl_ms,
            uses_max: 3,
        })
    };
    accepted(&world.act(ana, make("good", 0)));
    accepted(&world.act(ana, make("short", 1_000)));
    accepted(&world.send(ana, room, "hello"));
    world.now += 1_000;
    let ban = rpc::Ban { conversation_id: room, user_id: bob, on: true };
    accepted(&world.act(ana, Action::Ban(ban)));
    let scene = scene(world);
    let preview = |of: &str| Query::Invite(rpc::InviteQuery { code_hash: code(of) });
    let Answer::Invite(found) = scene.ask(eve, preview("good")) else { panic!("no invite") };
    let expected = rpc::ChannelInfo {
        conversation_id: room,
        title: "Team".into(),
        member_count: 1,
        created_ms: found.created_ms,
        kind: 2,
        ..Default::default()
    };
    assert_eq!(found, expected);
    for bad in ["short", "never"] {
        assert_eq!(scene.refused(eve, preview(bad)), "not_found");
    }
    assert_eq!(scene.refused(eve, Query::Invite(rpc::InviteQuery::default())), "not_found");
    assert_eq!(scene.refused(bob, preview("good")), "forbidden");
    let list = Query::Invites(rpc::InvitesQuery { conversation_id: room });
    let Answer::Invites(invites) = scene.ask(ana, list.clone()) else { panic!("no invites") };
    assert_eq!(invites.invites.len(), 1, "what is over is not listed");
    assert_eq!((invites.invites[0].uses, invites.invites[0].uses_max), (0, 3));
    assert_eq!(scene.refused(eve, list), "not_found");
}

#[tokio::test]
async fn who_keeps_receipts_to_herself_is_not_told_of() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let room = world.direct(ana, bob);
    accepted(&world.send(ana, room, "hello"));
    let mark = rpc::MarkRead { conversation_id: room, sequence: 1 };
    accepted(&world.act(bob, Action::MarkRead(mark)));
    let marks = |world: World| {
        let scene = scene(world);
        let query = rpc::ConversationQuery { conversation_id: room, marks: true };
        let Answer::Conversation(found) = scene.ask(ana, Query::Conversation(query)) else {
            panic!("no conversation")
        };
        let read = |user: u64| {
            let mark = found.marks.iter().find(|mark| mark.user_id == user).expect("a member");
            mark.receipt.map_or(0, |receipt| receipt.read)
        };
        (read(ana), read(bob), scene.signals.tells_read(room, ana), scene.signals.tells_read(room, bob))
    };
    assert_eq!(marks(world.clone()), (1, 1, true, true));
    let quiet = rpc::Prefer { conversation_id: room, no_receipts: Some(true), ..Default::default() };
    accepted(&world.act(bob, Action::Prefer(quiet)));
    assert_eq!(marks(world), (1, 0, true, false));
}

/// She has left and come back to a public group: what she is sent by itself begins with her coming back, the rest is to be read.
#[tokio::test]
async fn a_resume_into_a_public_group_begins_where_she_joined() {
    let mut world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let room = group(&mut world, ana, "open", vec![], true);
    for n in 0..50 {
        accepted(&world.send(ana, room, &format!("m{n}")));
    }
    let before = world.index;
    for n in 50..60 {
        accepted(&world.send(ana, room, &format!("m{n}")));
    }
    accepted(&world.act(bob, Action::Join(rpc::Join { conversation_id: room, code_hash: Bytes::new() })));
    accepted(&world.send(ana, room, "welcome"));
    let scene = scene(world);
    let open = rpc::OpenQuery { after_index: Some(before), events_max: 100 };
    let Answer::Open(opened) = scene.ask(bob, Query::Open(open)) else { panic!("not open") };
    assert!(opened.resumed);
    let versions: Vec<u64> = opened
        .events
        .iter()
        .filter(|event| event.topic.is_some_and(|topic| topic.id == room && topic.kind == 1))
        .map(|event| event.version)
        .collect();
    assert_eq!(versions, [62, 63], "her coming, and what came after");
    let summary = &opened.conversations[0];
    assert_eq!((summary.unread, summary.sequence, summary.role), (1, 61, ROLE_MEMBER));
    let history = rpc::HistoryQuery { conversation_id: room, limit: 100, ..Default::default() };
    let Answer::History(history) = scene.ask(bob, Query::History(history)) else { panic!("no history") };
    assert_eq!(history.messages.len(), 61, "all of it is hers to read");
}
