//! Identifiers and positions. Plain integers on the wire; the names say which count they belong to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user, counted from 1 in order of sign-up. Below 2^53, so it is a JSON number.
pub type UserId = u64;

/// A conversation, counted from 1 in order of creation.
pub type ConversationId = u64;

/// A Raft log index: the position in the cluster's one order. What a client resumes from.
pub type Index = u64;

/// Position of a durable event within its topic, dense from 1.
pub type Version = u64;

/// Position of a message within its conversation, dense from 1.
pub type Sequence = u64;
/// How often a message was edited.
pub type Revision = u64;

/// The id under which a client's command takes effect at most once: a UUID, best a version 7 one (RFC 9562).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ClientMessageId(pub Uuid);

impl ClientMessageId {
    /// The id in its 16 bytes, as it travels between processes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads the 16 bytes back; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl fmt::Display for ClientMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClientMessageId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

/// What a durable event belongs to: a conversation, or the reader's own pseudo-conversation `me`.
///
/// In JSON the number of the conversation, or the string `"me"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicRef {
    /// The reader's own topic.
    Me,
    /// A conversation.
    Conversation(ConversationId),
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TopicRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TopicRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A conversation's number, or \"me\" for the reader's own topic.",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "me" }]
        })
    }
}

impl Serialize for TopicRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            TopicRef::Me => serializer.serialize_str("me"),
            TopicRef::Conversation(id) => serializer.serialize_u64(*id),
        }
    }
}

impl<'de> Deserialize<'de> for TopicRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(id) => Ok(TopicRef::Conversation(id)),
            Raw::Text(text) if text == "me" => Ok(TopicRef::Me),
            Raw::Text(text) => text.parse().map(TopicRef::Conversation).map_err(|_| {
                serde::de::Error::custom(format!("{text:?} is neither a conversation number nor \"me\""))
            }),
        }
    }
}
