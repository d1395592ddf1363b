//! Dialogs about this page itself: all its keys, and signing out while something waits to be sent.

use leptos::prelude::*;

use crate::context::App;
use crate::words::{Word, keyed, t, tn};

/// What the keys do, as `keys.rs` and the components have them: where they work, then each with its words.
const KEYS: [(&str, &[(&str, &str)]); 4] = [
    (
        keyed("Everywhere"),
        &[
            (keyed("Ctrl K"), keyed("Find a conversation")),
            ("/", keyed("Search messages")),
            (keyed("Alt ↑ ↓"), keyed("Go to the one above or below")),
            (keyed("Esc"), keyed("Close; with nothing to close, mark as read and go to the newest")),
            ("F6", keyed("Go through the parts of the page")),
            (keyed("Ctrl /"), keyed("Show all keys, as does ?")),
        ],
    ),
    (
        keyed("Writing"),
        &[
            (keyed("Enter"), keyed("Send")),
            (keyed("Shift Enter"), keyed("Break the line")),
            ("↑", keyed("Edit your last message, in an empty box")),
            ("@ #", keyed("Name somebody or a group: ↑ ↓ and Enter, or Tab")),
        ],
    ),
    (
        keyed("On a message"),
        &[
            ("↑ ↓", keyed("Go to the message above or below")),
            ("R", keyed("Reply")),
            ("E", keyed("Edit")),
            ("+", keyed("React")),
            (keyed("M Enter"), keyed("Open its menu")),
            (keyed("Del"), keyed("Delete")),
        ],
    ),
    (
        keyed("While messages are chosen"),
        &[
            (keyed("Spacebar"), keyed("Choose one more")),
            (keyed("Shift Spacebar"), keyed("Choose all up to there")),
            (keyed("Esc"), keyed("Choose none")),
        ],
    ),
];

/// All keys.
#[component]
pub(super) fn Keys() -> impl IntoView {
    let line = |(keys, words): &(&'static str, &'static str)| {
        let keys = t(keys).split(' ').map(|key| view! { <kbd>{key}</kbd>" " }).collect_view();
        view! { <div><dt>{keys}</dt><dd>{t(words)}</dd></div> }
    };
    KEYS.map(|(place, keys)| {
        view! {
            <section data-testid="keys">
                <h3>{t(place)}</h3>
                <dl class="facts all-keys">{keys.iter().map(line).collect_view()}</dl>
            </section>
        }
    })
    .collect_view()
}

/// Signing out while something waits.
#[component]
pub(super) fn Leave(count: usize, files: bool) -> impl IntoView {
    let app = App::of_context();
    let out = move |wipe: bool| {
        app.sheet.set(None);
        app.sign_out(wipe);
    };
    view! {
        {(count > 0).then(|| view! {
            <p data-testid="unsent">{tn(count as u64, "{} message of yours is not sent yet.", "{} messages of yours are not sent yet.")}</p>
            <p>{Word("If you sign out, it is not sent. It can wait in this browser, unencrypted, until you sign in here again; or it is deleted now.")}</p>
        })}
        {files.then(|| view! { <p>{Word("Files that no message shows yet are lost.")}</p> })}
        <div class="acts dialog-foot">
            {(count > 0).then(|| view! { <button type="button" class="button" data-testid="leave-wiping" on:click=move |_| out(true)>{Word("Delete and sign out")}</button> })}
            <button type="button" class="button" data-testid="leave-keeping" on:click=move |_| out(false)>{if count > 0 { t("Keep and sign out") } else { t("Sign out") }}</button>
            <button type="button" class="button primary" data-testid="stay" autofocus on:click=move |_| app.sheet.set(None)>{Word("Stay")}</button>
        </div>
    }
}
