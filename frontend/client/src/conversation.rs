//! One conversation as this client knows it: what the list shows, the version rule, and its timeline.
//!
//! The version rule: the event after the last one is applied, one that came before is dropped, one from further ahead is
//! held back while `since` fills the gap. So nothing is shown twice, and nothing is skipped.

use std::collections::BTreeMap;

use quorate_proto::frame::{ConversationKind, ConversationSummary, Event, EventKind, PresenceState, User};
use quorate_proto::ids::{ConversationId, Sequence, UserId, Version};

use crate::signals::{Reach, RoomSignals};
use crate::timeline::{Loading, Notice, NoticeKind, Page, Timeline};

/// Events held back per conversation while a gap is filled; what exceeds it comes by `since` as well.
pub const HELD_EVENTS_MAX: usize = 1_000;
/// Missed events up to which a gap is filled one by one; beyond it the newest page of history is quicker.
pub const FILL_EVENTS_MAX: u64 = 300;

/// The newest message, for the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Its sequence.
    pub sequence: Sequence,
    /// Who wrote it.
    pub from: User,
    /// What.
    pub text: String,
    /// Log time, ms.
    pub time: u64,
}

/// How far the filling of a gap has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filling {
    /// Nothing is missing, as far as is known.
    #[default]
    Whole,
    /// Asked for at that time, ms.
    Wanted(u64),
    /// `since` is under way.
    Asked,
    /// That range is not to be had: the summary is asked for instead.
    Summary,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Applied now, perhaps with some that were held back for it.
    Applied,
    /// It was there already.
    Dropped,
    /// Held back: something before it is missing.
    Held,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The number.
    pub id: ConversationId,
    /// Who reads.
    reader: UserId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// Empty for a direct conversation.
    pub title: String,
    /// At most 50 members.
    pub members: Vec<User>,
    /// How many members.
    pub member_count: u32,
    /// The last event applied.
    pub version: Version,
    /// The newest message known of.
    pub sequence: Sequence,
    /// The reader's own read mark.
    pub read: Sequence,
    /// The read mark that the server has confirmed.
    pub read_confirmed: Sequence,
    /// Messages after the read mark that others wrote.
    pub unread: u64,
    /// `unread` may be too high: the read mark moved where the timeline does not reach. The server is asked.
    pub unread_doubtful: bool,
    /// The newest message.
    pub preview: Option<Preview>,
    /// The messages.
    pub timeline: Timeline,
    /// What is true of this moment.
    pub signals: RoomSignals,
    /// How far the filling of a gap has come.
    pub filling: Filling,
    /// Fills in a row that brought nothing.
    pub fill_attempts: u32,
    /// A version that is known to exist.
    known: Version,
    /// What `welcome` promised for the end of the resume; checked by the first ping after it.
    pub promised: Version,
    held: BTreeMap<Version, Event>,
}

impl Conversation {
    /// A conversation known by its summary only.
    pub fn from_summary(summary: &ConversationSummary, reader: UserId) -> Self {
        let mut conversation = Self { id: summary.id, reader, ..Self::default() };
        conversation.take_summary(summary);
        conversation
    }

    /// The summary is where this conversation stands now; what is held of its timeline is kept only if nothing is
    /// missing between, or little enough to fill.
    pub fn take_summary(&mut self, summary: &ConversationSummary) {
        self.describe(summary);
        let Some(missing) = summary.version.checked_sub(self.version) else {
            // Read before what has already arrived by another way.
            self.mark_read(summary.read);
            return;
        };
        let fillable = self.timeline.loaded && missing <= FILL_EVENTS_MAX;
        if missing > 0 && fillable {
            self.known = self.known.max(summary.version);
            self.mark_read(summary.read);
            self.want_fill(0);
            return;
        }
        if missing > 0 {
            self.timeline.forget();
        }
        self.version = self.version.max(summary.version);
        self.sequence = self.sequence.max(summary.sequence);
        self.held = self.held.split_off(&(self.version + 1));
        self.filling = Filling::Whole;
        self.fill_attempts = 0;
        self.take_preview(summary.last_message.as_ref());
        if missing > 0 || self.timeline.run().next().is_none() {
            self.unread = summary.unread;
            self.unread_doubtful = self.read > summary.read;
        }
        self.mark_read(summary.read);
        self.drain_held();
    }

