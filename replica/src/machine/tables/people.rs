//! Typed access to what belongs to users and those who administer them.

use bytes::Bytes;
use prost::Message as _;

use super::{Tables as _, decode, load};
use crate::machine::records::{AuditEntry, Conversation, Report, Seen};
use crate::store::{Key, Space, StoreError, Transaction, View};

/// Reads of records, over any view.
#[allow(missing_docs, reason = "the names say it")]
pub trait PeopleTables: View + Sized {
    /// Whether `by` has blocked this very user.
    fn has_blocked_alone(&self, by: u64, user_id: u64) -> Result<bool, StoreError> {
        Ok(self.get(&Key::two(Space::Blocked, by, user_id))?.is_some())
    }

    /// Whether `by` has blocked `user_id`, or whose bot that is.
    fn has_blocked(&self, by: u64, user_id: u64) -> Result<bool, StoreError> {
        if self.has_blocked_alone(by, user_id)? {
            return Ok(true);
        }
        let owner_id = self.user(user_id)?.map_or(0, |user| user.owner_id);
        Ok(owner_id != 0 && self.has_blocked_alone(by, owner_id)?)
    }

    /// Whether one of the two has blocked the other.
    fn is_blocked_between(&self, a: u64, b: u64) -> Result<bool, StoreError> {
        Ok(self.has_blocked(a, b)? || self.has_blocked(b, a)?)
    }

    /// Whether one of the two of a direct conversation has blocked the other; of a group nobody has.
    fn is_blocked_in(&self, id: u64, conversation: &Conversation) -> Result<bool, StoreError> {
        if conversation.is_group() {
            return Ok(false);
        }
        let peers = match &conversation.peers[..] {
            // Nobody has written there yet since its record says who they are.
            [] => self.members_of(id, 2)?.into_iter().map(|(user_id, _)| user_id).collect(),
            peers => peers.to_vec(),
        };
        match peers[..] {
            [a, b] => self.is_blocked_between(a, b),
            _ => Ok(false),
        }
    }

    /// Whom a user has blocked, in order of id.
    fn blocked_by(&self, user_id: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let (from, to) = (Key::two(Space::Blocked, user_id, 0), Key::two(Space::Blocked, user_id, u64::MAX));
        Ok(self.range(&from, &to, limit)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// Log time in whole minutes when a user was seen last, ms; 0 when that is not known.
    fn seen_ms(&self, user_id: u64) -> Result<u64, StoreError> {
        let seen: Option<Seen> = load(self, &Key::one(Space::Seen, user_id))?;
        Ok(seen.map_or(0, |seen| seen.seen_ms))
    }

    fn report(&self, id: u64) -> Result<Option<Report>, StoreError> {
        load(self, &Key::one(Space::Report, id))
    }

    /// Ids in `[from, to)` of reports that are open, in order.
    fn open_reports(&self, from: u64, to: u64) -> Result<Vec<u64>, StoreError> {
        let (from, to) = (Key::two(Space::Report, 0, from), Key::two(Space::Report, 0, to));
        Ok(self.range(&from, &to, usize::MAX)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// Entries of the audit log with numbers in `[from, to)`.
    fn audit_entries(&self, from: u64, to: u64) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        let (from, to) = (Key::two(Space::Audit, 0, from), Key::two(Space::Audit, 0, to));
        let pairs = self.range(&from, &to, usize::MAX)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    /// How many sign-ins of a user last.
    fn session_count(&self, user_id: u64) -> Result<usize, StoreError> {
        let sessions = self.sessions_of(user_id, usize::MAX)?;
        Ok(sessions.iter().filter(|(_, session)| !session.is_token()).count())
    }
}

impl<V: View> PeopleTables for V {}

/// Writes of records, in one entry's transaction.
#[allow(missing_docs, reason = "the names say it")]
impl<V: View> Transaction<'_, V> {
    pub fn put_blocked(&mut self, by: u64, user_id: u64, on: bool) {
        let key = Key::two(Space::Blocked, by, user_id);
        if on { self.put(key, Bytes::new()) } else { self.delete(key) }
    }

    pub fn put_seen(&mut self, user_id: u64, seen_ms: u64) {
        self.put(Key::one(Space::Seen, user_id), Seen { seen_ms }.encode_to_vec());
    }

    pub fn delete_seen(&mut self, user_id: u64) {
        self.delete(Key::one(Space::Seen, user_id));
    }

    /// With its place among those that are open.
    pub fn put_report(&mut self, id: u64, record: &Report) {
        self.put(Key::one(Space::Report, id), record.encode_to_vec());
        let open = Key::two(Space::Report, 0, id);
        if record.resolved_ms == 0 { self.put(open, Bytes::new()) } else { self.delete(open) }
    }

    /// The next entry: its number was never used.
    pub fn put_audit(&mut self, number: u64, record: &AuditEntry) {
        self.put_new(Key::two(Space::Audit, 0, number), record.encode_to_vec());
    }
}
