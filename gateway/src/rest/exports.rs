//! Everything of a conversation, of the caller's account, or for an admin, in one answer: read page by page while it is sent.
//!
//! Owns how many are made at a time and at whose pace. A page waits until the one before was taken, so that an export
//! holds a few pages however long it is, and whoever takes nothing is let go. That it ends early is seen by the reader: the
//! transfer breaks off, and the last line is missing.

mod admin;
mod html;
mod lines;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{ConversationSummary, Event};
use quorate_proto::ids::UserId;
use quorate_proto::rpc::{self, ReadResponse, history_query, read_request, read_response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use warp::Reply as _;
use warp::reply::Response;

use super::reads::{FreshnessQuery, ask, fresh, something_else};
use super::route::{Access, READ, Route};
use super::{Answer, Call};
use crate::auth::Identity;
use crate::command::read_error;
use crate::context::Gateway;
use crate::convert;
use crate::reads::request;

/// Exports of this gateway at a time: each keeps a replica reading.
const EXPORTS_MAX: usize = 8;
/// What a caller is told to wait when there are as many, ms.
const BUSY_RETRY_MS: u64 = 5_000;
/// Pages that wait for the socket: one is sent while the next is read.
const PAGES_WAITING_MAX: usize = 1;
/// Messages in one page of the reads.
const PAGE_MESSAGES: u32 = 100;
/// Who takes nothing for this long is let go.
const STALLED_WAIT: Duration = Duration::from_secs(60);

/// What an export may be refused with.
const EXPORT: &[ErrorCode] = &[
    ErrorCode::Invalid,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::RateLimited,
    ErrorCode::Overloaded,
    ErrorCode::Unavailable,
    ErrorCode::Internal,
];

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    debug_assert!(READ.iter().all(|code| EXPORT.contains(code)), "an export is a read");
    let mut rows = vec![
        Route::new(
            Method::GET,
            "/api/v1/conversations/{id}/export",
            "Everything of a conversation",
            by!(conversation),
        )
        .access(Access::Bearer)
        .query::<ExportQuery>()
        .gives_text(lines::MEDIA, "One object a line")
        .gives_text(html::MEDIA, "A page to be read, or printed")
        .errors(EXPORT),
        Route::new(Method::GET, "/api/v1/me/export", "Everything of one's own account", by!(account))
            .access(Access::Bearer)
            .query::<FreshnessQuery>()
            .gives_text(lines::MEDIA, "One object a line")
            .errors(EXPORT),
        Route::new(Method::GET, "/api/v1/admin/export", "Users, groups, reports and audit log", by!(site))
            .access(Access::Bearer)
            .query::<FreshnessQuery>()
            .gives_text(lines::MEDIA, "One object a line")
            .errors(EXPORT),
    ];
    rows.extend(admin::rows());
    rows
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// JSON Lines.
    #[default]
    Jsonl,
    /// A page.
    Html,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// `jsonl` when absent.
    #[serde(default)]
    format: Format,
    /// The answer is not older than this index.
    min_index: Option<u64>,
}

/// Whose exports are under way.
#[derive(Debug, Default)]
pub struct Exports {
    users: Arc<Mutex<HashSet<UserId>>>,
}

/// A place among them; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    users: Arc<Mutex<HashSet<UserId>>>,
    user: UserId,
}

impl Exports {
    pub(super) fn enter(&self, user: UserId) -> Result<Place, WireError> {
        let mut users = self.users.lock().expect("no holder of this lock panics");
        if users.contains(&user) {
            let message = "an export of yours is under way: let it end first";
            return Err(WireError::new(ErrorCode::RateLimited, message).retry_after(BUSY_RETRY_MS));
        }
        if users.len() >= EXPORTS_MAX {
            let message = "too many exports are under way";
            return Err(WireError::new(ErrorCode::Overloaded, message).retry_after(BUSY_RETRY_MS));
        }
        users.insert(user);
        Ok(Place { users: Arc::clone(&self.users), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.users.lock().expect("no holder of this lock panics").remove(&self.user);
    }
}

/// Why an export ends before its end; the transfer breaks off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the reader is gone, or takes nothing")]
    Reader,
    #[error("{}", .0.message)]
    Read(WireError),
}

type Chunk = Result<Bytes, std::io::Error>;

/// Reads for one caller, and hands on what is written.
struct Export {
    gateway: Arc<Gateway>,
    identity: Identity,
    min_index: u64,
    chunks: mpsc::Sender<Chunk>,
}

impl Export {
    async fn write(&self, text: String) -> Result<(), Broken> {
        if text.is_empty() {
            return Ok(());
        }
        match timeout(STALLED_WAIT, self.chunks.send(Ok(Bytes::from(text)))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Broken::Reader),
        }
    }

    async fn read(&self, query: read_request::Query) -> Result<ReadResponse, Broken> {
        let (user, session) = (self.identity.user_id, self.identity.session);
        let asked = request(self.min_index, user, session.as_bytes(), query);
        self.gateway.reader.read(asked).await.map_err(|error| Broken::Read(read_error(error)))
    }

    /// The messages of a conversation after one of them, and whether more follow.
    async fn page(&self, conversation_id: u64, after: u64) -> Result<(Vec<Event>, bool), Broken> {
        let from = Some(history_query::From::After(after));
        let asked = rpc::HistoryQuery { conversation_id, limit: PAGE_MESSAGES, from, as_admin: false };
        match self.read(read_request::Query::History(asked)).await?.result {
            Some(read_response::Result::History(found)) => {
                let messages = found.messages.into_iter().filter_map(convert::conversation_event).collect();
                Ok((messages, found.more_after))
            }
            _ => Err(unexpected()),
        }
    }

