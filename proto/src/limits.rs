//! Limits that both ends share. Each is named with its unit and says why it stands where it does.

use serde::{Deserialize, Serialize};

/// Longest WebSocket message or frame accepted from a client. A full text with its envelope and JSON escapes fits.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest message text in UTF-8 bytes: with its envelope it stays under [`STORED_VALUE_BYTES_MAX`].
pub const TEXT_BYTES_MAX: usize = 12 * 1024;
/// Longest search, in UTF-8 bytes: beyond what anybody types, and far below what costs a replica time.
pub const SEARCH_BYTES_MAX: usize = 512;
/// Words, phrases and filters of one search: each word costs a walk through its own list of messages.
pub const SEARCH_ITEMS_MAX: usize = 16;
/// Messages in one page of a search.
pub const SEARCH_HITS_MAX: u32 = 50;
/// Largest value of the state's store, runs of messages (64 KiB) apart.
pub const STORED_VALUE_BYTES_MAX: usize = 32 * 1024;
/// A socket says `hello` within this, or is closed with 4408: gone within ten seconds, the second of its farewell included.
pub const HELLO_WAIT_MS: u64 = 9_000;
/// Interval of the server's pings.
pub const PING_INTERVAL_MS: u64 = 25_000;
/// A ping unanswered for this long closes the socket with 4103.
pub const PONG_WAIT_MS: u64 = 10_000;
/// A client that heard nothing for this long reconnects: one ping interval and one pong wait.
pub const SILENCE_MS_MAX: u64 = 35_000;
/// Frames that may wait in a session's outbox before it is let go.
pub const OUTBOX_FRAMES_MAX: usize = 256;
/// Bytes that may wait in a session's outbox before it is let go.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Missed events a resume delivers; beyond it the session starts from the summary.
pub const RESUME_EVENTS_MAX: u32 = 1_000;
/// Events in one page of `since`.
pub const SINCE_EVENTS_MAX: u32 = 300;
/// Pairs in one `since`.
pub const SINCE_PAIRS_MAX: usize = 128;
/// Messages in one page of `history`.
pub const HISTORY_MESSAGES_MAX: u32 = 100;
/// A page of events ends at this many bytes, with `more`.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Members of a group.
pub const MEMBERS_MAX: usize = 5_000;
/// Members named in one `create_group`: keeps the command well inside a frame.
pub const CREATE_GROUP_MEMBERS_MAX: usize = 500;
/// Messages taken back or hidden by one command.
pub const DELETE_MESSAGES_MAX: u64 = 100;
/// Bytes of one emoji: the longest sequences that Unicode recommends have 35, a flag of a region 28.
pub const EMOJI_BYTES_MAX: usize = 40;
/// Different emoji on one message.
pub const REACTIONS_MAX: usize = 20;
/// People who react to one message, each emoji counted: its record stays under [`STORED_VALUE_BYTES_MAX`].
pub const REACTORS_MAX: usize = 2_000;
/// Users listed with an emoji in an event; the rest is counted.
pub const REACTION_USERS_LISTED_MAX: usize = 20;
/// Pinned messages of a conversation.
pub const PINS_MAX: u32 = 100;
/// Messages that one user has saved.
pub const SAVED_MAX: u32 = 5_000;
/// Members named by one message; those named after them are not told.
pub const MENTIONS_MAX: usize = 50;
/// Ranges of messages that one user has hidden in one conversation.
pub const HIDDEN_RANGES_MAX: usize = 128;
/// What one user has scheduled and is still to come.
pub const SCHEDULED_MAX: u32 = 100;
/// How far ahead something is scheduled.
pub const SCHEDULE_AHEAD_MS_MAX: u64 = 366 * 24 * 3_600 * 1_000;
/// Invites of one group that have not ended.
pub const INVITES_MAX: usize = 50;
/// Admins of one group: they are named in its record, which is written with every message.
pub const GROUP_ADMINS_MAX: usize = 50;
/// Users banned from one group.
pub const BANS_MAX: usize = 5_000;
/// Users whom one user has blocked.
pub const BLOCKED_MAX: usize = 1_000;
/// Conversations one user is a member of; joining one more is refused.
pub const CONVERSATIONS_PER_USER_MAX: usize = 10_000;
/// A group's topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 250;
/// A user's status text, in characters.
pub const STATUS_CHARS_MAX: usize = 100;
/// Why a message was reported, and what was done about it, in characters.
pub const REASON_CHARS_MAX: usize = 500;
/// Shortest time for which messages are kept where old ones are deleted.
pub const RETENTION_MS_MIN: u64 = 3_600 * 1_000;
/// Reports of one user that the admins are not done with.
pub const OPEN_REPORTS_PER_USER_MAX: usize = 20;
/// Longest such time: a hundred years.
pub const RETENTION_MS_MAX: u64 = 100 * 366 * 24 * 3_600 * 1_000;
/// Recovery codes of one user.
pub const RECOVERY_CODES_MAX: usize = 10;
/// A secret with which a password may be set anew is good for this long.
pub const RESET_MS: u64 = 24 * 3_600 * 1_000;
/// Users in one `RecordSeen`.
pub const SEEN_USERS_MAX: usize = 256;
/// Things whose time has come that one log entry does; the next entry goes on.
pub const DUE_PER_ENTRY_MAX: usize = 256;
/// Members listed in a conversation's summary.
pub const SUMMARY_MEMBERS_MAX: usize = 50;
/// Sockets of one user on one gateway.
pub const SOCKETS_PER_USER_MAX: usize = 20;
/// A gateway retries a submit inside for this long, then answers `unavailable`, temporary.
pub const SUBMIT_WAIT_MS: u64 = 10_000;
/// Command ids are remembered for this much log time.
pub const DEDUP_MS: u64 = 72 * 3_600 * 1_000;
/// Command ids of one user that are remembered at a time; beyond it new commands are refused until the oldest are 72 h old.
/// One a second, day and night, fits; the memory of one user ends at some 60 MB on disk.
pub const COMMANDS_REMEMBERED_PER_USER_MAX: u64 = 250_000;
/// The same for all sign-ups and sign-ins together, which have no user yet.
pub const SIGN_INS_REMEMBERED_MAX: u64 = 4_000_000;
/// Earlier texts kept of a message.
pub const REVISIONS_KEPT_MAX: u64 = 64;
/// Items older than this in a client's outbox need a person's tap.
pub const OUTBOX_AGE_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Sends in [`SENDS_WINDOW_MS`] per user and conversation.
pub const SENDS_PER_WINDOW_MAX: u32 = 10;
/// Window of [`SENDS_PER_WINDOW_MAX`].
pub const SENDS_WINDOW_MS: u64 = 10_000;
/// Other frames a second, sustained.
pub const FRAMES_PER_SECOND: u32 = 10;
/// Other frames in one burst.
pub const FRAMES_BURST: u32 = 200;
/// Conversations whose signals one socket may want at a time.
pub const OPEN_ROOMS_MAX: usize = 128;
/// Somebody who typed is shown as typing for this long.
pub const TYPING_MS: u64 = 6_000;
/// Members up to which presence is told in a conversation: one change goes to all of them.
pub const PRESENCE_MEMBERS_MAX: u32 = 200;
/// Members up to which delivered and read marks are told in a conversation: beyond it nobody looks at each.
pub const RECEIPT_MEMBERS_MAX: u32 = 20;
/// Changes of leader that a replica remembers, and that are told at a time.
pub const FAILOVERS_MAX: usize = 16;
/// A gateway renews the lease of its users' presence this often.
pub const LEASE_RENEW_MS: u64 = 3_000;
/// Without renewal a lease ends after this: two renewals may be lost.
pub const LEASE_MS: u64 = 9_000;
/// User names.
pub const NAME_CHARS_MIN: usize = 2;
/// User names.
pub const NAME_CHARS_MAX: usize = 32;
/// Display names and titles, in characters.
pub const TITLE_CHARS_MAX: usize = 80;
/// Passwords: at least this many characters (OWASP ASVS 6.2.1).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Passwords: at most this many bytes, so that hashing has a bound.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Life of an access token.
pub const ACCESS_TOKEN_MS: u64 = 15 * 60 * 1_000;
/// Life of an access token that is given out while nothing can be committed: it reads and does nothing else.
pub const READ_ONLY_TOKEN_MS: u64 = 5 * 60 * 1_000;
/// A refresh secret that was replaced stays good for this much log time, until its successor is used.
pub const PREVIOUS_SECRET_MS: u64 = 60 * 1_000;
/// Sessions of one user that last; one more ends the one that was used longest ago.
pub const SESSIONS_PER_USER_MAX: usize = 100;
/// Bytes of a chunk, the unit in which files travel and rest: every chunk of a file but the last has so many.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Largest file: its list of chunks (32 bytes each) is one command.
pub const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of one user's files together.
pub const FILES_BYTES_PER_USER_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Files of one user: even empty ones cost a record.
pub const FILES_PER_USER_MAX: u64 = 20_000;
/// Uploads of one user that are not committed.
pub const UPLOADS_PER_USER_MAX: usize = 32;
/// Files that one message shows.
pub const ATTACHMENTS_MAX: usize = 10;
/// A file's name, in bytes of UTF-8: what file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bots of one user.
pub const BOTS_PER_USER_MAX: usize = 20;
/// Bots in one conversation: each message looks at the webhook of each.
pub const BOTS_PER_CONVERSATION_MAX: usize = 10;
/// Tokens of one user, or of one bot, that have not ended.
pub const TOKENS_PER_USER_MAX: usize = 50;
/// Longest address of an outgoing webhook.
pub const HOOK_URL_BYTES_MAX: usize = 1_000;
/// What may wait for one webhook; what comes then is given up at once.
pub const HOOK_WAITING_MAX: u64 = 10_000;
/// Longest lease of the gateway that tells webhooks.
pub const HOOK_LEASE_MS_MAX: u32 = 60_000;
/// Longer side of a thumbnail.
pub const THUMBNAIL_PIXELS_MAX: u32 = 320;
/// Largest image that is looked into, in pixels: decoded it takes four bytes each.
pub const IMAGE_PIXELS_MAX: u64 = 40_000_000;
/// Number of an upload's thumbnail among its chunks.
pub const THUMBNAIL_NUMBER: u32 = u32::MAX;
/// First number of the chunks that a gateway makes of an image's: the ones that were sent stay, for the case that it is done again.
pub const MADE_NUMBER: u32 = 1 << 16;
/// A replica keeps a chunk that it has received for this much log time, and commits count on it.
pub const RECEIPT_MS: u64 = 12 * 3_600 * 1_000;
/// A file that no message shows is kept for this much log time.
pub const FILE_KEPT_MS: u64 = 24 * 3_600 * 1_000;
/// Leeway for clocks when a token's times are judged.
pub const TOKEN_LEEWAY_MS: u64 = 30_000;

