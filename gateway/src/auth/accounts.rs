//! Sign-up, sign-in, refresh, sign-out; the sessions of a user and her password.
//!
//! An attempt to sign in is counted by the replicas before the password is looked at. Of a refresh secret the replicas keep
//! hashes. Access tokens come from any replica that has applied the session.

mod recovery;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::WriteState;
use quorate_proto::ids::ClientMessageId;
use quorate_proto::limits::NAME_CHARS_MAX;
use quorate_proto::rest::{ClaimAdmin, NewPassword, SessionGrant, Sessions, SignIn, SignUp};
use quorate_proto::rpc::{
    self, Command, CountAttempt, CreateSession, CreateUser, CredentialsQuery, CredentialsResult,
    EndOtherSessions, EndSession, Outcome, PasswordQuery, ReadRequest, RefreshSession, SessionsQuery,
    SetPassword, TokenRequest, command, outcome, read_request, read_response,
};
use quorate_proto::text;
use uuid::Uuid;

pub use recovery::reset_hash;

use super::common::check_new_password;
use super::passwords::{PasswordError, Passwords, Place};
use super::secret::RefreshSecret;
use super::tokens::Identity;
use crate::clock;
use crate::command::{by, read_error, submit_error};
use crate::convert;
use crate::leader::{LeaderClient, SubmitError};
use crate::metrics::Metrics;
use crate::reads::{ReadError, Reader, request};

/// Names of devices, in characters; longer ones are cut.
const DEVICE_CHARS_MAX: usize = 80;
/// What a client is told to wait when too many sign in, ms.
const BUSY_RETRY_MS: u64 = 1_000;
/// A refresh waits so long for its commit; then its holder may read until a majority is back.
const REFRESH_WAIT: Duration = Duration::from_secs(4);

/// A session begun or refreshed, with the value of its cookie if that is new.
#[derive(Debug)]
pub struct Grant {
    /// The body of the answer.
    pub body: SessionGrant,
    /// The refresh cookie's value.
    pub cookie: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Accounts {
    reader: Reader,
    leader: LeaderClient,
    passwords: Passwords,
}

fn wrong_credentials() -> WireError {
    // The same words for an unknown name and a wrong password.
    WireError::new(ErrorCode::Unauthenticated, "wrong name or password")
}

fn signed_out() -> WireError {
    WireError::new(ErrorCode::Unauthenticated, "not signed in, or signed out since: sign in again")
}

fn invalid(error: &text::TextError) -> WireError {
    WireError::new(ErrorCode::Invalid, error.to_string())
}

fn password_error(error: PasswordError) -> WireError {
    match error {
        PasswordError::Overloaded => {
            WireError::new(ErrorCode::Overloaded, error.to_string()).retry_after(BUSY_RETRY_MS)
        }
        PasswordError::Failed => WireError::new(ErrorCode::Internal, error.to_string()),
    }
}

fn internal(message: &str) -> WireError {
    WireError::new(ErrorCode::Internal, message)
}

fn no_randomness(_: getrandom::Error) -> WireError {
    internal("no randomness for a secret")
}

/// What somebody is told who writes with a token that reads only.
pub fn read_only() -> WireError {
    let message =
        "this token was given out while no majority of replicas was there, and reads only: refresh it";
    WireError::new(ErrorCode::Unavailable, message).retry_after(BUSY_RETRY_MS)
}

/// By what a replica knows a device again: the session that it holds a secret of, and the family's hash.
fn device_of(known: &RefreshSecret) -> (Bytes, Bytes) {
    (known.session().as_bytes().to_vec().into(), known.family_hash().to_vec().into())
}

/// What names the PHC string that a password was compared with.
fn phc_mark(phc: &str) -> Bytes {
    Bytes::copy_from_slice(&blake3::hash(phc.as_bytes()).as_bytes()[..16])
}

fn throttled(wait_ms: u64) -> WireError {
    let message = format!("too many attempts: try again in {} s", wait_ms.div_ceil(1_000));
    WireError::new(ErrorCode::RateLimited, message).retry_after(wait_ms)
}

impl Accounts {
    /// With a pool of `argon2_concurrency` places.
    pub fn new(
        reader: Reader,
        leader: LeaderClient,
        argon2_concurrency: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { reader, leader, passwords: Passwords::new(argon2_concurrency, metrics) }
    }

