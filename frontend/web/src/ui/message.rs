//! One message, from clock to tick.

use leptos::prelude::*;
use quorate_client::Input;
use quorate_client::proto::frame::MessageRef;
use quorate_client::proto::ids::ClientMessageId;
use quorate_client::signals::Reach;
use quorate_client::view::{MessageRow, MessageState, PendingEdit, ReactionRow, called, said};
use wasm_bindgen::JsCast;
use web_sys::{EventTarget, FocusEvent, KeyboardEvent, Node};

use super::avatar::Avatar;
use super::bots::Badge;
use super::files::Files;
use super::icons::{Glyph, Icon};
use super::message_menu::{MessageMenu, Open, edit, reply};
use super::rich::Rich;
use super::select_bar;
use crate::clock;
use crate::context::{App, Sheet};
use crate::follow::memo;
use crate::words::{Word, t, tf};

/// The row is watched: a pending message becomes a sent one in place, and an edited one gets its new text.
#[component]
pub(crate) fn Message(row: RwSignal<MessageRow>) -> impl IntoView {
    let app = App::of_context();
    let base = row.get_untracked();
    let writer = base.message.from.clone();
    let author = called(&writer).to_owned();
    let own = base.own;
    let is_bot = base.message.from.bot;
    let head = memo(move || row.with(|row| row.head));
    let time = memo(move || row.with(|row| row.time));
    let state = memo(move || row.with(|row| row.state.clone()));
    let face = memo(move || {
        row.with(|row| (called(&row.message.from).to_owned(), row.portrait.as_deref().copied()))
    });
    let deleted = memo(move || row.with(|row| row.message.deleted));
    let sent = memo(move || matches!(state.get(), MessageState::Sent { .. }));
    let word = move || match state.get() {
        MessageState::Pending => "pending",
        MessageState::Sent { .. } => "sent",
        MessageState::NeedsTap | MessageState::Failed(_) => "failed",
    };
    let sequence = move || match state.get() {
        MessageState::Sent { sequence, .. } => Some(sequence.to_string()),
        _ => None,
    };
    // While several are chosen, a click or Space says whether this one is among them.
    let choosing = memo(move || app.selecting.with(Option::is_some) && row.with(|row| row.may.touch));
    let chosen = memo(move || {
        choosing.get()
            && app.selecting.with(|selecting| {
                selecting.as_ref().is_some_and(|it| it.has(row.with(|row| row.message.sequence)))
            })
    });
    let spoken = {
        let author = author.clone();
        move || {
            let state = match state.get() {
                MessageState::Pending => t(", sending"),
                MessageState::Sent { .. } => "",
                MessageState::NeedsTap | MessageState::Failed(_) => t(", not sent"),
            };
            let text = row.with(|row| match (&row.message.deleted, row.message.revision) {
                (true, _) => t("deleted").to_owned(),
                (_, 0) => said(&row.message),
                _ => tf("{}, edited", &[&said(&row.message)]),
            });
            let chosen = if chosen.get() { t(", chosen") } else { "" };
            format!("{author}, {}: {text}{state}{chosen}", clock::full(time.get()))
        }
    };
    let id = base.message.client_message_id;
    let text = StoredValue::new(base.message.text.clone());
    let open = RwSignal::new(None::<Open>);
    let near = move || {
        if open.get_untracked().is_none() {
            open.set(Some(Open::Buttons));
        }
    };
    let far = move || {
        if open.get_untracked() == Some(Open::Buttons) {
            open.set(None);
        }
    };
    let choose = move |range: bool| app.select(row.with_untracked(|row| row.message.sequence), range);
    let pressed = move |event: KeyboardEvent| {
        if event.key() == " " && choosing.get_untracked() && !keys_belong_elsewhere(&event) {
            event.prevent_default();
            return choose(event.shift_key());
        }
        let modified = event.ctrl_key() || event.meta_key() || event.alt_key();
        if modified || choosing.get_untracked() || keys_belong_elsewhere(&event) {
            return;
        }
        let may = row.with_untracked(|row| row.may);
        match event.key().as_str() {
            "r" | "R" if may.reply => row.with_untracked(|row| reply(app, row)),
            "e" | "E" if may.edit => row.with_untracked(|row| edit(app, row)),
            "+" if may.touch => open.set(Some(Open::Emoji)),
            "m" | "M" | "Enter" | "ContextMenu" if sent.get_untracked() => open.set(Some(Open::Menu)),
            "Delete" if may.delete => {
                if let Some(conversation) = app.focused.get_untracked() {
                    let sequence = row.with_untracked(|row| row.message.sequence);
                    app.sheet.set(Some(Sheet::Delete(conversation, vec![sequence], true)));
                }
            }
            _ => return,
        }
        event.prevent_default();
    };
    let person = writer.clone();
    view! {
        <article
            class="message"
            class:head=move || head.get()
            class:own=own
            class:chosen=move || chosen.get()
            class:held=move || open.get().is_some() || choosing.get()
            class:deleting=move || row.with(|row| row.deleting)
            class:named=move || row.with(|row| row.names_reader && !row.message.deleted)
            class:sought=move || sent.get() && app.sought.get().map(|(_, sequence, _)| sequence) == Some(row.with(|row| row.message.sequence))
            data-testid="message"
            data-state=word
            data-sequence=sequence
            data-author=writer.name.clone()
            data-deleted=move || deleted.get().then_some("true")
            aria-label=spoken
            tabindex="-1"
            // The pointer's own way here, or a finger: messages that move on under a pointer that rests ask for no buttons.
            on:pointermove=move |_| near()
            on:pointerdown=move |_| near()
            on:pointerleave=move |_| far()
            on:focusin=move |_| near()
            on:focusout=move |event: FocusEvent| {
                // Where the focus goes to nothing, the pointer decides.
                if event.related_target().is_some() && !stays(&event) {
                    far();
                }
            }
            on:keydown=pressed
        >
            {move || if head.get() {
                let author = author.clone();
                let person = person.clone();
                view! {
                    {move || {
                        let (name, portrait) = face.get();
                        view! { <Avatar name portrait/> }
                    }}
                    <div class="by">
                        <button type="button" class="author" data-testid="author" on:click=move |_| {
                            if !person.deleted {
                                app.sheet.set(Some(Sheet::Person(person.clone())));
                            }
                        }><b>{author}</b></button>
                        {is_bot.then(|| view! { <Badge/> })}
                        <time title=move || clock::full(time.get())>{move || clock::hours(time.get())}</time>
                        <Marks row/>
                    </div>
                }.into_any()
            } else {
                view! { <time class="side-time" title=move || clock::full(time.get())>{move || clock::hours(time.get())}</time> }.into_any()
            }}
            <div class="body">
                // Beside the name where it has one, above the text otherwise.
                {move || (!head.get()).then(|| view! { <Marks row/> })}
                <Around row/>
                {move || if deleted.get() {
                    view! { <div class="text gone" data-testid="tombstone">{Word("This message was deleted.")}</div> }.into_any()
                } else {
                    view! { <Said row/><Files row/> }.into_any()
                }}
                <Reactions row/>
            </div>
            {own.then(|| view! { <div class="state">{move || (!deleted.get()).then(|| view! { <Tick state=state.get()/> })}</div> })}
            {move || match state.get() {
                MessageState::Failed(why) => Some(view! { <Failure id text why tap=false/> }),
                MessageState::NeedsTap => Some(view! { <Failure id text why=t("Written over a day ago, and no server has confirmed it.").to_owned() tap=true/> }),
                _ => None,
            }}
            {move || (open.get().is_some() && sent.get() && !choosing.get()).then(|| view! { <MessageMenu row open/> })}
            {move || choosing.get().then(|| view! {
                // Over the whole message: nothing in it does anything else now.
                <button
                    type="button"
                    class="select-cover"
                    role="checkbox"
                    tabindex="-1"
                    aria-label=t("Choose this message")
                    aria-checked=move || chosen.get().to_string()
                    data-testid="select-message"
                    on:click=move |event| {
                        choose(event.shift_key());
                        select_bar::focus(row.with_untracked(|row| row.message.sequence));
                    }
                >
                    <span>{move || chosen.get().then(|| view! { <Glyph icon=Icon::Check size=14/> })}</span>
                </button>
            })}
        </article>
    }
}

