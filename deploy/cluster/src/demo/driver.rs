//! A client of the demo's own: the rules of `quorate-client` with sockets, a clock and chance.
//!
//! One task owns the rules; each socket is a task that carries text to and fro. The next socket goes to the next gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use quorate_client::event::{Change, Effect, Input, SocketId};
use quorate_client::{Client, Config, Moment};
use quorate_proto::SUBPROTOCOL;
use quorate_proto::error::ErrorCode;
use quorate_proto::ids::{ClientMessageId, ConversationId, Index, Sequence};
use quorate_proto::rest::SessionGrant;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::rest::{Account, Rest, body, cookie};
use crate::error::{Attempt, Result};
use crate::http::Call;

/// What sockets and refreshes say, not yet taken: the rules take it faster than any socket brings it.
const INBOX_MAX: usize = 256;
/// Frames that a socket has not taken; one that takes none is closed.
const FRAMES_MAX: usize = 64;
/// Connecting and the upgrade together.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// A refresh is decided within this; the rules try again by themselves.
const REFRESH_WAIT: Duration = Duration::from_secs(10);
/// A sign-in that did not work is tried again after this.
const SIGN_IN_EVERY: Duration = Duration::from_secs(1);
/// The code of a socket that ended without one.
const ABNORMAL: u16 = 1006;

/// What the driver tells.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A message was taken, or travels.
    Stored(ClientMessageId, String),
    /// A majority has it; where it stands and at which index, if that was said.
    Committed(ClientMessageId, Option<Sequence>, Index),
    /// It was refused for good.
    Refused(ClientMessageId),
    /// A message that somebody wrote in the conversation.
    Arrived(Sequence, String),
    /// At which gateway the session is; empty: there is none.
    At(String),
}

enum Inside {
    Rules(Input),
    Granted(SessionGrant, Option<String>),
    Denied,
}

