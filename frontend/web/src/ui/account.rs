//! One's own account: the devices that are signed in, the password, and becoming an admin. Bots have a part of their own.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::rest::{ClaimAdmin, NewPassword, SessionInfo};
use quorate_client::proto::text;

use super::appearance::Appearance;
use super::bots::Bots;
use super::icons::{Glyph, Icon};
use super::notices::Notices;
use super::profile::{Blocked, DeleteAccount, Export, Profile, RecoveryCodes};
use super::tokens::OwnTokens;
use super::vacant::Reading;
use crate::clock;
use crate::context::App;
use crate::driver::rest::{self, Answered, CallError};
use crate::follow::follow;
use crate::words::{Word, refused, t, tf};

/// See the module. Its body is made anew each time it opens.
#[component]
pub(crate) fn Account() -> impl IntoView {
    let app = App::of_context();
    let dialog = NodeRef::<html::Dialog>::new();
    follow(move || {
        let Some(dialog) = dialog.get() else { return };
        if app.accounting.get() && !dialog.open() {
            // Fails only when it is open already.
            let _ = dialog.show_modal();
        } else if !app.accounting.get() && dialog.open() {
            dialog.close();
        }
    });
    view! {
        <dialog
            node_ref=dialog
            aria-labelledby="account-title"
            data-testid="account-dialog"
            on:close=move |_| app.accounting.set(false)
        >
            <div class="dialog-head">
                <h2 id="account-title">{Word("Account")}</h2>
                <button type="button" class="icon-button" aria-label=t("Close") on:click=move |_| app.accounting.set(false)>
                    <Glyph icon=Icon::Close/>
                </button>
            </div>
            {move || app.accounting.get().then(|| view! {
                <div class="dialog-body">
                    <Profile/>
                    <Appearance/>
                    <Notices/>
                    <Devices/>
                    <Password/>
                    <RecoveryCodes/>
                    <Blocked/>
                    <OwnTokens/>
                    <Bots/>
                    <Export/>
                    // As it stands when the dialog opens: who becomes an admin here still reads so.
                    {(!app.admin.get_untracked()).then(|| view! { <Admin/> })}
                    <DeleteAccount/>
                </div>
            })}
        </dialog>
    }
}

