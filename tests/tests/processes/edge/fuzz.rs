//! Nonsense by the seed: frames and bodies that are almost right, or not at all, at a gateway with real replicas.
//!
//! Nothing may panic, hang, answer 5xx, or grow; a good session beside it must not notice. A run is repeated by its seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use quorate_cluster::Member;
use quorate_tests::client::rest;
use quorate_tests::harness::{TestCluster, number, read};
use quorate_tests::scene::leader;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::slow::{good, good_session};
use super::{cluster, gateway, nothing_broke};

/// Whatever is said is answered, or the connection ends, within this: a read may wait for a replica, two cores are busy.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// Frames that are on the way at the same time.
const FRAMES_AT_ONCE: usize = 32;
/// Memory may grow by this after the warm-up, MiB.
const GROWTH_MIB_MAX: u64 = 10;
/// The key of every conversation that is made.
const ONE_KEY: &str = "0190a5c2-7b1e-7c3d-8e4f-5a6b7c8d9e0f";
/// Of all inputs, those of the warm-up, as one in so many.
const WARM_UP_PART: usize = 4;

/// Splitmix64: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound.max(1) as u64).expect("below a usize")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A value that somebody might not have thought of.
    fn odd(&mut self) -> Value {
        match self.below(16) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(0),
            3 => json!(-1),
            4 => json!(u64::MAX),
            5 => json!(i64::MIN),
            6 => json!(1.5e300),
            7 => json!(9_007_199_254_740_993_u64),
            8 => json!(""),
            9 => json!("\u{0}\u{202e}\u{fffd}💥"),
            10 => json!("x".repeat(self.below(20_000))),
            11 => json!([]),
            12 => json!({}),
            13 => json!([[[[[[[[]]]]]]]]),
            14 => json!({"type": "send", "kind": "message", "action": "create_group"}),
            _ => json!(self.roll() % 100),
        }
    }

    /// Changes something somewhere.
    fn twist(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) if !object.is_empty() && !self.one_in(8) => {
                let key = object.keys().nth(self.below(object.len())).cloned().unwrap_or_default();
                match self.below(4) {
                    0 => drop(object.remove(&key)),
                    1 => {
                        let odd = self.odd();
                        object.insert(key, odd);
                    }
                    2 => {
                        let odd = self.odd();
                        object.insert(format!("{key}x"), odd);
                    }
                    _ => {
                        if let Some(inner) = object.get_mut(&key) {
                            self.twist(inner);
                        }
                    }
                }
            }
            Value::Array(array) if !array.is_empty() => {
                let at = self.below(array.len());
                if self.one_in(3) {
                    let copies = self.below(200);
                    let copy = array[at].clone();
                    array.extend(std::iter::repeat_n(copy, copies));
                } else {
                    self.twist(&mut array[at]);
                }
            }
            other => *other = self.odd(),
        }
    }

    /// Bytes that were once a text.
    fn garble(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, u8::try_from(self.below(256)).expect("a byte")),
                _ => {
                    let piece = bytes[at..].to_vec();
                    bytes.extend(piece);
                }
            }
        }
        bytes
    }
}

