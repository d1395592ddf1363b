//! From the state to changes of the index: what came after an index, or everything.
//!
//! A walk goes through the conversations in order of their numbers, a few messages at a time, so that nobody waits for it, and
//! can be taken up where it stopped. What happens meanwhile in conversations that it has passed is the next walk's, or the
//! feed's.

use std::collections::BTreeSet;

use quorate_proto::rpc;
use serde::{Deserialize, Serialize};

use super::index::{Change, Document, flags_of};
use crate::machine::Tables;
use crate::machine::records::{EventKind, StoredMessage};
use crate::store::{Space, StoreError};

/// Messages read under one hold of the state: apply waits for so many, about a tenth of a millisecond.
const MESSAGES_PER_STEP: usize = 64;
/// Conversations looked at under one hold of the state.
const CONVERSATIONS_PER_STEP: usize = 64;

/// A walk, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// What came up to this log index is in the index; 0 for an empty one.
    pub(super) since: u64,
    /// After the walk the index is complete up to here.
    pub(super) to: u64,
    /// The conversation that is next.
    conversation: u64,
    /// In it, the sequence (of a walk through everything) or version that is next; 0 when it was not looked at yet.
    next: u64,
}

impl Walk {
    /// Through what came after `since`, in a state that has `to`.
    pub(super) fn new(since: u64, to: u64) -> Self {
        Self { since, to, conversation: 0, next: 0 }
    }

    /// Whether the index was empty when it began.
    pub(super) fn is_of_everything(&self) -> bool {
        self.since == 0
    }

    /// The next changes, and whether these were the last.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn step(&mut self, state: &impl Tables) -> Result<(Vec<Change>, bool), StoreError> {
        for (id, conversation) in state.conversations_from(self.conversation, CONVERSATIONS_PER_STEP)? {
            if id != self.conversation {
                (self.conversation, self.next) = (id, 0);
            }
            if conversation.last_index > self.since {
                let changes = if self.is_of_everything() {
                    self.messages(state, conversation.sequence)?
                } else {
                    self.changed(state, conversation.version)?
                };
                if let Some(changes) = changes {
                    return Ok((changes, false));
                }
            }
            (self.conversation, self.next) = (id + 1, 0);
        }
        let is_last = state.conversations_from(self.conversation, 1)?.is_empty();
        Ok((Vec::new(), is_last))
    }

    /// The next messages of a conversation; none after the last.
    fn messages(&mut self, state: &impl Tables, last: u64) -> Result<Option<Vec<Change>>, StoreError> {
        let from = self.next.max(1);
        let stored = state.messages(self.conversation, from, last + 1, MESSAGES_PER_STEP)?;
        let Some((sequence, _)) = stored.last() else { return Ok(None) };
        self.next = sequence + 1;
        let change = |(sequence, message)| change_of(self.conversation, sequence, Some(message), false);
        Ok(Some(stored.into_iter().map(change).collect()))
    }

    /// The messages that the next events of a conversation are about; none after the last event.
    fn changed(&mut self, state: &impl Tables, last: u64) -> Result<Option<Vec<Change>>, StoreError> {
        if self.next == 0 {
            self.next = first_version_after(state, self.conversation, last, self.since)?;
        }
        let space = Space::ConversationEvents;
        let events = state.events(space, self.conversation, self.next, last + 1, MESSAGES_PER_STEP)?;
        let Some((version, _)) = events.last() else { return Ok(None) };
        self.next = version + 1;
        let kinds = events.iter().filter_map(|(_, event)| event.kind.as_ref());
        let sequences: BTreeSet<u64> = kinds.flat_map(stored_about).collect();
        let changes = sequences.into_iter().map(|it| index_message(state, self.conversation, it));
        changes.collect::<Result<_, _>>().map(Some)
    }
}

