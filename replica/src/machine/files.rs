//! Files: what was uploaded becomes a record, messages show it or somebody has it as her avatar, and it goes some time after the
//! last one did.
//!
//! The bytes are elsewhere (`crate::files`). Here is which chunks a file consists of, whose it is, and which messages show it.
//! A chunk is kept by a replica for [`RECEIPT_MS`] of log time after it was received, and for as long as a file of the state
//! consists of it; so a commit counts on receipts that are younger, and nothing is lost between.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_proto::error::ErrorCode;
use quorate_proto::files::{canonical_file_name, chunk_count, is_media_type};
use quorate_proto::limits::{
    ATTACHMENTS_MAX, CHUNK_BYTES, FILE_BYTES_MAX, FILE_KEPT_MS, FILES_BYTES_PER_USER_MAX, FILES_PER_USER_MAX,
    RECEIPT_MS,
};
use quorate_proto::rpc::{self, outcome};

use super::records::{File, FileChunks, FileExpiry, FileUse, Member};
use super::{Decision, MessageTables, Refusal, Step, Tables, VERSION_AVATARS, VERSION_FILES, done, rejected};
use crate::store::{StoreError, View};

/// Bytes of a hash.
const HASH: usize = 32;
/// Hashes in one record of a file's list: 2 KiB, of which one is read for one chunk.
const HASHES_PER_PART: usize = 64;
/// Files removed per entry at most: each is up to a dozen keys.
const EXPIRIES_PER_ENTRY_MAX: usize = 8;
/// Messages that are looked at to find one that shows a file to a user, where she names none: one or two in each conversation, and
/// one more for each range of messages that she hides there.
const MESSAGES_LOOKED_AT_MAX: usize = 512;

/// The id in its bytes.
pub fn id_of(bytes: &[u8]) -> Option<[u8; 16]> {
    bytes.try_into().ok()
}

/// What a file's content is known by: the hash over the hashes of its chunks.
fn content_hash(chunks: &[u8]) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(chunks).as_bytes())
}

/// Whether each chunk is on a majority of each set of voters.
fn is_on_majorities(voters: &[Vec<u64>], receipts: &[rpc::ChunkReceipts], chunks: usize) -> bool {
    let holds = |replica: u64, chunk: usize| {
        receipts.iter().any(|it| {
            it.replica_id == replica
                && it.held.get(chunk / 8).is_some_and(|byte| byte >> (chunk % 8) & 1 == 1)
        })
    };
    let on_majority = |set: &Vec<u64>, chunk| {
        let distinct: BTreeSet<u64> = set.iter().copied().collect();
        distinct.iter().filter(|replica| holds(**replica, chunk)).count() > distinct.len() / 2
    };
    !voters.is_empty() && (0..chunks).all(|chunk| voters.iter().all(|set| on_majority(set, chunk)))
}

/// The messages of a conversation that a user may see, as `[from, to)`, by her membership, present or ended.
fn seen_sequences(member: &Member) -> (u64, u64) {
    let to = if member.is_present() { u64::MAX } else { member.left_sequence.saturating_add(1) };
    (member.base_sequence.saturating_add(1), to)
}

/// Whether a message shows a file to a user: one that she hides does not.
fn is_shown_by(
    state: &(impl Tables + MessageTables),
    id: &[u8; 16],
    user_id: u64,
    (conversation_id, sequence): (u64, u64),
) -> Result<bool, StoreError> {
    let Some(member) = state.member(conversation_id, user_id)? else { return Ok(false) };
    let (from, to) = seen_sequences(&member);
    if !(from..to).contains(&sequence) || state.hidden(user_id, conversation_id)?.hides(sequence) {
        return Ok(false);
    }
    Ok(state.file_shown_from(id, conversation_id, sequence)? == Some((conversation_id, sequence)))
}

/// How somebody comes to see a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// She does not say.
    Anything,
    /// This message shows it: conversation and sequence.
    Message(u64, u64),
    /// It is this user's avatar.
    AvatarOfUser(u64),
    /// It is this group's avatar.
    AvatarOfConversation(u64),
}

impl SeenBy {
    /// Of what a request names, 0 standing for nothing; `None` when it names several.
    pub fn of((conversation_id, sequence): (u64, u64), user_id: u64, group_id: u64) -> Option<Self> {
        match (conversation_id, user_id, group_id) {
            (0, 0, 0) => Some(Self::Anything),
            (conversation_id, 0, 0) => Some(Self::Message(conversation_id, sequence)),
            (0, user_id, 0) => Some(Self::AvatarOfUser(user_id)),
            (0, 0, group_id) => Some(Self::AvatarOfConversation(group_id)),
            _ => None,
        }
    }
}