/// The frames of a client as the specification shows them.
fn frames() -> anyhow::Result<Vec<Value>> {
    let text = include_str!("../../../../proto/PROTOCOL.md");
    let after = text.split_once("### Frames of a client").context("the examples")?.1;
    let block = after.split_once("```json\n").context("a block")?.1.split_once("```").context("its end")?.0;
    Ok(block.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Routes with bodies that are right but for what is done to them.
fn bodies(room: u64) -> Vec<(&'static str, String, Value)> {
    let at = |rest: &str| format!("/api/v1/conversations/{room}{rest}");
    vec![
        ("POST", "/api/v1/conversations".into(), json!({"kind": "group", "title": "t", "members": ["ana"]})),
        ("POST", "/api/v1/conversations".into(), json!({"kind": "direct", "user": "ana"})),
        ("POST", at("/messages"), json!({"text": "hi", "reply_to": 1, "first_sent": 0})),
        ("PUT", at("/messages/1"), json!({"text": "ho", "if_revision": 0, "first_sent": 0})),
        ("POST", at("/members"), json!({"user": "ana"})),
        ("DELETE", at("/members/nobody"), json!(null)),
        ("PUT", at("/read"), json!({"sequence": 1})),
        ("GET", at("/messages?before=9&limit=3"), json!(null)),
        ("GET", "/api/v1/users?pattern=a*&limit=5".into(), json!(null)),
        ("GET", "/api/v1/me?min_index=1".into(), json!(null)),
        ("POST", "/api/v1/sessions/refresh".into(), json!(null)),
        // Too short: refused before it is hashed.
        ("POST", "/api/v1/accounts".into(), json!({"name": "fuzz", "password": "short", "device": "d"})),
    ]
}

type Ws = WebSocketStream<TcpStream>;

async fn dial(at: SocketAddr, token: Option<&str>) -> anyhow::Result<Ws> {
    let mut request = format!("ws://{at}/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "quorate.v1.json".parse()?);
    let stream = TcpStream::connect(at).await?;
    let (mut socket, _) = client_async(request, stream).await?;
    if let Some(token) = token {
        socket.send(Message::text(json!({"type": "hello", "id": 1, "token": token}).to_string())).await?;
        match tokio::time::timeout(ANSWER_WAIT, socket.next()).await.context("no welcome in time")? {
            Some(Ok(message)) if message.to_text()?.contains("welcome") => {}
            other => bail!("not welcome: {other:?}"),
        }
    }
    Ok(socket)
}

/// Twisted frames on sockets of a session, and on sockets that have not said hello.
async fn fuzz_frames(
    at: SocketAddr,
    token: String,
    mut dice: Dice,
    inputs: Arc<AtomicU64>,
    end: u64,
) -> anyhow::Result<u64> {
    let (frames, mut closed) = (frames()?, 0);
    let mut socket = None;
    let mut stranger = false;
    while inputs.load(Ordering::Relaxed) < end {
        let mut open = match socket.take() {
            Some(open) => open,
            None => {
                stranger = dice.one_in(4);
                dial(at, (!stranger).then_some(token.as_str())).await?
            }
        };
        let mut alive = true;
        for _ in 0..if stranger { 1 } else { FRAMES_AT_ONCE } {
            inputs.fetch_add(1, Ordering::Relaxed);
            let mut frame = dice.pick(&frames).clone();
            for _ in 0..=dice.below(3) {
                dice.twist(&mut frame);
            }
            // The session itself is not what is fuzzed away: a second hello is told so, once in a while.
            if frame["type"] == "hello" && !dice.one_in(20) {
                frame["type"] = json!("open");
            }
            let text = frame.to_string();
            let message = match dice.below(200) {
                0 => Message::Binary(Bytes::from(dice.garble(&text))),
                1 => match Utf8Bytes::try_from(dice.garble(&text)) {
                    Ok(garbled) => Message::Text(garbled),
                    Err(_) => continue,
                },
                2 => Message::text(format!("[{}]", vec![text; dice.below(20)].join(","))),
                _ => Message::text(text),
            };
            if socket_says(&mut open, message).await.is_err() {
                alive = false;
                break;
            }
        }
        // A number that nothing else has: its answer says that all before it was taken.
        let mark = 1 << 40 | dice.roll() >> 32;
        let ask = json!({"type": "since", "id": mark, "pairs": []}).to_string();
        alive = alive && socket_says(&mut open, Message::text(ask)).await.is_ok();
        let answered = tokio::time::timeout(ANSWER_WAIT, answers_to(&mut open, mark)).await;
        alive = answered.context("a socket hangs")? && alive;
        if alive && !stranger {
            socket = Some(open);
        } else {
            closed += 1;
        }
    }
    Ok(closed)
}

async fn socket_says(socket: &mut Ws, message: Message) -> anyhow::Result<()> {
    Ok(tokio::time::timeout(ANSWER_WAIT, socket.send(message)).await.context("a socket takes nothing")??)
}

/// Reads until the answer or the end; whether it was the answer.
async fn answers_to(socket: &mut Ws, id: u64) -> bool {
    let wanted = format!("\"reply\":{id}");
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.contains(&wanted) => return true,
            Message::Close(_) => return false,
            _ => {}
        }
    }
    false
}

/// One answer of a connection that is kept: its status, and whether the connection goes on.
async fn answer(stream: &mut TcpStream) -> anyhow::Result<Option<(u16, bool)>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&buffer[..count]);
    };
    let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
    let status: u16 = text.get(9..12).context("a status")?.parse()?;
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(Ok(0), str::parse)?;
    let mut body = head.len() - end;
    while body < length {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return Ok(Some((status, false)));
        }
        body += count;
    }
    Ok(Some((status, !text.contains("connection: close"))))
}

/// What came of the calls that were well-formed HTTP.
#[derive(Default)]
struct Called {
    successes: u64,
    /// Answers that nobody leads: right only while that is so.
    leaderless: u64,
}

