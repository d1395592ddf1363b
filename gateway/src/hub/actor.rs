//! The actor behind [`super::Hub`]: carries the pure rules of topics and switches out.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_proto::ids::UserId;
use quorate_proto::rpc::{Event, FeedFrame, FeedRequest, Progress, Signal, Topic, event};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::durability::{Durability, Told};
use super::feed::{self, Feed, FillError, Filling, Opening, Search};
use super::sessions::Sessions;
use super::signals::Signals;
use super::switch::Switch;
use super::topics::{Subscription, Topics, Verdict};
use super::{Command, HubState, Item, NoRoom, SignalItem, SlotId, Subscribed};
use crate::clock::wall_ms;
use crate::cluster::Marks;
use crate::metrics::Metrics;
use crate::reads::Reader;
use crate::replicas::Replicas;

/// Progress comes at least every 100 ms: a feed silent for this long is left.
const SILENCE_MAX: Duration = Duration::from_millis(300);
/// One that stays below an index known for this long is looked into.
const LAG_MAX: Duration = Duration::from_millis(300);
/// One that has not heard from a leader for this long is looked into.
const LEADER_CONTACT_MS_MAX: u64 = 1_000;
/// How often it is looked into, so that a gateway does not hop while all are stale.
const SEARCH_INTERVAL: Duration = Duration::from_millis(1_000);
/// How often silence is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often unused topics and silent sessions are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Topics in one feed request.
const TOPICS_PER_REQUEST_MAX: usize = 512;

pub(super) struct Parts {
    pub(super) name: String,
    pub(super) replicas: Arc<Replicas>,
    pub(super) reader: Reader,
    pub(super) metrics: Arc<Metrics>,
    pub(super) leader: watch::Sender<u64>,
    pub(super) seen: mpsc::Sender<Vec<UserId>>,
    pub(super) marks: Arc<Marks>,
    pub(super) state: Arc<HubState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add(Topic),
    Remove(Topic),
}

struct Waiter {
    reply: oneshot::Sender<Result<Vec<Subscribed>, NoRoom>>,
    remaining: usize,
    ready: Vec<Subscribed>,
}

struct Actor {
    parts: Parts,
    topics: Topics,
    sessions: Sessions,
    signals: Signals,
    durability: Durability,
    waiters: HashMap<u64, Waiter>,
    next_request: u64,
    /// Changes the present feed has not been told, in order. At most one addition and one removal per topic.
    changes: VecDeque<Change>,
    feed: Option<Feed>,
    switch: Option<Switch>,
    opening: Option<Opening>,
    filling: Option<Filling>,
    search: Option<Search>,
    /// Feeds that failed in a row.
    attempts: u32,
    last_frame: Instant,
    /// An index known to exist, and since when: the feed must reach it.
    lag_mark: (u64, Instant),
    applied_index: u64,
    /// A leader that the feed has named, under whom nothing was pushed yet.
    new_leader: Option<u64>,
    searched: Instant,
    swept: Instant,
}

