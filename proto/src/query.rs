//! What somebody types into a search box, as a question: shared by the page (to say early what is wrong), the gateway and the
//! replica (which answers it). Pure: it knows neither who asks nor what there is to be found.
//!
//! ```text
//!   deploy "rolling restart" resta* from:ana in:12 in:"Release team" in:@bob before:2026-02-01 after:2026-01-15 has:link
//! ```
//!
//! All words and phrases must be in a message. Of several `from:` or `in:` one must fit; of several dates the narrowest
//! counts. What looks like a filter and is none (`https://…`, `12:30`) is words.

use std::fmt;

use thiserror::Error;

use crate::limits::{SEARCH_BYTES_MAX, SEARCH_ITEMS_MAX};
use crate::text::{canonical_name, canonical_title};

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// A word is the beginning of others from this many characters on: shorter ones begin too many.
const PREFIX_CHARS_MIN: usize = 2;
/// No place on earth is further from UTC than this.
const OFFSET_MINUTES_MAX: i32 = 18 * 60;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchQuery {
    /// Each must be found.
    pub words: Vec<Words>,
    /// User names, canonical: written by one of these. Empty: by anybody.
    pub from: Vec<String>,
    /// In one of these. Empty: anywhere.
    pub places: Vec<Place>,
    /// Log time below this, ms since the Unix epoch.
    pub before_ms: Option<u64>,
    /// Log time at or above this, ms since the Unix epoch.
    pub after_ms: Option<u64>,
    /// What the message must have, all of it.
    pub has: Vec<Has>,
}

/// A word, or a phrase: its words side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// As typed, without quotation marks or star.
    pub text: String,
    /// The last word need only begin like this.
    pub is_prefix: bool,
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The conversation of this number.
    Number(u64),
    /// Conversations of exactly this title, whatever its case.
    Title(String),
    /// The direct conversation with this user.
    With(String),
}

/// What a message can have beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    /// An `http` or `https` address.
    Link,
    /// An attachment.
    File,
}

/// Why a question cannot be asked, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Longer than anybody types.
    #[error("the search is too long: use at most {SEARCH_BYTES_MAX} bytes")]
    TooLong,
    /// More words and filters than are looked at.
    #[error("the search has too many parts: use at most {SEARCH_ITEMS_MAX} words, phrases and filters")]
    TooMany,
    /// No word and no filter.
    #[error("there is nothing to look for: write a word, or a filter such as from:ana or has:link")]
    Nothing,
    /// A quotation mark without its partner.
    #[error("a quotation mark is open: close the phrase with another \"")]
    Open,
    /// `from:` and nothing after it.
    #[error("{0}: needs something right behind it: write {1}")]
    Empty(&'static str, &'static str),
    /// No user can have this name.
    #[error("{0:?} is no user name: write {1}")]
    User(String, &'static str),
    /// No conversation can have this title.
    #[error(
        "{0:?} is neither a conversation's number nor a title: write in:12, in:\"its title\" or in:@user"
    )]
    Place(String),
    /// No day.
    #[error("{1:?} is no day: write {0}:2026-01-31 (year-month-day)")]
    Day(&'static str, String),
    /// Nothing that can be asked for.
    #[error("{0:?} cannot be looked for: write has:link or has:file")]
    Has(String),
    /// No time zone is that far away.
    #[error("utc_offset is in minutes, from -{OFFSET_MINUTES_MAX} to {OFFSET_MINUTES_MAX}")]
    Offset,
}

impl Has {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Has::Link => "link",
            Has::File => "file",
        }
    }
}

/// Reads what was typed. Days begin at midnight `utc_offset_minutes` east of Greenwich.
///
/// # Errors
/// [`QueryError`] says what to write instead.
pub fn parse(typed: &str, utc_offset_minutes: i32) -> Result<SearchQuery, QueryError> {
    if typed.len() > SEARCH_BYTES_MAX {
        return Err(QueryError::TooLong);
    }
    if !(-OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX).contains(&utc_offset_minutes) {
        return Err(QueryError::Offset);
    }
    let mut query = SearchQuery::default();
    let mut rest = typed.trim_start();
    let mut items = 0;
    while !rest.is_empty() {
        items += 1;
        if items > SEARCH_ITEMS_MAX {
            return Err(QueryError::TooMany);
        }
        let (item, after) = take_item(rest)?;
        query.add(item, utc_offset_minutes)?;
        rest = after.trim_start();
    }
    if query == SearchQuery::default() { Err(QueryError::Nothing) } else { Ok(query) }
}

/// One item as typed.
enum Item<'a> {
    Word(&'a str),
    Phrase(&'a str),
    /// The filter's name, what follows it, and whether that was quoted.
    Filter(&'static str, &'a str, bool),
}

const FILTERS: [&str; 5] = ["from", "in", "before", "after", "has"];

/// Phones write the curly ones by themselves.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ff02}')
}

fn take_item(rest: &str) -> Result<(Item<'_>, &str), QueryError> {
    if let Some((phrase, after)) = take_quoted(rest)? {
        return Ok((Item::Phrase(phrase), after));
    }
    for name in FILTERS {
        let Some((head, value)) = rest.split_at_checked(name.len()) else { continue };
        let Some(value) = value.strip_prefix(':').filter(|_| head.eq_ignore_ascii_case(name)) else {
            continue;
        };
        if let Some((value, after)) = take_quoted(value)? {
            return Ok((Item::Filter(name, value, true), after));
        }
        let end = value.find(|c: char| c.is_whitespace() || is_quote(c)).unwrap_or(value.len());
        return Ok((Item::Filter(name, &value[..end], false), &value[end..]));
    }
    let end = rest.find(|c: char| c.is_whitespace() || is_quote(c)).unwrap_or(rest.len());
    Ok((Item::Word(&rest[..end]), &rest[end..]))
}