    async fn submit(&self, command: &Command) -> Result<Outcome, WireError> {
        let outcome = self.leader.submit(command).await.map_err(submit_error)?;
        match outcome.result {
            Some(outcome::Result::Rejected(rejected)) => Err(convert::rejected(&rejected)),
            _ => Ok(outcome),
        }
    }

    /// A new account and its first session. `key` makes a repeated sign-up with the same name and password find the
    /// account it made.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn sign_up(&self, asked: SignUp, key: Uuid) -> Result<Grant, WireError> {
        let name = text::canonical_name(&asked.name).map_err(|error| invalid(&error))?;
        check_new_password(&asked.password)?;
        let display_name = match asked.display_name.as_deref().map(str::trim) {
            None | Some("") => name.clone(),
            Some(title) => text::canonical_title(title).map_err(|error| invalid(&error))?,
        };
        let salt = clock::secret().map_err(|_| internal("no randomness for a salt"))?;
        let place = self.passwords.place().map_err(password_error)?;
        let password_phc =
            self.passwords.hash(&place, asked.password.clone(), salt).await.map_err(password_error)?;
        let mut password_mark = phc_mark(&password_phc);
        let command = Command {
            user_id: 0,
            session_id: Vec::new().into(),
            command_id: key.as_bytes().to_vec().into(),
            first_sent_ms: 0,
            action: Some(command::Action::CreateUser(CreateUser {
                name: name.clone(),
                display_name,
                password_phc,
            })),
        };
        let outcome = self.submit(&command).await?;
        if outcome.replay {
            // The account was made before under this key; the machine does not compare passwords, for each attempt has
            // its own salt. Only who knows the first one's password gets a session.
            let found = self.credentials(&name).await?;
            self.count(&found, None).await?;
            password_mark = phc_mark(&found.password_phc);
            let phc = Some(found.password_phc);
            if !self.passwords.verify(&place, asked.password, phc).await.map_err(password_error)? {
                return Err(wrong_credentials());
            }
        }
        drop(place);
        let Some(outcome::Result::User(user)) = outcome.result else {
            return Err(internal("a replica answered something else"));
        };
        self.begin(user.user_id, asked.device, password_mark, None).await
    }

