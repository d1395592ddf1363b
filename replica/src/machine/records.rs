//! What is stored: one record type per key space. Fields are added, never renumbered or reused.

use bytes::Bytes;
use prost::Message;

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

/// A sign-in.
#[derive(Clone, PartialEq, Message)]
pub struct Session {
    /// Whose.
    #[prost(uint64, tag = "1")]
    pub user_id: u64,
    /// BLAKE3 of the refresh secret.
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
}

/// A conversation.
#[derive(Clone, PartialEq, Message)]
pub struct Conversation {
    /// 1 direct, 2 group: as `ConversationSummary.Kind`.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// Empty for a direct one.
    #[prost(string, tag = "2")]
    pub title: String,
    /// Newest event.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// Newest message.
    #[prost(uint64, tag = "4")]
    pub sequence: u64,
    /// Log index of the newest event.
    #[prost(uint64, tag = "5")]
    pub last_index: u64,
    /// Present members.
    #[prost(uint32, tag = "6")]
    pub member_count: u32,
    /// Log time of its making, ms.
    #[prost(uint64, tag = "7")]
    pub created_ms: u64,
}

/// A membership, present or ended.
#[derive(Clone, PartialEq, Message)]
pub struct Member {
    /// 1 member, 2 owner.
    #[prost(uint32, tag = "1")]
    pub role: u32,
    /// The conversation's version when she joined: what came before is not hers to see.
    #[prost(uint64, tag = "2")]
    pub base_version: u64,
    /// The conversation's sequence when she joined.
    #[prost(uint64, tag = "3")]
    pub base_sequence: u64,
    /// Read mark: everything up to this message.
    #[prost(uint64, tag = "4")]
    pub read_sequence: u64,
    /// The conversation's version when she left, her leaving included; 0 while she is a member.
    #[prost(uint64, tag = "5")]
    pub left_version: u64,
    /// The conversation's sequence when she left.
    #[prost(uint64, tag = "6")]
    pub left_sequence: u64,
}

/// Role of somebody who may add and remove members.
pub const ROLE_OWNER: u32 = 2;
/// Role of everybody else.
pub const ROLE_MEMBER: u32 = 1;

/// An event of a topic, by version. A message's text is in its own record and joined when read.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Log index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "2")]
    pub log_time_ms: u64,
    /// What happened.
    #[prost(oneof = "EventKind", tags = "3, 4, 5, 6, 7, 8, 9, 10")]
    pub kind: Option<EventKind>,
}

/// See [`Event::kind`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum EventKind {
    /// A new message: its sequence.
    #[prost(uint64, tag = "3")]
    Message(u64),
    /// Somebody joined or left.
    #[prost(message, tag = "4")]
    Member(MemberEvent),
    /// The conversation was made or changed.
    #[prost(message, tag = "5")]
    Conversation(ConversationEvent),
    /// Of a user's own topic: she is a member now.
    #[prost(message, tag = "6")]
    MeAdded(quorate_proto::rpc::MeAdded),
    /// She is no longer: the conversation.
    #[prost(uint64, tag = "7")]
    MeRemoved(u64),
    /// Her read mark moved.
    #[prost(message, tag = "8")]
    MeRead(quorate_proto::rpc::MeRead),
    /// A sign-in of hers was ended: 16 bytes.
    #[prost(bytes = "bytes", tag = "9")]
    MeSessionEnded(Bytes),
    /// A message got another text.
    #[prost(message, tag = "10")]
    Edited(EditedEvent),
}

/// A message got another text: which is in its own record.
#[derive(Clone, PartialEq, Message)]
pub struct EditedEvent {
    /// Which message.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Its revision then.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// By whom.
    #[prost(uint64, tag = "3")]
    pub by: u64,
}

/// Somebody joined or left.
#[derive(Clone, PartialEq, Message)]
pub struct MemberEvent {
    /// Who.
    #[prost(uint64, tag = "1")]
    pub user_id: u64,
    /// Joined, or left.
    #[prost(bool, tag = "2")]
    pub joined: bool,
    /// By whom.
    #[prost(uint64, tag = "3")]
    pub by: u64,
}

/// A conversation was made or changed.
#[derive(Clone, PartialEq, Message)]
pub struct ConversationEvent {
    /// Its title now.
    #[prost(string, tag = "1")]
    pub title: String,
    /// By whom.
    #[prost(uint64, tag = "2")]
    pub by: u64,
}

/// A message, by sequence.
#[derive(Clone, PartialEq, Message)]
pub struct StoredMessage {
    /// Version of the event that brought it.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Its log index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
    /// Who wrote it.
    #[prost(uint64, tag = "4")]
    pub from: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub client_message_id: Bytes,
    /// As typed.
    #[prost(string, tag = "6")]
    pub text: String,
    /// Sequence of the message answered to; 0 for none.
    #[prost(uint64, tag = "7")]
    pub reply_to: u64,
    /// How often it was edited; the text is the newest.
    #[prost(uint64, tag = "8")]
    pub revision: u64,
    /// Log index of the newest edit; 0 before the first.
    #[prost(uint64, tag = "9")]
    pub edited_index: u64,
    /// Log time of the newest edit, ms; 0 before the first.
    #[prost(uint64, tag = "10")]
    pub edited_ms: u64,
}

/// An earlier text of a message, by its revision.
#[derive(Clone, PartialEq, Message)]
pub struct Revision {
    /// As typed.
    #[prost(string, tag = "1")]
    pub text: String,
    /// Log index at which it became the text.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Log time then, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
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
