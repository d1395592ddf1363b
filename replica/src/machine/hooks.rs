//! Outgoing webhooks: where a bot is told of what people say, what waits to be told, and which gateway tells it.
//!
//! An item is a reference to an event, numbered without gaps for each webhook; the event is joined when it is read, as the bot may
//! see it then. One gateway at a time tells and settles them in order, so what waits is always one range of numbers. A webhook that
//! is dropped leaves its range behind, and `due` erases it piece by piece.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::{HOOK_LEASE_MS_MAX, HOOK_URL_BYTES_MAX, HOOK_WAITING_MAX};
use quorate_proto::rpc::{self, outcome};

use super::bots::is_id;
use super::records::{Conversation, DueKind, Hook, HookEvent, HookLease};
use super::{BotTables as _, Decision, Step, Tables as _, done, rejected, scopes};
use crate::store::{StoreError, View};

/// Items that one entry settles or erases: one key each.
const SETTLED_PER_ENTRY_MAX: u64 = 256;
/// Longest reason kept, in characters: a line for the bot's owner.
const ERROR_CHARS_MAX: usize = 200;
/// Why an item is given up that finds too many before it.
const TOO_MUCH_WAITS: &str = "too much waits already";

/// A plausible address; the gateway looks at it more closely when it is set and each time before it connects.
fn check_url(url: &str) -> Decision<()> {
    if url.len() > HOOK_URL_BYTES_MAX {
        return rejected(ErrorCode::TooLarge, "the address of a webhook has at most 1,000 bytes");
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if !rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())) {
        return rejected(ErrorCode::Invalid, "the address of a webhook begins with https:// or http://");
    }
    Ok(())
}

/// A reason as it is kept: one line of bounded length.
fn reason(error: &str) -> String {
    error.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect()
}

impl Hook {
    fn give_up(&mut self, why: &str, now_ms: u64) {
        self.given_up += 1;
        self.last_error = reason(why);
        self.last_error_ms = now_ms;
    }

    fn forget_errors(&mut self) {
        (self.given_up, self.last_error_ms) = (0, 0);
        self.last_error.clear();
    }
}

