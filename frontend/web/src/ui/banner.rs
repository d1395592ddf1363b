//! What stands between the reader and sending, in one honest line.

use leptos::prelude::*;
use quorate_client::Input;

use crate::context::App;
use crate::follow::memo;

/// The live region is always there, so that its words are announced when they come. A countdown changes every second:
/// it is shown, and announced only as what it is.
#[component]
pub(crate) fn Banner() -> impl IntoView {
    let app = App::of_context();
    let announced = memo(move || {
        app.banner.with(|banner| {
            banner.as_ref().map_or_else(String::new, |banner| {
                if banner.text.starts_with("Reconnecting in") {
                    "Reconnecting".to_owned()
                } else {
                    banner.text.clone()
                }
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
                                <button type="button" on:click=move |_| { app.input(Input::TryNow); }>"Try now"</button>
                            })}
                        </div>
                    }
                })
            }}
        </div>
    }
}
