//! Sign up and sign in.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::rest::{ResetPassword, SignIn, SignUp};
use quorate_client::proto::text;

use super::icons::Mark;
use super::theme_toggle::ThemeToggle;
use crate::context::App;
use crate::driver::{device_name, rest, store};
use crate::words::{Word, refused, t};

/// A first visit is asked to sign up, a later one to sign in; either leads to the other.
#[component]
pub(crate) fn Door(why: Option<String>) -> impl IntoView {
    let new_here = RwSignal::new(store::get("quorate.known").is_none());
    let resetting = RwSignal::new(false);
    let said = RwSignal::new(None::<String>);
    view! {
        <div class="door">
            <section class="door-story">
                <span class="brand"><Mark/>"Quorate"</span>
                <div>
                    <h1>{Word("The conversation goes on.")}</h1>
                    <p>{Word("Every message is kept by a majority of five replicas before you see its tick. Stop any two: nothing is lost, and nobody is interrupted.")}</p>
                </div>
                <Ring/>
                <small>{Word("Three of five is enough.")}</small>
            </section>
            <main class="door-form">
                {move || if resetting.get() {
                    view! { <ResetForm resetting said/> }.into_any()
                } else if new_here.get() {
                    view! { <SignUpForm new_here/> }.into_any()
                } else {
                    view! { <SignInForm new_here resetting why=said.get().or_else(|| why.clone())/> }.into_any()
                }}
            </main>
            <div class="door-corner"><ThemeToggle/></div>
        </div>
    }
}

/// Five replicas, two of them down, the others still connected.
#[component]
fn Ring() -> impl IntoView {
    // Whole numbers: these would be all that needs the writing of others, 3 KB of it.
    const AT: [(u32, u32); 5] = [(100, 24), (174, 78), (146, 164), (54, 164), (26, 78)];
    let lines = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).map(|(a, b)| {
        let on = a < 3 && b < 3;
        view! {
            <line
                class:off=!on
                x1=AT[a].0.to_string()
                y1=AT[a].1.to_string()
                x2=AT[b].0.to_string()
                y2=AT[b].1.to_string()
            ></line>
        }
    });
    let dots = AT.iter().enumerate().map(|(n, (x, y))| {
        let class = if n < 3 { "on" } else { "off" };
        view! { <circle class=class cx=x.to_string() cy=y.to_string() r="13"></circle> }
    });
    view! {
        <svg class="ring" viewBox="0 0 200 190" aria-hidden="true">
            {lines.collect_view()} {dots.collect_view()}
        </svg>
    }
}

fn value(input: NodeRef<html::Input>) -> String {
    input.get_untracked().map(|input| input.value()).unwrap_or_default()
}

#[component]
fn SignUpForm(new_here: RwSignal<bool>) -> impl IntoView {
    let app = App::of_context();
    let (name, display_name, password) = (NodeRef::new(), NodeRef::new(), NodeRef::new());
    let (error, busy) = (RwSignal::new(String::new()), RwSignal::new(false));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        let shown = value(display_name);
        let checked = text::canonical_name(&value(name))
            .and_then(|name| text::check_password(&value(password)).map(|()| name))
            .and_then(|name| {
                let shown =
                    if shown.trim().is_empty() { Ok(None) } else { text::canonical_title(&shown).map(Some) };
                shown.map(|shown| (name, shown))
            });
        let (name, display_name) = match checked {
            Ok(checked) => checked,
            Err(why) => return error.set(refused(&why)),
        };
        busy.set(true);
        error.set(String::new());
        spawn_local(async move {
            let body = SignUp { name, password: value(password), display_name, device: Some(device_name()) };
            let answer = rest::sign_up(&body).await;
            busy.set(false);
            match answer {
                Ok(grant) => app.granted(grant),
                Err(why) => error.set(why.message),
            }
        });
    };
    view! {
        <form data-testid="sign-up" on:submit=submit novalidate>
            <h2>{Word("Create your account")}</h2>
            <p class="hint">{Word("Pick a name that others can find you by.")}</p>
            <label class="field">
                <span>{Word("User name")}</span>
                <input node_ref=name class="input" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" autofocus placeholder="ana"/>
            </label>
            <label class="field">
                <span>{Word("Display name")}</span>
                <input node_ref=display_name class="input" name="display_name" autocomplete="name" placeholder="Ana Brook"/>
                <small>{Word("Optional. Shown beside your messages.")}</small>
            </label>
            <label class="field">
                <span>{Word("Password")}</span>
                <input node_ref=password class="input" name="password" type="password" autocomplete="new-password"/>
                <small>{Word("At least 8 characters.")}</small>
            </label>
            <div class="error" role="alert">{error}</div>
            <button class="button primary wide" type="submit" aria-disabled=move || busy.get().to_string()>
                {move || if busy.get() { t("Creating…") } else { t("Create account") }}
            </button>
            <p class="swap">
                {Word("Have an account?")}" "
                <button type="button" class="link-button" on:click=move |_| new_here.set(false)>{Word("Sign in")}</button>
            </p>
        </form>
    }
}

