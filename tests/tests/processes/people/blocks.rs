//! Whom somebody does not want to hear: no direct conversation and nothing in the one there is, until she does again.

use anyhow::{Context as _, ensure};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Action, MeKind};
use quorate_proto::rest::{Directory, SessionGrant, UserProfile};
use quorate_tests::harness::TestCluster;
use serde_json::{Value, json};

use super::{Stage, calls, while_the_leader_dies};
use crate::chat::device::{Device, command, message};

fn block(user: &str, on: bool) -> Action {
    Action::Block { user: user.to_owned(), on }
}

fn direct(user: &str) -> Action {
    Action::CreateDirect { user: user.to_owned() }
}

/// Names of those whom somebody has blocked.
async fn blocked(at: std::net::SocketAddr, grant: &SessionGrant, index: u64) -> anyhow::Result<Vec<String>> {
    let listed: Directory = calls::at(at, grant).read("/api/v1/blocked", index).await?;
    let mut names: Vec<String> = listed.users.into_iter().map(|user| user.name).collect();
    names.sort();
    Ok(names)
}

pub(super) async fn set_and_lifted(test: &TestCluster, stage: &Stage) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let mut dan = Device::open(b, stage.dan.clone()).await?;
    let mut other = Device::open(a, stage.dan.clone()).await?;
    let mut eve = Device::open(a, stage.eve.clone()).await?;
    let mut kim = Device::open(a, stage.kim.clone()).await?;
    let talk = eve.act(direct("dan")).await?.conversation.context("a conversation")?;
    dan.is_in(talk).await?;
    let first = eve.send(talk, "Are you there?").await?;
    dan.hears_message(talk, first).await?;
    let (messages, with_dan) =
        (format!("/api/v1/conversations/{talk}/messages"), json!({ "kind": "direct", "user": "dan" }));

    // Eve before the leader dies, Kim while it does.
    calls::at(a, &stage.dan).ask("PUT", "/api/v1/blocked/eve", Value::Null).await?.written()?;
    let index = while_the_leader_dies(test, async {
        eve.refused(message(talk, "Why not?"), ErrorCode::Forbidden).await?;
        let by_rest = json!({ "text": "And so?" });
        calls::at(b, &stage.eve).ask("POST", &messages, by_rest).await?.refused(ErrorCode::Forbidden)?;
        dan.refused(message(talk, "I do not hear you"), ErrorCode::Forbidden).await?;
        let index = dan.act(block("kim", true)).await?.index;
        kim.refused(command(direct("dan")), ErrorCode::Forbidden).await?;
        let asked = calls::at(b, &stage.kim).ask("POST", "/api/v1/conversations", with_dan.clone()).await?;
        asked.refused(ErrorCode::Forbidden)?;
        let group = Action::CreateGroup {
            title: "Come in".into(),
            members: vec!["dan".into()],
            topic: String::new(),
            public: false,
            announcement: false,
        };
        kim.refused(command(group), ErrorCode::Forbidden).await?;
        Ok(index)
    })
    .await?;
    for name in ["eve", "kim"] {
        other.hears(&format!("that {name} is blocked"), |device| told(device, name, true)).await?;
    }
    for at in [a, b] {
        ensure!(blocked(at, &stage.dan, index).await? == ["eve", "kim"], "another list");
        let seen: UserProfile = calls::at(at, &stage.dan).read("/api/v1/users/eve", index).await?;
        ensure!(seen.blocked, "{seen:?}");
        // Nobody is told that she is blocked.
        let seen: UserProfile = calls::at(at, &stage.eve).read("/api/v1/users/dan", index).await?;
        ensure!(!seen.blocked && seen.last_seen.is_none(), "{seen:?}");
    }
    ensure!(other.summary(talk).await?.blocked, "the summary does not say it");

    // In a group that both are in, a block changes nothing.
    let heard = eve.send(stage.room, "Good morning, everybody").await?;
    dan.hears_message(stage.room, heard).await?;

    let (index, with_kim, last) = while_the_leader_dies(test, async {
        dan.act(block("eve", false)).await?;
        let lifted =
            calls::at(a, &stage.dan).ask("DELETE", "/api/v1/blocked/kim", Value::Null).await?.written()?;
        let made =
            calls::at(b, &stage.kim).ask("POST", "/api/v1/conversations", with_dan).await?.written()?;
        let last = eve.send(talk, "And now?").await?;
        Ok((lifted.index, made.conversation.context("a conversation")?, last))
    })
    .await?;
    for device in [&mut dan, &mut other] {
        device.is_in(with_kim).await?;
        device.hears_message(talk, last).await?;
        device.has_dense_versions()?;
    }
    other.hears("that eve is not blocked", |device| told(device, "eve", false)).await?;
    for at in [a, b] {
        ensure!(blocked(at, &stage.dan, index).await?.is_empty(), "somebody is still blocked");
    }
    // What was refused is nowhere.
    let texts: Vec<String> = other.history(talk).await?.into_iter().map(|message| message.text).collect();
    ensure!(texts == ["Are you there?", "And now?"], "{texts:?}");
    Ok(())
}

fn told(device: &Device, name: &str, on: bool) -> Option<()> {
    let is =
        |kind: &MeKind| matches!(kind, MeKind::Blocked { user, on: to } if user.name == name && *to == on);
    device.me.iter().any(|me| is(&me.kind)).then_some(())
}
