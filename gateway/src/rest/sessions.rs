//! A user's own sessions, her password, and becoming an admin, over HTTP.

use hyper::StatusCode;
use quorate_proto::error::{ErrorCode, WireError};
use uuid::Uuid;
use warp::reply::Response;

use super::{Answer, Call, json};

pub(super) async fn list(call: Call) -> Answer {
    let identity = call.identity().await?;
    Ok(json(StatusCode::OK, &call.gateway.accounts.sessions(&identity).await?))
}

pub(super) async fn end(call: Call) -> Answer {
    call.check_origin()?;
    let identity = call.identity().await?;
    let Ok(session) = call.place(0).parse::<Uuid>() else {
        return Err(WireError::new(ErrorCode::NotFound, "a session is named by its UUID").into());
    };
    call.gateway.accounts.end(&identity, session, call.idempotency_key()?).await?;
    Ok(nothing())
}

pub(super) async fn end_others(call: Call) -> Answer {
    call.check_origin()?;
    let identity = call.identity().await?;
    call.gateway.accounts.end_others(&identity, call.idempotency_key()?).await?;
    Ok(nothing())
}

pub(super) async fn set_password(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    let identity = call.identity().await?;
    call.gateway.accounts.set_password(&identity, call.json()?, call.idempotency_key()?).await?;
    Ok(nothing())
}

pub(super) async fn claim_admin(call: Call) -> Answer {
    call.check_origin()?;
    let identity = call.identity().await?;
    call.gateway.accounts.claim_admin(&identity, call.json()?, call.idempotency_key()?).await?;
    Ok(nothing())
}

pub(super) fn nothing() -> Response {
    let mut response = Response::new(hyper::body::Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
