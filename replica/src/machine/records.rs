//! What is stored: one record type per key space. Fields are added, never renumbered or reused.

mod bots;
mod groups;
mod messages;
mod people;

use bytes::Bytes;
use prost::Message;

pub use bots::*;
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
    /// What it is about.
    #[prost(string, tag = "10")]
    pub topic: String,
    /// Anybody can find and join it.
    #[prost(bool, tag = "11")]
    pub public: bool,
    /// Only its owner and admins write.
    #[prost(bool, tag = "12")]
    pub announcement: bool,
    /// Messages older than this are deleted; 0: never.
    #[prost(uint64, tag = "13")]
    pub retention_ms: u64,
    /// The retention rule has looked at everything up to this message.
    #[prost(uint64, tag = "14")]
    pub retained_sequence: u64,
    /// Messages that are pinned.
    #[prost(uint32, tag = "15")]
    pub pins: u32,
    /// Users who are banned.
    #[prost(uint32, tag = "16")]
    pub bans: u32,
    /// Invites that have not ended.
    #[prost(uint32, tag = "17")]
    pub invites: u32,
    /// The two of a direct conversation, in order of id; empty until somebody has written there under machine version 4.
    #[prost(uint64, repeated, tag = "20")]
    pub peers: Vec<u64>,
    /// Log time when the retention rule looks next, ms; 0 when it does not.
    #[prost(uint64, tag = "21")]
    pub retention_due_ms: u64,
    /// Number of that in the list of what is due.
    #[prost(uint64, tag = "22")]
    pub retention_due_number: u64,
    /// The group's owner; 0 when it has none, or its owner was not looked for since machine version 4.
    #[prost(uint64, tag = "30")]
    pub owner: u64,
    /// The group's admins, those first who have been it longest.
    #[prost(uint64, repeated, tag = "31")]
    pub admins: Vec<u64>,
    /// Of a public group: the version after which it is seen by all who join; not 0 when it was not public from its start.
    #[prost(uint64, tag = "32")]
    pub open_version: u64,
    /// The sequence that goes with it.
    #[prost(uint64, tag = "33")]
    pub open_sequence: u64,
    /// Of a group of an older program: its owner was looked for among as many memberships as are looked at, and is not known.
    #[prost(bool, tag = "35")]
    pub owner_sought: bool,
    /// Present members that are bots, in the order of their coming.
    #[prost(uint64, repeated, tag = "34")]
    pub bots: Vec<u64>,
    /// Id of the file that is the group's avatar, 16 bytes; empty: none.
    #[prost(bytes = "bytes", tag = "36")]
    pub avatar: Bytes,
}

/// A membership, present or ended.
#[derive(Clone, PartialEq, Message)]
pub struct Member {
    /// 1 member, 2 owner, 3 admin.
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
    /// Log time when she joined, ms; 0 of those who joined before machine version 4.
    #[prost(uint64, tag = "10")]
    pub joined_ms: u64,
    /// How she wants to have the conversation.
    #[prost(message, optional, tag = "11")]
    pub preferences: Option<quorate_proto::rpc::Preferences>,
    /// Messages after her read mark that she wrote herself: those that were sent for her at a time.
    #[prost(uint64, repeated, tag = "20")]
    pub own_unread: Vec<u64>,
    /// The conversation's version when she joined, where more than what came after is hers to see: events come to her from here on,
    /// earlier ones are read. 0 of those who joined before machine version 4.
    #[prost(uint64, tag = "12")]
    pub joined_version: u64,
}

