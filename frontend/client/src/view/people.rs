//! Names and their small pictures.

use quorate_proto::frame::User;

use crate::words::{t, tn};

/// Colours of avatars in the style sheet.
const HUES: u64 = 8;

/// What somebody wants to be called.
pub fn called(user: &User) -> &str {
    if user.deleted {
        return t("Deleted user");
    }
    if user.display_name.is_empty() { &user.name } else { &user.display_name }
}

/// One or two letters that stand for a name.
pub fn initials(name: &str) -> String {
    let mut words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    let letters: String = first.into_iter().chain(last).flat_map(char::to_uppercase).take(2).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

/// A colour that stays the same for the same name, from 0 to 7.
pub fn hue(name: &str) -> u64 {
    // FNV-1a: no more than spread is asked of it.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) % HUES
}

/// A fragment as errors are written in the house, as a sentence for a person.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    let mut sentence: String = first.chain(chars).collect();
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?', '…']) {
        sentence.push('.');
    }
    sentence
}

/// A text in one line.
pub fn one_line(text: &str) -> String {
    /// Enough for one line of any screen.
    const CHARS_MAX: usize = 120;
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(CHARS_MAX).collect()
}

/// A time span in its largest whole unit: `36 hours`, `7 days`.
pub fn duration(ms: u64) -> String {
    let hours = ms / 3_600_000;
    if hours >= 48 && hours.is_multiple_of(24) {
        tn(hours / 24, "{} day", "{} days")
    } else if hours > 0 {
        tn(hours, "{} hour", "{} hours")
    } else {
        tn(ms / 60_000, "{} minute", "{} minutes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_first_and_last() {
        assert_eq!(
            ["Ana Maria Brook", "bob", "élan vital", "—", "x.y"].map(initials),
            ["AB", "B", "ÉV", "?", "XY"]
        );
    }

    #[test]
    fn fragments_become_sentences() {
        assert_eq!(["no leader", "Done.", "", "élan"].map(sentence), ["No leader.", "Done.", "", "Élan."]);
    }

    #[test]
    fn spans_are_said_in_their_largest_whole_unit() {
        let hour = 3_600_000;
        assert_eq!(
            [hour, 24 * hour, 36 * hour, 48 * hour, 30 * 60_000].map(duration),
            ["1 hour", "24 hours", "36 hours", "2 days", "30 minutes"]
        );
    }

    #[test]
    fn who_deleted_her_account_has_no_name() {
        let user = User { id: 4, deleted: true, ..User::default() };
        assert_eq!(called(&user), "Deleted user");
    }

    #[test]
    fn hues_are_stable_and_spread() {
        assert_eq!(hue("ana"), hue("ana"));
        let used: std::collections::BTreeSet<u64> = (0..100).map(|n| hue(&format!("user{n}"))).collect();
        assert_eq!(used.len(), 8);
    }
}
