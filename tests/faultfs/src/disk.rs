//! The disk as a pure model: names and bytes as programs see them, the same as they would be found after a power cut, and the
//! changes in between.
//!
//! Modelled on ext4 with its default options, and stricter where ext4 is kinder by accident:
//! - bytes and lengths of a file are kept by a sync of that file (fsync and fdatasync alike), and by nothing else;
//! - creations, removals and renames are kept by a sync of their folder; a sync of a file or folder keeps its own creation
//!   and that of the folders above it too, but not a later rename (ext4 would commit its whole journal);
//! - `sync_file_range` keeps nothing: FUSE never hears of it, and it is no barrier on a real disk either;
//! - a cut leaves none or the first few of the changes of names, never a later one without the earlier;
//! - a sync that fails leaves the bytes readable and clean, so that a later sync "succeeds" without them (as Linux does).
//!
//! Times, modes and owners are not modelled: they are kept at once. There are no links, devices or extended attributes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use crate::chance::Chance;
use crate::content::{Content, Leave};
use crate::control::{Cut, CutReport, Faults, Usage, WriteError};

/// Number of a file or folder; never used again.
pub(crate) type Inode = u64;
/// The root's.
pub(crate) const ROOT: Inode = 1;
/// Changes of names beyond this are committed without being asked for, as a journal does when it is full.
const NAMES_UNSYNCED_MAX: usize = 10_000;
/// Free bytes that a disk without a limit shows.
pub(crate) const UNLIMITED_BYTES: u64 = 1 << 40;

/// Why an operation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Exists,
    NotFolder,
    IsFolder,
    NotEmpty,
    NoSpace,
    ReadOnly,
    Io,
    Invalid,
}

type Done<T> = Result<T, Refusal>;

/// A name in a folder.
type Place = (Inode, String);

/// A change of names.
#[derive(Debug, Clone)]
enum Naming {
    Create { at: Place, inode: Inode },
    Remove { at: Place, inode: Inode },
    Rename { from: Place, to: Place, inode: Inode },
}

impl Naming {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let (one, other) = match self {
            Self::Create { at, .. } | Self::Remove { at, .. } => (at, None),
            Self::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { at, inode } => names.put(at, *inode),
            Self::Remove { at, inode } => names.take(at, *inode),
            Self::Rename { from, to, inode } => {
                names.take(from, *inode);
                names.put(to, *inode);
            }
        }
    }
}

/// Who is where. A folder without a name above it is unreachable, and so is what it holds.
#[derive(Debug, Clone, Default)]
struct Names(BTreeMap<Inode, BTreeMap<String, Inode>>);

impl Names {
    fn get(&self, folder: Inode, name: &str) -> Option<Inode> {
        self.0.get(&folder)?.get(name).copied()
    }

    fn put(&mut self, at: &Place, inode: Inode) {
        self.0.entry(at.0).or_default().insert(at.1.clone(), inode);
    }

    fn take(&mut self, at: &Place, inode: Inode) {
        if let Some(folder) = self.0.get_mut(&at.0)
            && folder.get(&at.1) == Some(&inode)
        {
            folder.remove(&at.1);
        }
    }

    fn reachable(&self) -> BTreeSet<Inode> {
        let mut found = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(folder) = open.pop() {
            for inode in self.0.get(&folder).into_iter().flat_map(BTreeMap::values) {
                if found.insert(*inode) {
                    open.push(*inode);
                }
            }
        }
        found
    }
}

#[derive(Debug)]
enum Kind {
    File(Content),
    Folder,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    mode: u16,
    modified: SystemTime,
    /// The folder that it is in, or was last.
    parent: Inode,
}

