//! What is stored: one record type per key space. Fields are added, never renumbered or reused. Here are those of the cluster as a
//! whole.

mod accounts;
mod bots;
mod conversations;
mod files;
mod groups;
mod messages;
mod people;

use bytes::Bytes;
use prost::Message;

pub use accounts::*;
pub use bots::*;
pub use conversations::*;
pub use files::*;
pub use groups::*;
pub use messages::*;
pub use people::*;

/// Cluster-wide counters.
#[derive(Clone, PartialEq, Message)]
pub struct Counters {
    /// The last user id given out.
    #[prost(uint64, tag = "1")]
    pub users: u64,
    /// The last conversation id given out.
    #[prost(uint64, tag = "2")]
    pub conversations: u64,
    /// Users who are admins.
    #[prost(uint64, tag = "3")]
    pub admins: u64,
    /// The last report id given out.
    #[prost(uint64, tag = "10")]
    pub reports: u64,
    /// The last number of an audit entry.
    #[prost(uint64, tag = "11")]
    pub audit: u64,
    /// Bots that are told what others say: outgoing webhooks.
    #[prost(uint64, tag = "20")]
    pub hooks: u64,
}

/// Ends of the queue of remembered command ids.
#[derive(Clone, PartialEq, Message)]
pub struct DedupQueue {
    /// Number of the oldest remembered.
    #[prost(uint64, tag = "1")]
    pub head: u64,
    /// Number that the next will have.
    #[prost(uint64, tag = "2")]
    pub tail: u64,
    /// Log time of the oldest, ms: says without a further read that nothing is due.
    #[prost(uint64, tag = "3")]
    pub oldest_ms: u64,
}

/// What a command id did: enough to answer it again.
#[derive(Clone, PartialEq, Message)]
pub struct Dedup {
    /// First 16 bytes of the BLAKE3 of the command's body.
    #[prost(bytes = "bytes", tag = "1")]
    pub fingerprint: Bytes,
    /// The original outcome.
    #[prost(message, optional, tag = "2")]
    pub outcome: Option<quorate_proto::rpc::Outcome>,
}

/// One place in the queue of remembered command ids.
#[derive(Clone, PartialEq, Message)]
pub struct DedupExpiry {
    /// Log time when it was remembered, ms.
    #[prost(uint64, tag = "1")]
    pub log_time_ms: u64,
    /// Whose.
    #[prost(uint64, tag = "2")]
    pub user_id: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub command_id: Bytes,
}

/// A key that signs access tokens.
#[derive(Clone, PartialEq, Message)]
pub struct SigningKey {
    /// Name of the key, in tokens.
    #[prost(string, tag = "1")]
    pub kid: String,
    /// Ed25519, 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub public_key: Bytes,
    /// The private half under the cluster secret.
    #[prost(bytes = "bytes", tag = "3")]
    pub wrapped_private_key: Bytes,
    /// Log time, ms.
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
}
