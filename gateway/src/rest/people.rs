//! People: profiles, blocked users, and ways back into an account.

use futures_util::FutureExt as _;
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::Action;
use quorate_proto::rest::{
    DeleteAccount, Directory, NewRecoveryCodes, ProfileChange, ResetPassword, UserProfile, Written,
};
use quorate_proto::rpc::{self, read_request, read_response};
use quorate_proto::text;

use super::accounts::signed_out;
use super::reads::{FreshnessQuery, ask, something_else};
use super::route::{Access, READ, Route, WRITE};
use super::sessions::nothing;
use super::writes::act;
use super::{Answer, Call, json};
use crate::convert;

/// What a reset of a password may be refused with.
const RESET: &[ErrorCode] = &[
    ErrorCode::Invalid,
    ErrorCode::IdConflict,
    ErrorCode::Unauthenticated,
    ErrorCode::RateLimited,
    ErrorCode::Overloaded,
    ErrorCode::Unavailable,
    ErrorCode::Internal,
    ErrorCode::Expired,
];

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let ok = StatusCode::OK;
    let write = |method: Method, path, summary, handler| {
        Route::new(method, path, summary, handler).access(Access::Bearer).writes().errors(WRITE)
    };
    const BLOCKED: &str = "/api/v1/blocked/{user}";
    vec![
        Route::new(get.clone(), "/api/v1/users/{name}", "A user's profile", by!(profile))
            .access(Access::Bearer)
            .query::<FreshnessQuery>()
            .gives::<UserProfile>(ok, "As others see her")
            .errors(READ),
        write(Method::PATCH, "/api/v1/me", "Change one's own profile", by!(change))
            .body::<ProfileChange>()
            .gives::<Written>(ok, "Committed"),
        write(delete.clone(), "/api/v1/me", "Delete one's own account", by!(remove))
            .body::<DeleteAccount>()
            .gives_nothing("The account is deleted for good; the cookie is cleared"),
        Route::new(get, "/api/v1/blocked", "Whom the caller has blocked", by!(blocked))
            .access(Access::Bearer)
            .query::<FreshnessQuery>()
            .gives::<Directory>(ok, "At most 1,000")
            .errors(READ),
        write(put.clone(), BLOCKED, "Block a user", by!(block)).gives::<Written>(ok, "Committed"),
        write(delete, BLOCKED, "Block a user no longer", by!(unblock)).gives::<Written>(ok, "Committed"),
        write(put, "/api/v1/recovery-codes", "Other recovery codes", by!(set_recovery_codes))
            .body::<NewRecoveryCodes>()
            .gives_nothing("They are in force, earlier ones are not"),
        Route::new(
            post,
            "/api/v1/password/reset",
            "Another password by a secret or a recovery code",
            by!(reset_password),
        )
        .body::<ResetPassword>()
        .writes()
        .gives_nothing("It is in force; all sessions are ended")
        .errors(RESET),
    ]
}

async fn profile(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let nobody = || WireError::new(ErrorCode::NotFound, "there is no such user");
    let name = text::canonical_name(&call.text(0)?).map_err(|_| nobody())?;
    let own = name == identity.name;
    let asked = read_request::Query::User(rpc::UserQuery { user_id: 0, name });
    let response = ask(&call, &identity, min_index, asked).await?;
    let Some(read_response::Result::User(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::user_profile(found, own, response.as_of_index)))
}

async fn change(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        let ProfileChange { display_name, status, avatar } = call.json()?;
        Ok(Action::SetProfile { display_name, status, avatar })
    })
    .await
}

async fn remove(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    let key = call.idempotency_key()?;
    let identity = call.identity().await?;
    call.gateway.accounts.delete(&identity, call.json()?, key).await?;
    Ok(signed_out(&call))
}

async fn blocked(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = read_request::Query::Blocked(rpc::BlockedQuery {});
    let response = ask(&call, &identity, min_index, asked).await?;
    let Some(read_response::Result::Blocked(found)) = response.result else { return Err(something_else()) };
    let users = found.users.into_iter().map(|user| convert::user(Some(user))).collect();
    Ok(json(StatusCode::OK, &Directory { users, as_of_index: response.as_of_index }))
}

async fn set_blocked(call: Call, on: bool) -> Answer {
    act(&call, StatusCode::OK, || Ok(Action::Block { user: call.text(0)?, on })).await
}

async fn block(call: Call) -> Answer {
    set_blocked(call, true).await
}

async fn unblock(call: Call) -> Answer {
    set_blocked(call, false).await
}

async fn set_recovery_codes(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    let key = call.idempotency_key()?;
    let identity = call.identity().await?;
    call.gateway.accounts.set_recovery_codes(&identity, call.json()?, key).await?;
    Ok(nothing())
}

async fn reset_password(call: Call) -> Answer {
    call.check_origin()?;
    call.admit_address()?;
    let key = call.idempotency_key()?;
    call.gateway.accounts.reset_password(call.json()?, key).await?;
    Ok(nothing())
}
