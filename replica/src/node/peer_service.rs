//! Calls from the other replicas, handed to openraft.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use openraft::async_runtime::WatchReceiver as _;
use openraft::error::RaftError;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::storage::{Snapshot, SnapshotMeta};
use quorate_proto::rpc::raft_server::Raft as RaftService;
use quorate_proto::rpc::{self, append_response, snapshot_chunk, transfer_leader_response};
use tonic::{Request, Response, Status, Streaming};

use super::admission::Gate;
use super::clock::Clocks;
use super::film::Film;
use super::leader_loss::{self, Evidence};
use super::leadership::{LeaderContact, read_index};
use super::recall::Memory;
use super::room::Room;
use super::types::{
    Missing, Types, entry_from_wire, log_id_from_wire, log_id_to_wire, stored_membership_from_wire,
    stored_membership_to_wire, vote_from_wire, vote_to_wire,
};
use super::{Node, Raft};
use crate::failure::describe;
use crate::metrics::Metrics;
use crate::planted::{self, Bug};
use crate::store::{SnapshotFile, Store, StoreError};
use crate::trace::{self, Stage};

/// Serves the other replicas.
#[derive(Debug)]
pub struct PeerService {
    raft: Raft,
    store: Arc<Store>,
    contact: LeaderContact,
    clocks: Clocks,
    evidence: Evidence,
    film: Film,
    memory: Memory,
    room: Room,
    gate: Gate,
    stopping: Arc<AtomicBool>,
    metrics: Metrics,
    /// One snapshot is received at a time.
    receiving: Arc<tokio::sync::Mutex<()>>,
}

impl PeerService {
    pub(super) fn new(node: &Node) -> Self {
        Self {
            raft: node.raft.clone(),
            store: node.store.clone(),
            contact: node.contact.clone(),
            clocks: node.clocks.clone(),
            evidence: node.evidence.clone(),
            film: node.film.clone(),
            memory: node.memory.clone(),
            room: node.room.clone(),
            gate: node.gate.clone(),
            stopping: node.stopping.clone(),
            metrics: node.metrics.clone(),
            receiving: Arc::default(),
        }
    }

