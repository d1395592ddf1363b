//! What belongs to groups.

use prost::Message;

/// A member has another role.
#[derive(Clone, PartialEq, Message)]
pub struct RoleEvent {
    /// Who.
    #[prost(uint64, tag = "1")]
    pub user_id: u64,
    /// As [`super::Member::role`].
    #[prost(uint32, tag = "2")]
    pub role: u32,
    /// By whom.
    #[prost(uint64, tag = "3")]
    pub by: u64,
}

/// A code with which others may join a group: kept by the first 16 bytes of its hash. An invite that was used up or ended is gone.
#[derive(Clone, PartialEq, Message)]
pub struct Invite {
    /// Where it leads.
    #[prost(uint64, tag = "1")]
    pub conversation_id: u64,
    /// Who made it.
    #[prost(uint64, tag = "2")]
    pub by: u64,
    /// Log time of its making, ms.
    #[prost(uint64, tag = "3")]
    pub created_ms: u64,
    /// Log time from which on it is worth nothing, ms; 0: never.
    #[prost(uint64, tag = "4")]
    pub ends_ms: u64,
    /// How many have come by it.
    #[prost(uint32, tag = "5")]
    pub uses: u32,
    /// How many may; 0: any number.
    #[prost(uint32, tag = "6")]
    pub uses_max: u32,
}

impl Invite {
    /// Whether it is good at a log time.
    pub fn is_good(&self, log_time_ms: u64) -> bool {
        self.ends_ms == 0 || log_time_ms < self.ends_ms
    }
}

/// A user who may not come back to a group.
#[derive(Clone, PartialEq, Message)]
pub struct Ban {
    /// Who banned her.
    #[prost(uint64, tag = "1")]
    pub by: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "2")]
    pub banned_ms: u64,
}
