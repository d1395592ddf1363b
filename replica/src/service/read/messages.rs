//! Reads of messages beside pages of history.

use std::collections::BTreeMap;

use prost::Message as _;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{HISTORY_MESSAGES_MAX, PAGE_BYTES_MAX, PINS_MAX, SAVED_MAX, SCHEDULED_MAX};
use quorate_proto::rpc;

use super::{NOT_A_MEMBER, Refusal, visible_end};
use crate::machine::records::{HiddenRanges, Listed, Member, StoredMessage};
use crate::machine::sight::Sight;
use crate::machine::{MessageTables as _, Tables as _, join};
use crate::store::{Reader, StoreError};

/// Users listed with an emoji when it is asked who they are.
const REACTION_USERS_MAX: usize = 200;
/// Drafts told with all conversations at once, and bytes of them together: others are told with their conversation.
const DRAFTS_TOLD_MAX: usize = 500;
/// Items in one answer when none are asked for.
const PAGE: u32 = 50;
/// Entries of a list that are looked at for one page: beyond it the page says where to go on.
const LOOKED_AT_MAX: usize = 1_000;
/// Entries of a list read at once.
const CHUNK: u64 = 128;

const NO_SUCH_MESSAGE: Refusal = Refusal::Rejected(ErrorCode::NotFound, "there is no such message");

/// What a user has in one conversation for herself.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) hidden: HiddenRanges,
    pub(super) draft: Option<rpc::MeDraft>,
}

impl Own {
    pub(super) fn of(state: &Reader<'_>, user: u64, id: u64) -> Result<Self, StoreError> {
        let draft = state.draft(user, id)?;
        let draft =
            draft.map(|it| rpc::MeDraft { conversation_id: id, text: it.text, reply_to: it.reply_to });
        Ok(Self { hidden: state.hidden(user, id)?, draft })
    }

    /// The same in all her conversations, where there is anything.
    pub(super) fn of_all(state: &Reader<'_>, user: u64) -> Result<BTreeMap<u64, Self>, StoreError> {
        let mut all: BTreeMap<u64, Self> = BTreeMap::new();
        for (id, hidden) in state.hidden_of(user)? {
            all.entry(id).or_default().hidden = hidden;
        }
        let mut bytes = 0;
        for (conversation_id, draft) in state.drafts_of(user, DRAFTS_TOLD_MAX)? {
            bytes += draft.text.len();
            if bytes > PAGE_BYTES_MAX {
                break;
            }
            let (text, reply_to) = (draft.text, draft.reply_to);
            all.entry(conversation_id).or_default().draft =
                Some(rpc::MeDraft { conversation_id, text, reply_to });
        }
        Ok(all)
    }
}

/// A message as one reader sees it.
pub(super) fn of(
    state: &Reader<'_>,
    sight: &Sight,
    sequence: u64,
    message: StoredMessage,
) -> Result<rpc::Event, StoreError> {
    sight.of_event(state, join::message(state, sight.conversation_id(), sequence, message)?)
}

/// A message that lies in what a user sees or saw of a conversation.
fn visible(
    state: &Reader<'_>,
    user: u64,
    id: u64,
    sequence: u64,
) -> Result<Option<(Member, StoredMessage)>, StoreError> {
    let (Some(member), Some(conversation)) = (state.member(id, user)?, state.conversation(id)?) else {
        return Ok(None);
    };
    if sequence <= member.base_sequence || sequence > visible_end(&conversation, &member).0 {
        return Ok(None);
    }
    Ok(state.message(id, sequence)?.map(|message| (member, message)))
}

/// The texts of a message, the present one last: as many of the newest as a page holds. Of one that was taken back none are left.
pub(super) fn revisions(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::RevisionsQuery,
) -> Result<rpc::RevisionsResult, Refusal> {
    let (id, sequence) = (query.conversation_id, query.sequence);
    let (member, message) = visible(state, user, id, sequence)?.ok_or(NO_SUCH_MESSAGE)?;
    // What became of it after she left is not hers to see.
    if !member.is_present() {
        return Err(NO_SUCH_MESSAGE);
    }
    if message.deleted_ms != 0 || Sight::of(state, user, id)?.hides(sequence) {
        return Ok(rpc::RevisionsResult::default());
    }
    let log_time_ms = if message.revision == 0 { message.log_time_ms } else { message.edited_ms };
    let now = rpc::RevisionInfo { revision: message.revision, text: message.text, log_time_ms };
    let mut bytes = now.text.len();
    let mut revisions = vec![now];
    if message.revision > 0 {
        for (revision, record) in state.revisions_of(id, sequence)?.into_iter().rev() {
            bytes += record.text.len() + 64;
            if bytes > PAGE_BYTES_MAX {
                break;
            }
            let (text, log_time_ms) = (record.text, record.log_time_ms);
            revisions.push(rpc::RevisionInfo { revision, text, log_time_ms });
        }
    }
    revisions.reverse();
    Ok(rpc::RevisionsResult { revisions })
}

