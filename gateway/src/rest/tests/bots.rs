//! Bots, tokens and webhooks over HTTP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::outcome;
use uuid::Uuid;

use super::*;
use crate::auth::ApiToken;

const BOT: u64 = 9;

fn robin() -> Option<rpc::UserRef> {
    Some(rpc::UserRef {
        id: BOT,
        name: "robin".into(),
        display_name: "Robin".into(),
        bot: true,
        ..Default::default()
    })
}

fn own(asked: &ReadRequest) -> Option<Found> {
    let token = rpc::TokenInfo {
        session_id: vec![5; 16].into(),
        label: "a laptop".into(),
        scopes: 5,
        created_ms: 2,
        ends_ms: 9,
        conversation_id: 0,
    };
    Some(match asked.query.as_ref()? {
        Query::Bots(_) => {
            let bot = rpc::BotInfo {
                user: robin(),
                created_ms: 1,
                tokens: vec![token],
                hook_url: "https://example.org/".into(),
                hook_secret: vec![7; 32].into(),
                waiting: 3,
                last_error: "no answer".into(),
                last_error_ms: 8,
                ..rpc::BotInfo::default()
            };
            Found::Bots(rpc::BotsResult { bots: vec![bot] })
        }
        Query::Tokens(_) => Found::Tokens(rpc::TokensResult { tokens: vec![token] }),
        _ => return None,
    })
}

fn makes_robin(command: &Command) -> Option<outcome::Result> {
    let makes = matches!(command.action, Some(Action::CreateBot(_)));
    makes.then_some(outcome::Result::User(rpc::UserCreated { user_id: BOT }))
}

