//! The feed: committed events, pushed in log order to whoever asked for their topics.
//!
//! ```text
//!   apply ──batch──▶ bounded ring ──▶ one task a gateway: filters by topic ──▶ stream
//! ```
//!
//! Apply never waits: a reader that falls behind the ring is ended, opens again and reads what it missed from the store.
//! A topic's addition is answered with the index from which its events are complete; earlier ones are to be read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use quorate_proto::rpc::{Event, FeedFrame, FeedRequest, Progress, Topic, TopicReady, topic};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::machine::Tables as _;
use crate::node::Node;
use crate::planted::{self, Bug};
use crate::store::{Applied, StoreError};

/// Batches remembered for slow readers. A batch is up to 128 entries; this is some seconds of full load.
const RING_BATCHES: usize = 4096;
/// Frames waiting for a gateway's connection before its feed falls back on the ring.
const FRAMES_AHEAD: usize = 16;
/// A gateway that takes no frame for this long is let go: until then the ring keeps every batch that it has not seen.
const READER_WAIT: Duration = Duration::from_secs(1);
/// Progress is told at least this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Topics that one gateway may follow: above 10,000 sessions with 100 rooms each is another design.
const TOPICS_MAX: usize = 1_000_000;
/// Events in one frame at most, so that no message grows beyond bounds: 256 texts of the largest size are 3 MiB.
const FRAME_EVENTS_MAX: usize = 256;

/// What one hold of the state applied.
#[derive(Debug)]
pub struct AppliedBatch {
    /// In log order.
    pub events: Vec<Event>,
    /// The last applied index.
    pub applied_index: u64,
    /// Log time there.
    pub log_time_ms: u64,
}

/// Where a replica's state stands, for those who wait for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The last applied index.
    pub index: u64,
    /// Log time there.
    pub log_time_ms: u64,
    /// Raised when a snapshot replaced the state: events in between were never seen here.
    pub resets: u64,
}

/// The writing end, held by apply.
#[derive(Debug, Clone)]
pub struct Publisher {
    ring: broadcast::Sender<Arc<AppliedBatch>>,
    position: Arc<watch::Sender<Position>>,
}

impl Publisher {
    /// A feed that begins where the state stands.
    pub fn new(applied: &Applied) -> Self {
        let (ring, _) = broadcast::channel(RING_BATCHES);
        let index = applied.index().unwrap_or(0);
        let position = Position { index, log_time_ms: applied.log_time_ms, resets: 0 };
        Self { ring, position: Arc::new(watch::Sender::new(position)) }
    }

    /// Tells everybody what was applied.
    pub fn publish(&self, batch: AppliedBatch) {
        let (index, log_time_ms) = (batch.applied_index, batch.log_time_ms);
        // Nobody listening is fine.
        let _ = self.ring.send(Arc::new(batch));
        self.position.send_modify(|position| {
            position.index = index;
            position.log_time_ms = log_time_ms;
        });
    }

    /// A snapshot replaced the state: open feeds end, since they did not see what lies between.
    pub fn publish_reset(&self, applied: &Applied) {
        self.position.send_modify(|position| {
            position.index = applied.index().unwrap_or(0);
            position.log_time_ms = applied.log_time_ms;
            position.resets += 1;
        });
    }

    /// Where the state stands.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }
}

/// One gateway's feed.
struct Session {
    node: Arc<Node>,
    ring: broadcast::Receiver<Arc<AppliedBatch>>,
    position: watch::Receiver<Position>,
    /// Topic → index from which it is complete.
    topics: HashMap<(i32, u64), u64>,
    /// All events up to here have been sent.
    sent_index: u64,
    log_time_ms: u64,
    /// Events of followed topics so far.
    passed_on: u64,
    out: mpsc::Sender<Result<FeedFrame, Status>>,
}

/// Opens a feed over a gateway's requests. The stream ends with ABORTED when the reader is too slow or the state was
/// replaced: open again and read from the last index.
pub fn open(
    node: Arc<Node>,
    requests: impl Stream<Item = Result<FeedRequest, Status>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<FeedFrame, Status>> + Send + 'static {
    let (out, frames) = mpsc::channel(FRAMES_AHEAD);
    let publisher = node.publisher();
    // The ring is joined before the position is read: nothing falls between.
    let ring = publisher.ring.subscribe();
    let mut position = publisher.position();
    let start = *position.borrow_and_update();
    let session = Session {
        node,
        ring,
        position,
        topics: HashMap::new(),
        sent_index: start.index,
        log_time_ms: start.log_time_ms,
        passed_on: 0,
        out,
    };
    tokio::spawn(session.run(requests, start.resets));
    ReceiverStream::new(frames)
}

