//! A person at a client: sends at a pace, reads everything, comes back when a socket ends, and has it all recorded.
//!
//! One task owns the socket and the session's rules: one send under way per conversation, retried under the same id
//! until it is decided; versions applied in order, gaps asked for with `since`; resume from the position.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use quorate_proto::error::{AfterClose, Certainty, after_close};
use quorate_proto::frame::{
    Ack, Body, Event, MeEvent, MeKind, Request, Resume, SendMessage, ServerFrame, SincePage, SincePair,
    Welcome,
};
use quorate_proto::ids::{ClientMessageId, ConversationId, Index, TopicRef, UserId, Version};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::socket::{Farewell, Received, Socket};
use crate::history::{Close, Fate, Recorder};

/// Longest wait between two attempts to connect.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(1);
/// A request that a gateway does not answer within this counts as a defect: it promises an answer within 10 s.
const ANSWER_WAIT: Duration = Duration::from_secs(25);
/// Sends asked for by the test that wait to be taken up.
const COMMANDS_MAX: usize = 64;
/// When an error names no time to wait.
const RETRY: Duration = Duration::from_millis(200);

/// What a person has seen so far; watched by the test.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The gateway of the open socket; empty while there is none.
    pub gateway: String,
    /// Sends acknowledged.
    pub acked: u64,
    /// Sends not yet decided.
    pub open: usize,
    /// Newest applied version per conversation.
    pub versions: BTreeMap<ConversationId, Version>,
    /// Newest version of an own send that was acknowledged: its event may still be on its way to everybody.
    pub acked_versions: BTreeMap<ConversationId, Version>,
    /// Sockets opened after the first that resumed exactly.
    pub resumed: u64,
    /// Sockets opened after the first that started anew.
    pub restarted: u64,
    /// How long she was without a socket before each of these.
    pub resume_waits: Vec<Duration>,
    /// Events that came before their predecessor, without `gap` having been said.
    pub silent_gaps: u64,
    /// Events that came again outside of a resume.
    pub repeats: u64,
    /// Pushes of the write path that were not `up`.
    pub write_pauses: u64,
    /// A request went unanswered, or something came that the protocol does not allow.
    pub defects: Vec<String>,
}

enum Order {
    Send {
        conversation: ConversationId,
        text: String,
    },
    Pace {
        conversations: Vec<ConversationId>,
        every: Duration,
    },
    /// Answered once it holds, and the tally counts what was begun before.
    Quiet(oneshot::Sender<()>),
    Leave,
}

/// To give a person orders and to look at what she has seen.
#[derive(Debug)]
pub struct PersonHandle {
    /// Her number.
    pub user: UserId,
    /// Her name.
    pub name: String,
    orders: mpsc::Sender<Order>,
    tally: watch::Receiver<Tally>,
    task: JoinHandle<()>,
}

impl Tally {
    /// The newest version of a conversation that she has heard of, by its event or by an ack of hers.
    pub fn newest(&self, conversation: ConversationId) -> Version {
        let of = |versions: &BTreeMap<ConversationId, Version>| versions.get(&conversation).copied();
        of(&self.versions).max(of(&self.acked_versions)).unwrap_or(0)
    }
}

impl PersonHandle {
    /// Sends one message.
    pub async fn send(&self, conversation: ConversationId, text: impl Into<String>) {
        self.order(Order::Send { conversation, text: text.into() }).await;
    }

    /// Sends to these conversations in turn, one message each `every`, as long as the one before is decided.
    pub async fn pace(&self, conversations: Vec<ConversationId>, every: Duration) {
        self.order(Order::Pace { conversations, every }).await;
    }

    /// Begins nothing new. What she has begun by the time that this returns is in her tally.
    pub async fn quiet(&self) {
        let (heard, hears) = oneshot::channel();
        self.order(Order::Quiet(heard)).await;
        // A task that ended begins nothing either.
        let _ = hears.await;
    }

