//! A text under a cursor. Moves and deletes whole characters as a reader counts them (grapheme clusters).

use std::fmt;

use unicode_segmentation::UnicodeSegmentation;

/// More than any message may have, so that a paste of a film does no harm.
const BYTES_MAX: usize = 64 * 1024;

/// See the module. The cursor stands on a boundary of characters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Editor {
    text: String,
    /// In bytes.
    cursor: usize,
}

/// Passwords are typed into one of these: its text is never part of a log or a panic.
impl fmt::Debug for Editor {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Editor").field("bytes", &self.text.len()).field("cursor", &self.cursor).finish()
    }
}

impl Editor {
    /// That text, with the cursor behind it.
    pub fn with(text: &str) -> Self {
        let mut editor = Self::default();
        editor.insert(text);
        editor
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the cursor stands, in bytes.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the text out.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts a text in at the cursor, without what a terminal would obey. What finds no room is left out.
    pub fn insert(&mut self, text: &str) {
        let mut text = crate::clean::text(text);
        let mut room = BYTES_MAX.saturating_sub(self.text.len()).min(text.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        text.truncate(room);
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
    }

    /// Removes the character before the cursor.
    pub fn backspace(&mut self) {
        let to = self.before();
        self.cut(to, self.cursor);
    }

    /// Removes the character behind the cursor.
    pub fn delete(&mut self) {
        let to = self.behind();
        self.cut(self.cursor, to);
    }

    /// Removes the word before the cursor.
    pub fn delete_word(&mut self) {
        let to = self.word_before();
        self.cut(to, self.cursor);
    }

    /// Removes the line before the cursor.
    pub fn delete_line(&mut self) {
        let to = self.line_begin();
        // On an empty line the line itself goes.
        let to = if to == self.cursor { self.before() } else { to };
        self.cut(to, self.cursor);
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    /// One character to the left.
    pub fn left(&mut self) {
        self.cursor = self.before();
    }

    /// One character to the right.
    pub fn right(&mut self) {
        self.cursor = self.behind();
    }

    /// To the beginning of the word.
    pub fn word_left(&mut self) {
        self.cursor = self.word_before();
    }

    /// Behind the end of the word.
    pub fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let word = rest.unicode_word_indices().next();
        self.cursor = word.map_or(self.text.len(), |(at, word)| self.cursor + at + word.len());
    }

    /// To the beginning of the line.
    pub fn home(&mut self) {
        self.cursor = self.line_begin();
    }

    /// To the end of the line.
    pub fn end(&mut self) {
        self.cursor = self.line_end();
    }

    /// One line up; false when this is the first.
    pub fn up(&mut self) -> bool {
        let begin = self.line_begin();
        if begin == 0 {
            return false;
        }
        let column = self.text[begin..self.cursor].graphemes(true).count();
        self.cursor = begin - 1;
        self.cursor = self.line_begin();
        self.forth(column);
        true
    }

    /// One line down; false when this is the last.
    pub fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text[self.line_begin()..self.cursor].graphemes(true).count();
        self.cursor = end + 1;
        self.forth(column);
        true
    }

    fn forth(&mut self, columns: usize) {
        let line = &self.text[self.cursor..self.line_end()];
        self.cursor += line.graphemes(true).take(columns).map(str::len).sum::<usize>();
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn behind(&self) -> usize {
        self.cursor + self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        self.text[..self.cursor].unicode_word_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn line_begin(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_what_a_reader_counts() {
        let mut editor = Editor::with("a👩‍🚀e\u{301}");
        editor.backspace();
        assert_eq!(editor.text(), "a👩‍🚀");
        editor.left();
        assert_eq!(editor.cursor(), 1);
        editor.delete();
        assert_eq!(editor.text(), "a");
        editor.delete();
        editor.right();
        editor.backspace();
        editor.backspace();
        assert!(editor.is_empty());
    }

    #[test]
    fn words_and_lines() {
        let mut editor = Editor::with("one two\nthree four");
        editor.delete_word();
        assert_eq!(editor.text(), "one two\nthree ");
        assert!(editor.up() && !editor.up());
        editor.word_left();
        assert_eq!(editor.cursor(), 4);
        editor.end();
        assert_eq!(editor.cursor(), 7);
        assert!(editor.down() && !editor.down());
        editor.delete_line();
        assert_eq!(editor.text(), "one two\n");
        editor.delete_line();
        assert_eq!(editor.text(), "one two", "an empty line goes as one");
        editor.home();
        editor.word_right();
        assert_eq!(editor.cursor(), 3);
        editor.insert("\n");
        assert_eq!(editor.text(), "one\n two");
    }

    #[test]
    fn a_paste_is_cleaned_and_has_an_end() {
        let mut editor = Editor::default();
        editor.insert("a\u{1b}[31mb\r\nc");
        assert_eq!(editor.text(), "ab\nc");
        editor.insert(&"é".repeat(BYTES_MAX));
        assert!(editor.text().len() <= BYTES_MAX && editor.text().len() > BYTES_MAX - 2);
    }

    #[test]
    fn what_is_typed_is_in_no_log() {
        assert!(!format!("{:?}", Editor::with("secret")).contains("secret"));
    }
}
