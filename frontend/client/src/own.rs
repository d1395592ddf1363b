//! What is the reader's own and belongs to no conversation: profile, saved messages, what is scheduled, whom she blocked.
//!
//! Owns: these sets, as far as lists and events of `me` have told. The lists come by REST when somebody looks; the events
//! keep them true. Knows nothing of how they are shown.

use quorate_proto::frame::{MessageRef, ScheduledItem, ScheduledState, User};
use quorate_proto::ids::{ConversationId, Sequence, UserId};
use quorate_proto::limits::{BLOCKED_MAX, SAVED_MAX, SCHEDULED_MAX};

use crate::ordered::{OrderedMap, OrderedSet};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Her status text.
    pub status: String,
    saved: OrderedSet<(ConversationId, Sequence)>,
    scheduled: OrderedMap<u64, ScheduledItem>,
    blocked: OrderedMap<UserId, User>,
}

impl Own {
    /// A message was saved, or no longer is.
    pub fn save(&mut self, conversation: ConversationId, sequence: Sequence, on: bool) {
        if !on {
            self.saved.remove(&(conversation, sequence));
        } else if self.saved.len() < SAVED_MAX as usize {
            self.saved.insert((conversation, sequence), ());
        }
    }

    /// A page of the list of what is saved.
    pub fn known_saved(&mut self, messages: &[MessageRef]) {
        for message in messages {
            self.save(message.conversation, message.sequence, true);
        }
    }

    /// Whether a message is known to be saved.
    pub fn is_saved(&self, conversation: ConversationId, sequence: Sequence) -> bool {
        self.saved.contains_key(&(conversation, sequence))
    }

    /// Something scheduled was made, taken back, or its time came.
    pub fn schedule(&mut self, item: &ScheduledItem, state: ScheduledState) {
        if state != ScheduledState::Waiting {
            self.scheduled.remove(&item.id);
        } else if self.scheduled.len() < SCHEDULED_MAX as usize {
            self.scheduled.insert(item.id, item.clone());
        }
    }

    /// The whole list of what is scheduled.
    pub fn known_scheduled(&mut self, items: Vec<ScheduledItem>) {
        self.scheduled = items.into_iter().map(|item| (item.id, item)).collect();
    }

    /// What is to come, the next first.
    pub fn scheduled(&self) -> Vec<&ScheduledItem> {
        let mut items: Vec<&ScheduledItem> = Vec::new();
        for item in self.scheduled.values() {
            let at = items.partition_point(|other| (other.at, other.id) <= (item.at, item.id));
            items.insert(at, item);
        }
        items
    }

    /// Somebody was blocked, or no longer is.
    pub fn block(&mut self, user: User, on: bool) {
        if !on {
            self.blocked.remove(&user.id);
        } else if self.blocked.len() < BLOCKED_MAX {
            self.blocked.insert(user.id, user);
        }
    }

    /// The whole list of whom she blocked.
    pub fn known_blocked(&mut self, users: Vec<User>) {
        self.blocked = users.into_iter().map(|user| (user.id, user)).collect();
    }

    /// Whom she blocked.
    pub fn blocked(&self) -> impl Iterator<Item = &User> {
        self.blocked.values()
    }

    /// Whether she is known to have blocked this user.
    pub fn has_blocked(&self, user: UserId) -> bool {
        self.blocked.contains_key(&user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scheduled_goes_when_its_time_came() {
        let item = |id, at| ScheduledItem {
            id,
            conversation: 1,
            text: "later".to_owned(),
            reply_to: None,
            at,
            remind_of: None,
        };
        let mut own = Own::default();
        own.known_scheduled(vec![item(1, 500), item(2, 100)]);
        own.schedule(&item(3, 300), ScheduledState::Waiting);
        let ids = |own: &Own| own.scheduled().iter().map(|item| item.id).collect::<Vec<_>>();
        assert_eq!(ids(&own), [2, 3, 1]);
        own.schedule(&item(2, 100), ScheduledState::Fired);
        own.schedule(&item(1, 500), ScheduledState::Cancelled);
        assert_eq!(ids(&own), [3]);
    }

    #[test]
    fn saved_and_blocked_follow_their_events() {
        let mut own = Own::default();
        own.known_saved(&[MessageRef { conversation: 1, sequence: 5 }]);
        own.save(1, 6, true);
        own.save(1, 5, false);
        assert!(own.is_saved(1, 6) && !own.is_saved(1, 5) && !own.is_saved(2, 6));
        own.block(User { id: 4, ..User::default() }, true);
        assert!(own.has_blocked(4));
        own.block(User { id: 4, ..User::default() }, false);
        assert_eq!(own.blocked().count(), 0);
    }
}
