//! How the page looks on this device, in the account's dialog.

use leptos::prelude::*;

use super::theme_toggle::ThemeToggle;
use crate::follow::memo;
use crate::words::{Word, t};
use crate::{theme, words};

/// Theme, density and language.
#[component]
pub(crate) fn Appearance() -> impl IntoView {
    view! {
        <section data-testid="appearance">
            <h3>{Word("Appearance on this device")}</h3>
            <p class="acts"><ThemeToggle/><Density/></p>
            <Language/>
        </section>
    }
}

/// The page's language. Another one needs the page anew; with the keys each step through the choices is one, so a button does it.
#[component]
fn Language() -> impl IntoView {
    let had = words::chosen();
    let chosen = RwSignal::new(had.clone());
    let names = [("", t("System"))].into_iter().chain(words::LANGUAGES);
    let options = names
        .map(|(code, name)| view! { <option value=code.to_owned() selected={code == had}>{name}</option> })
        .collect_view();
    let other = memo(move || chosen.with(|chosen| *chosen != had));
    view! {
        <div class="acts language">
            <label class="field">
                <span>{Word("Language")}</span>
                <select class="input" data-testid="language" on:change=move |event| chosen.set(event_target_value(&event))>{options}</select>
            </label>
            {move || other.get().then(|| view! {
                <button type="button" class="button" data-testid="apply-language" on:click=move |_| words::choose(&chosen.get_untracked())>{Word("Use this language")}</button>
            })}
        </div>
    }
}

/// Cosy or compact.
#[component]
pub(crate) fn Density() -> impl IntoView {
    view! {
        <label class="check">
            <input
                type="checkbox"
                data-testid="compact"
                prop:checked=theme::is_compact()
                on:change=move |event| theme::set_compact(event_target_checked(&event))
            />
            {Word("Compact: more on the screen, less space between")}
        </label>
    }
}
