//! From the replicas' answers to the view of the cluster. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_proto::rest::{ClusterView, GatewayRow, MemberKind, Quorum, ReplicaRole, ReplicaRow};
use quorate_proto::rpc::{GatewayLease, Membership, StatusResponse};

use super::Answer;

/// What the gateway that answers says of itself.
#[derive(Debug, Clone)]
pub struct Own {
    /// The cluster's id.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Open, authenticated sockets.
    pub sessions: u64,
    /// When it was started, ms since the Unix epoch.
    pub since: u64,
    /// The replica that its feed comes from.
    pub feed: Option<u64>,
}

/// Whole milliseconds.
pub(super) fn ms(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_millis()).ok()
}

fn role(word: &str) -> Option<ReplicaRole> {
    match word {
        "leader" => Some(ReplicaRole::Leader),
        "follower" => Some(ReplicaRole::Follower),
        "candidate" => Some(ReplicaRole::Candidate),
        "learner" => Some(ReplicaRole::Learner),
        _ => None,
    }
}

/// What a replica is in a membership.
pub fn kind_of(membership: &Membership, id: u64) -> MemberKind {
    match membership.voters.iter().filter(|set| set.node_ids.contains(&id)).count() {
        0 => MemberKind::Learner,
        votes if votes < membership.voters.len() => MemberKind::Changing,
        _ => MemberKind::Voter,
    }
}

/// The newest membership that anybody told.
fn newest(statuses: &[&StatusResponse]) -> Option<Membership> {
    let stored = statuses.iter().filter_map(|status| status.membership.as_ref());
    let newest = stored.max_by_key(|stored| stored.log_id.map_or((0, 0), |id| (id.term, id.index)));
    newest?.membership.clone().filter(|membership| !membership.nodes.is_empty())
}

fn quorum(membership: &Membership, reachable: &BTreeSet<u64>) -> Quorum {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let of = |set: &quorate_proto::rpc::VoterSet| {
        let there = set.node_ids.iter().filter(|id| reachable.contains(id)).count();
        Quorum {
            voters: count(set.node_ids.len()),
            needed: count(set.node_ids.len() / 2 + 1),
            reachable: count(there),
        }
    };
    let sets = membership.voters.iter().map(of);
    sets.min_by_key(|set| i64::from(set.reachable) - i64::from(set.needed)).unwrap_or_default()
}

fn replica(
    id: u64,
    address: &str,
    kind: Option<MemberKind>,
    answer: Option<&Answer>,
    committed: u64,
) -> ReplicaRow {
    let status = answer.and_then(|answer| answer.status.as_ref());
    let some = |number: fn(&StatusResponse) -> u64| status.map(number);
    let hash = status.map(|status| status.hash.clone()).filter(|hash| !hash.is_empty());
    ReplicaRow {
        id,
        address: address.to_owned(),
        reachable: status.is_some(),
        kind,
        role: status.and_then(|status| role(&status.role)),
        term: some(|status| status.term),
        last_index: some(|status| status.last_log_index),
        committed: some(|status| status.commit_index),
        applied: some(|status| status.applied_index),
        lag: status.map(|status| committed.saturating_sub(status.applied_index)),
        hash_index: status.filter(|_| hash.is_some()).map(|status| status.hash_index),
        hash,
        // To a hundredth: more would be noise.
        round_trip_ms: answer
            .filter(|_| status.is_some())
            .map(|answer| (answer.round_trip.as_secs_f64() * 100_000.0).round() / 100.0),
        storage_low: status.is_some_and(|status| status.storage_low),
        stopping: status.is_some_and(|status| status.stopping),
        machine_version: status.map(|status| status.machine_version),
        version: status.map(|status| status.version.clone()),
    }
}

