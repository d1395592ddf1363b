//! The search in all that the reader may see: words and filters in, messages out.

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::proto::frame::EventKind;
use quorate_client::proto::limits::SEARCH_BYTES_MAX;
use quorate_client::proto::rest::{SearchHit, SearchPage};
use quorate_client::view::{called, excerpt, said};

use super::bots::Badge;
use super::vacant::Nothing;
use crate::clock;
use crate::context::{App, unless_gone};
use crate::driver::rest;
use crate::follow::follow;
use crate::words::{Word, t, tf};

/// What was asked: the words, and in which conversation only.
type Asked = (String, Option<u64>);

fn path((words, within): &Asked, cursor: Option<&str>) -> String {
    // Minutes east of Greenwich; browsers count them west.
    let offset = -(js_sys::Date::new_0().get_timezone_offset() as i32);
    let mut path = format!("/api/v1/search?q={}&utc_offset={offset}", rest::part(words));
    if let Some(within) = within {
        path.push_str(&format!("&in={within}"));
    }
    if let Some(cursor) = cursor {
        path.push_str(&format!("&cursor={}", rest::part(cursor)));
    }
    path
}

/// See the module.
#[component]
pub(crate) fn Search() -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Input>::new();
    let here = RwSignal::new(false);
    let asked = RwSignal::new(None::<Asked>);
    // Counts the questions: a late answer to one before is of no use.
    let turn = RwSignal::new(0_u32);
    let found = RwSignal::new(Vec::<SearchHit>::new());
    let next = RwSignal::new(None::<String>);
    let incomplete = RwSignal::new(false);
    let busy = RwSignal::new(false);
    let error = RwSignal::new(String::new());
    let load = move |cursor: Option<String>| {
        error.set(String::new());
        let Some(question) = asked.get_untracked() else { return };
        let Some(token) = app.token_or(error) else { return };
        busy.set(true);
        let mine = turn.get_untracked();
        next.set(None);
        spawn_local(async move {
            let answer = rest::read::<SearchPage>(&token, &path(&question, cursor.as_deref())).await;
            if turn.try_get_untracked() != Some(mine) {
                return;
            }
            unless_gone(busy.try_set(false));
            match answer {
                Ok(page) => {
                    unless_gone(found.try_update(|found| found.extend(page.hits)));
                    unless_gone(incomplete.try_set(page.incomplete));
                    unless_gone(next.try_set(page.next));
                }
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    };
    let begin = move || {
        let words = input.get_untracked().map(|input| input.value()).unwrap_or_default().trim().to_owned();
        let within = app.focused.get_untracked().filter(|_| here.get_untracked());
        found.set(Vec::new());
        next.set(None);
        incomplete.set(false);
        busy.set(false);
        turn.update(|turn| *turn = turn.wrapping_add(1));
        error.set(String::new());
        asked.set(Some((words, within)).filter(|(words, _)| !words.is_empty()));
        load(None);
    };
    follow(move || {
        if let Some(input) = input.get() {
            let _ = input.focus();
        }
    });
    let nothing = move || {
        let none = asked.with(Option::is_some)
            && !busy.get()
            && found.with(Vec::is_empty)
            && next.with(Option::is_none)
            && error.with(String::is_empty);
        none.then(|| view! { <div role="status"><Nothing words=t("Nothing was found. Try fewer words, or the beginning of one with a star: roll*.")/></div> })
    };
    view! {
        <form class="search-form" role="search" on:submit=move |event| { event.prevent_default(); begin(); }>
            <input node_ref=input class="input" type="search" data-testid="search-box" data-region-focus aria-label=t("Search messages") placeholder=t("Words, \"phrases\", from:ana") autocomplete="off" maxlength=SEARCH_BYTES_MAX.to_string()/>
            <button type="submit" class="button">{Word("Search")}</button>
        </form>
        {move || app.focused.get().map(|_| view! {
            <label class="check search-here">
                <input type="checkbox" prop:checked=move || here.get() on:change=move |event| here.set(event_target_checked(&event))/>
                {Word("Only in this conversation")}
            </label>
        })}
        {move || asked.with(Option::is_none).then(|| view! {
            <p class="vacant">{Word("All words must be there. Besides words: \"a phrase\", roll*, from:ana, in:\"a title\", before:2026-01-31, after:2026-01-31, has:link.")}</p>
        })}
        <div class="error" role="alert">{error}</div>
        {nothing}
        <ul class="found">
            {move || found.get().into_iter().map(|hit| view! { <Hit hit/> }).collect_view()}
        </ul>
        {move || incomplete.get().then(|| view! { <p class="vacant">{Word("Time ran out: there may be more than this.")}</p> })}
        {move || busy.get().then(|| view! { <p class="vacant" role="status">{Word("Searching…")}</p> })}
        {move || next.get().map(|cursor| view! {
            <button type="button" class="link-button more" data-testid="search-more" on:click=move |_| load(Some(cursor.clone()))>{Word("Search further")}</button>
        })}
    }
}

#[component]
fn Hit(hit: SearchHit) -> impl IntoView {
    let app = App::of_context();
    let (conversation, time) = (hit.message.conversation, hit.message.time);
    let EventKind::Message(message) = hit.message.kind else { return ().into_any() };
    let sequence = message.sequence;
    let place = app.with(|client| client.conversation(conversation).map(|held| held.name(app.my_id())));
    let ranges: Vec<(usize, usize)> =
        hit.highlights.iter().map(|mark| (mark.begin as usize, mark.end as usize)).collect();
    // The marks count in the text as it was written.
    let whole = if message.text.trim().is_empty() { said(&message) } else { message.text.clone() };
    let pieces = excerpt(&whole, &ranges);
    view! {
        <li data-testid="search-hit" data-sequence=sequence.to_string()>
            <button type="button" class="found-message" on:click=move |_| app.go_to_message(conversation, sequence)>
                <span class="found-head">
                    <b>{called(&message.from).to_owned()}</b>{message.from.bot.then(|| view! { <Badge/> })}
                    {place.map(|place| tf("in {}", &[&place]))}
                    <time>{clock::brief(time)}</time>
                </span>
                <span class="found-text">
                    {pieces.into_iter().map(|(text, marked)| if marked {
                        view! { <mark>{text}</mark> }.into_any()
                    } else {
                        text.into_any()
                    }).collect_view()}
                </span>
            </button>
        </li>
    }
    .into_any()
}
