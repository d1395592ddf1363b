//! The world: hosts that run by turns, a millisecond each, on one thread.
//!
//! Every host has a runtime of its own with a paused clock: a crash drops the runtime and with it every task of the process,
//! at once. A paused host is not run; its clock jumps when it goes on, as a process finds after SIGSTOP.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_proto::rpc::admin_server::AdminServer;
use quorate_proto::rpc::chat_server::ChatServer;
use quorate_proto::rpc::raft_server::RaftServer;
use quorate_replica::config::Settings;
use quorate_replica::metrics::Metrics;
use quorate_replica::node::{Identity, MESSAGE_BYTES_MAX, Node};
use quorate_replica::service::admin::AdminService;
use quorate_replica::service::chat::ChatService;
use quorate_replica::service::token::Signer;
use quorate_replica::simulation::{self, Dialing, Disk, Host};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http;
use tower::util::MapResponseLayer;

use crate::net::{self, HostId, Net};

/// The wall clocks begin here: 2026.
const WALL_BEGINS_MS: u64 = 1_767_225_600_000;
/// One turn of a host.
const TURN: Duration = Duration::from_millis(1);
pub const CLUSTER: &str = "simulated";
/// Timers of the product's default.
const HEARTBEAT_INTERVAL_MS: u64 = 60;
const ELECTION_TIMEOUT_MIN_MS: u64 = 250;
const ELECTION_TIMEOUT_MAX_MS: u64 = 400;

type Disks = Rc<RefCell<HashMap<PathBuf, Disk>>>;

/// What a host sees around itself.
struct Surroundings {
    id: HostId,
    net: Net,
    now: Rc<Cell<u64>>,
    /// Of openraft's waits, of the disk, of the checkpoint: one must not change the other.
    rngs: RefCell<[SmallRng; 3]>,
    disks: Disks,
    /// What its wall clock is off by, ms.
    clock_off_ms: Cell<i64>,
    /// Longest sync of its disk, ms.
    sync_max_ms: Cell<u64>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host {}", self.id)
    }
}

impl Host for Surroundings {
    fn id(&self) -> u64 {
        self.id
    }

    fn wall_ms(&self) -> u64 {
        (WALL_BEGINS_MS + self.now.get()).saturating_add_signed(self.clock_off_ms.get())
    }

    fn chance(&self) -> u64 {
        self.rngs.borrow_mut()[0].next_u64()
    }

    fn sync_delay(&self) -> Duration {
        Duration::from_millis(self.rngs.borrow_mut()[1].random_range(0..=self.sync_max_ms.get()))
    }

    fn checkpoint_delay(&self) -> Duration {
        Duration::from_millis(self.rngs.borrow_mut()[2].random_range(1..=CHECKPOINT_DELAY_MAX_MS))
    }

    fn dial(&self, address: &str) -> Dialing {
        self.net.dial(self.id, address)
    }

    fn disks(&self) -> Disks {
        self.disks.clone()
    }
}

/// How long the checkpoint's thread may leave a job alone, ms.
const CHECKPOINT_DELAY_MAX_MS: u64 = 20;
/// Sync of a good disk, ms.
pub const SYNC_MAX_MS: u64 = 2;

/// What a replica's process tells the world.
#[derive(Default)]
pub struct Told {
    pub node: Option<Arc<Node>>,
    /// It ended by itself, and why.
    pub ended: Option<String>,
}

/// A machine with one process on it.
pub struct Machine {
    pub id: HostId,
    surroundings: Rc<Surroundings>,
    runtime: Option<Runtime>,
    paused_since: Option<u64>,
    pub told: Arc<Mutex<Told>>,
}

impl Machine {
    pub fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    pub fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// Of its process, for what runs there. What is asked of it from here goes through [`Self::ask`].
    pub fn node(&self) -> Option<Arc<Node>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).node.clone()
    }

    /// Asks its node something as if on that machine: elsewhere the clock is the real one, and some answers begin a wait.
    /// `None` while no node runs.
    pub fn ask<T>(&self, question: impl FnOnce(&Node) -> T) -> Option<T> {
        let (node, runtime) = (self.node()?, self.runtime.as_ref()?);
        let _context = runtime.enter();
        simulation::enter(Some(self.surroundings.clone()));
        let answer = question(&node);
        drop(node);
        simulation::enter(None);
        Some(answer)
    }

    pub fn ended(&self) -> Option<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).ended.clone()
    }
}

/// Everything.
pub struct World {
    pub net: Net,
    pub rng: SmallRng,
    now: Rc<Cell<u64>>,
    disks: Disks,
    seed: u64,
    lives: u64,
    dir: TempDir,
    pub machines: Vec<Machine>,
    pub replicas: u64,
}

