use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_proto::frame::WriteState;
use tokio::time::timeout;

use super::*;
use crate::testing::{Fake, Submits, tier, undisturbed};

const WAIT: Duration = Duration::from_secs(30);

fn command(id: u8) -> Command {
    Command { command_id: vec![id; 16].into(), user_id: 7, ..Command::default() }
}

fn client(fakes: &[&Fake]) -> (LeaderClient, watch::Sender<u64>) {
    let (replicas, _, metrics) = tier(fakes);
    let (feed, leader) = watch::channel(0);
    (LeaderClient::start(replicas, metrics, leader, 0, Arc::default()), feed)
}

async fn submit(client: &LeaderClient, id: u8) -> Result<Outcome, SubmitError> {
    timeout(WAIT, client.submit(&command(id))).await.expect("an answer in time")
}

fn bytes(id: u8) -> Bytes {
    Bytes::from(command(id).encode_to_vec())
}

#[tokio::test]
async fn a_replica_that_does_not_lead_points_to_the_one_that_does() {
    undisturbed(|| async {
        let ((a, _), (b, _)) = (Fake::start(1).await, Fake::start(2).await);
        // It believes that it leads until it is asked.
        a.set(|state| {
            state.role = "leader";
            state.submits = Submits::NotLeader(b.address.clone());
        });
        b.set(|state| state.submits = Submits::Apply);
        let (client, _feed) = client(&[&a, &b]);
        assert!(submit(&client, 1).await.is_ok());
        assert_eq!(a.commands(), [bytes(1)]);
        assert_eq!(b.commands(), [bytes(1)], "the same bytes, so the same command id");
        let mut write = client.write();
        timeout(WAIT, write.wait_for(|status| status.state == WriteState::Up)).await.expect("up").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_broken_stream_resends_what_has_no_answer_in_its_old_order() {
    undisturbed(|| async {
        let ((a, _), (b, _)) = (Fake::start(1).await, Fake::start(2).await);
        a.set(|state| {
            state.role = "leader";
            state.submits = Submits::Break;
        });
        let (client, _feed) = client(&[&a, &b]);
        let waiting: Vec<_> = (1..=3)
            .map(|id| {
                let client = client.clone();
                tokio::spawn(async move { submit(&client, id).await })
            })
            .collect();
        while a.commands().is_empty() {
            tokio::task::yield_now().await;
        }
        a.set(|state| state.role = "follower");
        b.set(|state| {
            state.role = "leader";
            state.submits = Submits::Apply;
        });
        for outcome in waiting {
            assert!(outcome.await.unwrap().is_ok());
        }
        assert_eq!(b.commands(), [bytes(1), bytes(2), bytes(3)]);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_says_nothing_is_left() {
    undisturbed(|| async {
        let ((a, _), (b, _)) = (Fake::start(1).await, Fake::start(2).await);
        a.set(|state| {
            state.role = "leader";
            state.submits = Submits::Mute;
        });
        let (client, _feed) = client(&[&a, &b]);
        let waiting = {
            let client = client.clone();
            tokio::spawn(async move { submit(&client, 1).await })
        };
        while a.commands().is_empty() {
            tokio::task::yield_now().await;
        }
        a.set(|state| state.role = "follower");
        b.set(|state| {
            state.role = "leader";
            state.submits = Submits::Apply;
        });
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(b.commands(), [bytes(1)]);
    })
    .await;
}

#[tokio::test]
async fn without_a_leader_a_command_ends_unknown_in_its_time_and_never_as_failed() {
    let (a, _) = Fake::start(1).await;
    let (client, _feed) = client(&[&a]);
    let mut write = client.write();
    let status = timeout(WAIT, write.wait_for(|status| status.state == WriteState::NoQuorum));
    let (result, status) = tokio::join!(submit(&client, 1), status);
    assert_eq!(result, Err(SubmitError::Unavailable));
    assert!(status.expect("no quorum is noticed").is_ok());
}

/// All replicas restarted together: for a moment the followers still named the former leader from their stored votes. The
/// gateway opened its stream there and showed `no_quorum` until somebody sent something.
#[tokio::test]
async fn a_stream_opened_at_a_replica_that_no_longer_leads_is_left_without_any_command() {
    let ((a, _), (b, _)) = (Fake::start(1).await, Fake::start(2).await);
    let refused = || Box::new(|_| Err(tonic::Status::unavailable("only the leader serves it")));
    a.set(|state| {
        state.role = "leader";
        state.read = refused();
    });
    let (client, _feed) = client(&[&a, &b]);
    // It has opened its stream at the first once it asks there for the proof.
    timeout(WAIT, async {
        while a.streams() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a stream in time");
    a.set(|state| state.role = "follower");
    b.set(|state| {
        state.role = "leader";
        state.read = Box::new(|_| Ok(quorate_proto::rpc::ReadResponse::default()));
    });
    let mut write = client.write();
    let status = timeout(WAIT, write.wait_for(|status| status.state == WriteState::Up)).await;
    assert_eq!(status.expect("up without a command").unwrap().leader, Some(2));
    assert!(a.commands().is_empty() && b.commands().is_empty());
}

/// A lone leader keeps its streams open, so nothing but a question finds out that the others are gone.
#[tokio::test]
async fn a_quiet_leader_whose_quorum_is_gone_is_noticed_and_one_lost_question_is_not() {
    undisturbed(|| async {
        let (a, _) = Fake::start(1).await;
        let answered = || Box::new(|_| Ok(quorate_proto::rpc::ReadResponse::default()));
        a.set(|state| {
            state.role = "leader";
            state.read = answered();
        });
        let (client, _feed) = client(&[&a]);
        let mut write = client.write();
        timeout(WAIT, write.wait_for(|status| status.state == WriteState::Up)).await.expect("up").unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        a.set(|state| {
            state.read = Box::new(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
                0 => Err(tonic::Status::unavailable("the connection was let go")),
                _ => Ok(quorate_proto::rpc::ReadResponse::default()),
            });
        });
        timeout(WAIT, async {
            while asked.load(Ordering::Relaxed) < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert_eq!(write.borrow().state, WriteState::Up);
            }
        })
        .await
        .expect("three questions in time");
        a.set(|state| state.read = Box::new(|_| Err(tonic::Status::unavailable("no quorum"))));
        let status = timeout(WAIT, write.wait_for(|status| status.state == WriteState::NoQuorum)).await;
        assert!(status.expect("no quorum is noticed without a command").is_ok());
        a.set(|state| state.read = answered());
        timeout(WAIT, write.wait_for(|status| status.state == WriteState::Up))
            .await
            .expect("up again")
            .unwrap();
        assert!(a.commands().is_empty());
    })
    .await;
}
