//! One HTTP request: the socket's way out, a bounded body for the rest, and the headers that every answer carries.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use warp::filters::BoxedFilter;
use warp::reply::Response as WarpResponse;

use super::origin::OriginPolicy;
use super::upgrade::{self, Refused};
use crate::context::Gateway;
use crate::metrics::Metrics;
use crate::rest;

/// Bodies of REST calls: names, passwords, small queries.
const BODY_BYTES_MAX: usize = 16 * 1024;
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

/// Answers requests; cheap to clone.
#[derive(Clone)]
pub(super) struct Routes {
    gateway: Arc<Gateway>,
    origins: Arc<OriginPolicy>,
    rest: BoxedFilter<(WarpResponse,)>,
}

impl Routes {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        let origins = Arc::new(OriginPolicy::new(&gateway.config.origins));
        let rest = rest::routes(Arc::clone(&gateway), Arc::clone(&origins));
        Self { gateway, origins, rest }
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        tasks: &TaskTracker,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let mut response = if request.uri().path() == "/ws" {
            match upgrade::upgrade(&self.gateway, &self.origins, request, tasks) {
                Ok(response) => response.map(|body| body.map_err(|never| match never {}).boxed()),
                Err(Refused::Origin) => problem(
                    StatusCode::FORBIDDEN,
                    ErrorCode::Forbidden,
                    "pages of this origin may not connect",
                ),
                Err(Refused::NotWebSocket(reason)) => {
                    problem(StatusCode::BAD_REQUEST, ErrorCode::Malformed, reason)
                }
            }
        } else {
            self.rest(request).await
        };
        for (name, value) in SECURITY_HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let class = format!("{}xx", response.status().as_u16() / 100);
        Metrics::count(&self.gateway.metrics.http_answers, &class);
        Ok(response)
    }

    async fn rest(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (parts, body) = request.into_parts();
        let bytes = match timeout(BODY_WAIT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let message = format!("a body has at most {BODY_BYTES_MAX} bytes");
                return closing(problem(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, &message));
            }
            Ok(Err(_)) => {
                return closing(problem(StatusCode::BAD_REQUEST, ErrorCode::Malformed, "the body broke off"));
            }
            Err(_) => {
                let message = "the body did not come in time";
                return closing(problem(StatusCode::REQUEST_TIMEOUT, ErrorCode::Malformed, message));
            }
        };
        let request = Request::from_parts(parts, Full::new(bytes));
        // Rejections are answers already.
        let Ok(response) = warp::service(self.rest.clone()).call(request).await;
        response.map(|body| body.map_err(Into::into).boxed())
    }
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
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(rest::PROBLEM_TYPE));
    response
}
