use quorate_proto::frame::{ConversationSummary, Event, EventKind, Message, SequenceRange, User};
use quorate_proto::ids::{ClientMessageId, Index, Sequence};

use super::*;

const WINDOW: usize = 60;
const PAGE: u64 = 20;

fn user(id: u64) -> User {
    User { id, name: format!("u{id}"), ..User::default() }
}

fn message(sequence: Sequence) -> Event {
    let client_message_id =
        ClientMessageId::from_slice(&u128::from(sequence).to_be_bytes()).expect("16 bytes");
    let text = sequence.to_string();
    let kind = EventKind::Message(Message {
        sequence,
        from: user(2),
        client_message_id,
        text,
        ..Message::default()
    });
    Event { conversation: 1, version: sequence, index: sequence, time: sequence, kind }
}

fn messages(from: Sequence, to: Sequence) -> Vec<Event> {
    (from..=to).map(message).collect()
}

/// A conversation of so many messages with the newest page here; read up to `read`.
fn room(newest: Sequence, read: Sequence) -> Conversation {
    let summary = ConversationSummary {
        id: 1,
        version: newest,
        sequence: newest,
        read,
        unread: newest - read,
        ..ConversationSummary::default()
    };
    let mut room = Conversation::from_summary(&summary, 1).windowed(Some(WINDOW));
    room.enter(true);
    answer(&mut room, newest, newest);
    room
}

/// Answers what is due, of a history of so many messages as it is at this index.
fn answer(room: &mut Conversation, newest: Sequence, as_of: Index) -> Vec<Page> {
    room.want_history(Page::Newest, 0);
    let pages = room.ask_pages(0);
    for page in &pages {
        let first = room.timeline.first().unwrap_or(newest + 1);
        let (from, to) = match *page {
            Page::Newest => (newest.saturating_sub(PAGE - 1), newest),
            Page::Older => (first.saturating_sub(PAGE), first - 1),
            Page::Before(first) => (first.saturating_sub(PAGE), first - 1),
            Page::After(last) => (last + 1, newest.min(last + PAGE)),
            Page::Around(at) => (at.saturating_sub(PAGE / 2), newest.min(at + PAGE / 2)),
        };
        let from = from.max(1);
        let said = messages(from, to);
        if !room.is_late(*page, &said, as_of) {
            match page {
                Page::Newest | Page::Older => room.take_page(*page, &said, from > 1, as_of),
                _ => room.take_past(*page, &said, from > 1, as_of),
            }
        }
    }
    pages
}

fn shown(room: &Conversation) -> (Sequence, Sequence) {
    let run: Vec<Sequence> = room.shown().run().map(|(sequence, _)| *sequence).collect();
    assert!(run.windows(2).all(|two| two[0] + 1 == two[1]), "no hole");
    assert!(run.len() <= WINDOW + SLACK as usize, "no more than the window");
    (run[0], run[run.len() - 1])
}

/// Up until the newest run can hold no more, and a past begins.
fn scrolled_up(newest: Sequence) -> Conversation {
    let mut room = room(newest, newest);
    room.look(Some(newest - 10));
    for _ in 0..10 {
        if !room.in_past() {
            assert!(room.want_older());
            answer(&mut room, newest, newest);
        }
    }
    assert!(room.in_past());
    room
}

#[test]
fn the_past_begins_where_the_newest_run_can_hold_no_more() {
    let mut room = scrolled_up(1_000);
    let (first, last) = shown(&room);
    assert!(
        first < 1_000 - WINDOW as u64 && last < 1_000,
        "what is above came, the end went: {first} to {last}"
    );
    assert_eq!(room.timeline.first(), Some(1_000 - WINDOW as u64 + 1), "the newest run keeps to its window");
    while room.want_older() {
        answer(&mut room, 1_000, 1_000);
    }
    assert_eq!(shown(&room), (1, WINDOW as u64), "up to the first message");
    assert!(!room.shown().more_before);
}

