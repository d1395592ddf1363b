//! The rows against a replica that says what a test tells it to: over HTTP, with a token.

mod bots;
mod cluster;
mod demo;
mod exports;
mod files;
mod reads;
mod rig;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::read_response::Result as Found;
use quorate_proto::rpc::{self, Command, ReadRequest, ReadResponse};
use quorate_proto::token::ISSUER;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tower::Service as _;

use super::*;
use crate::config::Config;
use crate::server::DrainPhase;
use crate::testing::{Fake, Feed, Submits};

use rig::{Site, hash, message, person, signed, site, site_with};

const CODE: &str = "abcdefghijklmnopqrstuv";
const SECRET: &str = "abcdefghijklmnopqrstuvabcdefghijklmnopqrstuv";
const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn every_write_becomes_its_command_under_its_key() {
    let site = site(|_| None).await;
    let (c, m) = ("/api/v1/conversations/3", "/api/v1/conversations/3/messages/4");
    let (post, put, patch, delete) = (Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    let code_hash = hash(CODE).slice(..16);
    let invite = uuid::Uuid::from_slice(&code_hash).unwrap().simple().to_string();
    let react = |on| Action::React(rpc::React { conversation_id: 3, sequence: 4, emoji: "👍".into(), on });
    let pin = |on| Action::Pin(rpc::Pin { conversation_id: 3, sequence: 4, on });
    let save = |on| Action::SaveMessage(rpc::SaveMessage { conversation_id: 3, sequence: 4, on });
    let ban = |on| Action::Ban(rpc::Ban { conversation_id: 3, user_id: 8, on });
    let block = |on| Action::Block(rpc::Block { user_id: 8, on });
    let rows: Vec<(&Method, String, Option<Value>, u16, Action)> = vec![
        (
            &post,
            format!("{c}/messages"),
            Some(json!({"forward": {"conversation": 8, "sequence": 9}})),
            201,
            Action::Send(rpc::Send {
                conversation_id: 3,
                forward: Some(rpc::MessageRef { conversation_id: 8, sequence: 9 }),
                ..Default::default()
            }),
        ),
        (
            &post,
            format!("{c}/messages"),
            Some(json!({"text": "", "attachments": [{"file": uuid::Uuid::from_u128(6).to_string()}]})),
            201,
            Action::Send(rpc::Send {
                conversation_id: 3,
                attachments: vec![rpc::AttachFile {
                    file_id: uuid::Uuid::from_u128(6).as_bytes().to_vec().into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
        ),
        (
            &delete,
            format!("{m}?through=6"),
            None,
            200,
            Action::DeleteMessages(rpc::DeleteMessages { conversation_id: 3, first: 4, last: 6 }),
        ),
        (
            &delete,
            format!("{m}?for_me=true"),
            None,
            200,
            Action::HideMessages(rpc::HideMessages { conversation_id: 3, first: 4, last: 4 }),
        ),
        (&put, format!("{m}/reactions/%F0%9F%91%8D"), None, 200, react(true)),
        (&delete, format!("{m}/reactions/%F0%9F%91%8D"), None, 200, react(false)),
        (&put, format!("{m}/pin"), None, 200, pin(true)),
        (&delete, format!("{m}/pin"), None, 200, pin(false)),
        (&put, format!("{m}/saved"), None, 200, save(true)),
        (&delete, format!("{m}/saved"), None, 200, save(false)),
        (
            &post,
            format!("{m}/report"),
            Some(json!({"reason": "spam"})),
            200,
            Action::Report(rpc::Report { conversation_id: 3, sequence: 4, reason: "spam".into() }),
        ),
        (
            &put,
            format!("{c}/draft"),
            Some(json!({"text": "hal", "reply_to": 2})),
            200,
            Action::SetDraft(rpc::SetDraft { conversation_id: 3, text: "hal".into(), reply_to: 2 }),
        ),
        (
            &post,
            "/api/v1/scheduled".into(),
            Some(json!({"conversation": 3, "text": "later", "at": 99})),
            201,
            Action::Schedule(rpc::Schedule {
                conversation_id: 3,
                text: "later".into(),
                due_ms: 99,
                ..Default::default()
            }),
        ),
        (
            &post,
            "/api/v1/scheduled".into(),
            Some(json!({"conversation": 3, "remind_of": 4, "at": 99})),
            201,
            Action::Schedule(rpc::Schedule {
                conversation_id: 3,
                remind_of: 4,
                due_ms: 99,
                ..Default::default()
            }),
        ),
        (
            &delete,
            "/api/v1/scheduled/6".into(),
            None,
            200,
            Action::CancelScheduled(rpc::CancelScheduled { id: 6 }),
        ),
        (
            &patch,
            c.into(),
            Some(json!({"public": true})),
            200,
            Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id: 3,
                public: Some(true),
                ..Default::default()
            }),
        ),
        (
            &patch,
            format!("{c}/preferences"),
            Some(json!({"favourite": true})),
            200,
            Action::Prefer(rpc::Prefer { conversation_id: 3, favourite: Some(true), ..Default::default() }),
        ),
        (
            &put,
            format!("{c}/members/bob/role"),
            Some(json!({"role": "admin"})),
            200,
            Action::SetMemberRole(rpc::SetMemberRole { conversation_id: 3, user_id: 8, role: 3 }),
        ),
        (&put, format!("{c}/bans/bob"), None, 200, ban(true)),
        (&delete, format!("{c}/bans/bob"), None, 200, ban(false)),
        (
            &post,
            format!("{c}/invites"),
            Some(json!({"code": CODE, "uses_max": 2})),
            201,
            Action::MakeInvite(rpc::MakeInvite {
                conversation_id: 3,
                code_hash: code_hash.clone(),
                ttl_ms: 0,
                uses_max: 2,
            }),
        ),
        (
            &delete,
            format!("{c}/invites/{invite}"),
            None,
            200,
            Action::EndInvite(rpc::EndInvite { conversation_id: 3, code_hash: code_hash.clone() }),
        ),
        (
            &post,
            format!("/api/v1/invites/{CODE}/join"),
            None,
            200,
            Action::Join(rpc::Join { conversation_id: 0, code_hash }),
        ),
        (
            &post,
            "/api/v1/channels/3/join".into(),
            None,
            200,
            Action::Join(rpc::Join { conversation_id: 3, ..Default::default() }),
        ),
        (
            &patch,
            "/api/v1/me".into(),
            Some(json!({"status": "away"})),
            200,
            Action::SetProfile(rpc::SetProfile { status: Some("away".into()), ..Default::default() }),
        ),
        (
            &patch,
            "/api/v1/me".into(),
            Some(json!({"avatar": uuid::Uuid::from_u128(6).to_string()})),
            200,
            Action::SetProfile(rpc::SetProfile {
                avatar: Some(uuid::Uuid::from_u128(6).as_bytes().to_vec().into()),
                ..Default::default()
            }),
        ),
        (
            &patch,
            c.into(),
            Some(json!({"avatar": ""})),
            200,
            Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id: 3,
                avatar: Some(Bytes::new()),
                ..Default::default()
            }),
        ),
        (&put, "/api/v1/blocked/bob".into(), None, 200, block(true)),
        (&delete, "/api/v1/blocked/bob".into(), None, 200, block(false)),
        (
            &put,
            "/api/v1/recovery-codes".into(),
            Some(json!({"password": PASSWORD, "codes": [CODE]})),
            204,
            Action::SetRecoveryCodes(rpc::SetRecoveryCodes { code_hashes: vec![hash(CODE)] }),
        ),
        (
            &patch,
            "/api/v1/admin/users/bob".into(),
            Some(json!({"disabled": true})),
            200,
            Action::SetUserState(rpc::SetUserState { user_id: 8, disabled: Some(true), admin: None }),
        ),
        (
            &delete,
            "/api/v1/admin/users/bob".into(),
            None,
            200,
            Action::DeleteUser(rpc::DeleteUser { user_id: 8, ..Default::default() }),
        ),
        (
            &post,
            "/api/v1/admin/users/bob/reset".into(),
            Some(json!({"secret": SECRET})),
            200,
            Action::OfferReset(rpc::OfferReset { user_id: 8, secret_hash: hash(SECRET) }),
        ),
        (
            &post,
            "/api/v1/admin/reports/6/resolve".into(),
            Some(json!({"resolution": "deleted"})),
            200,
            Action::ResolveReport(rpc::ResolveReport { report_id: 6, resolution: "deleted".into() }),
        ),
    ];
    for (method, path, body, wanted, action) in rows {
        let before = site.commands().len();
        let (status, answer) = site.call(method, &path, body).await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        let commands = site.commands();
        let [command] = &commands[before..] else { panic!("{method} {path}: {commands:?}") };
        assert_eq!(command.action.as_ref(), Some(&action), "{method} {path}");
        assert_eq!((command.user_id, &command.command_id[..]), (7, &uuid::Uuid::from_u128(5).as_bytes()[..]));
        if wanted != 204 {
            let ack: Value = serde_json::from_str(&answer).expect("JSON");
            assert_eq!(ack["type"], "ack", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_account_ends_and_comes_back_only_by_what_its_user_knows() {
    let site = site(|asked| match asked.query.as_ref()? {
        Query::Credentials(query) => {
            let user_id = if query.name == "bob" { 8 } else { 0 };
            let credentials =
                rpc::CredentialsResult { user_id, name_key: vec![1; 16].into(), ..Default::default() };
            Some(Found::Credentials(credentials))
        }
        _ => None,
    })
    .await;
    let (status, answer) =
        site.call(&Method::DELETE, "/api/v1/me", Some(json!({"password": "another one"}))).await;
    assert_eq!(status, 403, "{answer}");
    let codes = json!({"password": "another one", "codes": [CODE]});
    assert_eq!(site.call(&Method::PUT, "/api/v1/recovery-codes", Some(codes)).await.0, 403);
    let weak = json!({"password": PASSWORD, "codes": ["1234"]});
    assert_eq!(site.call(&Method::PUT, "/api/v1/recovery-codes", Some(weak)).await.0, 422);
    assert_eq!(site.commands().len(), 0);
    let (status, answer) =
        site.call(&Method::DELETE, "/api/v1/me", Some(json!({"password": PASSWORD}))).await;
    assert_eq!(status, 204, "{answer}");
    let Some(Action::DeleteUser(deleted)) = &site.commands()[0].action else { panic!("no deletion") };
    assert_eq!((deleted.user_id, deleted.password_mark.len()), (7, 16));

    for (name, user_id) in [("Bob ", 8), ("nobody", 0), ("no name!", 0)] {
        let (counted, before) = (site.fake.commands().len(), site.commands().len());
        let body = json!({"name": name, "secret": SECRET, "new_password": "three words in a row"});
        let (status, answer) = site.call(&Method::POST, "/api/v1/password/reset", Some(body)).await;
        assert_eq!(status, 204, "{name}: {answer}");
        let first = Command::decode(site.fake.commands()[counted].clone()).expect("a command");
        let Some(Action::CountAttempt(count)) = first.action else { panic!("not counted first: {first:?}") };
        assert_eq!(count.user_id, user_id, "{name}");
        let Some(Action::ResetPassword(reset)) = &site.commands()[before].action else { panic!("{name}") };
        assert_eq!((reset.user_id, &reset.secret_hash), (user_id, &hash(SECRET)));
        assert!(reset.password_phc.starts_with("$argon2id$"));
    }
}

#[tokio::test]
async fn every_row_answers_what_it_documents_to_nonsense_and_to_strangers() {
    let mut site = site(|_| None).await;
    let rows: Vec<(Method, String, Vec<u16>, bool, Access)> = table()
        .into_iter()
        .map(|row| {
            let path = row.path.split('/').map(|part| if part.starts_with('{') { "7" } else { part });
            let path = path.collect::<Vec<_>>().join("/");
            (row.method.clone(), path, row.statuses(), row.body.is_some(), row.access)
        })
        .collect();
    assert!(rows.len() > 60, "{}", rows.len());
    let mut seen = BTreeSet::new();
    for (method, path, statuses, takes_body, access) in &rows {
        assert!(seen.insert((method.to_string(), path.clone())), "{method} {path} is there twice");
        let bodies = if *takes_body { vec![None, Some(json!({})), Some(json!([1]))] } else { vec![None] };
        for body in bodies {
            let (status, answer) = site.call(method, path, body.clone()).await;
            assert!(statuses.contains(&status), "{method} {path} {body:?}: {status} {answer}");
        }
        let odd = site.call(method, &format!("{path}?limit=x&min_index=-1&all=7"), None).await;
        assert!(statuses.contains(&odd.0), "{method} {path}: {odd:?}");
        if path.starts_with("/api/v1/admin/") || *access == Access::Bearer {
            assert_eq!(*access, Access::Bearer, "{path}");
            let token = std::mem::replace(&mut site.token, "no.token.atall".into());
            assert_eq!(site.call(method, path, Some(json!({}))).await.0, 401, "{method} {path}");
            site.token = token;
        }
    }
}
