//! One's own bots: making and deleting them, their tokens, and what is told of a secret, which is once.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::User;
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::rest::{BotRow, Bots as Found, MadeToken, NewBot, NewToken, Scope, TokenRow};
use quorate_client::proto::text;
use quorate_client::view::{called, sentence};

use super::account::{act, value};
use super::bot_hook::Hook;
use crate::clock;
use crate::context::{App, unless_gone};
use crate::driver::rest;

/// Lives of a token that can be chosen, in days; 0 for no end.
const LIVES: [(&str, u32); 4] = [("90 days", 90), ("30 days", 30), ("A year", 365), ("Until I end it", 0)];
/// What a token can be good for.
const SCOPES: [(&str, Scope); 3] = [
    ("Read what the bot may see", Scope::Read),
    ("Write, react and upload", Scope::Send),
    ("Begin, join and manage conversations", Scope::Manage),
];

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
            Err(why) => return error.set(sentence(&why.to_string())),
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
    let names = Memo::new(move |_| {
        bots.with(|bots| bots.iter().flatten().map(|bot| bot.user.name.clone()).collect::<Vec<_>>())
    });
    view! {
        <section data-testid="bots">
            <h3>"Bots"</h3>
            <p class="hint">"A bot is a user that a program acts as. Add it to a group like anybody else."</p>
            <ul class="bots">
                {move || names.get().into_iter().map(|name| view! { <Bot name bots/> }).collect_view()}
            </ul>
            <form class="form" on:submit=make novalidate>
                <label class="field"><span>"Name of a new bot"</span><input node_ref=name class="input" name="bot_name" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="build.bot"/></label>
                <label class="field"><span>"Display name"</span><input node_ref=shown class="input" name="bot_display_name" maxlength="80" autocomplete="off"/></label>
                <div class="error" role="alert">{error}</div>
                <button type="submit" class="button" data-testid="make-bot">"Make a bot"</button>
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
    let bot =
        Memo::new(move |_| bots.with(|bots| bots.iter().flatten().find(|bot| bot.user.name == key).cloned()));
    let tokens =
        Memo::new(move |_| bot.with(|bot| bot.as_ref().map(|bot| bot.tokens.clone()).unwrap_or_default()));
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
    let end = move |id: String| {
        let name = at.get_value();
        act(
            app,
            error,
            || {},
            move |token| async move {
                rest::write(
                    &token,
                    "DELETE",
                    &path(&name, &format!("/tokens/{}", rest::part(&id))),
                    None::<&()>,
                )
                .await?;
                change(bots, &name, |bot| bot.tokens.retain(|token| token.id != id));
                Ok(())
            },
        );
    };
    let line = move |token: TokenRow| {
        let id = token.id.clone();
        let what = token
            .conversation
            .map_or_else(|| scopes_words(&token.scopes), |id| format!("Webhook into {}", place(app, id)));
        let ends = token.ends.map_or_else(|| "no end".to_owned(), |at| format!("until {}", clock::full(at)));
        view! {
            <li data-testid="bot-token">
                <span class="who"><b>{token.label}</b><span>{format!("{what}, {ends}")}</span></span>
                <button type="button" class="link-button" on:click=move |_| end(id.clone())>"End"</button>
            </li>
        }
    };
    let (told, hooked) = (name.clone(), name.clone());
    view! {
        <li data-testid="bot" data-name=name.clone()>
            <details>
                <summary>{shown}<Badge/><small>{format!("@{name}")}</small></summary>
                <ul class="devices">{move || tokens.get().into_iter().map(line).collect_view()}</ul>
                <NewSecret bot=told bots/>
                <Hook bot=hooked bots/>
                <div class="error" role="alert">{error}</div>
                <p class="acts">
                    {move || if sure.get() {
                        view! {
                            <span>"Its tokens end at once, and its name is not used again."</span>
                            <button type="button" class="button danger" data-testid="confirm-delete-bot" on:click=delete>"Delete the bot"</button>
                            <button type="button" class="button" on:click=move |_| sure.set(false)>"Keep it"</button>
                        }.into_any()
                    } else {
                        view! { <button type="button" class="link-button" data-testid="delete-bot" on:click=move |_| sure.set(true)>"Delete this bot"</button> }.into_any()
                    }}
                </p>
            </details>
        </li>
    }
}

/// Says that a user is a program.
#[component]
pub(crate) fn Badge() -> impl IntoView {
    view! { <span class="bot-badge" data-testid="bot-badge">"bot"</span> }
}

fn place(app: App, id: ConversationId) -> String {
    let name = app.with(|client| client.conversation(id).map(|held| held.name(app.my_id())));
    name.unwrap_or_else(|| "a conversation that you are not in".to_owned())
}

