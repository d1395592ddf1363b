//! The browser's clocks and randomness, and times in words.

use std::cell::Cell;

use js_sys::Date;
use leptos::prelude::window;
use quorate_client::Moment;

/// A clock that never goes back and does not stop while the machine sleeps: it advances by whichever of the browser's two
/// clocks advanced more. The monotonic one may stand still in sleep, the wall clock may be set back.
#[derive(Debug)]
pub(crate) struct Clock {
    now_ms: Cell<f64>,
    performance_ms: Cell<f64>,
    wall_ms: Cell<f64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            now_ms: Cell::new(0.0),
            performance_ms: Cell::new(performance_ms()),
            wall_ms: Cell::new(Date::now()),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let (performance_ms, wall_ms) = (performance_ms(), Date::now());
        let step_ms = (performance_ms - self.performance_ms.get()).max(wall_ms - self.wall_ms.get()).max(0.0);
        self.performance_ms.set(performance_ms);
        self.wall_ms.set(wall_ms);
        self.now_ms.set(self.now_ms.get() + step_ms);
        self.now_ms.get() as u64
    }

    pub(crate) fn moment(&self) -> Moment {
        let mut bytes = [0; 16];
        if let Ok(crypto) = window().crypto() {
            // A failure leaves zeros: ids then rest on the clock alone, and the server refuses a doubled one.
            let _ = crypto.get_random_values_with_u8_array(&mut bytes);
        }
        Moment { now_ms: self.now_ms(), wall_ms: Date::now() as u64, random: u128::from_le_bytes(bytes) }
    }
}

fn performance_ms() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}

fn date(time: u64) -> Date {
    Date::new(&(time as f64).into())
}

/// The number of the local day that this time falls on.
pub(crate) fn local_day(time: u64) -> i64 {
    let offset_ms = date(time).get_timezone_offset() * 60_000.0;
    ((time as f64 - offset_ms) / 86_400_000.0).floor() as i64
}

/// `14:05`
pub(crate) fn hours(time: u64) -> String {
    let date = date(time);
    format!("{:02}:{:02}", date.get_hours(), date.get_minutes())
}

/// `Today`, `Yesterday`, `Monday`, `Monday, 3 November`, with the year where it is another.
pub(crate) fn day(time: u64) -> String {
    let now = Date::now() as u64;
    let date = date(time);
    let weekday = WEEKDAYS[date.get_day() as usize % 7];
    match local_day(now) - local_day(time) {
        0 => "Today".to_owned(),
        1 => "Yesterday".to_owned(),
        2..=6 => weekday.to_owned(),
        _ => {
            let month = MONTHS[date.get_month() as usize % 12];
            let year = date.get_full_year();
            let same_year = year == Date::new_0().get_full_year();
            let year = if same_year { String::new() } else { format!(" {year}") };
            format!("{weekday}, {} {month}{year}", date.get_date())
        }
    }
}

/// For the list: the hour today, then the day, then the date.
pub(crate) fn brief(time: u64) -> String {
    if time == 0 {
        return String::new();
    }
    let now = Date::now() as u64;
    match local_day(now) - local_day(time) {
        i64::MIN..=0 => hours(time),
        1 => "Yesterday".to_owned(),
        2..=6 => WEEKDAYS[date(time).get_day() as usize % 7][..3].to_owned(),
        _ => {
            let date = date(time);
            format!("{} {}", date.get_date(), &MONTHS[date.get_month() as usize % 12][..3])
        }
    }
}

/// The whole of it, for a tooltip and for screen readers.
pub(crate) fn full(time: u64) -> String {
    format!("{}, {}", day(time), hours(time))
}

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
