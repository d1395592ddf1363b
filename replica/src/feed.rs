//! The feed: committed events, pushed in log order to whoever asked for their topics.
//!
//! ```text
//!   apply ──batch──▶ bounded ring ──▶ one task a gateway: filters by topic ──▶ stream
//! ```
//!
//! Apply never waits: a reader that falls behind the ring is ended, opens again and reads what it missed from the store.
//! A topic's addition is answered with the index from which its events are complete; earlier ones are to be read.
//!
//! Signals ride the same stream, after events and only while the gateway keeps up: they have no index and no promise.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use quorate_proto::rpc::{
    Event, FeedFrame, FeedRequest, Lease, Progress, Signal, Topic, TopicReady, event, topic,
};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::machine::Tables as _;
use crate::node::Node;
use crate::planted::{self, Bug};
use crate::signals::{self, Down, Signals};
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
/// Signals in one frame at most.
const FRAME_SIGNALS_MAX: usize = 256;
/// Signals wait for nothing: with fewer free places than this for frames they are dropped, so that events find room.
const FRAMES_FREE_FOR_SIGNALS: usize = FRAMES_AHEAD / 2;
/// Conversations whose signals one gateway may watch; as for topics.
const WATCHED_MAX: usize = TOPICS_MAX;
/// Watched conversations whose presence is told again in one turn of the progress mark: 320 a second.
const TOLD_AGAIN_PER_TURN: usize = 16;

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

    /// Everything that is published from now on.
    #[cfg(test)]
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<AppliedBatch>> {
        self.ring.subscribe()
    }

    /// A snapshot replaced the state: open feeds end, since they did not see what lies between.
    pub fn publish_reset(&self, applied: &Applied) {
        self.position.send_modify(|position| {
            position.index = applied.index().unwrap_or(0);
            position.log_time_ms = applied.log_time_ms;
            position.resets += 1;
        });
    }

    /// Every batch from now on. Who reads slowly is told how many were missed; nobody waits.
    pub fn batches(&self) -> broadcast::Receiver<Arc<AppliedBatch>> {
        self.ring.subscribe()
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
    signals: Watching,
}

/// What one gateway watches.
struct Watching {
    source: Arc<Signals>,
    ring: broadcast::Receiver<Arc<Down>>,
    conversations: BTreeSet<u64>,
    /// Whose presence is to be told from the table: just watched, or some of it was dropped.
    again: VecDeque<u64>,
    /// The gateway, once it has said its name, with start and number of the last lease that it said here.
    gateway: Option<(String, (u64, u64))>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.source.watch(self.conversations.iter().copied(), false);
        if let Some((gateway, place)) = &self.gateway {
            self.source.left(gateway, *place);
        }
    }
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
    let signals = Watching {
        ring: node.signals().subscribe(),
        source: Arc::clone(node.signals()),
        conversations: BTreeSet::new(),
        again: VecDeque::new(),
        gateway: None,
    };
    let session = Session {
        signals,
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
                    Some(Ok(mut request)) => {
                        self.signals.take(&mut request);
                        self.change_topics(request)
                    }
                    // The gateway has gone.
                    Some(Err(_)) | None => return,
                },
                // Before the ring: a load that concerns others must not silence this feed.
                _ = progress.tick() => {
                    let signals = self.signals.told_again();
                    Ok(Some(FeedFrame { signals, ..self.frame(Vec::new(), Vec::new()) }))
                }
                batch = self.ring.recv() => match batch {
                    Ok(batch) => self.pass_on(batch),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        Err(Status::aborted(format!("the feed fell behind by {missed} batches: open it again")))
                    }
                    Err(broadcast::error::RecvError::Closed) => Err(Status::unavailable("the replica is stopping")),
                },
                // Last: while there are events, signals wait or are dropped.
                down = self.signals.ring.recv() => {
                    let signals = self.signals.pass_on(down);
                    if !signals.is_empty() && self.out.capacity() < FRAMES_FREE_FOR_SIGNALS {
                        self.signals.lagged(signals.len() as u64);
                        Ok(None)
                    } else {
                        Ok((!signals.is_empty()).then(|| FeedFrame { signals, ..FeedFrame::default() }))
                    }
                }
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
        let mut receipts = Vec::new();
        let mut next = Some(first);
        while let Some(batch) = next.take() {
            for event in &batch.events {
                let Some(topic) = &event.topic else { continue };
                // A read mark is durable and its owner's; the others are told by signal.
                if let Some(event::Kind::MeRead(read)) = &event.kind
                    && self.signals.conversations.contains(&read.conversation_id)
                {
                    receipts.push(signals::has_read(read.conversation_id, topic.id, read.sequence));
                }
                // What each has been told of the other changes with it: in their conversation all of it is told anew.
                if let Some(event::Kind::MeBlocked(blocked)) = &event.kind
                    && let Some(other) = &blocked.user
                {
                    self.signals.tell_pair_again(topic.id, other.id);
                }
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
            if events.len() < FRAME_EVENTS_MAX && receipts.len() < FRAME_SIGNALS_MAX {
                next = match self.ring.try_recv() {
                    Ok(batch) => Some(batch),
                    Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                        return Err(Status::aborted(format!("the feed fell behind by {missed} batches")));
                    }
                    Err(_) => None,
                };
            }
        }
        receipts.retain(|receipt| {
            let user_id = receipt.user.as_ref().map_or(0, |user| user.id);
            self.signals.source.tells_read(receipt.conversation_id, user_id)
        });
        // Nothing of interest: the regular progress mark will say how far it went.
        Ok((!events.is_empty() || !receipts.is_empty())
            .then(|| FeedFrame { signals: receipts, ..self.frame(Vec::new(), events) }))
    }

    fn frame(&self, ready: Vec<TopicReady>, events: Vec<Event>) -> FeedFrame {
        let progress = Progress {
            applied_index: self.sent_index,
            log_time_ms: self.log_time_ms,
            leader_id: self.node.leader().map_or(0, |(id, _)| id),
            leader_contact_ms: self.node.leader_contact_ms(),
            kept: self.signals.source.kept(),
        };
        FeedFrame { ready, events, progress: Some(progress), signals: Vec::new() }
    }
}

