//! The cluster, for admins: how it stands, who leads, who its members are, and its changes of leader.

use futures_util::FutureExt as _;
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{
    ClusterChanged, ClusterMember, ClusterView, Failovers, MembersChange, NewLeader, Stage, StageTime,
    StageTimes,
};
use quorate_proto::rpc::cluster_change::Kind;
use quorate_proto::rpc::{self, read_request, read_response};

use super::problem::Failure;
use super::reads::{ask, something_else};
use super::route::{Access, Route, WRITE};
use super::writes::writer;
use super::{Answer, Call, json};
use crate::auth::{self, Identity};
use crate::clock;
use crate::cluster::{self, Own, kind_of};
use crate::command::read_error;
use crate::metrics::{Latency, Metrics, WINDOW};
use crate::reads::{ReadError, request};

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    let ok = StatusCode::OK;
    let change = |path, summary, handler| {
        Route::new(Method::POST, path, summary, handler).access(Access::Bearer).writes().errors(WRITE)
    };
    vec![
        Route::read("/api/v1/admin/cluster", "How the cluster stands, for admins", by!(view))
            .gives::<ClusterView>(ok, "As this gateway sees it; without a majority as well"),
        change("/api/v1/admin/cluster/leader", "Let another replica lead", by!(lead))
            .body::<NewLeader>()
            .gives::<ClusterChanged>(ok, "It leads; who asked is in the audit log"),
        change("/api/v1/admin/cluster/members", "Add, remove or replace a replica", by!(change_members))
            .body::<MembersChange>()
            .gives::<ClusterChanged>(ok, "It is done; who asked is in the audit log")
            .gives::<ClusterChanged>(
                StatusCode::ACCEPTED,
                "The new replica has not caught up yet: ask again with the same words",
            ),
        Route::read("/api/v1/admin/cluster/failovers", "Changes of leader, for admins", by!(failovers))
            .gives::<Failovers>(ok, "Newest first, at most 16"),
        Route::read(
            "/api/v1/admin/cluster/stages",
            "Where the time of messages goes, for admins",
            by!(stages),
        )
        .gives::<StageTimes>(ok, "As this gateway measured it in the last minute"),
    ]
}

/// Who asks, if the replicas know her as an admin: by a read that they answer to admins alone, and to no token. Any state will do, so
/// that two replicas that are left can say it; only a refusal must be of the newest.
async fn admin(call: &Call) -> Result<Identity, Failure> {
    let identity = call.identity().await?;
    no_token(&identity)?;
    let asked = read_request::Query::Audit(rpc::AuditQuery { before: 0, limit: 1 });
    let at_once = request(0, identity.user_id, identity.session.as_bytes(), asked.clone());
    let response = match call.gateway.reader.read(at_once).await {
        Err(ReadError::Rejected(_)) => ask(call, &identity, None, asked).await?,
        found => found.map_err(read_error)?,
    };
    match response.result {
        Some(read_response::Result::Audit(_)) => Ok(identity),
        _ => Err(something_else()),
    }
}

/// No scope of a token covers what admins do.
fn no_token(identity: &Identity) -> Result<(), Failure> {
    if identity.scopes == 0 {
        return Ok(());
    }
    Err(WireError::new(ErrorCode::Forbidden, "no token is good for the cluster: sign in").into())
}

