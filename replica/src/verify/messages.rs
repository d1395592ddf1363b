//! What belongs to messages, counted again: who is named where, what was taken back, pinned, saved, scheduled and is due.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use quorate_proto::limits::{HIDDEN_RANGES_MAX, REACTIONS_MAX, REACTORS_MAX};

use super::{Report, decode, number};
use crate::machine::records::{
    Conversation, Draft, Due, DueHead, DueKind, HiddenRanges, Listed, Pin, Reactions, ScheduledRecord,
    StoredMessage, User,
};
use crate::store::{Key, Space, StoreError};

/// What is remembered while the rest goes by. Keys come in order of spaces: users, conversations and messages come before what
/// belongs to them.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Keys that must come, and what they must lead to where that is known.
    expected: BTreeMap<Key, Option<Bytes>>,
    /// What counts say, and what was counted: of users what is scheduled and saved, of conversations pins.
    counts: HashMap<(Space, u64), (u32, u32)>,
    /// Messages that were taken back and had other texts: none of them may be left.
    erased: HashSet<(u64, u64)>,
    head: DueHead,
    due: u64,
    first_due_ms: u64,
}

fn eight(number: u64) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&number.to_be_bytes()))
}

impl Messages {
    pub(super) fn head(&mut self, head: DueHead) {
        self.head = head;
    }

    pub(super) fn user(&mut self, id: u64, user: &User) {
        for (space, said) in [(Space::Scheduled, user.scheduled), (Space::Saved, user.saved)] {
            if said != 0 {
                self.counts.entry((space, id)).or_default().0 = said;
            }
        }
    }

    pub(super) fn conversation(&mut self, id: u64, conversation: &Conversation) {
        if conversation.pins != 0 {
            self.counts.entry((Space::Pins, id)).or_default().0 = conversation.pins;
        }
        if conversation.retention_due_ms != 0 {
            let (at_ms, number) = (conversation.retention_due_ms, conversation.retention_due_number);
            self.expected.insert(Key::two(Space::Due, at_ms, number), None);
        }
    }

    pub(super) fn message(&mut self, id: u64, sequence: u64, message: &StoredMessage, report: &mut Report) {
        for user in &message.mentions {
            self.expected.insert(Key::three(Space::Mentions, id, *user, sequence), None);
        }
        if message.mentions_all {
            self.expected.insert(Key::three(Space::Mentions, id, 0, sequence), eight(message.from));
        }
        let belongings = [
            (Space::Reactions, message.has_reactions),
            (Space::Deleted, message.deleted_ms != 0),
            (Space::Pins, message.pinned),
        ];
        for (space, _) in belongings.into_iter().filter(|(_, is_there)| *is_there) {
            self.expected.insert(Key::two(space, id, sequence), None);
        }
        if message.deleted_ms != 0 {
            self.erased.insert((id, sequence));
            let is_left = !message.text.is_empty() || message.has_reactions || message.pinned;
            let is_shown = !message.attachments.is_empty();
            if is_left || is_shown || !message.mentions.is_empty() || message.mentions_all {
                report
                    .problem(format!("message {sequence} of conversation {id} was taken back and is there"));
            }
        }
    }

