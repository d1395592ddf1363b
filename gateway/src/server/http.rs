//! One HTTP request: the socket's way out, a bounded body for the rest, and the headers that every answer carries.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use warp::filters::BoxedFilter;
use warp::reply::Response as WarpResponse;

use super::origin::OriginPolicy;
use super::strangers::{Stranger, Strangers};
use super::upgrade::{self, Refused, Socket};
use crate::context::Gateway;
use crate::metrics::Metrics;
use crate::rest::{self, BodyStream, Client, Sent, Served, Streams};

/// Bytes of a request's line and header.
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bodies of REST calls: names, passwords, small queries.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Bytes that are read of a body after it was refused, so that the refusal is read.
const DRAINED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest time for that.
const DRAIN_WAIT: Duration = Duration::from_secs(2);
/// A body is complete within this.
const BODY_WAIT: Duration = Duration::from_secs(5);

/// Headers of every answer, errors included. `connect-src 'self'` covers the socket of the same host.
const SECURITY_HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src 'self' blob:; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
         microphone=(), midi=(), payment=(), usb=()",
    ),
    ("x-frame-options", "DENY"),
];

type AnswerBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The place of a connection that has not said who it is; a socket takes it along.
pub(super) type StrangerSlot = Mutex<Option<Stranger>>;

/// Answers requests.
pub(super) struct Routes {
    pub(super) gateway: Arc<Gateway>,
    origins: Arc<OriginPolicy>,
    strangers: Arc<Strangers>,
    rest: BoxedFilter<(WarpResponse,)>,
    streams: Streams,
    /// What `Strict-Transport-Security` says, if browsers come by TLS, here or at a balancer.
    pub(super) strict_transport: Option<HeaderValue>,
}

/// Counts a request for as long as it is answered.
struct Open<'a>(&'a Gateway);

impl<'a> Open<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        gateway.calls_open.fetch_add(1, Ordering::Relaxed);
        Self(gateway)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.calls_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Routes {
    pub(super) fn new(gateway: Arc<Gateway>, strangers: Arc<Strangers>) -> Self {
        let origins = Arc::new(OriginPolicy::new(&gateway.config.origins));
        let rest = rest::routes(Arc::clone(&gateway), Arc::clone(&origins));
        let seconds = gateway.config.strict_transport_seconds;
        let strict_transport = (gateway.config.is_secure() && seconds > 0).then(|| {
            let value = format!("max-age={seconds}; includeSubDomains");
            HeaderValue::from_str(&value).expect("a number and words are header characters")
        });
        Self { gateway, origins, strangers, rest, streams: Streams::new(), strict_transport }
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        stranger: &StrangerSlot,
        tasks: &TaskTracker,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let _open = Open::new(&self.gateway);
        let begun = Instant::now();
        let method = method_name(request.method());
        let mut response = if header_bytes(&request) > HEADER_BYTES_MAX {
            let message = format!("a request's header has at most {HEADER_BYTES_MAX} bytes");
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            closing(problem(status, ErrorCode::TooLarge, &message))
        } else {
            match Socket::at(request.uri().path(), &self.gateway.config) {
                Some(socket) => self.socket(socket, request, peer, stranger, tasks),
                None => self.rest(request, peer).await,
            }
        };
        for (name, value) in SECURITY_HEADERS {
            // A file is told more strictly what it may do.
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        if let Some(value) = &self.strict_transport {
            response.headers_mut().insert(hyper::header::STRICT_TRANSPORT_SECURITY, value.clone());
        }
        let class = format!("{}xx", response.status().as_u16() / 100);
        Metrics::count(&self.gateway.metrics.http_answers, &class);
        if self.gateway.config.access_log {
            log(method, &response, begun);
        }
        Ok(response)
    }

    fn socket(
        &self,
        socket: Socket,
        request: Request<Incoming>,
        peer: IpAddr,
        stranger: &StrangerSlot,
        tasks: &TaskTracker,
    ) -> Response<AnswerBody> {
        let place = |headers: &HeaderMap| match self.strangers.forwarded(peer, headers) {
            Ok(Some(place)) => Ok(Some(place)),
            // Whoever came without a balancer has had a place since the connection was made.
            Ok(None) => Ok(stranger.lock().expect("no holder of this lock panics").take()),
            Err(too_many) => Err(too_many),
        };
        let client = self.strangers.counted(peer, request.headers());
        let upgraded = upgrade::upgrade(&self.gateway, &self.origins, socket, request, place, client, tasks);
        let mut response = match upgraded {
            Ok(response) => response.map(|body| body.map_err(|never| match never {}).boxed()),
            Err(Refused::Origin) => {
                problem(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "pages of this origin may not connect")
            }
            Err(Refused::Method) => {
                let message = "a socket begins with GET";
                let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message);
                response.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static("GET"));
                response
            }
            Err(Refused::NotWebSocket(reason)) => {
                problem(StatusCode::BAD_REQUEST, ErrorCode::Malformed, reason)
            }
        };
        response.extensions_mut().insert(Served { route: socket.path(), user_id: 0, is_probe: false });
        response
    }

    async fn rest(&self, request: Request<Incoming>, peer: IpAddr) -> Response<AnswerBody> {
        let (parts, body) = request.into_parts();
        let too_large = || {
            let message = format!("a body has at most {BODY_BYTES_MAX} bytes");
            closing(problem(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, &message))
        };
        let client = Client(self.strangers.counted(peer, &parts.headers));
        if self.streams.take(&parts.method, parts.uri.path()) {
            return self.streaming(parts, body, client).await;
        }
        // Said in the header: not waited for.
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return too_large();
        }
        let bytes = match timeout(BODY_WAIT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return too_large();
            }
            Ok(Err(_)) => {
                return closing(problem(StatusCode::BAD_REQUEST, ErrorCode::Malformed, "the body broke off"));
            }
            Err(_) => {
                let message = "the body did not come in time";
                return closing(problem(StatusCode::REQUEST_TIMEOUT, ErrorCode::Malformed, message));
            }
        };
        self.call(Request::from_parts(parts, Full::new(bytes)), Sent { client, stream: None }).await
    }

    async fn call(&self, mut request: Request<Full<Bytes>>, sent: Sent) -> Response<AnswerBody> {
        request.extensions_mut().insert(sent);
        // Rejections are answers already.
        let Ok(response) = warp::service(self.rest.clone()).call(request).await;
        response.map(|body| body.map_err(Into::into).boxed())
    }

    /// A request whose body is read by its handler, once that knows whose it is.
    async fn streaming(&self, parts: Parts, body: Incoming, client: Client) -> Response<AnswerBody> {
        let is_empty = body.is_end_stream();
        let stream = BodyStream::new(body);
        let sent = Sent { client, stream: Some(stream.clone()) };
        let response = self.call(Request::from_parts(parts, Full::new(Bytes::new())), sent).await;
        if response.status().is_success() || is_empty {
            return response;
        }
        // Whoever still sends would not read the refusal otherwise; one that sends more than a chunk finds out.
        let drain = async {
            let mut drained = 0;
            while drained <= DRAINED_BYTES_MAX
                && let Ok(Some(data)) = stream.next().await
            {
                drained += data.len();
            }
        };
        let _ = timeout(DRAIN_WAIT, drain).await;
        closing(response)
    }
}

