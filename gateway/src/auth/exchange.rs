//! What tokens of programs were exchanged for, remembered for a while: one question to the replicas a minute and token, also for one
//! that is refused, however often it is shown; one a second while nobody can say what it is worth.
//!
//! Nothing depends on what is remembered but speed: replicas check every command and read by themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::tokens::{Identity, TokenError};
use crate::clock;

/// Tokens that are remembered, some 4 MiB; beyond it those that mean nothing any more are forgotten, then the refused, then all.
const KNOWN_MAX: usize = 10_000;
/// Longest time that one is good for without a question: what replicas give an access token for it.
const GOOD_MAX: Duration = Duration::from_secs(60);
/// So long nobody asks again about one that the newest state does not know: it never will, unless its user is let in again.
const UNKNOWN_WAIT: Duration = Duration::from_secs(60);
/// So long nobody asks again about one that was refused for another reason, or that nobody could say anything about.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// Questions to the replicas at a time: forged tokens, each another, cost this much and no more.
const QUESTIONS_MAX: usize = 32;
/// Whoever waits longer for her turn to ask is told to come again.
const TURN_WAIT: Duration = Duration::from_secs(2);

/// Why a token is refused that the newest state does not know, or knows no more.
pub(super) const UNKNOWN: TokenError = TokenError::Invalid("unknown, or ended");

/// What is known of one token. The lock is held while the replicas are asked, so that many calls make one question.
pub(super) type Slot = tokio::sync::Mutex<Option<Known>>;

/// An answer and how long it is believed.
#[derive(Debug, Clone)]
pub(super) struct Known {
    until: Instant,
    result: Result<Identity, TokenError>,
}

impl Known {
    /// An answer that came just now.
    pub(super) fn new(result: Result<Identity, TokenError>) -> Self {
        let good = match &result {
            Ok(identity) => {
                Duration::from_millis(identity.ends_ms.saturating_sub(clock::wall_ms()))
                    // By clocks that differ it may have ended already: it was given a moment ago all the same.
                    .clamp(REFUSED_WAIT, GOOD_MAX)
            }
            Err(error) if *error == UNKNOWN => UNKNOWN_WAIT,
            Err(_) => REFUSED_WAIT,
        };
        Self { until: Instant::now() + good, result }
    }