fn scopes_words(scopes: &[Scope]) -> String {
    let words = scopes.iter().map(|scope| match scope {
        Scope::Read => "read",
        Scope::Send => "write",
        Scope::Manage => "manage",
    });
    format!("May {}", words.collect::<Vec<_>>().join(", "))
}

/// A token, or an address that messages can be posted to; shown once, and never again.
#[component]
fn NewSecret(bot: String, bots: Known) -> impl IntoView {
    let app = App::of_context();
    let label = NodeRef::<html::Input>::new();
    let (into, days) = (NodeRef::<html::Select>::new(), NodeRef::<html::Select>::new());
    let for_program = RwSignal::new(true);
    let chosen = RwSignal::new(vec![Scope::Read, Scope::Send]);
    let made = RwSignal::new(None::<(&'static str, String)>);
    let error = RwSignal::new(String::new());
    let selected = |select: NodeRef<html::Select>| {
        select
            .get_untracked()
            .and_then(|select| select.value().parse::<u64>().ok())
            .filter(|number| *number > 0)
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let conversation = selected(into);
        let scopes = if conversation.is_some() { vec![Scope::Send] } else { chosen.get_untracked() };
        let words = value(label).trim().to_owned();
        if words.is_empty() || scopes.is_empty() {
            return error.set("Say what it is for, and choose what it may do.".to_owned());
        }
        let days = selected(days).and_then(|days| u32::try_from(days).ok());
        let body = NewToken { label: words, scopes, days, conversation };
        let bot = bot.clone();
        act(
            app,
            error,
            || {},
            move |token| async move {
                let secret: MadeToken = rest::make(&token, "POST", &path(&bot, "/tokens"), &body).await?;
                let created = clock::now();
                let ends = body.days.map(|days| created + u64::from(days) * 86_400_000);
                let NewToken { label: words, scopes, conversation, .. } = body;
                let row = TokenRow { id: secret.id, label: words, scopes, created, ends, conversation };
                change(bots, &bot, |bot| bot.tokens.push(row));
                let shown = match secret.hook {
                    Some(hook) => {
                        let origin = window().location().origin().unwrap_or_default();
                        ("Address to post messages to", format!("{origin}{hook}"))
                    }
                    None => ("Token", secret.token),
                };
                unless_gone(made.try_set(Some(shown)));
                if let Some(Some(label)) = label.try_get_untracked() {
                    label.set_value("");
                }
                Ok(())
            },
        );
    };
    let rooms =
        app.list.with_untracked(|list| list.iter().map(|row| (row.id, row.name.clone())).collect::<Vec<_>>());
    view! {
        <form class="form" data-testid="new-token" on:submit=submit novalidate>
            <h4>"New token or incoming webhook"</h4>
            <label class="field"><span>"What it is for"</span><input node_ref=label class="input" name="label" maxlength="80" autocomplete="off"/></label>
            <label class="field">
                <span>"Good for"</span>
                <select node_ref=into class="input" name="into" on:change=move |_| for_program.set(selected(into).is_none())>
                    <option value="0">"A program, by token"</option>
                    {rooms.into_iter().map(|(id, name)| view! { <option value=id.to_string()>{format!("Messages into {name}, by webhook")}</option> }).collect_view()}
                </select>
            </label>
            {move || for_program.get().then(|| SCOPES.into_iter().map(|(words, scope)| view! {
                <label class="check">
                    <input type="checkbox" prop:checked=move || chosen.with(|chosen| chosen.contains(&scope)) on:change=move |_| chosen.update(|chosen| {
                        if chosen.contains(&scope) { chosen.retain(|had| *had != scope) } else { chosen.push(scope) }
                    })/>
                    {words}
                </label>
            }).collect_view())}
            <label class="field">
                <span>"For how long"</span>
                <select node_ref=days class="input" name="days">
                    {LIVES.map(|(words, days)| view! { <option value=days.to_string()>{words}</option> }).collect_view()}
                </select>
            </label>
            <div class="error" role="alert">{error}</div>
            <button type="submit" class="button">"Make it"</button>
            {move || made.get().map(|(what, secret)| view! { <Secret what secret/> })}
        </form>
    }
}

/// A secret, with a way to copy it.
#[component]
pub(super) fn Secret(what: &'static str, secret: String) -> impl IntoView {
    let app = App::of_context();
    let said = RwSignal::new("");
    let copied = secret.clone();
    let copy = move |_| {
        app.copy(&copied, "Copied.");
        // Said here: a modal dialog covers everything else.
        said.set("Copied.");
    };
    view! {
        <div class="one-secret" role="status">
            <label class="field"><span>{format!("{what}, shown only now")}</span><input class="input" readonly data-testid="secret" value=secret/></label>
            <button type="button" class="button" on:click=copy>"Copy"</button>
            <span>{said}</span>
        </div>
    }
}
