//! Conversations and who is in them.

use std::collections::BTreeSet;

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{CONVERSATIONS_PER_USER_MAX, CREATE_GROUP_MEMBERS_MAX, MEMBERS_MAX};
use quorate_proto::rpc::conversation_summary::Kind;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::audit::{Audited, Concerning};
use super::records::{
    Conversation, ConversationEvent, EventKind, Member, MemberEvent, ROLE_GROUP_ADMIN, ROLE_MEMBER,
    ROLE_OWNER, User,
};
use super::{
    Decision, GroupTables as _, PeopleTables as _, Step, Tables as _, VERSION_AVATARS, VERSION_DOMAIN, done,
    rejected,
};
use crate::store::{StoreError, View};

impl Member {
    /// Whether the membership lasts.
    pub fn is_present(&self) -> bool {
        self.left_version == 0
    }

    /// Whether she may change the group, add, remove and ban members, and delete others' messages: its owner and its admins. Says
    /// nothing of direct conversations, where both are plain members.
    pub fn manages(&self) -> bool {
        matches!(self.role, ROLE_OWNER | ROLE_GROUP_ADMIN)
    }

    /// The version after which events come to her by themselves. What she may see of the time before, in a public group, she
    /// reads.
    pub fn events_after(&self) -> u64 {
        self.base_version.max(self.joined_version)
    }
}

impl Conversation {
    /// Whether it is a group.
    pub fn is_group(&self) -> bool {
        self.kind == Kind::Group as u32
    }
}

pub(super) fn ready(conversation_id: u64, created: bool) -> outcome::Result {
    outcome::Result::Conversation(rpc::ConversationReady { conversation_id, created })
}

/// What comes of a command that changes a conversation: `version` is that of its event, 0 without one.
pub(super) fn changed(conversation_id: u64, version: u64) -> outcome::Result {
    outcome::Result::Changed(rpc::Changed { conversation_id, version, sequence: 0 })
}

