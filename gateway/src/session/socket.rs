//! The task that owns a socket: frames in, effects carried out, frames out with one flush.
//!
//! Owns the socket and its clock. The rules are elsewhere; this file only carries them out.

mod arrivals;
mod effects;

use std::collections::VecDeque;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use quorate_proto::error::CloseCode;
use quorate_proto::frame::{Body, ServerFrame, WriteState};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::codec;
use super::delivery::Delivery;
use super::effect::Farewell;
use super::farewell::{End, broken, finish};
use super::jobs::{Done, Job};
use super::opening::Held;
use super::out::{FLUSH_BYTES_MAX, FLUSH_FRAMES_MAX, Out};
use super::outbox::{Bounds, Inbox, Outbox, Taken, outbox};
use super::protocol::{Protocol, Times};
use super::users::Ticket;
use crate::auth::Identity;
use crate::clock::{chance, wall_ms};
use crate::context::Gateway;
use crate::convert::encode;
use crate::hub::Subscriber;
use crate::leader::WriteStatus;
use crate::metrics::Metrics;
use crate::server::{DrainPhase, Stranger};

/// A reader that takes nothing for this long is let go.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// Commands under way when the gateway ends get this long.
const FINISH_WAIT: Duration = Duration::from_secs(5);
/// What a client that was let go is told to wait at most, ms: those let go together come back spread.
const SLOW_RETRY_MS: u64 = 1_000;

/// What a live session holds.
struct Live {
    identity: Identity,
    /// A program's token.
    token: Option<Held>,
    ticket: Ticket,
    subscriber: Subscriber,
}

struct Session<S> {
    gateway: Arc<Gateway>,
    ws: WebSocketStream<S>,
    protocol: Protocol,
    delivery: Delivery,
    inbox: Inbox,
    /// The hub's end, until `hello` hands it over.
    outbox: Option<Outbox>,
    live: Option<Live>,
    /// Its address's place, held until it said who it is.
    stranger: Option<Stranger>,
    /// The address by which its wrong tokens are counted.
    client: Option<IpAddr>,
    jobs: FuturesUnordered<Job>,
    out: Out,
    /// The last word to the hub on which signals are wanted; the next waits for it.
    watching: Option<Shared<BoxFuture<'static, ()>>>,
    /// Frames of a message that wait while the session opens.
    backlog: VecDeque<codec::Parsed>,
    start: Instant,
    write: watch::Receiver<WriteStatus>,
    drain: watch::Receiver<DrainPhase>,
    drain_told: bool,
    /// When `hello` came.
    greeted: Option<Instant>,
    /// When the oldest event that waits to be written came from the feed.
    oldest: Option<Instant>,
    /// When the oldest ack that waits to be written had its outcome.
    settled: Option<Instant>,
    finish_until: Option<Instant>,
}

/// Something happened.
enum Happening {
    Message(Option<Result<Message, WsError>>),
    Taken(Option<Taken>),
    Done(Done),
    Write,
    Drain,
    Time,
}

