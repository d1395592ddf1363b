//! What of a found message is shown: the surroundings of the first thing to mark.

/// Scalar values shown at most: about three lines of a side panel.
const CHARS_MAX: usize = 240;
/// Of those, before the first marked one.
const CHARS_BEFORE: usize = 40;

/// The pieces of a text around its marks, each with whether it is marked. Marks count Unicode scalar values, half open, in
/// order and apart; one that is not is passed over. White space is written as single blanks, as in one line.
pub fn excerpt(text: &str, marks: &[(usize, usize)]) -> Vec<(String, bool)> {
    let length = text.chars().count();
    let first = marks.iter().map(|(begin, _)| *begin).filter(|begin| *begin < length).min().unwrap_or(0);
    let from = if first < CHARS_MAX - CHARS_BEFORE { 0 } else { first - CHARS_BEFORE };
    let mut marks = marks.iter().peekable();
    let mut pieces: Vec<(String, bool)> = Vec::new();
    let mut put = |letter: char, marked: bool| match pieces.last_mut() {
        Some((piece, was)) if *was == marked => piece.push(letter),
        _ => pieces.push((letter.to_string(), marked)),
    };
    if from > 0 {
        put('…', false);
    }
    let mut blank = false;
    for (at, letter) in text.chars().enumerate().skip(from) {
        if at >= from + CHARS_MAX {
            put('…', false);
            break;
        }
        while marks.next_if(|(_, end)| *end <= at).is_some() {}
        let marked = marks.peek().is_some_and(|(begin, end)| (*begin..*end).contains(&at));
        let white = letter.is_whitespace();
        if !(white && blank) {
            put(if white { ' ' } else { letter }, marked);
        }
        blank = white;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, marks: &[(usize, usize)]) -> String {
        let piece = |(text, marked)| if marked { format!("[{text}]") } else { text };
        excerpt(text, marks).into_iter().map(piece).collect()
    }

    #[test]
    fn marks_count_scalar_values() {
        assert_eq!(shown("naïve 👍 rollout\n\n now", &[(0, 5), (8, 15)]), "[naïve] 👍 [rollout] now");
        assert_eq!(shown("plain", &[]), "plain");
        assert_eq!(shown("", &[(0, 3)]), "");
    }

    #[test]
    fn marks_that_are_out_of_order_or_beyond_the_end_do_no_harm() {
        assert_eq!(shown("abcdef", &[(4, 99), (0, 2)]), "abcd[ef]");
        assert_eq!(shown("abc", &[(2, 1), (7, 9), (usize::MAX, usize::MAX)]), "abc");
    }

    #[test]
    fn a_long_text_is_shown_around_its_first_mark() {
        let text = format!("{} needle {}", "x".repeat(1_000), "y".repeat(1_000));
        let shown = shown(&text, &[(1_001, 1_007)]);
        assert!(
            shown.starts_with("…xxx") && shown.contains(" [needle] ") && shown.ends_with("y…"),
            "{shown}"
        );
        assert_eq!(shown.chars().filter(|letter| !"…[]".contains(*letter)).count(), CHARS_MAX);
    }
}
