//! An operator's way to a running cluster: any replica that answers, and from there to the leader.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::member_response::Result as Answer;
use quorate_proto::rpc::operator_client::OperatorClient;
use quorate_proto::rpc::{MemberResponse, StatusRequest, StatusResponse, StoredMembership};
use quorate_replica::config::{self, TlsFlags};
use quorate_replica::node::Identity;
use quorate_tls::Role;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::Failed;

/// A replica that runs answers a question within this.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// A change waits for a commit, and for an election if need be.
const CHANGE_WAIT: Duration = Duration::from_secs(30);
/// One call of a change; the replica gives up before.
const CALL_WAIT: Duration = Duration::from_secs(20);
/// Between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(super) struct Where {
    /// The replicas' configuration file: it names the cluster and where to ask
    #[arg(long, env = "QUORATE_REPLICA_CONFIG")]
    config: Option<PathBuf>,
    /// Address of any replica, host:port; may be given more than once
    #[arg(long)]
    at: Vec<String>,
    /// Cluster id, if there is no configuration file
    #[arg(long, env = "QUORATE_REPLICA_CLUSTER")]
    cluster: Option<String>,
    /// Certificates of the operator, or of a replica; over the keys of [tls] in the file
    #[command(flatten)]
    tls: TlsFlags,
}

/// A client of the Operator service.
pub(super) type Client = OperatorClient<InterceptedService<Channel, Identity>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Operator {
    identity: Identity,
    /// Where to ask, those that are likely to answer first.
    contacts: Vec<String>,
}

impl Operator {
    /// Whom to ask, from flags and file.
    pub(super) fn new(place: &Where) -> Result<Self, Failed> {
        let (mut cluster, mut contacts, tls) = match &place.config {
            Some(path) => {
                let (cluster, addresses, tls) = config::cluster_of(path).map_err(Failed::Usage)?;
                (Some(cluster), addresses, tls)
            }
            None => (None, Vec::new(), None),
        };
        cluster = place.cluster.clone().or(cluster);
        let cluster = cluster.ok_or_else(|| {
            Failed::Usage("which cluster? give --config FILE, or --at HOST:PORT and --cluster ID".to_owned())
        })?;
        if !place.at.is_empty() {
            contacts.clone_from(&place.at);
        }
        if contacts.is_empty() {
            return Err(Failed::Usage(
                "where to ask? give --at HOST:PORT, or a --config with [[replicas]]".to_owned(),
            ));
        }
        // Operators have no replica id.
        let identity = Identity::new(&cluster, 0)
            .map_err(|_| Failed::Usage("the cluster id must be printable ASCII".to_owned()))?;
        let credentials = place.tls.clone().over(tls, &[Role::Operator, Role::Replica]);
        let identity = identity.with(credentials.map_err(Failed::Usage)?);
        Ok(Self { identity, contacts })
    }

    /// One replica's own account.
    pub(super) async fn status(&self, address: &str) -> Result<StatusResponse, String> {
        let channel = self
            .identity
            .channel(address)
            .map_err(|error| format!("{address:?} is no host:port: {error}"))?;
        let mut client = AdminClient::with_interceptor(channel, self.identity.clone());
        let answer = tokio::time::timeout(ANSWER_WAIT, client.status(StatusRequest::default())).await;
        let answer = answer.map_err(|_| format!("{address}: no answer"))?;
        answer.map(tonic::Response::into_inner).map_err(|status| format!("{address}: {}", status.message()))
    }

    /// A client of one replica.
    pub(super) fn client(&self, address: &str) -> Result<Client, String> {
        let channel = self
            .identity
            .channel(address)
            .map_err(|error| format!("{address:?} is no host:port: {error}"))?;
        Ok(OperatorClient::with_interceptor(channel, self.identity.clone()))
    }

    /// Where to ask, in order.
    pub(super) fn contacts(&self) -> &[String] {
        &self.contacts
    }

    /// Learns the members' addresses from any answer; what was given stays as a last resort.
    fn learn(&mut self, status: &StatusResponse) {
        let membership = status.membership.clone().and_then(|stored| stored.membership).unwrap_or_default();
        let mut contacts: Vec<String> = membership.nodes.into_values().map(|node| node.address).collect();
        for old in &self.contacts {
            if !contacts.contains(old) {
                contacts.push(old.clone());
            }
        }
        self.contacts = contacts;
    }

    /// The leader's address and its account.
    pub(super) async fn leader(&mut self) -> Result<(String, StatusResponse), Failed> {
        let began = Instant::now();
        loop {
            let mut missing = String::new();
            for contact in self.contacts.clone() {
                let status = match self.status(&contact).await {
                    Ok(status) => status,
                    Err(why) => {
                        missing = why;
                        continue;
                    }
                };
                self.learn(&status);
                if status.role == "leader" {
                    return Ok((contact, status));
                }
                let membership = status.membership.and_then(|stored| stored.membership).unwrap_or_default();
                let Some(named) = membership.nodes.get(&status.leader_id) else {
                    missing = format!("{contact} knows no leader");
                    continue;
                };
                match self.status(&named.address).await {
                    Ok(status) if status.role == "leader" => return Ok((named.address.clone(), status)),
                    Ok(_) => missing = format!("{} does not lead any more", named.address),
                    Err(why) => missing = why,
                }
            }
            if began.elapsed() > CHANGE_WAIT {
                return Err(Failed::Failed(format!("found no leader within {CHANGE_WAIT:?}: {missing}")));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Asks the leader for a change until it is made or refused. Every change may be asked for again.
    pub(super) async fn change<F, Fut>(&mut self, ask: F) -> Result<StoredMembership, Failed>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<tonic::Response<MemberResponse>, tonic::Status>>,
    {
        let began = Instant::now();
        loop {
            let (leader, _) = self.leader().await?;
            let client = self.client(&leader).map_err(Failed::Usage)?;
            let missing = match tokio::time::timeout(CALL_WAIT, ask(client)).await {
                Ok(Ok(answer)) => match answer.into_inner().result {
                    Some(Answer::Membership(membership)) => return Ok(membership),
                    Some(Answer::Refused(why)) => return Err(Failed::Failed(why)),
                    Some(Answer::NotLeader(_)) => format!("{leader} does not lead any more"),
                    Some(Answer::Unknown(why)) => why,
                    None => format!("{leader} answered nothing that this program knows"),
                },
                Ok(Err(status)) => format!("{leader}: {}", status.message()),
                Err(_) => format!("{leader}: no answer"),
            };
            if began.elapsed() > CHANGE_WAIT {
                let line =
                    format!("not confirmed within {CHANGE_WAIT:?}, it may yet happen, ask again: {missing}");
                return Err(Failed::Failed(line));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}
