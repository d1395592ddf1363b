//! Forming the cluster on first start: five replicas with one configuration find each other and begin.
//!
//! A replica with an empty log forms the cluster only when a majority of the configured replicas answers and none of them
//! has a log: a replica that is merely late joins what is there. Two that form at once name the same
//! members in their first entries, of which the first leader's remains.

use std::sync::Arc;
use std::time::Duration;

use quorate_proto::rpc::StatusRequest;
use quorate_proto::rpc::admin_client::AdminClient;

use crate::config::Settings;
use crate::node::{Identity, Node};

/// Between two rounds of asking.
const ROUND_INTERVAL: Duration = Duration::from_millis(100);
/// After so many rounds in vain it is said what is missing, and again after each so many: some seconds.
const ROUNDS_TO_COMPLAIN: u32 = 50;
/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// What a peer said of its log.
enum Peer {
    Empty,
    HasLog,
    Silent,
    /// It must not be formed with, and why.
    Other(String),
}

/// Asks one configured replica. Only one of this id and the same configured list counts as empty: two lists could form two
/// clusters.
async fn ask(id: u64, address: &str, configured: &str, identity: Identity) -> Peer {
    let Ok(channel) = identity.channel(address) else { return Peer::Silent };
    let mut client = AdminClient::with_interceptor(channel, identity);
    match tokio::time::timeout(ANSWER_WAIT, client.status(StatusRequest::default())).await {
        Ok(Ok(status)) if status.get_ref().last_log_index > 0 || status.get_ref().term > 0 => Peer::HasLog,
        Ok(Ok(status)) if status.get_ref().id != id => Peer::Other(format!(
            "at {address} runs replica {}, and [[replicas]] says {id}",
            status.get_ref().id
        )),
        Ok(Ok(status)) if status.get_ref().configured != configured => Peer::Other(format!(
            "replica {id} at {address} is configured with other [[replicas]] or --join: give all of them one list"
        )),
        Ok(Ok(_)) => Peer::Empty,
        Ok(Err(status)) => {
            if status.code() == tonic::Code::FailedPrecondition {
                tracing::error!(address, message = status.message(), "a configured replica refuses this one");
            }
            Peer::Silent
        }
        Err(_) => Peer::Silent,
    }
}

/// Says why there is no cluster yet.
fn complain(answers: &[Peer]) {
    for answer in answers {
        if let Peer::Other(line) = answer {
            tracing::error!("{line}");
        }
    }
    let count = |is: fn(&Peer) -> bool| answers.iter().filter(|answer| is(answer)).count();
    let silent = count(|peer| matches!(peer, Peer::Silent));
    let begun = count(|peer| matches!(peer, Peer::HasLog));
    tracing::warn!(
        silent,
        begun,
        "no cluster yet: this replica has no log and forms one only with a majority that has none either; if others have \
         begun and never reach it, is one of them new at an old address?"
    );
}

/// A replica that joins forms nothing: it says what is to be done and waits.
async fn wait_to_join(node: &Node, settings: &Settings) {
    if node.is_formed().await {
        return;
    }
    let at = settings.replicas.values().next().map_or("HOST:PORT", String::as_str);
    tracing::info!(
        "waiting to be added to the cluster: `replica member add --id {} --address {} --at {at} --cluster {}`",
        settings.id,
        settings.listen,
        settings.cluster
    );
    let mut looks = tokio::time::interval(ROUND_INTERVAL);
    while !node.is_formed().await {
        looks.tick().await;
    }
    tracing::info!("this replica was added and follows the leader");
}

/// Forms the cluster, or returns once it has been formed by others, or once this replica was added to it.
pub async fn run(node: Arc<Node>, settings: Settings, identity: Identity) {
    if settings.join {
        return wait_to_join(&node, &settings).await;
    }
    let mut rounds = tokio::time::interval(ROUND_INTERVAL);
    let mut rounds_in_vain = 0_u32;
    let configured = settings.digest();
    let majority = settings.replicas.len() / 2 + 1;
    loop {
        rounds.tick().await;
        if node.is_formed().await {
            return;
        }
        let others = settings.replicas.iter().filter(|(id, _)| **id != settings.id);
        let answers = others.map(|(id, address)| ask(*id, address, &configured, identity.clone()));
        let answers = futures_util::future::join_all(answers).await;
        rounds_in_vain += 1;
        if rounds_in_vain.is_multiple_of(ROUNDS_TO_COMPLAIN) {
            complain(&answers);
        }
        let begun = answers.iter().any(|peer| matches!(peer, Peer::HasLog));
        let empty = 1 + answers.iter().filter(|peer| matches!(peer, Peer::Empty)).count();
        if begun || empty < majority {
            continue;
        }
        match node.form(&settings.replicas).await {
            Ok(()) => {
                tracing::info!(replicas = settings.replicas.len(), "formed the cluster");
                return;
            }
            // Its log has begun meanwhile: the next round sees that.
            Err(error) => tracing::debug!(error, "did not form the cluster"),
        }
    }
}
