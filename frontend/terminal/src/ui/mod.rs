//! How it looks: the whole screen as a function of what is known. Draws cells and nothing else; whatever others wrote has
//! passed [`crate::clean`] before.
//!
//! ```text
//! ┌ list ──────┬ heading ─────────────────────┐
//! │ Ana     3  │ Today                        │  timeline (rows of messages, the newest at the bottom)
//! │ Team       │ Ana 14:05  hello             │
//! │            ├ who types ───────────────────┤
//! │            │ composer                     │
//! └ connection in words ───────── keys ───────┘
//! ```

mod bars;
mod composer;
mod dialogs;
mod door;
mod list;
mod look;
mod message;
mod rich;
#[cfg(test)]
mod tests;
mod timeline;
mod wrap;

use quorate_client::Client;
use quorate_client::conversation::Conversation;
use quorate_client::proto::ids::Sequence;
use quorate_client::view::{ListRow, Row};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Clear;

use crate::model::{Model, Pane, Scroll, Stage};
pub use look::Look;

/// Below this nothing can be read.
const SMALLEST: (u16, u16) = (24, 8);
/// From this width on list and conversation stand side by side.
const BOTH_COLUMNS: u16 = 70;
/// How wide the list is then.
const LIST_COLUMNS: u16 = 28;

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The rules.
    pub client: &'a Client,
    /// What the person is doing.
    pub model: &'a Model,
    /// The list of conversations.
    pub list: &'a [ListRow],
    /// The open conversation's rows.
    pub rows: &'a [Row],
    /// On the clock of the rules, ms.
    pub now_ms: u64,
    /// The wall clock, ms.
    pub wall_ms: u64,
    /// Where the chat is.
    pub address: &'a str,
    /// Colours, or none.
    pub look: Look,
}

impl View<'_> {
    /// The conversation in front of the reader.
    fn conversation(&self) -> Option<&Conversation> {
        self.client.conversation(self.model.open?)
    }

    fn me(&self) -> u64 {
        self.client.me().map_or(0, |user| user.id)
    }
}

/// What of the timeline was in view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its size in columns and lines; 0 when there was none.
    pub columns: usize,
    /// See `columns`.
    pub lines: usize,
    /// The first row that was in view.
    pub first_row: usize,
    /// The newest committed message that was in view; 0 if there was none.
    pub newest: Sequence,
}

impl Seen {
    /// Where the reader is after moving by so many lines.
    pub fn moved(&self, view: &View<'_>, by: isize) -> Scroll {
        let height_of = |row: usize| message::height(view, row, self.columns);
        view.model.scroll.moved(view.rows, height_of, self.lines, by)
    }
}

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, view: &View<'_>) -> Seen {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = "Make this window larger.";
        frame.buffer_mut().set_stringn(area.x, area.y, text, usize::from(area.width), view.look.plain());
        return Seen::default();
    }
    match &view.model.stage {
        Stage::Starting(why) => {
            door::draw_starting(frame, view, why);
            Seen::default()
        }
        Stage::Door(form) => {
            door::draw(frame, view, form);
            Seen::default()
        }
        Stage::Inside => inside(frame, view, area),
    }
}

fn inside(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) -> Seen {
    let [body, status] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(area);
    let mut seen = Seen::default();
    if area.width >= BOTH_COLUMNS {
        let columns = [Constraint::Length(LIST_COLUMNS), Constraint::Length(1), Constraint::Min(1)];
        let [left, line, right] = Layout::horizontal(columns).areas(body);
        list::draw(frame, view, left);
        for y in line.y..line.bottom() {
            frame.buffer_mut().set_string(line.x, y, "│", view.look.faint());
        }
        seen = conversation(frame, view, right);
    } else if view.model.open.is_some() && view.model.pane == Pane::Composer {
        seen = conversation(frame, view, body);
    } else {
        list::draw(frame, view, body);
    }
    bars::status(frame, view, status);
    if let Some(dialog) = &view.model.dialog {
        dialogs::draw(frame, view, dialog);
    }
    seen
}

fn conversation(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) -> Seen {
    let Some(conversation) = view.conversation() else {
        let (text, hint) = if view.model.open.is_some() {
            ("You are no longer in this conversation.", "Tab goes to the list.")
        } else if view.list.is_empty() && view.client.is_live() {
            ("No conversations yet.", "Ctrl+N starts one with somebody.")
        } else {
            ("No conversation is open.", "Choose one with ↑ and ↓, open it with Enter.")
        };
        bars::centred(frame, area, &[(text, view.look.plain()), (hint, view.look.faint())]);
        return Seen::default();
    };
    let height = composer::height(view, area.width).min(area.height / 3).max(1);
    let parts =
        [Constraint::Length(2), Constraint::Min(1), Constraint::Length(1), Constraint::Length(height + 1)];
    let [heading, middle, typing, below] = Layout::vertical(parts).areas(area);
    bars::heading(frame, view, conversation, heading);
    let seen = timeline::draw(frame, view, conversation, middle);
    bars::typing(frame, view, conversation, typing);
    composer::draw(frame, view, conversation, below);
    seen
}

/// A box in the middle with nothing below it.
fn window(frame: &mut Frame<'_>, width: u16, height: u16) -> Rect {
    let area = frame.area();
    let (width, height) = (width.min(area.width), height.min(area.height));
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    let place = Rect { x, y, width, height };
    frame.render_widget(Clear, place);
    place
}
