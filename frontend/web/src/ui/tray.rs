//! Files for the next message: chosen, dropped or pasted; how far each has come; and taking one back.

use leptos::ev;
use leptos::html;
use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::ids::ConversationId;
use quorate_client::upload::UploadId;
use quorate_client::view::{UploadRow, UploadState};
use web_sys::{ClipboardEvent, DragEvent};

use super::icons::{Glyph, Icon};
use crate::context::App;
use crate::driver::files;
use crate::follow::memo;
use crate::keys;
use crate::words::{Word, t, tf};

/// The button that opens the browser's choice of files.
#[component]
pub(crate) fn Clip(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let chosen = move |_| {
        let Some(input) = input.get_untracked() else { return };
        if input.files().is_some_and(|chosen| files::choose(app, id, &chosen)) {
            // The same file may be chosen again.
            input.set_value("");
            keys::focus_composer();
        }
    };
    let open = move |_| {
        if let Some(input) = input.get_untracked() {
            input.click();
        }
    };
    view! {
        <input
            node_ref=input
            type="file"
            multiple
            class="visually-hidden"
            tabindex="-1"
            aria-hidden="true"
            data-testid="file-input"
            on:change=chosen
        />
        <button type="button" class="icon-button" aria-label=t("Attach files") title=t("Attach files") data-testid="attach" on:click=open>
            <Glyph icon=Icon::Clip/>
        </button>
    }
}

/// What was copied as a file is attached; text stays text, even if the clipboard has a picture of it as well.
pub(crate) fn pasted(app: App, id: ConversationId, event: &ClipboardEvent) {
    let Some(data) = event.clipboard_data() else { return };
    let has_text = data.get_data("text/plain").is_ok_and(|text| !text.is_empty());
    if !has_text && data.files().is_some_and(|pasted| files::choose(app, id, &pasted)) {
        event.prevent_default();
    }
}

/// The files above the text.
#[component]
pub(crate) fn Tray() -> impl IntoView {
    let app = App::of_context();
    let waits = memo(move || app.tray.with(|tray| tray.waits));
    // The lines are made anew only when files come or go: each watches itself.
    let ids = memo(move || app.tray.with(|tray| tray.rows.iter().map(|row| row.id).collect::<Vec<_>>()));
    view! {
        {move || (!ids.with(Vec::is_empty)).then(|| view! {
            <ul class="tray" aria-label=t("Files for this message") data-testid="tray">
                {ids.get().into_iter().map(|id| view! { <Line id/> }).collect_view()}
            </ul>
        })}
        <p class="tray-waits" role="status">
            {move || waits.get().then(|| view! {
                <span data-testid="waits-for-files">{Word("It is sent as soon as its files are there.")}</span>
                <button type="button" class="link-button" on:click=move |_| {
                    if let Some(id) = app.focused.get_untracked() {
                        app.input(Input::Hold(id));
                    }
                }>{Word("Do not send yet")}</button>
            })}
        </p>
    }
}

#[component]
fn Line(id: UploadId) -> impl IntoView {
    let app = App::of_context();
    let first = app.tray.with_untracked(|tray| find(&tray.rows, id));
    let Some(first) = first else { return ().into_any() };
    let name = first.name.clone();
    let (retry_label, remove_label) = (tf("Try {} again", &[&name]), tf("Remove {}", &[&name]));
    let row = memo(move || app.tray.with(|tray| find(&tray.rows, id)).unwrap_or_else(|| first.clone()));
    let state = memo(move || row.with(|row| row.state));
    let retry = memo(move || row.with(|row| row.may_retry));
    let (label, title, hook) = (name.clone(), name.clone(), name.clone());
    view! {
        <li class="upload" class:bad=move || state.get() == UploadState::Failed data-testid="upload" data-name=hook data-state=move || state.get().word()>
            <span class="file-words">
                <b dir="auto" title=title>{name}</b>
                <small role=move || if state.get() == UploadState::Failed { "alert" } else { "none" }>{move || row.with(|row| row.words.clone())}</small>
            </span>
            {move || matches!(state.get(), UploadState::Queued | UploadState::Sending | UploadState::Cut).then(|| {
                let label = label.clone();
                view! {
                    <progress
                        aria-label=tf("Upload of {}", &[&label])
                        max=move || row.with(|row| row.size.max(1).to_string())
                        value=move || row.with(|row| row.there.to_string())
                    ></progress>
                }
            })}
            {move || retry.get().then(|| view! {
                <button type="button" class="icon-button" title=t("Try again") aria-label=retry_label.clone() data-testid="upload-retry" on:click=move |_| { app.input(Input::Reattach(id)); }>
                    <Glyph icon=Icon::Retry size=16/>
                </button>
            })}
            <button type="button" class="icon-button" title=t("Remove") aria-label=remove_label data-testid="upload-cancel" on:click=move |_| {
                app.input(Input::Detach(id));
                keys::focus_composer();
            }>
                <Glyph icon=Icon::Close size=16/>
            </button>
        </li>
    }
    .into_any()
}

fn find(rows: &[UploadRow], id: UploadId) -> Option<UploadRow> {
    rows.iter().find(|row| row.id == id).cloned()
}

/// Whether files are dragged. The browser must not open them in place of the page, wherever they are let go.
pub(super) fn keep_files(event: &DragEvent) -> bool {
    let carries = event
        .data_transfer()
        .is_some_and(|data| data.types().iter().any(|kind| kind.as_string().as_deref() == Some("Files")));
    if carries {
        event.prevent_default();
    }
    carries
}

/// Files that are dragged over the window are for the open conversation.
#[component]
pub(crate) fn DropZone(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let over = RwSignal::new(false);
    let closed = move || app.heading.with_untracked(|heading| heading.as_ref().and_then(|it| it.closed));
    let dragged = window_event_listener(ev::dragover, move |event: DragEvent| {
        let show = keep_files(&event) && closed().is_none() && !keys::dialog_open();
        if over.get_untracked() != show {
            over.set(show);
        }
    });
    let left = window_event_listener(ev::dragleave, move |event: DragEvent| {
        // Within the window it goes from one element to another.
        if event.related_target().is_none() {
            over.set(false);
        }
    });
    let dropped = window_event_listener(ev::drop, move |event: DragEvent| {
        let show = over.get_untracked();
        over.set(false);
        if !keep_files(&event) || !show {
            return;
        }
        if let Some(dropped) = event.data_transfer().and_then(|data| data.files()) {
            files::choose(app, id, &dropped);
            keys::focus_composer();
        }
    });
    on_cleanup(move || {
        dragged.remove();
        left.remove();
        dropped.remove();
    });
    let name =
        move || app.heading.with(|heading| heading.as_ref().map(|it| it.name.clone()).unwrap_or_default());
    view! {
        {move || over.get().then(|| view! {
            <div class="drop-zone" data-testid="drop-zone" aria-hidden="true">
                <Glyph icon=Icon::Clip size=28/>
                <p>{Word("Drop files to add them to your message to")}" "<b>{name}</b></p>
            </div>
        })}
    }
}
