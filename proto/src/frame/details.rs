//! Parts of messages, conversations and what is the reader's own.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{User, is_zero};
use crate::ids::{ConversationId, Sequence, UserId};

/// A message, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageRef {
    /// Where.
    pub conversation: ConversationId,
    /// Which message.
    pub sequence: Sequence,
}

/// One emoji on a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// How many have put it there.
    pub count: u32,
    /// The first of them, at most 20, in order of use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
    /// The reader is among them. Only in pages that are read for her; in events compare `users`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mine: bool,
}

/// Where a message was handed on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Forwarded {
    /// Who wrote it.
    pub from: User,
    /// When, log time in ms.
    pub time: u64,
}

/// The picture that somebody or a group is to have: a file of the caller's, or none. In JSON the file's id, or `""`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewAvatar(pub Option<Uuid>);

impl NewAvatar {
    /// As it travels between processes: 16 bytes, or nothing.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.map(|file| file.as_bytes().to_vec()).unwrap_or_default()
    }
}

impl Serialize for NewAvatar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(file) => file.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

impl<'de> Deserialize<'de> for NewAvatar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let wrong =
            |_| serde::de::Error::custom(format!("{text:?} is no file's id: give a UUID, or \"\" for none"));
        text.parse().map(|file| Self(Some(file))).map_err(wrong)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for NewAvatar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NewAvatar".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The id of a file of the caller's, an image with a thumbnail, or \"\" for none.",
            "anyOf": [{ "type": "string", "format": "uuid" }, { "const": "" }]
        })
    }
}

/// What a member may do in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Reads and writes.
    #[default]
    Member,
    /// Also changes the group, adds, removes and bans members, deletes messages.
    Admin,
    /// Also gives roles and sets how long messages are kept. One in each group, as long as she stays.
    Owner,
}

/// How a reader has one conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Preferences {
    /// Log time until which it is silent, ms; 0: not muted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub muted_until: u64,
    /// One of her favourites.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub favourite: bool,
    /// Out of her list until somebody writes there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// Shown as unread from this message on, until the next read mark; 0: not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread_from: Sequence,
    /// Receipts of hers are not told there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_receipts: bool,
    /// What is written there may be given to the provider of reply suggestions that the operators chose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suggestions: bool,
}

impl Preferences {
    /// Whether nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A change of [`Preferences`]; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreferencesChange {
    /// See [`Preferences::muted_until`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<u64>,
    /// See [`Preferences::favourite`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub favourite: Option<bool>,
    /// See [`Preferences::archived`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// See [`Preferences::unread_from`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_from: Option<Sequence>,
    /// See [`Preferences::no_receipts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_receipts: Option<bool>,
    /// See [`Preferences::suggestions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestions: Option<bool>,
}

/// Messages that follow each other; both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SequenceRange {
    /// The first.
    pub first: Sequence,
    /// The last.
    pub last: Sequence,
}

/// Something whose time is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScheduledItem {
    /// Its number, the user's own.
    pub id: u64,
    /// Where.
    pub conversation: ConversationId,
    /// What is sent; of a reminder a note.
    #[serde(default)]
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
    /// Log time, ms.
    pub at: u64,
    /// The message to be reminded of; without it a message is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_of: Option<Sequence>,
}

/// What became of a [`ScheduledItem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScheduledState {
    /// Its time is to come.
    Waiting,
    /// It was taken back.
    Cancelled,
    /// The message was sent, or this is the reminder.
    Fired,
    /// It could not be.
    Failed,
}
