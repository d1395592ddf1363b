//! From candidates to an answer: what the caller may see, by the state as it is now.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use prost::Message as _;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{PAGE_BYTES_MAX, SEARCH_HITS_MAX};
use quorate_proto::query::{self, Place as Where};
use quorate_proto::rpc::search_query::Order;
use quorate_proto::rpc::{Rejected, SearchHit, SearchQuery, SearchResult};
use tantivy::TantivyError;

use super::find::{self, Candidate, Place, Question};
use super::index::{flag_of, flags_of};
use super::phrase::{self, Phrase};
use super::source::Source;
use super::walk::is_empty;
use super::{SearchError, Shown};
use crate::machine::records::Member;
use crate::machine::sight::Sight;
use crate::machine::{Tables, join};
use crate::store::StoreError;

/// Hits of a page whose reader did not say how many.
const HITS_DEFAULT: u32 = 20;
/// The index is asked again when the state has dropped so many of its candidates that a page is not full.
const ROUNDS_MAX: usize = 4;
/// All of them together, until it is said that something may be missing.
const SEARCH_WAIT: Duration = Duration::from_millis(500);
/// Messages or conversations read under one hold of the state.
const READ_TOGETHER: usize = 16;

/// A question by a user, understood.
#[derive(Debug)]
pub(super) struct Asked {
    user: u64,
    query: query::SearchQuery,
    phrases: Vec<Phrase>,
    conversation: u64,
    order: Order,
    limit: usize,
    after: Option<Place>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing is wrong with the index.
    Refused(SearchError),
    /// The index cannot be read.
    Index(TantivyError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed::Refused(error.into())
    }
}

impl From<TantivyError> for Failed {
    fn from(error: TantivyError) -> Self {
        Failed::Index(error)
    }
}

fn rejected(code: ErrorCode, message: impl Into<String>) -> SearchError {
    SearchError::Rejected(Rejected { code: code.word().to_owned(), message: message.into(), revision: None })
}

fn invalid(message: impl Into<String>) -> Failed {
    Failed::Refused(rejected(ErrorCode::Invalid, message))
}

impl Asked {
    pub(super) fn new(user: u64, asked: &SearchQuery) -> Result<Self, SearchError> {
        let query = query::parse(&asked.query, asked.utc_offset_minutes)
            .map_err(|error| rejected(ErrorCode::Invalid, error.to_string()))?;
        let phrases: Vec<Phrase> = query.words.iter().filter_map(Phrase::new).collect();
        let is_of_words_alone =
            query::SearchQuery { words: Vec::new(), ..query.clone() } == Default::default();
        if phrases.is_empty() && is_of_words_alone {
            return Err(rejected(ErrorCode::Invalid, query::QueryError::Nothing.to_string()));
        }
        let limit = if asked.limit == 0 { HITS_DEFAULT } else { asked.limit.min(SEARCH_HITS_MAX) } as usize;
        let after = match asked.cursor.as_str() {
            "" => None,
            cursor => Some(Place::parse(cursor).ok_or_else(|| {
                rejected(ErrorCode::Invalid, "this cursor is not one that a search gave: begin without it")
            })?),
        };
        let (conversation, order) = (asked.conversation_id, asked.order());
        Ok(Self { user, query, phrases, conversation, order, limit, after })
    }
}

impl Place {
    fn parse(cursor: &str) -> Option<Self> {
        let (score, index) = cursor.split_once('.')?;
        let score = u32::from_str_radix(score, 16).ok()?;
        Some(Self { score, index: u64::from_str_radix(index, 16).ok()? })
    }

    fn cursor(self) -> String {
        format!("{:x}.{:x}", self.score, self.index)
    }
}

/// Answers; `indexed_through` is left to the caller.
pub(super) fn answer<S: Source>(source: &S, shown: &Shown, asked: &Asked) -> Result<SearchResult, Failed> {
    let deadline = Instant::now() + SEARCH_WAIT;
    let rooms = rooms(source, asked)?;
    let from = writers(source, asked)?;
    let flags: Vec<u64> = asked.query.has.iter().map(|has| flag_of(*has)).collect();
    let searcher = shown.reader.searcher();
    let mut question = Question {
        phrases: &asked.phrases,
        from: &from,
        flags: &flags,
        time: time_of(&asked.query),
        rooms: &rooms,
        order: asked.order,
        after: asked.after,
        count: asked.limit + 1,
        deadline,
    };
    let mut page = SearchResult::default();
    let mut bytes = 0;
    for _ in 0..ROUNDS_MAX {
        let (found, is_late) = find::candidates(&searcher, &shown.fields, &question)?;
        page.incomplete |= is_late;
        for some in found.chunks(READ_TOGETHER) {
            let look = source.look();
            for candidate in some {
                if page.hits.len() == asked.limit || bytes > PAGE_BYTES_MAX {
                    page.next = question.after.map_or_else(String::new, Place::cursor);
                    return Ok(page);
                }
                question.after = Some(candidate.place);
                if let Some(hit) = judge(&look, asked, &question, *candidate)? {
                    bytes += hit.encoded_len();
                    page.hits.push(hit);
                }
            }
        }
        if found.len() < question.count || is_late {
            return Ok(page);
        }
    }
    page.next = question.after.map_or_else(String::new, Place::cursor);
    Ok(page)
}

