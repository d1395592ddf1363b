//! What happened: the durable events of a conversation and of a user's own topic.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ConversationSummary, Forwarded, MemberRole, Preferences, Reaction, ScheduledItem, ScheduledState,
    SequenceRange, User, is_zero,
};
use crate::ids::{ClientMessageId, ConversationId, Index, Revision, Sequence, TopicRef, UserId, Version};

/// A durable event of a conversation. The same bytes go to every member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Dense from 1 in the conversation.
    pub version: Version,
    /// Where in the log it stands. Absent in pages of history, where only the sequence counts.
    #[serde(default)]
    pub index: Index,
    /// Log time, ms.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened in a conversation, by `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// A new message.
    Message(Message),
    /// A message has another text. Text and revision are the newest when the event is sent, perhaps newer than the event.
    Edit {
        /// Which message.
        sequence: Sequence,
        /// Its revision now.
        revision: Revision,
        /// Its text now.
        text: String,
        /// By whom.
        by: User,
    },
    /// Messages were taken back: their text and all else of them is gone.
    Delete {
        /// Which, in order; at most 100.
        sequences: Vec<Sequence>,
        /// By whom; nobody (0) when they had grown too old.
        by: User,
    },
    /// An emoji was put on a message, or taken away.
    Reaction {
        /// Which message.
        sequence: Sequence,
        /// The emoji.
        emoji: String,
        /// By whom.
        user: User,
        /// Put there, or taken away.
        on: bool,
    },
    /// A message was pinned, or no longer is.
    Pin {
        /// Which message.
        sequence: Sequence,
        /// Pinned, or no longer.
        on: bool,
        /// By whom.
        by: User,
    },
    /// A member may do something else from now on.
    Role {
        /// Who.
        user: User,
        /// What she is.
        role: MemberRole,
        /// By whom.
        by: User,
    },
    /// Somebody joined or left.
    Member {
        /// Who.
        user: User,
        /// Joined, or left.
        joined: bool,
        /// By whom.
        by: User,
        /// She was banned with it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        banned: bool,
    },
    /// The conversation was made or changed: as it is after the event.
    Conversation {
        /// Its title now.
        title: String,
        /// By whom.
        by: User,
        /// What it is about.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        topic: String,
        /// Anybody can find and join it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        public: bool,
        /// Only its owner and admins write.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        announcement: bool,
        /// Messages older than this are deleted; 0: never.
        #[serde(default, skip_serializing_if = "is_zero")]
        retention_ms: u64,
        /// Its picture: see [`User::avatar`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        avatar: Option<Uuid>,
    },
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Message {
    /// Dense from 1 in the conversation.
    pub sequence: Sequence,
    /// Who wrote it.
    pub from: User,
    /// The id under which it was sent; lets the sender's devices match their pending copy.
    pub client_message_id: ClientMessageId,
    /// The text, as typed; the newest, if it was edited.
    pub text: String,
    /// How often it was edited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: Revision,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
    /// Log time of the newest edit, ms.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub edited: u64,
    /// It was taken back: nothing else of it is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// In order of their first use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
    /// It is pinned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Members whom the text names, in order of id; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// The text names everybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mentions_all: bool,
    /// It was handed on from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
    /// The reader took it out of her sight: the text is not given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Files that it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// A file as a message shows it: its bytes are at `/api/v1/files/{file}/content`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attachment {
    /// Its id, a UUID.
    pub file: Uuid,
    /// A plain name, without a path.
    pub name: String,
    /// By its content, whatever was said of it.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Pixels, of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels, of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// There is a thumbnail, of at most 320 pixels, at `/api/v1/files/{file}/thumbnail`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thumbnail: bool,
}

/// A durable event of the reader's own topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MeEvent {
    /// Dense from 1 in the user's own topic.
    pub version: Version,
    /// Where in the log it stands.
    pub index: Index,
    /// Log time, ms.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: MeKind,
}

/// What happened to the reader, by `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MeKind {
    /// She is a member of a conversation now.
    Added {
        /// Its summary as of this moment or later.
        conversation: Box<ConversationSummary>,
        /// What came up to this version is not hers to see.
        base_version: Version,
    },
    /// She is no longer a member.
    Removed {
        /// Of which.
        conversation: ConversationId,
    },
    /// Her read mark moved, perhaps by another device.
    Read {
        /// Where.
        conversation: ConversationId,
        /// Up to which message.
        sequence: Sequence,
    },
    /// One of her sign-ins was ended.
    SessionEnded {
        /// Which, a UUID.
        session: String,
    },
    /// She wants to have a conversation otherwise.
    Preferences {
        /// Which.
        conversation: ConversationId,
        /// As they are after the event.
        preferences: Preferences,
    },
    /// She took messages out of her sight.
    Hidden {
        /// Where.
        conversation: ConversationId,
        /// Which.
        #[serde(flatten)]
        range: SequenceRange,
    },
    /// She saved a message, or no longer wants it.
    Saved {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// Saved, or no longer.
        on: bool,
    },
    /// What she has begun to write; the newest when the event is sent.
    Draft {
        /// Where.
        conversation: ConversationId,
        /// Empty: nothing.
        #[serde(default)]
        text: String,
        /// The message answered to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Sequence>,
    },
    /// Something she scheduled: made, taken back, or its time came.
    Scheduled {
        /// What.
        item: ScheduledItem,
        /// What became of it.
        state: ScheduledState,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        /// The message that was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sequence: Option<Sequence>,
    },
    /// Her own profile, as it is now.
    Profile {
        /// Herself.
        user: User,
        /// Her status text.
        #[serde(default)]
        status: String,
    },
    /// She has blocked somebody, or no longer does.
    Blocked {
        /// Whom.
        user: User,
        /// Blocked, or no longer.
        on: bool,
    },
}

/// A page of one topic's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SincePage {
    /// Which topic.
    pub topic: TopicRef,
    /// A conversation's events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// The events of `me`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub me: Vec<MeEvent>,
    /// More follow the last of these.
    #[serde(default)]
    pub more: bool,
    /// That range is not to be had: take the conversation's summary and start anew.
    #[serde(default)]
    pub reset: bool,
    /// Versions up to here are not the reader's to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_to: Option<Version>,
}
