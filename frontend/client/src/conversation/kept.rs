//! A conversation as a text that a device keeps, and from it.
//!
//! The text is what servers say: a summary and messages as events, so that what reads those reads this. The messages are kept with the
//! index as of which each is true; so a conversation that comes back is one whose socket was away, and the rules for that hold.

use quorate_proto::frame::{
    ConversationKind, ConversationSummary, Event, MemberRole, Message, Preferences, SequenceRange, User,
};
use quorate_proto::ids::{ClientMessageId, ConversationId, Index, Sequence, UserId, Version};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Conversation;

/// Messages kept of one conversation: a page of history.
pub const KEPT_MESSAGES_MAX: usize = 50;
/// Bytes of messages kept of one conversation; beyond it the older ones are left out.
pub const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A [`ConversationSummary`] to be written, without copies.
#[derive(Serialize)]
struct Summary<'a> {
    id: ConversationId,
    kind: ConversationKind,
    title: &'a str,
    version: Version,
    sequence: Sequence,
    read: Sequence,
    unread: u64,
    mentions: u64,
    member_count: u32,
    members: &'a [User],
    topic: &'a str,
    public: bool,
    announcement: bool,
    retention_ms: u64,
    role: MemberRole,
    preferences: &'a Preferences,
    hidden: &'a [SequenceRange],
    pin_count: u32,
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<Uuid>,
}

/// What is written beside the summary.
#[derive(Serialize)]
struct Around<'a> {
    summary: Summary<'a>,
    as_of: Vec<Index>,
    loaded: bool,
    more_before: bool,
}

impl Conversation {
    /// Whether messages are kept with it.
    pub(crate) fn is_kept_full(&self) -> bool {
        self.timeline.loaded
    }

    /// Another number when there is something else to keep. An event counts by its version.
    pub(crate) fn kept_mark(&self) -> u64 {
        let preferences = &self.preferences;
        let flags = [
            self.timeline.loaded,
            preferences.favourite,
            preferences.archived,
            preferences.no_receipts,
            preferences.suggestions,
            self.blocked,
        ];
        let flags = flags.iter().fold(1, |all, flag| all << 1 | u64::from(*flag));
        let numbers = [
            self.version,
            self.read_confirmed,
            self.unread,
            self.mentions,
            preferences.muted_until,
            preferences.unread_from,
            flags,
        ];
        let hidden = self.hidden.iter().flat_map(|range| [range.first, range.last]);
        // FNV-1a, a number at a time: it only has to tell one state from the next.
        numbers.into_iter().chain(hidden).fold(0xcbf2_9ce4_8422_2325, |mark: u64, number| {
            (mark ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        })
    }

    /// The text; `None` if it cannot be written, which none is known to do.
    pub(crate) fn kept_text(&self) -> Option<String> {
        let (mut texts, mut as_of, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut more_before = self.timeline.more_before;
        let run = self.timeline.run().rev().filter(|_| self.timeline.loaded);
        for (_, entry) in run {
            let text = event(self.id, entry.index, entry.time, &entry.message)?;
            bytes += text.len();
            if texts.len() == KEPT_MESSAGES_MAX || bytes > KEPT_BYTES_MAX {
                more_before = true;
                break;
            }
            texts.insert(0, text);
            as_of.insert(0, entry.true_as_of());
        }
        let last = match &self.preview {
            // The list shows it where no messages are kept.
            Some(preview) => {
                let message = Message {
                    sequence: preview.sequence,
                    from: preview.from.clone(),
                    client_message_id: ClientMessageId::default(),
                    text: preview.text.clone(),
                    deleted: preview.gone,
                    ..Message::default()
                };
                event(self.id, 0, preview.time, &message)?
            }
            None => "null".to_owned(),
        };
        let around = Around { summary: self.to_summary(), as_of, loaded: self.timeline.loaded, more_before };
        let around = serde_json::to_string(&around).ok()?;
        Some(format!("{{\"events\":[{}],\"last\":{last},{}", texts.join(","), around.strip_prefix('{')?))
    }

    /// The read mark is the one that the server has confirmed: one that is under way is asked of its reader again.
    fn to_summary(&self) -> Summary<'_> {
        Summary {
            id: self.id,
            kind: self.kind,
            title: &self.title,
            version: self.version,
            sequence: self.sequence,
            read: self.read_confirmed,
            unread: self.unread,
            mentions: self.mentions,
            member_count: self.member_count,
            members: &self.members,
            topic: &self.topic,
            public: self.public,
            announcement: self.announcement,
            retention_ms: self.retention_ms,
            role: self.role,
            preferences: &self.preferences,
            hidden: &self.hidden,
            pin_count: self.pin_count,
            blocked: self.blocked,
            avatar: self.avatar,
        }
    }

    /// From such a text; `None` if it is none, or one of another program.
    pub(crate) fn from_kept(text: &str, reader: UserId) -> Option<Self> {
        let mut tree: Value = serde_json::from_str(text).ok()?;
        let mut take = |name: &str| tree.get_mut(name).map(Value::take);
        let summary: ConversationSummary = serde_json::from_value(take("summary")?).ok()?;
        let events: Vec<Event> = serde_json::from_value(take("events")?).ok()?;
        let as_of: Vec<Index> = serde_json::from_value(take("as_of")?).ok()?;
        let last: Option<Event> = serde_json::from_value(take("last")?).ok()?;
        let (loaded, more_before) = (take("loaded")?.as_bool()?, take("more_before")?.as_bool()?);
        if events.len() != as_of.len() {
            return None;
        }
        let mut conversation = Self::from_summary(&summary, reader);
        for (event, as_of) in events.iter().zip(as_of) {
            conversation.timeline.insert(event, as_of);
        }
        conversation.timeline.loaded = loaded;
        conversation.timeline.more_before = more_before;
        for range in &summary.hidden {
            conversation.timeline.hide(*range);
        }
        conversation.take_preview(last.as_ref());
        conversation.recount();
        Some(conversation)
    }
}

/// A message as its event would be told. By hand: an event's own writing brings that of all kinds along, which nobody here needs.
fn event(id: ConversationId, index: Index, time: u64, message: &Message) -> Option<String> {
    let message = serde_json::to_string(message).ok()?;
    let message = message.strip_prefix('{')?;
    Some(format!(
        "{{\"conversation\":{id},\"version\":0,\"index\":{index},\"time\":{time},\"kind\":\"message\",{message}"
    ))
}

#[cfg(test)]
mod tests {
    use quorate_proto::frame::EventKind;

