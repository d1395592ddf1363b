//! Suggestions of replies above the composer: asked for, put into the box, never sent.

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::PreferencesChange;
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::proto::rest::Suggestions;

use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::memo;
use crate::words::{Word, t, tf};

/// What came of asking, and after which message it was asked.
#[derive(Clone, PartialEq)]
struct Found {
    after: Sequence,
    answer: Result<Suggestions, String>,
}

/// What a provider elsewhere is called.
fn provider_words(provider: &str) -> String {
    match provider {
        "openai" => t("OpenAI’s interface").to_owned(),
        "gemini" => "Gemini".to_owned(),
        other => other.to_owned(),
    }
}

/// See the module. `take` gets the text that was chosen.
#[component]
pub(crate) fn Suggest(id: ConversationId, take: Callback<String>) -> impl IntoView {
    let app = App::of_context();
    let found = RwSignal::new(None::<Found>);
    let busy = RwSignal::new(false);
    let last = memo(move || app.rows.with(|rows| rows.last));
    let agreed = memo(move || {
        app.heading.with(|heading| heading.as_ref().is_some_and(|heading| heading.preferences.suggestions))
    });
    let ask = move || {
        let Some(token) = app.token().filter(|_| !busy.get_untracked()) else { return };
        busy.set(true);
        found.set(None);
        let after = last.get_untracked();
        spawn_local(async move {
            let path = format!("/api/v1/conversations/{id}/suggestions");
            let answer = rest::ask::<Suggestions>(&token, &path).await.map_err(|why| why.message);
            unless_gone(busy.try_set(false));
            unless_gone(found.try_set(Some(Found { after, answer })));
        });
    };
    // Once more was written, they answer to something else.
    let shown = memo(move || found.get().filter(|found| found.after == last.get()));
    let agree = move |on: bool| {
        app.prefer(id, PreferencesChange { suggestions: Some(on), ..PreferencesChange::default() });
    };
    // A provider elsewhere may be configured and not have been asked: whoever made these is said as it was.
    let consent = move |sends_to: String, provider: String| {
        let (sends_to, here) = (provider_words(&sends_to), provider == "embedded");
        let made = if here { t("Made on this server.").to_owned() } else { tf("Made by {}.", &[&sends_to]) };
        if agreed.get() {
            view! {
                <p class="suggest-note">
                    {made}" "{tf("You agreed that your messages here may be sent to {}.", &[&sends_to])}" "
                    <button type="button" class="link-button" data-testid="withdraw-suggestions" on:click=move |_| agree(false)>{Word("Withdraw")}</button>
                </p>
            }
            .into_any()
        } else {
            view! {
                <p class="suggest-note" data-testid="suggest-consent">
                    {made}" "{tf("{} is asked only if you agree, and reads only messages of members who do.", &[&sends_to])}" "
                    <button type="button" class="link-button" data-testid="agree-suggestions" on:click=move |_| agree(true)>{Word("Agree here")}</button>
                </p>
            }
            .into_any()
        }
    };
    let chips = move |texts: Vec<String>| {
        if texts.is_empty() {
            return view! { <p class="suggest-note">{Word("Nothing to suggest for the newest message.")}</p> }
                .into_any();
        }
        view! {
            <div class="chips" role="group" aria-label=t("Suggested replies")>
                {texts.into_iter().map(|text| {
                    let shown = text.clone();
                    view! {
                        <button type="button" class="chip" data-testid="suggestion" on:click=move |_| { found.set(None); take.run(text.clone()); }>{shown}</button>
                    }
                }).collect_view()}
            </div>
        }
        .into_any()
    };
    // An edit has its text already; where nobody has written there is nothing to answer.
    let idle = memo(move || app.editing.with(Option::is_some) || last.get() == 0);
    move || {
        if idle.get() {
            return ().into_any();
        }
        view! {
            <div class="suggest" aria-live="polite">
                {move || shown.get().map(|found| match found.answer {
                    Err(why) => view! { <p class="suggest-note" role="alert">{why}</p> }.into_any(),
                    Ok(answer) => {
                        let asks = (!answer.sends_to.is_empty()).then(|| consent(answer.sends_to, answer.provider));
                        view! { {chips(answer.suggestions)}{asks} }.into_any()
                    }
                })}
                <button type="button" class="link-button" data-testid="suggest" disabled=move || busy.get() on:click=move |_| ask()>
                    {move || if busy.get() { t("Thinking…") } else { t("Suggest replies") }}
                </button>
            </div>
        }
        .into_any()
    }
}
