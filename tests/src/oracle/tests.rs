//! A check that cannot fail proves nothing: every violation is planted and must be found as itself.

use super::*;
use crate::history::Delivered;

const CONVERSATION: ConversationId = 3;

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(7, number)
}

fn sent(number: u64, sender: u64, invoked: Micros, acked: Micros) -> Sent {
    Sent {
        id: id(number),
        sender,
        conversation: CONVERSATION,
        text: format!("message {number}"),
        invoked,
        fate: Fate::Acked { at: acked, sequence: number, version: number + 1, index: 100 + number, term: 1 },
    }
}

fn row_of(sent: &Sent, sequence: Sequence) -> Row {
    Row { sequence, version: sequence + 1, id: sent.id, from: sent.sender, text: sent.text.clone() }
}

/// Two senders take turns, ten messages; two gateways and one reader saw it all. The conversation's first version is
/// its creation, which is no message.
fn good() -> History {
    let sends: Vec<Sent> = (1..=10).map(|n| sent(n, 1 + n % 2, n * 100, n * 100 + 50)).collect();
    let rows: Vec<Row> = sends.iter().zip(1..).map(|(sent, sequence)| row_of(sent, sequence)).collect();
    let pages = |source: &str| FinalPages {
        source: source.to_owned(),
        conversation: CONVERSATION,
        version: 11,
        rows: rows.clone(),
    };
    let creation = Delivered { at: 1, conversation: CONVERSATION, version: 1, index: 90, message: None };
    let messages = rows.iter().map(|row| Delivered {
        at: 10 + row.sequence,
        conversation: CONVERSATION,
        version: row.version,
        index: 100 + row.sequence,
        message: Some(row.clone()),
    });
    let reader = Reader {
        user: 1,
        name: "ana".to_owned(),
        starts: vec![(CONVERSATION, 0)],
        events: std::iter::once(creation).chain(messages).collect(),
        complete: true,
    };
    History { finals: vec![pages("a"), pages("b")], readers: vec![reader], sends, ..History::default() }
}

/// Changes the same thing in the pages of both gateways.
fn in_pages(history: &mut History, change: impl Fn(&mut Vec<Row>)) {
    for pages in &mut history.finals {
        change(&mut pages.rows);
    }
}

fn only_pages(mut history: History) -> History {
    history.readers.clear();
    history
}

macro_rules! caught {
    ($history:expr, $pattern:pat) => {
        let found = check(&$history);
        assert!(found.iter().any(|violation| matches!(violation, $pattern)), "not caught: {found:#?}");
    };
}

#[test]
fn a_good_history_passes() {
    assert_eq!(check(&good()), []);
}

#[test]
fn an_unknown_send_may_be_there_once_or_not_at_all() {
    let mut history = good();
    history.sends[4].fate = Fate::Unknown;
    assert_eq!(check(&history), []);
    let mut absent = sent(11, 1, 2_000, 2_050);
    absent.fate = Fate::Unknown;
    history.sends.push(absent);
    assert_eq!(check(&history), []);
}

#[test]
fn a_lost_message_is_caught() {
    let mut history = only_pages(good());
    in_pages(&mut history, |rows| drop(rows.pop()));
    caught!(history, Violation::Lost { sequence: 10, .. });
}

#[test]
fn a_message_lost_on_one_gateway_only_is_caught() {
    let mut history = only_pages(good());
    history.finals[1].rows.pop();
    caught!(history, Violation::Lost { .. });
    caught!(history, Violation::Disagree { sequence: 10, .. });
}

#[test]
fn a_doubled_message_is_caught() {
    let mut history = only_pages(good());
    in_pages(&mut history, |rows| {
        let again = Row { sequence: 11, version: 12, ..rows[3].clone() };
        rows.push(again);
    });
    caught!(history, Violation::Doubled { first: 4, second: 11, .. });
}

#[test]
fn an_unknown_send_that_is_there_twice_is_caught() {
    let mut history = only_pages(good());
    history.sends[3].fate = Fate::Unknown;
    in_pages(&mut history, |rows| {
        let again = Row { sequence: 11, version: 12, ..rows[3].clone() };
        rows.push(again);
    });
    caught!(history, Violation::Doubled { .. });
}

#[test]
fn swapped_messages_are_caught() {
    // The acks agree with the swapped places, so only the times can tell.
    let mut history = only_pages(good());
    in_pages(&mut history, |rows| {
        let (four, five) = (rows[3].clone(), rows[4].clone());
        rows[3] = Row { sequence: 4, version: 5, ..five };
        rows[4] = Row { sequence: 5, version: 6, ..four };
    });
    for (place, sequence) in [(3, 5), (4, 4)] {
        let Fate::Acked { at, version, index, term, .. } = history.sends[place].fate else { panic!("acked") };
        history.sends[place].fate = Fate::Acked { at, sequence, version, index, term };
    }
    let found = check(&history);
    assert!(
        !found.is_empty() && found.iter().all(|one| matches!(one, Violation::Swapped { .. })),
        "{found:#?}"
    );
}

