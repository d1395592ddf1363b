//! Bodies of the REST interface beside the socket. All under `/api/v1`, JSON, errors as problem details (RFC 9457).
//!
//! Which call takes and gives what is declared once, in the gateway's table of routes, and served from there as an OpenAPI
//! document at `/openapi.json`. Answers that a frame gives as well have that frame's body, its `type` included.

mod admin;
mod bots;
mod cluster;
mod demo;
mod groups;
mod messages;
mod people;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::WireError;
use crate::frame::{Ack, AttachFile, Attachment, ConversationSummary, Event, MemberMarks, MessageRef, User};
use crate::ids::{ConversationId, Index, Revision, Sequence, Version};

pub use admin::{
    AdminUser, AdminUsers, Audit, AuditEntry, NewReset, ReportInfo, Reports, Resolution, UserState,
};
pub use bots::{
    BotRow, Bots, HookCall, HookData, HookMessage, HookRow, HookTarget, MadeBot, MadeToken, NewBot, NewToken,
    Scope, TokenRow, Tokens,
};
pub use cluster::{
    ClusterChanged, ClusterMember, ClusterView, Failover, FailoverCause, Failovers, GatewayRow, MemberKind,
    MembersChange, NewLeader, Quorum, ReplicaRole, ReplicaRow, Stage, StageTime, StageTimes,
};
pub use demo::{
    Demo, DemoControl, DemoEntry, DemoProcess, Fault, NewFault, NewProbe, ProbeReport, ProcessKind,
    ProcessState, UnavailableFault,
};
pub use groups::{
    BanInfo, Bans, Channel, Channels, ConversationChange, InviteInfo, InvitePreview, Invites, MemberInfo,
    Members, NewInvite, NewRole,
};
pub use messages::{
    Messages, NewDraft, NewReport, NewScheduled, ReactionUsers, Reactions, RevisionInfo, Revisions, Scheduled,
};
pub use people::{DeleteAccount, NewRecoveryCodes, ProfileChange, ResetPassword, UserProfile};

/// Name of the refresh cookie: `HttpOnly; SameSite=Strict; Path=/api/v1/sessions`. Value: `<session uuid>.<secret, base64url>`.
pub const REFRESH_COOKIE: &str = "quorate_refresh";

/// A new account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignUp {
    /// See [`crate::text::canonical_name`].
    pub name: String,
    /// See [`crate::text::check_password`].
    pub password: String,
    /// Shown to others; the name when absent.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What the user would call this device.
    #[serde(default)]
    pub device: Option<String>,
}

/// A sign-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignIn {
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
    /// What the user would call this device.
    #[serde(default)]
    pub device: Option<String>,
}

/// A session begun or refreshed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionGrant {
    /// Who signed in.
    pub user: User,
    /// The session's id, a UUID.
    pub session: String,
    /// For `hello` and for `Authorization: Bearer`.
    pub access_token: String,
    /// When the token ends, ms since the Unix epoch.
    pub expires_at: u64,
    /// Log index of what was written, or of the state that was read.
    pub index: Index,
    /// Given out while nothing could be committed: the token reads, and writes are refused until it is refreshed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The user is an admin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
}

/// A session as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionInfo {
    /// A UUID.
    pub id: String,
    /// What the user called the device.
    pub device: String,
    /// When it began, log time in ms since the Unix epoch.
    pub created: u64,
    /// When its token was last refreshed, log time in ms since the Unix epoch.
    pub refreshed: u64,
    /// It is the one that asks.
    pub current: bool,
}

/// The caller's sessions that have not ended, in order of their beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sessions {
    /// At most [`crate::limits::SESSIONS_PER_USER_MAX`].
    pub sessions: Vec<SessionInfo>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// Suggestions of replies to a conversation's newest message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Suggestions {
    /// At most three, the best first; none when the newest message is the caller's own or nothing fits.
    pub suggestions: Vec<String>,
    /// Who made them: `embedded`, `gemini` or `openai`.
    pub provider: String,
    /// The provider elsewhere to which messages of members who agreed are sent; empty: nothing leaves the server.
    pub sends_to: String,
    /// The caller agreed to that in this conversation (the preference `suggestions`).
    pub agreed: bool,
    /// The state that was read.
    pub as_of_index: Index,
}

/// Another password.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewPassword {
    /// The present one.
    pub password: String,
    /// See [`crate::text::check_password`].
    pub new_password: String,
}

/// What an operator was given by `replica admin offer`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClaimAdmin {
    /// The one-use secret.
    pub secret: String,
}

/// Users found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Directory {
    /// In order of name.
    pub users: Vec<User>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// The caller's profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Profile {
    /// Who she is.
    pub user: User,
    /// The session that the token belongs to, a UUID.
    pub session: String,
    /// Her status text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// She is an admin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Recovery codes that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_codes: Option<u32>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// The caller's conversations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conversations {
    /// All of them.
    pub conversations: Vec<ConversationSummary>,
    /// Version of `me` at `as_of_index`.
    pub me_version: Version,
    /// The state that was read.
    pub as_of_index: Index,
}

