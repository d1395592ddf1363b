//! What is true for a moment in one conversation: who types, who is there, and how far the others have come.
//!
//! Marks only rise, whatever order receipts, summaries and messages come in; the rest is forgotten with the connection.

use quorate_proto::frame::{MemberMarks, PresenceState, SignalKind, User};
use quorate_proto::ids::{Sequence, UserId};
use quorate_proto::limits::TYPING_MS;

use crate::ordered::OrderedMap;

/// People remembered as typing; nobody reads more names.
const TYPING_MAX: usize = 20;
/// Replicas of a cluster that are believed.
const REPLICAS_MAX: u32 = 32;

/// How far a message has come among the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// A majority of replicas keeps it.
    #[default]
    Kept,
    /// A device of each other member has it.
    Delivered,
    /// Each other member has read it.
    Read,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    read: Sequence,
    delivered: Sequence,
}

/// See the module. Times are those of [`Moment::now_ms`](crate::Moment::now_ms).
#[derive(Debug, Clone, Default)]
pub struct RoomSignals {
    marks: OrderedMap<UserId, Mark>,
    presence: OrderedMap<UserId, PresenceState>,
    typing: OrderedMap<UserId, (User, u64)>,
    /// Up to which message how many replicas have it on disk, and of how many.
    disks: OrderedMap<u32, Sequence>,
    disks_of: u32,
}

impl RoomSignals {
    /// Takes a signal; whether anything changed.
    pub fn take(&mut self, kind: SignalKind, now_ms: u64) -> bool {
        match kind {
            SignalKind::Typing { user } => {
                if self.typing.len() >= TYPING_MAX && !self.typing.contains_key(&user.id) {
                    return false;
                }
                self.typing.insert(user.id, (user, now_ms + TYPING_MS)).is_none()
            }
            SignalKind::Presence { user, state } => self.presence.insert(user, state) != Some(state),
            SignalKind::Receipt { user, read, delivered } => self.mark(user, read, delivered),
            SignalKind::Durability { sequence, replicas, of } => self.is_on_disks(sequence, replicas, of),
        }
    }

    fn is_on_disks(&mut self, sequence: Sequence, replicas: u32, of: u32) -> bool {
        if self.disks_of != of {
            // Other replicas: what was counted before says nothing of them.
            self.disks.clear();
            self.disks_of = of;
        }
        // No more numbers than replicas that vote, whatever a server says.
        if replicas > of || of > REPLICAS_MAX {
            return false;
        }
        let known = self.disks.of(replicas);
        let rises = sequence > *known;
        *known = sequence.max(*known);
        rises
    }

    /// How many replicas have a message on disk, and of how many; `None` when nobody has said.
    pub fn disks(&self, sequence: Sequence) -> Option<(u32, u32)> {
        let most = self.disks.iter().rev().find(|(_, reached)| **reached >= sequence);
        most.map(|(replicas, _)| (*replicas, self.disks_of))
    }

    /// What the server knows of all members, who are told of from now on.
    pub fn opened(&mut self, marks: &[MemberMarks]) {
        self.presence = marks.iter().map(|mark| (mark.user, mark.presence)).collect();
        self.marked(marks);
    }

    /// How far all members have come.
    pub fn marked(&mut self, marks: &[MemberMarks]) {
        for mark in marks {
            self.mark(mark.user, mark.read, mark.delivered);
        }
    }

    /// A message came: its writer types no more, and who answers has read what was there.
    pub fn wrote(&mut self, user: UserId, sequence: Sequence) {
        self.typing.remove(&user);
        self.mark(user, sequence, sequence);
    }

    fn mark(&mut self, user: UserId, read: Sequence, delivered: Sequence) -> bool {
        let mark = self.marks.of(user);
        let before = *mark;
        mark.read = mark.read.max(read);
        mark.delivered = mark.delivered.max(delivered).max(mark.read);
        *mark != before
    }

    /// Somebody is no longer a member.
    pub fn left(&mut self, user: UserId) {
        self.marks.remove(&user);
        self.presence.remove(&user);
        self.typing.remove(&user);
    }

    /// The connection is gone: what it told of this moment is no longer known. Marks stay, for they only rise.
    pub fn cut_off(&mut self) -> bool {
        let had = !self.presence.is_empty() || !self.typing.is_empty();
        self.presence.clear();
        self.typing.clear();
        had
    }

