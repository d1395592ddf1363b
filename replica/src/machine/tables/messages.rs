//! Typed access to what belongs to messages: reactions, pins, lists, drafts, and what is due.

use bytes::Bytes;
use prost::Message as _;

use super::{decode, load};
use crate::machine::records::{
    Draft, Due, DueHead, HiddenRanges, Listed, Pin, Reactions, Revision, ScheduledRecord, User,
};
use crate::store::{Key, Space, StoreError, Transaction, View};

fn number(bytes: &Bytes) -> Result<u64, StoreError> {
    let number = bytes.as_ref().try_into().map_err(|_| StoreError::damaged("a number is none"))?;
    Ok(u64::from_be_bytes(number))
}

fn second(key: &Key) -> u64 {
    key.as_bytes().get(9..17).map_or(0, |bytes| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// Reads of records, over any view.
#[allow(missing_docs, reason = "the names say it")]
pub trait MessageTables: View + Sized {
    fn reactions(&self, conversation_id: u64, sequence: u64) -> Result<Reactions, StoreError> {
        Ok(load(self, &Key::two(Space::Reactions, conversation_id, sequence))?.unwrap_or_default())
    }

    fn pin(&self, conversation_id: u64, sequence: u64) -> Result<Option<Pin>, StoreError> {
        load(self, &Key::two(Space::Pins, conversation_id, sequence))
    }

    /// Up to `limit` pins of a conversation, in order of sequence.
    fn pins_of(&self, conversation_id: u64, limit: usize) -> Result<Vec<(u64, Pin)>, StoreError> {
        listed(self, Space::Pins, conversation_id, 0, u64::MAX, limit)
    }

    /// The number under which a user saved a message.
    fn saved_at(&self, user_id: u64, conversation_id: u64, sequence: u64) -> Result<Option<u64>, StoreError> {
        let key = Key::three(Space::SavedAt, user_id, conversation_id, sequence);
        self.get(&key)?.as_ref().map(number).transpose()
    }

    /// What a user saved, with numbers in `[from, to)`.
    fn saved_of(
        &self,
        user_id: u64,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Listed)>, StoreError> {
        listed(self, Space::Saved, user_id, from, to, limit)
    }

    /// A user's list of mentions, with numbers in `[from, to)`.
    fn mentions_of(
        &self,
        user_id: u64,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Listed)>, StoreError> {
        listed(self, Space::MentionInbox, user_id, from, to, limit)
    }

    /// The number in her list of mentions of a message that names her.
    fn mention(&self, conversation_id: u64, user_id: u64, sequence: u64) -> Result<Option<u64>, StoreError> {
        let key = Key::three(Space::Mentions, conversation_id, user_id, sequence);
        self.get(&key)?.as_ref().map(number).transpose()
    }

    /// Messages with sequences in `[from, to)` that name a user (0: everybody), each with the number stored there.
    fn mentions_in(
        &self,
        conversation_id: u64,
        user_id: u64,
        (from, to): (u64, u64),
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let key = |sequence| Key::three(Space::Mentions, conversation_id, user_id, sequence);
        let pairs = self.range(&key(from), &key(to), limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), number(&bytes)?))).collect()
    }

    /// Sequences in `[from, to)` of messages that were taken back.
    fn deleted_in(
        &self,
        conversation_id: u64,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let key = |sequence| Key::two(Space::Deleted, conversation_id, sequence);
        Ok(self.range(&key(from), &key(to), limit)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// Earlier texts of a message, in order of revision.
    fn revisions_of(&self, conversation_id: u64, sequence: u64) -> Result<Vec<(u64, Revision)>, StoreError> {
        let key = |revision| Key::three(Space::Revisions, conversation_id, sequence, revision);
        let pairs = self.range(&key(0), &key(u64::MAX), usize::MAX)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    fn hidden(&self, user_id: u64, conversation_id: u64) -> Result<HiddenRanges, StoreError> {
        Ok(load(self, &Key::two(Space::Hidden, user_id, conversation_id))?.unwrap_or_default())
    }

    /// Conversations where a user hides something, in order of id.
    fn hidden_of(&self, user_id: u64) -> Result<Vec<(u64, HiddenRanges)>, StoreError> {
        listed(self, Space::Hidden, user_id, 0, u64::MAX, usize::MAX)
    }

    fn draft(&self, user_id: u64, conversation_id: u64) -> Result<Option<Draft>, StoreError> {
        load(self, &Key::two(Space::Drafts, user_id, conversation_id))
    }

    /// Up to `limit` drafts of a user, in order of conversation.
    fn drafts_of(&self, user_id: u64, limit: usize) -> Result<Vec<(u64, Draft)>, StoreError> {
        listed(self, Space::Drafts, user_id, 0, u64::MAX, limit)
    }

    fn scheduled(&self, user_id: u64, id: u64) -> Result<Option<ScheduledRecord>, StoreError> {
        load(self, &Key::two(Space::Scheduled, user_id, id))
    }

    /// Up to `limit` things that a user has scheduled, in order of number.
    fn scheduled_of(&self, user_id: u64, limit: usize) -> Result<Vec<(u64, ScheduledRecord)>, StoreError> {
        listed(self, Space::Scheduled, user_id, 0, u64::MAX, limit)
    }

    fn due_head(&self) -> Result<DueHead, StoreError> {
        Ok(load(self, &Key::one(Space::Counters, 2))?.unwrap_or_default())
    }

    fn is_due(&self, at_ms: u64, number: u64) -> Result<bool, StoreError> {
        Ok(self.get(&Key::two(Space::Due, at_ms, number))?.is_some())
    }

    /// Up to `limit` things that are due before a log time, each with its time and number, in this order.
    fn due_before(&self, to_ms: u64, limit: usize) -> Result<Vec<(u64, u64, Due)>, StoreError> {
        let pairs = self.range(&Key::of(Space::Due), &Key::two(Space::Due, to_ms, 0), limit)?;
        let record = |(key, bytes): (Key, Bytes)| {
            let at_ms =
                key.as_bytes().get(1..9).map_or(0, |raw| raw.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
            Ok((at_ms, second(&key), decode(&key, bytes)?))
        };
        pairs.into_iter().map(record).collect()
    }

    /// Up to `limit` conversations after one that a user is or was a member of, in order of id.
    fn conversations_after(&self, user_id: u64, after: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let from = Key::two(Space::MemberOf, user_id, after.saturating_add(1));
        let to = Key::two(Space::MemberOf, user_id, u64::MAX);
        Ok(self.range(&from, &to, limit)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }
}

impl<V: View> MessageTables for V {}

fn listed<V: View, R: prost::Message + Default>(
    view: &V,
    space: Space,
    id: u64,
    from: u64,
    to: u64,
    limit: usize,
) -> Result<Vec<(u64, R)>, StoreError> {
    let pairs = view.range(&Key::two(space, id, from), &Key::two(space, id, to), limit)?;
    pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
}

/// Writes of records, in one entry's transaction.
#[allow(missing_docs, reason = "the names say it")]
impl<V: View> Transaction<'_, V> {
    fn put_or_delete(&mut self, key: Key, record: Option<&impl prost::Message>) {
        match record {
            Some(record) => self.put(key, record.encode_to_vec()),
            None => self.delete(key),
        }
    }

    /// A user's record, whose name is already known.
    pub fn put_known_user(&mut self, id: u64, record: &User) {
        self.put(Key::one(Space::User, id), record.encode_to_vec());
    }

    pub fn put_reactions(&mut self, conversation_id: u64, sequence: u64, record: &Reactions) {
        let record = (!record.emojis.is_empty()).then_some(record);
        self.put_or_delete(Key::two(Space::Reactions, conversation_id, sequence), record);
    }

    pub fn put_pin(&mut self, conversation_id: u64, sequence: u64, record: Option<&Pin>) {
        self.put_or_delete(Key::two(Space::Pins, conversation_id, sequence), record);
    }

    pub fn put_saved(&mut self, user_id: u64, number: u64, record: &Listed) {
        let at = Key::three(Space::SavedAt, user_id, record.conversation_id, record.sequence);
        self.put(at, number.to_be_bytes().to_vec());
        self.put(Key::two(Space::Saved, user_id, number), record.encode_to_vec());
    }

    pub fn delete_saved(&mut self, user_id: u64, number: u64, conversation_id: u64, sequence: u64) {
        self.delete(Key::three(Space::SavedAt, user_id, conversation_id, sequence));
        self.delete(Key::two(Space::Saved, user_id, number));
    }

    /// That a message names a user; `number` in her list.
    pub fn put_mention(&mut self, user_id: u64, number: u64, record: &Listed) {
        let key = Key::three(Space::Mentions, record.conversation_id, user_id, record.sequence);
        self.put(key, number.to_be_bytes().to_vec());
        self.put(Key::two(Space::MentionInbox, user_id, number), record.encode_to_vec());
    }

    pub fn delete_mention(&mut self, conversation_id: u64, user_id: u64, sequence: u64, number: u64) {
        self.delete(Key::three(Space::Mentions, conversation_id, user_id, sequence));
        self.delete(Key::two(Space::MentionInbox, user_id, number));
    }

    /// That a message names everybody, and who wrote it; `None`: it does not.
    pub fn put_mention_of_all(&mut self, conversation_id: u64, sequence: u64, from: Option<u64>) {
        let key = Key::three(Space::Mentions, conversation_id, 0, sequence);
        match from {
            Some(from) => self.put(key, from.to_be_bytes().to_vec()),
            None => self.delete(key),
        }
    }

    pub fn put_deleted(&mut self, conversation_id: u64, sequence: u64) {
        self.put(Key::two(Space::Deleted, conversation_id, sequence), Bytes::new());
    }

    pub fn put_hidden(&mut self, user_id: u64, conversation_id: u64, record: &HiddenRanges) {
        self.put(Key::two(Space::Hidden, user_id, conversation_id), record.encode_to_vec());
    }

    pub fn put_draft(&mut self, user_id: u64, conversation_id: u64, record: Option<&Draft>) {
        self.put_or_delete(Key::two(Space::Drafts, user_id, conversation_id), record);
    }

    pub fn put_scheduled(&mut self, user_id: u64, id: u64, record: Option<&ScheduledRecord>) {
        self.put_or_delete(Key::two(Space::Scheduled, user_id, id), record);
    }

    pub fn put_due_head(&mut self, record: &DueHead) {
        self.put(Key::one(Space::Counters, 2), record.encode_to_vec());
    }

    pub fn put_due(&mut self, at_ms: u64, number: u64, record: Option<&Due>) {
        self.put_or_delete(Key::two(Space::Due, at_ms, number), record);
    }
}
