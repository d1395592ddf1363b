//! Line mode, for scripts: results on standard output, one a line; words for people on standard error.

mod list;
mod send;
mod sign;
mod tail;

use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use quorate_client::conversation::Conversation;
use quorate_client::proto::frame::ConversationKind;
use quorate_client::proto::ids::ConversationId;
use quorate_client::{Client, Effect};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::banner_words;
use crate::clean;
use crate::cli::{Order, Task};
use crate::driver::{Driver, News};
use crate::failure::{Failure, Result, Why};

pub use sign::{sign_in, sign_out};

/// Does what is asked for; the driver is settled by the caller.
///
/// # Errors
/// What came in between; see [`Why`] for the exit codes.
pub async fn run(driver: &mut Driver, order: &Order) -> Result<()> {
    match &order.task {
        Task::List => list::run(driver, order).await,
        Task::Tail { only, last } => tail::run(driver, order, only.as_deref(), *last).await,
        Task::Send { to, text } => send::run(driver, order, to, text).await,
        // These have no session to begin with; see `run` in the library.
        Task::Screen | Task::SignIn { .. } | Task::SignOut => Ok(()),
    }
}

/// Reads what may never come on a thread of its own, so that a signal ends this run all the same, and the thread with it.
async fn beside<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reader".to_owned());
    // Where nobody waits for it any more, this program is ending.
    let begun = thread.spawn(move || drop(tell.send(read())));
    begun.map_err(|error| Failure::refused(format!("Cannot read beside the rest: {error}.")))?;
    told.await.map_err(|_| Failure::refused("What was to be read was not."))
}

/// Waits until the session is live and its list of conversations is here.
async fn ready(driver: &mut Driver, until: Instant) -> Result<()> {
    driver.resume();
    let mut is_told = false;
    while !driver.client.is_live() {
        match next(driver, until).await? {
            News::Resumed(Err(error)) if error.why == Why::Unreachable && Instant::now() < until => {
                if !std::mem::replace(&mut is_told, true) {
                    eprintln!("{error}");
                }
                tokio::time::sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
                driver.resume();
            }
            News::Resumed(Err(error)) => return Err(error),
            News::Effects(effects) => check(driver, &effects)?,
            _ => {}
        }
    }
    Ok(())
}

/// The next news, or that the time is over.
async fn next(driver: &mut Driver, until: Instant) -> Result<News> {
    let address = driver.dial.address.clone();
    tokio::time::timeout_at(until, driver.next()).await.map_err(|_| {
        Failure::new(
            Why::Unreachable,
            format!(
                "No answer from {address} in time. Check --url and the connection, or give it longer with --wait."
            ),
        )
    })
}

/// Whether the session still stands.
fn check(driver: &mut Driver, effects: &[Effect]) -> Result<()> {
    for effect in effects {
        if let Effect::SignedOut(why) = effect {
            let why = why.clone().unwrap_or_else(|| Failure::signed_out().message);
            return Err(Failure::new(Why::SignedOut, why));
        }
    }
    let now_ms = driver.clock.now_ms();
    match driver.client.banner(now_ms) {
        Some(banner @ quorate_client::banner::Banner::Stopped { .. }) => {
            Err(Failure::refused(banner_words(&banner, now_ms)))
        }
        _ => Ok(()),
    }
}

/// What a person or a script calls a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// It is there.
    Found(ConversationId),
    /// The direct conversation with this user, which is not there yet.
    With(String),
}

/// Finds a conversation by its number, by `@name`, or by its title.
fn find(client: &Client, what: &str) -> Result<Named> {
    let me = client.me().map_or(0, |user| user.id);
    if let Some(name) = what.strip_prefix('@') {
        let name = name.to_lowercase();
        if name.is_empty() {
            return Err(Failure::usage("After @ comes a user name, such as @ana."));
        }
        let with = |conversation: &&Conversation| {
            conversation.kind == ConversationKind::Direct
                && conversation.members.iter().any(|member| member.id != me && member.name == name)
        };
        let found = client.conversations().find(with);
        return Ok(found.map_or(Named::With(name), |conversation| Named::Found(conversation.id)));
    }
    if let Ok(id) = what.parse()
        && client.conversation(id).is_some()
    {
        return Ok(Named::Found(id));
    }
    let wanted = what.trim().to_lowercase();
    let mut called =
        client.conversations().filter(|conversation| conversation.name(me).to_lowercase() == wanted);
    match (called.next(), called.next()) {
        (Some(one), None) => Ok(Named::Found(one.id)),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "Several conversations are called {what:?}, such as {} and {}. Give a number: `quorate --list` shows them.",
            one.id, other.id
        ))),
        (None, _) => Err(Failure::usage(format!(
            "No conversation of yours is called {what:?}. `quorate --list` shows them; @NAME is the one with that user."
        ))),
    }
}

/// Prints a line that is clean already. A reader who has gone (`| head`) ends this run, and is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason.
fn print(line: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::refused(format!("Cannot write to standard output: {error}."))),
    }
}

/// Prints an object as one line.
///
/// # Errors
/// As [`print`].
fn print_json(value: &Value) -> Result<bool> {
    print(&clean::json(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::Ending;

    #[tokio::test]
    async fn what_never_comes_does_not_keep_this_program() {
        let (keep, never) = std::sync::mpsc::sync_channel::<()>(1);
        let mut reading = std::pin::pin!(beside(move || never.recv().is_err()));
        let mut ending = Ending::listen().expect("signals");
        let timed = async {
            let soon = tokio::time::sleep(Duration::from_millis(20));
            tokio::select! { () = soon => "given up", read = &mut reading => panic!("read: {read:?}") }
        };
        assert_eq!(ending.or(timed).await, Ok("given up"));
        drop(keep);
        assert_eq!(reading.await, Ok(true), "and it is read where there is something");
    }
}
