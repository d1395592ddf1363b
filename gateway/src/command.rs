//! From what a client asks to a command of the replica tier, and from its outcome back. Knows no socket.

mod actions;

use bytes::Bytes;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Ack, AttachFile, DeleteMessages, EditMessage, PinMessage, ReactTo, SendMessage};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::limits::DELETE_MESSAGES_MAX;
use quorate_proto::rpc::{self, Command, Outcome, command, outcome};
use quorate_proto::text;

pub use actions::{action, find_anybody, texts};

use crate::auth::Identity;
use crate::convert;
use crate::leader::SubmitError;
use crate::reads::ReadError;

/// Bytes by which the replicas know an invite.
pub const CODE_HASH_BYTES: usize = 16;
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
        forward: send
            .forward
            .map(|at| rpc::MessageRef { conversation_id: at.conversation, sequence: at.sequence }),
        attachments: send.attachments.iter().map(attach).collect(),
    });
    by(identity, send.client_message_id, send.first_sent, action)
}

fn attach(file: &AttachFile) -> rpc::AttachFile {
    rpc::AttachFile {
        file_id: file.file.as_bytes().to_vec().into(),
        conversation_id: file.conversation.unwrap_or(0),
        sequence: file.sequence.unwrap_or(0),
    }
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

/// Messages taken back, or out of the caller's own sight.
///
/// # Errors
/// When the range is none.
pub fn delete(identity: &Identity, asked: &DeleteMessages) -> Result<Command, WireError> {
    let (conversation_id, first) = (asked.conversation, asked.sequence);
    let last = asked.through.unwrap_or(first);
    if last < first {
        return Err(invalid("`through` is the last message: not before `sequence`"));
    }
    if last - first >= DELETE_MESSAGES_MAX {
        let message = format!("at most {DELETE_MESSAGES_MAX} messages at a time");
        return Err(WireError::new(ErrorCode::TooLarge, message));
    }
    let action = if asked.for_me {
        command::Action::HideMessages(rpc::HideMessages { conversation_id, first, last })
    } else {
        command::Action::DeleteMessages(rpc::DeleteMessages { conversation_id, first, last })
    };
    Ok(by(identity, asked.client_message_id, asked.first_sent, action))
}

/// An emoji on a message, or off it.
///
/// # Errors
/// When it is no emoji.
pub fn react(identity: &Identity, asked: &ReactTo) -> Result<Command, WireError> {
    text::check_emoji(&asked.emoji).map_err(|error| invalid(&error.to_string()))?;
    let action = command::Action::React(rpc::React {
        conversation_id: asked.conversation,
        sequence: asked.sequence,
        emoji: asked.emoji.clone(),
        on: asked.on,
    });
    Ok(by(identity, asked.client_message_id, asked.first_sent, action))
}

/// A message pinned, or no longer.
pub fn pin(identity: &Identity, asked: &PinMessage) -> Command {
    let action = command::Action::Pin(rpc::Pin {
        conversation_id: asked.conversation,
        sequence: asked.sequence,
        on: asked.on,
    });
    by(identity, asked.client_message_id, asked.first_sent, action)
}

/// What the replicas know of an invite's code, which only its holders know: the first 16 bytes of its BLAKE3.
///
/// # Errors
/// When it cannot be a code.
pub fn code_hash(code: &str) -> Result<Bytes, WireError> {
    text::check_invite_code(code).map_err(|error| invalid(&error.to_string()))?;
    Ok(Bytes::copy_from_slice(&blake3::hash(code.as_bytes()).as_bytes()[..CODE_HASH_BYTES]))
}

fn invalid(message: &str) -> WireError {
    WireError::new(ErrorCode::Invalid, message)
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
        scheduled: None,
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
        Some(outcome::Result::Changed(changed)) => {
            ack.conversation = convert::some(changed.conversation_id);
            ack.sequence = convert::some(changed.sequence);
            ack.version = convert::some(changed.version);
        }
        Some(outcome::Result::Scheduled(scheduled)) => ack.scheduled = Some(scheduled.id),
        Some(
            outcome::Result::Done(_)
            | outcome::Result::User(_)
            | outcome::Result::Attempt(_)
            | outcome::Result::Refreshed(_)
            | outcome::Result::File(_),
        )
        | None => {}
    }
    Ok(ack)
}

