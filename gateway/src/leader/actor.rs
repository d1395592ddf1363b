//! The actor behind [`super::LeaderClient`]: carries the pure rules out.
//!
//! Owns the stream, its replacement and the clock of both.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use quorate_proto::rpc::failure::Kind as FailureKind;
use quorate_proto::rpc::{Outcome, SubmitBatch, SubmitResults, submit_result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::find::{self, Link};
use super::pending::{Entry, Pending};
use super::write_state::{WritePath, WriteStatus};
use super::{Submission, SubmitError};
use crate::cluster::Marks;
use crate::metrics::Metrics;
use crate::replicas::Replicas;

/// Commands under way; beyond it the queue in front fills and says `overloaded`.
const PENDING_COMMANDS_MAX: usize = 8_192;
/// Commands in one frame.
const BATCH_COMMANDS_MAX: usize = 1_024;
/// Bytes in one frame, well under gRPC's 4 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// A stream with commands under way and no answer for this long is left: its leader is paused or cut off.
const ANSWER_WAIT: Duration = Duration::from_millis(1_000);
/// A stream silent for this long is left when the feed names a new leader.
const DOUBT_WAIT: Duration = Duration::from_millis(100);
/// A leader from whom nothing was heard for this long, because nobody writes, is asked whether a quorum still follows it.
const QUIET_WAIT: Duration = Duration::from_millis(1_000);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(25);

type Reply = oneshot::Sender<Result<Outcome, SubmitError>>;

pub(super) struct Parts {
    pub(super) commands: mpsc::Receiver<Submission>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) state: watch::Sender<WriteStatus>,
    pub(super) feed_leader: watch::Receiver<u64>,
    pub(super) marks: Arc<Marks>,
}

/// What a frame of answers means for the stream it came on.
enum Verdict {
    Stay,
    Leave { hint: Option<usize> },
}

struct Actor {
    replicas: Arc<Replicas>,
    metrics: Arc<Metrics>,
    state: watch::Sender<WriteStatus>,
    feed_leader: watch::Receiver<u64>,
    marks: Arc<Marks>,
    pending: Pending<Reply>,
    path: WritePath,
    link: Option<Link>,
    /// No command was answered on this stream yet.
    is_fresh: bool,
    connecting: Option<BoxFuture<'static, Result<Link, String>>>,
    proving: Option<BoxFuture<'static, bool>>,
    /// The question to a quiet leader.
    checking: Option<BoxFuture<'static, bool>>,
    /// Failed attempts in a row.
    attempts: u32,
    /// The replica that was given up last.
    left: Option<usize>,
    leader_id: Option<u64>,
    last_answer: Instant,
}

pub(super) async fn run(parts: Parts) {
    let Parts { mut commands, replicas, metrics, state, feed_leader, marks } = parts;
    let now = Instant::now();
    let mut actor = Actor {
        connecting: Some(find::attempt(Arc::clone(&replicas), None, None, 0)),
        replicas,
        metrics,
        state,
        feed_leader,
        marks,
        pending: Pending::new(),
        path: WritePath::new(now),
        link: None,
        is_fresh: false,
        proving: None,
        checking: None,
        attempts: 0,
        left: None,
        leader_id: None,
        last_answer: now,
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken = Vec::with_capacity(BATCH_COMMANDS_MAX);
    loop {
        let room = PENDING_COMMANDS_MAX - actor.pending.len();
        let sender = actor.link.as_ref().filter(|_| actor.pending.has_unsent()).map(|link| link.tx.clone());
        tokio::select! {
            biased;
            answers = answers(&mut actor.link) => actor.answered(answers),
            permit = permit(sender.as_ref()) => match permit {
                Some(permit) => {
                    if !actor.pending.has_unanswered() {
                        actor.last_answer = Instant::now();
                    }
                    let now = Instant::now();
                    let items = actor.pending.next_batch(now, BATCH_COMMANDS_MAX, BATCH_BYTES_MAX);
                    permit.send(SubmitBatch { items });
                }
                None => actor.leave("the stream broke", None),
            },
            count = commands.recv_many(&mut taken, room.min(BATCH_COMMANDS_MAX)), if room > 0 => {
                if count == 0 {
                    return;
                }
                for submission in taken.drain(..) {
                    let Submission { command, traceparent, arrived, deadline, reply } = submission;
                    actor.pending.insert(command, traceparent, (arrived, deadline), reply);
                }
            }
            opened = optional(&mut actor.connecting) => actor.opened(opened),
            proven = optional(&mut actor.proving) => actor.proved(proven),
            followed = optional(&mut actor.checking) => actor.checked(followed),
            _ = tick.tick() => actor.tick(Instant::now()),
        }
    }
}

/// The next answers of the link; never, while there is none.
async fn answers(link: &mut Option<Link>) -> Result<SubmitResults, String> {
    match link {
        Some(link) => match link.rx.message().await {
            Ok(Some(results)) => Ok(results),
            Ok(None) => Err("the replica ended the stream".to_owned()),
            Err(status) => Err(status.message().to_owned()),
        },
        None => pending().await,
    }
}

async fn permit(sender: Option<&mpsc::Sender<SubmitBatch>>) -> Option<mpsc::Permit<'_, SubmitBatch>> {
    match sender {
        Some(sender) => sender.reserve().await.ok(),
        None => pending().await,
    }
}

