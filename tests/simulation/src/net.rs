//! The simulated network: connections whose bytes arrive in order, later, or not at all.
//!
//! Models TCP as a program sees it. A blocked direction holds bytes back and lets them go after it heals, as retransmission
//! does; loss is delay. A process that dies resets its connections; a host without power says nothing until it is back.
//! Knows nothing of what the bytes mean.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use quorate_replica::simulation::{Dialing, Io};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::server::Connected;

/// A host's number: replicas from 1, gateways from 101.
pub type HostId = u64;

/// Bytes under way in one direction before the writer waits.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Connections that wait to be accepted.
pub const BACKLOG: usize = 256;
/// A lost segment is sent again after this.
const RETRANSMIT_MS: u64 = 200;
/// A connection that cannot be made is tried again this often, then given up.
const CONNECT_ATTEMPTS: u32 = 5;

/// How the network behaves right now.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Longest usual delay, ms.
    pub delay_max_ms: u64,
    /// Segments in a thousand that are lost once.
    pub loss_permille: u32,
}

/// Fair: a rack.
pub const FAIR: Weather = Weather { delay_max_ms: 2, loss_permille: 0 };

enum Event {
    Connect { from: HostId, to: HostId, attempts: u32, reply: oneshot::Sender<io::Result<SimStream>> },
    Made { reply: oneshot::Sender<io::Result<SimStream>>, made: io::Result<SimStream> },
    Data { pipe: u64, bytes: Bytes },
    End { pipe: u64, reset: bool },
}

/// One direction of a connection: an even number there, the odd one after it back.
#[derive(Default)]
struct Pipe {
    from: HostId,
    to: HostId,
    /// Arrived, not read yet.
    arrived: VecDeque<Bytes>,
    under_way: usize,
    /// Segments so far.
    sent: u64,
    last_due: u64,
    /// Held back by a blocked direction, in order.
    stalled: VecDeque<(u64, Event)>,
    /// What was held back comes at this time, and nothing that left later comes before it.
    resumes_at: u64,
    /// The writer has gone, and the reader may know.
    ended: bool,
    /// The connection was reset.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The writing end has no power: nothing more is sent.
    dark: bool,
    reader_gone: bool,
    writer_gone: bool,
}

struct Listener {
    accept: mpsc::Sender<SimStream>,
}

struct State {
    now: u64,
    seed: u64,
    weather: Weather,
    blocked: BTreeSet<(HostId, HostId)>,
    /// Hosts whose silence is a power cut.
    dark: BTreeSet<HostId>,
    listeners: BTreeMap<HostId, Listener>,
    pipes: BTreeMap<u64, Pipe>,
    /// Connections so far, by who made them to whom.
    made: BTreeMap<(HostId, HostId), u64>,
    /// By time, then by what is alike in two runs: which direction, and which segment of it.
    events: BTreeMap<(u64, u64, u64), Event>,
    trace: Vec<Step>,
    counts: Counts,
}

/// One thing that happened: two runs of a seed are the same when all their steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub at_ms: u64,
    pub what: What,
    /// Which direction of which connection, or the beginning of a state's hash.
    pub number: u64,
    /// Of a segment.
    pub bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Connected,
    Segment,
    End,
    /// A replica showed this running hash.
    State,
}

/// What the network has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub connections: u64,
    pub segments: u64,
    pub held_back: u64,
    pub lost_once: u64,
}

/// The network. Clones share it.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

impl State {
    fn at(&mut self, due: u64, pipe: u64, number: u64, event: Event) {
        self.events.insert((due, pipe, number), event);
    }

    /// How long the segment of this number in this direction takes. Drawn from its place, not from a common sequence: which
    /// of two tasks of one millisecond runs first must not change what happens to others.
    fn delay(&mut self, pipe: u64, number: u64) -> u64 {
        let place = self.seed ^ pipe.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(32);
        let mut rng = SmallRng::seed_from_u64(place);
        let mut delay = rng.random_range(0..=self.weather.delay_max_ms);
        if rng.random_range(0..1000) < self.weather.loss_permille {
            self.counts.lost_once += 1;
            delay += RETRANSMIT_MS;
        }
        delay
    }

    /// The pipes of the next connection: `n` there and `n + 1` back.
    fn next_pipes(&mut self, from: HostId, to: HostId) -> u64 {
        let made = self.made.entry((from, to)).or_default();
        *made += 1;
        (from << 48 | to << 32 | *made) << 1
    }

    /// Puts what leaves on its way, never before what left earlier.
    fn send(&mut self, pipe: u64, event: Event) {
        let now = self.now;
        let Some(found) = self.pipes.get_mut(&pipe) else { return };
        if found.dark || self.dark.contains(&found.from) {
            found.dark = true;
            return;
        }
        found.sent += 1;
        let number = found.sent;
        let delay = self.delay(pipe, number);
        let Some(found) = self.pipes.get_mut(&pipe) else { return };
        let due = (now + delay).max(found.last_due);
        found.last_due = due;
        self.at(due, pipe, number, event);
    }