/// One conversation: the body of a `conversation` frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OneConversation {
    /// Always.
    Conversation {
        /// The summary.
        conversation: Box<ConversationSummary>,
        /// How far its members have come and who of them is there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        marks: Vec<MemberMarks>,
        /// The state that was read.
        as_of_index: Index,
    },
}

/// A page of messages: the body of a `page` frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessagesPage {
    /// Always.
    Page {
        /// Of which conversation.
        conversation: ConversationId,
        /// Events of kind `message`, in order of sequence.
        messages: Vec<Event>,
        /// Older messages exist.
        more_before: bool,
        /// Newer messages exist.
        more_after: bool,
        /// The state that was read.
        as_of_index: Index,
    },
}

/// How the hits of a search are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SearchOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The most relevant first.
    Best,
}

/// A page of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SearchPage {
    /// At most [`crate::limits::SEARCH_HITS_MAX`], and 256 KiB. May be fewer than asked for although there is a next page.
    pub hits: Vec<SearchHit>,
    /// The next page's `cursor`; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Everything up to this log index was searched.
    pub indexed_through: Index,
    /// Time ran out: there may be hits besides these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The state that was read.
    pub as_of_index: Index,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SearchHit {
    /// An event of kind `message`, as the message is now.
    pub message: Event,
    /// What to mark in its text, in order and apart. Empty where only filters were asked for.
    pub highlights: Vec<Highlight>,
}

/// A piece of a text, counted in Unicode scalar values: neither bytes nor UTF-16 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Highlight {
    /// The first.
    pub begin: u32,
    /// One past the last.
    pub end: u32,
}

/// A write was committed by a majority and applied: the body of an `ack` frame. `client_message_id` is the
/// `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Written {
    /// Always.
    Ack(Ack),
}

/// A conversation to be made, by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NewConversation {
    /// The one with another user: made, or found.
    Direct {
        /// Her user name.
        user: String,
    },
    /// A group with the caller as its owner.
    Group {
        /// 1 to 80 characters.
        title: String,
        /// User names, without the caller.
        #[serde(default)]
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
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewMessage {
    /// Up to 12 KiB of UTF-8.
    #[serde(default)]
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
    /// A message that is handed on; then `text` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<MessageRef>,
    /// Log time when this was first sent under its key, learnt from an earlier answer's `log_time`; 0 when none was known.
    #[serde(default)]
    pub first_sent: u64,
    /// As in the frame `send`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachFile>,
}

/// A file that is to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewFile {
    /// Of its path the last part counts.
    pub name: String,
    /// Bytes; at most `file_bytes_max` of the limits.
    pub size: u64,
}

/// Where it is to be uploaded to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Upload {
    /// A UUID: the file's id from now on.
    pub id: Uuid,
    /// Bytes of every chunk but the last.
    pub chunk_bytes: usize,
    /// How many chunks there are, numbered from 0.
    pub chunks: u64,
}

/// What the caller's files take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilesUse {
    /// Of their contents.
    pub bytes: u64,
    /// How many there may be.
    pub bytes_max: u64,
    /// How many files.
    pub files: u64,
}

/// A chunk that a majority of the replicas has on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChunkStored {
    /// Its number.
    pub number: u32,
    /// BLAKE3, in hex.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// On how many replicas it was when this was said.
    pub replicas: usize,
}

/// A file, or an upload that is not committed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FileState {
    /// Not committed: what is there of the caller's own upload, in order of numbers.
    Uploading {
        /// Chunks that a majority of the replicas has: the others are to be sent (again).
        chunks: Vec<ChunkStored>,
    },
    /// Committed.
    Committed {
        /// As messages show it.
        file: Attachment,
        /// What the content is cached under.
        etag: String,
        /// When it was committed, log time in ms since the Unix epoch.
        created: u64,
        /// The caller uploaded it.
        own: bool,
    },
}

/// Another text for a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewText {
    /// Up to 12 KiB of UTF-8.
    pub text: String,
    /// The revision that the writer saw; when another one is there the answer is `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<Revision>,
    /// As in [`NewMessage::first_sent`].
    #[serde(default)]
    pub first_sent: u64,
}

/// Somebody to be added to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewMember {
    /// Her user name.
    pub user: String,
}

/// How far the caller has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadMark {
    /// Up to which message, inclusive; the maximum counts.
    pub sequence: Sequence,
}

/// An error of the REST interface: problem details (RFC 9457) with the protocol's own error beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// The code's word.
    pub title: String,
    /// In words, for a person.
    pub detail: String,
    /// As in the `error` frame.
    pub error: WireError,
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        let row = error.code.row();
        Self { status: row.http_status, title: row.word.to_owned(), detail: error.message.clone(), error }
    }
}
