//! Bugs planted on purpose, for the tests that show that the checks are alive. Nothing of this is in the product.
//!
//! Without the feature `planted-bugs` [`is`] is a constant `false` and every branch behind it is removed. With it (the
//! simulation alone is built so) the environment variable `QUORATE_PLANTED_BUG` names the one bug that is there.

/// A mistake that a replica could make, and that the tests must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted-bugs"), allow(dead_code, reason = "named in the product, made by nobody"))]
pub enum Bug {
    /// An append is acknowledged before it is on disk.
    AckBeforeFsync,
    /// A vote is not synced: after a power cut it is forgotten.
    VoteNotSynced,
    /// Followers say that they hold what they did not write: the leader commits alone.
    SkipQuorum,
    /// The memory of command ids is never asked.
    DropDedup,
    /// A linearizable read is answered from the local state, without asking a quorum.
    StaleRead,
    /// Catching up begins one event too late.
    ResumeOffByOne,
    /// The first command after a restart is applied twice.
    ApplyTwice,
    /// A feed drops one event in [`FEED_SKIPS_ONE_IN`].
    FeedSkips,
    /// Replica 3 stores other texts than were sent, and the running hash looks at no write.
    HashIgnoresField,
    /// A snapshot lacks one pair in [`SNAPSHOT_MISSES_ONE_IN`].
    SnapshotMissesKey,
}

/// See [`Bug::FeedSkips`].
pub const FEED_SKIPS_ONE_IN: u64 = 40;
/// See [`Bug::SnapshotMissesKey`].
pub const SNAPSHOT_MISSES_ONE_IN: usize = 20;

/// Whether this bug is planted in this process.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// Tells this module which replica runs here.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn this_is_replica(_id: u64) {}

/// Whether this replica runs here.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn on_replica(_id: u64) -> bool {
    false
}

/// [`Bug::HashIgnoresField`]: another text than was sent.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn alter_messages(_writes: &mut crate::store::Writes) {}

#[cfg(feature = "planted-bugs")]
pub use chosen::{alter_messages, check_name, is, on_replica, this_is_replica};

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use prost::Message as _;

    use super::Bug;
    use crate::machine::records::StoredMessage;
    use crate::store::{Space, Writes};

    const NAMES: &[(&str, Bug)] = &[
        ("ack_before_fsync", Bug::AckBeforeFsync),
        ("vote_not_synced", Bug::VoteNotSynced),
        ("skip_quorum", Bug::SkipQuorum),
        ("drop_dedup", Bug::DropDedup),
        ("stale_read", Bug::StaleRead),
        ("resume_off_by_one", Bug::ResumeOffByOne),
        ("apply_twice", Bug::ApplyTwice),
        ("feed_skips", Bug::FeedSkips),
        ("hash_ignores_field", Bug::HashIgnoresField),
        ("snapshot_misses_key", Bug::SnapshotMissesKey),
    ];

    static PLANTED: LazyLock<Option<Bug>> =
        LazyLock::new(|| named(&std::env::var("QUORATE_PLANTED_BUG").ok()?));

    fn named(name: &str) -> Option<Bug> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug)
    }

    /// Whether this bug is planted in this process.
    pub fn is(bug: Bug) -> bool {
        *PLANTED == Some(bug)
    }

    static REPLICA: AtomicU64 = AtomicU64::new(0);

    /// See the other one of this name.
    pub fn this_is_replica(id: u64) {
        REPLICA.store(id, Ordering::Relaxed);
    }

    /// Whether this replica runs here.
    pub fn on_replica(id: u64) -> bool {
        #[cfg(feature = "simulation")]
        if let Some(host) = crate::simulation::host_id() {
            return host == id;
        }
        REPLICA.load(Ordering::Relaxed) == id
    }

    /// Gives every written message another text.
    pub fn alter_messages(writes: &mut Writes) {
        for (key, value) in writes.iter_mut() {
            let Some(bytes) =
                value.as_ref().filter(|_| key.as_bytes().first() == Some(&(Space::Messages as u8)))
            else {
                continue;
            };
            if let Ok(mut message) = StoredMessage::decode(bytes.clone()) {
                message.text = message.text.to_uppercase();
                *value = Some(message.encode_to_vec().into());
            }
        }
    }

    /// The bug that the environment names, for a program to say so first.
    ///
    /// # Errors
    /// One line, when it names one that does not exist: a test that plants nothing would prove nothing.
    pub fn check_name() -> Result<Option<String>, String> {
        let Ok(name) = std::env::var("QUORATE_PLANTED_BUG") else { return Ok(None) };
        if named(&name).is_some() {
            return Ok(Some(name));
        }
        let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
        Err(format!("QUORATE_PLANTED_BUG={name} is not known: use one of {}", known.join(", ")))
    }
}
