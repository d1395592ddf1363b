//! The service that tells how a replica stands: to operators, gateways and the other replicas.

use std::sync::Arc;

use quorate_proto::rpc::admin_server::Admin;
use quorate_proto::rpc::{StatusRequest, StatusResponse};
use tonic::{Request, Response, Status};

use crate::config::Settings;
use crate::node::Node;

/// See the module.
#[derive(Debug)]
pub struct AdminService {
    node: Arc<Node>,
    cluster: String,
    configured: String,
}

impl AdminService {
    /// A service over a node.
    pub fn new(node: Arc<Node>, settings: &Settings) -> Self {
        Self { node, cluster: settings.cluster.clone(), configured: settings.digest() }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let StatusRequest { hash_index, details } = request.into_inner();
        let status = self.node.status(hash_index);
        let (failovers, gateways) = match details {
            true => (self.node.failovers(), self.node.signals().gateways()),
            false => Default::default(),
        };
        Ok(Response::new(StatusResponse {
            cluster: self.cluster.clone(),
            configured: self.configured.clone(),
            failovers,
            gateways,
            ..status
        }))
    }
}
