//! A checkpoint that is not written any more.
//!
//! Acks do not wait for the checkpoint, so a replica whose log is written and whose checkpoint stands still looks well until memory or
//! disk is full. Such is a disk that answers one file and not another, and sled when it waits for a write that failed unheard (its
//! `exit_reservation` notes the error and wakes nobody). A start reads the disk again.

use std::path::Path;

/// Looks, one a second, that may see the same batch. They are counted instead of time, so that a process that was stopped and goes on
/// has all of them left. The largest batch, 256 MiB, takes a minute on a disk that writes 4 MB/s.
const LOOKS_MAX: u32 = 300;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stall {
    batch: Option<u64>,
    looks: u32,
}

impl Stall {
    /// Looks at the number of the batch under way; whether it is one that has been seen too often.
    pub(super) fn look(&mut self, batch: Option<u64>) -> bool {
        if batch.is_none() || batch != self.batch {
            *self = Self { batch, looks: 0 };
        }
        self.looks += u32::from(batch.is_some());
        self.looks > LOOKS_MAX
    }
}

/// What an operator is told.
pub(super) fn stalled(dir: &Path) -> String {
    format!(
        "the checkpoint under {} has not been written for {LOOKS_MAX} s: check the disk and start this replica again, it recovers by \
         itself",
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_batch_that_stays_is_a_stall() {
        let mut stall = Stall::default();
        assert!((0..1_000).all(|_| !stall.look(None)));
        assert!((0..1_000).all(|number| !stall.look(Some(number))), "one after the other");
        assert!((1..LOOKS_MAX).all(|_| !stall.look(Some(999))));
        assert!(stall.look(Some(999)));
        assert!(!stall.look(None), "it was written after all");
    }
}
