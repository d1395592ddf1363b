//! The design system, at `/design`: the tokens, and every component of the chat in every state.
//!
//! Owns: the sentences and people of its scenes. Must not know: how a component looks; each is drawn by itself, in a [`Scene`](scene::Scene)
//! whose signals say what it would be told by the rules. Nobody is signed in here and nothing is asked of a server, so lists that are read
//! from one show how they are out of reach.

mod basics;
mod messages;
mod panels;
mod people;
mod scene;
mod sidebar;
mod stages;
mod tokens;
mod writing;

use leptos::prelude::*;

use crate::context::App;
use crate::keys;
use crate::ui::appearance::Density;
use crate::ui::icons::Mark;
use crate::ui::theme_toggle::ThemeToggle;
use crate::ui::toast::Toast;
use crate::words::{Word, keyed, t};

/// The parts of the page: what each is called, and its address.
const PARTS: [(&str, &str); 7] = [
    (keyed("Tokens"), "tokens"),
    (keyed("Basics"), "basics"),
    (keyed("Sidebar"), "sidebar"),
    (keyed("Messages"), "messages"),
    (keyed("Writing"), "writing"),
    (keyed("Panels and dialogs"), "panels"),
    (keyed("Whole screens"), "screens"),
];

/// Whether the address asks for the design system, and not for the desk.
pub(crate) fn is_asked() -> bool {
    window().location().pathname().is_ok_and(|path| path.trim_end_matches('/') == "/design")
}

/// The root.
#[component]
pub(crate) fn Design() -> impl IntoView {
    provide_context(App::new());
    keys::listen_regions();
    document().set_title(t("Design · Quorate"));
    view! {
        <div class="design">
            <header class="design-head" data-region tabindex="-1">
                <span class="brand"><Mark/>"Quorate"</span>
                <h1>{Word("Design")}</h1>
                <span class="acts"><Density/><ThemeToggle/></span>
            </header>
            <nav class="tabs" aria-label=t("Parts") data-region tabindex="-1">
                {PARTS.map(|(words, id)| view! { <a href=format!("#{id}")>{t(words)}</a> }).collect_view()}
            </nav>
            <main class="design-body" data-testid="design" data-region tabindex="-1">
                <p class="design-lead">{Word("Everything that the chat is made of, in every state, drawn by the components themselves. Theme and density are switched above and hold for the chat on this device as well.")}</p>
                <tokens::Tokens/>
                <basics::Basics/>
                <sidebar::Sidebars/>
                <messages::Messages/>
                <writing::Writing/>
                <panels::Panels/>
                <panels::Screens/>
            </main>
        </div>
        <Toast/>
    }
}
