//! Completing a name after an `@`: what is being typed, who may be meant, and the text with the name in it.
//!
//! Places are byte offsets. Browsers count in UTF-16: [`byte_of_utf16`] and [`utf16_of_byte`] lead from one to the other.

use quorate_proto::frame::User;

/// Names offered at most: more are not read.
const OFFERED_MAX: usize = 8;

/// A name that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Where its `@` stands.
    pub at: usize,
    /// What is typed of it, lower case.
    pub typed: String,
}

/// The name that is being typed before the caret.
pub fn naming(text: &str, caret: usize) -> Option<Naming> {
    let before = text.get(..caret)?;
    let at = before.rfind('@')?;
    let typed = &before[at + 1..];
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = typed.len() <= quorate_proto::limits::NAME_CHARS_MAX && typed.chars().all(in_name);
    let begins = before[..at]
        .chars()
        .next_back()
        .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '@' | '.' | '_' | '-'));
    let code = before[..at].matches('`').count() % 2 == 1;
    (fits && begins && !code).then(|| Naming { at, typed: typed.to_lowercase() })
}

/// Who may be meant: names that begin so first, then other words of display names. `all` is offered with `group`.
pub fn candidates(members: &[User], typed: &str, me: u64, group: bool) -> Vec<User> {
    let mut found: Vec<(u8, &User)> = members
        .iter()
        .filter(|member| member.id != me && !member.deleted)
        .filter_map(|member| {
            let called = member.display_name.to_lowercase();
            if member.name.starts_with(typed) {
                Some((0, member))
            } else if called.split_whitespace().any(|word| word.starts_with(typed)) {
                Some((1, member))
            } else {
                None
            }
        })
        .collect();
    found.sort_by(|(a, left), (b, right)| a.cmp(b).then_with(|| left.name.cmp(&right.name)));
    let mut offered: Vec<User> = found.into_iter().map(|(_, user)| user.clone()).take(OFFERED_MAX).collect();
    if group && "all".starts_with(typed) {
        offered.truncate(OFFERED_MAX - 1);
        let display_name = "Everybody here".to_owned();
        offered.push(User { name: "all".to_owned(), display_name, ..User::default() });
    }
    offered
}

/// The text with the name in the place of what was typed, and where the caret is then.
pub fn complete(text: &str, naming: &Naming, caret: usize, name: &str) -> (String, usize) {
    let (Some(head), Some(tail)) = (text.get(..naming.at), text.get(caret..)) else {
        return (text.to_owned(), caret.min(text.len()));
    };
    let space = if tail.starts_with(char::is_whitespace) { "" } else { " " };
    let head = format!("{head}@{name}{space}");
    let caret = head.len() + usize::from(space.is_empty());
    (format!("{head}{tail}"), caret)
}

/// The byte offset of a place that is counted in UTF-16.
pub fn byte_of_utf16(text: &str, units: usize) -> usize {
    let mut counted = 0;
    for (at, c) in text.char_indices() {
        if counted >= units {
            return at;
        }
        counted += c.len_utf16();
    }
    text.len()
}

/// The same backwards.
pub fn utf16_of_byte(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).map(|(_, c)| c.len_utf16()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64, name: &str, display_name: &str) -> User {
        User { id, name: name.into(), display_name: display_name.into(), ..User::default() }
    }

    #[test]
    fn what_is_being_typed_is_found() {
        let typed = |text: &str| naming(text, text.len()).map(|naming| (naming.at, naming.typed));
        assert_eq!(typed("hi @An"), Some((3, "an".into())));
        assert_eq!(typed("@"), Some((0, String::new())));
        assert_eq!(typed("ü (@b.c"), Some((4, "b.c".into())));
        for nothing in ["", "hi", "me@host", "hi @an a", "`@an", "@ä"] {
            assert_eq!(typed(nothing), None, "{nothing}");
        }
        assert_eq!(naming("hi @an", 5).map(|naming| naming.typed).as_deref(), Some("a"));
        assert_eq!(naming("ü", 1), None, "not within a character");
    }

    #[test]
    fn names_come_before_words_and_oneself_not_at_all() {
        let members =
            [user(1, "bob", "Bob"), user(2, "zed", "Bo Zed"), user(3, "bo", "X"), user(4, "me", "Boss")];
        let names: Vec<String> =
            candidates(&members, "bo", 4, true).into_iter().map(|user| user.name).collect();
        assert_eq!(names, ["bo", "bob", "zed"]);
        let all = candidates(&members, "", 4, true);
        assert_eq!(all.last().map(|user| user.name.as_str()), Some("all"));
        assert!(candidates(&members, "al", 4, false).is_empty());
    }

    #[test]
    fn the_name_is_put_in_its_place() {
        let text = "hi @an, you";
        let naming = naming(text, 6).expect("a name");
        assert_eq!(complete(text, &naming, 6, "ana"), ("hi @ana , you".into(), 8));
        let text = "@a b";
        let naming = super::naming(text, 2).expect("a name");
        assert_eq!(complete(text, &naming, 2, "ana"), ("@ana b".into(), 5));
    }

    #[test]
    fn places_are_counted_in_utf16_and_back() {
        let text = "a😀ü";
        assert_eq!([0, 1, 3, 4].map(|units| byte_of_utf16(text, units)), [0, 1, 5, 7]);
        assert_eq!([0, 1, 5, 7].map(|byte| utf16_of_byte(text, byte)), [0, 1, 3, 4]);
    }
}
