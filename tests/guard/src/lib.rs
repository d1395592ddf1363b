//! The limits of what a message may cost, in `tests/limits.toml`; `tests/` counts and compares.

use anyhow::Context as _;
use serde::Deserialize;

/// The file.
const LIMITS: &str = include_str!("../../limits.toml");

/// What one acknowledged send may cost, and what each delivery to one more socket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// A send, one after the other, by one writer with no listener but herself.
    pub send: Send,
    /// What a delivery to one more socket adds.
    pub delivery: Delivery,
    /// Sends by many writers at once.
    pub batch: Batch,
}

/// See [`Limits::send`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Calls of the allocator, those that make something larger included.
    pub allocations: f64,
    /// Bytes asked of the allocator.
    pub allocated_bytes: f64,
    /// Syncs of the Raft log.
    pub log_syncs: f64,
    /// Bytes written to the Raft log.
    pub log_bytes: f64,
    /// Bytes to the writer: the acknowledgement and her own event.
    pub socket_bytes: f64,
}

/// See [`Limits::delivery`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Calls of the allocator.
    pub allocations: f64,
    /// Bytes asked of the allocator.
    pub allocated_bytes: f64,
    /// Bytes to the socket.
    pub socket_bytes: f64,
}

/// See [`Limits::batch`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Syncs of the Raft log for each send: what is written together is synced once.
    pub log_syncs: f64,
}

/// Reads the limits.
///
/// # Errors
/// When the file has other keys.
pub fn limits() -> anyhow::Result<Limits> {
    toml::from_str(LIMITS).context("tests/limits.toml")
}
