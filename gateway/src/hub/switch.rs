//! From one feed to the next without gap or repeat. Pure.
//!
//! A new feed begins at each topic's `ready`; what lies between the version delivered last and that one is read. Until
//! then everything is held, so that sessions go on seeing log order.

use std::collections::{HashMap, HashSet};

use quorate_proto::rpc::{Event, Progress, Topic};

/// Events that may be held; beyond it the feed is opened anew, later.
const HELD_EVENTS_MAX: usize = 65_536;

/// What is to be read for one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) topic: Topic,
    /// Delivered already.
    pub(super) after_version: u64,
    /// The feed begins after this.
    pub(super) to_version: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Switch {
    /// Topics whose `ready` is awaited, with the version delivered last.
    waiting: HashMap<Topic, u64>,
    missing: Vec<Missing>,
    /// A read at this index has everything that is missing.
    min_index: u64,
    held: Vec<Event>,
    progress: Option<Progress>,
}

impl Switch {
    /// `known`: topics that were on the former feed, with the version delivered last.
    pub(super) fn new(known: impl Iterator<Item = (Topic, u64)>) -> Self {
        Self { waiting: known.collect(), missing: Vec::new(), min_index: 0, held: Vec::new(), progress: None }
    }

    /// The new feed carries a topic. False: it is not one of the former feed's.
    pub(super) fn ready(&mut self, topic: Topic, index: u64, version: u64) -> bool {
        let Some(last) = self.waiting.remove(&topic) else { return false };
        if version > last {
            self.missing.push(Missing { topic, after_version: last, to_version: version });
            self.min_index = self.min_index.max(index);
        }
        true
    }

    /// Holds what the new feed says; false when there is no room.
    pub(super) fn hold(&mut self, events: Vec<Event>, progress: Option<Progress>) -> bool {
        self.held.extend(events);
        self.progress = progress.or(self.progress.take());
        self.held.len() <= HELD_EVENTS_MAX
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn missing(&self) -> (&[Missing], u64) {
        (&self.missing, self.min_index)
    }

    /// Everything in log order, with what was read between.
    pub(super) fn release(self, filled: Vec<Event>) -> (Vec<Event>, Option<Progress>) {
        let mut events = filled;
        events.extend(self.held);
        // Stable: events of one index keep the order in which they were read or sent.
        events.sort_by_key(|event| event.index);
        let mut seen = HashSet::with_capacity(events.len());
        events.retain(|event| seen.insert((event.topic, event.version)));
        (events, self.progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::conversation_topic;

    fn event(conversation: u64, version: u64, index: u64) -> Event {
        Event { topic: Some(conversation_topic(conversation)), version, index, ..Event::default() }
    }

    #[test]
    fn what_lies_between_two_feeds_is_asked_for_and_merged_in_log_order() {
        let (a, b) = (conversation_topic(1), conversation_topic(2));
        let mut switch = Switch::new([(a, 5), (b, 9)].into_iter());
        assert!(switch.ready(a, 20, 7));
        assert!(switch.is_waiting());
        assert!(switch.hold(vec![event(1, 8, 21)], None));
        // The second replica lags: its feed begins before what was delivered.
        assert!(switch.ready(b, 20, 8));
        assert!(!switch.ready(conversation_topic(3), 20, 1), "a topic of no former feed");
        assert!(!switch.is_waiting());
        assert_eq!(switch.missing(), (&[Missing { topic: a, after_version: 5, to_version: 7 }][..], 20));
        assert!(switch.hold(vec![event(2, 9, 22), event(2, 10, 23)], None));
        // The read was of a later state than asked: it repeats what the feed holds.
        let (events, _) = switch.release(vec![event(1, 6, 15), event(1, 7, 18), event(1, 8, 21)]);
        let order: Vec<_> = events.iter().map(|e| (e.topic.unwrap().id, e.version, e.index)).collect();
        assert_eq!(order, [(1, 6, 15), (1, 7, 18), (1, 8, 21), (2, 9, 22), (2, 10, 23)]);
    }

    #[test]
    fn nothing_is_read_when_nothing_is_missing() {
        let topic = conversation_topic(1);
        let mut switch = Switch::new([(topic, 5)].into_iter());
        assert!(switch.ready(topic, 20, 5));
        assert!(switch.missing().0.is_empty() && !switch.is_waiting());
    }
}
