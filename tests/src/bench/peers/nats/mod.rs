//! NATS: five servers with JetStream, one stream on all five, every message synced before it is acknowledged.
//!
//! `sync_interval: always`, because with its default of two minutes a power cut takes acknowledged messages along, and nothing else
//! here may lose any. One stream is one order of all messages, as Quorate has one.

pub mod client;
pub mod codec;
pub mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{PortPlan, PortRange, wait_until};
use serde_json::{Value, json};

use self::client::{Writer, ask};
use super::NODES;
use super::servers::Servers;

/// Five servers find each other, elect, and make a stream within this.
const START_WAIT: Duration = Duration::from_mins(1);
/// The stream.
const STREAM: &str = "bench";

/// Five servers.
#[derive(Debug)]
pub struct Nats {
    servers: Servers,
    plan: PortPlan,
    _range: PortRange,
}

fn config(folder: &Path, plan: PortPlan, place: u16) -> String {
    let routes: Vec<String> = (1..=NODES).map(|node| format!("nats://{}", plan.replica_http(node))).collect();
    format!(
        "server_name: n{place}\nlisten: \"{}\"\nmax_connections: 200000\nwrite_deadline: \"10s\"\n\
         jetstream {{\n  store_dir: \"{}\"\n  sync_interval: always\n  max_file_store: 64GB\n}}\n\
         cluster {{\n  name: bench\n  listen: \"{}\"\n  routes: [{}]\n}}\n\
         websocket {{\n  listen: \"{}\"\n  no_tls: true\n}}\n",
        plan.replica_grpc(place),
        folder.display(),
        plan.replica_http(place),
        routes.join(", "),
        plan.gateway(place),
    )
}

/// Who leads, by place from 0, if the other four have what the leader has; of an answer about the stream.
fn leader_of(told: &Value) -> anyhow::Result<usize> {
    let cluster = &told["cluster"];
    let name = cluster["leader"].as_str().with_context(|| format!("nobody leads: {told}"))?;
    let others = cluster["replicas"].as_array().with_context(|| format!("no replicas: {told}"))?;
    let current = others.iter().filter(|other| other["current"] == true && other["offline"] != true).count();
    ensure!(current + 1 == usize::from(NODES), "{current} of its replicas are current: {cluster}");
    let place: usize = name.trim_start_matches('n').parse().with_context(|| format!("who is {name}?"))?;
    place.checked_sub(1).context("servers are counted from 1")
}

