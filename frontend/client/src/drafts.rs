//! What the reader has begun to write, here and on her other devices.
//!
//! Kept at once where it is typed; told to the server at most every few seconds, and when the conversation is left. What
//! was typed here and not yet told wins over what another device told; otherwise the newest told counts. Knows no storage.

use quorate_proto::ids::{ClientMessageId, ConversationId, Index, Sequence};
use serde::{Deserialize, Serialize};

use crate::ordered::OrderedMap;

/// A draft is told at most once in this time.
pub const DRAFT_INTERVAL_MS: u64 = 3_000;
/// Conversations with a draft at most; beyond it new ones stay on this device.
pub const DRAFTS_MAX: usize = 1_000;

/// A text that was begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// As typed.
    pub text: String,
    /// The message answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Sequence>,
}

impl Draft {
    /// Whether there is nothing to keep. An answer without a word is nothing.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    fn told(&self) -> Self {
        if self.is_empty() { Self::default() } else { self.clone() }
    }
}

/// A draft as it is stored across reloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDraft {
    /// The draft.
    #[serde(flatten)]
    pub draft: Draft,
    /// The server has it: what the server says later is newer.
    #[serde(default)]
    pub told: bool,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    here: Draft,
    /// What the server has, as far as is known.
    there: Draft,
    /// Under way, and what.
    telling: Option<(ClientMessageId, Draft)>,
    /// What the server would not take: it stays on this device.
    refused: Option<Draft>,
    /// Not told before.
    next_ms: u64,
}

impl Kept {
    fn dirty(&self) -> bool {
        self.here.told() != self.there
    }

    fn wants_telling(&self) -> bool {
        self.telling.is_none() && self.dirty() && self.refused.as_ref() != Some(&self.here.told())
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Drafts {
    kept: OrderedMap<ConversationId, Kept>,
    /// Where in the log the newest own telling of each conversation stands. Kept when its draft is gone: the events of what
    /// was told may come after the answers.
    acked: OrderedMap<ConversationId, Index>,
}

impl Drafts {
    /// Drafts of a former life of this client.
    pub fn restore(&mut self, stored: Vec<(ConversationId, StoredDraft)>) {
        for (id, stored) in stored.into_iter().take(DRAFTS_MAX) {
            let there = if stored.told { stored.draft.told() } else { Draft::default() };
            self.kept.insert(id, Kept { here: stored.draft, there, ..Kept::default() });
        }
    }

    /// Something was typed. Returns what is to be stored, if it is news.
    pub fn typed(&mut self, id: ConversationId, draft: Draft, now_ms: u64) -> Option<StoredDraft> {
        if !self.kept.contains_key(&id) && (draft.is_empty() || self.kept.len() >= DRAFTS_MAX) {
            return None;
        }
        let kept = self.kept.of(id);
        if kept.here == draft {
            return None;
        }
        if !kept.dirty() {
            // A pause after the first letters: most messages are sent before it ends, and need no telling.
            kept.next_ms = kept.next_ms.max(now_ms + DRAFT_INTERVAL_MS);
        }
        kept.here = draft;
        self.stored(id)
    }

    /// The conversation was left: what is not told yet is told now.
    pub fn left(&mut self, id: ConversationId) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.next_ms = 0;
        }
    }

    /// The server says what it has as of this index. Returns what is to be stored, and whether what is shown here changed.
    pub fn told(&mut self, id: ConversationId, draft: &Draft, index: Index) -> Option<(StoredDraft, bool)> {
        if self.acked.get(&id).is_some_and(|acked| index <= *acked) {
            // An own telling, or one that an own one has replaced since.
            return None;
        }
        if !self.kept.contains_key(&id) && (draft.is_empty() || self.kept.len() >= DRAFTS_MAX) {
            return None;
        }
        let kept = self.kept.of(id);
        let own = kept.telling.as_ref().is_some_and(|(_, telling)| telling == draft);
        let was_dirty = kept.dirty();
        kept.there = draft.told();
        let shown = !was_dirty && !own && kept.here.told() != kept.there;
        if shown {
            kept.here = kept.there.clone();
        }
        self.stored(id).map(|stored| (stored, shown))
    }