#[cfg(test)]
mod tests {
    use quorate_proto::frame::Request;
    use quorate_proto::rpc::{MessageSent, Rejected};
    use uuid::Uuid;

    use super::*;

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

    fn ana() -> Identity {
        let session = Uuid::from_u128(9);
        Identity {
            user_id: 1,
            session,
            name: "ana".into(),
            ends_ms: 0,
            read_only: false,
            scopes: 0,
            only_conversation: 0,
        }
    }

    fn request(json: &str) -> Request {
        serde_json::from_str::<quorate_proto::frame::ClientFrame>(json).expect(json).request
    }

    const KEY: &str = r#""client_message_id":"00000000-0000-0000-0000-000000000005","first_sent":7"#;

    #[test]
    fn frames_about_messages_become_commands() {
        let asked =
            request(&format!(r#"{{"type":"delete","conversation":3,"sequence":4,"through":6,{KEY}}}"#));
        let Request::Delete(asked) = asked else { panic!("{asked:?}") };
        let command = delete(&ana(), &asked).unwrap();
        assert_eq!((command.user_id, command.first_sent_ms), (1, 7));
        assert_eq!(command.command_id, ID.as_bytes().to_vec());
        let all = rpc::DeleteMessages { conversation_id: 3, first: 4, last: 6 };
        assert_eq!(command.action, Some(command::Action::DeleteMessages(all)));
        let mine = DeleteMessages { through: None, for_me: true, ..asked.clone() };
        let hidden = rpc::HideMessages { conversation_id: 3, first: 4, last: 4 };
        let command = delete(&ana(), &mine).unwrap();
        assert_eq!(command.action, Some(command::Action::HideMessages(hidden)));
        let refused = |through| delete(&ana(), &DeleteMessages { through, ..asked.clone() }).map(|_| ());
        assert_eq!(refused(Some(3)).unwrap_err().code, ErrorCode::Invalid);
        assert_eq!(refused(Some(104)).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(refused(Some(103)), Ok(()));

        let asked = request(&format!(
            r#"{{"type":"react","conversation":3,"sequence":4,"emoji":"👍","on":true,{KEY}}}"#
        ));
        let Request::React(asked) = asked else { panic!("{asked:?}") };
        let wanted = rpc::React { conversation_id: 3, sequence: 4, emoji: "👍".into(), on: true };
        assert_eq!(react(&ana(), &asked).unwrap().action, Some(command::Action::React(wanted)));
        let word = ReactTo { emoji: "no".into(), ..asked };
        assert_eq!(react(&ana(), &word).unwrap_err().code, ErrorCode::Invalid);

        let asked = request(&format!(r#"{{"type":"pin","conversation":3,"sequence":4,"on":false,{KEY}}}"#));
        let Request::Pin(asked) = asked else { panic!("{asked:?}") };
        let wanted = rpc::Pin { conversation_id: 3, sequence: 4, on: false };
        assert_eq!(pin(&ana(), &asked).action, Some(command::Action::Pin(wanted)));

        let forward = r#""forward":{"conversation":8,"sequence":9}"#;
        let asked = request(&format!(r#"{{"type":"send","conversation":3,"text":"",{forward},{KEY}}}"#));
        let Request::Send(asked) = asked else { panic!("{asked:?}") };
        let Some(command::Action::Send(sent)) = send(&ana(), &asked).action else { panic!("no send") };
        assert_eq!(sent.forward, Some(rpc::MessageRef { conversation_id: 8, sequence: 9 }));
    }

    #[test]
    fn an_ack_says_what_became_of_a_change() {
        let settled = |result| settle(Outcome { result: Some(result), ..Outcome::default() }, ID).unwrap();
        let changed = rpc::Changed { conversation_id: 3, version: 9, sequence: 4 };
        let ack = settled(outcome::Result::Changed(changed));
        assert_eq!((ack.conversation, ack.version, ack.sequence), (Some(3), Some(9), Some(4)));
        let nothing = rpc::Changed { conversation_id: 3, version: 0, sequence: 0 };
        let ack = settled(outcome::Result::Changed(nothing));
        assert_eq!((ack.conversation, ack.version, ack.sequence), (Some(3), None, None));
        let ack = settled(outcome::Result::Scheduled(rpc::Scheduled { id: 6 }));
        assert_eq!((ack.scheduled, ack.conversation), (Some(6), None));
    }
}