    /// [`Bug::SkipQuorum`]: says that everything was written.
    fn claim_without_writing(
        &self,
        requests: BoxStream<'static, Option<AppendEntriesRequest<Types>>>,
    ) -> BoxStream<'static, Result<rpc::AppendResponse, Status>> {
        let (raft, clocks, room) = (self.raft.clone(), self.clocks.clone(), self.room.clone());
        let requests = requests.take_while(|append| std::future::ready(append.is_some()));
        let answers = requests.filter_map(std::future::ready).then(move |append| {
            let (raft, clocks, room) = (raft.clone(), clocks.clone(), room.clone());
            async move {
                let last = append.entries.last().map(|entry| entry.log_id).or(append.prev_log_id);
                keep_vote_only(&raft, append).await.map_err(stopped)?;
                Ok(append_answer(Ok(last), clocks.now_ms(), room.is_low()))
            }
        });
        answers.boxed()
    }

    /// A replica that has not been told yet what it acknowledged neither votes nor acknowledges.
    fn admitted(&self) -> Result<(), Status> {
        if self.gate.is_open() {
            return Ok(());
        }
        Err(Status::unavailable("this replica has only just started and asks what it acknowledged"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(missing: Missing) -> Status {
    Status::invalid_argument(missing.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this replica is stopping: {error}"))
}

/// [`Bug::SkipQuorum`]: the leader is heard, its entries are not taken.
async fn keep_vote_only(raft: &Raft, append: AppendEntriesRequest<Types>) -> Result<(), RaftError<Types>> {
    let heartbeat = AppendEntriesRequest {
        vote: append.vote,
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    raft.append_entries(heartbeat).await.map(drop)
}

fn append_from_wire(request: rpc::AppendRequest) -> Result<AppendEntriesRequest<Types>, Missing> {
    for entry in &request.entries {
        if let Some(rpc::entry::Payload::Proposal(proposal)) = &entry.payload {
            trace::open(Stage::Append, &proposal.traceparent, entry.log_id.map(|id| id.index));
        }
    }
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(request.vote)?,
        prev_log_id: request.prev_log_id.as_ref().map(log_id_from_wire),
        entries: request.entries.into_iter().map(entry_from_wire).collect::<Result<_, _>>()?,
        leader_commit: request.leader_commit.as_ref().map(log_id_from_wire),
    })
}

fn append_answer(result: StreamAppendResult<Types>, clock_ms: u64, storage_low: bool) -> rpc::AppendResponse {
    use append_response::{Matched, Result as Answer};
    let result = match result {
        Ok(matched) => Answer::Matched(Matched { log_id: matched.as_ref().map(log_id_to_wire) }),
        Err(StreamAppendError::Conflict(id)) => Answer::Conflict(log_id_to_wire(&id)),
        Err(StreamAppendError::HigherVote(vote)) => Answer::HigherVote(vote_to_wire(&vote)),
    };
    rpc::AppendResponse { result: Some(result), clock_ms, storage_low }
}

fn vote_from_request(request: rpc::VoteRequest) -> Result<VoteRequest<Types>, Missing> {
    let last_log_id = request.last_log_id.as_ref().map(log_id_from_wire);
    let mut vote = VoteRequest::new(vote_from_wire(request.vote)?, last_log_id);
    vote.leadership_transfer = request.leadership_transfer;
    Ok(vote)
}

fn vote_answer(response: &VoteResponse<Types>) -> rpc::VoteResponse {
    rpc::VoteResponse {
        vote: Some(vote_to_wire(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_wire),
    }
}

/// One snapshot on its way from a peer's disk into this replica's state.
struct Reception {
    raft: Raft,
    store: Arc<Store>,
    metrics: Metrics,
}

impl Reception {
    async fn run(&self, mut chunks: Streaming<rpc::SnapshotChunk>) -> Result<rpc::SnapshotResponse, Status> {
        let first = chunks.message().await?.and_then(|chunk| chunk.part);
        let Some(snapshot_chunk::Part::Header(header)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        let vote = vote_from_wire(header.vote).map_err(malformed)?;
        let meta = header.meta.ok_or(Missing("meta")).map_err(malformed)?;
        let last_log_id = meta.last_log_id.as_ref().map(log_id_from_wire);
        let applied = self.store.read().applied().log_id.as_ref().map(log_id_from_wire);
        if applied >= last_log_id {
            // Installed meanwhile: an answer that came too late is given now.
            let vote = self.raft.with_raft_state(|state| *state.vote_ref()).await.map_err(stopped)?;
            return Ok(rpc::SnapshotResponse { vote: Some(vote_to_wire(&vote)) });
        }
        let last_membership =
            stored_membership_from_wire(meta.membership.unwrap_or_default()).map_err(malformed)?;
        let partial = self.store.partial_snapshot_path(&meta.snapshot_id);
        self.receive(&mut chunks, &partial, header.offset, header.bytes_total).await?;
        let path = self.take_over(partial, meta.last_log_id).await?;
        let applied = crate::store::Applied { log_id: meta.last_log_id, ..Default::default() };
        let snapshot = Snapshot {
            meta: SnapshotMeta { last_log_id, last_membership },
            snapshot: SnapshotFile { path, applied },
        };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(rpc::SnapshotResponse { vote: Some(vote_to_wire(&answer.vote)) })
    }

    /// Writes what arrives behind what is there already. What was received stays when the rest does not come.
    async fn receive(
        &self,
        chunks: &mut Streaming<rpc::SnapshotChunk>,
        partial: &Path,
        offset: u64,
        bytes_total: u64,
    ) -> Result<(), Status> {
        let failed = |error: io::Error| self.failed(&error);
        let (store, path) = (self.store.clone(), partial.to_owned());
        let opened = super::blocking(move || {
            store.forget_partial_snapshots(&path)?;
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let is_there = file.metadata()?.len() >= offset;
            if is_there {
                file.set_len(offset)?;
            }
            Ok::<_, io::Error>(is_there.then_some(file))
        });
        let Some(mut file) = opened.await.map_err(stopped)?.map_err(failed)? else {
            return Err(Status::failed_precondition("so much of the snapshot is not here: ask again"));
        };
        let mut received = offset;
        while let Some(chunk) = chunks.message().await? {
            let Some(snapshot_chunk::Part::Data(data)) = chunk.part else {
                return Err(Status::invalid_argument("a snapshot has one header"));
            };
            received += data.len() as u64;
            if received > bytes_total {
                return Err(Status::invalid_argument("the snapshot is longer than its header says"));
            }
            let written = super::blocking(move || file.write_all(&data).map(|()| file)).await;
            file = written.map_err(stopped)?.map_err(failed)?;
            self.metrics.snapshot_received(received, bytes_total);
        }
        if received != bytes_total {
            return Err(Status::aborted("the snapshot ended early: send the rest"));
        }
        Ok(())
    }

    /// Checks all of a received file before consensus hears of it, and gives it a name that no other reception uses.
    async fn take_over(&self, partial: PathBuf, last_log_id: Option<rpc::LogId>) -> Result<PathBuf, Status> {
        let path = self.store.incoming_snapshot_path();
        let checked = super::blocking(move || match Store::verify_snapshot(&partial) {
            Ok(applied) if applied.log_id == last_log_id => {
                std::fs::rename(&partial, &path).map(|()| path).map_err(StoreError::from)
            }
            // From its beginning next time.
            other => {
                std::fs::remove_file(&partial)?;
                Err(other.err().unwrap_or_else(|| {
                    StoreError::Damaged("the snapshot's header is not what was announced".to_owned())
                }))
            }
        });
        checked.await.map_err(stopped)?.map_err(|error| match error {
            StoreError::Damaged(what) => {
                tracing::warn!(what, "a received snapshot is damaged, asking for it again");
                Status::data_loss(format!("the snapshot arrived damaged: {what}"))
            }
            other => self.failed(&other.into()),
        })
    }

    /// This replica's disk fails it.
    fn failed(&self, error: &io::Error) -> Status {
        self.store.failure().tell(describe("receiving a snapshot", self.store.snapshot_dir(), error));
        Status::internal(format!("cannot write the snapshot: {error}"))
    }
}

#[tonic::async_trait]
impl RaftService for PeerService {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<rpc::AppendResponse, Status>> + Send>>;
    type LifelineStream = futures_util::stream::Pending<Result<rpc::LifelineBeat, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<rpc::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.admitted()?;
        let (contact, memory) = (self.contact.clone(), self.memory.clone());
        // A broken or malformed message ends the stream; the leader opens another.
        let requests = request.into_inner().map(move |message| {
            let mut message = message.ok()?;
            let told = std::mem::take(&mut message.acknowledged);
            if !told.is_empty() {
                memory.heard(&told);
            }
            let quorum_age_ms = message.quorum_age_ms;
            let append = append_from_wire(message).ok()?;
            contact.heard(quorum_age_ms);
            Some(append)
        });
        if planted::is(Bug::SkipQuorum) {
            return Ok(Response::new(self.claim_without_writing(requests.boxed())));
        }
        let requests =
            requests.take_while(|append| std::future::ready(append.is_some())).filter_map(std::future::ready);
        let answers = self.raft.stream_append(requests.boxed());
        let (clocks, room) = (self.clocks.clone(), self.room.clone());
        let answers = answers.map(move |result| {
            result.map(|answer| append_answer(answer, clocks.now_ms(), room.is_low())).map_err(stopped)
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn append_once(
        &self,
        request: Request<rpc::AppendRequest>,
    ) -> Result<Response<rpc::AppendResponse>, Status> {
        self.admitted()?;
        let mut request = request.into_inner();
        self.memory.heard(&std::mem::take(&mut request.acknowledged));
        let quorum_age_ms = request.quorum_age_ms;
        let append = append_from_wire(request).map_err(malformed)?;
        self.contact.heard(quorum_age_ms);
        let prev = append.prev_log_id;
        let last = append.entries.last().map(|entry| entry.log_id).or(prev);
        if planted::is(Bug::SkipQuorum) {
            keep_vote_only(&self.raft, append).await.map_err(stopped)?;
            return Ok(Response::new(append_answer(Ok(last), self.clocks.now_ms(), self.room.is_low())));
        }
        let answer = self.raft.append_entries(append).await.map_err(stopped)?;
        Ok(Response::new(append_answer(
            answer.into_stream_result(prev, last),
            self.clocks.now_ms(),
            self.room.is_low(),
        )))
    }

    async fn vote(&self, request: Request<rpc::VoteRequest>) -> Result<Response<rpc::VoteResponse>, Status> {
        self.admitted()?;
        let vote = vote_from_request(request.into_inner()).map_err(malformed)?;
        let answer = self.raft.vote(vote).await.map_err(stopped)?;
        Ok(Response::new(vote_answer(&answer)))
    }

    async fn pre_vote(
        &self,
        request: Request<rpc::VoteRequest>,
    ) -> Result<Response<rpc::VoteResponse>, Status> {
        self.admitted()?;
        let vote = vote_from_request(request.into_inner()).map_err(malformed)?;
        let answer = self.raft.pre_vote(vote).await.map_err(stopped)?;
        Ok(Response::new(vote_answer(&answer)))
    }

    async fn transfer_leader(
        &self,
        request: Request<rpc::TransferLeaderRequest>,
    ) -> Result<Response<rpc::TransferLeaderResponse>, Status> {
        self.admitted()?;
        let request = request.into_inner();
        if request.to == *self.raft.node_id() && self.stopping.load(Ordering::Relaxed) {
            return Err(Status::unavailable("this replica is stopping and takes no leadership"));
        }
        let from = vote_from_wire(request.from).map_err(malformed)?;
        let last = request.last_log_id.as_ref().map(log_id_from_wire);
        let is_heir = request.to == *self.raft.node_id();
        if is_heir {
            // Before it is acted upon: the election may be over sooner than the answer is there.
            self.film.handed(from.leader_id.term);
        }
        let asked = TransferLeaderRequest::new(from, request.to, last);
        let answer = self.raft.handle_transfer_leader(asked).await.map_err(stopped)?;
        if is_heir && answer.is_err() {
            self.film.declined();
        }
        use transfer_leader_response::{Accepted, Result as Answer};
        let result = match answer {
            Ok(()) => Some(Answer::Accepted(Accepted {})),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                Some(Answer::VoteChanged(vote_to_wire(&actual)))
            }
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                actual.as_ref().map(|id| Answer::LogNotFlushed(log_id_to_wire(id)))
            }
        };
        Ok(Response::new(rpc::TransferLeaderResponse { result }))
    }

    async fn snapshot_received(
        &self,
        request: Request<rpc::SnapshotReceivedRequest>,
    ) -> Result<Response<rpc::SnapshotReceivedResponse>, Status> {
        self.admitted()?;
        let path = self.store.partial_snapshot_path(&request.get_ref().snapshot_id);
        let bytes = path.metadata().map_or(0, |meta| meta.len());
        Ok(Response::new(rpc::SnapshotReceivedResponse { bytes }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<rpc::SnapshotChunk>>,
    ) -> Result<Response<rpc::SnapshotResponse>, Status> {
        self.admitted()?;
        let one = self.receiving.clone().try_lock_owned();
        let one = one.map_err(|_| Status::resource_exhausted("another snapshot is being received"))?;
        let reception =
            Reception { raft: self.raft.clone(), store: self.store.clone(), metrics: self.metrics.clone() };
        let chunks = request.into_inner();
        // Not a part of this call: when the caller goes, what was begun with the files is still brought to its end.
        let received = tokio::spawn(async move {
            let received = reception.run(chunks).await;
            reception.metrics.snapshot_received(0, 0);
            drop(one);
            received
        });
        received.await.map_err(stopped)?.map(Response::new)
    }

    async fn read_index(
        &self,
        _request: Request<rpc::ReadIndexRequest>,
    ) -> Result<Response<rpc::ReadIndexResponse>, Status> {
        let index = read_index(&self.raft).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(rpc::ReadIndexResponse { index }))
    }

    async fn recall(
        &self,
        request: Request<rpc::RecallRequest>,
    ) -> Result<Response<rpc::RecallResponse>, Status> {
        let found = request.into_inner().found.ok_or(Missing("found")).map_err(malformed)?;
        let known = self.memory.answer(&found).await;
        let membership = self.raft.metrics().borrow_watched().membership_config.clone();
        let membership = Some(stored_membership_to_wire(&membership));
        Ok(Response::new(rpc::RecallResponse { known: Some(known), membership }))
    }

    async fn lifeline(
        &self,
        _request: Request<rpc::LifelineRequest>,
    ) -> Result<Response<Self::LifelineStream>, Status> {
        Ok(Response::new(futures_util::stream::pending()))
    }

    async fn leader_lost(
        &self,
        request: Request<rpc::LeaderLostRequest>,
    ) -> Result<Response<rpc::LeaderLostResponse>, Status> {
        let agrees = leader_loss::agrees(&self.raft, &self.evidence, request.get_ref()).await;
        Ok(Response::new(rpc::LeaderLostResponse { agrees }))
    }
}
