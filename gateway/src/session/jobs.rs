//! What a session waits for beside its socket: submits, reads, fresh tokens, conversations to add.
//!
//! Owns the calls, not the rules: each job ends in a [`Done`] that the session's task feeds back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{Ack, Body, ServerFrame, SincePage};
use quorate_proto::ids::{ClientMessageId, ConversationId};
use quorate_proto::rpc::{self, SinceQuery, command, history_query, read_request, read_response};

use super::delivery::Added;
use super::effect::{Farewell, Lane, Query, Task};
use super::opening::Opened;
use crate::auth::{self, Identity};
use crate::clock;
use crate::command::{action, by, delete, edit, pin, react, read_error, send, settle, submit_error};
use crate::context::Gateway;
use crate::convert::{self, conversation_topic};
use crate::hub::{Item, Subscribed};
use crate::reads::{ReadError, request};

/// Pages read to fill a conversation she was added to; 300 events each. More is another session's resume.
const FILL_PAGES_MAX: usize = 16;

/// The end of a job.
pub(super) enum Done {
    Opened(Result<Box<Opened>, Farewell>),
    /// With the time of the outcome.
    Settled(Lane, Result<Ack, WireError>, Instant),
    /// The answer, the index it was read at, and a conversation that could not be opened.
    Answered(Box<ServerFrame>, u64, Option<ConversationId>),
    /// Somebody was told something that has no answer.
    Told,
    Renewed(u64, Result<Identity, WireError>),
    /// A program's token was looked at again.
    Rechecked(Result<Identity, WireError>),
    Added(Result<Added, String>),
    Marked,
}

pub(super) type Job = BoxFuture<'static, Done>;

/// A command and its answer.
pub(super) fn submit(gateway: Arc<Gateway>, identity: Identity, seen: u64, lane: Lane, task: Task) -> Job {
    Box::pin(async move {
        let result = commit(&gateway, &identity, seen, &task).await;
        Done::Settled(lane, result, Instant::now())
    })
}

/// Submits what is asked and waits for its outcome.
///
/// # Errors
/// What the client is told.
pub(crate) async fn commit(
    gateway: &Gateway,
    identity: &Identity,
    seen: u64,
    task: &Task,
) -> Result<Ack, WireError> {
    if identity.read_only {
        return Err(auth::read_only());
    }
    let (command, id) = match task {
        Task::Send(message) => (send(identity, message), message.client_message_id),
        Task::Edit(asked) => (edit(identity, asked), asked.client_message_id),
        Task::Delete(asked) => (delete(identity, asked)?, asked.client_message_id),
        Task::React(asked) => (react(identity, asked)?, asked.client_message_id),
        Task::Pin(asked) => (pin(identity, asked), asked.client_message_id),
        // In a box of its own: what it reads would make every send's future some kilobytes larger.
        Task::Do(asked) => {
            (Box::pin(action(&gateway.reader, identity, seen, asked)).await?, asked.client_message_id)
        }
    };
    let outcome = gateway.leader.submit(&command).await.map_err(submit_error)?;
    settle(outcome, id)
}

/// A read mark; when it is lost the next one makes up for it.
pub(super) fn mark_read(gateway: Arc<Gateway>, identity: Identity, conversation: u64, sequence: u64) -> Job {
    Box::pin(async move {
        let id = ClientMessageId(clock::command_id());
        let _ = commit_mark(&gateway, &identity, id, conversation, sequence).await;
        Done::Marked
    })
}

/// Submits a read mark and waits for its outcome.
///
/// # Errors
/// What the client is told.
pub(crate) async fn commit_mark(
    gateway: &Gateway,
    identity: &Identity,
    id: ClientMessageId,
    conversation: u64,
    sequence: u64,
) -> Result<Ack, WireError> {
    let action = command::Action::MarkRead(rpc::MarkRead { conversation_id: conversation, sequence });
    commit_action(gateway, identity, id, action).await
}

/// Submits a command that no frame says, and waits for its outcome.
///
/// # Errors
/// What the client is told.
pub(crate) async fn commit_action(
    gateway: &Gateway,
    identity: &Identity,
    id: ClientMessageId,
    action: command::Action,
) -> Result<Ack, WireError> {
    if identity.read_only {
        return Err(auth::read_only());
    }
    let outcome = gateway.leader.submit(&by(identity, id, 0, action)).await.map_err(submit_error)?;
    settle(outcome, id)
}

