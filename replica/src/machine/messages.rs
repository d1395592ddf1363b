//! Messages and read marks.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::mentions::{Named, manages};
use super::records::{Conversation, EventKind, Member, StoredMessage};
use super::{Decision, PeopleTables as _, Step, Tables as _, VERSION_DOMAIN, done, rejected};
use crate::store::View;

/// A message to be written.
pub(super) struct NewMessage {
    pub(super) client_message_id: Bytes,
    pub(super) text: String,
    pub(super) reply_to: u64,
    /// Who wrote it where it is handed on from, and when; 0: it is not.
    pub(super) forwarded: (u64, u64),
    /// Files that it is to show.
    pub(super) attachments: Vec<rpc::AttachFile>,
    /// Its time has come, and who writes it may be away.
    pub(super) is_scheduled: bool,
}

/// Text, author and time, and files.
type HandedOn = (String, (u64, u64), Vec<rpc::AttachFile>);

impl<V: View> Step<'_, V> {
    pub(super) fn send(
        &mut self,
        by: u64,
        client_message_id: &Bytes,
        send: &rpc::Send,
    ) -> Decision<outcome::Result> {
        let id = send.conversation_id;
        let (text, forwarded, attachments) = match &send.forward {
            None => {
                // Files need no words.
                if !send.text.is_empty() || send.attachments.is_empty() {
                    text::check_message(&send.text)?;
                }
                (send.text.clone(), (0, 0), send.attachments.clone())
            }
            Some(source) => self.handed_on(by, send, source)?,
        };
        let (client_message_id, reply_to) = (client_message_id.clone(), send.reply_to);
        let new =
            NewMessage { client_message_id, text, reply_to, forwarded, attachments, is_scheduled: false };
        let (sequence, version) = self.write_message(by, id, new)?;
        Ok(outcome::Result::Message(rpc::MessageSent { conversation_id: id, sequence, version }))
    }

    /// Text, author and time, and files of a message that is handed on. Author and time are those of the first of a chain.
    fn handed_on(&self, by: u64, send: &rpc::Send, source: &rpc::MessageRef) -> Decision<HandedOn> {
        if !send.text.is_empty() {
            return rejected(ErrorCode::Invalid, "a message that is handed on has no text of its own");
        }
        if !send.attachments.is_empty() {
            return rejected(ErrorCode::Invalid, "a message that is handed on has no files of its own");
        }
        let (conversation_id, sequence) = (source.conversation_id, source.sequence);
        let (.., source) = self.seen_message(by, conversation_id, sequence)?;
        let forwarded = match source.forwarded_from {
            0 => (source.from, source.log_time_ms),
            from => (from, source.forwarded_ms),
        };
        let shown = source.attachments.into_iter();
        let shown = shown.map(|file_id| rpc::AttachFile { file_id, conversation_id, sequence });
        Ok((source.text, forwarded, shown.collect()))
    }

    /// Writes a message, if its author may; refuses before it has changed anything. Returns its sequence and version.
    pub(super) fn write_message(&mut self, by: u64, id: u64, new: NewMessage) -> Decision<(u64, u64)> {
        let (mut conversation, mut member) = self.joined(by, id)?;
        let is_domain = self.context.machine_version >= VERSION_DOMAIN;
        if is_domain {
            self.may_write(by, id, &mut conversation, &member)?;
        }
        if new.reply_to > conversation.sequence {
            return rejected(ErrorCode::Invalid, "the message answered to does not exist");
        }
        let named = match is_domain && new.forwarded.0 == 0 {
            true => self.named((id, &conversation), (by, &member), &new.text)?,
            false => Named::default(),
        };
        conversation.sequence += 1;
        let sequence = conversation.sequence;
        let attachments = self.attach(by, (id, sequence), &new.attachments)?;
        let mut message = StoredMessage {
            version: conversation.version + 1,
            index: self.context.index,
            log_time_ms: self.context.log_time_ms,
            from: by,
            client_message_id: new.client_message_id,
            text: new.text,
            reply_to: new.reply_to,
            forwarded_from: new.forwarded.0,
            forwarded_ms: new.forwarded.1,
            attachments,
            ..StoredMessage::default()
        };
        self.set_named((id, sequence), &mut message, named)?;
        self.state.put_new_message(id, sequence, &message);
        self.push_event(id, &mut conversation, EventKind::Message(sequence))?;
        self.tell_hooks(by, (id, &conversation), &message.mentions)?;
        if !new.is_scheduled || member.read_sequence + 1 == sequence {
            // Who writes has read: her own message is never unread to her.
            member.read_sequence = sequence;
            member.own_unread.clear();
            self.is_read_now(by, id, &mut member)?;
        } else {
            member.wrote_unread(sequence);
        }
        self.state.put_member(id, by, &member);
        self.state.put_conversation(id, &conversation);
        Ok((sequence, conversation.version))
    }

    /// Refuses a message of somebody who is only to listen. Also notes in a direct conversation who the two are.
    pub(super) fn may_write(
        &self,
        by: u64,
        id: u64,
        conversation: &mut Conversation,
        member: &Member,
    ) -> Decision<()> {
        if conversation.announcement && !manages(conversation, member) {
            return rejected(ErrorCode::Forbidden, "only the owner and admins write in this group");
        }
        if conversation.is_group() {
            return Ok(());
        }
        if conversation.peers.is_empty() {
            let members = self.state.members_of(id, 2)?;
            conversation.peers = members.into_iter().map(|(user, _)| user).collect();
        }
        let Some(peer) = conversation.peers.iter().copied().find(|peer| *peer != by) else { return Ok(()) };
        for (blocker, blocked) in [(by, peer), (peer, by)] {
            let Some(user) = self.state.user(blocker)? else { continue };
            if blocker == peer && user.deleted_ms != 0 {
                return rejected(
                    ErrorCode::Forbidden,
                    "this account was deleted: nobody reads here any more",
                );
            }
            // Most have blocked nobody: their record says so without a further look.
            if user.blocked > 0 && self.state.has_blocked(blocker, blocked)? {
                return rejected(ErrorCode::Forbidden, "one of you has blocked the other");
            }
        }
        Ok(())
    }

    /// A message that a member sees and that was not taken back.
    pub(super) fn seen_message(
        &self,
        by: u64,
        id: u64,
        sequence: u64,
    ) -> Decision<(Conversation, Member, StoredMessage)> {
        let (conversation, member) = self.joined(by, id)?;
        match self.state.message(id, sequence)?.filter(|_| sequence > member.base_sequence) {
            None => rejected(ErrorCode::NotFound, "there is no such message"),
            Some(message) if message.deleted_ms != 0 => {
                rejected(ErrorCode::NotFound, "this message was deleted")
            }
            Some(message) => Ok((conversation, member, message)),
        }
    }

    pub(super) fn mark_read(&mut self, by: u64, id: u64, sequence: u64) -> Decision<outcome::Result> {
        let (conversation, mut member) = self.joined(by, id)?;
        let sequence = sequence.min(conversation.sequence);
        // A mark never goes back; one that does not move says nothing.
        if sequence > member.read_sequence {
            member.read_sequence = sequence;
            member.own_unread.retain(|own| *own > sequence);
            self.state.put_member(id, by, &member);
            self.push_me(by, EventKind::MeRead(rpc::MeRead { conversation_id: id, sequence }))?;
            // Not by a mark that comes again, or late: "unread" may have been chosen since.
            if self.is_read_now(by, id, &mut member)? {
                self.state.put_member(id, by, &member);
            }
        }
        Ok(done())
    }

    /// A conversation that a member had marked as unread is no longer: whether anything changed. The caller writes the record.
    fn is_read_now(&mut self, by: u64, id: u64, member: &mut Member) -> Decision<bool> {
        let Some(preferences) = member.preferences.as_mut().filter(|chosen| chosen.unread_from != 0) else {
            return Ok(false);
        };
        preferences.unread_from = 0;
        let preferences = Some(*preferences);
        self.push_me(by, EventKind::MePreferred(rpc::MePreferred { conversation_id: id, preferences }))?;
        Ok(true)
    }
}
