//! From committed entries to state, replies and events: the glue between openraft, the machine and the store.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use prost::Message as _;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Command, Event};

use super::halt::Halt;
use super::roster;
use super::types::{
    Entry, LogId, Reply, SnapshotMeta, StoredMembership, Types, log_id_from_wire, log_id_to_wire,
    membership_to_wire, stored_membership_from_wire, stored_membership_to_wire,
};
use super::upgrade::TooNew;
use crate::feed::{AppliedBatch, Publisher};
use crate::machine::{self, Context};
use crate::metrics::Metrics;
use crate::planted::{self, Bug};
use crate::store::sum::StateSum;
use crate::store::{Applied, Applier, Before, SnapshotFile, Store, StoreError, Writes};
use crate::trace::{self, Stage};

/// Entries applied under one hold of the state: bounds how long readers wait, about half a millisecond.
const APPLY_BATCH_ENTRIES: usize = 128;

/// Applies entries to the store. One of it exists; snapshots builders share the store.
#[derive(Debug, Clone)]
pub struct StateMachine {
    store: Arc<Store>,
    publisher: Publisher,
    metrics: Metrics,
    machine_version_max: u32,
    halt: Halt,
    /// Nothing was applied since the state was opened, and something before.
    resumed: bool,
}

type Snap = Snapshot<super::types::LeaderId, u64, super::types::Peer, SnapshotFile>;

impl StateMachine {
    /// A state machine over a store, publishing to the feed.
    pub fn new(store: Arc<Store>, publisher: Publisher, metrics: Metrics) -> Self {
        let resumed = store.read().applied().index().is_some();
        let (machine_version_max, halt) = (machine::VERSION_MAX, Halt::default());
        Self { store, publisher, metrics, machine_version_max, halt, resumed }
    }

    /// The same for a build that supports machine versions up to this one; `halt` is told why it stops.
    #[must_use]
    pub fn supporting(self, machine_version_max: u32, halt: Halt) -> Self {
        Self { machine_version_max, halt, ..self }
    }
}

/// The running hash after an entry: over the hash before, where the entry stands, its bytes, its outcome, and the state's
/// sum after it, which stands for every key that it wrote.
fn fold_hash(before: &Bytes, log_id: &LogId, entry: &[u8], outcome: &[u8], sum: StateSum) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(before);
    field(&log_id_to_wire(log_id).encode_to_vec());
    field(entry);
    field(outcome);
    field(&sum.to_bytes());
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

/// Why an entry was not applied: the replica stops before it.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    TooNew(#[from] TooNew),
}

impl From<ApplyError> for io::Error {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => error.into(),
            ApplyError::TooNew(error) => io::Error::other(error),
        }
    }
}

/// What an entry comes to, before it is committed to the state.
#[derive(Default)]
struct Effect {
    reply: Reply,
    writes: Writes,
    /// What is known of what the writes replace.
    before: Before,
    events: Vec<Event>,
    /// The machine version from the next entry on, if this one raised it.
    machine_version: Option<u32>,
    membership: Option<quorate_proto::rpc::StoredMembership>,
    /// What the hash is folded over.
    body: Bytes,
    outcome: Vec<u8>,
}

