//! Snapshots on their way: received at once, broken off, and gone on with.

use super::rig::{purged_pair, sign_up_with};
use super::*;

/// A replica that nobody leads, so that a test is the only sender.
struct Receiver {
    node: Arc<Node>,
    client: network::Client,
    server: tokio::task::JoinHandle<()>,
    dir: TempDir,
    /// The place that the others know: nobody serves there, and no other test does either.
    _place: tokio::net::TcpListener,
}

async fn receiver(cluster: &mut Cluster, leader: &Node) -> Receiver {
    let place = cluster.waiting.remove(&3).expect("not started");
    let dir = tempfile::tempdir().expect("a folder");
    let settings = cluster.settings(3, dir.path(), place.local_addr().expect("bound"));
    let node = Arc::new(Node::start(&settings, Metrics::default()).await.expect("starts"));
    node.gate.decided().await.expect("admitted");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let service = rpc::raft_server::RaftServer::new(node.peer_service());
    let server = tokio::spawn(async move {
        let served = tonic::transport::Server::builder().add_service(service);
        served.serve_with_incoming(incoming).await.expect("serves");
    });
    let client = leader.network.client(3, &address).expect("an address");
    Receiver { node, client, server, dir, _place: place }
}

#[tokio::test(flavor = "multi_thread")]
async fn receptions_that_overlap_do_not_touch_each_others_files() {
    use rpc::snapshot_chunk::{Header, Part};
    let (mut cluster, leader, last) = purged_pair().await;
    let file = leader.store.current_snapshot().expect("reads").expect("one");
    let bytes = Bytes::from(std::fs::read(&file.path).expect("reads"));
    let (bytes_total, half) = (bytes.len() as u64, bytes.len() / 2);
    let Receiver { node, mut client, server, dir, _place } = receiver(&mut cluster, &leader).await;
    let header = |id: &str, offset: u64| {
        let meta = rpc::SnapshotMeta {
            last_log_id: file.applied.log_id,
            membership: file.applied.membership.clone(),
            snapshot_id: id.to_owned(),
        };
        let vote = Some(rpc::Vote { term: 1_000, node_id: 1, committed: true });
        rpc::SnapshotChunk {
            part: Some(Part::Header(Header { vote, meta: Some(meta), bytes_total, offset })),
        }
    };
    let data = |data: Bytes| rpc::SnapshotChunk { part: Some(Part::Data(data)) };
    // One that is under way.
    let (sender, chunks) = tokio::sync::mpsc::channel(4);
    let mut slow = client.clone();
    let first = tokio::spawn(async move {
        slow.install_snapshot(tokio_stream::wrappers::ReceiverStream::new(chunks)).await
    });
    sender.send(header("one", 0)).await.expect("takes it");
    sender.send(data(bytes.slice(..half))).await.expect("takes it");
    let progress = |node: &Node| {
        let status = node.status(0);
        (status.snapshot_received_bytes, status.snapshot_total_bytes)
    };
    until("half of it", || (progress(&node) == (half as u64, bytes_total)).then_some(())).await;
    let text = node.metrics().render(&node.status(0), 0, 0, 0);
    assert!(text.contains(&format!("quorate_replica_snapshot_received_bytes {half}\n")), "{text}");
    // Another one does not come between, whatever it is.
    for id in ["one", "two"] {
        let other = tokio_stream::iter([header(id, 0), data(bytes.clone())]);
        let refused = client.install_snapshot(other).await.expect_err("one at a time");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    }
    // Its caller goes: what has come is kept, and the next caller goes on there.
    first.abort();
    until("the broken one is over", || (progress(&node) == (0, 0)).then_some(())).await;
    let ask = rpc::SnapshotReceivedRequest { snapshot_id: "one".to_owned() };
    assert_eq!(client.snapshot_received(ask).await.expect("answers").into_inner().bytes, half as u64);
    // A caller that goes as soon as it has sent the rest, and others that come while what it sent is verified and installed.
    let rest = tokio_stream::iter([header("one", half as u64), data(bytes.slice(half..))]);
    let mut hasty = client.clone();
    let hasty = tokio::spawn(async move { hasty.install_snapshot(rest).await });
    until("the rest has come", || {
        let (received, _) = progress(&node);
        (received == bytes_total || node.status(0).applied_index >= last).then_some(())
    })
    .await;
    hasty.abort();
    for _ in 0..3_000 {
        let again = tokio_stream::iter([header("two", 0), data(bytes.clone())]);
        match client.install_snapshot(again).await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("it is installed", || (node.status(0).applied_index >= last).then_some(())).await;
    // The snapshot may hold an entry of the leader's own after `last`.
    let at = file.applied.index().expect("some");
    assert_eq!((node.status(at).hash, at >= last), (leader.status(at).hash, true));
    let own = node.store.current_snapshot().expect("reads").expect("one");
    Store::verify_snapshot(&own.path).expect("whole");
    assert_eq!(node.log.failure().told().or(node.store.failure().told()), None);
    let left = || std::fs::read_dir(dir.path().join("snapshots")).expect("reads").count();
    until("nothing else is left", || (left() == 1).then_some(())).await;
    node.stop().await.expect("stops");
    server.abort();
    cluster.stop().await;
}

/// Passes bytes on between a listener and an address; one connection breaks after so many bytes to that address.
struct BreakingProxy {
    /// Bytes passed on by every connection that carried more than anything but a snapshot does.
    carried: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl BreakingProxy {
    fn start(listener: tokio::net::TcpListener, to: std::net::SocketAddr, break_after: u64) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let carried = Arc::new(AtomicU64::new(0));
        let (count, broken) = (carried.clone(), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let Ok(onward) = tokio::net::TcpStream::connect(to).await else { continue };
                let (count, broken) = (count.clone(), broken.clone());
                let (mut from_read, mut from_write) = from.into_split();
                let (mut to_read, mut to_write) = onward.into_split();
                let back = tokio::spawn(async move { tokio::io::copy(&mut to_read, &mut from_write).await });
                tokio::spawn(async move {
                    let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0_u64);
                    while let Ok(length @ 1..) = from_read.read(&mut buffer).await {
                        if to_write.write_all(&buffer[..length]).await.is_err() {
                            break;
                        }
                        passed += length as u64;
                        if passed >= break_after && !broken.swap(true, Ordering::Relaxed) {
                            break;
                        }
                    }
                    if passed > SNAPSHOT_TEST_BYTES_LEAST {
                        count.fetch_add(passed, Ordering::Relaxed);
                    }
                    back.abort();
                });
            }
        });
        Self { carried, task }
    }
}