/// What `stat` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) inode: Inode,
    pub(crate) folder: bool,
    pub(crate) bytes: u64,
    pub(crate) mode: u16,
    pub(crate) modified: SystemTime,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    nodes: BTreeMap<Inode, Node>,
    live: Names,
    durable: Names,
    unsynced: Vec<Naming>,
    /// Open files: handle → file.
    handles: HashMap<u64, Inode>,
    next: u64,
    faults: Faults,
    syncs: u64,
    writes: u64,
    refused: u64,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let root = Node { kind: Kind::Folder, mode: 0o700, modified: SystemTime::UNIX_EPOCH, parent: ROOT };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            live: Names::default(),
            durable: Names::default(),
            unsynced: Vec::new(),
            handles: HashMap::new(),
            next: ROOT,
            faults: Faults::default(),
            syncs: 0,
            writes: 0,
            refused: 0,
        }
    }

    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(crate) fn slow_sync_ms(&self) -> u64 {
        self.faults.slow_sync_ms
    }

    pub(crate) fn lookup(&self, folder: Inode, name: &str) -> Done<Stat> {
        self.stat(self.live.get(folder, name).ok_or(Refusal::NotFound)?)
    }

    pub(crate) fn stat(&self, inode: Inode) -> Done<Stat> {
        let node = self.nodes.get(&inode).ok_or(Refusal::NotFound)?;
        let (folder, bytes) = match &node.kind {
            Kind::File(content) => (false, content.len()),
            Kind::Folder => (true, 0),
        };
        Ok(Stat { inode, folder, bytes, mode: node.mode, modified: node.modified })
    }

    /// What a folder holds, in order of names.
    pub(crate) fn list(&self, folder: Inode) -> Done<Vec<(String, Stat)>> {
        if !self.stat(folder)?.folder {
            return Err(Refusal::NotFolder);
        }
        let entries = self.live.0.get(&folder).into_iter().flatten();
        entries.map(|(name, inode)| Ok((name.clone(), self.stat(*inode)?))).collect()
    }

    pub(crate) fn create(
        &mut self,
        folder: Inode,
        name: &str,
        is_folder: bool,
        mode: u16,
        now: SystemTime,
    ) -> Done<Stat> {
        self.may_change()?;
        self.may_grow(0)?;
        if !self.stat(folder)?.folder {
            return Err(Refusal::NotFolder);
        }
        if self.live.get(folder, name).is_some() {
            return Err(Refusal::Exists);
        }
        self.next += 1;
        let inode = self.next;
        let kind = if is_folder { Kind::Folder } else { Kind::File(Content::default()) };
        self.nodes.insert(inode, Node { kind, mode, modified: now, parent: folder });
        self.name(Naming::Create { at: (folder, name.to_owned()), inode });
        self.stat(inode)
    }

    pub(crate) fn remove(&mut self, folder: Inode, name: &str, is_folder: bool) -> Done<()> {
        self.may_change()?;
        let stat = self.lookup(folder, name)?;
        match (stat.folder, is_folder) {
            (true, false) => return Err(Refusal::IsFolder),
            (false, true) => return Err(Refusal::NotFolder),
            (true, true) if !self.list(stat.inode)?.is_empty() => return Err(Refusal::NotEmpty),
            _ => {}
        }
        self.name(Naming::Remove { at: (folder, name.to_owned()), inode: stat.inode });
        self.sweep();
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: Place, to: Place, replace: bool) -> Done<()> {
        self.may_change()?;
        let moved = self.lookup(from.0, &from.1)?;
        if !self.stat(to.0)?.folder {
            return Err(Refusal::NotFolder);
        }
        if let Ok(there) = self.lookup(to.0, &to.1) {
            match (moved.folder, there.folder) {
                _ if !replace => return Err(Refusal::Exists),
                _ if moved.inode == there.inode => return Ok(()),
                (false, true) => return Err(Refusal::IsFolder),
                (true, false) => return Err(Refusal::NotFolder),
                (true, true) if !self.list(there.inode)?.is_empty() => return Err(Refusal::NotEmpty),
                _ => {}
            }
        }
        if let Some(node) = self.nodes.get_mut(&moved.inode) {
            node.parent = to.0;
        }
        self.name(Naming::Rename { from, to, inode: moved.inode });
        self.sweep();
        Ok(())
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.live);
        self.unsynced.push(naming);
        if self.unsynced.len() > NAMES_UNSYNCED_MAX {
            self.commit(|_| true);
        }
    }

    /// A handle to a file.
    pub(crate) fn open(&mut self, inode: Inode, to_write: bool) -> Done<u64> {
        if to_write && self.faults.read_only {
            self.refused += 1;
            return Err(Refusal::ReadOnly);
        }
        if self.stat(inode)?.folder {
            return Err(Refusal::IsFolder);
        }
        self.next += 1;
        self.handles.insert(self.next, inode);
        Ok(self.next)
    }

    pub(crate) fn close(&mut self, handle: u64) {
        self.handles.remove(&handle);
        self.sweep();
    }

    /// The file behind a handle; one from before a power cut is dead.
    fn opened(&self, handle: u64) -> Done<Inode> {
        self.handles.get(&handle).copied().ok_or(Refusal::Io)
    }

    pub(crate) fn read(&self, handle: u64, offset: u64, size: usize) -> Done<&[u8]> {
        let inode = self.opened(handle)?;
        match self.nodes.get(&inode).map(|node| &node.kind) {
            Some(Kind::File(content)) => Ok(content.read(offset, size)),
            _ => Err(Refusal::Io),
        }
    }

    /// Writes at `offset`, or at the end.
    pub(crate) fn write(
        &mut self,
        handle: u64,
        offset: Option<u64>,
        bytes: &[u8],
        now: SystemTime,
    ) -> Done<()> {
        let inode = self.opened(handle)?;
        self.may_change()?;
        let length = self.stat(inode)?.bytes;
        let offset = offset.unwrap_or(length);
        self.may_grow((offset + bytes.len() as u64).saturating_sub(length))?;
        let place = usize::try_from(offset).map_err(|_| Refusal::Invalid)?;
        self.change(inode, now, |content| content.write(place, bytes))?;
        self.writes += 1;
        Ok(())
    }

    pub(crate) fn resize(&mut self, inode: Inode, length: u64, now: SystemTime) -> Done<()> {
        self.may_change()?;
        let had = self.stat(inode)?.bytes;
        if length > had {
            self.may_grow(length - had)?;
        }
        let length = usize::try_from(length).map_err(|_| Refusal::Invalid)?;
        self.change(inode, now, |content| content.resize(length))
    }

    pub(crate) fn set_mode(&mut self, inode: Inode, mode: u16) -> Done<()> {
        self.may_change()?;
        self.nodes.get_mut(&inode).ok_or(Refusal::NotFound)?.mode = mode;
        Ok(())
    }

    fn change(&mut self, inode: Inode, now: SystemTime, change: impl FnOnce(&mut Content)) -> Done<()> {
        let node = self.nodes.get_mut(&inode).ok_or(Refusal::NotFound)?;
        let Kind::File(content) = &mut node.kind else { return Err(Refusal::IsFolder) };
        change(content);
        node.modified = now;
        Ok(())
    }

    fn may_change(&mut self) -> Done<()> {
        if self.faults.read_only {
            self.refused += 1;
            return Err(Refusal::ReadOnly);
        }
        Ok(())
    }

    fn may_grow(&mut self, by: u64) -> Done<()> {
        let refusal = match self.faults.writes {
            Some(WriteError::Io) => Some(Refusal::Io),
            Some(WriteError::NoSpace) => Some(Refusal::NoSpace),
            None => {
                let full = self.faults.full_after_bytes.is_some_and(|limit| self.bytes() + by > limit);
                full.then_some(Refusal::NoSpace)
            }
        };
        match refusal {
            Some(refusal) => {
                self.refused += 1;
                Err(refusal)
            }
            None => Ok(()),
        }
    }

    /// fsync and fdatasync of a file.
    pub(crate) fn sync_file(&mut self, handle: u64) -> Done<()> {
        let inode = self.opened(handle)?;
        let fails = self.faults.syncs || self.faults.read_only;
        let node = self.nodes.get_mut(&inode).ok_or(Refusal::Io)?;
        let Kind::File(content) = &mut node.kind else { return Err(Refusal::IsFolder) };
        if fails {
            content.lose();
            self.refused += 1;
            return Err(Refusal::Io);
        }
        content.sync();
        self.commit_creation(inode);
        self.syncs += 1;
        Ok(())
    }

    /// fsync of a folder.
    pub(crate) fn sync_folder(&mut self, inode: Inode) -> Done<()> {
        if self.faults.syncs {
            self.refused += 1;
            return Err(Refusal::Io);
        }
        self.commit(|naming| naming.places().any(|place| place.0 == inode));
        self.commit_creation(inode);
        self.syncs += 1;
        Ok(())
    }

    /// Keeps the creation of a file or folder and of those above it.
    fn commit_creation(&mut self, inode: Inode) {
        let mut chain = BTreeSet::new();
        let mut at = inode;
        while at != ROOT && chain.insert(at) {
            at = self.nodes.get(&at).map_or(ROOT, |node| node.parent);
        }
        self.commit(|naming| matches!(naming, Naming::Create { inode, .. } if chain.contains(inode)));
    }

    /// Makes the wanted changes of names durable, and those before them that touch the same names.
    fn commit(&mut self, wanted: impl Fn(&Naming) -> bool) {
        let mut places: BTreeSet<Place> = BTreeSet::new();
        let mut keep = vec![false; self.unsynced.len()];
        for (naming, keep) in self.unsynced.iter().zip(&mut keep).rev() {
            if wanted(naming) || naming.places().any(|place| places.contains(place)) {
                *keep = true;
                places.extend(naming.places().cloned());
            }
        }
        let mut rest = Vec::new();
        for (naming, keep) in std::mem::take(&mut self.unsynced).into_iter().zip(keep) {
            if keep {
                naming.apply(&mut self.durable);
            } else {
                rest.push(naming);
            }
        }
        self.unsynced = rest;
        self.sweep();
    }

    /// The power is cut. Whoever has something open has it no more.
    pub(crate) fn cut(&mut self, cut: Cut) -> CutReport {
        let (leave, seed) = match cut {
            Cut::Drop => (Leave::Nothing, 0),
            Cut::KeepPrefix(seed) => (Leave::Prefix, seed),
            Cut::Torn(seed) => (Leave::Torn, seed),
            Cut::Scattered(seed) => (Leave::Scattered, seed),
        };
        let mut chance = Chance::new(seed);
        let mut report = CutReport { open_files: self.handles.len() as u64, ..CutReport::default() };
        let namings = std::mem::take(&mut self.unsynced);
        let kept = if leave == Leave::Nothing { 0 } else { chance.below(namings.len() + 1) };
        for naming in &namings[..kept] {
            naming.apply(&mut self.durable);
        }
        report.dropped_names = (namings.len() - kept) as u64;
        self.live = self.durable.clone();
        self.handles.clear();
        let reachable = self.live.reachable();
        for (inode, node) in &mut self.nodes {
            let Kind::File(content) = &mut node.kind else { continue };
            if reachable.contains(inode) {
                report.dropped_bytes += content.cut(leave, &mut chance);
            } else {
                report.dropped_bytes += content.unsynced_bytes();
            }
        }
        self.sweep();
        report
    }

    /// Forgets what nobody can reach, now or after a cut.
    fn sweep(&mut self) {
        let mut known = self.live.reachable();
        known.extend(self.durable.reachable());
        known.extend(self.handles.values());
        for naming in &self.unsynced {
            let (Naming::Create { inode, .. } | Naming::Remove { inode, .. } | Naming::Rename { inode, .. }) =
                naming;
            known.insert(*inode);
        }
        self.nodes.retain(|inode, _| known.contains(inode));
        self.live.0.retain(|inode, _| known.contains(inode));
        self.durable.0.retain(|inode, _| known.contains(inode));
    }

    /// Bytes of all files that have a name.
    fn bytes(&self) -> u64 {
        self.live.reachable().iter().filter_map(|inode| self.stat(*inode).ok()).map(|stat| stat.bytes).sum()
    }

    pub(crate) fn usage(&self) -> Usage {
        let unsynced = self.nodes.values().map(|node| match &node.kind {
            Kind::File(content) => content.unsynced_bytes(),
            Kind::Folder => 0,
        });
        Usage {
            bytes: self.bytes(),
            unsynced_bytes: unsynced.sum(),
            syncs: self.syncs,
            writes: self.writes,
            refused: self.refused,
        }
    }

    /// Bytes in all and bytes free.
    pub(crate) fn space(&self) -> (u64, u64) {
        let used = self.bytes();
        let full = self.faults.writes == Some(WriteError::NoSpace);
        let limit = if full { used } else { self.faults.full_after_bytes.unwrap_or(UNLIMITED_BYTES) };
        (limit.max(used), limit.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests;
