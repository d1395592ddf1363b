//! Messages to be sent and reminders to be given at a log time.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{SCHEDULE_AHEAD_MS_MAX, SCHEDULED_MAX, TEXT_BYTES_MAX};
use quorate_proto::rpc::me_scheduled::State;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::messages::NewMessage;
use super::records::{DueKind, DueScheduled, EventKind, ScheduledRecord};
use super::{Decision, MessageTables as _, Refusal, Step, Tables as _, done, rejected, scopes};
use crate::store::{StoreError, View};

/// The client message id of a message whose time has come: the same on every replica and in every replay of the log.
fn client_message_id(user_id: u64, id: u64) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"scheduled");
    hasher.update(&user_id.to_be_bytes());
    hasher.update(&id.to_be_bytes());
    Bytes::copy_from_slice(&hasher.finalize().as_bytes()[..16])
}

/// How long the text of what could not be sent is kept, of log time: whoever was away finds it when she is back.
const FAILED_KEPT_MS: u64 = 30 * 24 * 3_600 * 1_000;

impl ScheduledRecord {
    /// Log time under which it is in the list of what is due, ms.
    pub fn listed_ms(&self) -> u64 {
        match self.failed_ms {
            0 => self.due_ms,
            failed_ms => failed_ms.saturating_add(FAILED_KEPT_MS),
        }
    }

