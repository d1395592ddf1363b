//! Lines of a given width, by the columns that a terminal gives to each character.

use std::ops::Range;

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Pieces of one paragraph, each in its style.
pub(super) type Pieces = Vec<(String, Style)>;

/// Where the lines of a text lie in it when each may have so many columns. Breaks at blanks where there are any, and within
/// words that are longer than a line; the blank at a break belongs to the line before it. `\n` is in no line.
pub(super) fn breaks(text: &str, columns: usize) -> Vec<Range<usize>> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    let (mut begin, mut width) = (0, 0);
    // Behind the last blank of this line, and the width up to there.
    let mut blank: Option<(usize, usize)> = None;
    for (at, grapheme) in text.grapheme_indices(true) {
        if grapheme == "\n" {
            lines.push(begin..at);
            (begin, width, blank) = (at + 1, 0, None);
            continue;
        }
        let wide = grapheme.width();
        let is_blank = grapheme == " ";
        if width + wide > columns && !is_blank {
            let (to, before) = blank.filter(|(to, _)| *to > begin).unwrap_or((at, width));
            lines.push(begin..to);
            (begin, width, blank) = (to, width - before, None);
        }
        width += wide;
        if is_blank {
            blank = Some((at + grapheme.len(), width));
        }
    }
    lines.push(begin..text.len());
    lines
}

/// The same for pieces in styles.
pub(super) fn lines(pieces: &[(String, Style)], columns: usize) -> Vec<Line<'static>> {
    let text: String = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
    let cut = |range: Range<usize>| {
        let mut spans = Vec::new();
        let mut begin = 0;
        for (piece, style) in pieces {
            let end = begin + piece.len();
            let (from, to) = (range.start.max(begin), range.end.min(end));
            if from < to {
                spans.push(Span::styled(piece[from - begin..to - begin].to_owned(), *style));
            }
            begin = end;
        }
        Line::from(spans)
    };
    breaks(&text, columns).into_iter().map(cut).collect()
}

/// As much of a text as fits, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut fits = String::new();
    let mut width = 0;
    for grapheme in text.graphemes(true) {
        width += grapheme.width();
        if width + 1 > columns {
            break;
        }
        fits.push_str(grapheme);
    }
    if columns > 0 {
        fits.push('…');
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str, columns: usize) -> Vec<&str> {
        breaks(text, columns).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn lines_break_at_blanks_and_long_words_anywhere() {
        assert_eq!(broken("one two three", 8), ["one two ", "three"]);
        assert_eq!(broken("one two", 7), ["one two"]);
        assert_eq!(broken("abcdefgh ij", 5), ["abcde", "fgh ", "ij"]);
        assert_eq!(broken("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(broken("", 5), [""]);
        assert_eq!(broken("ab      cd", 4), ["ab      ", "cd"], "blanks at an end take no room");
    }

    #[test]
    fn wide_characters_count_twice_and_stay_whole() {
        assert_eq!(broken("日本語", 4), ["日本", "語"]);
        assert_eq!(broken("👩‍🚀👩‍🚀", 3), ["👩‍🚀", "👩‍🚀"]);
        assert_eq!(broken("日本", 1), ["日", "本"], "narrower than a character");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(
            (cut("abc", 3).as_str(), cut("abcd", 3).as_str(), cut("abc", 0).as_str()),
            ("abc", "ab…", "")
        );
    }

    #[test]
    fn styles_go_over_breaks() {
        let bold = Style::new().add_modifier(ratatui::style::Modifier::BOLD);
        let pieces = [("one ".to_owned(), Style::new()), ("two three".to_owned(), bold)];
        let lines = lines(&pieces, 8);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].spans.len(), lines[0].spans[1].content.as_ref()), (2, "two "));
        assert_eq!((lines[1].spans[0].content.as_ref(), lines[1].spans[0].style), ("three", bold));
    }
}
