//! The two numbers that a client keeps of the log: where it resumes from, and what it has seen.
//!
//! **position** is the highest index all of whose events were delivered. One entry can make several events, so an event
//! at j completes every index before j, never j itself; a ping at i completes i. An ack never moves it: an ack says that
//! one message is in the log, not that everything before it arrived here.
//!
//! **seen** is the highest index of any ack or event: what this client reads next must not be older.

use quorate_proto::ids::Index;

/// Where a client stands in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Everything up to here was delivered.
    complete: Index,
    /// The newest index of which something was delivered on this socket; perhaps not all of it.
    newest: Index,
    seen: Index,
}

impl Position {
    /// A fresh start: the summaries say everything up to `index`.
    pub fn start(&mut self, index: Index) {
        *self = Self { complete: index, newest: index, seen: self.seen.max(index) };
    }

    /// A new socket goes on from the position; what was half delivered on the old one comes again.
    pub fn resume(&mut self) {
        self.newest = self.complete;
    }

    /// A pushed event at `index`: everything before it is complete.
    pub fn event(&mut self, index: Index) {
        if index > self.newest {
            self.complete = self.complete.max(self.newest);
            self.newest = index;
        }
        self.seen = self.seen.max(index);
    }

    /// The server says that everything up to `index` was delivered on this socket.
    pub fn ping(&mut self, index: Index) {
        self.complete = self.complete.max(index);
        self.newest = self.newest.max(index);
    }

    /// An ack, or an event that came as an answer.
    pub fn saw(&mut self, index: Index) {
        self.seen = self.seen.max(index);
    }

    /// What to resume from.
    pub fn position(&self) -> Index {
        self.complete
    }

    /// What reads must not be older than.
    pub fn seen(&self) -> Index {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_completes_the_index_before_it_and_a_ping_its_own() {
        let mut position = Position::default();
        position.start(10);
        position.event(12);
        assert_eq!(position.position(), 10, "12 may have more events");
        position.event(12);
        position.event(15);
        assert_eq!(position.position(), 12);
        position.ping(15);
        assert_eq!(position.position(), 15);
        position.ping(14);
        assert_eq!(position.position(), 15, "never back");
    }

    #[test]
    fn an_ack_moves_seen_and_never_the_position() {
        let mut position = Position::default();
        position.start(10);
        position.saw(99);
        assert_eq!((position.position(), position.seen()), (10, 99));
        position.event(11);
        position.event(12);
        assert_eq!((position.position(), position.seen()), (11, 99));
    }

    #[test]
    fn half_an_index_does_not_count_on_the_next_socket() {
        let mut position = Position::default();
        position.start(10);
        position.event(12);
        position.resume();
        // The first half of 12 was delivered on the old socket; the new one begins with 12 again.
        position.event(12);
        assert_eq!(position.position(), 10);
        position.event(13);
        assert_eq!(position.position(), 12);
    }
}
