//! A block of addresses, as operators write it where they name balancers or where webhooks may lead. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bits before an address of version 4 that is written as one of version 6 (`::ffff:10.0.0.1`).
const MAPPED_BITS: u8 = 96;

/// A block of addresses, as `10.0.0.0/8`; or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The machine itself, by both versions.
    pub(crate) const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), bits: 32 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
    ];

    /// From its text; one address alone stands for itself.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits_max = bits_max(address);
        let bits: u8 = match bits {
            None => bits_max,
            // Digits alone: a number's parser takes a sign as well.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        if bits > bits_max {
            return None;
        }
        Some(match (address, address.to_canonical()) {
            (IpAddr::V6(_), inner @ IpAddr::V4(_)) if bits >= MAPPED_BITS => {
                Self { address: inner, bits: bits - MAPPED_BITS }
            }
            _ => Self { address, bits },
        })
    }

    /// Whether an address is of this block; one of version 4 is the same however it is written.
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Whether every address of its version is of it.
    pub(crate) fn is_everything(self) -> bool {
        self.bits == 0
    }
}

fn bits_max(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// As it is parsed; one address is written without its bits.
impl fmt::Display for Network {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, bits } = self;
        if *bits == bits_max(*address) { write!(to, "{address}") } else { write!(to, "{address}/{bits}") }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let what = "is no network: write it like 10.0.0.0/8 or fd00::/8, or one address alone";
            serde::de::Error::custom(format!("{text:?} {what}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        Network::parse(network).expect(network).holds(address.parse().expect(address))
    }

    #[test]
    fn a_network_holds_its_addresses_and_none_beside_them() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.0", "9.255.255.255"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/31", "192.0.2.6", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("fd00::/8", "fdff:ffff::1", "fc00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::/0", "fe80::1", "127.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "::ffff:11.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.2"),
        ] {
            assert!(holds(network, inside) && !holds(network, outside), "{network}");
        }
    }

    #[test]
    fn what_is_printed_is_the_same_network() {
        for (text, printed) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1/32", "127.0.0.1"),
            ("FD00::/8", "fd00::/8"),
            ("::1/128", "::1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            let network = Network::parse(text).expect(text);
            assert_eq!(network.to_string(), printed);
            assert_eq!(Network::parse(printed), Some(network));
        }
        assert_eq!(Network::LOOPBACK.map(|network| network.to_string()), ["127.0.0.1", "::1"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "::/129",
            "::ffff:10.0.0.0/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/256",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "localhost",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
