//! What a notification says of a message that calls for the reader.

use quorate_proto::frame::ConversationKind;
use quorate_proto::ids::{ConversationId, Sequence};

use super::files::said;
use super::people::{called, one_line};
use crate::client::Client;
use crate::words::tf;

/// A notification's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who wrote, and where.
    pub title: String,
    /// What, in one line.
    pub text: String,
}

/// `None`: there is nothing to say any more. The message was read, on this device or another, it is gone, or it is silent there by now.
pub fn notice(client: &Client, id: ConversationId, sequence: Sequence) -> Option<Notice> {
    let conversation = client.conversation(id)?;
    if conversation.read >= sequence || conversation.muted(client.log_time()) {
        return None;
    }
    let (author, text) = match conversation.timeline.get(sequence) {
        Some(entry) if entry.message.deleted => return None,
        Some(entry) => (called(&entry.message.from), said(&entry.message)),
        None => {
            let preview = conversation.preview.as_ref().filter(|preview| !preview.gone)?;
            (called(&preview.from), preview.text.clone())
        }
    };
    let name = conversation.name(client.me().map_or(0, |me| me.id));
    let is_direct = conversation.kind == ConversationKind::Direct;
    let title = if is_direct { name } else { tf("{} in {}", &[&author, &name]) };
    Some(Notice { title, text: one_line(&text) })
}
