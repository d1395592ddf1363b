//! The open conversation: head, timeline, composer; or what to do when none is open.

use leptos::prelude::*;
use quorate_client::proto::frame::PresenceState;
use quorate_client::view::called;

use super::avatar::Avatar;
use super::bots::Badge;
use super::composer::Composer;
use super::icons::{Glyph, Icon, Mark};
use super::select_bar::SelectBar;
use super::timeline::Timeline;
use super::tray::DropZone;
use crate::context::{App, Heading, Panel, Sheet, unless_gone};
use crate::follow::{after, memo};
use crate::route;
use crate::words::{Word, keyed, t, tn};

/// See the module.
#[component]
pub(crate) fn Chat() -> impl IntoView {
    let app = App::of_context();
    // Somebody else's link, or one that she was taken out of: there is nothing to wait for.
    let foreign = memo(move || app.listed.get() && app.heading.with(Option::is_none));
    view! {
        <main class="chat" aria-label=t("Conversation")>
            {move || match app.focused.get() {
                Some(_) if foreign.get() => view! { <Foreign/> }.into_any(),
                Some(id) => view! {
                    <Head/>
                    <Pinned/>
                    <Timeline id/>
                    <Filling/>
                    <SelectBar/>
                    <Composer id/>
                    <DropZone id/>
                }.into_any(),
                None => view! { <Nothing/> }.into_any(),
            }}
        </main>
    }
}

#[component]
fn Head() -> impl IntoView {
    let app = App::of_context();
    let face = memo(move || {
        app.heading.with(|heading| {
            heading.as_ref().map(|heading| (heading.name.clone(), heading.portrait)).unwrap_or_default()
        })
    });
    let bot = memo(move || app.heading.with(|heading| heading.as_ref().is_some_and(|heading| heading.bot)));
    let about = move || app.heading.with(|heading| heading.as_ref().map(about).unwrap_or_default());
    let presence = memo(move || {
        app.heading.with(|heading| heading.as_ref().and_then(|heading| heading.presence).and_then(shown))
    });
    view! {
        <header class="chat-head" data-region tabindex="-1">
            <a class="icon-button only-phone" href=route::href(None) aria-label=t("Back to conversations")>
                <Glyph icon=Icon::Back/>
            </a>
            {move || {
                let (name, portrait) = face.get();
                view! { <Avatar name portrait/> }
            }}
            <div class="title">
                <h1 data-testid="conversation-title">{move || face.get().0}</h1>
                <span>
                    {move || bot.get().then(|| view! { <Badge/>" " })}
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
                aria-label=t("Details")
                title=t("Details")
                aria-expanded=move || app.detailing.get().to_string()
                on:click=move |_| {
                    app.panel.set(None);
                    app.detailing.update(|open| *open = !*open);
                }
            >
                <Glyph icon=Icon::Info/>
            </button>
        </header>
    }
}

/// How many messages are pinned, and the way to them.
#[component]
fn Pinned() -> impl IntoView {
    let app = App::of_context();
    let count =
        memo(move || app.heading.with(|heading| heading.as_ref().map_or(0, |heading| heading.pin_count)));
    move || {
        (count.get() > 0).then(|| {
            let words = tn(count.get().into(), "{} pinned message", "{} pinned messages");
            view! {
                <button type="button" class="pinned-bar" data-testid="pins" on:click=move |_| {
                    app.detailing.set(false);
                    app.panel.set(Some(Panel::Pins));
                }>
                    <Glyph icon=Icon::Pin size=14/>{words}
                </button>
            }
        })
    }
}

/// Stands behind the newest message shown while what was missed after it is on its way, unless that is quick.
#[component]
fn Filling() -> impl IntoView {
    let app = App::of_context();
    let filling = memo(move || app.heading.with(|heading| heading.as_ref().is_some_and(|it| it.filling)));
    view! {
        <div class="catching" role="status">
            {move || filling.get().then(|| view! { <p class="loading" data-testid="gap">{Word("Loading what you missed…")}</p> })}
        </div>
    }
}

