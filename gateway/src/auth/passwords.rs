//! Password hashes: argon2id on a bounded pool, so that a storm of sign-ins cannot starve the sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;

/// OWASP's minimum for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How nice a hash is to everything else on the machine, of 0 to 19. The pool bounds how many are under way, and that many still
/// are every core of a small machine, where a message would wait its turn among them in each process that it passes. As nice as
/// can be: rather does who signs in wait than everybody who is inside.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;
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

/// What a thread hashes in, kept from one hash to the next.
type Memory = Vec<Block>;
type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The pool: threads of its own, each with one hash's memory for good. Allocated for each hash, it was scattered by what came
/// between, until a gateway that had seen some hundred sign-ins stood at hundreds of MiB, and each hash began with 5,000 page
/// faults under the lock that the sockets' threads need for theirs.
#[derive(Debug)]
pub struct Passwords {
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
    /// Compared against for a name that nobody has, so that it takes as long.
    dummy: String,
    metrics: Arc<Metrics>,
}

/// A place in the pool, for one hash after the other: who has one is not told that too many wait. A hash that is under way keeps
/// it, also when nobody waits for it any more.
#[derive(Debug)]
pub struct Place(Arc<OwnedSemaphorePermit>);

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
        let concurrency = concurrency.max(1);
        let places = WAITING_MAX.saturating_add(concurrency);
        // Each job has a place, so the queue is never full.
        let (jobs, queue) = sync_channel(places);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..concurrency {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name("password".into());
            thread.spawn(move || work_through(&queue)).expect("the process may have threads");
        }
        let dummy = hash_now("nobody's password", &[7; 16], &mut Memory::new()).unwrap_or_default();
        Self { jobs, places: Arc::new(Semaphore::new(places)), dummy, metrics }
    }

    /// A place, taken before an attempt is counted: an attempt whose password nobody has time to look at costs nothing.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`].
    pub fn place(&self) -> Result<Place, PasswordError> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.map(|permit| Place(Arc::new(permit))).map_err(|_| PasswordError::Overloaded)
    }

    async fn run<T: Send + 'static>(
        &self,
        place: &Place,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (answer, result) = oneshot::channel();
        let held = Arc::clone(&place.0);
        let job = move |memory: &mut Memory| {
            let _held = held;
            // Nobody waits for it any more: the next in the queue does.
            if !answer.is_closed() {
                let _ = answer.send(work(memory));
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| PasswordError::Overloaded)?;
        self.metrics.password_hashes.inc();
        result.await.map_err(|_| PasswordError::Failed)
    }

    /// The PHC string of a password.
    ///
    /// # Errors
    /// [`PasswordError::Failed`].
    pub async fn hash(
        &self,
        place: &Place,
        password: String,
        salt: [u8; 16],
    ) -> Result<String, PasswordError> {
        self.run(place, move |memory| hash_now(&password, &salt, memory)).await?.ok_or(PasswordError::Failed)
    }

    /// Whether a password is right. Without a PHC string the answer is no, after the same time.
    ///
    /// # Errors
    /// [`PasswordError::Failed`].
    pub async fn verify(
        &self,
        place: &Place,
        password: String,
        phc: Option<String>,
    ) -> Result<bool, PasswordError> {
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.dummy.clone());
        let right = self.run(place, move |memory| is_right(&password, &phc, memory)).await?;
        Ok(right && known)
    }
}

/// Lets everything else go first. Of the calling thread only, which Linux alone can do: elsewhere the whole process would step back.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "passwords are hashed at the priority of everything else");
    }
}

/// One thread's life: until the pool is dropped.
fn work_through(queue: &Mutex<Receiver<Job>>) {
    step_back();
    let mut memory = Memory::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A job that panics fails alone: who waits for it is told by its channel.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
    }
}

/// The hash itself; `None` for what no PHC string of ours can say.
fn output(argon2: &Argon2<'_>, password: &str, salt: &[u8], memory: &mut Memory) -> Option<Output> {
    let params = argon2.params();
    // The first pass writes every block before it is read: what the hash before left does not matter.
    memory.resize(params.block_count(), Block::new());
    let mut bytes = [0; Output::MAX_LENGTH];
    let bytes = bytes.get_mut(..params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, bytes, memory).ok()?;
    Output::new(bytes).ok()
}

