//! What lies between the hub and one session: bounded, shared bytes, and an order in which things are let go.
//!
//! Owns the bounds and that order: signals first (receipts are merged all along), then the fullest room becomes one gap
//! that says which versions were let go, last the session itself, which resumes. Must not know what an event means.
//!
//! ```text
//!  hub ──push──▶ queue (pure: events, gaps, signals) ──take──▶ session ──▶ socket
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use quorate_proto::limits::{OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX};
use quorate_proto::rpc::{Topic, topic};
use tokio::sync::Notify;

use crate::hub::{Item, ItemKind, SignalItem, SignalKey};

/// Events for one session, in log order.
pub type Batch = Vec<Arc<Item>>;

/// Signals that wait for one session; the oldest goes for one more.
const SIGNALS_MAX: usize = 64;
/// Room is made down to this share of the bounds, so that a slow reader's next event does not make room again.
const ROOM_SHARE: usize = 2;

/// How much may wait for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Frames left over from earlier batches.
    pub frames_max: usize,
    /// Bytes.
    pub bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { frames_max: OUTBOX_FRAMES_MAX, bytes_max: OUTBOX_BYTES_MAX }
    }
}

/// What a session takes at once: events first, then what is true for a moment.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// Events and gaps, in log order.
    pub events: Batch,
    /// Signals.
    pub signals: Vec<Arc<SignalItem>>,
}

impl Taken {
    /// When the oldest event came from the feed.
    pub fn born(&self) -> Option<Instant> {
        self.events.first().map(|item| item.born)
    }
}

/// What was let go to make room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// Signals dropped.
    pub signals: u64,
    /// Signals that a newer one of the same kind replaced.
    pub merged: u64,
    /// Rooms that became a gap.
    pub rooms: u64,
    /// Events in gaps.
    pub events: u64,
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Self) {
        self.signals += other.signals;
        self.merged += other.merged;
        self.rooms += other.rooms;
        self.events += other.events;
    }
}

/// There is no room, and nothing more to let go but the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
enum Place {
    Event(Arc<Item>),
    Gap(Gap),
}

/// What was let go of one room.
#[derive(Debug)]
struct Gap {
    topic: Topic,
    from_version: u64,
    to_version: u64,
    /// Of the first event that it stands for.
    first_index: u64,
    /// Of the last.
    index: u64,
    born: Instant,
}

