//! One signed-in socket that keeps what it hears.
//!
//! A task of its own reads it and answers pings, as a browser does while its owner looks elsewhere: a test may take any time before it
//! comes back to a device.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use quorate_proto::error::{AfterClose, ErrorCode, after_close};
use quorate_proto::frame::{
    Ack, Action, Body, ConversationSummary, DoCommand, Event, EventKind, Hello, History, MeEvent, MeKind,
    Message, Request, SendMessage, ServerFrame,
};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence, UserId};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Farewell, Received, Socket, rest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep, timeout};
use uuid::Uuid;

use super::WAIT;

/// When an error names no time to wait.
const RETRY_MS: u64 = 200;
/// Frames that nobody has looked at: more than any test lets pass. A device that has so many answers no more pings.
const FRAMES_MAX: usize = 10_000;

/// A request, and where its number is told.
type Asked = (Request, oneshot::Sender<anyhow::Result<u64>>);

/// See the module.
pub struct Device {
    pub grant: SessionGrant,
    pub at: SocketAddr,
    /// To the task that has the socket, which ends with it.
    requests: mpsc::Sender<Asked>,
    /// What the socket has brought and nobody has looked at.
    received: mpsc::Receiver<Received>,
    /// Durable events of conversations, as they came.
    pub events: Vec<Event>,
    /// Those of her own topic.
    pub me: Vec<MeEvent>,
}

pub fn fresh() -> ClientMessageId {
    ClientMessageId(Uuid::now_v7())
}

impl Device {
    /// Somebody new.
    pub async fn sign_up(at: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let grant = rest::sign_up(at, name).await?;
        Self::open(at, grant).await
    }

    /// Another socket of somebody who is signed in.
    pub async fn open(at: SocketAddr, grant: SessionGrant) -> anyhow::Result<Self> {
        let until = Instant::now() + WAIT;
        let socket = loop {
            match welcomed(at, &grant.access_token).await? {
                Ok(socket) => break socket,
                Err(_) if Instant::now() < until => sleep(Duration::from_millis(RETRY_MS)).await,
                Err(farewell) => {
                    bail!("{} is told to come again for {WAIT:?}: {farewell:?}", grant.user.name)
                }
            }
        };
        let (requests, asked) = mpsc::channel(1);
        let (heard, received) = mpsc::channel(FRAMES_MAX);
        tokio::spawn(attend(socket, asked, heard));
        Ok(Self { grant, at, requests, received, events: Vec::new(), me: Vec::new() })
    }

    pub fn id(&self) -> UserId {
        self.grant.user.id
    }

    pub fn name(&self) -> &str {
        &self.grant.user.name
    }

    /// One request, again under the same id for as long as the answer is that it may succeed later.
    pub async fn ask(&mut self, request: Request) -> anyhow::Result<Result<Body, ErrorCode>> {
        let until = Instant::now() + WAIT;
        loop {
            let id = self.request(request.clone()).await?;
            let body = loop {
                let frame = self.next().await?;
                if frame.reply == Some(id) {
                    break frame.body;
                }
            };
            match body {
                Body::Error { error } if error.temporary && Instant::now() < until => {
                    sleep(Duration::from_millis(error.retry_ms.unwrap_or(RETRY_MS))).await;
                }
                Body::Error { error } => return Ok(Err(error.code)),
                other => return Ok(Ok(other)),
            }
        }
    }

    /// The same for a request that is answered by `ack`.
    pub async fn ack(&mut self, request: Request) -> anyhow::Result<Ack> {
        match self.ask(request.clone()).await? {
            Ok(Body::Ack(ack)) => Ok(ack),
            other => bail!("{}: no ack for {request:?}: {other:?}", self.name()),
        }
    }

    /// A request that is refused, and for good.
    pub async fn refused(&mut self, request: Request, code: ErrorCode) -> anyhow::Result<()> {
        let answer = self.ask(request.clone()).await?;
        ensure!(answer == Err(code), "{}: not refused as {code:?}: {request:?}: {answer:?}", self.name());
        Ok(())
    }

