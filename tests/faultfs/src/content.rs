//! The bytes of one file: what programs read now, what is on disk, and the changes in between, in order.
//!
//! Owns what a sync keeps and what a power cut leaves of one file. Must not know names, folders or FUSE.

use crate::chance::Chance;

/// A page of the kernel's cache: what is written back whole, or not at all.
const PAGE_BYTES: usize = 4096;
/// Changes of one file beyond this are written back without being asked for, as a kernel does when memory is dear.
const UNSYNCED_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize { length: usize },
}

impl Change {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } => bytes.len() as u64,
            Self::Resize { .. } => 0,
        }
    }

    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(to, *offset, bytes),
            Self::Resize { length } => to.resize(*length, 0),
        }
    }
}

fn write(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

/// What a power cut leaves of a file's unsynced changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing.
    Nothing,
    /// The first few.
    Prefix,
    /// The first few, and a part of the next: it ends anywhere, also within a page.
    Torn,
    /// Any of their pages, in whatever order the kernel wrote them back; holes read as zeros.
    Scattered,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    unsynced_bytes: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes
    }

    /// What programs read: at most `size` bytes, fewer at the end.
    pub(crate) fn read(&self, offset: u64, size: usize) -> &[u8] {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.live.len());
        &self.live[from..from.saturating_add(size).min(self.live.len())]
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(crate) fn resize(&mut self, length: usize) {
        if length != self.live.len() {
            self.change(Change::Resize { length });
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced_bytes += change.bytes();
        self.unsynced.push(change);
        if self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            self.sync();
        }
    }

    /// Everything is on disk from now on.
    pub(crate) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
        self.unsynced_bytes = 0;
    }

    /// A sync failed: as in Linux the changes count as clean from now on, still readable and never written. Returns how
    /// many bytes that are.
    pub(crate) fn lose(&mut self) -> u64 {
        self.unsynced.clear();
        std::mem::take(&mut self.unsynced_bytes)
    }

    /// The power is cut; returns how many written bytes are gone.
    pub(crate) fn cut(&mut self, leave: Leave, chance: &mut Chance) -> u64 {
        let changes = std::mem::take(&mut self.unsynced);
        let written = std::mem::take(&mut self.unsynced_bytes);
        let mut kept = 0;
        match leave {
            Leave::Nothing => {}
            Leave::Prefix | Leave::Torn => {
                let whole = chance.below(changes.len() + 1);
                for change in &changes[..whole] {
                    change.apply(&mut self.durable);
                    kept += change.bytes();
                }
                if leave == Leave::Torn
                    && let Some(Change::Write { offset, bytes }) = changes.get(whole)
                {
                    let part = chance.below(bytes.len());
                    write(&mut self.durable, *offset, &bytes[..part]);
                    kept += part as u64;
                }
            }
            Leave::Scattered => {
                for change in &changes {
                    match change {
                        Change::Write { offset, bytes } => {
                            kept += scatter(&mut self.durable, *offset, bytes, chance);
                        }
                        Change::Resize { .. } if chance.coin() => change.apply(&mut self.durable),
                        Change::Resize { .. } => {}
                    }
                }
            }
        }
        self.live.clone_from(&self.durable);
        written - kept
    }
}

/// Writes each page's part of a write, or does not; returns the bytes written.
fn scatter(to: &mut Vec<u8>, offset: usize, bytes: &[u8], chance: &mut Chance) -> u64 {
    let (mut at, mut kept) = (0, 0);
    while at < bytes.len() {
        let end = (at + PAGE_BYTES - (offset + at) % PAGE_BYTES).min(bytes.len());
        if chance.coin() {
            write(to, offset + at, &bytes[at..end]);
            kept += (end - at) as u64;
        }
        at = end;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Content {
        let mut file = Content::default();
        file.write(0, b"synced");
        file.sync();
        for part in [b" one", b" two", b" thr"] {
            let end = usize::try_from(file.len()).unwrap();
            file.write(end, part);
        }
        file
    }

    #[test]
    fn a_cut_leaves_what_was_synced_and_a_prefix_at_most() {
        let whole = b"synced one two thr";
        let (mut lengths, mut torn) = (std::collections::BTreeSet::new(), 0);
        for seed in 0..200 {
            for leave in [Leave::Nothing, Leave::Prefix, Leave::Torn] {
                let mut file = file();
                assert_eq!(file.read(0, 100), whole, "before the cut everything is read");
                let lost = file.cut(leave, &mut Chance::new(seed));
                let left = file.read(0, 100);
                assert!(left.len() >= 6 && whole.starts_with(left), "{leave:?} {left:?}");
                assert_eq!(left.len() as u64 + lost, 18);
                match leave {
                    Leave::Nothing => assert_eq!(left, b"synced"),
                    Leave::Prefix => assert_eq!((left.len() - 6) % 4, 0),
                    Leave::Torn | Leave::Scattered => {
                        torn += usize::from(!(left.len() - 6).is_multiple_of(4))
                    }
                }
                lengths.insert(left.len());
            }
        }
        assert!(torn > 50 && lengths.len() > 8, "{torn} torn writes, lengths {lengths:?}");
    }

    #[test]
    fn scattered_pages_leave_holes_and_never_touch_what_was_synced() {
        let mut holes = 0;
        for seed in 0..50 {
            let mut file = Content::default();
            file.write(0, &[1; 5000]);
            file.sync();
            file.write(5000, &[2; 20_000]);
            file.cut(Leave::Scattered, &mut Chance::new(seed));
            assert!(file.read(0, 5000).iter().all(|byte| *byte == 1));
            let rest = file.read(5000, 30_000);
            assert!(rest.iter().all(|byte| [0, 2].contains(byte)));
            holes += usize::from(rest.contains(&0));
        }
        assert!(holes > 10, "{holes}");
    }

    #[test]
    fn a_failed_sync_loses_for_good_what_is_still_read() {
        let mut file = file();
        assert_eq!(file.lose(), 12);
        assert_eq!(file.len(), 18);
        file.sync();
        file.cut(Leave::Nothing, &mut Chance::new(1));
        assert_eq!(file.read(0, 100), b"synced");
    }

    #[test]
    fn truncation_is_a_change_like_any_other() {
        let mut file = file();
        file.resize(2);
        assert_eq!(file.read(0, 100), b"sy");
        file.cut(Leave::Nothing, &mut Chance::new(1));
        assert_eq!(file.read(0, 100), b"synced");
        file.resize(3);
        file.sync();
        file.cut(Leave::Nothing, &mut Chance::new(1));
        assert_eq!(file.read(0, 100), b"syn");
    }
}
