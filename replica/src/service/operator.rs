//! The service for operators: changes of the membership, backups.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use quorate_proto::rpc::member_response::Result as Answer;
use quorate_proto::rpc::operator_server::Operator;
use quorate_proto::rpc::{
    AddLearnerRequest, BackupChunk, BackupRequest, HandOverRequest, LeaderHint, MemberResponse,
    PromoteRequest, RemoveRequest, ReplaceRequest, StoredMembership,
};
use tonic::{Request, Response, Status};

use crate::node::{ChangeError, Node};

/// See the module.
#[derive(Debug)]
pub struct OperatorService {
    node: Arc<Node>,
}

impl OperatorService {
    /// A service over a node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    fn answer(&self, changed: Result<StoredMembership, ChangeError>) -> Response<MemberResponse> {
        let result = match changed {
            Ok(membership) => Answer::Membership(membership),
            Err(ChangeError::NotLeader) => {
                let (id, address) = self.node.leader().unwrap_or_default();
                // This replica may not have noticed yet that it leads no more.
                let known = id != self.node.id();
                Answer::NotLeader(if known { LeaderHint { id, address } } else { LeaderHint::default() })
            }
            Err(ChangeError::Refused(why)) => Answer::Refused(why),
            Err(ChangeError::Unknown(why)) => Answer::Unknown(why),
        };
        Response::new(MemberResponse { result: Some(result) })
    }
}

#[tonic::async_trait]
impl Operator for OperatorService {
    type BackupStream = Pin<Box<dyn Stream<Item = Result<BackupChunk, Status>> + Send>>;

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<MemberResponse>, Status> {
        let request = request.into_inner();
        Ok(self.answer(self.node.add_learner(request.id, &request.address).await))
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<MemberResponse>, Status> {
        Ok(self.answer(self.node.promote(request.into_inner().id).await))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<MemberResponse>, Status> {
        Ok(self.answer(self.node.remove(request.into_inner().id).await))
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Result<Response<MemberResponse>, Status> {
        let request = request.into_inner();
        Ok(self.answer(self.node.replace(request.old_id, request.new_id).await))
    }

    async fn hand_over(&self, request: Request<HandOverRequest>) -> Result<Response<MemberResponse>, Status> {
        Ok(self.answer(self.node.transfer_leader(request.into_inner().to).await))
    }

    async fn backup(&self, _request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}
