//! What can be done with a message: a few buttons beside it, the rest in a menu. Its rights come from the rules.

use leptos::html;
use leptos::prelude::*;
use quorate_client::Deed;
use quorate_client::proto::frame::{Action, MessageRef};
use quorate_client::view::{MessageRow, QUICK_EMOJI};
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, KeyboardEvent};

use super::emoji_picker::EmojiPicker;
use super::icons::{Glyph, Icon};
use super::select_bar;
use crate::context::{App, Editing, Sheet};
use crate::follow::{follow, memo};
use crate::words::t;
use crate::{keys, route};

/// What is open beside a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// The buttons alone.
    Buttons,
    /// The menu.
    Menu,
    /// The picker of emoji.
    Emoji,
}

/// The reader answers to a message.
pub(crate) fn reply(app: App, row: &MessageRow) {
    app.editing.set(None);
    app.replying.set(Some(row.message.sequence));
    keys::focus_composer();
}

/// The reader gives her message another text.
pub(crate) fn edit(app: App, row: &MessageRow) {
    let text = row.edit.as_ref().map_or_else(|| row.message.text.clone(), |edit| edit.text.clone());
    let (sequence, revision) = (row.message.sequence, row.message.revision);
    app.replying.set(None);
    app.editing.set(Some(Editing { sequence, revision, text }));
    keys::focus_composer();
}

/// See the module.
#[component]
pub(crate) fn MessageMenu(row: RwSignal<MessageRow>, open: RwSignal<Option<Open>>) -> impl IntoView {
    let app = App::of_context();
    let conversation = app.focused.get_untracked().unwrap_or_default();
    let sequence = move || row.with_untracked(|row| row.message.sequence);
    let mine = move |emoji: &str| {
        row.with_untracked(|row| row.reactions.iter().any(|one| one.emoji == emoji && one.mine))
    };
    let tools = NodeRef::<html::Div>::new();
    let back = move || {
        if let Some(tools) = tools.get_untracked() {
            to_message(&tools);
        }
        open.set(Some(Open::Buttons));
    };
    let pick = Callback::new(move |emoji: &'static str| {
        back();
        app.react(conversation, sequence(), emoji, !mine(emoji));
    });
    let close = Callback::new(move |()| back());
    let may = memo(move || row.with(|row| row.may));
    // In the lower half of the window what opens goes up.
    let up = memo(move || {
        let height = window().inner_height().ok().and_then(|height| height.as_f64()).unwrap_or(0.0);
        matches!(open.get(), Some(Open::Menu | Open::Emoji))
            && tools.get().is_some_and(|tools| tools.get_bounding_client_rect().top() > height / 2.0)
    });
    view! {
        <div node_ref=tools class="message-tools" class:up=move || up.get() data-testid="message-tools">
            {move || may.get().touch.then(|| view! {
                <button
                    type="button"
                    class="icon-button"
                    aria-label=t("React")
                    title=t("React (+)")
                    data-testid="react"
                    on:click=move |_| open.set(Some(Open::Emoji))
                >
                    <Glyph icon=Icon::Smile size=18/>
                </button>
            })}
            {move || may.get().reply.then(|| view! {
                <button type="button" class="icon-button" aria-label=t("Reply") title=t("Reply (R)") data-testid="reply" on:click=move |_| row.with_untracked(|row| reply(app, row))>
                    <Glyph icon=Icon::Reply size=18/>
                </button>
            })}
            <button
                type="button"
                class="icon-button"
                aria-label=t("More")
                title=t("More (M)")
                data-testid="message-more"
                aria-haspopup="menu"
                aria-expanded=move || (open.get() == Some(Open::Menu)).to_string()
                on:click=move |_| open.set(Some(if open.get_untracked() == Some(Open::Menu) { Open::Buttons } else { Open::Menu }))
            >
                <Glyph icon=Icon::More size=18/>
            </button>
            {move || match open.get() {
                Some(Open::Menu) => view! { <Menu row open conversation/> }.into_any(),
                Some(Open::Emoji) => view! {
                    <div class="popover">
                        <div class="quick-emoji">
                            {QUICK_EMOJI.map(|emoji| view! {
                                <button type="button" aria-label=emoji on:click=move |_| pick.run(emoji)>{emoji}</button>
                            }).collect_view()}
                        </div>
                        <EmojiPicker pick close/>
                    </div>
                }.into_any(),
                _ => ().into_any(),
            }}
        </div>
    }
}

