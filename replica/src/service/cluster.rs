//! The service by which admins of the site change the cluster through a gateway.
//!
//! A gateway's certificate opens it, and decides nothing: the command that records the change is applied first, and only where the
//! replicated state finds its session living and its user an admin is anything done behind it. What guards the changes themselves is
//! the same as for operators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::cluster_change::Kind;
use quorate_proto::rpc::cluster_change_response::Result as Answer;
use quorate_proto::rpc::cluster_server::Cluster;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{
    ClusterChangeRequest, ClusterChangeResponse, ClusterChanged, Command, Outcome, RecordClusterChange,
    Rejected, StoredMembership, outcome,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::operator::{check_whole, leader_hint};
use crate::files::Files;
use crate::machine::{Tables as _, VERSION_CLUSTER, scopes};
use crate::node::{ChangeError, Node, PROMOTE_LAG_ENTRIES_MAX, ProposeError};
use crate::store::StoreError;

/// Bytes of a command's id.
const COMMAND_ID_BYTES: usize = 16;
/// A new replica that catches up within this is made a voter in the same call.
const CATCH_UP_WAIT: Duration = Duration::from_secs(3);
/// Longest wait for the first heartbeat of a new leader; without it the answer names none.
const LEADER_WAIT: Duration = Duration::from_secs(1);
/// What was recorded longer ago is not carried out when it is asked for again: nobody waits for it any more, and the cluster may have
/// been changed on purpose since. Longer than a gateway tries. Only who waits for a new replica to catch up may go on asking.
const REPLAY_AGE_MS_MAX: u64 = 60_000;
/// An admin of the site leaves at least so many voters, so that one may fail: with fewer, operators know what they do.
const VOTERS_LEFT_MIN: usize = 3;
/// How often its progress is looked at, and who leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub struct ClusterService {
    node: Arc<Node>,
    /// Asked before a replica is given a vote.
    files: Option<Arc<Files>>,
}

/// A change as far as it has come.
enum Made {
    Done(StoredMembership),
    /// The new replica has yet to receive so many entries.
    Behind(StoredMembership, u64),
}

fn refused(code: ErrorCode, message: impl Into<String>) -> Answer {
    Answer::Refused(Rejected { code: code.word().to_owned(), message: message.into(), revision: None })
}

/// Whether a change has begun and waits for its new replica, which is a member without a vote.
fn is_under_way(kind: &Kind, members: &BTreeMap<u64, String>, voters: &[BTreeSet<u64>]) -> bool {
    let (new, address) = match kind {
        Kind::Add(add) if !add.learner => (add.id, &add.address),
        Kind::Replace(replace) => (replace.new_id, &replace.address),
        _ => return false,
    };
    members.get(&new) == Some(address) && !voters.iter().all(|set| set.contains(&new))
}

impl ClusterService {
    /// A service over a node.
    pub fn new(node: Arc<Node>, files: Option<Arc<Files>>) -> Self {
        Self { node, files }
    }

    async fn decide(&self, request: ClusterChangeRequest) -> Answer {
        let Some(kind) = request.change.as_ref().and_then(|change| change.kind.clone()) else {
            return refused(ErrorCode::Invalid, "that is no change that this replica knows");
        };
        if request.command_id.len() != COMMAND_ID_BYTES {
            return refused(ErrorCode::Malformed, "a command's id has 16 bytes");
        }
        let outcome = match self.record(&request).await {
            Ok(outcome) => outcome,
            Err(answer) => return answer,
        };
        // What was recorded before is answered whoever asks by now; it is done again only for who still may.
        if outcome.replay {
            match self.may(&request) {
                Ok(true) => {}
                Ok(false) => return refused(ErrorCode::Forbidden, "only an admin may do this"),
                Err(error) => {
                    tracing::error!(%error, "a session could not be read");
                    return Answer::Unknown("the state could not be read".to_owned());
                }
            }
            let now_ms = self.node.store().read().applied().log_time_ms;
            let is_old = now_ms.saturating_sub(outcome.log_time_ms) > REPLAY_AGE_MS_MAX;
            if is_old && !is_under_way(&kind, &self.node.members(), &self.node.voter_sets()) {
                let message =
                    "this was asked for more than a minute ago: look how the cluster stands, then ask anew";
                return refused(ErrorCode::Expired, message);
            }
        }
        tracing::info!(user = request.user_id, index = outcome.index, ?kind, "an admin changes the cluster");
        let (membership, behind) = match self.make(&kind, &outcome).await {
            Ok(Made::Done(membership)) => (membership, None),
            Ok(Made::Behind(membership, behind)) => (membership, Some(behind)),
            Err(ChangeError::NotLeader) => return Answer::NotLeader(leader_hint(&self.node)),
            Err(ChangeError::Refused(why)) => return refused(ErrorCode::Conflict, why),
            Err(ChangeError::Unknown(why)) => return Answer::Unknown(why),
        };
        let leader_id = self.leader().await;
        Answer::Changed(ClusterChanged {
            membership: Some(membership),
            term: self.node.status(0).term,
            leader_id,
            index: outcome.index,
            behind,
        })
    }

