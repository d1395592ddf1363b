//! The service for operators: changes of the membership, backups, the first admin.

use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt as _;
use prost::Message as _;
use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::backup_chunk::Part;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::member_response::Result as Answer;
use quorate_proto::rpc::offer_admin_response::Result as Offered;
use quorate_proto::rpc::operator_server::Operator;
use quorate_proto::rpc::{
    AddLearnerRequest, BackupChunk, BackupHeader, BackupRequest, Command, HandOverRequest, LeaderHint,
    MemberResponse, OfferAdmin, OfferAdminRequest, OfferAdminResponse, PromoteRequest, RemoveRequest,
    ReplaceRequest, StoredMembership, outcome,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::files::Files;
use crate::machine::VERSION_ACCOUNTS;
use crate::node::{ChangeError, Node, ProposeError};
use crate::store::{SnapshotFile, backup};

/// Bytes of a backup in one message.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks of a backup read ahead of the network.
const CHUNKS_AHEAD: usize = 4;

fn send_backup(
    file: &SnapshotFile,
    cluster: &str,
    to: &mpsc::Sender<Result<BackupChunk, Status>>,
) -> Result<(), Status> {
    let failed =
        |error: &dyn std::fmt::Display| Status::internal(format!("cannot read the snapshot: {error}"));
    let (bytes_total, mut bytes) = backup::open_labelled(file, cluster).map_err(|error| failed(&error))?;
    let header = BackupHeader {
        cluster: cluster.to_owned(),
        log_id: file.applied.log_id,
        hash: file.applied.hash.clone(),
        bytes_total,
    };
    let mut part = Part::Header(header);
    while to.blocking_send(Ok(BackupChunk { part: Some(part) })).is_ok() {
        let mut piece = Vec::with_capacity(CHUNK_BYTES);
        bytes.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut piece).map_err(|error| failed(&error))?;
        if piece.is_empty() {
            return Ok(());
        }
        part = Part::Data(Bytes::from(piece));
    }
    Ok(())
}

/// A commit counts on a majority of voters: one that lacks what others have committed must not be counted among them.
///
/// # Errors
/// When it lacks something, or this replica does not lead.
pub(super) async fn check_whole(node: &Node, files: Option<&Files>, id: u64) -> Result<(), ChangeError> {
    let Some(files) = files else { return Ok(()) };
    // Whoever begins to lead in between would change the membership unchecked.
    if !node.leads() {
        return Err(ChangeError::NotLeader);
    }
    if node.voter_sets().iter().any(|set| set.contains(&id)) {
        return Ok(());
    }
    files.check_whole(id).await.map_err(ChangeError::Refused)
}

/// Whom to ask instead.
pub(super) fn leader_hint(node: &Node) -> LeaderHint {
    let (id, address) = node.leader().unwrap_or_default();
    // This replica may not have noticed yet that it leads no more.
    if id == node.id() { LeaderHint::default() } else { LeaderHint { id, address } }
}

/// See the module.
#[derive(Debug)]
pub struct OperatorService {
    node: Arc<Node>,
    cluster: String,
    /// Asked before a replica is given a vote.
    files: Option<Arc<Files>>,
}

impl OperatorService {
    /// A service over a node.
    pub fn new(node: Arc<Node>, cluster: &str) -> Self {
        Self { node, cluster: cluster.to_owned(), files: None }
    }

    /// The same, which gives no replica a vote before it has the chunks of all files.
    #[must_use]
    pub fn with_files(self, files: Arc<Files>) -> Self {
        Self { files: Some(files), ..self }
    }

    async fn offer(&self, only_first: bool) -> Result<Offered, Status> {
        if self.node.leads() && self.node.proposes_by().is_none_or(|version| version < VERSION_ACCOUNTS) {
            return Ok(Offered::Unknown(
                "not all replicas are upgraded, or the leader has just begun".to_owned(),
            ));
        }
        let mut secret = [0; 32];
        let mut command_id = [0; 16];
        getrandom::fill(&mut secret)
            .and_then(|()| getrandom::fill(&mut command_id))
            .map_err(|error| Status::internal(format!("no randomness: {error}")))?;
        let secret_hash = Bytes::copy_from_slice(blake3::hash(&secret).as_bytes());
        let command = Command {
            command_id: Bytes::copy_from_slice(&command_id),
            action: Some(Action::OfferAdmin(OfferAdmin { secret_hash, only_first })),
            ..Command::default()
        };
        let unseen = || Offered::Unknown("its fate was not seen".to_owned());
        let outcomes = match self.node.propose(vec![Bytes::from(command.encode_to_vec())]).await {
            Ok(outcomes) => outcomes,
            Err(ProposeError::NotLeader) => return Ok(Offered::NotLeader(leader_hint(&self.node))),
            Err(ProposeError::StorageLow) => return Ok(Offered::Refused("disks are nearly full".to_owned())),
            Err(ProposeError::Unknown) => return Ok(unseen()),
        };
        Ok(match std::pin::pin!(outcomes).next().await {
            Some(Ok(outcome)) => match outcome.result {
                Some(outcome::Result::Done(_)) => Offered::Secret(URL_SAFE_NO_PAD.encode(secret)),
                Some(outcome::Result::Rejected(rejected)) => match ErrorCode::from_word(&rejected.code) {
                    ErrorCode::Conflict => Offered::HasAdmin(true),
                    // Not all replicas are upgraded, or nobody has looked yet since the start.
                    ErrorCode::Unsupported => Offered::Unknown(rejected.message),
                    _ => Offered::Refused(rejected.message),
                },
                _ => unseen(),
            },
            _ => unseen(),
        })
    }

    fn answer(&self, changed: Result<StoredMembership, ChangeError>) -> Response<MemberResponse> {
        let result = match changed {
            Ok(membership) => Answer::Membership(membership),
            Err(ChangeError::NotLeader) => Answer::NotLeader(leader_hint(&self.node)),
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
        let id = request.into_inner().id;
        Ok(self.answer(match check_whole(&self.node, self.files.as_deref(), id).await {
            Ok(()) => self.node.promote(id).await,
            Err(error) => Err(error),
        }))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<MemberResponse>, Status> {
        Ok(self.answer(self.node.remove(request.into_inner().id).await))
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Result<Response<MemberResponse>, Status> {
        let request = request.into_inner();
        Ok(self.answer(match check_whole(&self.node, self.files.as_deref(), request.new_id).await {
            Ok(()) => self.node.replace(request.old_id, request.new_id).await,
            Err(error) => Err(error),
        }))
    }

    async fn hand_over(&self, request: Request<HandOverRequest>) -> Result<Response<MemberResponse>, Status> {
        Ok(self.answer(self.node.transfer_leader(request.into_inner().to).await))
    }

    async fn offer_admin(
        &self,
        request: Request<OfferAdminRequest>,
    ) -> Result<Response<OfferAdminResponse>, Status> {
        let result = self.offer(request.into_inner().only_first).await?;
        Ok(Response::new(OfferAdminResponse { result: Some(result) }))
    }

    async fn backup(&self, _request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let file = self.node.fresh_snapshot().await.map_err(Status::unavailable)?;
        let cluster = self.cluster.clone();
        let (ahead, chunks) = mpsc::channel(CHUNKS_AHEAD);
        // Ends by itself when the caller has gone; a read that fails ends the stream with its reason.
        tokio::task::spawn_blocking(move || {
            if let Err(status) = send_backup(&file, &cluster, &ahead) {
                let _ = ahead.blocking_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(chunks))))
    }
}
