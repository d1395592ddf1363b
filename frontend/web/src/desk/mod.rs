//! The desk: what admins see and do, at an address of its own, so that nobody else loads it. A session like the chat's, drawn
//! differently; all that it shows comes by REST, from servers that look whether the caller is an admin.

mod audit;
mod cluster;
mod demo;
pub(crate) mod design;
mod film;
mod groups;
mod members;
mod poll;
mod probe;
mod replica;
mod reports;
mod stages;
mod users;

use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;
use web_sys::{ScrollIntoViewOptions, ScrollLogicalPosition};

use crate::context::{App, Stage};
use crate::driver::rest;
use crate::follow::{follow, next_frame};
use crate::keys;
use crate::ui::account::act;
use crate::ui::icons::{Glyph, Icon};
use crate::ui::starting::Starting;
use crate::ui::toast::Toast;
use crate::words::{Word, keyed, t};
use audit::Log;
use cluster::Cluster;
use demo::{DemoPart, look_for_demo};
use groups::Groups;
use reports::Queue;
use users::Users;

/// Parts of the desk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Users,
    Groups,
    Reports,
    Audit,
    Cluster,
    Demo,
}

/// Each part, its address after `#/`, and what it is called.
const PARTS: [(Part, &str, &str); 6] = [
    (Part::Users, "users", keyed("Users")),
    (Part::Groups, "groups", keyed("Groups")),
    (Part::Reports, "reports", keyed("Reports")),
    (Part::Audit, "audit", keyed("Audit log")),
    (Part::Cluster, "cluster", keyed("Cluster")),
    (Part::Demo, "demo", keyed("Demo")),
];

/// What the address says.
fn part() -> Part {
    let hash = location_hash().unwrap_or_default();
    let name = hash.trim_start_matches('/');
    PARTS.iter().find(|(_, address, _)| *address == name).map_or_else(Part::default, |(part, ..)| *part)
}

/// The root.
#[component]
pub(crate) fn Desk() -> impl IntoView {
    let app = App::new();
    provide_context(app);
    listen(app);
    keys::listen_regions();
    spawn_local(app.start_desk());
    document().set_title(t("Administration · Quorate"));
    view! {
        {move || match app.stage.get() {
            Stage::Starting(hindrance) => view! { <Starting hindrance/> }.into_any(),
            Stage::Door(_) => view! { <Elsewhere words=t("Sign in first, as an admin.")/> }.into_any(),
            Stage::Inside if app.admin.get() => view! { <Administration/> }.into_any(),
            Stage::Inside => view! { <Elsewhere words=t("Only admins see this part.")/> }.into_any(),
        }}
        <Toast/>
    }
}

/// What is not for whoever asks, and where to go instead.
#[component]
fn Elsewhere(words: &'static str) -> impl IntoView {
    view! {
        <main class="shell">
            <p class="shell-name">"Quorate"</p>
            <p class="shell-word" role="status">{words}</p>
            <p><a class="button primary" href="/">{Word("To the chat")}</a></p>
        </main>
    }
}

#[component]
fn Administration() -> impl IntoView {
    // Known before it is shown: most clusters have no demo.
    let demo = RwSignal::new(false);
    look_for_demo(App::of_context(), demo);
    let shown = RwSignal::new(part());
    let route = window_event_listener(ev::hashchange, move |_| shown.set(part()));
    on_cleanup(move || route.remove());
    // On a phone not all tabs have room: the one that is open is brought into view, also when the phone is turned.
    let turned = Trigger::new();
    let resize = window_event_listener(ev::resize, move |_| turned.notify());
    on_cleanup(move || resize.remove());
    follow(move || {
        let _ = (shown.get(), demo.get());
        turned.track();
        next_frame(|| {
            if let Ok(Some(tab)) = document().query_selector(".tabs [aria-current]") {
                let options = ScrollIntoViewOptions::new();
                options.set_block(ScrollLogicalPosition::Nearest);
                options.set_inline(ScrollLogicalPosition::Nearest);
                tab.scroll_into_view_with_scroll_into_view_options(&options);
            }
        });
    });
    view! {
        <main class="chat admin" aria-label=t("Administration") data-testid="administration">
            <header class="chat-head" data-region tabindex="-1">
                <a class="icon-button" href="/" aria-label=t("To the chat") title=t("To the chat")><Glyph icon=Icon::Back/></a>
                <div class="title"><h1>{Word("Administration")}</h1></div>
            </header>
            <nav class="tabs" aria-label=t("Parts") data-region tabindex="-1">
                {PARTS.map(|(which, address, words)| view! {
                    <a href=format!("#/{address}") hidden=move || which == Part::Demo && !demo.get() aria-current=move || (shown.get() == which).then_some("page")>{t(words)}</a>
                }).collect_view()}
            </nav>
            <div class="admin-body" data-region tabindex="-1">
                {move || match shown.get() {
                    Part::Users => view! { <Users/> }.into_any(),
                    Part::Groups => view! { <Groups/> }.into_any(),
                    Part::Reports => view! { <Queue/> }.into_any(),
                    Part::Audit => view! { <Log/> }.into_any(),
                    Part::Cluster => view! { <Cluster/> }.into_any(),
                    Part::Demo => view! { <DemoPart/> }.into_any(),
                }}
            </div>
        </main>
    }
}

fn listen(app: App) {
    let online = window_event_listener(ev::online, move |_| {
        app.input(Input::Online);
    });
    let offline = window_event_listener(ev::offline, move |_| {
        app.input(Input::Offline);
    });
    let visible = window_event_listener_untyped("visibilitychange", move |_| {
        let hidden = document().hidden();
        app.visible.set(!hidden);
        if !hidden {
            app.input(Input::Visible);
        }
    });
    on_cleanup(move || {
        online.remove();
        offline.remove();
        visible.remove();
    });
}

/// Reads a page, and puts into words why not.
fn load<A: serde::de::DeserializeOwned + 'static>(
    app: App,
    path: String,
    error: RwSignal<String>,
    done: impl FnOnce(A) + 'static,
) {
    act(
        app,
        error,
        || {},
        move |token| async move {
            done(rest::read::<A>(&token, &path).await?);
            Ok(())
        },
    );
}
