//! Who comes into a group and how, and who is kept out.

use super::*;

#[test]
fn a_ban_cuts_at_its_index_and_keeps_out_until_it_is_lifted() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = conversation_of(&world.act(ana, create(&[bob], true)));
    accepted(&world.act(ana, invite(group, "way in", 0, 0)));
    accepted(&world.send(ana, group, "before"));
    let (outcome, events) = world.ask_for_events(ana, ban(group, bob, true));
    let Some(event::Kind::Member(told)) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!((told.joined, told.banned, events[0].version), (false, true, version_of(&outcome)));
    assert!(matches!(events[1].kind, Some(event::Kind::MeRemoved(_))));
    let member = world.seat(group, bob);
    assert_eq!((member.left_version, member.left_sequence), (version_of(&outcome), 1), "the last she sees");
    accepted(&world.send(ana, group, "after"));
    assert_eq!(code(&world.send(bob, group, "still")), "not_found");
    assert_eq!(version_of(&world.act(ana, ban(group, bob, true))), 0, "banned already");
    for way in [join(group), join_by("way in")] {
        assert_eq!(code(&world.act(bob, way)), "forbidden");
    }
    assert_eq!(code(&world.act(ana, add(group, bob))), "forbidden", "to be lifted first");
    let (outcome, events) = world.ask_for_events(ana, ban(group, eve, true));
    assert_eq!((version_of(&outcome), events.len()), (0, 0), "no member: nothing is told");
    assert_eq!(code(&world.act(eve, join(group))), "forbidden");
    assert_eq!(code(&world.act(ana, ban(group, 99, true))), "not_found");
    assert_eq!(world.team_record(group).bans, 2);
    world.must_verify();
    accepted(&world.act(ana, ban(group, bob, false)));
    accepted(&world.act(ana, ban(group, bob, false)));
    assert_eq!(
        (world.team_record(group).bans, world.team_roles(group)),
        (1, vec![(ana, ROLE_OWNER)]),
        "not added by it"
    );
    assert!(is_new(&world.act(bob, join(group))));
    world.must_verify();
    let mut full = world.team_record(group);
    full.bans = BANS_MAX as u32;
    world.state.insert(Key::one(crate::store::Space::Conversation, group), full.encode_to_vec().into());
    assert_eq!(code(&world.act(ana, ban(group, bob, true))), "too_large");
}

#[test]
fn a_public_group_is_joined_and_seen_from_its_start() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = conversation_of(&world.act(ana, create(&[], true)));
    let closed = world.team(ana, &[]);
    for text in ["one", "two", "three"] {
        accepted(&world.send(ana, group, text));
    }
    let before = world.team_record(group);
    let (outcome, events) = world.ask_for_events(bob, join(group));
    assert!(is_new(&outcome));
    let Some(event::Kind::MeAdded(added)) = &events[1].kind else { panic!("{events:?}") };
    assert_eq!(added.base_version, before.version, "what comes by itself begins with her joining");
    let member = world.seat(group, bob);
    assert_eq!((member.base_version, member.base_sequence), (0, 0), "she may read everything");
    assert_eq!((member.read_sequence, member.joined_version), (3, before.version), "and has nothing unread");
    assert_eq!((member.role, member.joined_ms), (ROLE_MEMBER, world.now));
    let (again, events) = world.ask_for_events(bob, join(group));
    assert!(!is_new(&again) && events.is_empty(), "she is in already");
    for (way, came) in [(join(closed), "not_found"), (join(99), "not_found")] {
        assert_eq!(code(&world.act(eve, way)), came, "a group that is not public cannot be found");
    }
    let direct = world.direct(ana, bob);
    assert_eq!(code(&world.act(eve, join(direct))), "not_found");
    let both = rpc::Join { conversation_id: group, code_hash: code_hash("x") };
    assert_eq!(code(&world.act(eve, Action::Join(both))), "invalid");
    let none = rpc::Join { conversation_id: 0, code_hash: Bytes::new() };
    assert_eq!(code(&world.act(eve, Action::Join(none))), "invalid");
    assert_eq!(world.state.public_groups(0, 9).expect("a map"), [group]);
    accepted(&world.act(bob, remove(group, bob)));
    accepted(&world.send(ana, group, "four"));
    assert!(is_new(&world.act(bob, join(group))), "and back");
    let member = world.seat(group, bob);
    assert_eq!((member.base_sequence, member.read_sequence), (0, 4), "all of it again");
    world.must_verify();
}

