//! The few REST calls that a test needs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Response;
use hyper::body::Bytes;
use quorate_cluster::http::Call;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Body, ServerFrame};
use quorate_proto::ids::{ConversationId, Index, Sequence};
use quorate_proto::rest::{Problem, SessionGrant, SignIn, SignUp};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::history::{FinalPages, row};

/// A call that may wait for an election, or for a password to be hashed with what others leave of the processors.
const CALL_WAIT: Duration = Duration::from_secs(60);
/// A call is made again for this long where the answer is that nobody leads just now.
const LEADERLESS_WAIT: Duration = Duration::from_secs(20);
/// When such an answer names no time to wait.
const RETRY_MS: u64 = 200;
/// Messages asked for at once.
const PAGE_MESSAGES: u32 = 100;

/// The password of every test user.
pub const PASSWORD: &str = "correct horse battery";

/// Makes an account.
///
/// # Errors
/// With the answer's body, when it is not 201.
pub async fn sign_up(at: SocketAddr, name: &str) -> anyhow::Result<SessionGrant> {
    let body = SignUp {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        display_name: None,
        device: Some("test".to_owned()),
    };
    grant(at, Call::new("POST", "/api/v1/accounts").json(&body)).await
}

/// Signs in.
///
/// # Errors
/// As [`sign_up`].
pub async fn sign_in(at: SocketAddr, name: &str) -> anyhow::Result<SessionGrant> {
    let body =
        SignIn { name: name.to_owned(), password: PASSWORD.to_owned(), device: Some("test".to_owned()) };
    grant(at, Call::new("POST", "/api/v1/sessions").json(&body)).await
}

async fn grant(at: SocketAddr, call: Call) -> anyhow::Result<SessionGrant> {
    // Made again under one key: a sign-up is one account, however often it is asked for.
    let answer = decided(at, call.header("idempotency-key", Uuid::now_v7().to_string())).await?;
    if answer.status() != 201 {
        bail!("{at} answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    serde_json::from_slice(answer.body()).context("a grant")
}

/// A call that may be made again, until its answer is another than that nobody leads: a machine that stands still for a second
/// may cost the leader at any time.
async fn decided(at: SocketAddr, call: Call) -> anyhow::Result<Response<Bytes>> {
    let until = Instant::now() + LEADERLESS_WAIT;
    loop {
        let answer = call.clone().deadline(CALL_WAIT).send(at).await?;
        let problem = (answer.status() == 503).then(|| serde_json::from_slice::<Problem>(answer.body()).ok());
        match problem.flatten() {
            Some(Problem { error, .. }) if error.code == ErrorCode::Unavailable && Instant::now() < until => {
                sleep(Duration::from_millis(error.retry_ms.unwrap_or(RETRY_MS))).await;
            }
            _ => return Ok(answer),
        }
    }
}

/// What a gateway's `/metrics` says.
///
/// # Errors
/// When it does not answer.
pub async fn metrics(at: SocketAddr) -> anyhow::Result<String> {
    let answer = Call::get("/metrics").deadline(CALL_WAIT).send(at).await?;
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

/// Reads every message of a conversation, page by page from the first, as new as this gateway knows; `version` is left 0.
///
/// # Errors
/// When a page cannot be had or is none.
pub async fn whole_history(
    at: SocketAddr,
    token: &str,
    conversation: ConversationId,
    source: &str,
) -> anyhow::Result<FinalPages> {
    whole_history_at(at, token, conversation, source, 0).await
}

/// The same, not older than an index: for what was written through another gateway.
///
/// # Errors
/// As [`whole_history`].
pub async fn whole_history_at(
    at: SocketAddr,
    token: &str,
    conversation: ConversationId,
    source: &str,
    min_index: Index,
) -> anyhow::Result<FinalPages> {
    let mut pages = FinalPages { source: source.to_owned(), conversation, version: 0, rows: Vec::new() };
    let mut after: Sequence = 0;
    loop {
        let fresh = if min_index > 0 { format!("&min_index={min_index}") } else { String::new() };
        let path = format!(
            "/api/v1/conversations/{conversation}/messages?after={after}&limit={PAGE_MESSAGES}{fresh}"
        );
        let call = Call::get(path).header("authorization", format!("Bearer {token}"));
        let answer = decided(at, call).await?;
        if answer.status() != 200 {
            bail!("{at} answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
        }
        let frame: ServerFrame = serde_json::from_slice(answer.body())
            .with_context(|| format!("a page: {}", String::from_utf8_lossy(answer.body())))?;
        let Body::Page { messages, more_after, .. } = frame.body else { bail!("no page: {frame:?}") };
        pages.rows.extend(messages.iter().filter_map(row));
        let Some(last) = pages.rows.last() else { return Ok(pages) };
        if !more_after {
            return Ok(pages);
        }
        if last.sequence <= after {
            bail!("the page after {after} ends at {}", last.sequence);
        }
        after = last.sequence;
    }
}
