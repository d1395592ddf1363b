//! The text that is being written, with the cursor in view.

use quorate_client::conversation::Conversation;
use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::View;
use super::wrap::{breaks, cut};
use crate::clean;
use crate::model::Pane;

/// Lines that it grows to.
const LINES_MAX: usize = 8;
/// What stands in front of the text.
const PROMPT: &str = "> ";

fn columns(width: u16) -> usize {
    // One is left for a cursor behind a full line.
    usize::from(width).saturating_sub(PROMPT.width() + 2).max(2)
}

/// How many lines the text takes, without the rule above it.
pub(super) fn height(view: &View<'_>, width: u16) -> u16 {
    let lines = breaks(view.model.composer.text(), columns(width)).len();
    u16::try_from(lines.min(LINES_MAX)).unwrap_or(1)
}

/// Draws it under a rule.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>, conversation: &Conversation, area: Rect) {
    let look = view.look;
    let width = usize::from(area.width);
    let has_keys = view.model.pane == Pane::Composer && view.model.dialog.is_none();
    let rule_style = if has_keys { look.news() } else { look.faint() };
    frame.buffer_mut().set_string(area.x, area.y, "─".repeat(width), rule_style);
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if let Some(why) = conversation.closed_because() {
        frame.buffer_mut().set_stringn(area.x + 1, area.y, why, width.saturating_sub(1), look.faint());
        return;
    }
    frame.buffer_mut().set_string(area.x, area.y, PROMPT, rule_style);
    let x = area.x + u16::try_from(PROMPT.width()).unwrap_or(0);
    let editor = &view.model.composer;
    if editor.is_empty() {
        let name = clean::line(&conversation.name(view.me()));
        let text = cut(&format!("Write to {name}"), columns(area.width));
        frame.buffer_mut().set_stringn(x, area.y, text, width, look.faint());
    }
    let lines = breaks(editor.text(), columns(area.width));
    // The last line that begins at or before it: at a break the cursor stands at the beginning of the next line.
    let at = lines.iter().rposition(|line| line.start <= editor.cursor()).unwrap_or(0);
    let shown = usize::from(area.height).max(1);
    let first = (at + 1).saturating_sub(shown);
    for (y, line) in (area.y..area.bottom()).zip(lines.iter().skip(first)) {
        frame.buffer_mut().set_stringn(x, y, &editor.text()[line.clone()], columns(area.width), look.plain());
    }
    if has_keys {
        let before = &editor.text()[lines[at].start..editor.cursor()];
        let column = u16::try_from(before.width().min(columns(area.width))).unwrap_or(0);
        let line = u16::try_from(at - first).unwrap_or(0);
        frame.set_cursor_position((x + column, area.y + line));
    }
}
