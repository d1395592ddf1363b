//! People: profiles, blocked users, and ways back into an account.

use serde::{Deserialize, Serialize};

use crate::frame::{NewAvatar, User};
use crate::ids::Index;

/// A user's profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserProfile {
    /// Who.
    pub user: User,
    /// Her status text; perhaps empty.
    pub status: String,
    /// Log time of her sign-up, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// When she was last there, log time to the minute, ms; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
    /// She is an admin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// The caller has blocked her.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// Recovery codes that are left; of the caller's own profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_codes: Option<u32>,
    /// The state that was read.
    pub as_of_index: Index,
}

/// A change of the caller's own profile; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProfileChange {
    /// 1 to 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Up to 100 characters; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A file of her own, an image with a thumbnail; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<NewAvatar>,
}

/// Ends the caller's account for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeleteAccount {
    /// The present password.
    pub password: String,
}

/// Another password for who has lost hers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ResetPassword {
    /// The user name.
    pub name: String,
    /// What an admin gave her, or one of her recovery codes; good once.
    pub secret: String,
    /// See [`crate::text::check_password`].
    pub new_password: String,
}

/// The caller's recovery codes, in place of earlier ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewRecoveryCodes {
    /// The present password: whoever has only a session must not make herself a way back in.
    pub password: String,
    /// At most 10; each 22 to 64 letters, digits, dashes or underscores, drawn at random by the caller, who shows them before she
    /// sends them: a retry sends the same. The servers keep hashes of them.
    pub codes: Vec<String>,
}
