//! The chat machine: what a committed command does to the state. Pure.
//!
//! `apply(view, context, command) -> (outcome, writes, events)`: no clock, no randomness, no map order, no IO but reads of the
//! view. Time is the entry's log time. The machine never fails: what may not be is rejected, alike on every replica. Only a
//! broken disk below the view is an error, and stops the replica.

mod accounts;
mod administration;
mod attempts;
pub mod audit;
mod avatars;
mod bots;
mod conversations;
mod dedup;
mod deletions;
mod drafts;
mod due;
mod edits;
pub mod files;
mod hooks;
mod invites;
pub mod join;
mod mentions;
mod messages;
mod pins;
mod preferences;
mod profiles;
mod reactions;
pub mod records;
mod reports;
mod resets;
mod roles;
mod saved;
mod scheduled;
pub mod scopes;
mod sessions;
pub mod sight;
pub(crate) mod tables;
mod topics;

use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Command, Done, Event, Outcome, Rejected, outcome};

use crate::store::{Before, StoreError, Transaction, View, Writes};

pub use mentions::{Unread, unread};
pub use tables::BotTables;
pub use tables::GroupTables;
pub use tables::MessageTables;
pub use tables::PeopleTables;
pub use tables::Tables;

/// The highest machine version that this build supports. 1 is the first; 2 edits messages; 3 counts attempts to sign in, lists
/// and refreshes sessions, changes passwords, has admins, and removes signing keys; 4 is everything else that people do in a chat,
/// but for files, which 5 has, bots, tokens and webhooks, which 6 has, and avatars, the record of an admin's export, and bots that leave
/// a group with their owners, which 7 has; 8 is the record of what admins change about the cluster itself.
pub const VERSION_MAX: u32 = 8;
/// See [`VERSION_MAX`].
pub const VERSION_ACCOUNTS: u32 = 3;
/// See [`VERSION_MAX`].
pub const VERSION_DOMAIN: u32 = 4;
/// See [`VERSION_MAX`].
pub const VERSION_FILES: u32 = 5;
/// See [`VERSION_MAX`].
pub const VERSION_BOTS: u32 = 6;
/// See [`VERSION_MAX`].
pub const VERSION_AVATARS: u32 = 7;
/// See [`VERSION_MAX`].
pub const VERSION_CLUSTER: u32 = 8;

/// What an entry is: where it stands and when it was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Log index.
    pub index: u64,
    /// Term.
    pub term: u64,
    /// Log time, ms since the Unix epoch; never less than the entry's before.
    pub log_time_ms: u64,
    /// The rules to apply by: as the state before says.
    pub machine_version: u32,
}

/// What an entry did.
#[derive(Debug)]
pub struct Applied {
    /// The answer to whoever proposed it.
    pub outcome: Outcome,
    /// What changes in the state.
    pub writes: Writes,
    /// What is known of what the writes replace.
    pub before: Before,
    /// What is pushed to those concerned, in order.
    pub events: Vec<Event>,
    /// The machine version from the next entry on, if this one raised it.
    pub machine_version: Option<u32>,
}

/// Why a command was refused: becomes an outcome, the same everywhere.
#[derive(Debug)]
enum Refusal {
    /// Not to be done.
    Rejected(ErrorCode, String),
    /// Something else is there than was expected: at this revision.
    Conflict(u64),
    /// The disk below failed.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Refusal::Store(error)
    }
}

impl From<quorate_proto::text::TextError> for Refusal {
    fn from(error: quorate_proto::text::TextError) -> Self {
        Refusal::Rejected(ErrorCode::Invalid, error.to_string())
    }
}

type Decision<T> = Result<T, Refusal>;

fn rejected<T>(code: ErrorCode, message: &str) -> Decision<T> {
    Err(Refusal::Rejected(code, message.to_owned()))
}

