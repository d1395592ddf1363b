//! A follower that is so far behind that only a snapshot brings it back, while everybody talks.

use quorate_cluster::{Member, wait_until};
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::{self, WAIT, acks_since, caught_up, leader, set_the_scene, status_of};

use super::rig::{PACE, REPLICAS, turn};

/// The log may grow by this much between two snapshots: a second or two of the load.
const SNAPSHOT_LOG_BYTES: i64 = 64 * 1024;
/// Entries that stay behind a snapshot: some tenths of a second of the load.
const LOG_ENTRIES_KEPT: i64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_a_snapshot_under_load() -> anyhow::Result<()> {
    let _turn = turn().await;
    let test = TestCluster::start_with("snapshot-under-load", |mut spec| {
        spec.replicas = Some(REPLICAS);
        spec.replica_keys.insert("snapshot_log_bytes".into(), SNAPSHOT_LOG_BYTES.into());
        spec.replica_keys.insert("log_entries_kept".into(), LOG_ENTRIES_KEPT.into());
        spec
    })
    .await?;
    let result = late_followers(&test).await;
    test.finish(result).await
}

async fn late_followers(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk_at(PACE).await;
    let (leading, _) = leader(test).await?;
    let victims = [leading % REPLICAS + 1, (leading + 1) % REPLICAS + 1];
    for (round, id) in victims.into_iter().enumerate() {
        acks_since(test, test.recorder.now(), "before it goes").await?;
        let status = status_of(test, id, 0).await?;
        // The first is killed; the second stops in order.
        if round == 0 {
            test.cluster.kill(&Member::Replica(id)).await?;
        } else {
            test.cluster.stop(&Member::Replica(id)).await?;
        }
        // What it may have written after it was asked is covered by as many entries as a phase of the load has.
        let has = status.last_log_index;
        acks_since(test, test.recorder.now(), "without it").await?;
        let purged = wait_until("the log that it needs to be gone everywhere", WAIT, || async {
            let mut least = u64::MAX;
            for other in (1..=REPLICAS).filter(|other| *other != id) {
                least = least.min(test.cluster.replica_status(other, 0).await?.purged_index);
            }
            if least > has + 500 { Ok(least) } else { Err(format!("purged to {least}, it has {has}")) }
        })
        .await?;
        test.cluster.start_member(&Member::Replica(id))?;
        caught_up(test, id).await?;
        // Entries up to the purged one exist nowhere: it has the state without ever having had them. Its log says so
        // a moment after its state: the state is installed first.
        let status = wait_until("its log to begin after the snapshot", WAIT, || async {
            let status = test.cluster.replica_status(id, 0).await?;
            if status.purged_index >= purged { Ok(status) } else { Err(format!("{status:?}")) }
        })
        .await?;
        test.recorder.mark(format!(
            "replica {id} had {has} entries, came back when {purged} were purged, and has applied {}",
            status.applied_index
        ));
        acks_since(test, test.recorder.now(), "with it").await?;
    }
    scene.settle().await?;
    for id in 1..=REPLICAS {
        caught_up(test, id).await?;
    }
    scene::states_agree(test).await?;
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (_, _, rooms) = scene.leave().await?;
    for id in 1..=REPLICAS {
        scene::read_replica(test, id, &rooms, "at the end").await?;
    }
    scene::read_finals(test, &users, &rooms, "at the end").await?;
    scene::judge(test)
}
