//! How many connections one address may hold before any of them said who it is.
//!
//! A connection counts from its first packet until it ends or its socket's `hello` is accepted. Behind a balancer the
//! balancer's word on the address counts, and only of a balancer that the configuration names, by its address or its network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hyper::header::HeaderMap;

use crate::network::Network;

/// Header in which a balancer names the address it took the connection from.
const FORWARDED: &str = "x-forwarded-for";

/// Who is inside without a name, by address.
#[derive(Debug)]
pub struct Strangers {
    counts: Mutex<HashMap<IpAddr, usize>>,
    /// 0 for no limit.
    per_address_max: usize,
    trusted: Vec<Network>,
}

/// A stranger's place; dropping it frees it.
#[derive(Debug)]
pub struct Stranger {
    registry: Arc<Strangers>,
    address: IpAddr,
}

/// Beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

const NOT_POISONED: &str = "no holder of this lock panics";

impl Strangers {
    /// Nobody yet.
    pub fn new(per_address_max: usize, trusted: &[Network]) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), per_address_max, trusted: trusted.to_vec() })
    }

    /// A place for a connection from this address; none is needed by a balancer, which stands for many.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn connected(self: &Arc<Self>, peer: IpAddr) -> Result<Option<Stranger>, TooMany> {
        if self.trusts(peer) { Ok(None) } else { self.enter(peer).map(Some) }
    }

    /// A place for whoever a balancer forwards; `None` when it names nobody or another balancer, or is none itself.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn forwarded(
        self: &Arc<Self>,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Option<Stranger>, TooMany> {
        match self.client(peer, headers) {
            client if client == peer || self.trusts(client) => Ok(None),
            client => self.enter(client).map(Some),
        }
    }

    /// From where a request comes: the peer, or whom a trusted peer names last.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        // The last entry is the balancer's own; what stands before it the client may have written.
        let named = headers.get_all(FORWARDED).iter().next_back().and_then(|value| value.to_str().ok());
        named.and_then(|value| address(value.rsplit(',').next()?.trim())).unwrap_or(peer)
    }

    /// The address by which such a request is counted; `None` for what comes from a balancer itself, or from within its network.
    pub fn counted(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let client = self.client(peer, headers);
        (!self.trusts(client)).then(|| household(client))
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.holds(peer))
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Stranger, TooMany> {
        let address = household(address);
        let mut counts = self.counts.lock().expect(NOT_POISONED);
        let count = counts.entry(address).or_insert(0);
        if self.per_address_max > 0 && *count >= self.per_address_max {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Stranger { registry: Arc::clone(self), address })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.registry.counts.lock().expect(NOT_POISONED);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// An address as balancers write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()))
}

/// One household has one address of version 4, and 2^64 of version 6.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED, HeaderValue::from_static(value));
        headers
    }

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let strangers = Strangers::new(2, &[]);
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let _first = strangers.connected(one).unwrap().unwrap();
        let second = strangers.connected(one).unwrap().unwrap();
        assert_eq!(strangers.connected(one).unwrap_err(), TooMany);
        assert!(strangers.connected(two).is_ok());
        drop(second);
        assert!(strangers.connected(one).is_ok());
        assert!(strangers.counts.lock().unwrap().len() == 1, "who left takes no memory");
    }

    #[test]
    fn a_whole_network_of_version_6_is_one_address() {
        let strangers = Strangers::new(1, &[]);
        let _first = strangers.connected(ip("2001:db8::1")).unwrap().unwrap();
        assert_eq!(strangers.connected(ip("2001:db8::ffff:2")).unwrap_err(), TooMany);
        assert!(strangers.connected(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn only_a_trusted_balancer_says_where_somebody_comes_from() {
        let strangers = Strangers::new(1, &[network("127.0.0.1")]);
        let (balancer, other) = (ip("127.0.0.1"), ip("192.0.2.9"));
        assert!(strangers.connected(balancer).unwrap().is_none(), "a balancer stands for many");
        let headers = forwarded("198.51.100.7, 192.0.2.1");
        assert_eq!(strangers.client(balancer, &headers), ip("192.0.2.1"), "the last word is the balancer's");
        assert_eq!(strangers.client(other, &headers), other, "anybody can write a header");
        assert_eq!(strangers.client(balancer, &forwarded("nonsense")), balancer);
        assert_eq!(strangers.client(balancer, &forwarded("192.0.2.1:4711")), ip("192.0.2.1"));
        assert_eq!(strangers.client(balancer, &forwarded("[2001:db8::1]:4711")), ip("2001:db8::1"));
        assert_eq!(strangers.counted(balancer, &headers), Some(ip("192.0.2.1")));
        assert_eq!(strangers.counted(balancer, &forwarded("2001:db8::1:2:3:4")), Some(ip("2001:db8::")));
        assert_eq!(strangers.counted(other, &forwarded("127.0.0.1")), Some(other));
        assert_eq!(strangers.counted(balancer, &HeaderMap::new()), None, "a balancer stands for many");
        assert_eq!(strangers.counted(balancer, &forwarded("127.0.0.1")), None, "its own machine");
        let _first = strangers.forwarded(balancer, &headers).unwrap().unwrap();
        assert_eq!(strangers.forwarded(balancer, &headers).unwrap_err(), TooMany);
        assert!(strangers.forwarded(balancer, &HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn a_balancer_of_which_only_the_network_is_known_is_believed() {
        let strangers = Strangers::new(1, &[network("10.0.0.0/8"), network("fd00::/8")]);
        let headers = forwarded("10.0.0.1, 192.0.2.1");
        for balancer in ["10.1.2.3", "10.255.0.9", "::ffff:10.4.4.4", "fd12::7"].map(ip) {
            assert!(strangers.connected(balancer).unwrap().is_none(), "{balancer} stands for many");
            assert_eq!(strangers.counted(balancer, &headers), Some(ip("192.0.2.1")), "{balancer}");
        }
        for other in ["11.0.0.1", "fe80::1", "::ffff:192.168.0.1"].map(ip) {
            assert_eq!(strangers.client(other, &headers), other, "anybody can write a header");
            let _only = strangers.connected(other).unwrap().unwrap();
            assert_eq!(strangers.connected(other).unwrap_err(), TooMany);
        }
        // A node of the cluster through which people come is as many people as a balancer is.
        let (balancer, node) = (ip("10.1.2.3"), forwarded("10.9.9.9"));
        assert_eq!(strangers.counted(balancer, &node), None);
        for _ in 0..3 {
            assert!(strangers.forwarded(balancer, &node).unwrap().is_none());
        }
        let _first = strangers.forwarded(balancer, &headers).unwrap().unwrap();
        assert_eq!(strangers.forwarded(balancer, &headers).unwrap_err(), TooMany);
    }
}
