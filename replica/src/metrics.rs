//! Metrics of a replica, declared here and nowhere else: `quorate_replica_<noun>_<unit>`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use quorate_proto::rpc::StatusResponse;

#[derive(Debug, Default)]
struct Gauges {
    is_leader: Gauge,
    term: Gauge,
    last_log_index: Gauge,
    commit_index: Gauge,
    applied_index: Gauge,
    checkpoint_index: Gauge,
    snapshot_index: Gauge,
    log_bytes: Gauge,
    checkpoint_bytes: Gauge,
    overlay_bytes: Gauge,
    machine_version: Gauge,
}

/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// Of disks: the log's writer, room, and snapshots.
#[derive(Debug)]
struct Storage {
    log_written_bytes: Counter,
    log_syncs: Counter,
    log_sync_seconds: Counter<f64, AtomicU64>,
    log_sync_p99_seconds: Seconds,
    log_segments: Gauge,
    log_purged_segments: Counter,
    storage_low: Gauge,
    snapshot_build_seconds: Histogram,
    snapshot_bytes: Gauge,
    snapshots_installed: Counter,
    snapshot_received_bytes: Gauge,
    snapshot_receiving_bytes: Gauge,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            log_written_bytes: Counter::default(),
            log_syncs: Counter::default(),
            log_sync_seconds: Counter::default(),
            log_sync_p99_seconds: Gauge::default(),
            log_segments: Gauge::default(),
            log_purged_segments: Counter::default(),
            storage_low: Gauge::default(),
            // 10 ms to about three minutes.
            snapshot_build_seconds: Histogram::new(exponential_buckets(0.01, 2.0, 15)),
            snapshot_bytes: Gauge::default(),
            snapshots_installed: Counter::default(),
            snapshot_received_bytes: Gauge::default(),
            snapshot_receiving_bytes: Gauge::default(),
        }
    }
}

impl Storage {
    fn register(&self, registry: &mut Registry) {
        registry.register("log_written_bytes", "Written to the Raft log", self.log_written_bytes.clone());
        registry.register("log_syncs", "Syncs of the Raft log", self.log_syncs.clone());
        registry.register(
            "log_sync_seconds",
            "Spent in syncs of the Raft log",
            self.log_sync_seconds.clone(),
        );
        let help = "99th percentile of the Raft log's syncs since the start";
        registry.register("log_sync_p99_seconds", help, self.log_sync_p99_seconds.clone());
        registry.register("log_segments", "Files of the Raft log", self.log_segments.clone());
        let help = "Files of the Raft log removed after a purge";
        registry.register("log_purged_segments", help, self.log_purged_segments.clone());
        registry.register("storage_low", "Whether the disk is nearly full", self.storage_low.clone());
        let help = "Building a snapshot, and making it durable";
        registry.register("snapshot_build_seconds", help, self.snapshot_build_seconds.clone());
        registry.register("snapshot_bytes", "The last snapshot built", self.snapshot_bytes.clone());
        registry.register("installed_snapshots", "Snapshots installed", self.snapshots_installed.clone());
        let help = "Received so far of the snapshot that is being received";
        registry.register("snapshot_received_bytes", help, self.snapshot_received_bytes.clone());
        let help = "Size of the snapshot that is being received; 0 when none is";
        registry.register("snapshot_receiving_bytes", help, self.snapshot_receiving_bytes.clone());
    }
}

/// Of files' chunks.
#[derive(Debug, Default)]
struct Chunks {
    received: Counter,
    repaired: Counter,
    damaged: Counter,
    removed: Counter,
    missing: Gauge,
}

impl Chunks {
    fn register(&self, registry: &mut Registry) {
        let listed = [
            ("files_received_bytes", "Bytes of uploads kept here", &self.received),
            (
                "files_repaired_chunks",
                "Chunks that were missing here and fetched from others",
                &self.repaired,
            ),
            ("files_damaged_chunks", "Chunks found damaged here", &self.damaged),
            ("files_removed_chunks", "Chunks removed because no file needs them", &self.removed),
        ];
        for (name, help, counter) in listed {
            registry.register(name, help, counter.clone());
        }
        let help = "Chunks that files consist of and that could not be had when it was last looked";
        registry.register("files_missing_chunks", help, self.missing.clone());
    }
}

/// Of the search index.
#[derive(Debug)]
struct Searching {
    documents: Gauge,
    indexed_index: Gauge,
    lag_entries: Gauge,
    rebuilds: Counter,
    commit_seconds: Histogram,
    seconds: Histogram,
}

impl Default for Searching {
    fn default() -> Self {
        Self {
            documents: Gauge::default(),
            indexed_index: Gauge::default(),
            lag_entries: Gauge::default(),
            rebuilds: Counter::default(),
            // 1 ms to about 16 s.
            commit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 12)),
        }
    }
}

