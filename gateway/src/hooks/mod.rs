//! Outgoing webhooks: one gateway of all holds the lease and tells each bot, in order, what waits for it.
//!
//! Owns the lease and the turns, of which `row` says whose is next. Nothing is kept here that matters: what waits, and what is
//! settled, is in the replicas' state. Told at least once: whoever comes after a holder begins at the first that is not settled.
//!
//! ```text
//!  look ──lease──▶ hold ── what waits ──▶ a turn for each bot ──▶ POST ──2xx──▶ settle
//!    ▲               │ lost, drained, nothing to tell                  └─ later again, to ten minutes
//!    └───────────────┘
//! ```

mod addresses;
mod hosts;
mod lease;
mod pace;
mod payload;
mod post;
mod row;
mod settings;
mod sign;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quorate_proto::rpc::{HooksQuery, HooksResult, read_request, read_response};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use settings::Settings;
pub(crate) use sign::shown_secret;

use crate::clock::{self, chance};
use crate::leader::LeaderClient;
use crate::metrics::Metrics;
use crate::reads::{Reader, request};
use crate::server::DrainPhase;
use hosts::Hosts;
use lease::Lease;
use pace::Watch;
use post::Poster;
use row::Row;
use turn::{End, turn};

/// How often a gateway without the lease looks whether it is free, ms.
const LOOK_INTERVAL_MS: u64 = 5_000;
/// How often the holder looks what waits: a read at a replica, answered from a few keys.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// When the gateway ends, turns get this long to finish what they tell and to settle it.
const FINISH_WAIT: Duration = Duration::from_secs(6);

/// What telling takes.
#[derive(Debug)]
pub(crate) struct Tell {
    cluster: String,
    reader: Reader,
    leader: LeaderClient,
    metrics: Arc<Metrics>,
    poster: Poster,
    hosts: Hosts,
}

/// What others see of it.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    held: Arc<AtomicBool>,
}

impl Hooks {
    /// Whether this gateway holds the lease; it is waited for when the process ends, so that the next one need not wait for its end.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Begins to look for the lease; ends with the drain.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn start(
        cluster: &str,
        settings: &Settings,
        reader: Reader,
        leader: LeaderClient,
        metrics: Arc<Metrics>,
        drain: watch::Receiver<DrainPhase>,
    ) -> anyhow::Result<Self> {
        let poster = Poster::new(settings.networks().map_err(anyhow::Error::msg)?)?;
        let tell = Arc::new(Tell {
            cluster: cluster.to_owned(),
            reader,
            leader,
            metrics,
            poster,
            hosts: Hosts::default(),
        });
        let hooks = Self::default();
        tokio::spawn(run(tell, hooks.clone(), drain));
        Ok(hooks)
    }
}

async fn run(tell: Arc<Tell>, hooks: Hooks, mut drain: watch::Receiver<DrainPhase>) {
    let Ok(holder) = clock::secret::<16>() else {
        tracing::error!(
            "no randomness for a name among the gateways that tell webhooks: this one tells none"
        );
        return;
    };
    let started = Instant::now();
    let mut watch = Watch::default();
    loop {
        // Not all gateways at the same moment.
        let pause = Duration::from_millis(LOOK_INTERVAL_MS / 2 + chance(LOOK_INTERVAL_MS / 2));
        tokio::select! {
            () = ending(&mut drain) => return,
            () = sleep(pause) => {}
        }
        let Some((found, log_time_ms)) = look(&tell, 0, 0).await else { continue };
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !watch.wants(&holder, &found, log_time_ms, now_ms) {
            continue;
        }
        let Some(lease) = Lease::take(tell.leader.clone(), holder).await else { continue };
        tracing::info!(hooks = found.hooks, "this gateway tells webhooks from now on");
        hooks.held.store(true, Ordering::Relaxed);
        tell.metrics.hooks_lease.set(1);
        let ends = hold(&tell, &lease, &mut drain).await;
        lease.give_back().await;
        hooks.held.store(false, Ordering::Relaxed);
        tell.metrics.hooks_lease.set(0);
        tracing::info!("this gateway tells webhooks no more");
        if ends {
            return;
        }
    }
}

/// The drain has begun, or everybody who could begin it is gone.
async fn ending(drain: &mut watch::Receiver<DrainPhase>) {
    let _ = drain.wait_for(|phase| *phase != DrainPhase::Serving).await;
}

/// What there is to be told, of bots behind one of them first; and the log time of that answer.
async fn look(tell: &Tell, min_index: u64, after_bot_id: u64) -> Option<(HooksResult, u64)> {
    let min_index = min_index.max(tell.reader.known_index());
    let asked = request(min_index, 0, &[], read_request::Query::Hooks(HooksQuery { after_bot_id }));
    // A replica of the version before does not know the question.
    let response = tell.reader.read(asked).await.ok()?;
    let Some(read_response::Result::Hooks(found)) = response.result else { return None };
    Some((found, response.log_time_ms))
}

/// Tells until the lease is lost, there is no webhook any more, or the gateway ends: then `true`.
async fn hold(tell: &Arc<Tell>, lease: &Arc<Lease>, drain: &mut watch::Receiver<DrainPhase>) -> bool {
    let renewing = tokio::spawn(Arc::clone(lease).renew());
    let mut row = Row::default();
    let mut running: JoinSet<(u64, End)> = JoinSet::new();
    let ends = loop {
        if !lease.holds() {
            break false;
        }
        if let Some((found, _)) = look(tell, lease.index(), row.after()).await {
            if found.hooks == 0 {
                break false;
            }
            for bot in row.next(&found, Instant::now()) {
                let (tell, lease) = (Arc::clone(tell), Arc::clone(lease));
                running.spawn(async move { (bot, turn(&tell, &lease, bot).await) });
            }
        }
        let pause = sleep(POLL_INTERVAL);
        tokio::pin!(pause);
        let drained = loop {
            tokio::select! {
                () = ending(drain) => break true,
                () = &mut pause => break false,
                Some(ended) = running.join_next() => {
                    // Only a defect ends a task otherwise; the bot then keeps its place until the next holder.
                    let Ok((bot, end)) = ended else { continue };
                    row.ended(bot, end, Instant::now(), chance);
                    // More is there: no need to wait for the next look.
                    if end == End::More {
                        break false;
                    }
                }
            }
        };
        if drained {
            break true;
        }
    };
    lease.ends();
    // What is told is settled by who told it, if that can be: otherwise it is told again.
    let finishing = async { while running.join_next().await.is_some() {} };
    if lease.holds() {
        let _ = timeout(FINISH_WAIT, finishing).await;
    }
    renewing.abort();
    ends
}
