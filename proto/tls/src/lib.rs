//! How the processes of a cluster know each other: certificates of the cluster's own authority, with the role in them.
//!
//! Owns reading and checking of certificate files, their reload, and both ends of a connection. Must not know what is
//! said over it. Every process calls replicas and none calls anybody else, so a caller expects [`Role::Replica`] and a
//! replica asks the caller's role of every call.
//!
//! ```text
//!   caller ── channel() ── TCP ── TLS 1.3, both certificates ── incoming() ── service ── Caller::must_be(roles)
//! ```
//!
//! Beside that, the certificate that a gateway shows to browsers, who show none.

mod credentials;
mod edge;
mod link;
mod reload;
mod role;

pub use credentials::{Credentials, Files, TlsError};
pub use edge::EdgeCertificate;
pub use link::{Accepted, Caller, channel, incoming};
pub use role::Role;
