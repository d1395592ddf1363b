//! Emoji on messages.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{REACTIONS_MAX, REACTORS_MAX};
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::deletions::changed;
use super::records::{EventKind, ReactionEvent, Reactions, ReactionsOf};
use super::{Decision, MessageTables as _, Step, rejected};
use crate::store::View;

impl Reactions {
    /// Puts an emoji of a user there; whether it was not.
    fn put(&mut self, emoji: &str, user: u64) -> bool {
        match self.emojis.iter_mut().find(|of| of.emoji == emoji) {
            Some(of) if of.user_ids.contains(&user) => return false,
            Some(of) => of.user_ids.push(user),
            None => self.emojis.push(ReactionsOf { emoji: emoji.to_owned(), user_ids: vec![user] }),
        }
        true
    }

    /// Takes it away; whether it was there.
    fn take(&mut self, emoji: &str, user: u64) -> bool {
        let Some(of) = self.emojis.iter_mut().find(|of| of.emoji == emoji) else { return false };
        let before = of.user_ids.len();
        of.user_ids.retain(|id| *id != user);
        let is_taken = of.user_ids.len() < before;
        self.emojis.retain(|of| !of.user_ids.is_empty());
        is_taken
    }

    /// How often anybody has reacted.
    pub fn count(&self) -> usize {
        self.emojis.iter().map(|of| of.user_ids.len()).sum()
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn react(&mut self, by: u64, react: &rpc::React) -> Decision<outcome::Result> {
        text::check_emoji(&react.emoji)?;
        let (id, sequence) = (react.conversation_id, react.sequence);
        let (mut conversation, member, mut message) = self.seen_message(by, id, sequence)?;
        if !conversation.is_group() {
            self.may_write(by, id, &mut conversation, &member)?;
        }
        let mut reactions = self.state.reactions(id, sequence)?;
        let is_changed = match react.on {
            true => reactions.put(&react.emoji, by),
            false => reactions.take(&react.emoji, by),
        };
        if !is_changed {
            return Ok(changed(id, 0, sequence));
        }
        if react.on && (reactions.emojis.len() > REACTIONS_MAX || reactions.count() > REACTORS_MAX) {
            return rejected(ErrorCode::TooLarge, "this message has as many reactions as it can have");
        }
        self.state.put_reactions(id, sequence, &reactions);
        let has_reactions = !reactions.emojis.is_empty();
        if message.has_reactions != has_reactions {
            message.has_reactions = has_reactions;
            self.state.put_message(id, sequence, &message);
        }
        let (emoji, on) = (react.emoji.clone(), react.on);
        let event = ReactionEvent { sequence, emoji, user_id: by, on };
        self.push_event(id, &mut conversation, EventKind::Reaction(event))?;
        self.state.put_conversation(id, &conversation);
        Ok(changed(id, conversation.version, sequence))
    }
}
