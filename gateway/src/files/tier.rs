//! The replicas as those that hold bytes: which one is asked, and which next.
//!
//! Uploads enter at a follower where one serves, so that the leader's disk stays for the log. A chunk or a range that one replica
//! does not give is asked of another: no call depends on a single one, and none on the leader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryFutureExt as _};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rpc::{GetPiece, GetRequest, PutRequest, PutResponse, UploadRequest, UploadedChunk};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::auth::Identity;
use crate::clock::chance;
use crate::replicas::Replicas;

/// A replica waits up to 8 s for a majority; this leaves it time to say that there was none.
const PUT_WAIT: Duration = Duration::from_secs(10);
/// A replica answers from memory and a look at its folders.
const UPLOADED_WAIT: Duration = Duration::from_millis(3_000);
/// The next piece of a download: a chunk that must come from another replica first is among them.
const PIECE_WAIT: Duration = Duration::from_secs(10);
/// Each replica is asked at most this often for one chunk, or for the next piece.
const ROUNDS_MAX: usize = 2;
/// Between two rounds: an election's worth in all.
const ROUND_PAUSE_MS: u64 = 250;
/// What a client is told to wait when no replica serves, ms.
const RETRY_MS: u64 = 1_000;

/// What one replica holds of an upload.
#[derive(Debug, Clone)]
pub(super) struct Holders {
    pub(super) replica_id: u64,
    pub(super) chunks: Vec<UploadedChunk>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Tier {
    replicas: Arc<Replicas>,
}

/// What another replica would not answer otherwise.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::OutOfRange
            | Code::NotFound
    )
}

fn told(status: &Status) -> WireError {
    let message = status.message();
    match status.code() {
        Code::Unauthenticated => WireError::new(ErrorCode::Unauthenticated, message),
        Code::AlreadyExists => WireError::new(ErrorCode::IdConflict, message),
        Code::InvalidArgument => WireError::new(ErrorCode::Invalid, message),
        Code::OutOfRange => WireError::new(ErrorCode::TooLarge, message),
        Code::NotFound => WireError::new(ErrorCode::NotFound, message),
        Code::ResourceExhausted => WireError::new(ErrorCode::Overloaded, message).retry_after(RETRY_MS),
        _ => WireError::new(ErrorCode::Unavailable, format!("no replica serves the file: {message}"))
            .retry_after(RETRY_MS),
    }
}

fn late(_: tokio::time::error::Elapsed) -> Status {
    Status::unavailable("no answer in time")
}

impl Tier {
    pub(super) fn new(replicas: Arc<Replicas>) -> Self {
        Self { replicas }
    }

    /// Whom to ask, the leader last.
    fn order(&self) -> Vec<usize> {
        let mut order = self.replicas.order(self.replicas.preferred());
        let leader = self.replicas.leader();
        order.sort_by_key(|at| Some(*at) == leader);
        order
    }

    pub(super) async fn put(
        &self,
        identity: &Identity,
        id: Uuid,
        number: u32,
        data: Bytes,
    ) -> Result<PutResponse, WireError> {
        let request = PutRequest {
            user_id: identity.user_id,
            session_id: identity.session.as_bytes().to_vec().into(),
            // A replica that lags would refuse an id as taken that was deleted here a moment ago.
            min_index: self.replicas.known_index(),
            file_id: id.as_bytes().to_vec().into(),
            number,
            data,
        };
        let mut last = Status::unavailable("there are none");
        for round in 0..ROUNDS_MAX {
            if round > 0 {
                sleep(Duration::from_millis(ROUND_PAUSE_MS + chance(ROUND_PAUSE_MS))).await;
            }
            for at in self.order() {
                let mut client = self.replicas.files(at);
                match timeout(PUT_WAIT, client.put(request.clone()))
                    .await
                    .map_err(late)
                    .and_then(|answer| answer)
                {
                    Ok(answer) => return Ok(answer.into_inner()),
                    Err(status) if is_final(&status) => return Err(told(&status)),
                    Err(status) => {
                        tracing::debug!(replica = %self.replicas.address(at), %status, "a chunk was not taken");
                        last = status;
                    }
                }
            }
        }
        Err(told(&last))
    }