impl Nats {
    /// Starts them in a folder and makes the stream.
    ///
    /// # Errors
    /// When a server or the stream does not come up.
    pub async fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        let range = PortRange::find()?;
        let plan = range.plan();
        let mut own = Self { servers: Servers::default(), plan, _range: range };
        for place in 1..=NODES {
            let (data, file) = (dir.join(format!("nats-{place}")), dir.join(format!("nats-{place}.conf")));
            std::fs::write(&file, config(&data, plan, place))
                .with_context(|| format!("cannot write {}", file.display()))?;
            let arguments = vec!["-c".to_owned(), file.display().to_string()];
            own.servers.add(program, arguments, dir.join(format!("nats-{place}.log")), data)?;
        }
        let stream = json!({
            "name": STREAM, "subjects": [format!("{STREAM}.>")], "storage": "file", "retention": "limits",
            "num_replicas": NODES, "duplicate_window": 120_000_000_000_u64,
        });
        let stream = stream.to_string();
        let made = wait_until("a NATS stream", START_WAIT, || async {
            let api = format!("$JS.API.STREAM.CREATE.{STREAM}");
            let answer = ask(plan.replica_grpc(1), &api, stream.as_bytes()).await;
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            if answer.get("error").is_none() { Ok(()) } else { Err(answer.to_string()) }
        });
        made.await.with_context(|| own.servers.last_words())?;
        wait_until("a leader of the NATS stream", START_WAIT, || async {
            own.leader().await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(own)
    }

    /// The place, from 0, of the server that leads the stream, as the first that answers says.
    ///
    /// # Errors
    /// When nobody leads it, or its replicas are not all there and current.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        let mut last = anyhow::anyhow!("no server");
        for node in 1..=NODES {
            match self.leader_as_told_by(node).await {
                Ok(leader) => return Ok(leader),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn leader_as_told_by(&self, node: u16) -> anyhow::Result<usize> {
        leader_of(&ask(self.plan.replica_grpc(node), &format!("$JS.API.STREAM.INFO.{STREAM}"), b"").await?)
    }

    /// Addresses of clients, by place.
    fn addresses(&self) -> Vec<SocketAddr> {
        (1..=NODES).map(|node| self.plan.replica_grpc(node)).collect()
    }

    /// Where the server at a place, from 0, takes clients.
    ///
    /// # Errors
    /// When there is none.
    pub fn address(&self, place: u16) -> SocketAddr {
        self.plan.replica_grpc(place + 1)
    }

    /// Where the server at a place, from 0, takes WebSockets.
    pub fn socket_address(&self, place: u16) -> SocketAddr {
        self.plan.gateway(place + 1)
    }

    /// So many writers, each on a connection of its own to the server that leads the stream: the shortest way there is.
    ///
    /// # Errors
    /// When one cannot connect.
    pub async fn writers(&self, count: usize, subjects: usize, bytes: usize) -> anyhow::Result<Vec<Writer>> {
        let leader = self.leader().await?;
        self.connected(count, |place| {
            Writer::new(self.addresses(), leader, place, format!("{STREAM}.{}", place % subjects), bytes)
        })
        .await
    }

    /// Writers that are spread over all servers and ask again soon: what a failover needs.
    ///
    /// # Errors
    /// When one cannot connect.
    pub async fn restless_writers(
        &self,
        count: usize,
        bytes: usize,
        patience: Duration,
    ) -> anyhow::Result<Vec<Writer>> {
        self.connected(count, |place| {
            Writer::new(self.addresses(), place, place, format!("{STREAM}.{place}"), bytes)
                .patient_for(patience)
        })
        .await
    }

    async fn connected(&self, count: usize, make: impl Fn(usize) -> Writer) -> anyhow::Result<Vec<Writer>> {
        let mut writers = Vec::with_capacity(count);
        for place in 0..count {
            let mut writer = make(place);
            writer.connect().await?;
            writers.push(writer);
        }
        Ok(writers)
    }

    /// The numbers of the servers that run.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    /// What each keeps its data in.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.servers.folders()
    }

    /// Ends the server at a place, from 0.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&mut self, place: usize, how: Send) -> anyhow::Result<()> {
        self.servers.end(place, how).await
    }

    /// Starts the server at a place again and waits until it has caught up.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn start_again(&mut self, place: usize) -> anyhow::Result<()> {
        self.servers.start(place)?;
        wait_until("a NATS server to catch up", START_WAIT, || async {
            self.leader().await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_syncs_always_and_knows_the_other_four() {
        let plan = PortPlan::new(20_000).unwrap();
        let all: Vec<String> = (1..=NODES).map(|place| config(Path::new("/x"), plan, place)).collect();
        for (place, text) in (1..).zip(&all) {
            assert!(
                text.contains("sync_interval: always") && text.contains(&format!("server_name: n{place}\n"))
            );
            assert_eq!(text.matches("nats://127.0.0.1:").count(), 5, "{text}");
        }
        let ports: Vec<&str> =
            all.iter().flat_map(|text| text.lines()).filter(|line| line.contains("listen")).collect();
        assert_eq!(ports.iter().collect::<std::collections::BTreeSet<_>>().len(), 15, "{ports:?}");
    }

    #[test]
    fn a_leader_counts_when_all_others_have_what_it_has() {
        let told = |current: bool| {
            let other = |name: &str, current: bool| json!({"name": name, "current": current});
            let others = [other("n1", true), other("n2", true), other("n4", true), other("n5", current)];
            json!({"cluster": {"leader": "n3", "replicas": others}})
        };
        assert_eq!(leader_of(&told(true)).unwrap(), 2);
        assert!(leader_of(&told(false)).unwrap_err().to_string().contains("3 of its replicas"));
        assert!(
            leader_of(&json!({"error": {"code": 503}})).unwrap_err().to_string().contains("nobody leads")
        );
    }
}
