//! The types openraft works with, and their passage to and from the wire's.
//!
//! Nothing outside `node` names an openraft type: the library is an alpha and moves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use openraft::vote::RaftLeaderId as _;
use quorate_proto::rpc;

/// What is proposed: a command's bytes, exactly as the gateway sent them, and the log time it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// ms since the Unix epoch.
    pub log_time_ms: u64,
    /// An encoded `quorate.v1.Command`.
    pub command: Bytes,
    /// W3C trace context of a traced command; empty otherwise.
    pub traceparent: String,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes at {}", self.command.len(), self.log_time_ms)
    }
}

/// What apply answers: an outcome for a command, nothing for entries of Raft's own.
pub type Reply = Option<Box<rpc::Outcome>>;

/// A replica's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// host:port of its gRPC listener.
    pub address: String,
}

#[cfg(not(feature = "simulation"))]
openraft::declare_raft_types!(
    /// The type configuration.
    pub Types:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Peer,
);

// A macro takes no attributes inside.
#[cfg(feature = "simulation")]
openraft::declare_raft_types!(
    /// The type configuration.
    pub Types:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Peer,
        AsyncRuntime = crate::simulation::Seeded,
);

pub type LogId = openraft::alias::LogIdOf<Types>;
pub type Vote = openraft::alias::VoteOf<Types>;
pub type Entry = openraft::alias::EntryOf<Types>;
pub type Membership = openraft::Membership<u64, Peer>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub type LeaderId = openraft::alias::LeaderIdOf<Types>;

/// A message from a peer lacks something that it must have.
#[derive(Debug, thiserror::Error)]
#[error("the message has no {0}")]
pub struct Missing(pub &'static str);

pub fn log_id_to_wire(id: &LogId) -> rpc::LogId {
    let leader = id.committed_leader_id();
    rpc::LogId { term: leader.term, node_id: leader.node_id, index: id.index() }
}

pub fn log_id_from_wire(id: &rpc::LogId) -> LogId {
    LogId::new(LeaderId::new(id.term, id.node_id), id.index)
}

pub fn vote_to_wire(vote: &Vote) -> rpc::Vote {
    rpc::Vote { term: vote.leader_id.term, node_id: vote.leader_id.node_id, committed: vote.committed }
}

pub fn vote_from_wire(vote: Option<rpc::Vote>) -> Result<Vote, Missing> {
    let vote = vote.ok_or(Missing("vote"))?;
    Ok(Vote { leader_id: LeaderId::new(vote.term, vote.node_id), committed: vote.committed })
}

pub fn membership_to_wire(membership: &Membership) -> rpc::Membership {
    let voters = membership.get_joint_config().iter();
    rpc::Membership {
        voters: voters.map(|set| rpc::VoterSet { node_ids: set.iter().copied().collect() }).collect(),
        nodes: membership
            .nodes()
            .map(|(id, peer)| (*id, rpc::Node { address: peer.address.clone() }))
            .collect(),
    }
}

pub fn membership_from_wire(membership: rpc::Membership) -> Result<Membership, Missing> {
    let voters: Vec<BTreeSet<u64>> =
        membership.voters.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Peer> =
        membership.nodes.into_iter().map(|(id, node)| (id, Peer { address: node.address })).collect();
    if voters.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(voters, nodes).map_err(|_| Missing("node for one of its voters"))
}

pub fn stored_membership_to_wire(stored: &StoredMembership) -> rpc::StoredMembership {
    rpc::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_wire),
        membership: Some(membership_to_wire(stored.membership())),
    }
}

pub fn stored_membership_from_wire(stored: rpc::StoredMembership) -> Result<StoredMembership, Missing> {
    let membership = membership_from_wire(stored.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(stored.log_id.as_ref().map(log_id_from_wire), membership))
}

pub fn entry_to_wire(entry: Entry) -> rpc::Entry {
    use openraft::EntryPayload::{Blank, Membership, Normal};
    let payload = match entry.payload {
        Blank => rpc::entry::Payload::Blank(rpc::Blank {}),
        Normal(proposal) => rpc::entry::Payload::Proposal(rpc::Proposal {
            log_time_ms: proposal.log_time_ms,
            command: proposal.command,
            traceparent: proposal.traceparent,
        }),
        Membership(membership) => rpc::entry::Payload::Membership(membership_to_wire(&membership)),
    };
    rpc::Entry { log_id: Some(log_id_to_wire(&entry.log_id)), payload: Some(payload) }
}

pub fn entry_from_wire(entry: rpc::Entry) -> Result<Entry, Missing> {
    use rpc::entry::Payload;
    let log_id = entry.log_id.as_ref().map(log_id_from_wire).ok_or(Missing("log id"))?;
    let payload = match entry.payload.ok_or(Missing("payload"))? {
        Payload::Blank(_) => openraft::EntryPayload::Blank,
        Payload::Proposal(proposal) => openraft::EntryPayload::Normal(Proposal {
            log_time_ms: proposal.log_time_ms,
            command: proposal.command,
            traceparent: proposal.traceparent,
        }),
        Payload::Membership(membership) => {
            openraft::EntryPayload::Membership(membership_from_wire(membership)?)
        }
    };
    Ok(Entry { log_id, payload })
}
