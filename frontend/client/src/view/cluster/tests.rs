//! What an admin reads of a cluster.

use quorate_proto::rest::ClusterMember;

use super::*;

fn row(id: u64, hash: &str) -> ReplicaRow {
    ReplicaRow {
        id,
        address: format!("10.0.0.{id}:7000"),
        reachable: true,
        kind: Some(MemberKind::Voter),
        role: Some(if id == 2 { ReplicaRole::Leader } else { ReplicaRole::Follower }),
        term: Some(1_207),
        last_index: Some(12_300),
        committed: Some(12_299),
        applied: Some(12_298),
        lag: Some(1),
        hash: Some(hash.repeat(16)),
        hash_index: Some(12_288),
        round_trip_ms: Some(0.44),
        storage_low: false,
        stopping: false,
        machine_version: Some(9),
        version: Some("0.6.0".to_owned()),
    }
}

fn view(hashes: [&str; 5]) -> ClusterView {
    let feed = |name: &str, feed| GatewayRow { name: name.to_owned(), sessions: Some(3), since: None, feed };
    ClusterView {
        cluster: "c".to_owned(),
        answered_by: "a".to_owned(),
        leader: Some(2),
        quorum: Quorum { voters: 5, needed: 3, reachable: 5 },
        replicas: (1..).zip(hashes).map(|(id, hash)| row(id, hash)).collect(),
        gateways: vec![feed("a", Some(1)), feed("b", Some(5)), feed("c", None)],
        former: vec![7],
        agree: Some(true),
    }
}

#[test]
fn the_majority_is_one_sentence_and_says_what_it_means() {
    let said = |reachable| quorum_sentence(&Quorum { voters: 5, needed: 3, reachable });
    assert_eq!(said(5), "5 of 5 answer; writes need 3.");
    assert_eq!(said(4), "4 of 5 answer; writes need 3.");
    assert_eq!(said(3), "3 of 5 answer; writes need 3, so none may be lost.");
    assert!(said(2).contains("reading only"), "{}", said(2));
    assert_eq!(quorum_sentence(&Quorum::default()), "Who votes is not known: no replica answers.");
    let health = |reachable| health(&Quorum { voters: 5, needed: 3, reachable });
    assert_eq!(
        [5, 4, 3, 2, 0].map(health),
        [Health::Whole, Health::Fewer, Health::Edge, Health::Stopped, Health::Stopped]
    );
}

#[test]
fn who_leads_is_said_with_its_term() {
    let mut view = view(["a"; 5]);
    assert_eq!(leader_sentence(&view), "Replica 2 leads in term 1,207.");
    view.leader = Some(9);
    assert_eq!((leader_sentence(&view).as_str(), standing(&view)), ("Replica 9 leads.", Health::Whole));
    view.leader = None;
    assert_eq!(
        (leader_sentence(&view).as_str(), standing(&view)),
        ("Nobody leads just now: writes wait.", Health::Edge)
    );
    view.quorum.reachable = 2;
    assert_eq!(standing(&view), Health::Stopped);
}

#[test]
fn a_state_that_differs_is_found_and_named() {
    let same = view(["a"; 5]);
    assert!(differing(&same.replicas).is_empty());
    assert_eq!(agreement_sentence(&same), "All states that were compared are the same.");
    let one = view(["a", "a", "a", "b", "a"]);
    assert_eq!(differing(&one.replicas), [4]);
    assert!(agreement_sentence(&one).starts_with("Replica 4 has another state"));
    let two = view(["c", "a", "a", "b", "a"]);
    assert_eq!(differing(&two.replicas), [1, 4]);
    assert!(agreement_sentence(&two).starts_with("Replicas 1 and 4 have"));
}

#[test]
fn without_a_state_that_most_have_all_that_differ_are_named() {
    let mut torn = view(["a", "a", "b", "b", "a"]);
    torn.replicas[4].hash = None;
    assert_eq!(differing(&torn.replicas), [1, 2, 3, 4]);
}

#[test]
fn states_at_different_indexes_are_not_compared() {
    let mut apart = view(["a", "a", "a", "b", "a"]);
    apart.replicas[3].hash_index = Some(13_312);
    assert!(differing(&apart.replicas).is_empty());
    apart.agree = None;
    assert_eq!(agreement_sentence(&apart), "No states have been compared yet.");
}

#[test]
fn lines_go_from_the_middle_of_a_gateways_row_to_the_middle_of_its_replicas() {
    let feeds = feeds(&view(["a"; 5]));
    let paths: Vec<_> = feeds.iter().map(|feed| (&*feed.gateway, feed.replica, &*feed.path)).collect();
    assert_eq!(
        paths,
        [("a", 1, "M0 16.67C55 16.67 45 10.00 100 10.00"), ("b", 5, "M0 50.00C55 50.00 45 90.00 100 90.00"),]
    );
}

#[test]
fn what_is_not_known_is_a_dash_and_never_a_zero() {
    let mut silent = row(3, "a");
    (silent.reachable, silent.hash, silent.round_trip_ms, silent.version) = (false, None, None, None);
    let words = [known(None), hash_words(&silent), round_trip_words(&silent), version_words(&silent)];
    assert_eq!(words, ["–"; 4]);
    assert_eq!((role_words(&silent), role_name(&silent)), ("No answer", "silent"));
    assert_eq!(hash_words(&row(3, "ab")), "abababab at 12,288");
    assert_eq!(round_trip_words(&row(3, "a")), "0.4 ms");
    assert_eq!(version_words(&row(3, "a")), "0.6.0, rules 9");
}

#[test]
fn leadership_is_offered_to_voters_that_answer_and_do_not_lead() {
    use MemberAct::{Lead, Remove, Replace};
    assert_eq!(member_acts(&row(1, "a")), [Lead, Replace, Remove]);
    assert_eq!(member_acts(&row(2, "a")), [Replace, Remove]);
    let learner = ReplicaRow { kind: Some(MemberKind::Learner), ..row(6, "a") };
    let silent = ReplicaRow { reachable: false, ..row(3, "a") };
    for row in [learner, silent] {
        assert_eq!(member_acts(&row), [Replace, Remove]);
    }
    assert!(member_acts(&ReplicaRow { id: 0, ..row(3, "a") }).is_empty());
}

#[test]
fn a_removal_says_what_writes_need_afterwards() {
    let view = view(["a"; 5]);
    assert!(removal_words(&view, &view.replicas[0]).ends_with("Writes then need 3 of 4."));
    let learner = ReplicaRow { kind: Some(MemberKind::Learner), ..row(6, "a") };
    assert!(removal_words(&view, &learner).ends_with("replica 6."));
    assert_eq!(fresh_id(&view), 8);
}

#[test]
fn a_change_says_how_far_it_is() {
    let member = ClusterMember { id: 1, address: String::new(), kind: MemberKind::Voter };
    let mut changed = ClusterChanged {
        done: false,
        behind: Some(1_204),
        leader: Some(2),
        term: 4,
        members: vec![member],
        index: 9,
    };
    assert_eq!(
        changed_words(&changed, Some(6)),
        "Replica 6 follows without a vote, and is catching up: 1,204 entries behind."
    );
    changed.done = true;
    assert_eq!(changed_words(&changed, Some(6)), "Done. Replica 2 leads; 1 replica votes.");
}

#[test]
fn numbers_and_ages_are_easy_to_compare() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([6_900, 119_999, 120_000].map(age_words), ["6 s", "119 s", "2 min"]);
}
