//! Bots, and the tokens by which they and people's own programs act.
//!
//! A bot is a user without a password. A token is a session that begins without a sign-in, is never refreshed, and is good for the
//! scopes that it was made with (`scopes`).

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{BOTS_PER_CONVERSATION_MAX, BOTS_PER_USER_MAX, TOKENS_PER_USER_MAX};
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::records::{Conversation, Session, User};
use super::{BotTables as _, Decision, Step, Tables as _, done, rejected, scopes};
use crate::store::{StoreError, View};

/// Bytes of a BLAKE3 hash.
const HASH_BYTES: usize = 32;

impl<V: View> Step<'_, V> {
    pub(super) fn create_bot(&mut self, by: u64, create: &rpc::CreateBot) -> Decision<outcome::Result> {
        let name = text::canonical_name(&create.name)?;
        let display_name = text::canonical_title(&create.display_name)?;
        if self.present_user(by)?.is_bot() {
            return rejected(ErrorCode::Forbidden, "a bot has no bots");
        }
        if self.state.bots_of(by, BOTS_PER_USER_MAX)?.len() >= BOTS_PER_USER_MAX {
            return rejected(ErrorCode::TooLarge, "you have as many bots as you can have: delete one first");
        }
        if self.state.user_id(&name)?.is_some() {
            return rejected(ErrorCode::NameTaken, "this user name is taken: choose another");
        }
        let mut counters = self.state.counters()?;
        counters.users += 1;
        let user_id = counters.users;
        self.state.put_counters(&counters);
        let created_ms = self.context.log_time_ms;
        self.state
            .put_user(user_id, &User { name, display_name, created_ms, owner_id: by, ..User::default() });
        self.state.put_bot_of(by, user_id, true);
        Ok(outcome::Result::User(rpc::UserCreated { user_id }))
    }

    /// Whether a user is a bot of hers.
    pub(super) fn owns(&self, by: u64, user_id: u64) -> Result<bool, StoreError> {
        Ok(by != 0 && self.state.user(user_id)?.is_some_and(|user| user.owner_id == by))
    }

    /// Refuses whoever is neither the caller nor a bot of hers that is there.
    pub(super) fn check_own(&self, by: u64, user_id: u64) -> Decision<()> {
        let own = self.state.user(user_id)?.filter(|user| user_id == by || user.owner_id == by);
        match own {
            Some(user) if !user.is_deleted() => Ok(()),
            _ => rejected(ErrorCode::NotFound, "you have no such bot"),
        }
    }

    pub(super) fn make_token(&mut self, by: u64, make: &rpc::MakeToken) -> Decision<outcome::Result> {
        let Ok(id) = make.session_id.as_ref().try_into() else {
            return rejected(ErrorCode::Invalid, "a session id has 16 bytes");
        };
        if make.secret_hash.len() != HASH_BYTES {
            return rejected(ErrorCode::Invalid, "the hash of a secret has 32 bytes");
        }
        let label = text::canonical_title(&make.label)?;
        if make.scopes == 0 || make.scopes & !scopes::ALL != 0 {
            return rejected(ErrorCode::Invalid, "a token has at least one scope: read, send or manage");
        }
        let user_id = make.user_id;
        self.check_own(by, user_id)?;
        if make.conversation_id != 0 {
            if make.scopes != scopes::SEND {
                return rejected(
                    ErrorCode::Invalid,
                    "a token for one conversation has the scope send and no other",
                );
            }
            let member = self.state.member(make.conversation_id, user_id)?;
            if !member.is_some_and(|member| member.is_present()) {
                return rejected(ErrorCode::NotFound, "whose token it is is not in this conversation");
            }
        }
        if self.state.session(&make.session_id)?.is_some() {
            return rejected(ErrorCode::IdConflict, "this session id is taken");
        }
        self.make_room_for_token(user_id)?;
        let created_ms = self.context.log_time_ms;
        let ends_ms = if make.lasts_ms == 0 { 0 } else { created_ms.saturating_add(make.lasts_ms) };
        let session = Session {
            user_id,
            refresh_hash: make.secret_hash.clone(),
            device: label,
            created_ms,
            scopes: make.scopes,
            ends_ms,
            only_conversation: make.conversation_id,
            ..Session::default()
        };
        self.state.put_session(id, &session);
        self.state.put_session_of(user_id, id);
        Ok(done())
    }

    /// Tokens whose time is over are ended for good; refuses where too many are left.
    fn make_room_for_token(&mut self, user_id: u64) -> Decision<()> {
        let now_ms = self.context.log_time_ms;
        let mut lasting = 0;
        for (id, session) in self.state.sessions_of(user_id, usize::MAX)? {
            match session.is_token() {
                true if session.lasts(now_ms) => lasting += 1,
                true => self.end(&id, session)?,
                false => {}
            }
        }
        if lasting >= TOKENS_PER_USER_MAX {
            return rejected(ErrorCode::TooLarge, "there are too many tokens: end one first");
        }
        Ok(())
    }

    pub(super) fn end_token(&mut self, by: u64, end: &rpc::EndToken) -> Decision<outcome::Result> {
        let is_own = end.user_id == by || self.owns(by, end.user_id)?;
        let is_it = |session: &Session| is_own && session.is_token() && session.user_id == end.user_id;
        let found = self.state.session(&end.session_id)?.filter(is_it);
        let (Some(session), Ok(id)) = (found, end.session_id.as_ref().try_into()) else {
            return rejected(ErrorCode::NotFound, "you have no such token");
        };
        if session.ended_ms == 0 {
            self.end(id, session)?;
        }
        Ok(done())
    }

    /// A bot's account is deleted: its owner has it no more, and it is told nothing more.
    pub(super) fn forget_bot(&mut self, id: u64, user: &User) -> Result<(), StoreError> {
        if !user.is_bot() {
            return Ok(());
        }
        self.state.put_bot_of(user.owner_id, id, false);
        self.drop_hook(id)
    }

    /// Somebody has come into a conversation; the caller writes its record.
    pub(super) fn note_bot(&self, conversation: &mut Conversation, user_id: u64) -> Decision<()> {
        if !self.state.user(user_id)?.is_some_and(|user| user.is_bot()) {
            return Ok(());
        }
        if conversation.bots.len() >= BOTS_PER_CONVERSATION_MAX {
            return rejected(ErrorCode::TooLarge, "there are too many bots here: remove one first");
        }
        conversation.bots.push(user_id);
        Ok(())
    }
}

/// Refuses what a bot cannot have: a password, a sign-in, the rights of an admin.
pub(super) fn check_person(user: &User) -> Decision<()> {
    if user.is_bot() {
        return rejected(ErrorCode::Invalid, "this is a bot: it has no password and is no admin");
    }
    Ok(())
}

/// An id of 16 bytes.
pub(super) fn is_id(bytes: &Bytes) -> bool {
    bytes.len() == 16
}
