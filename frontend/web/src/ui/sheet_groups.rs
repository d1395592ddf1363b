//! Dialogs about groups: public ones, what an invite leads to, making an invite, adding somebody.

use std::time::Duration;

use leptos::html;
use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::{Action, User};
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::rest::{Channel, Channels as Found, InvitePreview};
use quorate_client::view::portrait_of_group;

use super::avatar::Avatar;
use super::chat::members;
use super::people_picker::PeoplePicker;
use super::sheet::Asking;
use super::vacant::{Nothing, Reading};
use crate::clock::random_code;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::{after, follow, next_frame};
use crate::words::{Word, keyed, t};
use crate::{keys, route};

/// The directory is asked when typing pauses for this long.
const PAUSE: Duration = Duration::from_millis(200);

fn open(app: App, conversation: Option<ConversationId>) {
    app.sheet.set(None);
    if conversation.is_some() {
        route::go(conversation);
        next_frame(keys::focus_composer);
    }
}

#[component]
pub(crate) fn Channels() -> impl IntoView {
    let app = App::of_context();
    let query = RwSignal::new(String::new());
    let found = RwSignal::new(None::<Vec<Channel>>);
    let next = RwSignal::new(None::<u64>);
    let asking = Asking::new(app, move |conversation| open(app, conversation));
    let error = asking.error;
    let load = move |after: Option<u64>| {
        let Some(token) = app.token_or(error) else { return };
        let wanted = query.get_untracked();
        let after_part = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let path = format!("/api/v1/channels?text={}&limit=50{after_part}", rest::part(wanted.trim()));
        spawn_local(async move {
            let answer = rest::read::<Found>(&token, &path).await;
            // Only the answer to what stands there now counts.
            if query.try_get_untracked().is_none_or(|now| now != wanted) {
                return;
            }
            match answer {
                Ok(page) => {
                    next.set(page.next);
                    found.update(|found| {
                        let found = found.get_or_insert_default();
                        if after.is_none() {
                            found.clear();
                        }
                        found.extend(page.channels);
                    });
                }
                Err(why) => error.set(why.message),
            }
        });
    };
    let timer = StoredValue::new(None::<TimeoutHandle>);
    let clear = move || {
        if let Some(timer) = timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    };
    on_cleanup(clear);
    follow(move || {
        query.track();
        clear();
        timer.set_value(after(PAUSE, move || load(None)));
    });
    let line = move |channel: Channel| {
        let id = channel.conversation;
        let about = if channel.topic.is_empty() {
            members(channel.member_count)
        } else {
            format!("{}, {}", members(channel.member_count), channel.topic)
        };
        view! {
            <div class="pick" data-testid="channel" data-conversation=id.to_string()>
                <Avatar name=channel.title.clone() portrait=portrait_of_group(id, channel.avatar)/>
                <span>{channel.title.clone()}<small>{about}</small></span>
                {if channel.joined {
                    view! { <button type="button" class="button end" on:click=move |_| open(app, Some(id))>{Word("Open")}</button> }.into_any()
                } else {
                    view! { <button type="button" class="button primary end" data-testid="join" on:click=move |_| asking.ask(Action::Join { conversation: id })>{Word("Join")}</button> }.into_any()
                }}
            </div>
        }
    };
    view! {
        <input class="input" placeholder=t("Find a public group") aria-label=t("Find a public group") autocomplete="off" autofocus on:input=move |event| query.set(event_target_value(&event))/>
        <div class="error" role="alert">{error}</div>
        <div class="picks" role="group" aria-label=t("Public groups")>
            {move || match found.get() {
                None => view! { <Reading error again=Callback::new(move |()| load(None))/> }.into_any(),
                Some(found) if found.is_empty() => view! { <Nothing words=t("No public group of that name. Anybody can make one: start a conversation, make it a group, and open it to everybody.")/> }.into_any(),
                Some(found) => found.into_iter().map(line).collect_view().into_any(),
            }}
            {move || next.get().map(|after| view! { <button type="button" class="link-button more" on:click=move |_| load(Some(after))>{Word("Show more")}</button> })}
        </div>
    }
}

#[component]
pub(crate) fn Invite(code: String) -> impl IntoView {
    let app = App::of_context();
    let preview = RwSignal::new(None::<InvitePreview>);
    let asking = Asking::new(app, move |conversation| open(app, conversation));
    let error = asking.error;
    let path = StoredValue::new(format!("/api/v1/invites/{}", rest::part(&code)));
    let load =
        move || {
            let Some(token) = app.token_or(error) else { return };
            let path = path.get_value();
            spawn_local(async move {
                match rest::read::<InvitePreview>(&token, &path).await {
                    Ok(found) => unless_gone(preview.try_set(Some(found))),
                    Err(why) if why.status == 404 || why.status == 400 => {
                        unless_gone(error.try_set(
                            t("This invitation is not good any more. Ask for another one.").to_owned(),
                        ));
                    }
                    Err(why) => unless_gone(error.try_set(why.message)),
                }
            });
        };
    load();
    let join = move |_| asking.ask(Action::JoinByInvite { code: code.clone() });
    // The code leaves the address: a reload must not ask again.
    on_cleanup(move || {
        if matches!(route::place(), route::Place::Invite(_)) {
            route::go(app.focused.try_get_untracked().flatten());
        }
    });
    view! {
        <div class="error" role="alert">{error}</div>
        {move || match preview.get() {
            None => view! { <Reading error again=Callback::new(move |()| load())/> }.into_any(),
            Some(InvitePreview { channel, .. }) => {
                let id = channel.conversation;
                let join = join.clone();
                view! {
                    <div class="person" data-testid="invite-preview">
                        <Avatar name=channel.title.clone() portrait=portrait_of_group(id, channel.avatar.filter(|_| channel.public || channel.joined)) size="large"/>
                        <div>
                            <h3>{channel.title.clone()}</h3>
                            <p class="hint">{members(channel.member_count)}</p>
                        </div>
                    </div>
                    {(!channel.topic.is_empty()).then(|| view! { <p>{channel.topic.clone()}</p> })}
                    <div class="dialog-foot">
                        <button type="button" class="button" on:click=move |_| app.sheet.set(None)>{Word("Not now")}</button>
                        {if channel.joined {
                            view! { <button type="button" class="button primary" on:click=move |_| open(app, Some(id))>{Word("Open")}</button> }.into_any()
                        } else {
                            view! { <button type="button" class="button primary" data-testid="join" aria-disabled=move || asking.busy().to_string() on:click=join>{Word("Join")}</button> }.into_any()
                        }}
                    </div>
                }.into_any()
            }
        }}
    }
}

