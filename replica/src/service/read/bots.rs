//! Reads of bots, tokens and webhooks: a user's own, and what the gateways ask who tell webhooks.

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::limits::{BOTS_PER_USER_MAX, PAGE_BYTES_MAX};
use quorate_proto::rpc;

use super::visible_end;
use crate::machine::records::{Hook, HookEvent};
use crate::machine::sight::Sight;
use crate::machine::{BotTables as _, Tables as _, join, scopes};
use crate::store::{Reader, Space, StoreError};

/// Bots named in one answer as having something to be told; of each its owner is looked up.
const WAITING_LISTED_MAX: usize = 250;
/// Items in one answer.
const ITEMS_MAX: u32 = 100;
/// What an item takes beside its event, about.
const ITEM_BYTES: usize = 32;

/// The secret's place holds which secret it is, until the service puts the secret there: the state has none.
fn secret_place(hook: &Hook) -> Bytes {
    Bytes::copy_from_slice(&hook.generation.to_be_bytes())
}

/// The bots of a user that were not deleted, in order of creation.
pub(super) fn bots(state: &Reader<'_>, user: u64) -> Result<rpc::BotsResult, StoreError> {
    let ids = state.bots_of(user, BOTS_PER_USER_MAX)?.into_iter();
    Ok(rpc::BotsResult { bots: ids.map(|id| bot(state, id)).collect::<Result<_, _>>()? })
}

fn bot(state: &Reader<'_>, id: u64) -> Result<rpc::BotInfo, StoreError> {
    let record = state.user(id)?.ok_or_else(|| StoreError::damaged("a bot is listed only"))?;
    let info = rpc::BotInfo {
        user: Some(join::user(state, id)?),
        created_ms: record.created_ms,
        tokens: tokens(state, id)?,
        ..rpc::BotInfo::default()
    };
    let Some(hook) = state.hook(id)?.filter(Hook::is_set) else { return Ok(info) };
    Ok(rpc::BotInfo {
        hook_secret: secret_place(&hook),
        waiting: hook.waiting(),
        hook_url: hook.url,
        mentions_only: hook.mentions_only,
        given_up: hook.given_up,
        last_error: hook.last_error,
        last_error_ms: hook.last_error_ms,
        ..info
    })
}

/// A user's own tokens.
pub(super) fn tokens_result(state: &Reader<'_>, user: u64) -> Result<rpc::TokensResult, StoreError> {
    Ok(rpc::TokensResult { tokens: tokens(state, user)? })
}

/// The tokens of a user that are still good, in order of creation.
fn tokens(state: &Reader<'_>, user: u64) -> Result<Vec<rpc::TokenInfo>, StoreError> {
    let now_ms = state.applied().log_time_ms;
    let sessions = state.sessions_of(user, usize::MAX)?.into_iter();
    let good = sessions.filter(|(_, session)| session.is_token() && session.lasts(now_ms));
    let mut tokens: Vec<rpc::TokenInfo> = good
        .map(|(id, session)| rpc::TokenInfo {
            session_id: Bytes::copy_from_slice(&id),
            label: session.device,
            scopes: session.scopes,
            created_ms: session.created_ms,
            ends_ms: session.ends_ms,
            conversation_id: session.only_conversation,
        })
        .collect();
    tokens.sort_by(|a, b| (a.created_ms, &a.session_id).cmp(&(b.created_ms, &b.session_id)));
    Ok(tokens)
}

/// Who tells webhooks, and which have something to be told. The lease as it is written down: it may have ended.
pub(super) fn hooks(state: &Reader<'_>, query: &rpc::HooksQuery) -> Result<rpc::HooksResult, StoreError> {
    let lease = state.hook_lease()?.unwrap_or_default();
    let (bots, more) = waiting(state, query.after_bot_id)?;
    let owner = |bot: &u64| Ok(state.user(*bot)?.map_or(0, |bot| bot.owner_id));
    Ok(rpc::HooksResult {
        holder: lease.holder,
        lease_ends_ms: lease.ends_ms,
        hooks: state.counters()?.hooks,
        owners: bots.iter().map(owner).collect::<Result<_, StoreError>>()?,
        bots_waiting: bots,
        more,
    })
}

/// Bots with something to be told: those behind one of them, then those from the lowest on; and whether others wait as well.
fn waiting(state: &Reader<'_>, after: u64) -> Result<(Vec<u64>, bool), StoreError> {
    // One more than is told.
    let limit = WAITING_LISTED_MAX + 1;
    let mut bots = state.hooks_waiting(after.saturating_add(1), limit)?;
    if after > 0 {
        let lowest = state.hooks_waiting(0, limit - bots.len())?;
        bots.extend(lowest.into_iter().take_while(|bot| *bot <= after));
    }
    let more = bots.len() > WAITING_LISTED_MAX;
    bots.truncate(WAITING_LISTED_MAX);
    Ok((bots, more))
}

/// What one webhook is to be told next.
pub(super) fn hook(state: &Reader<'_>, query: &rpc::HookQuery) -> Result<rpc::HookResult, StoreError> {
    let id = query.bot_id;
    let Some(hook) = state.hook(id)?.filter(Hook::is_set) else { return Ok(rpc::HookResult::default()) };
    let limit = if query.limit == 0 { ITEMS_MAX } else { query.limit.min(ITEMS_MAX) };
    // What waits for a bot that was shut out is told to nobody.
    let can_act = scopes::can_act(state, id)?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    for (number, item) in state.hook_events(id, hook.first, limit as usize)? {
        let event = if can_act { event(state, id, &item)? } else { None };
        bytes += ITEM_BYTES + event.as_ref().map_or(0, rpc::Event::encoded_len);
        if bytes > PAGE_BYTES_MAX && !items.is_empty() {
            break;
        }
        items.push(rpc::HookItem { number, event, since_ms: item.log_time_ms });
    }
    let bot = Some(join::user(state, id)?);
    Ok(rpc::HookResult { bot, secret: secret_place(&hook), url: hook.url, items })
}

/// An event as the bot reads it now, alike to `since`; `None` when it may not any more.
fn event(state: &Reader<'_>, bot: u64, item: &HookEvent) -> Result<Option<rpc::Event>, StoreError> {
    let HookEvent { conversation_id: id, version, .. } = *item;
    let (Some(member), Some(conversation)) = (state.member(id, bot)?, state.conversation(id)?) else {
        return Ok(None);
    };
    if version <= member.base_version || version > visible_end(&conversation, &member).1 {
        return Ok(None);
    }
    let found = state.events(Space::ConversationEvents, id, version, version + 1, 1)?;
    let Some((_, record)) = found.into_iter().next() else { return Ok(None) };
    let topic = rpc::Topic { kind: rpc::topic::Kind::Conversation.into(), id };
    let event = join::event(state, topic, version, record)?;
    Sight::of(state, bot, id)?.of_event(state, event).map(Some)
}
