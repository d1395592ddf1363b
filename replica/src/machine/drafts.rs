//! What a user has begun to write, for her other devices.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::TEXT_BYTES_MAX;
use quorate_proto::rpc::{self, outcome};

use super::records::{Draft, EventKind};
use super::{Decision, MessageTables as _, Step, done, rejected};
use crate::store::View;

impl<V: View> Step<'_, V> {
    /// One draft a conversation. Sending does not take it away: the client that sent says that it is empty now.
    pub(super) fn set_draft(&mut self, by: u64, draft: &rpc::SetDraft) -> Decision<outcome::Result> {
        let id = draft.conversation_id;
        if draft.text.len() > TEXT_BYTES_MAX {
            return rejected(ErrorCode::TooLarge, "a draft has no more bytes than a message");
        }
        let (conversation, _) = self.joined(by, id)?;
        let before = self.state.draft(by, id)?;
        let is_empty = draft.text.is_empty() && draft.reply_to == 0;
        let is_same = match &before {
            None => is_empty,
            Some(before) => before.text == draft.text && before.reply_to == draft.reply_to,
        };
        if is_same {
            return Ok(done());
        }
        if draft.reply_to > conversation.sequence {
            return rejected(ErrorCode::Invalid, "the message answered to does not exist");
        }
        let log_time_ms = self.context.log_time_ms;
        let record = Draft { text: draft.text.clone(), reply_to: draft.reply_to, log_time_ms };
        self.state.put_draft(by, id, (!is_empty).then_some(&record));
        self.push_me(by, EventKind::MeDraft(id))?;
        Ok(done())
    }
}
