//! The end of an account, by who has it and by an admin: out at once, the name never given again, what was said stays as nobody's.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Action, EventKind, MemberRole};
use quorate_proto::rest::Directory;
use quorate_tests::client::rest::{self, PASSWORD};
use quorate_tests::harness::TestCluster;
use serde_json::{Value, json};

use super::calls::{self, Reply};
use super::{Stage, while_the_leader_dies};
use crate::chat::device::{Device, message};

/// What has come by now is read in this time.
const A_MOMENT: Duration = Duration::from_millis(20);

/// Deleted, or found deleted by a call that was made again: then there is nobody left to whom it could be said.
fn is_done(reply: Reply, status: u16, gone: ErrorCode) -> anyhow::Result<()> {
    if reply.at_once {
        reply.is(status).map(drop)
    } else {
        reply.refused(gone).or_else(|_| reply.is(status).map(drop))
    }
}

pub(super) async fn of_accounts(test: &TestCluster, stage: &mut Stage) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let lee = rest::sign_up(b, "lee").await?;
    let mut bob = Device::open(b, stage.bob.clone()).await?;
    let mut kim = Device::open(a, stage.kim.clone()).await?;
    let group = Action::CreateGroup {
        title: "Kim's".into(),
        members: vec!["bob".into(), "lee".into()],
        topic: String::new(),
        public: false,
        announcement: false,
    };
    let group = kim.act(group).await?.conversation.context("a group")?;
    let direct =
        kim.act(Action::CreateDirect { user: "bob".into() }).await?.conversation.context("a room")?;
    for room in [group, direct] {
        bob.is_in(room).await?;
    }
    let said = kim.send(group, "I was here").await?;
    bob.hears_message(group, said).await?;

    let guess = json!({ "password": "not hers" });
    calls::at(a, &stage.kim).ask("DELETE", "/api/v1/me", guess).await?.refused(ErrorCode::Forbidden)?;
    let of_lee = "/api/v1/admin/users/lee";
    calls::at(a, &stage.bob).ask("DELETE", of_lee, Value::Null).await?.refused(ErrorCode::Forbidden)?;
    let mut lees = Device::open(a, lee.clone()).await?;
    // Passwords are hashed with what others leave of the processors: pings are answered before the servers give up on her sockets.
    for socket in [&mut kim, &mut lees] {
        socket.listen(A_MOMENT).await;
    }
    while_the_leader_dies(test, async {
        let own = json!({ "password": PASSWORD });
        let reply = calls::at(a, &stage.kim).ask("DELETE", "/api/v1/me", own).await?;
        is_done(reply, 204, ErrorCode::Unauthenticated)?;
        lees.listen(A_MOMENT).await;
        let reply = calls::at(b, &stage.ann).ask("DELETE", of_lee, Value::Null).await?;
        is_done(reply, 200, ErrorCode::NotFound)?;
        for socket in [kim, lees] {
            ensure!(socket.ends().await? == 4403, "another close code");
        }
        Ok(())
    })
    .await?;

    // They leave behind that entry, and a group that was hers goes on with somebody else.
    for gone in [stage.kim.user.id, lee.user.id] {
        let left = |kind: &EventKind| matches!(kind, EventKind::Member { user, joined: false, .. } if user.id == gone && user.deleted);
        bob.hears_event("that she left", group, left).await?;
    }
    let his = |kind: &EventKind| matches!(kind, EventKind::Role { user, role: MemberRole::Owner, .. } if user.name == "bob");
    bob.hears_event("that the group is his", group, his).await?;
    let summary = bob.summary(group).await?;
    ensure!(summary.role == MemberRole::Owner && summary.member_count == 1, "{summary:?}");
    let seen = bob.history(group).await?.into_iter().find(|message| message.sequence == said);
    let seen = seen.context("what she said")?;
    let nobody = seen.from.deleted && seen.from.name.is_empty() && seen.from.display_name == "deleted user";
    ensure!(seen.text == "I was here" && seen.from.id == stage.kim.user.id && nobody, "{seen:?}");
    bob.refused(message(direct, "Are you there?"), ErrorCode::Forbidden).await?;
    bob.has_dense_versions()?;

    let index = bob.ack(message(group, "They are gone")).await?.index;
    for (here, there, name) in [(a, b, "kim"), (b, a, "lee")] {
        calls::stranger(there).sign_in(name, PASSWORD).await?.refused(ErrorCode::Unauthenticated)?;
        let anew = json!({ "name": name, "password": PASSWORD });
        calls::stranger(there).ask("POST", "/api/v1/accounts", anew).await?.refused(ErrorCode::NameTaken)?;
        for at in [here, there] {
            let bob = calls::at(at, &stage.bob);
            bob.look(&format!("/api/v1/users/{name}"), index).await?.refused(ErrorCode::NotFound)?;
            let found: Directory = bob.read(&format!("/api/v1/users?pattern={name}*"), index).await?;
            ensure!(found.users.is_empty(), "{found:?}");
        }
    }

    let (kim, ann) = (stage.kim.user.id, stage.ann.user.id);
    stage.done.extend([(kim, "user_deleted", kim), (ann, "user_deleted", lee.user.id)]);
    Ok(())
}