impl<V: View> Step<'_, V> {
    fn is_domain(&self) -> bool {
        self.context.machine_version >= VERSION_DOMAIN
    }

    pub(super) fn create_direct(&mut self, by: u64, peer: u64) -> Decision<outcome::Result> {
        if peer == by {
            return rejected(ErrorCode::Invalid, "a direct conversation needs another person");
        }
        self.check_there(peer, "there is no such user")?;
        if let Some(id) = self.state.direct(by, peer)? {
            return Ok(ready(id, false));
        }
        if self.is_domain() && self.state.is_blocked_between(by, peer)? {
            return rejected(ErrorCode::Forbidden, "you cannot write to this user");
        }
        let (id, mut conversation) = self.new_conversation(Kind::Direct, String::new())?;
        self.push_event(
            id,
            &mut conversation,
            EventKind::Conversation(ConversationEvent { by, ..ConversationEvent::default() }),
        )?;
        self.state.put_direct(by, peer, id);
        for user in [by, peer] {
            self.join(id, &mut conversation, user, ROLE_MEMBER, 0)?;
        }
        self.state.put_conversation(id, &conversation);
        Ok(ready(id, true))
    }

    pub(super) fn create_group(&mut self, by: u64, create: &rpc::CreateGroup) -> Decision<outcome::Result> {
        let title = text::canonical_title(&create.title)?;
        let topic = text::canonical_topic(&create.topic)?;
        let members: BTreeSet<u64> = create.member_ids.iter().copied().filter(|id| *id != by).collect();
        if members.len() > CREATE_GROUP_MEMBERS_MAX {
            return rejected(
                ErrorCode::TooLarge,
                "too many members at once: make the group and add the rest after",
            );
        }
        for member in &members {
            self.check_there(*member, "one of the members does not exist")?;
            if self.is_domain() && self.state.has_blocked(*member, by)? {
                return rejected(ErrorCode::Forbidden, "one of the members cannot be added by you");
            }
        }
        let (id, mut conversation) = self.new_conversation(Kind::Group, title)?;
        // An older program has none of these, and they are not in a command that it reads.
        (conversation.topic, conversation.public, conversation.announcement) =
            (topic, create.public, create.announcement);
        if self.is_domain() {
            conversation.owner = by;
        }
        if conversation.public {
            self.state.put_public(id, true);
        }
        let event = conversation_event(&conversation, by);
        self.push_event(id, &mut conversation, event)?;
        self.join(id, &mut conversation, by, ROLE_OWNER, 0)?;
        for member in members {
            self.join(id, &mut conversation, member, ROLE_MEMBER, 0)?;
        }
        self.state.put_conversation(id, &conversation);
        Ok(ready(id, true))
    }

    pub(super) fn add_member(&mut self, by: u64, id: u64, user_id: u64) -> Decision<outcome::Result> {
        let administered = self.administered_group(by, id)?;
        let as_admin = administered.is_some();
        let mut conversation = match administered {
            Some(conversation) => conversation,
            None => self.managed_group(by, id)?.0,
        };
        self.check_there(user_id, "there is no such user")?;
        if self.state.member(id, user_id)?.is_some_and(|member| member.is_present()) {
            return Ok(done());
        }
        if self.is_domain() {
            if self.state.is_banned(id, user_id)? {
                return rejected(ErrorCode::Forbidden, "this user is banned here: lift the ban first");
            }
            if self.state.has_blocked(user_id, by)? {
                return rejected(ErrorCode::Forbidden, "this user cannot be added by you");
            }
        }
        self.enter(by, id, &mut conversation, user_id)?;
        self.state.put_conversation(id, &conversation);
        if as_admin {
            self.audit(by, Audited::GroupMemberAdded, Concerning::member(id, user_id))?;
        }
        Ok(done())
    }

    /// A user who is no member becomes one, and everybody is told; the caller writes the conversation after.
    pub(super) fn enter(
        &mut self,
        by: u64,
        id: u64,
        conversation: &mut Conversation,
        user_id: u64,
    ) -> Decision<()> {
        if conversation.member_count as usize >= MEMBERS_MAX {
            return rejected(ErrorCode::TooLarge, "the group is full");
        }
        let base_version = conversation.version;
        self.push_event(
            id,
            conversation,
            EventKind::Member(MemberEvent { user_id, joined: true, by, banned: false }),
        )?;
        self.join(id, conversation, user_id, ROLE_MEMBER, base_version)?;
        if !self.is_domain() {
            return Ok(());
        }
        // Who comes into an empty group has it.
        let is_alone = conversation.member_count == 1;
        if is_alone && let Some(mut member) = self.state.member(id, user_id)? {
            return self.give_role(by, id, conversation, user_id, &mut member, ROLE_OWNER);
        }
        self.settle_owner(by, id, conversation, false)
    }

    pub(super) fn remove_member(&mut self, by: u64, id: u64, user_id: u64) -> Decision<outcome::Result> {
        let administered = if user_id == by { None } else { self.administered_group(by, id)? };
        let as_admin = administered.is_some();
        let mut conversation = if let Some(conversation) = administered {
            conversation
        } else if user_id == by {
            self.group_of(by, id)?.0
        } else {
            let (conversation, own) = self.managed_group(by, id)?;
            if let Some(member) = self.state.member(id, user_id)?.filter(Member::is_present) {
                self.check_above(&own, &member)?;
            }
            conversation
        };
        let Some(member) = self.state.member(id, user_id)?.filter(Member::is_present) else {
            return rejected(ErrorCode::NotFound, "this user is not a member");
        };
        self.end_membership(by, id, &mut conversation, user_id, member, false)?;
        self.state.put_conversation(id, &conversation);
        if as_admin {
            self.audit(by, Audited::GroupMemberRemoved, Concerning::member(id, user_id))?;
        }
        Ok(done())
    }

    /// Ends a membership, and those of her bots with it. A group whose owner goes gets another. The caller writes the conversation
    /// after.
    pub(super) fn end_membership(
        &mut self,
        by: u64,
        id: u64,
        conversation: &mut Conversation,
        user_id: u64,
        member: Member,
        banned: bool,
    ) -> Decision<()> {
        let mut has_gone = self.end_one(by, id, conversation, user_id, member, banned)?;
        for (bot, member) in self.bots_that_follow(by, user_id, id, conversation)? {
            has_gone |= self.end_one(by, id, conversation, bot, member, false)?;
        }
        if self.is_domain() {
            self.settle_owner(by, id, conversation, has_gone)?;
        }
        Ok(())
    }

    /// The bots of a user that are in a conversation which she has left: ten at most. One that is the group's owner or admin goes with
    /// her when she leaves, not when somebody removes her: who removes it is asked whether he may. Those whose account was deleted
    /// with hers leave by themselves, piece by piece.
    fn bots_that_follow(
        &self,
        by: u64,
        owner_id: u64,
        id: u64,
        conversation: &Conversation,
    ) -> Result<Vec<(u64, Member)>, StoreError> {
        let mut following = Vec::new();
        if self.context.machine_version < VERSION_AVATARS {
            return Ok(following);
        }
        for bot in &conversation.bots {
            let is_hers = |bot: &User| bot.owner_id == owner_id && !bot.is_deleted();
            if self.state.user(*bot)?.as_ref().is_some_and(is_hers)
                && let Some(member) = self.state.member(id, *bot)?.filter(Member::is_present)
                && (by == owner_id || ![ROLE_OWNER, ROLE_GROUP_ADMIN].contains(&member.role))
            {
                following.push((*bot, member));
            }
        }
        Ok(following)
    }

    /// Ends one membership with an event, the last that she sees there; whether the group's owner has gone with it.
    fn end_one(
        &mut self,
        by: u64,
        id: u64,
        conversation: &mut Conversation,
        user_id: u64,
        mut member: Member,
        banned: bool,
    ) -> Decision<bool> {
        self.push_event(
            id,
            conversation,
            EventKind::Member(MemberEvent { user_id, joined: false, by, banned }),
        )?;
        conversation.member_count = conversation.member_count.saturating_sub(1);
        conversation.bots.retain(|bot| *bot != user_id);
        member.left_version = conversation.version;
        member.left_sequence = conversation.sequence;
        // Counted when she joined.
        if member.joined_ms != 0
            && let Some(mut user) = self.state.user(user_id)?
        {
            user.conversations = user.conversations.saturating_sub(1);
            self.state.put_user_again(user_id, &user);
        }
        self.state.put_member(id, user_id, &member);
        self.push_me(user_id, EventKind::MeRemoved(id))?;
        let has_gone = member.role == ROLE_OWNER;
        if self.is_domain() {
            conversation.admins.retain(|admin| *admin != user_id);
            if has_gone {
                conversation.owner = 0;
            }
        }
        Ok(has_gone)
    }

    fn new_conversation(&mut self, kind: Kind, title: String) -> Decision<(u64, Conversation)> {
        let mut counters = self.state.counters()?;
        counters.conversations += 1;
        self.state.put_counters(&counters);
        let conversation = Conversation {
            kind: kind as u32,
            title,
            created_ms: self.context.log_time_ms,
            ..Conversation::default()
        };
        Ok((counters.conversations, conversation))
    }

    /// Makes a user a member, and tells her. `joined_version` is the conversation's before the event that says so: she sees what
    /// came after, in a public group what came since it is public.
    fn join(
        &mut self,
        id: u64,
        conversation: &mut Conversation,
        user_id: u64,
        role: u32,
        joined_version: u64,
    ) -> Decision<()> {
        let mut member = Member {
            role,
            base_version: joined_version,
            base_sequence: conversation.sequence,
            read_sequence: conversation.sequence,
            ..Member::default()
        };
        if self.is_domain() {
            // 0 means that it is not known.
            member.joined_ms = self.context.log_time_ms.max(1);
            member.joined_version = joined_version;
            if conversation.public {
                member.base_version = conversation.open_version.min(joined_version);
                member.base_sequence = conversation.open_sequence.min(conversation.sequence);
            }
            let before = self.state.member(id, user_id)?;
            member.preferences = before.and_then(|before| before.preferences);
            if let Some(preferences) = &mut member.preferences {
                preferences.unread_from = 0;
            }
            self.count_conversation(user_id)?;
            self.note_bot(conversation, user_id)?;
        }
        self.state.put_member(id, user_id, &member);
        self.state.put_member_of(user_id, id);
        conversation.member_count += 1;
        let added = rpc::MeAdded { conversation_id: id, base_version: joined_version };
        self.push_me(user_id, EventKind::MeAdded(added))?;
        Ok(())
    }

    /// One more conversation of a user. Those that she joined under an older program are not counted: counting them again would be
    /// work that grows with their number.
    fn count_conversation(&mut self, user_id: u64) -> Decision<()> {
        let Some(mut user) = self.state.user(user_id)? else {
            return rejected(ErrorCode::NotFound, "there is no such user");
        };
        if user.conversations as usize >= CONVERSATIONS_PER_USER_MAX {
            return rejected(
                ErrorCode::TooLarge,
                "nobody can be in more conversations: some must be left first",
            );
        }
        user.conversations += 1;
        self.state.put_user_again(user_id, &user);
        Ok(())
    }

    /// Refuses a user who does not exist, or no longer does.
    fn check_there(&self, user_id: u64, message: &str) -> Decision<()> {
        match self.state.user(user_id)? {
            Some(user) if user.deleted_ms == 0 => Ok(()),
            _ => rejected(ErrorCode::NotFound, message),
        }
    }

    /// A conversation that the user is a member of. One that she is not in does not exist for her.
    pub(super) fn joined(&self, user_id: u64, id: u64) -> Decision<(Conversation, Member)> {
        let member = self.state.member(id, user_id)?.filter(Member::is_present);
        match (member, self.state.conversation(id)?) {
            (Some(member), Some(conversation)) => Ok((conversation, member)),
            _ => rejected(ErrorCode::NotFound, "you are not in this conversation"),
        }
    }

    /// A group that the user is a member of.
    pub(super) fn group_of(&self, user_id: u64, id: u64) -> Decision<(Conversation, Member)> {
        let (conversation, member) = self.joined(user_id, id)?;
        if !conversation.is_group() {
            return rejected(ErrorCode::Invalid, "a direct conversation always has its two members");
        }
        Ok((conversation, member))
    }

    /// A group that the user is the owner or an admin of.
    pub(super) fn managed_group(&self, user_id: u64, id: u64) -> Decision<(Conversation, Member)> {
        let (conversation, member) = self.group_of(user_id, id)?;
        match member.manages() {
            true => Ok((conversation, member)),
            false if self.is_domain() => {
                rejected(ErrorCode::Forbidden, "only the group's owner and its admins may do this")
            }
            // Outcomes are folded into the hash: what older programs say stays.
            false => rejected(ErrorCode::Forbidden, "only an owner of the group may do this"),
        }
    }
}

/// A conversation's own matters, as they are after the event.
pub(super) fn conversation_event(conversation: &Conversation, by: u64) -> EventKind {
    EventKind::Conversation(ConversationEvent {
        title: conversation.title.clone(),
        by,
        topic: conversation.topic.clone(),
        public: conversation.public,
        announcement: conversation.announcement,
        retention_ms: conversation.retention_ms,
        avatar: conversation.avatar.clone(),
    })
}
