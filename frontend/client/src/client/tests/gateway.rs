//! A gateway and its cluster in one struct: a log, sockets, and answers. For tests of the client's rules only.

use std::collections::{BTreeMap, VecDeque};

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{
    Ack, Action, Body, ClientFrame, ConversationKind, ConversationSummary, Event, EventKind, Hello, MeEvent,
    MeKind, MemberMarks, Message, PresenceState, Reaction, Request, SendMessage, ServerFrame, SincePage,
    User, Welcome, WriteState,
};
use quorate_proto::ids::{ClientMessageId, ConversationId, Index, Sequence, TopicRef, UserId};
use quorate_proto::limits::SessionLimits;
use quorate_proto::rest::SessionGrant;

use crate::client::{Client, Config};
use crate::event::{Effect, Input, SocketId};
use crate::moment::Moment;
use crate::outbox::StoredItem;

pub(super) const ME: UserId = 1;

pub(super) fn user(id: UserId) -> User {
    User { id, name: format!("u{id}"), ..User::default() }
}

/// xorshift64*: seeded, and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a command comes to.
enum Done {
    No,
    Nothing,
    Event(Box<EventKind>),
}

/// A cluster with a gateway in front, a client, and the clock between them.
pub(super) struct World {
    pub(super) client: Client,
    pub(super) dice: Dice,
    pub(super) now_ms: u64,
    pub(super) cluster: String,
    /// Of all conversations.
    pub(super) kind: ConversationKind,
    pub(super) write: WriteState,
    /// Index of the newest entry.
    pub(super) index: Index,
    pub(super) log: Vec<Event>,
    pub(super) me_log: Vec<MeEvent>,
    acks: BTreeMap<ClientMessageId, Ack>,
    read: BTreeMap<ConversationId, Sequence>,
    /// Frames from the client, not yet seen by the gateway.
    pub(super) up: VecDeque<(SocketId, String)>,
    /// Frames to the client, not yet delivered.
    pub(super) down: VecDeque<(SocketId, ServerFrame)>,
    /// Open sockets and whether they are greeted.
    pub(super) sockets: BTreeMap<SocketId, bool>,
    pub(super) opening: Vec<SocketId>,
    /// The outbox on disk.
    pub(super) stored: BTreeMap<ClientMessageId, StoredItem>,
    pub(super) effects: Vec<Effect>,
    pub(super) resume_allowed: bool,
    pub(super) hellos: Vec<Hello>,
    pub(super) refreshes: u32,
    /// What the client signalled.
    pub(super) said: Vec<Request>,
    /// Answers to sends instead of an ack.
    pub(super) refuse_sends: Option<WireError>,
    /// The same for the opening of conversations.
    pub(super) refuse_opens: Option<WireError>,
    /// The same for history.
    pub(super) refuse_history: Option<WireError>,
    /// The same for edits, deletions, reactions and pins.
    pub(super) refuse_commands: Option<WireError>,
    /// What was done by `do`.
    pub(super) done: Vec<Action>,
    drafts: BTreeMap<ConversationId, String>,
    /// What `welcome` says.
    pub(super) limits: SessionLimits,
    ping: u64,
}

impl World {
    pub(super) fn new(seed: u64, conversations: u64) -> Self {
        let mut world = Self {
            client: Client::new(Config::default()),
            dice: Dice(seed * 2 + 1),
            now_ms: 1_000_000,
            cluster: "c1".into(),
            kind: ConversationKind::Direct,
            write: WriteState::Up,
            index: 10,
            log: Vec::new(),
            me_log: Vec::new(),
            acks: BTreeMap::new(),
            read: BTreeMap::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            sockets: BTreeMap::new(),
            opening: Vec::new(),
            stored: BTreeMap::new(),
            effects: Vec::new(),
            resume_allowed: true,
            hellos: Vec::new(),
            refreshes: 0,
            said: Vec::new(),
            refuse_sends: None,
            refuse_opens: None,
            refuse_history: None,
            refuse_commands: None,
            done: Vec::new(),
            drafts: BTreeMap::new(),
            limits: SessionLimits::default(),
            ping: 0,
        };
        for id in 1..=conversations {
            let kind = EventKind::Conversation {
                title: format!("room {id}"),
                by: user(2),
                topic: String::new(),
                public: false,
                announcement: false,
                retention_ms: 0,
                avatar: None,
            };
            world.commit(id, kind);
        }
        world
    }

