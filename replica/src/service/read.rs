//! Reads: questions about the state at one index. Who may see what is decided here, from the state itself.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{
    HISTORY_MESSAGES_MAX, PAGE_BYTES_MAX, RESUME_EVENTS_MAX, SINCE_EVENTS_MAX, SINCE_PAIRS_MAX,
    SUMMARY_MEMBERS_MAX,
};
use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::read_response::Result as Answer;
use quorate_proto::rpc::{
    ConversationSummary, CredentialsResult, DirectoryQuery, DirectoryResult, Event, HistoryQuery,
    HistoryResult, KeysResult, OpenQuery, OpenResult, PublicKey, ReadRequest, ReadResponse, Rejected,
    SessionInfo, SessionsResult, SincePage, SincePair, SinceQuery, SinceResult, Topic, UserRef,
    history_query, topic,
};
use quorate_proto::text;

use crate::machine::records::Member;
use crate::machine::{Tables, join};
use crate::planted::{self, Bug};
use crate::signals::Signals;
use crate::store::{Reader, Space, Store, StoreError};

/// Names looked at for one directory search: bounds a pattern that matches little.
const NAMES_SCANNED_MAX: usize = 10_000;
/// Users in one answer of the directory.
const DIRECTORY_USERS_MAX: u32 = 100;
/// Versions read at once when walking back from a topic's end.
const WALK_CHUNK: u64 = 128;

enum Refusal {
    Rejected(ErrorCode, &'static str),
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Refusal::Store(error)
    }
}

const NOT_A_MEMBER: Refusal = Refusal::Rejected(ErrorCode::NotFound, "you are not in this conversation");

/// Answers a read from the state as it is now.
///
/// # Errors
/// When the disk fails.
pub(super) fn answer(
    store: &Store,
    signals: &Signals,
    request: ReadRequest,
) -> Result<ReadResponse, StoreError> {
    let state = store.read();
    let (as_of_index, log_time_ms) = (state.applied().index().unwrap_or(0), state.applied().log_time_ms);
    let result = match decide(&state, signals, request) {
        Ok(result) => result,
        Err(Refusal::Rejected(code, message)) => Answer::Rejected(Rejected {
            code: code.word().to_owned(),
            message: message.to_owned(),
            revision: None,
        }),
        Err(Refusal::Store(error)) => return Err(error),
    };
    Ok(ReadResponse { as_of_index, log_time_ms, result: Some(result) })
}

fn decide(state: &Reader<'_>, signals: &Signals, request: ReadRequest) -> Result<Answer, Refusal> {
    let Some(query) = request.query else {
        return Err(Refusal::Rejected(ErrorCode::Unsupported, "this replica does not know the query"));
    };
    let user = request.user_id;
    // A gateway asks these for itself, before there is a user, or for its own feed.
    match query {
        Query::Credentials(query) => return Ok(Answer::Credentials(credentials(state, &query.name)?)),
        Query::Keys(_) => return Ok(Answer::Keys(keys(state)?)),
        Query::Since(query) if user == 0 => return Ok(Answer::Since(since(state, None, query)?)),
        _ => {}
    }
    check_session(state, user, &request.session_id)?;
    match query {
        Query::Open(query) => Ok(Answer::Open(open(state, user, &query)?)),
        Query::History(query) => Ok(Answer::History(history(state, user, &query)?)),
        Query::Since(query) => Ok(Answer::Since(since(state, Some(user), query)?)),
        Query::Directory(query) => Ok(Answer::Directory(directory(state, &query)?)),
        Query::Conversation(query) => {
            let id = query.conversation_id;
            let member = state.member(id, user)?.filter(Member::is_present).ok_or(NOT_A_MEMBER)?;
            let mut found = summary(state, user, id, &member)?.ok_or(NOT_A_MEMBER)?;
            if query.marks {
                found.marks = signals.marks(state, id)?;
            }
            Ok(Answer::Conversation(found))
        }
        Query::Sessions(_) => Ok(Answer::Sessions(sessions(state, user)?)),
        Query::Password(_) => Ok(Answer::Password(credentials_of(state, user)?)),
        Query::Credentials(_) | Query::Keys(_) => unreachable!("answered above"),
    }
}

