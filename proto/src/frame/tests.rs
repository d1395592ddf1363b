use super::*;
use crate::error::WireError;
use crate::ids::{ClientMessageId, TopicRef};

fn id() -> ClientMessageId {
    "0191e2b8-4c6f-7000-8000-000000000001".parse().expect("a UUID")
}

#[test]
fn a_send_reads_as_the_specification_writes_it() {
    let json = r#"{"type":"send","id":7,"conversation":3,"client_message_id":"0191e2b8-4c6f-7000-8000-000000000001","text":"hi","unknown":1}"#;
    let frame: ClientFrame = serde_json::from_str(json).expect("a send");
    assert_eq!(frame.id, 7);
    let Request::Send(send) = frame.request else { panic!("not a send: {frame:?}") };
    assert_eq!((send.conversation, send.text.as_str(), send.client_message_id), (3, "hi", id()));
}

#[test]
fn a_reply_is_told_from_a_push_by_its_reply_field() {
    let reply = serde_json::to_value(ServerFrame::reply(7, Body::Ok)).expect("json");
    assert_eq!(reply, serde_json::json!({"reply": 7, "type": "ok"}));
    let push = serde_json::to_value(ServerFrame::push(Body::Ping { n: 1, index: 9, log_time: 5, time: 6 }))
        .expect("json");
    assert_eq!(push, serde_json::json!({"type":"ping","n":1,"index":9,"log_time":5,"time":6}));
}

