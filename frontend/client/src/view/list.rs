//! The list of conversations as a person reads it: the newest on top.

use quorate_proto::frame::ConversationKind;
use quorate_proto::ids::ConversationId;

use super::people::called;
use crate::client::Client;

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    /// Which conversation.
    pub id: ConversationId,
    /// What to call it.
    pub name: String,
    /// Whether it is a group.
    pub group: bool,
    /// How many members.
    pub member_count: u32,
    /// The newest message in one line, with its author where that is not obvious.
    pub preview: String,
    /// When that was, log time in ms; 0 if there is none.
    pub time: u64,
    /// Messages of others after the read mark.
    pub unread: u64,
    /// The newest own message is not committed yet.
    pub pending: bool,
    /// An own message was refused.
    pub failed: bool,
}

/// All conversations, the newest message on top, then by number.
pub fn list(client: &Client) -> Vec<ListRow> {
    let me = client.me().map_or(0, |user| user.id);
    let mut rows: Vec<ListRow> = client
        .conversations()
        .map(|conversation| {
            let group = conversation.kind == ConversationKind::Group;
            let waiting = client.outbox().of(conversation.id).last();
            let (preview, time) = match (waiting, &conversation.preview) {
                (Some(item), last) => {
                    // An old item that waits does not make its conversation older.
                    let last = last.as_ref().map_or(0, |last| last.time);
                    (format!("You: {}", one_line(&item.stored.text)), item.stored.created_ms.max(last))
                }
                (None, Some(last)) => {
                    let text = one_line(&last.text);
                    let text = if last.from.id == me {
                        format!("You: {text}")
                    } else if group {
                        format!("{}: {text}", called(&last.from))
                    } else {
                        text
                    };
                    (text, last.time)
                }
                (None, None) => ("No messages yet".to_owned(), 0),
            };
            let failed = client
                .outbox()
                .of(conversation.id)
                .any(|item| matches!(item.state, crate::outbox::ItemState::Failed(_)));
            ListRow {
                id: conversation.id,
                name: conversation.name(me),
                group,
                member_count: conversation.member_count,
                preview,
                time,
                unread: conversation.unread,
                pending: waiting.is_some(),
                failed,
            }
        })
        .collect();
    // A conversation without a message yet was just made: it belongs on top, where its maker looks for it.
    rows.sort_by_key(|row| {
        let time = if row.time == 0 { u64::MAX } else { row.time };
        (std::cmp::Reverse(time), std::cmp::Reverse(row.id))
    });
    rows
}

/// Whether a line of the list answers a query: all of its words begin somewhere in the name, whatever the case.
pub fn matches_query(row: &ListRow, query: &str) -> bool {
    let name = row.name.to_lowercase();
    query.to_lowercase().split_whitespace().all(|word| name.contains(word))
}

fn one_line(text: &str) -> String {
    /// Enough for one line of any screen.
    const CHARS_MAX: usize = 120;
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(CHARS_MAX).collect()
}