fn check_session(state: &Reader<'_>, user: u64, session_id: &Bytes) -> Result<(), Refusal> {
    match state.session(session_id)? {
        Some(session) if session.user_id == user && session.ended_ms == 0 => Ok(()),
        _ => Err(Refusal::Rejected(ErrorCode::Unauthenticated, "this session has ended: sign in again")),
    }
}

fn credentials(state: &Reader<'_>, name: &str) -> Result<CredentialsResult, StoreError> {
    let Some(user_id) = state.user_id(name)? else { return Ok(CredentialsResult::default()) };
    credentials_of(state, user_id)
}

fn credentials_of(state: &Reader<'_>, user_id: u64) -> Result<CredentialsResult, StoreError> {
    let user = state.user(user_id)?.ok_or_else(|| StoreError::damaged("a user name leads nowhere"))?;
    let (name, display_name, password_phc) = (user.name, user.display_name, user.password_phc);
    Ok(CredentialsResult { user_id, name, display_name, password_phc, ..CredentialsResult::default() })
}

fn sessions(state: &Reader<'_>, user: u64) -> Result<SessionsResult, StoreError> {
    let mut sessions: Vec<SessionInfo> = state
        .sessions_of(user, usize::MAX)?
        .into_iter()
        .map(|(id, session)| SessionInfo {
            session_id: Bytes::copy_from_slice(&id),
            device: session.device,
            created_ms: session.created_ms,
            refreshed_ms: session.refreshed_ms.max(session.created_ms),
        })
        .collect();
    sessions.sort_by(|a, b| (a.created_ms, &a.session_id).cmp(&(b.created_ms, &b.session_id)));
    Ok(SessionsResult { sessions })
}

fn keys(state: &Reader<'_>) -> Result<KeysResult, StoreError> {
    let keys = state.signing_keys()?.into_iter();
    Ok(KeysResult { keys: keys.map(|key| PublicKey { kid: key.kid, public_key: key.public_key }).collect() })
}

fn directory(state: &Reader<'_>, query: &DirectoryQuery) -> Result<DirectoryResult, StoreError> {
    let pattern = query.pattern.trim().to_lowercase();
    let prefix = pattern.split('*').next().unwrap_or_default();
    let limit = query.limit.clamp(1, DIRECTORY_USERS_MAX) as usize;
    // Names begin with an ASCII letter or digit; 0x7f is above every character of a name.
    let mut end = prefix.as_bytes().to_vec();
    end.truncate(quorate_proto::limits::NAME_CHARS_MAX);
    let from = String::from_utf8_lossy(&end).into_owned();
    end.push(0x7f);
    let mut users = Vec::new();
    for (name, id) in state.names(&from, &end, NAMES_SCANNED_MAX)? {
        if text::matches_pattern(&name, &pattern) {
            users.push(join::user(state, id)?);
            if users.len() == limit {
                break;
            }
        }
    }
    Ok(DirectoryResult { users })
}

/// A conversation as one of its members sees it.
fn summary(
    state: &Reader<'_>,
    user: u64,
    id: u64,
    member: &Member,
) -> Result<Option<ConversationSummary>, StoreError> {
    let Some(conversation) = state.conversation(id)? else { return Ok(None) };
    let (last_sequence, last_version) = visible_end(&conversation, member);
    let members = state.members_of(id, SUMMARY_MEMBERS_MAX * 2)?;
    let mut listed: Vec<UserRef> = Vec::new();
    for (member_id, record) in members {
        if record.is_present() && listed.len() < SUMMARY_MEMBERS_MAX {
            listed.push(join::user(state, member_id)?);
        }
    }
    if member.is_present() && !listed.iter().any(|listed| listed.id == user) {
        listed.push(join::user(state, user)?);
    }
    let last_message = if last_sequence > member.base_sequence {
        let stored = state.message(id, last_sequence)?;
        stored.map(|stored| join::message(state, id, last_sequence, stored)).transpose()?
    } else {
        None
    };
    let read = member.read_sequence.max(member.base_sequence);
    Ok(Some(ConversationSummary {
        id,
        kind: i32::try_from(conversation.kind).unwrap_or_default(),
        title: conversation.title,
        version: last_version,
        sequence: last_sequence,
        last_index: conversation.last_index,
        read,
        unread: last_sequence.saturating_sub(read),
        mentions: 0,
        member_count: conversation.member_count,
        members: listed,
        last_message,
        base_version: member.base_version,
        marks: Vec::new(),
    }))
}

