//! The cluster over HTTP: who is told of it, who changes it, and what is passed on.

use std::sync::Mutex;

use quorate_proto::rpc::cluster_change::Kind;
use quorate_proto::rpc::cluster_change_response::Result as Changed;
use uuid::Uuid;

use super::bots::with_tokens;
use super::*;
use crate::auth::ApiToken;

const VIEW: &str = "/api/v1/admin/cluster";
const FAILOVERS: &str = "/api/v1/admin/cluster/failovers";
const LEADER: &str = "/api/v1/admin/cluster/leader";
const MEMBERS: &str = "/api/v1/admin/cluster/members";
const STAGES: &str = "/api/v1/admin/cluster/stages";

/// A replica that takes Ana for an admin.
fn by_admin(asked: &ReadRequest) -> Option<Found> {
    match asked.query.as_ref()? {
        Query::Audit(_) => Some(Found::Audit(rpc::AuditResult::default())),
        _ => None,
    }
}

fn by_nobody(asked: &ReadRequest) -> Option<Found> {
    let message = "only an admin may read this".into();
    let refused = rpc::Rejected { code: "forbidden".into(), message, revision: None };
    matches!(asked.query, Some(Query::Audit(_))).then_some(Found::Rejected(refused))
}

fn membership(address: &str) -> rpc::StoredMembership {
    let node = |address: &str| rpc::Node { address: address.to_owned() };
    let nodes = [(1, node(address)), (2, node("127.0.0.1:1")), (3, node("127.0.0.1:2"))].into();
    let voters = vec![rpc::VoterSet { node_ids: vec![1, 2, 3] }];
    rpc::StoredMembership {
        log_id: Some(rpc::LogId { term: 4, node_id: 1, index: 9 }),
        membership: Some(rpc::Membership { voters, nodes }),
    }
}

/// A site whose one replica that answers is one of three, and says all that there is to say.
async fn told_site() -> Site {
    let site = site(by_admin).await;
    let address = site.fake.address.clone();
    site.fake.set(|state| {
        state.applied_index = 90;
        state.details = rpc::StatusResponse {
            term: 4,
            leader_id: 1,
            last_log_index: 95,
            commit_index: 93,
            hash: "ab".into(),
            hash_index: 90,
            membership: Some(membership(&address)),
            machine_version: 8,
            version: "0.1.0".into(),
            former_ids: vec![9],
            failovers: vec![rpc::Failover {
                term: 4,
                leader_id: 1,
                old_leader_id: 2,
                time_ms: 1_000,
                heard_ago_us: Some(60_000_000),
                suspected_ms: Some(5),
                election_ms: Some(20),
                majority_ms: Some(30),
                leading_ms: Some(31),
                committed_ms: Some(40),
                handed_over: false,
            }],
            gateways: vec![rpc::GatewayLease {
                gateway: "b".into(),
                started_ms: 5,
                number: 7,
                sessions: Some(12),
                here: true,
            }],
            ..Default::default()
        };
    });
    site
}