/// Does something with the present token and puts into words why not.
pub(crate) fn act<F, Fut>(app: App, error: RwSignal<String>, done: impl FnOnce() + 'static, call: F)
where
    F: FnOnce(String) -> Fut + 'static,
    Fut: Future<Output = Result<(), CallError>> + 'static,
{
    error.set(String::new());
    if let Some(token) = app.token_or(error) {
        wait(Box::pin(call(token)), error, Box::new(done));
    }
}

/// One for all calls: what each brings of its own is in the boxes.
fn wait(call: Answered<Result<(), CallError>>, error: RwSignal<String>, done: Box<dyn FnOnce()>) {
    spawn_local(async move {
        match call.await {
            Ok(()) => done(),
            // The dialog may have been closed meanwhile.
            Err(why) => drop(error.try_set(why.message)),
        }
    });
}

#[component]
fn Devices() -> impl IntoView {
    let app = App::of_context();
    let sessions = RwSignal::new(None::<Vec<SessionInfo>>);
    let error = RwSignal::new(String::new());
    let load = move || {
        act(
            app,
            error,
            || {},
            move |token| async move {
                let found = rest::sessions(&token).await?;
                drop(sessions.try_set(Some(found.sessions)));
                Ok(())
            },
        );
    };
    load();
    let end = move |id: String| {
        act(app, error, load, move |token| async move { rest::end_session(&token, &id).await });
    };
    let end_others = move |_| {
        act(app, error, load, move |token| async move { rest::end_other_sessions(&token).await });
    };
    let line = move |session: SessionInfo| {
        let name =
            if session.device.is_empty() { t("Unnamed device").to_owned() } else { session.device.clone() };
        let when = if session.current {
            t("this device").to_owned()
        } else {
            tf("last used {}", &[&clock::brief(session.refreshed)])
        };
        let id = session.id.clone();
        view! {
            <li data-testid="device">
                <span class="who"><b>{name}</b><span>{when}</span></span>
                {(!session.current).then(move || view! {
                    <button type="button" class="link-button" on:click=move |_| end(id.clone())>{Word("Sign out")}</button>
                })}
            </li>
        }
    };
    view! {
        <section>
            <h3>{Word("Signed in")}</h3>
            {move || match sessions.get() {
                None => view! { <Reading error again=Callback::new(move |()| load())/> }.into_any(),
                Some(found) => {
                    let more = found.len() > 1;
                    view! {
                        <ul class="devices">{found.into_iter().map(line).collect_view()}</ul>
                        {more.then(|| view! {
                            <button type="button" class="link-button" data-testid="end-others" on:click=end_others>
                                {Word("Sign out everywhere else")}
                            </button>
                        })}
                    }.into_any()
                }
            }}
            <div class="error" role="alert">{error}</div>
        </section>
    }
}

pub(super) fn value(input: NodeRef<html::Input>) -> String {
    input.get_untracked().map(|input| input.value()).unwrap_or_default()
}

fn clear(input: NodeRef<html::Input>) {
    if let Some(Some(input)) = input.try_get_untracked() {
        input.set_value("");
    }
}

#[component]
fn Password() -> impl IntoView {
    let app = App::of_context();
    let (present, new) = (NodeRef::new(), NodeRef::new());
    let error = RwSignal::new(String::new());
    let said = RwSignal::new("");
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        said.set("");
        let body = NewPassword { password: value(present), new_password: value(new) };
        if let Err(why) = text::check_password(&body.new_password) {
            return error.set(refused(&why));
        }
        let done = move || {
            clear(present);
            clear(new);
            // Said here: a modal dialog covers everything else.
            let _ = said.try_set(t("Your password is changed. Every other device is signed out."));
        };
        act(app, error, done, move |token| async move { rest::set_password(&token, &body).await });
    };
    view! {
        <form class="form" data-testid="password" on:submit=submit novalidate>
            <h3>{Word("Password")}</h3>
            <label class="field">
                <span>{Word("Present password")}</span>
                <input node_ref=present class="input" name="present" type="password" autocomplete="current-password"/>
            </label>
            <label class="field">
                <span>{Word("New password")}</span>
                <input node_ref=new class="input" name="new" type="password" autocomplete="new-password"/>
                <small>{Word("At least 8 characters, none of the most used. Every other device is signed out.")}</small>
            </label>
            <div class="error" role="alert">{error}</div>
            <div class="done" role="status">{said}</div>
            <button type="submit" class="button">{Word("Change password")}</button>
        </form>
    }
}

#[component]
fn Admin() -> impl IntoView {
    let app = App::of_context();
    let secret = NodeRef::new();
    let error = RwSignal::new(String::new());
    let said = RwSignal::new("");
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        said.set("");
        let body = ClaimAdmin { secret: value(secret).trim().to_owned() };
        if body.secret.is_empty() {
            return;
        }
        let done = move || {
            clear(secret);
            let _ = said.try_set(t("You are an admin now."));
            let _ = app.admin.try_set(true);
        };
        act(app, error, done, move |token| async move { rest::claim_admin(&token, &body).await });
    };
    view! {
        <form class="form" data-testid="admin" on:submit=submit novalidate>
            <h3>{Word("Become an admin")}</h3>
            <label class="field">
                <span>{Word("Secret of the operator")}</span>
                <input node_ref=secret class="input" name="secret" autocomplete="off" spellcheck="false" data-testid="admin-secret"/>
                <small>{Word("Printed by deploy/up while there is no admin, or by replica admin offer.")}</small>
            </label>
            <div class="error" role="alert">{error}</div>
            <div class="done" role="status">{said}</div>
            <button type="submit" class="button">{Word("Claim")}</button>
        </form>
    }
}
