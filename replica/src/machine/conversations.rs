//! Conversations and who is in them.

use std::collections::BTreeSet;

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{CREATE_GROUP_MEMBERS_MAX, MEMBERS_MAX};
use quorate_proto::rpc::conversation_summary::Kind;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::records::{
    Conversation, ConversationEvent, EventKind, Member, MemberEvent, ROLE_MEMBER, ROLE_OWNER,
};
use super::{Decision, Step, Tables as _, done, rejected};
use crate::store::View;

impl Member {
    /// Whether the membership lasts.
    pub fn is_present(&self) -> bool {
        self.left_version == 0
    }
}

fn ready(conversation_id: u64, created: bool) -> outcome::Result {
    outcome::Result::Conversation(rpc::ConversationReady { conversation_id, created })
}

impl<V: View> Step<'_, V> {
    pub(super) fn create_direct(&mut self, by: u64, peer: u64) -> Decision<outcome::Result> {
        if peer == by {
            return rejected(ErrorCode::Invalid, "a direct conversation needs another person");
        }
        if self.state.user(peer)?.is_none() {
            return rejected(ErrorCode::NotFound, "there is no such user");
        }
        if let Some(id) = self.state.direct(by, peer)? {
            return Ok(ready(id, false));
        }
        let (id, mut conversation) = self.new_conversation(Kind::Direct, String::new())?;
        self.push_event(
            id,
            &mut conversation,
            EventKind::Conversation(ConversationEvent { title: String::new(), by }),
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
        let members: BTreeSet<u64> = create.member_ids.iter().copied().filter(|id| *id != by).collect();
        if members.len() > CREATE_GROUP_MEMBERS_MAX {
            return rejected(
                ErrorCode::TooLarge,
                "too many members at once: make the group and add the rest after",
            );
        }
        for member in &members {
            if self.state.user(*member)?.is_none() {
                return rejected(ErrorCode::NotFound, "one of the members does not exist");
            }
        }
        let (id, mut conversation) = self.new_conversation(Kind::Group, title.clone())?;
        self.push_event(id, &mut conversation, EventKind::Conversation(ConversationEvent { title, by }))?;
        self.join(id, &mut conversation, by, ROLE_OWNER, 0)?;
        for member in members {
            self.join(id, &mut conversation, member, ROLE_MEMBER, 0)?;
        }
        self.state.put_conversation(id, &conversation);
        Ok(ready(id, true))
    }

    pub(super) fn add_member(&mut self, by: u64, id: u64, user_id: u64) -> Decision<outcome::Result> {
        let mut conversation = self.owned_group(by, id)?;
        if self.state.user(user_id)?.is_none() {
            return rejected(ErrorCode::NotFound, "there is no such user");
        }
        if self.state.member(id, user_id)?.is_some_and(|member| member.is_present()) {
            return Ok(done());
        }
        if conversation.member_count as usize >= MEMBERS_MAX {
            return rejected(ErrorCode::TooLarge, "the group is full");
        }
        let base_version = conversation.version;
        self.push_event(id, &mut conversation, EventKind::Member(MemberEvent { user_id, joined: true, by }))?;
        self.join(id, &mut conversation, user_id, ROLE_MEMBER, base_version)?;
        self.state.put_conversation(id, &conversation);
        Ok(done())
    }

    pub(super) fn remove_member(&mut self, by: u64, id: u64, user_id: u64) -> Decision<outcome::Result> {
        let mut conversation = if user_id == by { self.group_of(by, id)? } else { self.owned_group(by, id)? };
        let Some(mut member) = self.state.member(id, user_id)?.filter(Member::is_present) else {
            return rejected(ErrorCode::NotFound, "this user is not a member");
        };
        self.push_event(
            id,
            &mut conversation,
            EventKind::Member(MemberEvent { user_id, joined: false, by }),
        )?;
        conversation.member_count = conversation.member_count.saturating_sub(1);
        member.left_version = conversation.version;
        member.left_sequence = conversation.sequence;
        self.state.put_member(id, user_id, &member);
        self.state.put_conversation(id, &conversation);
        self.push_me(user_id, EventKind::MeRemoved(id))?;
        Ok(done())
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

    /// Makes a user a member from `base_version` on, and tells her.
    fn join(
        &mut self,
        id: u64,
        conversation: &mut Conversation,
        user_id: u64,
        role: u32,
        base_version: u64,
    ) -> Decision<()> {
        let member = Member {
            role,
            base_version,
            base_sequence: conversation.sequence,
            read_sequence: conversation.sequence,
            left_version: 0,
            left_sequence: 0,
        };
        self.state.put_member(id, user_id, &member);
        self.state.put_member_of(user_id, id);
        conversation.member_count += 1;
        self.push_me(user_id, EventKind::MeAdded(rpc::MeAdded { conversation_id: id, base_version }))?;
        Ok(())
    }

    /// A conversation that the user is a member of. One that she is not in does not exist for her.
    pub(super) fn joined(&self, user_id: u64, id: u64) -> Decision<(Conversation, Member)> {
        let member = self.state.member(id, user_id)?.filter(Member::is_present);
        match (member, self.state.conversation(id)?) {
            (Some(member), Some(conversation)) => Ok((conversation, member)),
            _ => rejected(ErrorCode::NotFound, "you are not in this conversation"),
        }
    }

    fn group_of(&self, user_id: u64, id: u64) -> Decision<Conversation> {
        let (conversation, _) = self.joined(user_id, id)?;
        if conversation.kind != Kind::Group as u32 {
            return rejected(ErrorCode::Invalid, "a direct conversation always has its two members");
        }
        Ok(conversation)
    }

    fn owned_group(&self, user_id: u64, id: u64) -> Decision<Conversation> {
        let conversation = self.group_of(user_id, id)?;
        let (_, member) = self.joined(user_id, id)?;
        if member.role != ROLE_OWNER {
            return rejected(ErrorCode::Forbidden, "only an owner of the group may do this");
        }
        Ok(conversation)
    }
}
