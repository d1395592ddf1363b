//! What everybody says of themselves: replicas at one common index, gateways their sessions.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::CLUSTER_METADATA;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::{Membership, StatusRequest, StatusResponse};
use quorate_tls::Credentials;
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::Value;
use tonic::transport::Endpoint;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::http::Call;
use crate::process::Activity;
use crate::state::Member;

/// A replica that runs answers within this.
const ANSWER_WAIT: Duration = Duration::from_millis(1_000);

/// Everybody's answers.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterStatus {
    /// The cluster's id.
    pub cluster: String,
    /// In order of id.
    pub replicas: Vec<ReplicaRow>,
    /// Ids that were removed and are never used again.
    pub former: Vec<u64>,
    /// In order of name.
    pub gateways: Vec<GatewayRow>,
    /// Whether all hashes at the common index are the same; absent when fewer than two are known.
    pub agree: Option<bool>,
}

/// A replica. Numbers are absent while it does not answer.
#[derive(Debug, Clone, Serialize)]
pub struct ReplicaRow {
    /// From 1.
    pub id: u16,
    /// leader, follower, candidate, learner; or down, paused, silent.
    pub role: String,
    /// voter, learner, changing (in one half of a change) or none, as the leader says; absent without a leader.
    pub member: Option<&'static str>,
    /// The term it is in.
    pub term: Option<u64>,
    /// Whom it follows.
    pub leader: Option<u64>,
    /// Last log index.
    pub last_log: Option<u64>,
    /// Commit index.
    pub commit: Option<u64>,
    /// Applied index.
    pub applied: Option<u64>,
    /// The running hash at `hash_index`, hex.
    pub hash: Option<String>,
    /// The common index.
    pub hash_index: Option<u64>,
    /// Entries that the highest commit index is ahead of this one's applied index.
    pub lag: Option<u64>,
    /// gRPC address.
    pub grpc: SocketAddr,
    /// Process id, while it runs.
    pub pid: Option<u32>,
}

/// A gateway.
#[derive(Debug, Clone, Serialize)]
pub struct GatewayRow {
    /// Its name.
    pub id: String,
    /// ready, not ready, down, paused, silent.
    pub state: String,
    /// Open, authenticated sockets.
    pub sessions: Option<u64>,
    /// The replica it is fed by.
    pub feed_replica: Option<Value>,
    /// Up to where it has been fed.
    pub applied: Option<u64>,
    /// up, electing, no_quorum.
    pub write: Option<Value>,
    /// HTTP address.
    pub http: SocketAddr,
    /// Process id, while it runs.
    pub pid: Option<u32>,
}

/// Asks the replica at `address`, as a member of `cluster`.
///
/// # Errors
/// In words, when it does not answer within a second or refuses.
pub async fn ask_replica(
    address: SocketAddr,
    cluster: &str,
    credentials: Option<Credentials>,
    hash_index: u64,
) -> std::result::Result<StatusResponse, tonic::Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| tonic::Status::invalid_argument(error.to_string()))?
        .connect_timeout(ANSWER_WAIT)
        .timeout(ANSWER_WAIT);
    let channel = quorate_tls::channel(&endpoint, credentials);
    let mut request = tonic::Request::new(StatusRequest { hash_index, details: false });
    let name = cluster.parse().map_err(|_| tonic::Status::invalid_argument("the cluster id is no ASCII"))?;
    request.metadata_mut().insert(CLUSTER_METADATA, name);
    // A paused process accepts connections and never answers: the deadline is ours as well.
    let answer = tokio::time::timeout(ANSWER_WAIT, AdminClient::new(channel).status(request)).await;
    answer.map_err(|_| tonic::Status::deadline_exceeded("no answer"))?.map(tonic::Response::into_inner)
}

impl Cluster {
    /// A replica's own account.
    ///
    /// # Errors
    /// In words, when it does not answer.
    pub async fn replica_status(
        &self,
        id: u16,
        hash_index: u64,
    ) -> std::result::Result<StatusResponse, String> {
        let address = self.replica_grpc(id).map_err(|error| error.to_string())?;
        let credentials = self.credentials().map_err(|error| error.to_string())?;
        let answer = ask_replica(address, self.id(), credentials, hash_index).await;
        answer.map_err(|status| format!("replica {id}: {}", status.message()))
    }

    /// All replicas' accounts, asked at the same time.
    pub async fn replica_statuses(
        &self,
        hash_index: u64,
    ) -> Vec<std::result::Result<StatusResponse, String>> {
        let asked = self.replica_ids().into_iter().map(|id| {
            let (address, cluster) = (self.replica_grpc(id), self.id().to_owned());
            let credentials = self.credentials();
            tokio::spawn(async move {
                let address = address.map_err(|error| error.to_string())?;
                let credentials = credentials.map_err(|error| error.to_string())?;
                let answer = ask_replica(address, &cluster, credentials, hash_index).await;
                answer.map_err(|status| format!("replica {id}: {}", status.message()))
            })
        });
        let asked: Vec<_> = asked.collect();
        let mut answers = Vec::with_capacity(asked.len());
        for task in asked {
            answers.push(task.await.unwrap_or_else(|error| Err(error.to_string())));
        }
        answers
    }

