//! What the server says becomes the model: welcome, events, pings, acks.

use std::collections::BTreeMap;

use quorate_proto::frame::{
    Ack, Body, ConversationKind, Event, EventKind, MeEvent, MeKind, Request, ScheduledState, Status, Welcome,
};
use quorate_proto::ids::{ConversationId, Index, TopicRef, Version};

use super::Client;
use super::keeping::FILL_RECALLED_MAX;
use super::link::{Asked, decode, is_answer_only};
use crate::conversation::{Conversation, Verdict};
use crate::drafts::Draft;
use crate::event::{Change, Effect, SocketId};
use crate::moment::Moment;
use crate::timeline::Page;

impl Client {
    pub(super) fn text(&mut self, moment: &Moment, socket: SocketId, text: &str) {
        if !self.heard(moment, socket) {
            return;
        }
        for frame in decode(text) {
            match frame {
                Ok(frame) => {
                    let asked = frame.reply.and_then(|reply| self.answered(moment, socket, reply));
                    self.body(moment, socket, asked, frame.body);
                }
                Err(Some(reply)) => {
                    self.answered(moment, socket, reply);
                }
                Err(None) => {}
            }
        }
    }

    fn body(&mut self, moment: &Moment, socket: SocketId, asked: Option<Asked>, body: Body) {
        if asked.is_none() && is_answer_only(&body) {
            // An answer to a question of a former life.
            return;
        }
        match body {
            Body::Welcome(welcome) => self.welcomed(moment, socket, *welcome),
            Body::Ok => {}
            Body::Error { error } => match asked {
                Some(Asked::Send(id)) => self.send_refused(moment, id, error),
                Some(Asked::Command(id)) => self.command_refused(moment, id, error),
                Some(Asked::History(conversation, page)) => {
                    self.history_refused(moment, conversation, page, &error);
                }
                Some(Asked::Look) => self.look_refused(moment, &error),
                Some(Asked::Since) => self.since_refused(moment, &error),
                Some(Asked::Summary(conversation)) => self.summary_refused(moment, conversation, &error),
                Some(Asked::Room(conversation)) => self.room_refused(moment, conversation, &error),
                Some(Asked::Count(conversation)) if !error.temporary => self.count_refused(conversation),
                // Of another session, or no good: greeting anew tells which, and takes its time.
                Some(Asked::Auth) if !error.temporary => self.drop_link(moment, socket),
                // A refused hello is followed by `bye`, which says what to do.
                Some(Asked::Auth | Asked::Hello | Asked::Measure | Asked::Count(_)) | None => {}
            },
            Body::Ack(ack) => self.acked(ack),
            Body::Event(event) => {
                self.position.event(event.index);
                self.event(event, true, 0);
            }
            Body::Me(event) => {
                self.position.event(event.index);
                self.me_event(event);
            }
            Body::Page { conversation, messages, more_before, as_of_index, .. } => match asked {
                Some(Asked::History(_, page)) => {
                    self.history_page(conversation, page, &messages, more_before, as_of_index);
                }
                Some(Asked::Look) => self.look_page(moment, &messages, more_before),
                _ => {}
            },
            Body::Since { pages, as_of_index } => self.since_pages(moment, pages, as_of_index),
            Body::Conversation { conversation, marks, .. } => match asked {
                Some(Asked::Summary(_)) => self.summary(&conversation),
                Some(Asked::Count(_)) => self.count(&conversation),
                Some(Asked::Room(id)) => self.room_opened(id, &marks),
                _ => {}
            },
            Body::Signal(signal) => self.signal(moment, signal),
            Body::Gap { topic: TopicRef::Me, to_version, .. } => self.own.known_up_to(to_version),
            Body::Gap { topic: TopicRef::Conversation(id), to_version, .. } => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.known_up_to(to_version);
                }
            }
            Body::Status(status) => self.status(&status),
            Body::Ping { n, index, log_time, .. } => {
                self.log_time = self.log_time.max(log_time);
                if self.link.as_ref().is_some_and(|link| link.socket == socket) {
                    self.position.ping(index);
                    self.check_resume(index);
                }
                self.changed.insert(Change::Connection);
                self.say(socket, Request::Pong { n });
            }
            Body::Drain { after_ms, .. } => self.drain(moment, socket, after_ms),
            Body::Bye { code, reason, retry_ms } => self.bye(moment, socket, code, reason, retry_ms),
        }
    }

    /// The session begins, or goes on.
    pub(super) fn take_welcome(&mut self, moment: &Moment, welcome: Welcome) {
        let other_cluster = self.cluster.as_ref().is_some_and(|cluster| *cluster != welcome.cluster);
        if other_cluster {
            // Another log: nothing that was cached means anything there. What was written is kept.
            self.conversations.clear();
            self.reads.clear();
            self.drafts.other_log();
            self.log_time = 0;
            self.position = crate::position::Position::default();
        }
        let resumed = welcome.resumed && self.resumable && !other_cluster;
        self.cluster = Some(welcome.cluster);
        let other_gateway = self.gateway != welcome.gateway;
        self.gateway = welcome.gateway;
        self.session = welcome.session;
        self.limits = welcome.limits;
        self.write = welcome.write;
        self.log_time = self.log_time.max(welcome.log_time);
        self.me = Some(welcome.user);
        self.resumable = true;
        self.resume_ends = None;
        let is_recalled = self.recalled_at.take().is_some();
        if resumed {
            self.position.resume();
            self.resume_ends = Some(welcome.index);
            self.own.promised = welcome.me_version;
        } else {
            self.position.start(welcome.index);
            self.own.start(welcome.me_version);
            let listed: Vec<ConversationId> =
                welcome.conversations.iter().map(|summary| summary.id).collect();
            self.conversations.retain(|id, _| listed.contains(id));
        }
        let (me, window) = (self.me_id(), self.config.window);
        for summary in &welcome.conversations {
            match self.conversations.get_mut(&summary.id) {
                None => {
                    self.conversations.insert(
                        summary.id,
                        Box::new(Conversation::from_summary(summary, me).windowed(window)),
                    );
                }
                Some(conversation) if resumed => {
                    conversation.describe(summary);
                    conversation.mark_read(summary.read);
                    conversation.promised = summary.version;
                }
                Some(conversation) => {
                    if is_recalled && summary.version > conversation.version + FILL_RECALLED_MAX {
                        conversation.forget();
                    }
                    conversation.take_summary(summary);
                    if is_recalled {
                        // What was counted when it was kept is no more than a guess by now.
                        conversation.take_count(summary);
                    }
                }
            }
        }
        for summary in &welcome.conversations {
            let draft = Draft { text: summary.draft.clone(), reply_to: summary.draft_reply_to };
            self.draft_told(summary.id, &draft, welcome.index);
        }
        // An address may name a conversation that is not the reader's.
        let seek_later = self.seek_later.take().filter(|(id, _)| self.conversations.contains_key(id));
        if let Some((id, sequence)) = seek_later {
            self.seek(id, sequence);
        }
        let mut late_reads = Vec::new();
        for conversation in self.conversations.values_mut() {
            conversation.ask_again();
            if conversation.read > conversation.read_confirmed {
                late_reads.push((conversation.id, conversation.read));
            }
            self.changed.insert(Change::Timeline(conversation.id));
        }
        self.reads.extend(late_reads);
        for conversation in self.conversations.values() {
            self.commands.reached(conversation.id, conversation.version);
        }
        self.own.ask_again();
        self.outbox.requeue_in_flight();
        self.outbox.wake();
        self.looking.ask_again();
        self.commands.requeue();
        self.wake_uploads(moment, other_gateway);
        self.changed.extend([Change::Connection, Change::List]);
        self.reads_next_ms = self.reads_next_ms.min(moment.now_ms);
    }

    /// The resume is complete at this index: then every promised version must be here, or it is asked for.
    fn check_resume(&mut self, index: u64) {
        if self.resume_ends.is_none_or(|end| index < end) {
            return;
        }
        self.resume_ends = None;
        for conversation in self.conversations.values_mut() {
            let promised = std::mem::take(&mut conversation.promised);
            conversation.known_up_to(promised);
        }
        let promised = std::mem::take(&mut self.own.promised);
        self.own.known_up_to(promised);
    }

    /// Topics of which something is missing, so that a resume brings it.
    pub(super) fn have(&self) -> BTreeMap<String, Version> {
        let mut have = BTreeMap::new();
        for conversation in self.conversations.values().filter(|conversation| conversation.incomplete()) {
            have.insert(conversation.id.to_string(), conversation.version);
        }
        if self.own.incomplete() {
            have.insert("me".to_owned(), self.own.version);
        }
        have
    }

    /// An event of a conversation, pushed (`live`) or as an answer.
    pub(super) fn event(&mut self, event: Event, live: bool, as_of: Index) {
        let (me, id) = (self.me_id(), event.conversation);
        self.position.saw(event.index);
        self.log_time = self.log_time.max(event.time);
        self.settle_own(&event);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let (before, named_before) = (conversation.sequence, conversation.mentions);
        let verdict = conversation.take_as_of(event, as_of);
        if verdict == Verdict::Applied {
            let (newest, version) = (conversation.sequence, conversation.version);
            self.commands.reached(id, version);
            let from_other = conversation.preview.as_ref().is_some_and(|preview| preview.from.id != me);
            let reached = (newest > before && from_other).then_some(newest);
            if live && newest > before && from_other {
                let is_for_her =
                    conversation.kind == ConversationKind::Direct || conversation.mentions > named_before;
                if is_for_her && !conversation.muted(self.log_time) && self.telling.may_be_disturbed() {
                    self.out.push(Effect::Calls(id, newest));
                }
                // The conversation with its author shows the same name and picture.
                let author = conversation.preview.as_ref().map(|preview| preview.from.clone());
                let direct = |held: &&mut Box<Conversation>| held.kind == ConversationKind::Direct;
                for held in self.conversations.values_mut().filter(direct) {
                    author.iter().for_each(|author| held.meet(author));
                }
            }
            self.changed.extend([Change::Timeline(id), Change::List, Change::Signals(id)]);
            if let Some(sequence) = reached {
                self.has_reached(id, sequence);
            }
        }
        self.changed.insert(Change::Connection);
    }

    /// An own message that comes back as an event is committed, whether or not its ack will arrive.
    pub(super) fn settle_own(&mut self, event: &Event) {
        let EventKind::Message(message) = &event.kind else { return };
        if message.from.id == self.me_id() && self.outbox.remove(message.client_message_id).is_some() {
            self.out.push(Effect::Unstore(message.client_message_id));
            self.changed.insert(Change::Timeline(event.conversation));
        }
    }

    /// A command was committed. Whichever comes second of an own message's ack and event changes nothing but the term.
    fn acked(&mut self, ack: Ack) {
        self.position.saw(ack.index);
        self.log_time = self.log_time.max(ack.log_time);
        if let Some(item) = self.outbox.remove(ack.client_message_id) {
            self.out.push(Effect::Unstore(ack.client_message_id));
            let id = item.stored.conversation;
            if let Some(conversation) = self.conversations.get_mut(&id) {
                conversation.timeline.echo(item.stored, &ack);
            }
            self.changed.insert(Change::Timeline(id));
        } else if let Some(conversation) = ack.conversation.and_then(|id| self.conversations.get_mut(&id)) {
            conversation.timeline.acked(&ack);
            self.changed.insert(Change::Timeline(conversation.id));
        }
        self.command_done(&ack);
        self.changed.insert(Change::Connection);
        self.out.push(Effect::Acked(ack));
    }

    fn status(&mut self, status: &Status) {
        use quorate_proto::frame::WriteState;
        self.write = status.write;
        self.leader = status.leader.or(self.leader.filter(|_| status.write == WriteState::Up));
        if status.write == WriteState::Up {
            self.outbox.wake();
            self.commands.wake();
        }
        self.changed.insert(Change::Connection);
    }

    /// An event of the reader's own topic, by the version rule.
    pub(super) fn me_event(&mut self, event: MeEvent) {
        self.position.saw(event.index);
        self.log_time = self.log_time.max(event.time);
        for event in self.own.take(event) {
            self.apply_me(event);
        }
    }

    pub(super) fn apply_me(&mut self, event: MeEvent) {
        let (me, index) = (self.me_id(), event.index);
        match event.kind {
            MeKind::Added { conversation: summary, base_version } => {
                let id = summary.id;
                match self.conversations.get_mut(&id) {
                    // The welcome's summary was ahead of this event.
                    Some(conversation) => conversation.describe(&summary),
                    None => {
                        let mut conversation =
                            Conversation::from_summary(&summary, me).windowed(self.config.window);
                        // What lies between the base and the summary comes as events too; both are the same.
                        conversation.version = conversation.version.max(base_version);
                        self.conversations.insert(id, Box::new(conversation));
                    }
                }
                self.changed.insert(Change::Timeline(id));
            }
            MeKind::Removed { conversation } => {
                self.conversations.remove(&conversation);
                self.reads.remove(&conversation);
                self.drafts.forget(conversation);
                self.changed.insert(Change::Timeline(conversation));
            }
            MeKind::Read { conversation: id, sequence } => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.read_confirmed = conversation.read_confirmed.max(sequence);
                    if conversation.mark_read(sequence) {
                        // The server clears it with the mark.
                        conversation.preferences.unread_from = 0;
                    }
                    if self.reads.get(&id).is_some_and(|wanted| *wanted <= sequence) {
                        self.reads.remove(&id);
                    }
                }
            }
            MeKind::SessionEnded { .. } => {}
            MeKind::Preferences { conversation: id, preferences } => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.preferences = preferences;
                }
            }
            MeKind::Hidden { conversation: id, range } => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.hide(range);
                    self.changed.insert(Change::Timeline(id));
                }
            }
            MeKind::Saved { conversation, sequence, on } => {
                self.mine.save(conversation, sequence, on);
                self.changed.extend([Change::Own, Change::Timeline(conversation)]);
            }
            MeKind::Draft { conversation, text, reply_to } => {
                self.draft_told(conversation, &Draft { text, reply_to }, index);
            }
            MeKind::Scheduled { item, state, why, .. } => {
                self.mine.schedule(&item, state);
                self.changed.insert(Change::Own);
                match state {
                    ScheduledState::Fired if item.remind_of.is_some() => {
                        self.out.push(Effect::Reminded(item));
                    }
                    ScheduledState::Failed => self.out.push(Effect::ScheduleFailed(item, why)),
                    _ => {}
                }
            }
            MeKind::Profile { user, status } => {
                self.mine.status = status;
                for conversation in self.conversations.values_mut() {
                    for member in conversation.members.iter_mut().filter(|member| member.id == user.id) {
                        member.clone_from(&user);
                    }
                }
                self.me = Some(user);
                self.changed.insert(Change::Own);
                self.changed.extend(self.focused.map(Change::Timeline));
            }
            MeKind::Blocked { user, on } => {
                for conversation in self.conversations.values_mut() {
                    let direct = conversation.kind == ConversationKind::Direct;
                    if direct && conversation.members.iter().any(|member| member.id == user.id) {
                        // Whether the other blocks as well only the server knows: an attempt tells.
                        conversation.blocked = on;
                    }
                }
                self.mine.block(user, on);
                self.changed.insert(Change::Own);
            }
        }
        self.changed.insert(Change::List);
    }

    fn history_page(
        &mut self,
        id: ConversationId,
        page: Page,
        messages: &[Event],
        more_before: bool,
        as_of: Index,
    ) {
        for event in messages {
            // A message of the outbox that is in history has been committed.
            self.settle_own(event);
        }
        if let Some(conversation) = self.conversations.get_mut(&id) {
            if conversation.is_late(page, messages, as_of) {
                return;
            }
            if matches!(page, Page::Before(_) | Page::After(_) | Page::Around(_)) {
                conversation.take_past(page, messages, more_before, as_of);
                self.changed.extend([Change::Timeline(id), Change::List]);
                return;
            }
            conversation.take_page(page, messages, more_before, as_of);
            let newest = messages.last().and_then(|event| match &event.kind {
                EventKind::Message(message) => Some(message.sequence),
                _ => None,
            });
            self.changed.extend([Change::Timeline(id), Change::List]);
            if let Some(sequence) = newest {
                self.has_reached(id, sequence);
            }
        }
    }
}