#[test]
fn messages_that_overlap_may_stand_either_way() {
    let mut history = only_pages(good());
    // 5 was sent before the ack of 4 was read.
    history.sends[4].invoked = 410;
    in_pages(&mut history, |rows| {
        let (four, five) = (rows[3].clone(), rows[4].clone());
        rows[3] = Row { sequence: 4, version: 5, ..five };
        rows[4] = Row { sequence: 5, version: 6, ..four };
    });
    for (place, sequence) in [(3, 5), (4, 4)] {
        let Fate::Acked { at, version, index, term, .. } = history.sends[place].fate else { panic!("acked") };
        history.sends[place].fate = Fate::Acked { at, sequence, version, index, term };
    }
    assert_eq!(check(&history), []);
}

#[test]
fn a_message_at_another_place_than_acknowledged_is_caught() {
    let mut history = only_pages(good());
    let Fate::Acked { at, version, index, term, .. } = history.sends[2].fate else { panic!("acked") };
    history.sends[2].fate = Fate::Acked { at, sequence: 30, version, index, term };
    caught!(history, Violation::Moved { acked: 30, found: 3, .. });
}

#[test]
fn two_acks_for_one_place_are_caught() {
    let mut history = good();
    let mut other = sent(2, 2, 1_500, 1_550);
    other.id = id(99);
    history.sends.push(other);
    caught!(history, Violation::SamePlace { sequence: 2, .. });
}

#[test]
fn a_senders_own_order_is_held_even_for_unknown_sends() {
    let mut history = only_pages(good());
    // 2 and 4 are of one sender and both unknown, so nothing but her own order speaks.
    history.sends[1].fate = Fate::Unknown;
    history.sends[3].fate = Fate::Unknown;
    in_pages(&mut history, |rows| {
        let (two, four) = (rows[1].clone(), rows[3].clone());
        rows[1] = Row { sequence: 2, version: 3, ..four };
        rows[3] = Row { sequence: 4, version: 5, ..two };
    });
    caught!(history, Violation::SenderSwapped { .. });
}

#[test]
fn an_altered_message_is_caught_in_pages_and_in_deliveries() {
    let mut history = only_pages(good());
    in_pages(&mut history, |rows| rows[5].text.push('!'));
    caught!(history, Violation::Altered { .. });

    let mut history = good();
    let message = history.readers[0].events[5].message.as_mut().expect("a message");
    message.text.push('!');
    caught!(history, Violation::Altered { .. });
    caught!(history, Violation::Disagree { sequence: 5, .. });
}

#[test]
fn a_gap_in_the_sequences_is_caught() {
    let mut history = only_pages(good());
    history.sends.remove(4);
    in_pages(&mut history, |rows| drop(rows.remove(4)));
    caught!(history, Violation::Gap { expected: 5, found: 6, .. });
}

#[test]
fn a_phantom_is_caught() {
    let mut history = only_pages(good());
    in_pages(&mut history, |rows| {
        rows.push(Row { sequence: 11, version: 12, id: id(77), from: 1, text: "nobody sent me".to_owned() });
    });
    caught!(history, Violation::Phantom { sequence: 11, .. });
}

#[test]
fn a_refused_message_that_is_there_is_caught() {
    let mut history = good();
    history.sends[6].fate = Fate::Refused { code: "forbidden".to_owned() };
    caught!(history, Violation::RefusedPresent { .. });
}

#[test]
fn a_reader_with_a_gap_a_repeat_or_a_missing_end_is_caught() {
    let mut history = good();
    history.readers[0].events.remove(5);
    caught!(history, Violation::VersionGap { expected: 6, found: 7, .. });

    let mut history = good();
    let again = history.readers[0].events[5].clone();
    history.readers[0].events.insert(6, again);
    caught!(history, Violation::VersionBack { last: 6, found: 6, .. });

    let mut history = good();
    history.readers[0].events.pop();
    caught!(history, Violation::Unfinished { last: 10, newest: 11, .. });
    history.readers[0].complete = false;
    assert_eq!(check(&history), []);
}

#[test]
fn an_index_that_goes_back_is_caught() {
    let mut history = good();
    history.readers[0].events[7].index = 5;
    caught!(history, Violation::IndexBack { version: 8, .. });
}

#[test]
fn a_hundred_thousand_messages_are_judged_in_a_moment() {
    let mut history = good();
    let sends: Vec<Sent> = (1..=100_000).map(|n| sent(n, n % 200, n * 10, n * 10 + 500)).collect();
    for pages in &mut history.finals {
        pages.rows = sends.iter().zip(1..).map(|(sent, sequence)| row_of(sent, sequence)).collect();
    }
    history.readers.clear();
    history.sends = sends;
    let began = std::time::Instant::now();
    assert_eq!(check(&history), []);
    // Looking at each once for each other would take many minutes.
    assert!(began.elapsed().as_secs() < 60, "took {:?}", began.elapsed());
}