    /// A session for somebody who knows the password. A cookie of an earlier session of hers, ended or not, says that this
    /// is her device: then nobody elsewhere can use up her attempts.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn sign_in(&self, asked: SignIn, cookie: Option<&str>) -> Result<Grant, WireError> {
        // What cannot be a name takes the same way: nobody has it.
        let name = text::canonical_name(&asked.name)
            .unwrap_or_else(|_| asked.name.chars().take(NAME_CHARS_MAX).collect());
        let known = cookie.and_then(RefreshSecret::parse);
        let found = self.credentials(&name).await?;
        let place = self.passwords.place().map_err(password_error)?;
        self.count(&found, known.as_ref()).await?;
        let password_mark = phc_mark(&found.password_phc);
        let phc = (found.user_id != 0).then_some(found.password_phc);
        let fits = text::check_password(&asked.password).is_ok();
        let password = if fits { asked.password } else { String::new() };
        let right = self.passwords.verify(&place, password, phc).await.map_err(password_error)?;
        drop(place);
        if !(right && fits) {
            tracing::info!(user = found.user_id, "a sign-in was refused");
            return Err(wrong_credentials());
        }
        self.begin(found.user_id, asked.device, password_mark, known).await
    }

    /// Counts an attempt, or refuses it.
    async fn count(&self, found: &CredentialsResult, known: Option<&RefreshSecret>) -> Result<(), WireError> {
        let mut count = CountAttempt {
            user_id: found.user_id,
            name_key: found.name_key.clone(),
            ..CountAttempt::default()
        };
        if let Some(known) = known {
            (count.known_session_id, count.known_family_hash) = device_of(known);
        }
        self.submit_count(&Command {
            command_id: clock::command_id().as_bytes().to_vec().into(),
            action: Some(command::Action::CountAttempt(count)),
            ..Command::default()
        })
        .await
    }

    async fn submit_count(&self, command: &Command) -> Result<(), WireError> {
        let result = match self.leader.submit(command).await {
            Ok(outcome) => outcome.result,
            // A leader of the version before does not know the command: it counts nothing.
            Err(SubmitError::Malformed) => return Ok(()),
            Err(error) => return Err(submit_error(error)),
        };
        match result {
            Some(outcome::Result::Attempt(attempt)) if attempt.wait_ms == 0 => Ok(()),
            Some(outcome::Result::Attempt(attempt)) => Err(throttled(attempt.wait_ms)),
            Some(outcome::Result::Rejected(rejected)) => match convert::rejected(&rejected) {
                error if error.code == ErrorCode::Unsupported => Ok(()),
                error => Err(error),
            },
            _ => Err(internal("a replica answered something else")),
        }
    }

    /// The newest word on a user: an account made a moment ago through another gateway must be found.
    async fn credentials(&self, name: &str) -> Result<CredentialsResult, WireError> {
        let asked = ReadRequest {
            min_index: self.reader.known_index(),
            linearizable: true,
            query: Some(read_request::Query::Credentials(CredentialsQuery { name: name.to_owned() })),
            ..ReadRequest::default()
        };
        match self.reader.read(asked).await.map_err(read_error)?.result {
            Some(read_response::Result::Credentials(found)) => Ok(found),
            _ => Err(internal("a replica answered something else")),
        }
    }

    async fn begin(
        &self,
        user_id: u64,
        device: Option<String>,
        password_mark: Bytes,
        known: Option<RefreshSecret>,
    ) -> Result<Grant, WireError> {
        let session = Uuid::from_bytes(clock::secret::<16>().map_err(no_randomness)?);
        let family = clock::secret().map_err(no_randomness)?;
        let secret = RefreshSecret::new(session, family, clock::secret().map_err(no_randomness)?);
        let device: String =
            device.unwrap_or_default().chars().filter(|c| !c.is_control()).take(DEVICE_CHARS_MAX).collect();
        let (known_session_id, known_family_hash) = known.as_ref().map(device_of).unwrap_or_default();
        let command = Command {
            user_id,
            session_id: Vec::new().into(),
            command_id: clock::command_id().as_bytes().to_vec().into(),
            first_sent_ms: 0,
            action: Some(command::Action::CreateSession(CreateSession {
                user_id,
                session_id: session.as_bytes().to_vec().into(),
                refresh_hash: secret.hash().to_vec().into(),
                device,
                family_hash: secret.family_hash().to_vec().into(),
                known_session_id,
                known_family_hash,
                password_mark,
            })),
        };
        let outcome = self.submit(&command).await?;
        let mut grant = self.token(&secret, outcome.index, false).await?;
        grant.cookie = Some(secret.cookie());
        Ok(grant)
    }

    async fn token(
        &self,
        secret: &RefreshSecret,
        min_index: u64,
        read_only: bool,
    ) -> Result<Grant, WireError> {
        let request = TokenRequest {
            session_id: secret.session().as_bytes().to_vec().into(),
            refresh_secret: secret.secret().to_vec().into(),
            min_index,
            read_only,
            of_token: false,
        };
        let token = self.reader.token(request).await.map_err(|error| match error {
            ReadError::Unauthenticated => signed_out(),
            other => read_error(other),
        })?;
        Ok(Grant {
            body: SessionGrant {
                user: convert::user(token.user),
                session: secret.session().to_string(),
                access_token: token.access_token,
                expires_at: token.expires_at_ms,
                index: min_index,
                read_only,
                admin: token.admin,
            },
            cookie: None,
        })
    }

    /// A fresh access token for the holder of the cookie, and the next cookie. Without a majority a short token that reads
    /// only, and the cookie stays as it is.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn refresh(&self, cookie: &str) -> Result<Grant, WireError> {
        let secret = RefreshSecret::parse(cookie).ok_or_else(signed_out)?;
        let index = self.reader.known_index();
        if self.leader.write().borrow().state == WriteState::NoQuorum {
            return self.reading_token(&secret).await;
        }
        let salt: [u8; 32] = clock::secret().map_err(no_randomness)?;
        let action = command::Action::RefreshSession(RefreshSession {
            session_id: secret.session().as_bytes().to_vec().into(),
            family_hash: secret.family_hash().to_vec().into(),
            refresh_hash: secret.hash().to_vec().into(),
            salt: salt.to_vec().into(),
            next_hash: secret.next(&salt).hash().to_vec().into(),
        });
        let command = Command {
            command_id: clock::command_id().as_bytes().to_vec().into(),
            action: Some(action),
            ..Command::default()
        };
        let outcome = match self.leader.submit_within(&command, REFRESH_WAIT).await {
            Ok(outcome) => outcome,
            // A leader of the version before: it keeps one secret for ever.
            Err(SubmitError::Malformed) => return self.token(&secret, index, false).await,
            // Perhaps it is applied later: then the present secret is the one before, and still good for a while.
            Err(_) => return self.reading_token(&secret).await,
        };
        let session = secret.session();
        match outcome.result {
            Some(outcome::Result::Refreshed(refreshed)) if refreshed.reused => {
                tracing::warn!(
                    user = refreshed.user_id,
                    %session,
                    "a refresh secret was shown again after it was replaced: somebody has a copy, the session is ended"
                );
                Err(signed_out())
            }
            Some(outcome::Result::Refreshed(refreshed)) => {
                let next = secret.next(&refreshed.salt);
                let mut grant = self.token(&next, outcome.index, false).await?;
                grant.cookie = Some(next.cookie());
                Ok(grant)
            }
            Some(outcome::Result::Rejected(rejected)) => match convert::rejected(&rejected).code {
                ErrorCode::Unsupported => self.token(&secret, index, false).await,
                ErrorCode::Unauthenticated => Err(signed_out()),
                // Another window was faster: the browser has the newest cookie, or will in a moment.
                ErrorCode::Unavailable => Err(convert::rejected(&rejected).retry_after(BUSY_RETRY_MS)),
                _ => Err(convert::rejected(&rejected)),
            },
            _ => Err(internal("a replica answered something else")),
        }
    }

    /// A token that reads only, while nothing can be committed. What is left of the replicas may lack the newest entries, or
    /// not know that they are committed: then an older state must do, and "no such session" is no reason to sign anybody out.
    async fn reading_token(&self, secret: &RefreshSecret) -> Result<Grant, WireError> {
        let mut missing = internal("nobody was asked");
        for min_index in [self.reader.known_index(), 0] {
            match self.token(secret, min_index, true).await {
                Ok(grant) => return Ok(grant),
                Err(error) => missing = error,
            }
            // Said by a replica that is as new as anybody here knows: an older one, which has not heard of the end of the session,
            // is not asked.
            if missing.code == ErrorCode::Unauthenticated {
                break;
            }
        }
        match missing.code {
            ErrorCode::Unauthenticated => {
                let message = "no majority of replicas is there to say whether you are signed in";
                Err(WireError::new(ErrorCode::Unavailable, message).retry_after(BUSY_RETRY_MS))
            }
            _ => Err(missing),
        }
    }

    /// The caller's sessions that last.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn sessions(&self, identity: &Identity) -> Result<Sessions, WireError> {
        let query = read_request::Query::Sessions(SessionsQuery {});
        let asked = request(self.reader.known_index(), identity.user_id, identity.session.as_bytes(), query);
        let response = self.reader.read(asked).await.map_err(read_error)?;
        let as_of_index = response.as_of_index;
        let Some(read_response::Result::Sessions(found)) = response.result else {
            return Err(internal("a replica answered something else"));
        };
        Ok(convert::sessions(found, identity.session.as_bytes(), as_of_index))
    }

    /// Ends every session of the caller but this one.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn end_others(&self, identity: &Identity, key: Uuid) -> Result<(), WireError> {
        self.command(identity, key, command::Action::EndOtherSessions(EndOtherSessions {})).await
    }

    /// Another password for who knows the present one. Ends every other session.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn set_password(
        &self,
        identity: &Identity,
        asked: NewPassword,
        key: Uuid,
    ) -> Result<(), WireError> {
        check_new_password(&asked.new_password)?;
        if identity.read_only {
            return Err(read_only());
        }
        let (place, found) = self.tried(identity).await?;
        let present = Some(found.password_phc.clone());
        let right =
            self.passwords.verify(&place, asked.password, present.clone()).await.map_err(password_error)?;
        if !right {
            // Asked again after its answer was lost, it is done already.
            let new = asked.new_password.clone();
            return match self.passwords.verify(&place, new, present).await.map_err(password_error)? {
                true => Ok(()),
                false => Err(WireError::new(ErrorCode::Forbidden, "the present password is another")),
            };
        }
        let salt = clock::secret().map_err(no_randomness)?;
        let set = SetPassword {
            password_phc: self
                .passwords
                .hash(&place, asked.new_password, salt)
                .await
                .map_err(password_error)?,
            replaces: phc_mark(&found.password_phc),
        };
        self.command(identity, key, command::Action::SetPassword(set)).await
    }

    /// What the caller's password is compared with, and a place to do it; her attempt is counted.
    async fn tried(&self, identity: &Identity) -> Result<(Place, CredentialsResult), WireError> {
        let query = read_request::Query::Password(PasswordQuery {});
        let near = request(self.reader.known_index(), identity.user_id, identity.session.as_bytes(), query);
        let response =
            self.reader.read(ReadRequest { linearizable: true, ..near }).await.map_err(read_error)?;
        let Some(read_response::Result::Password(found)) = response.result else {
            return Err(internal("a replica answered something else"));
        };
        let place = self.passwords.place().map_err(password_error)?;
        // Counted for this session alone: no stranger can keep her from it.
        let count = CountAttempt { user_id: identity.user_id, ..CountAttempt::default() };
        let id = ClientMessageId(clock::command_id());
        self.submit_count(&by(identity, id, 0, command::Action::CountAttempt(count))).await?;
        Ok((place, found))
    }

    /// Makes the caller an admin, if she has the operator's secret.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn claim_admin(
        &self,
        identity: &Identity,
        asked: ClaimAdmin,
        key: Uuid,
    ) -> Result<(), WireError> {
        let secret = URL_SAFE_NO_PAD.decode(asked.secret.trim()).unwrap_or_default();
        let secret_hash = blake3::hash(&secret).as_bytes().to_vec().into();
        self.command(identity, key, command::Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash })).await
    }

    async fn command(
        &self,
        identity: &Identity,
        key: Uuid,
        action: command::Action,
    ) -> Result<(), WireError> {
        if identity.read_only {
            return Err(read_only());
        }
        self.submit(&by(identity, ClientMessageId(key), 0, action)).await.map(|_| ())
    }

    /// Ends one of the caller's sessions everywhere.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn end(&self, identity: &Identity, session: Uuid, key: Uuid) -> Result<(), WireError> {
        let session_id = session.as_bytes().to_vec().into();
        self.command(identity, key, command::Action::EndSession(EndSession { session_id })).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_and_a_wrong_password_are_told_alike() {
        assert_eq!(wrong_credentials(), wrong_credentials());
        assert!(!wrong_credentials().message.contains("unknown"));
    }
}
