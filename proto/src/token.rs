//! Claims of an access token: a JWT (RFC 7519) signed with Ed25519 (`alg: EdDSA`), by the replica tier, for the gateways.

use serde::{Deserialize, Serialize};

/// `iss` of every token.
pub const ISSUER: &str = "quorate";

/// The claims. `aud` is the cluster id, so that a token of one cluster is worth nothing in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// The cluster id.
    pub aud: String,
    /// The user id, as text.
    pub sub: String,
    /// The session id, a UUID.
    pub sid: String,
    /// The user name.
    pub name: String,
    /// Issued at, seconds since the Unix epoch.
    pub iat: u64,
    /// Expires at, seconds since the Unix epoch.
    pub exp: u64,
    /// It was given out while nothing could be committed: gateways take no commands with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ro: bool,
}
