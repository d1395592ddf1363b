//! To which addresses a webhook may lead: to public ones, and to those that the operator names. Pure.
//!
//! Who sets a webhook chooses what this process connects to, from within the operator's network. What is not reachable from
//! everywhere by the registries of special-purpose addresses (IANA, RFC 6890 and its successors) is therefore refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network::Network;

/// Whether a webhook may lead there. `allowed` are the operator's own.
pub(super) fn may_reach(address: IpAddr, allowed: &[Network]) -> bool {
    let address = address.to_canonical();
    allowed.iter().any(|network| network.holds(address))
        || match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => match within(address) {
                // The packet ends at the address of version 4.
                Some(inner) => may_reach(IpAddr::V4(inner), allowed),
                None => is_public_v6(address),
            },
        }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let special = match (first, second, third) {
        // This network, loopback, private; multicast, reserved and broadcast.
        (0 | 10 | 127 | 224..=255, _, _) => true,
        // Between a provider and its customers (CGNAT).
        (100, 64..=127, _) => true,
        // Link-local: where clouds keep their metadata.
        (169, 254, _) => true,
        (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, the former 6to4 relays.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => true,
        // Measurements.
        (198, 18..=19, _) => true,
        _ => false,
    };
    !special
}

/// Only what is given out as global unicast, without its special blocks. (::1, link-local, unique-local, multicast, and the local
/// NAT64 prefix are not of 2000::/3.)
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    let special = match (first, second) {
        // Protocol assignments (Teredo, ORCHID, benchmarking and others), documentation.
        (0x2001, 0..=0x01ff) | (0x2001, 0x0db8) => true,
        (0x3fff, 0..=0x0fff) => true,
        _ => false,
    };
    is_global && !special
}

/// The address of version 4 to which one of version 6 leads: by the well-known prefix of NAT64, or by 6to4.
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).expect(text)).collect()
    }

    #[test]
    fn only_addresses_that_anybody_can_reach_are_reached() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:81b::200e",
            "2001:200::1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(may_reach(public.parse().unwrap(), &[]), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1.1.1.1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!may_reach(special.parse().unwrap(), &[]), "{special}");
        }
    }

    #[test]
    fn what_the_operator_names_is_reached_and_nothing_beside_it() {
        let allowed = networks(&["127.0.0.0/8", "10.1.2.3", "fd00:1::/32"]);
        for fine in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "::ffff:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "fd00:1::5",
            "1.1.1.1",
        ] {
            assert!(may_reach(fine.parse().unwrap(), &allowed), "{fine}");
        }
        for other in ["10.1.2.4", "128.0.0.1.".trim_end_matches('.'), "fd00:2::5", "::1", "169.254.169.254"] {
            let is_public = other == "128.0.0.1";
            assert_eq!(may_reach(other.parse().unwrap(), &allowed), is_public, "{other}");
        }
        let everything = networks(&["0.0.0.0/0", "::/0"]);
        assert!(may_reach("127.0.0.1".parse().unwrap(), &everything));
        assert!(may_reach("fe80::1".parse().unwrap(), &everything));
    }
}