    /// What each voter that answers holds of an upload, and how many vote.
    pub(super) async fn uploaded(
        &self,
        identity: &Identity,
        id: Uuid,
    ) -> Result<(Vec<Holders>, usize), WireError> {
        let mut voters = 0;
        let mut asked: FuturesUnordered<_> = self
            .order()
            .into_iter()
            .map(|at| {
                let mut client = self.replicas.files(at);
                let request = UploadRequest {
                    user_id: identity.user_id,
                    session_id: identity.session.as_bytes().to_vec().into(),
                    min_index: 0,
                    file_id: id.as_bytes().to_vec().into(),
                };
                timeout(UPLOADED_WAIT, async move { client.upload(request).await }).map_err(late)
            })
            .collect();
        let mut found = Vec::new();
        let mut last = Status::unavailable("there are none");
        while let Some(answer) = asked.next().await {
            match answer.and_then(|answer| answer) {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    voters = voters.max(answer.voters as usize);
                    if !answer.votes {
                        continue;
                    }
                    found.push(Holders { replica_id: answer.replica_id, chunks: answer.chunks });
                }
                Err(status) if matches!(status.code(), Code::Unauthenticated | Code::AlreadyExists) => {
                    return Err(told(&status));
                }
                Err(status) => last = status,
            }
        }
        // Without a majority nobody can say what a majority has.
        if found.len() > voters / 2 { Ok((found, voters)) } else { Err(told(&last)) }
    }

    pub(super) fn range(&self, identity: &Identity, asked: GetRequest) -> Range {
        let asked = GetRequest {
            user_id: identity.user_id,
            session_id: identity.session.as_bytes().to_vec().into(),
            ..asked
        };
        Range { tier: self.clone(), asked, stream: None, tried: 0 }
    }
}

/// A range on its way, from one replica after the other if need be. Ends when it is asked for no more.
#[derive(Debug)]
pub struct Range {
    tier: Tier,
    /// What is still to come.
    asked: GetRequest,
    stream: Option<Streaming<GetPiece>>,
    /// Replicas that were asked since the last piece.
    tried: usize,
}

impl Range {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// What the client is told, when no replica gives it.
    pub async fn next(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            if self.asked.length == 0 {
                return Ok(None);
            }
            let status = match self.piece().await {
                Ok(data) => {
                    self.tried = 0;
                    let count = data.len() as u64;
                    self.asked.offset += count;
                    self.asked.length = self.asked.length.saturating_sub(count);
                    return Ok(Some(data));
                }
                Err(status) => status,
            };
            self.stream = None;
            self.tried += 1;
            // A replica may not have taken part in an upload, or not know yet what another has told.
            let is_sure = matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument);
            if is_sure || self.tried >= ROUNDS_MAX * self.tier.replicas.count() {
                return Err(told(&status));
            }
            if self.tried.is_multiple_of(self.tier.replicas.count()) {
                sleep(Duration::from_millis(ROUND_PAUSE_MS)).await;
            }
        }
    }

    async fn piece(&mut self) -> Result<Bytes, Status> {
        if self.stream.is_none() {
            let order = self.tier.order();
            let at = order[self.tried % order.len()];
            let mut client = self.tier.replicas.files(at);
            let opened = timeout(PIECE_WAIT, client.get(self.asked.clone())).await.map_err(late)??;
            self.stream = Some(opened.into_inner());
        }
        let Some(stream) = &mut self.stream else { return Err(Status::unavailable("no stream")) };
        match timeout(PIECE_WAIT, stream.message()).await.map_err(late)?? {
            Some(piece) if !piece.data.is_empty() && piece.data.len() as u64 <= self.asked.length => {
                Ok(piece.data)
            }
            _ => Err(Status::unavailable("the range ended early")),
        }
    }
}
