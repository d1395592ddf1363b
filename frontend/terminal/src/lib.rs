//! The chat in a terminal: full screen for people, line mode for scripts. The rules are those of every client
//! (`quorate-client`); this crate carries them out and draws.
//!
//! | module | owns | must not know |
//! | --- | --- | --- |
//! | [`cli`] | the command line and what it asks for | anything else |
//! | [`net`] | address, connection, REST call, WebSocket | the rules, files, looks |
//! | [`state`] | what is kept between runs; who is signed in | the rules, looks |
//! | [`driver`] | the rules' machine and every resource that it asks for | looks; people or scripts |
//! | [`model`] | what the person is doing: keys in, acts out. Pure | sockets, files, cells |
//! | [`ui`] | the screen as a function of rules and model. Pure | keys, sockets, files |
//! | [`screen`] | the terminal while it is taken; driver and model together | how anything looks |
//! | [`line`] | one run of a script's command | the full screen |
//! | [`clean`] | what others wrote, made harmless for a terminal | |
//! | [`clock`], [`ending`], [`failure`] | time in words, signals, exit codes | |
//!
//! ```text
//!  keys ─▶ model ─▶ acts ─▶ driver ─▶ rules ─▶ effects ─▶ sockets, files, REST
//!                    ▲                  │
//!                 screen ◀── ui ◀── what is seen
//! ```

pub mod clean;
pub mod cli;
pub mod clock;
pub mod driver;
pub mod ending;
pub mod failure;
pub mod line;
pub mod model;
pub mod net;
pub mod screen;
pub mod state;
pub mod ui;

use quorate_client::banner::Banner;

use cli::{Cli, Task};
use driver::Driver;
use ending::Ending;
use failure::Result;
use net::{Address, Dial, Rest};
use state::{Account, Home};

/// Does what the command line asks for: the exit code.
///
/// # Errors
/// What came in between, in words and with its exit code.
pub async fn run(cli: Cli) -> Result<u8> {
    let order = cli.order()?;
    let mut ending = Ending::listen()?;
    let home = Home::find()?;
    let session = home.session()?;
    let address = Address::parse(order.address(session.as_ref().map(|saved| saved.url.as_str())))?;
    let session = session.filter(|saved| saved.url == address.origin());
    let of_session = session.as_ref().and_then(|saved| saved.ca_file.clone());
    let dial = Dial::new(address, order.ca_file.clone().or(of_session).as_deref())?;
    let account = Account::new(home.clone(), Rest { dial: dial.clone() });
    let is_screen = order.task == Task::Screen;
    let mut driver = Driver::new(home, dial, is_screen);
    let done = match &order.task {
        Task::SignIn { new } => line::sign_in(&account, &order, *new, &mut ending).await,
        Task::SignOut => line::sign_out(&account, &order, &mut ending).await,
        Task::Screen => screen::run(&mut driver, &mut ending, order.name.as_deref()).await,
        Task::List | Task::Tail { .. } | Task::Send { .. } => {
            match ending.or(line::run(&mut driver, &order)).await {
                Ok(done) => done.map(|()| 0),
                Err(code) => Ok(code),
            }
        }
    };
    driver.settle().await;
    done
}

/// A banner in words: the page's, but where it speaks of the page.
fn banner_words(banner: &Banner, now_ms: u64) -> String {
    match banner {
        Banner::Stopped { code: 4426, .. } => {
            "This program is too old for the server. Install the newer one; your unsent messages are kept."
                .to_owned()
        }
        Banner::Stopped { code: 4409, .. } => {
            "Too many sessions are open on this account. End one, then try again.".to_owned()
        }
        other => clean::line(&other.text(now_ms)),
    }
}
