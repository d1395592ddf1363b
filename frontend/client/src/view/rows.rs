//! A timeline as rows: day separators, authors once per group, own messages from clock to tick.

use std::sync::Arc;

use quorate_proto::frame::{ConversationKind, Forwarded, MemberRole, Message, User};
use quorate_proto::ids::{ConversationId, Index, Sequence, UserId};

use super::files::said;
use super::people::{called, duration, one_line, sentence};
use super::portrait::{Portrait, portrait_of};
use crate::client::Client;
use crate::command::Deed;
use crate::conversation::Conversation;
use crate::outbox::{ItemState, StoredItem};
use crate::signals::Reach;
use crate::timeline::{Notice, NoticeKind};
use crate::words::{t, tf, tn};

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
    /// Stays the same from clock to tick and through edits, so that nothing jumps: author and client message id.
    pub key: String,
    /// What was written. For a pending one, sequence is 0.
    pub message: Arc<Message>,
    /// Log time, or the wall clock while pending; ms.
    pub time: u64,
    /// First of its author's group: shows name and picture.
    pub head: bool,
    /// The reader wrote it.
    pub own: bool,
    /// Its author's picture, as far as is known now. Boxed: rows are many, and pictures few.
    pub portrait: Option<Box<Portrait>>,
    /// How far it has come.
    pub state: MessageState,
    /// The message it answers to.
    pub quote: Option<Quote>,
    /// Who reacted, what is under way included.
    pub reactions: Vec<ReactionRow>,
    /// An edit that is under way, or was refused.
    pub edit: Option<PendingEdit>,
    /// Its deletion is under way.
    pub deleting: bool,
    /// The reader has saved it.
    pub saved: bool,
    /// It names the reader.
    pub names_reader: bool,
    /// What the reader may do with it.
    pub may: May,
}

/// A message that is answered to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quote {
    /// Which.
    pub sequence: Sequence,
    /// Who wrote it; empty while it is not known.
    pub author: String,
    /// Its text in one line, or that it is gone.
    pub text: String,
    /// Nothing of it is to be shown.
    pub gone: bool,
}

/// One emoji under a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReactionRow {
    /// The emoji.
    pub emoji: String,
    /// How many.
    pub count: u32,
    /// Who, in words.
    pub who: String,
    /// The reader is among them.
    pub mine: bool,
    /// The reader's click is under way.
    pub pending: bool,
}

/// An edit that is not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEdit {
    /// The text that it would have.
    pub text: String,
    /// Why it was refused; `None` while it is under way.
    pub refused: Option<String>,
}

/// What the reader may do with a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a right of its own")]
pub struct May {
    /// Answer, react, save, copy: it is there and whole.
    pub touch: bool,
    /// Give it another text.
    pub edit: bool,
    /// Take it back for everybody.
    pub delete: bool,
    /// Pin it.
    pub pin: bool,
    /// Answer to it.
    pub reply: bool,
}

/// What the reader may do with a committed message: what the machine would say.
pub fn may(conversation: &Conversation, message: &Message, reader: UserId) -> May {
    let group = conversation.kind == ConversationKind::Group;
    let own = message.from.id == reader;
    let whole = !message.deleted && !message.hidden && message.sequence > 0;
    May {
        touch: whole,
        edit: whole && own && message.forwarded.is_none(),
        delete: whole && (own || conversation.manages()),
        pin: whole && (!group || !conversation.announcement || conversation.manages()),
        reply: whole && conversation.closed_because().is_none(),
    }
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
    let timeline = conversation.shown();
    let mut build = Builder { rows: Vec::new(), day: None, last: None, local_day };
    let mut notices = conversation.timeline.notices().iter().peekable();
    let mut new_shown = false;
    let first = timeline.first().unwrap_or(0);
    for (sequence, entry) in timeline.run() {
        while let Some(notice) = notices.next_if(|notice| notice.after < *sequence) {
            if notice.after + 1 >= first {
                build.notice(notice);
            }
        }
        let message = &entry.message;
        if message.hidden || conversation.is_hidden(*sequence) {
            continue;
        }
        let own = message.from.id == me.id;
        if !new_shown && !own && !message.deleted && new_after.is_some_and(|read| *sequence > read) {
            new_shown = true;
            build.day_of(entry.time);
            build.rows.push(Row::New);
            build.last = None;
        }
        let reach = if own { conversation.reach(*sequence) } else { Reach::default() };
        let disks = if own { conversation.signals.disks(*sequence) } else { None };
        let (index, term) = (entry.index, entry.term);
        let state = MessageState::Sent { sequence: *sequence, index, term, reach, disks };
        let mut row = blank(Arc::clone(message), entry.time, own, state);
        dress(client, conversation, &me, &mut row);
        build.message(row);
    }
    if conversation.in_past() {
        return build.rows;
    }
    for notice in notices {
        build.notice(notice);
    }
    let own_message = |item: &StoredItem, sequence| {
        let forwarded =
            item.forward.map(|source| forwarded_from(client, source.conversation, source.sequence));
        Arc::new(Message {
            sequence,
            from: me.clone(),
            client_message_id: item.id,
            text: item.text.clone(),
            reply_to: item.reply_to,
            forwarded,
            attachments: item.attachments.clone(),
            ..Message::default()
        })
    };
    for echo in timeline.echoes() {
        let message = own_message(&echo.item, echo.sequence);
        let reach = conversation.reach(echo.sequence);
        let disks = conversation.signals.disks(echo.sequence);
        let (sequence, index, term) = (echo.sequence, echo.index, echo.term);
        let state = MessageState::Sent { sequence, index, term, reach, disks };
        let mut row = blank(message, echo.time, true, state);
        dress(client, conversation, &me, &mut row);
        build.message(row);
    }
    for item in client.outbox().of(id) {
        let message = own_message(&item.stored, 0);
        let state = match &item.state {
            ItemState::Failed(error) => MessageState::Failed(sentence(&error.message)),
            ItemState::NeedsTap => MessageState::NeedsTap,
            _ => MessageState::Pending,
        };
        let mut row = blank(message, item.stored.created_ms, true, state);
        row.portrait = portrait_of(&me).map(Box::new);
        row.quote = row.message.reply_to.map(|source| quote(conversation, source));
        build.message(row);
    }
    build.rows
}

