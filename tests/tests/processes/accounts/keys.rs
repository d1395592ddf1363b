//! Signing keys that follow each other, and tokens that nobody signed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quorate_cluster::wait_until;
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::Socket;
use quorate_tests::harness::TestCluster;

use super::device::{Device, closed};
use super::{WAIT, start};

/// Each key signs so long; it is read by every gateway before, and stays for so long after.
const PERIOD_S: i64 = 4;
const PUBLISH_S: i64 = 2;
const KEEP_S: i64 = 8;
/// Surely so long after it was signed a token is good: its key's successor begins later, and the clocks are one.
const KEPT_AT_LEAST: Duration = Duration::from_secs(KEEP_S.unsigned_abs() - 1);

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_accepted_everywhere_while_signing_keys_follow_each_other() -> anyhow::Result<()> {
    let test = start("accounts-keys", |mut spec| {
        let keys = [("period_s", PERIOD_S), ("publish_s", PUBLISH_S), ("keep_s", KEEP_S)];
        let table: toml::Table =
            keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        spec.replica_keys.insert("signing_keys".to_owned(), table.into());
        spec
    })
    .await?;
    let result = async {
        follow(&test).await?;
        forged(&test).await
    }
    .await;
    test.finish(result).await
}

/// A token's header names its key.
fn header(grant: &SessionGrant) -> &str {
    grant.access_token.split('.').next().unwrap_or_default()
}

async fn follow(test: &TestCluster) -> anyhow::Result<()> {
    let names = test.cluster.gateways();
    let gateways =
        names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<Vec<_>, _>>()?;
    // Not later than the newest token was signed.
    let mut signed = Instant::now();
    let mut device = Device::sign_up(gateways[0], "ana", "correct horse battery").await?;
    let first = device.clone();
    let (mut turns, mut checked) = (0, 0);
    let began = Instant::now();
    // Through two changes of the key, no fresh token is refused anywhere.
    while turns < 2 {
        ensure!(began.elapsed() < WAIT, "the key changed {turns} times in {:?}", began.elapsed());
        let (before, signed_before) = (device.clone(), signed);
        signed = Instant::now();
        device.refresh(gateways[checked % gateways.len()]).await?;
        ensure!(!device.grant.read_only, "{:?}", device.grant);
        for gateway in &gateways {
            device.sessions(*gateway).await?;
        }
        if header(&device.grant) != header(&before.grant) {
            println!("another key after {:?}", began.elapsed());
            // What the key before has signed is good for a while. Where that is over nothing was seen, and it is no turn.
            let mut answers = Vec::new();
            for gateway in &gateways {
                answers.push(before.ask(*gateway, "GET", "/api/v1/sessions").await?);
            }
            if signed_before.elapsed() < KEPT_AT_LEAST {
                turns += 1;
                for answer in answers {
                    answer.expect(200)?;
                }
            }
        }
        checked += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(checked > turns, "too few tokens to say anything");
    for gateway in &gateways {
        wait_until("the first key to be gone", WAIT, || async {
            match first.ask(*gateway, "GET", "/api/v1/sessions").await {
                Ok(answer) if answer.status == 401 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    device.refresh(gateways[0]).await?;
    device.sessions(gateways[1]).await?;
    Ok(())
}

/// Tokens that were changed on their way; those that need other keys to make are in the gateway's own tests.
async fn forged(test: &TestCluster) -> anyhow::Result<()> {
    let at = test.cluster.gateway_address(&test.cluster.gateways()[0])?;
    let mut ana = Device::sign_in(at, "ana", "correct horse battery", "x").await?;
    let eve = Device::sign_up(at, "eve", "correct horse battery").await?;
    let deadline = Instant::now() + WAIT;
    let (mut number, mut count) = (0, 1);
    while number < count {
        ensure!(Instant::now() < deadline, "the key of a fresh token did not last for one call");
        let began = Instant::now();
        ana.refresh(at).await?;
        let forged = forgeries(&ana, &eve)?;
        count = forged.len();
        let device = Device {
            grant: SessionGrant { access_token: forged[number].clone(), ..ana.grant.clone() },
            ..ana.clone()
        };
        // A key that nobody knows is asked for once a second; until then nobody says that it is good.
        let answer = device.ask(at, "GET", "/api/v1/sessions").await?;
        ensure!(matches!(answer.status, 401 | 503), "forged token {number}: {answer:?}");
        let mut socket = Socket::open(at, None).await?;
        ensure!(socket.hello(&forged[number], None).await.is_err(), "forged token {number} opens a session");
        let _ = closed(&mut socket).await;
        // Refused for what was changed in it, and not because its key was gone meanwhile.
        if began.elapsed() < Duration::from_secs(KEEP_S.unsigned_abs() / 2) {
            ana.sessions(at).await?;
            number += 1;
        }
    }
    ensure!(number >= 20, "{number} forgeries");
    Ok(())
}

/// What can be made of two good tokens.
fn forgeries(ana: &Device, eve: &Device) -> anyhow::Result<Vec<String>> {
    let parts = |device: &Device| -> Vec<String> {
        device.grant.access_token.split('.').map(str::to_owned).collect()
    };
    let (good, other) = (parts(ana), parts(eve));
    let json = |part: &str| -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
    };
    let with = |part: &str, key: &str, value: serde_json::Value| -> anyhow::Result<String> {
        let mut changed = json(part)?;
        changed[key] = value;
        Ok(URL_SAFE_NO_PAD.encode(changed.to_string()))
    };
    let later = json(&good[1])?["exp"].as_u64().context("exp")? + 86_400;
    let token = |head: &str, claims: &str, signature: &str| format!("{head}.{claims}.{signature}");
    let mut flipped = URL_SAFE_NO_PAD.decode(&good[2])?;
    flipped[0] ^= 1;
    Ok(vec![
        token(&good[0], &good[1], ""),
        token(&good[0], &good[1], &URL_SAFE_NO_PAD.encode(flipped)),
        token(&good[0], &good[1], &good[2][..good[2].len() - 4]),
        token(&good[0], &good[1], &other[2]),
        token(&good[0], &other[1], &good[2]),
        token(&with(&good[0], "alg", "none".into())?, &good[1], ""),
        token(&with(&good[0], "alg", "none".into())?, &good[1], &good[2]),
        token(&with(&good[0], "alg", "HS256".into())?, &good[1], &good[2]),
        token(&with(&good[0], "kid", "another".into())?, &good[1], &good[2]),
        token(&with(&good[0], "jku", "http://127.0.0.1:9/keys".into())?, &good[1], &good[2]),
        token(&good[0], &with(&good[1], "sub", "1".into())?, &good[2]),
        token(&good[0], &with(&good[1], "exp", later.into())?, &good[2]),
        token(&good[0], &with(&good[1], "exp", later.to_string().into())?, &good[2]),
        token(&good[0], &with(&good[1], "aud", "another".into())?, &good[2]),
        token(&good[0], &with(&good[1], "iss", "another".into())?, &good[2]),
        token(&good[0], &with(&good[1], "sid", eve.grant.session.clone().into())?, &good[2]),
        good[..2].join("."),
        format!("{}.{}", ana.grant.access_token, good[2]),
        String::new(),
        "x".repeat(10_000),
    ])
}
