//! Durable events: what happened, as clients are told it. One form for every reader.

use quorate_proto::frame::{
    self, ConversationKind, ConversationSummary, EventKind, Forwarded, MeKind, Message, Reaction,
    ScheduledItem, ScheduledState, SequenceRange,
};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::rpc::{self, event, me_scheduled};
use uuid::Uuid;

use super::{attachment, avatar, preferences, role, session, some, user};

/// A conversation's event; `None` for a kind that this version does not know or that belongs to `me`.
pub fn conversation_event(event: rpc::Event) -> Option<frame::Event> {
    let kind = match event.kind? {
        event::Kind::Message(sent) => EventKind::Message(message(sent)),
        event::Kind::Edited(edited) => EventKind::Edit {
            sequence: edited.sequence,
            revision: edited.revision,
            text: edited.text,
            by: user(edited.by),
        },
        event::Kind::Conversation(changed) => EventKind::Conversation {
            title: changed.title,
            by: user(changed.by),
            topic: changed.topic,
            public: changed.public,
            announcement: changed.announcement,
            retention_ms: changed.retention_ms,
            avatar: avatar(&changed.avatar),
        },
        event::Kind::Member(member) => EventKind::Member {
            user: user(member.user),
            joined: member.joined,
            by: user(member.by),
            banned: member.banned,
        },
        event::Kind::Deleted(deleted) => {
            EventKind::Delete { sequences: deleted.sequences, by: user(deleted.by) }
        }
        event::Kind::Reaction(changed) => EventKind::Reaction {
            sequence: changed.sequence,
            emoji: changed.emoji,
            user: user(changed.user),
            on: changed.on,
        },
        event::Kind::Pin(pin) => EventKind::Pin { sequence: pin.sequence, on: pin.on, by: user(pin.by) },
        event::Kind::Role(changed) => {
            EventKind::Role { user: user(changed.user), role: role(changed.role), by: user(changed.by) }
        }
        event::Kind::MeAdded(_)
        | event::Kind::MeRemoved(_)
        | event::Kind::MeRead(_)
        | event::Kind::MeSessionEnded(_)
        | event::Kind::MePreferred(_)
        | event::Kind::MeHidden(_)
        | event::Kind::MeSaved(_)
        | event::Kind::MeDraft(_)
        | event::Kind::MeScheduled(_)
        | event::Kind::MeProfile(_)
        | event::Kind::MeBlocked(_) => return None,
    };
    Some(frame::Event {
        conversation: event.topic.unwrap_or_default().id,
        version: event.version,
        index: event.index,
        time: event.log_time_ms,
        kind,
    })
}

fn message(message: rpc::Message) -> Message {
    let reaction = |reaction: rpc::Reaction| Reaction {
        emoji: reaction.emoji,
        count: reaction.count,
        users: reaction.user_ids,
        mine: reaction.mine,
    };
    let forwarded = |from: rpc::Forwarded| Forwarded { from: user(from.from), time: from.log_time_ms };
    Message {
        sequence: message.sequence,
        from: user(message.from),
        client_message_id: ClientMessageId::from_slice(&message.client_message_id)
            .unwrap_or(ClientMessageId(Uuid::nil())),
        text: message.text,
        revision: message.revision,
        reply_to: some(message.reply_to),
        edited: message.edited_ms,
        deleted: message.deleted,
        reactions: message.reactions.into_iter().map(reaction).collect(),
        pinned: message.pinned,
        mentions: message.mentions,
        mentions_all: message.mentions_all,
        forwarded: message.forwarded.map(forwarded),
        hidden: message.hidden,
        attachments: message.attachments.into_iter().map(attachment).collect(),
    }
}

