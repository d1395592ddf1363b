//! `quorate-bench`: what a send costs on this machine, through balancer, WebSocket, gateway, consensus and back.
//!
//! Starts a cluster of its own from the release binaries, on free ports, in a temporary folder. First figures; the comparison
//! with peers in one run comes later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::{Body, Request, SendMessage, ServerFrame};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Received, Socket};
use quorate_tests::harness::TestCluster;
use quorate_tests::{crowd, growth, load};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Conversations that the senders are spread over.
const CONVERSATIONS_MAX: usize = 64;
/// Messages a second into one room, as the peers were measured.
const FAN_OUT_RATES: [u64; 3] = [200, 600, 1_000];
/// Longest wait for one condition.
const WAIT: Duration = Duration::from_secs(60);
/// Before a figure is taken: connections and caches settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// Between two kills, with the killed replica back.
const BETWEEN_KILLS: Duration = Duration::from_secs(3);
/// After a data set was written.
const SETTLE: Duration = Duration::from_secs(5);
/// A refused send is tried again after this, when the answer names no time.
const RETRY: Duration = Duration::from_millis(50);
/// Microseconds; acks later than this count as this.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Measures sends, acks and failover on a cluster of its own.
#[derive(Debug, Parser)]
struct Options {
    /// Closed-loop senders, one row each
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    senders: Vec<usize>,
    /// Seconds a row
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Sends a second in the open loop; 0 leaves the row out
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Leader kills; 0 leaves the row out
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// Restart a replica after this many messages: in order, and after kill -9; 0 leaves the row out
    #[arg(long, default_value_t = 0)]
    restart_messages: u64,
    /// Idle sessions on one gateway, for as many seconds as a row: memory of each; 0 leaves the row out
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// One room with so many sockets on one gateway, at 200, 600 and 1,000 messages a second; 0 leaves the rows out
    #[arg(long, default_value_t = 0)]
    fanout: usize,
    /// Only the rows of sessions, `--idle` and `--fanout`
    #[arg(long)]
    only_sessions: bool,
    /// Only rows of what things cost with so many messages stored, of 500 people in 200 groups, such as 100000,1000000
    #[arg(long, value_delimiter = ',')]
    growth: Vec<u64>,
    /// Certificates between all processes, as with `deploy/up --tls`
    #[arg(long)]
    tls: bool,
    /// Bytes of a message's text
    #[arg(long, default_value_t = 300)]
    bytes: usize,
}

/// Somebody who sends to one conversation.
struct Sender {
    socket: Socket,
    conversation: ConversationId,
    text: String,
}

impl Sender {
    fn message(&self) -> SendMessage {
        SendMessage {
            conversation: self.conversation,
            client_message_id: ClientMessageId(Uuid::now_v7()),
            text: self.text.clone(),
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        }
    }

    /// The next frame; pings are answered, or the gateway would close the socket. Safe to cancel between frames.
    async fn heard(&mut self) -> anyhow::Result<Box<ServerFrame>> {
        match self.socket.next().await {
            Received::Frame(frame) => {
                if let Body::Ping { n, .. } = frame.body {
                    self.socket.request(Request::Pong { n }).await?;
                }
                Ok(frame)
            }
            Received::Closed(farewell) => bail!("a socket closed: {farewell:?}"),
        }
    }

    /// One send until its ack, under one id.
    async fn send(&mut self) -> anyhow::Result<()> {
        let message = self.message();
        loop {
            let id = self.socket.request(Request::Send(message.clone())).await?;
            let answer = loop {
                match self.heard().await? {
                    frame if frame.reply == Some(id) => break frame.body,
                    _ => {}
                }
            };
            match answer {
                Body::Ack(_) => return Ok(()),
                Body::Error { error } if error.temporary => {
                    tokio::time::sleep(error.retry_ms.map_or(RETRY, Duration::from_millis)).await;
                }
                other => bail!("a send was refused: {other:?}"),
            }
        }
    }
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LATENCY_US_MAX).clamp(1, LATENCY_US_MAX)
}

/// Microseconds since `origin`. Not [`micros`]: that one ends at the histograms' 60 s, and ten kills take longer.
fn clock_us(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// `count` senders, spread over at most 64 conversations and over the gateways by the balancer.
async fn senders(
    test: &TestCluster,
    grants: &[SessionGrant],
    count: usize,
    bytes: usize,
) -> anyhow::Result<Vec<Sender>> {
    let front = test.cluster.front();
    let rooms = count.min(CONVERSATIONS_MAX);
    let mut conversations = Vec::new();
    for room in 0..rooms {
        let members: Vec<&SessionGrant> = grants[..count].iter().skip(room).step_by(rooms).collect();
        conversations.push(load::make_group(front, &format!("bench {room}"), &members).await?);
    }
    let mut senders = Vec::new();
    for (place, grant) in grants[..count].iter().enumerate() {
        let mut socket = Socket::open(front, None).await?;
        socket.hello(&grant.access_token, None).await?;
        senders.push(Sender { socket, conversation: conversations[place % rooms], text: "x".repeat(bytes) });
    }
    Ok(senders)
}

async fn closed_loop(senders: Vec<Sender>, length: Duration) -> anyhow::Result<(f64, Histogram<u64>)> {
    let begins = Instant::now() + WARM_UP;
    let ends = begins + length;
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        tasks.spawn(async move {
            let mut latencies = histogram()?;
            while Instant::now() < ends {
                let start = Instant::now();
                sender.send().await?;
                if start >= begins {
                    latencies.record(micros(start.elapsed()))?;
                }
            }
            sender.socket.close().await;
            anyhow::Ok(latencies)
        });
    }
    let mut all = histogram()?;
    while let Some(done) = tasks.join_next().await {
        all.add(done??)?;
    }
    Ok((all.len() as f64 / length.as_secs_f64(), all))
}

