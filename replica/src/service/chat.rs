//! The service for gateways: commands in, events out, reads beside.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use quorate_proto::reason::Reason;
use quorate_proto::rpc::chat_server::Chat;
use quorate_proto::rpc::{
    Command, Failure, FeedFrame, FeedRequest, ReadRequest, ReadResponse, SearchQuery, SubmitBatch,
    SubmitItem, SubmitResult, SubmitResults, TokenRequest, TokenResponse, failure, read_request,
    read_response, submit_result,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::read::{self, Allowed};
use super::token::Signer;
use crate::feed;
use crate::machine::{self, Tables as _};
use crate::node::{Node, ProposeError, Submitted};
use crate::search::{Search, SearchError};
use crate::store::{Store, StoreError};
use crate::trace::{self, Stage};
use tracing::Span;

/// Commands of one gateway between their arrival and their answer. More wait in the gateway, by HTTP/2 flow control.
const COMMANDS_IN_FLIGHT_MAX: usize = 16_384;
/// Answer frames waiting for a gateway's connection.
const ANSWERS_AHEAD: usize = 256;
/// Answers in one frame.
const ANSWERS_PER_FRAME_MAX: usize = 1024;
/// Above this much state that is not in the checkpoint yet, new commands are refused as overloaded.
const OVERLAY_BYTES_REFUSE: usize = 192 * 1024 * 1024;
/// Longest command: the longest text with everything around it. The log must be able to read back what it was given, and a
/// full append must fit into one message.
const COMMAND_BYTES_MAX: usize = 28 * 1024;
/// How long a read waits for its index.
const READ_WAIT: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct ChatService {
    node: Arc<Node>,
    signer: Arc<Signer>,
    search: Option<Search<Store>>,
    allowed: Allowed,
}

impl ChatService {
    /// A service over a node.
    pub fn new(node: Arc<Node>, signer: Arc<Signer>) -> Self {
        Self { node, signer, search: None, allowed: Allowed::default() }
    }

    /// The same, where admins may export direct conversations, or may not.
    #[must_use]
    pub fn exporting_direct(self, export_direct: bool) -> Self {
        Self { allowed: Allowed { export_direct }, ..self }
    }

    /// The same, which also searches.
    #[must_use]
    pub fn searching(self, search: Search<Store>) -> Self {
        Self { search: Some(search), ..self }
    }

    /// Answers a search; who asks is judged before.
    async fn search(&self, user: u64, query: SearchQuery) -> Result<ReadResponse, Status> {
        let Some(search) = &self.search else {
            return Err(Status::unavailable("this replica does not search"));
        };
        let result = match search.search(user, query).await {
            Ok(result) => read_response::Result::Search(result),
            Err(SearchError::Rejected(rejected)) => read_response::Result::Rejected(rejected),
            Err(SearchError::Behind) => {
                return Err(Reason::Behind.refusal("the search index has not reached that log index yet"));
            }
            Err(SearchError::Unavailable(why)) => return Err(Status::unavailable(why)),
            Err(SearchError::Store(error)) => {
                tracing::error!(%error, "a search failed");
                return Err(Status::internal(error.to_string()));
            }
        };
        let (as_of_index, log_time_ms) = read::position(self.node.store());
        Ok(ReadResponse { as_of_index, log_time_ms, result: Some(result) })
    }

    /// Waits until the state has reached an index.
    async fn wait_for(&self, min_index: u64, linearizable: bool) -> Result<(), Status> {
        if linearizable && self.node.linearize().await.is_err() {
            return Err(Reason::NoLeader.refusal("a linearizable read: try again"));
        }
        let mut position = self.node.publisher().position();
        let reached = tokio::time::timeout(READ_WAIT, position.wait_for(|at| at.index >= min_index)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Reason::Behind.refusal("this replica has not reached the index yet")),
        }
    }

    /// In its first moment a cluster has no key to sign with: its leader has just proposed it.
    async fn wait_for_a_key(&self) -> Result<(), Status> {
        let mut position = self.node.publisher().position();
        // Looked at between the changes: who tells of one may hold the state.
        let keyed = async {
            position.mark_unchanged();
            while self.node.store().read().signing_keys().is_ok_and(|keys| keys.is_empty()) {
                if position.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(READ_WAIT, keyed)
            .await
            .map_err(|_| Status::unavailable("there is no signing key yet: try again"))
    }
}

/// Reads what a gateway submits until it goes, and answers out of order.
struct Submits {
    node: Arc<Node>,
    in_flight: Arc<Semaphore>,
    answers: mpsc::Sender<Result<SubmitResults, Status>>,
}

impl Submits {
    async fn run(self, mut batches: Streaming<SubmitBatch>) {
        while let Some(Ok(batch)) = batches.next().await {
            let arrived = Instant::now();
            let count = batch.items.len();
            if count == 0 {
                continue;
            }
            self.node.metrics().submitted(count);
            let permits = u32::try_from(count.min(COMMANDS_IN_FLIGHT_MAX)).unwrap_or(u32::MAX);
            let Ok(permit) = self.in_flight.clone().acquire_many_owned(permits).await else { return };
            self.accept(batch.items, arrived, permit).await;
        }
    }

    async fn accept(&self, items: Vec<SubmitItem>, arrived: Instant, permit: OwnedSemaphorePermit) {
        let node = &self.node;
        if !node.leads() {
            node.metrics().refused_not_leader(items.len());
            return self.refuse(items.iter().map(|item| item.request_id), failure::Kind::NotLeader).await;
        }
        if node.store().overlay_bytes() > OVERLAY_BYTES_REFUSE {
            node.metrics().refused_overloaded(items.len());
            return self.refuse(items.iter().map(|item| item.request_id), failure::Kind::Overloaded).await;
        }
        let (good, refused) = sort(items, || node.proposes_by());
        for (request_id, kind) in refused {
            self.refuse(std::iter::once(request_id), kind).await;
        }
        let mut spans = Vec::new();
        let (ids, commands): (Vec<u64>, Vec<Submitted>) = good
            .into_iter()
            .map(|item| {
                let traced = trace::open(Stage::Propose, &item.traceparent, None);
                let traceparent = traced.map_or_else(String::new, |(span, traceparent)| {
                    spans.push((item.request_id, span));
                    traceparent
                });
                (item.request_id, Submitted { command: item.command, traceparent })
            })
            .unzip();
        // Proposed here, in the order of arrival; waited for beside, so that the next batch is proposed meanwhile.
        match node.propose(commands).await {
            Ok(outcomes) => {
                let answers = self.answers.clone();
                let node = node.clone();
                tokio::spawn(async move {
                    forward(&node, ids, arrived, outcomes, &answers, spans).await;
                    drop(permit);
                });
            }
            Err(error) => {
                let kind = kind_of(&error);
                if kind == failure::Kind::Overloaded {
                    node.metrics().refused_overloaded(ids.len());
                }
                self.refuse(ids.into_iter(), kind).await;
            }
        }
    }

    async fn refuse(&self, ids: impl Iterator<Item = u64>, kind: failure::Kind) {
        let items = ids.map(|request_id| failed(&self.node, request_id, kind)).collect();
        let _ = self.answers.send(Ok(SubmitResults { items })).await;
    }
}

/// The machine version that a gateway's command needs; `None` when it is no command, or one that is the leader's own.
fn needed_version(bytes: &Bytes) -> Option<u32> {
    if bytes.len() > COMMAND_BYTES_MAX {
        return None;
    }
    let command = Command::decode(bytes.clone()).ok().filter(|command| !machine::is_internal(command))?;
    command.action.as_ref().map(machine::needed_version)
}

/// What can be proposed by a machine version, and what cannot and why. A leader that does not know yet by which version it
/// proposes does not know either whether a command is too new: whoever sent it asks again, and is not told that it never was.
fn sort(
    items: Vec<SubmitItem>,
    proposes_by: impl FnOnce() -> Option<u32>,
) -> (Vec<SubmitItem>, Vec<(u64, failure::Kind)>) {
    let needed: Vec<Option<u32>> = items.iter().map(|item| needed_version(&item.command)).collect();
    // Nearly all commands are as old as the first version: nothing is looked up for them.
    let is_any_new = needed.iter().flatten().any(|needed| *needed > 1);
    let version = if is_any_new { proposes_by() } else { Some(1) };
    let (mut good, mut refused) = (Vec::with_capacity(items.len()), Vec::new());
    for (item, needed) in items.into_iter().zip(needed) {
        match (needed, version) {
            (Some(1), _) => good.push(item),
            (Some(needed), Some(version)) if needed <= version => good.push(item),
            (Some(_), None) => refused.push((item.request_id, failure::Kind::NotLeader)),
            (None, _) | (Some(_), Some(_)) => refused.push((item.request_id, failure::Kind::Malformed)),
        }
    }
    (good, refused)
}

fn kind_of(error: &ProposeError) -> failure::Kind {
    match error {
        ProposeError::NotLeader => failure::Kind::NotLeader,
        ProposeError::StorageLow => failure::Kind::Overloaded,
        ProposeError::Unknown => failure::Kind::Unknown,
    }
}

fn failed(node: &Node, request_id: u64, kind: failure::Kind) -> SubmitResult {
    let (leader_id, leader_address) = node.leader().unwrap_or_default();
    let message = match kind {
        failure::Kind::NotLeader => "another replica leads",
        failure::Kind::Overloaded => "too much waits to be written, or disks are nearly full: try again",
        failure::Kind::Malformed => "the bytes are no command that this replica knows",
        failure::Kind::Unknown | failure::Kind::Unspecified => "proposed, but its fate was not seen",
    };
    let failure = Failure { kind: kind.into(), leader_id, leader_address, message: message.to_owned() };
    SubmitResult { request_id, result: Some(submit_result::Result::Failure(failure)), leader_us: 0 }
}

/// Sends outcomes on as they come, many a frame.
async fn forward(
    node: &Node,
    ids: Vec<u64>,
    arrived: Instant,
    outcomes: impl Stream<Item = Result<quorate_proto::rpc::Outcome, ProposeError>> + Send,
    answers: &mpsc::Sender<Result<SubmitResults, Status>>,
    mut spans: Vec<(u64, Span)>,
) {
    // Room for a whole chunk is made with its first outcome.
    let chunk_max = ids.len().clamp(1, ANSWERS_PER_FRAME_MAX);
    let mut ids = ids.into_iter();
    let mut chunks = std::pin::pin!(outcomes.ready_chunks(chunk_max));
    while let Some(chunk) = chunks.next().await {
        let leader_us = u32::try_from(arrived.elapsed().as_micros()).unwrap_or(u32::MAX);
        let items = chunk
            .into_iter()
            .zip(&mut ids)
            .inspect(|(outcome, answered)| {
                // Closes the spans of what is answered now.
                spans.retain(|(request_id, span)| {
                    if request_id == answered {
                        span.record("index", outcome.as_ref().map_or(0, |outcome| outcome.index));
                    }
                    request_id != answered
                });
            })
            .map(|(outcome, request_id)| match outcome {
                Ok(outcome) => {
                    let result = Some(submit_result::Result::Outcome(outcome));
                    SubmitResult { request_id, result, leader_us }
                }
                Err(error) => failed(node, request_id, kind_of(&error)),
            })
            .collect();
        if answers.send(Ok(SubmitResults { items })).await.is_err() {
            return;
        }
    }
    // Consensus stopped before these were answered.
    let rest: Vec<_> = ids.map(|id| failed(node, id, failure::Kind::Unknown)).collect();
    if !rest.is_empty() {
        let _ = answers.send(Ok(SubmitResults { items: rest })).await;
    }
}

#[tonic::async_trait]
impl Chat for ChatService {
    type SubmitStream = ReceiverStream<Result<SubmitResults, Status>>;
    type FeedStream = Pin<Box<dyn Stream<Item = Result<FeedFrame, Status>> + Send>>;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitBatch>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS_AHEAD);
        let in_flight = Arc::new(Semaphore::new(COMMANDS_IN_FLIGHT_MAX));
        let submits = Submits { node: self.node.clone(), in_flight, answers };
        tokio::spawn(submits.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn feed(
        &self,
        request: Request<Streaming<FeedRequest>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        let counted = Counted::new(self.node.clone());
        let frames = feed::open(self.node.clone(), request.into_inner()).map(move |frame| {
            let _open = &counted;
            frame
        });
        Ok(Response::new(Box::pin(frames)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        let request = request.into_inner();
        self.wait_for(request.min_index, request.linearizable).await?;
        let name_key = match &request.query {
            Some(read_request::Query::Credentials(query)) => Some(self.signer.name_key(&query.name)),
            _ => None,
        };
        let failed = |error: StoreError| {
            tracing::error!(%error, "a read failed");
            Status::internal(error.to_string())
        };
        if let Some(read_request::Query::Search(query)) = &request.query {
            return match read::who_asks(self.node.store(), &request).map_err(failed)? {
                None => self.search(request.user_id, query.clone()).await.map(Response::new),
                Some(stranger) => Ok(Response::new(stranger)),
            };
        }
        let mut answer =
            read::answer(self.node.store(), self.node.signals(), self.allowed, request).map_err(failed)?;
        if let (Some(read_response::Result::Credentials(found)), Some(name_key)) =
            (&mut answer.result, name_key)
        {
            found.name_key = name_key;
        }
        self.signer.fill_hook_secrets(&mut answer);
        Ok(Response::new(answer))
    }

    async fn token(&self, request: Request<TokenRequest>) -> Result<Response<TokenResponse>, Status> {
        let request = request.into_inner();
        self.wait_for(request.min_index, false).await?;
        self.wait_for_a_key().await?;
        self.signer.sign(&self.node, &request).map(Response::new)
    }
}

/// Counts a feed for as long as its stream lives.
struct Counted(Arc<Node>);

impl Counted {
    fn new(node: Arc<Node>) -> Self {
        node.metrics().feeds(1);
        Self(node)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics().feeds(-1);
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc::command::Action;
    use quorate_proto::rpc::{CountAttempt, Edit, OfferAdmin, Send};

    use super::*;

    #[test]
    fn a_leader_proposes_nothing_that_a_replica_of_its_machine_version_may_not_know() {
        let of = |action| Command { action, ..Command::default() }.encode_to_vec();
        let commands = [
            of(Some(Action::Send(Send::default()))),
            of(Some(Action::Edit(Edit::default()))),
            of(Some(Action::CountAttempt(CountAttempt::default()))),
            of(Some(Action::OfferAdmin(OfferAdmin::default()))),
            of(None),
            vec![0xff],
            vec![0; COMMAND_BYTES_MAX + 1],
        ];
        let items = || {
            let item = |(at, command): (usize, &Vec<u8>)| SubmitItem {
                request_id: at as u64,
                command: Bytes::from(command.clone()),
                ..SubmitItem::default()
            };
            commands.iter().enumerate().map(item).collect::<Vec<_>>()
        };
        let good = |version| {
            let (good, refused) = sort(items(), || version);
            assert_eq!(good.len() + refused.len(), commands.len());
            (good.iter().map(|item| item.request_id).collect::<Vec<_>>(), refused)
        };
        let malformed = |from: u64| (from..7).map(|id| (id, failure::Kind::Malformed)).collect::<Vec<_>>();
        assert_eq!(good(Some(1)), (vec![0], malformed(1)));
        assert_eq!(good(Some(2)), (vec![0, 1], malformed(2)));
        assert_eq!(good(Some(3)), (vec![0, 1, 2], malformed(3)), "an offer is the leader's own");
        let (sure, refused) = good(None);
        assert_eq!(sure, [0]);
        assert_eq!(refused[..2], [(1, failure::Kind::NotLeader), (2, failure::Kind::NotLeader)]);
        assert_eq!(refused[2..], malformed(3), "what is no command is none at any time");
        let (all, _) = sort(vec![items().remove(0)], || panic!("not looked up"));
        assert_eq!(all.len(), 1);
    }
}
