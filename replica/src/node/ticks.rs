//! Entries for their time's sake: what is due comes to pass although nobody proposes anything.

use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;

use super::types::Proposal;
use super::{Node, TICK_LAG_MS, log_time_ms};
use crate::machine::MessageTables as _;
use crate::store::Store;

/// How often the leader looks whether log time lags or clocks are wrong.
const TICK_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often it looks whether something is due: nothing is late by more than a second.
pub(super) const DUE_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Entries proposed one after the other for what one look found due; the next look goes on.
const DUE_ENTRIES_PER_LOOK: usize = 64;

impl Node {
    /// Moves log time on while nobody proposes anything, has done what is due, and names clocks that are wrong.
    pub(super) fn spawn_ticks(&self) {
        let (raft, clocks, store) = (self.raft.clone(), self.clocks.clone(), self.store.clone());
        tokio::spawn(async move {
            let looks_per_check = TICK_CHECK_INTERVAL.as_millis() / DUE_CHECK_INTERVAL.as_millis();
            let mut looks = 0;
            while raft.metrics().borrow_watched().running_state.is_ok() {
                tokio::time::sleep(DUE_CHECK_INTERVAL).await;
                looks += 1;
                if !raft.is_leader() {
                    continue;
                }
                if looks >= looks_per_check {
                    looks = 0;
                    let log_time_ms = log_time_ms(&raft, &clocks);
                    for (id, ahead_ms) in clocks.wrong_clocks(log_time_ms) {
                        tracing::error!(
                            id,
                            ahead_ms,
                            "a replica's clock is ahead of the majority's: set it right"
                        );
                    }
                }
                for _ in 0..DUE_ENTRIES_PER_LOOK {
                    let log_time_ms = log_time_ms(&raft, &clocks);
                    if !is_tick_wanted(&store, log_time_ms) {
                        break;
                    }
                    // An entry without a command: only its time counts.
                    let tick = Proposal { log_time_ms, command: Bytes::new(), traceparent: String::new() };
                    if let Err(error) = raft.client_write(tick).await {
                        tracing::debug!(%error, "log time was not moved on");
                        break;
                    }
                }
            }
        });
    }
}

/// Whether an entry is to be proposed for its time's sake: log time lags far behind the clocks, or something has become due and
/// no entry has come since. Every entry does what is due, so that a busy leader proposes none of these.
fn is_tick_wanted(store: &Store, log_time_ms: u64) -> bool {
    let state = store.read();
    let known_ms = state.applied().log_time_ms;
    let due_ms = match state.due_head() {
        Ok(head) => head.head_ms,
        Err(error) => {
            tracing::warn!(%error, "what is due could not be read");
            0
        }
    };
    log_time_ms >= known_ms + TICK_LAG_MS || due_ms != 0 && due_ms <= log_time_ms.max(known_ms)
}