pub(super) async fn run(mut commands: mpsc::Receiver<Command>, parts: Parts) {
    let now = Instant::now();
    let first = parts.replicas.preferred();
    let mut actor = Actor {
        opening: Some(feed::open(Arc::clone(&parts.replicas), first, 0)),
        signals: Signals::new(&parts.name, wall_ms(), now),
        parts,
        topics: Topics::default(),
        sessions: Sessions::default(),
        durability: Durability::default(),
        waiters: HashMap::new(),
        next_request: 0,
        changes: VecDeque::new(),
        feed: None,
        switch: None,
        filling: None,
        search: None,
        attempts: 0,
        last_frame: now,
        lag_mark: (0, now),
        applied_index: 0,
        new_leader: None,
        searched: now,
        swept: now,
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_due = !actor.changes.is_empty() || actor.signals.is_due(Instant::now());
        let sender = actor.feed.as_ref().filter(|_| is_due).map(|feed| feed.tx.clone());
        tokio::select! {
            biased;
            frame = next_frame(&mut actor.feed) => {
                match frame {
                    Ok(frame) => actor.frame(frame),
                    Err(reason) => actor.reopen(&reason, None),
                }
                // Sessions take what they were given before more is given: on few cores a burst of feed frames would
                // otherwise fill the outboxes of readers that are only waiting for their turn.
                tokio::task::yield_now().await;
            }
            permit = reserve(sender.as_ref()) => match permit {
                Some(permit) => permit.send(actor.next_request()),
                None => actor.reopen("the stream broke", None),
            },
            command = commands.recv() => match command {
                Some(command) => actor.command(command),
                None => return,
            },
            opened = optional(&mut actor.opening) => actor.opened(opened),
            filled = optional(&mut actor.filling) => actor.filled(filled),
            found = optional(&mut actor.search) => actor.found(found),
            _ = tick.tick() => actor.tick(Instant::now()),
        }
    }
}

async fn next_frame(feed: &mut Option<Feed>) -> Result<FeedFrame, String> {
    match feed {
        Some(feed) => match feed.rx.message().await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err("the replica ended the feed".to_owned()),
            Err(status) => Err(status.message().to_owned()),
        },
        None => pending().await,
    }
}

async fn reserve(sender: Option<&mpsc::Sender<FeedRequest>>) -> Option<mpsc::Permit<'_, FeedRequest>> {
    match sender {
        Some(sender) => sender.reserve().await.ok(),
        None => pending().await,
    }
}

