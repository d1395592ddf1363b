//! Bots, tokens and webhooks, counted again: whose bots are, where they are, and that what waits is one range without gaps.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use quorate_proto::limits::HOOK_WAITING_MAX;

use super::{Report, decode, number};
use crate::machine::records::{
    Conversation, Counters, Due, DueKind, Hook, HookEvent, HookLease, Member, ROLE_ADMIN, Session, User,
};
use crate::machine::scopes;
use crate::store::{Key, Space, StoreError};

/// One webhook as its record has it, and what was found.
#[derive(Debug, Default)]
struct Found {
    hook: Hook,
    is_listed: bool,
    /// The number that the next item must have.
    next: u64,
    items: u64,
}

/// What is remembered while the rest goes by. Keys come in order: users, sessions, conversations, members, what is due, webhooks,
/// then their items.
#[derive(Debug, Default)]
pub(super) struct Bots {
    bots: HashSet<u64>,
    /// Bots that were deleted: none may be told anything.
    deleted: HashSet<u64>,
    /// (owner, bot), crossed out by the list of the owner.
    owned: BTreeSet<(u64, u64)>,
    /// Versions that conversations have reached.
    versions: HashMap<u64, u64>,
    /// (conversation, bot) as conversations say, and as memberships do.
    said: BTreeSet<(u64, u64)>,
    present: BTreeSet<(u64, u64)>,
    /// Webhooks of which something dropped is being erased.
    erasing: BTreeSet<u64>,
    hooks: HashMap<u64, Found>,
}

impl Bots {
    pub(super) fn user(&mut self, id: u64, user: &User, users: &HashSet<u64>, report: &mut Report) {
        if !user.is_bot() {
            return;
        }
        let owner = user.owner_id;
        if !users.contains(&owner) || self.bots.contains(&owner) {
            report.problem(format!("bot {id} is of user {owner}, who is none or a bot"));
        }
        if !user.password_phc.is_empty() || !user.reset_hash.is_empty() || user.role == ROLE_ADMIN {
            report.problem(format!("bot {id} has what only people have"));
        }
        self.bots.insert(id);
        if user.is_deleted() {
            self.deleted.insert(id);
        } else {
            self.owned.insert((owner, id));
        }
    }

    pub(super) fn session(&mut self, session: &Session, report: &mut Report) {
        let user = session.user_id;
        if session.scopes & !scopes::ALL != 0
            || (session.only_conversation != 0 && session.scopes != scopes::SEND)
            || (!session.is_token() && session.ends_ms != 0)
        {
            report.problem(format!("user {user} has a token that cannot be"));
        }
        if self.bots.contains(&user) && !session.is_token() {
            report.problem(format!("bot {user} is signed in"));
        }
    }

    pub(super) fn conversation(&mut self, id: u64, it: &Conversation, report: &mut Report) {
        if it.bots.iter().any(|bot| !self.said.insert((id, *bot))) {
            report.problem(format!("conversation {id} names a bot twice"));
        }
        self.versions.insert(id, it.version);
    }

    pub(super) fn member(&mut self, id: u64, user_id: u64, member: &Member) {
        if member.is_present() && self.bots.contains(&user_id) {
            self.present.insert((id, user_id));
        }
    }

    pub(super) fn due(&mut self, due: &Due, report: &mut Report) {
        if let Some(DueKind::EraseHook(bot)) = due.kind
            && !self.erasing.insert(bot)
        {
            report.problem(format!("what was dropped of webhook {bot} is erased twice"));
        }
    }

    /// The kind to count a record as.
    pub(super) fn record(
        &mut self,
        key: &Key,
        value: Bytes,
        report: &mut Report,
    ) -> Result<Option<&'static str>, StoreError> {
        const HOOK: u8 = Space::Hook as u8;
        const HOOK_LEASE: u8 = Space::HookLease as u8;
        const BOT_OF: u8 = Space::BotOf as u8;
        const HOOK_WAITING: u8 = Space::HookWaiting as u8;
        let raw = key.as_bytes();
        let id = number(raw.get(1..).unwrap_or_default());
        Ok(match raw[0] {
            HOOK => {
                let hook: Hook = decode(key, value)?;
                self.hook(id, hook, report);
                Some("webhooks")
            }
            HOOK_LEASE => {
                let lease: HookLease = decode(key, value)?;
                if lease.holder.len() != 16 {
                    report.problem("the lease of webhooks is nobody's".to_owned());
                }
                None
            }
            BOT_OF => {
                if !self.owned.remove(&(id, key.ordinal())) {
                    report.problem(format!("user {id} has bot {} listed that is not hers", key.ordinal()));
                }
                Some("bots")
            }
            HOOK_WAITING => {
                self.hooks.entry(id).or_default().is_listed = true;
                None
            }
            _ => {
                self.item(id, key.ordinal(), &decode(key, value)?, report);
                Some("items of webhooks")
            }
        })
    }

    fn hook(&mut self, id: u64, hook: Hook, report: &mut Report) {
        let Hook { first, next, erased, generation, .. } = hook;
        if !self.bots.contains(&id) || (hook.is_set() && self.deleted.contains(&id)) {
            report.problem(format!("user {id} has a webhook and is no bot, or was deleted"));
        }
        let is_in_order = 0 < erased && erased <= first && first <= next && generation > 0;
        if !is_in_order || (!hook.is_set() && first != next) || hook.waiting() > HOOK_WAITING_MAX {
            report.problem(format!("webhook {id} goes from {erased} over {first} to {next}"));
        }
        if self.erasing.remove(&id) != (erased < first) {
            report.problem(format!("what was dropped of webhook {id} is erased without need, or not at all"));
        }
        self.hooks.insert(id, Found { next: erased, hook, ..Found::default() });
    }

    fn item(&mut self, id: u64, place: u64, item: &HookEvent, report: &mut Report) {
        let found = self.hooks.entry(id).or_default();
        if place != found.next {
            report.problem(format!("webhook {id} goes from item {} to {place}", found.next));
        }
        found.next = place + 1;
        found.items += 1;
        let reached = self.versions.get(&item.conversation_id).copied().unwrap_or(0);
        if item.version == 0 || item.version > reached {
            report.problem(format!(
                "item {place} of webhook {id} is version {} of conversation {}, which has reached {reached}",
                item.version, item.conversation_id
            ));
        }
    }

    pub(super) fn finish(&self, counters: &Counters, problems: &mut Vec<String>) {
        for (owner, bot) in &self.owned {
            problems.push(format!("bot {bot} is not listed as user {owner}'s"));
        }
        for (conversation, bot) in self.said.symmetric_difference(&self.present) {
            problems
                .push(format!("bot {bot} is in conversation {conversation}, or said to be, and not both"));
        }
        for bot in &self.erasing {
            problems.push(format!("what was dropped of webhook {bot} is erased, and there is none"));
        }
        for (id, found) in &self.hooks {
            let Hook { next, erased, .. } = found.hook;
            if (next, next.saturating_sub(erased)) != (found.next, found.items) {
                problems.push(format!("webhook {id} says items {erased} to {next} and has {}", found.items));
            }
            if found.is_listed != (found.hook.waiting() > 0) {
                problems.push(format!("webhook {id} waits, or is listed as waiting, and not both"));
            }
        }
        let set = self.hooks.values().filter(|found| found.hook.is_set()).count() as u64;
        if set != counters.hooks {
            problems.push(format!("the counters say {} webhooks, and there are {set}", counters.hooks));
        }
    }
}
