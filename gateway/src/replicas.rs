//! The replicas as this gateway reaches them: three connections each, and what is known about them.
//!
//! Owns addresses, channels and the map from replica ids to addresses. Must not know sessions or commands.
//!
//! Streams (Submit, Feed), reads and files go over separate connections, so that neither a page of history nor a film delays an
//! ack.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use quorate_proto::CLUSTER_METADATA;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::cluster_client::ClusterClient;
use quorate_proto::rpc::files_client::FilesClient;
use quorate_proto::rpc::{StatusRequest, StatusResponse};
use quorate_tls::Credentials;
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
/// Addresses remembered: a cluster's members of now, and former ones until others need the room.
const PLACES_MAX: usize = 64;
/// How often the members are asked who the members are.
const MEMBERS_INTERVAL: Duration = Duration::from_secs(2);
/// Largest message from a replica: a resume of 1,000 full texts fits.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A client of a replica's Chat service; every call carries the cluster id.
pub type ChatRpc = ChatClient<InterceptedService<Channel, ClusterTag>>;

/// A client of a replica's Files service.
pub type FilesRpc = FilesClient<InterceptedService<Channel, ClusterTag>>;

/// A client of a replica's Cluster service.
pub type ClusterRpc = ClusterClient<InterceptedService<Channel, ClusterTag>>;

/// Puts the cluster id on every call.
#[derive(Debug, Clone)]
pub struct ClusterTag(MetadataValue<Ascii>);

impl Interceptor for ClusterTag {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(CLUSTER_METADATA, self.0.clone());
        Ok(request)
    }
}

/// What is known about one replica's address.
#[derive(Debug, Clone)]
struct Replica {
    address: Arc<str>,
    streams: Channel,
    reads: Channel,
    files: Channel,
    /// False once the cluster's membership no longer has the address.
    member: bool,
}

impl Replica {
    fn new(address: &str, credentials: Option<&Credentials>) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_WAIT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_WAIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let channel = || quorate_tls::channel(&endpoint, credentials.cloned());
        let (streams, reads, files) = (channel(), channel(), channel());
        Ok(Self { address: address.into(), streams, reads, files, member: true })
    }
}

/// Every address this gateway has heard of; a place in the list keeps its meaning while it is in use.
#[derive(Debug)]
struct List {
    places: Vec<Replica>,
    /// Replica id → place, from status answers and memberships.
    ids: HashMap<u64, usize>,
    /// Term and index of the newest membership seen.
    membership_at: (u64, u64),
}

/// All replicas: the configured ones until the cluster says who its members are. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Replicas {
    list: RwLock<List>,
    tag: ClusterTag,
    credentials: Option<Credentials>,
    /// Where the feed is: most likely the freshest for this gateway's sessions.
    preferred: AtomicUsize,
    /// Where submits go; `usize::MAX` while nobody leads.
    leader: AtomicUsize,
    /// The highest log index this gateway has seen in any answer.
    known_index: AtomicU64,
}

const NOT_POISONED: &str = "no holder of this lock panics";

