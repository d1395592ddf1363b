//! openraft's own storage suite against the real log and store, and a cluster of three nodes in one process.

use std::collections::BTreeMap;
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
use crate::store::Store;

struct Builder;

fn stores(dir: &TempDir) -> (LogStore, StateMachine) {
    let boot = dir.path().join("boot");
    std::fs::write(&boot, "boot").expect("a file");
    let log = LogStore::open(&dir.path().join("log")).expect("opens");
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

struct Cluster {
    nodes: Vec<Arc<Node>>,
    servers: Vec<tokio::task::JoinHandle<()>>,
    dirs: Vec<TempDir>,
    replicas: BTreeMap<u64, String>,
    /// Bound, but nobody serves there yet.
    waiting: BTreeMap<u64, tokio::net::TcpListener>,
}

/// A formed cluster of `size` replicas, of which the first `running` run.
async fn cluster(size: u64, running: u64) -> Cluster {
    let mut waiting = BTreeMap::new();
    for id in 1..=size {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        waiting.insert(id, listener);
    }
    let address = |listener: &tokio::net::TcpListener| listener.local_addr().expect("bound").to_string();
    let replicas = waiting.iter().map(|(id, listener)| (*id, address(listener))).collect();
    let mut cluster = Cluster { nodes: Vec::new(), servers: Vec::new(), dirs: Vec::new(), replicas, waiting };
    for id in 1..=running {
        cluster.start(id).await;
    }
    cluster.nodes[0].form(&cluster.replicas).await.expect("forms");
    cluster
}

impl Cluster {
    async fn start(&mut self, id: u64) {
        let listener = self.waiting.remove(&id).expect("not started before");
        let dir = tempfile::tempdir().expect("a folder");
        let boot_id_file = dir.path().join("boot");
        std::fs::write(&boot_id_file, "boot").expect("a file");
        let settings = Settings {
            id,
            cluster: "test".into(),
            data_dir: dir.path().to_owned(),
            listen: listener.local_addr().expect("bound"),
            http_listen: None,
            cluster_secret_file: dir.path().join("secret"),
            boot_id_file,
            clock_offset_ms: 0,
            heartbeat_interval_ms: 100,
            election_timeout_min_ms: 500,
            election_timeout_max_ms: 1_000,
            replicas: self.replicas.clone(),
        };
        let node = Arc::new(Node::start(&settings, Metrics::default()).await.expect("starts"));
        let service = rpc::raft_server::RaftServer::new(node.peer_service());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        self.servers.push(tokio::spawn(async move {
            let served = tonic::transport::Server::builder().add_service(service);
            served.serve_with_incoming(incoming).await.expect("serves");
        }));
        self.nodes.push(node);
        self.dirs.push(dir);
    }

    async fn leader(&self) -> Arc<Node> {
        until("a leader", || self.nodes.iter().find(|node| node.is_leader()).cloned()).await
    }

    async fn agree(&self, index: u64) {
        until("all have applied", || {
            self.nodes.iter().all(|node| node.status(0).applied_index >= index).then_some(())
        })
        .await;
        let hashes: Vec<String> = self.nodes.iter().map(|node| node.status(index).hash).collect();
        assert!(!hashes[0].is_empty());
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    }

    async fn stop(self) {
        for node in &self.nodes {
            node.stop().await.expect("stops");
        }
        for server in self.servers {
            server.abort();
        }
    }
}

async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = check() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 20 s in vain: {what}");
}

fn sign_up(n: u128) -> Bytes {
    let create = rpc::CreateUser {
        name: format!("user{n}"),
        display_name: "User".into(),
        password_phc: "$argon2id$".into(),
    };
    let command = rpc::Command {
        command_id: Bytes::copy_from_slice(&n.to_be_bytes()),
        action: Some(Action::CreateUser(create)),
        ..rpc::Command::default()
    };
    Bytes::from(command.encode_to_vec())
}

