//! What a client says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    DeleteMessages, MemberRole, MessageRef, NewAvatar, PinMessage, PreferencesChange, PresenceState, ReactTo,
};
use crate::ids::{ClientMessageId, ConversationId, Index, Revision, Sequence, TopicRef, Version};

/// A frame from a client: its id, rising per socket, and what it asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientFrame {
    /// Rising per socket; the answer carries it as `reply`. Frames without an answer may leave it out.
    #[serde(default)]
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client asks, by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The first frame, within 10 s. Answered by `welcome`.
    Hello(Hello),
    /// A fresh access token for this socket. Answered by `ok`.
    Auth {
        /// The token.
        token: String,
    },
    /// A new message. Answered by `ack`.
    Send(SendMessage),
    /// Another text for a message, by who wrote it. Answered by `ack`.
    Edit(EditMessage),
    /// Takes messages back, for everybody or out of the reader's own sight. Answered by `ack`.
    Delete(DeleteMessages),
    /// An emoji on a message, put there or taken away. Answered by `ack`.
    React(ReactTo),
    /// A message is pinned, or no longer. Answered by `ack`.
    Pin(PinMessage),
    /// A command without a frame of its own. Answered by `ack`.
    Do(DoCommand),
    /// The reader has read up to here. Not answered; confirmed by `me`.
    Read {
        /// Where.
        conversation: ConversationId,
        /// Up to which message, inclusive.
        sequence: Sequence,
    },
    /// A page of messages. Answered by `page`.
    History(History),
    /// Events after a version, per topic. Answered by `since`.
    Since {
        /// At most 128.
        pairs: Vec<SincePair>,
        /// Events per topic, at most 300.
        #[serde(default)]
        limit: u32,
    },
    /// The reader has a conversation in front of her: its summary, and from now on its signals. Answered by `conversation`.
    Open {
        /// Which.
        conversation: ConversationId,
        /// False: only the summary.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        signals: bool,
    },
    /// Its signals are no longer wanted. Not answered.
    Close {
        /// Which.
        conversation: ConversationId,
    },
    /// The writer is typing; to be said again every few seconds while she is. Not answered.
    Typing {
        /// Where.
        conversation: ConversationId,
    },
    /// How present this device's user is. Not answered; nobody is shown anything of a session that never said it.
    Presence {
        /// How.
        state: PresenceState,
    },
    /// Messages up to here have reached this device. Not answered.
    Delivered {
        /// Where.
        conversation: ConversationId,
        /// Up to which message, inclusive.
        sequence: Sequence,
    },
    /// The answer to `ping`.
    Pong {
        /// The ping's number.
        n: u64,
    },
}

/// The types of [`Request`], to tell an unknown type from a malformed frame.
pub const REQUEST_TYPES: [&str; 17] = [
    "hello",
    "auth",
    "send",
    "edit",
    "delete",
    "react",
    "pin",
    "do",
    "read",
    "history",
    "since",
    "open",
    "close",
    "typing",
    "presence",
    "delivered",
    "pong",
];

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// The first frame of a socket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    /// The access token. It travels here and never in a URL.
    pub token: String,
    /// What the user would call this device; shown in her list of sessions.
    #[serde(default)]
    pub device: String,
    /// The client's own version, for diagnosis.
    #[serde(default)]
    pub app: String,
    /// Present when a former session goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Versions of topics that the client let go and has not filled since; by conversation number or `me`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub have: BTreeMap<String, Version>,
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resume {
    /// The cluster whose index this is; another cluster's is answered by a fresh start.
    pub cluster: String,
    /// Everything up to this index has been delivered to the client.
    pub position: Index,
    /// The highest index of any ack or event the client has seen: its reads are never older.
    #[serde(default)]
    pub seen: Index,
}

/// A new message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SendMessage {
    /// Where to.
    pub conversation: ConversationId,
    /// One id makes one message, whatever is retried.
    pub client_message_id: ClientMessageId,
    /// Up to 12 KiB of UTF-8.
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
    /// A message that is handed on; then `text` is empty, and the servers take it from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<MessageRef>,
    /// Log time when this id was first sent, learnt from `welcome`, `ping` and `ack`; ms.
    #[serde(default)]
    pub first_sent: u64,
    /// At most 10 files that the message shows; with one the text may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachFile>,
}

/// A file for a message: one's own, or one that another message shows which the sender may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttachFile {
    /// Its id, a UUID.
    pub file: Uuid,
    /// Where she saw it, together with `sequence`; absent for a file of her own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The message that shows it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
}

/// Another text for a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EditMessage {
    /// Where it is.
    pub conversation: ConversationId,
    /// Which message.
    pub sequence: Sequence,
    /// One id makes one edit, whatever is retried.
    pub client_message_id: ClientMessageId,
    /// Up to 12 KiB of UTF-8.
    pub text: String,
    /// The revision that the writer saw; when another one is there the answer is `conflict`. Without it: whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<Revision>,
    /// As in [`SendMessage::first_sent`].
    #[serde(default)]
    pub first_sent: u64,
}