    /// The leader that a majority of all replicas follows, and its term.
    ///
    /// # Errors
    /// In words, when there is none.
    pub async fn leader(&self) -> std::result::Result<(u16, u64), String> {
        let answers = self.replica_statuses(0).await;
        let known: Vec<&StatusResponse> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        for leader in known.iter().filter(|status| status.role == "leader") {
            let membership =
                leader.membership.clone().and_then(|stored| stored.membership).unwrap_or_default();
            let follows = |id: &u64| {
                let mut all = known.iter();
                all.any(|status| {
                    status.id == *id && status.leader_id == leader.id && status.term == leader.term
                })
            };
            let is_followed = membership
                .voters
                .iter()
                .all(|set| set.node_ids.iter().filter(|id| follows(id)).count() > set.node_ids.len() / 2);
            if is_followed
                && !membership.voters.is_empty()
                && let Ok(id) = u16::try_from(leader.id)
            {
                return Ok((id, leader.term));
            }
        }
        let says = answers.iter().map(|answer| match answer {
            Ok(status) => format!("{} is {} in term {}", status.id, status.role, status.term),
            Err(error) => error.clone(),
        });
        Err(format!("no leader that a majority follows ({})", says.collect::<Vec<_>>().join("; ")))
    }

    /// What the leader has committed: whoever has applied it has caught up to now.
    ///
    /// # Errors
    /// As [`crate::wait_until`], when there is no leader for a minute.
    pub async fn leader_commit(&self) -> Result<u64> {
        crate::wait_until("a leader's commit index", crate::cluster::START_WAIT, || async {
            let (leader, _) = self.leader().await?;
            Ok(self.replica_status(leader, 0).await?.commit_index)
        })
        .await
    }

    /// Everybody's status: the replicas' hashes at the lowest applied index of those that answer.
    ///
    /// # Errors
    /// When the lists of processes cannot be read.
    pub async fn status(&self) -> Result<ClusterStatus> {
        let first = self.replica_statuses(0).await;
        let applied =
            first.iter().filter_map(|answer| answer.as_ref().ok()).map(|status| status.applied_index);
        let common = applied.min().unwrap_or(0);
        let answers = self.replica_statuses(common).await;
        let commit =
            answers.iter().filter_map(|answer| answer.as_ref().ok()).map(|status| status.commit_index).max();
        let mut replicas = Vec::new();
        let leader =
            answers.iter().flatten().filter(|status| status.role == "leader").max_by_key(|each| each.term);
        let membership = leader.and_then(|status| status.membership.clone()?.membership);
        let former = answers.iter().flatten().max_by_key(|status| status.applied_index);
        let former = former.map(|status| status.former_ids.clone()).unwrap_or_default();
        for (answer, id) in answers.into_iter().zip(self.replica_ids()) {
            let (activity, pid) = self.activity(&Member::Replica(id))?;
            let grpc = self.replica_grpc(id)?;
            let mut row = replica_row(id, grpc, activity, pid, answer.ok(), commit);
            row.member = membership.as_ref().map(|membership| kind(membership, u64::from(id)));
            replicas.push(row);
        }
        let mut gateways = Vec::new();
        for name in self.gateways() {
            let (activity, pid) = self.activity(&Member::Gateway(name.clone()))?;
            gateways.push(
                gateway_row(&name, self.gateway_address(&name)?, self.edge_trust()?, activity, pid).await,
            );
        }
        let hashes: Vec<&String> = replicas.iter().filter_map(|row: &ReplicaRow| row.hash.as_ref()).collect();
        let agree = (hashes.len() >= 2).then(|| hashes.windows(2).all(|pair| pair[0] == pair[1]));
        Ok(ClusterStatus { cluster: self.id().to_owned(), replicas, former, gateways, agree })
    }
}

/// What a replica is in a membership.
fn kind(membership: &Membership, id: u64) -> &'static str {
    if !membership.nodes.contains_key(&id) {
        return "none";
    }
    match membership.voters.iter().filter(|set| set.node_ids.contains(&id)).count() {
        0 => "learner",
        votes if votes < membership.voters.len() => "changing",
        _ => "voter",
    }
}

fn word(activity: Activity) -> &'static str {
    match activity {
        Activity::Running => "silent",
        Activity::Paused => "paused",
        Activity::Gone => "down",
    }
}

