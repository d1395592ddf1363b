//! Commands with a frame of their own, beside `send` and `edit`.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientMessageId, ConversationId, Sequence};

/// Takes messages back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeleteMessages {
    /// Where they are.
    pub conversation: ConversationId,
    /// The first message.
    pub sequence: Sequence,
    /// The last, `sequence` included at most 100; without it one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Sequence>,
    /// Only out of the caller's own sight, on all her devices. Otherwise for everybody: one's own messages, or, for a group's owner
    /// and admins, anybody's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_me: bool,
    /// One id makes one effect, whatever is retried.
    pub client_message_id: ClientMessageId,
    /// As in [`super::SendMessage::first_sent`].
    #[serde(default)]
    pub first_sent: u64,
}

/// An emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReactTo {
    /// Where it is.
    pub conversation: ConversationId,
    /// Which message.
    pub sequence: Sequence,
    /// One emoji: see [`crate::text::check_emoji`].
    pub emoji: String,
    /// Put there, or taken away.
    pub on: bool,
    /// One id makes one effect, whatever is retried.
    pub client_message_id: ClientMessageId,
    /// As in [`super::SendMessage::first_sent`].
    #[serde(default)]
    pub first_sent: u64,
}

/// A message that everybody should find again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PinMessage {
    /// Where it is.
    pub conversation: ConversationId,
    /// Which message.
    pub sequence: Sequence,
    /// Pinned, or no longer.
    pub on: bool,
    /// One id makes one effect, whatever is retried.
    pub client_message_id: ClientMessageId,
    /// As in [`super::SendMessage::first_sent`].
    #[serde(default)]
    pub first_sent: u64,
}
