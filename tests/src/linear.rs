//! Whether a history of calls is linearizable: whether each can be given a moment between its call and its return so that, in
//! that order, a sequential model gives the same answers.
//!
//! The configurations that are possible so far are carried from one return to the next (Lowe 2017, "just-in-time"): a state of
//! the model and the calls under way that have taken effect. Exact, and cheap while few calls overlap. A call whose fate was
//! not seen stays under way for ever: it may take effect at any later time, or never. What grows beyond its bound is
//! [`Verdict::Unknown`], which is not a pass. Written here because `porcupine-rs` 0.3.0 brings a benchmark framework and some
//! forty packages as ordinary dependencies.

use std::collections::BTreeSet;

use crate::history::Micros;

/// Configurations looked at for one return; beyond it the answer is [`Verdict::Unknown`].
const CONFIGURATIONS_MAX: usize = 200_000;

/// What the thing under test is meant to be.
pub trait Model {
    /// Its state.
    type State: Clone + Ord;
    /// A call with its answer, or without one if its fate was not seen.
    type Call;

    /// Before the first call.
    fn start() -> Self::State;

    /// The state after a call, if it can have had its answer in this one.
    fn step(state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// A call in real time.
#[derive(Debug, Clone)]
pub struct Timed<C> {
    /// When it was made.
    pub invoked: Micros,
    /// When its answer came; `None` for one whose fate was not seen.
    pub returned: Option<Micros>,
    /// What, and what it was answered.
    pub call: C,
}

/// What a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none: this call, by its place in the history, cannot have had its answer.
    Violation(usize),
    /// Too many calls overlap to say.
    Unknown,
}

/// The beginning of a history, at most so many calls. What was under way at its end is of unknown fate there, as `forget` makes
/// it; what saw something later is left out.
pub fn beginning<C>(
    mut history: Vec<Timed<C>>,
    calls_max: usize,
    forget: impl Fn(C) -> Option<C>,
) -> Vec<Timed<C>> {
    history.sort_by_key(|timed| timed.invoked);
    let Some(end) = history.get(calls_max).map(|timed| timed.invoked) else { return history };
    history.truncate(calls_max);
    let cut = |timed: Timed<C>| match timed.returned {
        Some(returned) if returned < end => Some(timed),
        _ => Some(Timed { invoked: timed.invoked, returned: None, call: forget(timed.call)? }),
    };
    history.into_iter().filter_map(cut).collect()
}

/// Judges a history.
pub fn check<M: Model>(history: &[Timed<M::Call>]) -> Verdict {
    // At one moment calls come before returns: what touches is taken to overlap.
    let mut moments: Vec<(Micros, bool, usize)> = Vec::with_capacity(history.len() * 2);
    for (place, timed) in history.iter().enumerate() {
        moments.push((timed.invoked, false, place));
        moments.extend(timed.returned.map(|returned| (returned, true, place)));
    }
    moments.sort_unstable();
    let mut under_way = BTreeSet::new();
    let mut possible = BTreeSet::from([(M::start(), BTreeSet::new())]);
    for (_, is_return, place) in moments {
        if !is_return {
            under_way.insert(place);
            continue;
        }
        let mut reached = BTreeSet::new();
        let mut seen = possible.clone();
        let mut open: Vec<_> = possible.into_iter().collect();
        while let Some((state, mut taken)) = open.pop() {
            if taken.remove(&place) {
                reached.insert((state, taken));
                continue;
            }
            for next in under_way.iter().filter(|next| !taken.contains(*next)) {
                let Some(state) = M::step(&state, &history[*next].call) else { continue };
                let mut taken = taken.clone();
                taken.insert(*next);
                if seen.insert((state.clone(), taken.clone())) {
                    open.push((state, taken));
                }
            }
            if seen.len() > CONFIGURATIONS_MAX {
                return Verdict::Unknown;
            }
        }
        if reached.is_empty() {
            return Verdict::Violation(place);
        }
        under_way.remove(&place);
        possible = reached;
    }
    Verdict::Linearizable
}

/// A message's text: a register that is compared and set by its revision.
#[derive(Debug)]
pub struct Register;

/// A call to a [`Register`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterCall {
    /// Read as this revision and text.
    Read(u64, String),
    /// Set from the first revision to the second, with this text.
    Set(u64, u64, String),
    /// Would have been set from the first revision, but the second was there.
    Conflict(u64, u64),
    /// Perhaps set from this revision.
    Unknown(u64, String),
}

impl Model for Register {
    type State = (u64, String);
    type Call = RegisterCall;

    fn start() -> Self::State {
        (0, String::new())
    }

    fn step((revision, text): &Self::State, call: &RegisterCall) -> Option<Self::State> {
        let same = || (*revision, text.clone());
        match call {
            RegisterCall::Read(seen, read) => (seen == revision && read == text).then(same),
            RegisterCall::Set(from, to, text) => {
                (from == revision && *to == revision + 1).then(|| (*to, text.clone()))
            }
            RegisterCall::Conflict(from, found) => (from != revision && found == revision).then(same),
            RegisterCall::Unknown(from, text) => {
                Some(if from == revision { (revision + 1, text.clone()) } else { same() })
            }
        }
    }
}