    /// The summary after a refused `since`: everything held is let go.
    pub fn reset_to(&mut self, summary: &ConversationSummary) {
        self.timeline.forget();
        self.held = self.held.split_off(&(summary.version + 1));
        self.version = 0;
        self.known = 0;
        self.take_summary(summary);
    }

    /// Names and members only; counts and versions follow by events.
    pub fn describe(&mut self, summary: &ConversationSummary) {
        self.kind = summary.kind;
        self.title.clone_from(&summary.title);
        self.members.clone_from(&summary.members);
        self.member_count = summary.member_count;
        self.read_confirmed = self.read_confirmed.max(summary.read);
    }

    /// What to call it: the title, or the other's name.
    pub fn name(&self, me: UserId) -> String {
        if !self.title.is_empty() {
            return self.title.clone();
        }
        let others: Vec<&str> =
            self.members.iter().filter(|member| member.id != me).map(crate::view::called).collect();
        match (others.as_slice(), self.members.first()) {
            ([], Some(own)) => crate::view::called(own).to_owned(),
            ([], None) => format!("Conversation {}", self.id),
            (names, _) => names.join(", "),
        }
    }

    /// How far a message of the reader has come among the other members.
    pub fn reach(&self, sequence: Sequence) -> Reach {
        if self.member_count as usize > self.members.len() {
            // Not all are listed: nobody can say.
            return Reach::Kept;
        }
        let others = self.members.iter().map(|member| member.id).filter(|id| *id != self.reader);
        self.signals.reach(others, sequence)
    }

