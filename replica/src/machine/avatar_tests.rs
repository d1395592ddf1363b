//! Avatars and the record of exports by their commands and refusals, over a map.

use bytes::Bytes;
use quorate_proto::limits::FILE_KEPT_MS;
use quorate_proto::rpc::{self, event};

use super::file_tests::{
    CHUNK, after, array, commit, delete, file, hashes, id, is_visible, own, traces, with_files,
};
use super::files::SeenBy;
use super::tests::{World, accepted, code, conversation_of};
use super::*;
use crate::verify;

/// An image with a thumbnail.
fn picture(number: u8, received_ms: u64) -> rpc::CommitFile {
    rpc::CommitFile {
        media_type: "image/png".into(),
        thumbnail: hashes(1),
        thumbnail_size: 9,
        ..file(number, CHUNK, received_ms)
    }
}

fn has_picture(world: &mut World, user: u64, number: u8) {
    let now = world.now;
    accepted(&commit(world, user, picture(number, now)));
}

fn mine(avatar: &Bytes) -> Action {
    Action::SetProfile(rpc::SetProfile { avatar: Some(avatar.clone()), ..Default::default() })
}

fn groups(conversation_id: u64, avatar: &Bytes) -> Action {
    let avatar = Some(avatar.clone());
    Action::ChangeConversation(rpc::ChangeConversation { conversation_id, avatar, ..Default::default() })
}

fn references(world: &World, number: u8) -> u64 {
    world.state.file(&array(number)).expect("a map").expect("there").references
}

fn told(world: &mut World, user: u64, action: Action) -> Vec<event::Kind> {
    let command = world.command(user, action);
    let (outcome, events) = world.apply(&command);
    accepted(&outcome);
    events.into_iter().filter_map(|event| event.kind).collect()
}

fn sees(world: &World, number: u8, user: u64, seen_by: SeenBy) -> bool {
    files::visible(&world.state, &array(number), user, seen_by).expect("a map").is_some()
}

fn must_be_whole(world: &World) {
    let report = verify::tests::report(&world.state);
    assert!(report.is_whole(), "{report}");
}

/// Ana and bob with a picture each and a group of theirs, and eve, who is not in it.
fn scene() -> (World, [u64; 3], u64) {
    let mut world = World::new();
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| world.user(name));
    let group = rpc::CreateGroup { title: "team".into(), member_ids: vec![bob], ..Default::default() };
    let room = conversation_of(&world.act(ana, Action::CreateGroup(group)));
    has_picture(&mut world, ana, 1);
    has_picture(&mut world, bob, 2);
    (world, [ana, bob, eve], room)
}

#[test]
fn a_user_has_one_picture_and_is_told_with_it_everywhere() {
    let (mut world, [ana, bob, _], room) = scene();
    let events = told(&mut world, ana, mine(&id(1)));
    let Some(event::Kind::MeProfile(profile)) = events.first() else { panic!("{events:?}") };
    assert_eq!(profile.user.as_ref().map(|user| &user.avatar), Some(&id(1)));
    assert!(told(&mut world, ana, mine(&id(1))).is_empty(), "nothing has changed");
    assert_eq!(references(&world, 1), 1);
    let events = told(&mut world, ana, tests::send(room, "hello"));
    let Some(event::Kind::Message(message)) = events.first() else { panic!("{events:?}") };
    assert_eq!(message.from, Some(join::user(&world.state, ana).expect("a map")));
    assert_eq!(message.from.as_ref().map(|user| &user.avatar), Some(&id(1)));
    // Another field leaves it as it is; the other picture takes its place.
    let status = rpc::SetProfile { status: Some("away".into()), ..Default::default() };
    accepted(&world.act(ana, Action::SetProfile(status)));
    assert_eq!(join::user(&world.state, ana).expect("a map").avatar, id(1));
    has_picture(&mut world, ana, 3);
    accepted(&world.act(ana, mine(&id(3))));
    assert_eq!((references(&world, 1), references(&world, 3)), (0, 1));
    must_be_whole(&world);
    assert!(
        sees(&world, 3, bob, SeenBy::AvatarOfUser(ana)) && !sees(&world, 1, bob, SeenBy::AvatarOfUser(ana))
    );
    after(&mut world, FILE_KEPT_MS);
    assert!(world.state.file(&array(1)).expect("a map").is_none(), "a day after it was the picture last");
    assert_eq!(references(&world, 3), 1, "as long as it is");
    accepted(&world.act(ana, mine(&Bytes::new())));
    assert_eq!(join::user(&world.state, ana).expect("a map").avatar, Bytes::new());
    assert!(told(&mut world, ana, mine(&Bytes::new())).is_empty(), "she had none");
    must_be_whole(&world);
    after(&mut world, FILE_KEPT_MS);
    assert!(!is_visible(&world, 3, ana, None));
    must_be_whole(&world);
}

