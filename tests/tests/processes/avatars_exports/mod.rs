//! Pictures of people and groups, and what admins export of what was said: set, shown, refused and counted at another gateway than
//! where it was done, over REST and over sockets, while a leader is killed.
//!
//! One cluster and one story. At its end all replicas are started again with `export_direct = true`: what was refused before is given
//! out then, and the admins' log has told of every export once.

mod avatars;
mod exports;
mod picture;

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use quorate_cluster::Member;
use quorate_proto::frame::{Action, MemberRole};
use quorate_proto::ids::ConversationId;
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::rest;
use quorate_tests::harness::{TestCluster, read};
use serde_json::json;

use crate::chat::device::Device;
use crate::chat::{all_is_well, cluster};
use crate::people::calls;

/// Who is there, and where.
struct Stage {
    a: SocketAddr,
    b: SocketAddr,
    /// An admin of the site, and the owner of the room.
    ann: SessionGrant,
    /// An admin of the room.
    bob: SessionGrant,
    /// In the room.
    dan: SessionGrant,
    /// Not in the room. The pier is hers.
    eve: SessionGrant,
    room: ConversationId,
    /// A group of Eve's and Dan's, in which no admin of the site is.
    pier: ConversationId,
    /// Bob's and Dan's direct conversation.
    talk: ConversationId,
}

#[tokio::test(flavor = "multi_thread")]
async fn avatars_are_shown_and_exports_are_whole_whoever_leads() -> anyhow::Result<()> {
    let test = cluster("avatars-exports").await?;
    let result = story(&test).await;
    test.finish(result).await
}

async fn story(test: &TestCluster) -> anyhow::Result<()> {
    let stage = Stage::set(test).await?;
    let said = avatars::set_shown_and_removed(test, &stage).await.context("avatars")?;
    exports::of_messages(test, &stage, said).await.context("exports")?;
    for gateway in test.cluster.gateways() {
        let log = read(&test.cluster.log(&Member::Gateway(gateway)))?;
        let undocumented = log.lines().find(|line| line.contains("an undocumented status"));
        ensure!(undocumented.is_none(), "{undocumented:?}");
    }
    all_is_well(test).await
}

fn group(title: &str, members: &[&str]) -> Action {
    Action::CreateGroup {
        title: title.to_owned(),
        members: members.iter().map(|name| (*name).to_owned()).collect(),
        topic: String::new(),
        public: false,
        announcement: false,
    }
}

impl Stage {
    async fn set(test: &TestCluster) -> anyhow::Result<Self> {
        let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
        let (ann, bob) = tokio::try_join!(rest::sign_up(a, "ann"), rest::sign_up(b, "bob"))?;
        let (dan, eve) = tokio::try_join!(rest::sign_up(b, "dan"), rest::sign_up(a, "eve"))?;
        let secret = test.cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
        calls::at(b, &ann).ask("POST", "/api/v1/admin/claim", json!({ "secret": secret })).await?.is(204)?;

        let mut owner = Device::open(a, ann.clone()).await?;
        let room = owner.act(group("Harbour", &["bob", "dan"])).await?.conversation.context("a group")?;
        let role = MemberRole::Admin;
        owner.act(Action::SetRole { conversation: room, user: "bob".into(), role }).await?;
        let mut other = Device::open(b, eve.clone()).await?;
        let pier = other.act(group("Pier", &["dan"])).await?.conversation.context("a group")?;
        let mut one = Device::open(b, bob.clone()).await?;
        let direct = Action::CreateDirect { user: "dan".into() };
        let talk = one.act(direct).await?.conversation.context("a conversation")?;
        Ok(Self { a, b, ann, bob, dan, eve, room, pier, talk })
    }
}
