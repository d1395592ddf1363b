//! The page: door or frame, and the listeners that live as long as it does.

use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;

use super::account::Account;
use super::banner::Banner;
use super::chat::Chat;
use super::details::Details;
use super::door::Door;
use super::lightbox::Lightbox;
use super::new_conversation::NewConversation;
use super::panel::Panel;
use super::sheet::Sheets;
use super::sidebar::Sidebar;
use super::starting::Starting;
use super::switcher::Switcher;
use super::toast::Toast;
use super::tray::keep_files;
use crate::context::{App as Context, Stage};
use crate::driver::{device, keeping, windows};
use crate::follow::{after, follow, memo, next_frame};
use crate::keys;

/// The window's title and icon change at once, and then not before this.
const TITLE_INTERVAL: std::time::Duration = std::time::Duration::from_millis(400);

/// The root.
#[component]
pub(crate) fn App() -> impl IntoView {
    let app = Context::new();
    provide_context(app);
    listen(app);
    windows::listen(app);
    keys::listen(app);
    spawn_local(app.start());
    // What is unread shows in the window's title and on its icon.
    let name = memo(move || app.heading.with(|heading| heading.as_ref().map(|heading| heading.name.clone())));
    let waits = StoredValue::new(false);
    follow(move || {
        app.badge.track();
        name.track();
        if !waits.get_value() {
            let again = after(TITLE_INTERVAL, move || {
                waits.set_value(false);
                entitle(app.badge.get_untracked(), name.get_untracked());
            });
            waits.set_value(again.is_some());
            entitle(app.badge.get_untracked(), name.get_untracked());
        }
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

/// Each change is work for all that a browser shows of its windows.
fn entitle(unread: u64, name: Option<String>) {
    let count = if unread == 0 { String::new() } else { format!("({unread}) ") };
    let name = name.map_or_else(String::new, |name| format!("{name} · "));
    let title = format!("{count}{name}Quorate");
    if document().title() != title {
        document().set_title(&title);
    }
    device::badge(u32::try_from(unread).unwrap_or(u32::MAX));
}

#[component]
fn Frame() -> impl IntoView {
    let app = Context::of_context();
    give_focus_back(app);
    view! {
        <div class="frame">
            <Banner/>
            <div class="columns" class:chatting=move || app.focused.get().is_some()>
                <Sidebar/>
                <Chat/>
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

/// Who closes what stands at the side is back where she opened it. Dialogs do so by themselves.
fn give_focus_back(app: Context) {
    let opener = StoredValue::new_local(None::<web_sys::Element>);
    let open = memo(move || app.panel.with(Option::is_some) || app.detailing.get());
    Effect::new(move |was: Option<bool>| {
        let open = open.get();
        if open && was == Some(false) {
            opener.set_value(document().active_element());
        } else if !open && was == Some(true) {
            // What had the focus is gone by the next frame, unless it went elsewhere on purpose.
            next_frame(move || {
                let lost = document().active_element().is_none_or(|active| active.tag_name() == "BODY");
                if let Some(opener) = opener.try_get_value().flatten().filter(|_| lost) {
                    keys::focus(&opener);
                }
            });
        }
        open
    });
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
        // The frame that was waited for may not come for long.
        app.catch_up();
        app.say_presence(!hidden);
        if hidden {
            // Browsers let go of hidden pages without a word.
            keeping::now(app);
        } else {
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
