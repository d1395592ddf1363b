//! What belongs to accounts: users, their sign-ins, and their own topics.

use bytes::Bytes;
use prost::Message;

use super::LastReset;

/// A user.
#[derive(Clone, PartialEq, Message)]
pub struct User {
    /// Unique, lower case, never changed.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What she wants to be called.
    #[prost(string, tag = "2")]
    pub display_name: String,
    /// argon2id in PHC string format.
    #[prost(string, tag = "3")]
    pub password_phc: String,
    /// Log time of sign-up, ms.
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
    /// 0 a user, 1 an admin.
    #[prost(uint32, tag = "5")]
    pub role: u32,
    /// What she says of herself just now.
    #[prost(string, tag = "10")]
    pub status: String,
    /// Log time when the account was deleted, ms; 0 while it is there. Then nothing but the name is left.
    #[prost(uint64, tag = "11")]
    pub deleted_ms: u64,
    /// Log time when an admin disabled it, ms; 0 while it is not.
    #[prost(uint64, tag = "12")]
    pub disabled_ms: u64,
    /// BLAKE3 of the secret with which her password may be set anew; empty without one.
    #[prost(bytes = "bytes", tag = "13")]
    pub reset_hash: Bytes,
    /// Log time from which on that secret is worth nothing, ms.
    #[prost(uint64, tag = "14")]
    pub reset_ends_ms: u64,
    /// BLAKE3 of her recovery codes that were not used.
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub recovery_hashes: Vec<Bytes>,
    /// What she has scheduled and is still to come.
    #[prost(uint32, tag = "16")]
    pub scheduled: u32,
    /// The last number given to something that she scheduled.
    #[prost(uint64, tag = "17")]
    pub scheduled_last: u64,
    /// Messages that she has saved.
    #[prost(uint32, tag = "18")]
    pub saved: u32,
    /// The last number in her list of mentions.
    #[prost(uint64, tag = "19")]
    pub mentions_last: u64,
    /// Users whom she has blocked.
    #[prost(uint32, tag = "20")]
    pub blocked: u32,
    /// Conversations that she is a member of; counted from machine version 4 on.
    #[prost(uint32, tag = "21")]
    pub conversations: u32,
    /// Messages that she has shown to the admins and that they are not done with.
    #[prost(uint32, tag = "22")]
    pub open_reports: u32,
    /// The last password that was set anew with a secret.
    #[prost(message, optional, tag = "23")]
    pub last_reset: Option<LastReset>,
    /// Whose bot this is; 0: a person. It stays when the account is deleted.
    #[prost(uint64, tag = "24")]
    pub owner_id: u64,
    /// Id of the file that is her avatar, 16 bytes; empty: none.
    #[prost(bytes = "bytes", tag = "25")]
    pub avatar: Bytes,
}

/// Role of a user who may do what others may not.
pub const ROLE_ADMIN: u32 = 1;

/// Attempts to sign in that did not succeed, as far as known.
#[derive(Clone, PartialEq, Message)]
pub struct Attempts {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub count: u32,
    /// Log time of the last, ms.
    #[prost(uint64, tag = "2")]
    pub last_ms: u64,
    /// The last one's command id: the same command again is the same attempt.
    #[prost(bytes = "bytes", tag = "3")]
    pub command_id: Bytes,
}

/// The secret with which somebody may become an admin.
#[derive(Clone, PartialEq, Message)]
pub struct AdminOffer {
    /// Its BLAKE3.
    #[prost(bytes = "bytes", tag = "1")]
    pub secret_hash: Bytes,
    /// Log time from which on it is worth nothing, ms.
    #[prost(uint64, tag = "2")]
    pub ends_ms: u64,
}

/// Version and index of a user's own topic.
#[derive(Clone, PartialEq, Message)]
pub struct Me {
    /// Newest event.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Its log index.
    #[prost(uint64, tag = "2")]
    pub last_index: u64,
}

/// A sign-in, or a token that a user made.
#[derive(Clone, PartialEq, Message)]
pub struct Session {
    /// Whose.
    #[prost(uint64, tag = "1")]
    pub user_id: u64,
    /// BLAKE3 of the refresh secret; of a token, of its secret.
    #[prost(bytes = "bytes", tag = "2")]
    pub refresh_hash: Bytes,
    /// What the user calls the device.
    #[prost(string, tag = "3")]
    pub device: String,
    /// Log time of the sign-in, ms.
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
    /// Log time when it was ended; 0 while it lasts.
    #[prost(uint64, tag = "5")]
    pub ended_ms: u64,
    /// BLAKE3 of what all refresh secrets of this session have in common; empty before its first refresh, if it is older than
    /// machine version 3.
    #[prost(bytes = "bytes", tag = "6")]
    pub family_hash: Bytes,
    /// BLAKE3 of the refresh secret before; empty before the first refresh.
    #[prost(bytes = "bytes", tag = "7")]
    pub previous_hash: Bytes,
    /// What the present secret was made with from the one before.
    #[prost(bytes = "bytes", tag = "8")]
    pub salt: Bytes,
    /// Log time of the last refresh, ms; 0 before the first.
    #[prost(uint64, tag = "9")]
    pub refreshed_ms: u64,
    /// Attempts to sign in again with this device.
    #[prost(message, optional, tag = "10")]
    pub attempts: Option<Attempts>,
    /// BLAKE3 of the refresh secret before the previous one; empty before the second refresh.
    #[prost(bytes = "bytes", tag = "11")]
    pub older_hash: Bytes,
    /// Log time when that one was replaced, ms.
    #[prost(uint64, tag = "12")]
    pub older_replaced_ms: u64,
    /// What a token is good for: of `TokenScope`, or'ed; 0: a sign-in.
    #[prost(uint32, tag = "13")]
    pub scopes: u32,
    /// Log time from which on a token is worth nothing, ms; 0: never.
    #[prost(uint64, tag = "14")]
    pub ends_ms: u64,
    /// The one conversation that a token is for; 0: all of its user's.
    #[prost(uint64, tag = "15")]
    pub only_conversation: u64,
}
