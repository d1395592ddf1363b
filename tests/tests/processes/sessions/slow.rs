//! Readers that stop reading: they cost memory within bounds, are let go in order, and nobody else feels it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use quorate_cluster::{Member, wait_until};
use quorate_proto::SUBPROTOCOL;
use quorate_proto::frame::{Body, ClientFrame, Hello, Request, Resume, ServerFrame, SincePair};
use quorate_proto::ids::{ConversationId, TopicRef, Version};
use quorate_tests::client::{Socket, rest};
use quorate_tests::harness::{TestCluster, number};
use quorate_tests::load;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::ONE_AT_A_TIME;
use super::ear::{Ear, WAIT};

/// Messages a second into the room.
const RATE: u64 = 100;
/// Before what was refused for now is sent again.
const RETRY: Duration = Duration::from_millis(200);
/// Messages under way at most: a machine that is too slow for the rate gets a lower one.
const OPEN_MAX: usize = 32;
/// Bytes of each: what one reader does not take fills the kernel's buffers within seconds.
const TEXT_BYTES: usize = 8_000;
/// A reader's receive buffer: as small as the kernel lets it be.
const RECEIVE_BUFFER_BYTES: u32 = 4_096;
/// The same of one who will read on: what waits in the kernel must then not take minutes.
const PAUSED_BUFFER_BYTES: u32 = 128 << 10;
/// One slow reader holds this much of a gateway's memory at most; the kernel's buffers are not counted here.
const MEMORY_PER_READER_BYTES: u64 = 1 << 20;
/// The gateway may use this much more for anything else, beside what it grows by under the same load without them.
const MEMORY_SPARE_BYTES: u64 = 8 << 20;
/// Latencies below this are no news, whatever they are compared with: a busy disk stalls everybody for a second or two, an election
/// as long again, and who is held up by those that do not read waits for their ten.
const LATENCY_FLOOR: Duration = Duration::from_secs(5);
/// A reader that takes nothing is closed within 10 s of its last byte. Until then the kernel's buffers fill, 4 MiB each,
/// which takes half a minute on a machine that reaches a fifth of the rate.
const CLOSED_WITHIN: Duration = Duration::from_secs(120);

