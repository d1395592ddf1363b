//! The bytes of files: beside the log, on every replica, found by what they are.
//!
//! ```text
//!   gateway ──Put──▶ any replica ──Store──▶ the other voters      a majority has it: receipts
//!   gateway ──CommitFile (who has what)──▶ log ──▶ apply          refused without a majority of the voters of then
//!   gateway ──Get──▶ any replica: own disk, or a peer's (Fetch)   read, hashed, then sent
//! ```
//!
//! Owns chunks and uploads on disk ([`chunks`], [`uploads`]), the hop to the other replicas ([`peers`]) and their repair
//! ([`repair`]). What a file is, whose, and who may see it is in the replicated state and decided there; which uploads became files
//! is read from it ([`committed`]). Nothing here is in the path of a message: other threads, other connections, other files.

pub mod chunks;
pub mod committed;
mod peers;
mod repair;
mod service;
pub mod uploads;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

use crate::node::{Identity, Node};
use chunks::{ChunkStore, Found, Hash};
use committed::Moment;
use peers::Peers;
pub use service::{ChunksService, FilesService};
use uploads::{FileId, Part, Uploads};

/// Chunks of uploads that are under way here, each with up to 1 MiB in memory.
const PUTS_MAX: usize = 24;
/// Reads and writes of chunks at the same time: more would only take turns on one disk.
const DISK_CALLS_MAX: usize = 8;
/// Longest wait for a majority to have a chunk. Whoever sends it asks another replica then.
const MAJORITY_WAIT: Duration = Duration::from_secs(8);

/// See the module.
#[derive(Debug)]
pub struct Files {
    node: Arc<Node>,
    chunks: Arc<ChunkStore>,
    uploads: Arc<Uploads>,
    peers: Peers,
    puts: Arc<Semaphore>,
    disk: Arc<Semaphore>,
}

fn failed(error: &dyn std::fmt::Display) -> Status {
    Status::internal(format!("the chunk could not be kept: {error}"))
}

