//! How often one user may call, as on a socket, so that nobody gains by going round it; and how often one address may ask for what
//! costs before anybody knows who asks. Per gateway.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::ids::{ConversationId, UserId};
use quorate_proto::limits::SessionLimits;
use uuid::Uuid;

use crate::session::rates::{Bucket, Rate};

/// Buckets of one kind, some 5 MiB; beyond it those that hold nothing are forgotten.
const BUCKETS_MAX: usize = 64 * 1_024;
/// What a caller is told to wait when every bucket holds something, ms.
const FULL_RETRY_MS: u64 = 1_000;
/// Chunks of files of one user in a second, sustained: 100 MiB/s of full ones, and what a disk syncs easily of small ones.
const CHUNKS_PER_SECOND: u32 = 100;
/// Chunks of files in one burst: the largest file.
const CHUNKS_BURST: u32 = 512;
/// Stands for chunks where others are counted by their conversation: none has this number.
const CHUNKS: ConversationId = 0;
/// Window of the rate of an address, ms.
const ADDRESS_WINDOW_MS: u64 = 60_000;

/// A bucket for each of whatever is counted.
#[derive(Debug)]
struct Buckets<K> {
    held: Mutex<HashMap<K, Bucket>>,
    start: Instant,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new() -> Self {
        Self { held: Mutex::default(), start: Instant::now() }
    }

    fn take(&self, key: K, rate: Option<Rate>, what: &str) -> Result<(), WireError> {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.take_at(key, rate, what, now_ms)
    }

    fn take_at(&self, key: K, rate: Option<Rate>, what: &str, now_ms: u64) -> Result<(), WireError> {
        let Some(rate) = rate else { return Ok(()) };
        let limited = |retry_ms| WireError::new(ErrorCode::RateLimited, what).retry_after(retry_ms);
        let mut held = self.held.lock().expect("no holder of this lock panics");
        if held.len() >= BUCKETS_MAX && !held.contains_key(&key) {
            held.retain(|_, bucket| !bucket.is_empty(now_ms));
            if held.len() >= BUCKETS_MAX {
                return Err(limited(FULL_RETRY_MS));
            }
        }
        held.entry(key).or_default().take(rate, now_ms).map_err(limited)
    }

    /// Whether one could be taken.
    fn check(&self, key: &K, rate: Option<Rate>, what: &str) -> Result<(), WireError> {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut bucket =
            self.held.lock().expect("no holder of this lock panics").get(key).copied().unwrap_or_default();
        // Of a copy: nothing is taken.
        match rate.map(|rate| bucket.take(rate, now_ms)) {
            Some(Err(retry_ms)) => Err(WireError::new(ErrorCode::RateLimited, what).retry_after(retry_ms)),
            _ => Ok(()),
        }
    }
}

/// The buckets of every caller: one for all calls, one for each conversation written to; and of every incoming webhook one.
#[derive(Debug)]
pub struct Calls {
    buckets: Buckets<(UserId, Option<ConversationId>)>,
    hooks: Buckets<Uuid>,
    calls: Option<Rate>,
    sends: Option<Rate>,
}

impl Calls {
    /// Nobody yet.
    pub fn new(limits: &SessionLimits) -> Self {
        Self {
            buckets: Buckets::new(),
            hooks: Buckets::new(),
            calls: Rate::per_second(limits.frames_per_second, limits.frames_burst),
            sends: Rate::per_window(limits.sends_per_window_max, limits.sends_window_ms),
        }
    }

    /// One more call of a user.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit_call(&self, user: UserId) -> Result<(), WireError> {
        self.buckets.take((user, None), self.calls, "too many calls")
    }

    /// One more chunk of a file of a user.
    ///
    /// # Errors
    /// As [`Self::admit_call`].
    pub fn admit_chunk(&self, user: UserId) -> Result<(), WireError> {
        let rate = Rate::per_second(CHUNKS_PER_SECOND, CHUNKS_BURST);
        self.buckets.take((user, Some(CHUNKS)), rate, "too many chunks")
    }

    /// One more text of a user in a conversation.
    ///
    /// # Errors
    /// As [`Self::admit_call`].
    pub fn admit_send(&self, user: UserId, conversation: ConversationId) -> Result<(), WireError> {
        self.buckets.take((user, Some(conversation)), self.sends, "too many messages")
    }

    /// One more message by an incoming webhook, which is a session of its own: it leaves its user's rates to her.
    ///
    /// # Errors
    /// As [`Self::admit_call`].
    pub fn admit_hook(&self, session: Uuid) -> Result<(), WireError> {
        self.hooks.take(session, self.sends, "too many messages")
    }
}

/// What a refused address is told.
const ADDRESS_LIMITED: &str = "too many attempts from your address: try again later";

/// Sign-ups, sign-ins, refreshes, changes of a password and wrong tokens of programs by address: beside the replicas' counters,
/// which know accounts and no addresses.
#[derive(Debug)]
pub struct Addresses {
    buckets: Buckets<IpAddr>,
    rate: Option<Rate>,
}

