//! One replica's node: consensus over the log, the machine and the store. The only module that knows openraft.
//!
//! ```text
//!   submit ──▶ Node ──▶ openraft ──▶ log (fsync) ──▶ peers ──▶ commit ──▶ machine over store ──▶ feed, answer
//! ```

pub(crate) mod log_store;
mod network;
mod peer_service;
mod state_machine;
mod types;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::error::ClientWriteError;
use openraft::{Config, ServerState, SnapshotPolicy};
use quorate_proto::rpc;
use tokio::time::Instant;

use log_store::LogStore;
use network::Network;
use state_machine::StateMachine;
use types::{Peer, Proposal, stored_membership_to_wire};

use crate::config::Settings;
use crate::feed::Publisher;
use crate::metrics::Metrics;
use crate::planted::{self, Bug};
use crate::store::{Store, StoreError};

pub use network::{Identity, MESSAGE_BYTES_MAX, channel};
pub use peer_service::PeerService;

type Raft = openraft::Raft<types::Types, StateMachine>;

/// A snapshot is taken when the log has grown by this much since the last, or by the last one's size if that is more.
const SNAPSHOT_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// How often the log's size is looked at.
const SNAPSHOT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Entries kept behind a snapshot for followers that are a little late.
const LOGS_BEHIND_SNAPSHOT: u64 = 10_000;
/// Entries in one append to a follower.
const APPEND_ENTRIES_MAX: u64 = 2048;
/// Longest wait for a successor when the leader stops in order.
const TRANSFER_WAIT: Duration = Duration::from_millis(1_000);

/// Wall clock, ms since the Unix epoch.
pub fn now_ms() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(now_ms) = crate::simulation::wall_ms() {
        return now_ms;
    }
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// When this replica last heard from a leader. Monotonic: a wall clock that is set must not look like silence.
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

    /// A leader has just been heard.
    fn heard(&self) {
        self.at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Milliseconds since then; `u64::MAX` for never.
    fn age_ms(&self) -> u64 {
        match self.at_ms.load(Ordering::Relaxed) {
            u64::MAX => u64::MAX,
            at => self.now_ms().saturating_sub(at),
        }
    }
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory does not serve.
    #[error(
        "cannot open the log in {dir}: {source}. If the disk was damaged, replace this replica under a new id"
    )]
    Log {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
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
    metrics: Metrics,
}

impl Node {
    /// Opens the data directory and starts consensus. Serves nobody yet.
    ///
    /// # Errors
    /// When the directory cannot be used, is damaged, or the settings are wrong.
    pub async fn start(settings: &Settings, metrics: Metrics) -> Result<Self, StartError> {
        planted::this_is_replica(settings.id);
        let log_dir = settings.data_dir.join("log");
        let log =
            LogStore::open(&log_dir).map_err(|source| StartError::Log { dir: log_dir.clone(), source })?;
        let store = Arc::new(Store::open(&settings.data_dir, &settings.boot_id_file)?);
        discard_unprovable(&store, &log).await?;
        let publisher = Publisher::new(store.read().applied());
        let machine = StateMachine::new(store.clone(), publisher.clone(), metrics.clone());
        let identity = Identity::new(&settings.cluster, settings.id)
            .map_err(|_| StartError::Settings("the cluster id must be printable ASCII".to_owned()))?;
        let config = raft_config(settings).map_err(StartError::Settings)?;
        let raft = Raft::new(settings.id, Arc::new(config), Network::new(identity), log.clone(), machine)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let contact = LeaderContact::new();
        let node = Self { id: settings.id, raft, store, log, publisher, contact, metrics };
        node.spawn_snapshots();
        Ok(node)
    }

    /// The service for the other replicas.
    pub fn peer_service(&self) -> PeerService {
        PeerService::new(self.raft.clone(), self.store.clone(), self.contact.clone())
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
        let members: BTreeMap<u64, Peer> =
            members.iter().map(|(id, address)| (*id, Peer { address: address.clone() })).collect();
        self.raft.initialize(members).await.map_err(|error| error.to_string())
    }