#[test]
fn an_avatar_is_an_image_of_ones_own_with_a_thumbnail() {
    let (mut world, [ana, ..], room) = scene();
    let now = world.now;
    accepted(&commit(&mut world, ana, file(4, CHUNK, now)));
    let small = rpc::CommitFile { media_type: "image/png".into(), ..file(5, CHUNK, now) };
    accepted(&commit(&mut world, ana, small));
    let film = rpc::CommitFile { media_type: "video/mp4".into(), ..picture(6, now) };
    accepted(&commit(&mut world, ana, film));
    let before = world.state.keys().count();
    let wrong: [(Bytes, &str); 6] = [
        (Bytes::from_static(b"short"), "invalid"),
        (Bytes::from(vec![1; 17]), "invalid"),
        (id(4), "invalid"),
        (id(5), "invalid"),
        (id(6), "invalid"),
        (id(2), "not_found"),
    ];
    for (avatar, refusal) in wrong.iter().chain([&(id(99), "not_found")]) {
        assert_eq!(code(&world.act(ana, mine(avatar))), *refusal, "{avatar:?}");
        assert_eq!(code(&world.act(ana, groups(room, avatar))), *refusal, "{avatar:?}");
    }
    assert_eq!((references(&world, 2), references(&world, 4)), (0, 0));
    // Two keys for each refusal that is remembered, and one for how many there are.
    assert!(world.state.keys().count() <= before + 2 * 14 + 1, "a refusal leaves no trace but itself");
    // With a name that is refused nothing is done either.
    let both = rpc::SetProfile { display_name: Some("  ".into()), avatar: Some(id(1)), ..Default::default() };
    assert_eq!(code(&world.act(ana, Action::SetProfile(both))), "invalid");
    assert_eq!(references(&world, 1), 0);
    must_be_whole(&world);
}