    /// Signed in, welcomed, everything delivered.
    pub(super) fn live(seed: u64, conversations: u64) -> Self {
        let mut world = Self::new(seed, conversations);
        world.sign_in();
        world.settle();
        assert!(world.client.is_live());
        world
    }

    pub(super) fn sign_in(&mut self) {
        let grant = self.grant();
        self.input(Input::Granted(grant));
    }

    fn grant(&self) -> SessionGrant {
        SessionGrant {
            user: user(ME),
            session: "s".into(),
            access_token: "token".into(),
            expires_at: self.now_ms + 900_000,
            index: 1,
            read_only: false,
            admin: false,
        }
    }

    pub(super) fn moment(&mut self) -> Moment {
        let random = u128::from(self.dice.next()) << 64 | u128::from(self.dice.next());
        Moment { now_ms: self.now_ms, wall_ms: self.now_ms, random }
    }

    pub(super) fn input(&mut self, input: Input) {
        let moment = self.moment();
        for effect in self.client.handle(moment, input) {
            match &effect {
                Effect::Connect(socket) => self.opening.push(*socket),
                Effect::Transmit(socket, text) => {
                    // What travels as a send must be on disk by then.
                    let frame: ClientFrame = serde_json::from_str(text).expect("a frame");
                    if let Request::Send(send) = &frame.request {
                        let stored = self.stored.get(&send.client_message_id).expect("stored before sent");
                        assert_eq!(stored.first_sent, send.first_sent, "stored with its first time");
                    }
                    self.up.push_back((*socket, text.clone()));
                }
                Effect::Close(socket, _) => self.forget_socket(*socket),
                Effect::Store(item) => {
                    self.stored.insert(item.id, item.clone());
                }
                Effect::Unstore(id) => {
                    self.stored.remove(id);
                }
                Effect::RefreshToken => self.refreshes += 1,
                _ => {}
            }
            self.effects.push(effect);
        }
    }

    fn forget_socket(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
        self.opening.retain(|opening| *opening != socket);
        self.up.retain(|(on, _)| *on != socket);
        self.down.retain(|(on, _)| *on != socket);
    }

    /// The network takes a socket away, with what was under way on it.
    pub(super) fn cut(&mut self, socket: SocketId, code: u16) {
        self.forget_socket(socket);
        self.input(Input::Closed(socket, code));
    }

    pub(super) fn socket(&self) -> SocketId {
        *self.sockets.keys().next_back().expect("a socket is open")
    }

