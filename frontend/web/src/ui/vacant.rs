//! What stands in the place of a list: while it is read, where it could not be read, and where there is nothing in it.

use leptos::html;
use leptos::prelude::*;
use web_sys::Element;

use crate::follow::{memo, next_frame};
use crate::keys;
use crate::words::{Word, t};

/// Until the list is there. Why it could not be read stands above it, in the `error` that its panel has anyway. Whoever asks again keeps
/// the focus: on the button for as long as it is there, then on the part of the page around it.
#[component]
pub(crate) fn Reading(error: RwSignal<String>, again: Callback<()>) -> impl IntoView {
    let button = NodeRef::<html::Button>::new();
    let around = StoredValue::new_local(None::<Element>);
    let tried = RwSignal::new(false);
    let failed = move || !error.with(String::is_empty);
    let offers = memo(move || tried.get() || failed());
    let retry = move |_| {
        if untrack(failed) {
            let part =
                button.get_untracked().and_then(|button| button.closest("[tabindex], dialog").ok().flatten());
            around.set_value(part);
            tried.set(true);
            error.set(String::new());
            again.run(());
        }
    };
    on_cleanup(move || {
        if let Some(part) = around.try_get_value().flatten() {
            // What had the focus is gone by the next frame, unless it went elsewhere on purpose.
            next_frame(move || {
                if document().active_element().is_none_or(|active| active.tag_name() == "BODY") {
                    let inner =
                        part.query_selector("button").ok().flatten().filter(|_| part.tag_name() == "DIALOG");
                    keys::focus(inner.as_ref().unwrap_or(&part));
                }
            });
        }
    });
    move || {
        if offers.get() {
            view! {
                <p class="vacant" role="status">
                    <button node_ref=button type="button" class="link-button" data-testid="again" aria-disabled=move || (!failed()).to_string() on:click=retry>
                        {move || if failed() { t("Try again") } else { t("Loading…") }}
                    </button>
                </p>
            }
            .into_any()
        } else {
            view! { <p class="vacant" role="status">{Word("Loading…")}</p> }.into_any()
        }
    }
}

/// Nothing is in it: that it is so, and what to do about it.
#[component]
pub(crate) fn Nothing(words: &'static str) -> impl IntoView {
    view! { <p class="vacant">{words}</p> }
}
