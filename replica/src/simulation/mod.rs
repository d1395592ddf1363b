//! The seams of the simulation: where a simulated world takes the place of clock, chance, disk and network.
//!
//! Compiled only with the feature `simulation`. A simulation runs on one thread, so the world is a thread's own: who runs on
//! it finds the world here, everybody else the real one. The code between the seams is the product's.
//!
//! ```text
//!   simulated world ──▶ now, chance ──▶ openraft        the real node, machine, store, feed, services,
//!                   ──▶ log records ──▶ LogStore        tonic and HTTP/2 run in between
//!                   ──▶ ordered map ──▶ checkpoint
//!                   ──▶ byte streams ─▶ tonic
//! ```

mod log;
mod seeded;
mod tree;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint, Uri};
use uuid::Uuid;

pub use log::LogDisk;
pub(crate) use log::Wal;
pub use seeded::Seeded;
pub use tree::MapDisk;
pub(crate) use tree::{Batch, Tree};

/// A simulated connection's bytes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// What surrounds the host that runs on this thread right now.
pub trait Host: Debug {
    /// Which replica it is; 0 for none.
    fn id(&self) -> u64;
    /// Its wall clock, ms since the Unix epoch.
    fn wall_ms(&self) -> u64;
    /// The next number of its seeded randomness.
    fn chance(&self) -> u64;
    /// How long its disk takes for the next sync.
    fn sync_delay(&self) -> Duration;
    /// How long its checkpoint's thread leaves the next job alone.
    fn checkpoint_delay(&self) -> Duration;
    /// Opens a connection to an address.
    fn dial(&self, address: &str) -> Dialing;
    /// Its disks, by data directory.
    fn disks(&self) -> Rc<RefCell<HashMap<PathBuf, Disk>>>;
}

/// What a replica's disk holds that does not lie in real files.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// The Raft log.
    pub log: LogDisk,
    /// The checkpoint.
    pub map: MapDisk,
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// From now on this thread runs this host; `None`: the real world.
pub fn enter(host: Option<Rc<dyn Host>>) {
    HOST.with_borrow_mut(|current| *current = host);
}

fn host() -> Option<Rc<dyn Host>> {
    HOST.with_borrow(Clone::clone)
}

/// Whether this thread belongs to a simulation.
pub(crate) fn is_running() -> bool {
    host().is_some()
}

/// The simulated host that runs now.
pub(crate) fn host_id() -> Option<u64> {
    host().map(|host| host.id())
}

pub(crate) fn wall_ms() -> Option<u64> {
    host().map(|host| host.wall_ms())
}

/// An id that is new in this run.
pub(crate) fn new_id() -> Option<Uuid> {
    host().map(|host| Uuid::from_u64_pair(host.chance(), host.chance()))
}

/// How long the thread of the checkpoint waits for its next job.
pub(crate) fn checkpoint_delay() -> Duration {
    host().map_or(Duration::from_millis(1), |host| host.checkpoint_delay())
}

/// The disk under a directory or under one of its parents.
fn disk(dir: &Path) -> Option<Disk> {
    let disks = host()?.disks();
    let disks = disks.borrow();
    dir.ancestors().find_map(|dir| disks.get(dir).cloned())
}

/// A simulated connection to an address; `None` in the real world.
pub(crate) fn dial(address: &str) -> Option<Dialing> {
    host().map(|host| host.dial(address))
}

/// A channel over simulated connections.
pub(crate) fn channel(endpoint: &Endpoint) -> Option<Channel> {
    if !is_running() {
        return None;
    }
    let connect = tower::service_fn(|uri: Uri| {
        let address = uri.authority().map_or_else(String::new, ToString::to_string);
        let dialing = host().map(|host| host.dial(&address));
        async move {
            match dialing {
                Some(dialing) => dialing.await.map(TokioIo::new),
                None => Err(io::Error::other("outside of the simulation")),
            }
        }
    });
    Some(endpoint.connect_with_connector_lazy(connect))
}
