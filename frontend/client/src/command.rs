//! What was asked of the cluster and is not a new message: edits, deletions, reactions, pins, and the commands of `do`.
//!
//! Owns: the commands, which of them may travel, and what of them is still to be shown as pending. Commands that concern one
//! message, or one conversation's settings, travel one after another, so that "on" and "off" arrive in the order they were
//! clicked whatever fails in between. Kept in memory alone: unlike a message, a click is easily repeated. Knows no sockets.

use quorate_proto::error::WireError;
use quorate_proto::frame::{Action, DeleteMessages, DoCommand, EditMessage, PinMessage, ReactTo, Request};
use quorate_proto::ids::{ClientMessageId, ConversationId, Revision, Sequence, Version};

use crate::outbox::SEND_ANSWER_WAIT_MS;

/// Commands under way at most: each comes from a person's click, and nobody clicks faster than this many are answered.
pub const COMMANDS_MAX: usize = 64;
/// Refused edits kept at most; the oldest text goes first.
const REFUSED_EDITS_MAX: usize = 16;
/// Commands that are done and whose events have not come; beyond it the oldest are no longer shown as pending.
const SETTLED_MAX: usize = 64;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A command without a frame of its own.
    Do(Action),
    /// Another text for a message.
    Edit {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// As typed.
        text: String,
        /// The revision that the writer saw.
        if_revision: Option<Revision>,
    },
    /// Messages are taken back, or out of the reader's own sight.
    Delete {
        /// Where they are.
        conversation: ConversationId,
        /// The first.
        sequence: Sequence,
        /// The last; `None`: one message.
        through: Option<Sequence>,
        /// Only for the reader.
        for_me: bool,
    },
    /// An emoji is put on a message, or taken away.
    React {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// The emoji.
        emoji: String,
        /// Put there, or taken away.
        on: bool,
    },
    /// A message is pinned, or no longer.
    Pin {
        /// Where it is.
        conversation: ConversationId,
        /// Which message.
        sequence: Sequence,
        /// Pinned, or no longer.
        on: bool,
    },
}

impl Deed {
    /// The conversation and message that it concerns; 0 for what concerns a conversation as a whole.
    pub fn lane(&self) -> Option<(ConversationId, Sequence)> {
        match self {
            Deed::Edit { conversation, sequence, .. }
            | Deed::Delete { conversation, sequence, .. }
            | Deed::React { conversation, sequence, .. }
            | Deed::Pin { conversation, sequence, .. } => Some((*conversation, *sequence)),
            Deed::Do(Action::Save { conversation, sequence, .. }) => Some((*conversation, *sequence)),
            Deed::Do(
                Action::Prefer { conversation, .. }
                | Action::Draft { conversation, .. }
                | Action::ChangeConversation { conversation, .. }
                | Action::SetRole { conversation, .. }
                | Action::Ban { conversation, .. }
                | Action::AddMember { conversation, .. }
                | Action::RemoveMember { conversation, .. },
            ) => Some((*conversation, 0)),
            Deed::Do(_) => None,
        }
    }

