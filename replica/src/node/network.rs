//! Calls to the other replicas: what openraft asks for, over gRPC.
//!
//! Appends and votes, heartbeats, and snapshots have a connection each, so that none waits behind another.

use std::fs::File;
use std::future::Future;
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use quorate_proto::rpc::raft_client::RaftClient;
use quorate_proto::rpc::{self, append_response, snapshot_chunk, transfer_leader_response};
use quorate_tls::Credentials;
use tokio::sync::{mpsc, watch};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::QuorumAge;
use super::clock::Clocks;
use super::commits;
use super::film::Film;
use super::recall::{Memory, acknowledged};
use super::room::Room;
use super::state_machine::read_piece;
use super::types::{
    LeaderId, LogId, Missing, Peer, Types, Vote, entry_to_wire, log_id_from_wire, log_id_to_wire,
    stored_membership_to_wire, vote_from_wire, vote_to_wire,
};
use crate::store::{SnapshotFile, Store, StoreError};

/// A peer on the same network connects at once or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(150);
/// A silent peer is asked for a sign of life this often, and given up after [`KEEPALIVE_TIMEOUT`].
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(200);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(400);
/// Longest time between attempts at a peer that cannot be reached: a replica that comes back is caught up soon.
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// Bytes of a snapshot in one message.
const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// Longest wait for how much of a snapshot has arrived before.
const SNAPSHOT_ASK_WAIT: Duration = Duration::from_millis(500);
/// Chunks of a snapshot read ahead of the network.
const SNAPSHOT_CHUNKS_AHEAD: usize = 4;
/// Largest message between replicas: 2,048 entries of the longest text.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Says on every call which cluster and replica calls, and proves it where there are certificates.
#[derive(Debug, Clone)]
pub struct Identity {
    cluster: MetadataValue<tonic::metadata::Ascii>,
    node: MetadataValue<tonic::metadata::Ascii>,
    target: Option<MetadataValue<tonic::metadata::Ascii>>,
    credentials: Option<Credentials>,
}

impl Identity {
    /// # Errors
    /// When the cluster id has characters that a header cannot carry.
    pub fn new(cluster: &str, node: u64) -> Result<Self, tonic::metadata::errors::InvalidMetadataValue> {
        Ok(Self { cluster: cluster.parse()?, node: node.into(), target: None, credentials: None })
    }

    /// The same, over connections with these certificates.
    #[must_use]
    pub fn with(self, credentials: Option<Credentials>) -> Self {
        Self { credentials, ..self }
    }

    /// The same, for calls that are meant for one replica: whoever has its address now and is another refuses them.
    #[must_use]
    pub fn to(&self, target: u64) -> Self {
        Self { target: Some(target.into()), ..self.clone() }
    }

    /// Whether who is called must show a certificate.
    pub fn is_sealed(&self) -> bool {
        self.credentials.is_some()
    }

    /// A channel to a replica, made when it is first used and again when it breaks.
    ///
    /// # Errors
    /// When the address is no host:port.
    pub fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
        #[cfg(feature = "simulation")]
        if let Some(channel) = crate::simulation::channel(&endpoint) {
            return Ok(channel);
        }
        Ok(quorate_tls::channel(&endpoint, self.credentials.clone()))
    }
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(quorate_proto::CLUSTER_METADATA, self.cluster.clone());
        request.metadata_mut().insert(quorate_proto::NODE_METADATA, self.node.clone());
        if let Some(target) = &self.target {
            request.metadata_mut().insert(quorate_proto::TARGET_METADATA, target.clone());
        }
        Ok(request)
    }
}

/// Makes clients to peers, which call as this replica and pass on what clocks peers tell, what they acknowledge, and how they vote.
#[derive(Debug, Clone)]
pub struct Network {
    pub(super) identity: Identity,
    pub(super) clocks: Clocks,
    pub(super) memory: Memory,
    pub(super) room: Room,
    pub(super) store: Arc<Store>,
    pub(super) refusals: Refusals,
    pub(super) quorum_age: QuorumAge,
    pub(super) film: Film,
}

