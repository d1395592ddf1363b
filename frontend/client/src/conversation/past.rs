//! The past: a second unbroken run of messages, somewhere in the history, for whoever looks at what the newest run does not hold.
//!
//! Owns: the past, where the reader is, and what she is on her way to. Either run alone is shown, so that no hole is painted over. The past
//! begins with the newest run, when that can hold no more, or around a message that is sought. It grows at both ends page by page and lets go
//! at the other end; where it has come to the newest run, that takes what it holds. Without a window there is no past, and the newest run is
//! all that can be seen.
//!
//! ```text
//!  1 ······ [ past: at most the window ] ······ (hole) ······ [ newest run ]
//!            ◀─ before          after ─▶                      join: one run again
//! ```

use super::*;
use crate::timeline::{Entry, Loading, Page};

/// Messages by which the newest run may exceed its window while its reader looks further up in it: so many arrive before they are let be
/// and she goes on in a past. Also the most that a past takes from the newest run at a time.
const SLACK: u64 = 50;
/// The share of the window by which the newest run may exceed it while its reader is at the end.
const SPARE: usize = 8;
/// What is so near to the run that is shown is read page by page, so that it stays one run.
const NEAR: u64 = 100;
/// Changes remembered while a page is on its way.
const MISSED_MAX: usize = 1_000;

/// Where the reader is, and what she looks at.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Messages of a run at most; `None`: there is no past.
    window: Option<usize>,
    past: Option<Box<Timeline>>,
    /// The topmost message in view; `None`: she is at the end.
    at: Option<Sequence>,
    /// How far reading what a past begins with has come.
    around: Loading,
    /// Nothing is shown until what is sought is here.
    opening: bool,
    entered: bool,
    new_after: Option<Sequence>,
    jumps: u32,
    /// Which messages were changed, and by which entry, while a page was on its way.
    missed: Vec<(Sequence, Index)>,
}

impl Conversation {
    /// With so many messages in a run, and a past; `None`: with the newest run alone.
    pub(crate) fn windowed(mut self, window: Option<usize>) -> Self {
        self.reading.window = window;
        self.rebound();
        self
    }

    /// The run that is shown: the past while there is one.
    pub fn shown(&self) -> &Timeline {
        self.reading.past.as_deref().unwrap_or(&self.timeline)
    }

    /// What is shown is not the newest run.
    pub fn in_past(&self) -> bool {
        self.reading.past.is_some()
    }

    /// Nothing is shown until the message that the reader begins at is here.
    pub fn is_opening(&self) -> bool {
        self.reading.opening && self.seeking.is_some()
    }

    /// The read mark when the conversation was opened, if anything was unread: the "new" line comes after it.
    pub fn new_after(&self) -> Option<Sequence> {
        self.reading.new_after
    }

    /// How often the reader went to the newest message.
    pub fn jumps(&self) -> u32 {
        self.reading.jumps
    }

    /// A page for what is shown is on its way.
    pub fn is_loading(&self) -> bool {
        matches!(self.shown().loading, Loading::Wanted(..) | Loading::Asked(_))
    }

    /// One message, of whichever run holds it.
    pub fn entry(&self, sequence: Sequence) -> Option<&Entry> {
        self.shown().get(sequence).or_else(|| self.timeline.get(sequence))
    }

    pub(super) fn past_mut(&mut self) -> Option<&mut Timeline> {
        self.reading.past.as_deref_mut()
    }

    pub(super) fn runs(&mut self) -> impl Iterator<Item = &mut Timeline> {
        std::iter::once(&mut self.timeline).chain(self.reading.past.as_deref_mut())
    }

    /// All that may be on its way.
    pub(super) fn loadings(&mut self) -> impl Iterator<Item = &mut Loading> {
        let Self { timeline, reading, .. } = self;
        let runs = std::iter::once(timeline).chain(reading.past.as_deref_mut());
        runs.map(|run| &mut run.loading).chain(std::iter::once(&mut reading.around))
    }

    pub(super) fn hide_held(&mut self, range: SequenceRange) {
        for run in self.runs() {
            run.hide(range);
        }
    }

    /// What came may be what the reader took out of her sight.
    pub(super) fn hide_again(&mut self) {
        let hidden = std::mem::take(&mut self.hidden);
        for range in &hidden {
            self.hide_held(*range);
        }
        self.hidden = hidden;
    }

