//! The gateway as others meet it: REST, slow clients, nonsense, a client in another language; real processes throughout.
//!
//! Long forms: `QUORATE_FUZZ_INPUTS` (10^6 is the measure) and `QUORATE_FUZZ_SEED` for [`fuzz`], `QUORATE_SLOW_CLIENTS`
//! for [`slow`].

mod client;
mod fuzz;
mod https;
mod rest;
mod slow;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use quorate_cluster::http::Call;
use quorate_cluster::{Balancer, Member};
use quorate_tests::harness::{TestCluster, read};
use serde_json::Value;
use uuid::Uuid;

/// A call that may wait for an election.
const CALL_WAIT: Duration = Duration::from_secs(20);

/// Three replicas and two gateways, without a balancer: the gateways themselves are what is tested.
async fn cluster(name: &str, keys: toml::Table) -> anyhow::Result<TestCluster> {
    TestCluster::start_with(name, |mut spec| {
        spec.replicas = Some(3);
        spec.gateways = 2;
        spec.balancer = Balancer::None;
        spec.gateway_keys.extend(keys);
        spec
    })
    .await
}

/// A gateway.
fn gateway(test: &TestCluster, name: &str) -> anyhow::Result<SocketAddr> {
    Ok(test.cluster.gateway_address(name)?)
}

/// One call with a token; its status and body. Made again under its key where the answer is that nobody leads just now.
async fn call(
    at: SocketAddr,
    token: &str,
    method: &'static str,
    path: &str,
    key: Option<&str>,
    body: Option<Value>,
) -> anyhow::Result<(u16, Value)> {
    let key = key.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let mut call = Call::new(method, path).header("authorization", format!("Bearer {token}"));
    call = call.header("idempotency-key", key).deadline(CALL_WAIT);
    if let Some(body) = body {
        call = call.json(&body);
    }
    let until = Instant::now() + CALL_WAIT;
    loop {
        let answer = call.clone().send(at).await?;
        let text = String::from_utf8_lossy(answer.body());
        let json =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context("no JSON")? };
        let is_leaderless = answer.status() == 503 && json["error"]["code"] == "unavailable";
        if !is_leaderless || Instant::now() >= until {
            return Ok((answer.status().as_u16(), json));
        }
        tokio::time::sleep(Duration::from_millis(json["error"]["retry_ms"].as_u64().unwrap_or(200))).await;
    }
}

/// What both gateways have said so far.
fn logs(test: &TestCluster) -> anyhow::Result<String> {
    let mut all = String::new();
    for name in test.cluster.gateways() {
        all.push_str(&read(&test.cluster.log(&Member::Gateway(name)))?);
    }
    Ok(all)
}

/// No panic, and no answer that the document does not know.
fn nothing_broke(test: &TestCluster) -> anyhow::Result<()> {
    let mut all = logs(test)?;
    for id in test.cluster.replica_ids() {
        all.push_str(&read(&test.cluster.log(&Member::Replica(id)))?);
    }
    for line in all.lines() {
        anyhow::ensure!(!line.contains("panicked at"), "a panic: {line}");
        anyhow::ensure!(!line.contains("an undocumented status"), "{line}");
    }
    Ok(())
}