/// The last sequence and version that a member may see.
fn visible_end(conversation: &crate::machine::records::Conversation, member: &Member) -> (u64, u64) {
    if member.is_present() {
        (conversation.sequence, conversation.version)
    } else {
        (member.left_sequence, member.left_version)
    }
}

fn open(state: &Reader<'_>, user: u64, query: &OpenQuery) -> Result<OpenResult, StoreError> {
    let events_max = query.events_max.clamp(1, RESUME_EVENTS_MAX) as usize;
    let mut missed = query.after_index.map(|_| Vec::new());
    let mut after = query.after_index.unwrap_or(0);
    if planted::is(Bug::ResumeOffByOne) {
        after += 1;
    }
    let mut conversations = Vec::new();
    for id in state.conversations_of(user)? {
        let Some(member) = state.member(id, user)? else { continue };
        let Some(conversation) = state.conversation(id)? else { continue };
        let (_, last_version) = visible_end(&conversation, &member);
        if let Some(events) = missed.as_mut().filter(|_| conversation.last_index > after) {
            let topic = Topic { kind: topic::Kind::Conversation.into(), id };
            let enough =
                walk_back(state, &topic, member.base_version, last_version, after, events_max, events)?;
            if !enough {
                missed = None;
            }
        }
        if member.is_present() {
            conversations.extend(summary(state, user, id, &member)?);
        }
    }
    let me = state.me(user)?;
    if let Some(events) = missed.as_mut().filter(|_| me.last_index > after) {
        let topic = Topic { kind: topic::Kind::Me.into(), id: user };
        if !walk_back(state, &topic, 0, me.version, after, events_max, events)? {
            missed = None;
        }
    }
    let resumed = missed.is_some();
    let mut events = missed.unwrap_or_default();
    // Log order; within one entry a conversation's events in order of version.
    events.sort_by_key(|event| (event.index, event.topic.map(|topic| (topic.kind, topic.id)), event.version));
    Ok(OpenResult {
        user: Some(join::user(state, user)?),
        conversations,
        me_version: me.version,
        resumed,
        events,
    })
}

/// Collects a topic's events after an index, from its end backwards. False when there are more than `events_max` in all.
fn walk_back(
    state: &Reader<'_>,
    topic: &Topic,
    base_version: u64,
    last_version: u64,
    after_index: u64,
    events_max: usize,
    events: &mut Vec<Event>,
) -> Result<bool, StoreError> {
    let mut end = last_version + 1;
    while end > base_version + 1 {
        let begin = end.saturating_sub(WALK_CHUNK).max(base_version + 1);
        let chunk = state.events(space_of(topic), topic.id, begin, end, usize::MAX)?;
        for (version, record) in chunk.into_iter().rev() {
            if record.index <= after_index {
                return Ok(true);
            }
            if events.len() == events_max {
                return Ok(false);
            }
            events.push(join::event(state, *topic, version, record)?);
        }
        end = begin;
    }
    Ok(true)
}

fn space_of(topic: &Topic) -> Space {
    match topic.kind() {
        topic::Kind::Me => Space::MeEvents,
        topic::Kind::Conversation | topic::Kind::Unspecified => Space::ConversationEvents,
    }
}

