//! What a device keeps of the conversations, so that a page that is loaded without a network shows them.
//!
//! Owns: which conversations, what changed since the last time, and how what was kept comes back. Must not know where it is kept.
//! What comes back has no position: the next socket starts from the server's summaries, and what differs is asked for.

use quorate_proto::frame::User;
use quorate_proto::ids::{ConversationId, Version};
use serde::{Deserialize, Serialize};

use super::Client;
use super::link::Phase;
use crate::conversation::Conversation;
use crate::event::{Change, Effect};
use crate::outbox::{Outbox, StoredItem};

/// Conversations kept: those with the newest messages.
pub const KEPT_CONVERSATIONS_MAX: usize = 100;
/// A conversation that came back is filled up to so many missing events; beyond it the newest page is read when somebody looks.
pub(super) const FILL_RECALLED_MAX: Version = 50;

/// Whose it is and of when.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    user: User,
    cluster: String,
    log_time: u64,
    /// Wall clock of this device, ms.
    at: u64,
}

/// What is to be kept from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Whose it is: begins the name of each row. Rows whose names begin otherwise go.
    pub prefix: String,
    /// Replaces the former head.
    pub head: String,
    /// The rows that stay; all others go.
    pub stay: Vec<ConversationId>,
    /// Rows to be replaced or made.
    pub rows: Vec<KeptRow>,
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// Which.
    pub conversation: ConversationId,
    /// As of which event. A row of another window that is newer stays; so does one as new that has messages where this has none.
    pub version: Version,
    /// Messages are kept with it.
    pub full: bool,
    /// The row.
    pub text: String,
}

impl Client {
    /// What of the model differs from what was kept last; `None` while no session is live, since what is known is known already.
    /// `wall_ms`: the device's wall clock.
    pub fn keep(&mut self, wall_ms: u64) -> Option<Keep> {
        self.live()?;
        let (user, cluster) = (self.me.as_ref()?, self.cluster.as_ref()?);
        let prefix = format!("{}-{}@{cluster}/", user.id, user.name);
        let (user, cluster) = (user.clone(), cluster.clone());
        let head =
            serde_json::to_string(&Head { user, cluster, log_time: self.log_time, at: wall_ms }).ok()?;
        let mut newest: Vec<(u64, ConversationId)> = Vec::new();
        for conversation in self.conversations.values() {
            // One without a message was just made: on top, as in the list.
            let time = conversation.preview.as_ref().map_or(u64::MAX, |preview| preview.time);
            let at = newest.partition_point(|(other, _)| *other >= time);
            if at < KEPT_CONVERSATIONS_MAX {
                newest.insert(at, (time, conversation.id));
                newest.truncate(KEPT_CONVERSATIONS_MAX);
            }
        }
        let stay: Vec<ConversationId> = newest.into_iter().map(|(_, id)| id).collect();
        self.kept.retain(|id, _| stay.contains(id));
        let mut rows = Vec::new();
        for id in &stay {
            let Some(conversation) = self.conversations.get(id) else { continue };
            let mark = conversation.kept_mark();
            if self.kept.get(id) == Some(&mark) {
                continue;
            }
            let Some(text) = conversation.kept_text() else { continue };
            let (version, full) = (conversation.version, conversation.is_kept_full());
            rows.push(KeptRow { conversation: *id, version, full, text });
            self.kept.insert(*id, mark);
        }
        Some(Keep { prefix, head, stay, rows })
    }

    /// Takes what a former life kept. Only who has nothing yet has a use for it.
    pub(super) fn recall(&mut self, head: &str, rows: &[String]) {
        let read = |text: &str| serde_json::from_value(serde_json::from_str(text).ok()?).ok();
        let Some(head): Option<Head> = read(head) else { return };
        if self.phase != Phase::SignedOut || self.me.is_some() {
            return;
        }
        for text in rows {
            if let Some(conversation) = Conversation::from_kept(text, head.user.id) {
                self.kept.insert(conversation.id, conversation.kept_mark());
                self.changed.insert(Change::Timeline(conversation.id));
                let conversation = conversation.windowed(self.config.window);
                self.conversations.insert(conversation.id, Box::new(conversation));
            }
        }
        self.me = Some(head.user);
        self.cluster = Some(head.cluster);
        self.log_time = head.log_time;
        self.recalled_at = Some(head.at);
        self.changed.extend([Change::List, Change::Own, Change::Connection]);
    }

    /// Somebody else signed in than the one whose conversations came back.
    pub(super) fn unrecall(&mut self) {
        if self.recalled_at.take().is_some() {
            self.conversations.clear();
            self.outbox = Outbox::default();
            self.kept.clear();
            self.cluster = None;
            self.log_time = 0;
        }
    }

    /// Of when the conversations are, wall clock in ms, while they are those that were kept.
    pub fn recalled_at(&self) -> Option<u64> {
        self.recalled_at
    }

    /// Without those whose message is here: it was committed, and its ack never came.
    pub(super) fn without_committed(&mut self, items: Vec<StoredItem>) -> Vec<StoredItem> {
        let mut waiting = Vec::new();
        for item in items {
            let held = self.conversations.get(&item.conversation);
            if held.is_some_and(|held| held.timeline.has(item.id)) {
                self.out.push(Effect::Unstore(item.id));
            } else {
                self.changed.insert(Change::Timeline(item.conversation));
                waiting.push(item);
            }
        }
        waiting
    }
}
