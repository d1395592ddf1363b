//! Groups: what they are, who is in them, how one comes in; and how the caller wants to have a conversation.

use futures_util::FutureExt as _;
use hyper::{Method, StatusCode};
use quorate_proto::frame::{Action, PreferencesChange};
use quorate_proto::rest::{
    Bans, Channels, ConversationChange, InvitePreview, Invites, Members, NewInvite, NewRole, Written,
};
use quorate_proto::rpc::{self, read_request, read_response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::reads::{FreshnessQuery, ask, something_else};
use super::route::{Access, Route, WRITE};
use super::writes::act;
use super::{Answer, Call, json};
use crate::command::code_hash;
use crate::convert;

/// Members in one answer.
const MEMBERS_MAX: u32 = 200;
/// Channels in one answer.
const CHANNELS_MAX: u32 = 100;
/// Members or channels in one answer that names no number.
const DEFAULT: u32 = 50;

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let (ok, created) = (StatusCode::OK, StatusCode::CREATED);
    let (read, write) = (Route::read, Route::write);
    const BAN: &str = "/api/v1/conversations/{id}/bans/{user}";
    const INVITES: &str = "/api/v1/conversations/{id}/invites";
    vec![
        write(Method::PATCH, "/api/v1/conversations/{id}", "Change a group", by!(change))
            .body::<ConversationChange>(),
        write(
            Method::PATCH,
            "/api/v1/conversations/{id}/preferences",
            "How the caller wants to have a conversation",
            by!(prefer),
        )
        .body::<PreferencesChange>(),
        read("/api/v1/conversations/{id}/members", "Members", by!(members))
            .query::<MembersQuery>()
            .gives::<Members>(ok, "In order of user id"),
        write(
            put.clone(),
            "/api/v1/conversations/{id}/members/{user}/role",
            "What a member may do",
            by!(set_role),
        )
        .body::<NewRole>(),
        read("/api/v1/conversations/{id}/bans", "Who is banned from a group", by!(bans))
            .query::<FreshnessQuery>()
            .gives::<Bans>(ok, "In order of user id"),
        write(put, BAN, "Ban a user from a group", by!(ban)),
        write(delete.clone(), BAN, "Ban a user no longer", by!(unban)),
        read(INVITES, "Invites of a group", by!(invites))
            .query::<FreshnessQuery>()
            .gives::<Invites>(ok, "Those that have not ended"),
        Route::new(post.clone(), INVITES, "Make an invite", by!(make_invite))
            .access(Access::Bearer)
            .body::<NewInvite>()
            .writes()
            .gives::<Written>(created, "Committed")
            .errors(WRITE),
        write(delete, "/api/v1/conversations/{id}/invites/{invite}", "End an invite", by!(end_invite)),
        read("/api/v1/invites/{code}", "What an invite leads to", by!(preview))
            .query::<FreshnessQuery>()
            .gives::<InvitePreview>(ok, "The group"),
        write(post.clone(), "/api/v1/invites/{code}/join", "Join by an invite", by!(join_by_invite)),
        write(post, "/api/v1/channels/{id}/join", "Join a public group", by!(join)),
        read("/api/v1/channels", "Public groups", by!(channels))
            .query::<ChannelsQuery>()
            .gives::<Channels>(ok, "In order of their numbers"),
    ]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MembersQuery {
    /// Members with a higher user id.
    after: Option<u64>,
    /// At most 200; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelsQuery {
    /// A part of the title, without regard to case.
    #[serde(default)]
    text: String,
    /// `next` of the page before.
    after: Option<u64>,
    /// At most 100; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

fn of(limit: Option<u32>, max: u32) -> u32 {
    limit.filter(|limit| *limit > 0).unwrap_or(DEFAULT).min(max)
}

async fn change(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        let ConversationChange { title, topic, public, announcement, retention_ms, avatar } = call.json()?;
        let conversation = call.number(0)?;
        Ok(Action::ChangeConversation {
            conversation,
            title,
            topic,
            public,
            announcement,
            retention_ms,
            avatar,
        })
    })
    .await
}

