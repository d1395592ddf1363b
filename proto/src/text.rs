//! Rules for names and texts, shared by the page (to say so early), the gateway and the replica (to decide).

use thiserror::Error;

use crate::limits::{
    EMOJI_BYTES_MAX, MENTIONS_MAX, NAME_CHARS_MAX, NAME_CHARS_MIN, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN,
    REASON_CHARS_MAX, STATUS_CHARS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX, TOPIC_CHARS_MAX,
};

/// Why a text was refused, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// The user name is not of the allowed form.
    #[error(
        "a user name has {NAME_CHARS_MIN} to {NAME_CHARS_MAX} letters a-z, digits, dots, dashes or underscores, and begins with a letter or digit"
    )]
    Name,
    /// The title or display name is too long or has control characters.
    #[error("a title has 1 to {TITLE_CHARS_MAX} characters and no control characters")]
    Title,
    /// The password is too short or too long.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} bytes")]
    Password,
    /// The message is empty.
    #[error("a message needs some text")]
    Empty,
    /// The message is too long.
    #[error("a message has at most {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// The topic is too long or has control characters.
    #[error("a topic has at most {TOPIC_CHARS_MAX} characters and no control characters")]
    Topic,
    /// The status text is too long or has control characters.
    #[error("a status has at most {STATUS_CHARS_MAX} characters and no control characters")]
    Status,
    /// A reason is missing, too long, or has control characters.
    #[error("a reason has 1 to {REASON_CHARS_MAX} characters and no control characters")]
    Reason,
    /// Not one emoji.
    #[error("a reaction is one emoji")]
    Emoji,
    /// The invite's code is not of the allowed form.
    #[error("an invite's code has 22 to 64 letters, digits, dashes or underscores, drawn at random")]
    InviteCode,
}

/// The canonical form of a user name: trimmed, lower case.
///
/// # Errors
/// [`TextError::Name`] when it is not 2 to 32 of `a-z 0-9 . _ -`, beginning with a letter or digit.
pub fn canonical_name(input: &str) -> Result<String, TextError> {
    let name = input.trim().to_lowercase();
    let length_ok = (NAME_CHARS_MIN..=NAME_CHARS_MAX).contains(&name.len());
    let chars_ok = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    let first_ok = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if length_ok && chars_ok && first_ok { Ok(name) } else { Err(TextError::Name) }
}

/// A title or display name, trimmed.
///
/// # Errors
/// [`TextError::Title`] when it is empty, over 80 characters, or has control characters.
pub fn canonical_title(input: &str) -> Result<String, TextError> {
    let title = input.trim();
    if title.is_empty() || title.chars().count() > TITLE_CHARS_MAX || title.chars().any(char::is_control) {
        return Err(TextError::Title);
    }
    Ok(title.to_owned())
}

fn one_line(input: &str, chars_max: usize) -> Option<String> {
    let line = input.trim();
    let fits = line.chars().count() <= chars_max && !line.chars().any(char::is_control);
    fits.then(|| line.to_owned())
}

/// A group's topic, trimmed; may be empty.
///
/// # Errors
/// [`TextError::Topic`].
pub fn canonical_topic(input: &str) -> Result<String, TextError> {
    one_line(input, TOPIC_CHARS_MAX).ok_or(TextError::Topic)
}

/// A user's status text, trimmed; may be empty.
///
/// # Errors
/// [`TextError::Status`].
pub fn canonical_status(input: &str) -> Result<String, TextError> {
    one_line(input, STATUS_CHARS_MAX).ok_or(TextError::Status)
}

/// Why a message is reported, or what was done about it; trimmed.
///
/// # Errors
/// [`TextError::Reason`].
pub fn canonical_reason(input: &str) -> Result<String, TextError> {
    one_line(input, REASON_CHARS_MAX).filter(|reason| !reason.is_empty()).ok_or(TextError::Reason)
}

/// Checks the code of an invite: 22 characters of 64 kinds hold 128 bits.
///
/// # Errors
/// [`TextError::InviteCode`].
pub fn check_invite_code(code: &str) -> Result<(), TextError> {
    let chars_ok = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if chars_ok && (22..=64).contains(&code.len()) { Ok(()) } else { Err(TextError::InviteCode) }
}

/// Checks that a reaction may be one emoji: a few characters, none of them a letter, a space or a control. Which sequences are
/// emoji changes with each version of Unicode, and what one device shows as one, another shows as two: no table is asked.
///
/// # Errors
/// [`TextError::Emoji`].
pub fn check_emoji(emoji: &str) -> Result<(), TextError> {
    let strange = |c: char| {
        // Keycaps begin with a digit, # or *; joiners, selectors and tags belong to sequences.
        let part = matches!(c, '0'..='9' | '#' | '*' | '\u{20e3}' | '\u{200d}' | '\u{fe0f}' | '\u{e0020}'..='\u{e007f}');
        let symbol = matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}')
            || matches!(c, '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}')
            || matches!(c, '\u{1f000}'..='\u{1faff}');
        !part && !symbol
    };
    let only_digits = emoji.is_ascii();
    if emoji.is_empty() || emoji.len() > EMOJI_BYTES_MAX || only_digits || emoji.chars().any(strange) {
        return Err(TextError::Emoji);
    }
    Ok(())
}

