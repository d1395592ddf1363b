//! Dialogs about one message: forward, remind, report, delete, its earlier texts, and sending later.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Input;
use quorate_client::proto::frame::{Action, MessageRef};
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::proto::rest::Revisions as Texts;
use quorate_client::proto::text;
use quorate_client::selection::deletions;
use quorate_client::view::matches_query;

use super::avatar::Avatar;
use super::rich::Rich;
use super::select_bar;
use super::sheet::Asking;
use super::vacant::Reading;
use crate::clock;
use crate::context::{App, Panel, unless_gone};
use crate::driver::rest;
use crate::follow::{memo, next_frame};
use crate::words::{Word, refused, t, tn};
use crate::{keys, route};

/// Conversations offered at once.
const OFFERED_MAX: usize = 30;

#[component]
pub(crate) fn Forward(messages: Vec<MessageRef>) -> impl IntoView {
    let app = App::of_context();
    let query = RwSignal::new(String::new());
    let found = memo(move || {
        let query = query.get();
        app.list.with(|list| {
            list.iter()
                .filter(|row| matches_query(row, &query))
                .take(OFFERED_MAX)
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let messages = StoredValue::new(messages);
    let send = move |conversation| {
        app.sheet.set(None);
        if app.focused.get_untracked() == Some(conversation) {
            select_bar::end(app);
        } else {
            app.selecting.set(None);
            next_frame(keys::focus_composer);
        }
        // In their order: those of one conversation travel one after the other.
        for message in messages.get_value() {
            app.input(Input::Forward { conversation, message });
        }
        route::go(Some(conversation));
    };
    view! {
        <input class="input" placeholder=t("Find a conversation") aria-label=t("Find a conversation") autocomplete="off" autofocus on:input=move |event| query.set(event_target_value(&event))/>
        <div class="picks" role="group" aria-label=t("Conversations")>
            {move || found.get().into_iter().map(|row| view! {
                <button type="button" class="pick" data-testid="forward-to" data-conversation=row.id.to_string() on:click=move |_| send(row.id)>
                    <Avatar name=row.name.clone() portrait=row.portrait/>
                    <span>{row.name.clone()}<small>{row.preview.clone()}</small></span>
                </button>
            }).collect_view()}
        </div>
    }
}

/// Times to choose from, and one's own choice. Calls `chosen` with log time, ms.
#[component]
fn When(chosen: Callback<u64>, words: &'static str, error: RwSignal<String>) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let pick = move |wall_ms: u64| match app.log_time_of(wall_ms) {
        Some(at) => chosen.run(at),
        None => error.set(t("Choose a time that is still to come, within a year.").to_owned()),
    };
    let own = move |_| {
        let value = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        match clock::of_input(&value) {
            Some(wall_ms) => pick(wall_ms),
            None => error.set(t("Choose a date and a time.").to_owned()),
        }
    };
    view! {
        <div class="choices">
            {clock::soon().into_iter().map(|(words, at)| view! {
                <button type="button" class="button" on:click=move |_| pick(at)>{words}<small>{clock::full(at)}</small></button>
            }).collect_view()}
        </div>
        <label class="field">
            <span>{Word("Or at")}</span>
            <input node_ref=input class="input" type="datetime-local" name="at" data-testid="at"/>
        </label>
        <div class="error" role="alert">{error}</div>
        <div class="dialog-foot">
            <button type="button" class="button" on:click=move |_| app.sheet.set(None)>{Word("Cancel")}</button>
            <button type="button" class="button primary" data-testid="schedule" on:click=own>{words}</button>
        </div>
    }
}

#[component]
pub(crate) fn Remind(message: MessageRef) -> impl IntoView {
    let app = App::of_context();
    let note = NodeRef::<html::Input>::new();
    let asking = Asking::new(app, move |_| {
        app.sheet.set(None);
        app.tell(t("You will be reminded."));
    });
    let chosen = Callback::new(move |at: u64| {
        let note = note.get_untracked().map(|note| note.value()).unwrap_or_default();
        let MessageRef { conversation, sequence } = message;
        asking.ask(Action::Remind { conversation, sequence, at, note });
    });
    view! {
        <label class="field">
            <span>{Word("Note")}</span>
            <input node_ref=note class="input" autocomplete="off" maxlength="500" placeholder=t("Optional, for yourself")/>
        </label>
        <When chosen words=t("Remind me") error=asking.error/>
    }
}

#[component]
pub(crate) fn Later(id: ConversationId, text: String, reply_to: Option<Sequence>) -> impl IntoView {
    let app = App::of_context();
    let asking = Asking::new(app, move |_| {
        app.sheet.set(None);
        app.replying.set(None);
        app.draft(id, "");
        // The box shows the draft, which is empty now.
        app.redrafted(id);
        app.panel.set(Some(Panel::Scheduled));
        app.detailing.set(false);
    });
    let said = text.clone();
    let chosen = Callback::new(move |at: u64| {
        asking.ask(Action::Schedule { conversation: id, text: text.clone(), reply_to, at });
    });
    view! {
        <p class="preview">{said}</p>
        <When chosen words=t("Schedule") error=asking.error/>
    }
}

#[component]
pub(crate) fn Report(message: MessageRef) -> impl IntoView {
    let app = App::of_context();
    let reason = NodeRef::<html::Textarea>::new();
    let asking = Asking::new(app, move |_| {
        app.sheet.set(None);
        app.tell(t("Reported. The admins see the message and your reason."));
    });
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let typed = reason.get_untracked().map(|reason| reason.value()).unwrap_or_default();
        match text::canonical_reason(&typed.replace('\n', " ")) {
            Ok(reason) => {
                let MessageRef { conversation, sequence } = message;
                asking.ask(Action::Report { conversation, sequence, reason });
            }
            Err(why) => asking.error.set(refused(&why)),
        }
    };
    view! {
        <form class="form" on:submit=submit novalidate>
            <p>{Word("The admins of this server will see this message, who wrote it, and that you reported it.")}</p>
            <label class="field">
                <span>{Word("What is wrong with it?")}</span>
                <textarea node_ref=reason class="input" rows="3" maxlength="500" name="reason"></textarea>
            </label>
            <div class="error" role="alert">{asking.error}</div>
            <button type="submit" class="button primary" aria-disabled=move || asking.busy().to_string()>{Word("Report")}</button>
        </form>
    }
}

#[component]
pub(crate) fn Delete(id: ConversationId, chosen: Vec<Sequence>, everyone: bool) -> impl IntoView {
    let app = App::of_context();
    let many = chosen.len() > 1;
    let words = match (everyone, many) {
        (true, false) => t(
            "The text is gone at once for all members, and with it its files, reactions and earlier texts. It leaves the servers’ logs within 7 days. This cannot be undone.",
        ),
        (true, true) => t(
            "Their texts are gone at once for all members, and with them files, reactions and earlier texts. They leave the servers’ logs within 7 days. This cannot be undone.",
        ),
        (false, false) => t(
            "The message leaves your sight on all your devices. Others still see it. This cannot be undone.",
        ),
        (false, true) => t(
            "The messages leave your sight on all your devices. Others still see them. This cannot be undone.",
        ),
    };
    let count = many.then(|| tn(chosen.len() as u64, "{} message.", "{} messages.") + " ");
    let delete = move |_| {
        app.sheet.set(None);
        select_bar::end(app);
        for deed in deletions(id, &chosen, !everyone) {
            app.fire(deed);
        }
    };
    view! {
        <p>{count}{words}</p>
        <div class="dialog-foot">
            <button type="button" class="button" on:click=move |_| app.sheet.set(None)>{if many { t("Keep them") } else { t("Keep it") }}</button>
            <button type="button" class="button danger" autofocus data-testid="confirm-delete" on:click=delete>
                {if everyone { t("Delete for everyone") } else { t("Delete for me") }}
            </button>
        </div>
    }
}

#[component]
pub(crate) fn Revisions(message: MessageRef) -> impl IntoView {
    let app = App::of_context();
    let texts = RwSignal::new(None::<Texts>);
    let error = RwSignal::new(String::new());
    let me = app.me.with_untracked(|me| me.as_ref().map(|me| me.name.clone()).unwrap_or_default());
    let load = move || {
        let Some(token) = app.token_or(error) else { return };
        spawn_local(async move {
            let MessageRef { conversation, sequence } = message;
            let path = format!("/api/v1/conversations/{conversation}/messages/{sequence}/revisions");
            match rest::read::<Texts>(&token, &path).await {
                Ok(found) => unless_gone(texts.try_set(Some(found))),
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    };
    load();
    view! {
        <div class="error" role="alert">{error}</div>
        {move || match texts.get() {
            None => view! { <Reading error again=Callback::new(move |()| load())/> }.into_any(),
            Some(found) => {
                let me = me.clone();
                view! {
                    <ol class="revisions" data-testid="revisions">
                        {found.revisions.into_iter().rev().map(|revision| {
                            let words = if revision.revision == 0 { t("As it was sent") } else { t("Edited") };
                            view! {
                                <li>
                                    <small>{format!("{words}, {}", clock::full(revision.time))}</small>
                                    <div class="text"><Rich text=revision.text me=me.clone()/></div>
                                </li>
                            }
                        }).collect_view()}
                    </ol>
                }.into_any()
            }
        }}
    }
}
