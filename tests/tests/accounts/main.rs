//! Who may come in: sessions, passwords, guesses, refresh secrets, signing keys and the first admin, over real gateways and
//! replicas.
//!
//! `QUORATE_ACCOUNTS_TRIES` (default 60) is the number of tries of each kind when answers to unknown names and wrong passwords
//! are timed; `QUORATE_ACCOUNTS_GUESSES` (default 200) the number of guesses at one account over three gateways.

mod device;
mod guesses;
mod keys;
mod refresh;
mod secrets;
mod sessions;

use std::time::Duration;

use quorate_cluster::wait_until;
use quorate_tests::harness::TestCluster;

/// Every wait that is no measurement.
const WAIT: Duration = Duration::from_secs(60);

/// A cluster whose replicas have agreed on the rules for accounts: a new one raises its machine version step by step.
async fn start(
    name: &str,
    change: impl FnOnce(quorate_cluster::Spec) -> quorate_cluster::Spec,
) -> anyhow::Result<TestCluster> {
    let test = TestCluster::start_with(name, change).await?;
    let upgraded = wait_until("the newest machine version everywhere", WAIT, || async {
        let statuses = test.cluster.replica_statuses(0).await;
        let newest = |status: &Result<quorate_proto::rpc::StatusResponse, String>| {
            status.as_ref().is_ok_and(|status| status.machine_version == status.machine_version_max)
        };
        if statuses.iter().all(newest) { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    match upgraded {
        Ok(()) => Ok(test),
        Err(error) => {
            Err(test.finish(Err(error.into())).await.err().unwrap_or_else(|| anyhow::anyhow!("not ready")))
        }
    }
}
