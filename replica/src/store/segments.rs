//! Remembered command ids in the checkpoint: packed, because they come at random places of the order of keys.
//!
//! One sled key each was three in five of all keys a message costs, and each went into another leaf. So what one batch brings is
//! written as a *segment*: its ids in order, in blocks. Sixteen segments of a level are merged into one of the next, a slice at a
//! time, so that no batch does much: a log-structured merge tree (O'Neil et al., "The log-structured merge-tree", 1996). Ids are
//! forgotten in the order in which they came, by their place in the queue of expiries: an id before the queue's head is as good as
//! gone, is left out of the next merge, and a segment of nothing else is dropped.
//!
//! ```text
//!   0 1 level(u8) number(u64) last-id → block: (id, place u64, length u32, value)…, ids in order
//!   0 2 level(u8) number(u64)         → the newest place in that segment, u64
//! ```
//!
//! An id whose place is not known has a key of its own, in `Space::Dedup`: those of an installed snapshot, and those that an older
//! program wrote. Owns how ids lie on disk; what belongs to the state is the machine's.

use std::cmp::Reverse;
use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;

use super::checkpoint::{Batch, sealed};
use super::run::RUN_BYTES_TARGET;
use super::{Key, Space, Writes};

/// A key of `Space::Dedup` without its first byte: user id, command id.
pub(super) type Id = [u8; ID_BYTES];

pub(super) const ID_BYTES: usize = 24;
/// Before each value in a block: id, place, length.
const HEAD_BYTES: usize = ID_BYTES + 8 + 4;
/// Keys of blocks, and of what is known of a segment, begin so: below every space, so that no range meets them.
pub(super) const BLOCKS: [u8; 2] = [0, 1];
pub(super) const RECORDS: [u8; 2] = [0, 2];
const PREFIX_BYTES: usize = 2 + 1 + 8;
/// This many segments of a level become one of the next. An id is written once a level, and looked up in so many segments of each.
pub(super) const FAN_IN: usize = 16;
/// A merge goes on when batches have earned it so many blocks, two for each block that they brought, and takes as many as were earned.
/// So each level keeps up with what comes.
pub(super) const BLOCKS_PER_STEP: usize = 96;
/// It takes no more than these at a time, some 6 MiB.
pub(super) const BLOCKS_PER_STEP_MAX: usize = 1_024;
/// Earned by each batch, however small it is.
pub(super) const BLOCKS_PER_BATCH: usize = 8;
/// Blocks of a forgotten segment removed with one batch.
pub(super) const BLOCKS_DROPPED: usize = 128;

/// What a place in the queue of expiries says of its id. The machine writes more there, under other numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Placed {
    #[prost(uint64, tag = "2")]
    pub(crate) user_id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) command_id: Bytes,
}

/// One segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) level: u8,
    pub(super) number: u64,
    /// The newest place in it, or a later one: once that is forgotten, so is the segment.
    pub(super) newest: u64,
    /// The number of the segment into which it is being merged.
    pub(super) into: Option<u64>,
}

impl Segment {
    pub(super) fn key(&self, kind: [u8; 2]) -> [u8; PREFIX_BYTES] {
        let mut key = [0; PREFIX_BYTES];
        key[..2].copy_from_slice(&kind);
        key[2] = self.level;
        key[3..].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    /// The key of the block that ends with an id; the first key at or after it is of the block that would hold the id.
    pub(super) fn block_key(&self, id: &Id) -> [u8; PREFIX_BYTES + ID_BYTES] {
        let mut key = [0; PREFIX_BYTES + ID_BYTES];
        key[..PREFIX_BYTES].copy_from_slice(&self.key(BLOCKS));
        key[PREFIX_BYTES..].copy_from_slice(id);
        key
    }
}

/// Which segments there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    /// Younger ones first: what is asked for again is mostly young.
    pub(super) list: Vec<Segment>,
    /// Ids at places before this are forgotten.
    pub(super) head: u64,
    /// Whether some ids may have keys of their own.
    pub(super) has_singles: bool,
    /// Blocks that merges have earned and not taken.
    pub(super) credit: usize,
}

/// One remembered id.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: Id,
    pub(super) place: u64,
    pub(super) value: Bytes,
}

/// The members of a block; `None` when it is damaged.
pub(super) fn unpack(block: &Bytes) -> Option<Vec<Member>> {
    let (mut members, mut at) = (Vec::new(), 0);
    while at < block.len() {
        let head = block.get(at..at + HEAD_BYTES)?;
        let length = u32::from_be_bytes(head[ID_BYTES + 8..].try_into().ok()?) as usize;
        let end = at + HEAD_BYTES + length;
        if end > block.len() {
            return None;
        }
        members.push(Member {
            id: head[..ID_BYTES].try_into().ok()?,
            place: u64::from_be_bytes(head[ID_BYTES..ID_BYTES + 8].try_into().ok()?),
            value: block.slice(at + HEAD_BYTES..end),
        });
        at = end;
    }
    Some(members)
}

pub(super) fn pack(members: &[Member]) -> Vec<u8> {
    let mut block = Vec::with_capacity(members.iter().map(|member| HEAD_BYTES + member.value.len()).sum());
    for member in members {
        block.extend_from_slice(&member.id);
        block.extend_from_slice(&member.place.to_be_bytes());
        let length = u32::try_from(member.value.len()).expect("a stored value is at most 64 KiB");
        block.extend_from_slice(&length.to_be_bytes());
        block.extend_from_slice(&member.value);
    }
    block
}

