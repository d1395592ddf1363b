//! `replica member …`: who the members are, and changing it while everything runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use quorate_proto::rpc::{
    AddLearnerRequest, HandOverRequest, PromoteRequest, RemoveRequest, ReplaceRequest, StatusResponse,
};
use quorate_replica::node::PROMOTE_LAG_ENTRIES_MAX;
use serde_json::json;

use super::Failed;
use super::operator::{Operator, Where};

/// How often the progress of a learner is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often it is shown.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

/// Changes are made by the leader, which any replica can name. A change whose answer was lost may be asked for again.
#[derive(Debug, Subcommand)]
pub(super) enum Member {
    /// List the members, how far each is, and the ids that were removed
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Add a replica that runs with --join; it follows without a vote until it is promoted
    Add {
        /// Its id: one that was never used in this cluster
        #[arg(long)]
        id: u64,
        /// host:port of its gRPC listener
        #[arg(long)]
        address: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        place: Where,
    },
    /// Give a learner that has caught up a vote
    Promote {
        /// Its id
        id: u64,
        #[command(flatten)]
        place: Where,
    },
    /// Remove a replica for ever; its id is never used again
    Remove {
        /// Its id
        id: u64,
        #[command(flatten)]
        place: Where,
    },
    /// Replace a replica, dead or alive, by a new one that runs with --join: add, catch up, change places
    Replace {
        /// Id of the replica that leaves
        old: u64,
        /// Id of the new one, never used before
        #[arg(long)]
        by: u64,
        /// host:port of the new one's gRPC listener
        #[arg(long)]
        address: String,
        /// Longest wait for the new one to catch up, in seconds
        #[arg(long, default_value_t = 3_600)]
        timeout_s: u64,
        #[command(flatten)]
        place: Where,
    },
    /// Let another replica lead
    TransferLeader {
        /// Its id; without it the leader chooses
        #[arg(long)]
        to: Option<u64>,
        #[command(flatten)]
        place: Where,
    },
}

/// Whether to wait for a learner.
#[derive(Debug, Clone, Args)]
pub(super) struct Wait {
    /// Wait until it has caught up, and show how far it is
    #[arg(long)]
    wait: bool,
    /// Longest wait, in seconds
    #[arg(long, default_value_t = 3_600)]
    timeout_s: u64,
}

impl Member {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failed> {
        match self {
            Member::List { json, place } => list(&mut Operator::new(&place)?, json).await,
            Member::Add { id, address, wait, place } => {
                let mut operator = Operator::new(&place)?;
                add(&mut operator, id, &address).await?;
                if wait.wait {
                    catch_up(&mut operator, id, &address, wait.timeout_s).await?;
                }
                Ok(())
            }
            Member::Promote { id, place } => {
                let mut operator = Operator::new(&place)?;
                let ask = |mut client: super::operator::Client| async move {
                    client.promote(PromoteRequest { id }).await
                };
                operator.change(ask).await?;
                println!("replica {id} is a voter");
                Ok(())
            }
            Member::Remove { id, place } => {
                let mut operator = Operator::new(&place)?;
                let ask = |mut client: super::operator::Client| async move {
                    client.remove(RemoveRequest { id }).await
                };
                operator.change(ask).await?;
                println!("replica {id} is removed; its process ends by itself, its id is never used again");
                Ok(())
            }
            Member::Replace { old, by, address, timeout_s, place } => {
                let mut operator = Operator::new(&place)?;
                add(&mut operator, by, &address).await?;
                catch_up(&mut operator, by, &address, timeout_s).await?;
                let ask = |mut client: super::operator::Client| async move {
                    client.replace(ReplaceRequest { old_id: old, new_id: by }).await
                };
                operator.change(ask).await?;
                println!("replica {by} is a voter in the place of replica {old}, which is removed for ever");
                Ok(())
            }
            Member::TransferLeader { to, place } => {
                let mut operator = Operator::new(&place)?;
                let (_, before) = operator.leader().await?;
                let target = to.unwrap_or(0);
                let ask = |mut client: super::operator::Client| async move {
                    client.hand_over(HandOverRequest { to: target }).await
                };
                operator.change(ask).await?;
                let (_, now) = operator.leader().await?;
                println!("replica {} leads in term {} (before: replica {})", now.id, now.term, before.id);
                Ok(())
            }
        }
    }
}

