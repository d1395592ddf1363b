//! What is served of files: to gateways what a user may have, to replicas what is asked for by its hash.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use quorate_proto::files::chunk_count;
use quorate_proto::limits::{CHUNK_BYTES, FILE_BYTES_MAX, MADE_NUMBER, THUMBNAIL_NUMBER};
use quorate_proto::reason::Reason;
use quorate_proto::rpc::chunks_server::Chunks;
use quorate_proto::rpc::files_server::Files as FilesRpc;
use quorate_proto::rpc::{
    FetchRequest, FetchResponse, GetPiece, GetRequest, MissingRequest, MissingResponse, PutRequest,
    PutResponse, StoreRequest, StoreResponse, UploadRequest, UploadResponse, UploadedChunk, get_request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Files;
use super::chunks::{Found, Hash, hash_of};
use super::committed::{Moment, Places};
use super::uploads::{FileId, Refused};
use crate::machine::files::{self, SeenBy};
use crate::machine::{Tables as _, scopes};
use crate::store::StoreError;

/// How long a call waits for its index.
const INDEX_WAIT: Duration = Duration::from_secs(2);
/// Bytes of one piece of a download.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces read ahead of a gateway's connection.
const PIECES_AHEAD: usize = 4;

/// For gateways.
#[derive(Debug)]
pub struct FilesService(Arc<Files>);

/// For replicas.
#[derive(Debug)]
pub struct ChunksService(Arc<Files>);

fn broken(error: StoreError) -> Status {
    tracing::error!(%error, "a read failed");
    Status::internal(error.to_string())
}

fn file_id(bytes: &[u8]) -> Result<FileId, Status> {
    let id = files::id_of(bytes).filter(|id| *id != [0; 16]);
    id.ok_or_else(|| Status::invalid_argument("a file's id has 16 bytes, not all of them 0"))
}

fn refused(refused: Refused) -> Status {
    match refused {
        Refused::NotYours => Status::already_exists(refused.to_string()),
        Refused::TooMuch => Status::out_of_range(refused.to_string()),
    }
}

/// A part that there can be.
fn check_part(number: u32, data: &[u8]) -> Result<(), Status> {
    if data.is_empty() || data.len() > CHUNK_BYTES {
        return Err(Status::invalid_argument(format!("a chunk has 1 to {CHUNK_BYTES} bytes")));
    }
    let at = if number >= MADE_NUMBER { number - MADE_NUMBER } else { number };
    if number != THUMBNAIL_NUMBER && u64::from(at) >= chunk_count(FILE_BYTES_MAX) {
        return Err(Status::invalid_argument("no file has so many chunks"));
    }
    Ok(())
}

impl FilesService {
    /// A service over the files of a replica.
    pub fn new(files: Arc<Files>) -> Self {
        Self(files)
    }

    /// Waits for an index, and looks whether the session lasts. That it does not is said only after asking the leader: a replica
    /// that lags does not know a young session yet.
    async fn admit(&self, min_index: u64, user_id: u64, session_id: &[u8], scope: u32) -> Result<(), Status> {
        self.0.wait_for(min_index).await?;
        let lasts = || {
            let state = self.0.node.store().read();
            let now_ms = state.applied().log_time_ms;
            let Some(session) = scopes::session_of(&state, user_id, session_id, now_ms).map_err(broken)?
            else {
                return Ok(false);
            };
            match scopes::forbids_by(&session, Some(scope)) {
                None => Ok::<bool, Status>(true),
                Some(why) => Err(Status::permission_denied(why)),
            }
        };
        if lasts()? {
            return Ok(());
        }
        if self.0.node.linearize().await.is_err() {
            return Err(Reason::NoLeader.refusal("that the session has ended: try again"));
        }
        if lasts()? { Ok(()) } else { Err(Status::unauthenticated("this session has ended: sign in again")) }
    }

    /// The chunks that a range of bytes lies in, in order, each with its part of the range.
    fn plan(&self, asked: &GetRequest) -> Result<Vec<(Hash, usize, usize)>, Status> {
        let id = file_id(&asked.file_id)?;
        let (begin, end) = (asked.offset, asked.offset.saturating_add(asked.length));
        let beyond = || Status::out_of_range("the file ends before");
        let mut plan = Vec::new();
        if asked.part() == get_request::Part::Upload {
            let parts = self.0.uploads.parts(asked.user_id, &id).map_err(refused)?;
            let chunk = CHUNK_BYTES as u64;
            for number in begin / chunk..end.div_ceil(chunk) {
                let part =
                    u32::try_from(number).ok().and_then(|number| parts.get(&number)).ok_or_else(beyond)?;
                let first = begin.saturating_sub(number * chunk) as usize;
                let last = (end - number * chunk).min(chunk) as usize;
                if last > part.size as usize {
                    return Err(beyond());
                }
                plan.push((part.hash, first, last));
            }
            return Ok(plan);
        }
        let place = (asked.conversation_id, asked.sequence);
        let seen_by = SeenBy::of(place, asked.avatar_of_user, asked.avatar_of_conversation);
        let seen_by = seen_by.ok_or_else(|| Status::invalid_argument("a file is seen in one way"))?;
        let state = self.0.node.store().read();
        let found = files::visible(&state, &id, asked.user_id, seen_by).map_err(broken)?;
        let file = found.ok_or_else(|| Status::not_found("there is no such file"))?;
        if asked.part() == get_request::Part::Thumbnail {
            let hash =
                file.thumbnail.as_ref().try_into().map_err(|_| Status::not_found("it has no thumbnail"))?;
            if end > u64::from(file.thumbnail_size) {
                return Err(beyond());
            }
            plan.push((hash, begin as usize, end as usize));
            return Ok(plan);
        }
        if end > file.size {
            return Err(beyond());
        }
        let chunk = CHUNK_BYTES as u64;
        for number in begin / chunk..end.div_ceil(chunk) {
            let hash = files::chunk_hash(&state, &id, number).map_err(broken)?;
            let hash = hash.ok_or_else(|| Status::internal("a file's list of chunks ends early"))?;
            let first = begin.saturating_sub(number * chunk) as usize;
            plan.push((hash, first, (end - number * chunk).min(chunk) as usize));
        }
        Ok(plan)
    }
}

impl Files {
    async fn wait_for(&self, min_index: u64) -> Result<(), Status> {
        let mut position = self.node.publisher().position();
        match tokio::time::timeout(INDEX_WAIT, position.wait_for(|at| at.index >= min_index)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Reason::Behind.refusal("this replica has not reached the index yet")),
        }
    }

    /// What is known here before anything is kept: the id is free, and its user has room. As of when, is returned.
    async fn check_upload(
        self: &Arc<Self>,
        user_id: u64,
        id: FileId,
        bytes: usize,
    ) -> Result<Moment, Status> {
        if self.node.is_storage_low_for_files() {
            return Err(Status::resource_exhausted("the disk of this replica has no room for more files"));
        }
        let moment = {
            let state = self.node.store().read();
            if state.file(&id).map_err(broken)?.is_some() {
                return Err(Status::already_exists("this file is committed"));
            }
            let next_place = state.file_queue().map_err(broken)?.tail;
            Moment { log_time_ms: state.applied().log_time_ms, next_place }
        };
        let mut checked = self.uploads.check(user_id, &id, bytes as u64);
        if checked == Err(Refused::TooMuch) {
            // What was committed counts no more, though the next round of repair alone would have found it, and what has gone
            // since not even that.
            let files = Arc::clone(self);
            let forgotten = self.on_disk(move |_| {
                let places = |from| Places::read(&files.node.store().read(), from);
                files.uploads.forget_committed(user_id, places)
            });
            forgotten.await?.map_err(broken)?;
            checked = self.uploads.check(user_id, &id, bytes as u64);
        }
        checked.map_err(refused)?;
        Ok(moment)
    }

    /// Whether another replica has every chunk that it needs, so that it may vote; `Err` says why not.
    ///
    /// # Errors
    /// In words.
    pub async fn check_whole(&self, peer: u64) -> Result<(), String> {
        let (index, version) = {
            let state = self.node.store().read();
            (state.applied().index().unwrap_or(0), state.applied().machine_version)
        };
        if version < crate::machine::VERSION_FILES {
            return Ok(());
        }
        let Some(address) = self.node.members().remove(&peer) else { return Ok(()) };
        match self.peers.missing(peer, &address, index).await {
            Ok(0) => Ok(()),
            Ok(missing) => Err(format!(
                "replica {peer} still fetches {missing} chunks of files: try again when it has them"
            )),
            Err(status) => {
                let why = status.message();
                Err(format!("replica {peer} does not say whether it has the chunks of all files: {why}"))
            }
        }
    }
}

