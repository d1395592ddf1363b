//! Refresh secrets that follow each other, and reading on without a majority.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Action, Body, DoCommand, Request};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Received, Socket};
use quorate_tests::harness::TestCluster;
use quorate_tests::load;
use quorate_tests::scene::{caught_up, states_agree};
use uuid::Uuid;

use super::device::{Device, closed};
use super::{WAIT, start};

const PASSWORD: &str = "correct horse battery";

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_refresh_secret_ends_the_session_and_two_windows_at_once_do_not() -> anyhow::Result<()> {
    let test = start("accounts-refresh", |spec| spec).await?;
    let result = async {
        rotation(&test).await?;
        without_a_majority(&test).await
    }
    .await;
    test.finish(result).await
}

fn gateways(test: &TestCluster) -> anyhow::Result<Vec<SocketAddr>> {
    let names = test.cluster.gateways();
    Ok(names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<_, _>>()?)
}

async fn rotation(test: &TestCluster) -> anyhow::Result<()> {
    let gateways = gateways(test)?;
    let mut device = Device::sign_up(gateways[0], "ana", PASSWORD).await?;
    // Two windows share the browser's cookie and refresh at once, through whichever gateway: both get the same next one.
    for _ in 0..5 {
        let before = device.clone();
        let (one, two) = tokio::join!(before.try_refresh(gateways[0]), before.try_refresh(gateways[1]));
        let (one, two) = (one?.expect(200)?, two?.expect(200)?);
        let cookies = [one.cookie.context("a cookie")?, two.cookie.context("a cookie")?];
        ensure!(cookies[0] == cookies[1] && cookies[0] != before.cookie, "two windows, two secrets");
        device.cookie.clone_from(&cookies[0]);
        for answer in [one.body, two.body] {
            let grant: SessionGrant = serde_json::from_slice(&answer)?;
            ensure!(!grant.read_only && grant.session == device.grant.session, "{grant:?}");
            Device { grant, ..device.clone() }.sessions(gateways[2]).await?;
        }
    }
    // Somebody copied the cookie; the owner goes on; then the copy is used.
    let copy = device.clone();
    device.refresh(gateways[0]).await?;
    device.refresh(gateways[1]).await?;
    // Now it looks like a request that was held up, which ends nothing.
    let held_up = copy.try_refresh(gateways[2]).await?.expect(503)?;
    ensure!(held_up.code() == Some(ErrorCode::Unavailable) && held_up.cookie.is_none(), "{held_up:?}");
    device.refresh(gateways[0]).await?;
    let mut socket = device.connect(gateways[2]).await?;
    copy.try_refresh(gateways[2]).await?.expect(401)?;
    ensure!(closed(&mut socket).await? == 4403, "another close code");
    device.is_out(gateways[1]).await?;
    device.try_refresh(gateways[0]).await?.expect(401)?;
    let logs = test.cluster.gateways().into_iter().map(|name| test.cluster.log(&Member::Gateway(name)));
    let mut told = 0;
    for log in logs {
        told += std::fs::read_to_string(log)?.matches("shown again after it was replaced").count();
    }
    ensure!(told == 1, "the log tells of it {told} times");
    // Nonsense ends nobody's session.
    let other = Device::sign_up(gateways[0], "bob", PASSWORD).await?;
    let session = &other.grant.session;
    for cookie in [
        format!("quorate_refresh={session}.{}", "A".repeat(64)),
        format!("quorate_refresh={session}.{}", "A".repeat(43)),
        "quorate_refresh=x".to_owned(),
    ] {
        Device { cookie, ..other.clone() }.try_refresh(gateways[1]).await?.expect(401)?;
    }
    other.sessions(gateways[0]).await?;
    Ok(())
}

