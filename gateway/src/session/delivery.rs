//! What a session gets of the events that the hub pushes: in log order, each once. Pure.
//!
//! Owns the versions delivered per topic, the position, and the gate that holds events while the session opens or while
//! a conversation that she was added to is being filled. Position never passes what is held.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use quorate_proto::frame::{Body, ServerFrame};
use quorate_proto::ids::{Index, Version};
use quorate_proto::rpc::{self, Topic};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::convert::{conversation_topic, encode, topic_ref};
use crate::hub::{Item, ItemKind};

/// Events that may be held; beyond it the session is let go and resumes.
const HELD_EVENTS_MAX: usize = 4_096;
/// The same in bytes.
const HELD_BYTES_MAX: usize = 4 << 20;

/// What is to be done, in order.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Write this.
    Frame(Utf8Bytes),
    /// Write this, which tells of events that were let go.
    Gap(Utf8Bytes),
    /// Subscribe, read, and come back with [`Delivery::added`]; nothing else is delivered until then.
    Add {
        /// The event as the replica sent it.
        event: Box<rpc::Event>,
        /// Which conversation.
        conversation: u64,
        /// Where its events begin.
        base_version: Version,
    },
    /// Unsubscribe.
    Remove(Topic),
    /// This session was ended: write what came before, then close.
    Ended,
    /// More to hold than there is room for: close, resume.
    TooMuch,
    /// Versions are not dense: a defect; close, resume.
    Broken(Topic),
}

/// What was read of a conversation that she was added to.
#[derive(Debug)]
pub struct Added {
    /// The `me` frame.
    pub frame: Utf8Bytes,
    /// Where its events begin; `None` when she is no longer a member.
    pub base: Option<(Topic, Version)>,
    /// The version from after which on she sees it: earlier than where its events begin in a public group.
    pub seen_after: Version,
    /// Its events after the base, as far as they were read.
    pub events: Vec<Arc<Item>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// The session opens, or a conversation is being added.
    Closed,
    Open,
}

/// See the module.
#[derive(Debug)]
pub struct Delivery {
    session: [u8; 16],
    gate: Gate,
    versions: HashMap<Topic, Version>,
    /// Conversations that she sees only from after a version on, with that version.
    bases: HashMap<Topic, Version>,
    held: VecDeque<Arc<Item>>,
    held_bytes: usize,
    position: Index,
    seen: Index,
}

impl Delivery {
    /// Everything is held until [`Self::open`].
    pub fn new() -> Self {
        Self {
            session: [0; 16],
            gate: Gate::Closed,
            versions: HashMap::new(),
            bases: HashMap::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            position: 0,
            seen: 0,
        }
    }

    /// The summary and the missed events, as of `position`, are on their way: what is newer follows. `bases` are those of her
    /// conversations of which the beginning is not hers to see.
    pub fn open(
        &mut self,
        session: [u8; 16],
        versions: HashMap<Topic, Version>,
        bases: HashMap<Topic, Version>,
        position: Index,
        seen: Index,
    ) -> Vec<Step> {
        self.session = session;
        self.versions = versions;
        self.bases = bases;
        self.position = position;
        self.seen = seen.max(position);
        self.gate = Gate::Open;
        self.release()
    }

    /// Events from the hub, in log order.
    pub fn offer(&mut self, batch: Vec<Arc<Item>>) -> Vec<Step> {
        for item in batch {
            self.held_bytes += item.bytes();
            self.held.push_back(item);
        }
        let mut steps = self.release();
        if self.held.len() > HELD_EVENTS_MAX || self.held_bytes > HELD_BYTES_MAX {
            steps.push(Step::TooMuch);
        }
        steps
    }

    /// The answer to [`Step::Add`].
    pub fn added(&mut self, me: Topic, added: Added) -> Vec<Step> {
        let mut steps = vec![Step::Frame(added.frame)];
        if let Some(last) = self.versions.get_mut(&me) {
            *last += 1;
        }
        if let Some((topic, base)) = added.base {
            self.versions.insert(topic, base);
            self.bases.insert(topic, added.seen_after);
        }
        let mut all: Vec<Arc<Item>> = added.events;
        self.held_bytes += all.iter().map(|item| item.bytes()).sum::<usize>();
        all.extend(self.held.drain(..));
        // A gap goes where its first event was: no position may pass it untold.
        all.sort_by_key(|item| item.place());
        self.held = all.into();
        self.gate = Gate::Open;
        steps.extend(self.release());
        steps
    }