#[test]
fn a_groups_picture_is_set_by_who_manages_it_and_told_as_its_title_is() {
    let (mut world, [ana, bob, eve], room) = scene();
    assert_eq!(code(&world.act(bob, groups(room, &id(2)))), "forbidden");
    assert_eq!(code(&world.act(eve, groups(room, &id(2)))), "not_found");
    let pair = world.direct(ana, bob);
    assert_eq!(code(&world.act(ana, groups(pair, &id(1)))), "invalid");
    let events = told(&mut world, ana, groups(room, &id(1)));
    let Some(event::Kind::Conversation(change)) = events.first() else { panic!("{events:?}") };
    assert_eq!((change.avatar.clone(), change.title.as_str()), (id(1), "team"));
    assert!(told(&mut world, ana, groups(room, &id(1))).is_empty());
    // The same picture may be hers as well: it is counted twice.
    accepted(&world.act(ana, mine(&id(1))));
    assert_eq!(references(&world, 1), 2);
    must_be_whole(&world);
    let of_group = SeenBy::AvatarOfConversation(room);
    assert!(sees(&world, 1, bob, of_group) && !sees(&world, 1, eve, of_group));
    assert!(sees(&world, 1, eve, SeenBy::AvatarOfUser(ana)), "of a user for everybody");
    assert!(!sees(&world, 1, eve, SeenBy::AvatarOfUser(bob)) && !sees(&world, 1, eve, SeenBy::Anything));
    assert!(!sees(&world, 1, eve, SeenBy::AvatarOfConversation(99)));
    let public = rpc::ChangeConversation { conversation_id: room, public: Some(true), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(public)));
    assert!(sees(&world, 1, eve, of_group), "what everybody can find everybody sees");
    accepted(&world.act(ana, mine(&Bytes::new())));
    assert_eq!(references(&world, 1), 1);
    let private =
        rpc::ChangeConversation { conversation_id: room, public: Some(false), ..Default::default() };
    accepted(&world.act(ana, Action::ChangeConversation(private)));
    let leave = rpc::RemoveMember { conversation_id: room, user_id: bob };
    accepted(&world.act(bob, Action::RemoveMember(leave)));
    assert!(!sees(&world, 1, bob, of_group), "who has left does not see what it looks like");
    let events = told(&mut world, ana, groups(room, &Bytes::new()));
    let Some(event::Kind::Conversation(change)) = events.first() else { panic!("{events:?}") };
    assert!(change.avatar.is_empty());
    assert_eq!(references(&world, 1), 0);
    must_be_whole(&world);
}

#[test]
fn a_request_for_a_file_says_one_way_at_most() {
    assert_eq!(SeenBy::of((0, 7), 0, 0), Some(SeenBy::Anything));
    assert_eq!(SeenBy::of((3, 7), 0, 0), Some(SeenBy::Message(3, 7)));
    assert_eq!(SeenBy::of((0, 0), 5, 0), Some(SeenBy::AvatarOfUser(5)));
    assert_eq!(SeenBy::of((0, 0), 0, 6), Some(SeenBy::AvatarOfConversation(6)));
    for (message, user, group) in [((3, 7), 5, 0), ((3, 7), 0, 6), ((0, 0), 5, 6)] {
        assert_eq!(SeenBy::of(message, user, group), None);
    }
}

#[test]
fn a_file_that_is_an_avatar_is_not_deleted_and_is_shown_by_messages_as_any_other() {
    let (mut world, [ana, bob, _], room) = scene();
    accepted(&world.act(ana, mine(&id(1))));
    let refused = world.act(ana, delete(1));
    assert_eq!(code(&refused), "forbidden");
    accepted(&world.act(ana, with_files(room, &[own(1)])));
    assert_eq!(references(&world, 1), 2);
    accepted(&world.act(ana, mine(&Bytes::new())));
    after(&mut world, 2 * FILE_KEPT_MS);
    assert!(is_visible(&world, 1, bob, Some((room, 1))), "a message shows it still");
    accepted(&world.act(ana, mine(&id(1))));
    let take_back = rpc::DeleteMessages { conversation_id: room, first: 1, last: 1 };
    accepted(&world.act(ana, Action::DeleteMessages(take_back)));
    after(&mut world, 2 * FILE_KEPT_MS);
    assert!(sees(&world, 1, bob, SeenBy::AvatarOfUser(ana)), "and now her picture alone does");
    accepted(&world.act(ana, mine(&Bytes::new())));
    accepted(&world.act(ana, delete(1)));
    must_be_whole(&world);
}

