//! Ways back into an account, and its end.

use bytes::Bytes;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::limits::RECOVERY_CODES_MAX;
use quorate_proto::rest::{DeleteAccount, NewRecoveryCodes, ResetPassword};
use quorate_proto::rpc::{self, Command, command};
use quorate_proto::text;
use uuid::Uuid;

use super::{
    Accounts, NAME_CHARS_MAX, check_new_password, no_randomness, password_error, phc_mark, read_only,
};
use crate::auth::Identity;
use crate::clock;

/// Fewest characters of a secret that an admin hands out: 256 bits as base64url.
const RESET_CHARS_MIN: usize = 43;

/// What the replicas know of a secret that somebody keeps.
fn hash(secret: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(secret.trim().as_bytes()).as_bytes())
}

/// The same words whoever asks: nobody learns whose name or secret it was.
fn not_good() -> WireError {
    WireError::new(ErrorCode::Unauthenticated, "wrong name, or a secret that is not good, or not any more")
}

/// A secret drawn by a client, in the form of an invite's code: 128 bits at least.
fn check_drawn(secret: &str) -> Result<(), WireError> {
    text::check_invite_code(secret.trim()).map_err(|_| {
        let message = "a code has 22 to 64 letters, digits, dashes or underscores, drawn at random";
        WireError::new(ErrorCode::Invalid, message)
    })
}

/// What the replicas know of a secret that an admin hands out.
///
/// # Errors
/// When it cannot hold 256 bits.
pub fn reset_hash(secret: &str) -> Result<Bytes, WireError> {
    if check_drawn(secret).is_err() || secret.trim().len() < RESET_CHARS_MIN {
        let message = "the secret has 43 to 64 letters, digits, dashes or underscores, drawn at random";
        return Err(WireError::new(ErrorCode::Invalid, message));
    }
    Ok(hash(secret))
}

impl Accounts {
    /// Another password for whoever has a secret for it. Counted as an attempt to sign in before anything is looked at; a name that
    /// nobody has takes the same way, and as long.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn reset_password(&self, asked: ResetPassword, key: Uuid) -> Result<(), WireError> {
        check_new_password(&asked.new_password)?;
        let name = text::canonical_name(&asked.name)
            .unwrap_or_else(|_| asked.name.chars().take(NAME_CHARS_MAX).collect());
        let found = self.credentials(&name).await?;
        let place = self.passwords.place().map_err(password_error)?;
        self.count(&found, None).await?;
        let salt = clock::secret().map_err(no_randomness)?;
        let password_phc =
            self.passwords.hash(&place, asked.new_password, salt).await.map_err(password_error)?;
        drop(place);
        let reset =
            rpc::ResetPassword { user_id: found.user_id, secret_hash: hash(&asked.secret), password_phc };
        let command = Command {
            command_id: key.as_bytes().to_vec().into(),
            action: Some(command::Action::ResetPassword(reset)),
            ..Command::default()
        };
        match self.submit(&command).await {
            Ok(_) => Ok(()),
            Err(refused) if matches!(refused.code, ErrorCode::Unauthenticated | ErrorCode::NotFound) => {
                tracing::info!(user = found.user_id, "a reset of a password was refused");
                Err(not_good())
            }
            Err(error) => Err(error),
        }
    }

    /// The caller's recovery codes, in place of earlier ones, if she knows her password.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn set_recovery_codes(
        &self,
        identity: &Identity,
        asked: NewRecoveryCodes,
        key: Uuid,
    ) -> Result<(), WireError> {
        if asked.codes.len() > RECOVERY_CODES_MAX {
            let message = format!("at most {RECOVERY_CODES_MAX} codes");
            return Err(WireError::new(ErrorCode::TooLarge, message));
        }
        asked.codes.iter().try_for_each(|code| check_drawn(code))?;
        let code_hashes = asked.codes.iter().map(|code| hash(code)).collect();
        self.prove(identity, asked.password).await?;
        let set = rpc::SetRecoveryCodes { code_hashes };
        self.command(identity, key, command::Action::SetRecoveryCodes(set)).await
    }

    /// Ends the caller's account for good, if she knows its password.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn delete(
        &self,
        identity: &Identity,
        asked: DeleteAccount,
        key: Uuid,
    ) -> Result<(), WireError> {
        let password_mark = self.prove(identity, asked.password).await?;
        let delete = rpc::DeleteUser { user_id: identity.user_id, password_mark };
        self.command(identity, key, command::Action::DeleteUser(delete)).await
    }

    /// The mark of the caller's password, if it is this one.
    async fn prove(&self, identity: &Identity, password: String) -> Result<Bytes, WireError> {
        if identity.read_only {
            return Err(read_only());
        }
        let (place, found) = self.tried(identity).await?;
        let mark = phc_mark(&found.password_phc);
        let fits = text::check_password(&password).is_ok();
        let password = if fits { password } else { String::new() };
        let right = self
            .passwords
            .verify(&place, password, Some(found.password_phc))
            .await
            .map_err(password_error)?;
        if right && fits {
            Ok(mark)
        } else {
            Err(WireError::new(ErrorCode::Forbidden, "the present password is another"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_can_be_guessed_is_not_taken() {
        let drawn = "A".repeat(43);
        assert_eq!(reset_hash(&drawn).unwrap(), hash(&drawn));
        assert_eq!(hash(&format!(" {drawn}\n")), hash(&drawn), "as it was pasted");
        for bad in ["", "short", &"A".repeat(42), &"A".repeat(65), &"ä".repeat(43)] {
            assert_eq!(reset_hash(bad).unwrap_err().code, ErrorCode::Invalid, "{bad}");
        }
        assert!(check_drawn(&"a".repeat(22)).is_ok());
        assert!(check_drawn("1234-5678").is_err());
    }
}
