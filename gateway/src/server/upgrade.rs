//! From an HTTP request to a WebSocket (RFC 6455, section 4.2), without losing the buffer settings to a framework.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use quorate_proto::SUBPROTOCOL;
use quorate_proto::error::CloseCode;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::task::TaskTracker;

use super::origin::OriginPolicy;
use super::strangers::{Stranger, TooMany};
use crate::clock::chance;
use crate::config::Config;
use crate::context::Gateway;
use crate::session;
use crate::session::effect::Farewell;

/// Read buffer of a socket; the library's default of 128 KiB is for few and busy ones.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Frames gather up to this before they are written without a flush.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// A socket's write buffer: the largest single answer (128 pages of events) fits. What waits beyond it waits in the
/// session, which is bounded by its outbox.
const WRITE_BUFFER_BYTES_MAX: usize = 16 << 20;
/// What a client is told to wait when there are too many sockets, ms.
const BUSY_RETRY_MS: u64 = 5_000;

/// Why a request is no upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A page of another origin.
    Origin,
    /// Not `GET`.
    Method,
    /// No WebSocket handshake.
    NotWebSocket(&'static str),
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// A session.
    Session,
    /// For conformance tests: every message comes back. Only where the configuration asks for it, on loopback.
    Echo {
        /// Longest message.
        bytes_max: usize,
    },
}

impl Socket {
    /// The socket at this path, if there is one.
    pub(super) fn at(path: &str, config: &Config) -> Option<Self> {
        match path {
            "/ws" => Some(Self::Session),
            "/debug/echo" if config.debug_echo_bytes_max > 0 => {
                Some(Self::Echo { bytes_max: config.debug_echo_bytes_max })
            }
            _ => None,
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Session => "/ws",
            Self::Echo { .. } => "/debug/echo",
        }
    }
}

/// What an acceptable handshake asks.
#[derive(Debug, PartialEq, Eq)]
struct Handshake {
    accept: String,
    subprotocol: Option<String>,
}

fn has_token(headers: &HeaderMap, name: hyper::header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn check(method: &Method, headers: &HeaderMap, origins: &OriginPolicy) -> Result<Handshake, Refused> {
    // The origin first: a foreign page learns nothing else. An absent one is no browser, and no cookie counts here.
    if let Some(origin) = headers.get(ORIGIN) {
        let host = headers.get(hyper::header::HOST).and_then(|host| host.to_str().ok());
        if !origin.to_str().is_ok_and(|origin| origins.allows(origin, host)) {
            return Err(Refused::Origin);
        }
    }
    if method != Method::GET {
        return Err(Refused::Method);
    }
    if !has_token(headers, UPGRADE, "websocket") || !has_token(headers, CONNECTION, "upgrade") {
        return Err(Refused::NotWebSocket("this is a WebSocket address: ask for an upgrade"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refused::NotWebSocket("Sec-WebSocket-Version must be 13"));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return Err(Refused::NotWebSocket("Sec-WebSocket-Key is missing"));
    };
    let offered: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    // A browser fails a socket whose offer is not answered: an unknown version is echoed, to be told `bye`.
    let chosen = offered.iter().find(|name| **name == SUBPROTOCOL).or(offered.first());
    Ok(Handshake {
        accept: derive_accept_key(key.as_bytes()),
        subprotocol: chosen.map(|name| (*name).to_owned()),
    })
}

/// Answers the request; when it is a handshake the socket is served by a task of its own, which has the place that is
/// asked for then: a connection whose request is no handshake keeps its own. `client` is the address by which wrong tokens are counted.
pub(super) fn upgrade(
    gateway: &Arc<Gateway>,
    origins: &OriginPolicy,
    socket: Socket,
    mut request: Request<Incoming>,
    place: impl FnOnce(&HeaderMap) -> Result<Option<Stranger>, TooMany>,
    client: Option<IpAddr>,
    tasks: &TaskTracker,
) -> Result<Response<Empty<Bytes>>, Refused> {
    let handshake = check(request.method(), request.headers(), origins)?;
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(Refused::NotWebSocket("this connection cannot be upgraded"));
    };
    let place = place(request.headers());
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&handshake.accept).expect("base64 is a header value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = &handshake.subprotocol
        && let Ok(value) = HeaderValue::from_str(name)
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let gateway = Arc::clone(gateway);
    let version_known = handshake.subprotocol.as_deref() == Some(SUBPROTOCOL);
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(gateway, socket, upgraded, version_known, place, client).await,
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    Ok(response)
}

/// Counts a socket for as long as it lives.
struct Counted<'a>(&'a Gateway);

