//! What one reader sees of what is the same for everybody: what she hid is blanked, and her own reactions are marked.

use quorate_proto::rpc::{self, event::Kind};

use super::records::{HiddenRanges, Member};
use super::{MessageTables, Tables};
use crate::store::{Space, StoreError};

/// One reader in one conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sight {
    user: u64,
    conversation_id: u64,
    hidden: HiddenRanges,
    /// What was said up to this message is not hers to see, nor what became of it.
    base_sequence: u64,
    /// Where in the log she left; what became of messages after that is not hers to see either.
    left_index: Option<u64>,
}

impl Sight {
    /// A reader's sight of a conversation.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn of(
        state: &(impl Tables + MessageTables),
        user: u64,
        conversation_id: u64,
    ) -> Result<Self, StoreError> {
        let sight = Self::with(user, conversation_id, state.hidden(user, conversation_id)?);
        match state.member(conversation_id, user)? {
            Some(member) => sight.of_member(state, &member),
            None => Ok(sight),
        }
    }

    /// The same within the bounds of a membership.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn of_member(mut self, state: &impl Tables, member: &Member) -> Result<Self, StoreError> {
        self.base_sequence = member.base_sequence;
        if !member.is_present() {
            let (space, at) = (Space::ConversationEvents, member.left_version);
            let left = state.events(space, self.conversation_id, at, at + 1, 1)?;
            self.left_index = left.first().map(|(_, event)| event.index);
        }
        Ok(self)
    }

    /// The same, with what she hides there.
    pub fn with(user: u64, conversation_id: u64, hidden: HiddenRanges) -> Self {
        Self { user, conversation_id, hidden, base_sequence: 0, left_index: None }
    }

    /// Which conversation.
    pub fn conversation_id(&self) -> u64 {
        self.conversation_id
    }

    /// Whether she took a message out of her sight.
    pub fn hides(&self, sequence: u64) -> bool {
        self.hidden.hides(sequence)
    }

    /// An event as she sees it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn of_event(
        &self,
        state: &(impl Tables + MessageTables),
        mut event: rpc::Event,
    ) -> Result<rpc::Event, StoreError> {
        match &mut event.kind {
            Some(Kind::Message(message)) if self.hides(message.sequence) => {
                message.hidden = true;
                message.text.clear();
                message.attachments.clear();
                message.reactions.clear();
                message.mentions.clear();
                message.mentions_all = false;
                message.forwarded = None;
            }
            Some(Kind::Message(message)) => {
                let (text, revision) = (&mut message.text, &mut message.revision);
                if self.as_it_was(state, message.sequence, text, revision)? {
                    message.reactions.clear();
                }
                self.mark(state, message)?;
            }
            Some(Kind::Edited(edited)) => {
                if self.hides(edited.sequence) || edited.sequence <= self.base_sequence {
                    edited.text.clear();
                } else {
                    self.as_it_was(state, edited.sequence, &mut edited.text, &mut edited.revision)?;
                }
            }
            _ => {}
        }
        Ok(event)
    }

    /// Takes back what became of a message after the reader had left; true where she had.
    fn as_it_was(
        &self,
        state: &(impl Tables + MessageTables),
        sequence: u64,
        text: &mut String,
        revision: &mut u64,
    ) -> Result<bool, StoreError> {
        let Some(left_index) = self.left_index else { return Ok(false) };
        let edited = state.message(self.conversation_id, sequence)?.map_or(0, |message| message.edited_index);
        if edited > left_index {
            let texts = state.revisions_of(self.conversation_id, sequence)?;
            match texts.into_iter().rfind(|(_, text)| text.index <= left_index) {
                Some((then, record)) => (*revision, *text) = (then, record.text),
                // That text is kept no longer.
                None => text.clear(),
            }
        }
        Ok(true)
    }

    fn mark(&self, state: &impl MessageTables, message: &mut rpc::Message) -> Result<(), StoreError> {
        let mut all = None;
        for reaction in &mut message.reactions {
            let is_listed_whole = reaction.user_ids.len() == reaction.count as usize;
            reaction.mine = reaction.user_ids.contains(&self.user);
            if !reaction.mine && !is_listed_whole {
                let all = match &mut all {
                    Some(all) => all,
                    None => all.insert(state.reactions(self.conversation_id, message.sequence)?),
                };
                let of = all.emojis.iter().find(|of| of.emoji == reaction.emoji);
                reaction.mine = of.is_some_and(|of| of.user_ids.contains(&self.user));
            }
        }
        Ok(())
    }
}
