//! Keys of the replicated state: one ordered space, typed by their first byte.
//!
//! Owns the layout of keys and nothing of their values. Numbers are big-endian, so that order of bytes is order of numbers.

use std::fmt;

/// Longest key: a space byte and a user name of [`quorate_proto::limits::NAME_CHARS_MAX`] bytes, with room.
const KEY_BYTES_MAX: usize = 39;

/// What a key leads to. The number is stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Cluster-wide counters: one record.
    Counters = 1,
    /// user id → user.
    User = 2,
    /// user name → user id.
    UserName = 3,
    /// session id → session.
    Session = 4,
    /// conversation id → conversation.
    Conversation = 5,
    /// lower user id, higher user id → conversation id.
    Direct = 6,
    /// conversation id, user id → membership.
    Member = 7,
    /// user id, conversation id → nothing; the other direction of `Member`.
    MemberOf = 8,
    /// user id → version and index of her own topic.
    Me = 9,
    /// user id, command id → what it did. Written once, by the entry that gives the id its place in `DedupExpiry`, and removed with
    /// that place, in order of places: the checkpoint packs them by it.
    Dedup = 10,
    /// key id → signing key.
    SigningKey = 11,
    /// user id → how many of her command ids are remembered.
    DedupCount = 12,
    /// user id, session id → nothing: sessions that have not ended.
    SessionOf = 13,
    /// 0, user id or 1, place of a name that nobody has → attempts to sign in.
    Attempts = 14,
    /// The secret with which somebody may become an admin: one record.
    AdminOffer = 15,
    /// first 16 bytes of an invite code's hash → invite.
    Invite = 16,
    /// conversation id, the same 16 bytes → nothing: invites that have not ended.
    InviteOf = 17,
    /// conversation id, user id → ban.
    Ban = 18,
    /// conversation id → nothing: public groups.
    Public = 19,
    /// user id, user whom she has blocked → nothing.
    Blocked = 20,
    /// report id → report; and 0, report id → nothing: those that are open.
    Report = 21,
    /// user id, her own number → what she has scheduled.
    Scheduled = 22,
    /// log time in ms, running number → what is due then.
    Due = 23,
    /// replica id → what the cluster knows of it; kept for ever, so that no id is used twice.
    Replica = 24,
    /// file id → what it is and how many messages show it.
    File = 25,
    /// file id, conversation id, sequence → nothing: the messages that show it.
    FileRef = 26,
    /// user id → when she was seen last.
    Seen = 27,
    /// bot's user id → its outgoing webhook; kept when that is no more, so that no number is used twice.
    Hook = 28,
    /// The gateway that tells webhooks: one record.
    HookLease = 29,
    /// user id, bot's user id → nothing: bots of hers that were not deleted.
    BotOf = 30,
    /// bot's user id → nothing: webhooks that have something to be told.
    HookWaiting = 31,
    /// conversation id, version → event. A run space.
    ConversationEvents = 32,
    /// user id, version → event of her own topic. A run space.
    MeEvents = 33,
    /// conversation id, sequence → message. A run space.
    Messages = 34,
    /// 0, running number → (user id, command id), in order of log time. A run space.
    DedupExpiry = 35,
    /// conversation id, sequence, revision → an earlier text of a message. A run space, a run for each message.
    Revisions = 36,
    /// conversation id, sequence → reactions to a message. A run space.
    Reactions = 37,
    /// conversation id, user id, sequence → number in her list of mentions; with 0 for everybody → who wrote it. A run space, a run
    /// for each user.
    Mentions = 38,
    /// user id, number that rises → a message that names her. A run space.
    MentionInbox = 39,
    /// conversation id, sequence → nothing: messages that were taken back. A run space.
    Deleted = 40,
    /// conversation id, sequence → pin. A run space.
    Pins = 41,
    /// user id, number that rises → a message that she saved. A run space.
    Saved = 42,
    /// user id, conversation id → ranges of messages out of her sight. A run space.
    Hidden = 43,
    /// user id, conversation id → draft. A run space.
    Drafts = 44,
    /// 0, number that rises → what was done that concerns others' rights. A run space.
    Audit = 45,
    /// user id, conversation id, sequence → its number in `Saved`. A run space, a run for each conversation.
    SavedAt = 46,
    /// 0, running number → a file that no message has shown since, in order of log time. A run space.
    FileExpiry = 48,
    /// file id, part → hashes of its chunks. A run space, a run for each file.
    FileChunks = 49,
    /// bot's user id, number that rises → an event that its webhook is to be told. A run space.
    HookDue = 50,
}

impl Space {
    /// Whether the checkpoint packs neighbours of this space into runs: keys are (space, id, ordinal).
    pub fn is_run(byte: u8) -> bool {
        byte >= 32
    }
}