    /// The answer, while it is believed.
    pub(super) fn current(&self) -> Option<Result<Identity, TokenError>> {
        (Instant::now() < self.until).then(|| self.result.clone())
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Exchanges {
    /// By BLAKE3 of the token's text.
    slots: Mutex<HashMap<[u8; 32], Arc<Slot>>>,
    turns: Semaphore,
}

impl Exchanges {
    pub(super) fn new() -> Self {
        Self { slots: Mutex::default(), turns: Semaphore::new(QUESTIONS_MAX) }
    }

    /// The place of a token.
    pub(super) fn slot(&self, text: &str) -> Arc<Slot> {
        let key = *blake3::hash(text.as_bytes()).as_bytes();
        let mut slots = self.slots.lock().expect("no holder of this lock panics");
        if slots.len() >= KNOWN_MAX && !slots.contains_key(&key) {
            make_room(&mut slots);
        }
        Arc::clone(slots.entry(key).or_default())
    }

    /// Whether somebody who shows a token need not be held back: its last answer was good, or there is one already, or is about to be.
    pub(super) fn costs_nothing(&self, text: &str) -> bool {
        let key = *blake3::hash(text.as_bytes()).as_bytes();
        let slot = self.slots.lock().expect("no holder of this lock panics").get(&key).cloned();
        slot.is_some_and(|slot| {
            slot.try_lock().map_or(true, |known| {
                known.as_ref().is_some_and(|known| known.result.is_ok() || known.current().is_some())
            })
        })
    }

    /// A turn to ask the replicas; `None` when too many ask.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(TURN_WAIT, self.turns.acquire()).await.ok()?.ok()
    }
}

fn is_good(known: Option<&Known>) -> bool {
    known.and_then(Known::current).is_some_and(|result| result.is_ok())
}

/// Forgets what costs least. Whoever holds a forgotten place goes on with it alone.
fn make_room(slots: &mut HashMap<[u8; 32], Arc<Slot>>) {
    let is_current = |slot: &Slot| {
        slot.try_lock().map_or(true, |known| known.as_ref().is_some_and(|it| it.current().is_some()))
    };
    slots.retain(|_, slot| is_current(slot));
    if slots.len() >= KNOWN_MAX {
        slots.retain(|_, slot| slot.try_lock().is_ok_and(|known| is_good(known.as_ref())));
    }
    if slots.len() >= KNOWN_MAX {
        slots.clear();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn identity(ends_ms: u64) -> Identity {
        Identity {
            user_id: 7,
            name: "robin".into(),
            session: Uuid::from_u128(9),
            ends_ms,
            read_only: false,
            scopes: 1,
            only_conversation: 0,
        }
    }

    async fn put(exchanges: &Exchanges, text: &str, known: Known) {
        *exchanges.slot(text).lock().await = Some(known);
    }

    #[tokio::test]
    async fn an_answer_is_believed_for_as_long_as_it_is_good_and_a_refusal_as_it_is_final() {
        let (begun, now) = (Instant::now(), clock::wall_ms());
        // Counted from the beginning, however long this takes: half a second for clocks that are set.
        let near = |known: &Known, wanted: u64| {
            let (good, slack) = (known.until - begun, Duration::from_millis(500));
            let wanted = Duration::from_secs(wanted);
            good + slack > wanted && good < wanted + begun.elapsed() + slack
        };
        assert!(near(&Known::new(Ok(identity(now + 30_000))), 30));
        assert!(near(&Known::new(Ok(identity(now + 9_000_000))), 60), "never longer");
        assert!(near(&Known::new(Ok(identity(now - 9_000))), 1), "clocks that differ");
        let refused = Known::new(Err(TokenError::Unavailable));
        assert!(near(&refused, 1));
        assert!(near(&Known::new(Err(UNKNOWN)), 60));
        let current = Known { until: Instant::now() + GOOD_MAX, ..refused.clone() };
        assert_eq!(current.current(), Some(Err(TokenError::Unavailable)));
        assert_eq!(Known { until: Instant::now(), ..refused }.current(), None);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded_and_the_good_stay_longest() {
        let exchanges = Exchanges::new();
        let good = || Known::new(Ok(identity(clock::wall_ms() + 60_000)));
        put(&exchanges, "good", good()).await;
        for number in 1..KNOWN_MAX {
            let refused =
                Known { until: Instant::now() + GOOD_MAX, ..Known::new(Err(TokenError::Invalid("forged"))) };
            put(&exchanges, &format!("forged {number}"), refused).await;
        }
        assert_eq!(exchanges.slots.lock().unwrap().len(), KNOWN_MAX);
        assert!(exchanges.costs_nothing("good") && !exchanges.costs_nothing("new"));
        put(&exchanges, "new", good()).await;
        assert_eq!(exchanges.slots.lock().unwrap().len(), 2, "the refused went first");
        assert!(exchanges.costs_nothing("good") && exchanges.costs_nothing("new"));
        assert!(!exchanges.costs_nothing("forged 1"));
    }

    #[tokio::test]
    async fn who_was_good_or_is_answered_already_is_not_held_back() {
        let exchanges = Exchanges::new();
        let past = |result| Known { until: Instant::now(), result };
        put(&exchanges, "was good", past(Ok(identity(0)))).await;
        put(&exchanges, "was wrong", past(Err(UNKNOWN))).await;
        put(&exchanges, "is wrong", Known::new(Err(UNKNOWN))).await;
        assert!(exchanges.costs_nothing("was good") && exchanges.costs_nothing("is wrong"));
        assert!(!exchanges.costs_nothing("was wrong") && !exchanges.costs_nothing("new"));
        let slot = exchanges.slot("new");
        let asked = slot.lock().await;
        assert!(exchanges.costs_nothing("new"), "somebody asks");
        drop(asked);
        assert!(!exchanges.costs_nothing("new"), "and learned nothing");
    }

    #[tokio::test]
    async fn so_many_ask_at_a_time() {
        let exchanges = Exchanges::new();
        let mut turns = Vec::new();
        for _ in 0..QUESTIONS_MAX {
            turns.push(exchanges.turn().await.expect("there is room"));
        }
        let begun = Instant::now();
        assert!(exchanges.turn().await.is_none() && begun.elapsed() >= TURN_WAIT);
        turns.pop();
        assert!(exchanges.turn().await.is_some());
    }
}
