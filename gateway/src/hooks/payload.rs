//! What a webhook is told. Pure.

use quorate_proto::frame::{EventKind, User};
use quorate_proto::rest::{HookCall, HookData};
use quorate_proto::rpc;

use crate::clock::rfc3339;
use crate::convert;

/// One telling, but for its time and signature, which each try has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    /// The event's id for this bot, however often it is told.
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

/// Of a waiting item; `None` when there is nothing to be told: the bot may not see it any more.
pub(super) fn payload(cluster: &str, bot: &User, item: &rpc::HookItem) -> Option<Payload> {
    let event = convert::conversation_event(item.event.clone()?)?;
    let kind = match &event.kind {
        EventKind::Message(_) => "message.created",
        EventKind::Edit { .. } => "message.edited",
        EventKind::Delete { .. } => "message.deleted",
        _ => return None,
    };
    let id = event_id(cluster, bot.id, item.number);
    let call = HookCall {
        id: id.clone(),
        kind: kind.to_owned(),
        timestamp: rfc3339(event.time),
        data: HookData { bot: bot.clone(), event },
    };
    let body = serde_json::to_vec(&call).expect("frames hold no map with other keys than text");
    Some(Payload { id, body })
}

/// The same for the same item for ever, and never another's: numbers of one bot's items rise, and no cluster has another's id. Without
/// dots, which part the signed text.
fn event_id(cluster: &str, bot: u64, number: u64) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let cluster: String = cluster.chars().map(plain).collect();
    format!("{cluster}-{bot}-{number}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::conversation_topic;

    fn bot() -> User {
        User { id: 9, name: "robin".into(), display_name: "Robin".into(), bot: true, ..User::default() }
    }

    fn item(kind: rpc::event::Kind) -> rpc::HookItem {
        let event = rpc::Event {
            topic: Some(conversation_topic(3)),
            version: 4,
            index: 5,
            log_time_ms: 951_827_696_789,
            kind: Some(kind),
        };
        rpc::HookItem { number: 12, event: Some(event), since_ms: 951_827_696_789 }
    }

    fn told(kind: rpc::event::Kind) -> Value {
        serde_json::from_slice(&payload("c-1.x", &bot(), &item(kind)).expect("something").body).expect("JSON")
    }

    #[test]
    fn what_happened_is_told_as_a_session_hears_it() {
        let message =
            rpc::Message { sequence: 8, text: "@robin hi".into(), mentions: vec![9], ..Default::default() };
        let json = told(rpc::event::Kind::Message(message));
        assert_eq!(json["id"], "c-1_x-9-12");
        assert_eq!(json["type"], "message.created");
        assert_eq!(json["timestamp"], "2000-02-29T12:34:56Z");
        assert_eq!(
            json["data"]["bot"],
            json!({"id": 9, "name": "robin", "display_name": "Robin", "bot": true})
        );
        let event = &json["data"]["event"];
        assert_eq!(
            (&event["conversation"], &event["version"], &event["text"]),
            (&json!(3), &json!(4), &json!("@robin hi"))
        );
        let edited = rpc::EditedMessage { sequence: 8, text: "hello".into(), ..Default::default() };
        assert_eq!(told(rpc::event::Kind::Edited(edited))["type"], "message.edited");
        let deleted = rpc::MessagesDeleted { sequences: vec![8], ..Default::default() };
        assert_eq!(told(rpc::event::Kind::Deleted(deleted))["type"], "message.deleted");
    }

    #[test]
    fn what_the_bot_may_not_see_and_what_is_no_message_is_not_told() {
        let hidden = rpc::HookItem { number: 1, event: None, since_ms: 0 };
        assert_eq!(payload("c", &bot(), &hidden), None);
        assert_eq!(payload("c", &bot(), &item(rpc::event::Kind::Pin(rpc::PinChanged::default()))), None);
    }
}
