//! Messages beside their pages: what became of them, and what is the caller's own.

use serde::{Deserialize, Serialize};

use crate::frame::{Event, ScheduledItem, User};
use crate::ids::{ConversationId, Index, Revision, Sequence};

/// Messages of one or several conversations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Messages {
    /// Events of kind `message`, newest first.
    pub messages: Vec<Event>,
    /// More follow: give this as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// The texts that a message has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Revisions {
    /// In order; the present one last.
    pub revisions: Vec<RevisionInfo>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One text of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RevisionInfo {
    /// 0 when it was sent.
    pub revision: Revision,
    /// The text then.
    pub text: String,
    /// Log time when it was written, ms.
    pub time: u64,
}

/// Who reacted to a message, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reactions {
    /// In order of first use.
    pub reactions: Vec<ReactionUsers>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// Who put one emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReactionUsers {
    /// The emoji.
    pub emoji: String,
    /// How many.
    pub count: u32,
    /// In order of use; at most 200 of them.
    pub users: Vec<User>,
}

/// What the caller has scheduled, in order of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Scheduled {
    /// At most [`crate::limits::SCHEDULED_MAX`].
    pub items: Vec<ScheduledItem>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// A message to be sent later, or a reminder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewScheduled {
    /// Where.
    pub conversation: ConversationId,
    /// What is sent; of a reminder a note, perhaps empty.
    #[serde(default)]
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
    /// Log time, ms; at most a year ahead.
    pub at: u64,
    /// The message to be reminded of; without it a message is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_of: Option<Sequence>,
}

/// What the caller has begun to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewDraft {
    /// Up to 12 KiB; empty: nothing.
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
}

/// Why a message is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewReport {
    /// 1 to 500 characters.
    pub reason: String,
}
