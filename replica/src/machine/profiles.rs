//! What users say of themselves, whom they block, and the end of an account.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{BLOCKED_MAX, SCHEDULED_MAX};
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::accounts::phc_mark;
use super::audit::{Audited, Concerning};
use super::records::{BlockedEvent, DueKind, EventKind, User};
use super::{Decision, MessageTables as _, PeopleTables as _, Step, done, rejected};
use crate::store::{StoreError, View};

impl<V: View> Step<'_, V> {
    pub(super) fn set_profile(&mut self, by: u64, set: &rpc::SetProfile) -> Decision<outcome::Result> {
        let mut user = self.present_user(by)?;
        let before = (user.display_name.clone(), user.status.clone(), user.avatar.clone());
        if let Some(display_name) = &set.display_name {
            user.display_name = text::canonical_title(display_name)?;
        }
        if let Some(status) = &set.status {
            user.status = text::canonical_status(status)?;
        }
        self.change_avatar(by, set.avatar.as_ref(), &mut user.avatar)?;
        if before != (user.display_name.clone(), user.status.clone(), user.avatar.clone()) {
            self.state.put_user(by, &user);
            self.push_me(by, EventKind::MeProfile(true))?;
        }
        Ok(done())
    }

    /// The end of an account: one's own, by her who knows its password, a bot of one's own, or anybody's by an admin. At once she is signed out, not
    /// to be found, and everything she said of herself is gone; her conversations she leaves piece by piece behind this entry.
    /// The name leads to her for ever, so that nobody else can take it.
    pub(super) fn delete_user(&mut self, by: u64, delete: &rpc::DeleteUser) -> Decision<outcome::Result> {
        let id = delete.user_id;
        if id != by && !self.owns(by, id)? {
            self.must_be_admin(by)?;
        }
        let mut user = self.present_user(id)?;
        if id == by && delete.password_mark != phc_mark(&user.password_phc) {
            return rejected(ErrorCode::Conflict, "the password was changed meanwhile");
        }
        self.take_admin(&mut user)?;
        self.end_account(id, user)?;
        self.audit(by, Audited::UserDeleted, Concerning::user(id))?;
        Ok(done())
    }

    /// What the end of an account takes at once: about 300 keys at most. The rest, and her bots, one in each turn, go behind it.
    pub(super) fn end_account(&mut self, id: u64, user: User) -> Result<(), StoreError> {
        // What she meant to send is not sent; what she had begun to write goes with her memberships.
        for (number, record) in self.state.scheduled_of(id, SCHEDULED_MAX as usize)? {
            self.not_due(record.listed_ms(), record.due_number)?;
            self.state.put_scheduled(id, number, None);
        }
        self.forget_bot(id, &user)?;
        self.release_avatar(&user.avatar)?;
        // The counts are of records that are still there.
        let left = User {
            owner_id: user.owner_id,
            name: user.name,
            created_ms: user.created_ms,
            deleted_ms: self.context.log_time_ms,
            scheduled_last: user.scheduled_last,
            saved: user.saved,
            mentions_last: user.mentions_last,
            blocked: user.blocked,
            conversations: user.conversations,
            open_reports: user.open_reports,
            ..User::default()
        };
        self.state.put_user(id, &left);
        self.state.delete_seen(id);
        self.end_all_sessions(id)?;
        self.due(self.context.log_time_ms, DueKind::LeaveAll(id))?;
        Ok(())
    }

    /// Nobody is told: whom she blocked finds out by not reaching her.
    pub(super) fn block(&mut self, by: u64, block: &rpc::Block) -> Decision<outcome::Result> {
        let id = block.user_id;
        if id == by {
            return rejected(ErrorCode::Invalid, "nobody can block herself");
        }
        if self.state.has_blocked_alone(by, id)? == block.on {
            return Ok(done());
        }
        let mut user = self.present_user(by)?;
        if block.on {
            self.present_user(id)?;
            if user.blocked as usize >= BLOCKED_MAX {
                return rejected(ErrorCode::TooLarge, "you have blocked as many users as can be blocked");
            }
            user.blocked += 1;
        } else {
            user.blocked = user.blocked.saturating_sub(1);
        }
        self.state.put_user(by, &user);
        self.state.put_blocked(by, id, block.on);
        self.push_me(by, EventKind::MeBlocked(BlockedEvent { user_id: id, on: block.on }))?;
        Ok(done())
    }
}
