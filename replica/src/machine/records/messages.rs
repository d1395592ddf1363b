//! What belongs to messages.

use bytes::Bytes;
use prost::Message;
use quorate_proto::rpc;

/// A message, by sequence.
#[derive(Clone, PartialEq, Message)]
pub struct StoredMessage {
    /// Version of the event that brought it.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Its log index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
    /// Who wrote it.
    #[prost(uint64, tag = "4")]
    pub from: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub client_message_id: Bytes,
    /// As typed.
    #[prost(string, tag = "6")]
    pub text: String,
    /// Sequence of the message answered to; 0 for none.
    #[prost(uint64, tag = "7")]
    pub reply_to: u64,
    /// How often it was edited; the text is the newest.
    #[prost(uint64, tag = "8")]
    pub revision: u64,
    /// Log index of the newest edit; 0 before the first.
    #[prost(uint64, tag = "9")]
    pub edited_index: u64,
    /// Log time of the newest edit, ms; 0 before the first.
    #[prost(uint64, tag = "10")]
    pub edited_ms: u64,
    /// Log time when it was taken back, ms; 0 while it is there. Then text, reactions, pin and mentions are gone.
    #[prost(uint64, tag = "20")]
    pub deleted_ms: u64,
    /// Who was named by the text and a member, in order of id: those for whom there is a key in `Space::Mentions`.
    #[prost(uint64, repeated, tag = "21")]
    pub mentions: Vec<u64>,
    /// Everybody was named.
    #[prost(bool, tag = "22")]
    pub mentions_all: bool,
    /// Who wrote it where it was handed on from; 0: it was not.
    #[prost(uint64, tag = "23")]
    pub forwarded_from: u64,
    /// When that was, ms.
    #[prost(uint64, tag = "24")]
    pub forwarded_ms: u64,
    /// It has reactions: spares a look where there are none.
    #[prost(bool, tag = "25")]
    pub has_reactions: bool,
    /// It is pinned.
    #[prost(bool, tag = "26")]
    pub pinned: bool,
    /// Ids of the files that it shows, 16 bytes each.
    #[prost(bytes = "bytes", repeated, tag = "100")]
    pub attachments: Vec<Bytes>,
}

/// An earlier text of a message, by its revision.
#[derive(Clone, PartialEq, Message)]
pub struct Revision {
    /// As typed.
    #[prost(string, tag = "1")]
    pub text: String,
    /// Log index at which it became the text.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Log time then, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
}

/// Messages were taken back.
#[derive(Clone, PartialEq, Message)]
pub struct DeletedEvent {
    /// Their sequences, in order.
    #[prost(uint64, repeated, tag = "1")]
    pub sequences: Vec<u64>,
    /// By whom; 0 by the retention rule.
    #[prost(uint64, tag = "2")]
    pub by: u64,
}

/// An emoji was put on a message, or taken away.
#[derive(Clone, PartialEq, Message)]
pub struct ReactionEvent {
    /// Which message.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The emoji.
    #[prost(string, tag = "2")]
    pub emoji: String,
    /// By whom.
    #[prost(uint64, tag = "3")]
    pub user_id: u64,
    /// Put there, or taken away.
    #[prost(bool, tag = "4")]
    pub on: bool,
}

/// A message was pinned, or no longer is.
#[derive(Clone, PartialEq, Message)]
pub struct PinEvent {
    /// Which message.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Pinned, or no longer.
    #[prost(bool, tag = "2")]
    pub on: bool,
    /// By whom.
    #[prost(uint64, tag = "3")]
    pub by: u64,
}

/// Reactions to a message, in order of each emoji's first use.
#[derive(Clone, PartialEq, Message)]
pub struct Reactions {
    /// One for each emoji.
    #[prost(message, repeated, tag = "1")]
    pub emojis: Vec<ReactionsOf>,
}

