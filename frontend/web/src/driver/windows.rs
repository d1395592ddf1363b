//! Windows of one person on one device: each sends what was written in it, and what a window left behind that is gone.
//!
//! What is unsent is in the local storage, each item with the name of the window that sends it. A window holds a lock of that name for as
//! long as it lives; whoever gets the lock makes the items its own, under their ids. Local storage, not IndexedDB: what is written there
//! is there when the call returns, so that the composer is emptied and the message stored in one turn, which no crash comes between.
//!
//! A window that the browser puts to sleep is gone as well: others send what it was to send. Awake again it is another window, which takes
//! what nobody has taken meanwhile.

use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::frame::User;
use quorate_client::proto::ids::ClientMessageId;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;

use super::{device, store};
use crate::context::App;

/// Which window this is, and which it waits for.
#[derive(Default)]
pub(crate) struct Windows {
    pub(super) name: String,
    awaited: Vec<String>,
    /// What waited to be sent when it fell asleep, by whomever.
    slept_over: Vec<ClientMessageId>,
}

/// Listens to other windows and to the worker, for as long as the page is there.
pub(crate) fn listen(app: App) {
    let tell =
        Closure::<dyn FnMut(String, String)>::new(move |what: String, key: String| match what.as_str() {
            "update" => app.updated.set(true),
            "dnd" => app.say_presence(app.visible.get_untracked()),
            "asleep" => asleep(app),
            "awake" => awake(app),
            _ => stored(app, &key),
        });
    device::listen(tell.as_ref().unchecked_ref());
    tell.forget();
}

/// Somebody is inside: what former lives of the page left unsent is sent, and what other windows send is shown.
pub(crate) fn begin(app: App, user: &User) {
    let name = app.driver.with_value(|driver| driver.windows.name.clone());
    let name = if name.is_empty() { device::live() } else { name };
    app.driver.update_value(|driver| driver.windows.name.clone_from(&name));
    let (mut own, mut others, mut windows) = (Vec::new(), Vec::new(), Vec::new());
    for (window, item) in store::items(user) {
        if !name.is_empty() && window == name {
            own.push(item);
            continue;
        }
        others.push(item);
        if !windows.contains(&window) {
            windows.push(window);
        }
    }
    app.input(Input::Restore(own));
    app.input(Input::Elsewhere(others));
    for window in windows {
        wait_for(app, user, window);
    }
}

/// Nobody is inside any more: what this window left unsent is whose who comes next. What another user keeps, who may have signed in
/// elsewhere, stays.
pub(crate) fn end(app: App) {
    app.me.with_untracked(|me| device::forget_user(me.as_ref()));
    let name = device::live();
    app.driver.update_value(|driver| driver.windows.name = name);
}

/// The browser suspends this window: what it was to send is another's to send. What no storage took stays its own, since nobody else
/// knows of it.
fn asleep(app: App) {
    let Some(user) = app.driver.with_value(|driver| driver.client.me().cloned()) else { return };
    let ids: Vec<_> = store::items(&user).into_iter().map(|(_, item)| item.id).collect();
    app.driver.update_value(|driver| driver.windows.slept_over.clone_from(&ids));
    app.input(Input::Yield(ids));
}

/// It goes on, as a window that nobody waits for: its former name is one of those that are gone.
fn awake(app: App) {
    let was = app.driver.try_update_value(|driver| std::mem::take(&mut driver.windows)).unwrap_or_default();
    let user = app.driver.with_value(|driver| driver.client.me().cloned());
    // Whoever has no name has not begun; she does once somebody is inside.
    let Some(user) = user.filter(|_| !was.name.is_empty()) else { return };
    begin(app, &user);
    let items = store::items(&user);
    // Nobody told it what others sent or took out.
    for id in was.slept_over {
        if !items.iter().any(|(_, item)| item.id == id) {
            app.input(Input::Gone(id));
        }
    }
}

/// Another window has stored something, or taken it out.
fn stored(app: App, key: &str) {
    let known = app.driver.with_value(|driver| {
        let windows = &driver.windows;
        // Where nobody can tell which windows live, each sends its own.
        (!windows.name.is_empty()).then(|| Some((driver.client.me().cloned()?, windows.name.clone())))
    });
    let Some((user, name)) = known.flatten() else { return };
    let Some(id) = store::item_id(&user, key) else { return };
    match store::item(key) {
        Some((window, item)) if window != name => {
            app.input(Input::Elsewhere(vec![item]));
            wait_for(app, &user, window);
        }
        Some(_) => {}
        None => {
            app.input(Input::Gone(id));
        }
    }
}

/// Once that window is gone, what it left is this one's, unless another was quicker.
fn wait_for(app: App, user: &User, window: String) {
    let is_news = app.driver.try_update_value(|driver| {
        let awaited = &mut driver.windows.awaited;
        let is_news = !awaited.contains(&window);
        if is_news {
            awaited.push(window.clone());
        }
        is_news
    });
    if is_news != Some(true) {
        return;
    }
    let (name, user) = (window.clone(), user.clone());
    let run = Closure::once_into_js(move || {
        app.driver.try_update_value(|driver| driver.windows.awaited.retain(|other| *other != window));
        // Somebody else may have signed in meanwhile.
        let here = app.driver.try_with_value(|driver| driver.client.me().map(|me| me.id)).flatten();
        if here == Some(user.id) {
            adopt(app, &user, &window);
        }
    });
    device::after(&name, run.unchecked_ref());
}

fn adopt(app: App, user: &User, window: &str) {
    let items = store::items(user).into_iter().filter(|(of, _)| of == window);
    let items: Vec<_> = items.map(|(_, item)| item).collect();
    let ids = items.iter().map(|item| item.id).collect();
    app.input(Input::Elsewhere(items));
    app.input(Input::Adopt(ids));
}
