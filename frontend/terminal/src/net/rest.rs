//! REST calls beside the socket: accounts and sessions.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};
use hyper_util::rt::TokioIo;
use quorate_client::proto::rest::{Problem, REFRESH_COOKIE, SessionGrant, SignIn, SignUp};
use quorate_client::view::sentence;
use serde::Serialize;

use super::Dial;

/// A call may wait for an election.
const CALL_WAIT: Duration = Duration::from_secs(20);
/// Longest answer that is read; those that are asked for have a few hundred bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Why a call brought nothing, in words for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// What to tell.
    pub message: String,
}

impl CallError {
    /// A clear no, as opposed to a server that is busy, electing or out of reach.
    pub fn denied(&self) -> bool {
        matches!(self.status, 400..=499) && self.status != 408 && self.status != 429
    }

    /// The chat could not be asked at all, or could not decide just now.
    pub fn unreachable(&self) -> bool {
        matches!(self.status, 0 | 408 | 500..=599)
    }
}

/// A session, and the cookie that carries it on if a new one was given.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was granted.
    pub grant: SessionGrant,
    /// The value of the refresh cookie.
    pub cookie: Option<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Rest {
    /// The way there.
    pub dial: Dial,
}

impl Rest {
    /// Makes an account and its first session.
    ///
    /// # Errors
    /// The server's no, or that there was no answer.
    pub async fn sign_up(&self, body: &SignUp) -> Result<Answer, CallError> {
        self.granted("/api/v1/accounts", Some(body), None).await
    }

    /// Begins a session.
    ///
    /// # Errors
    /// As [`Self::sign_up`].
    pub async fn sign_in(&self, body: &SignIn) -> Result<Answer, CallError> {
        self.granted("/api/v1/sessions", Some(body), None).await
    }

    /// A fresh access token by the cookie.
    ///
    /// # Errors
    /// As [`Self::sign_up`].
    pub async fn refresh(&self, cookie: &str) -> Result<Answer, CallError> {
        self.granted("/api/v1/sessions/refresh", None::<&()>, Some(cookie)).await
    }

    /// Ends the session everywhere.
    ///
    /// # Errors
    /// As [`Self::sign_up`].
    pub async fn sign_out(&self, token: &str) -> Result<(), CallError> {
        self.call("DELETE", "/api/v1/sessions/current", None, None, Some(token)).await.map(|_| ())
    }

    async fn granted(
        &self,
        path: &'static str,
        body: Option<&impl Serialize>,
        cookie: Option<&str>,
    ) -> Result<Answer, CallError> {
        let body = body.and_then(|body| serde_json::to_vec(body).ok());
        let (text, cookie) = self.call("POST", path, body, cookie, None).await?;
        let unreadable = || CallError {
            status: 0,
            message: format!("What answers at {} is no Quorate. Check --url.", self.dial.address),
        };
        let grant = serde_json::from_slice(&text).map_err(|_| unreadable())?;
        Ok(Answer { grant, cookie })
    }

    /// One request; body and refresh cookie of its answer.
    async fn call(
        &self,
        method: &'static str,
        path: &'static str,
        body: Option<Vec<u8>>,
        cookie: Option<&str>,
        token: Option<&str>,
    ) -> Result<(Bytes, Option<String>), CallError> {
        let address = &self.dial.address;
        let check =
            if address.tls { "--url, --ca-file and the connection" } else { "--url and the connection" };
        let no_answer = |why: String| CallError {
            status: 0,
            message: format!("No answer from {address} ({why}). Check {check}."),
        };
        let exchange = self.exchange(method, path, body, cookie, token);
        let answer = match tokio::time::timeout(CALL_WAIT, exchange).await {
            Ok(answer) => answer.map_err(|error| no_answer(error.to_string()))?,
            Err(_) => return Err(no_answer(format!("after {} s", CALL_WAIT.as_secs()))),
        };
        let (status, text, cookie) = answer;
        if (200..300).contains(&status) {
            return Ok((text, cookie));
        }
        let message = serde_json::from_slice::<Problem>(&text).map_or_else(
            |_| format!("{address} answered {status}. Try again in a moment."),
            |problem| sentence(&problem.detail),
        );
        Err(CallError { status, message })
    }

    async fn exchange(
        &self,
        method: &'static str,
        path: &'static str,
        body: Option<Vec<u8>>,
        cookie: Option<&str>,
        token: Option<&str>,
    ) -> Result<(u16, Bytes, Option<String>), Box<dyn std::error::Error + Send + Sync>> {
        let stream = self.dial.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let address = &self.dial.address;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address.authority())
            .header(ORIGIN, address.origin())
            .header(CONNECTION, "close");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, format!("{REFRESH_COOKIE}={cookie}"));
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let given = head.headers.get_all(SET_COOKIE).iter();
            let cookie = given.filter_map(|header| header.to_str().ok()).find_map(refresh_cookie);
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes();
            Ok((head.status.as_u16(), body, cookie))
        };
        tokio::pin!(exchange, connection);
        // The connection works only while it is polled; it ends with the answer, so nothing is left behind.
        tokio::select! {
            answer = &mut exchange => answer,
            _ = &mut connection => exchange.await,
        }
    }
}

/// The value of the refresh cookie, if this header sets it.
fn refresh_cookie(header: &str) -> Option<String> {
    let (name, value) = header.split(';').next()?.split_once('=')?;
    (name.trim() == REFRESH_COOKIE && !value.trim().is_empty()).then(|| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_taken_from_its_header_and_no_other() {
        let header = "quorate_refresh=u.s; HttpOnly; SameSite=Strict; Path=/api/v1/sessions; Max-Age=5";
        assert_eq!(refresh_cookie(header).as_deref(), Some("u.s"));
        assert_eq!(refresh_cookie("other=u.s"), None);
        assert_eq!(refresh_cookie("quorate_refresh=; Max-Age=0"), None);
    }

    #[test]
    fn a_no_is_told_from_a_server_that_is_busy() {
        let error = |status| CallError { status, message: String::new() };
        assert!(error(401).denied() && error(409).denied());
        assert!(!error(429).denied() && !error(503).denied() && !error(0).denied());
        assert!(error(0).unreachable() && error(503).unreachable() && !error(401).unreachable());
    }
}
