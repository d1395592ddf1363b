//! Clusters in one process, and what every test of them does.

use super::*;

/// Election timeouts: longer than a machine that has other things to do holds a thread or a disk up, so that nobody is elected but
/// where a test wants it.
pub(super) const ELECTION_MS: (u64, u64) = (2_000, 4_000);

pub(in crate::node) struct Cluster {
    pub(in crate::node) nodes: Vec<Arc<Node>>,
    election_ms: (u64, u64),
    pub(super) servers: Vec<tokio::task::JoinHandle<()>>,
    pub(super) dirs: Vec<TempDir>,
    pub(super) replicas: BTreeMap<u64, String>,
    /// Bound, but nobody serves there yet.
    pub(super) waiting: BTreeMap<u64, tokio::net::TcpListener>,
}

/// A formed cluster of `size` replicas, of which the first `running` run.
pub(in crate::node) async fn cluster(size: u64, running: u64) -> Cluster {
    Cluster::formed(bound(size).await, running, ELECTION_MS).await
}

/// Places for so many replicas.
pub(super) async fn bound(size: u64) -> BTreeMap<u64, tokio::net::TcpListener> {
    let mut waiting = BTreeMap::new();
    for id in 1..=size {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        waiting.insert(id, listener);
    }
    waiting
}

impl Cluster {
    /// Of nobody yet.
    pub(super) fn new(waiting: BTreeMap<u64, tokio::net::TcpListener>, election_ms: (u64, u64)) -> Self {
        let address = |listener: &tokio::net::TcpListener| listener.local_addr().expect("bound").to_string();
        let replicas = waiting.iter().map(|(id, listener)| (*id, address(listener))).collect();
        Self { nodes: Vec::new(), election_ms, servers: Vec::new(), dirs: Vec::new(), replicas, waiting }
    }

    pub(super) async fn formed(
        waiting: BTreeMap<u64, tokio::net::TcpListener>,
        running: u64,
        election_ms: (u64, u64),
    ) -> Self {
        let mut cluster = Self::new(waiting, election_ms);
        for id in 1..=running {
            cluster.start(id).await;
        }
        // Whoever is not admitted yet does not vote, and the first election would wait for a second one.
        for node in &cluster.nodes {
            node.gate.decided().await.expect("admitted");
        }
        cluster.nodes[0].form(&cluster.replicas).await.expect("forms");
        // At once: nobody is to wait for the first one.
        cluster.nodes[0].raft.trigger().elect(false).await.expect("runs");
        cluster
    }

    pub(super) async fn start(&mut self, id: u64) {
        self.start_supporting(id, VERSION_MAX).await;
    }

    pub(super) async fn start_supporting(&mut self, id: u64, machine_version_max: u32) {
        let listener = self.waiting.remove(&id).expect("not started before");
        let dir = tempfile::tempdir().expect("a folder");
        let settings = self.settings(id, dir.path(), listener.local_addr().expect("bound"));
        self.run(Settings { machine_version_max, ..settings }, dir, listener).await;
    }

    pub(super) fn settings(&self, id: u64, dir: &Path, listen: std::net::SocketAddr) -> Settings {
        let boot_id_file = dir.join("boot");
        std::fs::write(&boot_id_file, "boot").expect("a file");
        Settings {
            id,
            // Of its own name: a port that was let go may be another test's a moment later.
            cluster: self.replicas[&1].clone(),
            data_dir: dir.to_owned(),
            listen,
            http_listen: None,
            cluster_secret_file: dir.join("secret"),
            boot_id_file,
            clock_offset_ms: 0,
            storage_reserve_bytes: 0,
            snapshot_log_bytes: 256 * 1024 * 1024,
            log_entries_kept: 10_000,
            heartbeat_interval_ms: 100,
            election_timeout_min_ms: self.election_ms.0,
            election_timeout_max_ms: self.election_ms.1,
            worker_threads: None,
            join: false,
            machine_version_max: VERSION_MAX,
            export_direct: false,
            key_times: crate::config::KeyTimes::default(),
            tls: None,
            replicas: self.replicas.clone(),
        }
    }

    pub(super) async fn start_in(&mut self, id: u64, dir: TempDir, listener: tokio::net::TcpListener) {
        let settings = self.settings(id, dir.path(), listener.local_addr().expect("bound"));
        self.run(settings, dir, listener).await;
    }

    async fn run(&mut self, settings: Settings, dir: TempDir, listener: tokio::net::TcpListener) {
        let node = Arc::new(Node::start(&settings, Metrics::default()).await.expect("starts"));
        node.watch_peers(&settings).expect("a good cluster id");
        let service = rpc::raft_server::RaftServer::new(node.peer_service());
        let admin = rpc::admin_server::AdminServer::new(AdminService::new(node.clone(), &settings));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        self.servers.push(tokio::spawn(async move {
            let served = tonic::transport::Server::builder().add_service(service).add_service(admin);
            served.serve_with_incoming(incoming).await.expect("serves");
        }));
        self.nodes.push(node);
        self.dirs.push(dir);
    }

