//! The chat machine: what a committed command does to the state. Pure.
//!
//! `apply(view, context, command) -> (outcome, writes, events)`: no clock, no randomness, no map order, no IO but reads of the
//! view. Time is the entry's log time. The machine never fails: what may not be is rejected, alike on every replica. Only a
//! broken disk below the view is an error, and stops the replica.

mod accounts;
mod conversations;
mod dedup;
pub mod join;
mod messages;
pub mod records;
mod tables;
mod topics;

use quorate_proto::error::ErrorCode;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Command, Done, Event, Outcome, Rejected, outcome};

use crate::store::{StoreError, Transaction, View, Writes};

pub use tables::Tables;

/// What an entry is: where it stands and when it was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Log index.
    pub index: u64,
    /// Term.
    pub term: u64,
    /// Log time, ms since the Unix epoch; never less than the entry's before.
    pub log_time_ms: u64,
}

/// What an entry did.
#[derive(Debug)]
pub struct Applied {
    /// The answer to whoever proposed it.
    pub outcome: Outcome,
    /// What changes in the state.
    pub writes: Writes,
    /// What is pushed to those concerned, in order.
    pub events: Vec<Event>,
}

/// Why a command was refused: becomes an outcome, the same everywhere.
#[derive(Debug)]
enum Refusal {
    /// Not to be done.
    Rejected(ErrorCode, String),
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
}

/// Applies one command to a view of the state before it.
///
/// # Errors
/// Only when the view's disk fails.
pub fn apply<V: View>(view: &V, context: Context, command: &Command) -> Result<Applied, StoreError> {
    let mut step = Step { context, state: Transaction::new(view), events: Vec::new() };
    step.forget_expired()?;
    let known = step.known_outcome(command)?;
    let outcome = match known {
        Some(outcome) => outcome,
        None => match step.act(command) {
            Ok(result) => {
                let outcome = step.outcome(result);
                step.remember(command, &outcome)?;
                outcome
            }
            Err(Refusal::Store(error)) => return Err(error),
            Err(Refusal::Rejected(code, message)) => {
                // A refused command leaves no trace but the expiries that were due anyway.
                step = Step { context, state: Transaction::new(view), events: Vec::new() };
                step.forget_expired()?;
                step.outcome(rejection(code, message))
            }
        },
    };
    Ok(Applied { outcome, writes: step.state.into_writes(), events: step.events })
}

/// Applies an entry without a command: time moves on, and what is due with it is done.
///
/// # Errors
/// Only when the view's disk fails.
pub fn tick<V: View>(view: &V, context: Context) -> Result<Writes, StoreError> {
    let mut step = Step { context, state: Transaction::new(view), events: Vec::new() };
    step.forget_expired()?;
    Ok(step.state.into_writes())
}

/// What an entry with undecodable bytes comes to. The leader refuses such bytes before it proposes them.
pub fn undecodable(context: Context) -> Outcome {
    let result = rejection(ErrorCode::Malformed, "the entry's bytes are no command".to_owned());
    Outcome {
        index: context.index,
        term: context.term,
        log_time_ms: context.log_time_ms,
        replay: false,
        result: Some(result),
    }
}

fn rejection(code: ErrorCode, message: String) -> outcome::Result {
    outcome::Result::Rejected(Rejected { code: code.word().to_owned(), message })
}

impl<V: View> Step<'_, V> {
    fn outcome(&self, result: outcome::Result) -> Outcome {
        let Context { index, term, log_time_ms } = self.context;
        Outcome { index, term, log_time_ms, replay: false, result: Some(result) }
    }

    fn act(&mut self, command: &Command) -> Decision<outcome::Result> {
        let Some(action) = &command.action else {
            return rejected(ErrorCode::Unsupported, "this replica does not know the command");
        };
        self.check_age(command)?;
        match action {
            Action::CreateUser(create) => self.create_user(create),
            Action::CreateSession(create) => self.create_session(create),
            Action::AddSigningKey(add) => self.add_signing_key(add),
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
                    Action::CreateUser(_) | Action::CreateSession(_) | Action::AddSigningKey(_) => {
                        unreachable!("matched above")
                    }
                }
            }
        }
    }
}

fn done() -> outcome::Result {
    outcome::Result::Done(Done {})
}

#[cfg(test)]
mod tests;
