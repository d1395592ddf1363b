//! The chat machine: what a committed command does to the state. Pure.
//!
//! `apply(view, context, command) -> (outcome, writes, events)`: no clock, no randomness, no map order, no IO but reads of the
//! view. Time is the entry's log time. The machine never fails: what may not be is rejected, alike on every replica. Only a
//! broken disk below the view is an error, and stops the replica.

mod accounts;
mod attempts;
mod conversations;
mod dedup;
mod edits;
pub mod join;
mod messages;
pub mod records;
mod sessions;
mod tables;
mod topics;

use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Command, Done, Event, Outcome, Rejected, outcome};

use crate::store::{Before, StoreError, Transaction, View, Writes};

pub use tables::Tables;

/// The highest machine version that this build supports. 1 is the first; 2 edits messages; 3 counts attempts to sign in, lists
/// and refreshes sessions, changes passwords, has admins, and removes signing keys.
pub const VERSION_MAX: u32 = 3;
/// See [`VERSION_MAX`].
pub const VERSION_ACCOUNTS: u32 = 3;

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
}

/// Applies one command to a view of the state before it.
///
/// # Errors
/// Only when the view's disk fails.
pub fn apply<V: View>(view: &V, context: Context, command: &Command) -> Result<Applied, StoreError> {
    let nameless;
    let command = if is_read_by_all(command, context.machine_version) {
        command
    } else {
        nameless = Command { action: None, ..command.clone() };
        &nameless
    };
    let mut step = Step::begin(view, context)?;
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
                // A refused command leaves no trace but that it was refused for good, and the expiries that were due anyway.
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
pub fn tick<V: View>(view: &V, context: Context) -> Result<(Writes, Before), StoreError> {
    let step = Step::begin(view, context)?;
    Ok(step.state.into_parts())
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
        let mut step = Self { context, state, events: Vec::new(), machine_version: None };
        step.forget_expired()?;
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
                    Action::CreateUser(_)
                    | Action::CreateSession(_)
                    | Action::AddSigningKey(_)
                    | Action::SetMachineVersion(_)
                    | Action::CountAttempt(_)
                    | Action::RefreshSession(_)
                    | Action::RemoveSigningKey(_)
                    | Action::OfferAdmin(_) => unreachable!("matched above"),
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
        self.machine_version = Some(version);
        Ok(done())
    }
}

/// The machine version from which on every replica knows what a command asks for. A leader proposes it from then on only:
/// programs of the version before read a command without an action, and those of the version after must not do more.
pub fn needed_version(action: &Action) -> u32 {
    match action {
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

/// Whether all programs that apply by this machine version read the action. One that only the newer of them read is applied as
/// the older ones do: as none, from the first look at the command on, or their states and outcomes would differ. Edits are the
/// exception: programs of version 2 refuse them under version 1 in words of their own.
fn is_read_by_all(command: &Command, machine_version: u32) -> bool {
    let needed = command.action.as_ref().map_or(1, needed_version);
    needed <= machine_version || needed < VERSION_ACCOUNTS
}

/// Whether only a leader may propose this, never a gateway.
pub fn is_internal(command: &Command) -> bool {
    use Action::{AddSigningKey, OfferAdmin, RemoveSigningKey, SetMachineVersion};
    matches!(
        command.action,
        Some(AddSigningKey(_) | RemoveSigningKey(_) | OfferAdmin(_) | SetMachineVersion(_))
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
pub(crate) mod tests;