#[test]
fn a_group_made_public_shows_what_was_said_since() {
    let mut world = World::new();
    let [ana, bob, eve, zoe] = ["ana", "bob", "eve", "zoe"].map(|name| world.user(name));
    let group = world.team(ana, &[]);
    accepted(&world.send(ana, group, "in private"));
    let opened = version_of(&world.act(ana, change(group, make_public(true))));
    accepted(&world.send(ana, group, "to everybody"));
    accepted(&world.act(bob, join(group)));
    let member = world.seat(group, bob);
    assert_eq!((member.base_version, member.base_sequence), (opened - 1, 1), "not what was said in private");
    accepted(&world.act(ana, add(group, zoe)));
    assert_eq!(world.seat(group, zoe).base_sequence, 1, "however she came in");
    accepted(&world.act(ana, change(group, make_public(false))));
    assert!(world.state.public_groups(0, 9).expect("a map").is_empty());
    assert_eq!(code(&world.act(eve, join(group))), "not_found");
    accepted(&world.send(ana, group, "in private again"));
    accepted(&world.act(ana, add(group, eve)));
    assert_eq!(world.seat(group, eve).base_sequence, 3, "from her joining on");
    world.must_verify();
}

#[test]
fn an_invite_counts_its_uses_exactly() {
    let mut world = World::new();
    let [ana, bob, eve, zoe] = ["ana", "bob", "eve", "zoe"].map(|name| world.user(name));
    let group = world.team(ana, &[]);
    accepted(&world.act(ana, invite(group, "two", 0, 2)));
    let uses = |world: &World| {
        let invites = world.state.invites_of(group, 9).expect("a map");
        invites.into_iter().map(|(_, invite)| invite.uses).collect::<Vec<_>>()
    };
    let command = world.command(bob, join_by("two"));
    assert!(is_new(&world.apply(&command).0));
    assert_eq!(uses(&world), [1]);
    assert!(world.apply(&command).0.replay);
    assert!(!is_new(&world.act(bob, join_by("two"))), "she is in already");
    assert_eq!(uses(&world), [1], "neither a retry nor a member uses it");
    world.must_verify();
    accepted(&world.act(bob, remove(group, bob)));
    assert!(is_new(&world.act(eve, join_by("two"))));
    assert_eq!((uses(&world), world.team_record(group).invites), (vec![], 0), "used up");
    assert_eq!(code(&world.act(bob, join_by("two"))), "not_found");
    assert!(world.apply(&command).0.replay, "the same answer as then");
    assert_eq!(code(&world.act(zoe, join_by("two"))), "not_found");
    world.must_verify();
}

#[test]
fn whatever_is_wrong_with_a_code_the_answer_is_the_same() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = world.team(ana, &[]);
    for (code, ttl_ms, uses_max) in [("old", 1_000, 0), ("ended", 0, 0), ("used", 0, 1), ("good", 2_000, 0)] {
        accepted(&world.act(ana, invite(group, code, ttl_ms, uses_max)));
    }
    accepted(&world.act(ana, end(group, "ended")));
    accepted(&world.act(eve, join_by("used")));
    world.now += 999;
    let before = world.state.clone();
    assert!(is_new(&world.act(bob, join_by("old"))), "a millisecond before its end");
    world.state = before;
    world.now += 1;
    let answers: Vec<Rejected> = ["old", "ended", "used", "never"]
        .map(|code| match world.act(bob, join_by(code)).result {
            Some(outcome::Result::Rejected(rejected)) => rejected,
            other => panic!("{code}: {other:?}"),
        })
        .to_vec();
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.code == "not_found"), "{answers:?}");
    assert!(is_new(&world.act(bob, join_by("good"))));
    world.must_verify();
}

