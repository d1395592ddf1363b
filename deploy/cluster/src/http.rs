//! One HTTP/1.1 request over a connection of its own: for health checks and for the tests' REST calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Attempt, Error, Result};

/// Longest answer that is read: the largest file of the tests.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A request under way.
#[derive(Debug, Clone)]
pub struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    deadline: Duration,
    tls: Option<Arc<ClientConfig>>,
}

impl Call {
    /// A `GET` with a deadline of 2 s.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// Any method, with a deadline of 2 s.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            deadline: Duration::from_secs(2),
            tls: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(mut self, body: &impl serde::Serialize) -> Self {
        self.body = serde_json::to_vec(body).expect("a body of plain fields serializes").into();
        self.header("content-type", "application/json")
    }

    /// Sets a body of bytes.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", "application/octet-stream")
    }

    /// Sets the time for the whole exchange.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Over TLS, if there is anything to trust; the other end is asked for as `localhost`.
    #[must_use]
    pub fn over(mut self, tls: Option<Arc<ClientConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// [`Error::Failed`] when the connection, the exchange or the deadline fails; a status of 4xx or 5xx is an answer.
    pub async fn send(self, to: SocketAddr) -> Result<Response<Bytes>> {
        let what = format!("{} http://{to}{}", self.method, self.path);
        let deadline = self.deadline;
        match tokio::time::timeout(deadline, self.exchange(to)).await {
            Ok(answer) => answer.map_err(|error| Error::Failed(format!("{what}: {error}"))),
            Err(_) => Err(Error::Failed(format!("{what}: no answer within {deadline:?}"))),
        }
    }

    async fn exchange(self, to: SocketAddr) -> Result<Response<Bytes>> {
        let stream = TcpStream::connect(to).await.attempt(|| "connect".to_owned())?;
        stream.set_nodelay(true).attempt(|| "set TCP_NODELAY".to_owned())?;
        match self.tls.clone() {
            None => self.speak(to, stream).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("a DNS name");
                let stream = TlsConnector::from(tls).connect(name, stream).await;
                self.speak(to, stream.attempt(|| "agree on TLS".to_owned())?).await
            }
        }
    }

    async fn speak<S>(self, to: SocketAddr, stream: S) -> Result<Response<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .attempt(|| "speak HTTP".to_owned())?;
        let mut request = Request::builder().method(self.method).uri(self.path).header(CONNECTION, "close");
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(HOST, to.to_string());
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).attempt(|| "build the request".to_owned())?;
        let exchange = async {
            let answer = sender.send_request(request).await.attempt(|| "get an answer".to_owned())?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Error::Failed(format!("cannot read the answer: {error}")))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::pin!(exchange);
        // The connection works only while it is polled; it ends with the answer, so nothing is left behind.
        tokio::pin!(connection);
        tokio::select! {
            answer = &mut exchange => answer,
            _ = &mut connection => exchange.await,
        }
    }
}
