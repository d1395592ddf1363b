//! Bodies of the REST interface beside the socket. All under `/api/v1`, JSON, errors as problem details (RFC 9457).
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /accounts` | [`SignUp`] | 201 [`SessionGrant`] and the refresh cookie |
//! | `POST /sessions` | [`SignIn`] | 201 [`SessionGrant`] and the refresh cookie |
//! | `POST /sessions/refresh` | none, the cookie | 200 [`SessionGrant`] |
//! | `DELETE /sessions/current` | none, bearer token | 204, the cookie is cleared |
//! | `GET /users?pattern=al*&limit=20` | bearer token | 200 [`Directory`] |
//! | `GET /conversations/{id}/messages?before=&after=&around=&limit=` | bearer token | 200 a `page` frame's body |

use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::frame::User;
use crate::ids::Index;

/// Name of the refresh cookie: `HttpOnly; SameSite=Strict; Path=/api/v1/sessions`. Value: `<session uuid>.<secret, base64url>`.
pub const REFRESH_COOKIE: &str = "quorate_refresh";

/// A new account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignUp {
    /// See [`crate::text::canonical_name`].
    pub name: String,
    /// See [`crate::text::check_password`].
    pub password: String,
    /// Shown to others; the name when absent.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What the user would call this device.
    #[serde(default)]
    pub device: Option<String>,
}

/// A sign-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignIn {
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
    /// What the user would call this device.
    #[serde(default)]
    pub device: Option<String>,
}

/// A session begun or refreshed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGrant {
    /// Who signed in.
    pub user: User,
    /// The session's id, a UUID.
    pub session: String,
    /// For `hello` and for `Authorization: Bearer`.
    pub access_token: String,
    /// When the token ends, ms since the Unix epoch.
    pub expires_at: u64,
    /// Log index of what was written, or of the state that was read.
    pub index: Index,
}

/// Users found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// In order of name.
    pub users: Vec<User>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// An error of the REST interface: problem details (RFC 9457) with the protocol's own error beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// The code's word.
    pub title: String,
    /// In words, for a person.
    pub detail: String,
    /// As in the `error` frame.
    pub error: WireError,
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        let row = error.code.row();
        Self { status: row.http_status, title: row.word.to_owned(), detail: error.message.clone(), error }
    }
}
