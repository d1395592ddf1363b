//! Clients that say nothing, or too slowly: each is let go within ten seconds, and nobody else notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::http::Call;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Body, Request, SendMessage};
use quorate_proto::ids::ClientMessageId;
use quorate_tests::client::{Socket, rest};
use quorate_tests::harness::{TestCluster, number};
use quorate_tests::load;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{cluster, gateway, nothing_broke};

/// Within this the clients of each habit are let go: half of them at least, because a busy machine is slow to look.
const PROMISED_WAIT: Duration = Duration::from_secs(10);
/// And everybody within this.
const CLOSED_WAIT: Duration = Duration::from_secs(10 + 8);
/// All acks of the good session beside them but a hundredth: generous, for two busy cores.
const ACK_USUAL: Duration = Duration::from_secs(3);
/// And any of them, when somebody is elected meanwhile or the machine stands still.
const ACK_WAIT: Duration = Duration::from_secs(20);
/// Connections made before it is looked whether the service is up.
const CONNECTS_AT_ONCE: usize = 50;
/// Between two messages of the good session.
const PACE: Duration = Duration::from_millis(100);
/// In parts of a second, how fast the slow ones write.
const DRIP: Duration = Duration::from_millis(500);

/// What a bad client does once it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Says nothing at all.
    Silent,
    /// A header, byte by byte, without an end.
    DripsHeader,
    /// A body, byte by byte, without an end.
    DripsBody,
    /// An upgrade, and then nothing: no `hello`.
    MuteSocket,
    /// An upgrade, and then a frame byte by byte.
    DripsFrame,
}

const HABITS: [Habit; 5] =
    [Habit::Silent, Habit::DripsHeader, Habit::DripsBody, Habit::MuteSocket, Habit::DripsFrame];

/// Connects, does as it does, and returns how long it was let.
async fn bad(at: SocketAddr, habit: Habit) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(at).await?;
    let begun = Instant::now();
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nhost: {at}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: quorate.v1.json\r\n\r\n"
    );
    let (first, drips) = match habit {
        Habit::Silent => (String::new(), false),
        Habit::DripsHeader => ("GET / HTTP/1.1\r\nx-slow: ".to_owned(), true),
        Habit::DripsBody => {
            let head = "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
            (format!("{head}content-length: 1000\r\n\r\n"), true)
        }
        Habit::MuteSocket => (upgrade, false),
        // The header of a masked text frame of 125 bytes.
        Habit::DripsFrame => (upgrade, true),
    };
    stream.write_all(first.as_bytes()).await?;
    if habit == Habit::DripsFrame {
        stream.write_all(&[0x81, 0xfd, 0, 0, 0, 0]).await?;
    }
    let (mut reader, mut writer) = stream.into_split();
    let reading = async {
        let mut scratch = [0; 4096];
        while matches!(reader.read(&mut scratch).await, Ok(count) if count > 0) {}
    };
    let dripping = async {
        while drips && writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(DRIP).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::time::timeout(CLOSED_WAIT, async {
        tokio::select! {
            () = reading => {}
            () = dripping => {}
        }
    })
    .await
    .with_context(|| format!("{habit:?} was let for {CLOSED_WAIT:?}"))?;
    Ok(begun.elapsed())
}

/// Sends and waits for its acks until it is told to stop; the slowest of them.
pub(crate) async fn good(
    mut socket: Socket,
    room: u64,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<(Duration, u64)> {
    let (mut slowest, mut acks, mut late) = (Duration::ZERO, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let send = SendMessage {
            conversation: room,
            client_message_id: ClientMessageId(Uuid::now_v7()),
            text: "still here".to_owned(),
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        };
        let acked = async {
            loop {
                let id = socket.request(Request::Send(send.clone())).await?;
                match socket.answer(id).await? {
                    Body::Ack(_) => return anyhow::Ok(()),
                    // Nobody leads just now: again under the same id.
                    Body::Error { error } if error.temporary && error.code == ErrorCode::Unavailable => {
                        tokio::time::sleep(PACE).await;
                    }
                    other => bail!("no ack: {other:?}"),
                }
            }
        };
        tokio::time::timeout(ACK_WAIT, acked).await.context("no ack in time")??;
        slowest = slowest.max(begun.elapsed());
        late += u64::from(begun.elapsed() > ACK_USUAL);
        acks += 1;
        tokio::time::sleep(PACE).await;
    }
    socket.close().await;
    ensure!(late <= (acks / 100).max(1), "{late} of {acks} acks took more than {ACK_USUAL:?}");
    Ok((slowest, acks))
}

/// A good session in a room of its own.
pub(crate) async fn good_session(at: SocketAddr) -> anyhow::Result<(Socket, u64)> {
    let ana = rest::sign_up(at, "ana").await?;
    let room = load::make_group(at, "room", &[&ana]).await?;
    let mut socket = Socket::open(at, None).await?;
    socket.hello(&ana.access_token, None).await?;
    Ok((socket, room))
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_slow_clients_are_let_go_in_time_and_nobody_notices() -> anyhow::Result<()> {
    let test = cluster("slow-clients", toml::Table::new()).await?;
    let result = slow(&test).await;
    test.finish(result).await
}

async fn slow(test: &TestCluster) -> anyhow::Result<()> {
    let a = gateway(test, "a")?;
    let count = number("QUORATE_SLOW_CLIENTS", 500);
    let (socket, room) = good_session(a).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let session = tokio::spawn(good(socket, room, Arc::clone(&stop)));
    let mut clients = JoinSet::new();
    for place in 0..count {
        let habit = HABITS[place % HABITS.len()];
        // Whoever comes after these is served: they have all been taken from the kernel's queue.
        if place % CONNECTS_AT_ONCE == 0 {
            let healthy = Call::get("/healthz").deadline(ACK_WAIT).send(a).await?;
            ensure!(healthy.status() == 200, "{}", healthy.status());
        }
        clients.spawn(async move { bad(a, habit).await.map(|let_for| (habit, let_for)) });
    }
    let mut times: [Vec<Duration>; HABITS.len()] = Default::default();
    while let Some(done) = clients.join_next().await {
        let (habit, let_for) = done??;
        let place = HABITS.iter().position(|each| *each == habit).context("a habit")?;
        times[place].push(let_for);
    }
    for (habit, times) in HABITS.iter().zip(&mut times) {
        times.sort_unstable();
        let median = times.get(times.len() / 2).with_context(|| format!("nobody did {habit:?}"))?;
        ensure!(
            *median <= PROMISED_WAIT,
            "half of those that did {habit:?} were let for more than {median:?}"
        );
    }
    stop.store(true, Ordering::Relaxed);
    let (slowest, acks) = session.await?.context("the good session")?;
    println!(
        "{count} slow clients: let for {:?}; beside them {acks} acks, the slowest {slowest:?}",
        HABITS.iter().zip(times.iter().map(|times| times.last())).collect::<Vec<_>>()
    );
    ensure!(acks >= 20, "only {acks} acks: nothing was proved");
    nothing_broke(test)
}
