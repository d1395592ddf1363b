//! Before a replica takes part: the others tell it what they know it acknowledged.
//!
//! Until a majority of the newest known membership, itself included, has told it, a starting replica answers no call of
//! consensus and starts no election. Answering needs no admission of one's own, so five can start together. Everybody who can
//! be reached is heard, not only the fastest majority: the more are asked, the more surely one of them knows. Who takes the call
//! and is late is asked once more, in patience, before the gate opens: a slow leader may be the only one to know of the last
//! heartbeat's worth. Who cannot be reached is not waited for, nor who is longer about it than [`LATE_WAIT`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::WatchReceiver as _;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::{Acknowledged, RecallRequest, RecallResponse, StatusRequest};
use tokio::sync::watch;

use super::Raft;
use super::network::Network;
use super::recall::{Memory, Refusal, judge};
use super::types::{LogId, StoredMembership, stored_membership_from_wire};

/// Longest wait for one answer: a peer that is up answers after one sync of a small file. Longer than it takes to find out that
/// nobody is there.
const ANSWER_WAIT: Duration = Duration::from_millis(300);
/// The same when somebody who is there was late, once: for a disk that syncs slowly. Short of a second, which is all that a start
/// may lose by it; a process that is paused, or has not begun to serve, answers no ping and is given up before.
const LATE_WAIT: Duration = Duration::from_millis(900);
/// Between two rounds of asking those who have not answered.
const ROUND_INTERVAL: Duration = Duration::from_millis(50);
/// After so many rounds in vain it is said who is missing, and again after each so many.
const ROUNDS_TO_COMPLAIN: u32 = 100;

/// Whether this replica may take part yet. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<Option<Result<(), String>>>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Gate {
    /// Whether consensus may be answered.
    pub fn is_open(&self) -> bool {
        matches!(*self.0.borrow(), Some(Ok(())))
    }

    /// Completes when it is decided: `Err` has the line with which this replica must end.
    pub async fn decided(&self) -> Result<(), String> {
        let mut decision = self.0.subscribe();
        // The sender is ours, so the wait ends with a decision.
        let decided = decision.wait_for(Option::is_some).await.ok().and_then(|decided| decided.clone());
        decided.unwrap_or(Ok(()))
    }

    fn decide(&self, decision: Result<(), String>) {
        self.0.send_replace(Some(decision));
    }
}

/// Who is asked, and who of them must answer.
struct Circle {
    /// When this membership was agreed on; `None` for the configured one.
    as_of: Option<LogId>,
    addresses: BTreeMap<u64, String>,
    /// A majority of each set must have answered.
    voters: Vec<BTreeSet<u64>>,
}

impl Circle {
    fn configured(replicas: &BTreeMap<u64, String>) -> Self {
        Self { as_of: None, addresses: replicas.clone(), voters: vec![replicas.keys().copied().collect()] }
    }

    /// Takes over a newer membership.
    fn learn(&mut self, membership: &StoredMembership) {
        if membership.log_id().is_none() || *membership.log_id() <= self.as_of {
            return;
        }
        self.as_of = *membership.log_id();
        self.voters = membership.membership().get_joint_config().clone();
        let nodes = membership.membership().nodes();
        self.addresses = nodes.map(|(id, peer)| (*id, peer.address.clone())).collect();
    }

    fn is_enough(&self, answered: &BTreeSet<u64>) -> bool {
        self.voters.iter().all(|set| set.intersection(answered).count() > set.len() / 2)
    }
}

/// What comes of asking one.
enum Answer {
    Told(RecallResponse),
    /// The connection was made, and no answer came in time.
    Late,
    /// Nobody is there, or who is there refuses.
    None,
}

async fn ask(network: &Network, id: u64, address: &str, found: Acknowledged, wait: Duration) -> Answer {
    let Ok(mut client) = network.client(id, address) else { return Answer::None };
    let asked = client.recall(RecallRequest { found: Some(found) });
    match tokio::time::timeout(wait, asked).await {
        Ok(Ok(told)) => Answer::Told(told.into_inner()),
        // A connection that is not made fails before.
        Err(_) => Answer::Late,
        Ok(Err(_)) => Answer::None,
    }
}

/// What has been heard so far.
struct Inquiry {
    network: Network,
    found: Acknowledged,
    circle: Circle,
    told: BTreeMap<u64, Acknowledged>,
}

impl Inquiry {
    /// Asks these at once; who of them was late.
    async fn ask(&mut self, ids: BTreeSet<u64>, wait: Duration) -> BTreeSet<u64> {
        let asked = self.circle.addresses.iter().filter(|(id, _)| ids.contains(id));
        let answers =
            asked.map(async |(id, address)| (*id, ask(&self.network, *id, address, self.found, wait).await));
        let mut late = BTreeSet::new();
        for (id, answer) in join_all(answers).await {
            let answer = match answer {
                Answer::Told(answer) => answer,
                Answer::Late => {
                    late.insert(id);
                    continue;
                }
                Answer::None => continue,
            };
            self.told.insert(id, answer.known.unwrap_or_default());
            match answer.membership.map(stored_membership_from_wire) {
                Some(Ok(membership)) => self.circle.learn(&membership),
                Some(Err(error)) => tracing::warn!(id, %error, "a replica tells no readable membership"),
                None => {}
            }
        }
        late
    }

