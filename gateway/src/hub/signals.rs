//! Signals at this gateway: who wants those of which conversation, and what its own sessions say. Pure.
//!
//! Owns what goes up with the next feed request (signals, conversations to watch, the lease of presence) and who is told
//! what comes down. A lease says who is there through this gateway, and over how many sockets; it is renewed, and vanishes with
//! the gateway.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use quorate_proto::ids::{ConversationId, UserId};
use quorate_proto::limits::{LEASE_MS, LEASE_RENEW_MS};
use quorate_proto::rpc::presence::State;
use quorate_proto::rpc::{FeedRequest, Lease, LeaseEntry, Signal, signal};

use super::SlotId;
use super::seen::Seen;

/// Signals of sessions that wait for the feed; the oldest goes for one more.
const UP_MAX: usize = 1_024;
/// Changes and signals in one request.
const PER_REQUEST_MAX: usize = 512;

/// A lease names everybody at least this often: whatever a replica has lost of it is made good.
const WHOLE_INTERVAL: Duration = Duration::from_secs(30);

/// Who closes her last socket stays as present as she was for this long: she may only be reconnecting.
const GRACE: Duration = Duration::from_secs(5);
/// Users who may do so at a time; beyond it they go at once.
const LINGERING_MAX: usize = 100_000;

/// What is on its way to the replica.
#[derive(Debug)]
pub(super) struct Signals {
    gateway: String,
    started_ms: u64,
    number: u64,
    watchers: HashMap<ConversationId, HashSet<SlotId>>,
    rooms: HashMap<SlotId, Vec<ConversationId>>,
    /// Conversations whose watching has changed since the feed was told.
    changed: BTreeSet<ConversationId>,
    /// What the feed was told to watch.
    told: BTreeSet<ConversationId>,
    present: BTreeMap<UserId, Vec<(SlotId, State)>>,
    users: HashMap<SlotId, UserId>,
    /// Users whose last session has ended, as they were, until when.
    lingering: BTreeMap<UserId, (State, Instant)>,
    dirty: BTreeSet<UserId>,
    /// The next lease names everybody.
    whole: bool,
    /// At that time it does so anyway.
    whole_at: Instant,
    renew_at: Instant,
    up: VecDeque<Signal>,
    seen: Seen,
}

/// What a state counts against another of the same user: what she chose before what a device noticed.
fn weight(state: State) -> u8 {
    match state {
        State::Invisible => 4,
        State::Dnd => 3,
        State::Active => 2,
        State::Idle => 1,
        State::Offline | State::Unknown => 0,
    }
}

impl Signals {
    pub(super) fn new(gateway: &str, started_ms: u64, now: Instant) -> Self {
        Self {
            gateway: gateway.to_owned(),
            started_ms,
            number: 0,
            watchers: HashMap::new(),
            rooms: HashMap::new(),
            changed: BTreeSet::new(),
            told: BTreeSet::new(),
            present: BTreeMap::new(),
            users: HashMap::new(),
            lingering: BTreeMap::new(),
            dirty: BTreeSet::new(),
            whole: true,
            whole_at: now,
            renew_at: now,
            up: VecDeque::new(),
            seen: Seen::new(now),
        }
    }

    // ---- from sessions ----

    pub(super) fn watch(&mut self, slot: SlotId, conversation: ConversationId) {
        let rooms = self.rooms.entry(slot).or_default();
        if !rooms.contains(&conversation) {
            rooms.push(conversation);
            self.watchers.entry(conversation).or_default().insert(slot);
            self.changed.insert(conversation);
        }
    }

    pub(super) fn unwatch(&mut self, slot: SlotId, conversation: ConversationId) {
        if let Some(rooms) = self.rooms.get_mut(&slot) {
            rooms.retain(|room| *room != conversation);
            if rooms.is_empty() {
                self.rooms.remove(&slot);
            }
        }
        self.forget(slot, conversation);
    }

