//! Somebody's picture, or a group's; until it is here, and for whoever has none, initials on a colour that stays with the name.

use leptos::prelude::*;
use quorate_client::view::{Portrait, hue, initials};

use crate::context::App;
use crate::driver::pictures;

/// What is shown of somebody or a group: what stands for it, and its picture.
pub(super) type Face = (String, Option<Portrait>);

/// Decoration: the name stands beside it. The picture lies over the initials, so nothing moves when it comes.
#[component]
pub(crate) fn Avatar(
    #[prop(into)] name: String,
    portrait: Option<Portrait>,
    #[prop(optional)] size: &'static str,
) -> impl IntoView {
    let picture = portrait.and_then(|portrait| {
        let app = App::of_context();
        let place = pictures::take(app, portrait)?;
        on_cleanup(move || pictures::release(app, portrait.file));
        Some(move || place.get().map(|address| view! { <img src=address alt="" draggable="false"/> }))
    });
    view! {
        <span class=format!("avatar {size} h{}", hue(&name)) aria-hidden="true">{initials(&name)}{picture}</span>
    }
}
