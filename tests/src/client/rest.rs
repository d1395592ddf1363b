//! The few REST calls that a test needs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use quorate_cluster::http::Call;
use quorate_proto::frame::{Body, ServerFrame};
use quorate_proto::ids::{ConversationId, Sequence};
use quorate_proto::rest::{SessionGrant, SignIn, SignUp};

use crate::history::{FinalPages, row};

/// A call that may wait for an election.
const CALL_WAIT: Duration = Duration::from_secs(20);
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
    let answer = call.deadline(CALL_WAIT).send(at).await?;
    if answer.status() != 201 {
        bail!("{at} answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    serde_json::from_slice(answer.body()).context("a grant")
}

/// What a gateway's `/metrics` says.
///
/// # Errors
/// When it does not answer.
pub async fn metrics(at: SocketAddr) -> anyhow::Result<String> {
    let answer = Call::get("/metrics").deadline(CALL_WAIT).send(at).await?;
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

/// Reads every message of a conversation, page by page from the first; `version` is left 0.
///
/// # Errors
/// When a page cannot be had or is none.
pub async fn whole_history(
    at: SocketAddr,
    token: &str,
    conversation: ConversationId,
    source: &str,
) -> anyhow::Result<FinalPages> {
    let mut pages = FinalPages { source: source.to_owned(), conversation, version: 0, rows: Vec::new() };
    let mut after: Sequence = 0;
    loop {
        let path =
            format!("/api/v1/conversations/{conversation}/messages?after={after}&limit={PAGE_MESSAGES}");
        let call = Call::get(path).header("authorization", format!("Bearer {token}")).deadline(CALL_WAIT);
        let answer = call.send(at).await?;
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