    /// As its owner is told of it.
    pub fn item(&self, id: u64) -> rpc::ScheduledItem {
        rpc::ScheduledItem {
            id,
            conversation_id: self.conversation_id,
            text: self.text.clone(),
            reply_to: self.reply_to,
            due_ms: self.due_ms,
            remind_of: self.remind_of,
        }
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn schedule(&mut self, by: u64, schedule: &rpc::Schedule) -> Decision<outcome::Result> {
        let rpc::Schedule { conversation_id, reply_to, due_ms, remind_of, .. } = *schedule;
        let now = self.context.log_time_ms;
        if due_ms <= now {
            return rejected(ErrorCode::Invalid, "this time has passed");
        }
        if due_ms - now > SCHEDULE_AHEAD_MS_MAX {
            return rejected(ErrorCode::Invalid, "this is more than a year ahead");
        }
        if remind_of == 0 {
            text::check_message(&schedule.text)?;
            let (mut conversation, member) = self.joined(by, conversation_id)?;
            self.may_write(by, conversation_id, &mut conversation, &member)?;
            if reply_to > conversation.sequence {
                return rejected(ErrorCode::Invalid, "the message answered to does not exist");
            }
        } else {
            if schedule.text.len() > TEXT_BYTES_MAX {
                return rejected(ErrorCode::TooLarge, "a note has no more bytes than a message");
            }
            self.seen_message(by, conversation_id, remind_of)?;
        }
        let Some(mut user) = self.state.user(by)? else {
            return rejected(ErrorCode::NotFound, "there is no such user");
        };
        if user.scheduled >= SCHEDULED_MAX {
            return rejected(ErrorCode::TooLarge, "too much is scheduled: take something back first");
        }
        user.scheduled += 1;
        user.scheduled_last += 1;
        let id = user.scheduled_last;
        let due_number = self.due(due_ms, DueKind::Scheduled(DueScheduled { user_id: by, id }))?;
        let text = schedule.text.clone();
        let record =
            ScheduledRecord { conversation_id, text, reply_to, due_ms, remind_of, due_number, failed_ms: 0 };
        self.state.put_scheduled(by, id, Some(&record));
        self.state.put_known_user(by, &user);
        // The text stays where it can be taken away; it is joined when the event is read.
        let item = rpc::ScheduledItem { text: String::new(), ..record.item(id) };
        self.tell_scheduled(by, item, State::Waiting, "", 0)?;
        Ok(outcome::Result::Scheduled(rpc::Scheduled { id }))
    }

    pub(super) fn cancel_scheduled(
        &mut self,
        by: u64,
        cancel: &rpc::CancelScheduled,
    ) -> Decision<outcome::Result> {
        let Some(record) = self.state.scheduled(by, cancel.id)? else {
            return rejected(ErrorCode::NotFound, "nothing is scheduled under this number any more");
        };
        self.not_due(record.listed_ms(), record.due_number)?;
        self.forget_scheduled(by, cancel.id)?;
        let item = rpc::ScheduledItem { text: String::new(), ..record.item(cancel.id) };
        self.tell_scheduled(by, item, State::Cancelled, "", 0)?;
        Ok(done())
    }

    /// The time of something scheduled has come: whether it may be done is decided now. Or that of what could not be sent then.
    pub(super) fn fire_scheduled(&mut self, user_id: u64, id: u64) -> Result<(), StoreError> {
        let Some(record) = self.state.scheduled(user_id, id)? else { return Ok(()) };
        if record.failed_ms != 0 {
            return self.forget_scheduled(user_id, id);
        }
        let fired = match self.state.user(user_id)? {
            Some(user) if user.deleted_ms != 0 => return self.forget_scheduled(user_id, id),
            Some(user) if user.disabled_ms != 0 => rejected(ErrorCode::Forbidden, "your account is disabled"),
            Some(_) if !scopes::can_act(&self.state, user_id)? => {
                rejected(ErrorCode::Forbidden, "the account of the bot's owner is disabled or deleted")
            }
            _ => self.fire(user_id, id, &record),
        };
        match fired {
            Ok(sequence) => {
                self.forget_scheduled(user_id, id)?;
                let mut item = record.item(id);
                if sequence != 0 {
                    // What was sent stands in the conversation, and is erased there.
                    item.text.clear();
                }
                self.tell_scheduled(user_id, item, State::Fired, "", sequence)
            }
            Err(Refusal::Rejected(_, why)) => self.keep_failed(user_id, id, record, &why),
            Err(Refusal::Conflict(_)) => self.keep_failed(user_id, id, record, "conflict"),
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    /// Her text comes back to her, from a record that is forgotten some day, and not from the event, which never is.
    fn keep_failed(
        &mut self,
        user_id: u64,
        id: u64,
        mut record: ScheduledRecord,
        why: &str,
    ) -> Result<(), StoreError> {
        record.failed_ms = self.context.log_time_ms.max(1);
        let kind = DueKind::Scheduled(DueScheduled { user_id, id });
        record.due_number = self.due(record.listed_ms(), kind)?;
        self.state.put_scheduled(user_id, id, Some(&record));
        let item = rpc::ScheduledItem { text: String::new(), ..record.item(id) };
        self.tell_scheduled(user_id, item, State::Failed, why, 0)
    }

    /// Returns the sequence of what was sent; 0 for a reminder.
    fn fire(&mut self, user_id: u64, id: u64, record: &ScheduledRecord) -> Decision<u64> {
        if record.remind_of != 0 {
            self.joined(user_id, record.conversation_id)?;
            return Ok(0);
        }
        text::check_message(&record.text)?;
        let new = NewMessage {
            client_message_id: client_message_id(user_id, id),
            text: record.text.clone(),
            reply_to: record.reply_to,
            forwarded: (0, 0),
            attachments: Vec::new(),
            is_scheduled: true,
        };
        let (sequence, _) = self.write_message(user_id, record.conversation_id, new)?;
        Ok(sequence)
    }

    fn forget_scheduled(&mut self, user_id: u64, id: u64) -> Result<(), StoreError> {
        self.state.put_scheduled(user_id, id, None);
        if let Some(mut user) = self.state.user(user_id)? {
            user.scheduled = user.scheduled.saturating_sub(1);
            self.state.put_known_user(user_id, &user);
        }
        Ok(())
    }

    fn tell_scheduled(
        &mut self,
        user_id: u64,
        item: rpc::ScheduledItem,
        state: State,
        why: &str,
        sequence: u64,
    ) -> Result<(), StoreError> {
        let why = why.to_owned();
        let told = rpc::MeScheduled { item: Some(item), state: state.into(), why, sequence };
        self.push_me(user_id, EventKind::MeScheduled(told))
    }
}
