//! What may call for attention in this browser, in the account's dialog: notifications, their sound, and neither.

use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen_futures::JsFuture;

use crate::context::{App, unless_gone};
use crate::driver::device;
use crate::driver::notices::{NOTIFY_KEY, PEACE_KEY, SOUND_KEY, is_on, turn};
use crate::words::{Word, t};

/// See the module. A browser is asked for its permission by the click on the box, never before.
#[component]
pub(super) fn Notices() -> impl IntoView {
    let app = App::of_context();
    let notifies = RwSignal::new(is_on(NOTIFY_KEY) && device::may());
    let said = RwSignal::new("");
    let notify = move |on: bool| {
        notifies.set(on);
        turn(NOTIFY_KEY, on);
        said.set("");
        if on {
            let asked = device::ask();
            spawn_local(async move {
                let is_allowed = JsFuture::from(asked).await.is_ok_and(|allowed| allowed.is_truthy());
                if !is_allowed {
                    turn(NOTIFY_KEY, false);
                    unless_gone(notifies.try_set(false));
                    unless_gone(said.try_set(t(
                        "This browser does not allow it: permit notifications in its settings for this page.",
                    )));
                }
            });
        }
    };
    let sound = move |on: bool| {
        turn(SOUND_KEY, on);
        if on {
            device::tone();
        }
    };
    let peace = move |on: bool| {
        turn(PEACE_KEY, on);
        app.say_presence(app.visible.get_untracked());
    };
    let check = |testid: &'static str, words: &'static str, on: Signal<bool>, turned: Box<dyn Fn(bool)>| {
        view! {
            <label class="check">
                <input type="checkbox" data-testid=testid prop:checked=on on:change=move |event| turned(event_target_checked(&event))/>
                {words}
            </label>
        }
    };
    view! {
        <section data-testid="notices">
            <h3>{Word("Notifications in this browser")}</h3>
            {check("notify", t("Notify me of messages that are for me alone or mention me, unless they are muted, while I look elsewhere"), notifies.into(), Box::new(notify))}
            {check("sound", t("With a sound"), Signal::stored(is_on(SOUND_KEY)), Box::new(sound))}
            {check("peace", t("Do not disturb: neither of these, and others see that"), Signal::stored(is_on(PEACE_KEY)), Box::new(peace))}
            <div class="error" role="alert">{said}</div>
        </section>
    }
}
