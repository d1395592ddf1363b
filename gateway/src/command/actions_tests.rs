use quorate_proto::error::ErrorCode;
use quorate_proto::frame::MemberRole;
use quorate_proto::ids::ClientMessageId;
use tonic::Status;

use super::*;
use crate::testing::{Fake, tier};

fn bob() -> Identity {
    let session = Uuid::from_u128(1);
    Identity {
        user_id: 1,
        session,
        name: "bob".into(),
        ends_ms: 0,
        read_only: false,
        scopes: 0,
        only_conversation: 0,
    }
}

/// A directory that knows one user, once it is asked to be sure.
fn directory(asked: &rpc::ReadRequest) -> rpc::ReadResponse {
    let ann = rpc::UserRef { id: 7, name: "ann".into(), ..Default::default() };
    let users = if asked.linearizable { vec![ann] } else { Vec::new() };
    let result = read_response::Result::Directory(rpc::DirectoryResult { users });
    rpc::ReadResponse { result: Some(result), ..Default::default() }
}

#[tokio::test]
async fn nobody_is_believed_only_of_a_replica_that_is_sure() {
    let (fake, _feeds) = Fake::start(1).await;
    fake.set(|state| state.read = Box::new(|asked| Ok(directory(&asked))));
    let (_, reader, _) = tier(&[&fake]);
    let identity = bob();
    let find = |name: &str| find_user(reader.clone(), identity.clone(), 0, name.into());
    assert_eq!(find("ann").await, Ok(7), "the replica that was asked first lags");
    assert_eq!(find("eve").await.unwrap_err().code, ErrorCode::NotFound);
    fake.set(|state| {
        state.read = Box::new(|asked| {
            if asked.linearizable { Err(Status::unavailable("no leader")) } else { Ok(directory(&asked)) }
        });
    });
    let unsure = find("ann").await.unwrap_err();
    assert_eq!((unsure.code, unsure.temporary), (ErrorCode::Unavailable, true));
}

/// Everybody whom the directory lists is user 7; `eve` is known and not listed.
fn people(asked: &rpc::ReadRequest) -> rpc::ReadResponse {
    let user = |id, name: &str| rpc::UserRef { id, name: name.into(), ..Default::default() };
    let result = match asked.query.as_ref() {
        Some(read_request::Query::Directory(query)) if query.pattern == "eve" => {
            read_response::Result::Directory(rpc::DirectoryResult { users: Vec::new() })
        }
        Some(read_request::Query::Directory(query)) => {
            let users = vec![user(7, &query.pattern)];
            read_response::Result::Directory(rpc::DirectoryResult { users })
        }
        Some(read_request::Query::User(query)) if query.name == "eve" => {
            let found = rpc::UserResult { user: Some(user(8, "eve")), ..Default::default() };
            read_response::Result::User(found)
        }
        _ => {
            read_response::Result::Rejected(rpc::Rejected { code: "not_found".into(), ..Default::default() })
        }
    };
    rpc::ReadResponse { result: Some(result), ..Default::default() }
}

async fn people_tier() -> Reader {
    let (fake, _feeds) = Fake::start(1).await;
    fake.set(|state| state.read = Box::new(|asked| Ok(people(&asked))));
    tier(&[&fake]).1
}

async fn command_of(reader: &Reader, json: &str) -> Result<command::Action, WireError> {
    let command: Action = serde_json::from_str(json).expect(json);
    let client_message_id = ClientMessageId(Uuid::from_u128(5));
    let asked = DoCommand { client_message_id, first_sent: 3, command };
    let command = action(reader, &bob(), 0, &asked).await?;
    assert_eq!((command.user_id, command.first_sent_ms), (1, 3));
    Ok(command.action.expect("an action"))
}

#[tokio::test]
async fn who_is_no_longer_listed_can_still_be_removed_and_not_invited() {
    let reader = people_tier().await;
    for (json, wanted) in [
        (
            r#"{"action":"remove_member","conversation":3,"user":"eve"}"#,
            command::Action::RemoveMember(rpc::RemoveMember { conversation_id: 3, user_id: 8 }),
        ),
        (
            r#"{"action":"ban","conversation":3,"user":"eve","on":true}"#,
            command::Action::Ban(rpc::Ban { conversation_id: 3, user_id: 8, on: true }),
        ),
        (
            r#"{"action":"set_role","conversation":3,"user":"Ann","role":"admin"}"#,
            command::Action::SetMemberRole(rpc::SetMemberRole { conversation_id: 3, user_id: 7, role: 3 }),
        ),
        (
            r#"{"action":"block","user":"eve","on":true}"#,
            command::Action::Block(rpc::Block { user_id: 8, on: true }),
        ),
    ] {
        assert_eq!(command_of(&reader, json).await, Ok(wanted), "{json}");
    }
    for json in [
        r#"{"action":"add_member","conversation":3,"user":"eve"}"#,
        r#"{"action":"create_direct","user":"eve"}"#,
        r#"{"action":"create_group","title":"x","members":["ann","eve"]}"#,
    ] {
        assert_eq!(command_of(&reader, json).await.unwrap_err().code, ErrorCode::NotFound, "{json}");
    }
}