async fn add(operator: &mut Operator, id: u64, address: &str) -> Result<(), Failed> {
    let request = AddLearnerRequest { id, address: address.to_owned() };
    let ask = |mut client: super::operator::Client| {
        let request = request.clone();
        async move { client.add_learner(request).await }
    };
    operator.change(ask).await?;
    println!("replica {id} is a member at {address}");
    Ok(())
}

/// Waits until a learner has everything that was there at the beginning, and little is missing of what came since.
async fn catch_up(operator: &mut Operator, id: u64, address: &str, timeout_s: u64) -> Result<(), Failed> {
    let (_, first) = operator.leader().await?;
    let target = first.last_log_index;
    let began = Instant::now();
    let mut shown = None;
    loop {
        let (_, leader) = operator.leader().await?;
        let matched = leader.matched_index.get(&id).copied().unwrap_or(0);
        let lag = leader.last_log_index.saturating_sub(matched);
        if matched >= target && lag <= PROMOTE_LAG_ENTRIES_MAX {
            println!("replica {id} has caught up: {lag} entries behind {}", leader.last_log_index);
            return Ok(());
        }
        if shown.is_none_or(|at: Instant| at.elapsed() > SHOW_INTERVAL) {
            shown = Some(Instant::now());
            let own = match operator.status(address).await {
                Ok(own) if own.snapshot_index > 0 || own.last_log_index > 0 => {
                    format!("applied {}", own.applied_index)
                }
                Ok(_) => "waiting for the snapshot".to_owned(),
                Err(why) => why,
            };
            println!("replica {id}: {lag} of {} entries behind ({own})", leader.last_log_index);
        }
        if began.elapsed() > Duration::from_secs(timeout_s) {
            return Err(Failed::Failed(format!(
                "replica {id} has not caught up within {timeout_s} s: {lag} entries behind; it stays a learner"
            )));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// One line of the list.
struct Row {
    id: u64,
    kind: &'static str,
    address: String,
    matched: Option<u64>,
    silent_ms: Option<u64>,
}

fn rows(leader: &StatusResponse) -> Vec<Row> {
    let membership = leader.membership.clone().and_then(|stored| stored.membership).unwrap_or_default();
    let voters: Vec<BTreeSet<u64>> =
        membership.voters.iter().map(|set| set.node_ids.iter().copied().collect()).collect();
    let row = |(id, node): (&u64, &quorate_proto::rpc::Node)| Row {
        id: *id,
        kind: match voters.iter().filter(|set| set.contains(id)).count() {
            0 => "learner",
            votes if votes < voters.len() => "changing",
            _ => "voter",
        },
        address: node.address.clone(),
        matched: leader
            .matched_index
            .get(id)
            .copied()
            .or((*id == leader.id).then_some(leader.last_log_index)),
        silent_ms: if *id == leader.id { Some(0) } else { leader.silent_ms.get(id).copied() },
    };
    membership.nodes.iter().map(row).collect()
}

async fn list(operator: &mut Operator, as_json: bool) -> Result<(), Failed> {
    let (_, leader) = operator.leader().await?;
    let rows = rows(&leader);
    if as_json {
        let members: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({ "id": row.id, "kind": row.kind, "address": row.address, "matched": row.matched,
                        "silent_ms": row.silent_ms, "leads": row.id == leader.id })
            })
            .collect();
        let all = json!({ "cluster": leader.cluster, "term": leader.term, "leader": leader.id,
                          "last_log": leader.last_log_index, "members": members, "former": leader.former_ids });
        println!("{all:#}");
        return Ok(());
    }
    println!("cluster {}, term {}, last log {}\n", leader.cluster, leader.term, leader.last_log_index);
    println!("{:<8} {:<9} {:<24} {:>10} {:>8}  answered", "replica", "kind", "address", "matched", "behind");
    for row in rows {
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let behind = row.matched.map(|matched| leader.last_log_index.saturating_sub(matched));
        let heard = match row.silent_ms {
            _ if row.id == leader.id => "leads".to_owned(),
            Some(ms) => format!("{ms} ms ago"),
            None => "never".to_owned(),
        };
        let line = format!(
            "{:<8} {:<9} {:<24} {:>10} {:>8}  {heard}",
            row.id,
            row.kind,
            row.address,
            number(row.matched),
            number(behind)
        );
        println!("{line}");
    }
    if !leader.former_ids.is_empty() {
        println!("\nremoved for ever: {:?}", leader.former_ids);
    }
    Ok(())
}
