//! Disks that fill up, fail a sync or become read-only: one replica stops with a line, the others go on, and it comes back.

use anyhow::{Context as _, ensure};
use quorate_cluster::wait_until;
use quorate_faultfs::Cut;
use quorate_tests::client::rest;
use quorate_tests::scene::{WAIT, leader, set_the_scene};
use toml::Table;

use super::rig::{ACKS_PER_PHASE, PACE, REPLICAS, Rig};

/// Room left on the disk that fills up: some seconds of the load.
const ROOM_BYTES: u64 = 64 * 1024;

/// Below this much room the replicas of one test refuse to write.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// A sign-in that is not refused.
const TAKEN: &str = "it is taken";

/// Without an ack for so long, µs, nothing is on its way any more.
const QUIET_US: u64 = 2_000_000;

/// Sign-ins that must be refused one after the other while a majority is low.
const REFUSALS: usize = 20;

/// A configuration that writes until a disk is full.
fn no_reserve() -> Table {
    reserve(0)
}

fn reserve(bytes: u64) -> Table {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    Table::from_iter([("storage_reserve_bytes".to_owned(), bytes.into())])
}

/// Who is hit: the leader, then a follower.
async fn victims(rig: &Rig) -> anyhow::Result<[u16; 2]> {
    let (leading, _) = leader(&rig.test).await?;
    Ok([leading, leading % REPLICAS + 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_one_replica_and_space_brings_it_back() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("full-disk", |_| no_reserve()).await? else { return Ok(()) };
    let result = full_disk(&rig).await;
    rig.finish(result).await
}

async fn full_disk(rig: &Rig) -> anyhow::Result<()> {
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    for id in victims(rig).await? {
        rig.acks(ACKS_PER_PHASE, "in calm").await?;
        rig.disk(id).full_after(rig.disk(id).usage()?.bytes + ROOM_BYTES)?;
        let ended = rig.wait_ended(id, "for its disk is full").await?;
        rig.test.recorder.mark(format!("replica {id}: {}", ended.line));
        ended.check(1, "is full")?;
        rig.acks(ACKS_PER_PHASE, "without it").await?;
        // Started again it meets the same disk: it says so again, and nothing gets worse.
        rig.start_replica(id)?;
        let again = rig.wait_ended(id, "for its disk is still full").await?;
        rig.test.recorder.mark(format!("replica {id} again: {}", again.line));
        ensure!(matches!(again.code, Some(1 | 2)) && again.line.contains("full"), "{again:?}");
        rig.disk(id).heal()?;
        rig.start_replica(id)?;
        rig.back(id).await?;
        rig.test.recorder.mark(format!("replica {id} is back"));
    }
    rig.judge(scene, 4 * ACKS_PER_PHASE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_before_disks_are_full_and_taken_again_when_there_is_room() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("low-disks", |_| reserve(RESERVE_BYTES)).await? else { return Ok(()) };
    let result = low_disks(&rig).await;
    rig.finish(result).await
}

async fn wait_low(rig: &Rig, id: u16, low: bool) -> anyhow::Result<()> {
    Ok(wait_until(&format!("replica {id} to say that its disk is low: {low}"), WAIT, || async {
        let status = rig.test.cluster.replica_status(id, 0).await?;
        if status.storage_low == low { Ok(()) } else { Err(format!("{:?}", status.storage_low)) }
    })
    .await?)
}

async fn low_disks(rig: &Rig) -> anyhow::Result<()> {
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    rig.acks(ACKS_PER_PHASE, "in calm").await?;
    let make_low = |id: u16| -> anyhow::Result<()> {
        Ok(rig.disk(id).full_after(rig.disk(id).usage()?.bytes + RESERVE_BYTES * 3 / 4)?)
    };
    // One is low: it must not lead, and nobody is kept from writing.
    let [first, second] = victims(rig).await?;
    make_low(first)?;
    wait_low(rig, first, true).await?;
    let leading = wait_until("another replica to lead", WAIT, || async {
        let (leading, _) = rig.test.cluster.leader().await?;
        if leading == first { Err(format!("{leading} leads")) } else { Ok(leading) }
    })
    .await?;
    rig.test.recorder.mark(format!("replica {first} is low, replica {leading} leads"));
    rig.acks(ACKS_PER_PHASE, "while one is low").await?;
    // A majority is low: nothing new is taken, long before a disk is full.
    let third = (1..=REPLICAS).find(|id| ![first, second].contains(id)).context("five")?;
    for id in [second, third] {
        make_low(id)?;
    }
    for id in [second, third] {
        wait_low(rig, id, true).await?;
    }
    // A leader whose own disk is low refuses and hands over; the next one hears of the others' disks in a moment.
    wait_until("a replica with room to lead", WAIT, || async {
        let (leading, _) = rig.test.cluster.leader().await?;
        if [first, second, third].contains(&leading) { Err(format!("{leading} leads")) } else { Ok(()) }
    })
    .await?;
    // People send the same again until it is taken; signing in says at once what it met.
    let front = rig.test.cluster.front();
    let refused = || async {
        match rest::sign_in(front, &scene.grants[0].user.name).await {
            Ok(_) => Err(TAKEN.to_owned()),
            Err(error) if format!("{error:#}").contains("overloaded") => Ok(()),
            Err(error) => Err(format!("{error:#}")),
        }
    };
    wait_until("a refusal for want of room", WAIT, refused).await?;
    // What was proposed before may wait for a slow disk yet.
    wait_until("what was proposed before to be decided", WAIT, || async {
        let before = rig.test.recorder.now().saturating_sub(QUIET_US);
        let acks = rig.test.recorder.acks_between(before, u64::MAX);
        if acks == 0 { Ok(()) } else { Err(format!("{acks} acks in a moment")) }
    })
    .await?;
    let since = rig.test.recorder.now();
    for _ in 0..REFUSALS {
        // It is taken never; for a moment it may be that nobody leads.
        let told = wait_until("another refusal for want of room", WAIT, || async {
            match refused().await {
                Err(said) if said != TAKEN => Err(said),
                told => Ok(told),
            }
        });
        told.await?.map_err(anyhow::Error::msg)?;
    }
    let acks = rig.test.recorder.acks_between(since, u64::MAX);
    ensure!(acks == 0, "{acks} were taken while a majority is low");
    for id in 1..=REPLICAS {
        ensure!(rig.ended(id).is_none(), "replica {id} ended: {:?}", rig.ended(id));
    }
    for id in [first, second, third] {
        rig.disk(id).heal()?;
    }
    for id in [first, second, third] {
        wait_low(rig, id, false).await?;
    }
    rig.acks(ACKS_PER_PHASE, "with room again").await?;
    rig.judge(scene, 3 * ACKS_PER_PHASE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_ends_the_replica() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("failed-fsync", |_| Table::new()).await? else { return Ok(()) };
    let result = failed_fsync(&rig).await;
    rig.finish(result).await
}

async fn failed_fsync(rig: &Rig) -> anyhow::Result<()> {
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    for id in victims(rig).await? {
        rig.acks(ACKS_PER_PHASE, "in calm").await?;
        rig.disk(id).fail_syncs()?;
        let ended = rig.wait_ended(id, "for its disk does not sync").await?;
        rig.test.recorder.mark(format!("replica {id}: {}", ended.line));
        ended.check(1, "nothing is retried")?;
        rig.acks(ACKS_PER_PHASE, "without it").await?;
        rig.disk(id).heal()?;
        // What the failed sync covered is gone when the machine is started anew, though it was read until then.
        let report = rig.cut(&[id], Cut::Drop)?;
        rig.test.recorder.mark(format!("replica {id} lost {report:?}"));
        rig.start_replica(id)?;
        rig.back(id).await?;
    }
    rig.judge(scene, 4 * ACKS_PER_PHASE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_ends_the_replica_and_a_writable_one_brings_it_back() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("read-only-disk", |_| Table::new()).await? else { return Ok(()) };
    let result = read_only(&rig).await;
    rig.finish(result).await
}

async fn read_only(rig: &Rig) -> anyhow::Result<()> {
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    for id in victims(rig).await? {
        rig.acks(ACKS_PER_PHASE, "in calm").await?;
        rig.disk(id).read_only()?;
        let ended = rig.wait_ended(id, "for its disk is read-only").await?;
        rig.test.recorder.mark(format!("replica {id}: {}", ended.line));
        ended.check(1, "read-only")?;
        rig.acks(ACKS_PER_PHASE, "without it").await?;
        rig.start_replica(id)?;
        let again = rig.wait_ended(id, "for its disk is still read-only").await?;
        rig.test.recorder.mark(format!("replica {id} again: {}", again.line));
        ensure!(again.code == Some(2) && again.line.to_lowercase().contains("read-only"), "{again:?}");
        rig.disk(id).heal()?;
        rig.start_replica(id)?;
        rig.back(id).await?;
    }
    rig.judge(scene, 4 * ACKS_PER_PHASE).await
}
