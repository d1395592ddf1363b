//! What users and admins read of people, over a state as the machine makes it.

use std::sync::Arc;

use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{
    AdminConversationsQuery, AdminSessionsQuery, AdminUsersQuery, AuditQuery, BlockedQuery, CredentialsQuery,
    DirectoryQuery, LogId, ReportsQuery, SessionsQuery, UserQuery,
};

use super::*;
use crate::machine::tests::{World, accepted, conversation_of, session_of};
use crate::metrics::Metrics;
use crate::store::{Applied, Before, Writes};

/// A replica with a state.
pub(super) struct Replica {
    store: Arc<Store>,
    signals: Signals,
    allowed: Allowed,
    _dir: tempfile::TempDir,
}

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

impl Replica {
    pub(super) fn new(world: &World) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let boot = dir.path().join("boot_id");
        std::fs::write(&boot, "boot").expect("a file");
        let store = Store::open(dir.path(), &boot).expect("opens");
        let writes: Writes = world.state.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
        let log_id = Some(LogId { term: 1, node_id: 1, index: world.index });
        let mut state = store.apply();
        let sum = state.sum_after(&writes, &Before::new()).expect("reads");
        let (log_time_ms, machine_version) = (world.now, world.machine_version);
        state.commit(writes, sum, Applied { log_id, log_time_ms, machine_version, ..Applied::default() });
        drop(state);
        let store = Arc::new(store);
        let signals = Signals::new(store.clone(), Metrics::default());
        Self { signals, store, allowed: Allowed::default(), _dir: dir }
    }

    /// The same, where admins may export direct conversations.
    pub(super) fn exporting_direct(self) -> Self {
        Self { allowed: Allowed { export_direct: true }, ..self }
    }

    pub(super) fn ask(&self, user_id: u64, query: Query) -> Answer {
        let session_id = if user_id == 0 { Bytes::new() } else { session_of(user_id) };
        self.ask_by(user_id, session_id, query)
    }

    pub(super) fn ask_by(&self, user_id: u64, session_id: Bytes, query: Query) -> Answer {
        let request = ReadRequest { user_id, session_id, query: Some(query), ..ReadRequest::default() };
        answer(&self.store, &self.signals, self.allowed, request).expect("reads").result.expect("an answer")
    }

    pub(super) fn refused(&self, user_id: u64, query: Query) -> String {
        match self.ask(user_id, query) {
            Answer::Rejected(rejected) => rejected.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn user(&self, by: u64, user_id: u64, name: &str) -> quorate_proto::rpc::UserResult {
        match self.ask(by, Query::User(UserQuery { user_id, name: name.into() })) {
            Answer::User(found) => found,
            other => panic!("no user: {other:?}"),
        }
    }

    fn admin_users(&self, by: u64, pattern: &str, after: &str, limit: u32) -> (Vec<String>, String) {
        let query = AdminUsersQuery { pattern: pattern.into(), after: after.into(), limit };
        match self.ask(by, Query::AdminUsers(query)) {
            Answer::AdminUsers(found) => {
                assert_eq!(found.more, !found.next.is_empty());
                (found.users.into_iter().filter_map(|user| Some(user.user?.name)).collect(), found.next)
            }
            other => panic!("no users: {other:?}"),
        }
    }

    fn reports(&self, by: u64, all: bool, before_id: u64, limit: u32) -> (Vec<u64>, bool) {
        match self.ask(by, Query::Reports(ReportsQuery { all, before_id, limit })) {
            Answer::Reports(found) => (found.reports.iter().map(|report| report.id).collect(), found.more),
            other => panic!("no reports: {other:?}"),
        }
    }
}

/// An admin and three users; the second is disabled, the third has deleted her account.
fn people() -> (World, [u64; 4]) {
    let mut world = World::new();
    let [root, ana, alba, alma] = ["root", "ana", "alba", "alma"].map(|name| world.user(name));
    let offer = quorate_proto::rpc::OfferAdmin { secret_hash: hash("s"), only_first: true };
    accepted(&world.act(0, Action::OfferAdmin(offer)));
    let claim = quorate_proto::rpc::ClaimAdmin { secret_hash: hash("s") };
    accepted(&world.act(root, Action::ClaimAdmin(claim)));
    let disable = quorate_proto::rpc::SetUserState { user_id: alba, disabled: Some(true), admin: None };
    accepted(&world.act(root, Action::SetUserState(disable)));
    let delete = quorate_proto::rpc::DeleteUser { user_id: alma, ..Default::default() };
    accepted(&world.act(root, Action::DeleteUser(delete)));
    (world, [root, ana, alba, alma])
}

#[tokio::test]
async fn who_was_shut_out_or_has_left_is_not_found_and_cannot_sign_in() {
    let (world, [root, ana, alba, alma]) = people();
    let replica = Replica::new(&world);
    let credentials =
        |name: &str| match replica.ask(0, Query::Credentials(CredentialsQuery { name: name.into() })) {
            Answer::Credentials(found) => found,
            other => panic!("no credentials: {other:?}"),
        };
    assert_eq!(credentials("ana").user_id, ana);
    for name in ["alba", "alma", "nobody"] {
        assert_eq!(credentials(name), CredentialsResult::default(), "{name}");
    }
    let query = |pattern: &str| Query::Directory(DirectoryQuery { pattern: pattern.into(), limit: 10 });
    match replica.ask(ana, query("a")) {
        Answer::Directory(found) => {
            let names: Vec<_> = found.users.iter().map(|user| user.name.as_str()).collect();
            assert_eq!(names, ["ana"]);
        }
        other => panic!("no directory: {other:?}"),
    }
    for user in [alba, alma] {
        assert_eq!(replica.refused(user, query("a")), "unauthenticated");
    }
    assert_eq!(replica.admin_users(root, "", "", 10).0, ["alba", "ana", "root"], "admins see the disabled");
    let by_number = replica.user(ana, alma, "");
    assert!(by_number.user.is_some_and(|user| user.deleted && user.name.is_empty()));
    assert_eq!(by_number.created_ms, 0);
    let by_name = Query::User(UserQuery { user_id: 0, name: "alma".into() });
    assert_eq!(replica.refused(ana, by_name), "not_found");
}

#[tokio::test]
async fn only_admins_see_where_somebody_is_signed_in() {
    let (world, [root, ana, alba, _]) = people();
    let replica = Replica::new(&world);
    let of = |user_id| Query::AdminSessions(AdminSessionsQuery { user_id });
    let own = replica.ask(ana, Query::Sessions(SessionsQuery {}));
    assert!(matches!(&own, Answer::Sessions(found) if !found.sessions.is_empty()), "{own:?}");
    assert_eq!(replica.ask(root, of(ana)), own);
    match replica.ask(root, of(alba)) {
        Answer::Sessions(found) => assert!(found.sessions.is_empty(), "who is shut out has none"),
        other => panic!("no sessions: {other:?}"),
    }
    assert_eq!(replica.refused(ana, of(root)), "forbidden");
    assert_eq!(replica.refused(ana, of(ana)), "forbidden", "her own are read by another way");
}

#[tokio::test]
async fn a_profile_says_what_others_may_know() {
    let (mut world, [root, ana, ..]) = people();
    world.now = 1_234_567;
    let seen = quorate_proto::rpc::RecordSeen { user_ids: vec![ana] };
    accepted(&world.act(0, Action::RecordSeen(seen)));
    let set = quorate_proto::rpc::SetProfile { status: Some("away".into()), ..Default::default() };
    accepted(&world.act(ana, Action::SetProfile(set)));
    let codes = quorate_proto::rpc::SetRecoveryCodes { code_hashes: vec![hash("a"), hash("b")] };
    accepted(&world.act(ana, Action::SetRecoveryCodes(codes)));
    accepted(&world.act(root, Action::Block(quorate_proto::rpc::Block { user_id: ana, on: true })));
    let replica = Replica::new(&world);
    let found = replica.user(root, 0, " Ana ");
    assert_eq!((found.status.as_str(), found.last_seen_ms, found.admin), ("away", 1_200_000, false));
    assert_eq!((found.blocked, found.recovery_codes), (true, 0), "how many codes she has is her own matter");
    let own = replica.user(ana, ana, "");
    assert_eq!((own.blocked, own.recovery_codes), (false, 2));
    assert!(replica.user(ana, root, "").admin);
    assert!(!replica.user(ana, root, "").blocked, "nobody is told who has blocked her");
    let seen = quorate_proto::rpc::RecordSeen { user_ids: vec![root] };
    accepted(&world.act(0, Action::RecordSeen(seen)));
    let replica = Replica::new(&world);
    assert_eq!(replica.user(root, root, "").last_seen_ms, 1_200_000);
    assert_eq!(replica.user(ana, root, "").last_seen_ms, 0, "not for whom she has blocked");
    match replica.ask(root, Query::Blocked(BlockedQuery {})) {
        Answer::Blocked(found) => assert_eq!(found.users.len(), 1),
        other => panic!("no list: {other:?}"),
    }
    let unknown = Query::User(UserQuery { user_id: 99, name: String::new() });
    assert_eq!(replica.refused(ana, unknown), "not_found");
}

#[tokio::test]
async fn what_admins_read_nobody_else_reads() {
    let (world, [root, ana, ..]) = people();
    let replica = Replica::new(&world);
    let queries = || {
        [
            Query::AdminUsers(AdminUsersQuery::default()),
            Query::AdminConversations(AdminConversationsQuery::default()),
            Query::Reports(ReportsQuery::default()),
            Query::Audit(AuditQuery::default()),
        ]
    };
    for query in queries() {
        assert_eq!(replica.refused(ana, query), "forbidden");
    }
    for query in queries() {
        assert!(!matches!(replica.ask(root, query), Answer::Rejected(_)));
    }
}

#[tokio::test]
async fn admins_page_through_users_and_groups_by_name() {
    let (mut world, [root, ana, ..]) = people();
    for number in 0..30 {
        world.user(&format!("user{number:02}"));
    }
    for number in 0..5 {
        world.direct(ana, root + 4 + number);
        let create = quorate_proto::rpc::CreateGroup {
            title: format!("Team {number}"),
            member_ids: vec![root],
            ..Default::default()
        };
        conversation_of(&world.act(ana, Action::CreateGroup(create)));
    }
    let replica = Replica::new(&world);
    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let (page, after) = replica.admin_users(root, "*r0*", &next, 3);
        assert!(page.len() <= 3);
        names.extend(page);
        next = after;
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(names, (0..10).map(|number| format!("user{number:02}")).collect::<Vec<_>>());
    assert_eq!(replica.admin_users(root, "user1", "user17", 10).0, ["user18", "user19"]);
    let groups = |text: &str, after_id, limit| {
        let text = text.into();
        let query = AdminConversationsQuery { text, after_id, limit, ..Default::default() };
        match replica.ask(root, Query::AdminConversations(query)) {
            Answer::AdminConversations(found) => found,
            other => panic!("no groups: {other:?}"),
        }
    };
    let first = groups("team", 0, 3);
    assert_eq!(
        first.channels.iter().map(|it| it.title.as_str()).collect::<Vec<_>>(),
        ["Team 0", "Team 1", "Team 2"]
    );
    assert!(first.more && first.channels[0].joined && first.channels[0].member_count == 2);
    let second = groups("team", first.next, 3);
    assert_eq!((second.channels.len(), second.more, second.next), (2, false, 0), "and no direct ones");
    assert_eq!(groups("AM 3", 0, 3).channels.len(), 1);
}

/// Who had reported one message had shown the admins all that its author made of it afterwards.
#[tokio::test]
async fn admins_read_a_reported_message_as_it_was_then_and_that_it_was_edited() {
    let (mut world, [root, ana, ..]) = people();
    let bob = world.user("bob");
    let pair = world.direct(ana, bob);
    let edit = |text: &str| {
        let edit = quorate_proto::rpc::Edit {
            conversation_id: pair,
            sequence: 1,
            text: text.into(),
            if_revision: None,
        };
        Action::Edit(edit)
    };
    let report = quorate_proto::rpc::Report { conversation_id: pair, sequence: 1, reason: "look".into() };
    let told = |world: &World| -> Vec<(String, u64, bool)> {
        let query = Query::Reports(ReportsQuery { all: true, ..Default::default() });
        let Answer::Reports(found) = Replica::new(world).ask(root, query) else { panic!("no reports") };
        let one = |it: quorate_proto::rpc::ReportInfo| match it.message.expect("there").kind {
            Some(quorate_proto::rpc::event::Kind::Message(message)) => {
                (message.text, message.revision, it.edited_since)
            }
            other => panic!("no message: {other:?}"),
        };
        found.reports.into_iter().map(one).collect()
    };
    accepted(&world.send(bob, pair, "rude"));
    accepted(&world.act(ana, Action::Report(report.clone())));
    accepted(&world.act(bob, edit("ruder")));
    accepted(&world.act(ana, Action::Report(report)));
    assert_eq!(told(&world), [("ruder".into(), 1, false), ("rude".into(), 0, true)]);
    accepted(&world.act(bob, edit("a secret of theirs")));
    assert_eq!(told(&world), [("ruder".into(), 1, true), ("rude".into(), 0, true)]);
    for n in 0..quorate_proto::limits::REVISIONS_KEPT_MAX {
        accepted(&world.act(bob, edit(&format!("{n}"))));
    }
    assert_eq!(told(&world), [(String::new(), 1, true), (String::new(), 0, true)], "no longer kept");
    let delete = quorate_proto::rpc::DeleteMessages { conversation_id: pair, first: 1, last: 1 };
    accepted(&world.act(bob, Action::DeleteMessages(delete)));
    assert!(told(&world).iter().all(|(text, ..)| text.is_empty()));
}

#[tokio::test]
async fn admins_read_reports_and_what_was_done_newest_first() {
    let (mut world, [root, ana, ..]) = people();
    let bob = world.user("bob");
    let pair = world.direct(ana, bob);
    accepted(&world.send(bob, pair, "rude"));
    accepted(&world.send(bob, pair, "not reported"));
    let report = quorate_proto::rpc::Report { conversation_id: pair, sequence: 1, reason: "look".into() };
    for _ in 0..7 {
        accepted(&world.act(ana, Action::Report(report.clone())));
    }
    for report_id in [2, 5] {
        let resolve = quorate_proto::rpc::ResolveReport { report_id, resolution: "done".into() };
        accepted(&world.act(root, Action::ResolveReport(resolve)));
    }
    let replica = Replica::new(&world);
    assert_eq!(replica.reports(root, false, 0, 10), (vec![7, 6, 4, 3, 1], false));
    assert_eq!(replica.reports(root, false, 0, 3), (vec![7, 6, 4], true));
    assert_eq!(replica.reports(root, false, 4, 3), (vec![3, 1], false));
    assert_eq!(replica.reports(root, true, 0, 3), (vec![7, 6, 5], true));
    assert_eq!(replica.reports(root, true, 5, 4), (vec![4, 3, 2, 1], false));
    let Answer::Reports(found) =
        replica.ask(root, Query::Reports(ReportsQuery { all: true, ..Default::default() }))
    else {
        panic!("no reports")
    };
    let resolved = &found.reports[2];
    assert_eq!((resolved.id, resolved.resolution.as_str(), resolved.resolved_ms > 0), (5, "done", true));
    assert_eq!(resolved.resolved_by.as_ref().map(|user| user.id), Some(root));
    match &found.reports[0].message.as_ref().expect("there").kind {
        Some(quorate_proto::rpc::event::Kind::Message(message)) => assert_eq!(message.text, "rude"),
        other => panic!("no message: {other:?}"),
    }
    let audit = |before, limit| match replica.ask(root, Query::Audit(AuditQuery { before, limit })) {
        Answer::Audit(found) => {
            (found.entries.into_iter().map(|entry| entry.action).collect::<Vec<_>>(), found.next)
        }
        other => panic!("no audit: {other:?}"),
    };
    let (newest, next) = audit(0, 3);
    assert_eq!(newest, ["report_resolved", "report_resolved", "user_deleted"]);
    assert_eq!(
        audit(next, 10),
        (vec!["user_disabled".into(), "admin_claimed".into(), "admin_offered".into()], 0)
    );
}
