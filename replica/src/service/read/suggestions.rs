//! What suggestions of replies are made from: the newest messages, and who agreed that they be shown to a provider elsewhere.

use std::collections::BTreeSet;

use quorate_proto::rpc::{self, event::Kind};

use super::{Refusal, history};
use crate::machine::Tables as _;
use crate::machine::records::Member;
use crate::store::Reader;

/// Messages looked at: what a member answered to something alike may be some way back.
const MESSAGES_MAX: u32 = 100;

/// The newest messages as the caller sees them, and whose preferences agree.
pub(super) fn context(
    state: &Reader<'_>,
    user: u64,
    query: &rpc::SuggestionsQuery,
) -> Result<rpc::SuggestionsResult, Refusal> {
    let conversation_id = query.conversation_id;
    let asked = rpc::HistoryQuery { conversation_id, limit: MESSAGES_MAX, ..rpc::HistoryQuery::default() };
    let messages = history(state, user, &asked)?.messages;
    let mut authors: BTreeSet<u64> = messages.iter().flat_map(authors).collect();
    authors.insert(user);
    let mut consenting_user_ids = Vec::new();
    for author in authors {
        let member = state.member(conversation_id, author)?.filter(Member::is_present);
        if member.and_then(|member| member.preferences).is_some_and(|preferences| preferences.suggestions) {
            consenting_user_ids.push(author);
        }
    }
    Ok(rpc::SuggestionsResult { messages, consenting_user_ids })
}

/// Who sent a message, and who wrote it where it was handed on from.
fn authors(event: &rpc::Event) -> impl Iterator<Item = u64> {
    let message = match &event.kind {
        Some(Kind::Message(message)) => Some(message),
        _ => None,
    };
    let from = message.and_then(|message| message.from.as_ref());
    let wrote = message.and_then(|message| message.forwarded.as_ref()?.from.as_ref());
    from.into_iter().chain(wrote).map(|user| user.id)
}