/// Whether a file is a group's avatar, and a user may see that: of a public group everybody may, otherwise its members.
fn is_avatar_of_group(
    state: &impl Tables,
    id: &[u8; 16],
    user_id: u64,
    group_id: u64,
) -> Result<bool, StoreError> {
    let found = state.conversation(group_id)?.filter(|group| group.avatar == id[..]);
    let Some(group) = found else { return Ok(false) };
    Ok(group.public || state.member(group_id, user_id)?.is_some_and(|member| member.is_present()))
}

/// A file that a user may see: her own, one that a message shows which she may see, or an avatar of whom she may see. `seen_by` says
/// which, if she knows it; otherwise the first [`MESSAGES_LOOKED_AT_MAX`] messages that show it are looked at.
///
/// # Errors
/// When the disk fails.
pub fn visible(
    state: &(impl Tables + MessageTables),
    id: &[u8; 16],
    user_id: u64,
    seen_by: SeenBy,
) -> Result<Option<File>, StoreError> {
    let Some(file) = state.file(id)? else { return Ok(None) };
    if file.owner == user_id {
        return Ok(Some(file));
    }
    let is_seen = match seen_by {
        SeenBy::Message(conversation, sequence) => is_shown_by(state, id, user_id, (conversation, sequence))?,
        SeenBy::AvatarOfUser(of) => state.user(of)?.is_some_and(|user| user.avatar == id[..]),
        SeenBy::AvatarOfConversation(of) => is_avatar_of_group(state, id, user_id, of)?,
        SeenBy::Anything => is_shown_by_any(state, id, user_id)?,
    };
    Ok(is_seen.then_some(file))
}

/// Whether a message shows a file to a user, as far as is looked.
fn is_shown_by_any(
    state: &(impl Tables + MessageTables),
    id: &[u8; 16],
    user_id: u64,
) -> Result<bool, StoreError> {
    let mut next = (0, 0);
    for _ in 0..MESSAGES_LOOKED_AT_MAX {
        let Some((conversation, sequence)) = state.file_shown_from(id, next.0, next.1)? else {
            return Ok(false);
        };
        next = (conversation.saturating_add(1), 0);
        let Some(member) = state.member(conversation, user_id)? else { continue };
        let (from, to) = seen_sequences(&member);
        if sequence < to {
            let seen = state.hidden(user_id, conversation)?.shown_from(sequence.max(from));
            if seen == sequence {
                return Ok(true);
            }
            next = (conversation, seen);
        }
    }
    Ok(false)
}

/// The hash of one of a file's chunks; `None` beyond its end.
///
/// # Errors
/// When the disk fails.
pub fn chunk_hash(state: &impl Tables, id: &[u8; 16], number: u64) -> Result<Option<[u8; 32]>, StoreError> {
    let (part, at) = (number / HASHES_PER_PART as u64, (number % HASHES_PER_PART as u64) as usize);
    let Some(chunks) = state.file_chunks(id, part)? else { return Ok(None) };
    Ok(chunks.hashes.get(at * HASH..(at + 1) * HASH).and_then(|hash| hash.try_into().ok()))
}

/// Every chunk of a file, the thumbnail included.
///
/// # Errors
/// When the disk fails.
pub fn hashes_of(state: &impl Tables, id: &[u8; 16], file: &File) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut hashes: Vec<[u8; 32]> = Vec::new();
    for part in 0..chunk_count(file.size).div_ceil(HASHES_PER_PART as u64) {
        let chunks = state.file_chunks(id, part)?.unwrap_or_default();
        let some = chunks.hashes.chunks_exact(HASH);
        hashes.extend(some.filter_map(|hash| <[u8; 32]>::try_from(hash).ok()));
    }
    hashes.extend(<[u8; 32]>::try_from(file.thumbnail.as_ref()).ok());
    Ok(hashes)
}

/// A file as messages show it.
pub fn attachment(id: &[u8; 16], file: &File) -> rpc::Attachment {
    rpc::Attachment {
        file_id: Bytes::copy_from_slice(id),
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        size: file.size,
        width: file.width,
        height: file.height,
        has_thumbnail: !file.thumbnail.is_empty(),
    }
}

/// The files of a message. One that cannot be found is left out and never hides the rest.
///
/// # Errors
/// When the disk fails.
pub fn attachments(state: &impl Tables, ids: &[Bytes]) -> Result<Vec<rpc::Attachment>, StoreError> {
    let mut attachments = Vec::with_capacity(ids.len());
    for id in ids.iter().filter_map(|id| id_of(id)) {
        attachments.extend(state.file(&id)?.map(|file| attachment(&id, &file)));
    }
    Ok(attachments)
}

fn invalid<T>(message: &str) -> Decision<T> {
    rejected(ErrorCode::Invalid, message)
}

