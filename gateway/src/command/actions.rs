//! The actions of a `do`: user names become ids here, for the machine knows only ids, and codes become hashes.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Action, DoCommand, NewAvatar, PreferencesChange};
use quorate_proto::limits::CREATE_GROUP_MEMBERS_MAX;
use quorate_proto::rpc::{self, Command, command, read_request, read_response};
use quorate_proto::text::{self, TextError};
use uuid::Uuid;

use super::{by, code_hash, invalid, read_error};
use crate::auth::Identity;
use crate::convert;
use crate::reads::{ReadError, Reader, request};

/// Names of a group that are looked up at the same time.
const LOOKUPS_MAX: usize = 8;

/// The texts of an action that have the bound of a message's, and whether they may be empty.
pub fn texts(action: &Action) -> Option<(&str, bool)> {
    match action {
        Action::Schedule { text, .. } => Some((text, false)),
        Action::Draft { text, .. } => Some((text, true)),
        Action::Remind { note, .. } => Some((note, true)),
        _ => None,
    }
}

/// The command of a `do`.
///
/// # Errors
/// When a name is not known or cannot be looked up, or a field is not allowed.
pub async fn action(
    reader: &Reader,
    identity: &Identity,
    seen: u64,
    asked: &DoCommand,
) -> Result<Command, WireError> {
    let action = match named(reader, identity, seen, &asked.command).await? {
        Some(action) => action,
        None => unnamed(&asked.command)?,
    };
    Ok(by(identity, asked.client_message_id, asked.first_sent, action))
}

/// Actions that name users; `None` for those that name nobody.
async fn named(
    reader: &Reader,
    identity: &Identity,
    seen: u64,
    asked: &Action,
) -> Result<Option<command::Action>, WireError> {
    let find = |name: &str| find_user(reader.clone(), identity.clone(), seen, name.to_owned());
    let find_anybody = |name: &str| find_anybody(reader.clone(), identity.clone(), seen, name.to_owned());
    Ok(Some(match asked {
        Action::CreateDirect { user } => {
            command::Action::CreateDirect(rpc::CreateDirect { peer_id: find(user).await? })
        }
        Action::CreateGroup { title, members, topic, public, announcement } => {
            let (title, topic) =
                (canonical(text::canonical_title(title))?, canonical(text::canonical_topic(topic))?);
            if members.len() > CREATE_GROUP_MEMBERS_MAX {
                let message = format!("name at most {CREATE_GROUP_MEMBERS_MAX} members; add more later");
                return Err(WireError::new(ErrorCode::TooLarge, message));
            }
            let lookups: Vec<_> = members.iter().map(|name| find(name)).collect();
            let mut member_ids: Vec<u64> = stream::iter(lookups).buffered(LOOKUPS_MAX).try_collect().await?;
            // The same request in another order is the same command.
            member_ids.sort_unstable();
            member_ids.dedup();
            member_ids.retain(|id| *id != identity.user_id);
            let (public, announcement) = (*public, *announcement);
            command::Action::CreateGroup(rpc::CreateGroup { title, member_ids, topic, public, announcement })
        }
        Action::AddMember { conversation, user } => command::Action::AddMember(rpc::AddMember {
            conversation_id: *conversation,
            user_id: find(user).await?,
        }),
        Action::RemoveMember { conversation, user } => command::Action::RemoveMember(rpc::RemoveMember {
            conversation_id: *conversation,
            user_id: find_anybody(user).await?,
        }),
        Action::SetRole { conversation, user, role } => command::Action::SetMemberRole(rpc::SetMemberRole {
            conversation_id: *conversation,
            user_id: find_anybody(user).await?,
            role: convert::role_number(*role),
        }),
        Action::Ban { conversation, user, on } => command::Action::Ban(rpc::Ban {
            conversation_id: *conversation,
            user_id: find_anybody(user).await?,
            on: *on,
        }),
        Action::Block { user, on } => {
            command::Action::Block(rpc::Block { user_id: find_anybody(user).await?, on: *on })
        }
        _ => return Ok(None),
    }))
}