/// No connection but a snapshot's carries so much in these tests.
const SNAPSHOT_TEST_BYTES_LEAST: u64 = 256 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_snapshot_transfer_sends_again_only_what_was_lost() {
    const MIB: u64 = 1024 * 1024;
    let mut cluster = cluster(3, 2).await;
    let leader = cluster.leader().await;
    let mut last = 0;
    for batch in 0..16 {
        let some = (batch * 500 + 1..=(batch + 1) * 500).map(|n| sign_up_with(n, &"x".repeat(500)));
        last = propose_all(&cluster.nodes, some.collect()).await.last().expect("some").index;
    }
    cluster.purge(last).await;
    let file = leader.store.current_snapshot().expect("reads").expect("one");
    let bytes = std::fs::metadata(&file.path).expect("there").len();
    assert!(bytes > 5 * MIB, "{bytes}");
    // The third's address leads through a proxy that breaks after the first three MiB.
    let public = cluster.waiting.remove(&3).expect("not started");
    let own = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let break_after = 3 * MIB + MIB / 2;
    let proxy = BreakingProxy::start(public, own.local_addr().expect("bound"), break_after);
    let dir = tempfile::tempdir().expect("a folder");
    cluster.start_in(3, dir, own).await;
    cluster.agree_from(last).await;
    // Connections are counted when they end.
    let late = cluster.nodes[2].clone();
    cluster.stop().await;
    drop(late);
    until("the last connection ends", || (proxy.carried.load(Ordering::Relaxed) >= bytes).then_some(()))
        .await;
    let again = proxy.carried.load(Ordering::Relaxed) - bytes;
    println!("{bytes} bytes of snapshot, {again} bytes more on its connections");
    // Lost is what was on its way, which is more on a busy machine; all of it only if it began anew.
    assert!(again < break_after, "{again} bytes were sent again or beside it: it began anew");
    proxy.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_transfer_goes_on_where_it_broke_off() {
    use rpc::snapshot_chunk::{Header, Part};
    let (mut cluster, leader, last) = purged_pair().await;
    let file = leader.store.current_snapshot().expect("reads").expect("one");
    let bytes = Bytes::from(std::fs::read(&file.path).expect("reads"));
    let (bytes_total, half) = (bytes.len() as u64, bytes.len() / 2);
    let Receiver { node, mut client, server, dir: _dir, _place } = receiver(&mut cluster, &leader).await;
    let meta = rpc::SnapshotMeta {
        last_log_id: file.applied.log_id,
        membership: file.applied.membership.clone(),
        snapshot_id: "one".to_owned(),
    };
    let vote = rpc::Vote { term: 1_000, node_id: 1, committed: true };
    let chunks = |offset: u64, data: Bytes| {
        let header = Header { vote: Some(vote), meta: Some(meta.clone()), bytes_total, offset };
        let parts = [Part::Header(header), Part::Data(data)];
        tokio_stream::iter(parts.map(|part| rpc::SnapshotChunk { part: Some(part) }))
    };
    let ask = || rpc::SnapshotReceivedRequest { snapshot_id: "one".to_owned() };
    let broken = client.install_snapshot(chunks(0, bytes.slice(..half))).await.expect_err("half of it");
    assert_eq!(broken.code(), tonic::Code::Aborted, "{broken}");
    let received = client.snapshot_received(ask()).await.expect("answers").into_inner().bytes;
    assert_eq!(received, half as u64);
    let ahead = client.install_snapshot(chunks(received + 1, Bytes::new())).await.expect_err("a gap");
    assert_eq!(ahead.code(), tonic::Code::FailedPrecondition);
    // The second half arrives damaged: nothing of it is kept.
    let mut damaged = bytes.slice(half..).to_vec();
    damaged[7] ^= 1;
    let refused = client.install_snapshot(chunks(received, damaged.into())).await.expect_err("damaged");
    assert_eq!(refused.code(), tonic::Code::DataLoss, "{refused}");
    assert_eq!(client.snapshot_received(ask()).await.expect("answers").into_inner().bytes, 0);
    assert_eq!(node.status(0).applied_index, 0, "and nothing of it is applied");
    let broken = client.install_snapshot(chunks(0, bytes.slice(..half))).await.expect_err("half again");
    assert_eq!(broken.code(), tonic::Code::Aborted);
    client.install_snapshot(chunks(half as u64, bytes.slice(half..))).await.expect("the rest");
    until("it is installed", || (node.status(0).applied_index >= last).then_some(())).await;
    // The snapshot may hold an entry of the leader's own after `last`.
    let at = file.applied.index().expect("some");
    assert_eq!((node.status(at).hash, at >= last), (leader.status(at).hash, true));
    // An answer that was lost is given again, without the bytes.
    client.install_snapshot(chunks(0, Bytes::new())).await.expect("it has that already");
    node.stop().await.expect("stops");
    server.abort();
    cluster.stop().await;
}
