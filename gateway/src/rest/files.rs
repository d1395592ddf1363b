//! Files: up in chunks or whole, down in ranges.
//!
//! An upload is known by the id that the client chose or was given: its chunks, its state and its commit may each go through
//! another gateway, and each may be tried again.

use std::collections::VecDeque;

use futures_util::stream;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::files::{Unsatisfiable, canonical_file_name, chunk_count, range};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::limits::{CHUNK_BYTES, FILES_BYTES_PER_USER_MAX, MADE_NUMBER, THUMBNAIL_NUMBER};
use quorate_proto::rest::{ChunkStored, FileState, FilesUse, NewFile, Upload};
use quorate_proto::rpc::{self, TokenScope, get_request};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use warp::Reply as _;
use warp::reply::Response;

use super::disposition::disposition;
use super::problem::Failure;
use super::route::BodyStream;
use super::{Answer, Call, Streamed, json};
use crate::auth::{self, Identity};
use crate::clock;
use crate::convert;
use crate::files::{CHUNKS_AHEAD, Known, Stored, Wanted, Way};

/// What a file may do in a browser that shows it after all: nothing.
const SANDBOX: &str = "default-src 'none'; sandbox";

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceQuery {
    /// The conversation of a message that shows the file; with it `sequence`. Needed only of a file that very many conversations
    /// show.
    conversation: Option<u64>,
    /// That message.
    sequence: Option<u64>,
    /// The file is this user's avatar: then without `conversation` and `group`.
    user: Option<u64>,
    /// The file is this group's avatar: then without `conversation` and `user`.
    group: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentQuery {
    /// As for the file itself.
    conversation: Option<u64>,
    /// As for the file itself.
    sequence: Option<u64>,
    /// As for the file itself.
    user: Option<u64>,
    /// As for the file itself.
    group: Option<u64>,
    /// An image is to be saved, not shown.
    #[serde(default)]
    download: bool,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NameQuery {
    /// The file's name; of a path the last part.
    #[serde(default)]
    name: String,
}

/// Whoever uploads is told what became of it, which is a read.
fn check_upload(identity: &Identity) -> Result<(), WireError> {
    identity.check(TokenScope::Send)?;
    identity.check(TokenScope::Read)
}

fn invalid(message: impl Into<String>) -> Failure {
    WireError::new(ErrorCode::Invalid, message).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Call {
    /// The file's id in the route's first place.
    fn file_id(&self) -> Result<Uuid, Failure> {
        let id = Uuid::parse_str(self.place(0)).ok().filter(|id| !id.is_nil());
        id.ok_or_else(|| WireError::new(ErrorCode::NotFound, "a file's id is a UUID").into())
    }

    fn check_size(&self, size: u64) -> Result<(), Failure> {
        let max = self.gateway.config.limits.file_bytes_max;
        if size > max {
            return Err(WireError::new(ErrorCode::TooLarge, format!("a file has at most {max} bytes")).into());
        }
        Ok(())
    }
}

impl PlaceQuery {
    /// The one way in which the caller says that she sees the file.
    fn way(self) -> Result<Way, Failure> {
        let Self { conversation, sequence, user, group } = self;
        if [conversation, sequence, user, group].contains(&Some(0)) {
            return Err(invalid("conversations, messages, users and groups are counted from 1"));
        }
        match (conversation, sequence, user, group) {
            (None, None, None, None) => Ok(Way::Unsaid),
            (Some(conversation), Some(sequence), None, None) => Ok(Way::Message(conversation, sequence)),
            (None, None, Some(user), None) => Ok(Way::User(user)),
            (None, None, None, Some(group)) => Ok(Way::Group(group)),
            _ => Err(invalid("give both conversation and sequence, or user, or group, or none of them")),
        }
    }
}

pub(super) async fn used(call: Call) -> Answer {
    let identity = call.identity().await?;
    identity.check(TokenScope::Read)?;
    let rpc::FileUseResult { bytes, files } = call.gateway.files.used(&identity).await?;
    Ok(json(StatusCode::OK, &FilesUse { bytes, bytes_max: FILES_BYTES_PER_USER_MAX, files }))
}

pub(super) async fn begin(call: Call) -> Answer {
    call.check_origin()?;
    let identity = call.identity().await?;
    check_upload(&identity)?;
    let NewFile { size, .. } = call.json()?;
    call.check_size(size)?;
    if identity.read_only {
        return Err(auth::read_only().into());
    }
    let used = call.gateway.files.used(&identity).await?;
    if used.bytes.saturating_add(size) > FILES_BYTES_PER_USER_MAX {
        let left = FILES_BYTES_PER_USER_MAX.saturating_sub(used.bytes);
        let message = format!("you have room for {left} more bytes: delete files that you do not need");
        return Err(WireError::new(ErrorCode::TooLarge, message).into());
    }
    let upload = Upload { id: clock::command_id(), chunk_bytes: CHUNK_BYTES, chunks: chunk_count(size) };
    Ok(json(StatusCode::CREATED, &upload))
}

fn committed(known: &Known) -> FileState {
    FileState::Committed {
        file: convert::attachment(known.file.file.clone().unwrap_or_default()),
        etag: etag(&known.file.hash, "content"),
        created: known.file.created_ms,
        own: known.file.own,
    }
}

pub(super) async fn state(call: Call) -> Answer {
    let identity = call.identity().await?;
    identity.check(TokenScope::Read)?;
    let id = call.file_id()?;
    let way = call.query::<PlaceQuery>()?.way()?;
    let not_found = match call.gateway.files.known(&identity, id, way).await {
        Ok(known) => return Ok(json(StatusCode::OK, &committed(&known))),
        Err(error) if error.code == ErrorCode::NotFound => error,
        Err(error) => return Err(error.into()),
    };
    let parts = match call.gateway.files.uploaded(&identity, id).await {
        Ok(parts) => parts,
        // Somebody else's upload is nothing to her.
        Err(error) if error.code == ErrorCode::IdConflict => return Err(not_found.into()),
        Err(error) => return Err(error.into()),
    };
    let chunks: Vec<ChunkStored> = parts
        .into_iter()
        .filter(|(number, _)| *number < MADE_NUMBER)
        .map(|(number, part)| ChunkStored {
            number,
            hash: hex(&part.hash),
            size: u64::from(part.size),
            replicas: part.holders.len(),
        })
        .collect();
    if chunks.is_empty() {
        return Err(not_found.into());
    }
    Ok(json(StatusCode::OK, &FileState::Uploading { chunks }))
}

pub(super) async fn delete(call: Call) -> Answer {
    call.check_origin()?;
    let key = ClientMessageId(call.idempotency_key()?);
    let identity = call.identity().await?;
    identity.check(TokenScope::Send)?;
    call.gateway.files.delete(&identity, key, call.file_id()?).await?;
    let mut response = Response::new(String::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

pub(super) async fn put_chunk(call: Call) -> Answer {
    call.check_origin()?;
    let identity = call.bearer().await?;
    check_upload(&identity)?;
    call.gateway.calls.admit_chunk(identity.user_id)?;
    let id = call.file_id()?;
    let number = u32::try_from(call.number(1)?).unwrap_or(THUMBNAIL_NUMBER);
    if u64::from(number) >= chunk_count(call.gateway.config.limits.file_bytes_max) {
        return Err(WireError::new(ErrorCode::TooLarge, "no file has so many chunks").into());
    }
    let (body, declared) = call.streamed().await?;
    let too_large = || {
        let message = format!("a chunk has at most {CHUNK_BYTES} bytes");
        Failure::from(WireError::new(ErrorCode::TooLarge, message))
    };
    if declared.is_some_and(|bytes| bytes > CHUNK_BYTES as u64) {
        return Err(too_large());
    }
    let _place = call.gateway.files.admit_upload(&identity, 1).await?;
    let mut spare = Bytes::new();
    let data = body.take(CHUNK_BYTES, &mut spare).await?;
    if !spare.is_empty() || (data.len() == CHUNK_BYTES && body.next().await?.is_some()) {
        return Err(too_large());
    }
    if data.is_empty() {
        return Err(invalid("a chunk has at least one byte"));
    }
    let size = data.len() as u64;
    let Stored { hash, replicas } = call.gateway.files.put(&identity, id, number, data).await?;
    Ok(json(StatusCode::OK, &ChunkStored { number, hash: hex(&hash), size, replicas }))
}

pub(super) async fn commit(call: Call) -> Answer {
    call.check_origin()?;
    let key = ClientMessageId(call.idempotency_key()?);
    let identity = call.identity().await?;
    check_upload(&identity)?;
    let NewFile { name, size } = call.json()?;
    call.check_size(size)?;
    let wanted = Wanted { id: call.file_id()?, name, size, key };
    let known = call.gateway.files.commit(&identity, &wanted).await?;
    Ok(json(StatusCode::CREATED, &committed(&known)))
}

pub(super) async fn put_whole(call: Call) -> Answer {
    call.check_origin()?;
    let key = ClientMessageId(call.idempotency_key()?);
    let identity = call.identity().await?;
    check_upload(&identity)?;
    let (id, NameQuery { name }) = (call.file_id()?, call.query()?);
    let (body, declared) = call.streamed().await?;
    call.check_size(declared.unwrap_or(0))?;
    let place = call.gateway.files.admit_upload(&identity, CHUNKS_AHEAD).await?;
    match call.gateway.files.known(&identity, id, Way::Unsaid).await {
        Ok(known) => return repeated(&known, &body).await,
        Err(error) if error.code == ErrorCode::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let (mut spare, mut size, mut number) = (Bytes::new(), 0, 0);
    let mut under_way = VecDeque::new();
    loop {
        let data = body.take(CHUNK_BYTES, &mut spare).await?;
        if data.is_empty() {
            break;
        }
        size += data.len() as u64;
        call.check_size(size)?;
        let is_last = data.len() < CHUNK_BYTES;
        if under_way.len() == CHUNKS_AHEAD - 1 {
            finished(under_way.pop_front()).await?;
        }
        let (gateway, identity) = (call.gateway.clone(), identity.clone());
        let put = async move { gateway.files.put(&identity, id, number, data).await };
        // Ends with this call: what is not needed any more is not sent on.
        under_way.push_back(Tied(tokio::spawn(put)));
        number += 1;
        if is_last {
            break;
        }
    }
    while let Some(put) = under_way.pop_front() {
        finished(Some(put)).await?;
    }
    drop(place);
    let known = call.gateway.files.commit(&identity, &Wanted { id, name, size, key }).await?;
    Ok(json(StatusCode::CREATED, &committed(&known)))
}

/// The file is there: its first answer was lost, or the id was used before.
async fn repeated(known: &Known, body: &BodyStream) -> Answer {
    let (mut spare, mut hashes) = (Bytes::new(), Vec::new());
    loop {
        let data = body.take(CHUNK_BYTES, &mut spare).await?;
        if data.is_empty() {
            break;
        }
        hashes.extend_from_slice(blake3::hash(&data).as_bytes());
    }
    if known.file.own && blake3::hash(&hashes).as_bytes()[..] == known.file.hash[..] {
        return Ok(json(StatusCode::CREATED, &committed(known)));
    }
    Err(WireError::new(ErrorCode::IdConflict, "this id was used before for another file").into())
}

/// A task that ends with its owner.
struct Tied(tokio::task::JoinHandle<Result<Stored, WireError>>);

impl Drop for Tied {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn finished(put: Option<Tied>) -> Result<(), Failure> {
    let Some(mut put) = put else { return Ok(()) };
    match (&mut put.0).await {
        Ok(stored) => stored.map(drop).map_err(Failure::from),
        Err(_) => Err(WireError::new(ErrorCode::Internal, "a chunk was not sent on").into()),
    }
}

/// What a part of a file is cached under: its bytes never change.
fn etag(hash: &[u8], part: &str) -> String {
    format!("\"{}-{part}\"", &hex(hash)[..32.min(2 * hash.len())])
}

/// Whether a list of tags has this one, or any.
fn lists(header: &str, etag: &str) -> bool {
    header.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

pub(super) async fn content(call: Call) -> Answer {
    let identity = call.identity().await?;
    identity.check(TokenScope::Read)?;
    let id = call.file_id()?;
    let ContentQuery { conversation, sequence, user, group, download } = call.query()?;
    let way = PlaceQuery { conversation, sequence, user, group }.way()?;
    let known = call.gateway.files.known(&identity, id, way).await?;
    let file = known.file.file.clone().unwrap_or_default();
    let etag = etag(&known.file.hash, "content");
    let shown = disposition(&file.name, &file.media_type, download);
    if call.header(IF_NONE_MATCH).is_some_and(|tags| lists(tags, &etag)) {
        return Ok(described(empty(StatusCode::NOT_MODIFIED), &file.media_type, &shown, &etag));
    }
    // A range of another version would be of no use: then all of it.
    let applies = call.header(IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    let wanted = match call.header(RANGE).filter(|_| applies).map(|header| range(header, file.size)) {
        Some(Err(Unsatisfiable)) => {
            let error = WireError::new(ErrorCode::Invalid, format!("the file has {} bytes", file.size));
            let mut response = Failure::with_status(StatusCode::RANGE_NOT_SATISFIABLE, error).into_response();
            set(&mut response, CONTENT_RANGE, &format!("bytes */{}", file.size));
            return Ok(response);
        }
        Some(Ok(range)) => range,
        None => None,
    };
    let (begin, end) = wanted.unwrap_or((0, file.size));
    let asked = rpc::GetRequest {
        min_index: known.index,
        offset: begin,
        length: end - begin,
        ..way.get(id, get_request::Part::Content)
    };
    let mut response = stream_of(&call, &identity, asked).await?;
    if wanted.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, CONTENT_RANGE, &format!("bytes {begin}-{}/{}", end - 1, file.size));
    }
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(described(response, &file.media_type, &shown, &etag))
}

pub(super) async fn thumbnail(call: Call) -> Answer {
    let identity = call.identity().await?;
    identity.check(TokenScope::Read)?;
    let id = call.file_id()?;
    let way = call.query::<PlaceQuery>()?.way()?;
    let known = call.gateway.files.known(&identity, id, way).await?;
    let size = u64::from(known.file.thumbnail_size);
    if size == 0 {
        return Err(WireError::new(ErrorCode::NotFound, "this file has no thumbnail").into());
    }
    let etag = etag(&known.file.hash, "thumbnail");
    let name = known.file.file.as_ref().map(|file| file.name.as_str()).unwrap_or_default();
    let (kind, shown) = ("image/*", disposition(&canonical_file_name(name), "image/png", false));
    if call.header(IF_NONE_MATCH).is_some_and(|tags| lists(tags, &etag)) {
        return Ok(described(empty(StatusCode::NOT_MODIFIED), kind, &shown, &etag));
    }
    let asked =
        rpc::GetRequest { min_index: known.index, length: size, ..way.get(id, get_request::Part::Thumbnail) };
    let mut range = call.gateway.files.range(&identity, asked);
    let mut bytes = Vec::new();
    while let Some(piece) = range.next().await? {
        bytes.extend_from_slice(&piece);
    }
    // It was made by a gateway, as one of these two.
    let kind = if bytes.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" };
    let mut response = Response::new(bytes.into());
    response.extensions_mut().insert(Streamed);
    Ok(described(response, kind, &shown, &etag))
}

/// A range as a body: read from the tier as the reader takes it. Its first piece is waited for, so that what cannot be had is an
/// answer and no body that breaks off.
async fn stream_of(call: &Call, identity: &Identity, asked: rpc::GetRequest) -> Result<Response, Failure> {
    let length = asked.length;
    let place = call.gateway.files.admit_download(identity).await?;
    let mut range = call.gateway.files.range(identity, asked);
    let first = range.next().await?;
    let (pieces, body) = tokio::sync::mpsc::channel(1);
    // A task of its own: the body is polled by a type that must be Sync, and ends it by being dropped.
    tokio::spawn(async move {
        let _place = place;
        let mut next = Ok(first);
        while let Ok(Some(piece)) = next {
            if pieces.send(Ok(piece)).await.is_err() {
                return;
            }
            next = range.next().await;
        }
        if let Err(error) = next {
            tracing::warn!(error = error.message, "a download broke off");
            let _ = pieces.send(Err(std::io::Error::other(error.message))).await;
        }
    });
    let body = stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) });
    let mut response = warp::reply::stream(body).into_response();
    response.extensions_mut().insert(Streamed);
    set(&mut response, CONTENT_LENGTH, &length.to_string());
    Ok(response)
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(String::new().into());
    *response.status_mut() = status;
    response
}

fn set(response: &mut Response, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What every answer with somebody's bytes says of them. Asked for again each time, for whoever may see them may change.
fn described(mut response: Response, media_type: &str, shown: &str, etag: &str) -> Response {
    let charset = if media_type == "text/plain" { "text/plain; charset=utf-8" } else { media_type };
    set(&mut response, CONTENT_TYPE, charset);
    set(&mut response, CONTENT_DISPOSITION, shown);
    set(&mut response, ETAG, etag);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_in_one_way_or_in_none_that_is_said() {
        let way = |conversation, sequence, user, group| {
            PlaceQuery { conversation, sequence, user, group }.way().map_err(|refused| refused.code())
        };
        assert_eq!(way(None, None, None, None), Ok(Way::Unsaid));
        assert_eq!(way(Some(3), Some(4), None, None), Ok(Way::Message(3, 4)));
        assert_eq!(way(None, None, Some(7), None), Ok(Way::User(7)));
        assert_eq!(way(None, None, None, Some(3)), Ok(Way::Group(3)));
        // Every other choice among the four, and what has no number.
        let some = |at: u32, bits: u32| (bits & 1 << at != 0).then_some(5);
        for bits in 1..16_u32 {
            if ![0b0011, 0b0100, 0b1000].contains(&bits) {
                let refused = way(some(0, bits), some(1, bits), some(2, bits), some(3, bits));
                assert_eq!(refused, Err(ErrorCode::Invalid), "{bits:b}");
            }
        }
        for zero in [way(Some(0), Some(4), None, None), way(None, None, Some(0), None)] {
            assert_eq!(zero, Err(ErrorCode::Invalid));
        }
    }

    #[test]
    fn bytes_are_asked_for_in_the_way_in_which_the_file_was_found() {
        let get = |way: Way| {
            let asked = way.get(Uuid::from_u128(8), get_request::Part::Thumbnail);
            (asked.conversation_id, asked.sequence, asked.avatar_of_user, asked.avatar_of_conversation)
        };
        assert_eq!(get(Way::Unsaid), (0, 0, 0, 0));
        assert_eq!(get(Way::Message(3, 4)), (3, 4, 0, 0));
        assert_eq!((get(Way::User(7)), get(Way::Group(3))), ((0, 0, 7, 0), (0, 0, 0, 3)));
    }

    #[test]
    fn a_tag_is_found_in_a_list() {
        let tag = etag(&[0xab; 32], "content");
        assert_eq!(tag, format!("\"{}-content\"", "ab".repeat(16)));
        assert!(lists(&format!("\"x\", W/{tag}"), &tag) && lists("*", &tag) && lists(&tag, &tag));
        assert!(!lists("\"x\"", &tag) && !lists("", &tag));
        assert_eq!(etag(&[], "content"), "\"-content\"");
    }
}