    // ---- where the reader is ----

    /// She opens it: at the first unread message, if that is further back than the newest page. `live`: history can be asked for.
    pub(crate) fn enter(&mut self, live: bool) {
        if std::mem::replace(&mut self.reading.entered, true) {
            return;
        }
        self.reading.new_after = (self.unread > 0).then_some(self.read);
        // What is kept is shown at once where nobody can be asked.
        if self.reading.window.is_some() && self.unread > 0 && (live || !self.timeline.loaded) {
            // Who comes by a link begins at its message.
            self.reading.opening = self.seeking.is_some() || self.seek(self.read + 1);
            self.seek_on();
        }
    }

    /// She goes elsewhere, and no longer looks for anything here.
    pub(crate) fn leave(&mut self) {
        self.drop_past();
        self.reading.entered = false;
        self.reading.new_after = None;
    }

    /// To the newest message.
    pub(crate) fn go_to_latest(&mut self) {
        self.drop_past();
        self.reading.jumps = self.reading.jumps.wrapping_add(1);
    }

    /// She has written, or says that she has read it all: what is there is not new to her.
    pub(crate) fn has_answered(&mut self) {
        self.reading.new_after = None;
        self.go_to_latest();
    }

    /// The topmost message in view; `None` at the end. Whether messages were let go by that.
    pub(crate) fn look(&mut self, at: Option<Sequence>) -> bool {
        self.reading.at = at;
        let held = self.timeline.len();
        self.rebound();
        self.timeline.len() < held
    }

    fn drop_past(&mut self) {
        self.seeking = None;
        let Reading { past, at, around, opening, .. } = &mut self.reading;
        (*past, *at, *around, *opening) = (None, None, Loading::Idle, false);
        self.rebound();
    }

    /// Everything must be read anew; the reader goes on where she looks.
    pub(crate) fn forget(&mut self) {
        self.timeline.forget();
        self.lose_past();
    }

    /// Events passed the past by: it is read anew from where she looks.
    pub(super) fn lose_past(&mut self) {
        let had = self.reading.past.take().is_some();
        self.reading.around = Loading::Idle;
        if (had || !self.timeline.loaded)
            && self.reading.window.is_some()
            && let Some(at) = self.reading.at
        {
            self.seeking = self.seeking.or(Some(at));
            self.reading.opening = true;
        }
        // What was asked on the way to a message is let be.
        self.seek_on();
        self.rebound();
    }

    fn rebound(&mut self) {
        if let Some(window) = self.reading.window {
            let (max, spare) = match (&self.reading.past, self.reading.at) {
                (Some(_), _) => (window, 0),
                (None, Some(_)) => (window + SLACK as usize, 0),
                (None, None) => (window, window / SPARE),
            };
            self.timeline.bound(max, spare);
        }
    }

    // ---- how the past begins, grows and ends ----

    /// Something arrives for which the newest run has no room: what its reader looks at stays, as a past.
    pub(super) fn make_room(&mut self) {
        if self.reading.at.is_some() && self.timeline.loaded && self.timeline.is_full() {
            self.begin_past();
        }
    }

    fn begin_past(&mut self) {
        if self.reading.window.is_some() && self.reading.past.is_none() {
            self.reading.past = Some(Box::new(self.timeline.to_past()));
            self.rebound();
        }
    }

    /// Wants what lies before the run that is shown.
    pub fn want_older(&mut self) -> bool {
        if self.timeline.loaded && self.timeline.more_before && self.timeline.is_full() {
            self.begin_past();
        }
        match &self.reading.past {
            None => self.want_history(Page::Older, 0),
            Some(past) => match past.first().filter(|_| past.more_before) {
                Some(first) => self.want_of_past(Page::Before(first)),
                None => false,
            },
        }
    }

    /// Wants what follows the past: of the newest run, where that has it.
    pub fn want_newer(&mut self) -> bool {
        let Reading { past: Some(past), window: Some(window), .. } = &mut self.reading else { return false };
        let Some(last) = past.last() else { return false };
        let follows = self.timeline.first().is_some_and(|first| first <= last + 1);
        if !self.timeline.loaded || !follows {
            return self.want_of_past(Page::After(last));
        }
        past.follow_on(&self.timeline, SLACK);
        past.drop_oldest(*window);
        self.join();
        true
    }

