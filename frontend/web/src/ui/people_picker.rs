//! Finds users by name and collects them.

use std::time::Duration;

use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::User;
use quorate_client::view::{called, portrait_of};
use web_sys::KeyboardEvent;

use super::avatar::Avatar;
use super::bots::Badge;
use super::icons::{Glyph, Icon};
use crate::context::App;
use crate::driver::rest;
use crate::follow::{after, follow, memo};
use crate::words::{Word, t, tf};

/// The directory is asked when typing pauses for this long.
const PAUSE: Duration = Duration::from_millis(150);

/// See the module. `typed` is what stands in the field.
#[component]
pub(crate) fn PeoplePicker(chosen: RwSignal<Vec<User>>, typed: RwSignal<String>) -> impl IntoView {
    let app = App::of_context();
    let found = RwSignal::new(Vec::<User>::new());
    let trouble = RwSignal::new(None::<String>);
    let asked = RwSignal::new(false);
    let timer = StoredValue::new(None::<TimeoutHandle>);
    let clear = move || {
        if let Some(timer) = timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    };
    on_cleanup(clear);
    let ask = move || {
        let pattern = typed.get_untracked().trim().to_lowercase();
        let Some(token) = app.token() else {
            return trouble
                .set(Some(t("No answer from the server. Check the connection and try again.").to_owned()));
        };
        spawn_local(async move {
            let answer = rest::users(&token, &pattern).await;
            // Only the answer to what stands there now counts.
            if typed.try_get_untracked().is_none_or(|now| now.trim().to_lowercase() != pattern) {
                return;
            }
            asked.set(true);
            match answer {
                Ok(directory) => {
                    trouble.set(None);
                    found.set(directory.users);
                }
                Err(why) => trouble.set(Some(why.message)),
            }
        });
    };
    follow(move || {
        typed.track();
        clear();
        timer.set_value(after(PAUSE, ask));
    });
    let me = move || app.me.with_untracked(|me| me.as_ref().map_or(0, |me| me.id));
    let shown = memo(move || {
        let chosen = chosen.get();
        let taken = |user: &User| user.id == me() || chosen.iter().any(|other| other.id == user.id);
        found.with(|found| found.iter().filter(|user| !taken(user)).cloned().collect::<Vec<_>>())
    });
    let input = NodeRef::<leptos::html::Input>::new();
    let choose = move |user: User| {
        chosen.update(|chosen| chosen.push(user));
        typed.set(String::new());
        if let Some(input) = input.get_untracked() {
            input.set_value("");
            let _ = input.focus();
        }
    };
    let pressed = move |event: KeyboardEvent| match event.key().as_str() {
        "Enter" if !event.is_composing() && !typed.with_untracked(|typed| typed.trim().is_empty()) => {
            let wanted = typed.get_untracked().trim().to_lowercase();
            let hit = shown.with_untracked(|shown| {
                shown.iter().find(|user| user.name == wanted).or(shown.first()).cloned()
            });
            if let Some(user) = hit {
                event.prevent_default();
                choose(user);
            }
        }
        "Backspace" if typed.with_untracked(String::is_empty) => chosen.update(|chosen| {
            chosen.pop();
        }),
        _ => {}
    };
    view! {
        <div class="chips">
            {move || chosen.get().into_iter().map(|user| view! {
                <span class="chip">
                    <Avatar name=called(&user).to_owned() portrait=portrait_of(&user) size="small"/>
                    {called(&user).to_owned()}{user.bot.then(|| view! { <Badge/> })}
                    <button
                        type="button"
                        aria-label=tf("Remove {}", &[&called(&user)])
                        on:click=move |_| chosen.update(|chosen| chosen.retain(|other| other.id != user.id))
                    >
                        <Glyph icon=Icon::Close size=14/>
                    </button>
                </span>
            }).collect_view()}
        </div>
        <label class="field">
            <span>{Word("To")}</span>
            <input
                node_ref=input
                class="input"
                name="people"
                data-testid="people"
                placeholder=t("User name")
                autocomplete="off"
                autocapitalize="none"
                spellcheck="false"
                on:keydown=pressed
                on:input=move |event| typed.set(event_target_value(&event))
            />
        </label>
        <div class="picks" role="group" aria-label=t("People found")>
            {move || match (trouble.get(), shown.get()) {
                (Some(why), _) => view! { <p class="vacant" role="alert">{why}</p> }.into_any(),
                (None, shown) if shown.is_empty() => view! {
                    <p class="vacant" role="status">{move || {
                        let nobody = typed.with(|typed| typed.trim().is_empty());
                        match (asked.get(), nobody) {
                            (false, _) => t("Loading…"),
                            (true, true) => t("Nobody else is here yet. Ask them to create an account."),
                            (true, false) => t("No user name begins with these letters. Search by the name after the @, not by the display name."),
                        }
                    }}</p>
                }.into_any(),
                (None, shown) => shown.into_iter().map(|user| view! {
                    <button
                        type="button"
                        class="pick"
                        data-testid="person"
                        data-name=user.name.clone()
                        on:click={ let user = user.clone(); move |_| choose(user.clone()) }
                    >
                        <Avatar name=called(&user).to_owned() portrait=portrait_of(&user)/>
                        <span>{called(&user).to_owned()}{user.bot.then(|| view! { <Badge/> })}<small>{format!("@{}", user.name)}</small></span>
                        <span class="end"><Glyph icon=Icon::Plus size=16/></span>
                    </button>
                }).collect_view().into_any(),
            }}
        </div>
    }
}
