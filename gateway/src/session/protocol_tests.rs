use quorate_proto::frame::{AttachFile, MessageRef, SendMessage};
use quorate_proto::ids::ClientMessageId;
use uuid::Uuid;

use super::*;
use crate::session::codec::parse;

const TIMES: Times = Times { hello_wait_ms: 10_000, ping_interval_ms: 25_000, pong_wait_ms: 10_000 };
const FOREVER: u64 = u64::MAX - TOKEN_LEEWAY_MS;

fn waiting() -> Protocol {
    Protocol::new(SessionLimits::default(), TIMES, 0)
}

fn live_with(limits: SessionLimits) -> Protocol {
    let mut protocol = Protocol::new(limits, TIMES, 0);
    assert!(matches!(say(&mut protocol, 0, r#"{"type":"hello","token":"t"}"#), Some(Effect::Open { .. })));
    protocol.opened(0, FOREVER);
    protocol
}

fn live() -> Protocol {
    live_with(SessionLimits::default())
}

fn say(protocol: &mut Protocol, now_ms: u64, text: &str) -> Option<Effect> {
    let parsed = parse(text).unwrap().remove(0);
    protocol.frame(now_ms, parsed, |_| Ok(()))
}

fn send(id: u64, conversation: u64) -> String {
    format!(
        r#"{{"type":"send","id":{id},"conversation":{conversation},"client_message_id":"{}","text":"hi"}}"#,
        Uuid::from_u128(u128::from(id))
    )
}

fn ack(id: u64) -> Ack {
    Ack {
        client_message_id: ClientMessageId(Uuid::from_u128(u128::from(id))),
        conversation: Some(1),
        sequence: Some(1),
        version: Some(1),
        revision: None,
        scheduled: None,
        index: 9,
        term: 1,
        log_time: 0,
        replay: false,
    }
}

#[track_caller]
fn code_of(effect: Option<Effect>) -> ErrorCode {
    let Some(Effect::Write(frame)) = effect else { panic!("no frame: {effect:?}") };
    let Body::Error { error } = frame.body else { panic!("no error: {frame:?}") };
    error.code
}

#[track_caller]
fn closed_with(effect: &Effect) -> CloseCode {
    let Effect::Close(farewell) = effect else { panic!("no close: {effect:?}") };
    farewell.code
}

#[test]
fn a_frame_before_hello_ends_the_socket() {
    for text in
        [r#"{"type":"pong","n":1}"#, r#"{"type":"dance"}"#, r#"{"type":"hello","token":7}"#, &send(1, 1)]
    {
        let mut protocol = waiting();
        let effect = say(&mut protocol, 0, text).unwrap();
        assert_eq!(closed_with(&effect), CloseCode::Malformed, "{text}");
        assert_eq!(say(&mut protocol, 0, r#"{"type":"hello","token":"t"}"#), None, "closed is closed");
    }
}

#[test]
fn a_silent_socket_is_closed_in_time_and_not_before() {
    let mut protocol = waiting();
    assert_eq!(protocol.wake_at_ms(), 10_000);
    assert!(protocol.tick(9_999, 0, true).is_empty());
    assert_eq!(closed_with(&protocol.tick(10_000, 0, true)[0]), CloseCode::NoHello);
}

#[test]
fn no_frame_is_taken_while_the_session_opens() {
    let mut protocol = waiting();
    say(&mut protocol, 0, r#"{"type":"hello","token":"t"}"#);
    assert!(!protocol.reads_frames());
    assert!(protocol.tick(60_000, 0, true).is_empty(), "opening has its own bound");
    assert_eq!(closed_with(&say(&mut protocol, 0, &send(1, 1)).unwrap()), CloseCode::Malformed);
}

#[test]
fn a_second_hello_is_out_of_order() {
    let effect = say(&mut live(), 0, r#"{"type":"hello","token":"t"}"#).unwrap();
    assert_eq!(closed_with(&effect), CloseCode::Malformed);
}

#[test]
fn an_unknown_type_and_wrong_fields_are_errors_and_the_socket_stays() {
    let mut protocol = live();
    assert_eq!(code_of(say(&mut protocol, 0, r#"{"type":"dance","id":3}"#)), ErrorCode::Unsupported);
    assert_eq!(code_of(say(&mut protocol, 0, r#"{"type":"send","id":4}"#)), ErrorCode::Malformed);
    assert!(protocol.is_live());
}

#[test]
fn one_send_a_conversation_is_under_way_and_the_next_follows_its_answer() {
    let mut protocol = live();
    let lane = Lane::Conversation(1);
    assert!(matches!(say(&mut protocol, 0, &send(1, 1)), Some(Effect::Submit { .. })));
    assert_eq!(say(&mut protocol, 0, &send(2, 1)), None, "queued behind the first");
    assert!(
        matches!(say(&mut protocol, 0, &send(3, 2)), Some(Effect::Submit { .. })),
        "another conversation"
    );
    let effects = protocol.settled(lane, Ok(ack(1)));
    let [Effect::Write(reply), Effect::Submit { task, asked_ms: 0, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(reply.reply, Some(1));
    let Task::Send(next) = &**task else { panic!("{task:?}") };
    assert_eq!(next.client_message_id, ack(2).client_message_id);
    assert_eq!(protocol.settled(lane, Ok(ack(2))).len(), 1);
    assert!(!protocol.is_settled());
    protocol.settled(Lane::Conversation(2), Ok(ack(3)));
    assert!(protocol.is_settled());
}

#[test]
fn a_temporary_failure_takes_what_was_queued_behind_it_along_so_that_order_holds() {
    let mut protocol = live();
    for id in 1..=3 {
        say(&mut protocol, 0, &send(id, 1));
    }
    let effects = protocol
        .settled(Lane::Conversation(1), Err(WireError::new(ErrorCode::Unavailable, "no leader answered")));
    let replies: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Write(frame) => frame.reply,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(replies, [Some(1), Some(2), Some(3)]);
    assert!(protocol.is_settled());
}

#[test]
fn a_final_refusal_lets_the_next_go() {
    let mut protocol = live();
    say(&mut protocol, 0, &send(1, 1));
    say(&mut protocol, 0, &send(2, 1));
    let effects =
        protocol.settled(Lane::Conversation(1), Err(WireError::new(ErrorCode::Forbidden, "not a member")));
    assert!(matches!(&effects[..], [Effect::Write(_), Effect::Submit { .. }]), "{effects:?}");
}

#[test]
fn the_queue_of_commands_has_a_bound() {
    let mut protocol = live();
    for id in 1..=COMMANDS_QUEUED_MAX as u64 {
        say(&mut protocol, 0, &send(id, 1));
    }
    assert_eq!(code_of(say(&mut protocol, 0, &send(999, 1))), ErrorCode::RateLimited);
}

#[test]
fn texts_are_checked_before_they_travel() {
    let mut protocol = live();
    let text = |text: &str| {
        format!(
            r#"{{"type":"send","id":1,"conversation":1,"client_message_id":"{}","text":"{text}"}}"#,
            Uuid::nil()
        )
    };
    assert_eq!(code_of(say(&mut protocol, 0, &text("  "))), ErrorCode::Invalid);
    assert_eq!(code_of(say(&mut protocol, 0, &text(&"x".repeat(12 * 1024 + 1)))), ErrorCode::TooLarge);
}

#[test]
fn rates_are_kept_with_a_time_to_come_back() {
    let limits = SessionLimits { frames_per_second: 1, frames_burst: 2, ..Default::default() };
    let mut protocol = live_with(limits);
    let open = r#"{"type":"open","id":5,"conversation":1}"#;
    assert!(matches!(say(&mut protocol, 0, open), Some(Effect::Read { .. })));
    assert!(matches!(say(&mut protocol, 0, open), Some(Effect::Read { .. })));
    let Some(Effect::Write(frame)) = say(&mut protocol, 0, open) else { panic!("not limited") };
    let Body::Error { error } = frame.body else { panic!("no error") };
    assert_eq!((error.code, error.temporary, error.retry_ms), (ErrorCode::RateLimited, true, Some(1_000)));
    assert_eq!(say(&mut protocol, 0, r#"{"type":"pong","n":0}"#), None, "pongs are free");
    let limited = protocol.frame(0, parse(&send(1, 1)).unwrap().remove(0), |_| Err(700));
    let Some(Effect::Write(frame)) = limited else { panic!("not limited") };
    let Body::Error { error } = frame.body else { panic!("no error") };
    assert_eq!((error.code, error.retry_ms), (ErrorCode::RateLimited, Some(700)));
}

#[test]
fn pings_carry_numbers_and_a_missing_pong_ends_the_socket() {
    let mut protocol = live();
    assert_eq!(protocol.wake_at_ms(), 25_000);
    assert_eq!(protocol.tick(25_000, 0, true), [Effect::Ping { n: 1 }]);
    assert_eq!(protocol.wake_at_ms(), 35_000);
    say(&mut protocol, 26_000, r#"{"type":"pong","n":1}"#);
    assert!(protocol.tick(35_000, 0, true).is_empty());
    assert_eq!(protocol.tick(50_000, 0, true), [Effect::Ping { n: 2 }]);
    say(&mut protocol, 51_000, r#"{"type":"pong","n":1}"#);
    assert_eq!(closed_with(&protocol.tick(60_000, 0, true)[0]), CloseCode::NoPong);
}

#[test]
fn an_expired_token_ends_the_session_but_not_while_there_is_no_majority() {
    let mut protocol = live();
    protocol.opened(0, 1_000_000);
    let over = 1_000_000 + TOKEN_LEEWAY_MS;
    assert!(protocol.tick(1, over - 1, true).is_empty(), "leeway");
    assert!(protocol.tick(1, over, false).is_empty(), "nobody could refresh it now");
    assert!(matches!(protocol.renewed(3, Ok(2_000_000)), Effect::Write(_)));
    assert!(protocol.tick(1, over, true).is_empty(), "renewed");
    let effects = protocol.tick(1, 2_000_000 + TOKEN_LEEWAY_MS, true);
    assert_eq!(closed_with(&effects[0]), CloseCode::TokenExpired);
}

#[test]
fn read_marks_merge_and_go_at_most_once_in_two_seconds() {
    let mut protocol = live();
    let read = |sequence: u64| format!(r#"{{"type":"read","conversation":1,"sequence":{sequence}}}"#);
    let marked = |sequence| Effect::MarkRead { conversation: 1, sequence };
    assert_eq!(say(&mut protocol, 0, &read(3)), Some(marked(3)));
    assert_eq!(say(&mut protocol, 100, &read(5)), None);
    assert_eq!(say(&mut protocol, 200, &read(4)), None, "never back");
    assert_eq!(protocol.wake_at_ms(), 2_000);
    assert_eq!(protocol.tick(2_000, 0, true), [marked(5)]);
    assert_eq!(say(&mut protocol, 9_000, &read(5)), None, "nothing new");
    assert_eq!(say(&mut protocol, 9_000, &read(6)), Some(marked(6)));
}

#[test]
fn limits_of_reads_are_brought_into_range() {
    let mut protocol = live();
    let Some(Effect::Read { query: Query::History(history), .. }) =
        say(&mut protocol, 0, r#"{"type":"history","id":1,"conversation":1,"limit":9999}"#)
    else {
        panic!("no read")
    };
    assert_eq!(history.limit, 100);
    let both = r#"{"type":"history","id":1,"conversation":1,"before":1,"after":1}"#;
    assert_eq!(code_of(say(&mut protocol, 0, both)), ErrorCode::Invalid);
    for _ in 1..READS_MAX {
        say(&mut protocol, 0, r#"{"type":"open","id":1,"conversation":1}"#);
    }
    assert_eq!(
        code_of(say(&mut protocol, 0, r#"{"type":"open","id":1,"conversation":1}"#)),
        ErrorCode::RateLimited
    );
    protocol.answered();
    assert!(matches!(
        say(&mut protocol, 0, r#"{"type":"open","id":1,"conversation":1}"#),
        Some(Effect::Read { .. })
    ));
}

#[test]
fn open_rooms_have_a_bound_and_closing_one_makes_room() {
    let mut protocol = live_with(SessionLimits { open_rooms_max: 2, ..SessionLimits::default() });
    let open = |protocol: &mut Protocol, id: u64| {
        let effect = say(protocol, 0, &format!(r#"{{"type":"open","id":{id},"conversation":{id}}}"#));
        protocol.answered();
        effect
    };
    for id in [1, 2, 1] {
        let query = Query::Open { conversation: id, signals: true };
        assert_eq!(open(&mut protocol, id), Some(Effect::Read { id, query }));
    }
    assert_eq!(code_of(open(&mut protocol, 3)), ErrorCode::TooLarge);
    let summary = say(&mut protocol, 0, r#"{"type":"open","id":4,"conversation":4,"signals":false}"#);
    assert!(matches!(summary, Some(Effect::Read { .. })), "a summary alone takes no room");
    assert_eq!(say(&mut protocol, 0, r#"{"type":"close","conversation":2}"#), Some(Effect::Unwatch(2)));
    assert_eq!(say(&mut protocol, 0, r#"{"type":"close","conversation":2}"#), None);
    assert!(matches!(open(&mut protocol, 3), Some(Effect::Read { .. })));
    // One that could not be opened takes no room either.
    protocol.closed_room(3);
    assert!(matches!(open(&mut protocol, 5), Some(Effect::Read { .. })));
}

#[test]
fn typing_and_presence_go_on_their_way_only_when_they_are_news() {
    let mut protocol = live();
    let typing = r#"{"type":"typing","conversation":1}"#;
    assert_eq!(say(&mut protocol, 0, typing), Some(Effect::Typing(1)));
    assert_eq!(say(&mut protocol, 999, typing), None);
    assert_eq!(say(&mut protocol, 1_000, typing), Some(Effect::Typing(1)));
    let state = |word| format!(r#"{{"type":"presence","id":9,"state":"{word}"}}"#);
    let active = Some(Effect::Presence(PresenceState::Active));
    assert_eq!(say(&mut protocol, 0, &state("active")), active);
    assert_eq!(say(&mut protocol, 0, &state("active")), None);
    for word in ["offline", "unknown", "away"] {
        assert_eq!(code_of(say(&mut protocol, 0, &state(word))), ErrorCode::Invalid);
    }
}

#[test]
fn delivered_marks_merge_and_go_at_most_once_a_second() {
    let mut protocol = live();
    let mark = |sequence| format!(r#"{{"type":"delivered","conversation":1,"sequence":{sequence}}}"#);
    let told = |sequence| Effect::Delivered { conversation: 1, sequence };
    assert_eq!(say(&mut protocol, 0, &mark(5)), Some(told(5)));
    assert_eq!(say(&mut protocol, 10, &mark(6)), None);
    assert_eq!(say(&mut protocol, 20, &mark(7)), None);
    assert_eq!(say(&mut protocol, 30, &mark(4)), None);
    assert_eq!(protocol.wake_at_ms(), 1_000);
    assert_eq!(protocol.tick(1_000, 0, true), [told(7)]);
    assert_eq!(protocol.tick(5_000, 0, true), []);
}

#[test]
fn the_question_after_a_gap_is_outside_of_the_rate() {
    let mut protocol =
        live_with(SessionLimits { frames_per_second: 1, frames_burst: 1, ..SessionLimits::default() });
    let since = r#"{"type":"since","id":7,"pairs":[{"topic":1,"version":5}]}"#;
    assert!(matches!(say(&mut protocol, 0, since), Some(Effect::Read { .. })));
    assert_eq!(code_of(say(&mut protocol, 0, since)), ErrorCode::RateLimited);
    protocol.gap_told();
    assert!(matches!(say(&mut protocol, 0, since), Some(Effect::Read { .. })));
    assert_eq!(code_of(say(&mut protocol, 0, since)), ErrorCode::RateLimited);
}

/// The ack of a creation comes before the `me` that fills it. What was opened in between was never watched.
#[test]
fn a_conversation_opened_before_it_was_told_is_watched_once_it_is() {
    let mut protocol = live();
    let open = r#"{"type":"open","id":7,"conversation":5,"signals":true}"#;
    assert!(matches!(say(&mut protocol, 0, open), Some(Effect::Read { .. })));
    assert_eq!(protocol.added(5), Some(Effect::Watch(5)));
    assert_eq!(protocol.added(6), None, "nobody opened it");
    say(&mut protocol, 0, r#"{"type":"close","conversation":5}"#);
    assert!(!protocol.wants(5), "closed is closed, whatever still comes of it");
    assert_eq!(protocol.added(5), None);
}

/// Each change goes to everybody who shares a conversation: one client that toggles was 10 times that a second.
#[test]
fn presence_that_changes_quickly_is_told_once_a_second_and_the_last_one_wins() {
    let mut protocol = live();
    let state = |word| format!(r#"{{"type":"presence","id":9,"state":"{word}"}}"#);
    assert!(say(&mut protocol, 0, &state("active")).is_some());
    let mut told = 0;
    for at in 1..=100 {
        let word = if at % 2 == 0 { "active" } else { "idle" };
        told += u32::from(say(&mut protocol, at * 100, &state(word)).is_some());
        told += u32::try_from(protocol.tick(at * 100, 0, true).len()).unwrap();
    }
    assert!(told <= 10, "{told} changes were told within ten seconds");
    assert_eq!(say(&mut protocol, 20_000, &state("dnd")), Some(Effect::Presence(PresenceState::Dnd)));
    assert_eq!(say(&mut protocol, 20_100, &state("idle")), None);
    assert_eq!(say(&mut protocol, 20_200, &state("invisible")), None);
    assert_eq!(protocol.wake_at_ms(), 21_000);
    assert_eq!(protocol.tick(21_000, 0, true), [Effect::Presence(PresenceState::Invisible)]);
    // Changed and changed back before anybody was told: nobody is.
    assert_eq!(say(&mut protocol, 21_100, &state("idle")), None);
    assert_eq!(say(&mut protocol, 21_200, &state("invisible")), None);
    assert_eq!(protocol.tick(22_500, 0, true), []);
}

fn about(kind: &str, id: u64, fields: &str) -> String {
    let key = Uuid::from_u128(u128::from(id));
    format!(r#"{{"type":"{kind}","id":{id},{fields},"client_message_id":"{key}"}}"#)
}

#[test]
fn what_is_done_to_messages_keeps_its_place_among_the_sends_of_its_conversation() {
    let mut protocol = live();
    assert!(matches!(say(&mut protocol, 0, &send(1, 1)), Some(Effect::Submit { .. })));
    let place = r#""conversation":1,"sequence":4"#;
    let frames = [
        about("react", 2, &format!(r#"{place},"emoji":"👍","on":true"#)),
        about("delete", 3, place),
        about("pin", 4, &format!(r#"{place},"on":true"#)),
    ];
    for frame in &frames {
        assert_eq!(say(&mut protocol, 0, frame), None, "behind the send: {frame}");
    }
    let mut done = Vec::new();
    for id in 1..=4 {
        for effect in protocol.settled(Lane::Conversation(1), Ok(ack(id))) {
            if let Effect::Submit { task, .. } = effect {
                done.push(*task);
            }
        }
    }
    assert!(matches!(&done[..], [Task::React(_), Task::Delete(_), Task::Pin(_)]), "{done:?}");
    assert!(protocol.is_settled());
}

#[test]
fn a_draft_waits_for_nothing_and_nothing_waits_for_it() {
    let mut protocol = live();
    let block = about("do", 1, r#""command":{"action":"block","user":"eve","on":true}"#);
    let draft = |id| about("do", id, r#""command":{"action":"draft","conversation":1,"text":"hal"}"#);
    let lane = |effect| match effect {
        Some(Effect::Submit { lane, .. }) => Some(lane),
        _ => None,
    };
    assert_eq!(lane(say(&mut protocol, 0, &block)), Some(Lane::Commands));
    assert_eq!(lane(say(&mut protocol, 0, &draft(2))), Some(Lane::Drafts));
    assert_eq!(lane(say(&mut protocol, 0, &send(3, 1))), Some(Lane::Conversation(1)));
    assert_eq!(say(&mut protocol, 0, &draft(4)), None, "behind the first draft");
}

#[test]
fn texts_of_every_command_are_checked_and_a_forward_has_none() {
    let mut protocol = live();
    let forward = r#""forward":{"conversation":2,"sequence":9}"#;
    let long = "x".repeat(quorate_proto::limits::TEXT_BYTES_MAX + 1);
    let late =
        |text: &str| format!(r#""command":{{"action":"schedule","conversation":1,"text":"{text}","at":9}}"#);
    let draft = |text: &str| format!(r#""command":{{"action":"draft","conversation":1,"text":"{text}"}}"#);
    for (frame, wanted) in [
        (about("send", 1, &format!(r#""conversation":1,"text":"mine",{forward}"#)), ErrorCode::Invalid),
        (about("send", 2, r#""conversation":1,"text":" ""#), ErrorCode::Invalid),
        (about("do", 3, &late(" ")), ErrorCode::Invalid),
        (about("do", 4, &late(&long)), ErrorCode::TooLarge),
        (about("do", 5, &draft(&long)), ErrorCode::TooLarge),
    ] {
        assert_eq!(code_of(say(&mut protocol, 0, &frame)), wanted, "{}", &frame[..60]);
    }
    let handed_on = about("send", 6, &format!(r#""conversation":1,"text":"",{forward}"#));
    assert!(matches!(say(&mut protocol, 0, &handed_on), Some(Effect::Submit { .. })));
    assert!(matches!(say(&mut protocol, 0, &about("do", 7, &draft(""))), Some(Effect::Submit { .. })));
}

#[test]
fn reactions_and_pins_count_as_frames() {
    let mut protocol =
        live_with(SessionLimits { frames_burst: 2, frames_per_second: 1, ..Default::default() });
    let react = |id| about("react", id, r#""conversation":1,"sequence":4,"emoji":"👍","on":true"#);
    let pin = about("pin", 2, r#""conversation":1,"sequence":4,"on":true"#);
    assert!(matches!(say(&mut protocol, 0, &react(1)), Some(Effect::Submit { .. })));
    assert_eq!(say(&mut protocol, 0, &pin), None);
    assert_eq!(code_of(say(&mut protocol, 0, &react(3))), ErrorCode::RateLimited);
}

#[test]
fn a_message_has_words_or_files_or_is_handed_on() {
    let file = AttachFile { file: Uuid::from_u128(1), conversation: None, sequence: None };
    let files = |count: usize| vec![file.clone(); count];
    let forward = Some(MessageRef { conversation: 2, sequence: 3 });
    let refused = |text: &str, forward: Option<MessageRef>, attachments: Vec<AttachFile>| {
        let send = SendMessage {
            conversation: 1,
            client_message_id: ClientMessageId(Uuid::from_u128(1)),
            text: text.to_owned(),
            reply_to: None,
            forward,
            first_sent: 0,
            attachments,
        };
        check_send(&send, 4).err().map(|error| error.code)
    };
    for (text, forward, count) in [("hi", None, 0), ("", None, 1), ("hi", None, 10), ("", forward, 0)] {
        assert_eq!(refused(text, forward, files(count)), None, "{text:?} {forward:?} {count}");
    }
    assert_eq!(refused("", None, files(0)), Some(ErrorCode::Invalid));
    assert_eq!(refused("hello", None, files(1)), Some(ErrorCode::TooLarge));
    assert_eq!(refused("", None, files(11)), Some(ErrorCode::TooLarge));
    assert_eq!(refused("hi", forward, files(0)), Some(ErrorCode::Invalid));
    assert_eq!(refused("", forward, files(1)), Some(ErrorCode::Invalid));
}

#[test]
fn a_programs_token_is_looked_at_again_and_ends_the_session_only_when_it_is_good_no_more() {
    let mut protocol = live();
    protocol.programmed(0, 20_000, None);
    assert_eq!(protocol.wake_at_ms(), 20_000);
    assert!(protocol.tick(19_999, 0, true).is_empty());
    assert_eq!(
        protocol.tick(20_000, u64::MAX - 1, true),
        [Effect::Recheck],
        "and no end of an access token counts"
    );
    assert!(protocol.tick(20_001, 0, true).is_empty(), "one question at a time");
    assert_eq!(protocol.rechecked(20_100, Ok(60_000)), None);
    protocol.ping_at_ms = u64::MAX;
    assert_eq!(protocol.wake_at_ms(), 80_100);
    assert_eq!(protocol.tick(80_100, 0, false), [Effect::Recheck]);
    let unavailable = WireError::new(ErrorCode::Unavailable, "nobody can say");
    assert_eq!(protocol.rechecked(80_200, Err(unavailable)), None, "an outage ends no session");
    assert_eq!(protocol.tick(80_200 + RECHECK_RETRY_MS, 0, false), [Effect::Recheck]);
    let refused = WireError::new(ErrorCode::Unauthenticated, "it has ended");
    let Some(Effect::Close(farewell)) = protocol.rechecked(90_000, Err(refused)) else {
        panic!("it goes on")
    };
    assert_eq!(farewell.code, CloseCode::BadToken);
    assert!(!protocol.is_live());
}

#[test]
fn a_program_that_may_not_send_makes_no_signals() {
    let mut protocol = live();
    protocol.programmed(0, 20_000, Some(WireError::new(ErrorCode::Forbidden, "it lacks the scope `send`")));
    for frame in [
        r#"{"type":"typing","id":1,"conversation":3}"#,
        r#"{"type":"presence","id":2,"state":"active"}"#,
        r#"{"type":"delivered","id":3,"conversation":3,"sequence":1}"#,
    ] {
        assert_eq!(code_of(say(&mut protocol, 0, frame)), ErrorCode::Forbidden, "{frame}");
    }
    let open = say(&mut protocol, 0, r#"{"type":"open","id":4,"conversation":3}"#);
    assert!(matches!(open, Some(Effect::Read { .. })), "{open:?}");
}
