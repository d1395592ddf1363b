//! Password hashes: argon2id on a bounded pool, so that a storm of sign-ins cannot starve the sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use tokio::sync::oneshot;

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

type Job = Box<dyn FnOnce() + Send>;

/// The pool: threads of its own, because each thread's allocator keeps the memory of its hashes. tokio's blocking threads
/// come and go by the hundred, and a gateway that had seen some hundred sign-ins would stand at half a gigabyte.
#[derive(Debug)]
pub struct Passwords {
    jobs: SyncSender<Job>,
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
    /// A pool of so many threads, which end with it.
    ///
    /// # Panics
    /// When the system gives no thread, which is at the start of the process.
    pub fn new(concurrency: usize, metrics: Arc<Metrics>) -> Self {
        let (jobs, queue) = sync_channel(WAITING_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..concurrency.max(1) {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name("password".into());
            thread.spawn(move || work_through(&queue)).expect("the process may have threads");
        }
        Self { jobs, dummy: hash_now("nobody's password", &[7; 16]).unwrap_or_default(), metrics }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (answer, result) = oneshot::channel();
        let job = move || {
            // Nobody waits for it any more: the next in the queue does.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| PasswordError::Overloaded)?;
        self.metrics.password_hashes.inc();
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

/// One thread's life: until the pool is dropped.
fn work_through(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A job that panics fails alone: who waits for it is told by its channel.
        let _ = catch_unwind(AssertUnwindSafe(job));
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
    async fn the_queue_has_a_bound_and_outlives_a_panic() {
        let passwords = Passwords::new(1, Arc::new(Metrics::default()));
        let (started, busy) = sync_channel(1);
        let (release, released) = sync_channel::<()>(1);
        let blocker = move || {
            started.send(()).unwrap();
            let _ = released.recv();
            panic!("on purpose");
        };
        passwords.jobs.try_send(Box::new(blocker)).unwrap();
        busy.recv().unwrap();
        for _ in 0..WAITING_MAX {
            passwords.jobs.try_send(Box::new(|| ())).unwrap();
        }
        assert_eq!(passwords.hash("x".into(), [1; 16]).await, Err(PasswordError::Overloaded));
        release.send(()).unwrap();
        let served = async {
            loop {
                match passwords.hash("x".into(), [1; 16]).await {
                    Err(PasswordError::Overloaded) => tokio::task::yield_now().await,
                    other => break other,
                }
            }
        };
        assert!(served.await.unwrap().starts_with("$argon2id$"));
    }
}
