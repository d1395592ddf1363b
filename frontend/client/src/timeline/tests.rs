use super::*;
use quorate_proto::frame::User;
use quorate_proto::ids::ClientMessageId;

pub(crate) fn event(sequence: Sequence) -> Event {
    Event {
        conversation: 1,
        version: sequence + 1,
        index: sequence * 10,
        time: sequence,
        kind: EventKind::Message(Message {
            sequence,
            from: User { id: 1, name: "ana".into(), ..User::default() },
            client_message_id: id(sequence),
            text: sequence.to_string(),
            ..Message::default()
        }),
    }
}

fn id(n: u64) -> ClientMessageId {
    ClientMessageId::from_slice(&u128::from(n).to_be_bytes()).expect("16 bytes")
}

fn item(n: u64) -> StoredItem {
    StoredItem {
        id: id(n),
        conversation: 1,
        text: n.to_string(),
        reply_to: None,
        created_ms: 1,
        place: 1,
        first_sent: 1,
        failed: None,
        forward: None,
        attachments: Vec::new(),
    }
}

fn ack(n: u64) -> Ack {
    Ack {
        client_message_id: id(n),
        conversation: Some(1),
        sequence: Some(n),
        version: Some(n + 1),
        revision: None,
        scheduled: None,
        index: n * 10,
        term: 3,
        log_time: n,
        replay: false,
    }
}

fn shown(timeline: &Timeline) -> Vec<Sequence> {
    timeline.run().map(|(sequence, _)| *sequence).collect()
}

#[test]
fn a_hole_is_never_painted_over() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1), event(2), event(3)], false, 0);
    timeline.insert(&event(6), 0);
    assert_eq!(shown(&timeline), [6]);
    timeline.insert(&event(5), 0);
    timeline.insert(&event(4), 0);
    assert_eq!(shown(&timeline), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn an_older_page_joins_the_run() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(4), event(5)], true, 0);
    timeline.page(Page::Older, &[event(1), event(2), event(3)], false, 0);
    assert_eq!(shown(&timeline), [1, 2, 3, 4, 5]);
    assert!(!timeline.more_before);
}

#[test]
fn an_echo_stands_until_its_event() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1)], false, 0);
    timeline.echo(item(3), &ack(3));
    assert_eq!(timeline.echoes().len(), 1);
    timeline.insert(&event(2), 0);
    assert_eq!(timeline.echoes().len(), 1);
    timeline.insert(&event(3), 0);
    assert!(timeline.echoes().is_empty());
    assert_eq!(timeline.get(3).map(|entry| entry.term), Some(3), "the ack's term is kept");
}

#[test]
fn an_ack_after_its_event_makes_no_echo() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1), event(2)], false, 0);
    timeline.echo(item(2), &ack(2));
    assert!(timeline.echoes().is_empty());
    assert_eq!(timeline.get(2).map(|entry| entry.term), Some(3));
}

#[test]
fn an_edit_replaces_the_text_and_an_older_one_does_not() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1), event(2)], false, 0);
    let text = |timeline: &Timeline| timeline.get(1).map(|entry| entry.message.text.clone());
    timeline.edit(1, 2, "second", 5);
    timeline.edit(1, 1, "first", 4);
    assert_eq!(text(&timeline).as_deref(), Some("second"));
    let mut paged = event(1);
    if let EventKind::Message(message) = &mut paged.kind {
        (message.revision, message.text) = (3, "third".to_owned());
    }
    timeline.page(Page::Older, &[paged], false, 0);
    assert_eq!(text(&timeline).as_deref(), Some("third"), "a page may be ahead of the events");
    timeline.edit(9, 1, "of a message that is not held", 6);
}

#[test]
fn a_newest_page_far_above_what_was_held_drops_the_old() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1), event(2)], false, 0);
    timeline.page(Page::Newest, &[event(9), event(10)], true, 0);
    assert_eq!(shown(&timeline), [9, 10]);
    assert!(timeline.more_before);
    assert!(timeline.get(1).is_none());
}

fn reactions(timeline: &Timeline, sequence: Sequence) -> Vec<(String, u32, bool)> {
    let message = &timeline.get(sequence).expect("held").message;
    message.reactions.iter().map(|one| (one.emoji.clone(), one.count, one.mine)).collect()
}

#[test]
fn reactions_are_counted_once_however_they_come() {
    let mut timeline = Timeline { reader: 7, ..Timeline::default() };
    timeline.page(Page::Newest, &[event(1)], false, 100);
    timeline.react(1, "👍", 2, true, 90);
    assert!(reactions(&timeline, 1).is_empty(), "the page was read later than this event");
    timeline.react(1, "👍", 2, true, 101);
    timeline.react(1, "👍", 2, true, 101);
    timeline.react(1, "👍", 7, true, 102);
    assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 2, true)]);
    timeline.react(1, "👍", 7, false, 103);
    timeline.react(1, "👍", 9, false, 104);
    assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 1, false)], "who was not there is not missed");
    timeline.react(1, "👍", 2, false, 105);
    assert!(reactions(&timeline, 1).is_empty());
}

#[test]
fn a_page_that_was_read_before_an_event_takes_nothing_back() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1)], false, 100);
    timeline.react(1, "👍", 2, true, 120);
    timeline.page(Page::Newest, &[event(1)], false, 110);
    assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 1, false)]);
    timeline.page(Page::Newest, &[event(1)], false, 130);
    assert!(reactions(&timeline, 1).is_empty(), "a later one knows better");
}

#[test]
fn more_people_than_are_listed_are_counted() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1)], false, 10);
    for user in 1..=25 {
        timeline.react(1, "👍", user, true, 10 + user);
    }
    assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 25, false)]);
    timeline.react(1, "👍", 25, false, 99);
    assert_eq!(reactions(&timeline, 1), [("👍".to_owned(), 24, false)]);
    assert_eq!(timeline.get(1).map(|entry| entry.message.reactions[0].users.len()), Some(20));
}

#[test]
fn nothing_of_a_deleted_message_comes_back() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1), event(2)], false, 100);
    timeline.pin(1, true, 101);
    timeline.react(1, "👍", 2, true, 102);
    let was = timeline.delete(1).expect("it was there");
    assert!(was.pinned && was.text == "1" && was.reactions.len() == 1);
    assert!(timeline.delete(1).is_none(), "once");
    timeline.edit(1, 9, "back", 9);
    timeline.react(1, "👍", 2, true, 200);
    timeline.pin(1, true, 201);
    timeline.insert(&event(1), 300);
    let left = &timeline.get(1).expect("its place").message;
    assert!(left.deleted && left.text.is_empty() && left.reactions.is_empty() && !left.pinned);
    assert_eq!(left.from.id, 1);
}

#[test]
fn what_is_hidden_stays_hidden() {
    let mut timeline = Timeline::default();
    timeline.page(Page::Newest, &[event(1), event(2), event(3)], false, 100);
    timeline.hide(SequenceRange { first: 1, last: 2 });
    timeline.hide(SequenceRange { first: 3, last: 1 });
    timeline.insert(&event(2), 200);
    let hidden: Vec<bool> = timeline.run().map(|(_, entry)| entry.message.hidden).collect();
    assert_eq!(hidden, [true, true, false]);
}
