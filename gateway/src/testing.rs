//! A replica that says what a test tells it to: for the rules of retry and of switching feeds, without a cluster.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use prost::Message as _;
use quorate_proto::rpc::admin_server::{Admin, AdminServer};
use quorate_proto::rpc::chat_server::{Chat, ChatServer};
use quorate_proto::rpc::cluster_server::{Cluster, ClusterServer};
use quorate_proto::rpc::{
    ClusterChangeRequest, ClusterChangeResponse, Command, Done, Failure, FeedFrame, FeedRequest, Outcome,
    ReadRequest, ReadResponse, SignInAttempt, StatusRequest, StatusResponse, SubmitBatch, SubmitResult,
    SubmitResults, TokenRequest, TokenResponse, command, failure, outcome, submit_result,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::metrics::Metrics;
use crate::reads::Reader;
use crate::replicas::Replicas;

/// A thread that stands still for longer may look to the product like a replica that is gone.
const STANDSTILL: Duration = Duration::from_millis(100);
/// How often it is looked whether the thread goes on.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// So often a test is run again because its thread stood still.
const RUNS_MAX: usize = 5;

/// Runs a test, and runs it again when it failed and its thread had stood still: a replica that says nothing for some hundred
/// milliseconds is left, so that such a run proves nothing. A failure of a run that went on all the time counts.
pub(crate) async fn undisturbed<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for _ in 1..RUNS_MAX {
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let watch = tokio::spawn(stillness(Arc::clone(&longest)));
        let ended = AssertUnwindSafe(test()).catch_unwind().await;
        // What was a moment before the failure is seen after it.
        tokio::time::sleep(2 * LOOK_INTERVAL).await;
        watch.abort();
        let Err(failure) = ended else { return };
        let longest = *longest.lock().unwrap();
        if longest < STANDSTILL {
            resume_unwind(failure);
        }
        println!("this thread stood still for {longest:?}: once more");
    }
    test().await;
}

/// Notes for how long this thread stood still at most.
async fn stillness(longest: Arc<Mutex<Duration>>) {
    loop {
        let begun = Instant::now();
        tokio::time::sleep(LOOK_INTERVAL).await;
        let still = begun.elapsed().saturating_sub(LOOK_INTERVAL);
        let mut longest = longest.lock().unwrap();
        *longest = still.max(*longest);
    }
}

/// What it does with commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Submits {
    /// Applies them.
    Apply,
    /// Does not lead; names another, or nobody.
    NotLeader(String),
    /// Takes them and says nothing.
    Mute,
    /// Takes them and breaks the stream.
    Break,
}

type TokenAnswer = Box<dyn Fn(TokenRequest) -> Result<TokenResponse, Status> + Send + Sync>;
type Decides = Box<dyn Fn(&Command) -> Option<outcome::Result> + Send + Sync>;
type ChangeAnswer = Box<dyn Fn(ClusterChangeRequest) -> Result<ClusterChangeResponse, Status> + Send + Sync>;
type ReadAnswer = Box<dyn Fn(ReadRequest) -> Result<ReadResponse, Status> + Send + Sync>;
type FrameSender = mpsc::Sender<Result<FeedFrame, Status>>;

pub(crate) struct State {
    pub(crate) id: u64,
    pub(crate) role: &'static str,
    pub(crate) submits: Submits,
    pub(crate) commands: Vec<Bytes>,
    pub(crate) read: ReadAnswer,
    /// It takes what is to be read and says nothing.
    pub(crate) reads_hang: bool,
    pub(crate) token: TokenAnswer,
    /// The outcomes of commands that are applied; `None`: it is done.
    pub(crate) decides: Decides,
    pub(crate) applied_index: u64,
    /// Submit streams opened.
    pub(crate) streams: usize,
    /// What else its status says.
    pub(crate) details: StatusResponse,
    pub(crate) change: ChangeAnswer,
}

/// A fake replica on a real socket.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: String,
    pub(crate) state: Arc<Mutex<State>>,
    feeds: mpsc::Sender<Feed>,
}

/// A feed that a gateway opened.
pub(crate) struct Feed {
    pub(crate) frames: FrameSender,
    pub(crate) requests: mpsc::Receiver<FeedRequest>,
}

