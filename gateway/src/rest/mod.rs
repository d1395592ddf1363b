//! What is not a socket: accounts, reads for scripts, health, metrics, the page. Warp filters over one context.
//!
//! Owns paths, statuses and headers of single calls. Must not know sockets or how a replica is reached; bodies come
//! complete and bounded from the server.

mod accounts;
mod operator;
mod page;
mod problem;
mod reads;
mod sessions;

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use serde::de::DeserializeOwned;
use uuid::Uuid;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

pub(crate) use problem::{PROBLEM_TYPE, problem_body};

use crate::auth::{Identity, TokenError};
use crate::clock;
use crate::context::Gateway;
use crate::server::OriginPolicy;
use problem::Failure;

/// Header that makes a repeated write one write: a UUID.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A call with everything that its handler may look at.
struct Call {
    gateway: Arc<Gateway>,
    origins: Arc<OriginPolicy>,
    headers: HeaderMap,
    body: Bytes,
}

type Answer = Result<Response, Failure>;

impl Call {
    fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A page of another origin may not change anything.
    fn check_origin(&self) -> Result<(), Failure> {
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

    /// The body, which says of itself that it is JSON: no plain form can.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
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

    /// The key of a write: the client's, or a new one.
    fn idempotency_key(&self) -> Result<Uuid, Failure> {
        match self.headers.get(IDEMPOTENCY_KEY) {
            None => Ok(clock::command_id()),
            Some(value) => {
                value.to_str().ok().and_then(|text| Uuid::parse_str(text).ok()).ok_or_else(|| {
                    WireError::new(ErrorCode::Malformed, "Idempotency-Key must be a UUID").into()
                })
            }
        }
    }

    async fn identity(&self) -> Result<Identity, Failure> {
        let unauthenticated = |text: &str| Failure::from(WireError::new(ErrorCode::Unauthenticated, text));
        let token = self
            .header(AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthenticated("send Authorization: Bearer with an access token"))?;
        self.gateway.tokens.verify(token).await.map_err(|error| match error {
            TokenError::Unavailable => {
                WireError::new(ErrorCode::Unavailable, error.to_string()).retry_after(1_000).into()
            }
            other => unauthenticated(&other.to_string()),
        })
    }
}

/// Every route, with every rejection answered.
pub(crate) fn routes(gateway: Arc<Gateway>, origins: Arc<OriginPolicy>) -> BoxedFilter<(Response,)> {
    let call = {
        let gateway = Arc::clone(&gateway);
        warp::any()
            .map(move || (Arc::clone(&gateway), Arc::clone(&origins)))
            .untuple_one()
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .map(|gateway, origins, headers, body| Call { gateway, origins, headers, body })
    };
    let api = warp::path("api").and(warp::path("v1"));
    let accounts = api
        .and(warp::path!("accounts"))
        .and(warp::post())
        .and(call.clone())
        .then(|call| async move { respond(accounts::sign_up(call).await) });
    let sign_in = api
        .and(warp::path!("sessions"))
        .and(warp::post())
        .and(call.clone())
        .then(|call| async move { respond(accounts::sign_in(call).await) });
    let refresh = api
        .and(warp::path!("sessions" / "refresh"))
        .and(warp::post())
        .and(call.clone())
        .then(|call| async move { respond(accounts::refresh(call).await) });
    let sign_out = api
        .and(warp::path!("sessions" / "current"))
        .and(warp::delete())
        .and(call.clone())
        .then(|call| async move { respond(accounts::sign_out(call).await) });
    let sessions = api
        .and(warp::path!("sessions"))
        .and(warp::get())
        .and(call.clone())
        .then(|call| async move { respond(sessions::list(call).await) });
    let end_others = api
        .and(warp::path!("sessions"))
        .and(warp::delete())
        .and(call.clone())
        .then(|call| async move { respond(sessions::end_others(call).await) });
    let end_session = api
        .and(warp::path!("sessions" / Uuid))
        .and(warp::delete())
        .and(call.clone())
        .then(|session, call| async move { respond(sessions::end(call, session).await) });
    let password = api
        .and(warp::path!("password"))
        .and(warp::put())
        .and(call.clone())
        .then(|call| async move { respond(sessions::set_password(call).await) });
    let claim_admin = api
        .and(warp::path!("admin" / "claim"))
        .and(warp::post())
        .and(call.clone())
        .then(|call| async move { respond(sessions::claim_admin(call).await) });
    let users = api
        .and(warp::path!("users"))
        .and(warp::get())
        .and(query())
        .and(call.clone())
        .then(|query, call| async move { respond(reads::users(call, query).await) });
    let messages = api
        .and(warp::path!("conversations" / u64 / "messages"))
        .and(warp::get())
        .and(query())
        .and(call)
        .then(|id, query, call| async move { respond(reads::messages(call, id, query).await) });
    let operator = warp::get().and(warp::path::full()).and(with(&gateway)).and_then(
        |path: FullPath, gateway: Arc<Gateway>| async move {
            operator::answer(&gateway, path.as_str()).ok_or_else(warp::reject::not_found)
        },
    );
    let page = warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(with(&gateway))
        .and_then(|method: Method, path: FullPath, headers: HeaderMap, gateway: Arc<Gateway>| async move {
            if method != Method::GET && method != Method::HEAD {
                return Err(warp::reject::not_found());
            }
            let dir = gateway.config.page_dir.as_deref();
            page::answer(dir, path.as_str(), &headers).await.ok_or_else(warp::reject::not_found)
        });
    accounts
        .or(sign_in)
        .unify()
        .or(refresh)
        .unify()
        .or(sign_out)
        .unify()
        .or(sessions)
        .unify()
        .or(end_others)
        .unify()
        .or(end_session)
        .unify()
        .or(password)
        .unify()
        .or(claim_admin)
        .unify()
        .or(users)
        .unify()
        .or(messages)
        .unify()
        .or(operator)
        .unify()
        .or(page)
        .unify()
        .recover(|rejection: Rejection| async move { Ok::<_, Infallible>(problem::rejected(&rejection)) })
        .unify()
        .boxed()
}

fn with(
    gateway: &Arc<Gateway>,
) -> impl Filter<Extract = (Arc<Gateway>,), Error = Infallible> + Clone + use<> {
    let gateway = Arc::clone(gateway);
    warp::any().map(move || Arc::clone(&gateway))
}

/// The raw query string; empty without one.
fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

fn respond(answer: Answer) -> Response {
    answer.unwrap_or_else(Failure::into_response)
}

fn json<T: serde::Serialize>(status: StatusCode, body: &T) -> Response {
    let mut response = warp::reply::Reply::into_response(warp::reply::json(body));
    *response.status_mut() = status;
    // Answers of the interface are somebody's own.
    let headers = response.headers_mut();
    headers.insert("cache-control", hyper::header::HeaderValue::from_static("no-store"));
    response
}
