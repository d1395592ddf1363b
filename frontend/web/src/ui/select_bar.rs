//! What can be done with several messages at once. Space, a click, or Shift with either chooses; Esc ends it.

use leptos::prelude::*;
use quorate_client::Selection;
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::selection::copied;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::clock;
use crate::context::{App, Sheet};
use crate::follow::{memo, next_frame};
use crate::keys;
use crate::words::{Word, t, tn};

/// Begins to choose, with one message.
pub(super) fn begin(app: App, conversation: ConversationId, sequence: Sequence) {
    app.selecting.set(Some(Selection::of(conversation, sequence)));
    // The menu that said so is gone by the next frame, and the focus with it.
    next_frame(move || focus(sequence));
}

/// No more choosing; with the next frame, when what asked is gone, the focus goes to the message that was touched last.
pub(crate) fn end(app: App) {
    if let Some(selection) = app.selecting.get_untracked() {
        app.selecting.set(None);
        next_frame(move || focus(selection.anchor()));
    }
}

/// Goes to a message, from where the keys go on.
pub(super) fn focus(sequence: Sequence) {
    let message = document().query_selector(&format!("[data-testid=message][data-sequence=\"{sequence}\"]"));
    match message.ok().flatten().and_then(|message| message.dyn_into::<HtmlElement>().ok()) {
        Some(message) => drop(message.focus()),
        None => keys::focus_composer(),
    }
}

/// See the module.
#[component]
pub(crate) fn SelectBar() -> impl IntoView {
    let app = App::of_context();
    let choosing = memo(move || app.selecting.with(Option::is_some));
    move || choosing.get().then(|| view! { <Bar/> })
}

#[component]
fn Bar() -> impl IntoView {
    let app = App::of_context();
    let count = memo(move || app.selecting.with(|it| it.as_ref().map_or(0, |it| it.chosen().len())));
    let may_delete = memo(move || {
        app.selecting.with(|selecting| {
            let Some(selection) = selecting else { return false };
            app.rows.with(|rows| {
                rows.selectable().filter(|row| selection.has(row.message.sequence)).all(|row| row.may.delete)
            })
        })
    });
    let copy = move |_| {
        let Some(selection) = app.selecting.get_untracked() else { return };
        let rows = app.rows.get_untracked();
        let text = copied(rows.selectable().filter(|row| selection.has(row.message.sequence)), &clock::stamp);
        if !text.is_empty() {
            app.copy(&text, t("Messages copied."));
        }
    };
    let sheet = move |sheet: fn(&Selection) -> Sheet| {
        if let Some(selection) =
            app.selecting.get_untracked().filter(|selection| !selection.chosen().is_empty())
        {
            app.sheet.set(Some(sheet(&selection)));
        }
    };
    let forward = move |_| sheet(|selection| Sheet::Forward(selection.messages()));
    let delete_here =
        move |_| sheet(|selection| Sheet::Delete(selection.conversation, selection.chosen().to_vec(), false));
    let delete =
        move |_| sheet(|selection| Sheet::Delete(selection.conversation, selection.chosen().to_vec(), true));
    let none = move || (count.get() == 0).to_string();
    view! {
        <div class="select-bar" role="group" aria-label=t("Chosen messages") data-region tabindex="-1" data-testid="select-bar">
            <b role="status" data-testid="select-count">{move || match count.get() {
                0 => t("Choose messages").to_owned(),
                count => tn(count as u64, "{} message chosen", "{} messages chosen"),
            }}</b>
            <span class="acts">
                <button type="button" class="button" data-region-focus aria-disabled=none on:click=copy>{Word("Copy")}</button>
                <button type="button" class="button" aria-disabled=none on:click=forward>{Word("Forward…")}</button>
                <button type="button" class="button" aria-disabled=none on:click=delete_here>{Word("Delete for me…")}</button>
                {move || (count.get() > 0 && may_delete.get()).then(|| view! {
                    <button type="button" class="button" on:click=delete>{Word("Delete for everyone…")}</button>
                })}
                <button type="button" class="button" title=t("Cancel (Esc)") on:click=move |_| end(app)>{Word("Cancel")}</button>
            </span>
        </div>
    }
}
