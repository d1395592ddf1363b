//! openraft's own storage suite against the real log and store, and clusters of nodes in one process.

mod disks;
mod rig;
mod snapshots;
mod transfers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use prost::Message as _;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{self, outcome};
use tempfile::TempDir;

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::Types;
use super::*;
use crate::machine::{Tables as _, VERSION_MAX};
use crate::service::admin::AdminService;
use crate::store::{Key, Space, Store};
use std::sync::atomic::AtomicU64;
use tokio::time::Instant;

pub(super) use rig::{Cluster, cluster, propose_all, sign_up, until};

struct Builder;

fn stores(dir: &TempDir) -> (LogStore, StateMachine) {
    let boot = dir.path().join("boot");
    std::fs::write(&boot, "boot").expect("a file");
    let log = LogStore::open(&dir.path().join("log"), Metrics::default()).expect("opens");
    let store = Arc::new(Store::open(dir.path(), &boot).expect("opens"));
    let publisher = Publisher::new(store.read().applied());
    (log, StateMachine::new(store, publisher, Metrics::default()))
}

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, machine) = stores(&dir);
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_pass_openrafts_own_suite() {
    Suite::test_all(Builder).await.expect("passes");
}

/// Reads at a replica once it has heard who leads: before, it says that it cannot.
async fn linearized(node: &Node) {
    let begun = Instant::now();
    while node.linearize().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "replica {} hears of no leader", node.id());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A single replica is a majority of one: nobody answers it, and nobody need.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_alone_goes_on_leading() {
    let cluster = Cluster::formed(rig::bound(1).await, 1, (500, 1_000)).await;
    let node = cluster.leader().await;
    propose_all(&cluster.nodes, vec![sign_up(1)]).await;
    let (begun, wait) = (Instant::now(), Duration::from_millis(3 * node.quorum_wait_ms));
    let mut longest_ms = 0;
    while begun.elapsed() < wait {
        assert!(node.leads(), "no majority has answered for {} ms", node.leader_contact_ms());
        assert_eq!(node.leader().map(|(id, _)| id), Some(1));
        longest_ms = longest_ms.max(node.leader_contact_ms());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(longest_ms < node.quorum_wait_ms, "{longest_ms} ms");
    node.linearize().await.expect("it is its own majority");
    propose_all(&cluster.nodes, vec![sign_up(2)]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_agree_and_hand_leadership_over() {
    let cluster = cluster(3, 3).await;
    let leader = cluster.leader().await;
    let outcomes = propose_all(&cluster.nodes, (1..=200).map(sign_up).collect()).await;
    let ids: Vec<u64> = outcomes
        .iter()
        .map(|outcome| match &outcome.result {
            Some(outcome::Result::User(user)) => user.user_id,
            other => panic!("refused: {other:?}"),
        })
        .collect();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>(), "applied in the order of proposal");
    cluster.agree(outcomes.last().expect("some").index).await;

    let follower = cluster.nodes.iter().find(|node| !node.is_leader()).expect("two of three");
    assert!(follower.propose(vec![sign_up(1)]).await.is_err(), "a follower does not propose");

    cluster.another_leader(&leader).await;
    let again = propose_all(&cluster.nodes, vec![sign_up(1), sign_up(201)]).await;
    assert!(again[0].replay, "a retry at the next leader is answered with the original");
    assert_eq!(again[0].index, outcomes[0].index);
    assert!(!again[1].replay);
    for node in &cluster.nodes {
        // The leader by itself, a follower through it.
        linearized(node).await;
        assert!(
            node.status(0).applied_index >= again[1].index,
            "what was acknowledged before is applied here"
        );
    }
    cluster.agree(again[1].index).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_state_was_altered_stops_and_the_other_four_go_on() {
    let cluster = cluster(5, 5).await;
    let outcomes = propose_all(&cluster.nodes, (1..=100).map(sign_up).collect()).await;
    cluster.agree(outcomes.last().expect("some").index).await;
    let leader = cluster.leader().await;

    // The leader itself: it may be the one that is wrong.
    let key = Key::of(Space::Counters);
    let counters = leader.store.read().counters().expect("reads");
    let altered = crate::machine::records::Counters { conversations: counters.conversations + 1, ..counters };
    leader.store.tamper(key, Bytes::from(altered.encode_to_vec()));
    let mut next = 101;
    let line = tokio::time::timeout(Duration::from_secs(30), async {
        let mut failed = std::pin::pin!(leader.failed());
        loop {
            let others = cluster.nodes.iter().find(|node| node.is_leader());
            if let Some(node) = others {
                // Answers do not count here, only that entries go on.
                let _ = node.propose(vec![sign_up(next)]).await;
                next += 1;
            }
            tokio::select! {
                line = &mut failed => return line,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    })
    .await
    .expect("it stops within some rounds");
    let Ending::Failed(line) = line else { panic!("{line:?}") };
    assert!(line.contains("replaced") || line.contains("replace this replica"), "{line}");
    assert!(leader.metrics.disagreements() > 0);
    leader.stop().await.expect("stops");

    let rest: Vec<_> = cluster.nodes.iter().filter(|node| node.id() != leader.id()).cloned().collect();
    let after = propose_all(&rest, vec![sign_up(100_000)]).await;
    until("the four have applied it", || {
        rest.iter().all(|node| node.status(0).applied_index >= after[0].index).then_some(())
    })
    .await;
    let hashes: Vec<String> = rest.iter().map(|node| node.status(after[0].index).hash).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0] && !hash.is_empty()), "{hashes:?}");
    tokio::time::sleep(2 * peers::ROUND_INTERVAL).await;
    assert!(rest.iter().all(|node| node.halt.reason().is_none()), "nobody else stops");

    let refusal = agreement::check(cluster.dirs[leader.id() as usize - 1].path()).expect_err("refused");
    assert!(refusal.contains("new id"), "{refusal}");
    for node in rest {
        node.stop().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_rises_when_all_support_it_and_an_older_program_stops_before_it() {
    let mut cluster = cluster(3, 2).await;
    propose_all(&cluster.nodes, vec![sign_up(1)]).await;
    cluster.start_supporting(3, 1).await;
    let old = cluster.nodes[2].clone();
    until("the third is there", || (old.status(0).applied_index > 0).then_some(())).await;
    // Several rounds: the version stays while one member does not support the next.
    tokio::time::sleep(3 * peers::ROUND_INTERVAL).await;
    assert!(cluster.nodes.iter().all(|node| node.status(0).machine_version == 1));

    // As if it had been raised without asking: the old program does not guess.
    let set = rpc::Command {
        command_id: Bytes::from_static(&[9; 16]),
        action: Some(Action::SetMachineVersion(rpc::SetMachineVersion { version: 2 })),
        ..rpc::Command::default()
    };
    let raised = propose_all(&cluster.nodes, vec![Bytes::from(set.encode_to_vec())]).await;
    let line = tokio::time::timeout(Duration::from_secs(60), old.failed()).await.expect("it stops");
    let Ending::Failed(line) = line else { panic!("{line:?}") };
    assert!(line.contains("newer program") && !line.contains('\n'), "{line}");
    let applied = old.store.read().applied().clone();
    assert!(
        applied.index() < Some(raised[0].index) && applied.machine_version < 2,
        "before, not after: {applied:?}"
    );
    assert!(cluster.nodes[..2].iter().any(|node| node.status(0).machine_version == 2));
    let after = propose_all(&cluster.nodes[..2], vec![sign_up(2)]).await;
    until("the other two go on", || {
        cluster.nodes[..2].iter().all(|node| node.status(0).applied_index >= after[0].index).then_some(())
    })
    .await;
    cluster.stop().await;
}