/// Something scheduled.
pub(super) fn scheduled_item(item: rpc::ScheduledItem) -> ScheduledItem {
    ScheduledItem {
        id: item.id,
        conversation: item.conversation_id,
        text: item.text,
        reply_to: some(item.reply_to),
        at: item.due_ms,
        remind_of: some(item.remind_of),
    }
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
        event::Kind::MePreferred(preferred) => MeKind::Preferences {
            conversation: preferred.conversation_id,
            preferences: preferences(preferred.preferences.unwrap_or_default()),
        },
        event::Kind::MeHidden(hidden) => MeKind::Hidden {
            conversation: hidden.conversation_id,
            range: SequenceRange { first: hidden.first, last: hidden.last },
        },
        event::Kind::MeSaved(saved) => {
            MeKind::Saved { conversation: saved.conversation_id, sequence: saved.sequence, on: saved.on }
        }
        event::Kind::MeDraft(draft) => MeKind::Draft {
            conversation: draft.conversation_id,
            text: draft.text.clone(),
            reply_to: some(draft.reply_to),
        },
        event::Kind::MeScheduled(scheduled) => MeKind::Scheduled {
            item: scheduled_item(scheduled.item.clone().unwrap_or_default()),
            state: match scheduled.state() {
                me_scheduled::State::Cancelled => ScheduledState::Cancelled,
                me_scheduled::State::Fired => ScheduledState::Fired,
                me_scheduled::State::Failed => ScheduledState::Failed,
                me_scheduled::State::Waiting | me_scheduled::State::Unspecified => ScheduledState::Waiting,
            },
            why: scheduled.why.clone(),
            sequence: some(scheduled.sequence),
        },
        event::Kind::MeProfile(profile) => {
            MeKind::Profile { user: user(profile.user.clone()), status: profile.status.clone() }
        }
        event::Kind::MeBlocked(blocked) => {
            MeKind::Blocked { user: user(blocked.user.clone()), on: blocked.on }
        }
        event::Kind::Message(_)
        | event::Kind::Edited(_)
        | event::Kind::Conversation(_)
        | event::Kind::Member(_)
        | event::Kind::Deleted(_)
        | event::Kind::Reaction(_)
        | event::Kind::Pin(_)
        | event::Kind::Role(_) => return None,
    };
    Some(frame::MeEvent { version: event.version, index: event.index, time: event.log_time_ms, kind })
}

#[cfg(test)]
mod tests {
    use quorate_proto::frame::{Body, ServerFrame};
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::{conversation_topic, encode, me_topic};

    fn ana() -> Option<rpc::UserRef> {
        Some(rpc::UserRef { id: 1, name: "ana".into(), display_name: "Ana".into(), ..Default::default() })
    }

    fn event(topic: rpc::Topic, kind: event::Kind) -> rpc::Event {
        rpc::Event { topic: Some(topic), version: 9, index: 100, log_time_ms: 5, kind: Some(kind) }
    }

    fn told(kind: event::Kind) -> Value {
        let event = conversation_event(event(conversation_topic(3), kind)).unwrap();
        serde_json::from_str(&encode(&ServerFrame::push(Body::Event(event)))).unwrap()
    }

    fn told_me(kind: event::Kind) -> Value {
        let event = event(me_topic(1), kind);
        assert!(conversation_event(event.clone()).is_none(), "of `me` alone");
        let me = me_event(&event, |_| None).unwrap();
        serde_json::from_str(&encode(&ServerFrame::push(Body::Me(me)))).unwrap()
    }

