//! Coming in, by a former session or by a new one, with and without a server, and going out.

use js_sys::Promise;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;
use quorate_client::ordered::OrderedMap;
use quorate_client::proto::frame::{PresenceState, User};
use quorate_client::proto::rest::SessionGrant;

use super::{App, Sheet, Stage, Tray, sleep};
use crate::driver::notices::{self, PEACE_KEY};
use crate::driver::{device, files, keeping, pictures, rest, store, windows};
use crate::route;
use crate::words::t;

/// A server that has not answered for this long is not waited for, where there is something to show.
const ANSWER_MS: i32 = 3_000;

impl App {
    /// The cookie may carry a former session on.
    pub(crate) async fn start(self) {
        let kept = device::kept();
        let late = kept.clone();
        spawn_local(async move {
            sleep(ANSWER_MS).await;
            self.show_kept(&late).await;
        });
        self.enter(Self::granted, Some(kept)).await;
    }

    /// The same for the desk, which has neither outbox nor drafts.
    pub(crate) async fn start_desk(self) {
        let granted = |app: Self, grant: SessionGrant| {
            app.me.set(Some(grant.user.clone()));
            app.admin.set(grant.admin);
            app.input(Input::Granted(grant));
            app.stage.set(Stage::Inside);
        };
        self.enter(granted, None).await;
    }

    async fn enter(self, granted: fn(Self, SessionGrant), kept: Option<Promise>) {
        let mut tries: u32 = 0;
        loop {
            let answer = rest::refresh().await;
            match (answer, &kept) {
                (Ok(grant), kept) => {
                    if let Some(kept) = kept {
                        keeping::recall(self, &device::soon(kept)).await;
                    }
                    return granted(self, grant);
                }
                (Err(error), _) if error.denied() => {
                    self.me.with_untracked(|me| device::forget_user(me.as_ref()));
                    if self.stage.get_untracked() == Stage::Inside {
                        // Says why at the door.
                        self.input(Input::RefreshFailed { denied: true });
                    } else {
                        self.stage.set(Stage::Door(None));
                    }
                    return;
                }
                (Err(error), kept) => {
                    if let Some(kept) = kept
                        && self.show_kept(kept).await
                    {
                        return;
                    }
                    self.stage.set(Stage::Starting(Some(error.message)));
                }
            }
            tries += 1;
            sleep(if tries < 4 { 1_000 } else { 4_000 }).await;
        }
    }

    /// Nobody has answered yet: what is kept is shown meanwhile, and the rules go on asking. True: somebody is inside.
    async fn show_kept(self, kept: &Promise) -> bool {
        let starting = || matches!(self.stage.get_untracked(), Stage::Starting(_));
        if starting() {
            keeping::recall(self, kept).await;
        }
        if starting()
            && let Some(user) = self.with(|client| client.me().cloned())
        {
            if !window().navigator().on_line() {
                self.input(Input::Offline);
            }
            self.input(Input::RefreshFailed { denied: false });
            self.bring_back(user);
            self.stage.set(Stage::Inside);
            self.follow_route();
        }
        !starting()
    }

    /// What this user left unsent and unfinished.
    fn bring_back(self, user: User) {
        keeping::begin(self);
        windows::begin(self, &user);
        self.input(Input::RestoreDrafts(store::drafts(&user)));
        self.say_presence(self.visible.get_untracked());
        self.me.set(Some(user));
    }

    /// Signed in, by whatever way.
    pub(crate) fn granted(self, grant: SessionGrant) {
        store::set("quorate.known", "1");
        let here = self.with(|client| client.me().map(|me| me.id));
        if here.is_some_and(|id| id != grant.user.id) {
            // Of somebody else who was here before nothing is left.
            self.input(Input::SignOut);
        }
        let is_inside = self.stage.get_untracked() == Stage::Inside;
        let user = grant.user.clone();
        self.admin.set(grant.admin);
        self.say_presence(self.visible.get_untracked());
        self.input(Input::Granted(grant));
        if !is_inside {
            self.bring_back(user);
        }
        self.stage.set(Stage::Inside);
        self.follow_route();
    }

    /// Whoever looks at the page is there; behind other windows it is idle; and who is not to be disturbed says so.
    pub(crate) fn say_presence(self, visible: bool) {
        let state = match (notices::is_on(PEACE_KEY), visible) {
            (true, _) => PresenceState::Dnd,
            (false, true) => PresenceState::Active,
            (false, false) => PresenceState::Idle,
        };
        self.input(Input::Presence(state));
    }

    pub(crate) fn signed_out(self, why: Option<String>) {
        windows::end(self);
        self.me.set(None);
        self.admin.set(false);
        self.list.set(Vec::new());
        self.listed.set(false);
        self.focused.set(None);
        self.heading.set(None);
        self.forget_rows();
        self.detailing.set(false);
        self.sought.set(None);
        self.drafted.update(OrderedMap::clear);
        self.accounting.set(false);
        self.panel.set(None);
        self.sheet.set(None);
        self.selecting.set(None);
        self.tray.set(Tray::default());
        self.toast.set(None);
        files::stop(self);
        pictures::forget(self);
        self.lightbox.set(None);
        self.stage.set(Stage::Door(why));
    }

    /// The person wants to sign out. What would wait for her, or be lost, is asked about first.
    pub(crate) fn leave(self) {
        match self.with(|client| (client.outbox().len(), client.uploads().has_any())) {
            (0, false) => self.sign_out(false),
            (count, files) => self.sheet.set(Some(Sheet::Leave(count, files))),
        }
    }

    /// The person signs out. What she wrote and is not sent stays in this browser for her next time, unless it is to go as well (`wipe`).
    pub(crate) fn sign_out(self, wipe: bool) {
        // The socket may hear that the session is over before this call does.
        let user = self.with(|client| client.me().cloned()).filter(|_| wipe);
        let token = self.driver.with_value(|driver| driver.client.access_token().map(ToOwned::to_owned));
        spawn_local(async move {
            // Without a token nobody has answered yet.
            let is_out = match token {
                Some(token) => rest::sign_out(&token).await.map_or_else(|error| error.denied(), |()| true),
                None => false,
            };
            if !is_out {
                self.warn(t("Signing out needs the server, which does not answer just now."));
                return;
            }
            if let Some(user) = user {
                for (_, item) in store::items(&user) {
                    store::remove_item(&user, item.id);
                }
                store::remove_drafts(&user);
            }
            self.input(Input::SignOut);
            route::go(None);
        });
    }
}
