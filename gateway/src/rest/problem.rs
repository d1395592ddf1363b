//! Errors as problem details (RFC 9457).

use hyper::StatusCode;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::Problem;
use warp::reply::Response;

/// Content type of an error.
pub(crate) const PROBLEM_TYPE: &str = "application/problem+json";

/// A failed call.
#[derive(Debug)]
pub(super) struct Failure {
    status: Option<StatusCode>,
    error: WireError,
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self { status: None, error }
    }
}

impl Failure {
    /// Where HTTP knows it better than the table.
    pub(super) fn with_status(status: StatusCode, error: WireError) -> Self {
        Self { status: Some(status), error }
    }

    /// What went wrong.
    pub(super) fn code(&self) -> ErrorCode {
        self.error.code
    }

    pub(super) fn into_response(self) -> Response {
        let retry_ms = self.error.retry_ms;
        let (status, body) = problem_body(self.status, self.error);
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry_ms) = retry_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_ms.div_ceil(1_000)));
        }
        response
    }
}

/// Status and body; the table's status unless another is given.
pub(crate) fn problem_body(status: Option<StatusCode>, error: WireError) -> (StatusCode, String) {
    let mut problem = Problem::from(error);
    let status = status
        .or_else(|| StatusCode::from_u16(problem.status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem.status = status.as_u16();
    let body = serde_json::to_string(&problem).expect("a Problem is representable as JSON");
    (status, body)
}

/// What no route took.
pub(super) fn nothing_here() -> Failure {
    WireError::new(ErrorCode::NotFound, "there is nothing at this address").into()
}

/// A method that the address does not take; `allow` lists those it takes.
pub(super) fn wrong_method(allow: &str) -> Response {
    let error = WireError::new(ErrorCode::Unsupported, "this address does not take that method");
    let mut response = Failure::with_status(StatusCode::METHOD_NOT_ALLOWED, error).into_response();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_tables_status_and_the_protocols_error_beside() {
        let error = WireError::new(ErrorCode::NameTaken, "the name is taken");
        let (status, body) = problem_body(None, error);
        assert_eq!(status, StatusCode::CONFLICT);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((json["status"].as_u64(), json["title"].as_str()), (Some(409), Some("name_taken")));
        assert_eq!(json["error"]["code"], "name_taken");
    }
}
