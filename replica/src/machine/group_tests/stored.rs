//! What is stored of groups: by older versions, counted again, and to the byte.

use super::*;
use crate::store::Space;

/// Programs of the version before have no field for any of this: one byte more and the replicas would differ.
#[test]
fn an_older_machine_version_writes_no_more_than_it_knew() {
    let mut world = World::new();
    world.machine_version = VERSION_ACCOUNTS;
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = world.team(ana, &[bob]);
    accepted(&world.act(ana, add(group, eve)));
    accepted(&world.act(ana, remove(group, bob)));
    assert_eq!(code(&world.act(eve, remove(group, ana))), "forbidden");
    world.direct(ana, bob);
    let room = world.team_record(group);
    assert_eq!((room.owner, room.admins.len(), room.open_version), (0, 0, 0));
    for user in [ana, bob, eve] {
        let member = world.seat(group, user);
        assert_eq!((member.joined_ms, member.joined_version, member.preferences), (0, 0, None));
        assert_eq!(world.state.user(user).expect("a map").expect("there").conversations, 0);
    }
    for action in [ban(group, eve, true), join(group), role(group, eve, ROLE_OWNER)] {
        assert_eq!(code(&world.act(ana, action)), "unsupported");
    }
    world.must_verify();
}

#[test]
fn groups_of_older_programs_are_taken_over() {
    let mut world = World::new();
    world.machine_version = VERSION_ACCOUNTS;
    let [ana, bob, eve, zoe] = ["ana", "bob", "eve", "zoe"].map(|name| world.user(name));
    let (owned, ownerless) = (world.team(bob, &[ana, eve]), world.team(zoe, &[ana, eve]));
    accepted(&world.act(zoe, remove(ownerless, zoe)));
    world.machine_version = VERSION_DOMAIN;
    world.must_verify();
    accepted(&world.act(ana, remove(owned, ana)));
    assert_eq!(
        (world.team_record(owned).owner, world.team_roles(owned)),
        (bob, vec![(bob, ROLE_OWNER), (eve, ROLE_MEMBER)])
    );
    accepted(&world.act(bob, add(owned, zoe)));
    accepted(&world.act(bob, remove(owned, bob)));
    assert_eq!(world.team_record(owned).owner, eve, "who was there before joining was noted");
    let (_, events) = world.ask_for_events(eve, remove(ownerless, eve));
    assert_eq!(role_events(&events), [(ana, ROLE_OWNER)], "nobody followed zoe then");
    for user in [ana, bob, eve] {
        assert_eq!(
            world.state.user(user).expect("a map").expect("there").conversations,
            0,
            "not counted then"
        );
    }
    world.must_verify();
}

/// An older program wrote no owner down: an admin made before anybody looked for her must not be taken for her heir.
#[test]
fn who_owns_a_group_of_an_older_program_owns_it_after_giving_a_role() {
    let mut world = World::new();
    world.machine_version = VERSION_ACCOUNTS;
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = world.team(ana, &[bob, eve]);
    world.machine_version = VERSION_DOMAIN;
    accepted(&world.act(ana, role(group, bob, ROLE_GROUP_ADMIN)));
    accepted(&world.act(eve, remove(group, eve)));
    assert_eq!(
        (world.team_record(group).owner, world.team_roles(group)),
        (ana, vec![(ana, ROLE_OWNER), (bob, ROLE_GROUP_ADMIN)])
    );
    world.must_verify();
}

/// Each change of the members of such a group read 5,120 memberships again.
#[test]
fn an_owner_who_is_not_found_is_looked_for_once() {
    let mut world = World::new();
    world.machine_version = VERSION_ACCOUNTS;
    let [ana, bob, eve, zoe] = ["ana", "bob", "eve", "zoe"].map(|name| world.user(name));
    let group = world.team(zoe, &[ana, bob, eve]);
    accepted(&world.act(zoe, remove(group, zoe)));
    let gone = Member { role: ROLE_MEMBER, left_version: 1, ..Member::default() };
    for user in 10_000..15_200 {
        world.state.insert(Key::two(Space::Member, group, user), gone.encode_to_vec().into());
    }
    world.machine_version = VERSION_DOMAIN;
    let looked_at = |world: &World| {
        let (index, log_time_ms, machine_version) = (world.index + 1, world.now, world.machine_version);
        let context = Context { index, term: 1, log_time_ms, machine_version };
        let mut step = Step::begin(&world.state, context).expect("a map");
        let mut conversation = world.team_record(group);
        step.settle_owner(ana, group, &mut conversation, false).expect("nothing to refuse");
        step.looked_at
    };
    assert_eq!(looked_at(&world), 5_120);
    accepted(&world.act(eve, remove(group, eve)));
    let record = world.team_record(group);
    assert_eq!(
        (record.owner, record.owner_sought),
        (0, true),
        "she may be among those that were not looked at"
    );
    assert_eq!(looked_at(&world), 0);
    accepted(&world.act(bob, remove(group, bob)));
    assert_eq!(world.team_roles(group), [(ana, ROLE_MEMBER)]);
}