/// Whom a text names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// User names after an `@`, canonical, each once, in order of their first use; at most [`MENTIONS_MAX`].
    pub names: Vec<String>,
    /// The text says `@all`.
    pub all: bool,
}

/// Whom a text names: `@name`, not within a word (an address of mail names nobody) and not within backticks. A dot or dash at
/// the end belongs to the sentence.
pub fn mentions(text: &str) -> Mentions {
    let mut found = Mentions::default();
    let mut code = false;
    let mut before = ' ';
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        // ASCII alone: what else is a letter changes with each version of Unicode, and replicas decide by this.
        let begins =
            c == '@' && !code && !before.is_ascii_alphanumeric() && !matches!(before, '@' | '.' | '_' | '-');
        before = c;
        rest = &rest[c.len_utf8()..];
        if c == '`' {
            code = !code;
        }
        if !begins {
            continue;
        }
        let end = rest
            .bytes()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')))
            .unwrap_or(rest.len());
        let word = rest[..end].trim_end_matches(['.', '-', '_']);
        if word.eq_ignore_ascii_case("all") {
            found.all = true;
        } else if let Ok(name) = canonical_name(word)
            && found.names.len() < MENTIONS_MAX
            && !found.names.contains(&name)
        {
            found.names.push(name);
        }
    }
    found
}

/// Checks a password's length; nothing is asked of its composition (OWASP ASVS 6.2.5).
///
/// # Errors
/// [`TextError::Password`].
pub fn check_password(input: &str) -> Result<(), TextError> {
    if input.chars().count() < PASSWORD_CHARS_MIN || input.len() > PASSWORD_BYTES_MAX {
        return Err(TextError::Password);
    }
    Ok(())
}

/// Checks a message's text. It is kept as typed; only emptiness and length matter.
///
/// # Errors
/// [`TextError::Empty`] or [`TextError::TooLong`].
pub fn check_message(text: &str) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(TextError::TooLong);
    }
    Ok(())
}

/// Whether `name` matches a directory pattern: a prefix, or with `*` standing for any run of characters.
pub fn matches_pattern(name: &str, pattern: &str) -> bool {
    if !pattern.contains('*') {
        return name.starts_with(pattern);
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_lower_case() {
        assert_eq!(canonical_name("  Ana.B ").as_deref(), Ok("ana.b"));
        for bad in ["", "a", ".ana", "an a", "änne", "a\u{0}b", &"x".repeat(33)] {
            assert_eq!(canonical_name(bad), Err(TextError::Name), "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_prefix_suffix_and_middle() {
        assert!(matches_pattern("alice", "al"));
        assert!(matches_pattern("alice", "al*"));
        assert!(matches_pattern("alison", "*son"));
        assert!(matches_pattern("alison", "a*i*n"));
        assert!(!matches_pattern("alison", "*so"));
        assert!(!matches_pattern("aba", "ab*ba"));
        assert!(matches_pattern("anything", "*"));
    }

    #[test]
    fn who_is_named_is_found() {
        let found = mentions("hi @Ana, @bob. and (@ana) not me@example.org nor `@eve` but @all!");
        assert_eq!(found, Mentions { names: vec!["ana".into(), "bob".into()], all: true });
        assert_eq!(mentions("@ @@ana x@bob @-y"), Mentions::default());
        assert_eq!(mentions("grüß dich @ana_b-").names, ["ana_b"]);
    }

    #[test]
    fn an_emoji_is_an_emoji() {
        for good in ["👍", "❤️", "👩‍👩‍👧", "🇩🇪", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "©️", "☎"]
        {
            assert_eq!(check_emoji(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "1", "12", " ", "ä", "👍a", "<", "\u{202e}", "\u{200d}x"] {
            assert_eq!(check_emoji(bad), Err(TextError::Emoji), "{bad:?}");
        }
        assert_eq!(check_emoji(&"👍".repeat(11)), Err(TextError::Emoji));
    }

    #[test]
    fn codes_of_invites_hold_enough_chance() {
        assert_eq!(check_invite_code("abcdefghijklmnopqrstuv"), Ok(()));
        for bad in ["", "short", "abcdefghijklmnopqrstu/", &"x".repeat(65)] {
            assert_eq!(check_invite_code(bad), Err(TextError::InviteCode), "{bad:?}");
        }
    }

    #[test]
    fn empty_and_long_messages_are_refused() {
        assert_eq!(check_message(" \n"), Err(TextError::Empty));
        assert_eq!(check_message(&"x".repeat(TEXT_BYTES_MAX)), Ok(()));
        assert_eq!(check_message(&"x".repeat(TEXT_BYTES_MAX + 1)), Err(TextError::TooLong));
    }
}
