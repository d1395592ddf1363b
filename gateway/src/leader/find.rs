//! One attempt to open the Submit stream where it belongs.
//!
//! Owns the order in which replicas are tried. Must not know commands.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use quorate_proto::rpc::{KeysQuery, ReadRequest, SubmitBatch, SubmitResults, read_request};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::clock::chance;
use crate::replicas::Replicas;

/// Submit frames that may wait for the connection's window.
const FRAMES_QUEUED_MAX: usize = 4;
/// A stream's headers come at once from a live replica.
const OPEN_WAIT: Duration = Duration::from_millis(250);
/// Shortest and longest wait before another attempt when nobody knows a leader.
const BACKOFF_MS: (u64, u64) = (15, 60);
/// A leader without a quorum cannot answer a read-index; waiting longer says nothing new.
const PROOF_WAIT: Duration = Duration::from_millis(1_000);
/// Between two such questions.
const PROOF_INTERVAL: Duration = Duration::from_millis(100);
/// A young leader refuses until its first entry is committed; after this many refusals another is looked for.
const PROOF_REFUSALS_MAX: u32 = 3;

pub(super) struct Link {
    pub(super) replica: usize,
    pub(super) tx: mpsc::Sender<SubmitBatch>,
    pub(super) rx: Streaming<SubmitResults>,
}

/// Tries once: where the hint points, else where the replicas say. `left` is the one that was just given up.
pub(super) fn attempt(
    replicas: Arc<Replicas>,
    hint: Option<usize>,
    left: Option<usize>,
    number: u32,
) -> BoxFuture<'static, Result<Link, String>> {
    Box::pin(async move {
        if number > 0 {
            sleep(Duration::from_millis(BACKOFF_MS.0 + chance(BACKOFF_MS.1 - BACKOFF_MS.0))).await;
        }
        let replica = match hint {
            Some(replica) => replica,
            None => choose(&replicas, left, number).await?,
        };
        let (tx, frames) = mpsc::channel(FRAMES_QUEUED_MAX);
        let mut client = replicas.streams(replica);
        match timeout(OPEN_WAIT, client.submit(ReceiverStream::new(frames))).await {
            Ok(Ok(response)) => Ok(Link { replica, tx, rx: response.into_inner() }),
            Ok(Err(status)) => Err(format!("{}: {}", replicas.address(replica), status.message())),
            Err(_) => Err(format!("{}: no answer", replicas.address(replica))),
        }
    })
}

/// Whom the replicas take for their leader. The one that was just left counts only if it says so itself: the others
/// name it until they have noticed.
async fn choose(replicas: &Arc<Replicas>, left: Option<usize>, number: u32) -> Result<usize, String> {
    let mut answers = replicas.ask_all();
    let majority = replicas.count() / 2 + 1;
    let mut heard = 0;
    let mut named: Option<(u64, usize)> = None;
    while let Some((at, status)) = answers.next().await {
        let Some(status) = status else { continue };
        heard += 1;
        if status.role == "leader" {
            return Ok(at);
        }
        let leader = (status.leader_id != 0).then(|| replicas.resolve(status.leader_id, "")).flatten();
        if let Some(leader) = leader.filter(|leader| Some(*leader) != left) {
            // Of two that are named, the one of the higher term is right.
            named = named.max(Some((status.term, leader)));
        }
        if heard >= majority && named.is_some() {
            break;
        }
    }
    match named {
        Some((_, replica)) => Ok(replica),
        // Nobody answers the question at all: perhaps only that question is not answered.
        None if heard == 0 => Ok(replicas.next(number as usize)),
        None => Err("no replica knows a leader".to_owned()),
    }
}

/// Asks the replica whether a quorum follows it. False: it refused several times in a row, so it does not lead (the
/// others' word on it may be older than the election).
pub(super) fn proof(replicas: Arc<Replicas>, replica: usize) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let mut refusals = 0;
        loop {
            match ask(&replicas, replica).await {
                Answer::Followed => return true,
                Answer::Refused => refusals += 1,
                // It may lead and wait for a quorum.
                Answer::Silence => refusals = 0,
            }
            if refusals == PROOF_REFUSALS_MAX {
                return false;
            }
            sleep(PROOF_INTERVAL).await;
        }
    })
}

/// Whether a quorum still follows the replica that was proven to lead. False when it failed to show so twice in a row: one
/// question may be lost with a connection that a busy machine let go.
pub(super) fn check(replicas: Arc<Replicas>, replica: usize) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        if matches!(ask(&replicas, replica).await, Answer::Followed) {
            return true;
        }
        sleep(PROOF_INTERVAL).await;
        matches!(ask(&replicas, replica).await, Answer::Followed)
    })
}

enum Answer {
    Followed,
    Refused,
    Silence,
}

/// A linearizable read of next to nothing, which only a leader that a quorum follows can answer.
async fn ask(replicas: &Replicas, replica: usize) -> Answer {
    let request = ReadRequest {
        linearizable: true,
        query: Some(read_request::Query::Keys(KeysQuery {})),
        ..ReadRequest::default()
    };
    match timeout(PROOF_WAIT, replicas.reads(replica).read(request)).await {
        Ok(Ok(_)) => Answer::Followed,
        Ok(Err(_)) => Answer::Refused,
        Err(_) => Answer::Silence,
    }
}
