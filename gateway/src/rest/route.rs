//! One declaration of a route: how it is reached, who may call it, what goes in, what comes out, and who answers.
//!
//! Serving and describing read the same declaration, so that neither can know what the other does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::Written;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;
use warp::reply::Response;

use super::Client;
use super::problem::Failure;
use crate::auth::{Identity, TokenError};
use crate::clock;
use crate::context::Gateway;
use crate::server::OriginPolicy;

/// Header that makes a repeated write one write: a UUID.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a read may be refused with.
pub(super) const READ: &[ErrorCode] = &[
    ErrorCode::Invalid,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::Unavailable,
    ErrorCode::Internal,
];
/// What a write may be refused with.
pub(super) const WRITE: &[ErrorCode] = &[
    ErrorCode::Invalid,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::IdConflict,
    ErrorCode::Conflict,
    ErrorCode::Expired,
    ErrorCode::TooLarge,
    ErrorCode::Unsupported,
    ErrorCode::Overloaded,
];

/// Longest wait for the next bytes of a streamed body.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Longest wait for a whole piece of one, a chunk of 1 MiB: some 9 KB a second. Whoever sends a byte now and then holds its memory no
/// longer.
const PIECE_WAIT_MAX: Duration = Duration::from_secs(120);
/// What one who sends too slowly is told.
const LATE: &str = "the body did not come in time";

/// A body that is read as it comes, by whoever may send it. Shared: what a refusal leaves unread is drained by the server.
#[derive(Debug, Clone)]
pub(crate) struct BodyStream(Arc<Mutex<Incoming>>);

impl BodyStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// What its sender says of its length.
    async fn declared(&self) -> Option<u64> {
        self.0.lock().await.size_hint().exact()
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&self) -> Result<Option<Bytes>, WireError> {
        let mut body = self.0.lock().await;
        loop {
            let frame = match timeout(BODY_PAUSE_MAX, body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(WireError::new(ErrorCode::Malformed, "the body broke off")),
                Err(_) => return Err(WireError::new(ErrorCode::Malformed, LATE)),
            };
            // Trailers say nothing here.
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// Up to `count` bytes, fewer only at the end; what came beyond is kept in `spare` for the next time.
    pub(super) async fn take(&self, count: usize, spare: &mut Bytes) -> Result<Bytes, WireError> {
        timeout(PIECE_WAIT_MAX, self.collect(count, spare))
            .await
            .unwrap_or_else(|_| Err(WireError::new(ErrorCode::Malformed, LATE)))
    }

    async fn collect(&self, count: usize, spare: &mut Bytes) -> Result<Bytes, WireError> {
        let mut taken = BytesMut::with_capacity(count);
        loop {
            let wanted = count - taken.len();
            taken.extend_from_slice(&spare.split_to(wanted.min(spare.len())));
            if taken.len() == count {
                return Ok(taken.freeze());
            }
            match self.next().await? {
                Some(data) => *spare = data,
                None => return Ok(taken.freeze()),
            }
        }
    }
}

/// A call with everything that its handler may look at.
pub(super) struct Call {
    pub(super) gateway: Arc<Gateway>,
    pub(super) origins: Arc<OriginPolicy>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// In place of a body, where the route takes a stream.
    pub(super) stream: Option<BodyStream>,
    /// The raw query string; empty without one.
    pub(super) query: String,
    /// What stands in the places of the route's pattern, in order.
    pub(super) places: Vec<String>,
    /// Whose call it turned out to be, for the log; 0 while that is not known.
    pub(super) caller: Arc<AtomicU64>,
    /// Where it comes from.
    pub(super) client: Client,
    /// Only what stands before the answer's body is asked for.
    pub(super) is_head: bool,
}

pub(super) type Answer = Result<Response, Failure>;
pub(super) type Handler = fn(Call) -> BoxFuture<'static, Answer>;
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Open,
    /// Who has an access token.
    Bearer,
    /// Who has the refresh cookie.
    Cookie,
}

/// A success.
pub(super) struct Success {
    pub(super) status: StatusCode,
    pub(super) what: &'static str,
    pub(super) media: &'static str,
    /// None: no body.
    pub(super) schema: Option<SchemaOf>,
}

/// See the module.
pub(super) struct Route {
    pub(super) method: Method,
    /// With `{name}` in the places that vary.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    /// Takes bytes of any kind in place of JSON, as they come.
    pub(super) streams: bool,
    /// Statuses that no code of an error stands for.
    pub(super) also: &'static [u16],
    /// Takes `Idempotency-Key`.
    pub(super) writes: bool,
    pub(super) successes: Vec<Success>,
    /// Beside those that come with access, body and query.
    pub(super) errors: &'static [ErrorCode],
    /// Not logged as an access: balancers ask several times a second.
    pub(super) is_probe: bool,
    pub(super) handler: Handler,
}