/// The first version of a conversation whose event is later than an index. Versions are dense and their indexes rise.
fn first_version_after(
    state: &impl Tables,
    conversation: u64,
    last: u64,
    since: u64,
) -> Result<u64, StoreError> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = state.events(Space::ConversationEvents, conversation, middle, middle + 1, 1)?;
        let is_later = found.first().is_none_or(|(_, event)| event.index > since);
        if is_later {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Which messages of its conversation a stored event is about.
fn stored_about(kind: &EventKind) -> Vec<u64> {
    match kind {
        EventKind::Message(sequence) => vec![*sequence],
        EventKind::Edited(edited) => vec![edited.sequence],
        EventKind::Deleted(deleted) => deleted.sequences.clone(),
        EventKind::Member(_)
        | EventKind::Conversation(_)
        | EventKind::Reaction(_)
        | EventKind::Pin(_)
        | EventKind::Role(_)
        | EventKind::MeAdded(_)
        | EventKind::MeRemoved(_)
        | EventKind::MeRead(_)
        | EventKind::MeSessionEnded(_)
        | EventKind::MePreferred(_)
        | EventKind::MeHidden(_)
        | EventKind::MeSaved(_)
        | EventKind::MeDraft(_)
        | EventKind::MeScheduled(_)
        | EventKind::MeProfile(_)
        | EventKind::MeBlocked(_) => Vec::new(),
    }
}

/// Which messages of its conversation an event is about that was sent on.
pub(super) fn sent_about(kind: &rpc::event::Kind) -> Vec<u64> {
    use rpc::event::Kind;
    match kind {
        Kind::Message(message) => vec![message.sequence],
        Kind::Edited(edited) => vec![edited.sequence],
        Kind::Deleted(deleted) => deleted.sequences.clone(),
        Kind::Conversation(_)
        | Kind::Member(_)
        | Kind::Reaction(_)
        | Kind::Pin(_)
        | Kind::Role(_)
        | Kind::MeAdded(_)
        | Kind::MeRemoved(_)
        | Kind::MeRead(_)
        | Kind::MeSessionEnded(_)
        | Kind::MePreferred(_)
        | Kind::MeHidden(_)
        | Kind::MeSaved(_)
        | Kind::MeDraft(_)
        | Kind::MeScheduled(_)
        | Kind::MeProfile(_)
        | Kind::MeBlocked(_) => Vec::new(),
    }
}

/// What a message is to the index, as the state has it now: to be found by its text and its files, or not at all.
///
/// # Errors
/// When the disk fails.
pub(super) fn index_message(
    state: &impl Tables,
    conversation: u64,
    sequence: u64,
) -> Result<Change, StoreError> {
    Ok(change_of(conversation, sequence, state.message(conversation, sequence)?, true))
}

/// Whether nothing is left of a message: a deleted one has neither text nor files. Files need no words.
pub(super) fn is_empty(message: &StoredMessage) -> bool {
    message.text.is_empty() && message.attachments.is_empty()
}

fn change_of(conversation: u64, sequence: u64, stored: Option<StoredMessage>, may_be_there: bool) -> Change {
    let Some(message) = stored.filter(|message| !is_empty(message)) else {
        return Change::Remove(conversation, sequence);
    };
    let document = Document {
        conversation,
        sequence,
        index: message.index,
        time_ms: message.log_time_ms,
        from: message.from,
        flags: flags_of(&message),
        text: message.text,
    };
    if may_be_there { Change::Replace(document) } else { Change::Add(document) }
}

/// The same from a message's own event, if it is one; the state is not read.
pub(super) fn from_event(event: &rpc::Event, may_be_there: bool) -> Option<Change> {
    let (Some(topic), Some(rpc::event::Kind::Message(message))) = (&event.topic, &event.kind) else {
        return None;
    };
    let stored = StoredMessage {
        index: event.index,
        log_time_ms: event.log_time_ms,
        from: message.from.as_ref().map_or(0, |user| user.id),
        text: message.text.clone(),
        attachments: message.attachments.iter().map(|file| file.file_id.clone()).collect(),
        ..StoredMessage::default()
    };
    Some(change_of(topic.id, message.sequence, Some(stored), may_be_there))
}
