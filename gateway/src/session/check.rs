//! What may be sent at all, told before anything is forwarded: by sockets and REST alike.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Action, SendMessage};
use quorate_proto::limits::ATTACHMENTS_MAX;
use quorate_proto::text;

use crate::command::texts;

/// A text that may be sent, here and by the contract.
///
/// # Errors
/// What the client is told.
pub(crate) fn check_text(text: &str, bytes_max: usize) -> Result<(), WireError> {
    if let Err(problem) = text::check_message(text) {
        let code = match problem {
            text::TextError::TooLong => ErrorCode::TooLarge,
            _ => ErrorCode::Invalid,
        };
        return Err(WireError::new(code, problem.to_string()));
    }
    if text.len() > bytes_max {
        return Err(WireError::new(
            ErrorCode::TooLarge,
            format!("a message has at most {bytes_max} bytes here"),
        ));
    }
    Ok(())
}

/// A message that may be sent: with a text or files of its own, or one that is handed on and has neither.
///
/// # Errors
/// What the client is told.
pub(crate) fn check_send(send: &SendMessage, bytes_max: usize) -> Result<(), WireError> {
    if send.attachments.len() > ATTACHMENTS_MAX {
        let text = format!("a message shows at most {ATTACHMENTS_MAX} files");
        return Err(WireError::new(ErrorCode::TooLarge, text));
    }
    let is_bare = send.text.is_empty() && send.attachments.is_empty();
    match send.forward {
        // Files need no words.
        None if send.text.is_empty() && !is_bare => Ok(()),
        None => check_text(&send.text, bytes_max),
        Some(_) if is_bare => Ok(()),
        Some(_) => {
            let message = "a message that is handed on has no text or files of its own: the servers take them from there";
            Err(WireError::new(ErrorCode::Invalid, message))
        }
    }
}

/// The texts of a `do`, which have the bounds of a message's.
///
/// # Errors
/// What the client is told.
pub(crate) fn check_action(action: &Action, bytes_max: usize) -> Result<(), WireError> {
    match texts(action) {
        Some((text, true)) if text.trim().is_empty() => Ok(()),
        Some((text, _)) => check_text(text, bytes_max),
        None => Ok(()),
    }
}
