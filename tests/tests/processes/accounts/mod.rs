//! Who may come in: sessions, passwords, guesses, refresh secrets, signing keys and the first admin, over real gateways and
//! replicas.
//!
//! `QUORATE_ACCOUNTS_TRIES` (default 60) is the number of tries of each kind when answers to unknown names and wrong passwords
//! are timed; `QUORATE_ACCOUNTS_GUESSES` (default 200) the number of guesses at one account over three gateways.

pub(crate) mod device;
mod flood;
mod guesses;
mod keys;
mod refresh;
mod revocation;
mod secrets;

use std::time::Duration;

use quorate_tests::harness::TestCluster;

/// Every wait that is no measurement.
const WAIT: Duration = Duration::from_secs(60);

/// A cluster whose replicas have agreed on the rules for accounts.
async fn start(
    name: &str,
    change: impl FnOnce(quorate_cluster::Spec) -> quorate_cluster::Spec,
) -> anyhow::Result<TestCluster> {
    TestCluster::start_with(name, change).await?.upgraded().await
}