impl Session {
    async fn run(
        mut self,
        mut requests: impl Stream<Item = Result<FeedRequest, Status>> + Send + Unpin + 'static,
        resets: u64,
    ) {
        let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let frame = tokio::select! {
                biased;
                request = requests.next() => match request {
                    Some(Ok(request)) => self.change_topics(request),
                    // The gateway has gone.
                    Some(Err(_)) | None => return,
                },
                // Before the ring: a load that concerns others must not silence this feed.
                _ = progress.tick() => Ok(Some(self.frame(Vec::new(), Vec::new()))),
                batch = self.ring.recv() => match batch {
                    Ok(batch) => self.pass_on(batch),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        Err(Status::aborted(format!("the feed fell behind by {missed} batches: open it again")))
                    }
                    Err(broadcast::error::RecvError::Closed) => Err(Status::unavailable("the replica is stopping")),
                },
            };
            let frame = if self.position.borrow().resets == resets {
                frame
            } else {
                Err(Status::aborted("a snapshot replaced the state: open the feed again"))
            };
            match frame {
                Ok(Some(frame)) => match tokio::time::timeout(READER_WAIT, self.out.send(Ok(frame))).await {
                    Ok(Ok(())) => {}
                    // The gateway has gone, or does not read: the ring must not hold what it misses.
                    Ok(Err(_)) | Err(_) => return,
                },
                Ok(None) => {}
                Err(status) => {
                    let _ = self.out.send(Err(status)).await;
                    return;
                }
            }
        }
    }

    fn change_topics(&mut self, request: FeedRequest) -> Result<Option<FeedFrame>, Status> {
        for topic in request.remove {
            self.topics.remove(&(topic.kind, topic.id));
        }
        if self.topics.len() + request.add.len() > TOPICS_MAX {
            return Err(Status::resource_exhausted(format!("one feed follows at most {TOPICS_MAX} topics")));
        }
        let store = self.node.store();
        let state = store.read();
        let index = state.applied().index().unwrap_or(0);
        let mut ready = Vec::with_capacity(request.add.len());
        for topic in request.add {
            self.topics.insert((topic.kind, topic.id), index);
            let version = version_of(&state, &topic).map_err(|error| Status::internal(error.to_string()))?;
            ready.push(TopicReady { topic: Some(topic), complete_from_index: index, version });
        }
        drop(state);
        Ok((!ready.is_empty()).then(|| self.frame(ready, Vec::new())))
    }

    /// The events of a batch that this gateway follows, and of the batches that wait behind it.
    fn pass_on(&mut self, first: Arc<AppliedBatch>) -> Result<Option<FeedFrame>, Status> {
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(batch) = next.take() {
            for event in &batch.events {
                let Some(topic) = &event.topic else { continue };
                let complete_from = self.topics.get(&(topic.kind, topic.id));
                if complete_from.is_some_and(|from| event.index > *from) {
                    self.passed_on += 1;
                    if planted::is(Bug::FeedSkips)
                        && self.passed_on.is_multiple_of(planted::FEED_SKIPS_ONE_IN)
                    {
                        continue;
                    }
                    events.push(event.clone());
                }
            }
            self.sent_index = self.sent_index.max(batch.applied_index);
            self.log_time_ms = self.log_time_ms.max(batch.log_time_ms);
            if events.len() < FRAME_EVENTS_MAX {
                next = match self.ring.try_recv() {
                    Ok(batch) => Some(batch),
                    Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                        return Err(Status::aborted(format!("the feed fell behind by {missed} batches")));
                    }
                    Err(_) => None,
                };
            }
        }
        // Nothing of interest: the regular progress mark will say how far it went.
        Ok((!events.is_empty()).then(|| self.frame(Vec::new(), events)))
    }

    fn frame(&self, ready: Vec<TopicReady>, events: Vec<Event>) -> FeedFrame {
        let progress = Progress {
            applied_index: self.sent_index,
            log_time_ms: self.log_time_ms,
            leader_id: self.node.leader().map_or(0, |(id, _)| id),
            leader_contact_ms: self.node.leader_contact_ms(),
        };
        FeedFrame { ready, events, progress: Some(progress) }
    }
}

fn version_of(state: &crate::store::Reader<'_>, topic: &Topic) -> Result<u64, StoreError> {
    Ok(match topic.kind() {
        topic::Kind::Conversation => {
            state.conversation(topic.id)?.map_or(0, |conversation| conversation.version)
        }
        topic::Kind::Me => state.me(topic.id)?.version,
        topic::Kind::Unspecified => 0,
    })
}
