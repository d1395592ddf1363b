//! Early elections: a leader whose process is gone need not be waited for.
//!
//! A killed process resets its connections at once, and its port refuses new ones; a paused, slow or cut-off one does
//! neither. A follower that sees both asks the other voters, and only when a majority has seen the same, and would vote
//! for it, does it stand for election without waiting for the leader's lease to end. Raft's safety never rests on that
//! lease (no read is served by lease here); the majority is asked so that one replica's broken network cannot unseat a
//! leader that serves the others. Where evidence is missing (a host that vanishes, a firewall that drops), the election
//! timeout decides as before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use quorate_proto::rpc::raft_client::RaftClient;
use quorate_proto::rpc::{self, LeaderLostRequest, LifelineRequest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Raft;
use super::film::Film;
use super::network::Network;
use super::types::{LogId, Vote, log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire};

/// Longest wait for the refusal of a new connection, and for a voter's opinion.
const ANSWER_WAIT: Duration = Duration::from_millis(150);
/// How often, and how many times, a new connection is tried: for as long as a process may take to end.
const REFUSAL_INTERVAL: Duration = Duration::from_millis(3);
const REFUSAL_ATTEMPTS: u32 = 50;
/// Between two rounds of asking the voters: they see the leader's end a few milliseconds apart.
const ASK_INTERVAL: Duration = Duration::from_millis(15);
/// Between two looks at the leader, and between two attempts to hold a lifeline.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// Voters stand one after another, so that they do not split the vote: enough for one election on a busy machine.
const TURN: Duration = Duration::from_millis(40);
/// Evidence older than this is stale: by then the ordinary election has come.
const EVIDENCE_AGE_MAX: Duration = Duration::from_millis(1_000);

/// What this replica has seen of a leader's end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Evidence(Arc<Mutex<Option<(Vote, Instant)>>>);

const NOT_POISONED: &str = "nothing panics while it holds the evidence";

impl Evidence {
    fn record(&self, leader: Vote) {
        *self.0.lock().expect(NOT_POISONED) = Some((leader, Instant::now()));
    }

    fn withdraw(&self) {
        *self.0.lock().expect(NOT_POISONED) = None;
    }

    fn is_against(&self, leader: &Vote) -> bool {
        let seen = self.0.lock().expect(NOT_POISONED);
        seen.as_ref().is_some_and(|(vote, at)| vote == leader && at.elapsed() < EVIDENCE_AGE_MAX)
    }
}

/// Answers another voter: whether the leader is gone for this replica too, and the asking one's log is good enough.
pub async fn agrees(raft: &Raft, evidence: &Evidence, request: &LeaderLostRequest) -> bool {
    let Ok(leader) = vote_from_wire(request.leader) else { return false };
    let asking = request.last_log_id.as_ref().map(log_id_from_wire);
    let Some((own_vote, own_last)) = stand(raft).await else { return false };
    own_vote == leader && evidence.is_against(&leader) && asking >= own_last
}

/// This replica's vote and last log id, from consensus itself: its metrics show the vote of the last finished write.
async fn stand(raft: &Raft) -> Option<(Vote, Option<LogId>)> {
    raft.with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied())).await.ok()
}

/// The leader to watch: its id and address. `None` while there is none, or this replica leads.
fn leader(raft: &Raft, own: u64) -> Option<(u64, String)> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let id = metrics.current_leader.filter(|id| *id != own)?;
    Some((id, metrics.membership_config.get_node(&id)?.address.clone()))
}

/// Watches the leader for as long as this replica runs.
pub async fn watch(raft: Raft, network: Network, own: u64, evidence: Evidence, film: Film) {
    loop {
        if raft.metrics().borrow_watched().running_state.is_err() {
            return;
        }
        let Some((id, address)) = leader(&raft, own) else {
            tokio::time::sleep(RETRY_INTERVAL).await;
            continue;
        };
        evidence.withdraw();
        if !hold_lifeline(&raft, &network, own, id, &address).await {
            tokio::time::sleep(RETRY_INTERVAL).await;
            continue;
        }
        let Some((vote, _)) = stand(&raft).await else { return };
        if vote.leader_id.node_id != id || !vote.committed || !is_refused(&address).await {
            continue;
        }
        tracing::info!(leader = id, term = vote.leader_id.term, "the leader's process is gone");
        evidence.record(vote);
        film.suspected();
        stand_for_election(&raft, &network, own, &vote).await;
    }
}

