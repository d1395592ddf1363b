//! Links that sign somebody in: each code is good once, for a while. Kept in memory alone: the end of the runner ends them.

use std::time::{Duration, Instant};

use super::book::random_hex;
use crate::error::Result;

/// A link is opened within this after it was printed.
pub(crate) const ENTRY_LIFE: Duration = Duration::from_secs(30 * 60);
/// Links that wait to be opened; beyond it the oldest goes.
const ENTRIES_MAX: usize = 32;

/// See the module. Its `Debug` shows no code.
#[derive(Default)]
pub(crate) struct Entries {
    open: Vec<Entry>,
    spent: Vec<Entry>,
}

struct Entry {
    code: String,
    name: String,
    until: Instant,
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl Entries {
    /// A new code for this user.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn issue(&mut self, name: &str, now: Instant) -> Result<String> {
        if self.open.len() >= ENTRIES_MAX {
            self.open.remove(0);
        }
        let code = random_hex()?;
        self.open.push(Entry { code: code.clone(), name: name.to_owned(), until: now + ENTRY_LIFE });
        Ok(code)
    }

    /// Whom a code signs in; it is spent with that.
    pub(crate) fn redeem(&mut self, code: &str, now: Instant) -> Option<String> {
        let entry = take(&mut self.open, code, now)?;
        let name = entry.name.clone();
        if self.spent.len() >= ENTRIES_MAX {
            self.spent.remove(0);
        }
        self.spent.push(entry);
        Some(name)
    }

    /// The cluster could not decide that sign-in: the code is as good as before. Only the gateways can say so.
    pub(crate) fn give_back(&mut self, code: &str, now: Instant) {
        self.open.extend(take(&mut self.spent, code, now));
    }
}

fn take(entries: &mut Vec<Entry>, code: &str, now: Instant) -> Option<Entry> {
    entries.retain(|entry| entry.until > now);
    let at = entries.iter().position(|entry| same_secret(&entry.code, code))?;
    Some(entries.remove(at))
}

/// Whether two secrets are the same, in a time that says nothing of where they differ.
pub(crate) fn same_secret(one: &str, other: &str) -> bool {
    let differs = one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_not_for_long() {
        let now = Instant::now();
        let mut entries = Entries::default();
        let (ada, ben) = (entries.issue("ada", now).unwrap(), entries.issue("ben", now).unwrap());
        assert_eq!(entries.redeem("", now), None);
        assert_eq!(entries.redeem(&ada[1..], now), None);
        assert_eq!(entries.redeem(&ada, now).as_deref(), Some("ada"));
        assert_eq!(entries.redeem(&ada, now), None, "it was spent");
        assert_eq!(entries.redeem(&ben, now + ENTRY_LIFE), None, "it is too old");
        assert_eq!(entries.redeem(&ben, now), None, "and gone");
    }

    #[test]
    fn what_came_to_nothing_may_be_tried_again_and_nothing_else() {
        let now = Instant::now();
        let mut entries = Entries::default();
        let ada = entries.issue("ada", now).unwrap();
        entries.give_back("a code that nobody was given", now);
        entries.give_back(&ada, now);
        assert_eq!(entries.redeem(&ada, now).as_deref(), Some("ada"));
        assert_eq!(entries.redeem(&ada, now), None, "it was open once, not twice");
        entries.give_back(&ada, now);
        assert_eq!(entries.redeem(&ada, now).as_deref(), Some("ada"));
        entries.give_back(&ada, now + ENTRY_LIFE);
        assert_eq!(entries.redeem(&ada, now), None, "too late");
    }

    #[test]
    fn the_oldest_of_too_many_goes() {
        let now = Instant::now();
        let mut entries = Entries::default();
        let first = entries.issue("ada", now).unwrap();
        let others: Vec<String> = (0..ENTRIES_MAX).map(|_| entries.issue("ben", now).unwrap()).collect();
        assert_eq!(entries.redeem(&first, now), None);
        assert_eq!(entries.redeem(&others[0], now).as_deref(), Some("ben"));
    }
}
