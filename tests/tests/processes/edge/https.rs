//! TLS from browsers on: through the balancer and to each gateway, with the certificates that `deploy/up --tls` makes.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use quorate_cluster::http::Call;
use quorate_cluster::{Balancer, wait_until};
use quorate_proto::rest::SignUp;
use quorate_tests::client::rest::PASSWORD;
use quorate_tests::harness::TestCluster;
use quorate_tests::skip::skip;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::CALL_WAIT;

#[tokio::test(flavor = "multi_thread")]
async fn browsers_come_by_tls_through_the_balancer_and_to_each_gateway() -> anyhow::Result<()> {
    let has_balancer = Balancer::if_installed() != Balancer::None;
    if !has_balancer {
        skip("browsers_come_by_tls_through_the_balancer_and_to_each_gateway", "HAProxy is not installed");
        return Ok(());
    }
    let test = TestCluster::start_with("edge-tls", |mut spec| {
        spec.replicas = Some(3);
        spec.gateways = 2;
        spec.edge_tls = true;
        spec
    })
    .await?;
    let result = over_tls(&test).await;
    test.finish(result).await
}

async fn over_tls(test: &TestCluster) -> anyhow::Result<()> {
    let trust = test.cluster.edge_trust()?.context("the cluster has certificates for browsers")?;
    let front = test.cluster.front();
    let sign_up = SignUp { name: "ana".into(), password: PASSWORD.into(), display_name: None, device: None };
    let call = || Call::new("POST", "/api/v1/accounts").json(&sign_up).deadline(CALL_WAIT);
    let answer = call().over(Some(Arc::clone(&trust))).send(front).await?;
    ensure!(answer.status() == 201, "{}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    let cookie = answer.headers().get("set-cookie").context("a cookie")?.to_str()?;
    ensure!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    let grant: Value = serde_json::from_slice(answer.body())?;
    let token = grant["access_token"].as_str().context("a token")?;

    let mut doors = vec![front];
    for name in test.cluster.gateways() {
        doors.push(test.cluster.gateway_address(&name)?);
    }
    for door in doors {
        ensure!(call().send(door).await.is_err(), "{door} answered plain HTTP");
        let welcome = hello(door, Arc::clone(&trust), token).await.with_context(|| format!("at {door}"))?;
        ensure!(welcome["type"] == "welcome", "{welcome}");
    }
    wait_until("the runner to see that every gateway is ready", CALL_WAIT, || async {
        let status = test.cluster.status().await.map_err(|error| error.to_string())?;
        let states: Vec<String> = status.gateways.iter().map(|gateway| gateway.state.clone()).collect();
        if states.iter().all(|state| state == "ready") { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await?;
    Ok(())
}

async fn hello(door: std::net::SocketAddr, trust: Arc<ClientConfig>, token: &str) -> anyhow::Result<Value> {
    let stream = TcpStream::connect(door).await?;
    let stream = TlsConnector::from(trust).connect(ServerName::try_from("localhost")?, stream).await?;
    let mut request = format!("wss://localhost:{}/ws", door.port()).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "quorate.v1.json".parse()?);
    request.headers_mut().insert("origin", format!("https://localhost:{}", door.port()).parse()?);
    let (mut socket, _) = client_async(request, stream).await?;
    socket.send(Message::text(json!({"type": "hello", "id": 1, "token": token}).to_string())).await?;
    let first =
        tokio::time::timeout(CALL_WAIT, socket.next()).await.context("no answer")?.context("an end")??;
    Ok(serde_json::from_str(first.to_text()?)?)
}
