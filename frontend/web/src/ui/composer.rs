//! Where messages are written. Never disabled: what cannot be sent now waits.

use leptos::html;
use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::limits::TEXT_BYTES_MAX;
use web_sys::{HtmlElement, HtmlTextAreaElement, KeyboardEvent};

use super::icons::{Glyph, Icon};
use crate::context::App;
use crate::driver::store;

/// The counter appears when this many bytes are left.
const COUNTER_BYTES: usize = 1_000;

/// See the module. A draft is kept per conversation.
#[component]
pub(crate) fn Composer(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Textarea>::new();
    let draft = app.me.with_untracked(|me| me.as_ref().map(|me| store::draft(me, id)).unwrap_or_default());
    let bytes = RwSignal::new(draft.len());
    let keep = move |text: &str| {
        bytes.set(text.len());
        app.me.with_untracked(|me| {
            if let Some(me) = me {
                store::set_draft(me, id, text);
            }
        });
    };
    let send = move || {
        let Some(area) = input.get_untracked() else { return };
        let text = area.value();
        let text = text.trim_end();
        if !text.trim().is_empty() && app.send(text.to_owned()) {
            area.set_value("");
            keep("");
            grow(&area);
        }
        let _ = area.focus();
    };
    let pressed = move |event: KeyboardEvent| {
        // While an input method composes, Enter belongs to it.
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            send();
        }
    };
    // With a pointer and keys at hand, one may type at once; on a phone the keyboard would cover the page.
    let fine = window().match_media("(pointer: fine)").ok().flatten().is_some_and(|query| query.matches());
    Effect::new(move |_| {
        if let Some(area) = input.get() {
            area.set_value(
                &app.me.with_untracked(|me| me.as_ref().map(|me| store::draft(me, id)).unwrap_or_default()),
            );
            grow(&area);
            if fine {
                let _ = area.focus();
            }
        }
    });
    let label = move || {
        app.heading.with(|heading| {
            heading
                .as_ref()
                .map_or_else(|| "Message".to_owned(), |heading| format!("Message {}", heading.name))
        })
    };
    let typing = move || {
        app.heading.with(|heading| {
            heading.as_ref().and_then(|heading| heading.typing.as_ref()).map(|line| format!("{line} …"))
        })
    };
    let left = move || TEXT_BYTES_MAX as i64 - bytes.get() as i64;
    view! {
        <div class="composer" data-region>
            <form on:submit=move |event| { event.prevent_default(); send(); }>
                <textarea
                    node_ref=input
                    rows="1"
                    data-testid="composer"
                    data-region-focus
                    aria-label=label
                    placeholder=label
                    enterkeyhint="send"
                    on:keydown=pressed
                    on:input=move |_| {
                        if let Some(area) = input.get_untracked() {
                            keep(&area.value());
                            grow(&area);
                            if !area.value().trim().is_empty() {
                                app.input(Input::Typing(id));
                            }
                        }
                    }
                ></textarea>
                <button type="submit" class="icon-button send" class:idle=move || bytes.get() == 0 aria-label="Send" title="Send (Enter)">
                    <Glyph icon=Icon::Send/>
                </button>
            </form>
            <div class="foot">
                <span class="typing" data-testid="typing" role="status" aria-live="polite">{typing}</span>
                <span class="hint">{move || (bytes.get() > 0).then_some("Enter sends, Shift+Enter starts a new line")}</span>
                {move || (left() < COUNTER_BYTES as i64).then(|| {
                    let over = left() < 0;
                    let text = if over { format!("{} bytes too long", -left()) } else { format!("{} bytes left", left()) };
                    view! { <span class:over=over aria-live="polite">{text}</span> }
                })}
            </div>
        </div>
    }
}

/// As high as its text, up to what the style sheet allows.
fn grow(area: &HtmlTextAreaElement) {
    let style = AsRef::<HtmlElement>::as_ref(area).style();
    let _ = style.set_property("height", "auto");
    let _ = style.set_property("height", &format!("{}px", area.scroll_height()));
}