#[tokio::test]
async fn every_action_becomes_its_command() {
    let reader = people_tier().await;
    let code = "abcdefghijklmnopqrstuv";
    let hash = Bytes::copy_from_slice(&blake3::hash(code.as_bytes()).as_bytes()[..16]);
    let listed = Uuid::from_slice(&hash).unwrap().simple().to_string();
    for (json, wanted) in [
        (
            r#"{"action":"create_group","title":" Lunch ","members":["ann","bob"],"topic":" food","public":true,"announcement":true}"#.to_owned(),
            command::Action::CreateGroup(rpc::CreateGroup {
                title: "Lunch".into(),
                member_ids: vec![7],
                topic: "food".into(),
                public: true,
                announcement: true,
            }),
        ),
        (
            r#"{"action":"change_conversation","conversation":3,"topic":"","retention_ms":0}"#.to_owned(),
            command::Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id: 3,
                topic: Some(String::new()),
                retention_ms: Some(0),
                ..Default::default()
            }),
        ),
        (
            r#"{"action":"join","conversation":3}"#.to_owned(),
            command::Action::Join(rpc::Join { conversation_id: 3, ..Default::default() }),
        ),
        (
            format!(r#"{{"action":"join_by_invite","code":"{code}"}}"#),
            command::Action::Join(rpc::Join { conversation_id: 0, code_hash: hash.clone() }),
        ),
        (
            format!(r#"{{"action":"make_invite","conversation":3,"code":"{code}","ttl_ms":9,"uses_max":2}}"#),
            command::Action::MakeInvite(rpc::MakeInvite {
                conversation_id: 3,
                code_hash: hash.clone(),
                ttl_ms: 9,
                uses_max: 2,
            }),
        ),
        (
            format!(r#"{{"action":"end_invite","conversation":3,"invite":"{listed}"}}"#),
            command::Action::EndInvite(rpc::EndInvite { conversation_id: 3, code_hash: hash }),
        ),
        (
            r#"{"action":"prefer","conversation":3,"muted_until":9,"archived":false}"#.to_owned(),
            command::Action::Prefer(rpc::Prefer {
                conversation_id: 3,
                muted_until_ms: Some(9),
                archived: Some(false),
                ..Default::default()
            }),
        ),
        (
            r#"{"action":"save","conversation":3,"sequence":4,"on":true}"#.to_owned(),
            command::Action::SaveMessage(rpc::SaveMessage { conversation_id: 3, sequence: 4, on: true }),
        ),
        (
            r#"{"action":"draft","conversation":3,"text":"hal","reply_to":2}"#.to_owned(),
            command::Action::SetDraft(rpc::SetDraft { conversation_id: 3, text: "hal".into(), reply_to: 2 }),
        ),
        (
            r#"{"action":"schedule","conversation":3,"text":"later","at":99}"#.to_owned(),
            command::Action::Schedule(rpc::Schedule {
                conversation_id: 3,
                text: "later".into(),
                due_ms: 99,
                ..Default::default()
            }),
        ),
        (
            r#"{"action":"remind","conversation":3,"sequence":4,"at":99}"#.to_owned(),
            command::Action::Schedule(rpc::Schedule {
                conversation_id: 3,
                due_ms: 99,
                remind_of: 4,
                ..Default::default()
            }),
        ),
        (
            r#"{"action":"cancel_scheduled","scheduled":6}"#.to_owned(),
            command::Action::CancelScheduled(rpc::CancelScheduled { id: 6 }),
        ),
        (
            r#"{"action":"set_profile","display_name":" Bob ","status":""}"#.to_owned(),
            command::Action::SetProfile(rpc::SetProfile {
                display_name: Some("Bob".into()),
                status: Some(String::new()),
                avatar: None,
            }),
        ),
        (
            r#"{"action":"set_profile","avatar":"00000000-0000-0000-0000-000000000006"}"#.to_owned(),
            command::Action::SetProfile(rpc::SetProfile {
                avatar: Some(Uuid::from_u128(6).as_bytes().to_vec().into()),
                ..Default::default()
            }),
        ),
        (
            r#"{"action":"change_conversation","conversation":3,"avatar":""}"#.to_owned(),
            command::Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id: 3,
                avatar: Some(Bytes::new()),
                ..Default::default()
            }),
        ),
        (
            r#"{"action":"report","conversation":3,"sequence":4,"reason":" spam "}"#.to_owned(),
            command::Action::Report(rpc::Report { conversation_id: 3, sequence: 4, reason: "spam".into() }),
        ),
    ] {
        assert_eq!(command_of(&reader, &json).await, Ok(wanted), "{json}");
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_said_before_it_is_sent() {
    let reader = people_tier().await;
    for json in [
        r#"{"action":"change_conversation","conversation":3}"#,
        r#"{"action":"change_conversation","conversation":3,"title":" "}"#,
        r#"{"action":"prefer","conversation":3}"#,
        r#"{"action":"set_profile"}"#,
        r#"{"action":"set_profile","status":"a\u0007b"}"#,
        r#"{"action":"join_by_invite","code":"short"}"#,
        r#"{"action":"end_invite","conversation":3,"invite":"nonsense"}"#,
        r#"{"action":"remind","conversation":3,"sequence":0,"at":9}"#,
        r#"{"action":"report","conversation":3,"sequence":4,"reason":""}"#,
        r#"{"action":"block","user":"no name!","on":true}"#,
    ] {
        assert_eq!(command_of(&reader, json).await.unwrap_err().code, ErrorCode::Invalid, "{json}");
    }
}

#[test]
fn roles_have_the_same_numbers_both_ways() {
    for role in [MemberRole::Member, MemberRole::Admin, MemberRole::Owner] {
        assert_eq!(convert::role(convert::role_number(role)), role);
    }
}
