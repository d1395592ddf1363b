//! One replica's node: consensus over the log, the machine and the store. The only module that knows openraft.
//!
//! ```text
//!   submit ──▶ Node ──▶ openraft ──▶ log (fsync) ──▶ peers ──▶ commit ──▶ machine over store ──▶ feed, answer
//! ```

mod admission;
mod agreement;
mod clock;
mod halt;
mod leader_loss;
mod log_check;
mod log_dump;
pub(crate) mod log_store;
mod membership;
mod network;
mod peer_service;
mod peers;
mod recall;
mod roster;
mod state_machine;
mod types;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::error::ClientWriteError;
use openraft::{Config, ServerState, SnapshotPolicy};
use quorate_proto::rpc;
use tokio::time::Instant;

use admission::Gate;
use clock::Clocks;
use halt::Halt;
use leader_loss::Evidence;
use log_check::LogError;
use log_store::LogStore;
use network::{Network, Refusals};
use peers::Peers;
use recall::Memory;
use state_machine::StateMachine;
use types::{Peer, Proposal, stored_membership_to_wire};
use upgrade::TooNew;

use crate::config::Settings;
use crate::feed::Publisher;
use crate::metrics::Metrics;
use crate::planted::{self, Bug};
use crate::store::{SnapshotFile, Store, StoreError};

pub use log_dump::{LogSummary, read_log};
pub use membership::{ChangeError, PROMOTE_LAG_ENTRIES_MAX};
pub use network::{Identity, MESSAGE_BYTES_MAX};
pub use peer_service::PeerService;
pub use roster::ReplicaRecord;

type Raft = openraft::Raft<types::Types, StateMachine>;

/// A snapshot is taken when the log has grown by this much since the last, or by the last one's size if that is more.
const SNAPSHOT_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// How often the log's size is looked at.
const SNAPSHOT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Entries kept behind a snapshot for followers that are a little late.
const LOGS_BEHIND_SNAPSHOT: u64 = 10_000;
/// Entries in one append to a follower.
const APPEND_ENTRIES_MAX: u64 = 2048;
/// Longest wait for a leader to confirm itself before a linearizable read is refused.
const READ_INDEX_WAIT: Duration = Duration::from_secs(2);
/// How often the leader looks whether log time lags.
const TICK_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// An idle leader moves log time on when it lags by this much, so that what is due comes to pass.
const TICK_LAG_MS: u64 = 60_000;
/// Longest wait for a snapshot that a backup asks for: building one takes some seconds a million messages.
const FRESH_SNAPSHOT_WAIT: Duration = Duration::from_secs(300);
/// How often it is asked for.
const FRESH_SNAPSHOT_ASK_INTERVAL: Duration = Duration::from_secs(2);

/// When this replica last heard from a leader that a quorum follows. Monotonic: a wall clock that is set must not look like
/// silence.
#[derive(Debug, Clone)]
struct LeaderContact {
    started: Instant,
    /// Milliseconds after `started`; `u64::MAX` for never.
    at_ms: Arc<AtomicU64>,
}

