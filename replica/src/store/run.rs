//! Runs: neighbours of one (space, id) packed into one value of the checkpoint.
//!
//! A conversation's messages cost one checkpoint key per some dozens instead of one each. A run is stored under the key of
//! its last member, so that the first key at or after a wanted one is the run that would hold it. Layout of a run, repeated:
//! ordinal (u64, big-endian), length (u32, big-endian), value.

use bytes::Bytes;

/// A run grows to this many bytes before the next is begun; small runs are rewritten with their successors. A leaf of sled has up to 17 keys,
/// and becomes a file of its own where it is larger than 128 KiB: seventeen runs stay below, but for the longest texts.
pub(super) const RUN_BYTES_TARGET: usize = 6 * 1024;

/// A run's members, in order of ordinals.
pub(super) type Members = Vec<(u64, Bytes)>;

/// Packs members into one value.
pub(super) fn pack(members: &[(u64, Bytes)]) -> Vec<u8> {
    let size = members.iter().map(|(_, value)| value.len() + 12).sum();
    let mut out = Vec::with_capacity(size);
    for (ordinal, value) in members {
        out.extend_from_slice(&ordinal.to_be_bytes());
        let length = u32::try_from(value.len()).expect("a stored value is at most 64 KiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
    out
}

/// Walks a run's members without copying; an item is `None` where the run is damaged.
pub(super) fn walk(run: &Bytes) -> impl Iterator<Item = Option<(u64, std::ops::Range<usize>)>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= run.len() {
            return None;
        }
        let member = read_member(run, at);
        at = member.as_ref().map_or(run.len(), |(_, place)| place.end);
        Some(member)
    })
}

fn read_member(run: &Bytes, at: usize) -> Option<(u64, std::ops::Range<usize>)> {
    let head = run.get(at..at + 12)?;
    let ordinal = u64::from_be_bytes(head[..8].try_into().ok()?);
    let length = u32::from_be_bytes(head[8..].try_into().ok()?) as usize;
    let end = at + 12 + length;
    (end <= run.len()).then_some((ordinal, at + 12..end))
}

/// Unpacks a whole run without copying its values; `None` when it is damaged.
pub(crate) fn unpack(run: &Bytes) -> Option<Members> {
    walk(run).map(|member| member.map(|(ordinal, place)| (ordinal, run.slice(place)))).collect()
}

/// Splits members into runs of at most [`RUN_BYTES_TARGET`] bytes, or of one member that is larger alone.
pub(super) fn split(members: &[(u64, Bytes)]) -> Vec<&[(u64, Bytes)]> {
    let mut runs = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, (_, value)) in members.iter().enumerate() {
        let cost = value.len() + 12;
        if at > start && size + cost > RUN_BYTES_TARGET {
            runs.push(&members[start..at]);
            (start, size) = (at, 0);
        }
        size += cost;
    }
    if start < members.len() {
        runs.push(&members[start..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_unpacks_to_what_was_packed() {
        let members: Members =
            (1..=50).map(|n| (n * 3, Bytes::from(vec![n as u8; n as usize * 7]))).collect();
        assert_eq!(unpack(&Bytes::from(pack(&members))), Some(members));
    }

    #[test]
    fn a_damaged_run_is_refused() {
        let mut run = pack(&[(1, Bytes::from_static(b"hello"))]);
        run.pop();
        assert_eq!(unpack(&Bytes::from(run)), None);
    }

    #[test]
    fn runs_are_bounded() {
        let members: Members = (0..1000).map(|n| (n, Bytes::from(vec![0; 300]))).collect();
        let runs = split(&members);
        assert!(runs.iter().all(|run| pack(run).len() <= RUN_BYTES_TARGET));
        assert_eq!(runs.iter().map(|run| run.len()).sum::<usize>(), 1000);
    }
}