    fn release(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.gate == Gate::Open {
            let Some(item) = self.held.pop_front() else { break };
            self.held_bytes -= item.bytes();
            // Not (or no longer) hers.
            let Some(last) = self.versions.get_mut(&item.topic) else { continue };
            if item.version <= *last {
                continue;
            }
            if let ItemKind::Gap { from_version, .. } = item.kind
                && from_version <= *last + 1
                && let Some(topic) = topic_ref(Some(item.topic))
            {
                let (from_version, to_version) = (*last + 1, item.version);
                *last = item.version;
                self.seen = self.seen.max(item.index);
                let gap = Body::Gap { topic, from_version, to_version };
                steps.push(Step::Gap(encode(&ServerFrame::push(gap))));
                continue;
            }
            if item.version > *last + 1 {
                steps.push(Step::Broken(item.topic));
                self.gate = Gate::Closed;
                break;
            }
            if let ItemKind::Added { event, conversation, base_version } = &item.kind {
                self.gate = Gate::Closed;
                steps.push(Step::Add {
                    event: event.clone(),
                    conversation: *conversation,
                    base_version: *base_version,
                });
                break;
            }
            *last = item.version;
            self.seen = self.seen.max(item.index);
            let base = self.bases.get(&item.topic).copied().unwrap_or(0);
            steps.extend(item.frame_after(base).cloned().map(Step::Frame));
            match &item.kind {
                ItemKind::Plain | ItemKind::Edited { .. } | ItemKind::Added { .. } | ItemKind::Gap { .. } => {
                }
                ItemKind::Removed { conversation } => {
                    let topic = conversation_topic(*conversation);
                    self.versions.remove(&topic);
                    self.bases.remove(&topic);
                    steps.push(Step::Remove(topic));
                }
                ItemKind::SessionEnded { session } => {
                    if session[..] == self.session {
                        steps.push(Step::Ended);
                        self.gate = Gate::Closed;
                    }
                }
            }
        }
        steps
    }

    /// Whether a topic is the reader's, as far as she was told.
    pub fn has(&self, topic: Topic) -> bool {
        self.versions.contains_key(&topic)
    }

    /// The hub has pushed everything up to `index`, and the inbox was emptied since.
    pub fn reached(&mut self, index: Index) {
        if self.gate == Gate::Open {
            self.position = self.position.max(index);
        }
    }

    /// Everything up to here was delivered.
    pub fn position(&self) -> Index {
        self.position
    }

    /// An ack of this index was given.
    pub fn saw(&mut self, index: Index) {
        self.seen = self.seen.max(index);
    }