async fn view(call: Call) -> Answer {
    admin(&call).await?;
    let gateway = &call.gateway;
    let answers = cluster::look(&gateway.replicas).await;
    let hub = gateway.hub.state();
    let up_ms = u64::try_from(gateway.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let own = Own {
        cluster: gateway.config.cluster.clone(),
        name: gateway.config.name.clone(),
        sessions: u64::try_from(gateway.metrics.sessions.get()).unwrap_or(0),
        since: clock::wall_ms().saturating_sub(up_ms),
        feed: hub.is_live().then(|| gateway.replicas.id_of(hub.replica())).flatten(),
    };
    Ok(json(StatusCode::OK, &cluster::view(&answers, &own)))
}

async fn failovers(call: Call) -> Answer {
    admin(&call).await?;
    let gateway = &call.gateway;
    let answers = cluster::answers(&gateway.replicas).await;
    let failovers = cluster::failovers(&answers, &gateway.marks.all());
    Ok(json(StatusCode::OK, &Failovers { failovers, answered_by: gateway.config.name.clone() }))
}

async fn stages(call: Call) -> Answer {
    admin(&call).await?;
    let gateway = &call.gateway;
    Ok(json(StatusCode::OK, &stage_times(&gateway.metrics, &gateway.config.name)))
}

fn stage_times(metrics: &Metrics, answered_by: &str) -> StageTimes {
    let of = &metrics.submit_stages;
    let way = [
        (Stage::Lane, &of.lane),
        (Stage::Queue, &of.queue),
        (Stage::Retry, &of.retry),
        (Stage::Leader, &of.leader),
        (Stage::Replica, &of.replica),
        (Stage::Network, &of.network),
        (Stage::Reply, &of.reply),
        (Stage::Delivery, &metrics.delivery_seconds),
    ];
    StageTimes {
        answered_by: answered_by.to_owned(),
        window_ms: u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX),
        stages: way.map(|(stage, times)| stage_time(stage, times)).to_vec(),
    }
}

fn stage_time(stage: Stage, times: &Latency) -> StageTime {
    let recent = times.recent();
    // To a hundredth: more would be noise.
    let ms = |part| recent.quantile(part).map(|seconds| (seconds * 100_000.0).round() / 100.0);
    StageTime { stage, count: recent.count(), p50_ms: ms(0.5), p99_ms: ms(0.99) }
}

async fn lead(call: Call) -> Answer {
    changed(call, |call| {
        let NewLeader { to } = call.json()?;
        if to == Some(0) {
            return Err(invalid("replica ids begin at 1; leave `to` out to let the leader choose"));
        }
        Ok(Kind::HandOver(rpc::HandOverLeadership { to: to.unwrap_or(0) }))
    })
    .await
}

async fn change_members(call: Call) -> Answer {
    changed(call, |call| {
        Ok(match call.json()? {
            MembersChange::Add { id, address, learner } => {
                Kind::Add(rpc::AddReplica { id, address, learner })
            }
            MembersChange::Remove { id } => Kind::Remove(rpc::RemoveReplica { id }),
            MembersChange::Replace { old, id, address } => {
                Kind::Replace(rpc::ReplaceReplica { old_id: old, new_id: id, address })
            }
        })
    })
    .await
}

fn invalid(message: &str) -> Failure {
    WireError::new(ErrorCode::Invalid, message).into()
}

async fn changed(call: Call, kind: impl FnOnce(&Call) -> Result<Kind, Failure>) -> Answer {
    let (identity, id) = writer(&call).await?;
    let kind = kind(&call)?;
    no_token(&identity)?;
    // The replicas decide once more with the record; asked here as well, so that nobody else waits for a leader or fills the log.
    admin(&call).await?;
    if identity.read_only {
        return Err(auth::read_only().into());
    }
    let asked = rpc::ClusterChangeRequest {
        user_id: identity.user_id,
        session_id: identity.session.as_bytes().to_vec().into(),
        command_id: id.as_bytes().to_vec().into(),
        change: Some(rpc::ClusterChange { kind: Some(kind) }),
    };
    let done = cluster::change(&call.gateway.replicas, &asked).await?;
    let body = told(done);
    let status = if body.done { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(json(status, &body))
}

fn told(changed: rpc::ClusterChanged) -> ClusterChanged {
    let membership = changed.membership.and_then(|stored| stored.membership).unwrap_or_default();
    let member = |(id, node): (&u64, &rpc::Node)| ClusterMember {
        id: *id,
        address: node.address.clone(),
        kind: kind_of(&membership, *id),
    };
    ClusterChanged {
        done: changed.behind.is_none(),
        behind: changed.behind,
        leader: Some(changed.leader_id).filter(|id| *id != 0),
        term: changed.term,
        members: membership.nodes.iter().map(member).collect(),
        index: changed.index,
    }
}
