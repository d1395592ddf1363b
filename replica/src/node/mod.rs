//! One replica's node: consensus over the log, the machine and the store. The only module that knows openraft.
//!
//! ```text
//!   submit ──▶ Node ──▶ openraft ──▶ log (fsync) ──▶ peers ──▶ commit ──▶ machine over store ──▶ feed, answer
//! ```

mod admission;
mod agreement;
mod clock;
mod commits;
mod film;
mod halt;
mod leader_loss;
mod leadership;
mod log_check;
mod log_dump;
pub(crate) mod log_store;
mod membership;
mod network;
mod peer_service;
mod peers;
mod recall;
mod room;
mod roster;
mod snapshots;
mod stall;
mod state_machine;
mod status;
mod ticks;
mod types;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::async_runtime::WatchReceiver as _;
use openraft::error::ClientWriteError;
use openraft::{Config, SnapshotPolicy};
use quorate_proto::rpc;

use admission::Gate;
use clock::Clocks;
use film::Film;
use halt::Halt;
use leader_loss::Evidence;
use leadership::{LeaderContact, QuorumAge, Reign};
use log_check::LogError;
use log_store::LogStore;
use network::{Network, Refusals};
use peers::Peers;
use recall::Memory;
use room::Room;
use snapshots::{check_snapshot, discard_unprovable, snapshot_log_id};
use state_machine::StateMachine;
use types::{Peer, Proposal};
use upgrade::TooNew;

use crate::config::Settings;
use crate::failure::Failure;
use crate::feed::Publisher;
use crate::metrics::Metrics;
use crate::planted;
use crate::signals::Signals;
use crate::store::{Store, StoreError};

pub use log_dump::{LogSummary, read_log};
pub use membership::{ChangeError, PROMOTE_LAG_ENTRIES_MAX};
pub use network::{Identity, MESSAGE_BYTES_MAX};
pub use peer_service::PeerService;
pub use roster::ReplicaRecord;

type Raft = openraft::Raft<types::Types, StateMachine>;

/// Entries in one append to a follower.
const APPEND_ENTRIES_MAX: u64 = 2048;
/// An idle leader moves log time on when it lags by this much, so that what is due comes to pass.
const TICK_LAG_MS: u64 = 60_000;

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
    /// Surely not applied: the disk of this replica, or of a majority, is nearly full.
    StorageLow,
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
    signals: Arc<Signals>,
    contact: LeaderContact,
    quorum_age: QuorumAge,
    reign: Reign,
    clocks: Clocks,
    evidence: Evidence,
    film: Film,
    network: Network,
    read_index_client: Mutex<Option<(u64, String, network::Client)>>,
    memory: Memory,
    room: Room,
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
        let log = LogStore::open(&log_dir, metrics.clone())?;
        let begun = log.last_log_id().is_some() || log.vote().is_some();
        let memory = Memory::open(&settings.data_dir, settings.id, begun)?;
        let store = Store::open_measured(&settings.data_dir, &settings.boot_id_file, metrics.clone())?;
        let store = Arc::new(store.apart_from_others(settings.id));
        discard_unprovable(&store, &log).await?;
        check_snapshot(&store, &log).await?;
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
        let room = Room::new(settings.data_dir.clone(), settings.storage_reserve_bytes);
        tokio::spawn(room.clone().watch(metrics.clone(), Arc::downgrade(&store)));
        let clocks = Clocks::new(settings.id, settings.clock_offset_ms);
        let (refusals, quorum_age) = (Refusals::default(), QuorumAge::default());
        let contact = LeaderContact::new();
        let film = Film::new(contact.clone());
        let network = Network {
            identity: identity.clone(),
            clocks: clocks.clone(),
            memory: memory.clone(),
            room: room.clone(),
            store: store.clone(),
            refusals: refusals.clone(),
            quorum_age: quorum_age.clone(),
            film: film.clone(),
        };
        let last = log.last_log_id().max(snapshot_log_id(&store)?);
        let found = memory.found(log.vote().as_ref(), last.as_ref());
        let raft = Raft::new(settings.id, Arc::new(config), network.clone(), log.clone(), machine)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        quorum_age.of(&raft);
        tokio::spawn(film.clone().watch(raft.clone(), clocks.clone()));
        let node = Self {
            id: settings.id,
            signals: Arc::new(Signals::new(store.clone(), metrics.clone())),
            raft,
            store,
            log,
            publisher,
            contact,
            quorum_age,
            reign: Reign::default(),
            clocks,
            evidence: Evidence::default(),
            film,
            network,
            read_index_client: Mutex::default(),
            memory,
            room,
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
        node.spawn_snapshots(settings.snapshot_log_bytes);
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
        let (evidence, film) = (self.evidence.clone(), self.film.clone());
        tokio::spawn(self.memory.clone().keep());
        tokio::spawn(async move {
            admission::run(raft.clone(), network.clone(), memory, replicas, found, gate.clone()).await;
            if gate.is_open() {
                leader_loss::watch(raft, network, id, evidence, film).await;
            }
        });
    }

    /// The service for the other replicas.
    pub fn peer_service(&self) -> PeerService {
        PeerService::new(self)
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

    /// What is said and never logged.
    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// The members' addresses, learners and this replica included.
    pub fn members(&self) -> BTreeMap<u64, String> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(id, peer)| (*id, peer.address.clone())).collect()
    }

    /// The replicas that vote: one set, or two while the membership changes.
    pub fn voter_sets(&self) -> Vec<BTreeSet<u64>> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().clone()
    }

    /// Whether the disk of this replica has too little room for more files.
    pub fn is_storage_low_for_files(&self) -> bool {
        self.room.is_low_for_files()
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
        if self.refuses_writes() {
            return Err(ProposeError::StorageLow);
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

    /// Changes of leader by which this replica came to lead since it was started, newest first.
    pub fn failovers(&self) -> Vec<rpc::Failover> {
        self.film.tell()
    }

    /// Whether too little room is left on disks for anything new to be proposed.
    fn refuses_writes(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        self.room.refuses(metrics.membership_config.membership().get_joint_config())
    }

    /// Brings the metrics of the log's writer up to date.
    pub fn measure_log(&self) {
        self.metrics.log(&self.log.figures());
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
            line = self.store.failure().happened() => Ending::Failed(line),
            reason = self.halt.reached() => Ending::Failed(reason),
            reason = consensus => {
                let told = self.told().or_else(|| self.halt.reason());
                Ending::Failed(told.unwrap_or(reason))
            }
        }
    }

    /// What storage told of a failure.
    fn told(&self) -> Option<String> {
        let failures = [self.log.failure(), self.store.failure(), self.memory.failure()];
        failures.into_iter().find_map(Failure::told)
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
}

/// The time to give to an entry proposed now: what a majority of the voters' clocks have reached.
fn log_time_ms(raft: &Raft, clocks: &Clocks) -> u64 {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    clocks.majority_ms(metrics.membership_config.membership().get_joint_config())
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
        max_in_snapshot_log_to_keep: settings.log_entries_kept,
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
mod due_tests;
#[cfg(test)]
mod film_tests;
#[cfg(test)]
mod tests;
