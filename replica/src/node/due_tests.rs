//! What is due, in a cluster of three nodes in one process: done once, within a second or so, whoever leads then.

use prost::Message as _;
use quorate_proto::rpc::{command::Action, event, outcome};
use tokio::time::Instant;

use super::tests::{cluster, propose_all, sign_up, until};
use super::*;
use crate::machine::{Tables as _, VERSION_DOMAIN};

fn command(user_id: u64, number: u128, action: Action) -> Bytes {
    let session_id = if user_id == 0 { Bytes::new() } else { SESSION };
    let command_id = Bytes::copy_from_slice(&number.to_be_bytes());
    let command = rpc::Command { user_id, session_id, command_id, first_sent_ms: 0, action: Some(action) };
    Bytes::from(command.encode_to_vec())
}

const SESSION: Bytes = Bytes::from_static(&[7; 16]);

async fn done(node: &Node, command: Bytes) -> rpc::Outcome {
    let outcome = propose_all(node, vec![command]).await.remove(0);
    assert!(!matches!(outcome.result, Some(outcome::Result::Rejected(_)) | None), "{outcome:?}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_done_once_by_whoever_leads_then() {
    let cluster = cluster(3, 3).await;
    let leader = cluster.leader().await;
    until("the newest version", || {
        cluster.nodes.iter().all(|node| node.status(0).machine_version >= VERSION_DOMAIN).then_some(())
    })
    .await;
    for n in 1..=2 {
        propose_all(&leader, vec![sign_up(n)]).await;
    }
    let session = rpc::CreateSession {
        user_id: 1,
        session_id: SESSION,
        refresh_hash: Bytes::from_static(&[1; 32]),
        ..Default::default()
    };
    done(&leader, command(0, 3, Action::CreateSession(session))).await;
    let made = done(&leader, command(1, 4, Action::CreateDirect(rpc::CreateDirect { peer_id: 2 }))).await;
    let schedule = |text: &str, due_ms: u64| {
        let (conversation_id, text) = (1, text.to_owned());
        Action::Schedule(rpc::Schedule { conversation_id, text, due_ms, reply_to: 0, remind_of: 0 })
    };
    let sent = |node: &Node| {
        let state = node.store.read();
        let messages = state.messages(1, 1, 99, 99).expect("reads");
        messages.into_iter().map(|(_, message)| message.text).collect::<Vec<_>>()
    };

    // The same leader, with nothing else to propose.
    let first_ms = made.log_time_ms + 700;
    let mut told = leader.publisher.listen();
    done(&leader, command(1, 5, schedule("first", first_ms))).await;
    let asked = Instant::now();
    until("the first is sent", || cluster.nodes.iter().all(|node| sent(node) == ["first"]).then_some(()))
        .await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let at_ms = leader.store.read().message(1, 1).expect("reads").expect("there").log_time_ms;
    assert!(at_ms >= first_ms && at_ms < first_ms + 2_000, "{} ms late", at_ms - first_ms);
    let mut published = 0;
    while let Ok(batch) = told.try_recv() {
        let is_message = |event: &&rpc::Event| matches!(event.kind, Some(event::Kind::Message(_)));
        published += batch.events.iter().filter(is_message).count();
    }
    assert_eq!(published, 1, "the feed tells of it");

    // Another leads when the time comes.
    let made = done(&leader, command(1, 6, Action::CreateDirect(rpc::CreateDirect { peer_id: 2 }))).await;
    let asked = done(&leader, command(1, 7, schedule("second", made.log_time_ms + 1_500))).await;
    leader.hand_over().await;
    let next = until("another leader", || {
        cluster.nodes.iter().find(|node| node.is_leader() && node.id() != leader.id()).cloned()
    })
    .await;
    let again = propose_all(&next, vec![command(1, 7, schedule("second", made.log_time_ms + 1_500))]).await;
    assert!(again[0].replay && again[0].index == asked.index, "a retry schedules nothing");
    let both = ["first", "second"];
    until("the second is sent", || cluster.nodes.iter().all(|node| sent(node) == both).then_some(())).await;
    tokio::time::sleep(3 * DUE_CHECK_INTERVAL).await;
    assert!(cluster.nodes.iter().all(|node| sent(node) == both), "and never again");
    cluster.stop().await;
}
