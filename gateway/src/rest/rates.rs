//! How often one user may call: as on a socket, so that nobody gains by going round it. Per gateway.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::ids::{ConversationId, UserId};
use quorate_proto::limits::SessionLimits;

use crate::session::rates::{Bucket, Rate};

/// Buckets in all, some 5 MiB; beyond it those that hold nothing are forgotten.
const BUCKETS_MAX: usize = 64 * 1_024;
/// What a caller is told to wait when every bucket holds something, ms.
const FULL_RETRY_MS: u64 = 1_000;

/// The buckets of every caller: one for all calls, one for each conversation written to.
#[derive(Debug)]
pub struct Calls {
    buckets: Mutex<HashMap<(UserId, Option<ConversationId>), Bucket>>,
    calls: Option<Rate>,
    sends: Option<Rate>,
    start: Instant,
}

impl Calls {
    /// Nobody yet.
    pub fn new(limits: &SessionLimits) -> Self {
        Self {
            buckets: Mutex::default(),
            calls: Rate::per_second(limits.frames_per_second, limits.frames_burst),
            sends: Rate::per_window(limits.sends_per_window_max, limits.sends_window_ms),
            start: Instant::now(),
        }
    }

    /// One more call of a user.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit_call(&self, user: UserId) -> Result<(), WireError> {
        self.take((user, None), self.calls, "too many calls")
    }

    /// One more text of a user in a conversation.
    ///
    /// # Errors
    /// As [`Self::admit_call`].
    pub fn admit_send(&self, user: UserId, conversation: ConversationId) -> Result<(), WireError> {
        self.take((user, Some(conversation)), self.sends, "too many messages")
    }

    fn take(
        &self,
        key: (UserId, Option<ConversationId>),
        rate: Option<Rate>,
        what: &str,
    ) -> Result<(), WireError> {
        let Some(rate) = rate else { return Ok(()) };
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let limited = |retry_ms| WireError::new(ErrorCode::RateLimited, what).retry_after(retry_ms);
        let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_empty(now_ms));
            if buckets.len() >= BUCKETS_MAX {
                return Err(limited(FULL_RETRY_MS));
            }
        }
        buckets.entry(key).or_default().take(rate, now_ms).map_err(limited)
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
}