    fn forget(&mut self, slot: SlotId, conversation: ConversationId) {
        if let Some(watchers) = self.watchers.get_mut(&conversation) {
            watchers.remove(&slot);
            if watchers.is_empty() {
                self.watchers.remove(&conversation);
                self.changed.insert(conversation);
            }
        }
    }

    pub(super) fn presence(&mut self, slot: SlotId, user: UserId, state: State) {
        let before = self.of(user);
        self.lingering.remove(&user);
        let said = self.present.entry(user).or_default();
        match said.iter_mut().find(|(other, _)| *other == slot) {
            Some((_, known)) => *known = state,
            None => said.push((slot, state)),
        }
        self.users.insert(slot, user);
        if self.of(user) != before {
            self.dirty.insert(user);
        }
    }

    pub(super) fn say(&mut self, signal: Signal) {
        if self.up.len() >= UP_MAX {
            self.up.pop_front();
        }
        self.up.push_back(signal);
    }

    /// A session has ended; `for_good` when its user signed out, or was signed out.
    pub(super) fn leave(&mut self, slot: SlotId, for_good: bool, now: Instant) {
        for conversation in self.rooms.remove(&slot).unwrap_or_default() {
            self.forget(slot, conversation);
        }
        if let Some(user) = self.users.remove(&slot)
            && let Some(said) = self.present.get_mut(&user)
            && let Some(at) = said.iter().position(|(other, _)| *other == slot)
        {
            let (_, state) = said.swap_remove(at);
            if said.is_empty() {
                self.present.remove(&user);
                if !for_good && self.lingering.len() < LINGERING_MAX {
                    self.lingering.insert(user, (state, now + GRACE));
                    return;
                }
                self.seen.left(user, state);
            }
            self.dirty.insert(user);
        }
    }

    /// Lets those go who have not come back.
    pub(super) fn expire(&mut self, now: Instant) {
        let (dirty, seen) = (&mut self.dirty, &mut self.seen);
        self.lingering.retain(|user, (state, until)| {
            let stays = now < *until;
            if !stays {
                dirty.insert(*user);
                seen.left(*user, *state);
            }
            stays
        });
    }

    /// Users who were here until just now, whenever it is time to write that down.
    pub(super) fn seen(&mut self, now: Instant) -> Vec<UserId> {
        let state_of = |user| strongest(self.present.get(&user));
        self.seen.turn(now, &self.present, state_of)
    }

    /// Who wants a conversation's signals.
    pub(super) fn watchers(&self, conversation: ConversationId) -> Option<&HashSet<SlotId>> {
        self.watchers.get(&conversation)
    }

    /// Conversations watched and users present.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.watchers.len(), self.present.len())
    }

    // ---- to the feed ----

    /// A new feed knows nothing.
    pub(super) fn start_over(&mut self) {
        self.told.clear();
        self.changed = self.watchers.keys().copied().collect();
        self.whole = true;
        // What was said a moment ago is not worth repeating; how far messages have come is true for longer.
        self.up.retain(|signal| matches!(signal.kind, Some(signal::Kind::Receipt(_))));
    }

    /// Whether a request is worth sending.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_lease_due(now) || !self.changed.is_empty() || !self.up.is_empty()
    }

    /// There is a lease from the first moment on, so that the replicas know the gateway.
    fn is_lease_due(&self, now: Instant) -> bool {
        self.whole || !self.dirty.is_empty() || now >= self.renew_at
    }

    /// Adds what is due to a request. `sessions`: open, authenticated sockets of this gateway.
    pub(super) fn fill(&mut self, request: &mut FeedRequest, sessions: u32, now: Instant) {
        while request.watch.len() + request.unwatch.len() < PER_REQUEST_MAX {
            let Some(conversation) = self.changed.pop_first() else { break };
            let wanted = self.watchers.contains_key(&conversation);
            if wanted && self.told.insert(conversation) {
                request.watch.push(conversation);
            } else if !wanted && self.told.remove(&conversation) {
                request.unwatch.push(conversation);
            }
        }
        let count = self.up.len().min(PER_REQUEST_MAX);
        request.signals.extend(self.up.drain(..count));
        if self.is_lease_due(now) {
            request.lease = Some(self.lease(sessions, now));
        }
    }

    fn lease(&mut self, sessions: u32, now: Instant) -> Lease {
        let dirty = std::mem::take(&mut self.dirty);
        let full = std::mem::take(&mut self.whole) || now >= self.whole_at;
        if full {
            self.whole_at = now + WHOLE_INTERVAL;
        }
        let entry = |user_id: UserId| LeaseEntry { user_id, state: self.of(user_id).into() };
        let entries = if full {
            self.present.keys().chain(self.lingering.keys()).copied().map(entry).collect()
        } else {
            dirty.into_iter().map(entry).collect()
        };
        self.number += 1;
        self.renew_at = now + Duration::from_millis(LEASE_RENEW_MS);
        Lease {
            gateway: self.gateway.clone(),
            started_ms: self.started_ms,
            number: self.number,
            full,
            entries,
            ttl_ms: u32::try_from(LEASE_MS).unwrap_or(u32::MAX),
            sessions: Some(sessions),
        }
    }

    fn of(&self, user: UserId) -> State {
        match (self.present.get(&user), self.lingering.get(&user)) {
            (None, Some((state, _))) => *state,
            (said, _) => strongest(said),
        }
    }
}

