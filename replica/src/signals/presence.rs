//! Who is there, by the leases that gateways hold. Pure: leases and time in, changes out.
//!
//! Owns the rule that a gateway's users vanish with it: what a lease says counts until its time is over, whoever said it
//! last. A user of several gateways is what counts most of what they say.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::limits::LEASE_MS;
use quorate_proto::rpc::{Lease, LeaseEntry, presence::State};

/// Gateways whose leases are kept: more than a deployment has; a stranger's cannot fill the memory.
const LEASES_MAX: usize = 256;
/// Users in one gateway's lease: above the sockets of one gateway.
const LEASE_USERS_MAX: usize = 100_000;

#[derive(Debug)]
struct Held {
    started_ms: u64,
    number: u64,
    until_ms: u64,
    users: BTreeMap<u64, State>,
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
        let said = self.leases.values().filter_map(|held| held.users.get(&user_id).copied());
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
        if let Some(held) = known.filter(|_| lease.full || restarted) {
            touched.extend(held.users.keys());
        }
        let before: Vec<(u64, State)> = touched.iter().map(|user| (*user, self.of(*user))).collect();
        let held = self.leases.entry(lease.gateway.clone()).or_insert_with(|| Held {
            started_ms: 0,
            number: 0,
            until_ms: 0,
            users: BTreeMap::new(),
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
        held.until_ms = now_ms + u64::from(lease.ttl_ms).min(LEASE_MS);
        Some(self.changed(before))
    }

    /// Ends what is over: users whose state others see changed by it.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<(u64, State)> {
        let over: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, held)| held.until_ms <= now_ms)
            .map(|(gateway, _)| gateway.clone())
            .collect();
        let mut touched = BTreeSet::new();
        for gateway in &over {
            touched.extend(self.leases.get(gateway).into_iter().flat_map(|held| held.users.keys()));
        }
        let before = touched.iter().map(|user| (*user, self.of(*user))).collect();
        for gateway in &over {
            self.leases.remove(gateway);
        }
        self.changed(before)
    }

    /// A gateway's lease as it stands, for who has not heard of it. `None` when there is none.
    pub(super) fn whole(&self, gateway: &str, now_ms: u64) -> Option<Lease> {
        let held = self.leases.get(gateway)?;
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
            ttl_ms: u32::try_from(held.until_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX),
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
