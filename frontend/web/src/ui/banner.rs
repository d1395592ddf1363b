//! What stands between the reader and sending, in one honest line.

use leptos::prelude::*;
use quorate_client::Input;

use crate::context::App;
use crate::driver::device;
use crate::follow::memo;
use crate::words::{Word, keyed, t};

/// Said when a newer build is here.
const UPDATED: &str = keyed("A new version is ready.");

/// The live region is always there, so that its words are announced when they come. A countdown changes every second:
/// it is shown, and announced only as what it is.
#[component]
pub(crate) fn Banner() -> impl IntoView {
    let app = App::of_context();
    let announced = memo(move || {
        app.banner.with(|banner| {
            banner.as_ref().map_or_else(String::new, |banner| {
                if banner.counts { t("Reconnecting").to_owned() } else { banner.text.clone() }
            })
        })
    });
    view! {
        <div>
            <div class="visually-hidden" role="status" aria-live="polite">{announced}</div>
            {move || {
                app.banner.get().map(|banner| {
                    view! {
                        <div class="banner" class:stopped=banner.stopped data-testid="banner" data-region tabindex="-1">
                            <span class="dot" aria-hidden="true"></span>
                            <span>{banner.text}</span>
                            {banner.can_try.then(|| view! {
                                <button type="button" on:click=move |_| { app.input(Input::TryNow); }>{Word("Try now")}</button>
                            })}
                        </div>
                    }
                })
            }}
            <div class="visually-hidden" role="status" aria-live="polite">{move || app.updated.get().then(|| t(UPDATED))}</div>
            {move || app.updated.get().then(|| view! {
                <div class="banner" data-testid="update" data-region tabindex="-1">
                    <span>{t(UPDATED)}</span>
                    <button type="button" on:click=|_| device::swap()>{Word("Reload")}</button>
                </div>
            })}
        </div>
    }
}
