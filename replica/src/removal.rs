//! Noticing that this replica was removed from the cluster: it ends then, for nobody will ever ask it again.
//!
//! A removed replica is told nothing any more, so it asks: when no leader is heard, the others are asked whom they know as
//! former members. One answer is enough, because it speaks of what was committed.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_proto::rpc::StatusRequest;
use quorate_proto::rpc::admin_client::AdminClient;

use crate::config::Settings;
use crate::node::{Identity, Node};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A leader that was heard within this time says enough: this replica is a member.
const CONTACT_MS_MAX: u64 = 1_000;
/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// Completes, with a line for the operator, when this replica is known to be removed.
pub async fn noticed(node: &Node, settings: &Settings, identity: &Identity) -> String {
    let line = format!(
        "replica {} was removed from cluster {}: its id is never used again; its data directory {} can be deleted",
        settings.id,
        settings.cluster,
        settings.data_dir.display()
    );
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let own = node.status(0);
        if own.former_ids.contains(&settings.id) {
            return line;
        }
        if node.leader_contact_ms() < CONTACT_MS_MAX {
            continue;
        }
        let members = own.membership.and_then(|stored| stored.membership).unwrap_or_default().nodes;
        let members = members.into_iter().map(|(id, member)| (id, member.address));
        let configured = settings.replicas.iter().map(|(id, address)| (*id, address.clone()));
        let others: BTreeSet<String> = members
            .chain(configured)
            .filter(|(id, _)| *id != settings.id)
            .map(|(_, address)| address)
            .collect();
        let asked = others.iter().map(|address| former_ids(address, identity.clone()));
        let answers = futures_util::future::join_all(asked).await;
        if answers.iter().flatten().any(|id| *id == settings.id) {
            return line;
        }
    }
}

/// The ids that a replica knows as former members; none when it does not answer.
async fn former_ids(address: &str, identity: Identity) -> Vec<u64> {
    let Ok(channel) = identity.channel(address) else { return Vec::new() };
    let mut client = AdminClient::with_interceptor(channel, identity);
    match tokio::time::timeout(ANSWER_WAIT, client.status(StatusRequest::default())).await {
        Ok(Ok(status)) => status.into_inner().former_ids,
        _ => Vec::new(),
    }
}
