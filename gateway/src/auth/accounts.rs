//! Sign-up, sign-in, refresh, sign-out.
//!
//! The refresh secret is 32 random bytes; the replicas keep its BLAKE3 hash. Access tokens come from any replica that
//! has applied the session.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::rest::{SessionGrant, SignIn, SignUp};
use quorate_proto::rpc::{
    Command, CreateSession, CreateUser, CredentialsQuery, CredentialsResult, EndSession, Outcome,
    ReadRequest, TokenRequest, command, outcome, read_request, read_response,
};
use quorate_proto::text;
use uuid::Uuid;

use super::passwords::{PasswordError, Passwords};
use super::tokens::Identity;
use crate::clock;
use crate::command::{by, read_error, submit_error};
use crate::convert;
use crate::leader::LeaderClient;
use crate::metrics::Metrics;
use crate::reads::{ReadError, Reader};

/// Names of devices, in characters; longer ones are cut.
const DEVICE_CHARS_MAX: usize = 80;
/// What a client is told to wait when too many sign in, ms.
const BUSY_RETRY_MS: u64 = 1_000;

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
        text::check_password(&asked.password).map_err(|error| invalid(&error))?;
        let display_name = match asked.display_name.as_deref().map(str::trim) {
            None | Some("") => name.clone(),
            Some(title) => text::canonical_title(title).map_err(|error| invalid(&error))?,
        };
        let salt = clock::secret().map_err(|_| internal("no randomness for a salt"))?;
        let password_phc = self.passwords.hash(asked.password.clone(), salt).await.map_err(password_error)?;
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
            let phc = Some(found.password_phc);
            if !self.passwords.verify(asked.password, phc).await.map_err(password_error)? {
                return Err(wrong_credentials());
            }
        }
        let Some(outcome::Result::User(user)) = outcome.result else {
            return Err(internal("a replica answered something else"));
        };
        self.begin(user.user_id, asked.device).await
    }

    /// A session for somebody who knows the password.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn sign_in(&self, asked: SignIn) -> Result<Grant, WireError> {
        let name = text::canonical_name(&asked.name).ok();
        let found = match &name {
            Some(name) => self.credentials(name).await?,
            None => CredentialsResult::default(),
        };
        let phc = (found.user_id != 0).then_some(found.password_phc);
        let fits = text::check_password(&asked.password).is_ok();
        let password = if fits { asked.password } else { String::new() };
        let right = self.passwords.verify(password, phc).await.map_err(password_error)?;
        if !(right && fits) {
            return Err(wrong_credentials());
        }
        self.begin(found.user_id, asked.device).await
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

    async fn begin(&self, user_id: u64, device: Option<String>) -> Result<Grant, WireError> {
        let no_randomness = |_| internal("no randomness for a secret");
        let secret: [u8; 32] = clock::secret().map_err(no_randomness)?;
        let session = Uuid::from_bytes(clock::secret::<16>().map_err(no_randomness)?);
        let device: String =
            device.unwrap_or_default().chars().filter(|c| !c.is_control()).take(DEVICE_CHARS_MAX).collect();
        let command = Command {
            user_id,
            session_id: Vec::new().into(),
            command_id: clock::command_id().as_bytes().to_vec().into(),
            first_sent_ms: 0,
            action: Some(command::Action::CreateSession(CreateSession {
                user_id,
                session_id: session.as_bytes().to_vec().into(),
                refresh_hash: blake3::hash(&secret).as_bytes().to_vec().into(),
                device,
            })),
        };
        let outcome = self.submit(&command).await?;
        let cookie = format!("{session}.{}", URL_SAFE_NO_PAD.encode(secret));
        self.token(session, &secret, outcome.index, Some(cookie)).await
    }

    async fn token(
        &self,
        session: Uuid,
        secret: &[u8],
        min_index: u64,
        cookie: Option<String>,
    ) -> Result<Grant, WireError> {
        let request = TokenRequest {
            session_id: session.as_bytes().to_vec().into(),
            refresh_secret: secret.to_vec().into(),
            min_index,
        };
        let token = self.reader.token(request).await.map_err(|error| match error {
            ReadError::Unauthenticated => signed_out(),
            other => read_error(other),
        })?;
        Ok(Grant {
            body: SessionGrant {
                user: convert::user(token.user),
                session: session.to_string(),
                access_token: token.access_token,
                expires_at: token.expires_at_ms,
                index: min_index,
            },
            cookie,
        })
    }

    /// A fresh access token for the holder of the cookie.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn refresh(&self, cookie: &str) -> Result<Grant, WireError> {
        let (session, secret) = cookie.split_once('.').ok_or_else(signed_out)?;
        let session: Uuid = session.parse().map_err(|_| signed_out())?;
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| signed_out())?;
        self.token(session, &secret, self.reader.known_index(), None).await
    }

    /// Ends the caller's session everywhere.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn sign_out(&self, identity: &Identity, key: Uuid) -> Result<(), WireError> {
        let action = command::Action::EndSession(EndSession {
            session_id: identity.session.as_bytes().to_vec().into(),
        });
        self.submit(&by(identity, ClientMessageId(key), 0, action)).await.map(|_| ())
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