    /// The kind to count a record as; `None` when it is not of messages.
    pub(super) fn record(
        &mut self,
        key: &Key,
        value: &Bytes,
        report: &mut Report,
    ) -> Result<Option<&'static str>, StoreError> {
        const SCHEDULED: u8 = Space::Scheduled as u8;
        const DUE: u8 = Space::Due as u8;
        const REVISIONS: u8 = Space::Revisions as u8;
        const REACTIONS: u8 = Space::Reactions as u8;
        const MENTIONS: u8 = Space::Mentions as u8;
        const MENTION_INBOX: u8 = Space::MentionInbox as u8;
        const DELETED: u8 = Space::Deleted as u8;
        const PINS: u8 = Space::Pins as u8;
        const SAVED: u8 = Space::Saved as u8;
        const SAVED_AT: u8 = Space::SavedAt as u8;
        const HIDDEN: u8 = Space::Hidden as u8;
        const DRAFTS: u8 = Space::Drafts as u8;
        let raw = key.as_bytes();
        let (id, second) = (number(&raw[1..]), number(raw.get(9..).unwrap_or_default()));
        Ok(Some(match raw[0] {
            SCHEDULED => {
                let it: ScheduledRecord = decode(key, value.clone())?;
                self.counts.entry((Space::Scheduled, id)).or_default().1 += 1;
                self.expected.insert(Key::two(Space::Due, it.listed_ms(), it.due_number), None);
                "scheduled"
            }
            DUE => {
                let it: Due = decode(key, value.clone())?;
                self.due += 1;
                if self.due == 1 {
                    self.first_due_ms = id;
                }
                if !matches!(it.kind, Some(DueKind::LeaveAll(_) | DueKind::EraseHook(_))) {
                    self.meet(key, value, report);
                }
                "due"
            }
            REVISIONS => {
                if self.erased.contains(&(id, second)) {
                    report.problem(format!("message {second} of conversation {id} has a text left"));
                }
                "earlier texts"
            }
            REACTIONS => {
                let it: Reactions = decode(key, value.clone())?;
                let twice = it.emojis.iter().any(|of| {
                    of.user_ids.is_empty()
                        || of.user_ids.iter().collect::<HashSet<_>>().len() < of.user_ids.len()
                });
                if twice || it.emojis.len() > REACTIONS_MAX || it.count() > REACTORS_MAX {
                    report.problem(format!("message {second} of conversation {id} has too many reactions"));
                }
                self.meet(key, value, report);
                "messages with reactions"
            }
            MENTIONS => {
                self.meet(key, value, report);
                if second != 0 {
                    let listed = Key::two(Space::MentionInbox, second, number(value));
                    let place = [id.to_be_bytes(), key.ordinal().to_be_bytes()].concat();
                    self.expected.insert(listed, Some(place.into()));
                }
                "mentions"
            }
            MENTION_INBOX => {
                let it: Listed = decode(key, value.clone())?;
                let place = [it.conversation_id.to_be_bytes(), it.sequence.to_be_bytes()].concat();
                self.meet(key, &place.into(), report);
                "mentions in lists"
            }
            DELETED => {
                self.meet(key, value, report);
                "messages taken back"
            }
            PINS => {
                let _: Pin = decode(key, value.clone())?;
                self.counts.entry((Space::Pins, id)).or_default().1 += 1;
                self.meet(key, value, report);
                "pinned messages"
            }
            SAVED => {
                let it: Listed = decode(key, value.clone())?;
                self.counts.entry((Space::Saved, id)).or_default().1 += 1;
                let at = Key::three(Space::SavedAt, id, it.conversation_id, it.sequence);
                self.expected.insert(at, eight(key.ordinal()));
                "saved messages"
            }
            SAVED_AT => {
                self.meet(key, value, report);
                "places of saved messages"
            }
            HIDDEN => {
                let it: HiddenRanges = decode(key, value.clone())?;
                let in_order = it.ranges.windows(2).all(|two| two[0].last + 1 < two[1].first);
                let is_whole = it.ranges.iter().all(|range| range.first != 0 && range.first <= range.last);
                if !in_order || !is_whole || it.ranges.len() > HIDDEN_RANGES_MAX {
                    report.problem(format!("what user {id} hides of conversation {second} is out of order"));
                }
                "conversations with something hidden"
            }
            DRAFTS => {
                let _: Draft = decode(key, value.clone())?;
                "drafts"
            }
            _ => return Ok(None),
        }))
    }

    /// A key has come.
    fn meet(&mut self, key: &Key, value: &Bytes, report: &mut Report) {
        match self.expected.remove(key) {
            None => report.problem(format!("the record at {key:?} belongs to nothing")),
            Some(Some(expected)) if expected != *value => {
                report.problem(format!("the record at {key:?} leads elsewhere"));
            }
            Some(_) => {}
        }
    }

    pub(super) fn finish(&self, problems: &mut Vec<String>) {
        problems.extend(self.expected.keys().map(|key| format!("the record at {key:?} is missing")));
        for ((space, id), (said, counted)) in &self.counts {
            if said != counted {
                problems.push(format!("{space:?} of {id}: {said} are said to be there, and {counted} are"));
            }
        }
        let DueHead { head_ms, count, .. } = self.head;
        if count != self.due || (head_ms == 0) != (count == 0) || (count > 0 && head_ms > self.first_due_ms) {
            problems.push(format!(
                "{count} things are said to be due from {head_ms} on, and {} are, from {} on",
                self.due, self.first_due_ms
            ));
        }
    }
}
