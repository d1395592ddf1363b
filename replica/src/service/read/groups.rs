//! Reads of groups: who is in them, and how one comes in.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::INVITES_MAX;
use quorate_proto::rpc;

use super::{NOT_A_MEMBER, Refusal};
use crate::machine::records::{Conversation, Member};
use crate::machine::{GroupTables as _, Tables as _, join};
use crate::store::{Reader, StoreError};

/// Members in one answer.
const MEMBERS_PER_PAGE_MAX: u32 = 200;
/// Memberships read together while those that have ended are passed over.
const MEMBERSHIPS_READ: usize = 512;
/// Memberships looked at for one answer: bounds a group that very many have left.
const MEMBERSHIPS_SCANNED_MAX: usize = 50_000;
/// Public groups in one answer.
const CHANNELS_PER_PAGE_MAX: u32 = 100;
/// Public groups read together.
const CHANNELS_READ: usize = 256;
/// Public groups looked at for one answer: bounds a title that matches little.
const CHANNELS_SCANNED_MAX: usize = 10_000;
/// Bans in one answer.
const BANS_LISTED_MAX: usize = 1_000;

/// A page's size as asked for; 0 for the usual.
fn page(limit: u32, max: u32) -> usize {
    if limit == 0 { 50 } else { limit.min(max) as usize }
}

/// A group as one of its members sees it.
fn group_of(state: &Reader<'_>, user: u64, id: u64) -> Result<(Conversation, Member), Refusal> {
    let member = state.member(id, user)?.filter(Member::is_present).ok_or(NOT_A_MEMBER)?;
    let conversation = state.conversation(id)?.ok_or(NOT_A_MEMBER)?;
    Ok((conversation, member))
}

/// A group of which the user is the owner or an admin.
fn managed(state: &Reader<'_>, user: u64, id: u64) -> Result<(), Refusal> {
    let (_, member) = group_of(state, user, id)?;
    if member.manages() {
        return Ok(());
    }
    Err(Refusal::Rejected(ErrorCode::Forbidden, "only the group's owner and its admins may see this"))
}

fn status(state: &Reader<'_>, user_id: u64) -> Result<String, StoreError> {
    Ok(state.user(user_id)?.filter(|user| user.deleted_ms == 0).map(|user| user.status).unwrap_or_default())
}

/// A page of the present members, in order of user id.
pub(super) fn members(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::MembersQuery,
) -> Result<rpc::MembersResult, Refusal> {
    let id = query.conversation_id;
    group_of(state, user, id)?;
    let limit = page(query.limit, MEMBERS_PER_PAGE_MAX);
    let mut found: Vec<rpc::MemberInfo> = Vec::new();
    let mut from = query.after_user_id.saturating_add(1);
    for _ in 0..MEMBERSHIPS_SCANNED_MAX / MEMBERSHIPS_READ {
        let memberships = state.members_from(id, from, MEMBERSHIPS_READ)?;
        let is_last = memberships.len() < MEMBERSHIPS_READ;
        from = memberships.last().map_or(from, |(user_id, _)| user_id + 1);
        for (user_id, member) in memberships.into_iter().filter(|(_, member)| member.is_present()) {
            if found.len() == limit {
                return Ok(rpc::MembersResult { members: found, more: true, next: user_id - 1 });
            }
            found.push(rpc::MemberInfo {
                user: Some(join::user(state, user_id)?),
                role: member.role,
                since_ms: member.joined_ms,
                status: status(state, user_id)?,
            });
        }
        if is_last {
            return Ok(rpc::MembersResult { members: found, more: false, next: 0 });
        }
    }
    // There is more to look at than one answer may cost.
    Ok(rpc::MembersResult { members: found, more: true, next: from - 1 })
}

