//! Bots over real processes: by their tokens over both protocols, told of what people say whoever dies, and saying what an address
//! alone lets say.

mod hooks;
mod receiver;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::{Member, wait_until};
use quorate_proto::rest::SessionGrant;
use quorate_tests::harness::{TestCluster, read};
use quorate_tests::scene::WAIT;
use serde_json::{Value, json};
use uuid::Uuid;

/// A call may wait for an election.
const CALL_WAIT: Duration = Duration::from_secs(20);

/// Two gateways, which may tell webhooks on this machine.
async fn cluster(name: &str) -> anyhow::Result<TestCluster> {
    let test = TestCluster::start_with(name, |mut spec| {
        spec.gateways = 2;
        let allowed = toml::Table::from_iter([("allow_addresses".to_owned(), vec!["127.0.0.0/8"].into())]);
        spec.gateway_keys.insert("hooks".to_owned(), allowed.into());
        spec
    });
    test.await?.upgraded().await
}

fn gateways(test: &TestCluster) -> anyhow::Result<Vec<SocketAddr>> {
    test.cluster.gateways().iter().map(|name| Ok(test.cluster.gateway_address(name)?)).collect()
}

/// One call, with a token of whatever kind if there is one.
async fn call(
    at: SocketAddr,
    token: Option<&str>,
    method: &'static str,
    path: &str,
    key: Option<Uuid>,
    body: Option<&Value>,
) -> anyhow::Result<(u16, Value)> {
    let mut call = Call::new(method, path).deadline(CALL_WAIT);
    if let Some(token) = token {
        call = call.header("authorization", format!("Bearer {token}"));
    }
    if let Some(key) = key {
        call = call.header("idempotency-key", key.to_string());
    }
    if let Some(body) = body {
        call = call.json(body);
    }
    let answer = call.send(at).await?;
    let text = String::from_utf8_lossy(answer.body());
    let json = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context("no JSON")? };
    Ok((answer.status().as_u16(), json))
}

/// A write under one key until it is decided, by whichever gateway lives; its answer.
async fn write(
    test: &TestCluster,
    token: &str,
    method: &'static str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let key = Uuid::now_v7();
    let ways = gateways(test)?;
    let mut tries = 0;
    Ok(wait_until(&format!("{method} {path}"), WAIT, || {
        let (at, body) = (ways[tries % ways.len()], body.as_ref());
        tries += 1;
        async move {
            match call(at, Some(token), method, path, Some(key), body).await {
                Ok((200..=299, answer)) => Ok(answer),
                Ok((status, answer)) => Err(format!("{status} {answer}")),
                Err(error) => Err(format!("{error:#}")),
            }
        }
    })
    .await?)
}

/// A bot of hers by the name of robin, in a conversation.
async fn robin(test: &TestCluster, owner: &SessionGrant, room: u64) -> anyhow::Result<u64> {
    let made =
        write(test, &owner.access_token, "POST", "/api/v1/bots", Some(json!({"name": "robin"}))).await?;
    let members = format!("/api/v1/conversations/{room}/members");
    write(test, &owner.access_token, "POST", &members, Some(json!({"user": "robin"}))).await?;
    made["user"]["id"].as_u64().with_context(|| format!("no bot: {made}"))
}

/// A token of robin's; its text and its id.
async fn token(test: &TestCluster, owner: &SessionGrant, asked: Value) -> anyhow::Result<(String, String)> {
    let made = write(test, &owner.access_token, "POST", "/api/v1/bots/robin/tokens", Some(asked)).await?;
    let text =
        |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {made}"));
    Ok((text("token")?, text("id")?))
}

/// No panic, no answer that the document does not know, and nobody's secret in a log.
fn nothing_broke(test: &TestCluster) -> anyhow::Result<()> {
    let mut members: Vec<Member> = test.cluster.gateways().into_iter().map(Member::Gateway).collect();
    members.extend(test.cluster.replica_ids().into_iter().map(Member::Replica));
    for member in members {
        let log = read(&test.cluster.log(&member))?;
        for word in ["panicked", "an undocumented status", "qbt_", "whsec_"] {
            ensure!(!log.contains(word), "{member} said {word:?}");
        }
    }
    Ok(())
}
