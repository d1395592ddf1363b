//! Questions: pages of history, `since` for gaps, summaries after a reset. Bounded, repeated after temporary refusals.

use quorate_proto::error::WireError;
use quorate_proto::frame::{ConversationSummary, History, MeEvent, Request, SincePage, SincePair};
use quorate_proto::ids::{ConversationId, Index, Sequence, TopicRef, Version};
use quorate_proto::limits::{HISTORY_MESSAGES_MAX, SINCE_EVENTS_MAX, SINCE_PAIRS_MAX};

use super::Client;
use super::link::Asked;
use crate::conversation::{Filling, HELD_EVENTS_MAX};
use crate::event::Change;
use crate::moment::Moment;
use crate::ordered::OrderedMap;
use crate::timeline::{Loading, Page};

/// Messages of one page of history: about two screens.
const HISTORY_MESSAGES: u32 = 50;
/// A refused question is asked again after this, unless the server says when.
const ASK_AGAIN_MS: u64 = 1_000;
/// Fills that bring nothing, in a row, before the topic starts anew from its summary.
const FILL_ATTEMPTS_MAX: u32 = 3;

/// The reader's own topic `me`: joins, removals, read marks of other devices.
#[derive(Debug, Default)]
pub(super) struct OwnTopic {
    pub(super) version: Version,
    known: Version,
    /// What `welcome` promised for the end of the resume.
    pub(super) promised: Version,
    held: OrderedMap<Version, MeEvent>,
    filling: Filling,
    fill_attempts: u32,
}

impl OwnTopic {
    /// A fresh start from the summaries.
    pub(super) fn start(&mut self, version: Version) {
        *self = Self { version, known: version, ..Self::default() };
    }

    /// Takes an event by the version rule; returns what can be applied now, in order.
    pub(super) fn take(&mut self, event: MeEvent) -> Vec<MeEvent> {
        self.known = self.known.max(event.version);
        if event.version > self.version && self.held.len() < HELD_EVENTS_MAX {
            self.held.insert(event.version, event);
        }
        let ready = self.ready();
        if self.incomplete() && self.filling == Filling::Whole {
            self.filling = Filling::Wanted(0);
        }
        ready
    }

    fn ready(&mut self) -> Vec<MeEvent> {
        let mut ready = Vec::new();
        while self.held.first_key().is_some_and(|version| version <= self.version + 1) {
            let Some((version, event)) = self.held.pop_first() else { break };
            if version == self.version + 1 {
                self.version = version;
                ready.push(event);
            }
        }
        if !self.incomplete() {
            self.filling = Filling::Whole;
            self.fill_attempts = 0;
        }
        ready
    }

    fn skip_to(&mut self, version: Version) -> Vec<MeEvent> {
        self.version = self.version.max(version);
        self.ready()
    }

    pub(super) fn known_up_to(&mut self, version: Version) {
        self.known = self.known.max(version);
        if self.incomplete() && self.filling == Filling::Whole {
            self.filling = Filling::Wanted(0);
        }
    }

    pub(super) fn incomplete(&self) -> bool {
        self.version < self.known
    }

    pub(super) fn ask_again(&mut self) {
        if self.filling == Filling::Asked {
            self.filling = Filling::Wanted(0);
        }
    }
}

impl Client {
    pub(super) fn load_older(&mut self, id: ConversationId) {
        if self.conversations.get_mut(&id).is_some_and(|conversation| conversation.want_older()) {
            self.changed.insert(Change::Timeline(id));
        }
    }

    pub(super) fn load_newer(&mut self, id: ConversationId) {
        if self.conversations.get_mut(&id).is_some_and(|conversation| conversation.want_newer()) {
            self.changed.extend([Change::Timeline(id), Change::List]);
        }
    }

