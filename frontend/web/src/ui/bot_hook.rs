//! Where a bot is told of what others say: the address, the key of the signatures, and how the telling goes.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::rest::{HookRow, HookTarget};

use super::account::{act, value};
use super::bots::{Known, change, path};
use crate::clock;
use crate::context::App;
use crate::driver::rest;
use crate::follow::memo;
use crate::words::{Word, t};

#[component]
pub(super) fn Hook(bot: String, bots: Known) -> impl IntoView {
    let app = App::of_context();
    let error = RwSignal::new(String::new());
    let url = NodeRef::<html::Input>::new();
    let only = NodeRef::<html::Input>::new();
    let key = bot.clone();
    let hook = memo(move || {
        bots.with(|bots| {
            bots.iter().flatten().find(|bot| bot.user.name == key).and_then(|bot| bot.hook.clone())
        })
    });
    let at = StoredValue::new(bot);
    let set = move |new_secret: bool| {
        let bot = at.get_value();
        let mentions_only = only.get_untracked().is_some_and(|only| only.checked());
        let body = HookTarget { url: value(url).trim().to_owned(), mentions_only, new_secret };
        if body.url.is_empty() {
            return error.set(t("Enter the address that is to be told.").to_owned());
        }
        act(
            app,
            error,
            || {},
            move |token| async move {
                let row: HookRow = rest::make(&token, "PUT", &path(&bot, "/hook"), &body).await?;
                change(bots, &bot, |bot| bot.hook = Some(row));
                Ok(())
            },
        );
    };
    let drop_hook = move |_| {
        let bot = at.get_value();
        act(
            app,
            error,
            || {},
            move |token| async move {
                rest::write(&token, "DELETE", &path(&bot, "/hook"), None::<&()>).await?;
                change(bots, &bot, |bot| bot.hook = None);
                Ok(())
            },
        );
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        set(false);
    };
    let first = hook.get_untracked();
    let (address, mentions_only) = first.map(|hook| (hook.url, hook.mentions_only)).unwrap_or_default();
    view! {
        <form class="form" data-testid="hook" on:submit=submit novalidate>
            <h4>{Word("Outgoing webhook")}</h4>
            <label class="field">
                <span>{Word("Address that is told of new messages")}</span>
                <input node_ref=url class="input" name="url" type="url" inputmode="url" autocomplete="off" spellcheck="false" placeholder="https://" value=address/>
                <small>{Word("Each call is signed by the rules of Standard Webhooks, and tried again for up to 72 hours.")}</small>
            </label>
            <label class="check"><input node_ref=only type="checkbox" checked=mentions_only/>{Word("Only messages that name the bot, and direct ones")}</label>
            {move || hook.get().map(|hook| view! { <State hook/> })}
            <div class="error" role="alert">{error}</div>
            <p class="acts">
                <button type="submit" class="button" data-testid="set-hook">{move || if hook.with(Option::is_some) { t("Save the webhook") } else { t("Set the webhook") }}</button>
                {move || hook.with(Option::is_some).then(|| view! {
                    <button type="button" class="link-button" on:click=move |_| set(true)>{Word("Another key")}</button>
                    <button type="button" class="link-button" data-testid="drop-hook" on:click=drop_hook>{Word("Remove")}</button>
                })}
            </p>
        </form>
    }
}

/// How the telling goes, and the key, out of sight until it is asked for.
#[component]
fn State(hook: HookRow) -> impl IntoView {
    let app = App::of_context();
    let seen = RwSignal::new(false);
    let secret = StoredValue::new(hook.secret.clone());
    let trouble = hook.last_error.as_ref().map(|why| {
        let when = hook.last_error_at.map(|at| format!(", {}", clock::full(at))).unwrap_or_default();
        format!("{why}{when}")
    });
    view! {
        <dl class="facts">
            <div><dt>{Word("Waiting to be told")}</dt><dd>{hook.waiting.to_string()}</dd></div>
            <div><dt>{Word("Given up")}</dt><dd>{hook.given_up.to_string()}</dd></div>
            {trouble.map(|trouble| view! { <div><dt>{Word("Last error")}</dt><dd>{trouble}</dd></div> })}
        </dl>
        {move || if seen.get() {
            view! {
                <label class="field"><span>{Word("Key of the signatures")}</span><input class="input" readonly data-testid="hook-secret" value=secret.get_value()/></label>
                <button type="button" class="link-button" on:click=move |_| app.copy(&secret.get_value(), t("Copied."))>{Word("Copy the key")}</button>
            }.into_any()
        } else {
            view! { <button type="button" class="link-button" on:click=move |_| seen.set(true)>{Word("Show the key of the signatures")}</button> }.into_any()
        }}
    }
}