impl Watching {
    /// The part of a request that is of signals.
    fn take(&mut self, request: &mut FeedRequest) {
        let left: Vec<u64> = request
            .unwatch
            .drain(..)
            .filter(|conversation| self.conversations.remove(conversation))
            .collect();
        self.source.watch(left.into_iter(), false);
        let room = WATCHED_MAX.saturating_sub(self.conversations.len());
        let asked = std::mem::take(&mut request.watch);
        let new: Vec<u64> = asked
            .into_iter()
            .take(room)
            .filter(|conversation| self.conversations.insert(*conversation))
            .collect();
        self.again.extend(&new);
        self.source.watch(new.into_iter(), true);
        if let Some(lease) = request.lease.take() {
            self.lease(lease);
        }
        if !request.signals.is_empty() {
            self.source.said(std::mem::take(&mut request.signals));
        }
    }

    fn lease(&mut self, lease: Lease) {
        let said = (lease.started_ms, lease.number);
        // One gateway a feed: the name that came first stays.
        let (gateway, place) = self.gateway.get_or_insert_with(|| {
            self.source.serves(&lease.gateway);
            (lease.gateway.clone(), said)
        });
        if *gateway == lease.gateway {
            *place = said;
            self.source.lease(lease);
        }
    }

    /// What is told in watched conversations, and of what waits behind it.
    fn pass_on(&mut self, first: Result<Arc<Down>, broadcast::error::RecvError>) -> Vec<Signal> {
        let mut told = Vec::new();
        let mut next = match first {
            Ok(down) => Some(down),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                self.lagged(missed);
                None
            }
            Err(broadcast::error::RecvError::Closed) => None,
        };
        while let Some(down) = next.take() {
            match &*down {
                Down::Room(signal) if self.conversations.contains(&signal.conversation_id) => {
                    told.push(signal.clone());
                }
                Down::Room(_) => {}
                Down::Presence { user_id, state, rooms } => {
                    let rooms = rooms.iter().filter(|room| self.conversations.contains(room));
                    told.extend(rooms.map(|room| signals::presence(*room, *user_id, *state)));
                }
                Down::Again => self.tell_all_again(),
            }
            if told.len() < FRAME_SIGNALS_MAX {
                next = match self.ring.try_recv() {
                    Ok(down) => Some(down),
                    Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                        self.lagged(missed);
                        None
                    }
                    Err(_) => None,
                };
            }
        }
        told
    }

    /// What was dropped may have been of presence, which nobody says again by itself.
    fn lagged(&mut self, missed: u64) {
        self.source.dropped(usize::try_from(missed).unwrap_or(usize::MAX));
        self.tell_all_again();
    }

    /// Tells what is known in the direct conversation of two users, if it is watched.
    fn tell_pair_again(&mut self, a: u64, b: u64) {
        if let Some(conversation) = self.source.direct_of(a, b)
            && self.conversations.contains(&conversation)
            && !self.again.contains(&conversation)
        {
            self.again.push_back(conversation);
        }
    }

    /// Those that wait already keep their place: else, under a steady loss, the last ones would never have their turn.
    fn tell_all_again(&mut self) {
        let waiting: BTreeSet<u64> = self.again.iter().copied().collect();
        self.again.extend(self.conversations.difference(&waiting));
    }

    /// The presence of some conversations, from the table.
    fn told_again(&mut self) -> Vec<Signal> {
        let mut told = Vec::new();
        for _ in 0..TOLD_AGAIN_PER_TURN {
            let Some(conversation) = self.again.pop_front() else { break };
            match self.source.presence_in(conversation) {
                Ok(signals) => told.extend(signals),
                Err(error) => tracing::warn!(%error, "presence could not be read"),
            }
        }
        told
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