#[tokio::test]
async fn bots_tokens_and_webhooks_are_told_in_their_form() {
    let site = site(own).await;
    let body = site.json("/api/v1/bots").await;
    let bot = &body["bots"][0];
    assert_eq!(bot["user"], json!({"id": 9, "name": "robin", "display_name": "Robin", "bot": true}));
    let token = json!({"id": Uuid::from_bytes([5; 16]).to_string(), "label": "a laptop", "scopes": ["read", "manage"],
                       "created": 2, "ends": 9});
    assert_eq!(bot["tokens"], json!([token]));
    assert_eq!(bot["hook"]["url"], "https://example.org/");
    assert_eq!(bot["hook"]["secret"], "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    assert_eq!((&bot["hook"]["waiting"], &bot["hook"]["last_error_at"]), (&json!(3), &json!(8)));
    assert_eq!(site.json("/api/v1/tokens").await["tokens"], json!([token]));
}

#[tokio::test]
async fn bots_tokens_and_webhooks_become_their_commands() {
    let site = site(own).await;
    site.fake.set(|state| state.decides = Box::new(makes_robin));
    let id = Uuid::from_bytes([5; 16]);
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let end = |user_id| Action::EndToken(rpc::EndToken { user_id, session_id: vec![5; 16].into() });
    let hook = |url: &str, mentions_only| {
        Action::SetHook(rpc::SetHook { bot_id: BOT, url: url.into(), mentions_only, new_secret: false })
    };
    let rows = [
        (
            &post,
            "/api/v1/bots".to_owned(),
            Some(json!({"name": "Robin"})),
            201,
            Action::CreateBot(rpc::CreateBot { name: "robin".into(), display_name: "robin".into() }),
        ),
        (
            &delete,
            "/api/v1/bots/robin".into(),
            None,
            204,
            Action::DeleteUser(rpc::DeleteUser { user_id: BOT, ..Default::default() }),
        ),
        (&delete, format!("/api/v1/bots/robin/tokens/{id}"), None, 204, end(BOT)),
        (&delete, format!("/api/v1/tokens/{id}"), None, 204, end(7)),
        (
            &put,
            "/api/v1/bots/robin/hook".into(),
            Some(json!({"url": "https://EXAMPLE.org", "mentions_only": true})),
            200,
            hook("https://example.org/", true),
        ),
        (&delete, "/api/v1/bots/robin/hook".into(), None, 204, hook("", false)),
    ];
    for (method, path, body, wanted, action) in rows {
        let before = site.commands().len();
        let (status, answer) = site.call(method, &path, body).await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        let commands = site.commands();
        assert_eq!(commands[before..].iter().map(|it| it.action.clone()).collect::<Vec<_>>(), [Some(action)]);
        assert_eq!(commands[before].user_id, 7);
    }
    let (_, made) =
        site.call(&post, "/api/v1/bots", Some(json!({"name": "robin", "display_name": " Robin "}))).await;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(made["user"], json!({"id": 9, "name": "robin", "display_name": "Robin", "bot": true}));

    let commands = site.commands().len();
    for (method, path, body, wanted) in [
        (&post, "/api/v1/bots", json!({"name": "no name!"}), 422),
        (&delete, "/api/v1/bots/nobody", json!({}), 404),
        (&put, "/api/v1/bots/robin/hook", json!({"url": "http://10.0.0.1/"}), 422),
        (&put, "/api/v1/bots/robin/hook", json!({"url": "ftp://example.org/"}), 422),
        (&post, "/api/v1/tokens", json!({"label": "", "scopes": ["read"]}), 422),
        (&post, "/api/v1/tokens", json!({"label": "x", "scopes": ["everything"]}), 400),
        (&post, "/api/v1/tokens", json!({"label": "x", "scopes": ["read"], "days": 0}), 422),
        (&post, "/api/v1/tokens", json!({"label": "x", "scopes": ["read", "send"], "conversation": 3}), 422),
        (&post, "/api/v1/bots/nobody/tokens", json!({"label": "x", "scopes": ["read"]}), 404),
        (&delete, "/api/v1/tokens/x", json!({}), 404),
    ] {
        let (status, answer) = site.call(method, path, Some(body.clone())).await;
        assert_eq!(status, wanted, "{method} {path} {body}: {answer}");
    }
    assert_eq!(site.commands().len(), commands, "nothing of it was submitted");
}

#[tokio::test]
async fn a_token_is_told_once_and_the_replicas_are_told_its_hash_alone() {
    let site = site(own).await;
    let asked = json!({"label": " a laptop ", "scopes": ["send", "read", "read"], "days": 2});
    for (path, user_id) in [("/api/v1/tokens", 7), ("/api/v1/bots/robin/tokens", BOT)] {
        let before = site.commands().len();
        let (status, answer) = site.call(&Method::POST, path, Some(asked.clone())).await;
        assert_eq!(status, 201, "{answer}");
        let made: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(made.get("hook").is_none(), "{made}");
        let token = ApiToken::parse(made["token"].as_str().unwrap()).expect("a token");
        assert_eq!(made["id"], token.session().to_string());
        let Some(Action::MakeToken(make)) = &site.commands()[before].action else { panic!("no token") };
        assert_eq!((make.user_id, make.label.as_str(), make.scopes), (user_id, "a laptop", 3));
        assert_eq!((make.lasts_ms, make.conversation_id), (2 * 86_400_000, 0));
        assert_eq!(&make.session_id[..], token.session().as_bytes());
        assert_eq!(make.secret_hash, token.secret_hash().to_vec());
    }
    let asked = json!({"label": "builds", "scopes": ["send"], "conversation": 3});
    let (status, answer) = site.call(&Method::POST, "/api/v1/bots/robin/tokens", Some(asked)).await;
    assert_eq!(status, 201, "{answer}");
    let made: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(made["hook"], format!("/api/v1/hooks/{}", made["token"].as_str().unwrap()));
}

/// Remembers what was done under which id, as replicas do.
fn remembering() -> impl Fn(&Command) -> Option<outcome::Result> + Send + Sync {
    let done = Mutex::new(HashMap::new());
    move |command| {
        let mut done = done.lock().unwrap();
        let before = done.entry(command.command_id.clone()).or_insert_with(|| command.action.clone());
        if *before == command.action {
            return makes_robin(command);
        }
        let message = "this client message id was used before for something else".into();
        let conflict = rpc::Rejected { code: "id_conflict".into(), message, revision: None };
        Some(outcome::Result::Rejected(conflict))
    }
}

#[tokio::test]
async fn what_is_made_again_under_its_key_is_the_same_bot_and_no_second_token() {
    let bots = site(own).await;
    bots.fake.set(|state| state.decides = Box::new(remembering()));
    for _ in 0..2 {
        let (status, answer) = bots.call(&Method::POST, "/api/v1/bots", Some(json!({"name": "robin"}))).await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(serde_json::from_str::<Value>(&answer).expect("JSON")["user"]["id"], BOT);
    }
    let tokens = site(own).await;
    tokens.fake.set(|state| state.decides = Box::new(remembering()));
    for (path, wanted) in
        [("/api/v1/tokens", 201), ("/api/v1/tokens", 409), ("/api/v1/bots/robin/tokens", 409)]
    {
        let asked = json!({"label": "a laptop", "scopes": ["read"]});
        let (status, answer) = tokens.call(&Method::POST, path, Some(asked)).await;
        assert_eq!(status, wanted, "{answer}");
        assert_eq!(status == 409, answer.contains("cannot be shown again"), "{answer}");
        assert!(status == 201 || !answer.contains("qbt_"), "{answer}");
    }
    let key = Uuid::from_u128(5);
    for command in bots.commands().iter().chain(&tokens.commands()) {
        assert_eq!(command.command_id, key.as_bytes()[..], "the caller's key is the command's id");
    }
}

/// An access token that a replica gives for a program's.
fn exchanged(token: &ApiToken, scope: u32, conv: u64) -> rpc::TokenResponse {
    let now = crate::clock::wall_ms() / 1_000;
    let claims = json!({"iss": ISSUER, "aud": "test", "sub": BOT.to_string(), "sid": token.session().to_string(),
                        "name": "robin", "iat": now, "exp": now + 60, "scope": scope, "conv": conv});
    let access_token = signed(&SigningKey::from_bytes(&[1; 32]), &claims);
    rpc::TokenResponse { access_token, ..rpc::TokenResponse::default() }
}

/// A site whose replica knows these tokens; the counter says how often it was asked for one.
pub(super) async fn with_tokens(tokens: Vec<(ApiToken, u32, u64)>) -> (Site, Arc<AtomicUsize>) {
    let site = site(|_| None).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    site.fake.set(|state| {
        state.token = Box::new(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            assert!(request.of_token && !request.read_only);
            let is_it = |(token, ..): &&(ApiToken, u32, u64)| {
                request.session_id == token.session().as_bytes()[..]
                    && request.refresh_secret == token.secret()[..]
            };
            let found = tokens.iter().find(is_it).map(|(token, scope, conv)| exchanged(token, *scope, *conv));
            found.ok_or_else(|| Status::unauthenticated("no such session"))
        });
    });
    (site, asked)
}

