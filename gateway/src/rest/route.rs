//! One declaration of a route: how it is reached, who may call it, what goes in, what comes out, and who answers.
//!
//! Serving and describing read the same declaration, so that neither can know what the other does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
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

/// A call with everything that its handler may look at.
pub(super) struct Call {
    pub(super) gateway: Arc<Gateway>,
    pub(super) origins: Arc<OriginPolicy>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The raw query string; empty without one.
    pub(super) query: String,
    /// What stands in the places of the route's pattern, in order.
    pub(super) places: Vec<String>,
    /// Whose call it turned out to be, for the log; 0 while that is not known.
    pub(super) caller: Arc<AtomicU64>,
    /// Where it comes from.
    pub(super) client: Client,
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
            writes: false,
            successes: Vec::new(),
            errors: &[],
            is_probe: false,
            handler,
        }
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
        let unauthenticated = |text: &str| Failure::from(WireError::new(ErrorCode::Unauthenticated, text));
        let token = self
            .header(AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthenticated("send Authorization: Bearer with an access token"))?;
        let identity = self.gateway.tokens.verify(token).await.map_err(|error| match error {
            TokenError::Unavailable => {
                WireError::new(ErrorCode::Unavailable, error.to_string()).retry_after(1_000).into()
            }
            other => unauthenticated(&other.to_string()),
        })?;
        self.caller.store(identity.user_id, Ordering::Relaxed);
        self.gateway.calls.admit_call(identity.user_id)?;
        Ok(identity)
    }
}
