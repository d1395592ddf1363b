//! Small maps and sets in order of their keys, each as one row of pairs.
//!
//! What a client keeps of people and conversations is small, and every type in a tree of the standard library is ten kilobytes
//! more for a page to load; a row is a tenth of that. Not for messages: there are thousands.

/// A map in order of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy, V> OrderedMap<K, V> {
    /// Where it is, or belongs.
    fn at(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Puts a value there; returns what was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.at(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.at(key).ok().map(|at| self.0.remove(at).1)
    }

    /// The first key.
    pub fn first_key(&self) -> Option<K> {
        self.0.first().map(|(key, _)| *key)
    }

    /// Takes the first out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// A value.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.at(key).ok().map(|at| &self.0[at].1)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.at(key).ok()?;
        Some(&mut self.0[at].1)
    }

    /// A value, put there if there was none.
    pub fn of(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = match self.at(&key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key, V::default()));
                at
            }
        };
        &mut self.0[at].1
    }

    /// Whether there is a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.at(key).is_ok()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps those for which this is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }

    /// Keys and values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The same, with values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// All of them, beginning behind this key and ending with it.
    pub fn round_from(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        let at = self.at(key).map_or_else(|at| at, |at| at + 1);
        self.0[at..].iter().chain(&self.0[..at]).map(|(key, value)| (key, value))
    }

    /// Values in order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Values in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K: Ord + Copy, V> Extend<(K, V)> for OrderedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (key, value) in pairs {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Copy, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Self::default();
        map.extend(pairs);
        map
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A set in order.
pub type OrderedSet<K> = OrderedMap<K, ()>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_map_that_a_tree_would_be() {
        let mut row: OrderedMap<u64, u64> = OrderedMap::default();
        let mut tree = std::collections::BTreeMap::new();
        let mut state = 7_u64;
        for _ in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (key, value) = (state >> 33 & 31, state >> 40 & 255);
            match state >> 50 & 7 {
                0..=2 => assert_eq!(row.insert(key, value), tree.insert(key, value)),
                3 | 4 => assert_eq!(row.remove(&key), tree.remove(&key)),
                5 => {
                    *row.of(key) += 1;
                    *tree.entry(key).or_default() += 1;
                }
                6 => assert_eq!(row.pop_first(), tree.pop_first()),
                _ => {
                    row.retain(|key, _| *key != value & 31);
                    tree.retain(|key, _| *key != value & 31);
                }
            }
            assert!(row.iter().eq(tree.iter()) && row.len() == tree.len());
            assert_eq!((row.get(&key), row.contains_key(&key)), (tree.get(&key), tree.contains_key(&key)));
        }
        let round: Vec<u64> = row.round_from(&7).map(|(key, _)| *key).collect();
        let behind = tree.range(8..).chain(tree.range(..=7)).map(|(key, _)| *key);
        assert!(
            behind.eq(round) && row.keys().eq(tree.keys()) && row.first_key() == tree.keys().next().copied()
        );
        row.values_mut().for_each(|value| *value += 1);
        tree.values_mut().for_each(|value| *value += 1);
        assert_eq!(row.into_iter().collect::<Vec<_>>(), tree.into_iter().collect::<Vec<_>>());
    }
}
