//! Who was ever a member: one record a replica id, in the replicated state, kept for ever. Pure.
//!
//! Written with the membership entry itself, so that snapshots, backups and the running hash carry it. An id that was removed
//! is recognised as such by every replica that has applied the removal, whenever it is asked.

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::rpc::{Membership, StoredMembership};

use crate::store::{Key, Space, StoreError, View, Writes};

/// What the cluster knows of one replica id. Stored: fields are added, never renumbered.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReplicaRecord {
    /// Log index of the membership that first named it.
    #[prost(uint64, tag = "1")]
    pub added_index: u64,
    /// Log index of the membership that no longer named it; 0 while it is a member.
    #[prost(uint64, tag = "2")]
    pub removed_index: u64,
    /// host:port it was called at.
    #[prost(string, tag = "3")]
    pub address: String,
}

fn decode(bytes: Bytes) -> Result<ReplicaRecord, StoreError> {
    ReplicaRecord::decode(bytes).map_err(|_| StoreError::damaged("a replica's record cannot be read"))
}

fn record(state: &impl View, id: u64) -> Result<Option<ReplicaRecord>, StoreError> {
    state.get(&Key::one(Space::Replica, id))?.map(decode).transpose()
}

/// What a membership entry changes in the records.
///
/// # Errors
/// When the disk fails.
pub fn changes(
    state: &impl View,
    before: Option<&StoredMembership>,
    after: &Membership,
    index: u64,
) -> Result<Writes, StoreError> {
    let mut writes = Writes::new();
    let mut put = |id: u64, record: &ReplicaRecord| {
        writes.insert(Key::one(Space::Replica, id), Some(Bytes::from(record.encode_to_vec())));
    };
    for (id, node) in &after.nodes {
        if record(state, *id)?.is_none() {
            let address = node.address.clone();
            put(*id, &ReplicaRecord { added_index: index, removed_index: 0, address });
        }
    }
    let nodes_before =
        before.and_then(|stored| stored.membership.as_ref()).map(|membership| &membership.nodes);
    for (id, node) in nodes_before.into_iter().flatten() {
        if !after.nodes.contains_key(id) {
            let known = record(state, *id)?;
            let known = known
                .unwrap_or_else(|| ReplicaRecord { address: node.address.clone(), ..Default::default() });
            put(*id, &ReplicaRecord { removed_index: index, ..known });
        }
    }
    Ok(writes)
}

/// Every id that was removed, in order.
///
/// # Errors
/// When the disk fails.
pub fn former_ids(state: &impl View) -> Result<Vec<u64>, StoreError> {
    let pairs = state.range(&Key::one(Space::Replica, 0), &Key::one(Space::Replica, u64::MAX), usize::MAX)?;
    let mut former = Vec::new();
    for (key, bytes) in pairs {
        if decode(bytes)?.removed_index != 0 {
            former.push(key.ordinal());
        }
    }
    Ok(former)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quorate_proto::rpc::Node;

    use super::*;

    fn membership(ids: &[u64]) -> Membership {
        let node = |id: &u64| (*id, Node { address: format!("host{id}:1") });
        Membership { voters: Vec::new(), nodes: ids.iter().map(node).collect() }
    }

    #[test]
    fn an_id_that_was_removed_is_remembered_for_ever() {
        let mut state: BTreeMap<Key, Bytes> = BTreeMap::new();
        let mut before = None;
        for (index, ids) in [(1, &[1, 2, 3][..]), (5, &[1, 2, 3, 4]), (7, &[1, 3, 4]), (9, &[1, 3, 5])] {
            let after = membership(ids);
            for (key, value) in changes(&state, before.as_ref(), &after, index).expect("reads") {
                state.insert(key, value.expect("records are never deleted"));
            }
            before = Some(StoredMembership { log_id: None, membership: Some(after) });
        }
        assert_eq!(former_ids(&state).expect("reads"), [2, 4]);
        let four = record(&state, 4).expect("reads").expect("there");
        assert_eq!((four.added_index, four.removed_index, four.address.as_str()), (5, 9, "host4:1"));
    }

    #[test]
    fn a_replicas_record_keeps_its_bytes() {
        let record = ReplicaRecord { added_index: 1, removed_index: 2, address: "a".into() };
        assert_eq!(record.encode_to_vec(), [0x08, 1, 0x10, 2, 0x1a, 1, b'a']);
        assert_eq!(decode(record.encode_to_vec().into()).expect("reads"), record);
    }
}
