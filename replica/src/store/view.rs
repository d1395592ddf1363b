//! What the machine may see of the state, and the transaction of one entry over it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Key, StoreError};

/// A readable state: the overlay over the checkpoint, a transaction over either, or a test's map.
pub trait View {
    /// The value at a key.
    ///
    /// # Errors
    /// When the disk below fails; the replica stops then.
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Up to `limit` pairs in `[from, to)`, in order of keys.
    ///
    /// # Errors
    /// As [`View::get`].
    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError>;
}

/// What a set of writes looks like: a value, or `None` for a deletion. Ordered, so that it hashes alike everywhere.
pub type Writes = BTreeMap<Key, Option<Bytes>>;

/// What was at keys before an entry, as far as the entry has read it or knows it: saves the store from reading it again.
pub type Before = BTreeMap<Key, Option<Bytes>>;

/// One entry's reads and writes: sees its own writes; nothing is visible to others before it is taken over whole.
pub struct Transaction<'a, V> {
    below: &'a V,
    writes: Writes,
    before: RefCell<Before>,
}

impl<V> std::fmt::Debug for Transaction<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("writes", &self.writes.len()).finish()
    }
}

impl<'a, V: View> Transaction<'a, V> {
    /// An empty transaction over a state.
    pub fn new(below: &'a V) -> Self {
        Self { below, writes: Writes::new(), before: RefCell::default() }
    }

    /// Sets a value.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.writes.insert(key, Some(value.into()));
    }

    /// Sets a value at a key of which the caller knows that it leads nowhere: the next of a dense sequence, or an id that
    /// was looked up before.
    pub fn put_new(&mut self, key: Key, value: impl Into<Bytes>) {
        self.before.get_mut().insert(key, None);
        self.put(key, value);
    }

    /// Removes a key.
    pub fn delete(&mut self, key: Key) {
        self.writes.insert(key, None);
    }

    /// Removes a key whose value the caller has read.
    pub fn delete_known(&mut self, key: Key, value: Bytes) {
        self.before.get_mut().entry(key).or_insert(Some(value));
        self.delete(key);
    }

    /// How many keys it writes so far.
    pub fn written(&self) -> usize {
        self.writes.len()
    }

    /// The writes, in order of keys, and what is known of what they replace.
    pub fn into_parts(self) -> (Writes, Before) {
        (self.writes, self.before.into_inner())
    }
}

impl<V: View> View for Transaction<'_, V> {
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = self.writes.get(key) {
            return Ok(value.clone());
        }
        if let Some(value) = self.before.borrow().get(key) {
            return Ok(value.clone());
        }
        let value = self.below.get(key)?;
        self.before.borrow_mut().insert(*key, value.clone());
        Ok(value)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let own: Vec<_> = self.writes.range(*from..*to).collect();
        if own.is_empty() {
            return self.below.range(from, to, limit);
        }
        // A deletion of ours may hide one of theirs, so as many more are asked for.
        let below = self.below.range(from, to, limit.saturating_add(own.len()))?;
        let mut merged: BTreeMap<Key, Bytes> = below.into_iter().collect();
        for (key, value) in own {
            match value {
                Some(value) => merged.insert(*key, value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }
}

impl View for BTreeMap<Key, Bytes> {
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        Ok(BTreeMap::range(self, *from..*to).take(limit).map(|(key, value)| (*key, value.clone())).collect())
    }
}