/// How long an invite is good for.
const TIMES: [(&str, u64); 4] = [
    (keyed("1 hour"), 3_600_000),
    (keyed("1 day"), 86_400_000),
    (keyed("7 days"), 604_800_000),
    (keyed("No end"), 0),
];

#[component]
pub(crate) fn MakeInvite(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let ttl = NodeRef::<html::Select>::new();
    let uses = NodeRef::<html::Input>::new();
    let made = RwSignal::new(false);
    // Drawn here and shown here alone: the servers keep a hash.
    let code = StoredValue::new(random_code());
    let asking = Asking::new(app, move |_| made.set(true));
    let make = move |_| {
        let ttl_ms = ttl.get_untracked().and_then(|ttl| ttl.value().parse().ok()).unwrap_or(604_800_000);
        let typed = uses.get_untracked().map(|uses| uses.value()).unwrap_or_default();
        let uses_max = match typed.trim() {
            "" => 0,
            typed => match typed.parse() {
                Ok(uses) => uses,
                Err(_) => return asking.error.set(t("How many may come by it is a number.").to_owned()),
            },
        };
        asking.ask(Action::MakeInvite { conversation: id, code: code.get_value(), ttl_ms, uses_max });
    };
    move || {
        if made.get() {
            let link = route::invite_link(&code.get_value());
            let copied = link.clone();
            view! {
            <p>{Word("Whoever has this link and an account here can join. It is shown only now.")}</p>
            <input class="input" readonly aria-label=t("Invite link") data-testid="invite-link" value=link/>
            <div class="dialog-foot">
                <button type="button" class="button primary" on:click=move |_| { app.copy(&copied, t("Link copied.")); app.sheet.set(None); }>{Word("Copy link")}</button>
            </div>
        }.into_any()
        } else {
            view! {
            <label class="field">
                <span>{Word("Good for")}</span>
                <select node_ref=ttl class="input">
                    {TIMES.map(|(words, ms)| view! { <option value=ms.to_string() selected={ms == 604_800_000}>{t(words)}</option> }).collect_view()}
                </select>
            </label>
            <label class="field">
                <span>{Word("How many may come by it")}</span>
                <input node_ref=uses class="input" inputmode="numeric" autocomplete="off" placeholder=t("Any number")/>
            </label>
            <div class="error" role="alert">{asking.error}</div>
            <div class="dialog-foot">
                <button type="button" class="button" on:click=move |_| app.sheet.set(None)>{Word("Cancel")}</button>
                <button type="button" class="button primary" data-testid="make-invite" aria-disabled=move || asking.busy().to_string() on:click=make>{Word("Make link")}</button>
            </div>
        }.into_any()
        }
    }
}

#[component]
pub(crate) fn AddMember(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let chosen = RwSignal::new(Vec::<User>::new());
    let typed = RwSignal::new(String::new());
    let added = StoredValue::new(None::<String>);
    let asking = Asking::new(app, move |_| {
        let done = added.try_update_value(Option::take).flatten();
        chosen.update(|chosen| chosen.retain(|user| Some(&user.name) != done.as_ref()));
        typed.set(String::new());
        if chosen.with_untracked(Vec::is_empty) {
            app.sheet.set(None);
        }
    });
    let add = move || {
        let picked = chosen.with_untracked(|chosen| chosen.first().map(|user| user.name.clone()));
        let name =
            picked.or_else(|| quorate_client::proto::text::canonical_name(&typed.get_untracked()).ok());
        match name {
            Some(user) => {
                added.set_value(Some(user.clone()));
                asking.ask(Action::AddMember { conversation: id, user });
            }
            None => asking.error.set(t("Pick somebody, or type a whole user name.").to_owned()),
        }
    };
    // Several are added one after another.
    let begun = StoredValue::new(false);
    follow(move || {
        if !asking.busy()
            && begun.get_value()
            && chosen.with(|chosen| !chosen.is_empty())
            && asking.error.with(String::is_empty)
        {
            add();
        }
    });
    view! {
        <form class="form" on:submit=move |event| { event.prevent_default(); begun.set_value(true); add(); } novalidate>
            <PeoplePicker chosen typed/>
            <div class="error" role="alert">{asking.error}</div>
            <button type="submit" class="button primary" data-testid="add-member" aria-disabled=move || asking.busy().to_string()>{Word("Add")}</button>
        </form>
    }
}
