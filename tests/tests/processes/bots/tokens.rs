//! Tokens: over both protocols, within their scopes, until they end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::wait_until;
use quorate_proto::frame::{Body, EventKind, PresenceState, Request, SendMessage};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::rest::SessionGrant;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::{
    self, Command, MakeToken, SubmitBatch, SubmitItem, TokenScope, command, submit_result,
};
use quorate_tests::client::{Received, Socket, rest};
use quorate_tests::harness::TestCluster;
use quorate_tests::load::make_group;
use quorate_tests::scene::{WAIT, leader};
use quorate_tls::Role;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{call, cluster, gateways, nothing_broke, robin, token, write};

/// A token that was ended closes its sockets within this.
const ENDED_WAIT: Duration = Duration::from_secs(2);
/// Times that this is tried: a machine that stands still for a moment makes one late, not three.
const TRIES: usize = 3;
/// And each is closed within this: sooner than its token would be looked at again.
const ENDED_LATE_WAIT: Duration = Duration::from_secs(20);
/// A token that ended by itself is noticed by its socket within this: a minute, and what two cores under load add.
const EXPIRED_WAIT: Duration = Duration::from_secs(90);
/// Life of a token that ends by itself, by log time, ms: long enough to open a socket with it.
const LASTS_MS: u64 = 15_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_acts_by_its_token_within_its_scopes_until_it_is_ended() -> anyhow::Result<()> {
    let test = cluster("bots-tokens").await?;
    let result = story(&test).await;
    test.finish(result).await
}

async fn story(test: &TestCluster) -> anyhow::Result<()> {
    let ways = gateways(test)?;
    let ana = rest::sign_up(ways[0], "ana").await?;
    let room = make_group(ways[0], "Builds", &[&ana]).await?;
    robin(test, &ana, room).await?;
    let expiring = expiring(test, &ana).await?;

    let (both, id) = token(test, &ana, json!({"label": "both", "scopes": ["read", "send"]})).await?;
    let mut socket = over_the_socket(ways[1], &both, &ana, ways[0], room).await?;
    within_scopes(test, &ana, &both, room).await?;
    // Ended through the other gateway: its socket is closed, and it is good for nothing.
    let mut took = closed_after_its_end(test, &ana, &id, &mut socket).await?;
    for _ in 1..TRIES {
        if took < ENDED_WAIT {
            break;
        }
        let (text, id) = token(test, &ana, json!({"label": "another", "scopes": ["read"]})).await?;
        let mut socket = Socket::open(ways[1], None).await?;
        socket.hello(&text, None).await?;
        took = took.min(closed_after_its_end(test, &ana, &id, &mut socket).await?);
    }
    ensure!(took < ENDED_WAIT, "closed {took:?} after its end at best");
    for at in &ways {
        let messages = format!("/api/v1/conversations/{room}/messages");
        let body = json!({"text": "still here?"});
        let (status, answer) = call(*at, Some(&both), "POST", &messages, None, Some(&body)).await?;
        ensure!(status == 401, "{status} {answer}");
    }
    a_deleted_bot_is_refused(test, &ana, room).await?;
    over(test, expiring, room).await?;
    nothing_broke(test)
}

/// Ends a token of robin's: how long its socket was open after that.
async fn closed_after_its_end(
    test: &TestCluster,
    ana: &SessionGrant,
    id: &str,
    socket: &mut Socket,
) -> anyhow::Result<Duration> {
    write(test, &ana.access_token, "DELETE", &format!("/api/v1/bots/robin/tokens/{id}"), None).await?;
    let ended = Instant::now();
    let code = closed(socket, ENDED_LATE_WAIT).await?;
    ensure!(code == 4403, "closed with {code}");
    println!("closed {:?} after it was ended", ended.elapsed());
    Ok(ended.elapsed())
}

