//! A whole session over a pipe, before a replica that says what it is told to.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use quorate_proto::error::ErrorCode;
use quorate_proto::reason::Reason;
use quorate_proto::rpc::{
    FeedFrame, KeysQuery, KeysResult, OpenResult, Progress, PublicKey, ReadRequest, ReadResponse, TopicReady,
    UserRef, read_request, read_response,
};
use quorate_proto::token::{Claims, ISSUER};
use serde_json::{Value, json};
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::Role;
use tonic::Status;
use uuid::Uuid;

use super::*;
use crate::auth::ApiToken;
use crate::config::Config;
use crate::reads::request;
use crate::testing::{Fake, Feed, Submits};

const WAIT: Duration = Duration::from_secs(20);
const USER: u64 = 7;

fn token(key: &SigningKey, reads_only: bool) -> String {
    let now = wall_ms() / 1_000;
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: "test".to_owned(),
        sub: USER.to_string(),
        sid: Uuid::from_u128(9).to_string(),
        name: "ana".to_owned(),
        iat: now,
        exp: now + 900,
        ro: reads_only,
        scope: 0,
        conv: 0,
    };
    let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let der = key.to_pkcs8_der().unwrap();
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(der.as_bytes())).unwrap()
}

fn read(key: &SigningKey, asked: &ReadRequest) -> Result<ReadResponse, Status> {
    let user = Some(UserRef { id: USER, name: "ana".into(), ..UserRef::default() });
    let result = match &asked.query {
        Some(read_request::Query::Keys(_)) => {
            let public_key = key.verifying_key().to_bytes().to_vec().into();
            let keys = vec![PublicKey { kid: "k".into(), public_key }];
            read_response::Result::Keys(KeysResult { keys })
        }
        Some(read_request::Query::Open(_)) => {
            read_response::Result::Open(OpenResult { user, ..OpenResult::default() })
        }
        other => return Err(Status::unimplemented(format!("{other:?}"))),
    };
    let as_of_index = asked.min_index.max(1);
    Ok(ReadResponse { as_of_index, result: Some(result), ..ReadResponse::default() })
}

struct Client(WebSocketStream<DuplexStream>);

impl Client {
    /// Says something and waits for the answer to it.
    async fn ask(&mut self, frame: Value) -> Value {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
        let answer = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let heard: Value = serde_json::from_str(&text).unwrap();
                        if heard["reply"] == frame["id"] {
                            return heard;
                        }
                        assert_ne!(heard["type"], "bye", "{heard}");
                    }
                    Some(Ok(_)) => {}
                    other => panic!("no answer to {frame}: {other:?}"),
                }
            }
        };
        timeout(WAIT, answer).await.expect("an answer in time")
    }

    async fn make_group(&mut self, id: u64) -> Value {
        let command = json!({"action": "create_group", "title": "room", "members": []});
        let key = Uuid::from_u128(id.into());
        self.ask(
            json!({"id": id, "type": "do", "client_message_id": key, "first_sent": 0, "command": command}),
        )
        .await
    }
}

/// A gateway before one replica that signs with this key, and what keeps the two alive.
struct Scene {
    key: SigningKey,
    fake: Fake,
    gateway: Arc<Gateway>,
    _phase: watch::Sender<DrainPhase>,
}

async fn scene(change: impl FnOnce(&mut Config)) -> Scene {
    let key = SigningKey::from_bytes(&[5; 32]);
    let (fake, mut feeds) = Fake::start(1).await;
    let reader = key.clone();
    fake.set(|state| state.read = Box::new(move |asked| read(&reader, &asked)));
    let mut config = Config {
        cluster: "test".into(),
        name: "a".into(),
        replicas: vec![fake.address.clone()],
        ..Config::default()
    };
    change(&mut config);
    let (phase, drain) = watch::channel(DrainPhase::Serving);
    let gateway = Gateway::start(config, None, drain).unwrap();
    let feed = timeout(WAIT, feeds.recv()).await.expect("a feed in time").unwrap();
    tokio::spawn(tell_nothing(feed));
    tokio::spawn(async move {
        // One that seemed silent while this thread stood still was left for another.
        while let Some(feed) = feeds.recv().await {
            tokio::spawn(tell_nothing(feed));
        }
    });
    Scene { key, fake, gateway, _phase: phase }
}

/// A feed of a replica at which nothing happens.
async fn tell_nothing(mut feed: Feed) {
    let mut beats = tokio::time::interval(Duration::from_millis(50));
    loop {
        let added = tokio::select! {
            request = feed.requests.recv() => match request {
                Some(request) => request.add,
                None => return,
            },
            _ = beats.tick() => Vec::new(),
        };
        let ready = |topic| TopicReady { topic: Some(topic), complete_from_index: 1, version: 0 };
        let frame = FeedFrame {
            ready: added.into_iter().map(ready).collect(),
            progress: Some(Progress { applied_index: 1, log_time_ms: 1, ..Progress::default() }),
            ..FeedFrame::default()
        };
        if feed.frames.send(Ok(frame)).await.is_err() {
            return;
        }
    }
}

