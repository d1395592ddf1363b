//! Reads from any replica that is fresh enough and alive.
//!
//! Owns the order in which replicas are asked and when to stop. Must not know what is read.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use quorate_proto::error::ErrorCode;
use quorate_proto::reason::Reason;
use quorate_proto::rpc::{
    ReadRequest, ReadResponse, Rejected, TokenRequest, TokenResponse, read_request, read_response,
};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::clock::chance;
use crate::metrics::Metrics;
use crate::replicas::Replicas;

/// A replica waits up to 2 s for the index asked for; this leaves it time to say that it is behind.
const ATTEMPT_WAIT: Duration = Duration::from_millis(2_500);
/// All attempts together.
const READ_WAIT: Duration = Duration::from_millis(6_000);
/// Each replica is asked at most this often, unless it waits for a leader.
const ROUNDS_MAX: usize = 2;
/// Before the second round, and as much again by chance; twice as long before each further one.
const ROUND_PAUSE_MS: u64 = 100;
/// The longest pause, chance included: several fit into an election, and a leader that is there again is soon asked.
const ROUND_PAUSE_MS_MAX: u64 = 500;
/// An election's worth: for so long a linearizable read is asked again where no leader is known.
const ELECTION_WAIT: Duration = Duration::from_millis(2_000);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Replicas answer, but none has reached the index asked for.
    #[error("no replica has reached that index")]
    Behind,
    /// No replica answers.
    #[error("no replica answers: {0}")]
    Unreachable(String),
    /// A replica decided against it.
    #[error("{}", .0.message)]
    Rejected(Rejected),
    /// The token service does not accept the credentials.
    #[error("not accepted")]
    Unauthenticated,
}

/// Handle for reads; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    replicas: Arc<Replicas>,
    metrics: Arc<Metrics>,
}

impl Reader {
    /// Reads from `replicas`.
    pub fn new(replicas: Arc<Replicas>, metrics: Arc<Metrics>) -> Self {
        Self { replicas, metrics }
    }

    /// The highest index this gateway knows of.
    pub fn known_index(&self) -> u64 {
        self.replicas.known_index()
    }

