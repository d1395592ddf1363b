//! What a person does: messages through the outbox, commands, read marks.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Ack, Action, ClientFrame, MessageRef, PreferencesChange, Request};
use quorate_proto::ids::{ClientMessageId, ConversationId, Index, Sequence};
use quorate_proto::text::{TextError, check_message};

use super::Client;
use super::link::{Asked, encode};
use crate::backoff::bound_ms;
use crate::command::Deed;
use crate::drafts::{Draft, StoredDraft};
use crate::event::{Change, Effect};
use crate::moment::Moment;
use crate::outbox::{StoredItem, refused_here};
use crate::upload::{Ready, Waiting};
use crate::words::t;

/// Least wait before a temporary refusal is tried again, so that zero jitter does not spin.
const RETRY_MS_MIN: u64 = 250;
/// Read marks travel at most once in this time.
const READS_INTERVAL_MS: u64 = 2_000;
/// Tells ids of one moment apart: an odd number spreads over all bits.
const SALT: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl Client {
    /// True if it is in the outbox; false if it was refused, or waits for its files.
    pub(super) fn send(
        &mut self,
        moment: &Moment,
        conversation: ConversationId,
        text: String,
        reply_to: Option<Sequence>,
    ) -> bool {
        let ready = self.uploads.ready(conversation);
        // A file says enough by itself.
        let checked =
            if ready != Ready::None && text.trim().is_empty() { Ok(()) } else { check_message(&text) };
        let too_long = text.len() > self.limits.text_bytes_max;
        if let Err(why) = checked.and(if too_long { Err(TextError::TooLong) } else { Ok(()) }) {
            let code = if why == TextError::TooLong { ErrorCode::TooLarge } else { ErrorCode::Invalid };
            self.refuse(None, refused_here(code, &why.to_string()));
            return false;
        }
        let attachments = match ready {
            Ready::None => Vec::new(),
            Ready::Files(files) => files,
            Ready::NotYet => {
                self.wait_for_files(conversation, Waiting { text, reply_to });
                return false;
            }
            Ready::Failed => {
                let why = t("a file was not uploaded: try it again or take it out");
                self.refuse(None, refused_here(ErrorCode::Invalid, why));
                return false;
            }
        };
        let shows_files = !attachments.is_empty();
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
            forward: None,
            attachments,
        };
        let is_queued = self.queue(item);
        if is_queued && shows_files {
            self.files_taken(conversation);
        }
        is_queued
    }

    /// A message is handed on: shown as it is here, taken by the servers from where it stands.
    pub(super) fn forward(&mut self, moment: &Moment, to: ConversationId, message: MessageRef) {
        let source = self.conversations.get(&message.conversation);
        let held = source.and_then(|source| source.entry(message.sequence));
        let item = StoredItem {
            id: moment.client_message_id(),
            conversation: to,
            text: held.map(|entry| entry.message.text.clone()).unwrap_or_default(),
            reply_to: None,
            created_ms: moment.wall_ms,
            place: 0,
            first_sent: 0,
            failed: None,
            forward: Some(message),
            attachments: held.map(|entry| entry.message.attachments.clone()).unwrap_or_default(),
        };
        self.queue(item);
    }

    fn queue(&mut self, item: StoredItem) -> bool {
        let conversation = item.conversation;
        let Some(item) = self.outbox.push(item) else {
            let full = t("too many messages are waiting to be sent; this one is kept in the box");
            self.refuse(None, refused_here(ErrorCode::RateLimited, full));
            return false;
        };
        self.out.push(Effect::Store(item));
        if let Some(conversation) = self.conversations.get_mut(&conversation) {
            conversation.has_answered();
        }
        self.typed(conversation);
        self.changed.insert(Change::Timeline(conversation));
        true
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

    /// Who was to send these is gone: this client does, under the same ids.
    pub(super) fn adopt(&mut self, ids: &[ClientMessageId]) {
        for id in ids {
            if let Some(item) = self.outbox.adopt(*id) {
                let stored = item.stored.clone();
                self.changed.insert(Change::Timeline(stored.conversation));
                self.out.push(Effect::Store(stored));
            }
        }
    }

    /// Another client may send these from now on.
    pub(super) fn yield_items(&mut self, ids: &[ClientMessageId]) {
        for id in ids {
            if let Some(conversation) = self.outbox.give_away(*id) {
                self.changed.insert(Change::Timeline(conversation));
            }
        }
    }

    /// Another client has let go of it.
    pub(super) fn gone(&mut self, id: ClientMessageId) {
        if let Some(item) = self.outbox.gone(id) {
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

    pub(super) fn command(&mut self, id: ClientMessageId, deed: Deed) {
        if let Deed::Edit { text, .. } = &deed
            && let Err(why) = check_message(text)
        {
            self.refuse(Some(id), refused_here(ErrorCode::Invalid, &why.to_string()));
            return;
        }
        let lane = deed.lane();
        if !self.commands.push(id, deed) {
            let full = t("too many changes are waiting; wait until they are done");
            self.refuse(Some(id), refused_here(ErrorCode::RateLimited, full));
            return;
        }
        self.changed.extend(lane.map(|(conversation, _)| Change::Timeline(conversation)));
    }

    /// A command of these rules themselves, which nobody waits for.
    fn command_quietly(&mut self, moment: &Moment, action: Action) {
        // Two in one moment would have one id: the salt is how many there are.
        let salt = u128::try_from(self.commands.len()).unwrap_or_default() + 1;
        let moment = Moment { random: moment.random.wrapping_add(salt.wrapping_mul(SALT)), ..*moment };
        self.commands.push(moment.client_message_id(), Deed::Do(action));
    }

    pub(super) fn command_refused(&mut self, moment: &Moment, id: ClientMessageId, error: WireError) {
        if error.temporary || error.code == ErrorCode::Unauthenticated {
            let asked_ms = error.retry_ms;
            let known =
                self.commands.postpone(id, moment.now_ms, |attempts| wait_ms(moment, attempts, asked_ms));
            if known && error.code == ErrorCode::Unauthenticated {
                self.token_spent();
            }
            return;
        }
        let Some(deed) = self.commands.remove(id, Some(&error)) else { return };
        self.changed.extend(deed.lane().map(|(conversation, _)| Change::Timeline(conversation)));
        if let Some(conversation) = self.drafts.answered(id, None) {
            // What was typed is kept here, and nobody asked for more.
            self.store_draft(conversation);
            return;
        }
        self.refuse(Some(id), error);
    }

    pub(super) fn command_done(&mut self, ack: &Ack) {
        let conversation = ack.conversation.and_then(|id| self.conversations.get(&id));
        // An event that is here already leaves nothing to wait for.
        let version = ack.version.unwrap_or(0);
        let awaited = if conversation.is_some_and(|held| held.version < version) { version } else { 0 };
        let Some(deed) = self.commands.done(ack.client_message_id, awaited) else { return };
        self.changed.extend(deed.lane().map(|(conversation, _)| Change::Timeline(conversation)));
        match self.drafts.answered(ack.client_message_id, Some(ack.index)) {
            Some(conversation) => self.store_draft(conversation),
            None => self.out.push(Effect::Done(ack.client_message_id, ack.conversation)),
        }
    }

    pub(super) fn typed_draft(&mut self, moment: &Moment, id: ConversationId, draft: Draft) {
        if self.uploads.typed(id, &draft.text, draft.reply_to) {
            self.changed.insert(Change::Uploads(id));
        }
        let had = self.drafts.get(id).is_some_and(|draft| !draft.is_empty());
        let has = !draft.is_empty();
        if let Some(stored) = self.drafts.typed(id, draft, moment.now_ms) {
            self.out.push(Effect::StoreDraft(id, stored));
        }
        if had != has {
            self.changed.insert(Change::List);
        }
    }

    fn store_draft(&mut self, id: ConversationId) {
        let stored = self.drafts.stored(id).unwrap_or(StoredDraft { told: true, ..StoredDraft::default() });
        self.out.push(Effect::StoreDraft(id, stored));
    }

    /// What the server has of a draft, as of this index.
    pub(super) fn draft_told(&mut self, id: ConversationId, draft: &Draft, index: Index) {
        if let Some((stored, shown)) = self.drafts.told(id, draft, index) {
            self.out.push(Effect::StoreDraft(id, stored));
            if shown {
                self.out.push(Effect::DraftChanged(id));
                self.changed.insert(Change::List);
            }
        }
    }

    fn pump_drafts(&mut self, moment: &Moment) {
        let mut salt = 0;
        let turns = self.drafts.take_turns(moment.now_ms, || {
            salt += 1;
            let random = moment.random.wrapping_sub(SALT.wrapping_mul(salt));
            Moment { random, ..*moment }.client_message_id()
        });
        for (id, conversation, draft) in turns {
            // What no message can hold stays on this device until it is shorter.
            let fits = draft.text.len() <= self.limits.text_bytes_max;
            let action = Action::Draft { conversation, text: draft.text, reply_to: draft.reply_to };
            if !fits || !self.commands.push(id, Deed::Do(action)) {
                // Told with what is typed next.
                self.drafts.answered(id, None);
            }
        }
    }

    pub(super) fn mark_read(&mut self, moment: &Moment, id: ConversationId, sequence: Sequence) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        // Whoever reads what was written in an archived conversation has it in her list again.
        let archived = conversation.preferences.archived && conversation.unread > 0;
        let marked = conversation.marked_unread();
        let is_news = sequence.min(conversation.sequence) > conversation.read;
        if archived || (marked && !is_news) {
            // A read mark that moves clears it; one that is where it was says nothing to the server.
            let change = PreferencesChange {
                archived: archived.then_some(false),
                unread_from: (marked && !is_news).then_some(0),
                ..PreferencesChange::default()
            };
            conversation.preferences.archived &= !archived;
            conversation.preferences.unread_from = 0;
            self.changed.insert(Change::List);
            self.command_quietly(moment, Action::Prefer { conversation: id, change });
        }
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.preferences.unread_from = 0;
        if sequence == Sequence::MAX {
            // All of it: nothing is marked as new any more.
            conversation.has_answered();
            self.changed.insert(Change::Timeline(id));
        }
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
        self.pump_drafts(moment);
        for (id, request) in self.commands.take_turns(moment.now_ms, self.log_time) {
            if self.travels(&request) {
                self.ask(moment, Asked::Command(id), request);
            } else {
                let error = refused_here(ErrorCode::TooLarge, t("this is too long to travel in one piece"));
                self.command_refused(moment, id, error);
            }
        }
        if !self.reads.is_empty() && moment.now_ms >= self.reads_next_ms {
            self.reads_next_ms = moment.now_ms + READS_INTERVAL_MS;
            let Some(socket) = self.live().map(|link| link.socket) else { return };
            for (conversation, sequence) in std::mem::take(&mut self.reads) {
                self.say(socket, Request::Read { conversation, sequence });
            }
        }
    }

    /// Whether it fits into a frame. The server would close the socket on one that does not, and again after each resume.
    fn travels(&self, request: &Request) -> bool {
        encode(&ClientFrame { id: u64::MAX, request: request.clone() }).len() <= self.limits.frame_bytes_max
    }

    fn transmit(&mut self, moment: &Moment, id: ClientMessageId) {
        let Some((item, first)) = self.outbox.sent(id, self.log_time, moment.now_ms) else { return };
        let (stored, send) = (item.stored.clone(), item.to_send());
        let request = Request::Send(send);
        if !self.travels(&request) {
            let error =
                refused_here(ErrorCode::TooLarge, t("the message is too long to travel in one piece"));
            self.send_refused(moment, id, error);
            return;
        }
        if first {
            self.changed.insert(Change::Timeline(stored.conversation));
            self.out.push(Effect::Store(stored));
        }
        self.ask(moment, Asked::Send(id), request);
    }

    pub(super) fn sending_deadline_ms(&self) -> Option<u64> {
        self.live()?;
        let reads = (!self.reads.is_empty()).then_some(self.reads_next_ms);
        let parts =
            [reads, self.commands.deadline_ms(), self.drafts.deadline_ms(), self.outbox.deadline_ms()];
        parts.into_iter().flatten().min()
    }
}

/// How long a temporary refusal waits: as the server says, else the backoff by the attempts so far.
fn wait_ms(moment: &Moment, attempts: u32, asked_ms: Option<u64>) -> u64 {
    match asked_ms {
        Some(asked_ms) => asked_ms + moment.jitter_ms(RETRY_MS_MIN),
        None => RETRY_MS_MIN + moment.jitter_ms(bound_ms(attempts)),
    }
}
