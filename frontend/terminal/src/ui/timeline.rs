//! The messages of the open conversation: only what is in view is laid out, however long the history is.

use quorate_client::conversation::Conversation;
use quorate_client::timeline::Loading;
use quorate_client::view::{MessageState, Row};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Seen, View, bars, message};
use crate::clean;
use crate::model::Scroll;

/// Draws it; what was in view.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>, conversation: &Conversation, area: Rect) -> Seen {
    // A column of air at either side.
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let (columns, height) = (usize::from(area.width), usize::from(area.height));
    let mut seen = Seen { columns, lines: height, ..Seen::default() };
    if view.rows.is_empty() {
        let text = match &conversation.timeline.loading {
            Loading::Refused(why) => clean::line(&format!("These messages cannot be read: {why}")),
            _ if conversation.timeline.loaded => "No messages yet.".to_owned(),
            _ if !view.client.is_live() => "Messages come with the connection.".to_owned(),
            _ => "Loading…".to_owned(),
        };
        bars::centred(frame, area, &[(text.as_str(), view.look.faint())]);
        return seen;
    }
    let lines = visible(view, columns, height, &mut seen);
    // What is short of a screen stands at its foot, above the composer.
    let top = area.bottom() - u16::try_from(lines.len()).unwrap_or(area.height).min(area.height);
    for (y, line) in (top..area.bottom()).zip(&lines) {
        frame.buffer_mut().set_line(area.x, y, line, area.width);
    }
    above(frame, view, conversation, area, seen.first_row == 0);
    seen
}

/// The lines in view, from the top, and what they belong to.
fn visible(view: &View<'_>, columns: usize, height: usize, seen: &mut Seen) -> Vec<Line<'static>> {
    let height_of = |row: usize| message::height(view, row, columns);
    let Some(lowest) = view.model.scroll.place(view.rows, height_of) else { return Vec::new() };
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut row = lowest.row;
    let mut take = lowest.line + 1;
    loop {
        let mut of_row = message::lines(view, row, columns);
        of_row.truncate(take);
        take = usize::MAX;
        if let Row::Message(message) = &view.rows[row]
            && let MessageState::Sent { sequence, .. } = &message.state
        {
            seen.newest = seen.newest.max(*sequence);
        }
        seen.first_row = row;
        let room = height - lines.len();
        let from = of_row.len().saturating_sub(room);
        lines.splice(0..0, of_row.drain(from..));
        if lines.len() >= height || row == 0 {
            return lines;
        }
        row -= 1;
    }
}

/// Over the first line: that older messages are on their way, or that newer ones are below.
fn above(frame: &mut Frame<'_>, view: &View<'_>, conversation: &Conversation, area: Rect, at_top: bool) {
    let timeline = &conversation.timeline;
    let text = match &timeline.loading {
        Loading::Asked(_) | Loading::Wanted(..) if at_top => "Loading older messages…".to_owned(),
        Loading::Refused(why) if at_top => clean::line(&format!("Older messages cannot be read: {why}")),
        _ if at_top && timeline.is_full() && timeline.more_before => {
            "Older messages are in the page: no more are kept here.".to_owned()
        }
        _ => String::new(),
    };
    if !text.is_empty() {
        bars::note(frame, view.look.faint(), Rect { height: 1, ..area }, &text);
    }
    if view.model.scroll != Scroll::Newest {
        let text = "↓ Newer messages are below: Esc goes to the newest";
        let foot = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        bars::note(frame, view.look.news(), foot, text);
    }
}
