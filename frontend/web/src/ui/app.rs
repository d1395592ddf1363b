//! The page: door or frame, and the listeners that live as long as it does.

use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;

use super::account::Account;
use super::admin::Administration;
use super::banner::Banner;
use super::chat::Chat;
use super::details::Details;
use super::door::Door;
use super::lightbox::Lightbox;
use super::new_conversation::NewConversation;
use super::panel::Panel;
use super::sheet::Sheets;
use super::sidebar::Sidebar;
use super::switcher::Switcher;
use super::toast::Toast;
use super::tray::keep_files;
use crate::context::{App as Context, Stage};
use crate::follow::follow;
use crate::keys;

/// The root.
#[component]
pub(crate) fn App() -> impl IntoView {
    let app = Context::new();
    provide_context(app);
    listen(app);
    keys::listen(app);
    spawn_local(app.start());
    // What is unread shows in the window's title.
    follow(move || {
        let unread = app.badge.get();
        let name = app.heading.with(|heading| heading.as_ref().map(|heading| heading.name.clone()));
        let count = if unread == 0 { String::new() } else { format!("({unread}) ") };
        let name = name.map_or_else(String::new, |name| format!("{name} · "));
        document().set_title(&format!("{count}{name}Quorate"));
    });
    view! {
        {move || match app.stage.get() {
            Stage::Starting(hindrance) => view! { <Starting hindrance/> }.into_any(),
            Stage::Door(why) => view! { <Door why/> }.into_any(),
            Stage::Inside => view! { <Frame/> }.into_any(),
        }}
        <Toast/>
    }
}

/// The static shell again, with what hinders the start.
#[component]
fn Starting(hindrance: Option<String>) -> impl IntoView {
    view! {
        <main class="shell" aria-busy="true">
            <div class="shell-mark" aria-hidden="true"><i></i><i></i><i></i><i></i><i></i></div>
            <p class="shell-name">"Quorate"</p>
            <p class="shell-word" role="status">
                {hindrance.map_or_else(|| "Opening…".to_owned(), |why| format!("{why} Trying again…"))}
            </p>
        </main>
    }
}

#[component]
fn Frame() -> impl IntoView {
    let app = Context::of_context();
    view! {
        <div class="frame">
            <Banner/>
            <div class="columns" class:chatting=move || app.focused.get().is_some() || app.administering.get()>
                <Sidebar/>
                {move || if app.administering.get() {
                    view! { <Administration/> }.into_any()
                } else {
                    view! { <Chat/> }.into_any()
                }}
                {move || app.detailing.get().then(|| view! { <Details/> })}
                <Panel/>
            </div>
        </div>
        <Account/>
        <NewConversation/>
        <Switcher/>
        <Sheets/>
        <Lightbox/>
    }
}

fn listen(app: Context) {
    let online = window_event_listener(ev::online, move |_| {
        app.input(Input::Online);
    });
    let offline = window_event_listener(ev::offline, move |_| {
        app.input(Input::Offline);
    });
    let visible = window_event_listener_untyped("visibilitychange", move |_| {
        let hidden = document().hidden();
        app.visible.set(!hidden);
        app.say_presence(!hidden);
        if !hidden {
            app.input(Input::Visible);
        }
    });
    let route = window_event_listener(ev::hashchange, move |_| app.follow_route());
    // The browser asks before it lets files go with the page that no message shows yet.
    let leave = window_event_listener(ev::beforeunload, move |event| {
        if app.with(|client| client.uploads().has_any()) {
            event.prevent_default();
        }
    });
    // Without an open conversation they are for nobody.
    let dragged = window_event_listener(ev::dragover, |event| {
        keep_files(&event);
    });
    let dropped = window_event_listener(ev::drop, |event| {
        keep_files(&event);
    });
    on_cleanup(move || {
        dragged.remove();
        dropped.remove();
        online.remove();
        offline.remove();
        visible.remove();
        route.remove();
        leave.remove();
    });
}