impl Route {
    /// A route whose success is described next.
    pub(super) fn new(method: Method, path: &'static str, summary: &'static str, handler: Handler) -> Self {
        Self {
            method,
            path,
            summary,
            access: Access::Open,
            query: None,
            body: None,
            streams: false,
            also: &[],
            writes: false,
            successes: Vec::new(),
            errors: &[],
            is_probe: false,
            handler,
        }
    }

    /// A read by who has a token; what it gives is described next.
    pub(super) fn read(path: &'static str, summary: &'static str, handler: Handler) -> Self {
        Self::new(Method::GET, path, summary, handler).access(Access::Bearer).errors(READ)
    }

    /// A write by who has a token, answered as an `ack`.
    pub(super) fn write(method: Method, path: &'static str, summary: &'static str, handler: Handler) -> Self {
        Self::new(method, path, summary, handler)
            .access(Access::Bearer)
            .writes()
            .gives::<Written>(StatusCode::OK, "Committed")
            .errors(WRITE)
    }

    pub(super) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The query string, every field a parameter.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    /// The body is bytes of any kind, and large.
    pub(super) fn streams(mut self) -> Self {
        self.streams = true;
        self
    }

    /// Bytes of any kind; a range of them, none that the caller has already, or none that are there.
    pub(super) fn gives_bytes(mut self, what: &'static str, also: &'static [u16]) -> Self {
        let schema: SchemaOf = |generator| generator.subschema_for::<String>();
        let media = "application/octet-stream";
        self.successes.push(Success { status: StatusCode::OK, what, media, schema: Some(schema) });
        self.also = also;
        self
    }

    /// A write that an `Idempotency-Key` makes one write.
    pub(super) fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    pub(super) fn gives<T: JsonSchema>(mut self, status: StatusCode, what: &'static str) -> Self {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        self.successes.push(Success { status, what, media: "application/json", schema: Some(schema) });
        self
    }

    pub(super) fn gives_nothing(mut self, what: &'static str) -> Self {
        let none = Success { status: StatusCode::NO_CONTENT, what, media: "", schema: None };
        self.successes.push(none);
        self
    }

    pub(super) fn gives_text(mut self, media: &'static str, what: &'static str) -> Self {
        let schema: SchemaOf = |generator| generator.subschema_for::<String>();
        self.successes.push(Success { status: StatusCode::OK, what, media, schema: Some(schema) });
        self
    }

    pub(super) fn errors(mut self, errors: &'static [ErrorCode]) -> Self {
        self.errors = errors;
        self
    }

    pub(super) fn probe(mut self) -> Self {
        self.is_probe = true;
        self
    }

    /// Every status that it may answer, in order.
    pub(super) fn statuses(&self) -> Vec<u16> {
        let mut statuses: Vec<u16> = self.successes.iter().map(|each| each.status.as_u16()).collect();
        statuses.extend(self.errors.iter().map(|code| code.row().http_status));
        // The body, whoever wants none may still be sent one: too slow, too long. The header: too long.
        statuses.extend([400, 408, 413, 431]);
        match self.access {
            Access::Open => {}
            Access::Bearer => statuses.extend([401, 429, 503]),
            Access::Cookie => statuses.extend([401, 403, 503]),
        }
        if self.body.is_some() {
            statuses.extend([403, 415]);
        }
        statuses.extend(self.also);
        if self.writes {
            // `internal` stands for a defect, and for a fate that is not known.
            statuses.extend([403, 500, 503]);
        }
        if self.path.contains('{') {
            statuses.push(404);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// What stands in the places of the pattern, if the path is of this form.
    pub(super) fn places(&self, path: &str) -> Option<Vec<String>> {
        let (mut pattern, mut given) = (self.path.split('/'), path.split('/'));
        let mut places = Vec::new();
        loop {
            match (pattern.next(), given.next()) {
                (None, None) => return Some(places),
                (Some(name), Some(value)) if name.starts_with('{') => {
                    if value.is_empty() {
                        return None;
                    }
                    places.push(value.to_owned());
                }
                (Some(name), Some(value)) if name == value => {}
                _ => return None,
            }
        }
    }
}

impl Call {
    pub(super) fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A page of another origin may not change anything.
    pub(super) fn check_origin(&self) -> Result<(), Failure> {
        match self.headers.get(ORIGIN) {
            None => Ok(()),
            Some(origin)
                if origin.to_str().is_ok_and(|origin| self.origins.allows(origin, self.header(HOST))) =>
            {
                Ok(())
            }
            Some(_) => {
                Err(WireError::new(ErrorCode::Forbidden, "pages of this origin may not do this").into())
            }
        }
    }

    /// The same for what a cookie opens: browsers always say where such a call comes from, so who does not is refused.
    pub(super) fn check_cookie_origin(&self) -> Result<(), Failure> {
        if self.headers.contains_key(ORIGIN) {
            return self.check_origin();
        }
        let message = "send Origin with a cookie: the address that the page was opened at";
        Err(WireError::new(ErrorCode::Forbidden, message).into())
    }

    /// The body, which says of itself that it is JSON: no plain form can.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let is_json = self.header(CONTENT_TYPE).is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        if !is_json {
            let error = WireError::new(ErrorCode::Unsupported, "send Content-Type: application/json");
            return Err(Failure::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            WireError::new(ErrorCode::Malformed, format!("the body is not as expected: {error}")).into()
        })
    }

