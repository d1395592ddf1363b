//! What the probe counts. Pure: time and what was seen come as arguments.
//!
//! ```text
//!  number ─▶ stored (under an id) ─▶ committed (ack or own event) ─┐
//!                                                                  ├─▶ compared by number and by sequence
//!  reader's events, and pages of history where they have holes ────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorate_proto::ids::{ClientMessageId, Index, Sequence};
use quorate_proto::rest::ProbeReport;

/// Messages that came ahead of a hole and are kept until it is filled; history has what exceeds it.
const AHEAD_MAX: usize = 1_000;
/// The reader's events have no hole for longer than this; else history is asked.
const HOLE_MS: u64 = 2_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tells this run's messages from others.
    run: String,
    ids: HashMap<ClientMessageId, u64>,
    /// Number → when it was to be sent, ms.
    open: BTreeMap<u64, u64>,
    sent: u64,
    acknowledged: u64,
    /// When the last one was, ms.
    acknowledged_ms: u64,
    /// Number → where it stands, as the acknowledgement says; not read so far.
    unread: BTreeMap<u64, Option<Sequence>>,
    read: BTreeSet<u64>,
    read_count: u64,
    highest: u64,
    doubled: u64,
    reordered: u64,
    gap_max_ms: u64,
    /// The first message that the reader has not seen.
    next: Sequence,
    ahead: BTreeMap<Sequence, String>,
    /// When `next` moved last, ms.
    moved_ms: u64,
    /// What was committed last.
    newest_index: Index,
    /// History was read to its end since.
    is_complete: bool,
}

impl Tally {
    /// A run whose messages come after `newest`.
    pub(crate) fn new(run: &str, newest: Sequence, now_ms: u64) -> Self {
        Self {
            run: run.to_owned(),
            next: newest + 1,
            moved_ms: now_ms,
            acknowledged_ms: now_ms,
            ..Self::default()
        }
    }

    /// The text of a message.
    pub(crate) fn text(&self, number: u64) -> String {
        format!("probe {} number {number}", self.run)
    }

    fn number(&self, text: &str) -> Option<u64> {
        text.strip_prefix("probe ")?.strip_prefix(&self.run)?.strip_prefix(" number ")?.parse().ok()
    }

    /// The writer's client has taken a message; said again when it travels.
    pub(crate) fn stored(&mut self, id: ClientMessageId, text: &str, now_ms: u64) {
        let Some(number) = self.number(text) else { return };
        if self.ids.insert(id, number).is_none() {
            self.sent += 1;
            self.open.insert(number, now_ms);
            self.is_complete = false;
        }
    }

    /// A majority has it: by its acknowledgement, or by its own event.
    pub(crate) fn committed(
        &mut self,
        id: ClientMessageId,
        sequence: Option<Sequence>,
        index: Index,
        now_ms: u64,
    ) {
        self.newest_index = self.newest_index.max(index);
        let Some(number) = self.ids.remove(&id) else { return };
        self.gap_max_ms = self.gap_max_ms.max(self.gap_ms(now_ms));
        if self.open.remove(&number).is_none() {
            return;
        }
        self.acknowledged += 1;
        self.acknowledged_ms = now_ms;
        self.is_complete = false;
        if !self.read.contains(&number) {
            self.unread.insert(number, sequence);
        }
    }

    /// It was refused for good: nobody was told that it is there.
    pub(crate) fn refused(&mut self, id: ClientMessageId) {
        if let Some(number) = self.ids.remove(&id) {
            self.open.remove(&number);
        }
    }

    /// The reader has a message. Those ahead of a hole wait for it.
    pub(crate) fn arrived(&mut self, sequence: Sequence, text: String, now_ms: u64) {
        if sequence < self.next {
            return;
        }
        if self.ahead.len() < AHEAD_MAX {
            self.ahead.insert(sequence, text);
        }
        while let Some(text) = self.ahead.remove(&self.next) {
            self.take(&text, now_ms);
        }
    }

