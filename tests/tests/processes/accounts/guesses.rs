//! Guessing passwords: slowed over all gateways, without shutting the owner out, and without telling who exists.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use quorate_cluster::wait_until;
use quorate_proto::error::ErrorCode;
use quorate_tests::harness::{TestCluster, number};

use super::device::{Device, try_sign_in};
use super::{WAIT, start};

const RIGHT: &str = "correct horse battery";
/// Tries that cost nothing, of each name.
const FREE: usize = 3;
/// Times that the owner's way in is looked at within a stranger's wait.
const TRIES: usize = 4;
/// What a replica takes at most to hear what time a majority has.
const LOG_TIME_LAG: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn guesses_over_three_gateways_are_slowed_and_the_owners_device_still_enters() -> anyhow::Result<()> {
    let test = start("accounts-guesses", |spec| spec).await?;
    let result = async {
        guesses(&test).await?;
        alike(&test).await
    }
    .await;
    test.finish(result).await
}

async fn guesses(test: &TestCluster) -> anyhow::Result<()> {
    let names = test.cluster.gateways();
    let gateways =
        names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<Vec<_>, _>>()?;
    let owner = Device::sign_up(gateways[0], "ana", RIGHT).await?;
    let (mut evaluated, mut throttled) = (0, 0);
    let began = Instant::now();
    for guess in 0..number("QUORATE_ACCOUNTS_GUESSES", 200) {
        let at = gateways[guess % gateways.len()];
        let answer = try_sign_in(at, "ana", &format!("guess number {guess}"), "thief", None).await?;
        match answer.status {
            401 => evaluated += 1,
            429 => {
                let problem = answer.problem()?;
                ensure!(
                    problem.error.code == ErrorCode::RateLimited && problem.error.temporary,
                    "{problem:?}"
                );
                ensure!(problem.error.retry_ms.is_some_and(|ms| ms > 0), "{problem:?}");
                ensure!(answer.retry_after_s.is_some_and(|s| s > 0), "no Retry-After");
                throttled += 1;
            }
            _ => ensure!(false, "{answer:?}"),
        }
    }
    // Three are free, then each costs twice the wait of the one before: n more take 2^n - 1 s.
    let seconds = began.elapsed().as_secs_f64() + 1.0;
    let allowed = FREE as f64 + 1.0 + (seconds + 1.0).log2();
    println!("{evaluated} of {} guesses evaluated in {seconds:.1} s", evaluated + throttled);
    ensure!((evaluated as f64) <= allowed, "{evaluated} guesses evaluated in {seconds:.1} s");
    ensure!(evaluated >= FREE && throttled > evaluated, "{evaluated} evaluated, {throttled} throttled");
    for _ in 0..TRIES {
        if owner_alone_enters(&gateways, &owner).await? {
            return Ok(());
        }
    }
    bail!("whatever was asked within a wait was answered after it, {TRIES} times")
}

/// While strangers wait, the owner's device enters. `false` when their wait was over before all was answered: that proves nothing.
async fn owner_alone_enters(gateways: &[SocketAddr], owner: &Device) -> anyhow::Result<bool> {
    // Whatever follows comes within the wait.
    let (told, wait) = wait_until("a guess with a long wait ahead", WAIT, || async {
        let asked = Instant::now();
        let answer = try_sign_in(gateways[0], "ana", "one more guess", "thief", None).await;
        let wait_ms =
            answer.and_then(|answer| answer.problem()).ok().and_then(|problem| problem.error.retry_ms);
        let wait = wait_ms.filter(|ms| *ms > 3_000).map(Duration::from_millis);
        wait.map(|wait| (asked, wait)).ok_or_else(|| format!("{wait_ms:?} ms"))
    })
    .await?;
    // By log time, which may lag a little behind this clock.
    let is_over = || told.elapsed() + LOG_TIME_LAG >= wait;
    // The right password does not help a stranger now, and the owner's device is let in at once.
    let stranger = try_sign_in(gateways[1], "ana", RIGHT, "new device", None).await?;
    if is_over() {
        return Ok(false);
    }
    ensure!(stranger.status == 429 && stranger.code() == Some(ErrorCode::RateLimited), "{stranger:?}");
    try_sign_in(gateways[2], "ana", RIGHT, "her own", Some(&owner.cookie)).await?.expect(201)?;
    // Her success gives the stranger nothing.
    let stranger = try_sign_in(gateways[0], "ana", "one more guess", "thief", None).await?;
    if is_over() {
        return Ok(false);
    }
    ensure!(stranger.status == 429, "{stranger:?}");
    Ok(true)
}

/// Unknown names and wrong passwords: one answer, after the same time.
async fn alike(test: &TestCluster) -> anyhow::Result<()> {
    let at = test.cluster.gateway_address(&test.cluster.gateways()[0])?;
    let tries = number("QUORATE_ACCOUNTS_TRIES", 60);
    let people = tries.div_ceil(FREE - 1);
    for person in 0..people {
        Device::sign_up(at, &format!("known{person}"), RIGHT).await?;
    }
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for number in 0..tries {
        // Turn by turn, so that whatever else the machine does hits both alike.
        let mut order = [0, 1];
        if number % 2 == 1 {
            order.reverse();
        }
        for place in order {
            // Names that nobody has share places, and a place has three free tries as an account has: each is used once, so that
            // four in one place are next to impossible.
            let name =
                if place == 0 { format!("known{}", number % people) } else { format!("nobody{number}") };
            let began = Instant::now();
            let answer = try_sign_in(at, &name, "the wrong password", "x", None).await?;
            times[place].push(began.elapsed());
            let problem = answer.expect(401)?.problem()?;
            ensure!(
                problem.detail == "wrong name or password" && problem.error.retry_ms.is_none(),
                "{problem:?}"
            );
        }
    }
    // What else the machine does comes on top of some: three of four take longer, and decide nothing.
    let [known, unknown] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 4].as_secs_f64() * 1_000.0
    });
    println!("lower quartiles of {tries}: wrong password {known:.1} ms, unknown name {unknown:.1} ms");
    // Few tries on a busy machine scatter; without the dummy hash an unknown name would take a third.
    let bound = if tries < 300 { 0.25 } else { 0.1 };
    ensure!(
        (known - unknown).abs() < bound * known,
        "wrong password {known:.1} ms, unknown name {unknown:.1} ms"
    );
    Ok(())
}
