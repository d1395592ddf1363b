//! What is done to messages, and what is read of them beside pages.

use futures_util::FutureExt as _;
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Action, DeleteMessages, PinMessage, ReactTo};
use quorate_proto::rest::{
    Messages, NewDraft, NewReport, NewScheduled, Reactions, Revisions, Scheduled, Written,
};
use quorate_proto::rpc::{self, read_request, read_response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::reads::{FreshnessQuery, ask, something_else};
use super::route::{Access, Route, WRITE};
use super::writes::{act, task};
use super::{Answer, Call, json};
use crate::convert;
use crate::session::effect::Task;

/// Messages in one answer.
const MESSAGES_MAX: u32 = 100;
/// Messages in one answer that names no number.
const MESSAGES_DEFAULT: u32 = 50;

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let (ok, created) = (StatusCode::OK, StatusCode::CREATED);
    let (read, write) = (Route::read, Route::write);
    const MESSAGE: &str = "/api/v1/conversations/{id}/messages/{sequence}";
    const REACTION: &str = "/api/v1/conversations/{id}/messages/{sequence}/reactions/{emoji}";
    const PIN: &str = "/api/v1/conversations/{id}/messages/{sequence}/pin";
    const SAVED: &str = "/api/v1/conversations/{id}/messages/{sequence}/saved";
    vec![
        write(delete.clone(), MESSAGE, "Delete a message, or some", by!(remove)).query::<DeleteQuery>(),
        write(put.clone(), REACTION, "React to a message", by!(react)),
        write(delete.clone(), REACTION, "Take a reaction back", by!(unreact)),
        write(put.clone(), PIN, "Pin a message", by!(pin)),
        write(delete.clone(), PIN, "Pin a message no longer", by!(unpin)),
        write(put.clone(), SAVED, "Save a message for oneself", by!(save)),
        write(delete.clone(), SAVED, "Save a message no longer", by!(unsave)),
        write(
            post.clone(),
            "/api/v1/conversations/{id}/messages/{sequence}/report",
            "Report a message to the admins",
            by!(report),
        )
        .body::<NewReport>(),
        read(
            "/api/v1/conversations/{id}/messages/{sequence}/revisions",
            "The texts a message has had",
            by!(revisions),
        )
        .query::<FreshnessQuery>()
        .gives::<Revisions>(ok, "In order; the present one last"),
        read(
            "/api/v1/conversations/{id}/messages/{sequence}/reactions",
            "Who reacted to a message",
            by!(reactions),
        )
        .query::<FreshnessQuery>()
        .gives::<Reactions>(ok, "By emoji"),
        read("/api/v1/conversations/{id}/pins", "Pinned messages", by!(pins))
            .query::<FreshnessQuery>()
            .gives::<Messages>(ok, "Newest pin first"),
        read("/api/v1/mentions", "Messages that mention the caller", by!(mentions))
            .query::<BeforeQuery>()
            .gives::<Messages>(ok, "Newest first"),
        read("/api/v1/saved", "Messages that the caller saved", by!(saved))
            .query::<BeforeQuery>()
            .gives::<Messages>(ok, "Newest first"),
        read("/api/v1/scheduled", "What the caller has scheduled", by!(scheduled))
            .query::<FreshnessQuery>()
            .gives::<Scheduled>(ok, "In order of time"),
        Route::new(post, "/api/v1/scheduled", "Send later, or be reminded", by!(schedule))
            .access(Access::Bearer)
            .body::<NewScheduled>()
            .writes()
            .gives::<Written>(created, "Committed: `scheduled` is its number")
            .errors(WRITE),
        write(delete, "/api/v1/scheduled/{scheduled}", "Take back what was scheduled", by!(cancel)),
        write(put, "/api/v1/conversations/{id}/draft", "Keep what the caller has begun to write", by!(draft))
            .body::<NewDraft>(),
    ]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    /// Only out of the caller's own sight.
    #[serde(default)]
    for_me: bool,
    /// The last of several; at most 100 in all.
    through: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BeforeQuery {
    /// `next` of the page before; absent for the newest.
    before: Option<u64>,
    /// At most 100; 50 when absent.
    limit: Option<u32>,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

fn of(limit: Option<u32>) -> u32 {
    limit.filter(|limit| *limit > 0).unwrap_or(MESSAGES_DEFAULT).min(MESSAGES_MAX)
}

async fn remove(call: Call) -> Answer {
    let (conversation, sequence) = (call.number(0)?, call.number(1)?);
    let DeleteQuery { for_me, through } = call.query()?;
    task(&call, |client_message_id| {
        let first_sent = 0;
        Ok(Task::Delete(DeleteMessages {
            conversation,
            sequence,
            through,
            for_me,
            client_message_id,
            first_sent,
        }))
    })
    .await
}

async fn set_reaction(call: Call, on: bool) -> Answer {
    let (conversation, sequence, emoji) = (call.number(0)?, call.number(1)?, call.text(2)?);
    task(&call, |client_message_id| {
        Ok(Task::React(ReactTo { conversation, sequence, emoji, on, client_message_id, first_sent: 0 }))
    })
    .await
}

async fn react(call: Call) -> Answer {
    set_reaction(call, true).await
}

async fn unreact(call: Call) -> Answer {
    set_reaction(call, false).await
}

async fn set_pin(call: Call, on: bool) -> Answer {
    let (conversation, sequence) = (call.number(0)?, call.number(1)?);
    task(&call, |client_message_id| {
        Ok(Task::Pin(PinMessage { conversation, sequence, on, client_message_id, first_sent: 0 }))
    })
    .await
}

async fn pin(call: Call) -> Answer {
    set_pin(call, true).await
}

async fn unpin(call: Call) -> Answer {
    set_pin(call, false).await
}

async fn set_saved(call: Call, on: bool) -> Answer {
    act(&call, StatusCode::OK, || {
        Ok(Action::Save { conversation: call.number(0)?, sequence: call.number(1)?, on })
    })
    .await
}

async fn save(call: Call) -> Answer {
    set_saved(call, true).await
}

async fn unsave(call: Call) -> Answer {
    set_saved(call, false).await
}

async fn report(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        let NewReport { reason } = call.json()?;
        Ok(Action::Report { conversation: call.number(0)?, sequence: call.number(1)?, reason })
    })
    .await
}

