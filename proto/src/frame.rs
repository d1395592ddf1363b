//! The browser protocol, version 1: the frames of `quorate.v1.json`.
//!
//! One JSON object a WebSocket message, or an array of them. Unknown fields are ignored; an unknown `type` from a client
//! is answered `unsupported`. Every reply has the `reply` field; a frame without it is a push.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::ids::{ClientMessageId, ConversationId, Index, Revision, Sequence, TopicRef, UserId, Version};
use crate::limits::SessionLimits;

// ---- client to server ----

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
pub const REQUEST_TYPES: [&str; 14] = [
    "hello",
    "auth",
    "send",
    "edit",
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
    /// Log time when this id was first sent, learnt from `welcome`, `ping` and `ack`; ms.
    #[serde(default)]
    pub first_sent: u64,
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

// ---- server to client ----

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
    /// Somebody joined or left.
    Member {
        /// Who.
        user: User,
        /// Joined, or left.
        joined: bool,
        /// By whom.
        by: User,
    },
    /// The conversation was made or changed.
    Conversation {
        /// Its title now.
        title: String,
        /// By whom.
        by: User,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

fn is_zero(number: &u64) -> bool {
    *number == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ClientMessageId {
        "0191e2b8-4c6f-7000-8000-000000000001".parse().expect("a UUID")
    }

    #[test]
    fn a_send_reads_as_the_specification_writes_it() {
        let json = r#"{"type":"send","id":7,"conversation":3,"client_message_id":"0191e2b8-4c6f-7000-8000-000000000001","text":"hi","unknown":1}"#;
        let frame: ClientFrame = serde_json::from_str(json).expect("a send");
        assert_eq!(frame.id, 7);
        let Request::Send(send) = frame.request else { panic!("not a send: {frame:?}") };
        assert_eq!((send.conversation, send.text.as_str(), send.client_message_id), (3, "hi", id()));
    }

    #[test]
    fn a_reply_is_told_from_a_push_by_its_reply_field() {
        let reply = serde_json::to_value(ServerFrame::reply(7, Body::Ok)).expect("json");
        assert_eq!(reply, serde_json::json!({"reply": 7, "type": "ok"}));
        let push =
            serde_json::to_value(ServerFrame::push(Body::Ping { n: 1, index: 9, log_time: 5, time: 6 }))
                .expect("json");
        assert_eq!(push, serde_json::json!({"type":"ping","n":1,"index":9,"log_time":5,"time":6}));
    }

    #[test]
    fn events_survive_the_round_trip() {
        let event = Event {
            conversation: 3,
            version: 9,
            index: 100,
            time: 1,
            kind: EventKind::Message(Message {
                sequence: 8,
                from: User { id: 1, name: "ana".into(), display_name: "Ana".into() },
                client_message_id: id(),
                text: "hé".into(),
                revision: 0,
                reply_to: None,
            }),
        };
        let frame = ServerFrame::push(Body::Event(event));
        let json = serde_json::to_string(&frame).expect("json");
        assert!(json.contains(r#""type":"event""#) && json.contains(r#""kind":"message""#), "{json}");
        assert_eq!(serde_json::from_str::<ServerFrame>(&json).expect("reads back"), frame);
    }

    #[test]
    fn an_edit_and_its_event_read_as_the_specification_writes_them() {
        let json = r#"{"type":"edit","id":8,"conversation":3,"sequence":5,"client_message_id":"0191e2b8-4c6f-7000-8000-000000000001","text":"ho","if_revision":1,"first_sent":0}"#;
        let frame: ClientFrame = serde_json::from_str(json).expect("an edit");
        let Request::Edit(edit) = &frame.request else { panic!("not an edit: {frame:?}") };
        assert_eq!((edit.sequence, edit.if_revision, edit.text.as_str()), (5, Some(1), "ho"));
        let again: serde_json::Value = serde_json::to_value(&frame).expect("json");
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("json"));
        let json = serde_json::json!({"type":"event","conversation":3,"version":9,"index":100,"time":1,"kind":"edit",
            "sequence":5,"revision":2,"text":"ho","by":{"id":1,"name":"ana","display_name":"Ana"}});
        let by = User { id: 1, name: "ana".into(), display_name: "Ana".into() };
        let kind = EventKind::Edit { sequence: 5, revision: 2, text: "ho".into(), by };
        let event = Event { conversation: 3, version: 9, index: 100, time: 1, kind };
        let frame = ServerFrame::push(Body::Event(event));
        assert_eq!(serde_json::to_value(&frame).expect("json"), json);
        assert_eq!(serde_json::from_value::<ServerFrame>(json).expect("reads back"), frame);
    }

    #[test]
    fn a_conflict_says_which_revision_is_there() {
        let error = WireError::new(crate::error::ErrorCode::Conflict, "changed").at_revision(Some(4));
        let json = serde_json::to_value(ServerFrame::error(8, error)).expect("json");
        let error = serde_json::json!({"code":"conflict","message":"changed","temporary":false,"revision":4});
        assert_eq!(json, serde_json::json!({"reply":8,"type":"error","error":error}));
    }

    #[test]
    fn signals_read_as_the_specification_writes_them() {
        let asked = [
            (r#"{"type":"open","id":3,"conversation":5}"#, Request::Open { conversation: 5, signals: true }),
            (
                r#"{"type":"open","id":3,"conversation":5,"signals":false}"#,
                Request::Open { conversation: 5, signals: false },
            ),
            (r#"{"type":"close","id":3,"conversation":5}"#, Request::Close { conversation: 5 }),
            (r#"{"type":"typing","id":3,"conversation":5}"#, Request::Typing { conversation: 5 }),
            (r#"{"type":"presence","id":3,"state":"dnd"}"#, Request::Presence { state: PresenceState::Dnd }),
            (
                r#"{"type":"delivered","id":3,"conversation":5,"sequence":9}"#,
                Request::Delivered { conversation: 5, sequence: 9 },
            ),
        ];
        for (json, request) in asked {
            let frame: ClientFrame = serde_json::from_str(json).expect(json);
            assert_eq!(frame, ClientFrame { id: 3, request });
            let again = serde_json::to_value(&frame).expect("json");
            assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("json"));
        }
        let ana = User { id: 7, name: "ana".into(), display_name: "Ana".into() };
        let said = [
            (
                SignalKind::Typing { user: ana },
                r#"{"type":"signal","conversation":5,"signal":"typing","user":{"id":7,"name":"ana","display_name":"Ana"}}"#,
            ),
            (
                SignalKind::Presence { user: 7, state: PresenceState::Offline },
                r#"{"type":"signal","conversation":5,"signal":"presence","user":7,"state":"offline"}"#,
            ),
            (
                SignalKind::Receipt { user: 7, read: 9, delivered: 0 },
                r#"{"type":"signal","conversation":5,"signal":"receipt","user":7,"read":9}"#,
            ),
            (
                SignalKind::Durability { sequence: 9, replicas: 4, of: 5 },
                r#"{"type":"signal","conversation":5,"signal":"durability","sequence":9,"replicas":4,"of":5}"#,
            ),
        ];
        for (kind, json) in said {
            let frame = ServerFrame::push(Body::Signal(Signal { conversation: 5, kind }));
            let value: serde_json::Value = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_value(&frame).expect("json"), value);
            assert_eq!(serde_json::from_value::<ServerFrame>(value).expect("reads back"), frame);
        }
        let newer: PresenceState = serde_json::from_str("\"away\"").expect("a word of a newer server");
        assert_eq!(newer, PresenceState::Unknown);
    }

    #[test]
    fn a_topic_is_a_number_or_me() {
        assert_eq!(serde_json::to_string(&TopicRef::Me).expect("json"), "\"me\"");
        assert_eq!(serde_json::from_str::<TopicRef>("12").expect("number"), TopicRef::Conversation(12));
        assert!(serde_json::from_str::<TopicRef>("\"you\"").is_err());
    }
}
