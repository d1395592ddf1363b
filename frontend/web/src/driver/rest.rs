//! REST calls beside the socket, same origin: accounts, sessions, the directory.

use quorate_client::proto::rest::{
    ClaimAdmin, Directory, NewPassword, Problem, SessionGrant, Sessions, SignIn, SignUp,
};
use quorate_client::view::sentence;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Request, RequestCredentials, RequestInit, Response};

/// Why a call brought nothing, in words for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    /// The HTTP status; 0 when there was no answer.
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl CallError {
    /// A clear no, as opposed to a server that is busy, electing or out of reach.
    pub(crate) fn denied(&self) -> bool {
        matches!(self.status, 400..=499) && self.status != 408 && self.status != 429
    }
}

pub(crate) async fn sign_up(body: &SignUp) -> Result<SessionGrant, CallError> {
    call("POST", "/api/v1/accounts", None, Some(body)).await
}

pub(crate) async fn sign_in(body: &SignIn) -> Result<SessionGrant, CallError> {
    call("POST", "/api/v1/sessions", None, Some(body)).await
}

/// The refresh cookie travels by itself.
pub(crate) async fn refresh() -> Result<SessionGrant, CallError> {
    call("POST", "/api/v1/sessions/refresh", None, None::<&()>).await
}

pub(crate) async fn sign_out(token: &str) -> Result<(), CallError> {
    send("DELETE", "/api/v1/sessions/current", Some(token), None::<&()>).await.map(|_| ())
}

pub(crate) async fn sessions(token: &str) -> Result<Sessions, CallError> {
    call("GET", "/api/v1/sessions", Some(token), None::<&()>).await
}

pub(crate) async fn end_session(token: &str, id: &str) -> Result<(), CallError> {
    send("DELETE", &format!("/api/v1/sessions/{id}"), Some(token), None::<&()>).await.map(|_| ())
}

pub(crate) async fn end_other_sessions(token: &str) -> Result<(), CallError> {
    send("DELETE", "/api/v1/sessions", Some(token), None::<&()>).await.map(|_| ())
}

pub(crate) async fn set_password(token: &str, body: &NewPassword) -> Result<(), CallError> {
    send("PUT", "/api/v1/password", Some(token), Some(body)).await.map(|_| ())
}

pub(crate) async fn claim_admin(token: &str, body: &ClaimAdmin) -> Result<(), CallError> {
    send("POST", "/api/v1/admin/claim", Some(token), Some(body)).await.map(|_| ())
}

pub(crate) async fn users(token: &str, pattern: &str) -> Result<Directory, CallError> {
    let pattern = String::from(js_sys::encode_uri_component(pattern));
    call("GET", &format!("/api/v1/users?pattern={pattern}&limit=20"), Some(token), None::<&()>).await
}

async fn call<B: Serialize, A: DeserializeOwned>(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<A, CallError> {
    let text = send(method, path, token, body).await?;
    serde_json::from_str(&text)
        .map_err(|_| CallError { status: 0, message: "The server answered something unreadable.".to_owned() })
}

async fn send<B: Serialize>(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<String, CallError> {
    let (status, text) = exchange(method, path, token, body).await.map_err(|_| CallError {
        status: 0,
        message: "No answer from the server. Check the connection and try again.".to_owned(),
    })?;
    if (200..300).contains(&status) {
        return Ok(text);
    }
    let message = serde_json::from_str::<Problem>(&text)
        .ok()
        .map(|problem| sentence(&problem.detail))
        .unwrap_or_else(|| format!("The server answered {status}. Try again in a moment."));
    Err(CallError { status, message })
}

async fn exchange<B: Serialize>(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<(u16, String), JsValue> {
    let init = RequestInit::new();
    init.set_method(method);
    init.set_credentials(RequestCredentials::SameOrigin);
    if let Some(body) = body {
        let json = serde_json::to_string(body).map_err(|error| JsValue::from_str(&error.to_string()))?;
        init.set_body(&json.into());
    }
    let request = Request::new_with_str_and_init(path, &init)?;
    if body.is_some() {
        request.headers().set("Content-Type", "application/json")?;
    }
    if let Some(token) = token {
        request.headers().set("Authorization", &format!("Bearer {token}"))?;
    }
    let answer = JsFuture::from(leptos::prelude::window().fetch_with_request(&request)).await?;
    let response: Response = answer.dyn_into()?;
    let text = JsFuture::from(response.text()?).await?;
    Ok((response.status(), text.as_string().unwrap_or_default()))
}
