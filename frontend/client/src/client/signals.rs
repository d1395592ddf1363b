//! Signals: what this client says of the moment, and what it is told. All of it may be lost; nothing waits for it.

use std::collections::VecDeque;

use quorate_proto::error::WireError;
use quorate_proto::frame::{MemberMarks, PresenceState, Request, Signal, SignalKind};
use quorate_proto::ids::{ConversationId, Sequence};

use super::Client;
use super::link::Asked;
use crate::event::Change;
use crate::moment::Moment;
use crate::ordered::{OrderedMap, OrderedSet};

/// Typing lasts six seconds for the others: said at most this often it does not flicker.
const TYPING_SAID_MS: u64 = 3_000;
/// What has reached this device is said at most this often, of a few conversations at a time.
const DELIVERED_INTERVAL_MS: u64 = 1_000;
/// The same, in conversations: well below the rate of frames.
const DELIVERED_AT_ONCE: usize = 4;

/// Conversations whose marks are said again on a new socket: the former one may have taken the last ones with it.
const DELIVERED_AGAIN_MAX: usize = 8;
/// A conversation that could not be opened for the moment is tried again after this at the earliest.
const OPEN_AGAIN_MS: u64 = 1_000;

/// What was said and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// The conversation that was opened on this socket.
    room: Option<ConversationId>,
    /// None is opened before, since the server could not.
    room_not_before_ms: u64,
    presence: Option<PresenceState>,
    presence_said: Option<PresenceState>,
    typing_said: OrderedMap<ConversationId, u64>,
    delivered: OrderedMap<ConversationId, Sequence>,
    delivered_said: OrderedMap<ConversationId, Sequence>,
    /// Where that was said last, the latest at the end.
    delivered_last: VecDeque<ConversationId>,
    delivered_next_ms: u64,
    /// Conversations in which somebody types.
    typed_in: OrderedSet<ConversationId>,
}

impl Telling {
    /// A new socket knows nothing of it.
    fn start_over(&mut self) {
        self.room = None;
        self.room_not_before_ms = 0;
        self.presence_said = None;
        self.typing_said.clear();
        let said = std::mem::take(&mut self.delivered_said);
        for id in self.delivered_last.drain(..) {
            if let Some(sequence) = said.get(&id) {
                let mark = self.delivered.of(id);
                *mark = (*mark).max(*sequence);
            }
        }
    }

    fn delivered_is_said(&mut self, id: ConversationId, sequence: Sequence) {
        self.delivered_said.insert(id, sequence);
        self.delivered_last.retain(|other| *other != id);
        self.delivered_last.push_back(id);
        if self.delivered_last.len() > DELIVERED_AGAIN_MAX {
            self.delivered_last.pop_front();
        }
    }

    /// She has not said that she wants to be left alone.
    pub(super) fn may_be_disturbed(&self) -> bool {
        self.presence != Some(PresenceState::Dnd)
    }

    /// Who signs in next is at the same device.
    pub(super) fn set_as(&mut self, former: &Self) {
        self.presence = former.presence;
    }
}

impl Client {
    pub(super) fn typing(&mut self, moment: &Moment, id: ConversationId) {
        let said = self.telling.typing_said.get(&id).copied();
        if said.is_some_and(|at_ms| moment.now_ms < at_ms + TYPING_SAID_MS) {
            return;
        }
        if let Some(socket) = self.live().map(|link| link.socket) {
            self.telling.typing_said.retain(|_, at_ms| moment.now_ms < *at_ms + TYPING_SAID_MS);
            self.telling.typing_said.insert(id, moment.now_ms);
            self.say(socket, Request::Typing { conversation: id });
        }
    }

    /// The message is on its way: the next keystroke is news again.
    pub(super) fn typed(&mut self, id: ConversationId) {
        self.telling.typing_said.remove(&id);
    }

    pub(super) fn set_presence(&mut self, state: PresenceState) {
        self.telling.presence = Some(state);
    }

    /// Messages up to here are on this device.
    pub(super) fn has_reached(&mut self, id: ConversationId, sequence: Sequence) {
        let small = self
            .conversations
            .get(&id)
            .is_some_and(|conversation| conversation.member_count <= self.limits.receipt_members_max);
        let said = self.telling.delivered_said.get(&id).copied().unwrap_or(0);
        if small && sequence > said {
            let mark = self.telling.delivered.of(id);
            *mark = sequence.max(*mark);
        }
    }