    /// Time passes; the timer fires where it is due.
    pub(super) fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        for _ in 0..10_000 {
            match self.client.deadline_ms(self.now_ms) {
                Some(at_ms) if at_ms <= end_ms => {
                    self.now_ms = self.now_ms.max(at_ms);
                    self.input(Input::Tick);
                    self.step_all();
                }
                _ => {
                    self.now_ms = end_ms;
                    return;
                }
            }
        }
        panic!("the timer spins: deadline {:?} at {}", self.client.deadline_ms(self.now_ms), self.now_ms);
    }

    /// Opens, carries and answers everything that is under way.
    pub(super) fn step_all(&mut self) {
        for _ in 0..100_000 {
            if let Some(socket) = self.opening.pop() {
                self.open(socket);
            } else if !self.serve_one() && !self.deliver_one() {
                return;
            }
        }
        panic!("the conversation between client and gateway does not end");
    }

    /// Everything under way arrives, with time for retries.
    pub(super) fn settle(&mut self) {
        for round in 0..160 {
            self.step_all();
            if round % 20 == 0 {
                self.ping_all();
                self.step_all();
            }
            self.pass(500);
        }
    }

    pub(super) fn open(&mut self, socket: SocketId) {
        self.sockets.insert(socket, false);
        self.input(Input::Opened(socket));
    }

    pub(super) fn serve_one(&mut self) -> bool {
        let Some((socket, text)) = self.up.pop_front() else { return false };
        let frame: ClientFrame = serde_json::from_str(&text).expect("a frame");
        self.serve(socket, frame);
        true
    }

    pub(super) fn deliver_one(&mut self) -> bool {
        let Some((socket, frame)) = self.down.pop_front() else { return false };
        let text = serde_json::to_string(&frame).expect("json");
        self.input(Input::Text(socket, text));
        true
    }

    pub(super) fn push(&mut self, socket: SocketId, body: Body) {
        self.down.push_back((socket, ServerFrame::push(body)));
    }

    pub(super) fn ping_all(&mut self) {
        self.ping += 1;
        for socket in self.greeted() {
            let body =
                Body::Ping { n: self.ping, index: self.index, log_time: self.now_ms, time: self.now_ms };
            self.push(socket, body);
        }
    }

    fn greeted(&self) -> Vec<SocketId> {
        self.sockets.iter().filter(|(_, greeted)| **greeted).map(|(socket, _)| *socket).collect()
    }

    fn of(&self, id: ConversationId) -> impl Iterator<Item = &Event> {
        self.log.iter().filter(move |event| event.conversation == id)
    }

    /// An entry is committed: it goes into the log and to every greeted socket.
    pub(super) fn commit(&mut self, id: ConversationId, mut kind: EventKind) -> Event {
        let version = self.of(id).count() as u64 + 1;
        if let EventKind::Message(message) = &mut kind {
            message.sequence = self.messages(id).len() as u64 + 1;
        }
        self.index += 1;
        let event = Event { conversation: id, version, index: self.index, time: self.now_ms, kind };
        self.log.push(event.clone());
        for socket in self.greeted() {
            self.push(socket, Body::Event(event.clone()));
        }
        event
    }

    pub(super) fn other_writes(&mut self, id: ConversationId, text: &str) -> Event {
        let client_message_id = self.moment().client_message_id();
        let text = text.to_owned();
        let mentions = if text.contains("@u1") { vec![ME] } else { Vec::new() };
        let message = Message { from: user(2), client_message_id, text, mentions, ..Message::default() };
        self.commit(id, EventKind::Message(message))
    }

    pub(super) fn me_commits(&mut self, kind: MeKind) -> MeEvent {
        self.index += 1;
        let version = self.me_log.len() as u64 + 1;
        let event = MeEvent { version, index: self.index, time: self.now_ms, kind };
        self.me_log.push(event.clone());
        for socket in self.greeted() {
            self.push(socket, Body::Me(event.clone()));
        }
        event
    }

    /// The messages as they are now: what was done to them is in them.
    pub(super) fn messages(&self, id: ConversationId) -> Vec<Message> {
        self.messages_with(id, |_| true)
    }

    fn messages_with(&self, id: ConversationId, wanted: impl Fn(&Event) -> bool) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        for event in self.of(id).filter(|event| wanted(event)) {
            match &event.kind {
                EventKind::Message(message) => messages.push(message.clone()),
                EventKind::Edit { sequence, revision, text, .. } => {
                    let message = &mut messages[*sequence as usize - 1];
                    (message.revision, message.text, message.edited) = (*revision, text.clone(), event.time);
                    message.mentions = if text.contains("@u1") { vec![ME] } else { Vec::new() };
                }
                EventKind::Delete { sequences, .. } => {
                    for sequence in sequences {
                        let message = &mut messages[*sequence as usize - 1];
                        *message = Message {
                            sequence: *sequence,
                            from: message.from.clone(),
                            client_message_id: message.client_message_id,
                            deleted: true,
                            ..Message::default()
                        };
                    }
                }
                EventKind::Reaction { sequence, emoji, user, on } => {
                    let reactions = &mut messages[*sequence as usize - 1].reactions;
                    match (reactions.iter().position(|one| one.emoji == *emoji), on) {
                        (None, true) => reactions.push(Reaction {
                            emoji: emoji.clone(),
                            count: 1,
                            users: vec![user.id],
                            mine: user.id == ME,
                        }),
                        (Some(at), true) => {
                            reactions[at].users.push(user.id);
                            reactions[at].count += 1;
                            reactions[at].mine |= user.id == ME;
                        }
                        (Some(at), false) => {
                            reactions[at].users.retain(|other| *other != user.id);
                            reactions[at].count -= 1;
                            reactions[at].mine &= user.id != ME;
                            reactions.retain(|one| one.count > 0);
                        }
                        (None, false) => {}
                    }
                }
                EventKind::Pin { sequence, on, .. } => messages[*sequence as usize - 1].pinned = *on,
                _ => {}
            }
        }
        messages
    }

    pub(super) fn unread(&self, id: ConversationId) -> u64 {
        self.unread_messages(id).len() as u64
    }

    pub(super) fn mentions(&self, id: ConversationId) -> u64 {
        self.unread_messages(id).iter().filter(|message| message.mentions.contains(&ME)).count() as u64
    }

    fn unread_messages(&self, id: ConversationId) -> Vec<Message> {
        let read = self.read.get(&id).copied().unwrap_or(0);
        let mut messages = self.messages(id);
        messages.retain(|message| message.sequence > read && message.from.id != ME && !message.deleted);
        messages
    }

    /// The messages as history shows them.
    fn history(&self, id: ConversationId) -> Vec<Event> {
        let events = self.of(id).filter(|event| matches!(event.kind, EventKind::Message(_)));
        let joined = events.zip(self.messages(id));
        joined.map(|(event, message)| Event { kind: EventKind::Message(message), ..event.clone() }).collect()
    }

    pub(super) fn summary(&self, id: ConversationId) -> ConversationSummary {
        let messages = self.messages(id);
        let last = self.history(id).pop();
        ConversationSummary {
            id,
            kind: self.kind,
            title: format!("room {id}"),
            version: self.of(id).count() as u64,
            sequence: messages.len() as u64,
            read: self.read.get(&id).copied().unwrap_or(0),
            unread: self.unread(id),
            mentions: self.mentions(id),
            pin_count: messages.iter().filter(|message| message.pinned).count() as u32,
            members: vec![user(ME), user(2)],
            draft: self.drafts.get(&id).cloned().unwrap_or_default(),
            last_message: last,
            ..ConversationSummary::default()
        }
    }

    fn listed(&self) -> Vec<ConversationSummary> {
        let ids: std::collections::BTreeSet<_> = self.log.iter().map(|event| event.conversation).collect();
        ids.into_iter().map(|id| self.summary(id)).collect()
    }

    fn serve(&mut self, socket: SocketId, frame: ClientFrame) {
        let id = frame.id;
        let answer = |world: &mut Self, body| world.down.push_back((socket, ServerFrame::reply(id, body)));
        match frame.request {
            Request::Hello(hello) => {
                self.hellos.push(hello.clone());
                let resume =
                    hello.resume.filter(|resume| self.resume_allowed && resume.cluster == self.cluster);
                self.sockets.insert(socket, true);
                let welcome = Welcome {
                    session: "s".into(),
                    user: user(ME),
                    cluster: self.cluster.clone(),
                    gateway: "a".into(),
                    index: self.index,
                    resumed: resume.is_some(),
                    ping_ms: 25_000,
                    limits: self.limits.clone(),
                    write: self.write,
                    log_time: self.now_ms,
                    me_version: self.me_log.len() as u64,
                    conversations: self.listed(),
                };
                // With the number of the hello or without: both are answers to it.
                let frame = ServerFrame {
                    reply: self.dice.one_in(2).then_some(id),
                    body: Body::Welcome(Box::new(welcome)),
                };
                self.down.push_back((socket, frame));
                if let Some(resume) = resume {
                    let mut missed: Vec<(Index, Body)> = self
                        .log
                        .iter()
                        .filter(|event| {
                            let have = hello.have.get(&event.conversation.to_string());
                            event.index > resume.position || have.is_some_and(|have| event.version > *have)
                        })
                        .map(|event| (event.index, Body::Event(event.clone())))
                        .chain(
                            self.me_log
                                .iter()
                                .filter(|event| event.index > resume.position)
                                .map(|event| (event.index, Body::Me(event.clone()))),
                        )
                        .collect();
                    missed.sort_by_key(|(index, _)| *index);
                    for (_, body) in missed {
                        self.push(socket, body);
                    }
                }
            }
            Request::Send(send) => {
                let body = match self.refuse_sends.clone() {
                    Some(error) => Body::Error { error },
                    None => Body::Ack(self.apply_send(send)),
                };
                answer(self, body);
            }
            Request::Do(command) => {
                self.done.push(command.command.clone());
                if let Action::Draft { conversation, text, reply_to } = command.command.clone() {
                    self.drafts.insert(conversation, text.clone());
                    self.me_commits(MeKind::Draft { conversation, text, reply_to });
                }
                let ack = self.acks.get(&command.client_message_id).cloned().unwrap_or_else(|| {
                    self.index += 1;
                    Ack {
                        client_message_id: command.client_message_id,
                        conversation: Some(1),
                        sequence: None,
                        version: None,
                        revision: None,
                        scheduled: None,
                        index: self.index,
                        term: 1,
                        log_time: self.now_ms,
                        replay: false,
                    }
                });
                self.acks.insert(command.client_message_id, Ack { replay: true, ..ack.clone() });
                answer(self, Body::Ack(ack));
            }
            Request::Read { conversation, sequence } => {
                let read = self.read.entry(conversation).or_default();
                if sequence > *read {
                    *read = sequence;
                    self.me_commits(MeKind::Read { conversation, sequence });
                }
            }
            Request::History(history) => {
                if let Some(error) = self.refuse_history.clone() {
                    return answer(self, Body::Error { error });
                }
                let all = self.history(history.conversation);
                let (len, limit) = (all.len(), history.limit as usize);
                // Sequences begin at 1 and have no holes.
                let (from, to) = match (history.before, history.after, history.around) {
                    (Some(before), ..) => {
                        let to = len.min(before as usize - 1);
                        (to.saturating_sub(limit), to)
                    }
                    (_, Some(after), _) => (len.min(after as usize), len.min(after as usize + limit)),
                    (.., Some(around)) => {
                        let from = len.min((around as usize - 1).saturating_sub(limit / 2));
                        (from, len.min(from + limit))
                    }
                    _ => (len.saturating_sub(limit), len),
                };
                answer(
                    self,
                    Body::Page {
                        conversation: history.conversation,
                        messages: all[from..to].to_vec(),
                        more_before: from > 0,
                        more_after: to < len,
                        as_of_index: self.index,
                    },
                );
            }
            Request::Since { pairs, limit } => {
                let pages = pairs.into_iter().map(|pair| self.since(&pair, limit as usize)).collect();
                answer(self, Body::Since { pages, as_of_index: self.index });
            }
            Request::Open { conversation, signals } => {
                let marks = if signals {
                    self.said.push(Request::Open { conversation, signals });
                    if let Some(error) = self.refuse_opens.clone() {
                        return answer(self, Body::Error { error });
                    }
                    let presence = PresenceState::Active;
                    vec![MemberMarks { user: 2, presence, ..MemberMarks::default() }]
                } else {
                    vec![]
                };
                let conversation = self.summary(conversation);
                answer(self, Body::Conversation { conversation, marks, as_of_index: self.index });
            }
            Request::Close { .. }
            | Request::Typing { .. }
            | Request::Presence { .. }
            | Request::Delivered { .. } => self.said.push(frame.request),
            Request::Edit(edit) => {
                let held = &self.messages(edit.conversation)[edit.sequence as usize - 1];
                let refused = edit.if_revision.is_some_and(|seen| seen != held.revision) || held.deleted;
                let (sequence, revision) = (edit.sequence, held.revision + 1);
                let kind = EventKind::Edit { sequence, revision, text: edit.text, by: user(ME) };
                let done = if refused { Done::No } else { Done::Event(Box::new(kind)) };
                self.command(socket, id, edit.client_message_id, edit.conversation, done);
            }
            Request::Delete(delete) => {
                let sequence = delete.sequence;
                let done = if self.messages(delete.conversation)[sequence as usize - 1].deleted {
                    Done::Nothing
                } else {
                    Done::Event(Box::new(EventKind::Delete { sequences: vec![sequence], by: user(ME) }))
                };
                self.command(socket, id, delete.client_message_id, delete.conversation, done);
            }
            Request::React(react) => {
                let (sequence, emoji, on) = (react.sequence, react.emoji, react.on);
                let held = &self.messages(react.conversation)[sequence as usize - 1];
                let there = held.reactions.iter().any(|one| one.emoji == emoji && one.users.contains(&ME));
                let done = match (held.deleted, there == on) {
                    (true, _) => Done::No,
                    (_, true) => Done::Nothing,
                    _ => Done::Event(Box::new(EventKind::Reaction { sequence, emoji, user: user(ME), on })),
                };
                self.command(socket, id, react.client_message_id, react.conversation, done);
            }
            Request::Pin(pin) => {
                let kind = EventKind::Pin { sequence: pin.sequence, on: pin.on, by: user(ME) };
                self.command(
                    socket,
                    id,
                    pin.client_message_id,
                    pin.conversation,
                    Done::Event(Box::new(kind)),
                );
            }
            Request::Auth { .. } => answer(self, Body::Ok),
            Request::Pong { .. } => {}
        }
    }

    /// A command of one message: committed once, or refused.
    fn command(
        &mut self,
        socket: SocketId,
        frame: u64,
        id: ClientMessageId,
        conversation: ConversationId,
        done: Done,
    ) {
        if let Some(error) = self.refuse_commands.clone() {
            self.down.push_back((socket, ServerFrame::reply(frame, Body::Error { error })));
            return;
        }
        let body = match (self.acks.get(&id).cloned(), done) {
            (Some(ack), _) => Body::Ack(ack),
            (None, Done::No) => Body::Error { error: WireError::new(ErrorCode::Conflict, "changed") },
            (None, done) => {
                let version = match done {
                    Done::Event(kind) => Some(self.commit(conversation, *kind).version),
                    _ => {
                        self.index += 1;
                        None
                    }
                };
                let ack = Ack {
                    client_message_id: id,
                    conversation: Some(conversation),
                    sequence: None,
                    version,
                    revision: None,
                    scheduled: None,
                    index: self.index,
                    term: 1,
                    log_time: self.now_ms,
                    replay: false,
                };
                self.acks.insert(id, Ack { replay: true, ..ack.clone() });
                Body::Ack(ack)
            }
        };
        self.down.push_back((socket, ServerFrame::reply(frame, body)));
    }

    fn since(&self, pair: &quorate_proto::frame::SincePair, limit: usize) -> SincePage {
        let mut page = SincePage {
            topic: pair.topic,
            events: vec![],
            me: vec![],
            more: false,
            reset: false,
            skip_to: None,
        };
        match pair.topic {
            TopicRef::Me => {
                let all = self.me_log.iter().filter(|event| event.version > pair.version);
                page.more = all.clone().count() > limit;
                page.me = all.take(limit).cloned().collect();
            }
            TopicRef::Conversation(id) => {
                let all: Vec<_> = self.of(id).filter(|event| event.version > pair.version).collect();
                page.more = all.len() > limit;
                // Messages are as they are now, as the page's index says.
                let joined = self.history(id);
                let now = |event: &Event| {
                    let joined = joined.iter().find(|message| message.version == event.version);
                    joined.unwrap_or(event).clone()
                };
                page.events = all.into_iter().take(limit).map(now).collect();
            }
        }
        page
    }

    fn apply_send(&mut self, send: SendMessage) -> Ack {
        if let Some(ack) = self.acks.get(&send.client_message_id) {
            return ack.clone();
        }
        let message = Message {
            from: user(ME),
            client_message_id: send.client_message_id,
            text: send.text,
            reply_to: send.reply_to,
            ..Message::default()
        };
        let event = self.commit(send.conversation, EventKind::Message(message));
        let EventKind::Message(message) = &event.kind else { unreachable!("just made") };
        let ack = Ack {
            client_message_id: send.client_message_id,
            conversation: Some(send.conversation),
            sequence: Some(message.sequence),
            version: Some(event.version),
            revision: None,
            scheduled: None,
            index: event.index,
            term: 1,
            log_time: event.time,
            replay: false,
        };
        self.acks.insert(send.client_message_id, Ack { replay: true, ..ack.clone() });
        ack
    }

    pub(super) fn unavailable() -> WireError {
        WireError::new(ErrorCode::Unavailable, "no leader").retry_after(500)
    }

    /// What is shown is a piece of the history, as it is now.
    pub(super) fn assert_shown(&self, id: ConversationId) {
        let conversation = self.client.conversation(id).expect("a conversation");
        let shown: Vec<Message> =
            conversation.shown().run().map(|(_, entry)| entry.message.as_ref().clone()).collect();
        let first = shown.first().map_or(1, |message| message.sequence as usize);
        assert_eq!(shown, self.messages(id)[first - 1..first - 1 + shown.len()], "what is shown of {id}");
        assert_eq!(conversation.shown().more_before, first > 1, "whether {id} goes on above");
    }

    /// Client and cluster agree: timelines, counts, nothing left over.
    pub(super) fn assert_agreement(&self) {
        for conversation in self.client.conversations() {
            let id = conversation.id;
            assert_eq!(conversation.version, self.of(id).count() as u64, "version of {id}");
            assert_eq!(conversation.unread, self.unread(id), "unread of {id}");
            assert_eq!(conversation.mentions, self.mentions(id), "mentions of {id}");
            if conversation.timeline.loaded {
                let shown: Vec<Message> =
                    conversation.timeline.run().map(|(_, entry)| entry.message.as_ref().clone()).collect();
                let truth = self.messages(id);
                let from = truth.len() - shown.len();
                assert_eq!(shown, truth[from..], "timeline of {id}");
                assert!(from == 0 || conversation.timeline.more_before, "what is missing can be asked for");
                assert!(conversation.timeline.echoes().is_empty(), "an echo stays behind in {id}");
                self.assert_shown(id);
            }
        }
        assert!(self.client.commands().is_empty(), "{:?}", self.client.commands());
        assert!(self.client.outbox().is_empty(), "{:?}", self.client.outbox());
        assert!(self.stored.is_empty(), "{:?}", self.stored);
    }
}
