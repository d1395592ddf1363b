//! A timeline as rows: day separators, authors once per group, own messages from clock to tick.

use std::sync::Arc;

use quorate_proto::frame::Message;
use quorate_proto::ids::{ConversationId, Index, Sequence};

use super::people::{called, sentence};
use crate::client::Client;
use crate::outbox::ItemState;
use crate::signals::Reach;
use crate::timeline::{Notice, NoticeKind};

/// Messages of one author within this time stand under one name.
pub const GROUP_MS_MAX: u64 = 5 * 60 * 1_000;

/// One row of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A new day begins; the caller's number of it, and a time in it.
    Day {
        /// As the caller's function numbers days.
        day: i64,
        /// Log time of its first message, ms.
        time: u64,
    },
    /// What follows was not read when the conversation was opened.
    New,
    /// Something happened that is not a message.
    Notice {
        /// Unique in the conversation.
        version: u64,
        /// In words.
        text: String,
        /// Log time, ms.
        time: u64,
    },
    /// A message.
    Message(MessageRow),
}

/// A message as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Stays the same from clock to tick, so that nothing jumps: author and client message id, and the revision of an edit.
    pub key: String,
    /// What was written. For a pending one, sequence is 0.
    pub message: Arc<Message>,
    /// Log time, or the wall clock while pending; ms.
    pub time: u64,
    /// First of its author's group: shows name and picture.
    pub head: bool,
    /// The reader wrote it.
    pub own: bool,
    /// How far it has come.
    pub state: MessageState,
}

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageState {
    /// Written, on its way.
    Pending,
    /// Committed by a majority.
    Sent {
        /// Where in the conversation.
        sequence: Sequence,
        /// Where in the log; 0 if it is not known.
        index: Index,
        /// Under which term it was acknowledged; 0 if it is not known.
        term: u64,
        /// How far an own message has come among the others.
        reach: Reach,
        /// On how many replicas' disks an own message is, and of how many; `None` when nobody has said.
        disks: Option<(u32, u32)>,
    },
    /// Older than a day and unsent: its writer says whether it still holds.
    NeedsTap,
    /// Refused; in words why.
    Failed(String),
}

/// The rows of a conversation, oldest first. `new_after`: the read mark when it was opened, for the "new" line.
/// `local_day` numbers days in the reader's time zone.
pub fn rows(
    client: &Client,
    id: ConversationId,
    new_after: Option<Sequence>,
    local_day: &dyn Fn(u64) -> i64,
) -> Vec<Row> {
    let me = client.me().cloned().unwrap_or_default();
    let Some(conversation) = client.conversation(id) else { return Vec::new() };
    let timeline = &conversation.timeline;
    let mut build = Builder { rows: Vec::new(), day: None, last: None, local_day };
    let mut notices = timeline.notices().iter().peekable();
    let mut new_shown = false;
    let first = timeline.first().unwrap_or(0);
    for (sequence, entry) in timeline.run() {
        while let Some(notice) = notices.next_if(|notice| notice.after < *sequence) {
            if notice.after + 1 >= first {
                build.notice(notice);
            }
        }
        let own = entry.message.from.id == me.id;
        if !new_shown && !own && new_after.is_some_and(|read| *sequence > read) {
            new_shown = true;
            build.day_of(entry.time);
            build.rows.push(Row::New);
            build.last = None;
        }
        let reach = if own { conversation.reach(*sequence) } else { Reach::default() };
        let disks = if own { conversation.signals.disks(*sequence) } else { None };
        let (index, term) = (entry.index, entry.term);
        let state = MessageState::Sent { sequence: *sequence, index, term, reach, disks };
        build.message(Arc::clone(&entry.message), entry.time, own, state);
    }
    for notice in notices {
        build.notice(notice);
    }
    let own_message = |id, text: &str, reply_to, sequence| {
        Arc::new(Message {
            sequence,
            from: me.clone(),
            client_message_id: id,
            text: text.to_owned(),
            revision: 0,
            reply_to,
        })
    };
    for echo in timeline.echoes() {
        let message = own_message(echo.item.id, &echo.item.text, echo.item.reply_to, echo.sequence);
        let reach = conversation.reach(echo.sequence);
        let disks = conversation.signals.disks(echo.sequence);
        let (sequence, index, term) = (echo.sequence, echo.index, echo.term);
        let state = MessageState::Sent { sequence, index, term, reach, disks };
        build.message(message, echo.time, true, state);
    }
    for item in client.outbox().of(id) {
        let message = own_message(item.stored.id, &item.stored.text, item.stored.reply_to, 0);
        let state = match &item.state {
            ItemState::Failed(error) => MessageState::Failed(sentence(&error.message)),
            ItemState::NeedsTap => MessageState::NeedsTap,
            _ => MessageState::Pending,
        };
        build.message(message, item.stored.created_ms, true, state);
    }
    build.rows
}

struct Builder<'a> {
    rows: Vec<Row>,
    day: Option<i64>,
    /// Author and time of the message above, if it may head a group.
    last: Option<(u64, u64)>,
    local_day: &'a dyn Fn(u64) -> i64,
}

impl Builder<'_> {
    fn day_of(&mut self, time: u64) {
        let day = (self.local_day)(time);
        // Clocks differ: a pending message "before" the last committed one opens no former day.
        if self.day.is_none_or(|last| day > last) {
            self.day = Some(day);
            self.rows.push(Row::Day { day, time });
            self.last = None;
        }
    }

    fn message(&mut self, message: Arc<Message>, time: u64, own: bool, state: MessageState) {
        self.day_of(time);
        let head = self
            .last
            .is_none_or(|(author, at)| author != message.from.id || time.abs_diff(at) > GROUP_MS_MAX);
        self.last = Some((message.from.id, time));
        let mut key = format!("{}-{}", message.from.id, message.client_message_id);
        if message.revision > 0 {
            // Another text is another row: a page need not look inside.
            key = format!("{key}-{}", message.revision);
        }
        self.rows.push(Row::Message(MessageRow { key, message, time, head, own, state }));
    }

    fn notice(&mut self, notice: &Notice) {
        self.day_of(notice.time);
        self.last = None;
        let text = match &notice.what {
            NoticeKind::Joined { user, by } if user.id == by.id => format!("{} joined", called(user)),
            NoticeKind::Joined { user, by } => format!("{} added {}", called(by), called(user)),
            NoticeKind::Left { user, by } if user.id == by.id => format!("{} left", called(user)),
            NoticeKind::Left { user, by } => format!("{} removed {}", called(by), called(user)),
            NoticeKind::Titled { title, by } => format!("{} named this “{title}”", called(by)),
        };
        self.rows.push(Row::Notice { version: notice.version, text, time: notice.time });
    }
}
