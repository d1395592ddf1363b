//! Reads: questions about the state at one index. Who may see what is decided here, from the state itself.

mod bots;
mod export;
mod groups;
mod messages;
mod people;
mod suggestions;

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{
    HISTORY_MESSAGES_MAX, PAGE_BYTES_MAX, RESUME_EVENTS_MAX, SINCE_EVENTS_MAX, SINCE_PAIRS_MAX,
    SUMMARY_MEMBERS_MAX,
};
use quorate_proto::rpc::read_request::Query;
use quorate_proto::rpc::read_response::Result as Answer;
use quorate_proto::rpc::{
    ConversationSummary, CredentialsResult, DirectoryQuery, DirectoryResult, Event, FileQuery, FileResult,
    FileUseResult, HistoryQuery, HistoryResult, KeysResult, OpenQuery, OpenResult, PublicKey, ReadRequest,
    ReadResponse, Rejected, SessionInfo, SessionsResult, SincePage, SincePair, SinceQuery, SinceResult,
    Topic, UserRef, history_query, topic,
};
use quorate_proto::text;

use crate::machine::records::{Conversation, Member};
use crate::machine::sight::Sight;
use crate::machine::{self, PeopleTables as _, Tables, files, join, scopes};
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

const UNKNOWN_QUERY: Refusal =
    Refusal::Rejected(ErrorCode::Unsupported, "this replica does not know the query");
const NOT_A_MEMBER: Refusal = Refusal::Rejected(ErrorCode::NotFound, "you are not in this conversation");

/// What this replica's operators allow beyond the ordinary.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowed {
    /// Admins may export direct conversations.
    pub(super) export_direct: bool,
}

/// Answers a read from the state as it is now.
///
/// # Errors
/// When the disk fails.
pub(super) fn answer(
    store: &Store,
    signals: &Signals,
    allowed: Allowed,
    request: ReadRequest,
) -> Result<ReadResponse, StoreError> {
    let state = store.read();
    let result = decide(&state, signals, allowed, request);
    told(&state, result)
}

/// For a question that is not answered from the state alone: `None` when the session that asks lasts, otherwise the refusal.
///
/// # Errors
/// When the disk fails.
pub(super) fn who_asks(store: &Store, request: &ReadRequest) -> Result<Option<ReadResponse>, StoreError> {
    let state = store.read();
    let Some(query) = &request.query else { return told(&state, Err(UNKNOWN_QUERY)).map(Some) };
    match check_session(&state, request.user_id, &request.session_id, query) {
        Ok(()) => Ok(None),
        Err(refusal) => told(&state, Err(refusal)).map(Some),
    }
}

/// Index and log time of the state.
pub(super) fn position(store: &Store) -> (u64, u64) {
    position_of(&store.read())
}

fn position_of(state: &Reader<'_>) -> (u64, u64) {
    (state.applied().index().unwrap_or(0), state.applied().log_time_ms)
}

