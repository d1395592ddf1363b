//! One row of a timeline as lines.

use quorate_client::signals::Reach;
use quorate_client::view::{MessageRow, MessageState, Row, called, one_line, size_words};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::wrap::cut;
use super::{View, rich};
use crate::{clean, clock};

/// Columns that a message is moved in under its author's name.
const INDENT: usize = 2;

/// How many lines a row has; never 0.
pub(super) fn height(view: &View<'_>, row: usize, columns: usize) -> usize {
    lines(view, row, columns).len().max(1)
}

/// The lines of a row.
pub(super) fn lines(view: &View<'_>, row: usize, columns: usize) -> Vec<Line<'static>> {
    let look = view.look;
    match view.rows.get(row) {
        None => Vec::new(),
        Some(Row::Day { time, .. }) => {
            vec![Line::default(), rule(&clock::day(*time, view.wall_ms), columns, look.faint())]
        }
        Some(Row::New) => vec![rule("New", columns, look.news())],
        Some(Row::Notice { text, time, .. }) => {
            let text = format!("· {} · {}", clean::line(text), clock::hours(*time));
            super::wrap::lines(&[(text, look.faint())], columns)
        }
        Some(Row::Message(message)) => message_lines(view, message, columns),
    }
}

/// `──── Today ────`
fn rule(text: &str, columns: usize, style: Style) -> Line<'static> {
    let text = format!(" {} ", cut(text, columns.saturating_sub(6)));
    let left = columns.saturating_sub(text.width()) / 2;
    let right = columns.saturating_sub(text.width() + left);
    Line::styled(format!("{}{text}{}", "─".repeat(left), "─".repeat(right)), style)
}

fn message_lines(view: &View<'_>, row: &MessageRow, columns: usize) -> Vec<Line<'static>> {
    let look = view.look;
    let message = &row.message;
    let inner = columns.saturating_sub(INDENT).max(4);
    let mut lines = Vec::new();
    if row.head {
        lines.push(Line::default());
        let name = view.conversation().map_or(&message.from, |conversation| conversation.face(&message.from));
        let name = if row.own { "You".to_owned() } else { clean::line(called(name)) };
        let mut head = vec![
            Span::styled(cut(&name, columns.saturating_sub(8)), look.name(&message.from.name)),
            Span::styled(format!("  {}", clock::hours(row.time)), look.faint()),
        ];
        if message.from.bot {
            head.push(Span::styled("  bot", look.faint()));
        }
        lines.push(Line::from(head));
    }
    let mut body = Vec::new();
    if message.deleted {
        body.push(Line::styled("Message deleted", look.faint().add_modifier(Modifier::ITALIC)));
    } else {
        said(view, row, inner, &mut body);
    }
    let mark = mark(row);
    if !mark.is_empty() {
        let style = if row.names_reader && !row.own { look.news() } else { look.faint() };
        append(&mut body, &mark, style, inner);
    }
    trouble(view, row, inner, &mut body);
    lines.extend(body.into_iter().map(|mut line| {
        line.spans.insert(0, Span::raw(" ".repeat(INDENT)));
        line
    }));
    lines
}

/// What a message says, with what stands around it.
fn said(view: &View<'_>, row: &MessageRow, columns: usize, body: &mut Vec<Line<'static>>) {
    let look = view.look;
    let message = &row.message;
    if let Some(forwarded) = &message.forwarded {
        let from = clean::line(called(&forwarded.from));
        let from = if from.is_empty() { "somewhere else".to_owned() } else { from };
        body.push(Line::styled(cut(&format!("↪ forwarded from {from}"), columns), look.faint()));
    }
    if let Some(quote) = &row.quote {
        let author = if quote.author.is_empty() { String::new() } else { format!("{}: ", quote.author) };
        let text = clean::line(&format!("│ {author}{}", quote.text));
        body.push(Line::styled(cut(&text, columns), look.faint()));
    }
    let text = row.edit.as_ref().map_or(&message.text, |edit| &edit.text);
    if !text.is_empty() || message.attachments.is_empty() {
        body.extend(rich::lines(&clean::text(text), columns, look));
    }
    for file in &message.attachments {
        let text = format!("[file] {} ({})", clean::line(&file.name), size_words(file.size));
        body.push(Line::styled(cut(&text, columns), look.link()));
    }
    if !row.reactions.is_empty() {
        let of = |reaction: &quorate_client::view::ReactionRow| {
            let mine = if reaction.mine { " (you)" } else { "" };
            format!("{} {}{mine}", clean::line(&reaction.emoji), reaction.count)
        };
        let all: Vec<String> = row.reactions.iter().map(of).collect();
        body.push(Line::styled(cut(&all.join("   "), columns), look.faint()));
    }
}

/// How far it has come, and what was done to it, in a few signs and words.
fn mark(row: &MessageRow) -> String {
    let mut marks = Vec::new();
    if row.message.pinned {
        marks.push("pinned");
    }
    match &row.edit {
        Some(edit) if edit.refused.is_none() => marks.push("saving the edit…"),
        _ if row.message.edited > 0 && !row.message.deleted => marks.push("edited"),
        _ => {}
    }
    if row.deleting {
        marks.push("deleting…");
    }
    if row.names_reader {
        marks.push("names you");
    }
    if row.own && !row.message.deleted {
        match &row.state {
            MessageState::Pending => marks.push("◌ sending"),
            MessageState::Sent { reach: Reach::Kept, .. } => marks.push("✓"),
            MessageState::Sent { reach: Reach::Delivered, .. } => marks.push("✓✓"),
            MessageState::Sent { reach: Reach::Read, .. } => marks.push("✓✓ read"),
            MessageState::NeedsTap | MessageState::Failed(_) => {}
        }
    }
    marks.join(" · ")
}

/// Puts a mark behind the last line, or on one of its own where it does not fit.
fn append(body: &mut Vec<Line<'static>>, mark: &str, style: Style, columns: usize) {
    match body.last_mut() {
        Some(last) if last.width() + mark.width() + 2 <= columns => {
            last.spans.push(Span::styled(format!("  {mark}"), style));
        }
        _ => body.push(Line::styled(mark.to_owned(), style)),
    }
}

/// Why it was not sent, or not changed.
fn trouble(view: &View<'_>, row: &MessageRow, columns: usize, body: &mut Vec<Line<'static>>) {
    let why = match (&row.state, row.edit.as_ref().and_then(|edit| edit.refused.as_ref())) {
        (MessageState::Failed(why), _) => format!("✗ Not sent: {why} Ctrl+R tries again, Ctrl+X deletes it."),
        (MessageState::NeedsTap, _) => {
            "✗ Written over a day ago, and no server has confirmed it. Ctrl+R sends it now, Ctrl+X deletes it.".to_owned()
        }
        (_, Some(why)) => format!("✗ The edit was not taken: {why}"),
        _ => return,
    };
    body.extend(super::wrap::lines(&[(one_line_of(&why), view.look.wrong())], columns));
}

fn one_line_of(text: &str) -> String {
    let clean = clean::line(text);
    // Longer than what a list shows of a message, shorter than what a server might say.
    if clean.len() > 300 { one_line(&clean) } else { clean }
}
