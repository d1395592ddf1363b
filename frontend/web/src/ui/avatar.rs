//! Initials on a colour that stays with the name.

use leptos::prelude::*;
use quorate_client::view::{hue, initials};

/// Decoration: the name stands beside it.
#[component]
pub(crate) fn Avatar(#[prop(into)] name: String, #[prop(optional)] size: &'static str) -> impl IntoView {
    view! { <span class=format!("avatar {size} h{}", hue(&name)) aria-hidden="true">{initials(&name)}</span> }
}
