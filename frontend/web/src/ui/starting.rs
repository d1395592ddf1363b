//! The static shell again, with what hinders the start.

use leptos::prelude::*;

use crate::words::{t, tf};

/// See the module.
#[component]
pub(crate) fn Starting(hindrance: Option<String>) -> impl IntoView {
    view! {
        <main class="shell" aria-busy="true">
            <div class="shell-mark" aria-hidden="true"><i></i><i></i><i></i><i></i><i></i></div>
            <p class="shell-name">"Quorate"</p>
            <p class="shell-word" role="status">
                {hindrance.map_or_else(|| t("Opening…").to_owned(), |why| tf("{} Trying again…", &[&why]))}
            </p>
        </main>
    }
}
