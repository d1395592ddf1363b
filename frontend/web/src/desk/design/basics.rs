//! Buttons, fields, icons, faces, presence, and what stands in the place of a list.

use std::collections::BTreeMap;

use leptos::prelude::*;
use quorate_client::proto::frame::PresenceState;
use quorate_client::view::hue;

use super::scene::{Part, Scene, Specimen};
use crate::ui::avatar::Avatar;
use crate::ui::bots::Badge;
use crate::ui::chat::shown;
use crate::ui::icons::{Glyph, Icon, Mark};
use crate::ui::vacant::{Nothing, Reading};
use crate::words::{Word, t};

const ICONS: [Icon; 29] = [
    Icon::Plus,
    Icon::Search,
    Icon::Back,
    Icon::Close,
    Icon::Info,
    Icon::Send,
    Icon::Clock,
    Icon::Check,
    Icon::Checks,
    Icon::Alert,
    Icon::Down,
    Icon::Sun,
    Icon::Moon,
    Icon::System,
    Icon::Leave,
    Icon::Person,
    Icon::Smile,
    Icon::Reply,
    Icon::More,
    Icon::Pin,
    Icon::Bookmark,
    Icon::At,
    Icon::Star,
    Icon::Mute,
    Icon::Later,
    Icon::Shield,
    Icon::Globe,
    Icon::Clip,
    Icon::Retry,
];

const NAMES: [&str; 20] = [
    "Ana", "Ben", "Carla", "Dalia", "Eva", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kofi", "Lena",
    "Milan", "Nadia", "Omar", "Petra", "Quentin", "Rosa", "Sven", "Tariq",
];

/// One name for each colour of a face.
fn faces() -> Vec<&'static str> {
    let mut by_colour = BTreeMap::new();
    for name in NAMES {
        by_colour.entry(hue(name)).or_insert(name);
    }
    by_colour.into_values().collect()
}

const STATES: [PresenceState; 4] =
    [PresenceState::Active, PresenceState::Idle, PresenceState::Dnd, PresenceState::Offline];

/// See the module.
#[component]
pub(super) fn Basics() -> impl IntoView {
    view! {
        <Part id="basics" words=t("Basics")>
            <Buttons/>
            <Fields/>
            <Specimen words=t("Icons")>
                <div class="acts">{ICONS.map(|icon| view! { <Glyph icon/> }).collect_view()}<Mark/></div>
            </Specimen>
            <Specimen words=t("Faces: initials on a colour that stays with the name")>
                <Scene>
                    <div class="acts">
                        {faces().into_iter().map(|name| view! { <Avatar name portrait=None/> }).collect_view()}
                        <Avatar name="Ana" portrait=None size="large"/>
                        <Avatar name="Ana" portrait=None size="small"/>
                    </div>
                </Scene>
            </Specimen>
            <Specimen words=t("Presence; nothing stands where nobody can tell")>
                <ul>
                    {STATES.map(|state| shown(state).map(|(class, words)| view! { <li><span class=class></span>{t(words)}</li> })).collect_view()}
                </ul>
            </Specimen>
            <Specimen words=t("Signs: a program, counts")>
                <p class="acts">
                    <Badge/>
                    <span class="count">"3"</span>
                    <span class="count named">"@1"</span>
                    <kbd>{Word("Ctrl")}" K"</kbd>
                </p>
            </Specimen>
            <Vacancies/>
        </Part>
    }
}

#[component]
fn Buttons() -> impl IntoView {
    view! {
        <Specimen words=t("Buttons")>
            <p class="acts">
                <button type="button" class="button primary">{Word("Send")}</button>
                <button type="button" class="button">{Word("Cancel")}</button>
                <button type="button" class="button danger">{Word("Delete")}</button>
                <button type="button" class="button primary" aria-disabled="true">{Word("Sending…")}</button>
            </p>
            <p class="acts">
                <button type="button" class="icon-button" aria-label=t("Attach files")><Glyph icon=Icon::Clip/></button>
                <button type="button" class="icon-button" aria-label=t("Details") aria-expanded="true"><Glyph icon=Icon::Info/></button>
                <button type="button" class="link-button">{Word("Show more")}</button>
            </p>
        </Specimen>
    }
}

#[component]
fn Fields() -> impl IntoView {
    view! {
        <Specimen words=t("Fields")>
            <label class="field">
                <span>{Word("User name")}</span>
                <input class="input" autocomplete="off" placeholder="ana"/>
                <small>{Word("Others find you by it.")}</small>
            </label>
            <label class="check"><input type="checkbox" checked/>{Word("Public: anybody can find and join it")}</label>
        </Specimen>
        <Specimen words=t("What came of it")>
            <div class="error">{Word("No answer from the server. Check the connection and try again.")}</div>
            <div class="done">{Word("Your password is changed. Every other device is signed out.")}</div>
        </Specimen>
    }
}

/// In the place of a list: read, out of reach, empty.
#[component]
fn Vacancies() -> impl IntoView {
    let (fine, trouble) = (RwSignal::new(String::new()), RwSignal::new("No answer.".to_owned()));
    // Asked again, it is out of reach again.
    let again = Callback::new(move |()| trouble.set("No answer.".to_owned()));
    view! {
        <Specimen words=t("A list while it is read")><Reading error=fine again/></Specimen>
        <Specimen words=t("A list that is out of reach")>
            <div class="error">{trouble}</div>
            <Reading error=trouble again/>
        </Specimen>
        <Specimen words=t("A list with nothing in it")>
            <Nothing words=t("Nothing is saved. Save a message from its menu to come back to it; nobody else sees that.")/>
        </Specimen>
    }
}