    /// A command without a frame of its own.
    pub async fn act(&mut self, action: Action) -> anyhow::Result<Ack> {
        self.ack(command(action)).await
    }

    pub async fn send(&mut self, conversation: ConversationId, text: &str) -> anyhow::Result<Sequence> {
        let ack = self.ack(message(conversation, text)).await?;
        ack.sequence.ok_or_else(|| anyhow::anyhow!("a send without a sequence: {ack:?}"))
    }

    /// The newest messages, as she sees them.
    pub async fn history(&mut self, conversation: ConversationId) -> anyhow::Result<Vec<Message>> {
        let asked = History { conversation, limit: 100, ..History::default() };
        match self.ask(Request::History(asked)).await? {
            Ok(Body::Page { messages, .. }) => Ok(messages.into_iter().filter_map(into_message).collect()),
            other => bail!("{}: no page: {other:?}", self.name()),
        }
    }

    /// A conversation's summary, as she sees it.
    pub async fn summary(&mut self, conversation: ConversationId) -> anyhow::Result<ConversationSummary> {
        match self.ask(Request::Open { conversation, signals: false }).await? {
            Ok(Body::Conversation { conversation, .. }) => Ok(conversation),
            other => bail!("{}: no summary: {other:?}", self.name()),
        }
    }

    /// Reads on until something has been heard.
    pub async fn hears<T>(&mut self, what: &str, find: impl Fn(&Self) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + WAIT;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, self.next()).await {
                Ok(frame) => drop(frame?),
                Err(_) => bail!("{} never heard {what}; the last: {:#?}", self.name(), self.tail()),
            }
        }
    }

    /// An event of a conversation.
    pub async fn hears_event(
        &mut self,
        what: &str,
        conversation: ConversationId,
        is: impl Fn(&EventKind) -> bool,
    ) -> anyhow::Result<Event> {
        let find = |device: &Self| {
            device.events.iter().find(|event| event.conversation == conversation && is(&event.kind)).cloned()
        };
        self.hears(what, find).await
    }

    /// A message.
    pub async fn hears_message(
        &mut self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> anyhow::Result<()> {
        let is =
            |kind: &EventKind| matches!(kind, EventKind::Message(message) if message.sequence == sequence);
        self.hears_event("the message", conversation, is).await.map(drop)
    }

    /// That she is in a conversation: what follows is pushed to this socket.
    pub async fn is_in(&mut self, conversation: ConversationId) -> anyhow::Result<()> {
        let added = |me: &MeEvent| matches!(&me.kind, MeKind::Added { conversation: to, .. } if to.id == conversation);
        self.hears("that she was added", |device| device.me.iter().any(added).then_some(())).await
    }

    /// Whatever has come by now.
    pub async fn listen(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        while let Ok(Ok(_)) = timeout(until.saturating_duration_since(Instant::now()), self.next()).await {}
    }

    /// Reads until the servers close the socket; its close code.
    pub async fn ends(mut self) -> anyhow::Result<u16> {
        let end = async {
            loop {
                match self.received.recv().await.context("the socket ended before")? {
                    Received::Frame(_) => {}
                    Received::Closed(farewell) => return farewell.code.context("closed without a code"),
                }
            }
        };
        timeout(WAIT, end).await.with_context(|| format!("{}'s socket stays open", self.grant.user.name))?
    }

    /// Versions of each conversation without a gap, a repeat or a step back.
    pub fn has_dense_versions(&self) -> anyhow::Result<()> {
        let mut last: BTreeMap<ConversationId, u64> = BTreeMap::new();
        for event in &self.events {
            let before = last.insert(event.conversation, event.version);
            ensure!(
                before.is_none_or(|before| event.version == before + 1),
                "{}: version {} of conversation {} after {before:?}",
                self.name(),
                event.version,
                event.conversation
            );
        }
        let versions: Vec<u64> = self.me.iter().map(|me| me.version).collect();
        ensure!(versions.windows(2).all(|two| two[1] == two[0] + 1), "{}: `me` {versions:?}", self.name());
        Ok(())
    }

    fn tail(&self) -> (Vec<&Event>, Vec<&MeEvent>) {
        (self.events.iter().rev().take(5).collect(), self.me.iter().rev().take(5).collect())
    }

    /// Sends a request; its number.
    async fn request(&mut self, request: Request) -> anyhow::Result<u64> {
        let (number, told) = oneshot::channel();
        if self.requests.send((request, number)).await.is_ok()
            && let Ok(sent) = told.await
        {
            return sent.with_context(|| format!("{} cannot send", self.name()));
        }
        // Nobody takes it: the socket has ended, and what it said last waits to be read.
        loop {
            self.next().await?;
        }
    }

    async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        match self.received.recv().await {
            Some(Received::Frame(frame)) => {
                match &frame.body {
                    Body::Event(event) => self.events.push(event.clone()),
                    Body::Me(me) => self.me.push(me.clone()),
                    _ => {}
                }
                Ok(*frame)
            }
            Some(Received::Closed(farewell)) => {
                bail!("{}: the socket ended: {farewell:?}", self.grant.user.name)
            }
            None => bail!("{}: the socket ended before", self.grant.user.name),
        }
    }
}

