//! Messages that a user wants to come back to.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::SAVED_MAX;
use quorate_proto::rpc::{self, outcome};

use super::records::{EventKind, Listed};
use super::{Decision, MessageTables as _, Step, Tables as _, done, rejected};
use crate::store::View;

impl<V: View> Step<'_, V> {
    /// What was saved stays in her list when it is deleted or she leaves; whether she sees it is decided when it is read.
    pub(super) fn save_message(&mut self, by: u64, save: &rpc::SaveMessage) -> Decision<outcome::Result> {
        let (conversation_id, sequence) = (save.conversation_id, save.sequence);
        let saved_at = self.state.saved_at(by, conversation_id, sequence)?;
        let Some(mut user) = self.state.user(by)? else {
            return rejected(ErrorCode::NotFound, "there is no such user");
        };
        match (save.on, saved_at) {
            (true, None) => {
                self.seen_message(by, conversation_id, sequence)?;
                if user.saved >= SAVED_MAX {
                    return rejected(
                        ErrorCode::TooLarge,
                        "too many messages are saved: take some away first",
                    );
                }
                user.saved += 1;
                let record = Listed { conversation_id, sequence, log_time_ms: self.context.log_time_ms };
                // One command an entry: the log index is a number that rises.
                self.state.put_saved(by, self.context.index, &record);
            }
            (false, Some(number)) => {
                user.saved = user.saved.saturating_sub(1);
                self.state.delete_saved(by, number, conversation_id, sequence);
            }
            (true, Some(_)) | (false, None) => return Ok(done()),
        }
        self.state.put_known_user(by, &user);
        let on = save.on;
        self.push_me(by, EventKind::MeSaved(rpc::MeSaved { conversation_id, sequence, on }))?;
        Ok(done())
    }
}
