//! The left side: brand, search, conversations, oneself.

use leptos::prelude::*;
use quorate_client::view::called;

use super::avatar::Avatar;
use super::icons::{Glyph, Icon, Mark};
use super::list::List;
use super::theme_toggle::ThemeToggle;
use crate::context::App;

/// See the module.
#[component]
pub(crate) fn Sidebar() -> impl IntoView {
    let app = App::of_context();
    view! {
        <nav class="side" aria-label="Conversations" data-region tabindex="-1">
            <div class="side-head">
                <span class="brand"><Mark/>"Quorate"</span>
                <ThemeToggle/>
                <button
                    type="button"
                    class="icon-button"
                    data-testid="new-conversation"
                    aria-label="New conversation"
                    title="New conversation"
                    on:click=move |_| app.creating.set(true)
                >
                    <Glyph icon=Icon::Plus/>
                </button>
            </div>
            <div class="side-find">
                <button type="button" class="find-button" on:click=move |_| app.switching.set(true)>
                    <Glyph icon=Icon::Search size=16/>
                    "Find a conversation"
                    <kbd>"Ctrl K"</kbd>
                </button>
            </div>
            <List/>
            <div class="side-foot">
                {move || app.me.get().map(|me| view! {
                    <Avatar name=called(&me).to_owned()/>
                    <span class="who">
                        <b data-testid="me">{called(&me).to_owned()}</b>
                        <span>{format!("@{}", me.name)}</span>
                    </span>
                })}
                <button
                    type="button"
                    class="icon-button"
                    data-testid="account"
                    aria-label="Account"
                    title="Account"
                    on:click=move |_| app.accounting.set(true)
                >
                    <Glyph icon=Icon::Person/>
                </button>
                <button
                    type="button"
                    class="icon-button"
                    data-testid="sign-out"
                    aria-label="Sign out"
                    title="Sign out"
                    on:click=move |_| app.sign_out()
                >
                    <Glyph icon=Icon::Leave/>
                </button>
            </div>
        </nav>
    }
}
