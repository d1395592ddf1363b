//! From stored records to what is sent: names and texts are joined when an event is read, not stored with it.

use quorate_proto::limits::REACTION_USERS_LISTED_MAX;
use quorate_proto::rpc::{self, event::Kind};

use super::records::{Event, EventKind, StoredMessage};
use super::topics::conversation_topic;
use super::{MessageTables as _, Tables};
use crate::store::StoreError;

/// What is shown in the place of a name that is gone.
const DELETED_USER: &str = "deleted user";

/// A user as others see her. One who cannot be found is shown as such and never hides the rest.
///
/// # Errors
/// When the disk fails.
pub fn user(state: &impl Tables, id: u64) -> Result<rpc::UserRef, StoreError> {
    Ok(match state.user(id)? {
        Some(user) if user.deleted_ms != 0 => rpc::UserRef {
            id,
            display_name: DELETED_USER.to_owned(),
            deleted: true,
            bot: user.is_bot(),
            ..Default::default()
        },
        Some(user) => {
            let bot = user.is_bot();
            let (name, display_name, avatar) = (user.name, user.display_name, user.avatar);
            rpc::UserRef { id, name, display_name, deleted: false, bot, avatar }
        }
        None => rpc::UserRef { id, ..Default::default() },
    })
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
            Some(Kind::Message(message_kind(state, topic.id, sequence, message)?))
        }
        Some(EventKind::Edited(edited)) => {
            let sequence = edited.sequence;
            let message = state.message(topic.id, sequence)?.ok_or_else(|| missing(topic.id, sequence))?;
            Some(Kind::Edited(rpc::EditedMessage {
                sequence,
                revision: message.revision,
                text: message.text,
                by: Some(user(state, edited.by)?),
                sent_version: message.version,
            }))
        }
        Some(EventKind::Member(change)) => Some(Kind::Member(rpc::MemberChanged {
            user: Some(user(state, change.user_id)?),
            joined: change.joined,
            by: Some(user(state, change.by)?),
            banned: change.banned,
        })),
        Some(EventKind::Conversation(change)) => Some(Kind::Conversation(rpc::ConversationChanged {
            title: change.title,
            by: Some(user(state, change.by)?),
            topic: change.topic,
            public: change.public,
            announcement: change.announcement,
            retention_ms: change.retention_ms,
            avatar: change.avatar,
        })),
        Some(EventKind::Deleted(deleted)) => Some(Kind::Deleted(rpc::MessagesDeleted {
            sequences: deleted.sequences,
            by: Some(user(state, deleted.by)?),
        })),
        Some(EventKind::Reaction(reaction)) => {
            let sequence = reaction.sequence;
            let message = state.message(topic.id, sequence)?;
            Some(Kind::Reaction(match message.is_some_and(|message| message.deleted_ms == 0) {
                true => rpc::ReactionChanged {
                    sequence,
                    emoji: reaction.emoji,
                    user: Some(user(state, reaction.user_id)?),
                    on: reaction.on,
                },
                // Taken back, and what hung on it with it: an event that changes nothing, since versions are dense.
                false => rpc::ReactionChanged { sequence, ..rpc::ReactionChanged::default() },
            }))
        }
        Some(EventKind::Pin(pin)) => Some(Kind::Pin(rpc::PinChanged {
            sequence: pin.sequence,
            on: pin.on,
            by: Some(user(state, pin.by)?),
        })),
        Some(EventKind::Role(role)) => Some(Kind::Role(rpc::RoleChanged {
            user: Some(user(state, role.user_id)?),
            role: role.role,
            by: Some(user(state, role.by)?),
        })),
        Some(EventKind::MePreferred(preferred)) => Some(Kind::MePreferred(preferred)),
        Some(EventKind::MeHidden(hidden)) => Some(Kind::MeHidden(hidden)),
        Some(EventKind::MeSaved(saved)) => Some(Kind::MeSaved(saved)),
        Some(EventKind::MeDraft(conversation_id)) => {
            let draft = state.draft(topic.id, conversation_id)?.unwrap_or_default();
            let (text, reply_to) = (draft.text, draft.reply_to);
            Some(Kind::MeDraft(rpc::MeDraft { conversation_id, text, reply_to }))
        }
        Some(EventKind::MeScheduled(mut scheduled)) => {
            use rpc::me_scheduled::State;
            if matches!(scheduled.state(), State::Waiting | State::Failed)
                && let Some(item) = &mut scheduled.item
                && let Some(record) = state.scheduled(topic.id, item.id)?
            {
                item.text = record.text;
            }
            Some(Kind::MeScheduled(scheduled))
        }
        Some(EventKind::MeProfile(_)) => {
            let status = state.user(topic.id)?.map(|user| user.status).unwrap_or_default();
            Some(Kind::MeProfile(rpc::MeProfile { user: Some(user(state, topic.id)?), status }))
        }
        Some(EventKind::MeBlocked(blocked)) => Some(Kind::MeBlocked(rpc::MeBlocked {
            user: Some(user(state, blocked.user_id)?),
            on: blocked.on,
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
    conversation_id: u64,
    sequence: u64,
    message: StoredMessage,
) -> Result<rpc::Message, StoreError> {
    let reactions = match message.has_reactions {
        true => state.reactions(conversation_id, sequence)?.emojis,
        false => Vec::new(),
    };
    let reactions = reactions.into_iter().map(|of| rpc::Reaction {
        emoji: of.emoji,
        count: u32::try_from(of.user_ids.len()).unwrap_or(u32::MAX),
        user_ids: of.user_ids.into_iter().take(REACTION_USERS_LISTED_MAX).collect(),
        mine: false,
    });
    let forwarded = match message.forwarded_from {
        0 => None,
        from => Some(rpc::Forwarded { from: Some(user(state, from)?), log_time_ms: message.forwarded_ms }),
    };
    Ok(rpc::Message {
        sequence,
        from: Some(user(state, message.from)?),
        client_message_id: message.client_message_id,
        text: message.text,
        reply_to: message.reply_to,
        revision: message.revision,
        edited_ms: message.edited_ms,
        deleted: message.deleted_ms != 0,
        reactions: reactions.collect(),
        pinned: message.pinned,
        mentions: message.mentions,
        mentions_all: message.mentions_all,
        forwarded,
        hidden: false,
        attachments: super::files::attachments(state, &message.attachments)?,
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
    let kind = Some(Kind::Message(message_kind(state, conversation_id, sequence, message)?));
    Ok(rpc::Event { topic: Some(conversation_topic(conversation_id)), version, index, log_time_ms, kind })
}
