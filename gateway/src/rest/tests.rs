//! The rows against a replica that says what a test tells it to: over HTTP, with a token.

mod bots;
mod exports;
mod files;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::read_response::Result as Found;
use quorate_proto::rpc::{self, Command, ReadRequest, ReadResponse};
use quorate_proto::token::ISSUER;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tower::Service as _;

use super::*;
use crate::config::Config;
use crate::server::DrainPhase;
use crate::testing::{Fake, Feed, Submits};

const CODE: &str = "abcdefghijklmnopqrstuv";
const SECRET: &str = "abcdefghijklmnopqrstuvabcdefghijklmnopqrstuv";
const PASSWORD: &str = "correct horse battery";

/// A gateway before one replica, and Ana's token.
struct Site {
    rest: BoxedFilter<(Response,)>,
    fake: Fake,
    gateway: Arc<Gateway>,
    token: String,
    _feeds: mpsc::Receiver<Feed>,
    _drain: watch::Sender<DrainPhase>,
}

fn token(key: &SigningKey) -> String {
    let now = crate::clock::wall_ms() / 1_000;
    let claims = json!({"iss": ISSUER, "aud": "test", "sub": "7", "sid": uuid::Uuid::from_u128(9).to_string(),
                        "name": "ana", "iat": now, "exp": now + 900});
    signed(key, &claims)
}