/// What is said of a file must be whole in itself.
fn check(commit: &rpc::CommitFile) -> Decision<[u8; 16]> {
    let Some(id) = id_of(&commit.file_id).filter(|id| *id != [0; 16]) else {
        return invalid("a file's id has 16 bytes, not all of them 0");
    };
    if canonical_file_name(&commit.name) != commit.name {
        return invalid("a file's name is plain: no path, nothing unseen, at most 255 bytes");
    }
    if !is_media_type(&commit.media_type) {
        return invalid("a media type is two words with a slash between");
    }
    if commit.size > FILE_BYTES_MAX {
        return rejected(ErrorCode::TooLarge, "the file is too large");
    }
    if commit.chunks.len() as u64 != chunk_count(commit.size) * HASH as u64 {
        return invalid("a file of this size has another number of chunks");
    }
    let has_thumbnail = !commit.thumbnail.is_empty();
    let size = commit.thumbnail_size as usize;
    if (has_thumbnail && commit.thumbnail.len() != HASH) || has_thumbnail != (size > 0) || size > CHUNK_BYTES
    {
        return invalid("a thumbnail is one chunk");
    }
    Ok(id)
}

impl<V: View> Step<'_, V> {
    pub(super) fn commit_file(&mut self, by: u64, commit: &rpc::CommitFile) -> Decision<outcome::Result> {
        let id = check(commit)?;
        let committed = || outcome::Result::File(rpc::FileCommitted { file_id: commit.file_id.clone() });
        let hash = content_hash(&commit.chunks);
        if let Some(known) = self.state.file(&id)? {
            if known.owner == by && known.hash == hash && known.size == commit.size {
                return Ok(committed());
            }
            return rejected(ErrorCode::IdConflict, "this id was used before for another file");
        }
        let now_ms = self.context.log_time_ms;
        let count = commit.chunks.len() / HASH + usize::from(!commit.thumbnail.is_empty());
        let fresh = commit.received_ms.saturating_add(RECEIPT_MS) >= now_ms;
        if count > 0 && !(fresh && is_on_majorities(self.voters, &commit.receipts, count)) {
            // No final refusal: what is missing may be sent, and the same command again.
            let message =
                "not every chunk is on a majority of the present replicas: send those that are missing";
            return rejected(ErrorCode::Unavailable, message);
        }
        let mut used = self.state.file_use(by)?;
        used.bytes = used.bytes.saturating_add(commit.size);
        used.files += 1;
        if used.bytes > FILES_BYTES_PER_USER_MAX || used.files > FILES_PER_USER_MAX {
            return rejected(ErrorCode::TooLarge, "your files take all the room that you have: delete some");
        }
        self.state.put_file_use(by, &used);
        for (part, hashes) in commit.chunks.chunks(HASHES_PER_PART * HASH).enumerate() {
            let hashes = Bytes::copy_from_slice(hashes);
            self.state.put_file_chunks(&id, part as u64, &FileChunks { hashes });
        }
        let file = File {
            owner: by,
            name: commit.name.clone(),
            media_type: commit.media_type.clone(),
            size: commit.size,
            width: commit.width,
            height: commit.height,
            thumbnail: commit.thumbnail.clone(),
            thumbnail_size: commit.thumbnail_size,
            hash,
            created_ms: now_ms,
            references: 0,
            unreferenced_ms: 0,
        };
        self.expire_later(&id, file)?;
        Ok(committed())
    }

    pub(super) fn delete_file(&mut self, by: u64, file_id: &[u8]) -> Decision<outcome::Result> {
        let found = match id_of(file_id) {
            Some(id) => self.state.file(&id)?.map(|file| (id, file)),
            None => None,
        };
        let Some((id, file)) = found.filter(|(_, file)| file.owner == by) else {
            return rejected(ErrorCode::NotFound, "you have no such file");
        };
        if file.references > 0 {
            // Outcomes are folded into the hash: what older programs say stays.
            let why = if self.context.machine_version < VERSION_AVATARS {
                "a message shows this file: delete the message"
            } else {
                "a message shows this file, or it is an avatar: take it back there first"
            };
            return rejected(ErrorCode::Forbidden, why);
        }
        self.remove_file(&id, &file)?;
        Ok(done())
    }

    /// The files that a new message shows, checked and counted; refuses before it has changed anything.
    pub(super) fn attach(
        &mut self,
        by: u64,
        (conversation_id, sequence): (u64, u64),
        asked: &[rpc::AttachFile],
    ) -> Decision<Vec<Bytes>> {
        if asked.len() > ATTACHMENTS_MAX {
            return rejected(ErrorCode::TooLarge, "too many files in one message");
        }
        let mut found: Vec<([u8; 16], File)> = Vec::with_capacity(asked.len());
        for asked in asked {
            let not_found = || Refusal::Rejected(ErrorCode::NotFound, "there is no such file".to_owned());
            let id = id_of(&asked.file_id).ok_or_else(not_found)?;
            // The place that she names, or else one of her own: nothing is searched for in apply.
            let place = SeenBy::Message(asked.conversation_id, asked.sequence);
            let file = visible(&self.state, &id, by, place)?.ok_or_else(not_found)?;
            if found.iter().any(|(other, _)| *other == id) {
                return invalid("a message shows a file once");
            }
            found.push((id, file));
        }
        let mut ids = Vec::with_capacity(found.len());
        for (id, file) in found {
            self.show_file(&id, file);
            self.state.put_file_ref(&id, conversation_id, sequence);
            ids.push(Bytes::copy_from_slice(&id));
        }
        Ok(ids)
    }

    /// A message shows its files no longer: those that no other shows go in a day. For who deletes the message, before its record
    /// changes; the record itself is the caller's to write.
    pub(super) fn release_attachments(
        &mut self,
        conversation_id: u64,
        sequence: u64,
    ) -> Result<(), StoreError> {
        if self.context.machine_version < VERSION_FILES {
            return Ok(());
        }
        let message = self.state.message(conversation_id, sequence)?.unwrap_or_default();
        for id in message.attachments.iter().filter_map(|id| id_of(id)) {
            let place = Some((conversation_id, sequence));
            if self.state.file_shown_from(&id, conversation_id, sequence)? != place {
                continue;
            }
            self.state.delete_file_ref(&id, conversation_id, sequence);
            self.release_file(&id)?;
        }
        Ok(())
    }

    /// One more message shows a file, or somebody more has it as her avatar.
    pub(super) fn show_file(&mut self, id: &[u8; 16], file: File) {
        self.state.put_file(id, &File { references: file.references + 1, unreferenced_ms: 0, ..file });
    }

    /// One less does.
    pub(super) fn release_file(&mut self, id: &[u8; 16]) -> Result<(), StoreError> {
        let Some(mut file) = self.state.file(id)? else { return Ok(()) };
        file.references = file.references.saturating_sub(1);
        match file.references {
            0 => self.expire_later(id, file)?,
            _ => self.state.put_file(id, &file),
        }
        Ok(())
    }

    /// Writes a file that nothing shows, and puts it into the queue of those.
    fn expire_later(&mut self, id: &[u8; 16], file: File) -> Result<(), StoreError> {
        let log_time_ms = self.context.log_time_ms;
        self.state.put_file(id, &File { references: 0, unreferenced_ms: log_time_ms, ..file });
        let mut queue = self.state.file_queue()?;
        let expiry = FileExpiry { log_time_ms, file_id: Bytes::copy_from_slice(id) };
        self.state.put_file_expiry(queue.tail, &expiry);
        if queue.head == queue.tail {
            queue.oldest_ms = log_time_ms;
        }
        queue.tail += 1;
        self.state.put_file_queue(&queue);
        Ok(())
    }

    /// Removes files that nothing has shown for [`FILE_KEPT_MS`] of log time.
    pub(super) fn forget_files(&mut self) -> Result<(), StoreError> {
        if self.context.machine_version < VERSION_FILES {
            return Ok(());
        }
        let mut queue = self.state.file_queue()?;
        let now_ms = self.context.log_time_ms;
        if queue.head == queue.tail || queue.oldest_ms.saturating_add(FILE_KEPT_MS) > now_ms {
            return Ok(());
        }
        let oldest = self.state.file_expiries(queue.head, EXPIRIES_PER_ENTRY_MAX + 1)?;
        for (at, (number, expiry, bytes)) in oldest.into_iter().enumerate() {
            queue.oldest_ms = expiry.log_time_ms;
            if expiry.log_time_ms.saturating_add(FILE_KEPT_MS) > now_ms || at == EXPIRIES_PER_ENTRY_MAX {
                break;
            }
            // One that was shown again meanwhile has another place in the queue, or none.
            if let Some(id) = id_of(&expiry.file_id)
                && let Some(file) = self.state.file(&id)?
                && file.references == 0
                && file.unreferenced_ms == expiry.log_time_ms
            {
                self.remove_file(&id, &file)?;
            }
            self.state.delete_file_expiry(number, bytes);
            queue.head = number + 1;
        }
        self.state.put_file_queue(&queue);
        Ok(())
    }

    fn remove_file(&mut self, id: &[u8; 16], file: &File) -> Result<(), StoreError> {
        for part in 0..chunk_count(file.size).div_ceil(HASHES_PER_PART as u64) {
            self.state.delete_file_chunks(id, part);
        }
        self.state.delete_file(id);
        let used = self.state.file_use(file.owner)?;
        let left =
            FileUse { bytes: used.bytes.saturating_sub(file.size), files: used.files.saturating_sub(1) };
        self.state.put_file_use(file.owner, &left);
        Ok(())
    }
}
