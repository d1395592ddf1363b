//! One's own profile: what others see, ways back in, whom one blocked, what one takes along, and the end of it.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::{Action, User};
use quorate_client::proto::limits::RECOVERY_CODES_MAX;
use quorate_client::proto::rest::{DeleteAccount as Ending, Directory, NewRecoveryCodes, UserProfile};
use quorate_client::proto::text;
use quorate_client::view::{Whose, called, portrait_of};
use quorate_client::{Deed, Input};

use super::account::{act, value};
use super::exports::Keep;
use super::portrait::SetPortrait;
use super::sheet::Asking;
use crate::clock::random_code;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::memo;
use crate::words::{Word, refused, t};

#[component]
pub(crate) fn Profile() -> impl IntoView {
    let app = App::of_context();
    let (name, status) = (NodeRef::<html::Input>::new(), NodeRef::<html::Input>::new());
    let said = RwSignal::new("");
    let asking = Asking::new(app, move |_| said.set(t("Saved.")));
    let error = asking.error;
    let me = app.me.get_untracked().unwrap_or_default();
    let path = format!("/api/v1/users/{}", rest::part(&me.name));
    act(
        app,
        error,
        || {},
        move |token| async move {
            let found = rest::read::<UserProfile>(&token, &path).await?;
            // Whoever types already is not interrupted.
            if let Some(Some(input)) = status.try_get_untracked()
                && input.value().is_empty()
            {
                input.set_value(&found.status);
            }
            Ok(())
        },
    );
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        said.set("");
        let checked = text::canonical_title(&value(name))
            .and_then(|name| text::canonical_status(&value(status)).map(|status| (name, status)));
        match checked {
            Ok((name, status)) => {
                asking.ask(Action::SetProfile {
                    display_name: Some(name),
                    status: Some(status),
                    avatar: None,
                });
            }
            Err(why) => error.set(refused(&why)),
        }
    };
    let whose = Whose::User(me.id);
    let face = memo(move || {
        app.me.with(|me| me.as_ref().map(|me| (called(me).to_owned(), portrait_of(me))).unwrap_or_default())
    });
    view! {
        <form class="form" data-testid="profile" on:submit=submit novalidate>
            <h3>{Word("Profile")}</h3>
            <SetPortrait whose face/>
            <label class="field"><span>{Word("Display name")}</span><input node_ref=name class="input" name="display_name" maxlength="80" autocomplete="name" value=called(&me).to_owned()/></label>
            <label class="field"><span>{Word("Status")}</span><input node_ref=status class="input" name="status" maxlength="100" autocomplete="off" placeholder=t("What are you up to?")/></label>
            <div class="error" role="alert">{error}</div>
            <div class="done" role="status">{said}</div>
            <button type="submit" class="button">{Word("Save profile")}</button>
        </form>
    }
}

#[component]
pub(crate) fn RecoveryCodes() -> impl IntoView {
    let app = App::of_context();
    let password = NodeRef::<html::Input>::new();
    let error = RwSignal::new(String::new());
    let codes = StoredValue::new(Vec::<String>::new());
    let shown = RwSignal::new(false);
    let done = RwSignal::new(false);
    // Shown before they are sent: whoever loses the answer has them still, and a retry sends the same.
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if value(password).is_empty() {
            return error.set(t("Enter your present password.").to_owned());
        }
        if codes.with_value(Vec::is_empty) {
            codes.set_value((0..RECOVERY_CODES_MAX).map(|_| random_code()).collect());
        }
        shown.set(true);
        let body = NewRecoveryCodes { password: value(password), codes: codes.get_value() };
        act(
            app,
            error,
            move || unless_gone(done.try_set(true)),
            move |token| async move { rest::write(&token, "PUT", "/api/v1/recovery-codes", Some(&body)).await },
        );
    };
    view! {
        <form class="form" data-testid="recovery-codes" on:submit=submit novalidate>
            <h3>{Word("Recovery codes")}</h3>
            <p class="hint">{Word("Each code sets another password once, should you lose yours. New codes replace the old ones.")}</p>
            {move || shown.get().then(|| {
                let text = codes.get_value().join("\n");
                let copied = text.clone();
                view! {
                    <pre class="codes">{text}</pre>
                    <button type="button" class="link-button" on:click=move |_| app.copy(&copied, t("Codes copied."))>{Word("Copy codes")}</button>
                }
            })}
            {move || if done.get() {
                view! { <p class="done" role="status">{Word("These codes are in force. They are shown only now: keep them somewhere safe.")}</p> }.into_any()
            } else {
                view! {
                    <label class="field"><span>{Word("Present password")}</span><input node_ref=password class="input" type="password" autocomplete="current-password"/></label>
                    <button type="submit" class="button">{Word("Make recovery codes")}</button>
                }.into_any()
            }}
            <div class="error" role="alert">{error}</div>
        </form>
    }
}

