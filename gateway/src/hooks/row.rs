//! Whose turn it is among the bots that have something to be told. Pure: time and chance come as arguments.
//!
//! Who has waited longest is next, whatever its number: a bot takes its place at the end of the row when it is first seen, and again
//! with each turn. Nobody's bots hold all places, however many hosts they are told at.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use quorate_proto::rpc::HooksResult;

use super::pace::retry_ms;
use super::turn::End;

/// Bots told at the same time.
pub(super) const TURNS_MAX: usize = 16;
/// Bots of one owner told at the same time: a quarter of all, as of one host.
pub(super) const TURNS_PER_OWNER_MAX: usize = 4;

/// What is known of a bot whose server did not take something.
#[derive(Debug, Clone, Copy)]
struct Failing {
    failures: u32,
    again: Instant,
}

/// Which bots a look showed: of very many, not all.
struct Shown<'a> {
    bots: HashSet<u64>,
    after: u64,
    found: &'a HooksResult,
}

impl Shown<'_> {
    /// Whether this one waits no more: it would have been shown.
    fn lacks(&self, bot: u64) -> bool {
        !self.bots.contains(&bot) && self.reaches(bot)
    }

    /// Whether the look came by this number. It begins behind `after` and goes on from the lowest.
    fn reaches(&self, bot: u64) -> bool {
        let Some(through) = self.found.bots_waiting.last().copied().filter(|_| self.found.more) else {
            return true;
        };
        if self.after < through {
            self.after < bot && bot <= through
        } else {
            self.after < bot || bot <= through
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Bots that are told just now, and whose they are.
    running: HashMap<u64, u64>,
    failing: HashMap<u64, Failing>,
    /// Places in the row, the lowest is next.
    places: HashMap<u64, u64>,
    last_place: u64,
    /// The next look begins behind this bot.
    after: u64,
}

impl Row {
    /// Behind which bot the next look begins: of more than one answer holds, each look shows others.
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// The bots to be given a turn now. `found` is what a look behind [`Self::after`] showed.
    pub(super) fn next(&mut self, found: &HooksResult, now: Instant) -> Vec<u64> {
        self.forget(found);
        for bot in &found.bots_waiting {
            let last = &mut self.last_place;
            self.places.entry(*bot).or_insert_with(|| one_more(last));
        }
        let mut room = TURNS_MAX.saturating_sub(self.running.len());
        if room == 0 {
            // The same are looked at again: nobody of them could have a turn.
            return Vec::new();
        }
        self.after = found.bots_waiting.last().copied().filter(|_| found.more).unwrap_or(0);
        let is_ready = |bot: &u64| {
            !self.running.contains_key(bot)
                && self.failing.get(bot).is_none_or(|failing| failing.again <= now)
        };
        // A replica of the version before says nothing of owners: then each bot stands for itself. No bot owns another, so the two
        // are never taken for each other.
        let owners = found.owners.iter().copied().map(Some).chain(std::iter::repeat(None));
        let mut ready: Vec<(u64, u64, u64)> = found
            .bots_waiting
            .iter()
            .zip(owners)
            .filter(|(bot, _)| is_ready(bot))
            .map(|(bot, owner)| {
                let place = self.places.get(bot).copied().unwrap_or(u64::MAX);
                (place, *bot, owner.filter(|owner| *owner != 0).unwrap_or(*bot))
            })
            .collect();
        ready.sort_unstable();
        let mut of_owner: HashMap<u64, usize> = HashMap::new();
        for owner in self.running.values() {
            *of_owner.entry(*owner).or_default() += 1;
        }
        let mut bots = Vec::new();
        for (_, bot, owner) in ready {
            if room == 0 {
                break;
            }
            let held = of_owner.entry(owner).or_default();
            if *held >= TURNS_PER_OWNER_MAX {
                continue;
            }
            *held += 1;
            room -= 1;
            self.running.insert(bot, owner);
            self.places.insert(bot, one_more(&mut self.last_place));
            bots.push(bot);
        }
        bots
    }

    /// What was forgotten by the replicas is forgotten here.
    fn forget(&mut self, found: &HooksResult) {
        let shown = Shown { bots: found.bots_waiting.iter().copied().collect(), after: self.after, found };
        self.failing.retain(|bot, _| !shown.lacks(*bot));
        self.places.retain(|bot, _| !shown.lacks(*bot));
    }

    /// A turn has ended.
    pub(super) fn ended(&mut self, bot: u64, end: End, now: Instant, chance: impl FnOnce(u64) -> u64) {
        self.running.remove(&bot);
        match end {
            End::Failed { progress } => {
                let before =
                    self.failing.get(&bot).filter(|_| !progress).map_or(0, |failing| failing.failures);
                let failures = before.saturating_add(1);
                let again = now + Duration::from_millis(retry_ms(failures, chance));
                self.failing.insert(bot, Failing { failures, again });
            }
            End::Empty | End::More => {
                self.failing.remove(&bot);
            }
            // Nothing was learned of its server: what is known of it stays.
            End::Later | End::Lost => {}
        }
    }
}

/// The end of the row.
fn one_more(last_place: &mut u64) -> u64 {
    *last_place += 1;
    *last_place
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bots that wait, each of an owner of its own (a thousand above it).
    fn waiting(bots: impl IntoIterator<Item = u64>) -> HooksResult {
        let bots_waiting: Vec<u64> = bots.into_iter().collect();
        let owners = bots_waiting.iter().map(|bot| bot + 1_000_000).collect();
        HooksResult { hooks: 1, bots_waiting, owners, ..HooksResult::default() }
    }

    /// A replica's answer, `listed` at most: behind `after` first, then from the lowest on.
    fn look(all: &[u64], after: u64, listed: usize) -> HooksResult {
        let behind = all.iter().filter(|bot| **bot > after);
        let shown = behind.chain(all.iter().filter(|bot| **bot <= after)).take(listed).copied();
        HooksResult { more: all.len() > listed, ..waiting(shown) }
    }

    fn end_all(row: &mut Row, bots: &[u64], end: End, now: Instant) {
        for bot in bots {
            row.ended(*bot, end, now, |_| 0);
        }
    }

    #[test]
    fn turns_go_round_and_wait_for_what_failed() {
        let now = Instant::now();
        let all = waiting(1..=40);
        let mut row = Row::default();
        let first = row.next(&all, now);
        assert_eq!(first, (1..=16).collect::<Vec<_>>());
        assert!(row.next(&all, now).is_empty(), "all places are taken");
        row.ended(1, End::Failed { progress: false }, now, |_| 0);
        row.ended(2, End::More, now, |_| 0);
        assert_eq!(row.next(&all, now), [17, 18], "the next in order, not the same again");
        end_all(&mut row, &(3..=18).collect::<Vec<_>>(), End::Empty, now);
        let rest = row.next(&all, now);
        assert_eq!(rest, (19..=34).collect::<Vec<_>>());
        end_all(&mut row, &rest, End::Empty, now);
        let last = row.next(&all, now);
        assert_eq!(last, (35..=40).chain(2..=11).collect::<Vec<_>>(), "without 1, which waits");
        end_all(&mut row, &last, End::Empty, now);
        let later = now + Duration::from_millis(1_000);
        assert_eq!(row.next(&waiting([1, 2]), later), [1, 2]);
        row.ended(1, End::Failed { progress: false }, later, |_| 0);
        assert_eq!(row.failing[&1].failures, 2);
        row.ended(1, End::Later, later, |_| 0);
        assert_eq!(row.failing[&1].failures, 2, "nothing was learned of its server");
        row.ended(1, End::Failed { progress: true }, later, |_| 0);
        assert_eq!(row.failing[&1].failures, 1, "something was taken meanwhile");
        row.next(&waiting([2]), later);
        assert!(row.failing.is_empty() && row.places.len() == 1, "nothing waits for it any more");
    }

    #[test]
    fn one_owner_holds_a_quarter_of_all_places_and_her_bots_take_turns_among_themselves() {
        let now = Instant::now();
        // Bots 1 to 20 are hers, 21 to 25 belong to others; a bot of nobody that is known stands for itself.
        let mut all = waiting(1..=26);
        all.owners = std::iter::repeat_n(900, 20).chain(901..=905).collect();
        let mut row = Row::default();
        assert_eq!(row.next(&all, now), [1, 2, 3, 4, 21, 22, 23, 24, 25, 26]);
        assert!(row.next(&all, now).is_empty(), "places are free, but not for hers");
        // Slow servers: one ends after the other, and all the time there is more for each.
        let mut told = vec![1, 2, 3, 4];
        let mut under_way = std::collections::VecDeque::from(told.clone());
        for _ in 0..36 {
            let bot = under_way.pop_front().expect("four are");
            row.ended(bot, End::More, now, |_| 0);
            let next = row.next(&all, now);
            assert_eq!(next.len(), 1);
            under_way.extend(&next);
            told.extend(next);
        }
        let twice: Vec<u64> = (1..=20).chain(1..=20).collect();
        assert_eq!(told, twice, "each as often as the others");
        // Of a replica of the version before nothing is known of owners.
        let old = HooksResult { owners: Vec::new(), ..all };
        assert_eq!(Row::default().next(&old, now).len(), TURNS_MAX);
    }

    #[test]
    fn of_very_many_each_has_its_turn_although_others_always_have_something_to_be_told() {
        let now = Instant::now();
        let all: Vec<u64> = (1..=1_000).map(|number| number * 3).collect();
        let mut row = Row::default();
        let mut turns: HashMap<u64, u32> = HashMap::new();
        for _ in 0..200 {
            let bots = row.next(&look(&all, row.after(), 100), now);
            assert_eq!(bots.len(), TURNS_MAX);
            for bot in &bots {
                *turns.entry(*bot).or_default() += 1;
            }
            end_all(&mut row, &bots, End::More, now);
        }
        let (least, most) = (turns.values().min().copied(), turns.values().max().copied());
        assert_eq!((turns.len(), least, most), (1_000, Some(3), Some(4)), "3,200 turns for a thousand");
        assert_eq!(row.places.len(), 1_000);
    }

    #[test]
    fn a_thousand_dead_servers_do_not_hide_the_one_behind_them() {
        let now = Instant::now();
        let all: Vec<u64> = (1..=1_001).collect();
        let mut row = Row::default();
        // All but the last fail, again and again, until none of them is to be tried.
        let mut told = 0;
        for _ in 0..200 {
            for bot in row.next(&look(&all, row.after(), 100), now) {
                told += u32::from(bot == 1_001);
                row.ended(
                    bot,
                    if bot == 1_001 { End::More } else { End::Failed { progress: false } },
                    now,
                    |_| 0,
                );
            }
        }
        assert!(told > 10, "{told} turns of the one that answers");
        assert_eq!(
            row.failing.len(),
            1_000,
            "what is known of the others is not forgotten between two looks"
        );
        // They were dropped meanwhile: what each look comes by is forgotten.
        for _ in 0..3 {
            row.next(&look(&[1_001], row.after(), 100), now);
        }
        assert!(row.failing.is_empty() && row.places.len() == 1);
    }

    #[test]
    fn a_look_forgets_only_what_it_came_by() {
        let now = Instant::now();
        let mut row = Row::default();
        row.next(&waiting([5, 10, 20, 30]), now);
        end_all(&mut row, &[5, 10, 20, 30], End::Failed { progress: false }, now);
        row.after = 20;
        // Behind 20 there is 40 alone, and of those from the lowest on the answer holds 7.
        row.next(&HooksResult { more: true, ..waiting([40, 7]) }, now);
        let mut known: Vec<u64> = row.failing.keys().copied().collect();
        known.sort_unstable();
        assert_eq!(known, [10, 20], "5 and 30 would have been shown");
        assert_eq!(row.after(), 7);
    }
}
