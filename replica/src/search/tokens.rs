//! From text to what is compared: words without case and marks, and pairs of letters where words are not written apart. Pure.
//!
//! ```text
//!   "Crème brûlée, 東京都!"  →  creme · brulee · 東京 · 京都 · 都
//! ```
//!
//! A run of such letters (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) becomes its overlapping pairs, so that any two
//! neighbours are found, and its last letter alone, so that every letter begins a token and a single one can be looked for as
//! a beginning. Messages and questions are cut by the same rules, and a hit is judged by them once more.

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// Longer words are compared by their first characters only: no language has them, encoded data does.
const WORD_CHARS_MAX: usize = 64;

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word.
    Word,
    /// Two neighbours of a run.
    Pair,
    /// The last letter of a run; of a run of one, the only.
    Last,
}

/// A piece of a text. Its place among the others of the text is its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Folded.
    pub(super) text: String,
    /// Bytes of the text that it stands for.
    pub(super) begin: usize,
    /// One past the last of them.
    pub(super) end: usize,
    /// Where the first letter of a pair ends; otherwise as `end`.
    pub(super) first_end: usize,
    pub(super) kind: Kind,
}

/// A letter of a run: its bytes, and what it is compared by.
struct Letter {
    begin: usize,
    end: usize,
    folded: String,
}

/// Collects tokens in order.
struct Cutter<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    word: Option<(usize, usize)>,
    run: Vec<Letter>,
}

/// Cuts a text.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut cutter = Cutter { text, tokens: Vec::new(), word: None, run: Vec::new() };
    for (at, segment) in text.unicode_word_indices() {
        if segment.is_ascii() {
            cutter.ascii(at, segment);
        } else {
            for (within, letter) in segment.grapheme_indices(true) {
                cutter.letter(at + within, letter);
            }
        }
        cutter.end_word();
    }
    cutter.end_run();
    cutter.tokens
}

impl Cutter<'_> {
    /// As [`Self::letter`] for each of them: a byte each, and none is written without spaces.
    fn ascii(&mut self, begin: usize, segment: &str) {
        self.end_run();
        for (at, letter) in (begin..).zip(segment.chars()) {
            if joins_words(letter) {
                self.end_word();
            } else {
                self.word = Some((self.word.map_or(at, |(from, _)| from), at + 1));
            }
        }
    }

    fn letter(&mut self, begin: usize, letter: &str) {
        let end = begin + letter.len();
        let first = letter.chars().next().unwrap_or_default();
        if self.run.last().is_some_and(|last| last.end != begin) {
            self.end_run();
        }
        if joins_words(first) {
            self.end_word();
            self.end_run();
        } else if is_unspaced(first) {
            self.end_word();
            let folded = fold(letter);
            if !folded.is_empty() {
                self.run.push(Letter { begin, end, folded });
            }
        } else {
            self.end_run();
            self.word = Some((self.word.map_or(begin, |(from, _)| from), end));
        }
    }

    fn end_word(&mut self) {
        let Some((begin, end)) = self.word.take() else { return };
        // A run that stands before this word was ended when the word began.
        let mut text = fold(&self.text[begin..end]);
        if let Some((cut, _)) = text.char_indices().nth(WORD_CHARS_MAX) {
            text.truncate(cut);
        }
        if !text.is_empty() {
            self.tokens.push(Token { text, begin, end, first_end: end, kind: Kind::Word });
        }
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        for pair in run.windows(2) {
            let [one, two] = pair else { continue };
            let text = format!("{}{}", one.folded, two.folded);
            let (begin, end, first_end) = (one.begin, two.end, one.end);
            self.tokens.push(Token { text, begin, end, first_end, kind: Kind::Pair });
        }
        if let Some(Letter { begin, end, folded }) = run.into_iter().last() {
            self.tokens.push(Token { text: folded, begin, end, first_end: end, kind: Kind::Last });
        }
    }
}

/// What is compared instead of a word: no case, no accents, one spelling of what Unicode can spell in several ways. Signs that
/// make another letter in their script (Japanese voicing, Indic vowels) stay.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let plain = text.nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    for c in plain {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'ð' | 'đ' => folded.push('d'),
            'ł' => folded.push('l'),
            'ħ' => folded.push('h'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            c => folded.push(c),
        }
    }
    // Hangul and voiced kana were taken apart above.
    folded.nfc().collect()
}

/// Marks that are often left out when typing: Latin, Greek and Cyrillic accents, Hebrew and Arabic vowels, soft hyphens, joiners.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}' | '\u{5c4}'..='\u{5c5}' | '\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// What Unicode leaves inside of a word and people look beyond: `example.org`, `l'eau`, `snake_case`, `3,14`.
fn joins_words(c: char) -> bool {
    matches!(
        c,
        '.' | ','
            | ':'
            | ';'
            | '\''
            | '_'
            | '\u{b7}'
            | '\u{387}'
            | '\u{55f}'
            | '\u{589}'
            | '\u{5f3}'
            | '\u{5f4}'
            | '\u{60c}'
            | '\u{60d}'
            | '\u{66b}'
            | '\u{66c}'
            | '\u{2018}'
            | '\u{2019}'
            | '\u{2024}'
            | '\u{2027}'
            | '\u{202f}'
            | '\u{203f}'
            | '\u{2040}'
            | '\u{2044}'
            | '\u{2054}'
            | '\u{fe10}'
            | '\u{fe13}'
            | '\u{fe14}'
            | '\u{fe33}'
            | '\u{fe34}'
            | '\u{fe4d}'
            ..='\u{fe4f}'
                | '\u{fe50}'
                | '\u{fe52}'
                | '\u{fe54}'
                | '\u{fe55}'
                | '\u{ff07}'
                | '\u{ff0c}'
                | '\u{ff0e}'
                | '\u{ff1a}'
                | '\u{ff1b}'
                | '\u{ff3f}'
    )
}

