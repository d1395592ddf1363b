//! Typed access to records: keys go with their types here and nowhere else.

mod people;

mod bots;
mod groups;
mod messages;

use bytes::Bytes;
use prost::Message;

use super::records::{
    AdminOffer, Attempts, Conversation, Counters, Dedup, DedupExpiry, DedupQueue, Event, File, FileChunks,
    FileExpiry, FileUse, Me, Member, Revision, Session, SigningKey, StoredMessage, User,
};
use crate::store::{Key, Space, StoreError, Transaction, View};

pub use bots::BotTables;
pub(crate) use groups::CodeHash;
pub use groups::GroupTables;
pub use messages::MessageTables;

pub use people::PeopleTables;
/// Among the counters: the queue of files that no message shows, and what each user's files take. Stored.
pub(crate) const FILE_QUEUE: u64 = 100;
pub(crate) const FILE_USE: u64 = 101;

/// Reads one record.
///
/// # Errors
/// When the disk fails, or the record cannot be decoded: then it is not what was written.
fn load<V: View, R: Message + Default>(view: &V, key: &Key) -> Result<Option<R>, StoreError> {
    view.get(key)?.map(|bytes| decode(key, bytes)).transpose()
}

fn decode<R: Message + Default>(key: &Key, bytes: Bytes) -> Result<R, StoreError> {
    R::decode(bytes).map_err(|_| StoreError::damaged(&format!("the record at {key:?} cannot be read")))
}

/// Reads of records, over any view.
#[allow(missing_docs, reason = "the names say it")]
pub trait Tables: View + Sized {
    fn counters(&self) -> Result<Counters, StoreError> {
        Ok(load(self, &Key::of(Space::Counters))?.unwrap_or_default())
    }

    fn dedup_queue(&self) -> Result<DedupQueue, StoreError> {
        Ok(load(self, &Key::one(Space::Counters, 1))?.unwrap_or_default())
    }

    /// Ends of the queue of files that no message shows.
    fn file_queue(&self) -> Result<DedupQueue, StoreError> {
        Ok(load(self, &Key::one(Space::Counters, FILE_QUEUE))?.unwrap_or_default())
    }

    fn file_use(&self, user_id: u64) -> Result<FileUse, StoreError> {
        Ok(load(self, &Key::two(Space::Counters, FILE_USE, user_id))?.unwrap_or_default())
    }

    fn file(&self, id: &[u8; 16]) -> Result<Option<File>, StoreError> {
        load(self, &Key::new(Space::File, id))
    }

    /// Up to `limit` files after one, in order of id.
    fn files_after(&self, id: &[u8; 16], limit: usize) -> Result<Vec<([u8; 16], File)>, StoreError> {
        // One byte more is the next key.
        let mut from = [0; 17];
        from[..16].copy_from_slice(id);
        let pairs = self.range(&Key::new(Space::File, &from), &Key::of(Space::FileRef), limit)?;
        let id = |key: &Key| key.as_bytes()[1..].try_into();
        let damaged = |_| StoreError::damaged("a file's id has not 16 bytes");
        pairs.into_iter().map(|(key, bytes)| Ok((id(&key).map_err(damaged)?, decode(&key, bytes)?))).collect()
    }

    /// A part of the list of a file's chunks.
    fn file_chunks(&self, id: &[u8; 16], part: u64) -> Result<Option<FileChunks>, StoreError> {
        load(self, &Key::of_id(Space::FileChunks, id, part))
    }

    /// The first message that shows a file, from this one on in order of conversation and sequence.
    fn file_shown_from(
        &self,
        id: &[u8; 16],
        conversation_id: u64,
        sequence: u64,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let from = Key::of_id_two(Space::FileRef, id, conversation_id, sequence);
        let to = Key::of_id_two(Space::FileRef, id, u64::MAX, u64::MAX);
        let found = self.range(&from, &to, 1)?.into_iter().next();
        Ok(found.map(|(key, _)| {
            let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            (number(&key.as_bytes()[17..25]), key.ordinal())
        }))
    }

