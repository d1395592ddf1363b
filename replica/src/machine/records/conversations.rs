//! What belongs to conversations: who is in them, and what happened there.

use bytes::Bytes;
use prost::Message;

use super::{BlockedEvent, DeletedEvent, PinEvent, ReactionEvent, RoleEvent};

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
