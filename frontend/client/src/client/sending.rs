//! What a person does: messages through the outbox, commands, read marks.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Ack, Action, ClientFrame, DoCommand, Request};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_proto::text::{TextError, check_message};

use super::Client;
use super::link::{Asked, encode};
use crate::backoff::bound_ms;
use crate::event::{Change, Effect};
use crate::moment::Moment;
use crate::outbox::{SEND_ANSWER_WAIT_MS, StoredItem, refused_here};

/// Commands under way at most: each comes from a person's click.
const COMMANDS_MAX: usize = 16;
/// Least wait before a temporary refusal is tried again, so that zero jitter does not spin.
const RETRY_MS_MIN: u64 = 250;
/// Read marks travel at most once in this time.
const READS_INTERVAL_MS: u64 = 2_000;

/// A command that is not a message: kept in memory until it is answered.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) id: ClientMessageId,
    action: Action,
    first_sent: u64,
    attempts: u32,
    state: CommandState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandState {
    Queued,
    InFlight { since_ms: u64 },
    Waiting { until_ms: u64 },
}

impl Client {
    pub(super) fn send(
        &mut self,
        moment: &Moment,
        conversation: ConversationId,
        text: String,
        reply_to: Option<Sequence>,
    ) {
        let too_long = text.len() > self.limits.text_bytes_max;
        if let Err(why) = check_message(&text).and(if too_long { Err(TextError::TooLong) } else { Ok(()) }) {
            let code = if why == TextError::TooLong { ErrorCode::TooLarge } else { ErrorCode::Invalid };
            self.refuse(None, refused_here(code, &why.to_string()));
            return;
        }
        let id = moment.client_message_id();
        let item = StoredItem {
            id,
            conversation,
            text,
            reply_to,
            created_ms: moment.wall_ms,
            place: 0,
            first_sent: 0,
            failed: None,
        };
        let Some(item) = self.outbox.push(item) else {
            let full = "too many messages are waiting to be sent; this one is kept in the box";
            self.refuse(None, refused_here(ErrorCode::RateLimited, full));
            return;
        };
        self.out.push(Effect::Store(item));
        self.typed(conversation);
        self.changed.insert(Change::Timeline(conversation));
    }

    pub(super) fn retry(&mut self, moment: &Moment, id: ClientMessageId) {
        if let Some((old, item)) = self.outbox.retry(id, moment) {
            let (stored, conversation) = (item.stored.clone(), item.stored.conversation);
            if old != stored.id {
                self.out.push(Effect::Unstore(old));
            }
            self.out.push(Effect::Store(stored));
            self.changed.insert(Change::Timeline(conversation));
        }
    }

    pub(super) fn delete(&mut self, id: ClientMessageId) {
        if let Some(item) = self.outbox.remove(id) {
            self.out.push(Effect::Unstore(id));
            self.changed.insert(Change::Timeline(item.stored.conversation));
        }
    }

    pub(super) fn send_refused(&mut self, moment: &Moment, id: ClientMessageId, error: WireError) {
        let Some(conversation) = self.outbox.get(id).map(|item| item.stored.conversation) else { return };
        self.changed.insert(Change::Timeline(conversation));
        if error.code == ErrorCode::Unauthenticated {
            self.token_spent();
        } else if !error.temporary {
            if let Some(item) = self.outbox.fail(id, error.clone()) {
                let stored = item.stored.clone();
                self.out.push(Effect::Store(stored));
            }
            self.refuse(Some(id), error);
            return;
        }
        let asked_ms = error.retry_ms;
        self.outbox.postpone(id, moment.now_ms, |attempts| wait_ms(moment, attempts, asked_ms));
    }

    pub(super) fn command(&mut self, moment: &Moment, id: ClientMessageId, action: Action) {
        if self.commands.len() >= COMMANDS_MAX {
            let full = "too many changes are waiting; wait until they are done";
            self.refuse(Some(id), refused_here(ErrorCode::RateLimited, full));
            return;
        }
        let _ = moment;
        self.commands.push(Command { id, action, first_sent: 0, attempts: 0, state: CommandState::Queued });
    }

    pub(super) fn command_refused(&mut self, moment: &Moment, id: ClientMessageId, error: WireError) {
        let Some(command) = self.commands.iter_mut().find(|command| command.id == id) else { return };
        if error.temporary || error.code == ErrorCode::Unauthenticated {
            let until_ms = moment.now_ms + wait_ms(moment, command.attempts, error.retry_ms);
            command.attempts += 1;
            command.state = CommandState::Waiting { until_ms };
            if error.code == ErrorCode::Unauthenticated {
                self.token_spent();
            }
            return;
        }
        self.commands.retain(|command| command.id != id);
        self.refuse(Some(id), error);
    }

