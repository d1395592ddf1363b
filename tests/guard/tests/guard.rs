//! What a message costs, counted and held against `tests/limits.toml`: allocations, syncs and bytes. No time is measured, so a busy
//! machine fails nothing.
//!
//! A replica and a gateway run in this process, on one thread, as they are; the client allocates nothing while it is counted. What
//! runs beside them (the search index, heartbeats of leases) is kept out by taking the lowest of many rounds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use quorate_cluster::http::Call;
use quorate_cluster::wait_until;
use quorate_gateway::config::Config;
use quorate_gateway::server::Signals;
use quorate_guard::limits;
use quorate_proto::frame::{ClientFrame, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use quorate_replica::config::{KeyTimes, Settings};
use quorate_tests::bench::thin::Thin;
use quorate_tests::load;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Everything here is there within this, on a machine that may be busy with something else.
const WAIT: Duration = Duration::from_secs(60);
/// Rounds, of which the lowest counts, and sends in each.
const ROUNDS: usize = 30;
const SENDS: usize = 50;
/// Sockets that listen, in the rounds in which somebody does.
const LISTENERS: usize = 40;
/// Writers at once.
const WRITERS: usize = 64;
/// Sends of each of them.
const SENDS_EACH: usize = 20;
/// A limit that is further above what was counted than this guards little.
const SLACK: f64 = 1.6;

/// A replica and a gateway, for as long as it lives.
struct Pair {
    front: SocketAddr,
    metrics: SocketAddr,
    _stop: tokio_util::sync::DropGuard,
    _signal: watch::Sender<u32>,
    _dir: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), [7; 32]).unwrap();
        let range = quorate_cluster::PortRange::find().unwrap();
        let plan = range.plan();
        let (grpc, metrics) = (plan.replica_grpc(1), plan.replica_http(1));
        let settings = Settings {
            id: 1,
            cluster: "guard".to_owned(),
            data_dir: dir.path().join("replica"),
            listen: grpc,
            http_listen: Some(metrics),
            cluster_secret_file: dir.path().join("secret"),
            boot_id_file: "/proc/sys/kernel/random/boot_id".into(),
            clock_offset_ms: 0,
            storage_reserve_bytes: 0,
            snapshot_log_bytes: 256 << 20,
            log_entries_kept: 10_000,
            heartbeat_interval_ms: 60,
            election_timeout_min_ms: 250,
            election_timeout_max_ms: 400,
            join: false,
            machine_version_max: quorate_replica::machine::VERSION_MAX,
            worker_threads: None,
            export_direct: false,
            key_times: KeyTimes::default(),
            tls: None,
            replicas: BTreeMap::from([(1, grpc.to_string())]),
        };
        let stop = CancellationToken::new();
        tokio::spawn(quorate_replica::run(settings, stop.clone()));
        let mut config = Config {
            cluster: "guard".into(),
            name: "a".into(),
            replicas: vec![grpc.to_string()],
            sockets_per_user_max: 0,
            sessions_per_second: 0,
            access_log: false,
            // Not while it is counted.
            ping_interval_ms: 3_600_000,
            ..Config::default()
        };
        config.limits.sends_per_window_max = 0;
        config.limits.frames_per_second = 0;
        config.check().unwrap();
        let listener = TcpListener::bind(plan.gateway(0)).await.unwrap();
        let front = listener.local_addr().unwrap();
        let (signal, signals) = watch::channel(0);
        tokio::spawn(quorate_gateway::run(config, listener, Signals::Test(signals)));
        wait_until("the gateway to be ready", WAIT, || async {
            let says = Call::get("/statusz").send(front).await.map_err(|error| error.to_string())?;
            let says: serde_json::Value =
                serde_json::from_slice(says.body()).map_err(|error| error.to_string())?;
            if says["write"] == "up" { Ok(()) } else { Err(says.to_string()) }
        })
        .await
        .unwrap();
        // A new cluster raises the version of its rules step by step.
        wait_until("the newest rules", WAIT, || async {
            let version = counter(metrics, "machine_version").await;
            if version == f64::from(quorate_replica::machine::VERSION_MAX) {
                Ok(())
            } else {
                Err(version.to_string())
            }
        })
        .await
        .unwrap();
        Self { front, metrics, _stop: stop.drop_guard(), _signal: signal, _dir: dir }
    }
}

