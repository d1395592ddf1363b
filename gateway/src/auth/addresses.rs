//! How often one address may try to sign up or in, at this gateway: beside the replicas' counters, which know accounts and not
//! addresses. A bucket of tries that fills again with time; bounded in number.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use quorate_proto::error::{ErrorCode, WireError};

/// Addresses remembered, some 4 MiB; beyond it the full buckets are forgotten, for they say nothing.
const ADDRESSES_MAX: usize = 64 * 1_024;
/// What somebody is told to wait when every bucket holds something.
const FULL_WAIT: Duration = Duration::from_secs(60);

/// When the bucket of an address will be full again.
#[derive(Debug)]
pub(super) struct Addresses {
    full_at: Mutex<HashMap<IpAddr, Instant>>,
    /// Tries at once.
    burst: u32,
    /// Time that one try takes to come back; zero for no limit.
    each: Duration,
}

/// Whoever has one address of a v6 network has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

impl Addresses {
    /// So many tries a minute, and as many at once; 0 for no limit.
    pub(super) fn new(per_minute: u32) -> Self {
        let each = Duration::from_secs(60).checked_div(per_minute).unwrap_or_default();
        Self { full_at: Mutex::default(), burst: per_minute, each }
    }

    /// Takes one try.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), WireError> {
        if self.each.is_zero() {
            return Ok(());
        }
        let address = network(address);
        let mut full_at = self.full_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if full_at.len() >= ADDRESSES_MAX && !full_at.contains_key(&address) {
            full_at.retain(|_, full| *full > now);
            if full_at.len() >= ADDRESSES_MAX {
                return Err(refused(FULL_WAIT));
            }
        }
        let full = full_at.get(&address).map_or(now, |full| (*full).max(now)) + self.each;
        let wait = full.saturating_duration_since(now + self.each * self.burst);
        if !wait.is_zero() {
            return Err(refused(wait));
        }
        full_at.insert(address, full);
        Ok(())
    }
}

fn refused(wait: Duration) -> WireError {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    WireError::new(ErrorCode::RateLimited, "too many attempts from your address: try again later").retry_after(wait_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_tries_and_they_come_back_with_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let addresses = Addresses::new(6);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..6 {
            assert_eq!(addresses.admit(one, at(0)), Ok(()));
        }
        let refused = addresses.admit(one, at(0)).unwrap_err();
        assert_eq!((refused.code, refused.retry_ms), (ErrorCode::RateLimited, Some(10_000)));
        assert_eq!(addresses.admit(two, at(0)), Ok(()), "another's are another's");
        assert_eq!(addresses.admit(one, at(10)), Ok(()));
        assert!(addresses.admit(one, at(10)).is_err(), "a refused one costs nothing and brings nothing");
        assert_eq!(addresses.admit(one, at(20)), Ok(()));
        for _ in 0..1_000 {
            assert_eq!(Addresses::new(0).admit(one, at(0)), Ok(()), "no limit");
        }
    }

    #[test]
    fn a_network_of_v6_is_one_and_room_is_bounded() {
        let start = Instant::now();
        let addresses = Addresses::new(1);
        assert_eq!(addresses.admit("2001:db8::1".parse().unwrap(), start), Ok(()));
        assert!(addresses.admit("2001:db8::2".parse().unwrap(), start).is_err());
        assert_eq!(addresses.admit("2001:db8:0:1::1".parse().unwrap(), start), Ok(()));
        for number in 0..ADDRESSES_MAX as u32 {
            let _ = addresses.admit(IpAddr::from(number.to_be_bytes()), start);
        }
        assert!(addresses.full_at.lock().unwrap().len() <= ADDRESSES_MAX);
        assert!(addresses.admit("198.51.100.1".parse().unwrap(), start).is_err(), "no room, so no");
        let later = start + Duration::from_secs(61);
        assert_eq!(addresses.admit("198.51.100.1".parse().unwrap(), later), Ok(()), "the old ones are forgotten");
    }
}