    pub(in crate::node) async fn leader(&self) -> Arc<Node> {
        until("a leader", || self.nodes.iter().find(|node| node.is_leader()).cloned()).await
    }

    /// Has another lead than this one. On a busy machine one try may find nobody who answers in time.
    pub(in crate::node) async fn another_leader(&self, than: &Node) -> Arc<Node> {
        for _ in 0..30 {
            than.hand_over().await;
            for _ in 0..100 {
                let next = self.nodes.iter().find(|node| node.is_leader() && node.id() != than.id());
                if let Some(next) = next {
                    return next.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("waited 60 s in vain: another leader");
    }

    pub(super) async fn agree(&self, index: u64) {
        until("all have applied", || {
            self.nodes.iter().all(|node| node.status(0).applied_index >= index).then_some(())
        })
        .await;
        let hashes: Vec<String> = self.nodes.iter().map(|node| node.status(index).hash).collect();
        assert!(!hashes[0].is_empty());
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    }

    /// All have a snapshot and no log before it, so that it makes no difference who leads.
    pub(super) async fn purge(&self, last: u64) {
        for node in &self.nodes {
            until("it is applied", || (node.status(0).applied_index >= last).then_some(())).await;
            node.raft.trigger().snapshot().await.expect("runs");
            until("a snapshot", || (node.status(0).snapshot_index >= last).then_some(())).await;
            node.raft.trigger().purge_log(last).await.expect("runs");
            until("the log is purged", || (node.status(0).purged_index >= last).then_some(())).await;
        }
    }

    /// All have applied this much and, from some entry on, agree.
    pub(super) async fn agree_from(&self, index: u64) {
        until("all have applied", || {
            self.nodes.iter().all(|node| node.status(0).applied_index >= index).then_some(())
        })
        .await;
        let after = propose_all(&self.nodes, vec![sign_up(1_000_000)]).await;
        self.agree(after[0].index).await;
    }

    pub(in crate::node) async fn stop(self) {
        for node in &self.nodes {
            node.stop().await.expect("stops");
        }
        for server in self.servers {
            server.abort();
        }
    }
}

pub(in crate::node) async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = check() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 60 s in vain: {what}");
}

pub(in crate::node) fn sign_up(n: u128) -> Bytes {
    sign_up_with(n, "$argon2id$")
}

pub(super) fn sign_up_with(n: u128, password_phc: &str) -> Bytes {
    let create = rpc::CreateUser {
        name: format!("user{n}"),
        display_name: "User".into(),
        password_phc: password_phc.to_owned(),
    };
    let command = rpc::Command {
        command_id: Bytes::copy_from_slice(&n.to_be_bytes()),
        action: Some(Action::CreateUser(create)),
        ..rpc::Command::default()
    };
    Bytes::from(command.encode_to_vec())
}

/// Proposes until whoever leads has taken it: one that has just been elected refuses until a quorum has answered it, and what a
/// leader had taken is of unknown fate when another is elected. The commands' ids make the next try no second time.
pub(in crate::node) async fn propose_all(nodes: &[Arc<Node>], commands: Vec<Bytes>) -> Vec<rpc::Outcome> {
    let mut said = Vec::new();
    for _ in 0..3_000 {
        for node in nodes.iter().filter(|node| node.is_leader()) {
            match node.propose(commands.clone()).await {
                Ok(outcomes) => {
                    said = outcomes.collect().await;
                    if said.iter().all(Result::is_ok) {
                        return said.into_iter().flatten().collect();
                    }
                }
                Err(ProposeError::NotLeader | ProposeError::Unknown) => {}
                Err(ProposeError::StorageLow) => panic!("no room on the disk"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 60 s in vain for a leader to accept: {said:?}");
}

/// A directory as a crash at this moment leaves it: without what goes while it is copied.
pub(super) fn copy_of(dir: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).expect("a folder") {
            let path = entry.expect("an entry").path();
            let target = to.join(path.file_name().expect("a name"));
            if path.is_dir() {
                std::fs::create_dir(&target).expect("a folder");
                copy(&path, &target);
            } else if let Err(error) = std::fs::copy(&path, &target) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", path.display());
            }
        }
    }
    let target = tempfile::tempdir().expect("a folder");
    copy(dir, target.path());
    target
}

/// A leader with a snapshot, its log purged up to it, in a cluster of three of which the third has not started.
pub(super) async fn purged_pair() -> (Cluster, Arc<Node>, u64) {
    let cluster = cluster(3, 2).await;
    let outcomes = propose_all(&cluster.nodes, (1..=500).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    cluster.purge(last).await;
    let leader = cluster.leader().await;
    (cluster, leader, last)
}