#[component]
fn Menu(row: RwSignal<MessageRow>, open: RwSignal<Option<Open>>, conversation: u64) -> impl IntoView {
    let app = App::of_context();
    let list = NodeRef::<html::Div>::new();
    follow(move || {
        if let Some(list) = list.get() {
            step(&list, 0);
        }
    });
    let pressed = move |event: KeyboardEvent| {
        let Some(list) = list.get_untracked() else { return };
        match event.key().as_str() {
            "ArrowDown" => step(&list, 1),
            "ArrowUp" => step(&list, -1),
            "Escape" | "Tab" => {
                to_message(&list);
                open.set(Some(Open::Buttons));
            }
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let now = row.get_untracked();
    let (may, message) = (now.may, now.message.clone());
    let source = MessageRef { conversation, sequence: message.sequence };
    let sequence = message.sequence;
    let (pinned, saved, own) = (message.pinned, now.saved, now.own);
    let item = move |show: bool, words: &'static str, act: Box<dyn Fn() + Send + Sync>| {
        show.then(move || {
            view! {
                <button
                    type="button"
                    role="menuitem"
                    on:click=move |_| {
                        if let Some(list) = list.get_untracked() {
                            to_message(&list);
                        }
                        open.set(Some(Open::Buttons));
                        act();
                    }
                >
                    {words}
                </button>
            }
        })
    };
    let sheet = move |sheet: Sheet| -> Box<dyn Fn() + Send + Sync> {
        Box::new(move || app.sheet.set(Some(sheet.clone())))
    };
    let text = message.text.clone();
    let has_text = !text.trim().is_empty();
    let save = Deed::Do(Action::Save { conversation, sequence, on: !saved });
    let edited = message.revision > 0;
    let gone = message.deleted;
    view! {
        <div node_ref=list class="popover menu" role="menu" aria-label=t("Message") data-testid="message-menu" on:keydown=pressed>
            {item(may.reply, t("Reply"), Box::new(move || row.with_untracked(|row| reply(app, row))))}
            {item(may.edit, t("Edit"), Box::new(move || row.with_untracked(|row| edit(app, row))))}
            {item(may.touch, t("Forward…"), sheet(Sheet::Forward(vec![source])))}
            {item(may.touch, t("Select"), Box::new(move || select_bar::begin(app, conversation, sequence)))}
            {item(may.touch && has_text, t("Copy text"), Box::new(move || app.copy(&text, t("Text copied."))))}
            {item(true, t("Copy link"), Box::new(move || app.copy(&route::link(conversation, sequence), t("Link copied."))))}
            {item(may.pin, if pinned { t("Unpin") } else { t("Pin") }, Box::new(move || app.fire(Deed::Pin { conversation, sequence, on: !pinned })))}
            {item(may.touch || saved, if saved { t("Remove from saved") } else { t("Save") }, Box::new(move || app.fire(save.clone())))}
            {item(may.touch, t("Remind me…"), sheet(Sheet::Remind(source)))}
            {item(may.touch, t("Mark unread from here"), Box::new(move || mark_unread(app, conversation, sequence)))}
            {item(may.touch && edited, t("Earlier texts"), sheet(Sheet::Revisions(source)))}
            {item(may.touch && !own, t("Report…"), sheet(Sheet::Report(source)))}
            {item(!now.message.hidden, if gone { t("Hide for me") } else { t("Delete for me…") }, sheet(Sheet::Delete(conversation, vec![sequence], false)))}
            {item(may.delete, t("Delete for everyone…"), sheet(Sheet::Delete(conversation, vec![sequence], true)))}
        </div>
    }
}

/// The conversation is shown as unread from this message on; it is left, or it would be read at once.
pub(crate) fn mark_unread(app: App, conversation: u64, sequence: u64) {
    use quorate_client::proto::frame::PreferencesChange;
    route::go(None);
    app.prefer(
        conversation,
        PreferencesChange { unread_from: Some(sequence), ..PreferencesChange::default() },
    );
}

/// The message gets the focus before what has it is gone: so a dialog that is opened from the menu gives it back to the message.
fn to_message(within: &web_sys::Element) {
    if let Ok(Some(message)) = within.closest("article") {
        keys::focus(&message);
    }
}

/// Moves the focus to another item of a menu; 0 goes to the first.
fn step(list: &web_sys::HtmlDivElement, by: i32) {
    let Ok(found) = list.query_selector_all("[role=menuitem]") else { return };
    let items: Vec<HtmlElement> =
        (0..found.length()).filter_map(|at| found.item(at)?.dyn_into::<HtmlElement>().ok()).collect();
    let count = i32::try_from(items.len()).unwrap_or(0);
    if count == 0 {
        return;
    }
    let active = document().active_element();
    let at =
        items.iter().position(|item| active.as_ref().is_some_and(|active| active.is_same_node(Some(item))));
    let at = at.and_then(|at| i32::try_from(at).ok()).unwrap_or(0);
    let to = if by == 0 { 0 } else { (at + by).rem_euclid(count) };
    if let Some(item) = usize::try_from(to).ok().and_then(|to| items.get(to)) {
        let _ = item.focus();
    }
}