/// Proposes until the leader takes it: one that has just been elected refuses until a quorum has answered it.
async fn propose_all(node: &Node, commands: Vec<Bytes>) -> Vec<rpc::Outcome> {
    for _ in 0..500 {
        if let Ok(outcomes) = node.propose(commands.clone()).await {
            let outcomes: Vec<_> = outcomes.collect().await;
            if outcomes.iter().all(Result::is_ok) {
                return outcomes.into_iter().flatten().collect();
            }
            assert!(outcomes.iter().all(|outcome| *outcome == Err(ProposeError::NotLeader)), "{outcomes:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 10 s in vain for the leader to accept");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_agree_and_hand_leadership_over() {
    let cluster = cluster(3, 3).await;
    let leader = cluster.leader().await;
    let outcomes = propose_all(&leader, (1..=200).map(sign_up).collect()).await;
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

    leader.hand_over().await;
    let next = until("another leader", || {
        cluster.nodes.iter().find(|node| node.is_leader() && node.id() != leader.id()).cloned()
    })
    .await;
    let again = propose_all(&next, vec![sign_up(1), sign_up(201)]).await;
    assert!(again[0].replay, "a retry at the next leader is answered with the original");
    assert_eq!(again[0].index, outcomes[0].index);
    assert!(!again[1].replay);
    for node in &cluster.nodes {
        node.linearize().await.expect("the leader by itself, a follower through it");
        assert!(
            node.status(0).applied_index >= again[1].index,
            "what was acknowledged before is applied here"
        );
    }
    cluster.agree(again[1].index).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_after_the_log_was_purged_is_given_a_snapshot() {
    let mut cluster = cluster(3, 2).await;
    let leader = cluster.leader().await;
    let outcomes = propose_all(&leader, (1..=500).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    leader.raft.trigger().snapshot().await.expect("runs");
    until("a snapshot", || (leader.status(0).snapshot_index >= last).then_some(())).await;
    leader.raft.trigger().purge_log(last).await.expect("runs");
    until("the log is purged", || (leader.status(0).purged_index >= last).then_some(())).await;
    let after = propose_all(&leader, vec![sign_up(501)]).await;
    cluster.start(3).await;
    cluster.agree(after[0].index).await;
    let late = cluster.nodes.last().expect("three");
    assert!(late.status(0).snapshot_index >= last, "it came by snapshot, not by log");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_finds_its_data_and_replays_its_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let boot_id_file = dir.path().join("boot");
    std::fs::write(&boot_id_file, "boot").expect("a file");
    let settings = Settings {
        id: 1,
        cluster: "test".into(),
        data_dir: dir.path().to_owned(),
        listen: "127.0.0.1:1".parse().expect("an address"),
        http_listen: None,
        cluster_secret_file: dir.path().join("secret"),
        boot_id_file: boot_id_file.clone(),
        clock_offset_ms: 0,
        heartbeat_interval_ms: 50,
        election_timeout_min_ms: 200,
        election_timeout_max_ms: 400,
        replicas: BTreeMap::from([(1, "127.0.0.1:1".to_owned())]),
    };
    let node = Node::start(&settings, Metrics::default()).await.expect("starts");
    node.form(&settings.replicas).await.expect("forms");
    until("it leads", || node.is_leader().then_some(())).await;
    let outcomes = propose_all(&node, (1..=50).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    let hash = node.status(last).hash;
    node.raft.shutdown().await.expect("stops");
    // Not closed in order, and another boot: the checkpoint is thrown away and everything comes from the log.
    drop(node);
    std::fs::write(&boot_id_file, "another boot").expect("a file");
    let mut started = None;
    for _ in 0..200 {
        match Node::start(&settings, Metrics::default()).await {
            Ok(node) => {
                started = Some(node);
                break;
            }
            // The checkpoint thread of the former node ends a moment after it.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    let node = started.expect("starts again");
    until("it has applied everything again", || (node.status(0).applied_index >= last).then_some(())).await;
    assert_eq!(node.status(last).hash, hash, "the same hash from the same log");
    until("it leads", || node.is_leader().then_some(())).await;
    let again = propose_all(&node, vec![sign_up(50)]).await;
    assert!(again[0].replay);
    node.stop().await.expect("stops");
}
