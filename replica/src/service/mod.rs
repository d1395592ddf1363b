//! What a replica serves: gateways ([`chat`], [`cluster`]), operators ([`admin`], [`operator`]); the other replicas are served by the node itself.

pub mod admin;
pub mod chat;
pub mod cluster;
pub mod http;
pub mod operator;
mod read;
pub mod token;

use quorate_tls::{Caller, Role};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets only calls of the own cluster through, and of those only from who may make them.
#[derive(Debug, Clone)]
pub struct ClusterGuard {
    cluster: String,
    /// Set where a call must be meant for this replica.
    id: Option<u64>,
    /// Where connections carry certificates, the callers must have one of these roles.
    roles: Option<&'static [Role]>,
}

impl ClusterGuard {
    /// A guard for a cluster id.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), id: None, roles: None }
    }

    /// The same, which lets only calls through that are meant for this replica: who lived at its address before it may
    /// still be called there, and a vote given in its place would count as its own.
    pub fn of_replica(self, id: u64) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same, which asks the caller's certificate for one of these roles.
    pub fn for_roles(self, roles: &'static [Role]) -> Self {
        Self { roles: Some(roles), ..self }
    }

    fn check_target(&self, request: &Request<()>) -> Result<(), Status> {
        let Some(own) = self.id else { return Ok(()) };
        let target = request.metadata().get(quorate_proto::TARGET_METADATA);
        match target.and_then(|target| target.to_str().ok()?.parse::<u64>().ok()) {
            Some(target) if target == own => Ok(()),
            Some(target) => Err(Status::failed_precondition(format!(
                "the call is meant for replica {target}, and this is replica {own}"
            ))),
            None => Err(Status::failed_precondition("the call names no replica (metadata quorate-target)")),
        }
    }
}

impl Interceptor for ClusterGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(roles) = self.roles {
            Caller::must_be(request.extensions(), roles)?;
        }
        match request.metadata().get(quorate_proto::CLUSTER_METADATA).and_then(|value| value.to_str().ok()) {
            Some(cluster) if cluster == self.cluster => self.check_target(&request).map(|()| request),
            Some(cluster) => Err(Status::failed_precondition(format!(
                "this replica belongs to cluster {:?}, the call to {cluster:?}: check the caller's configuration",
                self.cluster
            ))),
            None => Err(Status::failed_precondition("the call names no cluster (metadata quorate-cluster)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cluster_is_refused() {
        let mut guard = ClusterGuard::new("mine");
        let mut request = Request::new(());
        assert_eq!(
            guard.call(Request::new(())).expect_err("no name").code(),
            tonic::Code::FailedPrecondition
        );
        request.metadata_mut().insert(quorate_proto::CLUSTER_METADATA, "theirs".parse().expect("ascii"));
        assert_eq!(guard.call(request).expect_err("another").code(), tonic::Code::FailedPrecondition);
        let mine = |target: Option<u64>| {
            let mut request = Request::new(());
            request.metadata_mut().insert(quorate_proto::CLUSTER_METADATA, "mine".parse().expect("ascii"));
            if let Some(target) = target {
                request.metadata_mut().insert(quorate_proto::TARGET_METADATA, target.into());
            }
            request
        };
        assert!(guard.call(mine(None)).is_ok());
        let mut guard = guard.of_replica(7);
        assert!(guard.call(mine(Some(7))).is_ok());
        for other in [None, Some(2)] {
            let refused = guard.call(mine(other)).expect_err("not for this one");
            assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        }
    }
}
