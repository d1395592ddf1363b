//! The side panel: pinned messages, saved ones, mentions, what is scheduled, and the search. Read when it opens; kept true by events.

use leptos::prelude::*;
use leptos::task::spawn_local;
use quorate_client::Deed;
use quorate_client::Input;
use quorate_client::proto::frame::{Action, Event, EventKind, MessageRef};
use quorate_client::proto::rest::{Messages, Scheduled};
use quorate_client::view::{called, one_line, said};

use super::bots::Badge;
use super::icons::{Glyph, Icon};
use super::search::Search;
use super::vacant::{Nothing, Reading};
use crate::clock;
use crate::context::{App, Panel as Which, unless_gone};
use crate::driver::rest;
use crate::follow::{follow, memo};
use crate::words::{Word, t, tf};

/// See the module.
#[component]
pub(crate) fn Panel() -> impl IntoView {
    let app = App::of_context();
    move || {
        let which = app.panel.get()?;
        let title = match which {
            Which::Pins => t("Pinned messages"),
            Which::Saved => t("Saved messages"),
            Which::Mentions => t("Mentions"),
            Which::Scheduled => t("Scheduled"),
            Which::Search => t("Search"),
        };
        Some(view! {
            <aside class="details" aria-label=title data-region tabindex="-1" data-testid="panel">
                <header>
                    <h2>{title}</h2>
                    <button type="button" class="icon-button" aria-label=t("Close panel") on:click=move |_| app.panel.set(None)>
                        <Glyph icon=Icon::Close/>
                    </button>
                </header>
                {match which {
                    Which::Scheduled => view! { <Later/> }.into_any(),
                    Which::Search => view! { <Search/> }.into_any(),
                    which => view! { <Found which/> }.into_any(),
                }}
            </aside>
        })
    }
}

fn path(which: Which, conversation: u64, before: Option<u64>) -> String {
    let base = match which {
        Which::Pins => format!("/api/v1/conversations/{conversation}/pins"),
        Which::Saved => "/api/v1/saved".to_owned(),
        Which::Mentions | Which::Scheduled | Which::Search => "/api/v1/mentions".to_owned(),
    };
    match before {
        Some(before) => format!("{base}?limit=50&before={before}"),
        None if which == Which::Pins => base,
        None => format!("{base}?limit=50"),
    }
}

