//! Rules for names and texts, shared by the page (to say so early), the gateway and the replica (to decide).

use thiserror::Error;

use crate::limits::{
    NAME_CHARS_MAX, NAME_CHARS_MIN, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, TEXT_BYTES_MAX, TITLE_CHARS_MAX,
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
    fn empty_and_long_messages_are_refused() {
        assert_eq!(check_message(" \n"), Err(TextError::Empty));
        assert_eq!(check_message(&"x".repeat(TEXT_BYTES_MAX)), Ok(()));
        assert_eq!(check_message(&"x".repeat(TEXT_BYTES_MAX + 1)), Err(TextError::TooLong));
    }
}
