//! Messages and read marks.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::records::{EventKind, StoredMessage};
use super::{Decision, Step, done, rejected};
use crate::store::View;

impl<V: View> Step<'_, V> {
    pub(super) fn send(
        &mut self,
        by: u64,
        client_message_id: &Bytes,
        send: &rpc::Send,
    ) -> Decision<outcome::Result> {
        text::check_message(&send.text)?;
        let id = send.conversation_id;
        let (mut conversation, mut member) = self.joined(by, id)?;
        if send.reply_to > conversation.sequence {
            return rejected(ErrorCode::Invalid, "the message answered to does not exist");
        }
        conversation.sequence += 1;
        let sequence = conversation.sequence;
        let message = StoredMessage {
            version: conversation.version + 1,
            index: self.context.index,
            log_time_ms: self.context.log_time_ms,
            from: by,
            client_message_id: client_message_id.clone(),
            text: send.text.clone(),
            reply_to: send.reply_to,
            ..StoredMessage::default()
        };
        self.state.put_new_message(id, sequence, &message);
        self.push_event(id, &mut conversation, EventKind::Message(sequence))?;
        // Who writes has read: her own message is never unread to her.
        member.read_sequence = sequence;
        self.state.put_member(id, by, &member);
        self.state.put_conversation(id, &conversation);
        let version = conversation.version;
        Ok(outcome::Result::Message(rpc::MessageSent { conversation_id: id, sequence, version }))
    }

    pub(super) fn mark_read(&mut self, by: u64, id: u64, sequence: u64) -> Decision<outcome::Result> {
        let (conversation, mut member) = self.joined(by, id)?;
        let sequence = sequence.min(conversation.sequence);
        // A mark never goes back; one that does not move says nothing.
        if sequence > member.read_sequence {
            member.read_sequence = sequence;
            self.state.put_member(id, by, &member);
            self.push_me(by, EventKind::MeRead(rpc::MeRead { conversation_id: id, sequence }))?;
        }
        Ok(done())
    }
}