#[test]
fn it_grows_down_again_until_it_is_one_with_the_newest_run() {
    let mut room = scrolled_up(300);
    for _ in 0..20 {
        room.want_older();
        answer(&mut room, 300, 300);
    }
    let mut asked = 0;
    let mut was = shown(&room);
    for _ in 0..40 {
        if !room.in_past() {
            break;
        }
        assert!(room.want_newer());
        asked += answer(&mut room, 300, 300).len();
        let now = shown(&room);
        assert!(now.1 > was.1 || !room.in_past(), "it goes on");
        assert!(now.0 <= was.1, "what was in view may be there yet");
        was = now;
    }
    assert!(!room.in_past());
    assert_eq!(shown(&room).1, 300);
    assert!(asked < 12, "what the newest run holds is not asked for: {asked}");
}

#[test]
fn what_arrives_while_the_reader_looks_further_up_moves_nothing() {
    let mut room = room(1_000, 1_000);
    room.look(Some(985));
    for sequence in 1_001..=1_500 {
        room.take(message(sequence));
    }
    assert_eq!(shown(&room).0, 981, "the oldest is where it was");
    assert!(room.in_past());
    assert_eq!((room.unread, room.timeline.last()), (500, Some(1_500)), "the newest run goes on");
    assert_eq!(room.timeline.run().count(), WINDOW);
    room.go_to_latest();
    assert_eq!((shown(&room), room.in_past()), ((1_441, 1_500), false));
    for sequence in 1_501..=1_600 {
        room.take(message(sequence));
    }
    let (first, last) = shown(&room);
    assert_eq!((last, room.in_past()), (1_600, false));
    assert!(
        (1_541 - WINDOW as u64 / 8..=1_541).contains(&first),
        "at the end the oldest go, some at a time: {first}"
    );
}

#[test]
fn it_opens_at_the_first_unread_message() {
    let mut room = room(1_000, 300);
    assert!(room.is_opening() && room.new_after() == Some(300), "nothing is shown before it is here");
    assert_eq!(answer(&mut room, 1_000, 1_000), [Page::Around(301)]);
    assert!(!room.is_opening() && room.in_past());
    assert_eq!(shown(&room), (291, 311));
    assert_eq!((room.read, room.unread), (300, 700), "nothing is read by it");
}

#[test]
fn unread_messages_just_above_the_newest_page_are_read_page_by_page() {
    let mut room = room(1_000, 950);
    assert!(room.is_opening());
    while room.is_opening() {
        assert_eq!(answer(&mut room, 1_000, 1_000), [Page::Older]);
    }
    assert!(!room.in_past() && shown(&room).0 <= 951);
}

#[test]
fn without_a_connection_what_is_here_is_shown() {
    let mut room = room(1_000, 1_000);
    room.leave();
    (room.unread, room.read) = (500, 500);
    room.enter(false);
    assert!(!room.is_opening() && !room.in_past());
}

#[test]
fn a_link_leads_there_with_one_question_and_back() {
    let mut room = room(1_000, 1_000);
    assert!(room.seek(5));
    room.seek_on();
    assert!(!room.in_past() && !room.is_opening(), "what was shown stays until the page is here");
    assert_eq!(answer(&mut room, 1_000, 1_000), [Page::Around(5)]);
    assert_eq!((shown(&room), room.seeking), ((1, 15), None));
    assert!(room.seek(990), "the newest run has it");
    room.seek_on();
    assert!(!room.in_past() && room.seeking.is_none());
    assert!(!room.seek(1_001));
}

#[test]
fn what_is_shown_stays_also_where_it_was_opened_further_back() {
    let mut room = room(1_000, 300);
    assert_eq!(answer(&mut room, 1_000, 1_000), [Page::Around(301)]);
    let was = shown(&room);
    assert!(room.seek(5));
    room.seek_on();
    assert!(!room.is_opening(), "it is open already");
    assert_eq!(shown(&room), was);
}

