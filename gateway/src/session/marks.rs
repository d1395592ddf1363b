//! Marks that move forward and may be told late: at most one per conversation in a while, the newest. Pure.

use std::collections::HashMap;

use quorate_proto::ids::{ConversationId, Sequence};

/// Conversations remembered.
const CONVERSATIONS_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Mark {
    waiting: Option<Sequence>,
    told: Sequence,
    told_at_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Marks {
    interval_ms: u64,
    marks: HashMap<ConversationId, Mark>,
}

impl Marks {
    /// At most one per conversation in this time.
    pub fn new(interval_ms: u64) -> Self {
        Self { interval_ms, marks: HashMap::new() }
    }

    /// Takes a mark; true when it is to be told now.
    pub fn offer(&mut self, now_ms: u64, conversation: ConversationId, sequence: Sequence) -> bool {
        if self.marks.len() >= CONVERSATIONS_MAX && !self.marks.contains_key(&conversation) {
            let interval_ms = self.interval_ms;
            self.marks.retain(|_, mark| mark.waiting.is_some() || mark.told_at_ms + interval_ms > now_ms);
            if self.marks.len() >= CONVERSATIONS_MAX {
                return false;
            }
        }
        match self.marks.get_mut(&conversation) {
            Some(mark) if sequence <= mark.told.max(mark.waiting.unwrap_or(0)) => false,
            Some(mark) if mark.told_at_ms + self.interval_ms > now_ms => {
                mark.waiting = Some(sequence);
                false
            }
            _ => {
                let mark = Mark { waiting: None, told: sequence, told_at_ms: now_ms };
                self.marks.insert(conversation, mark);
                true
            }
        }
    }

    /// When [`Self::due`] has something.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let waiting = self.marks.values().filter(|mark| mark.waiting.is_some());
        waiting.map(|mark| mark.told_at_ms + self.interval_ms).min()
    }

    /// Marks that have waited long enough.
    pub fn due(&mut self, now_ms: u64) -> Vec<(ConversationId, Sequence)> {
        let mut due = Vec::new();
        for (conversation, mark) in &mut self.marks {
            if let Some(sequence) = mark.waiting
                && mark.told_at_ms + self.interval_ms <= now_ms
            {
                *mark = Mark { waiting: None, told: sequence, told_at_ms: now_ms };
                due.push((*conversation, sequence));
            }
        }
        due
    }
}
