//! Error codes of the browser protocol, with what each says about what happened and what the client should do.

use serde::{Deserialize, Serialize};

/// How certain we are about the effect of a failed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Surely not applied; trying again may succeed.
    NotApplied,
    /// Decided and refused, the same on every replica; trying the same again gives the same.
    Rejected,
    /// Perhaps applied: ask again with the same client message id.
    Unknown,
}

/// What went wrong, as a word on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame or body is not of the expected shape.
    Malformed,
    /// The frame's type is not known here.
    Unsupported,
    /// A field's value is not allowed; the message says which.
    Invalid,
    /// Too long or too many.
    TooLarge,
    /// No valid token, or wrong name or password.
    Unauthenticated,
    /// The user may not do this.
    Forbidden,
    /// There is no such thing, or it is not the user's to see.
    NotFound,
    /// The name is taken.
    NameTaken,
    /// The client message id was used before with another body.
    IdConflict,
    /// What was to be changed has been changed meanwhile: the error says its revision.
    Conflict,
    /// First sent more than 72 h of log time ago: its id may have been forgotten, so it must not be tried.
    Expired,
    /// Too many in too short a time.
    RateLimited,
    /// The replica tier is too busy just now.
    Overloaded,
    /// No leader answered in time.
    Unavailable,
    /// A defect of the server; nothing was changed, or the fate is unknown.
    Internal,
}

/// One row of the table that maps a code to everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRow {
    /// The code.
    pub code: ErrorCode,
    /// The word on the wire.
    pub word: &'static str,
    /// What is known about the effect.
    pub certainty: Certainty,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// HTTP status of the REST interface (RFC 9110).
    pub http_status: u16,
    /// gRPC status code by number (grpc.io, statuscodes.md).
    pub grpc_code: i32,
}

/// Wire code ↔ HTTP ↔ gRPC ↔ certainty ↔ retry: the one table.
pub const ERRORS: [ErrorRow; 15] = {
    use Certainty::{NotApplied, Rejected, Unknown};
    const fn row(
        code: ErrorCode,
        word: &'static str,
        certainty: Certainty,
        temporary: bool,
        http_status: u16,
        grpc_code: i32,
    ) -> ErrorRow {
        ErrorRow { code, word, certainty, temporary, http_status, grpc_code }
    }
    [
        row(ErrorCode::Malformed, "malformed", NotApplied, false, 400, 3),
        row(ErrorCode::Unsupported, "unsupported", NotApplied, false, 400, 12),
        row(ErrorCode::Invalid, "invalid", Rejected, false, 422, 3),
        row(ErrorCode::TooLarge, "too_large", NotApplied, false, 413, 11),
        row(ErrorCode::Unauthenticated, "unauthenticated", NotApplied, false, 401, 16),
        row(ErrorCode::Forbidden, "forbidden", Rejected, false, 403, 7),
        row(ErrorCode::NotFound, "not_found", Rejected, false, 404, 5),
        row(ErrorCode::NameTaken, "name_taken", Rejected, false, 409, 6),
        row(ErrorCode::IdConflict, "id_conflict", Rejected, false, 409, 6),
        row(ErrorCode::Conflict, "conflict", Rejected, false, 409, 10),
        row(ErrorCode::Expired, "expired", Rejected, false, 410, 9),
        row(ErrorCode::RateLimited, "rate_limited", NotApplied, true, 429, 8),
        row(ErrorCode::Overloaded, "overloaded", NotApplied, true, 503, 8),
        row(ErrorCode::Unavailable, "unavailable", Unknown, true, 503, 14),
        row(ErrorCode::Internal, "internal", Unknown, true, 500, 13),
    ]
};

impl ErrorCode {
    /// The code's row in [`ERRORS`].
    pub fn row(self) -> &'static ErrorRow {
        // The table is in declaration order; the test below holds it to that.
        &ERRORS[self as usize]
    }

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The code for a word; a word from a newer peer that is not known here reads as `internal`.
    pub fn from_word(word: &str) -> Self {
        ERRORS.iter().find(|row| row.word == word).map_or(ErrorCode::Internal, |row| row.code)
    }
}

/// An error as it travels to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WireError {
    /// What went wrong.
    pub code: ErrorCode,
    /// In words, for a person: what was wrong and what to do.
    pub message: String,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// When to try again, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
    /// With `conflict`: the revision that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

impl WireError {
    /// An error with the table's word on whether it is temporary.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            temporary: code.row().temporary,
            retry_ms: None,
            revision: None,
        }
    }

    /// The same, with the revision that is there.
    #[must_use]
    pub fn at_revision(mut self, revision: Option<u64>) -> Self {
        self.revision = revision;
        self
    }

    /// The same, with a time to wait before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, retry_ms: u64) -> Self {
        self.retry_ms = Some(retry_ms);
        self
    }
}

/// Close codes: the second digit says what to do. 41xx resume, 42xx connect without resume, 44xx stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "the names are the protocol's words")]
pub enum CloseCode {
    Drained = 4100,
    SlowConsumer = 4101,
    PositionInvalid = 4102,
    NoPong = 4103,
    Internal = 4104,
    TooManyRequests = 4105,
    TokenExpired = 4106,
    ResumeRefused = 4200,
    Malformed = 4400,
    BadToken = 4401,
    Revoked = 4403,
    NoHello = 4408,
    TooManySockets = 4409,
    FrameTooLarge = 4413,
    VersionUnsupported = 4426,
}

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// Connect again and resume.
    Resume,
    /// Connect again, without resume.
    Restart,
    /// Get a fresh token first, then resume.
    Refresh,
    /// Stay away: a person must act.
    Stop,
}

/// What a client does after a close with this code; codes it does not know read as "resume".
pub fn after_close(code: u16) -> AfterClose {
    match code {
        4106 => AfterClose::Refresh,
        4401 => AfterClose::Refresh,
        4200..=4299 => AfterClose::Restart,
        4400..=4499 => AfterClose::Stop,
        _ => AfterClose::Resume,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_table_is_total_and_in_order() {
        for (at, row) in ERRORS.iter().enumerate() {
            assert_eq!(row.code as usize, at, "row {} stands in the wrong place", row.word);
            assert_eq!(ErrorCode::from_word(row.word), row.code);
            let json = serde_json::to_string(&row.code).expect("a unit variant serializes");
            assert_eq!(json, format!("\"{}\"", row.word));
            assert!(!(row.certainty == Certainty::Rejected && row.temporary), "{}", row.word);
        }
    }

    #[test]
    fn close_codes_say_what_to_do() {
        assert_eq!(after_close(4100), AfterClose::Resume);
        assert_eq!(after_close(4106), AfterClose::Refresh);
        assert_eq!(after_close(4200), AfterClose::Restart);
        assert_eq!(after_close(4403), AfterClose::Stop);
        assert_eq!(after_close(1006), AfterClose::Resume);
    }
}
