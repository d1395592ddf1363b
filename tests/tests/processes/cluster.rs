//! Real binaries, sockets and disks: twenty people talk while replicas die.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::{Body, Request, SendMessage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::Socket;
use quorate_tests::harness::TestCluster;
use quorate_tests::history::FinalPages;
use quorate_tests::scene::{
    WAIT, acks_since, caught_up, judge, leader, read_finals, set_the_scene, states_agree,
};
use uuid::Uuid;

async fn kill_and_restart(test: &TestCluster, victims: &[u16], what: &str) -> anyhow::Result<()> {
    let names = victims.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ");
    for victim in victims {
        test.cluster.kill(&Member::Replica(*victim)).await?;
    }
    let killed = test.recorder.mark(format!("killed replica {names} ({what})"));
    acks_since(test, killed, &format!("after {what}")).await?;
    let (new, term) = leader(test).await?;
    test.recorder.mark(format!("replica {new} leads in term {term}"));
    for victim in victims {
        test.cluster.start_member(&Member::Replica(*victim))?;
    }
    for victim in victims {
        caught_up(test, *victim).await?;
    }
    let back = test.recorder.mark(format!("replica {names} is back"));
    acks_since(test, back, &format!("after the restart of {what}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_messages_survive_dead_replicas_and_no_socket_closes() -> anyhow::Result<()> {
    let test = TestCluster::start("dead-replicas").await?;
    let result = dead_replicas(&test).await;
    test.finish(result).await
}

async fn dead_replicas(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    if test.cluster.has_balancer() {
        let spread = scene.gateways();
        ensure!(spread.len() == test.cluster.gateways().len(), "not every gateway has sessions: {spread:?}");
    }
    let (_, first_term) = leader(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    acks_since(test, began, "in calm").await?;

    let mut killed = BTreeSet::new();
    for round in 1..=3 {
        let (victim, _) = leader(test).await?;
        killed.insert(victim);
        kill_and_restart(test, &[victim], &format!("the leader, round {round}")).await?;
    }
    let (victim, _) = leader(test).await?;
    let other = (1..=test.cluster.replicas()).find(|id| *id != victim).context("more than one replica")?;
    kill_and_restart(test, &[victim, other], "the leader and a follower together").await?;

    scene.settle().await?;
    let (_, last_term) = leader(test).await?;
    ensure!(last_term >= first_term + 4, "terms went from {first_term} to {last_term}: too few elections");
    let closes = test.recorder.history().closes.clone();
    ensure!(closes.is_empty(), "sockets closed although only replicas died: {closes:#?}");
    let pauses = scene.people.iter().map(|person| person.tally().write_pauses).sum::<u64>();
    test.recorder.mark(format!("0 sockets closed, {pauses} pauses of the write path were shown"));
    states_agree(test).await?;

    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (_, grants, rooms) = scene.leave().await?;
    read_finals(test, &users, &rooms, "before the stop").await?;
    judge(test)?;

    test.cluster.shut_down().await?;
    test.recorder.mark("everything is stopped");
    test.cluster.start().await?;
    test.recorder.mark("everything runs again");
    read_finals(test, &users, &rooms, "after the stop").await?;
    judge(test)?;
    states_agree(test).await?;
    still_writes(test, &grants[0], rooms[0]).await
}

/// The old token, the old conversation: a message sent after the restart is the next one, and a replay is told as such.
async fn still_writes(test: &TestCluster, grant: &SessionGrant, room: ConversationId) -> anyhow::Result<()> {
    let before = last_pages(test, room)?;
    let mut socket = Socket::open(test.cluster.front(), None).await?;
    socket.hello(&grant.access_token, None).await?;
    let send = SendMessage {
        conversation: room,
        client_message_id: ClientMessageId(Uuid::now_v7()),
        text: "after the restart".to_owned(),
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    let mut acks = Vec::new();
    for _ in 0..2 {
        let id = socket.request(Request::Send(send.clone())).await?;
        match socket.answer(id).await? {
            Body::Ack(ack) => acks.push(ack),
            other => bail!("no ack: {other:?}"),
        }
    }
    ensure!(acks[0].sequence == Some(before.rows.len() as u64 + 1), "not the next one: {:?}", acks[0]);
    ensure!(!acks[0].replay && acks[1].replay, "the replay is not told: {acks:?}");
    ensure!(acks[0].sequence == acks[1].sequence && acks[0].index == acks[1].index, "{acks:?}");
    socket.close().await;
    Ok(())
}

fn last_pages(test: &TestCluster, room: ConversationId) -> anyhow::Result<FinalPages> {
    let history = test.recorder.history();
    history.finals.iter().rev().find(|pages| pages.conversation == room).cloned().context("the room was read")
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_dead_gateway_resume_elsewhere_with_nothing_missing() -> anyhow::Result<()> {
    let test = TestCluster::start("dead-gateway").await?;
    if !test.cluster.has_balancer() {
        ensure!(std::env::var_os("CI").is_none(), "HAProxy is not installed: this test cannot run");
        println!("SKIPPED: HAProxy is not installed");
        return test.finish(Ok(())).await;
    }
    let result = dead_gateway(&test).await;
    test.finish(result).await
}

async fn dead_gateway(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    acks_since(test, began, "in calm").await?;

    let victims = scene.gateways().get("a").copied().unwrap_or(0);
    ensure!(victims > 0, "nobody is on gateway a: {:?}", scene.gateways());
    test.cluster.kill(&Member::Gateway("a".to_owned())).await?;
    let killed = test.recorder.mark(format!("killed gateway a with {victims} sessions"));
    wait_until("everybody to be elsewhere", WAIT, || async {
        let spread = scene.gateways();
        if spread.contains_key("a") || spread.contains_key("") { Err(format!("{spread:?}")) } else { Ok(()) }
    })
    .await?;
    acks_since(test, killed, "after the gateway's death").await?;

    let stopped = test.recorder.mark("stopping gateway b in order");
    test.cluster.start_member(&Member::Gateway("a".to_owned()))?;
    test.cluster.wait_ready(&Member::Gateway("a".to_owned()), WAIT).await?;
    test.cluster.stop(&Member::Gateway("b".to_owned())).await?;
    wait_until("everybody to be elsewhere", WAIT, || async {
        let spread = scene.gateways();
        if spread.contains_key("b") || spread.contains_key("") { Err(format!("{spread:?}")) } else { Ok(()) }
    })
    .await?;
    acks_since(test, stopped, "after the gateway's stop").await?;
    test.cluster.start_member(&Member::Gateway("b".to_owned()))?;
    test.cluster.wait_ready(&Member::Gateway("b".to_owned()), WAIT).await?;

    scene.settle().await?;
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (tallies, _, rooms) = scene.leave().await?;
    let resumed: u64 = tallies.iter().map(|tally| tally.resumed).sum();
    let restarted: u64 = tallies.iter().map(|tally| tally.restarted).sum();
    test.recorder.mark(format!("{resumed} sockets resumed, {restarted} started anew"));
    ensure!(resumed >= victims as u64 && restarted == 0, "{resumed} resumed, {restarted} started anew");
    read_finals(test, &users, &rooms, "at the end").await?;
    judge(test)
}
