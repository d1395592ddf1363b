//! The connection's life: connect, hello, welcome, silence, backoff, drain, refusals, tokens.

use std::collections::BTreeMap;

use quorate_proto::error::{AfterClose, after_close};
use quorate_proto::frame::{Body, ClientFrame, Hello, Request, Resume, Welcome};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::limits::{ACCESS_TOKEN_MS, HELLO_WAIT_MS, SILENCE_MS_MAX};
use quorate_proto::rest::SessionGrant;

use super::Client;
use crate::event::{Change, Effect, SocketId};
use crate::moment::Moment;
use crate::ordered::OrderedMap;
use crate::timeline::Page;
use crate::words::t;

/// A socket that does not open, or a hello that is not answered, within this long is given up.
const CONNECT_WAIT_MS: u64 = HELLO_WAIT_MS;
/// A session that lived this long was a good one: the backoff starts over.
const STABLE_MS: u64 = 10_000;
/// `online` and a tab that becomes visible try again within this long, not all at once.
const NUDGE_MS_MAX: u64 = 1_000;
/// A refresh without an answer is asked again.
const REFRESH_WAIT_MS: u64 = 20_000;
/// Tokens refused in a row, each freshly issued, before the session is given up.
const TOKENS_REFUSED_MAX: u32 = 3;

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody is signed in.
    SignedOut,
    /// No socket; the next is opened at that time, given a token.
    Waiting {
        /// When.
        until_ms: u64,
    },
    /// A socket is there, in some stage.
    Linked,
    /// The server refused this client; a person must act.
    Stopped {
        /// The close code.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Opening,
    Greeting,
    Live,
}

/// One socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: SocketId,
    pub(super) stage: Stage,
    /// When this stage began.
    pub(super) since_ms: u64,
    pub(super) heard_ms: u64,
    frame_id: u64,
    /// What was asked and not answered.
    pub(super) asked: OrderedMap<u64, (Asked, u64)>,
    /// What `bye` said, because proxies eat close codes.
    bye: Option<(u16, String, Option<u64>)>,
    /// When to move to another gateway.
    drain_at_ms: Option<u64>,
}

/// What a reply is the answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Hello,
    Auth,
    Send(ClientMessageId),
    Command(ClientMessageId),
    History(ConversationId, Page),
    Look,
    Since,
    Summary(ConversationId),
    Count(ConversationId),
    Room(ConversationId),
    Measure,
}

/// The access token, and when to ask for the next.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: String,
    /// False once the server does not take it any more: no socket is opened with it.
    usable: bool,
    refresh_at_ms: u64,
    refreshing: bool,
    /// Refused in a row.
    refused: u32,
}

impl Token {
    /// Still to be asked for.
    fn none() -> Self {
        Self { text: String::new(), usable: false, refresh_at_ms: 0, refreshing: false, refused: 0 }
    }

    fn spend(&mut self) {
        self.usable = false;
        if !self.refreshing {
            self.refresh_at_ms = 0;
        }
    }
}

impl Client {
    /// The socket that carries the session, if it is welcomed.
    pub(super) fn live(&self) -> Option<&Link> {
        self.link.as_ref().filter(|link| link.stage == Stage::Live)
    }

    pub(super) fn granted(&mut self, moment: &Moment, grant: SessionGrant) {
        if self.phase != Phase::SignedOut && self.me.as_ref().is_some_and(|me| me.id != grant.user.id) {
            // What refreshes here is somebody else's by now; nothing of one may become the other's.
            self.sign_out(Some(t("Somebody else signed in here. Sign in to go on.").to_owned()));
            return;
        }
        let left_ms = grant.expires_at.saturating_sub(moment.wall_ms);
        // This clock may be wrong; a life that cannot be is replaced by a third of the usual one.
        let life_ms =
            if (60_000..=2 * ACCESS_TOKEN_MS).contains(&left_ms) { left_ms } else { ACCESS_TOKEN_MS / 3 };
        let refused = self.token.as_ref().map_or(0, |token| token.refused);
        self.token = Some(Token {
            text: grant.access_token.clone(),
            usable: true,
            refresh_at_ms: moment.now_ms + life_ms * 4 / 5,
            refreshing: false,
            refused,
        });
        self.token_backoff.reset();
        let same_user = self.me.as_ref().is_some_and(|me| me.id == grant.user.id);
        if !same_user {
            self.unrecall();
            self.me = Some(grant.user);
            self.changed.insert(Change::List);
        }
        self.changed.insert(Change::Connection);
        if self.phase == Phase::SignedOut {
            self.phase = Phase::Waiting { until_ms: moment.now_ms };
        } else if self.live().is_some() {
            self.ask(moment, Asked::Auth, Request::Auth { token: grant.access_token });
        }
    }

