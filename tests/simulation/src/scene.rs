//! What all clients of a run share: who talks where, what was seen, and what was wrong with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_proto::ids::{ConversationId, Sequence, UserId, Version};
use quorate_proto::rpc::{Event, event};
use quorate_tests::history::{Delivered, Fate, History, Micros, Reader, Row, Sent};
use uuid::Uuid;

use crate::violation::Violation;

/// A user with a session.
#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub session: Bytes,
}

/// What the clients know together.
#[derive(Debug, Default)]
pub struct Seen {
    pub history: History,
    pub users: Vec<User>,
    pub conversations: Vec<ConversationId>,
    /// Highest sequence that was acknowledged or read linearizably.
    pub floors: BTreeMap<ConversationId, Sequence>,
    /// What the oracle does not look at: stale reads, replays that differ, refusals that cannot be.
    pub wrongs: Vec<Violation>,
    /// Acks of sends that began after the network was healed, by writer.
    pub acks_after_heal: BTreeMap<usize, u64>,
    pub acks: u64,
    pub replays: u64,
    pub linear_reads: u64,
    pub resumed: u64,
    pub newest_index: u64,
    pub final_pages: usize,
}

/// The stage and what is played on it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    seen: Arc<Mutex<Seen>>,
    now: Arc<AtomicU64>,
    ready: Arc<AtomicBool>,
    quiet: Arc<AtomicBool>,
    healed_at: Arc<AtomicU64>,
}

impl Scene {
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_now(&self, ms: u64) {
        self.now.store(ms, Ordering::Relaxed);
    }

    pub fn now_ms(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub fn now(&self) -> Micros {
        self.now_ms() * 1000
    }

    /// The people are signed up and have rooms.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Nobody begins anything new.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    pub fn set_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    pub fn set_healed(&self) {
        self.healed_at.store(self.now_ms().max(1), Ordering::Relaxed);
    }

    pub fn wrong(&self, kind: &str, what: String) {
        let at = self.now_ms();
        self.seen().wrongs.push(Violation::new(kind, format!("at {at} ms: {what}")));
    }

    pub fn sent(&self, id: Uuid, sender: UserId, conversation: ConversationId, text: String) -> usize {
        let invoked = self.now();
        let mut seen = self.seen();
        seen.history.sends.push(Sent { id, sender, conversation, text, invoked, fate: Fate::Unknown });
        seen.history.sends.len() - 1
    }

    pub fn acked(&self, place: usize, writer: usize, fate: Fate) {
        let healed_at = self.healed_at.load(Ordering::Relaxed);
        let mut seen = self.seen();
        seen.acks += 1;
        let sent = &mut seen.history.sends[place];
        sent.fate = fate.clone();
        let (conversation, invoked) = (sent.conversation, sent.invoked);
        if let Fate::Acked { sequence, index, .. } = fate {
            let floor = seen.floors.entry(conversation).or_default();
            *floor = (*floor).max(sequence);
            seen.newest_index = seen.newest_index.max(index);
        }
        if healed_at > 0 && invoked >= healed_at * 1000 {
            *seen.acks_after_heal.entry(writer).or_default() += 1;
        }
    }

    pub fn reader(&self, name: String) -> usize {
        let mut seen = self.seen();
        let starts = seen.conversations.iter().map(|id| (*id, 0)).collect();
        seen.history.readers.push(Reader { user: 0, name, starts, events: Vec::new(), complete: true });
        seen.history.readers.len() - 1
    }

    pub fn delivered(&self, reader: usize, event: &Event) {
        let at = self.now();
        let conversation = event.topic.as_ref().map_or(0, |topic| topic.id);
        let delivered =
            Delivered { at, conversation, version: event.version, index: event.index, message: row(event) };
        self.seen().history.readers[reader].events.push(delivered);
    }

    /// The versions up to which a reader has everything.
    pub fn versions(&self, reader: usize) -> BTreeMap<ConversationId, Version> {
        let seen = self.seen();
        let mut versions = BTreeMap::new();
        for event in &seen.history.readers[reader].events {
            versions.insert(event.conversation, event.version);
        }
        versions
    }
}

/// A message as the oracle sees it.
pub fn row(event: &Event) -> Option<Row> {
    let Some(event::Kind::Message(message)) = &event.kind else { return None };
    Some(Row {
        sequence: message.sequence,
        version: event.version,
        id: Uuid::from_slice(&message.client_message_id).unwrap_or_default(),
        from: message.from.as_ref().map_or(0, |from| from.id),
        text: message.text.clone(),
    })
}
