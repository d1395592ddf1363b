//! Users, sign-ins, and the keys that sign their tokens.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::{self, Command, outcome};
use quorate_proto::text;

use super::records::{EventKind, Session, SigningKey, User};
use super::{Decision, Step, Tables as _, done, rejected};
use crate::store::View;

/// Longest PHC string kept; argon2id's are about 100 bytes.
const PHC_BYTES_MAX: usize = 512;
/// Longest name of a device kept.
const DEVICE_CHARS_MAX: usize = 80;

impl<V: View> Step<'_, V> {
    pub(super) fn create_user(&mut self, create: &rpc::CreateUser) -> Decision<outcome::Result> {
        let name = text::canonical_name(&create.name)?;
        let display_name = text::canonical_title(&create.display_name)?;
        if create.password_phc.is_empty() || create.password_phc.len() > PHC_BYTES_MAX {
            return rejected(ErrorCode::Invalid, "an account needs a password hash in PHC format");
        }
        if self.state.user_id(&name)?.is_some() {
            return rejected(ErrorCode::NameTaken, "this user name is taken: choose another");
        }
        let mut counters = self.state.counters()?;
        counters.users += 1;
        let user_id = counters.users;
        self.state.put_counters(&counters);
        let user = User {
            name,
            display_name,
            password_phc: create.password_phc.clone(),
            created_ms: self.context.log_time_ms,
        };
        self.state.put_user(user_id, &user);
        Ok(outcome::Result::User(rpc::UserCreated { user_id }))
    }

    pub(super) fn create_session(&mut self, create: &rpc::CreateSession) -> Decision<outcome::Result> {
        let Ok(id) = create.session_id.as_ref().try_into() else {
            return rejected(ErrorCode::Invalid, "a session id has 16 bytes");
        };
        if create.refresh_hash.len() != 32 {
            return rejected(ErrorCode::Invalid, "a refresh hash has 32 bytes");
        }
        if self.state.user(create.user_id)?.is_none() {
            return rejected(ErrorCode::NotFound, "there is no such user");
        }
        if self.state.session(&create.session_id)?.is_some() {
            return rejected(ErrorCode::IdConflict, "this session id is taken");
        }
        let session = Session {
            user_id: create.user_id,
            refresh_hash: create.refresh_hash.clone(),
            device: create.device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS_MAX).collect(),
            created_ms: self.context.log_time_ms,
            ended_ms: 0,
        };
        self.state.put_session(id, &session);
        Ok(done())
    }

    pub(super) fn end_session(&mut self, by: u64, end: &rpc::EndSession) -> Decision<outcome::Result> {
        let found = self.state.session(&end.session_id)?.filter(|session| session.user_id == by);
        let (Some(mut session), Ok(id)) = (found, end.session_id.as_ref().try_into()) else {
            return rejected(ErrorCode::NotFound, "you have no such session");
        };
        if session.ended_ms == 0 {
            session.ended_ms = self.context.log_time_ms;
            self.state.put_session(id, &session);
            self.push_me(by, EventKind::MeSessionEnded(end.session_id.clone()))?;
        }
        Ok(done())
    }

    /// The caller is who the gateway says, through a session that lasts.
    pub(super) fn check_session(&self, command: &Command) -> Decision<()> {
        match self.state.session(&command.session_id)? {
            Some(session) if session.user_id == command.user_id && session.ended_ms == 0 => Ok(()),
            _ => rejected(ErrorCode::Unauthenticated, "this session has ended: sign in again"),
        }
    }

    pub(super) fn add_signing_key(&mut self, add: &rpc::AddSigningKey) -> Decision<outcome::Result> {
        if add.kid.is_empty() || add.kid.len() > 16 || add.public_key.len() != 32 {
            return rejected(
                ErrorCode::Invalid,
                "a signing key has a short name and a public half of 32 bytes",
            );
        }
        if self.state.signing_keys()?.iter().any(|key| key.kid == add.kid) {
            return rejected(ErrorCode::IdConflict, "there is a signing key of this name");
        }
        self.state.put_signing_key(&SigningKey {
            kid: add.kid.clone(),
            public_key: add.public_key.clone(),
            wrapped_private_key: Bytes::clone(&add.wrapped_private_key),
            created_ms: self.context.log_time_ms,
        });
        Ok(done())
    }
}
