//! What belongs to users, and to those who administer them.

use bytes::Bytes;
use prost::Message;

use super::{ROLE_ADMIN, User};

impl User {
    /// Whether the account was deleted: nothing but its name is left.
    pub fn is_deleted(&self) -> bool {
        self.deleted_ms != 0
    }

    /// Whether she can sign in and be found.
    pub fn is_active(&self) -> bool {
        self.deleted_ms == 0 && self.disabled_ms == 0
    }

    /// Whether she may do what others may not.
    pub fn is_admin(&self) -> bool {
        self.role == ROLE_ADMIN && self.is_active()
    }
}

/// A user blocked another, or no longer does.
#[derive(Clone, PartialEq, Message)]
pub struct BlockedEvent {
    /// Whom.
    #[prost(uint64, tag = "1")]
    pub user_id: u64,
    /// Blocked, or no longer.
    #[prost(bool, tag = "2")]
    pub on: bool,
}

/// The last password that was set anew with a secret: the same command again finds it done.
#[derive(Clone, PartialEq, Message)]
pub struct LastReset {
    /// BLAKE3 of the secret, which is worth nothing any more.
    #[prost(bytes = "bytes", tag = "1")]
    pub secret_hash: Bytes,
    /// Its command id.
    #[prost(bytes = "bytes", tag = "2")]
    pub command_id: Bytes,
}

/// When a user was seen last.
#[derive(Clone, PartialEq, Message)]
pub struct Seen {
    /// Log time in whole minutes, ms.
    #[prost(uint64, tag = "1")]
    pub seen_ms: u64,
}

/// A message that somebody showed to the admins.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    /// Who did.
    #[prost(uint64, tag = "1")]
    pub by: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "2")]
    pub created_ms: u64,
    /// Why, in her words.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// Where the message is.
    #[prost(uint64, tag = "4")]
    pub conversation_id: u64,
    /// Which it is.
    #[prost(uint64, tag = "5")]
    pub sequence: u64,
    /// Log time when an admin was done with it, ms; 0 while it is open.
    #[prost(uint64, tag = "6")]
    pub resolved_ms: u64,
    /// Which admin.
    #[prost(uint64, tag = "7")]
    pub resolved_by: u64,
    /// What was done, in her words.
    #[prost(string, tag = "8")]
    pub resolution: String,
    /// Revision of the message when it was reported: this text is what the admins are shown.
    #[prost(uint64, tag = "9")]
    pub revision: u64,
}

/// Something that was done and concerns others' rights.
#[derive(Clone, PartialEq, Message)]
pub struct AuditEntry {
    /// Log index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "2")]
    pub log_time_ms: u64,
    /// By whom; 0: by the cluster itself or its operator.
    #[prost(uint64, tag = "3")]
    pub by: u64,
    /// What: a number of `machine::audit::Audited`.
    #[prost(uint32, tag = "4")]
    pub action: u32,
    /// To whom; 0: to nobody.
    #[prost(uint64, tag = "5")]
    pub subject: u64,
    /// In which conversation; 0: in none.
    #[prost(uint64, tag = "6")]
    pub conversation_id: u64,
    /// More of it, in words; never what people wrote to each other.
    #[prost(string, tag = "7")]
    pub detail: String,
}