/// One command being applied.
struct Step<'a, V> {
    context: Context,
    state: Transaction<'a, V>,
    events: Vec<Event>,
    machine_version: Option<u32>,
    voters: &'a [Vec<u64>],
    /// What the token is good for that the command came by; 0 without one. See `Step::is_by_token`.
    token_scopes: u32,
    /// Memberships that were read to find groups new owners.
    looked_at: usize,
}

/// Applies one command to a view of the state before it, where there are no voters.
///
/// # Errors
/// Only when the view's disk fails.
pub fn apply<V: View>(view: &V, context: Context, command: &Command) -> Result<Applied, StoreError> {
    apply_among(&[], view, context, command)
}

/// Applies one command to a view of the state before it. `voters` are the replicas that vote when the entry is applied: one set,
/// or two while the membership changes.
///
/// # Errors
/// Only when the view's disk fails.
pub fn apply_among<V: View>(
    voters: &[Vec<u64>],
    view: &V,
    context: Context,
    command: &Command,
) -> Result<Applied, StoreError> {
    let as_read;
    let command = match as_older_programs_read(command, context.machine_version) {
        None => command,
        Some(older) => {
            as_read = older;
            &as_read
        }
    };
    let mut step = Step { voters, ..Step::begin(view, context)? };
    let outcome = match step.known_outcome(command)? {
        Some(outcome) => outcome,
        None => match step.act(command) {
            Ok(result) => {
                let outcome = step.outcome(result);
                step.remember(command, &outcome)?;
                outcome
            }
            Err(refusal) => {
                let (code, rejected) = refusal.told()?;
                // A refused command leaves no trace but that it was refused for good, and what was due anyway.
                step = Step::begin(view, context)?;
                let outcome = step.outcome(outcome::Result::Rejected(rejected));
                if dedup::is_final(command, code) {
                    step.remember(command, &outcome)?;
                }
                outcome
            }
        },
    };
    let (writes, before) = step.state.into_parts();
    Ok(Applied { outcome, writes, before, events: step.events, machine_version: step.machine_version })
}

/// Applies an entry without a command: time moves on, and what is due with it is done.
///
/// # Errors
/// Only when the view's disk fails.
pub fn tick<V: View>(view: &V, context: Context) -> Result<(Writes, Before, Vec<Event>), StoreError> {
    let step = Step::begin(view, context)?;
    let (writes, before) = step.state.into_parts();
    Ok((writes, before, step.events))
}

/// What an entry with undecodable bytes comes to. The leader refuses such bytes before it proposes them.
pub fn undecodable(context: Context) -> Applied {
    let Context { index, term, log_time_ms, .. } = context;
    let result = Some(rejection(ErrorCode::Malformed, "the entry's bytes are no command".to_owned()));
    Applied {
        outcome: Outcome { index, term, log_time_ms, replay: false, result },
        writes: Writes::new(),
        before: Before::new(),
        events: Vec::new(),
        machine_version: None,
    }
}

fn rejection(code: ErrorCode, message: String) -> outcome::Result {
    outcome::Result::Rejected(Rejected { code: code.word().to_owned(), message, revision: None })
}

impl Refusal {
    /// What the caller is told.
    fn told(self) -> Result<(ErrorCode, Rejected), StoreError> {
        let (code, message, revision) = match self {
            Refusal::Rejected(code, message) => (code, message, None),
            Refusal::Conflict(revision) => {
                let message = format!("it was changed meanwhile and is at revision {revision}");
                (ErrorCode::Conflict, message, Some(revision))
            }
            Refusal::Store(error) => return Err(error),
        };
        Ok((code, Rejected { code: code.word().to_owned(), message, revision }))
    }
}

impl<'a, V: View> Step<'a, V> {
    /// An entry's own transaction, with what is due at its log time done.
    fn begin(view: &'a V, context: Context) -> Result<Self, StoreError> {
        let state = Transaction::new(view);
        let mut step = Self {
            context,
            state,
            events: Vec::new(),
            machine_version: None,
            voters: &[],
            token_scopes: 0,
            looked_at: 0,
        };
        step.forget_expired()?;
        step.do_due()?;
        step.forget_files()?;
        Ok(step)
    }