#[test]
fn events_survive_the_round_trip() {
    let event = Event {
        conversation: 3,
        version: 9,
        index: 100,
        time: 1,
        kind: EventKind::Message(Message {
            sequence: 8,
            from: User { id: 1, name: "ana".into(), display_name: "Ana".into(), ..User::default() },
            client_message_id: id(),
            text: "hé".into(),
            revision: 0,
            ..Message::default()
        }),
    };
    let frame = ServerFrame::push(Body::Event(event));
    let json = serde_json::to_string(&frame).expect("json");
    assert!(json.contains(r#""type":"event""#) && json.contains(r#""kind":"message""#), "{json}");
    assert_eq!(serde_json::from_str::<ServerFrame>(&json).expect("reads back"), frame);
}

#[test]
fn an_edit_and_its_event_read_as_the_specification_writes_them() {
    let json = r#"{"type":"edit","id":8,"conversation":3,"sequence":5,"client_message_id":"0191e2b8-4c6f-7000-8000-000000000001","text":"ho","if_revision":1,"first_sent":0}"#;
    let frame: ClientFrame = serde_json::from_str(json).expect("an edit");
    let Request::Edit(edit) = &frame.request else { panic!("not an edit: {frame:?}") };
    assert_eq!((edit.sequence, edit.if_revision, edit.text.as_str()), (5, Some(1), "ho"));
    let again: serde_json::Value = serde_json::to_value(&frame).expect("json");
    assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("json"));
    let json = serde_json::json!({"type":"event","conversation":3,"version":9,"index":100,"time":1,"kind":"edit",
        "sequence":5,"revision":2,"text":"ho","by":{"id":1,"name":"ana","display_name":"Ana"}});
    let by = User { id: 1, name: "ana".into(), display_name: "Ana".into(), ..User::default() };
    let kind = EventKind::Edit { sequence: 5, revision: 2, text: "ho".into(), by };
    let event = Event { conversation: 3, version: 9, index: 100, time: 1, kind };
    let frame = ServerFrame::push(Body::Event(event));
    assert_eq!(serde_json::to_value(&frame).expect("json"), json);
    assert_eq!(serde_json::from_value::<ServerFrame>(json).expect("reads back"), frame);
}

#[test]
fn a_conflict_says_which_revision_is_there() {
    let error = WireError::new(crate::error::ErrorCode::Conflict, "changed").at_revision(Some(4));
    let json = serde_json::to_value(ServerFrame::error(8, error)).expect("json");
    let error = serde_json::json!({"code":"conflict","message":"changed","temporary":false,"revision":4});
    assert_eq!(json, serde_json::json!({"reply":8,"type":"error","error":error}));
}

#[test]
fn signals_read_as_the_specification_writes_them() {
    let asked = [
        (r#"{"type":"open","id":3,"conversation":5}"#, Request::Open { conversation: 5, signals: true }),
        (
            r#"{"type":"open","id":3,"conversation":5,"signals":false}"#,
            Request::Open { conversation: 5, signals: false },
        ),
        (r#"{"type":"close","id":3,"conversation":5}"#, Request::Close { conversation: 5 }),
        (r#"{"type":"typing","id":3,"conversation":5}"#, Request::Typing { conversation: 5 }),
        (r#"{"type":"presence","id":3,"state":"dnd"}"#, Request::Presence { state: PresenceState::Dnd }),
        (
            r#"{"type":"delivered","id":3,"conversation":5,"sequence":9}"#,
            Request::Delivered { conversation: 5, sequence: 9 },
        ),
    ];
    for (json, request) in asked {
        let frame: ClientFrame = serde_json::from_str(json).expect(json);
        assert_eq!(frame, ClientFrame { id: 3, request });
        let again = serde_json::to_value(&frame).expect("json");
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("json"));
    }
    let ana = User { id: 7, name: "ana".into(), display_name: "Ana".into(), ..User::default() };
    let said = [
        (
            SignalKind::Typing { user: ana },
            r#"{"type":"signal","conversation":5,"signal":"typing","user":{"id":7,"name":"ana","display_name":"Ana"}}"#,
        ),
        (
            SignalKind::Presence { user: 7, state: PresenceState::Offline },
            r#"{"type":"signal","conversation":5,"signal":"presence","user":7,"state":"offline"}"#,
        ),
        (
            SignalKind::Receipt { user: 7, read: 9, delivered: 0 },
            r#"{"type":"signal","conversation":5,"signal":"receipt","user":7,"read":9}"#,
        ),
        (
            SignalKind::Durability { sequence: 9, replicas: 4, of: 5 },
            r#"{"type":"signal","conversation":5,"signal":"durability","sequence":9,"replicas":4,"of":5}"#,
        ),
    ];
    for (kind, json) in said {
        let frame = ServerFrame::push(Body::Signal(Signal { conversation: 5, kind }));
        let value: serde_json::Value = serde_json::from_str(json).expect(json);
        assert_eq!(serde_json::to_value(&frame).expect("json"), value);
        assert_eq!(serde_json::from_value::<ServerFrame>(value).expect("reads back"), frame);
    }
    let newer: PresenceState = serde_json::from_str("\"away\"").expect("a word of a newer server");
    assert_eq!(newer, PresenceState::Unknown);
}

#[test]
fn a_topic_is_a_number_or_me() {
    assert_eq!(serde_json::to_string(&TopicRef::Me).expect("json"), "\"me\"");
    assert_eq!(serde_json::from_str::<TopicRef>("12").expect("number"), TopicRef::Conversation(12));
    assert!(serde_json::from_str::<TopicRef>("\"you\"").is_err());
}

#[test]
fn an_avatar_is_a_files_id_and_the_empty_string_removes_it() {
    let file: uuid::Uuid = "0191e2b8-4c6f-7000-8000-0000000000aa".parse().expect("a UUID");
    for (json, avatar) in [
        (r#"{"action":"set_profile"}"#, None),
        (r#"{"action":"set_profile","avatar":""}"#, Some(NewAvatar(None))),
        (
            r#"{"action":"set_profile","avatar":"0191e2b8-4c6f-7000-8000-0000000000aa"}"#,
            Some(NewAvatar(Some(file))),
        ),
    ] {
        let action: Action = serde_json::from_str(json).expect(json);
        let wanted = Action::SetProfile { display_name: None, status: None, avatar };
        assert_eq!(action, wanted);
        assert_eq!(serde_json::to_string(&action).expect("json"), json);
    }
    assert_eq!(NewAvatar(Some(file)).to_bytes(), file.as_bytes());
    assert!(NewAvatar(None).to_bytes().is_empty());
    let wrong = serde_json::from_str::<NewAvatar>("\"me.png\"").expect_err("no id");
    assert!(wrong.to_string().contains("give a UUID, or \"\" for none"), "{wrong}");
    let json =
        r#"{"id":1,"name":"ana","display_name":"Ana","avatar":"0191e2b8-4c6f-7000-8000-0000000000aa"}"#;
    let ana: User = serde_json::from_str(json).expect("a user");
    assert_eq!(ana.avatar, Some(file));
    assert_eq!(serde_json::to_string(&ana).expect("json"), json);
}