    fn request(&self, id: ClientMessageId, first_sent: u64) -> Request {
        let client_message_id = id;
        match self.clone() {
            Deed::Do(command) => Request::Do(DoCommand { client_message_id, first_sent, command }),
            Deed::Edit { conversation, sequence, text, if_revision } => Request::Edit(EditMessage {
                conversation,
                sequence,
                client_message_id,
                text,
                if_revision,
                first_sent,
            }),
            Deed::Delete { conversation, sequence, through, for_me } => Request::Delete(DeleteMessages {
                conversation,
                sequence,
                through,
                for_me,
                client_message_id,
                first_sent,
            }),
            Deed::React { conversation, sequence, emoji, on } => {
                Request::React(ReactTo { conversation, sequence, emoji, on, client_message_id, first_sent })
            }
            Deed::Pin { conversation, sequence, on } => {
                Request::Pin(PinMessage { conversation, sequence, on, client_message_id, first_sent })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    InFlight {
        since_ms: u64,
    },
    Waiting {
        until_ms: u64,
    },
    /// Committed; its event, of this version, has not come yet.
    Settled {
        version: Version,
    },
}

#[derive(Debug, Clone)]
struct Command {
    id: ClientMessageId,
    deed: Deed,
    first_sent: u64,
    attempts: u32,
    state: State,
}

/// An edit that was refused: its text is kept until its writer decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEdit {
    /// Where the message is.
    pub conversation: ConversationId,
    /// Which message.
    pub sequence: Sequence,
    /// As typed.
    pub text: String,
    /// Why not.
    pub error: WireError,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    commands: Vec<Command>,
    refused: Vec<RefusedEdit>,
}

impl Commands {
    /// Takes a command; false when too many are waiting.
    pub fn push(&mut self, id: ClientMessageId, deed: Deed) -> bool {
        let open = self.commands.iter().filter(|command| !command.is_settled()).count();
        if open >= COMMANDS_MAX {
            return false;
        }
        if let Deed::Edit { conversation, sequence, .. } = &deed {
            self.drop_refused(*conversation, *sequence);
        }
        let command = Command { id, deed, first_sent: 0, attempts: 0, state: State::Queued };
        self.commands.push(command);
        true
    }

    /// What may travel now, each with its id: the oldest of each lane, unless it is in flight or asked to wait.
    pub fn take_turns(&mut self, now_ms: u64, log_time: u64) -> Vec<(ClientMessageId, Request)> {
        let mut decided = Vec::new();
        let mut turns = Vec::new();
        for command in self.commands.iter_mut().filter(|command| !command.is_settled()) {
            if let Some(lane) = command.deed.lane() {
                if decided.contains(&lane) {
                    continue;
                }
                decided.push(lane);
            }
            let ready = match command.state {
                State::Queued => true,
                State::InFlight { since_ms } => now_ms >= since_ms + SEND_ANSWER_WAIT_MS,
                State::Waiting { until_ms } => now_ms >= until_ms,
                State::Settled { .. } => false,
            };
            if ready {
                if command.first_sent == 0 {
                    command.first_sent = log_time;
                }
                command.state = State::InFlight { since_ms: now_ms };
                turns.push((command.id, command.deed.request(command.id, command.first_sent)));
            }
        }
        turns
    }

    /// The socket is gone: the fate of what was in flight is unknown, and its id makes asking again harmless.
    pub fn requeue(&mut self) {
        for command in self.commands.iter_mut().filter(|command| !command.is_settled()) {
            command.state = State::Queued;
        }
    }

    /// The cluster takes writes again: nobody needs to wait any longer.
    pub fn wake(&mut self) {
        for command in &mut self.commands {
            if matches!(command.state, State::Waiting { .. }) {
                command.state = State::Queued;
            }
        }
    }

    /// A temporary refusal: tried again after `wait_ms(attempts before)`. False if there is no such command.
    pub fn postpone(&mut self, id: ClientMessageId, now_ms: u64, wait_ms: impl FnOnce(u32) -> u64) -> bool {
        let Some(command) = self.commands.iter_mut().find(|command| command.id == id) else { return false };
        command.state = State::Waiting { until_ms: now_ms + wait_ms(command.attempts) };
        command.attempts = command.attempts.saturating_add(1);
        true
    }

    /// Committed. What is shown as pending stays so until the event of this version has come (0: none comes).
    pub fn done(&mut self, id: ClientMessageId, version: Version) -> Option<Deed> {
        let at = self.commands.iter().position(|command| command.id == id && !command.is_settled())?;
        let deed = self.commands[at].deed.clone();
        if version > 0 && matches!(deed, Deed::Edit { .. } | Deed::React { .. } | Deed::Delete { .. }) {
            self.commands[at].state = State::Settled { version };
            let settled = self.commands.iter().filter(|command| command.is_settled()).count();
            if settled > SETTLED_MAX
                && let Some(oldest) = self.commands.iter().position(Command::is_settled)
            {
                self.commands.remove(oldest);
            }
        } else {
            self.commands.remove(at);
        }
        Some(deed)
    }

    /// A conversation has come to this version: what was settled by then is no longer pending.
    pub fn reached(&mut self, conversation: ConversationId, version: Version) {
        self.commands.retain(|command| {
            let State::Settled { version: wanted } = command.state else { return true };
            command.deed.lane().is_none_or(|(of, _)| of != conversation) || wanted > version
        });
    }

    /// Refused for good, or nobody wants to know of it any more. The text of an edit is kept with `error`.
    pub fn remove(&mut self, id: ClientMessageId, error: Option<&WireError>) -> Option<Deed> {
        let at = self.commands.iter().position(|command| command.id == id)?;
        let deed = self.commands.remove(at).deed;
        if let (Deed::Edit { conversation, sequence, text, .. }, Some(error)) = (&deed, error) {
            self.drop_refused(*conversation, *sequence);
            let (conversation, sequence) = (*conversation, *sequence);
            let refused = RefusedEdit { conversation, sequence, text: text.clone(), error: error.clone() };
            self.refused.push(refused);
            if self.refused.len() > REFUSED_EDITS_MAX {
                self.refused.remove(0);
            }
        }
        Some(deed)
    }

    /// The writer lets a refused edit go.
    pub fn drop_refused(&mut self, conversation: ConversationId, sequence: Sequence) {
        self.refused.retain(|edit| (edit.conversation, edit.sequence) != (conversation, sequence));
    }

    /// The refused edit of a message.
    pub fn refused(&self, conversation: ConversationId, sequence: Sequence) -> Option<&RefusedEdit> {
        self.refused.iter().find(|edit| (edit.conversation, edit.sequence) == (conversation, sequence))
    }

    /// What is asked of one conversation's messages and not seen to be done, oldest first.
    pub fn of(&self, conversation: ConversationId) -> impl Iterator<Item = &Deed> {
        let lane = move |deed: &Deed| deed.lane().is_some_and(|(of, _)| of == conversation);
        self.commands.iter().map(|command| &command.deed).filter(move |deed| lane(deed))
    }

    /// How many wait for their answer.
    pub fn len(&self) -> usize {
        self.commands.iter().filter(|command| !command.is_settled()).count()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When [`Self::take_turns`] should be asked again.
    pub fn deadline_ms(&self) -> Option<u64> {
        let mut decided = Vec::new();
        let mut first = None;
        for command in self.commands.iter().filter(|command| !command.is_settled()) {
            if let Some(lane) = command.deed.lane() {
                if decided.contains(&lane) {
                    continue;
                }
                decided.push(lane);
            }
            let at_ms = match command.state {
                State::Queued | State::Settled { .. } => 0,
                State::InFlight { since_ms } => since_ms + SEND_ANSWER_WAIT_MS,
                State::Waiting { until_ms } => until_ms,
            };
            first = Some(first.map_or(at_ms, |first: u64| first.min(at_ms)));
        }
        first
    }
}

impl Command {
    fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::error::ErrorCode;

    fn id(n: u64) -> ClientMessageId {
        ClientMessageId::from_slice(&u128::from(n).to_be_bytes()).expect("16 bytes")
    }

    fn react(sequence: Sequence, on: bool) -> Deed {
        Deed::React { conversation: 1, sequence, emoji: "👍".to_owned(), on }
    }

    fn turns(commands: &mut Commands, now_ms: u64) -> Vec<ClientMessageId> {
        commands.take_turns(now_ms, 7).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn what_concerns_one_message_travels_one_after_another() {
        let mut commands = Commands::default();
        assert!(commands.push(id(1), react(5, true)));
        assert!(commands.push(id(2), react(5, false)));
        assert!(commands.push(id(3), react(6, true)));
        assert_eq!(turns(&mut commands, 10), [id(1), id(3)]);
        assert!(commands.postpone(id(1), 10, |_| 90));
        assert!(turns(&mut commands, 99).is_empty());
        assert_eq!(commands.deadline_ms(), Some(100));
        assert_eq!(turns(&mut commands, 100), [id(1)]);
        assert!(commands.done(id(1), 0).is_some());
        assert_eq!(turns(&mut commands, 100), [id(2)]);
    }

    #[test]
    fn what_is_done_is_pending_until_its_event() {
        let mut commands = Commands::default();
        commands.push(id(1), react(5, true));
        commands.take_turns(0, 7);
        assert!(commands.done(id(1), 12).is_some());
        assert!(commands.done(id(1), 12).is_none(), "a second answer changes nothing");
        assert_eq!((commands.of(1).count(), commands.len(), commands.deadline_ms()), (1, 0, None));
        commands.reached(2, 99);
        commands.reached(1, 11);
        assert_eq!(commands.of(1).count(), 1);
        commands.reached(1, 12);
        assert_eq!(commands.of(1).count(), 0);
        commands.push(id(2), react(5, true));
        commands.done(id(2), 0);
        assert_eq!(commands.of(1).count(), 0, "it changed nothing: no event comes");
    }

    #[test]
    fn the_text_of_a_refused_edit_is_kept() {
        let mut commands = Commands::default();
        let edit = |text: &str| Deed::Edit {
            conversation: 1,
            sequence: 5,
            text: text.to_owned(),
            if_revision: Some(0),
        };
        commands.push(id(1), edit("better"));
        let error = WireError::new(ErrorCode::Conflict, "changed");
        commands.remove(id(1), Some(&error));
        assert_eq!(commands.refused(1, 5).map(|edit| edit.text.as_str()), Some("better"));
        assert!(commands.is_empty());
        commands.push(id(2), edit("best"));
        assert_eq!(commands.refused(1, 5), None, "the next attempt replaces it");
    }

    #[test]
    fn a_lost_socket_sends_again_with_the_first_time() {
        let mut commands = Commands::default();
        commands.push(id(1), react(5, true));
        let first = commands.take_turns(0, 7);
        commands.requeue();
        assert_eq!(commands.take_turns(5, 99), first, "the same frame, its log time included");
    }

    #[test]
    fn there_is_an_end_to_clicks() {
        let mut commands = Commands::default();
        for n in 0..COMMANDS_MAX as u64 {
            assert!(commands.push(id(n), react(n, true)));
        }
        assert!(!commands.push(id(999), react(999, true)));
    }
}
