//! Who is there, by the leases that gateways hold. Pure: leases and time in, changes out.
//!
//! Owns the rule that a gateway's users vanish with it: what a lease says counts until its time is over, whoever said it
//! last. A user of several gateways is what counts most of what they say. A renewal that comes too late brings back whom
//! the lease had named: it does not name them again.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::limits::LEASE_MS;
use quorate_proto::rpc::{GatewayLease, Lease, LeaseEntry, presence::State};

/// Gateways whose leases are kept: more than a deployment has; a stranger's cannot fill the memory.
const LEASES_MAX: usize = 256;
/// Users in one gateway's lease: above the sockets of one gateway.
const LEASE_USERS_MAX: usize = 100_000;

/// A lease that is over is remembered for this long, ms: well above what a busy machine delays a renewal by.
const OVER_MS: u64 = 60_000;

#[derive(Debug)]
struct Held {
    started_ms: u64,
    number: u64,
    until_ms: u64,
    /// Its time is over: its users count no more, unless it is renewed.
    is_over: bool,
    users: BTreeMap<u64, State>,
    /// Its sockets, if it tells.
    sessions: Option<u32>,
}

/// See the module. Times are ms of the caller's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Table {
    leases: BTreeMap<String, Held>,
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

impl Table {
    /// What others are shown of a user.
    pub(super) fn of(&self, user_id: u64) -> State {
        let leases = self.leases.values().filter(|held| !held.is_over);
        let said = leases.filter_map(|held| held.users.get(&user_id).copied());
        match said.max_by_key(|state| weight(*state)) {
            None | Some(State::Invisible | State::Unknown) => State::Offline,
            Some(state) => state,
        }
    }

    /// Takes what a gateway says: users whose state others see changed by it. `None`: it says something newer already.
    pub(super) fn take(&mut self, lease: &Lease, now_ms: u64) -> Option<Vec<(u64, State)>> {
        let known = self.leases.get(&lease.gateway);
        let place = (lease.started_ms, lease.number);
        if known.is_some_and(|held| place < (held.started_ms, held.number))
            || (known.is_none() && self.leases.len() >= LEASES_MAX)
        {
            return None;
        }
        let restarted = known.is_some_and(|held| held.started_ms != lease.started_ms);
        let mut touched: BTreeSet<u64> = lease.entries.iter().map(|entry| entry.user_id).collect();
        if let Some(held) = known.filter(|held| lease.full || restarted || held.is_over) {
            touched.extend(held.users.keys());
        }
        let before: Vec<(u64, State)> = touched.iter().map(|user| (*user, self.of(*user))).collect();
        let held = self.leases.entry(lease.gateway.clone()).or_insert_with(|| Held {
            started_ms: 0,
            number: 0,
            until_ms: 0,
            is_over: false,
            users: BTreeMap::new(),
            sessions: None,
        });
        if lease.full || restarted {
            held.users.clear();
        }
        for entry in &lease.entries {
            match entry.state() {
                State::Offline | State::Unknown => {
                    held.users.remove(&entry.user_id);
                }
                state if held.users.len() < LEASE_USERS_MAX => {
                    held.users.insert(entry.user_id, state);
                }
                _ => {}
            }
        }
        (held.started_ms, held.number) = place;
        // One that is only cut short says nothing of it.
        held.sessions = lease.sessions.or(held.sessions);
        held.is_over = false;
        held.until_ms = now_ms + u64::from(lease.ttl_ms).min(LEASE_MS);
        Some(self.changed(before))
    }