fn blank(message: Arc<Message>, time: u64, own: bool, state: MessageState) -> MessageRow {
    let key = format!("{}-{}", message.from.id, message.client_message_id);
    MessageRow {
        key,
        message,
        time,
        head: false,
        own,
        portrait: None,
        state,
        quote: None,
        reactions: Vec::new(),
        edit: None,
        deleting: false,
        saved: false,
        names_reader: false,
        may: May::default(),
    }
}

/// What stands around a committed message: quote, reactions, what is under way.
fn dress(client: &Client, conversation: &Conversation, me: &User, row: &mut MessageRow) {
    let message = Arc::clone(&row.message);
    let sequence = message.sequence;
    row.may = may(conversation, &message, me.id);
    row.portrait = portrait_of(conversation.face(&message.from)).map(Box::new);
    if message.deleted {
        return;
    }
    row.quote = message.reply_to.map(|source| quote(conversation, source));
    row.saved = client.mine().is_saved(conversation.id, sequence);
    row.names_reader = !row.own && (message.mentions_all || message.mentions.contains(&me.id));
    row.reactions = message
        .reactions
        .iter()
        .map(|reaction| ReactionRow {
            emoji: reaction.emoji.clone(),
            count: reaction.count,
            who: who(conversation, &reaction.users, reaction.count, me.id),
            mine: reaction.mine || reaction.users.contains(&me.id),
            pending: false,
        })
        .collect();
    for deed in client.commands().of(conversation.id) {
        match deed {
            Deed::React { sequence: at, emoji, on, .. } if *at == sequence => {
                react_ahead(&mut row.reactions, emoji, *on);
            }
            Deed::Edit { sequence: at, text, .. } if *at == sequence && *text != message.text => {
                row.edit = Some(PendingEdit { text: text.clone(), refused: None });
            }
            Deed::Delete { sequence: first, through, .. }
                if (*first..=through.unwrap_or(*first)).contains(&sequence) =>
            {
                row.deleting = true;
            }
            _ => {}
        }
    }
    if row.edit.is_none()
        && let Some(refused) = client.commands().refused(conversation.id, sequence)
    {
        let why = Some(sentence(&refused.error.message));
        row.edit = Some(PendingEdit { text: refused.text.clone(), refused: why });
    }
}

/// The reader's click is painted before it is committed, and shown as such.
fn react_ahead(reactions: &mut Vec<ReactionRow>, emoji: &str, on: bool) {
    let at = reactions.iter().position(|reaction| reaction.emoji == emoji);
    match at {
        None if on => reactions.push(ReactionRow {
            emoji: emoji.to_owned(),
            count: 1,
            who: t("You").to_owned(),
            mine: true,
            pending: true,
        }),
        Some(at) if reactions[at].mine != on => {
            let reaction = &mut reactions[at];
            reaction.mine = on;
            reaction.pending = true;
            reaction.count =
                if on { reaction.count.saturating_add(1) } else { reaction.count.saturating_sub(1) };
            if reaction.count == 0 {
                reactions.remove(at);
            }
        }
        _ => {}
    }
}