/// Public groups whose title has the text in it, in order of id.
pub(super) fn channels(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::ChannelsQuery,
) -> Result<rpc::ChannelsResult, Refusal> {
    let text = query.text.trim().to_lowercase();
    let limit = page(query.limit, CHANNELS_PER_PAGE_MAX);
    let mut channels: Vec<rpc::ChannelInfo> = Vec::new();
    let mut from = query.after_id.saturating_add(1);
    for _ in 0..CHANNELS_SCANNED_MAX / CHANNELS_READ {
        let ids = state.public_groups(from, CHANNELS_READ)?;
        let is_last = ids.len() < CHANNELS_READ;
        from = ids.last().map_or(from, |id| id + 1);
        for id in ids {
            let Some(conversation) = state.conversation(id)? else { continue };
            if !conversation.title.to_lowercase().contains(&text) {
                continue;
            }
            if channels.len() == limit {
                return Ok(rpc::ChannelsResult { channels, more: true, next: id - 1 });
            }
            let joined = state.member(id, user)?.is_some_and(|member| member.is_present());
            let sequence = conversation.sequence;
            channels.push(rpc::ChannelInfo { sequence, ..channel(id, conversation, joined) });
        }
        if is_last {
            return Ok(rpc::ChannelsResult { channels, more: false, next: 0 });
        }
    }
    // There is more to look at than one answer may cost.
    Ok(rpc::ChannelsResult { channels, more: true, next: from - 1 })
}

/// What somebody who is not in a group may know of it. Its avatar is told to whom it is shown.
pub(super) fn channel(id: u64, conversation: Conversation, joined: bool) -> rpc::ChannelInfo {
    let is_shown = conversation.public || joined;
    rpc::ChannelInfo {
        avatar: if is_shown { conversation.avatar } else { Bytes::new() },
        conversation_id: id,
        title: conversation.title,
        topic: conversation.topic,
        member_count: conversation.member_count,
        public: conversation.public,
        announcement: conversation.announcement,
        joined,
        created_ms: conversation.created_ms,
        sequence: 0,
        kind: conversation.kind,
        pair: Vec::new(),
    }
}

/// The invites that are still good, for the group's owner and admins.
pub(super) fn invites(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::InvitesQuery,
) -> Result<rpc::InvitesResult, Refusal> {
    managed(state, user, query.conversation_id)?;
    let now_ms = state.applied().log_time_ms;
    let mut invites = Vec::new();
    for (code, invite) in state.invites_of(query.conversation_id, INVITES_MAX)? {
        if invite.is_good(now_ms) {
            invites.push(rpc::InviteInfo {
                code_hash: Bytes::copy_from_slice(&code),
                by: Some(join::user(state, invite.by)?),
                created_ms: invite.created_ms,
                ends_ms: invite.ends_ms,
                uses: invite.uses,
                uses_max: invite.uses_max,
            });
        }
    }
    invites.sort_by(|a, b| (a.created_ms, &a.code_hash).cmp(&(b.created_ms, &b.code_hash)));
    Ok(rpc::InvitesResult { invites })
}

/// What an invite leads to: what a member could tell a friend, and nobody's name.
pub(super) fn invite(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::InviteQuery,
) -> Result<rpc::ChannelInfo, Refusal> {
    let gone = || {
        Refusal::Rejected(ErrorCode::NotFound, "this invite is not good, or not any more: ask for a new one")
    };
    let code = query.code_hash.as_ref().try_into().map_err(|_| gone())?;
    let now_ms = state.applied().log_time_ms;
    let invite = state.invite(code)?.filter(|invite| invite.is_good(now_ms)).ok_or_else(gone)?;
    let id = invite.conversation_id;
    let conversation = state.conversation(id)?.ok_or_else(gone)?;
    if state.is_banned(id, user)? {
        return Err(Refusal::Rejected(ErrorCode::Forbidden, "you are banned from this group"));
    }
    let joined = state.member(id, user)?.is_some_and(|member| member.is_present());
    Ok(channel(id, conversation, joined))
}

/// Who is banned, in order of user id, for the group's owner and admins.
pub(super) fn bans(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::BansQuery,
) -> Result<rpc::MembersResult, Refusal> {
    managed(state, user, query.conversation_id)?;
    let mut bans = state.bans_of(query.conversation_id, BANS_LISTED_MAX + 1)?;
    let more = bans.len() > BANS_LISTED_MAX;
    bans.truncate(BANS_LISTED_MAX);
    let members = bans.into_iter().map(|(user_id, ban)| {
        let user = Some(join::user(state, user_id)?);
        Ok(rpc::MemberInfo { user, role: 0, since_ms: ban.banned_ms, status: String::new() })
    });
    Ok(rpc::MembersResult { members: members.collect::<Result<_, StoreError>>()?, more, next: 0 })
}

#[cfg(test)]
mod tests;
