//! What this gateway itself sees of changes of leader: the first answer to a command that had waited, and the first events pushed.
//!
//! Told once for each leader's stream and for each leader that the feed names, never for each message. Bounded, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// Marks kept: of more changes of leader than the replicas remember.
const MARKS_MAX: usize = 64;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The first answers to commands on a new stream; the oldest of these commands had waited since then.
    Answer {
        /// When it came to this gateway.
        waited_since: Instant,
    },
    /// The first events since the feed named this leader.
    Push,
}

/// Something that was seen under a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The leader's id.
    pub leader: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub seen: Seen,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Marks(Mutex<VecDeque<Mark>>);

impl Marks {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn put(&self, mark: Mark) {
        let mut marks = self.lock();
        if marks.len() >= MARKS_MAX {
            marks.pop_front();
        }
        marks.push_back(mark);
    }

    /// The first commands were answered on a stream to this leader.
    pub fn answered(&self, leader: u64, waited_since: Instant, at: Instant) {
        self.put(Mark { leader, at, seen: Seen::Answer { waited_since } });
    }

    /// The first events were pushed since the feed named this leader.
    pub fn pushed(&self, leader: u64, at: Instant) {
        self.put(Mark { leader, at, seen: Seen::Push });
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Mark> {
        self.lock().iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_marks_are_kept() {
        let (marks, now) = (Marks::default(), Instant::now());
        for leader in 0..MARKS_MAX as u64 + 5 {
            marks.pushed(leader, now);
        }
        let all = marks.all();
        assert_eq!((all.len(), all[0].leader), (MARKS_MAX, 5));
    }
}
