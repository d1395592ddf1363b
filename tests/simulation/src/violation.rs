//! What may be wrong with a run, by kind: a planted bug must be found by a kind that fits it.

use std::fmt;

use quorate_tests::oracle;

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// One word; those of the oracle have its names.
    pub kind: String,
    pub text: String,
}

/// Two replicas have another running hash at one index.
pub const DIFFER: &str = "Differ";
/// A replica forgot a term that it had taken part in.
pub const TERM_BACK: &str = "TermBack";
/// A replica ended although nobody asked it to.
pub const ENDED: &str = "Ended";
/// A replica found that its disk lacks what it had acknowledged.
pub const ENDED_OLD: &str = "EndedOld";
/// A replica found that what it stored does not add up to its state's sum, or that a majority has another state.
pub const ENDED_WRONG: &str = "EndedWrong";
pub const PANICKED: &str = "Panicked";
/// Something did not come to pass in time, although everything was healed.
pub const STUCK: &str = "Stuck";
/// A linearizable read was older than what somebody had seen before.
pub const STALE_READ: &str = "StaleRead";
/// The same command was answered otherwise than the first time.
pub const REPLAY: &str = "Replay";
/// What is allowed was refused.
pub const REFUSED: &str = "Refused";
/// A replica that had applied an index did not know what belongs to it.
pub const KNOWS_LESS: &str = "KnowsLess";
/// Two runs of one seed were not the same.
pub const NOT_REPLAYED: &str = "NotReplayed";
/// The simulation itself cannot go on.
pub const BROKEN: &str = "Broken";

impl Violation {
    pub fn new(kind: &str, text: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), text: text.into() }
    }

    /// A replica that has ended, by its reason.
    pub fn ended(id: u64, at_ms: u64, reason: &str) -> Self {
        let kind = if reason.contains("is older than what") {
            ENDED_OLD
        } else if reason.contains("does not add up") || reason.contains("and a majority has") {
            ENDED_WRONG
        } else {
            ENDED
        };
        Self::new(kind, format!("at {at_ms} ms: replica {id} {reason}"))
    }
}

impl From<&oracle::Violation> for Violation {
    fn from(found: &oracle::Violation) -> Self {
        let text = found.to_string();
        let kind = text.split(' ').next().unwrap_or_default().to_owned();
        Self { kind, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind, self.text)
    }
}
