//! How a replica says it stands.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use quorate_proto::rpc;

use super::types::{self, stored_membership_to_wire};
use super::{Node, roster};

impl Node {
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
            // The vote that is on disk: `current_term` runs ahead of it, and a power cut would take it back.
            term: metrics.vote.leader_id.term,
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
            storage_low: self.room.is_low(),
            snapshot_received_bytes: self.metrics.snapshot_progress().0,
            snapshot_total_bytes: self.metrics.snapshot_progress().1,
            ..rpc::StatusResponse::default()
        }
    }
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