impl Searching {
    fn register(&self, registry: &mut Registry) {
        registry.register("search_documents", "Messages that a search can find", self.documents.clone());
        let help = "Index up to which every message can be found";
        registry.register("search_indexed_index", help, self.indexed_index.clone());
        let help = "Applied entries that the search index does not have yet";
        registry.register("search_lag_entries", help, self.lag_entries.clone());
        let help = "Times the search index was made anew: there was none, or it was damaged";
        registry.register("search_rebuilds", help, self.rebuilds.clone());
        let help = "Writing what was changed in the search index";
        registry.register("search_commit_seconds", help, self.commit_seconds.clone());
        registry.register("search_seconds", "Answering a search", self.seconds.clone());
    }
}

/// All metrics of one replica. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    gauges: Arc<Gauges>,
    answered: Counter,
    events: Counter,
    commands: Counter,
    refused_not_leader: Counter,
    refused_overloaded: Counter,
    disagreements: Counter,
    feeds: Gauge,
    signals: Counter,
    signals_dropped: Counter,
    storage: Arc<Storage>,
    chunks: Arc<Chunks>,
    searching: Arc<Searching>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("quorate_replica");
        let gauges = Arc::new(Gauges::default());
        let listed = [
            ("is_leader", "Whether this replica leads", &gauges.is_leader),
            ("term", "Current term", &gauges.term),
            ("last_log_index", "Index of the last log entry", &gauges.last_log_index),
            ("commit_index", "Highest index known to be committed", &gauges.commit_index),
            ("applied_index", "Highest index applied", &gauges.applied_index),
            ("checkpoint_index", "Index that the checkpoint on disk reaches", &gauges.checkpoint_index),
            ("snapshot_index", "Index of the last snapshot", &gauges.snapshot_index),
            ("log_bytes", "Raft log on disk", &gauges.log_bytes),
            ("checkpoint_bytes", "Checkpoint on disk", &gauges.checkpoint_bytes),
            ("overlay_bytes", "State in memory that is not in the checkpoint yet", &gauges.overlay_bytes),
            ("machine_version", "What apply does is selected by this", &gauges.machine_version),
        ];
        for (name, help, gauge) in listed {
            registry.register(name, help, gauge.clone());
        }
        let counter = |registry: &mut Registry, name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let answered =
            counter(&mut registry, "answered_commands", "Commands applied and answered here as leader");
        let events = counter(&mut registry, "events", "Events that applied entries made");
        let commands = counter(&mut registry, "submitted_commands", "Commands that gateways submitted here");
        let refused_not_leader =
            counter(&mut registry, "refused_not_leader_commands", "Commands refused: another replica leads");
        let refused_overloaded = counter(
            &mut registry,
            "refused_overloaded_commands",
            "Commands refused: the checkpoint is behind",
        );
        let disagreements =
            counter(&mut registry, "disagreements", "Times another replica had another state at one index");
        let feeds = Gauge::default();
        registry.register("feeds", "Open feeds", feeds.clone());
        let signals = counter(&mut registry, "signals", "Signals of gateways taken here and relayed");
        let help = "Signals not admitted, or dropped for want of room";
        let signals_dropped = counter(&mut registry, "dropped_signals", help);
        let storage = Arc::new(Storage::default());
        storage.register(&mut registry);
        let chunks = Arc::new(Chunks::default());
        chunks.register(&mut registry);
        let searching = Arc::new(Searching::default());
        searching.register(&mut registry);
        Self {
            registry: Arc::new(registry),
            gauges,
            answered,
            events,
            commands,
            refused_not_leader,
            refused_overloaded,
            disagreements,
            feeds,
            signals,
            signals_dropped,
            storage,
            chunks,
            searching,
        }
    }
}

impl Metrics {
    /// A batch was applied.
    pub fn applied(&self, answered: usize, events: usize) {
        self.answered.inc_by(answered as u64);
        self.events.inc_by(events as u64);
    }

    /// A gateway submitted commands.
    pub fn submitted(&self, commands: usize) {
        self.commands.inc_by(commands as u64);
    }

    /// Commands were refused because another replica leads.
    pub fn refused_not_leader(&self, commands: usize) {
        self.refused_not_leader.inc_by(commands as u64);
    }

    /// Commands were refused because the checkpoint is behind.
    pub fn refused_overloaded(&self, commands: usize) {
        self.refused_overloaded.inc_by(commands as u64);
    }

    /// Another replica has another state at one index.
    pub fn disagreed(&self) {
        self.disagreements.inc();
    }

    /// How often that was so.
    pub fn disagreements(&self) -> u64 {
        self.disagreements.get()
    }

    /// A feed was opened (1) or has ended (-1).
    pub fn feeds(&self, change: i64) {
        self.feeds.inc_by(change);
    }

    /// Signals of a gateway were taken.
    pub fn signals(&self, count: usize) {
        self.signals.inc_by(count as u64);
    }

    /// Signals were not admitted, or there was no room for them.
    pub fn signals_dropped(&self, count: usize) {
        self.signals_dropped.inc_by(count as u64);
    }