    pub(super) fn refresh_failed(&mut self, moment: &Moment, denied: bool) {
        if denied {
            self.sign_out(Some(t("Your session has ended. Sign in to go on.").to_owned()));
            return;
        }
        if self.phase == Phase::SignedOut && self.recalled_at.is_some() {
            // Nobody answers, and there is something to show meanwhile.
            self.phase = Phase::Waiting { until_ms: moment.now_ms };
            self.token = Some(Token::none());
            self.changed.insert(Change::Connection);
        }
        let wait_ms = self.token_backoff.next_ms(moment).max(1_000);
        if let Some(token) = &mut self.token {
            token.refreshing = false;
            token.refresh_at_ms = moment.now_ms + wait_ms;
        }
    }

    pub(super) fn nudged(&mut self, moment: &Moment, online: bool) {
        if online {
            self.offline = false;
            self.changed.insert(Change::Connection);
            self.wake_uploads(moment, true);
        }
        let soon_ms = moment.now_ms + moment.jitter_ms(NUDGE_MS_MAX);
        if let Phase::Waiting { until_ms } = &mut self.phase {
            *until_ms = (*until_ms).min(soon_ms);
        }
        self.want_token_by(soon_ms);
    }

    /// Where a token has to come before any socket, it is asked for then at the latest.
    fn want_token_by(&mut self, at_ms: u64) {
        if let Some(token) = self.token.as_mut().filter(|token| !token.usable && !token.refreshing) {
            token.refresh_at_ms = token.refresh_at_ms.min(at_ms);
        }
    }

    /// When the next socket is opened; `None`: a token is being asked for.
    pub(super) fn next_attempt_ms(&self, until_ms: u64) -> Option<u64> {
        match self.token.as_ref().filter(|token| !token.usable) {
            None => Some(until_ms),
            Some(token) if token.refreshing => None,
            Some(token) => Some(token.refresh_at_ms.max(until_ms)),
        }
    }

