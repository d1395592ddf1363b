//! What admins export: whole conversations, whoever is in them. That they did is in the audit log before it is read.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{HISTORY_MESSAGES_MAX, PAGE_BYTES_MAX};
use quorate_proto::rpc;
use quorate_proto::rpc::history_query::From;

use super::people::must_be_admin;
use super::{Allowed, Refusal, groups};
use crate::machine::records::Conversation;
use crate::machine::{Tables as _, VERSION_AVATARS, join};
use crate::store::{Reader, StoreError};

/// Messages read at once: a page of the longest ones is full after 21.
const CHUNK: u64 = 32;
/// Messages looked at for one page: bounds a stretch of what was taken back, and for how long apply waits. The answer says where
/// to go on.
const LOOKED_AT_MAX: u64 = 2_048;

const NOT_ALLOWED: &str = "direct conversations are not exported here: export_direct = true in the replicas' configuration allows it";

/// Refuses where direct conversations are not exported.
pub(super) fn must_be_allowed(allowed: Allowed) -> Result<(), Refusal> {
    if allowed.export_direct { Ok(()) } else { Err(Refusal::Rejected(ErrorCode::Forbidden, NOT_ALLOWED)) }
}

/// A conversation as an admin sees it listed, with the two of a direct one.
pub(super) fn conversation(
    state: &Reader<'_>,
    user: u64,
    id: u64,
    record: Conversation,
) -> Result<rpc::ChannelInfo, StoreError> {
    let joined = state.member(id, user)?.is_some_and(|member| member.is_present());
    let (sequence, is_group) = (record.sequence, record.is_group());
    // Nobody leaves a direct conversation: all its memberships are the two.
    let pair = if is_group { Vec::new() } else { state.members_of(id, 2)? };
    let pair = pair.into_iter().map(|(member, _)| join::user(state, member)).collect::<Result<_, _>>()?;
    Ok(rpc::ChannelInfo { sequence, pair, ..groups::channel(id, record, joined) })
}

/// A page of a conversation from its first message on, or behind `after`, without what was taken back or grew too old.
pub(super) fn history(
    state: &Reader<'_>,
    user: u64,
    allowed: Allowed,
    query: &rpc::HistoryQuery,
) -> Result<rpc::HistoryResult, Refusal> {
    must_be_admin(state, user)?;
    if state.applied().machine_version < VERSION_AVATARS {
        // Such an export could not be told of in the audit log.
        return Err(Refusal::Rejected(
            ErrorCode::Unsupported,
            "not all replicas are upgraded: try again later",
        ));
    }
    let after = match query.from {
        None => 0,
        Some(From::After(after)) => after,
        Some(From::Before(_) | From::Around(_)) => {
            return Err(Refusal::Rejected(
                ErrorCode::Invalid,
                "an export goes forward: give after, or nothing",
            ));
        }
    };
    let id = query.conversation_id;
    let record = state
        .conversation(id)?
        .ok_or(Refusal::Rejected(ErrorCode::NotFound, "there is no such conversation"))?;
    if !record.is_group() {
        must_be_allowed(allowed)?;
    }
    let limit = match query.limit {
        0 => 50,
        limit => limit.min(HISTORY_MESSAGES_MAX),
    } as usize;
    let now_ms = state.applied().log_time_ms;
    let (kept_ms, last) = (record.retention_ms, record.sequence);
    // All that the retention rule has passed is gone.
    let first = after.max(record.retained_sequence).saturating_add(1);
    let mut found = rpc::HistoryResult::default();
    let (mut bytes, mut next) = (0, first);
    'pages: while next <= last && next - first < LOOKED_AT_MAX {
        let end = next.saturating_add(CHUNK).min(last + 1);
        for (sequence, message) in state.messages(id, next, end, usize::MAX)? {
            let is_old = kept_ms != 0 && message.log_time_ms.saturating_add(kept_ms) <= now_ms;
            if message.deleted_ms == 0 && !is_old {
                let event = join::message(state, id, sequence, message)?;
                bytes += prost::Message::encoded_len(&event) + 128;
                let is_full = found.messages.len() == limit || bytes > PAGE_BYTES_MAX;
                if is_full && !found.messages.is_empty() {
                    next = sequence;
                    break 'pages;
                }
                found.messages.push(event);
            }
        }
        next = end;
    }
    found.more_before = after > 0;
    found.more_after = next <= last;
    found.next = if found.more_after { next - 1 } else { 0 };
    found.conversation = Some(conversation(state, user, id, record)?);
    Ok(found)
}