/// Twisted bodies, paths and headers.
async fn fuzz_bodies(
    at: SocketAddr,
    token: String,
    room: u64,
    mut dice: Dice,
    inputs: Arc<AtomicU64>,
    end: u64,
) -> anyhow::Result<Called> {
    let (bodies, mut called) = (bodies(room), Called::default());
    let mut kept: Option<TcpStream> = None;
    while inputs.fetch_add(1, Ordering::Relaxed) < end {
        let (method, path, body) = dice.pick(&bodies).clone();
        let mut path = path;
        if dice.one_in(4) {
            let garbled = dice.garble(&path);
            // A space would end the path, and a line the header.
            path = garbled
                .iter()
                .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '%' })
                .collect();
            path.insert(0, '/');
        }
        let body = if body.is_null() {
            Vec::new()
        } else {
            let mut twisted = body;
            if !dice.one_in(10) {
                dice.twist(&mut twisted);
            }
            if dice.one_in(10) { dice.garble(&twisted.to_string()) } else { twisted.to_string().into_bytes() }
        };
        let kind = if dice.one_in(20) { "text/plain" } else { "application/json" };
        // Made once, whatever comes: memory that grows with what a user has would hide what grows by itself.
        let own = if path == "/api/v1/conversations" { ONE_KEY } else { "" };
        let key = if dice.one_in(20) { "nonsense" } else { own };
        let key = if key.is_empty() { String::new() } else { format!("idempotency-key: {key}\r\n") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n{key}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut bytes = request.into_bytes();
        bytes.extend(body);
        if dice.one_in(100) {
            // A broken head: whatever comes, the connection is used no more.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes = dice.garble(&text);
            bytes.extend(b"\r\n\r\n");
            kept = None;
            let mut stream = TcpStream::connect(at).await?;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let said =
                tokio::time::timeout(ANSWER_WAIT, answer(&mut stream)).await.context("a call hangs")??;
            let status = said.map_or(0, |(status, _)| status);
            ensure!(status < 500 || status == 503, "{status} to {}", String::from_utf8_lossy(&bytes));
            called.leaderless += u64::from(status == 503);
            continue;
        }
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => TcpStream::connect(at).await?,
        };
        let _ = stream.write_all(&bytes).await;
        let said = tokio::time::timeout(ANSWER_WAIT, answer(&mut stream)).await;
        let said = said.with_context(|| format!("a call hangs: {}", String::from_utf8_lossy(&bytes)))??;
        if let Some((status, goes_on)) = said {
            ensure!(status < 500 || status == 503, "{status} to {}", String::from_utf8_lossy(&bytes));
            called.leaderless += u64::from(status == 503);
            called.successes += u64::from(status < 300);
            if goes_on {
                kept = Some(stream);
            }
        }
    }
    Ok(called)
}

/// Resident memory of a process, MiB.
fn memory_mib(test: &TestCluster, member: &Member) -> anyhow::Result<u64> {
    let (_, pid) = test.cluster.activity(member)?;
    let status = read(format!("/proc/{}/status", pid.context("it runs")?).as_ref())?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_and_harms_nobody() -> anyhow::Result<()> {
    // Each input a line would be the larger part of the work; and sockets that are closed for what they said come back at
    // once.
    let keys = toml::toml! {
        access_log = false
        sessions_per_second = 0
    };
    let test = cluster("fuzz", keys).await?;
    let result = fuzz(&test).await;
    test.finish(result).await
}

async fn fuzz(test: &TestCluster) -> anyhow::Result<()> {
    let a = gateway(test, "a")?;
    let all = number("QUORATE_FUZZ_INPUTS", 20_000);
    let seed = number("QUORATE_FUZZ_SEED", 1) as u64;
    let (socket, room) = good_session(a).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let session = tokio::spawn(good(socket, room, Arc::clone(&stop)));
    let eve = rest::sign_up(a, "eve").await?;
    let own = quorate_tests::load::make_group(a, "eve's", &[&eve]).await?;
    let inputs = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut before = 0;
    let (mut closed, mut called) = (0, Called::default());
    let (_, first_term) = leader(test).await?;
    for (phase, end) in [(1, all / WARM_UP_PART), (2, all)] {
        if phase == 2 {
            before = memory_mib(test, &Member::Gateway("a".to_owned()))?;
        }
        let end = end as u64;
        let dice = |place: u64| Dice(seed.wrapping_mul(1_000).wrapping_add(phase * 10 + place));
        let token = || eve.access_token.clone();
        let one = tokio::spawn(fuzz_frames(a, token(), dice(1), Arc::clone(&inputs), end));
        let two = tokio::spawn(fuzz_frames(a, token(), dice(2), Arc::clone(&inputs), end));
        let three = tokio::spawn(fuzz_bodies(a, token(), own, dice(3), Arc::clone(&inputs), end));
        closed += one.await?.context("frames")? + two.await?.context("frames")?;
        let three = three.await?.context("bodies")?;
        called.successes += three.successes;
        called.leaderless += three.leaderless;
    }
    let after = memory_mib(test, &Member::Gateway("a".to_owned()))?;
    stop.store(true, Ordering::Relaxed);
    let (slowest, acks) = session.await?.context("the good session")?;
    let (_, last_term) = leader(test).await?;
    let Called { successes, leaderless } = called;
    println!(
        "seed {seed}: {} inputs in {:?}, {closed} sockets closed, {successes} calls were right; memory {before} -> {after} MiB; \
         beside it {acks} acks, the slowest {slowest:?}",
        inputs.load(Ordering::Relaxed),
        begun.elapsed()
    );
    ensure!(closed > 0 && successes > 0 && acks > 0, "one part of it proved nothing");
    ensure!(leaderless == 0 || last_term > first_term, "{leaderless} calls were answered 503 for nothing");
    ensure!(after <= before + GROWTH_MIB_MAX, "memory grew from {before} to {after} MiB");
    nothing_broke(test)
}