/// Fixed arrival times: a slow ack delays nobody's send, and is measured from when the send was due.
async fn open_loop(senders: Vec<Sender>, rate: u64, length: Duration) -> anyhow::Result<Histogram<u64>> {
    let start = Instant::now() + WARM_UP;
    let count = u32::try_from(senders.len())?;
    let interval = Duration::from_secs_f64(f64::from(count) / rate as f64);
    let mut tasks = JoinSet::new();
    for (place, mut sender) in (0_u32..).zip(senders) {
        tasks.spawn(async move {
            let mut latencies = histogram()?;
            let mut due = start + interval * place / count;
            let ends = start + length;
            let mut open = std::collections::HashMap::new();
            while due < ends || !open.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()), if due < ends => {
                        let message = sender.message();
                        let id = sender.socket.request(Request::Send(message)).await?;
                        open.insert(id, due);
                        due += interval;
                    }
                    received = sender.heard() => {
                        let frame = received?;
                        let Some(due) = frame.reply.and_then(|id| open.remove(&id)) else { continue };
                        ensure!(matches!(frame.body, Body::Ack(_)), "a send failed: {:?}", frame.body);
                        latencies.record(micros(due.elapsed()))?;
                    }
                }
            }
            sender.socket.close().await;
            anyhow::Ok(latencies)
        });
    }
    let mut all = histogram()?;
    while let Some(done) = tasks.join_next().await {
        all.add(done??)?;
    }
    Ok(all)
}

/// Kills the leader again and again under load; the longest time without any ack around each kill, in milliseconds.
async fn failovers(test: &TestCluster, senders: Vec<Sender>, kills: usize) -> anyhow::Result<Vec<u64>> {
    let origin = Instant::now();
    let (last_ack, longest_gap) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        let (last_ack, longest_gap) = (last_ack.clone(), longest_gap.clone());
        tasks.spawn(async move {
            loop {
                sender.send().await?;
                let now = clock_us(origin);
                let before = last_ack.swap(now, Ordering::Relaxed);
                longest_gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
            }
            #[expect(unreachable_code, reason = "names the task's type")]
            anyhow::Ok(())
        });
    }
    let mut gaps = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(BETWEEN_KILLS).await;
        let (leader, _) = wait_until("a leader", WAIT, || test.cluster.leader()).await?;
        longest_gap.store(0, Ordering::Relaxed);
        test.cluster.kill(&Member::Replica(leader)).await?;
        let killed = clock_us(origin);
        let acked = wait_until("an ack after the kill", WAIT, || async {
            let (next, _) = test.cluster.leader().await?;
            let acked = last_ack.load(Ordering::Relaxed) > killed + 50_000;
            if next != leader && acked { Ok(()) } else { Err("none yet".to_owned()) }
        });
        if let Err(error) = acked.await {
            let waiting = tasks.len();
            let ended = tasks.try_join_next().map(|ended| format!("{ended:?}"));
            bail!("{error}; {waiting} senders, one that ended: {ended:?}");
        }
        tokio::time::sleep(BETWEEN_KILLS).await;
        gaps.push(longest_gap.load(Ordering::Relaxed) / 1_000);
        test.cluster.start_member(&Member::Replica(leader))?;
        if let Some(ended) = tasks.try_join_next() {
            return ended?.map(|()| Vec::new()).context("a sender ended during the kills");
        }
    }
    tasks.abort_all();
    gaps.sort_unstable();
    Ok(gaps)
}

/// Senders that fill a history.
const FILLERS: usize = 256;