    /// Every message of a conversation that the reader may see, in order; how many.
    async fn messages(
        &self,
        conversation: u64,
        mut write: impl FnMut(&Event, &mut String),
    ) -> Result<u64, Broken> {
        let (mut after, mut count) = (0, 0);
        loop {
            let (page, more) = self.page(conversation, after).await?;
            let mut text = String::new();
            for event in &page {
                write(event, &mut text);
                count += 1;
            }
            let last = page.last().and_then(sequence_of);
            self.write(text).await?;
            match last {
                // Each page must bring it on: no answer of a replica makes this a ring.
                Some(last) if more && last > after => after = last,
                _ => return Ok(count),
            }
        }
    }
}

fn sequence_of(event: &Event) -> Option<u64> {
    match &event.kind {
        quorate_proto::frame::EventKind::Message(message) => Some(message.sequence),
        _ => None,
    }
}

fn unexpected() -> Broken {
    Broken::Read(WireError::new(ErrorCode::Internal, "a replica answered something else"))
}

/// One line of JSON.
fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("lines hold no map with other keys than text");
    text.push('\n');
    text
}

/// Begins an answer whose chunks `work` makes.
fn stream<W>(
    call: &Call,
    identity: Identity,
    min_index: u64,
    form: (&'static str, &str),
    work: impl FnOnce(Export) -> W,
) -> Answer
where
    W: Future<Output = Result<(), Broken>> + Send + 'static,
{
    let place = call.gateway.exports.enter(identity.user_id)?;
    stream_at(place, call, identity, min_index, form, work)
}

/// The same at a place that was taken before.
fn stream_at<W>(
    place: Place,
    call: &Call,
    identity: Identity,
    min_index: u64,
    form: (&'static str, &str),
    work: impl FnOnce(Export) -> W,
) -> Answer
where
    W: Future<Output = Result<(), Broken>> + Send + 'static,
{
    let (chunks, sent) = mpsc::channel(PAGES_WAITING_MAX);
    let user = identity.user_id;
    let export = Export { gateway: Arc::clone(&call.gateway), identity, min_index, chunks: chunks.clone() };
    let work = work(export);
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = work.await {
            tracing::info!(user, %error, "an export broke off");
            // The transfer ends without its end, so that nobody takes it for whole.
            let broken = std::io::Error::other("the export broke off");
            let _ = timeout(STALLED_WAIT, chunks.send(Err(broken))).await;
        }
    });
    Ok(described(warp::reply::stream(ReceiverStream::new(sent)).into_response(), form))
}

/// What every export says of itself: its media type, and the name under which it is kept.
fn described(mut response: Response, (media, name): (&'static str, &str)) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let disposition = format!("attachment; filename=\"{name}\"");
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    *response.status_mut() = StatusCode::OK;
    response
}

async fn conversation(call: Call) -> Answer {
    let identity = call.identity().await?;
    let ExportQuery { format, min_index } = call.query()?;
    let id = call.number(0)?;
    // Before anything is sent: is it hers?
    let asked = rpc::ConversationQuery { conversation_id: id, marks: false };
    let asked = read_request::Query::Conversation(asked);
    let response = ask(&call, &identity, min_index, asked).await?;
    let as_of_index = response.as_of_index;
    let Some(read_response::Result::Conversation(found)) = response.result else {
        return Err(something_else());
    };
    let summary: ConversationSummary = convert::summary(found);
    match format {
        Format::Jsonl => {
            let name = format!("conversation-{id}.jsonl");
            stream(&call, identity, as_of_index, (lines::MEDIA, &name), move |export| async move {
                let messages = lines::conversation(&export, &summary).await?;
                export.write(lines::end(messages)).await
            })
        }
        Format::Html => {
            let name = format!("conversation-{id}.html");
            stream(&call, identity, as_of_index, (html::MEDIA, &name), move |export| async move {
                html::conversation(&export, &summary).await
            })
        }
    }
}

async fn account(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let min_index = fresh(&call, &identity, min_index).await?;
    let sessions = call.gateway.accounts.sessions(&identity).await?;
    stream(&call, identity, min_index, (lines::MEDIA, "account.jsonl"), move |export| async move {
        lines::account(&export, sessions).await
    })
}

/// What admins can list, of the whole site; what is said in conversations they are given by calls of their own, which are recorded.
async fn site(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    // Before anything is sent: may she?
    let first = rpc::AdminUsersQuery { limit: 1, ..rpc::AdminUsersQuery::default() };
    let response = ask(&call, &identity, min_index, read_request::Query::AdminUsers(first)).await?;
    let work = |export: Export| async move { lines::site(&export).await };
    stream(&call, identity, response.as_of_index, (lines::MEDIA, "site.jsonl"), work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_have_places_one_a_user_and_give_them_back() {
        let exports = Exports::default();
        let mut places: Vec<Place> =
            (1..=EXPORTS_MAX as u64).map(|user| exports.enter(user).unwrap()).collect();
        assert_eq!(exports.enter(1).unwrap_err().code, ErrorCode::RateLimited);
        assert_eq!(exports.enter(99).unwrap_err().code, ErrorCode::Overloaded);
        places.clear();
        assert!(exports.enter(1).is_ok());
    }
}
