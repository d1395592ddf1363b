//! What admins read and do. Who is one is decided by the replicas, never here.

use futures_util::FutureExt as _;
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{AdminUsers, Audit, Channels, NewReset, Reports, Resolution, Sessions, UserState};
use quorate_proto::rpc::{self, command, read_request, read_response};
use quorate_proto::text;
use schemars::JsonSchema;
use serde::Deserialize;

use super::groups::{ChannelsQuery, all_groups};
use super::problem::Failure;
use super::reads::{FreshnessQuery, ask, something_else};
use super::route::Route;
use super::writes::{writer, written};
use super::{Answer, Call, json};
use crate::auth::{Identity, reset_hash};
use crate::command::find_anybody;
use crate::convert;
use crate::session::jobs::commit_action;

/// Users, reports or entries in one answer.
const ROWS_MAX: u32 = 100;
/// The same in one answer that names no number.
const ROWS_DEFAULT: u32 = 50;
/// Bytes of a pattern: a name has at most 32 characters.
const PATTERN_BYTES_MAX: usize = 64;

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    let ok = StatusCode::OK;
    let (read, write) = (Route::read, Route::write);
    const USER: &str = "/api/v1/admin/users/{name}";
    vec![
        read("/api/v1/admin/users", "Users, for admins", by!(users))
            .query::<UsersQuery>()
            .gives::<AdminUsers>(ok, "In order of name, those that are disabled as well"),
        write(Method::PATCH, USER, "Disable or enable a user, or make her an admin", by!(set_state))
            .body::<UserState>(),
        write(Method::DELETE, USER, "Delete a user's account", by!(remove)),
        write(
            Method::POST,
            "/api/v1/admin/users/{name}/reset",
            "Offer a user another password",
            by!(offer_reset),
        )
        .body::<NewReset>(),
        read("/api/v1/admin/users/{name}/sessions", "A user's sessions, for admins", by!(sessions))
            .query::<FreshnessQuery>()
            .gives::<Sessions>(ok, "In order of their beginning; `current` is the caller's"),
        read("/api/v1/admin/conversations", "Groups, for admins", by!(all_groups))
            .query::<ChannelsQuery>()
            .gives::<Channels>(ok, "In order of their numbers; never what is said in them"),
        read("/api/v1/admin/reports", "Reported messages", by!(reports))
            .query::<ReportsQuery>()
            .gives::<Reports>(ok, "Newest first"),
        write(
            Method::POST,
            "/api/v1/admin/reports/{report}/resolve",
            "Say what was done about a report",
            by!(resolve),
        )
        .body::<Resolution>(),
        read("/api/v1/admin/audit", "What was done that concerns others' rights", by!(audit))
            .query::<AuditQuery>()
            .gives::<Audit>(ok, "Newest first"),
    ]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UsersQuery {
    /// A prefix of the name, or a pattern with `*`.
    #[serde(default)]
    pattern: String,
    /// `next` of the page before.
    #[serde(default)]
    after: String,
    /// At most 100; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReportsQuery {
    /// Also those that are resolved.
    #[serde(default)]
    all: bool,
    /// Reports with a lower id.
    before: Option<u64>,
    /// At most 100; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// `next` of the page before; absent for the newest.
    before: Option<u64>,
    /// At most 100; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

fn of(limit: Option<u32>) -> u32 {
    limit.filter(|limit| *limit > 0).unwrap_or(ROWS_DEFAULT).min(ROWS_MAX)
}

async fn users(call: Call) -> Answer {
    let identity = call.identity().await?;
    let UsersQuery { pattern, after, limit, min_index } = call.query()?;
    if pattern.len().max(after.len()) > PATTERN_BYTES_MAX {
        return Err(WireError::new(ErrorCode::Invalid, "that is longer than any name").into());
    }
    let asked = rpc::AdminUsersQuery { pattern, after, limit: of(limit) };
    let response = ask(&call, &identity, min_index, read_request::Query::AdminUsers(asked)).await?;
    let Some(read_response::Result::AdminUsers(found)) = response.result else {
        return Err(something_else());
    };
    Ok(json(StatusCode::OK, &convert::admin_users(found, response.as_of_index)))
}

/// The user whom the path names, perhaps disabled.
async fn named(call: &Call, identity: &Identity) -> Result<u64, Failure> {
    let reader = call.gateway.reader.clone();
    Ok(find_anybody(reader, identity.clone(), 0, call.text(0)?).await?)
}

async fn sessions(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::AdminSessionsQuery { user_id: named(&call, &identity).await? };
    let response = ask(&call, &identity, min_index, read_request::Query::AdminSessions(asked)).await?;
    let Some(read_response::Result::Sessions(found)) = response.result else {
        return Err(something_else());
    };
    let own = identity.session.as_bytes();
    Ok(json(StatusCode::OK, &convert::sessions(found, own, response.as_of_index)))
}

async fn set_state(call: Call) -> Answer {
    let (identity, id) = writer(&call).await?;
    let UserState { disabled, admin } = call.json()?;
    if disabled.is_none() && admin.is_none() {
        return Err(WireError::new(ErrorCode::Invalid, "say what is to change").into());
    }
    let set = rpc::SetUserState { user_id: named(&call, &identity).await?, disabled, admin };
    let action = command::Action::SetUserState(set);
    written(StatusCode::OK, commit_action(&call.gateway, &identity, id, action).await?)
}

async fn remove(call: Call) -> Answer {
    let (identity, id) = writer(&call).await?;
    let user_id = named(&call, &identity).await?;
    if user_id == identity.user_id {
        // There the password is asked for.
        return Err(WireError::new(ErrorCode::Invalid, "delete your own account at /api/v1/me").into());
    }
    let delete = rpc::DeleteUser { user_id, ..rpc::DeleteUser::default() };
    let action = command::Action::DeleteUser(delete);
    written(StatusCode::OK, commit_action(&call.gateway, &identity, id, action).await?)
}

async fn offer_reset(call: Call) -> Answer {
    let (identity, id) = writer(&call).await?;
    let NewReset { secret } = call.json()?;
    let secret_hash = reset_hash(&secret)?;
    let offer = rpc::OfferReset { user_id: named(&call, &identity).await?, secret_hash };
    let action = command::Action::OfferReset(offer);
    written(StatusCode::OK, commit_action(&call.gateway, &identity, id, action).await?)
}

async fn reports(call: Call) -> Answer {
    let identity = call.identity().await?;
    let ReportsQuery { all, before, limit, min_index } = call.query()?;
    let asked = rpc::ReportsQuery { all, before_id: before.unwrap_or(0), limit: of(limit) };
    let response = ask(&call, &identity, min_index, read_request::Query::Reports(asked)).await?;
    let Some(read_response::Result::Reports(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::reports(found, response.as_of_index)))
}

async fn resolve(call: Call) -> Answer {
    let (identity, id) = writer(&call).await?;
    let report_id = call.number(0)?;
    let Resolution { resolution } = call.json()?;
    let resolution = text::canonical_reason(&resolution)
        .map_err(|error| WireError::new(ErrorCode::Invalid, error.to_string()))?;
    let action = command::Action::ResolveReport(rpc::ResolveReport { report_id, resolution });
    written(StatusCode::OK, commit_action(&call.gateway, &identity, id, action).await?)
}

async fn audit(call: Call) -> Answer {
    let identity = call.identity().await?;
    let AuditQuery { before, limit, min_index } = call.query()?;
    let asked = rpc::AuditQuery { before: before.unwrap_or(0), limit: of(limit) };
    let response = ask(&call, &identity, min_index, read_request::Query::Audit(asked)).await?;
    let Some(read_response::Result::Audit(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::audit(found, response.as_of_index)))
}