impl Network {
    /// As whom it calls.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// A client to the replica with this id at an address, on a connection of its own.
    ///
    /// # Errors
    /// When the address is no host:port.
    pub fn client(&self, id: u64, address: &str) -> Result<Client, tonic::transport::Error> {
        let client = RaftClient::with_interceptor(self.identity.channel(address)?, self.identity.to(id));
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// Who refused to take leadership, told to whoever waits for it.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<watch::Sender<Option<u64>>>);

impl Refusals {
    fn refused(&self, by: u64) {
        self.0.send_replace(Some(by));
    }

    /// Refusals from now on.
    pub fn subscribe(&self) -> Refused {
        Refused(self.0.subscribe())
    }
}

/// See [`Refusals::subscribe`].
#[derive(Debug)]
pub struct Refused(watch::Receiver<Option<u64>>);

impl Refused {
    /// Completes when this replica refuses.
    pub async fn of(&mut self, id: u64) {
        while self.0.changed().await.is_ok() {
            if *self.0.borrow_and_update() == Some(id) {
                return;
            }
        }
        std::future::pending().await
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Peer) -> PeerClient {
        PeerClient::new(target, node, self)
    }
}

pub type Client = RaftClient<InterceptedService<Channel, Identity>>;

/// A client to one peer, on a connection of its own.
#[derive(Debug)]
pub struct PeerClient {
    target: u64,
    /// `None` when the peer's address is not usable; every call says so.
    client: Option<Client>,
    clocks: Clocks,
    memory: Memory,
    room: Room,
    store: Arc<Store>,
    refusals: Refusals,
    quorum_age: QuorumAge,
    film: Film,
}

fn unreachable(status: &Status) -> Unreachable<Types> {
    Unreachable::from_string(format!("{}: {}", status.code(), status.message()))
}

fn bad_answer(missing: &Missing) -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string(missing))
}

impl PeerClient {
    fn new(target: u64, node: &Peer, network: &Network) -> Self {
        let client = match network.client(target, &node.address) {
            Ok(client) => Some(client),
            Err(error) => {
                tracing::error!(target, address = node.address, %error, "a replica's address cannot be used");
                None
            }
        };
        let Network { clocks, memory, room, store, refusals, quorum_age, film, .. } = network.clone();
        Self { target, client, clocks, memory, room, store, refusals, quorum_age, film }
    }

    fn client(&self) -> Result<Client, Unreachable<Types>> {
        self.client
            .clone()
            .ok_or_else(|| Unreachable::from_string(format!("replica {}: bad address", self.target)))
    }

    /// A unary call, given up after the time openraft grants.
    async fn call<T, F>(
        &self,
        option: RPCOption,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, RPCError<Types>>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let client = self.client()?;
        match tokio::time::timeout(option.soft_ttl(), call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(unreachable(&status).into()),
            Err(_) => {
                Err(NetworkError::from_string(format!("replica {} did not answer in time", self.target))
                    .into())
            }
        }
    }
}

/// Names a snapshot file: another one at the same entry is not continued by its bytes.
fn snapshot_id(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let meta = path.metadata().ok();
    let bytes = meta.as_ref().map_or(0, std::fs::Metadata::len);
    let written = meta.and_then(|meta| meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok());
    format!("{name}-{bytes}-{}", written.unwrap_or_default().as_nanos())
}

impl PeerClient {
    /// A receiver says that this snapshot is not whole. If that is so on this disk, another is built.
    async fn doubt(&self, path: PathBuf) {
        let damaged = path.clone();
        let verified = super::blocking(move || Store::verify_snapshot(&path)).await;
        if let Ok(Err(error @ StoreError::Damaged(_))) = verified {
            tracing::error!(%error, "a replica refused this snapshot, building another");
            self.store.distrust_snapshot(&damaged);
        }
    }
}

fn append_to_wire(request: AppendEntriesRequest<Types>, quorum_age_ms: u64) -> rpc::AppendRequest {
    rpc::AppendRequest {
        vote: Some(vote_to_wire(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_wire),
        entries: request.entries.into_iter().map(entry_to_wire).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_wire),
        quorum_age_ms,
        acknowledged: Vec::new(),
    }
}

fn append_result(response: rpc::AppendResponse) -> Result<StreamAppendResult<Types>, Missing> {
    use append_response::Result::{Conflict, HigherVote, Matched};
    Ok(match response.result.ok_or(Missing("result"))? {
        Matched(matched) => Ok(matched.log_id.as_ref().map(log_id_from_wire)),
        Conflict(id) => Err(StreamAppendError::Conflict(log_id_from_wire(&id))),
        HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_wire(Some(vote))?)),
    })
}

