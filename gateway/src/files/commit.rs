//! From an upload to a file: what is there, who has it, what it is, and the command that says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::files::{SHOWN_TYPES, canonical_file_name, chunk_bytes, chunk_count};
use quorate_proto::limits::{CHUNK_BYTES, MADE_NUMBER, THUMBNAIL_NUMBER};
use quorate_proto::rpc::{self, command, get_request, outcome};
use tokio::time::sleep;
use uuid::Uuid;

use super::picture::Picture;
use super::tier::Holders;
use super::{CHUNKS_PER_USER_MAX, Files, Known, Part, RETRY_MS, Wanted, Way, kind};
use crate::auth::{self, Identity};
use crate::command::{by, submit_error};
use crate::convert;

/// Largest image that is looked into: beyond it a file is not shown but downloaded.
const IMAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// One user has room for the largest.
const _: () = assert!(IMAGE_BYTES_MAX <= (CHUNKS_PER_USER_MAX * CHUNK_BYTES) as u64);
/// Times that the receipts are collected for one commit: a replica that was slow may have every chunk a moment later.
const COMMIT_ATTEMPTS: usize = 4;
/// Between two of them.
const COMMIT_PAUSE: Duration = Duration::from_millis(250);

fn invalid(message: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::Invalid, message)
}

/// For each number the chunk that a majority of `replicas` holds, if one does: no two can.
pub(super) fn on_majorities(told: &[Holders], replicas: usize) -> BTreeMap<u32, Part> {
    let mut parts: BTreeMap<(u32, Bytes), Part> = BTreeMap::new();
    for Holders { replica_id, chunks } in told {
        for chunk in chunks {
            let part = parts.entry((chunk.number, chunk.hash.clone())).or_insert_with(|| Part {
                hash: chunk.hash.clone(),
                size: chunk.size,
                holders: BTreeMap::new(),
            });
            part.holders.insert(*replica_id, chunk.received_ms);
        }
    }
    let enough = parts.into_iter().filter(|(_, part)| part.holders.len() > replicas / 2);
    enough.map(|((number, _), part)| (number, part)).collect()
}