    use super::*;

    fn message(sequence: Sequence, text: &str) -> Event {
        let from = User { id: 2, name: "ben".into(), ..User::default() };
        let client_message_id =
            ClientMessageId::from_slice(&u128::from(sequence).to_be_bytes()).expect("16 bytes");
        let text = text.to_owned();
        let kind =
            EventKind::Message(Message { sequence, from, client_message_id, text, ..Message::default() });
        Event { conversation: 7, version: sequence, index: sequence * 10, time: 1_000 + sequence, kind }
    }

    /// A conversation whose messages are all here.
    fn full(messages: u64, text: &str) -> Conversation {
        let summary = ConversationSummary {
            id: 7,
            kind: ConversationKind::Group,
            title: "Tea \"at\" four".into(),
            members: vec![User { id: 1, name: "ana".into(), ..User::default() }],
            member_count: 1,
            role: MemberRole::Admin,
            retention_ms: 5,
            preferences: Preferences { favourite: true, ..Preferences::default() },
            avatar: Some(Uuid::from_u128(9)),
            ..ConversationSummary::default()
        };
        let mut conversation = Conversation::from_summary(&summary, 1);
        conversation.timeline.loaded = true;
        for sequence in 1..=messages {
            conversation.take(message(sequence, text));
        }
        conversation.hide(SequenceRange { first: 2, last: 3 });
        conversation
    }

    fn back(conversation: &Conversation) -> Conversation {
        Conversation::from_kept(&conversation.kept_text().expect("a text"), 1).expect("a conversation")
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let was = full(5, "hello");
        let is = back(&was);
        assert_eq!(is.kept_text(), was.kept_text());
        assert_eq!(is.kept_mark(), was.kept_mark());
        let shown = |conversation: &Conversation| {
            conversation.timeline.run().map(|(_, entry)| entry.message.clone()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&is), shown(&was));
        assert!(shown(&is)[1].hidden && shown(&is)[1].text.is_empty());
        assert_eq!((is.version, is.sequence, is.unread), (was.version, was.sequence, was.unread));
        assert_eq!((&is.preview, &is.title, &is.members), (&was.preview, &was.title, &was.members));
        assert_eq!((is.role, is.retention_ms, is.avatar), (was.role, was.retention_ms, was.avatar));
        assert_eq!((&is.preferences, &is.hidden), (&was.preferences, &was.hidden));
    }

    #[test]
    fn the_newest_are_kept_and_what_was_left_out_can_be_asked_for() {
        let is = back(&full(80, "hello"));
        assert_eq!(is.timeline.first(), Some(31));
        assert!(is.timeline.more_before);
        let is = back(&full(20, &"x".repeat(10_000)));
        assert_eq!((is.timeline.first(), is.timeline.last()), (Some(15), Some(20)), "six are 60 kB");
    }

    #[test]
    fn without_its_messages_a_conversation_has_its_preview() {
        let mut was = full(3, "hello");
        was.timeline.loaded = false;
        let is = back(&was);
        assert!(!is.timeline.loaded && is.timeline.run().next().is_none());
        assert_eq!(is.preview, was.preview);
    }

    #[test]
    fn a_read_mark_under_way_is_not_kept_as_one_that_arrived() {
        let mut was = full(5, "hello");
        was.mark_read(4);
        let is = back(&was);
        assert_eq!((is.read, is.read_confirmed), (0, 0));
        assert_eq!(is.unread, 5);
    }

    #[test]
    fn a_deleted_message_leaves_nothing_behind() {
        let mut was = full(3, "the secret");
        let before = was.kept_mark();
        let by = User { id: 2, ..User::default() };
        let kind = EventKind::Delete { sequences: vec![1, 2, 3], by };
        was.take(Event { conversation: 7, version: 4, index: 99, time: 9, kind });
        assert_ne!(was.kept_mark(), before);
        assert!(!was.kept_text().expect("a text").contains("the secret"));
    }

    #[test]
    fn what_is_no_such_text_is_none() {
        for text in ["", "{}", "[1]", "{\"summary\":{},\"events\":[],\"as_of\":[]}"] {
            assert!(Conversation::from_kept(text, 1).is_none(), "{text}");
        }
        let text = full(2, "a").kept_text().expect("a text");
        assert!(Conversation::from_kept(&text.replace("\"as_of\":[", "\"as_of\":[4,"), 1).is_none());
    }
}