    fn outcome(&self, result: outcome::Result) -> Outcome {
        let Context { index, term, log_time_ms, .. } = self.context;
        Outcome { index, term, log_time_ms, replay: false, result: Some(result) }
    }

    fn act(&mut self, command: &Command) -> Decision<outcome::Result> {
        let Some(action) = &command.action else {
            return rejected(ErrorCode::Unsupported, "this replica does not know the command");
        };
        self.check_age(command)?;
        self.check_quota(command)?;
        match action {
            Action::CreateUser(create) => self.create_user(create),
            Action::CreateSession(create) => self.create_session(create),
            Action::AddSigningKey(add) => self.add_signing_key(add),
            Action::SetMachineVersion(set) => self.set_machine_version(set.version),
            Action::CountAttempt(asked) => self.count_attempt(command, asked),
            Action::RefreshSession(asked) => self.refresh_session(asked),
            Action::RemoveSigningKey(remove) => self.remove_signing_key(remove),
            Action::OfferAdmin(offer) => self.offer_admin(offer),
            Action::ResetPassword(reset) => self.reset_password(command, reset),
            Action::RecordSeen(seen) => self.record_seen(seen),
            Action::LeaseHooks(asked) => self.lease_hooks(asked),
            Action::SettleHook(settle) => self.settle_hook(settle),
            _ => {
                self.check_session(command)?;
                let by = command.user_id;
                match action {
                    Action::EndSession(end) => self.end_session(by, end),
                    Action::CreateDirect(create) => self.create_direct(by, create.peer_id),
                    Action::CreateGroup(create) => self.create_group(by, create),
                    Action::AddMember(add) => self.add_member(by, add.conversation_id, add.user_id),
                    Action::RemoveMember(remove) => {
                        self.remove_member(by, remove.conversation_id, remove.user_id)
                    }
                    Action::Send(send) => self.send(by, &command.command_id, send),
                    Action::MarkRead(mark) => self.mark_read(by, mark.conversation_id, mark.sequence),
                    Action::Edit(edit) => self.edit(by, edit),
                    Action::EndOtherSessions(_) => self.end_other_sessions(by, &command.session_id),
                    Action::SetPassword(set) => self.set_password(by, &command.session_id, set),
                    Action::ClaimAdmin(claim) => self.claim_admin(by, claim),
                    Action::DeleteMessages(delete) => self.delete_messages(by, delete),
                    Action::HideMessages(hide) => self.hide_messages(by, hide),
                    Action::React(react) => self.react(by, react),
                    Action::Pin(pin) => self.pin(by, pin),
                    Action::SaveMessage(save) => self.save_message(by, save),
                    Action::SetDraft(draft) => self.set_draft(by, draft),
                    Action::Schedule(schedule) => self.schedule(by, schedule),
                    Action::CancelScheduled(cancel) => self.cancel_scheduled(by, cancel),
                    Action::ChangeConversation(change) => self.change_conversation(by, change),
                    Action::SetMemberRole(set) => self.set_member_role(by, set),
                    Action::Ban(ban) => self.ban(by, ban),
                    Action::Join(join) => self.join_by_herself(by, join),
                    Action::MakeInvite(make) => self.make_invite(by, make),
                    Action::EndInvite(end) => self.end_invite(by, end),
                    Action::Prefer(prefer) => self.prefer(by, prefer),
                    Action::SetProfile(set) => self.set_profile(by, set),
                    Action::DeleteUser(delete) => self.delete_user(by, delete),
                    Action::Block(block) => self.block(by, block),
                    Action::Report(report) => self.report(by, report),
                    Action::ResolveReport(resolve) => self.resolve_report(by, resolve),
                    Action::SetUserState(set) => self.set_user_state(by, set),
                    Action::OfferReset(offer) => self.offer_reset(by, offer),
                    Action::SetRecoveryCodes(set) => self.set_recovery_codes(by, set),
                    Action::CommitFile(commit) => self.commit_file(by, commit),
                    Action::DeleteFile(delete) => self.delete_file(by, &delete.file_id),
                    Action::CreateBot(create) => self.create_bot(by, create),
                    Action::MakeToken(make) => self.make_token(by, make),
                    Action::EndToken(end) => self.end_token(by, end),
                    Action::SetHook(set) => self.set_hook(by, set),
                    Action::RecordExport(export) => self.record_export(by, export),
                    Action::RecordClusterChange(record) => self.record_cluster_change(by, record),
                    Action::CreateUser(_)
                    | Action::CreateSession(_)
                    | Action::AddSigningKey(_)
                    | Action::SetMachineVersion(_)
                    | Action::CountAttempt(_)
                    | Action::RefreshSession(_)
                    | Action::RemoveSigningKey(_)
                    | Action::OfferAdmin(_)
                    | Action::ResetPassword(_)
                    | Action::RecordSeen(_)
                    | Action::LeaseHooks(_)
                    | Action::SettleHook(_) => unreachable!("matched above"),
                }
            }
        }
    }
}

