//! The checkpoint's tree: sled, or in a simulation an ordered map that the simulated disk keeps.
//!
//! Has the shape of what the checkpoint uses of sled. Five sleds in one process share a lock and start threads of their own.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sled::IVec;

type Map = BTreeMap<Vec<u8>, IVec>;

/// An ordered map that outlives the process that wrote it.
#[derive(Debug, Clone, Default)]
pub struct MapDisk(Arc<Mutex<Map>>);

impl MapDisk {
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a power cut does to a tree whose pages were never synced: keeps only the pairs that `keep` says.
    pub fn power_cut(&self, mut keep: impl FnMut() -> bool) {
        self.lock().retain(|_, _| keep());
    }
}

/// Says that the map belongs to what is in the directory: who removes the directory has removed the map.
const BELONGS: &str = "simulated";

/// A tree.
#[derive(Debug)]
pub(crate) enum Tree {
    Sled(sled::Db),
    Map(MapDisk),
}

/// Changes that are made together.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<(IVec, Option<IVec>)>);

impl Batch {
    pub(crate) fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.0.push((key.into(), Some(value.into())));
    }

    pub(crate) fn remove(&mut self, key: impl Into<IVec>) {
        self.0.push((key.into(), None));
    }
}

type Pair = sled::Result<(IVec, IVec)>;

/// Pairs in order of keys, as sled's iterator gives them.
pub(crate) struct Pairs<'a>(Box<dyn DoubleEndedIterator<Item = Pair> + 'a>);

impl Iterator for Pairs<'_> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        self.0.next()
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Pair> {
        self.0.next_back()
    }
}

/// Pairs read at once from the map: it cannot be borrowed while the iterator lives.
const CHUNK_PAIRS: usize = 64;

impl Tree {
    /// The simulated tree under a directory, if it lies on a simulated disk.
    pub(crate) fn simulated(dir: &Path) -> Option<Self> {
        let map = super::disk(dir)?.map;
        let mark = dir.join(BELONGS);
        if !mark.exists() {
            map.lock().clear();
            fs::write(&mark, "").ok()?;
        }
        Some(Self::Map(map))
    }

    pub(crate) fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>> {
        match self {
            Tree::Sled(db) => db.get(key),
            Tree::Map(map) => Ok(map.lock().get(key).cloned()),
        }
    }

    pub(crate) fn range<K, R>(&self, range: R) -> Pairs<'_>
    where
        K: AsRef<[u8]>,
        R: RangeBounds<K>,
    {
        match self {
            Tree::Sled(db) => Pairs(Box::new(db.range(range))),
            Tree::Map(map) => {
                let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
                let bounds = (own(range.start_bound()), own(range.end_bound()));
                Pairs(Box::new(Walk { map, bounds, chunk: Vec::new().into_iter() }))
            }
        }
    }

    /// Pairs of one space: its keys begin with one byte.
    pub(crate) fn scan_prefix(&self, space: [u8; 1]) -> Pairs<'_> {
        let end = space[0].checked_add(1);
        match end {
            Some(end) => self.range([space[0]]..[end]),
            None => self.range(space..),
        }
    }

    pub(crate) fn apply_batch(&self, batch: Batch) -> sled::Result<()> {
        match self {
            Tree::Sled(db) => {
                let mut changes = sled::Batch::default();
                for (key, value) in batch.0 {
                    match value {
                        Some(value) => changes.insert(key, value),
                        None => changes.remove(key),
                    }
                }
                db.apply_batch(changes)
            }
            Tree::Map(map) => {
                let mut map = map.lock();
                for (key, value) in batch.0 {
                    match value {
                        Some(value) => map.insert(key.to_vec(), value),
                        None => map.remove(key.as_ref()),
                    };
                }
                Ok(())
            }
        }
    }

    pub(crate) fn clear(&self) -> sled::Result<()> {
        match self {
            Tree::Sled(db) => db.clear(),
            Tree::Map(map) => {
                map.lock().clear();
                Ok(())
            }
        }
    }

    pub(crate) fn flush(&self) -> sled::Result<usize> {
        match self {
            Tree::Sled(db) => db.flush(),
            Tree::Map(_) => Ok(0),
        }
    }

    pub(crate) fn size_on_disk(&self) -> sled::Result<u64> {
        match self {
            Tree::Sled(db) => db.size_on_disk(),
            Tree::Map(_) => Ok(0),
        }
    }
}

struct Walk<'a> {
    map: &'a MapDisk,
    bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    chunk: std::vec::IntoIter<(IVec, IVec)>,
}

impl Walk<'_> {
    fn is_empty(&self) -> bool {
        use Bound::{Excluded, Included};
        match &self.bounds {
            (Excluded(from), Excluded(to) | Included(to)) | (Included(from), Excluded(to)) => from >= to,
            (Included(from), Included(to)) => from > to,
            _ => false,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        if let Some(pair) = self.chunk.next() {
            return Some(Ok(pair));
        }
        if self.is_empty() {
            return None;
        }
        let found: Vec<(IVec, IVec)> = {
            let map = self.map.lock();
            let pairs = map.range(self.bounds.clone()).take(CHUNK_PAIRS);
            pairs.map(|(key, value)| (IVec::from(key.as_slice()), value.clone())).collect()
        };
        let (last, _) = found.last()?;
        self.bounds.0 = Bound::Excluded(last.to_vec());
        self.chunk = found.into_iter();
        self.chunk.next().map(Ok)
    }
}

impl DoubleEndedIterator for Walk<'_> {
    fn next_back(&mut self) -> Option<Pair> {
        if self.is_empty() {
            return None;
        }
        let (key, value) = {
            let map = self.map.lock();
            let (key, value) = map.range(self.bounds.clone()).next_back()?;
            (key.clone(), value.clone())
        };
        let pair = (IVec::from(key.as_slice()), value);
        self.bounds.1 = Bound::Excluded(key);
        Some(Ok(pair))
    }
}
