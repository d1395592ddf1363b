//! Restoring a backup: the same content as the beginning of a new cluster.
//!
//! Every replica of the new cluster is given the same file, so all begin with the same state at the same log id, which counts
//! as committed; their first election is an ordinary one. The content is the backup's but for three things: all sign-ins and
//! tokens are ended, the signing keys are gone (the first leader makes a new one), and the members are those of the new configuration.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::rpc::{LogId, Membership, Node, StoredMembership, VoterSet};

use crate::config::Settings;
use crate::identity;
use crate::machine::records::Session;
use crate::node::ReplicaRecord;
use crate::store::{Applied, Key, Space, StoreError, backup, sum};
use crate::verify;

/// What the new cluster begins without: keys, members, sessions that last (tokens as well), an operator's offer, the gateway that
/// told webhooks.
const NOT_RESTORED: [Space; 5] =
    [Space::SigningKey, Space::Replica, Space::SessionOf, Space::AdminOffer, Space::HookLease];

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The cluster that the backup is of.
    pub from_cluster: String,
    /// Its log index.
    pub index: u64,
    /// The running hash there.
    pub hash: Bytes,
    /// How many records of each kind.
    pub report: verify::Report,
}

/// Makes the data directory of one replica of a new cluster from a backup.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn restore(from: &Path, settings: &Settings) -> Result<Restored, String> {
    let name = from.display();
    let unreadable = |error: StoreError| format!("cannot restore {name}: {error}");
    let (applied, label) = backup::header(from).map_err(unreadable)?;
    if label.cluster.is_empty() {
        return Err(format!("{name} is a replica's own snapshot, no backup: make one with `replica backup`"));
    }
    if label.cluster == settings.cluster {
        return Err(format!(
            "{name} is of cluster {} itself: a restored state is a new cluster, so that clients do not take it for what \
             they have seen; choose another --cluster id",
            label.cluster
        ));
    }
    if !settings.replicas.contains_key(&settings.id) {
        return Err(format!(
            "replica {} is not listed under [[replicas]], the new first membership",
            settings.id
        ));
    }
    let dir = settings.data_dir.display();
    if settings.data_dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("data directory {dir} is not empty: restore into a new one"));
    }
    // Everything is read once before anything is written: a damaged backup leaves no directory behind.
    let report = verify::check(backup::pairs(from).map_err(unreadable)?).map_err(unreadable)?;
    if !report.is_whole() {
        return Err(format!(
            "{name} contradicts itself in {} places: see `replica verify`",
            report.problem_count
        ));
    }
    let log_id = LogId { term: 0, node_id: 0, index: applied.index().unwrap_or(0) };
    let replicas = roster(backup::pairs(from).map_err(unreadable)?, settings, log_id.index)?;
    let log_time_ms = applied.log_time_ms;
    let anew = || -> Result<_, StoreError> {
        let pairs = backup::pairs(from)?.filter_map(move |pair| begin_anew(pair, log_time_ms));
        Ok(with_roster(pairs, replicas.clone()))
    };
    let sum = anew().and_then(sum::of_stored_pairs).map_err(unreadable)?;
    let begun = Applied {
        log_id: Some(log_id),
        membership: Some(StoredMembership { log_id: Some(log_id), membership: Some(membership(settings)) }),
        state: Bytes::copy_from_slice(&sum.to_bytes()),
        ..applied.clone()
    };
    let _lock = identity::claim(&settings.data_dir, &settings.cluster, settings.id)?;
    anew()
        .and_then(|pairs| backup::begin_with(&settings.data_dir, &begun, pairs))
        .map_err(|error| format!("cannot write data directory {dir}: {error}"))?;
    let (index, hash) = (log_id.index, applied.hash.clone());
    Ok(Restored { from_cluster: label.cluster, index, hash, report })
}

fn membership(settings: &Settings) -> Membership {
    let node = |(id, address): (&u64, &String)| (*id, Node { address: address.clone() });
    let voters = VoterSet { node_ids: settings.replicas.keys().copied().collect() };
    Membership { voters: vec![voters], nodes: settings.replicas.iter().map(node).collect() }
}

