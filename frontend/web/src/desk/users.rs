//! People: who there is, disabled and deleted accounts, admins, forgotten passwords.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::rest::{AdminUser, AdminUsers, NewReset, SessionInfo, Sessions, UserState};
use quorate_client::view::{called, portrait_of};

use super::load;
use crate::clock::{self, random_code};
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::next_frame;
use crate::keys;
use crate::ui::account::act;
use crate::ui::avatar::Avatar;
use crate::ui::bots::Badge;
use crate::ui::vacant::{Nothing, Reading};
use crate::words::{Word, keyed, t, tf, tn};

/// See the module.
#[component]
pub(super) fn Users() -> impl IntoView {
    let app = App::of_context();
    let pattern = RwSignal::new(String::new());
    let users = RwSignal::new(None::<Vec<AdminUser>>);
    let next = RwSignal::new(None::<String>);
    let error = RwSignal::new(String::new());
    let read = move |after: Option<String>| {
        let pattern = pattern.get_untracked();
        let after_part =
            after.as_ref().map(|after| format!("&after={}", rest::part(after))).unwrap_or_default();
        let path = format!("/api/v1/admin/users?limit=50&pattern={}{after_part}", rest::part(pattern.trim()));
        load(app, path, error, move |page: AdminUsers| {
            unless_gone(next.try_set(page.next));
            unless_gone(users.try_update(|users| {
                let users = users.get_or_insert_default();
                if after.is_none() {
                    users.clear();
                }
                users.extend(page.users);
            }));
        });
    };
    read(None);
    let refresh = Callback::new(move |()| read(None));
    view! {
        <form class="search" on:submit=move |event| { event.prevent_default(); read(None); }>
            <input class="input" aria-label=t("User name or pattern") placeholder=t("User name, or a pattern like *son") autocomplete="off" on:input=move |event| pattern.set(event_target_value(&event))/>
            <button type="submit" class="button">{Word("Search")}</button>
        </form>
        <div class="error" role="alert">{error}</div>
        {move || match users.with(|users| users.as_ref().map(Vec::is_empty)) {
            None => view! { <Reading error again=refresh/> }.into_any(),
            Some(true) => view! { <Nothing words=t("Nobody of that name. Part of one is found with stars: *son.")/> }.into_any(),
            Some(false) => ().into_any(),
        }}
        <ul class="admin-list">
            {move || users.get().unwrap_or_default().into_iter().map(|user| view! { <UserLine user refresh error/> }).collect_view()}
        </ul>
        {move || next.get().map(|after| view! { <button type="button" class="link-button more" on:click=move |_| read(Some(after.clone()))>{Word("Show more")}</button> })}
    }
}

const DISABLE: &str = keyed("Disable");
const TAKE_ADMIN: &str = keyed("Take admin away");
const DELETE: &str = keyed("Delete for good");
const SIGN_OUT: &str = keyed("Sign out everywhere");

