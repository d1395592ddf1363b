//! Asking the leader for a change of leadership or members, whoever leads.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rpc::cluster_change_response::Result as Answer;
use quorate_proto::rpc::{ClusterChangeRequest, ClusterChanged};
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::convert;
use crate::replicas::Replicas;

/// All attempts together; an election fits in.
const CHANGE_WAIT: Duration = Duration::from_secs(25);
/// One attempt: a replica gives a commit 10 s, and what comes before it some seconds.
const CALL_WAIT: Duration = Duration::from_secs(18);
/// Between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// What a caller is told to wait before asking again, ms.
const RETRY_MS: u64 = 500;

/// Who leads by its own word; else by the others'.
async fn leader(replicas: &std::sync::Arc<Replicas>) -> Option<usize> {
    let mut answers = replicas.ask_all();
    let mut named = None;
    while let Some((at, status)) = answers.next().await {
        let Some(status) = status else { continue };
        if status.role == "leader" {
            return Some(at);
        }
        if status.leader_id != 0 {
            named = named.max(Some((status.term, status.leader_id)));
        }
    }
    named.and_then(|(_, id)| replicas.resolve(id, ""))
}

/// Asks for a change until it is made or refused. The replica that leads decides whether its user may.
///
/// # Errors
/// What the caller is told: a refusal; or, where its fate is not known, `unavailable`: ask again with the same id.
pub async fn change(
    replicas: &std::sync::Arc<Replicas>,
    request: &ClusterChangeRequest,
) -> Result<ClusterChanged, WireError> {
    let began = Instant::now();
    let mut place = replicas.leader();
    let mut missing = "no replica leads".to_owned();
    loop {
        let left = CHANGE_WAIT.saturating_sub(began.elapsed());
        if left.is_zero() {
            let message = format!(
                "not confirmed within {} s, and it may yet happen: look, then ask again with the same Idempotency-Key \
                 ({missing})",
                CHANGE_WAIT.as_secs()
            );
            return Err(WireError::new(ErrorCode::Unavailable, message).retry_after(RETRY_MS));
        }
        let at = match place.take() {
            Some(at) => at,
            None => match leader(replicas).await {
                Some(at) => at,
                None => {
                    sleep(RETRY_INTERVAL).await;
                    continue;
                }
            },
        };
        let mut client = replicas.cluster(at);
        match timeout(CALL_WAIT.min(left), client.change(request.clone())).await {
            Ok(Ok(answer)) => match answer.into_inner().result {
                Some(Answer::Changed(changed)) => {
                    replicas.saw_index(changed.index);
                    return Ok(changed);
                }
                Some(Answer::Refused(refused)) => return Err(convert::rejected(&refused)),
                Some(Answer::NotLeader(hint)) => {
                    missing = format!("{} does not lead", replicas.address(at));
                    place = replicas.resolve(hint.id, &hint.address).filter(|named| *named != at);
                }
                Some(Answer::Unknown(why)) => missing = why,
                None => "an answer of another kind".clone_into(&mut missing),
            },
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                let message = "not all replicas are upgraded: try again later";
                return Err(WireError::new(ErrorCode::Unsupported, message));
            }
            Ok(Err(status)) => missing = format!("{}: {}", replicas.address(at), status.message()),
            Err(_) => missing = format!("{}: no answer", replicas.address(at)),
        }
        sleep(RETRY_INTERVAL).await;
    }
}
