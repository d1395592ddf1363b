//! The messages of one conversation that this client holds.
//!
//! Owns: committed messages by sequence, own messages that are acknowledged but whose event is still under way (echoes),
//! and how far history was read. What is shown is the unbroken run that ends at the newest message: a hole is never
//! painted over. Knows nothing of versions (conversation.rs) nor of what is still in the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_proto::frame::{Ack, Event, EventKind, Message, User};
use quorate_proto::ids::{ClientMessageId, Index, Revision, Sequence, Version};

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
    },
    /// The conversation was made or renamed.
    Titled {
        /// Its title now.
        title: String,
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
    /// Takes a message; false if it was there already.
    pub fn insert(&mut self, event: &Event) -> bool {
        let EventKind::Message(message) = &event.kind else { return false };
        let sequence = message.sequence;
        let mut term = 0;
        self.echoes.retain(|echo| {
            let same = echo.sequence == sequence && echo.item.id == message.client_message_id;
            if same {
                term = echo.term;
            }
            !same
        });
        if let Some(held) = self.messages.get_mut(&sequence) {
            held.index = held.index.max(event.index);
            self.edit(sequence, message.revision, &message.text);
            return false;
        }
        let entry = Entry { message: Arc::new(message.clone()), time: event.time, index: event.index, term };
        self.messages.insert(sequence, entry);
        if self.messages.len() > TIMELINE_MESSAGES_MAX {
            self.messages.pop_first();
            self.more_before = true;
        }
        true
    }

    /// A message has another text. An older revision than the one held changes nothing.
    pub fn edit(&mut self, sequence: Sequence, revision: Revision, text: &str) {
        if let Some(held) = self.messages.get_mut(&sequence)
            && held.message.revision < revision
        {
            let message = Arc::make_mut(&mut held.message);
            message.revision = revision;
            text.clone_into(&mut message.text);
        }
    }

    /// Takes a page of history.
    pub fn page(&mut self, page: Page, messages: &[Event], more_before: bool) {
        for event in messages {
            self.insert(event);
        }
        if page == Page::Newest {
            self.loaded = true;
        }
        self.more_before = more_before;
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
        self.echoes.push(Echo { item, sequence, index: ack.index, term: ack.term, time: ack.log_time });
        self.echoes.sort_by_key(|echo| echo.sequence);
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
        *self = Self { echoes: std::mem::take(&mut self.echoes), ..Self::default() };
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
    pub fn run(&self) -> impl Iterator<Item = (&Sequence, &Entry)> {
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
                from: User { id: 1, name: "ana".into(), display_name: String::new() },
                client_message_id: id(sequence),
                text: sequence.to_string(),
                revision: 0,
                reply_to: None,
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
        }
    }

    fn ack(n: u64) -> Ack {
        Ack {
            client_message_id: id(n),
            conversation: Some(1),
            sequence: Some(n),
            version: Some(n + 1),
            revision: None,
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
        timeline.page(Page::Newest, &[event(1), event(2), event(3)], false);
        timeline.insert(&event(6));
        assert_eq!(shown(&timeline), [6]);
        timeline.insert(&event(5));
        timeline.insert(&event(4));
        assert_eq!(shown(&timeline), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn an_older_page_joins_the_run() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(4), event(5)], true);
        timeline.page(Page::Older, &[event(1), event(2), event(3)], false);
        assert_eq!(shown(&timeline), [1, 2, 3, 4, 5]);
        assert!(!timeline.more_before);
    }

    #[test]
    fn an_echo_stands_until_its_event() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1)], false);
        timeline.echo(item(3), &ack(3));
        assert_eq!(timeline.echoes().len(), 1);
        timeline.insert(&event(2));
        assert_eq!(timeline.echoes().len(), 1);
        timeline.insert(&event(3));
        assert!(timeline.echoes().is_empty());
        assert_eq!(timeline.get(3).map(|entry| entry.term), Some(3), "the ack's term is kept");
    }

    #[test]
    fn an_ack_after_its_event_makes_no_echo() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false);
        timeline.echo(item(2), &ack(2));
        assert!(timeline.echoes().is_empty());
        assert_eq!(timeline.get(2).map(|entry| entry.term), Some(3));
    }

    #[test]
    fn an_edit_replaces_the_text_and_an_older_one_does_not() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false);
        let text = |timeline: &Timeline| timeline.get(1).map(|entry| entry.message.text.clone());
        timeline.edit(1, 2, "second");
        timeline.edit(1, 1, "first");
        assert_eq!(text(&timeline).as_deref(), Some("second"));
        let mut paged = event(1);
        if let EventKind::Message(message) = &mut paged.kind {
            (message.revision, message.text) = (3, "third".to_owned());
        }
        timeline.page(Page::Older, &[paged], false);
        assert_eq!(text(&timeline).as_deref(), Some("third"), "a page may be ahead of the events");
        timeline.edit(9, 1, "of a message that is not held");
    }

    #[test]
    fn a_newest_page_far_above_what_was_held_drops_the_old() {
        let mut timeline = Timeline::default();
        timeline.page(Page::Newest, &[event(1), event(2)], false);
        timeline.page(Page::Newest, &[event(9), event(10)], true);
        assert_eq!(shown(&timeline), [9, 10]);
        assert!(timeline.more_before);
        assert!(timeline.get(1).is_none());
    }
}