    fn has(told: &Value, fields: Value) {
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&told[name], value, "{name} of {told}");
        }
    }

    #[test]
    fn a_message_becomes_the_frame_that_the_protocol_shows() {
        let sent = rpc::Message {
            sequence: 8,
            from: ana(),
            client_message_id: vec![7; 16].into(),
            text: "hi".into(),
            ..rpc::Message::default()
        };
        let json = told(event::Kind::Message(sent));
        has(&json, json!({"type": "event", "kind": "message", "conversation": 3, "sequence": 8}));
        assert_eq!(json["client_message_id"], "07070707-0707-0707-0707-070707070707");
        for absent in ["reply_to", "reply", "edited", "reactions", "deleted", "mentions", "forwarded"] {
            assert!(json.get(absent).is_none(), "{absent} of {json}");
        }
    }

    #[test]
    fn what_became_of_a_message_is_told_with_it() {
        let reaction = rpc::Reaction { emoji: "👍".into(), count: 2, user_ids: vec![1, 2], mine: true };
        let sent = rpc::Message {
            edited_ms: 4,
            revision: 1,
            reactions: vec![reaction],
            pinned: true,
            mentions: vec![1],
            mentions_all: true,
            forwarded: Some(rpc::Forwarded { from: ana(), log_time_ms: 2 }),
            hidden: true,
            ..rpc::Message::default()
        };
        let json = told(event::Kind::Message(sent));
        has(
            &json,
            json!({"edited": 4, "pinned": true, "mentions": [1], "mentions_all": true, "hidden": true}),
        );
        assert_eq!(json["reactions"], json!([{"emoji": "👍", "count": 2, "users": [1, 2], "mine": true}]));
        assert_eq!(
            (&json["forwarded"]["from"]["name"], &json["forwarded"]["time"]),
            (&json!("ana"), &json!(2))
        );
        let gone = rpc::Message { deleted: true, ..rpc::Message::default() };
        assert_eq!(told(event::Kind::Message(gone))["deleted"], true);
    }

    #[test]
    fn what_happens_in_a_conversation_is_told_in_its_words() {
        let by = ana;
        let deleted = rpc::MessagesDeleted { sequences: vec![4, 5], by: by() };
        has(&told(event::Kind::Deleted(deleted)), json!({"kind": "delete", "sequences": [4, 5]}));
        let reaction = rpc::ReactionChanged { sequence: 4, emoji: "👍".into(), user: by(), on: true };
        has(&told(event::Kind::Reaction(reaction)), json!({"kind": "reaction", "emoji": "👍", "on": true}));
        let pin = rpc::PinChanged { sequence: 4, on: false, by: by() };
        has(&told(event::Kind::Pin(pin)), json!({"kind": "pin", "sequence": 4, "on": false}));
        for (number, word) in [(1, "member"), (2, "owner"), (3, "admin"), (9, "member")] {
            let changed = rpc::RoleChanged { user: by(), role: number, by: by() };
            has(&told(event::Kind::Role(changed)), json!({"kind": "role", "role": word}));
        }
        let member = rpc::MemberChanged { user: by(), joined: false, by: by(), banned: true };
        has(&told(event::Kind::Member(member)), json!({"kind": "member", "joined": false, "banned": true}));
        let changed = rpc::ConversationChanged {
            title: "Lunch".into(),
            topic: "food".into(),
            public: true,
            announcement: true,
            retention_ms: 7,
            by: by(),
            avatar: vec![6; 16].into(),
        };
        let avatar = Uuid::from_bytes([6; 16]);
        let fields = json!({"topic": "food", "public": true, "announcement": true, "retention_ms": 7,
                            "avatar": avatar});
        has(&told(event::Kind::Conversation(changed)), fields);
        let bob = rpc::UserRef { id: 2, avatar: vec![6; 16].into(), ..rpc::UserRef::default() };
        let pin = rpc::PinChanged { sequence: 4, on: true, by: Some(bob) };
        assert_eq!(told(event::Kind::Pin(pin))["by"]["avatar"], json!(avatar));
        let nobody = rpc::UserRef { id: 2, deleted: true, ..rpc::UserRef::default() };
        let pin = rpc::PinChanged { sequence: 4, on: true, by: Some(nobody) };
        assert_eq!(
            told(event::Kind::Pin(pin))["by"],
            json!({"id":2,"name":"","display_name":"","deleted":true})
        );
    }

    #[test]
    fn what_is_the_readers_own_is_told_to_her_alone() {
        let preferred = rpc::Preferences { muted_until_ms: 8, favourite: true, ..Default::default() };
        let preferred = rpc::MePreferred { conversation_id: 3, preferences: Some(preferred) };
        let json = told_me(event::Kind::MePreferred(preferred));
        has(&json, json!({"kind": "preferences", "preferences": {"muted_until": 8, "favourite": true}}));
        let hidden = rpc::MeHidden { conversation_id: 3, first: 4, last: 6 };
        has(&told_me(event::Kind::MeHidden(hidden)), json!({"kind": "hidden", "first": 4, "last": 6}));
        let saved = rpc::MeSaved { conversation_id: 3, sequence: 4, on: true };
        has(&told_me(event::Kind::MeSaved(saved)), json!({"kind": "saved", "sequence": 4, "on": true}));
        let draft = rpc::MeDraft { conversation_id: 3, text: "hal".into(), reply_to: 2 };
        has(&told_me(event::Kind::MeDraft(draft)), json!({"kind": "draft", "text": "hal", "reply_to": 2}));
        let item = rpc::ScheduledItem { id: 1, conversation_id: 3, due_ms: 9, ..Default::default() };
        for (state, word) in [
            (me_scheduled::State::Waiting, "waiting"),
            (me_scheduled::State::Cancelled, "cancelled"),
            (me_scheduled::State::Fired, "fired"),
            (me_scheduled::State::Failed, "failed"),
        ] {
            let item = Some(item.clone());
            let why = rpc::MeScheduled { item, state: state.into(), why: "no".into(), sequence: 0 };
            let json = told_me(event::Kind::MeScheduled(why));
            has(&json, json!({"kind": "scheduled", "state": word, "why": "no"}));
            has(&json["item"], json!({"id": 1, "conversation": 3, "at": 9}));
        }
        let profile = rpc::MeProfile { user: ana(), status: "away".into() };
        has(&told_me(event::Kind::MeProfile(profile)), json!({"kind": "profile", "status": "away"}));
        let blocked = rpc::MeBlocked { user: ana(), on: true };
        has(&told_me(event::Kind::MeBlocked(blocked)), json!({"kind": "blocked", "on": true}));
    }

    #[test]
    fn an_addition_without_a_summary_still_says_where_it_begins() {
        let added = event::Kind::MeAdded(rpc::MeAdded { conversation_id: 4, base_version: 6 });
        let me = me_event(&event(me_topic(1), added), |_| None).unwrap();
        let MeKind::Added { conversation, base_version } = me.kind else { panic!("not an addition") };
        assert_eq!((conversation.id, conversation.version, base_version), (4, 6, 6));
    }
}