    pub(super) fn try_now(&mut self, moment: &Moment) {
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Stopped { .. }) {
            self.phase = Phase::Waiting { until_ms: moment.now_ms };
            self.want_token_by(moment.now_ms);
            self.changed.insert(Change::Connection);
        }
    }

    fn new_link(&mut self, moment: &Moment) -> Link {
        self.sockets += 1;
        self.out.push(Effect::Connect(self.sockets));
        Link {
            socket: self.sockets,
            stage: Stage::Opening,
            since_ms: moment.now_ms,
            heard_ms: moment.now_ms,
            frame_id: 0,
            asked: OrderedMap::default(),
            bye: None,
            drain_at_ms: None,
        }
    }

    fn link_mut(&mut self, socket: SocketId) -> Option<&mut Link> {
        [self.link.as_mut(), self.next_link.as_mut()].into_iter().flatten().find(|link| link.socket == socket)
    }

    pub(super) fn opened(&mut self, moment: &Moment, socket: SocketId) {
        let resume = match &self.cluster {
            Some(cluster) if self.resumable => Some(Resume {
                cluster: cluster.clone(),
                position: self.position.position(),
                seen: self.position.seen(),
            }),
            _ => None,
        };
        let hello = Hello {
            token: self.access_token().unwrap_or_default().to_owned(),
            device: self.config.device.clone(),
            app: self.config.app.clone(),
            have: if resume.is_some() { self.have() } else { BTreeMap::new() },
            resume,
        };
        let Some(link) = self.link_mut(socket).filter(|link| link.stage == Stage::Opening) else { return };
        link.stage = Stage::Greeting;
        link.since_ms = moment.now_ms;
        link.heard_ms = moment.now_ms;
        let frame = link.next_frame(Asked::Hello, Request::Hello(hello), moment.now_ms);
        self.out.push(Effect::Transmit(socket, frame));
    }

    /// Asks something on the live socket; false if there is none.
    pub(super) fn ask(&mut self, moment: &Moment, asked: Asked, request: Request) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.stage == Stage::Live) else { return false };
        let frame = link.next_frame(asked, request, moment.now_ms);
        let socket = link.socket;
        self.out.push(Effect::Transmit(socket, frame));
        true
    }

    /// Says something that is not answered.
    pub(super) fn say(&mut self, socket: SocketId, request: Request) {
        if let Some(link) = self.link_mut(socket) {
            link.frame_id += 1;
            let frame = encode(&ClientFrame { id: link.frame_id, request });
            self.out.push(Effect::Transmit(socket, frame));
        }
    }

    /// A frame was heard on this socket; false if the socket is a stranger.
    pub(super) fn heard(&mut self, moment: &Moment, socket: SocketId) -> bool {
        match self.link_mut(socket) {
            Some(link) => {
                link.heard_ms = moment.now_ms;
                true
            }
            None => false,
        }
    }

    /// The question that this reply answers, and how long that took.
    pub(super) fn answered(&mut self, moment: &Moment, socket: SocketId, reply: u64) -> Option<Asked> {
        let (asked, at_ms) = self.link_mut(socket)?.asked.remove(&reply)?;
        // What waits for a commit says nothing about the way to the gateway.
        if !matches!(asked, Asked::Send(_) | Asked::Command(_) | Asked::Hello) {
            self.round_trip_ms = Some(moment.now_ms - at_ms);
            self.changed.insert(Change::Connection);
        }
        Some(asked)
    }

    pub(super) fn welcomed(&mut self, moment: &Moment, socket: SocketId, welcome: Welcome) {
        if self.link_mut(socket).is_none_or(|link| link.stage != Stage::Greeting) {
            return;
        }
        if let Some(next) = self.next_link.take_if(|link| link.socket == socket)
            && let Some(old) = self.link.replace(next)
        {
            self.out.push(Effect::Close(old.socket, 1000));
        }
        let Some(link) = self.link.as_mut().filter(|link| link.socket == socket) else { return };
        link.stage = Stage::Live;
        link.since_ms = moment.now_ms;
        link.asked.retain(|_, (asked, _)| *asked != Asked::Hello);
        if let Some(token) = &mut self.token {
            token.refused = 0;
        }
        self.phase = Phase::Linked;
        self.offline = false;
        self.changed.insert(Change::Connection);
        self.signals_cut_off();
        self.take_welcome(moment, welcome);
    }

    pub(super) fn drain(&mut self, moment: &Moment, socket: SocketId, after_ms: u64) {
        if let Some(link) = self.link.as_mut().filter(|link| link.socket == socket) {
            link.drain_at_ms = Some(moment.now_ms + after_ms);
        }
    }

    pub(super) fn bye(
        &mut self,
        moment: &Moment,
        socket: SocketId,
        code: u16,
        reason: String,
        retry_ms: Option<u64>,
    ) {
        if let Some(link) = self.link_mut(socket) {
            link.bye = Some((code, reason, retry_ms));
            self.out.push(Effect::Close(socket, 1000));
            self.closed(moment, socket, code);
        }
    }

    pub(super) fn closed(&mut self, moment: &Moment, socket: SocketId, code: u16) {
        if self.next_link.take_if(|link| link.socket == socket).is_some() {
            // The old socket still serves; try the move again.
            if let Some(link) = &mut self.link {
                link.drain_at_ms = Some(moment.now_ms + self.backoff.next_ms(moment));
            }
            return;
        }
        let Some(link) = self.link.take_if(|link| link.socket == socket) else { return };
        let (code, reason, retry_ms) = link.bye.unwrap_or((code, String::new(), None));
        self.signals_cut_off();
        self.outbox.requeue_in_flight();
        self.commands.requeue();
        self.changed.insert(Change::Connection);
        if self.next_link.is_some() {
            // The move was under way: it becomes the connection.
            self.link = self.next_link.take();
            return;
        }
        let mut wait_ms = self.backoff.next_ms(moment);
        if let Some(retry_ms) = retry_ms {
            wait_ms = retry_ms + moment.jitter_ms(NUDGE_MS_MAX);
        }
        let after = match code {
            // No way to say why by HTTP status, so this says it: the session was revoked.
            4403 => {
                self.sign_out(Some(t("This session was ended. Sign in to go on.").to_owned()));
                return;
            }
            other => after_close(other),
        };
        match after {
            AfterClose::Resume => {}
            AfterClose::Restart => self.resumable = false,
            AfterClose::Refresh => {
                if let Some(token) = &mut self.token {
                    token.refused += 1;
                    if token.refused >= TOKENS_REFUSED_MAX {
                        self.sign_out(Some(
                            t("This session is not accepted any more. Sign in to go on.").to_owned(),
                        ));
                        return;
                    }
                    token.spend();
                }
            }
            AfterClose::Stop => {
                self.phase = Phase::Stopped { code, reason };
                return;
            }
        }
        self.phase = Phase::Waiting { until_ms: moment.now_ms + wait_ms };
    }

    /// Gives a socket up from this side.
    pub(super) fn drop_link(&mut self, moment: &Moment, socket: SocketId) {
        self.out.push(Effect::Close(socket, 1000));
        self.closed(moment, socket, 1006);
    }

    /// Ends this socket and begins anew, without resume.
    pub(super) fn restart(&mut self, moment: &Moment) {
        if let Some(link) = &self.link {
            let socket = link.socket;
            self.out.push(Effect::Close(socket, 1000));
            self.closed(moment, socket, 4200);
        }
    }

    /// The server says that the token is no good.
    pub(super) fn token_spent(&mut self) {
        if let Some(token) = &mut self.token {
            token.spend();
        }
    }

    pub(super) fn pump_link(&mut self, moment: &Moment) {
        if self.phase == Phase::SignedOut {
            return;
        }
        let now_ms = moment.now_ms;
        for socket in [self.link.as_ref(), self.next_link.as_ref()]
            .into_iter()
            .flatten()
            .filter(|link| now_ms >= link.gives_up_ms())
            .map(|link| link.socket)
            .collect::<Vec<_>>()
        {
            self.drop_link(moment, socket);
        }
        if let Some(link) = self.live()
            && now_ms >= link.since_ms + STABLE_MS
        {
            self.backoff.reset();
        }
        let draining = self.live().is_some_and(|link| link.drain_at_ms.is_some_and(|at_ms| now_ms >= at_ms));
        if draining && self.next_link.is_none() {
            if let Some(link) = &mut self.link {
                link.drain_at_ms = None;
            }
            self.next_link = Some(self.new_link(moment));
        }
        if let Some(token) = &mut self.token
            && now_ms >= token.refresh_at_ms
        {
            token.refreshing = true;
            token.refresh_at_ms = now_ms + REFRESH_WAIT_MS;
            self.out.push(Effect::RefreshToken);
        }
        let token_good = self.token.as_ref().is_some_and(|token| token.usable);
        if let Phase::Waiting { until_ms } = self.phase
            && token_good
            && now_ms >= until_ms
        {
            let link = self.new_link(moment);
            self.link = Some(link);
            self.phase = Phase::Linked;
            self.changed.insert(Change::Connection);
        }
    }

    pub(super) fn link_deadline_ms(&self) -> Option<u64> {
        if self.phase == Phase::SignedOut {
            return None;
        }
        let links = [self.link.as_ref(), self.next_link.as_ref()].into_iter().flatten();
        let stable =
            self.live().filter(|_| self.backoff.failures() > 0).map(|link| link.since_ms + STABLE_MS);
        let drain = self.live().filter(|_| self.next_link.is_none()).and_then(|link| link.drain_at_ms);
        let waiting = match self.phase {
            // Without a token the refresh is what is waited for.
            Phase::Waiting { until_ms } if self.token.as_ref().is_some_and(|token| token.usable) => {
                Some(until_ms)
            }
            _ => None,
        };
        let token = self.token.as_ref().map(|token| token.refresh_at_ms);
        links.map(Link::gives_up_ms).chain(stable).chain(drain).chain(waiting).chain(token).min()
    }
}