/// A conversation's head: every send takes the next sequence.
#[derive(Debug)]
pub struct Head;

impl RegisterCall {
    /// The same without its answer, if it can have had an effect.
    pub fn forget(self) -> Option<Self> {
        match self {
            Self::Set(from, _, text) | Self::Unknown(from, text) => Some(Self::Unknown(from, text)),
            Self::Read(..) | Self::Conflict(..) => None,
        }
    }
}

impl HeadCall {
    /// The same without its answer, if it can have had an effect.
    pub fn forget(self) -> Option<Self> {
        match self {
            Self::Sent(_) | Self::Unknown => Some(Self::Unknown),
            Self::Read(_) => None,
        }
    }
}

/// A call to a [`Head`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadCall {
    /// Read as this sequence.
    Read(u64),
    /// A send that was given this sequence.
    Sent(u64),
    /// Perhaps a send.
    Unknown,
}

impl Model for Head {
    type State = u64;
    type Call = HeadCall;

    fn start() -> u64 {
        0
    }

    fn step(head: &u64, call: &HeadCall) -> Option<u64> {
        match call {
            HeadCall::Read(seen) => (seen == head).then_some(*head),
            HeadCall::Sent(sequence) => (*sequence == head + 1).then_some(*sequence),
            HeadCall::Unknown => Some(head + 1),
        }
    }
}

/// The voters of a cluster of five, one of which is replaced at a time.
#[derive(Debug)]
pub struct Voters;

/// A call to [`Voters`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VotersCall {
    /// Read as these.
    Read(BTreeSet<u64>),
    /// The first was replaced by the second, or had been already.
    Replaced(u64, u64),
    /// Refused, for this one is no voter.
    NoVoter(u64),
    /// Perhaps the first was replaced by the second.
    Unknown(u64, u64),
}

impl VotersCall {
    /// The same without its answer, if it can have had an effect.
    pub fn forget(self) -> Option<Self> {
        match self {
            Self::Replaced(old, new) | Self::Unknown(old, new) => Some(Self::Unknown(old, new)),
            Self::Read(_) | Self::NoVoter(_) => None,
        }
    }
}

impl Model for Voters {
    type State = BTreeSet<u64>;
    type Call = VotersCall;

    fn start() -> Self::State {
        (1..=5).collect()
    }

