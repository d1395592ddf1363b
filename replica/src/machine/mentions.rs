//! Who is named by a message, and what is unread: counts as pure functions of the state.

use std::collections::BTreeSet;

use quorate_proto::limits::DELETE_MESSAGES_MAX;
use quorate_proto::text;

use super::records::{Conversation, Listed, Member, StoredMessage};
use super::{MessageTables, Step, Tables};
use crate::store::{StoreError, View};

/// Members up to which anybody may name all of them; in larger groups the owner and admins may.
const ALL_BY_ANYBODY_MEMBERS_MAX: u32 = 200;
/// Messages taken back that are looked for among the unread. Those that a retention rule deleted are not among them: it deletes
/// from the beginning on, and what it has passed is not unread. Beyond the bound they count as if they were there, so that a
/// count may be too high after ten full deletions, and never too low.
pub const UNREAD_DELETED_MAX: usize = 10 * DELETE_MESSAGES_MAX as usize;
/// Unread mentions are counted up to this.
pub const MENTIONS_COUNTED_MAX: usize = 1_000;
/// Own messages after the read mark that are remembered; older ones count as unread.
const OWN_UNREAD_MAX: usize = 128;

/// What a member has not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages of others that were not taken back.
    pub messages: u64,
    /// Those that name her or everybody, at most [`MENTIONS_COUNTED_MAX`].
    pub mentions: u64,
}

/// What a member has not read of a conversation.
///
/// # Errors
/// When the disk fails.
pub fn unread(
    state: &(impl Tables + MessageTables),
    (id, conversation): (u64, &Conversation),
    (user, member): (u64, &Member),
) -> Result<Unread, StoreError> {
    let last = if member.is_present() { conversation.sequence } else { member.left_sequence };
    let read = member.read_sequence.max(member.base_sequence).max(conversation.retained_sequence);
    if last <= read {
        return Ok(Unread::default());
    }
    let deleted = state.deleted_in(id, read + 1, last + 1, UNREAD_DELETED_MAX)?;
    let own = member.own_unread.iter();
    let own = own.filter(|own| **own > read && **own <= last && deleted.binary_search(own).is_err());
    let left_out = deleted.len() as u64 + own.count() as u64;
    let between = (read + 1, last + 1);
    let named = state.mentions_in(id, user, between, MENTIONS_COUNTED_MAX)?;
    let mut mentions: BTreeSet<u64> = named.into_iter().map(|(sequence, _)| sequence).collect();
    let all = state.mentions_in(id, 0, between, MENTIONS_COUNTED_MAX)?;
    mentions.extend(all.into_iter().filter(|(_, from)| *from != user).map(|(sequence, _)| sequence));
    Ok(Unread {
        messages: (last - read).saturating_sub(left_out),
        mentions: mentions.len().min(MENTIONS_COUNTED_MAX) as u64,
    })
}

impl Member {
    /// Remembers a message of hers that did not move her read mark.
    pub(super) fn wrote_unread(&mut self, sequence: u64) {
        if self.own_unread.len() == OWN_UNREAD_MAX {
            self.own_unread.remove(0);
        }
        self.own_unread.push(sequence);
    }
}

/// Whether a member does in a group what its owner and admins do.
pub(super) fn manages(conversation: &Conversation, member: &Member) -> bool {
    conversation.is_group() && member.manages()
}

/// Who is named by a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Members other than who wrote it, in order of id.
    pub(super) users: Vec<u64>,
    /// Everybody.
    pub(super) all: bool,
}

impl<V: View> Step<'_, V> {
    /// Whom a text names that a member writes.
    pub(super) fn named(
        &self,
        (id, conversation): (u64, &Conversation),
        (by, member): (u64, &Member),
        text: &str,
    ) -> Result<Named, StoreError> {
        if !text.contains('@') {
            return Ok(Named::default());
        }
        let found = text::mentions(text);
        let mut users = BTreeSet::new();
        for name in &found.names {
            let Some(user) = self.state.user_id(name)?.filter(|user| *user != by) else { continue };
            let is_member = self.state.member(id, user)?.is_some_and(|member| member.is_present());
            if is_member && self.state.user(user)?.is_some_and(|user| user.deleted_ms == 0) {
                users.insert(user);
            }
        }
        let may_name_all =
            conversation.member_count <= ALL_BY_ANYBODY_MEMBERS_MAX || manages(conversation, member);
        let all = found.all && conversation.is_group() && may_name_all;
        Ok(Named { users: users.into_iter().collect(), all })
    }

    /// Makes a message name these and nobody else: its record, which the caller writes, the keys by which mentions are counted,
    /// and the lists of those named.
    pub(super) fn set_named(
        &mut self,
        (id, sequence): (u64, u64),
        message: &mut StoredMessage,
        named: Named,
    ) -> Result<(), StoreError> {
        for user in message.mentions.iter().filter(|user| !named.users.contains(user)) {
            if let Some(number) = self.state.mention(id, *user, sequence)? {
                self.state.delete_mention(id, *user, sequence, number);
            }
        }
        let log_time_ms = self.context.log_time_ms;
        for user in named.users.iter().filter(|user| !message.mentions.contains(user)) {
            let Some(mut record) = self.state.user(*user)? else { continue };
            record.mentions_last += 1;
            let listed = Listed { conversation_id: id, sequence, log_time_ms };
            self.state.put_mention(*user, record.mentions_last, &listed);
            self.state.put_known_user(*user, &record);
        }
        if named.all != message.mentions_all {
            self.state.put_mention_of_all(id, sequence, named.all.then_some(message.from));
        }
        (message.mentions, message.mentions_all) = (named.users, named.all);
        Ok(())
    }
}