/// One key, inline: no allocation on the path of a message.
#[derive(Clone, Copy)]
pub struct Key {
    length: u8,
    bytes: [u8; KEY_BYTES_MAX],
}

impl Key {
    /// A key of a space with any tail.
    ///
    /// # Panics
    /// When the tail is longer than any key of the state; tails are built by the functions below.
    pub fn new(space: Space, tail: &[u8]) -> Self {
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[0] = space as u8;
        bytes[1..=tail.len()].copy_from_slice(tail);
        let length = u8::try_from(tail.len() + 1).expect("a key's tail is shorter than 39 bytes");
        Self { length, bytes }
    }

    /// The one record of a space.
    pub fn of(space: Space) -> Self {
        Self::new(space, &[])
    }

    /// A key by one number.
    pub fn one(space: Space, a: u64) -> Self {
        Self::new(space, &a.to_be_bytes())
    }

    /// A key by two numbers.
    pub fn two(space: Space, a: u64, b: u64) -> Self {
        let mut tail = [0; 16];
        tail[..8].copy_from_slice(&a.to_be_bytes());
        tail[8..].copy_from_slice(&b.to_be_bytes());
        Self::new(space, &tail)
    }

    /// A key by three numbers.
    pub fn three(space: Space, a: u64, b: u64, c: u64) -> Self {
        let mut tail = [0; 24];
        tail[..8].copy_from_slice(&a.to_be_bytes());
        tail[8..16].copy_from_slice(&b.to_be_bytes());
        tail[16..].copy_from_slice(&c.to_be_bytes());
        Self::new(space, &tail)
    }

    /// A key by a number and 16 bytes.
    pub fn with_id(space: Space, a: u64, id: &[u8; 16]) -> Self {
        let mut tail = [0; 24];
        tail[..8].copy_from_slice(&a.to_be_bytes());
        tail[8..].copy_from_slice(id);
        Self::new(space, &tail)
    }

    /// A key by 16 bytes and a number, which is its ordinal.
    pub fn of_id(space: Space, id: &[u8; 16], a: u64) -> Self {
        let mut tail = [0; 24];
        tail[..16].copy_from_slice(id);
        tail[16..].copy_from_slice(&a.to_be_bytes());
        Self::new(space, &tail)
    }

    /// A key by 16 bytes and two numbers.
    pub fn of_id_two(space: Space, id: &[u8; 16], a: u64, b: u64) -> Self {
        let mut tail = [0; 32];
        tail[..16].copy_from_slice(id);
        tail[16..24].copy_from_slice(&a.to_be_bytes());
        tail[24..].copy_from_slice(&b.to_be_bytes());
        Self::new(space, &tail)
    }

    /// Reads a key back from its bytes; `None` when it cannot be one.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        if raw.is_empty() || raw.len() > KEY_BYTES_MAX {
            return None;
        }
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self { length: raw.len() as u8, bytes })
    }

    /// The bytes in order.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The number of the key's space.
    pub fn space(&self) -> u8 {
        self.bytes[0]
    }

    /// Whether this key belongs to a run space.
    pub fn is_run(&self) -> bool {
        Space::is_run(self.bytes[0])
    }

    /// The last number of a key that ends in one.
    pub fn ordinal(&self) -> u64 {
        let bytes = self.as_bytes();
        let tail = &bytes[bytes.len().saturating_sub(8)..];
        tail.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The same key with another last number.
    pub fn with_ordinal(&self, ordinal: u64) -> Self {
        let mut key = *self;
        let end = usize::from(key.length);
        key.bytes[end - 8..end].copy_from_slice(&ordinal.to_be_bytes());
        key
    }

    /// What all keys of one run space and id have in common: everything but the ordinal.
    pub fn run_prefix(&self) -> &[u8] {
        let bytes = self.as_bytes();
        &bytes[..bytes.len().saturating_sub(8)]
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_is_order_of_numbers() {
        assert!(Key::two(Space::Messages, 1, 255) < Key::two(Space::Messages, 1, 256));
        assert!(Key::two(Space::Messages, 1, u64::MAX) < Key::two(Space::Messages, 2, 0));
        assert!(Key::new(Space::UserName, b"al") < Key::new(Space::UserName, b"alb"));
    }

    #[test]
    fn a_run_key_gives_its_ordinal_back() {
        let key = Key::two(Space::Messages, 7, 300);
        assert!(key.is_run());
        assert_eq!(key.ordinal(), 300);
        assert_eq!(key.with_ordinal(5), Key::two(Space::Messages, 7, 5));
        assert_eq!(Key::from_bytes(key.as_bytes()), Some(key));
    }
}
