//! Changing who the members are while everything runs: add, promote, remove, replace, hand leadership over.
//!
//! Only the leader changes anything, one change at a time, each based on the membership it has applied (the proposal is
//! refused if another came first). Every change may be asked for again: what is done already is answered as done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant as _};
use quorate_proto::rpc::{self, StatusRequest, admin_client::AdminClient};

use super::room::LOOK_INTERVAL;
use super::types::{Peer, StoredMembership, Types, stored_membership_to_wire};
use super::{Node, roster, types};

/// A member that has not answered for this long does not count as there.
const SILENT_MS_MAX: u64 = 1_000;
/// A learner this many entries behind would hold commits back as a voter: about a second of full load.
pub const PROMOTE_LAG_ENTRIES_MAX: u64 = 10_000;
/// Longest wait for a change to be committed. Without a majority it is not.
const CHANGE_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for an earlier change to be applied before this one is refused.
const SETTLE_WAIT: Duration = Duration::from_secs(3);
/// How often a leader looks whether a former leader left a change half done.
const FINISH_INTERVAL: Duration = Duration::from_millis(200);
/// Longest wait for a new replica to say who it is.
const NEWCOMER_WAIT: Duration = Duration::from_secs(2);
/// Longest wait for one successor to take over; the next is tried then.
const TRANSFER_WAIT: Duration = Duration::from_millis(300);

/// Why a change was not made, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Surely not made: another replica leads, or none.
    #[error("this replica does not lead")]
    NotLeader,
    /// Surely not made, and why.
    #[error("{0}")]
    Refused(String),
    /// Proposed, but its fate was not seen: ask again.
    #[error("{0}")]
    Unknown(String),
}

type Changed = Result<rpc::StoredMembership, ChangeError>;

fn refused<T>(why: impl Into<String>) -> Result<T, ChangeError> {
    Err(ChangeError::Refused(why.into()))
}

