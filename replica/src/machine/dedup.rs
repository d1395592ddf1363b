//! Exactly once: command ids are remembered with what they did, for 72 h of log time.

use bytes::Bytes;
use quorate_proto::error::{Certainty, ErrorCode};
use quorate_proto::limits::{COMMANDS_REMEMBERED_PER_USER_MAX, DEDUP_MS, SIGN_INS_REMEMBERED_MAX};
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Command, Outcome};

use super::records::{Dedup, DedupExpiry};
use super::{Decision, Step, Tables as _, rejected, rejection};
use crate::planted::{self, Bug};
use crate::store::{StoreError, View};

/// Ids forgotten per entry at most: bounds the work of one entry, and is far more than one entry adds.
const EXPIRIES_PER_ENTRY_MAX: usize = 256;

/// What must be alike in two commands with one id. Left out: what differs between two attempts of the same wish (when it
/// was first sent, through which session) and what the gateway draws anew (salts, session secrets). Not a token's secret, which is
/// shown to its owner: the second one would be good for nothing, so the second time it is a conflict. A field that is added to
/// a command later must wait for a machine version: an older program does not see it, here and in what apply does.
fn fingerprint(command: &Command) -> Bytes {
    let Some(action) = &command.action else { return digest(&[]) };
    // What is sent all the time has nothing that is left out: it is not copied for this.
    if !is_trimmed(action) {
        return digest(&encoded(action));
    }
    let mut action = action.clone();
    match &mut action {
        Action::CreateUser(create) => create.password_phc.clear(),
        Action::CreateSession(create) => {
            create.session_id = Bytes::new();
            create.refresh_hash = Bytes::new();
            // Also: an older program does not see these.
            create.family_hash = Bytes::new();
            create.known_session_id = Bytes::new();
            create.known_family_hash = Bytes::new();
            create.password_mark = Bytes::new();
        }
        Action::SetPassword(set) => set.password_phc.clear(),
        Action::CommitFile(commit) => {
            commit.receipts.clear();
            commit.received_ms = 0;
        }
        _ => {}
    }
    digest(&encoded(&action))
}

/// Whether parts of an action are left out of its fingerprint.
fn is_trimmed(action: &Action) -> bool {
    use Action::{CommitFile, CreateSession, CreateUser, SetPassword};
    matches!(action, CreateUser(_) | CreateSession(_) | SetPassword(_) | CommitFile(_))
}

/// The bytes of a command that has nothing but this action.
fn encoded(action: &Action) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(action.encoded_len());
    action.encode(&mut bytes);
    bytes
}

fn digest(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&blake3::hash(bytes).as_bytes()[..16])
}

fn id_of(command: &Command) -> Option<&[u8; 16]> {
    command.command_id.as_ref().try_into().ok()
}

/// Whether a refusal is remembered: one that is final, so that no late copy of the command can still have an effect after
/// its sender was told. The two that speak of the id itself would be repeated anyway. Refused sign-ups are not remembered:
/// anybody can make them, and they share one memory.
pub(super) fn is_final(command: &Command, code: ErrorCode) -> bool {
    code.row().certainty == Certainty::Rejected
        && !matches!(code, ErrorCode::IdConflict | ErrorCode::Expired)
        && command.user_id != 0
}

/// Whether a command is remembered. Read marks are not: taking the maximum twice is taking it once; nor is when users were seen.
/// Nor are those that anybody can send without an account: the second time they find what the first did, and a memory that all
/// share could be filled by one. Nor what gateways say of webhooks: it is said every few seconds, and alike the second time.
fn is_remembered(command: &Command) -> bool {
    use Action::{CountAttempt, LeaseHooks, MarkRead, RecordSeen, RefreshSession, ResetPassword, SettleHook};
    !matches!(
        command.action,
        Some(
            MarkRead(_)
                | CountAttempt(_)
                | RefreshSession(_)
                | ResetPassword(_)
                | RecordSeen(_)
                | LeaseHooks(_)
                | SettleHook(_)
        )
    )
}

