//! Password hashes: argon2id on a bounded pool, so that a storm of sign-ins cannot starve the sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// OWASP's minimum for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes that may wait for a place; at 20 ms each on two cores the last waits under a second.
const WAITING_MAX: usize = 64;

/// Why there is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Too many wait.
    #[error("too many sign-ins at once")]
    Overloaded,
    /// A defect.
    #[error("the password could not be hashed")]
    Failed,
}

/// The pool.
#[derive(Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Compared against for a name that nobody has, so that it takes as long.
    dummy: String,
    metrics: Arc<Metrics>,
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

impl Passwords {
    /// A pool of so many places.
    pub fn new(concurrency: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(concurrency)),
            waiting: AtomicUsize::new(0),
            dummy: hash_now("nobody's password", &[7; 16]).unwrap_or_default(),
            metrics,
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= WAITING_MAX {
            return Err(PasswordError::Overloaded);
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| PasswordError::Failed)?;
        self.metrics.password_hashes.inc();
        let result = tokio::task::spawn_blocking(move || {
            // Held until the work ends, even when nobody waits for it any more.
            let _place = place;
            work()
        });
        result.await.map_err(|_| PasswordError::Failed)
    }

    /// The PHC string of a password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, PasswordError> {
        self.run(move || hash_now(&password, &salt)).await?.ok_or(PasswordError::Failed)
    }

    /// Whether a password is right. Without a PHC string the answer is no, after the same time.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] or [`PasswordError::Failed`].
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool, PasswordError> {
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.dummy.clone());
        let right = self
            .run(move || {
                PasswordHash::new(&phc)
                    .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
            })
            .await?;
        Ok(right && known)
    }
}

fn hash_now(password: &str, salt: &[u8; 16]) -> Option<String> {
    let salt = SaltString::encode_b64(salt).ok()?;
    argon2().hash_password(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_verifies_and_another_does_not() {
        let passwords = Passwords::new(1, Arc::new(Metrics::default()));
        let phc = passwords.hash("correct horse".into(), [1; 16]).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(passwords.verify("correct horse".into(), Some(phc.clone())).await, Ok(true));
        assert_eq!(passwords.verify("wrong horse".into(), Some(phc)).await, Ok(false));
        assert_eq!(
            passwords.verify("nobody's password".into(), None).await,
            Ok(false),
            "the dummy opens nothing"
        );
        assert_eq!(passwords.verify("x".into(), Some("no phc".into())).await, Ok(false));
    }

    #[tokio::test]
    async fn the_queue_has_a_bound() {
        let passwords = Passwords::new(1, Arc::new(Metrics::default()));
        passwords.waiting.store(WAITING_MAX, Ordering::Relaxed);
        assert_eq!(passwords.hash("x".into(), [1; 16]).await, Err(PasswordError::Overloaded));
        assert_eq!(
            passwords.waiting.load(Ordering::Relaxed),
            WAITING_MAX,
            "the place in the queue is given back"
        );
    }
}