#[tonic::async_trait]
impl FilesRpc for FilesService {
    type GetStream = Pin<Box<dyn Stream<Item = Result<GetPiece, Status>> + Send>>;

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let asked = request.into_inner();
        let id = file_id(&asked.file_id)?;
        check_part(asked.number, &asked.data)?;
        self.admit(asked.min_index, asked.user_id, &asked.session_id, scopes::SEND).await?;
        let moment = self.0.check_upload(asked.user_id, id, asked.data.len()).await?;
        let kept = self.0.keep_on_majority(asked.user_id, id, asked.number, asked.data, moment).await?;
        let (hash, replica_ids) = kept;
        Ok(Response::new(PutResponse { hash: Bytes::copy_from_slice(&hash), replica_ids }))
    }

    async fn upload(&self, request: Request<UploadRequest>) -> Result<Response<UploadResponse>, Status> {
        let asked = request.into_inner();
        let id = file_id(&asked.file_id)?;
        self.admit(asked.min_index, asked.user_id, &asked.session_id, scopes::SEND).await?;
        let parts = self.0.uploads.parts(asked.user_id, &id).map_err(refused)?;
        let there = self.0.on_disk(move |chunks| {
            // A record outlives its chunk where somebody has emptied the folder.
            let whole =
                |size: u32, hash: &Hash| chunks.stat(hash).is_some_and(|(bytes, _)| bytes == u64::from(size));
            let parts = parts.into_iter().filter(|(_, part)| whole(part.size, &part.hash));
            let told = parts.map(|(number, part)| UploadedChunk {
                number,
                hash: Bytes::copy_from_slice(&part.hash),
                size: part.size,
                received_ms: part.received_ms,
            });
            told.collect()
        });
        let own = self.0.node.id();
        let voters: BTreeSet<u64> = self.0.node.voter_sets().into_iter().flatten().collect();
        Ok(Response::new(UploadResponse {
            replica_id: own,
            chunks: there.await?,
            votes: voters.contains(&own),
            voters: u32::try_from(voters.len()).unwrap_or(u32::MAX),
        }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let asked = request.into_inner();
        // What somebody is uploading is hers to see while she does.
        let is_upload = asked.part() == get_request::Part::Upload;
        let scope = if is_upload { scopes::SEND } else { scopes::READ };
        self.admit(asked.min_index, asked.user_id, &asked.session_id, scope).await?;
        let plan = self.plan(&asked)?;
        let (pieces, stream) = mpsc::channel(PIECES_AHEAD);
        let files = Arc::clone(&self.0);
        tokio::spawn(async move {
            for (hash, first, last) in plan {
                let chunk = match files.chunk(hash).await {
                    Ok(chunk) if last <= chunk.len() => chunk.slice(first..last),
                    Ok(_) => return drop(pieces.send(Err(Status::internal("a chunk is too short"))).await),
                    Err(status) => return drop(pieces.send(Err(status)).await),
                };
                for begin in (0..chunk.len()).step_by(PIECE_BYTES) {
                    let data = chunk.slice(begin..chunk.len().min(begin + PIECE_BYTES));
                    if pieces.send(Ok(GetPiece { data })).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl ChunksService {
    /// A service over the files of a replica.
    pub fn new(files: Arc<Files>) -> Self {
        Self(files)
    }
}

#[tonic::async_trait]
impl Chunks for ChunksService {
    async fn store(&self, request: Request<StoreRequest>) -> Result<Response<StoreResponse>, Status> {
        let StoreRequest { user_id, file_id: id, number, hash, data } = request.into_inner();
        let id = file_id(&id)?;
        check_part(number, &data)?;
        let moment = self.0.check_upload(user_id, id, data.len()).await?;
        let hashed = data.clone();
        let own = self.0.on_disk(move |_| hash_of(&hashed)).await?;
        if own[..] != hash[..] {
            return Err(Status::data_loss("the chunk is not what its hash says: it was changed on its way"));
        }
        self.0.keep(user_id, id, number, own, data, moment).await?;
        Ok(Response::new(StoreResponse {}))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<FetchResponse>, Status> {
        let hash: Hash =
            request.get_ref().hash.as_ref().try_into().map_err(|_| Status::invalid_argument("no hash"))?;
        match self.0.on_disk(move |chunks| chunks.read(&hash)).await? {
            Found::Whole(data) => Ok(Response::new(FetchResponse { data })),
            Found::Damaged => {
                self.0.node.metrics().file_chunk_damaged();
                Err(Status::not_found("the chunk is damaged here"))
            }
            Found::Missing => Err(Status::not_found("the chunk is not here")),
        }
    }

    async fn missing(&self, request: Request<MissingRequest>) -> Result<Response<MissingResponse>, Status> {
        self.0.wait_for(request.get_ref().min_index).await?;
        Ok(Response::new(MissingResponse { chunks: self.0.count_missing().await? }))
    }
}
