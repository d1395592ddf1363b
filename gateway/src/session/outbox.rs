//! What lies between the hub and one session: bounded, shared bytes, and the word that a session was let go.
//!
//! Owns the bound. Must not know what an event means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quorate_proto::limits::{OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX};
use tokio::sync::{Notify, mpsc};

use crate::hub::Item;

/// Events of one feed frame for one session, in log order.
pub type Batch = Vec<Arc<Item>>;

#[derive(Debug, Default)]
struct Shared {
    frames: AtomicUsize,
    bytes: AtomicUsize,
    let_go: AtomicBool,
    wake: Notify,
}

/// The hub's end.
#[derive(Debug, Clone)]
pub struct Outbox {
    queue: mpsc::Sender<Batch>,
    shared: Arc<Shared>,
}

/// The session's end.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::Receiver<Batch>,
    shared: Arc<Shared>,
}

/// Tells a session that is busy writing that it was let go.
#[derive(Debug, Clone)]
pub struct LetGo(Arc<Shared>);

/// A new pair.
pub fn outbox() -> (Outbox, Inbox) {
    // Every batch holds at least one frame, so this many batches are never exceeded by the frames' own bound.
    let (sender, receiver) = mpsc::channel(OUTBOX_FRAMES_MAX);
    let shared = Arc::new(Shared::default());
    (Outbox { queue: sender, shared: Arc::clone(&shared) }, Inbox { queue: receiver, shared })
}

impl Outbox {
    /// Hands a batch over. False: the session has not taken what was there before, or has gone; it gets no more.
    ///
    /// The bound is [`OUTBOX_FRAMES_MAX`] or [`OUTBOX_BYTES_MAX`] *and the batch on top*: a burst that comes in one
    /// feed frame says nothing about the reader's pace, what is left from earlier frames does.
    pub fn push(&self, batch: Batch) -> bool {
        let frames = self.shared.frames.load(Ordering::Relaxed);
        let bytes = self.shared.bytes.load(Ordering::Relaxed);
        if frames >= OUTBOX_FRAMES_MAX || bytes >= OUTBOX_BYTES_MAX {
            self.let_go();
            return false;
        }
        let (added, size) = weigh(&batch);
        self.shared.frames.fetch_add(added, Ordering::Relaxed);
        self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        if self.queue.try_send(batch).is_err() {
            self.let_go();
            return false;
        }
        true
    }

    /// Tells the session that it gets no more.
    pub fn let_go(&self) {
        self.shared.let_go.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// Whether the session's end is gone.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

impl Inbox {
    /// The next batch; `None` when the session was let go or the hub ended.
    pub async fn recv(&mut self) -> Option<Batch> {
        if self.was_let_go() {
            return None;
        }
        let batch = self.queue.recv().await?;
        self.took(&batch);
        Some(batch)
    }

    /// What is there already.
    pub fn try_recv(&mut self) -> Option<Batch> {
        let batch = self.queue.try_recv().ok()?;
        self.took(&batch);
        Some(batch)
    }

    /// Whether the hub gave this session up.
    pub fn was_let_go(&self) -> bool {
        self.shared.let_go.load(Ordering::Acquire)
    }

    /// A handle that wakes when the hub gives this session up.
    pub fn let_go(&self) -> LetGo {
        LetGo(Arc::clone(&self.shared))
    }

    fn took(&self, batch: &Batch) {
        let (frames, bytes) = weigh(batch);
        self.shared.frames.fetch_sub(frames, Ordering::Relaxed);
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl LetGo {
    /// Waits until the hub gives the session up.
    pub async fn wait(&self) {
        while !self.0.let_go.load(Ordering::Acquire) {
            self.0.wake.notified().await;
        }
    }
}

fn weigh(batch: &Batch) -> (usize, usize) {
    (batch.len(), batch.iter().map(|item| item.bytes()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(items: usize) -> Batch {
        (0..items).map(|at| Arc::new(Item::for_test(1, at as u64 + 1, at as u64 + 1))).collect()
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_let_go_at_the_bound() {
        let (outbox, mut inbox) = outbox();
        for _ in 0..OUTBOX_FRAMES_MAX {
            assert!(outbox.push(batch(1)));
        }
        assert!(!outbox.push(batch(1)));
        assert!(inbox.was_let_go());
        inbox.let_go().wait().await;
        assert!(inbox.recv().await.is_none());
    }

    #[tokio::test]
    async fn one_large_burst_does_not_cost_a_reader_that_keeps_up_its_socket() {
        let (outbox, mut inbox) = outbox();
        for _ in 0..10 {
            assert!(outbox.push(batch(2 * OUTBOX_FRAMES_MAX)));
            assert_eq!(inbox.recv().await.map(|batch| batch.len()), Some(2 * OUTBOX_FRAMES_MAX));
        }
    }
}
