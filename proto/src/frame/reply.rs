//! What a server says, events apart.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Event, MeEvent, MemberRole, Preferences, SequenceRange, SincePage, is_zero};
use crate::error::WireError;
use crate::ids::{ClientMessageId, ConversationId, Index, Revision, Sequence, TopicRef, UserId, Version};
use crate::limits::SessionLimits;

/// A frame from the server: an answer if `reply` is there, else a push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServerFrame {
    /// The id of the client's frame that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<u64>,
    /// What is said.
    #[serde(flatten)]
    pub body: Body,
}

impl ServerFrame {
    /// An answer.
    pub fn reply(id: u64, body: Body) -> Self {
        Self { reply: Some(id), body }
    }

    /// A push.
    pub fn push(body: Body) -> Self {
        Self { reply: None, body }
    }

    /// An answer that says what went wrong.
    pub fn error(id: u64, error: WireError) -> Self {
        Self::reply(id, Body::Error { error })
    }
}

/// What a server says, by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "frames are made and read one at a time, never kept by the thousand"
)]
pub enum Body {
    /// The answer to `hello`. When `resumed`, the missed events follow in index order.
    Welcome(Box<Welcome>),
    /// Done, with nothing to say.
    Ok,
    /// The request failed.
    Error {
        /// What went wrong.
        error: WireError,
    },
    /// A command was committed by a majority and applied.
    Ack(Ack),
    /// A durable event of a conversation.
    Event(Event),
    /// A durable event of the reader's own topic.
    Me(MeEvent),
    /// A page of messages, in order of sequence.
    Page {
        /// Of which conversation.
        conversation: ConversationId,
        /// Events of kind `message`.
        messages: Vec<Event>,
        /// Older messages exist.
        more_before: bool,
        /// Newer messages exist.
        more_after: bool,
        /// The state that was read.
        as_of_index: Index,
    },
    /// The answer to `since`: one page per pair.
    Since {
        /// In the order asked.
        pages: Vec<SincePage>,
        /// The state that was read.
        as_of_index: Index,
    },
    /// One conversation's summary.
    Conversation {
        /// The summary.
        conversation: ConversationSummary,
        /// How far its members have come and who of them is there, when it was opened with its signals.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        marks: Vec<MemberMarks>,
        /// The state that was read.
        as_of_index: Index,
    },
    /// Something that is true for a moment, of an open conversation. Has no position; may be merged or left out.
    Signal(Signal),
    /// Events were let go on purpose: ask `since`.
    Gap {
        /// Of which topic.
        topic: TopicRef,
        /// First version let go.
        from_version: Version,
        /// Last version let go.
        to_version: Version,
    },
    /// The write path. A banner; never closes the socket.
    Status(Status),
    /// Still there? Carries the position.
    Ping {
        /// Number to answer with.
        n: u64,
        /// Everything up to this index has been delivered on this socket.
        index: Index,
        /// Log time, ms.
        log_time: u64,
        /// The server's wall clock, ms, for display only.
        time: u64,
    },
    /// Open a second socket, resume there, then close this one.
    Drain {
        /// After this long; the server spreads it.
        after_ms: u64,
        /// Why, in words.
        reason: String,
    },
    /// The server closes after this. Says what the close code says, because proxies eat close codes.
    Bye {
        /// The close code that follows.
        code: u16,
        /// Why, in words.
        reason: String,
        /// When to come back, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
}

/// How present somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// At the device.
    Active,
    /// The device is on, and nobody uses it.
    Idle,
    /// There, and not to be disturbed.
    Dnd,
    /// There, and shown as `offline` to everybody else. Only clients say it.
    Invisible,
    /// Nowhere connected. Only servers say it.
    Offline,
    /// Nobody can tell just now. Only servers say it.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Something that is true for a moment, in a conversation that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Signal {
    /// Which conversation.
    pub conversation: ConversationId,
    /// What.
    #[serde(flatten)]
    pub kind: SignalKind,
}

/// What is signalled, by `signal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "signal", rename_all = "snake_case")]
pub enum SignalKind {
    /// Somebody is typing. Over when her message comes, or 6 s after it was said last.
    Typing {
        /// Who.
        user: User,
    },
    /// A member's presence has changed. Not in conversations of more than 200 members.
    Presence {
        /// Who.
        user: UserId,
        /// How she is now.
        state: PresenceState,
    },
    /// A member has come further; the maximum counts. Only in direct conversations and small groups.
    Receipt {
        /// Who.
        user: UserId,
        /// She has read up to here; absent when this says nothing of it.
        #[serde(default, skip_serializing_if = "is_zero")]
        read: Sequence,
        /// A device of hers has messages up to here; absent when this says nothing of it.
        #[serde(default, skip_serializing_if = "is_zero")]
        delivered: Sequence,
    },
    /// Messages have reached the disks of more replicas; the maximum counts, for each number of replicas.
    Durability {
        /// Up to here.
        sequence: Sequence,
        /// So many replicas have them on disk.
        replicas: u32,
        /// Of so many that vote.
        of: u32,
    },
}