/// Hears what people say, says something, and is seen as a bot.
async fn over_the_socket(
    at: SocketAddr,
    token: &str,
    ana: &SessionGrant,
    her: SocketAddr,
    room: u64,
) -> anyhow::Result<Socket> {
    let mut socket = Socket::open(at, None).await?;
    let welcome = socket.hello(token, None).await?;
    ensure!(welcome.user.bot && welcome.user.name == "robin", "{welcome:?}");
    let messages = format!("/api/v1/conversations/{room}/messages");
    let body = json!({"text": "hello, robin"});
    let (status, sent) = call(her, Some(&ana.access_token), "POST", &messages, None, Some(&body)).await?;
    ensure!(status == 201, "{status} {sent}");
    let heard = timeout(WAIT, async {
        loop {
            match socket.next().await {
                Received::Frame(frame) => {
                    if let Body::Event(event) = frame.body
                        && let EventKind::Message(message) = event.kind
                    {
                        return Ok(message);
                    }
                }
                Received::Closed(farewell) => bail!("closed: {farewell:?}"),
            }
        }
    });
    let heard = heard.await.context("the bot hears nothing")??;
    ensure!(heard.text == "hello, robin" && !heard.from.bot, "{heard:?}");
    let send = SendMessage {
        conversation: room,
        client_message_id: ClientMessageId(Uuid::now_v7()),
        text: "beep".to_owned(),
        reply_to: Some(heard.sequence),
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    let id = socket.request(Request::Send(send)).await?;
    let ack = match socket.answer(id).await? {
        Body::Ack(ack) => ack,
        other => bail!("no ack: {other:?}"),
    };
    // Said through another gateway, of which hers need not have heard yet.
    let page = format!("{messages}?min_index={}", ack.index);
    let (status, page) = call(her, Some(&ana.access_token), "GET", &page, None, None).await?;
    ensure!(status == 200, "{status} {page}");
    let newest = page["messages"].as_array().and_then(|all| all.last()).context("a page")?;
    ensure!(newest["text"] == "beep" && newest["from"]["bot"] == true, "{newest}");
    Ok(socket)
}

async fn within_scopes(test: &TestCluster, ana: &SessionGrant, both: &str, room: u64) -> anyhow::Result<()> {
    let at = gateways(test)?[0];
    let (read, _) = token(test, ana, json!({"label": "read", "scopes": ["read"]})).await?;
    let (send, _) = token(test, ana, json!({"label": "send", "scopes": ["send"]})).await?;
    let messages = format!("/api/v1/conversations/{room}/messages");
    let text = Some(json!({"text": "by REST"}));
    let group = Some(json!({"kind": "group", "title": "Mine", "members": []}));
    let new = Some(json!({"label": "more", "scopes": ["read"]}));
    let code = "abcdefghijklmnopqrstuv";
    for (who, method, path, body, wanted) in [
        (&read, "GET", "/api/v1/conversations", None, 200),
        (&read, "GET", messages.as_str(), None, 200),
        (&read, "POST", &messages, text.clone(), 403),
        (&send, "POST", &messages, text, 201),
        (&send, "GET", &messages, None, 403),
        (&send, "GET", "/api/v1/conversations", None, 403),
        (&both.to_owned(), "POST", "/api/v1/conversations", group, 403),
        // Whatever its scopes.
        (&both.to_owned(), "GET", "/api/v1/bots", None, 403),
        (&both.to_owned(), "GET", "/api/v1/sessions", None, 403),
        (&both.to_owned(), "POST", "/api/v1/tokens", new, 403),
        (&both.to_owned(), "DELETE", "/api/v1/sessions", None, 403),
        (&both.to_owned(), "PATCH", "/api/v1/me", Some(json!({"status": "mine"})), 403),
        (&both.to_owned(), "DELETE", "/api/v1/me", Some(json!({"password": rest::PASSWORD})), 403),
        (&both.to_owned(), "GET", "/api/v1/admin/users", None, 403),
        (
            &both.to_owned(),
            "PUT",
            "/api/v1/recovery-codes",
            Some(json!({"password": rest::PASSWORD, "codes": [code]})),
            403,
        ),
    ] {
        let (status, answer): (u16, Value) = call(at, Some(who), method, path, None, body.as_ref()).await?;
        ensure!(status == wanted, "{method} {path}: {status} {answer}, not {wanted}");
    }
    // A socket is for hearing; a signal is something said.
    let mut refused = Socket::open(at, None).await?;
    ensure!(refused.hello(&send, None).await.is_err(), "a socket without the scope read");
    let mut socket = Socket::open(at, None).await?;
    socket.hello(&read, None).await?;
    let id = socket.request(Request::Presence { state: PresenceState::Active }).await?;
    match socket.answer(id).await? {
        Body::Error { error } => {
            ensure!(error.code == quorate_proto::error::ErrorCode::Forbidden, "{error:?}")
        }
        other => bail!("presence without the scope send: {other:?}"),
    }
    socket.close().await;
    Ok(())
}

/// The code with which a socket is closed in time.
async fn closed(socket: &mut Socket, wait: Duration) -> anyhow::Result<u16> {
    let close = async {
        loop {
            match socket.next().await {
                Received::Frame(frame) => {
                    if let Body::Ping { n, .. } = frame.body {
                        socket.request(Request::Pong { n }).await?;
                    }
                }
                Received::Closed(farewell) => return farewell.code.context("no close code"),
            }
        }
    };
    timeout(wait, close).await.context("not closed in time")?
}

async fn a_deleted_bot_is_refused(test: &TestCluster, ana: &SessionGrant, room: u64) -> anyhow::Result<()> {
    let (text, _) = token(test, ana, json!({"label": "left", "scopes": ["read", "send"]})).await?;
    let at = gateways(test)?[0];
    let messages = format!("/api/v1/conversations/{room}/messages");
    let body = json!({"text": "once"});
    let (status, answer) = call(at, Some(&text), "POST", &messages, None, Some(&body)).await?;
    ensure!(status == 201, "{status} {answer}");
    write(test, &ana.access_token, "DELETE", "/api/v1/bots/robin", None).await?;
    wait_until("a deleted bot to be refused", WAIT, || async {
        match call(at, Some(&text), "POST", &messages, None, Some(&body)).await {
            Ok((401, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

/// A token of ana's own that ends by itself soon, and a socket by it. REST knows days: it is made past the gateways.
async fn expiring(test: &TestCluster, ana: &SessionGrant) -> anyhow::Result<(String, Socket)> {
    use base64::Engine as _;
    let (session, secret) =
        (Uuid::new_v4(), [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat());
    let secret_hash = blake3::hash(&secret).as_bytes().to_vec().into();
    let make = MakeToken {
        user_id: ana.user.id,
        session_id: session.as_bytes().to_vec().into(),
        secret_hash,
        label: "soon over".to_owned(),
        scopes: TokenScope::Read as u32 | TokenScope::Send as u32,
        lasts_ms: LASTS_MS,
        conversation_id: 0,
    };
    submit(test, ana, command::Action::MakeToken(make)).await?;
    let bytes = [&session.as_bytes()[..], &secret].concat();
    let text = format!("qbt_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes));
    let mut socket = Socket::open(gateways(test)?[1], None).await?;
    socket.hello(&text, None).await?;
    Ok((text, socket))
}

async fn submit(test: &TestCluster, who: &SessionGrant, action: command::Action) -> anyhow::Result<()> {
    let command = Command {
        user_id: who.user.id,
        session_id: Uuid::parse_str(&who.session)?.as_bytes().to_vec().into(),
        command_id: Uuid::now_v7().as_bytes().to_vec().into(),
        action: Some(action),
        ..Command::default()
    };
    let command: hyper::body::Bytes = prost::Message::encode_to_vec(&command).into();
    Ok(wait_until("a command to be applied", WAIT, || async {
        let (leads, _) = leader(test).await.map_err(|error| error.to_string())?;
        let channel = test.channel(leads, Role::Gateway).map_err(|error| error.to_string())?;
        let item = SubmitItem { request_id: 1, command: command.clone(), ..SubmitItem::default() };
        // The stream stays open until the answer is there.
        let batches = futures_util::StreamExt::chain(
            futures_util::stream::iter([SubmitBatch { items: vec![item] }]),
            futures_util::stream::pending(),
        );
        let call = test.call(batches).map_err(|error| error.to_string())?;
        let answers = ChatClient::new(channel).submit(call).await.map_err(|status| status.to_string())?;
        let answer = answers.into_inner().message().await.map_err(|status| status.to_string())?;
        match answer.and_then(|answer| answer.items.into_iter().next()).and_then(|item| item.result) {
            Some(submit_result::Result::Outcome(outcome)) => match outcome.result {
                Some(rpc::outcome::Result::Done(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            },
            other => Err(format!("{other:?}")),
        }
    })
    .await?)
}

/// It is over: refused by the replicas at once, and its socket closed when it is looked at again.
async fn over(test: &TestCluster, expiring: (String, Socket), room: u64) -> anyhow::Result<()> {
    let (text, mut socket) = expiring;
    let at = gateways(test)?[0];
    let messages = format!("/api/v1/conversations/{room}/messages");
    // Also where the gateway still knows it as good: its own entry brings log time along.
    wait_until("a token to end by itself", WAIT, || async {
        match call(at, Some(&text), "POST", &messages, None, Some(&json!({"text": "still here?"}))).await {
            Ok((401, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let code = closed(&mut socket, EXPIRED_WAIT).await?;
    ensure!(code == 4401, "closed with {code}");
    Ok(())
}