impl<V: View> Step<'_, V> {
    /// One at a time, so that each step was agreed to by itself.
    fn set_machine_version(&mut self, version: u32) -> Decision<outcome::Result> {
        let now = self.context.machine_version;
        if version != now.saturating_add(1) {
            let message = format!("the machine version is {now}: it rises by one at a time");
            return Err(Refusal::Rejected(ErrorCode::Invalid, message));
        }
        if version == VERSION_ACCOUNTS {
            self.list_sessions()?;
        }
        if version == VERSION_DOMAIN {
            // It is read by every entry from now on: one that is there is found without a look at the disk.
            self.state.put_due_head(&self.state.due_head()?);
        }
        self.audit_version(version)?;
        if version == VERSION_FILES {
            // Looked at by every entry: what is there is found in memory, what is not is looked for on disk.
            self.state.put_file_queue(&records::DedupQueue::default());
        }
        self.machine_version = Some(version);
        Ok(done())
    }
}

/// The machine version from which on every replica knows what a command asks for. A leader proposes it from then on only:
/// programs of the version before read a command without an action, and those of the version after must not do more.
pub fn needed_version(action: &Action) -> u32 {
    if has_avatar_fields(action) {
        return VERSION_AVATARS;
    }
    if has_file_fields(action) {
        return VERSION_FILES;
    }
    if has_domain_fields(action) {
        return VERSION_DOMAIN;
    }
    match action {
        Action::RecordClusterChange(_) => VERSION_CLUSTER,
        Action::RecordExport(_) => VERSION_AVATARS,
        Action::CommitFile(_) | Action::DeleteFile(_) => VERSION_FILES,
        Action::CreateBot(_)
        | Action::MakeToken(_)
        | Action::EndToken(_)
        | Action::SetHook(_)
        | Action::LeaseHooks(_)
        | Action::SettleHook(_) => VERSION_BOTS,
        Action::CreateUser(_)
        | Action::CreateSession(_)
        | Action::EndSession(_)
        | Action::CreateDirect(_)
        | Action::CreateGroup(_)
        | Action::AddMember(_)
        | Action::RemoveMember(_)
        | Action::Send(_)
        | Action::MarkRead(_)
        | Action::AddSigningKey(_)
        | Action::SetMachineVersion(_) => 1,
        Action::DeleteMessages(_)
        | Action::HideMessages(_)
        | Action::React(_)
        | Action::Pin(_)
        | Action::SaveMessage(_)
        | Action::SetDraft(_)
        | Action::Schedule(_)
        | Action::CancelScheduled(_)
        | Action::ChangeConversation(_)
        | Action::SetMemberRole(_)
        | Action::Ban(_)
        | Action::Join(_)
        | Action::MakeInvite(_)
        | Action::EndInvite(_)
        | Action::Prefer(_)
        | Action::SetProfile(_)
        | Action::DeleteUser(_)
        | Action::Block(_)
        | Action::Report(_)
        | Action::ResolveReport(_)
        | Action::SetUserState(_)
        | Action::OfferReset(_)
        | Action::ResetPassword(_)
        | Action::SetRecoveryCodes(_)
        | Action::RecordSeen(_) => VERSION_DOMAIN,
        Action::Edit(_) => edits::SINCE_VERSION,
        Action::CountAttempt(_)
        | Action::EndOtherSessions(_)
        | Action::SetPassword(_)
        | Action::RefreshSession(_)
        | Action::RemoveSigningKey(_)
        | Action::OfferAdmin(_)
        | Action::ClaimAdmin(_) => VERSION_ACCOUNTS,
    }
}

