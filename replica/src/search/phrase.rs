//! What a question looks for, token by token, and where it stands in a text. Pure.
//!
//! The index proposes messages; whether a message answers the question is decided here, on the text as it is now. So an
//! index that is a moment late, or that compares a little less, never shows a text that does not fit.

use quorate_proto::query::Words;
use quorate_proto::rpc::Highlight;

use super::tokens::{Kind, Token, tokens};

/// Places marked in one text: a word that a text repeats more often is seen anyway.
const HIGHLIGHTS_MAX: usize = 32;

/// What one token of a text must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This.
    Exactly(String),
    /// Something that begins so.
    Beginning(String),
}

/// A word or a phrase: what is wanted, and how many tokens after the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrase {
    pub(super) wanted: Vec<(usize, Wanted)>,
}

impl Wanted {
    fn is_met(&self, token: &Token) -> bool {
        match self {
            Wanted::Exactly(text) => token.text == *text,
            Wanted::Beginning(text) => token.text.starts_with(text.as_str()),
        }
    }
}

impl Phrase {
    /// `None` when nothing in it can be looked for.
    pub(super) fn new(words: &Words) -> Option<Self> {
        let tokens = tokens(&words.text);
        let last = tokens.len().checked_sub(1)?;
        let mut wanted = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let ends_a_pair = at > 0 && tokens[at - 1].kind == Kind::Pair && token.begin < tokens[at - 1].end;
            if token.kind == Kind::Last && ends_a_pair {
                // In the text the run may go on here.
                continue;
            }
            let begins = at == last && (token.kind == Kind::Last || words.is_prefix);
            let text = token.text.clone();
            wanted.push((at, if begins { Wanted::Beginning(text) } else { Wanted::Exactly(text) }));
        }
        Some(Self { wanted })
    }

    /// Every place in a text, in bytes.
    fn places(&self, text: &[Token]) -> Vec<(usize, usize)> {
        let Some((reach, _)) = self.wanted.last() else { return Vec::new() };
        let mut places = Vec::new();
        for first in 0..text.len().saturating_sub(*reach) {
            if self.wanted.iter().all(|(after, wanted)| wanted.is_met(&text[first + after])) {
                let last = &text[first + reach];
                let is_begun = matches!(self.wanted.last(), Some((_, Wanted::Beginning(_))));
                let end = if is_begun && last.kind == Kind::Pair { last.first_end } else { last.end };
                places.push((text[first].begin, end));
            }
        }
        places
    }
}

/// Where the phrases stand in a text; `None` when one of them does not.
pub(super) fn find(phrases: &[Phrase], text: &str) -> Option<Vec<Highlight>> {
    let tokens = tokens(text);
    let mut places = Vec::new();
    for phrase in phrases {
        let found = phrase.places(&tokens);
        if found.is_empty() {
            return None;
        }
        places.extend(found);
    }
    places.sort_unstable();
    let mut apart: Vec<(usize, usize)> = Vec::new();
    for (begin, end) in places {
        match apart.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => apart.push((begin, end)),
        }
    }
    apart.truncate(HIGHLIGHTS_MAX);
    Some(in_chars(text, &apart))
}

/// Bytes to Unicode scalar values, which is what both a page and a script can count.
fn in_chars(text: &str, places: &[(usize, usize)]) -> Vec<Highlight> {
    let (mut at_byte, mut at_char) = (0, 0_u32);
    let mut count_to = |byte: usize| {
        let more = text.get(at_byte..byte).map_or(0, |piece| piece.chars().count());
        (at_byte, at_char) = (byte, at_char.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)));
        at_char
    };
    places.iter().map(|(begin, end)| Highlight { begin: count_to(*begin), end: count_to(*end) }).collect()
}

#[cfg(test)]
mod tests {
    use quorate_proto::query::parse;

    use super::*;

    fn marked(question: &str, text: &str) -> Option<Vec<String>> {
        let query = parse(question, 0).expect("a question");
        let phrases: Vec<Phrase> = query.words.iter().filter_map(Phrase::new).collect();
        assert_eq!(phrases.len(), query.words.len(), "{question}");
        let places = find(&phrases, text)?;
        let piece = |place: Highlight| {
            text.chars().skip(place.begin as usize).take((place.end - place.begin) as usize).collect()
        };
        Some(places.into_iter().map(piece).collect())
    }

    #[track_caller]
    fn finds(question: &str, text: &str, places: &[&str]) {
        assert_eq!(
            marked(question, text).as_deref(),
            Some(&places.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..])
        );
    }

    #[test]
    fn all_words_in_any_order() {
        finds("restart rolling", "A Rolling 🙂 restärt.", &["Rolling", "restärt"]);
        assert_eq!(marked("rolling stone", "a rolling restart"), None);
        assert_eq!(marked("roll", "a rolling restart"), None, "words are whole");
        finds("roll*", "a rolling restart", &["rolling"]);
    }

    #[test]
    fn a_phrase_stands_side_by_side() {
        finds("\"rolling restart\"", "the rolling, RESTART!", &["rolling, RESTART"]);
        assert_eq!(marked("\"rolling restart\"", "restart rolling"), None);
        assert_eq!(marked("\"rolling restart\"", "rolling hard restart"), None);
        finds("example.org", "see https://www.example.org/x", &["example.org"]);
        assert_eq!(marked("example.org", "org example"), None, "a word that is cut is a phrase");
    }

    #[test]
    fn letters_of_unspaced_scripts() {
        finds("東京", "私は東京都に住む", &["東京"]);
        finds("京都", "私は東京都に住む", &["京都"]);
        finds("東京都", "東京都", &["東京都"]);
        assert_eq!(marked("東都", "東京都"), None);
        finds("東", "私は東京都", &["東"]);
        finds("都", "私は東京都", &["都"]);
        finds("\"in 東\"", "in 東京", &["in 東"]);
        finds("\"都 in\"", "東京都 in", &["都 in"]);
        finds("วัส", "สวัสดี", &["วัส"]);
        finds("서울", "서울에서 봐요", &["서울"]);
    }

    #[test]
    fn marks_that_touch_are_one_and_there_are_not_too_many() {
        finds("東京 京都", "東京都", &["東京都"]);
        let many = "a b ".repeat(100);
        assert_eq!(marked("a", &many).map(|places| places.len()), Some(HIGHLIGHTS_MAX));
    }
}
