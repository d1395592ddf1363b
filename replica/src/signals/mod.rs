//! Signals: typing, presence and receipts, which are true for a moment and never pass the log.
//!
//! Owns who may say and see them (membership, from the replicated state), the leases of presence, and the one hop to the
//! other replicas. Everything here is bounded and best effort: what does not fit is dropped and counted.
//!
//! ```text
//!  gateway ──feed──▶ said ──┬──▶ ring ──▶ feeds of this replica that watch the conversation ──▶ gateways
//!                           └──relay, one hop──▶ heard (at each other replica) ──▶ its ring
//! ```

mod delivered;
mod kept;
mod presence;
pub mod relay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_proto::limits::{LEASE_MS, PRESENCE_MEMBERS_MAX, RECEIPT_MEMBERS_MAX};
use quorate_proto::rpc::presence::State;
use quorate_proto::rpc::{
    GatewayLease, Kept, Lease, MemberMarks, Presence, Receipt, RelayFrame, Signal, Typing, UserRef, signal,
};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use crate::machine::records::{Conversation, Member};
use crate::machine::{PeopleTables as _, Tables as _, join, scopes};
use crate::metrics::Metrics;
use crate::store::{Reader, Store, StoreError};

use delivered::Delivered;
use kept::KnownKept;
use presence::Table;
use relay::Peers;

/// Signals that wait for a slow feed of this replica; what exceeds it is dropped there.
const RING_SIGNALS: usize = 4_096;
/// Signals taken from one request of a gateway.
const SIGNALS_PER_REQUEST_MAX: usize = 1_024;
/// A gateway whose feed ended has this long to be heard of through another replica. It takes a tenth of a second.
const LEFT_TTL_MS: u64 = 4_000;
/// How often it is looked whether a lease is over.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(250);
/// Changes of presence told in one turn of the task that tells them: each needs reads of the state.
const CHANGES_PER_TURN: usize = 64;

/// What feeds are told.
#[derive(Debug)]
pub(crate) enum Down {
    /// Of one conversation.
    Room(Signal),
    /// Of a user, in the watched conversations where it is told.
    Presence { user_id: u64, state: State, rooms: Vec<u64> },
    /// What was unknown is known now: tell all of it again.
    Again,
}

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    /// Users whose presence has changed and is yet to be told: no more than the table names.
    changed: BTreeSet<u64>,
    delivered: Delivered,
    kept: KnownKept,
    /// Conversations that feeds of this replica watch, with how many do.
    watched: BTreeMap<u64, usize>,
    /// Gateways whose feed is here, with how many feeds: a gateway may have a new one before the old has ended.
    served: BTreeMap<String, usize>,
}

/// See the module.
#[derive(Debug)]
pub struct Signals {
    store: Arc<Store>,
    metrics: Metrics,
    inner: Mutex<Inner>,
    ring: broadcast::Sender<Arc<Down>>,
    peers: Peers,
    /// Somebody's presence has changed.
    changed: Notify,
    started: Instant,
}