/// Letters of scripts that write no spaces between words, and Hangul, whose words carry their particles.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{e4f}' | '\u{e80}'..='\u{ecf}' | '\u{edc}'..='\u{edf}' | '\u{1000}'..='\u{103f}'
        | '\u{1050}'..='\u{108f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17d3}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{312f}' | '\u{3130}'..='\u{318f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{aa60}'..='\u{aa7f}'
        | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_lose_case_and_accents() {
        assert_eq!(cut("Crème BRÛLÉE, Łódź straße"), ["creme", "brulee", "lodz", "strasse"]);
        assert_eq!(
            cut("ΟΔΟΣ οδός Ёлка İstanbul ﬁne ＦＵＬＬ"),
            ["οδοσ", "οδοσ", "елка", "istanbul", "fine", "full"]
        );
        assert_eq!(cut("כָּל مُحَمَّد"), ["כל", "محمد"]);
        assert_eq!(cut("e\u{301}te\u{301} \u{e9}t\u{e9}"), ["ete", "ete"], "both spellings of é");
    }

    #[test]
    fn addresses_and_contractions_are_cut_where_people_look() {
        assert_eq!(
            cut("https://www.example.org/a_b?c=3.14"),
            ["https", "www", "example", "org", "a", "b", "c", "3", "14"]
        );
        assert_eq!(cut("l'eau can’t 12:30"), ["l", "eau", "can", "t", "12", "30"]);
        assert_eq!(cut("!!! … 🙂 -- "), [""; 0]);
    }

    #[test]
    fn unspaced_scripts_become_pairs() {
        assert_eq!(cut("東京都"), ["東京", "京都", "都"]);
        assert_eq!(cut("我"), ["我"]);
        assert_eq!(cut("東京tower東"), ["東京", "京", "tower", "東"]);
        assert_eq!(cut("東京。大阪"), ["東京", "京", "大阪", "阪"], "punctuation ends a run");
        assert_eq!(cut("ガギ ｶﾞ"), ["ガギ", "ギ", "ガ"], "voicing stays, half width is as full width");
        assert_eq!(cut("서울에서"), ["서울", "울에", "에서", "서"]);
        // Thai vowels and tones belong to the letter before them.
        assert_eq!(cut("สวัสดี"), ["สวั", "วัส", "สดี", "ดี"]);
    }

    #[test]
    fn plain_text_is_cut_by_bytes_as_by_letters() {
        fn by_letters(text: &str) -> Vec<Token> {
            let mut cutter = Cutter { text, tokens: Vec::new(), word: None, run: Vec::new() };
            for (at, segment) in text.unicode_word_indices() {
                for (within, letter) in segment.grapheme_indices(true) {
                    cutter.letter(at + within, letter);
                }
                cutter.end_word();
            }
            cutter.end_run();
            cutter.tokens
        }
        let mut number = 1_u64;
        for _ in 0..2_000 {
            let text: String = (0..40)
                .map(|_| {
                    number = number
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    // Half of them letters and what may stand within a word.
                    match (number >> 33) % 256 {
                        plain @ 0..128 => char::from(plain as u8),
                        other => char::from(b"ab9._':,;Z"[other as usize % 10]),
                    }
                })
                .collect();
            assert_eq!(tokens(&text), by_letters(&text), "{text:?}");
        }
        assert_eq!(cut("東京a_b 京都.c"), ["東京", "京", "a", "b", "京都", "都", "c"]);
    }

    #[test]
    fn indic_words_stay_whole() {
        assert_eq!(cut("नमस्ते दुनिया"), ["नमस्ते", "दुनिया"]);
    }

    #[test]
    fn tokens_say_where_they_stand() {
        let text = "Ünï 東京都";
        let spans: Vec<_> = tokens(text).iter().map(|token| &text[token.begin..token.end]).collect();
        assert_eq!(spans, ["Ünï", "東京", "京都", "都"]);
        assert_eq!(&text[tokens(text)[1].begin..tokens(text)[1].first_end], "東");
    }

    #[test]
    fn long_words_are_compared_by_their_beginning() {
        let (long, longer) = ("a".repeat(WORD_CHARS_MAX), "a".repeat(WORD_CHARS_MAX + 5));
        assert_eq!(cut(&longer), [long]);
        assert_eq!(tokens(&longer)[0].end, longer.len());
    }

    #[test]
    fn folding_twice_changes_nothing_and_every_place_is_inside_of_the_text() {
        const PIECES: [&str; 24] = [
            "é",
            "e\u{301}",
            "ß",
            "İ",
            "ǅ",
            "ﬃ",
            "Å",
            "ガ",
            "ｶﾞ",
            "한",
            "\u{1112}\u{1161}\u{11ab}",
            "ส",
            "ำ",
            "か\u{3099}",
            "東",
            "々",
            "_",
            "'",
            " ",
            "A",
            "9",
            "\u{200d}",
            "🙂",
            "\u{94d}",
        ];
        let mut state = 1_u64;
        for _ in 0..5_000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(PIECES[(state >> 33) as usize % PIECES.len()]);
            }
            let mut last = 0;
            for token in tokens(&text) {
                assert_eq!(fold(&token.text), token.text, "{text:?}");
                assert!(text.is_char_boundary(token.begin) && text.is_char_boundary(token.end), "{text:?}");
                assert!(
                    token.begin < token.first_end && token.first_end <= token.end && last <= token.begin,
                    "{text:?}"
                );
                last = token.begin;
            }
        }
    }
}
