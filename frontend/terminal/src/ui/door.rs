//! Before anybody is in: the start, and the form to sign in or up.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::wrap::{cut, lines};
use super::{View, bars, window};
use crate::clean;
use crate::model::{Door, Field};

/// How wide the form is.
const COLUMNS: u16 = 54;
/// Columns of the labels.
const LABEL: u16 = 10;

/// While a former session is looked for.
pub(super) fn draw_starting(frame: &mut Frame<'_>, view: &View<'_>, why: &str) {
    let area = frame.area();
    let why = clean::line(why);
    bars::centred(
        frame,
        area,
        &[
            ("Quorate", view.look.strong()),
            ("", view.look.plain()),
            (&format!("Connecting to {}…", view.address), view.look.plain()),
            (&why, view.look.wrong()),
            ("Ctrl+C leaves.", view.look.faint()),
        ],
    );
}

/// The form.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>, door: &Door) {
    let look = view.look;
    let place = window(frame, COLUMNS, 12);
    let width = usize::from(place.width);
    let title = if door.new { "Create an account" } else { "Sign in" };
    let mut put = |line: u16, text: Line<'_>| {
        if line < place.height {
            frame.buffer_mut().set_line(place.x, place.y + line, &text, place.width);
        }
    };
    put(0, Line::from(vec![Span::styled("Quorate", look.strong()), Span::raw(format!("  {title}"))]));
    put(1, Line::styled(cut(&format!("at {}", view.address), width), look.faint()));
    let shown = |field: Field| -> String {
        let room = width.saturating_sub(usize::from(LABEL) + 1);
        let text = match field {
            Field::Name => door.name.text().to_owned(),
            // As many as characters: a keyboard that types twice is noticed.
            Field::Password => "•".repeat(door.password.text().graphemes(true).count()),
        };
        // The end of a long one is where the writing is.
        let mut tail: Vec<&str> = text.graphemes(true).rev().collect();
        let mut taken = 0;
        tail.retain(|grapheme| {
            taken += grapheme.width();
            taken <= room
        });
        tail.into_iter().rev().collect()
    };
    for (line, label, field) in [(3, "Name", Field::Name), (4, "Password", Field::Password)] {
        let style = if door.field == field && !door.busy { look.news() } else { look.faint() };
        let text = vec![Span::styled(format!("{label:<10}"), style), Span::raw(shown(field))];
        put(line, Line::from(text));
    }
    let below = match (&door.error, door.busy) {
        (_, true) => vec![Line::styled("Asking the server…", look.faint())],
        (Some(error), _) => lines(&[(clean::line(error), look.wrong())], width),
        (None, _) if door.new => vec![Line::styled("A password has eight characters or more.", look.faint())],
        (None, _) => Vec::new(),
    };
    for (line, text) in (6..9).zip(below) {
        put(line, text);
    }
    let other = if door.new { "F2 signs in instead" } else { "F2 creates an account" };
    put(10, Line::styled(cut(&format!("Enter goes on · Tab next field · {other}"), width), look.faint()));
    put(11, Line::styled("Ctrl+C leaves", look.faint()));
    if !door.busy {
        let (line, text) = match door.field {
            Field::Name => (3, &door.name.text()[..door.name.cursor()]),
            Field::Password => (4, &door.password.text()[..door.password.cursor()]),
        };
        let column = match door.field {
            Field::Name => text.width(),
            Field::Password => text.graphemes(true).count(),
        };
        let column = u16::try_from(column).unwrap_or(u16::MAX).min(place.width.saturating_sub(LABEL + 1));
        cursor(frame, place, LABEL + column, line);
    }
}

fn cursor(frame: &mut Frame<'_>, place: Rect, column: u16, line: u16) {
    if line < place.height {
        frame.set_cursor_position((place.x + column, place.y + line));
    }
}
