//! Groups by their commands and refusals: who owns them, who comes in and how, who is kept out, and who sees what.

mod entry;
mod model;
mod stored;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::{
    BANS_MAX, CONVERSATIONS_PER_USER_MAX, GROUP_ADMINS_MAX, INVITES_MAX, MEMBERS_MAX, RETENTION_MS_MIN,
};
use quorate_proto::rpc::{self, event};

use super::records::{
    Ban, Conversation, Invite, Member, ROLE_GROUP_ADMIN, ROLE_MEMBER, ROLE_OWNER, RoleEvent, User,
};
use super::tests::{Dice, World, accepted, code, conversation_of, send};
use super::*;
use crate::store::Key;
use crate::verify;

fn code_hash(code: &str) -> Bytes {
    Bytes::copy_from_slice(&blake3::hash(code.as_bytes()).as_bytes()[..16])
}

fn create(members: &[u64], public: bool) -> Action {
    Action::CreateGroup(rpc::CreateGroup {
        title: "Team".into(),
        member_ids: members.to_vec(),
        public,
        ..Default::default()
    })
}

fn add(conversation_id: u64, user_id: u64) -> Action {
    Action::AddMember(rpc::AddMember { conversation_id, user_id })
}

fn remove(conversation_id: u64, user_id: u64) -> Action {
    Action::RemoveMember(rpc::RemoveMember { conversation_id, user_id })
}

fn role(conversation_id: u64, user_id: u64, role: u32) -> Action {
    Action::SetMemberRole(rpc::SetMemberRole { conversation_id, user_id, role })
}

fn ban(conversation_id: u64, user_id: u64, on: bool) -> Action {
    Action::Ban(rpc::Ban { conversation_id, user_id, on })
}

fn join(conversation_id: u64) -> Action {
    Action::Join(rpc::Join { conversation_id, code_hash: Bytes::new() })
}

fn join_by(code: &str) -> Action {
    Action::Join(rpc::Join { conversation_id: 0, code_hash: code_hash(code) })
}

fn invite(conversation_id: u64, code: &str, ttl_ms: u64, uses_max: u32) -> Action {
    let code_hash = code_hash(code);
    Action::MakeInvite(rpc::MakeInvite { conversation_id, code_hash, ttl_ms, uses_max })
}

fn end(conversation_id: u64, code: &str) -> Action {
    Action::EndInvite(rpc::EndInvite { conversation_id, code_hash: code_hash(code) })
}

fn change(conversation_id: u64, change: rpc::ChangeConversation) -> Action {
    Action::ChangeConversation(rpc::ChangeConversation { conversation_id, ..change })
}

fn prefer(conversation_id: u64, prefer: rpc::Prefer) -> Action {
    Action::Prefer(rpc::Prefer { conversation_id, ..prefer })
}

fn make_public(public: bool) -> rpc::ChangeConversation {
    rpc::ChangeConversation { public: Some(public), ..Default::default() }
}

/// The event's version; 0 when nothing had to be changed.
fn version_of(outcome: &Outcome) -> u64 {
    match &outcome.result {
        Some(outcome::Result::Changed(changed)) => changed.version,
        other => panic!("nothing about a change: {other:?}"),
    }
}

fn is_new(outcome: &Outcome) -> bool {
    match &outcome.result {
        Some(outcome::Result::Conversation(ready)) => ready.created,
        other => panic!("not joined: {other:?}"),
    }
}

impl World {
    fn team(&mut self, by: u64, members: &[u64]) -> u64 {
        conversation_of(&self.act(by, create(members, false)))
    }

    fn team_record(&self, id: u64) -> Conversation {
        self.state.conversation(id).expect("a map").expect("there")
    }

    fn seat(&self, id: u64, user: u64) -> Member {
        self.state.member(id, user).expect("a map").expect("was a member")
    }

