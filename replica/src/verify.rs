//! Whether a state is whole: reads every pair of a snapshot, backup or checkpoint and counts again what can be derived.
//!
//! Pure over an iterator of stored pairs in order of keys. Knows the machine's records; changes nothing.

mod bots;
mod files;
mod groups;
mod messages;
mod people;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use bytes::Bytes;
use prost::Message;

use crate::machine::records::{
    AdminOffer, Attempts, Conversation, Counters, DedupQueue, Event, EventKind, Me, Member, ROLE_ADMIN,
    Session, StoredMessage, User,
};
use crate::machine::tables::{FILE_QUEUE, FILE_USE};
use crate::store::{Key, Space, StoreError, unpack_run};
use files::Files;

/// Contradictions listed at most; the rest is counted.
const PROBLEMS_LISTED_MAX: usize = 20;

/// What a state holds and what is wrong with it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many records of each kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first contradictions, a line each.
    pub problems: Vec<String>,
    /// How many there are.
    pub problem_count: u64,
}

impl Report {
    /// Whether everything fits.
    pub fn is_whole(&self) -> bool {
        self.problem_count == 0
    }

    /// Adds a contradiction.
    pub fn problem(&mut self, line: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(line);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.counts {
            writeln!(f, "  {kind:<22} {count}")?;
        }
        for line in &self.problems {
            writeln!(f, "  WRONG: {line}")?;
        }
        let unlisted = self.problem_count - self.problems.len() as u64;
        if unlisted > 0 { writeln!(f, "  and {unlisted} more") } else { Ok(()) }
    }
}

/// What is remembered of a conversation while its events and messages go by. They come in order of ids.
#[derive(Debug, Default)]
struct Kept {
    version: u64,
    sequence: u64,
    member_count: u32,
    /// Present members counted.
    present: u32,
    /// The version of each message's event, by sequence - 1.
    message_versions: Vec<u64>,
    events: u64,
    messages: u64,
}

/// One walk over all pairs.
#[derive(Debug, Default)]
struct Walk {
    report: Report,
    counters: Counters,
    queue: DedupQueue,
    users: HashSet<u64>,
    names: HashMap<String, u64>,
    conversations: HashMap<u64, Kept>,
    /// (conversation, user) of members, crossed out by the other direction.
    member_of: BTreeSet<(u64, u64)>,
    me: HashMap<u64, (u64, u64)>,
    /// Remembered commands a user, taken out when her count is met.
    remembered: HashMap<u64, u64>,
    expiries: u64,
    admins: u64,
    /// Sessions that last, crossed out by the list of their user; before machine version 3 there are no lists.
    lasting: BTreeSet<(u64, [u8; 16])>,
    files: Files,
    people: people::People,
    messages: messages::Messages,
    groups: groups::Groups,
    bots: bots::Bots,
}

/// Reads every pair and says what they come to.
///
/// # Errors
/// The first error of the iterator, or a record that cannot be read: then it is not what was written.
pub fn check(pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>) -> Result<Report, StoreError> {
    let mut walk = Walk::default();
    let mut last: Option<Key> = None;
    for pair in pairs {
        let (raw, value) = pair?;
        let key = Key::from_bytes(&raw).ok_or_else(|| StoreError::damaged("a key is too long or empty"))?;
        if last.is_some_and(|last| last >= key) {
            walk.report.problem(format!("key {key:?} is out of order"));
        }
        last = Some(key);
        if !key.is_run() {
            walk.record(&key, value)?;
            continue;
        }
        let members = unpack_run(&value).ok_or_else(|| StoreError::damaged("a run cannot be read"))?;
        if members.last().map(|(ordinal, _)| *ordinal) != Some(key.ordinal()) {
            walk.report.problem(format!("the run at {key:?} does not end with its key"));
        }
        for (ordinal, value) in members {
            walk.record(&key.with_ordinal(ordinal), value)?;
        }
    }
    Ok(walk.finish())
}

