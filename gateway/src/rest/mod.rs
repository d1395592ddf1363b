//! What is not a socket: accounts, reads and writes for scripts, health, metrics, the page.
//!
//! Owns paths, statuses and headers of single calls. Must not know sockets or how a replica is reached; bodies come
//! complete and bounded from the server. Every address but the page's files is a row of one table, from which it is
//! served and from which the OpenAPI document is made.

/// The handler of a row: an async function that takes the call.
macro_rules! by {
    ($handler:path) => {
        |call| $handler(call).boxed()
    };
}

mod accounts;
mod admin;
mod bots;
mod cluster;
mod demo;
mod disposition;
mod exports;
mod files;
mod groups;
mod messages;
mod openapi;
mod operator;
mod page;
mod people;
mod problem;
mod rates;
mod reads;
mod route;
mod search;
mod sessions;
mod suggestions;
#[cfg(test)]
mod tests;
mod writes;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use quorate_proto::error::ErrorCode;
use quorate_proto::rest::{
    ChunkStored, ClaimAdmin, Conversations, Directory, FileState, FilesUse, MessagesPage, NewConversation,
    NewFile, NewMember, NewMessage, NewPassword, NewText, OneConversation, Profile, ReadMark, SearchPage,
    SessionGrant, Sessions, SignIn, SignUp, Suggestions, Upload, Written,
};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

pub use exports::Exports;
pub(crate) use problem::{PROBLEM_TYPE, problem_body};
pub use rates::{Addresses, Calls};
pub(crate) use route::BodyStream;
use route::{Access, Answer, Call, READ, Route, WRITE};

use crate::context::Gateway;
use crate::server::OriginPolicy;
use problem::Failure;

