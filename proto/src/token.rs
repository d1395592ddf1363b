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
    /// What a token that a user made is good for: of `rpc::TokenScope`, or'ed; 0: a sign-in, which is good for everything.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub scope: u32,
    /// The one conversation that such a token is for; 0: all.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub conv: u64,
}

fn is_nothing<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