#[component]
pub(crate) fn Blocked() -> impl IntoView {
    let app = App::of_context();
    let error = RwSignal::new(String::new());
    act(
        app,
        error,
        || {},
        move |token| async move {
            let found = rest::read::<Directory>(&token, "/api/v1/blocked").await?;
            app.input(Input::KnownBlocked(found.users));
            Ok(())
        },
    );
    let users = memo(move || {
        app.own.track();
        app.with(|client| client.mine().blocked().cloned().collect::<Vec<User>>())
    });
    view! {
        <section>
            <h3>{Word("Blocked")}</h3>
            {move || {
                let users = users.get();
                if users.is_empty() {
                    return view! { <p class="hint">{Word("You have blocked nobody.")}</p> }.into_any();
                }
                view! {
                    <ul class="devices">
                        {users.into_iter().map(|user| {
                            let name = user.name.clone();
                            view! {
                                <li data-testid="blocked">
                                    <span class="who"><b>{called(&user).to_owned()}</b><span>{format!("@{}", user.name)}</span></span>
                                    <button type="button" class="link-button" on:click=move |_| app.fire(Deed::Do(Action::Block { user: name.clone(), on: false }))>{Word("Unblock")}</button>
                                </li>
                            }
                        }).collect_view()}
                    </ul>
                }.into_any()
            }}
            <div class="error" role="alert">{error}</div>
        </section>
    }
}

#[component]
pub(crate) fn Export() -> impl IntoView {
    let error = RwSignal::new(String::new());
    let path = StoredValue::new("/api/v1/me/export".to_owned());
    view! {
        <section>
            <h3>{Word("Take it with you")}</h3>
            <p class="hint">{Word("Your profile, sessions, saved messages and all your conversations, as JSON Lines. Single conversations are in their details.")}</p>
            <Keep words=t("Export my account") label=t("Export my account") path name="quorate-account.jsonl" error class="button" testid="export-account"/>
            <div class="error" role="alert">{error}</div>
        </section>
    }
}

#[component]
pub(crate) fn DeleteAccount() -> impl IntoView {
    let app = App::of_context();
    let password = NodeRef::<html::Input>::new();
    let sure = RwSignal::new(false);
    let error = RwSignal::new(String::new());
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let body = Ending { password: value(password) };
        if body.password.is_empty() {
            return error.set(t("Enter your password.").to_owned());
        }
        let done = move || {
            app.accounting.set(false);
            app.input(Input::SignOut);
        };
        act(app, error, done, move |token| async move {
            rest::write(&token, "DELETE", "/api/v1/me", Some(&body)).await
        });
    };
    view! {
        <section data-testid="delete-account">
            <h3>{Word("Delete account")}</h3>
            {move || if sure.get() {
                view! {
                    <form class="form" on:submit=submit novalidate>
                        <p>{Word("Your messages stay and say “Deleted user”. You leave all groups, and nobody gets your user name again. This cannot be undone.")}</p>
                        <label class="field"><span>{Word("Password")}</span><input node_ref=password class="input" type="password" autocomplete="current-password"/></label>
                        <div class="acts">
                            <button type="submit" class="button danger">{Word("Delete my account")}</button>
                            <button type="button" class="button" on:click=move |_| sure.set(false)>{Word("Keep it")}</button>
                        </div>
                    </form>
                }.into_any()
            } else {
                view! { <button type="button" class="link-button" on:click=move |_| sure.set(true)>{Word("Delete my account…")}</button> }.into_any()
            }}
            <div class="error" role="alert">{error}</div>
        </section>
    }
}