/// A socket that says hello and is then read by nobody.
async fn deaf(
    at: SocketAddr,
    token: &str,
    buffer_bytes: u32,
) -> anyhow::Result<(WebSocketStream<TcpStream>, Resume, Version)> {
    use futures_util::{SinkExt as _, StreamExt as _};
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    let tcp = socket.connect(at).await?;
    let mut request = format!("ws://{at}/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (mut stream, _) = tokio_tungstenite::client_async(request, tcp).await?;
    let hello = Hello { token: token.to_owned(), ..Hello::default() };
    let frame = ClientFrame { id: 1, request: Request::Hello(hello) };
    stream.send(Message::text(serde_json::to_string(&frame)?)).await?;
    loop {
        let message = tokio::time::timeout(WAIT, stream.next()).await?.context("closed")??;
        let Message::Text(text) = message else { continue };
        let frame: ServerFrame = serde_json::from_str(&text)?;
        if let Body::Welcome(welcome) = frame.body {
            let version = welcome.conversations.first().map_or(0, |room| room.version);
            let resume = Resume { cluster: welcome.cluster, position: welcome.index, seen: welcome.index };
            return Ok((stream, resume, version));
        }
    }
}

fn resident_bytes(test: &TestCluster, gateway: &str) -> anyhow::Result<u64> {
    let (_, pid) = test.cluster.activity(&Member::Gateway(gateway.to_owned()))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.context("it is not running")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// The sum of a metric's lines that contain a text.
async fn metric(at: SocketAddr, name: &str, label: &str) -> anyhow::Result<f64> {
    let text = rest::metrics(at).await?;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_reading_are_let_go_and_cost_the_others_nothing() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("slow-readers", |mut spec| {
        spec.gateway_keys.insert("sockets_per_user_max".to_owned(), 0.into());
        spec
    })
    .await?;
    let (readers, seconds) = (number("QUORATE_SLOW_READERS", 20), number("QUORATE_SLOW_SECONDS", 6));
    let result = slow(&test, readers, seconds).await;
    test.finish(result).await
}

/// Writes at the rate for a while, and takes the time from when a message was due until its event comes back, µs.
async fn write(ear: &mut Ear, room: ConversationId, length: Duration) -> anyhow::Result<Histogram<u64>> {
    use quorate_proto::frame::{EventKind, SendMessage};
    use quorate_proto::ids::ClientMessageId;
    let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let ends = tokio::time::Instant::now() + length;
    let mut due = tokio::time::Instant::now();
    let mut open = std::collections::HashMap::new();
    let message = |id| {
        let text = "x".repeat(TEXT_BYTES);
        SendMessage {
            conversation: room,
            client_message_id: id,
            text,
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        }
    };
    // When all that is open is sent once more, under the same ids.
    let mut again: Option<tokio::time::Instant> = None;
    while due < ends || !open.is_empty() {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(again.unwrap_or(due)), if again.is_some() => {
                again = None;
                for id in open.keys() {
                    ear.say(Request::Send(message(*id))).await?;
                }
            }
            () = tokio::time::sleep_until(due), if due < ends => {
                let since = due;
                due += Duration::from_micros(1_000_000 / RATE);
                if open.len() >= OPEN_MAX {
                    continue;
                }
                let id = ClientMessageId(uuid::Uuid::now_v7());
                open.insert(id, since);
                ear.say(Request::Send(message(id))).await?;
            }
            heard = ear.hear(WAIT, |body| match body {
                Body::Event(event) => match event.kind {
                    EventKind::Message(message) => open.remove(&message.client_message_id).map(Ok),
                    _ => None,
                },
                Body::Error { error } => Some(Err(error)),
                _ => None,
            }) => match heard?.context("an event did not come back")? {
                Ok(since) => times.saturating_record(u64::try_from(since.elapsed().as_micros())?.max(1)),
                // Nobody leads just now.
                Err(error) if error.temporary => again = again.or_else(|| Some(tokio::time::Instant::now() + RETRY)),
                Err(error) => bail!("a send was refused: {error:?}"),
            },
        }
    }
    Ok(times)
}

async fn slow(test: &TestCluster, readers: usize, seconds: usize) -> anyhow::Result<()> {
    let grants = load::sign_up_many(test.cluster.front(), "r", 2).await?;
    let [writer, reader] = &grants[..] else { bail!("two people") };
    let room = load::make_group(test.cluster.front(), "slow", &[writer, reader]).await?;
    let gateway = test.cluster.gateways().into_iter().next().context("a gateway")?;
    let at = test.cluster.gateway_address(&gateway)?;
    let mut ear = Ear::open(at, writer).await?;
    let length = Duration::from_secs(u64::try_from(seconds)?);
    // The load alone: once until everything that it needs has been allocated, and once to see what it grows by.
    write(&mut ear, room, length / 2).await?;
    let fresh = resident_bytes(test, &gateway)?;
    let calm = write(&mut ear, room, length / 2).await?;
    let calm_growth = resident_bytes(test, &gateway)?.saturating_sub(fresh);

    let mut deaf_ones = Vec::new();
    for _ in 0..readers {
        deaf_ones.push(deaf(at, &reader.access_token, RECEIVE_BUFFER_BYTES).await?);
    }
    let before = resident_bytes(test, &gateway)?;
    let begun = Instant::now();
    let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut most = 0;
    let mut closed = 0.0;
    // For at least that long, and until all of them have been closed.
    while begun.elapsed() < length || (closed < readers as f64 && begun.elapsed() < CLOSED_WITHIN) {
        times.add(write(&mut ear, room, Duration::from_secs(1)).await?)?;
        most = most.max(resident_bytes(test, &gateway)?);
        closed = metric(at, "quorate_gateway_closes_total", "4101").await?;
    }
    let took = begun.elapsed();
    let rooms = metric(at, "quorate_gateway_let_go_total", "room").await?;
    let p99 = |times: &Histogram<u64>| Duration::from_micros(times.value_at_quantile(0.99));
    println!(
        "{readers} readers that stopped reading at {RATE} messages/s: {closed} closed with 4101 after at most {took:.0?}, \
         {rooms} times a room became a gap; memory {} MiB, at most {} MiB (without them it grew by {} KiB); from send to event of the others, p99: calm \
         {:.1?}, beside them {:.1?}",
        before >> 20,
        most >> 20,
        calm_growth >> 10,
        p99(&calm),
        p99(&times),
    );
    ensure!(closed >= readers as f64, "{closed} of {readers} readers were closed within {CLOSED_WITHIN:?}");
    let bound = before + MEMORY_PER_READER_BYTES * readers as u64 + calm_growth + MEMORY_SPARE_BYTES;
    ensure!(
        most <= bound,
        "the gateway's memory grew from {before} to {most} bytes, and at most {bound} are fine"
    );
    ensure!(p99(&times) <= LATENCY_FLOOR.max(2 * p99(&calm)), "the writer waited {:?}", p99(&times));
    wait_until("the sockets to be gone", WAIT, || async {
        let sessions =
            metric(at, "quorate_gateway_sessions ", "").await.map_err(|error| error.to_string())?;
        if sessions <= 1.0 { Ok(()) } else { Err(format!("{sessions} sessions")) }
    })
    .await?;
    // What was let go is not lost: each comes back and gets the rest.
    for (socket, resume, version) in deaf_ones.drain(..).take(3) {
        drop(socket);
        everything(at, &reader.access_token, resume, room, version).await?;
    }
    Ok(())
}

/// The outbox of the gateway's test below, frames: it is full soon after the kernel's buffers are.
const SMALL_OUTBOX_FRAMES: i64 = 32;
/// Until a reader that pauses is told of a gap: the kernel's buffers come first.
const GAP_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_is_told_of_a_gap_and_repairs_it_on_the_same_socket() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test =
        TestCluster::start_with("gap", |spec| spec.limit("outbox_frames_max", SMALL_OUTBOX_FRAMES)).await?;
    let result = paused(&test).await;
    test.finish(result).await
}

