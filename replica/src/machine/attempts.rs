//! Attempts to sign in: counted before a password is looked at, so that the limit holds whichever gateway is asked.
//!
//! A user has one counter for strangers and one for each device that holds a refresh secret of hers, so that nobody can lock
//! her out of her own devices. Devices whose session has ended share one: whoever once knew the password can have collected any
//! number of them. Names that nobody has share a table of bounded size; they are counted alike. The rules here are the machine's:
//! another number is another machine version.

use bytes::Bytes;
use quorate_proto::rpc::{self, Command, outcome};

use super::records::{Attempts, Session};
use super::sessions::ended;
use super::{Decision, Step, Tables as _};
use crate::store::{Key, Space, StoreError, View};

/// Attempts that cost nothing: people mistype.
const FREE: u32 = 3;
/// Wait after the last free one; it doubles with each further attempt.
const WAIT_MS: u64 = 1_000;
/// Longest wait: some 4 guesses an hour, 15 in the first.
const WAIT_MS_MAX: u64 = 15 * 60 * 1_000;
/// A counter is forgotten after this much log time without an attempt.
const KEPT_MS: u64 = 24 * 3_600 * 1_000;
/// Old counters looked for after each attempt, beside its own: more than one attempt adds.
const SWEPT: usize = 4;

/// A session that has ended tells a device for this much log time: the life of the cookie that shows it.
const DEVICE_KEPT_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// Where attempts are counted.
#[derive(Debug)]
pub(super) enum Counter {
    /// Of a device, in the session that it holds a secret of.
    Session([u8; 16], Box<Session>),
    /// Of all others.
    At(Key),
}

/// The counter of strangers who try somebody, or a name that nobody has: that key's first two bytes, so at most 65,536.
fn of_strangers(user_id: u64, name_key: &[u8]) -> Key {
    match (user_id, name_key) {
        (0, [high, low, ..]) => Key::two(Space::Attempts, 1, u64::from(u16::from_be_bytes([*high, *low]))),
        (0, _) => Key::two(Space::Attempts, 1, 0),
        (user_id, _) => Key::two(Space::Attempts, 0, user_id),
    }
}

/// The counter of devices that were signed in once.
fn of_former_devices(user_id: u64) -> Key {
    Key::two(Space::Attempts, 2, user_id)
}

/// How long the next attempt must wait after so many.
fn wait_ms_after(count: u32) -> u64 {
    match count.checked_sub(FREE) {
        None => 0,
        // Doubled ten times it is past the longest.
        Some(doublings) => (WAIT_MS << doublings.min(10)).min(WAIT_MS_MAX),
    }
}

impl Attempts {
    /// How long the next attempt must still wait.
    fn wait_ms(&self, now_ms: u64) -> u64 {
        wait_ms_after(self.count).saturating_sub(now_ms.saturating_sub(self.last_ms))
    }

    fn is_old(&self, now_ms: u64) -> bool {
        self.last_ms.saturating_add(KEPT_MS) <= now_ms
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn count_attempt(
        &mut self,
        command: &Command,
        asked: &rpc::CountAttempt,
    ) -> Decision<outcome::Result> {
        let (now_ms, command_id) = (self.context.log_time_ms, &command.command_id);
        let counter = if command.user_id == 0 {
            let known = (&asked.known_session_id, &asked.known_family_hash);
            self.counter_of(asked.user_id, &asked.name_key, known)?
        } else {
            // Somebody who is signed in and wants another password.
            self.check_session(command)?;
            self.counter_of_session(&command.session_id)?
        };
        let found = match &counter {
            Counter::Session(_, session) => session.attempts.clone(),
            Counter::At(key) => self.state.attempts(key)?,
        };
        let mut attempts = found.filter(|attempts| !attempts.is_old(now_ms)).unwrap_or_default();
        // Applied twice, for its first outcome was lost.
        if attempts.count > 0 && attempts.command_id == *command_id {
            return Ok(outcome::Result::Attempt(rpc::SignInAttempt { wait_ms: 0 }));
        }
        let wait_ms = attempts.wait_ms(now_ms);
        if wait_ms > 0 {
            return Ok(outcome::Result::Attempt(rpc::SignInAttempt { wait_ms }));
        }
        attempts = Attempts {
            count: attempts.count.saturating_add(1),
            last_ms: now_ms,
            command_id: command_id.clone(),
        };
        match counter {
            Counter::Session(id, session) => {
                self.state.put_session(&id, &Session { attempts: Some(attempts), ..*session });
            }
            Counter::At(key) => {
                self.state.put_attempts(key, &attempts);
                self.forget_old_attempts(&key)?;
            }
        }
        Ok(outcome::Result::Attempt(rpc::SignInAttempt { wait_ms: 0 }))
    }

    /// The counter of an attempt at a user's password, or at a name that nobody has, by whoever shows an earlier session's id and
    /// the hash of its family.
    pub(super) fn counter_of(
        &self,
        user_id: u64,
        name_key: &[u8],
        (known_session_id, known_family_hash): (&Bytes, &Bytes),
    ) -> Result<Counter, StoreError> {
        let strangers = Counter::At(of_strangers(user_id, name_key));
        let Ok(id) = known_session_id.as_ref().try_into() else { return Ok(strangers) };
        let known = self.state.session(known_session_id)?.filter(|session| {
            session.user_id == user_id
                && !session.family_hash.is_empty()
                && session.family_hash == *known_family_hash
        });
        Ok(match known {
            Some(session) if session.ended_ms == 0 => Counter::Session(id, Box::new(session)),
            Some(session) if self.context.log_time_ms < session.ended_ms.saturating_add(DEVICE_KEPT_MS) => {
                Counter::At(of_former_devices(user_id))
            }
            _ => strangers,
        })
    }

    /// The counter of a session whose token was shown.
    pub(super) fn counter_of_session(&self, session_id: &Bytes) -> Decision<Counter> {
        let id = session_id.as_ref().try_into().ok();
        match id.zip(self.state.session(session_id)?) {
            Some((id, session)) => Ok(Counter::Session(id, Box::new(session))),
            None => ended(),
        }
    }

    /// The counters that come after this one: names are spread at random, so all are looked at in the long run.
    fn forget_old_attempts(&mut self, own: &Key) -> Result<(), StoreError> {
        let next = own.with_ordinal(own.ordinal().saturating_add(1));
        for (key, attempts) in self.state.attempts_from(&next, SWEPT)? {
            if attempts.is_old(self.context.log_time_ms) {
                self.state.delete(key);
            }
        }
        Ok(())
    }

    /// Somebody knew the password: the counter under which her attempt stood begins anew, and no other.
    pub(super) fn forget_attempts(&mut self, counter: Counter) {
        match counter {
            Counter::Session(id, session) if session.attempts.is_some() => {
                self.state.put_session(&id, &Session { attempts: None, ..*session });
            }
            Counter::Session(..) => {}
            Counter::At(key) => self.state.delete(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_second_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (0..16).map(|count| wait_ms_after(count) / 1_000).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        assert_eq!(wait_ms_after(u32::MAX), WAIT_MS_MAX);
        // Whoever tries whenever she may gets so many guesses in the first hour.
        let (mut at_ms, mut guesses) = (0, 0);
        while at_ms < 3_600_000 {
            guesses += 1;
            at_ms += wait_ms_after(guesses);
        }
        assert_eq!(guesses, 15);
    }
}
