//! Who was here just now: collected for the replicas, which keep when each user was last seen. Pure.
//!
//! Who leaves is told at the next turn, who stays a few minutes apart. All of it is best effort: a turn takes some users, the
//! others wait for the next, and what finds no room is made good when she leaves or comes again.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use quorate_proto::ids::UserId;
use quorate_proto::limits::SEEN_USERS_MAX;
use quorate_proto::rpc::presence::State;

use super::SlotId;

/// One command in this time: a log entry for at most 256 users.
const TURN_INTERVAL: Duration = Duration::from_secs(30);
/// Who stays is told again after this: nobody looks at it while she is there.
const STAYING_INTERVAL: Duration = Duration::from_secs(4 * 60);
/// Users who left and wait for their turn: eight minutes' worth. Those beyond it are not told.
const LEFT_MAX: usize = 16 * SEEN_USERS_MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Seen {
    left: VecDeque<UserId>,
    waiting: HashSet<UserId>,
    turn_at: Instant,
    /// Those who stay, up to here, have been told in this round; `None` between two rounds.
    round: Option<UserId>,
    round_at: Instant,
}

/// Whether others may know that she is here.
fn is_shown(state: State) -> bool {
    matches!(state, State::Active | State::Idle | State::Dnd)
}

impl Seen {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: VecDeque::new(),
            waiting: HashSet::new(),
            turn_at: now + TURN_INTERVAL,
            round: None,
            round_at: now + STAYING_INTERVAL,
        }
    }

    /// Her last session here has ended; she was like this.
    pub(super) fn left(&mut self, user: UserId, state: State) {
        if is_shown(state) && self.left.len() < LEFT_MAX && self.waiting.insert(user) {
            self.left.push_back(user);
        }
    }

    /// Whom to tell now; nobody before the next turn.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        present: &BTreeMap<UserId, Vec<(SlotId, State)>>,
        state_of: impl Fn(UserId) -> State,
    ) -> Vec<UserId> {
        if now < self.turn_at {
            return Vec::new();
        }
        self.turn_at = now + TURN_INTERVAL;
        let count = self.left.len().min(SEEN_USERS_MAX);
        let mut users: Vec<UserId> = self.left.drain(..count).collect();
        for user in &users {
            self.waiting.remove(user);
        }
        if self.round.is_none() && now >= self.round_at {
            self.round = Some(0);
            self.round_at = now + STAYING_INTERVAL;
        }
        let Some(mut told) = self.round.take() else { return users };
        // Bounded by the users of this gateway: one look at each in four minutes.
        for user in present.range(told + 1..).map(|(user, _)| *user) {
            if users.len() >= SEEN_USERS_MAX {
                self.round = Some(told);
                break;
            }
            // Whoever does not use her device is not seen: it says so when she leaves.
            if matches!(state_of(user), State::Active | State::Dnd) && !users.contains(&user) {
                users.push(user);
            }
            told = user;
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotId = SlotId { at: 0, generation: 0 };

    fn present(states: &[(UserId, State)]) -> BTreeMap<UserId, Vec<(SlotId, State)>> {
        states.iter().map(|(user, state)| (*user, vec![(SLOT, *state)])).collect()
    }

    fn turn(seen: &mut Seen, now: Instant, there: &BTreeMap<UserId, Vec<(SlotId, State)>>) -> Vec<UserId> {
        seen.turn(now, there, |user| there[&user][0].1)
    }

    #[test]
    fn who_leaves_is_told_once_at_the_next_turn_and_who_is_invisible_never() {
        let now = Instant::now();
        let (mut seen, nobody) = (Seen::new(now), present(&[]));
        for (user, state) in [(7, State::Active), (8, State::Invisible), (7, State::Idle), (9, State::Idle)] {
            seen.left(user, state);
        }
        assert!(turn(&mut seen, now, &nobody).is_empty(), "not yet");
        assert_eq!(turn(&mut seen, now + TURN_INTERVAL, &nobody), [7, 9]);
        seen.left(7, State::Dnd);
        assert!(turn(&mut seen, now + TURN_INTERVAL, &nobody).is_empty(), "one command in each interval");
        assert_eq!(turn(&mut seen, now + 2 * TURN_INTERVAL, &nobody), [7]);
    }

    #[test]
    fn who_stays_is_told_every_few_minutes_and_everybody_has_a_turn() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        let many = 2 * SEEN_USERS_MAX as u64 + 10;
        let mut there: Vec<(UserId, State)> = (1..=many).map(|user| (user, State::Active)).collect();
        there[0].1 = State::Invisible;
        there[1].1 = State::Idle;
        let there = present(&there);
        let mut told = Vec::new();
        let turns = (STAYING_INTERVAL.as_secs() / TURN_INTERVAL.as_secs()) as u32;
        for number in 1..2 * turns {
            let users = turn(&mut seen, now + number * TURN_INTERVAL, &there);
            assert!(users.len() <= SEEN_USERS_MAX && (number >= turns || users.is_empty()), "{number}");
            told.extend(users);
        }
        assert_eq!(told, (3..=many).collect::<Vec<_>>(), "each once in a round");
        assert!(!turn(&mut seen, now + 2 * turns * TURN_INTERVAL, &there).is_empty(), "the next round");
    }

    #[test]
    fn those_who_left_wait_in_a_bounded_line() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        for user in 1..=LEFT_MAX as u64 + 10 {
            seen.left(user, State::Active);
        }
        let mut told = 0;
        for number in 1..100 {
            told += turn(&mut seen, now + number * TURN_INTERVAL, &present(&[])).len();
        }
        assert_eq!(told, LEFT_MAX);
    }
}