/// One pair as the new cluster has it; `None` when it has not.
fn begin_anew(
    pair: Result<(Bytes, Bytes), StoreError>,
    log_time_ms: u64,
) -> Option<Result<(Bytes, Bytes), StoreError>> {
    let (key, value) = match pair {
        Ok(pair) => pair,
        Err(error) => return Some(Err(error)),
    };
    match key.first().copied() {
        Some(space) if NOT_RESTORED.iter().any(|not| space == *not as u8) => None,
        Some(space) if space == Space::Session as u8 => {
            let Ok(mut session) = Session::decode(value) else {
                return Some(Err(StoreError::damaged("a session cannot be read")));
            };
            if session.ended_ms == 0 {
                session.ended_ms = log_time_ms.max(1);
            }
            Some(Ok((key, Bytes::from(session.encode_to_vec()))))
        }
        _ => Some(Ok((key, value))),
    }
}

/// The replicas' records of the new cluster: ids that were ever used stay used, but for those of its members.
fn roster(
    pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
    settings: &Settings,
    index: u64,
) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let mut roster = BTreeMap::new();
    let mut put = |id: u64, record: &ReplicaRecord| {
        let key = Bytes::copy_from_slice(Key::one(Space::Replica, id).as_bytes());
        roster.insert(key, Bytes::from(record.encode_to_vec()));
    };
    for pair in pairs {
        let (raw, value) = pair.map_err(|error| error.to_string())?;
        if raw.first() != Some(&(Space::Replica as u8)) {
            continue;
        }
        let id = Key::from_bytes(&raw).map_or(0, |key| key.ordinal());
        let record =
            ReplicaRecord::decode(value).map_err(|_| "a replica's record cannot be read".to_owned())?;
        if settings.replicas.contains_key(&id) && record.removed_index != 0 {
            return Err(format!(
                "replica {id} was removed before the backup was made, and ids are never used again: list another id \
                 under [[replicas]]"
            ));
        }
        let removed_index = if record.removed_index == 0 { index } else { record.removed_index };
        put(id, &ReplicaRecord { removed_index, ..record });
    }
    for (id, address) in &settings.replicas {
        put(*id, &ReplicaRecord { added_index: index, removed_index: 0, address: address.clone() });
    }
    Ok(roster)
}

/// The pairs with the roster at its place in the order of keys.
fn with_roster(
    pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
    roster: BTreeMap<Bytes, Bytes>,
) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> {
    let mut pairs = pairs.peekable();
    let mut roster = roster.into_iter().peekable();
    std::iter::from_fn(move || {
        let roster_first = match (roster.peek(), pairs.peek()) {
            (Some((own, _)), Some(Ok((key, _)))) => own < key,
            (Some(_), None) => true,
            _ => false,
        };
        if roster_first { roster.next().map(Ok) } else { pairs.next() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::records::{Hook, HookLease};

    #[test]
    fn tokens_end_as_sign_ins_do_and_webhooks_stay_without_who_told_them() {
        let pair =
            |key: Key, value: Vec<u8>| Ok((Bytes::copy_from_slice(key.as_bytes()), Bytes::from(value)));
        let token = Session { scopes: 3, ..Session::default() }.encode_to_vec();
        let anew = begin_anew(pair(Key::new(Space::Session, &[1; 16]), token), 500).expect("kept");
        let session = Session::decode(anew.expect("reads").1).expect("a session");
        assert_eq!((session.scopes, session.ended_ms), (3, 500));
        assert!(begin_anew(pair(Key::with_id(Space::SessionOf, 1, &[1; 16]), Vec::new()), 500).is_none());
        let lease = HookLease { holder: Bytes::from_static(&[1; 16]), ends_ms: 9 }.encode_to_vec();
        assert!(begin_anew(pair(Key::of(Space::HookLease), lease), 500).is_none());
        let hook = Hook { url: "https://example.com".into(), ..Hook::default() }.encode_to_vec();
        let kept = begin_anew(pair(Key::one(Space::Hook, 7), hook.clone()), 500).expect("kept");
        assert_eq!(kept.expect("reads").1, hook);
    }
}