#[test]
fn invites_are_bounded_and_those_that_are_over_make_room() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let (group, other) = (world.team(ana, &[bob]), world.team(eve, &[]));
    for n in 0..INVITES_MAX {
        let ttl_ms = if n < 3 { 1_000 } else { 0 };
        accepted(&world.act(ana, invite(group, &format!("c{n}"), ttl_ms, 0)));
    }
    assert_eq!(code(&world.act(ana, invite(group, "one more", 0, 0))), "too_large");
    assert_eq!(code(&world.act(ana, invite(group, "c5", 0, 0))), "id_conflict");
    assert_eq!(code(&world.act(bob, invite(group, "mine", 0, 0))), "forbidden");
    assert_eq!(code(&world.act(bob, end(group, "c5"))), "forbidden");
    assert_eq!(code(&world.act(eve, end(other, "c5"))), "not_found", "another group's");
    let short = rpc::MakeInvite {
        conversation_id: group,
        code_hash: Bytes::from_static(b"short"),
        ..Default::default()
    };
    assert_eq!(code(&world.act(ana, Action::MakeInvite(short))), "invalid");
    world.now += 1_000;
    accepted(&world.act(ana, invite(group, "one more", 0, 0)));
    assert_eq!(world.team_record(group).invites as usize, INVITES_MAX - 2);
    world.must_verify();
}

#[test]
fn a_full_group_and_a_full_user_take_no_more() {
    let mut world = World::new();
    let [ana, bob] = ["ana", "bob"].map(|name| world.user(name));
    let group = conversation_of(&world.act(ana, create(&[], true)));
    let mut full = world.team_record(group);
    full.member_count = MEMBERS_MAX as u32;
    let key = Key::one(crate::store::Space::Conversation, group);
    let had = world.state.insert(key, full.encode_to_vec().into()).expect("there");
    assert_eq!(code(&world.act(bob, join(group))), "too_large");
    assert_eq!(code(&world.act(ana, add(group, bob))), "too_large");
    world.state.insert(key, had);
    let user = |world: &World| world.state.user(bob).expect("a map").expect("there");
    let busy = User { conversations: CONVERSATIONS_PER_USER_MAX as u32, ..user(&world) };
    let key = Key::one(crate::store::Space::User, bob);
    let had = world.state.insert(key, busy.encode_to_vec().into()).expect("there");
    assert_eq!(code(&world.act(bob, join(group))), "too_large");
    assert_eq!(code(&world.act(ana, add(group, bob))), "too_large");
    assert_eq!(code(&world.act(ana, create(&[bob], false))), "too_large");
    assert_eq!(code(&world.act(ana, Action::CreateDirect(rpc::CreateDirect { peer_id: bob }))), "too_large");
    world.state.insert(key, had);
    accepted(&world.act(bob, join(group)));
    world.direct(bob, ana);
    assert_eq!(user(&world).conversations, 2);
    accepted(&world.act(bob, remove(group, bob)));
    assert_eq!(user(&world).conversations, 1);
    world.must_verify();
}

#[test]
fn who_has_blocked_somebody_is_not_brought_together_with_her() {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = world.team(ana, &[]);
    let known = world.direct(ana, eve);
    for of in [bob, eve] {
        accepted(&world.act(of, Action::Block(rpc::Block { user_id: ana, on: true })));
    }
    let write = |peer_id| Action::CreateDirect(rpc::CreateDirect { peer_id });
    assert_eq!(code(&world.act(ana, write(bob))), "forbidden");
    assert_eq!(code(&world.act(bob, write(ana))), "forbidden", "she would have to lift it first");
    assert_eq!(world.direct(ana, eve), known, "what is there stays");
    assert_eq!(code(&world.act(ana, add(group, bob))), "forbidden");
    assert_eq!(code(&world.act(ana, create(&[bob], false))), "forbidden");
    accepted(&world.act(bob, create(&[ana], false)));
    accepted(&world.act(bob, Action::Block(rpc::Block { user_id: ana, on: false })));
    accepted(&world.act(ana, add(group, bob)));
    world.must_verify();
}
