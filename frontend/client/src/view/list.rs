//! The list of conversations as a person reads it: the newest on top.

use quorate_proto::frame::{ConversationKind, PresenceState};
use quorate_proto::ids::ConversationId;

use super::files::said_of;
use super::markdown::rooms_as_words;
use super::people::{called, one_line};
use super::portrait::Portrait;
use crate::client::Client;
use crate::words::{t, tf};

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    /// Which conversation.
    pub id: ConversationId,
    /// What to call it.
    pub name: String,
    /// Its picture.
    pub portrait: Option<Portrait>,
    /// Whether it is a group.
    pub group: bool,
    /// The other of a direct conversation is a program.
    pub bot: bool,
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
    /// Of what is unread, how much mentions the reader.
    pub mentions: u64,
    /// Marked as unread by the reader herself.
    pub marked: bool,
    /// Silent.
    pub muted: bool,
    /// One of the reader's favourites.
    pub favourite: bool,
    /// Folded away until somebody writes.
    pub folded: bool,
    /// Something was begun to be written there.
    pub draft: bool,
    /// The other of a direct conversation, as far as is known.
    pub presence: Option<PresenceState>,
}

/// All conversations: favourites first, what is folded away last; in each part the newest message on top, then by number.
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
                    let text = said_of(&item.stored.text, &item.stored.attachments);
                    (tf("You: {}", &[&one_line(&text)]), item.stored.created_ms.max(last))
                }
                (None, Some(last)) => {
                    let text = if last.gone { t("Message deleted").to_owned() } else { one_line(&last.text) };
                    let text = if last.from.id == me {
                        tf("You: {}", &[&text])
                    } else if group {
                        format!("{}: {text}", called(&last.from))
                    } else {
                        text
                    };
                    (text, last.time)
                }
                (None, None) => (t("No messages yet").to_owned(), 0),
            };
            let failed = client
                .outbox()
                .of(conversation.id)
                .any(|item| matches!(item.state, crate::outbox::ItemState::Failed(_)));
            let open = client.focused() == Some(conversation.id);
            let draft = client.draft(conversation.id).filter(|draft| !open && !draft.is_empty());
            let (preview, drafted) = match draft {
                Some(draft) => (one_line(&rooms_as_words(&draft.text)), true),
                None => (preview, false),
            };
            ListRow {
                mentions: conversation.mentions,
                marked: conversation.marked_unread(),
                muted: conversation.muted(client.log_time()),
                favourite: conversation.preferences.favourite,
                folded: conversation.folded() && waiting.is_none() && !open,
                draft: drafted,
                presence: conversation.other_presence().filter(|state| *state != PresenceState::Unknown),
                id: conversation.id,
                name: conversation.name(me),
                portrait: conversation.portrait(me),
                group,
                bot: conversation.is_with_bot(),
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
        (row.folded, !row.favourite, std::cmp::Reverse(time), std::cmp::Reverse(row.id))
    });
    rows
}

/// Whether a line of the list answers a query: all of its words begin somewhere in the name, whatever the case.
pub fn matches_query(row: &ListRow, query: &str) -> bool {
    let name = row.name.to_lowercase();
    query.to_lowercase().split_whitespace().all(|word| name.contains(word))
}
