//! Full-text search: an index beside the state, derived from it, and rebuilt from it whenever it is lost.
//!
//! ```text
//!   apply ──▶ feed's ring ──▶ follow ──changes──▶ indexer (low priority) ──commit──▶ <data>/search
//!                               ▲                                                         │
//!              state ───walk────┘             question ──▶ answer ◀── candidates ──────────┘
//!                └──────────────────────────────────────────▲ who may see what, and the texts
//! ```
//!
//! Apply never waits for any of this: who falls behind reads from the state what it missed. Each commit says through which log
//! index it is complete. What is shown is decided by the state at the time of the answer, never by the index.

mod answer;
mod directory;
mod find;
mod follow;
mod index;
mod indexer;
mod phrase;
mod source;
mod tokens;
mod walk;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use quorate_proto::rpc::{Rejected, SearchQuery, SearchResult};
use tantivy::IndexReader;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::feed::Publisher;
use crate::metrics::Metrics;
use follow::{FollowError, Follower};
use index::{Fields, Opened, Progress};

pub use source::Source;

/// Batches on their way to the indexer: each holds up to some thousand messages.
const BATCHES_AHEAD: usize = 4;
/// Searches at a time: each takes a thread, and the state is shared with apply.
const SEARCHES_AT_ONCE: usize = 2;
/// A search waits this long for its turn.
const TURN_WAIT: Duration = Duration::from_secs(1);
/// A search waits this long for the index to have what it must have: four commits.
const INDEXED_WAIT: Duration = Duration::from_secs(2);
/// An index that failed is opened again after this, at first and at most.
const REOPEN_MIN: Duration = Duration::from_secs(1);
const REOPEN_MAX: Duration = Duration::from_secs(60);

/// What can be searched now.
#[derive(Clone)]
struct Shown {
    reader: IndexReader,
    fields: Fields,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

/// What the indexer tells and searches look at.
#[derive(Debug)]
struct Shared {
    cluster: String,
    metrics: Metrics,
    shown: RwLock<Option<Shown>>,
    /// Everything up to this log index is found; `None` while there is no index to be searched.
    through: watch::Sender<Option<u64>>,
    /// The index gave no answer: it is opened again, which checks it.
    suspected: AtomicBool,
}

impl Shared {
    fn show(&self, index: &Opened, progress: &Progress) {
        let shown = Shown { reader: index.reader.clone(), fields: index.fields };
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        self.metrics.search_documents(index.documents());
        self.reached(progress);
    }

    fn reached(&self, progress: &Progress) {
        let through = (!progress.is_rebuilding()).then_some(progress.through);
        self.through.send_if_modified(|told| std::mem::replace(told, through) != through);
        self.metrics.search_reached(progress.through);
    }

    fn hide(&self) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.through.send_replace(None);
    }

    fn take_suspicion(&self) -> bool {
        self.suspected.swap(false, Ordering::AcqRel)
    }
}

/// Why a search has no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Decided: the same again gives the same.
    #[error("{}", .0.message)]
    Rejected(Rejected),
    /// The index has not come as far as was asked for.
    #[error("the search index is behind")]
    Behind,
    /// Another replica may do better.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Handle for searches; cheap to clone.
#[derive(Debug)]
pub struct Search<S> {
    source: Arc<S>,
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
}

impl<S> Clone for Search<S> {
    fn clone(&self) -> Self {
        let (source, shared, turns) = (self.source.clone(), self.shared.clone(), self.turns.clone());
        Self { source, shared, turns }
    }
}

impl<S: Source> Search<S> {
    /// Over a state of this cluster. [`Self::run`] makes it work.
    pub fn new(source: Arc<S>, cluster: &str, metrics: Metrics) -> Self {
        let shared = Shared {
            cluster: cluster.to_owned(),
            metrics,
            shown: RwLock::new(None),
            through: watch::Sender::new(None),
            suspected: AtomicBool::new(false),
        };
        Self { source, shared: Arc::new(shared), turns: Arc::new(Semaphore::new(SEARCHES_AT_ONCE)) }
    }

