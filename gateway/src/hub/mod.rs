//! The hub: one feed from one replica, fanned out to this gateway's sessions.
//!
//! Owns the feed, the topics that sessions need, and how far all of it has been delivered. Must not know sockets or
//! what a session does with an event. Every event is encoded once here and its bytes are shared.
//!
//! ```text
//!                    ┌── ready, events, progress ──┐
//!  replica (any) ────┤                             ▼
//!        ▲           feed                    topics (versions)──batch──▶ outbox of each session
//!        └── add, remove ──────────────────────────┘
//! ```
//!
//! When the feed breaks, falls silent or goes stale it is reopened at another replica. Until what lies between the two
//! is read, nothing of the new feed is handed out, so every session sees log order: no gap, no repeat.

mod actor;
mod durability;
mod feed;
mod item;
mod seen;
mod sessions;
mod signals;
mod switch;
mod topics;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use quorate_proto::ids::{ConversationId, UserId};
use quorate_proto::rpc::{Signal, Topic, presence};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

pub use item::{Item, ItemKind, SignalItem, SignalKey};

use crate::cluster::Marks;
use crate::metrics::Metrics;
use crate::reads::Reader;
use crate::replicas::Replicas;
use crate::session::outbox::Outbox;

/// Requests from sessions that may wait for the hub; sessions wait in turn beyond it.
const COMMANDS_QUEUED_MAX: usize = 1_024;

/// Names a session at the hub; the generation tells a slot's users apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotId {
    at: u32,
    generation: u32,
}

/// A topic on the feed: events after `version` will come, and a read at or after `complete_from_index` has the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed {
    /// Which topic.
    pub topic: Topic,
    /// A read at this index or later knows every event up to `version`.
    pub complete_from_index: u64,
    /// Every event after this version is pushed.
    pub version: u64,
}

/// The hub takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the hub has no room for more topics")]
pub struct NoRoom;

pub(crate) enum Command {
    Join { outbox: Outbox, reply: oneshot::Sender<SlotId> },
    Subscribe { slot: SlotId, topics: Vec<Topic>, reply: oneshot::Sender<Result<Vec<Subscribed>, NoRoom>> },
    Unsubscribe { slot: SlotId, topics: Vec<Topic> },
    Leave { slot: SlotId, for_good: bool },
    Watch { slot: SlotId, conversation: ConversationId },
    Unwatch { slot: SlotId, conversation: ConversationId },
    Presence { slot: SlotId, user: UserId, state: presence::State },
    Say { signal: Box<Signal> },
}

/// What others may read of the hub without asking it.
#[derive(Debug, Default)]
pub struct HubState {
    delivered_index: AtomicU64,
    log_time_ms: AtomicU64,
    live: AtomicBool,
    replica: AtomicUsize,
    /// By the last progress mark, at place n - 1: the highest index that at least n replicas have on disk.
    kept: Mutex<Vec<u64>>,
}

impl HubState {
    /// Every event up to this index is in the outboxes of all sessions concerned. Read it, then empty the inbox: what
    /// was read is then delivered.
    pub fn delivered_index(&self) -> u64 {
        self.delivered_index.load(Ordering::Acquire)
    }

    /// Log time by the last progress mark, ms.
    pub fn log_time_ms(&self) -> u64 {
        self.log_time_ms.load(Ordering::Relaxed)
    }

    /// Whether a feed runs and nothing is being filled.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// How many replicas have an index on disk, and of how many; `None` when nobody says or it is no majority.
    pub fn replicas_with(&self, index: u64) -> Option<(u32, u32)> {
        let kept = self.kept.lock().expect("no holder of this lock panics");
        let count = durability::replicas_with(&kept, index);
        let is_majority = count > kept.len() / 2;
        is_majority.then_some((u32::try_from(count).ok()?, u32::try_from(kept.len()).ok()?))
    }

    fn set_kept(&self, kept: &[u64]) {
        let mut known = self.kept.lock().expect("no holder of this lock panics");
        if *known != kept {
            kept.clone_into(&mut known);
        }
    }

    /// Which replica feeds.
    pub fn replica(&self) -> usize {
        self.replica.load(Ordering::Relaxed)
    }
}

/// Handle of the hub.
#[derive(Debug, Clone)]
pub struct Hub {
    commands: mpsc::Sender<Command>,
    state: Arc<HubState>,
}