async fn paused(test: &TestCluster) -> anyhow::Result<()> {
    let grants = load::sign_up_many(test.cluster.front(), "g", 2).await?;
    let [writer, reader] = &grants[..] else { bail!("two people") };
    let room = load::make_group(test.cluster.front(), "gap", &[writer, reader]).await?;
    let gateway = test.cluster.gateways().into_iter().next().context("a gateway")?;
    let at = test.cluster.gateway_address(&gateway)?;
    let mut ear = Ear::open(at, writer).await?;
    let (stream, _, version) = deaf(at, &reader.access_token, PAUSED_BUFFER_BYTES).await?;
    // Until something was let go for her, and no longer: who takes nothing for 10 s is closed.
    let begun = Instant::now();
    while metric(at, "quorate_gateway_let_go_total", "room").await? < 1.0 {
        ensure!(begun.elapsed() < GAP_WITHIN, "no room became a gap within {GAP_WITHIN:?}");
        write(&mut ear, room, Duration::from_millis(500)).await?;
    }
    let pause = begun.elapsed();
    let newest = match ear.ask(Request::Open { conversation: room, signals: false }).await? {
        Body::Conversation { conversation, .. } => conversation.version,
        other => bail!("not opened: {other:?}"),
    };
    let gaps = read_on(stream, room, version, newest).await?;
    println!("after {pause:.1?} without reading: {gaps} gaps, and every version up to {newest}");
    ensure!(gaps > 0, "she read everything after {pause:?} without a gap");
    let closed = metric(at, "quorate_gateway_closes_total", "4101").await?;
    ensure!(closed < 1.0, "{closed} sockets were closed");
    Ok(())
}

