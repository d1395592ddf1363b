//! Reads for those without a socket: the caller, the directory, conversations and pages of messages.

use hyper::StatusCode;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::History;
use quorate_proto::rest::{Conversations, Directory, Profile};
use quorate_proto::rpc::{
    DirectoryQuery, OpenQuery, ReadRequest, ReadResponse, UserQuery, read_request, read_response,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::Failure;
use super::{Answer, Call, json};
use crate::auth::Identity;
use crate::command::read_error;
use crate::convert;
use crate::reads::request;
use crate::session::effect::Query;
use crate::session::jobs::answer;

/// Users in one answer.
const USERS_MAX: u32 = 100;
/// Users in one answer that names no number.
const USERS_DEFAULT: u32 = 20;
/// Characters of a pattern: a name has at most 32.
const PATTERN_BYTES_MAX: usize = 64;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersQuery {
    /// A prefix of the name, or a pattern with `*`.
    #[serde(default)]
    pattern: String,
    /// At most 100; 20 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagesQuery {
    /// Messages before this sequence. Without any of the three: the newest page.
    before: Option<u64>,
    /// Messages after this sequence.
    after: Option<u64>,
    /// Messages on both sides of this sequence.
    around: Option<u64>,
    /// At most 100; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FreshnessQuery {
    /// The answer is not older than this index.
    pub(super) min_index: Option<u64>,
}

pub(super) fn something_else() -> Failure {
    WireError::new(ErrorCode::Internal, "a replica answered something else").into()
}

/// The index that a read must have reached: what this gateway knows, and what the caller knows. An index from elsewhere,
/// which no replica will reach soon, is the caller's mistake: it is not waited for.
pub(super) async fn fresh(call: &Call, identity: &Identity, min_index: Option<u64>) -> Result<u64, Failure> {
    let reader = &call.gateway.reader;
    let Some(asked) = min_index.filter(|asked| *asked > reader.known_index()) else {
        return Ok(reader.known_index());
    };
    let query = read_request::Query::Directory(DirectoryQuery { pattern: identity.name.clone(), limit: 1 });
    let newest = request(0, identity.user_id, identity.session.as_bytes(), query);
    // Without a majority nobody can say what the newest is: then it is waited for.
    match reader.read(ReadRequest { linearizable: true, ..newest }).await {
        Ok(newest) if newest.as_of_index < asked => {
            let message = format!("min_index {asked} is beyond the newest index, {}", newest.as_of_index);
            Err(WireError::new(ErrorCode::Invalid, message).into())
        }
        _ => Ok(asked),
    }
}

/// One read, at least as new as this gateway and the caller know.
pub(super) async fn ask(
    call: &Call,
    identity: &Identity,
    min_index: Option<u64>,
    asked: read_request::Query,
) -> Result<ReadResponse, Failure> {
    let reader = &call.gateway.reader;
    let min_index = fresh(call, identity, min_index).await?;
    let asked = request(min_index, identity.user_id, identity.session.as_bytes(), asked);
    Ok(reader.read(asked).await.map_err(read_error)?)
}

pub(super) async fn directory(
    call: &Call,
    identity: &Identity,
    min_index: Option<u64>,
    asked: DirectoryQuery,
) -> Result<Directory, Failure> {
    let response = ask(call, identity, min_index, read_request::Query::Directory(asked)).await?;
    let Some(read_response::Result::Directory(found)) = response.result else {
        return Err(something_else());
    };
    let users = found.users.into_iter().map(|user| convert::user(Some(user))).collect();
    Ok(Directory { users, as_of_index: response.as_of_index })
}

pub(super) async fn profile(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let session = identity.session.to_string();
    let asked = UserQuery { user_id: identity.user_id, name: String::new() };
    match ask(&call, &identity, min_index, read_request::Query::User(asked)).await {
        Ok(response) => {
            let Some(read_response::Result::User(found)) = response.result else {
                return Err(something_else());
            };
            let found = convert::user_profile(found, true, response.as_of_index);
            let (status, admin, recovery_codes) = (found.status, found.admin, found.recovery_codes);
            let (user, as_of_index) = (found.user, found.as_of_index);
            let body = Profile { user, session, status, admin, recovery_codes, as_of_index };
            return Ok(json(StatusCode::OK, &body));
        }
        // A replica of the version before does not know the question.
        Err(refused)
            if matches!(
                refused.code(),
                ErrorCode::Malformed | ErrorCode::Unsupported | ErrorCode::NotFound | ErrorCode::Internal
            ) => {}
        Err(refused) => return Err(refused),
    }
    // The name itself is the first of those that begin with it.
    let asked = DirectoryQuery { pattern: identity.name.clone(), limit: 1 };
    let Directory { users, as_of_index } = directory(&call, &identity, min_index, asked).await?;
    let Some(user) = users.into_iter().find(|user| user.id == identity.user_id) else {
        let error = WireError::new(ErrorCode::Unavailable, "no replica asked knows this user yet");
        return Err(error.retry_after(1_000).into());
    };
    let body =
        Profile { user, session, status: String::new(), admin: false, recovery_codes: None, as_of_index };
    Ok(json(StatusCode::OK, &body))
}

pub(super) async fn users(call: Call) -> Answer {
    let identity = call.identity().await?;
    let query: UsersQuery = call.query()?;
    if query.pattern.len() > PATTERN_BYTES_MAX {
        return Err(WireError::new(ErrorCode::Invalid, "the pattern is longer than any name").into());
    }
    let limit = query.limit.unwrap_or(USERS_DEFAULT).clamp(1, USERS_MAX);
    let asked = DirectoryQuery { pattern: query.pattern, limit };
    Ok(json(StatusCode::OK, &directory(&call, &identity, query.min_index, asked).await?))
}

pub(super) async fn conversations(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = read_request::Query::Open(OpenQuery { after_index: None, events_max: 0 });
    let response = ask(&call, &identity, min_index, asked).await?;
    let Some(read_response::Result::Open(found)) = response.result else { return Err(something_else()) };
    let body = Conversations {
        conversations: found.conversations.into_iter().map(convert::summary).collect(),
        me_version: found.me_version,
        as_of_index: response.as_of_index,
    };
    Ok(json(StatusCode::OK, &body))
}

pub(super) async fn conversation(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = Query::Open { conversation: call.number(0)?, signals: false };
    let seen = fresh(&call, &identity, min_index).await?;
    let (body, _) = answer(&call.gateway, &identity, seen, asked).await?;
    Ok(json(StatusCode::OK, &body))
}

pub(super) async fn messages(call: Call) -> Answer {
    let identity = call.identity().await?;
    let query: MessagesQuery = call.query()?;
    if [query.before, query.after, query.around].into_iter().flatten().count() > 1 {
        return Err(WireError::new(ErrorCode::Invalid, "give one of before, after, around").into());
    }
    let max = call.gateway.config.limits.history_messages_max;
    let history = History {
        conversation: call.number(0)?,
        before: query.before,
        after: query.after,
        around: query.around,
        limit: query.limit.filter(|limit| *limit > 0).unwrap_or(50).min(max),
        min_index: None,
    };
    let seen = fresh(&call, &identity, query.min_index).await?;
    let (body, _) = answer(&call.gateway, &identity, seen, Query::History(history)).await?;
    Ok(json(StatusCode::OK, &body))
}