impl Fake {
    /// Starts one; feeds that are opened come by the channel.
    pub(crate) async fn start(id: u64) -> (Self, mpsc::Receiver<Feed>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (feeds, opened) = mpsc::channel(4);
        let state = State {
            id,
            role: "follower",
            submits: Submits::NotLeader(String::new()),
            commands: Vec::new(),
            read: Box::new(|_| Err(Status::unavailable("no reads here"))),
            reads_hang: false,
            token: Box::new(|_| Err(Status::unauthenticated("no tokens here"))),
            decides: Box::new(|_| None),
            applied_index: 0,
            streams: 0,
            details: StatusResponse::default(),
            change: Box::new(|_| Err(Status::unimplemented("an older replica"))),
        };
        let fake = Self { address, state: Arc::new(Mutex::new(state)), feeds };
        let server = tonic::transport::Server::builder()
            .add_service(ChatServer::new(fake.clone()))
            .add_service(AdminServer::new(fake.clone()))
            .add_service(ClusterServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (fake, opened)
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(crate) fn streams(&self) -> usize {
        self.state.lock().unwrap().streams
    }

    pub(crate) fn commands(&self) -> Vec<Bytes> {
        self.state.lock().unwrap().commands.clone()
    }
}

/// Handles to a tier of fakes.
pub(crate) fn tier(fakes: &[&Fake]) -> (Arc<Replicas>, Reader, Arc<Metrics>) {
    let addresses: Vec<String> = fakes.iter().map(|fake| fake.address.clone()).collect();
    let replicas = Arc::new(Replicas::new("test", &addresses, 0, None).unwrap());
    let metrics = Arc::new(Metrics::default());
    (Arc::clone(&replicas), Reader::new(replicas, Arc::clone(&metrics)), metrics)
}

#[tonic::async_trait]
impl Chat for Fake {
    type SubmitStream = ReceiverStream<Result<SubmitResults, Status>>;
    type FeedStream = ReceiverStream<Result<FeedFrame, Status>>;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitBatch>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        assert!(request.metadata().contains_key(quorate_proto::CLUSTER_METADATA));
        let mut batches = request.into_inner();
        let (answers, stream) = mpsc::channel(16);
        let state = Arc::clone(&self.state);
        state.lock().unwrap().streams += 1;
        tokio::spawn(async move {
            while let Some(Ok(batch)) = batches.next().await {
                let mut items = Vec::new();
                {
                    let mut state = state.lock().unwrap();
                    for item in batch.items {
                        let command = Command::decode(item.command.clone()).unwrap_or_default();
                        let counts = matches!(command.action, Some(command::Action::CountAttempt(_)));
                        state.commands.push(item.command);
                        let result = match &state.submits {
                            Submits::Apply => submit_result::Result::Outcome(Outcome {
                                index: state.commands.len() as u64,
                                result: Some(if counts {
                                    outcome::Result::Attempt(SignInAttempt { wait_ms: 0 })
                                } else {
                                    (state.decides)(&command).unwrap_or(outcome::Result::Done(Done {}))
                                }),
                                ..Outcome::default()
                            }),
                            Submits::NotLeader(address) => submit_result::Result::Failure(Failure {
                                kind: failure::Kind::NotLeader.into(),
                                leader_address: address.clone(),
                                ..Failure::default()
                            }),
                            Submits::Mute => continue,
                            Submits::Break => return,
                        };
                        items.push(SubmitResult {
                            request_id: item.request_id,
                            result: Some(result),
                            leader_us: 0,
                        });
                    }
                }
                // Out of order, as a replica may.
                items.reverse();
                if !items.is_empty() && answers.send(Ok(SubmitResults { items })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn feed(
        &self,
        request: Request<Streaming<FeedRequest>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        let mut incoming = request.into_inner();
        let (frames, stream) = mpsc::channel(64);
        let (asked, requests) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(Ok(request)) = incoming.next().await {
                if asked.send(request).await.is_err() {
                    return;
                }
            }
        });
        let _ = self.feeds.send(Feed { frames, requests }).await;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        let hangs = self.state.lock().unwrap().reads_hang;
        if hangs {
            return std::future::pending().await;
        }
        let state = self.state.lock().unwrap();
        (state.read)(request.into_inner()).map(Response::new)
    }

    async fn token(&self, request: Request<TokenRequest>) -> Result<Response<TokenResponse>, Status> {
        let state = self.state.lock().unwrap();
        (state.token)(request.into_inner()).map(Response::new)
    }
}

#[tonic::async_trait]
impl Admin for Fake {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let state = self.state.lock().unwrap();
        Ok(Response::new(StatusResponse {
            id: state.id,
            role: state.role.to_owned(),
            applied_index: state.applied_index,
            ..state.details.clone()
        }))
    }
}

#[tonic::async_trait]
impl Cluster for Fake {
    async fn change(
        &self,
        request: Request<ClusterChangeRequest>,
    ) -> Result<Response<ClusterChangeResponse>, Status> {
        let state = self.state.lock().unwrap();
        (state.change)(request.into_inner()).map(Response::new)
    }
}
