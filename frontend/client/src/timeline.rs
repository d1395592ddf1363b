//! The messages of one conversation that this client holds.
//!
//! Owns: committed messages by sequence, own messages that are acknowledged but whose event is still under way (echoes),
//! and how far history was read. What is shown is the unbroken run that ends at the newest message: a hole is never
//! painted over. Knows nothing of versions (conversation.rs) nor of what is still in the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_proto::frame::{Ack, Event, EventKind, MemberRole, Message, Reaction, SequenceRange, User};
use quorate_proto::ids::{ClientMessageId, Index, Revision, Sequence, UserId, Version};
use quorate_proto::limits::REACTION_USERS_LISTED_MAX;

use crate::outbox::StoredItem;

/// Messages kept of one conversation; beyond it the oldest go, and history reads them again.
pub const TIMELINE_MESSAGES_MAX: usize = 5_000;
/// Notices kept of one conversation.
pub const NOTICES_MAX: usize = 200;

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
    touched: Index,
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

/// Which page of history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The newest.
    Newest,
    /// Before the oldest one held.
    Older,
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
}

impl Timeline {
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
        if self.messages.len() > TIMELINE_MESSAGES_MAX {
            self.messages.pop_first();
            self.more_before = true;
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
        self.messages.len() >= TIMELINE_MESSAGES_MAX
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
        *self = Self { echoes, reader: self.reader, ..Self::default() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::ids::ClientMessageId;

    pub(crate) fn event(sequence: Sequence) -> Event {
        Event {
            conversation: 1,
            version: sequence + 1,
            index: sequence * 10,
            time: sequence,
            kind: EventKind::Message(Message {
                sequence,
                from: User { id: 1, name: "ana".into(), ..User::default() },
                client_message_id: id(sequence),
                text: sequence.to_string(),
                ..Message::default()
            }),
        }
    }

    fn id(n: u64) -> ClientMessageId {
        ClientMessageId::from_slice(&u128::from(n).to_be_bytes()).expect("16 bytes")
    }

    fn item(n: u64) -> StoredItem {
        StoredItem {
            id: id(n),
            conversation: 1,
            text: n.to_string(),
            reply_to: None,
            created_ms: 1,
            place: 1,
            first_sent: 1,
            failed: None,
            forward: None,
            attachments: Vec::new(),
        }
    }

    fn ack(n: u64) -> Ack {
        Ack {
            client_message_id: id(n),
            conversation: Some(1),
            sequence: Some(n),
            version: Some(n + 1),
            revision: None,
            scheduled: None,
            index: n * 10,
            term: 3,
            log_time: n,
            replay: false,
        }
    }

    fn shown(timeline: &Timeline) -> Vec<Sequence> {
        timeline.run().map(|(sequence, _)| *sequence).collect()
    }

    #[test]
    fn a_hole_is_never_painted_over() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2), event(3)], false, 0);
        timeline.insert(&event(6), 0);
        assert_eq!(shown(&timeline), [6]);
        timeline.insert(&event(5), 0);
        timeline.insert(&event(4), 0);
        assert_eq!(shown(&timeline), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn an_older_page_joins_the_run() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(4), event(5)], true, 0);
        timeline.page(Page::Older, &[event(1), event(2), event(3)], false, 0);
        assert_eq!(shown(&timeline), [1, 2, 3, 4, 5]);
        assert!(!timeline.more_before);
    }

    #[test]
    fn an_echo_stands_until_its_event() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1)], false, 0);
        timeline.echo(item(3), &ack(3));
        assert_eq!(timeline.echoes().len(), 1);
        timeline.insert(&event(2), 0);
        assert_eq!(timeline.echoes().len(), 1);
        timeline.insert(&event(3), 0);
        assert!(timeline.echoes().is_empty());
        assert_eq!(timeline.get(3).map(|entry| entry.term), Some(3), "the ack's term is kept");
    }

    #[test]
    fn an_ack_after_its_event_makes_no_echo() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false, 0);
        timeline.echo(item(2), &ack(2));
        assert!(timeline.echoes().is_empty());
        assert_eq!(timeline.get(2).map(|entry| entry.term), Some(3));
    }

    #[test]
    fn an_edit_replaces_the_text_and_an_older_one_does_not() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false, 0);
        let text = |timeline: &Timeline| timeline.get(1).map(|entry| entry.message.text.clone());
        timeline.edit(1, 2, "second", 5);
        timeline.edit(1, 1, "first", 4);
        assert_eq!(text(&timeline).as_deref(), Some("second"));
        let mut paged = event(1);
        if let EventKind::Message(message) = &mut paged.kind {
            (message.revision, message.text) = (3, "third".to_owned());
        }
        timeline.page(Page::Older, &[paged], false, 0);
        assert_eq!(text(&timeline).as_deref(), Some("third"), "a page may be ahead of the events");
        timeline.edit(9, 1, "of a message that is not held", 6);
    }

    #[test]
    fn a_newest_page_far_above_what_was_held_drops_the_old() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false, 0);
        timeline.page(Page::Newest, &[event(9), event(10)], true, 0);
        assert_eq!(shown(&timeline), [9, 10]);
        assert!(timeline.more_before);
        assert!(timeline.get(1).is_none());
    }

    fn reactions(timeline: &Timeline, sequence: Sequence) -> Vec<(String, u32, bool)> {
        let message = &timeline.get(sequence).expect("held").message;
        message.reactions.iter().map(|one| (one.emoji.clone(), one.count, one.mine)).collect()
    }

    #[test]
    fn reactions_are_counted_once_however_they_come() {
        let mut timeline = Timeline { reader: 7, ..Timeline::default() };
        timeline.page(Page::Newest, &[event(1)], false, 100);
        timeline.react(1, "👍", 2, true, 90);
        assert!(reactions(&timeline, 1).is_empty(), "the page was read later than this event");
        timeline.react(1, "👍", 2, true, 101);
        timeline.react(1, "👍", 2, true, 101);
        timeline.react(1, "👍", 7, true, 102);
        assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 2, true)]);
        timeline.react(1, "👍", 7, false, 103);
        timeline.react(1, "👍", 9, false, 104);
        assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 1, false)], "who was not there is not missed");
        timeline.react(1, "👍", 2, false, 105);
        assert!(reactions(&timeline, 1).is_empty());
    }

    #[test]
    fn a_page_that_was_read_before_an_event_takes_nothing_back() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1)], false, 100);
        timeline.react(1, "👍", 2, true, 120);
        timeline.page(Page::Newest, &[event(1)], false, 110);
        assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 1, false)]);
        timeline.page(Page::Newest, &[event(1)], false, 130);
        assert!(reactions(&timeline, 1).is_empty(), "a later one knows better");
    }

    #[test]
    fn more_people_than_are_listed_are_counted() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1)], false, 10);
        for user in 1..=25 {
            timeline.react(1, "👍", user, true, 10 + user);
        }
        assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 25, false)]);
        timeline.react(1, "👍", 25, false, 99);
        assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 24, false)]);
        assert_eq!(timeline.get(1).map(|entry| entry.message.reactions[0].users.len()), Some(20));
    }

    #[test]
    fn nothing_of_a_deleted_message_comes_back() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false, 100);
        timeline.pin(1, true, 101);
        timeline.react(1, "👍", 2, true, 102);
        let was = timeline.delete(1).expect("it was there");
        assert!(was.pinned && was.text == "1" && was.reactions.len() == 1);
        assert!(timeline.delete(1).is_none(), "once");
        timeline.edit(1, 9, "back", 9);
        timeline.react(1, "👍", 2, true, 200);
        timeline.pin(1, true, 201);
        timeline.insert(&event(1), 300);
        let left = &timeline.get(1).expect("its place").message;
        assert!(left.deleted && left.text.is_empty() && left.reactions.is_empty() && !left.pinned);
        assert_eq!(left.from.id, 1);
    }

    #[test]
    fn what_is_hidden_stays_hidden() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2), event(3)], false, 100);
        timeline.hide(SequenceRange { first: 1, last: 2 });
        timeline.hide(SequenceRange { first: 3, last: 1 });
        timeline.insert(&event(2), 200);
        let hidden: Vec<bool> = timeline.run().map(|(_, entry)| entry.message.hidden).collect();
        assert_eq!(hidden, [true, true, false]);
    }
}