    /// Ends what is over: users whose state others see changed by it.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<(u64, State)> {
        let over: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, held)| !held.is_over && held.until_ms <= now_ms)
            .map(|(gateway, _)| gateway.clone())
            .collect();
        let mut touched = BTreeSet::new();
        for gateway in &over {
            touched.extend(self.leases.get(gateway).into_iter().flat_map(|held| held.users.keys()));
        }
        let before = touched.iter().map(|user| (*user, self.of(*user))).collect();
        for held in self.leases.values_mut() {
            held.is_over |= held.until_ms <= now_ms;
        }
        self.leases.retain(|_, held| now_ms < held.until_ms + OVER_MS);
        self.changed(before)
    }

    /// Cuts the time of the lease that a gateway said last on a feed that has ended, given by its start and number: what
    /// the others are told. `None` when it says something newer already, or its time is over.
    pub(super) fn shorten(
        &mut self,
        gateway: &str,
        place: (u64, u64),
        ttl_ms: u64,
        now_ms: u64,
    ) -> Option<Lease> {
        let held = self.leases.get_mut(gateway)?;
        if held.is_over || (held.started_ms, held.number) != place {
            return None;
        }
        held.until_ms = held.until_ms.min(now_ms + ttl_ms);
        Some(Lease {
            gateway: gateway.to_owned(),
            started_ms: place.0,
            number: place.1,
            full: false,
            entries: Vec::new(),
            sessions: held.sessions,
            ttl_ms: u32::try_from(held.until_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX),
        })
    }

    /// A gateway's lease as it stands, for who has not heard of it. `None` when there is none.
    pub(super) fn whole(&self, gateway: &str, now_ms: u64) -> Option<Lease> {
        let held = self.leases.get(gateway).filter(|held| !held.is_over)?;
        let entries = held
            .users
            .iter()
            .map(|(user_id, state)| LeaseEntry { user_id: *user_id, state: (*state).into() });
        Some(Lease {
            gateway: gateway.to_owned(),
            started_ms: held.started_ms,
            number: held.number,
            full: true,
            entries: entries.collect(),
            sessions: held.sessions,
            ttl_ms: u32::try_from(held.until_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX),
        })
    }

    /// Every gateway whose lease lasts.
    pub(super) fn gateways(&self) -> impl Iterator<Item = GatewayLease> {
        let lasting = self.leases.iter().filter(|(_, held)| !held.is_over);
        lasting.map(|(gateway, held)| GatewayLease {
            gateway: gateway.clone(),
            started_ms: held.started_ms,
            number: held.number,
            sessions: held.sessions,
            here: false,
        })
    }

    fn changed(&self, before: Vec<(u64, State)>) -> Vec<(u64, State)> {
        let now = before.into_iter().map(|(user, was)| (user, was, self.of(user)));
        now.filter(|(_, was, is)| was != is).map(|(user, _, is)| (user, is)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(gateway: &str, number: u64, full: bool, entries: &[(u64, State)]) -> Lease {
        let entry =
            |(user_id, state): &(u64, State)| LeaseEntry { user_id: *user_id, state: (*state).into() };
        Lease {
            gateway: gateway.to_owned(),
            started_ms: 1,
            number,
            full,
            entries: entries.iter().map(entry).collect(),
            ttl_ms: 9_000,
            sessions: None,
        }
    }

    #[test]
    fn a_user_of_two_gateways_stays_when_one_of_them_ends() {
        let mut table = Table::default();
        let taken = table.take(&lease("a", 1, true, &[(7, State::Active)]), 0);
        assert_eq!(taken, Some(vec![(7, State::Active)]));
        assert_eq!(table.take(&lease("b", 1, true, &[(7, State::Idle)]), 5_000), Some(vec![]));
        assert_eq!(table.expire(8_999), []);
        assert_eq!(table.expire(9_000), [(7, State::Idle)]);
        assert_eq!(table.expire(14_000), [(7, State::Offline)]);
        assert_eq!(table.of(7), State::Offline);
    }

    #[test]
    fn a_renewal_keeps_everybody_and_a_whole_lease_replaces_everybody() {
        let mut table = Table::default();
        table.take(&lease("a", 1, true, &[(7, State::Active), (8, State::Dnd)]), 0);
        assert_eq!(table.take(&lease("a", 2, false, &[]), 6_000), Some(vec![]));
        assert_eq!(table.expire(12_000), []);
        let taken = table.take(&lease("a", 3, true, &[(8, State::Dnd)]), 12_000);
        assert_eq!(taken, Some(vec![(7, State::Offline)]));
        let whole = table.whole("a", 13_000).expect("a lease");
        assert_eq!((whole.full, whole.number, whole.ttl_ms, whole.entries.len()), (true, 3, 8_000, 1));
    }

    #[test]
    fn what_is_older_than_what_is_known_is_not_taken() {
        let mut table = Table::default();
        table.take(&lease("a", 5, true, &[(7, State::Active)]), 0);
        assert_eq!(table.take(&lease("a", 4, true, &[]), 1), None);
        // The replica that the gateway left says that its time is short; it has gone on elsewhere.
        table.take(&lease("a", 6, true, &[(7, State::Active)]), 2);
        assert_eq!(table.take(&Lease { ttl_ms: 10, ..lease("a", 5, false, &[]) }, 3), None);
        assert_eq!(table.expire(1_000), []);
        // A gateway that was started again knows nobody yet, and what it said before counts no more.
        let again = Lease { started_ms: 2, ..lease("a", 1, false, &[(9, State::Idle)]) };
        assert_eq!(table.take(&again, 1_000), Some(vec![(7, State::Offline), (9, State::Idle)]));
    }

    /// A renewal names nobody: one that was relayed too late left everybody of that gateway offline, for days.
    #[test]
    fn a_late_renewal_brings_everybody_back() {
        let mut table = Table::default();
        table.take(&lease("a", 1, true, &[(7, State::Active), (8, State::Dnd)]), 0);
        assert_eq!(table.expire(9_000), [(7, State::Offline), (8, State::Offline)]);
        assert_eq!(table.expire(9_050), [], "told once");
        assert!(table.whole("a", 9_050).is_none());
        let late = lease("a", 2, false, &[(8, State::Offline)]);
        assert_eq!(table.take(&late, 9_100), Some(vec![(7, State::Active)]));
        assert_eq!(table.expire(18_100), [(7, State::Offline)]);
        assert_eq!(table.expire(18_100 + OVER_MS), []);
        assert!(table.leases.is_empty(), "in the end it is forgotten");
    }

    #[test]
    fn an_ended_feed_cuts_only_what_was_said_on_it() {
        let mut table = Table::default();
        table.take(&lease("a", 5, true, &[(7, State::Active)]), 0);
        // It has gone on through another replica, and that was relayed before this feed's end was noticed.
        table.take(&lease("a", 6, true, &[(7, State::Active)]), 100);
        assert_eq!(table.shorten("a", (1, 5), 4_000, 200), None);
        assert_eq!(table.expire(9_000), []);
        let short = table.shorten("a", (1, 6), 4_000, 1_000).expect("its own");
        assert_eq!((short.number, short.full, short.ttl_ms), (6, false, 4_000));
        assert_eq!(table.expire(5_000), [(7, State::Offline)]);
        assert_eq!(table.shorten("a", (1, 6), 4_000, 5_000), None);
    }

    #[test]
    fn gateways_are_told_with_their_sockets_for_as_long_as_their_leases_last() {
        let mut table = Table::default();
        let told = |table: &Table| -> Vec<(String, Option<u32>)> {
            table.gateways().map(|it| (it.gateway, it.sessions)).collect()
        };
        table.take(&Lease { sessions: Some(7), ..lease("a", 1, true, &[]) }, 0);
        table.take(&lease("old", 1, true, &[]), 0);
        assert_eq!(told(&table), [("a".to_owned(), Some(7)), ("old".to_owned(), None)]);
        table.take(&Lease { sessions: Some(0), ..lease("a", 2, false, &[]) }, 5_000);
        assert_eq!(table.whole("a", 5_000).expect("a lease").sessions, Some(0));
        table.expire(9_000);
        assert_eq!(told(&table), [("a".to_owned(), Some(0))]);
        // What another replica cuts short it also relays.
        let short = table.shorten("a", (1, 2), 1_000, 9_000).expect("its own");
        table.take(&short, 9_000);
        assert_eq!(told(&table), [("a".to_owned(), Some(0))]);
        table.expire(10_000);
        assert_eq!(told(&table), []);
    }

    #[test]
    fn invisible_anywhere_is_offline_for_others() {
        let mut table = Table::default();
        table.take(&lease("a", 1, true, &[(7, State::Active)]), 0);
        let taken = table.take(&lease("b", 1, true, &[(7, State::Invisible)]), 0);
        assert_eq!(taken, Some(vec![(7, State::Offline)]));
        assert_eq!(
            table.take(&lease("b", 2, false, &[(7, State::Offline)]), 0),
            Some(vec![(7, State::Active)])
        );
    }
}
