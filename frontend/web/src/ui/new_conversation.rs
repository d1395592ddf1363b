//! Starts a conversation: with one person a direct one, with more a group that has a name.

use leptos::html;
use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::frame::{Action, User};
use quorate_client::proto::ids::ClientMessageId;
use quorate_client::proto::text;

use super::icons::{Glyph, Icon};
use super::people_picker::PeoplePicker;
use crate::context::{App, Sheet};
use crate::follow::{follow, memo, next_frame};
use crate::words::{Word, refused, t};
use crate::{keys, route};

/// See the module. Its body is made anew each time it opens.
#[component]
pub(crate) fn NewConversation() -> impl IntoView {
    let app = App::of_context();
    let dialog = NodeRef::<html::Dialog>::new();
    follow(move || {
        let Some(dialog) = dialog.get() else { return };
        if app.creating.get() && !dialog.open() {
            // Fails only when it is open already.
            let _ = dialog.show_modal();
        } else if !app.creating.get() && dialog.open() {
            dialog.close();
        }
    });
    view! {
        <dialog
            node_ref=dialog
            aria-labelledby="new-conversation-title"
            data-testid="new-conversation-dialog"
            on:close=move |_| app.creating.set(false)
        >
            <div class="dialog-head">
                <h2 id="new-conversation-title">{Word("New conversation")}</h2>
                <button type="button" class="icon-button" aria-label=t("Close") on:click=move |_| app.creating.set(false)>
                    <Glyph icon=Icon::Close/>
                </button>
            </div>
            {move || app.creating.get().then(|| view! { <Body/> })}
        </dialog>
    }
}

#[component]
fn Body() -> impl IntoView {
    let app = App::of_context();
    let chosen = RwSignal::new(Vec::<User>::new());
    let typed = RwSignal::new(String::new());
    let group = RwSignal::new(false);
    let title = NodeRef::<html::Input>::new();
    let topic = NodeRef::<html::Input>::new();
    let (public, announcement) = (RwSignal::new(false), RwSignal::new(false));
    let error = RwSignal::new(String::new());
    let waiting = RwSignal::new(None::<ClientMessageId>);
    let grouped = memo(move || group.get() || chosen.with(|chosen| chosen.len() > 1));
    // Who closes the dialog no longer waits for its answer.
    on_cleanup(move || {
        if let Some(id) = waiting.try_get_untracked().flatten() {
            app.input(Input::Forget(id));
        }
    });
    follow(move || {
        let Some((id, answer)) = app.answer.get() else { return };
        if waiting.get_untracked() != Some(id) {
            return;
        }
        waiting.set(None);
        match answer {
            Ok(conversation) => {
                app.creating.set(false);
                if conversation.is_some() {
                    route::go(conversation);
                    next_frame(keys::focus_composer);
                }
            }
            Err(why) => error.set(why),
        }
    });
    let names = move || {
        let mut names: Vec<String> =
            chosen.with_untracked(|chosen| chosen.iter().map(|user| user.name.clone()).collect());
        // A whole name that was typed and not picked counts as well.
        if let Ok(name) = text::canonical_name(&typed.get_untracked())
            && !names.contains(&name)
        {
            names.push(name);
        }
        names
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if waiting.get_untracked().is_some() {
            return;
        }
        let mut names = names();
        let action = if grouped.get_untracked() || names.len() > 1 {
            let wanted = title.get_untracked().map(|title| title.value()).unwrap_or_default();
            let Ok(title) = text::canonical_title(&wanted) else {
                group.set(true);
                return error.set(t("Give the group a name of up to 80 characters.").to_owned());
            };
            let typed = topic.get_untracked().map(|topic| topic.value()).unwrap_or_default();
            let topic = match text::canonical_topic(&typed) {
                Ok(topic) => topic,
                Err(why) => return error.set(refused(&why)),
            };
            let (public, announcement) = (public.get_untracked(), announcement.get_untracked());
            Action::CreateGroup { title, members: names, topic, public, announcement }
        } else {
            let Some(user) = names.pop() else {
                return error.set(t("Pick somebody, or type a whole user name.").to_owned());
            };
            Action::CreateDirect { user }
        };
        error.set(String::new());
        // The answer may come before this returns: nothing may be missed.
        let id = app.command(action);
        waiting.set(Some(id));
    };
    view! {
        <form class="dialog-body" on:submit=submit novalidate>
            <PeoplePicker chosen typed/>
            {move || if grouped.get() {
                view! {
                    <label class="field">
                        <span>{Word("Name of the group")}</span>
                        <input node_ref=title class="input" name="title" data-testid="group-title" autocomplete="off" maxlength="80"/>
                    </label>
                    <label class="field">
                        <span>{Word("Topic")}</span>
                        <input node_ref=topic class="input" name="topic" data-testid="group-topic" autocomplete="off" maxlength="250" placeholder=t("Optional")/>
                    </label>
                    <label class="check"><input type="checkbox" data-testid="group-public" on:change=move |event| public.set(event_target_checked(&event))/>{Word("Public: anybody can find and join it")}</label>
                    <label class="check"><input type="checkbox" data-testid="group-announcement" on:change=move |event| announcement.set(event_target_checked(&event))/>{Word("Announcements: only its owner and admins write")}</label>
                }.into_any()
            } else {
                view! {
                    <p>
                        <button type="button" class="link-button" data-testid="make-group" on:click=move |_| group.set(true)>{Word("Make it a group")}</button>
                        " · "
                        <button type="button" class="link-button" on:click=move |_| { app.creating.set(false); app.sheet.set(Some(Sheet::Channels)); }>{Word("Browse channels")}</button>
                    </p>
                }.into_any()
            }}
            <div class="error" role="alert">{error}</div>
            <div class="dialog-foot">
                <button type="button" class="button" on:click=move |_| app.creating.set(false)>{Word("Cancel")}</button>
                <button
                    type="submit"
                    class="button primary"
                    data-testid="start-conversation"
                    aria-disabled=move || waiting.get().is_some().to_string()
                >
                    {move || match (waiting.get().is_some(), grouped.get()) {
                        (true, _) => t("Starting…"),
                        (false, true) => t("Create group"),
                        (false, false) => t("Start conversation"),
                    }}
                </button>
            </div>
        </form>
    }
}