/// Whether the focus moves within the message.
fn stays(event: &FocusEvent) -> bool {
    let node = |target: Option<EventTarget>| target.and_then(|target| target.dyn_into::<Node>().ok());
    let to = node(event.related_target());
    node(event.current_target()).is_some_and(|here| here.contains(to.as_ref()))
}

/// A key that was pressed in a button, field or link beside the message is meant for that.
fn keys_belong_elsewhere(event: &KeyboardEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    target.is_some_and(|target| target.tag_name() != "ARTICLE")
}

/// Small signs beside the author: pinned, saved.
#[component]
fn Marks(row: RwSignal<MessageRow>) -> impl IntoView {
    move || {
        let (pinned, saved) = row.with(|row| (row.message.pinned, row.saved));
        view! {
            {pinned.then(|| view! { <span class="mark" title=t("Pinned") data-testid="pinned"><Glyph icon=Icon::Pin size=13/><span class="visually-hidden">{Word("Pinned")}</span></span> })}
            {saved.then(|| view! { <span class="mark" title=t("Saved") data-testid="saved"><Glyph icon=Icon::Bookmark size=13/><span class="visually-hidden">{Word("Saved")}</span></span> })}
        }
    }
}

/// What stands above the text: where it was handed on from, and what it answers to.
#[component]
fn Around(row: RwSignal<MessageRow>) -> impl IntoView {
    let app = App::of_context();
    let forwarded = memo(move || row.with(|row| row.message.forwarded.clone()));
    let quote = memo(move || row.with(|row| row.quote.clone()));
    view! {
        {move || forwarded.get().map(|from| {
            let when = if from.time > 0 { format!(", {}", clock::full(from.time)) } else { String::new() };
            let words = if from.from.id > 0 { tf("Forwarded from {}", &[&called(&from.from)]) } else { t("Forwarded from elsewhere").to_owned() };
            view! { <div class="forwarded">{words}{when}</div> }
        })}
        {move || quote.get().map(|quote| {
            let sequence = quote.sequence;
            view! {
                <button
                    type="button"
                    class="quote"
                    data-testid="quote"
                    title=t("Go to this message")
                    on:click=move |_| {
                        if let Some(id) = app.focused.get_untracked() {
                            app.seek(id, sequence);
                        }
                    }
                >
                    <b>{quote.author}</b>
                    <span class:gone=quote.gone>{quote.text}</span>
                </button>
            }
        })}
    }
}