/// Who reacted, in words: `You, Ana and 3 others`.
fn who(conversation: &Conversation, users: &[UserId], count: u32, me: UserId) -> String {
    let mut names: Vec<String> = Vec::new();
    for user in users {
        if *user == me {
            names.insert(0, t("You").to_owned());
        } else if let Some(member) = conversation.members.iter().find(|member| member.id == *user) {
            names.push(called(member).to_owned());
        }
    }
    let others = (count as usize).saturating_sub(names.len());
    if others > 0 {
        names.push(tn(others as u64, "{} other", "{} others"));
    }
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => tf("{} and {}", &[&head.join(", "), last]),
    }
}

/// What is shown of a message that is answered to.
pub fn quote(conversation: &Conversation, sequence: Sequence) -> Quote {
    let Some(entry) = conversation.entry(sequence) else {
        return Quote { sequence, text: t("An earlier message").to_owned(), ..Quote::default() };
    };
    let message = &entry.message;
    let gone = message.deleted || message.hidden || conversation.is_hidden(sequence);
    let text = if gone { t("This message is gone").to_owned() } else { one_line(&said(message)) };
    Quote { sequence, author: called(&message.from).to_owned(), text, gone }
}

fn forwarded_from(client: &Client, conversation: ConversationId, sequence: Sequence) -> Forwarded {
    let held = client.conversation(conversation).and_then(|source| source.entry(sequence));
    match held {
        Some(entry) => entry
            .message
            .forwarded
            .clone()
            .unwrap_or_else(|| Forwarded { from: entry.message.from.clone(), time: entry.time }),
        None => Forwarded { from: User::default(), time: 0 },
    }
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

    fn message(&mut self, mut row: MessageRow) {
        self.day_of(row.time);
        let author = row.message.from.id;
        row.head = self.last.is_none_or(|(last, at)| last != author || row.time.abs_diff(at) > GROUP_MS_MAX);
        self.last = Some((author, row.time));
        self.rows.push(Row::Message(row));
    }

    fn notice(&mut self, notice: &Notice) {
        self.day_of(notice.time);
        self.last = None;
        let text = match &notice.what {
            NoticeKind::Joined { user, by } if user.id == by.id => tf("{} joined", &[&called(user)]),
            NoticeKind::Joined { user, by } => tf("{} added {}", &[&called(by), &called(user)]),
            NoticeKind::Left { user, by, .. } if user.id == by.id => tf("{} left", &[&called(user)]),
            NoticeKind::Left { user, by, banned: true } => tf("{} banned {}", &[&called(by), &called(user)]),
            NoticeKind::Left { user, by, .. } => tf("{} removed {}", &[&called(by), &called(user)]),
            NoticeKind::Titled { title, by } => tf("{} named this “{}”", &[&called(by), title]),
            NoticeKind::Topic { topic, by } if topic.is_empty() => tf("{} removed the topic", &[&called(by)]),
            NoticeKind::Topic { topic, by } => tf("{} set the topic to “{}”", &[&called(by), topic]),
            NoticeKind::Pictured { on: true, by } => tf("{} changed the picture", &[&called(by)]),
            NoticeKind::Pictured { on: false, by } => tf("{} removed the picture", &[&called(by)]),
            NoticeKind::Public { on: true, by } => tf("{} opened this group to everybody", &[&called(by)]),
            NoticeKind::Public { on: false, by } => tf("{} closed this group to others", &[&called(by)]),
            NoticeKind::Announcement { on: true, by } => {
                tf("{} lets only the owner and admins write here", &[&called(by)])
            }
            NoticeKind::Announcement { on: false, by } => tf("{} lets everybody write here", &[&called(by)]),
            NoticeKind::Retention { retention_ms: 0, by } => {
                tf("{} lets messages stay for good", &[&called(by)])
            }
            NoticeKind::Retention { retention_ms, by } => {
                tf("{} has messages deleted after {}", &[&called(by), &duration(*retention_ms)])
            }
            NoticeKind::Role { user, role, by } => match role {
                MemberRole::Owner => tf("{} made {} the owner", &[&called(by), &called(user)]),
                MemberRole::Admin => tf("{} made {} an admin", &[&called(by), &called(user)]),
                MemberRole::Member => tf("{} is a member like others again", &[&called(user)]),
            },
            NoticeKind::Pinned { by, .. } => tf("{} pinned a message", &[&called(by)]),
        };
        self.rows.push(Row::Notice { version: notice.version, text, time: notice.time });
    }
}
