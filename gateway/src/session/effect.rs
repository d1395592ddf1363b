//! What a session's rules ask to be done, and the order in which its commands go.

use quorate_proto::error::CloseCode;
use quorate_proto::frame::{
    DeleteMessages, DoCommand, EditMessage, Hello, History, PinMessage, PresenceState, ReactTo, SendMessage,
    ServerFrame, SincePair,
};
use quorate_proto::ids::{ConversationId, Sequence};

/// Commands of one lane go one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Sends into one conversation, and what is done to messages there.
    Conversation(ConversationId),
    /// What she has begun to write: nothing waits for it, and it waits for nothing.
    Drafts,
    /// Everything else.
    Commands,
}

/// A command on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// A message.
    Send(SendMessage),
    /// Another text for one.
    Edit(EditMessage),
    /// Some taken back, or out of her own sight.
    Delete(DeleteMessages),
    /// An emoji on one.
    React(ReactTo),
    /// One pinned, or no longer.
    Pin(PinMessage),
    /// A `do`.
    Do(DoCommand),
}

/// A read to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// A page.
    History(History),
    /// Events after versions.
    Since {
        /// Which.
        pairs: Vec<SincePair>,
        /// How many each.
        limit: u32,
    },
    /// A summary.
    Open {
        /// Of which.
        conversation: ConversationId,
        /// Also its signals, from now on.
        signals: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write a frame.
    Write(Box<ServerFrame>),
    /// Check the token, subscribe, read; then [`super::protocol::Protocol::opened`].
    Open {
        /// The frame to answer.
        id: u64,
        /// Who comes, and from where.
        hello: Box<Hello>,
    },
    /// Check a fresh token; then [`super::protocol::Protocol::renewed`].
    Renew {
        /// The frame to answer.
        id: u64,
        /// The token.
        token: String,
    },
    /// Look at the program's token again; then [`super::protocol::Protocol::rechecked`].
    Recheck,
    /// Submit; then [`super::protocol::Protocol::settled`].
    Submit {
        /// Of which lane.
        lane: Lane,
        /// What.
        task: Box<Task>,
        /// When the client asked for it.
        asked_ms: u64,
    },
    /// Submit, without an answer.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// Up to which message.
        sequence: Sequence,
    },
    /// Read; then [`super::protocol::Protocol::answered`].
    Read {
        /// The frame to answer.
        id: u64,
        /// What.
        query: Query,
    },
    /// Signals of a conversation are wanted from now on.
    Watch(ConversationId),
    /// Signals of a conversation are no longer wanted.
    Unwatch(ConversationId),
    /// Say that the user is typing there.
    Typing(ConversationId),
    /// Say how present the user is.
    Presence(PresenceState),
    /// Say that messages have reached this device.
    Delivered {
        /// Where.
        conversation: ConversationId,
        /// Up to which message.
        sequence: Sequence,
    },
    /// A ping is due: bring the position up to date and write it with this number.
    Ping {
        /// The number.
        n: u64,
    },
    /// Say `bye` and close.
    Close(Farewell),
}

/// A `bye`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// The close code.
    pub code: CloseCode,
    /// Why, in words.
    pub reason: String,
    /// When to come back.
    pub retry_ms: Option<u64>,
}

impl Farewell {
    /// A farewell without a time to come back.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), retry_ms: None }
    }

    /// The same, with a time to come back.
    #[must_use]
    pub fn retry_after(mut self, retry_ms: u64) -> Self {
        self.retry_ms = Some(retry_ms);
        self
    }
}