/// The text, with an edit that is under way.
#[component]
fn Said(row: RwSignal<MessageRow>) -> impl IntoView {
    let app = App::of_context();
    let me = app.me.with_untracked(|me| me.as_ref().map(|me| me.name.clone()).unwrap_or_default());
    let text = memo(move || {
        row.with(|row| row.edit.as_ref().map_or_else(|| row.message.text.clone(), |edit| edit.text.clone()))
    });
    let pending = memo(move || row.with(|row| row.edit.clone()));
    let edited = memo(move || row.with(|row| (row.message.revision > 0).then_some(row.message.edited)));
    let wordless = memo(move || text.with(|text| text.trim().is_empty()));
    view! {
        <div class="text" dir="auto" class:wordless=move || wordless.get() class:waiting=move || pending.with(|edit| edit.is_some())>
            {move || view! { <Rich text=text.get() me=me.clone()/> }}
            {move || pending.with(Option::is_none).then(|| edited.get()).flatten().map(|time| {
                let title = if time > 0 { tf("Edited {}. Show earlier texts", &[&clock::full(time)]) } else { t("Show earlier texts").to_owned() };
                view! {
                    <button
                        type="button"
                        class="edited"
                        data-testid="edited"
                        title=title
                        on:click=move |_| {
                            if let Some(conversation) = app.focused.get_untracked() {
                                let sequence = row.with_untracked(|row| row.message.sequence);
                                app.sheet.set(Some(Sheet::Revisions(MessageRef { conversation, sequence })));
                            }
                        }
                    >
                        {Word("edited")}
                    </button>
                }
            })}
        </div>
        {move || pending.get().map(|pending| view! { <Pending row pending/> })}
    }
}

