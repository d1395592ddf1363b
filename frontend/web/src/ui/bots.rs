//! One's own bots: making and deleting them.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::User;
use quorate_client::proto::rest::{BotRow, Bots as Found, NewBot};
use quorate_client::proto::text;
use quorate_client::view::called;

use super::account::{act, value};
use super::bot_hook::Hook;
use super::tokens::Tokens;
use crate::clock;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::memo;
use crate::words::{Word, refused};

/// The bots as they are known here.
pub(super) type Known = RwSignal<Option<Vec<BotRow>>>;

/// Changes one of them.
pub(super) fn change(bots: Known, name: &str, with: impl FnOnce(&mut BotRow)) {
    unless_gone(
        bots.try_update(|bots| bots.iter_mut().flatten().find(|bot| bot.user.name == name).map(with)),
    );
}

/// Where a bot is, or something of it.
pub(super) fn path(name: &str, rest: &str) -> String {
    format!("/api/v1/bots/{}{rest}", rest::part(name))
}

/// See the module.
#[component]
pub(crate) fn Bots() -> impl IntoView {
    let app = App::of_context();
    let bots: Known = RwSignal::new(None);
    let (name, shown) = (NodeRef::<html::Input>::new(), NodeRef::<html::Input>::new());
    let error = RwSignal::new(String::new());
    act(
        app,
        error,
        || {},
        move |token| async move {
            let found = rest::read::<Found>(&token, "/api/v1/bots").await?;
            unless_gone(bots.try_set(Some(found.bots)));
            Ok(())
        },
    );
    let make = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let display_name = value(shown).trim().to_owned();
        let body = match text::canonical_name(&value(name)) {
            Ok(name) => NewBot { name, display_name: Some(display_name).filter(|name| !name.is_empty()) },
            Err(why) => return error.set(refused(&why)),
        };
        act(
            app,
            error,
            || {},
            move |token| async move {
                rest::write(&token, "POST", "/api/v1/bots", Some(&body)).await?;
                let display_name = body.display_name.unwrap_or_default();
                let user = User { name: body.name, display_name, bot: true, ..User::default() };
                let bot = BotRow { user, created: clock::now(), tokens: Vec::new(), hook: None };
                unless_gone(bots.try_update(|bots| bots.get_or_insert_default().push(bot)));
                for input in [name, shown] {
                    if let Some(Some(input)) = input.try_get_untracked() {
                        input.set_value("");
                    }
                }
                Ok(())
            },
        );
    };
    // Made anew only when bots come or go: each watches itself.
    let names = memo(move || {
        bots.with(|bots| bots.iter().flatten().map(|bot| bot.user.name.clone()).collect::<Vec<_>>())
    });
    view! {
        <section data-testid="bots">
            <h3>{Word("Bots")}</h3>
            <p class="hint">{Word("A bot is a user that a program acts as. Add it to a group like anybody else.")}</p>
            <ul class="bots">
                {move || names.get().into_iter().map(|name| view! { <Bot name bots/> }).collect_view()}
            </ul>
            <form class="form" on:submit=make novalidate>
                <label class="field"><span>{Word("Name of a new bot")}</span><input node_ref=name class="input" name="bot_name" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="build.bot"/></label>
                <label class="field"><span>{Word("Display name")}</span><input node_ref=shown class="input" name="bot_display_name" maxlength="80" autocomplete="off"/></label>
                <div class="error" role="alert">{error}</div>
                <button type="submit" class="button" data-testid="make-bot">{Word("Make a bot")}</button>
            </form>
        </section>
    }
}

#[component]
fn Bot(name: String, bots: Known) -> impl IntoView {
    let app = App::of_context();
    let error = RwSignal::new(String::new());
    let sure = RwSignal::new(false);
    let key = name.clone();
    let bot = memo(move || bots.with(|bots| bots.iter().flatten().find(|bot| bot.user.name == key).cloned()));
    let shown =
        bot.with_untracked(|bot| bot.as_ref().map(|bot| called(&bot.user).to_owned()).unwrap_or_default());
    let at = StoredValue::new(name.clone());
    let delete = move |_| {
        let name = at.get_value();
        act(
            app,
            error,
            || {},
            move |token| async move {
                rest::write(&token, "DELETE", &path(&name, ""), None::<&()>).await?;
                unless_gone(bots.try_update(|bots| {
                    bots.iter_mut().for_each(|bots| bots.retain(|bot| bot.user.name != name));
                }));
                Ok(())
            },
        );
    };
    let (base, hooked) = (path(&name, ""), name.clone());
    view! {
        <li data-testid="bot" data-name=name.clone()>
            <details>
                <summary>{shown}<Badge/><small>{format!("@{name}")}</small></summary>
                <Tokens at=base name=name.clone() known=bots/>
                <Hook bot=hooked bots/>
                <div class="error" role="alert">{error}</div>
                <p class="acts">
                    {move || if sure.get() {
                        view! {
                            <span>{Word("Its tokens end at once, and its name is not used again.")}</span>
                            <button type="button" class="button danger" data-testid="confirm-delete-bot" on:click=delete>{Word("Delete the bot")}</button>
                            <button type="button" class="button" on:click=move |_| sure.set(false)>{Word("Keep it")}</button>
                        }.into_any()
                    } else {
                        view! { <button type="button" class="link-button" data-testid="delete-bot" on:click=move |_| sure.set(true)>{Word("Delete this bot")}</button> }.into_any()
                    }}
                </p>
            </details>
        </li>
    }
}

/// Says that a user is a program.
#[component]
pub(crate) fn Badge() -> impl IntoView {
    view! { <span class="bot-badge" data-testid="bot-badge">{Word("bot")}</span> }
}