fn decode<R: Message + Default>(key: &Key, value: Bytes) -> Result<R, StoreError> {
    R::decode(value).map_err(|_| StoreError::damaged(&format!("the record at {key:?} cannot be read")))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Walk {
    fn record(&mut self, key: &Key, value: Bytes) -> Result<(), StoreError> {
        const COUNTERS: u8 = Space::Counters as u8;
        const USER: u8 = Space::User as u8;
        const USER_NAME: u8 = Space::UserName as u8;
        const SESSION: u8 = Space::Session as u8;
        const CONVERSATION: u8 = Space::Conversation as u8;
        const DIRECT: u8 = Space::Direct as u8;
        const MEMBER: u8 = Space::Member as u8;
        const MEMBER_OF: u8 = Space::MemberOf as u8;
        const ME: u8 = Space::Me as u8;
        const DEDUP: u8 = Space::Dedup as u8;
        const DEDUP_COUNT: u8 = Space::DedupCount as u8;
        const SIGNING_KEY: u8 = Space::SigningKey as u8;
        const REPLICA: u8 = Space::Replica as u8;
        const CONVERSATION_EVENTS: u8 = Space::ConversationEvents as u8;
        const ME_EVENTS: u8 = Space::MeEvents as u8;
        const MESSAGES: u8 = Space::Messages as u8;
        const SESSION_OF: u8 = Space::SessionOf as u8;
        const ATTEMPTS: u8 = Space::Attempts as u8;
        const ADMIN_OFFER: u8 = Space::AdminOffer as u8;
        const DEDUP_EXPIRY: u8 = Space::DedupExpiry as u8;
        const FILE: u8 = Space::File as u8;
        const FILE_REF: u8 = Space::FileRef as u8;
        const FILE_CHUNKS: u8 = Space::FileChunks as u8;
        const FILE_EXPIRY: u8 = Space::FileExpiry as u8;
        const INVITE: u8 = Space::Invite as u8;
        const INVITE_OF: u8 = Space::InviteOf as u8;
        const BAN: u8 = Space::Ban as u8;
        const PUBLIC: u8 = Space::Public as u8;
        const BLOCKED: u8 = Space::Blocked as u8;
        const REPORT: u8 = Space::Report as u8;
        const SEEN: u8 = Space::Seen as u8;
        const AUDIT: u8 = Space::Audit as u8;
        const DUE: u8 = Space::Due as u8;
        const HOOK: u8 = Space::Hook as u8;
        const HOOK_LEASE: u8 = Space::HookLease as u8;
        const BOT_OF: u8 = Space::BotOf as u8;
        const HOOK_WAITING: u8 = Space::HookWaiting as u8;
        const HOOK_DUE: u8 = Space::HookDue as u8;

        let raw = key.as_bytes();
        let (id, tail) = (number(&raw[1..]), raw.get(9..).unwrap_or_default());
        let kind = match raw[0] {
            COUNTERS if raw.len() == 1 => {
                self.counters = decode(key, value)?;
                return Ok(());
            }
            COUNTERS => {
                match id {
                    1 => self.queue = decode(key, value)?,
                    2 => self.messages.head(decode(key, value)?),
                    FILE_QUEUE => self.files.queue(key, value)?,
                    FILE_USE => self.files.used(key, value)?,
                    _ => {}
                }
                return Ok(());
            }
            FILE => return self.files.file(key, value),
            FILE_REF => {
                self.files.reference(key);
                return Ok(());
            }
            FILE_CHUNKS => return self.files.some_chunks(key, value),
            FILE_EXPIRY => return self.files.expiry(key, value),
            USER => {
                let user: User = decode(key, value)?;
                self.users.insert(id);
                self.admins += u64::from(user.role == ROLE_ADMIN);
                self.people.user(id, &user, &mut self.report);
                self.messages.user(id, &user);
                self.groups.user(id, &user);
                self.bots.user(id, &user, &self.users, &mut self.report);
                self.files.avatar(&user.avatar, &format!("user {id}"), &mut self.report);
                self.names.insert(user.name, id);
                "users"
            }
            USER_NAME => {
                let name = String::from_utf8_lossy(&raw[1..]).into_owned();
                if self.names.remove(&name) != Some(number(&value)) {
                    self.report.problem(format!(
                        "the user name {name:?} leads to {}, who has another",
                        number(&value)
                    ));
                }
                return Ok(());
            }
            SESSION => {
                let session: Session = decode(key, value)?;
                self.must_be_user(session.user_id, "a session");
                self.people.session(&session, &mut self.report);
                self.bots.session(&session, &mut self.report);
                if let (0, Ok(id)) = (session.ended_ms, raw[1..].try_into()) {
                    self.lasting.insert((session.user_id, id));
                }
                "sessions"
            }
            SESSION_OF => {
                if !tail.try_into().is_ok_and(|session| self.lasting.remove(&(id, session))) {
                    self.report.problem(format!("user {id} has a session listed that does not last"));
                }
                return Ok(());
            }
            ATTEMPTS => {
                let _: Attempts = decode(key, value)?;
                "counters of attempts to sign in"
            }
            ADMIN_OFFER => {
                let _: AdminOffer = decode(key, value)?;
                return Ok(());
            }
            CONVERSATION => {
                let it: Conversation = decode(key, value)?;
                self.messages.conversation(id, &it);
                self.groups.conversation(id, &it, &mut self.report);
                self.bots.conversation(id, &it, &mut self.report);
                self.files.avatar(&it.avatar, &format!("conversation {id}"), &mut self.report);
                let kept = Kept {
                    version: it.version,
                    sequence: it.sequence,
                    member_count: it.member_count,
                    ..Kept::default()
                };
                self.conversations.insert(id, kept);
                "conversations"
            }
            DIRECT => {
                if !self.conversations.contains_key(&number(&value)) {
                    self.report.problem(format!("a pair's conversation {} does not exist", number(&value)));
                }
                "direct pairs"
            }
            MEMBER => {
                let member: Member = decode(key, value)?;
                self.groups.member(id, number(tail), &member, &mut self.report);
                self.bots.member(id, number(tail), &member);
                self.member_of.insert((id, number(tail)));
                self.must_be_user(number(tail), "a membership");
                match self.conversations.get_mut(&id) {
                    Some(kept) => kept.present += u32::from(member.is_present()),
                    None => {
                        self.report.problem(format!("a member of conversation {id}, which does not exist"))
                    }
                }
                "memberships"
            }
            MEMBER_OF => {
                if !self.member_of.remove(&(number(tail), id)) {
                    self.report.problem(format!("user {id} is listed in conversation {} only", number(tail)));
                }
                return Ok(());
            }
            ME => {
                let me: Me = decode(key, value)?;
                self.me.insert(id, (me.version, 0));
                return Ok(());
            }
            DEDUP => {
                *self.remembered.entry(id).or_default() += 1;
                "remembered commands"
            }
            DEDUP_COUNT => {
                let counted = self.remembered.remove(&id).unwrap_or(0);
                if counted != number(&value) {
                    self.report.problem(format!(
                        "user {id} has {counted} remembered commands, not {}",
                        number(&value)
                    ));
                }
                return Ok(());
            }
            SIGNING_KEY => "signing keys",
            REPLICA => "replica ids",
            CONVERSATION_EVENTS => {
                let event: Event = decode(key, value)?;
                self.conversation_event(id, key.ordinal(), event.kind.as_ref());
                "conversation events"
            }
            ME_EVENTS => {
                let _: Event = decode(key, value)?;
                let (_, seen) = self.me.entry(id).or_default();
                *seen += 1;
                if *seen != key.ordinal() {
                    let line =
                        format!("user {id}'s own topic goes from version {} to {}", *seen - 1, key.ordinal());
                    *seen = key.ordinal();
                    self.report.problem(line);
                }
                "events of users"
            }
            MESSAGES => {
                let message: StoredMessage = decode(key, value)?;
                self.message(id, key.ordinal(), message.version);
                self.files.message(id, key.ordinal(), &message, &mut self.report);
                self.messages.message(id, key.ordinal(), &message, &mut self.report);
                "messages"
            }
            DEDUP_EXPIRY => {
                self.expiries += 1;
                return Ok(());
            }
            INVITE | INVITE_OF | BAN | PUBLIC => match self.groups.record(key, value, &mut self.report)? {
                Some(kind) => kind,
                None => return Ok(()),
            },
            BLOCKED | REPORT | SEEN | AUDIT => {
                match self.people.record(key, value, &self.users, &mut self.report)? {
                    Some(kind) => kind,
                    None => return Ok(()),
                }
            }
            HOOK | HOOK_LEASE | BOT_OF | HOOK_WAITING | HOOK_DUE => {
                match self.bots.record(key, value, &mut self.report)? {
                    Some(kind) => kind,
                    None => return Ok(()),
                }
            }
            DUE => {
                self.bots.due(&decode(key, value.clone())?, &mut self.report);
                self.messages.record(key, &value, &mut self.report)?.unwrap_or("due")
            }
            _ => self.messages.record(key, &value, &mut self.report)?.unwrap_or("records of later kinds"),
        };
        *self.report.counts.entry(kind).or_default() += 1;
        Ok(())
    }

    fn must_be_user(&mut self, id: u64, what: &str) {
        if !self.users.contains(&id) {
            self.report.problem(format!("{what} of user {id}, who does not exist"));
        }
    }

    fn conversation_event(&mut self, id: u64, version: u64, kind: Option<&EventKind>) {
        let kept = self.conversations.entry(id).or_default();
        kept.events += 1;
        if kept.events != version {
            self.report
                .problem(format!("conversation {id} goes from version {} to {version}", kept.events - 1));
            kept.events = version;
        }
        if let Some(EventKind::Message(sequence)) = kind {
            kept.message_versions.push(version);
            if kept.message_versions.len() as u64 != *sequence {
                let line = format!("conversation {id}, version {version}: message {sequence} is out of turn");
                self.report.problem(line);
            }
        }
    }

    fn message(&mut self, id: u64, sequence: u64, version: u64) {
        let kept = self.conversations.entry(id).or_default();
        kept.messages += 1;
        if kept.messages != sequence {
            let line = format!("conversation {id} goes from message {} to {sequence}", kept.messages - 1);
            kept.messages = sequence;
            self.report.problem(line);
        }
        let place = usize::try_from(sequence.wrapping_sub(1)).unwrap_or(usize::MAX);
        if kept.message_versions.get(place) != Some(&version) {
            let line =
                format!("message {sequence} of conversation {id} has no event at its version {version}");
            self.report.problem(line);
        }
    }

    fn finish(mut self) -> Report {
        let mut problems = Vec::new();
        for (name, id) in &self.names {
            problems.push(format!("user {id} is not to be found by the name {name:?}"));
        }
        for (conversation, user) in &self.member_of {
            problems.push(format!("conversation {conversation} is not listed with its member {user}"));
        }
        for (id, count) in &self.remembered {
            problems.push(format!("user {id} has {count} remembered commands that are not counted"));
        }
        for (id, kept) in &self.conversations {
            let Kept { version, sequence, member_count, present, events, messages, message_versions } = kept;
            if (version, sequence) != (events, messages) || message_versions.len() as u64 != *sequence {
                problems.push(format!(
                    "conversation {id} says version {version} and {sequence} messages, and has {events} events, \
                     {messages} messages and {} events of messages",
                    message_versions.len()
                ));
            }
            if member_count != present {
                problems.push(format!("conversation {id} says {member_count} members and has {present}"));
            }
        }
        for (id, (version, seen)) in &self.me {
            if version != seen {
                problems.push(format!("user {id}'s own topic says version {version} and has {seen} events"));
            }
        }
        self.groups.finish(&mut problems);
        self.messages.finish(&mut problems);
        self.people.finish(&self.counters, &mut problems);
        self.bots.finish(&self.counters, &mut problems);
        let counted = |report: &Report, kind: &str| report.counts.get(kind).copied().unwrap_or(0);
        if self.admins != self.counters.admins {
            problems.push(format!(
                "the counters say {} admins, and there are {}",
                self.counters.admins, self.admins
            ));
        }
        let said = [
            ("users", self.counters.users),
            ("conversations", self.counters.conversations),
            ("remembered commands", self.queue.tail.saturating_sub(self.queue.head)),
        ];
        for (kind, said) in said {
            let counted = counted(&self.report, kind);
            if counted != said {
                problems.push(format!("the counters say {said} {kind}, and there are {counted}"));
            }
        }
        if self.expiries != self.queue.tail.saturating_sub(self.queue.head) {
            let line = format!(
                "{} commands are to be forgotten, not {}",
                self.expiries,
                self.queue.tail.saturating_sub(self.queue.head)
            );
            problems.push(line);
        }
        problems.sort();
        for line in problems {
            self.report.problem(line);
        }
        self.files.finish(&mut self.report);
        self.report
    }
}

#[cfg(test)]
pub(crate) mod tests;
