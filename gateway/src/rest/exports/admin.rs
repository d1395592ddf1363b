//! What was said, for an admin who has to give it out: one conversation or all of them, whoever is in them.
//!
//! Owns the order: what may not be exported is refused, then it is written into the audit log that it is exported, and only then is
//! anything given. Who is an admin, and what may be exported, is decided by the replicas, with each page again.

use futures_util::FutureExt as _;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{ConversationKind, Event, User};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rest::Channel;
use quorate_proto::rpc::{self, command, history_query, read_request, read_response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::reply::Response;

use super::{
    Broken, EXPORT, Export, ExportQuery, Format, PAGE_MESSAGES, Place, described, html, lines, stream_at,
    unexpected,
};
use crate::auth::{self, Identity};
use crate::clock;
use crate::convert;
use crate::rest::problem::Failure;
use crate::rest::reads::{ask, something_else};
use crate::rest::route::Route;
use crate::rest::{Answer, Call};
use crate::session::jobs::commit_action;

/// Conversations in one page of the reads.
const PAGE_CONVERSATIONS: u32 = 100;

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    const CONVERSATION: &str = "/api/v1/admin/export/conversations/{id}";
    const MESSAGES: &str = "/api/v1/admin/export/messages";
    /// On top of the rest: not all replicas are upgraded.
    const RECORDED: &[ErrorCode] = &[
        ErrorCode::Invalid,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::Unsupported,
        ErrorCode::RateLimited,
        ErrorCode::Overloaded,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
    ];
    debug_assert!(EXPORT.iter().all(|code| RECORDED.contains(code)), "these are exports");
    let export = |path, summary, handler| Route::read(path, summary, handler).errors(RECORDED);
    vec![
        export(
            CONVERSATION,
            "What was said in a conversation, for admins; it is recorded",
            by!(conversation),
        )
        .query::<ExportQuery>()
        .gives_text(lines::MEDIA, "One object a line")
        .gives_text(html::MEDIA, "A page to be read, or printed"),
        export(MESSAGES, "What was said in all groups, for admins; it is recorded", by!(messages))
            .query::<MessagesQuery>()
            .gives_text(lines::MEDIA, "One object a line"),
    ]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MessagesQuery {
    /// Direct conversations as well: refused unless the operators allow it.
    #[serde(default)]
    direct: bool,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

/// A conversation as an admin is given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    channel: Channel,
    /// The two of a direct one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pair: Vec<User>,
}

impl Whole {
    fn of(mut found: rpc::ChannelInfo) -> Self {
        let pair = std::mem::take(&mut found.pair).into_iter().map(|user| convert::user(Some(user)));
        Self { pair: pair.collect(), channel: convert::channel(found) }
    }
}

/// Who asks: somebody who is there herself. No scope of a token covers what admins do.
async fn caller(call: &Call) -> Result<Identity, Failure> {
    let identity = call.identity().await?;
    if identity.scopes != 0 {
        let message = "no token is good for an export of what others said: sign in";
        return Err(WireError::new(ErrorCode::Forbidden, message).into());
    }
    Ok(identity)
}

fn history(conversation_id: ConversationId, after: u64, limit: u32) -> read_request::Query {
    let from = Some(history_query::From::After(after));
    read_request::Query::History(rpc::HistoryQuery { conversation_id, limit, from, as_admin: true })
}

/// Takes a place, and has it written into the audit log that this is exported. Nothing is given unless that is acknowledged; what is
/// read afterwards is not older than the entry, whose index this is.
async fn record(
    call: &Call,
    identity: &Identity,
    conversation_id: ConversationId,
    direct: bool,
) -> Result<(Place, u64), Failure> {
    if identity.read_only {
        return Err(auth::read_only().into());
    }
    // Before it is recorded: what finds no place is not exported.
    let place = call.gateway.exports.enter(identity.user_id)?;
    let action = command::Action::RecordExport(rpc::RecordExport { conversation_id, direct });
    // Never the caller's key: one entry would stand for every export under it. An attempt that gives nothing may stand there, too.
    let key = ClientMessageId(clock::command_id());
    let ack = commit_action(&call.gateway, identity, key, action).await?;
    Ok((place, ack.index))
}

/// Of an answer without a body nothing is given away, so nothing is recorded.
fn head_of(form: (&'static str, &str)) -> Response {
    described(Response::new(String::new().into()), form)
}

async fn conversation(call: Call) -> Answer {
    let identity = caller(&call).await?;
    let ExportQuery { format, min_index } = call.query()?;
    let id = call.number(0)?;
    // What is refused is not exported, so it is not recorded either.
    let response = ask(&call, &identity, min_index, history(id, 0, 1)).await?;
    let Some(read_response::Result::History(found)) = response.result else { return Err(something_else()) };
    let direct = found.conversation.is_some_and(|it| convert::channel(it).kind == ConversationKind::Direct);
    let form = match format {
        Format::Jsonl => (lines::MEDIA, format!("conversation-{id}.jsonl")),
        Format::Html => (html::MEDIA, format!("conversation-{id}.html")),
    };
    let form = (form.0, form.1.as_str());
    if call.is_head {
        return Ok(head_of(form));
    }
    let (place, index) = record(&call, &identity, id, direct).await?;
    let min_index = index.max(response.as_of_index);
    stream_at(place, &call, identity, min_index, form, move |export| async move {
        match format {
            Format::Jsonl => {
                let count = export.whole(id, lines::head, lines::message).await?;
                export.write(lines::end(count)).await
            }
            Format::Html => {
                let head =
                    |whole: &Whole| html::begin(&whole.channel.title, &whole.channel.topic, &whole.pair);
                let count = export.whole(id, head, html::message).await?;
                export.write(html::end(count)).await
            }
        }
    })
}

async fn messages(call: Call) -> Answer {
    const FORM: (&str, &str) = (lines::MEDIA, "messages.jsonl");
    let identity = caller(&call).await?;
    let MessagesQuery { direct, min_index } = call.query()?;
    let first = rpc::AdminConversationsQuery { limit: 1, direct, ..Default::default() };
    let response = ask(&call, &identity, min_index, read_request::Query::AdminConversations(first)).await?;
    if call.is_head {
        return Ok(head_of(FORM));
    }
    let (place, index) = record(&call, &identity, 0, direct).await?;
    let min_index = index.max(response.as_of_index);
    stream_at(place, &call, identity, min_index, FORM, move |export| async move {
        let count = export.all(direct).await?;
        export.write(lines::end(count)).await
    })
}

impl Export {
    /// A page of a conversation as an admin reads it.
    async fn admin_page(&self, id: ConversationId, after: u64) -> Result<rpc::HistoryResult, Broken> {
        match self.read(history(id, after, PAGE_MESSAGES)).await?.result {
            Some(read_response::Result::History(found)) => Ok(found),
            _ => Err(unexpected()),
        }
    }

    /// A conversation and every message of it that is still there; how many.
    async fn whole(
        &self,
        id: ConversationId,
        head: impl FnOnce(&Whole) -> String,
        mut write: impl FnMut(&Event, &mut String),
    ) -> Result<u64, Broken> {
        let mut page = self.admin_page(id, 0).await?;
        let mut text = head(&Whole::of(page.conversation.take().ok_or_else(unexpected)?));
        let (mut after, mut count) = (0, 0);
        loop {
            for event in page.messages.into_iter().filter_map(convert::conversation_event) {
                write(&event, &mut text);
                count += 1;
            }
            self.write(std::mem::take(&mut text)).await?;
            if !page.more_after {
                return Ok(count);
            }
            // Forwards: no answer of a replica makes this a ring, and none that leads nowhere is taken for the end.
            after = Some(page.next).filter(|next| *next > after).ok_or_else(unexpected)?;
            page = self.admin_page(id, after).await?;
        }
    }

    /// Every group, with direct conversations if they are asked for; how many messages.
    async fn all(&self, direct: bool) -> Result<u64, Broken> {
        let (mut after_id, mut count) = (0, 0);
        loop {
            let asked = rpc::AdminConversationsQuery {
                after_id,
                limit: PAGE_CONVERSATIONS,
                direct,
                ..Default::default()
            };
            let response = self.read(read_request::Query::AdminConversations(asked)).await?;
            let Some(read_response::Result::AdminConversations(found)) = response.result else {
                return Err(unexpected());
            };
            for conversation in &found.channels {
                match self.whole(conversation.conversation_id, lines::head, lines::message).await {
                    Ok(messages) => count += messages,
                    // It has gone since it was listed.
                    Err(Broken::Read(error)) if error.code == ErrorCode::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            if !found.more {
                return Ok(count);
            }
            after_id = Some(found.next).filter(|next| *next > after_id).ok_or_else(unexpected)?;
        }
    }
}