    fn step(voters: &Self::State, call: &VotersCall) -> Option<Self::State> {
        let replaced = |old: u64, new: u64| {
            let mut after = voters.clone();
            (after.remove(&old) && after.insert(new)).then_some(after)
        };
        let is_done = |old, new| !voters.contains(&old) && voters.contains(&new);
        let same = || voters.clone();
        match *call {
            VotersCall::Read(ref seen) => (seen == voters).then(same),
            VotersCall::Replaced(old, new) => replaced(old, new).or_else(|| is_done(old, new).then(same)),
            VotersCall::NoVoter(id) => (!voters.contains(&id)).then(same),
            VotersCall::Unknown(old, new) => Some(replaced(old, new).unwrap_or_else(same)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RegisterCall::{Conflict, Read, Set, Unknown};

    fn at<C>(invoked: Micros, returned: Micros, call: C) -> Timed<C> {
        Timed { invoked, returned: Some(returned), call }
    }

    fn register(history: &[Timed<RegisterCall>]) -> Verdict {
        check::<Register>(history)
    }

    fn read(revision: u64, text: &str) -> RegisterCall {
        Read(revision, text.into())
    }

    fn set(from: u64, text: &str) -> RegisterCall {
        Set(from, from + 1, text.into())
    }

    #[test]
    fn a_history_with_an_order_is_accepted() {
        let history = [
            at(0, 10, set(0, "a")),
            at(1, 9, read(0, "")),
            at(2, 8, read(1, "a")),
            at(3, 12, Conflict(0, 1)),
            at(13, 20, set(1, "b")),
            at(14, 30, read(1, "a")),
            at(21, 22, read(2, "b")),
        ];
        assert_eq!(register(&history), Verdict::Linearizable);
    }

    #[test]
    fn a_stale_read_is_found() {
        assert_eq!(register(&[at(0, 1, set(0, "a")), at(2, 3, read(0, ""))]), Verdict::Violation(1));
    }

    #[test]
    fn a_lost_update_is_found() {
        assert_ne!(register(&[at(0, 5, set(0, "a")), at(1, 6, set(0, "b"))]), Verdict::Linearizable);
        let history = [at(0, 1, set(0, "a")), at(2, 3, set(1, "b")), at(4, 5, read(1, "a"))];
        assert_eq!(register(&history), Verdict::Violation(2));
    }

    #[test]
    fn a_text_that_nobody_wrote_and_a_false_conflict_are_found() {
        assert_eq!(register(&[at(0, 1, set(0, "a")), at(2, 3, read(1, "b"))]), Verdict::Violation(1));
        assert_eq!(register(&[at(0, 1, set(0, "a")), at(2, 3, Conflict(1, 1))]), Verdict::Violation(1));
        assert_eq!(register(&[at(0, 1, Conflict(0, 1))]), Verdict::Violation(0));
    }

    #[test]
    fn reads_that_go_back_are_found_even_beside_the_write() {
        let history = [at(0, 100, set(0, "a")), at(1, 2, read(1, "a")), at(3, 4, read(0, ""))];
        assert_eq!(register(&history), Verdict::Violation(2));
    }

    #[test]
    fn a_call_of_unknown_fate_may_happen_late_or_never_but_once() {
        let unknown = Timed { invoked: 0, returned: None, call: Unknown(0, "a".into()) };
        let never = [unknown.clone(), at(5, 6, read(0, "")), at(7, 8, set(0, "b"))];
        assert_eq!(register(&never), Verdict::Linearizable);
        let late = [unknown.clone(), at(5, 6, read(0, "")), at(7, 8, read(1, "a"))];
        assert_eq!(register(&late), Verdict::Linearizable);
        let undone = [unknown, at(5, 6, read(1, "a")), at(7, 8, read(0, ""))];
        assert_eq!(register(&undone), Verdict::Violation(2));
        let unknown = Timed { invoked: 0, returned: None, call: HeadCall::Unknown };
        let twice = [unknown, at(1, 2, HeadCall::Sent(1)), at(3, 4, HeadCall::Read(3))];
        assert_eq!(check::<Head>(&twice), Verdict::Violation(2));
    }

    #[test]
    fn a_place_given_twice_or_skipped_is_found() {
        let (one, two) = (HeadCall::Sent(1), HeadCall::Sent(2));
        assert_eq!(check::<Head>(&[at(0, 9, two), at(0, 9, one)]), Verdict::Linearizable);
        assert_ne!(check::<Head>(&[at(0, 9, one), at(0, 9, one)]), Verdict::Linearizable);
        assert_ne!(check::<Head>(&[at(0, 9, one), at(0, 9, HeadCall::Sent(3))]), Verdict::Linearizable);
        assert_eq!(check::<Head>(&[at(0, 1, one), at(2, 3, HeadCall::Read(0))]), Verdict::Violation(1));
    }

    #[test]
    fn the_beginning_of_a_good_history_is_good() {
        // The read that is kept saw a call that is not.
        let history = vec![at(0, 1, set(0, "a")), at(2, 9, read(2, "b")), at(3, 8, set(1, "b"))];
        assert_eq!(register(&history), Verdict::Linearizable);
        for calls_max in 0..4 {
            let begun = beginning(history.clone(), calls_max, RegisterCall::forget);
            assert!(begun.len() <= calls_max);
            assert_eq!(register(&begun), Verdict::Linearizable, "{begun:?}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_not_a_pass() {
        let mut history: Vec<_> =
            (0..40).map(|n| Timed { invoked: n, returned: None, call: HeadCall::Unknown }).collect();
        history.push(at(100, 101, HeadCall::Read(41)));
        assert_eq!(check::<Head>(&history), Verdict::Unknown);
    }

    #[test]
    fn thousands_of_calls_are_judged_at_once() {
        let mut history = Vec::new();
        for n in 0..5_000_u64 {
            let begins = n * 10;
            history.push(at(begins, begins + 35, set(n, &n.to_string())));
            history.push(at(begins + 34, begins + 60, read(n + 1, &n.to_string())));
        }
        // Each is read as set while later ones overlap: only some orders fit.
        let began = std::time::Instant::now();
        assert_eq!(register(&history), Verdict::Linearizable);
        let last = history.len() - 1;
        history[last].call = read(4_000, "3999");
        assert_ne!(register(&history), Verdict::Linearizable);
        // Trying all orders would take for ever.
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    }

    #[test]
    fn two_operators_cannot_both_replace_one_voter() {
        let (one, other) = (VotersCall::Replaced(3, 6), VotersCall::Replaced(3, 7));
        let now = BTreeSet::from([1, 2, 4, 5, 6]);
        let both = [at(0, 10, one.clone()), at(1, 12, other)];
        assert_eq!(check::<Voters>(&both), Verdict::Violation(1));
        let refused = VotersCall::NoVoter(3);
        let fine = [at(0, 10, one.clone()), at(1, 12, refused.clone()), at(11, 13, VotersCall::Read(now))];
        assert_eq!(check::<Voters>(&fine), Verdict::Linearizable);
        let early = [at(0, 1, refused), at(2, 3, one)];
        assert_eq!(check::<Voters>(&early), Verdict::Violation(0), "it was a voter then");
        let stale = [at(0, 1, VotersCall::Replaced(3, 6)), at(2, 3, VotersCall::Read((1..=5).collect()))];
        assert_eq!(check::<Voters>(&stale), Verdict::Violation(1));
    }
}
