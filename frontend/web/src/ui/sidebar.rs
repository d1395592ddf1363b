//! The left side: brand, search, conversations, oneself.

use leptos::prelude::*;
use quorate_client::view::{called, portrait_of};

use super::avatar::Avatar;
use super::icons::{Glyph, Icon, Mark};
use super::list::List;
use super::theme_toggle::ThemeToggle;
use crate::context::{App, Panel, Sheet};
use crate::follow::memo;
use crate::words::{Word, t, tf};

/// See the module.
#[component]
pub(crate) fn Sidebar() -> impl IntoView {
    let app = App::of_context();
    view! {
        <nav class="side" aria-label=t("Conversations") data-region tabindex="-1">
            <div class="side-head">
                <span class="brand"><Mark/>"Quorate"</span>
                <ThemeToggle/>
                <button
                    type="button"
                    class="icon-button"
                    data-testid="new-conversation"
                    aria-label=t("New conversation")
                    title=t("New conversation")
                    on:click=move |_| app.creating.set(true)
                >
                    <Glyph icon=Icon::Plus/>
                </button>
            </div>
            <div class="side-find">
                <button type="button" class="find-button" on:click=move |_| app.switching.set(true)>
                    <Glyph icon=Icon::Search size=16/>
                    {Word("Find a conversation")}
                    <kbd>{Word("Ctrl")}" K"</kbd>
                </button>
            </div>
            <div class="side-ways">
                <Way icon=Icon::Search words=t("Search messages") which=Panel::Search testid="search"/>
                <Way icon=Icon::At words=t("Mentions") which=Panel::Mentions testid="mentions"/>
                <Way icon=Icon::Bookmark words=t("Saved") which=Panel::Saved testid="saved-list"/>
                <Way icon=Icon::Later words=t("Scheduled") which=Panel::Scheduled testid="scheduled-list"/>
                <button type="button" class="icon-button" aria-label=t("Browse channels") title=t("Browse channels") data-testid="channels" on:click=move |_| app.sheet.set(Some(Sheet::Channels))>
                    <Glyph icon=Icon::Globe size=18/>
                </button>
                {move || app.admin.get().then(|| view! {
                    <a class="icon-button" href="/desk" aria-label=t("Administration") title=t("Administration") data-testid="administer">
                        <Glyph icon=Icon::Shield size=18/>
                    </a>
                })}
            </div>
            <List/>
            <div class="side-foot">
                {move || app.me.get().map(|me| view! {
                    <Avatar name=called(&me).to_owned() portrait=portrait_of(&me)/>
                    <span class="who">
                        <b data-testid="me">{called(&me).to_owned()}</b>
                        <span>{format!("@{}", me.name)}</span>
                    </span>
                })}
                <button
                    type="button"
                    class="icon-button"
                    data-testid="account"
                    aria-label=t("Account")
                    title=t("Account")
                    on:click=move |_| app.accounting.set(true)
                >
                    <Glyph icon=Icon::Person/>
                </button>
                <button
                    type="button"
                    class="icon-button"
                    data-testid="sign-out"
                    aria-label=t("Sign out")
                    title=t("Sign out")
                    on:click=move |_| app.leave()
                >
                    <Glyph icon=Icon::Leave/>
                </button>
            </div>
        </nav>
    }
}

/// A button that opens a panel, with what waits in it.
#[component]
fn Way(icon: Icon, words: &'static str, which: Panel, testid: &'static str) -> impl IntoView {
    let app = App::of_context();
    let count = memo(move || match which {
        Panel::Mentions => app.list.with(|list| list.iter().map(|row| row.mentions).sum::<u64>()),
        _ => 0,
    });
    let label = move || match count.get() {
        0 => words.to_owned(),
        count => tf("{}, {} new", &[&words, &count]),
    };
    view! {
        <button
            type="button"
            class="icon-button"
            aria-label=label
            title=words
            data-testid=testid
            aria-expanded=move || (app.panel.get() == Some(which)).to_string()
            on:click=move |_| {
                let open = app.panel.get_untracked() == Some(which);
                app.detailing.set(false);
                app.panel.set((!open).then_some(which));
            }
        >
            <Glyph icon size=18/>
            {move || (count.get() > 0).then(|| view! { <span class="badge" aria-hidden="true">{count.get().min(99).to_string()}</span> })}
        </button>
    }
}
