//! What stands around the messages: the heading, who types, the state of the connection in words.

use quorate_client::conversation::Conversation;
use quorate_client::proto::frame::{ConversationKind, PresenceState};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::View;
use super::wrap::cut;
use crate::{banner_words, clean};

/// At the right of the lowest line.
const KEYS: &str = "? help ";

/// Name and presence, and below them what is wrong, if anything.
pub(super) fn heading(frame: &mut Frame<'_>, view: &View<'_>, conversation: &Conversation, area: Rect) {
    let look = view.look;
    let columns = usize::from(area.width.saturating_sub(2));
    let name = clean::line(&conversation.name(view.me()));
    let about = match conversation.kind {
        ConversationKind::Group if conversation.topic.is_empty() => members(conversation.member_count),
        ConversationKind::Group => {
            format!("{} · {}", members(conversation.member_count), clean::line(&conversation.topic))
        }
        ConversationKind::Direct => presence(conversation.other_presence().unwrap_or_default()).to_owned(),
    };
    let name = cut(&name, columns);
    let about = cut(&about, columns.saturating_sub(name.width() + 2));
    let line =
        Line::from(vec![Span::styled(name, look.strong()), Span::styled(format!("  {about}"), look.faint())]);
    frame.buffer_mut().set_line(area.x + 1, area.y, &line, area.width.saturating_sub(1));
    let below = Rect { y: area.y + 1, height: 1, ..area };
    match view.client.banner(view.now_ms) {
        Some(banner) => {
            let hint = if banner.can_try() { "  Ctrl+R tries now." } else { "" };
            let text = format!(" {}{hint}", banner_words(&banner, view.now_ms));
            let fill = " ".repeat(usize::from(below.width).saturating_sub(text.width()));
            let text = cut(&format!("{text}{fill}"), usize::from(below.width));
            frame.buffer_mut().set_stringn(below.x, below.y, text, usize::from(below.width), look.trouble());
        }
        None => {
            let line = "─".repeat(usize::from(below.width));
            frame.buffer_mut().set_string(below.x, below.y, line, look.faint());
        }
    }
}

fn members(count: u32) -> String {
    if count == 1 { "1 member".to_owned() } else { format!("{count} members") }
}

/// How present somebody is, in a word; nothing where nobody can tell.
pub(super) fn presence(state: PresenceState) -> &'static str {
    match state {
        PresenceState::Active => "here",
        PresenceState::Idle => "away",
        PresenceState::Dnd => "do not disturb",
        PresenceState::Offline => "offline",
        PresenceState::Invisible | PresenceState::Unknown => "",
    }
}

/// Who types.
pub(super) fn typing(frame: &mut Frame<'_>, view: &View<'_>, conversation: &Conversation, area: Rect) {
    if let Some(line) = conversation.typing_line() {
        let text = cut(&format!("{}…", clean::line(&line)), usize::from(area.width.saturating_sub(2)));
        frame.buffer_mut().set_stringn(area.x + 1, area.y, text, usize::from(area.width), view.look.faint());
    }
}

/// The lowest line: who is signed in, how the connection is, and the keys or a note.
pub(super) fn status(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) {
    let look = view.look;
    let details = view.client.details();
    let me = view.client.me().map(|user| clean::line(&user.name)).unwrap_or_default();
    // Trouble of less than a second is not worth a word: see the shared rules of the banner.
    let (state, style) = match view.client.banner(view.now_ms) {
        Some(banner) => (banner_words(&banner, view.now_ms), look.wrong()),
        None if details.gateway.is_empty() => ("Connecting…".to_owned(), look.faint()),
        None => (format!("Connected to gateway {}", clean::line(&details.gateway)), look.well()),
    };
    let waiting = match details.outbox {
        0 => String::new(),
        1 => " · 1 message waits".to_owned(),
        count => format!(" · {count} messages wait"),
    };
    let width = usize::from(area.width);
    if let Some(note) = &view.model.note {
        let text = format!(" {}", cut(&clean::line(note), width.saturating_sub(2)));
        frame.buffer_mut().set_stringn(area.x, area.y, text, width, look.wrong());
        return;
    }
    let me = format!(" {me} · ");
    let room = width.saturating_sub(me.width() + waiting.width() + KEYS.width() + 1);
    let spans = vec![
        Span::styled(me, look.faint()),
        Span::styled(cut(&state, room), style),
        Span::styled(waiting, look.news()),
    ];
    frame.buffer_mut().set_line(area.x, area.y, &Line::from(spans), area.width);
    let x = area.right().saturating_sub(u16::try_from(KEYS.width()).unwrap_or(0));
    frame.buffer_mut().set_string(x, area.y, KEYS, look.faint());
}

/// One line in the middle of another.
pub(super) fn note(frame: &mut Frame<'_>, style: Style, area: Rect, text: &str) {
    let text = format!(" {} ", cut(text, usize::from(area.width).saturating_sub(2)));
    let left = area.width.saturating_sub(u16::try_from(text.width()).unwrap_or(area.width)) / 2;
    frame.buffer_mut().set_stringn(area.x + left, area.y, text, usize::from(area.width), style);
}

/// Some lines in the middle of an area.
pub(super) fn centred(frame: &mut Frame<'_>, area: Rect, lines: &[(&str, Style)]) {
    let top = area.y + (area.height.saturating_sub(u16::try_from(lines.len()).unwrap_or(0))) / 2;
    for (y, (text, style)) in (top..area.bottom()).zip(lines) {
        note(frame, *style, Rect { y, height: 1, ..area }, text);
    }
}