    /// The query string's fields.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_urlencoded::from_str(&self.query).map_err(|error| {
            WireError::new(ErrorCode::Malformed, format!("the query is not as expected: {error}")).into()
        })
    }

    /// The text in a place of the route's pattern.
    pub(super) fn place(&self, at: usize) -> &str {
        self.places.get(at).map_or("", String::as_str)
    }

    /// The text in a place of the route's pattern, its escapes undone.
    pub(super) fn text(&self, at: usize) -> Result<String, Failure> {
        unescaped(self.place(at))
            .ok_or_else(|| WireError::new(ErrorCode::NotFound, "there is nothing at this address").into())
    }

    /// The number in a place of the route's pattern.
    pub(super) fn number(&self, at: usize) -> Result<u64, Failure> {
        self.place(at)
            .parse()
            .map_err(|_| WireError::new(ErrorCode::NotFound, "there is nothing at this address").into())
    }

    /// The key of a write: the client's, or a new one.
    pub(super) fn idempotency_key(&self) -> Result<Uuid, Failure> {
        match self.headers.get(IDEMPOTENCY_KEY) {
            None => Ok(clock::command_id()),
            Some(value) => {
                value.to_str().ok().and_then(|text| Uuid::parse_str(text).ok()).ok_or_else(|| {
                    WireError::new(ErrorCode::Malformed, "Idempotency-Key must be a UUID").into()
                })
            }
        }
    }

    /// One more call that costs a password's hash or an entry in the log, by whoever it is.
    pub(super) fn admit_address(&self) -> Result<(), Failure> {
        let Client(Some(address)) = self.client else { return Ok(()) };
        Ok(self.gateway.addresses.admit(address)?)
    }

    /// Who calls, by her token, if she does not call too often.
    pub(super) async fn identity(&self) -> Result<Identity, Failure> {
        let identity = self.bearer().await?;
        self.gateway.calls.admit_call(identity.user_id)?;
        Ok(identity)
    }

    /// The body as it comes, and what its sender says of its length.
    pub(super) async fn streamed(&self) -> Result<(BodyStream, Option<u64>), Failure> {
        let Some(stream) = self.stream.clone() else {
            return Err(WireError::new(ErrorCode::Internal, "the body was read before").into());
        };
        let declared = stream.declared().await;
        Ok((stream, declared))
    }

    /// Who calls, by her token, however often: what she does is bounded otherwise.
    pub(super) async fn bearer(&self) -> Result<Identity, Failure> {
        let unauthenticated = |text: &str| Failure::from(WireError::new(ErrorCode::Unauthenticated, text));
        let token = self
            .header(AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| {
                unauthenticated("send Authorization: Bearer with an access token, or a program's own")
            })?;
        self.holder(token).await?.map_err(|error| unauthenticated(&error.to_string()))
    }

    /// Who shows a token, or why it is not accepted. A program's token costs a question to the replicas: whoever shows wrong ones is
    /// counted by her address.
    pub(super) async fn holder(&self, token: &str) -> Result<Result<Identity, TokenError>, Failure> {
        match self.gateway.holder(self.client.0, token).await? {
            Ok(identity) => {
                self.caller.store(identity.user_id, Ordering::Relaxed);
                Ok(Ok(identity))
            }
            Err(TokenError::Unavailable) => {
                let error = WireError::new(ErrorCode::Unavailable, TokenError::Unavailable.to_string());
                Err(error.retry_after(1_000).into())
            }
            Err(wrong) => Ok(Err(wrong)),
        }
    }
}

/// A part of a path without its percent escapes (RFC 3986); `None` when that is no text.
fn unescaped(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_path_are_undone_and_nonsense_is_nothing() {
        assert_eq!(unescaped("%F0%9F%91%8d").as_deref(), Some("👍"));
        assert_eq!(unescaped("a+b%20c").as_deref(), Some("a+b c"));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(unescaped(bad), None, "{bad}");
        }
    }
}
