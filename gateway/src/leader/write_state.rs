//! Whether writes are possible: a small pure machine fed by the actor.

use std::time::{Duration, Instant};

use quorate_proto::frame::{Status, WriteState};

/// A change of leader shorter than this is nobody's business.
const ELECTING_AFTER: Duration = Duration::from_millis(100);
/// An election takes less than this; when it takes longer a majority is missing.
const NO_QUORUM_AFTER: Duration = Duration::from_millis(3_000);

/// The write path as sessions show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteStatus {
    /// Up, electing or no quorum.
    pub state: WriteState,
    /// When it stopped being up, or became so.
    pub since: Instant,
    /// The leading replica's id, if known.
    pub leader: Option<u64>,
}

impl WriteStatus {
    pub(super) fn starting(now: Instant) -> Self {
        Self { state: WriteState::Electing, since: now, leader: None }
    }

    /// As a frame says it.
    pub fn frame(&self, now: Instant) -> Status {
        let since_ms = match self.state {
            WriteState::Up => 0,
            _ => u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX),
        };
        Status { write: self.state, since_ms, leader: self.leader }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct WritePath {
    status: WriteStatus,
    down_since: Option<Instant>,
}

impl WritePath {
    pub(super) fn new(now: Instant) -> Self {
        Self { status: WriteStatus::starting(now), down_since: Some(now) }
    }

    /// A leader showed that a quorum follows it.
    pub(super) fn proven(&mut self, now: Instant, leader: Option<u64>) -> Option<WriteStatus> {
        self.down_since = None;
        if self.status.state == WriteState::Up && self.status.leader == leader {
            return None;
        }
        self.status = WriteStatus { state: WriteState::Up, since: now, leader };
        Some(self.status)
    }

    /// The leader is lost or answers nothing.
    pub(super) fn doubted(&mut self, now: Instant) {
        self.down_since.get_or_insert(now);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.down_since.is_none()
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Instant) -> Option<WriteStatus> {
        let since = self.down_since?;
        let down = now.saturating_duration_since(since);
        let state = if down >= NO_QUORUM_AFTER {
            WriteState::NoQuorum
        } else if down >= ELECTING_AFTER {
            WriteState::Electing
        } else {
            return None;
        };
        if self.status.state == state {
            return None;
        }
        self.status = WriteStatus { state, since, leader: None };
        Some(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn electing_turns_into_no_quorum_and_back_to_up() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut path = WritePath::new(start);
        assert_eq!(path.proven(at(10), Some(1)).map(|s| s.state), Some(WriteState::Up));
        path.doubted(at(1_000));
        assert_eq!(path.tick(at(1_050)), None, "a short change of leader is not shown");
        assert_eq!(path.tick(at(1_100)).map(|s| s.state), Some(WriteState::Electing));
        path.doubted(at(2_000));
        assert_eq!(path.tick(at(3_999)), None);
        let status = path.tick(at(4_000)).unwrap();
        assert_eq!((status.state, status.frame(at(4_000)).since_ms), (WriteState::NoQuorum, 3_000));
        assert_eq!(path.proven(at(5_000), Some(2)).map(|s| s.state), Some(WriteState::Up));
        assert_eq!(path.tick(at(9_000)), None);
    }
}
