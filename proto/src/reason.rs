//! Why a replica cannot answer a call just now, as a word that programs read.
//!
//! The word travels in the metadata of an UNAVAILABLE status. A replica of a version before the word says the same by how its
//! message begins, and a gateway of that version goes by the message alone: so both are sent, and both are understood.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// gRPC metadata key of a refusal that carries a [`Reason`].
pub const REASON_METADATA: &str = "quorate-reason";

/// Why a replica cannot answer just now. Another one may, and the same one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has not reached the index asked for.
    Behind,
    /// No leader has told it, in its time, how far it must have come.
    NoLeader,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Behind, Self::NoLeader];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::NoLeader => "no_leader",
        }
    }

    /// How the message of such a refusal begins. Fixed: other versions go by it.
    fn opening(self) -> &'static str {
        match self {
            Self::Behind => "behind: ",
            Self::NoLeader => "no leader has confirmed ",
        }
    }

    /// A refusal for this reason; `rest` ends its message.
    pub fn refusal(self, rest: &str) -> Status {
        let mut status = Status::unavailable(format!("{}{rest}", self.opening()));
        status.metadata_mut().insert(REASON_METADATA, MetadataValue::from_static(self.word()));
        status
    }

    /// The reason of a refusal, by its word or, of a replica that sends none that is known here, by its message.
    pub fn of(status: &Status) -> Option<Self> {
        if status.code() != Code::Unavailable {
            return None;
        }
        let word = status.metadata().get(REASON_METADATA).and_then(|word| word.to_str().ok());
        let by_word = Self::ALL.into_iter().find(|reason| Some(reason.word()) == word);
        by_word
            .or_else(|| Self::ALL.into_iter().find(|reason| status.message().starts_with(reason.opening())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_from_this_version_and_the_one_before() {
        for reason in Reason::ALL {
            let refusal = reason.refusal("try again");
            assert_eq!(Reason::of(&refusal), Some(reason));
            let of_before = Status::unavailable(refusal.message());
            assert_eq!(Reason::of(&of_before), Some(reason), "by its message alone: {of_before}");
            let mut reworded = Status::unavailable("other words");
            reworded.metadata_mut().insert(REASON_METADATA, MetadataValue::from_static(reason.word()));
            assert_eq!(Reason::of(&reworded), Some(reason), "by its word alone");
        }
        // What replicas of the version before say, letter by letter.
        for (message, reason) in [
            ("behind: this replica has not reached the index yet", Reason::Behind),
            ("no leader has confirmed a linearizable read: try again", Reason::NoLeader),
        ] {
            assert_eq!(Reason::of(&Status::unavailable(message)), Some(reason));
            assert_eq!(Reason::of(&Status::internal(message)), None, "another code");
        }
        let mut newer = Status::unavailable("the moon is full");
        assert_eq!(Reason::of(&newer), None);
        newer.metadata_mut().insert(REASON_METADATA, MetadataValue::from_static("full_moon"));
        assert_eq!(Reason::of(&newer), None, "a word of a later version");
    }
}
