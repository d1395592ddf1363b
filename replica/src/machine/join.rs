//! From stored records to what is sent: names and texts are joined when an event is read, not stored with it.

use quorate_proto::rpc::{self, event::Kind};

use super::Tables;
use super::records::{Event, EventKind, StoredMessage};
use super::topics::conversation_topic;
use crate::store::StoreError;

/// A user as others see her. One who cannot be found is shown as such and never hides the rest.
///
/// # Errors
/// When the disk fails.
pub fn user(state: &impl Tables, id: u64) -> Result<rpc::UserRef, StoreError> {
    let (name, display_name) = match state.user(id)? {
        Some(user) => (user.name, user.display_name),
        None => (String::new(), String::new()),
    };
    Ok(rpc::UserRef { id, name, display_name })
}

/// A stored event as it is sent.
///
/// # Errors
/// When the disk fails, or a message's record is missing where its event is.
pub fn event(
    state: &impl Tables,
    topic: rpc::Topic,
    version: u64,
    record: Event,
) -> Result<rpc::Event, StoreError> {
    let Event { index, log_time_ms, kind } = record;
    let kind = match kind {
        None => None,
        Some(EventKind::Message(sequence)) => {
            let message = state.message(topic.id, sequence)?;
            let message = message.ok_or_else(|| missing(topic.id, sequence))?;
            Some(Kind::Message(message_kind(state, sequence, message)?))
        }
        Some(EventKind::Edited(edited)) => {
            let sequence = edited.sequence;
            let message = state.message(topic.id, sequence)?.ok_or_else(|| missing(topic.id, sequence))?;
            Some(Kind::Edited(rpc::EditedMessage {
                sequence,
                revision: message.revision,
                text: message.text,
                by: Some(user(state, edited.by)?),
            }))
        }
        Some(EventKind::Member(change)) => Some(Kind::Member(rpc::MemberChanged {
            user: Some(user(state, change.user_id)?),
            joined: change.joined,
            by: Some(user(state, change.by)?),
        })),
        Some(EventKind::Conversation(change)) => Some(Kind::Conversation(rpc::ConversationChanged {
            title: change.title,
            by: Some(user(state, change.by)?),
        })),
        Some(EventKind::MeAdded(added)) => Some(Kind::MeAdded(added)),
        Some(EventKind::MeRemoved(conversation_id)) => {
            Some(Kind::MeRemoved(rpc::MeRemoved { conversation_id }))
        }
        Some(EventKind::MeRead(read)) => Some(Kind::MeRead(read)),
        Some(EventKind::MeSessionEnded(session_id)) => {
            Some(Kind::MeSessionEnded(rpc::MeSessionEnded { session_id }))
        }
    };
    Ok(rpc::Event { topic: Some(topic), version, index, log_time_ms, kind })
}

fn missing(conversation_id: u64, sequence: u64) -> StoreError {
    StoreError::damaged(&format!("message {sequence} of conversation {conversation_id} is missing"))
}

fn message_kind(
    state: &impl Tables,
    sequence: u64,
    message: StoredMessage,
) -> Result<rpc::Message, StoreError> {
    Ok(rpc::Message {
        sequence,
        from: Some(user(state, message.from)?),
        client_message_id: message.client_message_id,
        text: message.text,
        reply_to: message.reply_to,
        revision: message.revision,
    })
}

/// A stored message as an event, for pages of history.
///
/// # Errors
/// When the disk fails.
pub fn message(
    state: &impl Tables,
    conversation_id: u64,
    sequence: u64,
    message: StoredMessage,
) -> Result<rpc::Event, StoreError> {
    let (version, index, log_time_ms) = (message.version, message.index, message.log_time_ms);
    let kind = Some(Kind::Message(message_kind(state, sequence, message)?));
    Ok(rpc::Event { topic: Some(conversation_topic(conversation_id)), version, index, log_time_ms, kind })
}
