//! The state's sum: one number over all live pairs, whatever order they came in.
//!
//! Each pair counts as BLAKE3 of key and value, read as a 256-bit number; the sum wraps around. Addition and not XOR, so that
//! a pair counted twice does not cancel out. Anybody who can choose thousands of values freely could make two states of one
//! sum; this guards against mistakes and bad disks, which cannot, and both sums come from the same log anyway.

use bytes::Bytes;

use super::{Key, StoreError, run};

/// A sum over pairs. The empty state's is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSum([u64; 4]);

impl StateSum {
    /// What one pair counts.
    pub fn of(key: &[u8], value: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        // Keys are shorter than 256 bytes: one byte says where the key ends.
        hasher.update(&[u8::try_from(key.len()).unwrap_or(u8::MAX)]).update(key).update(value);
        Self::from_words(hasher.finalize().as_bytes())
    }

    fn from_words(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        Self(words)
    }

    /// Reads a sum back; no bytes are the empty state's. `None` when it cannot be one.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        if raw.is_empty() {
            return Some(Self::default());
        }
        Some(Self::from_words(raw.try_into().ok()?))
    }

    /// The sum as it is stored.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// A pair is there now.
    pub fn add(&mut self, term: Self) {
        let mut carry = false;
        for (word, more) in self.0.iter_mut().zip(term.0) {
            let (sum, over) = word.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over || over_again;
        }
    }

    /// A pair is there no longer.
    pub fn subtract(&mut self, term: Self) {
        let mut borrow = false;
        for (word, less) in self.0.iter_mut().zip(term.0) {
            let (rest, under) = word.overflowing_sub(less);
            let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
            *word = rest;
            borrow = under || under_again;
        }
    }

    /// Counts a stored pair: of a run, each of its members.
    ///
    /// # Errors
    /// When the pair cannot be read.
    pub fn add_stored(&mut self, key: &[u8], value: &Bytes) -> Result<(), StoreError> {
        let damaged = || StoreError::damaged("a stored pair cannot be read");
        let key = Key::from_bytes(key).ok_or_else(damaged)?;
        if !key.is_run() {
            self.add(Self::of(key.as_bytes(), value));
            return Ok(());
        }
        for member in run::walk(value) {
            let (ordinal, place) = member.ok_or_else(damaged)?;
            self.add(Self::of(key.with_ordinal(ordinal).as_bytes(), &value[place]));
        }
        Ok(())
    }
}

/// The sum over stored pairs, as checkpoint and snapshots hold them: what the applied record must say.
///
/// # Errors
/// The first error of the iterator, or when a pair cannot be read.
pub fn of_stored_pairs(
    pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
) -> Result<StateSum, StoreError> {
    let mut sum = StateSum::default();
    for pair in pairs {
        let (key, value) = pair?;
        sum.add_stored(&key, &value)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::super::Space;
    use super::*;

    fn term(n: u64) -> StateSum {
        StateSum::of(&n.to_be_bytes(), b"value")
    }

    #[test]
    fn the_sum_forgets_order_and_what_was_removed() {
        let (mut forwards, mut backwards) = (StateSum::default(), StateSum::default());
        for n in 0..1_000 {
            forwards.add(term(n));
            backwards.add(term(999 - n));
        }
        assert_eq!(forwards, backwards);
        assert_eq!(StateSum::from_bytes(&forwards.to_bytes()), Some(forwards));
        for n in 0..1_000 {
            forwards.subtract(term(n));
        }
        assert_eq!(forwards, StateSum::default());
    }

    #[test]
    fn a_pair_counted_twice_is_noticed() {
        let (mut once, mut thrice) = (term(1), term(1));
        thrice.add(term(1));
        assert_ne!(once, thrice);
        thrice.add(term(1));
        once.add(term(2));
        assert_ne!(once, thrice);
    }

    #[test]
    fn carries_cross_words() {
        let mut sum = StateSum([u64::MAX, u64::MAX, 0, 0]);
        sum.add(StateSum([1, 0, 0, 0]));
        assert_eq!(sum, StateSum([0, 0, 1, 0]));
        sum.subtract(StateSum([1, 0, 0, 0]));
        assert_eq!(sum, StateSum([u64::MAX, u64::MAX, 0, 0]));
    }

    #[test]
    fn key_and_value_are_told_apart() {
        assert_ne!(StateSum::of(b"ab", b"c"), StateSum::of(b"a", b"bc"));
    }

    #[test]
    fn a_run_counts_as_its_members() {
        let key = |n| Key::two(Space::Messages, 7, n);
        let members: run::Members = (1..=9).map(|n| (n, Bytes::from(format!("m{n}")))).collect();
        let mut expected = StateSum::default();
        for (n, value) in &members {
            expected.add(StateSum::of(key(*n).as_bytes(), value));
        }
        let packed = Bytes::from(run::pack(&members));
        let stored = Bytes::copy_from_slice(key(9).as_bytes());
        let sum = of_stored_pairs(std::iter::once(Ok((stored, packed)))).expect("readable");
        assert_eq!(sum, expected);
    }
}