/// A fresh token for the same session. `client` is the address by which wrong tokens of programs are counted, here as at the door.
pub(super) fn renew(
    gateway: Arc<Gateway>,
    identity: Identity,
    id: u64,
    token: String,
    client: Option<IpAddr>,
) -> Job {
    Box::pin(async move {
        let fresh = match gateway.holder(client, &token).await {
            Ok(verified) => same_session(&identity, verified),
            Err(limited) => Err(limited),
        };
        Done::Renewed(id, fresh)
    })
}

/// A program's token once more: it was good when the session began, so it is nobody's guess.
pub(super) fn recheck(gateway: Arc<Gateway>, identity: Identity, token: String) -> Job {
    Box::pin(async move {
        let verified = gateway.tokens.verify(&token).await;
        Done::Rechecked(same_session(&identity, verified))
    })
}

fn same_session(
    identity: &Identity,
    verified: Result<Identity, auth::TokenError>,
) -> Result<Identity, WireError> {
    match verified {
        Ok(fresh) if fresh.user_id == identity.user_id && fresh.session == identity.session => Ok(fresh),
        Ok(_) => Err(WireError::new(ErrorCode::Forbidden, "the token is of another session")),
        Err(auth::TokenError::Unavailable) => {
            Err(WireError::new(ErrorCode::Unavailable, "the token cannot be checked now"))
        }
        Err(error) => Err(WireError::new(ErrorCode::Unauthenticated, error.to_string())),
    }
}

/// A read and its answer. `first` is done before: a conversation is watched before it is read, so that nothing falls
/// between.
pub(super) fn read(
    gateway: Arc<Gateway>,
    identity: Identity,
    seen: u64,
    id: u64,
    query: Query,
    first: impl Future<Output = ()> + Send + 'static,
) -> Job {
    Box::pin(async move {
        first.await;
        let room = match query {
            Query::Open { conversation, signals: true } => Some(conversation),
            _ => None,
        };
        match answer(&gateway, &identity, seen, query).await {
            Ok((body, index)) => Done::Answered(Box::new(ServerFrame::reply(id, body)), index, None),
            Err(error) => Done::Answered(Box::new(ServerFrame::error(id, error)), 0, room),
        }
    })
}

/// Something without an answer.
pub(super) fn tell(telling: impl Future<Output = ()> + Send + 'static) -> Job {
    Box::pin(async move {
        telling.await;
        Done::Told
    })
}

/// The body of an answer and the index it was read at.
///
/// # Errors
/// What the client is told.
pub(crate) async fn answer(
    gateway: &Gateway,
    identity: &Identity,
    seen: u64,
    query: Query,
) -> Result<(Body, u64), WireError> {
    let me = identity.user_id;
    let (asked, min_index) = match &query {
        Query::History(history) => {
            let from = match (history.before, history.after, history.around) {
                (Some(before), _, _) => Some(history_query::From::Before(before)),
                (_, Some(after), _) => Some(history_query::From::After(after)),
                (_, _, Some(around)) => Some(history_query::From::Around(around)),
                _ => None,
            };
            let asked = read_request::Query::History(rpc::HistoryQuery {
                conversation_id: history.conversation,
                limit: history.limit,
                from,
                as_admin: false,
            });
            (asked, history.min_index.unwrap_or(0))
        }
        Query::Since { pairs, limit } => {
            let pairs = pairs
                .iter()
                .map(|pair| rpc::SincePair {
                    topic: Some(convert::topic_of(pair.topic, me)),
                    version: pair.version,
                })
                .collect();
            (read_request::Query::Since(SinceQuery { pairs, limit: *limit }), 0)
        }
        Query::Open { conversation, signals } => {
            let asked = rpc::ConversationQuery { conversation_id: *conversation, marks: *signals };
            (read_request::Query::Conversation(asked), 0)
        }
    };
    let response = gateway
        .reader
        .read(request(seen.max(min_index), me, identity.session.as_bytes(), asked))
        .await
        .map_err(read_error)?;
    let as_of_index = response.as_of_index;
    let body = match (query, response.result) {
        (Query::History(history), Some(read_response::Result::History(result))) => {
            convert::page(history.conversation, result, as_of_index)
        }
        (Query::Since { .. }, Some(read_response::Result::Since(result))) => {
            let mut pages = Vec::with_capacity(result.pages.len());
            for page in result.pages {
                pages.extend(since_page(gateway, identity, as_of_index, page).await);
            }
            Body::Since { pages, as_of_index }
        }
        (Query::Open { .. }, Some(read_response::Result::Conversation(mut summary))) => {
            let marks = convert::marks(std::mem::take(&mut summary.marks));
            Body::Conversation { conversation: convert::summary(summary), marks, as_of_index }
        }
        _ => return Err(WireError::new(ErrorCode::Internal, "a replica answered something else")),
    };
    Ok((body, as_of_index))
}