    /// Who leads now; who has just handed over hears of the new leader with its first heartbeat.
    async fn leader(&self) -> u64 {
        let began = Instant::now();
        loop {
            match self.node.leader() {
                Some((id, _)) => return id,
                None if began.elapsed() >= LEADER_WAIT => return 0,
                None => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// Has the log say who asks for what. The machine decides whether she may.
    async fn record(&self, request: &ClusterChangeRequest) -> Result<Outcome, Answer> {
        if !self.node.leads() {
            return Err(Answer::NotLeader(leader_hint(&self.node)));
        }
        match self.node.proposes_by() {
            None => return Err(Answer::Unknown("the leader has just begun: ask again".to_owned())),
            Some(version) if version < VERSION_CLUSTER => {
                return Err(refused(
                    ErrorCode::Unsupported,
                    "not all replicas are upgraded: try again later",
                ));
            }
            Some(_) => {}
        }
        let change = request.change.clone();
        let command = Command {
            user_id: request.user_id,
            session_id: request.session_id.clone(),
            command_id: request.command_id.clone(),
            first_sent_ms: 0,
            action: Some(Action::RecordClusterChange(RecordClusterChange { change })),
        };
        let unseen = || Answer::Unknown("its fate was not seen".to_owned());
        let outcomes = match self.node.propose(vec![Bytes::from(command.encode_to_vec())]).await {
            Ok(outcomes) => outcomes,
            Err(ProposeError::NotLeader) => return Err(Answer::NotLeader(leader_hint(&self.node))),
            Err(ProposeError::StorageLow) => {
                return Err(refused(
                    ErrorCode::Overloaded,
                    "disks are nearly full, so that nothing can be recorded: an operator can do it (replica member)",
                ));
            }
            Err(ProposeError::Unknown) => return Err(unseen()),
        };
        match std::pin::pin!(outcomes).next().await {
            Some(Ok(outcome)) => match &outcome.result {
                Some(outcome::Result::Done(_)) => Ok(outcome),
                Some(outcome::Result::Rejected(rejected)) => Err(Answer::Refused(rejected.clone())),
                _ => Err(unseen()),
            },
            _ => Err(unseen()),
        }
    }

    /// Whether who asks is an admin who is there herself, as applied here.
    fn may(&self, request: &ClusterChangeRequest) -> Result<bool, StoreError> {
        let state = self.node.store().read();
        let now_ms = state.applied().log_time_ms;
        let session = scopes::session_of(&state, request.user_id, &request.session_id, now_ms)?;
        let is_admin = state.user(request.user_id)?.is_some_and(|user| user.is_admin());
        Ok(is_admin && session.is_some_and(|session| session.scopes == 0))
    }

    /// Makes a change whose record is applied.
    async fn make(&self, kind: &Kind, record: &Outcome) -> Result<Made, ChangeError> {
        let node = &self.node;
        match kind {
            Kind::HandOver(hand_over) => {
                // Asked for again after an answer was lost: another may have come to lead since. The term alone would not tell: the
                // same one may have been elected again.
                if hand_over.to == 0 && record.replay && node.leads() {
                    match node.proposed_by(record.index).await {
                        Some(leader) if leader != node.id() => {
                            let membership = node.status(0).membership.unwrap_or_default();
                            return Ok(Made::Done(membership));
                        }
                        Some(_) => {}
                        None => {
                            let why = "it is not known any more who led when this was asked for: look who leads, then ask anew";
                            return Err(ChangeError::Refused(why.to_owned()));
                        }
                    }
                }
                node.transfer_leader(hand_over.to).await.map(Made::Done)
            }
            Kind::Remove(remove) => {
                self.check_voters_left(remove.id)?;
                node.remove(remove.id).await.map(Made::Done)
            }
            Kind::Add(add) => {
                let now = node.add_learner(add.id, &add.address).await?;
                if add.learner {
                    return Ok(Made::Done(now));
                }
                if let Some(behind) = self.wait_ready(add.id).await? {
                    return Ok(Made::Behind(now, behind));
                }
                node.promote(add.id).await.map(Made::Done)
            }
            Kind::Replace(replace) => {
                node.check_replaced(replace.old_id, replace.new_id).await?;
                let now = node.add_learner(replace.new_id, &replace.address).await?;
                if let Some(behind) = self.wait_ready(replace.new_id).await? {
                    return Ok(Made::Behind(now, behind));
                }
                node.replace(replace.old_id, replace.new_id).await.map(Made::Done)
            }
        }
    }

    fn check_voters_left(&self, id: u64) -> Result<(), ChangeError> {
        let sets = self.node.voter_sets();
        let is_too_few = |set: &BTreeSet<u64>| set.contains(&id) && set.len() <= VOTERS_LEFT_MIN;
        if sets.iter().any(is_too_few) {
            return Err(ChangeError::Refused(format!(
                "fewer than {VOTERS_LEFT_MIN} voters would be left, and with none to spare any failure would stop all writes: replace \
                 it, or have an operator do it (replica member remove)"
            )));
        }
        Ok(())
    }

    /// Waits a while until a learner may become a voter; how many entries it lacks otherwise, 0 when only chunks of files are missing.
    async fn wait_ready(&self, id: u64) -> Result<Option<u64>, ChangeError> {
        if let Some(behind) = self.catch_up(id).await {
            return Ok(Some(behind));
        }
        match check_whole(&self.node, self.files.as_deref(), id).await {
            Ok(()) => Ok(None),
            Err(ChangeError::Refused(why)) => {
                tracing::info!(replica = id, why, "a new replica is not ready yet");
                Ok(Some(0))
            }
            Err(error) => Err(error),
        }
    }

    /// Waits a while until a learner has everything that was there at the beginning, and little is missing of what came since; how
    /// many entries it still lacks otherwise.
    async fn catch_up(&self, id: u64) -> Option<u64> {
        let goal = self.node.status(0).last_log_index;
        let began = Instant::now();
        loop {
            let status = self.node.status(0);
            let matched = status.matched_index.get(&id).copied().unwrap_or(0);
            let behind = status.last_log_index.saturating_sub(matched);
            let is_voter = self.node.voter_sets().iter().all(|set| set.contains(&id));
            // A replica that leads no more knows nothing of others: the change itself says so.
            let is_there = matched >= goal && behind <= PROMOTE_LAG_ENTRIES_MAX;
            if is_voter || is_there || !self.node.leads() {
                return None;
            }
            if began.elapsed() >= CATCH_UP_WAIT {
                return Some(behind);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn change(
        &self,
        request: Request<ClusterChangeRequest>,
    ) -> Result<Response<ClusterChangeResponse>, Status> {
        let result = self.decide(request.into_inner()).await;
        Ok(Response::new(ClusterChangeResponse { result: Some(result) }))
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc::{AddReplica, RemoveReplica, ReplaceReplica};

    use super::*;

    #[test]
    fn only_a_change_whose_new_replica_catches_up_is_under_way() {
        let members =
            BTreeMap::from([(1, "h:1"), (2, "h:2"), (6, "h:6")].map(|(id, at)| (id, at.to_owned())));
        let voters = [BTreeSet::from([1, 2])];
        let is = |kind| is_under_way(&kind, &members, &voters);
        let add =
            |id, address: &str, learner| Kind::Add(AddReplica { id, address: address.to_owned(), learner });
        let replace = |new_id| Kind::Replace(ReplaceReplica { old_id: 2, new_id, address: "h:6".to_owned() });
        assert!(is(add(6, "h:6", false)) && is(replace(6)));
        assert!(!is(add(6, "h:6", true)), "it is done");
        assert!(!is(add(6, "h:7", false)), "another is meant");
        assert!(!is(add(7, "h:7", false)) && !is(replace(7)), "it has not begun");
        assert!(!is(add(2, "h:2", false)), "it is done");
        assert!(!is(Kind::Remove(RemoveReplica { id: 6 })));
        let half = [BTreeSet::from([1, 2]), BTreeSet::from([1, 6])];
        assert!(is_under_way(&replace(6), &members, &half), "half done");
    }
}
