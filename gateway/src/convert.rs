//! Between the replicas' protobuf messages and the browsers' frames. Pure.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{
    self, Body, ConversationKind, ConversationSummary, EventKind, MeKind, MemberMarks, Message,
    PresenceState, ServerFrame, User,
};
use quorate_proto::ids::{ClientMessageId, TopicRef};
use quorate_proto::rpc::{self, event, topic};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

/// A frame as it goes over the socket.
pub fn encode(frame: &ServerFrame) -> Utf8Bytes {
    // The frames hold no map with non-string keys and no fallible serializer.
    Utf8Bytes::from(serde_json::to_string(frame).expect("every frame is representable as JSON"))
}

/// A user.
pub fn user(user: Option<rpc::UserRef>) -> User {
    let user = user.unwrap_or_default();
    User { id: user.id, name: user.name, display_name: user.display_name }
}

/// A refusal; a word from a newer replica reads as `internal`.
pub fn rejected(rejected: &rpc::Rejected) -> WireError {
    WireError::new(ErrorCode::from_word(&rejected.code), rejected.message.clone())
        .at_revision(rejected.revision)
}

/// The topic of a conversation.
pub fn conversation_topic(id: u64) -> rpc::Topic {
    rpc::Topic { kind: topic::Kind::Conversation as i32, id }
}

/// A user's own topic.
pub fn me_topic(user_id: u64) -> rpc::Topic {
    rpc::Topic { kind: topic::Kind::Me as i32, id: user_id }
}

/// A topic as its reader calls it.
pub fn topic_ref(topic: Option<rpc::Topic>) -> Option<TopicRef> {
    let topic = topic?;
    match topic.kind() {
        topic::Kind::Conversation => Some(TopicRef::Conversation(topic.id)),
        topic::Kind::Me => Some(TopicRef::Me),
        topic::Kind::Unspecified => None,
    }
}

/// The topic that a reader means.
pub fn topic_of(topic: TopicRef, user_id: u64) -> rpc::Topic {
    match topic {
        TopicRef::Me => me_topic(user_id),
        TopicRef::Conversation(id) => conversation_topic(id),
    }
}

/// A conversation's event; `None` for a kind that this version does not know or that belongs to `me`.
pub fn conversation_event(event: rpc::Event) -> Option<frame::Event> {
    let kind = match event.kind? {
        event::Kind::Message(message) => EventKind::Message(Message {
            sequence: message.sequence,
            from: user(message.from),
            client_message_id: ClientMessageId::from_slice(&message.client_message_id)
                .unwrap_or(ClientMessageId(Uuid::nil())),
            text: message.text,
            revision: message.revision,
            reply_to: (message.reply_to != 0).then_some(message.reply_to),
        }),
        event::Kind::Edited(edited) => EventKind::Edit {
            sequence: edited.sequence,
            revision: edited.revision,
            text: edited.text,
            by: user(edited.by),
        },
        event::Kind::Conversation(changed) => {
            EventKind::Conversation { title: changed.title, by: user(changed.by) }
        }
        event::Kind::Member(member) => {
            EventKind::Member { user: user(member.user), joined: member.joined, by: user(member.by) }
        }
        event::Kind::MeAdded(_)
        | event::Kind::MeRemoved(_)
        | event::Kind::MeRead(_)
        | event::Kind::MeSessionEnded(_) => return None,
    };
    Some(frame::Event {
        conversation: event.topic.unwrap_or_default().id,
        version: event.version,
        index: event.index,
        time: event.log_time_ms,
        kind,
    })
}

/// An event of `me`. `summary` tells what is known of a conversation that the user was added to.
pub fn me_event(
    event: &rpc::Event,
    summary: impl FnOnce(u64) -> Option<ConversationSummary>,
) -> Option<frame::MeEvent> {
    let kind = match event.kind.as_ref()? {
        event::Kind::MeAdded(added) => {
            let id = added.conversation_id;
            // Without a summary she is no longer a member: the removal follows, and until then this is what is hers.
            let known = summary(id).unwrap_or_else(|| ConversationSummary {
                id,
                kind: ConversationKind::Group,
                version: added.base_version,
                ..ConversationSummary::default()
            });
            MeKind::Added { conversation: Box::new(known), base_version: added.base_version }
        }
        event::Kind::MeRemoved(removed) => MeKind::Removed { conversation: removed.conversation_id },
        event::Kind::MeRead(read) => {
            MeKind::Read { conversation: read.conversation_id, sequence: read.sequence }
        }
        event::Kind::MeSessionEnded(ended) => MeKind::SessionEnded { session: session(&ended.session_id) },
        event::Kind::Message(_)
        | event::Kind::Edited(_)
        | event::Kind::Conversation(_)
        | event::Kind::Member(_) => return None,
    };
    Some(frame::MeEvent { version: event.version, index: event.index, time: event.log_time_ms, kind })
}