impl Scene {
    /// A socket from this address.
    async fn dial(&self, client: Option<IpAddr>) -> Client {
        let (near, far) = duplex(1 << 16);
        let server = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        tokio::spawn(run(Arc::clone(&self.gateway), server, None, client));
        Client(WebSocketStream::from_raw_socket(far, Role::Client, None).await)
    }
}

#[tokio::test]
async fn a_session_begun_with_a_token_that_reads_only_writes_once_it_is_given_one_that_writes() {
    let scene = scene(|_| ()).await;
    let (key, fake) = (&scene.key, &scene.fake);
    let mut client = scene.dial(None).await;
    let welcome = client.ask(json!({"id": 1, "type": "hello", "token": token(key, true)})).await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    let refused = client.make_group(2).await;
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");
    assert!(fake.commands().is_empty(), "nothing is sent on");
    let renewed = client.ask(json!({"id": 3, "type": "auth", "token": token(key, false)})).await;
    assert_eq!(renewed["type"], "ok", "{renewed}");
    // Now there is a leader.
    fake.set(|state| {
        state.role = "leader";
        state.submits = Submits::Apply;
    });
    let made = client.make_group(4).await;
    assert_eq!(made["type"], "ack", "{made}");
}

/// A client without a position, which had written by REST, was shown the state of before: only one with a position says what it has
/// seen.
#[tokio::test]
async fn welcome_is_not_older_than_what_this_gateway_answered_unless_nobody_has_that() {
    let scene = scene(|_| ()).await;
    let answered = request(50, USER, &[], read_request::Query::Keys(KeysQuery {}));
    assert_eq!(scene.gateway.reader.read(answered).await.unwrap().as_of_index, 50);
    let hello = json!({"id": 1, "type": "hello", "token": token(&scene.key, false)});
    let welcome = scene.dial(None).await.ask(hello.clone()).await;
    assert_eq!((&welcome["type"], &welcome["index"]), (&json!("welcome"), &json!(50)), "{welcome}");
    // Whoever had come so far is gone.
    let key = scene.key.clone();
    scene.fake.set(|state| {
        state.read = Box::new(move |asked| match asked.min_index {
            0..20 => read(&key, &asked),
            _ => Err(Reason::Behind.refusal("this replica has not reached the index yet")),
        });
    });
    let welcome = scene.dial(None).await.ask(hello).await;
    assert_eq!((&welcome["type"], &welcome["index"]), (&json!("welcome"), &json!(1)), "{welcome}");
}

fn forged(session: u128) -> String {
    ApiToken::new(Uuid::from_u128(session), [7; 32]).text()
}

#[tokio::test]
async fn a_forged_token_of_a_program_is_counted_by_the_address_it_came_from() {
    let scene = scene(|config| config.account_calls_per_minute = 1).await;
    let bye = async |session: u128, address: [u8; 4]| {
        let mut client = scene.dial(Some(address.into())).await;
        client
            .0
            .send(Message::text(json!({"id": 1, "type": "hello", "token": forged(session)}).to_string()))
            .await
            .unwrap();
        match timeout(WAIT, client.0.next()).await.expect("an answer in time") {
            Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).unwrap(),
            other => panic!("no frame: {other:?}"),
        }
    };
    let (bad, later) = (CloseCode::BadToken as u16, CloseCode::TooManyRequests as u16);
    assert_eq!(bye(1, [192, 0, 2, 1]).await["code"], bad);
    let limited = bye(2, [192, 0, 2, 1]).await;
    assert!(limited["code"] == later && limited["retry_ms"].is_u64(), "{limited}");
    assert_eq!(bye(3, [192, 0, 2, 2]).await["code"], bad, "another address");
}

/// Such tokens were not counted: whoever had one session could try as many as she liked.
#[tokio::test]
async fn forged_tokens_shown_on_a_session_that_lasts_are_counted_as_at_the_door() {
    let scene = scene(|config| config.account_calls_per_minute = 2).await;
    let mut client = scene.dial(Some([192, 0, 2, 1].into())).await;
    client.ask(json!({"id": 1, "type": "hello", "token": token(&scene.key, false)})).await;
    let mut codes = Vec::new();
    for id in 2..7_u64 {
        let refused = client.ask(json!({"id": id, "type": "auth", "token": forged(id.into())})).await;
        codes.push(refused["error"]["code"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(codes[..2], ["unauthenticated", "unauthenticated"]);
    assert_eq!(codes[2..], ["rate_limited", "rate_limited", "rate_limited"]);
    let held = scene.gateway.holder(Some([192, 0, 2, 1].into()), &forged(9)).await;
    assert_eq!(held.unwrap_err().code, ErrorCode::RateLimited, "one count for all ways in");
    // Her own token costs no question, so nobody is held back who renews as she should.
    let renewed = client.ask(json!({"id": 8, "type": "auth", "token": token(&scene.key, false)})).await;
    assert_eq!(renewed["type"], "ok", "{renewed}");
}