/// The gateways by their leases, and this one by itself.
fn gateways(statuses: &[&StatusResponse], own: &Own) -> Vec<GatewayRow> {
    let place = |lease: &GatewayLease| (lease.started_ms, lease.number);
    let mut newest: BTreeMap<&str, &GatewayLease> = BTreeMap::new();
    let mut feeds: BTreeMap<&str, ((u64, u64), u64)> = BTreeMap::new();
    for (status, lease) in
        statuses.iter().flat_map(|status| status.gateways.iter().map(move |it| (status, it)))
    {
        let known = newest.entry(&lease.gateway).or_insert(lease);
        if place(lease) > place(known) {
            *known = lease;
        }
        if lease.here {
            let feed = feeds.entry(&lease.gateway).or_default();
            *feed = (*feed).max((place(lease), status.id));
        }
    }
    let mut rows: BTreeMap<String, GatewayRow> = BTreeMap::new();
    for (name, lease) in newest {
        let row = GatewayRow {
            name: name.to_owned(),
            sessions: lease.sessions.map(u64::from),
            since: Some(lease.started_ms).filter(|ms| *ms != 0),
            feed: feeds.get(name).map(|(_, id)| *id),
        };
        rows.insert(name.to_owned(), row);
    }
    let row = GatewayRow {
        name: own.name.clone(),
        sessions: Some(own.sessions),
        since: Some(own.since),
        feed: own.feed,
    };
    rows.insert(own.name.clone(), row);
    rows.into_values().collect()
}

