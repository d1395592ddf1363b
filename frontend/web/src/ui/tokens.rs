//! Tokens of programs, of a bot or of one's own: which there are, ending them, and making one, whose secret is told once.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::rest::{BotRow, MadeToken, NewToken, Scope, TokenRow, Tokens as Found};

use super::account::{act, value};
use super::bots::{Known, change};
use super::group::ends_words;
use crate::clock;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::memo;
use crate::words::{Word, keyed, t, tf};

/// Lives of a token that can be chosen, in days; 0 for no end.
const LIVES: [(&str, u32); 4] =
    [(keyed("90 days"), 90), (keyed("30 days"), 30), (keyed("A year"), 365), (keyed("Until I end it"), 0)];
/// What a token can be good for.
const SCOPES: [(&str, Scope); 3] = [
    (keyed("Read, search and follow conversations"), Scope::Read),
    (keyed("Write, react and upload"), Scope::Send),
    (keyed("Begin, join and manage conversations"), Scope::Manage),
];

/// One's own: programs that have one act for oneself. Held as those of a bot are, under one's own name.
#[component]
pub(super) fn OwnTokens() -> impl IntoView {
    let app = App::of_context();
    let user = app.me.get_untracked().unwrap_or_default();
    let name = user.name.clone();
    let known: Known = RwSignal::new(None);
    let error = RwSignal::new(String::new());
    act(
        app,
        error,
        || {},
        move |token| async move {
            let found = rest::read::<Found>(&token, "/api/v1/tokens").await?;
            let own = BotRow { user, created: 0, tokens: found.tokens, hook: None };
            unless_gone(known.try_set(Some(vec![own])));
            Ok(())
        },
    );
    view! {
        <section data-testid="own-tokens">
            <h3>{Word("Tokens of your programs")}</h3>
            <p class="hint">{Word("A program with a token acts as you, as far as the token goes. A change of your password ends them all.")}</p>
            <div class="error" role="alert">{error}</div>
            <Tokens at="/api/v1".to_owned() name known/>
        </section>
    }
}

/// The tokens under an address (`{at}/tokens`), which are those of `name` among what is known, and a form for another one.
#[component]
pub(super) fn Tokens(at: String, name: String, known: Known) -> impl IntoView {
    let app = App::of_context();
    let error = RwSignal::new(String::new());
    let of = StoredValue::new(name.clone());
    let base = StoredValue::new(at.clone());
    let tokens = memo(move || {
        let name = of.get_value();
        known.with(|known| {
            let of = known.iter().flatten().find(|of| of.user.name == name);
            of.map(|of| of.tokens.clone()).unwrap_or_default()
        })
    });
    let end = move |id: String| {
        // Taken before the answer: the dialog may be closed by then.
        let (name, path) = (of.get_value(), format!("{}/tokens/{}", base.get_value(), rest::part(&id)));
        act(
            app,
            error,
            move || change(known, &name, |of| of.tokens.retain(|token| token.id != id)),
            move |token| async move { rest::write(&token, "DELETE", &path, None::<&()>).await },
        );
    };
    let line = move |token: TokenRow| {
        let (id, label) = (token.id.clone(), tf("End {}", &[&token.label]));
        let what = token
            .conversation
            .map_or_else(|| scopes_words(&token.scopes), |id| tf("Webhook into {}", &[&place(app, id)]));
        let made = clock::brief(token.created);
        let ends = ends_words(token.ends);
        view! {
            <li data-testid="token">
                <span class="who"><b>{token.label}</b><span>{tf("{}, made {}, {}", &[&what, &made, &ends])}</span></span>
                <button type="button" class="link-button" aria-label=label on:click=move |_| end(id.clone())>{Word("End")}</button>
            </li>
        }
    };
    view! {
        <ul class="devices">{move || tokens.get().into_iter().map(line).collect_view()}</ul>
        <div class="error" role="alert">{error}</div>
        <NewSecret at name known/>
    }
}

