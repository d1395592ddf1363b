//! What a conversation becomes by its events, in every order that they may come in.

use super::*;
use quorate_proto::frame::Message;
use quorate_proto::ids::ClientMessageId;

use crate::timeline::{Loading, Page, TIMELINE_MESSAGES_MAX};
use crate::view::Portrait;

const ME: UserId = 1;

fn user(id: UserId) -> User {
    User { id, name: format!("u{id}"), ..User::default() }
}

fn message(version: Version, sequence: Sequence, from: UserId) -> Event {
    let kind = EventKind::Message(Message {
        sequence,
        from: user(from),
        client_message_id: ClientMessageId::from_slice(&u128::from(version).to_be_bytes()).expect("16"),
        text: sequence.to_string(),
        ..Message::default()
    });
    Event { conversation: 1, version, index: version, time: version, kind }
}

fn summary(version: Version, sequence: Sequence, read: Sequence, unread: u64) -> ConversationSummary {
    ConversationSummary { id: 1, version, sequence, read, unread, ..ConversationSummary::default() }
}

#[test]
fn the_version_rule() {
    let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    assert_eq!(conversation.take(message(2, 1, 2)), Verdict::Applied);
    assert_eq!(conversation.take(message(2, 1, 2)), Verdict::Dropped);
    assert_eq!(conversation.take(message(4, 3, 2)), Verdict::Held);
    assert_eq!(conversation.filling, Filling::Wanted(0));
    assert_eq!((conversation.version, conversation.unread), (2, 1));
    assert_eq!(conversation.take(message(3, 2, 2)), Verdict::Applied);
    assert_eq!((conversation.version, conversation.sequence, conversation.unread), (4, 3, 3));
    assert_eq!(conversation.filling, Filling::Whole);
}

#[test]
fn own_messages_are_never_unread_and_read_marks_only_rise() {
    let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    conversation.timeline.loaded = true;
    for (version, from) in [(2, 2), (3, ME), (4, 2)] {
        conversation.take(message(version, version - 1, from));
    }
    assert_eq!(conversation.unread, 2);
    assert!(conversation.mark_read(1));
    assert_eq!(conversation.unread, 1, "the own message does not count");
    assert!(!conversation.mark_read(1));
    assert!(conversation.mark_read(4), "another device is ahead");
    assert_eq!(conversation.unread, 0);
    conversation.take(message(5, 4, 2));
    assert_eq!((conversation.read, conversation.unread), (4, 0));
    assert!(!conversation.mark_read(2));
}

#[test]
fn a_summary_far_ahead_lets_the_timeline_go_and_a_near_one_fills_it() {
    let mut near = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    near.timeline.loaded = true;
    near.take(message(2, 1, 2));
    let mut far = near.clone();
    near.take_summary(&summary(5, 4, 0, 4));
    assert_eq!((near.version, near.filling), (2, Filling::Wanted(0)));
    far.take_summary(&summary(2 + FILL_EVENTS_MAX + 1, 400, 0, 400));
    assert!(!far.timeline.loaded && far.timeline.run().next().is_none());
    assert_eq!((far.sequence, far.unread, far.filling), (400, 400, Filling::Whole));
}

#[test]
fn what_is_not_the_readers_to_see_is_skipped() {
    let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    conversation.take(message(9, 5, 2));
    conversation.skip_to(8);
    assert_eq!((conversation.version, conversation.sequence), (9, 5));
    assert!(!conversation.incomplete());
}

fn event(version: Version, kind: EventKind) -> Event {
    Event { conversation: 1, version, index: version * 10, time: version, kind }
}

fn naming(version: Version, sequence: Sequence, mentions: Vec<UserId>, all: bool) -> Event {
    let mut event = message(version, sequence, 2);
    if let EventKind::Message(message) = &mut event.kind {
        (message.mentions, message.mentions_all) = (mentions, all);
    }
    event
}

#[test]
fn mentions_are_counted_as_the_server_counts_them() {
    let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    conversation.timeline.loaded = true;
    conversation.take(naming(2, 1, vec![ME], false));
    conversation.take(naming(3, 2, vec![9], false));
    conversation.take(naming(4, 3, vec![ME], true));
    conversation.take(naming(5, 4, vec![], true));
    assert_eq!((conversation.unread, conversation.mentions), (4, 3), "named twice counts once");
    conversation.take(event(6, EventKind::Delete { sequences: vec![3, 2], by: user(2) }));
    assert_eq!((conversation.unread, conversation.mentions), (2, 2));
    conversation.take(event(7, EventKind::Delete { sequences: vec![3], by: user(2) }));
    assert_eq!((conversation.unread, conversation.mentions), (2, 2), "once");
    conversation.mark_read(1);
    assert_eq!((conversation.unread, conversation.mentions), (1, 1));
    conversation.mark_read(4);
    assert_eq!((conversation.unread, conversation.mentions), (0, 0));
}

