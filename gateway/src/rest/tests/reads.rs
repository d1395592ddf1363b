//! What is read, in its form, and exports of what is one's own.

use super::*;

/// What the replica of the tests of reads answers.
fn everything(asked: &ReadRequest) -> Option<Found> {
    let channel =
        rpc::ChannelInfo { conversation_id: 3, title: "News".into(), kind: 2, ..Default::default() };
    let channels = rpc::ChannelsResult { channels: vec![channel.clone()], more: true, next: 5 };
    let member = rpc::MemberInfo { user: person(8), role: 2, since_ms: 4, ..Default::default() };
    let members = rpc::MembersResult { members: vec![member], more: true, next: 8 };
    let messages = rpc::MessagesResult { messages: vec![message(4)], next: 0 };
    let summary = rpc::ConversationSummary { id: 3, title: "<i>News".into(), ..Default::default() };
    Some(match asked.query.as_ref()? {
        Query::Revisions(_) => {
            let revision = rpc::RevisionInfo { revision: 1, text: "hi".into(), log_time_ms: 2 };
            Found::Revisions(rpc::RevisionsResult { revisions: vec![revision] })
        }
        Query::Reactions(_) => {
            let users = person(8).into_iter().collect();
            let reaction = rpc::ReactionUsers { emoji: "👍".into(), users, count: 1 };
            Found::Reactions(rpc::ReactionsResult { reactions: vec![reaction] })
        }
        Query::Pins(_) => Found::Messages(messages),
        Query::Mentions(query) => Found::Messages(rpc::MessagesResult { next: query.before + 1, ..messages }),
        Query::Saved(query) => Found::Messages(rpc::MessagesResult { next: query.limit.into(), ..messages }),
        Query::Scheduled(_) => {
            let item = rpc::ScheduledItem { id: 6, conversation_id: 3, due_ms: 9, ..Default::default() };
            Found::Scheduled(rpc::ScheduledResult { items: vec![item] })
        }
        Query::Members(_) => Found::Members(members),
        Query::Bans(_) => Found::Bans(members),
        Query::Invites(_) => {
            let invite =
                rpc::InviteInfo { code_hash: hash(CODE).slice(..16), by: person(8), ..Default::default() };
            Found::Invites(rpc::InvitesResult { invites: vec![invite] })
        }
        Query::Invite(query) if query.code_hash == hash(CODE)[..16] => Found::Invite(channel),
        Query::Channels(_) => Found::Channels(channels),
        Query::AdminConversations(_) => Found::AdminConversations(channels),
        Query::User(query) => {
            let user = person(if query.user_id == 0 { 8 } else { query.user_id });
            let found =
                rpc::UserResult { user, status: "away".into(), recovery_codes: 3, ..Default::default() };
            Found::User(found)
        }
        Query::Blocked(_) => Found::Blocked(rpc::DirectoryResult { users: person(8).into_iter().collect() }),
        Query::AdminUsers(_) => {
            let user = rpc::AdminUser { user: person(8), disabled: true, ..Default::default() };
            Found::AdminUsers(rpc::AdminUsersResult { users: vec![user], more: false, next: String::new() })
        }
        Query::Reports(_) => {
            let report =
                rpc::ReportInfo { id: 6, by: person(8), message: Some(message(4)), ..Default::default() };
            Found::Reports(rpc::ReportsResult { reports: vec![report], more: false })
        }
        Query::Audit(_) => {
            let entry = rpc::AuditEntry { index: 9, action: "user_disabled".into(), ..Default::default() };
            Found::Audit(rpc::AuditResult { entries: vec![entry], next: 2 })
        }
        Query::Conversation(_) => Found::Conversation(summary),
        Query::Open(_) => Found::Open(rpc::OpenResult { conversations: vec![summary], ..Default::default() }),
        Query::Sessions(_) => Found::Sessions(rpc::SessionsResult {
            sessions: vec![rpc::SessionInfo { device: "laptop".into(), ..Default::default() }],
        }),
        Query::History(query) => {
            let Some(rpc::history_query::From::After(after)) = query.from else { return None };
            let last = (after + u64::from(query.limit)).min(250);
            let messages = (after + 1..=last).map(message).collect();
            let (more_before, more_after) = (after > 0, last < 250);
            Found::History(rpc::HistoryResult { messages, more_before, more_after, ..Default::default() })
        }
        _ => return None,
    })
}

