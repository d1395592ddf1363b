//! What its time has come for: done inside apply, exactly once.
//!
//! Everything that is due has a record under its log time. The earliest time stands in one small record, so that an entry costs
//! no range read while nothing is due. An entry does what is due at its own log time, within a bound, before its command; what is
//! left over is done by the entries after it. A leader that has nothing to propose proposes an entry without a command when
//! something is due: whichever replica leads, the log says once that the time has come.

use quorate_proto::limits::DUE_PER_ENTRY_MAX;

use super::audit::{Audited, Concerning};
use super::records::{Conversation, Due, DueKind, DueScheduled};
use super::{BotTables as _, MessageTables as _, Refusal, Step, Tables as _, VERSION_BOTS, VERSION_DOMAIN};
use crate::store::{StoreError, View};

/// Groups that a user whose account was deleted leaves in one turn: about ten keys each.
const LEAVES_PER_TURN: usize = 16;
/// Turns of work that takes several, in one entry. What is done at once goes on meanwhile.
const LONG_TURNS_PER_ENTRY: usize = 8;
/// No such turn is begun or goes on in an entry that has looked at this many memberships for new owners of groups: the last look
/// may be at five times as many.
const LOOKED_AT_PER_ENTRY: usize = 1_024;
/// Nothing more is begun in an entry once what was due has written this many keys: one turn of a retention rule writes up to some
/// thousand more.
const DUE_KEYS_PER_ENTRY: usize = 512;

impl<V: View> Step<'_, V> {
    /// Has something done at a log time, in this entry's past or not: never before the next entry. Returns its number.
    pub(super) fn due(&mut self, at_ms: u64, kind: DueKind) -> Result<u64, StoreError> {
        self.due_after(at_ms, kind, 0)
    }

    fn due_after(&mut self, at_ms: u64, kind: DueKind, after: u64) -> Result<u64, StoreError> {
        let mut head = self.state.due_head()?;
        head.last_number += 1;
        head.count += 1;
        // 0 is taken: nothing is due.
        let at_ms = at_ms.clamp(1, u64::MAX - 1);
        if head.head_ms == 0 || at_ms < head.head_ms {
            head.head_ms = at_ms;
        }
        self.state.put_due(at_ms, head.last_number, Some(&Due { after, kind: Some(kind) }));
        self.state.put_due_head(&head);
        Ok(head.last_number)
    }

    /// Takes back what was due. The earliest time may stay too early, which costs one look when it comes.
    pub(super) fn not_due(&mut self, at_ms: u64, number: u64) -> Result<(), StoreError> {
        if !self.state.is_due(at_ms, number)? {
            return Ok(());
        }
        let mut head = self.state.due_head()?;
        head.count = head.count.saturating_sub(1);
        if head.count == 0 {
            head.head_ms = 0;
        }
        self.state.put_due(at_ms, number, None);
        self.state.put_due_head(&head);
        Ok(())
    }

    /// Has the retention rule look at a conversation at a log time instead of when it was to look before; 0: not again. The
    /// caller writes the conversation's record after.
    pub(super) fn due_retention(
        &mut self,
        id: u64,
        conversation: &mut Conversation,
        at_ms: u64,
    ) -> Result<(), StoreError> {
        if conversation.retention_due_ms != 0 {
            self.not_due(conversation.retention_due_ms, conversation.retention_due_number)?;
            (conversation.retention_due_ms, conversation.retention_due_number) = (0, 0);
        }
        if at_ms != 0 {
            conversation.retention_due_number = self.due(at_ms, DueKind::Retention(id))?;
            conversation.retention_due_ms = at_ms;
        }
        Ok(())
    }

    /// Does what is due at this entry's log time.
    pub(super) fn do_due(&mut self) -> Result<(), StoreError> {
        if self.context.machine_version < VERSION_DOMAIN {
            return Ok(());
        }
        let now = self.context.log_time_ms;
        let head = self.state.due_head()?;
        if head.head_ms == 0 || head.head_ms > now {
            return Ok(());
        }
        let begun = self.state.written();
        let mut long_turns = 0;
        // Read before anything is done: what becomes due by it waits for the next entry.
        for (at_ms, number, due) in self.state.due_before(now.saturating_add(1), DUE_PER_ENTRY_MAX)? {
            if self.state.written() - begun >= DUE_KEYS_PER_ENTRY {
                break;
            }
            if matches!(due.kind, Some(DueKind::Retention(_) | DueKind::LeaveAll(_))) {
                if long_turns == LONG_TURNS_PER_ENTRY || self.looked_at >= LOOKED_AT_PER_ENTRY {
                    continue;
                }
                long_turns += 1;
            }
            self.not_due(at_ms, number)?;
            match due.kind {
                Some(DueKind::Scheduled(DueScheduled { user_id, id })) => self.fire_scheduled(user_id, id)?,
                Some(DueKind::Retention(conversation_id)) => self.retain(conversation_id)?,
                Some(DueKind::LeaveAll(user_id)) => self.leave_all(user_id, due.after)?,
                Some(DueKind::EraseHook(bot_id)) => self.erase_hook(bot_id)?,
                None => {}
            }
        }
        let mut head = self.state.due_head()?;
        head.head_ms = self.state.due_before(u64::MAX, 1)?.first().map_or(0, |(at_ms, ..)| *at_ms);
        self.state.put_due_head(&head);
        Ok(())
    }

    /// Ends the account of one bot of a user whose own was deleted; false when there is none left. One in a turn: each may have
    /// tokens and messages to come by the hundred.
    fn end_a_bot(&mut self, owner: u64) -> Result<bool, StoreError> {
        if self.context.machine_version < VERSION_BOTS {
            return Ok(false);
        }
        let Some(bot_id) = self.state.bots_of(owner, 1)?.first().copied() else { return Ok(false) };
        let Some(bot) = self.state.user(bot_id)? else { return Ok(false) };
        self.end_account(bot_id, bot)?;
        self.audit(owner, Audited::UserDeleted, Concerning::user(bot_id))?;
        Ok(true)
    }

    /// A user whose account was deleted leaves her groups, some in each turn. Direct conversations keep both members: the other
    /// one goes on reading what was said.
    fn leave_all(&mut self, user_id: u64, after: u64) -> Result<(), StoreError> {
        if self.end_a_bot(user_id)? {
            self.due_after(self.context.log_time_ms, DueKind::LeaveAll(user_id), after)?;
            return Ok(());
        }
        let conversations = self.state.conversations_after(user_id, after, LEAVES_PER_TURN)?;
        let mut is_all = conversations.len() < LEAVES_PER_TURN;
        let mut last = after;
        for id in &conversations {
            if self.looked_at >= LOOKED_AT_PER_ENTRY {
                is_all = false;
                break;
            }
            last = *id;
            if self.state.draft(user_id, *id)?.is_some() {
                self.state.put_draft(user_id, *id, None);
            }
            if !self.state.member(*id, user_id)?.is_some_and(|member| member.is_present()) {
                continue;
            }
            match self.remove_member(user_id, *id, user_id) {
                // Of a direct conversation.
                Ok(_) | Err(Refusal::Rejected(..) | Refusal::Conflict(_)) => {}
                Err(Refusal::Store(error)) => return Err(error),
            }
        }
        if !is_all {
            self.due_after(self.context.log_time_ms, DueKind::LeaveAll(user_id), last)?;
        }
        Ok(())
    }
}
