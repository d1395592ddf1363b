//! Topics: the dense, versioned logs of a conversation and of a user's own affairs.

use quorate_proto::rpc;

use super::records::{Conversation, Event, EventKind};
use super::{Step, Tables as _, join};
use crate::store::{Space, StoreError, View};

/// The topic of a conversation.
pub(crate) fn conversation_topic(id: u64) -> rpc::Topic {
    rpc::Topic { kind: rpc::topic::Kind::Conversation.into(), id }
}

/// The topic of a user's own affairs.
pub(crate) fn me_topic(user_id: u64) -> rpc::Topic {
    rpc::Topic { kind: rpc::topic::Kind::Me.into(), id: user_id }
}

impl<V: View> Step<'_, V> {
    /// Adds an event to a conversation, whose record the caller writes after.
    pub(super) fn push_event(
        &mut self,
        id: u64,
        conversation: &mut Conversation,
        kind: EventKind,
    ) -> Result<(), StoreError> {
        conversation.version += 1;
        conversation.last_index = self.context.index;
        let record =
            Event { index: self.context.index, log_time_ms: self.context.log_time_ms, kind: Some(kind) };
        self.state.put_event(Space::ConversationEvents, id, conversation.version, &record);
        let event = join::event(&self.state, conversation_topic(id), conversation.version, record)?;
        self.events.push(event);
        Ok(())
    }

    /// Adds an event to a user's own topic.
    pub(super) fn push_me(&mut self, user_id: u64, kind: EventKind) -> Result<(), StoreError> {
        let mut me = self.state.me(user_id)?;
        me.version += 1;
        me.last_index = self.context.index;
        let record =
            Event { index: self.context.index, log_time_ms: self.context.log_time_ms, kind: Some(kind) };
        self.state.put_event(Space::MeEvents, user_id, me.version, &record);
        self.state.put_me(user_id, &me);
        let event = join::event(&self.state, me_topic(user_id), me.version, record)?;
        self.events.push(event);
        Ok(())
    }
}