#[test]
fn an_edit_may_begin_to_name_the_reader_and_the_server_is_asked() {
    let mut listed = summary(1, 0, 0, 0);
    listed.members = vec![user(ME), user(2)];
    let mut conversation = Conversation::from_summary(&listed, ME);
    conversation.timeline.loaded = true;
    conversation.take(message(2, 1, 2));
    let edit =
        |revision, text: &str| EventKind::Edit { sequence: 1, revision, text: text.to_owned(), by: user(2) };
    conversation.take(event(3, edit(1, "look, @u1")));
    assert_eq!((conversation.mentions, conversation.unread_doubtful), (1, true));
    assert_eq!(conversation.preview.as_ref().map(|preview| preview.text.as_str()), Some("look, @u1"));
    conversation.take(event(4, edit(2, "look")));
    assert_eq!(conversation.mentions, 0);
}

#[test]
fn what_was_deleted_or_hidden_is_gone_from_the_list_too() {
    let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    conversation.timeline.loaded = true;
    conversation.take(message(2, 1, 2));
    conversation.take(message(3, 2, 2));
    conversation.take(event(4, EventKind::Delete { sequences: vec![2], by: user(2) }));
    let preview = conversation.preview.clone().expect("a newest message");
    assert!(preview.gone && preview.text.is_empty());
    conversation.take(message(5, 3, 2));
    conversation.hide(SequenceRange { first: 3, last: 3 });
    assert!(conversation.preview.as_ref().is_some_and(|preview| preview.gone));
    assert!(conversation.is_hidden(3) && !conversation.is_hidden(2));
    conversation.take(event(6, EventKind::Delete { sequences: vec![99], by: user(2) }));
    assert!(conversation.unread_doubtful, "of a message that is not here");
}

#[test]
fn hidden_ranges_are_merged() {
    let mut conversation = Conversation::from_summary(&summary(1, 0, 0, 0), ME);
    for (first, last) in [(5, 6), (1, 1), (8, 9), (7, 7), (3, 2), (20, 30)] {
        conversation.hide(SequenceRange { first, last });
    }
    let ranges: Vec<_> = conversation.hidden.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(ranges, [(1, 1), (5, 9), (20, 30)]);
    let hidden: Vec<u64> = (0..32).filter(|at| conversation.is_hidden(*at)).collect();
    assert_eq!(hidden.len(), 17);
}

#[test]
fn roles_pins_and_details_follow_their_events() {
    let mut listed = summary(1, 3, 0, 0);
    listed.kind = ConversationKind::Group;
    listed.role = MemberRole::Owner;
    let mut group = Conversation::from_summary(&listed, ME);
    assert!(group.manages());
    group.take(event(2, EventKind::Pin { sequence: 1, on: true, by: user(2) }));
    assert_eq!(group.pin_count, 1);
    group.take(event(3, EventKind::Role { user: user(2), role: MemberRole::Owner, by: user(ME) }));
    assert_eq!(group.role, MemberRole::Admin);
    let kind = EventKind::Conversation {
        title: "Room".into(),
        by: user(2),
        topic: "Rooms".into(),
        public: true,
        announcement: true,
        retention_ms: 0,
        avatar: Some(Uuid::from_u128(7)),
    };
    group.take(event(4, kind));
    assert!(group.public && group.announcement && group.topic == "Rooms" && group.title == "Room");
    assert_eq!(group.closed_because(), None);
    group.take(event(5, EventKind::Role { user: user(ME), role: MemberRole::Member, by: user(2) }));
    assert!(group.closed_because().is_some() && !group.manages());
    assert_eq!(group.timeline.notices().len(), 8);
    let shown = group.portrait(ME).map(Portrait::path);
    assert_eq!(shown, Some(format!("/api/v1/files/{}/thumbnail?group=1", Uuid::from_u128(7))));
}

#[test]
fn what_somebody_looks_like_comes_with_what_she_writes() {
    let mut listed = summary(1, 0, 0, 0);
    listed.members = vec![user(ME), user(2)];
    let mut direct = Conversation::from_summary(&listed, ME);
    assert_eq!(direct.portrait(ME), None);
    let mut event = message(2, 1, 2);
    if let EventKind::Message(message) = &mut event.kind {
        message.from.avatar = Some(Uuid::from_u128(9));
    }
    direct.take(event);
    let file = |portrait: Option<Portrait>| portrait.map(|portrait| portrait.file);
    assert_eq!(file(direct.portrait(ME)), Some(Uuid::from_u128(9)));
    assert_eq!(direct.face(&user(2)).avatar, Some(Uuid::from_u128(9)), "older messages show it too");
    assert_eq!(direct.face(&user(3)).id, 3);
}