impl Node {
    /// Adds a replica that follows without a vote.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(&self, id: u64, address: &str) -> Changed {
        let _one = self.one_change()?;
        let now = self.settled_membership().await?;
        if let Some(peer) = now.membership().get_node(&id) {
            if peer.address == address {
                return Ok(stored_membership_to_wire(&now));
            }
            return refused(format!(
                "replica {id} is a member at {}: an id keeps its address; replace it under a new id",
                peer.address
            ));
        }
        if id == 0 {
            return refused("replica ids begin at 1");
        }
        self.refuse_former(id)?;
        if let Some((other, _)) = now.membership().nodes().find(|(_, peer)| peer.address == address) {
            return refused(format!(
                "replica {other} has the address {address}: remove it first, or use another"
            ));
        }
        self.check_newcomer(id, address).await?;
        let learner = BTreeMap::from([(id, Peer { address: address.to_owned() })]);
        self.change(ChangeMembers::AddNodes(learner), &now).await
    }

    /// Gives a learner that has caught up a vote.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn promote(&self, id: u64) -> Changed {
        let _one = self.one_change()?;
        let now = self.settled_membership().await?;
        let mut voters: BTreeSet<u64> = now.voter_ids().collect();
        if !voters.insert(id) {
            return Ok(stored_membership_to_wire(&now));
        }
        self.check_learner(id, &now)?;
        self.check_majority(&voters)?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), &now).await
    }

    /// Removes a replica for ever. A leader that removes itself hands over first and then says so.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove(&self, id: u64) -> Changed {
        let _one = self.one_change()?;
        let now = self.settled_membership().await?;
        if now.membership().get_node(&id).is_none() {
            if self.former_ids()?.contains(&id) {
                return Ok(stored_membership_to_wire(&now));
            }
            return refused(format!("there is no replica {id} in this cluster"));
        }
        let mut voters: BTreeSet<u64> = now.voter_ids().collect();
        if !voters.remove(&id) {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), &now).await;
        }
        self.check_majority(&voters)?;
        if id == self.id {
            return self.leave_to_successor().await;
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), &now).await
    }

    /// Lets a learner that has caught up take a voter's place, in one joint change.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn replace(&self, old: u64, new: u64) -> Changed {
        let _one = self.one_change()?;
        let now = self.settled_membership().await?;
        let mut voters: BTreeSet<u64> = now.voter_ids().collect();
        if voters.contains(&new)
            && now.membership().get_node(&old).is_none()
            && self.former_ids()?.contains(&old)
        {
            return Ok(stored_membership_to_wire(&now));
        }
        if !voters.remove(&old) {
            return refused(format!("replica {old} is no voter of this cluster"));
        }
        if !voters.insert(new) {
            return refused(format!("replica {new} is a voter already: remove replica {old} instead"));
        }
        self.check_learner(new, &now)?;
        self.check_majority(&voters)?;
        if old == self.id {
            return self.leave_to_successor().await;
        }
        let both = vec![
            ChangeMembers::AddVoterIds(BTreeSet::from([new])),
            ChangeMembers::RemoveVoters(BTreeSet::from([old])),
        ];
        self.change(ChangeMembers::Batch(both), &now).await
    }

    /// Makes another voter the leader: this one, or with 0 the most advanced.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn transfer_leader(&self, to: u64) -> Changed {
        if self.is_leader() && to == self.id {
            return Ok(stored_membership_to_wire(&self.membership()));
        }
        let _one = self.one_change()?;
        let now = self.settled_membership().await?;
        if to != 0 {
            if !now.voter_ids().any(|id| id == to) {
                return refused(format!("replica {to} is no voter of this cluster: it cannot lead"));
            }
            if self.silent_ms().get(&to).is_none_or(|silent| *silent > SILENT_MS_MAX) {
                return refused(format!("replica {to} does not answer: it cannot lead now"));
            }
        }
        let answering = self.successors().into_iter().filter(|id| to == 0 || *id == to);
        // A transfer that fails costs an election: only those that take it are asked.
        for id in answering {
            let address = now.membership().get_node(&id).map(|peer| peer.address.clone()).unwrap_or_default();
            match self.ask(&address).await {
                Ok(status) if status.id == id && !status.stopping => {}
                _ => continue,
            }
            if self.pass_to(id).await {
                return Ok(stored_membership_to_wire(&self.membership()));
            }
            return Err(ChangeError::Unknown(format!("replica {id} did not take over in time")));
        }
        refused("no other voter is there to lead")
    }

    /// Hands leadership over if this replica has it; for its own stop. Nobody who stops as well is waited for.
    pub(super) async fn hand_over(&self) {
        if !self.is_leader() {
            return;
        }
        for successor in self.successors() {
            if self.pass_to(successor).await {
                tracing::info!(successor, "handed leadership over");
                return;
            }
            if !self.is_leader() {
                return;
            }
        }
        tracing::info!("stopping without a successor: no other voter takes over");
    }

    /// For as long as this replica runs: leadership moves from a disk that is low to one that is not, so that one low disk
    /// keeps nobody from writing.
    pub async fn leave_low_disk(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if !self.is_leader() || !self.room.is_low() {
                continue;
            }
            for successor in self.successors() {
                if !self.room.is_low_at(successor) && self.pass_to(successor).await {
                    tracing::info!(successor, "handed leadership over, storage is low here");
                    break;
                }
            }
        }
    }

    /// Transfers leadership to one replica; false when it refuses or does not lead in time.
    async fn pass_to(&self, successor: u64) -> bool {
        let mut refusals = self.refusals.subscribe();
        let mut metrics = self.raft.server_metrics();
        if self.raft.trigger().transfer_leader(successor).await.is_err() {
            return false;
        }
        let own = self.id;
        let moved = async {
            loop {
                if metrics.borrow_watched().current_leader.is_some_and(|id| id != own) {
                    return true;
                }
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::select! {
            moved = moved => moved,
            () = refusals.of(successor) => false,
            () = tokio::time::sleep(TRANSFER_WAIT) => false,
        }
    }

    /// The other voters, those that answer, the most advanced first.
    fn successors(&self) -> Vec<u64> {
        let silent = self.silent_ms();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let progress = metrics.replication.iter().flatten();
        let mut others: Vec<(Option<u64>, u64)> = progress
            .filter(|(id, _)| **id != self.id && voters.contains(id))
            .filter(|(id, _)| silent.get(id).is_some_and(|silent| *silent <= SILENT_MS_MAX))
            .map(|(id, log_id)| (log_id.as_ref().map(types::LogId::index), *id))
            .collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        others.into_iter().map(|(_, id)| id).collect()
    }

    /// The leader itself is to go: whoever leads next does it.
    async fn leave_to_successor(&self) -> Changed {
        for successor in self.successors() {
            if self.pass_to(successor).await || !self.is_leader() {
                return Err(ChangeError::NotLeader);
            }
        }
        refused(format!("replica {} leads and no other voter takes over", self.id))
    }

    /// The membership this replica goes by, committed or not.
    pub(super) fn membership(&self) -> StoredMembership {
        self.raft.server_metrics().borrow_watched().membership_config.as_ref().clone()
    }

    /// For each other member, milliseconds since it last answered this leader; empty on a follower.
    pub(super) fn silent_ms(&self) -> BTreeMap<u64, u64> {
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.iter().flatten().filter(|(id, _)| **id != self.id);
        heard
            .filter_map(|(id, at)| {
                let elapsed = (*at)?.into_inner().elapsed();
                Some((*id, u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
            })
            .collect()
    }

    /// Ids that were removed, as applied here.
    pub(super) fn former_ids(&self) -> Result<Vec<u64>, ChangeError> {
        let former = roster::former_ids(&self.store.read());
        former.map_err(|error| ChangeError::Unknown(format!("cannot read the state: {error}")))
    }

    fn refuse_former(&self, id: u64) -> Result<(), ChangeError> {
        if self.former_ids()?.contains(&id) {
            return refused(format!(
                "replica {id} was a member and was removed: ids are never used again, choose a new one"
            ));
        }
        Ok(())
    }

    fn one_change(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, ChangeError> {
        self.changing
            .try_lock()
            .or_else(|_| refused("another change of the membership is under way: try again"))
    }

    /// The membership, committed, applied here and not joint: what a change may be based on.
    async fn settled_membership(&self) -> Result<StoredMembership, ChangeError> {
        // A follower confirms reads as well; only a leader knows who answers.
        if !self.is_leader() || self.linearize().await.is_err() || !self.is_leader() {
            return Err(ChangeError::NotLeader);
        }
        let settled = async {
            loop {
                let now = self.membership();
                if self.has_applied(&now) {
                    if now.membership().get_joint_config().len() == 1 {
                        return now;
                    }
                    // A former leader left it half done, and nobody else holds the right to change.
                    let _ = self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), &now).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(SETTLE_WAIT, settled).await {
            Ok(now) => Ok(now),
            Err(_) if !self.is_leader() => Err(ChangeError::NotLeader),
            Err(_) => refused("an earlier change of the membership is not committed yet: try again"),
        }
    }

    fn has_applied(&self, membership: &StoredMembership) -> bool {
        let state = self.store.read();
        let applied = state.applied().membership.as_ref().and_then(|stored| stored.log_id);
        applied.is_some() && applied == membership.log_id().as_ref().map(types::log_id_to_wire)
    }

    fn check_learner(&self, id: u64, now: &StoredMembership) -> Result<(), ChangeError> {
        if now.membership().get_node(&id).is_none() {
            self.refuse_former(id)?;
            return refused(format!("replica {id} is no learner: add it first"));
        }
        let status = self.status(0);
        let matched = status.matched_index.get(&id).copied().unwrap_or(0);
        let lag = status.last_log_index.saturating_sub(matched);
        if lag > PROMOTE_LAG_ENTRIES_MAX {
            return refused(format!(
                "replica {id} is {lag} entries behind (it has {matched} of {}): a voter may be at most \
                 {PROMOTE_LAG_ENTRIES_MAX} behind, wait until it has caught up",
                status.last_log_index
            ));
        }
        Ok(())
    }

    /// After a change a majority of the voters must be there, or nothing could be decided any more, not even the change.
    fn check_majority(&self, voters: &BTreeSet<u64>) -> Result<(), ChangeError> {
        if voters.is_empty() {
            return refused("it is the last voter: nobody would be left to decide anything");
        }
        let silent = self.silent_ms();
        let is_there =
            |id: &u64| *id == self.id || silent.get(id).is_some_and(|silent| *silent <= SILENT_MS_MAX);
        let there = voters.iter().filter(|id| is_there(id)).count();
        let majority = voters.len() / 2 + 1;
        if there >= majority {
            return Ok(());
        }
        let missing: Vec<String> = voters.iter().filter(|id| !is_there(id)).map(u64::to_string).collect();
        refused(format!(
            "the voters would be {voters:?}, of which {majority} must answer and only {there} do{}",
            if missing.is_empty() { String::new() } else { format!(" (silent: {})", missing.join(", ")) }
        ))
    }

    async fn ask(&self, address: &str) -> Result<rpc::StatusResponse, String> {
        let channel = self
            .identity
            .channel(address)
            .map_err(|error| format!("{address:?} is no host:port: {error}"))?;
        let mut client = AdminClient::with_interceptor(channel, self.identity.clone());
        match tokio::time::timeout(NEWCOMER_WAIT, client.status(StatusRequest::default())).await {
            Ok(Ok(status)) => Ok(status.into_inner()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Replaces only who is here, or was: asked before the new one is taken in, since an id that is a member once is used up.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn check_replaced(&self, old: u64, new: u64) -> Result<(), ChangeError> {
        let now = self.settled_membership().await?;
        let is_done = now.voter_ids().any(|id| id == new) && self.former_ids()?.contains(&old);
        if is_done || now.voter_ids().any(|id| id == old) {
            return Ok(());
        }
        refused(format!("replica {old} is no voter of this cluster"))
    }

    /// A mistyped address must not become a member; nor, without certificates, a host at which anybody may say that it is that replica:
    /// everything would be sent there.
    async fn check_newcomer(&self, id: u64, address: &str) -> Result<(), ChangeError> {
        let is_near = address.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
        if !is_near && !self.identity.is_sealed() {
            return refused(format!(
                "without certificates replicas are on loopback only, and {address} is not: use 127.0.0.1:PORT, or give all replicas \
                 [tls]"
            ));
        }
        match self.ask(address).await {
            Ok(status) if status.id == id => Ok(()),
            Ok(status) => refused(format!("at {address} runs replica {}, not {id}", status.id)),
            Err(why) => refused(format!(
                "replica {id} does not answer at {address} ({why}): start it there with `replica run --join` first"
            )),
        }
    }

    async fn change(&self, changes: ChangeMembers<u64, Peer>, based_on: &StoredMembership) -> Changed {
        let expected = Precondition::LastMembershipLogId { last_membership_log_id: *based_on.log_id() };
        let proposed = self.raft.change_membership_if(changes, false, [expected]);
        let written = match tokio::time::timeout(CHANGE_WAIT, proposed).await {
            Err(_) => {
                let why =
                    format!("the change was not committed within {CHANGE_WAIT:?}: does a majority answer?");
                return Err(ChangeError::Unknown(why));
            }
            Ok(written) => written,
        };
        match written {
            Ok(_) => {
                let now = self.membership();
                tracing::info!(membership = %now.membership(), "changed the membership");
                Ok(stored_membership_to_wire(&now))
            }
            Err(RaftError::APIError(error)) => Err(why_not(error)),
            Err(RaftError::Fatal(error)) => {
                Err(ChangeError::Unknown(format!("this replica is stopping: {error}")))
            }
        }
    }

    /// Finishes what a former leader left in a joint membership. Runs for the life of the process.
    pub async fn finish_changes(&self) {
        let mut look = tokio::time::interval(FINISH_INTERVAL);
        loop {
            look.tick().await;
            if !self.is_leader() {
                continue;
            }
            let now = self.membership();
            if now.membership().get_joint_config().len() < 2 || !self.has_applied(&now) {
                continue;
            }
            let Ok(_one) = self.one_change() else { continue };
            match self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), &now).await {
                Ok(_) => tracing::info!("finished the membership change of a former leader"),
                Err(error) => tracing::debug!(%error, "did not finish a membership change"),
            }
        }
    }
}

fn why_not(error: ClientWriteError<Types>) -> ChangeError {
    match error {
        // Refused before it was appended; or the joint half is committed, which the next leader finishes.
        ClientWriteError::ForwardToLeader(_) => ChangeError::NotLeader,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
            ChangeError::Refused("another change of the membership is under way: try again".to_owned())
        }
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::UncommittedLeaderLog(_)) => {
            ChangeError::Unknown("the leader has just been elected: ask again".to_owned())
        }
        ClientWriteError::ChangeMembershipError(error) => ChangeError::Refused(error.to_string()),
        other => ChangeError::Unknown(format!("the membership changed meanwhile: ask again ({other})")),
    }
}