/// Holds a lifeline to the leader until it ends; `true` when it was up and broke while that leader was still followed.
async fn hold_lifeline(raft: &Raft, network: &Network, own: u64, id: u64, address: &str) -> bool {
    let Ok(mut client) = network.client(id, address) else { return false };
    let opened = tokio::time::timeout(ANSWER_WAIT, client.lifeline(LifelineRequest {})).await;
    let Ok(Ok(stream)) = opened else { return false };
    let mut stream = stream.into_inner();
    let mut metrics = raft.server_metrics();
    loop {
        tokio::select! {
            beat = stream.message() => match beat {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return true,
            },
            changed = metrics.changed() => {
                let followed = leader(raft, own).is_some_and(|(now, _)| now == id);
                if changed.is_err() || !followed {
                    return false;
                }
            }
        }
    }
}

/// Makes a connection and lets it go.
async fn connect(address: &str) -> std::io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(dialing) = crate::simulation::dial(address) {
        return dialing.await.map(drop);
    }
    TcpStream::connect(address).await.map(drop)
}

/// Whether a new connection is refused: nobody listens there, while the host answers. Asked a few times: a process that
/// ends closes its sockets one after another, and its listener may be the last.
async fn is_refused(address: &str) -> bool {
    for _ in 0..REFUSAL_ATTEMPTS {
        match tokio::time::timeout(ANSWER_WAIT, connect(address)).await {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => return true,
            // Accepted by a listener on its way out, or a reset while it goes.
            Ok(_) => tokio::time::sleep(REFUSAL_INTERVAL).await,
            Err(_) => return false,
        }
    }
    false
}

/// Stands for election in this replica's turn, if a majority of voters agrees, until somebody leads or the evidence ages.
async fn stand_for_election(raft: &Raft, network: &Network, own: u64, leader: &Vote) {
    let gone = leader.leader_id.node_id;
    let begun = Instant::now();
    let members = raft.metrics().borrow_watched().membership_config.clone();
    let members = members.membership();
    let joint: Vec<_> = members.get_joint_config().clone();
    let voters: Vec<u64> = members.voter_ids().filter(|id| *id != gone).collect();
    // In the order of ids after the one that is gone: all see the same turns.
    let turn = {
        let mut order = voters.clone();
        order.sort_unstable_by_key(|id| (*id < gone, *id));
        order.iter().position(|id| *id == own)
    };
    let Some(turn) = turn.and_then(|turn| u32::try_from(turn).ok()) else { return };
    let mut wait = TURN * turn;
    while begun.elapsed() < EVIDENCE_AGE_MAX {
        tokio::time::sleep(wait).await;
        wait = ASK_INTERVAL;
        let Some((vote, last_log_id)) = stand(raft).await else { return };
        if vote != *leader {
            return;
        }
        let request = LeaderLostRequest {
            leader: Some(vote_to_wire(leader)),
            last_log_id: last_log_id.as_ref().map(log_id_to_wire),
        };
        let mut asked: FuturesUnordered<_> = voters
            .iter()
            .filter(|id| **id != own)
            .filter_map(|id| Some((*id, members.get_node(id)?.address.clone())))
            .map(|(id, address)| ask(network, id, address, request))
            .collect();
        let mut agreed = std::collections::BTreeSet::from([own]);
        let has_majority = |agreed: &std::collections::BTreeSet<u64>| {
            joint.iter().all(|set| set.intersection(agreed).count() > set.len() / 2)
        };
        while !has_majority(&agreed)
            && let Some(answer) = asked.next().await
        {
            agreed.extend(answer);
        }
        if has_majority(&agreed) {
            tracing::info!(gone, ?agreed, "standing for election early");
            // The same as the leader's own request to take over: votes are granted although its lease has not ended. It is
            // refused when the vote has changed meanwhile.
            let request = TransferLeaderRequest::new(*leader, own, last_log_id);
            if let Err(error) = raft.handle_transfer_leader(request).await {
                tracing::debug!(%error, "no early election");
            }
            return;
        }
    }
}

async fn ask(network: &Network, id: u64, address: String, request: LeaderLostRequest) -> Option<u64> {
    let mut client: RaftClient<_> = network.client(id, &address).ok()?;
    let answer = tokio::time::timeout(ANSWER_WAIT, client.leader_lost(request)).await;
    let rpc::LeaderLostResponse { agrees } = answer.ok()?.ok()?.into_inner();
    agrees.then_some(id)
}