    /// What the members are, by user.
    fn team_roles(&self, id: u64) -> Vec<(u64, u32)> {
        let members = self.state.members_of(id, usize::MAX).expect("a map");
        members.into_iter().filter(|(_, it)| it.is_present()).map(|(user, it)| (user, it.role)).collect()
    }

    fn ask_for_events(&mut self, by: u64, action: Action) -> (Outcome, Vec<Event>) {
        let command = self.command(by, action);
        self.apply(&command)
    }

    fn must_verify(&self) {
        let report = verify::tests::report(&self.state);
        assert!(report.is_whole(), "{report}");
    }
}

fn role_events(events: &[Event]) -> Vec<(u64, u32)> {
    let roles = events.iter().filter_map(|event| match &event.kind {
        Some(event::Kind::Role(role)) => Some((role.user.as_ref()?.id, role.role)),
        _ => None,
    });
    roles.collect()
}

#[test]
fn the_owner_gives_roles_and_there_is_one_owner() {
    let mut world = World::new();
    let [ana, bob, eve, zoe] = ["ana", "bob", "eve", "zoe"].map(|name| world.user(name));
    let group = world.team(ana, &[bob, eve]);
    let version = world.team_record(group).version;
    let (outcome, events) = world.ask_for_events(ana, role(group, bob, ROLE_GROUP_ADMIN));
    assert_eq!((version_of(&outcome), role_events(&events)), (version + 1, vec![(bob, ROLE_GROUP_ADMIN)]));
    assert_eq!(version_of(&world.act(ana, role(group, bob, ROLE_GROUP_ADMIN))), 0, "she is one already");
    assert_eq!(version_of(&world.act(ana, role(group, ana, ROLE_OWNER))), 0);
    assert_eq!(code(&world.act(bob, role(group, eve, ROLE_GROUP_ADMIN))), "forbidden");
    assert_eq!(code(&world.act(ana, role(group, ana, ROLE_MEMBER))), "invalid", "an owner there must be");
    assert_eq!(code(&world.act(ana, role(group, zoe, ROLE_MEMBER))), "not_found");
    for strange in [0, 4, 99] {
        assert_eq!(code(&world.act(ana, role(group, eve, strange))), "invalid");
    }
    let (_, events) = world.ask_for_events(ana, role(group, eve, ROLE_OWNER));
    assert_eq!(role_events(&events), [(eve, ROLE_OWNER), (ana, ROLE_GROUP_ADMIN)]);
    assert_eq!(
        world.team_roles(group),
        [(ana, ROLE_GROUP_ADMIN), (bob, ROLE_GROUP_ADMIN), (eve, ROLE_OWNER)]
    );
    assert_eq!((world.team_record(group).owner, world.team_record(group).admins), (eve, vec![bob, ana]));
    assert_eq!(code(&world.act(ana, role(group, bob, ROLE_MEMBER))), "forbidden", "no longer");
    accepted(&world.act(eve, role(group, bob, ROLE_OWNER)));
    accepted(&world.act(bob, role(group, ana, ROLE_MEMBER)));
    assert_eq!((world.team_record(group).owner, world.team_record(group).admins), (bob, vec![eve]));
    world.must_verify();
}

#[test]
fn a_group_has_a_bounded_number_of_admins() {
    let mut world = World::new();
    let ana = world.user("ana");
    let others: Vec<u64> = (0..=GROUP_ADMINS_MAX).map(|n| world.user(&format!("u{n}"))).collect();
    let group = world.team(ana, &others);
    for other in &others[1..] {
        accepted(&world.act(ana, role(group, *other, ROLE_GROUP_ADMIN)));
    }
    assert_eq!(code(&world.act(ana, role(group, others[0], ROLE_GROUP_ADMIN))), "too_large");
    assert_eq!(
        code(&world.act(ana, role(group, others[0], ROLE_OWNER))),
        "too_large",
        "she becomes an admin"
    );
    accepted(&world.act(ana, role(group, others[1], ROLE_OWNER)));
    assert_eq!(world.team_record(group).admins.len(), GROUP_ADMINS_MAX);
    world.must_verify();
}

