//! Reads for those without a socket: the directory and pages of messages.

use hyper::StatusCode;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::History;
use quorate_proto::rest::Directory;
use quorate_proto::rpc::{DirectoryQuery, read_request, read_response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Failure;
use super::{Answer, Call, json};
use crate::command::read_error;
use crate::convert;
use crate::reads::request;
use crate::session::jobs::answer;
use crate::session::protocol::Query;

/// Users in one answer.
const USERS_MAX: u32 = 100;
/// Users in one answer that names no number.
const USERS_DEFAULT: u32 = 20;
/// Characters of a pattern: a name has at most 32.
const PATTERN_BYTES_MAX: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersQuery {
    #[serde(default)]
    pattern: String,
    limit: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessagesQuery {
    before: Option<u64>,
    after: Option<u64>,
    around: Option<u64>,
    limit: Option<u32>,
    min_index: Option<u64>,
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Failure> {
    serde_urlencoded::from_str(query).map_err(|error| {
        WireError::new(ErrorCode::Malformed, format!("the query is not as expected: {error}")).into()
    })
}

pub(super) async fn users(call: Call, query: String) -> Answer {
    let identity = call.identity().await?;
    let query: UsersQuery = parse(&query)?;
    if query.pattern.len() > PATTERN_BYTES_MAX {
        return Err(WireError::new(ErrorCode::Invalid, "the pattern is longer than any name").into());
    }
    let asked = read_request::Query::Directory(DirectoryQuery {
        pattern: query.pattern,
        limit: query.limit.unwrap_or(USERS_DEFAULT).clamp(1, USERS_MAX),
    });
    let reader = &call.gateway.reader;
    let asked = request(reader.known_index(), identity.user_id, identity.session.as_bytes(), asked);
    let response = reader.read(asked).await.map_err(read_error)?;
    let Some(read_response::Result::Directory(found)) = response.result else {
        return Err(WireError::new(ErrorCode::Internal, "a replica answered something else").into());
    };
    let users = found.users.into_iter().map(|user| convert::user(Some(user))).collect();
    Ok(json(StatusCode::OK, &Directory { users, as_of_index: response.as_of_index }))
}

pub(super) async fn messages(call: Call, conversation: u64, query: String) -> Answer {
    let identity = call.identity().await?;
    let query: MessagesQuery = parse(&query)?;
    if [query.before, query.after, query.around].into_iter().flatten().count() > 1 {
        return Err(WireError::new(ErrorCode::Invalid, "give one of before, after, around").into());
    }
    let max = call.gateway.config.limits.history_messages_max;
    let history = History {
        conversation,
        before: query.before,
        after: query.after,
        around: query.around,
        limit: query.limit.filter(|limit| *limit > 0).unwrap_or(50).min(max),
        min_index: query.min_index,
    };
    let (body, _) = answer(&call.gateway, &identity, 0, Query::History(history)).await?;
    Ok(json(StatusCode::OK, &body))
}
