//! The messages of one conversation that this client holds.
//!
//! Owns: committed messages by sequence, own messages that are acknowledged but whose event is still under way (echoes),
//! and how far history was read. What is shown is the unbroken run that ends at the newest message: a hole is never
//! painted over. Knows nothing of versions (conversation.rs) nor of what is still in the outbox. A past (conversation/past.rs) is one as well:
//! without echoes and notices, and with an end of its own.

mod items;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_proto::frame::{Ack, Event, EventKind, Message, Reaction, SequenceRange};
use quorate_proto::ids::{ClientMessageId, Index, Revision, Sequence, UserId};
use quorate_proto::limits::REACTION_USERS_LISTED_MAX;

pub use items::{Echo, Entry, Notice, NoticeKind};

use crate::outbox::StoredItem;

/// Messages kept of one conversation where no window says otherwise; beyond it the oldest go, and history reads them again.
pub const TIMELINE_MESSAGES_MAX: usize = 5_000;
/// Notices kept of one conversation.
pub const NOTICES_MAX: usize = 200;
/// Which page of history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The newest.
    Newest,
    /// Before the oldest one held.
    Older,
    /// Of the past: before this message, which is its oldest.
    Before(Sequence),
    /// Of the past: after this message, which is its newest.
    After(Sequence),
    /// What a past begins with: this message and what lies around it.
    Around(Sequence),
}

/// How far reading history has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Loading {
    /// Nothing is asked.
    #[default]
    Idle,
    /// Wanted at that time.
    Wanted(Page, u64),
    /// Asked.
    Asked(Page),
    /// Refused for good, in words.
    Refused(String),
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// Who reads.
    pub reader: UserId,
    messages: BTreeMap<Sequence, Entry>,
    echoes: Vec<Echo>,
    notices: Vec<Notice>,
    /// The newest page was read: the run at the end is what there is.
    pub loaded: bool,
    /// Older messages exist than the oldest one held.
    pub more_before: bool,
    /// How far reading history has come.
    pub loading: Loading,
    /// Messages held at most, where it is not [`TIMELINE_MESSAGES_MAX`].
    max: Option<usize>,
    /// So many more come in before the oldest go, all at once: each time some do, what stands below them is drawn anew.
    spare: usize,
}

impl Timeline {
    /// An empty run that somebody else bounds.
    pub(crate) fn of_past(reader: UserId) -> Self {
        Self { reader, loaded: true, max: Some(usize::MAX), ..Self::default() }
    }

    /// The unbroken run at the end alone, as a past begins with it.
    pub(crate) fn to_past(&self) -> Self {
        let mut past = Self::of_past(self.reader);
        past.more_before = self.more_before;
        past.copy(self, self.first().unwrap_or(0)..=self.last().unwrap_or(0));
        past
    }

    /// Another bound; the oldest go. From then on they go when so many more have come in.
    pub(crate) fn bound(&mut self, max: usize, spare: usize) {
        (self.max, self.spare) = (Some(max), spare);
        self.drop_oldest(max);
    }

    /// Lets the oldest go until so many are left.
    pub(crate) fn drop_oldest(&mut self, max: usize) {
        while self.messages.len() > max {
            self.messages.pop_first();
            self.more_before = true;
        }
    }

    /// Lets the newest of an unbroken run go until so many are left.
    pub(crate) fn drop_newest(&mut self, max: usize) {
        if let Some(first) = self.messages.keys().next().filter(|_| self.messages.len() > max) {
            let beyond = *first + max as u64;
            self.messages.split_off(&beyond);
        }
    }

    fn copy(&mut self, other: &Self, wanted: std::ops::RangeInclusive<Sequence>) {
        for sequence in wanted {
            if let Some(entry) = other.get(sequence) {
                self.messages.insert(sequence, entry.clone());
            }
        }
    }

    /// Takes what another run holds after the newest message of this one, at most so many.
    pub(crate) fn follow_on(&mut self, other: &Self, max: u64) {
        let (Some(last), Some(end)) = (self.last(), other.last()) else { return };
        self.copy(other, last + 1..=end.min(last.saturating_add(max)));
    }