/// The table: every address that is served, but for `/ws` and the page's files.
fn table() -> Vec<Route> {
    use ErrorCode::{
        Conflict, Expired, Forbidden, IdConflict, Internal, Invalid, NameTaken, NotFound, Overloaded,
        RateLimited, TooLarge, Unauthenticated, Unavailable, Unsupported,
    };
    const SIGN_UP: &[ErrorCode] = &[
        Invalid,
        NameTaken,
        IdConflict,
        Unauthenticated,
        RateLimited,
        Overloaded,
        Unavailable,
        Internal,
        Expired,
    ];
    const SIGN_IN: &[ErrorCode] = &[Unauthenticated, RateLimited, Overloaded, Unavailable, Internal];
    const FILE: &[ErrorCode] = &[
        Invalid,
        Forbidden,
        NotFound,
        IdConflict,
        Conflict,
        Expired,
        TooLarge,
        Unsupported,
        RateLimited,
        Overloaded,
        Unavailable,
        Internal,
    ];
    const FETCH: &[ErrorCode] =
        &[Invalid, Forbidden, NotFound, RateLimited, Overloaded, Unavailable, Internal];
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let (ok, created) = (StatusCode::OK, StatusCode::CREATED);
    let mut rows = vec![
        Route::new(post.clone(), "/api/v1/accounts", "Sign up", by!(accounts::sign_up))
            .body::<SignUp>()
            .writes()
            .gives::<SessionGrant>(created, "The account and its first session; sets the refresh cookie")
            .errors(SIGN_UP),
        Route::new(post.clone(), "/api/v1/sessions", "Sign in", by!(accounts::sign_in))
            .body::<SignIn>()
            .writes()
            .gives::<SessionGrant>(created, "A session; sets the refresh cookie")
            .errors(SIGN_IN),
        Route::new(post.clone(), "/api/v1/sessions/refresh", "A fresh access token", by!(accounts::refresh))
            .access(Access::Cookie)
            .gives::<SessionGrant>(ok, "The same session with a fresh token")
            .errors(SIGN_IN),
        Route::new(delete.clone(), "/api/v1/sessions/current", "Sign out", by!(accounts::sign_out))
            .access(Access::Bearer)
            .writes()
            .gives_nothing("The session has ended everywhere; the cookie is cleared")
            .errors(WRITE),
        Route::new(get.clone(), "/api/v1/sessions", "The caller's sessions", by!(sessions::list))
            .access(Access::Bearer)
            .gives::<Sessions>(ok, "Those that last")
            .errors(READ),
        Route::new(delete.clone(), "/api/v1/sessions", "End all other sessions", by!(sessions::end_others))
            .access(Access::Bearer)
            .writes()
            .gives_nothing("All but the caller's own are ended")
            .errors(WRITE),
        Route::new(delete.clone(), "/api/v1/sessions/{session}", "End a session", by!(sessions::end))
            .access(Access::Bearer)
            .writes()
            .gives_nothing("It is ended everywhere")
            .errors(WRITE),
        Route::new(put.clone(), "/api/v1/password", "Another password", by!(sessions::set_password))
            .access(Access::Bearer)
            .body::<NewPassword>()
            .writes()
            .gives_nothing("It is in force; all other sessions are ended")
            .errors(WRITE),
        Route::new(post.clone(), "/api/v1/admin/claim", "Become an admin", by!(sessions::claim_admin))
            .access(Access::Bearer)
            .body::<ClaimAdmin>()
            .writes()
            .gives_nothing("The caller is an admin")
            .errors(WRITE),
        Route::new(get.clone(), "/api/v1/me", "The caller's profile", by!(reads::profile))
            .access(Access::Bearer)
            .query::<reads::FreshnessQuery>()
            .gives::<Profile>(ok, "Who calls")
            .errors(READ),
        Route::new(get.clone(), "/api/v1/users", "Users by name", by!(reads::users))
            .access(Access::Bearer)
            .query::<reads::UsersQuery>()
            .gives::<Directory>(ok, "Users in order of name")
            .errors(READ),
        Route::new(get.clone(), "/api/v1/search", "Search messages", by!(search::search))
            .access(Access::Bearer)
            .query::<search::SearchParameters>()
            .gives::<SearchPage>(ok, "Messages that the caller may see")
            .errors(READ),
        Route::new(
            get.clone(),
            "/api/v1/conversations",
            "The caller's conversations",
            by!(reads::conversations),
        )
        .access(Access::Bearer)
        .query::<reads::FreshnessQuery>()
        .gives::<Conversations>(ok, "All of them")
        .errors(READ),
        Route::new(post.clone(), "/api/v1/conversations", "Make a conversation", by!(writes::create))
            .access(Access::Bearer)
            .body::<NewConversation>()
            .writes()
            .gives::<Written>(created, "Made, or found: `conversation` is its number")
            .errors(WRITE),
        Route::new(get.clone(), "/api/v1/conversations/{id}", "One conversation", by!(reads::conversation))
            .access(Access::Bearer)
            .query::<reads::FreshnessQuery>()
            .gives::<OneConversation>(ok, "Its summary")
            .errors(READ),
        Route::new(get.clone(), "/api/v1/conversations/{id}/messages", "Read messages", by!(reads::messages))
            .access(Access::Bearer)
            .query::<reads::MessagesQuery>()
            .gives::<MessagesPage>(ok, "A page, in order of sequence")
            .errors(READ),
        Route::new(post.clone(), "/api/v1/conversations/{id}/messages", "Send a message", by!(writes::send))
            .access(Access::Bearer)
            .body::<NewMessage>()
            .writes()
            .gives::<Written>(created, "Committed")
            .errors(WRITE),
        Route::new(
            put.clone(),
            "/api/v1/conversations/{id}/messages/{sequence}",
            "Edit a message",
            by!(writes::edit),
        )
        .access(Access::Bearer)
        .body::<NewText>()
        .writes()
        .gives::<Written>(ok, "Committed")
        .errors(WRITE),
        Route::new(
            post.clone(),
            "/api/v1/conversations/{id}/members",
            "Add a member",
            by!(writes::add_member),
        )
        .access(Access::Bearer)
        .body::<NewMember>()
        .writes()
        .gives::<Written>(ok, "Committed")
        .errors(WRITE),
        Route::new(
            delete.clone(),
            "/api/v1/conversations/{id}/members/{user}",
            "Remove a member; one's own name leaves",
            by!(writes::remove_member),
        )
        .access(Access::Bearer)
        .writes()
        .gives::<Written>(ok, "Committed")
        .errors(WRITE),
        Route::new(
            put.clone(),
            "/api/v1/conversations/{id}/read",
            "Move the read mark",
            by!(writes::mark_read),
        )
        .access(Access::Bearer)
        .body::<ReadMark>()
        .writes()
        .gives::<Written>(ok, "Committed")
        .errors(WRITE),
        Route::new(get.clone(), "/api/v1/files", "What the caller's files take", by!(files::used))
            .access(Access::Bearer)
            .gives::<FilesUse>(ok, "Bytes and files")
            .errors(READ),
        Route::new(post.clone(), "/api/v1/files", "Begin an upload", by!(files::begin))
            .access(Access::Bearer)
            .body::<NewFile>()
            .gives::<Upload>(created, "Its id, and in which chunks it is sent; nothing is kept of it yet")
            .errors(FILE),
        Route::new(get.clone(), "/api/v1/files/{file}", "A file, or one's own upload", by!(files::state))
            .access(Access::Bearer)
            .query::<files::PlaceQuery>()
            .gives::<FileState>(ok, "What it is; of an upload, which chunks are there")
            .errors(READ),
        Route::new(delete.clone(), "/api/v1/files/{file}", "Delete a file", by!(files::delete))
            .access(Access::Bearer)
            .writes()
            .gives_nothing("It is gone; one that a message shows goes with the message")
            .errors(WRITE),
        Route::new(
            Method::POST,
            "/api/v1/conversations/{id}/suggestions",
            "Suggestions of replies to the newest message",
            by!(suggestions::suggest),
        )
        .access(Access::Bearer)
        .gives::<Suggestions>(ok, "At most three; none where nothing fits")
        .errors(READ),
        Route::new(
            put.clone(),
            "/api/v1/files/{file}/chunks/{number}",
            "Send a chunk",
            by!(files::put_chunk),
        )
        .access(Access::Bearer)
        .streams()
        .gives::<ChunkStored>(ok, "A majority of the replicas has it on disk")
        .errors(FILE),
        Route::new(
            post.clone(),
            "/api/v1/files/{file}/commit",
            "Make a file of an upload",
            by!(files::commit),
        )
        .access(Access::Bearer)
        .body::<NewFile>()
        .writes()
        .gives::<FileState>(created, "It is there, to be shown by a message within a day")
        .errors(FILE),
        Route::new(put.clone(), "/api/v1/files/{file}/content", "Send a whole file", by!(files::put_whole))
            .access(Access::Bearer)
            .query::<files::NameQuery>()
            .streams()
            .writes()
            .gives::<FileState>(
                created,
                "It is there; the id is the caller's choice, and makes a repetition harmless",
            )
            .errors(FILE),
        Route::new(get.clone(), "/api/v1/files/{file}/content", "A file's bytes", by!(files::content))
            .access(Access::Bearer)
            .query::<files::ContentQuery>()
            .gives_bytes("All of them", &[206, 304, 416])
            .errors(FETCH),
        Route::new(get.clone(), "/api/v1/files/{file}/thumbnail", "A small image", by!(files::thumbnail))
            .access(Access::Bearer)
            .query::<files::PlaceQuery>()
            .gives_bytes("PNG or JPEG, at most 320 pixels high and wide", &[304])
            .errors(FETCH),
        Route::new(get.clone(), "/openapi.json", "This document", by!(openapi::serve))
            .gives_text("application/json", "OpenAPI 3.1"),
        Route::new(get.clone(), "/healthz", "Whether the process lives", by!(operator::health))
            .gives_text("application/json", "It does")
            .probe(),
        Route::new(get.clone(), "/readyz", "Whether a balancer may send people here", by!(operator::ready))
            .gives_text("application/json", "It may")
            .errors(&[Unavailable])
            .probe(),
        Route::new(get.clone(), "/statusz", "How the gateway sees itself", by!(operator::status))
            .gives_text("application/json", "In words and numbers")
            .probe(),
        Route::new(get, "/metrics", "Metrics", by!(operator::metrics))
            .gives_text("application/openmetrics-text", "OpenMetrics")
            .probe(),
    ];
    rows.extend(messages::rows());
    rows.extend(groups::rows());
    rows.extend(people::rows());
    rows.extend(admin::rows());
    rows.extend(cluster::rows());
    rows.extend(bots::rows());
    rows.extend(demo::rows());
    rows.extend(exports::rows());
    rows
}

