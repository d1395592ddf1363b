//! Bots: users without a password, their tokens and webhooks.

use serde::{Deserialize, Serialize};

use crate::frame::User;
use crate::ids::{ConversationId, Index};

/// A new bot of the caller's. Its name ends for good, as any user's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewBot {
    /// As a user's name.
    pub name: String,
    /// 1 to 80 characters; the name without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// A new bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MadeBot {
    /// The user that it is.
    pub user: User,
    /// Where the log has it.
    pub index: Index,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read, search and follow what the user may see.
    Read,
    /// Send, edit, take back, react, pin, upload files, mark read.
    Send,
    /// Begin conversations, join, leave, and change members, roles, invites and settings where the user may.
    Manage,
}

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewToken {
    /// 1 to 80 characters.
    pub label: String,
    /// At least one.
    pub scopes: Vec<Scope>,
    /// Days after which it ends, 1 to 3,650; without it, when it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// For messages into this conversation alone: then `scopes` is `["send"]`, and the answer has the address of a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

/// A token, as it is shown once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MadeToken {
    /// For `Authorization: Bearer` and for `hello`. Nobody can read it again.
    pub token: String,
    /// Path of the incoming webhook, the token in it, of a token for one conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Its id.
    pub id: String,
    /// Where the log has it.
    pub index: Index,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenRow {
    /// Its id, by which it is ended.
    pub id: String,
    /// What its owner calls it.
    pub label: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// Log time, ms.
    pub created: u64,
    /// Log time, ms; absent: it ends when it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// The one conversation that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

/// Tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tokens {
    /// In order of creation.
    pub tokens: Vec<TokenRow>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// Where a bot is told of what others say in its conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookTarget {
    /// `http` or `https`, at most 1,000 bytes, no user or password in it.
    pub url: String,
    /// Only messages that name the bot, and those of direct conversations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mentions_only: bool,
    /// Another secret for signatures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_secret: bool,
}

/// An outgoing webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookRow {
    /// Where the bot is told.
    pub url: String,
    /// Only messages that name the bot, and those of direct conversations.
    pub mentions_only: bool,
    /// `whsec_` and the key of the signatures in base64, as Standard Webhooks has it.
    pub secret: String,
    /// What waits to be told.
    pub waiting: u64,
    /// What was given up since the webhook was set.
    pub given_up: u64,
    /// Why the last one was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When, log time in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<u64>,
}

/// A bot of the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BotRow {
    /// The user that it is.
    pub user: User,
    /// Log time, ms.
    pub created: u64,
    /// Its tokens, in order of creation.
    pub tokens: Vec<TokenRow>,
    /// Its outgoing webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookRow>,
}

/// The caller's bots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bots {
    /// In order of creation.
    pub bots: Vec<BotRow>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// What is posted to an incoming webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookMessage {
    /// The message, as a user would write it.
    pub text: String,
}

/// What an outgoing webhook is told, by the rules of Standard Webhooks 1.0: `webhook-id` is [`HookCall::id`] and stays the same
/// however often it is tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookCall {
    /// The event's id for this bot: never that of another event.
    pub id: String,
    /// `message.created`, `message.edited` or `message.deleted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Log time of the event, RFC 3339.
    pub timestamp: String,
    /// What happened.
    pub data: HookData,
}

/// See [`HookCall`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookData {
    /// Who is told.
    pub bot: User,
    /// The event, as a session would hear it.
    pub event: crate::frame::Event,
}