    /// The oldest places in the queue of files that no message shows, from `head`, with their records' bytes.
    fn file_expiries(&self, head: u64, limit: usize) -> Result<Vec<(u64, FileExpiry, Bytes)>, StoreError> {
        let (from, to) = (Key::two(Space::FileExpiry, 0, head), Key::two(Space::FileExpiry, 0, u64::MAX));
        let record = |(key, bytes): (Key, Bytes)| Ok((key.ordinal(), decode(&key, bytes.clone())?, bytes));
        self.range(&from, &to, limit)?.into_iter().map(record).collect()
    }

    fn user(&self, id: u64) -> Result<Option<User>, StoreError> {
        load(self, &Key::one(Space::User, id))
    }

    fn user_id(&self, name: &str) -> Result<Option<u64>, StoreError> {
        if name.len() > quorate_proto::limits::NAME_CHARS_MAX {
            return Ok(None);
        }
        let key = Key::new(Space::UserName, name.as_bytes());
        let Some(bytes) = self.get(&key)? else { return Ok(None) };
        let number =
            bytes.as_ref().try_into().map_err(|_| StoreError::damaged("a user name leads nowhere"))?;
        Ok(Some(u64::from_be_bytes(number)))
    }

    fn me(&self, user_id: u64) -> Result<Me, StoreError> {
        Ok(load(self, &Key::one(Space::Me, user_id))?.unwrap_or_default())
    }

    fn session(&self, id: &[u8]) -> Result<Option<Session>, StoreError> {
        if id.len() != 16 {
            return Ok(None);
        }
        load(self, &Key::new(Space::Session, id))
    }

    /// Up to `limit` sessions of a user that have not ended, in order of id.
    fn sessions_of(&self, user_id: u64, limit: usize) -> Result<Vec<([u8; 16], Session)>, StoreError> {
        let from = Key::one(Space::SessionOf, user_id);
        let to = Key::one(Space::SessionOf, user_id + 1);
        let mut sessions = Vec::new();
        for (key, _) in self.range(&from, &to, limit)? {
            let id = key.as_bytes()[9..].try_into();
            let id: [u8; 16] = id.map_err(|_| StoreError::damaged("a session's id has not 16 bytes"))?;
            let session =
                self.session(&id)?.ok_or_else(|| StoreError::damaged("a session is listed only"))?;
            sessions.push((id, session));
        }
        Ok(sessions)
    }

    /// Every session there is, ended or not.
    fn all_sessions(&self) -> Result<Vec<([u8; 16], Session)>, StoreError> {
        let pairs = self.range(&Key::of(Space::Session), &Key::of(Space::Conversation), usize::MAX)?;
        let id = |key: &Key| key.as_bytes()[1..].try_into().ok();
        let pairs = pairs.into_iter().filter_map(|(key, bytes)| Some((id(&key)?, key, bytes)));
        pairs.map(|(id, key, bytes)| Ok((id, decode(&key, bytes)?))).collect()
    }

    /// Attempts to sign in under one counter.
    fn attempts(&self, key: &Key) -> Result<Option<Attempts>, StoreError> {
        load(self, key)
    }

