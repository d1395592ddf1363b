//! What lies over everything else.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType};
use unicode_width::UnicodeWidthStr;

use super::wrap::{cut, lines};
use super::{View, window};
use crate::model::{Dialog, Editor, Switch};
use crate::{banner_words, clean};

/// Keys and what they do; an empty key is a heading.
const KEYS: [(&str, &str); 25] = [
    ("", "Conversations"),
    ("Ctrl+K", "go to one by a part of its name"),
    ("Ctrl+N", "start one with somebody"),
    ("Alt+↑ Alt+↓", "the one above, the one below"),
    ("Tab", "between the list and the text"),
    ("", "Writing"),
    ("Enter", "send"),
    ("Alt+Enter, Ctrl+J", "a new line"),
    ("Ctrl+W Ctrl+U", "delete a word, a line"),
    ("Ctrl+R", "try again what was not sent"),
    ("Ctrl+X", "delete what was not sent"),
    ("", "Reading"),
    ("PgUp PgDn ↑ ↓", "scroll; older messages come by themselves"),
    ("Ctrl+Home", "the oldest that is here"),
    ("Esc", "the newest"),
    ("", "Signs"),
    ("◌ sending", "not yet kept by a majority of replicas"),
    ("✓", "kept by a majority"),
    ("✓✓  ✓✓ read", "on the others' devices, read by them"),
    ("● ○", "here, away"),
    ("", "Everything else"),
    ("Ctrl+G", "the connection in numbers"),
    ("Ctrl+O", "sign out"),
    ("Ctrl+C", "leave; what is not sent is kept"),
    ("?", "this help; pressed again it writes a ?"),
];

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>, dialog: &Dialog) {
    match dialog {
        Dialog::Help => help(frame, view),
        Dialog::Details => details(frame, view),
        Dialog::Switch(switch) => draw_switch(frame, view, switch),
        Dialog::Start(name, error) => start(frame, view, name, error.as_deref()),
        Dialog::SignOut(unsent) => sign_out(frame, view, *unsent),
    }
}

/// A frame with a title; what is within.
fn framed(frame: &mut Frame<'_>, view: &View<'_>, width: u16, height: u16, title: &str, hint: &str) -> Rect {
    let place = window(frame, width, height + 2);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .title(Span::styled(format!(" {title} "), view.look.strong()))
        .title_bottom(Line::styled(format!(" {hint} "), view.look.faint()).right_aligned());
    let inner = block.inner(place);
    frame.render_widget(block, place);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}

fn put(frame: &mut Frame<'_>, area: Rect, line: usize, text: &Line<'_>) {
    let line = u16::try_from(line).unwrap_or(u16::MAX);
    if line < area.height {
        frame.buffer_mut().set_line(area.x, area.y + line, text, area.width);
    }
}

fn help(frame: &mut Frame<'_>, view: &View<'_>) {
    let look = view.look;
    let lines_of = |with_headings: bool| KEYS.iter().filter(move |(key, _)| with_headings || !key.is_empty());
    // The usual window of 24 lines has room for the keys alone.
    let with_headings = usize::from(frame.area().height) >= KEYS.len() + 2;
    let height = u16::try_from(lines_of(with_headings).count()).unwrap_or(u16::MAX);
    let area = framed(frame, view, 66, height, "Keys", "any key closes");
    for (line, (key, what)) in lines_of(with_headings).enumerate() {
        let text = if key.is_empty() {
            Line::styled(*what, look.strong())
        } else {
            Line::from(vec![Span::styled(format!("  {key:<19}"), look.news()), Span::raw(*what)])
        };
        put(frame, area, line, &text);
    }
}

