//! `--sign-in`, `--sign-up` and `--sign-out`. A password is never an argument: others on the machine could read it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, stderr, stdin};
use std::path::Path;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use serde_json::json;

use super::{beside, print_json};
use crate::clean;
use crate::cli::Order;
use crate::ending::Ending;
use crate::failure::{Failure, Result};
use crate::state::Account;

/// More than any password may have.
const PASSWORD_BYTES_MAX: u64 = 4 * 1024;

/// Begins a session and keeps it: the exit code.
///
/// # Errors
/// When there is no password, or the server refuses or does not answer.
pub async fn sign_in(account: &Account, order: &Order, new: bool, ending: &mut Ending) -> Result<u8> {
    let name = order.name.clone().ok_or_else(|| Failure::usage("Say who with --name."))?;
    let password = match ending.or(password(order.password_file.as_deref(), &name)).await {
        Ok(password) => password?,
        Err(code) => return Ok(code),
    };
    let Some(password) = password else { return Ok(Ending::INTERRUPTED) };
    let grant = match ending.or_settled(account.sign_in(name.trim(), &password, new)).await {
        Ok(grant) => grant?,
        Err(code) => return Ok(code),
    };
    if order.json {
        print_json(&json!({ "type": "signed_in", "user": super::list::person(&grant.user) }))?;
    } else {
        eprintln!("Signed in as {}.", clean::line(&grant.user.name));
    }
    Ok(0)
}

/// Ends the session: the exit code.
///
/// # Errors
/// When the server could not be told; it is gone from here all the same.
pub async fn sign_out(account: &Account, order: &Order, ending: &mut Ending) -> Result<u8> {
    match ending.or_settled(account.sign_out()).await {
        Ok(told) => told?,
        Err(code) => return Ok(code),
    }
    if order.json {
        print_json(&json!({ "type": "signed_out" }))?;
    } else {
        eprintln!("Signed out.");
    }
    Ok(0)
}

/// The password; `None`: Ctrl-C was pressed instead. Safe to give up: the terminal is given back.
async fn password(from: Option<&Path>, name: &str) -> Result<Option<String>> {
    let password = match from {
        Some(path) => {
            let path = path.to_owned();
            Some(beside(move || from_file(&path)).await??)
        }
        None => ask(name).await?,
    };
    if password.as_deref() == Some("") {
        return Err(Failure::usage("The password is empty. It is the first line of --password-file."));
    }
    Ok(password)
}

fn from_file(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return first_line(stdin().lock(), "standard input");
    }
    let shown = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| Failure::usage(format!("--password-file {shown} cannot be read: {error}.")))?;
    first_line(file, &shown)
}

fn first_line(from: impl Read, shown: &str) -> Result<String> {
    let mut line = String::new();
    let read = BufReader::new(from.take(PASSWORD_BYTES_MAX)).read_line(&mut line);
    read.map_err(|error| Failure::usage(format!("The password in {shown} cannot be read: {error}.")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal gives keys, and shows none, for as long as this is there.
struct Unseen;

impl Unseen {
    fn begin() -> std::io::Result<Self> {
        enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let is_back = disable_raw_mode().is_ok();
        eprintln!("{}", if is_back { "" } else { "\r\nThis terminal could not be given back: run `reset`." });
    }
}

/// What became of the question.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Password(String),
    Interrupted,
    GivenUp,
}

/// Asks the person at the terminal; nothing of it is shown. `None`: she pressed Ctrl-C.
async fn ask(name: &str) -> Result<Option<String>> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(Failure::usage(
            "There is no terminal to ask for the password at: give it with --password-file FILE, or - for standard \
             input.",
        ));
    }
    eprint!("Password of {}: ", clean::line(name));
    let untypable =
        |error: std::io::Error| Failure::refused(format!("This terminal cannot be read: {error}."));
    let unseen = Unseen::begin().map_err(untypable)?;
    let typed = beside(|| keys(read)).await;
    // The terminal is given back first, whatever was typed.
    drop(unseen);
    match typed?.map_err(untypable)? {
        Typed::Password(typed) => Ok(Some(typed)),
        Typed::Interrupted => Ok(None),
        Typed::GivenUp => Err(Failure::usage("No password was typed.")),
    }
}

fn keys(mut next: impl FnMut() -> std::io::Result<Event>) -> std::io::Result<Typed> {
    let mut typed = String::new();
    loop {
        let Event::Key(key) = next()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Ok(Typed::Password(typed)),
            KeyCode::Char('c') if control => return Ok(Typed::Interrupted),
            KeyCode::Char('d') if control => return Ok(Typed::GivenUp),
            KeyCode::Char('u') if control => typed.clear(),
            KeyCode::Char(c) if !control && typed.len() < 4_096 => typed.push(c),
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Esc => return Ok(Typed::GivenUp),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[tokio::test]
    async fn the_password_is_the_first_line_and_nothing_else() {
        let of = |text: &str| first_line(text.as_bytes(), "x").expect("read");
        assert_eq!(of("correct horse \nrest"), "correct horse ");
        assert_eq!(of("no end"), "no end");
        assert_eq!(of("dos\r\n"), "dos");
        let error = password(Some(Path::new("/nowhere/at/all")), "ana").await.expect_err("there is none");
        assert!(error.message.contains("/nowhere/at/all") && error.why.code() == 2, "{error}");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("empty");
        std::fs::write(&path, "\nsecond\n").expect("written");
        assert!(password(Some(&path), "ana").await.is_err());
    }

    #[test]
    fn keys_make_a_password_or_say_that_there_is_none() {
        let of = |codes: &[(KeyCode, KeyModifiers)]| {
            let mut keys = codes.iter().map(|(code, with)| Event::Key(KeyEvent::new(*code, *with)));
            super::keys(move || keys.next().ok_or_else(|| std::io::Error::other("no more"))).expect("keys")
        };
        let plain = |c| (KeyCode::Char(c), KeyModifiers::NONE);
        let control = |c| (KeyCode::Char(c), KeyModifiers::CONTROL);
        let (enter, back) = ((KeyCode::Enter, KeyModifiers::NONE), (KeyCode::Backspace, KeyModifiers::NONE));
        let word = Typed::Password("ab".to_owned());
        assert_eq!(of(&[plain('x'), control('u'), plain('a'), plain('b'), plain('c'), back, enter]), word);
        assert_eq!(of(&[plain('a'), control('c')]), Typed::Interrupted);
        assert_eq!(of(&[plain('a'), control('d')]), Typed::GivenUp);
        assert_eq!(of(&[(KeyCode::Esc, KeyModifiers::NONE)]), Typed::GivenUp);
    }
}
