//! REST calls beside the socket, same origin: accounts, sessions, the directory.

use std::pin::Pin;

use quorate_client::proto::rest::{
    ClaimAdmin, Directory, NewPassword, Problem, ResetPassword, SessionGrant, Sessions, SignIn, SignUp,
};
use quorate_client::view::sentence;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, HtmlAnchorElement, Request, RequestCredentials, RequestInit, Response};

use crate::words::{t, tf};

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

/// What stands at an address.
pub(crate) async fn read<A: DeserializeOwned>(token: &str, path: &str) -> Result<A, CallError> {
    call("GET", path, Some(token), None::<&()>).await
}

/// A question that costs the server something; nothing is changed by it.
pub(crate) async fn ask<A: DeserializeOwned>(token: &str, path: &str) -> Result<A, CallError> {
    call("POST", path, Some(token), None::<&()>).await
}

/// A change whose answer is needed: what was made.
pub(crate) async fn make<B: Serialize, A: DeserializeOwned>(
    token: &str,
    method: &'static str,
    path: &str,
    body: &B,
) -> Result<A, CallError> {
    call(method, path, Some(token), Some(body)).await
}

/// A change whose answer says nothing that is needed here.
pub(crate) async fn write<B: Serialize>(
    token: &str,
    method: &'static str,
    path: &str,
    body: Option<&B>,
) -> Result<(), CallError> {
    send(method, path, Some(token), body).await.map(|_| ())
}

/// Looks at what stands at an address, for no longer than this. Who looks again and again has one question under way.
pub(crate) async fn look<A: DeserializeOwned>(token: &str, path: &str, wait_ms: u32) -> Result<A, CallError> {
    let signal = Some(AbortSignal::timeout_with_u32(wait_ms));
    let ask = Ask { method: "GET", path, token: Some(token), signal, ..Ask::default() };
    readable(&answered(ask.text().await)?)
}

/// A change that is asked for again until it is done: under one key it is one.
pub(crate) async fn insist<B: Serialize, A: DeserializeOwned>(
    token: &str,
    path: &str,
    key: String,
    body: &B,
) -> Result<A, CallError> {
    let ask = Ask {
        method: "POST",
        path,
        token: Some(token),
        body: Some(json(body)),
        key: Some(key),
        signal: None,
    };
    readable(&answered(ask.text().await)?)
}

/// Sets another password by a secret; nobody is signed in.
pub(crate) async fn reset_password(body: &ResetPassword) -> Result<(), CallError> {
    send("POST", "/api/v1/password/reset", None, Some(body)).await.map(|_| ())
}

/// Has the browser keep what stands at an object's address as a file of this name.
pub(super) fn keep(address: &str, name: &str) -> Result<(), JsValue> {
    let anchor: HtmlAnchorElement = leptos::prelude::document().create_element("a")?.dyn_into()?;
    anchor.set_href(address);
    anchor.set_download(name);
    anchor.click();
    Ok(())
}

/// One request to the page's own origin.
#[derive(Default)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    /// The body, and what it is.
    pub(super) body: Option<(&'static str, JsValue)>,
    /// Of a write: makes it one however often it is sent.
    pub(super) key: Option<String>,
    /// Breaks it off.
    pub(super) signal: Option<AbortSignal>,
}

impl Ask<'_> {
    /// The answer's head, whatever it says; an error when there is none.
    pub(super) async fn fetch(&self) -> Result<Response, JsValue> {
        let init = RequestInit::new();
        init.set_method(self.method);
        init.set_credentials(RequestCredentials::SameOrigin);
        init.set_signal(self.signal.as_ref());
        if let Some((_, body)) = &self.body {
            init.set_body(body);
        }
        let request = Request::new_with_str_and_init(self.path, &init)?;
        let headers = request.headers();
        if let Some((kind, _)) = &self.body {
            headers.set("Content-Type", kind)?;
        }
        if let Some(token) = self.token {
            headers.set("Authorization", &format!("Bearer {token}"))?;
        }
        if let Some(key) = &self.key {
            headers.set("Idempotency-Key", key)?;
        }
        JsFuture::from(leptos::prelude::window().fetch_with_request(&request)).await?.dyn_into()
    }

    /// Status and text.
    pub(super) async fn text(&self) -> Result<(u16, String), JsValue> {
        let response = self.fetch().await?;
        let text = JsFuture::from(response.text()?).await?;
        Ok((response.status(), text.as_string().unwrap_or_default()))
    }
}

/// Reads JSON by way of a tree, as frames are read: one reader for each type is half as much code to load.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str::<serde_json::Value>(text).and_then(serde_json::from_value).ok()
}

/// A body in JSON.
pub(super) fn json<B: Serialize>(body: &B) -> (&'static str, JsValue) {
    // A body that is no JSON, which none of these is, would be refused by the server in words.
    ("application/json", serde_json::to_string(body).unwrap_or_default().into())
}

/// A part of an address.
pub(crate) fn part(text: &str) -> String {
    js_sys::encode_uri_component(text).into()
}

async fn call<B: Serialize, A: DeserializeOwned>(
    method: &'static str,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Result<A, CallError> {
    readable(&send(method, path, token, body).await?)
}

fn readable<A: DeserializeOwned>(text: &str) -> Result<A, CallError> {
    let unreadable =
        || CallError { status: 0, message: t("The server answered something unreadable.").to_owned() };
    parse(text).ok_or_else(unreadable)
}

fn send<B: Serialize>(
    method: &'static str,
    path: &str,
    token: Option<&str>,
    body: Option<&B>,
) -> Answered<Result<String, CallError>> {
    exchange(method, path.to_owned(), token.map(ToOwned::to_owned), body.map(json))
}

/// What is under way, in a box: one for all types of bodies is a tenth of the code to load.
pub(crate) type Answered<T> = Pin<Box<dyn Future<Output = T>>>;

fn exchange(
    method: &'static str,
    path: String,
    token: Option<String>,
    body: Option<(&'static str, JsValue)>,
) -> Answered<Result<String, CallError>> {
    Box::pin(async move {
        let ask = Ask { method, path: &path, token: token.as_deref(), body, ..Ask::default() };
        answered(ask.text().await)
    })
}

/// The text of an answer, or in words why there is none.
fn answered(answer: Result<(u16, String), JsValue>) -> Result<String, CallError> {
    let (status, text) = answer.map_err(|_| CallError {
        status: 0,
        message: t("No answer from the server. Check the connection and try again.").to_owned(),
    })?;
    if (200..300).contains(&status) {
        return Ok(text);
    }
    let message = parse::<Problem>(&text)
        .map(|problem| sentence(&problem.detail))
        .unwrap_or_else(|| tf("The server answered {}. Try again in a moment.", &[&status]));
    Err(CallError { status, message })
}
