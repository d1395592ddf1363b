//! REST and the socket are two doors to one room: the same commands, ids, refusals and indexes.

use anyhow::{Context as _, ensure};
use quorate_cluster::wait_until;
use quorate_proto::frame::{Body, EventKind};
use quorate_tests::client::{Received, Socket, rest};
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::WAIT;
use serde_json::json;
use uuid::Uuid;

use super::{CALL_WAIT, call, cluster, gateway, logs, nothing_broke};

/// Found nowhere but in what is sent here.
const SECRET: &str = "zqxsecretjqz";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_by_rest_is_written_once_and_seen_by_all() -> anyhow::Result<()> {
    let test = cluster("rest", toml::Table::new()).await?;
    let result = story(&test).await;
    test.finish(result).await
}

async fn story(test: &TestCluster) -> anyhow::Result<()> {
    let (a, b) = (gateway(test, "a")?, gateway(test, "b")?);
    let ana = rest::sign_up(a, "ana").await?;
    let bob = rest::sign_up(b, "bob").await?;
    let eve = rest::sign_up(a, "eve").await?;
    let (ana, bob, eve) = (ana.access_token.as_str(), bob.access_token.as_str(), eve.access_token.as_str());

    let (status, me) = call(b, ana, "GET", "/api/v1/me", None, None).await?;
    ensure!(status == 200 && me["user"]["name"] == "ana", "{status} {me}");

    // A group, made twice under one key through two gateways, is one group.
    let key = Uuid::now_v7().to_string();
    let group = json!({"kind": "group", "title": "Lunch", "members": ["bob"]});
    let (status, made) =
        call(a, ana, "POST", "/api/v1/conversations", Some(&key), Some(group.clone())).await?;
    ensure!(status == 201 && made["type"] == "ack" && made["replay"] == false, "{status} {made}");
    let (status, again) = call(b, ana, "POST", "/api/v1/conversations", Some(&key), Some(group)).await?;
    ensure!(status == 201 && again["replay"] == true, "{status} {again}");
    ensure!(
        again["conversation"] == made["conversation"] && again["index"] == made["index"],
        "{made} {again}"
    );
    let room = made["conversation"].as_u64().context("a number")?;
    let at = |rest: &str| format!("/api/v1/conversations/{room}{rest}");

    let mut socket = Socket::open(b, None).await?;
    socket.hello(bob, None).await?;
    let key = Uuid::now_v7().to_string();
    let text = json!({ "text": SECRET });
    let (status, sent) = call(a, ana, "POST", &at("/messages"), Some(&key), Some(text.clone())).await?;
    ensure!(status == 201 && sent["client_message_id"] == key.as_str(), "{status} {sent}");
    let seen = tokio::time::timeout(CALL_WAIT, async {
        loop {
            match socket.next().await {
                Received::Frame(frame) => match frame.body {
                    Body::Event(event) if matches!(&event.kind, EventKind::Message(m) if m.text == SECRET) => {
                        return Ok(event.index);
                    }
                    _ => {}
                },
                Received::Closed(farewell) => anyhow::bail!("closed: {farewell:?}"),
            }
        }
    });
    ensure!(
        sent["index"] == seen.await.context("bob saw nothing")??,
        "the event stands elsewhere than the ack says"
    );
    let (status, again) = call(b, ana, "POST", &at("/messages"), Some(&key), Some(text)).await?;
    ensure!(
        status == 201 && again["replay"] == true && again["sequence"] == sent["sequence"],
        "{status} {again}"
    );
    let other = Some(json!({"text": "another text"}));
    let (status, conflict) = call(b, ana, "POST", &at("/messages"), Some(&key), other).await?;
    ensure!(status == 409 && conflict["error"]["code"] == "id_conflict", "{status} {conflict}");

    // An edit against a revision that is gone.
    let number = sent["sequence"].as_u64().context("a sequence")?;
    let path = at(&format!("/messages/{number}"));
    let edit = |text: &str| Some(json!({"text": text, "if_revision": 0}));
    // A young cluster edits once its leader has heard that every replica can.
    let edited = wait_until("an edit", WAIT, || async {
        let (status, said) =
            call(b, ana, "PUT", &path, None, edit("first")).await.map_err(|error| error.to_string())?;
        if status == 200 { Ok(said) } else { Err(format!("{status} {said}")) }
    })
    .await?;
    ensure!(edited["revision"] == 1, "{edited}");
    let (status, conflict) = call(a, ana, "PUT", &path, None, edit("second")).await?;
    ensure!(status == 409 && conflict["error"]["revision"] == 1, "{status} {conflict}");
    let (status, refused) = call(a, bob, "PUT", &path, None, edit("not mine")).await?;
    ensure!(status == 403, "{status} {refused}");

    // A read through the other gateway is as new as it is asked to be, and not from the future.
    let index = edited["index"].as_u64().context("an index")?;
    let (status, page) =
        call(a, bob, "GET", &at(&format!("/messages?min_index={index}&limit=1")), None, None).await?;
    ensure!(
        status == 200 && page["type"] == "page" && page["messages"][0]["text"] == "first",
        "{status} {page}"
    );
    ensure!(page["as_of_index"].as_u64() >= Some(index), "{page}");
    for path in ["/api/v1/me", "/api/v1/users", "/api/v1/conversations", &at(""), &at("/messages")] {
        let (status, refused) =
            call(a, ana, "GET", &format!("{path}?min_index=9000000000"), None, None).await?;
        ensure!(status == 422 && refused["error"]["code"] == "invalid", "{path}: {status} {refused}");
    }

    // Members: a stranger sees nothing, comes in, and goes.
    let (status, refused) = call(a, eve, "GET", &at(""), None, None).await?;
    ensure!(status == 403 || status == 404, "a stranger read: {status} {refused}");
    let (status, refused) = call(a, eve, "POST", &at("/messages"), None, Some(json!({"text": "hi"}))).await?;
    ensure!(status == 403 || status == 404, "a stranger wrote: {status} {refused}");
    let (status, added) = call(a, ana, "POST", &at("/members"), None, Some(json!({"user": "eve"}))).await?;
    ensure!(status == 200, "{status} {added}");
    let index = added["index"].as_u64().context("an index")?;
    let (status, one) = call(b, eve, "GET", &at(&format!("?min_index={index}")), None, None).await?;
    ensure!(status == 200 && one["conversation"]["member_count"] == 3, "{status} {one}");
    let (status, marked) =
        call(b, bob, "PUT", &at("/read"), None, Some(json!({ "sequence": number }))).await?;
    ensure!(status == 200, "{status} {marked}");
    let index = marked["index"].as_u64().context("an index")?;
    let (status, list) =
        call(a, bob, "GET", &format!("/api/v1/conversations?min_index={index}"), None, None).await?;
    let row = &list["conversations"][0];
    ensure!(status == 200 && row["read"] == number && row["unread"] == 0, "{status} {list}");
    let (status, left) = call(a, eve, "DELETE", &at("/members/eve"), None, None).await?;
    ensure!(status == 200, "{status} {left}");
    let direct = Some(json!({"kind": "direct", "user": "bob"}));
    let (status, direct) = call(a, eve, "POST", "/api/v1/conversations", None, direct).await?;
    ensure!(status == 201 && direct["conversation"].as_u64() > Some(room), "{status} {direct}");
    let nobody = Some(json!({"kind": "direct", "user": "nobody"}));
    let (status, nobody) = call(a, eve, "POST", "/api/v1/conversations", None, nobody).await?;
    ensure!(status == 404, "{status} {nobody}");

    // The log says who called what, and nothing of what was said.
    call(a, ana, "GET", &format!("/api/v1/users?pattern={SECRET}"), None, None).await?;
    let log = logs(test)?;
    let line = log
        .lines()
        .filter(|line| line.contains("POST") && line.contains("/api/v1/conversations/{id}/messages"))
        .find(|line| line.contains("status=201"));
    let line = line.context("no line of the access log")?;
    for field in ["user_id=1", "ms=", "bytes="] {
        ensure!(line.contains(field), "no {field}: {line}");
    }
    for secret in [SECRET, ana, bob, eve, rest::PASSWORD] {
        ensure!(!log.contains(secret), "the log holds {secret:?}");
    }
    nothing_broke(test)
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_said_who_they_are_leave_room_for_others_of_their_address() -> anyhow::Result<()> {
    let keys = toml::toml! {
        strangers_per_address_max = 4
        trusted_balancers = []
        access_log = false
    };
    let test = cluster("strangers-limit", keys).await?;
    let result = room_for_others(&test).await;
    test.finish(result).await
}

async fn room_for_others(test: &TestCluster) -> anyhow::Result<()> {
    let a = gateway(test, "a")?;
    let ana = rest::sign_up(a, "ana").await?;
    let mut inside = Vec::new();
    for _ in 0..10 {
        let mut socket = Socket::open(a, None).await?;
        socket.hello(&ana.access_token, None).await?;
        inside.push(socket);
    }
    let mut strangers = Vec::new();
    for _ in 0..4 {
        strangers.push(Socket::open(a, None).await?);
    }
    ensure!(Socket::open(a, None).await.is_err(), "a fifth stranger came in");
    ensure!(!logs(test)?.contains("quorate_gateway::access"), "there is an access log although it is off");
    Ok(())
}