fn time_of(query: &query::SearchQuery) -> (Bound<u64>, Bound<u64>) {
    let after = query.after_ms.map_or(Bound::Unbounded, Bound::Included);
    (after, query.before_ms.map_or(Bound::Unbounded, Bound::Excluded))
}

/// What a candidate is by the state; `None` when it is no answer, or not for this reader.
fn judge(
    look: &impl Tables,
    asked: &Asked,
    question: &Question<'_>,
    candidate: Candidate,
) -> Result<Option<SearchHit>, StoreError> {
    use std::ops::RangeBounds as _;
    let Candidate { conversation, sequence, .. } = candidate;
    let member = look.member(conversation, asked.user)?.filter(Member::is_present);
    if member.is_none_or(|member| sequence <= member.base_sequence) {
        return Ok(None);
    }
    let Some(message) = look.message(conversation, sequence)?.filter(|message| !is_empty(message)) else {
        return Ok(None);
    };
    let sight = Sight::of(look, asked.user, conversation)?;
    if sight.hides(sequence) {
        return Ok(None);
    }
    let flags = flags_of(&message);
    let fits = question.time.contains(&message.log_time_ms)
        && (question.from.is_empty() || question.from.contains(&message.from))
        && question.flags.iter().all(|flag| flags.contains(flag));
    let Some(highlights) = phrase::find(&asked.phrases, &message.text).filter(|_| fits) else {
        return Ok(None);
    };
    let message = sight.of_event(look, join::message(look, conversation, sequence, message)?)?;
    Ok(Some(SearchHit { message: Some(message), highlights }))
}

/// The conversations to look in, each with the sequence after which the caller may see its messages.
fn rooms<S: Source>(source: &S, asked: &Asked) -> Result<HashMap<u64, u64>, Failed> {
    let (user, places) = (asked.user, &asked.query.places);
    let ids = source.look().conversations_of(user)?;
    let mut titles: Vec<(String, bool)> = Vec::new();
    let mut named: Vec<u64> = Vec::new();
    for place in places {
        match place {
            Where::Number(number) => named.push(*number),
            Where::Title(title) => titles.push((title.to_lowercase(), false)),
            Where::With(name) => named.push(direct_with(&source.look(), user, name)?),
        }
    }
    let mut rooms = HashMap::new();
    for some in ids.chunks(READ_TOGETHER) {
        let look = source.look();
        for id in some {
            let is_asked_for = asked.conversation == 0 || asked.conversation == *id;
            let Some(member) = look.member(*id, user)?.filter(|it| is_asked_for && it.is_present()) else {
                continue;
            };
            let mut is_named = places.is_empty() || named.contains(id);
            if !titles.is_empty()
                && let Some(conversation) = look.conversation(*id)?
            {
                let own = conversation.title.to_lowercase();
                for (_, is_found) in titles.iter_mut().filter(|(title, _)| *title == own) {
                    (*is_found, is_named) = (true, true);
                }
            }
            if is_named {
                rooms.insert(*id, member.base_sequence);
            }
        }
    }
    if asked.conversation != 0 && places.is_empty() && rooms.is_empty() {
        let error = rejected(ErrorCode::NotFound, "you are not in this conversation");
        return Err(Failed::Refused(error));
    }
    if asked.conversation == 0 {
        if let Some(number) = named.iter().find(|number| !rooms.contains_key(number)) {
            let advice = "write in: with the number or the title of a conversation that you are in";
            return Err(invalid(format!("you are in no conversation {number}: {advice}")));
        }
        if let Some((title, _)) = titles.iter().find(|(_, is_found)| !is_found) {
            let advice = "write in: with its whole title, in quotation marks if it has spaces";
            return Err(invalid(format!("none of your conversations is called {title:?}: {advice}")));
        }
    }
    Ok(rooms)
}

fn direct_with(look: &impl Tables, user: u64, name: &str) -> Result<u64, Failed> {
    let direct = present_user(look, name)?.map(|other| look.direct(user, other)).transpose()?.flatten();
    direct.ok_or_else(|| {
        invalid(format!("you have no direct conversation with {name:?}: write in:@ and a user's name"))
    })
}

/// The user of a name; a deleted account has none any more.
fn present_user(look: &impl Tables, name: &str) -> Result<Option<u64>, StoreError> {
    let Some(id) = look.user_id(name)? else { return Ok(None) };
    Ok(look.user(id)?.filter(|user| user.deleted_ms == 0).map(|_| id))
}

/// Ids of those whose messages are wanted.
fn writers<S: Source>(source: &S, asked: &Asked) -> Result<Vec<u64>, Failed> {
    let look = source.look();
    let id = |name: &String| {
        present_user(&look, name)?
            .ok_or_else(|| invalid(format!("there is no user {name:?}: write from: and a user's name")))
    };
    asked.query.from.iter().map(id).collect()
}