/// How a call was served, in the extensions of its answer: for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    /// The route's pattern; a path of its own might hold names.
    pub(crate) route: &'static str,
    /// Whose call it was, 0 when that is not known.
    pub(crate) user_id: u64,
    /// A balancer's question.
    pub(crate) is_probe: bool,
}

/// Where a request comes from, in its extensions; nobody, where addresses are not counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) Option<IpAddr>);

/// What a request has beside its parts, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Where it comes from.
    pub(crate) client: Client,
    /// Its body, where a route reads that as it comes.
    pub(crate) stream: Option<BodyStream>,
}

/// In the extensions of an answer whose body is somebody's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed;

/// The routes whose bodies are read as they come.
pub(crate) struct Streams(Vec<Route>);

impl Streams {
    pub(crate) fn new() -> Self {
        Self(table().into_iter().filter(|route| route.streams).collect())
    }

    /// Whether a request is for one of them.
    pub(crate) fn take(&self, method: &Method, path: &str) -> bool {
        self.0.iter().any(|route| route.method == *method && route.places(path).is_some())
    }
}

/// What answers: the table, and the page behind it.
struct Api {
    gateway: Arc<Gateway>,
    origins: Arc<OriginPolicy>,
    table: Vec<Route>,
}

impl Api {
    async fn answer(
        &self,
        method: Method,
        path: FullPath,
        query: String,
        headers: HeaderMap,
        body: Bytes,
        sent: Sent,
    ) -> Response {
        let path = path.as_str();
        let mut at_path: Vec<_> =
            self.table.iter().filter_map(|route| Some((route, route.places(path)?))).collect();
        // What stands there literally hides what varies.
        let fewest = at_path.iter().map(|(_, places)| places.len()).min().unwrap_or(0);
        at_path.retain(|(_, places)| places.len() == fewest);
        let mut allowed: Vec<&str> = Vec::new();
        let is_head = method == Method::HEAD;
        let wanted = if is_head { &Method::GET } else { &method };
        for (route, places) in at_path {
            if route.method == *wanted {
                let Sent { client, stream } = sent;
                let call = Call {
                    gateway: Arc::clone(&self.gateway),
                    origins: Arc::clone(&self.origins),
                    headers,
                    body,
                    stream,
                    query,
                    places,
                    caller: Arc::new(AtomicU64::new(0)),
                    client,
                    is_head,
                };
                return serve(route, call).await;
            }
            allowed.push(route.method.as_str());
        }
        let (route, response) = if !allowed.is_empty() {
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            ("", problem::wrong_method(&allowed.join(", ")))
        } else if *wanted == Method::GET {
            let dir = self.gateway.config.page_dir.as_deref();
            match page::answer(dir, path, &headers).await {
                Some(response) => ("page", response),
                None => ("", problem::nothing_here().into_response()),
            }
        } else {
            ("", problem::nothing_here().into_response())
        };
        noted(response, Served { route, user_id: 0, is_probe: false })
    }
}