/// A session's id in text.
pub fn session(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).unwrap_or_default().to_string()
}

/// A conversation's summary.
pub fn summary(summary: rpc::ConversationSummary) -> ConversationSummary {
    let kind = match summary.kind() {
        rpc::conversation_summary::Kind::Group => ConversationKind::Group,
        rpc::conversation_summary::Kind::Direct | rpc::conversation_summary::Kind::Unspecified => {
            ConversationKind::Direct
        }
    };
    ConversationSummary {
        id: summary.id,
        kind,
        title: summary.title,
        version: summary.version,
        sequence: summary.sequence,
        read: summary.read,
        unread: summary.unread,
        mentions: summary.mentions,
        member_count: summary.member_count,
        members: summary.members.into_iter().map(|member| user(Some(member))).collect(),
        last_message: summary.last_message.and_then(conversation_event),
    }
}

/// How present somebody is, as others are told it.
pub fn presence(state: rpc::presence::State) -> PresenceState {
    match state {
        rpc::presence::State::Active => PresenceState::Active,
        rpc::presence::State::Idle => PresenceState::Idle,
        rpc::presence::State::Dnd => PresenceState::Dnd,
        rpc::presence::State::Offline | rpc::presence::State::Invisible => PresenceState::Offline,
        rpc::presence::State::Unknown => PresenceState::Unknown,
    }
}

/// How present a client says she is; `None` for what only servers say.
pub fn said_presence(state: PresenceState) -> Option<rpc::presence::State> {
    match state {
        PresenceState::Active => Some(rpc::presence::State::Active),
        PresenceState::Idle => Some(rpc::presence::State::Idle),
        PresenceState::Dnd => Some(rpc::presence::State::Dnd),
        PresenceState::Invisible => Some(rpc::presence::State::Invisible),
        PresenceState::Offline | PresenceState::Unknown => None,
    }
}

/// How far the members have come.
pub fn marks(marks: Vec<rpc::MemberMarks>) -> Vec<MemberMarks> {
    let one = |mark: rpc::MemberMarks| {
        let presence = presence(mark.presence());
        let rpc::Receipt { read, delivered } = mark.receipt.unwrap_or_default();
        MemberMarks { user: mark.user_id, read, delivered, presence }
    };
    marks.into_iter().map(one).collect()
}

/// A page of history.
pub fn page(conversation: u64, result: rpc::HistoryResult, as_of_index: u64) -> Body {
    Body::Page {
        conversation,
        messages: result.messages.into_iter().filter_map(conversation_event).collect(),
        more_before: result.more_before,
        more_after: result.more_after,
        as_of_index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_the_frame_that_the_protocol_shows() {
        let event = rpc::Event {
            topic: Some(conversation_topic(3)),
            version: 9,
            index: 100,
            log_time_ms: 5,
            kind: Some(event::Kind::Message(rpc::Message {
                sequence: 8,
                from: Some(rpc::UserRef { id: 1, name: "ana".into(), display_name: "Ana".into() }),
                client_message_id: vec![7; 16].into(),
                text: "hi".into(),
                reply_to: 0,
                revision: 0,
            })),
        };
        let text = encode(&ServerFrame::push(Body::Event(conversation_event(event).unwrap())));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["type"], "event");
        assert_eq!(json["kind"], "message");
        assert_eq!((json["conversation"].as_u64(), json["sequence"].as_u64()), (Some(3), Some(8)));
        assert_eq!(json["client_message_id"], "07070707-0707-0707-0707-070707070707");
        assert!(json.get("reply_to").is_none() && json.get("reply").is_none());
    }

    #[test]
    fn an_addition_without_a_summary_still_says_where_it_begins() {
        let event = rpc::Event {
            topic: Some(me_topic(1)),
            version: 2,
            index: 7,
            log_time_ms: 5,
            kind: Some(event::Kind::MeAdded(rpc::MeAdded { conversation_id: 4, base_version: 6 })),
        };
        let me = me_event(&event, |_| None).unwrap();
        let MeKind::Added { conversation, base_version } = me.kind else { panic!("not an addition") };
        assert_eq!((conversation.id, conversation.version, base_version), (4, 6, 6));
    }
}