    /// A chunk of an upload is on this disk.
    pub fn file_chunk_kept(&self, bytes: usize) {
        self.chunks.received.inc_by(bytes as u64);
    }

    /// A chunk that was missing was fetched.
    pub fn file_chunk_repaired(&self) {
        self.chunks.repaired.inc();
    }

    /// A chunk was not what its name says.
    pub fn file_chunk_damaged(&self) {
        self.chunks.damaged.inc();
    }

    /// Chunks that nobody needs were removed.
    pub fn file_chunks_removed(&self, chunks: u64) {
        self.chunks.removed.inc_by(chunks);
    }

    /// So many chunks are missing and could not be had.
    pub fn file_chunks_missing(&self, chunks: u64) {
        self.chunks.missing.set(i64::try_from(chunks).unwrap_or(i64::MAX));
    }

    /// A snapshot was built and is durable.
    pub fn snapshot_built(&self, bytes: u64, took: Duration) {
        self.storage.snapshot_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.storage.snapshot_build_seconds.observe(took.as_secs_f64());
    }

    /// A received snapshot has replaced the state.
    pub fn snapshot_installed(&self) {
        self.storage.snapshots_installed.inc();
    }

    /// So much of a snapshot of `total` bytes has been received; 0 of 0 when none is any more.
    pub fn snapshot_received(&self, bytes: u64, total: u64) {
        self.storage.snapshot_received_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.storage.snapshot_receiving_bytes.set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    /// Bytes received, and bytes in all, of the snapshot that is being received.
    pub fn snapshot_progress(&self) -> (u64, u64) {
        let of = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        (of(&self.storage.snapshot_received_bytes), of(&self.storage.snapshot_receiving_bytes))
    }

    /// So many messages can be found.
    pub fn search_documents(&self, documents: u64) {
        self.searching.documents.set(i64::try_from(documents).unwrap_or(i64::MAX));
    }

    /// Every message up to this index can be found.
    pub fn search_reached(&self, index: u64) {
        self.searching.indexed_index.set(i64::try_from(index).unwrap_or(i64::MAX));
    }

    /// The search index is made anew.
    pub fn search_rebuilt(&self) {
        self.searching.rebuilds.inc();
    }

    /// How often that was so since the start.
    pub fn search_rebuilds(&self) -> u64 {
        self.searching.rebuilds.get()
    }

    /// Changes of the search index were written.
    pub fn search_committed(&self, took: Duration) {
        self.searching.commit_seconds.observe(took.as_secs_f64());
    }

    /// A search was answered.
    pub fn searched(&self, took: Duration) {
        self.searching.seconds.observe(took.as_secs_f64());
    }

    /// Whether the disk is nearly full.
    pub fn storage_low(&self, low: bool) {
        self.storage.storage_low.set(i64::from(low));
    }

    /// Files of the log were removed after a purge.
    pub fn log_purged(&self, segments: u64) {
        self.storage.log_purged_segments.inc_by(segments);
    }

    /// What the log's writer has done since the start.
    pub fn log(&self, log: &LogFigures) {
        let storage = &self.storage;
        storage.log_written_bytes.inner().store(log.written_bytes, Ordering::Relaxed);
        storage.log_syncs.inner().store(log.syncs, Ordering::Relaxed);
        storage.log_sync_seconds.inner().store(log.sync_time.as_secs_f64().to_bits(), Ordering::Relaxed);
        storage.log_sync_p99_seconds.set(log.sync_p99.as_secs_f64());
        storage.log_segments.set(i64::try_from(log.segments).unwrap_or(i64::MAX));
    }

    /// The text that `/metrics` answers, in the OpenMetrics format.
    pub fn render(&self, status: &StatusResponse, log: u64, checkpoint: u64, overlay: usize) -> String {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.gauges.is_leader, u64::from(status.role == "leader"));
        set(&self.gauges.term, status.term);
        set(&self.gauges.last_log_index, status.last_log_index);
        set(&self.gauges.commit_index, status.commit_index);
        set(&self.gauges.applied_index, status.applied_index);
        set(&self.gauges.checkpoint_index, status.checkpoint_index);
        set(&self.gauges.snapshot_index, status.snapshot_index);
        set(&self.gauges.log_bytes, log);
        set(&self.gauges.checkpoint_bytes, checkpoint);
        set(&self.gauges.overlay_bytes, overlay as u64);
        set(&self.gauges.machine_version, status.machine_version.into());
        let searching = &self.searching;
        searching.lag_entries.set((self.gauges.applied_index.get() - searching.indexed_index.get()).max(0));
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# cannot encode: {error}\n"),
        }
    }
}

/// What the log's writer has done since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogFigures {
    /// Bytes written.
    pub written_bytes: u64,
    /// Writes that were asked for; several share one sync.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Time in syncs, all together.
    pub sync_time: Duration,
    /// 99 of 100 syncs took at most this.
    pub sync_p99: Duration,
    /// Files.
    pub segments: u64,
}
