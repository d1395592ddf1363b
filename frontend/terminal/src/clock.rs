//! The machine's clocks and randomness, and times in words.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, Local, TimeZone, Timelike};
use quorate_client::Moment;

/// A clock that never goes back and does not stop while the machine sleeps: it advances by whichever of the two clocks
/// advanced more. The monotonic one stands still in sleep, the wall clock may be set back.
#[derive(Debug)]
pub struct Clock {
    now: Duration,
    instant: Instant,
    wall: SystemTime,
}

impl Default for Clock {
    fn default() -> Self {
        Self { now: Duration::ZERO, instant: Instant::now(), wall: SystemTime::now() }
    }
}

impl Clock {
    /// Milliseconds since this clock was made.
    pub fn now_ms(&mut self) -> u64 {
        let (instant, wall) = (Instant::now(), SystemTime::now());
        let stepped = wall.duration_since(self.wall).unwrap_or_default();
        self.now += stepped.max(instant - self.instant);
        self.instant = instant;
        self.wall = wall;
        whole_ms(self.now)
    }

    /// What [`Self::now_ms`] said last.
    pub fn last_ms(&self) -> u64 {
        whole_ms(self.now)
    }

    /// Now, with fresh randomness.
    pub fn moment(&mut self) -> Moment {
        let mut bytes = [0; 16];
        // A failure leaves zeros: ids then rest on the clock alone, and the server refuses a doubled one.
        let _ = getrandom::fill(&mut bytes);
        Moment { now_ms: self.now_ms(), wall_ms: wall_ms(), random: u128::from_le_bytes(bytes) }
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock, ms since the Unix epoch.
pub fn wall_ms() -> u64 {
    whole_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn local(time: u64) -> Option<DateTime<Local>> {
    Local.timestamp_millis_opt(i64::try_from(time).ok()?).single()
}

/// The number of the local day that this time falls on.
pub fn local_day(time: u64) -> i64 {
    local(time).map_or(0, |time| i64::from(time.num_days_from_ce()))
}

/// `14:05`
pub fn hours(time: u64) -> String {
    local(time).map_or_else(String::new, |time| format!("{:02}:{:02}", time.hour(), time.minute()))
}

/// `Today`, `Yesterday`, `Monday`, `Monday, 3 November`, with the year where it is another.
pub fn day(time: u64, now: u64) -> String {
    let (Some(date), Some(today)) = (local(time), local(now)) else { return String::new() };
    match local_day(now) - local_day(time) {
        0 => "Today".to_owned(),
        1 => "Yesterday".to_owned(),
        2..=6 => date.format("%A").to_string(),
        _ if date.year() == today.year() => date.format("%A, %-d %B").to_string(),
        _ => date.format("%A, %-d %B %Y").to_string(),
    }
}

/// For the list: the hour today, then the day, then the date; never longer than six columns.
pub fn brief(time: u64, now: u64) -> String {
    let Some(date) = local(time).filter(|_| time > 0) else { return String::new() };
    match local_day(now) - local_day(time) {
        i64::MIN..=0 => hours(time),
        1..=6 => date.format("%a").to_string(),
        _ => date.format("%-d %b").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_only_rises_and_moments_differ() {
        let mut clock = Clock::default();
        let (first, second) = (clock.moment(), clock.moment());
        assert!(second.now_ms >= first.now_ms);
        assert_ne!(first.random, second.random);
        // Set back an hour: the other clock counts.
        clock.wall = SystemTime::now() + Duration::from_secs(3_600);
        let before = clock.now;
        clock.now_ms();
        assert!(clock.now >= before);
        // Slept for an hour.
        clock.wall = SystemTime::now() - Duration::from_secs(3_600);
        let before = clock.now;
        clock.now_ms();
        assert!(clock.now >= before + Duration::from_secs(3_590));
    }

    #[test]
    fn days_are_said_as_people_say_them() {
        const DAY_MS: u64 = 86_400_000;
        let now = 1_700_000_000_000;
        assert_eq!(day(now, now), "Today");
        assert_eq!(day(now - DAY_MS, now), "Yesterday");
        assert!(day(now - 400 * DAY_MS, now).ends_with("2022"), "{}", day(now - 400 * DAY_MS, now));
        assert_eq!(local_day(now) - local_day(now - 3 * DAY_MS), 3);
        assert_eq!(brief(0, now), "");
        assert!(brief(now - 30 * DAY_MS, now).len() <= 6);
    }
}
