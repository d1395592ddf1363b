//! From `hello` to `welcome`.
//!
//! Owns the order that makes a resume exact: put the topics on the feed first, read what was missed after that, deliver
//! what was read, and only then what was pushed meanwhile. (The opposite order loses what falls between.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_proto::error::{CloseCode, ErrorCode};
use quorate_proto::frame::{Body, Hello, Resume, ServerFrame, Welcome};
use quorate_proto::ids::{TopicRef, Version};
use quorate_proto::rpc::{
    self, OpenQuery, OpenResult, ReadRequest, TokenScope, Topic, read_request, read_response,
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::admission::JITTER_MS;
use super::effect::Farewell;
use super::outbox::Outbox;
use super::users::Ticket;
use crate::auth::{Identity, TokenError};
use crate::clock::chance;
use crate::context::Gateway;
use crate::convert::{self, conversation_topic, me_topic};
use crate::hub::Subscriber;
use crate::reads::{ReadError, request};

/// Opening in all: two elections and a read.
const OPEN_WAIT: Duration = Duration::from_secs(15);
/// How long an opening waits for its replica to be as new as what this gateway has answered: followers hear of a commit within a heartbeat.
/// One that lags for longer is taken as it is, and left by the feed.
const FRESH_WAIT: Duration = Duration::from_millis(500);
/// Each round adds the conversations that came up since the one before.
const ROUNDS_MAX: usize = 8;
/// What a client is told to wait when no replica serves it, ms.
const RETRY_MS: u64 = 1_000;

/// The text of a program's token. Not shown by `Debug`.
#[derive(Clone)]
pub(super) struct Held(pub(super) String);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// A session about to begin.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) identity: Identity,
    /// A program's token, looked at again for as long as the session lasts.
    pub(super) token: Option<Held>,
    pub(super) ticket: Ticket,
    pub(super) subscriber: Subscriber,
    /// `welcome` first, then what was missed, in log order.
    pub(super) frames: Vec<Utf8Bytes>,
    /// How many of them are gaps.
    pub(super) gaps: usize,
    pub(super) resumed: bool,
    pub(super) versions: HashMap<Topic, Version>,
    pub(super) bases: HashMap<Topic, Version>,
    pub(super) position: u64,
    pub(super) seen: u64,
}

/// Opens a session, or says why not. `client` is the address by which wrong tokens of programs are counted.
pub(super) async fn open(
    gateway: Arc<Gateway>,
    hello_id: u64,
    hello: Box<Hello>,
    outbox: Outbox,
    client: Option<IpAddr>,
) -> Result<Box<Opened>, Farewell> {
    match timeout(OPEN_WAIT, open_slowly(gateway, hello_id, *hello, outbox, client)).await {
        Ok(result) => result.map(Box::new),
        Err(_) => Err(no_replica("opening took too long")),
    }
}

fn no_replica(reason: &str) -> Farewell {
    Farewell::new(CloseCode::Internal, format!("no replica serves this session now: {reason}"))
        .retry_after(RETRY_MS)
}

/// What `hello` asked, without a person's token.
struct Caller {
    hello_id: u64,
    /// A program's token.
    token: Option<String>,
    /// Where the client stands, in this cluster.
    resume: Option<Resume>,
    have: BTreeMap<String, Version>,
}

/// What was read.
struct Found {
    result: OpenResult,
    as_of: u64,
    log_time: u64,
}