/// Actions that name nobody.
fn unnamed(asked: &Action) -> Result<command::Action, WireError> {
    Ok(match asked {
        Action::ChangeConversation {
            conversation,
            title,
            topic,
            public,
            announcement,
            retention_ms,
            avatar,
        } => {
            let change = rpc::ChangeConversation {
                conversation_id: *conversation,
                title: title.as_deref().map(text::canonical_title).map(canonical).transpose()?,
                topic: topic.as_deref().map(text::canonical_topic).map(canonical).transpose()?,
                public: *public,
                announcement: *announcement,
                retention_ms: *retention_ms,
                avatar: avatar.map(file),
            };
            let empty = rpc::ChangeConversation { conversation_id: *conversation, ..Default::default() };
            if change == empty {
                return Err(invalid("say what is to change"));
            }
            command::Action::ChangeConversation(change)
        }
        Action::Join { conversation } => {
            command::Action::Join(rpc::Join { conversation_id: *conversation, ..rpc::Join::default() })
        }
        Action::JoinByInvite { code } => {
            command::Action::Join(rpc::Join { conversation_id: 0, code_hash: code_hash(code)? })
        }
        Action::MakeInvite { conversation, code, ttl_ms, uses_max } => {
            command::Action::MakeInvite(rpc::MakeInvite {
                conversation_id: *conversation,
                code_hash: code_hash(code)?,
                ttl_ms: *ttl_ms,
                uses_max: *uses_max,
            })
        }
        Action::EndInvite { conversation, invite } => {
            // Sixteen bytes in hexadecimal, as they are listed.
            let hash = Uuid::try_parse(invite)
                .map_err(|_| invalid("`invite` is the `id` in the list of invites"))?;
            command::Action::EndInvite(rpc::EndInvite {
                conversation_id: *conversation,
                code_hash: hash.as_bytes().to_vec().into(),
            })
        }
        Action::Prefer { conversation, change } => {
            if *change == PreferencesChange::default() {
                return Err(invalid("say what is to change"));
            }
            command::Action::Prefer(rpc::Prefer {
                conversation_id: *conversation,
                muted_until_ms: change.muted_until,
                favourite: change.favourite,
                archived: change.archived,
                unread_from: change.unread_from,
                no_receipts: change.no_receipts,
                suggestions: change.suggestions,
            })
        }
        Action::Save { conversation, sequence, on } => command::Action::SaveMessage(rpc::SaveMessage {
            conversation_id: *conversation,
            sequence: *sequence,
            on: *on,
        }),
        Action::Draft { conversation, text, reply_to } => command::Action::SetDraft(rpc::SetDraft {
            conversation_id: *conversation,
            text: text.clone(),
            reply_to: reply_to.unwrap_or(0),
        }),
        Action::Schedule { conversation, text, reply_to, at } => command::Action::Schedule(rpc::Schedule {
            conversation_id: *conversation,
            text: text.clone(),
            reply_to: reply_to.unwrap_or(0),
            due_ms: *at,
            remind_of: 0,
        }),
        Action::Remind { conversation, sequence, at, note } => {
            if *sequence == 0 {
                return Err(invalid("messages are counted from 1"));
            }
            command::Action::Schedule(rpc::Schedule {
                conversation_id: *conversation,
                text: note.clone(),
                reply_to: 0,
                due_ms: *at,
                remind_of: *sequence,
            })
        }
        Action::CancelScheduled { scheduled } => {
            command::Action::CancelScheduled(rpc::CancelScheduled { id: *scheduled })
        }
        Action::SetProfile { display_name, status, avatar } => {
            if display_name.is_none() && status.is_none() && avatar.is_none() {
                return Err(invalid("say what is to change"));
            }
            command::Action::SetProfile(rpc::SetProfile {
                display_name: display_name
                    .as_deref()
                    .map(text::canonical_title)
                    .map(canonical)
                    .transpose()?,
                status: status.as_deref().map(text::canonical_status).map(canonical).transpose()?,
                avatar: avatar.map(file),
            })
        }
        Action::Report { conversation, sequence, reason } => command::Action::Report(rpc::Report {
            conversation_id: *conversation,
            sequence: *sequence,
            reason: canonical(text::canonical_reason(reason))?,
        }),
        Action::CreateDirect { .. }
        | Action::CreateGroup { .. }
        | Action::AddMember { .. }
        | Action::RemoveMember { .. }
        | Action::SetRole { .. }
        | Action::Ban { .. }
        | Action::Block { .. } => return Err(WireError::new(ErrorCode::Internal, "an action was left out")),
    })
}