/// A command that changes something and has no frame of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DoCommand {
    /// One id makes one effect.
    pub client_message_id: ClientMessageId,
    /// As in [`SendMessage::first_sent`].
    #[serde(default)]
    pub first_sent: u64,
    /// What to do.
    pub command: Action,
}

/// The commands of [`DoCommand`], by `action`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// The direct conversation with one other user; there is one per pair, whoever asks first.
    CreateDirect {
        /// Her user name.
        user: String,
    },
    /// A group with the caller as its owner.
    CreateGroup {
        /// 1 to 80 characters.
        title: String,
        /// User names, without the caller.
        members: Vec<String>,
        /// What it is about; up to 250 characters.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        topic: String,
        /// Anybody can find and join it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        public: bool,
        /// Only its owner and admins write.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        announcement: bool,
    },
    /// Adds a user to a group.
    AddMember {
        /// Which group.
        conversation: ConversationId,
        /// Her user name.
        user: String,
    },
    /// Removes a user from a group; one's own name leaves it.
    RemoveMember {
        /// Which group.
        conversation: ConversationId,
        /// Her user name.
        user: String,
    },
    /// Changes a group; what is absent stays. For its owner and admins; `retention_ms` for its owner.
    ChangeConversation {
        /// Which group.
        conversation: ConversationId,
        /// 1 to 80 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Up to 250 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// Anybody can find and join it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public: Option<bool>,
        /// Only its owner and admins write.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        announcement: Option<bool>,
        /// Messages older than this are deleted; 0: never. At least an hour.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retention_ms: Option<u64>,
        /// A file of the caller's own, an image with a thumbnail; empty: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        avatar: Option<NewAvatar>,
    },
    /// What a member may do. For the owner; another owner makes her an admin.
    SetRole {
        /// Which group.
        conversation: ConversationId,
        /// Her user name.
        user: String,
        /// What she is from now on.
        role: MemberRole,
    },
    /// Removes a user for good, or lets her come again. For a group's owner and admins.
    Ban {
        /// Which group.
        conversation: ConversationId,
        /// Her user name.
        user: String,
        /// Banned, or no longer.
        on: bool,
    },
    /// Becomes a member of a public group.
    Join {
        /// Which group.
        conversation: ConversationId,
    },
    /// Becomes a member by an invite.
    JoinByInvite {
        /// The invite's code.
        code: String,
    },
    /// A code with which others can join. For a group's owner and admins.
    MakeInvite {
        /// Which group.
        conversation: ConversationId,
        /// 22 to 64 letters and digits, dashes or underscores, drawn at random by the client; it is stored as a hash only.
        code: String,
        /// How long it is good for; 0: for ever.
        #[serde(default)]
        ttl_ms: u64,
        /// How many may come by it; 0: any number.
        #[serde(default)]
        uses_max: u32,
    },
    /// Ends an invite.
    EndInvite {
        /// Which group.
        conversation: ConversationId,
        /// Its `id` in the list of invites.
        invite: String,
    },
    /// How the caller wants to have a conversation; what is absent stays.
    Prefer {
        /// Which.
        conversation: ConversationId,
        /// What changes.
        #[serde(flatten)]
        change: PreferencesChange,
    },
    /// A message to come back to, or no longer.
    Save {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// Saved, or no longer.
        on: bool,
    },
    /// What the caller has begun to write there, for her other devices; empty: nothing.
    Draft {
        /// Where.
        conversation: ConversationId,
        /// Up to 12 KiB.
        text: String,
        /// The message answered to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Sequence>,
    },
    /// Sends a message at a later time. Its id is the ack's `scheduled`.
    Schedule {
        /// Where to.
        conversation: ConversationId,
        /// As in [`SendMessage::text`].
        text: String,
        /// The message answered to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Sequence>,
        /// Log time, ms; at most a year ahead.
        at: u64,
    },
    /// Reminds the caller of a message at a later time. Its id is the ack's `scheduled`.
    Remind {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// Log time, ms; at most a year ahead.
        at: u64,
        /// For herself; up to 12 KiB.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
    /// Takes back what was scheduled.
    CancelScheduled {
        /// The number in the list of what is scheduled.
        scheduled: u64,
    },
    /// The caller's own profile; what is absent stays.
    SetProfile {
        /// 1 to 80 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<String>,
        /// Up to 100 characters; empty: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<String>,
        /// A file of her own, an image with a thumbnail; empty: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        avatar: Option<NewAvatar>,
    },
    /// Does not want to hear of a user, or does again.
    Block {
        /// Her user name.
        user: String,
        /// Blocked, or no longer.
        on: bool,
    },
    /// Tells the admins of a message.
    Report {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// Why, up to 500 characters.
        reason: String,
    },
}

/// A page of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct History {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Messages before this sequence. Without any of the three: the newest page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Sequence>,
    /// Messages after this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Sequence>,
    /// Messages on both sides of this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<Sequence>,
    /// At most 100; 0 for the default of 50.
    #[serde(default)]
    pub limit: u32,
    /// The page is not older than this index. The session's own `seen` is always respected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_index: Option<Index>,
}

/// A topic and the last version the client has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SincePair {
    /// A conversation number or `"me"`.
    pub topic: TopicRef,
    /// Events after this version are wanted.
    pub version: Version,
}
