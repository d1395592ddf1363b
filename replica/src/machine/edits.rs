//! Edits: a message's text as a register that is compared and set.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::REVISIONS_KEPT_MAX;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::records::{EditedEvent, EventKind, Revision};
use super::{Decision, Refusal, Step, Tables as _, VERSION_DOMAIN, rejected};
use crate::store::View;

/// The machine version from which on messages are edited.
pub(super) const SINCE_VERSION: u32 = 2;

impl<V: View> Step<'_, V> {
    pub(super) fn edit(&mut self, by: u64, edit: &rpc::Edit) -> Decision<outcome::Result> {
        if self.context.machine_version < SINCE_VERSION {
            return rejected(
                ErrorCode::Unsupported,
                "this cluster does not edit messages yet: not all of its replicas are upgraded",
            );
        }
        text::check_message(&edit.text)?;
        let (id, sequence) = (edit.conversation_id, edit.sequence);
        let (mut conversation, member) = self.joined(by, id)?;
        let found = self.state.message(id, sequence)?.filter(|_| sequence > member.base_sequence);
        let Some(mut message) = found else {
            return rejected(ErrorCode::NotFound, "there is no such message");
        };
        if message.from != by {
            return rejected(ErrorCode::Forbidden, "only who wrote a message may edit it");
        }
        let is_domain = self.context.machine_version >= VERSION_DOMAIN;
        if message.deleted_ms != 0 {
            return rejected(ErrorCode::NotFound, "this message was deleted");
        }
        if message.forwarded_from != 0 {
            return rejected(ErrorCode::Forbidden, "a message that was handed on stays as it was written");
        }
        if is_domain {
            self.may_write(by, id, &mut conversation, &member)?;
        }
        if edit.if_revision.is_some_and(|expected| expected != message.revision) {
            return Err(Refusal::Conflict(message.revision));
        }
        let (index, log_time_ms) = match message.revision {
            0 => (message.index, message.log_time_ms),
            _ => (message.edited_index, message.edited_ms),
        };
        let text = std::mem::replace(&mut message.text, edit.text.clone());
        self.state.put_revision(id, sequence, message.revision, &Revision { text, index, log_time_ms });
        if let Some(oldest) = message.revision.checked_sub(REVISIONS_KEPT_MAX) {
            self.state.delete_revision(id, sequence, oldest);
        }
        message.revision += 1;
        message.edited_index = self.context.index;
        message.edited_ms = self.context.log_time_ms;
        let revision = message.revision;
        // Who was named by the text before is told that it is another.
        let mut concerned = message.mentions.clone();
        if is_domain {
            let named = self.named((id, &conversation), (by, &member), &message.text)?;
            self.set_named((id, sequence), &mut message, named)?;
        }
        self.state.put_message(id, sequence, &message);
        self.push_event(id, &mut conversation, EventKind::Edited(EditedEvent { sequence, revision, by }))?;
        concerned.extend_from_slice(&message.mentions);
        self.tell_hooks(by, (id, &conversation), &concerned)?;
        self.state.put_conversation(id, &conversation);
        let version = conversation.version;
        Ok(outcome::Result::Edited(rpc::MessageEdited { conversation_id: id, sequence, version, revision }))
    }
}