    /// What is to be told now, under these ids.
    pub fn take_turns(
        &mut self,
        now_ms: u64,
        mut next_id: impl FnMut() -> ClientMessageId,
    ) -> Vec<(ClientMessageId, ConversationId, Draft)> {
        let mut turns = Vec::new();
        for (conversation, kept) in self.kept.iter_mut() {
            if kept.wants_telling() && now_ms >= kept.next_ms {
                let (id, draft) = (next_id(), kept.here.told());
                kept.telling = Some((id, draft.clone()));
                kept.next_ms = now_ms + DRAFT_INTERVAL_MS;
                turns.push((id, *conversation, draft));
            }
        }
        turns
    }

    /// A telling was answered: done at this index, or refused for good (then it is not tried again until something is
    /// typed). Returns the conversation if it was one.
    pub fn answered(&mut self, id: ClientMessageId, taken: Option<Index>) -> Option<ConversationId> {
        let (conversation, kept) = self
            .kept
            .iter_mut()
            .find(|(_, kept)| kept.telling.as_ref().is_some_and(|(telling, _)| *telling == id))?;
        match kept.telling.take() {
            Some((_, draft)) if taken.is_some() => kept.there = draft,
            Some((_, draft)) => kept.refused = Some(draft),
            None => {}
        }
        let conversation = *conversation;
        if let Some(index) = taken {
            let acked = self.acked.of(conversation);
            *acked = index.max(*acked);
            if self.acked.len() > DRAFTS_MAX {
                // Of the oldest the events have come long ago.
                let oldest = self.acked.iter().min_by_key(|(_, index)| **index).map(|(id, _)| *id);
                oldest.map(|oldest| self.acked.remove(&oldest));
            }
        }
        if self.kept.get(&conversation).is_some_and(|kept| !kept.dirty() && kept.here.is_empty()) {
            self.kept.remove(&conversation);
        }
        Some(conversation)
    }

    /// The conversation is gone.
    pub fn forget(&mut self, id: ConversationId) {
        self.kept.remove(&id);
        self.acked.remove(&id);
    }

    /// Another log: its indexes have nothing to do with those known.
    pub fn other_log(&mut self) {
        self.acked.clear();
    }

    /// The draft of a conversation.
    pub fn get(&self, id: ConversationId) -> Option<&Draft> {
        self.kept.get(&id).map(|kept| &kept.here)
    }

    /// As it is to be stored; `told` and empty: nothing is.
    pub fn stored(&self, id: ConversationId) -> Option<StoredDraft> {
        let kept = self.kept.get(&id)?;
        Some(StoredDraft { draft: kept.here.clone(), told: !kept.dirty() })
    }

