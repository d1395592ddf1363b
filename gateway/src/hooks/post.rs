//! One try: a POST to somebody's server, who is given nothing of ours but the signed body.
//!
//! Connects to exactly the addresses that were checked: names are looked up here, what may not be reached is taken out, and the
//! connection is made to what is left. No proxy (it would look names up again), no redirect, no cookie.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use super::addresses::may_reach;
use super::payload::Payload;
use super::settings::literal;
use super::sign::signature;
use crate::clock;
use crate::network::Network;

/// One try in all: looking up, connecting, sending and the answer.
pub(super) const TRY_WAIT: Duration = Duration::from_secs(10);
/// Of this the connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections kept open to one server, one for each bot that is told there at a time.
const IDLE_PER_HOST_MAX: usize = 4;

/// Why a try failed, in words for the webhook's owner: never of what the server said, and nothing of our network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum TryError {
    /// Another status than 2xx.
    #[error("the server answered {0}")]
    Status(u16),
    /// The server wants no more of it.
    #[error("the server answered 410: it is gone")]
    Gone,
    /// The address may not be reached.
    #[error("the address is private or special")]
    Refused,
    /// No answer in time.
    #[error("no answer within 10 s")]
    Late,
    /// No connection, or one that broke.
    #[error("the server could not be reached")]
    Unreachable,
    /// The address in the state is none: an earlier version took it.
    #[error("that is no address of a webhook")]
    NoUrl,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Poster {
    http: Client,
    allowed: Arc<[Network]>,
}

/// A name leads nowhere that may be reached.
#[derive(Debug, Error)]
#[error("every address of this name is private or special")]
struct Nowhere;

/// Looks names up as the system does, and keeps what may be reached.
struct Filter(Arc<[Network]>);

impl Resolve for Filter {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is the URL's, put in by the caller.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let reachable: Vec<SocketAddr> =
                found.filter(|address| may_reach(address.ip(), &allowed)).collect();
            if reachable.is_empty() {
                return Err(Nowhere.into());
            }
            let addresses: Addrs = Box::new(reachable.into_iter());
            Ok(addresses)
        })
    }
}

impl Poster {
    /// Reaching public addresses, and `allowed` ones.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub(super) fn new(allowed: Vec<Network>) -> anyhow::Result<Self> {
        // The processes' one provider of cryptography; who has chosen it before has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let allowed: Arc<[Network]> = allowed.into();
        let http = Client::builder()
            .timeout(TRY_WAIT)
            .connect_timeout(CONNECT_WAIT)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Filter(Arc::clone(&allowed))))
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("making the HTTP client of webhooks")?;
        Ok(Self { http, allowed })
    }

    /// Tells a webhook once.
    ///
    /// # Errors
    /// When it was not taken: then it is told again.
    pub(super) async fn post(&self, url: &str, secret: &[u8], payload: &Payload) -> Result<(), TryError> {
        let url = Url::parse(url).map_err(|_| TryError::NoUrl)?;
        // An address by number is not looked up.
        if literal(&url).is_some_and(|address: IpAddr| !may_reach(address, &self.allowed)) {
            return Err(TryError::Refused);
        }
        let timestamp_s = clock::wall_ms() / 1_000;
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", &payload.id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", signature(secret, &payload.id, timestamp_s, &payload.body))
            .body(payload.body.clone());
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let mut read = 0;
        // Whatever it says and however that ends: the status was said.
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > ANSWER_BYTES_MAX {
                break;
            }
        }
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(TryError::Gone),
            status => Err(TryError::Status(status.as_u16())),
        }
    }
}

fn failure(error: &reqwest::Error) -> TryError {
    if error.is_timeout() {
        return TryError::Late;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = cause {
        if at.is::<Nowhere>() {
            return TryError::Refused;
        }
        cause = at.source();
    }
    TryError::Unreachable
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn payload() -> Payload {
        Payload { id: "c-9-1".into(), body: br#"{"x":1}"#.to_vec() }
    }

    fn loopback() -> Poster {
        Poster::new(vec![Network::parse("127.0.0.0/8").unwrap()]).unwrap()
    }

    /// A server that answers each connection's first request with this, and says what it was sent.
    async fn server(answer: &'static str) -> (u16, tokio::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, received) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 4_096];
                let mut len = 0;
                while !bytes[..len].ends_with(br#"{"x":1}"#) {
                    match stream.read(&mut bytes[len..]).await {
                        Ok(read) if read > 0 => len += read,
                        _ => return,
                    }
                }
                sent.send(String::from_utf8_lossy(&bytes[..len]).into_owned()).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (port, received)
    }

    #[tokio::test]
    async fn what_is_sent_is_signed_and_only_a_2xx_is_a_yes() {
        let (port, mut received) = server("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        let url = format!("http://127.0.0.1:{port}/hook?a=1");
        loopback().post(&url, &[7; 32], &payload()).await.unwrap();
        let request = received.recv().await.unwrap();
        assert!(request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{request}");
        let header = |name: &str| {
            let line =
                request.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
            line.map(|line| line[name.len() + 2..].to_owned()).unwrap_or_default()
        };
        assert_eq!(
            (header("webhook-id"), header("content-type")),
            ("c-9-1".into(), "application/json".into())
        );
        let timestamp_s: u64 = header("webhook-timestamp").parse().unwrap();
        assert!(timestamp_s.abs_diff(clock::wall_ms() / 1_000) < 5);
        assert_eq!(header("webhook-signature"), signature(&[7; 32], "c-9-1", timestamp_s, br#"{"x":1}"#));
        for absent in ["cookie", "authorization", "referer"] {
            assert_eq!(header(absent), "");
        }

        for (answer, wanted) in [
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", TryError::Status(500)),
            ("HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", TryError::Status(404)),
            ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", TryError::Gone),
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                TryError::Status(302),
            ),
            ("nonsense\r\n\r\n", TryError::Unreachable),
        ] {
            let (port, _received) = server(answer).await;
            let url = format!("http://127.0.0.1:{port}/");
            assert_eq!(loopback().post(&url, &[7; 32], &payload()).await, Err(wanted), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_name_or_number_that_leads_inside_is_not_connected_to() {
        let (port, mut received) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let strict = Poster::new(Vec::new()).unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "[::ffff:127.0.0.1]"] {
            let url = format!("http://{host}:{port}/");
            assert_eq!(strict.post(&url, &[7; 32], &payload()).await, Err(TryError::Refused), "{host}");
        }
        assert!(received.try_recv().is_err(), "nobody connected");
        let by_name = format!("http://localhost:{port}/");
        assert_eq!(loopback().post(&by_name, &[7; 32], &payload()).await, Ok(()), "as the operator allows");
        assert_eq!(strict.post("no address", &[7; 32], &payload()).await, Err(TryError::NoUrl));
    }
}
