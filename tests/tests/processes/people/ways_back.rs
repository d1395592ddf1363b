//! Who has lost her password comes back by a code of her own or by an admin's secret, each good once.

use std::net::SocketAddr;

use anyhow::ensure;
use quorate_cluster::wait_until;
use quorate_proto::error::ErrorCode;
use quorate_proto::rest::Profile;
use quorate_tests::client::rest::PASSWORD;
use quorate_tests::harness::TestCluster;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Stage, WAIT, calls, while_the_leader_dies};
use crate::chat::device::Device;

const RESET: &str = "/api/v1/password/reset";
const OFFER: &str = "/api/v1/admin/users/bob/reset";
const SECOND: &str = "staple and another";
const THIRD: &str = "a third that nobody has";

fn code(number: usize) -> String {
    format!("a-code-drawn-by-chance-{number}")
}

/// As long as 256 bits are.
fn secret(number: usize) -> String {
    format!("a-secret-drawn-by-chance-{number:018}")
}

fn reset(secret: &str, new_password: &str) -> Value {
    json!({ "name": "bob", "secret": secret, "new_password": new_password })
}

/// How many codes are left, once this gateway's replica knows.
async fn codes_left(at: SocketAddr, stage: &Stage, left: u32) -> anyhow::Result<()> {
    wait_until(&format!("{left} codes"), WAIT, || async {
        let own: Profile =
            calls::at(at, &stage.bob).read("/api/v1/me", 0).await.map_err(|error| format!("{error:#}"))?;
        if own.recovery_codes.unwrap_or(0) == left { Ok(()) } else { Err(format!("{own:?}")) }
    })
    .await?;
    Ok(())
}

pub(super) async fn taken(test: &TestCluster, stage: &mut Stage) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let codes: Vec<String> = (0..10).map(code).collect();
    let set = |password: &str| json!({ "password": password, "codes": codes });
    let bob = calls::at(b, &stage.bob);
    bob.ask("PUT", "/api/v1/recovery-codes", set("not his")).await?.refused(ErrorCode::Forbidden)?;
    bob.ask("PUT", "/api/v1/recovery-codes", set(PASSWORD)).await?.is(204)?;
    codes_left(a, stage, 10).await?;
    let offer = |number| json!({ "secret": secret(number) });
    calls::at(b, &stage.bob).ask("POST", OFFER, offer(0)).await?.refused(ErrorCode::Forbidden)?;
    calls::at(a, &stage.ann).ask("POST", OFFER, offer(1)).await?.written()?;

    // By a code. It is asked again under its key when its answer is lost, and good for nobody else.
    let sockets = [Device::open(a, stage.bob.clone()).await?, Device::open(b, stage.bob.clone()).await?];
    let (key, by_code) = (Uuid::now_v7(), reset(&codes[0], SECOND));
    while_the_leader_dies(test, async {
        let wrong = calls::stranger(a).ask("POST", RESET, reset(&code(10), SECOND)).await?;
        wrong.refused(ErrorCode::Unauthenticated)?;
        calls::stranger(b).under(key, "POST", RESET, &by_code).await?.is(204)?;
        calls::stranger(a).under(key, "POST", RESET, &by_code).await?.is(204)?;
        calls::stranger(a).ask("POST", RESET, by_code.clone()).await?.refused(ErrorCode::Unauthenticated)
    })
    .await?;
    for socket in sockets {
        ensure!(socket.ends().await? == 4403, "another close code");
    }
    calls::stranger(a).sign_in("bob", PASSWORD).await?.refused(ErrorCode::Unauthenticated)?;
    stage.bob = calls::stranger(a).sign_in("bob", SECOND).await?.device()?.grant;
    codes_left(b, stage, 9).await?;

    // What the admin had offered was void with that; another offer is good, and voids the codes.
    let void = calls::stranger(b).ask("POST", RESET, reset(&secret(1), THIRD)).await?;
    void.refused(ErrorCode::Unauthenticated)?;
    let by_secret = reset(&secret(2), THIRD);
    calls::at(b, &stage.ann).ask("POST", OFFER, offer(2)).await?.written()?;
    while_the_leader_dies(test, async {
        calls::stranger(a).ask("POST", RESET, by_secret.clone()).await?.is(204)?;
        calls::stranger(b).ask("POST", RESET, by_secret).await?.refused(ErrorCode::Unauthenticated)
    })
    .await?;
    calls::stranger(b).sign_in("bob", SECOND).await?.refused(ErrorCode::Unauthenticated)?;
    stage.bob = calls::stranger(b).sign_in("bob", THIRD).await?.device()?.grant;
    codes_left(a, stage, 0).await?;
    let void = calls::stranger(a).ask("POST", RESET, reset(&codes[1], SECOND)).await?;
    void.refused(ErrorCode::Unauthenticated)?;

    let (by, whom) = (stage.ann.user.id, stage.bob.user.id);
    stage.done.extend([
        (by, "reset_offered", whom),
        (by, "reset_offered", whom),
        (whom, "password_reset", whom),
    ]);
    Ok(())
}