impl World {
    /// Machines without processes: replicas 1 to `replicas`, gateways from 101.
    pub fn new(seed: u64, replicas: u64, gateways: u64) -> std::io::Result<Self> {
        // Snapshots and markers are real files, in memory where there is such a folder.
        let memory = Path::new("/dev/shm");
        let builder = tempfile::Builder::new().prefix("quorate-simulation-").to_owned();
        let dir = if memory.is_dir() { builder.tempdir_in(memory)? } else { builder.tempdir()? };
        fs::write(dir.path().join("secret"), [7; 32])?;
        let mut world = Self {
            net: Net::new(seed ^ 0x006e_6574_776f_726b),
            rng: SmallRng::seed_from_u64(seed),
            now: Rc::default(),
            disks: Rc::default(),
            seed,
            lives: 0,
            dir,
            machines: Vec::new(),
            replicas,
        };
        for id in (1..=replicas).chain(101..101 + gateways) {
            let machine = world.machine(id);
            world.machines.push(machine);
        }
        for id in 1..=replicas {
            let home = world.home(id);
            fs::create_dir_all(&home)?;
            world.disks.borrow_mut().insert(home, Disk::default());
            world.new_boot(id)?;
        }
        Ok(world)
    }

    fn machine(&mut self, id: HostId) -> Machine {
        let surroundings = Surroundings {
            id,
            net: self.net.clone(),
            now: self.now.clone(),
            rngs: RefCell::new([1, 2, 3].map(|kind: u64| {
                SmallRng::seed_from_u64(self.seed.wrapping_mul(1009).wrapping_add(id << 8 | kind))
            })),
            disks: self.disks.clone(),
            clock_off_ms: Cell::new(0),
            sync_max_ms: Cell::new(SYNC_MAX_MS),
        };
        Machine {
            id,
            surroundings: Rc::new(surroundings),
            runtime: None,
            paused_since: None,
            told: Arc::default(),
        }
    }

    fn home(&self, id: HostId) -> PathBuf {
        self.dir.path().join(format!("replica-{id}"))
    }

    fn new_boot(&mut self, id: HostId) -> std::io::Result<()> {
        self.lives += 1;
        fs::write(self.dir.path().join(format!("boot-{id}")), format!("boot {}", self.lives))
    }

    /// Simulated ms since the beginning.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// A clock that tasks may keep.
    pub fn of(&mut self, id: HostId) -> &mut Machine {
        self.machines.iter_mut().find(|machine| machine.id == id).expect("hosts are never removed")
    }

    pub fn set_clock_off(&mut self, id: HostId, off_ms: i64) {
        self.of(id).surroundings.clock_off_ms.set(off_ms);
    }

    pub fn set_sync_max(&mut self, id: HostId, sync_max_ms: u64) {
        self.of(id).surroundings.sync_max_ms.set(sync_max_ms);
    }