    /// Up to `limit` counters of attempts from one on.
    fn attempts_from(&self, from: &Key, limit: usize) -> Result<Vec<(Key, Attempts)>, StoreError> {
        let pairs = self.range(from, &Key::two(Space::Attempts, u64::MAX, u64::MAX), limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key, decode(&key, bytes)?))).collect()
    }

    fn admin_offer(&self) -> Result<Option<AdminOffer>, StoreError> {
        load(self, &Key::of(Space::AdminOffer))
    }

    fn conversation(&self, id: u64) -> Result<Option<Conversation>, StoreError> {
        load(self, &Key::one(Space::Conversation, id))
    }

    /// Up to `limit` conversations from an id on, in order of id.
    fn conversations_from(&self, id: u64, limit: usize) -> Result<Vec<(u64, Conversation)>, StoreError> {
        let (from, to) = (Key::one(Space::Conversation, id), Key::one(Space::Conversation, u64::MAX));
        let pairs = self.range(&from, &to, limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    fn direct(&self, a: u64, b: u64) -> Result<Option<u64>, StoreError> {
        let Some(bytes) = self.get(&Key::two(Space::Direct, a.min(b), a.max(b)))? else { return Ok(None) };
        let number = bytes.as_ref().try_into().map_err(|_| StoreError::damaged("a pair leads nowhere"))?;
        Ok(Some(u64::from_be_bytes(number)))
    }

    fn member(&self, conversation_id: u64, user_id: u64) -> Result<Option<Member>, StoreError> {
        load(self, &Key::two(Space::Member, conversation_id, user_id))
    }

    /// Conversations that the user is or was a member of, in order of id.
    fn conversations_of(&self, user_id: u64) -> Result<Vec<u64>, StoreError> {
        let (from, to) =
            (Key::two(Space::MemberOf, user_id, 0), Key::two(Space::MemberOf, user_id, u64::MAX));
        Ok(self.range(&from, &to, usize::MAX)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// Up to `limit` memberships of a conversation, present and ended, in order of user id.
    fn members_of(&self, conversation_id: u64, limit: usize) -> Result<Vec<(u64, Member)>, StoreError> {
        let (from, to) =
            (Key::two(Space::Member, conversation_id, 0), Key::two(Space::Member, conversation_id, u64::MAX));
        let pairs = self.range(&from, &to, limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    /// Events of a topic's space with versions in `[from, to)`.
    fn events(
        &self,
        space: Space,
        id: u64,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        let pairs = self.range(&Key::two(space, id, from), &Key::two(space, id, to), limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    fn message(&self, conversation_id: u64, sequence: u64) -> Result<Option<StoredMessage>, StoreError> {
        load(self, &Key::two(Space::Messages, conversation_id, sequence))
    }

    /// Messages with sequences in `[from, to)`.
    fn messages(
        &self,
        conversation_id: u64,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<(u64, StoredMessage)>, StoreError> {
        let (from, to) = (
            Key::two(Space::Messages, conversation_id, from),
            Key::two(Space::Messages, conversation_id, to),
        );
        let pairs = self.range(&from, &to, limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    fn dedup(&self, user_id: u64, command_id: &[u8; 16]) -> Result<Option<Dedup>, StoreError> {
        load(self, &Key::with_id(Space::Dedup, user_id, command_id))
    }

    /// How many command ids of a user are remembered.
    fn dedup_count(&self, user_id: u64) -> Result<u64, StoreError> {
        let Some(bytes) = self.get(&Key::one(Space::DedupCount, user_id))? else { return Ok(0) };
        let number = bytes.as_ref().try_into().map_err(|_| StoreError::damaged("a count is no number"))?;
        Ok(u64::from_be_bytes(number))
    }

    /// An earlier text of a message.
    fn revision(
        &self,
        conversation_id: u64,
        sequence: u64,
        revision: u64,
    ) -> Result<Option<Revision>, StoreError> {
        load(self, &Key::three(Space::Revisions, conversation_id, sequence, revision))
    }

    /// The oldest remembered command ids, from `head`, with their records' bytes.
    fn dedup_expiries(&self, head: u64, limit: usize) -> Result<Vec<(u64, DedupExpiry, Bytes)>, StoreError> {
        let pairs = self.range(
            &Key::two(Space::DedupExpiry, 0, head),
            &Key::two(Space::DedupExpiry, 0, u64::MAX),
            limit,
        )?;
        let record = |(key, bytes): (Key, Bytes)| Ok((key.ordinal(), decode(&key, bytes.clone())?, bytes));
        pairs.into_iter().map(record).collect()
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let from = Key::of(Space::SigningKey);
        let to = Key::new(Space::SigningKey, &[0xff; 8]);
        self.range(&from, &to, usize::MAX)?.into_iter().map(|(key, bytes)| decode(&key, bytes)).collect()
    }

    /// Users whose names are in `[from, to)`, in order of name.
    fn names(&self, from: &str, to: &[u8], limit: usize) -> Result<Vec<(String, u64)>, StoreError> {
        let pairs =
            self.range(&Key::new(Space::UserName, from.as_bytes()), &Key::new(Space::UserName, to), limit)?;
        pairs
            .into_iter()
            .map(|(key, bytes)| {
                let number = bytes.as_ref().try_into();
                let number = number.map_err(|_| StoreError::damaged("a user name leads nowhere"))?;
                let name = String::from_utf8_lossy(&key.as_bytes()[1..]).into_owned();
                Ok((name, u64::from_be_bytes(number)))
            })
            .collect()
    }
}

impl<V: View> Tables for V {}

/// Writes of records, in one entry's transaction.
#[allow(missing_docs, reason = "the names say it")]
impl<V: View> Transaction<'_, V> {
    pub fn put_counters(&mut self, record: &Counters) {
        self.put(Key::of(Space::Counters), record.encode_to_vec());
    }

    pub fn put_dedup_queue(&mut self, record: &DedupQueue) {
        self.put(Key::one(Space::Counters, 1), record.encode_to_vec());
    }

    pub fn put_file_queue(&mut self, record: &DedupQueue) {
        self.put(Key::one(Space::Counters, FILE_QUEUE), record.encode_to_vec());
    }

    pub fn put_file_use(&mut self, user_id: u64, record: &FileUse) {
        let key = Key::two(Space::Counters, FILE_USE, user_id);
        match record.files {
            0 => self.delete(key),
            _ => self.put(key, record.encode_to_vec()),
        }
    }

    pub fn put_file(&mut self, id: &[u8; 16], record: &File) {
        self.put(Key::new(Space::File, id), record.encode_to_vec());
    }

    pub fn delete_file(&mut self, id: &[u8; 16]) {
        self.delete(Key::new(Space::File, id));
    }

    pub fn put_file_chunks(&mut self, id: &[u8; 16], part: u64, record: &FileChunks) {
        self.put(Key::of_id(Space::FileChunks, id, part), record.encode_to_vec());
    }

    pub fn delete_file_chunks(&mut self, id: &[u8; 16], part: u64) {
        self.delete(Key::of_id(Space::FileChunks, id, part));
    }

    pub fn put_file_ref(&mut self, id: &[u8; 16], conversation_id: u64, sequence: u64) {
        self.put(Key::of_id_two(Space::FileRef, id, conversation_id, sequence), Bytes::new());
    }

    pub fn delete_file_ref(&mut self, id: &[u8; 16], conversation_id: u64, sequence: u64) {
        self.delete(Key::of_id_two(Space::FileRef, id, conversation_id, sequence));
    }

    pub fn put_file_expiry(&mut self, number: u64, record: &FileExpiry) {
        self.put_new(Key::two(Space::FileExpiry, 0, number), record.encode_to_vec());
    }

    /// `record` are the bytes that were read there.
    pub fn delete_file_expiry(&mut self, number: u64, record: Bytes) {
        self.delete_known(Key::two(Space::FileExpiry, 0, number), record);
    }

    pub fn put_user(&mut self, id: u64, record: &User) {
        self.put(Key::one(Space::User, id), record.encode_to_vec());
        self.put(Key::new(Space::UserName, record.name.as_bytes()), id.to_be_bytes().to_vec());
    }

    pub fn put_me(&mut self, user_id: u64, record: &Me) {
        self.put(Key::one(Space::Me, user_id), record.encode_to_vec());
    }

    pub fn put_session(&mut self, id: &[u8; 16], record: &Session) {
        self.put(Key::new(Space::Session, id), record.encode_to_vec());
    }

    pub fn put_session_of(&mut self, user_id: u64, id: &[u8; 16]) {
        self.put(Key::with_id(Space::SessionOf, user_id, id), Bytes::new());
    }

    pub fn delete_session_of(&mut self, user_id: u64, id: &[u8; 16]) {
        self.delete(Key::with_id(Space::SessionOf, user_id, id));
    }

    pub fn put_attempts(&mut self, key: Key, record: &Attempts) {
        self.put(key, record.encode_to_vec());
    }

    pub fn put_admin_offer(&mut self, record: Option<&AdminOffer>) {
        let key = Key::of(Space::AdminOffer);
        match record {
            Some(record) => self.put(key, record.encode_to_vec()),
            None => self.delete(key),
        }
    }

    pub fn put_conversation(&mut self, id: u64, record: &Conversation) {
        self.put(Key::one(Space::Conversation, id), record.encode_to_vec());
    }

    pub fn put_direct(&mut self, a: u64, b: u64, conversation_id: u64) {
        self.put(Key::two(Space::Direct, a.min(b), a.max(b)), conversation_id.to_be_bytes().to_vec());
    }

    pub fn put_member(&mut self, conversation_id: u64, user_id: u64, record: &Member) {
        self.put(Key::two(Space::Member, conversation_id, user_id), record.encode_to_vec());
    }

    pub fn put_member_of(&mut self, user_id: u64, conversation_id: u64) {
        self.put(Key::two(Space::MemberOf, user_id, conversation_id), Bytes::new());
    }

    pub fn put_event(&mut self, space: Space, id: u64, version: u64, record: &Event) {
        self.put_new(Key::two(space, id, version), record.encode_to_vec());
    }

    /// The next message: its sequence was never used.
    pub fn put_new_message(&mut self, conversation_id: u64, sequence: u64, record: &StoredMessage) {
        self.put_new(Key::two(Space::Messages, conversation_id, sequence), record.encode_to_vec());
    }

    pub fn put_message(&mut self, conversation_id: u64, sequence: u64, record: &StoredMessage) {
        self.put(Key::two(Space::Messages, conversation_id, sequence), record.encode_to_vec());
    }

    pub fn put_revision(&mut self, conversation_id: u64, sequence: u64, revision: u64, record: &Revision) {
        let key = Key::three(Space::Revisions, conversation_id, sequence, revision);
        self.put_new(key, record.encode_to_vec());
    }

    pub fn delete_revision(&mut self, conversation_id: u64, sequence: u64, revision: u64) {
        self.delete(Key::three(Space::Revisions, conversation_id, sequence, revision));
    }

    /// An id that was looked up and not found.
    pub fn put_dedup(&mut self, user_id: u64, command_id: &[u8; 16], record: &Dedup) {
        self.put_new(Key::with_id(Space::Dedup, user_id, command_id), record.encode_to_vec());
    }

    pub fn put_dedup_count(&mut self, user_id: u64, count: u64) {
        let key = Key::one(Space::DedupCount, user_id);
        match count {
            0 => self.delete(key),
            count => self.put(key, count.to_be_bytes().to_vec()),
        }
    }

    pub fn delete_dedup(&mut self, user_id: u64, command_id: &[u8; 16]) {
        self.delete(Key::with_id(Space::Dedup, user_id, command_id));
    }

    pub fn put_dedup_expiry(&mut self, number: u64, record: &DedupExpiry) {
        self.put_new(Key::two(Space::DedupExpiry, 0, number), record.encode_to_vec());
    }

    /// `record` are the bytes that were read there.
    pub fn delete_dedup_expiry(&mut self, number: u64, record: Bytes) {
        self.delete_known(Key::two(Space::DedupExpiry, 0, number), record);
    }

    /// Keys sort by log time, so the last one is the newest.
    pub fn put_signing_key(&mut self, record: &SigningKey) {
        self.put(signing_key(record), record.encode_to_vec());
    }

    pub fn delete_signing_key(&mut self, record: &SigningKey) {
        self.delete(signing_key(record));
    }
}

fn signing_key(record: &SigningKey) -> Key {
    let mut tail = record.created_ms.to_be_bytes().to_vec();
    tail.extend_from_slice(&record.kid.as_bytes()[..record.kid.len().min(16)]);
    Key::new(Space::SigningKey, &tail)
}
