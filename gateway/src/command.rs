//! From what a client asks to a command of the replica tier, and from its outcome back. Knows no socket.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Ack, Action, DoCommand, EditMessage, SendMessage};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::limits::CREATE_GROUP_MEMBERS_MAX;
use quorate_proto::rpc::{self, Command, Outcome, command, outcome, read_request, read_response};
use quorate_proto::text;

use crate::auth::Identity;
use crate::convert;
use crate::leader::SubmitError;
use crate::reads::{ReadError, Reader, request};

/// Names of a group that are looked up at the same time.
const LOOKUPS_MAX: usize = 8;
/// What a client is told to wait when the replica tier is busy or leaderless, ms.
const RETRY_MS: u64 = 500;

/// A command for which this gateway vouches.
pub fn by(
    identity: &Identity,
    command_id: ClientMessageId,
    first_sent_ms: u64,
    action: command::Action,
) -> Command {
    Command {
        user_id: identity.user_id,
        session_id: identity.session.as_bytes().to_vec().into(),
        command_id: command_id.as_bytes().to_vec().into(),
        first_sent_ms,
        action: Some(action),
    }
}

/// A message.
pub fn send(identity: &Identity, send: &SendMessage) -> Command {
    let action = command::Action::Send(rpc::Send {
        conversation_id: send.conversation,
        text: send.text.clone(),
        reply_to: send.reply_to.unwrap_or(0),
    });
    by(identity, send.client_message_id, send.first_sent, action)
}

/// Another text for a message.
pub fn edit(identity: &Identity, edit: &EditMessage) -> Command {
    let action = command::Action::Edit(rpc::Edit {
        conversation_id: edit.conversation,
        sequence: edit.sequence,
        text: edit.text.clone(),
        if_revision: edit.if_revision,
    });
    by(identity, edit.client_message_id, edit.first_sent, action)
}

/// A `do`: user names become ids here, for the machine knows only ids.
///
/// # Errors
/// When a name is not known or cannot be looked up, or a field is not allowed.
pub async fn action(
    reader: &Reader,
    identity: &Identity,
    seen: u64,
    asked: &DoCommand,
) -> Result<Command, WireError> {
    let find = |name: &str| find_user(reader.clone(), identity.clone(), seen, name.to_owned());
    let action = match &asked.command {
        Action::CreateDirect { user } => {
            command::Action::CreateDirect(rpc::CreateDirect { peer_id: find(user).await? })
        }
        Action::CreateGroup { title, members } => {
            let title = text::canonical_title(title).map_err(|error| invalid(&error.to_string()))?;
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
            command::Action::CreateGroup(rpc::CreateGroup { title, member_ids })
        }
        Action::AddMember { conversation, user } => command::Action::AddMember(rpc::AddMember {
            conversation_id: *conversation,
            user_id: find(user).await?,
        }),
        Action::RemoveMember { conversation, user } => command::Action::RemoveMember(rpc::RemoveMember {
            conversation_id: *conversation,
            user_id: find(user).await?,
        }),
    };
    Ok(by(identity, asked.client_message_id, asked.first_sent, action))
}

fn invalid(message: &str) -> WireError {
    WireError::new(ErrorCode::Invalid, message)
}

/// The user of that exact name.
async fn find_user(reader: Reader, identity: Identity, seen: u64, name: String) -> Result<u64, WireError> {
    let name = text::canonical_name(&name).map_err(|error| invalid(&error.to_string()))?;
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
            return Err(WireError::new(ErrorCode::Internal, "a replica answered something else"));
        };
        match found.users.into_iter().next() {
            Some(user) if user.name == name => return Ok(user.id),
            _ => {}
        }
    }
    Err(WireError::new(ErrorCode::NotFound, format!("there is no user {name:?}")))
}

/// What a read's failure is to a client.
pub fn read_error(error: ReadError) -> WireError {
    match error {
        ReadError::Rejected(rejected) => convert::rejected(&rejected),
        ReadError::Unauthenticated => WireError::new(ErrorCode::Unauthenticated, "sign in again"),
        ReadError::Behind | ReadError::Unreachable(_) => {
            WireError::new(ErrorCode::Unavailable, error.to_string()).retry_after(RETRY_MS)
        }
    }
}

/// What a submit's failure is to a client.
pub fn submit_error(error: SubmitError) -> WireError {
    match error {
        SubmitError::Overloaded => {
            WireError::new(ErrorCode::Overloaded, "too many commands wait").retry_after(RETRY_MS)
        }
        SubmitError::Unavailable => {
            let message = "no leader answered in time: send it again under the same id";
            WireError::new(ErrorCode::Unavailable, message).retry_after(RETRY_MS)
        }
        SubmitError::Malformed => {
            let message = "this cluster does not know that command yet: not all of its replicas are upgraded";
            WireError::new(ErrorCode::Unsupported, message)
        }
    }
}

