//! The first failure of storage in this process: told once, kept, and ended with by whoever runs the replica.
//!
//! Nothing is retried after it. What a failed write or sync left on disk is not known, so only a start reads it again.

use std::io;
use std::path::Path;

use tokio::sync::watch;

/// What an operator does with a replica whose disk cannot be believed.
pub const REPLACE: &str = "replace this replica: remove it from the membership and add another under a new id with an \
                           empty data directory (replica member replace)";

/// Where a failure is told and heard. Clones share it.
#[derive(Debug, Clone)]
pub struct Failure {
    line: watch::Sender<Option<String>>,
}

impl Default for Failure {
    fn default() -> Self {
        Self { line: watch::Sender::new(None) }
    }
}

impl Failure {
    /// Tells a failure in one line. Only the first counts: what follows comes from it.
    pub fn tell(&self, line: impl Into<String>) {
        let line = line.into();
        self.line.send_if_modified(|told| {
            let first = told.is_none();
            if first {
                *told = Some(line);
            }
            first
        });
    }

    /// What was told, if anything.
    pub fn told(&self) -> Option<String> {
        self.line.borrow().clone()
    }

    /// Completes when a failure has been told, with its line.
    pub async fn happened(&self) -> String {
        let mut told = self.line.subscribe();
        // The sender is ours, so the wait ends with a line.
        let line = told.wait_for(Option::is_some).await.ok().and_then(|line| line.clone());
        line.unwrap_or_default()
    }
}

/// One line about a failed write: what was attempted, which disk, and what to do.
pub fn describe(attempted: &str, place: &Path, error: &io::Error) -> String {
    let place = place.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => format!(
            "the disk under {place} is full ({attempted}): make space and start this replica again, it recovers by itself"
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "the disk under {place} has become read-only ({attempted}): make it writable and start this replica again"
        ),
        _ => format!(
            "{attempted} failed under {place}: {error}. What is on the disk is not certain, so nothing is retried: check \
             the disk, then start this replica again"
        ),
    }
}

/// One line about a failure while starting: what was attempted, where, and what to do.
pub fn describe_start(attempted: &str, place: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::ReadOnlyFilesystem => describe(attempted, place, error),
        _ => format!("{attempted} failed under {}: {error}", place.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_first_failure_counts() {
        let failure = Failure::default();
        assert_eq!(failure.told(), None);
        let heard = failure.clone();
        let heard = tokio::spawn(async move { heard.happened().await });
        failure.tell("first");
        failure.tell("second");
        assert_eq!(heard.await.expect("runs"), "first");
        assert_eq!(failure.happened().await, "first");
    }

    #[test]
    fn a_full_disk_is_named_and_says_what_to_do() {
        let full = io::Error::from_raw_os_error(28);
        let line = describe("appending to the log", Path::new("/data/log"), &full);
        assert!(line.contains("/data/log is full") && line.contains("make space"), "{line}");
        let read_only = io::Error::from_raw_os_error(30);
        assert!(describe("x", Path::new("/d"), &read_only).contains("read-only"));
        let broken = io::Error::from_raw_os_error(5);
        assert!(describe("syncing the log", Path::new("/d"), &broken).contains("nothing is retried"));
    }
}
