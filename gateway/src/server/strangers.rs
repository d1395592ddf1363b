//! How many connections one address may hold before any of them said who it is.
//!
//! A connection counts from its first packet until it ends or its socket's `hello` is accepted. Behind a balancer the
//! balancer's word on the address counts, and only a balancer's that the configuration names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hyper::header::HeaderMap;

/// Header in which a balancer names the address it took the connection from.
const FORWARDED: &str = "x-forwarded-for";

/// Who is inside without a name, by address.
#[derive(Debug)]
pub struct Strangers {
    counts: Mutex<HashMap<IpAddr, usize>>,
    /// 0 for no limit.
    per_address_max: usize,
    trusted: Vec<IpAddr>,
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
    pub fn new(per_address_max: usize, trusted: &[IpAddr]) -> Arc<Self> {
        let trusted = trusted.iter().map(IpAddr::to_canonical).collect();
        Arc::new(Self { counts: Mutex::default(), per_address_max, trusted })
    }

    /// A place for a connection from this address; none is needed by a balancer, which stands for many.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn connected(self: &Arc<Self>, peer: IpAddr) -> Result<Option<Stranger>, TooMany> {
        if self.trusts(peer) { Ok(None) } else { self.enter(peer).map(Some) }
    }

    /// A place for whoever a balancer forwards; `None` when it names nobody or is no balancer.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn forwarded(
        self: &Arc<Self>,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Option<Stranger>, TooMany> {
        match self.client(peer, headers) {
            client if client == peer => Ok(None),
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

    /// The address by which such a request is counted; `None` for what comes from a balancer's own machine.
    pub fn counted(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let client = self.client(peer, headers);
        (!self.trusts(client)).then(|| network(client))
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.contains(&peer.to_canonical())
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Stranger, TooMany> {
        let address = network(address);
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
fn network(address: IpAddr) -> IpAddr {
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
        let strangers = Strangers::new(1, &[ip("127.0.0.1")]);
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
}
