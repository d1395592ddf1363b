//! Calls over REST as a client makes them: each again under its key for as long as the answer is that it may succeed later.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use quorate_cluster::http::Call;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::Ack;
use quorate_proto::rest::{SessionGrant, Written};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::WAIT;
use crate::accounts::device::{Answer, Device, send};

/// When an error names no time to wait.
const RETRY_MS: u64 = 200;

/// Somebody at a gateway, or nobody.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    at: SocketAddr,
    token: Option<&'a str>,
}

/// Who is signed in.
pub fn at(at: SocketAddr, grant: &SessionGrant) -> Caller<'_> {
    Caller { at, token: Some(&grant.access_token) }
}

/// A program, by its token.
pub fn by_token(at: SocketAddr, token: &str) -> Caller<'_> {
    Caller { at, token: Some(token) }
}

/// Who is not.
pub fn stranger(at: SocketAddr) -> Caller<'static> {
    Caller { at, token: None }
}

/// What came of a call, and how often it was made.
#[derive(Debug)]
pub struct Reply {
    answer: Answer,
    /// The first answer was the last.
    pub at_once: bool,
}

impl Caller<'_> {
    /// A call that is decided, whichever way.
    pub async fn under(
        self,
        key: Uuid,
        method: &'static str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Reply> {
        let call = || {
            let call = Call::new(method, path).header("idempotency-key", key.to_string());
            if body.is_null() { call } else { call.json(body) }
        };
        self.decided(call).await
    }

    /// A file in one call, and again for as long as it must be.
    pub async fn upload(self, id: Uuid, name: &str, data: &[u8]) -> anyhow::Result<Reply> {
        let path = format!("/api/v1/files/{id}/content?name={name}");
        self.decided(|| Call::new("PUT", path.clone()).bytes(data.to_vec())).await
    }

    async fn decided(self, call: impl Fn() -> Call) -> anyhow::Result<Reply> {
        let until = Instant::now() + WAIT;
        let mut at_once = true;
        loop {
            let mut call = call();
            if let Some(token) = self.token {
                call = call.header("authorization", format!("Bearer {token}"));
            }
            let answer = match send(self.at, call).await {
                Ok(answer) => answer,
                // Passwords are hashed with what others leave of the processors: its fate is asked for under the same key.
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => {
                    at_once = false;
                    sleep(Duration::from_millis(RETRY_MS)).await;
                    continue;
                }
            };
            // An answer to HEAD says no more than its status.
            let is_told = answer.status >= 400 && !answer.body.is_empty();
            let error = is_told.then(|| answer.problem()).transpose()?.map(|problem| problem.error);
            match error {
                Some(error) if error.temporary && Instant::now() < until => {
                    sleep(Duration::from_millis(error.retry_ms.unwrap_or(RETRY_MS))).await;
                    at_once = false;
                }
                _ => return Ok(Reply { answer, at_once }),
            }
        }
    }

    /// The same under a key of its own.
    pub async fn ask(self, method: &'static str, path: &str, body: Value) -> anyhow::Result<Reply> {
        self.under(Uuid::now_v7(), method, path, &body).await
    }

    /// Something that is read, not older than an index.
    pub async fn read<T: DeserializeOwned>(self, path: &str, min_index: u64) -> anyhow::Result<T> {
        self.look(path, min_index).await?.is(200)?.answer.json()
    }

    /// The same, perhaps refused.
    pub async fn look(self, path: &str, min_index: u64) -> anyhow::Result<Reply> {
        let separator = if path.contains('?') { '&' } else { '?' };
        self.ask("GET", &format!("{path}{separator}min_index={min_index}"), Value::Null).await
    }

    /// A sign-in.
    pub async fn sign_in(self, name: &str, password: &str) -> anyhow::Result<Reply> {
        let body = json!({ "name": name, "password": password, "device": "people" });
        self.ask("POST", "/api/v1/sessions", body).await
    }
}

impl Reply {
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        self.answer.json()
    }

    pub fn status(&self) -> u16 {
        self.answer.status
    }

    pub fn body(&self) -> &[u8] {
        &self.answer.body
    }

    pub fn is(self, status: u16) -> anyhow::Result<Self> {
        Ok(Self { answer: self.answer.expect(status)?, ..self })
    }

    /// A write that was committed; where.
    pub fn written(self) -> anyhow::Result<Ack> {
        ensure!(matches!(self.answer.status, 200 | 201), "not written: {:?}", self.answer.problem());
        let Written::Ack(ack) = self.answer.json()?;
        Ok(ack)
    }

    /// Refused for good, with the status that belongs to the word.
    pub fn refused(&self, code: ErrorCode) -> anyhow::Result<()> {
        let answer = &self.answer;
        let body = String::from_utf8_lossy(&answer.body);
        let as_wanted = answer.code() == Some(code) && answer.status == code.row().http_status;
        ensure!(as_wanted, "not refused as {code:?}: {} {body}", answer.status);
        Ok(())
    }

    /// A session that has begun.
    pub fn device(self) -> anyhow::Result<Device> {
        let answer = self.is(201)?.answer;
        Ok(Device { grant: answer.json()?, cookie: answer.cookie.context("a cookie")? })
    }
}
