//! Disks that fill up, fail a sync or become read-only: one replica stops with a line, the others go on, and it comes back.

use anyhow::ensure;
use quorate_faultfs::Cut;
use quorate_tests::scene::{leader, set_the_scene};
use toml::Table;

use crate::rig::{ACKS_PER_PHASE, PACE, REPLICAS, Rig};

/// Room left on the disk that fills up: some seconds of the load.
const ROOM_BYTES: u64 = 64 * 1024;

/// Who is hit: the leader, then a follower.
async fn victims(rig: &Rig) -> anyhow::Result<[u16; 2]> {
    let (leading, _) = leader(&rig.test).await?;
    Ok([leading, leading % REPLICAS + 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_one_replica_and_space_brings_it_back() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("full-disk", |_| Table::new()).await? else { return Ok(()) };
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
