//! Between the replicas' protobuf messages and the browsers' frames. Pure.

mod event;
mod found;
mod summary;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Attachment, Body, MemberMarks, MemberRole, PresenceState, ServerFrame, User};
use quorate_proto::ids::TopicRef;
use quorate_proto::rpc::{self, topic};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

pub use event::{conversation_event, me_event};
pub use found::{
    admin_users, audit, bans, channel, channels, invites, members, messages, reactions, reports, revisions,
    scheduled, sessions, user_profile,
};
pub use summary::{preferences, summary};

/// A frame as it goes over the socket.
pub fn encode(frame: &ServerFrame) -> Utf8Bytes {
    // The frames hold no map with non-string keys and no fallible serializer.
    Utf8Bytes::from(serde_json::to_string(frame).expect("every frame is representable as JSON"))
}

/// A user.
pub fn user(user: Option<rpc::UserRef>) -> User {
    let user = user.unwrap_or_default();
    User {
        id: user.id,
        name: user.name,
        display_name: user.display_name,
        deleted: user.deleted,
        bot: user.bot,
        avatar: avatar(&user.avatar),
    }
}

/// A picture, by its file's id; none when it is no id.
pub fn avatar(file_id: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(file_id).ok()
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

/// What a member may do; what a newer replica says beyond it reads as the least.
pub fn role(number: u32) -> MemberRole {
    match number {
        2 => MemberRole::Owner,
        3 => MemberRole::Admin,
        _ => MemberRole::Member,
    }
}

/// A file as a message shows it.
pub fn attachment(file: rpc::Attachment) -> Attachment {
    let pixels = |number: u32| (number != 0).then_some(number);
    Attachment {
        file: Uuid::from_slice(&file.file_id).unwrap_or_default(),
        name: file.name,
        media_type: file.media_type,
        size: file.size,
        width: pixels(file.width),
        height: pixels(file.height),
        thumbnail: file.has_thumbnail,
    }
}

/// The number of a role between processes.
pub fn role_number(role: MemberRole) -> u32 {
    match role {
        MemberRole::Member => 1,
        MemberRole::Owner => 2,
        MemberRole::Admin => 3,
    }
}

/// A number that is 0 when there is none.
pub fn some(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// A session's id in text.
pub fn session(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).unwrap_or_default().to_string()
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
