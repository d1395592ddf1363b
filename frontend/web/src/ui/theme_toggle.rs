//! System, light, dark, and round again.

use leptos::prelude::*;

use super::icons::{Glyph, Icon};
use crate::context::App;
use crate::theme::Theme;
use crate::words::tf;

/// A button that says what is chosen.
#[component]
pub(crate) fn ThemeToggle() -> impl IntoView {
    let theme = App::of_context().theme;
    let label = move || {
        let (now, next) = (theme.get(), theme.get().next());
        tf("Theme: {}. Change to {}", &[&now.said(), &next.said()])
    };
    view! {
        <button
            type="button"
            class="icon-button"
            data-testid="theme-toggle"
            data-theme-choice=move || theme.get().word()
            aria-label=label
            title=label
            on:click=move |_| {
                let next = theme.get_untracked().next();
                next.apply();
                theme.set(next);
            }
        >
            {move || match theme.get() {
                Theme::System => view! { <Glyph icon=Icon::System/> },
                Theme::Light => view! { <Glyph icon=Icon::Sun/> },
                Theme::Dark => view! { <Glyph icon=Icon::Moon/> },
            }}
        </button>
    }
}
