//! Bots leave a group with their owner, from machine version 7 on.

use quorate_proto::limits::BOTS_PER_CONVERSATION_MAX;
use quorate_proto::rpc::{self, event};

use super::message_tests::team;
use super::records::{ROLE_GROUP_ADMIN, ROLE_OWNER};
use super::tests::{World, accepted, conversation_of};
use super::*;

fn add(conversation_id: u64, user_id: u64) -> Action {
    Action::AddMember(rpc::AddMember { conversation_id, user_id })
}

fn remove(conversation_id: u64, user_id: u64) -> Action {
    Action::RemoveMember(rpc::RemoveMember { conversation_id, user_id })
}

fn present(world: &World, id: u64) -> Vec<u64> {
    let members = world.state.members_of(id, usize::MAX).expect("a map");
    members.into_iter().filter(|(_, member)| member.is_present()).map(|(user, _)| user).collect()
}

/// Who is told to have left, and whether as banned, in order.
fn left(events: &[event::Kind]) -> Vec<(u64, bool)> {
    let mut left = Vec::new();
    for kind in events {
        if let event::Kind::Member(change) = kind {
            assert!(!change.joined);
            left.push((change.user.as_ref().map_or(0, |user| user.id), change.banned));
        }
    }
    left
}

/// Ana's group of bob and eve with a bot of bob's and one of eve's.
fn scene() -> (World, [u64; 3], [u64; 2], u64) {
    let (mut world, [ana, bob, eve], room) = team();
    let (bobs, eves) = (world.bot(bob, "bobs"), world.bot(eve, "eves"));
    for bot in [bobs, eves] {
        accepted(&world.act(ana, add(room, bot)));
    }
    (world, [ana, bob, eve], [bobs, eves], room)
}

#[test]
fn a_bot_leaves_with_its_owner_however_she_goes() {
    let ban = |conversation_id, user_id| Action::Ban(rpc::Ban { conversation_id, user_id, on: true });
    type Way = fn(u64, u64) -> Action;
    let ways: [(bool, Way, bool); 3] = [(true, remove, false), (false, remove, false), (false, ban, true)];
    for (by_herself, way, banned) in ways {
        let (mut world, [ana, bob, eve], [bobs, eves], room) = scene();
        let by = if by_herself { bob } else { ana };
        let events = world.events(by, way(room, bob));
        assert_eq!(left(&events), [(bob, banned), (bobs, false)], "and nobody else's");
        assert_eq!(present(&world, room), [ana, eve, eves]);
        let record = world.state.conversation(room).expect("a map").expect("there");
        assert_eq!((record.bots, record.member_count), (vec![eves], 3));
        world.must_be_whole();
        // It is no ban of the bot: whoever manages the group may have it back.
        accepted(&world.act(ana, add(room, bobs)));
        world.must_be_whole();
    }
}

#[test]
fn nobody_is_rid_of_a_groups_owner_by_removing_the_one_whose_bot_it_is() {
    let ban = |conversation_id, user_id| Action::Ban(rpc::Ban { conversation_id, user_id, on: true });
    let role = |conversation_id, user_id, role: u32| {
        Action::SetMemberRole(rpc::SetMemberRole { conversation_id, user_id, role })
    };
    type Way = fn(u64, u64) -> Action;
    for way in [remove as Way, ban] {
        let (mut world, [ana, bob, eve], [bobs, eves], room) = scene();
        for user in [eve, eves] {
            accepted(&world.act(ana, role(room, user, ROLE_GROUP_ADMIN)));
        }
        accepted(&world.act(ana, role(room, bobs, ROLE_OWNER)));
        accepted(&world.act(ana, way(room, bob)));
        let record = world.state.conversation(room).expect("a map").expect("there");
        assert_eq!(record.owner, bobs, "an admin does not become owner by it");
        assert!(present(&world, room).contains(&bobs));
        world.must_be_whole();
        // Whoever goes by herself takes an admin of hers along.
        accepted(&world.act(eve, remove(room, eve)));
        assert_eq!(present(&world, room), [ana, bobs]);
        world.must_be_whole();
    }
}