    /// A page of history from `next` on.
    pub(crate) fn page(
        &mut self,
        messages: Vec<(Sequence, String)>,
        more_after: bool,
        as_of: Index,
        now_ms: u64,
    ) {
        for (sequence, text) in messages {
            // What is not in the history, because it was taken back for instance, leaves no hole.
            if sequence > self.next {
                self.next = sequence;
                self.ahead.retain(|at, _| *at >= sequence);
            }
            self.arrived(sequence, text, now_ms);
        }
        self.is_complete = !more_after && as_of >= self.newest_index;
        self.moved_ms = now_ms;
    }

    fn take(&mut self, text: &str, now_ms: u64) {
        self.next += 1;
        self.moved_ms = now_ms;
        let Some(number) = self.number(text) else { return };
        self.unread.remove(&number);
        if !self.read.insert(number) {
            self.doubled += 1;
            return;
        }
        self.read_count += 1;
        if number < self.highest {
            self.reordered += 1;
        }
        self.highest = self.highest.max(number);
    }

    /// Whether history must be asked, and what: the sequence after which it is to begin, and how new it must be.
    pub(crate) fn wants_history(&self, is_running: bool, now_ms: u64) -> Option<(Sequence, Index)> {
        // Before the first run there is nothing to ask for.
        let after = self.next.checked_sub(1)?;
        let is_quiet = !is_running && self.open.is_empty() && !self.is_complete;
        let is_stuck = (!self.ahead.is_empty() || !self.unread.is_empty())
            && now_ms.saturating_sub(self.moved_ms) > HOLE_MS;
        (is_quiet || is_stuck).then_some((after, self.newest_index))
    }

    fn gap_ms(&self, now_ms: u64) -> u64 {
        let oldest = self.open.values().next();
        oldest.map_or(0, |sent_ms| now_ms.saturating_sub(*sent_ms.max(&self.acknowledged_ms)))
    }