/// Applies one entry and returns the reply and the events.
fn apply_entry(
    state: &mut Applier<'_>,
    entry: Entry,
    machine_version_max: u32,
) -> Result<(Reply, Vec<Event>), ApplyError> {
    let log_id = entry.log_id;
    let mut log_time_ms = state.applied().log_time_ms;
    let mut effect = match entry.payload {
        EntryPayload::Blank => Effect::default(),
        EntryPayload::Membership(membership) => {
            let stored = StoredMembership::new(Some(log_id), membership);
            let wire = stored_membership_to_wire(&stored);
            let members = membership_to_wire(stored.membership());
            let before = state.applied().membership.clone();
            let writes = roster::changes(state, before.as_ref(), &members, log_id.index())?;
            let body = wire.encode_to_vec().into();
            Effect { body, membership: Some(wire), writes, ..Effect::default() }
        }
        EntryPayload::Normal(proposal) => {
            let span = trace::open(Stage::Apply, &proposal.traceparent, Some(log_id.index()));
            let _span = span.map(|(span, _)| span.entered());
            // Log time never goes back, whatever the proposer's clock says.
            log_time_ms = log_time_ms.max(proposal.log_time_ms);
            let context = Context {
                index: log_id.index(),
                term: log_id.committed_leader_id().term,
                log_time_ms,
                machine_version: state.applied().machine_version.max(1),
            };
            if proposal.command.is_empty() {
                let (writes, before, events) = machine::tick(state, context)?;
                Effect { writes, before, events, ..Effect::default() }
            } else {
                let changes = apply_command(&*state, context, &proposal.command, machine_version_max)?;
                Effect {
                    outcome: changes.outcome.encode_to_vec(),
                    reply: Some(Box::new(changes.outcome)),
                    writes: changes.writes,
                    before: changes.before,
                    events: changes.events,
                    machine_version: changes.machine_version,
                    body: proposal.command,
                    membership: None,
                }
            }
        }
    };
    let sum = state.sum_after(&effect.writes, &effect.before)?;
    if planted::is(Bug::HashIgnoresField) && planted::on_replica(3) {
        planted::alter_messages(&mut effect.writes);
    }
    let mut applied = state.take_applied();
    applied.log_id = Some(log_id_to_wire(&log_id));
    applied.log_time_ms = log_time_ms;
    applied.membership = effect.membership.or(applied.membership);
    applied.machine_version = effect.machine_version.unwrap_or(applied.machine_version);
    applied.hash = fold_hash(&applied.hash, &log_id, &effect.body, &effect.outcome, sum);
    state.commit(effect.writes, sum, applied);
    Ok((effect.reply, effect.events))
}

/// The voters, for those commands that ask who they are.
fn voters(state: &Applier<'_>, command: &Command) -> Vec<Vec<u64>> {
    if !matches!(command.action, Some(Action::CommitFile(_))) {
        return Vec::new();
    }
    let stored = state.applied().membership.as_ref().and_then(|stored| stored.membership.as_ref());
    stored.map_or_else(Vec::new, |it| it.voters.iter().map(|set| set.node_ids.clone()).collect())
}

fn apply_command(
    state: &Applier<'_>,
    context: Context,
    command: &Bytes,
    machine_version_max: u32,
) -> Result<machine::Applied, ApplyError> {
    let Ok(command) = Command::decode(command.clone()) else {
        return Ok(machine::undecodable(context));
    };
    let changes = machine::apply_among(&voters(state, &command), state, context, &command)?;
    TooNew::check(changes.machine_version.unwrap_or(0), machine_version_max)?;
    Ok(changes)
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
        // Room for a whole batch is made with its first entry, and most are small.
        let count = entries.size_hint().1.unwrap_or(APPLY_BATCH_ENTRIES);
        let mut batches = entries.ready_chunks(count.clamp(1, APPLY_BATCH_ENTRIES));
        while let Some(batch) = batches.next().await {
            self.store.wait_for_room().await;
            let mut replies = Vec::with_capacity(batch.len());
            let mut events = Vec::new();
            let (applied_index, log_time_ms) = {
                let mut state = self.store.apply();
                for item in batch {
                    let (entry, responder) = item?;
                    if planted::is(Bug::ApplyTwice)
                        && matches!(entry.payload, EntryPayload::Normal(_))
                        && std::mem::take(&mut self.resumed)
                    {
                        apply_entry(&mut state, entry.clone(), self.machine_version_max)?;
                    }
                    let (reply, pushed) = apply_entry(&mut state, entry, self.machine_version_max)
                        .inspect_err(|error| self.halt.because(error))?;
                    if events.is_empty() {
                        events = pushed;
                    } else {
                        events.extend(pushed);
                    }
                    replies.extend(responder.map(|responder| (responder, reply)));
                }
                (state.applied().index().unwrap_or(0), state.applied().log_time_ms)
            };
            self.metrics.applied(replies.len(), events.len());
            // Published before anybody is told: who reads at the answer's index finds it.
            self.publisher.publish(AppliedBatch { events, applied_index, log_time_ms });
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
        let received = Store::snapshot_header(&snapshot.path)?;
        TooNew::check(received.machine_version, self.machine_version_max)
            .inspect_err(|error| self.halt.because(error))
            .map_err(io::Error::other)?;
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