/// A client's answer from a command's outcome.
///
/// # Errors
/// The refusal, alike on every replica.
pub fn settle(outcome: Outcome, client_message_id: ClientMessageId) -> Result<Ack, WireError> {
    let mut ack = Ack {
        client_message_id,
        conversation: None,
        sequence: None,
        version: None,
        revision: None,
        index: outcome.index,
        term: outcome.term,
        log_time: outcome.log_time_ms,
        replay: outcome.replay,
    };
    match outcome.result {
        Some(outcome::Result::Rejected(rejected)) => return Err(convert::rejected(&rejected)),
        Some(outcome::Result::Conversation(ready)) => ack.conversation = Some(ready.conversation_id),
        Some(outcome::Result::Message(sent)) => {
            ack.conversation = Some(sent.conversation_id);
            ack.sequence = Some(sent.sequence);
            ack.version = Some(sent.version);
        }
        Some(outcome::Result::Edited(edited)) => {
            ack.conversation = Some(edited.conversation_id);
            ack.sequence = Some(edited.sequence);
            ack.version = Some(edited.version);
            ack.revision = Some(edited.revision);
        }
        Some(
            outcome::Result::Done(_)
            | outcome::Result::User(_)
            | outcome::Result::Attempt(_)
            | outcome::Result::Refreshed(_),
        )
        | None => {}
    }
    Ok(ack)
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc::{MessageSent, Rejected};
    use tonic::Status;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Fake, tier};

    const ID: ClientMessageId = ClientMessageId(Uuid::from_u128(5));

    #[test]
    fn a_replayed_outcome_is_an_ack_that_says_so() {
        let outcome = Outcome {
            index: 9,
            term: 2,
            log_time_ms: 7,
            replay: true,
            result: Some(outcome::Result::Message(MessageSent {
                conversation_id: 3,
                sequence: 4,
                version: 5,
            })),
        };
        let ack = settle(outcome, ID).unwrap();
        assert!(ack.replay);
        assert_eq!((ack.conversation, ack.sequence, ack.version), (Some(3), Some(4), Some(5)));
        assert_eq!((ack.index, ack.term, ack.log_time, ack.client_message_id), (9, 2, 7, ID));
    }

    #[test]
    fn a_refusal_keeps_its_word_and_is_final() {
        let message = "you are not a member".into();
        let rejected = Rejected { code: "forbidden".into(), message, revision: None };
        let outcome = Outcome { result: Some(outcome::Result::Rejected(rejected)), ..Outcome::default() };
        let error = settle(outcome, ID).unwrap_err();
        assert_eq!((error.code, error.temporary), (ErrorCode::Forbidden, false));
    }

    #[test]
    fn a_conflict_carries_the_revision_that_is_there() {
        let rejected = Rejected { code: "conflict".into(), message: "changed".into(), revision: Some(3) };
        let outcome = Outcome { result: Some(outcome::Result::Rejected(rejected)), ..Outcome::default() };
        let error = settle(outcome, ID).unwrap_err();
        assert_eq!((error.code, error.temporary, error.revision), (ErrorCode::Conflict, false, Some(3)));
    }

    #[test]
    fn what_is_not_known_is_temporary_and_never_called_failed() {
        let error = submit_error(SubmitError::Unavailable);
        assert_eq!((error.code, error.temporary), (ErrorCode::Unavailable, true));
        assert!(error.retry_ms.is_some());
    }

    /// A directory that knows one user, once it is asked to be sure.
    fn directory(asked: &rpc::ReadRequest) -> rpc::ReadResponse {
        let ann = rpc::UserRef { id: 7, name: "ann".into(), ..Default::default() };
        let users = if asked.linearizable { vec![ann] } else { Vec::new() };
        let result = read_response::Result::Directory(rpc::DirectoryResult { users });
        rpc::ReadResponse { result: Some(result), ..Default::default() }
    }

    #[tokio::test]
    async fn nobody_is_believed_only_of_a_replica_that_is_sure() {
        let (fake, _feeds) = Fake::start(1).await;
        fake.set(|state| state.read = Box::new(|asked| Ok(directory(&asked))));
        let (_, reader, _) = tier(&[&fake]);
        let identity = Identity {
            user_id: 1,
            session: Uuid::from_u128(1),
            name: "bob".into(),
            ends_ms: 0,
            read_only: false,
        };
        let find = |name: &str| find_user(reader.clone(), identity.clone(), 0, name.into());
        assert_eq!(find("ann").await, Ok(7), "the replica that was asked first lags");
        assert_eq!(find("eve").await.unwrap_err().code, ErrorCode::NotFound);
        fake.set(|state| {
            state.read = Box::new(|asked| {
                if asked.linearizable { Err(Status::unavailable("no leader")) } else { Ok(directory(&asked)) }
            });
        });
        let unsure = find("ann").await.unwrap_err();
        assert_eq!((unsure.code, unsure.temporary), (ErrorCode::Unavailable, true));
    }
}
