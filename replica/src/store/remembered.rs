//! Remembered command ids, as the checkpoint keeps them: found, added, merged and forgotten. How they lie is in [`super::segments`].

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use bytes::Bytes;

use super::checkpoint::{Batch, Checkpoint, sealed};
use super::segments::{
    BLOCKS, BLOCKS_DROPPED, BLOCKS_PER_BATCH, BLOCKS_PER_STEP, BLOCKS_PER_STEP_MAX, Id, Member, RECORDS,
    Segment, Segments, blocks, id_of, key_of, places, put_block, put_blocks, unpack,
};
use super::{Key, Space, StoreError, Writes};

/// Ids in order, and what is remembered of them.
type Source<'a> = Box<dyn Iterator<Item = Result<(Id, Bytes), StoreError>> + 'a>;

/// A segment that is being merged: the rest of the block at which the merge has arrived.
struct Input {
    segment: Segment,
    block: sled::IVec,
    rest: std::vec::IntoIter<Member>,
    /// Whether the rest is less than what the tree holds.
    is_begun: bool,
}

impl Checkpoint {
    /// The segments that the tree holds.
    pub(super) fn read_segments(&self) -> Result<Segments, StoreError> {
        let mut segments = Segments::default();
        let mut walk = self.db.range((Included(RECORDS), Excluded([RECORDS[0], RECORDS[1] + 1])));
        while let Some((raw, value)) = self.next_pair(&mut walk)? {
            let read = || {
                let (level, number) = raw.get(2..)?.split_first()?;
                let number = u64::from_be_bytes(number.try_into().ok()?);
                Some((*level, number, u64::from_be_bytes(value.as_ref().try_into().ok()?)))
            };
            let (level, number, newest) =
                read().ok_or_else(|| self.damaged("what it knows of a segment cannot be read"))?;
            segments.list.push(Segment { level, number, newest, into: None });
        }
        segments.sort();
        segments.has_singles = self.ask(|| self.singles().next().transpose())?.is_some();
        let first = self.members(&Key::two(Space::DedupExpiry, 0, 0), u64::MAX, 1)?;
        segments.head = match first.first() {
            Some((place, _)) => *place,
            // All are forgotten, and places only rise.
            None => segments.list.iter().map(|segment| segment.newest + 1).max().unwrap_or(0),
        };
        Ok(segments)
    }

    /// What is remembered under an id. The segments do not change meanwhile.
    pub(super) fn remembered(&self, segments: &Segments, key: &Key) -> Result<Option<Bytes>, StoreError> {
        for segment in segments.list.iter().filter(|segment| !segments.is_forgotten(segment)) {
            if let Some(value) = self.in_segment(segments, segment, key)? {
                return Ok(Some(value));
            }
        }
        self.single(segments, key)
    }

