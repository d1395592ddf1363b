//! Sessions by the thousand for the benchmarks: sockets that cost their client next to nothing, idle or listening.
//!
//! Owns a WebSocket client of its own (RFC 6455, only what a server sends that keeps to it), because thousands of the
//! library's cost more than what is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use quorate_cluster::Member;
use quorate_proto::SUBPROTOCOL;
use quorate_proto::frame::{Body, ClientFrame, Hello, Request, SendMessage, ServerFrame};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::client::Socket;
use crate::harness::TestCluster;
use crate::load;

/// Bytes read at once; a frame that is longer grows the buffer for as long as it is there.
const READ_BYTES: usize = 16 << 10;
/// Sessions opened at the same time.
const OPENING_AT_ONCE: usize = 32;
/// Longest wait for one session to open.
const OPEN_WAIT: Duration = Duration::from_secs(30);
/// Members of a group, where sessions belong to groups.
const GROUP_MEMBERS: usize = 10;
/// One event in this many is looked into for its time.
const TIMED_ONE_IN: u64 = 16;
/// Sessions that write in the fan-out: each has one message under way at a time.
const WRITERS: usize = 40;
/// Bytes of a message's text in the fan-out, as the peers were measured with.
const TEXT_BYTES: usize = 100;
/// Before a figure is taken.
const WARM_UP: Duration = Duration::from_secs(2);

/// A socket that reads frames and writes little.
#[derive(Debug)]
pub struct Thin {
    tcp: TcpStream,
    buffer: Vec<u8>,
    at: usize,
}

impl Thin {
    /// Connects, upgrades, says hello and waits for the welcome.
    ///
    /// # Errors
    /// When any of it fails.
    pub async fn open(at: SocketAddr, token: &str) -> anyhow::Result<Self> {
        tokio::time::timeout(OPEN_WAIT, Self::enter(at, token)).await.context("no welcome in time")?
    }

    async fn enter(at: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(at).await?;
        tcp.set_nodelay(true)?;
        let mut socket = Self { tcp, buffer: Vec::new(), at: 0 };
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        );
        socket.tcp.write_all(request.as_bytes()).await?;
        loop {
            if let Some(end) = socket.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&socket.buffer[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
                socket.at = end + 4;
                break;
            }
            socket.fill().await?;
        }
        let hello = Hello { token: token.to_owned(), ..Hello::default() };
        socket.say(Request::Hello(hello)).await?;
        let frame: ServerFrame = serde_json::from_slice(socket.next().await?)?;
        match frame.body {
            Body::Welcome(_) => Ok(socket),
            other => bail!("instead of welcome: {other:?}"),
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.reserve(READ_BYTES);
        ensure!(self.tcp.read_buf(&mut self.buffer).await? > 0, "the socket ended");
        Ok(())
    }