/// Whether an older action says what only programs of [`VERSION_DOMAIN`] read.
fn has_domain_fields(action: &Action) -> bool {
    match action {
        Action::Send(send) => send.forward.is_some(),
        Action::CreateGroup(create) => !create.topic.is_empty() || create.public || create.announcement,
        _ => false,
    }
}

/// Whether an older action says what only programs of [`VERSION_FILES`] read.
fn has_file_fields(action: &Action) -> bool {
    match action {
        Action::Send(send) => !send.attachments.is_empty(),
        _ => false,
    }
}

/// Whether an older action says what only programs of [`VERSION_AVATARS`] read.
fn has_avatar_fields(action: &Action) -> bool {
    match action {
        Action::SetProfile(set) => set.avatar.is_some(),
        Action::ChangeConversation(change) => change.avatar.is_some(),
        _ => false,
    }
}

/// The command as all programs that apply by this machine version read it, where that is not all of it: an older leader proposes a
/// gateway's bytes as they came. An action that only the newer programs know is none, and fields that they alone know are not
/// there, from the first look at the command on, or their states and outcomes would differ. Edits are the exception: programs of
/// version 2 refuse them under version 1 in words of their own.
fn as_older_programs_read(command: &Command, machine_version: u32) -> Option<Command> {
    let action = command.action.as_ref()?;
    let without_domain = machine_version < VERSION_DOMAIN && has_domain_fields(action);
    let without_files = machine_version < VERSION_FILES && has_file_fields(action);
    let without_avatars = machine_version < VERSION_AVATARS && has_avatar_fields(action);
    let mut older = None;
    if without_domain || without_files || without_avatars {
        let mut action = action.clone();
        match &mut action {
            Action::Send(send) => {
                send.attachments.clear();
                if without_domain {
                    send.forward = None;
                }
            }
            Action::CreateGroup(create) => {
                create.topic.clear();
                (create.public, create.announcement) = (false, false);
            }
            Action::SetProfile(set) => set.avatar = None,
            Action::ChangeConversation(change) => change.avatar = None,
            _ => {}
        }
        older = Some(action);
    }
    let needed = needed_version(older.as_ref().unwrap_or(action));
    let is_read = needed <= machine_version || needed < VERSION_ACCOUNTS;
    match older {
        None if is_read => None,
        older => Some(Command { action: older.filter(|_| is_read), ..command.clone() }),
    }
}

/// Whether only a leader may propose this, never a gateway.
pub fn is_internal(command: &Command) -> bool {
    use Action::{AddSigningKey, OfferAdmin, RecordClusterChange, RemoveSigningKey, SetMachineVersion};
    matches!(
        command.action,
        Some(
            AddSigningKey(_)
                | RemoveSigningKey(_)
                | OfferAdmin(_)
                | SetMachineVersion(_)
                | RecordClusterChange(_)
        )
    )
}

fn done() -> outcome::Result {
    outcome::Result::Done(Done {})
}

#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod authorization_tests;
#[cfg(test)]
mod avatar_tests;
#[cfg(test)]
mod bot_leave_tests;
#[cfg(test)]
mod bot_tests;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod due_tests;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod hook_tests;
#[cfg(test)]
mod message_model_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod older_tests;
#[cfg(test)]
mod people_tests;
#[cfg(test)]
mod stored_tests;
#[cfg(test)]
pub(crate) mod tests;