pub(super) fn reactions(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::ReactionsQuery,
) -> Result<rpc::ReactionsResult, Refusal> {
    let (id, sequence) = (query.conversation_id, query.sequence);
    let (member, _) = visible(state, user, id, sequence)?.ok_or(NO_SUCH_MESSAGE)?;
    if !member.is_present() {
        return Err(NO_SUCH_MESSAGE);
    }
    if Sight::of(state, user, id)?.hides(sequence) {
        return Ok(rpc::ReactionsResult::default());
    }
    let mut reactions = Vec::new();
    for of in state.reactions(id, sequence)?.emojis {
        let count = u32::try_from(of.user_ids.len()).unwrap_or(u32::MAX);
        let users = of.user_ids.iter().take(REACTION_USERS_MAX).map(|id| join::user(state, *id));
        let users = users.collect::<Result<_, _>>()?;
        reactions.push(rpc::ReactionUsers { emoji: of.emoji, users, count });
    }
    Ok(rpc::ReactionsResult { reactions })
}

/// Newest pin first. A page that is full leaves out the oldest pins, and `next` is not 0 then.
pub(super) fn pins(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::PinsQuery,
) -> Result<rpc::MessagesResult, Refusal> {
    let id = query.conversation_id;
    state.member(id, user)?.filter(Member::is_present).ok_or(NOT_A_MEMBER)?;
    let mut pins = state.pins_of(id, PINS_MAX as usize)?;
    pins.sort_by_key(|(_, pin)| std::cmp::Reverse(pin.version));
    let mut page = Page::new(state, user, PINS_MAX);
    for (sequence, pin) in pins {
        if !page.add(pin.version, &Listed { conversation_id: id, sequence, log_time_ms: 0 }, true)? {
            break;
        }
    }
    Ok(page.done())
}

pub(super) fn mentions(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::MentionsQuery,
) -> Result<rpc::MessagesResult, Refusal> {
    let last = state.user(user)?.map_or(0, |user| user.mentions_last);
    let mut end = if query.before == 0 { last + 1 } else { query.before.min(last + 1) };
    let mut page = Page::new(state, user, query.limit);
    while end > 1 {
        let begin = end.saturating_sub(CHUNK).max(1);
        for (number, listed) in state.mentions_of(user, begin, end, usize::MAX)?.into_iter().rev() {
            if !page.add(number, &listed, true)? {
                return Ok(page.done());
            }
        }
        if page.is_tired(begin) {
            break;
        }
        end = begin;
    }
    Ok(page.done())
}

pub(super) fn saved(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::SavedQuery,
) -> Result<rpc::MessagesResult, Refusal> {
    let end = if query.before == 0 { u64::MAX } else { query.before };
    let mut page = Page::new(state, user, query.limit);
    // All of them are some hundred KiB: log indexes lie too far apart to walk back by chunks.
    for (number, listed) in state.saved_of(user, 0, end, SAVED_MAX as usize)?.into_iter().rev() {
        if !page.add(number, &listed, false)? {
            break;
        }
    }
    Ok(page.done())
}

pub(super) fn scheduled(state: &Reader<'_>, user: u64) -> Result<rpc::ScheduledResult, Refusal> {
    let records = state.scheduled_of(user, SCHEDULED_MAX as usize)?;
    let mut items: Vec<_> = records.into_iter().map(|(id, record)| record.item(id)).collect();
    items.sort_by_key(|item| (item.due_ms, item.id));
    Ok(rpc::ScheduledResult { items })
}

/// A page of messages from a list, as its owner sees them now.
struct Page<'a> {
    state: &'a Reader<'a>,
    user: u64,
    limit: usize,
    bytes: usize,
    looked_at: usize,
    /// Number of the last entry that was taken or passed over.
    reached: u64,
    sights: BTreeMap<u64, Sight>,
    result: rpc::MessagesResult,
}

impl<'a> Page<'a> {
    fn new(state: &'a Reader<'a>, user: u64, limit: u32) -> Self {
        let limit = if limit == 0 { PAGE } else { limit.min(HISTORY_MESSAGES_MAX) } as usize;
        let (sights, result) = (BTreeMap::new(), rpc::MessagesResult::default());
        Self { state, user, limit, bytes: 0, looked_at: 0, reached: 0, sights, result }
    }

    /// Adds the entry at a number, if its owner sees the message; false: the page was full before, and says where to go on.
    fn add(&mut self, number: u64, listed: &Listed, only_present: bool) -> Result<bool, StoreError> {
        if self.result.messages.len() == self.limit || self.looked_at == LOOKED_AT_MAX {
            self.result.next = self.reached;
            return Ok(false);
        }
        self.looked_at += 1;
        let (id, sequence) = (listed.conversation_id, listed.sequence);
        let found = visible(self.state, self.user, id, sequence)?;
        if let Some((_, message)) = found.filter(|(member, _)| member.is_present() || !only_present) {
            if !self.sights.contains_key(&id) {
                self.sights.insert(id, Sight::of(self.state, self.user, id)?);
            }
            let event = of(self.state, &self.sights[&id], sequence, message)?;
            self.bytes += event.encoded_len() + 128;
            if self.bytes > PAGE_BYTES_MAX && !self.result.messages.is_empty() {
                self.result.next = self.reached;
                return Ok(false);
            }
            self.result.messages.push(event);
        }
        self.reached = number;
        Ok(true)
    }

    /// Whether enough was looked at, though there may be more before `begin`.
    fn is_tired(&mut self, begin: u64) -> bool {
        self.looked_at += 1;
        let is_tired = self.looked_at >= LOOKED_AT_MAX && begin > 1;
        if is_tired {
            self.result.next = begin;
        }
        is_tired
    }

    fn done(self) -> rpc::MessagesResult {
        self.result
    }
}