fn create_group() -> Request {
    Request::Do(DoCommand {
        client_message_id: ClientMessageId(Uuid::now_v7()),
        first_sent: 0,
        command: Action::CreateGroup {
            title: "room".to_owned(),
            members: Vec::new(),
            topic: String::new(),
            public: false,
            announcement: false,
        },
    })
}

async fn answer(socket: &mut Socket, id: u64) -> anyhow::Result<Body> {
    let wait = async {
        loop {
            match socket.next().await {
                Received::Frame(frame) if frame.reply == Some(id) => return Ok(frame.body),
                Received::Frame(_) => {}
                Received::Closed(farewell) => bail!("closed: {farewell:?}"),
            }
        }
    };
    tokio::time::timeout(WAIT, wait).await.context("no answer")?
}

async fn without_a_majority(test: &TestCluster) -> anyhow::Result<()> {
    let gateways = gateways(test)?;
    let mut device = Device::sign_up(gateways[0], "cleo", PASSWORD).await?;
    let room = load::make_group(gateways[0], "room", &[&device.grant]).await?;
    // Those that stay must know the room: what they have not applied nobody can tell them. That states agree is said of an index
    // that all have reached, so it is not enough.
    for replica in 4..=test.cluster.replicas() {
        caught_up(test, replica).await?;
    }
    states_agree(test).await?;
    for replica in 1..=3 {
        test.cluster.kill(&Member::Replica(replica)).await?;
    }
    // Reading goes on after a reload, at every gateway; the cookie stays as it was. An idle gateway learns by trying that
    // nothing can be committed.
    let before = device.cookie.clone();
    let (one, two, three) = tokio::join!(
        device.try_refresh(gateways[0]),
        device.try_refresh(gateways[1]),
        device.try_refresh(gateways[2])
    );
    for (gateway, answer) in gateways.iter().zip([one?, two?, three?]) {
        let answer = answer.expect(200)?;
        ensure!(answer.cookie.is_none(), "a secret was consumed");
        device.grant = serde_json::from_slice(&answer.body)?;
        ensure!(device.grant.read_only, "{:?}", device.grant);
        let page = format!("/api/v1/conversations/{room}/messages");
        device.ask(*gateway, "GET", &page).await?.expect(200)?;
    }
    let life_ms = device.grant.expires_at.saturating_sub(wall_ms());
    ensure!(life_ms <= 300_000 + 30_000, "the token lives {life_ms} ms");
    let mut socket = device.connect(gateways[0]).await?;
    let id = socket.request(create_group()).await?;
    match answer(&mut socket, id).await? {
        Body::Error { error } => {
            ensure!(error.code == ErrorCode::Unavailable && error.temporary, "{error:?}");
        }
        other => bail!("a token that reads only made a group: {other:?}"),
    }
    let refused = device.ask(gateways[1], "DELETE", "/api/v1/sessions").await?;
    ensure!(refused.status == 503, "{refused:?}");
    // With a majority the socket asks for another token, and the secret that nothing has consumed brings it.
    for replica in 1..=3 {
        test.cluster.start_member(&Member::Replica(replica))?;
    }
    ensure!(closed(&mut socket).await? == 4106, "another close code");
    // Each gateway learns for itself that there is one. The cookie from before is good for all: it brings the same next one.
    for gateway in &gateways {
        wait_until("a token that writes", WAIT, || async {
            let answer = device.try_refresh(*gateway).await.map_err(|error| error.to_string())?;
            let grant: SessionGrant = answer.json().map_err(|error| error.to_string())?;
            if grant.read_only { Err("still read-only".to_owned()) } else { Ok(()) }
        })
        .await?;
    }
    device.refresh(gateways[1]).await?;
    ensure!(device.cookie != before && !device.grant.read_only, "{:?}", device.grant);
    let mut socket = device.connect(gateways[2]).await?;
    let id = socket.request(create_group()).await?;
    ensure!(matches!(answer(&mut socket, id).await?, Body::Ack(_)), "no ack");
    Ok(())
}

fn wall_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
