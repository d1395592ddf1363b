//! Looks after the chunks on this disk: those that files of the state consist of and that are missing are fetched from other
//! replicas; those that nobody needs go.
//!
//! One walk after the other over all files of the state, slowly. A chunk goes when no file of the state consists of it and it was
//! received more than 12 h of log time before the walk began. Apply refuses a commit that counts on older receipts, so no commit
//! that this replica has not seen can need it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use quorate_proto::limits::RECEIPT_MS;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::Files;
use super::chunks::Hash;
use crate::machine::{Tables as _, files};
use crate::store::StoreError;

/// Between two walks.
const WALK_PAUSE: Duration = Duration::from_secs(5);
/// Files of the state looked at in one step, under one hold of it: some 16 records each.
const FILES_PER_STEP: usize = 16;
/// Chunks looked for on disk in one step.
const CHUNKS_PER_STEP: usize = 256;
/// After each step: at most some 5,000 looks a second, and a core's hundredth.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// After each chunk that was fetched: at most some 20 MiB/s, so that repair leaves room for people.
const FETCH_PAUSE: Duration = Duration::from_millis(50);
/// Between two times that what nobody needs is removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
/// Between two folders of which chunks were removed.
const FOLDER_PAUSE: Duration = Duration::from_millis(20);

/// What a walk found.
#[derive(Debug, Default)]
struct Walk {
    /// Log time when it began.
    began_ms: u64,
    /// Every chunk that a file consists of, in order: 32 bytes a chunk, so 32 MiB for a terabyte.
    needed: Vec<Hash>,
    /// Those that could not be had.
    missing: u64,
}

impl Files {
    /// Walks for the life of the replica.
    pub async fn look_after(files: Weak<Self>) {
        let mut swept: Option<Instant> = None;
        loop {
            sleep(WALK_PAUSE).await;
            let Some(files) = files.upgrade() else { return };
            let walk = match files.walk(true).await {
                Ok(walk) => walk,
                Err(status) => {
                    tracing::warn!(%status, "the files of this replica could not be looked through");
                    continue;
                }
            };
            files.node.metrics().file_chunks_missing(walk.missing);
            if walk.missing > 0 {
                tracing::warn!(
                    missing = walk.missing,
                    "chunks of files are missing here and nobody has sent them"
                );
            }
            if swept.is_none_or(|swept| swept.elapsed() >= SWEEP_INTERVAL) {
                swept = Some(Instant::now());
                if let Err(error) = files.sweep(&walk).await {
                    tracing::warn!(%error, "what nobody needs could not be removed");
                }
            }
        }
    }

    /// How many chunks that files of the state consist of are not on this disk.
    pub(super) async fn count_missing(self: &Arc<Self>) -> Result<u64, Status> {
        self.walk(false).await.map(|walk| walk.missing)
    }

    async fn walk(self: &Arc<Self>, repairs: bool) -> Result<Walk, Status> {
        let mut walk = Walk { began_ms: self.log_time_ms(), ..Walk::default() };
        let mut last = [0; 16];
        loop {
            let files = Arc::clone(self);
            let step = self.on_disk(move |_| files.hashes_after(last)).await?;
            let (hashes, end) = step.map_err(|error| Status::internal(error.to_string()))?;
            for some in hashes.chunks(CHUNKS_PER_STEP) {
                walk.missing += self.look_for(some.to_vec(), repairs).await?;
                if repairs {
                    sleep(STEP_PAUSE).await;
                }
            }
            walk.needed.extend(hashes);
            match end {
                Some(id) => last = id,
                None => break,
            }
        }
        walk.needed.sort_unstable();
        walk.needed.dedup();
        Ok(walk)
    }

    /// The chunks of the next files after one, and the last of these; no last one when there are no more.
    fn hashes_after(&self, last: [u8; 16]) -> Result<(Vec<Hash>, Option<[u8; 16]>), StoreError> {
        let state = self.node.store().read();
        let found = state.files_after(&last, FILES_PER_STEP)?;
        let mut hashes = Vec::new();
        for (id, file) in &found {
            hashes.extend(files::hashes_of(&state, id, file)?);
        }
        Ok((hashes, found.last().map(|(id, _)| *id)))
    }

    /// Looks for chunks on this disk, and fetches what is missing; how many are missing in the end.
    async fn look_for(self: &Arc<Self>, hashes: Vec<Hash>, repairs: bool) -> Result<u64, Status> {
        let look = move |chunks: &super::ChunkStore| {
            hashes.into_iter().filter(|hash| chunks.stat(hash).is_none()).collect::<Vec<Hash>>()
        };
        let absent = self.on_disk(look).await?;
        if !repairs {
            return Ok(absent.len() as u64);
        }
        let mut missing = 0;
        for hash in absent {
            let Some(data) = self.fetch(hash).await else {
                missing += 1;
                continue;
            };
            // Nobody was given a receipt for it here: it stays for as long as it is needed.
            match self.on_disk(move |chunks| chunks.put(&hash, &data, 0)).await? {
                Ok(()) => self.node.metrics().file_chunk_repaired(),
                Err(error) => {
                    tracing::warn!(%error, "a chunk that was fetched could not be kept");
                    missing += 1;
                }
            }
            sleep(FETCH_PAUSE).await;
        }
        Ok(missing)
    }

    async fn sweep(self: &Arc<Self>, walk: &Walk) -> Result<(), String> {
        let before_ms = walk.began_ms.saturating_sub(RECEIPT_MS);
        let needed = Arc::new(walk.needed.clone());
        let mut removed = 0;
        for folder in 0..=u8::MAX {
            let needed = Arc::clone(&needed);
            let swept = self.on_disk(move |chunks| {
                chunks.sweep(folder, before_ms, |hash| needed.binary_search(hash).is_ok())
            });
            removed +=
                swept.await.map_err(|status| status.to_string())?.map_err(|error| error.to_string())?;
            sleep(FOLDER_PAUSE).await;
        }
        for (id, last_ms) in self.uploads.all() {
            let committed = self.node.store().read().file(&id).map_err(|error| error.to_string())?.is_some();
            if committed || last_ms < before_ms {
                self.uploads.forget(&id);
            }
        }
        if removed > 0 {
            tracing::info!(chunks = removed, "removed chunks of files that are gone");
            self.node.metrics().file_chunks_removed(removed);
        }
        Ok(())
    }
}
