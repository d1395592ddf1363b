//! Reads of users, and what admins read. Who is an admin is asked of the state, each time.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{BLOCKED_MAX, NAME_CHARS_MAX};
use quorate_proto::rpc;
use quorate_proto::text;

use super::{Allowed, Refusal, export};
use crate::machine::records::{Report, StoredMessage, User};
use crate::machine::{PeopleTables as _, Tables as _, audit, join};
use crate::store::{Reader, StoreError};

/// Items in one answer for an admin.
const PAGE_MAX: u32 = 100;
/// Items in one answer when none are asked for.
const PAGE: u32 = 50;
/// Names looked at for one question of an admin: bounds a pattern that matches little. The answer says where to go on.
const NAMES_SCANNED_MAX: usize = 10_000;
/// Conversations looked at for one question of an admin.
const CONVERSATIONS_SCANNED_MAX: usize = 10_000;
/// Conversations read at once while looking: most are direct ones and passed over.
const CONVERSATIONS_CHUNK: usize = 256;
/// Numbers of reports among which open ones are looked for at once, from the newest backwards.
const REPORTS_WINDOW: u64 = 4_096;
/// Such looks for one question; a million resolved reports in a row are passed over.
const REPORTS_WINDOWS_MAX: u32 = 256;

const NO_SUCH_USER: Refusal = Refusal::Rejected(ErrorCode::NotFound, "there is no such user");

fn page(limit: u32) -> usize {
    (if limit == 0 { PAGE } else { limit.min(PAGE_MAX) }) as usize
}

pub(super) fn must_be_admin(state: &Reader<'_>, user: u64) -> Result<(), Refusal> {
    match state.user(user)? {
        Some(user) if user.is_admin() => Ok(()),
        _ => Err(Refusal::Rejected(ErrorCode::Forbidden, "only an admin may read this")),
    }
}

/// A profile. Of a deleted account, asked for by its number, nothing is left; by its name it is not found. When she was seen last
/// is not for those whom she has blocked.
pub(super) fn user(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::UserQuery,
) -> Result<rpc::UserResult, Refusal> {
    let (id, is_named) = match query.user_id {
        0 => (state.user_id(&query.name.trim().to_lowercase())?.ok_or(NO_SUCH_USER)?, true),
        id => (id, false),
    };
    let record = state.user(id)?.ok_or(NO_SUCH_USER)?;
    if record.is_deleted() && is_named {
        return Err(NO_SUCH_USER);
    }
    let hides = state.has_blocked(id, user)?;
    let recovery_codes = if id == user { record.recovery_hashes.len() } else { 0 };
    Ok(rpc::UserResult {
        user: Some(join::user(state, id)?),
        admin: record.is_admin(),
        created_ms: if record.is_deleted() { 0 } else { record.created_ms },
        status: record.status,
        last_seen_ms: if hides { 0 } else { state.seen_ms(id)? },
        blocked: state.has_blocked_alone(user, id)?,
        recovery_codes: u32::try_from(recovery_codes).unwrap_or(u32::MAX),
    })
}

pub(super) fn blocked(state: &Reader<'_>, user: u64) -> Result<rpc::DirectoryResult, Refusal> {
    let blocked = state.blocked_by(user, BLOCKED_MAX)?.into_iter();
    let users = blocked.map(|id| join::user(state, id)).collect::<Result<_, _>>()?;
    Ok(rpc::DirectoryResult { users })
}

pub(super) fn admin_users(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::AdminUsersQuery,
) -> Result<rpc::AdminUsersResult, Refusal> {
    must_be_admin(state, user)?;
    let pattern = query.pattern.trim().to_lowercase();
    let limit = page(query.limit);
    let (begin, end) = super::names_like(&pattern);
    // The least text after a name is that name with a zero behind it.
    let after = query.after.trim().to_lowercase();
    let from = match after.len() {
        1..=NAME_CHARS_MAX => begin.max(format!("{after}\0")),
        _ => begin,
    };
    let mut found = rpc::AdminUsersResult::default();
    let mut looked_at = 0;
    for (name, id) in state.names(&from, &end, NAMES_SCANNED_MAX)? {
        if found.users.len() == limit {
            found.more = true;
            break;
        }
        looked_at += 1;
        if text::matches_pattern(&name, &pattern)
            && let Some(record) = state.user(id)?.filter(|record| !record.is_deleted())
        {
            found.users.push(admin_user(state, id, &record)?);
        }
        found.next = name;
    }
    found.more |= looked_at == NAMES_SCANNED_MAX;
    if !found.more {
        found.next.clear();
    }
    Ok(found)
}

fn admin_user(state: &Reader<'_>, id: u64, record: &User) -> Result<rpc::AdminUser, StoreError> {
    let sessions = state.session_count(id)?;
    Ok(rpc::AdminUser {
        user: Some(join::user(state, id)?),
        admin: record.is_admin(),
        disabled: record.disabled_ms != 0,
        created_ms: record.created_ms,
        last_seen_ms: state.seen_ms(id)?,
        sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
    })
}

