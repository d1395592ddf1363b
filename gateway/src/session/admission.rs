//! How many sessions begin at a time: beyond a rate they are told when to come again. Pure; time comes as an argument.
//!
//! Owns the queue that a storm forms, as a number: whoever is turned away gets a turn of her own, so that all of them come
//! back at the rate and not at once. A turn that is not taken is lost, and costs the others nothing.

/// The longest a client is told to wait, ms: beyond it the turns are so far away that they are drawn by lot.
const WAIT_MS_MAX: u64 = 10_000;
/// Added by chance to every wait, ms: clients count from when they hear it.
pub const JITTER_MS: u64 = 250;

/// See the module.
#[derive(Debug)]
pub struct Admission {
    /// One session in this time, µs; 0 for no limit.
    interval_us: u64,
    /// So many at once after a quiet time.
    burst: u64,
    /// When all that was admitted will have been paid for, µs.
    paid_at_us: u64,
    /// The next turn that nobody has been given, µs.
    turn_at_us: u64,
}

impl Admission {
    /// `per_second` sessions, twice as many at once; 0 for no limit.
    pub fn new(per_second: u32) -> Self {
        let interval_us = if per_second == 0 { 0 } else { (1_000_000 / u64::from(per_second)).max(1) };
        Self { interval_us, burst: 2 * u64::from(per_second), paid_at_us: 0, turn_at_us: 0 }
    }

    /// Admits a session, or says after how many ms to come again. `chance` is below [`JITTER_MS`], and `lot` any number.
    pub fn enter(&mut self, now_ms: u64, chance: u64, lot: u64) -> Result<(), u64> {
        if self.interval_us == 0 {
            return Ok(());
        }
        let now = now_ms * 1_000;
        let paid_at = self.paid_at_us.max(now);
        if paid_at + self.interval_us <= now + self.burst * self.interval_us {
            self.paid_at_us = paid_at + self.interval_us;
            return Ok(());
        }
        // Turns begin where the burst has drained by half, so that who comes in time finds room.
        let first = now + self.burst / 2 * self.interval_us;
        self.turn_at_us = self.turn_at_us.max(first) + self.interval_us;
        let wait_ms = (self.turn_at_us - now) / 1_000;
        if wait_ms > WAIT_MS_MAX {
            self.turn_at_us -= self.interval_us;
            return Err(WAIT_MS_MAX / 2 + lot % (WAIT_MS_MAX / 2) + chance);
        }
        Err(wait_ms + chance)
    }

    /// Who was admitted turned out to have no token: her place is for another. Otherwise anybody could keep everybody out
    /// with tokens that she made up.
    pub fn give_back(&mut self) {
        self.paid_at_us = self.paid_at_us.saturating_sub(self.interval_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody comes at once and then as told: when the last is in, ms, and the most admitted in any one second.
    fn storm(sessions: usize, per_second: u32) -> (u64, usize) {
        let mut admission = Admission::new(per_second);
        let mut due: std::collections::BTreeMap<(u64, usize), ()> =
            (0..sessions).map(|session| ((1_000, session), ())).collect();
        let mut admitted = Vec::new();
        while let Some(((at_ms, session), ())) = due.pop_first() {
            let chance = (session as u64).wrapping_mul(2_654_435_761) % JITTER_MS;
            match admission.enter(at_ms, chance, session as u64 * 7_919) {
                Ok(()) => admitted.push(at_ms - 1_000),
                Err(wait_ms) => {
                    due.insert((at_ms + wait_ms, session), ());
                }
            }
        }
        let most = admitted
            .iter()
            .map(|from| admitted.iter().filter(|at| (*from..*from + 1_000).contains(*at)).count());
        (admitted.iter().max().copied().unwrap_or(0), most.max().unwrap_or(0))
    }

    #[test]
    fn a_storm_comes_back_at_the_rate_and_in_the_time_that_the_rate_needs() {
        let (took_ms, most) = storm(2_000, 250);
        assert!(took_ms <= 8_000, "{took_ms} ms for 2,000 sessions at 250 a second, 500 of them at once");
        assert!(most <= 750, "{most} in one second");
    }

    #[test]
    fn a_storm_beyond_all_measure_is_served_too() {
        let (took_ms, most) = storm(10_000, 250);
        assert!(took_ms <= 80_000, "{took_ms} ms");
        assert!(most <= 750, "{most} in one second");
    }

    #[test]
    fn bad_tokens_at_any_rate_keep_nobody_out() {
        let mut admission = Admission::new(250);
        for now_ms in 1_000..21_000 {
            assert!(admission.enter(now_ms, 0, 0).is_ok(), "a thousand a second without a token");
            admission.give_back();
            if now_ms % 10 == 0 {
                assert!(admission.enter(now_ms, 0, 0).is_ok(), "turned away at {now_ms} ms");
            }
        }
    }

    #[test]
    fn without_a_rate_everybody_enters() {
        assert_eq!(storm(5_000, 0), (0, 5_000));
    }
}
