//! The leader client: commands in, outcomes out, whoever leads.
//!
//! Owns the one Submit stream of this gateway, the commands under way, and the knowledge of whether writes are
//! possible. Must not know sessions or what a command means.
//!
//! ```text
//!  sessions ── submit ──▶ queue ──▶ pending ──batches──▶ leader
//!                                      ▲ same bytes again │ not leader, broken, silent
//!                                      └──────────────────┘ until the command's deadline
//! ```

mod actor;
mod find;
mod pending;
mod write_state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::SUBMIT_WAIT_MS;
use quorate_proto::rpc::{Command, Outcome};
use quorate_proto::trace::TraceContext;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use tracing::Span;
use uuid::Uuid;

pub use write_state::WriteStatus;

use crate::cluster::Marks;
use crate::metrics::Metrics;
use crate::replicas::Replicas;

/// Commands that may wait before the actor has taken them; beyond it sessions hear `overloaded`.
const QUEUE_COMMANDS_MAX: usize = 4_096;

/// Why a command has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// Surely not applied: refused before anything was tried.
    #[error("too many commands wait")]
    Overloaded,
    /// Perhaps applied: ask again with the same command id.
    #[error("no leader answered in time")]
    Unavailable,
    /// Surely not applied, and trying again would not help: not all replicas know such a command yet.
    #[error("the leader does not propose such a command")]
    Malformed,
}

pub(crate) struct Submission {
    command: Bytes,
    traceparent: String,
    arrived: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Result<Outcome, SubmitError>>,
}

/// Handle of the leader client.
#[derive(Debug, Clone)]
pub struct LeaderClient {
    queue: mpsc::Sender<Submission>,
    write: watch::Receiver<WriteStatus>,
    metrics: Arc<Metrics>,
    /// One command in this many is traced; 0 for none.
    trace_one_in: u64,
    submitted: Arc<AtomicU64>,
}

impl LeaderClient {
    /// Starts the actor; it ends when the last handle is gone. `feed_leader` is the feed's word on who leads;
    /// `marks` is told of the first answers of each leader.
    pub fn start(
        replicas: Arc<Replicas>,
        metrics: Arc<Metrics>,
        feed_leader: watch::Receiver<u64>,
        trace_one_in: u64,
        marks: Arc<Marks>,
    ) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let (state, write) = watch::channel(WriteStatus::starting(Instant::now()));
        tokio::spawn(actor::run(actor::Parts {
            commands,
            replicas,
            metrics: Arc::clone(&metrics),
            state,
            feed_leader,
            marks,
        }));
        Self { queue, write, metrics, trace_one_in, submitted: Arc::default() }
    }

    /// Whether writes are possible; changes wake the receiver.
    pub fn write(&self) -> watch::Receiver<WriteStatus> {
        self.write.clone()
    }

    /// Sends a command until it has an outcome, at most [`SUBMIT_WAIT_MS`].
    ///
    /// # Errors
    /// See [`SubmitError`] for what is certain.
    pub async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError> {
        self.submit_within(command, Duration::from_millis(SUBMIT_WAIT_MS)).await
    }

    /// The same with a wait of the caller's own: after it the command is not sent again.
    ///
    /// # Errors
    /// See [`SubmitError`] for what is certain.
    pub async fn submit_within(&self, command: &Command, wait: Duration) -> Result<Outcome, SubmitError> {
        let (reply, outcome) = oneshot::channel();
        let since = Instant::now();
        let trace = self.trace();
        let span = trace.map_or_else(Span::none, |TraceContext { trace_id, span_id }| {
            let (trace_id, span_id) = (format!("{trace_id:032x}"), format!("{span_id:016x}"));
            tracing::info_span!("submit", trace_id, span_id, index = tracing::field::Empty)
        });
        let submission = Submission {
            command: Bytes::from(command.encode_to_vec()),
            traceparent: trace.map_or_else(String::new, |trace| trace.to_string()),
            arrived: since,
            deadline: since + wait,
            reply,
        };
        let result = match self.queue.try_send(submission) {
            Err(_) => Err(SubmitError::Overloaded),
            // The actor drops a reply unanswered only when the process ends.
            Ok(()) => outcome.await.unwrap_or(Err(SubmitError::Unavailable)),
        };
        if let Ok(outcome) = &result {
            span.record("index", outcome.index);
        }
        let kind = match &result {
            Ok(Outcome { result: Some(quorate_proto::rpc::outcome::Result::Rejected(_)), .. }) => "rejected",
            Ok(Outcome { replay: true, .. }) => "replayed",
            Ok(_) => "applied",
            Err(SubmitError::Overloaded) => "overloaded",
            Err(SubmitError::Unavailable) => "unavailable",
            Err(SubmitError::Malformed) => "malformed",
        };
        Metrics::count(&self.metrics.submits, kind);
        if result.is_ok() {
            self.metrics.submit_seconds.observe(since.elapsed().as_secs_f64());
        }
        result
    }
}

impl LeaderClient {
    /// A new trace, if it is this command's turn.
    fn trace(&self) -> Option<TraceContext> {
        if self.trace_one_in == 0 {
            return None;
        }
        let number = self.submitted.fetch_add(1, Ordering::Relaxed);
        number.is_multiple_of(self.trace_one_in).then(|| {
            let (half, _) = Uuid::new_v4().as_u64_pair();
            TraceContext { trace_id: Uuid::new_v4().as_u128(), span_id: half.max(1) }
        })
    }
}

#[cfg(test)]
mod tests;
