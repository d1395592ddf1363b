//! Ctrl+K: go to a conversation by a few letters of its name.

use leptos::html;
use leptos::prelude::*;
use quorate_client::view::matches_query;
use web_sys::KeyboardEvent;

use super::avatar::Avatar;
use super::bots::Badge;
use super::vacant::Nothing;
use crate::context::App;
use crate::follow::{follow, memo, next_frame};
use crate::words::t;
use crate::{keys, route};

/// Lines shown at most.
const LINES_MAX: usize = 12;

/// See the module.
#[component]
pub(crate) fn Switcher() -> impl IntoView {
    let app = App::of_context();
    let dialog = NodeRef::<html::Dialog>::new();
    let input = NodeRef::<html::Input>::new();
    let query = RwSignal::new(String::new());
    let at = RwSignal::new(0_usize);
    let found = memo(move || {
        let query = query.get();
        app.list.with(|list| {
            list.iter().filter(|row| matches_query(row, &query)).take(LINES_MAX).cloned().collect::<Vec<_>>()
        })
    });
    follow(move || {
        let Some(dialog) = dialog.get() else { return };
        if app.switching.get() && !dialog.open() {
            query.set(String::new());
            at.set(0);
            if let Some(input) = input.get_untracked() {
                input.set_value("");
            }
            // Fails only when it is open already.
            let _ = dialog.show_modal();
        } else if !app.switching.get() && dialog.open() {
            dialog.close();
        }
    });
    let go = move |id| {
        app.switching.set(false);
        route::go(Some(id));
        next_frame(keys::focus_composer);
    };
    let pressed = move |event: KeyboardEvent| {
        let count = found.with_untracked(Vec::len);
        match event.key().as_str() {
            "ArrowDown" => at.update(|at| *at = (*at + 1).min(count.saturating_sub(1))),
            "ArrowUp" => at.update(|at| *at = at.saturating_sub(1)),
            "Enter" if !event.is_composing() => {
                if let Some(id) =
                    found.with_untracked(|found| found.get(at.get_untracked()).map(|row| row.id))
                {
                    go(id);
                }
            }
            _ => return,
        }
        event.prevent_default();
    };
    view! {
        <dialog node_ref=dialog class="switcher" aria-label=t("Find a conversation") on:close=move |_| app.switching.set(false)>
            <div class="dialog-body">
                <input
                    node_ref=input
                    class="input"
                    placeholder=t("Find a conversation")
                    role="combobox"
                    aria-label=t("Find a conversation")
                    aria-autocomplete="list"
                    aria-expanded="true"
                    aria-controls="switches"
                    aria-activedescendant=move || found.with(|found| !found.is_empty()).then(|| format!("switch-{}", at.get()))
                    autocomplete="off"
                    on:keydown=pressed
                    on:input=move |event| { query.set(event_target_value(&event)); at.set(0); }
                />
                {move || found.with(Vec::is_empty).then(|| view! { <div role="status"><Nothing words=t("No conversation of that name. The plus in the corner starts one.")/></div> })}
                <div class="picks" id="switches" role="listbox" aria-label=t("Conversations")>
                    {move || {
                        found.get().into_iter().enumerate().map(|(n, row)| view! {
                            <button
                                type="button"
                                class="pick"
                                role="option"
                                id=format!("switch-{n}")
                                tabindex="-1"
                                aria-selected=move || (at.get() == n).to_string()
                                on:click=move |_| go(row.id)
                            >
                                <Avatar name=row.name.clone() portrait=row.portrait/>
                                <span>{row.name.clone()}{row.bot.then(|| view! { <Badge/> })}<small>{row.preview.clone()}</small></span>
                            </button>
                        }).collect_view()
                    }}
                </div>
            </div>
        </dialog>
    }
}
