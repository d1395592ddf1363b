//! The topics of the feed and their versions. Pure: events in, verdicts out.
//!
//! Owns the rule that makes a feed exact: versions of a topic are dense, so what is at or below the last is a repeat,
//! the next is delivered, and anything further is a gap that must be filled before anything else is handed out.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use quorate_proto::rpc::Topic;

use super::{SlotId, Subscribed};

/// Topics of one gateway; beyond it sessions are refused.
const TOPICS_MAX: usize = 500_000;
/// A topic without subscribers stays on the feed this long: a client that reconnects finds it warm.
const LINGER: Duration = Duration::from_secs(10);

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Hand it to the subscribers.
    Deliver,
    /// It was delivered before, or nobody asked for it.
    Drop,
    /// Something lies between it and what was delivered last.
    Gap,
}

#[derive(Debug)]
struct State {
    /// The last version delivered, once the topic is on the feed.
    last: Option<u64>,
    /// A read at this index knows every version up to `last`.
    complete_from_index: u64,
    /// A set: thousands of sessions may come to one topic and leave it, each at the same cost.
    subscribers: HashSet<SlotId>,
    /// Sessions that wait for the topic to be on the feed, with the request to answer.
    waiting: Vec<(SlotId, u64)>,
    idle_since: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: HashMap<Topic, State>,
}

