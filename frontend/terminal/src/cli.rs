//! The command line, and what it asks for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};

use crate::failure::{Failure, Result};

/// Where the chat is when nobody says: what `deploy/up` starts.
const DEFAULT_URL: &str = "http://localhost:8080";
/// Earlier messages that can be asked for at most.
const LAST_MAX: u64 = 1_000;

const AFTER: &str = "\
A CONVERSATION is its number, @NAME for a direct conversation, or a title. Without one of these commands the chat opens \
full screen; ? there shows the keys.

Exit codes: 0 done; 1 refused; 2 wrong use; 3 not signed in; 4 no answer in time, and what was to be sent may have been; \
128 and the number of the signal that ended it.

The session is kept in $XDG_STATE_HOME/quorate, or ~/.local/state/quorate.";

/// A chat that stays up, in a terminal.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = AFTER)]
#[command(group(ArgGroup::new("command").args(["send", "tail", "list", "sign_in", "sign_up", "sign_out"])))]
pub struct Cli {
    /// Address of the chat; else the one signed in at, else http://localhost:8080
    #[arg(long, env = "QUORATE_URL", value_name = "ADDRESS")]
    url: Option<String>,
    /// PEM file of the certificate authority to trust for https, in the place of the machine's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Sends a message and ends; `-` as TEXT reads it from standard input
    #[arg(long, num_args = 2, value_names = ["CONVERSATION", "TEXT"], allow_hyphen_values = true)]
    send: Option<Vec<String>>,
    /// Prints messages as they come, of one conversation or of all
    #[arg(long, num_args = 0..=1, value_name = "CONVERSATION")]
    #[expect(clippy::option_option, reason = "the flag, and its value")]
    tail: Option<Option<String>>,
    /// Prints the conversations
    #[arg(long)]
    list: bool,
    /// Signs in and ends
    #[arg(long, requires = "name")]
    sign_in: bool,
    /// Creates an account, signs in and ends
    #[arg(long, requires = "name")]
    sign_up: bool,
    /// Ends the session and removes it from this machine
    #[arg(long)]
    sign_out: bool,
    /// The user name, to sign in or up
    #[arg(long)]
    name: Option<String>,
    /// The password is the first line of FILE, or of standard input with `-`; else it is asked for
    #[arg(long, value_name = "FILE", requires = "name")]
    password_file: Option<PathBuf>,
    /// Prints JSON, one object a line
    #[arg(long, requires = "command")]
    json: bool,
    /// With --tail: so many earlier messages first
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "tail")]
    last: u64,
    /// Seconds to wait for the server before giving up
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// The full screen.
    Screen,
    /// Begin a session; for a new account where `new` says so.
    SignIn {
        /// Make the account first.
        new: bool,
    },
    /// End it.
    SignOut,
    /// Print the conversations.
    List,
    /// Print messages as they come.
    Tail {
        /// Of one conversation; `None`: of all.
        only: Option<String>,
        /// So many earlier ones first.
        last: u64,
    },
    /// Send one message.
    Send {
        /// Where to.
        to: String,
        /// What; `-` means standard input.
        text: String,
    },
}

/// A command line that was found to make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What is asked for.
    pub task: Task,
    /// Where the chat is, as given.
    pub url: Option<String>,
    /// The authority to trust, as given.
    pub ca_file: Option<PathBuf>,
    /// Who signs in, as given.
    pub name: Option<String>,
    /// Where the password is, as given.
    pub password_file: Option<PathBuf>,
    /// Output as JSON Lines.
    pub json: bool,
    /// For the server.
    pub wait: Duration,
}

impl Cli {
    /// What it asks for.
    ///
    /// # Errors
    /// When values make no sense; in words what to do.
    pub fn order(self) -> Result<Order> {
        if !(1..=3_600).contains(&self.wait) {
            return Err(Failure::usage("--wait takes 1 to 3600 seconds."));
        }
        if self.last > LAST_MAX {
            return Err(Failure::usage(format!("--last takes at most {LAST_MAX} messages.")));
        }
        let task = if let Some(send) = self.send {
            let mut values = send.into_iter();
            let (Some(to), Some(text)) = (values.next(), values.next()) else {
                return Err(Failure::usage("--send takes a conversation and a text."));
            };
            Task::Send { to, text }
        } else if let Some(only) = self.tail {
            Task::Tail { only, last: self.last }
        } else if self.list {
            Task::List
        } else if self.sign_in || self.sign_up {
            Task::SignIn { new: self.sign_up }
        } else if self.sign_out {
            Task::SignOut
        } else {
            Task::Screen
        };
        if task == Task::Screen && self.password_file.is_some() {
            return Err(Failure::usage(
                "--password-file goes with --sign-in or --sign-up: the full screen asks.",
            ));
        }
        let Self { url, ca_file, name, password_file, json, wait, .. } = self;
        Ok(Order { task, url, ca_file, name, password_file, json, wait: Duration::from_secs(wait) })
    }
}

impl Order {
    /// The chat's address: as given, else where the session is, else this machine.
    pub fn address<'a>(&'a self, session: Option<&'a str>) -> &'a str {
        self.url.as_deref().or(session).unwrap_or(DEFAULT_URL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn order(args: &[&str]) -> std::result::Result<Order, String> {
        let cli = Cli::try_parse_from(["quorate"].iter().chain(args)).map_err(|error| error.to_string())?;
        cli.order().map_err(|error| error.message)
    }

    fn task(args: &[&str]) -> Task {
        order(args).unwrap_or_else(|error| panic!("{args:?}: {error}")).task
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_is_read() {
        assert_eq!(task(&[]), Task::Screen);
        assert_eq!(task(&["--list"]), Task::List);
        assert_eq!(task(&["--tail"]), Task::Tail { only: None, last: 0 });
        let only = Some("@ana".to_owned());
        assert_eq!(task(&["--tail", "@ana", "--last", "5", "--json"]), Task::Tail { only, last: 5 });
        for text in ["hello", "-", "--list", "- a point"] {
            let (to, text) = ("5".to_owned(), text.to_owned());
            assert_eq!(task(&["--send", "5", &text]), Task::Send { to, text });
        }
        assert_eq!(task(&["--sign-up", "--name", "ana"]), Task::SignIn { new: true });
        assert_eq!(task(&["--sign-out"]), Task::SignOut);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_does() {
        for (args, word) in [
            (&["--list", "--tail"][..], "cannot be used with"),
            (&["--sign-in"][..], "--name"),
            (&["--send", "5"][..], "CONVERSATION"),
            (&["--json"][..], "--list"),
            (&["--last", "3"][..], "--tail"),
            (&["--wait", "0"][..], "1 to 3600"),
            (&["--tail", "--last", "5000"][..], "1000"),
            (&["--name", "ana", "--password-file", "-"][..], "--sign-in"),
            (&["--password", "secret"][..], "unexpected argument"),
        ] {
            let error = order(args).expect_err("refused");
            assert!(error.contains(word), "{args:?}: {error}");
        }
    }

    #[test]
    fn the_address_is_the_newest_that_somebody_named() {
        let order = |args: &[&str]| order(args).expect("good");
        // The environment of whoever runs the tests may name one.
        if std::env::var_os("QUORATE_URL").is_none() {
            assert_eq!(order(&["--list"]).address(None), DEFAULT_URL);
            assert_eq!(order(&["--list"]).address(Some("https://a")), "https://a");
        }
        assert_eq!(order(&["--list", "--url", "b"]).address(Some("https://a")), "b");
    }
}