#[test]
fn a_bot_stays_where_its_owner_never_was_and_in_her_other_groups() {
    let (mut world, [ana, bob, eve], [bobs, _], room) = scene();
    let create =
        rpc::CreateGroup { title: "other".into(), member_ids: vec![eve, bobs], ..Default::default() };
    let without_bob = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    let create =
        rpc::CreateGroup { title: "third".into(), member_ids: vec![bob, bobs], ..Default::default() };
    let with_bob = conversation_of(&world.act(ana, Action::CreateGroup(create)));
    accepted(&world.act(bob, remove(room, bob)));
    assert_eq!(present(&world, without_bob), [ana, eve, bobs]);
    assert_eq!(present(&world, with_bob), [ana, bob, bobs]);
    accepted(&world.act(ana, remove(with_bob, bobs)));
    assert_eq!(present(&world, with_bob), [ana, bob], "a bot alone takes nobody along");
    world.must_be_whole();
}

#[test]
fn a_group_is_not_left_to_a_bot_that_goes_with_its_owner() {
    let (mut world, [ana, bob, eve], [bobs, eves], room) = scene();
    let give =
        |user_id, role| Action::SetMemberRole(rpc::SetMemberRole { conversation_id: room, user_id, role });
    accepted(&world.act(ana, give(bobs, ROLE_GROUP_ADMIN)));
    accepted(&world.act(ana, give(bob, ROLE_OWNER)));
    let events = world.events(bob, remove(room, bob));
    assert_eq!(left(&events), [(bob, false), (bobs, false)]);
    let record = world.state.conversation(room).expect("a map").expect("there");
    assert_eq!(record.owner, ana, "who became an admin when bob became the owner");
    assert_eq!(present(&world, room), [ana, eve, eves]);
    // A bot that owns the group goes with its owner, too, and the group gets another once.
    accepted(&world.act(ana, give(eves, ROLE_OWNER)));
    let events = world.events(eve, remove(room, eve));
    let roles = events.iter().filter(|kind| matches!(kind, event::Kind::Role(_))).count();
    assert_eq!((left(&events), roles), (vec![(eve, false), (eves, false)], 1));
    assert_eq!(world.state.conversation(room).expect("a map").expect("there").owner, ana);
    world.must_be_whole();
}

#[test]
fn the_last_person_leaves_with_all_her_bots() {
    let mut world = World::new();
    let ana = world.user("ana");
    let room = world.group(ana, &[]);
    for number in 0..BOTS_PER_CONVERSATION_MAX {
        let bot = world.bot(ana, &format!("bot{number}"));
        accepted(&world.act(ana, add(room, bot)));
    }
    let command = world.command(ana, remove(room, ana));
    let before = world.state.clone();
    let events = world.apply(&command).1;
    assert_eq!(events.len(), 2 * (1 + BOTS_PER_CONVERSATION_MAX), "each is told, and so is the group");
    let changed = world.state.iter().filter(|(key, value)| before.get(key) != Some(value)).count();
    assert!(changed < 128, "{changed} keys in one entry");
    let record = world.state.conversation(room).expect("a map").expect("there");
    assert_eq!((record.member_count, record.owner, record.bots.len()), (0, 0, 0));
    world.must_be_whole();
}

#[test]
fn of_a_deleted_account_bots_leave_by_themselves_and_all_are_gone_in_the_end() {
    let (mut world, [ana, bob, eve], [bobs, eves], room) = scene();
    let password_mark = accounts::phc_mark("$argon2id$");
    accepted(&world.act(bob, Action::DeleteUser(rpc::DeleteUser { user_id: bob, password_mark })));
    let mut told = Vec::new();
    for _ in 0..8 {
        world.now += 1;
        told.extend(left(&world.tick()));
        world.must_be_whole();
    }
    told.sort_unstable();
    assert_eq!(told, [(bob, false), (bobs, false)], "each once");
    assert_eq!(present(&world, room), [ana, eve, eves]);
}

#[test]
fn before_the_version_a_bot_stays_behind() {
    let (mut world, [ana, bob, eve], [bobs, eves], room) = scene();
    world.machine_version = VERSION_AVATARS - 1;
    assert_eq!(left(&world.events(bob, remove(room, bob))), [(bob, false)]);
    assert_eq!(present(&world, room), [ana, eve, bobs, eves]);
    world.must_be_whole();
}