#[test]
fn a_link_into_what_is_almost_held_makes_no_past() {
    let mut room = room(1_000, 1_000);
    room.seek(970);
    room.seek_on();
    assert_eq!(answer(&mut room, 1_000, 1_000), [Page::Older]);
    assert_eq!((room.in_past(), room.seeking), (false, None));
    assert_eq!(shown(&room), (961, 1_000));
}

#[test]
fn a_page_around_that_was_cut_is_gone_on_from() {
    let mut room = room(1_000, 1_000);
    room.seek(500);
    room.seek_on();
    assert_eq!(room.ask_pages(0), [Page::Around(500)]);
    // Long messages: the page ends before what is sought.
    room.take_past(Page::Around(500), &messages(475, 480), true, 1_000);
    assert_eq!(room.seeking, Some(500));
    assert_eq!(answer(&mut room, 1_000, 1_000), [Page::After(480)]);
    assert_eq!((room.seeking, shown(&room)), (None, (475, 500)));
}

#[test]
fn a_page_that_brings_nothing_ends_the_search() {
    let mut room = room(1_000, 1_000);
    room.seek(500);
    room.seek_on();
    assert_eq!(room.ask_pages(0), [Page::Around(500)]);
    room.take_past(Page::Around(500), &[], false, 1_000);
    assert_eq!((room.seeking, room.in_past()), (None, false));
    room.seek(500);
    room.seek_on();
    assert_eq!(room.ask_pages(0), [Page::Around(500)]);
    room.refused(Page::Around(500), "no".to_owned());
    assert_eq!((room.seeking, room.in_past(), room.shown().run().count()), (None, false, 20));
}

#[test]
fn pages_for_a_past_that_is_gone_are_let_be() {
    let mut room = scrolled_up(1_000);
    room.want_older();
    let [page] = room.ask_pages(0)[..] else { panic!("one page") };
    room.go_to_latest();
    let before = shown(&room);
    room.take_past(page, &messages(1, 20), false, 1_000);
    assert_eq!((shown(&room), room.in_past()), (before, false));
    // The same of one that was sought before something else was.
    room.seek(100);
    room.seek_on();
    assert_eq!(room.ask_pages(0), [Page::Around(100)]);
    room.seek(500);
    room.seek_on();
    room.take_past(Page::Around(100), &messages(90, 110), true, 1_000);
    assert!(!room.in_past());
    assert_eq!(answer(&mut room, 1_000, 1_000), [Page::Around(500)]);
    assert_eq!(shown(&room), (490, 510));
    room.want_newer();
    assert_eq!(room.ask_pages(0), [Page::After(510)]);
    room.seek(200);
    room.seek_on();
    answer(&mut room, 1_000, 1_000);
    room.take_past(Page::After(510), &messages(511, 520), true, 1_000);
    assert_eq!(shown(&room), (190, 210), "it is of another past");
}

fn happens(room: &mut Conversation, kind: EventKind) -> Index {
    let version = room.version + 1;
    room.take(Event { conversation: 1, version, index: 5_000 + version, time: 9, kind });
    5_000 + version
}

fn held(room: &Conversation, sequence: Sequence) -> Message {
    room.entry(sequence).expect("held").message.as_ref().clone()
}

