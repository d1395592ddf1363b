//! A Quorate cluster on one machine: replicas, gateways and a balancer as real processes.
//!
//! Owns which processes there are, their ports, files and life. Must not know what they say to each other beyond two
//! questions: `Admin.Status` of a replica and `/readyz`, `/statusz` of a gateway. The tests use it as a library, people
//! through `deploy/up`; both drive the same code. [`demo`] stands above it: a user of the whole like any other.
//!
//! ```text
//!  Spec ──▶ Cluster ──▶ process (spawn, signal, reap)      <data-dir>/cluster.json  who runs where, for people and tools
//!              │                                           <data-dir>/runner.json   the same with start times, for us
//!              └──▶ status (ask everybody at one index)    <data-dir>/config, logs, replica-N
//! ```

mod cluster;
mod config;
pub mod demo;
pub mod error;
pub mod http;
mod layout;
mod ports;
pub mod process;
mod roster;
mod spec;
mod state;
pub mod status;
pub mod tls;
mod wait;

pub use cluster::Cluster;
pub use error::Error;
pub use layout::Layout;
pub use ports::{PortPlan, PortRange};
pub use spec::{Balancer, Binaries, Host, Ports, Spec};
pub use state::{Member, ProcessRow, RunnerState};
pub use wait::wait_until;