impl<V: View> Step<'_, V> {
    pub(super) fn set_hook(&mut self, by: u64, set: &rpc::SetHook) -> Decision<outcome::Result> {
        let id = set.bot_id;
        if id == by {
            return rejected(ErrorCode::Invalid, "only bots have webhooks");
        }
        self.check_own(by, id)?;
        if set.url.is_empty() {
            self.drop_hook(id)?;
            return Ok(done());
        }
        check_url(&set.url)?;
        let mut hook =
            self.state.hook(id)?.unwrap_or(Hook { first: 1, next: 1, erased: 1, ..Hook::default() });
        if !hook.is_set() {
            self.count_hook(true)?;
        }
        // One that was dropped comes back with another secret.
        if !hook.is_set() || set.new_secret {
            hook.generation += 1;
        }
        hook.url.clone_from(&set.url);
        hook.mentions_only = set.mentions_only;
        hook.forget_errors();
        self.state.put_hook(id, &hook);
        Ok(done())
    }

    fn count_hook(&mut self, is_one_more: bool) -> Result<(), StoreError> {
        let mut counters = self.state.counters()?;
        counters.hooks = if is_one_more { counters.hooks + 1 } else { counters.hooks.saturating_sub(1) };
        self.state.put_counters(&counters);
        Ok(())
    }

    /// A bot is told nothing more, and what waits is dropped.
    pub(super) fn drop_hook(&mut self, bot_id: u64) -> Result<(), StoreError> {
        let Some(mut hook) = self.state.hook(bot_id)?.filter(Hook::is_set) else { return Ok(()) };
        self.count_hook(false)?;
        hook.url.clear();
        hook.mentions_only = false;
        hook.forget_errors();
        // Something that was dropped before is being erased: it goes on to the new end.
        let is_erasing = hook.erased < hook.first;
        hook.first = hook.next;
        if !is_erasing && hook.erased < hook.first {
            self.due(self.context.log_time_ms, DueKind::EraseHook(bot_id))?;
        }
        self.state.put_hook(bot_id, &hook);
        Ok(())
    }

    /// One turn of erasing what was dropped.
    pub(super) fn erase_hook(&mut self, bot_id: u64) -> Result<(), StoreError> {
        let Some(mut hook) = self.state.hook(bot_id)? else { return Ok(()) };
        let to = hook.first.min(hook.erased.saturating_add(SETTLED_PER_ENTRY_MAX));
        for number in hook.erased..to {
            self.state.delete_hook_event(bot_id, number);
        }
        hook.erased = to;
        if hook.erased < hook.first {
            self.due(self.context.log_time_ms, DueKind::EraseHook(bot_id))?;
        }
        self.state.put_hook(bot_id, &hook);
        Ok(())
    }

    /// The newest event of a conversation is something that somebody said, changed or took back: the bots there whose webhooks ask
    /// for it are to be told. `named` are those whom it names. What bots say is told to none, or two would talk for ever.
    pub(super) fn tell_hooks(
        &mut self,
        by: u64,
        (id, conversation): (u64, &Conversation),
        named: &[u64],
    ) -> Result<(), StoreError> {
        // Of nearly all conversations: no bots, nothing looked up.
        if conversation.bots.is_empty() || self.state.user(by)?.is_none_or(|user| user.is_bot()) {
            return Ok(());
        }
        let now_ms = self.context.log_time_ms;
        for bot in &conversation.bots {
            let Some(mut hook) = self.state.hook(*bot)?.filter(Hook::is_set) else { continue };
            let concerns = !hook.mentions_only || !conversation.is_group() || named.contains(bot);
            if !concerns || !scopes::can_act(&self.state, *bot)? {
                continue;
            }
            if hook.waiting() >= HOOK_WAITING_MAX {
                hook.give_up(TOO_MUCH_WAITS, now_ms);
            } else {
                let version = conversation.version;
                let event = HookEvent { conversation_id: id, version, log_time_ms: now_ms };
                self.state.put_hook_event(*bot, hook.next, &event);
                hook.next += 1;
            }
            self.state.put_hook(*bot, &hook);
        }
        Ok(())
    }

    /// One gateway has the lease until it ends, by log time, and may lengthen it before and after.
    pub(super) fn lease_hooks(&mut self, asked: &rpc::LeaseHooks) -> Decision<outcome::Result> {
        let rpc::LeaseHooks { holder, lasts_ms } = asked;
        if !is_id(holder) || *lasts_ms > HOOK_LEASE_MS_MAX {
            return rejected(ErrorCode::Invalid, "a holder has 16 bytes, and a lease lasts a minute at most");
        }
        let now_ms = self.context.log_time_ms;
        let lease = self.state.hook_lease()?;
        let is_others = lease.as_ref().is_some_and(|lease| lease.holder != *holder && now_ms < lease.ends_ms);
        if *lasts_ms == 0 {
            // Given back by who has it; of another's nothing changes.
            if lease.is_some_and(|lease| lease.holder == *holder) {
                self.state.put_hook_lease(None);
            }
            return Ok(done());
        }
        if is_others {
            return rejected(ErrorCode::Conflict, "another gateway tells webhooks");
        }
        let ends_ms = now_ms.saturating_add(u64::from(*lasts_ms));
        self.state.put_hook_lease(Some(&HookLease { holder: holder.clone(), ends_ms }));
        Ok(done())
    }

    /// Settled twice is settled once: what lies before the first that waits is no question any more.
    pub(super) fn settle_hook(&mut self, settle: &rpc::SettleHook) -> Decision<outcome::Result> {
        let (id, through, now_ms) = (settle.bot_id, settle.through, self.context.log_time_ms);
        let lease = self.state.hook_lease()?;
        if !lease.is_some_and(|lease| lease.holder == settle.holder && now_ms < lease.ends_ms) {
            return rejected(
                ErrorCode::Conflict,
                "another gateway tells webhooks, or may: take the lease first",
            );
        }
        let Some(mut hook) = self.state.hook(id)? else {
            return rejected(ErrorCode::NotFound, "there is no such webhook");
        };
        if through < hook.first {
            return Ok(done());
        }
        if through >= hook.next || through - hook.first >= SETTLED_PER_ENTRY_MAX {
            return rejected(ErrorCode::Invalid, "so much does not wait, or is settled at once");
        }
        // Where something older is still being erased, these go with it.
        if hook.erased == hook.first {
            for number in hook.first..=through {
                self.state.delete_hook_event(id, number);
            }
            hook.erased = through + 1;
        }
        hook.first = through + 1;
        if !settle.error.is_empty() {
            hook.give_up(&settle.error, now_ms);
        }
        self.state.put_hook(id, &hook);
        Ok(done())
    }
}