#[test]
fn admins_manage_the_group_but_not_its_owner_nor_each_other() {
    let mut world = World::new();
    let [ana, bob, eve, zoe, kim] = ["ana", "bob", "eve", "zoe", "kim"].map(|name| world.user(name));
    let group = world.team(ana, &[bob, eve, zoe]);
    for admin in [bob, eve] {
        accepted(&world.act(ana, role(group, admin, ROLE_GROUP_ADMIN)));
    }
    accepted(&world.act(bob, add(group, kim)));
    assert_eq!(code(&world.act(zoe, remove(group, kim))), "forbidden");
    for of_higher in [ana, eve] {
        assert_eq!(code(&world.act(bob, remove(group, of_higher))), "forbidden");
        assert_eq!(code(&world.act(bob, ban(group, of_higher, true))), "forbidden");
    }
    assert_eq!(code(&world.act(bob, ban(group, bob, true))), "invalid");
    accepted(&world.act(bob, remove(group, kim)));
    assert_eq!(code(&world.act(bob, remove(group, kim))), "not_found");
    accepted(&world.act(ana, remove(group, eve)));
    assert_eq!(world.team_record(group).admins, [bob]);
    accepted(&world.act(ana, ban(group, bob, true)));
    assert!(world.team_record(group).admins.is_empty());
    world.must_verify();
}

#[test]
fn a_group_is_changed_as_a_whole_and_told_as_it_is() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = world.team(ana, &[bob, eve]);
    accepted(&world.act(ana, role(group, bob, ROLE_GROUP_ADMIN)));
    let topic = rpc::ChangeConversation { topic: Some(" about us ".into()), ..Default::default() };
    let (outcome, events) = world.ask_for_events(bob, change(group, topic.clone()));
    assert_eq!(version_of(&outcome), world.team_record(group).version);
    let Some(event::Kind::Conversation(told)) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!((told.title.as_str(), told.topic.as_str(), told.public), ("Team", "about us", false));
    let (outcome, events) = world.ask_for_events(bob, change(group, topic));
    assert_eq!((version_of(&outcome), events.len()), (0, 0), "as it is already");
    let titled = |title: &str| rpc::ChangeConversation { title: Some(title.into()), ..Default::default() };
    assert_eq!(code(&world.act(bob, change(group, titled("  ")))), "invalid");
    assert_eq!(code(&world.act(eve, change(group, titled("Ours")))), "forbidden");
    let kept = |ms| rpc::ChangeConversation { retention_ms: Some(ms), ..Default::default() };
    assert_eq!(code(&world.act(bob, change(group, kept(RETENTION_MS_MIN)))), "forbidden", "the owner's");
    assert_eq!(code(&world.act(ana, change(group, kept(RETENTION_MS_MIN - 1)))), "invalid");
    accepted(&world.act(ana, change(group, kept(RETENTION_MS_MIN))));
    assert_eq!(world.team_record(group).retention_ms, RETENTION_MS_MIN);
    accepted(&world.act(ana, change(group, kept(0))));
    let direct = world.direct(ana, bob);
    assert_eq!(code(&world.act(ana, change(direct, titled("Us")))), "invalid");
    world.must_verify();
}