    fn others(&self) -> BTreeSet<u64> {
        self.circle.addresses.keys().copied().filter(|id| *id != self.found.replica_id).collect()
    }

    /// Who has told something, and this replica.
    fn answered(&self) -> BTreeSet<u64> {
        self.told.keys().copied().chain([self.found.replica_id]).collect()
    }

    fn is_enough(&self) -> bool {
        self.circle.is_enough(&self.answered())
    }
}

/// Whom a replica, whichever it is, takes for the members.
async fn ask_members(network: &Network, address: &str) -> Option<StoredMembership> {
    let mut client =
        AdminClient::with_interceptor(network.identity().channel(address).ok()?, network.identity());
    let asked = client.status(StatusRequest::default());
    let status = tokio::time::timeout(ANSWER_WAIT, asked).await.ok()?.ok()?.into_inner();
    stored_membership_from_wire(status.membership?).ok()
}

/// What the answers mean for the disk they are about.
fn judge_all(dir: &Path, found: &Acknowledged, told: &BTreeMap<u64, Acknowledged>) -> Result<(), String> {
    for (told_by, known) in told {
        let known = &Acknowledged { replica_id: found.replica_id, ..*known };
        if let Err(why) = judge(found, known) {
            return Err(Refusal { dir, told_by: *told_by, found, known, why }.to_string());
        }
    }
    Ok(())
}

/// Asks until it is decided, then opens the gate and lets elections begin.
pub async fn run(
    raft: Raft,
    network: Network,
    memory: Memory,
    replicas: BTreeMap<u64, String>,
    found: Acknowledged,
    gate: Gate,
) {
    let mut circle = Circle::configured(&replicas);
    circle.learn(&raft.metrics().borrow_watched().membership_config);
    let mut inquiry = Inquiry { network, found, circle, told: BTreeMap::new() };
    let mut waited_for = BTreeSet::new();
    for round in 1_u32.. {
        let late = inquiry.ask(inquiry.others(), ANSWER_WAIT).await;
        let late: BTreeSet<u64> = late.difference(&inquiry.answered()).copied().collect();
        let late: BTreeSet<u64> = late.difference(&waited_for).copied().collect();
        if !late.is_empty() {
            // Once a majority is there nobody is waited for twice; before that whoever is slow may be whom it takes.
            if inquiry.is_enough() {
                waited_for.extend(&late);
            }
            inquiry.ask(late.clone(), LATE_WAIT).await;
            let still_late: BTreeSet<u64> = late.difference(&inquiry.answered()).copied().collect();
            if !still_late.is_empty() && inquiry.is_enough() {
                tracing::warn!(
                    ?still_late,
                    "not heard, although they are there: this replica goes by the others"
                );
            }
        }
        if let Err(line) = judge_all(memory.dir(), &found, &inquiry.told) {
            memory.refuse(&line).await;
            return gate.decide(Err(line));
        }
        if !inquiry.is_enough() {
            // The configured replicas may all have been replaced since; whoever lives at their addresses knows by whom.
            let asked = replicas.values().map(|address| ask_members(&inquiry.network, address));
            for membership in join_all(asked).await {
                inquiry.circle.learn(&membership.unwrap_or_default());
            }
        }
        let answered = inquiry.answered();
        if inquiry.is_enough() {
            tracing::info!(?answered, "no replica knows more of this one than its disk has: it takes part");
            gate.decide(Ok(()));
            raft.runtime_config().elect(true);
            return;
        }
        if round.is_multiple_of(ROUNDS_TO_COMPLAIN) {
            let addresses = &inquiry.circle.addresses;
            let missing: Vec<_> = addresses.keys().filter(|id| !answered.contains(id)).collect();
            tracing::warn!(?missing, "waiting for a majority to say what this replica acknowledged");
        }
        tokio::time::sleep(ROUND_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_counts_the_asking_replica_itself() {
        let replicas = (1..=5).map(|id| (id, format!("127.0.0.1:{id}"))).collect();
        let circle = Circle::configured(&replicas);
        assert!(!circle.is_enough(&BTreeSet::from([1, 2])));
        assert!(circle.is_enough(&BTreeSet::from([1, 2, 5])));
        assert!(!circle.is_enough(&BTreeSet::from([1, 7, 8])), "strangers do not count");
        let joint = Circle { voters: vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4, 5])], ..circle };
        assert!(!joint.is_enough(&BTreeSet::from([1, 2, 3])));
        assert!(joint.is_enough(&BTreeSet::from([1, 3, 4])));
    }
}