/// Reads on where a reader stopped, asks for what a `gap` names, and returns how many there were: no version up to the
/// newest may be missing, and the socket must stay open.
async fn read_on(
    mut stream: WebSocketStream<TcpStream>,
    room: ConversationId,
    mut version: Version,
    newest: Version,
) -> anyhow::Result<usize> {
    use futures_util::{SinkExt as _, StreamExt as _};
    let topic = TopicRef::Conversation(room);
    let mut gaps = 0;
    let mut id = 1;
    // What was let go and is yet to come: the first and the last version of each, in order.
    let mut missing = VecDeque::<(Version, Version)>::new();
    while version < newest || !missing.is_empty() {
        let message = tokio::time::timeout(WAIT, stream.next()).await.context("nothing comes")?;
        let Message::Text(text) = message.context("the socket ended")?? else { continue };
        let frame: ServerFrame = serde_json::from_str(&text)?;
        let mut asks = None;
        match frame.body {
            Body::Event(event) if event.conversation == room => {
                ensure!(event.version == version + 1, "version {} after {version}", event.version);
                version = event.version;
            }
            Body::Gap { topic: of, from_version, to_version } if of == topic => {
                ensure!(from_version == version + 1, "a gap from {from_version} after {version}");
                ensure!(to_version >= from_version, "a gap from {from_version} to {to_version}");
                gaps += 1;
                version = to_version;
                missing.push_back((from_version, to_version));
                asks = (missing.len() == 1).then_some(from_version);
            }
            Body::Since { pages, .. } => {
                let (mut from, to) = missing.pop_front().context("nobody asked")?;
                let events = &pages.first().context("a page")?.events;
                ensure!(!events.is_empty(), "nothing is known of version {from}");
                for event in events.iter().filter(|event| event.version <= to) {
                    ensure!(event.version == from, "version {} instead of {from}", event.version);
                    from += 1;
                }
                if from <= to {
                    missing.push_front((from, to));
                }
                asks = missing.front().map(|(from, _)| *from);
            }
            Body::Bye { code, reason, .. } => bail!("closed with {code}: {reason}"),
            Body::Error { error } => bail!("refused: {error:?}"),
            Body::Ping { n, .. } => {
                id += 1;
                let pong = ClientFrame { id, request: Request::Pong { n } };
                stream.send(Message::text(serde_json::to_string(&pong)?)).await?;
            }
            _ => {}
        }
        if let Some(from) = asks {
            id += 1;
            let pairs = vec![SincePair { topic, version: from - 1 }];
            let since = ClientFrame { id, request: Request::Since { pairs, limit: 300 } };
            stream.send(Message::text(serde_json::to_string(&since)?)).await?;
        }
    }
    stream.close(None).await?;
    Ok(gaps)
}

/// Comes back and takes everything after a version, by resume or, where that is too much, by asking.
async fn everything(
    at: SocketAddr,
    token: &str,
    resume: Resume,
    room: ConversationId,
    mut version: Version,
) -> anyhow::Result<()> {
    let mut socket = Socket::open(at, None).await?;
    let welcome = socket.hello(token, Some(resume)).await?;
    let newest = welcome.conversations.iter().find(|each| each.id == room).context("the room")?.version;
    let mut ear = Ear { socket };
    while !welcome.resumed && version < newest {
        let pairs = vec![SincePair { topic: TopicRef::Conversation(room), version }];
        let Body::Since { pages, .. } = ear.ask(Request::Since { pairs, limit: 300 }).await? else {
            bail!("no page");
        };
        let events = &pages.first().context("a page")?.events;
        ensure!(!events.is_empty(), "nothing after version {version} of {newest}");
        for event in events {
            ensure!(event.version == version + 1, "version {} after {version}", event.version);
            version = event.version;
        }
    }
    while version < newest {
        let next = ear.hear(WAIT, |body| match body {
            Body::Event(event) => Some(event.version),
            _ => None,
        });
        let next = next.await?.context("the resume ended early")?;
        ensure!(next == version + 1, "version {next} after {version}");
        version = next;
    }
    ear.socket.close().await;
    Ok(())
}