/// Role of a member who may change the group, add, remove and ban members, and delete messages.
pub const ROLE_GROUP_ADMIN: u32 = 3;
/// Role of the one who also gives roles and sets how long messages are kept.
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
    #[prost(
        oneof = "EventKind",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 20, 21, 22, 23, 30, 31, 32, 33, 34, 35, 36"
    )]
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
    /// Messages were taken back.
    #[prost(message, tag = "20")]
    Deleted(DeletedEvent),
    /// An emoji was put on a message, or taken away.
    #[prost(message, tag = "21")]
    Reaction(ReactionEvent),
    /// A message was pinned, or no longer is.
    #[prost(message, tag = "22")]
    Pin(PinEvent),
    /// A member has another role.
    #[prost(message, tag = "23")]
    Role(RoleEvent),
    /// Of a user's own topic: how she has a conversation.
    #[prost(message, tag = "30")]
    MePreferred(quorate_proto::rpc::MePreferred),
    /// She took messages out of her sight.
    #[prost(message, tag = "31")]
    MeHidden(quorate_proto::rpc::MeHidden),
    /// She saved a message, or no longer wants it.
    #[prost(message, tag = "32")]
    MeSaved(quorate_proto::rpc::MeSaved),
    /// She has another draft there: the conversation. The text is joined when the event is read.
    #[prost(uint64, tag = "33")]
    MeDraft(u64),
    /// Something that she scheduled.
    #[prost(message, tag = "34")]
    MeScheduled(quorate_proto::rpc::MeScheduled),
    /// She has another profile, which is joined when the event is read.
    #[prost(bool, tag = "35")]
    MeProfile(bool),
    /// She has blocked somebody, or no longer does.
    #[prost(message, tag = "36")]
    MeBlocked(BlockedEvent),
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
    /// Banned with it.
    #[prost(bool, tag = "10")]
    pub banned: bool,
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
    /// What it is about now.
    #[prost(string, tag = "10")]
    pub topic: String,
    /// Anybody can find and join it now.
    #[prost(bool, tag = "11")]
    pub public: bool,
    /// Only its owner and admins write now.
    #[prost(bool, tag = "12")]
    pub announcement: bool,
    /// How long messages are kept now, ms; 0: for ever.
    #[prost(uint64, tag = "13")]
    pub retention_ms: u64,
    /// Id of the file that is its avatar now; empty: none.
    #[prost(bytes = "bytes", tag = "14")]
    pub avatar: Bytes,
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
    /// Log time when it was taken back, ms; 0 while it is there. Then text, reactions, pin and mentions are gone.
    #[prost(uint64, tag = "20")]
    pub deleted_ms: u64,
    /// Who was named by the text and a member, in order of id: those for whom there is a key in `Space::Mentions`.
    #[prost(uint64, repeated, tag = "21")]
    pub mentions: Vec<u64>,
    /// Everybody was named.
    #[prost(bool, tag = "22")]
    pub mentions_all: bool,
    /// Who wrote it where it was handed on from; 0: it was not.
    #[prost(uint64, tag = "23")]
    pub forwarded_from: u64,
    /// When that was, ms.
    #[prost(uint64, tag = "24")]
    pub forwarded_ms: u64,
    /// It has reactions: spares a look where there are none.
    #[prost(bool, tag = "25")]
    pub has_reactions: bool,
    /// It is pinned.
    #[prost(bool, tag = "26")]
    pub pinned: bool,
    /// Ids of the files that it shows, 16 bytes each.
    #[prost(bytes = "bytes", repeated, tag = "100")]
    pub attachments: Vec<Bytes>,
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

/// A committed file. Its chunks are in records of their own, which do not change.
#[derive(Clone, PartialEq, Message)]
pub struct File {
    /// Who uploaded it, and in whose quota it counts.
    #[prost(uint64, tag = "1")]
    pub owner: u64,
    /// A plain name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// By its content.
    #[prost(string, tag = "3")]
    pub media_type: String,
    /// Bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// Pixels; 0 where it is no image.
    #[prost(uint32, tag = "5")]
    pub width: u32,
    /// Pixels; 0 where it is no image.
    #[prost(uint32, tag = "6")]
    pub height: u32,
    /// BLAKE3 of the thumbnail; empty without one.
    #[prost(bytes = "bytes", tag = "7")]
    pub thumbnail: Bytes,
    /// Bytes of the thumbnail.
    #[prost(uint32, tag = "8")]
    pub thumbnail_size: u32,
    /// BLAKE3 over the hashes of the chunks.
    #[prost(bytes = "bytes", tag = "9")]
    pub hash: Bytes,
    /// Log time of the commit, ms.
    #[prost(uint64, tag = "10")]
    pub created_ms: u64,
    /// How many messages show it, and how many users and groups have it as their avatar.
    #[prost(uint64, tag = "11")]
    pub references: u64,
    /// Log time since when none does, ms; 0 while one does.
    #[prost(uint64, tag = "12")]
    pub unreferenced_ms: u64,
}

/// Some of a file's chunks.
#[derive(Clone, PartialEq, Message)]
pub struct FileChunks {
    /// BLAKE3 of each, 32 bytes, one after the other.
    #[prost(bytes = "bytes", tag = "1")]
    pub hashes: Bytes,
}

/// What a user's files take.
#[derive(Clone, PartialEq, Message)]
pub struct FileUse {
    /// Of their contents.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub files: u64,
}

/// One place in the queue of files that no message shows.
#[derive(Clone, PartialEq, Message)]
pub struct FileExpiry {
    /// Log time since when, ms.
    #[prost(uint64, tag = "1")]
    pub log_time_ms: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub file_id: Bytes,
}
