//! Every replica and every gateway is restarted in turn, under load: nobody notices but by a new socket.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use quorate_cluster::Member;
use quorate_tests::harness::{TestCluster, number};
use quorate_tests::scene::{
    PEOPLE, WAIT, acks_since, caught_up, judge, leader, read_finals, set_the_scene, states_agree,
};

use super::ONE_AT_A_TIME;

/// All but a hundredth of the sessions are without a socket for at most this long. They come at once and take some ten
/// milliseconds. Those of a gateway come together: a machine that stands still just then for a second or two hits all of them.
const RESUME_MOST_WITHIN: Duration = Duration::from_secs(4);
/// The last: a stall of the machine that hits one handshake decides nothing.
const RESUME_WITHIN: Duration = Duration::from_secs(10);

/// One message per person in this time: who is without a socket for ten seconds still resumes exactly.
const PACE: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_everything_loses_no_session_and_no_message() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start("rolling").await?;
    let result = rolling(&test, number("QUORATE_RESTART_ROUNDS", 1)).await;
    test.finish(result).await
}

async fn rolling(test: &TestCluster, rounds: usize) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk_at(PACE).await;
    let mut resumes = 0;
    for _ in 0..rounds {
        let before = test.recorder.history().closes.len();
        // The leader last: each of the others is restarted once, and leadership moves once.
        let (leading, _) = leader(test).await?;
        let mut ids = test.cluster.replica_ids();
        ids.sort_by_key(|id| *id == leading);
        for id in ids {
            let since = test.recorder.now();
            test.cluster.stop(&Member::Replica(id)).await?;
            test.cluster.start_member(&Member::Replica(id))?;
            test.cluster.wait_ready(&Member::Replica(id), WAIT).await?;
            caught_up(test, id).await?;
            acks_since(test, since, &format!("around the restart of replica {id}")).await?;
        }
        let closes = test.recorder.history().closes[before..].to_vec();
        ensure!(closes.is_empty(), "sockets closed although only replicas were restarted: {closes:#?}");
        for gateway in test.cluster.gateways() {
            let since = test.recorder.now();
            let there = scene.gateways().get(&gateway).copied().unwrap_or(0);
            test.cluster.stop(&Member::Gateway(gateway.clone())).await?;
            test.cluster.start_member(&Member::Gateway(gateway.clone()))?;
            test.cluster.wait_ready(&Member::Gateway(gateway.clone()), WAIT).await?;
            acks_since(test, since, &format!("around the restart of gateway {gateway}")).await?;
            resumes += there;
        }
    }
    scene.settle().await?;
    states_agree(test).await?;
    let closes = test.recorder.history().closes.clone();
    let codes: BTreeMap<Option<u16>, usize> = closes.iter().fold(BTreeMap::new(), |mut codes, close| {
        *codes.entry(close.code).or_default() += 1;
        codes
    });
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (tallies, _, rooms) = scene.leave().await?;
    let mut waits: Vec<Duration> = tallies.iter().flat_map(|tally| tally.resume_waits.clone()).collect();
    waits.sort_unstable();
    let resumed: u64 = tallies.iter().map(|tally| tally.resumed).sum();
    let restarted: u64 = tallies.iter().map(|tally| tally.restarted).sum();
    let gaps: u64 = tallies.iter().map(|tally| tally.silent_gaps).sum();
    let at =
        |share: usize| waits.get((waits.len() * share / 100).min(waits.len().saturating_sub(1))).copied();
    println!(
        "{rounds} rolling restarts of everything with {PEOPLE} sessions: {resumed} resumed of {} closed ({codes:?}), \
         {restarted} began anew, {gaps} gaps; without a socket p50 {:?}, p99 {:?}, longest {:?}",
        closes.len(),
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default(),
        waits.last().copied().unwrap_or_default(),
    );
    ensure!(resumes > 0 && closes.len() >= resumes, "{} closes, {resumes} sockets were moved", closes.len());
    ensure!(restarted == 0 && gaps == 0, "{restarted} sessions began anew, {gaps} silent gaps");
    ensure!(resumed as usize == closes.len(), "{resumed} of {} sessions resumed", closes.len());
    ensure!(waits.last().is_none_or(|longest| *longest <= RESUME_WITHIN), "{waits:?}");
    // A hundredth of the few in the short form would be nobody; the slowest may be late there as well.
    let late = waits.iter().filter(|wait| **wait > RESUME_MOST_WITHIN).count();
    ensure!(
        late <= (waits.len() / 100).max(1),
        "{late} of {} were without a socket for more than {RESUME_MOST_WITHIN:?}: {waits:?}",
        waits.len()
    );
    read_finals(test, &users, &rooms, "at the end").await?;
    judge(test)
}
