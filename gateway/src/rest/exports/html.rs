//! An export to be read: one page without scripts, everything in it escaped.

use std::fmt::Write as _;

use quorate_proto::frame::{ConversationSummary, Event, EventKind, Message, User};

use super::{Broken, Export};
use crate::clock::rfc3339;

/// Media type.
pub(super) const MEDIA: &str = "text/html; charset=utf-8";

/// The little style there is: of a page that may be opened from a disk.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}\
article{margin:1rem 0}header{color:#555;font-size:.875rem}p{margin:.25rem 0;white-space:pre-wrap;overflow-wrap:anywhere}\
.gone{color:#777;font-style:italic}";

/// The page of a conversation.
pub(super) async fn conversation(export: &Export, summary: &ConversationSummary) -> Result<(), Broken> {
    export.write(begin(&summary.title, &summary.topic, &summary.members)).await?;
    let count = export.messages(summary.id, message).await?;
    export.write(end(count)).await
}

/// A message.
pub(super) fn message(event: &Event, text: &mut String) {
    text.push_str(&article(event));
}

/// The page's end, with the number of messages before it.
pub(super) fn end(messages: u64) -> String {
    format!("<footer><p>{messages} messages. End of the export.</p></footer>\n</body>\n</html>\n")
}

/// The page's beginning. What has no title is called by who is in it.
pub(super) fn begin(title: &str, topic: &str, members: &[User]) -> String {
    let title = if title.is_empty() {
        let names: Vec<&str> = members.iter().map(name).collect();
        names.join(", ")
    } else {
        title.to_owned()
    };
    let (title, topic) = (escaped(&title), escaped(topic));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{topic}</p>\n"
    )
}

fn article(event: &Event) -> String {
    let EventKind::Message(message) = &event.kind else { return String::new() };
    let mut text = String::new();
    let (from, time) = (escaped(name(&message.from)), rfc3339(event.time));
    let number = message.sequence;
    // Writing into a string cannot fail.
    let _ = write!(
        text,
        "<article id=\"m{number}\"><header><b>{from}</b> <time datetime=\"{time}\">{time}</time>"
    );
    if message.edited != 0 {
        text.push_str(" (edited)");
    }
    if message.pinned {
        text.push_str(" (pinned)");
    }
    if let Some(reply_to) = message.reply_to {
        let _ = write!(text, " in reply to <a href=\"#m{reply_to}\">{reply_to}</a>");
    }
    if let Some(forwarded) = &message.forwarded {
        let _ = write!(text, " forwarded from {}", escaped(name(&forwarded.from)));
    }
    text.push_str("</header>");
    text.push_str(&body(message));
    for file in &message.attachments {
        let _ = write!(text, "<p>file: {} ({} bytes)</p>", escaped(&file.name), file.size);
    }
    if !message.reactions.is_empty() {
        text.push_str("<p>");
        for reaction in &message.reactions {
            let _ = write!(text, "{} {} ", escaped(&reaction.emoji), reaction.count);
        }
        text.push_str("</p>");
    }
    text.push_str("</article>\n");
    text
}

fn body(message: &Message) -> String {
    if message.deleted {
        "<p class=\"gone\">deleted message</p>".to_owned()
    } else if message.hidden {
        "<p class=\"gone\">you deleted this message for yourself</p>".to_owned()
    } else {
        format!("<p>{}</p>", escaped(&message.text))
    }
}

fn name(user: &User) -> &str {
    match user {
        User { deleted: true, .. } => "deleted user",
        User { display_name, name, .. } if display_name.is_empty() => name,
        User { display_name, .. } => display_name,
    }
}

/// A text that is a text in HTML, in an element or in quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No reader sees a zero or another control, and HTML knows none but these.
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use quorate_proto::frame::{Forwarded, Reaction};

    use super::*;

    fn event(message: Message) -> Event {
        let kind = EventKind::Message(message);
        Event { conversation: 3, version: 1, index: 0, time: 951_827_696_789, kind }
    }

    #[test]
    fn what_people_wrote_stays_text() {
        let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\u{0}";
        let from = User { id: 1, name: "eve".into(), display_name: evil.into(), ..User::default() };
        let reaction = Reaction { emoji: evil.into(), count: 1, ..Default::default() };
        let page = [
            begin(evil, evil, &[]),
            article(&event(Message {
                sequence: 8,
                forwarded: Some(Forwarded { from: from.clone(), time: 1 }),
                from,
                text: evil.into(),
                reactions: vec![reaction],
                ..Message::default()
            })),
        ]
        .concat();
        for tag in ["<script", "<img", "onerror=alert(1)>", "\u{0}"] {
            assert!(!page.contains(tag), "{tag} in {page}");
        }
        assert_eq!(page.matches("&lt;script&gt;").count(), 7, "{page}");
    }

    #[test]
    fn a_message_says_who_when_and_what_became_of_it() {
        let gone = article(&event(Message { deleted: true, text: "x".into(), ..Message::default() }));
        assert!(gone.contains("deleted message") && gone.contains("2000-02-29T12:34:56Z"), "{gone}");
        let hidden = article(&event(Message { hidden: true, ..Message::default() }));
        assert!(hidden.contains("for yourself"), "{hidden}");
        let from = User { id: 1, deleted: true, ..User::default() };
        let reply = Message { sequence: 8, from, reply_to: Some(7), edited: 5, ..Message::default() };
        let reply = article(&event(reply));
        assert!(reply.contains("id=\"m8\"") && reply.contains("href=\"#m7\""), "{reply}");
        assert!(reply.contains("deleted user") && reply.contains("(edited)"), "{reply}");
    }
}