    /// Takes a run that ends at this one or within it; of its older part what finds room.
    pub(crate) fn absorb(&mut self, past: &Self) {
        self.follow_on(past, u64::MAX);
        let (Some(first), Some(begin)) = (self.first(), past.first()) else { return };
        let room = self.max().saturating_sub(self.messages.len()) as u64;
        self.copy(past, begin.max(first.saturating_sub(room))..=first - 1);
        if self.first() < Some(first) || past.first() == Some(first) {
            self.more_before = self.first() > past.first() || past.more_before;
        }
        let max = self.max();
        self.drop_oldest(max);
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    fn max(&self) -> usize {
        self.max.unwrap_or(TIMELINE_MESSAGES_MAX)
    }

    /// Takes a message as it was at index `as_of`; false if it was there already.
    pub fn insert(&mut self, event: &Event, as_of: Index) -> bool {
        let EventKind::Message(message) = &event.kind else { return false };
        let sequence = message.sequence;
        let as_of = as_of.max(event.index);
        let mut term = 0;
        self.echoes.retain(|echo| {
            let same = echo.sequence == sequence && echo.item.id == message.client_message_id;
            if same {
                term = echo.term;
            }
            !same
        });
        let reader = self.reader;
        let own_view = |message: &Message| {
            let mut message = message.clone();
            for reaction in &mut message.reactions {
                reaction.mine |= reaction.users.contains(&reader);
            }
            message
        };
        if let Some(held) = self.messages.get_mut(&sequence) {
            held.index = held.index.max(event.index);
            if as_of >= held.as_of.max(held.touched)
                && !held.message.deleted
                && message.revision >= held.message.revision
            {
                held.as_of = as_of;
                let hidden = held.message.hidden;
                let mut newer = own_view(message);
                newer.hidden |= hidden;
                if *held.message != newer {
                    held.message = Arc::new(newer);
                }
            } else if !held.message.deleted && message.revision > held.message.revision {
                self.edit(sequence, message.revision, &message.text, message.edited);
            }
            return false;
        }
        let message = Arc::new(own_view(message));
        let entry = Entry { message, time: event.time, index: event.index, term, as_of, touched: 0 };
        self.messages.insert(sequence, entry);
        let max = self.max();
        if self.messages.len() > max.saturating_add(self.spare) {
            self.drop_oldest(max);
        }
        true
    }

    /// A message has another text. An older revision than the one held changes nothing.
    pub fn edit(&mut self, sequence: Sequence, revision: Revision, text: &str, edited: u64) {
        if let Some(held) = self.messages.get_mut(&sequence)
            && held.message.revision < revision
            && !held.message.deleted
        {
            let message = Arc::make_mut(&mut held.message);
            message.revision = revision;
            message.edited = message.edited.max(edited);
            text.clone_into(&mut message.text);
        }
    }

    /// Whom an edited text names, as far as this client can tell.
    pub fn renamed(&mut self, sequence: Sequence, names_reader: bool, all: bool) {
        let reader = self.reader;
        if let Some(held) = self.messages.get_mut(&sequence) {
            let message = Arc::make_mut(&mut held.message);
            message.mentions.retain(|user| *user != reader);
            if names_reader {
                message.mentions.push(reader);
            }
            message.mentions_all = all;
        }
    }

    /// A message was taken back: nothing of it is left but its place. Returns it as it was, if it was still whole.
    pub fn delete(&mut self, sequence: Sequence) -> Option<Arc<Message>> {
        let held = self.messages.get_mut(&sequence).filter(|held| !held.message.deleted)?;
        let tombstone = Message {
            sequence,
            from: held.message.from.clone(),
            client_message_id: held.message.client_message_id,
            deleted: true,
            hidden: held.message.hidden,
            ..Message::default()
        };
        Some(std::mem::replace(&mut held.message, Arc::new(tombstone)))
    }

    /// Messages that the reader took out of her sight; their texts and files are let go.
    pub fn hide(&mut self, range: SequenceRange) {
        if range.first > range.last {
            return;
        }
        for (_, held) in self.messages.range_mut(range.first..=range.last) {
            let message = Arc::make_mut(&mut held.message);
            message.hidden = true;
            message.text.clear();
            message.attachments.clear();
        }
    }

    /// An emoji was put on a message, or taken away, by the event at `index`.
    pub fn react(&mut self, sequence: Sequence, emoji: &str, user: UserId, on: bool, index: Index) {
        let reader = self.reader;
        let Some(held) = self.messages.get_mut(&sequence) else { return };
        if held.message.deleted || (index > 0 && index <= held.as_of) {
            return;
        }
        held.touched = held.touched.max(index);
        let reactions = &mut Arc::make_mut(&mut held.message).reactions;
        let at = reactions.iter().position(|reaction| reaction.emoji == emoji);
        match (at, on) {
            (None, true) => reactions.push(Reaction {
                emoji: emoji.to_owned(),
                count: 1,
                users: vec![user],
                mine: user == reader,
            }),
            (Some(at), true) => {
                let reaction = &mut reactions[at];
                if !reaction.users.contains(&user) {
                    reaction.count = reaction.count.saturating_add(1);
                    if reaction.users.len() < REACTION_USERS_LISTED_MAX {
                        reaction.users.push(user);
                    }
                }
                reaction.mine |= user == reader;
            }
            (Some(at), false) => {
                let reaction = &mut reactions[at];
                let listed = reaction.users.iter().position(|other| *other == user);
                if let Some(listed) = listed {
                    reaction.users.remove(listed);
                }
                // Somebody who is not listed can only be one of those who are counted alone.
                if listed.is_some() || reaction.count as usize > reaction.users.len() {
                    reaction.count = reaction.count.saturating_sub(1);
                }
                reaction.mine &= user != reader;
                if reaction.count == 0 {
                    reactions.remove(at);
                }
            }
            (None, false) => {}
        }
    }

    /// A message was pinned, or no longer is, by the event at `index`.
    pub fn pin(&mut self, sequence: Sequence, on: bool, index: Index) {
        if let Some(held) = self.messages.get_mut(&sequence)
            && !held.message.deleted
            && (index == 0 || index > held.as_of)
            && held.message.pinned != on
        {
            held.touched = held.touched.max(index);
            Arc::make_mut(&mut held.message).pinned = on;
        }
    }

    /// As many messages are held as ever are: older ones find no room.
    pub fn is_full(&self) -> bool {
        self.messages.len() >= self.max()
    }

    /// Takes a page of history.
    pub fn page(&mut self, page: Page, messages: &[Event], more_before: bool, as_of: Index) {
        for event in messages {
            self.insert(event, as_of);
        }
        if page == Page::Newest {
            self.loaded = true;
        }
        let oldest = messages.iter().find_map(|event| match &event.kind {
            EventKind::Message(message) => Some(message.sequence),
            _ => None,
        });
        // What did not find room is still there to be read.
        self.more_before = more_before || oldest.is_some_and(|oldest| !self.messages.contains_key(&oldest));
        self.loading = Loading::Idle;
        self.drop_covered_echoes();
        // A newest page that does not reach down to what was held leaves a hole: what lies below it is read again.
        let first = self.first();
        if self.messages.keys().next().is_some_and(|oldest| Some(*oldest) < first) {
            self.messages = self.messages.split_off(&first.unwrap_or_default());
            self.more_before = true;
        }
    }

    /// Takes an ack of an own message whose event has not come.
    pub fn echo(&mut self, item: StoredItem, ack: &Ack) {
        let Some(sequence) = ack.sequence else { return };
        if self.messages.contains_key(&sequence) {
            self.acked(ack);
            return;
        }
        let at = self.echoes.partition_point(|echo| echo.sequence <= sequence);
        let (index, term, time) = (ack.index, ack.term, ack.log_time);
        self.echoes.insert(at, Echo { item, sequence, index, term, time });
        self.drop_covered_echoes();
    }

    /// An ack that came after its event: learns the term.
    pub fn acked(&mut self, ack: &Ack) {
        if let Some(entry) = ack.sequence.and_then(|sequence| self.messages.get_mut(&sequence))
            && entry.message.client_message_id == ack.client_message_id
        {
            entry.index = ack.index;
            entry.term = ack.term;
        }
    }

    /// An echo below the newest message of a loaded run has been painted as a message.
    fn drop_covered_echoes(&mut self) {
        if self.loaded {
            let last = self.last();
            self.echoes.retain(|echo| Some(echo.sequence) > last);
        }
    }

    /// Remembers a notice; those are kept for this visit only.
    pub fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
        if self.notices.len() > NOTICES_MAX {
            self.notices.remove(0);
        }
    }

