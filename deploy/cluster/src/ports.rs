//! Which port serves what. One plan for every cluster: everything counts up from the balancer's port.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Error, Result};

/// Most gateways of one cluster.
pub const GATEWAYS_MAX: u16 = 19;
/// Most replicas of one cluster.
pub const REPLICAS_MAX: u16 = 9;
/// Places for replicas, those that come and go included.
pub(crate) const PLACES_MAX: u16 = 19;
/// Ports that one cluster may use, from its first.
const PLAN_PORTS: u16 = 64;
/// Free ports are looked for below the system's range for outgoing connections (from 32768), or a connection of some
/// test could take the port of a process that is down for a moment.
const FREE_FIRST: u16 = 20_032;
/// See [`FREE_FIRST`].
const FREE_BLOCKS: u16 = 190;

/// The first port of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortPlan {
    /// The balancer's.
    pub first: u16,
}

impl PortPlan {
    /// A plan from the balancer's port.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is no room above it.
    pub fn new(first: u16) -> Result<Self> {
        if first == 0 || first > u16::MAX - PLAN_PORTS {
            return Err(Error::Usage(format!(
                "port {first} leaves no room: choose --port from 1 to {}",
                u16::MAX - PLAN_PORTS
            )));
        }
        Ok(Self { first })
    }

    /// Where people connect.
    pub fn balancer(self) -> SocketAddr {
        loopback(self.first)
    }

    /// HTTP and WebSocket of the gateway that stands at `place`, counted from 0.
    pub fn gateway(self, place: u16) -> SocketAddr {
        loopback(self.first + 1 + place)
    }

    /// gRPC of the replica at `place`, counted from 1: in the first membership the place is its id.
    pub fn replica_grpc(self, place: u16) -> SocketAddr {
        loopback(self.first + 20 + place)
    }

    /// Health and metrics of the replica at `place`.
    pub fn replica_http(self, place: u16) -> SocketAddr {
        loopback(self.first + 40 + place)
    }

    /// A port of the plan that nothing of the cluster uses.
    pub fn spare(self, place: u16) -> SocketAddr {
        loopback(self.first + 60 + place)
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Says which of the addresses is taken by another process, if any.
///
/// # Errors
/// [`Error::Usage`] with one line that says what to do.
pub(crate) fn check_free(addresses: &[(String, SocketAddr)]) -> Result<()> {
    for (whose, address) in addresses {
        // std sets SO_REUSEADDR, so that a port of a process that just ended counts as free, as it does for the servers.
        if let Err(error) = TcpListener::bind(address) {
            return Err(Error::Usage(format!(
                "port {} ({whose}) cannot be used: {error}; stop what uses it, or choose other ports with --port and a \
                 new --data-dir",
                address.port()
            )));
        }
    }
    Ok(())
}

/// A block of free ports, kept from other clusters' tests as long as it lives.
#[derive(Debug)]
pub struct PortRange {
    plan: PortPlan,
    _lock: File,
}

impl PortRange {
    /// Finds a block that nobody holds and nothing listens on.
    ///
    /// # Errors
    /// [`Error::Failed`] when there is none or the temporary folder cannot be written.
    pub fn find() -> Result<Self> {
        let dir = std::env::temp_dir().join("quorate-ports");
        std::fs::create_dir_all(&dir).attempt(|| format!("create {}", dir.display()))?;
        let mut seed = [0u8; 2];
        getrandom::fill(&mut seed).attempt(|| "get random bytes".to_owned())?;
        for step in 0..FREE_BLOCKS {
            let block = (u16::from_le_bytes(seed).wrapping_add(step)) % FREE_BLOCKS;
            let first = FREE_FIRST + block * PLAN_PORTS;
            let path = dir.join(first.to_string());
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let lock = lock.attempt(|| format!("open {}", path.display()))?;
            let free = || (first..first + PLAN_PORTS).all(|port| TcpListener::bind(loopback(port)).is_ok());
            if lock.try_lock().is_ok() && free() {
                return Ok(Self { plan: PortPlan::new(first)?, _lock: lock });
            }
        }
        Err(Error::Failed(format!("found no {PLAN_PORTS} free ports in a row")))
    }

    /// The ports.
    pub fn plan(&self) -> PortPlan {
        self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ranges_do_not_meet() {
        let (one, two) = (PortRange::find().unwrap(), PortRange::find().unwrap());
        assert!(one.plan().first.abs_diff(two.plan().first) >= PLAN_PORTS);
    }

    #[test]
    fn a_plan_has_each_port_once() {
        let plan = PortPlan::new(8080).unwrap();
        let mut ports = vec![plan.balancer().port()];
        ports.extend((0..GATEWAYS_MAX).map(|place| plan.gateway(place).port()));
        ports.extend(
            (1..=PLACES_MAX).flat_map(|id| [plan.replica_grpc(id).port(), plan.replica_http(id).port()]),
        );
        ports.extend((0..4).map(|place| plan.spare(place).port()));
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
        assert!(ports.iter().all(|port| (8080..8080 + PLAN_PORTS).contains(port)));
        assert!(PortPlan::new(0).is_err() && PortPlan::new(65_500).is_err());
    }

    #[test]
    fn a_taken_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = check_free(&[("gateway a".to_owned(), address)]).unwrap_err().to_string();
        assert!(error.contains("gateway a") && error.contains(&address.port().to_string()), "{error}");
    }
}