/// The rules, without a lock or a waker.
#[derive(Debug, Default)]
struct Queue {
    bounds: Bounds,
    places: VecDeque<Place>,
    signals: VecDeque<Arc<SignalItem>>,
    /// Of events and signals.
    bytes: usize,
    /// Topics that have a gap among the places.
    gaps: Vec<Topic>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.signals.is_empty()
    }

    /// The bound of frames is what was left before *and the batch on top*: a burst that comes in one feed frame says
    /// nothing about the reader's pace. The bound of bytes is strict.
    fn push(&mut self, batch: Batch) -> Result<Losses, Full> {
        let mut losses = Losses::default();
        if self.places.len() + self.signals.len() >= self.bounds.frames_max {
            self.make_room(&mut losses)?;
        }
        for item in batch {
            if self.gaps.contains(&item.topic) {
                self.widen(&item, &mut losses);
                continue;
            }
            self.bytes += item.bytes();
            self.places.push_back(Place::Event(item));
        }
        if self.bytes > self.bounds.bytes_max {
            self.make_room(&mut losses)?;
        }
        Ok(losses)
    }

    /// The room has been let go: this one, too.
    fn widen(&mut self, item: &Item, losses: &mut Losses) {
        losses.events += 1;
        let gap = self.places.iter_mut().find_map(|place| match place {
            Place::Gap(gap) if gap.topic == item.topic => Some(gap),
            _ => None,
        });
        if let Some(gap) = gap {
            (gap.to_version, gap.index) = (item.version, item.index);
        }
    }

    fn push_signal(&mut self, signal: &Arc<SignalItem>) -> Losses {
        let mut losses = Losses::default();
        // The newer one says all that the older did: marks only rise.
        if let Some(known) = self.signals.iter_mut().find(|known| known.key == signal.key) {
            self.bytes = self.bytes - known.frame.len() + signal.frame.len();
            *known = Arc::clone(signal);
            losses.merged += 1;
            return losses;
        }
        if self.places.len() + self.signals.len() >= self.bounds.frames_max
            || self.bytes + signal.frame.len() > self.bounds.bytes_max
        {
            losses.signals += 1;
            return losses;
        }
        if self.signals.len() >= SIGNALS_MAX {
            // Typing ends by itself; presence is not said again, and receipts stay as long as there is something else.
            let first = |goes: fn(SignalKey) -> bool| self.signals.iter().position(|known| goes(known.key));
            let at = first(|key| matches!(key, SignalKey::Typing(..)))
                .or_else(|| first(|key| !key.is_receipt()))
                .unwrap_or(0);
            if let Some(oldest) = self.signals.remove(at) {
                self.bytes -= oldest.frame.len();
            }
            losses.signals += 1;
        }
        self.bytes += signal.frame.len();
        self.signals.push_back(Arc::clone(signal));
        losses
    }

    fn make_room(&mut self, losses: &mut Losses) -> Result<(), Full> {
        let before = self.signals.len();
        self.signals.retain(|signal| signal.key.is_receipt());
        losses.signals += (before - self.signals.len()) as u64;
        self.bytes = self.signals.iter().map(|signal| signal.frame.len()).sum::<usize>()
            + self.places.iter().map(Place::bytes).sum::<usize>();
        if self.places.len() + self.signals.len() < self.bounds.frames_max
            && self.bytes <= self.bounds.bytes_max
        {
            return Ok(());
        }
        while self.places.len() > self.bounds.frames_max / ROOM_SHARE
            || self.bytes > self.bounds.bytes_max / ROOM_SHARE
        {
            if !self.collapse_fullest(losses) {
                let fits = self.places.len() < self.bounds.frames_max && self.bytes <= self.bounds.bytes_max;
                return if fits { Ok(()) } else { Err(Full) };
            }
        }
        Ok(())
    }

    /// Turns the room that takes most into one gap. False when no room would free anything.
    fn collapse_fullest(&mut self, losses: &mut Losses) -> bool {
        let mut rooms: HashMap<Topic, (usize, usize)> = HashMap::new();
        for place in &self.places {
            // What happens to the reader herself is acted upon here: it is never let go.
            if let Place::Event(item) = place
                && item.topic.kind() == topic::Kind::Conversation
            {
                let (events, bytes) = rooms.entry(item.topic).or_default();
                *events += 1;
                *bytes += item.bytes();
            }
        }
        let over_bytes = self.bytes > self.bounds.bytes_max / ROOM_SHARE;
        let fullest = rooms
            .into_iter()
            .filter(|(_, (events, _))| over_bytes || *events > 1)
            .max_by_key(|(topic, (events, bytes))| (if over_bytes { *bytes } else { *events }, topic.id));
        let Some((topic, (_, bytes))) = fullest else { return false };
        self.bytes -= bytes;
        losses.rooms += 1;
        let mut gap: Option<(usize, Gap)> = None;
        let mut at = 0;
        self.places.retain(|place| {
            let goes = match place {
                Place::Event(item) if item.topic == topic => {
                    losses.events += 1;
                    let (_, gap) = gap.get_or_insert_with(|| (at, Gap::at(item)));
                    (gap.to_version, gap.index) = (item.version, item.index);
                    true
                }
                _ => false,
            };
            at += usize::from(!goes);
            !goes
        });
        if let Some((first, gap)) = gap {
            // Where the first of them was: before anything that a position beyond it could stand on.
            self.places.insert(first, Place::Gap(gap));
            self.gaps.push(topic);
        }
        true
    }

    /// The oldest, up to so many frames and about so many bytes; signals only when no event is left.
    fn take(&mut self, frames_max: usize, bytes_max: usize) -> Taken {
        let mut taken = Taken::default();
        let mut bytes = 0;
        while taken.events.len() < frames_max && bytes < bytes_max {
            let Some(place) = self.places.pop_front() else { break };
            bytes += place.bytes();
            self.bytes -= place.bytes();
            taken.events.push(match place {
                Place::Event(item) => item,
                Place::Gap(Gap { topic, from_version, to_version, first_index, index, born }) => {
                    self.gaps.retain(|other| *other != topic);
                    let kind = ItemKind::Gap { from_version, first_index };
                    Arc::new(Item { topic, version: to_version, index, frame: None, kind, born })
                }
            });
        }
        if self.places.is_empty() {
            taken.signals = self.signals.drain(..).collect();
            self.bytes = 0;
            // What a burst needed is given back: most sockets are idle most of the time.
            if self.places.capacity() > self.bounds.frames_max {
                self.places = VecDeque::new();
            }
        }
        taken
    }
}

