//! A flood of sign-ins over all gateways: who is inside hardly notices, nothing is lost, and no gateway keeps the memory of hashes.
//!
//! Calm and flood take turns, and of each the lower quartile over all its seconds of a second's p99 is compared: what the flood costs
//! it costs in every second, while stalls of the disk and other work on the machine fall into some and decide nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{bail, ensure};
use quorate_cluster::Member;
use quorate_tests::client::rest::PASSWORD;
use quorate_tests::harness::TestCluster;
use quorate_tests::history::{Fate, Micros};
use quorate_tests::load::sign_up_many;
use quorate_tests::scene::{Scene, judge, read_finals, set_the_scene, states_agree};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::device::try_sign_in;
use super::start;

/// Turns of calm and flood.
const ROUNDS: usize = 3;
/// Seconds that each lasts; the floods are nine in all.
const WINDOW_SECONDS: usize = 3;
const SECOND: Duration = Duration::from_secs(1);
/// What is on its way when a window ends has come by then.
const PAUSE: Duration = Duration::from_millis(500);
/// Sign-ins begun in a second, over all gateways. Two cores that did nothing else could hash some eighty passwords.
const SIGN_INS_PER_SECOND: usize = 50;
const INTERVAL: Duration = Duration::from_millis(1_000 / SIGN_INS_PER_SECOND as u64);
/// One message per person in this time: a hundred in a second, whose slowest but one is the p99.
const PACE: Duration = Duration::from_millis(200);
/// A second in which fewer are sent stood still: it counts as slower than any that was measured.
const MESSAGES_PER_SECOND_MIN: usize = 25;
/// Where more of the seconds stood still, the machine is too busy to measure anything.
const STILL_SECONDS_MAX: usize = 2;
/// Accounts, all made at one gateway, whose owners sign in, each once: more than the flood takes.
const OWNERS: usize = 200;
/// Accounts whose passwords are guessed.
const GUESSED: usize = 6;
/// A flood may make the p99 of acks this many times what it is in calm.
const SLOWER_MAX: u32 = 2;
/// Latencies below this are no news: a message takes some ten milliseconds in calm, and as many more are one turn of a core that
/// others keep busy too.
const LATENCY_FLOOR: Duration = Duration::from_millis(50);
/// Resident memory of a gateway after all that. A hash takes 19 MiB, and two are under way at a time; when any of tokio's blocking
/// threads could hash, the memory of all of them stayed: 620 MiB after 200 sign-ups.
const RESIDENT_BYTES_MAX: u64 = 200 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sign_ins_does_not_slow_messages() -> anyhow::Result<()> {
    let test = start("accounts-flood", |spec| spec).await?;
    let result = flood(&test).await;
    test.finish(result).await
}

async fn flood(test: &TestCluster) -> anyhow::Result<()> {
    let names = test.cluster.gateways();
    let gateways =
        names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<Vec<_>, _>>()?;
    let scene = set_the_scene(test).await?;
    sign_up_many(gateways[0], "owner", OWNERS).await?;
    sign_up_many(gateways[0], "guessed", GUESSED).await?;
    println!("resident after {OWNERS} sign-ups at the first gateway: {}", resident(test, &names)?.1);
    scene.talk_at(PACE).await;
    sleep(PAUSE).await;

    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    let mut answers = BTreeMap::new();
    for round in 0..ROUNDS {
        for _ in 0..WINDOW_SECONDS {
            let from = test.recorder.now();
            sleep(SECOND).await;
            calm.push(from..test.recorder.now());
        }
        let mut sign_ins = JoinSet::new();
        for second in 0..WINDOW_SECONDS {
            let from = test.recorder.now();
            let first = (round * WINDOW_SECONDS + second) * SIGN_INS_PER_SECOND;
            sign_in_for_a_second(&gateways, first, &mut sign_ins).await;
            flooded.push(from..test.recorder.now());
        }
        // Those that still wait for their hash belong to no window.
        while let Some(status) = sign_ins.join_next().await {
            *answers.entry(status??).or_insert(0_usize) += 1;
        }
        sleep(PAUSE).await;
    }
    scene.settle().await?;
    states_agree(test).await?;

    let (calm, calm_all) = p99s(test, &calm)?;
    let (flooded, flooded_all) = p99s(test, &flooded)?;
    println!(
        "{SIGN_INS_PER_SECOND} sign-ins a second, by status {answers:?}; p99 of acks: calm {calm:.1?} of {calm_all:.1?}, \
         flooded {flooded:.1?} of {flooded_all:.1?}"
    );
    let (most_bytes, each) = resident(test, &names)?;
    println!("resident after the flood: {each}");
    ensure!(most_bytes <= RESIDENT_BYTES_MAX, "gateways that hashed passwords keep too much: {each}");
    answered_as_promised(&answers)?;
    let most = LATENCY_FLOOR.max(SLOWER_MAX * calm);
    ensure!(flooded < most, "p99 of acks {flooded:?} in the flood, {calm:?} in calm");
    nothing_is_lost(test, scene).await
}