    /// Who types here, in one line; `None` while nobody does.
    pub fn typing_line(&self) -> Option<String> {
        let names: Vec<&str> = self.signals.typing().map(crate::view::called).collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(format!("{one} is typing")),
            [one, two] => Some(format!("{one} and {two} are typing")),
            [one, two, rest @ ..] => Some(format!("{one}, {two} and {} more are typing", rest.len())),
        }
    }

    /// How present the other of a direct conversation is; `None` in a group.
    pub fn other_presence(&self) -> Option<PresenceState> {
        let direct = self.kind == ConversationKind::Direct;
        let other = self.members.iter().find(|member| member.id != self.reader).filter(|_| direct)?;
        Some(self.signals.presence(other.id))
    }

    /// Takes an event by the version rule.
    pub fn take(&mut self, event: Event) -> Verdict {
        self.known = self.known.max(event.version);
        if event.version <= self.version {
            return Verdict::Dropped;
        }
        if event.version > self.version + 1 {
            if self.held.len() < HELD_EVENTS_MAX {
                self.held.insert(event.version, event);
            }
            self.want_fill(0);
            return Verdict::Held;
        }
        self.apply(&event);
        self.drain_held();
        Verdict::Applied
    }

    fn drain_held(&mut self) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > self.version + 1 {
                break;
            }
            let event = entry.remove();
            if event.version == self.version + 1 {
                self.apply(&event);
            }
        }
        if self.version >= self.known && !matches!(self.filling, Filling::Summary) {
            self.filling = Filling::Whole;
            self.fill_attempts = 0;
        }
    }

    fn apply(&mut self, event: &Event) {
        self.version = event.version;
        match &event.kind {
            EventKind::Message(message) => {
                self.sequence = self.sequence.max(message.sequence);
                self.take_preview(Some(event));
                self.timeline.insert(event);
                self.signals.wrote(message.from.id, message.sequence);
                if message.from.id == self.reader {
                    // Who answers has read: the server counts it so as well.
                    if self.unread == 0 {
                        self.read = self.read.max(message.sequence);
                    }
                } else if message.sequence > self.read {
                    self.unread += 1;
                }
            }
            EventKind::Edit { sequence, revision, text, .. } => {
                self.timeline.edit(*sequence, *revision, text);
                if let Some(preview) = self.preview.as_mut().filter(|preview| preview.sequence == *sequence) {
                    preview.text.clone_from(text);
                }
            }
            EventKind::Member { user, joined, by } => {
                let was = self.members.iter().position(|member| member.id == user.id);
                if !joined {
                    self.signals.left(user.id);
                }
                match (joined, was) {
                    (true, None) => {
                        self.member_count += 1;
                        self.members.push(user.clone());
                    }
                    (false, Some(at)) => {
                        self.member_count = self.member_count.saturating_sub(1);
                        self.members.remove(at);
                    }
                    (false, None) => self.member_count = self.member_count.saturating_sub(1),
                    (true, Some(_)) => {}
                }
                let (user, by) = (user.clone(), by.clone());
                let what =
                    if *joined { NoticeKind::Joined { user, by } } else { NoticeKind::Left { user, by } };
                self.note(event, what);
            }
            EventKind::Conversation { title, by } => {
                self.title.clone_from(title);
                if !title.is_empty() {
                    self.note(event, NoticeKind::Titled { title: title.clone(), by: by.clone() });
                }
            }
        }
    }

    fn note(&mut self, event: &Event, what: NoticeKind) {
        let notice = Notice { version: event.version, after: self.sequence, time: event.time, what };
        self.timeline.notice(notice);
    }

    fn take_preview(&mut self, event: Option<&Event>) {
        if let Some(Event { time, kind: EventKind::Message(message), .. }) = event
            && self.preview.as_ref().is_none_or(|preview| preview.sequence <= message.sequence)
        {
            self.preview = Some(Preview {
                sequence: message.sequence,
                from: message.from.clone(),
                text: message.text.clone(),
                time: *time,
            });
        }
    }

    /// Moves the read mark, never back; it may run ahead of the messages, when another device was quicker. Counts what
    /// stays unread from the timeline where it reaches.
    pub fn mark_read(&mut self, sequence: Sequence) -> bool {
        if sequence <= self.read {
            return false;
        }
        self.read = sequence;
        // Until the timeline or the server tells exactly: not more than there are messages.
        self.unread = self.unread.min(self.sequence.saturating_sub(sequence));
        self.unread_doubtful = self.unread > 0;
        self.recount();
        true
    }

    /// Counts what is unread from the timeline, if it reaches down to the read mark.
    pub fn recount(&mut self) {
        if self.timeline.first().is_some_and(|first| first <= self.read + 1) {
            // A page of history may be ahead of the events; those count when they come.
            let counted = self.read + 1..=self.sequence;
            let after = self.timeline.run().filter(|(at, _)| counted.contains(at));
            self.unread = after.filter(|(_, entry)| entry.message.from.id != self.reader).count() as u64;
            self.unread_doubtful = false;
        }
    }

    /// The server's count, if it speaks of the same state; else it is asked again.
    pub fn take_count(&mut self, summary: &ConversationSummary) {
        if summary.version == self.version && summary.read >= self.read {
            self.read = summary.read;
            self.unread = summary.unread;
            self.unread_doubtful = false;
        }
    }

    /// The server let events go up to this version, or promised them.
    pub fn known_up_to(&mut self, version: Version) {
        self.known = self.known.max(version);
        if self.version < self.known {
            self.want_fill(0);
        }
    }

    /// Versions up to here are not the reader's to see.
    pub fn skip_to(&mut self, version: Version) {
        self.version = self.version.max(version);
        self.drain_held();
    }

    /// Something before what is known is missing.
    pub fn incomplete(&self) -> bool {
        self.version < self.known
    }

    /// Asks for a fill, unless one is under way.
    pub fn want_fill(&mut self, at_ms: u64) {
        if matches!(self.filling, Filling::Whole) {
            self.filling = Filling::Wanted(at_ms);
        }
    }

    /// A new socket: what was asked on the old one is asked again.
    pub fn ask_again(&mut self) {
        if matches!(self.filling, Filling::Asked) {
            self.filling = Filling::Wanted(0);
        }
        if let Loading::Asked(page) = self.timeline.loading {
            self.timeline.loading = Loading::Wanted(page, 0);
        }
    }

    /// Wants the newest page of history, if it is not here.
    pub fn want_history(&mut self, page: Page, at_ms: u64) -> bool {
        let wanted = match page {
            Page::Newest => !self.timeline.loaded,
            Page::Older => self.timeline.loaded && self.timeline.more_before,
        };
        if !wanted || matches!(self.timeline.loading, Loading::Wanted(..) | Loading::Asked(_)) {
            return false;
        }
        self.timeline.loading = Loading::Wanted(page, at_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::frame::Message;
    use quorate_proto::ids::ClientMessageId;

    const ME: UserId = 1;

    fn user(id: UserId) -> User {
        User { id, name: format!("u{id}"), display_name: String::new() }
    }

    fn message(version: Version, sequence: Sequence, from: UserId) -> Event {
        let kind = EventKind::Message(Message {
            sequence,
            from: user(from),
            client_message_id: ClientMessageId::from_slice(&u128::from(version).to_be_bytes()).expect("16"),
            text: sequence.to_string(),
            revision: 0,
            reply_to: None,
        });
        Event { conversation: 1, version, index: version, time: version, kind }
    }

    fn summary(version: Version, sequence: Sequence, read: Sequence, unread: u64) -> ConversationSummary {
        ConversationSummary { id: 1, version, sequence, read, unread, ..ConversationSummary::default() }
    }

    #[test]
    fn the_version_rule() {
        let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        assert_eq!(conversation.take(message(2, 1, 2)), Verdict::Applied);
        assert_eq!(conversation.take(message(2, 1, 2)), Verdict::Dropped);
        assert_eq!(conversation.take(message(4, 3, 2)), Verdict::Held);
        assert_eq!(conversation.filling, Filling::Wanted(0));
        assert_eq!((conversation.version, conversation.unread), (2, 1));
        assert_eq!(conversation.take(message(3, 2, 2)), Verdict::Applied);
        assert_eq!((conversation.version, conversation.sequence, conversation.unread), (4, 3, 3));
        assert_eq!(conversation.filling, Filling::Whole);
    }

    #[test]
    fn own_messages_are_never_unread_and_read_marks_only_rise() {
        let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        conversation.timeline.loaded = true;
        for (version, from) in [(2, 2), (3, ME), (4, 2)] {
            conversation.take(message(version, version - 1, from));
        }
        assert_eq!(conversation.unread, 2);
        assert!(conversation.mark_read(1));
        assert_eq!(conversation.unread, 1, "the own message does not count");
        assert!(!conversation.mark_read(1));
        assert!(conversation.mark_read(4), "another device is ahead");
        assert_eq!(conversation.unread, 0);
        conversation.take(message(5, 4, 2));
        assert_eq!((conversation.read, conversation.unread), (4, 0));
        assert!(!conversation.mark_read(2));
    }

    #[test]
    fn a_summary_far_ahead_lets_the_timeline_go_and_a_near_one_fills_it() {
        let mut near = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        near.timeline.loaded = true;
        near.take(message(2, 1, 2));
        let mut far = near.clone();
        near.take_summary(&summary(5, 4, 0, 4));
        assert_eq!((near.version, near.filling), (2, Filling::Wanted(0)));
        far.take_summary(&summary(2 + FILL_EVENTS_MAX + 1, 400, 0, 400));
        assert!(!far.timeline.loaded && far.timeline.run().next().is_none());
        assert_eq!((far.sequence, far.unread, far.filling), (400, 400, Filling::Whole));
    }

    #[test]
    fn what_is_not_the_readers_to_see_is_skipped() {
        let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        conversation.take(message(9, 5, 2));
        conversation.skip_to(8);
        assert_eq!((conversation.version, conversation.sequence), (9, 5));
        assert!(!conversation.incomplete());
    }
}