impl Gap {
    fn at(first: &Item) -> Self {
        Self {
            topic: first.topic,
            from_version: first.version,
            to_version: first.version,
            first_index: first.index,
            index: first.index,
            born: first.born,
        }
    }
}

impl Place {
    fn bytes(&self) -> usize {
        match self {
            Place::Event(item) => item.bytes(),
            Place::Gap(_) => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    let_go: AtomicBool,
    let_go_wake: Notify,
    hub_gone: AtomicBool,
    session_gone: AtomicBool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }
}

/// The hub's end.
#[derive(Debug)]
pub struct Outbox(Arc<Shared>);

/// The session's end.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

/// Tells a session that is busy writing that it was let go.
#[derive(Debug, Clone)]
pub struct LetGo(Arc<Shared>);

/// A new pair.
pub fn outbox(bounds: Bounds) -> (Outbox, Inbox) {
    let queue = Mutex::new(Queue { bounds, ..Queue::default() });
    let shared = Arc::new(Shared { queue, ..Shared::default() });
    (Outbox(Arc::clone(&shared)), Inbox(shared))
}

impl Outbox {
    /// Hands a batch over.
    ///
    /// # Errors
    /// [`Full`]: the session has not taken what was there before, or has gone; it gets no more.
    pub fn push(&self, batch: Batch) -> Result<Losses, Full> {
        if self.is_closed() || self.0.let_go.load(Ordering::Acquire) {
            return Err(Full);
        }
        let pushed = self.0.queue().push(batch);
        match pushed {
            Ok(_) => self.0.filled.notify_one(),
            Err(Full) => self.let_go(),
        }
        pushed
    }

    /// Hands a signal over, or lets it go.
    pub fn push_signal(&self, signal: &Arc<SignalItem>) -> Losses {
        let losses = self.0.queue().push_signal(signal);
        self.0.filled.notify_one();
        losses
    }

    /// Tells the session that it gets no more.
    pub fn let_go(&self) {
        self.0.let_go.store(true, Ordering::Release);
        *self.0.queue() = Queue::default();
        self.0.filled.notify_one();
        self.0.let_go_wake.notify_one();
    }

    /// Whether the session's end is gone.
    pub fn is_closed(&self) -> bool {
        self.0.session_gone.load(Ordering::Acquire)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.hub_gone.store(true, Ordering::Release);
        self.0.filled.notify_one();
    }
}

impl Inbox {
    /// What comes next, of some frames and bytes; `None` when the session was let go or the hub ended. Safe to cancel.
    pub async fn recv(&mut self, frames_max: usize, bytes_max: usize) -> Option<Taken> {
        loop {
            if self.was_let_go() {
                return None;
            }
            if let Some(taken) = self.try_recv(frames_max, bytes_max) {
                return Some(taken);
            }
            if self.0.hub_gone.load(Ordering::Acquire) {
                return None;
            }
            self.0.filled.notified().await;
        }
    }

    /// What is there already.
    pub fn try_recv(&mut self, frames_max: usize, bytes_max: usize) -> Option<Taken> {
        let mut queue = self.0.queue();
        (!queue.is_empty()).then(|| queue.take(frames_max, bytes_max))
    }

    /// Whether the hub gave this session up.
    pub fn was_let_go(&self) -> bool {
        self.0.let_go.load(Ordering::Acquire)
    }