#[component]
fn SignInForm(new_here: RwSignal<bool>, resetting: RwSignal<bool>, why: Option<String>) -> impl IntoView {
    let app = App::of_context();
    let (name, password) = (NodeRef::new(), NodeRef::new());
    let (error, busy) = (RwSignal::new(String::new()), RwSignal::new(false));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        if value(name).trim().is_empty() || value(password).is_empty() {
            return error.set(t("Enter your user name and password.").to_owned());
        }
        busy.set(true);
        error.set(String::new());
        spawn_local(async move {
            let name = value(name).trim().to_lowercase();
            let body = SignIn { name, password: value(password), device: Some(device_name()) };
            let answer = rest::sign_in(&body).await;
            busy.set(false);
            match answer {
                Ok(grant) => app.granted(grant),
                Err(why) => error.set(why.message),
            }
        });
    };
    view! {
        <form data-testid="sign-in" on:submit=submit novalidate>
            <h2>{Word("Welcome back")}</h2>
            <p class="hint">{why.unwrap_or_else(|| t("Sign in to go on where you were.").to_owned())}</p>
            <label class="field">
                <span>{Word("User name")}</span>
                <input node_ref=name class="input" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" autofocus/>
            </label>
            <label class="field">
                <span>{Word("Password")}</span>
                <input node_ref=password class="input" name="password" type="password" autocomplete="current-password"/>
            </label>
            <div class="error" role="alert">{error}</div>
            <button class="button primary wide" type="submit" aria-disabled=move || busy.get().to_string()>
                {move || if busy.get() { t("Signing in…") } else { t("Sign in") }}
            </button>
            <p class="swap">
                {Word("New here?")}" "
                <button type="button" class="link-button" on:click=move |_| new_here.set(true)>{Word("Create an account")}</button>
            </p>
            <p class="swap">
                <button type="button" class="link-button" data-testid="lost-password" on:click=move |_| resetting.set(true)>{Word("Lost your password?")}</button>
            </p>
        </form>
    }
}

/// Another password by a recovery code, or by what an admin gave.
#[component]
fn ResetForm(resetting: RwSignal<bool>, said: RwSignal<Option<String>>) -> impl IntoView {
    let (name, secret, password) = (NodeRef::new(), NodeRef::new(), NodeRef::new());
    let (error, busy) = (RwSignal::new(String::new()), RwSignal::new(false));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        let checked = text::canonical_name(&value(name))
            .and_then(|name| text::check_password(&value(password)).map(|()| name));
        let name = match checked {
            Ok(name) => name,
            Err(why) => return error.set(refused(&why)),
        };
        busy.set(true);
        error.set(String::new());
        spawn_local(async move {
            let body = ResetPassword {
                name,
                secret: value(secret).trim().to_owned(),
                new_password: value(password),
            };
            let answer = rest::reset_password(&body).await;
            busy.set(false);
            match answer {
                Ok(()) => {
                    said.set(Some(t("Your password is set. Sign in with it.").to_owned()));
                    resetting.set(false);
                }
                Err(why) => error.set(why.message),
            }
        });
    };
    view! {
        <form data-testid="reset-password" on:submit=submit novalidate>
            <h2>{Word("Set another password")}</h2>
            <p class="hint">{Word("With one of your recovery codes, or with the secret that an admin gave you. Either is good once.")}</p>
            <label class="field">
                <span>{Word("User name")}</span>
                <input node_ref=name class="input" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" autofocus/>
            </label>
            <label class="field">
                <span>{Word("Code or secret")}</span>
                <input node_ref=secret class="input" name="secret" autocomplete="off" autocapitalize="none" spellcheck="false"/>
            </label>
            <label class="field">
                <span>{Word("New password")}</span>
                <input node_ref=password class="input" name="password" type="password" autocomplete="new-password"/>
                <small>{Word("At least 8 characters. Every device is signed out.")}</small>
            </label>
            <div class="error" role="alert">{error}</div>
            <button class="button primary wide" type="submit" aria-disabled=move || busy.get().to_string()>{Word("Set password")}</button>
            <p class="swap">
                <button type="button" class="link-button" on:click=move |_| resetting.set(false)>{Word("Back to sign in")}</button>
            </p>
        </form>
    }
}
