//! A bot's turn: what waits for it is read, told in order, and settled as it is taken.
//!
//! Owns the order within one bot. What was told is settled before anything is read again, so that one holder of the lease tells
//! nothing twice but what failed; what a holder that ended had told without settling it, the next one tells again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::{
    Command, HookItem, HookQuery, HookResult, SettleHook, command, outcome, read_request, read_response,
};
use tokio::time::sleep;

use super::pace::is_too_old;
use super::payload::{Payload, payload};
use super::post::TryError;
use super::{Lease, Tell};
use crate::clock;
use crate::convert;
use crate::leader::SubmitError;
use crate::reads::request;

/// Items read at once, and told in one turn.
const ITEMS_MAX: u32 = 100;
/// What was told is settled after this, with all that was told meanwhile: one entry in the log for many.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);
/// Between two tries to settle: the leader client has waited for its own time before.
const SETTLE_PAUSE: Duration = Duration::from_millis(250);
/// A turn ends after this, between two items: where and with which secret is told, and what the bot may see, is read again. Longer
/// than a hundred items take at a quick server; what a slow one is told is never older than this and one try.
const TURN_MAX: Duration = Duration::from_secs(2);

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing waits any more.
    Empty,
    /// Nothing could be read, its host has as many turns as it may, or the webhook was changed meanwhile: the next look at what waits
    /// decides, and what is known of its server stays.
    Later,
    /// There is more.
    More,
    /// Its server did not take an item; others were taken before it in this turn, or none.
    Failed {
        /// Some were.
        progress: bool,
    },
    /// The lease is another's.
    Lost,
}

/// What was told in this turn and is not settled yet.
struct Told {
    through: u64,
    settled: u64,
    since: Instant,
}

/// A bot's turn.
pub(super) async fn turn(tell: &Tell, lease: &Lease, bot_id: u64) -> End {
    let asked = HookQuery { bot_id, limit: ITEMS_MAX };
    let min_index = lease.index().max(tell.reader.known_index());
    let asked = request(min_index, 0, &[], read_request::Query::Hook(asked));
    let Ok(response) = tell.reader.read(asked).await else { return End::Later };
    let log_time_ms = response.log_time_ms;
    let Some(read_response::Result::Hook(found)) = response.result else { return End::Later };
    let Some(first) = found.items.first().map(|item| item.number).filter(|_| !found.url.is_empty()) else {
        return End::Empty;
    };
    let Some(_place) = tell.hosts.enter(&found.url) else { return End::Later };
    let begun = Instant::now();
    let settled = first.saturating_sub(1);
    let mut told = Told { through: settled, settled, since: Instant::now() };
    for item in &found.items {
        if !lease.holds() {
            return End::Lost;
        }
        if lease.is_ending() || begun.elapsed() >= TURN_MAX {
            break;
        }
        let error = match one(tell, &found, item, log_time_ms).await {
            Ok(()) => {
                told.through = item.number;
                if told.since.elapsed() < SETTLE_INTERVAL {
                    continue;
                }
                None
            }
            // Told of for its owner, and the next one has its turn.
            Err(Stop::GivenUp(error)) => Some(error),
            Err(Stop::Again) => {
                let progress = told.through > settled;
                let settled = settle(tell, lease, bot_id, &mut told, "").await;
                return settled.err().unwrap_or(End::Failed { progress });
            }
        };
        // An error is of the last one alone: what was taken before it is settled without.
        if let Err(end) = settle(tell, lease, bot_id, &mut told, "").await {
            return end;
        }
        if let Some(error) = error {
            told.through = item.number;
            tell.metrics.hooks_given_up.inc();
            if let Err(end) = settle(tell, lease, bot_id, &mut told, &error).await {
                return end;
            }
        }
    }
    // A page may end early, by its bytes: only one without items is the last.
    settle(tell, lease, bot_id, &mut told, "").await.err().unwrap_or(End::More)
}

/// Why an item was not told.
enum Stop {
    /// It is tried again later.
    Again,
    /// It is not, for this reason.
    GivenUp(String),
}

async fn one(tell: &Tell, found: &HookResult, item: &HookItem, log_time_ms: u64) -> Result<(), Stop> {
    if is_too_old(item.since_ms, log_time_ms) {
        return Err(Stop::GivenUp("it was not taken for three days".to_owned()));
    }
    let bot = convert::user(found.bot.clone());
    // What the bot may not see any more is not told, and that is no failure.
    let Some(payload): Option<Payload> = payload(&tell.cluster, &bot, item) else { return Ok(()) };
    match tell.poster.post(&found.url, &found.secret, &payload).await {
        Ok(()) => {
            tell.metrics.hooks_told.inc();
            let waited_ms = clock::wall_ms().saturating_sub(item.since_ms);
            tell.metrics.hook_wait_seconds.observe(Duration::from_millis(waited_ms).as_secs_f64());
            Ok(())
        }
        Err(error) => {
            tell.metrics.hooks_failed.inc();
            tracing::debug!(bot = bot.id, number = item.number, %error, "a webhook did not take an item");
            match error {
                TryError::Gone => Err(Stop::GivenUp(error.to_string())),
                _ => Err(Stop::Again),
            }
        }
    }
}

/// Has what was told forgotten, until the replicas have decided.
///
/// # Errors
/// How the turn ends when they refuse: [`End::Later`] when the webhook was dropped or changed, [`End::Lost`] when the lease is
/// another's.
async fn settle(tell: &Tell, lease: &Lease, bot_id: u64, told: &mut Told, error: &str) -> Result<(), End> {
    told.since = Instant::now();
    if told.through == told.settled {
        return Ok(());
    }
    let command = Command {
        command_id: clock::command_id().as_bytes().to_vec().into(),
        action: Some(command::Action::SettleHook(SettleHook {
            holder: Bytes::copy_from_slice(lease.holder()),
            bot_id,
            through: told.through,
            error: error.to_owned(),
        })),
        ..Command::default()
    };
    while lease.holds() {
        match tell.leader.submit(&command).await {
            Ok(outcome) => {
                lease.saw(outcome.index);
                if let Some(outcome::Result::Rejected(rejected)) = outcome.result {
                    let code = ErrorCode::from_word(&rejected.code);
                    if code != ErrorCode::NotFound && code != ErrorCode::Invalid {
                        return Err(End::Lost);
                    }
                    // There is nothing to settle, and what was read is not to be told any more.
                    tracing::debug!(
                        bot = bot_id,
                        through = told.through,
                        why = rejected.message,
                        "nothing was settled"
                    );
                    return Err(End::Later);
                }
                told.settled = told.through;
                return Ok(());
            }
            Err(SubmitError::Malformed) => return Err(End::Lost),
            Err(SubmitError::Overloaded | SubmitError::Unavailable) => sleep(SETTLE_PAUSE).await,
        }
    }
    Err(End::Lost)
}