impl Files {
    /// Opens what there is in the data directory.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(node: Arc<Node>, data_dir: &Path, own: Identity) -> io::Result<Arc<Self>> {
        let dir = data_dir.join("files");
        let chunks = Arc::new(ChunkStore::open(&dir)?);
        let uploads = Arc::new(Uploads::open(&dir.join("uploads"))?);
        Ok(Arc::new(Self {
            node,
            chunks,
            uploads,
            peers: Peers::new(own),
            puts: Arc::new(Semaphore::new(PUTS_MAX)),
            disk: Arc::new(Semaphore::new(DISK_CALLS_MAX)),
        }))
    }

    /// Log time as far as it is applied here.
    fn log_time_ms(&self) -> u64 {
        self.node.publisher().position().borrow().log_time_ms
    }

    /// Runs what blocks on the disk, with few others at a time.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ChunkStore) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let closed = |_| Status::unavailable("this replica stops");
        let permit = Arc::clone(&self.disk).acquire_owned().await.map_err(closed)?;
        let chunks = Arc::clone(&self.chunks);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&chunks)
        });
        done.await.map_err(|_| Status::unavailable("this replica stops"))
    }

    /// Keeps a part of an upload on this replica's disk, as of when this was decided. Its hash must have been looked at.
    async fn keep(
        &self,
        user_id: u64,
        id: FileId,
        number: u32,
        hash: Hash,
        data: Bytes,
        moment: Moment,
    ) -> Result<(), Status> {
        if self.node.is_storage_low_for_files() {
            return Err(Status::resource_exhausted("the disk of this replica has no room for more files"));
        }
        // Of the same moment, so that a part whose file was committed meanwhile is not younger than the commit.
        let received_ms = moment.log_time_ms;
        let uploads = Arc::clone(&self.uploads);
        let size = data.len();
        let kept = self.on_disk(move |chunks| {
            chunks.put(&hash, &data, received_ms)?;
            let part = Part { hash, size: u32::try_from(data.len()).unwrap_or(u32::MAX), received_ms };
            uploads.add(user_id, &id, number, part, moment.next_place)
        });
        kept.await?.map_err(|error| failed(&error))?;
        self.node.metrics().file_chunk_kept(size);
        Ok(())
    }

    /// Keeps a part here and on the other voters; returns once a majority has it, with who that is. The others go on meanwhile.
    async fn keep_on_majority(
        self: &Arc<Self>,
        user_id: u64,
        id: FileId,
        number: u32,
        data: Bytes,
        moment: Moment,
    ) -> Result<(Hash, Vec<u64>), Status> {
        let closed = |_| Status::unavailable("this replica stops");
        // Held until the last replica has it or has failed: it bounds the bytes in memory.
        let place = Arc::new(Arc::clone(&self.puts).acquire_owned().await.map_err(closed)?);
        let hashed = data.clone();
        let hash = self.on_disk(move |_| chunks::hash_of(&hashed)).await?;
        let sets = self.node.voter_sets();
        let others: BTreeSet<u64> =
            sets.iter().flatten().copied().filter(|peer| *peer != self.node.id()).collect();
        let (done, mut kept) = mpsc::channel(others.len() + 1);
        for peer in others {
            let (files, data, done, place) =
                (Arc::clone(self), data.clone(), done.clone(), Arc::clone(&place));
            let address = self.node.members().remove(&peer);
            tokio::spawn(async move {
                let _place = place;
                let Some(address) = address else { return };
                let stored = files.peers.store(peer, &address, user_id, id, number, hash, data).await;
                let _ = done.send((peer, stored)).await;
            });
        }
        let files = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            let stored = files.keep(user_id, id, number, hash, data, moment).await;
            let _ = done.send((files.node.id(), stored)).await;
        });
        let majority = async {
            let mut holders = BTreeSet::new();
            let mut refused = Status::unavailable("too few replicas could keep the chunk");
            while let Some((replica, stored)) = kept.recv().await {
                match stored {
                    Ok(()) => drop(holders.insert(replica)),
                    Err(status) => {
                        tracing::debug!(replica, %status, "a chunk was not kept");
                        if status.code() == tonic::Code::ResourceExhausted {
                            refused = status;
                        }
                    }
                }
                if is_majority(&sets, &holders) {
                    return Ok((hash, holders.into_iter().collect()));
                }
            }
            Err(refused)
        };
        let late = |_| Status::unavailable("no majority of the replicas had the chunk in time");
        tokio::time::timeout(MAJORITY_WAIT, majority).await.map_err(late)?
    }

    /// A whole chunk: from the own disk, or from another replica's.
    async fn chunk(&self, hash: Hash) -> Result<Bytes, Status> {
        match self.on_disk(move |chunks| chunks.read(&hash)).await? {
            Found::Whole(data) => return Ok(data),
            Found::Damaged => self.node.metrics().file_chunk_damaged(),
            Found::Missing => {}
        }
        self.fetch(hash).await.ok_or_else(|| Status::unavailable("no replica that answers has this chunk"))
    }

    /// A chunk of another replica's, looked at here.
    async fn fetch(&self, hash: Hash) -> Option<Bytes> {
        let own = self.node.id();
        for (peer, address) in self.node.members() {
            if peer == own {
                continue;
            }
            let Some(data) = self.peers.fetch(peer, &address, hash).await else { continue };
            let hashed = data.clone();
            if self.on_disk(move |_| chunks::hash_of(&hashed)).await.ok()? == hash {
                return Some(data);
            }
            tracing::error!(
                peer,
                chunk = chunks::hex(&hash),
                "a replica sent another chunk than was asked for"
            );
        }
        None
    }
}

fn is_majority(sets: &[BTreeSet<u64>], holders: &BTreeSet<u64>) -> bool {
    !sets.is_empty() && sets.iter().all(|set| set.intersection(holders).count() > set.len() / 2)
}

#[cfg(test)]
mod tests;