impl Link {
    fn next_frame(&mut self, asked: Asked, request: Request, now_ms: u64) -> String {
        self.frame_id += 1;
        self.asked.insert(self.frame_id, (asked, now_ms));
        encode(&ClientFrame { id: self.frame_id, request })
    }

    /// When this socket is given up unless something is heard.
    fn gives_up_ms(&self) -> u64 {
        match self.stage {
            Stage::Opening | Stage::Greeting => self.since_ms + CONNECT_WAIT_MS,
            Stage::Live => self.heard_ms + SILENCE_MS_MAX,
        }
    }
}

pub(super) fn encode(frame: &ClientFrame) -> String {
    serde_json::to_string(frame).expect("frames have string keys and no failing serializers")
}

/// Frames that this client can read, of one WebSocket message: an object, or an array of them. What it cannot read comes
/// from a newer server and is passed over, but for the reply's number.
pub(super) fn decode(text: &str) -> Vec<Result<quorate_proto::frame::ServerFrame, Option<u64>>> {
    let frames = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Array(frames)) => frames,
        Ok(frame) => vec![frame],
        Err(_) => return Vec::new(),
    };
    frames
        .into_iter()
        .map(|frame| {
            let reply = frame.get("reply").and_then(serde_json::Value::as_u64);
            serde_json::from_value(frame).map_err(|_| reply)
        })
        .collect()
}

/// A body that only a reply may have. `welcome` is told by the stage of its socket, not by a number: there is one.
pub(super) fn is_answer_only(body: &Body) -> bool {
    matches!(body, Body::Page { .. } | Body::Since { .. } | Body::Conversation { .. })
}