/// The limits a client must know, sent in `welcome`. A configuration may change them (a load test raises them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SessionLimits {
    /// See [`TEXT_BYTES_MAX`].
    pub text_bytes_max: usize,
    /// See [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: usize,
    /// See [`HISTORY_MESSAGES_MAX`].
    pub history_messages_max: u32,
    /// See [`SINCE_EVENTS_MAX`].
    pub since_events_max: u32,
    /// See [`SENDS_PER_WINDOW_MAX`]; 0 for no limit.
    pub sends_per_window_max: u32,
    /// See [`SENDS_WINDOW_MS`].
    pub sends_window_ms: u64,
    /// See [`FRAMES_PER_SECOND`]; 0 for no limit.
    pub frames_per_second: u32,
    /// See [`FRAMES_BURST`].
    pub frames_burst: u32,
    /// See [`SINCE_PAIRS_MAX`].
    pub since_pairs_max: usize,
    /// See [`OPEN_ROOMS_MAX`].
    pub open_rooms_max: usize,
    /// See [`OUTBOX_FRAMES_MAX`].
    pub outbox_frames_max: usize,
    /// See [`OUTBOX_BYTES_MAX`].
    pub outbox_bytes_max: usize,
    /// See [`RESUME_EVENTS_MAX`].
    pub resume_events_max: u32,
    /// See [`PRESENCE_MEMBERS_MAX`]; decided by the replicas.
    pub presence_members_max: u32,
    /// See [`RECEIPT_MEMBERS_MAX`]; decided by the replicas.
    pub receipt_members_max: u32,
    /// See [`SOCKETS_PER_USER_MAX`]; 0 for no limit. What the gateway's `sockets_per_user_max` says.
    pub sockets_per_user_max: usize,
    /// See [`MEMBERS_MAX`]; decided by the replicas.
    pub members_max: usize,
    /// See [`FILE_BYTES_MAX`].
    pub file_bytes_max: u64,
    /// See [`CHUNK_BYTES`]; decided by the replicas.
    pub chunk_bytes: usize,
    /// See [`ATTACHMENTS_MAX`]; decided by the replicas.
    pub attachments_max: usize,
    /// See [`FILES_BYTES_PER_USER_MAX`]; decided by the replicas.
    pub files_bytes_per_user_max: u64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            text_bytes_max: TEXT_BYTES_MAX,
            frame_bytes_max: FRAME_BYTES_MAX,
            history_messages_max: HISTORY_MESSAGES_MAX,
            since_events_max: SINCE_EVENTS_MAX,
            sends_per_window_max: SENDS_PER_WINDOW_MAX,
            sends_window_ms: SENDS_WINDOW_MS,
            frames_per_second: FRAMES_PER_SECOND,
            frames_burst: FRAMES_BURST,
            since_pairs_max: SINCE_PAIRS_MAX,
            open_rooms_max: OPEN_ROOMS_MAX,
            outbox_frames_max: OUTBOX_FRAMES_MAX,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            resume_events_max: RESUME_EVENTS_MAX,
            presence_members_max: PRESENCE_MEMBERS_MAX,
            receipt_members_max: RECEIPT_MEMBERS_MAX,
            sockets_per_user_max: SOCKETS_PER_USER_MAX,
            members_max: MEMBERS_MAX,
            file_bytes_max: FILE_BYTES_MAX,
            chunk_bytes: CHUNK_BYTES,
            attachments_max: ATTACHMENTS_MAX,
            files_bytes_per_user_max: FILES_BYTES_PER_USER_MAX,
        }
    }
}