#[test]
fn who_deletes_her_account_has_no_picture_and_her_group_keeps_its_own() {
    let (mut world, [ana, bob, _], room) = scene();
    has_picture(&mut world, ana, 3);
    accepted(&world.act(ana, mine(&id(1))));
    accepted(&world.act(ana, groups(room, &id(3))));
    let password_mark = Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]);
    accepted(&world.act(ana, Action::DeleteUser(rpc::DeleteUser { user_id: ana, password_mark })));
    assert!(join::user(&world.state, ana).expect("a map").avatar.is_empty());
    assert!(!sees(&world, 1, bob, SeenBy::AvatarOfUser(ana)));
    must_be_whole(&world);
    after(&mut world, 2 * FILE_KEPT_MS);
    assert!(world.state.file(&array(1)).expect("a map").is_none());
    assert!(sees(&world, 3, bob, SeenBy::AvatarOfConversation(room)), "the group's stays, whoever gave it");
    accepted(&world.act(bob, groups(room, &Bytes::new())));
    after(&mut world, 2 * FILE_KEPT_MS);
    assert!(traces(&world).is_empty(), "{:?}", traces(&world));
    must_be_whole(&world);
}

#[test]
fn a_site_admin_gives_a_group_a_picture_of_hers_and_it_is_audited() {
    let (mut world, [ana, _, eve], room) = scene();
    make_admin(&mut world, eve);
    has_picture(&mut world, eve, 3);
    assert_eq!(code(&world.act(eve, groups(room, &id(1)))), "not_found", "of her own only");
    accepted(&world.act(eve, groups(room, &id(3))));
    let (action, conversation, _) = audited(&world);
    assert_eq!((action, conversation), ("group_changed", room));
    assert!(sees(&world, 3, ana, SeenBy::AvatarOfConversation(room)));
    must_be_whole(&world);
}

#[test]
fn every_wrong_count_of_avatars_is_noticed() {
    use prost::Message as _;

    use crate::store::{Key, Space};
    let (mut world, [ana, ..], room) = scene();
    let pair = world.direct(ana, 2);
    accepted(&world.act(ana, mine(&id(1))));
    accepted(&world.act(ana, groups(room, &id(1))));
    must_be_whole(&world);
    let user = world.state.user(ana).expect("a map").expect("there");
    let conversation = |number| world.state.conversation(number).expect("a map").expect("there");
    let (group, direct) = (conversation(room), conversation(pair));
    let (user_key, group_key) = (Key::one(Space::User, ana), Key::one(Space::Conversation, room));
    let with = |avatar: Bytes| records::User { avatar, ..user.clone() }.encode_to_vec();
    let group_with = |avatar: Bytes| records::Conversation { avatar, ..group.clone() }.encode_to_vec();
    let direct = records::Conversation { avatar: id(1), ..direct }.encode_to_vec();
    let wrong = [
        (user_key, with(Bytes::new())),
        (user_key, with(id(2))),
        (user_key, with(id(99))),
        (user_key, with(Bytes::from_static(b"short"))),
        (group_key, group_with(Bytes::new())),
        (group_key, group_with(id(2))),
        (Key::one(Space::Conversation, pair), direct),
    ];
    for (place, (key, record)) in wrong.into_iter().enumerate() {
        let mut state = world.state.clone();
        state.insert(key, record.into());
        assert!(!verify::tests::report(&state).is_whole(), "number {place} is believed");
    }
}

#[test]
fn before_the_version_nobody_has_an_avatar() {
    let (mut world, [ana, _, eve], room) = scene();
    make_admin(&mut world, eve);
    world.machine_version = VERSION_AVATARS - 1;
    for action in [mine(&id(1)), groups(room, &id(1))] {
        assert_eq!(needed_version(&action), VERSION_AVATARS, "a leader does not propose it");
    }
    // A gateway's bytes that an older leader proposed nevertheless: the field is not there.
    let before = world.state.user(ana).expect("a map");
    assert!(told(&mut world, ana, mine(&id(1))).is_empty());
    assert!(told(&mut world, ana, groups(room, &Bytes::from_static(b"short"))).is_empty());
    assert_eq!(world.state.user(ana).expect("a map"), before);
    let named = rpc::SetProfile { status: Some("hi".into()), avatar: Some(id(1)), ..Default::default() };
    assert_eq!(told(&mut world, ana, Action::SetProfile(named)).len(), 1, "what is left of it is done");
    assert_eq!(references(&world, 1), 0);
    let export = Action::RecordExport(rpc::RecordExport::default());
    assert_eq!(code(&world.act(eve, export.clone())), "unsupported");
    world.machine_version = VERSION_DOMAIN - 1;
    for action in [mine(&id(1)), groups(room, &id(1))] {
        assert_eq!(code(&world.act(ana, action)), "unsupported", "nor has that version profiles");
    }
    world.machine_version = VERSION_AVATARS - 1;
    let raise = rpc::SetMachineVersion { version: VERSION_AVATARS };
    accepted(&world.act(0, Action::SetMachineVersion(raise)));
    accepted(&world.act(ana, mine(&id(1))));
    accepted(&world.act(eve, export));
    must_be_whole(&world);
}

