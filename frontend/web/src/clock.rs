//! The browser's clocks and randomness, and times in words.

use std::cell::{Cell, RefCell};

use js_sys::Date;
use leptos::prelude::window;
use quorate_client::Moment;
use quorate_client::ordered::OrderedMap;

use crate::words::{keyed, t, tf};

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

/// The wall clock, ms.
pub(crate) fn now() -> u64 {
    Date::now() as u64
}

fn date(time: u64) -> Date {
    Date::new(&(time as f64).into())
}

/// The number of the local day that this time falls on.
pub(crate) fn local_day(time: u64) -> i64 {
    /// No zone changes to another day, or offset, within one.
    const QUARTER_MS: u64 = 15 * 60 * 1_000;
    /// Quarters remembered, of the times that were asked for.
    const QUARTERS_MAX: usize = 2_000;
    thread_local! {
        // To ask the browser takes it some 30 µs, and each row of a timeline asks whenever one changes.
        static DAYS: RefCell<OrderedMap<u64, i64>> = RefCell::default();
    }
    let quarter = time / QUARTER_MS;
    DAYS.with_borrow_mut(|days| {
        if let Some(day) = days.get(&quarter) {
            return *day;
        }
        let begin = quarter * QUARTER_MS;
        let offset_ms = date(begin).get_timezone_offset() * 60_000.0;
        let day = ((begin as f64 - offset_ms) / 86_400_000.0).floor() as i64;
        if days.len() >= QUARTERS_MAX {
            days.clear();
        }
        days.insert(quarter, day);
        day
    })
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
    let weekday = t(WEEKDAYS[date.get_day() as usize % 7]);
    match local_day(now) - local_day(time) {
        0 => t("Today").to_owned(),
        1 => t("Yesterday").to_owned(),
        2..=6 => weekday.to_owned(),
        _ => {
            let month = t(MONTHS[date.get_month() as usize % 12]);
            let year = date.get_full_year();
            let same_year = year == Date::new_0().get_full_year();
            let year = if same_year { String::new() } else { format!(" {year}") };
            tf("{}, {} {}{}", &[&weekday, &date.get_date(), &month, &year])
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
        1 => t("Yesterday").to_owned(),
        2..=6 => t(WEEKDAYS_SHORT[date(time).get_day() as usize % 7]).to_owned(),
        _ => {
            let date = date(time);
            tf("{} {}", &[&date.get_date(), &t(MONTHS_SHORT[date.get_month() as usize % 12])])
        }
    }
}

/// The whole of it, for a tooltip and for screen readers.
pub(crate) fn full(time: u64) -> String {
    format!("{}, {}", day(time), hours(time))
}

/// The hour of today, or the whole stamp.
pub(crate) fn as_of(time: u64) -> String {
    if local_day(now()) == local_day(time) { hours(time) } else { stamp(time) }
}

/// `2026-01-31 14:05`, for texts that are read elsewhere and later.
pub(crate) fn stamp(time: u64) -> String {
    let date = date(time);
    let (month, day) = (date.get_month() + 1, date.get_date());
    format!("{}-{month:02}-{day:02} {}", date.get_full_year(), hours(time))
}

const WEEKDAYS: [&str; 7] = [
    keyed("Sunday"),
    keyed("Monday"),
    keyed("Tuesday"),
    keyed("Wednesday"),
    keyed("Thursday"),
    keyed("Friday"),
    keyed("Saturday"),
];
const MONTHS: [&str; 12] = [
    keyed("January"),
    keyed("February"),
    keyed("March"),
    keyed("April"),
    keyed("May"),
    keyed("June"),
    keyed("July"),
    keyed("August"),
    keyed("September"),
    keyed("October"),
    keyed("November"),
    keyed("December"),
];

const WEEKDAYS_SHORT: [&str; 7] =
    [keyed("Sun"), keyed("Mon"), keyed("Tue"), keyed("Wed"), keyed("Thu"), keyed("Fri"), keyed("Sat")];
const MONTHS_SHORT: [&str; 12] = [
    keyed("Jan"),
    keyed("Feb"),
    keyed("Mar"),
    keyed("Apr"),
    keyed("May"),
    keyed("Jun"),
    keyed("Jul"),
    keyed("Aug"),
    keyed("Sep"),
    keyed("Oct"),
    keyed("Nov"),
    keyed("Dec"),
];

/// What a field of date and time says, in the reader's time zone; wall clock, ms.
pub(crate) fn of_input(value: &str) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let time = Date::parse(value);
    (time.is_finite() && time > 0.0).then_some(time as u64)
}

/// Times that people choose often, wall clock, ms: in an hour, tomorrow and on Monday in the morning.
pub(crate) fn soon() -> Vec<(&'static str, u64)> {
    let now = Date::now();
    let morning = |days: u32| {
        let date = Date::new(&(now + f64::from(days) * 86_400_000.0).into());
        date.set_hours(9);
        date.set_minutes(0);
        date.set_seconds(0);
        date.set_milliseconds(0);
        date.get_time() as u64
    };
    // Monday is day 1; on a Monday the next one is a week away.
    let to_monday = (8 - Date::new_0().get_day()) % 7;
    let to_monday = if to_monday == 0 { 7 } else { to_monday };
    let mut times = vec![(t("In 1 hour"), (now + 3_600_000.0) as u64), (t("Tomorrow morning"), morning(1))];
    if to_monday > 1 {
        times.push((t("Monday morning"), morning(to_monday)));
    }
    times
}

/// A code of 22 letters and digits: over 128 bits of chance. Empty where the browser has none, and then refused.
pub(crate) fn random_code() -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 22];
    let drawn =
        window().crypto().is_ok_and(|crypto| crypto.get_random_values_with_u8_array(&mut bytes).is_ok());
    if !drawn {
        return String::new();
    }
    bytes.iter().map(|byte| char::from(SIGNS[usize::from(byte % 64)])).collect()
}
