//! Carries out what the rules ask of a browser: sockets, one timer, storage, fetch.
//!
//! Owns: the [`Client`] and every resource that must be let go again. Must not know: how anything looks.

pub(crate) mod device;
mod fetching;
pub(crate) mod files;
pub(crate) mod keeping;
pub(crate) mod notices;
pub(crate) mod pictures;
pub(crate) mod rest;
mod socket;
pub(crate) mod store;
pub(crate) mod windows;

use std::time::Duration;

use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::User;
use quorate_client::shelf::Shelf;
use quorate_client::view::{one_line, sentence};
use quorate_client::{Change, Client, Config, Effect, Input, SocketId};

use crate::clock::Clock;
use crate::context::App;
use crate::follow::after;
use crate::words::{t, tf};
use files::Files;
use keeping::Keeping;
use pictures::Place;
use socket::Socket;
use windows::Windows;

/// The longest a timer is set for: browsers count in 32 bits, and a tick too many does no harm.
const TIMER_MS_MAX: u64 = 60_000;

/// See the module.
pub(crate) struct Driver {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    /// One, or two while one takes over from the other.
    sockets: Vec<(SocketId, Socket)>,
    files: Files,
    pictures: Shelf<Place>,
    keeping: Keeping,
    notices: notices::Notices,
    windows: Windows,
    timer: Option<TimeoutHandle>,
}

/// Messages of a conversation in the document at a time: some ten screens, and a frame's work however long the history is.
const WINDOW_MESSAGES: usize = 240;

impl Driver {
    pub(crate) fn new() -> Self {
        let app = format!("web {}", env!("CARGO_PKG_VERSION"));
        let config = Config { device: device_name(), app, window: Some(WINDOW_MESSAGES) };
        let (client, clock, sockets) = (Client::new(config), Clock::new(), Vec::new());
        Self {
            client,
            clock,
            sockets,
            files: Files::default(),
            pictures: Shelf::default(),
            keeping: Keeping::default(),
            notices: Vec::new(),
            windows: Windows::default(),
            timer: None,
        }
    }
}

impl Driver {
    fn take_socket(&mut self, id: SocketId) -> Option<Socket> {
        let at = self.sockets.iter().position(|(other, _)| *other == id)?;
        Some(self.sockets.swap_remove(at).1)
    }
}

/// Feeds the rules and carries out what they answer. Returns the effects that concern the caller.
pub(crate) fn input(app: App, input: Input) -> Vec<Effect> {
    let Some(effects) = app.driver.try_update_value(|driver| {
        let moment = driver.clock.moment();
        driver.client.handle(moment, input)
    }) else {
        return Vec::new();
    };
    let user = app.driver.with_value(|driver| driver.client.me().cloned());
    for effect in &effects {
        carry_out(app, user.as_ref(), effect);
    }
    let changes: Vec<Change> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Changed(change) => Some(*change),
            _ => None,
        })
        .collect();
    app.refresh(&changes);
    keeping::changed(app, &changes);
    notices::follow(app);
    arm(app);
    effects
}

fn carry_out(app: App, user: Option<&User>, effect: &Effect) {
    match effect {
        Effect::Connect(id) => {
            let id = *id;
            match socket::open(app, id) {
                Ok(socket) => app.driver.update_value(|driver| {
                    driver.sockets.push((id, socket));
                }),
                Err(_) => spawn_local(async move {
                    input(app, Input::Closed(id, 1006));
                }),
            }
        }
        Effect::Transmit(id, text) => app.driver.with_value(|driver| {
            if let Some((_, socket)) = driver.sockets.iter().find(|(other, _)| other == id) {
                socket.send(text);
            }
        }),
        Effect::Close(id, code) => {
            let socket = app.driver.try_update_value(|driver| driver.take_socket(*id)).flatten();
            if let Some(socket) = socket {
                socket.close(*code);
                // Its own handler may be what is running just now.
                spawn_local(async move { drop(socket) });
            }
        }
        Effect::RefreshToken => spawn_local(async move {
            let answer = rest::refresh().await;
            input(
                app,
                match answer {
                    Ok(grant) => {
                        app.admin.set(grant.admin);
                        Input::Granted(grant)
                    }
                    Err(error) => Input::RefreshFailed { denied: error.denied() },
                },
            );
        }),
        Effect::Store(item) => {
            if let Some(user) = user {
                let window = app.driver.with_value(|driver| driver.windows.name.clone());
                store::put_item(user, &window, item);
            }
        }
        Effect::Unstore(id) => {
            if let Some(user) = user {
                store::remove_item(user, *id);
            }
        }
        Effect::StoreDraft(id, stored) => {
            if let Some(user) = user {
                store::put_draft(user, *id, stored);
            }
        }
        Effect::Upload(id, call, step) => files::carry_out(app, *id, *call, step),
        Effect::DraftChanged(id) => app.redrafted(*id),
        Effect::Reminded(item) => {
            let text = match &*item.text {
                "" => t("Reminder").to_owned(),
                note => tf("Reminder: {}", &[&note]),
            };
            app.remind(&text, item.conversation, item.remind_of);
        }
        Effect::ScheduleFailed(item, why) => {
            app.warn(&tf(
                "A message you scheduled was not sent: {} {}",
                &[&sentence(why), &one_line(&item.text)],
            ));
        }
        Effect::Done(id, conversation) => app.answered(*id, Ok(*conversation)),
        Effect::Refused(Some(id), error) => app.answered(*id, Err(sentence(&error.message))),
        Effect::Refused(None, error) => app.warn(&sentence(&error.message)),
        Effect::SignedOut(why) => app.signed_out(why.clone()),
        Effect::Calls(id, sequence) => notices::called(app, *id, *sequence),
        Effect::Acked(_) | Effect::Changed(_) => {}
    }
}

/// A socket that reported its end is let go.
pub(crate) fn forget_socket(app: App, id: SocketId) {
    let socket = app.driver.try_update_value(|driver| driver.take_socket(id)).flatten();
    if let Some(socket) = socket {
        spawn_local(async move { drop(socket) });
    }
}

/// Sets the one timer to the rules' next deadline.
fn arm(app: App) {
    app.driver.update_value(|driver| {
        if let Some(timer) = driver.timer.take() {
            timer.clear();
        }
        let now_ms = driver.clock.now_ms();
        let Some(at_ms) = driver.client.deadline_ms(now_ms) else { return };
        // At least a millisecond, so that a deadline of now leaves the browser its turn.
        let wait_ms = at_ms.saturating_sub(now_ms).clamp(1, TIMER_MS_MAX);
        let tick = move || {
            input(app, Input::Tick);
        };
        driver.timer = after(Duration::from_millis(wait_ms), tick);
    });
}

/// What this device is called in the list of those that are signed in.
pub(crate) fn device_name() -> String {
    let agent = window().navigator().user_agent().unwrap_or_default();
    let find = |names: &[(&str, &str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map_or("", |(_, name)| *name).to_owned()
    };
    let browser =
        find(&[("Firefox", "Firefox"), ("Edg", "Edge"), ("Chrome", "Chrome"), ("Safari", "Safari")]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser.as_str(), system.as_str()) {
        ("", _) => "Browser".to_owned(),
        (browser, "") => browser.to_owned(),
        (browser, system) => tf("{} on {}", &[&browser, &system]),
    }
}
