//! Picks an emoji: a few at once, the rest by search.

use super::vacant::Nothing;
use crate::follow::follow;
use crate::words::t;
use leptos::html;
use leptos::prelude::*;
use quorate_client::view::find_emoji;
use web_sys::KeyboardEvent;

/// See the module. Escape closes; Enter picks the first found.
#[component]
pub(crate) fn EmojiPicker(pick: Callback<&'static str>, close: Callback<()>) -> impl IntoView {
    let query = RwSignal::new(String::new());
    let input = NodeRef::<html::Input>::new();
    follow(move || {
        if let Some(input) = input.get() {
            let _ = input.focus();
        }
    });
    let pressed = move |event: KeyboardEvent| match event.key().as_str() {
        "Escape" => {
            event.prevent_default();
            event.stop_propagation();
            close.run(());
        }
        "Enter" if !event.is_composing() => {
            event.prevent_default();
            if let Some(emoji) = query.with_untracked(|query| find_emoji(query).first().copied()) {
                pick.run(emoji);
            }
        }
        _ => {}
    };
    view! {
        <div class="emoji-picker" role="dialog" aria-label=t("Emoji") data-testid="emoji-picker" on:keydown=pressed>
            <input
                node_ref=input
                class="input"
                placeholder=t("Search emoji")
                aria-label=t("Search emoji")
                autocomplete="off"
                on:input=move |event| query.set(event_target_value(&event))
            />
            <div class="emoji-grid">
                {move || {
                    let found = find_emoji(&query.get());
                    if found.is_empty() {
                        return view! { <Nothing words=t("No emoji of that name.")/> }.into_any();
                    }
                    found.into_iter().map(|emoji| view! {
                        <button type="button" aria-label=emoji on:click=move |_| pick.run(emoji)>{emoji}</button>
                    }).collect_view().into_any()
                }}
            </div>
        </div>
    }
}