impl Signals {
    /// Nobody is there yet.
    pub(crate) fn new(store: Arc<Store>, metrics: Metrics) -> Self {
        let (ring, _) = broadcast::channel(RING_SIGNALS);
        let inner = Mutex::default();
        let (peers, changed) = (Peers::default(), Notify::new());
        Self { store, metrics, inner, ring, peers, changed, started: Instant::now() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What feeds of this replica are told from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Down>> {
        self.ring.subscribe()
    }

    fn tell(&self, down: Down) {
        // Nobody listening is fine.
        let _ = self.ring.send(Arc::new(down));
    }

    // ---- what gateways of this replica say ----

    /// A gateway's sessions said something.
    pub(crate) fn said(&self, signals: Vec<Signal>) {
        let mut good = Vec::new();
        for signal in signals.into_iter().take(SIGNALS_PER_REQUEST_MAX) {
            match self.admitted(signal) {
                Ok(Some(signal)) => good.push(signal),
                Ok(None) => self.metrics.signals_dropped(1),
                Err(error) => tracing::warn!(%error, "a signal could not be judged"),
            }
        }
        if good.is_empty() {
            return;
        }
        self.metrics.signals(good.len());
        for signal in &good {
            self.take(signal.clone());
        }
        self.peers.send(RelayFrame { signals: good, ..RelayFrame::default() });
    }

    /// The signal as it goes to others, if this session may say it.
    fn admitted(&self, signal: Signal) -> Result<Option<Signal>, StoreError> {
        let user_id = signal.user.map_or(0, |user| user.id);
        let id = signal.conversation_id;
        let state = self.store.read();
        let now_ms = state.applied().log_time_ms;
        let session = scopes::session_of(&state, user_id, &signal.session_id, now_ms)?;
        if session.is_none_or(|session| scopes::forbids_by(&session, Some(scopes::SEND)).is_some()) {
            return Ok(None);
        }
        let Some(member) = state.member(id, user_id)?.filter(Member::is_present) else { return Ok(None) };
        let Some(conversation) = state.conversation(id)? else { return Ok(None) };
        if state.is_blocked_in(id, &conversation)? {
            return Ok(None);
        }
        let kind = match signal.kind {
            Some(signal::Kind::Typing(Typing {})) if tells_presence(&conversation) => {
                signal::Kind::Typing(Typing {})
            }
            Some(signal::Kind::Receipt(receipt))
                if tells_receipts(&conversation) && !member.hides_receipts() =>
            {
                let delivered = receipt.delivered.min(conversation.sequence);
                signal::Kind::Receipt(Receipt { read: 0, delivered })
            }
            // Presence comes with the lease.
            _ => return Ok(None),
        };
        let user = Some(join::user(&state, user_id)?);
        Ok(Some(Signal { conversation_id: id, user, session_id: bytes::Bytes::new(), kind: Some(kind) }))
    }

    /// A signal that was admitted, here or at another replica.
    fn take(&self, signal: Signal) {
        let watched = {
            let mut inner = self.inner();
            if let (Some(signal::Kind::Receipt(receipt)), Some(user)) = (&signal.kind, &signal.user)
                && !inner.delivered.advance(signal.conversation_id, user.id, receipt.delivered)
            {
                return;
            }
            inner.watched.contains_key(&signal.conversation_id)
        };
        if watched {
            self.tell(Down::Room(signal));
        }
    }

    /// A gateway of this replica says who is there.
    pub(crate) fn lease(&self, lease: Lease) {
        let now_ms = self.now_ms();
        let changed = self.inner().table.take(&lease, now_ms);
        if let Some(changed) = changed {
            self.peers.send(RelayFrame { leases: vec![lease], ..RelayFrame::default() });
            self.has_changed(&changed);
        }
    }

    /// A gateway has a feed here.
    pub(crate) fn serves(&self, gateway: &str) {
        *self.inner().served.entry(gateway.to_owned()).or_default() += 1;
    }

    /// A gateway's feed has ended, perhaps with the gateway: the lease that it said last there, by start and number, is
    /// cut short, here and at the others, unless it is heard of through another replica.
    pub(crate) fn left(&self, gateway: &str, place: (u64, u64)) {
        let now_ms = self.now_ms();
        let mut inner = self.inner();
        if let Some(feeds) = inner.served.get_mut(gateway) {
            *feeds -= 1;
            if *feeds > 0 {
                return;
            }
            inner.served.remove(gateway);
        }
        let short = inner.table.shorten(gateway, place, LEFT_TTL_MS, now_ms);
        drop(inner);
        let Some(short) = short else { return };
        self.peers.send(RelayFrame { leases: vec![short], ..RelayFrame::default() });
    }

    // ---- what other replicas relay ----

    /// Another replica's gateways said something. It has judged who may; it goes no further from here.
    pub(crate) fn heard(&self, frame: RelayFrame) {
        for signal in frame.signals.into_iter().take(SIGNALS_PER_REQUEST_MAX) {
            self.take(signal);
        }
        for lease in frame.leases {
            let now_ms = self.now_ms();
            let changed = self.inner().table.take(&lease, now_ms);
            self.has_changed(&changed.unwrap_or_default());
        }
        if let Some(kept) = frame.kept {
            let now_ms = self.now_ms();
            self.inner().kept.take(kept, now_ms);
        }
    }

    // ---- durability ----

    /// This replica leads, and knows how much of the log is on how many disks.
    fn keeps(&self, kept: Kept) {
        let now_ms = self.now_ms();
        let is_news = self.inner().kept.take(kept.clone(), now_ms);
        if is_news {
            self.peers.send(RelayFrame { kept: Some(kept), ..RelayFrame::default() });
        }
    }

    /// At place n - 1: the highest index that at least n voters have on disk. Empty when nobody has told it lately.
    pub(crate) fn kept(&self) -> Vec<u64> {
        let now_ms = self.now_ms();
        self.inner().kept.indexes(now_ms).to_vec()
    }

    /// The whole leases of the gateways served here, for a replica that has not heard of them.
    fn whole_leases(&self) -> RelayFrame {
        let now_ms = self.now_ms();
        let inner = self.inner();
        let leases = inner.served.keys().filter_map(|gateway| inner.table.whole(gateway, now_ms));
        RelayFrame { leases: leases.collect(), ..RelayFrame::default() }
    }

    /// The gateways that are known, and which of them have their feed here.
    pub(crate) fn gateways(&self) -> Vec<GatewayLease> {
        let inner = self.inner();
        let told = inner.table.gateways().map(|told| {
            let here = inner.served.contains_key(&told.gateway);
            GatewayLease { here, ..told }
        });
        told.collect()
    }

    // ---- presence ----

    /// Ends leases that are over and tells changes of presence, for the life of the replica. Feeds and relays must not
    /// wait for what a gateway with thousands of users changes at once.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_new = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let now_ms = self.now_ms();
                    let changed = self.inner().table.expire(now_ms);
                    self.has_changed(&changed);
                    if is_new && now_ms >= LEASE_MS {
                        is_new = false;
                        self.tell(Down::Again);
                    }
                }
                () = self.changed.notified() => {
                    self.tell_changes();
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// What is told of a user. Whoever was started just now may not have heard of her yet.
    fn shown(&self, table: &Table, user_id: u64) -> State {
        match table.of(user_id) {
            State::Offline if self.now_ms() < LEASE_MS => State::Unknown,
            state => state,
        }
    }

    fn has_changed(&self, changed: &[(u64, State)]) {
        if !changed.is_empty() {
            self.inner().changed.extend(changed.iter().map(|(user_id, _)| user_id));
            self.changed.notify_one();
        }
    }

    /// Tells some of the changes, each as it is by now.
    fn tell_changes(&self) {
        let turn: Vec<(u64, State)> = {
            let mut inner = self.inner();
            let next = std::iter::from_fn(|| inner.changed.pop_first());
            let turn: Vec<u64> = next.take(CHANGES_PER_TURN).collect();
            if !inner.changed.is_empty() {
                self.changed.notify_one();
            }
            turn.into_iter().map(|user_id| (user_id, inner.table.of(user_id))).collect()
        };
        for (user_id, state) in turn {
            match self.rooms_of(user_id) {
                Ok(rooms) if rooms.is_empty() => {}
                Ok(rooms) => self.tell(Down::Presence { user_id, state, rooms }),
                Err(error) => tracing::warn!(%error, "a change of presence could not be placed"),
            }
        }
    }

    /// Watched conversations in which a user's presence is told.
    fn rooms_of(&self, user_id: u64) -> Result<Vec<u64>, StoreError> {
        if self.inner().watched.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.store.read();
        let mut rooms = state.conversations_of(user_id)?;
        let inner = self.inner();
        rooms.retain(|room| inner.watched.contains_key(room));
        drop(inner);
        let mut told = Vec::new();
        for room in rooms {
            if !state.member(room, user_id)?.is_some_and(|member| member.is_present()) {
                continue;
            }
            let Some(conversation) = state.conversation(room)?.filter(tells_presence) else { continue };
            if !state.is_blocked_in(room, &conversation)? {
                told.push(room);
            }
        }
        Ok(told)
    }

    // ---- what feeds ask ----

    /// A feed watches these conversations (1) or no longer (-1).
    pub(crate) fn watch(&self, conversations: impl Iterator<Item = u64>, watches: bool) {
        let mut inner = self.inner();
        for conversation in conversations {
            if watches {
                *inner.watched.entry(conversation).or_default() += 1;
            } else if let Some(feeds) = inner.watched.get_mut(&conversation) {
                *feeds -= 1;
                if *feeds == 0 {
                    inner.watched.remove(&conversation);
                }
            }
        }
    }

    /// Who of a conversation is there, and how far its members have come, as signals: all of what may have been lost.
    pub(crate) fn presence_in(&self, conversation_id: u64) -> Result<Vec<Signal>, StoreError> {
        let state = self.store.read();
        let marks = self.marks(&state, conversation_id)?;
        drop(state);
        let mut told = Vec::with_capacity(marks.len());
        for mark in marks {
            told.push(presence(conversation_id, mark.user_id, mark.presence()));
            let Receipt { read, delivered } = mark.receipt.unwrap_or_default();
            if read > 0 {
                told.push(has_read(conversation_id, mark.user_id, read));
            }
            if delivered > read {
                told.push(has_come(conversation_id, mark.user_id, delivered));
            }
        }
        Ok(told)
    }

    /// How far the members of a conversation have come and who of them is there: nothing of large ones. Two of whom one has blocked
    /// the other are told nothing of each other: who is there is unknown, so that what was told before is taken back.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn marks(&self, state: &Reader<'_>, id: u64) -> Result<Vec<MemberMarks>, StoreError> {
        let Some(conversation) = state.conversation(id)?.filter(tells_presence) else {
            return Ok(Vec::new());
        };
        let is_blocked = state.is_blocked_in(id, &conversation)?;
        let receipts = tells_receipts(&conversation) && !is_blocked;
        // Those who left are listed as well; twice as many is enough where people come and go.
        let members = state.members_of(id, 2 * PRESENCE_MEMBERS_MAX as usize)?;
        let present: Vec<(u64, Member)> =
            members.into_iter().filter(|(_, member)| member.is_present()).collect();
        let inner = self.inner();
        Ok(present
            .into_iter()
            .map(|(user_id, member)| {
                let receipt = (receipts && !member.hides_receipts()).then(|| {
                    let delivered = inner.delivered.of(id, user_id).max(member.read_sequence);
                    Receipt { read: member.read_sequence, delivered }
                });
                let presence = match is_blocked {
                    true => State::Unknown,
                    false => self.shown(&inner.table, user_id),
                };
                MemberMarks { user_id, receipt, presence: presence.into() }
            })
            .collect())
    }

    /// Whether a member's read mark is told to the others.
    pub(crate) fn tells_read(&self, conversation_id: u64, user_id: u64) -> bool {
        let state = self.store.read();
        let tells = |state: &Reader<'_>| {
            let conversation = state.conversation(conversation_id)?;
            let member = state.member(conversation_id, user_id)?;
            let Some(conversation) = conversation.filter(tells_receipts) else { return Ok(false) };
            let tells = member.is_some_and(|member| !member.hides_receipts());
            Ok::<_, StoreError>(tells && !state.is_blocked_in(conversation_id, &conversation)?)
        };
        tells(&state).unwrap_or(false)
    }

