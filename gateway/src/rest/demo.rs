//! The demo: what its runner knows and does, for admins; and the links that sign its people in.
//!
//! Everything here answers 404 to whoever is signed in unless the gateway was started for a demo. The runner carries a fault out; who may ask for one
//! is decided by the replicas.

use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use quorate_proto::error::ErrorCode;
use quorate_proto::rest::{Demo, DemoEntry, NewFault, NewProbe, SessionGrant, SignIn};
use quorate_proto::rpc::{self, read_request};
use warp::reply::Response;

use super::accounts::granted;
use super::problem::Failure;
use super::reads::ask;
use super::route::{Access, Route};
use super::{Answer, Call, json};
use crate::auth::Identity;
use crate::demo::DemoRunner;

/// Replicas that answer do so within this; who was an admin a while ago waits no longer for those that are hurt.
const ADMIN_WAIT: Duration = Duration::from_millis(1_000);

const PAGE: &str = include_str!("demo/page.html");
const SCRIPT: &str = include_str!("demo/page.js");

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    use ErrorCode::{
        Forbidden, Internal, Invalid, NotFound, Overloaded, RateLimited, Unauthenticated, Unavailable,
    };
    const DEED: &[ErrorCode] = &[Invalid, Forbidden, NotFound, Unavailable, Internal];
    const ENTRY: &[ErrorCode] =
        &[Invalid, NotFound, Unauthenticated, RateLimited, Overloaded, Unavailable, Internal];
    let (get, post) = (Method::GET, Method::POST);
    let ok = StatusCode::OK;
    vec![
        Route::read("/api/v1/admin/demo", "The demo's processes and its probe, for admins", by!(show))
            .gives::<Demo>(ok, "As the runner sees them"),
        Route::new(post.clone(), "/api/v1/admin/demo/faults", "Hurt or heal a process", by!(hurt))
            .access(Access::Bearer)
            .body::<NewFault>()
            .gives::<Demo>(ok, "Done; as it is afterwards")
            .errors(DEED),
        Route::new(post.clone(), "/api/v1/admin/demo/probe", "Start or stop the probe", by!(probe))
            .access(Access::Bearer)
            .body::<NewProbe>()
            .gives::<Demo>(ok, "Done; as it is afterwards")
            .errors(DEED),
        Route::new(post, "/api/v1/demo/entries", "Sign in by a link of the demo", by!(enter))
            .body::<DemoEntry>()
            .gives::<SessionGrant>(StatusCode::CREATED, "A session; sets the refresh cookie")
            .errors(ENTRY),
        Route::new(get.clone(), "/demo", "Where the links of the demo lead", by!(page))
            .gives_text("text/html", "A page that signs in and goes on to `/`")
            .errors(&[NotFound]),
        Route::new(get, "/demo.js", "What that page does", by!(script))
            .gives_text("text/javascript", "A module")
            .errors(&[NotFound]),
    ]
}

fn runner(call: &Call) -> Result<&DemoRunner, Failure> {
    call.gateway.demo.as_ref().ok_or_else(super::problem::nothing_here)
}

/// Who calls, if the replicas say that she is an admin. Where none of them answers, it counts what they said some minutes ago:
/// somebody must be able to heal what was hurt.
async fn admin(call: &Call) -> Result<(Identity, &DemoRunner), Failure> {
    let identity = call.identity().await?;
    let runner = runner(call)?;
    let asked =
        ask(call, &identity, None, read_request::Query::Audit(rpc::AuditQuery { before: 0, limit: 1 }));
    let answered = if runner.was_confirmed(identity.session) {
        match tokio::time::timeout(ADMIN_WAIT, asked).await {
            Ok(answered) => answered,
            Err(_) => return Ok((identity, runner)),
        }
    } else {
        asked.await
    };
    match answered {
        Ok(_) => runner.confirm(identity.session),
        Err(failure)
            if failure.code() == ErrorCode::Unavailable && runner.was_confirmed(identity.session) => {}
        Err(failure) => {
            runner.doubt(identity.session);
            return Err(failure);
        }
    }
    Ok((identity, runner))
}

async fn show(call: Call) -> Answer {
    let (_, runner) = admin(&call).await?;
    let demo: Demo = runner.ask(Method::GET, "/demo", None::<&()>).await?;
    Ok(json(StatusCode::OK, &demo))
}

async fn hurt(call: Call) -> Answer {
    call.check_origin()?;
    let (identity, runner) = admin(&call).await?;
    let asked: NewFault = call.json()?;
    tracing::warn!(user_id = identity.user_id, fault = ?asked.fault, target = asked.target, "a fault of the demo");
    let demo: Demo = runner.ask(Method::POST, "/faults", Some(&asked)).await?;
    Ok(json(StatusCode::OK, &demo))
}

async fn probe(call: Call) -> Answer {
    call.check_origin()?;
    let (_, runner) = admin(&call).await?;
    let asked: NewProbe = call.json()?;
    let demo: Demo = runner.ask(Method::POST, "/probe", Some(&asked)).await?;
    Ok(json(StatusCode::OK, &demo))
}

/// The runner gives name and password for a code of its own, once; they do not leave this function.
async fn enter(call: Call) -> Answer {
    let runner = runner(&call)?;
    call.check_origin()?;
    call.admit_address()?;
    let entry: DemoEntry = call.json()?;
    let known: SignIn = runner.ask(Method::POST, "/entries", Some(&entry)).await?;
    match call.gateway.accounts.sign_in(known, None).await {
        Ok(grant) => Ok(granted(&call, StatusCode::CREATED, grant)),
        Err(error) => {
            if error.temporary {
                // Nobody was signed in, so the link is not used. If the runner is gone, so are all its links.
                let _: Result<(), _> = runner.ask(Method::POST, "/entries/back", Some(&entry)).await;
            }
            Err(error.into())
        }
    }
}

async fn page(call: Call) -> Answer {
    runner(&call)?;
    Ok(text("text/html; charset=utf-8", PAGE))
}

async fn script(call: Call) -> Answer {
    runner(&call)?;
    Ok(text("text/javascript; charset=utf-8", SCRIPT))
}

fn text(media: &'static str, body: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_runs_no_script_but_its_own_file() {
        // The content security policy would refuse any other, and nobody would see why.
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(PAGE.contains(r#"<script type="module" src="/demo.js"></script>"#), "{PAGE}");
        assert!(!PAGE.contains("style="), "{PAGE}");
        assert!(SCRIPT.contains("history.replaceState"), "the code must not stay in the address");
    }
}
