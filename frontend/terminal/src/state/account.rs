//! Who is signed in: begins a session, carries it on, ends it, and keeps the file true to it.

use quorate_client::proto::rest::{SessionGrant, SignIn, SignUp};

use super::{Home, Saved};
use crate::clock::wall_ms;
use crate::failure::{Failure, Result, Why};
use crate::net::{Answer, CallError, Rest};

/// A token that ends within this is exchanged rather than used.
const TOKEN_LEFT_MS_MIN: u64 = 60_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct Account {
    home: Home,
    rest: Rest,
}

impl Account {
    /// An account at the other end of `rest`, kept in `home`.
    pub fn new(home: Home, rest: Rest) -> Self {
        Self { home, rest }
    }

    /// Begins a session, for a new account where `new` says so, and keeps it.
    ///
    /// # Errors
    /// When the server refuses or does not answer, or the session cannot be kept.
    pub async fn sign_in(&self, name: &str, password: &str, new: bool) -> Result<SessionGrant> {
        let (name, password, device) = (name.to_owned(), password.to_owned(), Some(device()));
        let answer = if new {
            self.rest.sign_up(&SignUp { name, password, display_name: None, device }).await
        } else {
            self.rest.sign_in(&SignIn { name, password, device }).await
        };
        let _lock = self.home.lock().await?;
        let Answer { grant, cookie } = answer.map_err(|error| self.told(error))?;
        let cookie =
            cookie.ok_or_else(|| Failure::refused("The server gave no refresh cookie. Check --url."))?;
        self.home.keep_session(&self.saved(cookie, grant.clone()))?;
        Ok(grant)
    }

    /// A grant that can be used: the kept one while it lives, otherwise a fresh one. `held`: the token that was found
    /// wanting, if there is one.
    ///
    /// # Errors
    /// [`Why::SignedOut`] when there is no session or it has ended; otherwise it is worth another attempt.
    pub async fn grant(&self, held: Option<&str>) -> Result<SessionGrant> {
        let _lock = self.home.lock().await?;
        let saved = self.session()?.ok_or_else(Failure::signed_out)?;
        // Another run may have been quicker.
        let lives = saved.grant.expires_at > wall_ms() + TOKEN_LEFT_MS_MIN && !saved.grant.read_only;
        if lives && held != Some(saved.grant.access_token.as_str()) {
            return Ok(saved.grant);
        }
        match self.rest.refresh(&saved.cookie).await {
            Ok(Answer { grant, cookie }) => {
                self.home.keep_session(&self.saved(cookie.unwrap_or(saved.cookie), grant.clone()))?;
                Ok(grant)
            }
            Err(error) if error.denied() => {
                self.home.forget_session()?;
                let message = format!("The session has ended: {} Sign in again.", error.message);
                Err(Failure::new(Why::SignedOut, message))
            }
            Err(error) => Err(self.told(error)),
        }
    }

    /// Ends the session here and, where it can be told, everywhere.
    ///
    /// # Errors
    /// When the server could not be told: then the session is gone from here alone.
    pub async fn sign_out(&self) -> Result<()> {
        if self.session()?.is_none() {
            return Ok(());
        }
        let granted = self.grant(None).await;
        let told = match &granted {
            Ok(grant) => self.rest.sign_out(&grant.access_token).await,
            Err(error) if error.why == Why::SignedOut => Ok(()),
            Err(error) => Err(CallError { status: 0, message: error.message.clone() }),
        };
        let _lock = self.home.lock().await?;
        self.home.forget_session()?;
        match told {
            // A session that had ended already is as good.
            Err(error) if !error.denied() => Err(Failure::new(
                Why::Unreachable,
                format!(
                    "Signed out here; the server could not be told, so the session lasts there until you end it among \
                     your devices. {}",
                    error.message
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Whoever is signed in. A session is shown to the chat that gave it and to no other.
    fn session(&self) -> Result<Option<Saved>> {
        let here = self.rest.dial.address.origin();
        match self.home.session()? {
            Some(saved) if saved.url != here => {
                let there = saved.url;
                let message =
                    format!("Signed in at {there}, not at {here}. Leave --url out, or sign in there.");
                Err(Failure::new(Why::SignedOut, message))
            }
            session => Ok(session),
        }
    }

    fn saved(&self, cookie: String, grant: SessionGrant) -> Saved {
        Saved { url: self.rest.dial.address.origin(), ca_file: self.rest.dial.ca_file.clone(), cookie, grant }
    }

    fn told(&self, error: CallError) -> Failure {
        let why = match error.status {
            401 => Why::SignedOut,
            _ if error.unreachable() => Why::Unreachable,
            _ => Why::Refused,
        };
        Failure::new(why, error.message)
    }
}

/// What this device is called in the list of those that are signed in.
pub fn device() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "Terminal".to_owned() } else { format!("Terminal on {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Address, Dial};
    use crate::state::session::tests::saved;

    fn account(home: &Home, url: &str) -> Account {
        let address = Address::parse(url).expect("an address");
        Account::new(home.clone(), Rest { dial: Dial::new(address, None).expect("no TLS") })
    }

    #[tokio::test]
    async fn a_session_is_shown_to_nobody_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::at(dir.path().to_owned());
        home.keep_session(&saved("a")).expect("kept");
        let elsewhere = account(&home, "http://localhost:1");
        let error = elsewhere.grant(None).await.expect_err("another chat");
        assert!(error.why == Why::SignedOut && error.message.contains("http://localhost:8080"), "{error}");
        assert!(elsewhere.sign_out().await.is_err());
        assert!(home.session().expect("read").is_some(), "nor is it removed for it");
    }

    #[tokio::test]
    async fn a_token_that_lives_is_used_until_it_is_found_wanting() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::at(dir.path().to_owned());
        let mut kept = saved("a");
        kept.url = "http://localhost:1".to_owned();
        kept.grant.expires_at = wall_ms() + 10 * TOKEN_LEFT_MS_MIN;
        home.keep_session(&kept).expect("kept");
        let account = account(&home, "http://localhost:1");
        assert_eq!(account.grant(None).await.expect("it lives").access_token, "a");
        assert_eq!(account.grant(Some("older")).await.expect("it lives").access_token, "a");
        // Nobody answers there: the session is kept for another attempt.
        let error = account.grant(Some("a")).await.expect_err("nobody answers");
        assert_eq!(error.why, Why::Unreachable);
        assert!(home.session().expect("read").is_some());
    }
}
