//! One line for the person, until it is dismissed.

use leptos::prelude::*;

use crate::context::App;

/// The alert region is always there, so that its words are announced when they come.
#[component]
pub(crate) fn Toast() -> impl IntoView {
    let app = App::of_context();
    view! {
        <div role="alert">
            {move || app.toast.get().map(|text| view! {
                <div class="toast">
                    <span>{text}</span>
                    {app.toast_leads.get().map(|message| view! {
                        <button type="button" on:click=move |_| {
                            app.toast.set(None);
                            app.go_to_message(message.conversation, message.sequence);
                        }>"Show"</button>
                    })}
                    <button type="button" on:click=move |_| app.toast.set(None)>"Dismiss"</button>
                </div>
            })}
        </div>
    }
}