    /// When [`Self::take_turns`] has something to say.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.kept.values().filter(|kept| kept.wants_telling()).map(|kept| kept.next_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Draft {
        Draft { text: text.to_owned(), reply_to: None }
    }

    fn id(n: u64) -> ClientMessageId {
        ClientMessageId::from_slice(&u128::from(n).to_be_bytes()).expect("16 bytes")
    }

    fn turns(drafts: &mut Drafts, now_ms: u64, n: u64) -> Vec<(ConversationId, String)> {
        drafts.take_turns(now_ms, || id(n)).into_iter().map(|(_, id, draft)| (id, draft.text)).collect()
    }

    #[test]
    fn is_kept_at_once_and_told_now_and_then() {
        let mut drafts = Drafts::default();
        assert_eq!(drafts.typed(1, draft("h"), 0).map(|stored| stored.told), Some(false));
        assert_eq!(drafts.typed(1, draft("h"), 1), None);
        drafts.typed(1, draft("he"), 2_000);
        assert!(turns(&mut drafts, 2_999, 1).is_empty());
        assert_eq!(turns(&mut drafts, 3_000, 1), [(1, "he".to_owned())]);
        drafts.typed(1, draft("hey"), 3_100);
        assert!(turns(&mut drafts, 9_000, 2).is_empty(), "one at a time");
        assert_eq!(drafts.answered(id(1), Some(1)), Some(1));
        assert_eq!(turns(&mut drafts, 9_000, 2), [(1, "hey".to_owned())]);
        assert_eq!(drafts.answered(id(2), Some(2)), Some(1));
        assert_eq!((drafts.deadline_ms(), drafts.stored(1).map(|stored| stored.told)), (None, Some(true)));
    }

    #[test]
    fn a_message_that_is_sent_before_the_pause_ends_was_never_told() {
        let mut drafts = Drafts::default();
        drafts.typed(1, draft("hi"), 0);
        drafts.typed(1, draft(""), 100);
        assert_eq!(drafts.deadline_ms(), None);
        drafts.typed(2, draft("long"), 0);
        drafts.left(2);
        assert_eq!(turns(&mut drafts, 10, 1), [(2, "long".to_owned())], "left: told at once");
    }

    #[test]
    fn another_device_is_followed_unless_something_was_typed_here() {
        let mut drafts = Drafts::default();
        let told = drafts.told(1, &draft("there"), 0);
        assert_eq!(told.map(|(stored, shown)| (stored.draft.text, shown)), Some(("there".to_owned(), true)));
        drafts.typed(1, draft("here"), 0);
        assert_eq!(drafts.told(1, &draft("there too"), 0).map(|(_, shown)| shown), Some(false));
        assert_eq!(drafts.get(1), Some(&draft("here")));
        assert_eq!(turns(&mut drafts, 9_000, 1), [(1, "here".to_owned())]);
        // The echo of the own telling, while more was typed.
        drafts.typed(1, draft("here!"), 9_001);
        assert_eq!(drafts.told(1, &draft("here"), 0).map(|(_, shown)| shown), Some(false));
        assert_eq!(drafts.get(1), Some(&draft("here!")));
        drafts.answered(id(1), Some(1));
        assert!(drafts.deadline_ms().is_some());
    }

    #[test]
    fn own_tellings_that_come_back_late_are_known_by_their_index() {
        let mut drafts = Drafts::default();
        drafts.typed(1, draft("hello"), 0);
        turns(&mut drafts, 3_000, 1);
        drafts.answered(id(1), Some(10));
        // Sent: the box is empty, and that was told as well.
        drafts.typed(1, draft(""), 4_000);
        assert_eq!(turns(&mut drafts, 9_000, 2), [(1, String::new())]);
        drafts.answered(id(2), Some(12));
        assert_eq!(drafts.get(1), None);
        assert_eq!(drafts.told(1, &draft("hello"), 10), None, "the feed is behind");
        assert_eq!(drafts.told(1, &draft(""), 12), None);
        assert_eq!(drafts.get(1), None);
        assert_eq!(drafts.told(1, &draft("phone"), 13).map(|(_, shown)| shown), Some(true));
        drafts.other_log();
        assert_eq!(drafts.told(1, &draft("other"), 2).map(|(_, shown)| shown), Some(true));
    }

    #[test]
    fn what_the_server_refuses_stays_here_and_is_not_tried_again() {
        let mut drafts = Drafts::default();
        drafts.typed(1, draft("too long"), 0);
        assert_eq!(turns(&mut drafts, 3_000, 1).len(), 1);
        drafts.answered(id(1), None);
        assert_eq!((drafts.deadline_ms(), drafts.stored(1).map(|stored| stored.told)), (None, Some(false)));
        drafts.typed(1, draft("shorter"), 4_000);
        assert_eq!(turns(&mut drafts, 9_000, 2), [(1, "shorter".to_owned())]);
    }

    #[test]
    fn after_a_reload_the_untold_is_told_and_the_told_gives_way() {
        let mut drafts = Drafts::default();
        let stored = |text, told| StoredDraft { draft: draft(text), told };
        drafts.restore(vec![(1, stored("mine", false)), (2, stored("old", true))]);
        assert_eq!(drafts.told(1, &draft(""), 0).map(|(_, shown)| shown), Some(false));
        assert_eq!(drafts.told(2, &draft("newer"), 0).map(|(_, shown)| shown), Some(true));
        assert_eq!(turns(&mut drafts, 0, 1), [(1, "mine".to_owned())]);
        assert_eq!(drafts.get(2), Some(&draft("newer")));
    }
}