/// Serves a socket until it ends. `client` is the address by which its wrong tokens are counted; none of a balancer's own machine.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    gateway: Arc<Gateway>,
    ws: WebSocketStream<S>,
    stranger: Option<Stranger>,
    client: Option<IpAddr>,
) {
    let config = &gateway.config;
    let times = Times {
        hello_wait_ms: config.hello_wait_ms,
        ping_interval_ms: config.ping_interval_ms,
        pong_wait_ms: config.pong_wait_ms,
    };
    let bounds =
        Bounds { frames_max: config.limits.outbox_frames_max, bytes_max: config.limits.outbox_bytes_max };
    let (outbox, inbox) = outbox(bounds);
    let mut session = Session {
        protocol: Protocol::new(config.limits.clone(), times, 0),
        delivery: Delivery::new(),
        inbox,
        outbox: Some(outbox),
        live: None,
        stranger,
        client,
        jobs: FuturesUnordered::new(),
        out: Out::default(),
        watching: None,
        backlog: VecDeque::new(),
        start: Instant::now(),
        write: gateway.leader.write(),
        drain: gateway.drain.clone(),
        drain_told: false,
        greeted: None,
        oldest: None,
        settled: None,
        finish_until: None,
        ws,
        gateway: Arc::clone(&gateway),
    };
    let end = session.serve().await;
    if session.live.take().is_some() {
        gateway.metrics.sessions.dec();
    }
    finish(&gateway.metrics, session.ws, session.out.into_frames(), end).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn serve(&mut self) -> End {
        loop {
            let happening = self.wait().await;
            if let Err(end) = self.handle(happening) {
                return end;
            }
            // Whatever else is there already goes out with the same flush.
            if let Err(end) = self.gather() {
                return end;
            }
            if let Err(end) = self.flush().await {
                return end;
            }
        }
    }

    async fn wait(&mut self) -> Happening {
        let wake_ms = match self.finish_until {
            Some(until) => u64::try_from(until.saturating_duration_since(self.start).as_millis())
                .unwrap_or(u64::MAX)
                .min(self.protocol.wake_at_ms()),
            None => self.protocol.wake_at_ms(),
        };
        let wake = async {
            match wake_ms.checked_sub(0).filter(|at| *at < u64::MAX / 2_000_000) {
                Some(at) => sleep_until((self.start + Duration::from_millis(at)).into()).await,
                None => pending().await,
            }
        };
        let reads = self.protocol.reads_frames() && self.backlog.is_empty();
        let is_live = self.protocol.is_live();
        tokio::select! {
            biased;
            taken = self.inbox.recv(FLUSH_FRAMES_MAX, FLUSH_BYTES_MAX) => Happening::Taken(taken),
            Some(done) = self.jobs.next() => Happening::Done(done),
            Ok(()) = self.write.changed(), if is_live => Happening::Write,
            Ok(()) = self.drain.changed() => Happening::Drain,
            message = self.ws.next(), if reads => Happening::Message(message),
            () = wake => Happening::Time,
        }
    }

    fn handle(&mut self, happening: Happening) -> Result<(), End> {
        match happening {
            Happening::Message(message) => self.message(message),
            Happening::Taken(Some(taken)) => self.taken(taken),
            Happening::Taken(None) => Err(self.let_go()),
            Happening::Done(done) => self.done(done),
            Happening::Write => {
                let status = self.write.borrow_and_update().frame(Instant::now());
                self.push(Body::Status(status));
                Ok(())
            }
            Happening::Drain => self.drain(),
            Happening::Time => self.time(),
        }
    }

    /// Takes what is ready without waiting, as far as one flush goes.
    fn gather(&mut self) -> Result<(), End> {
        loop {
            let (frames_max, bytes_max) = self.out.room();
            if frames_max == 0 || bytes_max == 0 {
                break;
            }
            if let Some(taken) = self.inbox.try_recv(frames_max, bytes_max) {
                self.taken(taken)?;
            } else if let Some(Some(done)) = self.jobs.next().now_or_never() {
                self.done(done)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Writes everything that waits, a flush a piece.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.out.is_empty() {
            self.flush_piece().await?;
        }
        self.oldest = None;
        if let Some(settled) = self.settled.take() {
            self.gateway.metrics.submit_stages.reply.observe(settled.elapsed().as_secs_f64());
        }
        Ok(())
    }

    async fn flush_piece(&mut self) -> Result<(), End> {
        let piece = self.out.piece();
        self.gateway.metrics.frames_sent.inc_by(piece.len() as u64);
        let let_go = self.inbox.let_go();
        let writing = async {
            for text in piece {
                self.ws.feed(Message::Text(text)).await?;
            }
            self.ws.flush().await
        };
        let written = tokio::select! {
            written = writing => Some(written),
            () = let_go.wait() => None,
            () = tokio::time::sleep(WRITE_WAIT) => None,
        };
        match written {
            Some(Ok(())) => {
                if let Some(oldest) = self.oldest.take_if(|_| self.out.is_empty()) {
                    self.gateway.metrics.delivery_seconds.observe(oldest.elapsed().as_secs_f64());
                }
                Ok(())
            }
            Some(Err(_)) => Err(End::Gone),
            None => {
                self.out = Out::default();
                Err(self.let_go())
            }
        }
    }

    fn push(&mut self, body: Body) {
        self.out.push(encode(&ServerFrame::push(body)));
    }

    fn let_go(&self) -> End {
        let reason = "too much waits for this socket: resume";
        End::Bye(Farewell::new(CloseCode::SlowConsumer, reason).retry_after(chance(SLOW_RETRY_MS)))
    }

    // ---- from the client ----

    fn message(&mut self, message: Option<Result<Message, WsError>>) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Gone),
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(broken(&error)),
        };
        match message {
            Message::Text(text) => {
                match codec::parse(&text) {
                    Ok(parsed) => {
                        self.gateway.metrics.frames_received.inc_by(parsed.len() as u64);
                        self.backlog.extend(parsed);
                    }
                    Err(reason) => {
                        let effect = self.protocol.malformed(reason);
                        return self.effect(effect);
                    }
                }
                self.work()
            }
            Message::Binary(_) => {
                let effect = self.protocol.malformed("frames are text".to_owned());
                self.effect(effect)
            }
            // The library answers pings; a close is answered too, and the next read says that it is over.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(()),
        }
    }

    fn work(&mut self) -> Result<(), End> {
        while self.protocol.reads_frames() {
            let Some(parsed) = self.backlog.pop_front() else { break };
            let now_ms = self.now_ms();
            let ticket = self.live.as_ref().map(|live| &live.ticket);
            let admit = |conversation| match ticket {
                Some(ticket) => ticket.admit_send(conversation, now_ms),
                None => Ok(()),
            };
            if let Some(effect) = self.protocol.frame(now_ms, parsed, admit) {
                self.effect(effect)?;
            }
        }
        Ok(())
    }

    // ---- time and drain ----

    fn time(&mut self) -> Result<(), End> {
        let writable = self.write.borrow().state == WriteState::Up;
        let now_ms = self.now_ms();
        let effects = self.protocol.tick(now_ms, wall_ms(), writable);
        self.effects(effects)?;
        self.check_finished()
    }

    fn check_finished(&self) -> Result<(), End> {
        match self.finish_until {
            Some(until) if self.protocol.is_settled() || Instant::now() >= until => {
                let farewell = Farewell::new(CloseCode::Drained, "this gateway is ending: resume elsewhere");
                Err(End::Bye(farewell))
            }
            _ => Ok(()),
        }
    }

    fn drain(&mut self) -> Result<(), End> {
        let phase = *self.drain.borrow_and_update();
        match phase {
            DrainPhase::Serving | DrainPhase::Leaving => Ok(()),
            DrainPhase::Draining => {
                if self.protocol.is_live() && !self.drain_told {
                    self.drain_told = true;
                    let after_ms = chance(self.gateway.config.drain_spread_ms.max(1));
                    let reason = "this gateway is ending: resume elsewhere".to_owned();
                    self.push(Body::Drain { after_ms, reason });
                }
                Ok(())
            }
            DrainPhase::Ending => {
                self.finish_until.get_or_insert_with(|| Instant::now() + FINISH_WAIT);
                self.check_finished()
            }
        }
    }
}

/// Gives every message back, until the socket ends as a session's would: what conformance suites talk to.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(metrics: &Metrics, mut ws: WebSocketStream<S>) {
    let end = loop {
        match ws.next().await {
            None => break End::Gone,
            Some(Err(error)) => break broken(&error),
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if !matches!(timeout(WRITE_WAIT, ws.send(message)).await, Ok(Ok(()))) {
                    break End::Gone;
                }
            }
            Some(Ok(_)) => {}
        }
    };
    finish(metrics, ws, VecDeque::new(), end).await;
}

fn internal(reason: &str) -> End {
    End::Bye(Farewell::new(CloseCode::Internal, reason).retry_after(chance(SLOW_RETRY_MS)))
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