/// How a subscription stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    /// On the feed.
    Ready(Subscribed),
    /// Asked for already; the answer comes with `ready`.
    Waiting,
    /// To be asked for.
    New,
    /// No room.
    Refused,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn subscribe(&mut self, topic: Topic, slot: SlotId, request: u64) -> Subscription {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            return Subscription::Refused;
        }
        let mut is_new = false;
        let state = self.topics.entry(topic).or_insert_with(|| {
            is_new = true;
            State {
                last: None,
                complete_from_index: 0,
                subscribers: HashSet::new(),
                waiting: Vec::new(),
                idle_since: None,
            }
        });
        state.idle_since = None;
        match state.last {
            Some(version) => {
                state.subscribers.insert(slot);
                Subscription::Ready(Subscribed {
                    topic,
                    complete_from_index: state.complete_from_index,
                    version,
                })
            }
            None => {
                state.waiting.push((slot, request));
                if is_new { Subscription::New } else { Subscription::Waiting }
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: Topic, slot: SlotId, now: Instant) {
        let Some(state) = self.topics.get_mut(&topic) else { return };
        state.subscribers.remove(&slot);
        state.waiting.retain(|(other, _)| *other != slot);
        if state.subscribers.is_empty() && state.waiting.is_empty() {
            state.idle_since = Some(now);
        }
    }

    /// The feed carries the topic for the first time: who waited, with the request to answer.
    pub(super) fn ready(&mut self, topic: Topic, index: u64, version: u64) -> Vec<(SlotId, u64)> {
        let Some(state) = self.topics.get_mut(&topic) else { return Vec::new() };
        if state.last.is_some() {
            return Vec::new();
        }
        state.last = Some(version);
        state.complete_from_index = index;
        let waiting = std::mem::take(&mut state.waiting);
        state.subscribers.extend(waiting.iter().map(|(slot, _)| *slot));
        waiting
    }

    /// Judges an event and, if it is to be delivered, counts it so.
    pub(super) fn judge(&mut self, topic: Topic, version: u64, index: u64) -> Verdict {
        let Some(state) = self.topics.get_mut(&topic) else { return Verdict::Drop };
        let Some(last) = state.last else { return Verdict::Drop };
        if version <= last {
            return Verdict::Drop;
        }
        if version > last + 1 {
            return Verdict::Gap;
        }
        state.last = Some(version);
        state.complete_from_index = state.complete_from_index.max(index);
        Verdict::Deliver
    }

    /// Who gets what is delivered.
    pub(super) fn subscribers(&self, topic: Topic) -> impl ExactSizeIterator<Item = SlotId> + '_ {
        static NOBODY: LazyLock<HashSet<SlotId>> = LazyLock::new(HashSet::new);
        self.topics.get(&topic).map_or(&*NOBODY, |state| &state.subscribers).iter().copied()
    }

    /// The last version delivered of a topic that was on a feed.
    pub(super) fn last(&self, topic: Topic) -> Option<u64> {
        self.topics.get(&topic)?.last
    }

    /// What lies below `version` is given up: the subscribers, who must be let go.
    pub(super) fn skip(&mut self, topic: Topic, version: u64, index: u64) -> Vec<SlotId> {
        let Some(state) = self.topics.get_mut(&topic) else { return Vec::new() };
        state.last = state.last.max(Some(version));
        state.complete_from_index = state.complete_from_index.max(index);
        std::mem::take(&mut state.subscribers).into_iter().collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Topic> + '_ {
        self.topics.keys().copied()
    }

    /// Removes what nobody needed for a while. Only topics that are on the feed: a `ready` under way for a topic
    /// removed and added again would be mistaken for the later one's.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Topic> {
        let idle: Vec<Topic> = self
            .topics
            .iter()
            .filter(|(_, state)| {
                state.last.is_some()
                    && state.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= LINGER)
            })
            .map(|(topic, _)| *topic)
            .collect();
        for topic in &idle {
            self.topics.remove(topic);
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::conversation_topic;

    const A: SlotId = SlotId { at: 0, generation: 0 };
    const B: SlotId = SlotId { at: 1, generation: 0 };

    fn verdict(topics: &mut Topics, version: u64) -> Verdict {
        topics.judge(conversation_topic(1), version, 100 + version)
    }

    #[test]
    fn versions_are_delivered_once_each_and_a_gap_is_noticed() {
        let mut topics = Topics::default();
        let topic = conversation_topic(1);
        assert_eq!(topics.subscribe(topic, A, 1), Subscription::New);
        assert_eq!(topics.subscribe(topic, B, 2), Subscription::Waiting);
        assert_eq!(verdict(&mut topics, 5), Verdict::Drop, "not on the feed yet");
        assert_eq!(topics.ready(topic, 104, 4), [(A, 1), (B, 2)]);
        assert_eq!(verdict(&mut topics, 4), Verdict::Drop);
        assert_eq!(verdict(&mut topics, 5), Verdict::Deliver);
        assert_eq!(topics.subscribers(topic).collect::<HashSet<_>>(), [A, B].into());
        assert_eq!(verdict(&mut topics, 5), Verdict::Drop, "a repeat");
        assert_eq!(verdict(&mut topics, 7), Verdict::Gap);
        assert_eq!(verdict(&mut topics, 6), Verdict::Deliver);
        assert_eq!(verdict(&mut topics, 7), Verdict::Deliver);
    }

    #[test]
    fn a_late_subscriber_learns_where_the_pushes_begin() {
        let mut topics = Topics::default();
        let topic = conversation_topic(1);
        topics.subscribe(topic, A, 1);
        topics.ready(topic, 104, 4);
        verdict(&mut topics, 5);
        let expected = Subscribed { topic, complete_from_index: 105, version: 5 };
        assert_eq!(topics.subscribe(topic, B, 2), Subscription::Ready(expected));
    }

    #[test]
    fn a_second_ready_does_not_move_what_was_delivered() {
        let mut topics = Topics::default();
        let topic = conversation_topic(1);
        topics.subscribe(topic, A, 1);
        topics.ready(topic, 104, 4);
        assert!(topics.ready(topic, 200, 9).is_empty());
        assert_eq!(topics.last(topic), Some(4));
    }

    #[test]
    fn coming_and_leaving_cost_the_same_in_a_topic_of_ten_and_of_ten_thousand() {
        let mut topics = Topics::default();
        let topic = conversation_topic(1);
        let slot = |at| SlotId { at, generation: 0 };
        topics.subscribe(topic, slot(0), 0);
        topics.ready(topic, 104, 4);
        // Quadratic work would take minutes here; this takes milliseconds.
        for at in 0..200_000 {
            assert!(matches!(topics.subscribe(topic, slot(at), 1), Subscription::Ready(_)));
        }
        assert_eq!(topics.subscribers(topic).len(), 200_000);
        let now = Instant::now();
        for at in 0..200_000 {
            topics.unsubscribe(topic, slot(at), now);
        }
        assert_eq!(topics.subscribers(topic).len(), 0);
    }

    #[test]
    fn an_unused_topic_lingers_and_goes() {
        let mut topics = Topics::default();
        let topic = conversation_topic(1);
        let start = Instant::now();
        topics.subscribe(topic, A, 1);
        topics.unsubscribe(topic, A, start);
        assert!(topics.sweep(start + LINGER).is_empty(), "not before it is on the feed");
        topics.ready(topic, 104, 4);
        assert!(topics.sweep(start).is_empty());
        assert_eq!(topics.sweep(start + LINGER), [topic]);
        assert_eq!(topics.len(), 0);
    }
}