    pub(super) fn go_to_latest(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.go_to_latest();
            self.changed.insert(Change::Timeline(id));
        }
    }

    pub(super) fn seek(&mut self, id: ConversationId, sequence: Sequence) {
        let Some(conversation) = self.conversations.get_mut(&id) else {
            // An address may be opened before the list of conversations is here.
            self.seek_later = Some((id, sequence));
            return;
        };
        if conversation.seek(sequence) {
            conversation.seek_on();
            self.changed.insert(Change::Timeline(id));
        }
    }

    pub(super) fn measure(&mut self, moment: &Moment) {
        let under_way = self
            .live()
            .is_some_and(|link| link.asked.values().any(|(asked, _)| matches!(asked, Asked::Measure)));
        if let Some(id) = self.focused.or_else(|| self.conversations.keys().next().copied())
            && !under_way
        {
            self.ask(moment, Asked::Measure, Request::Open { conversation: id, signals: false });
        }
    }

    pub(super) fn pump_asking(&mut self, moment: &Moment) {
        let live = self.live().is_some();
        if let Some(conversation) = self.focused.and_then(|id| self.conversations.get_mut(&id)) {
            conversation.enter(live);
            if live {
                conversation.want_history(Page::Newest, 0);
            }
        }
        if !live {
            return;
        }
        self.ask_history(moment);
        self.ask_since(moment);
        self.ask_counts(moment);
    }

    /// A read mark moved where the timeline does not reach: the server knows what is left. One question at a time, and
    /// not too often: its answer may speak of another state.
    fn ask_counts(&mut self, moment: &Moment) {
        if let Some(id) = self.doubtful()
            && moment.now_ms >= self.counts_next_ms
        {
            self.counts_next_ms = moment.now_ms + ASK_AGAIN_MS;
            self.counted_last = id;
            self.ask(moment, Asked::Count(id), Request::Open { conversation: id, signals: false });
        }
    }

    /// The next after the one that was asked last: one that stays doubtful does not hold the others up.
    fn doubtful(&self) -> Option<ConversationId> {
        let last = self.counted_last;
        let mut round = self.conversations.round_from(&last);
        round
            .find(|(_, conversation)| {
                conversation.unread_doubtful
                    && !conversation.incomplete()
                    && conversation.read <= conversation.read_confirmed
            })
            .map(|(id, _)| *id)
    }

    /// Nobody will tell: what is counted here stands.
    pub(super) fn count_refused(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.unread_doubtful = false;
        }
    }

    pub(super) fn count(&mut self, summary: &ConversationSummary) {
        if let Some(conversation) = self.conversations.get_mut(&summary.id) {
            conversation.take_count(summary);
            self.changed.insert(Change::List);
        }
    }

    fn ask_history(&mut self, moment: &Moment) {
        let mut questions = Vec::new();
        for conversation in self.conversations.values_mut() {
            let id = conversation.id;
            let asked = conversation.ask_pages(moment.now_ms);
            questions.extend(asked.into_iter().map(|page| (id, page, conversation.timeline.first())));
        }
        for (id, page, first) in questions {
            let (before, after, around) = match page {
                Page::Newest => (None, None, None),
                Page::Older => (first, None, None),
                Page::Before(first) => (Some(first), None, None),
                Page::After(last) => (None, Some(last), None),
                Page::Around(sequence) => (None, None, Some(sequence)),
            };
            let history = History {
                conversation: id,
                before,
                after,
                around,
                limit: HISTORY_MESSAGES.min(self.limits.history_messages_max.min(HISTORY_MESSAGES_MAX)),
                min_index: Some(self.position.seen()),
            };
            self.ask(moment, Asked::History(id, page), Request::History(history));
        }
    }

    fn ask_since(&mut self, moment: &Moment) {
        let due = |filling: Filling| matches!(filling, Filling::Wanted(at_ms) if at_ms <= moment.now_ms);
        let mut pairs = Vec::new();
        if due(self.own.filling) {
            self.own.filling = Filling::Asked;
            pairs.push(SincePair { topic: TopicRef::Me, version: self.own.version });
        }
        for conversation in self.conversations.values_mut() {
            if pairs.len() < SINCE_PAIRS_MAX && due(conversation.filling) {
                conversation.filling = Filling::Asked;
                // What is missing comes after what is shown: who reads is told that more is to come.
                self.changed.insert(Change::Signals(conversation.id));
                let topic = TopicRef::Conversation(conversation.id);
                pairs.push(SincePair { topic, version: conversation.version });
            }
        }
        if !pairs.is_empty() {
            let limit = self.limits.since_events_max.min(SINCE_EVENTS_MAX);
            self.ask(moment, Asked::Since, Request::Since { pairs, limit });
        }
    }

    pub(super) fn since_pages(&mut self, moment: &Moment, pages: Vec<SincePage>, as_of: Index) {
        for page in pages {
            match page.topic {
                TopicRef::Me => self.own_page(moment, page),
                TopicRef::Conversation(id) => self.conversation_page(moment, id, page, as_of),
            }
        }
    }

    fn own_page(&mut self, moment: &Moment, page: SincePage) {
        if page.reset {
            // Joins and removals are missing: only a fresh list of conversations is whole again.
            self.restart(moment);
            return;
        }
        self.own.filling = Filling::Whole;
        let before = self.own.version;
        for event in page.me {
            self.me_event(event);
        }
        if let Some(version) = page.skip_to {
            for event in self.own.skip_to(version) {
                self.apply_me(event);
            }
        }
        if page.more || self.own.incomplete() {
            if self.own.version == before {
                self.own.fill_attempts += 1;
                if self.own.fill_attempts >= FILL_ATTEMPTS_MAX {
                    self.restart(moment);
                    return;
                }
            }
            let wait_ms = if self.own.version > before { 0 } else { ASK_AGAIN_MS };
            self.own.filling = Filling::Wanted(moment.now_ms + wait_ms);
        }
    }

    fn conversation_page(&mut self, moment: &Moment, id: ConversationId, page: SincePage, as_of: Index) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if page.reset {
            self.ask_summary(moment, id);
            return;
        }
        conversation.filling = Filling::Whole;
        let before = conversation.version;
        if let Some(version) = page.skip_to {
            conversation.skip_to(version);
            self.commands.reached(id, conversation.version);
        }
        for event in page.events {
            self.event(event, false, as_of);
        }
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if page.more || conversation.incomplete() {
            let went_on = conversation.version > before;
            if !went_on {
                conversation.fill_attempts += 1;
            }
            if conversation.fill_attempts >= FILL_ATTEMPTS_MAX {
                self.ask_summary(moment, id);
                return;
            }
            let wait_ms = if went_on { 0 } else { ASK_AGAIN_MS };
            conversation.filling = Filling::Wanted(moment.now_ms + wait_ms);
        }
        self.changed.insert(Change::Timeline(id));
    }

    fn ask_summary(&mut self, moment: &Moment, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.filling = Filling::Summary;
        }
        self.ask(moment, Asked::Summary(id), Request::Open { conversation: id, signals: false });
    }

    pub(super) fn summary(&mut self, summary: &ConversationSummary) {
        if let Some(conversation) = self.conversations.get_mut(&summary.id) {
            conversation.reset_to(summary);
            self.commands.reached(summary.id, conversation.version);
            self.changed.extend([Change::Timeline(summary.id), Change::List]);
        }
    }

    pub(super) fn since_refused(&mut self, moment: &Moment, error: &WireError) {
        let at_ms = moment.now_ms + error.retry_ms.unwrap_or(ASK_AGAIN_MS);
        if self.own.filling == Filling::Asked {
            self.own.filling = Filling::Wanted(at_ms);
        }
        for conversation in self.conversations.values_mut() {
            if conversation.filling == Filling::Asked {
                conversation.filling = Filling::Wanted(at_ms);
            }
        }
    }

    pub(super) fn summary_refused(&mut self, moment: &Moment, id: ConversationId, error: &WireError) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            let wait_ms = error.retry_ms.unwrap_or(ASK_AGAIN_MS);
            conversation.filling = Filling::Wanted(moment.now_ms + wait_ms);
        }
    }

    pub(super) fn history_refused(
        &mut self,
        moment: &Moment,
        id: ConversationId,
        page: Page,
        error: &WireError,
    ) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            if !error.temporary {
                conversation.refused(page, error.message.clone());
            } else if let Some(loading) = conversation.asked(page) {
                *loading = Loading::Wanted(page, moment.now_ms + error.retry_ms.unwrap_or(ASK_AGAIN_MS));
            }
            self.changed.insert(Change::Timeline(id));
        }
    }

    pub(super) fn asking_deadline_ms(&self) -> Option<u64> {
        self.live()?;
        let wanted = |filling: Filling| match filling {
            Filling::Wanted(at_ms) => Some(at_ms),
            _ => None,
        };
        let fills = self.conversations.values().filter_map(|conversation| wanted(conversation.filling));
        let pages = self.conversations.values().filter_map(|conversation| conversation.pages_due_ms());
        let count = self.doubtful().map(|_| self.counts_next_ms);
        fills.chain(pages).chain(wanted(self.own.filling)).chain(count).min()
    }
}
