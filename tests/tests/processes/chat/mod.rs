//! What people do in a chat, through real processes, while the leader is killed: each feature from a socket of one gateway to
//! sockets of another.

pub(crate) mod device;
mod groups;
mod messages;
mod scheduled;

use std::time::Duration;

use anyhow::Context as _;
use quorate_cluster::{Balancer, Member};
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::{caught_up, leader, states_agree};

/// Five replicas and two gateways; people sit at both.
pub(crate) async fn cluster(name: &str) -> anyhow::Result<TestCluster> {
    TestCluster::start_with(name, |mut spec| {
        spec.gateways = 2;
        spec.balancer = Balancer::None;
        spec
    })
    .await?
    .upgraded()
    .await
}

/// Kills the leader while `during` goes on, and starts it again.
async fn without_its_leader<T>(
    test: &TestCluster,
    during: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let (victim, _) = leader(test).await?;
    test.cluster.kill(&Member::Replica(victim)).await?;
    test.recorder.mark(format!("killed the leader, replica {victim}"));
    let done = during.await;
    test.cluster.start_member(&Member::Replica(victim))?;
    let done = done.with_context(|| format!("while replica {victim}, which led, was dead"))?;
    caught_up(test, victim).await?;
    Ok(done)
}

/// After everything: the states are alike, and no process has panicked.
pub(crate) async fn all_is_well(test: &TestCluster) -> anyhow::Result<()> {
    states_agree(test).await?;
    let replicas = test.cluster.replica_ids().into_iter().map(Member::Replica);
    let gateways = test.cluster.gateways().into_iter().map(Member::Gateway);
    for member in replicas.chain(gateways) {
        let log = quorate_tests::harness::read(&test.cluster.log(&member))?;
        let panic = log.lines().find(|line| line.contains("panicked at"));
        anyhow::ensure!(panic.is_none(), "{member:?}: {panic:?}");
    }
    Ok(())
}

/// For what comes by itself.
const WAIT: Duration = Duration::from_secs(20);
