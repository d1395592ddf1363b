//! Messages taken back: for everybody, or out of one user's sight.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{DELETE_MESSAGES_MAX, HIDDEN_RANGES_MAX, REVISIONS_KEPT_MAX};
use quorate_proto::rpc::{self, SequenceRange, outcome};

use super::mentions::{Named, manages};
use super::records::{Conversation, DeletedEvent, EventKind, HiddenRanges, Reactions, StoredMessage};
use super::{Decision, MessageTables as _, Step, Tables as _, done, rejected, scopes};
use crate::store::{StoreError, View};

/// Keys that one entry erases for one command or one turn of a retention rule. A message alone has at most 64 earlier texts and 51
/// mentions, each in two lists, and shows at most 10 files.
const ERASED_KEYS_MAX: u64 = 1_000;
/// Messages that a retention rule looks at in one turn.
const RETAINED_PER_TURN: usize = 64;
/// A retention rule looks at a conversation at most this often while nothing is left over: messages go together.
const RETENTION_TURN_MS: u64 = 60_000;

/// The range of messages that a command names.
fn range(first: u64, last: u64) -> Decision<SequenceRange> {
    if first == 0 || last < first {
        return rejected(ErrorCode::Invalid, "a range of messages begins at 1 and ends after its beginning");
    }
    if last - first >= DELETE_MESSAGES_MAX {
        return rejected(ErrorCode::TooLarge, "too many messages at once: at most 100");
    }
    Ok(SequenceRange { first, last })
}

/// Keys that erasing a message deletes or writes, about.
fn cost(message: &StoredMessage) -> u64 {
    let (named, shown) = (message.mentions.len() as u64, message.attachments.len() as u64);
    5 + message.revision.min(REVISIONS_KEPT_MAX) + 2 * named + 3 * shown
}

impl HiddenRanges {
    /// Whether a message is out of sight.
    pub fn hides(&self, sequence: u64) -> bool {
        self.ranges.iter().any(|range| (range.first..=range.last).contains(&sequence))
    }

    /// The first message from this one on that is not out of sight.
    pub fn shown_from(&self, sequence: u64) -> u64 {
        let hiding = self.ranges.iter().find(|range| (range.first..=range.last).contains(&sequence));
        // Ranges do not touch each other.
        hiding.map_or(sequence, |range| range.last.saturating_add(1))
    }

    /// With one more range; what touches becomes one.
    fn with(&self, added: SequenceRange) -> Self {
        let mut ranges: Vec<SequenceRange> = self.ranges.clone();
        ranges.push(added);
        ranges.sort_by_key(|range| (range.first, range.last));
        let mut merged: Vec<SequenceRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut().filter(|last| range.first <= last.last.saturating_add(1)) {
                Some(last) => last.last = last.last.max(range.last),
                None => merged.push(range),
            }
        }
        Self { ranges: merged }
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn delete_messages(
        &mut self,
        by: u64,
        delete: &rpc::DeleteMessages,
    ) -> Decision<outcome::Result> {
        let SequenceRange { first, last } = range(delete.first, delete.last)?;
        let id = delete.conversation_id;
        let (mut conversation, member) = self.joined(by, id)?;
        let is_one = first == last;
        let mut messages = Vec::new();
        let mut keys = 0;
        let (from, to) = (first.max(member.base_sequence + 1), last.saturating_add(1));
        for (sequence, message) in self.state.messages(id, from, to, usize::MAX)? {
            let may = message.from == by || manages(&conversation, &member);
            if !may || (message.from != by && self.token_lacks(scopes::MANAGE)) {
                if is_one && may {
                    let why = "this token lacks the scope manage: it takes back what its user wrote";
                    return rejected(ErrorCode::Forbidden, why);
                }
                if is_one {
                    return rejected(ErrorCode::Forbidden, "only who wrote a message may take it back");
                }
                continue;
            }
            if message.deleted_ms == 0 {
                keys += cost(&message);
                messages.push((sequence, message));
            } else if is_one {
                return Ok(changed(id, 0, sequence));
            }
        }
        if messages.is_empty() {
            if is_one {
                return rejected(ErrorCode::NotFound, "there is no such message");
            }
            return Ok(changed(id, 0, 0));
        }
        if keys > ERASED_KEYS_MAX {
            return rejected(
                ErrorCode::TooLarge,
                "too much belongs to these messages: take back fewer at once",
            );
        }
        let sequence = if is_one { first } else { 0 };
        self.erase(id, &mut conversation, messages, by)?;
        self.state.put_conversation(id, &conversation);
        Ok(changed(id, conversation.version, sequence))
    }

