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
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::SUBMIT_WAIT_MS;
use quorate_proto::rpc::{Command, Outcome};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

pub use write_state::WriteStatus;

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
    /// Surely not applied, and trying again would not help: a defect.
    #[error("a replica could not read the command")]
    Malformed,
}

pub(crate) struct Submission {
    command: Bytes,
    deadline: Instant,
    reply: oneshot::Sender<Result<Outcome, SubmitError>>,
}

/// Handle of the leader client.
#[derive(Debug, Clone)]
pub struct LeaderClient {
    queue: mpsc::Sender<Submission>,
    write: watch::Receiver<WriteStatus>,
    metrics: Arc<Metrics>,
}

impl LeaderClient {
    /// Starts the actor; it ends when the last handle is gone. `feed_leader` is the feed's word on who leads.
    pub fn start(replicas: Arc<Replicas>, metrics: Arc<Metrics>, feed_leader: watch::Receiver<u64>) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let (state, write) = watch::channel(WriteStatus::starting(Instant::now()));
        tokio::spawn(actor::run(actor::Parts {
            commands,
            replicas,
            metrics: Arc::clone(&metrics),
            state,
            feed_leader,
        }));
        Self { queue, write, metrics }
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
        let (reply, outcome) = oneshot::channel();
        let since = Instant::now();
        let submission = Submission {
            command: Bytes::from(command.encode_to_vec()),
            deadline: since + Duration::from_millis(SUBMIT_WAIT_MS),
            reply,
        };
        let result = match self.queue.try_send(submission) {
            Err(_) => Err(SubmitError::Overloaded),
            // The actor drops a reply unanswered only when the process ends.
            Ok(()) => outcome.await.unwrap_or(Err(SubmitError::Unavailable)),
        };
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

#[cfg(test)]
mod tests;
