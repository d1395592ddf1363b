//! The Rust side of `page/device.js`: what a browser offers and no rule depends on. Each call works, or does nothing, where the browser
//! has none of it.

use js_sys::{Array, Function, Promise};
use quorate_client::proto::frame::User;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// What is kept of the conversations: texts, the head first; none where nothing is kept.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn kept() -> Promise;

    /// The same, or nothing after a second.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn soon(kept: &Promise) -> Promise;

    /// Keeps that, and nothing else. `stay`: conversations, with commas between; `rows`: conversation, version, whether it has messages,
    /// text, and so on.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(super) fn keep(prefix: &str, head: &str, stay: &str, rows: &Array);

    /// Keeps nothing any more of those whose prefix begins so; of nobody with an empty one.
    #[wasm_bindgen(js_namespace = quorate)]
    fn forget(prefix: &str);

    /// This window begins another life, under the name that is returned; empty where nobody could tell whether it lasts.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(super) fn live() -> String;

    /// Runs once the window of that name is gone, in one of those that wait for it at a time; never if this one falls asleep before.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(super) fn after(name: &str, run: &Function);

    /// Says from now on what other windows, the browser and the worker do: `outbox` with a key of the local storage, `dnd` when it was turned
    /// on or off, `update`; where
    /// there are lives to end, `asleep` before this window ends its own, and `awake` when it is to begin another.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(super) fn listen(tell: &Function);

    /// Shows how much is unread on the window's icon.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn badge(count: u32);

    /// Whether the browser lets this page show notifications.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn may() -> bool;

    /// Asks the person for that, who must have clicked just now; whether it is so then.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn ask() -> Promise;

    /// Plays the sound that goes with a notification.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn tone();

    /// Notifies, as far as this browser is set to: once for a message, whatever windows there are. `tag` is the address that a click leads
    /// to; a later one with the same takes its place.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(super) fn notify(tag: &str, message: &str, title: &str, text: &str);

    /// Takes that of this address away.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(super) fn hush(tag: &str);

    /// Loads the page anew, of the newest build that is here.
    #[wasm_bindgen(js_namespace = quorate)]
    pub(crate) fn swap();
}

/// Keeps nothing any more of this user, in whatever cluster; of nobody where none is known, and then no session is good any more.
pub(crate) fn forget_user(user: Option<&User>) {
    forget(&user.map(|user| format!("{}-{}@", user.id, user.name)).unwrap_or_default());
}
