//! Opening a feed, reading what lies between two feeds, and finding a fresher replica: the hub's calls.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use quorate_proto::limits::{SINCE_EVENTS_MAX, SINCE_PAIRS_MAX};
use quorate_proto::rpc::{
    Event, FeedFrame, FeedRequest, SincePair, SinceQuery, SinceResult, read_request, read_response,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::switch::Missing;
use crate::clock::chance;
use crate::reads::{Reader, request};
use crate::replicas::Replicas;

/// Feed requests that may wait for the connection's window.
const REQUESTS_QUEUED_MAX: usize = 16;
/// A stream's headers come at once from a live replica.
const OPEN_WAIT: Duration = Duration::from_millis(500);
/// Shortest and longest wait before another attempt.
const BACKOFF_MS: (u64, u64) = (15, 60);
/// Events read between two feeds; beyond it the sessions concerned resume by themselves.
const FILL_EVENTS_MAX: usize = 50_000;

pub(super) struct Feed {
    pub(super) replica: usize,
    pub(super) tx: mpsc::Sender<FeedRequest>,
    pub(super) rx: Streaming<FeedFrame>,
}

pub(super) type Opening = BoxFuture<'static, Result<Feed, String>>;

/// Tries one replica once.
pub(super) fn open(replicas: Arc<Replicas>, replica: usize, attempt: u32) -> Opening {
    Box::pin(async move {
        if attempt > 0 {
            sleep(Duration::from_millis(BACKOFF_MS.0 + chance(BACKOFF_MS.1 - BACKOFF_MS.0))).await;
        }
        let (tx, requests) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let mut client = replicas.streams(replica);
        match timeout(OPEN_WAIT, client.feed(ReceiverStream::new(requests))).await {
            Ok(Ok(response)) => Ok(Feed { replica, tx, rx: response.into_inner() }),
            Ok(Err(status)) => Err(format!("{}: {}", replicas.address(replica), status.message())),
            Err(_) => Err(format!("{}: no answer", replicas.address(replica))),
        }
    })
}

/// Why what lies between two feeds was not read.
#[derive(Debug)]
pub(super) enum FillError {
    /// More than can be held in order: the sessions concerned are let go and resume.
    TooMany,
    /// Try with another feed.
    Failed(String),
}

pub(super) type Filling = BoxFuture<'static, Result<Vec<Event>, FillError>>;

/// Reads what is missing, at the feed's own replica if it can be had there. User 0 is the hub itself: no membership
/// filter, for every session has its own topics.
pub(super) fn fill(reader: Reader, replica: usize, missing: Vec<Missing>, min_index: u64) -> Filling {
    Box::pin(async move {
        let mut events: Vec<Event> = Vec::new();
        let mut open = missing;
        while !open.is_empty() {
            let now: Vec<Missing> = open.split_off(open.len().saturating_sub(SINCE_PAIRS_MAX));
            let pairs = now
                .iter()
                .map(|gap| SincePair { topic: Some(gap.topic), version: gap.after_version })
                .collect();
            let query = read_request::Query::Since(SinceQuery { pairs, limit: SINCE_EVENTS_MAX });
            let response = reader
                .read_at(replica, request(min_index, 0, &[], query))
                .await
                .map_err(|error| FillError::Failed(error.to_string()))?;
            let Some(read_response::Result::Since(SinceResult { pages })) = response.result else {
                return Err(FillError::Failed("an answer of another kind".to_owned()));
            };
            // The pages of one answer share its size: those that had no room left say `more` and are asked again.
            let mut progress = false;
            for gap in now {
                let page = pages.iter().find(|page| page.topic == Some(gap.topic));
                match page.and_then(|page| page.events.last()).map(|event| event.version) {
                    Some(last) => {
                        progress = true;
                        if last < gap.to_version {
                            open.push(Missing { after_version: last, ..gap });
                        }
                    }
                    None if page.is_some_and(|page| page.more) => open.push(gap),
                    None => {
                        let version = gap.after_version;
                        return Err(FillError::Failed(format!("nothing after version {version}")));
                    }
                }
            }
            if !progress {
                return Err(FillError::Failed("an answer without a single event".to_owned()));
            }
            events.extend(pages.into_iter().flat_map(|page| page.events));
            if events.len() > FILL_EVENTS_MAX {
                return Err(FillError::TooMany);
            }
        }
        Ok(events)
    })
}

pub(super) type Search = BoxFuture<'static, Option<(usize, u64)>>;

/// The replica that has applied most.
pub(super) fn freshest(replicas: Arc<Replicas>) -> Search {
    Box::pin(async move {
        let answers: Vec<_> = replicas.ask_all().collect().await;
        let indexes = answers.into_iter().filter_map(|(at, status)| Some((at, status?.applied_index)));
        indexes.max_by_key(|(_, index)| *index)
    })
}
