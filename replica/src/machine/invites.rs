//! Joining by oneself: public groups and invites.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::INVITES_MAX;
use quorate_proto::rpc::{self, outcome};

use super::conversations::ready;
use super::records::{Conversation, Invite};
use super::tables::CodeHash;
use super::{Decision, GroupTables as _, Step, Tables as _, done, rejected};
use crate::store::View;

fn code_of(hash: &Bytes) -> Decision<&CodeHash> {
    match hash.as_ref().try_into() {
        Ok(code) => Ok(code),
        Err(_) => rejected(ErrorCode::Invalid, "the hash of an invite's code has 16 bytes"),
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn join_by_herself(&mut self, by: u64, join: &rpc::Join) -> Decision<outcome::Result> {
        let (id, mut conversation, invite) = match (join.conversation_id, &join.code_hash) {
            (id, code) if id != 0 && code.is_empty() => (id, self.public_group(id)?, None),
            (0, code) if !code.is_empty() => {
                let code = code_of(code)?;
                let (conversation, invite) = self.invited(code)?;
                (invite.conversation_id, conversation, Some((*code, invite)))
            }
            _ => return rejected(ErrorCode::Invalid, "one joins a public group, or by an invite"),
        };
        if self.state.member(id, by)?.is_some_and(|member| member.is_present()) {
            return Ok(ready(id, false));
        }
        if self.state.is_banned(id, by)? {
            return rejected(ErrorCode::Forbidden, "you are banned from this group");
        }
        self.enter(by, id, &mut conversation, by)?;
        if let Some((code, mut invite)) = invite {
            invite.uses = invite.uses.saturating_add(1);
            if invite.uses == invite.uses_max {
                self.state.delete_invite(&code, &invite);
                conversation.invites = conversation.invites.saturating_sub(1);
            } else {
                self.state.put_invite(&code, &invite);
            }
        }
        self.state.put_conversation(id, &conversation);
        Ok(ready(id, true))
    }

    fn public_group(&self, id: u64) -> Decision<Conversation> {
        match self.state.conversation(id)? {
            Some(conversation) if conversation.public => Ok(conversation),
            _ => rejected(ErrorCode::NotFound, "there is no such public group"),
        }
    }

    /// What an invite leads to. Whether a code was never one, has ended, was used up or is too old is all alike: no code is to be
    /// learnt by asking.
    fn invited(&self, code: &CodeHash) -> Decision<(Conversation, Invite)> {
        let good = |invite: &Invite| invite.is_good(self.context.log_time_ms);
        if let Some(invite) = self.state.invite(code)?.filter(good)
            && let Some(conversation) = self.state.conversation(invite.conversation_id)?
        {
            return Ok((conversation, invite));
        }
        rejected(ErrorCode::NotFound, "this invite is not good, or not any more: ask for a new one")
    }

    /// An invite stays good when who made it leaves or loses her role: the group's owner and admins see and end it.
    pub(super) fn make_invite(&mut self, by: u64, make: &rpc::MakeInvite) -> Decision<outcome::Result> {
        let id = make.conversation_id;
        let (mut conversation, _) = self.managed_group(by, id)?;
        let code = code_of(&make.code_hash)?;
        if self.state.invite(code)?.is_some() {
            return rejected(ErrorCode::IdConflict, "this code is in use: draw another");
        }
        let now_ms = self.context.log_time_ms;
        if conversation.invites as usize >= INVITES_MAX {
            for (code, invite) in self.state.invites_of(id, INVITES_MAX)? {
                if !invite.is_good(now_ms) {
                    self.state.delete_invite(&code, &invite);
                    conversation.invites = conversation.invites.saturating_sub(1);
                }
            }
        }
        if conversation.invites as usize >= INVITES_MAX {
            return rejected(ErrorCode::TooLarge, "the group has too many invites: end one first");
        }
        let ends_ms = if make.ttl_ms == 0 { 0 } else { now_ms.saturating_add(make.ttl_ms) };
        let invite =
            Invite { conversation_id: id, by, created_ms: now_ms, ends_ms, uses: 0, uses_max: make.uses_max };
        self.state.put_invite(code, &invite);
        conversation.invites += 1;
        self.state.put_conversation(id, &conversation);
        Ok(done())
    }

    pub(super) fn end_invite(&mut self, by: u64, end: &rpc::EndInvite) -> Decision<outcome::Result> {
        let id = end.conversation_id;
        let (mut conversation, _) = self.managed_group(by, id)?;
        let code = code_of(&end.code_hash)?;
        let Some(invite) = self.state.invite(code)?.filter(|invite| invite.conversation_id == id) else {
            return rejected(ErrorCode::NotFound, "the group has no such invite");
        };
        self.state.delete_invite(code, &invite);
        conversation.invites = conversation.invites.saturating_sub(1);
        self.state.put_conversation(id, &conversation);
        Ok(done())
    }
}