#[tokio::test]
async fn every_read_is_asked_and_told_in_its_form() {
    let site = site(everything).await;
    let (c, m) = ("/api/v1/conversations/3", "/api/v1/conversations/3/messages/4");
    for (path, pointer, wanted) in [
        (format!("{m}/revisions"), "/revisions/0", json!({"revision": 1, "text": "hi", "time": 2})),
        (format!("{m}/reactions"), "/reactions/0/users/0/id", json!(8)),
        (format!("{c}/pins"), "/messages/0/sequence", json!(4)),
        ("/api/v1/mentions?before=8".into(), "/next", json!(9)),
        ("/api/v1/saved?limit=1000".into(), "/next", json!(100)),
        ("/api/v1/scheduled".into(), "/items/0/at", json!(9)),
        (format!("{c}/members?after=2&limit=1"), "/members/0/role", json!("owner")),
        (format!("{c}/bans"), "/bans/0/since", json!(4)),
        (
            format!("{c}/invites"),
            "/invites/0/id",
            json!(uuid::Uuid::from_slice(&hash(CODE)[..16]).unwrap().simple().to_string()),
        ),
        (format!("/api/v1/invites/{CODE}"), "/channel/title", json!("News")),
        ("/api/v1/channels?text=new".into(), "/next", json!(5)),
        ("/api/v1/users/Bob".into(), "/status", json!("away")),
        ("/api/v1/me".into(), "/recovery_codes", json!(3)),
        ("/api/v1/blocked".into(), "/users/0/name", json!("user8")),
        ("/api/v1/admin/users?pattern=b*".into(), "/users/0/disabled", json!(true)),
        ("/api/v1/admin/conversations".into(), "/channels/0/kind", json!("group")),
        ("/api/v1/admin/reports?all=true".into(), "/reports/0/message/sequence", json!(4)),
        ("/api/v1/admin/audit".into(), "/entries/0/action", json!("user_disabled")),
    ] {
        let body = site.json(&path).await;
        assert_eq!(body.pointer(pointer), Some(&wanted), "{path}: {body}");
        assert_eq!(body["as_of_index"], 5, "{path}");
    }
    let other = site.json("/api/v1/users/bob").await;
    assert!(other.get("recovery_codes").is_none(), "another's are another's: {other}");
    let wrong = site.call(&Method::GET, "/api/v1/invites/abcdefghijklmnopqrstuX", None).await;
    assert_eq!(wrong.0, 404);
    assert!(!wrong.1.contains("abcdefghijklmnopqrstuX"), "a code is not repeated: {}", wrong.1);
}

#[tokio::test]
async fn an_export_has_every_message_once_and_its_end() {
    let site = site(everything).await;
    let (status, text) = site.call(&Method::GET, "/api/v1/conversations/3/export", None).await;
    assert_eq!(status, 200);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["type"]), (252, &json!("conversation")));
    let sequences: Vec<u64> = lines[1..251].iter().map(|it| it["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=250).collect::<Vec<_>>());
    assert_eq!(lines[251], json!({"type": "end", "messages": 250}));

    let (status, page) = site.call(&Method::GET, "/api/v1/conversations/3/export?format=html", None).await;
    assert_eq!((status, page.matches("<article").count()), (200, 250));
    assert!(page.contains("&lt;b&gt;250&lt;/b&gt;") && page.ends_with("</html>\n"));
    assert!(!page.contains("<i>News") && !page.contains("<script"));

    let (status, text) = site.call(&Method::GET, "/api/v1/me/export", None).await;
    assert_eq!(status, 200, "{text}");
    let types: BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["type"].as_str().unwrap().to_owned())
        .collect();
    let wanted =
        ["profile", "session", "conversation", "message", "saved", "mention", "scheduled", "blocked", "end"];
    assert_eq!(types, wanted.into_iter().map(str::to_owned).collect());
    let (status, text) = site.call(&Method::GET, "/api/v1/admin/export", None).await;
    assert_eq!(status, 200, "{text}");
    for word in [
        "\"type\":\"user\"",
        "\"type\":\"group\"",
        "\"type\":\"report\"",
        "\"type\":\"audit\"",
        "\"type\":\"end\"",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(site.call(&Method::GET, "/api/v1/conversations/3/export?format=pdf", None).await.0, 400);
}

#[tokio::test]
async fn an_export_that_breaks_off_is_not_taken_for_whole() {
    let site = site(|asked| match asked.query.as_ref()? {
        Query::History(query) if query.from != Some(rpc::history_query::From::After(0)) => {
            Some(Found::Rejected(rpc::Rejected { code: "forbidden".into(), ..Default::default() }))
        }
        _ => everything(asked),
    })
    .await;
    let mut request = hyper::Request::builder()
        .uri("/api/v1/conversations/3/export")
        .header("authorization", format!("Bearer {}", site.token))
        .body(Full::new(Bytes::new()))
        .expect("a request");
    request.extensions_mut().insert(Sent { client: Client(None), stream: None });
    let Ok(response) = warp::service(site.rest.clone()).call(request).await;
    let body = tokio::time::timeout(Duration::from_secs(20), response.into_body().collect()).await;
    assert!(body.expect("in time").is_err(), "the transfer must end as a broken one");
}
