//! How a run that came to nothing ends: one line that says what to do, and an exit code that scripts can tell apart.

use std::fmt;

use crate::clean;

/// Why, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// 1: the server refused, or this machine could not.
    Refused,
    /// 2: the command line or a file that it names is wrong.
    Usage,
    /// 3: nobody is signed in, or name and password do not fit.
    SignedOut,
    /// 4: no answer in time. What was to be sent may have been.
    Unreachable,
}

impl Why {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Why::Refused => 1,
            Why::Usage => 2,
            Why::SignedOut => 3,
            Why::Unreachable => 4,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which kind.
    pub why: Why,
    /// For the person: what went wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }

    /// The command line, or what it names.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Why::Usage, message)
    }

    /// The server's no, or this machine's.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Why::Refused, message)
    }

    /// Nobody is signed in.
    pub fn signed_out() -> Self {
        Self::new(Why::SignedOut, "Nobody is signed in here. Run `quorate --sign-in --name NAME` first.")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&clean::line(&self.message))
    }
}

impl std::error::Error for Failure {}

/// What most of this program gives.
pub type Result<T> = std::result::Result<T, Failure>;