    fn note(&mut self, what: What, number: u64, bytes: usize) {
        self.trace.push(Step { at_ms: self.now, what, number, bytes });
    }

    fn arrive(&mut self, pipe: u64, number: u64, event: Event, wake: &mut Vec<Waker>) {
        let Some(found) = self.pipes.get_mut(&pipe) else { return };
        if !found.stalled.is_empty() || self.blocked.contains(&(found.from, found.to)) {
            found.stalled.push_back((number, event));
            self.counts.held_back += 1;
            return;
        }
        if found.resumes_at > self.now {
            let due = found.resumes_at;
            self.at(due, pipe, number, event);
            return;
        }
        if self.dark.contains(&found.to) {
            return;
        }
        match event {
            Event::Data { bytes, .. } => {
                let length = bytes.len();
                found.arrived.push_back(bytes);
                if found.reader_gone {
                    // Nobody is there to read: the answer is a reset.
                    found.broken = true;
                    wake.extend(found.writer.take());
                }
                wake.extend(found.reader.take());
                self.counts.segments += 1;
                self.note(What::Segment, pipe, length);
            }
            Event::End { reset, .. } => {
                found.ended = true;
                found.broken |= reset;
                wake.extend(found.reader.take());
                wake.extend(found.writer.take());
                if let Some(other) = self.pipes.get_mut(&(pipe ^ 1)).filter(|_| reset) {
                    other.broken = true;
                    wake.extend(other.writer.take());
                }
                self.note(What::End, pipe, 0);
            }
            Event::Connect { .. } | Event::Made { .. } => {}
        }
    }

    /// An end of a connection has gone; when both have, nothing is left of it.
    fn gone(&mut self, reads: u64, writes: u64) {
        if let Some(pipe) = self.pipes.get_mut(&reads) {
            pipe.reader_gone = true;
            pipe.arrived.clear();
        }
        if let Some(pipe) = self.pipes.get_mut(&writes) {
            pipe.writer_gone = true;
        }
        self.send(writes, Event::End { pipe: writes, reset: false });
        let both = |pipe: &Pipe| pipe.reader_gone && pipe.writer_gone;
        if self.pipes.get(&reads).is_some_and(both) && self.pipes.get(&writes).is_some_and(both) {
            self.pipes.remove(&reads);
            self.pipes.remove(&writes);
        }
    }
}

impl Net {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: 0,
            seed,
            weather: FAIR,
            blocked: BTreeSet::new(),
            dark: BTreeSet::new(),
            listeners: BTreeMap::new(),
            pipes: BTreeMap::new(),
            made: BTreeMap::new(),
            events: BTreeMap::new(),
            trace: Vec::new(),
            counts: Counts::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a running hash to the trace, by which two runs of one seed are compared.
    pub fn note_state(&self, hash: u64) {
        self.lock().note(What::State, hash, 0);
    }

    /// Everything that happened, in order.
    pub fn trace(&self) -> Vec<Step> {
        std::mem::take(&mut self.lock().trace)
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// A host begins to listen.
    pub fn listen(&self, host: HostId) -> mpsc::Receiver<SimStream> {
        let (accept, accepted) = mpsc::channel(BACKLOG);
        self.lock().listeners.insert(host, Listener { accept });
        accepted
    }

    /// Blocks one direction between two hosts.
    pub fn block(&self, from: HostId, to: HostId) {
        self.lock().blocked.insert((from, to));
    }

    /// Lets everything through again; what was held back comes as after a retransmission.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.blocked.clear();
        let stalled: Vec<u64> = state
            .pipes
            .iter()
            .filter(|(_, pipe)| !pipe.stalled.is_empty())
            .map(|(number, _)| *number)
            .collect();
        for number in stalled {
            let place = state.seed ^ number.rotate_left(7) ^ state.now;
            let due = state.now + SmallRng::seed_from_u64(place).random_range(1..=RETRANSMIT_MS);
            let events = match state.pipes.get_mut(&number) {
                Some(pipe) => {
                    pipe.last_due = pipe.last_due.max(due);
                    pipe.resumes_at = due;
                    std::mem::take(&mut pipe.stalled)
                }
                None => continue,
            };
            for (segment, event) in events {
                state.at(due, number, segment, event);
            }
        }
    }

    /// From now on this host says nothing, not even that it has gone.
    pub fn power_off(&self, host: HostId) {
        let mut state = self.lock();
        state.dark.insert(host);
        for pipe in state.pipes.values_mut() {
            if pipe.from == host {
                pipe.dark = true;
            }
        }
    }

    /// A host has ended: nobody listens there any more.
    pub fn hang_up(&self, host: HostId) {
        // Dropped after the lock: streams lock the network when they go.
        let _listener = self.lock().listeners.remove(&host);
    }

    /// The host is there again: it answers what belongs to its former life with a reset.
    pub fn power_on(&self, host: HostId) {
        let mut state = self.lock();
        if !state.dark.remove(&host) {
            return;
        }
        let stale: Vec<u64> =
            state.pipes.iter().filter(|(_, pipe)| pipe.from == host && pipe.dark).map(|(n, _)| *n).collect();
        for number in stale {
            let due = state.now + 1;
            let mut segment = 0;
            if let Some(pipe) = state.pipes.get_mut(&number) {
                pipe.dark = false;
                pipe.sent += 1;
                segment = pipe.sent;
                pipe.last_due = pipe.last_due.max(due);
            }
            state.at(due, number, segment, Event::End { pipe: number, reset: true });
        }
    }