/// An edit on its way, or one that was refused.
#[component]
fn Pending(row: RwSignal<MessageRow>, pending: PendingEdit) -> impl IntoView {
    let app = App::of_context();
    match pending.refused {
        None => view! {
            <div class="editing-mark" data-testid="edit-pending"><Glyph icon=Icon::Clock size=13/>{Word("Saving the edit")}</div>
        }
        .into_any(),
        Some(why) => view! {
            <div class="failure" role="alert" data-testid="edit-refused">
                <span>{tf("The edit was not saved. {}", &[&why])}</span>
                <button type="button" on:click=move |_| row.with_untracked(|row| edit(app, row))>{Word("Edit again")}</button>
                <button type="button" on:click=move |_| {
                    if let Some(id) = app.focused.get_untracked() {
                        app.input(Input::DropEdit(id, row.with_untracked(|row| row.message.sequence)));
                    }
                }>{Word("Discard")}</button>
            </div>
        }
        .into_any(),
    }
}

/// Emoji under the message; a click puts one's own there or takes it away.
#[component]
fn Reactions(row: RwSignal<MessageRow>) -> impl IntoView {
    let app = App::of_context();
    let reactions = memo(move || row.with(|row| row.reactions.clone()));
    let chip = move |reaction: ReactionRow| {
        let ReactionRow { emoji, count, who, mine, pending } = reaction;
        let label = format!("{emoji} {count} {who}");
        let shown = emoji.clone();
        view! {
            <button
                type="button"
                class="reaction"
                class:mine=mine
                class:waiting=pending
                data-testid="reaction"
                data-emoji=emoji.clone()
                data-count=count.to_string()
                aria-pressed=mine.to_string()
                aria-label=label
                title=who
                on:click=move |_| {
                    if let Some(id) = app.focused.get_untracked() {
                        app.react(id, row.with_untracked(|row| row.message.sequence), &emoji, !mine);
                    }
                }
            >
                <span>{shown}</span>
                <b>{count.to_string()}</b>
            </button>
        }
    };
    move || {
        let reactions = reactions.get();
        (!reactions.is_empty())
            .then(|| view! { <div class="reactions">{reactions.into_iter().map(chip).collect_view()}</div> })
    }
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
        MessageState::Pending => (Icon::Clock, t("Waiting for a majority").to_owned()),
        MessageState::Sent { index, term, reach, disks, .. } => {
            let (icon, reached) = match reach {
                Reach::Kept => (Icon::Check, ""),
                Reach::Delivered => (Icon::Checks, t(", delivered")),
                Reach::Read => (Icon::Checks, t(", read")),
            };
            let mut tip = match disks {
                Some((replicas, of)) => tf("On {} of {} disks{}", &[&replicas, &of, &reached]),
                None => tf("Kept by a majority{}", &[&reached]),
            };
            if index > 0 {
                tip.push_str(&tf(" · index {}", &[&index]));
            }
            if term > 0 {
                tip.push_str(&tf(" · term {}", &[&term]));
            }
            (icon, tip)
        }
        MessageState::NeedsTap | MessageState::Failed(_) => (Icon::Alert, t("Not sent").to_owned()),
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
    view! {
        <div class="failure" role="alert">
            <span>{why}</span>
            <button type="button" on:click=move |_| { app.input(Input::Retry(id)); }>{if tap { t("Send now") } else { t("Retry") }}</button>
            <button type="button" on:click=move |_| app.copy(&text.get_value(), t("Copied."))>{Word("Copy")}</button>
            <button type="button" on:click=move |_| { app.input(Input::Delete(id)); }>{Word("Delete")}</button>
        </div>
    }
}
