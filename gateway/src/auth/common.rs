//! Passwords that everybody tries first (OWASP ASVS 6.2.4): the 3,000 most used of eight characters or more.
//!
//! The list is what leaked collections have most often, as ranked by zxcvbn's frequency lists (MIT licence), in lower case and
//! sorted.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::text;

/// One a line.
const LIST: &str = include_str!("common_passwords.txt");

/// Whether a password may be chosen: long enough, and not one of the first that are tried.
///
/// # Errors
/// [`ErrorCode::Invalid`] with what to do instead.
pub(super) fn check_new_password(password: &str) -> Result<(), WireError> {
    text::check_password(password).map_err(|error| WireError::new(ErrorCode::Invalid, error.to_string()))?;
    if is_common(password) {
        let message =
            "this is one of the most used passwords: choose another, three words in a row for example";
        return Err(WireError::new(ErrorCode::Invalid, message));
    }
    Ok(())
}

/// In any case of its letters.
fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    // A choice of a password is rare and hashing it costs a thousand times as much.
    LIST.lines().any(|common| common == lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_tries_first_cannot_be_chosen() {
        for common in ["password", "PassWord", "12345678", "trustno1", "qwertyuiop"] {
            let error = check_new_password(common).unwrap_err();
            assert!(error.message.contains("most used"), "{common}: {}", error.message);
        }
        assert!(check_new_password("short").unwrap_err().message.contains("8"), "too short says so");
        for fine in ["correct horse battery", "passwordpasswordpassword", "pässwörter"] {
            assert!(check_new_password(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn the_list_is_as_it_says() {
        assert_eq!(LIST.lines().count(), 3_000);
        assert!(LIST.lines().all(|line| text::check_password(line).is_ok() && line == line.to_lowercase()));
        assert!(LIST.lines().is_sorted());
    }
}
