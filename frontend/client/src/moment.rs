//! Time and chance, as a caller hands them in: the rules themselves have neither.

use quorate_proto::ids::ClientMessageId;

/// When something happened, and fresh randomness to decide with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// A clock that never goes back, ms from any start. All timers are on it.
    pub now_ms: u64,
    /// The wall clock, ms since the Unix epoch. For display and for the age of outbox items.
    pub wall_ms: u64,
    /// 128 random bits, fresh for each event.
    pub random: u128,
}

impl Moment {
    /// A new client message id: a UUID of version 7 (RFC 9562) from the wall clock and 74 of the random bits.
    pub fn client_message_id(&self) -> ClientMessageId {
        let mut bits = [0; 10];
        bits.copy_from_slice(&self.random.to_le_bytes()[..10]);
        ClientMessageId(uuid::Builder::from_unix_timestamp_millis(self.wall_ms, &bits).into_uuid())
    }

    /// A whole number of milliseconds, evenly from 0 to `bound_ms`.
    pub fn jitter_ms(&self, bound_ms: u64) -> u64 {
        let high_bits = self.random >> 64;
        let scaled = (high_bits * (u128::from(bound_ms) + 1)) >> 64;
        u64::try_from(scaled).expect("a 64-bit fraction of a 64-bit number has 64 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_rise_with_the_clock() {
        let early = Moment { now_ms: 0, wall_ms: 1_000, random: u128::MAX }.client_message_id();
        let late = Moment { now_ms: 0, wall_ms: 1_001, random: 0 }.client_message_id();
        assert_eq!(early.0.get_version_num(), 7);
        assert!(early < late);
    }

    #[test]
    fn jitter_covers_its_range_and_stays_in_it() {
        let at = |random| Moment { now_ms: 0, wall_ms: 0, random }.jitter_ms(10);
        assert_eq!(at(0), 0);
        assert_eq!(at(u128::MAX), 10);
        assert_eq!(at(u128::MAX / 2), 5);
        assert_eq!(Moment { now_ms: 0, wall_ms: 0, random: u128::MAX }.jitter_ms(u64::MAX - 1), u64::MAX - 1);
    }
}