    /// Takes messages back and says so. The caller writes the conversation's record.
    fn erase(
        &mut self,
        id: u64,
        conversation: &mut Conversation,
        messages: Vec<(u64, StoredMessage)>,
        by: u64,
    ) -> Result<(), StoreError> {
        let mut sequences = Vec::with_capacity(messages.len());
        let mut named = Vec::new();
        for (sequence, mut message) in messages {
            if !conversation.bots.is_empty() {
                named.extend_from_slice(&message.mentions);
            }
            for revision in message.revision.saturating_sub(REVISIONS_KEPT_MAX)..message.revision {
                self.state.delete_revision(id, sequence, revision);
            }
            if message.has_reactions {
                self.state.put_reactions(id, sequence, &Reactions::default());
            }
            if message.pinned {
                self.state.put_pin(id, sequence, None);
                conversation.pins = conversation.pins.saturating_sub(1);
            }
            self.set_named((id, sequence), &mut message, Named::default())?;
            if !message.attachments.is_empty() {
                self.release_attachments(id, sequence)?;
            }
            self.state.put_deleted(id, sequence);
            // Where it stands and who wrote it stays; which revision it had, because its events say it.
            let StoredMessage { version, index, log_time_ms, from, client_message_id, .. } = message;
            let (revision, edited_index, edited_ms) =
                (message.revision, message.edited_index, message.edited_ms);
            let erased = StoredMessage {
                version,
                index,
                log_time_ms,
                from,
                client_message_id,
                revision,
                edited_index,
                edited_ms,
                deleted_ms: self.context.log_time_ms.max(1),
                ..StoredMessage::default()
            };
            self.state.put_message(id, sequence, &erased);
            sequences.push(sequence);
        }
        self.push_event(id, conversation, EventKind::Deleted(DeletedEvent { sequences, by }))?;
        self.tell_hooks(by, (id, conversation), &named)
    }

    /// One turn of a conversation's retention rule: deletes what is too old, from the oldest on, and says when to look again.
    pub(super) fn retain(&mut self, id: u64) -> Result<(), StoreError> {
        let Some(mut conversation) = self.state.conversation(id)? else { return Ok(()) };
        (conversation.retention_due_ms, conversation.retention_due_number) = (0, 0);
        let (now, kept_ms) = (self.context.log_time_ms, conversation.retention_ms);
        if kept_ms == 0 {
            self.state.put_conversation(id, &conversation);
            return Ok(());
        }
        let first = conversation.retained_sequence + 1;
        // The first tells mostly that nothing is too old yet: the others need not be read for it.
        let mut found = self.state.messages(id, first, conversation.sequence + 1, 1)?;
        if found.iter().all(|(_, message)| message.log_time_ms.saturating_add(kept_ms) <= now) {
            found = self.state.messages(id, first, conversation.sequence + 1, RETAINED_PER_TURN)?;
        }
        let is_full = found.len() == RETAINED_PER_TURN;
        let (mut old, mut keys, mut again) = (Vec::new(), 0, None);
        for (sequence, message) in found {
            let ends_ms = message.log_time_ms.saturating_add(kept_ms);
            if ends_ms > now {
                again = Some(ends_ms.max(now + RETENTION_TURN_MS));
                break;
            }
            if message.deleted_ms == 0 {
                keys += cost(&message);
                if keys > ERASED_KEYS_MAX && !old.is_empty() {
                    again = Some(now);
                    break;
                }
                old.push((sequence, message));
            }
            conversation.retained_sequence = sequence;
        }
        // After the last message the next one, sent now, is the first to grow old.
        let again = again.unwrap_or(if is_full { now } else { now.saturating_add(kept_ms) });
        if !old.is_empty() {
            self.erase(id, &mut conversation, old, 0)?;
        }
        self.due_retention(id, &mut conversation, again)?;
        self.state.put_conversation(id, &conversation);
        Ok(())
    }

    pub(super) fn hide_messages(&mut self, by: u64, hide: &rpc::HideMessages) -> Decision<outcome::Result> {
        let SequenceRange { first, last } = range(hide.first, hide.last)?;
        let id = hide.conversation_id;
        let (conversation, _) = self.joined(by, id)?;
        if first > conversation.sequence {
            return rejected(ErrorCode::NotFound, "there is no such message");
        }
        let last = last.min(conversation.sequence);
        let before = self.state.hidden(by, id)?;
        let after = before.with(SequenceRange { first, last });
        if after == before {
            return Ok(done());
        }
        if after.ranges.len() > HIDDEN_RANGES_MAX {
            return rejected(ErrorCode::TooLarge, "too many places of this conversation are hidden already");
        }
        self.state.put_hidden(by, id, &after);
        self.push_me(by, EventKind::MeHidden(rpc::MeHidden { conversation_id: id, first, last }))?;
        Ok(done())
    }
}

/// What a command did to a conversation; version 0 when nothing had to be changed.
pub(super) fn changed(conversation_id: u64, version: u64, sequence: u64) -> outcome::Result {
    outcome::Result::Changed(rpc::Changed { conversation_id, version, sequence })
}
