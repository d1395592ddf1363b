//! Where a component is shown: a frame with a name, and signals of its own that nobody else feeds.

use leptos::context::Provider;
use leptos::prelude::*;

use super::people::ana;
use crate::context::App;
use crate::words::t;

/// Draws with signals of its own, which `set` puts as the rules would have them. The reader is Ana.
#[component]
pub(super) fn Scene(#[prop(optional)] set: Option<fn(App)>, children: Children) -> impl IntoView {
    let app = App::new();
    app.me.set(Some(ana()));
    if let Some(set) = set {
        set(app);
    }
    view! { <Provider value=app>{children()}</Provider> }
}

/// A part of the page.
#[component]
pub(super) fn Part(id: &'static str, words: &'static str, children: Children) -> impl IntoView {
    view! {
        <section class="design-part" id=id aria-label=words>
            <h2>{words}</h2>
            <div class="specimens">{children()}</div>
        </section>
    }
}

/// One state of a component, with what it is called.
#[component]
pub(super) fn Specimen(
    words: &'static str,
    /// How it is laid out: `wide` over the whole width, `tall` with a height of its own.
    #[prop(optional)]
    shape: &'static str,
    children: Children,
) -> impl IntoView {
    view! {
        <figure class=format!("specimen {shape}")>
            <figcaption>{words}</figcaption>
            <div class="specimen-body">{children()}</div>
        </figure>
    }
}

/// The same for what takes the focus or the screen when it is drawn: only once somebody asks for it.
#[component]
pub(super) fn OnDemand(
    words: &'static str,
    #[prop(optional)] shape: &'static str,
    children: ChildrenFn,
) -> impl IntoView {
    let open = RwSignal::new(false);
    view! {
        <figure class=format!("specimen {shape}")>
            <figcaption>
                {words}" "
                <button type="button" class="link-button" data-testid="show" aria-expanded=move || open.get().to_string() on:click=move |_| open.update(|open| *open = !*open)>
                    {move || if open.get() { t("Hide") } else { t("Show") }}
                </button>
            </figcaption>
            {move || open.get().then(|| view! { <div class="specimen-body">{children()}</div> })}
        </figure>
    }
}