    /// Forgets who has not typed for a while; whether somebody has not.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let before = self.typing.len();
        self.typing.retain(|_, (_, until_ms)| *until_ms > now_ms);
        self.typing.len() < before
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.typing.values().map(|(_, until_ms)| *until_ms).min()
    }

    /// Who is typing, in order of their number.
    pub fn typing(&self) -> impl Iterator<Item = &User> {
        self.typing.values().map(|(user, _)| user)
    }

    /// How present a member is; unknown until the conversation was opened.
    pub fn presence(&self, user: UserId) -> PresenceState {
        self.presence.get(&user).copied().unwrap_or_default()
    }

    /// How far a message has come among all of these.
    pub fn reach(&self, others: impl Iterator<Item = UserId>, sequence: Sequence) -> Reach {
        let of = |user| {
            let mark = self.marks.get(&user).copied().unwrap_or_default();
            if mark.read >= sequence {
                Reach::Read
            } else if mark.delivered >= sequence {
                Reach::Delivered
            } else {
                Reach::Kept
            }
        };
        others.map(of).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: UserId) -> User {
        User { id, name: format!("u{id}"), ..User::default() }
    }

    #[test]
    fn typing_ends_with_the_message_or_by_itself() {
        let mut room = RoomSignals::default();
        assert!(room.take(SignalKind::Typing { user: user(2) }, 100));
        assert!(!room.take(SignalKind::Typing { user: user(2) }, 3_100), "said again it lasts longer");
        assert!(room.take(SignalKind::Typing { user: user(3) }, 3_100));
        assert!(!room.expire(6_200));
        room.wrote(3, 9);
        assert_eq!(room.typing().map(|user| user.id).collect::<Vec<_>>(), [2]);
        assert_eq!(room.deadline_ms(), Some(9_100));
        assert!(room.expire(9_100));
        assert_eq!((room.typing().count(), room.deadline_ms()), (0, None));
    }

    #[test]
    fn a_message_is_on_as_many_disks_as_was_said_of_it_or_of_a_later_one() {
        let mut room = RoomSignals::default();
        let said = |sequence, replicas| SignalKind::Durability { sequence, replicas, of: 5 };
        assert_eq!(room.disks(1), None);
        assert!(room.take(said(7, 4), 0));
        assert!(room.take(said(9, 3), 0));
        assert!(!room.take(said(6, 4), 0), "late");
        assert_eq!((room.disks(7), room.disks(8), room.disks(10)), (Some((4, 5)), Some((3, 5)), None));
        assert!(room.take(said(9, 5), 0));
        assert_eq!(room.disks(8), Some((5, 5)));
        // The cluster has other voters.
        assert!(room.take(SignalKind::Durability { sequence: 10, replicas: 2, of: 3 }, 0));
        assert_eq!((room.disks(10), room.disks(11)), (Some((2, 3)), None));
    }

    #[test]
    fn ticks_never_go_back() {
        let mut room = RoomSignals::default();
        let receipt = |user, read, delivered| SignalKind::Receipt { user, read, delivered };
        assert_eq!(room.reach([2].into_iter(), 5), Reach::Kept);
        assert!(room.take(receipt(2, 0, 5), 0));
        assert_eq!(room.reach([2].into_iter(), 5), Reach::Delivered);
        assert!(room.take(receipt(2, 5, 0), 0));
        assert_eq!(room.reach([2].into_iter(), 5), Reach::Read);
        assert!(!room.take(receipt(2, 3, 4), 0), "late");
        // A replica that was started again remembers less.
        room.opened(&[MemberMarks { user: 2, read: 4, delivered: 4, presence: PresenceState::Active }]);
        assert_eq!((room.reach([2].into_iter(), 5), room.presence(2)), (Reach::Read, PresenceState::Active));
        // In a group the slowest counts.
        assert_eq!(room.reach([2, 3].into_iter(), 5), Reach::Kept);
        room.wrote(3, 6);
        assert_eq!(room.reach([2, 3].into_iter(), 5), Reach::Read);
        assert!(room.cut_off());
        assert_eq!((room.presence(2), room.reach([2].into_iter(), 5)), (PresenceState::Unknown, Reach::Read));
    }
}