fn details(frame: &mut Frame<'_>, view: &View<'_>) {
    let details = view.client.details();
    let state = match view.client.banner(view.now_ms) {
        Some(banner) => banner_words(&banner, view.now_ms),
        None if details.live => "connected".to_owned(),
        None => "connecting".to_owned(),
    };
    let round = details.round_trip_ms.map_or("not measured yet".to_owned(), |ms| format!("{ms} ms"));
    let leader = details.leader.map_or("not known".to_owned(), |id| format!("replica {id}"));
    let rows = [
        ("Address", view.address.to_owned()),
        ("State", state),
        ("Gateway", details.gateway),
        ("Round trip", round),
        ("Leader", leader),
        ("Cluster", details.cluster),
        ("Session", details.session),
        ("Position", format!("{} (seen {})", details.position, details.seen)),
        ("Connections", format!("{} since the start", details.sockets)),
        ("Unsent", details.outbox.to_string()),
    ];
    let height = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    let area = framed(frame, view, 66, height, "Connection", "any key closes");
    for (line, (label, value)) in rows.iter().enumerate() {
        let value = cut(&clean::line(value), usize::from(area.width).saturating_sub(13));
        let text =
            Line::from(vec![Span::styled(format!("{label:<13}"), view.look.faint()), Span::raw(value)]);
        put(frame, area, line, &text);
    }
}

fn draw_switch(frame: &mut Frame<'_>, view: &View<'_>, switch: &Switch) {
    /// Lines of those found.
    const SHOWN: usize = 10;
    let found = switch.found(view.list);
    let height = u16::try_from(SHOWN + 2).unwrap_or(u16::MAX);
    let area = framed(frame, view, 50, height, "Go to", "Enter opens · Esc closes");
    field(frame, area, &switch.query, "a part of a name", view);
    if found.is_empty() {
        put(frame, area, 2, &Line::styled("No conversation is called so.", view.look.faint()));
    }
    let first = (switch.at + 1).saturating_sub(SHOWN);
    for (line, (at, row)) in found.iter().enumerate().skip(first).take(SHOWN).enumerate() {
        let name = cut(&clean::line(&row.name), usize::from(area.width).saturating_sub(8));
        let unread = if row.unread > 0 { format!("{}", row.unread) } else { String::new() };
        let blanks = usize::from(area.width).saturating_sub(name.width() + unread.width() + 2);
        let text = format!(" {name}{}{unread} ", " ".repeat(blanks));
        let style = if at == switch.at { view.look.chosen() } else { view.look.plain() };
        put(frame, area, line + 2, &Line::styled(text, style));
    }
}

fn start(frame: &mut Frame<'_>, view: &View<'_>, name: &Editor, error: Option<&str>) {
    let area = framed(frame, view, 50, 4, "Start a conversation", "Enter starts · Esc closes");
    field(frame, area, name, "her user name", view);
    let below = match error {
        Some(error) => lines(&[(clean::line(error), view.look.wrong())], usize::from(area.width)),
        None if view.model.asked.is_some() => vec![Line::styled("Asking the server…", view.look.faint())],
        None => Vec::new(),
    };
    for (line, text) in below.iter().enumerate() {
        put(frame, area, line + 2, text);
    }
}

fn sign_out(frame: &mut Frame<'_>, view: &View<'_>, unsent: usize) {
    let area = framed(frame, view, 58, 3, "Sign out", "y signs out · any other key stays");
    put(frame, area, 0, &Line::raw("End this session, here and on the server?"));
    if unsent > 0 {
        let what = if unsent == 1 { "1 message is".to_owned() } else { format!("{unsent} messages are") };
        let text = format!("{what} not sent yet. They stay on this machine.");
        put(frame, area, 1, &Line::styled(text, view.look.wrong()));
    }
}

/// One line to write in, with the cursor in it.
fn field(frame: &mut Frame<'_>, area: Rect, editor: &Editor, hint: &str, view: &View<'_>) {
    let text = if editor.is_empty() {
        Line::from(vec![
            Span::styled("> ", view.look.news()),
            Span::styled(hint.to_owned(), view.look.faint()),
        ])
    } else {
        let room = usize::from(area.width).saturating_sub(3);
        Line::from(vec![Span::styled("> ", view.look.news()), Span::raw(cut(editor.text(), room))])
    };
    put(frame, area, 0, &text);
    let column = editor.text()[..editor.cursor()].width().min(usize::from(area.width).saturating_sub(3));
    frame.set_cursor_position((area.x + 2 + u16::try_from(column).unwrap_or(0), area.y));
}