    /// Reads of this session are never older than this.
    pub fn seen(&self) -> Index {
        self.seen
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::convert::me_topic;

    const ME: u64 = 7;

    fn item(conversation: u64, version: u64, index: u64) -> Arc<Item> {
        Arc::new(Item::for_test(conversation, version, index))
    }

    fn me(version: u64, index: u64, kind: ItemKind) -> Arc<Item> {
        let frame = (!matches!(kind, ItemKind::Added { .. })).then(|| format!("me:{version}@{index}").into());
        let topic = me_topic(ME);
        Arc::new(Item { topic, frame, kind, ..Item::for_test(1, version, index) })
    }

    fn addition(version: u64, index: u64, conversation: u64, base_version: u64) -> Arc<Item> {
        me(version, index, ItemKind::Added { event: Box::default(), conversation, base_version })
    }

    fn gap(
        conversation: u64,
        versions: std::ops::RangeInclusive<u64>,
        indexes: std::ops::RangeInclusive<u64>,
    ) -> Arc<Item> {
        let kind = ItemKind::Gap { from_version: *versions.start(), first_index: *indexes.start() };
        Arc::new(Item { frame: None, kind, ..Item::for_test(conversation, *versions.end(), *indexes.end()) })
    }

    fn opened(versions: &[(Topic, u64)], position: u64) -> Delivery {
        let mut delivery = Delivery::new();
        assert!(
            delivery
                .open([9; 16], versions.iter().copied().collect(), HashMap::new(), position, 0)
                .is_empty()
        );
        delivery
    }

    fn frames(steps: &[Step]) -> Vec<&str> {
        steps
            .iter()
            .map(|step| match step {
                Step::Frame(text) | Step::Gap(text) => text.as_str(),
                Step::Add { .. } => "ADD",
                Step::Remove(_) => "REMOVE",
                Step::Ended => "ENDED",
                Step::TooMuch => "TOO MUCH",
                Step::Broken(_) => "BROKEN",
            })
            .collect()
    }

    #[test]
    fn what_came_while_opening_follows_what_was_read_once_each() {
        let mut delivery = Delivery::new();
        assert!(delivery.offer(vec![item(1, 4, 40), item(1, 5, 50)]).is_empty());
        delivery.reached(60);
        assert_eq!(delivery.position(), 0, "nothing is delivered yet");
        let steps = delivery.open([9; 16], [(conversation_topic(1), 4)].into(), HashMap::new(), 45, 0);
        assert_eq!(frames(&steps), ["1:5@50"]);
        delivery.reached(60);
        assert_eq!((delivery.position(), delivery.seen()), (60, 50));
        assert!(delivery.offer(vec![item(1, 5, 50), item(2, 1, 61)]).is_empty(), "a repeat, and not hers");
    }

    #[test]
    fn a_hole_closes_the_session_instead_of_being_hidden() {
        let mut delivery = opened(&[(conversation_topic(1), 4)], 45);
        assert_eq!(frames(&delivery.offer(vec![item(1, 6, 60)])), ["BROKEN"]);
    }

    #[test]
    fn what_was_let_go_is_told_as_a_gap_from_where_the_reader_stands() {
        let mut delivery = opened(&[(conversation_topic(1), 4)], 45);
        let gap = |from_version, version, index| gap(1, from_version..=version, index..=index);
        let steps = delivery.offer(vec![item(1, 5, 50), gap(6, 9, 90), item(1, 10, 91)]);
        let told = r#"{"type":"gap","topic":1,"from_version":6,"to_version":9}"#;
        assert_eq!(frames(&steps), ["1:5@50", told, "1:10@91"]);
        assert_eq!(delivery.seen(), 91, "what is asked after the gap has all of it");
        assert!(delivery.offer(vec![gap(8, 10, 91)]).is_empty(), "known by other ways");
        let told = r#"{"type":"gap","topic":1,"from_version":11,"to_version":12}"#;
        assert_eq!(frames(&delivery.offer(vec![gap(9, 12, 93)])), [told], "known in part");
        assert_eq!(frames(&delivery.offer(vec![gap(14, 15, 95)])), ["BROKEN"], "not even the gap is dense");
    }

    #[test]
    fn an_addition_holds_everything_until_the_conversation_is_filled() {
        let mut delivery = opened(&[(me_topic(ME), 2), (conversation_topic(1), 4)], 45);
        let steps =
            delivery.offer(vec![item(1, 5, 50), addition(3, 51, 2, 0), item(1, 6, 52), item(2, 2, 54)]);
        assert_eq!(frames(&steps), ["1:5@50", "ADD"]);
        assert!(delivery.offer(vec![item(1, 7, 55)]).is_empty());
        delivery.reached(90);
        assert_eq!(delivery.position(), 45, "position waits for the conversation");
        let steps = delivery.added(
            me_topic(ME),
            Added {
                frame: "added".into(),
                base: Some((conversation_topic(2), 0)),
                seen_after: 0,
                events: vec![item(2, 1, 51), item(2, 2, 54)],
            },
        );
        assert_eq!(frames(&steps), ["added", "2:1@51", "1:6@52", "2:2@54", "1:7@55"]);
        delivery.reached(90);
        assert_eq!(delivery.position(), 90);
        assert!(delivery.offer(vec![addition(3, 51, 2, 0)]).is_empty(), "the addition counts as delivered");
    }

    /// The fill sorted what it had held by the last index of each: a gap moved behind events that came after its first,
    /// and a client that was cut off in between had a position beyond messages that it was never told of.
    #[test]
    fn a_gap_held_while_a_conversation_is_filled_stays_where_its_first_event_was() {
        let mut delivery =
            opened(&[(me_topic(ME), 2), (conversation_topic(1), 4), (conversation_topic(2), 7)], 45);
        let held = vec![addition(3, 51, 3, 0), gap(2, 8..=20, 52..=90), item(1, 5, 60), item(2, 21, 91)];
        assert_eq!(frames(&delivery.offer(held)), ["ADD"]);
        let base = Some((conversation_topic(3), 0));
        let events = vec![item(3, 1, 51), item(3, 2, 70)];
        let steps =
            delivery.added(me_topic(ME), Added { frame: "added".into(), base, seen_after: 0, events });
        let told = r#"{"type":"gap","topic":2,"from_version":8,"to_version":20}"#;
        assert_eq!(frames(&steps), ["added", "3:1@51", told, "1:5@60", "3:2@70", "2:21@91"]);
        assert_eq!(delivery.seen(), 91);
    }

    #[test]
    fn two_additions_in_a_row_are_filled_one_after_the_other() {
        let mut delivery = opened(&[(me_topic(ME), 2)], 45);
        assert_eq!(frames(&delivery.offer(vec![addition(3, 51, 2, 0), addition(4, 52, 3, 0)])), ["ADD"]);
        let added =
            |topic| Added { frame: "added".into(), base: Some((topic, 0)), seen_after: 0, events: vec![] };
        assert_eq!(frames(&delivery.added(me_topic(ME), added(conversation_topic(2)))), ["added", "ADD"]);
        assert_eq!(frames(&delivery.added(me_topic(ME), added(conversation_topic(3)))), ["added"]);
        assert_eq!(frames(&delivery.offer(vec![item(2, 1, 53), item(3, 1, 54)])), ["2:1@53", "3:1@54"]);
    }

    #[test]
    fn nothing_of_a_conversation_follows_its_removal() {
        let mut delivery = opened(&[(me_topic(ME), 2), (conversation_topic(1), 4)], 45);
        let removal = me(3, 51, ItemKind::Removed { conversation: 1 });
        let steps = delivery.offer(vec![item(1, 5, 50), removal, item(1, 6, 52)]);
        assert_eq!(frames(&steps), ["1:5@50", "me:3@51", "REMOVE"]);
        assert!(delivery.offer(vec![item(1, 7, 53)]).is_empty());
    }

    #[test]
    fn the_end_of_this_session_is_the_last_thing_it_hears() {
        let mut delivery = opened(&[(me_topic(ME), 2), (conversation_topic(1), 4)], 45);
        let other = me(3, 50, ItemKind::SessionEnded { session: Bytes::from_static(&[8; 16]) });
        let own = me(4, 51, ItemKind::SessionEnded { session: Bytes::from_static(&[9; 16]) });
        assert_eq!(
            frames(&delivery.offer(vec![other, own, item(1, 5, 52)])),
            ["me:3@50", "me:4@51", "ENDED"]
        );
    }

    /// One encoding went to all members, and an edit told a later joiner the text of a message from before her time.
    #[test]
    fn the_text_of_an_edit_is_not_told_to_who_joined_after_the_message() {
        let edited = |version, sent_version, text: &str| {
            let edited = rpc::EditedMessage {
                sequence: 1,
                revision: 1,
                text: text.to_owned(),
                sent_version,
                ..Default::default()
            };
            Arc::new(Item::new(rpc::Event {
                topic: Some(conversation_topic(1)),
                version,
                index: version,
                kind: Some(rpc::event::Kind::Edited(edited)),
                ..Default::default()
            }))
        };
        let mut delivery = Delivery::new();
        let bases = [(conversation_topic(1), 6)].into();
        let versions = [(me_topic(ME), 2), (conversation_topic(1), 7)].into();
        assert!(delivery.open([9; 16], versions, bases, 45, 0).is_empty());
        let steps =
            delivery.offer(vec![edited(8, 6, "before"), edited(9, 7, "after"), edited(10, 0, "whenever")]);
        let told = frames(&steps);
        assert!(told[0].contains(r#""version":8,"#) && !told[0].contains("before"), "{told:?}");
        assert!(told[1].contains("after"), "{told:?}");
        assert!(told[2].contains("whenever"), "of a replica that does not say it yet: {told:?}");

        let base = Some((conversation_topic(1), 10));
        delivery.offer(vec![me(3, 11, ItemKind::Removed { conversation: 1 })]);
        let added = Added { frame: "added".into(), base, seen_after: 0, events: vec![] };
        delivery.added(me_topic(ME), added);
        let steps = delivery.offer(vec![edited(11, 1, "open to all")]);
        assert!(
            frames(&steps)[0].contains("open to all"),
            "what a public group shows to who joins: {steps:?}"
        );
    }

    #[test]
    fn what_is_held_has_a_bound() {
        let mut delivery = Delivery::new();
        let batch = (1..=HELD_EVENTS_MAX as u64 + 1).map(|v| item(1, v, v)).collect();
        assert_eq!(frames(&delivery.offer(batch)), ["TOO MUCH"]);
    }
}
