//! Files between a client and the replica tier: chunks up, ranges down, and the commit between.
//!
//! Owns which replica is asked for bytes, what of an upload counts as there, and what is made of images. Keeps nothing: the tier
//! knows every upload, so any gateway goes on where another stopped. Must not know HTTP.

mod commit;
mod kind;
mod picture;
mod strip;
mod tier;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::ids::{ClientMessageId, ConversationId, Sequence, UserId};
use quorate_proto::rpc::{self, command, get_request, outcome, read_request, read_response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use crate::auth::{self, Identity};
use crate::command::{by, read_error, submit_error};
use crate::convert;
use crate::leader::LeaderClient;
use crate::reads::{Reader, request};
use crate::replicas::Replicas;
use commit::on_majorities;
use picture::Studio;
pub use tier::Range;
use tier::Tier;

/// Chunks of all uploads that are in this gateway's memory at a time, 1 MiB each.
const CHUNKS_MAX: usize = 96;
/// Chunks of one upload that are on their way to the tier at a time: each waits for two syncs on three disks, and on busy ones
/// that is a tenth of a second.
pub const CHUNKS_AHEAD: usize = 8;
/// Downloads at a time; each holds up to 2 MiB for a slow reader.
const DOWNLOADS_MAX: usize = 128;
/// Chunks of one user's uploads that are in memory at a time, a third of all: one who sends slowly leaves room for others. The largest
/// image that is looked into has no more.
const CHUNKS_PER_USER_MAX: usize = 32;
/// Calls of one user that carry bytes, up and down together.
const CALLS_PER_USER_MAX: usize = 12;
/// Longest wait for a place.
const PLACE_WAIT: Duration = Duration::from_secs(5);
/// What a client is told to wait when there is none, ms.
const RETRY_MS: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Files {
    tier: Tier,
    reader: Reader,
    leader: LeaderClient,
    studio: Studio,
    chunks: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    users: Arc<Mutex<HashMap<UserId, Carried>>>,
}

/// What one user's calls carry.
#[derive(Debug)]
struct Carried {
    calls: usize,
    chunks: Arc<Semaphore>,
}

impl Default for Carried {
    fn default() -> Self {
        Self { calls: 0, chunks: Arc::new(Semaphore::new(CHUNKS_PER_USER_MAX)) }
    }
}

/// A call that carries bytes, for as long as it does.
#[derive(Debug)]
pub struct Place {
    user: UserId,
    users: Arc<Mutex<HashMap<UserId, Carried>>>,
    /// Her own chunks, and the place among all; none while it is waited for.
    permits: Vec<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut users = self.users.lock().expect(NOT_POISONED);
        // Before she may be forgotten with what she had.
        self.permits.clear();
        if let Some(carried) = users.get_mut(&self.user) {
            carried.calls -= 1;
            if carried.calls == 0 {
                users.remove(&self.user);
            }
        }
    }
}

const NOT_POISONED: &str = "no holder of this lock panics";

/// How somebody comes to see a file, as far as she says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// It is hers, or some message that she may see shows it.
    #[default]
    Unsaid,
    /// The message of this number in this conversation shows it.
    Message(ConversationId, Sequence),
    /// It is this user's avatar.
    User(UserId),
    /// It is this group's avatar.
    Group(ConversationId),
}

impl Way {
    /// As the replicas ask for it: conversation and sequence, user, group; 0 where it is not said.
    fn numbers(self) -> (u64, u64, u64, u64) {
        match self {
            Self::Unsaid => (0, 0, 0, 0),
            Self::Message(conversation, sequence) => (conversation, sequence, 0, 0),
            Self::User(user) => (0, 0, user, 0),
            Self::Group(group) => (0, 0, 0, group),
        }
    }

    fn query(self, file_id: Bytes) -> rpc::FileQuery {
        let (conversation_id, sequence, avatar_of_user, avatar_of_conversation) = self.numbers();
        rpc::FileQuery { file_id, conversation_id, sequence, avatar_of_user, avatar_of_conversation }
    }

