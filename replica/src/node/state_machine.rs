//! From committed entries to state, replies and events: the glue between openraft, the machine and the store.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use prost::Message as _;
use quorate_proto::rpc::{Command, Event, Outcome};

use super::types::{
    Entry, LogId, Reply, SnapshotMeta, StoredMembership, Types, log_id_from_wire, log_id_to_wire,
    stored_membership_from_wire, stored_membership_to_wire,
};
use crate::feed::{AppliedBatch, Publisher};
use crate::machine::{self, Context};
use crate::metrics::Metrics;
use crate::planted::{self, Bug};
use crate::store::{Applied, Applier, SnapshotFile, Store, StoreError, View, Writes};

/// Entries applied under one hold of the state: bounds how long readers wait, about half a millisecond.
const APPLY_BATCH_ENTRIES: usize = 128;

/// Applies entries to the store. One of it exists; snapshots builders share the store.
#[derive(Debug, Clone)]
pub struct StateMachine {
    store: Arc<Store>,
    publisher: Publisher,
    metrics: Metrics,
    /// Nothing was applied since the state was opened, and something before.
    resumed: bool,
}

type Snap = Snapshot<super::types::LeaderId, u64, super::types::Peer, SnapshotFile>;

impl StateMachine {
    /// A state machine over a store, publishing to the feed.
    pub fn new(store: Arc<Store>, publisher: Publisher, metrics: Metrics) -> Self {
        let resumed = store.read().applied().index().is_some();
        Self { store, publisher, metrics, resumed }
    }
}

/// The running hash after an entry: over the hash before, where the entry stands, its bytes, its outcome and its writes.
fn fold_hash(before: &Bytes, log_id: &LogId, entry: &[u8], outcome: &[u8], writes: &Writes) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(before);
    field(&log_id_to_wire(log_id).encode_to_vec());
    field(entry);
    field(outcome);
    for (key, value) in writes.iter().filter(|_| !planted::is(Bug::HashIgnoresField)) {
        field(key.as_bytes());
        match value {
            Some(value) => field(value),
            None => field(b"\0deleted"),
        }
    }
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

/// Applies one entry and returns the reply and the events.
fn apply_entry(state: &mut Applier<'_>, entry: Entry) -> Result<(Reply, Vec<Event>), StoreError> {
    let before = state.applied().clone();
    let log_id = entry.log_id;
    let mut applied = Applied { log_id: Some(log_id_to_wire(&log_id)), ..before.clone() };
    let (reply, writes, events, body, outcome) = match entry.payload {
        EntryPayload::Blank => (None, Writes::new(), Vec::new(), Bytes::new(), Vec::new()),
        EntryPayload::Membership(membership) => {
            let stored = StoredMembership::new(Some(log_id), membership);
            let wire = stored_membership_to_wire(&stored);
            let body = Bytes::from(wire.encode_to_vec());
            applied.membership = Some(wire);
            (None, Writes::new(), Vec::new(), body, Vec::new())
        }
        EntryPayload::Normal(proposal) => {
            // Log time never goes back, whatever the proposer's clock says.
            applied.log_time_ms = before.log_time_ms.max(proposal.log_time_ms);
            let context = Context {
                index: log_id.index(),
                term: log_id.committed_leader_id().term,
                log_time_ms: applied.log_time_ms,
            };
            let (outcome, mut writes, events) = apply_command(state, context, &proposal.command)?;
            if planted::is(Bug::HashIgnoresField) && planted::on_replica(3) {
                planted::alter_messages(&mut writes);
            }
            let encoded = outcome.encode_to_vec();
            (Some(Box::new(outcome)), writes, events, proposal.command, encoded)
        }
    };
    applied.hash = fold_hash(&before.hash, &log_id, &body, &outcome, &writes);
    state.commit(writes, applied);
    Ok((reply, events))
}

fn apply_command<V: View>(
    state: &V,
    context: Context,
    command: &Bytes,
) -> Result<(Outcome, Writes, Vec<Event>), StoreError> {
    let Ok(command) = Command::decode(command.clone()) else {
        return Ok((machine::undecodable(context), Writes::new(), Vec::new()));
    };
    let applied = machine::apply(state, context, &command)?;
    Ok((applied.outcome, applied.writes, applied.events))
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let reader = self.store.read();
        let applied = reader.applied();
        let membership = stored_membership_from_wire(applied.membership.clone().unwrap_or_default())
            .map_err(io::Error::other)?;
        Ok((applied.log_id.as_ref().map(log_id_from_wire), membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH_ENTRIES);
        while let Some(batch) = batches.next().await {
            self.store.wait_for_room().await;
            let mut replies = Vec::with_capacity(batch.len());
            let mut events = Vec::new();
            let applied = {
                let mut state = self.store.apply();
                for item in batch {
                    let (entry, responder) = item?;
                    if planted::is(Bug::ApplyTwice)
                        && matches!(entry.payload, EntryPayload::Normal(_))
                        && std::mem::take(&mut self.resumed)
                    {
                        apply_entry(&mut state, entry.clone())?;
                    }
                    let (reply, pushed) = apply_entry(&mut state, entry)?;
                    events.extend(pushed);
                    replies.extend(responder.map(|responder| (responder, reply)));
                }
                state.applied().clone()
            };
            self.metrics.applied(replies.len(), events.len());
            // Published before anybody is told: who reads at the answer's index finds it.
            self.publisher.publish(AppliedBatch {
                events,
                applied_index: applied.index().unwrap_or(0),
                log_time_ms: applied.log_time_ms,
            });
            for (responder, reply) in replies {
                responder.send(reply);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let installed = self.store.install_snapshot(snapshot.path).await?;
        self.publisher.publish_reset(&installed.applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snap>> {
        self.store.current_snapshot()?.map(to_openraft).transpose()
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snap> {
        to_openraft(self.store.build_snapshot().await?)
    }
}

fn to_openraft(file: SnapshotFile) -> io::Result<Snap> {
    Ok(Snapshot { meta: snapshot_meta(&file.applied)?, snapshot: file })
}

fn snapshot_meta(applied: &Applied) -> io::Result<SnapshotMeta> {
    let membership = applied.membership.clone().unwrap_or_default();
    Ok(SnapshotMeta {
        last_log_id: applied.log_id.as_ref().map(log_id_from_wire),
        last_membership: stored_membership_from_wire(membership).map_err(io::Error::other)?,
    })
}

/// Reads a snapshot file's next piece for the network; empty at its end.
///
/// # Errors
/// When it cannot be read.
pub fn read_piece(file: &mut File, bytes_max: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; bytes_max];
    let mut length = 0;
    while length < bytes_max {
        match file.read(&mut piece[length..])? {
            0 => break,
            more => length += more,
        }
    }
    piece.truncate(length);
    Ok(Bytes::from(piece))
}
