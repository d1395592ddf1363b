//! How a member has one conversation. It stays hers when she leaves and comes back.

use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::{self, Preferences, outcome};

use super::records::{EventKind, Member};
use super::{Decision, Step, done, rejected};
use crate::store::View;

impl Member {
    /// Whether the other members are not told how far she has read, nor what has reached her.
    pub fn hides_receipts(&self) -> bool {
        self.preferences.as_ref().is_some_and(|preferences| preferences.no_receipts)
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn prefer(&mut self, by: u64, prefer: &rpc::Prefer) -> Decision<outcome::Result> {
        let id = prefer.conversation_id;
        let (conversation, mut member) = self.joined(by, id)?;
        if let Some(unread_from) = prefer.unread_from
            && unread_from != 0
            && (unread_from > conversation.sequence || unread_from <= member.base_sequence)
        {
            return rejected(ErrorCode::Invalid, "there is no such message to be unread from");
        }
        let before = member.preferences.unwrap_or_default();
        let preferences = Preferences {
            muted_until_ms: prefer.muted_until_ms.unwrap_or(before.muted_until_ms),
            favourite: prefer.favourite.unwrap_or(before.favourite),
            archived: prefer.archived.unwrap_or(before.archived),
            unread_from: prefer.unread_from.unwrap_or(before.unread_from),
            no_receipts: prefer.no_receipts.unwrap_or(before.no_receipts),
            suggestions: prefer.suggestions.unwrap_or(before.suggestions),
        };
        if preferences == before {
            return Ok(done());
        }
        member.preferences = Some(preferences);
        self.state.put_member(id, by, &member);
        let told = rpc::MePreferred { conversation_id: id, preferences: Some(preferences) };
        self.push_me(by, EventKind::MePreferred(told))?;
        Ok(done())
    }
}
