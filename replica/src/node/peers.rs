//! Once a second each replica asks all others how they stand: whether their state is its own, and which machine version they
//! support. Owns the asking; the verdicts are in `agreement` and `upgrade`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use openraft::async_runtime::WatchReceiver as _;
use prost::Message as _;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Command, SetMachineVersion, StatusRequest, StatusResponse, outcome};
use tonic::transport::Channel;
use uuid::Uuid;

use super::agreement::{self, Verdict};
use super::network::Identity;
use super::{Node, upgrade};

/// Between two rounds: a replica whose state is wrong stops within two of them, and twenty small calls a second cost nothing.
pub(super) const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// Asks the others for the life of the node.
#[derive(Debug)]
pub(super) struct Peers {
    identity: Identity,
    data_dir: PathBuf,
    channels: BTreeMap<u64, (String, Channel)>,
    /// Applied here a round ago: whoever is not far behind has it by now.
    compared_index: u64,
    /// Said already.
    apart: Vec<u64>,
}

impl Peers {
    pub(super) fn new(identity: Identity, data_dir: PathBuf) -> Self {
        Self { identity, data_dir, channels: BTreeMap::new(), compared_index: 0, apart: Vec::new() }
    }

    /// Runs until the node has to stop.
    pub(super) async fn run(mut self, node: std::sync::Weak<Node>) {
        let mut rounds = tokio::time::interval(ROUND_INTERVAL);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let Some(node) = node.upgrade() else { return };
            self.round(&node).await;
            if node.halt.reason().is_some() {
                return;
            }
        }
    }

    async fn round(&mut self, node: &Node) {
        let (voters, members) = Self::members(node);
        let index = self.compared_index;
        let answers = self.ask(node.id, &members, index).await;
        self.compare(node, index, &answers, &voters);
        let mut present = {
            let state = node.store.read();
            self.compared_index = state.applied().index().unwrap_or(0);
            state.applied().machine_version
        };
        if node.is_leader() {
            let supports = members.keys().map(|id| match answers.get(id) {
                _ if *id == node.id => (*id, Some(node.machine_version_max)),
                answer => (*id, answer.map(|status| status.machine_version_max)),
            });
            let supports = supports.collect();
            // Every step in the same round: a new cluster has all that its replicas support before somebody has signed up.
            while let Some(version) = upgrade::next_version(present, &supports) {
                // Who came meanwhile was not asked.
                if Self::members(node).1 != members || !raise(node, version).await {
                    break;
                }
                present = version;
            }
        }
    }

    /// The voters, and all members with their addresses.
    fn members(node: &Node) -> (BTreeSet<u64>, BTreeMap<u64, String>) {
        let metrics = node.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let config = &metrics.membership_config;
        let members = config.nodes().map(|(id, peer)| (*id, peer.address.clone())).collect();
        (config.voter_ids().collect(), members)
    }

    async fn ask(
        &mut self,
        own: u64,
        members: &BTreeMap<u64, String>,
        hash_index: u64,
    ) -> BTreeMap<u64, StatusResponse> {
        self.channels.retain(|id, (address, _)| members.get(id) == Some(address));
        for (id, address) in members.iter().filter(|(id, _)| **id != own) {
            if !self.channels.contains_key(id)
                && let Ok(channel) = self.identity.channel(address)
            {
                self.channels.insert(*id, (address.clone(), channel));
            }
        }
        let calls = self.channels.iter().map(|(id, (_, channel))| {
            let mut client = AdminClient::with_interceptor(channel.clone(), self.identity.clone());
            async move {
                let answer = tokio::time::timeout(
                    ANSWER_WAIT,
                    client.status(StatusRequest { hash_index, details: false }),
                )
                .await;
                let status = answer.ok()?.ok()?.into_inner();
                (status.id == *id).then_some((*id, status))
            }
        });
        futures_util::future::join_all(calls).await.into_iter().flatten().collect()
    }

    fn compare(
        &mut self,
        node: &Node,
        index: u64,
        answers: &BTreeMap<u64, StatusResponse>,
        voters: &BTreeSet<u64>,
    ) {
        let own = node.status(index).hash;
        if index == 0 || own.is_empty() {
            return;
        }
        let known =
            answers.iter().filter(|(_, status)| status.hash_index == index && !status.hash.is_empty());
        let others = known.map(|(id, status)| (*id, status.hash.clone())).collect();
        match agreement::judge(node.id, &own, &others, voters) {
            Verdict::Agreed => self.apart.clear(),
            Verdict::Outvoted(theirs) => {
                node.metrics.disagreed();
                node.halt.because(agreement::outvoted(&self.data_dir, index, &own, &theirs));
            }
            Verdict::Apart(apart) => {
                node.metrics.disagreed();
                if self.apart != apart {
                    tracing::error!(
                        index,
                        replicas = ?apart,
                        "other replicas have another state than this one: keep their data directories and logs"
                    );
                    self.apart = apart;
                }
            }
        }
    }
}

/// Proposes the next machine version. A lost answer is no loss: the next round sees what became of it.
/// Whether it is raised now.
async fn raise(node: &Node, version: u32) -> bool {
    let command = Command {
        command_id: Bytes::copy_from_slice(new_id().as_bytes()),
        action: Some(Action::SetMachineVersion(SetMachineVersion { version })),
        ..Command::default()
    };
    let Ok(outcomes) = node.propose(vec![Bytes::from(command.encode_to_vec())]).await else { return false };
    let mut outcomes = std::pin::pin!(outcomes);
    match outcomes.next().await {
        Some(Ok(outcome)) if matches!(outcome.result, Some(outcome::Result::Done(_))) => {
            tracing::info!(
                version,
                index = outcome.index,
                "raised the machine version: every member supports it"
            );
            true
        }
        other => {
            tracing::debug!(version, ?other, "the machine version was not raised");
            false
        }
    }
}

/// A command id of this replica's own.
fn new_id() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(id) = crate::simulation::new_id() {
        return id;
    }
    Uuid::new_v4()
}