impl Replicas {
    /// Lazily connected channels to `addresses`.
    ///
    /// # Errors
    /// When an address or the cluster id cannot be used; the configuration check refuses those before.
    pub fn new(
        cluster: &str,
        addresses: &[String],
        preferred: usize,
        credentials: Option<Credentials>,
    ) -> anyhow::Result<Self> {
        let places = addresses.iter().map(|address| Replica::new(address, credentials.as_ref()));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!places.is_empty(), "no replicas");
        Ok(Self {
            preferred: AtomicUsize::new(preferred % places.len()),
            leader: AtomicUsize::new(usize::MAX),
            list: RwLock::new(List { places, ids: HashMap::new(), membership_at: (0, 0) }),
            tag: ClusterTag(cluster.parse()?),
            credentials,
            known_index: AtomicU64::new(0),
        })
    }

    fn list(&self) -> RwLockReadGuard<'_, List> {
        self.list.read().expect(NOT_POISONED)
    }

    /// A copy of one: channels are handles. A place is never taken out, so what was handed out stays valid.
    fn at(&self, at: usize) -> Replica {
        let list = self.list();
        list.places[at % list.places.len()].clone()
    }

    /// The places to ask, beginning with `first` or the next after it; at least one.
    pub fn order(&self, first: usize) -> Vec<usize> {
        let list = self.list();
        let count = list.places.len();
        let any_member = list.places.iter().any(|replica| replica.member);
        let order = (0..count).map(|step| (first % count + step) % count);
        order.filter(|at| !any_member || list.places[*at].member).collect()
    }

    /// How many there are to ask; at least one.
    pub fn count(&self) -> usize {
        self.order(0).len()
    }

    /// The next one to ask after this.
    pub fn next(&self, at: usize) -> usize {
        self.order(at.wrapping_add(1)).first().copied().unwrap_or(at)
    }

    /// The address of one.
    pub fn address(&self, at: usize) -> Arc<str> {
        self.at(at).address
    }

    /// A client for Submit and Feed.
    pub fn streams(&self, at: usize) -> ChatRpc {
        ChatClient::with_interceptor(self.at(at).streams, self.tag.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client for Read and Token.
    pub fn reads(&self, at: usize) -> ChatRpc {
        ChatClient::with_interceptor(self.at(at).reads, self.tag.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client for the bytes of files.
    pub fn files(&self, at: usize) -> FilesRpc {
        FilesClient::with_interceptor(self.at(at).files, self.tag.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client for changes of the cluster itself.
    pub fn cluster(&self, at: usize) -> ClusterRpc {
        ClusterClient::with_interceptor(self.at(at).reads, self.tag.clone())
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
        (at != usize::MAX).then_some(at)
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

    /// Which place a hint means: by address, else by an id learnt before. An address never heard of is a new member's.
    pub fn resolve(&self, id: u64, address: &str) -> Option<usize> {
        let list = self.list();
        let known = list.places.iter().position(|replica| &*replica.address == address);
        if let Some(at) = known.or_else(|| list.ids.get(&id).copied()) {
            return Some(at);
        }
        drop(list);
        if address.is_empty() {
            return None;
        }
        self.place(&mut self.list.write().expect(NOT_POISONED), address)
    }

    /// The id of one, if the cluster or its own status told it.
    pub fn id_of(&self, at: usize) -> Option<u64> {
        self.list().ids.iter().find(|(_, known)| **known == at).map(|(id, _)| *id)
    }

    /// The place of an address, a new one if need be.
    fn place(&self, list: &mut List, address: &str) -> Option<usize> {
        if let Some(at) = list.places.iter().position(|replica| &*replica.address == address) {
            return Some(at);
        }
        let replica = Replica::new(address, self.credentials.as_ref()).ok()?;
        if list.places.len() < PLACES_MAX {
            list.places.push(replica);
            return Some(list.places.len() - 1);
        }
        let in_use = [self.preferred(), self.leader.load(Ordering::Relaxed)];
        let mut former = (0..list.places.len()).filter(|at| !list.places[*at].member && !in_use.contains(at));
        let at = former.next()?;
        list.places[at] = replica;
        Some(at)
    }

    /// Goes by the membership of a status answer if it is newer than what was known.
    fn learn(&self, status: &StatusResponse) {
        let Some(stored) = &status.membership else { return };
        let at = stored.log_id.map_or((0, 0), |id| (id.term, id.index));
        let Some(membership) = stored.membership.as_ref().filter(|membership| !membership.nodes.is_empty())
        else {
            return;
        };
        let mut list = self.list.write().expect(NOT_POISONED);
        if at <= list.membership_at {
            return;
        }
        let mut ids = HashMap::new();
        for (id, node) in &membership.nodes {
            ids.extend(self.place(&mut list, &node.address).map(|at| (*id, at)));
        }
        for (at, replica) in list.places.iter_mut().enumerate() {
            replica.member = ids.values().any(|known| *known == at);
        }
        tracing::info!(members = ?membership.nodes.keys().collect::<Vec<_>>(), "the cluster has these members");
        list.ids = ids;
        list.membership_at = at;
    }

    /// Asks all replicas how they are, at once; the answers as they come, each within its time.
    pub fn ask_all(
        self: &Arc<Self>,
    ) -> FuturesUnordered<BoxFuture<'static, (usize, Option<StatusResponse>)>> {
        self.ask(self.order(0))
    }

    fn ask(
        self: &Arc<Self>,
        places: Vec<usize>,
    ) -> FuturesUnordered<BoxFuture<'static, (usize, Option<StatusResponse>)>> {
        places
            .into_iter()
            .map(|at| {
                let replicas = Arc::clone(self);
                async move { (at, replicas.status(at).await) }.boxed()
            })
            .collect()
    }

    async fn status(&self, at: usize) -> Option<StatusResponse> {
        self.status_within(at, StatusRequest::default(), STATUS_WAIT).await
    }

    /// How one replica says it is; `None` when it does not answer in time.
    pub async fn status_within(
        &self,
        at: usize,
        request: StatusRequest,
        wait: Duration,
    ) -> Option<StatusResponse> {
        let mut client = AdminClient::with_interceptor(self.at(at).reads, self.tag.clone());
        let answer = tokio::time::timeout(wait, client.status(request)).await;
        let status = answer.ok()?.ok()?.into_inner();
        self.learn(&status);
        self.list.write().expect(NOT_POISONED).ids.insert(status.id, at);
        Some(status)
    }

    /// Keeps up with who the members are, for as long as somebody else holds the replicas.
    pub async fn keep_current(replicas: Weak<Self>) {
        let mut refresh = tokio::time::interval(MEMBERS_INTERVAL);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            refresh.tick().await;
            let Some(replicas) = replicas.upgrade() else { return };
            let answers: Vec<_> = replicas.ask_all().collect().await;
            if answers.iter().all(|(_, status)| status.is_none()) {
                // All members may have been replaced meanwhile: whoever was known before may say by whom.
                let everyone = (0..replicas.list().places.len()).collect();
                let _: Vec<_> = replicas.ask(everyone).collect().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc::{LogId, Membership, Node, StoredMembership};

    use super::*;

    fn status(index: u64, members: &[(u64, &str)]) -> StatusResponse {
        let node = |(id, address): &(u64, &str)| (*id, Node { address: (*address).to_owned() });
        let membership = Membership { voters: Vec::new(), nodes: members.iter().map(node).collect() };
        let log_id = Some(LogId { term: 1, node_id: 1, index });
        StatusResponse {
            membership: Some(StoredMembership { log_id, membership: Some(membership) }),
            ..StatusResponse::default()
        }
    }

    fn addresses(replicas: &Replicas) -> Vec<String> {
        replicas.order(0).into_iter().map(|at| replicas.address(at).to_string()).collect()
    }

    #[tokio::test]
    async fn every_configured_replica_may_be_replaced() {
        let replicas = Replicas::new("c", &["h:1".to_owned(), "h:2".to_owned()], 0, None).unwrap();
        assert_eq!(addresses(&replicas), ["h:1", "h:2"]);
        replicas.learn(&status(5, &[(2, "h:2"), (3, "h:3")]));
        assert_eq!(addresses(&replicas), ["h:2", "h:3"]);
        replicas.learn(&status(4, &[(1, "h:1")]));
        assert_eq!(addresses(&replicas), ["h:2", "h:3"], "an older membership says nothing");
        replicas.learn(&status(9, &[(3, "h:3"), (4, "h:4")]));
        assert_eq!(addresses(&replicas), ["h:3", "h:4"]);
        assert_eq!(
            replicas.resolve(4, "").map(|at| replicas.address(at).to_string()),
            Some("h:4".to_owned())
        );
        assert_eq!(replicas.resolve(2, ""), None, "a former member is nobody");
        assert_eq!(replicas.next(replicas.resolve(4, "").unwrap()), replicas.resolve(3, "").unwrap());
        let stranger = replicas.resolve(9, "h:9").unwrap();
        assert_eq!(&*replicas.address(stranger), "h:9", "a leader outside the list is followed");
    }

    #[tokio::test]
    async fn the_list_stays_bounded() {
        let replicas = Replicas::new("c", &["h:0".to_owned()], 0, None).unwrap();
        for round in 1..500 {
            replicas.learn(&status(round, &[(round, &format!("h:{round}"))]));
            assert_eq!(addresses(&replicas), [format!("h:{round}")]);
        }
        assert!(replicas.list().places.len() <= PLACES_MAX);
    }
}