fn told(state: &Reader<'_>, result: Result<Answer, Refusal>) -> Result<ReadResponse, StoreError> {
    let (as_of_index, log_time_ms) = position_of(state);
    let result = match result {
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

fn decide(
    state: &Reader<'_>,
    signals: &Signals,
    allowed: Allowed,
    request: ReadRequest,
) -> Result<Answer, Refusal> {
    let query = request.query.ok_or(UNKNOWN_QUERY)?;
    let user = request.user_id;
    // A gateway asks these for itself, before there is a user, or for its own feed.
    match query {
        Query::Credentials(query) => return Ok(Answer::Credentials(credentials(state, &query.name)?)),
        Query::Keys(_) => return Ok(Answer::Keys(keys(state)?)),
        Query::Since(query) if user == 0 => return Ok(Answer::Since(since(state, None, query)?)),
        Query::Hooks(query) => return Ok(Answer::Hooks(bots::hooks(state, &query)?)),
        Query::Hook(query) => return Ok(Answer::Hook(bots::hook(state, &query)?)),
        _ => {}
    }
    check_session(state, user, &request.session_id, &query)?;
    match query {
        Query::Open(query) => Ok(Answer::Open(open(state, user, &query)?)),
        Query::History(query) if query.as_admin => {
            export::history(state, user, allowed, &query).map(Answer::History)
        }
        Query::History(query) => Ok(Answer::History(history(state, user, &query)?)),
        Query::Since(query) => Ok(Answer::Since(since(state, Some(user), query)?)),
        Query::Directory(query) => Ok(Answer::Directory(directory(state, &query)?)),
        Query::Conversation(query) => {
            let id = query.conversation_id;
            let member = state.member(id, user)?.filter(Member::is_present).ok_or(NOT_A_MEMBER)?;
            let own = messages::Own::of(state, user, id)?;
            let mut found = summary(state, user, id, &member, own)?.ok_or(NOT_A_MEMBER)?;
            if query.marks {
                found.marks = signals.marks(state, id)?;
            }
            Ok(Answer::Conversation(found))
        }
        Query::Sessions(_) => Ok(Answer::Sessions(sessions(state, user)?)),
        Query::Password(_) => Ok(Answer::Password(credentials_of(state, user)?)),
        Query::Revisions(query) => messages::revisions(state, user, &query).map(Answer::Revisions),
        Query::Reactions(query) => messages::reactions(state, user, &query).map(Answer::Reactions),
        Query::Pins(query) => messages::pins(state, user, &query).map(Answer::Messages),
        Query::Mentions(query) => messages::mentions(state, user, &query).map(Answer::Messages),
        Query::Saved(query) => messages::saved(state, user, &query).map(Answer::Messages),
        Query::Scheduled(_) => messages::scheduled(state, user).map(Answer::Scheduled),
        Query::Members(query) => groups::members(state, user, &query).map(Answer::Members),
        Query::Channels(query) => groups::channels(state, user, &query).map(Answer::Channels),
        Query::Invites(query) => groups::invites(state, user, &query).map(Answer::Invites),
        Query::Invite(query) => groups::invite(state, user, &query).map(Answer::Invite),
        Query::Bans(query) => groups::bans(state, user, &query).map(Answer::Bans),
        Query::User(query) => people::user(state, user, &query).map(Answer::User),
        Query::Blocked(_) => people::blocked(state, user).map(Answer::Blocked),
        Query::AdminUsers(query) => people::admin_users(state, user, &query).map(Answer::AdminUsers),
        Query::AdminSessions(query) => {
            people::must_be_admin(state, user)?;
            Ok(Answer::Sessions(sessions(state, query.user_id)?))
        }
        Query::AdminConversations(query) => {
            people::admin_conversations(state, user, allowed, &query).map(Answer::AdminConversations)
        }
        Query::Reports(query) => people::reports(state, user, &query).map(Answer::Reports),
        Query::Audit(query) => people::audit(state, user, &query).map(Answer::Audit),
        Query::Suggestions(query) => suggestions::context(state, user, &query).map(Answer::Suggestions),
        Query::Search(_) => Err(Refusal::Rejected(ErrorCode::Unsupported, "the state alone does not search")),
        Query::File(query) => Ok(Answer::File(file(state, user, &query)?)),
        Query::FileUse(_) => {
            let used = state.file_use(user)?;
            Ok(Answer::FileUse(FileUseResult { bytes: used.bytes, files: used.files }))
        }
        Query::Bots(_) => Ok(Answer::Bots(bots::bots(state, user)?)),
        Query::Tokens(_) => Ok(Answer::Tokens(bots::tokens_result(state, user)?)),
        Query::Credentials(_) | Query::Keys(_) | Query::Hooks(_) | Query::Hook(_) => {
            unreachable!("answered above")
        }
    }
}

fn file(state: &Reader<'_>, user: u64, query: &FileQuery) -> Result<FileResult, Refusal> {
    const NO_FILE: Refusal = Refusal::Rejected(ErrorCode::NotFound, "there is no such file");
    let id = files::id_of(&query.file_id).ok_or(NO_FILE)?;
    let place = (query.conversation_id, query.sequence);
    let seen_by = files::SeenBy::of(place, query.avatar_of_user, query.avatar_of_conversation).ok_or(
        Refusal::Rejected(
            ErrorCode::Invalid,
            "a file is seen in a message, of a user or of a group: name one",
        ),
    )?;
    let found = files::visible(state, &id, user, seen_by)?.ok_or(NO_FILE)?;
    Ok(FileResult {
        file: Some(files::attachment(&id, &found)),
        hash: found.hash.clone(),
        thumbnail_size: found.thumbnail_size,
        created_ms: found.created_ms,
        own: found.owner == user,
    })
}

/// Who asks does so through a session that lasts and, if it is a token, is good for it: the one place where reads are judged.
fn check_session(state: &Reader<'_>, user: u64, session_id: &Bytes, query: &Query) -> Result<(), Refusal> {
    let now_ms = state.applied().log_time_ms;
    let Some(session) = scopes::session_of(state, user, session_id, now_ms)? else {
        return Err(Refusal::Rejected(ErrorCode::Unauthenticated, "this session has ended: sign in again"));
    };
    match scopes::forbids_read(&session, query) {
        None => Ok(()),
        Some(why) => Err(Refusal::Rejected(ErrorCode::Forbidden, why)),
    }
}

fn credentials(state: &Reader<'_>, name: &str) -> Result<CredentialsResult, StoreError> {
    let Some(user_id) = state.user_id(name)? else { return Ok(CredentialsResult::default()) };
    // Who was shut out or has left looks like somebody who never was; a bot has no password.
    if !state.user(user_id)?.is_some_and(|user| user.is_active() && !user.is_bot()) {
        return Ok(CredentialsResult::default());
    }
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
        .filter(|(_, session)| !session.is_token())
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

/// The first name that may match a pattern, and what is above the last.
fn names_like(pattern: &str) -> (String, Vec<u8>) {
    let prefix = pattern.split('*').next().unwrap_or_default();
    // Names begin with an ASCII letter or digit; 0x7f is above every character of a name.
    let mut end = prefix.as_bytes().to_vec();
    end.truncate(quorate_proto::limits::NAME_CHARS_MAX);
    let from = String::from_utf8_lossy(&end).into_owned();
    end.push(0x7f);
    (from, end)
}

fn directory(state: &Reader<'_>, query: &DirectoryQuery) -> Result<DirectoryResult, StoreError> {
    let pattern = query.pattern.trim().to_lowercase();
    let limit = query.limit.clamp(1, DIRECTORY_USERS_MAX) as usize;
    let (from, end) = names_like(&pattern);
    let mut users = Vec::new();
    for (name, id) in state.names(&from, &end, NAMES_SCANNED_MAX)? {
        if text::matches_pattern(&name, &pattern) && state.user(id)?.is_some_and(|user| user.is_active()) {
            users.push(join::user(state, id)?);
            if users.len() == limit {
                break;
            }
        }
    }
    Ok(DirectoryResult { users })
}

/// A conversation as one of its members sees it. `own` is what is hers alone there.
fn summary(
    state: &Reader<'_>,
    user: u64,
    id: u64,
    member: &Member,
    own: messages::Own,
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
    let hidden = own.hidden.ranges.clone();
    let sight = Sight::with(user, id, own.hidden);
    let last_message = if last_sequence > member.base_sequence {
        let stored = state.message(id, last_sequence)?;
        stored.map(|stored| messages::of(state, &sight, last_sequence, stored)).transpose()?
    } else {
        None
    };
    let read = member.read_sequence.max(member.base_sequence);
    let unread = machine::unread(state, (id, &conversation), (user, member))?;
    let blocked = state.is_blocked_in(id, &conversation)?;
    Ok(Some(ConversationSummary {
        id,
        kind: i32::try_from(conversation.kind).unwrap_or_default(),
        title: conversation.title,
        version: last_version,
        sequence: last_sequence,
        last_index: conversation.last_index,
        read,
        unread: unread.messages,
        mentions: unread.mentions,
        member_count: conversation.member_count,
        members: listed,
        last_message,
        base_version: member.base_version,
        topic: conversation.topic,
        public: conversation.public,
        announcement: conversation.announcement,
        retention_ms: conversation.retention_ms,
        role: member.role,
        preferences: member.preferences,
        pin_count: conversation.pins,
        hidden,
        draft: own.draft,
        blocked,
        avatar: conversation.avatar,
        ..ConversationSummary::default()
    }))
}

/// The last sequence and version that a member may see.
fn visible_end(conversation: &Conversation, member: &Member) -> (u64, u64) {
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
    let mut own = messages::Own::of_all(state, user)?;
    for id in state.conversations_of(user)? {
        let Some(member) = state.member(id, user)? else { continue };
        let Some(conversation) = state.conversation(id)? else { continue };
        let (_, last_version) = visible_end(&conversation, &member);
        if let Some(events) = missed.as_mut().filter(|_| conversation.last_index > after) {
            let hidden = own.get(&id).map(|own| own.hidden.clone()).unwrap_or_default();
            let sight = Sight::with(user, id, hidden).of_member(state, &member)?;
            let topic = Topic { kind: topic::Kind::Conversation.into(), id };
            let begin = member.events_after();
            let enough = walk_back(state, (&topic, &sight), begin, last_version, after, events_max, events)?;
            if !enough {
                missed = None;
            }
        }
        if member.is_present() {
            let own = own.remove(&id).unwrap_or_default();
            conversations.extend(summary(state, user, id, &member, own)?);
        }
    }
    let me = state.me(user)?;
    if let Some(events) = missed.as_mut().filter(|_| me.last_index > after) {
        let topic = Topic { kind: topic::Kind::Me.into(), id: user };
        if !walk_back(state, (&topic, &Sight::default()), 0, me.version, after, events_max, events)? {
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
    (topic, sight): (&Topic, &Sight),
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
            events.push(sight.of_event(state, join::event(state, *topic, version, record)?)?);
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
    let mut page = Vec::new();
    let mut bytes = 0;
    if from < to {
        let stored = state.messages(id, from, to, usize::MAX)?;
        // A page that would be too large is cut at the end that the reader asks from.
        let backwards =
            !matches!(query.from, Some(history_query::From::After(_) | history_query::From::Around(_)));
        let ordered: Box<dyn Iterator<Item = _>> =
            if backwards { Box::new(stored.into_iter().rev()) } else { Box::new(stored.into_iter()) };
        let sight = Sight::of(state, user, id)?;
        for (sequence, message) in ordered {
            let message = messages::of(state, &sight, sequence, message)?;
            bytes += prost::Message::encoded_len(&message) + 128;
            if bytes > PAGE_BYTES_MAX && !page.is_empty() {
                break;
            }
            page.push((sequence, message));
        }
        if backwards {
            page.reverse();
        }
    }
    let begins = page.first().map_or(from, |(sequence, _)| *sequence);
    let ends = page.last().map_or(to.saturating_sub(1), |(sequence, _)| *sequence);
    Ok(HistoryResult {
        more_before: begins > first,
        more_after: ends < last,
        messages: page.into_iter().map(|(_, message)| message).collect(),
        ..HistoryResult::default()
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
    let sight = match (topic.kind(), user) {
        (topic::Kind::Conversation, Some(user)) => Sight::of(state, user, topic.id)?,
        _ => Sight::default(),
    };
    let mut events = Vec::new();
    for (version, record) in state.events(space_of(&topic), topic.id, from, last + 1, limit)? {
        if *bytes > PAGE_BYTES_MAX {
            break;
        }
        let event = sight.of_event(state, join::event(state, topic, version, record)?)?;
        *bytes += prost::Message::encoded_len(&event);
        events.push(event);
    }
    let reached = events.last().map_or(from - 1, |event: &Event| event.version);
    let skip_to = if base > pair.version { base } else { 0 };
    Ok(SincePage { topic: Some(topic), more: reached < last, events, reset: false, skip_to })
}

#[cfg(test)]
mod bots_tests;
#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod messages_tests;
#[cfg(test)]
mod people_tests;