async fn open_slowly(
    gateway: Arc<Gateway>,
    hello_id: u64,
    hello: Hello,
    outbox: Outbox,
    client: Option<IpAddr>,
) -> Result<Opened, Farewell> {
    let now_ms = u64::try_from(gateway.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let entered = gateway.admission.lock().expect("no holder of this lock panics").enter(
        now_ms,
        chance(JITTER_MS),
        chance(u64::MAX),
    );
    if let Err(retry_ms) = entered {
        gateway.metrics.sessions_postponed.inc();
        let reason = "too many sessions begin at once: come again in a moment";
        return Err(Farewell::new(CloseCode::TooManyRequests, reason).retry_after(retry_ms));
    }
    let verified = match gateway.holder(client, &hello.token).await {
        Ok(verified) => verified.map_err(|error| match error {
            TokenError::Unavailable => no_replica("the token cannot be checked"),
            TokenError::Expired => Farewell::new(CloseCode::TokenExpired, error.to_string()),
            TokenError::Invalid(_) => Farewell::new(CloseCode::BadToken, error.to_string()),
        }),
        Err(limited) => Err(Farewell::new(CloseCode::TooManyRequests, limited.message)
            .retry_after(limited.retry_ms.unwrap_or(RETRY_MS))),
    };
    // Whoever may not read has nothing to hear.
    let may_read = |identity: &Identity| {
        let checked = identity.check(TokenScope::Read);
        checked.map_err(|error| Farewell::new(CloseCode::BadToken, error.message))
    };
    let identity =
        verified.and_then(|identity| may_read(&identity).map(|()| identity)).inspect_err(|_| {
            gateway.admission.lock().expect("no holder of this lock panics").give_back();
        })?;
    let token = (identity.scopes != 0).then_some(hello.token);
    // A position of another cluster says nothing here.
    let resume = hello.resume.filter(|resume| resume.cluster == gateway.config.cluster);
    let caller = Caller { hello_id, token, resume, have: hello.have };
    let Some(ticket) = gateway.users.enter(identity.user_id, caller.resume.is_some()) else {
        return Err(Farewell::new(CloseCode::TooManySockets, "too many sockets of this user"));
    };
    let Some(subscriber) = gateway.hub.join(outbox).await else {
        return Err(no_replica("the hub has ended"));
    };
    let found = subscribe_and_read(&gateway, &identity, &subscriber, caller.resume.as_ref()).await?;
    Ok(begin(&gateway, caller, identity, ticket, subscriber, found))
}

/// Subscribes to what the user has and reads it, until what was read knows everything that the feed does not bring.
async fn subscribe_and_read(
    gateway: &Gateway,
    identity: &Identity,
    subscriber: &Subscriber,
    resume: Option<&Resume>,
) -> Result<Found, Farewell> {
    let subscribe = async |topics: Vec<Topic>| {
        let live = subscriber.subscribe(topics).await.map_err(|error| no_replica(&error.to_string()))?;
        Ok(live.iter().map(|topic| topic.complete_from_index).max().unwrap_or(0))
    };
    let me = me_topic(identity.user_id);
    let mut complete_from: u64 = subscribe(vec![me]).await?;
    let mut subscribed: HashSet<Topic> = HashSet::new();
    // A client with a position says what it has seen. One without may have written by REST a moment ago: the feed would bring that
    // in time, but for names, which come with no event of their own.
    let mut wanted = gateway.reader.known_index();
    for _ in 0..ROUNDS_MAX {
        let found = read_open(gateway, identity, resume, complete_from, &mut wanted).await?;
        let now: HashSet<Topic> =
            found.result.conversations.iter().map(|each| conversation_topic(each.id)).collect();
        let missing: Vec<Topic> = now.difference(&subscribed).copied().collect();
        if !missing.is_empty() {
            subscribed.extend(&missing);
            complete_from = complete_from.max(subscribe(missing).await?);
        }
        if found.as_of >= complete_from {
            // She left these while the session opened.
            subscriber.unsubscribe(subscribed.difference(&now).copied().collect());
            return Ok(found);
        }
    }
    Err(no_replica("conversations change faster than they can be read"))
}

/// Reads what the session begins with, as of `wanted` at least if some replica has come so far. `wanted` is given up, and is 0 then,
/// where none has: what is left of the replicas without a majority may lack the newest entries, and can still be read.
async fn read_open(
    gateway: &Gateway,
    identity: &Identity,
    resume: Option<&Resume>,
    complete_from: u64,
    wanted: &mut u64,
) -> Result<Found, Farewell> {
    let after_index = resume.map(|resume| resume.position);
    let events_max = gateway.config.limits.resume_events_max;
    let query = read_request::Query::Open(OpenQuery { after_index, events_max });
    let floor = resume.map_or(0, |resume| resume.seen.max(resume.position));
    let needed = complete_from.max(floor);
    let mut asked = request(needed, identity.user_id, identity.session.as_bytes(), query);
    let fresh = if *wanted > needed {
        let asked = ReadRequest { min_index: *wanted, ..asked.clone() };
        timeout(FRESH_WAIT, gateway.reader.read(asked)).await.ok()
    } else {
        None
    };
    let mut response = match fresh {
        Some(Ok(found)) => Ok(found),
        Some(Err(ReadError::Rejected(rejected))) => Err(ReadError::Rejected(rejected)),
        _ => {
            *wanted = 0;
            gateway.reader.read(asked.clone()).await
        }
    };
    if matches!(response, Err(ReadError::Rejected(_))) {
        // A replica that lags does not know a young session yet: believe a refusal only of the newest state. While that
        // cannot be had, the client comes again; it must not be told to stop.
        asked = ReadRequest { linearizable: true, ..asked };
        response = gateway.reader.read(asked).await;
    }
    let response = response.map_err(|error| match error {
        ReadError::Behind if resume.is_some() && floor > gateway.reader.known_index() => {
            Farewell::new(CloseCode::PositionInvalid, format!("no replica has reached position {floor}"))
                .retry_after(RETRY_MS)
        }
        ReadError::Rejected(rejected) => match ErrorCode::from_word(&rejected.code) {
            ErrorCode::Internal | ErrorCode::Overloaded | ErrorCode::Unavailable => {
                no_replica(&rejected.message)
            }
            _ => Farewell::new(CloseCode::Revoked, rejected.message),
        },
        other => no_replica(&other.to_string()),
    })?;
    match response.result {
        Some(read_response::Result::Open(result)) => {
            Ok(Found { result, as_of: response.as_of_index, log_time: response.log_time_ms })
        }
        _ => Err(no_replica("a replica answered something else")),
    }
}

fn begin(
    gateway: &Gateway,
    caller: Caller,
    identity: Identity,
    ticket: Ticket,
    subscriber: Subscriber,
    found: Found,
) -> Opened {
    let Caller { hello_id, token, resume, have } = caller;
    let Found { result, as_of, log_time } = found;
    let OpenResult { user, conversations, me_version, resumed, events } = result;
    let seen = resume.map_or(0, |resume| resume.seen.max(resume.position));
    let bases = conversations
        .iter()
        .filter(|conversation| conversation.base_version != 0)
        .map(|conversation| (conversation_topic(conversation.id), conversation.base_version))
        .collect();
    let conversations: Vec<_> = conversations.into_iter().map(convert::summary).collect();
    let mut versions: HashMap<Topic, Version> = conversations
        .iter()
        .map(|conversation| (conversation_topic(conversation.id), conversation.version))
        .collect();
    versions.insert(me_topic(identity.user_id), me_version);

    let missed = missed(events, &conversations);
    let gaps = gaps(&have, &versions, identity.user_id);
    let gaps_count = gaps.len();
    let mut limits = gateway.config.limits.clone();
    limits.sockets_per_user_max = gateway.config.sockets_per_user_max;
    let welcome = Welcome {
        session: identity.session.to_string(),
        user: convert::user(user),
        cluster: gateway.config.cluster.clone(),
        gateway: gateway.config.name.clone(),
        index: as_of,
        resumed,
        ping_ms: gateway.config.ping_interval_ms,
        limits,
        write: gateway.leader.write().borrow().frame(Instant::now()).write,
        log_time,
        me_version,
        conversations,
    };
    let welcome = Body::Welcome(Box::new(welcome));
    // It answers `hello`; one without a number gets it without.
    let welcome =
        if hello_id == 0 { ServerFrame::push(welcome) } else { ServerFrame::reply(hello_id, welcome) };
    let frames = std::iter::once(welcome).chain(missed).chain(gaps).map(|frame| convert::encode(&frame));
    Opened {
        frames: frames.collect(),
        gaps: gaps_count,
        resumed,
        identity,
        token: token.map(Held),
        ticket,
        subscriber,
        versions,
        bases,
        position: as_of,
        seen: seen.max(as_of),
    }
}

/// The missed events as frames, in the order in which they were read.
fn missed(
    events: Vec<rpc::Event>,
    conversations: &[quorate_proto::frame::ConversationSummary],
) -> Vec<ServerFrame> {
    events
        .into_iter()
        .filter_map(|event| {
            let is_me = event.topic.is_some_and(|topic| topic.kind() == rpc::topic::Kind::Me);
            let body = if is_me {
                let known = |id| conversations.iter().find(|conversation| conversation.id == id).cloned();
                Body::Me(convert::me_event(&event, known)?)
            } else {
                Body::Event(convert::conversation_event(event)?)
            };
            Some(ServerFrame::push(body))
        })
        .collect()
}

/// Topics that the client let go before and that a resume from its position does not bring back: it asks `since`.
fn gaps(
    have: &BTreeMap<String, Version>,
    versions: &HashMap<Topic, Version>,
    user_id: u64,
) -> Vec<ServerFrame> {
    have.iter()
        .filter_map(|(name, last)| {
            let topic = match name.as_str() {
                "me" => TopicRef::Me,
                number => TopicRef::Conversation(number.parse().ok()?),
            };
            let now = *versions.get(&convert::topic_of(topic, user_id))?;
            (now > *last)
                .then(|| ServerFrame::push(Body::Gap { topic, from_version: last + 1, to_version: now }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_let_go_before_is_named_as_a_gap() {
        let versions = [(conversation_topic(3), 9), (me_topic(7), 4)].into();
        let have =
            [("3".to_owned(), 5), ("me".to_owned(), 4), ("8".to_owned(), 1), ("x".to_owned(), 1)].into();
        let gaps = gaps(&have, &versions, 7);
        let expected = Body::Gap { topic: TopicRef::Conversation(3), from_version: 6, to_version: 9 };
        assert_eq!(gaps, [ServerFrame::push(expected)]);
    }
}