/// See the module.
pub(crate) struct Driver {
    client: Client,
    rest: Rest,
    account: Account,
    cookie: Option<String>,
    conversation: ConversationId,
    /// Messages up to here were told; `None` before the conversation is known.
    told: Option<Sequence>,
    at: String,
    /// Which gateway is next, and how many places further the one after it is.
    turn: (usize, usize),
    sockets: BTreeMap<SocketId, mpsc::Sender<Message>>,
    inbox: mpsc::Sender<Inside>,
    seen: mpsc::Sender<Seen>,
    began: Instant,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("account", &self.account).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Driver {
    /// A client of this account that begins at the gateway in the first place of `turn`, goes on by its second, and lives until `inputs` or `seen` is dropped.
    pub(crate) fn spawn(
        rest: Rest,
        account: Account,
        conversation: ConversationId,
        turn: (usize, usize),
        inputs: mpsc::Receiver<Input>,
        seen: mpsc::Sender<Seen>,
    ) {
        let config = Config {
            device: "Quorate demo".to_owned(),
            app: env!("CARGO_PKG_VERSION").to_owned(),
            window: None,
        };
        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        let last = rest.gateways.len().saturating_sub(1);
        let driver = Self {
            client: Client::new(config),
            rest,
            account,
            cookie: None,
            conversation,
            told: None,
            at: String::new(),
            // One gateway is enough for two clients.
            turn: (turn.0.min(last), turn.1),
            sockets: BTreeMap::new(),
            inbox,
            seen,
            began: Instant::now(),
        };
        tokio::spawn(driver.live(inputs, arrivals));
    }

    async fn live(mut self, mut inputs: mpsc::Receiver<Input>, mut arrivals: mpsc::Receiver<Inside>) {
        self.refresh(Duration::ZERO);
        loop {
            let now_ms = self.now_ms();
            let deadline = self.client.deadline_ms(now_ms);
            let wait = deadline.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
            let inside = tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => Inside::Rules(input),
                    None => return,
                },
                // This task holds a sender, so the channel does not end.
                Some(inside) = arrivals.recv() => inside,
                () = sleep(wait) => Inside::Rules(Input::Tick),
            };
            let input = match inside {
                Inside::Rules(input) => input,
                Inside::Granted(grant, cookie) => {
                    self.cookie = cookie.or_else(|| self.cookie.take());
                    Input::Granted(grant)
                }
                Inside::Denied => {
                    // The password is known here: a session that ended is followed by another.
                    self.cookie = None;
                    Input::RefreshFailed { denied: false }
                }
            };
            if matches!(input, Input::RefreshFailed { .. }) && self.client.access_token().is_none() {
                // The rules know nobody yet, so they would not ask again.
                self.refresh(SIGN_IN_EVERY);
            }
            if self.step(input).await.is_err() {
                return;
            }
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn moment(&self) -> Moment {
        let mut random = [0; 16];
        // Without randomness ids would repeat and be refused: told by the counters, and no reason to end here.
        let _ = getrandom::fill(&mut random);
        let wall_ms = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Moment { now_ms: self.now_ms(), wall_ms, random: u128::from_le_bytes(random) }
    }

    /// An error where nobody listens any more.
    async fn step(&mut self, input: Input) -> std::result::Result<(), mpsc::error::SendError<Seen>> {
        let effects = self.client.handle(self.moment(), input);
        // An acknowledgement says more than the item's leaving, which stands before it.
        for effect in &effects {
            if let Effect::Acked(ack) = effect {
                let committed = Seen::Committed(ack.client_message_id, ack.sequence, ack.index);
                self.seen.send(committed).await?;
            }
        }
        for effect in effects {
            match effect {
                Effect::Connect(socket) => self.connect(socket),
                Effect::Transmit(socket, text) => self.transmit(socket, text),
                Effect::Close(socket, _) => {
                    self.sockets.remove(&socket);
                }
                Effect::RefreshToken => self.refresh(Duration::ZERO),
                Effect::SignedOut(_) => {
                    self.cookie = None;
                    self.refresh(SIGN_IN_EVERY);
                }
                Effect::Store(item) => self.seen.send(Seen::Stored(item.id, item.text)).await?,
                // By its event: the acknowledgement may never come.
                Effect::Unstore(id) => {
                    let seen_index = self.client.details().seen;
                    self.seen.send(Seen::Committed(id, None, seen_index)).await?;
                }
                Effect::Refused(Some(id), _) => self.seen.send(Seen::Refused(id)).await?,
                Effect::Changed(Change::Connection) => self.tell_place().await?,
                Effect::Changed(Change::Timeline(id)) if id == self.conversation => self.tell_news().await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn tell_place(&mut self) -> std::result::Result<(), mpsc::error::SendError<Seen>> {
        let details = self.client.details();
        let at = if details.live { details.gateway } else { String::new() };
        if at != self.at {
            self.at.clone_from(&at);
            self.seen.send(Seen::At(at)).await?;
        }
        Ok(())
    }

    /// Messages after the last one told, as far as they are here: where there is a hole, who listens sees it.
    async fn tell_news(&mut self) -> std::result::Result<(), mpsc::error::SendError<Seen>> {
        let Some(conversation) = self.client.conversation(self.conversation) else { return Ok(()) };
        let newest = conversation.sequence;
        let told = *self.told.get_or_insert(newest);
        let news: Vec<(Sequence, String)> = (told + 1..=newest)
            .filter_map(|at| Some((at, conversation.timeline.get(at)?.message.text.clone())))
            .collect();
        self.told = Some(newest);
        for (at, text) in news {
            self.seen.send(Seen::Arrived(at, text)).await?;
        }
        Ok(())
    }

    fn connect(&mut self, socket: SocketId) {
        let (place, stride) = self.turn;
        let Some(at) = self.rest.gateways.get(place).copied() else { return };
        self.turn.0 = (place + stride) % self.rest.gateways.len();
        let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
        self.sockets.insert(socket, frames);
        let (rest, inbox) = (self.rest.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let code = carry(at, &rest, socket, outgoing, &inbox).await;
            // Where the driver is gone nobody needs to know.
            let _ = inbox.send(Inside::Rules(Input::Closed(socket, code))).await;
        });
    }

    fn transmit(&mut self, socket: SocketId, text: String) {
        let taken =
            self.sockets.get(&socket).is_some_and(|frames| frames.try_send(Message::text(text)).is_ok());
        if !taken && self.sockets.remove(&socket).is_some() {
            let inbox = self.inbox.clone();
            tokio::spawn(
                async move { inbox.send(Inside::Rules(Input::Closed(socket, ABNORMAL))).await.ok() },
            );
        }
    }

    fn refresh(&self, after: Duration) {
        let (rest, account, inbox) = (self.rest.clone(), self.account.clone(), self.inbox.clone());
        let call = match &self.cookie {
            Some(value) => Call::new("POST", "/api/v1/sessions/refresh")
                .header("origin", rest.origin())
                .header("cookie", format!("{}={value}", quorate_proto::rest::REFRESH_COOKIE)),
            None => Call::new("POST", "/api/v1/sessions").json(&account.sign_in()),
        };
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let inside = match rest.send(call, REFRESH_WAIT).await {
                Ok(Ok(answer)) => match body::<SessionGrant>(&answer) {
                    Ok(grant) => Inside::Granted(grant, cookie(&answer)),
                    Err(_) => Inside::Rules(Input::RefreshFailed { denied: false }),
                },
                Ok(Err(error)) if error.code == ErrorCode::Unauthenticated => Inside::Denied,
                _ => Inside::Rules(Input::RefreshFailed { denied: false }),
            };
            // Where the driver is gone nobody needs to know.
            let _ = inbox.send(inside).await;
        });
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Carries a socket's text until either end has enough; its close code.
async fn carry(
    at: SocketAddr,
    rest: &Rest,
    socket: SocketId,
    mut outgoing: mpsc::Receiver<Message>,
    inbox: &mpsc::Sender<Inside>,
) -> u16 {
    let opened = tokio::time::timeout(OPEN_WAIT, open(at, rest)).await;
    let Ok(Ok(mut stream)) = opened else { return ABNORMAL };
    if inbox.send(Inside::Rules(Input::Opened(socket))).await.is_err() {
        return ABNORMAL;
    }
    loop {
        tokio::select! {
            frame = outgoing.recv() => {
                let Some(frame) = frame else {
                    // The rules have let go of it. The peer may be gone already, which is as good.
                    let _ = tokio::time::timeout(OPEN_WAIT, stream.close(None)).await;
                    return ABNORMAL;
                };
                if stream.send(frame).await.is_err() {
                    return ABNORMAL;
                }
            }
            received = stream.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    let input = Input::Text(socket, text.as_str().to_owned());
                    if inbox.send(Inside::Rules(input)).await.is_err() {
                        return ABNORMAL;
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    return close.map_or(ABNORMAL, |close| close.code.into());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return ABNORMAL,
            },
        }
    }
}

async fn open(at: SocketAddr, rest: &Rest) -> Result<tokio_tungstenite::WebSocketStream<Box<dyn Wire>>> {
    let tcp = TcpStream::connect(at).await.attempt(|| format!("connect to {at}"))?;
    tcp.set_nodelay(true).attempt(|| "set TCP_NODELAY".to_owned())?;
    let wire: Box<dyn Wire> = match rest.trust.clone() {
        None => Box::new(tcp),
        Some(tls) => {
            let name = ServerName::try_from("localhost").expect("a DNS name");
            let stream = TlsConnector::from(tls).connect(name, tcp).await;
            Box::new(stream.attempt(|| "agree on TLS".to_owned())?)
        }
    };
    let mut request =
        format!("ws://{at}/ws").into_client_request().attempt(|| "ask for a socket".to_owned())?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (stream, _) =
        tokio_tungstenite::client_async(request, wire).await.attempt(|| format!("open a socket at {at}"))?;
    Ok(stream)
}
