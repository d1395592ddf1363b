//! What the sockets of one user share on this gateway: their number and the rate of sends.
//!
//! Limits are per gateway: a user with sockets on three has three times as much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_proto::ids::{ConversationId, UserId};
use quorate_proto::limits::SessionLimits;

use super::rates::{Bucket, Rate};

/// Buckets of one user; beyond it those that hold nothing are forgotten.
const BUCKETS_MAX: usize = 1_024;
/// A resuming socket replaces its predecessor, which may linger until its pong is missed: it may come on top.
const RESUMING_FACTOR: usize = 2;

#[derive(Debug, Default)]
struct Shared {
    sockets: usize,
    sends: HashMap<ConversationId, Bucket>,
}

/// All users with sockets here.
#[derive(Debug)]
pub struct Users {
    users: Mutex<HashMap<UserId, Arc<Mutex<Shared>>>>,
    sockets_per_user_max: usize,
    sends: Option<Rate>,
}

/// A socket's place among its user's; dropping it frees the place.
#[derive(Debug)]
pub struct Ticket {
    registry: Arc<Users>,
    user: UserId,
    shared: Arc<Mutex<Shared>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

impl Users {
    /// Nobody yet.
    pub fn new(limits: &SessionLimits, sockets_per_user_max: usize) -> Arc<Self> {
        Arc::new(Self {
            users: Mutex::new(HashMap::new()),
            sockets_per_user_max,
            sends: Rate::per_window(limits.sends_per_window_max, limits.sends_window_ms),
        })
    }

    /// One more socket of a user; `None` when there are too many.
    pub fn enter(self: &Arc<Self>, user: UserId, resuming: bool) -> Option<Ticket> {
        let mut users = lock(&self.users);
        let shared = Arc::clone(users.entry(user).or_default());
        let factor = if resuming { RESUMING_FACTOR } else { 1 };
        {
            let mut state = lock(&shared);
            if self.sockets_per_user_max > 0 && state.sockets >= self.sockets_per_user_max * factor {
                return None;
            }
            state.sockets += 1;
        }
        drop(users);
        Some(Ticket { registry: Arc::clone(self), user, shared })
    }
}

impl Ticket {
    /// Takes one send of the user into a conversation, or says after how many ms.
    pub fn admit_send(&self, conversation: ConversationId, now_ms: u64) -> Result<(), u64> {
        let Some(rate) = self.registry.sends else { return Ok(()) };
        let mut shared = lock(&self.shared);
        if shared.sends.len() >= BUCKETS_MAX && !shared.sends.contains_key(&conversation) {
            shared.sends.retain(|_, bucket| !bucket.is_empty(now_ms));
            if shared.sends.len() >= BUCKETS_MAX {
                return Err(1_000);
            }
        }
        shared.sends.entry(conversation).or_default().take(rate, now_ms)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut users = lock(&self.registry.users);
        let mut shared = lock(&self.shared);
        shared.sockets -= 1;
        if shared.sockets == 0 {
            users.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_and_given_back() {
        let users = Users::new(&SessionLimits::default(), 2);
        let first = users.enter(1, false).unwrap();
        let _second = users.enter(1, false).unwrap();
        assert!(users.enter(1, false).is_none());
        assert!(users.enter(1, true).is_some(), "a resuming socket comes on top of its predecessor");
        assert!(users.enter(2, false).is_some());
        drop(first);
        assert!(users.enter(1, false).is_some());
    }

    #[test]
    fn two_sockets_of_a_user_share_the_rate_of_sends() {
        let limits = SessionLimits { sends_per_window_max: 2, sends_window_ms: 1_000, ..Default::default() };
        let users = Users::new(&limits, 0);
        let (one, two) = (users.enter(1, false).unwrap(), users.enter(1, false).unwrap());
        assert_eq!(one.admit_send(7, 0), Ok(()));
        assert_eq!(two.admit_send(7, 0), Ok(()));
        assert_eq!(one.admit_send(7, 0), Err(500));
        assert_eq!(one.admit_send(8, 0), Ok(()), "another conversation");
    }
}
