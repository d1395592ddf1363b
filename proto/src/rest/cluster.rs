//! The cluster as admins see and change it. Times that are not known are absent, never guessed.

use serde::{Deserialize, Serialize};

use crate::ids::Index;

/// How the cluster stands, as one gateway sees it. Answered without a majority as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterView {
    /// The cluster's id.
    pub cluster: String,
    /// The gateway that asked the replicas: its name.
    pub answered_by: String,
    /// The replica that leads and that a majority answers; absent while there is none, or it cannot be reached from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// Whether there are enough to decide anything.
    pub quorum: Quorum,
    /// The members, in order of id. Without any answer: those that the gateway knows of.
    pub replicas: Vec<ReplicaRow>,
    /// In order of name.
    pub gateways: Vec<GatewayRow>,
    /// Ids that were members once and are never used again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<u64>,
    /// Whether all states that were compared at one index are the same; absent when fewer than two were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<bool>,
}

/// The voters, by the newest membership that anybody told. While the membership changes there are two sets of voters: what stands
/// here is of the one that has fewer to spare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quorum {
    /// How many there are.
    pub voters: u32,
    /// How many must answer for anything to be decided: a majority.
    pub needed: u32,
    /// How many answered this gateway.
    pub reachable: u32,
}

/// What a replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplicaRole {
    /// It leads, and a majority answers it.
    Leader,
    /// It follows.
    Follower,
    /// It stands for election, or led and is answered by no majority any more.
    Candidate,
    /// It follows without a vote.
    Learner,
}

/// What a replica is in the membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// It votes.
    Voter,
    /// It has no vote.
    Learner,
    /// It is in one half of a change that is under way.
    Changing,
}

/// A replica. What only it can tell is absent while it does not answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplicaRow {
    /// Its id; 0 when nobody has told it yet.
    pub id: u64,
    /// host:port of its gRPC listener, as operators know it.
    pub address: String,
    /// It answered within a second.
    pub reachable: bool,
    /// What the membership says of it; absent when nobody told a membership.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemberKind>,
    /// What it does; absent also while it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ReplicaRole>,
    /// The term it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// The last log index on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_index: Option<Index>,
    /// How far it knows the log to be committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Index>,
    /// How far it has applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Index>,
    /// Committed entries, as far as anybody told, that it has yet to apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The running hash of its state, hex, at `hash_index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The index at which the hash was taken: the same for all that are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_index: Option<Index>,
    /// From this gateway's question to the answer, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Its disk is nearly full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub storage_low: bool,
    /// It is stopping and takes no leadership.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// The version of the rules that it applies entries by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_version: Option<u32>,
    /// The version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A gateway, by what it told the replicas last (every 3 s) or, of the one that answers, by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GatewayRow {
    /// Its name.
    pub name: String,
    /// Open, authenticated sockets; absent of one that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// When it was started, by its own clock, ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The replica that its feed comes from; absent while there is none, or that one does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<u64>,
}

/// Which replica is to lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewLeader {
    /// A voter's id; without it the leader chooses the one that is furthest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// A change of the members. Each may be asked for again: what is done already is answered as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MembersChange {
    /// A replica that runs with `--join` becomes a member, and a voter once it has caught up.
    Add {
        /// Its id: one that was never used in this cluster.
        id: u64,
        /// host:port of its gRPC listener.
        address: String,
        /// It stays without a vote.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        learner: bool,
    },
    /// A replica leaves for ever; its id is never used again. At least three voters stay.
    Remove {
        /// Its id.
        id: u64,
    },
    /// A replica that runs with `--join` takes the place of one that leaves for ever, dead or alive, once it has caught up.
    Replace {
        /// Id of the one that leaves.
        old: u64,
        /// Id of the new one: one that was never used in this cluster.
        id: u64,
        /// host:port of the new one's gRPC listener.
        address: String,
    },
}

/// What came of a change of leadership or members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterChanged {
    /// It is done. Otherwise the new replica is a member and has not caught up yet: ask again with the same words (and another
    /// `Idempotency-Key`, or the same).
    pub done: bool,
    /// With `done: false`: entries that the new replica has yet to receive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// Who leads now, as far as the replica knows that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// The term of that replica.
    pub term: u64,
    /// The members now, in order of id.
    pub members: Vec<ClusterMember>,
    /// Log index of the entry in the audit log that says who asked for it.
    pub index: Index,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterMember {
    /// Its id.
    pub id: u64,
    /// host:port of its gRPC listener.
    pub address: String,
    /// Whether it votes.
    pub kind: MemberKind,
}

/// The changes of leader that the replicas which answer remember: each those by which it came to lead since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failovers {
    /// Newest first, at most [`crate::limits::FAILOVERS_MAX`].
    pub failovers: Vec<Failover>,
    /// The gateway whose view `answered_ms` and `pushed_ms` are: its name.
    pub answered_by: String,
}

/// Why leadership changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailoverCause {
    /// The old leader was heard of no more.
    Lost,
    /// The old leader asked the new one to lead.
    HandedOver,
}

/// A change of leader. All times but `time` are ms from when the new leader last heard from the old one, by monotonic clocks; they
/// rise in the order in which they stand here, but for the two of the gateway, which are apart from each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failover {
    /// The new leader's term.
    pub term: u64,
    /// Who leads since.
    pub leader: u64,
    /// Who led before, as the new leader knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_leader: Option<u64>,
    /// Why.
    pub cause: FailoverCause,
    /// When it came to lead, by its own clock, ms since the Unix epoch.
    pub time: u64,
    /// The new leader saw that the old one's process is gone, or its patience ended. Never with `handed_over`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspected_ms: Option<u64>,
    /// It asked for votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election_ms: Option<u64>,
    /// It had those of a majority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority_ms: Option<u64>,
    /// It led.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leading_ms: Option<u64>,
    /// The first entry of its term was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_ms: Option<u64>,
    /// The answering gateway had its first answer to a write that had waited for the new leader: give or take half a round trip
    /// between the two. Absent when no write waited there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_ms: Option<u64>,
    /// The answering gateway was pushed its first event after its feed named the new leader; in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_ms: Option<u64>,
}

/// Where the time goes, as one gateway measured it in the last minute. Where nothing was measured there is no time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StageTimes {
    /// The gateway that measured it: its name. Others have measured their own.
    pub answered_by: String,
    /// How far back it reaches, ms; up to ten seconds less, since the oldest ten are forgotten at once.
    pub window_ms: u64,
    /// In the order of a message's way; all of them.
    pub stages: Vec<StageTime>,
}

/// The times of one part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StageTime {
    /// Which part.
    pub stage: Stage,
    /// How many times were measured.
    pub count: u64,
    /// Half of them took no longer, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// Ninety-nine in a hundred took no longer, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// A part of the way of what somebody writes. `replica` and `network` together are `leader`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Behind earlier commands of its session, into the same conversation.
    Lane,
    /// Until it was first sent to a replica.
    Queue,
    /// From its first to its last sending, for a leader that was lost; only of those sent more than once.
    Retry,
    /// From its last sending to its outcome.
    Leader,
    /// Of that, in the replica: log, majority, apply.
    Replica,
    /// Of that, the rest: the way there and back, and the waiting at both ends of it.
    Network,
    /// From its outcome to the flush that carried its ack.
    Reply,
    /// From the gateway's taking of an event to the flush that ended with it, for one session each.
    Delivery,
}
