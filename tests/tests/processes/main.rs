//! Every test with real processes and faults, the browser's and the planted bugs apart. One program: each program of its own would
//! compile the harness's clients once more, half a minute of two cores each.
//!
//! A module is a step of `tests/all`, its tests one after the other: `cargo test … --test processes -- --test-threads=1 failover::`.

mod accounts;
mod agreement;
mod avatars_exports;
mod bad_input;
mod bench;
mod bots;
mod chat;
mod cluster;
mod cluster_api;
mod demo;
mod disks;
mod edge;
mod failover;
mod files;
mod operations;
mod partitions;
mod people;
mod search;
mod sessions;
mod terminal;
mod tls;
