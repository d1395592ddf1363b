//! What readers and apply see: the layers of the state as one, under its lock.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::sum::StateSum;
use super::writer::Writer;
use super::{
    Applied, Before, HASHES_REMEMBERED, Key, PAIR_OVERHEAD_BYTES, Space, State, StoreError, View, Writes,
    freeze,
};

fn lookup(state: &State, checkpoint: &Checkpoint, key: &Key) -> Result<Option<Bytes>, StoreError> {
    if let Some(value) = state.active.get(key) {
        return Ok(value.clone());
    }
    if let Some(value) = state.frozen.as_ref().and_then(|frozen| frozen.get(key)) {
        return Ok(value.clone());
    }
    checkpoint.get(key)
}

fn scan(
    state: &State,
    checkpoint: &Checkpoint,
    from: &Key,
    to: &Key,
    limit: usize,
) -> Result<Vec<(Key, Bytes)>, StoreError> {
    if from >= to || limit == 0 {
        return Ok(Vec::new());
    }
    // Each layer gives its first pairs; beyond the nearest end of a layer that has more, nothing is certain. Deletions hide
    // pairs below, so the ask doubles until enough is certain.
    let mut wanted = limit;
    loop {
        let below = checkpoint.range(from, to, wanted)?;
        let mut certain_to = (below.len() == wanted).then(|| below[wanted - 1].0);
        let mut merged: BTreeMap<Key, Option<Bytes>> =
            below.into_iter().map(|(key, value)| (key, Some(value))).collect();
        // Newest layer last, so that it wins.
        for layer in [state.frozen.as_deref(), Some(&state.active)].into_iter().flatten() {
            let mut count = 0;
            let mut last = None;
            for (key, value) in layer.range(*from..*to).take(wanted) {
                merged.insert(*key, value.clone());
                count += 1;
                last = Some(*key);
            }
            if count == wanted {
                certain_to = certain_to.min(last).or(certain_to).or(last);
            }
        }
        let found: Vec<(Key, Bytes)> = merged
            .into_iter()
            .take_while(|(key, _)| certain_to.is_none_or(|end| *key <= end))
            .filter_map(|(key, value)| Some((key, value?)))
            .take(limit)
            .collect();
        if found.len() == limit || certain_to.is_none() {
            return Ok(found);
        }
        wanted *= 2;
    }
}

/// See [`Store::read`].
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) state: RwLockReadGuard<'a, State>,
    pub(super) checkpoint: &'a Checkpoint,
}

impl Reader<'_> {
    /// What this view contains.
    pub fn applied(&self) -> &Applied {
        &self.state.applied
    }

    /// The sum over all live pairs.
    pub fn sum(&self) -> StateSum {
        self.state.sum
    }

    /// The running hash at an index, if it is still remembered.
    pub fn hash_at(&self, index: u64) -> Option<Bytes> {
        let at = self.state.hashes.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(self.state.hashes[at].1.clone())
    }
}

impl View for Reader<'_> {
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        lookup(&self.state, self.checkpoint, key)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        scan(&self.state, self.checkpoint, from, to, limit)
    }
}

/// See [`Store::apply`].
#[derive(Debug)]
pub struct Applier<'a> {
    pub(super) state: RwLockWriteGuard<'a, State>,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) writer: &'a Writer,
    pub(super) freeze_bytes: usize,
}

impl Applier<'_> {
    /// What has been applied before.
    pub fn applied(&self) -> &Applied {
        &self.state.applied
    }

    /// The state's sum after some writes. `before` is what is known of what they replace; the rest is read.
    ///
    /// # Errors
    /// When the disk below fails.
    pub fn sum_after(&self, writes: &Writes, before: &Before) -> Result<StateSum, StoreError> {
        let mut sum = self.state.sum;
        for (key, value) in writes {
            let replaced = match before.get(key) {
                Some(known) => known.clone(),
                None if value.is_none() && key.space() == DEDUP => self.leaving(key)?,
                None => self.get(key)?,
            };
            if let Some(replaced) = replaced {
                sum.subtract(StateSum::of(key.as_bytes(), &replaced));
            }
            if let Some(value) = value {
                sum.add(StateSum::of(key.as_bytes(), value));
            }
        }
        Ok(sum)
    }

    /// What is remembered of a command id that is about to be forgotten.
    fn leaving(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let overlays = [Some(&self.state.active), self.state.frozen.as_deref()];
        match overlays.into_iter().flatten().find_map(|layer| layer.get(key)) {
            Some(known) => Ok(known.clone()),
            None => self.checkpoint.get_leaving(key),
        }
    }

    /// Takes the applied record out to be advanced; [`Self::commit`] puts it back, and nothing may fail in between.
    pub fn take_applied(&mut self) -> Applied {
        std::mem::take(&mut self.state.applied)
    }

    /// Takes over one entry's writes, the sum after them, and what the entry makes of the applied record.
    pub fn commit(&mut self, writes: Writes, sum: StateSum, mut applied: Applied) {
        applied.state = Bytes::copy_from_slice(&sum.to_bytes());
        let index = applied.index().unwrap_or(0);
        let state = &mut *self.state;
        let values = state.values.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = None;
        for (key, value) in writes {
            state.active_bytes += PAIR_OVERHEAD_BYTES + value.as_ref().map_or(0, Bytes::len);
            match &value {
                Some(value) => values.put(key, value.clone()),
                None => values.remove(&key),
            }
            // Sorted by space: an id comes before its place in the queue.
            match (key.space(), &value) {
                (DEDUP, Some(_)) => state.ids.insert(&key),
                (DEDUP_EXPIRY, Some(_)) => state.ids.remembered(key.ordinal()),
                (DEDUP_EXPIRY, None) => forgotten = Some(key.ordinal()),
                _ => {}
            }
            state.active.insert(key, value);
        }
        // Last, so that no filter goes while it holds an id whose place was not told yet.
        if let Some(place) = forgotten {
            state.ids.forgotten(place);
        }
        if state.hashes.len() >= HASHES_REMEMBERED {
            state.hashes.pop_front();
        }
        state.hashes.push_back((index, applied.hash.clone()));
        state.sum = sum;
        state.applied = applied;
        if state.active_bytes >= self.freeze_bytes && state.frozen.is_none() {
            freeze(state, self.writer);
        }
    }
}

const DEDUP: u8 = Space::Dedup as u8;
const DEDUP_EXPIRY: u8 = Space::DedupExpiry as u8;

impl View for Applier<'_> {
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        if key.space() == DEDUP && self.state.ids.is_new(key) {
            return Ok(None);
        }
        let mut values = self.state.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(key) {
            return Ok(Some(value));
        }
        let found = lookup(&self.state, self.checkpoint, key)?;
        if let Some(value) = &found {
            values.put(*key, value.clone());
        }
        Ok(found)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        scan(&self.state, self.checkpoint, from, to, limit)
    }
}
