//! Who somebody is: passwords, accounts, access tokens.
//!
//! Owns everything that touches a secret. Only the PHC string of a password and the hash of a refresh secret ever leave
//! this process; the replicas sign access tokens, this module checks them.

mod accounts;
mod api_token;
mod common;
mod exchange;
mod passwords;
mod secret;
mod tokens;

pub use accounts::{Accounts, Grant, read_only, reset_hash};
pub use api_token::ApiToken;
#[cfg(test)]
pub(crate) use passwords::phc_for_tests;
pub use tokens::{Identity, TokenError, TokenVerifier};