    /// The same of an id that is about to be forgotten: the oldest there is, so it is looked for at the other end.
    pub(super) fn leaving(&self, segments: &Segments, key: &Key) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = self.single(segments, key)? {
            return Ok(Some(value));
        }
        for segment in segments.list.iter().rev().filter(|segment| !segments.is_forgotten(segment)) {
            if let Some(value) = self.in_segment(segments, segment, key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn in_segment(
        &self,
        segments: &Segments,
        segment: &Segment,
        key: &Key,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(id) = id_of(key) else { return Ok(None) };
        let Some((_, members)) = self.block(segment, Included(segment.block_key(&id)))? else {
            return Ok(None);
        };
        let is_it = |member: &Member| member.id == id && member.place >= segments.head;
        Ok(members.into_iter().find(is_it).map(|member| member.value))
    }

    /// What is remembered under an id that has a key of its own.
    fn single(&self, segments: &Segments, key: &Key) -> Result<Option<Bytes>, StoreError> {
        if !segments.has_singles {
            return Ok(None);
        }
        let raw = self.ask(|| self.db.get(key.as_bytes()))?;
        raw.map(|raw| self.unsealed(key.as_bytes(), &raw)).transpose()
    }

    /// The next block of a segment.
    fn block<K: AsRef<[u8]>>(
        &self,
        segment: &Segment,
        from: Bound<K>,
    ) -> Result<Option<(sled::IVec, Vec<Member>)>, StoreError> {
        let found = self.next_pair(&mut self.db.range((from, Unbounded)))?;
        let Some((key, block)) = found.filter(|(key, _)| key.starts_with(&segment.key(BLOCKS))) else {
            return Ok(None);
        };
        let members = unpack(&block).ok_or_else(|| self.damaged("a block of ids cannot be read"))?;
        Ok(Some((key, members)))
    }

    /// What a batch does to remembered ids: what it brings becomes a segment, what is forgotten goes, and what is being merged goes
    /// on a little.
    pub(super) fn change_segments(
        &self,
        batch: &mut Batch,
        segments: &Segments,
        writes: &Writes,
    ) -> Result<Segments, StoreError> {
        let mut next = segments.clone();
        let (places, head) = places(writes, next.head);
        next.head = head;
        self.drop_forgotten(batch, &mut next)?;
        let mut members = Vec::new();
        for (key, value) in writes.range(Key::of(Space::Dedup)..Key::of(Space::SigningKey)) {
            if segments.has_singles {
                batch.remove(key.as_bytes());
            }
            let Some(value) = value else { continue };
            match id_of(key).and_then(|id| Some((id, *places.get(&id)?))) {
                Some((id, place)) => members.push(Member { id, place, value: value.clone() }),
                None => {
                    batch.insert(key.as_bytes(), sealed(key.as_bytes(), value));
                    next.has_singles = true;
                }
            }
        }
        next.credit += BLOCKS_PER_BATCH + 2 * blocks(&members).len();
        if next.credit >= BLOCKS_PER_STEP {
            // More than a step's worth only where a batch was large: an overlay that waited for the disk.
            let blocks_max = next.credit.min(BLOCKS_PER_STEP_MAX);
            next.credit -= blocks_max;
            for target in next.begin_merges(batch) {
                self.merge_segments(batch, &mut next, &target, blocks_max)?;
            }
        }
        // Last: the tree does not hold it yet.
        if let Some(newest) = members.iter().map(|member| member.place).max() {
            let segment = next.begin(batch, 0, newest);
            put_blocks(batch, &segment, &members);
        }
        next.sort();
        Ok(next)
    }

    /// Removes segments of which every id is forgotten, some blocks at a time.
    fn drop_forgotten(&self, batch: &mut Batch, segments: &mut Segments) -> Result<(), StoreError> {
        let mut left = BLOCKS_DROPPED;
        for segment in segments.list.clone() {
            if !segments.is_forgotten(&segment) {
                continue;
            }
            let prefix = segment.key(BLOCKS);
            let mut walk = self.db.range((Included(prefix), Unbounded));
            while let Some((key, _)) =
                self.ask(|| walk.next().transpose())?.filter(|(key, _)| key.starts_with(&prefix))
            {
                if left == 0 {
                    return Ok(());
                }
                batch.remove(key);
                left -= 1;
            }
            segments.end(batch, &segment);
        }
        Ok(())
    }

    /// Moves the lowest ids of a merge's inputs to the end of the segment that they are merged into: what is left of the inputs is
    /// above all that the target has, so every segment is whole at each step.
    fn merge_segments(
        &self,
        batch: &mut Batch,
        segments: &mut Segments,
        target: &Segment,
        blocks_max: usize,
    ) -> Result<(), StoreError> {
        let mut inputs = Vec::new();
        let mut lowest = BTreeMap::new();
        for segment in segments.inputs(target.number) {
            let Some((block, members)) = self.block(&segment, Included(segment.key(BLOCKS)))? else {
                segments.end(batch, &segment);
                continue;
            };
            let mut rest = members.into_iter();
            lowest.extend(rest.next().map(|member| ((member.id, inputs.len()), member)));
            inputs.push(Input { segment, block, rest, is_begun: false });
        }
        let (mut merged, mut taken) = (Vec::new(), 0);
        while let Some(((_, at), member)) = lowest.pop_first() {
            let input = &mut inputs[at];
            input.is_begun = true;
            if member.place >= segments.head {
                merged.push(member);
            }
            if input.rest.len() == 0 {
                batch.remove(input.block.clone());
                match self.block(&input.segment, Excluded(&input.block))? {
                    Some((block, members)) => {
                        (input.block, input.rest, input.is_begun) = (block, members.into_iter(), false)
                    }
                    None => {
                        segments.end(batch, &input.segment);
                        input.is_begun = false;
                        continue;
                    }
                }
                taken += 1;
            }
            lowest.extend(input.rest.next().map(|member| ((member.id, at), member)));
            if taken >= blocks_max {
                break;
            }
        }
        // What was not reached stays where it is, under the key of its last id.
        for ((_, at), member) in lowest {
            let input = &inputs[at];
            if input.is_begun {
                let rest: Vec<Member> =
                    std::iter::once(member).chain(input.rest.as_slice().iter().cloned()).collect();
                put_block(batch, &input.block, &rest);
            }
        }
        put_blocks(batch, target, &merged);
        Ok(())
    }

    /// Ids with keys of their own.
    fn singles(&self) -> impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>> + '_ {
        self.db.scan_prefix([Space::Dedup as u8])
    }

    /// Every remembered id and what is remembered of it, in order of keys. It stands still for the writing thread, the only one that
    /// changes it.
    pub(super) fn id_pairs(
        &self,
        segments: Segments,
    ) -> impl Iterator<Item = Result<(Key, Bytes), StoreError>> + '_ {
        let head = segments.head;
        let mut singles = self.singles();
        let singles = std::iter::from_fn(move || self.next_pair(&mut singles).transpose()).map(|pair| {
            let (raw, value) = pair?;
            let id = Key::from_bytes(&raw).as_ref().and_then(id_of);
            Ok((id.ok_or_else(|| self.damaged("a command's id is too long or too short"))?, value))
        });
        let mut sources: Vec<Source<'_>> = vec![Box::new(singles)];
        for segment in segments.list {
            let prefix = segment.key(BLOCKS);
            let mut walk = self.db.range((Included(prefix), Unbounded));
            let blocks = std::iter::from_fn(move || self.next_pair(&mut walk).transpose())
                .take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)));
            let members = blocks.flat_map(move |pair| {
                let members = pair.and_then(|(_, block)| {
                    unpack(&block).ok_or_else(|| self.damaged("a block of ids cannot be read"))
                });
                match members {
                    Ok(members) => {
                        let live = members.into_iter().filter(|member| member.place >= head);
                        live.map(|member| Ok((member.id, member.value))).collect()
                    }
                    Err(error) => vec![Err(error)],
                }
            });
            sources.push(Box::new(members));
        }
        let mut lowest = BTreeMap::new();
        let mut asked: Vec<usize> = (0..sources.len()).collect();
        std::iter::from_fn(move || {
            while let Some(at) = asked.pop() {
                match sources[at].next() {
                    Some(Ok((id, value))) => drop(lowest.insert((id, at), value)),
                    Some(Err(error)) => return Some(Err(error)),
                    None => {}
                }
            }
            let ((id, at), value) = lowest.pop_first()?;
            asked.push(at);
            Some(Ok((key_of(&id), value)))
        })
    }
}

#[cfg(test)]
mod tests;
