//! Power cuts: of all replicas at once, and of one while another stands still.

use anyhow::ensure;
use quorate_cluster::Member;
use quorate_cluster::process::Send;
use quorate_faultfs::{Chance, Cut};
use quorate_tests::scene::{leader, set_the_scene};
use toml::Table;

use super::rig::{ACKS_PER_PHASE, PACE, REPLICAS, Rig, count};

/// The four kinds of cut in turn, each time with another seed.
fn kind(round: u64) -> Cut {
    match round % 4 {
        0 => Cut::Drop,
        1 => Cut::Torn(round),
        2 => Cut::Scattered(round),
        _ => Cut::KeepPrefix(round),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_messages_survive_a_power_cut_of_all_replicas() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("power-cut-of-all", |_| Table::new()).await? else { return Ok(()) };
    let result = power_cut_of_all(&rig).await;
    rig.finish(result).await
}

async fn power_cut_of_all(rig: &Rig) -> anyhow::Result<()> {
    let cuts = count("QUORATE_POWER_CUTS", 3);
    let acks = if cuts >= 20 { 2_500 } else { ACKS_PER_PHASE };
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    let all: Vec<u16> = (1..=REPLICAS).collect();
    let (mut dropped_bytes, mut dropped_names) = (0, 0);
    for round in 0..cuts {
        rig.acks(acks, &format!("before cut {round}")).await?;
        let report = rig.power_cut(&all, kind(round)).await?;
        dropped_bytes += report.dropped_bytes;
        dropped_names += report.dropped_names;
    }
    rig.acks(acks, "after the last cut").await?;
    ensure!(dropped_bytes > 0, "no cut took anything");
    rig.test.recorder.mark(format!("{cuts} cuts took {dropped_bytes} bytes and {dropped_names} names"));
    rig.judge(scene, acks * usize::try_from(cuts)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_messages_survive_power_cuts_of_one_and_pauses() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("power-cut-and-pauses", |_| Table::new()).await? else { return Ok(()) };
    let result = power_cuts_and_pauses(&rig).await;
    rig.finish(result).await
}

async fn power_cuts_and_pauses(rig: &Rig) -> anyhow::Result<()> {
    let rounds = count("QUORATE_POWER_ROUNDS", 2);
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    let mut chance = Chance::new(7);
    let mut dropped_bytes = 0;
    for round in 0..rounds {
        rig.acks(ACKS_PER_PHASE, &format!("before round {round}")).await?;
        let (leading, _) = leader(&rig.test).await?;
        let others: Vec<u16> = (1..=REPLICAS).filter(|id| *id != leading).collect();
        let other = others[chance.below(others.len())];
        // Every second time it is the leader that loses power, else the leader that stands still.
        let (victim, paused) = if round % 2 == 0 { (leading, other) } else { (other, leading) };
        let member = Member::Replica(paused);
        rig.test.cluster.signal(&member, Send::Pause)?;
        rig.test.recorder.mark(format!("paused {paused} while {leading} leads"));
        rig.acks(ACKS_PER_PHASE / 4, "while one stands still").await?;
        let report = rig.power_cut(&[victim], kind(round)).await?;
        dropped_bytes += report.dropped_bytes;
        rig.acks(ACKS_PER_PHASE / 4, "while one stands still and one was cut").await?;
        rig.back(victim).await?;
        rig.test.cluster.signal(&member, Send::Resume)?;
        rig.back(paused).await?;
    }
    rig.acks(ACKS_PER_PHASE, "after the last round").await?;
    ensure!(dropped_bytes > 0, "no cut took anything");
    rig.judge(scene, ACKS_PER_PHASE * usize::try_from(rounds)?).await
}