fn replica_row(
    id: u16,
    grpc: SocketAddr,
    activity: Activity,
    pid: Option<u32>,
    answer: Option<StatusResponse>,
    commit: Option<u64>,
) -> ReplicaRow {
    let mut row = ReplicaRow {
        id,
        role: word(activity).to_owned(),
        member: None,
        term: None,
        leader: None,
        last_log: None,
        commit: None,
        applied: None,
        hash: None,
        hash_index: None,
        lag: None,
        grpc,
        pid,
    };
    if let Some(status) = answer {
        row.role = status.role;
        row.term = Some(status.term);
        row.leader = (status.leader_id != 0).then_some(status.leader_id);
        row.last_log = Some(status.last_log_index);
        row.commit = Some(status.commit_index);
        row.applied = Some(status.applied_index);
        row.lag = commit.map(|commit| commit.saturating_sub(status.applied_index));
        row.hash_index = Some(status.hash_index);
        row.hash = (!status.hash.is_empty()).then_some(status.hash);
    }
    row
}

async fn gateway_row(
    name: &str,
    http: SocketAddr,
    trust: Option<Arc<ClientConfig>>,
    activity: Activity,
    pid: Option<u32>,
) -> GatewayRow {
    let mut row = GatewayRow {
        id: name.to_owned(),
        state: word(activity).to_owned(),
        sessions: None,
        feed_replica: None,
        applied: None,
        write: None,
        http,
        pid,
    };
    if activity != Activity::Running {
        return row;
    }
    let ask = async |path: &str| Call::get(path).deadline(ANSWER_WAIT).over(trust.clone()).send(http).await;
    let Ok(statusz) = ask("/statusz").await else { return row };
    let ready = ask("/readyz").await;
    row.state =
        if ready.is_ok_and(|answer| answer.status() == 200) { "ready" } else { "not ready" }.to_owned();
    if let Ok(Value::Object(mut fields)) = serde_json::from_slice(statusz.body()) {
        row.sessions = fields.get("sessions").and_then(Value::as_u64);
        row.applied = fields.get("applied_index").and_then(Value::as_u64);
        row.feed_replica = fields.remove("feed_replica");
        row.write = fields.remove("write");
    }
    row
}

/// The status for people.
pub fn table(status: &ClusterStatus) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let plain = |value: &Option<Value>| match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut text = format!("cluster {}\n\n", status.cluster);
    let mut line = |row: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", row.trim_end());
    };
    line(format!(
        "{:<8} {:<10} {:<8} {:>6} {:>9} {:>9} {:>9} {:>6}  {:<24} {:>8}",
        "replica",
        "role",
        "member",
        "term",
        "last log",
        "commit",
        "applied",
        "lag",
        "state hash @ index",
        "pid"
    ));
    for row in &status.replicas {
        let hash = match (&row.hash, row.hash_index) {
            (Some(hash), Some(index)) => format!("{} @ {index}", hash.get(..12).unwrap_or(hash)),
            _ => "-".to_owned(),
        };
        line(format!(
            "{:<8} {:<10} {:<8} {:>6} {:>9} {:>9} {:>9} {:>6}  {:<24} {:>8}",
            row.id,
            row.role,
            row.member.unwrap_or("-"),
            number(row.term),
            number(row.last_log),
            number(row.commit),
            number(row.applied),
            number(row.lag),
            hash,
            number(row.pid.map(u64::from))
        ));
    }
    line(String::new());
    line(format!(
        "{:<8} {:<10} {:>8} {:>9} {:>9}  {:<10} {:<22} {:>8}",
        "gateway", "state", "sessions", "fed by", "applied", "writes", "address", "pid"
    ));
    for row in &status.gateways {
        line(format!(
            "{:<8} {:<10} {:>8} {:>9} {:>9}  {:<10} {:<22} {:>8}",
            row.id,
            row.state,
            number(row.sessions),
            plain(&row.feed_replica),
            number(row.applied),
            plain(&row.write),
            row.http,
            number(row.pid.map(u64::from))
        ));
    }
    if status.agree == Some(false) {
        line(
            "\nThe replicas' states DIFFER at the same index. Keep their data directories and logs."
                .to_owned(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_replica_is_a_row_without_numbers() {
        let address = "127.0.0.1:1".parse().unwrap();
        let alive = StatusResponse {
            role: "leader".into(),
            applied_index: 7,
            hash: "ab".into(),
            ..Default::default()
        };
        let status = ClusterStatus {
            cluster: "c".into(),
            former: Vec::new(),
            replicas: vec![
                replica_row(1, address, Activity::Running, Some(9), Some(alive), Some(9)),
                replica_row(2, address, Activity::Gone, None, None, Some(9)),
            ],
            gateways: Vec::new(),
            agree: None,
        };
        assert_eq!((status.replicas[0].lag, status.replicas[1].lag), (Some(2), None));
        let text = table(&status);
        assert!(text.contains("leader") && text.contains("down"), "{text}");
    }
}