async fn optional<T>(future: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

impl Actor {
    fn command(&mut self, command: Command) {
        match command {
            Command::Join { outbox, reply } => {
                let slot = self.sessions.join(outbox);
                if reply.send(slot).is_err() {
                    self.leave(slot, false);
                }
            }
            Command::Subscribe { slot, topics, reply } => self.subscribe(slot, topics, reply),
            Command::Unsubscribe { slot, topics } => {
                for topic in topics {
                    self.sessions.forget(slot, topic);
                    self.topics.unsubscribe(topic, slot, Instant::now());
                }
            }
            Command::Leave { slot, for_good } => self.leave(slot, for_good),
            // A word of a session that was let go meanwhile would never be taken back.
            Command::Watch { slot, .. } | Command::Presence { slot, .. } if !self.sessions.has(slot) => {}
            Command::Watch { slot, conversation } => self.signals.watch(slot, conversation),
            Command::Unwatch { slot, conversation } => self.signals.unwatch(slot, conversation),
            Command::Presence { slot, user, state } => self.signals.presence(slot, user, state),
            Command::Say { signal } => self.signals.say(*signal),
        }
    }

    fn leave(&mut self, slot: SlotId, for_good: bool) {
        let now = Instant::now();
        self.signals.leave(slot, for_good, now);
        for topic in self.sessions.leave(slot) {
            self.topics.unsubscribe(topic, slot, now);
        }
    }

    fn subscribe(
        &mut self,
        slot: SlotId,
        topics: Vec<Topic>,
        reply: oneshot::Sender<Result<Vec<Subscribed>, NoRoom>>,
    ) {
        self.next_request += 1;
        let request = self.next_request;
        let mut waiter = Waiter { reply, remaining: 0, ready: Vec::with_capacity(topics.len()) };
        for topic in topics {
            if !self.sessions.note(slot, topic) {
                return;
            }
            match self.topics.subscribe(topic, slot, request) {
                Subscription::Ready(subscribed) => waiter.ready.push(subscribed),
                Subscription::Waiting => waiter.remaining += 1,
                Subscription::New => {
                    waiter.remaining += 1;
                    self.changes.push_back(Change::Add(topic));
                }
                Subscription::Refused => {
                    // The session closes after this, which takes back what was subscribed before.
                    let _ = waiter.reply.send(Err(NoRoom));
                    return;
                }
            }
        }
        if waiter.remaining == 0 {
            let _ = waiter.reply.send(Ok(waiter.ready));
        } else {
            self.waiters.insert(request, waiter);
        }
    }

    /// The next change for the feed: as many of one kind as come in a row.
    fn next_request(&mut self) -> FeedRequest {
        let mut request = FeedRequest::default();
        while let Some(change) = self.changes.front() {
            match change {
                Change::Add(topic) if request.remove.is_empty() => request.add.push(*topic),
                Change::Remove(topic) if request.add.is_empty() => request.remove.push(*topic),
                _ => break,
            }
            self.changes.pop_front();
            if request.add.len().max(request.remove.len()) == TOPICS_PER_REQUEST_MAX {
                break;
            }
        }
        let sessions = u32::try_from(self.parts.metrics.sessions.get()).unwrap_or(0);
        self.signals.fill(&mut request, sessions, Instant::now());
        request
    }

    // ---- the feed ----

    fn reopen(&mut self, reason: &str, at: Option<usize>) {
        let next = match &self.feed {
            Some(feed) => {
                let replica = self.parts.replicas.address(feed.replica);
                tracing::info!(%replica, reason, "left the feed");
                at.unwrap_or(self.parts.replicas.next(feed.replica))
            }
            None => at.unwrap_or(self.parts.replicas.next(self.parts.replicas.preferred())),
        };
        self.parts.state.live.store(false, Ordering::Relaxed);
        self.feed = None;
        self.switch = None;
        self.filling = None;
        self.search = None;
        self.parts.replicas.prefer(next);
        self.opening = Some(feed::open(Arc::clone(&self.parts.replicas), next, self.attempts));
        // A feed that brings a frame resets this.
        self.attempts = self.attempts.saturating_add(1);
    }

    fn opened(&mut self, opened: Result<Feed, String>) {
        self.opening = None;
        match opened {
            Ok(feed) => {
                let replica = self.parts.replicas.address(feed.replica);
                tracing::info!(%replica, topics = self.topics.len(), "the feed comes from here");
                self.parts.metrics.feed_switches.inc();
                self.parts.replicas.prefer(feed.replica);
                self.parts.state.replica.store(feed.replica, Ordering::Relaxed);
                self.changes = self.topics.all().map(Change::Add).collect();
                self.signals.start_over();
                let known = self.topics.all().filter_map(|topic| Some((topic, self.topics.last(topic)?)));
                self.switch = Some(Switch::new(known));
                self.feed = Some(feed);
                self.last_frame = Instant::now();
                self.lag_mark = (0, self.last_frame);
                self.applied_index = 0;
            }
            Err(reason) => {
                if self.attempts.is_power_of_two() {
                    tracing::info!(reason, attempts = self.attempts, "no feed yet");
                }
                self.reopen(&reason, None);
            }
        }
    }

    fn frame(&mut self, frame: FeedFrame) {
        self.last_frame = Instant::now();
        self.attempts = 0;
        for ready in frame.ready {
            let Some(topic) = ready.topic else { continue };
            let known = self
                .switch
                .as_mut()
                .is_some_and(|switch| switch.ready(topic, ready.complete_from_index, ready.version));
            if !known {
                self.ready(topic, ready.complete_from_index, ready.version);
            }
        }
        self.parts.metrics.feed_events.inc_by(frame.events.len() as u64);
        if let Some(progress) = &frame.progress {
            self.note(progress);
        }
        let kept = frame.progress.as_ref().map(|progress| progress.kept.clone());
        match &mut self.switch {
            Some(switch) => {
                if !switch.hold(frame.events, frame.progress) {
                    return self.reopen("more to hold than there is room for", None);
                }
                self.try_release();
            }
            None => self.deliver(frame.events, frame.progress),
        }
        for signal in frame.signals {
            self.tell(signal);
        }
        if let Some(kept) = kept {
            self.parts.state.set_kept(&kept);
            for told in self.durability.advance(&kept) {
                let Told { conversation, sequence, replicas, of } = told;
                self.hand_out(conversation, SignalItem::durability(conversation, sequence, replicas, of));
            }
        }
    }

    /// A signal waits for nothing: not for a switch of feeds either.
    fn tell(&mut self, signal: Signal) {
        let conversation = signal.conversation_id;
        if self.signals.watchers(conversation).is_some()
            && let Some(item) = SignalItem::new(signal)
        {
            self.hand_out(conversation, item);
        }
    }

    fn hand_out(&mut self, conversation: u64, item: SignalItem) {
        let Some(watchers) = self.signals.watchers(conversation) else { return };
        let item = Arc::new(item);
        for slot in watchers {
            let losses = self.sessions.tell(*slot, &item);
            self.parts.metrics.lost(losses);
        }
        self.parts.metrics.signals.inc_by(watchers.len() as u64);
    }

    fn ready(&mut self, topic: Topic, complete_from_index: u64, version: u64) {
        for (_, request) in self.topics.ready(topic, complete_from_index, version) {
            let Some(waiter) = self.waiters.get_mut(&request) else { continue };
            waiter.ready.push(Subscribed { topic, complete_from_index, version });
            waiter.remaining -= 1;
            if waiter.remaining == 0
                && let Some(waiter) = self.waiters.remove(&request)
            {
                let _ = waiter.reply.send(Ok(waiter.ready));
            }
        }
    }

    /// All topics of the former feed are on this one: read what is missing, or go live.
    fn try_release(&mut self) {
        let (Some(switch), Some(feed)) = (&self.switch, &self.feed) else { return };
        if switch.is_waiting() || self.filling.is_some() {
            return;
        }
        let (missing, min_index) = switch.missing();
        if missing.is_empty() {
            return self.release(Vec::new());
        }
        tracing::info!(topics = missing.len(), min_index, "reading what lies between two feeds");
        self.filling = Some(feed::fill(self.parts.reader.clone(), feed.replica, missing.to_vec(), min_index));
    }

    fn filled(&mut self, filled: Result<Vec<Event>, FillError>) {
        self.filling = None;
        match filled {
            Ok(events) => {
                self.parts.metrics.filled_events.inc_by(events.len() as u64);
                self.release(events);
            }
            Err(FillError::Failed(reason)) => self.reopen(&format!("filling failed: {reason}"), None),
            Err(FillError::TooMany) => {
                let Some(switch) = &self.switch else { return };
                let (missing, min_index) = switch.missing();
                tracing::warn!(
                    topics = missing.len(),
                    "too much between two feeds: sessions resume by themselves"
                );
                let mut gone = Vec::new();
                for gap in missing {
                    gone.extend(self.topics.skip(gap.topic, gap.to_version, min_index));
                }
                self.let_go(gone);
                self.release(Vec::new());
            }
        }
    }

    fn release(&mut self, filled: Vec<Event>) {
        let Some(switch) = self.switch.take() else { return };
        let (events, progress) = switch.release(filled);
        self.parts.state.live.store(true, Ordering::Relaxed);
        self.deliver(events, progress);
    }

    fn deliver(&mut self, events: Vec<Event>, progress: Option<Progress>) {
        if !events.is_empty()
            && let Some(leader) = self.new_leader.take()
        {
            self.parts.marks.pushed(leader, Instant::now());
        }
        for event in events {
            let Some(topic) = event.topic else { continue };
            match self.topics.judge(topic, event.version, event.index) {
                Verdict::Drop => {}
                Verdict::Deliver => {
                    if let Some(event::Kind::Message(message)) = &event.kind
                        && self.signals.watchers(topic.id).is_some()
                    {
                        self.durability.note(topic.id, message.sequence, event.index);
                    }
                    let subscribers = self.topics.subscribers(topic);
                    if subscribers.len() > 0 {
                        let item = Arc::new(Item::new(event));
                        subscribers.for_each(|slot| self.sessions.stage(slot, &item));
                    }
                }
                Verdict::Gap => {
                    // The replica broke its word; another one, and a read between, make it whole.
                    tracing::error!(?topic, version = event.version, "the feed has a gap");
                    self.hand_over();
                    return self.reopen("a gap", None);
                }
            }
        }
        self.hand_over();
        if let Some(progress) = progress {
            let state = &self.parts.state;
            state.log_time_ms.fetch_max(progress.log_time_ms, Ordering::Relaxed);
            state.delivered_index.fetch_max(progress.applied_index, Ordering::Release);
            self.parts.metrics.delivered_index.set(state.delivered_index());
        }
    }

    fn hand_over(&mut self) {
        let (delivered, losses, refused) = self.sessions.flush();
        self.parts.metrics.deliveries.inc_by(delivered);
        self.parts.metrics.lost(losses);
        self.let_go(refused);
    }

    fn let_go(&mut self, slots: Vec<SlotId>) {
        for slot in slots {
            if self.sessions.let_go(slot) {
                Metrics::count(&self.parts.metrics.let_go, "session");
            }
            self.leave(slot, false);
        }
    }

    // ---- staleness ----

    fn note(&mut self, progress: &Progress) {
        self.parts.replicas.saw_index(progress.applied_index);
        let is_new = self.parts.leader.send_if_modified(|leader| {
            let changed = progress.leader_id != 0 && *leader != progress.leader_id;
            if changed {
                *leader = progress.leader_id;
            }
            changed
        });
        if is_new {
            self.new_leader = Some(progress.leader_id);
        }
        self.applied_index = progress.applied_index;
        let now = Instant::now();
        if progress.applied_index >= self.lag_mark.0 {
            self.lag_mark = (self.parts.replicas.known_index(), now);
        }
        let lags = now.saturating_duration_since(self.lag_mark.1) >= LAG_MAX
            && progress.applied_index < self.lag_mark.0;
        let cut_off = progress.leader_contact_ms > LEADER_CONTACT_MS_MAX;
        let due = now.saturating_duration_since(self.searched) >= SEARCH_INTERVAL;
        if (lags || cut_off) && due && self.search.is_none() && self.parts.replicas.count() > 1 {
            self.searched = now;
            self.search = Some(feed::freshest(Arc::clone(&self.parts.replicas)));
        }
    }

    fn found(&mut self, found: Option<(usize, u64)>) {
        self.search = None;
        let Some((replica, index)) = found else { return };
        let here = self.feed.as_ref().map(|feed| feed.replica);
        if here.is_some() && here != Some(replica) && index > self.applied_index {
            self.reopen("another replica is fresher", Some(replica));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.signals.expire(now);
        let seen = self.signals.seen(now);
        if !seen.is_empty() {
            // Without a leader the one before still waits: then nobody is told of these.
            let _ = self.parts.seen.try_send(seen);
        }
        if self.feed.is_some() && now.saturating_duration_since(self.last_frame) > SILENCE_MAX {
            self.reopen("silent", None);
        }
        if now.saturating_duration_since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            for slot in self.sessions.closed() {
                self.leave(slot, false);
            }
            // A request is dropped when its session is gone.
            self.waiters.retain(|_, waiter| !waiter.reply.is_closed());
            if self.feed.is_some() && self.switch.is_none() {
                self.changes.extend(self.topics.sweep(now).into_iter().map(Change::Remove));
            }
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            let metrics = &self.parts.metrics;
            metrics.topics.set(count(self.topics.len()));
            let (watched, present) = self.signals.counts();
            metrics.watched_conversations.set(count(watched));
            metrics.present_users.set(count(present));
        }
    }
}