/// What the answers come to.
pub fn view(answers: &[Answer], own: &Own) -> ClusterView {
    let statuses: Vec<&StatusResponse> = answers.iter().filter_map(|answer| answer.status.as_ref()).collect();
    let committed = statuses.iter().map(|status| status.commit_index).max().unwrap_or(0);
    let reachable: BTreeSet<u64> = statuses.iter().map(|status| status.id).collect();
    let leader = statuses.iter().filter(|status| status.role == "leader").max_by_key(|status| status.term);
    let membership = newest(&statuses);
    let answer_of =
        |id: u64| answers.iter().find(|answer| answer.status.as_ref().is_some_and(|it| it.id == id));
    let replicas: Vec<ReplicaRow> = match &membership {
        Some(membership) => membership
            .nodes
            .iter()
            .map(|(id, node)| {
                replica(*id, &node.address, Some(kind_of(membership, *id)), answer_of(*id), committed)
            })
            .collect(),
        None => {
            let known = answers.iter().map(|answer| {
                let id = answer.status.as_ref().map(|status| status.id).or(answer.id).unwrap_or(0);
                replica(id, &answer.address, None, Some(answer), committed)
            });
            known.collect()
        }
    };
    let former = statuses.iter().max_by_key(|status| status.applied_index);
    // Hashes of one index only say something of each other.
    let hashes: Vec<(u64, &str)> =
        replicas.iter().filter_map(|row| Some((row.hash_index?, row.hash.as_deref()?))).collect();
    let agree = (hashes.len() >= 2 && hashes.iter().all(|(index, _)| *index == hashes[0].0))
        .then(|| hashes.iter().all(|(_, hash)| *hash == hashes[0].1));
    ClusterView {
        cluster: own.cluster.clone(),
        answered_by: own.name.clone(),
        leader: leader.map(|status| status.id),
        quorum: membership.map(|membership| quorum(&membership, &reachable)).unwrap_or_default(),
        gateways: gateways(&statuses, own),
        former: former.map(|status| status.former_ids.clone()).unwrap_or_default(),
        replicas,
        agree,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use quorate_proto::rpc::{LogId, Node, StoredMembership, VoterSet};

    use super::*;

    fn membership(index: u64, voters: &[&[u64]], all: &[u64]) -> StoredMembership {
        let sets = voters.iter().map(|set| VoterSet { node_ids: set.to_vec() }).collect();
        let nodes = all.iter().map(|id| (*id, Node { address: format!("h:{id}") })).collect();
        let log_id = Some(LogId { term: 1, node_id: 1, index });
        StoredMembership { log_id, membership: Some(Membership { voters: sets, nodes }) }
    }

    fn status(id: u64, role: &str) -> StatusResponse {
        StatusResponse {
            id,
            role: role.to_owned(),
            term: 4,
            commit_index: 90,
            applied_index: 80 + id,
            hash: "aa".into(),
            hash_index: 81,
            membership: Some(membership(5, &[&[1, 2, 3]], &[1, 2, 3, 4])),
            ..StatusResponse::default()
        }
    }

    fn answer(at: usize, status: Option<StatusResponse>) -> Answer {
        let address = format!("h:{}", at + 1).into();
        let (round_trip, asked) = (Duration::from_micros(1_234), Instant::now());
        Answer { at, address, id: Some(at as u64 + 1), status, round_trip, asked }
    }

    fn own() -> Own {
        Own { cluster: "c".into(), name: "b".into(), sessions: 3, since: 7, feed: Some(2) }
    }

    #[test]
    fn who_answers_is_told_in_full_and_who_does_not_by_name() {
        let answers =
            [answer(0, Some(status(1, "leader"))), answer(1, None), answer(2, Some(status(3, "follower")))];
        let view = view(&answers, &own());
        assert_eq!((view.leader, view.agree), (Some(1), Some(true)));
        assert_eq!(view.quorum, Quorum { voters: 3, needed: 2, reachable: 2 });
        assert_eq!(view.replicas.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let first = &view.replicas[0];
        assert_eq!(
            (first.role, first.lag, first.round_trip_ms),
            (Some(ReplicaRole::Leader), Some(9), Some(1.23))
        );
        let second = &view.replicas[1];
        assert_eq!(
            (second.reachable, second.address.as_str(), second.kind),
            (false, "h:2", Some(MemberKind::Voter))
        );
        assert_eq!((second.role, second.term, second.round_trip_ms), (None, None, None));
        assert_eq!(view.replicas[3].kind, Some(MemberKind::Learner));
    }

    #[test]
    fn without_a_majority_there_is_no_leader_and_a_change_counts_its_worse_half() {
        let joint = membership(9, &[&[1, 2, 3], &[3, 4, 5]], &[1, 2, 3, 4, 5]);
        let alone = StatusResponse { membership: Some(joint), ..status(1, "candidate") };
        let older = status(3, "follower");
        let view = view(&[answer(0, Some(alone)), answer(2, Some(older)), answer(3, None)], &own());
        assert_eq!(view.leader, None);
        assert_eq!(view.quorum, Quorum { voters: 3, needed: 2, reachable: 1 });
        assert_eq!(view.replicas[0].kind, Some(MemberKind::Changing));
        assert_eq!(view.replicas[2].kind, Some(MemberKind::Voter));
    }

    #[test]
    fn when_nobody_answers_those_that_are_known_are_named() {
        let view = view(&[answer(0, None), answer(1, None)], &own());
        let rows: Vec<_> = view.replicas.iter().map(|row| (row.id, row.reachable, row.kind)).collect();
        assert_eq!(rows, [(1, false, None), (2, false, None)]);
        assert_eq!((view.quorum, view.agree), (Quorum::default(), None));
    }

    #[test]
    fn states_are_compared_at_one_index_only() {
        let differs = StatusResponse { hash: "bb".into(), ..status(3, "follower") };
        let two = |other| view(&[answer(0, Some(status(1, "leader"))), answer(2, Some(other))], &own()).agree;
        assert_eq!(two(differs.clone()), Some(false));
        assert_eq!(two(StatusResponse { hash_index: 82, ..differs.clone() }), None);
        assert_eq!(two(StatusResponse { hash: String::new(), ..differs }), None);
    }

    #[test]
    fn a_gateway_is_told_by_its_newest_lease_and_this_one_by_itself() {
        let lease = |gateway: &str, number, sessions, here| GatewayLease {
            gateway: gateway.into(),
            started_ms: 50,
            number,
            sessions,
            here,
        };
        let of = |id, gateways| StatusResponse { gateways, ..status(id, "follower") };
        let one = of(1, vec![lease("a", 4, Some(9), true), lease("b", 1, Some(1), false)]);
        let three = of(3, vec![lease("a", 5, Some(8), true), lease("c", 1, None, false)]);
        let told = view(&[answer(0, Some(one)), answer(2, Some(three))], &own()).gateways;
        let row = |name: &str, sessions, since, feed| GatewayRow {
            name: name.into(),
            sessions,
            since: Some(since),
            feed,
        };
        let wanted =
            [row("a", Some(8), 50, Some(3)), row("b", Some(3), 7, Some(2)), row("c", None, 50, None)];
        assert_eq!(told, wanted);
    }
}
