//! Roles, bans, invites, public groups: who may do what, decided once, whoever leads.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Action, EventKind, MeKind, MemberRole};
use quorate_proto::ids::ConversationId;
use quorate_tests::harness::TestCluster;

use super::device::{Device, command, message};
use super::{all_is_well, cluster, without_its_leader};

const CODE: &str = "an-invite-drawn-by-chance-1";

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_in_a_group_holds_whoever_leads() -> anyhow::Result<()> {
    let test = cluster("groups").await?;
    let result = groups(&test).await;
    test.finish(result).await
}

fn group(title: &str, members: &[&str], public: bool, announcement: bool) -> Action {
    Action::CreateGroup {
        title: title.to_owned(),
        members: members.iter().map(|name| (*name).to_owned()).collect(),
        topic: String::new(),
        public,
        announcement,
    }
}

async fn groups(test: &TestCluster) -> anyhow::Result<()> {
    let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
    let mut ann = Device::sign_up(a, "ann").await?;
    let mut bob = Device::sign_up(b, "bob").await?;
    let mut eve = Device::sign_up(b, "eve").await?;
    let mut dan = Device::sign_up(a, "dan").await?;

    let room =
        ann.act(group("Roles", &["bob", "eve"], false, false)).await?.conversation.context("a group")?;
    for device in [&mut ann, &mut bob, &mut eve] {
        device.is_in(room).await?;
    }
    roles(room, &mut ann, &mut bob, &mut eve).await?;
    without_its_leader(test, bans(room, &mut ann, &mut bob, &mut eve)).await?;
    without_its_leader(test, invites(room, &mut ann, &mut eve, &mut dan)).await?;
    public(&mut ann, &mut bob, &mut dan).await?;
    for device in [&mut ann, &mut bob, &mut dan] {
        device.has_dense_versions()?;
    }
    all_is_well(test).await
}

async fn roles(
    room: ConversationId,
    ann: &mut Device,
    bob: &mut Device,
    eve: &mut Device,
) -> anyhow::Result<()> {
    let rename = |title: &str| {
        command(Action::ChangeConversation {
            conversation: room,
            title: Some(title.to_owned()),
            topic: None,
            public: None,
            announcement: None,
            retention_ms: None,
            avatar: None,
        })
    };
    let role =
        |user: &str, role| command(Action::SetRole { conversation: room, user: user.to_owned(), role });
    bob.refused(rename("Mine"), ErrorCode::Forbidden).await?;
    bob.refused(role("bob", MemberRole::Admin), ErrorCode::Forbidden).await?;
    ann.ack(role("bob", MemberRole::Admin)).await?;
    bob.ack(rename("Ours")).await?;
    bob.refused(role("eve", MemberRole::Admin), ErrorCode::Forbidden).await?;
    let renamed = |kind: &EventKind| matches!(kind, EventKind::Conversation { title, .. } if title == "Ours");
    eve.hears_event("the title", room, renamed).await?;
    ensure!(bob.summary(room).await?.role == MemberRole::Admin);
    ensure!(ann.summary(room).await?.role == MemberRole::Owner);
    // Only who manages the group writes from now on.
    let announce = |on| Action::ChangeConversation {
        conversation: room,
        title: None,
        topic: None,
        public: None,
        announcement: Some(on),
        retention_ms: None,
        avatar: None,
    };
    ann.act(announce(true)).await?;
    eve.refused(message(room, "may I?"), ErrorCode::Forbidden).await?;
    bob.send(room, "an announcement").await?;
    ann.act(announce(false)).await?;
    eve.send(room, "thank you").await?;
    Ok(())
}

/// Who is banned hears of it, and of nothing after.
async fn bans(
    room: ConversationId,
    ann: &mut Device,
    bob: &mut Device,
    eve: &mut Device,
) -> anyhow::Result<()> {
    let ban = |user: &str, on| command(Action::Ban { conversation: room, user: user.to_owned(), on });
    eve.refused(ban("bob", true), ErrorCode::Forbidden).await?;
    bob.refused(ban("ann", true), ErrorCode::Forbidden).await?;
    bob.ack(ban("eve", true)).await?;
    ann.send(room, "not for eve").await?;
    let removed = |device: &Device| {
        let is = |kind: &MeKind| matches!(kind, MeKind::Removed { conversation } if *conversation == room);
        device.me.iter().any(|me| is(&me.kind)).then_some(())
    };
    eve.hears("that she was removed", removed).await?;
    eve.listen(Duration::from_millis(500)).await;
    let after =
        eve.events.iter().filter(|event| event.conversation == room).filter(
            |event| matches!(&event.kind, EventKind::Message(message) if message.text == "not for eve"),
        );
    ensure!(after.count() == 0, "eve heard what was said after her ban");
    eve.refused(message(room, "let me in"), ErrorCode::NotFound).await?;
    let add = Action::AddMember { conversation: room, user: "eve".into() };
    bob.refused(command(add), ErrorCode::Forbidden).await
}

/// An invite for one lets one in, however often the request is repeated.
async fn invites(
    room: ConversationId,
    ann: &mut Device,
    eve: &mut Device,
    dan: &mut Device,
) -> anyhow::Result<()> {
    let join = || command(Action::JoinByInvite { code: CODE.to_owned() });
    dan.refused(join(), ErrorCode::NotFound).await?;
    let make = Action::MakeInvite { conversation: room, code: CODE.to_owned(), ttl_ms: 600_000, uses_max: 1 };
    ann.act(make).await?;
    // Whose code is good is told why it does not let her in.
    eve.refused(join(), ErrorCode::Forbidden).await?;
    let asked = join();
    let joined = dan.ack(asked.clone()).await?;
    ensure!(joined.conversation == Some(room), "{joined:?}");
    ensure!(dan.ack(asked).await?.replay, "the same request is the same use");
    dan.is_in(room).await?;
    dan.send(room, "here I am").await?;
    // What was said before is not his to see.
    let seen = dan.history(room).await?;
    ensure!(seen.iter().all(|message| message.text == "here I am"), "{seen:#?}");
    let mut late = Device::sign_up(dan.at, "late").await?;
    late.refused(join(), ErrorCode::NotFound).await
}

/// A public group is found by anybody and seen from its start.
async fn public(ann: &mut Device, bob: &mut Device, dan: &mut Device) -> anyhow::Result<()> {
    let room = ann.act(group("Town square", &[], true, false)).await?.conversation.context("a group")?;
    ann.is_in(room).await?;
    ann.send(room, "the first word").await?;
    bob.act(Action::Join { conversation: room }).await?;
    bob.is_in(room).await?;
    let seen = bob.history(room).await?;
    ensure!(seen.iter().any(|message| message.text == "the first word"), "{seen:#?}");
    let closed = ann.act(group("Closed", &[], false, false)).await?.conversation.context("a group")?;
    dan.refused(command(Action::Join { conversation: closed }), ErrorCode::NotFound).await
}