    /// Starts a process on a host.
    pub fn run<F: Future<Output = ()> + Send + 'static>(&mut self, id: HostId, process: F) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        // Which of several waiters tokio wakes first, and where its `select!` begins.
        #[cfg(tokio_unstable)]
        builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&self.rng.random::<u64>().to_be_bytes()));
        let runtime = builder.build().expect("a runtime without IO needs nothing from the system");
        let machine = self.of(id);
        assert!(machine.runtime.is_none(), "one process a host");
        simulation::enter(Some(machine.surroundings.clone()));
        runtime.spawn(process);
        simulation::enter(None);
        machine.runtime = Some(runtime);
    }

    /// Starts a replica's process.
    pub fn start_replica(&mut self, id: HostId) {
        self.net.power_on(id);
        let accepted = self.net.listen(id);
        let settings = self.settings(id);
        let machine = self.of(id);
        machine.told = Arc::default();
        let told = machine.told.clone();
        self.run(id, replica(settings, accepted, told));
    }

    fn settings(&self, id: HostId) -> Settings {
        Settings {
            id,
            cluster: CLUSTER.to_owned(),
            data_dir: self.home(id),
            listen: ([127, 0, 0, 1], 1).into(),
            http_listen: None,
            cluster_secret_file: self.dir.path().join("secret"),
            boot_id_file: self.dir.path().join(format!("boot-{id}")),
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
            election_timeout_min_ms: ELECTION_TIMEOUT_MIN_MS,
            election_timeout_max_ms: ELECTION_TIMEOUT_MAX_MS,
            clock_offset_ms: 0,
            join: false,
            machine_version_max: quorate_replica::machine::VERSION_MAX,
            worker_threads: None,
            export_direct: false,
            key_times: quorate_replica::config::KeyTimes::default(),
            tls: None,
            // The machine's own disk is none of the simulation's.
            storage_reserve_bytes: 0,
            // Never by itself in a run of seconds: snapshots and purges are among the faults.
            snapshot_log_bytes: u64::MAX,
            log_entries_kept: 10_000,
            replicas: (1..=self.replicas).map(|id| (id, net::address(id))).collect(),
        }
    }

    /// Ends a process as `kill -9` does. What it had written but not synced may be there or not.
    pub fn kill(&mut self, id: HostId) -> Lost {
        self.end_process(id);
        let log = self.disk(id).log;
        let unsynced = log.unsynced();
        let keep = if self.rng.random_bool(0.5) { unsynced } else { self.rng.random_range(0..=unsynced) };
        Lost { unsynced, gone: log.crash(keep) }
    }

    /// Cuts a host's power: the log keeps what was synced and perhaps some more, the checkpoint is damaged.
    pub fn cut_power(&mut self, id: HostId) -> Lost {
        self.net.power_off(id);
        self.end_process(id);
        let Disk { log, map } = self.disk(id);
        let unsynced = log.unsynced();
        let keep = if self.rng.random_bool(0.7) { 0 } else { self.rng.random_range(0..=unsynced) };
        let rng = &mut self.rng;
        map.power_cut(|| rng.random_bool(0.7));
        self.new_boot(id).expect("the folder of the run can be written");
        Lost { unsynced, gone: log.crash(keep) }
    }

    fn disk(&self, id: HostId) -> Disk {
        self.disks.borrow().get(&self.home(id)).cloned().unwrap_or_default()
    }

    /// Drops a host's process with everything in it.
    pub fn end_process(&mut self, id: HostId) {
        let machine = self.of(id);
        machine.paused_since = None;
        let surroundings = machine.surroundings.clone();
        let Some(runtime) = machine.runtime.take() else { return };
        simulation::enter(Some(surroundings));
        {
            let _context = runtime.enter();
            machine.told.lock().unwrap_or_else(PoisonError::into_inner).node = None;
        }
        runtime.shutdown_background();
        simulation::enter(None);
        self.net.hang_up(id);
    }

    pub fn pause(&mut self, id: HostId) {
        let now = self.now();
        self.of(id).paused_since.get_or_insert(now);
    }

    pub fn resume(&mut self, id: HostId) {
        let now = self.now();
        let machine = self.of(id);
        let Some(since) = machine.paused_since.take() else { return };
        let Some(runtime) = &machine.runtime else { return };
        simulation::enter(Some(machine.surroundings.clone()));
        runtime.block_on(async move { tokio::time::advance(Duration::from_millis(now - since)).await });
        simulation::enter(None);
    }

    /// Runs something on a host, outside of time: it must not wait for others.
    pub fn spawn_on<F: Future<Output = ()> + Send + 'static>(&mut self, id: HostId, task: F) {
        let machine = self.of(id);
        let Some(runtime) = &machine.runtime else { return };
        simulation::enter(Some(machine.surroundings.clone()));
        runtime.spawn(task);
        simulation::enter(None);
    }

    /// One millisecond.
    pub fn turn(&mut self) {
        self.now.set(self.now.get() + 1);
        self.net.advance(self.now.get());
        // Who comes first changes.
        let count = self.machines.len();
        let first = self.rng.random_range(0..count);
        for place in 0..count {
            let machine = &self.machines[(first + place) % count];
            if machine.paused_since.is_some() {
                continue;
            }
            let Some(runtime) = &machine.runtime else { continue };
            simulation::enter(Some(machine.surroundings.clone()));
            runtime.block_on(async { tokio::time::sleep(TURN).await });
            simulation::enter(None);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let hosts: Vec<HostId> = self.machines.iter().map(|machine| machine.id).collect();
        for id in hosts {
            self.end_process(id);
        }
        self.net.close();
    }
}

/// What a crash took.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    pub unsynced: usize,
    pub gone: usize,
}

/// The life of a replica's process: as `quorate_replica::run`, with simulated listeners.
async fn replica(
    settings: Settings,
    accepted: tokio::sync::mpsc::Receiver<net::SimStream>,
    told: Arc<Mutex<Told>>,
) {
    let tell = |reason: String| told.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(reason);
    let node = match Node::start(&settings, Metrics::default()).await {
        Ok(node) => Arc::new(node),
        Err(error) => return tell(format!("did not start: {error}")),
    };
    let signer = match Signer::new(&settings.cluster, &settings.cluster_secret_file, settings.key_times) {
        Ok(signer) => Arc::new(signer),
        Err(error) => return tell(error),
    };
    told.lock().unwrap_or_else(PoisonError::into_inner).node = Some(node.clone());
    let peers = RaftServer::new(node.peer_service())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let chat = ChatServer::new(ChatService::new(node.clone(), signer))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let admin = AdminServer::new(AdminService::new(node.clone(), &settings));
    // Real time must not leak in: hyper writes today's date where there is none, and its headers' size would depend on it.
    let dated = MapResponseLayer::new(|mut response: http::Response<tonic::body::Body>| {
        response.headers_mut().insert(http::header::DATE, http::HeaderValue::from_static("simulated"));
        response
    });
    let served = tonic::transport::Server::builder()
        .layer(dated)
        .http2_keepalive_interval(Some(Duration::from_millis(500)))
        .http2_keepalive_timeout(Some(Duration::from_secs(2)))
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .add_service(peers)
        .add_service(chat)
        .add_service(admin)
        .serve_with_incoming(ReceiverStream::new(accepted).map(Ok::<_, std::io::Error>));
    tokio::spawn(served);
    let watched = settings.clone();
    let own = Identity::new(&settings.cluster, settings.id).expect("the cluster's id is ASCII");
    tokio::spawn(quorate_replica::form_cluster(node.clone(), settings, own));
    if let Err(error) = node.watch_peers(&watched) {
        return tell(error.to_string());
    }
    let ending = node.failed().await;
    tell(format!("ended by itself: {ending:?}"));
}
