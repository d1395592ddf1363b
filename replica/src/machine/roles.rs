//! Who may do what in a group, who owns it, and who may not come back.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{BANS_MAX, GROUP_ADMINS_MAX, RETENTION_MS_MAX, RETENTION_MS_MIN};
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::audit::{Audited, Concerning};
use super::conversations::{changed, conversation_event};
use super::records::{
    Ban, Conversation, EventKind, Member, ROLE_GROUP_ADMIN, ROLE_MEMBER, ROLE_OWNER, RoleEvent,
};
use super::{Decision, GroupTables as _, Step, Tables as _, rejected};
use crate::store::View;

/// Memberships looked at together when a group needs an owner and has no admin.
const SUCCESSION_PAGE: usize = 256;
/// Such looks at most: as many memberships as a group has members at most, those that ended among them. In all but groups that
/// thousands have left the first is enough.
const SUCCESSION_PAGES_MAX: usize = 20;

impl<V: View> Step<'_, V> {
    pub(super) fn change_conversation(
        &mut self,
        by: u64,
        change: &rpc::ChangeConversation,
    ) -> Decision<outcome::Result> {
        let id = change.conversation_id;
        let administered = self.administered_group(by, id)?;
        let as_admin = administered.is_some();
        let (mut conversation, is_owner) = match administered {
            Some(conversation) => (conversation, true),
            None => {
                let (conversation, member) = self.managed_group(by, id)?;
                (conversation, member.role == ROLE_OWNER)
            }
        };
        let before = conversation.clone();
        if let Some(title) = &change.title {
            conversation.title = text::canonical_title(title)?;
        }
        if let Some(topic) = &change.topic {
            conversation.topic = text::canonical_topic(topic)?;
        }
        self.change_avatar(by, change.avatar.as_ref(), &mut conversation.avatar)?;
        conversation.public = change.public.unwrap_or(conversation.public);
        conversation.announcement = change.announcement.unwrap_or(conversation.announcement);
        if let Some(retention_ms) = change.retention_ms {
            if !is_owner {
                return rejected(
                    ErrorCode::Forbidden,
                    "only the group's owner says how long messages are kept",
                );
            }
            if retention_ms != 0 && !(RETENTION_MS_MIN..=RETENTION_MS_MAX).contains(&retention_ms) {
                return rejected(
                    ErrorCode::Invalid,
                    "messages are kept for an hour at least, and for ever or a hundred years at most",
                );
            }
            conversation.retention_ms = retention_ms;
        }
        if conversation == before {
            return Ok(changed(id, 0));
        }
        if conversation.public != before.public {
            self.state.put_public(id, conversation.public);
            if conversation.public {
                // What was said before was not said to everybody.
                (conversation.open_version, conversation.open_sequence) =
                    (conversation.version, conversation.sequence);
            }
        }
        if conversation.retention_ms != before.retention_ms {
            let at_ms = if conversation.retention_ms == 0 { 0 } else { self.context.log_time_ms };
            self.due_retention(id, &mut conversation, at_ms)?;
        }
        let event = conversation_event(&conversation, by);
        self.push_event(id, &mut conversation, event)?;
        self.state.put_conversation(id, &conversation);
        if as_admin {
            self.audit(by, Audited::GroupChanged, Concerning::member(id, 0))?;
        }
        Ok(changed(id, conversation.version))
    }

    pub(super) fn set_member_role(&mut self, by: u64, set: &rpc::SetMemberRole) -> Decision<outcome::Result> {
        let rpc::SetMemberRole { conversation_id: id, user_id, role } = *set;
        let (mut conversation, mut own) = self.group_of(by, id)?;
        if own.role != ROLE_OWNER {
            return rejected(ErrorCode::Forbidden, "only the group's owner gives roles");
        }
        // Older programs did not write her down; who has an heir must be known by name.
        if conversation.owner == 0 {
            conversation.owner = by;
        }
        if !matches!(role, ROLE_MEMBER | ROLE_OWNER | ROLE_GROUP_ADMIN) {
            return rejected(ErrorCode::Invalid, "there is no such role");
        }
        let Some(mut member) = self.state.member(id, user_id)?.filter(Member::is_present) else {
            return rejected(ErrorCode::NotFound, "this user is not a member");
        };
        if member.role == role {
            return Ok(changed(id, 0));
        }
        if user_id == by {
            return rejected(ErrorCode::Invalid, "a group has an owner: make somebody else owner instead");
        }
        conversation.admins.retain(|admin| *admin != user_id);
        if role != ROLE_MEMBER && conversation.admins.len() >= GROUP_ADMINS_MAX {
            return rejected(ErrorCode::TooLarge, "the group has too many admins");
        }
        self.give_role(by, id, &mut conversation, user_id, &mut member, role)?;
        if role == ROLE_OWNER {
            self.give_role(by, id, &mut conversation, by, &mut own, ROLE_GROUP_ADMIN)?;
        }
        self.state.put_conversation(id, &conversation);
        Ok(changed(id, conversation.version))
    }

    /// Another role for a member, with an event; the caller writes the conversation after.
    pub(super) fn give_role(
        &mut self,
        by: u64,
        id: u64,
        conversation: &mut Conversation,
        user_id: u64,
        member: &mut Member,
        role: u32,
    ) -> Decision<()> {
        member.role = role;
        self.state.put_member(id, user_id, member);
        match role {
            ROLE_OWNER => conversation.owner = user_id,
            ROLE_GROUP_ADMIN => conversation.admins.push(user_id),
            _ => {}
        }
        self.push_event(id, conversation, EventKind::Role(RoleEvent { user_id, role, by }))?;
        Ok(())
    }

    /// Refuses to act against the owner, and an admin against an admin.
    pub(super) fn check_above(&self, own: &Member, other: &Member) -> Decision<()> {
        match (own.role, other.role) {
            // In groups of older programs too, where an owner could be removed by nobody but herself.
            (_, ROLE_OWNER) => rejected(ErrorCode::Forbidden, "the group's owner cannot be removed"),
            (ROLE_GROUP_ADMIN, ROLE_GROUP_ADMIN) => {
                rejected(ErrorCode::Forbidden, "only the group's owner removes an admin")
            }
            _ => Ok(()),
        }
    }

    /// A group that somebody is in has an owner: when she has gone, the admin who has been one longest; without admins the member
    /// who joined first among the first [`SUCCESSION_PAGE`] memberships, in order of user id, of which any lasts. Does nothing
    /// where there is one. In a group of an older program, which wrote no owner down and gave it no new one when she left, she is
    /// looked for when its members change: all memberships are, once, unless there are too many, and then it stays as it is.
    pub(super) fn settle_owner(
        &mut self,
        by: u64,
        id: u64,
        conversation: &mut Conversation,
        has_gone: bool,
    ) -> Decision<()> {
        if conversation.owner != 0 || conversation.member_count == 0 || !conversation.is_group() {
            return Ok(());
        }
        // Somebody who can act, if there is such an admin.
        let mut at = 0;
        for (place, admin) in conversation.admins.iter().enumerate() {
            if self.state.user(*admin)?.is_some_and(|user| user.is_active()) {
                at = place;
                break;
            }
        }
        if let Some(admin) = conversation.admins.get(at).copied()
            && let Some(mut member) = self.state.member(id, admin)?
        {
            conversation.admins.remove(at);
            return self.give_role(by, id, conversation, admin, &mut member, ROLE_OWNER);
        }
        if conversation.owner_sought && !has_gone {
            return Ok(());
        }
        let (mut from, mut is_sure): (u64, bool) = (0, has_gone);
        let mut first: Option<(u64, Member)> = None;
        for _ in 0..SUCCESSION_PAGES_MAX {
            let page = self.state.members_from(id, from, SUCCESSION_PAGE)?;
            let is_last = page.len() < SUCCESSION_PAGE;
            self.looked_at += page.len();
            from = page.last().map_or(u64::MAX, |(user_id, _)| user_id + 1);
            for (user_id, member) in page.into_iter().filter(|(_, member)| member.is_present()) {
                // Of an older program's making.
                if member.role == ROLE_OWNER {
                    conversation.owner = user_id;
                    return Ok(());
                }
                // A bot only where nobody else is.
                let rank = |user: u64, member: &Member| (conversation.bots.contains(&user), member.joined_ms);
                if first.as_ref().is_none_or(|(id, first)| rank(user_id, &member) < rank(*id, first)) {
                    first = Some((user_id, member));
                }
            }
            is_sure |= is_last;
            if is_last || has_gone && first.is_some() {
                break;
            }
        }
        match first.filter(|_| is_sure) {
            Some((user_id, mut member)) => {
                self.give_role(by, id, conversation, user_id, &mut member, ROLE_OWNER)
            }
            None => {
                // Not with each change of its members.
                conversation.owner_sought = true;
                Ok(())
            }
        }
    }

    pub(super) fn ban(&mut self, by: u64, ban: &rpc::Ban) -> Decision<outcome::Result> {
        let rpc::Ban { conversation_id: id, user_id, on } = *ban;
        let (mut conversation, own) = self.managed_group(by, id)?;
        let is_banned = self.state.is_banned(id, user_id)?;
        if !on {
            if is_banned {
                self.state.put_ban(id, user_id, None);
                conversation.bans = conversation.bans.saturating_sub(1);
                self.state.put_conversation(id, &conversation);
            }
            return Ok(changed(id, 0));
        }
        if user_id == by {
            return rejected(ErrorCode::Invalid, "nobody bans herself: leave the group instead");
        }
        if self.state.user(user_id)?.is_none() {
            return rejected(ErrorCode::NotFound, "there is no such user");
        }
        if is_banned {
            return Ok(changed(id, 0));
        }
        let member = self.state.member(id, user_id)?.filter(Member::is_present);
        if let Some(member) = &member {
            self.check_above(&own, member)?;
        }
        if conversation.bans as usize >= BANS_MAX {
            return rejected(ErrorCode::TooLarge, "too many users are banned here: lift an older ban first");
        }
        conversation.bans += 1;
        self.state.put_ban(id, user_id, Some(&Ban { by, banned_ms: self.context.log_time_ms }));
        let mut version = 0;
        if let Some(member) = member {
            self.end_membership(by, id, &mut conversation, user_id, member, true)?;
            version = conversation.version;
        }
        self.state.put_conversation(id, &conversation);
        Ok(changed(id, version))
    }
}