#[test]
fn messages_are_kept_for_a_hundred_years_at_most() {
    let mut world = World::new();
    let ana = world.user("ana");
    let group = conversation_of(&world.act(ana, create(&[], false)));
    let keep = |retention_ms| {
        Action::ChangeConversation(rpc::ChangeConversation {
            conversation_id: group,
            retention_ms: Some(retention_ms),
            ..Default::default()
        })
    };
    assert_eq!(code(&world.act(ana, keep(u64::MAX))), "invalid");
    accepted(&world.act(ana, keep(quorate_proto::limits::RETENTION_MS_MAX)));
    world.must_verify();
}

/// A state with everything that groups have.
fn furnished() -> World {
    let mut world = World::new();
    let [ana, bob, eve, zoe] = ["ana", "bob", "eve", "zoe"].map(|name| world.user(name));
    let group = conversation_of(&world.act(ana, create(&[bob, eve, zoe], true)));
    accepted(&world.act(ana, role(group, bob, ROLE_GROUP_ADMIN)));
    accepted(&world.act(ana, ban(group, eve, true)));
    accepted(&world.act(ana, invite(group, "code", 0, 3)));
    accepted(&world.send(zoe, group, "hello"));
    accepted(&world.act(zoe, remove(group, zoe)));
    world
}

#[test]
fn every_record_of_groups_that_is_missing_is_noticed() {
    use crate::store::Space;
    let whole = furnished().state;
    let spaces = [
        Space::User,
        Space::Conversation,
        Space::Member,
        Space::MemberOf,
        Space::Invite,
        Space::InviteOf,
        Space::Ban,
        Space::Public,
    ]
    .map(|space| space as u8);
    let mut removed = 0;
    for key in whole.keys().filter(|key| spaces.contains(&key.space())) {
        let mut broken = whole.clone();
        broken.remove(key);
        assert!(!verify::tests::report(&broken).is_whole(), "nobody misses {key:?}");
        removed += 1;
    }
    assert!(removed >= 16, "{removed}");
    assert!(verify::tests::report(&whole).is_whole());
}

#[test]
fn what_a_group_says_of_itself_is_counted_again() {
    let world = furnished();
    let group = 1;
    let key = Key::one(Space::Conversation, group);
    let wrong: [fn(&mut Conversation); 6] = [
        |it| it.owner = 2,
        |it| it.admins.clear(),
        |it| it.bans += 1,
        |it| it.invites = 0,
        |it| it.public = false,
        |it| it.open_version = 1_000,
    ];
    for (n, spoil) in wrong.into_iter().enumerate() {
        let mut record = world.team_record(group);
        spoil(&mut record);
        let mut state = world.state.clone();
        state.insert(key, record.encode_to_vec().into());
        assert!(!verify::tests::report(&state).is_whole(), "number {n} is believed");
    }
}

/// Stored records keep their bytes: what one build has written the next must read.
#[test]
fn stored_records_of_groups_keep_their_bytes() {
    fn golden<R: prost::Message + Default + PartialEq + std::fmt::Debug>(record: &R, hex: &str) {
        let bytes = record.encode_to_vec();
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex, "{record:?}");
        assert_eq!(R::decode(bytes.as_slice()).as_ref(), Ok(record));
    }
    let invite = Invite { conversation_id: 1, by: 2, created_ms: 300, ends_ms: 4, uses: 5, uses_max: 6 };
    golden(&invite, "0801100218ac02200428053006");
    golden(&Ban { by: 7, banned_ms: 300 }, "080710ac02");
    golden(&RoleEvent { user_id: 1, role: 3, by: 2 }, "080110031802");
    let conversation = Conversation {
        topic: "t".into(),
        public: true,
        announcement: true,
        retention_ms: 1,
        retained_sequence: 2,
        pins: 3,
        bans: 4,
        invites: 5,
        owner: 6,
        admins: vec![7, 300],
        open_version: 8,
        open_sequence: 9,
        owner_sought: true,
        ..Conversation::default()
    };
    golden(&conversation, "52017458016001680170027803800104880105f00106fa010307ac02800208880209980201");
    let member = Member { joined_ms: 1, joined_version: 2, ..Member::default() };
    golden(&member, "50016002");
}
