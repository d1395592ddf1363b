//! What a token is good for, and through which session somebody acts.
//!
//! Pure tables: each command and each read has its row, and a new one does not compile without. Never by a token, whatever its
//! scopes: the account itself and what administers others.

use quorate_proto::rpc::TokenScope;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::read_request::Query;

use super::Tables;
use super::records::Session;
use crate::store::StoreError;

/// Read, search and follow.
pub const READ: u32 = TokenScope::Read as u32;
/// Say something, and what goes with it.
pub const SEND: u32 = TokenScope::Send as u32;
/// Conversations and who is in them.
pub const MANAGE: u32 = TokenScope::Manage as u32;
/// All that there are.
pub const ALL: u32 = READ | SEND | MANAGE;

/// The scopes that a command needs, all of them; `None`: no token is enough.
pub fn scope_of(action: &Action) -> Option<u32> {
    match action {
        Action::Send(send) => {
            // What is handed on is read first: into a conversation of somebody else's it would be told to her.
            let hands_on =
                send.forward.is_some() || send.attachments.iter().any(|it| it.conversation_id != 0);
            Some(if hands_on { SEND | READ } else { SEND })
        }
        Action::MarkRead(_)
        | Action::Edit(_)
        | Action::DeleteMessages(_)
        | Action::HideMessages(_)
        | Action::React(_)
        | Action::Pin(_)
        | Action::SaveMessage(_)
        | Action::SetDraft(_)
        | Action::Schedule(_)
        | Action::CancelScheduled(_)
        | Action::Report(_)
        | Action::CommitFile(_)
        | Action::DeleteFile(_) => Some(SEND),
        Action::CreateDirect(_)
        | Action::CreateGroup(_)
        | Action::AddMember(_)
        | Action::RemoveMember(_)
        | Action::ChangeConversation(_)
        | Action::SetMemberRole(_)
        | Action::Ban(_)
        | Action::Join(_)
        | Action::MakeInvite(_)
        | Action::EndInvite(_)
        | Action::Prefer(_) => Some(MANAGE),
        Action::CreateUser(_)
        | Action::CreateSession(_)
        | Action::EndSession(_)
        | Action::EndOtherSessions(_)
        | Action::RefreshSession(_)
        | Action::CountAttempt(_)
        | Action::SetPassword(_)
        | Action::ResetPassword(_)
        | Action::SetRecoveryCodes(_)
        | Action::SetProfile(_)
        | Action::DeleteUser(_)
        | Action::Block(_)
        | Action::RecordSeen(_)
        | Action::CreateBot(_)
        | Action::MakeToken(_)
        | Action::EndToken(_)
        | Action::SetHook(_)
        | Action::LeaseHooks(_)
        | Action::SettleHook(_)
        | Action::ClaimAdmin(_)
        | Action::OfferAdmin(_)
        | Action::SetUserState(_)
        | Action::OfferReset(_)
        | Action::ResolveReport(_)
        | Action::RecordExport(_)
        | Action::RecordClusterChange(_)
        | Action::AddSigningKey(_)
        | Action::RemoveSigningKey(_)
        | Action::SetMachineVersion(_) => None,
    }
}

/// The scopes that a read needs; `None`: no token is enough, or a gateway asks for itself.
pub fn scope_of_read(query: &Query) -> Option<u32> {
    match query {
        // An admin's export, which administers others.
        Query::History(history) if history.as_admin => None,
        Query::Open(_)
        | Query::History(_)
        | Query::Since(_)
        | Query::Directory(_)
        | Query::Conversation(_)
        | Query::Revisions(_)
        | Query::Reactions(_)
        | Query::Pins(_)
        | Query::Mentions(_)
        | Query::Saved(_)
        | Query::Scheduled(_)
        | Query::Members(_)
        | Query::Channels(_)
        | Query::Invites(_)
        | Query::Invite(_)
        | Query::Bans(_)
        | Query::User(_)
        | Query::Blocked(_)
        | Query::Suggestions(_)
        | Query::Search(_)
        | Query::File(_)
        | Query::FileUse(_) => Some(READ),
        Query::Credentials(_)
        | Query::Keys(_)
        | Query::Sessions(_)
        | Query::Password(_)
        | Query::AdminUsers(_)
        | Query::AdminConversations(_)
        | Query::AdminSessions(_)
        | Query::Reports(_)
        | Query::Audit(_)
        | Query::Bots(_)
        | Query::Tokens(_)
        | Query::Hooks(_)
        | Query::Hook(_) => None,
    }
}

/// Why a session may not do what needs these scopes; `None` when it may.
fn lacks(session: &Session, needed: Option<u32>) -> Option<&'static str> {
    if !session.is_token() {
        return None;
    }
    let Some(needed) = needed else { return Some("no token is good for this: sign in") };
    let missing = needed & !session.scopes;
    Some(match missing {
        0 => return None,
        _ if missing & READ != 0 => "this token lacks the scope read",
        _ if missing & SEND != 0 => "this token lacks the scope send",
        _ => "this token lacks the scope manage",
    })
}

/// Why a session may not give a command; `None` when it may. One that is for a single conversation says something there, in words
/// of its own, and does nothing else.
pub fn forbids(session: &Session, action: &Action) -> Option<&'static str> {
    let only = session.only_conversation;
    if only != 0 {
        let is_within = match action {
            Action::Send(send) => {
                send.conversation_id == only && send.forward.is_none() && send.attachments.is_empty()
            }
            _ => false,
        };
        if !is_within {
            return Some("this token is for text into one conversation only");
        }
    }
    lacks(session, scope_of(action))
}

/// Why a session may not read something; `None` when it may.
pub fn forbids_read(session: &Session, query: &Query) -> Option<&'static str> {
    forbids_by(session, scope_of_read(query))
}

/// Why a session may not do something that is no command and needs these scopes; `None` when it may.
pub fn forbids_by(session: &Session, needed: Option<u32>) -> Option<&'static str> {
    if session.only_conversation != 0 {
        return Some("this token is for text into one conversation only");
    }
    lacks(session, needed)
}

/// Whether a user can act: she was neither disabled nor deleted, nor was the owner of a bot.
///
/// # Errors
/// When the disk fails.
pub fn can_act(state: &impl Tables, user_id: u64) -> Result<bool, StoreError> {
    let Some(user) = state.user(user_id)?.filter(|user| user.is_active()) else { return Ok(false) };
    Ok(!user.is_bot() || state.user(user.owner_id)?.is_some_and(|owner| owner.is_active()))
}

/// The session of who says that she is this user, if it lasts and she can act.
///
/// # Errors
/// When the disk fails.
pub fn session_of(
    state: &impl Tables,
    user_id: u64,
    session_id: &[u8],
    log_time_ms: u64,
) -> Result<Option<Session>, StoreError> {
    let found = state.session(session_id)?;
    let found = found.filter(|session| session.user_id == user_id && session.lasts(log_time_ms));
    Ok(match found {
        Some(session) if can_act(state, user_id)? => Some(session),
        _ => None,
    })
}
