//! Calls from the other replicas, handed to openraft.

use std::io::Write as _;
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
use super::leader_loss::{self, Evidence};
use super::recall::Memory;
use super::types::{
    Missing, Types, entry_from_wire, log_id_from_wire, log_id_to_wire, stored_membership_from_wire,
    stored_membership_to_wire, vote_from_wire, vote_to_wire,
};
use super::{LeaderContact, Raft, read_index};
use crate::planted::{self, Bug};
use crate::store::{SnapshotFile, Store};
use crate::trace::{self, Stage};

/// Serves the other replicas.
#[derive(Debug)]
pub struct PeerService {
    raft: Raft,
    store: Arc<Store>,
    contact: LeaderContact,
    clocks: Clocks,
    evidence: Evidence,
    memory: Memory,
    gate: Gate,
    stopping: Arc<AtomicBool>,
    /// One snapshot is received at a time: they share a file.
    receiving: Arc<tokio::sync::Mutex<()>>,
}

impl PeerService {
    pub(super) fn new(
        raft: Raft,
        store: Arc<Store>,
        contact: LeaderContact,
        clocks: Clocks,
        evidence: Evidence,
        memory: Memory,
        gate: Gate,
    ) -> Self {
        let (stopping, receiving) = Default::default();
        Self { raft, store, contact, clocks, evidence, memory, gate, stopping, receiving }
    }

    /// The same, which takes no leadership once this is set.
    pub(super) fn until(self, stopping: Arc<AtomicBool>) -> Self {
        Self { stopping, ..self }
    }

    /// [`Bug::SkipQuorum`]: says that everything was written.
    fn claim_without_writing(
        &self,
        requests: BoxStream<'static, Option<AppendEntriesRequest<Types>>>,
    ) -> BoxStream<'static, Result<rpc::AppendResponse, Status>> {
        let (raft, clocks) = (self.raft.clone(), self.clocks.clone());
        let requests = requests.take_while(|append| std::future::ready(append.is_some()));
        let answers = requests.filter_map(std::future::ready).then(move |append| {
            let (raft, clocks) = (raft.clone(), clocks.clone());
            async move {
                let last = append.entries.last().map(|entry| entry.log_id).or(append.prev_log_id);
                keep_vote_only(&raft, append).await.map_err(stopped)?;
                Ok(append_answer(Ok(last), clocks.now_ms()))
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

fn append_answer(result: StreamAppendResult<Types>, clock_ms: u64) -> rpc::AppendResponse {
    use append_response::{Matched, Result as Answer};
    let result = match result {
        Ok(matched) => Answer::Matched(Matched { log_id: matched.as_ref().map(log_id_to_wire) }),
        Err(StreamAppendError::Conflict(id)) => Answer::Conflict(log_id_to_wire(&id)),
        Err(StreamAppendError::HigherVote(vote)) => Answer::HigherVote(vote_to_wire(&vote)),
    };
    rpc::AppendResponse { result: Some(result), clock_ms }
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

#[tonic::async_trait]
impl RaftService for PeerService {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<rpc::AppendResponse, Status>> + Send>>;
    type LifelineStream = futures_util::stream::Pending<Result<rpc::LifelineBeat, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<rpc::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.admitted()?;
        let contact = self.contact.clone();
        // A broken or malformed message ends the stream; the leader opens another.
        let requests = request.into_inner().map(move |message| {
            let message = message.ok()?;
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
        let clocks = self.clocks.clone();
        let answers = answers
            .map(move |result| result.map(|answer| append_answer(answer, clocks.now_ms())).map_err(stopped));
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
            return Ok(Response::new(append_answer(Ok(last), self.clocks.now_ms())));
        }
        let answer = self.raft.append_entries(append).await.map_err(stopped)?;
        Ok(Response::new(append_answer(answer.into_stream_result(prev, last), self.clocks.now_ms())))
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
        let asked = TransferLeaderRequest::new(from, request.to, last);
        let answer = self.raft.handle_transfer_leader(asked).await.map_err(stopped)?;
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

    async fn install_snapshot(
        &self,
        request: Request<Streaming<rpc::SnapshotChunk>>,
    ) -> Result<Response<rpc::SnapshotResponse>, Status> {
        self.admitted()?;
        let _one = self
            .receiving
            .try_lock()
            .map_err(|_| Status::resource_exhausted("another snapshot is being received"))?;
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.and_then(|chunk| chunk.part);
        let Some(snapshot_chunk::Part::Header(header)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        let vote = vote_from_wire(header.vote).map_err(malformed)?;
        let meta = header.meta.ok_or(Missing("meta")).map_err(malformed)?;
        let membership =
            stored_membership_from_wire(meta.membership.unwrap_or_default()).map_err(malformed)?;
        let path = self.store.incoming_snapshot_path();
        let write_failed =
            |error: std::io::Error| Status::internal(format!("cannot write the snapshot: {error}"));
        let mut file = std::fs::File::create(&path).map_err(write_failed)?;
        let mut received = 0_u64;
        while let Some(chunk) = chunks.message().await? {
            let Some(snapshot_chunk::Part::Data(data)) = chunk.part else {
                return Err(Status::invalid_argument("a snapshot has one header"));
            };
            received += data.len() as u64;
            if received > header.bytes_total {
                return Err(Status::invalid_argument("the snapshot is longer than its header says"));
            }
            file = super::blocking(move || file.write_all(&data).map(|()| file))
                .await
                .map_err(stopped)?
                .map_err(write_failed)?;
        }
        if received != header.bytes_total {
            return Err(Status::data_loss("the snapshot ended early: send it again"));
        }
        drop(file);
        let applied = crate::store::Applied { log_id: meta.last_log_id, ..Default::default() };
        let snapshot = Snapshot {
            meta: SnapshotMeta {
                last_log_id: meta.last_log_id.as_ref().map(log_id_from_wire),
                last_membership: membership,
            },
            snapshot: SnapshotFile { path, applied },
        };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(rpc::SnapshotResponse { vote: Some(vote_to_wire(&answer.vote)) }))
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