    /// A part of a file that is seen like this.
    pub fn get(self, id: Uuid, part: get_request::Part) -> rpc::GetRequest {
        let (conversation_id, sequence, avatar_of_user, avatar_of_conversation) = self.numbers();
        rpc::GetRequest {
            file_id: Bytes::copy_from_slice(id.as_bytes()),
            conversation_id,
            sequence,
            avatar_of_user,
            avatar_of_conversation,
            part: part.into(),
            ..rpc::GetRequest::default()
        }
    }
}

/// A committed file as one of those who may see it is told.
#[derive(Debug, Clone)]
pub struct Known {
    /// What it is.
    pub file: rpc::FileResult,
    /// The state that told it: a replica that has reached it knows the file.
    pub index: u64,
}

/// A part of an upload that a majority of the replicas holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// BLAKE3, 32 bytes.
    pub hash: Bytes,
    /// Bytes.
    pub size: u32,
    /// Who holds it, with the log time when they received it.
    pub holders: BTreeMap<u64, u64>,
}

/// What came of a chunk.
#[derive(Debug, Clone)]
pub struct Stored {
    /// BLAKE3, 32 bytes.
    pub hash: Bytes,
    /// On how many replicas it was by then.
    pub replicas: usize,
}

/// What is to be made of an upload.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The upload's id, the file's from then on.
    pub id: Uuid,
    /// Of its path the last part counts.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The commit's own id.
    pub key: ClientMessageId,
}

fn busy() -> WireError {
    WireError::new(ErrorCode::Overloaded, "too many files are on their way just now").retry_after(RETRY_MS)
}

impl Files {
    /// Over the replicas.
    pub fn new(replicas: Arc<Replicas>, reader: Reader, leader: LeaderClient) -> Self {
        Self {
            tier: Tier::new(replicas),
            reader,
            leader,
            studio: Studio::default(),
            chunks: Arc::new(Semaphore::new(CHUNKS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            users: Arc::default(),
        }
    }

    /// A place for a call of a user: `count` of what all share, `chunks` of it in memory as her own.
    async fn place(
        &self,
        user: UserId,
        of: &Arc<Semaphore>,
        count: usize,
        chunks: usize,
    ) -> Result<Place, WireError> {
        let permits = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // She is counted before she waits: those who wait are few of each user, and wait for their own before they do for all's.
        let (mut place, own) = self.enter(user)?;
        let waiting = async {
            let own = own.acquire_many_owned(permits(chunks)).await.ok()?;
            place.permits.push(own);
            place.permits.push(Arc::clone(of).acquire_many_owned(permits(count)).await.ok()?);
            Some(())
        };
        match timeout(PLACE_WAIT, waiting).await {
            Ok(Some(())) => Ok(place),
            _ => Err(busy()),
        }
    }

    /// One more call of a user, without its permits; and her own chunks.
    fn enter(&self, user: UserId) -> Result<(Place, Arc<Semaphore>), WireError> {
        let mut users = self.users.lock().expect(NOT_POISONED);
        let carried = users.entry(user).or_default();
        if carried.calls >= CALLS_PER_USER_MAX {
            let message = format!("at most {CALLS_PER_USER_MAX} of your files are on their way at a time");
            return Err(WireError::new(ErrorCode::RateLimited, message).retry_after(RETRY_MS));
        }
        carried.calls += 1;
        let chunks = Arc::clone(&carried.chunks);
        drop(users);
        Ok((Place { user, users: Arc::clone(&self.users), permits: Vec::new() }, chunks))
    }

    /// A place for an upload that has so many chunks in memory at a time.
    ///
    /// # Errors
    /// `overloaded` or `rate_limited`.
    pub async fn admit_upload(&self, identity: &Identity, chunks: usize) -> Result<Place, WireError> {
        if identity.read_only {
            return Err(auth::read_only());
        }
        self.place(identity.user_id, &self.chunks, chunks, chunks).await
    }

    /// A place for a download.
    ///
    /// # Errors
    /// `overloaded` or `rate_limited`.
    pub async fn admit_download(&self, identity: &Identity) -> Result<Place, WireError> {
        self.place(identity.user_id, &self.downloads, 1, 0).await
    }

    /// Gives a chunk to the tier; returns once a majority has it on disk.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn put(
        &self,
        identity: &Identity,
        id: Uuid,
        number: u32,
        data: Bytes,
    ) -> Result<Stored, WireError> {
        let stored = self.tier.put(identity, id, number, data).await?;
        Ok(Stored { hash: stored.hash, replicas: stored.replica_ids.len() })
    }

    /// What a majority of the replicas holds of the caller's upload.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn uploaded(&self, identity: &Identity, id: Uuid) -> Result<BTreeMap<u32, Part>, WireError> {
        let (told, replicas) = self.tier.uploaded(identity, id).await?;
        Ok(on_majorities(&told, replicas))
    }

