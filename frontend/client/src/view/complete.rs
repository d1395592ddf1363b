//! Completing a name after an `@`, or a group after a `#`: what is being typed, who or what may be meant, and the text with it.
//!
//! Places are byte offsets. Browsers count in UTF-16: [`byte_of_utf16`] and [`utf16_of_byte`] lead from one to the other.

use quorate_proto::frame::User;

use super::list::ListRow;
use crate::words::t;

/// Names offered at most: more are not read.
const OFFERED_MAX: usize = 8;

/// What is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// `@`: somebody.
    Person,
    /// `#`: a group.
    Room,
}

/// A name that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// What is named.
    pub sign: Sign,
    /// Where its `@` or `#` stands.
    pub at: usize,
    /// What is typed of it, lower case.
    pub typed: String,
}

/// The name that is being typed before the caret.
pub fn naming(text: &str, caret: usize) -> Option<Naming> {
    let before = text.get(..caret)?;
    let at = before.rfind(['@', '#'])?;
    let sign = if before[at..].starts_with('@') { Sign::Person } else { Sign::Room };
    let typed = &before[at + 1..];
    let fits = |c: char| match sign {
        Sign::Person => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
        // Titles are in any language.
        Sign::Room => c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '\''),
    };
    let chars_max = match sign {
        Sign::Person => quorate_proto::limits::NAME_CHARS_MAX,
        Sign::Room => quorate_proto::limits::TITLE_CHARS_MAX,
    };
    let fits = typed.chars().count() <= chars_max && typed.chars().all(fits);
    let begins = before[..at].chars().next_back().is_none_or(|c| {
        // `](#` is in the middle of what a completed group looks like, `&#` and `/#` of what is no name.
        let within = sign == Sign::Room && matches!(c, '(' | '&' | '/');
        !c.is_alphanumeric() && !within && !matches!(c, '@' | '#' | '.' | '_' | '-')
    });
    let code = before[..at].matches('`').count() % 2 == 1;
    (fits && begins && !code).then(|| Naming { sign, at, typed: typed.to_lowercase() })
}

/// Who may be meant: names that begin so first, then other words of display names. `all` is offered with `group`.
pub fn candidates(members: &[User], typed: &str, me: u64, group: bool) -> Vec<User> {
    // Few: each goes to its place among those before it.
    let mut found: Vec<(u8, &User)> = Vec::new();
    for member in members.iter().filter(|member| member.id != me && !member.deleted) {
        let called = member.display_name.to_lowercase();
        let rank = if member.name.starts_with(typed) {
            0
        } else if called.split_whitespace().any(|word| word.starts_with(typed)) {
            1
        } else {
            continue;
        };
        let at = found.partition_point(|(other, user)| (*other, &user.name) <= (rank, &member.name));
        found.insert(at, (rank, member));
    }
    let mut offered: Vec<User> = found.into_iter().map(|(_, user)| user.clone()).take(OFFERED_MAX).collect();
    if group && "all".starts_with(typed) {
        offered.truncate(OFFERED_MAX - 1);
        let display_name = t("Everybody here").to_owned();
        offered.push(User { name: "all".to_owned(), display_name, ..User::default() });
    }
    offered
}

/// Groups that may be meant: those whose title begins so first, then those with another word that does; each as the list has
/// them.
pub fn rooms<'a>(list: &'a [ListRow], typed: &str) -> Vec<&'a ListRow> {
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for row in list.iter().filter(|row| row.group) {
        let name = row.name.to_lowercase();
        if name.starts_with(typed) {
            first.push(row);
        } else if name.split_whitespace().any(|word| word.starts_with(typed)) {
            then.push(row);
        }
    }
    first.append(&mut then);
    first.truncate(OFFERED_MAX);
    first
}

/// The text with `name`, its sign included, in the place of what was typed, and where the caret is then.
pub fn complete(text: &str, naming: &Naming, caret: usize, name: &str) -> (String, usize) {
    let (Some(head), Some(tail)) = (text.get(..naming.at), text.get(caret..)) else {
        return (text.to_owned(), caret.min(text.len()));
    };
    let space = if tail.starts_with(char::is_whitespace) { "" } else { " " };
    let head = format!("{head}{name}{space}");
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
    fn a_group_is_named_in_any_language_and_not_in_the_middle_of_something() {
        let typed = |text: &str| {
            naming(text, text.len())
                .filter(|naming| naming.sign == Sign::Room)
                .map(|naming| (naming.at, naming.typed))
        };
        assert_eq!(typed("see #Öff"), Some((4, "öff".into())));
        assert_eq!(typed("@ana #"), Some((5, String::new())));
        for nothing in ["# head", "a#b", "##", "[#Crew](#", "https://x.y/#a", "&#39", "`#a", "#a @b"] {
            assert_eq!(typed(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn titles_that_begin_so_come_first_and_direct_conversations_not_at_all() {
        let row = |id, name: &str, group| ListRow {
            id,
            name: name.to_owned(),
            portrait: None,
            group,
            bot: false,
            member_count: 2,
            preview: String::new(),
            time: 0,
            unread: 0,
            pending: false,
            failed: false,
            mentions: 0,
            marked: false,
            muted: false,
            favourite: false,
            folded: false,
            draft: false,
            presence: None,
        };
        let list =
            [row(1, "Night crew", true), row(2, "Crew", true), row(3, "Crewson", false), row(4, "X", true)];
        let found = |typed: &str| rooms(&list, typed).into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(found("crew"), [2, 1]);
        assert_eq!(found("ght"), [0_u64; 0], "in the middle of a word");
        assert_eq!(found(""), [1, 2, 4]);
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
        assert_eq!(complete(text, &naming, 6, "@ana"), ("hi @ana , you".into(), 8));
        let text = "@a b";
        let naming = super::naming(text, 2).expect("a name");
        assert_eq!(complete(text, &naming, 2, "@ana"), ("@ana b".into(), 5));
    }

    #[test]
    fn places_are_counted_in_utf16_and_back() {
        let text = "a😀ü";
        assert_eq!([0, 1, 3, 4].map(|units| byte_of_utf16(text, units)), [0, 1, 5, 7]);
        assert_eq!([0, 1, 5, 7].map(|byte| utf16_of_byte(text, byte)), [0, 1, 3, 4]);
    }
}
