//! Replicas that come by snapshot, and snapshots that are damaged.

use super::rig::{copy_of, purged_pair};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_after_the_log_was_purged_is_given_a_snapshot() {
    let mut cluster = cluster(3, 2).await;
    let outcomes = propose_all(&cluster.nodes, (1..=500).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    cluster.purge(last).await;
    propose_all(&cluster.nodes, vec![sign_up(501)]).await;
    cluster.start(3).await;
    let late = cluster.nodes.last().expect("three").clone();
    cluster.agree_from(last).await;
    // Its log says so a moment after its state, which is installed first.
    until("it came by snapshot, not by log", || (late.status(0).snapshot_index >= last).then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_after_a_snapshot_was_installed_is_answered_with_the_original() {
    let mut cluster = cluster(3, 2).await;
    let outcomes = propose_all(&cluster.nodes, (1..=300).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    let log_time_ms = outcomes.iter().map(|outcome| outcome.log_time_ms).max().expect("some");
    cluster.purge(last).await;
    cluster.start(3).await;
    // The snapshot may go beyond the last command: an entry of the leader's own.
    cluster.agree_from(last).await;
    let late = cluster.nodes[2].clone();
    assert!(late.store.read().applied().log_time_ms >= log_time_ms, "log time comes with the snapshot");
    until("the late one leads", || {
        if let Some(other) = cluster.nodes.iter().find(|node| node.is_leader() && node.id() != late.id()) {
            let raft = other.raft.clone();
            tokio::spawn(async move { raft.trigger().transfer_leader(3).await });
        }
        late.is_leader().then_some(())
    })
    .await;
    let again = propose_all(std::slice::from_ref(&late), (1..=300).map(sign_up).collect()).await;
    for (first, again) in outcomes.iter().zip(&again) {
        assert!(again.replay);
        assert_eq!(rpc::Outcome { replay: false, ..again.clone() }, *first);
    }
    cluster.stop().await;
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("reads");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused_rebuilt_and_fetched_again() {
    let (mut cluster, _, last) = purged_pair().await;
    let damaged =
        cluster.nodes.iter().map(|node| node.store.current_snapshot().expect("reads").expect("one").path);
    let damaged: Vec<PathBuf> = damaged.collect();
    for path in &damaged {
        let length = std::fs::metadata(path).expect("there").len();
        flip(path, usize::try_from(length / 2).expect("small"));
        assert!(Store::verify_snapshot(path).is_err());
    }
    propose_all(&cluster.nodes, vec![sign_up(501)]).await;
    cluster.start(3).await;
    let late = cluster.nodes.last().expect("three").clone();
    until("the late one has a snapshot", || (late.status(0).snapshot_index > 0).then_some(())).await;
    let after = propose_all(&cluster.nodes, vec![sign_up(502)]).await;
    cluster.agree(after[0].index).await;
    assert!(late.status(0).snapshot_index > last, "by another snapshot than the damaged one");
    // Whoever sent it has it: on a busy machine another may lead by now.
    let mut rebuilt = cluster.nodes[..2].iter().filter_map(|node| {
        let snapshot = node.store.current_snapshot().expect("reads").expect("one");
        (!damaged.contains(&snapshot.path)).then_some(snapshot)
    });
    Store::verify_snapshot(&rebuilt.next().expect("one was rebuilt").path).expect("whole");
    until("the damaged one is gone", || damaged.iter().any(|path| !path.exists()).then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_needs_a_damaged_snapshot_is_refused() {
    let (cluster, leader, _) = purged_pair().await;
    let at = cluster.nodes.iter().position(|node| node.id() == leader.id()).expect("it runs");
    let id = leader.id();
    let snapshot = leader.store.current_snapshot().expect("reads").expect("one");
    let name = snapshot.path.file_name().expect("a name").to_owned();
    let length = usize::try_from(std::fs::metadata(&snapshot.path).expect("there").len()).expect("small");
    for flipped in [3, 20, length / 2, length - 1] {
        // Another boot: the checkpoint is rebuilt from the snapshot, which is damaged.
        let copy = copy_of(cluster.dirs[at].path());
        flip(&copy.path().join("snapshots").join(&name), flipped);
        std::fs::remove_file(copy.path().join("state.trusted")).expect("removes");
        let settings = cluster.settings(id, copy.path(), "127.0.0.1:1".parse().expect("an address"));
        let refused = Node::start(&settings, Metrics::default()).await.expect_err("it must not start");
        let line = refused.to_string();
        assert!(line.contains("snapshot") && line.contains("replica member replace"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    cluster.stop().await;
}
