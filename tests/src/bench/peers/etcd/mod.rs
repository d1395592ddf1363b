//! etcd: five members with their own defaults, which sync every write before it is acknowledged.

pub mod api;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{PortPlan, PortRange, wait_until};
use tonic::transport::Channel;

use self::api::PutRequest;
use super::NODES;
use super::servers::Servers;
use crate::bench::shape::Write;

/// Five members find each other and elect within this.
const START_WAIT: Duration = Duration::from_mins(1);
/// Writers that share an HTTP/2 connection: with one each, the members spend more on connections than on writes.
const WRITERS_PER_CONNECTION: usize = 16;
/// Before something that was refused is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// A write is tried for so long.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// An answer that has not come within this is asked for again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Five members.
#[derive(Debug)]
pub struct Etcd {
    servers: Servers,
    plan: PortPlan,
    _range: PortRange,
}

fn arguments(folder: &Path, plan: PortPlan, place: u16) -> Vec<String> {
    let (client, peer) = (plan.replica_grpc(place), plan.replica_http(place));
    let all: Vec<String> =
        (1..=NODES).map(|node| format!("e{node}=http://{}", plan.replica_http(node))).collect();
    [
        ("name", format!("e{place}")),
        ("data-dir", folder.display().to_string()),
        ("listen-client-urls", format!("http://{client}")),
        ("advertise-client-urls", format!("http://{client}")),
        ("listen-peer-urls", format!("http://{peer}")),
        ("initial-advertise-peer-urls", format!("http://{peer}")),
        ("initial-cluster", all.join(",")),
        ("initial-cluster-state", "new".to_owned()),
        ("initial-cluster-token", "bench".to_owned()),
        // A long row would fill the default of 2 GiB.
        ("quota-backend-bytes", (8_u64 << 30).to_string()),
        ("log-level", "error".to_owned()),
    ]
    .iter()
    .map(|(name, value)| format!("--{name}={value}"))
    .collect()
}

impl Etcd {
    /// Starts them in a folder.
    ///
    /// # Errors
    /// When they do not serve in time.
    pub async fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        let range = PortRange::find()?;
        let plan = range.plan();
        let mut own = Self { servers: Servers::default(), plan, _range: range };
        for place in 1..=NODES {
            let data = dir.join(format!("etcd-{place}"));
            let log = dir.join(format!("etcd-{place}.log"));
            own.servers.add(program, arguments(&data, plan, place), log, data)?;
        }
        let led = wait_until("a leader of etcd", START_WAIT, || async {
            own.leader().await.map_err(|error| format!("{error:#}"))
        });
        led.await.with_context(|| own.servers.last_words())?;
        Ok(own)
    }

    /// The place, from 0, of the member that leads; all must answer and name the same.
    ///
    /// # Errors
    /// When they do not, or one of them is far behind.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        let mut all = Vec::new();
        for node in 1..=NODES {
            let asked = api::status(api::channel(self.plan.replica_grpc(node))?);
            let status = tokio::time::timeout(Duration::from_secs(1), asked).await;
            all.push(status.with_context(|| format!("member {node} is silent"))??);
        }
        let leader = all[0].leader;
        ensure!(leader != 0 && all.iter().all(|status| status.leader == leader), "nobody leads all: {all:?}");
        let applied = || all.iter().map(|status| status.raft_applied_index);
        let behind = applied().max().unwrap_or(0) - applied().min().unwrap_or(0);
        ensure!(behind < 5_000, "one member is {behind} entries behind");
        let is_leader =
            |status: &api::StatusResponse| status.header.is_some_and(|own| own.member_id == leader);
        all.iter().position(is_leader).context("a stranger leads")
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        (1..=NODES).map(|node| self.plan.replica_grpc(node)).collect()
    }

    /// So many writers, at the member that leads: the shortest way there is.
    ///
    /// # Errors
    /// When nobody leads.
    pub async fn writers(&self, count: usize, bytes: usize) -> anyhow::Result<Vec<Writer>> {
        let leader = self.leader().await?;
        let mut writers = Vec::with_capacity(count);
        let mut channel = api::channel(self.addresses()[leader])?;
        for place in 0..count {
            if place > 0 && place.is_multiple_of(WRITERS_PER_CONNECTION) {
                channel = api::channel(self.addresses()[leader])?;
            }
            writers.push(Writer::new(self.addresses(), leader, channel.clone(), place, bytes, PATIENCE));
        }
        Ok(writers)
    }

    /// Writers that are spread over all members and ask again soon: what a failover needs.
    ///
    /// # Errors
    /// Never.
    pub fn restless_writers(
        &self,
        count: usize,
        bytes: usize,
        patience: Duration,
    ) -> anyhow::Result<Vec<Writer>> {
        let addresses = self.addresses();
        let writer = |place: usize| {
            let channel = api::channel(addresses[place % addresses.len()])?;
            Ok(Writer::new(addresses.clone(), place, channel, place, bytes, patience))
        };
        (0..count).map(writer).collect()
    }

    /// The numbers of the members that run.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    /// What each keeps its data in.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.servers.folders()
    }

    /// Ends the member at a place, from 0.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&mut self, place: usize, how: Send) -> anyhow::Result<()> {
        self.servers.end(place, how).await
    }

    /// Starts the member at a place again and waits until it has caught up.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn start_again(&mut self, place: usize) -> anyhow::Result<()> {
        self.servers.start(place)?;
        wait_until("an etcd member to catch up", START_WAIT, || async {
            self.leader().await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(())
    }
}

/// Puts pairs under keys of its own, one at a time. Goes to the next member when one is gone.
#[derive(Debug)]
pub struct Writer {
    members: Vec<SocketAddr>,
    turn: usize,
    channel: Channel,
    place: usize,
    value: Vec<u8>,
    number: u64,
    patience: Duration,
}

impl Writer {
    fn new(
        members: Vec<SocketAddr>,
        turn: usize,
        channel: Channel,
        place: usize,
        bytes: usize,
        patience: Duration,
    ) -> Self {
        // A later load of the same place goes on with other keys.
        let number = u64::from(uuid::Uuid::new_v4().as_fields().0) << 32;
        Self { members, turn, channel, place, value: vec![b'x'; bytes], number, patience }
    }
}

impl Write for Writer {
    async fn write(&mut self) -> anyhow::Result<()> {
        self.number += 1;
        let key = format!("bench/{}/{:020}", self.place, self.number).into_bytes();
        let until = Instant::now() + WRITE_WAIT;
        loop {
            let request = PutRequest { key: key.clone(), value: self.value.clone() };
            let asked = tokio::time::timeout(self.patience, api::put(self.channel.clone(), request));
            let why = match asked.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no answer"),
            };
            if Instant::now() >= until {
                bail!("not acknowledged within {WRITE_WAIT:?}: {why:#}");
            }
            self.turn += 1;
            self.channel = api::channel(self.members[self.turn % self.members.len()])?;
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_ports_of_its_own_and_knows_all_five() {
        let plan = PortPlan::new(20_000).unwrap();
        let mut ports = std::collections::BTreeSet::new();
        for place in 1..=NODES {
            let words = arguments(Path::new("/x"), plan, place);
            let find = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
            assert_eq!(find("--initial-cluster=").split(',').count(), 5, "{words:?}");
            assert!(
                find("--initial-cluster=").contains(&format!("e{place}={}", find("--listen-peer-urls=")))
            );
            ports.extend([find("--listen-client-urls="), find("--listen-peer-urls=")]);
        }
        assert_eq!(ports.len(), 10);
    }
}