#[test]
fn marked_as_unread_until_the_next_read_mark() {
    let mut listed = summary(4, 3, 3, 0);
    listed.preferences.unread_from = 2;
    listed.preferences.archived = true;
    let mut conversation = Conversation::from_summary(&listed, ME);
    assert!(conversation.marked_unread() && conversation.folded());
    conversation.take(message(5, 4, 2));
    assert!(!conversation.folded(), "somebody wrote");
    conversation.mark_read(4);
    assert!(conversation.folded());
}

#[test]
fn what_is_sought_is_read_page_by_page() {
    let mut conversation = Conversation::from_summary(&summary(11, 10, 10, 0), ME);
    assert!(!conversation.seek(11) && conversation.seek(2));
    conversation.seek_on();
    assert_eq!(conversation.timeline.loading, Loading::Idle, "the newest page comes first");
    let pages = |from: u64, to: u64| (from..=to).map(|n| message(n + 1, n, 2)).collect::<Vec<_>>();
    conversation.timeline.page(Page::Newest, &pages(6, 10), true, 0);
    conversation.seek_on();
    assert_eq!(conversation.timeline.loading, Loading::Wanted(Page::Older, 0));
    conversation.timeline.page(Page::Older, &pages(1, 5), false, 0);
    conversation.seek_on();
    assert_eq!((conversation.seeking, conversation.timeline.loading.clone()), (None, Loading::Idle));
}

#[test]
fn who_left_meanwhile_is_counted_once() {
    let listed = |version, count: u32| ConversationSummary {
        members: (1..=u64::from(count)).map(user).collect(),
        member_count: count,
        ..summary(version, 0, 0, 0)
    };
    let mut conversation = Conversation::from_summary(&listed(5, 5), ME);
    // The resume's welcome knows it already; then its event comes.
    let mut ahead = listed(6, 4);
    ahead.members[1].display_name = "Two".to_owned();
    conversation.describe(&ahead);
    assert_eq!(conversation.member_count, 5);
    assert_eq!(conversation.members[1].display_name, "Two", "a name has no event");
    let kind = EventKind::Member { user: user(5), joined: false, by: user(5), banned: false };
    conversation.take(Event { conversation: 1, version: 6, index: 6, time: 6, kind });
    assert_eq!((conversation.member_count, conversation.members.len()), (4, 4));
    conversation.describe(&listed(5, 5));
    assert_eq!(conversation.member_count, 4, "an older summary changes nothing");
}

#[test]
fn a_count_that_is_ahead_counts_when_its_version_has_come() {
    let mut conversation = Conversation::from_summary(&summary(5, 4, 0, 4), ME);
    conversation.unread_doubtful = true;
    conversation.take_count(&summary(6, 5, 0, 3));
    assert!(conversation.unread_doubtful && conversation.incomplete());
    assert_eq!(conversation.filling, Filling::Wanted(0));
    conversation.take(message(6, 5, 2));
    assert_eq!((conversation.unread, conversation.unread_doubtful), (3, false));
    conversation.take(message(7, 6, 2));
    assert_eq!(conversation.unread, 4, "and later messages on top of it");
    conversation.unread_doubtful = true;
    conversation.take_count(&summary(6, 5, 0, 1));
    assert!(conversation.unread_doubtful, "one that is behind says nothing");
}

#[test]
fn seeking_ends_where_there_is_no_room_or_nothing_comes() {
    let newest = TIMELINE_MESSAGES_MAX as u64 + 100;
    let mut conversation = Conversation::from_summary(&summary(newest + 1, newest, newest, 0), ME);
    let pages = |from: u64, to: u64| (from..=to).map(|n| message(n + 1, n, 2)).collect::<Vec<_>>();
    conversation.take_page(Page::Newest, &pages(newest - 9, newest), true, 0);
    assert!(conversation.seek(1));
    conversation.seek_on();
    conversation.take_page(Page::Older, &pages(newest - 19, newest - 10), true, 0);
    assert_eq!(conversation.seeking, Some(1));
    conversation.take_page(Page::Older, &[], true, 0);
    assert_eq!((conversation.seeking, &conversation.timeline.loading), (None, &Loading::Idle));
    assert!(conversation.seek(1));
    conversation.seek_on();
    conversation.take_page(Page::Older, &pages(1, newest - 20), false, 0);
    assert_eq!((conversation.seeking, &conversation.timeline.loading), (None, &Loading::Idle));
    assert_eq!(conversation.timeline.first(), Some(101), "the newest are held");
    assert!(conversation.timeline.more_before && conversation.timeline.is_full());
    assert!(!conversation.want_history(Page::Older, 0), "what has no room is not read");
}