    /// The direct conversation of two users, if they have one.
    pub(crate) fn direct_of(&self, a: u64, b: u64) -> Option<u64> {
        self.store.read().direct(a, b).ok().flatten()
    }

    /// Signals that were dropped on their way to a gateway.
    pub(crate) fn dropped(&self, count: usize) {
        self.metrics.signals_dropped(count);
    }
}

fn tells_presence(conversation: &Conversation) -> bool {
    conversation.member_count <= PRESENCE_MEMBERS_MAX
}

fn tells_receipts(conversation: &Conversation) -> bool {
    conversation.member_count <= RECEIPT_MEMBERS_MAX
}

fn by_id(id: u64) -> Option<UserRef> {
    Some(UserRef { id, ..UserRef::default() })
}

/// A change of presence as one conversation is told it.
pub(crate) fn presence(conversation_id: u64, user_id: u64, state: State) -> Signal {
    let kind = Some(signal::Kind::Presence(Presence { state: state.into() }));
    Signal { conversation_id, user: by_id(user_id), kind, ..Signal::default() }
}

/// A read mark as the others are told it.
pub(crate) fn has_read(conversation_id: u64, user_id: u64, read: u64) -> Signal {
    let kind = Some(signal::Kind::Receipt(Receipt { read, delivered: 0 }));
    Signal { conversation_id, user: by_id(user_id), kind, ..Signal::default() }
}

/// How far messages have come to a member's devices, as the others are told it.
fn has_come(conversation_id: u64, user_id: u64, delivered: u64) -> Signal {
    let kind = Some(signal::Kind::Receipt(Receipt { read: 0, delivered }));
    Signal { conversation_id, user: by_id(user_id), kind, ..Signal::default() }
}

#[cfg(test)]
mod tests;