/// Groups by a part of their title, whoever is in them. What is said in them is not an admin's to read, but in an export. For that
/// direct conversations are listed as well, where it is allowed; they have no title.
pub(super) fn admin_conversations(
    state: &Reader<'_>,
    user: u64,
    allowed: Allowed,
    query: &rpc::AdminConversationsQuery,
) -> Result<rpc::ChannelsResult, Refusal> {
    must_be_admin(state, user)?;
    if query.direct {
        export::must_be_allowed(allowed)?;
    }
    let text = query.text.trim().to_lowercase();
    let limit = page(query.limit);
    let mut found = rpc::ChannelsResult { next: query.after_id, ..rpc::ChannelsResult::default() };
    let mut looked_at = 0;
    loop {
        let chunk = state.conversations_from(found.next.saturating_add(1), CONVERSATIONS_CHUNK)?;
        let is_last = chunk.len() < CONVERSATIONS_CHUNK;
        for (id, record) in chunk {
            if found.channels.len() == limit || looked_at == CONVERSATIONS_SCANNED_MAX {
                found.more = true;
                return Ok(found);
            }
            looked_at += 1;
            found.next = id;
            let is_asked_for = record.is_group() || query.direct;
            if is_asked_for && record.title.to_lowercase().contains(&text) {
                found.channels.push(export::conversation(state, user, id, record)?);
            }
        }
        if is_last {
            found.next = 0;
            return Ok(found);
        }
    }
}

/// Reports, newest first, each with the message that it is about: shown by one who may read it, so the admins may read this one.
pub(super) fn reports(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::ReportsQuery,
) -> Result<rpc::ReportsResult, Refusal> {
    must_be_admin(state, user)?;
    let limit = page(query.limit);
    let last = state.counters()?.reports;
    let mut before = match query.before_id {
        0 => last.saturating_add(1),
        before => before.min(last.saturating_add(1)),
    };
    let mut ids = Vec::new();
    let mut windows = 0;
    // One more than are given tells whether there are more.
    while before > 1 && ids.len() <= limit && windows < REPORTS_WINDOWS_MAX {
        windows += 1;
        let window = if query.all { limit as u64 + 1 } else { REPORTS_WINDOW };
        let from = before.saturating_sub(window).max(1);
        let of_window =
            if query.all { (from..before).collect() } else { state.open_reports(from, before)? };
        ids.extend(of_window.into_iter().rev());
        before = from;
    }
    let more = ids.len() > limit || before > 1;
    ids.truncate(limit);
    let reports = ids.into_iter().map(|id| report(state, id)).collect::<Result<_, _>>()?;
    Ok(rpc::ReportsResult { reports, more })
}

fn report(state: &Reader<'_>, id: u64) -> Result<rpc::ReportInfo, StoreError> {
    let missing = || StoreError::damaged(&format!("report {id} is missing"));
    let record = state.report(id)?.ok_or_else(missing)?;
    let (conversation_id, sequence) = (record.conversation_id, record.sequence);
    let message = state.message(conversation_id, sequence)?;
    let edited_since = message.as_ref().is_some_and(|message| message.revision != record.revision);
    let message = match message {
        Some(message) if edited_since => Some(as_reported(state, &record, message)?),
        message => message,
    };
    let message = message.map(|message| join::message(state, conversation_id, sequence, message));
    let resolved_by = (record.resolved_ms != 0).then(|| join::user(state, record.resolved_by));
    Ok(rpc::ReportInfo {
        id,
        by: Some(join::user(state, record.by)?),
        created_ms: record.created_ms,
        reason: record.reason,
        conversation_id,
        message: message.transpose()?,
        resolved_ms: record.resolved_ms,
        resolved_by: resolved_by.transpose()?,
        resolution: record.resolution,
        edited_since,
    })
}

/// A message as it was when it was reported: what its author has made of it since is for its conversation. Without text when that
/// one is kept no longer.
fn as_reported(
    state: &Reader<'_>,
    report: &Report,
    mut message: StoredMessage,
) -> Result<StoredMessage, StoreError> {
    let then = state.revision(report.conversation_id, report.sequence, report.revision)?.unwrap_or_default();
    if message.deleted_ms == 0 {
        message.text = then.text;
    }
    message.revision = report.revision;
    message.edited_ms = if report.revision == 0 { 0 } else { then.log_time_ms };
    message.mentions.clear();
    message.mentions_all = false;
    Ok(message)
}

/// What was done that concerns others' rights, newest first.
pub(super) fn audit(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::AuditQuery,
) -> Result<rpc::AuditResult, Refusal> {
    must_be_admin(state, user)?;
    let end = state.counters()?.audit.saturating_add(1);
    let to = if query.before == 0 { end } else { query.before.min(end) };
    let from = to.saturating_sub(page(query.limit) as u64).max(1);
    let mut entries = Vec::new();
    if from < to {
        for (_, entry) in state.audit_entries(from, to)?.into_iter().rev() {
            let user_of = |id: u64| (id != 0).then(|| join::user(state, id)).transpose();
            entries.push(rpc::AuditEntry {
                index: entry.index,
                log_time_ms: entry.log_time_ms,
                by: user_of(entry.by)?,
                action: audit::word(entry.action).to_owned(),
                subject: user_of(entry.subject)?,
                conversation_id: entry.conversation_id,
                detail: entry.detail,
            });
        }
    }
    Ok(rpc::AuditResult { entries, next: if from > 1 { from } else { 0 } })
}