/// Whoever may do what no sign-in of hers could: not by a token.
#[test]
fn no_token_changes_a_profile_or_records_an_export_and_one_that_manages_changes_a_group() {
    let (mut world, [ana, ..], room) = scene();
    make_admin(&mut world, ana);
    let token = Bytes::from_static(&[200; 16]);
    let make = rpc::MakeToken {
        user_id: ana,
        session_id: token.clone(),
        secret_hash: hashes(1),
        label: "ci".into(),
        scopes: scopes::ALL,
        ..Default::default()
    };
    accepted(&world.act(ana, Action::MakeToken(make)));
    let mut by_token = |action: Action| {
        let command = Command { session_id: token.clone(), ..world.command(ana, action) };
        world.apply(&command).0
    };
    assert_eq!(code(&by_token(mine(&id(1)))), "forbidden");
    assert_eq!(code(&by_token(Action::RecordExport(rpc::RecordExport::default()))), "forbidden");
    accepted(&by_token(groups(room, &id(1))));
}

fn make_admin(world: &mut World, user: u64) {
    let secret_hash = hashes(1);
    let offer = rpc::OfferAdmin { secret_hash: secret_hash.clone(), only_first: false };
    accepted(&world.act(0, Action::OfferAdmin(offer)));
    accepted(&world.act(user, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash })));
}

/// The newest entry of the audit log: its word, where, and the detail.
fn audited(world: &World) -> (&'static str, u64, String) {
    let last = world.state.counters().expect("a map").audit;
    let entry = world.state.audit_entries(last, last + 1).expect("a map").remove(0).1;
    (audit::word(entry.action), entry.conversation_id, entry.detail)
}

#[test]
fn an_export_is_written_down_by_an_admin_once_and_nothing_else_is() {
    let (mut world, [ana, bob, eve], room) = scene();
    let pair = world.direct(ana, bob);
    make_admin(&mut world, eve);
    let export =
        |conversation_id, direct| Action::RecordExport(rpc::RecordExport { conversation_id, direct });
    assert_eq!(code(&world.act(ana, export(room, false))), "forbidden");
    assert_eq!(code(&world.act(eve, export(99, false))), "not_found");
    let entries = |world: &World| world.state.counters().expect("a map").audit;
    let before = entries(&world);
    let cases = [
        (export(room, false), room, ""),
        // Of one conversation it says what that one is.
        (export(room, true), room, ""),
        (export(pair, false), pair, "with direct"),
        (export(0, false), 0, ""),
        (export(0, true), 0, "with direct"),
    ];
    for (done, (action, conversation, detail)) in (1..).zip(cases) {
        let command = world.command(eve, action);
        let (outcome, events) = world.apply(&command);
        accepted(&outcome);
        assert!(events.is_empty());
        assert_eq!(audited(&world), ("messages_exported", conversation, detail.to_owned()));
        assert!(world.apply(&command).0.replay, "asked again it is the same export");
        assert_eq!(entries(&world), before + done);
    }
    must_be_whole(&world);
}