/// One of the replica's metrics.
async fn counter(at: SocketAddr, name: &str) -> f64 {
    let answer = Call::get("/metrics").send(at).await.unwrap();
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let full = format!("quorate_replica_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&full));
    line.unwrap_or_else(|| panic!("no {full} in {text}")).trim().parse().unwrap()
}

/// A signed-in socket without the comforts: whatever it does while it is counted allocates nothing.
struct Raw {
    tcp: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Raw {
    async fn open(at: SocketAddr, grant: &SessionGrant) -> Self {
        let tcp = Thin::open(at, &grant.access_token).await.unwrap().into_inner();
        Self { tcp, buffer: vec![0; 1 << 20], filled: 0 }
    }

    /// Sends what was prepared and reads until its ack and its event are there; the bytes that came.
    async fn exchange(&mut self, send: &Prepared) -> usize {
        self.tcp.write_all(&send.frame).await.unwrap();
        self.filled = 0;
        let told = |bytes: &[u8]| {
            let found = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            found(&send.ack) && found(b"\"type\":\"event\"")
        };
        while !told(&self.buffer[..self.filled]) {
            let count = self.tcp.read(&mut self.buffer[self.filled..]).await.unwrap();
            assert!(count > 0, "closed: {}", String::from_utf8_lossy(&self.buffer[..self.filled]));
            self.filled += count;
        }
        self.filled
    }
}

/// A send, as bytes.
struct Prepared {
    frame: Vec<u8>,
    ack: Vec<u8>,
}

fn prepare(room: ConversationId, numbers: std::ops::Range<u64>) -> Vec<Prepared> {
    let prepared = |id: u64| {
        let send = SendMessage {
            conversation: room,
            client_message_id: ClientMessageId(Uuid::now_v7()),
            text: "x".repeat(100),
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        };
        let text = serde_json::to_vec(&ClientFrame { id, request: Request::Send(send) }).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text);
        Prepared { frame, ack: format!("{{\"reply\":{id},\"type\":\"ack\"").into_bytes() }
    };
    numbers.map(prepared).collect()
}

/// What one send costs, in a round.
#[derive(Debug, Clone, Copy)]
struct Cost {
    allocations: f64,
    bytes: f64,
    socket_bytes: f64,
}

impl Cost {
    fn least(self, other: Self) -> Self {
        Self {
            allocations: self.allocations.min(other.allocations),
            bytes: self.bytes.min(other.bytes),
            socket_bytes: self.socket_bytes.min(other.socket_bytes),
        }
    }
}

/// The lowest of all rounds.
async fn rounds(writer: &mut Raw, room: ConversationId, first_id: u64) -> Cost {
    let mut least: Option<Cost> = None;
    for round in 0..ROUNDS as u64 {
        let first = first_id + round * SENDS as u64;
        let sends = prepare(room, first..first + SENDS as u64);
        let region = Region::new(ALLOCATOR);
        let mut socket_bytes = 0;
        for send in &sends {
            socket_bytes += writer.exchange(send).await;
        }
        let change = region.change();
        let each = |count: usize| count as f64 / SENDS as f64;
        let cost = Cost {
            allocations: each(change.allocations + change.reallocations),
            bytes: each(change.bytes_allocated),
            socket_bytes: each(socket_bytes),
        };
        least = Some(least.map_or(cost, |least| least.least(cost)));
    }
    least.unwrap()
}

/// Everything that was counted, beside its limit.
#[derive(Default)]
struct Verdict {
    above: Vec<String>,
}

impl Verdict {
    fn hold(&mut self, what: &str, counted: f64, limit: f64) {
        let loose = if counted * SLACK < limit { "  (the limit is loose)" } else { "" };
        println!("{what:40} {counted:10.2} of {limit:10.2}{loose}");
        if counted > limit {
            self.above.push(format!("{what}: {counted:.2} instead of {limit:.2} at most"));
        }
    }
}

#[tokio::test]
async fn a_message_costs_no_more_than_its_limits() {
    let limits = limits().unwrap();
    let pair = Pair::start().await;
    let people = load::sign_up_many(pair.front, "guard", 2).await.unwrap();
    let members: Vec<&SessionGrant> = people.iter().collect();
    let room = load::make_group(pair.front, "guard", &members).await.unwrap();
    let mut verdict = Verdict::default();

    let mut writer = Raw::open(pair.front, &people[0]).await;
    // Everything has been used once before it is counted.
    rounds(&mut writer, room, 1_000_000).await;
    let syncs = counter(pair.metrics, "log_syncs_total").await;
    let written = counter(pair.metrics, "log_written_bytes_total").await;
    let alone = rounds(&mut writer, room, 2_000_000).await;
    let sends = (ROUNDS * SENDS) as f64;
    let syncs = (counter(pair.metrics, "log_syncs_total").await - syncs) / sends;
    let written = (counter(pair.metrics, "log_written_bytes_total").await - written) / sends;
    verdict.hold("a send: allocations", alone.allocations, limits.send.allocations);
    verdict.hold("a send: allocated bytes", alone.bytes, limits.send.allocated_bytes);
    verdict.hold("a send: syncs of the log", syncs, limits.send.log_syncs);
    verdict.hold("a send: bytes of the log", written, limits.send.log_bytes);
    verdict.hold("a send: bytes to its writer", alone.socket_bytes, limits.send.socket_bytes);

    let mut readers = tokio::task::JoinSet::new();
    let (count, counted) = watch::channel(0_usize);
    for _ in 0..LISTENERS {
        let mut listener = Raw::open(pair.front, &people[1]).await;
        let count = count.clone();
        readers.spawn(async move {
            loop {
                let bytes = listener.tcp.read(&mut listener.buffer).await.unwrap();
                assert!(bytes > 0, "a listener was closed");
                count.send_modify(|sum| *sum += bytes);
            }
        });
    }
    rounds(&mut writer, room, 3_000_000).await;
    let before = *counted.borrow();
    let listened = rounds(&mut writer, room, 4_000_000).await;
    // The last event may be on its way still, which is too few bytes by one in some hundreds.
    let wire = (*counted.borrow() - before) as f64 / sends / LISTENERS as f64;
    let each = |with: f64, without: f64| ((with - without) / LISTENERS as f64).max(0.0);
    verdict.hold(
        "a delivery: allocations",
        each(listened.allocations, alone.allocations),
        limits.delivery.allocations,
    );
    verdict.hold(
        "a delivery: allocated bytes",
        each(listened.bytes, alone.bytes),
        limits.delivery.allocated_bytes,
    );
    verdict.hold("a delivery: bytes to the socket", wire, limits.delivery.socket_bytes);
    readers.abort_all();

    let syncs = counter(pair.metrics, "log_syncs_total").await;
    let mut writers = tokio::task::JoinSet::new();
    for place in 0..WRITERS {
        let mut writer = Raw::open(pair.front, &people[place % 2]).await;
        writers.spawn(async move {
            for send in prepare(room, 5_000_000..5_000_000 + SENDS_EACH as u64) {
                writer.exchange(&send).await;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let syncs = (counter(pair.metrics, "log_syncs_total").await - syncs) / (WRITERS * SENDS_EACH) as f64;
    verdict.hold("a send among 64: syncs of the log", syncs, limits.batch.log_syncs);

    assert!(
        verdict.above.is_empty(),
        "a message costs more than tests/limits.toml lets it: {:#?}. Find what made it dearer; if it is meant to be, raise the limit \
         and say why",
        verdict.above
    );
}