    /// Reads from the replica of the feed (or the leader, if it must be the newest state), else from others. That a session has
    /// ended, that something is not there or not allowed, is believed only of a replica that is sure: one that lags does not know yet
    /// what was acknowledged a moment ago at another gateway.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, request: ReadRequest) -> Result<ReadResponse, ReadError> {
        let sure = (!request.linearizable).then(|| ReadRequest { linearizable: true, ..request.clone() });
        match (self.read_once(request).await, sure) {
            (Err(ReadError::Rejected(rejected)), Some(sure))
                if matches!(
                    ErrorCode::from_word(&rejected.code),
                    ErrorCode::Unauthenticated | ErrorCode::NotFound | ErrorCode::Forbidden
                ) =>
            {
                self.read_once(sure).await
            }
            (result, _) => result,
        }
    }

    async fn read_once(&self, request: ReadRequest) -> Result<ReadResponse, ReadError> {
        // Any replica serves a linearizable read; the leader need not ask another for it.
        let first = if request.linearizable { self.replicas.leader() } else { None };
        self.read_at(first.unwrap_or_else(|| self.replicas.preferred()), request).await
    }

    /// Reads from one replica first, else from others.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_at(&self, first: usize, request: ReadRequest) -> Result<ReadResponse, ReadError> {
        let ask = |at| {
            let (mut client, request) = (self.replicas.reads(at), request.clone());
            async move { client.read(request).await.map(tonic::Response::into_inner) }.boxed()
        };
        let result = match self.any(first, ask).await {
            Ok(response) => {
                self.replicas.saw_index(response.as_of_index);
                match response.result {
                    Some(read_response::Result::Rejected(rejected)) => Err(ReadError::Rejected(rejected)),
                    Some(_) => Ok(response),
                    None => Err(ReadError::Unreachable("an answer without a result".to_owned())),
                }
            }
            Err(error) => Err(error),
        };
        let kind = match &result {
            Ok(_) => "ok",
            Err(ReadError::Behind) => "behind",
            Err(ReadError::Rejected(_)) => "rejected",
            Err(_) => "unreachable",
        };
        Metrics::count(&self.metrics.reads, kind);
        result
    }

    /// An access token for a session. A refusal counts only when a second replica says the same: a replica that lags
    /// does not know a young session yet.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn token(&self, request: TokenRequest) -> Result<TokenResponse, ReadError> {
        let ask = |at| {
            let (mut client, request) = (self.replicas.reads(at), request.clone());
            async move { client.token(request).await.map(tonic::Response::into_inner) }.boxed()
        };
        let first = self.replicas.preferred();
        match self.any(first, ask).await {
            Err(ReadError::Unauthenticated) if self.replicas.count() > 1 => {
                self.any(self.replicas.next(first), ask).await
            }
            result => result,
        }
    }

    async fn any<T>(
        &self,
        first: usize,
        ask: impl Fn(usize) -> BoxFuture<'static, Result<T, Status>>,
    ) -> Result<T, ReadError> {
        let began = Instant::now();
        let end = began + READ_WAIT;
        let (mut behind, mut leaderless) = (false, false);
        let mut last = String::from("no time left");
        for round in 0.. {
            let goes_on = std::mem::take(&mut leaderless) && began.elapsed() < ELECTION_WAIT;
            if round >= ROUNDS_MAX && !goes_on {
                break;
            }
            if round > 0 {
                let least_ms = pause_least_ms(round);
                sleep(Duration::from_millis(least_ms + chance(least_ms))).await;
            }
            for at in self.replicas.order(first) {
                let now = Instant::now();
                if now >= end {
                    break;
                }
                match timeout_at((now + ATTEMPT_WAIT).min(end), ask(at)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(status)) => match status.code() {
                        Code::Unauthenticated | Code::PermissionDenied | Code::NotFound => {
                            return Err(ReadError::Unauthenticated);
                        }
                        _ => match Reason::of(&status) {
                            Some(Reason::Behind) => behind = true,
                            reason => {
                                leaderless |= reason == Some(Reason::NoLeader);
                                last = format!("{}: {}", self.replicas.address(at), status.message());
                            }
                        },
                    },
                    Err(_) => last = format!("{}: no answer in time", self.replicas.address(at)),
                }
            }
            if behind {
                // Each has waited for it already.
                return Err(ReadError::Behind);
            }
        }
        Err(ReadError::Unreachable(last))
    }
}

/// The least pause before a round, ms; as much again comes by chance, so that those who lost one leader do not ask in step.
fn pause_least_ms(round: usize) -> u64 {
    let doublings = u32::try_from(round.saturating_sub(1)).unwrap_or(u32::MAX);
    ROUND_PAUSE_MS.saturating_mul(2_u64.saturating_pow(doublings)).min(ROUND_PAUSE_MS_MAX / 2)
}

