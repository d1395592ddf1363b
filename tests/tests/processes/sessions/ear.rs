//! A session without rules that listens for one thing at a time.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quorate_proto::frame::{Action, Body, DoCommand, PresenceState, Request, SendMessage, SignalKind};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Received, Socket};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// Longest wait for something that must come.
pub const WAIT: Duration = Duration::from_secs(20);
/// When an error names no time to wait.
const RETRY_MS: u64 = 200;
/// A signal may be lost: it is said again after this, until it is heard.
const AGAIN: Duration = Duration::from_millis(1_100);

/// See the module.
pub struct Ear {
    pub socket: Socket,
}

impl Ear {
    /// A new session at one gateway.
    pub async fn open(at: SocketAddr, grant: &SessionGrant) -> anyhow::Result<Self> {
        let mut socket = Socket::open(at, None).await?;
        socket.hello(&grant.access_token, None).await?;
        Ok(Self { socket })
    }

    /// The next frame that is wanted, within a time; everything else is dropped. Pings are answered.
    pub async fn hear<T>(
        &mut self,
        within: Duration,
        mut wanted: impl FnMut(Body) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let until = Instant::now() + within;
        loop {
            let Ok(received) = timeout_at(until, self.socket.next()).await else { return Ok(None) };
            let body = match received {
                Received::Frame(frame) => frame.body,
                Received::Closed(farewell) => bail!("closed while it listened: {farewell:?}"),
            };
            if let Body::Ping { n, .. } = body {
                self.socket.request(Request::Pong { n }).await?;
            } else if let Some(found) = wanted(body) {
                return Ok(Some(found));
            }
        }
    }

    /// Asks and returns the answer; again, with the same ids, for as long as it is that it may succeed later.
    pub async fn ask(&mut self, request: Request) -> anyhow::Result<Body> {
        let until = Instant::now() + WAIT;
        loop {
            let id = self.socket.request(request.clone()).await?;
            let answer = tokio::time::timeout(WAIT, self.socket.answer(id)).await.context("no answer")??;
            match answer {
                Body::Error { error } if error.temporary && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(error.retry_ms.unwrap_or(RETRY_MS))).await;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Says something that has no answer.
    pub async fn say(&mut self, request: Request) -> anyhow::Result<()> {
        self.socket.request(request).await.map(drop)
    }

    /// A message, until it is acknowledged.
    pub async fn send(&mut self, conversation: ConversationId, text: &str) -> anyhow::Result<Sequence> {
        let message = SendMessage {
            conversation,
            client_message_id: ClientMessageId(Uuid::now_v7()),
            text: text.to_owned(),
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        };
        match self.ask(Request::Send(message)).await? {
            Body::Ack(ack) => ack.sequence.context("an ack without a sequence"),
            other => bail!("not acknowledged: {other:?}"),
        }
    }

    /// The direct conversation with somebody.
    pub async fn direct_with(&mut self, name: &str) -> anyhow::Result<ConversationId> {
        let command = DoCommand {
            client_message_id: ClientMessageId(Uuid::now_v7()),
            first_sent: 0,
            command: Action::CreateDirect { user: name.to_owned() },
        };
        match self.ask(Request::Do(command)).await? {
            Body::Ack(ack) => ack.conversation.context("an ack without a conversation"),
            other => bail!("no conversation: {other:?}"),
        }
    }

    /// The presence of a member that is told next and is as wanted.
    pub async fn until_presence(
        &mut self,
        user: u64,
        wanted: PresenceState,
        within: Duration,
    ) -> anyhow::Result<()> {
        let mut heard = Vec::new();
        let found = self
            .hear(within, |body| match body {
                Body::Signal(signal) => match signal.kind {
                    SignalKind::Presence { user: who, state } if who == user => {
                        heard.push(state);
                        (state == wanted).then_some(())
                    }
                    _ => None,
                },
                _ => None,
            })
            .await?;
        found.with_context(|| format!("{wanted:?} was not heard within {within:?}; heard: {heard:?}"))
    }
}

/// Says a signal through one session until another hears what is wanted.
pub async fn say_until_heard<T>(
    from: &mut Ear,
    to: &mut Ear,
    request: &Request,
    mut wanted: impl FnMut(Body) -> Option<T>,
) -> anyhow::Result<T> {
    let until = Instant::now() + WAIT;
    while Instant::now() < until {
        from.say(request.clone()).await?;
        if let Some(found) = to.hear(AGAIN, &mut wanted).await? {
            return Ok(found);
        }
    }
    bail!("{request:?} was said for {WAIT:?} and not heard")
}