fn history(state: &Reader<'_>, user: u64, query: &HistoryQuery) -> Result<HistoryResult, Refusal> {
    let id = query.conversation_id;
    let member = state.member(id, user)?.ok_or(NOT_A_MEMBER)?;
    let conversation = state.conversation(id)?.ok_or(NOT_A_MEMBER)?;
    let first = member.base_sequence + 1;
    let last = visible_end(&conversation, &member).0;
    let limit = u64::from(match query.limit {
        0 => 50,
        limit => limit.min(HISTORY_MESSAGES_MAX),
    });
    let (from, to) = match query.from {
        None => ((last + 1).saturating_sub(limit), last + 1),
        Some(history_query::From::Before(before)) => {
            let to = before.min(last + 1);
            (to.saturating_sub(limit), to)
        }
        Some(history_query::From::After(after)) => {
            let from = after.saturating_add(1);
            (from, from.saturating_add(limit).min(last + 1))
        }
        Some(history_query::From::Around(around)) => {
            let from = around.saturating_sub(limit / 2).max(first);
            (from, from.saturating_add(limit).min(last + 1))
        }
    };
    let from = from.max(first);
    let mut messages = Vec::new();
    let mut bytes = 0;
    if from < to {
        let stored = state.messages(id, from, to, usize::MAX)?;
        // A page that would be too large is cut at the end that the reader asks from.
        let backwards =
            !matches!(query.from, Some(history_query::From::After(_) | history_query::From::Around(_)));
        let ordered: Box<dyn Iterator<Item = _>> =
            if backwards { Box::new(stored.into_iter().rev()) } else { Box::new(stored.into_iter()) };
        for (sequence, message) in ordered {
            bytes += message.text.len() + 256;
            if bytes > PAGE_BYTES_MAX && !messages.is_empty() {
                break;
            }
            messages.push((sequence, join::message(state, id, sequence, message)?));
        }
        if backwards {
            messages.reverse();
        }
    }
    let begins = messages.first().map_or(from, |(sequence, _)| *sequence);
    let ends = messages.last().map_or(to.saturating_sub(1), |(sequence, _)| *sequence);
    Ok(HistoryResult {
        more_before: begins > first,
        more_after: ends < last,
        messages: messages.into_iter().map(|(_, message)| message).collect(),
    })
}

fn since(state: &Reader<'_>, user: Option<u64>, query: SinceQuery) -> Result<SinceResult, Refusal> {
    if query.pairs.len() > SINCE_PAIRS_MAX {
        return Err(Refusal::Rejected(ErrorCode::TooLarge, "at most 128 pairs in one since"));
    }
    let limit = match query.limit {
        0 => SINCE_EVENTS_MAX,
        limit => limit.min(SINCE_EVENTS_MAX),
    } as usize;
    let mut bytes = 0;
    let pages = query.pairs.into_iter().map(|pair| since_page(state, user, pair, limit, &mut bytes));
    Ok(SinceResult { pages: pages.collect::<Result<_, _>>()? })
}

fn since_page(
    state: &Reader<'_>,
    user: Option<u64>,
    pair: SincePair,
    limit: usize,
    bytes: &mut usize,
) -> Result<SincePage, Refusal> {
    let mut topic = pair.topic.unwrap_or_default();
    let reset = |topic| Ok(SincePage { topic: Some(topic), reset: true, ..SincePage::default() });
    let (base, last) = match topic.kind() {
        topic::Kind::Unspecified => return reset(topic),
        topic::Kind::Me => {
            // Only one's own; the gateway's own feed names whose.
            topic.id = user.unwrap_or(topic.id);
            (0, state.me(topic.id)?.version)
        }
        topic::Kind::Conversation => {
            let Some(conversation) = state.conversation(topic.id)? else { return reset(topic) };
            match user {
                None => (0, conversation.version),
                Some(user) => {
                    let Some(member) = state.member(topic.id, user)? else { return reset(topic) };
                    (member.base_version, visible_end(&conversation, &member).1)
                }
            }
        }
    };
    if pair.version > last {
        // She claims more than there is: not of this cluster's state.
        return reset(topic);
    }
    let mut from = pair.version.max(base) + 1;
    if planted::is(Bug::ResumeOffByOne) && pair.version > 0 && from < last {
        from += 1;
    }
    let mut events = Vec::new();
    for (version, record) in state.events(space_of(&topic), topic.id, from, last + 1, limit)? {
        if *bytes > PAGE_BYTES_MAX {
            break;
        }
        let event = join::event(state, topic, version, record)?;
        *bytes += prost::Message::encoded_len(&event);
        events.push(event);
    }
    let reached = events.last().map_or(from - 1, |event: &Event| event.version);
    let skip_to = if base > pair.version { base } else { 0 };
    Ok(SincePage { topic: Some(topic), more: reached < last, events, reset: false, skip_to })
}