/// A dot and its word in English; nothing while nobody can tell.
pub(crate) fn shown(state: PresenceState) -> Option<(&'static str, &'static str)> {
    match state {
        PresenceState::Active => Some(("dot", keyed("Active"))),
        PresenceState::Idle => Some(("dot idle", keyed("Idle"))),
        PresenceState::Dnd => Some(("dot dnd", keyed("Do not disturb"))),
        PresenceState::Offline | PresenceState::Invisible => Some(("dot off", keyed("Offline"))),
        PresenceState::Unknown => None,
    }
}

/// How many are in it.
pub(crate) fn members(count: u32) -> String {
    tn(count.into(), "{} member", "{} members")
}

/// Who is in it, in one line.
fn about(heading: &Heading) -> String {
    if !heading.group {
        let word = heading.presence.and_then(shown).map(|(_, word)| word);
        return t(word.unwrap_or(keyed("Direct conversation"))).to_owned();
    }
    if !heading.topic.is_empty() {
        return heading.topic.clone();
    }
    let names: Vec<&str> = heading.members.iter().take(6).map(called).collect();
    let count = heading.member_count;
    let people = members(count);
    if names.is_empty() { people } else { format!("{people}: {}", names.join(", ")) }
}

/// A conversation that is not the reader's.
#[component]
fn Foreign() -> impl IntoView {
    /// One that she has just made or joined is hers as soon as its event is here.
    const WAIT: std::time::Duration = std::time::Duration::from_secs(2);
    let app = App::of_context();
    let waited = RwSignal::new(false);
    let say = move || unless_gone(waited.try_set(true));
    match after(WAIT, say) {
        Some(timer) => on_cleanup(move || timer.clear()),
        None => waited.set(true),
    }
    view! {
        <div class="empty" data-testid="foreign" role="status">
            {move || if waited.get() {
                view! {
                    <h2>{Word("You are not in this conversation")}</h2>
                    <p>{Word("It does not exist, or you were never a member of it, or you no longer are.")}</p>
                    <div class="acts">
                        <a class="button" href=route::href(None)>{Word("Back to your conversations")}</a>
                        <button type="button" class="button" on:click=move |_| app.sheet.set(Some(Sheet::Channels))>{Word("Browse channels")}</button>
                    </div>
                }.into_any()
            } else {
                view! { <p>{Word("Loading…")}</p> }.into_any()
            }}
        </div>
    }
}

#[component]
fn Nothing() -> impl IntoView {
    let app = App::of_context();
    view! {
        <div class="empty">
            <Mark size=44/>
            {move || if app.list.with(Vec::is_empty) {
                view! {
                    <h2>{Word("Welcome to Quorate")}</h2>
                    <p>{Word("Start a conversation with anybody by user name. What you write waits here until a majority has it, whatever fails meanwhile.")}</p>
                }
            } else {
                view! {
                    <h2>{Word("Pick up a conversation")}</h2>
                    <p>{Word("Choose one on the left, or start a new one by user name.")}</p>
                }
            }}
            <div class="acts">
                <button type="button" class="button" on:click=move |_| app.creating.set(true)>{Word("New conversation")}</button>
                <button type="button" class="button" on:click=move |_| app.sheet.set(Some(Sheet::Channels))>{Word("Browse channels")}</button>
            </div>
            <dl class="keys">
                <dt><kbd>{Word("Ctrl")}</kbd>" "<kbd>"K"</kbd></dt><dd>{Word("Find a conversation")}</dd>
                <dt><kbd>"Alt"</kbd>" "<kbd>"↑"</kbd>" "<kbd>"↓"</kbd></dt><dd>{Word("Go to the one above or below")}</dd>
                <dt><kbd>"↑"</kbd></dt><dd>{Word("Edit your last message")}</dd>
                <dt><kbd>"/"</kbd></dt><dd>{Word("Search messages")}</dd>
                <dt><kbd>{Word("Ctrl")}</kbd>" "<kbd>"/"</kbd></dt><dd>{Word("Show all keys, as does ?")}</dd>
            </dl>
        </div>
    }
}
