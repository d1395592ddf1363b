//! Somebody: status, when she was there last, a direct conversation, blocking.

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::{Action, User};
use quorate_client::proto::rest::UserProfile;
use quorate_client::view::{called, portrait_of};

use super::avatar::Avatar;
use super::bots::Badge;
use super::sheet::Asking;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::next_frame;
use crate::words::{Word, t};
use crate::{clock, keys, route};

#[component]
pub(crate) fn Person(user: User) -> impl IntoView {
    let app = App::of_context();
    let profile = RwSignal::new(None::<UserProfile>);
    let error = RwSignal::new(String::new());
    let own = user.id == app.my_id();
    let name = user.name.clone();
    if let Some(token) = app.token_or(error) {
        let path = format!("/api/v1/users/{}", rest::part(&name));
        spawn_local(async move {
            match rest::read::<UserProfile>(&token, &path).await {
                Ok(found) => unless_gone(profile.try_set(Some(found))),
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    }
    let opening = Asking::new(app, move |conversation| {
        app.sheet.set(None);
        if conversation.is_some() {
            route::go(conversation);
            next_frame(keys::focus_composer);
        }
    });
    let blocking = Asking::new(app, move |_| {
        profile.update(|profile| {
            if let Some(profile) = profile {
                profile.blocked = !profile.blocked;
            }
        });
    });
    let blocked = move || profile.with(|profile| profile.as_ref().is_some_and(|profile| profile.blocked));
    let unknown = move || profile.with(Option::is_none);
    let message = {
        let user = user.name.clone();
        move |_| opening.ask(Action::CreateDirect { user: user.clone() })
    };
    let block = {
        let user = user.name.clone();
        // Before it is known whether she is blocked, it is not known what the button does.
        move |_| {
            if unknown() {
                return;
            }
            blocking.ask(Action::Block { user: user.clone(), on: !blocked() });
        }
    };
    view! {
        <div class="person" data-testid="person-card">
            <Avatar name=called(&user).to_owned() portrait=portrait_of(&user) size="large"/>
            <div>
                <h3>{called(&user).to_owned()}{user.bot.then(|| view! { <Badge/> })}</h3>
                <p class="hint">{format!("@{}", user.name)}</p>
            </div>
        </div>
        {move || profile.get().map(|profile| view! {
            {(!profile.status.is_empty()).then(|| view! { <p class="status" data-testid="status">{profile.status.clone()}</p> })}
            <dl class="facts">
                {profile.last_seen.map(|at| view! { <div><dt>{Word("Last seen")}</dt><dd>{clock::full(at)}</dd></div> })}
                {profile.created.map(|at| view! { <div><dt>{Word("Here since")}</dt><dd>{clock::full(at)}</dd></div> })}
                {profile.admin.then(|| view! { <div><dt>{Word("Role")}</dt><dd>{Word("Admin of this server")}</dd></div> })}
            </dl>
        })}
        <div class="error" role="alert">{error}{opening.error}{blocking.error}</div>
        {(!own).then(|| view! {
            <div class="dialog-foot">
                <button type="button" class="button" data-testid="block" aria-disabled=move || (unknown() || blocking.busy()).to_string() on:click=block>
                    {move || if blocked() { t("Unblock") } else { t("Block") }}
                </button>
                <button type="button" class="button primary" data-testid="message-person" aria-disabled=move || opening.busy().to_string() on:click=message>{Word("Message")}</button>
            </div>
            <p class="hint">{Word("Somebody you block can no longer write to you directly. Nobody tells them that you did.")}</p>
        })}
    }
}