fn signed(key: &SigningKey, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

/// What every replica of the tests knows: the keys, a user `bob` (8), and Ana's password.
fn known(asked: &ReadRequest, key: &rpc::PublicKey, phc: &str) -> Option<Found> {
    let bob = rpc::UserRef { id: 8, name: "bob".into(), ..Default::default() };
    Some(match asked.query.as_ref()? {
        Query::Keys(_) => Found::Keys(rpc::KeysResult { keys: vec![key.clone()] }),
        Query::Directory(query) => {
            let users = if query.pattern == "bob" { vec![bob] } else { Vec::new() };
            Found::Directory(rpc::DirectoryResult { users })
        }
        Query::Password(_) => {
            Found::Password(rpc::CredentialsResult { password_phc: phc.to_owned(), ..Default::default() })
        }
        _ => return None,
    })
}

async fn site(read: impl Fn(&ReadRequest) -> Option<Found> + Send + Sync + 'static) -> Site {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public_key = key.verifying_key().to_bytes().to_vec().into();
    let public = rpc::PublicKey { kid: "k1".into(), public_key };
    let (fake, feeds) = Fake::start(1).await;
    let passwords = crate::auth::phc_for_tests(PASSWORD);
    fake.set(|state| {
        state.role = "leader";
        state.submits = Submits::Apply;
        state.read = Box::new(move |asked| {
            let nothing = || rpc::Rejected { code: "not_found".into(), ..Default::default() };
            let found = read(&asked).or_else(|| known(&asked, &public, &passwords));
            let result = Some(found.unwrap_or_else(|| Found::Rejected(nothing())));
            Ok::<_, Status>(ReadResponse { as_of_index: 5, result, ..Default::default() })
        });
    });
    let config = Config {
        cluster: "test".into(),
        name: "a".into(),
        replicas: vec![fake.address.clone()],
        account_calls_per_minute: 30,
        limits: quorate_proto::limits::SessionLimits {
            frames_per_second: 0,
            sends_per_window_max: 0,
            ..Default::default()
        },
        ..Config::default()
    };
    let (drain, phase) = watch::channel(DrainPhase::Serving);
    let gateway = Gateway::start(config, None, phase).expect("a gateway");
    let origins = Arc::new(OriginPolicy::new(&[]));
    let rest = routes(Arc::clone(&gateway), origins);
    Site { rest, fake, gateway, token: token(&key), _feeds: feeds, _drain: drain }
}

impl Site {
    async fn call(&self, method: &Method, path: &str, body: Option<Value>) -> (u16, String) {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("idempotency-key", uuid::Uuid::from_u128(5).to_string());
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = Bytes::from(body.map(|body| body.to_string()).unwrap_or_default());
        let mut request = request.body(Full::new(body)).expect("a request");
        request.extensions_mut().insert(Sent { client: Client(None), stream: None });
        let answered: Result<_, Infallible> = warp::service(self.rest.clone()).call(request).await;
        let Ok(response) = answered;
        let status = response.status().as_u16();
        let read = tokio::time::timeout(Duration::from_secs(20), response.into_body().collect());
        let body = read.await.expect("an answer in time").expect("a whole answer").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.call(&Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Commands so far, without those that count attempts.
    fn commands(&self) -> Vec<Command> {
        let commands =
            self.fake.commands().into_iter().map(|bytes| Command::decode(bytes).expect("a command"));
        commands.filter(|it| !matches!(it.action, Some(Action::CountAttempt(_)))).collect()
    }
}

fn hash(secret: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(secret.as_bytes()).as_bytes())
}

#[tokio::test]
async fn every_write_becomes_its_command_under_its_key() {
    let site = site(|_| None).await;
    let (c, m) = ("/api/v1/conversations/3", "/api/v1/conversations/3/messages/4");
    let (post, put, patch, delete) = (Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    let code_hash = hash(CODE).slice(..16);
    let invite = uuid::Uuid::from_slice(&code_hash).unwrap().simple().to_string();
    let react = |on| Action::React(rpc::React { conversation_id: 3, sequence: 4, emoji: "👍".into(), on });
    let pin = |on| Action::Pin(rpc::Pin { conversation_id: 3, sequence: 4, on });
    let save = |on| Action::SaveMessage(rpc::SaveMessage { conversation_id: 3, sequence: 4, on });
    let ban = |on| Action::Ban(rpc::Ban { conversation_id: 3, user_id: 8, on });
    let block = |on| Action::Block(rpc::Block { user_id: 8, on });
    let rows: Vec<(&Method, String, Option<Value>, u16, Action)> = vec![
        (
            &post,
            format!("{c}/messages"),
            Some(json!({"forward": {"conversation": 8, "sequence": 9}})),
            201,
            Action::Send(rpc::Send {
                conversation_id: 3,
                forward: Some(rpc::MessageRef { conversation_id: 8, sequence: 9 }),
                ..Default::default()
            }),
        ),
        (
            &post,
            format!("{c}/messages"),
            Some(json!({"text": "", "attachments": [{"file": uuid::Uuid::from_u128(6).to_string()}]})),
            201,
            Action::Send(rpc::Send {
                conversation_id: 3,
                attachments: vec![rpc::AttachFile {
                    file_id: uuid::Uuid::from_u128(6).as_bytes().to_vec().into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
        ),
        (
            &delete,
            format!("{m}?through=6"),
            None,
            200,
            Action::DeleteMessages(rpc::DeleteMessages { conversation_id: 3, first: 4, last: 6 }),
        ),
        (
            &delete,
            format!("{m}?for_me=true"),
            None,
            200,
            Action::HideMessages(rpc::HideMessages { conversation_id: 3, first: 4, last: 4 }),
        ),
        (&put, format!("{m}/reactions/%F0%9F%91%8D"), None, 200, react(true)),
        (&delete, format!("{m}/reactions/%F0%9F%91%8D"), None, 200, react(false)),
        (&put, format!("{m}/pin"), None, 200, pin(true)),
        (&delete, format!("{m}/pin"), None, 200, pin(false)),
        (&put, format!("{m}/saved"), None, 200, save(true)),
        (&delete, format!("{m}/saved"), None, 200, save(false)),
        (
            &post,
            format!("{m}/report"),
            Some(json!({"reason": "spam"})),
            200,
            Action::Report(rpc::Report { conversation_id: 3, sequence: 4, reason: "spam".into() }),
        ),
        (
            &put,
            format!("{c}/draft"),
            Some(json!({"text": "hal", "reply_to": 2})),
            200,
            Action::SetDraft(rpc::SetDraft { conversation_id: 3, text: "hal".into(), reply_to: 2 }),
        ),
        (
            &post,
            "/api/v1/scheduled".into(),
            Some(json!({"conversation": 3, "text": "later", "at": 99})),
            201,
            Action::Schedule(rpc::Schedule {
                conversation_id: 3,
                text: "later".into(),
                due_ms: 99,
                ..Default::default()
            }),
        ),
        (
            &post,
            "/api/v1/scheduled".into(),
            Some(json!({"conversation": 3, "remind_of": 4, "at": 99})),
            201,
            Action::Schedule(rpc::Schedule {
                conversation_id: 3,
                remind_of: 4,
                due_ms: 99,
                ..Default::default()
            }),
        ),
        (
            &delete,
            "/api/v1/scheduled/6".into(),
            None,
            200,
            Action::CancelScheduled(rpc::CancelScheduled { id: 6 }),
        ),
        (
            &patch,
            c.into(),
            Some(json!({"public": true})),
            200,
            Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id: 3,
                public: Some(true),
                ..Default::default()
            }),
        ),
        (
            &patch,
            format!("{c}/preferences"),
            Some(json!({"favourite": true})),
            200,
            Action::Prefer(rpc::Prefer { conversation_id: 3, favourite: Some(true), ..Default::default() }),
        ),
        (
            &put,
            format!("{c}/members/bob/role"),
            Some(json!({"role": "admin"})),
            200,
            Action::SetMemberRole(rpc::SetMemberRole { conversation_id: 3, user_id: 8, role: 3 }),
        ),
        (&put, format!("{c}/bans/bob"), None, 200, ban(true)),
        (&delete, format!("{c}/bans/bob"), None, 200, ban(false)),
        (
            &post,
            format!("{c}/invites"),
            Some(json!({"code": CODE, "uses_max": 2})),
            201,
            Action::MakeInvite(rpc::MakeInvite {
                conversation_id: 3,
                code_hash: code_hash.clone(),
                ttl_ms: 0,
                uses_max: 2,
            }),
        ),
        (
            &delete,
            format!("{c}/invites/{invite}"),
            None,
            200,
            Action::EndInvite(rpc::EndInvite { conversation_id: 3, code_hash: code_hash.clone() }),
        ),
        (
            &post,
            format!("/api/v1/invites/{CODE}/join"),
            None,
            200,
            Action::Join(rpc::Join { conversation_id: 0, code_hash }),
        ),
        (
            &post,
            "/api/v1/channels/3/join".into(),
            None,
            200,
            Action::Join(rpc::Join { conversation_id: 3, ..Default::default() }),
        ),
        (
            &patch,
            "/api/v1/me".into(),
            Some(json!({"status": "away"})),
            200,
            Action::SetProfile(rpc::SetProfile { status: Some("away".into()), ..Default::default() }),
        ),
        (
            &patch,
            "/api/v1/me".into(),
            Some(json!({"avatar": uuid::Uuid::from_u128(6).to_string()})),
            200,
            Action::SetProfile(rpc::SetProfile {
                avatar: Some(uuid::Uuid::from_u128(6).as_bytes().to_vec().into()),
                ..Default::default()
            }),
        ),
        (
            &patch,
            c.into(),
            Some(json!({"avatar": ""})),
            200,
            Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id: 3,
                avatar: Some(Bytes::new()),
                ..Default::default()
            }),
        ),
        (&put, "/api/v1/blocked/bob".into(), None, 200, block(true)),
        (&delete, "/api/v1/blocked/bob".into(), None, 200, block(false)),
        (
            &put,
            "/api/v1/recovery-codes".into(),
            Some(json!({"password": PASSWORD, "codes": [CODE]})),
            204,
            Action::SetRecoveryCodes(rpc::SetRecoveryCodes { code_hashes: vec![hash(CODE)] }),
        ),
        (
            &patch,
            "/api/v1/admin/users/bob".into(),
            Some(json!({"disabled": true})),
            200,
            Action::SetUserState(rpc::SetUserState { user_id: 8, disabled: Some(true), admin: None }),
        ),
        (
            &delete,
            "/api/v1/admin/users/bob".into(),
            None,
            200,
            Action::DeleteUser(rpc::DeleteUser { user_id: 8, ..Default::default() }),
        ),
        (
            &post,
            "/api/v1/admin/users/bob/reset".into(),
            Some(json!({"secret": SECRET})),
            200,
            Action::OfferReset(rpc::OfferReset { user_id: 8, secret_hash: hash(SECRET) }),
        ),
        (
            &post,
            "/api/v1/admin/reports/6/resolve".into(),
            Some(json!({"resolution": "deleted"})),
            200,
            Action::ResolveReport(rpc::ResolveReport { report_id: 6, resolution: "deleted".into() }),
        ),
    ];
    for (method, path, body, wanted, action) in rows {
        let before = site.commands().len();
        let (status, answer) = site.call(method, &path, body).await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        let commands = site.commands();
        let [command] = &commands[before..] else { panic!("{method} {path}: {commands:?}") };
        assert_eq!(command.action.as_ref(), Some(&action), "{method} {path}");
        assert_eq!((command.user_id, &command.command_id[..]), (7, &uuid::Uuid::from_u128(5).as_bytes()[..]));
        if wanted != 204 {
            let ack: Value = serde_json::from_str(&answer).expect("JSON");
            assert_eq!(ack["type"], "ack", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_account_ends_and_comes_back_only_by_what_its_user_knows() {
    let site = site(|asked| match asked.query.as_ref()? {
        Query::Credentials(query) => {
            let user_id = if query.name == "bob" { 8 } else { 0 };
            let credentials =
                rpc::CredentialsResult { user_id, name_key: vec![1; 16].into(), ..Default::default() };
            Some(Found::Credentials(credentials))
        }
        _ => None,
    })
    .await;
    let (status, answer) =
        site.call(&Method::DELETE, "/api/v1/me", Some(json!({"password": "another one"}))).await;
    assert_eq!(status, 403, "{answer}");
    let codes = json!({"password": "another one", "codes": [CODE]});
    assert_eq!(site.call(&Method::PUT, "/api/v1/recovery-codes", Some(codes)).await.0, 403);
    let weak = json!({"password": PASSWORD, "codes": ["1234"]});
    assert_eq!(site.call(&Method::PUT, "/api/v1/recovery-codes", Some(weak)).await.0, 422);
    assert_eq!(site.commands().len(), 0);
    let (status, answer) =
        site.call(&Method::DELETE, "/api/v1/me", Some(json!({"password": PASSWORD}))).await;
    assert_eq!(status, 204, "{answer}");
    let Some(Action::DeleteUser(deleted)) = &site.commands()[0].action else { panic!("no deletion") };
    assert_eq!((deleted.user_id, deleted.password_mark.len()), (7, 16));

    for (name, user_id) in [("Bob ", 8), ("nobody", 0), ("no name!", 0)] {
        let (counted, before) = (site.fake.commands().len(), site.commands().len());
        let body = json!({"name": name, "secret": SECRET, "new_password": "three words in a row"});
        let (status, answer) = site.call(&Method::POST, "/api/v1/password/reset", Some(body)).await;
        assert_eq!(status, 204, "{name}: {answer}");
        let first = Command::decode(site.fake.commands()[counted].clone()).expect("a command");
        let Some(Action::CountAttempt(count)) = first.action else { panic!("not counted first: {first:?}") };
        assert_eq!(count.user_id, user_id, "{name}");
        let Some(Action::ResetPassword(reset)) = &site.commands()[before].action else { panic!("{name}") };
        assert_eq!((reset.user_id, &reset.secret_hash), (user_id, &hash(SECRET)));
        assert!(reset.password_phc.starts_with("$argon2id$"));
    }
}

fn person(id: u64) -> Option<rpc::UserRef> {
    Some(rpc::UserRef { id, name: format!("user{id}"), ..Default::default() })
}

fn message(sequence: u64) -> rpc::Event {
    let message =
        rpc::Message { sequence, from: person(8), text: format!("<b>{sequence}</b>"), ..Default::default() };
    rpc::Event {
        topic: Some(crate::convert::conversation_topic(3)),
        version: sequence,
        log_time_ms: sequence,
        kind: Some(rpc::event::Kind::Message(message)),
        ..Default::default()
    }
}

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

#[tokio::test]
async fn every_row_answers_what_it_documents_to_nonsense_and_to_strangers() {
    let mut site = site(|_| None).await;
    let rows: Vec<(Method, String, Vec<u16>, bool, Access)> = table()
        .into_iter()
        .map(|row| {
            let path = row.path.split('/').map(|part| if part.starts_with('{') { "7" } else { part });
            let path = path.collect::<Vec<_>>().join("/");
            (row.method.clone(), path, row.statuses(), row.body.is_some(), row.access)
        })
        .collect();
    assert!(rows.len() > 60, "{}", rows.len());
    let mut seen = BTreeSet::new();
    for (method, path, statuses, takes_body, access) in &rows {
        assert!(seen.insert((method.to_string(), path.clone())), "{method} {path} is there twice");
        let bodies = if *takes_body { vec![None, Some(json!({})), Some(json!([1]))] } else { vec![None] };
        for body in bodies {
            let (status, answer) = site.call(method, path, body.clone()).await;
            assert!(statuses.contains(&status), "{method} {path} {body:?}: {status} {answer}");
        }
        let odd = site.call(method, &format!("{path}?limit=x&min_index=-1&all=7"), None).await;
        assert!(statuses.contains(&odd.0), "{method} {path}: {odd:?}");
        if path.starts_with("/api/v1/admin/") || *access == Access::Bearer {
            assert_eq!(*access, Access::Bearer, "{path}");
            let token = std::mem::replace(&mut site.token, "no.token.atall".into());
            assert_eq!(site.call(method, path, Some(json!({}))).await.0, 401, "{method} {path}");
            site.token = token;
        }
    }
}
