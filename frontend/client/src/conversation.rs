//! One conversation as this client knows it: what the list shows, the version rule, and its timeline.
//!
//! The version rule: the event after the last one is applied, one that came before is dropped, one from further ahead is
//! held back while `since` fills the gap. So nothing is shown twice, and nothing is skipped.

use std::sync::Arc;

use quorate_proto::frame::{
    ConversationKind, ConversationSummary, Event, EventKind, MemberRole, Message, Preferences, PresenceState,
    SequenceRange, User,
};
use quorate_proto::ids::{ConversationId, Index, Sequence, UserId, Version};
use quorate_proto::limits::HIDDEN_RANGES_MAX;
use quorate_proto::text;
use uuid::Uuid;

use crate::ordered::OrderedMap;
use crate::signals::{Reach, RoomSignals};
use crate::timeline::{Loading, Notice, NoticeKind, Page, Timeline};
use crate::view::{Portrait, portrait_of, portrait_of_group, rooms_as_words, said};

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
    /// It was taken back, or out of the reader's sight.
    pub gone: bool,
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
    /// Of those, the ones that mention the reader.
    pub mentions: u64,
    /// What it is about.
    pub topic: String,
    /// A group's picture, a file.
    pub avatar: Option<Uuid>,
    /// Anybody can find and join it.
    pub public: bool,
    /// Only its owner and admins write.
    pub announcement: bool,
    /// Messages older than this are deleted, ms; 0: never.
    pub retention_ms: u64,
    /// What the reader may do.
    pub role: MemberRole,
    /// How the reader wants to have it.
    pub preferences: Preferences,
    /// What the reader took out of her sight, in order.
    pub hidden: Vec<SequenceRange>,
    /// Messages that are pinned, as far as is known.
    pub pin_count: u32,
    /// Direct: one of the two has blocked the other.
    pub blocked: bool,
    /// A message that the reader wants to see; older pages are read until it is here.
    pub seeking: Option<Sequence>,
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
    held: OrderedMap<Version, Event>,
    /// The server's count of a version that has not come yet.
    count_ahead: Option<Box<ConversationSummary>>,
}

impl Conversation {
    /// A conversation known by its summary only.
    pub fn from_summary(summary: &ConversationSummary, reader: UserId) -> Self {
        let mut conversation = Self { id: summary.id, reader, ..Self::default() };
        conversation.timeline.reader = reader;
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
        self.take_counted(summary);
        self.sequence = self.sequence.max(summary.sequence);
        self.held.retain(|version, _| *version > self.version);
        self.filling = Filling::Whole;
        self.fill_attempts = 0;
        self.take_preview(summary.last_message.as_ref());
        if missing > 0 || self.timeline.run().next().is_none() {
            self.unread = summary.unread;
            self.mentions = summary.mentions;
            self.unread_doubtful = self.read > summary.read;
        }
        self.mark_read(summary.read);
        self.drain_held();
    }

    /// The summary after a refused `since`: everything held is let go.
    pub fn reset_to(&mut self, summary: &ConversationSummary) {
        self.timeline.forget();
        self.held.retain(|version, _| *version > summary.version);
        self.version = 0;
        self.known = 0;
        self.take_summary(summary);
    }

    /// What events count: true of the summary's version only.
    fn take_counted(&mut self, summary: &ConversationSummary) {
        self.members.clone_from(&summary.members);
        self.member_count = summary.member_count;
        self.pin_count = summary.pin_count;
    }