    /// A committed file, if the caller may see it.
    ///
    /// # Errors
    /// `not_found`, or what else the client is told.
    pub async fn known(&self, identity: &Identity, id: Uuid, way: Way) -> Result<Known, WireError> {
        let query = read_request::Query::File(way.query(Bytes::copy_from_slice(id.as_bytes())));
        let asked = request(self.reader.known_index(), identity.user_id, identity.session.as_bytes(), query);
        let answer = self.reader.read(asked).await.map_err(read_error)?;
        match answer.result {
            Some(read_response::Result::File(file)) => Ok(Known { file, index: answer.as_of_index }),
            _ => Err(WireError::new(ErrorCode::Internal, "a replica answered something else")),
        }
    }

    /// What the caller's files take.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn used(&self, identity: &Identity) -> Result<rpc::FileUseResult, WireError> {
        let query = read_request::Query::FileUse(rpc::FileUseQuery {});
        let asked = request(self.reader.known_index(), identity.user_id, identity.session.as_bytes(), query);
        match self.reader.read(asked).await.map_err(read_error)?.result {
            Some(read_response::Result::FileUse(used)) => Ok(used),
            _ => Err(WireError::new(ErrorCode::Internal, "a replica answered something else")),
        }
    }

    /// A range of a file, in pieces; from another replica where one ends in the middle.
    pub fn range(&self, identity: &Identity, asked: rpc::GetRequest) -> Range {
        self.tier.range(identity, asked)
    }

    /// Removes a file of the caller's that no message shows.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn delete(&self, identity: &Identity, key: ClientMessageId, id: Uuid) -> Result<(), WireError> {
        if identity.read_only {
            return Err(auth::read_only());
        }
        let file_id = Bytes::copy_from_slice(id.as_bytes());
        let action = command::Action::DeleteFile(rpc::DeleteFile { file_id });
        let outcome = self.leader.submit(&by(identity, key, 0, action)).await.map_err(submit_error)?;
        match outcome.result {
            Some(outcome::Result::Rejected(rejected)) => Err(convert::rejected(&rejected)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::testing::{Fake, tier};

    #[tokio::test]
    async fn one_user_leaves_room_for_others_and_is_counted_before_she_waits() {
        let (fake, _feeds) = Fake::start(1).await;
        let (replicas, reader, metrics) = tier(&[&fake]);
        let (_seen, leads) = watch::channel(0);
        let leader = LeaderClient::start(Arc::clone(&replicas), metrics, leads, 0, Arc::default());
        let files = Files::new(replicas, reader, leader);
        let place = async |user, count| files.place(user, &files.chunks, count, count).await;
        let mut held = Vec::new();
        for _ in 0..CHUNKS_PER_USER_MAX / CHUNKS_AHEAD {
            held.push(place(7, CHUNKS_AHEAD).await.expect("room for her"));
        }
        assert_eq!(place(7, 1).await.unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(files.chunks.available_permits(), CHUNKS_MAX - CHUNKS_PER_USER_MAX);
        held.push(place(8, CHUNKS_PER_USER_MAX).await.expect("room for another"));
        held.push(files.place(7, &files.downloads, 1, 0).await.expect("downloads are no chunks"));
        for _ in held.len() - 1..CALLS_PER_USER_MAX {
            held.push(files.place(7, &files.downloads, 1, 0).await.expect("few calls"));
        }
        assert_eq!(place(7, 1).await.unwrap_err().code, ErrorCode::RateLimited);
        drop(held);
        assert!(files.users.lock().unwrap().is_empty());
        assert_eq!(files.chunks.available_permits(), CHUNKS_MAX);
        assert!(place(7, CHUNKS_PER_USER_MAX).await.is_ok());
    }
}
