//! The replicas as this gateway reaches them: two connections each, and what is known about them.
//!
//! Owns addresses, channels and the map from replica ids to addresses. Must not know sessions or commands.
//!
//! Streams (Submit, Feed) and reads go over separate connections, so that a page of history never delays an ack.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use quorate_proto::CLUSTER_METADATA;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::{StatusRequest, StatusResponse};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A replica on the same network answers a connect in well under this; a dead one must not hold up the next attempt.
const CONNECT_WAIT: Duration = Duration::from_millis(150);
/// HTTP/2 ping interval: finds a paused or cut-off replica that resets nothing.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(200);
/// An unanswered HTTP/2 ping closes the connection after this.
const KEEPALIVE_WAIT: Duration = Duration::from_millis(400);
/// A status answer comes from memory.
const STATUS_WAIT: Duration = Duration::from_millis(300);
/// Bytes a replica may have under way on one stream: an event burst passes without waiting for window updates.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Largest message from a replica: a resume of 1,000 full texts fits.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A client of a replica's Chat service; every call carries the cluster id.
pub type ChatRpc = ChatClient<InterceptedService<Channel, ClusterTag>>;

/// Puts the cluster id on every call.
#[derive(Debug, Clone)]
pub struct ClusterTag(MetadataValue<Ascii>);

impl Interceptor for ClusterTag {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(CLUSTER_METADATA, self.0.clone());
        Ok(request)
    }
}

#[derive(Debug)]
struct Replica {
    address: String,
    streams: Channel,
    reads: Channel,
}

/// All configured replicas. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Replicas {
    list: Vec<Replica>,
    tag: ClusterTag,
    /// Where the feed is: most likely the freshest for this gateway's sessions.
    preferred: AtomicUsize,
    /// Where submits go; out of range while nobody leads.
    leader: AtomicUsize,
    /// Replica ids, learnt from status answers.
    ids: Mutex<HashMap<u64, usize>>,
    /// The highest log index this gateway has seen in any answer.
    known_index: AtomicU64,
}

impl Replicas {
    /// Lazily connected channels to `addresses`.
    ///
    /// # Errors
    /// When an address or the cluster id cannot be used; the configuration check refuses those before.
    pub fn new(cluster: &str, addresses: &[String], preferred: usize) -> anyhow::Result<Self> {
        let mut list = Vec::with_capacity(addresses.len());
        for address in addresses {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?
                .connect_timeout(CONNECT_WAIT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_WAIT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
            list.push(Replica {
                address: address.clone(),
                streams: endpoint.connect_lazy(),
                reads: endpoint.connect_lazy(),
            });
        }
        anyhow::ensure!(!list.is_empty(), "no replicas");
        Ok(Self {
            preferred: AtomicUsize::new(preferred % list.len()),
            leader: AtomicUsize::new(usize::MAX),
            list,
            tag: ClusterTag(cluster.parse()?),
            ids: Mutex::new(HashMap::new()),
            known_index: AtomicU64::new(0),
        })
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The address of one.
    pub fn address(&self, at: usize) -> &str {
        &self.list[at].address
    }

    /// A client for Submit and Feed.
    pub fn streams(&self, at: usize) -> ChatRpc {
        ChatClient::with_interceptor(self.list[at].streams.clone(), self.tag.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client for Read and Token.
    pub fn reads(&self, at: usize) -> ChatRpc {
        ChatClient::with_interceptor(self.list[at].reads.clone(), self.tag.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Where reads go first.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// The feed moved.
    pub fn prefer(&self, at: usize) {
        self.preferred.store(at, Ordering::Relaxed);
    }

    /// Where submits go at present.
    pub fn leader(&self) -> Option<usize> {
        let at = self.leader.load(Ordering::Relaxed);
        (at < self.list.len()).then_some(at)
    }

    /// Submits go here now, or nowhere.
    pub fn set_leader(&self, at: Option<usize>) {
        self.leader.store(at.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// The highest index seen in any answer.
    pub fn known_index(&self) -> u64 {
        self.known_index.load(Ordering::Relaxed)
    }

    /// An answer spoke of this index.
    pub fn saw_index(&self, index: u64) {
        self.known_index.fetch_max(index, Ordering::Relaxed);
    }

    /// Which of ours a hint means: by address, else by an id learnt before.
    pub fn resolve(&self, id: u64, address: &str) -> Option<usize> {
        if let Some(at) = self.list.iter().position(|replica| replica.address == address) {
            return Some(at);
        }
        self.ids.lock().expect("no holder of this lock panics").get(&id).copied()
    }

    /// The id of one, if a status answer told it.
    pub fn id_of(&self, at: usize) -> Option<u64> {
        let ids = self.ids.lock().expect("no holder of this lock panics");
        ids.iter().find(|(_, known)| **known == at).map(|(id, _)| *id)
    }

    /// Asks all replicas how they are, at once; the answers as they come, each within its time.
    pub fn ask_all(
        self: &Arc<Self>,
    ) -> FuturesUnordered<BoxFuture<'static, (usize, Option<StatusResponse>)>> {
        (0..self.list.len())
            .map(|at| {
                let replicas = Arc::clone(self);
                async move { (at, replicas.status(at).await) }.boxed()
            })
            .collect()
    }

    async fn status(&self, at: usize) -> Option<StatusResponse> {
        let mut client = AdminClient::with_interceptor(self.list[at].reads.clone(), self.tag.clone());
        let answer = tokio::time::timeout(STATUS_WAIT, client.status(StatusRequest::default())).await;
        let status = answer.ok()?.ok()?.into_inner();
        self.ids.lock().expect("no holder of this lock panics").insert(status.id, at);
        Some(status)
    }
}
