//! Chats at random, by a seed: the commands of a log, as gateways of several versions send them, and what they come to.

mod actions;

use std::collections::BTreeMap;

use super::*;
use crate::verify;

/// Users of the beginning; the first becomes an admin. Those after them are bots, or signed up later.
const USERS: u64 = 8;
/// Groups of all of them, made by the first.
const GROUPS: u64 = 3;
/// What a history begins with: users, their sessions, an admin, and groups.
const PROLOGUE: u64 = 2 * USERS + 2 + GROUPS;

/// A chat by one seed.
pub(super) struct History {
    dice: Dice,
    pub(super) state: BTreeMap<Key, Bytes>,
    pub(super) version: u32,
    pub(super) now: u64,
    pub(super) next: u64,
    /// The session by which each user acts: her newest sign-in, and her newest token.
    pub(super) sessions: BTreeMap<u64, Bytes>,
    tokens: BTreeMap<u64, Bytes>,
    /// Bots and their owners.
    bots: Vec<(u64, u64)>,
    /// Who gives the next command, where it is to be somebody in particular.
    asks: Option<u64>,
    /// How often each action was accepted.
    pub(super) accepted: BTreeMap<String, u64>,
}

pub(super) fn name_of(action: &Action) -> String {
    format!("{action:?}").split('(').next().unwrap_or_default().to_owned()
}

pub(super) fn file_id(number: u64) -> Bytes {
    Bytes::from(vec![number as u8; 16])
}

/// Who uploads the file of a number.
fn owner_of(number: u64) -> u64 {
    1 + number % 3
}

impl History {
    pub(super) fn new(seed: u64, version: u32) -> Self {
        Self {
            dice: Dice(seed),
            state: BTreeMap::new(),
            version,
            now: 1_000_000,
            next: 0,
            sessions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            bots: Vec::new(),
            asks: None,
            accepted: BTreeMap::new(),
        }
    }

    /// The first, who is an admin and makes most groups, more often than others.
    fn user(&mut self) -> u64 {
        if self.dice.below(6) == 0
            && let Some((bot, _)) = self.bot()
        {
            return bot;
        }
        (1 + self.dice.below(USERS + 8)).saturating_sub(4).max(1)
    }

    /// One of the first bots, and its owner.
    fn bot(&mut self) -> Option<(u64, u64)> {
        let count = self.bots.len().min(3) as u64;
        (count > 0).then(|| self.bots[self.dice.below(count) as usize])
    }

    fn room(&mut self) -> u64 {
        1 + self.dice.below(5)
    }

    fn yes(&mut self) -> bool {
        self.dice.below(2) == 0
    }

    /// One of the words, or nothing.
    fn perhaps(&mut self, word: &str) -> Option<String> {
        self.yes().then(|| word.to_owned())
    }