    /// What she has seen.
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Closes her socket and ends the task.
    pub async fn leave(self) -> Tally {
        self.order(Order::Leave).await;
        // A panic of the task was printed where it happened, and its tally stops.
        let _ = self.task.await;
        self.tally.borrow().clone()
    }

    async fn order(&self, order: Order) {
        // The task ends only by order or by panic; then there is nobody to tell.
        let _ = self.orders.send(order).await;
    }
}

struct Pending {
    id: Uuid,
    text: String,
    place: usize,
    /// The frame on the current socket that asks for it, and when it was sent.
    asked: Option<(u64, Instant)>,
    /// Not before.
    retry_at: Option<Instant>,
}

/// See the module.
pub struct Person {
    front: SocketAddr,
    name: String,
    token: String,
    recorder: Recorder,
    reader: Option<usize>,
    cluster: String,
    position: Index,
    seen: Index,
    /// Highest index of an event that was delivered on this socket; everything below it is complete.
    edge: Index,
    log_time: u64,
    versions: BTreeMap<ConversationId, Version>,
    me_version: Version,
    held: BTreeMap<(ConversationId, Version), Event>,
    /// A `since` under way per conversation.
    filling: HashMap<ConversationId, u64>,
    /// One that was refused for now, and when it is asked again: perhaps no event follows that would ask for it.
    refill: BTreeMap<ConversationId, Instant>,
    /// `gap` was said up to this version.
    announced: HashMap<ConversationId, Version>,
    /// Repeats are expected up to these versions, for this socket began by resuming.
    resumed_at: BTreeMap<ConversationId, Version>,
    pending: BTreeMap<ConversationId, Pending>,
    queued: Vec<(ConversationId, String)>,
    pace: Option<(Vec<ConversationId>, Duration, usize, Instant)>,
    counter: u64,
    tally: Tally,
    watch: watch::Sender<Tally>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person")
            .field("name", &self.name)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Person {
    /// Starts a person's task. She connects through `front` and is known to the oracle as `name`.
    pub fn start(
        front: SocketAddr,
        user: UserId,
        name: &str,
        token: &str,
        recorder: &Recorder,
    ) -> PersonHandle {
        let (orders, inbox) = mpsc::channel(COMMANDS_MAX);
        let (watch, tally) = watch::channel(Tally::default());
        let person = Self {
            front,
            name: name.to_owned(),
            token: token.to_owned(),
            recorder: recorder.clone(),
            reader: None,
            cluster: String::new(),
            position: 0,
            seen: 0,
            edge: 0,
            log_time: 0,
            versions: BTreeMap::new(),
            me_version: 0,
            held: BTreeMap::new(),
            filling: HashMap::new(),
            refill: BTreeMap::new(),
            announced: HashMap::new(),
            resumed_at: BTreeMap::new(),
            pending: BTreeMap::new(),
            queued: Vec::new(),
            pace: None,
            counter: 0,
            tally: Tally::default(),
            watch,
        };
        let task = tokio::spawn(person.live(user, inbox));
        PersonHandle { user, name: name.to_owned(), orders, tally, task }
    }

    async fn live(mut self, user: UserId, mut inbox: mpsc::Receiver<Order>) {
        let mut attempt = 0u32;
        let mut closed: Option<Instant> = None;
        loop {
            let opened = self.connect(user).await;
            let mut socket = match opened {
                Ok(socket) => {
                    attempt = 0;
                    self.tally.resume_waits.extend(closed.take().map(|at| at.elapsed()));
                    socket
                }
                Err(error) => {
                    attempt += 1;
                    if attempt > 60 {
                        self.defect(format!("gave up connecting: {error:#}"));
                        self.publish();
                        return;
                    }
                    tokio::time::sleep(RECONNECT_WAIT_MAX.min(Duration::from_millis(50) * attempt)).await;
                    continue;
                }
            };
            match self.serve(user, &mut socket, &mut inbox).await {
                Some(farewell) => {
                    let close = Close {
                        at: self.recorder.now(),
                        name: self.name.clone(),
                        gateway: std::mem::take(&mut self.tally.gateway),
                        code: farewell.code,
                        reason: farewell.reason,
                    };
                    let after = after_close(close.code.unwrap_or(1006));
                    if after == AfterClose::Stop {
                        self.defect(format!("was told to stop: {close:?}"));
                    }
                    self.recorder.history().closes.push(close);
                    closed = Some(Instant::now());
                    self.publish();
                    if after == AfterClose::Stop {
                        return;
                    }
                }
                None => {
                    self.complete();
                    self.publish();
                    socket.close().await;
                    return;
                }
            }
        }
    }

    async fn connect(&mut self, user: UserId) -> anyhow::Result<Socket> {
        let mut socket = Socket::open(self.front, None).await?;
        let resume = self.reader.is_some().then(|| Resume {
            cluster: self.cluster.clone(),
            position: self.position,
            seen: self.seen,
        });
        let welcome = socket.hello(&self.token, resume).await?;
        self.welcomed(user, *welcome, &mut socket).await?;
        for pending in self.pending.values_mut() {
            pending.asked = None;
        }
        self.publish();
        Ok(socket)
    }

    async fn welcomed(&mut self, user: UserId, welcome: Welcome, socket: &mut Socket) -> anyhow::Result<()> {
        self.tally.gateway = welcome.gateway;
        self.log_time = self.log_time.max(welcome.log_time);
        self.held.clear();
        self.filling.clear();
        self.refill.clear();
        self.announced.clear();
        self.resumed_at = self.versions.clone();
        self.edge = self.position;
        if self.reader.is_none() {
            self.cluster = welcome.cluster;
            self.position = welcome.index;
            self.edge = welcome.index;
            self.seen = self.seen.max(welcome.index);
            self.me_version = welcome.me_version;
            self.versions = welcome.conversations.iter().map(|each| (each.id, each.version)).collect();
            let starts = self.versions.iter().map(|(id, version)| (*id, *version)).collect();
            self.reader = Some(self.recorder.reader(user, self.name.clone(), starts));
            return Ok(());
        }
        if self.cluster != welcome.cluster {
            self.defect(format!("another cluster: {}", welcome.cluster));
        }
        if welcome.resumed {
            self.tally.resumed += 1;
            return Ok(());
        }
        self.tally.restarted += 1;
        self.position = welcome.index;
        self.edge = welcome.index;
        self.me_version = welcome.me_version;
        let behind: Vec<ConversationId> = welcome
            .conversations
            .iter()
            .filter(|each| self.versions.get(&each.id).is_some_and(|version| *version < each.version))
            .map(|each| each.id)
            .collect();
        for conversation in behind {
            self.announced.insert(conversation, Version::MAX);
            self.fill(conversation, socket).await?;
        }
        Ok(())
    }

    /// Until the socket ends, or until she leaves (`None`).
    async fn serve(
        &mut self,
        user: UserId,
        socket: &mut Socket,
        inbox: &mut mpsc::Receiver<Order>,
    ) -> Option<Farewell> {
        loop {
            if let Err(error) = self.push_sends(user, socket).await {
                return Some(self.last_words(socket, format!("{error:#}")).await);
            }
            if let Err(error) = self.push_fills(socket).await {
                return Some(self.last_words(socket, format!("{error:#}")).await);
            }
            self.publish();
            let wake = self.wake_at();
            let received = tokio::select! {
                biased;
                received = socket.next() => received,
                order = inbox.recv() => {
                    match order {
                        Some(Order::Send { conversation, text }) => self.queued.push((conversation, text)),
                        Some(Order::Pace { conversations, every }) => {
                            // Each person begins elsewhere, so that not everybody writes to the same room at once.
                            let turn = usize::try_from(user).unwrap_or(0);
                            self.pace = Some((conversations, every, turn, Instant::now()));
                        }
                        Some(Order::Quiet(heard)) => {
                            self.pace = None;
                            self.publish();
                            let _ = heard.send(());
                        }
                        Some(Order::Leave) | None => return None,
                    }
                    continue;
                }
                () = tokio::time::sleep_until(wake) => continue,
            };
            let frame = match received {
                Received::Frame(frame) => *frame,
                Received::Closed(farewell) => return Some(farewell),
            };
            if let Err(error) = self.frame(frame, socket).await {
                return Some(self.last_words(socket, format!("{error:#}")).await);
            }
        }
    }

    /// What a socket that does not take frames any more still says.
    async fn last_words(&mut self, socket: &mut Socket, reason: String) -> Farewell {
        let words = async {
            loop {
                if let Received::Closed(farewell) = socket.next().await {
                    return farewell;
                }
            }
        };
        let nothing = Farewell { code: None, reason };
        tokio::time::timeout(Duration::from_millis(500), words).await.unwrap_or(nothing)
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + Duration::from_secs(1);
        if let Some((_, _, _, due)) = &self.pace {
            wake = wake.min((*due).max(now + Duration::from_millis(1)));
        }
        for pending in self.pending.values() {
            if let Some(at) = pending.retry_at {
                wake = wake.min(at);
            }
        }
        self.refill.values().fold(wake, |wake, at| wake.min(*at))
    }

    async fn push_fills(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        let now = Instant::now();
        let due: Vec<ConversationId> =
            self.refill.iter().filter(|(_, at)| **at <= now).map(|(conversation, _)| *conversation).collect();
        for conversation in due {
            self.refill.remove(&conversation);
            self.fill(conversation, socket).await?;
        }
        Ok(())
    }

    async fn push_sends(&mut self, user: UserId, socket: &mut Socket) -> anyhow::Result<()> {
        let now = Instant::now();
        if let Some((conversations, every, turn, due)) = &mut self.pace
            && now >= *due
            && !conversations.is_empty()
        {
            let conversation = conversations[*turn % conversations.len()];
            *turn += 1;
            *due = (*due + *every).max(now);
            if !self.pending.contains_key(&conversation) {
                self.counter += 1;
                self.queued.push((conversation, format!("{} says {}", self.name, self.counter)));
            }
        }
        let queued = std::mem::take(&mut self.queued);
        for (conversation, text) in queued {
            if self.pending.contains_key(&conversation) {
                self.queued.push((conversation, text));
                continue;
            }
            let id = Uuid::now_v7();
            let place = self.recorder.sent(id, user, conversation, text.clone());
            self.pending.insert(conversation, Pending { id, text, place, asked: None, retry_at: None });
        }
        let mut late = Vec::new();
        for (conversation, pending) in &mut self.pending {
            if let Some((frame, at)) = pending.asked {
                if now.duration_since(at) > ANSWER_WAIT {
                    late.push(format!(
                        "frame {frame} for {} was not answered in {ANSWER_WAIT:?}",
                        pending.id
                    ));
                    pending.asked = None;
                } else {
                    continue;
                }
            }
            if pending.retry_at.is_some_and(|at| now < at) {
                continue;
            }
            pending.retry_at = None;
            let send = SendMessage {
                conversation: *conversation,
                client_message_id: ClientMessageId(pending.id),
                text: pending.text.clone(),
                reply_to: None,
                forward: None,
                first_sent: self.log_time,
                attachments: Vec::new(),
            };
            pending.asked = Some((socket.request(Request::Send(send)).await?, now));
        }
        for defect in late {
            self.defect(defect);
        }
        Ok(())
    }

    async fn frame(&mut self, frame: ServerFrame, socket: &mut Socket) -> anyhow::Result<()> {
        match frame.body {
            Body::Ack(ack) => self.acked(&ack),
            Body::Error { error } => self.refused(frame.reply, &error),
            Body::Event(event) => self.event(event, socket).await?,
            Body::Me(me) => self.me(&me),
            Body::Ping { n, index, log_time, .. } => {
                self.position = self.position.max(index);
                self.log_time = self.log_time.max(log_time);
                socket.request(Request::Pong { n }).await?;
            }
            Body::Since { pages, .. } => {
                for page in pages {
                    self.page(page, socket).await?;
                }
            }
            Body::Gap { topic: TopicRef::Conversation(conversation), to_version, .. } => {
                self.announced.insert(conversation, to_version);
                self.fill(conversation, socket).await?;
            }
            Body::Status(status) => {
                if status.write != quorate_proto::frame::WriteState::Up {
                    self.tally.write_pauses += 1;
                }
            }
            // A real client would open a second socket; this one comes back when it is closed.
            Body::Drain { .. } | Body::Bye { .. } => {}
            Body::Gap { topic: TopicRef::Me, .. }
            | Body::Ok
            | Body::Conversation { .. }
            | Body::Signal(_)
            | Body::Page { .. } => {}
            Body::Welcome(_) => self.defect("a second welcome".to_owned()),
        }
        Ok(())
    }

    fn acked(&mut self, ack: &Ack) {
        self.log_time = self.log_time.max(ack.log_time);
        self.seen = self.seen.max(ack.index);
        let found = self.pending.iter().find(|(_, pending)| pending.id == ack.client_message_id.0);
        let Some((conversation, place)) = found.map(|(conversation, pending)| (*conversation, pending.place))
        else {
            // The second answer to a send that was retried on this socket.
            return;
        };
        self.pending.remove(&conversation);
        let (Some(sequence), Some(version)) = (ack.sequence, ack.version) else {
            self.defect(format!("an ack without a place: {ack:?}"));
            return;
        };
        let at = self.recorder.now();
        self.recorder.fate(place, Fate::Acked { at, sequence, version, index: ack.index, term: ack.term });
        self.tally.acked += 1;
        self.tally.acked_versions.insert(conversation, version);
    }

    fn refused(&mut self, reply: Option<u64>, error: &quorate_proto::error::WireError) {
        let asked = |pending: &Pending| reply.is_some() && pending.asked.map(|(frame, _)| frame) == reply;
        let Some(conversation) =
            self.pending.iter().find(|(_, pending)| asked(pending)).map(|(conversation, _)| *conversation)
        else {
            if let Some((conversation, _)) = self.filling.iter().find(|(_, frame)| Some(**frame) == reply) {
                let conversation = *conversation;
                self.filling.remove(&conversation);
                let pause = error.retry_ms.map_or(RETRY, Duration::from_millis);
                self.refill.insert(conversation, Instant::now() + pause);
                return;
            }
            self.defect(format!("an error for nothing that was asked: {reply:?} {error:?}"));
            return;
        };
        if !error.temporary && error.code.row().certainty != Certainty::Unknown {
            if let Some(pending) = self.pending.remove(&conversation) {
                self.recorder.fate(pending.place, Fate::Refused { code: error.code.word().to_owned() });
            }
            return;
        }
        if let Some(pending) = self.pending.get_mut(&conversation) {
            pending.asked = None;
            pending.retry_at = Some(Instant::now() + error.retry_ms.map_or(RETRY, Duration::from_millis));
        }
    }

    async fn event(&mut self, event: Event, socket: &mut Socket) -> anyhow::Result<()> {
        // An event at j completes everything below j.
        if event.index > self.edge {
            self.position = self.position.max(self.edge);
            self.edge = event.index;
        }
        self.seen = self.seen.max(event.index);
        let conversation = event.conversation;
        let known = self.versions.get(&conversation).copied().unwrap_or(0);
        if event.version <= known {
            let expected = self.resumed_at.get(&conversation).is_some_and(|at| event.version <= *at);
            if !expected && !self.announced.contains_key(&conversation) {
                self.tally.repeats += 1;
                self.defect(format!("conversation {conversation}: version {} again", event.version));
            }
            return Ok(());
        }
        if event.version > known + 1 {
            if self.announced.get(&conversation).is_none_or(|to| event.version > to.saturating_add(1))
                && !self.filling.contains_key(&conversation)
            {
                self.tally.silent_gaps += 1;
                self.defect(format!("conversation {conversation}: version {} after {known}", event.version));
            }
            self.held.insert((conversation, event.version), event);
            return self.fill(conversation, socket).await;
        }
        self.apply(&event);
        self.release(conversation);
        Ok(())
    }

    fn apply(&mut self, event: &Event) {
        self.versions.insert(event.conversation, event.version);
        if let Some(reader) = self.reader {
            self.recorder.delivered(reader, event);
        }
    }

    fn release(&mut self, conversation: ConversationId) {
        loop {
            let next = self.versions.get(&conversation).copied().unwrap_or(0) + 1;
            match self.held.remove(&(conversation, next)) {
                Some(event) => self.apply(&event),
                None => break,
            }
        }
        let known = self.versions.get(&conversation).copied().unwrap_or(0);
        self.held.retain(|(of, version), _| *of != conversation || *version > known);
    }

    async fn fill(&mut self, conversation: ConversationId, socket: &mut Socket) -> anyhow::Result<()> {
        if self.filling.contains_key(&conversation) {
            return Ok(());
        }
        let version = self.versions.get(&conversation).copied().unwrap_or(0);
        let pairs = vec![SincePair { topic: TopicRef::Conversation(conversation), version }];
        let frame = socket.request(Request::Since { pairs, limit: 0 }).await?;
        self.filling.insert(conversation, frame);
        Ok(())
    }

    async fn page(&mut self, page: SincePage, socket: &mut Socket) -> anyhow::Result<()> {
        let TopicRef::Conversation(conversation) = page.topic else { return Ok(()) };
        self.filling.remove(&conversation);
        if page.reset || page.skip_to.is_some() {
            self.defect(format!("conversation {conversation}: `since` cannot fill: {page:?}"));
        }
        for event in &page.events {
            self.seen = self.seen.max(event.index);
            if event.version == self.versions.get(&conversation).copied().unwrap_or(0) + 1 {
                self.apply(event);
            }
        }
        self.release(conversation);
        let waiting = self.held.keys().any(|(of, _)| *of == conversation);
        if page.more || waiting {
            return self.fill(conversation, socket).await;
        }
        self.announced.remove(&conversation);
        // What is live now may repeat what the page had.
        let known = self.versions.get(&conversation).copied().unwrap_or(0);
        self.resumed_at.insert(conversation, known);
        Ok(())
    }

    fn me(&mut self, me: &MeEvent) {
        if me.index > self.edge {
            self.position = self.position.max(self.edge);
            self.edge = me.index;
        }
        self.seen = self.seen.max(me.index);
        if me.version <= self.me_version {
            return;
        }
        if me.version > self.me_version + 1 {
            self.tally.silent_gaps += 1;
            self.defect(format!("me: version {} after {}", me.version, self.me_version));
        }
        self.me_version = me.version;
        if let MeKind::Added { conversation, base_version } = &me.kind
            && !self.versions.contains_key(&conversation.id)
        {
            self.versions.insert(conversation.id, *base_version);
            if let Some(reader) = self.reader {
                self.recorder.history().readers[reader].starts.push((conversation.id, *base_version));
            }
        }
    }

    fn complete(&mut self) {
        if let Some(reader) = self.reader {
            self.recorder.history().readers[reader].complete = true;
        }
        self.tally.gateway.clear();
    }

    fn defect(&mut self, text: String) {
        /// A broken server could fill the memory of its test.
        const DEFECTS_MAX: usize = 20;
        if self.tally.defects.len() < DEFECTS_MAX {
            self.tally.defects.push(format!("{}: {text}", self.name));
        }
    }

    fn publish(&mut self) {
        self.tally.open = self.pending.len() + self.queued.len();
        self.tally.versions.clone_from(&self.versions);
        self.watch.send_replace(self.tally.clone());
    }
}
