//! Who leads, for how long that may be believed, and reads that no successor can have overtaken.
//!
//! Owns what is heard of leaders and of a leader's majority. Must not know how a leader comes or goes: openraft elects,
//! [`super::leader_loss`] notices deaths, [`super::membership`] hands over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use quorate_proto::rpc;
use tokio::time::Instant;

use super::{Node, ProposeError, Raft, network};
use crate::planted::{self, Bug};

/// Longest wait for a leader to confirm itself before a linearizable read is refused.
const READ_INDEX_WAIT: Duration = Duration::from_secs(2);

/// When this replica last heard from a leader that a quorum follows. Monotonic: a wall clock that is set must not look like
/// silence.
#[derive(Debug, Clone)]
pub(super) struct LeaderContact {
    started: Instant,
    /// Milliseconds after `started`; `u64::MAX` for never.
    at_ms: Arc<AtomicU64>,
    /// When any leader was last heard, followed by a quorum or not: microseconds after `started`; `u64::MAX` for never.
    heard_us: Arc<AtomicU64>,
}

impl LeaderContact {
    pub(super) fn new() -> Self {
        let never = || Arc::new(AtomicU64::new(u64::MAX));
        Self { started: Instant::now(), at_ms: never(), heard_us: never() }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A leader has just been heard, which a quorum had answered so long before. One that is cut off goes on sending
    /// heartbeats to those who are cut off with it.
    pub(super) fn heard(&self, quorum_age_ms: u64) {
        let now_us = self.now_us();
        self.heard_us.store(now_us, Ordering::Relaxed);
        if let Some(at_ms) = (now_us / 1_000).checked_sub(quorum_age_ms) {
            self.at_ms.store(at_ms, Ordering::Relaxed);
        }
    }

    /// When any leader was last heard.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        match self.heard_us.load(Ordering::Relaxed) {
            u64::MAX => None,
            heard_us => Some(self.started + Duration::from_micros(heard_us)),
        }
    }

    /// Milliseconds since then; `u64::MAX` for never.
    fn age_ms(&self) -> u64 {
        match self.at_ms.load(Ordering::Relaxed) {
            u64::MAX => u64::MAX,
            at => (self.now_us() / 1_000).saturating_sub(at),
        }
    }
}

/// Since when this replica has led in its newest term, as far as anybody asked.
#[derive(Debug, Default)]
pub(super) struct Reign(Mutex<Option<(u64, Instant)>>);

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
pub(super) struct QuorumAge(Arc<OnceLock<Raft>>);

impl QuorumAge {
    /// Consensus has started.
    pub(super) fn of(&self, raft: &Raft) {
        self.0.get_or_init(|| raft.clone());
    }

    pub(super) fn ms(&self) -> u64 {
        let Some(raft) = self.0.get() else { return u64::MAX };
        if is_own_quorum(raft) {
            return 0;
        }
        let metrics = raft.data_metrics();
        let acked = metrics.borrow_watched().last_quorum_acked;
        acked.map_or(u64::MAX, |at| u64::try_from(at.into_inner().elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Whether this replica leads and is the only voter: it is answered by itself, of which openraft writes down no time but that of
/// its election.
fn is_own_quorum(raft: &Raft) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let sets = metrics.membership_config.membership().get_joint_config();
    let is_alone = !sets.is_empty() && sets.iter().all(|set| set.len() == 1 && set.contains(&metrics.id));
    is_alone && metrics.current_leader == Some(metrics.id)
}

impl Node {
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

    /// How much of the log is on how many disks. Only a leader knows, and during a change of the voters nobody says.
    pub fn kept(&self) -> Option<rpc::Kept> {
        if !self.leads() {
            return None;
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let [voters] = &metrics.membership_config.membership().get_joint_config()[..] else { return None };
        let progress = metrics.replication.as_ref()?;
        let index = |id: &u64| progress.get(id)?.as_ref().map(super::types::LogId::index);
        let mut indexes: Vec<u64> = voters.iter().map(|id| index(id).unwrap_or(0)).collect();
        indexes.sort_unstable_by(|a, b| b.cmp(a));
        let leader = &metrics.vote.leader_id;
        Some(rpc::Kept { term: leader.term, leader_id: leader.node_id, indexes })
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

    /// Who led when the entry at this index was proposed; `None` where this replica's log does not reach so far back any more.
    pub async fn proposed_by(&self, index: u64) -> Option<u64> {
        let leader = self.raft.with_raft_state(move |state| {
            let id = state.log_ids.get(index)?;
            Some(id.committed_leader_id().node_id)
        });
        leader.await.ok().flatten()
    }

    /// The machine version by which what this leader proposes now is applied at the least. `None` before it has applied an entry
    /// of its own term: one of those before may have raised the version.
    pub fn proposes_by(&self) -> Option<u32> {
        let term = self.raft.metrics().borrow_watched().vote.leader_id.term;
        let state = self.store.read();
        let applied = state.applied();
        let is_own = |id: &rpc::LogId| id.term == term && id.node_id == self.id;
        applied.log_id.as_ref().is_some_and(is_own).then(|| applied.machine_version.max(1))
    }

    /// Milliseconds since this replica last heard from a leader, or, if it leads, since a quorum last answered it.
    pub fn leader_contact_ms(&self) -> u64 {
        if self.is_leader() {
            return self.quorum_age.ms();
        }
        self.contact.age_ms()
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
}

/// The index that a linearizable read must have applied: confirmed with a majority by this replica, the leader.
///
/// # Errors
/// In words, when it does not lead or cannot confirm it.
pub(super) async fn read_index(raft: &Raft) -> Result<u64, String> {
    let linearizer = raft.get_read_linearizer(openraft::ReadPolicy::ReadIndex).await;
    linearizer.map(|linearizer| linearizer.read_log_id().index()).map_err(|error| error.to_string())
}