/// One emoji on a message.
#[derive(Clone, PartialEq, Message)]
pub struct ReactionsOf {
    /// The emoji.
    #[prost(string, tag = "1")]
    pub emoji: String,
    /// Who put it there, in order of use; never empty.
    #[prost(uint64, repeated, tag = "2")]
    pub user_ids: Vec<u64>,
}

/// That a message is pinned.
#[derive(Clone, PartialEq, Message)]
pub struct Pin {
    /// By whom.
    #[prost(uint64, tag = "1")]
    pub by: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "2")]
    pub log_time_ms: u64,
    /// Version of the event.
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

/// A message in somebody's list: saved by her, or naming her.
#[derive(Clone, PartialEq, Message)]
pub struct Listed {
    /// Where.
    #[prost(uint64, tag = "1")]
    pub conversation_id: u64,
    /// Which.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// Log time when it came there, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
}

/// What a user took out of her sight in one conversation.
#[derive(Clone, PartialEq, Message)]
pub struct HiddenRanges {
    /// In order, not touching each other.
    #[prost(message, repeated, tag = "1")]
    pub ranges: Vec<rpc::SequenceRange>,
}

/// What a user has begun to write.
#[derive(Clone, PartialEq, Message)]
pub struct Draft {
    /// As typed.
    #[prost(string, tag = "1")]
    pub text: String,
    /// Sequence of the message answered to; 0 for none.
    #[prost(uint64, tag = "2")]
    pub reply_to: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
}

/// A message to be sent or a reminder to be given.
#[derive(Clone, PartialEq, Message)]
pub struct ScheduledRecord {
    /// Where.
    #[prost(uint64, tag = "1")]
    pub conversation_id: u64,
    /// What is sent; of a reminder a note.
    #[prost(string, tag = "2")]
    pub text: String,
    /// Sequence of the message answered to; 0 for none.
    #[prost(uint64, tag = "3")]
    pub reply_to: u64,
    /// Log time, ms.
    #[prost(uint64, tag = "4")]
    pub due_ms: u64,
    /// Not 0: a reminder of this message.
    #[prost(uint64, tag = "5")]
    pub remind_of: u64,
    /// Its number in the list of what is due.
    #[prost(uint64, tag = "6")]
    pub due_number: u64,
    /// Log time when it could not be sent, ms: the text is kept for a while then. 0: it is still to come.
    #[prost(uint64, tag = "7")]
    pub failed_ms: u64,
}

/// The list of what is due, in short: says without a range read that nothing is.
#[derive(Clone, PartialEq, Message)]
pub struct DueHead {
    /// Nothing is due before this log time, ms; 0: nothing is due at all.
    #[prost(uint64, tag = "1")]
    pub head_ms: u64,
    /// The last number given out.
    #[prost(uint64, tag = "2")]
    pub last_number: u64,
    /// How much there is.
    #[prost(uint64, tag = "3")]
    pub count: u64,
}

/// Something that is due at a log time.
#[derive(Clone, PartialEq, Message)]
pub struct Due {
    /// Of a piece of work that takes several turns: done up to here.
    #[prost(uint64, tag = "10")]
    pub after: u64,
    /// What.
    #[prost(oneof = "DueKind", tags = "1, 2, 3, 4")]
    pub kind: Option<DueKind>,
}

/// See [`Due::kind`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum DueKind {
    /// What a user has scheduled.
    #[prost(message, tag = "1")]
    Scheduled(DueScheduled),
    /// The retention rule looks at this conversation.
    #[prost(uint64, tag = "2")]
    Retention(u64),
    /// This user, whose account was deleted, leaves her groups.
    #[prost(uint64, tag = "3")]
    LeaveAll(u64),
    /// What waited for this bot's webhook was dropped, and is erased.
    #[prost(uint64, tag = "4")]
    EraseHook(u64),
}

/// What a user has scheduled.
#[derive(Clone, PartialEq, Message)]
pub struct DueScheduled {
    /// Who.
    #[prost(uint64, tag = "1")]
    pub user_id: u64,
    /// Her number of it.
    #[prost(uint64, tag = "2")]
    pub id: u64,
}
