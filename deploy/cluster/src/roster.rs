//! Which replicas a cluster has now, and at which place each listens: kept in the data directory, because replicas come and
//! go while it lives. Ids are never used twice; places (ports) are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::{Identity, Layout, write_atomically};
use crate::ports::{PLACES_MAX, PortPlan};
use crate::spec::Host;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roster {
    /// Replica id → place, from 1.
    replicas: BTreeMap<u16, u16>,
    /// The highest id ever given.
    last_id: u16,
    /// Those that have a network of their own.
    #[serde(skip)]
    hosts: BTreeMap<u16, Host>,
}

impl Roster {
    /// The first membership, until something changed.
    pub(crate) fn load(layout: &Layout, identity: &Identity) -> Result<Self> {
        let path = layout.roster_json();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::first(identity)),
            Err(error) => return Err(Error::Usage(format!("cannot read {}: {error}", path.display()))),
        };
        let roster: Self = serde_json::from_str(&text)
            .map_err(|error| Error::Failed(format!("{} is damaged: {error}", path.display())))?;
        Ok(Self { hosts: identity.hosts.clone(), ..roster })
    }

    pub(crate) fn first(identity: &Identity) -> Self {
        let replicas = (1..=identity.replicas).map(|id| (id, id)).collect();
        Self { replicas, last_id: identity.replicas, hosts: identity.hosts.clone() }
    }

    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("plain fields serialize");
        write_atomically(&layout.roster_json(), &text)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u16> + '_ {
        self.replicas.keys().copied()
    }

    /// An id that was never used.
    pub(crate) fn next_id(&self) -> u16 {
        self.last_id + 1
    }

    /// Takes a replica in, at the first place that is free.
    pub(crate) fn enlist(&mut self, id: u16) -> Result<()> {
        if self.replicas.contains_key(&id) {
            return Err(Error::Usage(format!("there is a replica-{id} already")));
        }
        let taken: Vec<u16> = self.replicas.values().copied().collect();
        let place = (1..=PLACES_MAX).find(|place| !taken.contains(place));
        let place = place
            .ok_or_else(|| Error::Usage(format!("one cluster has at most {PLACES_MAX} replicas here")))?;
        self.replicas.insert(id, place);
        self.last_id = self.last_id.max(id);
        Ok(())
    }

    pub(crate) fn strike(&mut self, id: u16) {
        self.replicas.remove(&id);
    }

    pub(crate) fn grpc(&self, plan: PortPlan, id: u16) -> Option<SocketAddr> {
        self.replicas.get(&id).map(|place| self.at(id, plan.replica_grpc(*place)))
    }

    pub(crate) fn http(&self, plan: PortPlan, id: u16) -> Option<SocketAddr> {
        self.replicas.get(&id).map(|place| self.at(id, plan.replica_http(*place)))
    }

    fn at(&self, id: u16, mut address: SocketAddr) -> SocketAddr {
        if let Some(host) = self.hosts.get(&id) {
            address.set_ip(host.address);
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_ids_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let identity = Identity { cluster: "c".into(), replicas: 3, port: 8080, hosts: BTreeMap::new() };
        let mut roster = Roster::load(&layout, &identity).unwrap();
        roster.strike(2);
        assert_eq!(roster.next_id(), 4);
        roster.enlist(4).unwrap();
        let plan = PortPlan { first: 8080 };
        assert_eq!(roster.grpc(plan, 4), Some(plan.replica_grpc(2)), "the place of the one that left");
        roster.strike(4);
        assert_eq!(roster.next_id(), 5);
        assert!(roster.enlist(3).is_err());
        roster.save(&layout).unwrap();
        let again = Roster::load(&layout, &identity).unwrap();
        assert_eq!(again, roster);
        assert_eq!(again.ids().collect::<Vec<_>>(), [1, 3]);
    }
}
