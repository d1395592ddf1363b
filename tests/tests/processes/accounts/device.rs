//! A device of somebody: its cookie, its token, and the calls it makes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::wait_until;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Body, Request};
use quorate_proto::rest::{NewPassword, Problem, SessionGrant, SessionInfo, Sessions, SignIn, SignUp};
use quorate_tests::client::{Received, Socket};

use super::WAIT;

/// A call that may wait for an election.
const CALL_WAIT: Duration = Duration::from_secs(20);
/// One that hashes a password, with what all others leave of the processors, and many at a time.
const HASH_WAIT: Duration = Duration::from_secs(60);

/// An answer: status, body, and the new cookie if there was one.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub cookie: Option<String>,
    pub retry_after_s: Option<u64>,
}

impl Answer {
    pub fn problem(&self) -> anyhow::Result<Problem> {
        serde_json::from_slice(&self.body).with_context(|| format!("no problem: {self:?}"))
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub fn code(&self) -> Option<ErrorCode> {
        self.problem().ok().map(|problem| problem.error.code)
    }

    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(
            self.status == status,
            "not {status}: {} {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(self)
    }
}

pub async fn send(at: SocketAddr, call: Call) -> anyhow::Result<Answer> {
    send_within(CALL_WAIT, at, call).await
}

async fn send_within(wait: Duration, at: SocketAddr, call: Call) -> anyhow::Result<Answer> {
    let answer = call.deadline(wait).send(at).await?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let cookie = header("set-cookie").and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    let retry_after_s = header("retry-after").and_then(|value| value.parse().ok());
    Ok(Answer { status: answer.status().as_u16(), body: answer.body().to_vec(), cookie, retry_after_s })
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Device {
    pub grant: SessionGrant,
    /// As the browser would send it.
    pub cookie: String,
}

impl Device {
    fn granted(answer: Answer) -> anyhow::Result<Self> {
        let grant = serde_json::from_slice(&answer.body).context("a grant")?;
        Ok(Self { grant, cookie: answer.cookie.context("a cookie")? })
    }

    pub async fn sign_up(at: SocketAddr, name: &str, password: &str) -> anyhow::Result<Self> {
        let body = SignUp {
            name: name.to_owned(),
            password: password.to_owned(),
            display_name: None,
            device: Some("first".to_owned()),
        };
        let call = Call::new("POST", "/api/v1/accounts").json(&body);
        Self::granted(send_within(HASH_WAIT, at, call).await?.expect(201)?)
    }

    pub async fn sign_in(at: SocketAddr, name: &str, password: &str, device: &str) -> anyhow::Result<Self> {
        Self::granted(try_sign_in(at, name, password, device, None).await?.expect(201)?)
    }

    fn call(&self, method: &'static str, path: &str) -> Call {
        Call::new(method, path).header("authorization", format!("Bearer {}", self.grant.access_token))
    }

    pub async fn ask(&self, at: SocketAddr, method: &'static str, path: &str) -> anyhow::Result<Answer> {
        send(at, self.call(method, path)).await
    }

    pub async fn give(
        &self,
        at: SocketAddr,
        method: &'static str,
        path: &str,
        body: &impl serde::Serialize,
    ) -> anyhow::Result<Answer> {
        send(at, self.call(method, path).json(body)).await
    }

    pub async fn sessions(&self, at: SocketAddr) -> anyhow::Result<Vec<SessionInfo>> {
        let answer = self.ask(at, "GET", "/api/v1/sessions").await?.expect(200)?;
        Ok(serde_json::from_slice::<Sessions>(&answer.body)?.sessions)
    }

    pub async fn set_password(&self, at: SocketAddr, old: &str, new: &str) -> anyhow::Result<Answer> {
        let body = NewPassword { password: old.to_owned(), new_password: new.to_owned() };
        send_within(HASH_WAIT, at, self.call("PUT", "/api/v1/password").json(&body)).await
    }

    /// A refresh with the cookie as it was; nothing is taken over.
    pub async fn try_refresh(&self, at: SocketAddr) -> anyhow::Result<Answer> {
        send(at, from_page(at, Call::new("POST", "/api/v1/sessions/refresh")).header("cookie", &self.cookie))
            .await
    }

    /// A refresh as a browser does it.
    pub async fn refresh(&mut self, at: SocketAddr) -> anyhow::Result<()> {
        let answer = self.try_refresh(at).await?.expect(200)?;
        self.grant = serde_json::from_slice(&answer.body)?;
        if let Some(cookie) = answer.cookie {
            self.cookie = cookie;
        }
        Ok(())
    }

    /// A socket that is welcome.
    pub async fn connect(&self, at: SocketAddr) -> anyhow::Result<Socket> {
        let mut socket = Socket::open(at, None).await?;
        socket.hello(&self.grant.access_token, None).await?;
        Ok(socket)
    }

    /// Waits until no replica knows the session any more, however late it is.
    pub async fn is_out(&self, at: SocketAddr) -> anyhow::Result<()> {
        wait_until("the session to be refused", WAIT, || async {
            match self.ask(at, "GET", "/api/v1/sessions").await {
                Ok(answer) if answer.status == 401 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        Ok(())
    }
}

/// As the page calls that this gateway serves: what a cookie opens asks for it.
fn from_page(at: SocketAddr, call: Call) -> Call {
    call.header("origin", format!("http://{at}"))
}

pub async fn try_sign_in(
    at: SocketAddr,
    name: &str,
    password: &str,
    device: &str,
    cookie: Option<&str>,
) -> anyhow::Result<Answer> {
    let body =
        SignIn { name: name.to_owned(), password: password.to_owned(), device: Some(device.to_owned()) };
    let call = Call::new("POST", "/api/v1/sessions").json(&body);
    let call = match cookie {
        Some(cookie) => from_page(at, call).header("cookie", cookie),
        None => call,
    };
    send_within(HASH_WAIT, at, call).await
}

/// Reads a socket until it is closed; its close code. Pings are answered, or a socket that waits for long is closed for that.
pub async fn closed(socket: &mut Socket) -> anyhow::Result<u16> {
    let end = async {
        loop {
            match socket.next().await {
                Received::Frame(frame) => {
                    if let Body::Ping { n, .. } = frame.body {
                        // When it cannot be sent the end is what comes next.
                        let _ = socket.request(Request::Pong { n }).await;
                    }
                }
                Received::Closed(farewell) => return farewell.code,
            }
        }
    };
    match tokio::time::timeout(WAIT, end).await {
        Ok(code) => code.context("closed without a code"),
        Err(_) => bail!("the socket stays open"),
    }
}
