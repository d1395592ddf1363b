//! Sessions: begun, refreshed, ended. Tokens are sessions of their own kind, made elsewhere (`bots`).
//!
//! A refresh secret is replaced with each refresh. The one before stays good for a minute, for two windows refresh at once and
//! answers get lost; it brings the same successor. The one before that brings nothing, and for a minute no harm: a request that
//! was held up may come last. Any older one means that somebody has a copy: that ends the session.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{PREVIOUS_SECRET_MS, SESSIONS_PER_USER_MAX};
use quorate_proto::rpc::{self, Command, outcome};

use super::accounts::phc_mark;
use super::records::{EventKind, Session};
use super::{Decision, Step, Tables as _, VERSION_ACCOUNTS, VERSION_DOMAIN, done, rejected, scopes};
use crate::store::{StoreError, View};

/// Longest name of a device kept.
const DEVICE_CHARS_MAX: usize = 80;
/// Bytes of a BLAKE3 hash, and of a salt.
const HASH_BYTES: usize = 32;

pub(super) fn ended<T>() -> Decision<T> {
    rejected(ErrorCode::Unauthenticated, "this session has ended: sign in again")
}

impl<V: View> Step<'_, V> {
    fn lists_sessions(&self) -> bool {
        self.context.machine_version >= VERSION_ACCOUNTS
    }

    pub(super) fn create_session(&mut self, create: &rpc::CreateSession) -> Decision<outcome::Result> {
        let Ok(id) = create.session_id.as_ref().try_into() else {
            return rejected(ErrorCode::Invalid, "a session id has 16 bytes");
        };
        if create.refresh_hash.len() != HASH_BYTES {
            return rejected(ErrorCode::Invalid, "a refresh hash has 32 bytes");
        }
        let Some(user) = self.state.user(create.user_id)? else {
            return rejected(ErrorCode::NotFound, "there is no such user");
        };
        // Nobody who asks learns that the name was somebody's, or that she was shut out.
        if !user.is_active() || user.is_bot() {
            return rejected(ErrorCode::Unauthenticated, "wrong name or password");
        }
        if self.state.session(&create.session_id)?.is_some() {
            return rejected(ErrorCode::IdConflict, "this session id is taken");
        }
        let mut session = Session {
            user_id: create.user_id,
            refresh_hash: create.refresh_hash.clone(),
            device: create.device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS_MAX).collect(),
            created_ms: self.context.log_time_ms,
            ..Session::default()
        };
        if self.lists_sessions() {
            if !matches!(create.family_hash.len(), 0 | HASH_BYTES) {
                return rejected(ErrorCode::Invalid, "a family hash has 32 bytes");
            }
            // Between the look at the password and this entry somebody may have set another, to shut out who knows the old one.
            if !create.password_mark.is_empty() && create.password_mark != phc_mark(&user.password_phc) {
                return rejected(
                    ErrorCode::Unauthenticated,
                    "the password was changed meanwhile: sign in again",
                );
            }
            session.family_hash = create.family_hash.clone();
            let known = (&create.known_session_id, &create.known_family_hash);
            let counter = self.counter_of(create.user_id, &[], known)?;
            self.forget_attempts(counter);
            self.make_room(create.user_id)?;
            self.state.put_session_of(create.user_id, id);
        }
        self.state.put_session(id, &session);
        Ok(done())
    }

    /// Who signs in once more than she may have sessions loses the oldest.
    fn make_room(&mut self, user_id: u64) -> Result<(), StoreError> {
        let mut sessions = self.state.sessions_of(user_id, usize::MAX)?;
        sessions.retain(|(_, session)| !session.is_token());
        sessions.sort_by_key(|(id, session)| (session.created_ms.max(session.refreshed_ms), *id));
        let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
        for (id, session) in sessions.into_iter().take(surplus) {
            self.end(&id, session)?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, id: &[u8; 16], mut session: Session) -> Result<(), StoreError> {
        let user_id = session.user_id;
        session.ended_ms = self.context.log_time_ms;
        self.state.put_session(id, &session);
        if self.lists_sessions() {
            self.state.delete_session_of(user_id, id);
        }
        self.push_me(user_id, EventKind::MeSessionEnded(Bytes::copy_from_slice(id)))
    }

    pub(super) fn end_session(&mut self, by: u64, end: &rpc::EndSession) -> Decision<outcome::Result> {
        let is_it = |session: &Session| session.user_id == by && !session.is_token();
        let found = self.state.session(&end.session_id)?.filter(is_it);
        let (Some(session), Ok(id)) = (found, end.session_id.as_ref().try_into()) else {
            return rejected(ErrorCode::NotFound, "you have no such session");
        };
        if session.ended_ms == 0 {
            self.end(id, session)?;
        }
        Ok(done())
    }

    /// Ends every sign-in of a user but this one. Her tokens stay: she ends them one by one.
    pub(super) fn end_other_sessions(&mut self, by: u64, own: &Bytes) -> Decision<outcome::Result> {
        for (id, session) in self.state.sessions_of(by, usize::MAX)? {
            if id != own.as_ref() && !session.is_token() {
                self.end(&id, session)?;
            }
        }
        Ok(done())
    }

    /// Ends every session of a user but this one, her tokens as well: whoever knew her password could have made them. Those of her
    /// bots stay.
    pub(super) fn end_all_but(&mut self, by: u64, own: &Bytes) -> Result<(), StoreError> {
        for (id, session) in self.state.sessions_of(by, usize::MAX)? {
            if id != own.as_ref() {
                self.end(&id, session)?;
            }
        }
        Ok(())
    }

    /// Ends every session of a user who was shut out or whose password was set by a secret, her tokens as well. Those of a deleted
    /// account keep no name of a device.
    pub(super) fn end_all_sessions(&mut self, user_id: u64) -> Result<(), StoreError> {
        let is_deleted = self.state.user(user_id)?.is_some_and(|user| user.is_deleted());
        for (id, mut session) in self.state.sessions_of(user_id, usize::MAX)? {
            if is_deleted {
                session.device.clear();
            }
            self.end(&id, session)?;
        }
        Ok(())
    }

    pub(super) fn refresh_session(&mut self, asked: &rpc::RefreshSession) -> Decision<outcome::Result> {
        let parts = [&asked.family_hash, &asked.refresh_hash, &asked.salt, &asked.next_hash];
        let (true, Ok(id)) =
            (parts.iter().all(|part| part.len() == HASH_BYTES), asked.session_id.as_ref().try_into())
        else {
            return rejected(ErrorCode::Invalid, "hashes and salts have 32 bytes, a session id 16");
        };
        let found = self.state.session(&asked.session_id)?;
        let found = found.filter(|session| session.ended_ms == 0 && !session.is_token());
        let Some(mut session) = found else { return ended() };
        let (user_id, now_ms) = (session.user_id, self.context.log_time_ms);
        let refreshed = |salt: Bytes, reused| {
            Ok(outcome::Result::Refreshed(rpc::SessionRefreshed { salt, reused, user_id }))
        };
        // A session that is older than this rule takes the family of its first refresh.
        let of_family = session.family_hash == asked.family_hash;
        if session.refresh_hash == asked.refresh_hash && (of_family || session.family_hash.is_empty()) {
            session.older_replaced_ms = session.refreshed_ms;
            session.older_hash = session.previous_hash;
            session.previous_hash = std::mem::replace(&mut session.refresh_hash, asked.next_hash.clone());
            session.family_hash = asked.family_hash.clone();
            session.salt = asked.salt.clone();
            session.refreshed_ms = now_ms;
            self.state.put_session(id, &session);
            return refreshed(asked.salt.clone(), false);
        }
        // Who knows nothing that this session's holders know must not be able to end it.
        if !of_family {
            return ended();
        }
        if session.previous_hash == asked.refresh_hash
            && now_ms <= session.refreshed_ms.saturating_add(PREVIOUS_SECRET_MS)
        {
            return refreshed(session.salt, false);
        }
        // It waited for a leader while another window went on twice: the browser has the newest by now.
        if session.older_hash == asked.refresh_hash
            && now_ms <= session.older_replaced_ms.saturating_add(PREVIOUS_SECRET_MS)
        {
            return rejected(ErrorCode::Unavailable, "another window has refreshed meanwhile: try again");
        }
        self.end(id, session)?;
        refreshed(Bytes::new(), true)
    }

    /// The caller is who the gateway says, through a session that lasts and, if it is a token, is good for what she wants.
    pub(super) fn check_session(&mut self, command: &Command) -> Decision<()> {
        let found = self
            .state
            .session(&command.session_id)?
            .filter(|session| session.user_id == command.user_id && session.lasts(self.context.log_time_ms));
        let Some(session) = found else { return ended() };
        self.check_account(command.user_id)?;
        self.token_scopes = session.scopes;
        match command.action.as_ref().and_then(|action| scopes::forbids(&session, action)) {
            None => Ok(()),
            Some(why) => rejected(ErrorCode::Forbidden, why),
        }
    }

    /// Whether the command came by a token. What is due before a command is by none.
    pub(super) fn is_by_token(&self) -> bool {
        self.token_scopes != 0
    }

    /// Whether the command came by a token without all of these scopes.
    pub(super) fn token_lacks(&self, scopes: u32) -> bool {
        self.is_by_token() && scopes & !self.token_scopes != 0
    }

    /// Whoever is disabled or deleted has no session that lasts; this is the second lock on that door. A bot's tokens last while
    /// its owner is shut out, and are good for nothing then.
    fn check_account(&self, user_id: u64) -> Decision<()> {
        if self.context.machine_version < VERSION_DOMAIN {
            return Ok(());
        }
        if scopes::can_act(&self.state, user_id)? { Ok(()) } else { ended() }
    }

    /// With version 3 the sessions that last are listed by user; those that began before are added once.
    pub(super) fn list_sessions(&mut self) -> Result<(), StoreError> {
        for (id, session) in self.state.all_sessions()? {
            if session.ended_ms == 0 {
                self.state.put_session_of(session.user_id, &id);
            }
        }
        Ok(())
    }
}
