//! Which messages have come to how many disks, of the conversations that somebody watches. Pure.
//!
//! Replicas say how much of the log is on how many disks; a message is there with its index. Nothing is kept of a message
//! that is everywhere, and of the others the newest few thousand.

use std::collections::BTreeMap;

use quorate_proto::ids::{ConversationId, Index, Sequence};

/// Messages that wait for one more disk; the oldest goes for one more. Only while a replica is away do they pile up.
const WAITING_MAX: usize = 4_096;

/// Messages of a conversation, up to one, are on so many disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) conversation: ConversationId,
    pub(super) sequence: Sequence,
    pub(super) replicas: u32,
    pub(super) of: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// At place n - 1: messages that wait until n replicas have them. Empty below a majority, which an event implies.
    waiting: Vec<Messages>,
    /// Messages that came before anybody said how many voters there are.
    early: Messages,
}

type Messages = BTreeMap<Index, (ConversationId, Sequence)>;

/// The smallest number of replicas that is a majority.
fn majority(of: usize) -> usize {
    of / 2 + 1
}

/// How many replicas have an index on disk.
pub(crate) fn replicas_with(kept: &[Index], index: Index) -> usize {
    // They fall: who is on more disks is not beyond who is on fewer.
    kept.partition_point(|reached| *reached >= index)
}

impl Durability {
    /// A message was delivered in a conversation that is watched.
    pub(super) fn note(&mut self, conversation: ConversationId, sequence: Sequence, index: Index) {
        let first = majority(self.waiting.len()) - 1;
        let early = self.waiting.is_empty().then_some(&mut self.early);
        for waiting in self.waiting.iter_mut().skip(first).chain(early) {
            waiting.insert(index, (conversation, sequence));
            if waiting.len() > WAITING_MAX {
                waiting.pop_first();
            }
        }
    }

    /// From now on there are so many voters: what still waited waits for that many.
    fn recount(&mut self, voters: usize) {
        let mut all = std::mem::take(&mut self.early);
        for waiting in self.waiting.drain(..) {
            all.extend(waiting);
        }
        while all.len() > WAITING_MAX {
            all.pop_first();
        }
        self.waiting = vec![Messages::new(); majority(voters) - 1];
        self.waiting.resize(voters, all);
    }

    /// This much is on so many disks now: what is to be told, the highest message of each conversation and number.
    pub(super) fn advance(&mut self, kept: &[Index]) -> Vec<Told> {
        if kept.is_empty() {
            // Nobody knows at present.
            return Vec::new();
        }
        if self.waiting.len() != kept.len() {
            self.recount(kept.len());
        }
        let of = u32::try_from(kept.len()).unwrap_or(u32::MAX);
        let mut told = Vec::new();
        // From the highest number: what is on more disks need not be told to be on fewer.
        let mut told_up_to = BTreeMap::<ConversationId, Sequence>::new();
        for (at, (waiting, reached)) in self.waiting.iter_mut().zip(kept).enumerate().rev() {
            let replicas = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let later = waiting.split_off(&reached.saturating_add(1));
            let mut highest = BTreeMap::<ConversationId, Sequence>::new();
            for (conversation, sequence) in std::mem::replace(waiting, later).into_values() {
                let known = highest.entry(conversation).or_default();
                *known = sequence.max(*known);
            }
            for (conversation, sequence) in highest {
                let already = told_up_to.entry(conversation).or_default();
                if sequence > *already {
                    *already = sequence;
                    told.push(Told { conversation, sequence, replicas, of });
                }
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(conversation: u64, sequence: u64, replicas: u32) -> Told {
        Told { conversation, sequence, replicas, of: 5 }
    }

    #[test]
    fn a_message_is_told_once_for_each_disk_beyond_a_majority() {
        let mut durability = Durability::default();
        durability.note(1, 1, 9);
        assert_eq!(durability.advance(&[9; 5]), [told(1, 1, 5)], "what came before anybody counted");
        durability.note(1, 2, 11);
        durability.note(2, 7, 12);
        assert_eq!(durability.advance(&[12, 12, 9, 9, 9]), [], "an event implies a majority");
        assert_eq!(durability.advance(&[12, 12, 12, 11, 9]), [told(1, 2, 4), told(2, 7, 3)]);
        assert_eq!(durability.advance(&[12, 12, 12, 11, 9]), [], "no news");
        // The last replica comes back with all of it.
        assert_eq!(durability.advance(&[13; 5]), [told(1, 2, 5), told(2, 7, 5)]);
        assert!(durability.waiting.iter().all(BTreeMap::is_empty), "nothing is kept of what is everywhere");
    }

    #[test]
    fn of_many_messages_the_highest_is_told_and_few_are_kept() {
        let mut durability = Durability::default();
        durability.advance(&[0; 5]);
        for number in 1..=2 * WAITING_MAX as u64 {
            durability.note(1, number, number);
        }
        let newest = 2 * WAITING_MAX as u64;
        assert_eq!(durability.advance(&[newest, newest, newest, newest, 0]), [told(1, newest, 4)]);
        assert_eq!(durability.waiting[4].len(), WAITING_MAX);
        assert_eq!(durability.advance(&[newest; 5]), [told(1, newest, 5)]);
    }

    #[test]
    fn what_waits_outlives_a_time_in_which_nobody_knows_and_other_voters() {
        let mut durability = Durability::default();
        durability.advance(&[9; 5]);
        durability.note(1, 1, 10);
        assert_eq!(durability.advance(&[]), [], "nobody knows");
        durability.note(1, 2, 11);
        assert_eq!(durability.advance(&[11, 11, 11, 11, 10]), [told(1, 1, 5), told(1, 2, 4)]);
        durability.note(1, 3, 12);
        assert_eq!(durability.advance(&[12; 3]), [Told { of: 3, ..told(1, 3, 3) }]);
        assert!(durability.waiting.iter().all(BTreeMap::is_empty));
        assert_eq!((replicas_with(&[12, 12, 11], 12), replicas_with(&[], 1)), (2, 0));
    }
}
