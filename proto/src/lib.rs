//! The contract: every message that crosses a process, and the limits and words that both ends share.
//!
//! This crate owns shapes, limits and error codes. It knows nobody: no socket, no clock, no storage.
//!
//! ```text
//!  browser ──frame (JSON)── gateway ──rpc (protobuf)── replica ──rpc (protobuf)── replica
//! ```
//!
//! The specification of the browser protocol in prose is `proto/PROTOCOL.md`.

pub mod error;
pub mod files;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod query;
#[cfg(feature = "grpc")]
pub mod reason;
pub mod rest;
#[cfg(feature = "schema")]
pub mod schema;
pub mod text;
pub mod token;
pub mod trace;

/// Messages and services between processes, generated from `quorate/v1/*.proto`.
#[cfg(feature = "grpc")]
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
pub mod rpc {
    tonic::include_proto!("quorate.v1");
}

/// gRPC metadata key that carries the cluster id on every call between processes.
pub const CLUSTER_METADATA: &str = "quorate-cluster";

/// gRPC metadata key that carries the calling replica's id on calls between replicas.
pub const NODE_METADATA: &str = "quorate-node";

/// gRPC metadata key that carries the id of the replica that a call is meant for, on calls between replicas: an address may
/// belong to another replica by now.
pub const TARGET_METADATA: &str = "quorate-target";

/// WebSocket subprotocol of version 1.
pub const SUBPROTOCOL: &str = "quorate.v1.json";