/// A picture between processes: a file's id, or nothing.
fn file(avatar: NewAvatar) -> Bytes {
    avatar.to_bytes().into()
}

fn canonical(text: Result<String, TextError>) -> Result<String, WireError> {
    text.map_err(|error| invalid(&error.to_string()))
}

fn nobody(name: &str) -> WireError {
    WireError::new(ErrorCode::NotFound, format!("there is no user {name:?}"))
}

fn something_else() -> WireError {
    WireError::new(ErrorCode::Internal, "a replica answered something else")
}

/// The user of that exact name, if the directory lists her.
async fn find_user(reader: Reader, identity: Identity, seen: u64, name: String) -> Result<u64, WireError> {
    let name = canonical(text::canonical_name(&name))?;
    if name == identity.name {
        return Ok(identity.user_id);
    }
    // The name itself is the first of those that begin with it.
    let query = read_request::Query::Directory(rpc::DirectoryQuery { pattern: name.clone(), limit: 1 });
    // Who just signed up elsewhere may be newer than what this session, and even this gateway, has heard of: "nobody" is
    // believed only of a replica that is sure to know everything acknowledged so far.
    let min_index = seen.max(reader.known_index());
    let near = request(min_index, identity.user_id, identity.session.as_bytes(), query);
    let sure = rpc::ReadRequest { linearizable: true, ..near.clone() };
    for asked in [near, sure] {
        let response = reader.read(asked).await.map_err(read_error)?;
        let Some(read_response::Result::Directory(found)) = response.result else {
            return Err(something_else());
        };
        match found.users.into_iter().next() {
            Some(user) if user.name == name => return Ok(user.id),
            _ => {}
        }
    }
    Err(nobody(&name))
}

/// The user of that exact name, also one whom the directory no longer lists: she can still be removed, banned or blocked.
///
/// # Errors
/// When nobody has the name or that cannot be said.
pub async fn find_anybody(
    reader: Reader,
    identity: Identity,
    seen: u64,
    name: String,
) -> Result<u64, WireError> {
    match find_user(reader.clone(), identity.clone(), seen, name.clone()).await {
        Err(error) if error.code == ErrorCode::NotFound => {}
        result => return result,
    }
    let name = canonical(text::canonical_name(&name))?;
    let query = read_request::Query::User(rpc::UserQuery { user_id: 0, name: name.clone() });
    let asked = request(seen, identity.user_id, identity.session.as_bytes(), query);
    match reader.read(rpc::ReadRequest { linearizable: true, ..asked }).await {
        Ok(response) => match response.result {
            Some(read_response::Result::User(found)) => {
                found.user.map(|user| user.id).ok_or_else(|| nobody(&name))
            }
            _ => Err(something_else()),
        },
        // A replica of the version before does not know the question: then the directory knows everybody.
        Err(ReadError::Rejected(rejected))
            if ErrorCode::from_word(&rejected.code) != ErrorCode::Unauthenticated =>
        {
            Err(nobody(&name))
        }
        Err(error) => Err(read_error(error)),
    }
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