    fn want_of_past(&mut self, page: Page) -> bool {
        let free =
            self.past_mut().filter(|past| !matches!(past.loading, Loading::Wanted(..) | Loading::Asked(_)));
        free.map(|past| past.loading = Loading::Wanted(page, 0)).is_some()
    }

    /// Where the past has come to the newest run they are one again: once nothing is beyond it, or there is room for both.
    pub(super) fn join(&mut self) {
        let newest = &self.timeline;
        let ends = |run: &Timeline| Some((run.first()?, run.last()?));
        let (Some(window), Some(past)) = (self.reading.window, &self.reading.past) else { return };
        let (Some((from, to)), Some((first, last))) = (ends(past), ends(newest).filter(|_| newest.loaded))
        else {
            return;
        };
        let fits = newest.len() as u64 + first.saturating_sub(from) <= window as u64;
        if to + 1 >= first && (fits || to >= last) {
            let past = self.reading.past.take();
            self.rebound();
            past.iter().for_each(|past| self.timeline.absorb(past));
            self.recount();
        }
    }

    // ---- what is sought ----

    /// The reader wants to see a message; what leads there is read. False if it is not to be had.
    pub fn seek(&mut self, sequence: Sequence) -> bool {
        if sequence == 0 || sequence > self.sequence {
            return false;
        }
        if self.seeking.is_none() {
            // What it was opened at has been found.
            self.reading.opening = false;
        }
        self.reading.around = Loading::Idle;
        let in_newest = self.timeline.loaded && self.timeline.first().is_some_and(|first| first <= sequence);
        if in_newest && self.shown().get(sequence).is_none() {
            self.reading.past = None;
            self.rebound();
        }
        let reached = match &self.reading.past {
            Some(past) => past.get(sequence).is_some(),
            None => in_newest || (self.timeline.loaded && !self.timeline.more_before),
        };
        self.seeking = (!reached).then_some(sequence);
        self.reading.opening |= self.reading.window.is_some() && !self.timeline.loaded;
        true
    }

    /// The next page on the way to what is sought.
    pub fn seek_on(&mut self) {
        let Some(sequence) = self.seeking else { return };
        if !self.timeline.loaded {
            return;
        }
        let run = self.shown();
        let (first, last) = (run.first().unwrap_or(0), run.last().unwrap_or(0));
        let is_above = sequence < first;
        let away = if is_above { first - sequence } else { sequence.saturating_sub(last) };
        let in_past = self.in_past();
        if away == 0 || (!in_past && !is_above) {
            self.seeking = None;
        } else if self.reading.window.is_some() && (away > NEAR || (!in_past && run.is_full())) {
            if self.reading.around == Loading::Idle {
                self.reading.around = Loading::Wanted(Page::Around(sequence), 0);
            }
        } else if matches!(run.loading, Loading::Refused(_)) {
            self.seeking = None;
        } else {
            let wanted = if is_above { self.want_older() } else { self.want_newer() };
            if !wanted && !self.is_loading() {
                // There is nothing beyond, or no room for it.
                self.seeking = None;
            }
        }
    }

    // ---- pages ----

    /// Pages that are due, and from now on asked.
    pub(crate) fn ask_pages(&mut self, now_ms: u64) -> Vec<Page> {
        if self.loadings().all(|loading| !matches!(loading, Loading::Asked(_))) {
            self.reading.missed.clear();
        }
        let mut due = Vec::new();
        for loading in self.loadings() {
            if let Loading::Wanted(page, at_ms) = *loading
                && at_ms <= now_ms
            {
                *loading = Loading::Asked(page);
                due.push(page);
            }
        }
        due
    }

    /// When the next page is due, ms.
    pub(crate) fn pages_due_ms(&self) -> Option<u64> {
        let Reading { past, around, .. } = &self.reading;
        let all = [Some(&self.timeline.loading), past.as_ref().map(|past| &past.loading), Some(around)];
        let due = all.into_iter().flatten().filter_map(|loading| match loading {
            Loading::Wanted(_, at_ms) => Some(*at_ms),
            _ => None,
        });
        due.min()
    }

    /// That page is still waited for: the past that it is for may be gone, or another one.
    pub(crate) fn asked(&mut self, page: Page) -> Option<&mut Loading> {
        self.loadings().find(|loading| **loading == Loading::Asked(page))
    }