fn vote_request_to_wire(request: &VoteRequest<Types>) -> rpc::VoteRequest {
    rpc::VoteRequest {
        vote: Some(vote_to_wire(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_wire),
        leadership_transfer: request.leadership_transfer,
    }
}

fn vote_response(response: rpc::VoteResponse) -> Result<VoteResponse<Types>, RPCError<Types>> {
    let vote = vote_from_wire(response.vote).map_err(|missing| bad_answer(&missing))?;
    Ok(VoteResponse::new(vote, response.last_log_id.as_ref().map(log_id_from_wire), response.granted))
}

impl RaftNetworkV2<Types> for PeerClient {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let mut request = append_to_wire(request, self.quorum_age.ms());
        request.acknowledged = self.memory.tell();
        let answer = self.call(option, |mut client| async move { client.append_once(request).await }).await?;
        self.clocks.told(self.target, answer.clock_ms);
        self.room.told(self.target, answer.storage_low);
        let result = append_result(answer).map_err(|missing| bad_answer(&missing))?;
        Ok(match result {
            // A heartbeat or a single append: matched up to less than was sent is a partial success.
            Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let mut client = self.client()?;
            // openraft waits out its backoff inside the input. Without asking for the first request before connecting, a
            // peer that refuses would be tried again at once, for ever.
            let mut input = input;
            let Some(first) = input.next().await else { return Ok(futures_util::stream::empty().boxed()) };
            let quorum_age = self.quorum_age.clone();
            let mut first = append_to_wire(first, quorum_age.ms());
            if first.entries.is_empty() {
                // A heartbeat: a stream of one message without entries.
                first.acknowledged = self.memory.tell();
            }
            let others = commits::held(input).map(move |request| append_to_wire(request, quorum_age.ms()));
            let requests = futures_util::stream::iter([first]).chain(others);
            let opened = tokio::time::timeout(option.soft_ttl(), client.append(requests)).await;
            let answers = match opened {
                Ok(Ok(answers)) => answers.into_inner(),
                Ok(Err(status)) => return Err(unreachable(&status).into()),
                Err(_) => {
                    return Err(Unreachable::from_string("the append stream did not open in time").into());
                }
            };
            let (target, clocks, room) = (self.target, self.clocks.clone(), self.room.clone());
            let results = answers.map(move |answer| match answer {
                Ok(answer) => {
                    clocks.told(target, answer.clock_ms);
                    room.told(target, answer.storage_low);
                    append_result(answer).map_err(|missing| bad_answer(&missing))
                }
                Err(status) => Err(unreachable(&status).into()),
            });
            Ok(results.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let term = request.vote.leader_id.term;
        self.film.asked(term);
        let request = vote_request_to_wire(&request);
        let answer = self.call(option, |mut client| async move { client.vote(request).await }).await?;
        let answer = vote_response(answer)?;
        if answer.vote_granted {
            self.film.granted(term, self.target);
            // Before the grant counts: if this replica comes to lead by it, it remembers by whom.
            self.memory.heard(&[acknowledged(self.target, Some(&answer.vote), None)]);
            self.memory.save().await;
        }
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        // Asked without any evidence: the leader's lease has ended.
        self.film.suspected();
        let request = vote_request_to_wire(&request);
        vote_response(self.call(option, |mut client| async move { client.pre_vote(request).await }).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, Peer, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let mut client = self.client()?;
        let path = snapshot.snapshot.path.clone();
        if self.store.is_distrusted(&path) {
            let waiting = "the snapshot is damaged here, another is being built";
            return Err(Unreachable::<Types>::from_string(waiting).into());
        }
        let snapshot_id = snapshot_id(&path);
        let asked =
            client.snapshot_received(rpc::SnapshotReceivedRequest { snapshot_id: snapshot_id.clone() });
        let offset = match tokio::time::timeout(SNAPSHOT_ASK_WAIT, asked).await {
            Ok(Ok(answer)) => answer.into_inner().bytes,
            // It says why when the snapshot itself is sent.
            Ok(Err(_)) | Err(_) => 0,
        };
        let chunks = snapshot_chunks(vote, snapshot, snapshot_id, offset);
        // What has arrived when this ends stays with the receiver, so that no size is too large for the time.
        let send = tokio::time::timeout(option.hard_ttl(), client.install_snapshot(chunks));
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = send => match sent {
                Ok(Ok(response)) => {
                    let vote = vote_from_wire(response.into_inner().vote);
                    let vote = vote.map_err(NetworkError::from_string)?;
                    Ok(SnapshotResponse::new(vote))
                }
                Ok(Err(status)) => {
                    if status.code() == tonic::Code::DataLoss {
                        self.doubt(path).await;
                    }
                    Err(unreachable(&status).into())
                }
                Err(_) => Err(NetworkError::from_string("the snapshot was not installed in time").into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let expected_vote = *request.from_leader();
        let expected_log: Option<LogId> = request.last_log_id().cloned();
        let wire = rpc::TransferLeaderRequest {
            from: Some(vote_to_wire(&expected_vote)),
            to: *request.to_node_id(),
            last_log_id: expected_log.as_ref().map(log_id_to_wire),
        };
        // Every voter is told, so that its lease does not stand in the way; only the successor can refuse.
        let to_successor = *request.to_node_id() == self.target;
        let answer = self.call(option, |mut client| async move { client.transfer_leader(wire).await }).await;
        use transfer_leader_response::Result::Accepted as Taken;
        let taken = answer.as_ref().is_ok_and(|answer| matches!(answer.result, Some(Taken(_))));
        if to_successor && !taken {
            self.refusals.refused(self.target);
        }
        let answer = answer?;
        use transfer_leader_response::Result::{Accepted, LogNotFlushed, VoteChanged};
        match answer.result {
            Some(Accepted(_)) => Ok(Ok(())),
            Some(VoteChanged(vote)) => {
                let actual = vote_from_wire(Some(vote)).map_err(|missing| bad_answer(&missing))?;
                Ok(Err(TransferLeaderError::VoteChanged { expected: expected_vote, actual }))
            }
            Some(LogNotFlushed(id)) => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: expected_log,
                actual: Some(log_id_from_wire(&id)),
            })),
            None => Ok(Err(TransferLeaderError::LogNotFlushed { expected: expected_log, actual: None })),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let first = Duration::from_millis(10);
        let delays = std::iter::successors(Some(first), |delay| Some((*delay * 2).min(BACKOFF_MAX)));
        Some(Backoff::new(delays))
    }
}

/// A snapshot as messages: header first, then its bytes, read a few chunks ahead.
fn snapshot_chunks(
    vote: Vote,
    snapshot: Snapshot<LeaderId, u64, Peer, SnapshotFile>,
    snapshot_id: String,
    offset: u64,
) -> impl Stream<Item = rpc::SnapshotChunk> + Send + 'static {
    let (ahead, chunks) = mpsc::channel(SNAPSHOT_CHUNKS_AHEAD);
    let path = snapshot.snapshot.path;
    let meta = rpc::SnapshotMeta {
        last_log_id: snapshot.meta.last_log_id.as_ref().map(log_id_to_wire),
        membership: Some(stored_membership_to_wire(&snapshot.meta.last_membership)),
        snapshot_id,
    };
    // Ends by itself when the receiver is dropped. A file that cannot be read ends the stream early, which the receiver
    // refuses: the file's last block is missing.
    tokio::spawn(async move {
        if let Err(error) = send_snapshot(&path, &vote, meta, offset, &ahead).await {
            tracing::error!(path = %path.display(), %error, "cannot read the snapshot");
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(chunks)
}

async fn send_snapshot(
    path: &Path,
    vote: &Vote,
    meta: rpc::SnapshotMeta,
    offset: u64,
    ahead: &mpsc::Sender<rpc::SnapshotChunk>,
) -> io::Result<()> {
    let mut file = File::open(path)?;
    let bytes_total = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let header =
        snapshot_chunk::Header { vote: Some(vote_to_wire(vote)), meta: Some(meta), bytes_total, offset };
    let mut part = snapshot_chunk::Part::Header(header);
    loop {
        if ahead.send(rpc::SnapshotChunk { part: Some(part) }).await.is_err() {
            return Ok(());
        }
        let read = super::blocking(move || {
            let piece = read_piece(&mut file, SNAPSHOT_CHUNK_BYTES);
            (file, piece)
        });
        let (again, piece) = read.await.map_err(io::Error::other)?;
        file = again;
        let piece = piece?;
        if piece.is_empty() {
            return Ok(());
        }
        part = snapshot_chunk::Part::Data(piece);
    }
}