/// Of what a user's sessions say, what counts.
fn strongest(said: Option<&Vec<(SlotId, State)>>) -> State {
    let said = said.into_iter().flatten().map(|(_, state)| *state);
    said.max_by_key(|state| weight(*state)).unwrap_or(State::Offline)
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc;

    use super::*;

    const A: SlotId = SlotId { at: 0, generation: 0 };
    const B: SlotId = SlotId { at: 1, generation: 0 };

    fn request(signals: &mut Signals, now: Instant) -> FeedRequest {
        let mut request = FeedRequest::default();
        signals.fill(&mut request, 3, now);
        request
    }

    fn entries(request: &FeedRequest) -> Vec<(u64, State)> {
        let lease = request.lease.as_ref().expect("a lease");
        lease.entries.iter().map(|entry| (entry.user_id, entry.state())).collect()
    }

    #[test]
    fn a_conversation_is_watched_as_long_as_one_session_wants_it() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        assert_eq!(request(&mut signals, now).lease.expect("a lease").sessions, Some(3));
        assert!(!signals.is_due(now), "nobody has said anything");
        signals.watch(A, 5);
        signals.watch(A, 5);
        signals.watch(B, 5);
        assert_eq!(request(&mut signals, now).watch, [5]);
        assert_eq!(signals.watchers(5), Some(&[A, B].into()));
        signals.unwatch(A, 5);
        assert!(!signals.is_due(now));
        signals.leave(B, false, now);
        assert_eq!(request(&mut signals, now).unwatch, [5]);
        assert_eq!(signals.counts(), (0, 0));
        // Wanted and no longer wanted before the feed was told: it is told nothing.
        signals.watch(A, 6);
        signals.unwatch(A, 6);
        assert_eq!(request(&mut signals, now), FeedRequest::default());
    }

    #[test]
    fn a_new_feed_is_told_everything_and_a_known_one_what_changed() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        signals.watch(A, 5);
        signals.presence(A, 7, State::Active);
        signals.presence(B, 8, State::Idle);
        let first = request(&mut signals, now);
        assert_eq!(entries(&first), [(7, State::Active), (8, State::Idle)]);
        assert!(first.lease.is_some_and(|lease| lease.full && lease.number == 1));
        signals.presence(A, 7, State::Dnd);
        let second = request(&mut signals, now);
        assert_eq!(entries(&second), [(7, State::Dnd)]);
        assert!(second.lease.is_some_and(|lease| !lease.full && lease.number == 2));
        assert!(!signals.is_due(now));
        signals.start_over();
        let third = request(&mut signals, now);
        assert_eq!((third.watch.as_slice(), entries(&third).len()), (&[5][..], 2));
        let later = now + Duration::from_millis(LEASE_RENEW_MS);
        assert!(signals.is_due(later));
        assert_eq!(entries(&request(&mut signals, later)), [], "a renewal");
    }

    #[test]
    fn a_lease_names_everybody_now_and_then() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        signals.presence(A, 7, State::Active);
        let mut whole = Vec::new();
        for renewal in 0..30 {
            let at = now + renewal * Duration::from_millis(LEASE_RENEW_MS);
            if request(&mut signals, at).lease.is_some_and(|lease| lease.full) {
                whole.push(renewal);
            }
        }
        assert_eq!(whole, [0, 10, 20]);
    }

    #[test]
    fn marks_outlive_a_change_of_feeds_and_typing_does_not() {
        let mut signals = Signals::new("a", 1, Instant::now());
        let signal = |kind| Signal { conversation_id: 5, kind: Some(kind), ..Signal::default() };
        let mark = signal(signal::Kind::Receipt(rpc::Receipt { read: 0, delivered: 9 }));
        signals.say(signal(signal::Kind::Typing(rpc::Typing {})));
        signals.say(mark.clone());
        signals.start_over();
        assert_eq!(request(&mut signals, Instant::now()).signals, [mark]);
    }

    #[test]
    fn a_user_with_two_sockets_leaves_with_the_last() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        signals.presence(A, 7, State::Active);
        signals.presence(B, 7, State::Idle);
        request(&mut signals, now);
        signals.leave(A, false, now);
        assert_eq!(entries(&request(&mut signals, now)), [(7, State::Idle)]);
        signals.leave(B, true, now);
        assert_eq!(entries(&request(&mut signals, now)), [(7, State::Offline)]);
    }

    #[test]
    fn who_reconnects_in_time_was_never_gone() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        signals.presence(A, 7, State::Active);
        signals.presence(B, 8, State::Dnd);
        request(&mut signals, now);
        signals.leave(A, false, now);
        signals.leave(B, false, now);
        signals.expire(now + GRACE - Duration::from_millis(1));
        assert!(!signals.is_due(now), "nobody is told");
        // A new feed in between is told of those who may come back.
        signals.start_over();
        assert_eq!(entries(&request(&mut signals, now)), [(7, State::Active), (8, State::Dnd)]);
        signals.presence(A, 7, State::Active);
        assert!(!signals.is_due(now), "the same as before is no news");
        signals.expire(now + GRACE);
        assert_eq!(entries(&request(&mut signals, now)), [(8, State::Offline)]);
        signals.leave(A, false, now);
        signals.presence(A, 7, State::Idle);
        assert_eq!(entries(&request(&mut signals, now)), [(7, State::Idle)]);
        signals.expire(now + 2 * GRACE);
        assert!(!signals.is_due(now), "she is here");
    }

    #[test]
    fn who_is_gone_for_good_or_does_not_come_back_was_seen() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        signals.presence(A, 7, State::Active);
        signals.presence(B, 8, State::Dnd);
        signals.leave(A, true, now);
        signals.leave(B, false, now);
        let later = now + Duration::from_secs(30);
        assert_eq!(signals.seen(later), [7], "the other may only be reconnecting");
        signals.expire(later);
        assert_eq!(signals.seen(later + Duration::from_secs(30)), [8]);
    }

    #[test]
    fn what_waits_for_the_feed_is_bounded_and_the_newest_stays() {
        let now = Instant::now();
        let mut signals = Signals::new("a", 1, now);
        for conversation_id in 0..UP_MAX as u64 + 10 {
            signals.say(Signal { conversation_id, ..Signal::default() });
        }
        let first = request(&mut signals, now);
        assert_eq!((first.signals.len(), first.signals[0].conversation_id), (PER_REQUEST_MAX, 10));
        request(&mut signals, now);
        assert!(!signals.is_due(now));
    }
}