impl Hub {
    /// Starts the actor; it ends when the last handle is gone. `leader` is told whom the feed names as leader; `name` is
    /// the gateway's, under which its users are present; `seen` is given users who were here until just now; `marks` when the first
    /// events came under a new leader.
    pub fn start(
        name: &str,
        replicas: Arc<Replicas>,
        reader: Reader,
        metrics: Arc<Metrics>,
        leader: watch::Sender<u64>,
        seen: mpsc::Sender<Vec<UserId>>,
        marks: Arc<Marks>,
    ) -> Self {
        let (commands, requests) = mpsc::channel(COMMANDS_QUEUED_MAX);
        let state = Arc::new(HubState::default());
        tokio::spawn(actor::run(
            requests,
            actor::Parts {
                name: name.to_owned(),
                replicas,
                reader,
                metrics,
                leader,
                seen,
                marks,
                state: Arc::clone(&state),
            },
        ));
        Self { commands, state }
    }

    /// What can be read without asking.
    pub fn state(&self) -> &Arc<HubState> {
        &self.state
    }

    /// A new session; dropping the handle ends it.
    pub async fn join(&self, outbox: Outbox) -> Option<Subscriber> {
        let (reply, slot) = oneshot::channel();
        self.commands.send(Command::Join { outbox, reply }).await.ok()?;
        let slot = slot.await.ok()?;
        Some(Subscriber { commands: self.commands.clone(), slot, for_good: false })
    }
}

/// A session at the hub.
#[derive(Debug)]
pub struct Subscriber {
    commands: mpsc::Sender<Command>,
    slot: SlotId,
    /// The session itself has ended, not only its socket.
    for_good: bool,
}

impl Subscriber {
    /// Subscribes; answered when every topic is on the feed. Events may be in the inbox before the answer is.
    ///
    /// The future does not borrow the handle, so that a session can wait for it beside other things.
    pub fn subscribe(
        &self,
        topics: Vec<Topic>,
    ) -> impl Future<Output = Result<Vec<Subscribed>, NoRoom>> + Send + 'static {
        let (commands, slot) = (self.commands.clone(), self.slot);
        async move {
            if topics.is_empty() {
                return Ok(Vec::new());
            }
            let (reply, answer) = oneshot::channel();
            commands.send(Command::Subscribe { slot, topics, reply }).await.map_err(|_| NoRoom)?;
            answer.await.map_err(|_| NoRoom)?
        }
    }

    /// Unsubscribes, best effort: an event too many is dropped by the session, and leaving ends it all.
    pub fn unsubscribe(&self, topics: Vec<Topic>) {
        let _ = self.commands.try_send(Command::Unsubscribe { slot: self.slot, topics });
    }

    /// A conversation's signals are wanted from now on, or no longer. Done when the hub has been told. What comes of one
    /// that is no longer wanted is dropped by the session.
    pub fn watch(
        &self,
        conversation: ConversationId,
        watches: bool,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (commands, slot) = (self.commands.clone(), self.slot);
        let command = if watches {
            Command::Watch { slot, conversation }
        } else {
            Command::Unwatch { slot, conversation }
        };
        async move {
            // A hub that has ended tells nobody anything.
            let _ = commands.send(command).await;
        }
    }

    /// The session has ended: its user does not come back with it.
    pub fn ends(&mut self) {
        self.for_good = true;
    }

    /// How present the user of this session is.
    pub fn presence(
        &self,
        user: UserId,
        state: presence::State,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (commands, slot) = (self.commands.clone(), self.slot);
        async move {
            let _ = commands.send(Command::Presence { slot, user, state }).await;
        }
    }

    /// Sends a signal on its way that waits for room: of how far messages have come. Done when the hub has it.
    pub fn tell(&self, signal: Signal) -> impl Future<Output = ()> + Send + 'static {
        let commands = self.commands.clone();
        async move {
            let _ = commands.send(Command::Say { signal: Box::new(signal) }).await;
        }
    }

    /// Sends a signal on its way; one that finds no room is lost, as signals may be.
    pub fn say(&self, signal: Signal) {
        let _ = self.commands.try_send(Command::Say { signal: Box::new(signal) });
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // When the queue is full the hub finds the closed inbox by itself.
        let _ = self.commands.try_send(Command::Leave { slot: self.slot, for_good: self.for_good });
    }
}

#[cfg(test)]
mod tests;
