//! Typed access to what belongs to bots: whose they are, their webhooks, and what these are to be told.

use bytes::Bytes;
use prost::Message as _;

use super::{decode, load};
use crate::machine::records::{Hook, HookEvent, HookLease};
use crate::store::{Key, Space, StoreError, Transaction, View};

/// Reads of records, over any view.
#[allow(missing_docs, reason = "the names say it")]
pub trait BotTables: View + Sized {
    /// Up to `limit` bots of a user that were not deleted, in order of id.
    fn bots_of(&self, user_id: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let (from, to) = (Key::two(Space::BotOf, user_id, 0), Key::two(Space::BotOf, user_id, u64::MAX));
        Ok(self.range(&from, &to, limit)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// A bot's webhook, as it is or was.
    fn hook(&self, bot_id: u64) -> Result<Option<Hook>, StoreError> {
        load(self, &Key::one(Space::Hook, bot_id))
    }

    fn hook_lease(&self) -> Result<Option<HookLease>, StoreError> {
        load(self, &Key::of(Space::HookLease))
    }

    /// Up to `limit` bots whose webhooks have something to be told, in order of id from `from` on.
    fn hooks_waiting(&self, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let (from, to) = (Key::one(Space::HookWaiting, from), Key::one(Space::HookWaiting, u64::MAX));
        Ok(self.range(&from, &to, limit)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// Up to `limit` items of a webhook, with numbers from `from` on.
    fn hook_events(&self, bot_id: u64, from: u64, limit: usize) -> Result<Vec<(u64, HookEvent)>, StoreError> {
        let (from, to) = (Key::two(Space::HookDue, bot_id, from), Key::two(Space::HookDue, bot_id, u64::MAX));
        let pairs = self.range(&from, &to, limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }
}

impl<V: View> BotTables for V {}

/// Writes of records, in one entry's transaction.
#[allow(missing_docs, reason = "the names say it")]
impl<V: View> Transaction<'_, V> {
    pub fn put_bot_of(&mut self, user_id: u64, bot_id: u64, on: bool) {
        let key = Key::two(Space::BotOf, user_id, bot_id);
        if on { self.put(key, Bytes::new()) } else { self.delete(key) }
    }

    /// With its place among those that have something to be told.
    pub fn put_hook(&mut self, bot_id: u64, record: &Hook) {
        self.put(Key::one(Space::Hook, bot_id), record.encode_to_vec());
        let waiting = Key::one(Space::HookWaiting, bot_id);
        if record.waiting() > 0 { self.put(waiting, Bytes::new()) } else { self.delete(waiting) }
    }

    pub fn put_hook_lease(&mut self, record: Option<&HookLease>) {
        let key = Key::of(Space::HookLease);
        match record {
            Some(record) => self.put(key, record.encode_to_vec()),
            None => self.delete(key),
        }
    }

    /// The next item: its number was never used.
    pub fn put_hook_event(&mut self, bot_id: u64, number: u64, record: &HookEvent) {
        self.put_new(Key::two(Space::HookDue, bot_id, number), record.encode_to_vec());
    }

    pub fn delete_hook_event(&mut self, bot_id: u64, number: u64) {
        self.delete(Key::two(Space::HookDue, bot_id, number));
    }
}
