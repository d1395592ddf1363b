//! What is due, in a cluster of three nodes in one process: done once and soon, whoever leads then.

use prost::Message as _;
use quorate_proto::rpc::{command::Action, event, outcome};

use super::tests::{cluster, propose_all, sign_up, until};
use super::ticks::DUE_CHECK_INTERVAL;
use super::*;
use crate::machine::{Tables as _, VERSION_DOMAIN};

fn command(user_id: u64, number: u128, action: Action) -> Bytes {
    let session_id = if user_id == 0 { Bytes::new() } else { SESSION };
    let command_id = Bytes::copy_from_slice(&number.to_be_bytes());
    let command = rpc::Command { user_id, session_id, command_id, first_sent_ms: 0, action: Some(action) };
    Bytes::from(command.encode_to_vec())
}

const SESSION: Bytes = Bytes::from_static(&[7; 16]);

async fn done(nodes: &[Arc<Node>], command: Bytes) -> rpc::Outcome {
    let outcome = propose_all(nodes, vec![command]).await.remove(0);
    assert!(!matches!(outcome.result, Some(outcome::Result::Rejected(_)) | None), "{outcome:?}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_done_once_by_whoever_leads_then() {
    let cluster = cluster(3, 3).await;
    until("the newest version", || {
        cluster.nodes.iter().all(|node| node.status(0).machine_version >= VERSION_DOMAIN).then_some(())
    })
    .await;
    for n in 1..=2 {
        propose_all(&cluster.nodes, vec![sign_up(n)]).await;
    }
    let session = rpc::CreateSession {
        user_id: 1,
        session_id: SESSION,
        refresh_hash: Bytes::from_static(&[1; 32]),
        ..Default::default()
    };
    done(&cluster.nodes, command(0, 3, Action::CreateSession(session))).await;
    done(&cluster.nodes, command(1, 4, Action::CreateDirect(rpc::CreateDirect { peer_id: 2 }))).await;
    let schedule = |text: &str, due_ms: u64| {
        let (conversation_id, text) = (1, text.to_owned());
        Action::Schedule(rpc::Schedule { conversation_id, text, due_ms, reply_to: 0, remind_of: 0 })
    };
    let sent = |node: &Node| {
        let state = node.store.read();
        let messages = state.messages(1, 1, 99, 99).expect("reads");
        messages.into_iter().map(|(_, message)| message.text).collect::<Vec<_>>()
    };

    // The same leader, with nothing else to propose. Far enough ahead that it is not past when it is proposed, whatever holds this
    // thread up.
    let leader = cluster.leader().await;
    let first_ms = leader.wall_clock_ms() + 4_000;
    let mut told = leader.publisher.listen();
    done(&cluster.nodes, command(1, 5, schedule("first", first_ms))).await;
    until("the first is sent", || cluster.nodes.iter().all(|node| sent(node) == ["first"]).then_some(()))
        .await;
    let at_ms = leader.store.read().message(1, 1).expect("reads").expect("there").log_time_ms;
    // Long before log time would have been moved on for its own sake.
    let late_ms = at_ms.checked_sub(first_ms).expect("not before its time");
    assert!(late_ms < TICK_LAG_MS / 6, "{late_ms} ms late");
    let mut published = 0;
    // It is in the state a moment before.
    until("the feed tells of it", || {
        while let Ok(batch) = told.try_recv() {
            let is_message = |event: &&rpc::Event| matches!(event.kind, Some(event::Kind::Message(_)));
            published += batch.events.iter().filter(is_message).count();
        }
        (published > 0).then_some(())
    })
    .await;
    assert_eq!(published, 1, "once");

    // Another leads when the time comes.
    let second = command(1, 7, schedule("second", leader.wall_clock_ms() + 4_000));
    let asked = done(&cluster.nodes, second.clone()).await;
    cluster.another_leader(&leader).await;
    let again = propose_all(&cluster.nodes, vec![second]).await;
    assert!(again[0].replay && again[0].index == asked.index, "a retry schedules nothing");
    let both = ["first", "second"];
    until("the second is sent", || cluster.nodes.iter().all(|node| sent(node) == both).then_some(())).await;
    tokio::time::sleep(3 * DUE_CHECK_INTERVAL).await;
    assert!(cluster.nodes.iter().all(|node| sent(node) == both), "and never again");
    cluster.stop().await;
}
