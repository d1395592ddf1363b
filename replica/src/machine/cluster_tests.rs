//! The record of what admins change about the cluster, by its commands and refusals, over a map.

use bytes::Bytes;
use quorate_proto::rpc;
use quorate_proto::rpc::cluster_change::Kind;

use super::tests::{World, accepted, code};
use super::*;
use crate::verify;

fn record(kind: Option<Kind>) -> Action {
    let change = Some(rpc::ClusterChange { kind });
    Action::RecordClusterChange(rpc::RecordClusterChange { change })
}

fn add(id: u64, address: &str, learner: bool) -> Option<Kind> {
    Some(Kind::Add(rpc::AddReplica { id, address: address.to_owned(), learner }))
}

fn an_admin(world: &mut World) -> u64 {
    let admin = world.user("root");
    let secret_hash = Bytes::from_static(&[7; 32]);
    let offer = rpc::OfferAdmin { secret_hash: secret_hash.clone(), only_first: false };
    accepted(&world.act(0, Action::OfferAdmin(offer)));
    accepted(&world.act(admin, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash })));
    admin
}

fn entries(world: &World) -> u64 {
    world.state.counters().expect("a map").audit
}

#[test]
fn each_change_that_an_admin_asks_for_is_written_down_once_in_words() {
    let mut world = World::new();
    let admin = an_admin(&mut world);
    let replace = rpc::ReplaceReplica { old_id: 2, new_id: 6, address: "host:1".into() };
    let cases = [
        (Some(Kind::HandOver(rpc::HandOverLeadership { to: 3 })), ("leader_change_asked", "to replica 3")),
        (Some(Kind::HandOver(rpc::HandOverLeadership { to: 0 })), ("leader_change_asked", "")),
        (add(6, "host:1", false), ("members_change_asked", "add replica 6 at host:1 as a voter")),
        (add(6, "[::1]:9", true), ("members_change_asked", "add replica 6 at [::1]:9 as a learner")),
        (Some(Kind::Remove(rpc::RemoveReplica { id: 2 })), ("members_change_asked", "remove replica 2")),
        (Some(Kind::Replace(replace)), ("members_change_asked", "replace replica 2 by replica 6 at host:1")),
    ];
    for (kind, (word, detail)) in cases {
        let before = entries(&world);
        let command = world.command(admin, record(kind));
        let (outcome, events) = world.apply(&command);
        accepted(&outcome);
        assert!(events.is_empty());
        assert!(world.apply(&command).0.replay, "asked again it is the same request");
        let last = entries(&world);
        assert_eq!(last, before + 1);
        let entry = world.state.audit_entries(last, last + 1).expect("a map").remove(0).1;
        assert_eq!((audit::word(entry.action), entry.detail.as_str(), entry.by), (word, detail, admin));
    }
    let report = verify::tests::report(&world.state);
    assert!(report.is_whole(), "{report}");
}

#[test]
fn nobody_but_an_admin_who_is_there_herself_has_one_written_down() {
    let mut world = World::new();
    let (admin, ana) = (an_admin(&mut world), world.user("ana"));
    let remove = || record(Some(Kind::Remove(rpc::RemoveReplica { id: 2 })));
    let token = Bytes::from_static(&[200; 16]);
    let make = rpc::MakeToken {
        user_id: admin,
        session_id: token.clone(),
        secret_hash: Bytes::from_static(&[1; 32]),
        label: "ci".into(),
        scopes: scopes::ALL,
        ..Default::default()
    };
    accepted(&world.act(admin, Action::MakeToken(make)));
    let before = entries(&world);
    assert_eq!(code(&world.act(ana, remove())), "forbidden");
    let by_token = Command { session_id: token, ..world.command(admin, remove()) };
    assert_eq!(code(&world.apply(&by_token).0), "forbidden");
    let by_nobody = Command { session_id: Bytes::from_static(&[9; 16]), ..world.command(admin, remove()) };
    assert_eq!(code(&world.apply(&by_nobody).0), "unauthenticated");
    for wrong in [None, add(6, "nowhere", false), add(6, ":1", false), add(6, "a\nb:1", false)] {
        assert_eq!(code(&world.act(admin, record(wrong))), "invalid");
    }
    assert_eq!(code(&world.act(admin, record(add(6, &format!("{}:1", "h".repeat(300)), false)))), "invalid");
    assert_eq!(entries(&world), before);
    assert!(is_internal(&world.command(admin, remove())), "no gateway proposes it");
}

#[test]
fn before_the_version_nothing_is_written_down() {
    let mut world = World::new();
    let admin = an_admin(&mut world);
    let remove = || record(Some(Kind::Remove(rpc::RemoveReplica { id: 2 })));
    world.machine_version = VERSION_CLUSTER - 1;
    assert_eq!(needed_version(&remove()), VERSION_CLUSTER, "a leader does not propose it");
    assert_eq!(code(&world.act(admin, remove())), "unsupported");
    let raise = rpc::SetMachineVersion { version: VERSION_CLUSTER };
    accepted(&world.act(0, Action::SetMachineVersion(raise)));
    accepted(&world.act(admin, remove()));
}

/// The bytes of the command: a leader of one program proposes them and replicas of another read them.
#[test]
fn a_recorded_change_keeps_its_bytes() {
    let encoded = |action: Action| {
        let command = Command { action: Some(action), ..Command::default() };
        prost::Message::encode_to_vec(&command).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let hand_over = record(Some(Kind::HandOver(rpc::HandOverLeadership { to: 3 })));
    assert_eq!(encoded(hand_over), "9a08060a040a020803");
    assert_eq!(encoded(record(add(6, "h:1", true))), "9a080d0a0b120908061203683a311801");
    let remove = record(Some(Kind::Remove(rpc::RemoveReplica { id: 2 })));
    assert_eq!(encoded(remove), "9a08060a041a020802");
    let replace = rpc::ReplaceReplica { old_id: 2, new_id: 6, address: "h:1".into() };
    assert_eq!(encoded(record(Some(Kind::Replace(replace)))), "9a080d0a0b2209080210061a03683a31");
}