/// What is quoted at the beginning, and what follows.
fn take_quoted(rest: &str) -> Result<Option<(&str, &str)>, QueryError> {
    let Some(inner) = rest.strip_prefix(is_quote) else { return Ok(None) };
    let (phrase, after) = inner.split_once(is_quote).ok_or(QueryError::Open)?;
    Ok(Some((phrase, after)))
}

impl SearchQuery {
    fn add(&mut self, item: Item<'_>, utc_offset_minutes: i32) -> Result<(), QueryError> {
        match item {
            Item::Word(word) => {
                let begin = word.strip_suffix('*').filter(|begin| begin.chars().count() >= PREFIX_CHARS_MIN);
                self.add_words(begin.unwrap_or(word), begin.is_some());
            }
            Item::Phrase(phrase) => self.add_words(phrase, false),
            Item::Filter("from", name, _) => self.from.push(user(name, "from", "from:ana")?),
            Item::Filter("in", value, is_quoted) => self.places.push(place(value, is_quoted)?),
            Item::Filter("before", day, _) => {
                let begin = day_begin(day, "before", "before:2026-01-31", utc_offset_minutes)?;
                let begin = u64::try_from(begin).unwrap_or(0);
                self.before_ms = Some(self.before_ms.map_or(begin, |before| before.min(begin)));
            }
            Item::Filter("after", day, _) => {
                let end = day_begin(day, "after", "after:2026-01-31", utc_offset_minutes)? + DAY_MS;
                let end = u64::try_from(end).unwrap_or(0);
                self.after_ms = Some(self.after_ms.map_or(end, |after| after.max(end)));
            }
            Item::Filter(_, what, _) => self.has.push(match what.to_lowercase().as_str() {
                "link" => Has::Link,
                "file" => Has::File,
                "" => return Err(QueryError::Empty("has", "has:link or has:file")),
                _ => return Err(QueryError::Has(what.to_owned())),
            }),
        }
        Ok(())
    }

    /// Marks alone (`-`, `&`) are in no index: they are left out.
    fn add_words(&mut self, text: &str, is_prefix: bool) {
        if text.chars().any(char::is_alphanumeric) {
            let is_prefix = is_prefix && text.ends_with(char::is_alphanumeric);
            self.words.push(Words { text: text.trim().to_owned(), is_prefix });
        }
    }
}

fn user(name: &str, filter: &'static str, example: &'static str) -> Result<String, QueryError> {
    let name = name.strip_prefix('@').unwrap_or(name);
    if name.is_empty() {
        return Err(QueryError::Empty(filter, example));
    }
    canonical_name(name).map_err(|_| QueryError::User(name.to_owned(), example))
}

fn place(value: &str, is_quoted: bool) -> Result<Place, QueryError> {
    if value.is_empty() {
        return Err(QueryError::Empty("in", "in:12, in:\"its title\" or in:@user"));
    }
    if !is_quoted {
        if let Ok(number) = value.parse::<u64>() {
            return Ok(Place::Number(number));
        }
        if let Some(name) = value.strip_prefix('@') {
            return Ok(Place::With(user(name, "in", "in:@ana")?));
        }
    }
    canonical_title(value).map(Place::Title).map_err(|_| QueryError::Place(value.to_owned()))
}

/// When a day begins, ms since the Unix epoch; negative where the zone's first day began earlier.
fn day_begin(
    day: &str,
    filter: &'static str,
    example: &'static str,
    utc_offset_minutes: i32,
) -> Result<i64, QueryError> {
    if day.is_empty() {
        return Err(QueryError::Empty(filter, example));
    }
    let days = days_since_epoch(day).ok_or_else(|| QueryError::Day(filter, day.to_owned()))?;
    Ok(days * DAY_MS - i64::from(utc_offset_minutes) * 60_000)
}

/// `2026-01-31` as days since 1970-01-01, in the Gregorian calendar.
fn days_since_epoch(day: &str) -> Option<i64> {
    let mut parts = day.split('-');
    let (year, month, date) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || year.len() != 4 || ![year, month, date].into_iter().all(digits) {
        return None;
    }
    let (year, month, date): (i64, i64, i64) = (year.parse().ok()?, month.parse().ok()?, date.parse().ok()?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&date) {
        return None;
    }
    // Years that begin in March end with their leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date - 1;
    const MARCH_0000_TO_EPOCH_DAYS: i64 = 719_468;
    Some(days - MARCH_0000_TO_EPOCH_DAYS)
}

/// The day that contains a time in UTC, as [`days_since_epoch`] reads it.
fn day_of(ms: u64) -> String {
    let days = i64::try_from(ms).unwrap_or(i64::MAX) / DAY_MS + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}")
}

/// The question as it can be typed, with days of UTC.
impl fmt::Display for SearchQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        for words in &self.words {
            let text = &words.text;
            parts.push(if words.is_prefix { format!("{text}*") } else { format!("\"{text}\"") });
        }
        parts.extend(self.from.iter().map(|name| format!("from:{name}")));
        parts.extend(self.places.iter().map(|place| match place {
            Place::Number(number) => format!("in:{number}"),
            Place::Title(title) => format!("in:\"{title}\""),
            Place::With(name) => format!("in:@{name}"),
        }));
        parts.extend(self.before_ms.map(|ms| format!("before:{}", day_of(ms))));
        parts.extend(self.after_ms.map(|ms| format!("after:{}", day_of(ms.saturating_sub(DAY_MS as u64)))));
        parts.extend(self.has.iter().map(|has| format!("has:{}", has.word())));
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests;