    fn prologue(&self) -> (u64, Action) {
        let (next, sessions) = (self.next, self.next.saturating_sub(USERS));
        match next {
            0..USERS => {
                let name = format!("u{}", next + 1);
                let password_phc = "$argon2id$".into();
                (0, Action::CreateUser(rpc::CreateUser { name, display_name: "U".into(), password_phc }))
            }
            _ if sessions < USERS => (0, Action::CreateSession(self.sign_in(sessions + 1))),
            _ if sessions == USERS => {
                (0, Action::OfferAdmin(rpc::OfferAdmin { secret_hash: hash(1), only_first: true }))
            }
            _ if sessions == USERS + 1 => (1, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash(1) })),
            _ => {
                let (title, member_ids) = ("team".to_owned(), (2..=USERS).collect());
                (1, Action::CreateGroup(rpc::CreateGroup { title, member_ids, ..Default::default() }))
            }
        }
    }

    /// The next command as it stands in the log. One in thirty is of a newer program, or has a field that only such a one knows.
    fn command(&mut self) -> Vec<u8> {
        let (user_id, action) = if self.next < PROLOGUE {
            self.prologue()
        } else {
            let (anybody, action) = (self.user(), self.action());
            (self.asks.take().unwrap_or(anybody), action)
        };
        let anonymous = matches!(
            action,
            Action::CreateUser(_)
                | Action::CreateSession(_)
                | Action::OfferAdmin(_)
                | Action::RefreshSession(_)
        );
        let (sign_in, token) = (self.sessions.get(&user_id), self.tokens.get(&user_id));
        let is_by_token = sign_in.is_none() || self.dice.below(4) == 0;
        let session_id = token.filter(|_| is_by_token).or(sign_in).cloned().unwrap_or_default();
        let known = self.next > PROLOGUE && self.dice.below(20) == 0;
        let mut command = Command {
            user_id: if anonymous { 0 } else { user_id },
            session_id: if anonymous { Bytes::new() } else { session_id },
            command_id: id(if known { self.dice.below(self.next) } else { self.next }),
            first_sent_ms: 0,
            action: Some(action),
        };
        let (tag, body) = match (self.dice.below(30), &command.action) {
            (0, _) if self.next >= PROLOGUE => (130 + self.dice.below(9) as u32, Vec::new()),
            (_, Some(Action::SetProfile(set))) if self.yes() => {
                (80, [set.encode_to_vec(), field(130, &file_id(1))].concat())
            }
            (_, Some(Action::ChangeConversation(change))) if self.yes() => {
                (70, [change.encode_to_vec(), field(130, b"")].concat())
            }
            _ => return command.encode_to_vec(),
        };
        command.action = None;
        [command.encode_to_vec(), field(tag, &body)].concat()
    }

    /// Applies the next entry and tells the hasher all that came of it.
    pub(super) fn go_on(&mut self, hasher: &mut blake3::Hasher) {
        let bytes = self.command();
        self.next += 1;
        self.now +=
            if self.dice.below(40) == 0 { self.dice.below(40 * 3_600_000) } else { self.dice.below(1_000) };
        self.apply(&Command::decode(bytes.as_slice()).expect("a command"), hasher);
    }

    pub(super) fn apply(&mut self, command: &Command, hasher: &mut blake3::Hasher) -> Outcome {
        let (index, machine_version) = (self.next, self.version);
        let context = Context { index, term: 1, log_time_ms: self.now, machine_version };
        let applied = apply_among(&[vec![1, 2, 3]], &self.state, context, command).expect("a map");
        self.version = applied.machine_version.unwrap_or(self.version);
        let is_refused = matches!(applied.outcome.result, Some(outcome::Result::Rejected(_)));
        if let Some(action) = command.action.as_ref().filter(|_| !is_refused) {
            *self.accepted.entry(name_of(action)).or_default() += 1;
            match action {
                Action::CreateSession(create) => {
                    self.sessions.insert(create.user_id, create.session_id.clone());
                }
                Action::MakeToken(make) => {
                    self.tokens.insert(make.user_id, make.session_id.clone());
                }
                Action::CreateBot(_) => {
                    if let (Some(outcome::Result::User(made)), false) =
                        (&applied.outcome.result, applied.outcome.replay)
                    {
                        self.bots.push((made.user_id, command.user_id));
                    }
                }
                _ => {}
            }
        }
        hasher.update(&applied.outcome.encode_to_vec());
        for event in &applied.events {
            hasher.update(&event.encode_to_vec());
        }
        for (key, value) in applied.writes {
            hasher.update(key.as_bytes());
            hasher.update(&[u8::from(value.is_some())]);
            match value {
                Some(value) => {
                    hasher.update(&value);
                    self.state.insert(key, value);
                }
                None => {
                    self.state.remove(&key);
                }
            }
        }
        applied.outcome
    }

    pub(super) fn must_be_whole(&self, seed: u64) {
        let report = verify::tests::report(&self.state);
        assert!(report.is_whole(), "seed {seed}, version {}, after {}: {report}", self.version, self.next);
    }
}
