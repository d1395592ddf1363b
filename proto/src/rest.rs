//! Bodies of the REST interface beside the socket. All under `/api/v1`, JSON, errors as problem details (RFC 9457).
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /accounts` | [`SignUp`] | 201 [`SessionGrant`] and the refresh cookie |
//! | `POST /sessions` | [`SignIn`] | 201 [`SessionGrant`] and the refresh cookie |
//! | `POST /sessions/refresh` | none, the cookie | 200 [`SessionGrant`] |
//! | `GET /sessions` | bearer token | 200 [`Sessions`] |
//! | `DELETE /sessions` | bearer token | 204: all but this one are ended |
//! | `DELETE /sessions/{id}` | bearer token | 204 |
//! | `DELETE /sessions/current` | none, bearer token | 204, the cookie is cleared |
//! | `PUT /password` | [`NewPassword`], bearer token | 204: all other sessions are ended |
//! | `POST /admin/claim` | [`ClaimAdmin`], bearer token | 204: the caller is an admin |
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
    /// Given out while nothing could be committed: the token reads, and writes are refused until it is refreshed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The user is an admin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
}

/// A session as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// A UUID.
    pub id: String,
    /// What the user called the device.
    pub device: String,
    /// When it began, log time in ms since the Unix epoch.
    pub created: u64,
    /// When its token was last refreshed, log time in ms since the Unix epoch.
    pub refreshed: u64,
    /// It is the one that asks.
    pub current: bool,
}

/// The caller's sessions that have not ended, in order of their beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// At most [`crate::limits::SESSIONS_PER_USER_MAX`].
    pub sessions: Vec<SessionInfo>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// Another password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewPassword {
    /// The present one.
    pub password: String,
    /// See [`crate::text::check_password`].
    pub new_password: String,
}

/// What an operator was given by `replica admin offer`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimAdmin {
    /// The one-use secret.
    pub secret: String,
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