async fn serve(route: &Route, call: Call) -> Response {
    let caller = Arc::clone(&call.caller);
    let response = (route.handler)(call).await.unwrap_or_else(Failure::into_response);
    let status = response.status().as_u16();
    if !route.statuses().contains(&status) {
        // The document would be wrong: a defect, looked for by the tests.
        tracing::error!(method = %route.method, route = route.path, status, "an undocumented status");
    }
    let user_id = caller.load(Ordering::Relaxed);
    noted(response, Served { route: route.path, user_id, is_probe: route.is_probe })
}

fn noted(mut response: Response, served: Served) -> Response {
    response.extensions_mut().insert(served);
    response
}

/// Everything that is served over HTTP but for the socket.
pub(crate) fn routes(gateway: Arc<Gateway>, origins: Arc<OriginPolicy>) -> BoxedFilter<(Response,)> {
    let api = Arc::new(Api { gateway, origins, table: table() });
    warp::any()
        .map(move || Arc::clone(&api))
        .and(warp::method())
        .and(warp::path::full())
        .and(query())
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .and(warp::ext::get())
        .then(|api: Arc<Api>, method, path, query, headers, body, sent| async move {
            api.answer(method, path, query, headers, body, sent).await
        })
        .recover(|_| async { Ok::<_, Infallible>(problem::nothing_here().into_response()) })
        .unify()
        .boxed()
}

/// The raw query string; empty without one.
fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

fn json<T: serde::Serialize>(status: StatusCode, body: &T) -> Response {
    let text = serde_json::to_string(body).expect("answers hold no map with other keys than text");
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers of the interface are somebody's own.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