/// Splits members into blocks of about [`RUN_BYTES_TARGET`] bytes.
pub(super) fn blocks(members: &[Member]) -> Vec<&[Member]> {
    let (mut blocks, mut start, mut size) = (Vec::new(), 0, 0);
    for (at, member) in members.iter().enumerate() {
        let cost = HEAD_BYTES + member.value.len();
        if at > start && size + cost > RUN_BYTES_TARGET {
            blocks.push(&members[start..at]);
            (start, size) = (at, 0);
        }
        size += cost;
    }
    if start < members.len() {
        blocks.push(&members[start..]);
    }
    blocks
}

/// Adds members to a segment, behind those it has.
pub(super) fn put_blocks(batch: &mut Batch, segment: &Segment, members: &[Member]) {
    for block in blocks(members) {
        if let Some(last) = block.last() {
            put_block(batch, &segment.block_key(&last.id), block);
        }
    }
}

pub(super) fn put_block(batch: &mut Batch, key: &[u8], members: &[Member]) {
    batch.insert(key, sealed(key, &pack(members)));
}

pub(super) fn id_of(key: &Key) -> Option<Id> {
    (key.space() == Space::Dedup as u8).then(|| key.as_bytes()[1..].try_into().ok()).flatten()
}

pub(super) fn key_of(id: &Id) -> Key {
    Key::new(Space::Dedup, id)
}

/// At which places a batch remembers ids, and the place before which all are forgotten.
pub(super) fn places(writes: &Writes, head: u64) -> (HashMap<Id, u64>, u64) {
    let (mut places, mut head) = (HashMap::new(), head);
    let queue = Key::two(Space::DedupExpiry, 0, 0)..=Key::two(Space::DedupExpiry, 0, u64::MAX);
    for (key, value) in writes.range(queue) {
        let Some(value) = value else {
            head = head.max(key.ordinal() + 1);
            continue;
        };
        let Ok(placed) = Placed::decode(value.clone()) else { continue };
        let Ok(command_id) = <[u8; 16]>::try_from(placed.command_id.as_ref()) else { continue };
        let id = id_of(&Key::with_id(Space::Dedup, placed.user_id, &command_id));
        places.extend(id.map(|id| (id, key.ordinal())));
    }
    (places, head)
}

impl Segments {
    /// No segments: all ids have keys of their own.
    pub(super) fn of_singles() -> Self {
        Self { has_singles: true, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn sort(&mut self) {
        self.list.sort_by_key(|segment| (segment.level, Reverse(segment.number)));
    }

    pub(super) fn is_forgotten(&self, segment: &Segment) -> bool {
        segment.newest < self.head
    }

    /// Adds a segment without members.
    pub(super) fn begin(&mut self, batch: &mut Batch, level: u8, newest: u64) -> Segment {
        let number = self.list.iter().map(|segment| segment.number + 1).max().unwrap_or(0);
        let segment = Segment { level, number, newest, into: None };
        let key = segment.key(RECORDS);
        batch.insert(key.as_slice(), sealed(&key, &newest.to_be_bytes()));
        self.list.push(segment);
        segment
    }

    pub(super) fn end(&mut self, batch: &mut Batch, segment: &Segment) {
        batch.remove(segment.key(RECORDS).as_slice());
        self.list.retain(|other| other.number != segment.number);
    }

    /// Segments that can be merged at a level: not those that are part of a merge already.
    fn free(&self, level: u8) -> Vec<Segment> {
        let is_target = |number| self.list.iter().any(|segment| segment.into == Some(number));
        let free = |segment: &&Segment| {
            segment.level == level
                && segment.into.is_none()
                && !self.is_forgotten(segment)
                && !is_target(segment.number)
        };
        self.list.iter().filter(free).copied().collect()
    }

    /// What is being merged into a segment.
    pub(super) fn inputs(&self, into: u64) -> Vec<Segment> {
        let is_input = |segment: &&Segment| segment.into == Some(into) && !self.is_forgotten(segment);
        self.list.iter().filter(is_input).copied().collect()
    }

    /// Begins merges where enough segments have come together, one a level at a time, and says into which merges go on.
    pub(super) fn begin_merges(&mut self, batch: &mut Batch) -> Vec<Segment> {
        let levels = self.list.iter().map(|segment| segment.level).max().unwrap_or(0);
        for level in 0..=levels {
            let is_busy = |segment: &Segment| segment.into.is_some() && !self.is_forgotten(segment);
            if self.list.iter().any(|segment| segment.level == level && is_busy(segment)) {
                continue;
            }
            let mut free = self.free(level);
            if free.len() < FAN_IN || level == u8::MAX {
                continue;
            }
            // The oldest of them.
            free.sort_by_key(|segment| segment.number);
            free.truncate(FAN_IN);
            let newest = free.iter().map(|segment| segment.newest).max().unwrap_or(0);
            let target = self.begin(batch, level + 1, newest);
            for segment in &mut self.list {
                if free.iter().any(|input| input.number == segment.number) {
                    segment.into = Some(target.number);
                }
            }
        }
        let into: Vec<u64> = self.list.iter().filter_map(|segment| segment.into).collect();
        self.list.iter().filter(|segment| into.contains(&segment.number)).copied().collect()
    }
}