    /// The run is over: nothing is delivered any more.
    pub fn close(&self) {
        let mut state = self.lock();
        let left = (std::mem::take(&mut state.events), std::mem::take(&mut state.listeners));
        drop(state);
        // Streams among them lock the network when they go.
        drop(left);
    }

    /// A connection to a host.
    pub fn dial(&self, from: HostId, address: &str) -> Dialing {
        let to = host_of(address);
        let (reply, made) = oneshot::channel();
        {
            let mut state = self.lock();
            let pipes = state.next_pipes(from, to);
            let due = state.now + state.delay(pipes, 0);
            state.at(due, pipes, 0, Event::Connect { from, to, attempts: 0, reply });
        }
        Box::pin(async move {
            let stream = made.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }

    /// Moves time on and delivers what is due.
    pub fn advance(&self, now: u64) {
        let mut wake = Vec::new();
        let mut dropped = Vec::new();
        let mut replies = Vec::new();
        {
            let mut state = self.lock();
            state.now = now;
            while let Some(entry) = state.events.first_entry() {
                let (due, pipes, number) = *entry.key();
                if due > now {
                    break;
                }
                let event = entry.remove();
                match event {
                    Event::Data { pipe, .. } | Event::End { pipe, .. } => {
                        state.arrive(pipe, number, event, &mut wake);
                    }
                    Event::Made { reply, made } => replies.push((reply, made)),
                    Event::Connect { from, to, attempts, reply } => {
                        let blocked = state.blocked.contains(&(from, to))
                            || state.blocked.contains(&(to, from))
                            || state.dark.contains(&to)
                            || state.dark.contains(&from);
                        if blocked {
                            if attempts < CONNECT_ATTEMPTS {
                                let event = Event::Connect { from, to, attempts: attempts + 1, reply };
                                state.at(now + RETRANSMIT_MS, pipes, 0, event);
                            }
                            continue;
                        }
                        let made = state.accept(self, pipes, from, to, &mut dropped);
                        let due = now + state.delay(pipes + 1, 0);
                        state.at(due, pipes + 1, 0, Event::Made { reply, made });
                    }
                }
            }
        }
        for waker in wake {
            waker.wake();
        }
        for (reply, made) in replies {
            // Who gave up meanwhile drops the stream, which closes it.
            let _ = reply.send(made);
        }
        drop(dropped);
    }
}

impl State {
    fn accept(
        &mut self,
        net: &Net,
        number: u64,
        from: HostId,
        to: HostId,
        dropped: &mut Vec<SimStream>,
    ) -> io::Result<SimStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let Some(listener) = self.listeners.get(&to) else { return Err(refused()) };
        let ours = SimStream { net: net.clone(), reads: number + 1, writes: number };
        let theirs = SimStream { net: net.clone(), reads: number, writes: number + 1 };
        match listener.accept.try_send(theirs) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(stream) | mpsc::error::TrySendError::Closed(stream)) => {
                dropped.extend([ours, stream]);
                return Err(refused());
            }
        }
        self.counts.connections += 1;
        self.pipes.insert(number, Pipe { from, to, ..Pipe::default() });
        self.pipes.insert(number + 1, Pipe { from: to, to: from, ..Pipe::default() });
        self.note(What::Connected, number, 0);
        Ok(ours)
    }
}

/// The address of a host.
pub fn address(host: HostId) -> String {
    format!("10.0.0.{host}:1")
}

fn host_of(address: &str) -> HostId {
    address.strip_prefix("10.0.0.").and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap_or(0)
}

/// One end of a connection.
pub struct SimStream {
    net: Net,
    reads: u64,
    writes: u64,
}

impl Connected for SimStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut waker = None;
        let poll = {
            let mut state = self.net.lock();
            let Some(pipe) = state.pipes.get_mut(&self.reads) else { return Poll::Ready(Ok(())) };
            match pipe.arrived.front_mut() {
                Some(bytes) => {
                    let length = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..length]);
                    bytes.advance(length);
                    if bytes.is_empty() {
                        pipe.arrived.pop_front();
                    }
                    pipe.under_way -= length;
                    waker = pipe.writer.take();
                    Poll::Ready(Ok(()))
                }
                None if pipe.broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None if pipe.ended => Poll::Ready(Ok(())),
                None => {
                    pipe.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        poll
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.net.lock();
        let Some(pipe) = state.pipes.get_mut(&self.writes) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.under_way >= WINDOW_BYTES {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.under_way += buf.len();
        let event = Event::Data { pipe: self.writes, bytes: Bytes::copy_from_slice(buf) };
        state.send(self.writes, event);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.net.lock();
        state.send(self.writes, Event::End { pipe: self.writes, reset: false });
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.net.lock().gone(self.reads, self.writes);
    }
}