#[tokio::test]
async fn an_admin_sees_the_cluster_although_two_of_three_do_not_answer() {
    let site = told_site().await;
    // The gateway must have heard who the members are, as it does every two seconds.
    let told = async {
        loop {
            let view = site.json(VIEW).await;
            if view["replicas"].as_array().is_some_and(|rows| rows.len() == 3) {
                break view;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let view = tokio::time::timeout(Duration::from_secs(30), told).await.expect("three replicas in time");
    assert_eq!(
        (&view["cluster"], &view["answered_by"], &view["leader"]),
        (&json!("test"), &json!("a"), &json!(1))
    );
    assert_eq!(view["quorum"], json!({"voters": 3, "needed": 2, "reachable": 1}));
    let one = &view["replicas"][0];
    assert!(one["round_trip_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 1_000.0), "{one}");
    for (field, value) in [
        ("reachable", json!(true)),
        ("role", json!("leader")),
        ("kind", json!("voter")),
        ("term", json!(4)),
        ("last_index", json!(95)),
        ("committed", json!(93)),
        ("applied", json!(90)),
        ("lag", json!(3)),
        ("hash", json!("ab")),
        ("hash_index", json!(90)),
        ("machine_version", json!(8)),
        ("version", json!("0.1.0")),
    ] {
        assert_eq!(one[field], value, "{field}");
    }
    let silent = json!({"id": 2, "address": "127.0.0.1:1", "reachable": false, "kind": "voter"});
    assert_eq!(view["replicas"][1], silent, "what is not known is absent");
    let gateways = view["gateways"].as_array().expect("an array");
    assert_eq!(gateways[1], json!({"name": "b", "sessions": 12, "since": 5, "feed": 1}));
    assert_eq!((&gateways[0]["name"], &gateways[0]["sessions"]), (&json!("a"), &json!(0)));
    assert_eq!((&view["former"], view.get("agree")), (&json!([9]), None));
}

#[tokio::test]
async fn a_change_of_leader_is_told_with_what_is_known_of_it() {
    let site = told_site().await;
    let told = site.json(FAILOVERS).await;
    let wanted = json!([{"term": 4, "leader": 1, "old_leader": 2, "cause": "lost", "time": 1_000, "suspected_ms": 5,
                         "election_ms": 20, "majority_ms": 30, "leading_ms": 31, "committed_ms": 40}]);
    assert_eq!((&told["failovers"], &told["answered_by"]), (&wanted, &json!("a")));
}

#[tokio::test]
async fn where_the_time_goes_is_told_by_stage_and_absent_where_nothing_was_measured() {
    let site = site(by_admin).await;
    let told = site.json(STAGES).await;
    let stages = told["stages"].as_array().expect("an array");
    let names: Vec<&str> = stages.iter().filter_map(|row| row["stage"].as_str()).collect();
    assert_eq!(names, ["lane", "queue", "retry", "leader", "replica", "network", "reply", "delivery"]);
    assert!(stages.iter().all(|row| row["count"] == 0 && row.as_object().is_some_and(|row| row.len() == 2)));
    assert_eq!((&told["answered_by"], &told["window_ms"]), (&json!("a"), &json!(60_000)));
    // A hundred between 0.8 and 1.6 ms, and a message that another's socket took later.
    for _ in 0..100 {
        site.gateway.metrics.submit_stages.leader.observe(0.001);
    }
    site.gateway.metrics.delivery_seconds.observe(0.02);
    let told = site.json(STAGES).await;
    assert_eq!(told["stages"][3], json!({"stage": "leader", "count": 100, "p50_ms": 1.2, "p99_ms": 1.59}));
    assert_eq!(told["stages"][7], json!({"stage": "delivery", "count": 1, "p50_ms": 19.2, "p99_ms": 25.47}));
    // What a client does shows: a message of hers was answered.
    let (status, answer) =
        site.call(&Method::POST, "/api/v1/conversations/3/messages", Some(json!({"text": "hello"}))).await;
    assert_eq!(status, 201, "{answer}");
    let told = site.json(STAGES).await;
    let queue = &told["stages"][1];
    assert!(queue["count"] == 1 && queue["p50_ms"].as_f64() <= queue["p99_ms"].as_f64(), "{queue}");
}

#[tokio::test]
async fn nobody_but_an_admin_is_told_or_heard() {
    let site = site(by_nobody).await;
    let refused = || Changed::Refused(rpc::Rejected { code: "forbidden".into(), ..Default::default() });
    site.fake.set(|state| {
        state.change = Box::new(move |_| Ok(rpc::ClusterChangeResponse { result: Some(refused()) }));
    });
    for path in [VIEW, FAILOVERS, STAGES] {
        let (status, answer) = site.call(&Method::GET, path, None).await;
        assert!(status == 403 && !answer.contains("replicas"), "{path}: {answer}");
    }
    for (path, body) in [(LEADER, json!({})), (MEMBERS, json!({"remove": {"id": 3}}))] {
        assert_eq!(site.call(&Method::POST, path, Some(body)).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn no_token_of_a_program_is_good_for_the_cluster() {
    let token = ApiToken::new(Uuid::from_u128(1), [6; 32]);
    let (mut site, _) = with_tokens(vec![(token.clone(), 7, 0)]).await;
    site.token = token.text();
    site.fake.set(|state| state.change = Box::new(|_| panic!("it was passed on")));
    for path in [VIEW, FAILOVERS, STAGES] {
        let (status, answer) = site.call(&Method::GET, path, None).await;
        assert!(status == 403 && answer.contains("token"), "{path}: {answer}");
    }
    for (path, body) in [(LEADER, json!({"to": 2})), (MEMBERS, json!({"remove": {"id": 3}}))] {
        let (status, answer) = site.call(&Method::POST, path, Some(body)).await;
        assert!(status == 403 && answer.contains("token"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_change_goes_to_the_leader_with_who_asks_and_comes_back_in_words() {
    let site = told_site().await;
    let asked: Arc<Mutex<Vec<rpc::ClusterChangeRequest>>> = Arc::default();
    let heard = Arc::clone(&asked);
    let now = membership("h:1");
    site.fake.set(|state| {
        state.change = Box::new(move |request| {
            let mut heard = heard.lock().unwrap();
            heard.push(request.clone());
            let behind = match request.change.and_then(|change| change.kind) {
                Some(Kind::Replace(_)) => Some(77),
                _ => None,
            };
            // The first time somebody else leads, and the second time nobody knows.
            let result = match heard.len() {
                1 => Changed::NotLeader(rpc::LeaderHint::default()),
                2 => Changed::Unknown("its fate was not seen".into()),
                _ => Changed::Changed(rpc::ClusterChanged {
                    membership: Some(now.clone()),
                    term: 5,
                    leader_id: 3,
                    index: 120,
                    behind,
                }),
            };
            Ok(rpc::ClusterChangeResponse { result: Some(result) })
        });
    });
    let (status, answer) = site.call(&Method::POST, LEADER, Some(json!({"to": 3}))).await;
    assert_eq!(status, 200, "{answer}");
    let told: Value = serde_json::from_str(&answer).expect("JSON");
    let members = json!([{"id": 1, "address": "h:1", "kind": "voter"},
                         {"id": 2, "address": "127.0.0.1:1", "kind": "voter"},
                         {"id": 3, "address": "127.0.0.1:2", "kind": "voter"}]);
    assert_eq!(told, json!({"done": true, "leader": 3, "term": 5, "members": members, "index": 120}));
    let wanted = rpc::ClusterChangeRequest {
        user_id: 7,
        session_id: Uuid::from_u128(9).as_bytes().to_vec().into(),
        command_id: Uuid::from_u128(5).as_bytes().to_vec().into(),
        change: Some(rpc::ClusterChange { kind: Some(Kind::HandOver(rpc::HandOverLeadership { to: 3 })) }),
    };
    assert_eq!(*asked.lock().unwrap(), [wanted.clone(), wanted.clone(), wanted], "the same words each time");

    let cases = [
        (LEADER, json!({}), Kind::HandOver(rpc::HandOverLeadership { to: 0 }), 200),
        (
            MEMBERS,
            json!({"add": {"id": 6, "address": "h:6"}}),
            Kind::Add(rpc::AddReplica { id: 6, address: "h:6".into(), learner: false }),
            200,
        ),
        (MEMBERS, json!({"remove": {"id": 2}}), Kind::Remove(rpc::RemoveReplica { id: 2 }), 200),
        (
            MEMBERS,
            json!({"replace": {"old": 2, "id": 6, "address": "h:6"}}),
            Kind::Replace(rpc::ReplaceReplica { old_id: 2, new_id: 6, address: "h:6".into() }),
            202,
        ),
    ];
    for (path, body, kind, wanted) in cases {
        let (status, answer) = site.call(&Method::POST, path, Some(body)).await;
        assert_eq!(status, wanted, "{answer}");
        let told: Value = serde_json::from_str(&answer).expect("JSON");
        let behind = if wanted == 202 { json!(77) } else { Value::Null };
        assert_eq!((&told["done"], &told["behind"]), (&json!(wanted == 200), &behind));
        let last = asked.lock().unwrap().last().cloned();
        assert_eq!(last.and_then(|request| request.change?.kind), Some(kind));
    }
}

#[tokio::test]
async fn what_guards_a_change_is_told_and_nonsense_is_not_passed_on() {
    let site = told_site().await;
    let count: Arc<AtomicU64> = Arc::default();
    let counted = Arc::clone(&count);
    let message = "the voters would be {1, 2}, of which 2 must answer and only 1 do";
    site.fake.set(|state| {
        state.change = Box::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let refused = rpc::Rejected { code: "conflict".into(), message: message.into(), revision: None };
            Ok(rpc::ClusterChangeResponse { result: Some(Changed::Refused(refused)) })
        });
    });
    let (status, answer) = site.call(&Method::POST, MEMBERS, Some(json!({"remove": {"id": 3}}))).await;
    assert!(status == 409 && answer.contains(message), "{status}: {answer}");
    let nonsense = [
        (LEADER, json!({"to": 0}), 422),
        (LEADER, json!({"to": "three"}), 400),
        (MEMBERS, json!({"explode": {"id": 3}}), 400),
        (MEMBERS, json!({"add": {"id": 3}}), 400),
        (MEMBERS, json!({}), 400),
    ];
    for (path, body, wanted) in nonsense {
        let (status, answer) = site.call(&Method::POST, path, Some(body)).await;
        assert_eq!(status, wanted, "{path}: {answer}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    // Replicas of the version before do not know the service.
    site.fake.set(|state| state.change = Box::new(|_| Err(Status::unimplemented("unknown service"))));
    let (status, answer) = site.call(&Method::POST, LEADER, Some(json!({}))).await;
    assert!(status == 400 && answer.contains("upgraded"), "{status}: {answer}");
}
