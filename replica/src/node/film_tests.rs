//! Changes of leader in a cluster of three nodes in one process: what each remembers of them, and that admins of the site bring one
//! about only as the replicated state allows.

use std::time::Duration;

use prost::Message as _;
use quorate_proto::rpc::cluster_change::Kind;
use quorate_proto::rpc::cluster_change_response::Result as Answer;
use quorate_proto::rpc::cluster_server::Cluster as _;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{ClusterChange, ClusterChangeRequest};

use super::tests::{Cluster, cluster, propose_all, sign_up, until};
use super::*;
use crate::machine::{PeopleTables as _, Tables as _, VERSION_CLUSTER};
use crate::service::cluster::ClusterService;

const SECRET: Bytes = Bytes::from_static(&[3; 32]);

fn in_order(told: &rpc::Failover, steps: &[Option<u64>]) {
    assert!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{told:?}");
}

async fn other_leader(cluster: &Cluster, not: u64) -> Arc<Node> {
    until("another leader", || cluster.nodes.iter().find(|node| node.leads() && node.id() != not).cloned())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_remembers_how_it_came_to_lead() {
    let cluster = cluster(3, 3).await;
    let first = cluster.leader().await;
    propose_all(&cluster.nodes, vec![sign_up(1)]).await;
    assert!(first.failovers().is_empty(), "nobody led before it");

    first.hand_over().await;
    let second = other_leader(&cluster, first.id()).await;
    let told = until("its first commit", || {
        second.failovers().first().filter(|told| told.committed_ms.is_some()).copied()
    })
    .await;
    assert!(told.handed_over && told.suspected_ms.is_none(), "{told:?}");
    assert_eq!((told.old_leader_id, told.leader_id), (first.id(), second.id()));
    assert_eq!(told.term, second.status(0).term);
    in_order(&told, &[told.election_ms, told.majority_ms, told.leading_ms, told.committed_ms]);

    // It is heard of no more, and its process goes on: the others' patience decides.
    propose_all(&cluster.nodes, vec![sign_up(2)]).await;
    second.raft.shutdown().await.expect("stops");
    let third = other_leader(&cluster, second.id()).await;
    let told = until("its first commit", || {
        third.failovers().first().filter(|told| told.committed_ms.is_some()).copied()
    })
    .await;
    assert!(!told.handed_over, "{told:?}");
    assert_eq!((told.old_leader_id, told.leader_id), (second.id(), third.id()));
    let steps = [told.suspected_ms, told.election_ms, told.majority_ms, told.leading_ms, told.committed_ms];
    in_order(&told, &steps);
    // Heartbeats come every 100 ms, and nobody stands within the lease of a second.
    assert!(told.suspected_ms.is_some_and(|ms| (500..20_000).contains(&ms)), "{told:?}");
    assert!(told.heard_ago_us.is_some_and(|ago| ago / 1_000 >= told.committed_ms.unwrap_or(0)), "{told:?}");
    assert_eq!(second.failovers().len(), 1, "each remembers its own");
}

fn command(user_id: u64, number: u128, action: Action) -> Bytes {
    let session_id = if user_id == 0 { Bytes::new() } else { session_of(user_id) };
    let command_id = Bytes::copy_from_slice(&number.to_be_bytes());
    let command = rpc::Command { user_id, session_id, command_id, first_sent_ms: 0, action: Some(action) };
    Bytes::from(command.encode_to_vec())
}

fn session_of(user_id: u64) -> Bytes {
    Bytes::copy_from_slice(&[u8::try_from(user_id).expect("few"); 16])
}

fn asks(user_id: u64, number: u128, kind: Kind) -> ClusterChangeRequest {
    ClusterChangeRequest {
        user_id,
        session_id: session_of(user_id),
        command_id: Bytes::copy_from_slice(&number.to_be_bytes()),
        change: Some(ClusterChange { kind: Some(kind) }),
    }
}

async fn ask(node: &Arc<Node>, request: &ClusterChangeRequest) -> Answer {
    let service = ClusterService::new(node.clone(), None);
    let answer = service.change(tonic::Request::new(request.clone())).await.expect("an answer");
    answer.into_inner().result.expect("a result")
}

fn code(answer: &Answer) -> &str {
    match answer {
        Answer::Refused(refused) => &refused.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// What the audit log says that admins asked of the cluster.
fn recorded(node: &Node) -> Vec<String> {
    let state = node.store.read();
    let last = state.counters().expect("reads").audit;
    let entries = state.audit_entries(1, last + 1).expect("reads");
    let words = entries
        .into_iter()
        .map(|(_, entry)| format!("{} {}", crate::machine::audit::word(entry.action), entry.detail));
    words.filter(|line| line.contains("_change_asked")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_of_the_site_change_the_cluster_and_nobody_else_does() {
    let cluster = cluster(3, 3).await;
    let leader = cluster.leader().await;
    until("the newest version", || {
        cluster.nodes.iter().all(|node| node.status(0).machine_version >= VERSION_CLUSTER).then_some(())
    })
    .await;
    propose_all(&cluster.nodes, vec![sign_up(1), sign_up(2)]).await;
    for user_id in 1..=2 {
        let session = rpc::CreateSession {
            user_id,
            session_id: session_of(user_id),
            refresh_hash: Bytes::from_static(&[1; 32]),
            ..Default::default()
        };
        propose_all(
            &cluster.nodes,
            vec![command(0, 10 + u128::from(user_id), Action::CreateSession(session))],
        )
        .await;
    }
    let offer = rpc::OfferAdmin { secret_hash: SECRET, only_first: true };
    let claim = rpc::ClaimAdmin { secret_hash: SECRET };
    propose_all(&cluster.nodes, vec![command(0, 20, Action::OfferAdmin(offer))]).await;
    propose_all(&cluster.nodes, vec![command(1, 21, Action::ClaimAdmin(claim))]).await;
    let (admin, somebody) = (1, 2);

    let next = cluster.nodes.iter().find(|node| node.id() != leader.id()).expect("two others").clone();
    let hand_over = |to| Kind::HandOver(rpc::HandOverLeadership { to });
    assert_eq!(code(&ask(&leader, &asks(somebody, 30, hand_over(next.id()))).await), "forbidden");
    let stranger = ClusterChangeRequest {
        session_id: Bytes::from_static(&[99; 16]),
        ..asks(admin, 31, hand_over(next.id()))
    };
    assert_eq!(code(&ask(&leader, &stranger).await), "unauthenticated");
    let nothing = ClusterChangeRequest { change: None, ..asks(admin, 32, hand_over(0)) };
    assert_eq!(code(&ask(&leader, &nothing).await), "invalid");
    assert!(matches!(ask(&next, &asks(admin, 33, hand_over(0))).await, Answer::NotLeader(_)));
    assert!(leader.leads() && recorded(&leader).is_empty(), "nothing was done or written down");

    // The guards of operators hold, and what was asked for stands in the log all the same.
    let unknown = Kind::Remove(rpc::RemoveReplica { id: 77 });
    assert_eq!(code(&ask(&leader, &asks(admin, 34, unknown)).await), "conflict");
    let request = asks(admin, 35, hand_over(next.id()));
    let changed = until_done(&cluster, &request).await;
    assert_eq!((changed.leader_id, changed.behind), (next.id(), None));
    until("it leads", || next.leads().then_some(())).await;
    let told = until("it says so", || next.failovers().first().copied()).await;
    assert!(told.handed_over && told.old_leader_id == leader.id(), "{told:?}");
    let lines = [
        "members_change_asked remove replica 77".to_owned(),
        format!("leader_change_asked to replica {}", next.id()),
    ];
    assert_eq!(recorded(&next), lines);

    // The answer was lost and it is asked again of the new leader: it is done, and written down once.
    let again = until_done(&cluster, &request).await;
    assert_eq!((again.leader_id, again.index), (next.id(), changed.index));
    // Without a name, too: leadership has moved since, so it does not move once more.
    let any = asks(admin, 36, hand_over(0));
    let third = until_done(&cluster, &any).await;
    assert_ne!(third.leader_id, next.id());
    let third_node =
        cluster.nodes.iter().find(|node| node.id() == third.leader_id).expect("a member").clone();
    until("it leads", || third_node.leads().then_some(())).await;
    let again = until_done(&cluster, &any).await;
    assert_eq!((again.leader_id, again.index), (third.leader_id, third.index));
    assert_eq!(recorded(&third_node).len(), 3);

    // It was written down and no more, and its leader lost leadership and has it again in another term: it is still to be done.
    let (lead, kept) = (third_node, asks(admin, 37, hand_over(0)));
    let record = rpc::RecordClusterChange { change: kept.change.clone() };
    propose_all(&cluster.nodes, vec![command(admin, 37, Action::RecordClusterChange(record))]).await;
    let before = lead.status(0).term;
    let other = cluster.nodes.iter().find(|node| node.id() != lead.id()).expect("two others").clone();
    for (number, to) in [(38, &other), (39, &lead)] {
        until_done(&cluster, &asks(admin, number, hand_over(to.id()))).await;
        until("it leads", || to.leads().then_some(())).await;
    }
    assert!(lead.status(0).term > before);
    let moved = until_done(&cluster, &kept).await;
    assert_ne!(moved.leader_id, lead.id(), "it has the leadership that it was to give away");
    let third_node = other_leader(&cluster, lead.id()).await;

    // Who is no operator leaves enough of them.
    let fewer = asks(admin, 45, Kind::Remove(rpc::RemoveReplica { id: lead.id() }));
    let why = until_refused(&third_node, &fewer).await;
    assert!(why.code == "conflict" && why.message.contains("fewer than 3 voters"), "{why:?}");

    // A request that was on its way for too long is not carried out any more.
    let late = rpc::RecordClusterChange { change: kept.change.clone() };
    let made = propose_all(&cluster.nodes, vec![command(admin, 46, Action::RecordClusterChange(late))]).await;
    let proposal = Proposal {
        log_time_ms: made[0].log_time_ms + 60_001,
        command: sign_up(3),
        traceparent: String::new(),
    };
    third_node.raft.client_write(proposal).await.expect("a majority has it");
    assert_eq!(code(&ask(&third_node, &asks(admin, 46, hand_over(0))).await), "expired");
    assert!(third_node.leads(), "it was carried out");

    // What she may no more she does not do by asking again either.
    let other = command(
        admin,
        40,
        Action::SetUserState(rpc::SetUserState { user_id: somebody, disabled: None, admin: Some(true) }),
    );
    propose_all(&cluster.nodes, vec![other]).await;
    let unmake = rpc::SetUserState { user_id: admin, disabled: None, admin: Some(false) };
    propose_all(&cluster.nodes, vec![command(somebody, 41, Action::SetUserState(unmake))]).await;
    assert_eq!(code(&ask(&third_node, &request).await), "forbidden");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_voter_stays() {
    let cluster = cluster(1, 1).await;
    let leader = cluster.leader().await;
    let error = leader.remove(leader.id()).await.expect_err("nobody would be left");
    assert!(matches!(&error, ChangeError::Refused(why) if why.contains("the last voter")), "{error}");
    cluster.stop().await;
}

/// Asks whoever leads until it is done, as a gateway does: a leader that has just begun says so, and one that waits in vain for its
/// successor on a busy machine.
async fn until_done(cluster: &Cluster, request: &ClusterChangeRequest) -> rpc::ClusterChanged {
    for _ in 0..500 {
        if let Some(leader) = cluster.nodes.iter().find(|node| node.leads()) {
            match ask(leader, request).await {
                Answer::Changed(changed) => return changed,
                Answer::Unknown(_) | Answer::NotLeader(_) => {}
                Answer::Refused(refused) => panic!("refused: {refused:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 10 s in vain for a change");
}

/// Asks a leader, which may have just begun, until it refuses.
async fn until_refused(leader: &Arc<Node>, request: &ClusterChangeRequest) -> rpc::Rejected {
    for _ in 0..500 {
        match ask(leader, request).await {
            Answer::Refused(refused) => return refused,
            Answer::Unknown(_) | Answer::NotLeader(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Answer::Changed(changed) => panic!("not refused: {changed:?}"),
        }
    }
    panic!("waited 10 s in vain for a refusal");
}