    /// Whether this replica leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// The leading replica and its address, as far as this one knows.
    pub fn leader(&self) -> Option<(u64, String)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        let address = metrics.membership_config.get_node(&id).map(|peer| peer.address.clone());
        Some((id, address.unwrap_or_default()))
    }

    /// Milliseconds since this replica last heard from a leader, or, if it leads, since a quorum last answered it.
    pub fn leader_contact_ms(&self) -> u64 {
        if self.is_leader() {
            let metrics = self.raft.data_metrics();
            let acked = metrics.borrow_watched().last_quorum_acked;
            return acked.map_or(u64::MAX, |at| {
                u64::try_from(at.into_inner().elapsed().as_millis()).unwrap_or(u64::MAX)
            });
        }
        self.contact.age_ms()
    }

    /// Proposes commands in one append; yields what became of each, in order.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] when nothing was proposed at all.
    pub async fn propose(
        &self,
        commands: Vec<Bytes>,
    ) -> Result<impl Stream<Item = Result<rpc::Outcome, ProposeError>> + Send + use<>, ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader);
        }
        let log_time_ms = now_ms();
        let proposals = commands.into_iter().map(|command| Proposal { log_time_ms, command });
        let results = self.raft.client_write_many(proposals).await.map_err(|_| ProposeError::Unknown)?;
        Ok(results.map(|result| match result {
            Ok(Ok(written)) => written.response.map(|outcome| *outcome).ok_or(ProposeError::Unknown),
            // Refused before it was appended.
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NotLeader),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }))
    }

    /// Waits until everything committed before this call is applied here. Only the leader can (read-index).
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] when this replica cannot confirm that it leads.
    pub async fn linearize(&self) -> Result<(), ProposeError> {
        if planted::is(Bug::StaleRead) {
            return Ok(());
        }
        let confirmed = self.raft.ensure_linearizable(openraft::ReadPolicy::ReadIndex).await;
        confirmed.map(|_| ()).map_err(|_| ProposeError::NotLeader)
    }

    /// How this replica stands.
    pub fn status(&self, hash_index: u64) -> rpc::StatusResponse {
        let watched = self.raft.metrics();
        let metrics = watched.borrow_watched().clone();
        let (applied, hash, at) = {
            let state = self.store.read();
            let applied = state.applied().clone();
            let at = if hash_index == 0 { applied.index().unwrap_or(0) } else { hash_index };
            let hash = state.hash_at(at).unwrap_or_default();
            (applied, hash, at)
        };
        let index_of = |id: &Option<types::LogId>| id.as_ref().map_or(0, types::LogId::index);
        let matched = metrics.replication.iter().flatten();
        rpc::StatusResponse {
            id: self.id,
            role: role(metrics.state).to_owned(),
            term: metrics.current_term,
            leader_id: metrics.current_leader.unwrap_or(0),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            commit_index: index_of(&metrics.cluster_committed),
            applied_index: applied.index().unwrap_or(0),
            snapshot_index: index_of(&metrics.snapshot),
            purged_index: index_of(&metrics.purged),
            log_time_ms: applied.log_time_ms,
            hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            hash_index: at,
            membership: Some(stored_membership_to_wire(&metrics.membership_config)),
            matched_index: matched.map(|(id, log_id)| (*id, index_of(log_id))).collect(),
            checkpoint_index: self.store.checkpoint_index().unwrap_or(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..rpc::StatusResponse::default()
        }
    }

    /// Bytes of the Raft log on disk.
    pub fn log_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    /// Completes when consensus has stopped by itself, with the reason: the replica must end then.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "consensus has stopped".to_owned();
            }
        }
    }

    /// Hands leadership over if this replica has it, stops consensus and closes the state in order.
    ///
    /// # Errors
    /// When the state cannot be written; the log still has everything.
    pub async fn stop(&self) -> Result<(), StoreError> {
        self.hand_over().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        self.store.close().await
    }

    /// Makes the most advanced follower the leader and waits until it is.
    async fn hand_over(&self) {
        if !self.is_leader() {
            return;
        }
        let successor = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
            let progress = metrics.replication.iter().flatten();
            progress
                .filter(|(id, _)| **id != self.id && voters.contains(id))
                .max_by_key(|(_, log_id)| log_id.as_ref().map(types::LogId::index))
                .map(|(id, _)| *id)
        };
        let Some(successor) = successor else { return };
        if self.raft.trigger().transfer_leader(successor).await.is_err() {
            return;
        }
        let wait = self.raft.wait(Some(TRANSFER_WAIT));
        let own = self.id;
        let changed =
            wait.metrics(move |m| m.current_leader.is_some_and(|id| id != own), "leadership has moved").await;
        match changed {
            Ok(_) => tracing::info!(successor, "handed leadership over"),
            Err(_) => tracing::warn!(successor, "no successor took over in time, stopping anyway"),
        }
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
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        ..Config::default()
    };
    config.validate().map_err(|error| format!("the timers contradict each other: {error}"))
}

#[cfg(test)]
mod tests;