/// How far one member of a conversation has come, and whether she is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemberMarks {
    /// Who.
    pub user: UserId,
    /// She has read up to here; absent where receipts are not given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub read: Sequence,
    /// A device of hers has messages up to here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delivered: Sequence,
    /// How she is.
    #[serde(default)]
    pub presence: PresenceState,
}

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Welcome {
    /// This session's id, a UUID.
    pub session: String,
    /// Who the token says.
    pub user: User,
    /// The cluster whose indexes these are.
    pub cluster: String,
    /// Name of the gateway.
    pub gateway: String,
    /// The state that `conversations` was read at; when resumed, where the missed events end.
    pub index: Index,
    /// True: the missed events follow, nothing is missing. False: start from `conversations`.
    pub resumed: bool,
    /// Interval of pings.
    pub ping_ms: u64,
    /// What the client must keep to.
    pub limits: SessionLimits,
    /// The write path.
    pub write: WriteState,
    /// Log time, ms.
    pub log_time: u64,
    /// Version of `me` at `index`.
    pub me_version: Version,
    /// The user's conversations, always sent: they say what exists and what is unread.
    pub conversations: Vec<ConversationSummary>,
}

/// A user as others see her.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct User {
    /// The number.
    pub id: UserId,
    /// The unique name, lower case.
    pub name: String,
    /// What she wants to be called.
    #[serde(default)]
    pub display_name: String,
    /// Her account was deleted; `name` is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// It is a program: it acts by the tokens of its owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
    /// Her picture, a file's id: at `/api/v1/files/{avatar}/thumbnail?user={id}`, of a group with `?group={id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Uuid>,
}

/// Whether writes are possible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WriteState {
    /// A leader answers.
    #[default]
    Up,
    /// No leader at the moment; sending resumes by itself.
    Electing,
    /// No leader for longer than an election takes: less than a majority is there.
    NoQuorum,
}

/// The write path, when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// Whether writes are possible.
    pub write: WriteState,
    /// For how long it has not been `up`, ms.
    #[serde(default)]
    pub since_ms: u64,
    /// The leading replica, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
}

/// Direct or group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two people; one per pair.
    #[default]
    Direct,
    /// Any number, with a title.
    Group,
}

/// What a list of conversations shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConversationSummary {
    /// The number.
    pub id: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// Empty for a direct conversation: show the other's name.
    #[serde(default)]
    pub title: String,
    /// The newest event.
    pub version: Version,
    /// The newest message.
    pub sequence: Sequence,
    /// The reader's own read mark.
    pub read: Sequence,
    /// Messages after the read mark that others wrote.
    pub unread: u64,
    /// Of those, the ones that mention the reader.
    #[serde(default)]
    pub mentions: u64,
    /// How many members.
    #[serde(default)]
    pub member_count: u32,
    /// At most 50 members.
    #[serde(default)]
    pub members: Vec<User>,
    /// The newest message that the reader may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Event>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// Anybody can find and join it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// Only its owner and admins write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announcement: bool,
    /// Messages older than this are deleted; 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retention_ms: u64,
    /// What the reader may do there.
    #[serde(default)]
    pub role: MemberRole,
    /// How the reader wants to have it.
    #[serde(default, skip_serializing_if = "Preferences::is_default")]
    pub preferences: Preferences,
    /// What the reader took out of her sight, in order; at most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<SequenceRange>,
    /// What the reader has begun to write there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub draft: String,
    /// The message that the draft answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_reply_to: Option<Sequence>,
    /// Messages that are pinned.
    #[serde(default)]
    pub pin_count: u32,
    /// Direct: one of the two has blocked the other, and nothing can be sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// A group's picture: see [`User::avatar`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Uuid>,
}

/// A command was committed by a majority and applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ack {
    /// Of which command.
    pub client_message_id: ClientMessageId,
    /// The conversation concerned, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The message's sequence, for a send or an edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The event's version, for a send or an edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The message's revision, for an edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The number of what was scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<u64>,
    /// Where in the log it stands.
    pub index: Index,
    /// Under which term.
    pub term: u64,
    /// Log time of the entry, ms.
    pub log_time: u64,
    /// True when the id was known and this is the original's answer.
    #[serde(default)]
    pub replay: bool,
}