    /// A handle that wakes when the hub gives this session up.
    pub fn let_go(&self) -> LetGo {
        LetGo(Arc::clone(&self.0))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.session_gone.store(true, Ordering::Release);
        *self.0.queue() = Queue::default();
    }
}

impl LetGo {
    /// Waits until the hub gives the session up.
    pub async fn wait(&self) {
        while !self.0.let_go.load(Ordering::Acquire) {
            self.0.let_go_wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    fn item(conversation: u64, version: u64, bytes: usize) -> Arc<Item> {
        let mut item = Item::for_test(conversation, version, 1_000 * conversation + version);
        item.frame = Some("x".repeat(bytes).into());
        Arc::new(item)
    }

    fn batch(conversation: u64, versions: std::ops::RangeInclusive<u64>) -> Batch {
        versions.map(|version| item(conversation, version, 100)).collect()
    }

    fn signal(key: SignalKey, text: &str) -> Arc<SignalItem> {
        Arc::new(SignalItem { key, frame: text.to_owned().into() })
    }

    /// `conversation:version` of events, `conversation:from-to` of gaps.
    fn shown(taken: &Taken) -> Vec<String> {
        taken
            .events
            .iter()
            .map(|item| match item.kind {
                ItemKind::Gap { from_version, .. } => {
                    format!("{}:{from_version}-{}", item.topic.id, item.version)
                }
                _ => format!("{}:{}", item.topic.id, item.version),
            })
            .collect()
    }

    #[test]
    fn signals_go_before_any_event_does() {
        let mut queue = Queue::default();
        queue.push(batch(1, 1..=200)).unwrap();
        queue.push_signal(&signal(SignalKey::Typing(1, 7), "t"));
        queue.push_signal(&signal(SignalKey::Delivered(1, 7), "d"));
        queue.push(batch(1, 201..=254)).unwrap();
        let losses = queue.push(batch(2, 1..=1)).unwrap();
        assert_eq!((losses.signals, losses.rooms, losses.events), (1, 0, 0));
        // No signal is left to let go but a receipt: now the fullest room goes.
        let losses = queue.push(batch(2, 2..=2)).unwrap();
        assert_eq!((losses.signals, losses.rooms, losses.events), (0, 1, 254));
        let taken = queue.take(ALL, ALL);
        assert_eq!(shown(&taken), ["1:1-254", "2:1", "2:2"]);
        assert_eq!(taken.signals.len(), 1, "the receipt is still there");
    }

    #[test]
    fn the_fullest_room_becomes_a_gap_and_the_others_stay() {
        let mut queue = Queue::default();
        queue.push(batch(1, 1..=10)).unwrap();
        queue.push(batch(2, 1..=300)).unwrap();
        queue.push(batch(3, 5..=8)).unwrap();
        // What comes later of a room that was let go widens its gap and costs nothing.
        for version in 301..=2_000 {
            queue.push(batch(2, version..=version)).unwrap();
        }
        let mut expected: Vec<String> = (1..=10).map(|version| format!("1:{version}")).collect();
        expected.push("2:1-2000".to_owned());
        expected.extend((5..=8).map(|version| format!("3:{version}")));
        assert_eq!(shown(&queue.take(ALL, ALL)), expected);
        // Taken: the room is whole again from here on.
        queue.push(batch(2, 2_001..=2_001)).unwrap();
        assert_eq!(shown(&queue.take(ALL, ALL)), ["2:2001"]);
        assert!(queue.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn a_slow_reader_never_holds_more_than_the_bound_of_bytes() {
        let mut queue = Queue::default();
        for version in 1..=10_000 {
            queue.push(vec![item(1 + version % 7, 1 + version / 7, 12_000)]).unwrap();
            let held: usize = queue.places.iter().map(Place::bytes).sum();
            assert_eq!(held, queue.bytes);
            assert!(queue.bytes <= OUTBOX_BYTES_MAX && queue.places.len() <= OUTBOX_FRAMES_MAX);
        }
    }

    #[test]
    fn with_nothing_left_to_let_go_the_session_goes() {
        let mut queue = Queue::default();
        for conversation in 1..=OUTBOX_FRAMES_MAX as u64 {
            queue.push(batch(conversation, 1..=1)).unwrap();
        }
        assert_eq!(queue.push(batch(9_999, 1..=1)), Err(Full));
        // What concerns the reader herself is never let go either.
        let mut queue = Queue::default();
        let own = |version| {
            let topic = crate::convert::me_topic(7);
            Arc::new(Item { topic, ..Item::for_test(1, version, version) })
        };
        queue.push((1..=OUTBOX_FRAMES_MAX as u64).map(own).collect()).unwrap();
        assert_eq!(queue.push(batch(1, 1..=1)), Err(Full));
    }

    #[test]
    fn receipts_and_repeated_signals_merge_and_their_number_is_bounded() {
        let mut queue = Queue::default();
        assert_eq!(queue.push_signal(&signal(SignalKey::Read(1, 7), "read 5")).merged, 0);
        assert_eq!(queue.push_signal(&signal(SignalKey::Read(1, 7), "read 6")).merged, 1);
        for user in 0..1_000 {
            queue.push_signal(&signal(SignalKey::Typing(1, user), "typing"));
        }
        let taken = queue.take(ALL, ALL);
        assert_eq!(taken.signals.len(), SIGNALS_MAX);
        assert_eq!(taken.signals[0].frame.as_str(), "read 6");
        assert!(queue.is_empty() && queue.bytes == 0);
        queue.push_signal(&signal(SignalKey::Presence(1, 1), "here"));
        for user in 0..1_000 {
            queue.push_signal(&signal(SignalKey::Typing(1, user), "typing"));
        }
        let taken = queue.take(ALL, ALL);
        assert_eq!((taken.signals.len(), taken.signals[0].frame.as_str()), (SIGNALS_MAX, "here"));
    }

    #[test]
    fn a_session_takes_in_pieces_and_signals_come_last() {
        let mut queue = Queue::default();
        queue.push_signal(&signal(SignalKey::Typing(1, 7), "t"));
        queue.push(batch(1, 1..=5)).unwrap();
        assert_eq!(shown(&queue.take(2, ALL)), ["1:1", "1:2"]);
        let taken = queue.take(ALL, 150);
        assert_eq!((shown(&taken), taken.signals.len()), (vec!["1:3".to_owned(), "1:4".to_owned()], 0));
        let taken = queue.take(2, ALL);
        assert_eq!((shown(&taken), taken.signals.len()), (vec!["1:5".to_owned()], 1));
    }

    #[tokio::test]
    async fn a_session_that_is_let_go_is_told_even_while_it_writes() {
        let (outbox, mut inbox) = outbox(Bounds::default());
        for conversation in 1..=OUTBOX_FRAMES_MAX as u64 {
            outbox.push(batch(conversation, 1..=1)).unwrap();
        }
        assert_eq!(outbox.push(batch(9_999, 1..=1)), Err(Full));
        inbox.let_go().wait().await;
        assert!(inbox.was_let_go() && inbox.recv(ALL, ALL).await.is_none());
    }

    #[tokio::test]
    async fn one_large_burst_does_not_cost_a_reader_that_keeps_up_anything() {
        let (outbox, mut inbox) = outbox(Bounds::default());
        for round in 0..10 {
            let first = 1 + round * 2 * OUTBOX_FRAMES_MAX as u64;
            let burst = batch(1, first..=first + 2 * OUTBOX_FRAMES_MAX as u64 - 1);
            assert_eq!(outbox.push(burst), Ok(Losses::default()));
            let taken = inbox.recv(ALL, ALL).await.unwrap();
            assert_eq!(taken.events.len(), 2 * OUTBOX_FRAMES_MAX);
        }
    }

    #[tokio::test]
    async fn each_end_hears_that_the_other_is_gone() {
        let (outbox_end, mut inbox) = outbox(Bounds::default());
        outbox_end.push(batch(1, 1..=1)).unwrap();
        drop(outbox_end);
        assert!(inbox.recv(ALL, ALL).await.is_some());
        assert!(inbox.recv(ALL, ALL).await.is_none());
        let (outbox_end, inbox) = outbox(Bounds::default());
        drop(inbox);
        assert!(outbox_end.is_closed());
        assert_eq!(outbox_end.push(batch(1, 1..=1)), Err(Full));
    }
}