#[test]
fn when_the_owner_goes_the_oldest_admin_follows_her_and_then_the_oldest_member() {
    let mut world = World::new();
    let [ana, bob, eve, zoe, kim] = ["ana", "bob", "eve", "zoe", "kim"].map(|name| world.user(name));
    let group = world.team(ana, &[zoe]);
    for (after, member) in [(5, kim), (9, eve), (20, bob)] {
        world.now += after;
        accepted(&world.act(ana, add(group, member)));
    }
    for admin in [eve, bob] {
        accepted(&world.act(ana, role(group, admin, ROLE_GROUP_ADMIN)));
    }
    let (outcome, events) = world.ask_for_events(ana, remove(group, ana));
    accepted(&outcome);
    assert_eq!(role_events(&events), [(eve, ROLE_OWNER)], "an admin for longer than bob");
    let versions: Vec<u64> = events
        .iter()
        .filter(|event| event.topic.is_some_and(|it| it.id == group))
        .map(|event| event.version)
        .collect();
    assert_eq!(world.seat(group, ana).left_version, versions[0], "what came of her going is not hers");
    world.must_verify();
    accepted(&world.act(eve, role(group, bob, ROLE_MEMBER)));
    let (_, events) = world.ask_for_events(eve, remove(group, eve));
    assert_eq!(role_events(&events), [(zoe, ROLE_OWNER)], "who was there from the start");
    let (_, events) = world.ask_for_events(zoe, remove(group, zoe));
    assert_eq!(role_events(&events), [(kim, ROLE_OWNER)], "before bob, whose number is lower");
    accepted(&world.act(kim, remove(group, kim)));
    let (outcome, events) = world.ask_for_events(bob, remove(group, bob));
    accepted(&outcome);
    assert!(role_events(&events).is_empty(), "the last one");
    let left = world.team_record(group);
    assert_eq!((left.member_count, left.owner, left.title.as_str()), (0, 0, "Team"), "it stays, empty");
    world.must_verify();
}

#[test]
fn an_owner_is_found_behind_many_who_have_left() {
    let mut world = World::new();
    let ana = world.user("ana");
    let gone: Vec<u64> = (0..300).map(|n| world.user(&format!("u{n}"))).collect();
    let last = world.user("last");
    let members: Vec<u64> = gone.iter().copied().chain([last]).collect();
    let group = world.team(ana, &members);
    for user in gone {
        accepted(&world.act(ana, remove(group, user)));
    }
    accepted(&world.act(ana, remove(group, ana)));
    assert_eq!(world.team_roles(group), [(last, ROLE_OWNER)]);
    world.must_verify();
}

#[test]
fn preferences_are_ones_own_and_outlast_leaving() {
    let mut world = World::new();
    let [ana, bob] = ["ana", "bob"].map(|name| world.user(name));
    let group = conversation_of(&world.act(ana, create(&[bob], true)));
    for text in ["one", "two"] {
        accepted(&world.send(ana, group, text));
    }
    let muted = rpc::Prefer { muted_until_ms: Some(9), no_receipts: Some(true), ..Default::default() };
    let (outcome, events) = world.ask_for_events(bob, prefer(group, muted));
    accepted(&outcome);
    let Some(event::Kind::MePreferred(told)) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!((events.len(), events[0].topic.map(|topic| topic.id)), (1, Some(bob)), "nobody else is told");
    let told = told.preferences.expect("told");
    assert_eq!((told.muted_until_ms, told.no_receipts, told.favourite), (9, true, false));
    assert!(world.ask_for_events(bob, prefer(group, muted)).1.is_empty(), "as it is already");
    let unread = |from| rpc::Prefer { unread_from: Some(from), favourite: Some(true), ..Default::default() };
    assert_eq!(code(&world.act(bob, prefer(group, unread(3)))), "invalid");
    accepted(&world.act(bob, prefer(group, unread(2))));
    assert_eq!(code(&world.act(bob, prefer(99, unread(1)))), "not_found");
    accepted(&world.act(bob, remove(group, bob)));
    assert_eq!(code(&world.act(bob, prefer(group, unread(1)))), "not_found");
    accepted(&world.act(bob, join(group)));
    let kept = world.seat(group, bob).preferences.expect("kept");
    assert_eq!((kept.muted_until_ms, kept.no_receipts, kept.favourite, kept.unread_from), (9, true, true, 0));
    assert!(world.seat(group, bob).hides_receipts() && !world.seat(group, ana).hides_receipts());
    let direct = world.direct(ana, bob);
    accepted(&world.act(ana, prefer(direct, rpc::Prefer { archived: Some(true), ..Default::default() })));
    world.must_verify();
}