/// Begins a second's sign-ins at their pace, whether those before are answered or not.
async fn sign_in_for_a_second(
    gateways: &[SocketAddr],
    first: usize,
    sign_ins: &mut JoinSet<anyhow::Result<u16>>,
) {
    let mut due = Instant::now();
    for place in 0..SIGN_INS_PER_SECOND {
        let number = first + place;
        let at = gateways[number % gateways.len()];
        // Of five: two owners, two names that nobody has, and a guess at one of a few passwords.
        let (of_five, each) = (number % 5, number / 5);
        let (name, password) = match of_five {
            0 | 1 => (format!("owner{}", 2 * each + of_five), PASSWORD),
            2 | 3 => (format!("nobody{number}"), "the wrong password"),
            _ => (format!("guessed{}", each % GUESSED), "the wrong password"),
        };
        sign_ins.spawn(async move { Ok(try_sign_in(at, &name, password, "flood", None).await?.status) });
        due += INTERVAL;
        sleep_until(due).await;
    }
}

/// Every sign-in has its answer, and enough of them cost a hash that it was a flood.
fn answered_as_promised(answers: &BTreeMap<u16, usize>) -> anyhow::Result<()> {
    let of = |status: u16| answers.get(&status).copied().unwrap_or(0);
    let all: usize = answers.values().sum();
    // 429: too many guesses. 503: too many passwords wait for their hash.
    let (hashed, refused) = (of(201) + of(401), of(429) + of(503));
    ensure!(hashed + refused == all, "other answers than promised: {answers:?}");
    ensure!(of(201) > 0 && of(401) > 0 && hashed * 4 >= all, "hardly a password was looked at: {answers:?}");
    ensure!(of(429) > 0, "nobody was slowed: {answers:?}");
    Ok(())
}

/// The lower quartile of what [`p99`] says of each second, and all of it.
fn p99s(test: &TestCluster, seconds: &[Range<Micros>]) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let mut each = seconds.iter().map(|second| p99(test, second)).collect::<anyhow::Result<Vec<_>>>()?;
    each.sort_unstable();
    let still = each.iter().filter(|p99| **p99 == Duration::MAX).count();
    ensure!(still <= STILL_SECONDS_MAX, "{still} seconds with hardly a message");
    Ok((each[each.len() / 4], each))
}

/// How long all but one in a hundred messages that were sent in this time waited for their ack at most.
fn p99(test: &TestCluster, second: &Range<Micros>) -> anyhow::Result<Duration> {
    let history = test.recorder.history();
    let mut waits = Vec::new();
    for sent in history.sends.iter().filter(|sent| second.contains(&sent.invoked)) {
        match sent.fate {
            Fate::Acked { at, .. } => waits.push(Duration::from_micros(at - sent.invoked)),
            _ => bail!("not acknowledged: {sent:?}"),
        }
    }
    if waits.len() < MESSAGES_PER_SECOND_MIN {
        return Ok(Duration::MAX);
    }
    waits.sort_unstable();
    Ok(waits[(waits.len() * 99).div_ceil(100) - 1])
}

/// Resident memory of the gateway that has most, bytes, and of each in words.
fn resident(test: &TestCluster, names: &[String]) -> anyhow::Result<(u64, String)> {
    let of = |name: &String| test.resident_bytes(&Member::Gateway(name.clone()));
    let each = names.iter().map(of).collect::<anyhow::Result<Vec<_>>>()?;
    let words: Vec<String> = each.iter().map(|bytes| format!("{} MiB", bytes >> 20)).collect();
    Ok((each.into_iter().max().unwrap_or(0), words.join(", ")))
}

async fn nothing_is_lost(test: &TestCluster, scene: Scene) -> anyhow::Result<()> {
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (_, _, rooms) = scene.leave().await?;
    let closes = test.recorder.history().closes.clone();
    ensure!(closes.is_empty(), "sockets were closed: {closes:#?}");
    read_finals(test, &users, &rooms, "at the end").await?;
    judge(test)
}