impl LeaderContact {
    fn new() -> Self {
        Self { started: Instant::now(), at_ms: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A leader has just been heard, which a quorum had answered so long before. One that is cut off goes on sending
    /// heartbeats to those who are cut off with it.
    fn heard(&self, quorum_age_ms: u64) {
        if let Some(at_ms) = self.now_ms().checked_sub(quorum_age_ms) {
            self.at_ms.store(at_ms, Ordering::Relaxed);
        }
    }

    /// Milliseconds since then; `u64::MAX` for never.
    fn age_ms(&self) -> u64 {
        match self.at_ms.load(Ordering::Relaxed) {
            u64::MAX => u64::MAX,
            at => self.now_ms().saturating_sub(at),
        }
    }
}

/// Since when this replica has led in its newest term, as far as anybody asked.
#[derive(Debug, Default)]
struct Reign(Mutex<Option<(u64, Instant)>>);

impl Reign {
    fn age_ms(&self, term: u64) -> u64 {
        let mut known = self.0.lock().expect("nothing panics while it holds the reign");
        let since = match *known {
            Some((of, since)) if of == term => since,
            _ => known.insert((term, Instant::now())).1,
        };
        u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How long ago a quorum last answered this replica as leader. Clones share it; it is known once consensus has started.
#[derive(Debug, Clone, Default)]
struct QuorumAge(Arc<OnceLock<Raft>>);

impl QuorumAge {
    fn ms(&self) -> u64 {
        let Some(raft) = self.0.get() else { return u64::MAX };
        let metrics = raft.data_metrics();
        let acked = metrics.borrow_watched().last_quorum_acked;
        acked.map_or(u64::MAX, |at| u64::try_from(at.into_inner().elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log does not serve.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state does not serve.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// Consensus did not start.
    #[error("consensus did not start: {0}")]
    Raft(String),
}

/// What happened to a proposal that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposeError {
    /// Surely not applied: another replica leads, or none.
    NotLeader,
    /// Proposed, but its fate was not seen.
    Unknown,
}

/// A command to propose.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// An encoded `quorate.v1.Command`.
    pub command: Bytes,
    /// W3C trace context of a traced command; empty otherwise.
    pub traceparent: String,
}

impl From<Bytes> for Submitted {
    fn from(command: Bytes) -> Self {
        Self { command, traceparent: String::new() }
    }
}

/// Runs what blocks on a thread that may; in a simulation at once, so that a run replays.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    #[cfg(feature = "simulation")]
    if crate::simulation::is_running() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

/// A running replica.
#[derive(Debug)]
pub struct Node {
    id: u64,
    raft: Raft,
    store: Arc<Store>,
    log: LogStore,
    publisher: Publisher,
    contact: LeaderContact,
    quorum_age: QuorumAge,
    reign: Reign,
    clocks: Clocks,
    evidence: Evidence,
    network: Network,
    read_index_client: Mutex<Option<(u64, String, network::Client)>>,
    memory: Memory,
    gate: Gate,
    metrics: Metrics,
    identity: Identity,
    refusals: Refusals,
    /// Set once this replica stops: it takes no leadership any more.
    stopping: Arc<AtomicBool>,
    /// Held by the one change of the membership that is under way.
    changing: tokio::sync::Mutex<()>,
    machine_version_max: u32,
    /// Longest silence of a majority that a leader takes for none.
    quorum_wait_ms: u64,
    halt: Halt,
}

/// Why a replica must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its data directory must not be used; the operator replaces it.
    Refused(String),
    /// Consensus or storage has failed.
    Failed(String),
}

impl Node {
    /// Opens the data directory and starts consensus. Serves nobody yet.
    ///
    /// # Errors
    /// When the directory cannot be used, is damaged, or the settings are wrong.
    pub async fn start(settings: &Settings, metrics: Metrics) -> Result<Self, StartError> {
        planted::this_is_replica(settings.id);
        agreement::check(&settings.data_dir).map_err(StartError::Settings)?;
        let log_dir = settings.data_dir.join("log");
        let log = LogStore::open(&log_dir)?;
        let begun = log.last_log_id().is_some() || log.vote().is_some();
        let memory = Memory::open(&settings.data_dir, settings.id, begun)?;
        let store = Arc::new(Store::open(&settings.data_dir, &settings.boot_id_file)?);
        discard_unprovable(&store, &log).await?;
        let publisher = Publisher::new(store.read().applied());
        let machine_version_max = settings.machine_version_max;
        TooNew::check(store.read().applied().machine_version, machine_version_max)
            .map_err(|error| StartError::Settings(error.to_string()))?;
        let halt = Halt::default();
        let machine = StateMachine::new(store.clone(), publisher.clone(), metrics.clone())
            .supporting(machine_version_max, halt.clone());
        let identity = Identity::new(&settings.cluster, settings.id)
            .map_err(|_| StartError::Settings("the cluster id must be printable ASCII".to_owned()))?
            .with(settings.tls.clone());
        let config = raft_config(settings).map_err(StartError::Settings)?;
        let clocks = Clocks::new(settings.id, settings.clock_offset_ms);
        let (refusals, quorum_age) = (Refusals::default(), QuorumAge::default());
        let network = Network::new(
            identity.clone(),
            clocks.clone(),
            memory.clone(),
            refusals.clone(),
            quorum_age.clone(),
        );
        let last = log.last_log_id().max(snapshot_log_id(&store)?);
        let found = memory.found(log.vote().as_ref(), last.as_ref());
        let raft = Raft::new(settings.id, Arc::new(config), network.clone(), log.clone(), machine)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        quorum_age.0.get_or_init(|| raft.clone());
        let node = Self {
            id: settings.id,
            raft,
            store,
            log,
            publisher,
            contact: LeaderContact::new(),
            quorum_age,
            reign: Reign::default(),
            clocks,
            evidence: Evidence::default(),
            network,
            read_index_client: Mutex::default(),
            memory,
            gate: Gate::default(),
            metrics,
            identity,
            refusals,
            stopping: Arc::default(),
            changing: tokio::sync::Mutex::default(),
            quorum_wait_ms: settings.election_timeout_max_ms,
            machine_version_max,
            halt,
        };
        node.spawn_admission(settings.replicas.clone(), found);
        node.spawn_snapshots();
        node.spawn_ticks();
        Ok(node)
    }

    /// Compares states and versions with the other members until the node is dropped or has to stop.
    ///
    /// # Errors
    /// When the cluster id is not printable ASCII.
    pub fn watch_peers(self: &Arc<Self>, settings: &Settings) -> Result<(), StartError> {
        let identity = Identity::new(&settings.cluster, settings.id)
            .map_err(|_| StartError::Settings("the cluster id must be printable ASCII".to_owned()))?
            .with(settings.tls.clone());
        let peers = Peers::new(identity, settings.data_dir.clone());
        tokio::spawn(peers.run(Arc::downgrade(self)));
        Ok(())
    }

    /// Asks what this replica has acknowledged; it takes part only then.
    fn spawn_admission(&self, replicas: BTreeMap<u64, String>, found: rpc::Acknowledged) {
        let (id, raft, metrics) = (self.id, self.raft.clone(), self.raft.metrics());
        self.memory.learn_from(Box::new(move || {
            let metrics = metrics.borrow_watched();
            metrics.replication.as_ref().map_or_else(Vec::new, |matched| recall::led(&metrics.vote, matched))
        }));
        let (network, memory, gate) = (self.network.clone(), self.memory.clone(), self.gate.clone());
        let evidence = self.evidence.clone();
        tokio::spawn(self.memory.clone().keep());
        tokio::spawn(async move {
            admission::run(raft.clone(), network.clone(), memory, replicas, found, gate.clone()).await;
            if gate.is_open() {
                leader_loss::watch(raft, network, id, evidence).await;
            }
        });
    }

    /// The service for the other replicas.
    pub fn peer_service(&self) -> PeerService {
        PeerService::new(
            self.raft.clone(),
            self.store.clone(),
            self.contact.clone(),
            self.clocks.clone(),
            self.evidence.clone(),
            self.memory.clone(),
            self.gate.clone(),
        )
        .until(self.stopping.clone())
    }

    /// This replica's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The replicated state.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The feed's source.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Metrics of this replica.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the cluster has been formed, as far as this replica's log knows.
    pub async fn is_formed(&self) -> bool {
        self.raft.is_initialized().await.unwrap_or(false)
    }

    /// Forms the cluster: the first entry of every log names the members. Alike on each replica that does it.
    ///
    /// # Errors
    /// In words, when the log is not empty or the members do not include this replica.
    pub async fn form(&self, members: &BTreeMap<u64, String>) -> Result<(), String> {
        self.gate.decided().await?;
        let members: BTreeMap<u64, Peer> =
            members.iter().map(|(id, address)| (*id, Peer { address: address.clone() })).collect();
        self.raft.initialize(members).await.map_err(|error| error.to_string())
    }

    /// Whether this replica leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// Whether this replica leads and a majority still answers it. One that no majority has answered for the longest
    /// election timeout may have a successor whom it cannot hear: it takes no commands any more, so that whoever sends
    /// them looks elsewhere at once. It leads again when a majority answers and nobody else was elected.
    ///
    /// openraft keeps a leader in office until it hears of a newer one; Raft dissertation, 6.2, has it step down like this.
    pub fn leads(&self) -> bool {
        if !self.is_leader() {
            return false;
        }
        let silence_ms = match self.quorum_age.ms() {
            // Elected and not answered yet: its election was the answer.
            u64::MAX => self.reign.age_ms(self.raft.metrics().borrow_watched().current_term),
            silence_ms => silence_ms,
        };
        silence_ms <= self.quorum_wait_ms
    }

    /// The leading replica and its address, as far as this one knows; nobody when a majority may follow another by now.
    pub fn leader(&self) -> Option<(u64, String)> {
        if self.leader_contact_ms() > self.quorum_wait_ms && !self.leads() {
            return None;
        }
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        let address = metrics.membership_config.get_node(&id).map(|peer| peer.address.clone());
        Some((id, address.unwrap_or_default()))
    }

    /// Milliseconds since this replica last heard from a leader, or, if it leads, since a quorum last answered it.
    pub fn leader_contact_ms(&self) -> u64 {
        if self.is_leader() {
            return self.quorum_age.ms();
        }
        self.contact.age_ms()
    }

    /// The time of day, ms since the Unix epoch: this replica's clock, unless log time shows that it is wrong.
    pub fn wall_clock_ms(&self) -> u64 {
        let (own, log_time_ms) = (self.clocks.now_ms(), self.publisher.position().borrow().log_time_ms);
        if log_time_ms != 0 && own.abs_diff(log_time_ms) > 2 * TICK_LAG_MS { log_time_ms } else { own }
    }

    /// Proposes commands in one append; yields what became of each, in order.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] when nothing was proposed at all.
    pub async fn propose<C: Into<Submitted>>(
        &self,
        commands: Vec<C>,
    ) -> Result<impl Stream<Item = Result<rpc::Outcome, ProposeError>> + Send + use<C>, ProposeError> {
        if !self.leads() {
            return Err(ProposeError::NotLeader);
        }
        let log_time_ms = log_time_ms(&self.raft, &self.clocks);
        if log_time_ms == 0 && self.publisher.position().borrow().log_time_ms == 0 {
            // A new cluster whose majority has not told its clock yet: an entry of 1970 would be forgotten by the next.
            return Err(ProposeError::NotLeader);
        }
        let proposals = commands
            .into_iter()
            .map(Into::into)
            .map(|Submitted { command, traceparent }| Proposal { log_time_ms, command, traceparent });
        let results = self.raft.client_write_many(proposals).await.map_err(|_| ProposeError::Unknown)?;
        Ok(results.map(|result| match result {
            Ok(Ok(written)) => written.response.map(|outcome| *outcome).ok_or(ProposeError::Unknown),
            // Refused before it was appended.
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NotLeader),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }))
    }

    /// Waits until everything acknowledged before this call is applied here (read-index, Raft dissertation, 6.4): a leader
    /// confirms with a majority that it still leads, a follower asks the leader.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] when no leader could confirm it.
    pub async fn linearize(&self) -> Result<(), ProposeError> {
        if planted::is(Bug::StaleRead) {
            return Ok(());
        }
        let confirmed = async {
            let index = match self.leader() {
                Some((id, _)) if id == self.id => read_index(&self.raft).await.ok()?,
                Some((id, address)) => {
                    let mut client = self.reads_client(id, &address)?;
                    client.read_index(rpc::ReadIndexRequest {}).await.ok()?.into_inner().index
                }
                None => return None,
            };
            let mut position = self.publisher.position();
            position.wait_for(|at| at.index >= index).await.ok().map(|_| ())
        };
        let confirmed = tokio::time::timeout(READ_INDEX_WAIT, confirmed).await;
        confirmed.ok().flatten().ok_or(ProposeError::NotLeader)
    }

    /// The client for read indexes, kept for as long as the same replica leads.
    fn reads_client(&self, id: u64, address: &str) -> Option<network::Client> {
        let mut kept = self.read_index_client.lock().expect("nothing panics while it holds the client");
        if let Some((kept_id, kept_address, client)) = &*kept
            && *kept_id == id
            && kept_address == address
        {
            return Some(client.clone());
        }
        let client = self.network.client(id, address).ok()?;
        *kept = Some((id, address.to_owned(), client.clone()));
        Some(client)
    }

    /// How this replica stands.
    pub fn status(&self, hash_index: u64) -> rpc::StatusResponse {
        let watched = self.raft.metrics();
        let metrics = watched.borrow_watched().clone();
        let (applied, hash, at, former) = {
            let state = self.store.read();
            let applied = state.applied().clone();
            let at = if hash_index == 0 { applied.index().unwrap_or(0) } else { hash_index };
            let hash = state.hash_at(at).unwrap_or_default();
            (applied, hash, at, roster::former_ids(&state).unwrap_or_default())
        };
        // It says so only of itself: openraft keeps a leader in office until it hears of another.
        let deposed = metrics.state == ServerState::Leader && !self.leads();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let index_of = |id: &Option<types::LogId>| id.as_ref().map_or(0, types::LogId::index);
        let matched = metrics.replication.iter().flatten();
        rpc::StatusResponse {
            id: self.id,
            role: if deposed { "candidate".to_owned() } else { role(metrics.state).to_owned() },
            term: metrics.current_term,
            leader_id: metrics.current_leader.filter(|_| !deposed).unwrap_or(0),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            commit_index: index_of(&metrics.cluster_committed),
            applied_index: applied.index().unwrap_or(0),
            snapshot_index: index_of(&metrics.snapshot),
            purged_index: index_of(&metrics.purged),
            log_time_ms: applied.log_time_ms,
            hash: hex(&hash),
            hash_index: at,
            membership: Some(stored_membership_to_wire(&metrics.membership_config)),
            matched_index: matched.map(|(id, log_id)| (*id, index_of(log_id))).collect(),
            checkpoint_index: self.store.checkpoint_index().unwrap_or(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stopping: self.stopping.load(Ordering::Relaxed),
            former_ids: former,
            silent_ms: if metrics.state == ServerState::Leader { self.silent_ms() } else { BTreeMap::new() },
            machine_version: applied.machine_version.max(1),
            machine_version_max: self.machine_version_max,
            state: hex(&applied.state),
            disagreements: self.metrics.disagreements(),
            ..rpc::StatusResponse::default()
        }
    }

    /// Bytes of the Raft log on disk.
    pub fn log_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    /// Completes when consensus has stopped by itself or this replica must not go on, with the reason: it must end then.
    pub async fn failed(&self) -> Ending {
        let consensus = async {
            let mut metrics = self.raft.metrics();
            loop {
                if let Err(fatal) = &metrics.borrow_watched().running_state {
                    return fatal.to_string();
                }
                if metrics.changed().await.is_err() {
                    return "consensus has stopped".to_owned();
                }
            }
        };
        let refused = async {
            match self.gate.decided().await {
                Ok(()) => std::future::pending().await,
                Err(line) => line,
            }
        };
        // What storage says of a failure is more than what consensus repeats of it.
        tokio::select! {
            biased;
            line = refused => Ending::Refused(line),
            line = self.log.failure().happened() => Ending::Failed(line),
            line = self.memory.failure().happened() => Ending::Failed(line),
            reason = self.halt.reached() => Ending::Failed(reason),
            reason = consensus => {
                let told = self.log.failure().told().or_else(|| self.halt.reason());
                Ending::Failed(told.unwrap_or(reason))
            }
        }
    }

    /// Hands leadership over if this replica has it, stops consensus and closes the state in order.
    ///
    /// # Errors
    /// When the state cannot be written; the log still has everything.
    pub async fn stop(&self) -> Result<(), StoreError> {
        self.stopping.store(true, Ordering::Relaxed);
        self.hand_over().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        self.log.mark_synced();
        self.store.close().await
    }

    /// A snapshot that contains everything applied before this call; an existing one if it does.
    ///
    /// # Errors
    /// In words, when none can be had in time.
    pub async fn fresh_snapshot(&self) -> Result<SnapshotFile, String> {
        let wanted = self.store.read().applied().index();
        let wanted = wanted.ok_or_else(|| "this replica has no state yet".to_owned())?;
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let current = self.store.current_snapshot().map_err(|error| error.to_string())?;
            if let Some(file) = current.filter(|file| file.applied.index() >= Some(wanted)) {
                return Ok(file);
            }
            // One that was under way before does not have everything: it is asked for again.
            if asked.is_none_or(|at| at.elapsed() >= FRESH_SNAPSHOT_ASK_INTERVAL) {
                asked = Some(Instant::now());
                self.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            }
            if began.elapsed() >= FRESH_SNAPSHOT_WAIT {
                return Err(format!("no snapshot at index {wanted} within {FRESH_SNAPSHOT_WAIT:?}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Moves log time on while nobody proposes anything, and names clocks that are wrong.
    fn spawn_ticks(&self) {
        let (raft, clocks, publisher) = (self.raft.clone(), self.clocks.clone(), self.publisher.clone());
        tokio::spawn(async move {
            let position = publisher.position();
            while raft.metrics().borrow_watched().running_state.is_ok() {
                tokio::time::sleep(TICK_CHECK_INTERVAL).await;
                if !raft.is_leader() {
                    continue;
                }
                let log_time_ms = log_time_ms(&raft, &clocks);
                for (id, ahead_ms) in clocks.wrong_clocks(log_time_ms) {
                    tracing::error!(
                        id,
                        ahead_ms,
                        "a replica's clock is ahead of the majority's: set it right"
                    );
                }
                let known_ms = position.borrow().log_time_ms;
                if log_time_ms >= known_ms + TICK_LAG_MS {
                    // An entry without a command: only its time counts.
                    let tick = Proposal { log_time_ms, command: Bytes::new(), traceparent: String::new() };
                    if let Err(error) = raft.client_write(tick).await {
                        tracing::debug!(%error, "log time was not moved on");
                    }
                }
            }
        });
    }

    /// Takes a snapshot now and removes the log before it: a simulation never writes the bytes that would cause one.
    ///
    /// # Errors
    /// In words, when consensus has stopped.
    #[cfg(feature = "simulation")]
    pub async fn snapshot_and_purge(&self) -> Result<(), String> {
        let index = self.store.read().applied().index().unwrap_or(0);
        self.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
        let wait = self.raft.wait(Some(Duration::from_secs(5)));
        let built = |m: &openraft::RaftMetrics<types::Types>| {
            m.snapshot.as_ref().is_some_and(|id| id.index() >= index)
        };
        wait.metrics(built, "a snapshot is built").await.map_err(|error| error.to_string())?;
        self.raft.trigger().purge_log(index).await.map_err(|error| error.to_string())
    }

    /// Takes a snapshot whenever the log has grown enough; the log before it is purged then.
    fn spawn_snapshots(&self) {
        let (raft, log, store) = (self.raft.clone(), self.log.clone(), self.store.clone());
        tokio::spawn(async move {
            let watched = raft.metrics();
            let mut at_last = log.disk_bytes();
            loop {
                tokio::time::sleep(SNAPSHOT_CHECK_INTERVAL).await;
                if watched.borrow_watched().running_state.is_err() {
                    return;
                }
                // Purging shrinks the log: growth counts from the smallest size since.
                let now = log.disk_bytes();
                at_last = at_last.min(now);
                let last_size = store.current_snapshot().ok().flatten();
                let last_size =
                    last_size.and_then(|file| file.path.metadata().ok()).map_or(0, |meta| meta.len());
                if now - at_last >= SNAPSHOT_LOG_BYTES.max(last_size) {
                    at_last = now;
                    if raft.trigger().snapshot().await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The time to give to an entry proposed now: what a majority of the voters' clocks have reached.
fn log_time_ms(raft: &Raft, clocks: &Clocks) -> u64 {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    clocks.majority_ms(metrics.membership_config.membership().get_joint_config())
}

/// The index that a linearizable read must have applied: confirmed with a majority by this replica, the leader.
///
/// # Errors
/// In words, when it does not lead or cannot confirm it.
async fn read_index(raft: &Raft) -> Result<u64, String> {
    let linearizer = raft.get_read_linearizer(openraft::ReadPolicy::ReadIndex).await;
    linearizer.map(|linearizer| linearizer.read_log_id().index()).map_err(|error| error.to_string())
}

/// The last entry that the newest snapshot contains.
fn snapshot_log_id(store: &Store) -> Result<Option<types::LogId>, StoreError> {
    let snapshot = store.current_snapshot()?;
    Ok(snapshot.and_then(|file| file.applied.log_id.as_ref().map(types::log_id_from_wire)))
}

/// A checkpoint that claims more than log and snapshot can prove is not believed.
async fn discard_unprovable(store: &Store, log: &LogStore) -> Result<(), StoreError> {
    let applied = store.read().applied().index().unwrap_or(0);
    let snapshot = store.current_snapshot()?.and_then(|file| file.applied.index()).unwrap_or(0);
    if applied > log.last_index().max(snapshot) {
        tracing::warn!(applied, "the checkpoint is ahead of the log, rebuilding it");
        store.reset().await?;
    }
    Ok(())
}

fn role(state: ServerState) -> &'static str {
    match state {
        ServerState::Learner => "learner",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Leader => "leader",
        ServerState::Shutdown => "shutdown",
    }
}

fn raft_config(settings: &Settings) -> Result<Config, String> {
    let config = Config {
        cluster_name: settings.cluster.clone(),
        heartbeat_interval: settings.heartbeat_interval_ms,
        election_timeout_min: settings.election_timeout_min_ms,
        election_timeout_max: settings.election_timeout_max_ms,
        install_snapshot_timeout: 60_000,
        max_payload_entries: APPEND_ENTRIES_MAX,
        replication_lag_threshold: u64::MAX,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: LOGS_BEHIND_SNAPSHOT,
        // Until it is known that the disk is not an old copy.
        enable_elect: false,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        ..Config::default()
    };
    config.validate().map_err(|error| format!("the timers contradict each other: {error}"))
}

#[cfg(test)]
mod tests;
