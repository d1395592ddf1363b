//! What apply need not ask the checkpoint for: values it has just read or written, and command ids that are surely new.
//!
//! Both are caches: they may be emptied at any time, and hold nothing that checkpoint and overlay do not hold. Only apply uses
//! them. Owns no truth and never answers "absent" unless it is certain.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;

use super::{Key, Space};

/// Bytes of one generation of values. Two are kept: enough for the records of some hundred thousand busy users, and bounded.
const GENERATION_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a key and its place cost beside the value, roughly.
const PLACE_BYTES: usize = 96;

/// Values of keys that are written again and again: conversations, memberships, users, sessions. Runs are not kept here.
///
/// Two generations: what is used moves to the young one; when that is full the old one is let go.
#[derive(Debug, Default)]
pub(super) struct Values {
    young: HashMap<Key, Bytes>,
    young_bytes: usize,
    old: HashMap<Key, Bytes>,
}

impl Values {
    fn is_kept(key: &Key) -> bool {
        !key.is_run() && key.space() != Space::Dedup as u8
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<Bytes> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.put(*key, value.clone());
        Some(value)
    }

    /// What the key leads to now.
    pub(super) fn put(&mut self, key: Key, value: Bytes) {
        if !Self::is_kept(&key) {
            return;
        }
        self.old.remove(&key);
        let cost = PLACE_BYTES + value.len();
        match self.young.insert(key, value) {
            Some(before) => self.young_bytes = self.young_bytes + cost - PLACE_BYTES - before.len(),
            None => self.young_bytes += cost,
        }
        if self.young_bytes > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// The key leads nowhere now.
    pub(super) fn remove(&mut self, key: &Key) {
        self.old.remove(key);
        if let Some(before) = self.young.remove(key) {
            self.young_bytes -= PLACE_BYTES + before.len();
        }
    }
}

/// Bits a remembered id costs: with five probes one new id in a thousand is looked up in vain.
const BITS_PER_ID: usize = 16;
const PROBES: u64 = 5;
/// Ids in the first filter; each further one has twice as many, up to the largest.
const FILTER_IDS_MIN: usize = 1 << 16;
const FILTER_IDS_MAX: usize = 1 << 22;
/// Memory of all filters together: 33 million ids. Beyond it the oldest is let go and ids are looked up until its end is past.
const FILTERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A Bloom filter over ids that were remembered one after the other.
#[derive(Debug)]
struct Filter {
    bits: Vec<u64>,
    ids: usize,
    ids_max: usize,
    /// Place in the queue of expiries of the last id in here.
    last: u64,
}

impl Filter {
    fn new(ids_max: usize) -> Self {
        Self { bits: vec![0; ids_max * BITS_PER_ID / 64], ids: 0, ids_max, last: 0 }
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let bits = self.bits.len() as u64 * 64;
        let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
        (0..PROBES).map(move |n| {
            let bit = start.wrapping_add(n.wrapping_mul(step)) % bits;
            (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
        })
    }

    fn insert(&mut self, hash: u64) {
        for (word, mask) in self.places(hash) {
            self.bits[word] |= mask;
        }
        self.ids += 1;
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.places(hash).all(|(word, mask)| self.bits[word] & mask != 0)
    }
}

/// Says of most new command ids that they are surely not remembered.
///
/// Ids are forgotten in the order in which they were remembered, by their place in the queue of expiries: a filter is dropped
/// when its last place has been forgotten, and never before.
#[derive(Debug)]
pub(super) struct Ids {
    hasher: RandomState,
    filters: Vec<Filter>,
    /// While ids up to this place are remembered, nothing is certain: they are in no filter.
    missing: Option<u64>,
}

impl Default for Ids {
    fn default() -> Self {
        Self { hasher: RandomState::new(), filters: Vec::new(), missing: None }
    }
}

impl Ids {
    /// The ids that a checkpoint holds, and the last place in its queue.
    pub(super) fn of<E>(keys: impl Iterator<Item = Result<Key, E>>, last: Option<u64>) -> Result<Self, E> {
        let mut ids = Self::default();
        for key in keys {
            ids.insert(&key?);
            // They come in order of keys: any of them may be the newest.
            ids.remembered(last.unwrap_or(u64::MAX));
        }
        Ok(ids)
    }

    fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// An id is remembered now; [`Self::remembered`] says where.
    pub(super) fn insert(&mut self, key: &Key) {
        let hash = self.hash(key);
        if self.filters.last().is_none_or(|newest| newest.ids >= newest.ids_max) {
            let ids_max = self.filters.last().map_or(FILTER_IDS_MIN, |newest| newest.ids_max * 2);
            self.filters.push(Filter::new(ids_max.min(FILTER_IDS_MAX)));
            while self.bytes() > FILTERS_BYTES_MAX {
                self.missing = self.missing.max(Some(self.filters.remove(0).last));
            }
        }
        if let Some(newest) = self.filters.last_mut() {
            newest.insert(hash);
        }
    }

    /// The place in the queue of the id inserted last.
    pub(super) fn remembered(&mut self, place: u64) {
        if let Some(newest) = self.filters.last_mut() {
            newest.last = newest.last.max(place);
        }
    }

    /// Everything up to a place in the queue is forgotten.
    pub(super) fn forgotten(&mut self, place: u64) {
        self.filters.retain(|filter| filter.last > place);
        if self.missing.is_some_and(|missing| missing <= place) {
            self.missing = None;
        }
    }

    /// Whether the id is surely not remembered.
    pub(super) fn is_new(&self, key: &Key) -> bool {
        if self.missing.is_some() {
            return false;
        }
        let hash = self.hash(key);
        !self.filters.iter().rev().any(|filter| filter.may_hold(hash))
    }

    /// Memory.
    pub(super) fn bytes(&self) -> usize {
        self.filters.iter().map(|filter| filter.bits.len() * 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Key {
        Key::with_id(Space::Dedup, 7, &n.to_be_bytes())
    }

    #[test]
    fn a_remembered_id_is_never_called_new() {
        let mut ids = Ids::default();
        let mut in_vain = 0;
        for n in 0..1_000_000_u64 {
            in_vain += u32::from(!ids.is_new(&id(n.into())));
            ids.insert(&id(n.into()));
            ids.remembered(n);
        }
        assert!((0..1_000_000).all(|n| !ids.is_new(&id(n))), "all are held");
        assert!(in_vain < 10_000, "{in_vain} new ids of a million would be looked up");
        assert!(ids.bytes() <= 8 * 1024 * 1024, "{} bytes", ids.bytes());
        ids.forgotten(499_999);
        assert!((500_000..1_000_000).all(|n| !ids.is_new(&id(n))), "the younger half is still held");
        ids.forgotten(999_999);
        assert_eq!(ids.bytes(), 0, "the memory is given back");
        assert!(ids.is_new(&id(1)));
    }

    #[test]
    fn beyond_its_memory_nothing_is_certain_until_the_lost_ids_are_forgotten() {
        let mut ids = Ids::default();
        // The largest filters without filling them: what counts is their memory.
        for place in 0..12 {
            ids.filters.push(Filter { last: place, ids: FILTER_IDS_MAX, ..Filter::new(FILTER_IDS_MAX) });
        }
        ids.insert(&id(1));
        ids.remembered(12);
        assert!(ids.bytes() <= FILTERS_BYTES_MAX);
        assert!(!ids.is_new(&id(2)), "ids of the filters that were let go may still be remembered");
        ids.forgotten(11);
        assert!(ids.is_new(&id(2)) && !ids.is_new(&id(1)));
    }

    #[test]
    fn values_are_kept_within_their_bound_and_never_stale() {
        let mut values = Values::default();
        let key = |n| Key::one(Space::User, n);
        for n in 0..100_000 {
            values.put(key(n), Bytes::from(vec![0; 1_000]));
            assert!(values.young_bytes <= GENERATION_BYTES_MAX);
            if n % 7 == 0 {
                values.put(key(n / 2), Bytes::from_static(b"new"));
                assert_eq!(values.get(&key(n / 2)).as_deref(), Some(&b"new"[..]));
                values.remove(&key(n / 2));
                assert_eq!(values.get(&key(n / 2)), None);
            }
        }
        assert!((values.young.len() + values.old.len()) * 1_000 < 2 * GENERATION_BYTES_MAX);
        values.put(Key::two(Space::Messages, 1, 1), Bytes::from_static(b"run"));
        assert_eq!(values.get(&Key::two(Space::Messages, 1, 1)), None, "runs are not kept");
    }
}