/// The chunks of a file of this size, in order from this number on; or which are not there.
fn in_order(parts: &BTreeMap<u32, Part>, first: u32, size: u64) -> Result<Vec<&Part>, WireError> {
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for number in 0..chunk_count(size) {
        let place = u32::try_from(number).ok().and_then(|number| first.checked_add(number));
        let part = place.and_then(|place| parts.get(&place));
        match part.filter(|part| u64::from(part.size) == chunk_bytes(size, number)) {
            Some(part) => found.push(part),
            None => missing.push(number.to_string()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let count = missing.len();
    missing.truncate(10);
    let listed = missing.join(", ");
    Err(invalid(format!(
        "{count} chunks are not there or have another size: send them (the first: {listed})"
    )))
}

/// Who holds which of these, as a commit says it, and since when at least.
fn receipts(parts: &[&Part]) -> (Vec<rpc::ChunkReceipts>, u64) {
    let mut held: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        for replica in part.holders.keys() {
            let bits = held.entry(*replica).or_insert_with(|| vec![0; parts.len().div_ceil(8)]);
            bits[at / 8] |= 1 << (at % 8);
        }
    }
    let since = parts.iter().flat_map(|part| part.holders.values()).min().copied().unwrap_or(0);
    let receipt = |(replica_id, held): (u64, Vec<u8>)| rpc::ChunkReceipts { replica_id, held: held.into() };
    (held.into_iter().map(receipt).collect(), since)
}

impl Files {
    /// Makes a file of what was uploaded under its id.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn commit(&self, identity: &Identity, wanted: &Wanted) -> Result<Known, WireError> {
        if identity.read_only {
            return Err(auth::read_only());
        }
        match self.known(identity, wanted.id, Way::Unsaid).await {
            // Committed before, its answer lost: an image is smaller than what was sent.
            Ok(known) if known.file.own => return Ok(known),
            Err(error) if error.code != ErrorCode::NotFound => return Err(error),
            _ => {}
        }
        let mut parts = self.uploaded(identity, wanted.id).await?;
        in_order(&parts, 0, wanted.size)?;
        let made = self.look_into(identity, wanted, &parts).await?;
        let has_thumbnail = made.thumbnail_size > 0;
        for attempt in 0..COMMIT_ATTEMPTS {
            if attempt > 0 || made.is_new {
                if attempt > 0 {
                    sleep(COMMIT_PAUSE).await;
                }
                parts = self.uploaded(identity, wanted.id).await?;
            }
            let is_last = attempt + 1 == COMMIT_ATTEMPTS;
            let mut chunks = match in_order(&parts, made.first, made.size) {
                Ok(_) if has_thumbnail && !parts.contains_key(&THUMBNAIL_NUMBER) && !is_last => continue,
                Ok(chunks) => chunks,
                Err(error) if is_last => return Err(error),
                Err(_) => continue,
            };
            let hashes: Vec<u8> = chunks.iter().flat_map(|part| part.hash.to_vec()).collect();
            let thumbnail = parts.get(&THUMBNAIL_NUMBER).filter(|_| has_thumbnail);
            chunks.extend(thumbnail);
            let (receipts, received_ms) = receipts(&chunks);
            let action = command::Action::CommitFile(rpc::CommitFile {
                file_id: Bytes::copy_from_slice(wanted.id.as_bytes()),
                name: canonical_file_name(&wanted.name),
                media_type: made.media_type.to_owned(),
                size: made.size,
                chunks: hashes.into(),
                thumbnail: thumbnail.map(|part| part.hash.clone()).unwrap_or_default(),
                thumbnail_size: thumbnail.map_or(0, |part| part.size),
                width: made.width,
                height: made.height,
                receipts,
                received_ms,
            });
            let command = by(identity, wanted.key, 0, action);
            let outcome = self.leader.submit(&command).await.map_err(submit_error)?;
            match outcome.result {
                Some(outcome::Result::Rejected(rejected)) => {
                    let error = convert::rejected(&rejected);
                    if error.code != ErrorCode::Unavailable || is_last {
                        return Err(error);
                    }
                }
                _ => return self.known(identity, wanted.id, Way::Unsaid).await,
            }
        }
        Err(WireError::new(ErrorCode::Unavailable, "too few replicas have every chunk").retry_after(RETRY_MS))
    }

    /// What the upload is, by its content; of an image another one without metadata, and a small one, are put in its place.
    async fn look_into(
        &self,
        identity: &Identity,
        wanted: &Wanted,
        parts: &BTreeMap<u32, Part>,
    ) -> Result<Made, WireError> {
        let unknown = Made { size: wanted.size, ..Made::default() };
        if wanted.size == 0 {
            return Ok(unknown);
        }
        let sent = in_order(parts, 0, wanted.size)?;
        let head = self.read_upload(identity, wanted.id, &sent[..1]).await?;
        let media_type = kind::media_type(&head);
        if !SHOWN_TYPES.contains(&media_type) {
            return Ok(Made { media_type, ..unknown });
        }
        if wanted.size > IMAGE_BYTES_MAX {
            return Ok(unknown);
        }
        // As many bytes in memory as it has, twice.
        let chunks = usize::try_from(chunk_count(wanted.size)).unwrap_or(CHUNKS_PER_USER_MAX);
        let place = Arc::new(self.place(identity.user_id, &self.chunks, chunks, chunks).await?);
        let bytes = self.read_upload(identity, wanted.id, &sent).await?;
        let before = blake3::hash(&bytes);
        let Some(Picture { bytes, width, height, thumbnail }) =
            self.studio.look_into(media_type, bytes, Arc::clone(&place)).await
        else {
            return Ok(unknown);
        };
        let is_changed = blake3::hash(&bytes) != before;
        let bytes = Bytes::from(bytes);
        if is_changed {
            for (number, begin) in (0..bytes.len()).step_by(CHUNK_BYTES).enumerate() {
                let chunk = bytes.slice(begin..bytes.len().min(begin + CHUNK_BYTES));
                // Beside those that were sent: a commit that is tried again begins with these.
                let number = MADE_NUMBER + u32::try_from(number).unwrap_or_default();
                self.put(identity, wanted.id, number, chunk).await?;
            }
        }
        let mut thumbnail_size = 0;
        if let Some(small) = thumbnail.filter(|small| small.len() <= CHUNK_BYTES) {
            thumbnail_size = small.len();
            self.put(identity, wanted.id, THUMBNAIL_NUMBER, small.into()).await?;
        }
        let is_new = is_changed || thumbnail_size > 0;
        let first = if is_changed { MADE_NUMBER } else { 0 };
        drop(place);
        Ok(Made { media_type, first, size: bytes.len() as u64, width, height, thumbnail_size, is_new })
    }

    /// The first of the chunks of the caller's upload, as a majority has them: one replica may have an earlier one in its place.
    async fn read_upload(
        &self,
        identity: &Identity,
        id: Uuid,
        parts: &[&Part],
    ) -> Result<Vec<u8>, WireError> {
        let length = parts.iter().map(|part| u64::from(part.size)).sum();
        let asked = rpc::GetRequest {
            file_id: Bytes::copy_from_slice(id.as_bytes()),
            part: get_request::Part::Upload.into(),
            length,
            ..rpc::GetRequest::default()
        };
        let mut range = self.range(identity, asked);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(piece) = range.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let mut chunks = bytes.chunks(CHUNK_BYTES).zip(parts);
        if !chunks.all(|(chunk, part)| blake3::hash(chunk).as_bytes()[..] == part.hash[..]) {
            let message = "a chunk that was sent again has not reached every replica yet";
            return Err(WireError::new(ErrorCode::Unavailable, message).retry_after(RETRY_MS));
        }
        Ok(bytes)
    }
}

/// What an upload turned out to be.
#[derive(Debug, Clone)]
struct Made {
    media_type: &'static str,
    /// The number of its first chunk.
    first: u32,
    size: u64,
    width: u32,
    height: u32,
    thumbnail_size: usize,
    /// Chunks were put in place of those that were sent, or beside them.
    is_new: bool,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            media_type: kind::UNKNOWN,
            first: 0,
            size: 0,
            width: 0,
            height: 0,
            thumbnail_size: 0,
            is_new: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(replica_id: u64, chunks: &[(u32, u8, u32)]) -> Holders {
        let chunk = |(number, hash, size): &(u32, u8, u32)| rpc::UploadedChunk {
            number: *number,
            hash: Bytes::from(vec![*hash; 32]),
            size: *size,
            received_ms: 1_000 + replica_id,
        };
        Holders { replica_id, chunks: chunks.iter().map(chunk).collect() }
    }

    const FULL: u32 = CHUNK_BYTES as u32;

    #[test]
    fn what_a_majority_holds_is_there_and_nothing_else() {
        let told = [
            told(1, &[(0, 7, FULL), (1, 8, 5)]),
            told(2, &[(0, 7, FULL), (1, 9, 5)]),
            told(3, &[(0, 7, FULL), (1, 8, 5), (2, 1, 1)]),
        ];
        let of_five = on_majorities(&told, 5);
        assert_eq!(of_five.keys().copied().collect::<Vec<_>>(), [0], "two of five hold the second");
        let of_three = on_majorities(&told, 3);
        assert_eq!(of_three[&1].hash[0], 8);
        assert_eq!(of_three[&1].holders, BTreeMap::from([(1, 1_001), (3, 1_003)]));
        assert!(!of_three.contains_key(&2));
        let size = u64::from(FULL) + 5;
        assert_eq!(in_order(&of_three, 0, size).unwrap().len(), 2);
        for (wrong, first) in [(size + 1, "1"), (size - 1, "1"), (3 * u64::from(FULL), "1, 2"), (5, "0")] {
            let error = in_order(&of_three, 0, wrong).unwrap_err();
            assert!(error.message.ends_with(&format!("(the first: {first})")), "{}", error.message);
        }
        assert!(in_order(&of_three, 0, 0).unwrap().is_empty());
    }

    #[test]
    fn receipts_say_who_has_what_and_since_when_at_least() {
        let part = |holders: &[(u64, u64)]| Part {
            hash: Bytes::new(),
            size: 1,
            holders: holders.iter().copied().collect(),
        };
        let parts = [part(&[(1, 50), (2, 40)]), part(&[(2, 60), (3, 70)])];
        let mut nine: Vec<&Part> = std::iter::repeat_n(&parts[0], 8).collect();
        nine.push(&parts[1]);
        let (receipts, since) = receipts(&nine);
        let told: Vec<(u64, Vec<u8>)> =
            receipts.into_iter().map(|it| (it.replica_id, it.held.to_vec())).collect();
        assert_eq!(told, [(1, vec![0xff, 0]), (2, vec![0xff, 1]), (3, vec![0, 1])]);
        assert_eq!(since, 40);
    }
}
