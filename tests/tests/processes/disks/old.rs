//! Old copies: a replica whose directory is from the past, or empty, must not vote or acknowledge.

use std::fs;

use quorate_tests::scene::{leader, set_the_scene};
use toml::Table;

use super::rig::{ACKS_PER_PHASE, PACE, REPLICAS, Rig, copy_tree};

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_data_directory_does_not_vote() -> anyhow::Result<()> {
    let Some(rig) = Rig::start("old-copy", |_| Table::new()).await? else { return Ok(()) };
    let result = old_copy(&rig).await;
    rig.finish(result).await
}

async fn old_copy(rig: &Rig) -> anyhow::Result<()> {
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    let shelf = tempfile::tempdir()?;
    let (leading, _) = leader(&rig.test).await?;
    // First the leader's own past, then a follower's.
    for (round, id) in [leading, leading % REPLICAS + 1].into_iter().enumerate() {
        let (data, old) = (rig.data_dir(id), shelf.path().join(format!("old-{round}")));
        let newest = shelf.path().join(format!("newest-{round}"));
        rig.acks(ACKS_PER_PHASE / 2, "before the copy").await?;
        rig.kill(&[id]).await?;
        copy_tree(&data, &old)?;
        rig.start_replica(id)?;
        rig.back(id).await?;
        rig.acks(ACKS_PER_PHASE, "after the copy").await?;
        rig.kill(&[id]).await?;
        copy_tree(&data, &newest)?;

        fs::remove_dir_all(&data)?;
        copy_tree(&old, &data)?;
        refuses(rig, id, "put back from an old copy").await?;
        fs::remove_dir_all(&data)?;
        refuses(rig, id, "emptied").await?;

        // Its true disk is believed again.
        let _ = fs::remove_dir_all(&data);
        copy_tree(&newest, &data)?;
        rig.start_replica(id)?;
        rig.back(id).await?;
        rig.test.recorder.mark(format!("replica {id} is back with its true directory"));
    }
    rig.judge(scene, 3 * ACKS_PER_PHASE).await
}

async fn refuses(rig: &Rig, id: u16, what: &str) -> anyhow::Result<()> {
    rig.start_replica(id)?;
    let ended = rig.wait_ended(id, &format!("for its directory was {what}")).await?;
    rig.test.recorder.mark(format!("replica {id}, {what}: {}", ended.line));
    ended.check(2, "replace this replica")?;
    rig.acks(ACKS_PER_PHASE / 4, "without it").await
}
