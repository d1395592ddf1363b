//! What a timeline consists of: committed messages, echoes of own ones, and notices.

use std::sync::Arc;

use quorate_proto::frame::{MemberRole, Message, User};
use quorate_proto::ids::{Index, Sequence, Version};

use crate::outbox::StoredItem;

/// A committed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was written.
    pub message: Arc<Message>,
    /// Log time, ms.
    pub time: u64,
    /// Where in the log it stands; 0 if it came by a page of history.
    pub index: Index,
    /// Under which term it was acknowledged; 0 if somebody else sent it.
    pub term: u64,
    /// The message is as it was at this index or later: what events up to it say is in it already.
    pub as_of: Index,
    /// The newest event that changed it: a page that was read before is no news.
    pub(super) touched: Index,
}

impl Entry {
    /// Events up to this index are in it, whether they came with it or after it.
    pub(crate) fn true_as_of(&self) -> Index {
        self.as_of.max(self.touched)
    }
}

/// An own message that is acknowledged; its event has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// As it stood in the outbox.
    pub item: StoredItem,
    /// Where the ack says that it stands.
    pub sequence: Sequence,
    /// Where in the log.
    pub index: Index,
    /// Under which term.
    pub term: u64,
    /// Log time, ms.
    pub time: u64,
}

/// Something that happened and is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its event's version.
    pub version: Version,
    /// After which message it is shown.
    pub after: Sequence,
    /// Log time, ms.
    pub time: u64,
    /// What happened.
    pub what: NoticeKind,
}

/// What a [`Notice`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeKind {
    /// Somebody joined.
    Joined {
        /// Who.
        user: User,
        /// By whom.
        by: User,
    },
    /// Somebody left, or was removed.
    Left {
        /// Who.
        user: User,
        /// By whom.
        by: User,
        /// For good.
        banned: bool,
    },
    /// The conversation was made or renamed.
    Titled {
        /// Its title now.
        title: String,
        /// By whom.
        by: User,
    },
    /// It is about something else.
    Topic {
        /// What; may be empty.
        topic: String,
        /// By whom.
        by: User,
    },
    /// It has another picture, or none any more.
    Pictured {
        /// Whether it has one.
        on: bool,
        /// By whom.
        by: User,
    },
    /// Anybody can join, or no longer.
    Public {
        /// Whether.
        on: bool,
        /// By whom.
        by: User,
    },
    /// Only its owner and admins write, or all members.
    Announcement {
        /// Whether.
        on: bool,
        /// By whom.
        by: User,
    },
    /// Messages are kept for another time.
    Retention {
        /// For how long, ms; 0: for ever.
        retention_ms: u64,
        /// By whom.
        by: User,
    },
    /// A member may do something else.
    Role {
        /// Who.
        user: User,
        /// What she is.
        role: MemberRole,
        /// By whom.
        by: User,
    },
    /// A message was pinned.
    Pinned {
        /// Which.
        sequence: Sequence,
        /// By whom.
        by: User,
    },
}