impl Addresses {
    /// So many a minute, all of them at once if need be; 0 for no limit.
    pub fn new(per_minute: u32) -> Self {
        Self { buckets: Buckets::new(), rate: Rate::per_window(per_minute, ADDRESS_WINDOW_MS) }
    }

    /// One more from an address, which stands for its network.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit(&self, address: IpAddr) -> Result<(), WireError> {
        self.buckets.take(address, self.rate, ADDRESS_LIMITED)
    }

    /// Whether one more would be admitted.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn check(&self, address: IpAddr) -> Result<(), WireError> {
        self.buckets.check(&address, self.rate, ADDRESS_LIMITED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_calls_too_often_is_told_when_to_come_back_and_nobody_else_is() {
        let limits = SessionLimits { sends_per_window_max: 2, sends_window_ms: 60_000, ..Default::default() };
        let calls = Calls::new(&limits);
        assert_eq!((calls.admit_send(1, 7), calls.admit_send(1, 7)), (Ok(()), Ok(())));
        let refused = calls.admit_send(1, 7).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited);
        assert!(
            refused.temporary && refused.retry_ms.is_some_and(|ms| ms > 0 && ms <= 30_000),
            "{refused:?}"
        );
        assert_eq!(
            (calls.admit_send(1, 8), calls.admit_send(2, 7), calls.admit_call(1)),
            (Ok(()), Ok(()), Ok(()))
        );
    }

    #[test]
    fn chunks_have_a_rate_of_their_own() {
        let calls =
            Calls::new(&SessionLimits { frames_per_second: 1, frames_burst: 1, ..Default::default() });
        for _ in 0..CHUNKS_BURST {
            assert_eq!(calls.admit_chunk(1), Ok(()));
        }
        assert_eq!(calls.admit_call(1), Ok(()), "a call is something else");
        let refused = (0..CHUNKS_BURST).find_map(|_| calls.admit_chunk(1).err()).expect("a bound");
        assert_eq!(refused.code, ErrorCode::RateLimited);
        assert_eq!(calls.admit_chunk(2), Ok(()));
    }

    #[test]
    fn an_address_has_its_tries_and_they_come_back_with_time() {
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let addresses = Addresses::new(6);
        let admit = |address, now_ms| addresses.buckets.take_at(address, addresses.rate, "later", now_ms);
        for _ in 0..6 {
            assert_eq!(admit(one, 0), Ok(()));
        }
        let refused = admit(one, 0).unwrap_err();
        assert_eq!((refused.code, refused.retry_ms), (ErrorCode::RateLimited, Some(10_000)));
        assert_eq!(admit(two, 0), Ok(()), "another's are another's");
        assert_eq!(admit(one, 10_000), Ok(()));
        assert!(admit(one, 10_000).is_err(), "a refused one costs nothing and brings nothing");
        for _ in 0..1_000 {
            assert_eq!(Addresses::new(0).admit(one), Ok(()), "no limit");
        }
    }

    #[test]
    fn looking_whether_there_is_room_takes_none() {
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let addresses = Addresses::new(1);
        for _ in 0..3 {
            assert_eq!(addresses.check(one), Ok(()));
        }
        assert_eq!(addresses.admit(one), Ok(()));
        assert_eq!(addresses.check(one).unwrap_err().code, ErrorCode::RateLimited);
        assert_eq!((addresses.check(two), Addresses::new(0).check(one)), (Ok(()), Ok(())));
    }

    #[test]
    fn each_incoming_webhook_has_the_rate_of_sends_for_itself() {
        let limits = SessionLimits { sends_per_window_max: 1, sends_window_ms: 60_000, ..Default::default() };
        let calls = Calls::new(&limits);
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!((calls.admit_hook(one), calls.admit_hook(two)), (Ok(()), Ok(())));
        assert_eq!(calls.admit_hook(one).unwrap_err().code, ErrorCode::RateLimited);
        assert_eq!(calls.admit_send(1, 7), Ok(()));
    }

    #[test]
    fn the_room_for_addresses_is_bounded_and_given_back() {
        let addresses = Addresses::new(1);
        let admit = |address: u32, now_ms| {
            addresses.buckets.take_at(IpAddr::from(address.to_be_bytes()), addresses.rate, "later", now_ms)
        };
        for number in 0..BUCKETS_MAX as u32 {
            assert_eq!(admit(number, 0), Ok(()));
        }
        assert_eq!(admit(u32::MAX, 0).unwrap_err().retry_ms, Some(FULL_RETRY_MS), "no room, so no");
        assert_eq!(addresses.buckets.held.lock().unwrap().len(), BUCKETS_MAX);
        assert_eq!(admit(u32::MAX, ADDRESS_WINDOW_MS), Ok(()), "the old ones are forgotten");
        assert_eq!(addresses.buckets.held.lock().unwrap().len(), 1);
    }
}
