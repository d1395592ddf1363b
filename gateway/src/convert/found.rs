//! What reads beside a session's own find, as REST bodies.

use quorate_proto::frame::ConversationKind;
use quorate_proto::rest::{
    AdminUser, AdminUsers, Audit, AuditEntry, BanInfo, Bans, Channel, Channels, InviteInfo, Invites,
    MemberInfo, Members, Messages, ReactionUsers, Reactions, ReportInfo, Reports, RevisionInfo, Revisions,
    Scheduled, SessionInfo, Sessions, UserProfile,
};
use quorate_proto::rpc;
use uuid::Uuid;

use super::event::scheduled_item;
use super::{avatar, conversation_event, role, session, some, user};

/// Texts of a message.
pub fn revisions(found: rpc::RevisionsResult, as_of_index: u64) -> Revisions {
    let one =
        |it: rpc::RevisionInfo| RevisionInfo { revision: it.revision, text: it.text, time: it.log_time_ms };
    Revisions { revisions: found.revisions.into_iter().map(one).collect(), as_of_index }
}

/// Who reacted.
pub fn reactions(found: rpc::ReactionsResult, as_of_index: u64) -> Reactions {
    let one = |it: rpc::ReactionUsers| ReactionUsers {
        emoji: it.emoji,
        count: it.count,
        users: it.users.into_iter().map(|each| user(Some(each))).collect(),
    };
    Reactions { reactions: found.reactions.into_iter().map(one).collect(), as_of_index }
}

/// Messages of several conversations.
pub fn messages(found: rpc::MessagesResult, as_of_index: u64) -> Messages {
    let messages = found.messages.into_iter().filter_map(conversation_event).collect();
    Messages { messages, next: some(found.next), as_of_index }
}

/// What is scheduled.
pub fn scheduled(found: rpc::ScheduledResult, as_of_index: u64) -> Scheduled {
    Scheduled { items: found.items.into_iter().map(scheduled_item).collect(), as_of_index }
}

/// Members of a group.
pub fn members(found: rpc::MembersResult, as_of_index: u64) -> Members {
    let one = |it: rpc::MemberInfo| MemberInfo {
        user: user(it.user),
        role: role(it.role),
        since: some(it.since_ms),
        status: it.status,
    };
    let members = found.members.into_iter().map(one).collect();
    Members { members, more: found.more, next: some(found.next), as_of_index }
}

/// Who is banned.
pub fn bans(found: rpc::MembersResult, as_of_index: u64) -> Bans {
    let one = |it: rpc::MemberInfo| BanInfo { user: user(it.user), since: some(it.since_ms) };
    Bans { bans: found.members.into_iter().map(one).collect(), more: found.more, as_of_index }
}

/// The invites of a group.
pub fn invites(found: rpc::InvitesResult, as_of_index: u64) -> Invites {
    let one = |it: rpc::InviteInfo| InviteInfo {
        id: Uuid::from_slice(&it.code_hash).unwrap_or_default().simple().to_string(),
        by: user(it.by),
        created: it.created_ms,
        ends: some(it.ends_ms),
        uses: it.uses,
        uses_max: it.uses_max,
    };
    Invites { invites: found.invites.into_iter().map(one).collect(), as_of_index }
}

/// A conversation as those see it who are not in it.
pub fn channel(found: rpc::ChannelInfo) -> Channel {
    Channel {
        conversation: found.conversation_id,
        kind: if found.kind == 1 { ConversationKind::Direct } else { ConversationKind::Group },
        title: found.title,
        topic: found.topic,
        member_count: found.member_count,
        public: found.public,
        announcement: found.announcement,
        joined: found.joined,
        created: some(found.created_ms),
        sequence: found.sequence,
        avatar: avatar(&found.avatar),
    }
}

/// Conversations that were looked for.
pub fn channels(found: rpc::ChannelsResult, as_of_index: u64) -> Channels {
    let next = found.more.then_some(found.next);
    Channels { channels: found.channels.into_iter().map(channel).collect(), next, as_of_index }
}

/// A user's profile; `own` when it is the caller's.
pub fn user_profile(found: rpc::UserResult, own: bool, as_of_index: u64) -> UserProfile {
    UserProfile {
        user: user(found.user),
        status: found.status,
        created: some(found.created_ms),
        last_seen: some(found.last_seen_ms),
        admin: found.admin,
        blocked: found.blocked,
        recovery_codes: own.then_some(found.recovery_codes),
        as_of_index,
    }
}

/// Users as admins see them.
pub fn admin_users(found: rpc::AdminUsersResult, as_of_index: u64) -> AdminUsers {
    let one = |it: rpc::AdminUser| AdminUser {
        user: user(it.user),
        admin: it.admin,
        disabled: it.disabled,
        created: some(it.created_ms),
        last_seen: some(it.last_seen_ms),
        sessions: it.sessions,
    };
    let next = found.more.then_some(found.next);
    AdminUsers { users: found.users.into_iter().map(one).collect(), next, as_of_index }
}

/// Sessions of a user; `own` is the one that asks.
pub fn sessions(found: rpc::SessionsResult, own: &[u8], as_of_index: u64) -> Sessions {
    let info = |it: rpc::SessionInfo| SessionInfo {
        current: it.session_id == own,
        id: session(&it.session_id),
        device: it.device,
        created: it.created_ms,
        refreshed: it.refreshed_ms,
    };
    Sessions { sessions: found.sessions.into_iter().map(info).collect(), as_of_index }
}

/// Reports.
pub fn reports(found: rpc::ReportsResult, as_of_index: u64) -> Reports {
    let one = |it: rpc::ReportInfo| ReportInfo {
        id: it.id,
        by: user(it.by),
        created: it.created_ms,
        reason: it.reason,
        conversation: it.conversation_id,
        message: it.message.and_then(conversation_event),
        edited_since: it.edited_since,
        resolved: some(it.resolved_ms),
        resolved_by: it.resolved_by.map(|by| user(Some(by))),
        resolution: it.resolution,
    };
    Reports { reports: found.reports.into_iter().map(one).collect(), more: found.more, as_of_index }
}

/// What was done.
pub fn audit(found: rpc::AuditResult, as_of_index: u64) -> Audit {
    let somebody = |who: Option<rpc::UserRef>| who.filter(|who| who.id != 0).map(|who| user(Some(who)));
    let one = |it: rpc::AuditEntry| AuditEntry {
        index: it.index,
        time: it.log_time_ms,
        by: somebody(it.by),
        action: it.action,
        subject: somebody(it.subject),
        conversation: some(it.conversation_id),
        detail: it.detail,
    };
    Audit { entries: found.entries.into_iter().map(one).collect(), next: some(found.next), as_of_index }
}