    /// Names and the like only; counts and versions follow by events.
    pub fn describe(&mut self, summary: &ConversationSummary) {
        self.kind = summary.kind;
        self.title.clone_from(&summary.title);
        self.read_confirmed = self.read_confirmed.max(summary.read);
        self.topic.clone_from(&summary.topic);
        self.avatar = summary.avatar;
        self.public = summary.public;
        self.announcement = summary.announcement;
        self.retention_ms = summary.retention_ms;
        self.role = summary.role;
        self.preferences.clone_from(&summary.preferences);
        if summary.version == self.version {
            self.take_counted(summary);
        } else {
            // The events between count what the summary has counted already. What people are called has no event.
            for member in &mut self.members {
                if let Some(listed) = summary.members.iter().find(|listed| listed.id == member.id) {
                    member.clone_from(listed);
                }
            }
        }
        self.blocked = summary.blocked;
        self.hidden.clone_from(&summary.hidden);
        for range in &summary.hidden {
            self.timeline.hide(*range);
        }
    }

    /// Whether its reader may change it, its members and the messages of others.
    pub fn manages(&self) -> bool {
        self.kind == ConversationKind::Group && self.role >= MemberRole::Admin
    }

    /// Why nothing can be written here, in words; `None` when it can.
    pub fn closed_because(&self) -> Option<&'static str> {
        if self.announcement && !self.manages() {
            Some("Only the owner and the admins of this group write here.")
        } else if self.blocked {
            Some("Nothing can be sent here: one of you has blocked the other.")
        } else {
            None
        }
    }

    /// Whether it is silent at this log time.
    pub fn muted(&self, log_time: u64) -> bool {
        self.preferences.muted_until > log_time
    }

    /// Out of the list, until somebody writes: a message that the reader has not read brings it back.
    pub fn folded(&self) -> bool {
        self.preferences.archived && self.unread == 0
    }

    /// Shown as unread, whatever the count says.
    pub fn marked_unread(&self) -> bool {
        self.preferences.unread_from > 0 && self.preferences.unread_from <= self.sequence
    }

    /// Whether the reader took this message out of her sight.
    pub fn is_hidden(&self, sequence: Sequence) -> bool {
        let after = self.hidden.partition_point(|range| range.last < sequence);
        self.hidden.get(after).is_some_and(|range| range.first <= sequence)
    }

    /// Messages that the reader took out of her sight, on this device or another.
    pub fn hide(&mut self, range: SequenceRange) {
        if range.first > range.last {
            return;
        }
        self.timeline.hide(range);
        let mut merged = range;
        self.hidden.retain(|held| {
            let apart = held.last + 1 < merged.first || merged.last + 1 < held.first;
            if !apart {
                merged =
                    SequenceRange { first: held.first.min(merged.first), last: held.last.max(merged.last) };
            }
            apart
        });
        let at = self.hidden.partition_point(|held| held.last < merged.first);
        if self.hidden.len() < HIDDEN_RANGES_MAX {
            self.hidden.insert(at, merged);
        }
        if let Some(preview) =
            self.preview.as_mut().filter(|preview| (range.first..=range.last).contains(&preview.sequence))
        {
            preview.text.clear();
            preview.gone = true;
        }
    }

    fn mentions_reader(&self, message: &Message) -> bool {
        message.from.id != self.reader
            && !message.deleted
            && (message.mentions_all || message.mentions.contains(&self.reader))
    }

    /// The newest message of the reader that she may edit.
    pub fn last_own(&self) -> Option<&Message> {
        let mut newest_first = self.timeline.run().rev();
        newest_first
            .find(|(sequence, entry)| {
                let message = &entry.message;
                message.from.id == self.reader
                    && !message.deleted
                    && message.forwarded.is_none()
                    && !message.hidden
                    && !self.is_hidden(**sequence)
            })
            .map(|(_, entry)| entry.message.as_ref())
    }

    /// The reader wants to see a message; what lies between is read. False if it is not to be had.
    pub fn seek(&mut self, sequence: Sequence) -> bool {
        if sequence == 0 || sequence > self.sequence {
            return false;
        }
        let reached = self.timeline.loaded
            && (self.timeline.first().is_some_and(|first| first <= sequence) || !self.timeline.more_before);
        self.seeking = (!reached).then_some(sequence);
        true
    }

    /// The next page on the way to what is sought.
    pub fn seek_on(&mut self) {
        let Some(sequence) = self.seeking else { return };
        if !self.timeline.loaded {
            return;
        }
        let reached = self.timeline.first().is_some_and(|first| first <= sequence);
        if reached || matches!(self.timeline.loading, Loading::Refused(_)) {
            self.seeking = None;
        } else if !self.want_history(Page::Older, 0) && self.timeline.loading == Loading::Idle {
            // There is nothing older, or no room for it.
            self.seeking = None;
        }
    }

    /// A page of history has come.
    pub fn take_page(&mut self, page: Page, messages: &[Event], more_before: bool, as_of: Index) {
        let first = self.timeline.first();
        self.timeline.page(page, messages, more_before, as_of);
        let hidden = std::mem::take(&mut self.hidden);
        for range in &hidden {
            self.timeline.hide(*range);
        }
        self.hidden = hidden;
        self.recount();
        if page == Page::Older && self.timeline.first() >= first {
            // It brought nothing older: asking again would not end.
            self.seeking = None;
        }
        self.seek_on();
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

    /// Its picture: a group's own, or the other's.
    pub fn portrait(&self, me: UserId) -> Option<Portrait> {
        match self.kind {
            ConversationKind::Group => portrait_of_group(self.id, self.avatar),
            ConversationKind::Direct => {
                let other = self.members.iter().find(|member| member.id != me);
                other.or(self.members.first()).and_then(portrait_of)
            }
        }
    }

    /// Somebody as she is known here now: what people are called and look like may be newer than what they wrote.
    pub fn face<'a>(&'a self, user: &'a User) -> &'a User {
        self.members.iter().find(|member| member.id == user.id).unwrap_or(user)
    }

    /// What a member is called and looks like now, as something that came a moment ago says.
    pub fn meet(&mut self, user: &User) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == user.id) {
            member.clone_from(user);
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

    /// Whether the other of a direct conversation is a program.
    pub fn is_with_bot(&self) -> bool {
        let direct = self.kind == ConversationKind::Direct;
        direct && self.members.iter().any(|member| member.id != self.reader && member.bot)
    }

    /// How present the other of a direct conversation is; `None` in a group.
    pub fn other_presence(&self) -> Option<PresenceState> {
        let direct = self.kind == ConversationKind::Direct;
        let other = self.members.iter().find(|member| member.id != self.reader).filter(|_| direct)?;
        Some(self.signals.presence(other.id))
    }

    /// Takes an event by the version rule.
    pub fn take(&mut self, event: Event) -> Verdict {
        self.take_as_of(event, 0)
    }

    /// The same for an event whose message was read as it was at index `as_of`.
    pub fn take_as_of(&mut self, event: Event, as_of: Index) -> Verdict {
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
        self.apply(&event, as_of);
        self.drain_held();
        Verdict::Applied
    }

    fn drain_held(&mut self) {
        while self.held.first_key().is_some_and(|version| version <= self.version + 1) {
            let Some((version, event)) = self.held.pop_first() else { break };
            if version == self.version + 1 {
                self.apply(&event, 0);
            }
        }
        if self.version >= self.known && !matches!(self.filling, Filling::Summary) {
            self.filling = Filling::Whole;
            self.fill_attempts = 0;
        }
    }

    fn apply(&mut self, event: &Event, as_of: Index) {
        self.version = event.version;
        self.apply_kind(event, as_of);
        if let Some(count) = self.count_ahead.take_if(|count| count.version <= self.version) {
            self.take_count(&count);
        }
    }

    fn apply_kind(&mut self, event: &Event, as_of: Index) {
        match &event.kind {
            EventKind::Message(message) => self.apply_message(event, message, as_of),
            EventKind::Edit { sequence, revision, text, by } => {
                self.apply_edit(*sequence, *revision, text, by, event.time);
            }
            EventKind::Delete { sequences, .. } => {
                for sequence in sequences {
                    self.apply_delete(*sequence);
                }
            }
            EventKind::Reaction { sequence, emoji, user, on } => {
                self.timeline.react(*sequence, emoji, user.id, *on, event.index);
            }
            EventKind::Pin { sequence, on, by } => {
                self.pin_count =
                    if *on { self.pin_count.saturating_add(1) } else { self.pin_count.saturating_sub(1) };
                self.timeline.pin(*sequence, *on, event.index);
                if *on {
                    self.note(event, NoticeKind::Pinned { sequence: *sequence, by: by.clone() });
                }
            }
            EventKind::Role { user, role, by } => {
                if user.id == self.reader {
                    self.role = *role;
                } else if *role == MemberRole::Owner && self.role == MemberRole::Owner {
                    // A group has one owner; who gives that away goes on as an admin.
                    self.role = MemberRole::Admin;
                }
                let (user, role, by) = (user.clone(), *role, by.clone());
                self.note(event, NoticeKind::Role { user, role, by });
            }
            EventKind::Member { user, joined, by, banned } => {
                self.apply_member(event, user, *joined, by, *banned);
            }
            EventKind::Conversation { title, by, topic, public, announcement, retention_ms, avatar } => {
                let by = || by.clone();
                if *title != self.title || (event.version == 1 && !title.is_empty()) {
                    self.title.clone_from(title);
                    self.note(event, NoticeKind::Titled { title: title.clone(), by: by() });
                }
                if *topic != self.topic {
                    self.topic.clone_from(topic);
                    self.note(event, NoticeKind::Topic { topic: topic.clone(), by: by() });
                }
                if *avatar != self.avatar {
                    self.avatar = *avatar;
                    self.note(event, NoticeKind::Pictured { on: avatar.is_some(), by: by() });
                }
                if *public != self.public {
                    self.public = *public;
                    self.note(event, NoticeKind::Public { on: *public, by: by() });
                }
                if *announcement != self.announcement {
                    self.announcement = *announcement;
                    self.note(event, NoticeKind::Announcement { on: *announcement, by: by() });
                }
                if *retention_ms != self.retention_ms {
                    self.retention_ms = *retention_ms;
                    self.note(event, NoticeKind::Retention { retention_ms: *retention_ms, by: by() });
                }
            }
        }
    }

    fn apply_message(&mut self, event: &Event, message: &Message, as_of: Index) {
        self.sequence = self.sequence.max(message.sequence);
        self.take_preview(Some(event));
        self.timeline.insert(event, as_of);
        self.signals.wrote(message.from.id, message.sequence);
        // Names and pictures have no event of their own: they come with what people write.
        self.meet(&message.from);
        if message.from.id == self.reader {
            // Who answers has read: the server counts it so as well.
            if self.unread == 0 {
                self.read = self.read.max(message.sequence);
            }
        } else if message.sequence > self.read {
            // A page of history may have been ahead, and know that it was deleted since.
            let held = self.timeline.get(message.sequence).map(|entry| Arc::clone(&entry.message));
            let message = held.as_deref().unwrap_or(message);
            self.unread += u64::from(!message.deleted);
            self.mentions += u64::from(self.mentions_reader(message));
        }
    }

    fn apply_edit(&mut self, sequence: Sequence, revision: u64, text: &str, by: &User, time: u64) {
        let named_before =
            self.timeline.get(sequence).is_some_and(|entry| self.mentions_reader(&entry.message));
        let is_news = self
            .timeline
            .get(sequence)
            .is_some_and(|entry| !entry.message.deleted && entry.message.revision < revision);
        self.timeline.edit(sequence, revision, text, time);
        if is_news {
            let named = text::mentions(text);
            let own = self.members.iter().find(|member| member.id == self.reader);
            let names_reader = own.is_some_and(|own| named.names.contains(&own.name));
            self.timeline.renamed(sequence, names_reader, named.all);
            // Whom a text names is decided where it is kept: this is a guess until the server was asked.
            let named_now = names_reader || named.all;
            if sequence > self.read && by.id != self.reader && named_now != named_before {
                self.mentions = if named_now {
                    (self.mentions + 1).min(self.unread)
                } else {
                    self.mentions.saturating_sub(1)
                };
                self.unread_doubtful = true;
            }
        } else if sequence > self.read && by.id != self.reader {
            self.unread_doubtful = true;
        }
        if let Some(preview) =
            self.preview.as_mut().filter(|preview| preview.sequence == sequence && !preview.gone)
        {
            preview.text = rooms_as_words(text);
        }
    }

    fn apply_delete(&mut self, sequence: Sequence) {
        let held = self.timeline.get(sequence).is_some();
        if let Some(was) = self.timeline.delete(sequence) {
            if was.pinned {
                self.pin_count = self.pin_count.saturating_sub(1);
            }
            if sequence > self.read && was.from.id != self.reader {
                self.unread = self.unread.saturating_sub(1);
                if was.mentions_all || was.mentions.contains(&self.reader) {
                    self.mentions = self.mentions.saturating_sub(1);
                }
            }
        } else if !held && sequence > self.read {
            // Nobody here knows whose it was, nor whom it named.
            self.unread_doubtful = true;
        }
        if let Some(preview) = self.preview.as_mut().filter(|preview| preview.sequence == sequence) {
            preview.text.clear();
            preview.gone = true;
        }
    }

    fn apply_member(&mut self, event: &Event, user: &User, joined: bool, by: &User, banned: bool) {
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
            if joined { NoticeKind::Joined { user, by } } else { NoticeKind::Left { user, by, banned } };
        self.note(event, what);
    }

    fn note(&mut self, event: &Event, what: NoticeKind) {
        let notice = Notice { version: event.version, after: self.sequence, time: event.time, what };
        self.timeline.notice(notice);
    }

    fn take_preview(&mut self, event: Option<&Event>) {
        if let Some(Event { time, kind: EventKind::Message(message), .. }) = event
            && self.preview.as_ref().is_none_or(|preview| preview.sequence <= message.sequence)
        {
            let gone = message.deleted || message.hidden || self.is_hidden(message.sequence);
            self.preview = Some(Preview {
                sequence: message.sequence,
                from: message.from.clone(),
                text: if gone { String::new() } else { said(message) },
                time: *time,
                gone,
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
        self.mentions = self.mentions.min(self.unread);
        self.unread_doubtful = self.unread > 0;
        self.recount();
        true
    }

    /// Counts what is unread from the timeline, if it reaches down to the read mark.
    pub fn recount(&mut self) {
        if self.timeline.first().is_some_and(|first| first <= self.read + 1) {
            // A page of history may be ahead of the events; those count when they come.
            let counted = self.read + 1..=self.sequence;
            let (mut unread, mut mentions) = (0, 0);
            for (_, entry) in self.timeline.run().filter(|(at, _)| counted.contains(at)) {
                let message = &entry.message;
                unread += u64::from(message.from.id != self.reader && !message.deleted);
                mentions += u64::from(self.mentions_reader(message));
            }
            (self.unread, self.mentions) = (unread, mentions);
            self.unread_doubtful = false;
        }
    }

    /// The server's count, if it speaks of the same state. One that is ahead counts as soon as its version has come;
    /// after one that is behind it is asked again.
    pub fn take_count(&mut self, summary: &ConversationSummary) {
        if summary.version > self.version {
            self.count_ahead = Some(Box::new(summary.clone()));
            self.known_up_to(summary.version);
        } else if summary.version == self.version && summary.read >= self.read {
            self.read = summary.read;
            self.unread = summary.unread;
            self.mentions = summary.mentions;
            self.pin_count = summary.pin_count;
            self.preferences.clone_from(&summary.preferences);
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
            Page::Older => self.timeline.loaded && self.timeline.more_before && !self.timeline.is_full(),
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

    use crate::timeline::TIMELINE_MESSAGES_MAX;

    const ME: UserId = 1;

    fn user(id: UserId) -> User {
        User { id, name: format!("u{id}"), ..User::default() }
    }

    fn message(version: Version, sequence: Sequence, from: UserId) -> Event {
        let kind = EventKind::Message(Message {
            sequence,
            from: user(from),
            client_message_id: ClientMessageId::from_slice(&u128::from(version).to_be_bytes()).expect("16"),
            text: sequence.to_string(),
            ..Message::default()
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

    fn event(version: Version, kind: EventKind) -> Event {
        Event { conversation: 1, version, index: version * 10, time: version, kind }
    }

    fn naming(version: Version, sequence: Sequence, mentions: Vec<UserId>, all: bool) -> Event {
        let mut event = message(version, sequence, 2);
        if let EventKind::Message(message) = &mut event.kind {
            (message.mentions, message.mentions_all) = (mentions, all);
        }
        event
    }

    #[test]
    fn mentions_are_counted_as_the_server_counts_them() {
        let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        conversation.timeline.loaded = true;
        conversation.take(naming(2, 1, vec![ME], false));
        conversation.take(naming(3, 2, vec![9], false));
        conversation.take(naming(4, 3, vec![ME], true));
        conversation.take(naming(5, 4, vec![], true));
        assert_eq!((conversation.unread, conversation.mentions), (4, 3), "named twice counts once");
        conversation.take(event(6, EventKind::Delete { sequences: vec![3, 2], by: user(2) }));
        assert_eq!((conversation.unread, conversation.mentions), (2, 2));
        conversation.take(event(7, EventKind::Delete { sequences: vec![3], by: user(2) }));
        assert_eq!((conversation.unread, conversation.mentions), (2, 2), "once");
        conversation.mark_read(1);
        assert_eq!((conversation.unread, conversation.mentions), (1, 1));
        conversation.mark_read(4);
        assert_eq!((conversation.unread, conversation.mentions), (0, 0));
    }

    #[test]
    fn an_edit_may_begin_to_name_the_reader_and_the_server_is_asked() {
        let mut listed = summary(1, 0, 0, 0);
        listed.members = vec![user(ME), user(2)];
        let mut conversation = Conversation::from_summary(&listed, ME);
        conversation.timeline.loaded = true;
        conversation.take(message(2, 1, 2));
        let edit = |revision, text: &str| EventKind::Edit {
            sequence: 1,
            revision,
            text: text.to_owned(),
            by: user(2),
        };
        conversation.take(event(3, edit(1, "look, @u1")));
        assert_eq!((conversation.mentions, conversation.unread_doubtful), (1, true));
        assert_eq!(conversation.preview.as_ref().map(|preview| preview.text.as_str()), Some("look, @u1"));
        conversation.take(event(4, edit(2, "look")));
        assert_eq!(conversation.mentions, 0);
    }

    #[test]
    fn what_was_deleted_or_hidden_is_gone_from_the_list_too() {
        let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        conversation.timeline.loaded = true;
        conversation.take(message(2, 1, 2));
        conversation.take(message(3, 2, 2));
        conversation.take(event(4, EventKind::Delete { sequences: vec![2], by: user(2) }));
        let preview = conversation.preview.clone().expect("a newest message");
        assert!(preview.gone && preview.text.is_empty());
        conversation.take(message(5, 3, 2));
        conversation.hide(SequenceRange { first: 3, last: 3 });
        assert!(conversation.preview.as_ref().is_some_and(|preview| preview.gone));
        assert!(conversation.is_hidden(3) && !conversation.is_hidden(2));
        conversation.take(event(6, EventKind::Delete { sequences: vec![99], by: user(2) }));
        assert!(conversation.unread_doubtful, "of a message that is not here");
    }

    #[test]
    fn hidden_ranges_are_merged() {
        let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
        for (first, last) in [(5, 6), (1, 1), (8, 9), (7, 7), (3, 2), (20, 30)] {
            conversation.hide(SequenceRange { first, last });
        }
        let ranges: Vec<_> = conversation.hidden.iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(ranges, [(1, 1), (5, 9), (20, 30)]);
        let hidden: Vec<u64> = (0..32).filter(|at| conversation.is_hidden(*at)).collect();
        assert_eq!(hidden.len(), 17);
    }

    #[test]
    fn roles_pins_and_details_follow_their_events() {
        let mut listed = summary(1, 3, 0, 0);
        listed.kind = ConversationKind::Group;
        listed.role = MemberRole::Owner;
        let mut group = Conversation::from_summary(&listed, ME);
        assert!(group.manages());
        group.take(event(2, EventKind::Pin { sequence: 1, on: true, by: user(2) }));
        assert_eq!(group.pin_count, 1);
        group.take(event(3, EventKind::Role { user: user(2), role: MemberRole::Owner, by: user(ME) }));
        assert_eq!(group.role, MemberRole::Admin);
        let kind = EventKind::Conversation {
            title: "Room".into(),
            by: user(2),
            topic: "Rooms".into(),
            public: true,
            announcement: true,
            retention_ms: 0,
            avatar: Some(Uuid::from_u128(7)),
        };
        group.take(event(4, kind));
        assert!(group.public && group.announcement && group.topic == "Rooms" && group.title == "Room");
        assert_eq!(group.closed_because(), None);
        group.take(event(5, EventKind::Role { user: user(ME), role: MemberRole::Member, by: user(2) }));
        assert!(group.closed_because().is_some() && !group.manages());
        assert_eq!(group.timeline.notices().len(), 8);
        let shown = group.portrait(ME).map(Portrait::path);
        assert_eq!(shown, Some(format!("/api/v1/files/{}/thumbnail?group=1", Uuid::from_u128(7))));
    }

    #[test]
    fn what_somebody_looks_like_comes_with_what_she_writes() {
        let mut listed = summary(1, 0, 0, 0);
        listed.members = vec![user(ME), user(2)];
        let mut direct = Conversation::from_summary(&listed, ME);
        assert_eq!(direct.portrait(ME), None);
        let mut event = message(2, 1, 2);
        if let EventKind::Message(message) = &mut event.kind {
            message.from.avatar = Some(Uuid::from_u128(9));
        }
        direct.take(event);
        let file = |portrait: Option<Portrait>| portrait.map(|portrait| portrait.file);
        assert_eq!(file(direct.portrait(ME)), Some(Uuid::from_u128(9)));
        assert_eq!(direct.face(&user(2)).avatar, Some(Uuid::from_u128(9)), "older messages show it too");
        assert_eq!(direct.face(&user(3)).id, 3);
    }

    #[test]
    fn marked_as_unread_until_the_next_read_mark() {
        let mut listed = summary(4, 3, 3, 0);
        listed.preferences.unread_from = 2;
        listed.preferences.archived = true;
        let mut conversation = Conversation::from_summary(&listed, ME);
        assert!(conversation.marked_unread() && conversation.folded());
        conversation.take(message(5, 4, 2));
        assert!(!conversation.folded(), "somebody wrote");
        conversation.mark_read(4);
        assert!(conversation.folded());
    }

    #[test]
    fn what_is_sought_is_read_page_by_page() {
        let mut conversation = Conversation::from_summary(&summary(11, 10, 10, 0), ME);
        assert!(!conversation.seek(11) && conversation.seek(2));
        conversation.seek_on();
        assert_eq!(conversation.timeline.loading, Loading::Idle, "the newest page comes first");
        let pages = |from: u64, to: u64| (from..=to).map(|n| message(n + 1, n, 2)).collect::<Vec<_>>();
        conversation.timeline.page(Page::Newest, &pages(6, 10), true, 0);
        conversation.seek_on();
        assert_eq!(conversation.timeline.loading, Loading::Wanted(Page::Older, 0));
        conversation.timeline.page(Page::Older, &pages(1, 5), false, 0);
        conversation.seek_on();
        assert_eq!((conversation.seeking, conversation.timeline.loading.clone()), (None, Loading::Idle));
    }

    #[test]
    fn who_left_meanwhile_is_counted_once() {
        let listed = |version, count: u32| ConversationSummary {
            members: (1..=u64::from(count)).map(user).collect(),
            member_count: count,
            ..summary(version, 0, 0, 0)
        };
        let mut conversation = Conversation::from_summary(&listed(5, 5), ME);
        // The resume's welcome knows it already; then its event comes.
        let mut ahead = listed(6, 4);
        ahead.members[1].display_name = "Two".to_owned();
        conversation.describe(&ahead);
        assert_eq!(conversation.member_count, 5);
        assert_eq!(conversation.members[1].display_name, "Two", "a name has no event");
        let kind = EventKind::Member { user: user(5), joined: false, by: user(5), banned: false };
        conversation.take(Event { conversation: 1, version: 6, index: 6, time: 6, kind });
        assert_eq!((conversation.member_count, conversation.members.len()), (4, 4));
        conversation.describe(&listed(5, 5));
        assert_eq!(conversation.member_count, 4, "an older summary changes nothing");
    }

    #[test]
    fn a_count_that_is_ahead_counts_when_its_version_has_come() {
        let mut conversation = Conversation::from_summary(&summary(5, 4, 0, 4), ME);
        conversation.unread_doubtful = true;
        conversation.take_count(&summary(6, 5, 0, 3));
        assert!(conversation.unread_doubtful && conversation.incomplete());
        assert_eq!(conversation.filling, Filling::Wanted(0));
        conversation.take(message(6, 5, 2));
        assert_eq!((conversation.unread, conversation.unread_doubtful), (3, false));
        conversation.take(message(7, 6, 2));
        assert_eq!(conversation.unread, 4, "and later messages on top of it");
        conversation.unread_doubtful = true;
        conversation.take_count(&summary(6, 5, 0, 1));
        assert!(conversation.unread_doubtful, "one that is behind says nothing");
    }

    #[test]
    fn seeking_ends_where_there_is_no_room_or_nothing_comes() {
        let newest = TIMELINE_MESSAGES_MAX as u64 + 100;
        let mut conversation = Conversation::from_summary(&summary(newest + 1, newest, newest, 0), ME);
        let pages = |from: u64, to: u64| (from..=to).map(|n| message(n + 1, n, 2)).collect::<Vec<_>>();
        conversation.take_page(Page::Newest, &pages(newest - 9, newest), true, 0);
        assert!(conversation.seek(1));
        conversation.seek_on();
        conversation.take_page(Page::Older, &pages(newest - 19, newest - 10), true, 0);
        assert_eq!(conversation.seeking, Some(1));
        conversation.take_page(Page::Older, &[], true, 0);
        assert_eq!((conversation.seeking, &conversation.timeline.loading), (None, &Loading::Idle));
        assert!(conversation.seek(1));
        conversation.seek_on();
        conversation.take_page(Page::Older, &pages(1, newest - 20), false, 0);
        assert_eq!((conversation.seeking, &conversation.timeline.loading), (None, &Loading::Idle));
        assert_eq!(conversation.timeline.first(), Some(101), "the newest are held");
        assert!(conversation.timeline.more_before && conversation.timeline.is_full());
        assert!(!conversation.want_history(Page::Older, 0), "what has no room is not read");
    }
}
