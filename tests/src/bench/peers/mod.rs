//! The peers: what else keeps writes on a majority of five disks, or tells a thousand sockets at once.
//!
//! Their programs come from PyPI into a folder of the run. Each is configured as durably as Quorate is, and spoken to by a client
//! that is as small as its protocol allows, so that it is never the client that is measured.

pub mod etcd;
pub mod install;
pub mod nats;
pub mod servers;

/// Servers of each.
pub const NODES: u16 = 5;
