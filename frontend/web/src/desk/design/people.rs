//! Who appears in the scenes, what they say, and where.

use std::sync::Arc;

use quorate_client::proto::frame::{Message, PresenceState, User};
use quorate_client::proto::ids::{ClientMessageId, Sequence};
use quorate_client::signals::Reach;
use quorate_client::view::{ListRow, May, MessageRow, MessageState};
use uuid::Uuid;

use crate::context::Heading;

/// The conversation of all scenes.
pub(super) const ROOM: u64 = 1;

fn user(id: u64, name: &str, display_name: &str) -> User {
    User { id, name: name.to_owned(), display_name: display_name.to_owned(), ..User::default() }
}

/// The reader.
pub(super) fn ana() -> User {
    user(1, "ana", "Ana Brook")
}

/// The other one.
pub(super) fn ben() -> User {
    user(2, "ben", "Benjamin Reed")
}

/// One who writes from right to left.
pub(super) fn dalia() -> User {
    user(3, "dalia", "داليا منصور")
}

/// A program.
pub(super) fn bot() -> User {
    User { bot: true, ..user(4, "weather", "Weather") }
}

/// Now, as a log time; ms.
pub(super) fn now() -> u64 {
    js_sys::Date::now() as u64
}

/// A message that a majority keeps. Its sequence makes its key and its id.
pub(super) fn row(sequence: Sequence, from: User, text: &str) -> MessageRow {
    let own = from.id == ana().id;
    let message = Message {
        sequence,
        from,
        client_message_id: ClientMessageId(Uuid::from_u128(u128::from(sequence))),
        text: text.to_owned(),
        revision: 0,
        reply_to: None,
        edited: 0,
        deleted: false,
        reactions: Vec::new(),
        pinned: false,
        mentions: Vec::new(),
        mentions_all: false,
        forwarded: None,
        hidden: false,
        attachments: Vec::new(),
    };
    MessageRow {
        key: format!("message {sequence}"),
        message: Arc::new(message),
        time: now(),
        head: true,
        own,
        portrait: None,
        state: sent(sequence, Reach::Kept),
        quote: None,
        reactions: Vec::new(),
        edit: None,
        deleting: false,
        saved: false,
        names_reader: false,
        may: May { touch: true, edit: own, delete: own, pin: true, reply: true },
    }
}

/// How far a message has come that is on three of five disks.
pub(super) fn sent(sequence: Sequence, reach: Reach) -> MessageState {
    MessageState::Sent { sequence, index: 1_200 + sequence, term: 7, reach, disks: Some((3, 5)) }
}

/// The same with changes to what was written.
pub(super) fn written(mut row: MessageRow, change: impl FnOnce(&mut Message)) -> MessageRow {
    change(Arc::make_mut(&mut row.message));
    row
}

/// A group that the reader manages.
pub(super) fn group() -> Heading {
    Heading {
        id: ROOM,
        name: "Night shift".to_owned(),
        group: true,
        members: vec![ana(), ben(), dalia(), bot()],
        member_count: 4,
        topic: "Who watches what until the morning".to_owned(),
        manages: true,
        pin_count: 2,
        ..Heading::default()
    }
}

/// A conversation of two.
pub(super) fn direct(presence: PresenceState) -> Heading {
    Heading {
        id: ROOM,
        name: "Benjamin Reed".to_owned(),
        members: vec![ana(), ben()],
        member_count: 2,
        presence: Some(presence),
        ..Heading::default()
    }
}

/// A line of the list; nothing about it is special.
pub(super) fn line(id: u64, name: &str, preview: &str) -> ListRow {
    ListRow {
        id,
        name: name.to_owned(),
        portrait: None,
        group: false,
        bot: false,
        member_count: 2,
        preview: preview.to_owned(),
        time: now(),
        unread: 0,
        pending: false,
        failed: false,
        mentions: 0,
        marked: false,
        muted: false,
        favourite: false,
        folded: false,
        draft: false,
        presence: None,
    }
}