    /// Keeps the index of a data directory, until told to stop. Whatever fails here is tried again and ends nothing else.
    pub async fn run(self, data_dir: PathBuf, publisher: Publisher, stop: CancellationToken) {
        let dir = indexer::dir_of(&data_dir);
        let mut pause = REOPEN_MIN;
        loop {
            let (out, batches) = mpsc::channel(BATCHES_AHEAD);
            let (opened, progress) = oneshot::channel();
            let writing = {
                let (dir, shared, runtime) = (dir.clone(), Arc::clone(&self.shared), Handle::current());
                let writes = move || indexer::run(&runtime, &dir, &shared, opened, batches);
                std::thread::Builder::new().name("search-index".to_owned()).spawn(writes)
            };
            let mut ended = None;
            let began = Instant::now();
            if let Ok(progress) = progress.await {
                let (source, publisher) = (Arc::clone(&self.source), publisher.clone());
                let written = out.clone();
                let follower = Follower { source, publisher, progress, out };
                ended = tokio::select! {
                    () = stop.cancelled() => Some(FollowError::Stopping),
                    error = follower.run() => Some(error),
                    // Seen here and not with the next batch, which a quiet chat may not have for hours.
                    () = written.closed() => Some(FollowError::Ended),
                };
            }
            // Nothing comes any more, so the thread commits and ends.
            let joined = match writing {
                Ok(thread) => tokio::task::spawn_blocking(move || thread.join()).await.ok(),
                Err(error) => {
                    tracing::warn!(%error, "no thread for the search index");
                    None
                }
            };
            match joined {
                Some(Ok(Err(error))) => tracing::warn!(%error, "the search index is opened again"),
                Some(Err(_)) => tracing::warn!("the search index's thread panicked, it is opened again"),
                Some(Ok(Ok(()))) | None => {}
            }
            if matches!(ended, Some(FollowError::Stopping)) || stop.is_cancelled() {
                return;
            }
            if let Some(FollowError::Store(error)) = ended {
                tracing::warn!(%error, "the search index cannot read the state");
            }
            self.shared.hide();
            // A full disk, say, fails soon after each opening, which reads the whole index.
            if began.elapsed() > REOPEN_MAX {
                pause = REOPEN_MIN;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(REOPEN_MAX),
            }
        }
    }

    /// Everything up to this log index is found; `None` while there is nothing to be searched.
    pub fn indexed_through(&self) -> Option<u64> {
        *self.shared.through.borrow()
    }

    /// Answers a user's question: at most 50 messages that she may see now.
    ///
    /// # Errors
    /// [`SearchError::Rejected`] when it cannot be asked, [`SearchError::Behind`] and [`SearchError::Unavailable`] when this replica
    /// cannot answer now.
    pub async fn search(&self, user: u64, query: SearchQuery) -> Result<SearchResult, SearchError> {
        let asked = answer::Asked::new(user, &query)?;
        let mut through = self.shared.through.subscribe();
        let has_it = |through: &Option<u64>| through.is_some_and(|through| through >= query.min_indexed);
        if through.borrow().is_none() {
            return Err(SearchError::Unavailable("the search index of this replica is being built"));
        }
        if !matches!(tokio::time::timeout(INDEXED_WAIT, through.wait_for(has_it)).await, Ok(Ok(_))) {
            return Err(SearchError::Behind);
        }
        let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(SearchError::Unavailable("too many searches at once: try again"));
        };
        // Read before the index is: what is found may be newer than said, never older. After a start the state may be behind the
        // index for a moment, until the log is replayed.
        let applied = S::applied(&self.source.look());
        let through = self.indexed_through().map(|through| through.min(applied));
        let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(shown), Some(through)) = (shown, through) else {
            return Err(SearchError::Unavailable("the search index of this replica is being built"));
        };
        let source = Arc::clone(&self.source);
        let began = Instant::now();
        let answered = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            answer::answer(&*source, &shown, &asked)
        });
        let result = match answered.await {
            Ok(Ok(result)) => Ok(SearchResult { indexed_through: through, ..result }),
            Ok(Err(answer::Failed::Refused(error))) => Err(error),
            Ok(Err(answer::Failed::Index(error))) => {
                tracing::warn!(%error, "a search failed");
                Err(self.distrust())
            }
            // The library panics where its files are not what it wrote.
            Err(_) => Err(self.distrust()),
        };
        self.shared.metrics.searched(began.elapsed());
        result
    }

    fn distrust(&self) -> SearchError {
        self.shared.suspected.store(true, Ordering::Release);
        SearchError::Unavailable("the search index of this replica failed and is checked")
    }
}