async fn draft(call: Call) -> Answer {
    act(&call, StatusCode::OK, || {
        let NewDraft { text, reply_to } = call.json()?;
        Ok(Action::Draft { conversation: call.number(0)?, text, reply_to })
    })
    .await
}

async fn schedule(call: Call) -> Answer {
    act(&call, StatusCode::CREATED, || {
        let NewScheduled { conversation, text, reply_to, at, remind_of } = call.json()?;
        match (remind_of, reply_to) {
            (None, _) => Ok(Action::Schedule { conversation, text, reply_to, at }),
            (Some(sequence), None) => Ok(Action::Remind { conversation, sequence, at, note: text }),
            (Some(_), Some(_)) => {
                Err(WireError::new(ErrorCode::Invalid, "a reminder answers to no message").into())
            }
        }
    })
    .await
}

async fn cancel(call: Call) -> Answer {
    act(&call, StatusCode::OK, || Ok(Action::CancelScheduled { scheduled: call.number(0)? })).await
}

async fn revisions(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::RevisionsQuery { conversation_id: call.number(0)?, sequence: call.number(1)? };
    let response = ask(&call, &identity, min_index, read_request::Query::Revisions(asked)).await?;
    let Some(read_response::Result::Revisions(found)) = response.result else {
        return Err(something_else());
    };
    Ok(json(StatusCode::OK, &convert::revisions(found, response.as_of_index)))
}

async fn reactions(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::ReactionsQuery { conversation_id: call.number(0)?, sequence: call.number(1)? };
    let response = ask(&call, &identity, min_index, read_request::Query::Reactions(asked)).await?;
    let Some(read_response::Result::Reactions(found)) = response.result else {
        return Err(something_else());
    };
    Ok(json(StatusCode::OK, &convert::reactions(found, response.as_of_index)))
}

async fn messages(call: &Call, min_index: Option<u64>, asked: read_request::Query) -> Answer {
    let identity = call.identity().await?;
    let response = ask(call, &identity, min_index, asked).await?;
    let Some(read_response::Result::Messages(found)) = response.result else { return Err(something_else()) };
    Ok(json(StatusCode::OK, &convert::messages(found, response.as_of_index)))
}

async fn pins(call: Call) -> Answer {
    let FreshnessQuery { min_index } = call.query()?;
    let asked = rpc::PinsQuery { conversation_id: call.number(0)? };
    messages(&call, min_index, read_request::Query::Pins(asked)).await
}

async fn mentions(call: Call) -> Answer {
    let BeforeQuery { before, limit, min_index } = call.query()?;
    let asked = rpc::MentionsQuery { before: before.unwrap_or(0), limit: of(limit) };
    messages(&call, min_index, read_request::Query::Mentions(asked)).await
}

async fn saved(call: Call) -> Answer {
    let BeforeQuery { before, limit, min_index } = call.query()?;
    let asked = rpc::SavedQuery { before: before.unwrap_or(0), limit: of(limit) };
    messages(&call, min_index, read_request::Query::Saved(asked)).await
}

async fn scheduled(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let asked = read_request::Query::Scheduled(rpc::ScheduledQuery {});
    let response = ask(&call, &identity, min_index, asked).await?;
    let Some(read_response::Result::Scheduled(found)) = response.result else {
        return Err(something_else());
    };
    Ok(json(StatusCode::OK, &convert::scheduled(found, response.as_of_index)))
}