    /// A page is refused for good.
    pub(crate) fn refused(&mut self, page: Page, why: String) {
        if let Some(loading) = self.asked(page) {
            if matches!(page, Page::Around(_)) {
                *loading = Loading::Idle;
                self.seeking = None;
            } else {
                *loading = Loading::Refused(why);
                self.seek_on();
            }
        }
    }

    /// Remembers what is changed while a page is on its way, which may have been read before.
    pub(super) fn changed_meanwhile(&mut self, event: &Event) {
        if self.loadings().all(|loading| !matches!(loading, Loading::Asked(_))) {
            return;
        }
        let mut miss = |sequence: Sequence| {
            let missed = &mut self.reading.missed;
            // Without room for more, it may have been any.
            let sequence = if missed.len() < MISSED_MAX { sequence } else { 0 };
            missed.retain(|(other, _)| *other != sequence);
            missed.push((sequence, event.index));
        };
        match &event.kind {
            EventKind::Delete { sequences, .. } => sequences.iter().copied().for_each(miss),
            EventKind::Edit { sequence, .. }
            | EventKind::Reaction { sequence, .. }
            | EventKind::Pin { sequence, .. } => miss(*sequence),
            _ => {}
        }
    }

    /// A page that was read before one of its messages was changed says what is over: it is asked for again.
    pub(crate) fn is_late(&mut self, page: Page, messages: &[Event], as_of: Index) -> bool {
        let sequence = |event: Option<&Event>| event.and_then(sequence_of).unwrap_or(0);
        let (first, last) = (sequence(messages.first()), sequence(messages.last()));
        let late =
            self.reading.missed.iter().any(|(changed, index)| {
                *index > as_of && (*changed == 0 || (first..=last).contains(changed))
            });
        if late && let Some(loading) = self.asked(page) {
            *loading = Loading::Wanted(page, 0);
        }
        late
    }

    /// A page of the past has come.
    pub(crate) fn take_past(&mut self, page: Page, messages: &[Event], more_before: bool, as_of: Index) {
        let Some(loading) = self.asked(page) else { return };
        *loading = Loading::Idle;
        let window = self.reading.window.unwrap_or_default();
        if let Page::Around(sought) = page {
            let mut past = Timeline::of_past(self.reader);
            past.more_before = more_before;
            grow(&mut past, messages, as_of);
            let ends = past.first().zip(past.last());
            let near = |(first, last)| first <= sought + NEAR && sought <= last + NEAR;
            if ends.is_none_or(|ends| !near(ends)) {
                // Not to be had, and asking again would not end.
                self.seeking = None;
            }
            if ends.is_some() {
                self.reading.past = Some(Box::new(past));
            }
            self.rebound();
        } else if let Some(past) = self.past_mut() {
            let ends = (past.first(), past.last());
            grow(past, messages, as_of);
            if matches!(page, Page::Before(_)) {
                past.more_before = more_before;
                past.drop_newest(window);
            } else {
                past.drop_oldest(window);
            }
            if ends == (past.first(), past.last()) {
                // It brought nothing: asking again would not end.
                past.more_before &= !matches!(page, Page::Before(_));
                self.seeking = None;
            }
        }
        self.hide_again();
        self.join();
        self.seek_on();
    }
}

/// Puts a page at the end of a run that it continues; what does not follow without a hole is left out.
fn grow(run: &mut Timeline, messages: &[Event], as_of: Index) {
    let above = |sequence: Sequence, run: &Timeline| run.first().is_some_and(|first| sequence < first);
    let older = messages.iter().rev().filter(|event| sequence_of(event).is_some_and(|at| above(at, run)));
    let older: Vec<&Event> = older.collect();
    let newer = messages.iter().filter(|event| sequence_of(event).is_some_and(|at| !above(at, run)));
    let newer: Vec<&Event> = newer.collect();
    for event in older.into_iter().chain(newer) {
        let at = sequence_of(event).unwrap_or_default();
        let follows = match (run.first(), run.last()) {
            (Some(first), Some(last)) => (first..=last + 1).contains(&at) || at + 1 == first,
            _ => true,
        };
        if follows {
            run.insert(event, as_of);
        }
    }
}

fn sequence_of(event: &Event) -> Option<Sequence> {
    match &event.kind {
        EventKind::Message(message) => Some(message.sequence),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