fn hash_now(password: &str, salt: &[u8; 16], memory: &mut Memory) -> Option<String> {
    let argon2 = argon2();
    let hash = output(&argon2, password, salt, memory)?;
    let salt = SaltString::encode_b64(salt).ok()?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).ok()?,
        salt: Some(salt.as_salt()),
        hash: Some(hash),
    };
    Some(phc.to_string())
}

/// Whether a password gives this hash, by the parameters under which it was made.
fn is_right(password: &str, phc: &str, memory: &mut Memory) -> bool {
    let mut computed = || {
        let phc = PasswordHash::new(phc).ok()?;
        let algorithm = Algorithm::try_from(phc.algorithm).ok()?;
        let version = phc.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let argon2 = Argon2::new(algorithm, version, Params::try_from(&phc).ok()?);
        let mut salt = [0; Salt::MAX_LENGTH];
        let salt = phc.salt?.decode_b64(&mut salt).ok()?;
        // Compared in constant time, as this type does.
        Some(output(&argon2, password, salt, memory)? == phc.hash?)
    };
    computed().unwrap_or(false)
}

/// The PHC string of a password, for tests that need one: of the least cost.
#[cfg(test)]
pub(crate) fn phc_for_tests(password: &str) -> String {
    use argon2::password_hash::PasswordHasher as _;

    let params = Params::new(Params::MIN_M_COST, 1, 1, None).expect("the least there is");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(&[3; 16]).expect("a salt");
    argon2.hash_password(password.as_bytes(), &salt).expect("a hash").to_string()
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn a_hash_is_the_librarys_whatever_the_memory_held_before() {
        let mut memory = Memory::new();
        let before = hash_now("another one", &[2; 16], &mut memory).unwrap();
        let phc = hash_now("correct horse", &[1; 16], &mut memory).unwrap();
        let salt = SaltString::encode_b64(&[1; 16]).unwrap();
        assert_eq!(phc, argon2().hash_password(b"correct horse", &salt).unwrap().to_string());
        let parsed = PasswordHash::new(&before).unwrap();
        assert!(argon2().verify_password(b"another one", &parsed).is_ok());
        // Made under other parameters, which the string names.
        let small = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 2, None).unwrap());
        let small = small.hash_password(b"correct horse", &salt).unwrap().to_string();
        for phc in [&phc, &small] {
            assert!(is_right("correct horse", phc, &mut memory));
            assert!(!is_right("wrong horse", phc, &mut memory));
        }
    }

    #[tokio::test]
    async fn a_password_verifies_and_another_does_not() {
        let passwords = Passwords::new(1, Arc::new(Metrics::default()));
        let place = &passwords.place().unwrap();
        let phc = passwords.hash(place, "correct horse".into(), [1; 16]).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let verify = |password: &str, phc: Option<&str>| {
            passwords.verify(place, password.to_owned(), phc.map(str::to_owned))
        };
        assert_eq!(verify("correct horse", Some(&phc)).await, Ok(true));
        assert_eq!(verify("wrong horse", Some(&phc)).await, Ok(false));
        assert_eq!(verify("nobody's password", None).await, Ok(false), "the dummy opens nothing");
        assert_eq!(verify("x", Some("no phc")).await, Ok(false));
    }

    #[tokio::test]
    async fn places_are_bounded_kept_to_the_end_and_survive_a_panic() {
        let passwords = Passwords::new(1, Arc::new(Metrics::default()));
        let (started, busy) = sync_channel(1);
        let (release, released) = sync_channel::<()>(1);
        let first = passwords.place().unwrap();
        let blocked = passwords.run(&first, move |_| {
            started.send(()).unwrap();
            let _ = released.recv();
            panic!("on purpose");
        });
        let mut blocked = Box::pin(blocked);
        assert!(futures_util::poll!(&mut blocked).is_pending());
        busy.recv().unwrap();
        drop(blocked);
        drop(first);
        let places: Vec<Place> = (0..WAITING_MAX).map(|_| passwords.place().unwrap()).collect();
        assert_eq!(
            passwords.place().err(),
            Some(PasswordError::Overloaded),
            "a hash under way keeps its place though nobody waits for it"
        );
        // Whoever has a place is served, although all are taken.
        let mut served = Box::pin(passwords.hash(&places[0], "x".into(), [1; 16]));
        assert!(futures_util::poll!(&mut served).is_pending());
        release.send(()).unwrap();
        assert!(served.await.unwrap().starts_with("$argon2id$"));
        assert!(passwords.place().is_ok(), "the blocked one is over");
    }
}