    /// Says something; the mask is zero, which is one.
    async fn say(&mut self, request: Request) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&ClientFrame { id: 1, request })?;
        let mut frame = vec![0x81];
        match u8::try_from(text.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(text.len())?.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text);
        Ok(self.tcp.write_all(&frame).await?)
    }

    /// The next frame, if all of it is here: where its payload is, its kind, and where the next begins.
    fn frame(&self) -> Option<(std::ops::Range<usize>, u8, usize)> {
        let rest = &self.buffer[self.at..];
        let (head, length) = match rest {
            [_, length, ..] if *length < 126 => (2, usize::from(*length)),
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            [_, 127, bytes @ ..] if bytes.len() >= 8 => {
                let length: [u8; 8] = bytes[..8].try_into().ok()?;
                (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
            }
            _ => return None,
        };
        let begin = self.at + head;
        (rest.len() >= head + length).then_some((begin..begin + length, rest[0] & 0x0f, begin + length))
    }

    /// The next text. An idle socket keeps no buffer.
    async fn next(&mut self) -> anyhow::Result<&[u8]> {
        loop {
            match self.frame() {
                Some((payload, 1, end)) => {
                    self.at = end;
                    return Ok(&self.buffer[payload]);
                }
                Some((payload, 8, _)) => {
                    bail!("closed: {:?}", String::from_utf8_lossy(&self.buffer[payload]))
                }
                Some((_, _, end)) => self.at = end,
                None => {
                    if self.at == self.buffer.len() {
                        self.buffer = Vec::new();
                        self.at = 0;
                        self.tcp.readable().await?;
                    }
                    self.fill().await?;
                }
            }
        }
    }

    /// Answers a ping; whether it was one.
    async fn pong(&mut self, text: &[u8]) -> anyhow::Result<bool> {
        if !text.starts_with(br#"{"type":"ping""#) {
            return Ok(false);
        }
        if let Body::Ping { n, .. } = serde_json::from_slice::<ServerFrame>(text)?.body {
            self.say(Request::Pong { n }).await?;
        }
        Ok(true)
    }
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Resident memory of a process of the cluster, bytes.
///
/// # Errors
/// When it is not running.
pub fn resident_bytes(test: &TestCluster, member: &Member) -> anyhow::Result<u64> {
    let (_, pid) = test.cluster.activity(member)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.context("it is not running")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Opens sessions at one gateway, user by user in turn.
async fn open_many(at: SocketAddr, grants: &[SessionGrant], count: usize) -> anyhow::Result<Vec<Thin>> {
    let places = Arc::new(Semaphore::new(OPENING_AT_ONCE));
    let mut tasks = JoinSet::new();
    for place in 0..count {
        let token = grants[place % grants.len()].access_token.clone();
        let places = Arc::clone(&places);
        tasks.spawn(async move {
            let _place = places.acquire().await?;
            Thin::open(at, &token).await
        });
    }
    let mut sockets = Vec::with_capacity(count);
    while let Some(opened) = tasks.join_next().await {
        sockets.push(opened??);
    }
    Ok(sockets)
}

/// Opens idle sessions on one gateway, each of a user in a group of ten, and watches them for a while.
///
/// # Errors
/// When one cannot be opened, or one ends.
pub async fn idle(test: &TestCluster, count: usize, length: Duration) -> anyhow::Result<()> {
    let users = count.clamp(GROUP_MEMBERS, 200);
    let gateways = test.cluster.gateways();
    let (name, other) = (gateways.first().context("a gateway")?.clone(), gateways.last().context("another")?);
    // Passwords are hashed at another gateway: what that leaves in the allocator would hide what sessions take.
    let elsewhere = test.cluster.gateway_address(other)?;
    let grants = load::sign_up_many(elsewhere, "idle", users).await?;
    for (number, members) in grants.chunks(GROUP_MEMBERS).enumerate() {
        let members: Vec<&SessionGrant> = members.iter().collect();
        load::make_group(elsewhere, &format!("idle {number}"), &members).await?;
    }
    let (at, member) = (test.cluster.gateway_address(&name)?, Member::Gateway(name));
    // What the first sessions bring with them is not counted against the others.
    let warm = open_many(at, &grants, users).await?;
    drop(warm);
    tokio::time::sleep(WARM_UP).await;
    let before = resident_bytes(test, &member)?;
    let begun = Instant::now();
    let sockets = open_many(at, &grants, count).await?;
    let opened = begun.elapsed();
    tokio::time::sleep(WARM_UP).await;
    let open = resident_bytes(test, &member)?;
    let mut tasks = JoinSet::new();
    for mut socket in sockets {
        tasks.spawn(async move {
            loop {
                let text = socket.next().await?.to_vec();
                socket.pong(&text).await?;
            }
            #[expect(unreachable_code, reason = "names the task's type")]
            anyhow::Ok(())
        });
    }
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        Some(ended) = tasks.join_next() => bail!("a session ended: {ended:?}"),
    }
    let later = resident_bytes(test, &member)?;
    let each = |bytes: u64| (bytes.saturating_sub(before)) as f64 / count as f64 / 1024.0;
    println!("\n| idle sessions | opened in | gateway before | per session | after {length:.0?} | ended |");
    println!("| --- | --- | --- | --- | --- | --- |");
    println!(
        "| {count} | {opened:.1?} | {} MiB | {:.1} KiB | {:.1} KiB | 0 |",
        before >> 20,
        each(open),
        each(later)
    );
    tasks.abort_all();
    Ok(())
}

/// What a listener has counted.
#[derive(Debug, Default)]
struct Heard {
    events: AtomicU64,
    times: std::sync::Mutex<Option<Histogram<u64>>>,
    measuring: AtomicBool,
}

async fn listen(mut socket: Thin, heard: Arc<Heard>) -> anyhow::Result<()> {
    let mut count: u64 = 0;
    loop {
        let text = socket.next().await?;
        if text.starts_with(br#"{"type":"event""#) {
            count += 1;
            if heard.measuring.load(Ordering::Relaxed) {
                heard.events.fetch_add(1, Ordering::Relaxed);
                if count.is_multiple_of(TIMED_ONE_IN)
                    && let Some(at) = text.windows(9).position(|bytes| bytes == br#""text":"t"#)
                    && let Some(digits) = text.get(at + 9..at + 29)
                    && let Ok(sent) = String::from_utf8_lossy(digits).parse::<u64>()
                    && let Some(times) = heard.times.lock().expect("no panic").as_mut()
                {
                    times.saturating_record(micros().saturating_sub(sent).max(1));
                }
            }
            continue;
        }
        let text = text.to_vec();
        socket.pong(&text).await?;
    }
}

/// Writes at fixed times; nothing waits for an answer.
async fn write(
    at: SocketAddr,
    token: String,
    room: ConversationId,
    interval: Duration,
    first: Instant,
    ends: Instant,
) -> anyhow::Result<()> {
    let mut socket = Socket::open(at, None).await?;
    socket.hello(&token, None).await?;
    let mut due = first;
    while due < ends {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(due.into()) => {
                // The time at which it was due, not at which there was time for it.
                let late = u64::try_from(due.elapsed().as_micros())?;
                let text = format!("{:x<TEXT_BYTES$}", format!("t{:020}", micros() - late));
                let send = SendMessage {
                    conversation: room,
                    client_message_id: ClientMessageId(Uuid::now_v7()),
                    text,
                    reply_to: None,
                    forward: None,
                    first_sent: 0,
                    attachments: Vec::new(),
                };
                socket.request(Request::Send(send)).await?;
                due += interval;
            }
            received = socket.next() => {
                if let crate::client::Received::Frame(frame) = received {
                    match frame.body {
                        Body::Ping { n, .. } => { socket.request(Request::Pong { n }).await?; }
                        Body::Error { error } => bail!("a send was refused: {error:?}"),
                        _ => {}
                    }
                } else {
                    bail!("a writer's socket ended: {received:?}");
                }
            }
        }
    }
    Ok(())
}

/// One room with listeners on one gateway, and messages into it at some rates.
///
/// # Errors
/// When a socket ends or a message is refused.
pub async fn fan_out(
    test: &TestCluster,
    listeners: usize,
    rates: &[u64],
    length: Duration,
) -> anyhow::Result<()> {
    let users = 20.min(listeners.max(2));
    let grants = load::sign_up_many(test.cluster.front(), "fan", users).await?;
    let members: Vec<&SessionGrant> = grants.iter().collect();
    let room = load::make_group(test.cluster.front(), "fan", &members).await?;
    let gateways = test.cluster.gateways();
    let (first, last) = (gateways.first().context("a gateway")?, gateways.last().context("a gateway")?);
    let at = test.cluster.gateway_address(first)?;
    let elsewhere = test.cluster.gateway_address(last)?;
    let heard = Arc::new(Heard::default());
    let mut tasks = JoinSet::new();
    for socket in open_many(at, &grants, listeners).await? {
        tasks.spawn(listen(socket, Arc::clone(&heard)));
    }
    println!("\n| one room, {listeners} sockets on one gateway | deliveries/s | p50 ms | p99 ms | max ms |");
    println!("| --- | --- | --- | --- | --- |");
    for rate in rates {
        let begins = Instant::now() + Duration::from_millis(500);
        let ends = begins + WARM_UP + length;
        let count = u32::try_from(WRITERS)?;
        let interval = Duration::from_secs_f64(f64::from(count) / *rate as f64);
        let mut writers = JoinSet::new();
        for place in 0..count {
            let token = grants[place as usize % users].access_token.clone();
            let due = begins + interval * place / count;
            writers.spawn(write(elsewhere, token, room, interval, due, ends));
        }
        tokio::time::sleep_until((begins + WARM_UP).into()).await;
        *heard.times.lock().expect("no panic") = Some(Histogram::new_with_bounds(1, 60_000_000, 3)?);
        heard.events.store(0, Ordering::Relaxed);
        heard.measuring.store(true, Ordering::Relaxed);
        let measured = Instant::now();
        while let Some(done) = writers.join_next().await {
            done??;
        }
        heard.measuring.store(false, Ordering::Relaxed);
        let took = measured.elapsed();
        if let Some(ended) = tasks.try_join_next() {
            bail!("a listener ended: {:?}", ended?);
        }
        let times = heard.times.lock().expect("no panic").take().context("times")?;
        let ms = |us: u64| us as f64 / 1_000.0;
        println!(
            "| {rate} messages/s of {TEXT_BYTES} bytes | {:.0} | {:.1} | {:.1} | {:.0} |",
            heard.events.load(Ordering::Relaxed) as f64 / took.as_secs_f64(),
            ms(times.value_at_quantile(0.5)),
            ms(times.value_at_quantile(0.99)),
            ms(times.max())
        );
        // What a slow gateway has not delivered yet does not count against the next rate.
        tokio::time::sleep(WARM_UP).await;
    }
    tasks.abort_all();
    Ok(())
}
