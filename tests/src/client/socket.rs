//! One WebSocket, without any rules.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use quorate_proto::SUBPROTOCOL;
use quorate_proto::frame::{Body, ClientFrame, Hello, Request, Resume, ServerFrame, Welcome};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Connecting and the upgrade together.
const OPEN_WAIT: Duration = Duration::from_secs(5);

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// The close code, if there was a close frame.
    pub code: Option<u16>,
    /// Why, in words.
    pub reason: String,
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// A frame.
    Frame(Box<ServerFrame>),
    /// The end.
    Closed(Farewell),
}

/// A WebSocket that speaks the browser protocol.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Frames of an array that are still to be handed out.
    pending: VecDeque<ServerFrame>,
    next_id: u64,
}

impl Socket {
    /// Opens a socket; `origin` as a browser would send it.
    ///
    /// # Errors
    /// When there is no connection or the upgrade is refused.
    pub async fn open(to: SocketAddr, origin: Option<&str>) -> anyhow::Result<Self> {
        tokio::time::timeout(OPEN_WAIT, Self::upgrade(to, origin)).await.context("no upgrade in time")?
    }

    async fn upgrade(to: SocketAddr, origin: Option<&str>) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        tcp.set_nodelay(true)?;
        let mut request = format!("ws://{to}/ws").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse()?);
        }
        let (stream, _) =
            tokio_tungstenite::client_async(request, tcp).await.context("the upgrade failed")?;
        Ok(Self { stream, pending: VecDeque::new(), next_id: 1 })
    }

    /// Sends a request; the answer carries the id that is returned.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn request(&mut self, request: Request) -> anyhow::Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        self.raw(Message::text(serde_json::to_string(&ClientFrame { id, request })?)).await?;
        Ok(id)
    }

    /// Sends any message, well-formed or not.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn raw(&mut self, message: Message) -> anyhow::Result<()> {
        self.stream.send(message).await.context("cannot send")
    }

    /// The next frame, or the end. Safe to cancel: nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Received {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Received::Frame(Box::new(frame));
            }
            let text = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(close))) => {
                    let code = close.as_ref().map(|close| close.code.into());
                    let reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                    return Received::Closed(Farewell { code, reason });
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    return Received::Closed(Farewell { code: None, reason: error.to_string() });
                }
                None => {
                    return Received::Closed(Farewell { code: None, reason: "end of stream".to_owned() });
                }
            };
            let frames = if text.starts_with('[') {
                serde_json::from_str::<VecDeque<ServerFrame>>(&text)
            } else {
                serde_json::from_str::<ServerFrame>(&text).map(|frame| VecDeque::from([frame]))
            };
            match frames {
                Ok(frames) => self.pending = frames,
                Err(error) => {
                    let reason = format!("the test client cannot read a frame: {error}: {text}");
                    return Received::Closed(Farewell { code: None, reason });
                }
            }
        }
    }

    /// Says hello and waits for the welcome.
    ///
    /// # Errors
    /// When anything else comes first.
    pub async fn hello(&mut self, token: &str, resume: Option<Resume>) -> anyhow::Result<Box<Welcome>> {
        let hello = Hello {
            token: token.to_owned(),
            device: "test".to_owned(),
            app: "quorate-tests".to_owned(),
            resume,
            ..Hello::default()
        };
        self.request(Request::Hello(hello)).await?;
        match self.next().await {
            Received::Frame(frame) => match frame.body {
                Body::Welcome(welcome) => Ok(welcome),
                other => bail!("not welcome: {other:?}"),
            },
            Received::Closed(farewell) => bail!("closed instead of welcome: {farewell:?}"),
        }
    }

    /// Waits for the answer to a request; pushes that come before it are dropped, but for pings, which are answered: a
    /// socket that does not is closed with 4103 after 35 s, in the middle of whatever its test was about.
    ///
    /// # Errors
    /// When the socket ends first.
    pub async fn answer(&mut self, id: u64) -> anyhow::Result<Body> {
        loop {
            match self.next().await {
                Received::Frame(frame) if frame.reply == Some(id) => return Ok(frame.body),
                Received::Frame(frame) => {
                    if let Body::Ping { n, .. } = frame.body {
                        self.request(Request::Pong { n }).await?;
                    }
                }
                Received::Closed(farewell) => bail!("closed before the answer: {farewell:?}"),
            }
        }
    }

    /// Closes and waits for the other end to agree.
    pub async fn close(mut self) {
        // The peer may be gone already, which is as good.
        let _ = self.stream.close(None).await;
        let drained = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), drained).await;
    }
}
