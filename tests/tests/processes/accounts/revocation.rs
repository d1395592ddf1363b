//! A user's sessions: listed, ended one by one and all at once, on every gateway.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quorate_cluster::wait_until;
use quorate_proto::rest::{ClaimAdmin, SessionInfo};
use quorate_tests::harness::TestCluster;

use super::device::{Device, closed, try_sign_in};
use super::{WAIT, start};

const OLD: &str = "correct horse battery";
const NEW: &str = "staple and another";
/// All sockets of a session are closed so soon after it was ended.
const CLOSED_WAIT: Duration = Duration::from_secs(2);
/// Times that this is tried: a machine that stands still for a moment makes one late, not three.
const TRIES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_out_on_every_gateway_within_two_seconds() -> anyhow::Result<()> {
    let test = start("accounts-sessions", |spec| spec).await?;
    let result = sessions(&test).await;
    test.finish(result).await
}

/// Her sessions, once there are so many.
async fn listed(device: &Device, at: SocketAddr, count: usize) -> anyhow::Result<Vec<SessionInfo>> {
    let listed = wait_until(&format!("{count} sessions"), WAIT, || async {
        let listed = device.sessions(at).await.map_err(|error| error.to_string())?;
        if listed.len() == count { Ok(listed) } else { Err(format!("{listed:?}")) }
    })
    .await?;
    Ok(listed)
}

/// Ends a session of hers that has sockets on every gateway: how long until they were closed. It is out everywhere then.
async fn is_ended_everywhere(
    own: &Device,
    other: &Device,
    gateways: &[SocketAddr],
) -> anyhow::Result<Duration> {
    let mut sockets = Vec::new();
    for gateway in gateways {
        sockets.push(other.connect(*gateway).await?);
    }
    let path = format!("/api/v1/sessions/{}", other.grant.session);
    let ended = Instant::now();
    own.ask(gateways[0], "DELETE", &path).await?.expect(204)?;
    for socket in &mut sockets {
        ensure!(closed(socket).await? == 4403, "another close code");
    }
    let took = ended.elapsed();
    println!("a revoked session's sockets on three gateways were closed after {took:?}");
    for gateway in gateways {
        other.is_out(*gateway).await?;
        other.try_refresh(*gateway).await?.expect(401)?;
    }
    Ok(took)
}

async fn sessions(test: &TestCluster) -> anyhow::Result<()> {
    let names = test.cluster.gateways();
    let gateways =
        names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<Vec<_>, _>>()?;
    let own = Device::sign_up(gateways[0], "ana", OLD).await?;
    let stranger = Device::sign_up(gateways[0], "eve", OLD).await?;

    // One by one.
    let phone = Device::sign_in(gateways[1], "ana", OLD, "phone").await?;
    // The replica that this gateway asks may not know her newest session yet.
    let both = listed(&own, gateways[2], 2).await?;
    let shown: Vec<_> =
        both.iter().map(|each| (each.id.as_str(), each.device.as_str(), each.current)).collect();
    ensure!(
        shown
            == [(own.grant.session.as_str(), "first", true), (phone.grant.session.as_str(), "phone", false)],
        "{both:?}"
    );
    ensure!(both.iter().all(|each| each.created > 0 && each.refreshed >= each.created), "{both:?}");
    let path = format!("/api/v1/sessions/{}", phone.grant.session);
    stranger.ask(gateways[0], "DELETE", &path).await?.expect(404)?;
    let mut took = is_ended_everywhere(&own, &phone, &gateways).await?;
    for _ in 1..TRIES {
        if took < CLOSED_WAIT {
            break;
        }
        let another = Device::sign_in(gateways[1], "ana", OLD, "another").await?;
        took = took.min(is_ended_everywhere(&own, &another, &gateways).await?);
    }
    ensure!(took < CLOSED_WAIT, "closed after {took:?} at best");
    own.ask(gateways[0], "DELETE", &path).await?.expect(204)?;

    // All others at once; then by another password, which needs the old one.
    let mut own_socket = own.connect(gateways[1]).await?;
    for round in ["others", "password"] {
        let mut others = Vec::new();
        for gateway in &gateways {
            let device = Device::sign_in(*gateway, "ana", OLD, round).await?;
            let socket = device.connect(*gateway).await?;
            others.push((device, socket));
        }
        let ended = Instant::now();
        if round == "others" {
            own.ask(gateways[2], "DELETE", "/api/v1/sessions").await?.expect(204)?;
        } else {
            own.set_password(gateways[0], "not my password", NEW).await?.expect(403)?;
            own.set_password(gateways[0], OLD, "short").await?.expect(422)?;
            own.set_password(gateways[2], OLD, NEW).await?.expect(204)?;
            // Its answer was lost, and it is asked again.
            own.set_password(gateways[0], OLD, NEW).await?.expect(204)?;
        }
        for (_, socket) in &mut others {
            ensure!(closed(socket).await? == 4403, "another close code");
        }
        println!("all other sessions ({round}) were closed after {:?}", ended.elapsed());
        for (device, _) in &others {
            device.is_out(gateways[0]).await?;
        }
        listed(&own, gateways[1], 1).await.context("her own stays")?;
    }
    own_socket.request(quorate_proto::frame::Request::Pong { n: 0 }).await.context("her own socket")?;
    try_sign_in(gateways[1], "ana", OLD, "old", None).await?.expect(401)?;
    Device::sign_in(gateways[1], "ana", NEW, "new").await?;
    listed(&stranger, gateways[0], 1).await.context("nobody else's is ended")?;

    // The first admin, by an operator's secret.
    ensure!(!own.grant.admin, "nobody is an admin by chance");
    let secret = test.cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
    ensure!(secret.len() == 43, "a secret of 32 bytes: {} characters", secret.len());
    let claim = |secret: &str| ClaimAdmin { secret: secret.to_owned() };
    let wrong = stranger.give(gateways[0], "POST", "/api/v1/admin/claim", &claim("guess")).await?;
    wrong.expect(403)?;
    own.give(gateways[1], "POST", "/api/v1/admin/claim", &claim(&secret)).await?.expect(204)?;
    stranger.give(gateways[2], "POST", "/api/v1/admin/claim", &claim(&secret)).await?.expect(403)?;
    let again = Device::sign_in(gateways[0], "ana", NEW, "admin").await?;
    ensure!(
        again.grant.admin && !Device::sign_in(gateways[0], "eve", OLD, "x").await?.grant.admin,
        "{again:?}"
    );
    ensure!(
        test.cluster.operate(&["admin", "offer", "--first"]).await?.is_empty(),
        "there is an admin already"
    );
    Ok(())
}
