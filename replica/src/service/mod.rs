//! What a replica serves: gateways ([`chat`]), operators ([`admin`]); the other replicas are served by the node itself.

pub mod admin;
pub mod chat;
pub mod http;
mod read;
pub mod token;

use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets only calls of the own cluster through.
#[derive(Debug, Clone)]
pub struct ClusterGuard {
    cluster: String,
}

impl ClusterGuard {
    /// A guard for a cluster id.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned() }
    }
}

impl Interceptor for ClusterGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match request.metadata().get(quorate_proto::CLUSTER_METADATA).and_then(|value| value.to_str().ok()) {
            Some(cluster) if cluster == self.cluster => Ok(request),
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
        let mut request = Request::new(());
        request.metadata_mut().insert(quorate_proto::CLUSTER_METADATA, "mine".parse().expect("ascii"));
        assert!(guard.call(request).is_ok());
    }
}
