//! The open conversation: head, timeline, composer; or what to do when none is open.

use leptos::prelude::*;
use quorate_client::proto::frame::PresenceState;
use quorate_client::view::called;

use super::avatar::Avatar;
use super::composer::Composer;
use super::icons::{Glyph, Icon, Mark};
use super::timeline::Timeline;
use crate::context::{App, Heading};
use crate::route;

/// See the module.
#[component]
pub(crate) fn Chat() -> impl IntoView {
    let app = App::of_context();
    view! {
        <main class="chat" aria-label="Conversation">
            {move || match app.focused.get() {
                Some(id) => view! {
                    <Head/>
                    <Timeline id/>
                    <Composer id/>
                }.into_any(),
                None => view! { <Nothing/> }.into_any(),
            }}
        </main>
    }
}

#[component]
fn Head() -> impl IntoView {
    let app = App::of_context();
    let name = Memo::new(move |_| {
        app.heading.with(|heading| heading.as_ref().map(|heading| heading.name.clone()).unwrap_or_default())
    });
    let about = move || app.heading.with(|heading| heading.as_ref().map(about).unwrap_or_default());
    let presence = Memo::new(move |_| {
        app.heading.with(|heading| heading.as_ref().and_then(|heading| heading.presence).and_then(shown))
    });
    view! {
        <header class="chat-head" data-region tabindex="-1">
            <a class="icon-button only-phone" href=route::href(None) aria-label="Back to conversations">
                <Glyph icon=Icon::Back/>
            </a>
            {move || view! { <Avatar name=name.get()/> }}
            <div class="title">
                <h1 data-testid="conversation-title">{name}</h1>
                <span>
                    {move || presence.get().map(|(class, word)| view! {
                        <span class=class data-testid="presence" data-presence=word.to_lowercase() aria-hidden="true"></span>
                    })}
                    {about}
                </span>
            </div>
            <button
                type="button"
                class="icon-button"
                data-testid="details-toggle"
                aria-label="Details"
                title="Details"
                aria-expanded=move || app.detailing.get().to_string()
                on:click=move |_| app.detailing.update(|open| *open = !*open)
            >
                <Glyph icon=Icon::Info/>
            </button>
        </header>
    }
}

/// A dot and its word; nothing while nobody can tell.
fn shown(state: PresenceState) -> Option<(&'static str, &'static str)> {
    match state {
        PresenceState::Active => Some(("dot", "Active")),
        PresenceState::Idle => Some(("dot idle", "Idle")),
        PresenceState::Dnd => Some(("dot dnd", "Do not disturb")),
        PresenceState::Offline | PresenceState::Invisible => Some(("dot off", "Offline")),
        PresenceState::Unknown => None,
    }
}

/// Who is in it, in one line.
fn about(heading: &Heading) -> String {
    if !heading.group {
        let word = heading.presence.and_then(shown).map(|(_, word)| word);
        return word.unwrap_or("Direct conversation").to_owned();
    }
    let names: Vec<&str> = heading.members.iter().take(6).map(called).collect();
    let count = heading.member_count;
    let people = if count == 1 { "1 member".to_owned() } else { format!("{count} members") };
    if names.is_empty() { people } else { format!("{people}: {}", names.join(", ")) }
}

#[component]
fn Nothing() -> impl IntoView {
    let app = App::of_context();
    view! {
        <div class="empty">
            <Mark size=44/>
            {move || if app.list.with(Vec::is_empty) {
                view! {
                    <h2>"Welcome to Quorate"</h2>
                    <p>"Start a conversation with anybody by user name. What you write waits here until a majority has it, whatever fails meanwhile."</p>
                }
            } else {
                view! {
                    <h2>"Pick up a conversation"</h2>
                    <p>"Choose one on the left, or start a new one by user name."</p>
                }
            }}
            <button type="button" class="button" on:click=move |_| app.creating.set(true)>"New conversation"</button>
            <dl class="keys">
                <dt><kbd>"Ctrl"</kbd>" "<kbd>"K"</kbd></dt><dd>"Find a conversation"</dd>
                <dt><kbd>"Alt"</kbd>" "<kbd>"↑"</kbd>" "<kbd>"↓"</kbd></dt><dd>"Go to the one above or below"</dd>
                <dt><kbd>"F6"</kbd></dt><dd>"Go through the parts of the page"</dd>
            </dl>
        </div>
    }
}