#[component]
fn UserLine(user: AdminUser, refresh: Callback<()>, error: RwSignal<String>) -> impl IntoView {
    let app = App::of_context();
    let name = StoredValue::new(user.user.name.clone());
    // What is asked about once more before it is done: the button's word.
    let sure = RwSignal::new("");
    let secret = RwSignal::new(None::<String>);
    let path = move || format!("/api/v1/admin/users/{}", rest::part(&name.get_value()));
    let set = move |state: UserState| {
        act(
            app,
            error,
            move || unless_gone(refresh.try_run(())),
            move |token| async move { rest::write(&token, "PATCH", &path(), Some(&state)).await },
        );
    };
    // What there is of that: who is shut out is out everywhere, and let in again at once she begins anew. Where the second does not come
    // through, the line says that she is disabled.
    let sign_out = move || {
        act(
            app,
            error,
            move || unless_gone(refresh.try_run(())),
            move |token| async move {
                let disabled = |on| UserState { disabled: Some(on), admin: None };
                rest::write(&token, "PATCH", &path(), Some(&disabled(true))).await?;
                // A leader that is lost in between must not leave her shut out.
                let again = rest::write(&token, "PATCH", &path(), Some(&disabled(false))).await;
                match again {
                    Ok(done) => Ok(done),
                    Err(_) => rest::write(&token, "PATCH", &path(), Some(&disabled(false))).await,
                }
            },
        );
    };
    let sessions = RwSignal::new(None::<Vec<SessionInfo>>);
    let look = move |_| {
        if sessions.get_untracked().is_some() {
            return sessions.set(None);
        }
        load(app, format!("{}/sessions", path()), error, move |found: Sessions| {
            unless_gone(sessions.try_set(Some(found.sessions)));
        });
    };
    let remove = move || {
        act(
            app,
            error,
            move || unless_gone(refresh.try_run(())),
            move |token| async move { rest::write(&token, "DELETE", &path(), None::<&()>).await },
        );
    };
    // The buttons are others then: the focus goes to "Cancel", and from there back to the one that asked.
    let acts = NodeRef::<html::Span>::new();
    let ask = move |verb: &'static str| {
        let at = match (verb, sure.get_untracked()) {
            ("", DISABLE) => 0,
            ("", DELETE) => 3,
            ("", SIGN_OUT) => 4,
            _ => 1,
        };
        sure.set(verb);
        next_frame(move || {
            let buttons =
                acts.try_get_untracked().flatten().map(|acts| acts.get_elements_by_tag_name("button"));
            if let Some(button) = buttons.and_then(|buttons| buttons.item(at)) {
                keys::focus(&button);
            }
        });
    };
    let confirmed = move |_| {
        let wanted = sure.get_untracked();
        ask("");
        match wanted {
            DISABLE => set(UserState { disabled: Some(true), admin: None }),
            TAKE_ADMIN => set(UserState { disabled: None, admin: Some(false) }),
            SIGN_OUT => sign_out(),
            _ => remove(),
        }
    };
    let reset = move |_| {
        // 256 bits; shown here alone, and the servers keep a hash.
        let drawn = format!("{}{}", random_code(), random_code());
        let body = NewReset { secret: drawn.clone() };
        act(
            app,
            error,
            move || unless_gone(secret.try_set(Some(drawn))),
            move |token| async move {
                rest::write(&token, "POST", &format!("{}/reset", path()), Some(&body)).await
            },
        );
    };
    let (disabled, admin, user_sessions) = (user.disabled, user.admin, user.sessions);
    let mut facts = Vec::new();
    if admin {
        facts.push(t("admin").to_owned());
    }
    if disabled {
        facts.push(t("disabled").to_owned());
    }
    facts.push(tn(user.sessions.into(), "{} session", "{} sessions"));
    if let Some(at) = user.last_seen {
        facts.push(tf("last seen {}", &[&clock::full(at)]));
    }
    view! {
        <li data-testid="admin-user" data-name=user.user.name.clone()>
            <Avatar name=called(&user.user).to_owned() portrait=portrait_of(&user.user)/>
            <span class="who"><b>{called(&user.user).to_owned()}</b>{user.user.bot.then(|| view! { <Badge/> })}<span>{format!("@{} · {}", user.user.name, facts.join(" · "))}</span></span>
            {(!user.user.deleted).then(|| view! {
                <span node_ref=acts class="acts">
                    {move || match sure.get() {
                        "" => view! {
                            {if disabled {
                                view! { <button type="button" class="link-button" on:click=move |_| set(UserState { disabled: Some(false), admin: None })>{Word("Enable")}</button> }.into_any()
                            } else {
                                view! { <button type="button" class="link-button" on:click=move |_| ask(DISABLE)>{Word("Disable…")}</button> }.into_any()
                            }}
                            {if admin {
                                view! { <button type="button" class="link-button" on:click=move |_| ask(TAKE_ADMIN)>{Word("Take admin away…")}</button> }.into_any()
                            } else {
                                view! { <button type="button" class="link-button" on:click=move |_| set(UserState { disabled: None, admin: Some(true) })>{Word("Make admin")}</button> }.into_any()
                            }}
                            <button type="button" class="link-button" data-testid="reset" on:click=reset>{Word("Reset password")}</button>
                            <button type="button" class="link-button" on:click=move |_| ask(DELETE)>{Word("Delete…")}</button>
                            // Whoever is disabled is an admin no more, so not for admins.
                            {(!disabled && !admin && user_sessions > 0).then(|| view! {
                                <button type="button" class="link-button" data-testid="sign-out-user" on:click=move |_| ask(SIGN_OUT)>{Word("Sign out everywhere…")}</button>
                            })}
                            {(!disabled && user_sessions > 0).then(|| view! {
                                <button type="button" class="link-button" data-testid="user-sessions" aria-expanded=move || sessions.with(Option::is_some).to_string() on:click=look>{Word("Sessions")}</button>
                            })}
                        }.into_any(),
                        verb => {
                            let words = match verb {
                                DISABLE => t("Signed out everywhere, and kept out."),
                                TAKE_ADMIN => t("No longer sees this part of the page."),
                                SIGN_OUT => t("Disabled and enabled again: every session and token ends, and she can sign in anew."),
                                _ => t("The account is gone, and cannot come back."),
                            };
                            view! {
                                <span role="status">{words}</span>
                                <button type="button" class="link-button bad" data-testid="confirm" on:click=confirmed>{t(verb)}</button>
                                <button type="button" class="link-button" on:click=move |_| ask("")>{Word("Cancel")}</button>
                            }.into_any()
                        }
                    }}
                </span>
            })}
            {move || sessions.get().map(|sessions| view! {
                <ul class="devices" data-testid="session-list">
                    {sessions.into_iter().map(|session| {
                        let name = if session.device.is_empty() { t("Unnamed device").to_owned() } else { session.device };
                        let when = [tf("since {}", &[&clock::full(session.created)]), tf("last used {}", &[&clock::brief(session.refreshed)])];
                        view! { <li><span class="who"><b>{name}</b><span>{when.join(" · ")}</span></span></li> }
                    }).collect_view()}
                </ul>
            })}
            {move || secret.get().map(|secret| {
                let copied = secret.clone();
                view! {
                    <div class="secret" role="status">
                        <p>{Word("Give this secret to the user, over a way you trust. It sets another password once, within 24 hours, and is shown only now.")}</p>
                        <code data-testid="reset-secret">{secret}</code>
                        <button type="button" class="link-button" on:click=move |_| app.copy(&copied, t("Secret copied."))>{Word("Copy")}</button>
                    </div>
                }
            })}
        </li>
    }
}
