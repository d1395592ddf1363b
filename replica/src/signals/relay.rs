//! The hop from replica to replica: a stream to each other member, on a connection of its own.
//!
//! A stream begins with the whole leases of the gateways served here, and so does whatever follows something that was
//! dropped: leases lost on the way are made good, other signals are not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use quorate_proto::rpc::relay_client::RelayClient;
use quorate_proto::rpc::relay_server::Relay;
use quorate_proto::rpc::{RelayEnd, RelayFrame};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Signals;
use crate::node::{Identity, Node};

/// Frames that wait for one peer.
const QUEUED_MAX: usize = 256;
/// Frames on their way into one connection.
const FRAMES_AHEAD: usize = 16;
/// How often it is looked who is a member, and how long a broken stream waits.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// How often the leader looks how much of the log is on how many disks: more often nobody could read it.
const KEPT_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Peer {
    address: String,
    queue: mpsc::Sender<Arc<RelayFrame>>,
    /// Something was dropped: the next frame is all leases.
    behind: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Where signals are relayed to.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<BTreeMap<u64, Peer>>);

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Gives a frame to every peer that has room.
    pub(super) fn send(&self, frame: RelayFrame) {
        let frame = Arc::new(frame);
        for peer in self.lock().values() {
            if peer.queue.try_send(Arc::clone(&frame)).is_err() {
                peer.behind.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Tells how much of the log is on how many disks while this replica leads, for its life.
pub async fn tell_kept(node: Weak<Node>) {
    let mut ticks = tokio::time::interval(KEPT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        if let Some(kept) = node.kept() {
            node.signals().keeps(kept);
        }
    }
}

/// Keeps a stream to each other member, for the life of the replica.
pub async fn run(node: Weak<Node>, own: Identity) {
    let mut rounds = tokio::time::interval(ROUND_INTERVAL);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(node) = node.upgrade() else { return };
        let (id, members, signals) = (node.id(), node.members(), Arc::clone(node.signals()));
        let mut peers = signals.peers.lock();
        peers.retain(|peer, known| {
            let stays = members.get(peer) == Some(&known.address);
            if !stays {
                known.task.abort();
            }
            stays
        });
        for (peer, address) in members {
            if peer == id || peers.contains_key(&peer) {
                continue;
            }
            let (queue, frames) = mpsc::channel(QUEUED_MAX);
            let behind = Arc::new(AtomicBool::new(false));
            let stream = Stream {
                signals: Arc::downgrade(&signals),
                own: own.clone(),
                peer,
                address: address.clone(),
                frames,
                behind: Arc::clone(&behind),
            };
            let task = tokio::spawn(stream.keep());
            peers.insert(peer, Peer { address, queue, behind, task });
        }
    }
}

struct Stream {
    signals: Weak<Signals>,
    own: Identity,
    peer: u64,
    address: String,
    frames: mpsc::Receiver<Arc<RelayFrame>>,
    behind: Arc<AtomicBool>,
}

impl Stream {
    async fn keep(mut self) {
        let channel = match self.own.channel(&self.address) {
            Ok(channel) => channel,
            Err(error) => {
                tracing::error!(peer = self.peer, address = self.address, %error, "no signals go there");
                return;
            }
        };
        loop {
            let (out, frames) = mpsc::channel(FRAMES_AHEAD);
            let mut client = RelayClient::with_interceptor(channel.clone(), self.own.to(self.peer));
            let call =
                tokio::spawn(async move { client.signals(ReceiverStream::new(frames)).await.map(drop) });
            let call = Tied(call);
            self.behind.store(true, Ordering::Relaxed);
            while self.pass_on(&out).await {}
            drop(out);
            drop(call);
            if self.signals.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(ROUND_INTERVAL).await;
            // Too old to be worth saying.
            while self.frames.try_recv().is_ok() {}
        }
    }

    /// False when the stream has ended.
    async fn pass_on(&mut self, out: &mpsc::Sender<RelayFrame>) -> bool {
        let frame = if self.behind.swap(false, Ordering::Relaxed) {
            let Some(signals) = self.signals.upgrade() else { return false };
            signals.whole_leases()
        } else {
            tokio::select! {
                frame = self.frames.recv() => match frame {
                    Some(frame) => (*frame).clone(),
                    None => return false,
                },
                () = out.closed() => return false,
            }
        };
        out.send(frame).await.is_ok()
    }
}

/// Ends a task with its owner.
struct Tied(JoinHandle<Result<(), Status>>);

impl Drop for Tied {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves the other replicas.
#[derive(Debug)]
pub struct RelayService {
    signals: Arc<Signals>,
}

impl RelayService {
    /// A service for a node's signals.
    pub fn new(node: &Node) -> Self {
        Self { signals: Arc::clone(node.signals()) }
    }
}

#[tonic::async_trait]
impl Relay for RelayService {
    async fn signals(&self, request: Request<Streaming<RelayFrame>>) -> Result<Response<RelayEnd>, Status> {
        let mut frames = request.into_inner();
        while let Some(frame) = frames.message().await? {
            self.signals.heard(frame);
        }
        Ok(Response::new(RelayEnd {}))
    }
}