#[component]
fn Found(which: Which) -> impl IntoView {
    let app = App::of_context();
    let found = RwSignal::new(None::<Vec<Event>>);
    let next = RwSignal::new(None::<u64>);
    let error = RwSignal::new(String::new());
    let load = move |before: Option<u64>| {
        let Some(token) = app.token_or(error) else { return };
        let conversation = app.focused.get_untracked().unwrap_or_default();
        spawn_local(async move {
            match rest::read::<Messages>(&token, &path(which, conversation, before)).await {
                Ok(page) => {
                    if which == Which::Saved {
                        let refs = page.messages.iter().filter_map(source).collect();
                        app.input(Input::KnownSaved(refs));
                    }
                    unless_gone(error.try_set(String::new()));
                    unless_gone(next.try_set(page.next));
                    unless_gone(found.try_update(|found| {
                        let found = found.get_or_insert_default();
                        if before.is_none() {
                            found.clear();
                        }
                        found.extend(page.messages);
                    }));
                }
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    };
    // What was pinned, saved or written since is read again.
    let stamp = memo(move || match which {
        Which::Pins => {
            app.heading.with(|heading| heading.as_ref().map_or(0, |heading| u64::from(heading.pin_count)))
        }
        Which::Mentions => app.list.with(|list| list.iter().map(|row| row.mentions).sum()),
        Which::Saved | Which::Scheduled | Which::Search => 0,
    });
    follow(move || {
        stamp.track();
        load(None);
    });
    let empty = match which {
        Which::Pins => {
            t("Nothing is pinned here. Pin a message from its menu, and everybody finds it in this list.")
        }
        Which::Saved => {
            t("Nothing is saved. Save a message from its menu to come back to it; nobody else sees that.")
        }
        Which::Mentions | Which::Scheduled | Which::Search => {
            t("Nobody has mentioned you yet. Messages with your @name come together here.")
        }
    };
    view! {
        <div class="error" role="alert">{error}</div>
        {move || match found.get() {
            None => view! { <Reading error again=Callback::new(move |()| load(None))/> }.into_any(),
            Some(found) if found.is_empty() => view! { <Nothing words=empty/> }.into_any(),
            Some(events) => view! {
                <ul class="found">
                    {events.into_iter().map(|event| view! { <Line event which found/> }).collect_view()}
                </ul>
                {move || next.get().map(|before| view! {
                    <button type="button" class="link-button more" on:click=move |_| load(Some(before))>{Word("Show more")}</button>
                })}
            }.into_any(),
        }}
    }
}

fn source(event: &Event) -> Option<MessageRef> {
    match &event.kind {
        EventKind::Message(message) => {
            Some(MessageRef { conversation: event.conversation, sequence: message.sequence })
        }
        _ => None,
    }
}

#[component]
fn Line(event: Event, which: Which, found: RwSignal<Option<Vec<Event>>>) -> impl IntoView {
    let app = App::of_context();
    let EventKind::Message(message) = event.kind else { return ().into_any() };
    let (conversation, sequence) = (event.conversation, message.sequence);
    let place = app.with(|client| client.conversation(conversation).map(|held| held.name(app.my_id())));
    let text =
        if message.deleted { t("This message was deleted.").to_owned() } else { one_line(&said(&message)) };
    let may_unpin = app.heading.with_untracked(|heading| {
        heading.as_ref().is_some_and(|heading| !heading.announcement || heading.manages)
    });
    let undo = match which {
        Which::Saved => Some(t("Remove")),
        Which::Pins if may_unpin => Some(t("Unpin")),
        _ => None,
    };
    let undone = move |_| {
        match which {
            Which::Saved => app.fire(Deed::Do(Action::Save { conversation, sequence, on: false })),
            _ => app.fire(Deed::Pin { conversation, sequence, on: false }),
        }
        found.update(|found| {
            if let Some(found) = found {
                found.retain(|event| source(event) != Some(MessageRef { conversation, sequence }));
            }
        });
    };
    view! {
        <li data-testid="panel-message" data-sequence=sequence.to_string()>
            <button type="button" class="found-message" on:click=move |_| app.go_to_message(conversation, sequence)>
                <span class="found-head">
                    <b>{called(&message.from).to_owned()}</b>{message.from.bot.then(|| view! { <Badge/> })}
                    {(which != Which::Pins).then_some(place).flatten().map(|place| tf("in {}", &[&place]))}
                    <time>{clock::brief(event.time)}</time>
                </span>
                <span class="found-text">{text}</span>
            </button>
            {undo.map(|words| view! { <button type="button" class="link-button" on:click=undone>{words}</button> })}
        </li>
    }
    .into_any()
}

#[component]
fn Later() -> impl IntoView {
    let app = App::of_context();
    let error = RwSignal::new(String::new());
    let loaded = RwSignal::new(false);
    let load = move || {
        let Some(token) = app.token_or(error) else { return };
        spawn_local(async move {
            match rest::read::<Scheduled>(&token, "/api/v1/scheduled").await {
                Ok(scheduled) => {
                    app.input(Input::KnownScheduled(scheduled.items));
                    unless_gone(loaded.try_set(true));
                }
                Err(why) => unless_gone(error.try_set(why.message)),
            }
        });
    };
    load();
    let items = memo(move || {
        app.own.track();
        app.with(|client| client.mine().scheduled().into_iter().cloned().collect::<Vec<_>>())
    });
    view! {
        <div class="error" role="alert">{error}</div>
        {move || {
            let items = items.get();
            if items.is_empty() {
                if !loaded.get() {
                    return view! { <Reading error again=Callback::new(move |()| load())/> }.into_any();
                }
                return view! { <Nothing words=t("Nothing is scheduled. Write a message and choose the clock beside the send button, or ask to be reminded of a message from its menu.")/> }.into_any();
            }
            items.into_iter().map(|item| {
                let place = app.with(|client| client.conversation(item.conversation).map(|held| held.name(app.my_id()))).unwrap_or_default();
                let (scheduled, conversation) = (item.id, item.conversation);
                let words = if item.remind_of.is_some() { tf("Reminder in {}", &[&place]) } else { tf("To {}", &[&place]) };
                view! {
                    <div class="found-message scheduled" data-testid="scheduled">
                        <span class="found-head"><b>{words}</b><time>{clock::full(item.at)}</time></span>
                        <span class="found-text">{one_line(&item.text)}</span>
                        <span class="found-acts">
                            {item.remind_of.map(|sequence| view! {
                                <button type="button" class="link-button" on:click=move |_| app.go_to_message(conversation, sequence)>{Word("Show message")}</button>
                            })}
                            <button type="button" class="link-button" on:click=move |_| app.fire(Deed::Do(Action::CancelScheduled { scheduled }))>{Word("Cancel")}</button>
                        </span>
                    </div>
                }
            }).collect_view().into_any()
        }}
    }
}
