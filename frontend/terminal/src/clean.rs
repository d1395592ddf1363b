//! What others wrote, made harmless for a terminal.
//!
//! A terminal obeys what it is shown: a message could move the cursor, set the clipboard or answer in the reader's name.
//! Everything that somebody else had a hand in passes here before it is drawn or printed, messages of servers included.

use std::iter::Peekable;
use std::str::Chars;

/// Columns between tab stops.
const TAB: &str = "    ";

/// A text of some lines: escape sequences are gone whole, so are control characters; tabs are blanks.
pub fn text(from: &str) -> String {
    cleaned(from, true)
}

/// The same in one line.
pub fn line(from: &str) -> String {
    cleaned(from, false)
}

fn cleaned(from: &str, lines: bool) -> String {
    let mut clean = String::with_capacity(from.len());
    let mut rest = from.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_control(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
            '\n' if lines => clean.push('\n'),
            '\t' => clean.push_str(TAB),
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                // The pair that ends a line elsewhere is one end.
                if !(c == '\r' && rest.peek() == Some(&'\n')) {
                    clean.push(if lines { '\n' } else { ' ' });
                }
            }
            _ if c.is_control() || is_treacherous(c) => {}
            _ => clean.push(c),
        }
    }
    clean
}

/// Marks that turn the order of what is shown around, or that nothing shows at all. The joiner of emoji stays.
fn is_treacherous(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{ad}' | '\u{200b}')
}

/// What follows an ESC, by ECMA-48.
fn skip_escape(rest: &mut Peekable<Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_control(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            skip_string(rest);
        }
        Some(' '..='/') => {
            while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
            rest.next_if(|c| matches!(c, '0'..='~'));
        }
        Some('0'..='~') => {
            rest.next();
        }
        _ => {}
    }
}

/// Parameters, intermediates, and the final byte. A sequence that breaks off has no final byte: what follows is text.
fn skip_control(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| matches!(c, '0'..='?')).is_some() {}
    while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

/// Up to its terminator. One that has none ends with its line: a terminal might wait for ever, a reader must not.
fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    while let Some(c) = rest.next_if(|c| !matches!(c, '\n' | '\r')) {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// A line of JSON that a terminal may be shown: what serde leaves as it is and a terminal might obey is written as `\u…`.
pub fn json(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut units = [0; 2];
    for c in line.chars() {
        // All of these stand within strings: outside of them serde writes ASCII signs alone.
        if c.is_control() || is_treacherous(c) || matches!(c, '\u{2028}' | '\u{2029}') {
            for unit in c.encode_utf16(&mut units) {
                clean.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_as_a_whole() {
        for (from, to) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("a\u{1b}[2J\u{1b}[Hb", "ab"),
            ("\u{1b}]0;owned\u{7}title", "title"),
            ("\u{1b}]52;c;cm0gLXJm\u{1b}\\clip", "clip"),
            ("\u{1b}P1$r0m\u{1b}\\dcs", "dcs"),
            ("\u{1b}(0box\u{1b}c", "box"),
            ("\u{9b}31mred\u{9d}0;x\u{9c}!", "red!"),
            ("\u{1b}\u{1b}[31mtwice", "twice"),
        ] {
            assert_eq!(text(from), to, "{from:?}");
        }
    }

    #[test]
    fn a_sequence_without_an_end_hides_no_later_line() {
        assert_eq!(text("\u{1b}]0;begun\nnext"), "\nnext");
        assert_eq!(text("\u{1b}[31"), "");
        assert_eq!(text("\u{1b}[31é"), "é");
        assert_eq!(text("\u{1b}"), "");
    }

    #[test]
    fn controls_and_turned_text_go_and_emoji_stay() {
        assert_eq!(text("a\u{8}\u{7}\u{0}b\u{7f}c\u{85}"), "abc");
        assert_eq!(text("evil\u{202e}gnp.exe"), "evilgnp.exe");
        assert_eq!(text("👩‍🚀 naïve 日本"), "👩‍🚀 naïve 日本");
        assert_eq!(text("a\r\nb\rc\td"), "a\nb\nc    d");
        assert_eq!(line("a\r\nb\u{2028}c\n"), "a b c ");
    }

    #[test]
    fn nothing_at_random_leaves_a_control_behind() {
        let mut seed = 7_u64;
        let alphabet: Vec<char> = "\u{1b}[]P\\0;9mA \n\u{7}\u{9b}\u{9d}\u{9c}\u{202e}é".chars().collect();
        for _ in 0..2_000 {
            let mut from = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(seed >> 33).expect("31 bits") % alphabet.len();
                from.push(alphabet[at]);
            }
            let clean = text(&from);
            assert!(!clean.chars().any(|c| c.is_control() && c != '\n'), "{from:?} became {clean:?}");
            assert_eq!(text(&clean), clean, "clean is clean: {from:?}");
        }
    }

    #[test]
    fn json_keeps_what_was_written_and_obeys_nothing() {
        let written = "a\u{1b}[31m\u{9b}2J\u{202e}\u{e0041}é\n";
        let line = json(&serde_json::to_string(written).expect("a string"));
        assert!(line.is_ascii() || !line.chars().any(|c| c.is_control() || is_treacherous(c)), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), written);
    }
}
