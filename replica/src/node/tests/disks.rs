//! What a replica makes of the disk that it starts on, and the others of it.

use super::rig::{Cluster, ELECTION_MS, bound, copy_of};
use super::*;

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
        storage_reserve_bytes: 0,
        snapshot_log_bytes: 256 * 1024 * 1024,
        log_entries_kept: 10_000,
        heartbeat_interval_ms: 50,
        election_timeout_min_ms: 200,
        election_timeout_max_ms: 400,
        worker_threads: None,
        join: false,
        machine_version_max: VERSION_MAX,
        export_direct: false,
        key_times: crate::config::KeyTimes::default(),
        tls: None,
        replicas: BTreeMap::from([(1, "127.0.0.1:1".to_owned())]),
    };
    let node = Arc::new(Node::start(&settings, Metrics::default()).await.expect("starts"));
    node.form(&settings.replicas).await.expect("forms");
    until("it leads", || node.is_leader().then_some(())).await;
    let outcomes = propose_all(std::slice::from_ref(&node), (1..=50).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    let hash = node.status(last).hash;
    node.raft.shutdown().await.expect("stops");
    // Not closed in order, and another boot: the checkpoint is thrown away and everything comes from the log.
    drop(node);
    std::fs::write(&boot_id_file, "another boot").expect("a file");
    let begun = Instant::now();
    let node = loop {
        match Node::start(&settings, Metrics::default()).await {
            Ok(node) => break Arc::new(node),
            // The checkpoint thread of the former node ends a moment after it, and syncs its files before.
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "never starts again: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    until("it has applied everything again", || (node.status(0).applied_index >= last).then_some(())).await;
    assert_eq!(node.status(last).hash, hash, "the same hash from the same log");
    until("it leads", || node.is_leader().then_some(())).await;
    let again = propose_all(std::slice::from_ref(&node), vec![sign_up(50)]).await;
    assert!(again[0].replay);
    node.stop().await.expect("stops");
}

/// Starts a replica of a running cluster on a directory and waits for what its peers make of it.
async fn decision(cluster: &Cluster, id: u64, dir: &Path) -> Result<Arc<Node>, String> {
    let settings = cluster.settings(id, dir, "127.0.0.1:1".parse().expect("an address"));
    let node = Node::start(&settings, Metrics::default()).await.map_err(|error| error.to_string())?;
    let decided = tokio::time::timeout(Duration::from_secs(60), node.gate.decided()).await.expect("in time");
    if let Err(line) = decided {
        assert_eq!(node.failed().await, Ending::Refused(line.clone()));
        let vote = rpc::VoteRequest {
            vote: Some(rpc::Vote { term: 1_000, node_id: 1, committed: false }),
            ..rpc::VoteRequest::default()
        };
        let service = node.peer_service();
        use rpc::raft_server::Raft as _;
        let refused = service.vote(tonic::Request::new(vote)).await.expect_err("it must not vote");
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        let append = rpc::AppendRequest::default();
        let refused = service.append_once(tonic::Request::new(append)).await.expect_err("nor acknowledge");
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        return Err(line);
    }
    Ok(Arc::new(node))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_disk_neither_votes_nor_acknowledges() {
    let mut cluster = cluster(3, 3).await;
    let outcomes = propose_all(&cluster.nodes, (1..=50).map(sign_up).collect()).await;
    cluster.agree(outcomes.last().expect("some").index).await;
    let at = cluster.nodes.iter().position(|node| !node.is_leader()).expect("two of three");
    let id = cluster.nodes[at].id();
    let old = copy_of(cluster.dirs[at].path());
    let after = propose_all(&cluster.nodes, (51..=100).map(sign_up).collect()).await;
    let last = after.last().expect("some").index;
    cluster.agree(last).await;
    let stopped = cluster.nodes.remove(at);
    // The leader's next heartbeat tells the other follower too; then it is enough to ask either.
    until("both others know how far it has come", || {
        let has_come =
            |of: &rpc::Acknowledged| of.replica_id == id && of.log_id.is_some_and(|it| it.index >= last);
        cluster.nodes.iter().all(|node| node.memory.tell().iter().any(has_come)).then_some(())
    })
    .await;
    cluster.servers.remove(at).abort();
    stopped.raft.shutdown().await.expect("stops");
    let (current, empty) = (copy_of(cluster.dirs[at].path()), tempfile::tempdir().expect("a folder"));

    let line = decision(&cluster, id, old.path()).await.expect_err("an old copy");
    let expected = format!("is older than what replica {id} acknowledged");
    assert!(line.contains(&expected) && line.contains("replica member replace"), "{line}");
    assert!(!line.contains('\n'), "{line}");
    let again = decision(&cluster, id, copy_of(old.path()).path()).await.expect_err("for good");
    assert_eq!(again, line, "however often it is started");
    let line = decision(&cluster, id, empty.path()).await.expect_err("an emptied directory");
    assert!(line.contains(&expected), "{line}");

    let learner = decision(&cluster, 9, tempfile::tempdir().expect("a folder").path()).await;
    learner.expect("a new replica has acknowledged nothing").raft.shutdown().await.expect("stops");
    let began = Instant::now();
    let back = decision(&cluster, id, current.path()).await.expect("its own disk is taken back");
    println!("admitted after {:?}", began.elapsed());
    back.raft.shutdown().await.expect("stops");
    // The directory that just ran is ahead of the copy that was taken before it by one start.
    let stale = copy_of(cluster.dirs[at].path());
    let line = decision(&cluster, id, stale.path()).await.expect_err("a copy of before the last start");
    assert!(line.contains("start number"), "{line}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_start_together_after_a_full_stop() {
    // Their places are kept over the stop: no other test, nor a connection of one, takes a port meanwhile.
    let (mut places, mut kept) = (BTreeMap::new(), BTreeMap::new());
    for (id, listener) in bound(3).await {
        let listener = listener.into_std().expect("a listener");
        let again = listener.try_clone().expect("clones");
        places.insert(id, tokio::net::TcpListener::from_std(listener).expect("a listener"));
        kept.insert(id, tokio::net::TcpListener::from_std(again).expect("a listener"));
    }
    let mut first = Cluster::formed(places, 3, ELECTION_MS).await;
    let outcomes = propose_all(&first.nodes, (1..=50).map(sign_up).collect()).await;
    let last = outcomes.last().expect("some").index;
    first.agree(last).await;
    let copies: Vec<TempDir> = first.dirs.iter().map(|dir| copy_of(dir.path())).collect();
    for node in &first.nodes {
        node.raft.shutdown().await.expect("stops");
    }
    for server in first.servers.drain(..) {
        server.abort();
        let _ = server.await;
    }
    let mut second = Cluster::new(kept, ELECTION_MS);
    for (id, dir) in (1..).zip(copies) {
        let listener = second.waiting.remove(&id).expect("kept");
        second.start_in(id, dir, listener).await;
    }
    let again = propose_all(&second.nodes, vec![sign_up(7), sign_up(51)]).await;
    assert!(again[0].replay && !again[1].replay);
    second.agree(again[1].index).await;
    second.stop().await;
}

/// At whose end each connection is taken and its bytes are held up for so long.
fn slow_door(public: tokio::net::TcpListener, to: std::net::SocketAddr, delay: Duration) {
    tokio::spawn(async move {
        while let Ok((mut from, _)) = public.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if let Ok(mut onward) = tokio::net::TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut onward).await;
                }
            });
        }
    });
}

