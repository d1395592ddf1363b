//! One message, from clock to tick.

use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::ids::ClientMessageId;
use quorate_client::signals::Reach;
use quorate_client::view::{MessageRow, MessageState, Piece, called, pieces};

use super::avatar::Avatar;
use super::icons::{Glyph, Icon};
use crate::clock;
use crate::context::App;

/// The row watches itself: a pending message becomes a sent one in place.
#[component]
pub(crate) fn Message(first: MessageRow, row: Memo<Option<MessageRow>>) -> impl IntoView {
    let now = move || row.get().unwrap_or_else(|| first.clone());
    let base = now();
    let now = StoredValue::new(now);
    let row = Memo::new(move |_| now.with_value(|now| now()));
    let author = called(&base.message.from).to_owned();
    let own = base.own;
    let head = Memo::new(move |_| row.with(|row| row.head));
    let time = Memo::new(move |_| row.with(|row| row.time));
    let state = Memo::new(move |_| row.with(|row| row.state.clone()));
    let word = move || match state.get() {
        MessageState::Pending => "pending",
        MessageState::Sent { .. } => "sent",
        MessageState::NeedsTap | MessageState::Failed(_) => "failed",
    };
    let sequence = move || match state.get() {
        MessageState::Sent { sequence, .. } => Some(sequence.to_string()),
        _ => None,
    };
    let spoken = {
        let (author, text) = (author.clone(), base.message.text.clone());
        move || {
            let state = match state.get() {
                MessageState::Pending => ", sending",
                MessageState::Sent { .. } => "",
                MessageState::NeedsTap | MessageState::Failed(_) => ", not sent",
            };
            format!("{author}, {}: {text}{state}", clock::full(time.get()))
        }
    };
    let id = base.message.client_message_id;
    let text = StoredValue::new(base.message.text.clone());
    view! {
        <article
            class="message"
            class:head=move || head.get()
            class:own=own
            data-testid="message"
            data-state=word
            data-sequence=sequence
            data-author=base.message.from.name.clone()
            aria-label=spoken
            tabindex="-1"
        >
            {move || if head.get() {
                let author = author.clone();
                view! {
                    <Avatar name=author.clone()/>
                    <div class="by">
                        <b>{author}</b>
                        <time title=move || clock::full(time.get())>{move || clock::hours(time.get())}</time>
                    </div>
                }.into_any()
            } else {
                view! { <time class="side-time" title=move || clock::full(time.get())>{move || clock::hours(time.get())}</time> }.into_any()
            }}
            <div class="text" dir="auto"><Text text=base.message.text.clone()/></div>
            {own.then(|| view! { <div class="state">{move || view! { <Tick state=state.get()/> }}</div> })}
            {move || match state.get() {
                MessageState::Failed(why) => Some(view! { <Failure id text why tap=false/> }),
                MessageState::NeedsTap => Some(view! { <Failure id text why="Written over a day ago and never sent.".to_owned() tap=true/> }),
                _ => None,
            }}
        </article>
    }
}

/// Plain text and links; never markup.
#[component]
fn Text(text: String) -> impl IntoView {
    pieces(&text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.into_any(),
            Piece::Link(link) => {
                let href = link.clone();
                view! { <a href=href target="_blank" rel="noopener noreferrer">{link}</a> }.into_any()
            }
        })
        .collect_view()
}

/// A clock while it waits, a tick once a majority has it; where in the log, for those who point at it.
#[component]
fn Tick(state: MessageState) -> impl IntoView {
    let reach = match &state {
        MessageState::Sent { reach: Reach::Read, .. } => "read",
        MessageState::Sent { reach: Reach::Delivered, .. } => "delivered",
        MessageState::Sent { .. } => "kept",
        _ => "",
    };
    let read = reach == "read";
    let (icon, tip) = match state {
        MessageState::Pending => (Icon::Clock, "Waiting for a majority".to_owned()),
        MessageState::Sent { index, term, reach, disks, .. } => {
            let (icon, reached) = match reach {
                Reach::Kept => (Icon::Check, ""),
                Reach::Delivered => (Icon::Checks, ", delivered"),
                Reach::Read => (Icon::Checks, ", read"),
            };
            let mut tip = match disks {
                Some((replicas, of)) => format!("On {replicas} of {of} disks{reached}"),
                None => format!("Kept by a majority{reached}"),
            };
            if index > 0 {
                tip.push_str(&format!(" · index {index}"));
            }
            if term > 0 {
                tip.push_str(&format!(" · term {term}"));
            }
            (icon, tip)
        }
        MessageState::NeedsTap | MessageState::Failed(_) => (Icon::Alert, "Not sent".to_owned()),
    };
    let label = tip.clone();
    view! {
        <span class="tick" class:read=read data-testid="tick" data-reach=reach role="img" aria-label=label>
            <Glyph icon size=15/>
            <span class="tip" aria-hidden="true">{tip}</span>
        </span>
    }
}

#[component]
fn Failure(id: ClientMessageId, text: StoredValue<String>, why: String, tap: bool) -> impl IntoView {
    let app = App::of_context();
    let copy = move |_| {
        // Refused only without a gesture, and this is one.
        let _ = window().navigator().clipboard().write_text(&text.get_value());
    };
    view! {
        <div class="failure" role="alert">
            <span>{why}</span>
            <button type="button" on:click=move |_| { app.input(Input::Retry(id)); }>{if tap { "Send now" } else { "Retry" }}</button>
            <button type="button" on:click=copy>"Copy"</button>
            <button type="button" on:click=move |_| { app.input(Input::Delete(id)); }>"Delete"</button>
        </div>
    }
}
