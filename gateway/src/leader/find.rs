//! One attempt to open the Submit stream where it belongs.
//!
//! Owns the order in which replicas are tried. Must not know commands.

use std::sync::Arc;
use std::time::Duration;

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
const OPEN_WAIT: Duration = Duration::from_millis(500);
/// Shortest and longest wait before another attempt when nobody knows a leader.
const BACKOFF_MS: (u64, u64) = (15, 60);
/// A leader without a quorum cannot answer a read-index; waiting longer says nothing new.
const PROOF_WAIT: Duration = Duration::from_millis(1_000);
/// Between two such questions.
const PROOF_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Link {
    pub(super) replica: usize,
    pub(super) tx: mpsc::Sender<SubmitBatch>,
    pub(super) rx: Streaming<SubmitResults>,
}

/// Tries once: where the hint points, else where the replicas say.
pub(super) fn attempt(
    replicas: Arc<Replicas>,
    hint: Option<usize>,
    number: u32,
) -> BoxFuture<'static, Result<Link, String>> {
    Box::pin(async move {
        if number > 0 {
            sleep(Duration::from_millis(BACKOFF_MS.0 + chance(BACKOFF_MS.1 - BACKOFF_MS.0))).await;
        }
        let replica = match hint {
            Some(replica) => replica,
            None => choose(&replicas, number).await?,
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

async fn choose(replicas: &Replicas, number: u32) -> Result<usize, String> {
    let answers = replicas.probe().await;
    // Of two that both claim to lead, the one of the higher term is right.
    let newest = answers.iter().filter(|(_, status)| status.role == "leader").max_by_key(|(_, s)| s.term);
    if let Some((replica, _)) = newest {
        return Ok(*replica);
    }
    let named = answers
        .iter()
        .filter(|(_, status)| status.leader_id != 0)
        .max_by_key(|(_, status)| status.term)
        .and_then(|(_, status)| replicas.resolve(status.leader_id, ""));
    match named {
        Some(replica) => Ok(replica),
        // Nobody answers the question at all: perhaps only that question is not answered.
        None if answers.is_empty() => Ok(number as usize % replicas.count()),
        None => Err("no replica knows a leader".to_owned()),
    }
}

/// Asks the replica until a quorum confirms its lead.
pub(super) fn proof(replicas: Arc<Replicas>, replica: usize) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            let request = ReadRequest {
                linearizable: true,
                query: Some(read_request::Query::Keys(KeysQuery {})),
                ..ReadRequest::default()
            };
            let mut client = replicas.reads(replica);
            if let Ok(Ok(_)) = timeout(PROOF_WAIT, client.read(request)).await {
                return;
            }
            sleep(PROOF_INTERVAL).await;
        }
    })
}