/// Whoever answered within 0.3 s was heard, and nobody else once they were a majority: a slow leader that alone knew of the last
/// heartbeat's worth could be lost then, with what it knew.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_answers_late_is_heard_before_a_starting_one_takes_part() {
    const SLOW: Duration = Duration::from_millis(350);
    let mut cluster = Cluster::new(bound(3).await, ELECTION_MS);
    let (public, own) =
        (cluster.waiting.remove(&2).expect("bound"), bound(1).await.remove(&1).expect("bound"));
    slow_door(public, own.local_addr().expect("bound"), SLOW);
    cluster.start(1).await;
    cluster.start(3).await;
    cluster.start_in(2, tempfile::tempdir().expect("a folder"), own).await;
    for node in &cluster.nodes {
        node.gate.decided().await.expect("admitted");
    }
    cluster.nodes[0].form(&cluster.replicas).await.expect("forms");
    cluster.nodes[0].raft.trigger().elect(false).await.expect("runs");
    let made = propose_all(&cluster.nodes, vec![sign_up(1)]).await;
    cluster.agree(made[0].index).await;
    let stopped = cluster.nodes.remove(1);
    cluster.servers.remove(1).abort();
    stopped.raft.shutdown().await.expect("stops");
    // The slow one alone knows that it voted later: followers tell nobody but who asks.
    let vote = rpc::Vote { term: 1_000, node_id: 3, committed: false };
    let known = rpc::Acknowledged { replica_id: 3, vote: Some(vote), ..rpc::Acknowledged::default() };
    cluster.nodes[1].memory.heard(&[known]);

    let dir = copy_of(cluster.dirs[1].path());
    // On a busy machine the slow one may be slower than a start waits; and for a moment a node that was stopped holds its folder still.
    let mut came = Vec::new();
    for _ in 0..20 {
        match decision(&cluster, 3, dir.path()).await {
            Err(line) if line.contains("replica 2 knows") => return cluster.stop().await,
            Err(line) => came.push(line),
            Ok(node) => {
                came.push("it takes part without having heard the slow one".to_owned());
                node.stop().await.expect("stops");
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{came:#?}");
}
