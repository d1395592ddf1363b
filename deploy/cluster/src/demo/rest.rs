//! The demo's people over REST, as anybody would be: signed in, tried again while the cluster cannot, at the next gateway
//! where one does not answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Response;
use hyper::header::SET_COOKIE;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{Problem, REFRESH_COOKIE, SessionGrant, SignIn};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::http::Call;

/// One attempt may wait for an election and for a password's hash.
const ATTEMPT_WAIT: Duration = Duration::from_secs(15);
/// So much it has however little patience there is.
const ATTEMPT_WAIT_MIN: Duration = Duration::from_secs(1);
/// When an answer names no time to wait.
const RETRY: Duration = Duration::from_millis(200);
/// Longest wait that is kept to, whatever an answer says.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The gateways.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    /// In order of name.
    pub(crate) gateways: Vec<SocketAddr>,
    /// What is trusted, where they speak TLS.
    pub(crate) trust: Option<Arc<ClientConfig>>,
}

impl Rest {
    /// Those of a cluster.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let gateways = cluster.gateways().into_iter().map(|name| cluster.gateway_address(&name));
        Ok(Self { gateways: gateways.collect::<Result<_>>()?, trust: cluster.edge_trust()? })
    }

    /// An Origin that the gateways know.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        self.gateways.first().map(|address| format!("{scheme}://{address}")).unwrap_or_default()
    }

    /// Sends a call until it is decided, for at most `patience`. The call must be one that may be repeated.
    ///
    /// # Errors
    /// [`Error::Failed`] when nobody decided it; a refusal is an answer.
    pub(crate) async fn send(
        &self,
        call: Call,
        patience: Duration,
    ) -> Result<std::result::Result<Response<Bytes>, WireError>> {
        let began = Instant::now();
        // One that stands still must leave time for the others.
        let each = patience / u32::try_from(self.gateways.len().max(1)).unwrap_or(u32::MAX);
        let wait = each.clamp(ATTEMPT_WAIT_MIN, ATTEMPT_WAIT);
        for at in self.gateways.iter().cycle() {
            let attempt = call.clone().deadline(wait).over(self.trust.clone()).send(*at).await;
            let (error, wait) = match attempt {
                Ok(answer) if answer.status().is_success() => return Ok(Ok(answer)),
                Ok(answer) => {
                    let error = refusal(&answer);
                    if !error.temporary {
                        return Ok(Err(error));
                    }
                    let wait = error.retry_ms.map_or(RETRY, Duration::from_millis);
                    (Error::Failed(error.message), wait)
                }
                Err(error) => (error, RETRY),
            };
            if began.elapsed() >= patience {
                return Err(error);
            }
            tokio::time::sleep(wait.min(RETRY_MAX)).await;
        }
        Err(Error::Failed("there is no gateway".to_owned()))
    }
}

fn refusal(answer: &Response<Bytes>) -> WireError {
    serde_json::from_slice::<Problem>(answer.body()).map(|problem| problem.error).unwrap_or_else(|_| {
        let text = format!("the gateway answered {}", answer.status());
        let code =
            if answer.status().is_server_error() { ErrorCode::Unavailable } else { ErrorCode::Internal };
        WireError { temporary: answer.status().is_server_error(), ..WireError::new(code, text) }
    })
}

/// Reads an answer's body.
///
/// # Errors
/// When it is something else.
pub(crate) fn body<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T> {
    serde_json::from_slice(answer.body())
        .map_err(|error| Error::Failed(format!("a gateway answered something else: {error}")))
}

/// The refresh cookie that an answer sets.
pub(crate) fn cookie(answer: &Response<Bytes>) -> Option<String> {
    let mut headers = answer.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let value = headers
        .find_map(|header| header.split(';').next()?.trim().strip_prefix(REFRESH_COOKIE)?.strip_prefix('='));
    value.filter(|value| !value.is_empty()).map(ToOwned::to_owned)
}

/// One of the demo's people. Its `Debug` shows no secret.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) password: String,
    token: Option<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Account {
    pub(crate) fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned(), token: None }
    }

    /// What a sign-in takes.
    pub(crate) fn sign_in(&self) -> SignIn {
        SignIn {
            name: self.name.clone(),
            password: self.password.clone(),
            device: Some("Quorate demo".to_owned()),
        }
    }

    /// She was given a session elsewhere.
    pub(crate) fn granted(&mut self, grant: &SessionGrant) {
        self.token = Some(grant.access_token.clone());
    }

    /// Makes a call of hers; signs her in where she is not.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub(crate) async fn call(
        &mut self,
        rest: &Rest,
        call: Call,
        patience: Duration,
    ) -> Result<std::result::Result<Response<Bytes>, WireError>> {
        for is_last in [false, true] {
            let token = match self.token.clone() {
                Some(token) => token,
                None => {
                    let asked = Call::new("POST", "/api/v1/sessions").json(&self.sign_in());
                    match rest.send(asked, patience).await? {
                        Ok(answer) => {
                            let grant: SessionGrant = body(&answer)?;
                            self.granted(&grant);
                            grant.access_token
                        }
                        Err(refused) => return Ok(Err(refused)),
                    }
                }
            };
            let call = call.clone().header("authorization", format!("Bearer {token}"));
            match rest.send(call, patience).await? {
                Err(error) if error.code == ErrorCode::Unauthenticated && !is_last => self.token = None,
                decided => return Ok(decided),
            }
        }
        Err(Error::Failed(format!("{} cannot stay signed in", self.name)))
    }

    /// Ends her session, if there is one. Best effort: what is left of it ends by nobody using it.
    pub(crate) async fn sign_out(&mut self, rest: &Rest) {
        if let Some(token) = self.token.take() {
            let call = Call::new("DELETE", "/api/v1/sessions/current")
                .header("authorization", format!("Bearer {token}"));
            let _ = rest.send(call, RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        let answer = Response::builder().status(status).header(SET_COOKIE, "quorate_refresh=u.s; HttpOnly");
        answer.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_refusal_is_the_protocols_error_or_by_its_status() {
        let problem = Problem::from(WireError::new(ErrorCode::NameTaken, "the name is taken"));
        let told = refusal(&answer(409, &serde_json::to_string(&problem).unwrap()));
        assert_eq!((told.code, told.temporary), (ErrorCode::NameTaken, false));
        assert!(refusal(&answer(502, "<html>")).temporary, "a balancer without a gateway");
        assert!(!refusal(&answer(404, "")).temporary);
    }

    #[test]
    fn the_refresh_cookie_is_taken_from_its_header() {
        assert_eq!(cookie(&answer(200, "")).as_deref(), Some("u.s"));
    }
}
