//! Typed access to what belongs to groups.

use bytes::Bytes;
use prost::Message as _;

use super::{decode, load};
use crate::machine::records::{Ban, Invite, User};
use crate::store::{Key, Space, StoreError, Transaction, View};

/// First 16 bytes of the BLAKE3 of an invite's code.
pub type CodeHash = [u8; 16];

/// Reads of records, over any view.
#[allow(missing_docs, reason = "the names say it")]
pub trait GroupTables: View + Sized {
    fn invite(&self, code: &CodeHash) -> Result<Option<Invite>, StoreError> {
        load(self, &Key::new(Space::Invite, code))
    }

    /// Up to `limit` invites of a group that have not ended, those whose time is over among them.
    fn invites_of(&self, conversation_id: u64, limit: usize) -> Result<Vec<(CodeHash, Invite)>, StoreError> {
        let (from, to) =
            (Key::one(Space::InviteOf, conversation_id), Key::one(Space::InviteOf, conversation_id + 1));
        let mut invites = Vec::new();
        for (key, _) in self.range(&from, &to, limit)? {
            let code = key.as_bytes()[9..].try_into();
            let code: CodeHash =
                code.map_err(|_| StoreError::damaged("an invite's code has not 16 bytes"))?;
            let invite = self.invite(&code)?;
            invites.push((code, invite.ok_or_else(|| StoreError::damaged("an invite is listed only"))?));
        }
        Ok(invites)
    }

    fn is_banned(&self, conversation_id: u64, user_id: u64) -> Result<bool, StoreError> {
        Ok(self.get(&Key::two(Space::Ban, conversation_id, user_id))?.is_some())
    }

    /// Up to `limit` bans of a group, in order of user id.
    fn bans_of(&self, conversation_id: u64, limit: usize) -> Result<Vec<(u64, Ban)>, StoreError> {
        let (from, to) =
            (Key::two(Space::Ban, conversation_id, 0), Key::two(Space::Ban, conversation_id, u64::MAX));
        let pairs = self.range(&from, &to, limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }

    /// Up to `limit` public groups with ids from `from` on.
    fn public_groups(&self, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let (from, to) = (Key::one(Space::Public, from), Key::one(Space::Public, u64::MAX));
        Ok(self.range(&from, &to, limit)?.into_iter().map(|(key, _)| key.ordinal()).collect())
    }

    /// Up to `limit` memberships of a conversation, present and ended, with user ids from `from` on.
    fn members_from(
        &self,
        conversation_id: u64,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, super::Member)>, StoreError> {
        let (from, to) = (
            Key::two(Space::Member, conversation_id, from),
            Key::two(Space::Member, conversation_id, u64::MAX),
        );
        let pairs = self.range(&from, &to, limit)?;
        pairs.into_iter().map(|(key, bytes)| Ok((key.ordinal(), decode(&key, bytes)?))).collect()
    }
}

impl<V: View> GroupTables for V {}

/// Writes of records, in one entry's transaction.
#[allow(missing_docs, reason = "the names say it")]
impl<V: View> Transaction<'_, V> {
    /// With its place in the list of its group.
    pub fn put_invite(&mut self, code: &CodeHash, record: &Invite) {
        self.put(Key::new(Space::Invite, code), record.encode_to_vec());
        self.put(Key::with_id(Space::InviteOf, record.conversation_id, code), Bytes::new());
    }

    pub fn delete_invite(&mut self, code: &CodeHash, record: &Invite) {
        self.delete(Key::new(Space::Invite, code));
        self.delete(Key::with_id(Space::InviteOf, record.conversation_id, code));
    }

    pub fn put_ban(&mut self, conversation_id: u64, user_id: u64, record: Option<&Ban>) {
        let key = Key::two(Space::Ban, conversation_id, user_id);
        match record {
            Some(record) => self.put(key, record.encode_to_vec()),
            None => self.delete(key),
        }
    }

    pub fn put_public(&mut self, conversation_id: u64, on: bool) {
        let key = Key::one(Space::Public, conversation_id);
        if on { self.put(key, Bytes::new()) } else { self.delete(key) }
    }

    /// A user who keeps her name.
    pub fn put_user_again(&mut self, id: u64, record: &User) {
        self.put(Key::one(Space::User, id), record.encode_to_vec());
    }
}