fn place(app: App, id: ConversationId) -> String {
    let name = app.with(|client| client.conversation(id).map(|held| held.name(app.my_id())));
    name.unwrap_or_else(|| t("a conversation that you are not in").to_owned())
}

fn scopes_words(scopes: &[Scope]) -> String {
    let words = scopes.iter().map(|scope| match scope {
        Scope::Read => t("read"),
        Scope::Send => t("write"),
        Scope::Manage => t("manage"),
    });
    tf("May {}", &[&words.collect::<Vec<_>>().join(", ")])
}

/// A token, or an address that messages can be posted to; shown once, and never again.
#[component]
fn NewSecret(at: String, name: String, known: Known) -> impl IntoView {
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
            return error.set(t("Say what it is for, and choose what it may do.").to_owned());
        }
        let days = selected(days).and_then(|days| u32::try_from(days).ok());
        let body = NewToken { label: words, scopes, days, conversation };
        let (path, name) = (format!("{at}/tokens"), name.clone());
        act(
            app,
            error,
            || {},
            move |token| async move {
                let secret: MadeToken = rest::make(&token, "POST", &path, &body).await?;
                let created = clock::now();
                let ends = body.days.map(|days| created + u64::from(days) * 86_400_000);
                let NewToken { label: words, scopes, conversation, .. } = body;
                let row = TokenRow { id: secret.id, label: words, scopes, created, ends, conversation };
                change(known, &name, |of| of.tokens.push(row));
                let shown = match secret.hook {
                    Some(hook) => {
                        let origin = window().location().origin().unwrap_or_default();
                        (t("Address to post messages to"), format!("{origin}{hook}"))
                    }
                    None => (t("Token"), secret.token),
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
            <h4>{Word("New token or incoming webhook")}</h4>
            <label class="field"><span>{Word("What it is for")}</span><input node_ref=label class="input" name="label" maxlength="80" autocomplete="off"/></label>
            <label class="field">
                <span>{Word("Good for")}</span>
                <select node_ref=into class="input" name="into" on:change=move |_| for_program.set(selected(into).is_none())>
                    <option value="0">{Word("A program, by token")}</option>
                    {rooms.into_iter().map(|(id, name)| view! { <option value=id.to_string()>{tf("Messages into {}, by webhook", &[&name])}</option> }).collect_view()}
                </select>
            </label>
            {move || for_program.get().then(|| SCOPES.into_iter().map(|(words, scope)| view! {
                <label class="check">
                    <input type="checkbox" prop:checked=move || chosen.with(|chosen| chosen.contains(&scope)) on:change=move |_| chosen.update(|chosen| {
                        if chosen.contains(&scope) { chosen.retain(|had| *had != scope) } else { chosen.push(scope) }
                    })/>
                    {t(words)}
                </label>
            }).collect_view())}
            <label class="field">
                <span>{Word("For how long")}</span>
                <select node_ref=days class="input" name="days">
                    {LIVES.map(|(words, days)| view! { <option value=days.to_string()>{t(words)}</option> }).collect_view()}
                </select>
            </label>
            <div class="error" role="alert">{error}</div>
            <button type="submit" class="button">{Word("Make it")}</button>
            {move || made.get().map(|(what, secret)| view! { <Secret what secret/> })}
        </form>
    }
}

/// A secret, with a way to copy it.
#[component]
pub(super) fn Secret(what: &'static str, secret: String) -> impl IntoView {
    let app = App::of_context();
    let copied = secret.clone();
    view! {
        <div class="one-secret" role="status">
            <label class="field"><span>{tf("{}, shown only now", &[&what])}</span><input class="input" readonly data-testid="secret" value=secret/></label>
            <button type="button" class="button" on:click=move |_| app.copy(&copied, t("Copied."))>{Word("Copy")}</button>
        </div>
    }
}
