//! One conversation as this client knows it: what the list shows, the version rule, and its timeline.
//!
//! The version rule: the event after the last one is applied, one that came before is dropped, one from further ahead is
//! held back while `since` fills the gap. So nothing is shown twice, and nothing is skipped.

mod asking;
mod events;
mod kept;
mod past;
mod told;

use std::sync::Arc;

use quorate_proto::frame::{
    ConversationKind, ConversationSummary, Event, EventKind, MemberRole, Message, Preferences, SequenceRange,
    User,
};
use quorate_proto::ids::{ConversationId, Index, Sequence, UserId, Version};
use quorate_proto::limits::HIDDEN_RANGES_MAX;
use quorate_proto::text;
use uuid::Uuid;

pub use kept::{KEPT_BYTES_MAX, KEPT_MESSAGES_MAX};
use past::Reading;

use crate::ordered::OrderedMap;
use crate::signals::RoomSignals;
use crate::timeline::{Notice, NoticeKind, Timeline};
use crate::view::{blocks, plain, said};

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
    /// A message that the reader wants to see; history is read until it is here.
    pub seeking: Option<Sequence>,
    /// Where she is in it.
    reading: Reading,
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
            self.forget();
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
        self.forget();
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
            self.hide_held(*range);
        }
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
        self.hide_held(range);
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

    /// What a member is called and looks like now, as something that came a moment ago says.
    pub fn meet(&mut self, user: &User) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == user.id) {
            member.clone_from(user);
        }
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
}

#[cfg(test)]
mod tests;