async fn since_page(
    gateway: &Gateway,
    identity: &Identity,
    as_of_index: u64,
    page: rpc::SincePage,
) -> Option<SincePage> {
    let topic = convert::topic_ref(page.topic)?;
    let is_me = topic == quorate_proto::ids::TopicRef::Me;
    let (mut events, mut me) = (Vec::new(), Vec::new());
    for event in page.events {
        if is_me {
            let known = match &event.kind {
                Some(rpc::event::Kind::MeAdded(added)) => {
                    summary(gateway, identity, as_of_index, added.conversation_id).await.ok().flatten()
                }
                _ => None,
            };
            me.extend(convert::me_event(&event, |_| known.map(convert::summary)));
        } else {
            events.extend(convert::conversation_event(event));
        }
    }
    Some(SincePage {
        topic,
        events,
        me,
        more: page.more,
        reset: page.reset,
        skip_to: (page.skip_to != 0).then_some(page.skip_to),
    })
}

/// A conversation's summary; `None` when it is not (or no longer) hers.
async fn summary(
    gateway: &Gateway,
    identity: &Identity,
    min_index: u64,
    conversation: u64,
) -> Result<Option<rpc::ConversationSummary>, ReadError> {
    let query = rpc::ConversationQuery { conversation_id: conversation, marks: false };
    let asked = read_request::Query::Conversation(query);
    let asked = request(min_index, identity.user_id, identity.session.as_bytes(), asked);
    match gateway.reader.read(asked).await {
        Ok(response) => match response.result {
            Some(read_response::Result::Conversation(summary)) => Ok(Some(summary)),
            _ => Ok(None),
        },
        Err(ReadError::Rejected(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// She was added to a conversation: put it on the feed, then read its summary and what came since its base.
pub(super) fn add(
    gateway: Arc<Gateway>,
    identity: Identity,
    subscribing: impl Future<Output = Result<Vec<Subscribed>, crate::hub::NoRoom>> + Send + 'static,
    event: Box<rpc::Event>,
    conversation: u64,
    base_version: u64,
) -> Job {
    Box::pin(async move {
        Done::Added(fill(&gateway, &identity, subscribing, &event, conversation, base_version).await)
    })
}

async fn fill(
    gateway: &Gateway,
    identity: &Identity,
    subscribing: impl Future<Output = Result<Vec<Subscribed>, crate::hub::NoRoom>> + Send,
    event: &rpc::Event,
    conversation: u64,
    base_version: u64,
) -> Result<Added, String> {
    let subscribed = subscribing.await.map_err(|error| error.to_string())?;
    let Some(live) = subscribed.first() else { return Err("no subscription".to_owned()) };
    let min_index = event.index.max(live.complete_from_index);
    let topic = conversation_topic(conversation);
    let known =
        summary(gateway, identity, min_index, conversation).await.map_err(|error| error.to_string())?;
    let mut events = Vec::new();
    let mut version = base_version;
    if known.is_some() {
        for _ in 0..FILL_PAGES_MAX {
            if version >= live.version {
                break;
            }
            let pair = rpc::SincePair { topic: Some(topic), version };
            let asked = read_request::Query::Since(SinceQuery {
                pairs: vec![pair],
                limit: quorate_proto::limits::SINCE_EVENTS_MAX,
            });
            let asked = request(min_index, identity.user_id, identity.session.as_bytes(), asked);
            let response = gateway.reader.read(asked).await.map_err(|error| error.to_string())?;
            let Some(read_response::Result::Since(result)) = response.result else {
                return Err("a replica answered something else".to_owned());
            };
            let Some(page) = result.pages.into_iter().next() else { break };
            let Some(last) = page.events.last() else { break };
            version = last.version;
            events.extend(page.events.into_iter().map(|event| Arc::new(Item::new(event))));
        }
        if version < live.version {
            return Err(format!("{conversation} could not be filled up to version {}", live.version));
        }
    }
    let base = known.is_some().then_some((topic, base_version));
    let seen_after = known.as_ref().map_or(base_version, |known| known.base_version);
    let me = convert::me_event(event, |_| known.map(convert::summary)).ok_or("no `me` event")?;
    Ok(Added { frame: convert::encode(&ServerFrame::push(Body::Me(me))), base, seen_after, events })
}
