//! Groups: who is in them, and how one comes in.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::frame::{ConversationKind, MemberRole, NewAvatar, User};
use crate::ids::{ConversationId, Index, Sequence, UserId};

/// A change of a group; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConversationChange {
    /// 1 to 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Up to 250 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Anybody can find and join it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Only its owner and admins write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<bool>,
    /// Messages older than this are deleted; 0: never. At least an hour. For its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// A file of the caller's own, an image with a thumbnail; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<NewAvatar>,
}

/// What a member is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewRole {
    /// Another owner makes the caller an admin.
    pub role: MemberRole,
}

/// Members, in order of user id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Members {
    /// At most 200.
    pub members: Vec<MemberInfo>,
    /// More follow: give `next` as `after`.
    pub more: bool,
    /// Where to go on: so many may have left in between that a page has nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UserId>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemberInfo {
    /// Who.
    pub user: User,
    /// What she may do.
    pub role: MemberRole,
    /// Log time when she joined, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Her status text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
}

/// Who is banned from a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bans {
    /// In order of user id.
    pub bans: Vec<BanInfo>,
    /// There are more than these.
    pub more: bool,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BanInfo {
    /// Who.
    pub user: User,
    /// Log time when she was banned, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// A code with which others can join.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewInvite {
    /// 22 to 64 letters, digits, dashes or underscores, drawn at random by the caller; the servers keep a hash of it.
    pub code: String,
    /// How long it is good for, ms; 0: for ever.
    #[serde(default)]
    pub ttl_ms: u64,
    /// How many may come by it; 0: any number.
    #[serde(default)]
    pub uses_max: u32,
}

/// The invites of a group that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Invites {
    /// At most [`crate::limits::INVITES_MAX`].
    pub invites: Vec<InviteInfo>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One invite; nobody is told its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InviteInfo {
    /// By which it is ended: the first 16 bytes of the BLAKE3 of its code, in hexadecimal.
    pub id: String,
    /// Who made it.
    pub by: User,
    /// Log time, ms.
    pub created: u64,
    /// Log time at which it ends, ms; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// How many have come by it.
    pub uses: u32,
    /// How many may; 0: any number.
    pub uses_max: u32,
}

/// A conversation as those see it who are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Channel {
    /// Its number.
    pub conversation: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// What it is called.
    pub title: String,
    /// What it is about.
    pub topic: String,
    /// How many members.
    pub member_count: u32,
    /// Anybody can find and join it.
    pub public: bool,
    /// Only its owner and admins write.
    pub announcement: bool,
    /// The caller is a member.
    pub joined: bool,
    /// Log time when it was made, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// The newest message.
    pub sequence: Sequence,
    /// Its picture: see [`User::avatar`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Uuid>,
}

/// Conversations, in order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Channels {
    /// What was found; a page may be short, or empty, and yet not the last.
    pub channels: Vec<Channel>,
    /// More may follow: give this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ConversationId>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// What an invite leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InvitePreview {
    /// The group.
    pub channel: Channel,
    /// The state that was read.
    pub as_of_index: Index,
}
