//! Carries out what the rules ask of a terminal: sockets, one timer, files, REST.
//!
//! Owns: the [`Client`] and every resource that must be let go again. Must not know: how anything looks, and whether a
//! person or a script is at the other end.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_client::proto::frame::User;
use quorate_client::proto::rest::SessionGrant;
use quorate_client::{Client, Config, Effect, Input, SocketId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::ending::SETTLE_WAIT;
use crate::failure::{Result, Why};
use crate::net::{Dial, Rest, Socket, SocketNews, open};
use crate::state::{Account, Home, Keep, account_device};

/// The longest that a timer is set for; a tick too many does no harm.
const TIMER: Duration = Duration::from_secs(60);
/// Frames of all sockets that wait for the rules; beyond it the sockets are not read.
const NEWS_MAX: usize = 256;

/// A call that has come to its end.
#[derive(Debug)]
enum Called {
    Resumed(Result<SessionGrant>),
    Refreshed(Result<SessionGrant>),
    SignedIn(Result<SessionGrant>),
    SignedOut(Result<()>),
    /// A socket that was closed.
    Nothing,
}

/// What happened, for whoever drives.
#[derive(Debug)]
pub enum News {
    /// The rules went on; what they asked for is done.
    Effects(Vec<Effect>),
    /// Whether a former session goes on, as [`Driver::resume`] asked; [`Why::SignedOut`] when nobody is signed in.
    Resumed(Result<()>),
    /// A sign-in or sign-up that [`Driver::sign_in`] began.
    SignedIn(Result<User>),
    /// The same for [`Driver::sign_out`].
    SignedOut(Result<()>),
}

/// See the module.
#[derive(Debug)]
pub struct Driver {
    /// The rules.
    pub client: Client,
    /// The machine's clock.
    pub clock: Clock,
    /// Where to.
    pub dial: Dial,
    home: Home,
    account: Account,
    /// The user's files, once it is known who that is; none where nothing is to be kept.
    keep: Option<Keep>,
    keeps: bool,
    sockets: Vec<(SocketId, Socket)>,
    news_to: mpsc::Sender<SocketNews>,
    news: mpsc::Receiver<SocketNews>,
    calls: JoinSet<Called>,
    /// What this driver has to tell the rules by itself.
    own: VecDeque<Input>,
}

impl Driver {
    /// A client of the chat at the other end of `dial`. `keeps`: what is written outlives this run.
    pub fn new(home: Home, dial: Dial, keeps: bool) -> Self {
        let app = format!("terminal {}", env!("CARGO_PKG_VERSION"));
        let client = Client::new(Config { device: account_device(), app, window: None });
        let account = Account::new(home.clone(), Rest { dial: dial.clone() });
        let (news_to, news) = mpsc::channel(NEWS_MAX);
        let (sockets, own, calls) = (Vec::new(), VecDeque::new(), JoinSet::new());
        let clock = Clock::default();
        Self { client, clock, dial, home, account, keep: None, keeps, sockets, news_to, news, calls, own }
    }

    /// Carries a former session on, with a fresh token where the kept one is too old; [`News::Resumed`] tells what came of it.
    pub fn resume(&mut self) {
        let account = self.account.clone();
        self.calls.spawn(async move { Called::Resumed(account.grant(None).await) });
    }

    /// Begins a session; [`News::SignedIn`] tells what came of it.
    pub fn sign_in(&mut self, name: String, password: String, new: bool) {
        let account = self.account.clone();
        self.calls.spawn(async move { Called::SignedIn(account.sign_in(&name, &password, new).await) });
    }

    /// Ends the session; [`News::SignedOut`] tells what came of it.
    pub fn sign_out(&mut self) {
        let account = self.account.clone();
        self.calls.spawn(async move { Called::SignedOut(account.sign_out().await) });
    }

    fn granted(&mut self, grant: SessionGrant) {
        if self.keep.is_none() && self.keeps {
            let keep = Keep::new(&self.home, &self.dial.address.authority(), &grant.user);
            let (items, drafts) = (keep.items(), keep.drafts());
            self.keep = Some(keep);
            self.input(Input::Restore(items));
            self.input(Input::RestoreDrafts(drafts));
        }
        self.input(Input::Granted(grant));
    }

    /// Feeds the rules and carries out what they answer; all of it is returned.
    pub fn input(&mut self, input: Input) -> Vec<Effect> {
        let moment = self.clock.moment();
        let effects = self.client.handle(moment, input);
        for effect in &effects {
            self.carry_out(effect);
        }
        effects
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Connect(id) => {
                self.sockets.push((*id, open(&self.dial, *id, self.news_to.clone())));
            }
            Effect::Transmit(id, text) => {
                let socket = self.sockets.iter().find(|(other, _)| other == id);
                if socket.is_some_and(|(_, socket)| !socket.send(text.clone())) {
                    self.let_go(*id, 1000);
                    self.own.push_back(Input::Closed(*id, 1006));
                }
            }
            Effect::Close(id, code) => self.let_go(*id, *code),
            Effect::RefreshToken => {
                let (account, held) =
                    (self.account.clone(), self.client.access_token().map(ToOwned::to_owned));
                self.calls.spawn(async move { Called::Refreshed(account.grant(held.as_deref()).await) });
            }
            Effect::Store(item) => {
                // One that cannot be kept is sent all the same.
                self.keep.as_ref().map(|keep| keep.put_item(item));
            }
            Effect::Unstore(id) => {
                if let Some(keep) = &self.keep {
                    keep.remove_item(*id);
                }
            }
            Effect::StoreDraft(id, stored) => {
                self.keep.as_ref().map(|keep| keep.put_draft(*id, stored));
            }
            Effect::SignedOut(_) => self.keep = None,
            // Nothing is uploaded from here; the rest is for whoever drives.
            _ => {}
        }
    }

    fn let_go(&mut self, id: SocketId, code: u16) {
        if let Some(at) = self.sockets.iter().position(|(other, _)| *other == id) {
            let (_, socket) = self.sockets.swap_remove(at);
            self.calls.spawn(async move {
                socket.close(code).await;
                Called::Nothing
            });
        }
    }

    /// Waits for what happens next. Safe to give up: nothing is lost.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(input) = self.own.pop_front() {
                return News::Effects(self.input(input));
            }
            let now_ms = self.clock.now_ms();
            let wait = self
                .client
                .deadline_ms(now_ms)
                .map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
            tokio::select! {
                // Sockets first: an answer that is here already is heard before a timer gives it up.
                biased;
                Some(news) = self.news.recv() => return News::Effects(self.heard(news)),
                Some(called) = self.calls.join_next() => {
                    if let Some(news) = called.ok().and_then(|called| self.called(called)) {
                        return news;
                    }
                }
                () = tokio::time::sleep(wait.unwrap_or(TIMER).min(TIMER)) => {
                    return News::Effects(self.input(Input::Tick));
                }
            }
        }
    }

    fn heard(&mut self, news: SocketNews) -> Vec<Effect> {
        match news {
            SocketNews::Opened(id) => self.input(Input::Opened(id)),
            SocketNews::Text(id, text) => self.input(Input::Text(id, text)),
            SocketNews::Closed(id, code) => {
                self.sockets.retain(|(other, _)| *other != id);
                self.input(Input::Closed(id, code))
            }
        }
    }

    fn called(&mut self, called: Called) -> Option<News> {
        let news = match called {
            Called::Nothing => return None,
            Called::Resumed(Ok(grant)) => {
                // What changed by it is read from the rules as a whole.
                self.granted(grant);
                News::Resumed(Ok(()))
            }
            Called::Resumed(Err(error)) => News::Resumed(Err(error)),
            Called::Refreshed(Ok(grant)) => News::Effects(self.input(Input::Granted(grant))),
            Called::Refreshed(Err(error)) => {
                let denied = error.why == Why::SignedOut;
                News::Effects(self.input(Input::RefreshFailed { denied }))
            }
            Called::SignedIn(Ok(grant)) => {
                let user = grant.user.clone();
                self.granted(grant);
                News::SignedIn(Ok(user))
            }
            Called::SignedIn(Err(error)) => News::SignedIn(Err(error)),
            Called::SignedOut(told) => {
                self.input(Input::SignOut);
                News::SignedOut(told)
            }
        };
        Some(news)
    }

    /// The end: an exchange of tokens that is under way is waited for, since its answer is the only key to the session;
    /// sockets close in order.
    pub async fn settle(mut self) {
        let open: Vec<SocketId> = self.sockets.iter().map(|(id, _)| *id).collect();
        for id in open {
            self.let_go(id, 1000);
        }
        let all = async { while self.calls.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(SETTLE_WAIT, all).await;
    }
}
