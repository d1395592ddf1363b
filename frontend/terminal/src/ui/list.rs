//! The list of conversations: two lines each, the newest on top.

use quorate_client::proto::frame::PresenceState;
use quorate_client::view::ListRow;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::View;
use super::wrap::cut;
use crate::model::Pane;
use crate::{clean, clock};

/// Lines that a conversation takes.
const LINES: usize = 2;

/// Draws it, with the line that the keys are at in view.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) {
    let look = view.look;
    let unread = match view.client.badge() {
        0 => String::new(),
        count => format!("  {count} unread"),
    };
    let title =
        Line::from(vec![Span::styled(" Conversations", look.strong()), Span::styled(unread, look.news())]);
    frame.buffer_mut().set_line(area.x, area.y, &title, area.width);
    let area = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    if view.list.is_empty() {
        let text = if view.client.is_live() { " None yet: Ctrl+N" } else { " Loading…" };
        frame.buffer_mut().set_stringn(area.x, area.y, text, usize::from(area.width), look.faint());
        return;
    }
    let fit = (usize::from(area.height) / LINES).max(1);
    let at = view.list.iter().position(|row| Some(row.id) == view.model.cursor).unwrap_or(0);
    let first = (at + 1).saturating_sub(fit);
    for (place, row) in view.list.iter().enumerate().skip(first).take(fit) {
        let y = area.y + u16::try_from((place - first) * LINES).unwrap_or(area.height);
        for (below, line) in (0..).zip(lines(view, row, usize::from(area.width))) {
            if y + below < area.bottom() {
                frame.buffer_mut().set_line(area.x, y + below, &line, area.width);
            }
        }
    }
}

fn lines(view: &View<'_>, row: &ListRow, columns: usize) -> [Line<'static>; LINES] {
    let look = view.look;
    let is_open = view.model.open == Some(row.id);
    let is_chosen = view.model.pane == Pane::List && view.model.cursor == Some(row.id);
    let is_new = row.unread > 0 || row.marked;
    let sign = match (is_open, row.group, row.presence) {
        (true, ..) => "▌",
        (_, true, _) => "#",
        (_, _, Some(PresenceState::Active)) => "●",
        (_, _, Some(PresenceState::Idle)) => "○",
        (_, _, Some(PresenceState::Dnd)) => "⊘",
        _ => " ",
    };
    let time = clock::brief(row.time, view.wall_ms);
    let name = cut(&clean::line(&row.name), columns.saturating_sub(time.width() + 4));
    let name_style = if is_new { look.strong() } else { look.plain() };
    let first = filled(
        vec![(sign.to_owned(), look.news()), (format!(" {name}"), name_style)],
        time,
        look.faint(),
        columns,
    );
    let badge = badge(row);
    let preview = if row.failed {
        "Not sent".to_owned()
    } else if row.draft {
        format!("Draft: {}", clean::line(&row.preview))
    } else {
        clean::line(&row.preview)
    };
    let preview = cut(&preview, columns.saturating_sub(badge.width() + 4));
    let preview_style = if row.failed { look.wrong() } else { look.faint() };
    let second = filled(vec![(format!("  {preview}"), preview_style)], badge, look.news(), columns);
    let mark = |line: Line<'static>| if is_chosen { line.patch_style(look.chosen()) } else { line };
    [mark(first), mark(second)]
}

/// What is unread, in as few signs as possible: `3`, `@1 3`.
fn badge(row: &ListRow) -> String {
    let muted = if row.muted { "muted " } else { "" };
    match (row.mentions, row.unread) {
        (0, 0) if row.marked => format!("{muted}•"),
        (0, 0) if row.pending => "◌".to_owned(),
        (0, 0) => muted.trim().to_owned(),
        (0, unread) => format!("{muted}{unread}"),
        (mentions, unread) => format!("@{mentions} {unread}"),
    }
}

/// Pieces at the left, one at the right, and blanks between, so that a chosen line is chosen from edge to edge.
fn filled(left: Vec<(String, Style)>, right: String, style: Style, columns: usize) -> Line<'static> {
    let taken: usize = left.iter().map(|(piece, _)| piece.width()).sum();
    let blanks = columns.saturating_sub(taken + right.width() + 1);
    let mut spans: Vec<Span<'static>> =
        left.into_iter().map(|(piece, style)| Span::styled(piece, style)).collect();
    spans.push(Span::raw(" ".repeat(blanks)));
    spans.push(Span::styled(right, style));
    spans.push(Span::styled(" ", Style::new().remove_modifier(Modifier::BOLD)));
    Line::from(spans)
}