/// A read request by a user's session.
pub fn request(min_index: u64, user_id: u64, session_id: &[u8], query: read_request::Query) -> ReadRequest {
    ReadRequest {
        min_index,
        linearizable: false,
        user_id,
        session_id: session_id.to_vec().into(),
        query: Some(query),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use quorate_proto::rpc::SessionsQuery;

    use super::*;
    use crate::testing::{Fake, tier, undisturbed};

    #[tokio::test]
    async fn a_linearizable_read_waits_for_an_election_and_for_nothing_else() {
        undisturbed(|| async {
            let (fake, _feeds) = Fake::start(1).await;
            let (_, reader, _) = tier(&[&fake]);
            let newest = async || {
                let query = read_request::Query::Sessions(SessionsQuery {});
                reader.read(ReadRequest { linearizable: true, ..request(0, 1, &[7; 16], query) }).await
            };
            // Refused so often; how often it was asked.
            let refusing = |times: usize, why: Status| {
                let asked = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&asked);
                fake.set(|state| {
                    state.read = Box::new(move |_| match count.fetch_add(1, Ordering::Relaxed) {
                        before if before < times => Err(why.clone()),
                        _ => Ok(ReadResponse {
                            result: Some(read_response::Result::Sessions(Default::default())),
                            ..ReadResponse::default()
                        }),
                    });
                });
                asked
            };
            let no_leader = || Reason::NoLeader.refusal("a linearizable read: try again");
            let of_before = Status::unavailable(no_leader().message());
            for refusal in [no_leader(), of_before] {
                let asked = refusing(ROUNDS_MAX, refusal.clone());
                assert!(newest().await.is_ok(), "somebody was elected meanwhile: {refusal}");
                assert_eq!(asked.load(Ordering::Relaxed), ROUNDS_MAX + 1, "{refusal}");
            }
            let asked = refusing(usize::MAX, no_leader());
            assert!(matches!(newest().await, Err(ReadError::Unreachable(_))), "it ends without a majority");
            let most = 4 + ELECTION_WAIT.as_millis() / u128::from(ROUND_PAUSE_MS_MAX / 2);
            assert!(asked.load(Ordering::Relaxed) as u128 <= most, "{asked:?} times in one election");
            let asked = refusing(usize::MAX, Status::unavailable("stopping"));
            assert!(matches!(newest().await, Err(ReadError::Unreachable(_))));
            assert_eq!(asked.load(Ordering::Relaxed), ROUNDS_MAX, "no election helps there");
        })
        .await;
    }

    #[test]
    fn pauses_grow_and_stay_far_shorter_than_an_election() {
        let least: Vec<u64> = (1..=5).map(pause_least_ms).collect();
        assert_eq!(least, [100, 200, 250, 250, 250]);
        for round in [1, 2, 3, 64, usize::MAX] {
            let longest = Duration::from_millis(2 * pause_least_ms(round));
            assert!(longest <= Duration::from_millis(ROUND_PAUSE_MS_MAX) && 4 * longest <= ELECTION_WAIT);
        }
    }

    #[tokio::test]
    async fn a_refusal_is_believed_only_of_a_replica_that_is_sure() {
        let (fake, _feeds) = Fake::start(1).await;
        let (_, reader, _) = tier(&[&fake]);
        let asked = || request(0, 1, &[7; 16], read_request::Query::Sessions(SessionsQuery {}));
        let answer = |code: Option<&'static str>| {
            let result = match code {
                Some(code) => {
                    read_response::Result::Rejected(Rejected { code: code.to_owned(), ..Rejected::default() })
                }
                None => read_response::Result::Sessions(Default::default()),
            };
            Ok(ReadResponse { result: Some(result), ..ReadResponse::default() })
        };
        type Sure = Result<Option<&'static str>, Status>;
        // The first answer of a replica that lags, and what one says that is sure.
        let lagging = move |first: &'static str, sure: Sure| {
            move |asked: ReadRequest| match asked.linearizable {
                true => sure.clone().and_then(answer),
                false => answer(Some(first)),
            }
        };
        for first in ["unauthenticated", "not_found", "forbidden"] {
            fake.set(|state| state.read = Box::new(lagging(first, Ok(None))));
            assert!(reader.read(asked()).await.is_ok(), "{first}: it was made a moment ago, elsewhere");
            fake.set(|state| state.read = Box::new(lagging(first, Ok(Some(first)))));
            let refused = reader.read(asked()).await;
            assert!(matches!(&refused, Err(ReadError::Rejected(it)) if it.code == first), "{refused:?}");
            fake.set(|state| state.read = Box::new(lagging(first, Err(Status::unavailable("no leader")))));
            let unsure = reader.read(asked()).await;
            assert!(
                matches!(&unsure, Err(ReadError::Unreachable(_))),
                "nobody is signed out, and nothing denied, on a guess: {unsure:?}"
            );
        }
        fake.set(|state| state.read = Box::new(lagging("invalid", Ok(None))));
        let other = reader.read(asked()).await;
        assert!(matches!(&other, Err(ReadError::Rejected(it)) if it.code == "invalid"), "{other:?}");
    }
}