    /// Lets go of everything but the echoes: it must be read anew.
    pub fn forget(&mut self) {
        let echoes = std::mem::take(&mut self.echoes);
        let (reader, max, spare) = (self.reader, self.max, self.spare);
        *self = Self { echoes, reader, max, spare, ..Self::default() };
    }

    /// The oldest sequence of the unbroken run at the end.
    pub fn first(&self) -> Option<Sequence> {
        let mut first = None;
        for sequence in self.messages.keys().rev() {
            match first {
                Some(above) if sequence + 1 != above => break,
                _ => first = Some(*sequence),
            }
        }
        first
    }

    /// The newest sequence held.
    pub fn last(&self) -> Option<Sequence> {
        self.messages.keys().next_back().copied()
    }

    /// The unbroken run at the end, oldest first.
    pub fn run(&self) -> impl DoubleEndedIterator<Item = (&Sequence, &Entry)> {
        self.messages.range(self.first().unwrap_or(0)..)
    }

    /// One message.
    pub fn get(&self, sequence: Sequence) -> Option<&Entry> {
        self.messages.get(&sequence)
    }

    /// Whether an own message with this id is here, committed.
    pub fn has(&self, id: ClientMessageId) -> bool {
        self.messages.values().any(|entry| entry.message.client_message_id == id)
    }

    /// Own messages acknowledged ahead of their events, in order of sequence.
    pub fn echoes(&self) -> &[Echo] {
        &self.echoes
    }

    /// Notices, oldest first.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }
}