    pub(super) fn signal(&mut self, moment: &Moment, signal: Signal) {
        let id = signal.conversation;
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let is_of_messages =
            matches!(signal.kind, SignalKind::Receipt { .. } | SignalKind::Durability { .. });
        if matches!(signal.kind, SignalKind::Typing { .. }) {
            self.telling.typed_in.insert(id, ());
        }
        if conversation.signals.take(signal.kind, moment.now_ms) {
            self.changed.insert(if is_of_messages { Change::Timeline(id) } else { Change::Signals(id) });
        }
    }

    /// A conversation was opened.
    pub(super) fn room_opened(&mut self, id: ConversationId, marks: &[MemberMarks]) {
        // Closed meanwhile: nobody would say who goes. How far the others have come stays true.
        let is_open = self.telling.room == Some(id);
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.signals.marked(marks);
            if is_open {
                conversation.signals.opened(marks);
            }
            self.changed.extend([Change::Signals(id), Change::Timeline(id)]);
        }
    }

    /// A conversation could not be opened.
    pub(super) fn room_refused(&mut self, moment: &Moment, id: ConversationId, error: &WireError) {
        if error.temporary && self.telling.room == Some(id) {
            self.telling.room = None;
            let wait_ms = error.retry_ms.unwrap_or(0).max(OPEN_AGAIN_MS);
            self.telling.room_not_before_ms = moment.now_ms + wait_ms;
        }
    }

    /// The conversation whose signals are wanted.
    fn wanted_room(&self) -> Option<ConversationId> {
        self.focused.filter(|id| self.conversations.contains_key(id))
    }

    /// The socket that told of the moment is gone.
    pub(super) fn signals_cut_off(&mut self) {
        self.telling.start_over();
        self.telling.typed_in.clear();
        for conversation in self.conversations.values_mut() {
            if conversation.signals.cut_off() {
                self.changed.insert(Change::Signals(conversation.id));
            }
        }
    }

    pub(super) fn pump_signals(&mut self, moment: &Moment) {
        let conversations = &mut self.conversations;
        let changed = &mut self.changed;
        self.telling.typed_in.retain(|id, _| {
            let Some(conversation) = conversations.get_mut(id) else { return false };
            if conversation.signals.expire(moment.now_ms) {
                changed.insert(Change::Signals(*id));
            }
            conversation.signals.deadline_ms().is_some()
        });
        let Some(socket) = self.live().map(|link| link.socket) else { return };
        if self.telling.presence != self.telling.presence_said
            && let Some(state) = self.telling.presence
        {
            self.telling.presence_said = Some(state);
            self.say(socket, Request::Presence { state });
        }
        let room = self.wanted_room();
        let may_open = self.telling.room.is_some() || moment.now_ms >= self.telling.room_not_before_ms;
        if room != self.telling.room && may_open {
            if let Some(conversation) = std::mem::replace(&mut self.telling.room, room) {
                self.say(socket, Request::Close { conversation });
                if let Some(left) = self.conversations.get_mut(&conversation) {
                    left.signals.cut_off();
                }
            }
            if let Some(conversation) = room {
                self.ask(moment, Asked::Room(conversation), Request::Open { conversation, signals: true });
            }
        }
        if !self.telling.delivered.is_empty() && moment.now_ms >= self.telling.delivered_next_ms {
            self.telling.delivered_next_ms = moment.now_ms + DELIVERED_INTERVAL_MS;
            for _ in 0..DELIVERED_AT_ONCE {
                let Some((conversation, sequence)) = self.telling.delivered.pop_first() else { break };
                self.telling.delivered_is_said(conversation, sequence);
                self.say(socket, Request::Delivered { conversation, sequence });
            }
        }
    }

    pub(super) fn signals_deadline_ms(&self) -> Option<u64> {
        let typing = self.telling.typed_in.iter().filter_map(|(id, _)| self.conversations.get(id));
        let typing = typing.filter_map(|conversation| conversation.signals.deadline_ms()).min();
        let delivered = (self.live().is_some() && !self.telling.delivered.is_empty())
            .then_some(self.telling.delivered_next_ms);
        let room = (self.live().is_some() && self.wanted_room() != self.telling.room)
            .then_some(self.telling.room_not_before_ms);
        [typing, delivered, room].into_iter().flatten().min()
    }
}
