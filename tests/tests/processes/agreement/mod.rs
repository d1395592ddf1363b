//! Real replicas that are upgraded one by one, and registers that stay linearizable while leaders die.
//!
//! Longer runs: `QUORATE_LINEARIZABLE_KILLS` (default 3) is the number of leader kills under the edits and reads.

mod asker;
mod members;
mod registers;
mod since_four;
mod upgrade;

use std::time::Duration;

use anyhow::bail;
use quorate_tests::harness::TestCluster;
use quorate_tests::linear::{self, Model, Timed, Verdict};

/// Every wait of these tests that is no phase of its own.
const WAIT: Duration = Duration::from_secs(60);
/// Calls judged of one register or head. The checker is linear in them as long as few overlap; this bounds the long form.
const CALLS_PER_PARTITION_MAX: usize = 20_000;

/// The machine version that every replica is at, if it is the same one.
async fn versions(test: &TestCluster) -> Vec<u32> {
    let statuses = test.cluster.replica_statuses(0).await;
    statuses.into_iter().map(|status| status.map_or(0, |status| status.machine_version)).collect()
}

fn judge<M: Model>(
    what: &str,
    calls: Vec<Timed<M::Call>>,
    forget: impl Fn(M::Call) -> Option<M::Call>,
) -> anyhow::Result<usize>
where
    M::Call: std::fmt::Debug,
{
    let calls = linear::beginning(calls, CALLS_PER_PARTITION_MAX, forget);
    match linear::check::<M>(&calls) {
        Verdict::Linearizable => Ok(calls.len()),
        Verdict::Violation(place) => {
            let around = &calls[place.saturating_sub(12)..(place + 12).min(calls.len())];
            bail!("{what} is not linearizable at {:?}, among {around:#?}", calls[place]);
        }
        Verdict::Unknown => bail!("{what}: too many calls overlap to say, which is no pass"),
    }
}
