//! Sign-up, sign-in, refresh, sign-out over HTTP: bodies, statuses and the cookie.

use hyper::StatusCode;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::REFRESH_COOKIE;
use warp::reply::Response;

use super::sessions::nothing;
use super::{Answer, Call, json};
use crate::auth::Grant;

/// Life of the refresh cookie in a browser, seconds: 30 days. The session itself ends when it is ended.
const COOKIE_SECONDS: u64 = 30 * 24 * 3_600;
/// Where the browser sends it: nowhere but to the refresh.
const COOKIE_PATH: &str = "/api/v1/sessions";

pub(super) async fn sign_up(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    let key = call.idempotency_key()?;
    let grant = call.gateway.accounts.sign_up(call.json()?, key).await?;
    Ok(granted(&call, StatusCode::CREATED, grant))
}

pub(super) async fn sign_in(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    // Checked for its form only: each answer brings new secrets, so a repeated sign-in is another session.
    call.idempotency_key()?;
    let cookie = refresh_cookie(&call);
    if cookie.is_some() {
        call.check_cookie_origin()?;
    }
    let grant = call.gateway.accounts.sign_in(call.json()?, cookie).await?;
    Ok(granted(&call, StatusCode::CREATED, grant))
}

pub(super) async fn refresh(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    let Some(value) = refresh_cookie(&call) else {
        return Err(WireError::new(ErrorCode::Unauthenticated, "no refresh cookie: sign in").into());
    };
    call.check_cookie_origin()?;
    let grant = call.gateway.accounts.refresh(value).await?;
    Ok(granted(&call, StatusCode::OK, grant))
}

pub(super) async fn sign_out(call: Call) -> Answer {
    call.check_origin()?;
    let identity = call.identity().await?;
    call.gateway.accounts.end(&identity, identity.session, call.idempotency_key()?).await?;
    Ok(signed_out(&call))
}

/// Nothing to say, and the cookie is cleared.
pub(super) fn signed_out(call: &Call) -> Response {
    let mut response = nothing();
    set_cookie(&mut response, &cookie_header("", 0, call.gateway.config.is_secure()));
    response
}

/// A session, and its cookie.
pub(super) fn granted(call: &Call, status: StatusCode, grant: Grant) -> Response {
    let mut response = json(status, &grant.body);
    if let Some(value) = grant.cookie {
        set_cookie(&mut response, &cookie_header(&value, COOKIE_SECONDS, call.gateway.config.is_secure()));
    }
    response
}

fn cookie_header(value: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{REFRESH_COOKIE}={value}; HttpOnly; SameSite=Strict; Path={COOKIE_PATH}; Max-Age={seconds}{secure}"
    )
}

fn set_cookie(response: &mut Response, cookie: &str) {
    let value = HeaderValue::from_str(cookie).expect("a UUID and base64 are header characters");
    response.headers_mut().insert(SET_COOKIE, value);
}

fn refresh_cookie(call: &Call) -> Option<&str> {
    cookie(call.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()))
}

fn cookie<'a>(headers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    headers
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == REFRESH_COOKIE)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_written_as_the_contract_says() {
        let headers = ["a=b; quorate_refresh=u.s", "quorate_refresh2=x"];
        assert_eq!(cookie(headers.into_iter()), Some("u.s"));
        assert_eq!(cookie(["quorate_refresh2=x"].into_iter()), None);
        let header = cookie_header("u.s", 5, true);
        assert_eq!(
            header,
            "quorate_refresh=u.s; HttpOnly; SameSite=Strict; Path=/api/v1/sessions; Max-Age=5; Secure"
        );
        assert!(!cookie_header("u.s", 5, false).contains("Secure"));
    }
}
