//! Old messages of the outbox that may be there already. Their ids are not remembered for ever: history is read back to when they were
//! first sent. One question at a time; a message that is found is settled as by any other page of history.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Event, EventKind, History, Request};
use quorate_proto::ids::{ClientMessageId, Sequence};
use quorate_proto::limits::HISTORY_MESSAGES_MAX;

use super::Client;
use super::link::Asked;
use crate::event::{Change, Effect};
use crate::moment::Moment;

/// Pages that are read for one message, of 100 each: beyond that nobody can tell whether it is there.
const PAGES_MAX: u32 = 20;
/// A refused question is asked again after this, unless the server says when.
const AGAIN_MS: u64 = 1_000;

/// How far the search has come.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// For which message, before which, and how many pages there were.
    at: Option<(ClientMessageId, Option<Sequence>, u32)>,
    is_asked: bool,
    not_before_ms: u64,
}

impl Looking {
    /// The socket that would have answered is gone.
    pub(super) fn ask_again(&mut self) {
        self.is_asked = false;
        self.not_before_ms = 0;
    }
}

impl Client {
    pub(super) fn pump_looking(&mut self, moment: &Moment) {
        if self.looking.is_asked || self.live().is_none() || moment.now_ms < self.looking.not_before_ms {
            return;
        }
        let Some(item) = self.outbox.in_doubt() else { return };
        let (id, conversation) = (item.stored.id, item.stored.conversation);
        let (_, before, pages) = self.looking.at.filter(|(of, ..)| *of == id).unwrap_or((id, None, 0));
        self.looking.at = Some((id, before, pages + 1));
        let limit = self.limits.history_messages_max.min(HISTORY_MESSAGES_MAX);
        let min_index = Some(self.position.seen());
        let history = History { conversation, before, limit, min_index, ..History::default() };
        self.looking.is_asked = self.ask(moment, Asked::Look, Request::History(history));
    }

    /// A page of the history in which a message may be.
    pub(super) fn look_page(&mut self, moment: &Moment, messages: &[Event], more_before: bool) {
        self.looking.is_asked = false;
        for event in messages {
            self.settle_own(event);
        }
        let Some((id, _, pages)) = self.looking.at else { return };
        let Some(item) = self.outbox.get(id) else {
            self.looking.at = None;
            return;
        };
        let first = messages.first();
        // Log time does not go back: what was committed is younger than its first transmission.
        let is_through = !more_before || first.is_none_or(|event| event.time < item.stored.first_sent);
        let before = first.and_then(|event| match &event.kind {
            EventKind::Message(message) => Some(message.sequence),
            _ => None,
        });
        if is_through || pages >= PAGES_MAX || before.is_none() {
            self.look_ends(moment, id, is_through);
        } else {
            self.looking.at = Some((id, before, pages));
        }
    }

    pub(super) fn look_refused(&mut self, moment: &Moment, error: &WireError) {
        self.looking.is_asked = false;
        if error.temporary || error.code == ErrorCode::Unauthenticated {
            self.looking.not_before_ms = moment.now_ms + error.retry_ms.unwrap_or(AGAIN_MS);
            if error.code == ErrorCode::Unauthenticated {
                self.token_spent();
            }
            return;
        }
        if let Some((id, ..)) = self.looking.at {
            self.look_ends(moment, id, false);
        }
    }

    fn look_ends(&mut self, moment: &Moment, id: ClientMessageId, surely: bool) {
        self.looking.at = None;
        let resend = self.outbox.looked_for(id, surely);
        if let Some(item) = self.outbox.get(id) {
            let stored = item.stored.clone();
            self.changed.extend([Change::Timeline(stored.conversation), Change::List]);
            self.out.push(Effect::Store(stored));
        }
        if resend {
            self.retry(moment, id);
        }
    }

    pub(super) fn looking_deadline_ms(&self) -> Option<u64> {
        let is_due = self.live().is_some() && !self.looking.is_asked && self.outbox.in_doubt().is_some();
        is_due.then_some(self.looking.not_before_ms)
    }
}