async fn prefer(call: Call) -> Answer {
    act(&call, StatusCode::OK, || Ok(Action::Prefer { change: call.json()?, conversation: call.number(0)? }))
        .await
}

async fn set_role(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        let NewRole { role } = call.json()?;
        Ok(Action::SetRole { conversation: call.number(0)?, user: call.text(1)?, role })
    })
    .await
}

async fn set_ban(call: Call, on: bool) -> Answer {
    act(&call, StatusCode::OK, || Ok(Action::Ban { conversation: call.number(0)?, user: call.text(1)?, on }))
        .await
}

async fn ban(call: Call) -> Answer {
    set_ban(call, true).await
}

async fn unban(call: Call) -> Answer {
    set_ban(call, false).await
}

async fn make_invite(call: Call) -> Answer {
    act(&call, StatusCode::CREATED, || {
        let NewInvite { code, ttl_ms, uses_max } = call.json()?;
        Ok(Action::MakeInvite { conversation: call.number(0)?, code, ttl_ms, uses_max })
    })
    .await
}

async fn end_invite(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        Ok(Action::EndInvite { conversation: call.number(0)?, invite: call.text(1)? })
    })
    .await
}

async fn join_by_invite(call: Call) -> Answer {
    act(&call, StatusCode::OK, || Ok(Action::JoinByInvite { code: call.text(0)? })).await
}

async fn join(call: Call) -> Answer {
    act(&call, StatusCode::OK, || Ok(Action::Join { conversation: call.number(0)? })).await
}

async fn members(call: Call) -> Answer {
    let identity = call.identity().await?;
    let MembersQuery { after, limit, min_index } = call.query()?;
    let asked = rpc::MembersQuery {
        conversation_id: call.number(0)?,
        after_user_id: after.unwrap_or(0),
        limit: of(limit, MEMBERS_MAX),
    };
    let response = ask(&call, &identity, min_index, read_request::Query::Members(asked)).await?;
    let Some(read_response::Result::Members(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::members(found, response.as_of_index)))
}

async fn bans(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::BansQuery { conversation_id: call.number(0)? };
    let response = ask(&call, &identity, min_index, read_request::Query::Bans(asked)).await?;
    let Some(read_response::Result::Bans(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::bans(found, response.as_of_index)))
}

async fn invites(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::InvitesQuery { conversation_id: call.number(0)? };
    let response = ask(&call, &identity, min_index, read_request::Query::Invites(asked)).await?;
    let Some(read_response::Result::Invites(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::invites(found, response.as_of_index)))
}

async fn preview(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::InviteQuery { code_hash: code_hash(&call.text(0)?)? };
    let response = ask(&call, &identity, min_index, read_request::Query::Invite(asked)).await?;
    let Some(read_response::Result::Invite(found)) = response.result else { return Err(something_else()) };
    let body = InvitePreview { channel: convert::channel(found), as_of_index: response.as_of_index };
    Ok(json(StatusCode::OK, &body))
}

async fn channels(call: Call) -> Answer {
    let identity = call.identity().await?;
    let ChannelsQuery { text, after, limit, min_index } = call.query()?;
    let (after_id, limit) = (after.unwrap_or(0), of(limit, CHANNELS_MAX));
    let asked = read_request::Query::Channels(rpc::ChannelsQuery { text, after_id, limit });
    let response = ask(&call, &identity, min_index, asked).await?;
    let Some(read_response::Result::Channels(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::channels(found, response.as_of_index)))
}

/// Groups as admins find them: the same question about all of them.
pub(super) async fn all_groups(call: Call) -> Answer {
    let identity = call.identity().await?;
    let ChannelsQuery { text, after, limit, min_index } = call.query()?;
    let (after_id, limit) = (after.unwrap_or(0), of(limit, CHANNELS_MAX));
    let asked = rpc::AdminConversationsQuery { text, after_id, limit, direct: false };
    let asked = read_request::Query::AdminConversations(asked);
    let response = ask(&call, &identity, min_index, asked).await?;
    let Some(read_response::Result::AdminConversations(found)) = response.result else {
        return Err(something_else());
    };
    Ok(json(StatusCode::OK, &convert::channels(found, response.as_of_index)))
}