    pub(super) fn command_done(&mut self, ack: &Ack) {
        let before = self.commands.len();
        self.commands.retain(|command| command.id != ack.client_message_id);
        if self.commands.len() < before {
            self.out.push(Effect::Done(ack.client_message_id, ack.conversation));
        }
    }

    /// The socket is gone: the fate of what was in flight is unknown, and its id makes asking again harmless.
    pub(super) fn requeue_commands(&mut self) {
        for command in &mut self.commands {
            command.state = CommandState::Queued;
        }
    }

    pub(super) fn wake_commands(&mut self) {
        for command in &mut self.commands {
            if matches!(command.state, CommandState::Waiting { .. }) {
                command.state = CommandState::Queued;
            }
        }
    }

    pub(super) fn mark_read(&mut self, id: ConversationId, sequence: Sequence) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if conversation.mark_read(sequence.min(conversation.sequence)) {
            self.reads.insert(id, conversation.read);
            self.changed.extend([Change::List, Change::Timeline(id)]);
        }
    }

    pub(super) fn pump_sending(&mut self, moment: &Moment) {
        if self.live().is_none() {
            return;
        }
        self.outbox.requeue_silent(moment.now_ms);
        for id in self.outbox.take_turns(moment) {
            self.transmit(moment, id);
        }
        self.pump_commands(moment);
        if !self.reads.is_empty() && moment.now_ms >= self.reads_next_ms {
            self.reads_next_ms = moment.now_ms + READS_INTERVAL_MS;
            let Some(socket) = self.live().map(|link| link.socket) else { return };
            for (conversation, sequence) in std::mem::take(&mut self.reads) {
                self.say(socket, Request::Read { conversation, sequence });
            }
        }
    }

    fn transmit(&mut self, moment: &Moment, id: ClientMessageId) {
        let Some((item, first)) = self.outbox.sent(id, self.log_time, moment.now_ms) else { return };
        let (stored, send) = (item.stored.clone(), item.to_send());
        let request = Request::Send(send);
        let probe = encode(&ClientFrame { id: u64::MAX, request: request.clone() });
        if probe.len() > self.limits.frame_bytes_max {
            // The server would close the socket on it, and again after each resume.
            let error = refused_here(ErrorCode::TooLarge, "the message is too long to travel in one piece");
            self.send_refused(moment, id, error);
            return;
        }
        if first {
            self.changed.insert(Change::Timeline(stored.conversation));
            self.out.push(Effect::Store(stored));
        }
        self.ask(moment, Asked::Send(id), request);
    }

    fn pump_commands(&mut self, moment: &Moment) {
        let (now_ms, log_time) = (moment.now_ms, self.log_time);
        let mut requests = Vec::new();
        for command in &mut self.commands {
            let ready = match command.state {
                CommandState::Queued => true,
                CommandState::InFlight { since_ms } => now_ms >= since_ms + SEND_ANSWER_WAIT_MS,
                CommandState::Waiting { until_ms } => now_ms >= until_ms,
            };
            if !ready {
                continue;
            }
            if command.first_sent == 0 {
                command.first_sent = log_time;
            }
            command.state = CommandState::InFlight { since_ms: now_ms };
            requests.push(DoCommand {
                client_message_id: command.id,
                first_sent: command.first_sent,
                command: command.action.clone(),
            });
        }
        for request in requests {
            self.ask(moment, Asked::Command(request.client_message_id), Request::Do(request));
        }
    }

    pub(super) fn sending_deadline_ms(&self) -> Option<u64> {
        self.live()?;
        let commands = self.commands.iter().map(|command| match command.state {
            CommandState::Queued => 0,
            CommandState::InFlight { since_ms } => since_ms + SEND_ANSWER_WAIT_MS,
            CommandState::Waiting { until_ms } => until_ms,
        });
        let reads = (!self.reads.is_empty()).then_some(self.reads_next_ms);
        commands.chain(reads).chain(self.outbox.deadline_ms()).min()
    }
}

/// How long a temporary refusal waits: as the server says, else the backoff by the attempts so far.
fn wait_ms(moment: &Moment, attempts: u32, asked_ms: Option<u64>) -> u64 {
    match asked_ms {
        Some(asked_ms) => asked_ms + moment.jitter_ms(RETRY_MS_MIN),
        None => RETRY_MS_MIN + moment.jitter_ms(bound_ms(attempts)),
    }
}