/// A socket that is welcome, or with which words its owner is told to come again: while a leader is missing nobody may be able to say
/// whether her session lasts.
async fn welcomed(at: SocketAddr, token: &str) -> anyhow::Result<Result<Socket, Farewell>> {
    let mut socket = Socket::open(at, None).await?;
    let hello = Hello {
        token: token.to_owned(),
        device: "test".to_owned(),
        app: "quorate-tests".to_owned(),
        ..Hello::default()
    };
    socket.request(Request::Hello(hello)).await?;
    let farewell = match socket.next().await {
        Received::Frame(frame) => match frame.body {
            Body::Welcome(_) => return Ok(Ok(socket)),
            Body::Bye { code, reason, .. } => Farewell { code: Some(code), reason },
            other => bail!("not welcome: {other:?}"),
        },
        Received::Closed(farewell) => farewell,
    };
    match farewell.code.map(after_close) {
        Some(AfterClose::Resume | AfterClose::Restart) => Ok(Err(farewell)),
        _ => bail!("not welcome: {farewell:?}"),
    }
}

/// See the module. Ends with the socket, or with the device.
async fn attend(mut socket: Socket, mut asked: mpsc::Receiver<Asked>, heard: mpsc::Sender<Received>) {
    loop {
        tokio::select! {
            received = socket.next() => {
                let is_end = matches!(received, Received::Closed(_));
                if let Received::Frame(frame) = &received
                    && let Body::Ping { n, .. } = frame.body
                {
                    // When it cannot be sent the socket has ended, which is read next.
                    let _ = socket.request(Request::Pong { n }).await;
                }
                // Nobody listens when the device is gone; then nobody asks either.
                let _ = heard.send(received).await;
                if is_end {
                    return;
                }
            }
            next = asked.recv() => {
                let Some((request, number)) = next else { return };
                // Whoever asked may have given up.
                let _ = number.send(socket.request(request).await);
            }
        }
    }
}

pub fn into_message(event: Event) -> Option<Message> {
    match event.kind {
        EventKind::Message(message) => Some(message),
        _ => None,
    }
}

pub fn command(command: Action) -> Request {
    Request::Do(DoCommand { client_message_id: fresh(), first_sent: 0, command })
}

pub fn message(conversation: ConversationId, text: &str) -> Request {
    Request::Send(SendMessage {
        conversation,
        client_message_id: fresh(),
        text: text.to_owned(),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    })
}