    /// All of it.
    pub(crate) fn report(&mut self, is_running: bool, now_ms: u64) -> ProbeReport {
        let gap_ms = self.gap_ms(now_ms);
        self.gap_max_ms = self.gap_max_ms.max(gap_ms);
        let passed = |sequence: &Option<Sequence>| sequence.is_some_and(|sequence| sequence < self.next);
        let lost = if self.is_complete {
            self.unread.len()
        } else {
            self.unread.values().filter(|sequence| passed(sequence)).count()
        };
        ProbeReport {
            running: is_running,
            settled: !is_running && self.open.is_empty() && self.is_complete,
            sent: self.sent,
            acknowledged: self.acknowledged,
            read: self.read_count,
            lost: lost as u64,
            doubled: self.doubled,
            reordered: self.reordered,
            write_gap_ms: gap_ms,
            write_gap_max_ms: self.gap_max_ms,
            ..ProbeReport::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u64) -> ClientMessageId {
        ClientMessageId(Uuid::from_u128(u128::from(number)))
    }

    fn send(tally: &mut Tally, number: u64, now_ms: u64) {
        let text = tally.text(number);
        tally.stored(id(number), &text, now_ms);
    }

    fn arrive(tally: &mut Tally, sequence: Sequence, number: u64, now_ms: u64) {
        let text = tally.text(number);
        tally.arrived(sequence, text, now_ms);
    }

    #[test]
    fn before_the_first_run_nothing_is_asked_and_nothing_told() {
        let mut tally = Tally::default();
        assert_eq!(tally.wants_history(false, 9_000), None);
        tally.arrived(4, "hello".to_owned(), 1);
        assert_eq!(tally.report(false, 9_000), ProbeReport::default());
    }

    #[test]
    fn what_goes_well_is_counted_and_nothing_else() {
        let mut tally = Tally::new("r", 7, 0);
        for number in 1..=3 {
            send(&mut tally, number, number * 100);
            send(&mut tally, number, number * 100 + 1);
            tally.committed(id(number), Some(7 + number), number, number * 100 + 5);
            tally.committed(id(number), Some(7 + number), number, number * 100 + 6);
            arrive(&mut tally, 7 + number, number, number * 100 + 7);
            arrive(&mut tally, 7 + number, number, number * 100 + 8);
        }
        let report = tally.report(true, 400);
        assert_eq!((report.sent, report.acknowledged, report.read), (3, 3, 3));
        assert_eq!((report.lost, report.doubled, report.reordered), (0, 0, 0));
        assert_eq!((report.write_gap_ms, report.write_gap_max_ms, report.settled), (0, 5, false));
        assert_eq!(tally.wants_history(true, 400), None);
        assert_eq!(tally.wants_history(false, 400), Some((10, 3)), "nothing is final before history says so");
        tally.page(Vec::new(), false, 2, 400);
        assert!(!tally.report(false, 400).settled, "that page is older than the last acknowledgement");
        tally.page(Vec::new(), false, 3, 400);
        assert!(tally.report(false, 400).settled);
        assert_eq!(tally.wants_history(false, 9_000), None);
    }

    #[test]
    fn an_acknowledged_message_that_is_not_there_is_lost_at_once_where_another_stands_in_its_place() {
        let mut tally = Tally::new("r", 0, 0);
        send(&mut tally, 1, 100);
        send(&mut tally, 2, 200);
        tally.committed(id(1), Some(1), 1, 210);
        tally.committed(id(2), Some(2), 2, 220);
        arrive(&mut tally, 1, 2, 230);
        assert_eq!(tally.report(true, 240).lost, 1);
        // By its own event nothing is known of its place: history decides.
        send(&mut tally, 3, 300);
        tally.committed(id(3), None, 3, 310);
        assert_eq!(tally.report(true, 320).lost, 1);
        tally.page(Vec::new(), false, 3, 330);
        assert_eq!(tally.report(false, 340).lost, 2);
    }

    #[test]
    fn doubled_and_reordered_are_told_apart() {
        let mut tally = Tally::new("r", 0, 0);
        for (sequence, number) in [(1, 1), (2, 3), (3, 2), (4, 3), (5, 4)] {
            arrive(&mut tally, sequence, number, sequence);
        }
        tally.arrived(6, "probe other number 1".to_owned(), 6);
        let report = tally.report(true, 7);
        assert_eq!((report.read, report.doubled, report.reordered), (4, 1, 1));
    }

    #[test]
    fn a_hole_in_what_the_reader_was_told_is_filled_from_history() {
        let mut tally = Tally::new("r", 0, 0);
        arrive(&mut tally, 1, 1, 100);
        arrive(&mut tally, 4, 4, 110);
        assert_eq!(tally.wants_history(true, 200), None, "it may still come");
        assert_eq!(tally.wants_history(true, 3_000), Some((1, 0)));
        let texts: Vec<_> = [(2, 2), (3, 3)].map(|(at, number)| (at, tally.text(number))).into();
        tally.page(texts, true, 9, 3_010);
        let report = tally.report(true, 3_020);
        assert_eq!((report.read, report.reordered), (4, 0));
    }

    #[test]
    fn the_write_gap_is_what_somebody_waits_and_nothing_is_acknowledged() {
        let mut tally = Tally::new("r", 0, 0);
        send(&mut tally, 1, 1_000);
        assert_eq!(tally.report(true, 1_020).write_gap_ms, 20, "idleness before the first is no gap");
        tally.committed(id(1), Some(1), 1, 1_030);
        assert_eq!(tally.report(true, 5_000).write_gap_ms, 0, "nobody waits");
        send(&mut tally, 2, 5_000);
        send(&mut tally, 3, 5_100);
        assert_eq!(tally.report(true, 5_300).write_gap_ms, 300);
        tally.committed(id(2), Some(2), 2, 5_400);
        assert_eq!(tally.report(true, 5_450).write_gap_ms, 50, "counted from the last acknowledgement");
        tally.refused(id(3));
        let report = tally.report(true, 9_000);
        assert_eq!((report.write_gap_ms, report.write_gap_max_ms), (0, 400));
        assert_eq!((report.sent, report.acknowledged), (3, 2));
    }
}
