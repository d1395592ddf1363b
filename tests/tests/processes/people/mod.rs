//! What people say of themselves, whom they will not hear, how they come back and how they go, and what admins do about them: each
//! thing begun before a leader is killed, carried through while it dies, and checked at another gateway than where it was done, over
//! REST and over sockets.
//!
//! One cluster and one story, since a cluster for each chapter would take longer than the chapters do. The admins' log is read at
//! its end: it tells every chapter, each thing once and in order.

mod blocks;
pub(crate) mod calls;
mod ends;
mod profiles;
mod reports;
mod roles;
mod shut_out;
mod ways_back;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_cluster::Member;
use quorate_proto::frame::Action;
use quorate_proto::ids::{ConversationId, UserId};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::rest;
use quorate_tests::harness::{TestCluster, read};
use quorate_tests::scene::{caught_up, leader};
use serde_json::json;

use crate::chat::device::Device;
use crate::chat::{all_is_well, cluster};

/// The leader dies so long after something began: in the middle of it.
const KILL_AFTER: Duration = Duration::from_millis(15);

/// A call that is decided, however often it is made.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// Who is there, and where.
struct Stage {
    a: SocketAddr,
    b: SocketAddr,
    /// An admin of the site.
    ann: SessionGrant,
    bob: SessionGrant,
    eve: SessionGrant,
    dan: SessionGrant,
    /// A stranger to the room of the other four.
    kim: SessionGrant,
    room: ConversationId,
    /// What the admins' log must tell in the end: who did what, to whom.
    done: Vec<(UserId, &'static str, UserId)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_and_admins_do_about_people_holds_whoever_leads() -> anyhow::Result<()> {
    let test = cluster("people").await?;
    let result = story(&test).await;
    test.finish(result).await
}

async fn story(test: &TestCluster) -> anyhow::Result<()> {
    let mut stage = Stage::set(test).await?;
    profiles::told(test, &stage).await.context("profiles")?;
    blocks::set_and_lifted(test, &stage).await.context("blocks")?;
    shut_out::and_let_in(test, &mut stage).await.context("disabled and enabled")?;
    ways_back::taken(test, &mut stage).await.context("lost passwords")?;
    reports::made_and_resolved(test, &mut stage).await.context("reports")?;
    ends::of_accounts(test, &mut stage).await.context("deleted accounts")?;
    roles::given_and_taken(test, &mut stage).await.context("roles")?;
    roles::log_tells_all(test, &stage).await.context("the admins' log")?;
    for gateway in test.cluster.gateways() {
        let log = read(&test.cluster.log(&Member::Gateway(gateway)))?;
        let undocumented = log.lines().find(|line| line.contains("an undocumented status"));
        ensure!(undocumented.is_none(), "{undocumented:?}");
    }
    all_is_well(test).await
}

impl Stage {
    async fn set(test: &TestCluster) -> anyhow::Result<Self> {
        let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
        let (ann, bob, eve) =
            tokio::try_join!(rest::sign_up(a, "ann"), rest::sign_up(b, "bob"), rest::sign_up(a, "eve"))?;
        let (dan, kim) = tokio::try_join!(rest::sign_up(b, "dan"), rest::sign_up(a, "kim"))?;
        let secret = test.cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
        calls::at(b, &ann).ask("POST", "/api/v1/admin/claim", json!({ "secret": secret })).await?.is(204)?;
        let group = Action::CreateGroup {
            title: "Harbour".into(),
            members: ["bob", "eve", "dan"].map(str::to_owned).to_vec(),
            topic: String::new(),
            public: false,
            announcement: false,
        };
        let room = Device::open(a, ann.clone()).await?.act(group).await?.conversation.context("a group")?;
        let done = vec![(0, "admin_offered", 0), (ann.user.id, "admin_claimed", ann.user.id)];
        Ok(Self { a, b, ann, bob, eve, dan, kim, room, done })
    }
}

/// Kills the leader in the middle of `during`, and starts it again after.
pub(crate) async fn while_the_leader_dies<T>(
    test: &TestCluster,
    during: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let (victim, _) = leader(test).await?;
    let death = async {
        tokio::time::sleep(KILL_AFTER).await;
        let killed = test.cluster.kill(&Member::Replica(victim)).await;
        test.recorder.mark(format!("killed the leader, replica {victim}"));
        killed
    };
    let (killed, done) = tokio::join!(death, during);
    killed?;
    test.cluster.start_member(&Member::Replica(victim))?;
    let done = done.with_context(|| format!("while replica {victim}, which led, died"))?;
    caught_up(test, victim).await?;
    Ok(done)
}