/// Bytes of the request line and the header's fields.
fn header_bytes<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    path + fields.sum::<usize>()
}

/// One of the methods that there are; what a client made up is not for the log.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// One line an answer: never a path, a query, a token or a text, for those are somebody's own.
fn log(method: &'static str, response: &Response<AnswerBody>, begun: Instant) {
    let served = response.extensions().get::<Served>();
    let served = served.copied().unwrap_or(Served { route: "", user_id: 0, is_probe: false });
    let status = response.status().as_u16();
    if served.is_probe && status < 500 {
        return;
    }
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    let Served { route, user_id, .. } = served;
    tracing::info!(target: "quorate_gateway::access", method, route, status, ms, bytes, user_id, "answered");
}

/// What is left of the body must not be taken for another request.
fn closing(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    response.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn problem(status: StatusCode, code: ErrorCode, message: &str) -> Response<AnswerBody> {
    let (status, body) = rest::problem_body(Some(status), WireError::new(code, message));
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(rest::PROBLEM_TYPE));
    headers.insert(hyper::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer that hyper gives by itself, to what is no HTTP or too long to be looked at: in the words of all others.
pub(super) fn raw_problem(status: StatusCode, strict_transport: Option<&HeaderValue>) -> Vec<u8> {
    let code = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => ErrorCode::TooLarge,
        _ => ErrorCode::Malformed,
    };
    let reason = status.canonical_reason().unwrap_or("Bad Request");
    let message = format!("the request could not be read: {}", reason.to_lowercase());
    let (_, body) = rest::problem_body(Some(status), WireError::new(code, message));
    let mut text = format!(
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\ncache-control: no-store\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
        status.as_u16(),
        rest::PROBLEM_TYPE,
        body.len()
    );
    for (name, value) in SECURITY_HEADERS {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(value) = strict_transport.and_then(|value| value.to_str().ok()) {
        text.push_str(&format!("strict-transport-security: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(&body);
    text.into_bytes()
}