async fn optional<T>(future: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

impl Actor {
    fn answered(&mut self, answers: Result<SubmitResults, String>) {
        let results = match answers {
            Ok(results) => results,
            Err(reason) => return self.leave(&reason, None),
        };
        self.last_answer = Instant::now();
        let mut verdict = Verdict::Stay;
        let mut outcomes = 0_u32;
        let mut waited_since = None;
        for item in results.items {
            match item.result {
                Some(submit_result::Result::Outcome(outcome)) => {
                    self.replicas.saw_index(outcome.index);
                    outcomes += 1;
                    if let Some(entry) = self.pending.take(item.request_id) {
                        self.measure(&entry, item.leader_us);
                        if self.is_fresh {
                            waited_since = waited_since.into_iter().chain([entry.arrived]).min();
                        }
                        // Nobody waits any more when the session is gone; the command is applied all the same.
                        let _ = entry.reply.send(Ok(outcome));
                    }
                }
                Some(submit_result::Result::Failure(failure)) => match failure.kind() {
                    FailureKind::NotLeader => {
                        verdict = Verdict::Leave {
                            hint: self.replicas.resolve(failure.leader_id, &failure.leader_address),
                        };
                    }
                    FailureKind::Unknown | FailureKind::Unspecified => {
                        if !matches!(verdict, Verdict::Leave { hint: Some(_) }) {
                            verdict = Verdict::Leave { hint: None };
                        }
                    }
                    FailureKind::Overloaded => self.fail(item.request_id, SubmitError::Overloaded),
                    FailureKind::Malformed => {
                        tracing::error!(reason = %failure.message, "a replica could not read a command");
                        self.fail(item.request_id, SubmitError::Malformed);
                    }
                },
                None => verdict = Verdict::Leave { hint: None },
            }
        }
        if outcomes > 0 {
            self.publish_up();
            if let (Some(since), Some(leader)) = (waited_since, self.leader_id) {
                self.marks.answered(leader, since, self.last_answer);
            }
            self.is_fresh = false;
        }
        if let Verdict::Leave { hint } = verdict {
            let here = self.link.as_ref().map(|link| link.replica);
            self.leave("the replica does not lead", hint.filter(|hint| Some(*hint) != here));
        }
    }

    /// Where the time of a command went that has its outcome now.
    fn measure(&self, entry: &Entry<Reply>, leader_us: u32) {
        let Some((first, last)) = entry.sent else { return };
        let stages = &self.metrics.submit_stages;
        stages.queue.observe(first.saturating_duration_since(entry.arrived).as_secs_f64());
        if entry.sends > 1 {
            stages.retry.observe(last.saturating_duration_since(first).as_secs_f64());
        }
        let leader = last.elapsed();
        stages.leader.observe(leader.as_secs_f64());
        if leader_us > 0 {
            let replica = Duration::from_micros(u64::from(leader_us));
            stages.replica.observe(replica.as_secs_f64());
            stages.network.observe(leader.saturating_sub(replica).as_secs_f64());
        }
    }

    fn fail(&mut self, id: u64, error: SubmitError) {
        if let Some(entry) = self.pending.take(id) {
            let error = if entry.sends > 1 && error == SubmitError::Overloaded {
                SubmitError::Unavailable
            } else {
                error
            };
            let _ = entry.reply.send(Err(error));
        }
    }

    /// Gives the stream up and looks for another; what it has not answered will be sent again.
    fn leave(&mut self, reason: &str, hint: Option<usize>) {
        let mut hint = hint;
        if let Some(link) = self.link.take() {
            hint = hint.or_else(|| self.named_by_feed()).filter(|hint| *hint != link.replica);
            self.left = Some(link.replica);
            let replica = self.replicas.address(link.replica);
            if self.attempts == 0 || self.attempts.is_power_of_two() {
                tracing::info!(%replica, reason, pending = self.pending.len(), "left the leader");
            }
            // A replica that never answered on this stream counts as a failed attempt, so that two replicas that
            // name each other are asked at the pace of the backoff.
            self.attempts = if self.path.is_proven() { 0 } else { self.attempts.saturating_add(1) };
        }
        self.proving = None;
        self.checking = None;
        self.leader_id = None;
        self.replicas.set_leader(None);
        self.path.doubted(Instant::now());
        self.pending.rewind();
        self.connecting = Some(find::attempt(Arc::clone(&self.replicas), hint, self.left, self.attempts));
    }

    /// The feed's word on who leads.
    fn named_by_feed(&self) -> Option<usize> {
        self.replicas.resolve(*self.feed_leader.borrow(), "")
    }

    fn opened(&mut self, opened: Result<Link, String>) {
        self.connecting = None;
        match opened {
            Ok(link) => {
                let replica = self.replicas.address(link.replica);
                if self.attempts == 0 || self.attempts.is_power_of_two() {
                    tracing::info!(%replica, pending = self.pending.len(), "submits go here");
                }
                self.metrics.leader_switches.inc();
                self.replicas.set_leader(Some(link.replica));
                self.last_answer = Instant::now();
                self.proving = Some(find::proof(Arc::clone(&self.replicas), link.replica));
                self.leader_id = self.replicas.id_of(link.replica);
                self.link = Some(link);
                self.is_fresh = true;
                self.feed_leader.mark_unchanged();
            }
            Err(reason) => {
                self.attempts = self.attempts.saturating_add(1);
                if self.attempts.is_power_of_two() {
                    tracing::info!(reason, attempts = self.attempts, "no leader yet");
                }
                let replicas = Arc::clone(&self.replicas);
                self.connecting = Some(find::attempt(replicas, None, self.left, self.attempts));
            }
        }
    }

    fn proved(&mut self, proven: bool) {
        self.proving = None;
        let Some(link) = &self.link else { return };
        if proven {
            self.publish_up();
        } else if self.pending.has_unanswered() {
            // The commands find out by themselves; leaving would only send them again to the same leader.
            self.proving = Some(find::proof(Arc::clone(&self.replicas), link.replica));
        } else {
            self.leave("no quorum follows the replica", None);
        }
    }

    /// Commands under way find out by themselves.
    fn checked(&mut self, followed: bool) {
        self.checking = None;
        if followed {
            self.last_answer = Instant::now();
        } else if !self.pending.has_unanswered() {
            self.leave("no quorum follows the quiet leader", None);
        }
    }

    fn publish_up(&mut self) {
        self.proving = None;
        self.attempts = 0;
        if self.leader_id.is_none()
            && let Some(link) = &self.link
        {
            self.leader_id = self.replicas.id_of(link.replica);
        }
        if let Some(status) = self.path.proven(Instant::now(), self.leader_id) {
            self.state.send_replace(status);
        }
    }

    fn tick(&mut self, now: Instant) {
        for Entry { reply, .. } in self.pending.expire(now, oneshot::Sender::is_closed) {
            let _ = reply.send(Err(SubmitError::Unavailable));
        }
        let silent = now.saturating_duration_since(self.last_answer);
        if self.link.is_some() && self.pending.has_unanswered() && silent >= ANSWER_WAIT {
            self.leave("no answer", None);
        }
        if let Some(link) = &self.link
            && self.path.is_proven()
            && self.checking.is_none()
            && !self.pending.has_unanswered()
            && silent >= QUIET_WAIT
        {
            self.checking = Some(find::check(Arc::clone(&self.replicas), link.replica));
        }
        // The feed hears of a new leader before a paused one is given up.
        if let Some(link) = &self.link
            && self.pending.has_unanswered()
            && silent >= DOUBT_WAIT
            && self.feed_leader.has_changed().unwrap_or(false)
        {
            let named = self.named_by_feed().filter(|named| *named != link.replica);
            self.feed_leader.mark_unchanged();
            if named.is_some() {
                self.leave("the feed names another leader", named);
            }
        }
        if let Some(status) = self.path.tick(now) {
            tracing::warn!(state = ?status.state, "the write path changed");
            self.state.send_replace(status);
        }
    }
}
