//! What belongs to messages.

use prost::Message;
use quorate_proto::rpc;

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
