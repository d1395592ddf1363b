//! How far messages have reached somebody's device. In memory only, and bounded: a restarted replica knows less, and who
//! shows it keeps the maximum of what she was told.

use std::collections::BTreeMap;

/// Marks of one generation; two are kept. Some 5 MiB in all.
const MARKS_MAX: usize = 50_000;

type Marks = BTreeMap<(u64, u64), u64>;

/// The highest message delivered, by conversation and user.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    young: Marks,
    old: Marks,
}

impl Delivered {
    pub(super) fn of(&self, conversation: u64, user: u64) -> u64 {
        let key = (conversation, user);
        self.young.get(&key).or_else(|| self.old.get(&key)).copied().unwrap_or(0)
    }

    /// Moves a mark, never back; whether it moved.
    pub(super) fn advance(&mut self, conversation: u64, user: u64, sequence: u64) -> bool {
        if sequence <= self.of(conversation, user) {
            return false;
        }
        if self.young.len() >= MARKS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert((conversation, user), sequence);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_only_rise_and_the_oldest_are_forgotten() {
        let mut delivered = Delivered::default();
        assert!(delivered.advance(1, 7, 5));
        assert!(!delivered.advance(1, 7, 5) && !delivered.advance(1, 7, 4));
        for user in 100..100 + MARKS_MAX as u64 {
            delivered.advance(2, user, 1);
        }
        assert_eq!((delivered.of(1, 7), delivered.of(2, 100)), (5, 1), "one generation back");
        for user in 1_000_000..1_000_000 + MARKS_MAX as u64 {
            delivered.advance(2, user, 1);
        }
        assert_eq!(delivered.of(1, 7), 0);
        assert!(delivered.young.len() + delivered.old.len() <= 2 * MARKS_MAX);
    }
}