#[test]
fn what_happens_to_messages_happens_in_both_runs() {
    let mut room = room(1_000, 1_000);
    room.seek(500);
    room.seek_on();
    answer(&mut room, 1_000, 1_000);
    for sequence in [500, 990] {
        let text = "@u1 better".to_owned();
        happens(&mut room, EventKind::Edit { sequence, revision: 1, text, by: user(2) });
        let emoji = "👍".to_owned();
        happens(&mut room, EventKind::Reaction { sequence, emoji, user: user(3), on: true });
        happens(&mut room, EventKind::Pin { sequence, on: true, by: user(2) });
        let is = held(&room, sequence);
        assert_eq!((is.text.as_str(), is.reactions.len(), is.pinned), ("@u1 better", 1, true), "{sequence}");
    }
    assert_eq!(room.pin_count, 2);
    // The ends of the past, and one within.
    happens(&mut room, EventKind::Delete { sequences: vec![490, 500, 510], by: user(2) });
    assert_eq!(shown(&room), (490, 510), "their places stay");
    assert!([490, 500, 510].iter().all(|sequence| held(&room, *sequence).deleted));
    assert_eq!(room.pin_count, 1, "nothing is pinned that is gone");
    room.hide(SequenceRange { first: 495, last: 496 });
    assert!(held(&room, 495).hidden && held(&room, 495).text.is_empty());
    room.want_older();
    answer(&mut room, 1_000, 9_000);
    assert!(shown(&room).0 < 490 && held(&room, 495).hidden);
}

#[test]
fn a_page_that_was_read_before_a_change_is_read_again() {
    let mut room = room(1_000, 1_000);
    room.seek(500);
    room.seek_on();
    assert_eq!(room.ask_pages(0), [Page::Around(500)]);
    let index = happens(&mut room, EventKind::Delete { sequences: vec![505], by: user(2) });
    assert!(room.is_late(Page::Around(500), &messages(490, 510), index - 1));
    assert!(!room.is_late(Page::Around(500), &messages(490, 500), index - 1), "it is not in that one");
    assert_eq!(room.ask_pages(0), [Page::Around(500)], "asked again");
    assert!(!room.is_late(Page::Around(500), &messages(490, 510), index));
    // Of more changes than are remembered, any may concern it.
    for sequence in 0..=MISSED_MAX as u64 {
        happens(&mut room, EventKind::Pin { sequence: 2_000 + sequence, on: true, by: user(2) });
    }
    assert!(room.is_late(Page::Around(500), &messages(490, 500), index));
}

#[test]
fn a_past_that_events_passed_by_is_read_again_where_its_reader_is() {
    let mut room = room(1_000, 1_000);
    room.seek(500);
    room.seek_on();
    answer(&mut room, 1_000, 1_000);
    room.look(Some(503));
    room.skip_to(1_005);
    assert!(!room.in_past() && room.is_opening());
    assert_eq!(answer(&mut room, 1_000, 1_005), [Page::Around(503)]);
    assert_eq!((shown(&room), room.is_opening()), ((493, 513), false));
    let gone_on = ConversationSummary {
        id: 1,
        version: 3_000,
        sequence: 2_500,
        read: 1_000,
        unread: 1_500,
        ..ConversationSummary::default()
    };
    room.take_summary(&gone_on);
    assert!(!room.in_past() && room.is_opening() && !room.timeline.loaded);
    assert_eq!(answer(&mut room, 2_500, 3_000), [Page::Newest]);
    assert_eq!(answer(&mut room, 2_500, 3_000), [Page::Around(503)]);
    assert!(room.in_past() && room.unread == 1_500);
}

#[test]
fn whoever_goes_elsewhere_or_writes_is_at_the_end_again() {
    let mut room = scrolled_up(1_000);
    room.leave();
    assert!(!room.in_past() && room.timeline.run().count() == WINDOW);
    room.enter(true);
    assert_eq!((room.new_after(), room.seeking), (None, None));
    let mut room = scrolled_up(1_000);
    let jumps = room.jumps();
    room.has_answered();
    assert!(!room.in_past() && room.jumps() != jumps);
}

#[test]
fn without_a_window_there_is_no_past() {
    let mut room = room(1_000, 1_000).windowed(None);
    room.reading.window = None;
    room.look(Some(990));
    room.seek(5);
    room.seek_on();
    assert_eq!(room.ask_pages(0), [Page::Older], "page by page");
    for sequence in 1_001..=1_400 {
        room.take(message(sequence));
    }
    assert!(!room.in_past() && !room.want_newer());
}