impl<V: View> Step<'_, V> {
    /// The outcome of an earlier command with the same id, if there was one. Asked before permissions and limits: a retry
    /// gets its original answer even after a ban.
    pub(super) fn known_outcome(&self, command: &Command) -> Result<Option<Outcome>, StoreError> {
        let Some(id) = id_of(command) else {
            let message = "a command needs a client message id of 16 bytes".to_owned();
            return Ok(Some(self.outcome(rejection(ErrorCode::Invalid, message))));
        };
        if !is_remembered(command) || planted::is(Bug::DropDedup) {
            return Ok(None);
        }
        let Some(known) = self.state.dedup(command.user_id, id)? else { return Ok(None) };
        if known.fingerprint != fingerprint(command) {
            let message = "this client message id was used before for something else".to_owned();
            return Ok(Some(self.outcome(rejection(ErrorCode::IdConflict, message))));
        }
        Ok(known.outcome.map(|outcome| Outcome { replay: true, ..outcome }))
    }

    /// Remembers what a command did.
    pub(super) fn remember(&mut self, command: &Command, outcome: &Outcome) -> Result<(), StoreError> {
        let Some(id) = id_of(command).filter(|_| is_remembered(command)) else { return Ok(()) };
        let record = Dedup { fingerprint: fingerprint(command), outcome: Some(outcome.clone()) };
        self.state.put_dedup(command.user_id, id, &record);
        let count = self.state.dedup_count(command.user_id)?;
        self.state.put_dedup_count(command.user_id, count + 1);
        let mut queue = self.state.dedup_queue()?;
        let expiry = DedupExpiry {
            log_time_ms: self.context.log_time_ms,
            user_id: command.user_id,
            command_id: command.command_id.clone(),
        };
        self.state.put_dedup_expiry(queue.tail, &expiry);
        if queue.head == queue.tail {
            queue.oldest_ms = self.context.log_time_ms;
        }
        queue.tail += 1;
        self.state.put_dedup_queue(&queue);
        Ok(())
    }

    /// Forgets ids that are older than 72 h of log time.
    pub(super) fn forget_expired(&mut self) -> Result<(), StoreError> {
        let mut queue = self.state.dedup_queue()?;
        let now = self.context.log_time_ms;
        if queue.head == queue.tail || queue.oldest_ms + DEDUP_MS > now {
            return Ok(());
        }
        let oldest = self.state.dedup_expiries(queue.head, EXPIRIES_PER_ENTRY_MAX + 1)?;
        for (at, (number, expiry, bytes)) in oldest.into_iter().enumerate() {
            queue.oldest_ms = expiry.log_time_ms;
            if expiry.log_time_ms + DEDUP_MS > now || at == EXPIRIES_PER_ENTRY_MAX {
                break;
            }
            if let Ok(id) = expiry.command_id.as_ref().try_into() {
                self.state.delete_dedup(expiry.user_id, id);
            }
            let count = self.state.dedup_count(expiry.user_id)?;
            self.state.put_dedup_count(expiry.user_id, count.saturating_sub(1));
            self.state.delete_dedup_expiry(number, bytes);
            queue.head = number + 1;
        }
        self.state.put_dedup_queue(&queue);
        Ok(())
    }

    /// Refuses a command that could not be remembered: nothing is forgotten early to make room for it.
    pub(super) fn check_quota(&self, command: &Command) -> Decision<()> {
        let max = match command.user_id {
            0 => SIGN_INS_REMEMBERED_MAX,
            _ => COMMANDS_REMEMBERED_PER_USER_MAX,
        };
        // Those of nobody are the leader's own.
        if command.user_id == 0 && super::is_internal(command) {
            return Ok(());
        }
        if is_remembered(command) && self.state.dedup_count(command.user_id)? >= max {
            return rejected(
                ErrorCode::RateLimited,
                "too many commands in the last 72 hours: wait until the oldest are forgotten",
            );
        }
        Ok(())
    }

    /// Refuses a command whose id may have been forgotten already.
    pub(super) fn check_age(&self, command: &Command) -> Decision<()> {
        let sent = command.first_sent_ms;
        if sent != 0 && sent.saturating_add(DEDUP_MS) <= self.context.log_time_ms {
            return rejected(
                ErrorCode::Expired,
                "first sent more than 72 hours ago: send it as a new message",
            );
        }
        Ok(())
    }
}
