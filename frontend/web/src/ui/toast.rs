//! One line for the person: it goes by itself, unless something went wrong or somebody is at it.

use std::time::Duration;

use leptos::html;
use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;

use crate::context::App;
use crate::follow::{after, follow, next_frame};
use crate::words::Word;

/// Long enough to read two lines of it.
const SHOWN: Duration = Duration::from_secs(6);
/// While somebody points at it or is within it, it is looked at again after this.
const AGAIN: Duration = Duration::from_secs(1);

type Timer = StoredValue<Option<TimeoutHandle>>;

/// Takes the line away after a while, unless somebody is at it then.
fn go_in(app: App, host: NodeRef<html::Div>, timer: Timer, wait: Duration) {
    let go = move || {
        let held = host.try_get_untracked().flatten();
        if held.is_some_and(|host| host.matches(":hover, :focus-within").unwrap_or(false)) {
            go_in(app, host, timer, AGAIN);
        } else {
            app.toast.set(None);
        }
    };
    timer.set_value(after(wait, go));
}

/// The regions are always there, so that their words are announced when they come. While a modal dialog is open they are
/// within it: everything outside of one lies behind it and cannot be reached.
#[component]
pub(crate) fn Toast() -> impl IntoView {
    let app = App::of_context();
    let host = NodeRef::<html::Div>::new();
    let timer = StoredValue::new(None::<TimeoutHandle>);
    follow(move || {
        let goes = app.toast.with(|note| note.as_ref().is_some_and(|note| !note.stays));
        if let Some(timer) = timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
        if goes {
            go_in(app, host, timer, SHOWN);
        }
        app.sheet.track();
        app.lightbox.track();
        for dialog in [app.accounting, app.creating, app.switching, app.deciding] {
            dialog.track();
        }
        // The dialogs follow the same signals; by the next frame they have.
        next_frame(move || {
            let Some(host) = host.try_get_untracked().flatten() else { return };
            let open = document().query_selector_all("dialog[open]").ok();
            let open = open.and_then(|open| open.item(open.length().checked_sub(1)?));
            let home = open.or_else(|| document().body().map(Into::into));
            if let Some(home) = home.filter(|home| !home.is_same_node(host.parent_node().as_ref())) {
                // Fails only where it is within itself.
                let _ = home.append_child(&host);
            }
        });
    });
    let line = move |stays: bool| {
        move || {
            app.toast.get().filter(|note| note.stays == stays).map(|note| {
                view! {
                    <div class="toast">
                        <span>{note.text}</span>
                        {note.leads.map(|message| view! {
                            <button type="button" on:click=move |_| {
                                app.toast.set(None);
                                // What lies over the conversation closes first.
                                app.sheet.set(None);
                                app.lightbox.set(None);
                                for dialog in [app.accounting, app.creating, app.switching] {
                                    dialog.set(false);
                                }
                                next_frame(move || app.go_to_message(message.conversation, message.sequence));
                            }>{Word("Show")}</button>
                        })}
                        <button type="button" on:click=move |_| app.toast.set(None)>{Word("Dismiss")}</button>
                    </div>
                }
            })
        }
    };
    view! {
        <div node_ref=host>
            <div role="status">{line(false)}</div>
            <div role="alert">{line(true)}</div>
        </div>
    }
}