/// Sends until `messages` are acknowledged.
async fn fill(senders: Vec<Sender>, messages: u64) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let sent = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        let sent = sent.clone();
        tasks.spawn(async move {
            while sent.fetch_add(1, Ordering::Relaxed) < messages {
                sender.send().await?;
            }
            sender.socket.close().await;
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(start.elapsed())
}

/// Bytes of a folder's files.
fn folder_bytes(dir: &std::path::Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Resident memory of a replica, bytes.
fn resident_bytes(test: &TestCluster, id: u16) -> anyhow::Result<u64> {
    let (_, pid) = test.cluster.activity(&Member::Replica(id))?;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.context("the replica is not running")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// How long a follower takes from its start until it has applied what was committed then and is ready.
async fn restart(test: &TestCluster, how: &str) -> anyhow::Result<()> {
    let (leader, _) = wait_until("a leader", WAIT, || test.cluster.leader()).await?;
    let id = (1..=test.cluster.replicas()).find(|id| *id != leader).context("more than one replica")?;
    let member = Member::Replica(id);
    let resident = resident_bytes(test, id)?;
    match how {
        "stopped" => test.cluster.stop(&member).await?,
        _ => test.cluster.kill(&member).await?,
    }
    let disk = folder_bytes(&test.cluster.layout().replica(id))?;
    let commit = test.cluster.replica_status(leader, 0).await.map_err(anyhow::Error::msg)?.commit_index;
    let start = Instant::now();
    test.cluster.start_member(&member)?;
    wait_until("the replica to have caught up", WAIT, || async {
        let applied = test.cluster.replica_status(id, 0).await?.applied_index;
        if applied >= commit { Ok(()) } else { Err(format!("it has applied {applied} of {commit}")) }
    })
    .await?;
    test.cluster.wait_ready(&member, WAIT).await?;
    println!(
        "| replica {id} {how}, started | {:.2} s | {} MiB before, {} MiB after | {} MiB |",
        start.elapsed().as_secs_f64(),
        resident >> 20,
        resident_bytes(test, id)? >> 20,
        disk >> 20
    );
    Ok(())
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

async fn measure(test: &TestCluster, options: &Options) -> anyhow::Result<()> {
    let most = options.senders.iter().copied().max().unwrap_or(1).max(CONVERSATIONS_MAX);
    eprintln!("making {most} accounts");
    let grants = load::sign_up_many(test.cluster.front(), "bench", most).await?;
    let length = Duration::from_secs(options.seconds);
    println!("| load | acks/s | p50 ms | p99 ms | max ms |");
    println!("| --- | --- | --- | --- | --- |");
    for count in &options.senders {
        let group = senders(test, &grants, (*count).max(1), options.bytes).await?;
        let (rate, latencies) = closed_loop(group, length).await?;
        println!(
            "| closed loop, {count} senders | {rate:.0} | {:.1} | {:.1} | {:.0} |",
            ms(latencies.value_at_quantile(0.5)),
            ms(latencies.value_at_quantile(0.99)),
            ms(latencies.max())
        );
    }
    if options.rate > 0 {
        let group = senders(test, &grants, most, options.bytes).await?;
        let latencies = open_loop(group, options.rate, length).await?;
        println!(
            "| open loop, {} sends/s | {:.0} | {:.1} | {:.1} | {:.0} |",
            options.rate,
            latencies.len() as f64 / length.as_secs_f64(),
            ms(latencies.value_at_quantile(0.5)),
            ms(latencies.value_at_quantile(0.99)),
            ms(latencies.max())
        );
    }
    if options.restart_messages > 0 {
        let group = senders(test, &grants, most.min(FILLERS), options.bytes).await?;
        let took = fill(group, options.restart_messages).await?;
        println!("\n{} messages of {} bytes in {took:.0?}", options.restart_messages, options.bytes);
        println!("| restart | to serving | memory | disk |\n| --- | --- | --- | --- |");
        restart(test, "stopped").await?;
        restart(test, "killed -9").await?;
    }
    if options.kills > 0 {
        let group = senders(test, &grants, CONVERSATIONS_MAX, options.bytes).await?;
        let gaps = failovers(test, group, options.kills).await?;
        println!("\nlongest gap between acks, leader killed -9 {} times, ms: {gaps:?}", options.kills);
    }
    Ok(())
}

/// The same row on top of more and more.
async fn grow(test: &TestCluster, steps: &[u64]) -> anyhow::Result<()> {
    eprintln!("making people and groups");
    let mut set = growth::DataSet::new(test).await?;
    println!("p50 / p99 of each:\n\n{}", growth::HEAD);
    for messages in steps {
        let took = set.fill(test, *messages).await?;
        eprintln!("{messages} messages after {took:.0?} more");
        // What was written last is being checkpointed and indexed.
        tokio::time::sleep(SETTLE).await;
        println!("{}", set.row(test).await?);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let with_tls = |mut spec: quorate_cluster::Spec| {
        spec.tls = options.tls;
        // Thousands of sessions of a few users.
        spec.gateway_keys.insert("sockets_per_user_max".to_owned(), 0.into());
        spec
    };
    let test = TestCluster::start_with("bench", with_tls).await?;
    let measured = async {
        let length = Duration::from_secs(options.seconds);
        if options.idle > 0 {
            crowd::idle(&test, options.idle, length).await?;
        }
        if options.fanout > 0 {
            crowd::fan_out(&test, options.fanout, &FAN_OUT_RATES, length).await?;
        }
        if !options.growth.is_empty() {
            return grow(&test, &options.growth).await;
        }
        if options.only_sessions { Ok(()) } else { measure(&test, &options).await }
    };
    let measured = measured.await;
    test.finish(measured).await
}
