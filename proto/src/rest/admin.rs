//! What admins read and do.

use serde::{Deserialize, Serialize};

use crate::frame::{Event, User};
use crate::ids::{ConversationId, Index};

/// Users, in order of name; a page may be short, or empty, and yet not the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AdminUsers {
    /// Those that are disabled as well.
    pub users: Vec<AdminUser>,
    /// More may follow: give this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// A user as admins see her.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AdminUser {
    /// Who.
    pub user: User,
    /// She is an admin.
    pub admin: bool,
    /// She cannot sign in.
    pub disabled: bool,
    /// Log time of her sign-up, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// When she was last there, log time to the minute, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
    /// Her sessions that have not ended.
    pub sessions: u32,
}

/// A change of a user by an admin; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserState {
    /// Signed out everywhere, and cannot sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// An admin. The last one stays one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
}

/// A secret with which a user may set another password, once, within 24 h.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewReset {
    /// 43 to 64 letters, digits, dashes or underscores (256 bits as base64url), drawn at random by the caller, who hands them on:
    /// a retry sends the same. The servers keep a hash of it.
    pub secret: String,
}

/// Messages that users have reported, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reports {
    /// At most 100.
    pub reports: Vec<ReportInfo>,
    /// More follow: give the last one's id as `before`.
    pub more: bool,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReportInfo {
    /// Its number.
    pub id: u64,
    /// Who reported.
    pub by: User,
    /// Log time, ms.
    pub created: u64,
    /// Why.
    pub reason: String,
    /// Where the message is.
    pub conversation: ConversationId,
    /// The message as it was when it was reported; without text when it was deleted since, or that text is kept no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Event>,
    /// Its author has edited it since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited_since: bool,
    /// Log time when it was resolved, ms; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<u64>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<User>,
    /// What was done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resolution: String,
}

/// What was done about a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resolution {
    /// 1 to 500 characters.
    pub resolution: String,
}

/// What was done that concerns others' rights, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Audit {
    /// At most 200.
    pub entries: Vec<AuditEntry>,
    /// More follow: give this as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Where in the log it stands.
    pub index: Index,
    /// Log time, ms.
    pub time: u64,
    /// Who did it; absent when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<User>,
    /// A word, such as `user_disabled`.
    pub action: String,
    /// To whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<User>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// More in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