impl<'a> Counted<'a> {
    fn new(gateway: &'a Gateway) -> (Self, usize) {
        gateway.metrics.sockets.inc();
        (Self(gateway), gateway.sockets.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.sockets.dec();
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(
    gateway: Arc<Gateway>,
    socket: Socket,
    upgraded: Upgraded,
    version_known: bool,
    place: Result<Option<Stranger>, TooMany>,
    client: Option<IpAddr>,
) {
    let (_counted, others) = Counted::new(&gateway);
    let bytes_max = match socket {
        Socket::Session => gateway.config.limits.frame_bytes_max,
        Socket::Echo { bytes_max } => bytes_max,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // Room for the header of a message as long as may be.
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX.max(bytes_max + WRITE_BUFFER_BYTES))
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let ws = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    if let Socket::Echo { .. } = socket {
        return session::echo(&gateway.metrics, ws).await;
    }
    if !version_known {
        let reason = format!("name the version {SUBPROTOCOL} in Sec-WebSocket-Protocol");
        let farewell = Farewell::new(CloseCode::VersionUnsupported, reason);
        return session::close_refused(&gateway.metrics, ws, farewell).await;
    }
    let refusal = if others >= gateway.config.sockets_max {
        Some("this gateway is full")
    } else if place.is_err() {
        Some("too many sockets of this address have not said hello")
    } else {
        None
    };
    if let Some(reason) = refusal {
        let farewell = Farewell::new(CloseCode::TooManyRequests, reason)
            .retry_after(BUSY_RETRY_MS + chance(BUSY_RETRY_MS));
        return session::close_refused(&gateway.metrics, ws, farewell).await;
    }
    session::run(Arc::clone(&gateway), ws, place.ok().flatten(), client).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let base = [
            ("host", "127.0.0.1:8101"),
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in base.iter().chain(pairs) {
            if value.is_empty() {
                headers.remove(*name);
            } else {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        headers
    }

    fn checked(pairs: &[(&'static str, &'static str)]) -> Result<Handshake, Refused> {
        check(&Method::GET, &headers(pairs), &OriginPolicy::new(&[]))
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_the_rfc_says() {
        let handshake = checked(&[("sec-websocket-protocol", "other, quorate.v1.json")]).unwrap();
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(handshake.subprotocol.as_deref(), Some(SUBPROTOCOL));
    }

    #[test]
    fn an_unknown_version_is_accepted_to_be_told() {
        let handshake = checked(&[("sec-websocket-protocol", "quorate.v9.json")]).unwrap();
        assert_eq!(handshake.subprotocol.as_deref(), Some("quorate.v9.json"));
        assert_eq!(checked(&[]).unwrap().subprotocol, None);
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        for missing in ["upgrade", "connection", "sec-websocket-version", "sec-websocket-key"] {
            assert!(matches!(checked(&[(missing, "")]), Err(Refused::NotWebSocket(_))), "{missing}");
        }
        let post = check(&Method::POST, &headers(&[]), &OriginPolicy::new(&[]));
        assert_eq!(post, Err(Refused::Method));
    }

    #[test]
    fn a_foreign_page_is_refused_before_anything_else() {
        assert_eq!(checked(&[("origin", "http://evil.example"), ("upgrade", "")]), Err(Refused::Origin));
        assert!(checked(&[("origin", "http://127.0.0.1:8101")]).is_ok());
    }
}