#[tokio::test]
async fn a_program_comes_in_by_its_token_and_wrong_ones_cost_little() {
    let good = ApiToken::new(Uuid::from_u128(5), [6; 32]);
    let (mut site, asked) = with_tokens(vec![(good.clone(), 3, 0)]).await;
    site.token = good.text();
    for _ in 0..5 {
        let (status, answer) =
            site.call(&Method::POST, "/api/v1/conversations/3/messages", Some(json!({"text": "beep"}))).await;
        assert_eq!(status, 201, "{answer}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "one question for all of them");
    let command = &site.commands()[0];
    assert_eq!((command.user_id, &command.session_id[..]), (BOT, &Uuid::from_u128(5).as_bytes()[..]));

    let before = asked.load(Ordering::Relaxed);
    let forged = ApiToken::new(Uuid::from_u128(5), [7; 32]).text();
    for wrong in [forged.clone(), forged.clone(), "qbt_nonsense".into(), good.text()[..67].to_owned()] {
        site.token = wrong;
        let (status, answer) = site.call(&Method::GET, "/api/v1/conversations", None).await;
        assert_eq!(status, 401, "{answer}");
        assert!(!answer.contains("qbt_"), "{answer}");
    }
    assert_eq!(
        asked.load(Ordering::Relaxed) - before,
        2,
        "believed only of who is sure, and then for a minute"
    );

    let stranger: IpAddr = [192, 0, 2, 1].into();
    let gateway = &site.gateway;
    for _ in 0..3 * gateway.config.account_calls_per_minute {
        let held =
            gateway.holder(Some(stranger), &forged).await.expect("a dead one that is known holds nobody up");
        assert!(held.is_err());
    }
    let mut limited = None;
    for number in 0..3 * u128::from(gateway.config.account_calls_per_minute) {
        let other = ApiToken::new(Uuid::from_u128(100 + number), [7; 32]).text();
        match gateway.holder(Some(stranger), &other).await {
            Ok(held) => assert!(held.is_err()),
            Err(error) => limited = limited.or(Some((number, error.code))),
        }
    }
    let (counted, code) = limited.expect("a bound of what is asked");
    assert_eq!(code, ErrorCode::RateLimited);
    assert!(counted >= 30, "{counted}");
    let held = gateway.holder(Some(stranger), &good.text()).await.expect("a good one is let in");
    assert!(held.is_ok());
}

#[tokio::test]
async fn files_are_for_tokens_of_their_scopes() {
    let tokens: Vec<ApiToken> = (1..=3).map(|n| ApiToken::new(Uuid::from_u128(n), [6; 32])).collect();
    let known = vec![(tokens[0].clone(), 1, 0), (tokens[1].clone(), 2, 0), (tokens[2].clone(), 2, 3)];
    let (mut site, _) = with_tokens(known).await;
    let file = format!("/api/v1/files/{}", Uuid::from_u128(8));
    let (content, chunk) = (format!("{file}/content"), format!("{file}/chunks/0"));
    for (token, method, path, refused) in [
        (0, &Method::GET, &content, false),
        (0, &Method::PUT, &chunk, true),
        (0, &Method::DELETE, &file, true),
        (1, &Method::GET, &content, true),
        (1, &Method::PUT, &chunk, true),
        (1, &Method::DELETE, &file, false),
        (2, &Method::GET, &content, true),
        (2, &Method::PUT, &chunk, true),
        (2, &Method::DELETE, &file, true),
    ] {
        site.token = tokens[token].text();
        let (status, answer) = site.call(method, path, None).await;
        assert_eq!(status == 403, refused, "{token} {method} {path}: {status} {answer}");
        if refused {
            assert!(answer.contains("token"), "{answer}");
        }
    }
}

#[tokio::test]
async fn an_incoming_webhook_needs_its_address_alone_and_says_nothing_of_wrong_ones() {
    let tokens: Vec<ApiToken> = (1..=2).map(|n| ApiToken::new(Uuid::from_u128(n), [6; 32])).collect();
    let (mut site, _) = with_tokens(vec![(tokens[0].clone(), 2, 3), (tokens[1].clone(), 3, 0)]).await;
    site.token = "no.token.atall".into();
    let post = async |token: &str, body: Value| {
        site.call(&Method::POST, &format!("/api/v1/hooks/{token}"), Some(body)).await
    };
    let text = || json!({"text": "build 5 is green"});
    let (status, answer) = post(&tokens[0].text(), text()).await;
    assert_eq!(status, 201, "{answer}");
    let command = site.commands().pop().expect("a command");
    let send = rpc::Send { conversation_id: 3, text: "build 5 is green".into(), ..Default::default() };
    assert_eq!(command.action, Some(Action::Send(send)));
    assert_eq!((command.user_id, &command.command_id[..]), (BOT, &Uuid::from_u128(5).as_bytes()[..]));
    assert_eq!(post(&tokens[0].text(), json!({"text": ""})).await.0, 422);
    assert_eq!(post(&tokens[0].text(), json!([1])).await.0, 400);

    let unknown = ApiToken::new(Uuid::from_u128(1), [7; 32]).text();
    let first = post("nonsense", text()).await;
    assert_eq!(first.0, 404);
    for wrong in [unknown.as_str(), "qbt_", &tokens[1].text(), "7"] {
        assert_eq!(post(wrong, text()).await, first, "{wrong}");
        assert_eq!(post(wrong, json!([1])).await, first, "{wrong}");
    }
    let ended =
        || rpc::Rejected { code: "unauthenticated".into(), message: "it was ended".into(), revision: None };
    site.fake.set(|state| state.decides = Box::new(move |_| Some(outcome::Result::Rejected(ended()))));
    assert_eq!(post(&tokens[0].text(), text()).await, first, "ended a moment ago");
}
