//! From what is applied to what is to be indexed: the feed's batches, and walks through the state where batches were missed.
//!
//! Runs at the priority of everything else, because a look at the state makes apply wait: a thread that gives way to all others
//! must not be the one that holds it.

use std::sync::Arc;
use std::time::Duration;

use quorate_proto::rpc::{Event, topic};
use tokio::sync::{broadcast, mpsc};

use super::index::{Change, Progress};
use super::source::Source;
use super::walk::{self, Walk};
use crate::feed::{AppliedBatch, Publisher};
use crate::store::StoreError;

/// Nothing more goes into a batch that holds as many changes.
const CHANGES_TOGETHER_MAX: usize = 1_000;
/// What is applied within this becomes one batch: under load two threads are woken fifty times a second instead of thousands.
const GATHERED: Duration = Duration::from_millis(20);
/// Messages looked up under one hold of the state, as in a walk.
const LOOKED_UP_MAX: usize = 64;

/// Changes in order, and how far the index has come after them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    pub(super) progress: Progress,
}

/// Why nothing is followed any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The state's disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever writes the index has ended.
    #[error("the index is not written any more")]
    Ended,
    /// The replica is stopping.
    #[error("nothing is applied any more")]
    Stopping,
}

/// See the module.
pub(super) struct Follower<S> {
    pub(super) source: Arc<S>,
    pub(super) publisher: Publisher,
    pub(super) progress: Progress,
    /// Bounded: whoever reads it slowly makes this one miss batches, and never apply wait.
    pub(super) out: mpsc::Sender<Batch>,
}

impl<S: Source> Follower<S> {
    /// Follows until something fails.
    pub(super) async fn run(mut self) -> FollowError {
        loop {
            if let Err(error) = self.catch_up_and_follow().await {
                return error;
            }
        }
    }

    /// Ends well when something was missed.
    async fn catch_up_and_follow(&mut self) -> Result<(), FollowError> {
        // Joined before the position is read: nothing falls between.
        let mut ring = self.publisher.batches();
        let mut position = self.publisher.position();
        let start = *position.borrow();
        // After a start the log is replayed: the index may have what the state has not yet.
        if self.progress.walk.is_none() && self.progress.through < start.index {
            self.progress.walk = Some(Walk::new(self.progress.through, start.index));
        }
        while self.progress.walk.is_some() {
            self.step().await?;
        }
        loop {
            let first = tokio::select! {
                biased;
                // A snapshot replaced the state, and nobody told what lies between.
                _ = position.wait_for(|position| position.resets != start.resets) => return Ok(()),
                received = ring.recv() => match received {
                    Ok(batch) => batch,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::debug!(missed, "the search index reads from the state what it missed");
                        return Ok(());
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(FollowError::Stopping),
                },
            };
            let mut changes = Vec::new();
            let mut next = Some(first);
            let mut missed = None;
            while let Some(batch) = next.take() {
                self.take(&batch, &mut changes)?;
                if changes.len() < CHANGES_TOGETHER_MAX {
                    match ring.try_recv() {
                        Ok(batch) => next = Some(batch),
                        Err(broadcast::error::TryRecvError::Lagged(count)) => missed = Some(count),
                        // Those who wait below hear of it.
                        Err(
                            broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed,
                        ) => {}
                    }
                }
            }
            self.send(changes).await?;
            if let Some(missed) = missed {
                tracing::debug!(missed, "the search index reads from the state what it missed");
                return Ok(());
            }
            tokio::time::sleep(GATHERED).await;
        }
    }

    async fn step(&mut self) -> Result<(), FollowError> {
        let Some(mut walk) = self.progress.walk.take() else { return Ok(()) };
        let source = Arc::clone(&self.source);
        // Reads the disk.
        let stepped = tokio::task::spawn_blocking(move || {
            let look = source.look();
            let step = walk.step(&look)?;
            Ok::<_, StoreError>((walk, step, S::applied(&look)))
        });
        let (walk, (changes, is_last), applied) = stepped.await.map_err(|_| FollowError::Stopping)??;
        self.progress.seen = self.progress.seen.max(applied);
        if is_last {
            self.progress.through = walk.to;
        } else {
            self.progress.walk = Some(walk);
        }
        self.send(changes).await
    }

    /// The changes that applied entries make.
    fn take(&mut self, batch: &AppliedBatch, changes: &mut Vec<Change>) -> Result<(), FollowError> {
        for event in batch.events.iter().filter(|event| event.index > self.progress.through) {
            self.about(event, changes)?;
        }
        self.progress.through = self.progress.through.max(batch.applied_index);
        Ok(())
    }

    fn about(&self, event: &Event, changes: &mut Vec<Change>) -> Result<(), FollowError> {
        let Some(topic) = event.topic.filter(|topic| topic.kind() == topic::Kind::Conversation) else {
            return Ok(());
        };
        if let Some(change) = walk::from_event(event, event.index <= self.progress.seen) {
            changes.push(change);
            return Ok(());
        }
        let about = event.kind.as_ref().map(walk::sent_about).unwrap_or_default();
        for some in about.chunks(LOOKED_UP_MAX) {
            let look = self.source.look();
            for sequence in some {
                changes.push(walk::index_message(&look, topic.id, *sequence)?);
            }
        }
        Ok(())
    }

    async fn send(&self, changes: Vec<Change>) -> Result<(), FollowError> {
        let batch = Batch { changes, progress: self.progress.clone() };
        self.out.send(batch).await.map_err(|_| FollowError::Ended)
    }
}
